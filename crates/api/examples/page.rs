//! The page over a made-up logbook that changes every few seconds: for working on the page without a device.

#[path = "../tests/it/memory.rs"]
mod memory;

use std::sync::Arc;
use std::time::Duration;

use aeroedge_api::types::{Event, FlightEntry, NewFlight};
use aeroedge_api::{Server, Service, Token};

#[tokio::main]
#[expect(
    clippy::print_stdout,
    reason = "its only purpose is to print an address"
)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let memory = Arc::new(memory::Memory::with_flights(10_000));
    let token = Token::random(&mut rand::rng());
    let server = Server::bind(None).await?;
    println!("{}", server.page_address(&token));
    let writer = Arc::clone(&memory);
    tokio::spawn(async move {
        for number in 0.. {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let entry = FlightEntry {
                date: jiff::Zoned::now().date(),
                tail: Some("N738VU".into()),
                departure: Some("KPAO".into()),
                destination: Some("KHAF".into()),
                remarks: Some(format!("written while you watch, {number}")),
                total: 3000 + number * 60,
                ..FlightEntry::default()
            };
            let flight = NewFlight {
                contexts: vec![],
                entry,
            };
            if writer.add_flight(flight).await.is_ok() {
                writer.announce(Event::Changed {
                    context: None,
                    tables: vec!["flight".into()],
                });
            }
        }
    });
    server.run(memory, token, std::future::pending()).await?;
    Ok(())
}

//! How long it takes until what is written on one device can be read on the others.
//!
//! Measured from outside, on one clock: from sending the request to write, until a request to read finds it. What HTTP
//! costs on both ends is part of the figure.

use std::time::Duration;

use aeroedge_api::types::{Created, Flight, FlightEntry, NewFlight};
use aeroedge_app::explain::Kind;
use futures::future::try_join_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::failure::Failure;
use crate::running::Client;

/// What does not arrive within this time counts as lost.
const PATIENCE: Duration = Duration::from_secs(15);
/// Looks again even if no change was announced.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Listens to a node, so that waiting for a row does not mean asking all the time.
#[derive(Debug)]
pub(super) struct Observer {
    client: Client,
    changes: watch::Receiver<u64>,
    listening: tokio::task::JoinHandle<()>,
}

impl Observer {
    pub(super) fn new(client: &Client) -> Self {
        let (heard, changes) = watch::channel(0);
        let listener = client.clone();
        let listening = tokio::spawn(async move {
            // An observer that hears nothing still looks from time to time.
            let _ = listener
                .changes(|| heard.send_modify(|number| *number += 1))
                .await;
        });
        Self {
            client: client.clone(),
            changes,
            listening,
        }
    }

    /// Waits until a flight can be read; tells when that was.
    async fn sees(&self, id: &str) -> Result<Instant, Failure> {
        let mut changes = self.changes.clone();
        let path = format!("/v1/flights/{id}");
        let looking = async {
            loop {
                changes.mark_unchanged();
                match self.client.get::<Flight>(&path).await {
                    Ok(_) => return Ok(Instant::now()),
                    Err(failure) if failure.kind() == Kind::NotFound => {}
                    Err(failure) => return Err(failure),
                }
                let _ = timeout(LOOK_AGAIN, changes.changed()).await;
            }
        };
        timeout(PATIENCE, looking).await.unwrap_or_else(|_| {
            Err(Failure::new(
                Kind::Unreachable,
                format!("a flight did not arrive within {} s", PATIENCE.as_secs()),
                "",
            ))
        })
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Latencies of one kind, in the order of their length.
#[derive(Debug, Default)]
pub(super) struct Latencies(Vec<Duration>);

impl Latencies {
    fn add(&mut self, latency: Duration) {
        let place = self.0.partition_point(|known| *known <= latency);
        self.0.insert(place, latency);
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        other.0.iter().for_each(|latency| self.add(*latency));
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest latency that `percent` of all do not exceed.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }
}

/// Logs `writes` flights on one device, one after the other, and waits for each on all others.
pub(super) async fn measure(
    writer: &Client,
    observers: &[&Observer],
    context: &str,
    writes: usize,
) -> Result<Latencies, Failure> {
    let mut latencies = Latencies::default();
    for number in 0..writes {
        let began = Instant::now();
        let id = log_flight(writer, context, &format!("latency {number}")).await?;
        let seen = try_join_all(observers.iter().map(|observer| observer.sees(&id))).await?;
        for instant in seen {
            latencies.add(instant - began);
        }
        // Single writes as people make them, not a stream.
        sleep(Duration::from_millis(5)).await;
    }
    Ok(latencies)
}

/// Logs a short flight and returns its id once the node has acknowledged it.
pub(super) async fn log_flight(
    client: &Client,
    context: &str,
    remarks: &str,
) -> Result<String, Failure> {
    let flight = NewFlight {
        contexts: vec![context.to_owned()],
        entry: FlightEntry {
            date: jiff::civil::date(2026, 5, 14),
            tail: Some("N738VU".to_owned()),
            departure: Some("KPAO".to_owned()),
            destination: Some("KSQL".to_owned()),
            total: 5040,
            pic: 5040,
            landings: Some(1),
            remarks: Some(remarks.to_owned()),
            ..FlightEntry::default()
        },
    };
    let created: Created = client.post("/v1/flights", &flight).await?;
    Ok(created.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_latencies_that_were_measured() {
        let mut latencies = Latencies::default();
        for milliseconds in [5, 1, 4, 2, 3] {
            latencies.add(Duration::from_millis(milliseconds));
        }
        assert_eq!(latencies.percentile(50), Duration::from_millis(3));
        assert_eq!(latencies.percentile(99), Duration::from_millis(5));
        assert_eq!(latencies.percentile(1), Duration::from_millis(1));
        assert_eq!(Latencies::default().percentile(50), Duration::ZERO);
    }
}

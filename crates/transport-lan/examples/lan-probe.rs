//! A driver as a process of its own, for tests on networks that are cut and changed under it.
//!
//! Usage: `lan-probe KEY [PORT [HINT...]]`. It looks for whoever has the same key, sends the key over every link ten
//! times a second, and prints one line for everything that happens.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the lines are what the tests read"
)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aeroedge_transport::{Announcement, Beacon, CloseReason, Link, Nonce, Tag, Transport};
use aeroedge_transport_lan::{LanConfig, LanTransport, Port};
use tokio::sync::{mpsc, watch};
use tokio::time::interval;

/// Shares one key; its tags need not be strong here.
struct OneKey(String);

impl Beacon for OneKey {
    fn tags(&self, nonce: &Nonce) -> Vec<Tag> {
        let mut hasher = DefaultHasher::new();
        (&self.0, nonce).hash(&mut hasher);
        vec![hasher.finish().to_be_bytes()]
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let key = arguments
        .next()
        .ok_or("usage: lan-probe KEY [PORT [HINT...]]")?;
    let port = match arguments.next() {
        Some(port) => Port::Exactly(port.parse()?),
        None => Port::Usual,
    };
    let hints = arguments.collect();
    let (_announcements, watched) = watch::channel(Announcement {
        beacon: Arc::new(OneKey(key.clone())),
        hints,
    });
    let (sender, mut links) = mpsc::channel(16);
    let config = LanConfig {
        port,
        ..LanConfig::default()
    };
    let running = LanTransport::new(config).start(watched, sender).await?;
    let mut status = running.status();
    println!("listening {:?}", status.borrow().listening);
    if let Some(problem) = &status.borrow_and_update().problem {
        println!("problem {problem}");
    }
    let mut number = 0;
    loop {
        tokio::select! {
            link = links.recv() => {
                let Some(link) = link else { return Ok(()) };
                number += 1;
                tokio::spawn(talk(number, key.clone(), link));
            }
            changed = status.changed() => {
                changed?;
                if let Some(problem) = &status.borrow_and_update().problem {
                    println!("problem {problem}");
                }
            }
        }
    }
}

/// Sends the key and a number, expects the same of the other end, and measures how long an answer takes.
async fn talk(number: u32, key: String, mut link: Link) {
    println!("link {number} {:?} {}", link.side, link.remote);
    let start = Instant::now();
    let reason = exchange(number, &key, &mut link).await;
    println!(
        "ended {number} after {} ms: {reason}",
        start.elapsed().as_millis()
    );
}

async fn exchange(number: u32, key: &str, link: &mut Link) -> CloseReason {
    let mut tick = interval(Duration::from_millis(100));
    let mut asked = None;
    loop {
        tokio::select! {
            _ = tick.tick() => {
                if link.sender.send(format!("ask {key}").into_bytes()).await.is_ok() {
                    asked.get_or_insert_with(Instant::now);
                }
            }
            frame = link.receiver.receive() => match frame {
                Err(reason) => return reason,
                Ok(frame) if frame.starts_with(b"ask") => {
                    // A link that ended is noticed by the next receive.
                    let _ = link.sender.send(format!("answer {key}").into_bytes()).await;
                }
                Ok(_) => {
                    if let Some(asked) = asked.take() {
                        println!("answer {number} {} us", asked.elapsed().as_micros());
                    }
                }
            }
        }
    }
}

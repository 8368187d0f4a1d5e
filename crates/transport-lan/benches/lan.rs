//! What one encrypted link over the loopback carries, and how long a frame and its answer take.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use aeroedge_transport::{Announcement, Beacon, Link, Nonce, Running, Tag, Transport};
use aeroedge_transport_lan::{Interfaces, LanConfig, LanTransport, Port};
use hdrhistogram::Histogram;
use tokio::sync::{mpsc, watch};

type Failure = Box<dyn std::error::Error>;

struct Nobody;

impl Beacon for Nobody {
    fn tags(&self, _: &Nonce) -> Vec<Tag> {
        Vec::new()
    }
}

struct Driver {
    running: Running,
    links: mpsc::Receiver<Link>,
    _announcements: watch::Sender<Announcement>,
}

impl Driver {
    async fn start(hints: Vec<String>) -> Result<Self, Failure> {
        let (announcements, watched) = watch::channel(Announcement {
            beacon: Arc::new(Nobody),
            hints,
        });
        let (sender, links) = mpsc::channel(1);
        let config = LanConfig {
            port: Port::Any,
            interfaces: Interfaces::Loopback,
        };
        let running = LanTransport::new(config).start(watched, sender).await?;
        Ok(Self {
            running,
            links,
            _announcements: announcements,
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut far = Driver::start(Vec::new()).await?;
    let address = far.running.status().borrow().listening[0];
    let start = Instant::now();
    let mut near = Driver::start(vec![address.to_string()]).await?;
    let (mut dialled, accepted) = (
        near.links.recv().await.ok_or("stopped")?,
        far.links.recv().await.ok_or("stopped")?,
    );
    println!(
        "lan: a link is up after {:.1} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    tokio::spawn(answer_the_short(accepted));
    for length in [100, 1_000, 64 * 1024, 1024 * 1024] {
        carry(&mut dialled, length).await?;
    }
    ask(&mut dialled).await
}

/// Answers every frame of less than 16 bytes with itself.
async fn answer_the_short(mut link: Link) {
    while let Ok(frame) = link.receiver.receive().await {
        if frame.len() < 16 && link.sender.send(frame).await.is_err() {
            return;
        }
    }
}

async fn carry(link: &mut Link, length: usize) -> Result<(), Failure> {
    let frames = (256 * 1024 * 1024 / length).min(500_000);
    let start = Instant::now();
    for _ in 0..frames {
        link.sender.send(vec![7; length]).await?;
    }
    link.sender.send(vec![1]).await?;
    link.receiver.receive().await?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "lan: frames of {length} bytes: {:.0} a second, {:.0} MB/s",
        frames as f64 / seconds,
        (frames * length) as f64 / seconds / 1e6
    );
    Ok(())
}

async fn ask(link: &mut Link) -> Result<(), Failure> {
    let mut microseconds = Histogram::<u64>::new(3)?;
    for _ in 0..5_000 {
        let start = Instant::now();
        link.sender.send(vec![1]).await?;
        link.receiver.receive().await?;
        microseconds.record(start.elapsed().as_micros() as u64)?;
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    println!(
        "lan: a frame and its answer: p50 {} us, p99 {} us",
        microseconds.value_at_quantile(0.5),
        microseconds.value_at_quantile(0.99)
    );
    Ok(())
}

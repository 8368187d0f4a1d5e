//! Whom a driver looks for, and how it is started and asked how it is doing.
//!
//! A driver learns tags, never what they stand for: they are keyed hashes of a nonce the driver chose.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::Link;

/// Random bytes a device announces beside its tags, so that the same tags are never seen twice.
pub type Nonce = [u8; 16];

/// A keyed hash of a nonce that only somebody with the same key recognises.
pub type Tag = [u8; 8];

/// Computes the tags by which devices that share a key find each other.
pub trait Beacon: Send + Sync {
    /// The tags of everything this device shares, under `nonce`.
    ///
    /// Empty means that there is nobody to look for: nothing is announced then.
    fn tags(&self, nonce: &Nonce) -> Vec<Tag>;

    /// Whether somebody who announced these is worth dialling.
    fn recognises(&self, nonce: &Nonce, tags: &[Tag]) -> bool {
        self.tags(nonce).iter().any(|tag| tags.contains(tag))
    }
}

/// What a driver is to look for now. The caller replaces it whenever contexts or keys change.
#[derive(Clone)]
pub struct Announcement {
    /// Tags to announce and to recognise.
    pub beacon: Arc<dyn Beacon>,
    /// Where somebody may be, as `host:port`: from an invite, or typed by a person.
    pub hints: Vec<String>,
}

/// How a driver is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Where it accepts links: good hints for an invite. Addresses that only this machine can use come last.
    pub listening: Vec<SocketAddr>,
    /// Devices it has heard of that share something with this one.
    pub neighbours: usize,
    /// Links that are open now.
    pub links: usize,
    /// What keeps it from doing its work, in one sentence.
    pub problem: Option<String>,
}

/// A driver: finds devices that share a tag and yields links to them.
pub trait Transport {
    /// Name of the driver, such as `lan`; also [`Link::transport`].
    const NAME: &'static str;

    /// Starts to listen and to look; returns once the driver listens. Needs a tokio runtime.
    ///
    /// Every link goes to `links`. Two devices get at most one lasting link; another may be seen for a moment.
    fn start(
        self,
        announcements: watch::Receiver<Announcement>,
        links: mpsc::Sender<Link>,
    ) -> impl Future<Output = Result<Running, StartError>> + Send;
}

/// A driver could not start.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct StartError {
    /// What is wrong and what to do, in one sentence.
    pub what: String,
    /// The cause below.
    #[source]
    pub source: Option<std::io::Error>,
}

/// A driver at work. Dropping it stops the driver.
#[derive(Debug)]
pub struct Running {
    status: watch::Receiver<Status>,
    stop: Option<mpsc::Sender<()>>,
}

/// The driver's end of [`Running`].
#[derive(Debug)]
pub struct Stopper {
    stop: mpsc::Receiver<()>,
}

impl Running {
    /// The caller's and the driver's end.
    pub fn new(status: watch::Receiver<Status>) -> (Self, Stopper) {
        let (sender, receiver) = mpsc::channel(1);
        (
            Self {
                status,
                stop: Some(sender),
            },
            Stopper { stop: receiver },
        )
    }

    /// How the driver is doing, now and after every change.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Stops the driver and waits until it has said goodbye to its neighbours.
    pub async fn stop(mut self) {
        self.stop = None;
        while self.status.changed().await.is_ok() {}
    }
}

impl Stopper {
    /// Ready when the driver is to stop; the driver drops its end of the status once it has.
    pub async fn stopped(&mut self) {
        while self.stop.recv().await.is_some() {}
    }
}

impl fmt::Debug for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcement")
            .field("hints", &self.hints)
            .finish_non_exhaustive()
    }
}

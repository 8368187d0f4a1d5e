//! Drivers to test with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aeroedge_transport::{Announcement, Beacon, Link, Nonce, Running, Tag, Transport};
use aeroedge_transport_lan::{Interfaces, LanConfig, LanTransport, Port};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// A driver at work, its links, and what it looks for.
pub(crate) struct Driver {
    pub(crate) running: Running,
    pub(crate) links: mpsc::Receiver<Link>,
    pub(crate) announcements: watch::Sender<Announcement>,
}

/// A beacon of devices that share these keys.
pub(crate) struct Shared(pub(crate) Vec<[u8; 8]>);

impl Beacon for Shared {
    fn tags(&self, nonce: &Nonce) -> Vec<Tag> {
        let tag = |key: &[u8; 8]| {
            let mut tag = *key;
            tag.iter_mut()
                .zip(nonce)
                .for_each(|(byte, nonce)| *byte ^= nonce);
            tag
        };
        self.0.iter().map(tag).collect()
    }
}

impl Driver {
    /// A driver that only follows hints.
    pub(crate) async fn start(hints: &[SocketAddr]) -> Self {
        let hints = hints.iter().map(ToString::to_string).collect();
        Self::start_looking(Announcement {
            beacon: Arc::new(Shared(Vec::new())),
            hints,
        })
        .await
    }

    /// A driver that looks for whoever shares a key with it.
    pub(crate) async fn start_sharing(keys: &[[u8; 8]]) -> Self {
        Self::start_looking(Announcement {
            beacon: Arc::new(Shared(keys.to_vec())),
            hints: Vec::new(),
        })
        .await
    }

    async fn start_looking(announcement: Announcement) -> Self {
        let (announcements, watched) = watch::channel(announcement);
        let (sender, links) = mpsc::channel(16);
        let config = LanConfig {
            port: Port::Any,
            interfaces: Interfaces::Loopback,
        };
        let running = LanTransport::new(config)
            .start(watched, sender)
            .await
            .expect("start a driver");
        Self {
            running,
            links,
            announcements,
        }
    }

    pub(crate) fn share(&self, keys: &[[u8; 8]]) {
        let beacon = Arc::new(Shared(keys.to_vec()));
        self.announcements
            .send_modify(|announcement| announcement.beacon = beacon);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.status().borrow().listening[0]
    }

    pub(crate) async fn link(&mut self) -> Link {
        let link = timeout(Duration::from_secs(10), self.links.recv()).await;
        link.expect("no link came up").expect("the driver stopped")
    }
}

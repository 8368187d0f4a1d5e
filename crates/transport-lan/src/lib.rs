//! Finds neighbours by mDNS and talks to them over encrypted sockets.
//!
//! What others on the network can see is an announcement of random names and keyed tags, and connections of random
//! bytes: no context, member or device is named. Identity is proved inside the frames, by the caller.

mod attempts;
mod carry;
mod dial;
mod discovery;
mod guests;
mod handshake;
mod instance;
mod listen;
mod neighbours;
mod supervisor;
mod wire;

use std::future::Future;

use aeroedge_transport::{Announcement, Link, Running, StartError, Status, Transport};
use tokio::sync::{mpsc, watch};

use crate::instance::InstanceKeys;
pub use crate::listen::{Port, USUAL_PORT};
use crate::supervisor::Supervisor;

const NAME: &str = "lan";

/// How a LAN driver behaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LanConfig {
    /// Where it listens.
    pub port: Port,
    /// On which network.
    pub interfaces: Interfaces,
}

/// The network a driver works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Interfaces {
    /// Every interface of the machine, the loopback included: several devices on one machine find each other.
    #[default]
    All,
    /// This machine only.
    Loopback,
}

/// The LAN driver.
#[derive(Debug, Clone, Default)]
pub struct LanTransport {
    config: LanConfig,
}

impl LanTransport {
    /// A driver that has not started.
    pub fn new(config: LanConfig) -> Self {
        Self { config }
    }
}

impl Transport for LanTransport {
    const NAME: &'static str = NAME;

    fn start(
        self,
        announcements: watch::Receiver<Announcement>,
        links: mpsc::Sender<Link>,
    ) -> impl Future<Output = Result<Running, StartError>> + Send {
        std::future::ready(start(&self.config, announcements, links))
    }
}

fn start(
    config: &LanConfig,
    announcements: watch::Receiver<Announcement>,
    links: mpsc::Sender<Link>,
) -> Result<Running, StartError> {
    let listener = listen::listen(config.port, config.interfaces == Interfaces::Loopback)?;
    let address = listener.local_addr().map_err(|error| StartError {
        what: "the socket just opened has no address: check the network settings of this machine"
            .into(),
        source: Some(error),
    })?;
    let keys = InstanceKeys::generate().map_err(|error| StartError {
        what: "no keys could be made: this machine has no source of random numbers".into(),
        source: Some(std::io::Error::other(error)),
    })?;
    let (status, watched) = watch::channel(Status::default());
    let (running, stopper) = Running::new(watched);
    let supervisor = Supervisor::new(
        keys,
        listener,
        address,
        config.interfaces,
        announcements,
        links,
        status,
    );
    supervisor.publish();
    tokio::spawn(supervisor.run(stopper));
    Ok(running)
}

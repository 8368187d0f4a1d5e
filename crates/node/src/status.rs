//! What a node tells about itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use aeroedge_ids::{ContextId, DeviceKey};
use aeroedge_protocol::Counters;

use crate::store::JoinState;

/// How this device stands with the others, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncState {
    /// Everything is exchanged with everyone who is there.
    Synced,
    /// Changes are on their way.
    Syncing,
    /// A hub that should be there is gone, the neighbours are in sync.
    LocalOnly,
    /// Nobody is there.
    #[default]
    Offline,
}

/// How this device stands with the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncStatus {
    /// In one word.
    pub state: SyncState,
    /// Devices in exchange.
    pub connected: usize,
    /// Entries of this device that nobody has confirmed since the node started.
    pub pending: u64,
    /// When entries of others were last taken in.
    pub received_at: Option<SystemTime>,
    /// When everything was last exchanged with somebody.
    pub synced_at: Option<SystemTime>,
    /// What keeps a transport from its work, one sentence each.
    pub problems: Vec<String>,
}

/// The connection with another device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// In exchange.
    Connected,
    /// Connected, but nothing was heard for longer than usual.
    Degraded,
    /// Lost a moment ago and sought again.
    Reconnecting,
    /// Not there.
    Disconnected,
}

/// Another device, as met since the node started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its key.
    pub device: DeviceKey,
    /// How the connection stands.
    pub state: PeerState,
    /// By which transport, and where; of the last connection if there is none now.
    pub transport: &'static str,
    /// Where it is, for people to read.
    pub remote: String,
    /// Contexts shared with it.
    pub contexts: BTreeSet<ContextId>,
    /// Whether both sides have everything of each other.
    pub in_sync: bool,
    /// When it was last heard.
    pub seen_at: SystemTime,
    /// When both sides last had everything of each other.
    pub synced_at: Option<SystemTime>,
    /// What went over its connection.
    pub figures: LinkFigures,
}

/// What went over one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkFigures {
    /// Bytes of frames sent.
    pub bytes_sent: u64,
    /// Bytes of frames received.
    pub bytes_received: u64,
    /// Entries sent.
    pub entries_sent: u64,
    /// Entries received.
    pub entries_received: u64,
}

impl From<Counters> for LinkFigures {
    fn from(counters: Counters) -> Self {
        Self {
            bytes_sent: counters.bytes_sent,
            bytes_received: counters.bytes_received,
            entries_sent: counters.entries_sent,
            entries_received: counters.entries_received,
        }
    }
}

/// How often sessions and contexts ended for a reason, by the sentence that says why.
pub type Rejections = BTreeMap<String, u64>;

/// Something happened. A listener that falls behind asks for the state again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Rows of a context changed, here or elsewhere. Without tables: nobody knows which.
    Changed {
        /// The context, if it is known.
        context: Option<ContextId>,
        /// The tables.
        tables: BTreeSet<String>,
    },
    /// A device connected.
    PeerUp(DeviceKey),
    /// A device is gone.
    PeerDown(DeviceKey),
    /// Joining a context went on or ended.
    Join(ContextId, JoinState),
    /// Members, roles or devices of a context changed.
    Membership(ContextId),
    /// The state of exchange changed.
    Sync {
        /// In one word.
        state: SyncState,
        /// As in [`SyncStatus::pending`].
        pending: u64,
    },
}

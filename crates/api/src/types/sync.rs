//! Who is in sync, what is in conflict and what has just happened.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How this device stands with the others, in one word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncState {
    /// Everything is exchanged with everyone who is there.
    Synced,
    /// Changes are on their way.
    Syncing,
    /// A hub is gone, the neighbours are in sync.
    LocalOnly,
    /// Nobody is there.
    #[default]
    Offline,
}

/// How this device stands with the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncStatus {
    /// In one word.
    pub state: SyncState,
    /// How many devices are connected.
    pub connected: u64,
    /// Entries of this device that no other device has confirmed yet.
    pub pending: u64,
    /// When something was last received.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub received_at: Option<Timestamp>,
    /// When everything was last exchanged with somebody.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub synced_at: Option<Timestamp>,
    /// What needs attention, one sentence each.
    pub notices: Vec<String>,
    /// By context.
    pub contexts: Vec<SyncContext>,
}

/// How one context stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncContext {
    /// The context.
    pub context: String,
    /// Entries merged.
    pub merged: u64,
    /// Entries stored that wait for something else, such as an earlier entry or a clock.
    pub waiting: u64,
    /// Entries refused because their writer had no right.
    pub refused: u64,
    /// Values this program has no place for yet.
    pub quarantined: u64,
    /// Values overruled by a concurrent edit.
    pub conflicts: u64,
}

/// The connection with another device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeerState {
    /// In exchange.
    Connected,
    /// Connected, but slow to answer.
    Degraded,
    /// Lost a moment ago and sought again.
    Reconnecting,
    /// Not there.
    Disconnected,
}

/// Another device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Peer {
    /// Public key, in hexadecimal.
    pub device: String,
    /// Its person.
    pub user: Option<String>,
    /// The person's name.
    pub name: Option<String>,
    /// How the connection stands.
    pub state: PeerState,
    /// By which way it is reached: lan and so on.
    pub transport: Option<String>,
    /// The contexts shared with it.
    pub contexts: Vec<String>,
    /// Whether both sides have everything of each other.
    pub in_sync: bool,
    /// When it was last heard.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub seen_at: Option<Timestamp>,
    /// When both sides last had everything of each other.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub synced_at: Option<Timestamp>,
}

/// The devices met so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerList {
    /// Connected ones first.
    pub peers: Vec<Peer>,
}

/// One of the values that two people gave to one field without knowing of each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConflictValue {
    /// The value; bytes as hexadecimal text.
    pub value: serde_json::Value,
    /// Who wrote it, if known.
    pub user: Option<String>,
    /// That person's name.
    pub name: Option<String>,
    /// When.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub written_at: Option<Timestamp>,
}

/// A field that was edited by several at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Conflict {
    /// The table.
    pub table: String,
    /// Identifier of the row.
    pub row: String,
    /// The column; null if the row itself was deleted by one and edited by another.
    pub column: Option<String>,
    /// What stands.
    pub stands: ConflictValue,
    /// What was overruled.
    pub overruled: Vec<ConflictValue>,
}

/// What was edited by several at once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConflictList {
    /// How many there are in all.
    pub count: u64,
    /// At most 500 of them.
    pub conflicts: Vec<Conflict>,
}

/// Something happened. Each travels as one server-sent event whose name is the `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Rows changed, here or by another device.
    Changed {
        /// The context, if it is known.
        context: Option<String>,
        /// The tables.
        tables: Vec<String>,
    },
    /// A device connected.
    PeerUp {
        /// Its public key.
        device: String,
    },
    /// A device is gone.
    PeerDown {
        /// Its public key.
        device: String,
    },
    /// Joining went on or ended.
    Join {
        /// The context.
        context: String,
        /// How far it has come.
        state: super::JoinState,
    },
    /// Members, roles or devices of a context changed.
    Membership {
        /// The context.
        context: String,
    },
    /// The state of exchange changed.
    Sync {
        /// In one word.
        state: SyncState,
        /// Entries of this device that no other device has confirmed yet.
        pending: u64,
    },
    /// Events were missed: ask for everything again.
    Missed,
}

impl Event {
    /// The name under which it is sent.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Changed { .. } => "changed",
            Self::PeerUp { .. } => "peer_up",
            Self::PeerDown { .. } => "peer_down",
            Self::Join { .. } => "join",
            Self::Membership { .. } => "membership",
            Self::Sync { .. } => "sync",
            Self::Missed => "missed",
        }
    }
}

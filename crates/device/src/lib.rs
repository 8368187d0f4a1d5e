//! One installation: merged tables, sealed logs and signed history in one SQLite database.
//!
//! A [`Device`] owns a connection and does everything that needs both rows and keys: it seals what the application writes, offers what
//! peers lack, judges and merges what they send. It starts no thread, opens no socket and reads no clock; a node, a
//! simulator or a browser drives it. Several processes may each have a device on the same database.
//!
//! Reading order: [`write`] (a row becomes an entry), [`offer`] (what goes out), [`intake`] and [`merging`] (what comes in), [`membership`].

#![warn(missing_docs)]

mod audit;
mod checkpoint;
mod clock_repair;
mod clocks;
mod device;
mod digest;
mod exchange;
mod forks;
mod founding;
mod group;
mod intake;
mod keys;
mod membership;
mod merging;
mod offer;
mod own_logs;
mod rejudge;
mod release;
mod renewal;
mod schema;
mod sealing;
mod state;
mod status;
mod stored;
mod stories;
mod verdicts;
mod write;

pub use aeroedge_replica::Touched;
pub use audit::{Revision, RevisionKind};
pub use checkpoint::{LoadStateError, StateBytes};
pub use clock_repair::{ClockRepair, ClockRepairError};
pub use clocks::{BUILD_TOLERANCE_MS, ClockError, ClockFinding, ClockOff};
pub use device::{Device, DeviceError, Options};
pub use exchange::{PeerAcceptError, PeerRefused, ReceiveError, Received};
pub use forks::{Branch, CLOSE_AFTER_MS, Fork};
pub use founding::FoundError;
pub use intake::{Declined, UNVOUCHED_MAX};
pub use keys::{KeyStore, KeysInMemory};
pub use membership::{
    ContextSummary, ControlReceived, Invitation, JoinState, MembershipError, PAIRING_MS,
    PairingError, PairingState, ReceiveControlError,
};
pub use merging::{HOLD_BACK_MS, Merged, Waiting};
pub use offer::EntriesRead;
pub use schema::SchemaError;
pub use sealing::{AllTables, Place, SealingError, TableRights};
pub use state::StateError;
pub use status::{CompartmentStatus, LogStatus};
pub use verdicts::Recomputed;
pub use write::WriteError;

//! A running device: drives the protocol over every transport.
//!
//! One thread owns the database and does one thing after the other; every link has a task that owns a protocol session
//! and no data. They talk in whole batches. All queues are bounded: by the windows of the protocol for what peers send,
//! by permits for what the program asks. Whatever a peer does ends its own link and nothing else.
//!
//! Reading order: [`Store`] is what the database must offer, `engine` the thread that owns it, `link` the task of one
//! link, `peers` who is there, `node` what a program holds.

mod beacon;
mod device;
mod engine;
mod fetching;
mod jobs;
mod link;
mod node;
mod notices;
mod peers;
mod status;
mod store;

pub use beacon::Tags;
pub use device::MergedRows;
pub use engine::AfterMerge;
pub use node::{CallError, Config, Node, NodeHandle, StartError, Stopped};
pub use status::{LinkFigures, Notice, PeerState, PeerStatus, Rejections, SyncState, SyncStatus};
pub use store::{ControlReceived, EntriesRead, JoinState, Judgement, Received, Store, StoreError};

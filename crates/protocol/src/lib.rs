//! The sync session: one state machine for a link, without IO.
//!
//! A [`Session`] is one end of one link over which frames travel whole and in order. It finds out which contexts both
//! ends share without naming any, brings their membership histories together, has each end prove its device, and then
//! brings every compartment that both may read to the same entries and keeps it there.
//!
//! It holds no key, no clock, no connection and no data: signatures, rosters, logs and time belong to its driver, which
//! feeds one [`Event`] and drains [`Output`]s until there are none. The session treats entries, control entries and
//! heads as opaque bytes.

#![warn(missing_docs)]

mod context_link;
mod control_sync;
mod entry_sync;
mod event;
mod feeders;
mod flow;
pub mod frame;
mod greet;
pub mod limits;
mod reason;
mod session;
#[cfg(test)]
mod vectors;
mod wire;

pub use event::{
    BatchId, Cursor, Event, Frontier, LinkKind, Origin, Output, Run, Signature, WireHead,
};
pub use feeders::Feeders;
pub use frame::Frame;
pub use greet::{Credential, Side, Transcript};
pub use limits::Limits;
pub use reason::{CloseReason, EndReason};
pub use session::{Config, Counters, Progress, Session};
pub use wire::WireError;

//! The sync session: one state machine for a link, without IO.
//!
//! A [`Session`] is one end of one link over which frames travel whole and in order. It finds out which contexts both
//! ends share without naming any, brings their membership histories together, has each end prove its device, and then
//! brings every compartment that both may read to the same entries and keeps it there.
//!
//! It holds no key, no clock, no connection and no data: signatures, rosters, logs and time belong to its driver, which
//! feeds one [`Event`] and drains [`Output`]s until there are none. The session treats entries, control entries and
//! heads as opaque bytes.
//!
//! A driver in its smallest form, for two ends that turn out to have nothing in common:
//!
//! ```
//! use aeroedge_ids::Millis;
//! use aeroedge_protocol::{CloseReason, Config, Event, Limits, Output, Session, Side};
//!
//! let end = |side| {
//!     let config = Config { side, binding: [7; 32], credentials: Vec::new(), limits: Limits::default() };
//!     Session::new(config, Millis(0), &mut rand::rng())
//! };
//! let mut ends = [end(Side::Dialler), end(Side::Acceptor)];
//! let mut reasons = Vec::new();
//! for now in 0..10 {
//!     for this in 0..2 {
//!         while let Some(output) = ends[this].poll() {
//!             match output {
//!                 Output::Send(frame) => ends[1 - this].handle(Millis(now), Event::Frame(frame)),
//!                 Output::Closed { reason, .. } => reasons.push(reason),
//!                 question => unreachable!("{question:?} concerns a context, and none is shared"),
//!             }
//!         }
//!     }
//! }
//! assert_eq!(reasons, [CloseReason::NothingInCommon; 2]);
//! ```

#![warn(missing_docs)]

mod context_link;
mod control_sync;
mod entry_sync;
mod event;
mod feeders;
mod flow;
pub mod frame;
mod frontier;
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

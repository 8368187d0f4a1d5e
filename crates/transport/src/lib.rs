//! What moves opaque frames between two devices: the port every driver implements.
//!
//! A transport finds somebody and carries bytes. It never parses a frame, knows no context, no member and no key: whom
//! to look for is a [`Beacon`] the caller hands in, and who is at the other end is proved inside the frames, tied to
//! the channel by [`Link::binding`].

mod announcement;
#[cfg(feature = "conformance")]
pub mod conformance;
mod driver;
mod link;
pub mod memory;

pub use announcement::{
    Announcement, Beacon, Nonce, Running, StartError, Status, Stopper, Tag, Transport,
};
pub use driver::{Ending, IncomingFrames, LinkEnd, OutgoingFrames, open};
pub use link::{CloseReason, Closer, FrameReceiver, FrameSender, Link, SendError, Side};

/// The largest frame a transport carries, in bytes.
pub const FRAME_LIMIT: usize = 4 * 1024 * 1024;

/// What one direction of a link holds in memory before the sender has to wait, in bytes.
///
/// One frame always fits, whatever else is waiting: the bound is this plus one frame.
pub const QUEUE_LIMIT: usize = 4 * 1024 * 1024;

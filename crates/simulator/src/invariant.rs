//! The ways in which a run can fail. The first one found ends it.

use aeroedge_ids::{CompartmentId, ContextId, Seq, WriterKey};

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A device's table is not what the entries it merged come to.
    #[error("node {node}: {row} is {found}, and what was merged here comes to {expected}")]
    RowDiffers {
        /// The node.
        node: usize,
        /// The row.
        row: String,
        /// What the table holds.
        found: String,
        /// What the oracle says.
        expected: String,
    },
    /// Rows changed and no entry says so.
    #[error("node {node}: a transaction changed {row} and left no entry")]
    RowWithoutEntry {
        /// The node.
        node: usize,
        /// The row.
        row: String,
    },
    /// What was durable is gone.
    #[error(
        "node {node}: entry {seq} of {writer:?} was acknowledged and is gone, or another stands in its place"
    )]
    AcknowledgedLost {
        /// The node.
        node: usize,
        /// The log.
        writer: WriterKey,
        /// Up to here it was acknowledged.
        seq: Seq,
    },
    /// Two different entries with one number left a device.
    #[error("entry {seq} of {writer:?} was handed out with two different contents")]
    SeqUsedTwice {
        /// The log.
        writer: WriterKey,
        /// The entry.
        seq: Seq,
    },
    /// Something is stored where it may not be read.
    #[error("node {node}: there are {what} of compartment {compartment:?}, which it may not read")]
    Leaked {
        /// The node.
        node: usize,
        /// The compartment.
        compartment: CompartmentId,
        /// What of it.
        what: &'static str,
    },
    /// A wrong secret, or nobody's, left something of a context behind.
    #[error("node {node}: holds something of context {context:?} and is no member")]
    StrangerHolds {
        /// The node.
        node: usize,
        /// The context.
        context: ContextId,
    },
    /// A stored log does not hold together.
    #[error("node {node}: the log of {writer:?} is broken at {seq}: {reason}")]
    BrokenLog {
        /// The node.
        node: usize,
        /// The log.
        writer: WriterKey,
        /// Where.
        seq: Seq,
        /// How.
        reason: String,
    },
    /// Somebody who is shut out still changes tables.
    #[error(
        "node {node}: entry {seq} of {writer:?}, who is shut out, lies past the cut-off and is in the tables"
    )]
    ShutOutWrote {
        /// The node.
        node: usize,
        /// The log.
        writer: WriterKey,
        /// The entry.
        seq: Seq,
    },
    /// An honest entry was refused.
    #[error("node {node}: refuses entry {seq}: {reason}")]
    Refused {
        /// The node.
        node: usize,
        /// The entry.
        seq: Seq,
        /// Why.
        reason: String,
    },
    /// Honest devices accuse one of them.
    #[error("node {node}: declines entries of {writer:?} on an honest link: {reason}")]
    Declined {
        /// The node.
        node: usize,
        /// The log.
        writer: WriterKey,
        /// Why.
        reason: String,
    },
    /// Healed and drained, and still not equal.
    #[error("nodes do not converge: {0}")]
    NotConverged(String),
    /// Equal entries, different state.
    #[error("nodes {left} and {right} merged the same and differ in {what}")]
    Differ {
        /// One.
        left: usize,
        /// The other.
        right: usize,
        /// In what.
        what: String,
    },
    /// Equal peers talk.
    #[error(
        "an idle link between equal nodes {left} and {right} carried {frames} frames, {bytes} bytes"
    )]
    NotQuiet {
        /// One.
        left: usize,
        /// The other.
        right: usize,
        /// How many.
        frames: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// A clock that is far ahead has dragged another along.
    #[error(
        "node {node}: its last stamp is {ahead_ms} ms ahead of the true time, further than any honest clock and the hold-back allow"
    )]
    ClockDragged {
        /// The node.
        node: usize,
        /// How far.
        ahead_ms: u64,
    },
    /// A device or session did what it must not.
    #[error("node {node}: {what}")]
    Fault {
        /// The node.
        node: usize,
        /// What happened.
        what: String,
    },
}

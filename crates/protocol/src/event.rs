//! What goes into a session and what comes out: the whole contract with its driver.
//!
//! Invariant: no private key, no clock and no connection ever passes here. Every output that asks a question names the
//! event that answers it; an answer to a question that is no longer open is ignored.

use std::collections::BTreeMap;
use std::sync::Arc;

use aeroedge_ids::{
    CompartmentId, ContextId, ControlHash, DeviceKey, EntryHash, InviteKey, Seq, WriterKey,
};

pub use crate::frontier::Frontier;
use crate::reason::{CloseReason, EndReason};

/// An Ed25519 signature.
pub type Signature = [u8; 64];

/// A signed head as it travels; its compartment and writer are those of the run it closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireHead {
    /// The entry up to which the head vouches.
    pub seq: Seq,
    /// The hash of that entry.
    pub hash: EntryHash,
    /// Signature of the writer.
    pub signature: Signature,
}

/// Consecutive entries of one writer, byte for byte as they stand in its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Whose log.
    pub writer: WriterKey,
    /// The seq of the first entry.
    pub first: Seq,
    /// The entries, at least one.
    pub entries: Vec<Vec<u8>>,
    /// A head that vouches for the run, or its front part; absent when a batch ends within a durable group. In what a
    /// session puts out it is always the head of the last entry.
    pub head: Option<WireHead>,
}

impl Run {
    /// The seq of the last entry.
    pub fn last(&self) -> Seq {
        Seq((self.first.0 + self.entries.len() as u64).saturating_sub(1))
    }

    /// What the run counts against a window, in bytes. Both ends count alike.
    pub fn cost(&self) -> usize {
        let entries: usize = self.entries.iter().map(|entry| entry.len() + 8).sum();
        entries + 160
    }
}

/// A place in the sender's arrival order, made and understood by the driver alone; `START` is before everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor(pub u64);

impl Cursor {
    /// Before the first entry that ever arrived.
    pub const START: Self = Self(0);
}

/// Number of a batch of entries on one link; rises by one with every batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchId(pub u64);

/// Where entries that moved a frontier came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Written on this device: sent at once.
    Here,
    /// Taken in over some link: announced first, sent a little later to peers that still lack it.
    Elsewhere,
}

/// What a shared context allows on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// Both ends hold a link key of the members: control history, proof of devices, entries.
    Member,
    /// This end holds an invite and is not yet a member: control history only.
    Joining,
    /// The peer holds this invite and is not yet a member: control history only.
    Hosting(InviteKey),
}

/// Something that happened to a session.
#[derive(Debug, Clone)]
pub enum Event {
    /// A frame arrived, exactly as the peer's [`Output::Send`] had it.
    Frame(Vec<u8>),
    /// The time named by `poll_timeout` has come. Coming early or late does no harm.
    Timeout,
    /// The transport lost the link. Nothing can be sent any more.
    LinkLost,
    /// The driver wants the session to end; the peer is told why.
    Close(CloseReason),

    /// Answers [`Output::Sign`].
    Signed {
        /// The context of the question.
        context: ContextId,
        /// The device that signed.
        device: DeviceKey,
        /// Its signature over the message.
        signature: Signature,
    },
    /// Answers [`Output::ReadHistory`], and comes again whenever the control history of a shared context has grown
    /// from any source. The list is complete and in the order of arrival (parents first): it only ever grows at its
    /// end.
    History {
        /// The context.
        context: ContextId,
        /// The hash of every control entry held.
        hashes: Arc<[ControlHash]>,
    },
    /// Answers [`Output::ReadControl`] with the entries of the first hashes asked for, at least one.
    ControlRead {
        /// The context of the question.
        context: ContextId,
        /// The entries, in the order asked for.
        entries: Vec<Vec<u8>>,
    },
    /// Answers [`Output::ApplyControl`]: the entries are durable. The new list of hashes as in [`Event::History`].
    ControlApplied {
        /// The context of the question.
        context: ContextId,
        /// The hash of every control entry held now.
        hashes: Arc<[ControlHash]>,
    },
    /// Answers [`Output::PeerProof`] with the compartments that this device holds and the peer may read, each with the
    /// vouched frontier; what moves afterwards must be told by [`Event::Frontier`] afterwards. May come again when the
    /// roster changes: the new set replaces the old, and a compartment taken away does not come back on this link.
    PeerAccepted {
        /// The context of the question.
        context: ContextId,
        /// Compartments to share, with what this device holds of each.
        compartments: BTreeMap<CompartmentId, Frontier>,
    },
    /// Ends one context on this link: answers [`Output::PeerProof`] or [`Output::ApplyControl`] with no, or follows a
    /// removal that was learnt later.
    EndContext {
        /// The context.
        context: ContextId,
        /// Told to the peer.
        reason: EndReason,
    },
    /// The vouched frontier of a compartment has moved, by own writes or by any link. Only what changed need be named.
    /// Unknown compartments are ignored.
    Frontier {
        /// The context.
        context: ContextId,
        /// The compartment.
        compartment: CompartmentId,
        /// Writers that moved, with their new seq.
        changed: Frontier,
        /// Where the entries came from.
        origin: Origin,
    },
    /// Follows [`Output::PeerFrontier`] where the peer's positions name other entries than those held here: the log is forked,
    /// or the peer says what is not so. These logs are sent to the peer from their beginning, which shows where they part.
    PeerDisagrees {
        /// The context.
        context: ContextId,
        /// The compartment.
        compartment: CompartmentId,
        /// The logs.
        logs: Vec<WriterKey>,
    },
    /// Asks the peer to send nothing of a compartment for the present, because another link already brings it, or to go
    /// on. For drivers with several links: a compartment that lacks much is better fetched from one peer than from all
    /// ([`crate::Feeders`] decides which).
    Pause {
        /// The context.
        context: ContextId,
        /// The compartment.
        compartment: CompartmentId,
        /// Whether to pause.
        paused: bool,
    },
    /// Answers [`Output::ReadEntries`].
    EntriesRead {
        /// The context of the question.
        context: ContextId,
        /// The compartment of the question.
        compartment: CompartmentId,
        /// Vouched entries that the peer lacks, in the order of arrival; each run closed by a head where there is one.
        runs: Vec<Run>,
        /// Where to read on. Must stand before every entry that was left out for want of space or of a head.
        next: Cursor,
        /// Whether nothing more could be read at present.
        exhausted: bool,
    },
    /// Answers [`Output::Apply`]: the batch is durable (stored; merging may still wait).
    Applied {
        /// The batch of the question.
        batch: BatchId,
        /// Writers whose entries did not hold (a broken chain, a false head) or cannot be taken here: the peer sends no
        /// more of theirs on this link.
        declined: Vec<WriterKey>,
    },
    /// Answers [`Output::Apply`], [`Output::ReadEntries`], [`Output::ReadControl`] or [`Output::ReadHistory`] when the
    /// database failed: the session ends with [`CloseReason::StoreFailed`].
    StoreFailed,
}

/// Something a session wants done or wants known.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send these bytes as one frame. Frames must arrive whole and in order.
    Send(Vec<u8>),
    /// The session is over; no output follows. After a [`CloseReason`] told to the peer, its last frame is already out.
    Closed {
        /// Why.
        reason: CloseReason,
        /// Whether the peer ended it.
        by_peer: bool,
    },

    /// Both ends proved to hold a key of this context. Information only.
    Shared {
        /// The context.
        context: ContextId,
        /// What it allows.
        kind: LinkKind,
    },
    /// Sign the message with the device key. Answer: [`Event::Signed`].
    Sign {
        /// The context.
        context: ContextId,
        /// What to sign.
        message: Vec<u8>,
    },
    /// Name the control entries held. Answer: [`Event::History`].
    ReadHistory {
        /// The context.
        context: ContextId,
    },
    /// Read control entries. Answer: [`Event::ControlRead`].
    ReadControl {
        /// The context.
        context: ContextId,
        /// Which, in the order wanted.
        hashes: Vec<ControlHash>,
        /// Stop after this many bytes, but read at least one.
        bytes_max: usize,
    },
    /// Check and store control entries, which come in causal order. Answer: [`Event::ControlApplied`] or
    /// [`Event::EndContext`].
    ApplyControl {
        /// The context.
        context: ContextId,
        /// From whom: a joiner's entries deserve more suspicion.
        kind: LinkKind,
        /// The entries.
        entries: Vec<Vec<u8>>,
    },
    /// Both ends hold the same control history now. Comes again after each change. A joiner that has pushed its join
    /// entry knows by this that the host has stored it.
    ControlInSync {
        /// The context.
        context: ContextId,
    },
    /// Check that the signature is the device's over the message and that the roster has the device. Comes once the
    /// control history is in sync. Answer: [`Event::PeerAccepted`] or [`Event::EndContext`].
    PeerProof {
        /// The context.
        context: ContextId,
        /// The device the peer claims to be.
        device: DeviceKey,
        /// What it had to sign.
        message: Vec<u8>,
        /// Its signature.
        signature: Signature,
    },
    /// What the peer says it holds. A device that finds more of its own log here than it holds itself was restored from a
    /// backup. Where the entries named are others than those held here, answer [`Event::PeerDisagrees`].
    PeerFrontier {
        /// The context.
        context: ContextId,
        /// The compartment.
        compartment: CompartmentId,
        /// The peer's vouched frontier.
        frontier: Arc<Frontier>,
    },
    /// Read vouched entries in the order of arrival, those after the cursor that are beyond the peer's frontier. Answer:
    /// [`Event::EntriesRead`].
    ReadEntries {
        /// The context.
        context: ContextId,
        /// The compartment.
        compartment: CompartmentId,
        /// Where to start.
        after: Cursor,
        /// What the peer has or was sent.
        peer: Arc<Frontier>,
        /// Stop after this many bytes, but read at least one entry.
        bytes_max: usize,
    },
    /// Check and store these runs, in this order. Answer: [`Event::Applied`].
    Apply {
        /// The batch, for the answer.
        batch: BatchId,
        /// The context.
        context: ContextId,
        /// The compartment.
        compartment: CompartmentId,
        /// The runs.
        runs: Vec<Run>,
    },
    /// Both ends hold the same vouched entries of this compartment, as far as this end knows. Comes again after each
    /// change.
    InSync {
        /// The context.
        context: ContextId,
        /// The compartment.
        compartment: CompartmentId,
    },
    /// One context is no longer spoken of on this link.
    ContextEnded {
        /// The context.
        context: ContextId,
        /// Why.
        reason: EndReason,
        /// Whether the peer ended it.
        by_peer: bool,
    },
}

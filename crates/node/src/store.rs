//! What a node needs of the database of its device.
//!
//! Everything is called on one thread. Nothing here waits for a network, and no method is called while another runs.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;

use aeroedge_ids::{CompartmentId, ContextId, ControlHash, DeviceKey, Millis, WriterKey};
use aeroedge_protocol::{Credential, Cursor, EndReason, Frontier, LinkKind, Run, Signature};

use crate::beacon::Tags;

/// The database failed; the sessions that asked end, the node goes on.
pub type StoreError = Box<dyn Error + Send + Sync>;

/// The database of one device, with its keys.
pub trait Store: Send + 'static {
    /// What merging changed, in the words of the store: handed to the program's hook after each group of batches.
    type Touched: Send + 'static;

    /// The key of this device.
    fn device(&self) -> DeviceKey;

    /// What this device may speak of on a link.
    fn credentials(&mut self) -> Result<Vec<Credential>, StoreError>;

    /// How devices that share something with this one recognise each other.
    fn tags(&mut self) -> Result<Arc<dyn Tags>, StoreError>;

    /// Signs with the key of this device.
    fn sign(&mut self, message: &[u8]) -> Result<Signature, StoreError>;

    /// Every context whose control history is held, with the number of its control entries.
    fn contexts(&mut self) -> Result<Vec<(ContextId, usize)>, StoreError>;

    /// The control entries held, parents first; the list only ever grows at its end.
    fn history(&mut self, context: ContextId) -> Result<Arc<[ControlHash]>, StoreError>;

    /// The first of these control entries, until they exceed `bytes_max`; at least one.
    fn control_entries(
        &mut self,
        context: ContextId,
        hashes: &[ControlHash],
        bytes_max: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError>;

    /// Checks and stores control entries.
    fn receive_control(
        &mut self,
        context: ContextId,
        kind: LinkKind,
        entries: Vec<Vec<u8>>,
        now: Millis,
    ) -> Result<ControlReceived, StoreError>;

    /// Whether a device is who it claims to be and belongs to a context, and what it may read there.
    fn judge(
        &mut self,
        context: ContextId,
        device: DeviceKey,
        message: &[u8],
        signature: &Signature,
    ) -> Result<Judgement, StoreError>;

    /// The compartments of a context that this device may read.
    fn compartments(&mut self, context: ContextId) -> Result<Vec<CompartmentId>, StoreError>;

    /// What this device holds and may offer.
    fn frontier(&mut self, compartment: CompartmentId) -> Result<Frontier, StoreError>;

    /// Entries that a peer lacks, in the order of their arrival here.
    fn read_entries(
        &mut self,
        compartment: CompartmentId,
        peer: &Frontier,
        after: Cursor,
        bytes_max: usize,
    ) -> Result<EntriesRead, StoreError>;

    /// Compares what a peer says it holds with what is here: the logs in which it names other entries.
    fn compare_frontier(
        &mut self,
        _compartment: CompartmentId,
        _peer: &Frontier,
    ) -> Result<Vec<WriterKey>, StoreError> {
        Ok(Vec::new())
    }

    /// Checks, stores and merges entries that came over one link. They need not be durable before
    /// [`Store::make_durable`].
    fn receive_entries(
        &mut self,
        batches: &[(ContextId, CompartmentId, Vec<Run>)],
        now: Millis,
    ) -> Result<Received<Self::Touched>, StoreError>;

    /// Merges stored entries that waited for control entries or for their time to come.
    fn settle(&mut self, now: Millis) -> Result<Received<Self::Touched>, StoreError>;

    /// From now on what calls write may be held back and committed together, until [`Store::end_group`] or
    /// [`Store::make_durable`].
    fn begin_group(&mut self) {}

    /// Commits what was held back. After an error nothing since [`Store::begin_group`] can be relied on.
    fn end_group(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Makes everything so far durable and signs what was written here; whether any own log may be offered further than
    /// before. Costs nothing when there is nothing to do.
    fn make_durable(&mut self) -> Result<bool, StoreError>;

    /// Notices what another process wrote to the same database; whether it wrote anything. Costs next to nothing when it
    /// did not.
    fn refresh(&mut self) -> Result<bool, StoreError>;

    /// How far joining has come, for every context that is being joined.
    fn joins(&mut self) -> Vec<(ContextId, JoinState)>;

    /// Whether a log is written here.
    fn is_own(&self, context: ContextId, writer: WriterKey) -> bool;
}

/// What became of control entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlReceived {
    /// They are stored.
    Stored,
    /// They do not hold: the context ends on that link.
    Refused(EndReason),
}

/// What is thought of a peer's proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It belongs to the context; both may read these compartments, of which this device may offer so much.
    Accepted(BTreeMap<CompartmentId, Frontier>),
    /// It does not: the context ends on that link.
    Refused(EndReason),
}

/// Entries that a peer lacks.
#[derive(Debug, Clone, Default)]
pub struct EntriesRead {
    /// In the order of their arrival here.
    pub runs: Vec<Run>,
    /// Where to read on.
    pub next: Cursor,
    /// Whether nothing more could be read.
    pub exhausted: bool,
}

/// What became of a batch of entries.
#[derive(Debug, Clone)]
pub struct Received<T> {
    /// Logs that may be offered further than before.
    pub changed: BTreeMap<CompartmentId, Frontier>,
    /// Writers whose entries did not hold.
    pub declined: Vec<WriterKey>,
    /// A log turned out to be forked: what is offered of it has other names now, so all sessions begin anew.
    pub forked: bool,
    /// The peer holds other entries than those here under some numbers: only a new session compares them from the start.
    pub parted: bool,
    /// Contexts and tables whose rows changed.
    pub contexts: BTreeSet<ContextId>,
    /// The tables.
    pub tables: BTreeSet<String>,
    /// The same in the words of the store, if anything changed.
    pub touched: Option<T>,
}

/// How far joining a context has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinState {
    /// Looking for somebody of that context.
    Searching,
    /// The secret does not fit the link.
    WrongSecret,
    /// The history refuses it; the sentence says why.
    Refused(String),
    /// This device is a member. Told once.
    Joined,
}

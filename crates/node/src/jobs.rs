//! What the tasks of links and the program ask of the thread that owns the database.

use std::collections::BTreeMap;

use aeroedge_ids::{CompartmentId, ContextId, ControlHash, DeviceKey};
use aeroedge_protocol::{BatchId, Credential, Cursor, Event, Frontier, LinkKind, Run, Signature};
use tokio::sync::{mpsc, oneshot};

use crate::store::StoreError;

/// Number of a link within one run of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u64);

/// Runs on the thread and gives what is to be done once its writes are durable, or have failed to be.
pub(crate) type Call<S> = Box<dyn FnOnce(&mut S) -> Finish + Send>;
pub(crate) type Finish = Box<dyn FnOnce(Result<(), &StoreError>) + Send>;

pub(crate) enum Job<S> {
    /// The program wants something done with the database.
    Call(Call<S>),
    /// The program wants something written; its commit may be shared.
    Write(Call<S>),
    /// Another process wrote: look at once.
    Poke(oneshot::Sender<()>),
    /// A link is up.
    Opened {
        link: LinkId,
        events: mpsc::UnboundedSender<ToLink>,
    },
    /// A link is gone.
    Gone(LinkId),
    /// A session asks.
    Ask(LinkId, Question),
    /// Finish what is there, then end.
    Stop,
}

/// What the thread tells the task of a link.
#[derive(Debug)]
pub(crate) enum ToLink {
    /// What it may speak of: the session can begin.
    Credentials(Vec<Credential>),
    /// For the session.
    Event(Event),
    /// The peer proved to be this device, and shares these compartments.
    Accepted {
        context: ContextId,
        device: DeviceKey,
        compartments: BTreeMap<CompartmentId, Frontier>,
    },
    /// What this device may speak of has grown since the session began: begin anew.
    Restart,
}

/// The questions of a session, as in `aeroedge_protocol::Output`.
pub(crate) enum Question {
    Sign {
        context: ContextId,
        message: Vec<u8>,
    },
    ReadHistory {
        context: ContextId,
    },
    ReadControl {
        context: ContextId,
        hashes: Vec<ControlHash>,
        bytes_max: usize,
    },
    ApplyControl {
        context: ContextId,
        kind: LinkKind,
        entries: Vec<Vec<u8>>,
    },
    PeerProof {
        context: ContextId,
        device: DeviceKey,
        message: Vec<u8>,
        signature: Signature,
    },
    ReadEntries {
        context: ContextId,
        compartment: CompartmentId,
        after: Cursor,
        peer: std::sync::Arc<Frontier>,
        bytes_max: usize,
    },
    Compare {
        context: ContextId,
        compartment: CompartmentId,
        peer: std::sync::Arc<Frontier>,
    },
    Apply {
        batch: BatchId,
        context: ContextId,
        compartment: CompartmentId,
        runs: Vec<Run>,
    },
    /// A context ended on the link.
    Forget {
        context: ContextId,
    },
}

/// The way to the thread.
pub(crate) struct Engine<S>(pub(crate) std::sync::mpsc::Sender<Job<S>>);

impl<S> Clone for Engine<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> Engine<S> {
    /// Hands a job over; `false` if the thread has ended.
    pub(crate) fn send(&self, job: Job<S>) -> bool {
        self.0.send(job).is_ok()
    }
}

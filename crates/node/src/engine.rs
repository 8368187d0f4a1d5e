//! The thread that owns the database.
//!
//! It takes what is queued as one group: batches of entries are merged, calls of the program run, then one fsync covers
//! all of it, and only then is anybody told. A call's answer therefore means *durable*, and so does the acknowledgement
//! a peer gets. Under load groups grow and the cost of an fsync is shared; when idle a write waits for nobody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aeroedge_ids::{CompartmentId, ContextId, DeviceKey, Millis, WriterKey};
use aeroedge_protocol::{BatchId, Credential, EndReason, Event, Frontier, Origin, Run, Signature};
use tokio::sync::{mpsc, watch};

use crate::beacon::Tags;
use crate::jobs::{Finish, Job, LinkId, Question, ToLink};
use crate::peers::Peers;
use crate::status::Notice;
use crate::store::{ControlReceived, JoinState, Judgement, Moved, Store, StoreError};

/// A group is closed after this time even if more is queued, so that what was done becomes durable soon.
const GROUP_TIME: Duration = Duration::from_millis(4);
/// Likewise after this many bytes of entries.
const GROUP_BYTES: usize = 4 << 20;
/// Batches of one link and compartment that wait together are merged together, up to this many bytes.
const MERGE_BYTES: usize = 1 << 20;
/// How often the database is looked at for what other processes wrote.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs after each group in which rows changed by merging, on the thread of the database, before the group is durable:
/// what it writes is durable with it.
pub type AfterMerge<S> = Box<dyn FnMut(&mut S, Vec<<S as Store>::Touched>) + Send>;

pub(crate) struct Thread<S: Store> {
    store: S,
    jobs: Receiver<Job<S>>,
    peers: Arc<Peers>,
    after_merge: Option<AfterMerge<S>>,
    tags: watch::Sender<Arc<dyn Tags>>,
    links: BTreeMap<LinkId, LinkState>,
    /// Control entries held, by context, as the sessions were last told.
    control: BTreeMap<ContextId, usize>,
    joins: BTreeMap<ContextId, JoinState>,
    /// What this device may speak of.
    credentials: Vec<Credential>,
    spoken: Vec<Spoken>,
    /// Looked at since the last group.
    last_look: Instant,
}

struct LinkState {
    events: mpsc::UnboundedSender<ToLink>,
    /// What could be spoken of when its session began.
    spoken: Vec<Spoken>,
    accepted: BTreeMap<ContextId, Accepted>,
}

/// A proof that held, kept to be judged again when the roster changes.
struct Accepted {
    device: DeviceKey,
    message: Vec<u8>,
    signature: Signature,
    compartments: Vec<CompartmentId>,
}

/// A context and in which part it can be spoken of; keys aside, since a session goes on when they change.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Spoken {
    context: ContextId,
    joining: bool,
}

/// What a group has to do at its end.
struct Group<S: Store> {
    finishes: Vec<Finish>,
    /// Entries that were taken in, to be acknowledged once durable.
    applied: Vec<(LinkId, BatchId, Vec<WriterKey>)>,
    moved: BTreeMap<(ContextId, CompartmentId), Frontier>,
    touched: Vec<S::Touched>,
    /// Whether the control history may have changed.
    may_have_control: bool,
    wrote: bool,
    bytes: usize,
}

impl<S: Store> Group<S> {
    fn new() -> Self {
        Self {
            finishes: Vec::new(),
            applied: Vec::new(),
            moved: BTreeMap::new(),
            touched: Vec::new(),
            may_have_control: false,
            wrote: false,
            bytes: 0,
        }
    }
}

/// Batches of one link and compartment that are merged together.
struct Waiting {
    link: LinkId,
    context: ContextId,
    compartment: CompartmentId,
    batches: Vec<BatchId>,
    runs: Vec<Run>,
    bytes: usize,
}

impl<S: Store> Thread<S> {
    pub(crate) fn new(
        store: S,
        jobs: Receiver<Job<S>>,
        peers: Arc<Peers>,
        after_merge: Option<AfterMerge<S>>,
        tags: watch::Sender<Arc<dyn Tags>>,
    ) -> Self {
        Self {
            store,
            jobs,
            peers,
            after_merge,
            tags,
            links: BTreeMap::new(),
            control: BTreeMap::new(),
            joins: BTreeMap::new(),
            credentials: Vec::new(),
            spoken: Vec::new(),
            last_look: Instant::now(),
        }
    }

    /// Works until it is told to stop or nobody can ask any more, then gives the database back.
    pub(crate) fn run(mut self) -> S {
        if let Err(error) = self.begin() {
            tracing::error!(%error, "reading the device at start");
        }
        loop {
            let pause = LOOK_EVERY.saturating_sub(self.last_look.elapsed());
            let first = match self.jobs.recv_timeout(pause) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return self.store,
            };
            if !self.group(first) {
                return self.store;
            }
        }
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        let now = clock();
        self.store.refresh(now)?;
        self.store.make_durable(now)?;
        for (context, _) in self.store.contexts()? {
            for compartment in self.store.compartments(context)? {
                let own = self.store.own_frontier(compartment)?;
                self.peers.start_own(compartment, &own);
            }
        }
        self.look_at_control();
        self.compare_credentials()
    }

    /// One group; `false` when told to stop.
    fn group(&mut self, first: Option<Job<S>>) -> bool {
        let mut group = Group::new();
        let mut waiting: Option<Waiting> = None;
        let began = Instant::now();
        let mut go_on = true;
        let mut next = first;
        while let Some(job) = next.take() {
            match job {
                Job::Stop => {
                    go_on = false;
                    break;
                }
                Job::Ask(
                    link,
                    Question::Apply {
                        batch,
                        context,
                        compartment,
                        runs,
                    },
                ) => {
                    self.queue(
                        &mut group,
                        &mut waiting,
                        link,
                        batch,
                        context,
                        compartment,
                        runs,
                    );
                }
                other => {
                    // Answers keep the order of questions: what a call reads includes what was received before.
                    self.merge(&mut group, waiting.take());
                    self.job(&mut group, other);
                }
            }
            if began.elapsed() < GROUP_TIME && group.bytes < GROUP_BYTES {
                next = self.jobs.try_recv().ok();
            }
        }
        self.merge(&mut group, waiting.take());
        if self.last_look.elapsed() >= LOOK_EVERY {
            self.look(&mut group);
        }
        self.finish(group);
        go_on
    }

    fn job(&mut self, group: &mut Group<S>, job: Job<S>) {
        match job {
            Job::Call(call) => {
                group.finishes.push(call(&mut self.store));
                group.wrote = true;
                group.may_have_control = true;
            }
            Job::Poke(done) => {
                self.look(group);
                group.finishes.push(Box::new(move |_| {
                    // Whoever asked may have stopped waiting.
                    let _ = done.send(());
                }));
            }
            Job::Opened { link, events } => {
                let _ = events.send(ToLink::Credentials(self.credentials.clone()));
                let state = LinkState {
                    events,
                    spoken: self.spoken.clone(),
                    accepted: BTreeMap::new(),
                };
                self.links.insert(link, state);
            }
            Job::Gone(link) => drop(self.links.remove(&link)),
            Job::Ask(link, question) => {
                if let Err(error) = self.answer(group, link, question) {
                    tracing::error!(link = link.0, %error, "answering a session");
                    self.tell(link, Event::StoreFailed);
                }
            }
            Job::Stop => {}
        }
    }

    /// Looks for what other processes wrote.
    fn look(&mut self, group: &mut Group<S>) {
        self.last_look = Instant::now();
        group.may_have_control = true;
        group.wrote = true;
        match self.store.refresh(clock()) {
            Ok(moved) => note_moved(&mut group.moved, &self.peers, &moved),
            Err(error) => tracing::error!(%error, "looking for what other processes wrote"),
        }
    }

    fn answer(
        &mut self,
        group: &mut Group<S>,
        link: LinkId,
        question: Question,
    ) -> Result<(), StoreError> {
        let event = match question {
            Question::Sign { context, message } => Event::Signed {
                context,
                device: self.store.device(),
                signature: self.store.sign(&message)?,
            },
            Question::ReadHistory { context } => Event::History {
                context,
                hashes: self.store.history(context)?,
            },
            Question::ReadControl {
                context,
                hashes,
                bytes_max,
            } => Event::ControlRead {
                context,
                entries: self.store.control_entries(context, &hashes, bytes_max)?,
            },
            Question::ApplyControl {
                context,
                kind,
                entries,
            } => {
                group.may_have_control = true;
                group.wrote = true;
                match self
                    .store
                    .receive_control(context, kind, entries, clock())?
                {
                    ControlReceived::Stored => Event::ControlApplied {
                        context,
                        hashes: self.store.history(context)?,
                    },
                    ControlReceived::Refused(reason) => Event::EndContext { context, reason },
                }
            }
            Question::PeerProof {
                context,
                device,
                message,
                signature,
            } => {
                return self.judge(link, context, device, message, signature);
            }
            Question::ReadEntries {
                context,
                compartment,
                after,
                peer,
                bytes_max,
            } => {
                let read = self
                    .store
                    .read_entries(compartment, &peer, after, bytes_max)?;
                Event::EntriesRead {
                    context,
                    compartment,
                    runs: read.runs,
                    next: read.next,
                    exhausted: read.exhausted,
                }
            }
            Question::Forget { context } => {
                if let Some(state) = self.links.get_mut(&link) {
                    state.accepted.remove(&context);
                }
                return Ok(());
            }
            // Taken earlier, so that batches that wait together are merged together.
            Question::Apply { .. } => return Ok(()),
        };
        self.tell(link, event);
        Ok(())
    }

    fn judge(
        &mut self,
        link: LinkId,
        context: ContextId,
        device: DeviceKey,
        message: Vec<u8>,
        signature: Signature,
    ) -> Result<(), StoreError> {
        let judgement = if device == self.store.device() {
            // A copy of this very installation, or a link that leads back here.
            Judgement::Refused(EndReason::Done)
        } else {
            self.store.judge(context, device, &message, &signature)?
        };
        match judgement {
            Judgement::Refused(reason) => {
                if let Some(state) = self.links.get_mut(&link) {
                    state.accepted.remove(&context);
                }
                self.tell(link, Event::EndContext { context, reason });
            }
            Judgement::Accepted(readable) => {
                let mut compartments = BTreeMap::new();
                for compartment in readable {
                    compartments.insert(compartment, self.store.frontier(compartment)?);
                }
                let accepted = Accepted {
                    device,
                    message,
                    signature,
                    compartments: compartments.keys().copied().collect(),
                };
                if let Some(state) = self.links.get_mut(&link) {
                    state.accepted.insert(context, accepted);
                    let _ = state.events.send(ToLink::Accepted {
                        context,
                        device,
                        compartments,
                    });
                }
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one question")]
    fn queue(
        &mut self,
        group: &mut Group<S>,
        waiting: &mut Option<Waiting>,
        link: LinkId,
        batch: BatchId,
        context: ContextId,
        compartment: CompartmentId,
        runs: Vec<Run>,
    ) {
        let bytes: usize = runs.iter().map(Run::cost).sum();
        group.bytes += bytes;
        if let Some(same) = waiting.as_mut().filter(|same| {
            (same.link, same.context, same.compartment) == (link, context, compartment)
                && same.bytes + bytes <= MERGE_BYTES
        }) {
            same.batches.push(batch);
            same.runs.extend(runs);
            same.bytes += bytes;
            return;
        }
        self.merge(group, waiting.take());
        *waiting = Some(Waiting {
            link,
            context,
            compartment,
            batches: vec![batch],
            runs,
            bytes,
        });
    }

    fn merge(&mut self, group: &mut Group<S>, waiting: Option<Waiting>) {
        let Some(Waiting {
            link,
            context,
            compartment,
            batches,
            runs,
            ..
        }) = waiting
        else {
            return;
        };
        group.wrote = true;
        match self
            .store
            .receive_entries(context, compartment, runs, clock())
        {
            Ok(received) => {
                if !received.changed.is_empty() {
                    group
                        .moved
                        .entry((context, compartment))
                        .or_default()
                        .extend(received.changed);
                    self.peers.received();
                }
                if !received.tables.is_empty() {
                    self.peers.changed(Some(context), received.tables);
                }
                group.touched.extend(received.touched);
                group.applied.extend(
                    batches
                        .into_iter()
                        .map(|batch| (link, batch, received.declined.clone())),
                );
            }
            Err(error) => {
                tracing::error!(link = link.0, %context, %error, "taking in entries");
                self.tell(link, Event::StoreFailed);
            }
        }
    }

    /// Makes the group durable, then tells everybody.
    fn finish(&mut self, mut group: Group<S>) {
        if !group.touched.is_empty()
            && let Some(hook) = &mut self.after_merge
        {
            hook(&mut self.store, std::mem::take(&mut group.touched));
            group.wrote = true;
        }
        // Entries of others first, so that own ones, which follow from them, come after.
        let taken_in = std::mem::take(&mut group.moved);
        let durable = if group.wrote {
            self.store.make_durable(clock())
        } else {
            Ok(Vec::new())
        };
        let failed = match durable {
            Ok(moved) => {
                for ((context, compartment), changed) in taken_in {
                    self.spread(context, compartment, &changed, Origin::Elsewhere);
                }
                note_moved(&mut group.moved, &self.peers, &moved);
                None
            }
            Err(error) => {
                tracing::error!(%error, "making writes durable");
                Some(error)
            }
        };
        for ((context, compartment), changed) in std::mem::take(&mut group.moved) {
            self.spread(context, compartment, &changed, Origin::Here);
            self.peers.changed(Some(context), []);
        }
        for (link, batch, declined) in group.applied {
            let event = if failed.is_some() {
                Event::StoreFailed
            } else {
                Event::Applied { batch, declined }
            };
            self.tell(link, event);
        }
        if group.may_have_control {
            self.look_at_control();
        }
        for finish in group.finishes {
            finish(failed.as_ref().map_or(Ok(()), Err));
        }
    }

    fn spread(
        &self,
        context: ContextId,
        compartment: CompartmentId,
        changed: &Frontier,
        origin: Origin,
    ) {
        for state in self.links.values() {
            let shares = state
                .accepted
                .get(&context)
                .is_some_and(|accepted| accepted.compartments.contains(&compartment));
            if shares {
                let changed = changed.clone();
                let event = Event::Frontier {
                    context,
                    compartment,
                    changed,
                    origin,
                };
                let _ = state.events.send(ToLink::Event(event));
            }
        }
    }

    fn tell(&self, link: LinkId, event: Event) {
        if let Some(state) = self.links.get(&link) {
            let _ = state.events.send(ToLink::Event(event));
        }
    }

    /// Tells sessions what became of the control history, whoever changed it.
    fn look_at_control(&mut self) {
        if let Err(error) = self.compare_control() {
            tracing::error!(%error, "reading the control history");
        }
    }

    fn compare_control(&mut self) -> Result<(), StoreError> {
        let mut grown = Vec::new();
        for (context, length) in self.store.contexts()? {
            if self.control.insert(context, length) != Some(length) {
                grown.push(context);
            }
        }
        for context in &grown {
            let hashes = self.store.history(*context)?;
            for state in self.links.values() {
                let event = Event::History {
                    context: *context,
                    hashes: Arc::clone(&hashes),
                };
                let _ = state.events.send(ToLink::Event(event));
            }
            self.judge_again(*context)?;
            self.peers.notify(Notice::Membership(*context));
        }
        let joined = self.compare_joins();
        if joined || !grown.is_empty() {
            self.compare_credentials()?;
        }
        Ok(())
    }

    /// Tells how far joining has come; whether anything changed.
    fn compare_joins(&mut self) -> bool {
        let joins: BTreeMap<ContextId, JoinState> = self.store.joins().into_iter().collect();
        if joins == self.joins {
            return false;
        }
        for (context, state) in &joins {
            if self.joins.get(context) != Some(state) {
                self.peers.notify(Notice::Join(*context, state.clone()));
            }
        }
        self.joins = joins;
        true
    }

    /// A roster changed: who was accepted may be no longer, or may read more or less than before.
    fn judge_again(&mut self, context: ContextId) -> Result<(), StoreError> {
        let accepted: Vec<(LinkId, Accepted)> = self
            .links
            .iter_mut()
            .filter_map(|(link, state)| Some((*link, state.accepted.remove(&context)?)))
            .collect();
        for (
            link,
            Accepted {
                device,
                message,
                signature,
                ..
            },
        ) in accepted
        {
            self.judge(link, context, device, message, signature)?;
        }
        Ok(())
    }

    /// A session speaks of what there was when it began; one that could now speak of more begins anew.
    fn compare_credentials(&mut self) -> Result<(), StoreError> {
        let credentials = self.store.credentials()?;
        let spoken: Vec<Spoken> = credentials
            .iter()
            .filter_map(|credential| match credential {
                Credential::Member { context, .. } => Some(Spoken {
                    context: *context,
                    joining: false,
                }),
                Credential::Joiner { context, .. } => Some(Spoken {
                    context: *context,
                    joining: true,
                }),
                // Who holds an invite comes on a link of its own.
                Credential::Invite { .. } => None,
            })
            .collect();
        self.credentials = credentials;
        self.spoken = spoken;
        for state in self.links.values_mut() {
            let more = self
                .spoken
                .iter()
                .any(|spoken| !state.spoken.contains(spoken));
            if more {
                state.spoken.clone_from(&self.spoken);
                let _ = state.events.send(ToLink::Restart);
            }
        }
        self.tags.send_replace(self.store.tags()?);
        Ok(())
    }
}

fn note_moved(
    all: &mut BTreeMap<(ContextId, CompartmentId), Frontier>,
    peers: &Peers,
    moved: &[Moved],
) {
    if moved.is_empty() {
        return;
    }
    peers.own_moved(moved);
    for one in moved {
        all.entry((one.context, one.compartment))
            .or_default()
            .insert(one.writer, one.seq);
    }
}

/// The clock of this machine; before 1970 it counts as 1970.
pub(crate) fn clock() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Millis(since.as_millis() as u64)
}

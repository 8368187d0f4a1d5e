//! The thread that owns the database.
//!
//! It takes what is queued as one group: batches of entries are merged, calls of the program run, then one fsync covers
//! all of it, and only then is anybody told. A call's answer therefore means *durable*, and so does the acknowledgement
//! a peer gets. Under load groups grow and the cost of an fsync is shared; when idle a write waits for nobody. Writes that
//! follow each other share even the commit: the store holds them back until something else is to happen.

mod membership;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aeroedge_ids::{CompartmentId, ContextId, DeviceKey, Millis, WriterKey};
use aeroedge_protocol::{BatchId, Credential, Event, Frontier, Origin, Run, Signature};
use tokio::sync::{mpsc, watch};

use crate::beacon::Tags;
use crate::jobs::{Finish, Job, LinkId, Question, ToLink};
use crate::peers::Peers;
use crate::store::{ControlReceived, JoinState, Received, Store, StoreError};

/// A group is closed after this time even if more is queued, so that what was done becomes durable soon.
const GROUP_TIME: Duration = Duration::from_millis(8);
/// Or after this time while nothing but writes is queued: each page of an index is written once for a group, so that under load
/// a longer one is a faster one, and nobody else waits.
const WRITES_TIME: Duration = Duration::from_millis(40);
/// Likewise after this many bytes of entries.
const GROUP_BYTES: usize = 4 << 20;
/// Batches of one link and compartment that wait together are merged together, up to this many bytes.
const MERGE_BYTES: usize = 1 << 20;
/// How often the database is looked at for what other processes wrote.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often entries that wait are tried again although nothing they wait for has come: time may have.
const SETTLE_EVERY: Duration = Duration::from_secs(1);

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
    /// What may be offered, as the sessions were last told.
    offered: BTreeMap<(ContextId, CompartmentId), Frontier>,
    /// What this device may speak of.
    credentials: Vec<Credential>,
    spoken: Vec<Spoken>,
    /// When what other processes write was last looked for, and when what waits was last tried.
    last_look: Instant,
    last_settled: Instant,
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

/// A compartment of a context.
type Place = (ContextId, CompartmentId);

/// What a group has to do at its end.
struct Group<S: Store> {
    finishes: Vec<Finish>,
    /// From which of them on writes are held back, if they are.
    held_back: Option<usize>,
    /// Whether all that was done so far was to write, and to read for others.
    is_only_writes: bool,
    /// Entries that were taken in, to be acknowledged once durable.
    applied: Vec<(LinkId, BatchId, Vec<WriterKey>)>,
    /// Logs that were taken in.
    taken: BTreeMap<Place, Frontier>,
    touched: Vec<S::Touched>,
    /// Whether the control history may have changed.
    may_have_control: bool,
    /// Something may have to become durable.
    wrote: bool,
    /// Another process wrote.
    foreign: bool,
    /// Links whose sessions have to begin anew.
    begin_anew: BTreeSet<LinkId>,
    bytes: usize,
}

impl<S: Store> Group<S> {
    fn new() -> Self {
        Self {
            finishes: Vec::new(),
            held_back: None,
            is_only_writes: true,
            applied: Vec::new(),
            taken: BTreeMap::new(),
            touched: Vec::new(),
            may_have_control: false,
            wrote: false,
            foreign: false,
            begin_anew: BTreeSet::new(),
            bytes: 0,
        }
    }
}

/// Batches of one link that are merged together.
struct Waiting {
    link: LinkId,
    ids: Vec<BatchId>,
    batches: Vec<(ContextId, CompartmentId, Vec<Run>)>,
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
            offered: BTreeMap::new(),
            credentials: Vec::new(),
            spoken: Vec::new(),
            last_look: Instant::now(),
            last_settled: Instant::now(),
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
        self.store.refresh()?;
        self.store.make_durable()?;
        self.store.settle(clock())?;
        for (place, frontier) in self.frontiers()? {
            for (writer, seq) in &frontier {
                if self.store.is_own(place.0, *writer) {
                    self.peers.own_at_start(place.1, *writer, *seq);
                }
            }
            self.offered.insert(place, frontier);
        }
        self.look_at_control();
        self.compare_credentials()
    }

    fn frontiers(&mut self) -> Result<Vec<(Place, Frontier)>, StoreError> {
        let mut frontiers = Vec::new();
        for (context, _) in self.store.contexts()? {
            for compartment in self.store.compartments(context)? {
                frontiers.push(((context, compartment), self.store.frontier(compartment)?));
            }
        }
        Ok(frontiers)
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
                    let batch = (batch, context, compartment, runs);
                    self.queue(&mut group, &mut waiting, link, batch);
                }
                other => {
                    // Answers keep the order of questions: what a call reads includes what was received before.
                    self.merge(&mut group, waiting.take());
                    self.job(&mut group, other);
                }
            }
            let time = if group.is_only_writes && waiting.is_none() {
                WRITES_TIME
            } else {
                GROUP_TIME
            };
            if began.elapsed() < time && group.bytes < GROUP_BYTES {
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
            Job::Write(call) => {
                if group.held_back.is_none() {
                    self.store.begin_group();
                    group.held_back = Some(group.finishes.len());
                }
                group.finishes.push(call(&mut self.store));
                group.wrote = true;
            }
            Job::Call(call) => {
                group.is_only_writes = false;
                self.commit(group);
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

    /// Commits the writes that are held back, before something that is not to happen among them. Those who wait for them
    /// are told at once if that fails, for what comes after is none of their fault.
    fn commit(&mut self, group: &mut Group<S>) {
        let Some(first) = group.held_back.take() else {
            return;
        };
        if let Err(error) = self.store.end_group() {
            tracing::error!(%error, "committing writes");
            for finish in group.finishes.drain(first..) {
                finish(Err(&error));
            }
        }
    }

    /// Looks for what other processes wrote, and now and then for what waits.
    fn look(&mut self, group: &mut Group<S>) {
        self.commit(group);
        self.last_look = Instant::now();
        match self.store.refresh() {
            Ok(false) => {}
            Ok(true) => {
                group.may_have_control = true;
                group.wrote = true;
                group.foreign = true;
            }
            Err(error) => tracing::error!(%error, "looking for what other processes wrote"),
        }
        if group.foreign || self.last_settled.elapsed() >= SETTLE_EVERY {
            // Settling also does what membership has been waiting for.
            group.may_have_control = true;
            group.wrote = true;
            self.settle(group);
        }
    }

    /// Merges what waited.
    fn settle(&mut self, group: &mut Group<S>) {
        self.last_settled = Instant::now();
        match self.store.settle(clock()) {
            Ok(received) => self.note(group, received),
            Err(error) => tracing::error!(%error, "merging what waited"),
        }
    }

    /// Notes what merging did.
    fn note(&self, group: &mut Group<S>, received: Received<S::Touched>) {
        for context in received.contexts {
            self.peers
                .changed(Some(context), received.tables.iter().cloned());
        }
        if let Some(touched) = received.touched {
            group.touched.push(touched);
            group.wrote = true;
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
                self.commit(group);
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
            Question::Compare {
                context,
                compartment,
                peer,
            } => {
                let logs = self.store.compare_frontier(compartment, &peer)?;
                if logs.is_empty() {
                    return Ok(());
                }
                Event::PeerDisagrees {
                    context,
                    compartment,
                    logs,
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

    fn queue(
        &mut self,
        group: &mut Group<S>,
        waiting: &mut Option<Waiting>,
        link: LinkId,
        (id, context, compartment, runs): (BatchId, ContextId, CompartmentId, Vec<Run>),
    ) {
        let bytes: usize = runs.iter().map(Run::cost).sum();
        group.bytes += bytes;
        let fits =
            |waiting: &&mut Waiting| waiting.link == link && waiting.bytes + bytes <= MERGE_BYTES;
        if let Some(same) = waiting.as_mut().filter(fits) {
            same.ids.push(id);
            same.batches.push((context, compartment, runs));
            same.bytes += bytes;
            return;
        }
        self.merge(group, waiting.take());
        *waiting = Some(Waiting {
            link,
            ids: vec![id],
            batches: vec![(context, compartment, runs)],
            bytes,
        });
    }

    fn merge(&mut self, group: &mut Group<S>, waiting: Option<Waiting>) {
        let Some(Waiting {
            link, ids, batches, ..
        }) = waiting
        else {
            return;
        };
        self.commit(group);
        group.is_only_writes = false;
        group.wrote = true;
        let mut received = match self.store.receive_entries(&batches, clock()) {
            Ok(received) => received,
            Err(error) => {
                tracing::error!(link = link.0, %error, "taking in entries");
                return self.tell(link, Event::StoreFailed);
            }
        };
        if received.forked {
            group.begin_anew.extend(self.links.keys().copied());
        } else if received.parted {
            group.begin_anew.insert(link);
        }
        for (id, (context, compartment, runs)) in ids.into_iter().zip(&batches) {
            if let Some(changed) = received
                .changed
                .remove(compartment)
                .filter(|changed| !changed.is_empty())
            {
                group
                    .taken
                    .entry((*context, *compartment))
                    .or_default()
                    .copy_all(&changed);
                self.peers.received();
            }
            let declined = |writer: &WriterKey| runs.iter().any(|run| run.writer == *writer);
            let declined = received.declined.iter().copied().filter(declined).collect();
            group.applied.push((link, id, declined));
        }
        self.note(group, received);
    }

    /// Makes the group durable, then tells everybody.
    fn finish(&mut self, mut group: Group<S>) {
        if group.may_have_control {
            // Entries may have waited for just this.
            self.commit(&mut group);
            self.settle(&mut group);
        }
        if !group.touched.is_empty() && self.after_merge.is_some() {
            self.commit(&mut group);
        }
        if !group.touched.is_empty()
            && let Some(hook) = &mut self.after_merge
        {
            hook(&mut self.store, std::mem::take(&mut group.touched));
        }
        let durable = if group.wrote {
            self.store.make_durable()
        } else {
            Ok(false)
        };
        // Before the entries: a neighbour declines those of a writer whose admission it has not heard of.
        if group.may_have_control {
            self.look_at_control();
        }
        let failed = match durable {
            Ok(own) => {
                for (place, changed) in std::mem::take(&mut group.taken) {
                    self.offered.entry(place).or_default().copy_all(&changed);
                    self.spread(place, &changed, Origin::Elsewhere);
                }
                if own || group.foreign {
                    self.spread_own();
                }
                None
            }
            Err(error) => {
                tracing::error!(%error, "making writes durable");
                Some(error)
            }
        };
        for (link, batch, declined) in group.applied {
            let event = if failed.is_some() {
                Event::StoreFailed
            } else {
                Event::Applied { batch, declined }
            };
            self.tell(link, event);
        }
        for link in group.begin_anew {
            if let Some(state) = self.links.get(&link) {
                let _ = state.events.send(ToLink::Restart);
            }
        }
        for finish in group.finishes {
            finish(failed.as_ref().map_or(Ok(()), Err));
        }
    }

    /// Tells sessions what this device, or another process on its database, has added.
    fn spread_own(&mut self) {
        let frontiers = match self.frontiers() {
            Ok(frontiers) => frontiers,
            Err(error) => return tracing::error!(%error, "reading what may be offered"),
        };
        for (place, frontier) in frontiers {
            let told = self.offered.entry(place).or_default();
            let changed = frontier.beyond(told);
            if changed.is_empty() {
                continue;
            }
            told.copy_all(&changed);
            for (writer, seq) in &changed {
                if self.store.is_own(place.0, *writer) {
                    self.peers.own_moved(place.1, *writer, *seq);
                }
            }
            self.peers.changed(Some(place.0), []);
            self.spread(place, &changed, Origin::Here);
        }
    }

    fn spread(&self, (context, compartment): Place, changed: &Frontier, origin: Origin) {
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
}

/// The clock of this machine; before 1970 it counts as 1970.
pub(crate) fn clock() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Millis(since.as_millis() as u64)
}

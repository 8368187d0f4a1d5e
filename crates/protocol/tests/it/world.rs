//! Devices, links and one fake clock; everything random comes from one seed.

use std::collections::{BTreeSet, VecDeque};

use aeroedge_ids::{CompartmentId, ContextId, InviteKey, Millis, Seq, WriterKey};
use aeroedge_protocol::{
    CloseReason, Config, EndReason, Event, Feeders, Limits, LinkKind, Origin, Output, Session, Side,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::store::{Action, Store, signature};

pub(crate) const CLUB: ContextId = ContextId([0xc1; 16]);
pub(crate) const EVERYONE: CompartmentId = CompartmentId([0xe0; 16]);
pub(crate) const STAFF: CompartmentId = CompartmentId([0x5f; 16]);

pub(crate) fn writer(number: u8) -> WriterKey {
    WriterKey([number; 32])
}

/// One end of a link.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) device: usize,
    pub(crate) session: Session,
    pub(crate) inbox: VecDeque<(Millis, Vec<u8>)>,
    questions: Vec<Output>,
    /// Everything put out but frames and questions.
    pub(crate) notices: Vec<Output>,
    /// Every frame this end sent.
    pub(crate) sent: Vec<Vec<u8>>,
    taken: BTreeSet<(CompartmentId, WriterKey, Seq)>,
    pub(crate) buffered_max: usize,
}

impl End {
    pub(crate) fn closed(&self) -> Option<(CloseReason, bool)> {
        self.notices.iter().find_map(|notice| match notice {
            Output::Closed { reason, by_peer } => Some((*reason, *by_peer)),
            _ => None,
        })
    }

    pub(crate) fn ended(&self) -> Option<(EndReason, bool)> {
        self.notices.iter().find_map(|notice| match notice {
            Output::ContextEnded {
                reason, by_peer, ..
            } => Some((*reason, *by_peer)),
            _ => None,
        })
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Millis,
    pub(crate) rng: ChaCha12Rng,
    pub(crate) stores: Vec<Store>,
    feeders: Vec<Feeders>,
    pub(crate) links: Vec<[End; 2]>,
    pub(crate) latency_ms: u64,
    pub(crate) limits: Limits,
    /// Device whose database never answers an apply.
    pub(crate) never_applies: Option<usize>,
    /// Device whose database takes so many milliseconds for a batch.
    pub(crate) slow: Option<(usize, u64)>,
    slow_until: Millis,
    /// Device that no frame reaches any more.
    pub(crate) deaf: Option<usize>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Millis(1_700_000_000_000),
            rng: ChaCha12Rng::seed_from_u64(seed),
            stores: Vec::new(),
            feeders: Vec::new(),
            links: Vec::new(),
            latency_ms: 5,
            limits: Limits::default(),
            never_applies: None,
            slow: None,
            slow_until: Millis(0),
            deaf: None,
        }
    }

    /// A club of so many devices that all know each other and hold both compartments.
    pub(crate) fn club(seed: u64, devices: u8) -> Self {
        let mut world = Self::new(seed);
        let mut founder = Store::new(1);
        founder.enter(CLUB, 7, &[EVERYONE, STAFF]);
        for number in 1..=devices {
            let device = Store::new(number).device;
            founder.govern(CLUB, Action::Add(device), &mut world.rng);
        }
        let control = founder.contexts[&CLUB].control.clone();
        world.stores.push(founder);
        for number in 2..=devices {
            let mut store = Store::new(number);
            store.enter(CLUB, 7, &[EVERYONE, STAFF]);
            let held = store.contexts.get_mut(&CLUB).unwrap();
            held.control.clone_from(&control);
            world.stores.push(store);
        }
        world
    }

    /// Opens a link between two devices.
    pub(crate) fn link(&mut self, dialler: usize, acceptor: usize) -> usize {
        let binding = self.rng.random();
        let mut end = |device: usize, side| {
            let config = Config {
                side,
                binding,
                credentials: self.stores[device].credentials.clone(),
                limits: self.limits.clone(),
            };
            End {
                device,
                session: Session::new(config, self.now, &mut self.rng),
                inbox: VecDeque::new(),
                questions: Vec::new(),
                notices: Vec::new(),
                sent: Vec::new(),
                taken: BTreeSet::new(),
                buffered_max: 0,
            }
        };
        let ends = [end(dialler, Side::Dialler), end(acceptor, Side::Acceptor)];
        self.links.push(ends);
        let link = self.links.len() - 1;
        self.drain(link, 0);
        self.drain(link, 1);
        link
    }

    pub(crate) fn cut(&mut self, link: usize) {
        for side in 0..2 {
            self.links[link][side].inbox.clear();
            self.feed(link, side, Event::LinkLost);
            self.links[link][side].questions.clear();
            let device = self.links[link][side].device;
            let events = self
                .feeders
                .get_mut(device)
                .map(|feeders| feeders.forget(link as u64));
            self.give(device, events.unwrap_or_default());
        }
    }

    pub(crate) fn feed(&mut self, link: usize, side: usize, event: Event) {
        self.links[link][side].session.handle(self.now, event);
        self.drain(link, side);
    }

    fn drain(&mut self, link: usize, side: usize) {
        let due = Millis(self.now.0 + self.latency_ms);
        let buffered = self.links[link][side].session.buffered_bytes();
        self.links[link][side].buffered_max = self.links[link][side].buffered_max.max(buffered);
        while let Some(output) = self.links[link][side].session.poll() {
            match output {
                Output::Send(bytes) => {
                    self.links[link][side].sent.push(bytes.clone());
                    let other = &mut self.links[link][1 - side];
                    if self.deaf != Some(other.device) {
                        other.inbox.push_back((due, bytes));
                    }
                }
                Output::PeerFrontier {
                    context,
                    compartment,
                    ..
                } => {
                    self.links[link][side].notices.push(output);
                    self.balance(link, side, context, compartment);
                }
                Output::Shared { .. }
                | Output::Closed { .. }
                | Output::ControlInSync { .. }
                | Output::InSync { .. }
                | Output::ContextEnded { .. } => self.links[link][side].notices.push(output),
                question => self.links[link][side].questions.push(question),
            }
        }
        assert_eq!(
            self.links[link][side].session.is_closed(),
            self.links[link][side].session.poll_timeout().is_none()
        );
    }

    /// Reports to the device's choice of feeders what this link still has to bring.
    fn balance(
        &mut self,
        link: usize,
        side: usize,
        context: ContextId,
        compartment: CompartmentId,
    ) {
        let End {
            device, session, ..
        } = &self.links[link][side];
        let (device, progress) = (*device, session.progress(context, compartment));
        while self.feeders.len() <= device {
            self.feeders.push(Feeders::new(4));
        }
        let to_receive = progress.map_or(0, |progress| progress.to_receive);
        let events = self.feeders[device].update(link as u64, context, compartment, to_receive);
        self.give(device, events);
    }

    fn give(&mut self, device: usize, events: Vec<(u64, Event)>) {
        for (link, event) in events {
            let side = usize::from(self.links[link as usize][0].device != device);
            self.feed(link as usize, side, event);
        }
    }

    /// Writes on a device and tells its sessions.
    pub(crate) fn write(
        &mut self,
        device: usize,
        compartment: CompartmentId,
        key: WriterKey,
        sizes: &[usize],
    ) {
        let changed = self.stores[device].write(CLUB, compartment, key, sizes, &mut self.rng);
        self.tell_all(
            device,
            &Event::Frontier {
                context: CLUB,
                compartment,
                changed,
                origin: Origin::Here,
            },
        );
    }

    /// Adds a control entry on a device and tells its sessions.
    pub(crate) fn govern(&mut self, device: usize, action: Action) {
        self.stores[device].govern(CLUB, action, &mut self.rng);
        let hashes = self.stores[device].hashes(CLUB);
        self.tell_all(
            device,
            &Event::History {
                context: CLUB,
                hashes,
            },
        );
    }

    fn tell_all(&mut self, device: usize, event: &Event) {
        for link in 0..self.links.len() {
            for side in 0..2 {
                if self.links[link][side].device == device {
                    self.feed(link, side, event.clone());
                    if let Event::Frontier {
                        context,
                        compartment,
                        ..
                    } = event
                    {
                        self.balance(link, side, *context, *compartment);
                    }
                }
            }
        }
    }

    /// Lets everything happen that happens within so many milliseconds, in an order that the seed decides.
    pub(crate) fn run(&mut self, ms: u64) {
        let deadline = Millis(self.now.0 + ms);
        loop {
            let mut possible: Vec<(usize, usize, bool)> = Vec::new();
            for (link, ends) in self.links.iter().enumerate() {
                for (side, end) in ends.iter().enumerate() {
                    if end.inbox.front().is_some_and(|(due, _)| *due <= self.now) {
                        possible.push((link, side, true));
                    }
                    let stuck = self.cannot_apply(end.device);
                    if end
                        .questions
                        .iter()
                        .any(|question| !(stuck && matches!(question, Output::Apply { .. })))
                    {
                        possible.push((link, side, false));
                    }
                }
            }
            if !possible.is_empty() {
                let (link, side, frame) = possible[self.rng.random_range(0..possible.len())];
                if frame {
                    let (_, bytes) = self.links[link][side].inbox.pop_front().unwrap();
                    self.feed(link, side, Event::Frame(bytes));
                } else {
                    self.answer_one(link, side);
                }
                continue;
            }
            let arrivals = self
                .links
                .iter()
                .flatten()
                .filter_map(|end| Some(end.inbox.front()?.0));
            let timeouts = self
                .links
                .iter()
                .flatten()
                .filter_map(|end| end.session.poll_timeout());
            let busy = Some(self.slow_until).filter(|until| *until > self.now);
            let Some(next) = arrivals
                .chain(timeouts)
                .chain(busy)
                .min()
                .filter(|next| *next <= deadline)
            else {
                self.now = deadline;
                return;
            };
            self.now = self.now.max(next);
            for link in 0..self.links.len() {
                for side in 0..2 {
                    if self.links[link][side]
                        .session
                        .poll_timeout()
                        .is_some_and(|due| due <= self.now)
                    {
                        self.feed(link, side, Event::Timeout);
                        let due = self.links[link][side].session.poll_timeout();
                        assert!(
                            due.is_none_or(|due| due > self.now),
                            "a timeout that is never served"
                        );
                    }
                }
            }
        }
    }

    fn cannot_apply(&self, device: usize) -> bool {
        let busy = self.slow.is_some_and(|(slow, _)| slow == device) && self.now < self.slow_until;
        busy || self.never_applies == Some(device)
    }

    /// Answers any one question, except that what is to be applied is applied in order.
    fn answer_one(&mut self, link: usize, side: usize) {
        let device = self.links[link][side].device;
        let stuck = self.cannot_apply(device);
        let questions = &self.links[link][side].questions;
        let is_apply = |question: &Output| {
            matches!(question, Output::Apply { .. } | Output::ApplyControl { .. })
        };
        let first_apply = questions.iter().position(is_apply);
        let choices: Vec<usize> = (0..questions.len())
            .filter(|index| {
                !is_apply(&questions[*index]) || (Some(*index) == first_apply && !stuck)
            })
            .collect();
        if choices.is_empty() {
            return;
        }
        let chosen = choices[self.rng.random_range(0..choices.len())];
        let question = self.links[link][side].questions.remove(chosen);
        self.answer(link, side, question);
    }

    fn answer(&mut self, link: usize, side: usize, question: Output) {
        let device = self.links[link][side].device;
        let store = &mut self.stores[device];
        match question {
            Output::Sign { context, message } => {
                let signature = store.sign(&message);
                let device = store.device;
                self.feed(
                    link,
                    side,
                    Event::Signed {
                        context,
                        device,
                        signature,
                    },
                );
            }
            Output::ReadHistory { context } => {
                let hashes = store
                    .contexts
                    .contains_key(&context)
                    .then(|| store.hashes(context));
                let hashes = hashes.unwrap_or_default();
                self.feed(link, side, Event::History { context, hashes });
            }
            Output::ReadControl {
                context,
                hashes,
                bytes_max,
            } => {
                let entries = store.read_control(context, &hashes, bytes_max);
                self.feed(link, side, Event::ControlRead { context, entries });
            }
            Output::ApplyControl {
                context,
                kind,
                entries,
            } => {
                assert!(matches!(
                    kind,
                    LinkKind::Member | LinkKind::Joining | LinkKind::Hosting(InviteKey(_))
                ));
                if store.apply_control(context, &entries).is_none() {
                    self.feed(
                        link,
                        side,
                        Event::EndContext {
                            context,
                            reason: EndReason::ControlRefused,
                        },
                    );
                    return;
                }
                let hashes = store.hashes(context);
                self.feed(
                    link,
                    side,
                    Event::ControlApplied {
                        context,
                        hashes: hashes.clone(),
                    },
                );
                self.tell_all(device, &Event::History { context, hashes });
            }
            Output::PeerProof {
                context,
                device: peer,
                message,
                signature: given,
            } => {
                let event = match store.is_member(context, peer) {
                    _ if given != signature(peer, &message) => Event::EndContext {
                        context,
                        reason: EndReason::BadProof,
                    },
                    Some(true) => Event::PeerAccepted {
                        context,
                        compartments: store.frontiers(context),
                    },
                    Some(false) => Event::EndContext {
                        context,
                        reason: EndReason::Revoked,
                    },
                    None => Event::EndContext {
                        context,
                        reason: EndReason::UnknownDevice,
                    },
                };
                self.feed(link, side, event);
            }
            Output::ReadEntries {
                context,
                compartment,
                after,
                peer,
                bytes_max,
            } => {
                let (runs, next, exhausted) =
                    store.read(context, compartment, after, &peer, bytes_max);
                self.feed(
                    link,
                    side,
                    Event::EntriesRead {
                        context,
                        compartment,
                        runs,
                        next,
                        exhausted,
                    },
                );
            }
            Output::Apply {
                batch,
                context,
                compartment,
                runs,
            } => {
                if let Some((_, ms)) = self.slow.filter(|(slow, _)| *slow == device) {
                    self.slow_until = Millis(self.now.0 + ms);
                }
                for run in &runs {
                    // Among two devices nothing can come back by another way.
                    let echo =
                        self.stores.len() == 2 && self.stores[device].own.contains(&run.writer);
                    assert!(!echo, "an entry came back to its author");
                    for seq in run.first.0..=run.last().0 {
                        let new = self.links[link][side].taken.insert((
                            compartment,
                            run.writer,
                            Seq(seq),
                        ));
                        assert!(new, "sent twice on one link");
                    }
                }
                let (changed, declined) = self.stores[device].apply(context, compartment, &runs);
                // A driver may tell of the frontier before or after it answers.
                let told = Event::Frontier {
                    context,
                    compartment,
                    changed,
                    origin: Origin::Elsewhere,
                };
                if self.rng.random() {
                    self.tell_all(device, &told);
                    self.feed(link, side, Event::Applied { batch, declined });
                } else {
                    self.feed(link, side, Event::Applied { batch, declined });
                    self.tell_all(device, &told);
                }
            }
            other => panic!("not a question: {other:?}"),
        }
    }

    /// Two devices hold the same control history and the same vouched entries.
    pub(crate) fn assert_equal(&self, one: usize, other: usize) {
        let (one, other) = (&self.stores[one], &self.stores[other]);
        assert_eq!(one.control_set(CLUB), other.control_set(CLUB));
        for compartment in one.contexts[&CLUB].compartments.keys() {
            if other.contexts[&CLUB].compartments.contains_key(compartment) {
                let (one, other) = (
                    one.content(CLUB, *compartment),
                    other.content(CLUB, *compartment),
                );
                assert_eq!(one.len(), other.len());
                assert!(one == other, "same number of entries, other bytes");
            }
        }
    }

    pub(crate) fn assert_open(&self, link: usize) {
        for end in &self.links[link] {
            assert_eq!(end.closed(), None);
        }
    }

    /// Bytes both ends of a link sent so far.
    pub(crate) fn bytes(&self, link: usize) -> u64 {
        self.links[link]
            .iter()
            .map(|end| end.session.counters().bytes_sent)
            .sum()
    }
}

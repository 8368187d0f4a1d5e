//! The session: one link, one state machine.
//!
//! **How to drive it.** Give it one [`Event`] by [`Session::handle`], then take outputs by [`Session::poll`] until there
//! are none, then sleep until the next event or the time [`Session::poll_timeout`] names, then give it
//! [`Event::Timeout`]. Questions among the outputs may be answered at any later time and in any order.
//! A driver whose outgoing queue is long stops reading frames from the link until the queue is shorter; the session
//! itself keeps no more than its windows allow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use aeroedge_ids::{CompartmentId, ContextId, ControlHash, DeviceKey, Millis, WriterKey};
use rand::CryptoRng;

use crate::context_link::ContextLink;
use crate::control_sync::Step;
use crate::entry_sync::{Comparison, EntrySync};
use crate::event::{BatchId, Cursor, Event, Frontier, LinkKind, Origin, Output, Run};
use crate::flow::{Place, Receiving, Sending};
use crate::frame::{Channel, Decoded, Frame, FrameError, Tag};
use crate::greet::{Credential, Greeting, Side, Transcript};
use crate::limits::{COMPARTMENTS_MAX, Limits, VERSION};
use crate::reason::{CloseReason, EndReason};

/// What a session needs to know from the start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which end of the link this is.
    pub side: Side,
    /// What ties the session to its link: the handshake hash of the encrypted channel, the same at both ends.
    pub binding: [u8; 32],
    /// The contexts and invites this device may speak of.
    pub credentials: Vec<Credential>,
    /// Bounds and intervals.
    pub limits: Limits,
}

/// What went over the link so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Frames sent.
    pub frames_sent: u64,
    /// Bytes of those frames.
    pub bytes_sent: u64,
    /// Frames received.
    pub frames_received: u64,
    /// Bytes of those frames.
    pub bytes_received: u64,
    /// Data entries sent.
    pub entries_sent: u64,
    /// Data entries received.
    pub entries_received: u64,
    /// Frames with numbers this program does not know.
    pub unknown_frames: u64,
}

#[derive(Debug)]
enum Phase {
    AwaitHello {
        nonce: [u8; 32],
        padding: [u8; 32],
        credentials: Vec<Credential>,
    },
    AwaitGreet {
        transcript: Transcript,
        greeting: Greeting,
    },
    Open {
        transcript: Transcript,
    },
    Closed,
}

/// One end of one link.
#[derive(Debug)]
pub struct Session {
    side: Side,
    binding: [u8; 32],
    limits: Limits,
    phase: Phase,
    outputs: VecDeque<Output>,
    contexts: BTreeMap<ContextId, ContextLink>,
    /// How the peer numbers contexts; those that ended stay, so that late frames are told from wrong ones.
    channels: BTreeMap<Channel, ContextId>,
    now: Millis,
    opened: Millis,
    last_sent: Millis,
    last_received: Millis,
    sending: Sending,
    receiving: Receiving,
    /// Compartments to read for, each at most once, served in turn.
    line: VecDeque<Place>,
    /// When entries that are only announced become due.
    due: BTreeSet<(Millis, Place)>,
    counters: Counters,
}

impl Session {
    /// A session on a fresh link. Its first outputs are ready.
    pub fn new(config: Config, now: Millis, rng: &mut impl CryptoRng) -> Self {
        let (mut nonce, mut padding) = ([0; 32], [0; 32]);
        rng.fill_bytes(&mut nonce);
        rng.fill_bytes(&mut padding);
        let Config {
            side,
            binding,
            credentials,
            limits,
        } = config;
        let mut session = Self {
            side,
            binding,
            phase: Phase::AwaitHello {
                nonce,
                padding,
                credentials,
            },
            outputs: VecDeque::new(),
            contexts: BTreeMap::new(),
            channels: BTreeMap::new(),
            now,
            opened: now,
            last_sent: now,
            last_received: now,
            sending: Sending::new(&limits),
            receiving: Receiving::new(&limits),
            line: VecDeque::new(),
            due: BTreeSet::new(),
            counters: Counters::default(),
            limits,
        };
        let window = session.limits.window_bytes as u64;
        session.send(&Frame::Hello {
            version: VERSION,
            nonce,
            window,
        });
        session
    }

    /// Takes in one event. Afterwards: [`Session::poll`] until `None`.
    pub fn handle(&mut self, now: Millis, event: Event) {
        if self.is_closed() {
            return;
        }
        self.set_clock(now);
        let acted = match self.act(event) {
            Ok(()) => self.check_timers(),
            Err(reason) => Err(reason),
        };
        match acted {
            Ok(()) => self.read_ahead(),
            Err(reason) => self.close(reason),
        }
    }

    /// The next thing to do, if any.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to give [`Event::Timeout`] at the latest; `None` once closed.
    pub fn poll_timeout(&self) -> Option<Millis> {
        let after = |time: Millis, ms: u64| Millis(time.0.saturating_add(ms));
        let alive = after(self.last_sent, self.limits.ping_after_ms)
            .min(after(self.last_received, self.limits.silence_ms));
        match self.phase {
            Phase::Closed => None,
            Phase::Open { .. } => Some(self.due.first().map_or(alive, |(due, _)| alive.min(*due))),
            _ => Some(alive.min(after(self.opened, self.limits.handshake_ms))),
        }
    }

    /// Whether the session is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// What went over the link so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The peer's device in a context, once it was accepted there.
    pub fn peer_device(&self, context: ContextId) -> Option<DeviceKey> {
        self.contexts.get(&context)?.accepted_device()
    }

    /// Whether both ends hold the same vouched entries of a compartment, as far as this end knows.
    pub fn in_sync(&self, context: ContextId, compartment: CompartmentId) -> bool {
        self.contexts
            .get(&context)
            .and_then(|link| link.compartments.get(&compartment))
            .is_some_and(EntrySync::is_in_sync)
    }

    /// Bytes of frames and entries this session holds at the moment.
    pub fn buffered_bytes(&self) -> usize {
        let outputs: usize = self.outputs.iter().map(output_bytes).sum();
        outputs + self.sending.waiting_bytes()
    }

    /// Times compare within one session only; a clock that was set back restarts the intervals.
    fn set_clock(&mut self, now: Millis) {
        if now < self.now {
            self.opened = now;
            self.last_sent = now;
            self.last_received = now;
            let places: Vec<Place> = self.due.iter().map(|(_, place)| *place).collect();
            self.due = places.into_iter().map(|place| (now, place)).collect();
        }
        self.now = now;
    }

    fn act(&mut self, event: Event) -> Result<(), CloseReason> {
        match event {
            Event::Frame(bytes) => self.on_frame(&bytes),
            Event::Timeout => Ok(()),
            Event::LinkLost => {
                self.end(CloseReason::LinkLost, false);
                Ok(())
            }
            Event::Close(reason) => Err(reason),
            Event::StoreFailed => Err(CloseReason::StoreFailed),
            Event::Signed {
                context,
                device,
                signature,
            } => {
                if let Some(link) = self.contexts.get_mut(&context)
                    && let Some(channel) = link.take_unsigned()
                {
                    self.send(&Frame::Prove {
                        channel,
                        device,
                        signature,
                    });
                }
                Ok(())
            }
            Event::History { context, hashes } => self.control(context, |link, steps| {
                link.control.on_history(hashes, steps);
                Ok(())
            }),
            Event::ControlRead { context, entries } => {
                self.control(context, |link, steps| link.control.on_read(entries, steps))
            }
            Event::ControlApplied { context, hashes } => self.control(context, |link, steps| {
                link.control.on_applied(hashes, steps);
                Ok(())
            }),
            Event::PeerAccepted {
                context,
                compartments,
            } => self.on_accepted(context, compartments),
            Event::EndContext { context, reason } => self.end_context(context, reason),
            Event::Frontier {
                context,
                compartment,
                changed,
                origin,
            } => {
                self.on_local_frontier((context, compartment), &changed, origin);
                Ok(())
            }
            Event::EntriesRead {
                context,
                compartment,
                runs,
                next,
                exhausted,
            } => self.on_entries_read((context, compartment), runs, next, exhausted),
            Event::Applied { batch, declined } => {
                self.on_applied(batch, declined);
                Ok(())
            }
        }
    }

    fn on_frame(&mut self, bytes: &[u8]) -> Result<(), CloseReason> {
        self.last_received = self.now;
        self.counters.frames_received += 1;
        self.counters.bytes_received += bytes.len() as u64;
        let frame = match Frame::decode(bytes) {
            Ok(Decoded::Known(frame)) => frame,
            Ok(Decoded::Unknown(_)) => {
                self.counters.unknown_frames += 1;
                return if self.counters.unknown_frames > self.limits.unknown_frames_max {
                    Err(CloseReason::Flooded)
                } else {
                    Ok(())
                };
            }
            Err(FrameError::Oversized) => return Err(CloseReason::Oversized),
            Err(FrameError::Malformed(_)) => return Err(CloseReason::Malformed),
        };
        match frame {
            Frame::Ping => Ok(()),
            Frame::Close { code } => {
                self.end(CloseReason::from_code(code), true);
                Ok(())
            }
            Frame::Hello {
                version,
                nonce,
                window,
            } => self.on_hello(version, nonce, window),
            Frame::Greet { tags } => self.on_greet(&tags),
            _ if !matches!(self.phase, Phase::Open { .. }) => Err(CloseReason::WrongOrder),
            Frame::Received { batch, declined } => self.on_received(batch, &declined),
            Frame::Entries {
                channel,
                compartment,
                batch,
                runs,
            } => self.on_entries(channel, compartment, batch, runs),
            other => self.on_context_frame(other),
        }
    }

    fn on_hello(
        &mut self,
        version: u16,
        peer_nonce: [u8; 32],
        window: u64,
    ) -> Result<(), CloseReason> {
        let Phase::AwaitHello {
            nonce,
            padding,
            credentials,
        } = &self.phase
        else {
            return Err(CloseReason::WrongOrder);
        };
        if version != VERSION {
            return Err(CloseReason::UnsupportedVersion);
        }
        let transcript = Transcript::new(self.binding, self.side, *nonce, peer_nonce);
        let greeting = Greeting::new(&transcript, self.side, credentials, padding);
        let tags = greeting.tags.clone();
        self.sending.limit_window(window);
        self.phase = Phase::AwaitGreet {
            transcript,
            greeting,
        };
        self.send(&Frame::Greet { tags });
        Ok(())
    }

    fn on_greet(&mut self, peer_tags: &[Tag]) -> Result<(), CloseReason> {
        let Phase::AwaitGreet {
            transcript,
            greeting,
        } = &self.phase
        else {
            return Err(CloseReason::WrongOrder);
        };
        let transcript = transcript.clone();
        let matches = greeting.matches(peer_tags);
        if matches.is_empty() {
            return Err(CloseReason::NothingInCommon);
        }
        for shared in matches {
            let context = shared.context;
            for channel in shared.peer {
                self.channels.insert(channel, context);
            }
            self.outputs.push_back(Output::Shared {
                context,
                kind: shared.kind,
            });
            self.outputs.push_back(Output::ReadHistory { context });
            if shared.kind == LinkKind::Member {
                let message = transcript.proof_message(self.side, context);
                self.outputs.push_back(Output::Sign { context, message });
            }
            let link = ContextLink::new(shared.kind, shared.own, transcript.salt());
            self.contexts.insert(context, link);
        }
        self.phase = Phase::Open { transcript };
        Ok(())
    }

    /// Frames that concern one context and are void once it ended.
    fn on_context_frame(&mut self, frame: Frame) -> Result<(), CloseReason> {
        match frame {
            Frame::Withdraw { channel, code } => {
                let Some(context) = self.live(channel)? else {
                    return Ok(());
                };
                self.drop_context(context, EndReason::from_code(code), true)
            }
            Frame::ControlDigest { channel, digest } => {
                self.control_frame(channel, |link, steps| link.control.on_digest(digest, steps))
            }
            Frame::ControlBuckets { channel, buckets } => self
                .control_frame(channel, |link, steps| {
                    link.control.on_buckets(&buckets, steps)
                }),
            Frame::ControlHave { channel, hashes } => {
                self.control_frame(channel, |link, steps| link.control.on_have(hashes, steps))
            }
            Frame::ControlEntries { channel, entries } => self
                .control_frame(channel, |link, steps| {
                    link.control.on_entries(entries, steps)
                }),
            Frame::ControlReceived { channel } => {
                self.control_frame(channel, |link, steps| link.control.on_received(steps))
            }
            Frame::Prove {
                channel,
                device,
                signature,
            } => {
                let Some(context) = self.live_member(channel)? else {
                    return Ok(());
                };
                if let Some(link) = self.contexts.get_mut(&context) {
                    link.on_proof(device, signature)?;
                }
                self.ask_proof(context);
                Ok(())
            }
            Frame::Digests { channel, digests } => {
                let Some(context) = self.live_member(channel)? else {
                    return Ok(());
                };
                self.on_digests(context, digests)
            }
            Frame::Frontier {
                channel,
                compartment,
                frontier,
            } => {
                let Some(context) = self.live_member(channel)? else {
                    return Ok(());
                };
                self.on_peer_frontier((context, compartment), frontier)
            }
            Frame::Advance {
                channel,
                compartment,
                changed,
            } => {
                let Some(context) = self.live_member(channel)? else {
                    return Ok(());
                };
                if let Some(entries) = self.open_compartment((context, compartment))? {
                    entries.on_advance(&changed)?;
                    self.settle((context, compartment));
                }
                Ok(())
            }
            _ => Err(CloseReason::WrongOrder),
        }
    }

    /// The context a channel stands for, unless it ended; a channel that never stood for one is an error.
    fn live(&self, channel: Channel) -> Result<Option<ContextId>, CloseReason> {
        let context = self.channels.get(&channel).ok_or(CloseReason::WrongOrder)?;
        Ok(self.contexts.contains_key(context).then_some(*context))
    }

    fn live_member(&self, channel: Channel) -> Result<Option<ContextId>, CloseReason> {
        let context = self.live(channel)?;
        match context.and_then(|context| self.contexts.get(&context)) {
            Some(link) if link.kind != LinkKind::Member => Err(CloseReason::WrongOrder),
            _ => Ok(context),
        }
    }

    fn control_frame(
        &mut self,
        channel: Channel,
        act: impl FnOnce(&mut ContextLink, &mut Vec<Step>) -> Result<(), CloseReason>,
    ) -> Result<(), CloseReason> {
        match self.live(channel)? {
            Some(context) => self.control(context, act),
            None => Ok(()),
        }
    }

    fn control(
        &mut self,
        context: ContextId,
        act: impl FnOnce(&mut ContextLink, &mut Vec<Step>) -> Result<(), CloseReason>,
    ) -> Result<(), CloseReason> {
        let Some(link) = self.contexts.get_mut(&context) else {
            return Ok(());
        };
        let mut steps = Vec::new();
        act(link, &mut steps)?;
        let (channel, kind) = (link.channel, link.kind);
        for step in steps {
            match step {
                Step::SendDigest(digest) => self.send(&Frame::ControlDigest { channel, digest }),
                Step::SendBuckets(buckets) => {
                    self.send(&Frame::ControlBuckets { channel, buckets });
                }
                Step::SendHave(hashes) => self.send(&Frame::ControlHave { channel, hashes }),
                Step::SendEntries(entries) => {
                    self.send(&Frame::ControlEntries { channel, entries });
                }
                Step::SendReceived => self.send(&Frame::ControlReceived { channel }),
                Step::Read(hashes) => {
                    let bytes_max = self.limits.control_batch_bytes;
                    self.outputs.push_back(Output::ReadControl {
                        context,
                        hashes,
                        bytes_max,
                    });
                }
                Step::Apply(entries) => {
                    self.outputs.push_back(Output::ApplyControl {
                        context,
                        kind,
                        entries,
                    });
                }
                Step::InSync => self.outputs.push_back(Output::ControlInSync { context }),
            }
        }
        self.ask_proof(context);
        Ok(())
    }

    /// Asks the driver to judge the peer once there is something to judge it by.
    fn ask_proof(&mut self, context: ContextId) {
        let Phase::Open { transcript } = &self.phase else {
            return;
        };
        let Some(link) = self.contexts.get_mut(&context) else {
            return;
        };
        if let Some((device, signature)) = link.take_judgeable() {
            let message = transcript.proof_message(self.side.other(), context);
            self.outputs.push_back(Output::PeerProof {
                context,
                device,
                message,
                signature,
            });
        }
    }

    fn on_accepted(
        &mut self,
        context: ContextId,
        compartments: BTreeMap<CompartmentId, Frontier>,
    ) -> Result<(), CloseReason> {
        let Some(link) = self.contexts.get_mut(&context) else {
            return Ok(());
        };
        if !link.accept() {
            return Ok(());
        }
        let channel = link.channel;
        for entries in link.close_all_but(&compartments) {
            if let Some(reserved) = entries.reading {
                self.sending.release(reserved);
            }
        }
        self.sending.forget(|(place, compartment)| {
            *place == context && !compartments.contains_key(compartment)
        });
        let mut opened = Vec::new();
        let mut answered = Vec::new();
        for (compartment, frontier) in compartments {
            let Some(link) = self.contexts.get_mut(&context) else {
                return Ok(());
            };
            if link.compartments.contains_key(&compartment) {
                self.on_local_frontier((context, compartment), &frontier, Origin::Here);
            } else if link.may_open(compartment) {
                let entries = EntrySync::new(frontier);
                opened.push((compartment, entries.digest()));
                if let Some(peer) = link.peer_digests.remove(&compartment) {
                    answered.push((compartment, peer));
                }
                link.compartments.insert(compartment, entries);
            }
        }
        if !opened.is_empty() {
            self.send(&Frame::Digests {
                channel,
                digests: opened,
            });
        }
        for (compartment, peer_digest) in answered {
            self.compare((context, compartment), peer_digest)?;
        }
        Ok(())
    }

    fn on_digests(
        &mut self,
        context: ContextId,
        digests: Vec<(CompartmentId, [u8; 32])>,
    ) -> Result<(), CloseReason> {
        for (compartment, digest) in digests {
            let Some(link) = self.contexts.get_mut(&context) else {
                return Ok(());
            };
            if link.compartments.contains_key(&compartment) {
                self.compare((context, compartment), digest)?;
            } else if !link.was_closed(compartment) {
                if link.peer_digests.insert(compartment, digest).is_some() {
                    return Err(CloseReason::WrongOrder);
                }
                if link.peer_digests.len() > COMPARTMENTS_MAX {
                    return Err(CloseReason::Oversized);
                }
            }
        }
        Ok(())
    }

    fn compare(&mut self, place: Place, peer_digest: [u8; 32]) -> Result<(), CloseReason> {
        let (context, compartment) = place;
        let Some(link) = self.contexts.get_mut(&context) else {
            return Ok(());
        };
        let channel = link.channel;
        let Some(entries) = link.compartments.get_mut(&compartment) else {
            return Ok(());
        };
        match entries.compare(peer_digest)? {
            Comparison::Equal => self.settle(place),
            Comparison::Differs => {
                let frontier = entries.local().clone();
                self.send(&Frame::Frontier {
                    channel,
                    compartment,
                    frontier,
                });
            }
        }
        Ok(())
    }

    fn on_peer_frontier(&mut self, place: Place, frontier: Frontier) -> Result<(), CloseReason> {
        let Some(entries) = self.open_compartment(place)? else {
            return Ok(());
        };
        entries.on_peer_frontier(frontier)?;
        let frontier = entries.peer();
        let (context, compartment) = place;
        self.outputs.push_back(Output::PeerFrontier {
            context,
            compartment,
            frontier,
        });
        self.settle(place);
        Ok(())
    }

    /// A compartment the peer may speak of; `None` if it was closed, an error if it never was open.
    fn open_compartment(
        &mut self,
        (context, compartment): Place,
    ) -> Result<Option<&mut EntrySync>, CloseReason> {
        let Some(link) = self.contexts.get_mut(&context) else {
            return Ok(None);
        };
        if link.was_closed(compartment) {
            return Ok(None);
        }
        link.compartments
            .get_mut(&compartment)
            .map(Some)
            .ok_or(CloseReason::WrongOrder)
    }

    fn entries_mut(&mut self, (context, compartment): Place) -> Option<&mut EntrySync> {
        self.contexts
            .get_mut(&context)?
            .compartments
            .get_mut(&compartment)
    }

    fn on_local_frontier(&mut self, place: Place, changed: &Frontier, origin: Origin) {
        let (now, delay) = (self.now, self.limits.relay_delay_ms);
        let Some(entries) = self.entries_mut(place) else {
            return;
        };
        let announced = entries.on_local(changed, origin, now, delay);
        if !announced.is_empty() {
            self.due.insert((Millis(now.0 + delay), place));
            let (context, compartment) = place;
            if let Some(channel) = self.contexts.get(&context).map(|link| link.channel) {
                self.send(&Frame::Advance {
                    channel,
                    compartment,
                    changed: announced,
                });
            }
        }
        self.settle(place);
    }

    fn on_entries_read(
        &mut self,
        place: Place,
        runs: Vec<Run>,
        next: Cursor,
        exhausted: bool,
    ) -> Result<(), CloseReason> {
        let Some(entries) = self.entries_mut(place) else {
            return Ok(());
        };
        let Some(reserved) = entries.reading.take() else {
            return Ok(());
        };
        let runs = entries.on_read(runs, next, exhausted)?;
        self.sending.release(reserved);
        let batches = self.sending.enqueue(place, runs);
        if let Some(entries) = self.entries_mut(place) {
            entries.in_flight += batches;
        }
        self.flush();
        self.settle(place);
        Ok(())
    }

    /// Sends the batches that fit the window.
    fn flush(&mut self) {
        while let Some((batch, (context, compartment), runs)) = self.sending.next() {
            let Some(channel) = self.contexts.get(&context).map(|link| link.channel) else {
                continue;
            };
            self.counters.entries_sent +=
                runs.iter().map(|run| run.entries.len() as u64).sum::<u64>();
            self.send(&Frame::Entries {
                channel,
                compartment,
                batch,
                runs,
            });
        }
    }

    fn on_received(&mut self, batch: u64, declined: &[WriterKey]) -> Result<(), CloseReason> {
        let place = self.sending.acknowledge(batch)?;
        if let Some(entries) = self.entries_mut(place) {
            entries.in_flight = entries.in_flight.saturating_sub(1);
            entries.on_declined_by_peer(declined);
        }
        self.flush();
        self.settle(place);
        Ok(())
    }

    fn on_entries(
        &mut self,
        channel: Channel,
        compartment: CompartmentId,
        batch: u64,
        runs: Vec<Run>,
    ) -> Result<(), CloseReason> {
        let context = *self.channels.get(&channel).ok_or(CloseReason::WrongOrder)?;
        let place = (context, compartment);
        self.receiving.take(batch, place, &runs)?;
        self.counters.entries_received +=
            runs.iter().map(|run| run.entries.len() as u64).sum::<u64>();
        let runs = match self.live_member(channel)? {
            None => Vec::new(),
            Some(_) => match self.open_compartment(place)? {
                None => Vec::new(),
                Some(entries) => {
                    let runs = entries.on_runs(runs)?;
                    entries.applying += usize::from(!runs.is_empty());
                    runs
                }
            },
        };
        if runs.is_empty() {
            self.receiving.done(batch);
            self.send(&Frame::Received {
                batch,
                declined: Vec::new(),
            });
        } else {
            self.outputs.push_back(Output::Apply {
                batch: BatchId(batch),
                context,
                compartment,
                runs,
            });
        }
        self.settle(place);
        Ok(())
    }

    fn on_applied(&mut self, batch: BatchId, mut declined: Vec<WriterKey>) {
        let Some(place) = self.receiving.done(batch.0) else {
            return;
        };
        declined.sort_unstable();
        declined.dedup();
        if let Some(entries) = self.entries_mut(place) {
            entries.applying = entries.applying.saturating_sub(1);
            entries.on_declined_here(&declined);
        }
        self.send(&Frame::Received {
            batch: batch.0,
            declined,
        });
        self.settle(place);
    }

    /// After anything that touched a compartment: get in line for reading, tell when both ends became equal.
    fn settle(&mut self, place: Place) {
        let Some(entries) = self.entries_mut(place) else {
            return;
        };
        let became_equal = entries.take_in_sync();
        if entries.wants_read() && !entries.in_line {
            entries.in_line = true;
            self.line.push_back(place);
        }
        if became_equal {
            let (context, compartment) = place;
            self.outputs.push_back(Output::InSync {
                context,
                compartment,
            });
        }
    }

    /// Asks the store for the next batches, one for each compartment in turn, as far as the window allows.
    fn read_ahead(&mut self) {
        while let Some(place) = self.line.front().copied() {
            let wants = self
                .entries_mut(place)
                .is_some_and(|entries| entries.wants_read());
            let bytes_max = if wants { self.sending.reserve() } else { None };
            if wants && bytes_max.is_none() {
                return;
            }
            self.line.pop_front();
            let Some(entries) = self.entries_mut(place) else {
                continue;
            };
            entries.in_line = false;
            if let Some(bytes_max) = bytes_max {
                entries.reading = Some(bytes_max);
                let (after, peer) = (entries.cursor(), entries.peer());
                let (context, compartment) = place;
                self.outputs.push_back(Output::ReadEntries {
                    context,
                    compartment,
                    after,
                    peer,
                    bytes_max,
                });
            }
        }
    }

    fn check_timers(&mut self) -> Result<(), CloseReason> {
        if self.is_closed() {
            return Ok(());
        }
        let since = |time: Millis| self.now.0.saturating_sub(time.0);
        let greeted = matches!(self.phase, Phase::Open { .. });
        if since(self.last_received) >= self.limits.silence_ms
            || (!greeted && since(self.opened) >= self.limits.handshake_ms)
        {
            return Err(CloseReason::Silence);
        }
        if since(self.last_sent) >= self.limits.ping_after_ms {
            self.send(&Frame::Ping);
        }
        while let Some((due, place)) = self.due.first().copied()
            && due <= self.now
        {
            self.due.pop_first();
            let now = self.now;
            if let Some(entries) = self.entries_mut(place) {
                entries.release(now);
            }
            self.settle(place);
        }
        Ok(())
    }

    /// This end speaks of the context no more.
    fn end_context(&mut self, context: ContextId, reason: EndReason) -> Result<(), CloseReason> {
        let Some(channel) = self.contexts.get(&context).map(|link| link.channel) else {
            return Ok(());
        };
        self.send(&Frame::Withdraw {
            channel,
            code: reason.code(),
        });
        self.drop_context(context, reason, false)
    }

    fn drop_context(
        &mut self,
        context: ContextId,
        reason: EndReason,
        by_peer: bool,
    ) -> Result<(), CloseReason> {
        if let Some(link) = self.contexts.remove(&context) {
            for entries in link.compartments.values() {
                if let Some(reserved) = entries.reading {
                    self.sending.release(reserved);
                }
            }
            self.sending.forget(|(gone, _)| *gone == context);
            self.outputs.push_back(Output::ContextEnded {
                context,
                reason,
                by_peer,
            });
        }
        if self.contexts.is_empty() {
            return Err(CloseReason::NothingInCommon);
        }
        Ok(())
    }

    fn send(&mut self, frame: &Frame) {
        let bytes = frame.encode();
        self.last_sent = self.now;
        self.counters.frames_sent += 1;
        self.counters.bytes_sent += bytes.len() as u64;
        self.outputs.push_back(Output::Send(bytes));
    }

    fn close(&mut self, reason: CloseReason) {
        self.send(&Frame::Close {
            code: reason.code(),
        });
        self.end(reason, false);
    }

    fn end(&mut self, reason: CloseReason, by_peer: bool) {
        self.phase = Phase::Closed;
        self.contexts.clear();
        self.line.clear();
        self.due.clear();
        self.sending.forget(|_| true);
        self.outputs.push_back(Output::Closed { reason, by_peer });
    }
}

fn output_bytes(output: &Output) -> usize {
    match output {
        Output::Send(bytes) => bytes.len(),
        Output::Apply { runs, .. } => runs.iter().map(Run::cost).sum(),
        Output::ApplyControl { entries, .. } => entries.iter().map(Vec::len).sum(),
        Output::ReadControl { hashes, .. } => hashes.len() * ControlHash::LENGTH,
        _ => 64,
    }
}

/// Sessions move between threads of a driver, with everything they put out.
const _: fn() = || {
    fn movable<T: Send>() {}
    movable::<(Session, Event, Output, Arc<Frontier>)>();
};

//! The session: one link, one state machine.
//!
//! **How to drive it.** Give it one [`Event`] by [`Session::handle`], then take outputs by [`Session::poll`] until there
//! are none, then sleep until the next event or the time [`Session::poll_timeout`] names, then give it
//! [`Event::Timeout`]. Questions among the outputs may be answered at any later time and in any order.
//! A driver whose outgoing queue is long stops reading frames from the link until the queue is shorter; the session
//! itself keeps no more than its windows allow.

mod contexts;
mod entries;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use aeroedge_ids::{CompartmentId, ContextId, ControlHash, DeviceKey, Millis};
use rand::CryptoRng;

use crate::context_link::ContextLink;
use crate::entry_sync::EntrySync;
use crate::event::{Event, Frontier, Output, Run};
use crate::flow::{Place, Receiving, Sending};
use crate::frame::{Channel, Decoded, Frame, FrameError};
use crate::greet::{Credential, Greeting, Side, Transcript};
use crate::limits::{Limits, VERSION};
use crate::reason::CloseReason;

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

/// How far a compartment is from being equal at both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Entries the peer still lacks.
    pub to_send: u64,
    /// Entries the peer is known to hold and this end still lacks.
    pub to_receive: u64,
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

    /// Takes in one event. Afterwards: [`Session::poll`] until `None`. `now` may count from any moment, best by a clock
    /// that is never set; one that jumps costs at most a ping or a new link.
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

    /// How far a compartment is from being equal at both ends, once the peer's frontier is known.
    pub fn progress(&self, context: ContextId, compartment: CompartmentId) -> Option<Progress> {
        let entries = self
            .contexts
            .get(&context)?
            .compartments
            .get(&compartment)?;
        let (to_send, to_receive) = entries.progress();
        Some(Progress {
            to_send,
            to_receive,
        })
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
            } => self.on_local_frontier((context, compartment), &changed, origin),
            Event::PeerDisagrees {
                context,
                compartment,
                logs,
            } => {
                self.on_peer_disagrees((context, compartment), &logs);
                Ok(())
            }
            Event::Pause {
                context,
                compartment,
                paused,
            } => {
                self.on_pause((context, compartment), paused);
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
            if let Some(next) = self
                .entries_mut(place)
                .and_then(|entries| entries.release(now))
            {
                self.due.insert((next, place));
            }
            self.settle(place);
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

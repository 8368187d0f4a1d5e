//! The network: links carry frames whole and in order until they die, except where somebody manipulates them.

use std::collections::{BTreeMap, VecDeque};

use aeroedge_protocol::{
    CloseReason, Config, Counters, Credential, Event, Limits, Output, Session, Side,
};
use rand::RngExt;
use rand::seq::IndexedRandom;

use crate::invariant::Broken;
use crate::machine::{LinkId, Talk};
use crate::trace::Short;
use crate::world::{Happening, World};

/// A link between two nodes.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Who dialled, who accepted.
    pub(crate) ends: [usize; 2],
    latency_ms: u64,
    since_ms: u64,
    /// Frames under way to each end.
    frames: [VecDeque<Vec<u8>>; 2],
    /// When the last frame to each end arrives.
    last: [u64; 2],
    /// Nothing arrives any more and nobody is told.
    is_deaf: bool,
    /// Somebody manipulated a frame on it.
    pub(crate) is_tampered: bool,
}

/// Links a node keeps while there is trouble, and afterwards.
const LINKS_MAX: usize = 4;
/// A link this young may still be greeting, milliseconds.
const GREETING_MS: u64 = 5_000;
/// How long equal peers are watched for idle talk, milliseconds.
pub(crate) const WATCH_MS: u64 = 30_000;

impl World {
    pub(crate) fn dial(&mut self, node: usize) -> Result<(), Broken> {
        if !self.is_up(node) {
            return Ok(());
        }
        let reachable = |world: &Self, other: usize| {
            other != node && world.is_up(other) && world.parts[other] == world.parts[node]
        };
        let mut targets = if self.healing {
            self.neighbours_in_rings(node)
        } else {
            Vec::new()
        };
        let nonce: [u8; 16] = self.rng.random();
        let recognised: Vec<usize> = (0..self.machines.len())
            .filter(|other| reachable(self, *other) && self.recognises(node, *other, &nonce))
            .collect();
        if self.machines[node].talks.len() < LINKS_MAX {
            targets.extend(recognised.choose(&mut self.rng));
        }
        for target in targets {
            let linked = self
                .wires
                .values()
                .any(|wire| wire.ends.contains(&node) && wire.ends.contains(&target));
            // Now and then two devices find each other twice.
            let again = !self.healing && self.rng.random_bool(0.05);
            if reachable(self, target) && (!linked || again) {
                self.link(node, target)?;
            }
        }
        Ok(())
    }

    /// The next node in each context and in each compartment: rings through all who share something reach everybody.
    fn neighbours_in_rings(&self, node: usize) -> Vec<usize> {
        let mut rings: Vec<Vec<usize>> = Vec::new();
        for context in 0..self.contexts.len() {
            rings.push(self.staying(context));
            for (_, compartment) in self.compartments(context) {
                let reads = |member: &usize| {
                    let device = self.machines[*member].device.as_ref();
                    let id = self.contexts[context];
                    device
                        .zip(id)
                        .is_some_and(|(device, id)| device.compartments(id).contains(&compartment))
                };
                rings.push(self.staying(context).into_iter().filter(reads).collect());
            }
        }
        let next = |ring: &Vec<usize>| {
            let place = ring.iter().position(|member| *member == node)?;
            Some(ring[(place + 1) % ring.len()])
        };
        let mut neighbours: Vec<usize> = rings.iter().filter_map(next).collect();
        neighbours.sort_unstable();
        neighbours.dedup();
        neighbours
    }

    fn recognises(&self, node: usize, other: usize, nonce: &[u8]) -> bool {
        let (Some(own), Some(its)) = (&self.machines[node].device, &self.machines[other].device)
        else {
            return false;
        };
        let tags = its.discovery_tags(nonce, self.clock(other));
        own.recognises(nonce, &tags, self.clock(node))
    }

    fn link(&mut self, dialler: usize, acceptor: usize) -> Result<(), Broken> {
        self.figures.links += 1;
        let id = LinkId(self.figures.links as u32);
        let binding = self.rng.random();
        let wire = Wire {
            ends: [dialler, acceptor],
            latency_ms: self.rng.random_range(1..=self.plan.latency_max_ms),
            since_ms: self.now,
            frames: [VecDeque::new(), VecDeque::new()],
            last: [self.now; 2],
            is_deaf: false,
            is_tampered: false,
        };
        self.note(format_args!(
            "{id} up between node {dialler} and node {acceptor}, {} ms",
            wire.latency_ms
        ));
        self.wires.insert(id, wire);
        for (node, side) in [(dialler, Side::Dialler), (acceptor, Side::Acceptor)] {
            let now = self.clock(node);
            let machine = &mut self.machines[node];
            let Some(device) = &machine.device else {
                continue;
            };
            let credentials = device.credentials(now);
            let spoken = credentials.iter().filter_map(spoken).collect();
            let config = Config {
                side,
                binding,
                credentials,
                limits: Limits::default(),
            };
            let talk = Talk {
                session: Session::new(config, now, &mut machine.rng),
                spoken,
                accepted: BTreeMap::new(),
                wake: None,
            };
            machine.talks.insert(id, talk);
        }
        self.drain(dialler, id)?;
        self.drain(acceptor, id)
    }

    /// Feeds a session, if it is still there.
    pub(crate) fn tell(&mut self, node: usize, link: LinkId, event: Event) -> Result<(), Broken> {
        let now = self.clock(node);
        let Some(talk) = self.machines[node].talks.get_mut(&link) else {
            return Ok(());
        };
        talk.session.handle(now, event);
        self.drain(node, link)
    }

    /// Carries out what a session wants.
    fn drain(&mut self, node: usize, link: LinkId) -> Result<(), Broken> {
        while let Some(output) = self.machines[node]
            .talks
            .get_mut(&link)
            .and_then(|talk| talk.session.poll())
        {
            match output {
                Output::Send(frame) => self.send(node, link, frame),
                Output::Closed { reason, by_peer } => {
                    self.note(format_args!(
                        "node {node} {link} closed (by peer: {by_peer}): {reason}"
                    ));
                    let is_fault = !matches!(
                        reason,
                        CloseReason::Done
                            | CloseReason::LinkLost
                            | CloseReason::NothingInCommon
                            | CloseReason::Silence
                    );
                    if is_fault {
                        self.figures.refusals += 1;
                        if self.wires.get(&link).is_some_and(|wire| !wire.is_tampered) {
                            return Err(crate::world::fault(
                                node,
                                &format!("an honest {link} ended: {reason}"),
                            ));
                        }
                    }
                    self.machines[node].talks.remove(&link);
                    self.machines[node].questions.retain(|(of, _)| *of != link);
                    // The stream ends after the last frame; the other end notices then.
                    self.hang_up(node, link);
                }
                Output::Shared { .. }
                | Output::ControlInSync { .. }
                | Output::PeerFrontier { .. }
                | Output::InSync { .. } => {}
                Output::ContextEnded {
                    context,
                    reason,
                    by_peer,
                } => {
                    self.note(format_args!(
                        "node {node} {link} ends {context:?} (by peer: {by_peer}): {reason}"
                    ));
                    if let Some(talk) = self.machines[node].talks.get_mut(&link) {
                        talk.accepted.remove(&context);
                    }
                }
                question => {
                    self.machines[node].questions.push_back((link, question));
                    self.work_soon(node);
                }
            }
        }
        self.set_alarm(node, link);
        Ok(())
    }

    pub(crate) fn work_soon(&mut self, node: usize) {
        if !self.machines[node].work_is_due {
            self.machines[node].work_is_due = true;
            // A busy disk now and then.
            let pause = if self.rng.random_bool(0.1) { 400 } else { 8 };
            self.soon(pause, Happening::Work { node });
        }
    }

    fn set_alarm(&mut self, node: usize, link: LinkId) {
        let machine = &mut self.machines[node];
        let clock = machine.clock(self.now).0;
        let Some(talk) = machine.talks.get_mut(&link) else {
            return;
        };
        let Some(due) = talk.session.poll_timeout() else {
            return;
        };
        let time = self.now + due.0.saturating_sub(clock);
        if talk.wake.is_none_or(|wake| time < wake) {
            talk.wake = Some(time);
            self.at(time, Happening::Wake { node, link });
        }
    }

    pub(crate) fn wake(&mut self, node: usize, link: LinkId) -> Result<(), Broken> {
        let now = self.now;
        let Some(talk) = self.machines[node].talks.get_mut(&link) else {
            return Ok(());
        };
        if talk.wake != Some(now) {
            return Ok(());
        }
        talk.wake = None;
        self.tell(node, link, Event::Timeout)
    }

    fn send(&mut self, node: usize, link: LinkId, frame: Vec<u8>) {
        let tamper = std::mem::take(&mut self.tamper_next);
        let Some(wire) = self.wires.get_mut(&link) else {
            return;
        };
        let to = usize::from(wire.ends[0] == node);
        if wire.is_deaf {
            return;
        }
        let arrival = wire.last[to].max(self.now + wire.latency_ms)
            + self.rng.random_range(0..=wire.latency_ms / 4);
        wire.last[to] = arrival;
        self.trace.note(
            aeroedge_ids::Millis(self.now),
            format_args!(
                "node {node} {link} sends {} bytes {}",
                frame.len(),
                Short::of(&frame)
            ),
        );
        wire.frames[to].push_back(frame);
        self.at(arrival, Happening::Deliver { link, side: to });
        if tamper {
            self.tamper(link, to, arrival);
        }
    }

    /// Does something to the last frame under way that only an attacker or a broken program would do.
    fn tamper(&mut self, link: LinkId, to: usize, arrival: u64) {
        let choice = self.rng.random_range(0..6);
        let place: usize = self.rng.random_range(0..1 << 24);
        let garbage: [u8; 24] = self.rng.random();
        let Some(wire) = self.wires.get_mut(&link) else {
            return;
        };
        wire.is_tampered = true;
        let frames = &mut wire.frames[to];
        let last = frames.len() - 1;
        let mut extra = 0;
        let what = match choice {
            0 => {
                frames.push_back(frames[last].clone());
                extra = 1;
                "repeated"
            }
            1 if last > 0 => {
                frames.swap(last - 1, last);
                "reordered"
            }
            2 => {
                let length = frames[last].len().max(1);
                frames[last].truncate(place % length);
                "cut short"
            }
            3 => {
                frames.push_back(garbage.to_vec());
                extra = 1;
                "followed by garbage"
            }
            4 => {
                frames.pop_back();
                "dropped alone"
            }
            _ => {
                let length = frames[last].len().max(1);
                if let Some(byte) = frames[last].get_mut(place % length) {
                    *byte ^= 1 << (place % 8);
                }
                "changed by a bit"
            }
        };
        for _ in 0..extra {
            self.at(arrival, Happening::Deliver { link, side: to });
        }
        self.figures.tampered += 1;
        self.note(format_args!("{link}: a frame is {what}"));
    }

    pub(crate) fn deliver(&mut self, link: LinkId, side: usize) -> Result<(), Broken> {
        let Some(wire) = self.wires.get_mut(&link) else {
            return Ok(());
        };
        let node = wire.ends[side];
        if let Some(frame) = wire.frames[side].pop_front() {
            self.tell(node, link, Event::Frame(frame))?;
        }
        self.forget_if_over(link, side)
    }

    /// One end is gone: the other hears what was sent before, and then that the link is lost.
    fn hang_up(&mut self, node: usize, link: LinkId) {
        let Some(wire) = self.wires.get(&link) else {
            return;
        };
        let other = usize::from(wire.ends[0] == node);
        let when = wire.last[other].max(self.now) + 1;
        // A delivery without a frame finds the far end gone.
        self.at(when, Happening::Deliver { link, side: other });
    }

    fn forget_if_over(&mut self, link: LinkId, side: usize) -> Result<(), Broken> {
        let Some(wire) = self.wires.get(&link) else {
            return Ok(());
        };
        let other = wire.ends[1 - side];
        if !self.machines[other].talks.contains_key(&link) && wire.frames[side].is_empty() {
            return self.cut(link);
        }
        Ok(())
    }

    /// Ends a link in the middle of whatever is under way.
    pub(crate) fn cut(&mut self, link: LinkId) -> Result<(), Broken> {
        let Some(wire) = self.wires.remove(&link) else {
            return Ok(());
        };
        for node in wire.ends {
            if self.machines[node].talks.contains_key(&link) {
                self.tell(node, link, Event::LinkLost)?;
                self.machines[node].talks.remove(&link);
            }
        }
        Ok(())
    }

    pub(crate) fn cut_any(&mut self) -> Result<(), Broken> {
        let links: Vec<LinkId> = self.wires.keys().copied().collect();
        let Some(link) = links.choose(&mut self.rng).copied() else {
            return Ok(());
        };
        self.figures.cuts += 1;
        if self.rng.random_bool(0.15) {
            self.note(format_args!("{link} falls silent"));
            if let Some(wire) = self.wires.get_mut(&link) {
                wire.is_deaf = true;
                wire.frames = [VecDeque::new(), VecDeque::new()];
            }
            return Ok(());
        }
        self.note(format_args!("{link} is cut"));
        self.cut(link)
    }

    /// Splits the network in two or three, or joins it again.
    pub(crate) fn part(&mut self) -> Result<(), Broken> {
        let parts = if self.parts.iter().any(|part| *part != 0) {
            1
        } else {
            self.figures.partitions += 1;
            self.rng.random_range(2..=3)
        };
        for node in 0..self.parts.len() {
            self.parts[node] = self.rng.random_range(0..parts);
        }
        let parts = self.parts.clone();
        self.note(format_args!("the network is in parts {parts:?}"));
        let severed: Vec<LinkId> = self
            .wires
            .iter()
            .filter(|(_, wire)| parts[wire.ends[0]] != parts[wire.ends[1]])
            .map(|(link, _)| *link)
            .collect();
        severed.into_iter().try_for_each(|link| self.cut(link))
    }

    /// What every session has sent so far.
    pub(crate) fn spoken_so_far(&self) -> BTreeMap<(LinkId, usize), Counters> {
        let talks = self
            .machines
            .iter()
            .enumerate()
            .flat_map(|(node, machine)| {
                machine
                    .talks
                    .iter()
                    .map(move |(link, talk)| ((*link, node), talk.session.counters()))
            });
        talks.collect()
    }

    /// Equal peers say no more than that they are there.
    pub(crate) fn check_quiet(
        &self,
        before: &BTreeMap<(LinkId, usize), Counters>,
    ) -> Result<(), Broken> {
        for ((link, node), now) in self.spoken_so_far() {
            let Some(wire) = self.wires.get(&link) else {
                continue;
            };
            let Some(then) = before.get(&(link, node)) else {
                continue;
            };
            let frames = now.frames_sent - then.frames_sent;
            let bytes = now.bytes_sent - then.bytes_sent;
            if wire.since_ms + GREETING_MS > self.now.saturating_sub(WATCH_MS) {
                continue;
            }
            if frames > 4 || bytes > 64 {
                return Err(Broken::NotQuiet {
                    left: wire.ends[0],
                    right: wire.ends[1],
                    frames,
                    bytes,
                });
            }
        }
        Ok(())
    }
}

/// In which part a credential lets a session speak of a context; invites come on links of their own.
pub(crate) fn spoken(credential: &Credential) -> Option<(aeroedge_ids::ContextId, bool)> {
    match credential {
        Credential::Member { context, .. } => Some((*context, false)),
        Credential::Joiner { context, .. } => Some((*context, true)),
        Credential::Invite { .. } => None,
    }
}

//! A node at work: questions are answered as a group, one fsync covers it, and only then is anybody told.

use std::collections::BTreeMap;

use aeroedge_device::Declined;
use aeroedge_ids::{CompartmentId, ContextId, EntryHash, Seq};
use aeroedge_log::entry::EntryRef;
use aeroedge_protocol::{CloseReason, Event, Frontier, Origin, Output};
use rand::RngExt;
use rusqlite::params;

use crate::answer::{Answer, answer, describe, judge};
use crate::invariant::Broken;
use crate::links::spoken;
use crate::machine::{Accepted, LinkId};
use crate::oracle::{EntryName, Promised};
use crate::plan::Bug;
use crate::standing::{self, Standing};
use crate::trace::Short;
use crate::world::{World, fault};

impl World {
    /// Counts down to a crash amid what a node does; whether it has come.
    fn crashes_here(&mut self, node: usize) -> Result<bool, Broken> {
        match &mut self.machines[node].crash_in {
            None => Ok(false),
            Some(0) => {
                self.crash(node)?;
                Ok(true)
            }
            Some(steps) => {
                *steps -= 1;
                Ok(false)
            }
        }
    }

    pub(crate) fn work(&mut self, node: usize) -> Result<(), Broken> {
        self.machines[node].work_is_due = false;
        if !self.is_up(node) {
            return Ok(());
        }
        let waiting = self.machines[node].questions.len();
        let count = if waiting > 1 && self.rng.random_bool(0.3) {
            self.rng.random_range(1..=waiting)
        } else {
            waiting
        };
        let mut promises: Vec<(LinkId, Event)> = Vec::new();
        for _ in 0..count {
            let Some((link, question)) = self.machines[node].questions.pop_front() else {
                break;
            };
            if let Some(promise) = self.take_question(node, link, question)? {
                promises.push((link, promise));
            }
            if self.crashes_here(node)? {
                return Ok(());
            }
        }
        self.commit_group(node, promises)
    }

    /// Makes the group durable, then tells everybody.
    pub(crate) fn commit_group(
        &mut self,
        node: usize,
        promises: Vec<(LinkId, Event)>,
    ) -> Result<(), Broken> {
        self.make_durable(node)?;
        if self.crashes_here(node)? {
            return Ok(());
        }
        // Admissions before the entries of those who were admitted.
        self.spread_control(node)?;
        self.spread(node)?;
        for (link, promise) in promises {
            self.tell(node, link, promise)?;
        }
        if !self.machines[node].questions.is_empty() {
            self.work_soon(node);
        }
        Ok(())
    }

    /// Answers one question; returns what may be said only after the fsync.
    fn take_question(
        &mut self,
        node: usize,
        link: LinkId,
        question: Output,
    ) -> Result<Option<Event>, Broken> {
        if let Output::PeerProof {
            context,
            device,
            message,
            signature,
        } = question
        {
            let proof = Accepted {
                device,
                message,
                signature,
                compartments: [].into(),
            };
            self.judge(node, link, context, proof)?;
            return Ok(None);
        }
        self.check_may_receive(node, &question)?;
        if let Some(dropped) = self.planted_before(node, &question)? {
            return Ok(Some(dropped));
        }
        let now = self.clock(node);
        let machine = &mut self.machines[node];
        let Some(device) = &mut machine.device else {
            return Ok(None);
        };
        let answered = match answer(device, question, now, &mut machine.rng) {
            Ok(answered) => answered,
            Err(_) if machine.keys.has_blown() => {
                self.crash(node)?;
                return Ok(None);
            }
            Err(error) => return Err(fault(node, &error)),
        };
        let Some(Answer {
            event,
            after_durable,
            control,
            joined,
            declined,
        }) = answered
        else {
            return Ok(None);
        };
        if control {
            device
                .merge_waiting(now)
                .map_err(|error| fault(node, &describe(&error)))?;
        }
        if joined {
            self.figures.joins += 1;
            self.note(format_args!("node {node} has joined"));
            self.machines[node].must_sync = true;
        }
        if let Event::EntriesRead {
            compartment, runs, ..
        } = &event
        {
            let compartment = *compartment;
            for run in runs {
                for (place, entry) in run.entries.iter().enumerate() {
                    let hash =
                        EntryRef::parse(entry).map_or(EntryHash([0; 32]), |entry| entry.hash());
                    let seq = Seq(run.first.0 + place as u64);
                    self.oracle.publish(compartment, run.writer, seq, hash)?;
                }
            }
        }
        let mut begins_anew = false;
        for (writer, reason) in declined {
            let honest = self.wires.get(&link).is_some_and(|wire| !wire.is_tampered);
            self.note(format_args!(
                "node {node} {link} declines {writer:?}: {reason}"
            ));
            if reason == Declined::UnknownWriter {
                // The entries of a new member were faster than its admission. Nothing more of that member comes on this link.
                self.figures.early_entries += 1;
                begins_anew = true;
            } else if reason == Declined::Gap && self.is_administered() {
                // What was sent before was by somebody whose admission did not stand then.
                begins_anew = true;
            } else if honest {
                return Err(Broken::Declined {
                    node,
                    writer,
                    reason: reason.to_string(),
                });
            }
        }
        if begins_anew {
            self.tell(node, link, Event::Close(CloseReason::Done))?;
        }
        self.planted_after(node)?;
        if after_durable {
            return Ok(Some(event));
        }
        self.tell(node, link, event)?;
        Ok(None)
    }

    /// Nobody is sent what it may not read, whether it would keep it or not.
    fn check_may_receive(&self, node: usize, question: &Output) -> Result<(), Broken> {
        let (
            Output::Apply {
                context,
                compartment,
                ..
            },
            Some(device),
        ) = (question, &self.machines[node].device)
        else {
            return Ok(());
        };
        // Whoever was shut out may be sent more for a while by those who have not heard of it.
        if device.compartments(*context).contains(compartment)
            || self.machines[node].readable.contains(compartment)
        {
            return Ok(());
        }
        Err(Broken::Leaked {
            node,
            compartment: *compartment,
            what: "entries it was sent",
        })
    }

    fn judge(
        &mut self,
        node: usize,
        link: LinkId,
        context: ContextId,
        proof: Accepted,
    ) -> Result<(), Broken> {
        let Some(device) = &self.machines[node].device else {
            return Ok(());
        };
        let judged = judge(
            device,
            context,
            proof.device,
            &proof.message,
            &proof.signature,
        )
        .map_err(|error| fault(node, &error))?;
        let event = match judged {
            Err(reason) => {
                if let Some(talk) = self.machines[node].talks.get_mut(&link) {
                    talk.accepted.remove(&context);
                }
                Event::EndContext { context, reason }
            }
            Ok(mut compartments) => {
                if self.bug == Some(Bug::ShareTooMuch) {
                    self.share_too_much(node, context, &mut compartments)?;
                }
                if let Some(talk) = self.machines[node].talks.get_mut(&link) {
                    let compartments = compartments.keys().copied().collect();
                    talk.accepted.insert(
                        context,
                        Accepted {
                            compartments,
                            ..proof
                        },
                    );
                }
                Event::PeerAccepted {
                    context,
                    compartments,
                }
            }
        };
        self.tell(node, link, event)
    }

    /// Everything committed so far survives a power cut from here on.
    pub(crate) fn fsync(&mut self, node: usize) -> Result<(), Broken> {
        if self.bug == Some(Bug::SignBeforeDurable) {
            return Ok(());
        }
        self.machines[node]
            .fsync()
            .map_err(|error| fault(node, &describe(&error)))
    }

    fn make_durable(&mut self, node: usize) -> Result<(), Broken> {
        let machine = &mut self.machines[node];
        let Some(device) = &mut machine.device else {
            return Ok(());
        };
        let moved = device
            .make_durable()
            .map_err(|error| fault(node, &describe(&error)))?;
        if !moved && !machine.must_sync {
            // What was taken in from others may be lost: they send it again.
            if self.rng.random_bool(0.1) {
                let state = crate::machine::copy(device.connection());
                machine.perhaps = Some(state.map_err(|error| fault(node, &describe(&error)))?);
            }
            return Ok(());
        }
        self.fsync(node)?;
        let Some(writer) = self.machines[node].writer() else {
            return Ok(());
        };
        for log in self.own_logs(node)? {
            if log.vouched > Seq::NONE {
                let promised = Promised {
                    node,
                    writer,
                    seq: log.vouched,
                    entry: self.entry_name(node, &log, log.vouched)?,
                };
                self.oracle.promise(log.compartment, promised);
            }
        }
        Ok(())
    }

    /// Tells the sessions which logs may be offered further than before.
    fn spread(&mut self, node: usize) -> Result<(), Broken> {
        let machine = &self.machines[node];
        let Some(device) = &machine.device else {
            return Ok(());
        };
        let own = machine.writer();
        let mut readable = Vec::new();
        let mut moved: BTreeMap<bool, Vec<(ContextId, CompartmentId, Frontier)>> = BTreeMap::new();
        let mut told = Vec::new();
        for context in self.contexts.iter().flatten() {
            for compartment in device.compartments(*context) {
                readable.push(compartment);
                let frontier = device
                    .frontier(compartment)
                    .map_err(|error| fault(node, &describe(&error)))?;
                let before = machine.told.get(&compartment);
                let (mut here, mut elsewhere) = (Frontier::new(), Frontier::new());
                for (writer, seq) in &frontier {
                    if before.and_then(|before| before.get(writer)) != Some(seq) {
                        let side = if Some(*writer) == own {
                            &mut here
                        } else {
                            &mut elsewhere
                        };
                        side.copy(&frontier, writer);
                    }
                }
                for (is_own, changed) in [(false, elsewhere), (true, here)] {
                    if !changed.is_empty() {
                        moved
                            .entry(is_own)
                            .or_default()
                            .push((*context, compartment, changed));
                    }
                }
                told.push((compartment, frontier));
            }
        }
        self.machines[node].told.extend(told);
        self.machines[node].readable.extend(readable);
        // Entries of others first, so that own ones, which follow from them, come after.
        for (is_own, changes) in moved {
            let origin = if is_own {
                Origin::Here
            } else {
                Origin::Elsewhere
            };
            for (context, compartment, changed) in changes {
                for link in self.links_sharing(node, context, compartment) {
                    let event = Event::Frontier {
                        context,
                        compartment,
                        changed: changed.clone(),
                        origin,
                    };
                    self.tell(node, link, event)?;
                }
            }
        }
        Ok(())
    }

    fn links_sharing(
        &self,
        node: usize,
        context: ContextId,
        compartment: CompartmentId,
    ) -> Vec<LinkId> {
        let talks = self.machines[node].talks.iter();
        talks
            .filter(|(_, talk)| {
                talk.accepted
                    .get(&context)
                    .is_some_and(|accepted| accepted.compartments.contains(&compartment))
            })
            .map(|(link, _)| *link)
            .collect()
    }

    /// Tells the sessions what became of the control history, whoever changed it, and judges peers again.
    pub(crate) fn spread_control(&mut self, node: usize) -> Result<(), Broken> {
        let Some(device) = &self.machines[node].device else {
            return Ok(());
        };
        let mut grown = Vec::new();
        for context in self.contexts.iter().flatten() {
            let hashes = device.control_hashes(*context);
            let told = self.machines[node].control_told.get(context);
            if !hashes.is_empty() && told != Some(&hashes.len()) {
                grown.push((*context, hashes));
            }
        }
        for (context, hashes) in grown {
            let head = hashes.last().map_or([0; 32], |hash| hash.0);
            self.note(format_args!(
                "node {node} holds {} control entries of {context:?}, {}",
                hashes.len(),
                Short(head)
            ));
            self.machines[node]
                .control_told
                .insert(context, hashes.len());
            let links: Vec<LinkId> = self.machines[node].talks.keys().copied().collect();
            for link in &links {
                let event = Event::History {
                    context,
                    hashes: hashes.clone().into(),
                };
                self.tell(node, *link, event)?;
            }
            for link in links {
                let talk = self.machines[node].talks.get_mut(&link);
                if let Some(proof) = talk.and_then(|talk| talk.accepted.remove(&context)) {
                    self.judge(node, link, context, proof)?;
                }
            }
        }
        self.begin_anew_where_more_is_shared(node)
    }

    /// A session speaks of what there was when it began; one that could now speak of more ends, and a new link follows.
    fn begin_anew_where_more_is_shared(&mut self, node: usize) -> Result<(), Broken> {
        let now = self.clock(node);
        let machine = &self.machines[node];
        let Some(device) = &machine.device else {
            return Ok(());
        };
        let current: Vec<_> = device.credentials(now).iter().filter_map(spoken).collect();
        let poorer: Vec<LinkId> = machine
            .talks
            .iter()
            .filter(|(_, talk)| current.iter().any(|part| !talk.spoken.contains(part)))
            .map(|(link, _)| *link)
            .collect();
        for link in poorer {
            self.tell(node, link, Event::Close(CloseReason::Done))?;
        }
        Ok(())
    }

    /// The logs this node writes itself.
    pub(crate) fn own_logs(&self, node: usize) -> Result<Vec<LogPlace>, Broken> {
        let Some(writer) = self.machines[node].writer() else {
            return Ok(Vec::new());
        };
        let all = self.logs(node)?;
        Ok(all.into_iter().filter(|log| log.writer == writer).collect())
    }

    /// What the tables of a node hold.
    pub(crate) fn standing(&self, node: usize) -> Result<Standing, Broken> {
        let Some(device) = &self.machines[node].device else {
            return Ok(Standing::new());
        };
        standing::standing(device.connection()).map_err(|error| fault(node, &describe(&error)))
    }

    /// The name of an entry that is there.
    pub(crate) fn entry_name(
        &self,
        node: usize,
        log: &LogPlace,
        seq: Seq,
    ) -> Result<EntryName, Broken> {
        let device = self.machines[node].device.as_ref();
        let name = device
            .map(|device| standing::name_of(device.connection(), log.number, seq))
            .transpose()
            .map_err(|error| fault(node, &describe(&error)))?;
        name.flatten()
            .ok_or_else(|| fault(node, &format!("entry {seq} of an own log is not there")))
    }

    /// How far every log on a node has come.
    pub(crate) fn logs(&self, node: usize) -> Result<Vec<LogPlace>, Broken> {
        let Some(device) = &self.machines[node].device else {
            return Ok(Vec::new());
        };
        read_logs(device.connection()).map_err(|error| fault(node, &describe(&error)))
    }
}

/// How far a log has come, as the database says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogPlace {
    pub(crate) number: i64,
    pub(crate) context: ContextId,
    pub(crate) compartment: CompartmentId,
    pub(crate) writer: aeroedge_ids::WriterKey,
    pub(crate) tail: Seq,
    pub(crate) tail_hash: EntryHash,
    pub(crate) vouched: Seq,
    pub(crate) merged: Seq,
    pub(crate) merged_hlc: u64,
}

pub(crate) fn read_logs(connection: &rusqlite::Connection) -> rusqlite::Result<Vec<LogPlace>> {
    connection
        .prepare_cached(
            "SELECT log, context, compartment, writer, tail_seq, tail_hash, vouched_seq, merged_seq, merged_hlc
             FROM device_log ORDER BY compartment, writer",
        )?
        .query_map(params![], |row| {
            let seq = |column| row.get(column).map(|seq: i64| Seq(seq as u64));
            Ok(LogPlace {
                number: row.get(0)?,
                context: ContextId(row.get(1)?),
                compartment: CompartmentId(row.get(2)?),
                writer: aeroedge_ids::WriterKey(row.get(3)?),
                tail: seq(4)?,
                tail_hash: EntryHash(row.get(5)?),
                vouched: seq(6)?,
                merged: seq(7)?,
                merged_hlc: row.get::<_, i64>(8)? as u64,
            })
        })?
        .collect()
}

//! The part of a session that moves entries: frontiers, reading for the peer, applying what the peer sent.
//!
//! Invariant: a read is asked for only while the window has room for what it brings, so nothing piles up here.

use aeroedge_ids::{CompartmentId, ContextId, Millis, WriterKey};

use super::Session;
use crate::entry_sync::{Comparison, EntrySync};
use crate::event::{BatchId, Cursor, Frontier, Origin, Output, Run};
use crate::flow::Place;
use crate::frame::{Channel, Frame};
use crate::limits::COMPARTMENTS_MAX;
use crate::reason::CloseReason;

impl Session {
    pub(super) fn on_digests(
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

    pub(super) fn compare(
        &mut self,
        place: Place,
        peer_digest: [u8; 32],
    ) -> Result<(), CloseReason> {
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

    pub(super) fn on_peer_frontier(
        &mut self,
        place: Place,
        frontier: Frontier,
    ) -> Result<(), CloseReason> {
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
    pub(super) fn open_compartment(
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

    pub(super) fn entries_mut(&mut self, (context, compartment): Place) -> Option<&mut EntrySync> {
        self.contexts
            .get_mut(&context)?
            .compartments
            .get_mut(&compartment)
    }

    pub(super) fn on_advance(
        &mut self,
        place: Place,
        changed: &Frontier,
    ) -> Result<(), CloseReason> {
        let (now, delay) = (self.now, self.limits.relay_delay_ms);
        if let Some(entries) = self.open_compartment(place)? {
            entries.on_advance(changed, now, delay)?;
            self.settle(place);
        }
        Ok(())
    }

    /// The driver gets this compartment from another link, or no longer does.
    pub(super) fn on_pause(&mut self, place: Place, paused: bool) {
        if let Some(entries) = self.entries_mut(place) {
            entries.pause_wanted = paused;
            self.settle(place);
        }
    }

    /// The peer's positions in these logs are not those of the entries here.
    pub(super) fn on_peer_disagrees(&mut self, place: Place, logs: &[WriterKey]) {
        if let Some(entries) = self.entries_mut(place) {
            entries.on_peer_disagrees(logs);
            self.settle(place);
        }
    }

    pub(super) fn on_local_frontier(
        &mut self,
        place: Place,
        changed: &Frontier,
        origin: Origin,
    ) -> Result<(), CloseReason> {
        let (now, delay) = (self.now, self.limits.relay_delay_ms);
        let Some(entries) = self.entries_mut(place) else {
            return Ok(());
        };
        let announced = entries.on_local(changed, origin, now, delay)?;
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
        Ok(())
    }

    pub(super) fn on_entries_read(
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
            entries.outstanding += batches;
        }
        self.flush();
        self.settle(place);
        Ok(())
    }

    /// Sends the batches that fit the window.
    pub(super) fn flush(&mut self) {
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

    pub(super) fn on_received(
        &mut self,
        batch: u64,
        declined: &[WriterKey],
    ) -> Result<(), CloseReason> {
        let place = self.sending.acknowledge(batch)?;
        if let Some(entries) = self.entries_mut(place) {
            entries.outstanding = entries.outstanding.saturating_sub(1);
            entries.on_declined_by_peer(declined);
        }
        self.flush();
        self.settle(place);
        Ok(())
    }

    pub(super) fn on_entries(
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
                Some(entries) => entries.on_runs(runs)?,
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

    pub(super) fn on_applied(&mut self, batch: BatchId, mut declined: Vec<WriterKey>) {
        let Some(place) = self.receiving.done(batch.0) else {
            return;
        };
        declined.sort_unstable();
        declined.dedup();
        if let Some(entries) = self.entries_mut(place) {
            entries.on_declined_here(&declined);
        }
        self.send(&Frame::Received {
            batch: batch.0,
            declined,
        });
        self.settle(place);
    }

    /// After anything that touched a compartment: get in line for reading, tell when both ends became equal.
    pub(super) fn settle(&mut self, place: Place) {
        let may_send = self.may_send(place.0);
        let Some(entries) = self.entries_mut(place) else {
            return;
        };
        let pause = entries.take_pause_to_tell();
        let became_equal = entries.take_in_sync();
        if may_send && entries.wants_read() && !entries.in_line {
            entries.in_line = true;
            self.line.push_back(place);
        }
        let (context, compartment) = place;
        if became_equal {
            self.outputs.push_back(Output::InSync {
                context,
                compartment,
            });
        }
        if let Some(paused) = pause
            && let Some(channel) = self.contexts.get(&context).map(|link| link.channel)
        {
            self.send(&Frame::Pause {
                channel,
                compartment,
                paused,
            });
        }
    }

    /// Entries wait until the peer has taken in the control history: it declines those of a writer whose admission it lacks.
    fn may_send(&self, context: ContextId) -> bool {
        self.contexts
            .get(&context)
            .is_some_and(|link| link.control.is_delivered())
    }

    /// The peer has taken in control entries, or there are new ones.
    pub(super) fn settle_all(&mut self, context: ContextId) {
        let compartments: Vec<_> = match self.contexts.get(&context) {
            Some(link) if link.control.is_delivered() => {
                link.compartments.keys().copied().collect()
            }
            _ => return,
        };
        for compartment in compartments {
            self.settle((context, compartment));
        }
    }

    /// Asks the store for the next batches, one for each compartment in turn, as far as the window allows.
    pub(super) fn read_ahead(&mut self) {
        while let Some(place) = self.line.front().copied() {
            let may_send = self.may_send(place.0);
            let wants = self
                .entries_mut(place)
                .is_some_and(|entries| may_send && entries.wants_read());
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
}

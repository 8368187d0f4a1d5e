//! The two windows of a link: what may be sent ahead of the peer, and what the peer may send ahead of this end.
//!
//! Invariant: bytes that were sent, wait to be sent or are being read for sending never exceed the window by more than
//! one read; bytes that were received and not applied never exceed it by more than one frame.

use std::collections::{BTreeMap, VecDeque};

use aeroedge_ids::{CompartmentId, ContextId};

use crate::event::Run;
use crate::limits::{ENTRIES_PER_FRAME_MAX, Limits};
use crate::reason::CloseReason;

/// A compartment of one context.
pub(crate) type Place = (ContextId, CompartmentId);

/// A batch that waits for room in the window.
#[derive(Debug)]
struct Waiting {
    place: Place,
    runs: Vec<Run>,
    cost: usize,
}

#[derive(Debug)]
pub(crate) struct Sending {
    window: usize,
    batch_bytes: usize,
    next_batch: u64,
    outstanding: BTreeMap<u64, (Place, usize)>,
    outstanding_bytes: usize,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    reserved_bytes: usize,
}

impl Sending {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            window: limits.window_bytes,
            batch_bytes: limits.batch_bytes.min(limits.window_bytes).max(1),
            next_batch: 1,
            outstanding: BTreeMap::new(),
            outstanding_bytes: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            reserved_bytes: 0,
        }
    }

    /// The peer said how much it takes.
    pub(crate) fn limit_window(&mut self, peer_window: u64) {
        self.window =
            usize::try_from(peer_window).map_or(self.window, |peer| peer.min(self.window));
        self.batch_bytes = self.batch_bytes.min(self.window).max(1);
    }

    /// How many bytes may be read for the peer now, if any.
    pub(crate) fn reserve(&mut self) -> Option<usize> {
        let used = self.outstanding_bytes + self.waiting_bytes + self.reserved_bytes;
        let bytes = self.window.saturating_sub(used).min(self.batch_bytes);
        let worth = used == 0 || bytes >= self.batch_bytes.div_ceil(4);
        worth.then(|| {
            let bytes = bytes.max(1);
            self.reserved_bytes += bytes;
            bytes
        })
    }

    pub(crate) fn release(&mut self, reserved: usize) {
        self.reserved_bytes -= reserved;
    }

    /// Takes what was read, cut into batches; returns their number.
    pub(crate) fn enqueue(&mut self, place: Place, runs: Vec<Run>) -> usize {
        let batches = cut(runs, self.batch_bytes);
        let count = batches.len();
        for (runs, cost) in batches {
            self.waiting_bytes += cost;
            self.waiting.push_back(Waiting { place, runs, cost });
        }
        count
    }

    /// The next batch that fits the window.
    pub(crate) fn next(&mut self) -> Option<(u64, Place, Vec<Run>)> {
        let cost = self.waiting.front()?.cost;
        if self.outstanding_bytes > 0 && self.outstanding_bytes + cost > self.window {
            return None;
        }
        let Waiting { place, runs, cost } = self.waiting.pop_front()?;
        let batch = self.next_batch;
        self.next_batch += 1;
        self.waiting_bytes -= cost;
        self.outstanding_bytes += cost;
        self.outstanding.insert(batch, (place, cost));
        Some((batch, place, runs))
    }

    /// The peer has applied a batch.
    pub(crate) fn acknowledge(&mut self, batch: u64) -> Result<Place, CloseReason> {
        let (place, cost) = self
            .outstanding
            .remove(&batch)
            .ok_or(CloseReason::WrongOrder)?;
        self.outstanding_bytes -= cost;
        Ok(place)
    }

    /// Drops what waits for places that are spoken of no more.
    pub(crate) fn forget(&mut self, gone: impl Fn(&Place) -> bool) {
        let dropped = &mut self.waiting_bytes;
        self.waiting.retain(|waiting| {
            let keep = !gone(&waiting.place);
            if !keep {
                *dropped -= waiting.cost;
            }
            keep
        });
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }
}

#[derive(Debug)]
pub(crate) struct Receiving {
    window: usize,
    next_batch: u64,
    unapplied: BTreeMap<u64, (Place, usize)>,
    unapplied_bytes: usize,
}

impl Receiving {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            window: limits.window_bytes,
            next_batch: 1,
            unapplied: BTreeMap::new(),
            unapplied_bytes: 0,
        }
    }

    /// A batch came.
    pub(crate) fn take(
        &mut self,
        batch: u64,
        place: Place,
        runs: &[Run],
    ) -> Result<(), CloseReason> {
        if batch < self.next_batch {
            return Err(CloseReason::Repeated);
        }
        if batch > self.next_batch {
            return Err(CloseReason::WrongOrder);
        }
        let cost: usize = runs.iter().map(Run::cost).sum();
        if self.unapplied_bytes > 0 && self.unapplied_bytes + cost > self.window {
            return Err(CloseReason::Flooded);
        }
        self.next_batch += 1;
        self.unapplied_bytes += cost;
        self.unapplied.insert(batch, (place, cost));
        Ok(())
    }

    /// A batch is applied, or will never be.
    pub(crate) fn done(&mut self, batch: u64) -> Option<Place> {
        let (place, cost) = self.unapplied.remove(&batch)?;
        self.unapplied_bytes -= cost;
        Some(place)
    }
}

/// Cuts runs into batches of about `bytes`, each at least one entry; only the last piece of a run keeps its head.
fn cut(runs: Vec<Run>, bytes: usize) -> Vec<(Vec<Run>, usize)> {
    let mut batches = Vec::new();
    let mut batch: Vec<Run> = Vec::new();
    let (mut cost, mut entries) = (0, 0);
    for mut run in runs {
        loop {
            let room = entries_that_fit(
                &run,
                bytes.saturating_sub(cost),
                ENTRIES_PER_FRAME_MAX - entries,
            );
            if room >= run.entries.len() {
                cost += run.cost();
                entries += run.entries.len();
                batch.push(run);
                break;
            }
            // A batch holds something, however large.
            let room = if batch.is_empty() { room.max(1) } else { room };
            if room > 0 && room < run.entries.len() {
                let rest = run.entries.split_off(room);
                let head = run.head.take();
                let next = Run {
                    writer: run.writer,
                    first: run.last().next(),
                    entries: rest,
                    head,
                };
                cost += run.cost();
                batch.push(run);
                run = next;
            } else if room > 0 {
                cost += run.cost();
                batch.push(run);
                batches.push((std::mem::take(&mut batch), cost));
                (cost, entries) = (0, 0);
                break;
            }
            batches.push((std::mem::take(&mut batch), cost));
            (cost, entries) = (0, 0);
        }
    }
    if !batch.is_empty() {
        batches.push((batch, cost));
    }
    batches
}

/// How many entries from the front of a run cost no more than `bytes`.
fn entries_that_fit(run: &Run, bytes: usize, count_max: usize) -> usize {
    let Some(mut left) = bytes.checked_sub(160) else {
        return 0;
    };
    run.entries
        .iter()
        .take(count_max)
        .take_while(|entry| match left.checked_sub(entry.len() + 8) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        })
        .count()
}

#[cfg(test)]
mod tests {
    use aeroedge_ids::{EntryHash, Seq, WriterKey};

    use super::*;
    use crate::event::WireHead;

    fn run(first: u64, sizes: &[usize]) -> Run {
        let last = Seq(first + sizes.len() as u64 - 1);
        Run {
            writer: WriterKey([1; 32]),
            first: Seq(first),
            entries: sizes.iter().map(|size| vec![9; *size]).collect(),
            head: Some(WireHead {
                seq: last,
                hash: EntryHash([2; 32]),
                signature: [3; 64],
            }),
        }
    }

    #[test]
    fn cutting_keeps_every_entry_in_order_and_heads_at_the_end() {
        for bytes in [1, 200, 400, 1_000, 10_000, 100_000] {
            let runs = vec![
                run(1, &[100, 5_000, 1, 1]),
                run(5, &[1]),
                run(6, &[300; 40]),
            ];
            let batches = cut(runs, bytes);
            let mut next = 1;
            for (batch, cost) in &batches {
                assert_eq!(batch.iter().map(Run::cost).sum::<usize>(), *cost);
                let entries: usize = batch.iter().map(|run| run.entries.len()).sum();
                assert!(*cost <= bytes || entries == 1, "{cost} > {bytes}");
                for run in batch {
                    assert_eq!(run.first, Seq(next));
                    next = run.last().0 + 1;
                    assert_eq!(run.head.is_some(), [4, 5, 45].contains(&run.last().0));
                }
            }
            assert_eq!(next, 46);
        }
    }

    #[test]
    fn a_peer_with_a_tiny_window_gets_one_batch_at_a_time() {
        let place = (ContextId([0; 16]), CompartmentId([0; 16]));
        let mut sending = Sending::new(&Limits::default());
        sending.limit_window(0);
        let reserved = sending.reserve().unwrap();
        assert_eq!(sending.reserve(), None);
        sending.release(reserved);
        sending.enqueue(place, vec![run(1, &[10, 10])]);
        let (first, ..) = sending.next().unwrap();
        assert!(sending.next().is_none());
        sending.acknowledge(first).unwrap();
        assert!(sending.next().is_some());
    }
}

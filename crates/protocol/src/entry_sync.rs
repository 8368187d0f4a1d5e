//! Brings one compartment of two ends together, then keeps it so: who has what, and what to read next.
//!
//! Invariant: an entry is read for the peer only if the peer lacks it as far as this end knows; what was sent, what came
//! from the peer and what the peer announced is never sent. Positions only ever rise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aeroedge_ids::{EntryCheck, Millis, Seq, WriterKey};
use sha2::{Digest, Sha256};

use crate::event::{Cursor, Frontier, Origin, Run};
use crate::limits::WRITERS_MAX;
use crate::reason::CloseReason;

/// What comes of comparing digests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// Nothing to exchange.
    Equal,
    /// The own frontier is to be sent.
    Differs,
}

/// For how many delays a peer that keeps getting entries from elsewhere is left to them. Long, because the peer itself is
/// usually what is slow; not for ever, because its other link may be.
const HOLDS_MAX: u64 = 200;

/// Entries that are announced and not sent.
#[derive(Debug, Clone, Copy)]
struct Held {
    since: Millis,
    due: Millis,
}

#[derive(Debug)]
pub(crate) struct EntrySync {
    /// What this end holds and can vouch for.
    local: Frontier,
    /// The frontier described by the digest that is out, until the peer's digest has come.
    digested: Option<Frontier>,
    /// What the peer holds, was sent, or announced.
    peer: Arc<Frontier>,
    peer_known: bool,
    /// Where the peer lacks something / where it holds more.
    behind: BTreeSet<WriterKey>,
    ahead: BTreeSet<WriterKey>,
    /// Writers of which the peer wants no more / of which this end took no more.
    declined_by_peer: BTreeSet<WriterKey>,
    declined_here: BTreeSet<WriterKey>,
    /// Last seq that came from the peer, by writer.
    received: BTreeMap<WriterKey, Seq>,
    /// Writers whose entries are only announced so far.
    held: BTreeMap<WriterKey, Held>,
    /// The peer wants nothing sent for the present.
    pub(crate) paused_by_peer: bool,
    /// What this end wants in that respect, and what the peer was told.
    pub(crate) pause_wanted: bool,
    pub(crate) pause_told: bool,
    cursor: Cursor,
    /// The store said there is nothing more although the peer lacks something: wait for the frontier to move.
    stalled: bool,
    /// Bytes reserved for the read that is under way.
    pub(crate) reading: Option<usize>,
    /// Batches sent and not yet acknowledged.
    pub(crate) outstanding: usize,
    /// The read under way was asked for before the peer's position was set back: its answer is void.
    reading_is_void: bool,
    /// Logs that reading came past before this session was told of them.
    passed_over: BTreeSet<WriterKey>,
    /// Whether the session has this compartment in its line of those to read for.
    pub(crate) in_line: bool,
    in_sync: bool,
}

impl EntrySync {
    pub(crate) fn new(mut local: Frontier) -> Self {
        local.retain(|_, seq| *seq > Seq::NONE);
        Self {
            digested: Some(local.clone()),
            local,
            peer: Arc::default(),
            peer_known: false,
            behind: BTreeSet::new(),
            ahead: BTreeSet::new(),
            declined_by_peer: BTreeSet::new(),
            declined_here: BTreeSet::new(),
            received: BTreeMap::new(),
            held: BTreeMap::new(),
            paused_by_peer: false,
            pause_wanted: false,
            pause_told: false,
            cursor: Cursor::START,
            stalled: false,
            reading: None,
            outstanding: 0,
            reading_is_void: false,
            passed_over: BTreeSet::new(),
            in_line: false,
            in_sync: false,
        }
    }

    /// The digest to send when the compartment is opened.
    pub(crate) fn digest(&self) -> [u8; 32] {
        digest(&self.local)
    }

    pub(crate) fn local(&self) -> &Frontier {
        &self.local
    }

    pub(crate) fn peer(&self) -> Arc<Frontier> {
        Arc::clone(&self.peer)
    }

    pub(crate) fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The peer's digest has come.
    pub(crate) fn compare(&mut self, peer_digest: [u8; 32]) -> Result<Comparison, CloseReason> {
        let digested = self.digested.take().ok_or(CloseReason::WrongOrder)?;
        if digest(&digested) != peer_digest {
            return Ok(Comparison::Differs);
        }
        self.peer = Arc::new(digested);
        self.peer_known = true;
        self.recompute();
        Ok(Comparison::Equal)
    }

    /// The peer's frontier has come.
    pub(crate) fn on_peer_frontier(&mut self, frontier: Frontier) -> Result<(), CloseReason> {
        if self.peer_known || self.digested.is_some() {
            return Err(CloseReason::WrongOrder);
        }
        self.peer = Arc::new(frontier);
        self.peer_known = true;
        self.recompute();
        Ok(())
    }

    /// The peer took entries in from elsewhere. As long as it goes on doing so, what is held for it stays held.
    pub(crate) fn on_advance(
        &mut self,
        changed: &Frontier,
        now: Millis,
        delay_ms: u64,
    ) -> Result<(), CloseReason> {
        if !self.peer_known {
            return Err(CloseReason::WrongOrder);
        }
        for (writer, seq) in changed {
            self.raise_peer(*writer, *seq)?;
            if self.peer.get(writer) == Some(seq) {
                Arc::make_mut(&mut self.peer).copy(changed, writer);
            }
            self.compare_story(writer)?;
            if let Some(held) = self.held.get_mut(writer) {
                let latest = held.since.0 + HOLDS_MAX * delay_ms;
                held.due = Millis((now.0 + delay_ms).min(latest));
            }
        }
        Ok(())
    }

    /// The peer's positions in these logs name other entries than those here: all of them is sent, so that it shows where
    /// they part.
    pub(crate) fn on_peer_disagrees(&mut self, logs: &[WriterKey]) {
        for log in logs {
            if Arc::make_mut(&mut self.peer).remove(log).is_some() {
                self.place(*log);
            }
        }
        self.stalled = false;
        self.cursor = Cursor::START;
        self.reading_is_void = self.reading.is_some();
    }

    /// The own frontier moved. Returns what to announce to the peer.
    pub(crate) fn on_local(
        &mut self,
        changed: &Frontier,
        origin: Origin,
        now: Millis,
        delay_ms: u64,
    ) -> Result<Frontier, CloseReason> {
        let mut announced = Frontier::new();
        for (writer, seq) in changed {
            if *seq <= self.local.get(writer).copied().unwrap_or_default() {
                continue;
            }
            self.local.copy(changed, writer);
            self.stalled = false;
            if self.passed_over.remove(writer) {
                // Reading went past its beginning before it was told of.
                self.cursor = Cursor::START;
                self.reading_is_void = self.reading.is_some();
            }
            self.place(*writer);
            self.compare_story(writer)?;
            let relayed = origin == Origin::Elsewhere && delay_ms > 0 && self.peer_known;
            let from_peer = self
                .received
                .get(writer)
                .is_some_and(|received| seq <= received);
            if relayed && !from_peer {
                // Also a peer that has it long since must hear, or it would still send it.
                announced.copy(changed, writer);
            }
            if relayed && self.behind.contains(writer) {
                let due = Millis(now.0 + delay_ms);
                self.held.entry(*writer).or_insert(Held { since: now, due });
            } else {
                self.held.remove(writer);
            }
        }
        Ok(announced)
    }

    /// Forgets the delay of what is due; the next time to do so.
    pub(crate) fn release(&mut self, now: Millis) -> Option<Millis> {
        self.held.retain(|_, held| held.due > now);
        self.held.values().map(|held| held.due).min()
    }

    /// Tells the peer, once it listens, whether to pause; `None` if it knows.
    pub(crate) fn take_pause_to_tell(&mut self) -> Option<bool> {
        let tell = self.peer_known && self.pause_told != self.pause_wanted;
        self.pause_told = if tell {
            self.pause_wanted
        } else {
            self.pause_told
        };
        tell.then_some(self.pause_wanted)
    }

    /// Entries to send and to receive until both ends are equal, as far as this end knows.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (
            lead(&self.local, &self.peer, &self.behind),
            lead(&self.peer, &self.local, &self.ahead),
        )
    }

    /// Whether there is something to read for the peer now.
    pub(crate) fn wants_read(&self) -> bool {
        self.peer_known
            && self.reading.is_none()
            && !self.stalled
            && !self.paused_by_peer
            && self
                .behind
                .iter()
                .any(|writer| !self.held.contains_key(writer))
    }

    /// What the store gave; returns the runs without what the peer has by now. A gap is the store's fault.
    pub(crate) fn on_read(
        &mut self,
        runs: Vec<Run>,
        next: Cursor,
        exhausted: bool,
    ) -> Result<Vec<Run>, CloseReason> {
        let mut fresh = Vec::with_capacity(runs.len());
        if std::mem::take(&mut self.reading_is_void) {
            return Ok(fresh);
        }
        for mut run in runs {
            let has = self.peer.get(&run.writer).copied().unwrap_or_default();
            // A log of which the session was not told may be of a writer whose admission the peer was not told.
            if !self.local.contains_key(&run.writer) {
                self.passed_over.insert(run.writer);
                continue;
            }
            if run.last() <= has
                || run.entries.is_empty()
                || self.declined_by_peer.contains(&run.writer)
            {
                continue;
            }
            // A branch of a forked log does not begin at one, and where it begins only the store knows.
            let is_gap = run.first > has.next() && has > Seq::NONE;
            if is_gap || run.first == Seq::NONE {
                return Err(CloseReason::StoreFailed);
            }
            if has >= run.first {
                let known = (has.next().0 - run.first.0) as usize;
                run.entries.drain(..known);
                run.first = has.next();
            }
            let last = run.last();
            if run.head.is_some_and(|head| head.seq > last) {
                return Err(CloseReason::StoreFailed);
            }
            let local = self.local.entry(run.writer).or_default();
            *local = (*local).max(last);
            Arc::make_mut(&mut self.peer).insert(run.writer, last);
            self.place(run.writer);
            push_cut_at_head(&mut fresh, run);
        }
        let no_progress = fresh.is_empty() && (exhausted || next <= self.cursor);
        if no_progress && !self.behind.is_empty() {
            // Something is missing that the frontier promised. Look once from the start, then wait for news.
            self.stalled = self.cursor == Cursor::START;
            self.cursor = Cursor::START;
        } else {
            self.cursor = next;
        }
        Ok(fresh)
    }

    /// Runs came from the peer; returns those to apply.
    pub(crate) fn on_runs(&mut self, runs: Vec<Run>) -> Result<Vec<Run>, CloseReason> {
        let mut kept = Vec::with_capacity(runs.len());
        if !self.peer_known {
            return Err(CloseReason::WrongOrder);
        }
        for run in runs {
            let received = self.received.entry(run.writer).or_default();
            if run.first <= *received {
                return Err(CloseReason::Repeated);
            }
            *received = run.last();
            if self.received.len() > WRITERS_MAX {
                return Err(CloseReason::Oversized);
            }
            self.raise_peer(run.writer, run.last())?;
            if !self.declined_here.contains(&run.writer) {
                kept.push(run);
            }
        }
        Ok(kept)
    }

    /// The peer wants no more of these writers.
    pub(crate) fn on_declined_by_peer(&mut self, writers: &[WriterKey]) {
        for writer in writers {
            self.declined_by_peer.insert(*writer);
            self.place(*writer);
        }
    }

    /// This end wants no more of these writers.
    pub(crate) fn on_declined_here(&mut self, writers: &[WriterKey]) {
        for writer in writers {
            self.declined_here.insert(*writer);
            self.place(*writer);
        }
    }

    /// Whether both ends just became equal.
    pub(crate) fn take_in_sync(&mut self) -> bool {
        let now = self.peer_known
            && self.behind.is_empty()
            && self.ahead.is_empty()
            && self.reading.is_none()
            && self.outstanding == 0;
        let became = now && !self.in_sync;
        self.in_sync = now;
        became
    }

    pub(crate) fn is_in_sync(&self) -> bool {
        self.in_sync
    }

    /// Both ends stand at one position of a log and mean different entries: only a new link compares from the start.
    fn compare_story(&self, writer: &WriterKey) -> Result<(), CloseReason> {
        if self.local.contradicts(&self.peer, writer) {
            Err(CloseReason::Parted)
        } else {
            Ok(())
        }
    }

    fn raise_peer(&mut self, writer: WriterKey, seq: Seq) -> Result<(), CloseReason> {
        if self.peer.get(&writer).copied().unwrap_or_default() < seq {
            Arc::make_mut(&mut self.peer).insert(writer, seq);
            self.place(writer);
        }
        if self.peer.len() > WRITERS_MAX {
            return Err(CloseReason::Oversized);
        }
        Ok(())
    }

    fn recompute(&mut self) {
        let writers: BTreeSet<WriterKey> =
            self.local.keys().chain(self.peer.keys()).copied().collect();
        for writer in writers {
            self.place(writer);
        }
    }

    /// Puts a writer where its two positions belong.
    fn place(&mut self, writer: WriterKey) {
        let local = self.local.get(&writer).copied().unwrap_or_default();
        let peer = self.peer.get(&writer).copied().unwrap_or_default();
        set(
            &mut self.behind,
            writer,
            local > peer && !self.declined_by_peer.contains(&writer),
        );
        set(
            &mut self.ahead,
            writer,
            peer > local && !self.declined_here.contains(&writer),
        );
        if !self.behind.contains(&writer) {
            self.held.remove(&writer);
        }
    }
}

/// On the wire a head closes its run: what follows it becomes a run of its own.
fn push_cut_at_head(runs: &mut Vec<Run>, mut run: Run) {
    let vouched = run.head.map_or(0, |head| {
        head.seq.next().0.saturating_sub(run.first.0) as usize
    });
    if vouched == 0 {
        run.head = None;
    } else if vouched < run.entries.len() {
        let rest = Run {
            writer: run.writer,
            first: Seq(run.first.0 + vouched as u64),
            entries: run.entries.split_off(vouched),
            head: None,
        };
        runs.push(run);
        run = rest;
    }
    runs.push(run);
}

/// By how many entries of these writers one frontier leads.
fn lead(one: &Frontier, other: &Frontier, writers: &BTreeSet<WriterKey>) -> u64 {
    let at = |frontier: &Frontier, writer: &WriterKey| {
        frontier.get(writer).copied().unwrap_or_default().0
    };
    writers
        .iter()
        .map(|writer| at(one, writer).saturating_sub(at(other, writer)))
        .fold(0, u64::saturating_add)
}

fn set(writers: &mut BTreeSet<WriterKey>, writer: WriterKey, belongs: bool) {
    if belongs {
        writers.insert(writer);
    } else {
        writers.remove(&writer);
    }
}

pub(crate) fn digest(frontier: &Frontier) -> [u8; 32] {
    let mut sha = Sha256::new();
    sha.update(b"aeroedge frontier v1");
    for (writer, seq) in frontier.iter().filter(|(_, seq)| **seq > Seq::NONE) {
        sha.update(writer.as_bytes());
        sha.update(seq.0.to_be_bytes());
        sha.update(frontier.check(writer).unwrap_or(EntryCheck([0; 8])).0);
    }
    sha.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITER: WriterKey = WriterKey([1; 32]);
    const NOW: Millis = Millis(1_000);

    fn run(first: u64, count: usize) -> Run {
        Run {
            writer: WRITER,
            first: Seq(first),
            entries: vec![vec![1]; count],
            head: None,
        }
    }

    /// A compartment whose peer holds nothing.
    fn behind(local: u64) -> EntrySync {
        let mut entries = EntrySync::new(Frontier::from([(WRITER, Seq(local))]));
        assert_eq!(entries.compare([0; 32]), Ok(Comparison::Differs));
        entries.on_peer_frontier(Frontier::new()).unwrap();
        entries
    }

    #[test]
    fn a_store_that_lost_its_place_is_asked_once_from_the_start_and_again_after_news() {
        let mut entries = behind(3);
        assert_eq!(
            entries
                .on_read(vec![run(1, 1)], Cursor(9), true)
                .unwrap()
                .len(),
            1
        );
        assert_eq!(entries.cursor(), Cursor(9));
        assert!(entries.wants_read());
        entries.on_read(Vec::new(), Cursor(9), true).unwrap();
        assert_eq!(entries.cursor(), Cursor::START);
        assert!(entries.wants_read());
        entries.on_read(Vec::new(), Cursor(9), true).unwrap();
        assert!(!entries.wants_read(), "or it would ask for ever");
        let told = Frontier::from([(WRITER, Seq(4))]);
        entries.on_local(&told, Origin::Here, NOW, 0).unwrap();
        assert!(entries.wants_read());
    }

    #[test]
    fn what_the_peer_has_by_now_is_cut_off_and_gaps_are_faults() {
        let mut entries = behind(9);
        entries
            .on_advance(&Frontier::from([(WRITER, Seq(4))]), NOW, 0)
            .unwrap();
        let fresh = entries.on_read(vec![run(2, 5)], Cursor(6), false).unwrap();
        assert_eq!((fresh[0].first, fresh[0].last()), (Seq(5), Seq(6)));
        let gap = entries.on_read(vec![run(8, 1)], Cursor(8), false);
        assert_eq!(gap, Err(CloseReason::StoreFailed));
    }

    #[test]
    fn a_head_within_a_run_closes_it_there() {
        let head = |seq| {
            Some(crate::WireHead {
                seq: Seq(seq),
                hash: aeroedge_ids::EntryHash([2; 32]),
                signature: [3; 64],
            })
        };
        for (seq, expected) in [
            (3, vec![(4, 6, None)]),
            (4, vec![(4, 4, head(4)), (5, 6, None)]),
            (5, vec![(4, 5, head(5)), (6, 6, None)]),
            (6, vec![(4, 6, head(6))]),
        ] {
            let mut entries = behind(9);
            let told = Frontier::from([(WRITER, Seq(3))]);
            entries.on_advance(&told, NOW, 0).unwrap();
            let read = Run {
                head: head(seq),
                ..run(2, 5)
            };
            let fresh = entries.on_read(vec![read], Cursor(6), false).unwrap();
            let fresh: Vec<_> = fresh
                .iter()
                .map(|run| (run.first.0, run.last().0, run.head))
                .collect();
            assert_eq!(fresh, expected);
        }
    }

    #[test]
    fn what_came_from_elsewhere_is_announced_first() {
        let mut entries = behind(0);
        let told = Frontier::from([(WRITER, Seq(2))]);
        assert_eq!(
            entries.on_local(&told, Origin::Elsewhere, NOW, 100),
            Ok(told.clone())
        );
        assert!(!entries.wants_read());
        assert_eq!(entries.release(Millis(1_099)), Some(Millis(1_100)));
        assert!(!entries.wants_read());
        assert_eq!(entries.release(Millis(1_100)), None);
        assert!(entries.wants_read());
        entries.on_advance(&told, NOW, 100).unwrap();
        assert!(!entries.wants_read());
    }

    #[test]
    fn a_peer_that_is_being_served_by_others_is_left_to_them_for_a_while() {
        let mut entries = behind(0);
        let told = Frontier::from([(WRITER, Seq(1_000))]);
        entries
            .on_local(&told, Origin::Elsewhere, NOW, 100)
            .unwrap();
        for step in 1..=230 {
            let now = Millis(1_000 + step * 90);
            let due = entries.release(now);
            assert_eq!(due.is_some(), step * 90 < 20_000, "{step}");
            let told = Frontier::from([(WRITER, Seq(step))]);
            entries.on_advance(&told, now, 100).unwrap();
        }
        assert!(entries.wants_read(), "others are too slow");
    }

    #[test]
    fn a_branch_begins_where_its_store_says() {
        let mut entries = behind(20);
        let fresh = entries
            .on_read(vec![run(11, 10)], Cursor(20), true)
            .unwrap();
        assert_eq!((fresh[0].first, fresh[0].last()), (Seq(11), Seq(20)));
        // After that it has no gaps.
        entries
            .on_local(&Frontier::from([(WRITER, Seq(30))]), Origin::Here, NOW, 0)
            .unwrap();
        assert_eq!(
            entries.on_read(vec![run(25, 6)], Cursor(30), true),
            Err(CloseReason::StoreFailed)
        );
    }

    #[test]
    fn a_log_of_which_the_peer_tells_another_story_is_sent_from_its_beginning() {
        let at = |seq| Frontier::from([(WRITER, Seq(seq))]);
        let mut entries = EntrySync::new(at(5));
        assert_eq!(entries.compare([0; 32]), Ok(Comparison::Differs));
        entries.on_peer_frontier(at(4)).unwrap();
        entries.reading = Some(1);
        entries.on_peer_disagrees(&[WRITER]);
        // The answer to the read that was under way does not count.
        assert_eq!(
            entries.on_read(vec![run(5, 1)], Cursor(5), true),
            Ok(Vec::new())
        );
        entries.reading = None;
        assert!(entries.wants_read());
        assert_eq!(entries.cursor(), Cursor::START);
        let fresh = entries.on_read(vec![run(1, 5)], Cursor(5), true).unwrap();
        assert_eq!(fresh[0].entries.len(), 5);
    }

    #[test]
    fn two_entries_under_one_number_end_the_link() {
        let at = |seq, check| Frontier::from_iter([(WRITER, Seq(seq), EntryCheck([check; 8]))]);
        let mut entries = behind(0);
        entries.on_local(&at(2, 1), Origin::Here, NOW, 100).unwrap();
        assert_eq!(entries.on_advance(&at(2, 1), NOW, 100), Ok(()));
        entries.on_local(&at(3, 1), Origin::Here, NOW, 100).unwrap();
        assert_eq!(
            entries.on_advance(&at(3, 2), NOW, 100),
            Err(CloseReason::Parted)
        );
    }
}

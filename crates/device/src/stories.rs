//! Everything that is here of one writer in one compartment: its trunk and, if it signed two stories, the branches.
//!
//! The entries of a writer form a tree, since each names the one before it. Logs are its stretches without a fork, so they and their names
//! follow from the set of signed entries alone, in whatever order these came.
//!
//! Invariant: a log is only cut in two where both continuations are signed. What nobody signed proves nothing: of such
//! stories one at most is kept beside the signed ones, until a head comes or another takes its place.

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{CompartmentId, ContextId, EntryHash, Seq, WriterKey};
use aeroedge_log::entry::{EntryRef, WriterTag, branch_name};
use aeroedge_log::head::Head;
use aeroedge_protocol::{Run, WireHead};
use rusqlite::{Connection, params};

use crate::intake::{Declined, InHand, UNVOUCHED_MAX, UNVOUCHED_TOTAL, is_bearable};
use crate::stored::{self, LogNumber, LogRow};
use crate::verdicts::{self, Refused, latest_stamp};

/// The most stories of one writer that are kept in a compartment: as many as one act that shuts it out can name.
pub(crate) const BRANCHES_MAX: usize = aeroedge_log::control::BRANCHES_MAX;

/// Where a log was cut in two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Whose log it is.
    pub(crate) signer: WriterKey,
    /// The branch that the end of the log became.
    pub(crate) branch: LogNumber,
    /// Whether entries of it had been merged under the old name.
    pub(crate) was_merged: bool,
}

/// The logs of one writer in one compartment, the trunk first.
pub(crate) struct Stories<'c> {
    connection: &'c Connection,
    logs: Vec<LogRow>,
    /// Whether this installation writes them.
    pub(crate) is_own: bool,
    pub(crate) cuts: Vec<Cut>,
}

/// A place between two entries: after `seq`, in this log or at its very beginning.
#[derive(Debug, Clone, Copy)]
struct Place {
    log: usize,
    seq: Seq,
}

impl<'c> Stories<'c> {
    /// Reads what is here of a writer; the trunk is made if there is none.
    pub(crate) fn of(
        connection: &'c Connection,
        context: ContextId,
        compartment: CompartmentId,
        signer: WriterKey,
        is_own: bool,
    ) -> rusqlite::Result<Self> {
        let mut logs = stored::logs_of_signer(connection, compartment, signer)?;
        if logs.is_empty() {
            let tag = WriterTag::of(&signer).0;
            logs.push(stored::find_or_start(
                connection,
                context,
                compartment,
                signer,
                &tag,
            )?);
        }
        Ok(Self {
            connection,
            logs,
            is_own,
            cuts: Vec::new(),
        })
    }

    /// Every log with the position up to which it is signed.
    pub(crate) fn vouched(&self) -> impl Iterator<Item = &LogRow> {
        self.logs.iter().filter(|log| log.is_proven())
    }

    /// Stores a run wherever its entries belong, whatever log it says it is of, and believes its head if the writer signed it.
    /// `is_covered` says whether a cut-off counts this entry of the writer in.
    pub(crate) fn take<'a>(
        &mut self,
        run: &'a Run,
        is_covered: &dyn Fn(Seq, EntryHash) -> bool,
        in_hand: &mut InHand<'a>,
    ) -> rusqlite::Result<Result<(), Declined>> {
        let found = match self.locate(run)? {
            Ok(found) => found,
            Err(reason) => return Ok(Err(reason)),
        };
        let (mut place, known) = found;
        let rest = &run.entries[known..];
        if !rest.is_empty() {
            let chained = match self.check_chain(place, rest)? {
                Ok(chained) => chained,
                Err(reason) => return Ok(Err(reason)),
            };
            match self.place_for(place, chained[0])? {
                Ok(log) => place.log = log,
                Err(reason) => return Ok(Err(reason)),
            }
            let log = &mut self.logs[place.log];
            for (bytes, hash) in rest.iter().zip(chained) {
                log.append(self.connection, bytes, hash)?;
                in_hand.insert((log.number, log.tail), bytes);
            }
            log.save(self.connection)?;
            place.seq = log.tail;
        }
        let Some(head) = run.head else {
            let log = &self.logs[place.log];
            let is_written_here = self.is_own && log.awaits_own_head();
            let (most, together) = (UNVOUCHED_MAX, UNVOUCHED_TOTAL);
            if is_written_here || is_bearable(self.connection, log, most, together)? {
                return Ok(Ok(()));
            }
            self.drop_unsigned(place.log)?;
            return Ok(Err(Declined::Unsigned));
        };
        match self.believe(place, &head, is_covered, in_hand)? {
            Ok(()) => Ok(Ok(())),
            Err(reason) => {
                self.drop_unsigned(place.log)?;
                Ok(Err(reason))
            }
        }
    }

    /// How many entries of a run are here, and after which place the others would come.
    fn locate(&self, run: &Run) -> rusqlite::Result<Result<(Place, usize), Declined>> {
        let Some(first) = run.entries.first().filter(|_| run.first > Seq::NONE) else {
            return Ok(Err(Declined::Malformed));
        };
        let Ok(entry) = EntryRef::parse(first) else {
            return Ok(Err(Declined::Malformed));
        };
        let before = Seq(run.first.0 - 1);
        let mut start = None;
        for (index, log) in self.logs.iter().enumerate() {
            let holds = before >= log.first && before <= log.tail
                || log.parent.is_none() && before == Seq::NONE;
            if holds && stored::hash_at(self.connection, log, before)? == Some(entry.previous()) {
                start = Some(index);
                break;
            }
        }
        let Some(log) = start else {
            let is_beyond = self.logs.iter().all(|log| before > log.tail);
            return Ok(Err(if is_beyond {
                Declined::Gap
            } else {
                Declined::OtherStory
            }));
        };
        let mut place = Place { log, seq: before };
        let mut known = 0;
        while known < run.entries.len() {
            let log = &self.logs[place.log];
            let here = (log.tail.0 - place.seq.0).min((run.entries.len() - known) as u64) as usize;
            let same = self.common(log, place.seq, &run.entries[known..known + here])?;
            known += same;
            place.seq = Seq(place.seq.0 + same as u64);
            if known == run.entries.len() {
                break;
            }
            match self.child_at(place, &run.entries[known])? {
                Some(child) => place.log = child,
                None => break,
            }
        }
        Ok(Ok((place, known)))
    }

    /// How many of these entries stand in the log after `seq`. They are a chain, so if one is equal all before it are.
    fn common(&self, log: &LogRow, seq: Seq, entries: &[Vec<u8>]) -> rusqlite::Result<usize> {
        let agrees = |count: usize| -> rusqlite::Result<bool> {
            let ours = stored::entry(self.connection, log.number, Seq(seq.0 + count as u64))?;
            Ok(ours.as_ref() == entries.get(count - 1))
        };
        if entries.is_empty() || agrees(entries.len())? {
            return Ok(entries.len());
        }
        let (mut same, mut differs) = (0, entries.len());
        while same + 1 < differs {
            let middle = usize::midpoint(same, differs);
            if agrees(middle)? {
                same = middle;
            } else {
                differs = middle;
            }
        }
        Ok(same)
    }

    /// The branch that leaves its parent at a place and begins with this entry.
    fn child_at(&self, place: Place, entry: &[u8]) -> rusqlite::Result<Option<usize>> {
        let parent = self.logs[place.log].number;
        for (index, log) in self.logs.iter().enumerate() {
            if log.parent == Some(parent)
                && log.base() == place.seq
                && stored::entry(self.connection, log.number, log.first)?.as_deref() == Some(entry)
            {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The hashes of entries that follow a place, if they are entries of this writer and each names the one before.
    fn check_chain(
        &self,
        place: Place,
        entries: &[Vec<u8>],
    ) -> rusqlite::Result<Result<Vec<EntryHash>, Declined>> {
        let log = &self.logs[place.log];
        let Some(mut previous) = stored::hash_at(self.connection, log, place.seq)? else {
            return Ok(Err(Declined::OtherStory));
        };
        let mut seq = place.seq;
        let mut hashes = Vec::with_capacity(entries.len());
        for bytes in entries {
            let Ok(entry) = EntryRef::parse(bytes) else {
                return Ok(Err(Declined::Malformed));
            };
            seq = seq.next();
            let is_of_this_log = entry.context() == log.context
                && entry.compartment() == log.compartment
                && entry.writer() == log.signer
                && entry.seq() == seq;
            if !is_of_this_log {
                return Ok(Err(Declined::Malformed));
            }
            if entry.previous() != previous {
                return Ok(Err(Declined::BrokenChain));
            }
            previous = entry.hash();
            hashes.push(previous);
        }
        Ok(Ok(hashes))
    }

    /// The log to which entries after a place are added: the one that ends there, or a new branch.
    fn place_for(
        &mut self,
        place: Place,
        first: EntryHash,
    ) -> rusqlite::Result<Result<usize, Declined>> {
        let log = &self.logs[place.log];
        let is_end = place.seq == log.tail && !self.has_branches(log);
        let contradicts_unsigned = place.seq < log.tail && place.seq >= log.vouched;
        if (is_end || contradicts_unsigned) && self.is_own && log.awaits_own_head() {
            // Nobody may talk this installation out of what it wrote itself.
            return Ok(Err(Declined::OwnUnsigned));
        }
        if contradicts_unsigned {
            stored::truncate(self.connection, &mut self.logs[place.log], place.seq)?;
            return Ok(Ok(place.log));
        }
        if is_end {
            return Ok(Ok(place.log));
        }
        self.drop_unproven()?;
        self.start_branch(place, first).map(Ok)
    }

    fn has_branches(&self, log: &LogRow) -> bool {
        self.logs
            .iter()
            .any(|other| other.parent == Some(log.number) && other.base() == log.tail)
    }

    /// Makes an empty branch; nothing in it is signed yet.
    fn start_branch(&mut self, place: Place, first: EntryHash) -> rusqlite::Result<usize> {
        let parent = self.logs[place.log].clone();
        let hash =
            stored::hash_at(self.connection, &parent, place.seq)?.unwrap_or(EntryHash([0; 32]));
        let branch = self.insert(&parent, place.seq, first)?;
        let mut row = stored::by_number(self.connection, branch)?;
        (row.tail, row.tail_hash) = (place.seq, hash);
        (row.vouched, row.vouched_hash) = (place.seq, hash);
        row.merged = place.seq;
        row.merged_hlc = latest_stamp(self.connection, &parent, place.seq)?.unwrap_or(Hlc::ZERO);
        row.save(self.connection)?;
        self.logs.push(row);
        Ok(self.logs.len() - 1)
    }

    fn insert(&self, parent: &LogRow, base: Seq, first: EntryHash) -> rusqlite::Result<LogNumber> {
        let name = branch_name(&parent.signer, &first);
        self.connection
            .prepare_cached(
                "INSERT INTO device_log(context, compartment, writer, signer, tag, parent, first_seq, tail_seq, tail_hash, vouched_seq, vouched_hash, merged_seq, merged_hlc)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, zeroblob(32), 0, zeroblob(32), 0, 0)",
            )?
            .execute(params![
                parent.context.0,
                parent.compartment.0,
                name.0,
                parent.signer.0,
                WriterTag::of(&parent.signer).0,
                parent.number.0,
                base.next().0 as i64
            ])?;
        Ok(LogNumber(self.connection.last_insert_rowid()))
    }

    /// Notes what a head vouches for, and cuts logs in two where that proves two stories.
    fn believe(
        &mut self,
        place: Place,
        head: &WireHead,
        is_covered: &dyn Fn(Seq, EntryHash) -> bool,
        in_hand: &mut InHand<'_>,
    ) -> rusqlite::Result<Result<(), Declined>> {
        let mut index = place.log;
        while head.seq < self.logs[index].first
            && let Some(parent) = self.logs[index].parent
        {
            index = self.index(parent)?;
        }
        let log = &self.logs[index];
        if head.seq <= log.vouched && log.is_proven() {
            return Ok(Ok(()));
        }
        let Some(bytes) = stored::entry(self.connection, log.number, head.seq)? else {
            return Ok(Err(Declined::FalseHead));
        };
        let signed = Head {
            compartment: log.compartment,
            writer: log.signer,
            seq: head.seq,
            hash: head.hash,
            signature: head.signature,
        };
        let holds = EntryRef::parse(&bytes)
            .is_ok_and(|entry| entry.hash() == head.hash && !entry.more_parts());
        if !holds || signed.verify().is_err() {
            return Ok(Err(Declined::FalseHead));
        }
        if !log.is_proven() {
            if self.stories() >= BRANCHES_MAX && !is_covered(head.seq, head.hash) {
                return Ok(Err(Declined::TooManyStories));
            }
            self.cut_parent(index, in_hand)?;
        }
        let log = &mut self.logs[index];
        log.vouch(self.connection, head.seq, head.hash, &head.signature)?;
        log.save(self.connection)?;
        Ok(Ok(()))
    }

    /// The signed stories: branches that no other leaves.
    fn stories(&self) -> usize {
        let is_left = |log: &LogRow| self.vouched().any(|other| other.parent == Some(log.number));
        self.vouched().filter(|log| !is_left(log)).count()
    }

    fn index(&self, number: LogNumber) -> rusqlite::Result<usize> {
        self.logs
            .iter()
            .position(|log| log.number == number)
            .ok_or(rusqlite::Error::QueryReturnedNoRows)
    }

    /// A branch has proved to be signed: the log it leaves ends where it begins, and what stood there becomes a branch as well.
    fn cut_parent(&mut self, branch: usize, in_hand: &mut InHand<'_>) -> rusqlite::Result<()> {
        let base = self.logs[branch].base();
        let Some(parent) = self.logs[branch].parent else {
            return Ok(());
        };
        let at = self.index(parent)?;
        if self.logs[at].tail <= base {
            return Ok(());
        }
        let mut old = self.logs[at].clone();
        let first = stored::hash_at(self.connection, &old, base.next())?
            .ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        let base_hash = stored::hash_at(self.connection, &old, base)?
            .ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        let base_hlc = latest_stamp(self.connection, &old, base)?.unwrap_or(Hlc::ZERO);
        let number = self.insert(&old, base, first)?;
        let mut row = stored::by_number(self.connection, number)?;
        (row.tail, row.tail_hash) = (old.tail, old.tail_hash);
        (row.vouched, row.vouched_hash) = (old.vouched, old.vouched_hash);
        if row.vouched < base {
            (row.vouched, row.vouched_hash) = (base, base_hash);
        }
        let was_merged = old.merged > base;
        (row.merged, row.merged_hlc) = if was_merged {
            (old.merged, old.merged_hlc)
        } else {
            (base, base_hlc)
        };
        row.save(self.connection)?;
        self.move_rows(old.number, number, base)?;
        (old.tail, old.tail_hash) = (base, base_hash);
        (old.vouched, old.vouched_hash) = (base, base_hash);
        if was_merged {
            (old.merged, old.merged_hlc) = (base, base_hlc);
        }
        old.save(self.connection)?;
        if was_merged {
            self.refuse_cut_transaction(&old, &row)?;
        }
        // What was in hand is read back: its place has another number now.
        in_hand.retain(|(log, seq), _| *log != old.number || *seq <= base);
        for log in &mut self.logs {
            if log.parent == Some(old.number) && log.base() > base {
                log.parent = Some(number);
            }
        }
        self.cuts.push(Cut {
            signer: old.signer,
            branch: number,
            was_merged,
        });
        self.logs[at] = old;
        self.logs.push(row);
        Ok(())
    }

    /// Brings what follows `base` from a log to the branch it became.
    fn move_rows(&self, old: LogNumber, new: LogNumber, base: Seq) -> rusqlite::Result<()> {
        let (from, to, after) = (old.0, new.0, base.0 as i64);
        for sql in [
            "UPDATE device_entry SET log = ?2 WHERE log = ?1 AND seq > ?3",
            "UPDATE device_head SET log = ?2 WHERE log = ?1 AND seq > ?3",
            "UPDATE device_refused SET log = ?2 WHERE log = ?1 AND seq > ?3",
            "UPDATE device_log SET parent = ?2 WHERE parent = ?1 AND first_seq > ?3 + 1",
        ] {
            self.connection
                .prepare_cached(sql)?
                .execute(params![from, to, after])?;
        }
        Ok(())
    }

    /// A transaction that two stories share in part counts in none of them. Only a changed program makes one.
    fn refuse_cut_transaction(&self, old: &LogRow, new: &LogRow) -> rusqlite::Result<()> {
        let goes_on = |log: &LogRow, seq: Seq| -> rusqlite::Result<bool> {
            let bytes = stored::entry(self.connection, log.number, seq)?;
            Ok(bytes
                .is_some_and(|bytes| EntryRef::parse(&bytes).is_ok_and(|entry| entry.more_parts())))
        };
        if old.tail < old.first || !goes_on(old, old.tail)? {
            return Ok(());
        }
        let mut first = old.tail;
        while first > old.first && goes_on(old, Seq(first.0 - 1))? {
            first = Seq(first.0 - 1);
        }
        let mut last = new.first;
        while last < new.tail && goes_on(new, last)? {
            last = last.next();
        }
        for (log, first, last) in [(old, first, old.tail), (new, new.first, last)] {
            let refused = Refused {
                first,
                last,
                hlc: old.merged_hlc,
                by_history: false,
                cause: None,
                reason: "its transaction is cut in two by a fork".to_owned(),
            };
            verdicts::refuse(self.connection, log.number, &refused)?;
        }
        Ok(())
    }

    /// Takes a log back to what its writer signed; a branch of which nothing is signed goes altogether.
    fn drop_unsigned(&mut self, index: usize) -> rusqlite::Result<()> {
        let log = &mut self.logs[index];
        if self.is_own && log.awaits_own_head() {
            return Ok(());
        }
        if log.is_proven() {
            let vouched = log.vouched;
            return stored::truncate(self.connection, log, vouched);
        }
        self.drop_unproven()
    }

    /// Forgets branches of which nothing is signed.
    fn drop_unproven(&mut self) -> rusqlite::Result<()> {
        for log in self.logs.iter().filter(|log| !log.is_proven()) {
            for sql in [
                "DELETE FROM device_entry WHERE log = ?1",
                "DELETE FROM device_log WHERE log = ?1",
            ] {
                self.connection
                    .prepare_cached(sql)?
                    .execute([log.number.0])?;
            }
        }
        self.logs.retain(LogRow::is_proven);
        Ok(())
    }
}

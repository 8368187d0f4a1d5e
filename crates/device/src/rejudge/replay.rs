//! Merges everything that counts once more, in a causal order, as far as it speaks of given rows.
//!
//! Entries arrived in an almost causal order. One that had seen what stands behind it in that order waits for it here too, so
//! that the whole takes one walk over the log.

use std::collections::{BTreeMap, BTreeSet};

use aeroedge_crdt::hlc::{Hlc, Stamp};
use aeroedge_ids::{CompartmentId, ControlHash, Seq};
use aeroedge_log::entry::{EntryRef, Seen, WriterTag};
use aeroedge_log::keys::EpochKey;
use aeroedge_replica::{Incoming, Merging, RowSet};
use rusqlite::Connection;

use crate::checkpoint;
use crate::merging::{
    Line, MergingError, Pass, add_met, content_fault, key_of, note, open, upto, vector_of,
};
use crate::stored::{self, LogNumber, LogRow};
use crate::verdicts::{self, Refused};

/// How far a log has come.
struct Progress {
    /// Its positions as of now; `merged` moves.
    log: LogRow,
    /// How far it was merged before, and is merged in the end.
    end: Seq,
    /// How far the walk has come in it.
    reached: Seq,
    refused: BTreeMap<Seq, Refused>,
    /// Waits for another log.
    is_blocked: bool,
}

struct Replay<'r> {
    logs: BTreeMap<LogNumber, Progress>,
    /// The logs that entries call so: a trunk and its branches.
    by_tag: BTreeMap<(CompartmentId, WriterTag), Vec<LogNumber>>,
    /// Logs that wait for another, by that.
    blocked: BTreeMap<LogNumber, Vec<Blocked>>,
    rows: &'r RowSet,
    /// The last key found: consecutive entries mostly share it.
    key: Option<(Vec<ControlHash>, ControlHash, EpochKey)>,
}

/// A log that waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Blocked {
    log: LogNumber,
    /// What the other must reach.
    until: Seq,
}

/// Merges what counts in some compartments once more, restricted to `rows`.
pub(super) fn run(
    pass: &mut Pass<'_>,
    engine: &mut Merging<'_>,
    compartments: &[CompartmentId],
    rows: &RowSet,
) -> Result<(), MergingError> {
    let connection = engine.connection();
    let mut replay = Replay {
        logs: BTreeMap::new(),
        by_tag: BTreeMap::new(),
        blocked: BTreeMap::new(),
        rows,
        key: None,
    };
    for mut log in stored::all(connection)? {
        if !compartments.contains(&log.compartment) {
            continue;
        }
        verdicts::forget_seen(connection, log.number)?;
        pass.vectors.insert(log.number, BTreeMap::new());
        let refused = verdicts::refused_in(connection, log.number)?
            .into_iter()
            .map(|refused| (refused.first, refused))
            .collect();
        let base = log.base();
        let end = std::mem::replace(&mut log.merged, base);
        log.merged_hlc = Hlc::ZERO;
        replay
            .by_tag
            .entry((log.compartment, WriterTag::of(&log.signer)))
            .or_default()
            .push(log.number);
        let progress = Progress {
            log,
            end,
            reached: base,
            refused,
            is_blocked: false,
        };
        replay.logs.insert(progress.log.number, progress);
    }
    for compartment in compartments.iter().collect::<BTreeSet<_>>() {
        let ends = checkpoint::restore(engine, *compartment, rows)?;
        for progress in replay.logs.values_mut() {
            if progress.log.compartment == *compartment
                && let Some((seq, hlc)) = ends.get(&progress.log.writer)
            {
                (progress.log.merged, progress.log.merged_hlc) = (*seq, *hlc);
                progress.reached = *seq;
                // What the state says its writer had seen is read back.
                pass.vectors.remove(&progress.log.number);
            }
        }
    }
    let mut statement =
        connection.prepare_cached("SELECT log, seq FROM device_entry ORDER BY arrival")?;
    let mut arrivals = statement.query([])?;
    while let Some(row) = arrivals.next()? {
        let (number, seq) = (LogNumber(row.get(0)?), Seq(row.get::<_, i64>(1)? as u64));
        let Some(progress) = replay.logs.get_mut(&number) else {
            continue;
        };
        if seq <= progress.end {
            progress.reached = progress.reached.max(seq);
            if !progress.is_blocked {
                replay.advance(pass, engine, number)?;
            }
        }
    }
    replay.force(pass, engine)
}

impl Replay<'_> {
    /// Merges a log as far as the walk has come, and whatever waited for it.
    fn advance(
        &mut self,
        pass: &mut Pass<'_>,
        engine: &mut Merging<'_>,
        number: LogNumber,
    ) -> Result<(), MergingError> {
        let mut ready = vec![number];
        while let Some(number) = ready.pop() {
            while self.has_more(number) {
                match self.merge_next(pass, engine, number, false)? {
                    None => {}
                    Some((awaited, until)) => {
                        let blocked = Blocked { log: number, until };
                        self.blocked.entry(awaited).or_default().push(blocked);
                        self.set_blocked(number, true);
                    }
                }
            }
            ready.extend(self.resumed_by(number));
        }
        Ok(())
    }

    fn has_more(&self, number: LogNumber) -> bool {
        self.logs
            .get(&number)
            .is_some_and(|progress| !progress.is_blocked && progress.log.merged < progress.reached)
    }

    fn set_blocked(&mut self, number: LogNumber, is_blocked: bool) {
        if let Some(progress) = self.logs.get_mut(&number) {
            progress.is_blocked = is_blocked;
        }
    }

    /// The logs that waited for this one and need wait no longer.
    fn resumed_by(&mut self, number: LogNumber) -> Vec<LogNumber> {
        let merged = self.logs.get(&number).map(|progress| progress.log.merged);
        let (Some(merged), Some(waiting)) = (merged, self.blocked.get_mut(&number)) else {
            return Vec::new();
        };
        let resumed: Vec<_> = waiting
            .extract_if(.., |blocked| blocked.until <= merged)
            .map(|blocked| blocked.log)
            .collect();
        for log in &resumed {
            self.set_blocked(*log, false);
        }
        resumed
    }

    /// Goes on where logs wait for each other, which only members with changed programs can bring about.
    fn force(&mut self, pass: &mut Pass<'_>, engine: &mut Merging<'_>) -> Result<(), MergingError> {
        loop {
            let stuck = self
                .logs
                .values_mut()
                .find(|progress| progress.log.merged < progress.end);
            let Some(progress) = stuck else {
                return Ok(());
            };
            (progress.reached, progress.is_blocked) = (progress.end, false);
            let number = progress.log.number;
            for waiting in self.blocked.values_mut() {
                waiting.retain(|blocked| blocked.log != number);
            }
            self.merge_next(pass, engine, number, true)?;
            self.advance(pass, engine, number)?;
        }
    }

    /// Merges the next transaction of a log, unless it had seen one that has not had its turn: then the log to wait for.
    fn merge_next(
        &mut self,
        pass: &mut Pass<'_>,
        engine: &mut Merging<'_>,
        number: LogNumber,
        is_forced: bool,
    ) -> Result<Option<(LogNumber, Seq)>, MergingError> {
        let connection = engine.connection();
        let Some(progress) = self.logs.get(&number) else {
            return Ok(None);
        };
        let log = progress.log.clone();
        let first = log.merged.next();
        if log.merged == log.base()
            && let Some(parent) = log.parent
        {
            let has_come = |parent: &Progress| parent.log.merged >= log.base();
            if !is_forced && !self.logs.get(&parent).is_none_or(has_come) {
                return Ok(Some((parent, log.base())));
            }
            stored::inherit_seen(connection, &log)?;
            pass.vectors.remove(&number);
        }
        if let Some(refused) = progress.refused.get(&first) {
            let (last, hlc) = (refused.last, refused.hlc);
            self.moved(number, last, hlc);
            return Ok(None);
        }
        let end = progress.end;
        let mut lines: Vec<Line> = Vec::new();
        let mut seq = first;
        let mut hlc = log.merged_hlc;
        let mut fault: Option<String> = None;
        loop {
            let Some(bytes) = pass.bytes(connection, &log, seq)? else {
                break;
            };
            let Ok(entry) = EntryRef::parse(&bytes) else {
                break;
            };
            hlc = hlc.max(entry.hlc());
            if let Some(key) = self.key_for(pass, &log, &entry)
                && let Ok(body) = open(pass.opener, &bytes, &key)
            {
                if seq == first {
                    lines = match self.find(connection, &log, &body.seen, is_forced)? {
                        Ok(lines) => lines,
                        Err(awaited) => return Ok(Some(awaited)),
                    };
                }
                let vector = vector_of(connection, pass.vectors, number)?;
                let had_seen = |writer: &_| upto(vector, &lines, writer);
                let incoming = Incoming {
                    stamp: Stamp {
                        hlc: entry.hlc(),
                        writer: log.writer,
                    },
                    part: body.part,
                    compartment: Some(log.compartment),
                    seen: &had_seen,
                    changes: body.changes,
                };
                // It was taken before, but the schema may have changed since.
                if let Err(error) = engine.apply_again(&incoming, self.rows) {
                    fault.get_or_insert(content_fault(error)?);
                }
            }
            if !entry.more_parts() || seq >= end {
                break;
            }
            seq = seq.next();
        }
        match fault {
            None => note(connection, pass.vectors, number, &lines)?,
            Some(reason) => {
                let refused = Refused {
                    first,
                    last: seq,
                    hlc,
                    by_history: false,
                    cause: None,
                    reason,
                };
                verdicts::refuse(connection, number, &refused)?;
            }
        }
        self.moved(number, seq, hlc);
        Ok(None)
    }

    fn moved(&mut self, number: LogNumber, last: Seq, hlc: Hlc) {
        if let Some(progress) = self.logs.get_mut(&number) {
            progress.log.merged = last;
            progress.log.merged_hlc = progress.log.merged_hlc.max(hlc);
        }
    }

    fn key_for(&mut self, pass: &Pass<'_>, log: &LogRow, entry: &EntryRef<'_>) -> Option<EpochKey> {
        let heads: Vec<_> = entry.heads().collect();
        if let Some((known, epoch, key)) = &self.key
            && *known == heads
            && *epoch == entry.epoch()
        {
            return Some(key.clone());
        }
        let key = key_of(pass.contexts.get(&log.context)?, entry)?;
        self.key = Some((heads, entry.epoch(), key.clone()));
        Some(key)
    }

    /// What an entry had seen, or the log that must have its turn before.
    fn find(
        &self,
        connection: &Connection,
        log: &LogRow,
        seen: &[Seen],
        is_forced: bool,
    ) -> rusqlite::Result<Result<Vec<Line>, (LogNumber, Seq)>> {
        let mut lines = Vec::with_capacity(seen.len());
        for line in seen {
            let (tag, seq) = (line.writer, line.seq);
            let called = self.by_tag.get(&(log.compartment, tag));
            let others: Vec<LogRow> = called
                .into_iter()
                .flatten()
                .filter_map(|number| Some(self.logs.get(number)?.log.clone()))
                .collect();
            let found = stored::find_seen(connection, &others, line)?;
            let other = found.or(match &others[..] {
                [other] if seq > other.tail => Some(other),
                _ => None,
            });
            let Some(other) = other else {
                lines.push(Line::unmet(tag, seq, None));
                continue;
            };
            let end = self.logs.get(&other.number).map_or(seq, |other| other.end);
            let wanted = seq.min(end);
            if other.merged < wanted && !is_forced {
                return Ok(Err((other.number, wanted)));
            }
            if found.is_some() && other.merged >= seq {
                add_met(connection, &mut lines, tag, seq, other)?;
            } else {
                let is_short = other.merged < seq;
                lines.push(Line::unmet(tag, seq, is_short.then_some(other)));
            }
        }
        Ok(Ok(lines))
    }
}

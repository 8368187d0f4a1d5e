//! What the writer of an entry had seen of other logs: an entry is merged after that, and concurrent to all else.
//!
//! What a writer had seen is the sum of what its entries say that count. Entries that cannot count are never waited for.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{EntryHash, Seq, WriterKey};
use aeroedge_log::entry::{Seen, WriterTag};
use aeroedge_log::history::{Chain, UnknownChain};
use rusqlite::Connection;

use super::Waiting;
use crate::rejudge::LogChain;
use crate::state::ContextState;
use crate::stored::{self, LogNumber, LogRow};
use crate::verdicts;

/// What the writers of logs had seen, kept between passes.
pub(crate) type Vectors = BTreeMap<LogNumber, BTreeMap<WriterKey, Hlc>>;

/// One line of what a writer had seen, found here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    tag: WriterTag,
    seq: Seq,
    /// The log, if there is one, and its latest stamp as far as it was seen.
    log: Option<(LogNumber, WriterKey, Hlc)>,
    /// Not all of it is here, and what is missing cannot count.
    is_unmet: bool,
}

impl Line {
    /// A line about a log of which everything seen is here.
    pub(crate) fn met(tag: WriterTag, seq: Seq, log: &LogRow, hlc: Hlc) -> Self {
        Self {
            tag,
            seq,
            log: Some((log.number, log.writer, hlc)),
            is_unmet: false,
        }
    }

    /// A line about entries that are not all here and cannot count.
    pub(crate) fn unmet(tag: WriterTag, seq: Seq, log: Option<&LogRow>) -> Self {
        Self {
            tag,
            seq,
            log: log.map(|log| (log.number, log.writer, log.merged_hlc)),
            is_unmet: true,
        }
    }
}

/// Finds the logs that an entry in `log` had seen; what it waits for if they are not merged that far.
pub(crate) fn find(
    connection: &Connection,
    state: &ContextState,
    log: &LogRow,
    seen: &[Seen],
) -> rusqlite::Result<Result<Vec<Line>, Waiting>> {
    let mut lines = Vec::with_capacity(seen.len());
    for line in seen {
        let (tag, seq) = (line.writer, line.seq);
        let others = stored::find_by_tag(connection, log.compartment, tag.0)?;
        // One log may be forked: the hash tells in which branch the entry stands that was seen.
        match stored::find_seen(connection, &others, line)? {
            Some(other) if other.merged >= seq => {
                add_met(connection, &mut lines, tag, seq, other)?;
            }
            found => {
                // Beyond the end of the only log that is here it may be of that one; another entry under a number that is here is not.
                let other = found.or(match &others[..] {
                    [other] if seq > other.tail => Some(other),
                    _ => None,
                });
                if !is_settled(connection, state, log, &others, other, line) {
                    return Ok(Err(Waiting::Seen { writer: tag, seq }));
                }
                lines.push(Line::unmet(tag, seq, other));
            }
        }
    }
    Ok(Ok(lines))
}

/// A line about a log of which everything seen is merged. Who saw a branch saw the logs that lead to it, up to where it leaves them.
pub(crate) fn add_met(
    connection: &Connection,
    lines: &mut Vec<Line>,
    tag: WriterTag,
    seq: Seq,
    log: &LogRow,
) -> rusqlite::Result<()> {
    let hlc = verdicts::latest_stamp(connection, log, seq)?.unwrap_or(Hlc::ZERO);
    lines.push(Line::met(tag, seq, log, hlc));
    if let Some(parent) = log.parent
        && log.base() > Seq::NONE
    {
        let parent = stored::by_number(connection, parent)?;
        add_met(connection, lines, tag, log.base(), &parent)?;
    }
    Ok(())
}

/// Whether an entry that was seen cannot count, and so need not be waited for: neither in the log in which it stands, if that is known, nor
/// beyond what is merged of any log of its writer, nor in a branch that is not here.
fn is_settled(
    connection: &Connection,
    state: &ContextState,
    log: &LogRow,
    others: &[LogRow],
    found: Option<&LogRow>,
    line: &Seen,
) -> bool {
    let ends_there = |other: &LogRow| {
        let chain = LogChain::new(connection, other);
        let next = other.merged.next();
        state
            .history
            .is_settled(other.signer, other.compartment, next, &chain)
    };
    if let Some(found) = found.filter(|found| line.seq <= found.tail) {
        return ends_there(found);
    }
    if let Some(first) = others.first() {
        let elsewhere = Elsewhere { connection, others };
        return others.iter().all(ends_there)
            && state
                .history
                .is_settled(first.signer, log.compartment, line.seq, &elsewhere);
    }
    let mut called = state.roster.writers_called(line.writer).peekable();
    called.peek().is_some()
        && called.all(|writer| {
            state
                .history
                .is_settled(writer, log.compartment, Seq(1), &UnknownChain)
        })
}

/// A branch that is not here: it leads to nothing that a branch leads to which is here.
struct Elsewhere<'a> {
    connection: &'a Connection,
    others: &'a [LogRow],
}

impl Chain for Elsewhere<'_> {
    fn contains(&self, seq: Seq, hash: EntryHash) -> Option<bool> {
        let is_here = |other: &LogRow| {
            LogChain::new(self.connection, other).contains(seq, hash) == Some(true)
        };
        self.others.iter().any(is_here).then_some(false)
    }
}

/// Adds lines to what the writer of a log had seen.
pub(crate) fn note(
    connection: &Connection,
    vectors: &mut Vectors,
    log: LogNumber,
    lines: &[Line],
) -> rusqlite::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    for line in lines {
        if line.is_unmet {
            verdicts::set_unmet(connection, log, line.tag, line.seq)?;
        }
        if let Some((other, _, hlc)) = line.log {
            stored::set_seen(connection, log, other, line.seq, hlc)?;
        }
    }
    let vector = vector_of(connection, vectors, log)?;
    for (_, writer, hlc) in lines.iter().filter_map(|line| line.log) {
        let known = vector.entry(writer).or_insert(Hlc::ZERO);
        *known = hlc.max(*known);
    }
    Ok(())
}

/// Up to which stamp of a writer had been seen by someone with this vector who just saw these lines too.
pub(crate) fn upto(vector: &BTreeMap<WriterKey, Hlc>, lines: &[Line], writer: &WriterKey) -> Hlc {
    let before = vector.get(writer).copied().unwrap_or(Hlc::ZERO);
    lines
        .iter()
        .filter_map(|line| line.log)
        .find(|(_, key, _)| key == writer)
        .map_or(before, |(_, _, hlc)| hlc.max(before))
}

/// What the writer of a log had seen, as of its last merged entry.
pub(crate) fn vector_of<'v>(
    connection: &Connection,
    vectors: &'v mut Vectors,
    log: LogNumber,
) -> rusqlite::Result<&'v mut BTreeMap<WriterKey, Hlc>> {
    Ok(match vectors.entry(log) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(unknown) => unknown.insert(stored::seen_by_writer(connection, log)?),
    })
}

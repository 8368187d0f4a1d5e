//! What comes in: runs of entries are checked against chain and head and stored. Whether they merge is decided later, by [`crate::merging`].
//!
//! Invariant: the vouched position of a log only ever moves to an entry whose hash its writer signed.

use std::collections::BTreeMap;

use aeroedge_ids::{CompartmentId, ContextId, EntryHash, Seq, WriterKey};
use aeroedge_log::entry::{EntryRef, WriterTag};
use aeroedge_log::head::Head;
use aeroedge_protocol::{Frontier, Run};
use rusqlite::Connection;

use crate::stored::{self, LogNumber, LogRow};

/// What became of a batch of runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    /// Vouched positions that moved.
    pub(crate) changed: Frontier,
    /// Logs of which this device takes no more from this source, and why.
    pub(crate) declined: Vec<(WriterKey, Declined)>,
}

/// Why a run was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// The signed history does not know the writer.
    #[error("the writer is not a member's: its admission has not arrived here")]
    UnknownWriter,
    /// Entries in between are missing.
    #[error("the entries do not follow what is here: the sender left some out")]
    Gap,
    /// Not an entry, or one of another log.
    #[error("the bytes are not entries of this log")]
    Malformed,
    /// The entry does not name the one before it.
    #[error("the chain is broken: an entry does not name the one before it")]
    BrokenChain,
    /// The writer did not sign this.
    #[error("the head is not the writer's signature over these entries")]
    FalseHead,
    /// Entries of this very installation come back while newer ones of its own wait for their head.
    #[error("own entries wait for their head: sign them first")]
    OwnUnsigned,
    /// More than [`UNVOUCHED_MAX`] without a head, or the most of all when that is too much.
    #[error("too much came without a signature over it")]
    Unsigned,
    /// Another entry with this number is here, and signed.
    #[error("the writer signed two different entries with one number: the log is forked")]
    Forked,
}

/// The most bytes of one log that are stored before a head covers them: the longest transaction that can travel, because a
/// head never splits one.
pub const UNVOUCHED_MAX: i64 = 256 << 20;
/// The most bytes of all logs of others together that are stored before heads cover them.
const UNVOUCHED_TOTAL: i64 = 2 * UNVOUCHED_MAX;

/// Entries that were stored in this very transaction, byte for byte, so that merging need not read them back.
pub(crate) type InHand<'a> = BTreeMap<(LogNumber, Seq), &'a [u8]>;

/// Stores what holds. Runs in the caller's transaction.
pub(crate) fn store<'a>(
    connection: &Connection,
    context: ContextId,
    compartment: CompartmentId,
    is_member: &dyn Fn(WriterKey) -> bool,
    is_own: &dyn Fn(WriterKey) -> bool,
    runs: &'a [Run],
    in_hand: &mut InHand<'a>,
) -> rusqlite::Result<Stored> {
    let mut outcome = Stored::default();
    for run in runs {
        if outcome
            .declined
            .iter()
            .any(|(writer, _)| *writer == run.writer)
        {
            continue;
        }
        if !is_member(run.writer) {
            outcome.declined.push((run.writer, Declined::UnknownWriter));
            continue;
        }
        let mut log = stored::find_or_start(
            connection,
            context,
            compartment,
            run.writer,
            &WriterTag::of(&run.writer).0,
        )?;
        // Nobody may talk this installation out of what it wrote itself.
        if is_own(run.writer) && log.awaits_own_head() {
            // What is signed comes back when a relay is faster than the own link: nothing to take, nothing to complain of.
            if run.last() > log.vouched {
                outcome.declined.push((run.writer, Declined::OwnUnsigned));
            }
            continue;
        }
        let before = log.vouched;
        match store_run(connection, &mut log, run, in_hand)? {
            Ok(()) => log.save(connection)?,
            Err(reason) => {
                drop_tail(connection, &mut log)?;
                outcome.declined.push((run.writer, reason));
            }
        }
        if log.vouched > before {
            outcome.changed.insert(run.writer, log.vouched);
        }
    }
    Ok(outcome)
}

fn store_run<'a>(
    connection: &Connection,
    log: &mut LogRow,
    run: &'a Run,
    in_hand: &mut InHand<'a>,
) -> rusqlite::Result<Result<(), Declined>> {
    let Some(entries) = skip_known(connection, log, run)? else {
        return Ok(Err(Declined::Forked));
    };
    let (first, entries) = entries;
    if !entries.is_empty() && first != log.tail.next() {
        return Ok(Err(Declined::Gap));
    }
    for bytes in entries {
        let Ok(entry) = EntryRef::parse(bytes) else {
            return Ok(Err(Declined::Malformed));
        };
        let is_of_this_log = entry.context() == log.context
            && entry.compartment() == log.compartment
            && entry.writer() == log.writer
            && entry.seq() == log.tail.next();
        if !is_of_this_log {
            return Ok(Err(Declined::Malformed));
        }
        if entry.previous() != log.tail_hash {
            return Ok(Err(Declined::BrokenChain));
        }
        log.append(connection, bytes, entry.hash())?;
        // Should it be dropped again, whatever takes its place is noted here in its stead.
        in_hand.insert((log.number, log.tail), bytes);
    }
    if run.head.is_none() && !is_bearable(connection, log, UNVOUCHED_MAX, UNVOUCHED_TOTAL)? {
        return Ok(Err(Declined::Unsigned));
    }
    let Some(head) = run.head.filter(|head| head.seq > log.vouched) else {
        return Ok(Ok(()));
    };
    let Some(bytes) = stored::entry(connection, log.number, head.seq)? else {
        return Ok(Err(Declined::FalseHead));
    };
    let signed = Head {
        compartment: log.compartment,
        writer: log.writer,
        seq: head.seq,
        hash: head.hash,
        signature: head.signature,
    };
    if hash_of(&bytes) != Some(head.hash) || signed.verify().is_err() || splits_transaction(&bytes)
    {
        return Ok(Err(Declined::FalseHead));
    }
    log.vouch(connection, head.seq, &head.signature)?;
    Ok(Ok(()))
}

/// Whether what nobody signed of a log may stay. Anybody who knows a log can make up entries for it, and a member can have
/// any number of logs: so all of them together have a bound, and it is the longest that is dropped for it.
fn is_bearable(
    connection: &Connection,
    log: &LogRow,
    most: i64,
    most_together: i64,
) -> rusqlite::Result<bool> {
    if log.tail == log.vouched {
        return Ok(true);
    }
    if stored::unvouched_bytes(connection, log)? > most {
        return Ok(false);
    }
    // Its new end is not written back yet.
    log.save(connection)?;
    let tails = stored::unvouched_tails(connection)?;
    let mut together: i64 = tails.iter().map(|(_, bytes)| bytes).sum();
    for (mut other, bytes) in tails {
        if together <= most_together {
            break;
        }
        if other.number == log.number {
            return Ok(false);
        }
        drop_tail(connection, &mut other)?;
        together -= bytes;
    }
    Ok(true)
}

/// The entries of a run that are not here yet, and the position of the first.
type Fresh<'a> = (Seq, &'a [Vec<u8>]);

/// Leaves out what is here already. `None` if what is here and vouched for is different; an unvouched tail that differs is dropped instead.
fn skip_known<'a>(
    connection: &Connection,
    log: &mut LogRow,
    run: &'a Run,
) -> rusqlite::Result<Option<Fresh<'a>>> {
    let last_known = Seq(log.tail.0.min(run.last().0));
    if run.first == Seq::NONE || last_known < run.first {
        return Ok(Some((run.first, &run.entries)));
    }
    // The chain makes one comparison enough: equal at the last shared position is equal before it.
    let agrees = |connection: &Connection, seq: Seq| -> rusqlite::Result<bool> {
        let ours = stored::entry(connection, log.number, seq)?;
        Ok(ours.as_ref() == run.entries.get((seq.0 - run.first.0) as usize))
    };
    if !agrees(connection, last_known)? {
        if run.first <= log.vouched && !agrees(connection, log.vouched.min(run.last()))? {
            return Ok(None);
        }
        drop_tail(connection, log)?;
    }
    let known = (log.tail.next().0.saturating_sub(run.first.0) as usize).min(run.entries.len());
    Ok(Some((
        Seq(run.first.0 + known as u64),
        &run.entries[known..],
    )))
}

/// Takes a log back to what its writer signed.
pub(crate) fn drop_tail(connection: &Connection, log: &mut LogRow) -> rusqlite::Result<()> {
    let hash = match stored::entry(connection, log.number, log.vouched)? {
        Some(bytes) => hash_of(&bytes).unwrap_or(EntryHash([0; 32])),
        None => EntryHash([0; 32]),
    };
    stored::discard_unvouched(connection, log, hash)
}

fn hash_of(bytes: &[u8]) -> Option<EntryHash> {
    EntryRef::parse(bytes).ok().map(|entry| entry.hash())
}

fn splits_transaction(bytes: &[u8]) -> bool {
    EntryRef::parse(bytes).is_ok_and(|entry| entry.more_parts())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: ContextId = ContextId([1; 16]);
    const COMPARTMENT: CompartmentId = CompartmentId([2; 16]);

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        crate::schema::migrate(&connection).unwrap();
        connection
    }

    /// A log with this many bytes that nobody signed.
    fn unsigned(connection: &Connection, writer: u8, bytes: usize) -> LogRow {
        let key = WriterKey([writer; 32]);
        let mut log =
            stored::find_or_start(connection, CONTEXT, COMPARTMENT, key, &[writer; 8]).unwrap();
        log.append(connection, &vec![0; bytes], EntryHash([writer; 32]))
            .unwrap();
        log.save(connection).unwrap();
        log
    }

    fn tails(connection: &Connection) -> Vec<(u8, i64)> {
        let tails = stored::unvouched_tails(connection).unwrap();
        let mut tails: Vec<_> = tails
            .into_iter()
            .map(|(log, bytes)| (log.writer.0[0], bytes))
            .collect();
        tails.sort_unstable();
        tails
    }

    #[test]
    fn one_log_has_a_bound() {
        let connection = database();
        let log = unsigned(&connection, 1, 100);
        assert!(is_bearable(&connection, &log, 100, 1000).unwrap());
        let log = unsigned(&connection, 1, 1);
        assert!(!is_bearable(&connection, &log, 100, 1000).unwrap());
    }

    #[test]
    fn any_number_of_logs_have_a_bound_together_and_the_longest_goes() {
        let connection = database();
        for (writer, bytes) in [(1, 10), (2, 60), (3, 20)] {
            let log = unsigned(&connection, writer, bytes);
            assert!(is_bearable(&connection, &log, 100, 100).unwrap());
        }
        // A short one drives out the longest, not the other way round.
        let short = unsigned(&connection, 4, 15);
        assert!(is_bearable(&connection, &short, 100, 100).unwrap());
        assert_eq!(tails(&connection), [(1, 10), (3, 20), (4, 15)]);
        let long = unsigned(&connection, 5, 90);
        assert!(!is_bearable(&connection, &long, 100, 100).unwrap());
        let dropped = stored::find(&connection, COMPARTMENT, WriterKey([2; 32]))
            .unwrap()
            .unwrap();
        assert_eq!(
            (dropped.tail, dropped.tail_hash),
            (Seq::NONE, EntryHash([0; 32]))
        );
    }
}

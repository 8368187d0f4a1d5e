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
    /// More than [`UNVOUCHED_MAX`] without a head.
    #[error("too much came without a signature over it")]
    Unsigned,
    /// Another entry with this number is here, and signed.
    #[error("the writer signed two different entries with one number: the log is forked")]
    Forked,
}

/// The most bytes of one log that are stored before a head covers them: the longest transaction that can travel.
pub const UNVOUCHED_MAX: i64 = 1 << 30;
/// From how many entries on it is worth counting them.
const UNVOUCHED_COUNTED: u64 = 1024;

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
    if log.tail.0 - log.vouched.0 > UNVOUCHED_COUNTED
        && run.head.is_none()
        && stored::unvouched_bytes(connection, log)? > UNVOUCHED_MAX
    {
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

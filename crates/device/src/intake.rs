//! What comes in: runs of entries are checked against chain and head and stored. Whether they merge is decided later, by [`crate::merging`].
//!
//! Invariant: the vouched position of a log only ever moves to an entry whose hash its writer signed.

use std::collections::BTreeMap;

use aeroedge_ids::{CompartmentId, ContextId, EntryHash, Seq, WriterKey};
use aeroedge_log::entry::EntryRef;
use aeroedge_protocol::{Frontier, Run};
use rusqlite::Connection;

use crate::stored::{self, LogNumber, LogRow};
use crate::stories::{Cut, Stories};

/// What became of a batch of runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    /// Vouched positions that moved.
    pub(crate) changed: Frontier,
    /// Logs of which this device takes no more from this source, and why.
    pub(crate) declined: Vec<(WriterKey, Declined)>,
    /// Logs that were cut in two: their writer signed two stories.
    pub(crate) cuts: Vec<Cut>,
    /// Writers of this very installation under which somebody else went on.
    pub(crate) continued: Vec<WriterKey>,
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
    /// They follow an entry that is not here under that number.
    #[error(
        "the entries follow others than those here: the log may be forked, and a new link compares from the start"
    )]
    OtherStory,
    /// The writer signed more stories than are kept.
    #[error(
        "the writer signed more than {} different stories of one log: revoke its device",
        crate::stories::BRANCHES_MAX
    )]
    TooManyStories,
}

/// The most bytes of one log that are stored before a head covers them: the longest transaction that can travel, because a
/// head never splits one.
pub const UNVOUCHED_MAX: i64 = 256 << 20;
/// The most bytes of all logs of others together that are stored before heads cover them.
pub(crate) const UNVOUCHED_TOTAL: i64 = 2 * UNVOUCHED_MAX;

/// Entries that were stored in this very transaction, byte for byte, so that merging need not read them back.
pub(crate) type InHand<'a> = BTreeMap<(LogNumber, Seq), &'a [u8]>;

/// What the membership history says of writers.
pub(crate) struct Writers<'a> {
    /// Whether it is a member's, or was.
    pub(crate) known: &'a dyn Fn(WriterKey) -> bool,
    /// Whether this installation holds its secret.
    pub(crate) own: &'a dyn Fn(WriterKey) -> bool,
    /// Whether a cut-off of the writer's log counts this entry in.
    pub(crate) covered: &'a dyn Fn(WriterKey, Seq, EntryHash) -> bool,
}

/// Stores what holds. Runs in the caller's transaction.
pub(crate) fn store<'a>(
    connection: &Connection,
    context: ContextId,
    compartment: CompartmentId,
    writers: &Writers<'_>,
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
        let signer = signer_of(connection, compartment, writers, run)?;
        let Some(signer) = signer.filter(|signer| (writers.known)(*signer)) else {
            outcome.declined.push((run.writer, Declined::UnknownWriter));
            continue;
        };
        let is_own = (writers.own)(signer);
        let mut stories = Stories::of(connection, context, compartment, signer, is_own)?;
        let before: BTreeMap<WriterKey, Seq> = stories
            .vouched()
            .map(|log| (log.writer, log.vouched))
            .collect();
        let is_covered = |seq, hash| (writers.covered)(signer, seq, hash);
        if let Err(reason) = stories.take(run, &is_covered, in_hand)? {
            outcome.declined.push((run.writer, reason));
        }
        for log in stories.vouched() {
            if log.vouched > before.get(&log.writer).copied().unwrap_or_default() {
                let check = log.vouched_hash.check();
                outcome.changed.mark(log.writer, log.vouched, check);
                if is_own {
                    outcome.continued.push(signer);
                }
            }
        }
        outcome.cuts.append(&mut stories.cuts);
    }
    Ok(outcome)
}

/// Whose entries a run brings: its log is named by the writer, or by a branch that is here, or by one that is new.
fn signer_of(
    connection: &Connection,
    compartment: CompartmentId,
    writers: &Writers<'_>,
    run: &Run,
) -> rusqlite::Result<Option<WriterKey>> {
    if (writers.known)(run.writer) {
        return Ok(Some(run.writer));
    }
    if let Some(log) = stored::find(connection, compartment, run.writer)? {
        return Ok(Some(log.signer));
    }
    // What such a run is called is of no account: its entries say whose they are, and the head proves it.
    let first = run.entries.first().map(|bytes| EntryRef::parse(bytes));
    Ok(first.and_then(Result::ok).map(|entry| entry.writer()))
}

/// Whether what nobody signed of a log may stay. Anybody who knows a log can make up entries for it, and a member can have
/// any number of logs: so all of them together have a bound, and it is the longest that is dropped for it.
pub(crate) fn is_bearable(
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
        let vouched = other.vouched;
        stored::truncate(connection, &mut other, vouched)?;
        together -= bytes;
    }
    Ok(true)
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

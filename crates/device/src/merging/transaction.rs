//! One transaction of a log: judged as a whole from its headers, then opened part by part, and merged only when nothing in it
//! stands against it.
//!
//! The engine cannot take back a part, so of a transaction in several parts all are examined before the first is merged.

use std::borrow::Cow;

use aeroedge_crdt::hlc::{Hlc, Stamp};
use aeroedge_ids::{ControlHash, Seq, TransactionId};
use aeroedge_log::entry::{Body, EntryKind, EntryRef, Opener};
use aeroedge_log::history::{Author, Claim, Refusal};
use aeroedge_log::keys::EpochKey;
use aeroedge_replica::{Incoming, MergeError, Merging, RowSet};
use rusqlite::Connection;

use super::seen::{self, Line};
use super::{HOLD_BACK_MS, MergingError, Pass, Waiting};
use crate::rejudge::LogChain;
use crate::sealing::{Place, first_forbidden};
use crate::state::ContextState;
use crate::stored::{self, LogRow};
use crate::verdicts::Refused;

/// What to do with a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Merge it if it counts and waits for nothing.
    Merge,
    /// Only say whether it counts. It was merged or refused before, so what its writer had seen is settled.
    Examine,
}

/// What a transaction came to.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It counts, and is in the tables if that was the aim.
    Counts {
        /// Its last entry.
        last: Seq,
        /// The latest stamp of the log up to there.
        hlc: Hlc,
    },
    /// It does not count.
    Refused(Refused),
    /// Nothing can be said yet.
    Waits(Waiting),
}

/// The headers of a transaction.
struct Whole {
    last: Seq,
    /// The latest stamp of the log up to its end.
    latest: Hlc,
    /// What is wrong with it, whoever wrote it.
    fault: Option<&'static str>,
    judgement: Result<Author, Refusal>,
    epoch: ControlHash,
    stamp: Stamp,
}

/// Why a part stops its transaction.
enum Obstacle {
    /// Whatever the membership history says.
    Content(String),
    /// The rights of its writer do not reach so far.
    Forbidden(String),
    Waits(Waiting),
}

impl<'a> Pass<'a> {
    /// Takes the transaction that starts after `log.merged` and ends at `end` or before.
    pub(crate) fn take(
        &mut self,
        engine: &mut Merging<'_>,
        log: &LogRow,
        end: Seq,
        aim: Aim,
    ) -> Result<Verdict, MergingError> {
        let Some(state) = self.contexts.get(&log.context) else {
            return Ok(Verdict::Waits(Waiting::Membership(Vec::new())));
        };
        let first = log.merged.next();
        let whole = match self.read_headers(engine.connection(), state, log, end)? {
            Ok(whole) => whole,
            Err(waiting) => return Ok(Verdict::Waits(waiting)),
        };
        let refused = |by_history, cause, reason| {
            Ok(Verdict::Refused(Refused {
                first,
                last: whole.last,
                hlc: whole.latest,
                by_history,
                cause,
                reason,
            }))
        };
        if let Some(fault) = whole.fault {
            return refused(false, None, fault.to_owned());
        }
        let author = match &whole.judgement {
            Ok(author) => author,
            Err(refusal) => return refused(true, cause(refusal), refusal.to_string()),
        };
        let ahead_ms = whole.stamp.hlc.time().0.saturating_sub(self.now.0);
        if ahead_ms > HOLD_BACK_MS {
            return Ok(Verdict::Waits(Waiting::Future { ahead_ms }));
        }
        let Some(key) = state.keys.combined_key(&author.epochs) else {
            return Ok(Verdict::Waits(Waiting::Key(whole.epoch)));
        };
        let obstacle = if whole.last == first && aim == Aim::Merge {
            self.parts(engine, state, log, &whole, author, &key, &[Step::Merge])?
        } else if aim == Aim::Merge {
            let steps = [Step::Examine, Step::Merge];
            self.parts(engine, state, log, &whole, author, &key, &steps)?
        } else {
            self.parts(engine, state, log, &whole, author, &key, &[Step::Examine])?
        };
        match obstacle {
            Some(Obstacle::Waits(waiting)) if aim == Aim::Merge => Ok(Verdict::Waits(waiting)),
            None | Some(Obstacle::Waits(_)) => Ok(Verdict::Counts {
                last: whole.last,
                hlc: whole.latest,
            }),
            Some(Obstacle::Content(reason)) => refused(false, None, reason),
            Some(Obstacle::Forbidden(reason)) => refused(true, None, reason),
        }
    }

    /// Reads and judges the headers of the transaction after `log.merged`.
    fn read_headers(
        &mut self,
        connection: &Connection,
        state: &ContextState,
        log: &LogRow,
        end: Seq,
    ) -> rusqlite::Result<Result<Whole, Waiting>> {
        let first = log.merged.next();
        let mut whole: Option<(Whole, Vec<ControlHash>)> = None;
        let mut seq = first;
        loop {
            let Some(bytes) = self.bytes(connection, log, seq)? else {
                return Ok(Err(Waiting::Parts));
            };
            let Ok(entry) = EntryRef::parse(&bytes) else {
                return Ok(Err(Waiting::NewerFormat));
            };
            if entry.kind() != EntryKind::Data {
                return Ok(Err(Waiting::NewerFormat));
            }
            let claim = Claim::of(&entry);
            match &mut whole {
                None => {
                    let heads = claim.heads.clone();
                    let judgement = match self.judge(connection, state, log, claim) {
                        Err(Refusal::UnknownHeads(unknown)) => {
                            return Ok(Err(Waiting::Membership(unknown.missing)));
                        }
                        judgement => judgement,
                    };
                    let is_late = entry.hlc() <= log.merged_hlc;
                    let first = Whole {
                        last: seq,
                        latest: log.merged_hlc.max(entry.hlc()),
                        fault: is_late.then_some("its stamp is not later than the one before"),
                        judgement,
                        epoch: entry.epoch(),
                        stamp: Stamp {
                            hlc: entry.hlc(),
                            writer: log.writer,
                        },
                    };
                    whole = Some((first, heads));
                }
                Some((whole, heads)) => {
                    whole.last = seq;
                    whole.latest = whole.latest.max(entry.hlc());
                    // Parts that were judged by different memberships would be refused where one of them is not known yet.
                    if entry.epoch() != whole.epoch || claim.heads != *heads {
                        whole
                            .fault
                            .get_or_insert("its parts name different memberships");
                    } else if let Err(refusal) = self.judge(connection, state, log, claim) {
                        whole.judgement = Err(refusal);
                    }
                    if entry.hlc() != whole.stamp.hlc {
                        whole.fault.get_or_insert("its parts have different stamps");
                    }
                }
            }
            if !entry.more_parts() {
                break;
            }
            if seq >= end {
                if let Some((whole, _)) = &mut whole {
                    whole.fault.get_or_insert("its transaction has no end");
                }
                break;
            }
            seq = seq.next();
        }
        Ok(whole.map(|(whole, _)| whole).ok_or(Waiting::Parts))
    }

    fn judge(
        &mut self,
        connection: &Connection,
        state: &ContextState,
        log: &LogRow,
        claim: Claim,
    ) -> Result<Author, Refusal> {
        if let Some((known, author)) = &self.judged {
            let is_same = known.writer == claim.writer
                && known.compartment == claim.compartment
                && known.epoch == claim.epoch
                && known.heads == claim.heads;
            // Cut-offs depend on the position, so a context in which rights were ever taken away is judged entry by entry.
            if is_same && state.roster.reductions().next().is_none() {
                return Ok(author.clone());
            }
        }
        let chain = LogChain::new(connection, log);
        let author = state.history.may_write(&claim, &chain)?;
        self.judged = Some((claim, author.clone()));
        Ok(author)
    }

    /// Goes through all parts of a transaction once for every step; what stops it.
    #[expect(
        clippy::too_many_arguments,
        reason = "everything that is known of the transaction"
    )]
    fn parts(
        &mut self,
        engine: &mut Merging<'_>,
        state: &ContextState,
        log: &LogRow,
        whole: &Whole,
        author: &Author,
        key: &EpochKey,
        steps: &[Step],
    ) -> Result<Option<Obstacle>, MergingError> {
        let connection = engine.connection();
        let first = log.merged.next();
        let mut lines: Vec<Line> = Vec::new();
        for step in steps {
            let mut transaction: Option<TransactionId> = None;
            for seq in first.0..=whole.last.0 {
                let Some(bytes) = self.bytes(connection, log, Seq(seq))? else {
                    return Ok(Some(Obstacle::Waits(Waiting::Parts)));
                };
                let body = match open(self.opener, &bytes, key) {
                    Ok(body) => body,
                    Err(reason) => return Ok(Some(Obstacle::Content(reason))),
                };
                let part = seq - first.0;
                if u64::from(body.part) != part
                    || transaction.is_some_and(|known| known != body.transaction)
                {
                    let reason = "its parts are not of one transaction, or out of order";
                    return Ok(Some(Obstacle::Content(reason.into())));
                }
                transaction = Some(body.transaction);
                if part > 0 && !body.seen.is_empty() {
                    let reason = "a later part claims to have seen more than the first";
                    return Ok(Some(Obstacle::Content(reason.into())));
                }
                if part == 0 && steps.contains(&Step::Merge) {
                    lines = match seen::find(connection, state, log, &body.seen)? {
                        Ok(lines) => lines,
                        Err(waiting) => return Ok(Some(Obstacle::Waits(waiting))),
                    };
                }
                let place = Place::of(state, log.compartment);
                match first_forbidden(
                    body.changes,
                    place,
                    author.user,
                    &author.rights,
                    self.rights,
                ) {
                    Ok(None) => {}
                    Ok(Some(table)) => {
                        let reason = format!("its writer had no right to write {table} here");
                        return Ok(Some(Obstacle::Forbidden(reason)));
                    }
                    Err(error) => return Ok(Some(Obstacle::Content(error.to_string()))),
                }
                let vector = seen::vector_of(connection, self.vectors, log.number)?;
                let had_seen = |writer: &_| seen::upto(vector, &lines, writer);
                let incoming = Incoming {
                    stamp: whole.stamp,
                    part: body.part,
                    compartment: Some(log.compartment),
                    seen: &had_seen,
                    changes: body.changes,
                };
                let outcome = match step {
                    Step::Examine => engine.examine(&incoming),
                    Step::Merge => engine.apply(&incoming).map(|_| ()),
                };
                if let Err(error) = outcome {
                    return Ok(Some(Obstacle::Content(content_fault(error)?)));
                }
            }
        }
        seen::note(connection, self.vectors, log.number, &lines)?;
        Ok(None)
    }

    /// The rows that a transaction speaks of, whether or not it counts, as far as it can be opened.
    pub(crate) fn rows_of(
        &mut self,
        connection: &Connection,
        log: &LogRow,
        first: Seq,
        last: Seq,
    ) -> Result<RowSet, MergingError> {
        let mut rows = RowSet::new();
        let Some(state) = self.contexts.get(&log.context) else {
            return Ok(rows);
        };
        for seq in first.0..=last.0 {
            let Some(bytes) = self.bytes(connection, log, Seq(seq))? else {
                continue;
            };
            if let Some(key) = EntryRef::parse(&bytes)
                .ok()
                .and_then(|entry| key_of(state, &entry))
                && let Ok(body) = open(self.opener, &bytes, &key)
            {
                // One that is no changeset was never merged.
                let _ = rows.add(body.changes);
            }
        }
        Ok(rows)
    }

    /// One entry, byte for byte: the one in hand, or the stored one.
    pub(crate) fn bytes(
        &self,
        connection: &Connection,
        log: &LogRow,
        seq: Seq,
    ) -> rusqlite::Result<Option<Cow<'a, [u8]>>> {
        if let Some(bytes) = self.in_hand.get(&(log.number, seq)) {
            return Ok(Some(Cow::Borrowed(*bytes)));
        }
        Ok(stored::entry(connection, log.number, seq)?.map(Cow::Owned))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Examine,
    Merge,
}

/// The control entry that took away what a refused entry needed.
pub(crate) fn cause(refusal: &Refusal) -> Option<ControlHash> {
    match refusal {
        Refusal::ShutOut(entry) => Some(*entry),
        _ => None,
    }
}

/// The key that opens an entry, whether or not it counts.
pub(crate) fn key_of(state: &ContextState, entry: &EntryRef<'_>) -> Option<EpochKey> {
    let heads: Vec<_> = entry.heads().collect();
    let then = state.history.roster_at(&heads).ok()?;
    let epochs = then
        .compartment(entry.compartment())?
        .parts_of(entry.epoch())?;
    state.keys.combined_key(&epochs)
}

/// Opens one entry.
pub(crate) fn open<'o>(
    opener: &'o mut Opener,
    bytes: &[u8],
    key: &EpochKey,
) -> Result<Body<'o>, String> {
    let entry = EntryRef::parse(bytes).map_err(|error| error.to_string())?;
    let plaintext = opener
        .open(&entry, key)
        .map_err(|error| error.to_string())?;
    Body::decode(plaintext).map_err(|error| error.to_string())
}

/// What is wrong with a changeset. Errors that name it leave the session as it was; others end it.
pub(crate) fn content_fault(error: MergeError) -> Result<String, MergingError> {
    match error {
        error @ (MergeError::Malformed(_)
        | MergeError::OtherCompartment(_)
        | MergeError::OtherStamp(_)
        | MergeError::BadKey(_)) => Ok(error.to_string()),
        error => Err(error.into()),
    }
}

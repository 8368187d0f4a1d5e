//! From stored entries to rows: each is judged, opened and handed to the engine, after everything its writer had seen.
//!
//! An entry that cannot be judged yet waits and stops its own log only. One that may not count is noted as refused and passed over; its
//! bytes stay and travel on.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use aeroedge_crdt::hlc::{Hlc, Stamp};
use aeroedge_ids::{CompartmentId, ContextId, ControlHash, Millis, Seq, TransactionId, WriterKey};
use aeroedge_log::entry::{Body, EntryKind, EntryRef, Opener, Seen, WriterTag};
use aeroedge_log::history::{Author, Claim, Refusal, UnknownChain};
use aeroedge_replica::{Incoming, MergeError, Merging};
use rusqlite::Connection;

use crate::intake::InHand;
use crate::sealing::{Place, TableRights, first_forbidden};
use crate::state::ContextState;
use crate::stored::{self, LogNumber, LogRow};

/// A stamp further ahead of this device's clock than this is stored and not merged until its time comes, milliseconds.
pub const HOLD_BACK_MS: u64 = 5 * 60 * 1000;

/// What an entry waits for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Waiting {
    /// Control entries it names.
    #[error("membership entries it refers to have not arrived")]
    Membership(Vec<ControlHash>),
    /// The key of its epoch.
    #[error("the key of epoch {0} has not arrived")]
    Key(ControlHash),
    /// Entries its writer had seen.
    #[error("entry {seq} of another writer has not arrived, and its writer had seen it")]
    Seen {
        /// The other writer, by tag.
        writer: WriterTag,
        /// Up to here.
        seq: Seq,
    },
    /// The clock of its writer, or of this device, is off.
    #[error(
        "it is stamped {ahead_ms} ms ahead of this device's clock: one of the two clocks is wrong"
    )]
    Future {
        /// How far.
        ahead_ms: u64,
    },
    /// The rest of the transaction.
    #[error("the rest of its transaction has not arrived")]
    Parts,
    /// A newer program wrote it.
    #[error("it needs a newer program")]
    NewerFormat,
}

/// What a pass over the logs did.
#[derive(Debug, Clone, Default)]
pub struct Merged {
    /// Entries now in the tables.
    pub entries: u64,
    /// Contexts whose rows changed.
    pub contexts: Vec<ContextId>,
    /// Entries that do not count, and why.
    pub refused: Vec<(WriterKey, Seq, String)>,
}

/// What the writers of logs had seen, kept between passes.
pub(crate) type Vectors = BTreeMap<LogNumber, BTreeMap<WriterKey, Hlc>>;

/// Ends a pass early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MergingError {
    #[error("the log could not be read")]
    Sqlite(#[from] rusqlite::Error),
    /// The engine found fault after it had begun to write: the transaction has to be undone, and this entry left out.
    #[error("an entry could not be merged: {reason}")]
    Poisoned {
        log: LogNumber,
        seq: Seq,
        last: Seq,
        reason: String,
    },
    #[error("the engine could not merge")]
    Engine(#[source] MergeError),
}

enum Step {
    Merged(Seq),
    Refused(Seq, String),
    Waits(Waiting),
}

/// One pass over all logs that hold something unmerged.
pub(crate) struct Pass<'a> {
    pub(crate) contexts: &'a BTreeMap<ContextId, ContextState>,
    pub(crate) rights: &'a dyn TableRights,
    pub(crate) opener: &'a mut Opener,
    pub(crate) vectors: &'a mut Vectors,
    /// Entries the engine could not take before: the last seq of each transaction, by its first.
    pub(crate) poisoned: &'a BTreeMap<(LogNumber, Seq), (Seq, String)>,
    pub(crate) in_hand: InHand<'a>,
    pub(crate) now: Millis,
    pub(crate) merged: Merged,
    pub(crate) waiting: BTreeMap<(CompartmentId, WriterKey), Waiting>,
    /// The last judgement: consecutive entries of a log mostly name the same heads and epoch.
    pub(crate) judged: Option<(Claim, Author)>,
}

impl Pass<'_> {
    /// Merges whatever can be merged.
    pub(crate) fn run(&mut self, engine: &mut Merging<'_>) -> Result<(), MergingError> {
        loop {
            let before = self.merged.entries + self.merged.refused.len() as u64;
            self.waiting.clear();
            for mut log in stored::unmerged(engine.connection())? {
                self.merge_log(engine, &mut log)?;
            }
            let done = self.merged.entries + self.merged.refused.len() as u64;
            // Only what waits for other entries can profit from another round.
            let may_go_on = self
                .waiting
                .values()
                .any(|waiting| matches!(waiting, Waiting::Seen { .. }));
            if done == before || !may_go_on {
                return Ok(());
            }
        }
    }

    fn merge_log(
        &mut self,
        engine: &mut Merging<'_>,
        log: &mut LogRow,
    ) -> Result<(), MergingError> {
        let start = log.merged;
        while log.merged < log.vouched {
            let first = log.merged.next();
            match self.merge_transaction(engine, log)? {
                Step::Merged(last) => {
                    self.merged.entries += last.0 - log.merged.0;
                    log.merged = last;
                    if !self.merged.contexts.contains(&log.context) {
                        self.merged.contexts.push(log.context);
                    }
                }
                Step::Refused(last, reason) => {
                    stored::refuse(engine.connection(), log.number, first, &reason)?;
                    self.merged.refused.push((log.writer, first, reason));
                    log.merged = last;
                }
                Step::Waits(waiting) => {
                    self.waiting.insert((log.compartment, log.writer), waiting);
                    break;
                }
            }
        }
        if log.merged > start {
            log.save(engine.connection())?;
        }
        Ok(())
    }

    /// Takes the transaction that starts after `log.merged`, part by part.
    fn merge_transaction(
        &mut self,
        engine: &mut Merging<'_>,
        log: &mut LogRow,
    ) -> Result<Step, MergingError> {
        let first = log.merged.next();
        if let Some((last, reason)) = self.poisoned.get(&(log.number, first)) {
            return Ok(Step::Refused(*last, reason.clone()));
        }
        let mut seq = first;
        let mut transaction: Option<(TransactionId, Hlc)> = None;
        let mut membership = None;
        loop {
            let bytes = match self.in_hand.get(&(log.number, seq)) {
                Some(bytes) => Cow::Borrowed(*bytes),
                None => match stored::entry(engine.connection(), log.number, seq)? {
                    Some(bytes) => Cow::Owned(bytes),
                    None => return Ok(Step::Waits(Waiting::Parts)),
                },
            };
            let Ok(entry) = EntryRef::parse(&bytes) else {
                return Ok(Step::Waits(Waiting::NewerFormat));
            };
            if entry.kind() != EntryKind::Data {
                return Ok(Step::Waits(Waiting::NewerFormat));
            }
            if seq > first || entry.more_parts() {
                // Parts that were judged by different memberships would be refused where one of them is not known yet.
                let under = (entry.epoch(), entry.heads().collect::<Vec<_>>());
                if *membership.get_or_insert_with(|| under.clone()) != under {
                    let reason = "its parts name different memberships".to_owned();
                    return Err(poisoned(engine.connection(), log, first, reason)?);
                }
            }
            match self.take_part(engine, log, &entry, seq.0 - first.0, transaction)? {
                Part::Taken(id) => transaction = Some((id, entry.hlc())),
                Part::Waits(waiting) if seq == first => return Ok(Step::Waits(waiting)),
                Part::Refused(reason) if seq == first => {
                    return Ok(Step::Refused(
                        last_part(engine.connection(), log, seq)?,
                        reason,
                    ));
                }
                Part::Waits(waiting) => {
                    return Err(poisoned(
                        engine.connection(),
                        log,
                        first,
                        waiting.to_string(),
                    )?);
                }
                Part::Refused(reason) => {
                    return Err(poisoned(engine.connection(), log, first, reason)?);
                }
            }
            if !entry.more_parts() {
                log.merged_hlc = entry.hlc();
                return Ok(Step::Merged(seq));
            }
            seq = seq.next();
            if seq > log.vouched {
                return Err(poisoned(
                    engine.connection(),
                    log,
                    first,
                    "its transaction has no end".into(),
                )?);
            }
        }
    }

    fn take_part(
        &mut self,
        engine: &mut Merging<'_>,
        log: &LogRow,
        entry: &EntryRef<'_>,
        part: u64,
        transaction: Option<(TransactionId, Hlc)>,
    ) -> Result<Part, MergingError> {
        let hlc = entry.hlc();
        let ahead_ms = hlc.time().0.saturating_sub(self.now.0);
        if ahead_ms > HOLD_BACK_MS {
            return Ok(Part::Waits(Waiting::Future { ahead_ms }));
        }
        let Some(state) = self.contexts.get(&log.context) else {
            return Ok(Part::Waits(Waiting::Membership(Vec::new())));
        };
        let is_continued = transaction.is_some_and(|(_, stamp)| stamp == hlc);
        if !is_continued && (hlc <= log.merged_hlc || transaction.is_some()) {
            return Ok(Part::Refused(
                "its stamp is not later than the one before".into(),
            ));
        }
        let author = match self.judge(state, entry) {
            Ok(author) => author,
            Err(Refusal::UnknownHeads(unknown)) => {
                return Ok(Part::Waits(Waiting::Membership(unknown.missing)));
            }
            Err(refusal) => return Ok(Part::Refused(refusal.to_string())),
        };
        let Some(key) = state.keys.combined_key(&author.epochs) else {
            return Ok(Part::Waits(Waiting::Key(entry.epoch())));
        };
        let plaintext = match self.opener.open(entry, &key) {
            Ok(plaintext) => plaintext,
            Err(error) => return Ok(Part::Refused(error.to_string())),
        };
        let body = match Body::decode(plaintext) {
            Ok(body) => body,
            Err(error) => return Ok(Part::Refused(error.to_string())),
        };
        if u64::from(body.part) != part || transaction.is_some_and(|(id, _)| id != body.transaction)
        {
            return Ok(Part::Refused(
                "its parts are not of one transaction, or out of order".into(),
            ));
        }
        if part == 0 {
            if let Some(waiting) = note_seen(engine.connection(), self.vectors, log, &body.seen)? {
                return Ok(Part::Waits(waiting));
            }
        } else if !body.seen.is_empty() {
            return Ok(Part::Refused(
                "a later part claims to have seen more than the first".into(),
            ));
        }
        match first_forbidden(
            body.changes,
            Place::of(state, log.compartment),
            author.user,
            &author.rights,
            self.rights,
        ) {
            Ok(None) => {}
            Ok(Some(table)) => {
                return Ok(Part::Refused(format!(
                    "its writer had no right to write {table} here"
                )));
            }
            Err(error) => return Ok(Part::Refused(error.to_string())),
        }
        let vector = vector_of(engine.connection(), self.vectors, log.number)?;
        let seen = |writer: &WriterKey| vector.get(writer).copied().unwrap_or(Hlc::ZERO);
        let stamp = Stamp {
            hlc,
            writer: log.writer,
        };
        let transaction = body.transaction;
        let incoming = Incoming {
            stamp,
            part: body.part,
            compartment: Some(log.compartment),
            seen: &seen,
            changes: body.changes,
        };
        match engine.apply(&incoming) {
            Ok(_) => Ok(Part::Taken(transaction)),
            // These name the changeset and leave the session as it was.
            Err(
                error @ (MergeError::Malformed(_)
                | MergeError::OtherCompartment(_)
                | MergeError::OtherStamp(_)
                | MergeError::BadKey(_)),
            ) => Ok(Part::Refused(error.to_string())),
            Err(error) => Err(MergingError::Engine(error)),
        }
    }

    fn judge(&mut self, state: &ContextState, entry: &EntryRef<'_>) -> Result<Author, Refusal> {
        let claim = Claim::of(entry);
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
        let author = state.history.may_write(&claim, &UnknownChain)?;
        self.judged = Some((claim, author.clone()));
        Ok(author)
    }
}

enum Part {
    Taken(TransactionId),
    Refused(String),
    Waits(Waiting),
}

/// Checks that everything the writer had seen is merged here, and if so adds it to the writer's vector.
fn note_seen(
    connection: &Connection,
    vectors: &mut Vectors,
    log: &LogRow,
    seen: &[Seen],
) -> Result<Option<Waiting>, MergingError> {
    if seen.is_empty() {
        return Ok(None);
    }
    let mut lines = Vec::with_capacity(seen.len());
    for Seen { writer, seq, check } in seen {
        let waiting = Waiting::Seen {
            writer: *writer,
            seq: *seq,
        };
        let Some(other) = stored::find_by_tag(connection, log.compartment, writer.0)? else {
            return Ok(Some(waiting));
        };
        if other.merged < *seq {
            return Ok(Some(waiting));
        }
        let Some(bytes) = stored::entry(connection, other.number, *seq)? else {
            return Ok(Some(waiting));
        };
        let Ok(entry) = EntryRef::parse(&bytes) else {
            return Ok(Some(Waiting::NewerFormat));
        };
        // Another story of the same log: the one that was seen is yet to come.
        if entry.hash().check() != *check {
            return Ok(Some(waiting));
        }
        lines.push((other, *seq, entry.hlc()));
    }
    let vector = vector_of(connection, vectors, log.number)?;
    for (other, seq, hlc) in lines {
        stored::set_seen(connection, log.number, other.number, seq, hlc)?;
        vector.insert(other.writer, hlc);
    }
    Ok(None)
}

fn vector_of<'a>(
    connection: &Connection,
    vectors: &'a mut Vectors,
    log: LogNumber,
) -> rusqlite::Result<&'a mut BTreeMap<WriterKey, Hlc>> {
    Ok(match vectors.entry(log) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(unknown) => unknown.insert(stored::seen_by_writer(connection, log)?),
    })
}

/// The last entry of the transaction that contains `seq`.
fn last_part(connection: &Connection, log: &LogRow, seq: Seq) -> rusqlite::Result<Seq> {
    let mut last = seq;
    while last < log.vouched {
        let more = stored::entry(connection, log.number, last)?
            .is_some_and(|bytes| EntryRef::parse(&bytes).is_ok_and(|entry| entry.more_parts()));
        if !more {
            break;
        }
        last = last.next();
    }
    Ok(last)
}

fn poisoned(
    connection: &Connection,
    log: &LogRow,
    first: Seq,
    reason: String,
) -> rusqlite::Result<MergingError> {
    let last = last_part(connection, log, first)?;
    Ok(MergingError::Poisoned {
        log: log.number,
        seq: first,
        last,
        reason,
    })
}

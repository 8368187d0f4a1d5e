//! From stored entries to rows: each is judged, opened and handed to the engine, after everything its writer had seen.
//!
//! An entry that cannot be judged yet waits and stops its own log only. One that may not count is noted as refused and passed over; its
//! bytes stay and travel on.

mod seen;
mod transaction;

use std::collections::BTreeMap;

use aeroedge_ids::{CompartmentId, ContextId, ControlHash, Millis, Seq, WriterKey};
use aeroedge_log::entry::{Opener, WriterTag};
use aeroedge_log::history::{Author, Claim};
use aeroedge_replica::{MergeError, Merging, RowSet};

use crate::intake::InHand;
use crate::rejudge;
use crate::sealing::TableRights;
use crate::state::ContextState;
use crate::stored::{self, LogRow};
use crate::verdicts::{self, Refused};

pub(crate) use seen::{Line, Vectors, add_met, note, upto, vector_of};
pub(crate) use transaction::{Aim, Verdict, content_fault, key_of, open};

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

/// Ends a pass: nothing of it happened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MergingError {
    #[error("the log could not be read")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the engine could not merge")]
    Engine(#[from] MergeError),
}

/// One pass over all logs that hold something unmerged.
pub(crate) struct Pass<'a> {
    pub(crate) contexts: &'a BTreeMap<ContextId, ContextState>,
    pub(crate) rights: &'a dyn TableRights,
    pub(crate) opener: &'a mut Opener,
    pub(crate) vectors: &'a mut Vectors,
    pub(crate) in_hand: InHand<'a>,
    pub(crate) now: Millis,
    pub(crate) merged: Merged,
    pub(crate) waiting: BTreeMap<(CompartmentId, WriterKey), Waiting>,
    /// The last judgement: consecutive entries of a log mostly name the same heads and epoch.
    pub(crate) judged: Option<(Claim, Author)>,
    /// Rows of entries that somebody merged before had seen, by compartment: their conflicts have to be worked out anew.
    pub(crate) late: BTreeMap<CompartmentId, RowSet>,
    /// What the verdicts on some log rest on has changed in this very pass.
    pub(crate) is_rejudge_due: bool,
}

impl<'a> Pass<'a> {
    pub(crate) fn new(
        contexts: &'a BTreeMap<ContextId, ContextState>,
        rights: &'a dyn TableRights,
        opener: &'a mut Opener,
        vectors: &'a mut Vectors,
        now: Millis,
    ) -> Self {
        Self {
            contexts,
            rights,
            opener,
            vectors,
            in_hand: InHand::new(),
            now,
            merged: Merged::default(),
            waiting: BTreeMap::new(),
            judged: None,
            late: BTreeMap::new(),
            is_rejudge_due: false,
        }
    }

    /// Merges whatever can be merged, and makes anew what turns out to have been merged wrongly.
    pub(crate) fn run(
        &mut self,
        engine: &mut Merging<'_>,
        is_own: &dyn Fn(WriterKey) -> bool,
    ) -> Result<(), MergingError> {
        loop {
            self.merge_all(engine)?;
            let late = std::mem::take(&mut self.late);
            if !late.is_empty() {
                rejudge::make_anew(self, engine, late)?;
            }
            if !std::mem::take(&mut self.is_rejudge_due) {
                return Ok(());
            }
            rejudge::run(self, engine, is_own)?;
        }
    }

    fn merge_all(&mut self, engine: &mut Merging<'_>) -> Result<(), MergingError> {
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
            // And a branch, for the log that it leaves.
            if done == before || !(may_go_on || stored::any_branch_waits(engine.connection())?) {
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
        if log.parent.is_some() && log.merged == log.base() {
            stored::inherit_seen(engine.connection(), log)?;
            self.vectors.remove(&log.number);
        }
        while log.merged < log.vouched {
            let first = log.merged.next();
            match self.take(engine, log, log.vouched, Aim::Merge)? {
                Verdict::Counts { last, hlc } => {
                    if verdicts::any_unmet(engine.connection())? {
                        self.note_late(engine, log, first, last)?;
                    }
                    self.merged.entries += last.0 - log.merged.0;
                    log.merged = last;
                    log.merged_hlc = hlc;
                    self.note_changed(log.context);
                }
                Verdict::Refused(refused) => {
                    verdicts::refuse(engine.connection(), log.number, &refused)?;
                    log.merged = refused.last;
                    log.merged_hlc = refused.hlc;
                    self.note_refused(log.writer, refused);
                }
                Verdict::Waits(waiting) => {
                    self.waiting.insert((log.compartment, log.writer), waiting);
                    break;
                }
            }
        }
        if log.merged > start {
            log.save(engine.connection())?;
        }
        // Entries up to a cut-off rest on the entry that the cut-off names, and that may just have come.
        self.is_rejudge_due |= self
            .contexts
            .get(&log.context)
            .is_some_and(|state| state.roster.reductions().next().is_some())
            && rejudge::is_due(self.contexts, engine.connection(), log)?;
        Ok(())
    }

    /// A transaction that somebody merged before had seen comes late.
    fn note_late(
        &mut self,
        engine: &Merging<'_>,
        log: &LogRow,
        first: Seq,
        last: Seq,
    ) -> Result<(), MergingError> {
        let connection = engine.connection();
        let tag = WriterTag::of(&log.signer);
        if verdicts::is_late(connection, log.compartment, tag, first)? {
            let rows = self.rows_of(connection, log, first, last)?;
            self.late.entry(log.compartment).or_default().extend(rows);
        }
        Ok(())
    }

    pub(crate) fn note_changed(&mut self, context: ContextId) {
        if !self.merged.contexts.contains(&context) {
            self.merged.contexts.push(context);
        }
    }

    pub(crate) fn note_refused(&mut self, writer: WriterKey, refused: Refused) {
        self.merged
            .refused
            .push((writer, refused.first, refused.reason));
    }
}

//! Verdicts that change: a later control entry takes rights away, gives them back, or settles whose acts stand.
//!
//! Which logs are concerned follows from what their verdicts rest on, which is stored as a digest, so a crash between a control
//! entry and its consequences is found out at the next start. The rows of transactions that changed sides are made anew from
//! the log, in the transaction that notes the new verdicts: rows and verdicts never disagree.
//!
//! Invariant: afterwards the tables equal those of a device that had known the control entry before it took in the rest.

mod replay;

use std::collections::BTreeMap;

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{CompartmentId, ContextId, ControlHash, EntryHash, Seq, WriterKey};
use aeroedge_log::entry::EntryRef;
use aeroedge_log::history::{Chain, Claim};
use aeroedge_replica::{Merging, RowSet};
use rusqlite::Connection;
use sha2::{Digest, Sha256};

use crate::merging::{Aim, MergingError, Pass, Verdict};
use crate::state::ContextState;
use crate::stored::{self, LogRow};
use crate::verdicts::{self, Recomputed, Refused};

/// The log in which an entry stands, as far as its writer signed it: nobody else may say which branch it is.
#[derive(Debug)]
pub(crate) struct LogChain<'a> {
    connection: &'a Connection,
    log: &'a LogRow,
}

impl<'a> LogChain<'a> {
    pub(crate) fn new(connection: &'a Connection, log: &'a LogRow) -> Self {
        Self { connection, log }
    }
}

impl Chain for LogChain<'_> {
    fn contains(&self, seq: Seq, hash: EntryHash) -> Option<bool> {
        if seq > self.log.vouched {
            return None;
        }
        let ours = stored::hash_at(self.connection, self.log, seq).ok()??;
        Some(ours == hash)
    }
}

/// A digest of everything that the verdicts on a log rest on, besides the log itself; `None` while its writer is known and
/// nobody ever took rights from it.
fn foundation(connection: &Connection, state: &ContextState, log: &LogRow) -> Option<[u8; 32]> {
    let Some(writer) = state.roster.writer(log.signer) else {
        return Some([0; 32]);
    };
    let chain = LogChain::new(connection, log);
    let mut digest = Sha256::new();
    let mut is_plain = true;
    for reduction in state.roster.reductions() {
        if !reduction.concerns(writer) {
            continue;
        }
        is_plain = false;
        digest.update(reduction.entry.0);
        let cut_offs = reduction.cut_offs.get(&(log.signer, log.compartment));
        for cut_off in cut_offs.into_iter().flatten() {
            let answer = chain.contains(cut_off.seq, cut_off.hash);
            digest.update([answer.map_or(2, u8::from)]);
        }
    }
    (!is_plain).then(|| digest.finalize().into())
}

/// Whether the verdicts on a log rest on something else than when they were last looked at.
pub(crate) fn is_due(
    contexts: &BTreeMap<ContextId, ContextState>,
    connection: &Connection,
    log: &LogRow,
) -> rusqlite::Result<bool> {
    let Some(state) = contexts.get(&log.context) else {
        return Ok(false);
    };
    Ok(verdicts::judged_under(connection, log.number)? != foundation(connection, state, log))
}

/// Looks at every log whose verdicts rest on something new, and makes rows anew where verdicts changed. Own logs are no
/// exception; `is_own` only tells that they cannot wait.
pub(crate) fn run(
    pass: &mut Pass<'_>,
    engine: &mut Merging<'_>,
    is_own: &dyn Fn(WriterKey) -> bool,
) -> Result<(), MergingError> {
    let connection = engine.connection();
    let mut changed: BTreeMap<CompartmentId, RowSet> = BTreeMap::new();
    for mut log in stored::all(connection)? {
        let Some(state) = pass.contexts.get(&log.context) else {
            continue;
        };
        let under = foundation(connection, state, &log);
        if verdicts::judged_under(connection, log.number)? == under {
            continue;
        }
        if let Some(first) = first_doubtful(connection, state, &log)?
            && let Some(rows) = judge_from(pass, engine, &mut log, first, is_own)?
        {
            changed.entry(log.compartment).or_default().extend(rows);
        }
        verdicts::set_judged_under(connection, log.number, under.as_ref())?;
    }
    if changed.is_empty() {
        return Ok(());
    }
    make_anew(pass, engine, changed)
}

/// Makes rows anew from everything that counts.
pub(crate) fn make_anew(
    pass: &mut Pass<'_>,
    engine: &mut Merging<'_>,
    changed: BTreeMap<CompartmentId, RowSet>,
) -> Result<(), MergingError> {
    let mut compartments: Vec<CompartmentId> = changed.keys().copied().collect();
    let mut rows = RowSet::new();
    for more in changed.into_values() {
        rows.extend(more);
    }
    // Entries of other compartments may speak of rows that name none.
    if engine.any_without_compartment(&rows) {
        compartments = stored::all(engine.connection())?
            .iter()
            .map(|log| log.compartment)
            .collect();
    }
    engine.forget(&rows)?;
    replay::run(pass, engine, &compartments, &rows)
}

/// The first transaction of a log on which the verdict may have changed, looking at headers only.
fn first_doubtful(
    connection: &Connection,
    state: &ContextState,
    log: &LogRow,
) -> rusqlite::Result<Option<Seq>> {
    let mut refused = verdicts::refused_in(connection, log.number)?
        .into_iter()
        .peekable();
    let chain = LogChain::new(connection, log);
    let mut start = log.first;
    for seq in (log.first.0..=log.merged.0).map(Seq) {
        let Some(bytes) = stored::entry(connection, log.number, seq)? else {
            continue;
        };
        let Ok(entry) = EntryRef::parse(&bytes) else {
            continue;
        };
        while refused.next_if(|refused| refused.last < seq).is_some() {}
        let before = refused
            .peek()
            .filter(|refused| refused.first <= seq)
            .map(|refused| refused.by_history);
        let claim = Claim::of(&entry);
        let is_doubtful = match (before, state.history.may_write(&claim, &chain)) {
            (Some(false), _) | (Some(true), Err(_)) => false,
            (Some(true), Ok(_)) | (None, Err(_)) => true,
            // Reduced rights may not reach what it writes.
            (None, Ok(author)) => state.history.roster_at(&claim.heads).is_ok_and(|then| {
                then.member(author.user)
                    .is_none_or(|member| member.rights != author.rights)
            }),
        };
        if is_doubtful {
            return Ok(Some(start));
        }
        if !entry.more_parts() {
            start = seq.next();
        }
    }
    Ok(None)
}

/// What was thought of a transaction, and what is thought now.
#[derive(Default)]
struct Change {
    withdrawn: u64,
    restored: u64,
    cause: Option<ControlHash>,
    reason: Option<String>,
    rows: RowSet,
}

/// Judges a log anew from a transaction on and notes the verdicts; the rows concerned if any changed.
fn judge_from(
    pass: &mut Pass<'_>,
    engine: &mut Merging<'_>,
    log: &mut LogRow,
    first: Seq,
    is_own: &dyn Fn(WriterKey) -> bool,
) -> Result<Option<RowSet>, MergingError> {
    let connection = engine.connection();
    let before = verdicts::refused_in(connection, log.number)?;
    let was_refused = |seq: Seq| {
        before
            .binary_search_by_key(&seq, |refused| refused.first)
            .is_ok()
    };
    let mut at = LogRow {
        merged: Seq(first.0 - 1),
        merged_hlc: verdicts::latest_stamp(connection, log, Seq(first.0 - 1))?.unwrap_or(Hlc::ZERO),
        ..log.clone()
    };
    let end = log.merged;
    let mut change = Change::default();
    let mut refused: Vec<Refused> = Vec::new();
    while at.merged < end {
        let first = at.merged.next();
        let did_count = !was_refused(first);
        let mut counts = false;
        let (last, hlc) = match pass.take(engine, &at, end, Aim::Examine)? {
            Verdict::Counts { last, hlc } => {
                counts = true;
                (last, hlc)
            }
            Verdict::Refused(now) => {
                if did_count && change.reason.is_none() {
                    change.cause = now.cause;
                    change.reason = Some(now.reason.clone());
                }
                let found = (now.last, now.hlc);
                refused.push(now);
                found
            }
            // What was merged once does not wait again, nor may anything of this device's own.
            Verdict::Waits(_) if did_count || is_own(log.signer) => {
                counts = true;
                end_of(connection, &at, end)?
            }
            Verdict::Waits(_) => break,
        };
        change.withdrawn += u64::from(did_count && !counts);
        change.restored += u64::from(counts && !did_count);
        // What the writer had seen is the sum of what counts, so every later entry of the log is merged otherwise.
        if change.withdrawn + change.restored > 0 && (did_count || counts) {
            change
                .rows
                .extend(pass.rows_of(connection, log, first, last)?);
        }
        if did_count
            && !counts
            && let Some(refused) = refused.last()
        {
            pass.note_refused(log.writer, refused.clone());
        }
        (at.merged, at.merged_hlc) = (last, hlc);
    }
    let stopped = at.merged;
    while at.merged < end {
        // From here on the log waits: what was merged of it is merged again when its time comes.
        let first = at.merged.next();
        let (last, hlc) = end_of(connection, &at, end)?;
        if !was_refused(first) {
            change.withdrawn += 1;
            change
                .rows
                .extend(pass.rows_of(connection, log, first, last)?);
        }
        (at.merged, at.merged_hlc) = (last, hlc);
    }
    verdicts::forget_refused_from(connection, log.number, first)?;
    for refused in &refused {
        verdicts::refuse(connection, log.number, refused)?;
    }
    if stopped < end {
        log.merged_hlc = verdicts::latest_stamp(connection, &at, stopped)?.unwrap_or(Hlc::ZERO);
        log.merged = stopped;
        log.save(connection)?;
    }
    if change.withdrawn + change.restored == 0 {
        return Ok(None);
    }
    pass.note_changed(log.context);
    let done = Recomputed {
        at: pass.now,
        context: log.context,
        compartment: log.compartment,
        writer: log.writer,
        cause: change.cause,
        reason: change
            .reason
            .unwrap_or_else(|| "its entries count again".to_owned()),
        withdrawn: change.withdrawn,
        restored: change.restored,
        rows: change.rows.len() as u64,
    };
    verdicts::keep_recomputed(connection, &done)?;
    Ok(Some(change.rows))
}

/// The last entry of the transaction after `at.merged`, and the latest stamp up to there.
fn end_of(connection: &Connection, at: &LogRow, end: Seq) -> rusqlite::Result<(Seq, Hlc)> {
    let (mut last, mut hlc) = (at.merged.next(), at.merged_hlc);
    loop {
        let bytes = stored::entry(connection, at.number, last)?;
        let entry = bytes
            .as_deref()
            .and_then(|bytes| EntryRef::parse(bytes).ok());
        hlc = hlc.max(entry.as_ref().map_or(Hlc::ZERO, EntryRef::hlc));
        if last >= end || !entry.is_some_and(|entry| entry.more_parts()) {
            return Ok((last, hlc));
        }
        last = last.next();
    }
}

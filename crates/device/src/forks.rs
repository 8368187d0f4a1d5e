//! Copies of one installation: a restored backup, a cloned disk, two programs under one name.
//!
//! Whoever finds that somebody else went on under a writer of this installation opens a new writer at once, and later says how far the old one
//! counts. Nothing is known before the first contact; what both wrote until then is kept in branches ([`crate::stories`]).
//!
//! Invariant: a writer that is known to have been used elsewhere is never used again.

use std::collections::{BTreeMap, BTreeSet};

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{
    CompartmentId, ContextId, DeviceKey, EntryHash, Millis, Seq, UserId, WriterKey,
};
use aeroedge_log::context;
use aeroedge_log::control::{Action, CutOff};
use aeroedge_log::keys::WriterSecret;
use aeroedge_log::roster::{ReductionScope, Roster};
use aeroedge_protocol::Frontier;
use aeroedge_replica::{Merging, RowSet};
use rand::CryptoRng;
use rusqlite::{Connection, OptionalExtension, params};

use crate::device::{Device, DeviceError};
use crate::membership::MembershipError;
use crate::merging::{MergingError, Pass};
use crate::rejudge;
use crate::state;
use crate::stored::{self, LogNumber, LogRow};
use crate::verdicts;

/// For so long nothing more of an old writer of this installation must have come before it is said how far it counts, milliseconds. What comes
/// later is counted in by saying so again.
pub const CLOSE_AFTER_MS: u64 = 10_000;
/// How often a mere claim makes this installation open a new writer while it runs: anyone may claim.
const DOUBTS_MAX: u8 = 3;

/// What a device remembers of copies of itself while it runs.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// The writer in use must not be used again.
    is_spent: bool,
    /// Somebody says to hold more of the writer in use than was written here.
    is_doubted: bool,
    doubts: u8,
    /// When an old writer of this installation last grew.
    grew: Option<Millis>,
}

/// A log whose writer signed two stories or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// The context.
    pub context: ContextId,
    /// The compartment.
    pub compartment: CompartmentId,
    /// The writer.
    pub writer: WriterKey,
    /// Its device, if the membership history knows.
    pub device: Option<DeviceKey>,
    /// The person behind it.
    pub user: Option<UserId>,
    /// Whether it is a writer of this installation.
    pub is_own: bool,
    /// Whether the membership history says how far it counts.
    pub is_closed: bool,
    /// The stories, in the order in which they became known here.
    pub branches: Vec<Branch>,
}

/// One story that a writer told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// What it is called, also in the stamps of its cells.
    pub name: WriterKey,
    /// Its first entry: before it the log it leaves ends.
    pub first: Seq,
    /// The stamp of that entry.
    pub began: Hlc,
    /// Its last signed entry.
    pub last: Seq,
    /// The hash of that.
    pub hash: EntryHash,
    /// How far it is in the tables.
    pub merged: Seq,
    /// Whether other branches leave it again.
    pub is_forked: bool,
}

/// Notes that a writer of this installation must not be used again.
pub(crate) fn set_spent(
    connection: &Connection,
    writer: WriterKey,
    reason: &str,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO device_spent(writer, reason) VALUES (?1, ?2)")?
        .execute(params![writer.0, reason])?;
    Ok(())
}

/// Whether a writer of this installation was used elsewhere.
pub(crate) fn is_spent(connection: &Connection, writer: WriterKey) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS(SELECT 1 FROM device_spent WHERE writer = ?1)")?
        .query_row([writer.0], |row| row.get(0))
}

/// Makes anew the rows of entries that were merged before they turned out to be of a branch: their cells carry its name, and
/// its writer had not seen what the writers of other branches saw.
pub(crate) fn rename_rows(
    pass: &mut Pass<'_>,
    engine: &mut Merging<'_>,
    branches: &[LogNumber],
) -> Result<(), MergingError> {
    let connection = engine.connection();
    let mut changed: BTreeMap<CompartmentId, RowSet> = BTreeMap::new();
    for branch in branches {
        let log = stored::by_number(connection, *branch)?;
        let mut rows = pass.rows_of(connection, &log, log.first, log.merged)?;
        // A transaction that the fork cuts in two ends the log that the branch leaves.
        if let Some(parent) = log.parent {
            let parent = stored::by_number(connection, parent)?;
            let last = verdicts::refused_in(connection, parent.number)?.pop();
            if let Some(cut) = last.filter(|refused| refused.last == parent.tail) {
                rows.extend(pass.rows_of(connection, &parent, cut.first, cut.last)?);
            }
        }
        changed.entry(log.compartment).or_default().extend(rows);
        pass.note_changed(log.context);
    }
    pass.is_rejudge_due = true;
    rejudge::make_anew(pass, engine, changed)
}

impl Device {
    /// Whether the writer in use was used elsewhere, as of now. Call after anything that may have changed it.
    pub(crate) fn look_for_copies(&mut self) -> Result<(), DeviceError> {
        let Some(writer) = self.secrets.writer_in_use().map(WriterSecret::key) else {
            return Ok(());
        };
        let device = self.key();
        let is_closed = self.contexts.values().any(|state| {
            let known = state.roster.writer(writer);
            known.is_some_and(|known| known.closed.is_some())
                && state.roster.active_device(device).is_some()
        });
        self.copies.is_spent = is_closed || is_spent(self.connection(), writer)?;
        Ok(())
    }

    /// Old writers of this installation grew just now.
    pub(crate) fn note_growth(&mut self, now: Millis) {
        self.copies.grew = Some(now);
    }

    /// Goes on under a new writer if the one in use was used elsewhere. Cheap if it was not.
    pub(crate) fn leave_spent_writer(
        &mut self,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<(), MembershipError> {
        let in_doubt = self.copies.is_doubted && self.copies.doubts < DOUBTS_MAX;
        if !self.copies.is_spent && !in_doubt {
            return Ok(());
        }
        // What was written before is signed before: nothing of it is lost, whoever else wrote under this writer.
        self.sign_before()?;
        let old = self.secrets.writer_in_use().map(WriterSecret::key);
        if !self.copies.is_spent {
            self.copies.doubts += 1;
        }
        self.open_new_writer(now, rng)?;
        self.copies.is_doubted = false;
        self.look_for_copies()?;
        let Some(old) = old else { return Ok(()) };
        let is_closed = self.contexts.values().any(|state| {
            state
                .roster
                .writer(old)
                .is_some_and(|old| old.closed.is_some())
        });
        if is_closed {
            // The copy that closed it does not know how far this one came.
            set_spent(
                self.connection(),
                old,
                "another copy of this device closed it",
            )?;
            self.close_spent_writers(now)?;
        } else {
            self.copies.grew.get_or_insert(now);
        }
        Ok(())
    }

    /// Does what copies of this installation make necessary: a new writer, and once the old one has come to rest, the word
    /// how far it counts. Call now and then. Returns whether the membership history grew.
    pub fn tend_copies(
        &mut self,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<bool, MembershipError> {
        self.refresh()?;
        let before = self.control_read;
        self.leave_spent_writer(now, rng)?;
        if self.copies.grew.is_none() && self.any_spent()? {
            // From an earlier run of the program.
            self.copies.grew = Some(now);
        }
        let is_at_rest = self
            .copies
            .grew
            .is_some_and(|grew| now.0.saturating_sub(grew.0) >= CLOSE_AFTER_MS);
        if is_at_rest {
            self.close_spent_writers(now)?;
            // Looked at once; whatever comes later sets it again.
            self.copies.grew = Some(Millis(u64::MAX));
        }
        Ok(self.control_read != before)
    }

    fn any_spent(&self) -> Result<bool, DeviceError> {
        Ok(self
            .connection()
            .prepare_cached("SELECT EXISTS(SELECT 1 FROM device_spent)")?
            .query_row([], |row| row.get(0))?)
    }

    /// Says of every writer that was used elsewhere how far it counts, unless that is said.
    fn close_spent_writers(&mut self, now: Millis) -> Result<(), MembershipError> {
        let spent: Vec<WriterKey> = self
            .connection()
            .prepare_cached("SELECT writer FROM device_spent")?
            .query_map([], |row| row.get(0).map(WriterKey))?
            .collect::<Result<_, _>>()?;
        let in_use = self.secrets.writer_in_use().map(WriterSecret::key);
        let hlc = self.next_control_stamp(now);
        let mut entries = Vec::new();
        for writer in spent.into_iter().filter(|writer| Some(*writer) != in_use) {
            for state in self.contexts.values() {
                let context = state.history.context();
                let cut_offs = cut_offs(self.connection(), context, &|signer| signer == writer)?;
                if state.roster.active_device(self.key()).is_some()
                    && must_be_said(&state.roster, writer, &cut_offs)
                {
                    let action = Action::CloseWriter { writer, cut_offs };
                    entries.push(context::act(&state.history, &self.secrets, hlc, action));
                }
            }
        }
        if entries.is_empty() {
            return Ok(());
        }
        self.took_in = true;
        let connection = self.replica.connection();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let stored = entries
            .iter()
            .try_for_each(|entry| state::store(connection, entry));
        connection.execute_batch(if stored.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
        stored?;
        self.read_control()?;
        Ok(())
    }

    /// Compares what a peer says it holds with what is here: the logs in which it names other entries. Such a log is forked, or the peer
    /// says what is not so; sent from its beginning it shows which.
    pub fn disagreements(
        &self,
        compartment: CompartmentId,
        peer: &Frontier,
    ) -> Result<Vec<WriterKey>, DeviceError> {
        let mut differ = Vec::new();
        for (name, seq) in peer {
            let Some(check) = peer.check(name) else {
                continue;
            };
            let log = stored::find(self.connection(), compartment, *name)?;
            let Some(log) = log.filter(|log| *seq >= log.first && *seq <= log.vouched) else {
                continue;
            };
            let ours = stored::hash_at(self.connection(), &log, *seq)?;
            if ours.is_some_and(|ours| ours.check() != check) {
                differ.push(*name);
            }
        }
        Ok(differ)
    }

    /// As [`Device::disagreements`]. Also notes if the peer holds more of the writer in use than was written here, or other entries: then
    /// this installation is a copy, or has one, and goes on under a new writer.
    pub fn compare_frontier(
        &mut self,
        compartment: CompartmentId,
        peer: &Frontier,
    ) -> Result<Vec<WriterKey>, DeviceError> {
        let differ = self.disagreements(compartment, peer)?;
        if let Some(in_use) = self.secrets.writer_in_use().map(WriterSecret::key) {
            let ours = stored::find(self.connection(), compartment, in_use)?;
            let ours = ours.map_or(Seq::NONE, |log| log.tail);
            let knows_more = peer.get(&in_use).is_some_and(|theirs| *theirs > ours);
            self.copies.is_doubted |= knows_more || differ.contains(&in_use);
        }
        Ok(differ)
    }

    /// Every log that is here and whose writer signed more than one story.
    pub fn forks(&self) -> Result<Vec<Fork>, DeviceError> {
        let mut forks: BTreeMap<(ContextId, CompartmentId, WriterKey), Vec<Branch>> =
            BTreeMap::new();
        let logs = stored::all(self.connection())?;
        for log in logs
            .iter()
            .filter(|log| log.parent.is_some() && log.is_proven())
        {
            let place = (log.context, log.compartment, log.signer);
            forks.entry(place).or_default().push(Branch {
                name: log.writer,
                first: log.first,
                began: verdicts::latest_stamp(self.connection(), log, log.first)?
                    .unwrap_or(Hlc::ZERO),
                last: log.vouched,
                hash: log.vouched_hash,
                merged: log.merged,
                is_forked: is_left(self.connection(), log)?,
            });
        }
        Ok(forks
            .into_iter()
            .map(|((context, compartment, writer), branches)| {
                let known = self
                    .roster(context)
                    .and_then(|roster| roster.writer(writer));
                Fork {
                    context,
                    compartment,
                    writer,
                    device: known.map(|known| known.device),
                    user: known.map(|known| known.user),
                    is_own: self.secrets.writer_by_key(writer).is_some(),
                    is_closed: known.is_some_and(|known| known.ended().is_some()),
                    branches,
                }
            })
            .collect())
    }

    /// The writer whose key signs a log: of a branch another than its name.
    pub fn signer_of(&self, name: WriterKey) -> Result<WriterKey, DeviceError> {
        let signer = self
            .connection()
            .prepare_cached("SELECT signer FROM device_log WHERE writer = ?1 LIMIT 1")?
            .query_row([name.0], |row| row.get(0).map(WriterKey))
            .optional()?;
        Ok(signer.unwrap_or(name))
    }
}

/// How far every story of some writers goes here, as far as signed heads vouch for it; ascending, as an act takes them.
pub(crate) fn cut_offs(
    connection: &Connection,
    context: ContextId,
    concerns: &dyn Fn(WriterKey) -> bool,
) -> rusqlite::Result<Vec<CutOff>> {
    let mut cut_offs = Vec::new();
    for log in stored::logs_in(connection, context)? {
        // A log that branches leave is counted in by any of them.
        if log.vouched >= log.first && concerns(log.signer) && !is_left(connection, &log)? {
            cut_offs.push(CutOff {
                writer: log.signer,
                compartment: log.compartment,
                seq: log.vouched,
                hash: log.vouched_hash,
            });
        }
    }
    cut_offs.sort_unstable();
    Ok(cut_offs)
}

/// Whether a branch that is signed leaves this log.
fn is_left(connection: &Connection, log: &LogRow) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS(SELECT 1 FROM device_log WHERE parent = ?1 AND vouched_seq >= first_seq)",
        )?
        .query_row([log.number.0], |row| row.get(0))
}

/// Whether the history does not say yet that a writer of this device counts as far as these cut-offs.
fn must_be_said(roster: &Roster, writer: WriterKey, cut_offs: &[CutOff]) -> bool {
    let Some(known) = roster.writer(writer) else {
        return false;
    };
    if known.closed.is_none() {
        return true;
    }
    let said: BTreeSet<CutOff> = roster
        .reductions()
        .filter(|reduction| reduction.scope == ReductionScope::Writer(writer))
        .flat_map(|reduction| reduction.cut_offs.values().flatten().copied())
        .collect();
    cut_offs.iter().any(|cut_off| !said.contains(cut_off))
}

//! What a device does after its clock was ahead and has been set right: its entries from the future are voided, and what they say is
//! written again at the present.
//!
//! A crash at any point loses nothing: what is to be written again is noted before anything is voided, and struck out in
//! the transaction that writes it. Running the repair again goes on where it stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{Millis, Seq, WriterKey};
use aeroedge_log::context;
use aeroedge_log::control::{Action, CutOff};
use aeroedge_log::entry::EntryRef;
use aeroedge_log::keys::WriterSecret;
use aeroedge_replica::{MissingRow, RowSet, WriteAgainError, write_again};
use rand::CryptoRng;
use rusqlite::{Connection, params};

use crate::clocks::{self, ClockOff};
use crate::device::{Device, DeviceError};
use crate::exchange::ReceiveError;
use crate::membership::MembershipError;
use crate::merging::{HOLD_BACK_MS, MergingError, Pass, key_of, open};
use crate::rejudge;
use crate::state;
use crate::stored::{self, LogNumber, LogRow};
use crate::verdicts;
use crate::write::WriteError;

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClockRepair {
    /// Transactions from the future that are void now.
    pub voided: u64,
    /// Transactions written again at the present.
    pub written: u64,
    /// Rows that were edited and that others have deleted meanwhile: they stay deleted.
    pub gone: Vec<(String, Vec<rusqlite::types::Value>)>,
    /// Transactions that could not be written again, with the reason; the next repair tries them once more.
    pub refused: Vec<String>,
}

/// The clock could not be repaired. Running the repair again goes on where this one stopped.
#[derive(Debug, thiserror::Error)]
pub enum ClockRepairError {
    /// It is wrong still.
    #[error(transparent)]
    Off(#[from] ClockOff),
    /// The new writer.
    #[error("the writer of the entries from the future could not be closed")]
    Writer(#[from] MembershipError),
    /// What was merged could not be taken back.
    #[error("the entries from the future could not be taken back")]
    TakeBack(#[source] Box<dyn Error + Send + Sync>),
    /// The database.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl From<rusqlite::Error> for ClockRepairError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Device(error.into())
    }
}

impl From<ReceiveError> for ClockRepairError {
    fn from(error: ReceiveError) -> Self {
        Self::TakeBack(Box::new(error))
    }
}

/// A transaction of an own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    log: LogNumber,
    first: Seq,
    last: Seq,
    hlc: Hlc,
}

/// A transaction was not written again.
#[derive(Debug, thiserror::Error)]
enum AgainError {
    #[error(transparent)]
    Content(#[from] WriteAgainError),
    #[error("the note could not be struck out")]
    Sqlite(#[from] rusqlite::Error),
}

impl Device {
    /// Repairs what a clock that was ahead has done. Call it when the clock is right; without need it does nothing.
    pub fn repair_clock(
        &mut self,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<ClockRepair, ClockRepairError> {
        self.refresh()?;
        clocks::check_program(now, self.built)?;
        // What counts as written must be signed, else nobody could tell later what was cut off.
        self.make_durable()?;
        let mut repair = ClockRepair::default();
        let future = self.own_future(now)?;
        if !future.is_empty() {
            repair.voided = self.note_to_write_again(&future)?;
            let writers: BTreeSet<WriterKey> = future.iter().map(|(log, _)| log.signer).collect();
            let in_use = self.secrets.writer_in_use().map(WriterSecret::key);
            if in_use.is_some_and(|writer| writers.contains(&writer)) {
                self.open_new_writer(now, rng)?;
            }
            self.close_in_the_past(&writers, now)?;
        }
        self.merge_waiting(now)?;
        self.turn_back(now)?;
        self.write_noted(now, rng, &mut repair)?;
        self.make_durable()?;
        Ok(repair)
    }

    /// How many transactions a repair that was cut short has still to write again.
    pub(crate) fn to_write_again(&self) -> Result<u64, DeviceError> {
        let count: i64 =
            self.connection()
                .query_row("SELECT count(*) FROM device_again", [], |row| row.get(0))?;
        Ok(count as u64)
    }

    /// Own logs that are not closed and reach into the future, and up to where they do not.
    fn own_future(&self, now: Millis) -> Result<Vec<(LogRow, Seq)>, DeviceError> {
        let mut found = Vec::new();
        for log in stored::all(self.connection())? {
            let is_open = self.secrets.writer_by_key(log.signer).is_some()
                && self
                    .roster(log.context)
                    .and_then(|roster| roster.writer(log.signer))
                    .is_some_and(|writer| writer.ended().is_none());
            if !is_open {
                continue;
            }
            let (good, _) = last_before(self.connection(), &log, log.tail, now)?;
            if good < log.tail {
                found.push((log, good));
            }
        }
        Ok(found)
    }

    /// Notes every transaction in the future; how many there are.
    fn note_to_write_again(&self, future: &[(LogRow, Seq)]) -> Result<u64, DeviceError> {
        let connection = self.connection();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let note = || -> rusqlite::Result<u64> {
            let mut count = 0;
            for (log, good) in future {
                let mut first = good.next();
                for seq in (first.0..=log.tail.0).map(Seq) {
                    let bytes = stored::entry(connection, log.number, seq)?;
                    let entry = bytes
                        .as_deref()
                        .and_then(|bytes| EntryRef::parse(bytes).ok());
                    if entry.as_ref().is_some_and(EntryRef::more_parts) {
                        continue;
                    }
                    let hlc = entry.as_ref().map_or(Hlc::ZERO, EntryRef::hlc);
                    connection
                        .prepare_cached("INSERT OR IGNORE INTO device_again(log, first_seq, last_seq, hlc) VALUES (?1, ?2, ?3, ?4)")?
                        .execute(params![log.number.0, first.0 as i64, seq.0 as i64, hlc.to_bits() as i64])?;
                    count += 1;
                    first = seq.next();
                }
            }
            Ok(count)
        };
        let noted = note();
        connection.execute_batch(if noted.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
        Ok(noted?)
    }

    /// Closes writers of this device in all contexts, everywhere at their last entry that is not in the future.
    fn close_in_the_past(
        &mut self,
        writers: &BTreeSet<WriterKey>,
        now: Millis,
    ) -> Result<(), ClockRepairError> {
        let connection = self.replica.connection();
        let mut cut_offs: BTreeMap<_, Vec<CutOff>> = BTreeMap::new();
        for log in stored::all(connection)? {
            if !writers.contains(&log.signer) {
                continue;
            }
            let (seq, _) = last_before(connection, &log, log.tail, now)?;
            let of_log = cut_offs.entry((log.context, log.signer)).or_default();
            if let Some(bytes) = stored::entry(connection, log.number, seq)?
                && let Ok(entry) = EntryRef::parse(&bytes)
            {
                of_log.push(CutOff {
                    writer: log.signer,
                    compartment: log.compartment,
                    seq,
                    hash: entry.hash(),
                });
            }
        }
        let hlc = self.next_control_stamp(now);
        let mut entries = Vec::new();
        for (context, state) in &self.contexts {
            for writer in writers {
                let is_open = state
                    .roster
                    .writer(*writer)
                    .is_some_and(|writer| writer.ended().is_none());
                if !is_open {
                    continue;
                }
                let mut cut_offs = cut_offs.remove(&(*context, *writer)).unwrap_or_default();
                cut_offs.sort_unstable();
                let writer = *writer;
                let action = Action::CloseWriter { writer, cut_offs };
                entries.push(context::act(&state.history, &self.secrets, hlc, action));
            }
        }
        self.took_in = true;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let stored = entries
            .iter()
            .try_for_each(|entry| state::store(connection, entry));
        connection.execute_batch(if stored.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
        stored?;
        self.read_control()?;
        Ok(())
    }

    /// Takes back what was merged of others and lies in the future, where everybody else holds it back too, and sets the clock of the
    /// engine to the latest stamp that remains.
    fn turn_back(&mut self, now: Millis) -> Result<(), ClockRepairError> {
        let (contexts, secrets) = (&self.contexts, &self.secrets);
        let (opener, vectors) = (&mut self.opener, &mut self.vectors);
        let mut pass = Pass::new(contexts, &*self.rights, opener, vectors, now);
        self.own_logs.forget();
        let outcome = self.replica.merging(|engine| -> Result<(), MergingError> {
            let connection = engine.connection();
            let mut rows: BTreeMap<_, RowSet> = BTreeMap::new();
            let mut latest = Hlc::ZERO;
            for mut log in stored::all(connection)? {
                let (good, hlc) = last_before(connection, &log, log.merged, now)?;
                latest = latest.max(hlc);
                if good == log.merged || secrets.writer_by_key(log.signer).is_some() {
                    continue;
                }
                let taken_back = pass.rows_of(connection, &log, good.next(), log.merged)?;
                rows.entry(log.compartment).or_default().extend(taken_back);
                verdicts::forget_refused_from(connection, log.number, good.next())?;
                (log.merged, log.merged_hlc) = (good, hlc);
                log.save(connection)?;
            }
            if !rows.is_empty() {
                rejudge::make_anew(&mut pass, engine, rows)?;
            }
            engine.turn_back(latest);
            Ok(())
        });
        if outcome.is_err() {
            self.vectors.clear();
        }
        outcome.map_err(|error| ClockRepairError::TakeBack(Box::new(error)))?;
        Ok(())
    }

    /// Writes what was noted, transaction by transaction in the order in which it was written first.
    fn write_noted(
        &mut self,
        now: Millis,
        rng: &mut impl CryptoRng,
        repair: &mut ClockRepair,
    ) -> Result<(), ClockRepairError> {
        let mut noted = noted(self.connection())?;
        noted.sort_by_key(|stretch| (stretch.hlc, stretch.log));
        // What one transaction wrote in several compartments carries one stamp, and stays together.
        for together in noted.chunk_by(|left, right| left.hlc == right.hlc) {
            let mut changes = Vec::new();
            for stretch in together {
                changes.extend(self.content(*stretch)?);
            }
            let outcome = self.write(now, rng, |tx| -> Result<_, AgainError> {
                let mut gone = Vec::new();
                for changes in &changes {
                    let written = write_again(tx, changes, MissingRow::MakeUnlessDeleted)?;
                    gone.extend(written.missing);
                }
                for stretch in together {
                    tx.prepare_cached(
                        "DELETE FROM device_again WHERE log = ?1 AND first_seq = ?2",
                    )?
                    .execute(params![stretch.log.0, stretch.first.0 as i64])?;
                }
                Ok(gone)
            });
            match outcome {
                Ok(gone) => {
                    repair.written += 1;
                    repair.gone.extend(gone);
                }
                Err(WriteError::Storage(error)) => return Err(ClockRepairError::TakeBack(error)),
                Err(error) => repair.refused.push(error.to_string()),
            }
        }
        Ok(())
    }

    /// The changesets of an own transaction, counting or not.
    fn content(&mut self, stretch: Stretch) -> Result<Vec<Vec<u8>>, DeviceError> {
        let mut changes = Vec::new();
        for seq in stretch.first.0..=stretch.last.0 {
            let connection = self.replica.connection();
            let Some(bytes) = stored::entry(connection, stretch.log, Seq(seq))? else {
                continue;
            };
            let Ok(entry) = EntryRef::parse(&bytes) else {
                continue;
            };
            let key = self
                .contexts
                .get(&entry.context())
                .and_then(|state| key_of(state, &entry));
            if let Some(key) = key
                && let Ok(body) = open(&mut self.opener, &bytes, &key)
            {
                changes.push(body.changes.to_vec());
            }
        }
        Ok(changes)
    }
}

/// The last entry of a log at or before `upto` that does not lie in the future, and its stamp.
fn last_before(
    connection: &Connection,
    log: &LogRow,
    upto: Seq,
    now: Millis,
) -> rusqlite::Result<(Seq, Hlc)> {
    let mut seq = upto;
    while seq > log.base() {
        let bytes = stored::entry(connection, log.number, seq)?;
        let hlc = bytes
            .as_deref()
            .and_then(|bytes| EntryRef::parse(bytes).ok())
            .map(|entry| entry.hlc());
        if let Some(hlc) = hlc
            && hlc.time().0.saturating_sub(now.0) <= HOLD_BACK_MS
        {
            return Ok((seq, hlc));
        }
        seq = Seq(seq.0 - 1);
    }
    let stamp = verdicts::latest_stamp(connection, log, log.base())?;
    Ok((log.base(), stamp.unwrap_or(Hlc::ZERO)))
}

fn noted(connection: &Connection) -> rusqlite::Result<Vec<Stretch>> {
    connection
        .prepare_cached("SELECT log, first_seq, last_seq, hlc FROM device_again")?
        .query_map([], |row| {
            Ok(Stretch {
                log: LogNumber(row.get(0)?),
                first: Seq(row.get::<_, i64>(1)? as u64),
                last: Seq(row.get::<_, i64>(2)? as u64),
                hlc: Hlc::from_bits(row.get::<_, i64>(3)? as u64),
            })
        })?
        .collect()
}

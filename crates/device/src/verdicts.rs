//! What was decided about entries, as rows: which transactions do not count, what the verdicts on a log rest on, and what
//! was made anew when one changed.
//!
//! Invariant: a transaction at or below the merged position of its log counts exactly if no row of `device_refused` covers it.

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{CompartmentId, ContextId, ControlHash, Millis, Seq, WriterKey};
use aeroedge_log::entry::{EntryRef, WriterTag};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::checkpoint;
use crate::device::{Device, DeviceError};
use crate::stored::{self, LogNumber, LogRow};

/// A transaction that does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) first: Seq,
    pub(crate) last: Seq,
    /// The latest stamp of the log up to its end.
    pub(crate) hlc: Hlc,
    /// The membership history says so, which may change.
    pub(crate) by_history: bool,
    /// The control entry behind it, if one took the rights away.
    pub(crate) cause: Option<ControlHash>,
    pub(crate) reason: String,
}

/// Notes a transaction whose changes no table takes.
pub(crate) fn refuse(
    connection: &Connection,
    log: LogNumber,
    refused: &Refused,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO device_refused(log, seq, last_seq, hlc, by_history, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            log.0,
            refused.first.0 as i64,
            refused.last.0 as i64,
            refused.hlc.to_bits() as i64,
            refused.by_history,
            refused.reason
        ])?;
    Ok(())
}

/// The transactions of a log that do not count, in order.
pub(crate) fn refused_in(
    connection: &Connection,
    log: LogNumber,
) -> rusqlite::Result<Vec<Refused>> {
    connection
        .prepare_cached("SELECT seq, last_seq, hlc, by_history, reason FROM device_refused WHERE log = ?1 ORDER BY seq")?
        .query_map([log.0], |row| {
            let first = Seq(unsigned(row, 0)?);
            Ok(Refused {
                first,
                last: first.max(Seq(unsigned(row, 1)?)),
                hlc: Hlc::from_bits(unsigned(row, 2)?),
                by_history: row.get(3)?,
                cause: None,
                reason: row.get(4)?,
            })
        })?
        .collect()
}

/// Why an entry does not count, if that was decided.
pub(crate) fn reason_at(
    connection: &Connection,
    log: LogNumber,
    seq: Seq,
) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(
            "SELECT reason FROM device_refused WHERE log = ?1 AND seq <= ?2 AND max(seq, last_seq) >= ?2
             ORDER BY seq DESC LIMIT 1",
        )?
        .query_row(params![log.0, seq.0 as i64], |row| row.get(0))
        .optional()
}

/// Forgets the verdicts on a log from an entry on.
pub(crate) fn forget_refused_from(
    connection: &Connection,
    log: LogNumber,
    first: Seq,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM device_refused WHERE log = ?1 AND seq >= ?2")?
        .execute(params![log.0, first.0 as i64])?;
    Ok(())
}

/// The latest stamp of a log up to an entry; `None` if that is not here. Whether entries count makes no difference to it.
pub(crate) fn latest_stamp(
    connection: &Connection,
    log: &LogRow,
    seq: Seq,
) -> rusqlite::Result<Option<Hlc>> {
    if seq == log.merged {
        return Ok(Some(log.merged_hlc));
    }
    if seq < log.first {
        return match log.parent {
            Some(parent) => latest_stamp(connection, &stored::by_number(connection, parent)?, seq),
            None => Ok(Some(Hlc::ZERO)),
        };
    }
    let Some(bytes) = stored::entry(connection, log.number, seq)? else {
        let past = checkpoint::past(connection, log.number, seq)?;
        return Ok(past.map(|(latest, _)| latest));
    };
    let Ok(entry) = EntryRef::parse(&bytes) else {
        return Ok(None);
    };
    // Stamps of entries that count only grow, so the last refused one before has the greatest besides.
    let refused = connection
        .prepare_cached(
            "SELECT hlc FROM device_refused WHERE log = ?1 AND seq <= ?2 ORDER BY seq DESC LIMIT 1",
        )?
        .query_row(params![log.number.0, seq.0 as i64], |row| {
            Ok(Hlc::from_bits(unsigned(row, 0)?))
        })
        .optional()?;
    Ok(Some(entry.hlc().max(refused.unwrap_or(Hlc::ZERO))))
}

/// What the verdicts on a log rest on, as of the last look.
pub(crate) fn judged_under(
    connection: &Connection,
    log: LogNumber,
) -> rusqlite::Result<Option<[u8; 32]>> {
    connection
        .prepare_cached("SELECT under FROM device_judged WHERE log = ?1")?
        .query_row([log.0], |row| row.get(0))
        .optional()
}

/// Notes what the verdicts on a log rest on.
pub(crate) fn set_judged_under(
    connection: &Connection,
    log: LogNumber,
    under: Option<&[u8; 32]>,
) -> rusqlite::Result<()> {
    match under {
        Some(under) => connection
            .prepare_cached("INSERT OR REPLACE INTO device_judged(log, under) VALUES (?1, ?2)")?
            .execute(params![log.0, under])?,
        None => connection
            .prepare_cached("DELETE FROM device_judged WHERE log = ?1")?
            .execute([log.0])?,
    };
    Ok(())
}

/// Up to which control entry all verdicts take the history into account.
pub(crate) fn judged_control(connection: &Connection) -> rusqlite::Result<i64> {
    let found = connection
        .prepare_cached("SELECT value FROM device_meta WHERE name = 'judged'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(0))
}

/// No control entry that is here has consequences that were not drawn.
pub(crate) fn set_all_judged(connection: &Connection) -> rusqlite::Result<()> {
    let newest = connection
        .prepare_cached("SELECT coalesce(max(arrival), 0) FROM device_control")?
        .query_row([], |row| row.get(0))?;
    set_judged_control(connection, newest)
}

/// See [`judged_control`].
pub(crate) fn set_judged_control(connection: &Connection, arrival: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO device_meta(name, value) VALUES ('judged', ?1) ON CONFLICT(name) DO UPDATE SET value = ?1",
        )?
        .execute([arrival])?;
    Ok(())
}

/// Notes that a merged entry of `log` had seen one that is not here and cannot count.
pub(crate) fn set_unmet(
    connection: &Connection,
    log: LogNumber,
    tag: WriterTag,
    seq: Seq,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO device_unmet(log, tag, seq) VALUES (?1, ?2, ?3)
             ON CONFLICT(log, tag) DO UPDATE SET seq = max(seq, excluded.seq)",
        )?
        .execute(params![log.0, tag.0, seq.0 as i64])?;
    Ok(())
}

/// Whether anything unmet is noted at all.
pub(crate) fn any_unmet(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS(SELECT 1 FROM device_unmet)")?
        .query_row([], |row| row.get(0))
}

/// Whether an entry comes late: one that is merged already had seen it.
pub(crate) fn is_late(
    connection: &Connection,
    compartment: CompartmentId,
    tag: WriterTag,
    seq: Seq,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS(SELECT 1 FROM device_unmet u JOIN device_log l ON l.log = u.log
             WHERE l.compartment = ?1 AND u.tag = ?2 AND u.seq >= ?3)",
        )?
        .query_row(params![compartment.0, tag.0, seq.0 as i64], |row| {
            row.get(0)
        })
}

/// Forgets what the entries of a log had seen, before they are merged anew.
pub(crate) fn forget_seen(connection: &Connection, log: LogNumber) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM device_seen WHERE log = ?1",
        "DELETE FROM device_unmet WHERE log = ?1",
    ] {
        connection.prepare_cached(sql)?.execute([log.0])?;
    }
    Ok(())
}

/// Rows that were made anew, because entries merged before do not count any more or others count again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recomputed {
    /// When this device did it.
    pub at: Millis,
    /// The context.
    pub context: ContextId,
    /// The compartment.
    pub compartment: CompartmentId,
    /// The log whose entries changed sides.
    pub writer: WriterKey,
    /// The control entry that took the rights away, if that is what happened.
    pub cause: Option<ControlHash>,
    /// Why the first of the transactions changed sides.
    pub reason: String,
    /// Transactions that counted and do not any more.
    pub withdrawn: u64,
    /// Transactions that did not count and do now.
    pub restored: u64,
    /// Rows they speak of.
    pub rows: u64,
}

/// Keeps the record of a recomputation.
pub(crate) fn keep_recomputed(connection: &Connection, done: &Recomputed) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO device_recomputed(at, context, compartment, writer, cause, reason, withdrawn, restored, rows)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            done.at.0 as i64,
            done.context.0,
            done.compartment.0,
            done.writer.0,
            done.cause.map(|cause| cause.0),
            done.reason,
            done.withdrawn as i64,
            done.restored as i64,
            done.rows as i64,
        ])?;
    Ok(())
}

impl Device {
    /// Rows that were made anew on this device because a verdict changed, the latest first, at most `limit`.
    pub fn recomputed(&self, limit: usize) -> Result<Vec<Recomputed>, DeviceError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT at, context, compartment, writer, cause, reason, withdrawn, restored, rows
             FROM device_recomputed ORDER BY number DESC LIMIT ?1",
        )?;
        let rows = statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            Ok(Recomputed {
                at: Millis(unsigned(row, 0)?),
                context: ContextId(row.get(1)?),
                compartment: CompartmentId(row.get(2)?),
                writer: WriterKey(row.get(3)?),
                cause: row.get::<_, Option<[u8; 32]>>(4)?.map(ControlHash),
                reason: row.get(5)?,
                withdrawn: unsigned(row, 6)?,
                restored: unsigned(row, 7)?,
                rows: unsigned(row, 8)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|value| value as u64)
}

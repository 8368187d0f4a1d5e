//! Logs, entries and heads as rows. Only positions and bytes: nothing here knows a key or a rule.

use std::collections::BTreeMap;

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{CompartmentId, ContextId, EntryCheck, EntryHash, Seq, WriterKey};
use aeroedge_log::entry::EntryRef;
use aeroedge_protocol::Frontier;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::checkpoint;

/// Local number of a log; never leaves the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogNumber(pub(crate) i64);

/// A log and how far it has come.
#[derive(Debug, Clone)]
pub(crate) struct LogRow {
    pub(crate) number: LogNumber,
    pub(crate) context: ContextId,
    pub(crate) compartment: CompartmentId,
    pub(crate) writer: WriterKey,
    /// Contiguous and chain verified.
    pub(crate) tail: Seq,
    /// Hash of the entry at the tail; zero for an empty log.
    pub(crate) tail_hash: EntryHash,
    /// Covered by a signed head.
    pub(crate) vouched: Seq,
    /// Applied to the tables, or refused for good.
    pub(crate) merged: Seq,
    /// Of the entry at `merged`.
    pub(crate) merged_hlc: Hlc,
}

/// A query for logs, with what follows FROM.
macro_rules! select_logs {
    ($rest:literal) => {
        concat!(
            "SELECT log, context, compartment, writer, tail_seq, tail_hash, vouched_seq, merged_seq, merged_hlc FROM device_log ",
            $rest
        )
    };
}

impl LogRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: LogNumber(row.get(0)?),
            context: ContextId(row.get(1)?),
            compartment: CompartmentId(row.get(2)?),
            writer: WriterKey(row.get(3)?),
            tail: Seq(unsigned(row, 4)?),
            tail_hash: EntryHash(row.get(5)?),
            vouched: Seq(unsigned(row, 6)?),
            merged: Seq(unsigned(row, 7)?),
            merged_hlc: Hlc::from_bits(unsigned(row, 8)?),
        })
    }

    /// Writes the positions back.
    pub(crate) fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "UPDATE device_log SET tail_seq = ?2, tail_hash = ?3, vouched_seq = ?4, merged_seq = ?5, merged_hlc = ?6 WHERE log = ?1",
            )?
            .execute(params![
                self.number.0,
                self.tail.0 as i64,
                self.tail_hash.0,
                self.vouched.0 as i64,
                self.merged.0 as i64,
                self.merged_hlc.to_bits() as i64
            ])?;
        Ok(())
    }

    /// Whether its end was written here and waits to be signed. What came from others is merged only below a head, so a tail of
    /// theirs never looks like this: whoever sends entries in the name of this installation must not get its signature.
    pub(crate) fn awaits_own_head(&self) -> bool {
        self.merged == self.tail && self.tail > self.vouched
    }

    /// Adds the entry after the tail. The caller has checked the chain.
    pub(crate) fn append(
        &mut self,
        connection: &Connection,
        bytes: &[u8],
        hash: EntryHash,
    ) -> rusqlite::Result<()> {
        self.tail = self.tail.next();
        self.tail_hash = hash;
        connection
            .prepare_cached("INSERT INTO device_entry(log, seq, bytes) VALUES (?1, ?2, ?3)")?
            .execute(params![self.number.0, self.tail.0 as i64, bytes])?;
        Ok(())
    }

    /// Keeps a head whose signature the caller has verified, or made.
    pub(crate) fn vouch(
        &mut self,
        connection: &Connection,
        seq: Seq,
        signature: &[u8; 64],
    ) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO device_head(log, seq, signature) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![self.number.0, seq.0 as i64, signature])?;
        self.vouched = self.vouched.max(seq);
        Ok(())
    }
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|value| value as u64)
}

/// The log of a writer in a compartment.
pub(crate) fn find(
    connection: &Connection,
    compartment: CompartmentId,
    writer: WriterKey,
) -> rusqlite::Result<Option<LogRow>> {
    connection
        .prepare_cached(select_logs!("WHERE compartment = ?1 AND writer = ?2"))?
        .query_row(params![compartment.0, writer.0], LogRow::read)
        .optional()
}

/// The log of a writer in a compartment, made empty if there is none.
pub(crate) fn find_or_start(
    connection: &Connection,
    context: ContextId,
    compartment: CompartmentId,
    writer: WriterKey,
    tag: &[u8],
) -> rusqlite::Result<LogRow> {
    if let Some(row) = find(connection, compartment, writer)? {
        return Ok(row);
    }
    connection
        .prepare_cached(
            "INSERT INTO device_log(context, compartment, writer, tag, tail_seq, tail_hash, vouched_seq, merged_seq, merged_hlc)
             VALUES (?1, ?2, ?3, ?4, 0, zeroblob(32), 0, 0, 0)",
        )?
        .execute(params![context.0, compartment.0, writer.0, tag])?;
    find(connection, compartment, writer)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

/// The log of the writer that entries of this compartment call `tag`.
pub(crate) fn find_by_tag(
    connection: &Connection,
    compartment: CompartmentId,
    tag: [u8; 8],
) -> rusqlite::Result<Option<LogRow>> {
    connection
        .prepare_cached(select_logs!(
            "WHERE compartment = ?1 AND tag = ?2 ORDER BY log LIMIT 1"
        ))?
        .query_row(params![compartment.0, tag], LogRow::read)
        .optional()
}

/// Every log of one compartment.
pub(crate) fn logs_of(
    connection: &Connection,
    compartment: CompartmentId,
) -> rusqlite::Result<Vec<LogRow>> {
    connection
        .prepare_cached(select_logs!("WHERE compartment = ?1 ORDER BY log"))?
        .query_map([compartment.0], LogRow::read)?
        .collect()
}

/// Every log of one context.
pub(crate) fn logs_in(
    connection: &Connection,
    context: ContextId,
) -> rusqlite::Result<Vec<LogRow>> {
    connection
        .prepare_cached(select_logs!("WHERE context = ?1 ORDER BY log"))?
        .query_map([context.0], LogRow::read)?
        .collect()
}

/// Every log.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<LogRow>> {
    connection
        .prepare_cached(select_logs!("ORDER BY log"))?
        .query_map([], LogRow::read)?
        .collect()
}

/// Logs that hold vouched entries the tables do not know yet.
pub(crate) fn unmerged(connection: &Connection) -> rusqlite::Result<Vec<LogRow>> {
    connection
        .prepare_cached(select_logs!("WHERE vouched_seq > merged_seq ORDER BY log"))?
        .query_map([], LogRow::read)?
        .collect()
}

/// Logs whose end was written here and is not signed yet: see [`LogRow::awaits_own_head`].
pub(crate) fn written_unsigned(connection: &Connection) -> rusqlite::Result<Vec<LogRow>> {
    connection
        .prepare_cached(select_logs!(
            "WHERE tail_seq > vouched_seq AND merged_seq = tail_seq ORDER BY log"
        ))?
        .query_map([], LogRow::read)?
        .collect()
}

/// The logs of others with entries that no head covers, and how many bytes those have, the longest first.
pub(crate) fn unvouched_tails(connection: &Connection) -> rusqlite::Result<Vec<(LogRow, i64)>> {
    connection
        .prepare_cached(
            "SELECT log, context, compartment, writer, tail_seq, tail_hash, vouched_seq, merged_seq, merged_hlc,
                    (SELECT coalesce(sum(length(bytes)), 0) FROM device_entry e WHERE e.log = l.log AND e.seq > l.vouched_seq)
             FROM device_log l WHERE tail_seq > vouched_seq AND merged_seq < tail_seq ORDER BY 10 DESC, log",
        )?
        .query_map([], |row| Ok((LogRow::read(row)?, row.get(9)?)))?
        .collect()
}

/// How much is stored of a log that no head covers.
pub(crate) fn unvouched_bytes(connection: &Connection, log: &LogRow) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "SELECT coalesce(sum(length(bytes)), 0) FROM device_entry WHERE log = ?1 AND seq > ?2",
        )?
        .query_row(params![log.number.0, log.vouched.0 as i64], |row| {
            row.get(0)
        })
}

/// Writes a row as it stands, so that a synchronous commit has something to bring to the disk.
pub(crate) fn rewrite_something(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE device_meta SET value = value WHERE name = 'device'")?
        .execute([])?;
    Ok(())
}

/// How far the logs of a compartment are vouched for: what this device offers.
pub(crate) fn frontier(
    connection: &Connection,
    compartment: CompartmentId,
) -> rusqlite::Result<Frontier> {
    connection
        .prepare_cached(
            "SELECT writer, vouched_seq FROM device_log WHERE compartment = ?1 AND vouched_seq > 0",
        )?
        .query_map([compartment.0], |row| {
            Ok((WriterKey(row.get(0)?), Seq(unsigned(row, 1)?)))
        })?
        .collect()
}

/// One entry, byte for byte.
pub(crate) fn entry(
    connection: &Connection,
    log: LogNumber,
    seq: Seq,
) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT bytes FROM device_entry WHERE log = ?1 AND seq = ?2")?
        .query_row(params![log.0, seq.0 as i64], |row| row.get(0))
        .optional()
}

/// Place of an entry in the order of arrival.
pub(crate) fn arrival(
    connection: &Connection,
    log: LogNumber,
    seq: Seq,
) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT arrival FROM device_entry WHERE log = ?1 AND seq = ?2")?
        .query_row(params![log.0, seq.0 as i64], |row| row.get(0))
        .optional()
}

/// The last head at or before `seq`.
pub(crate) fn head_within(
    connection: &Connection,
    log: LogNumber,
    seq: Seq,
) -> rusqlite::Result<Option<(Seq, [u8; 64])>> {
    connection
        .prepare_cached("SELECT seq, signature FROM device_head WHERE log = ?1 AND seq <= ?2 ORDER BY seq DESC LIMIT 1")?
        .query_row(params![log.0, seq.0 as i64], |row| Ok((Seq(unsigned(row, 0)?), row.get(1)?)))
        .optional()
}

/// Drops what no head covers, after another source told a different story. `vouched_hash` is the hash of the entry at `vouched`.
pub(crate) fn discard_unvouched(
    connection: &Connection,
    row: &mut LogRow,
    vouched_hash: EntryHash,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM device_entry WHERE log = ?1 AND seq > ?2")?
        .execute(params![row.number.0, row.vouched.0 as i64])?;
    row.tail = row.vouched;
    row.tail_hash = vouched_hash;
    row.save(connection)
}

/// What the writer of a log had merged of the others, as of its last merged entry: the highest stamp of each.
pub(crate) fn seen_by_writer(
    connection: &Connection,
    log: LogNumber,
) -> rusqlite::Result<BTreeMap<WriterKey, Hlc>> {
    connection
        .prepare_cached("SELECT l.writer, s.hlc FROM device_seen s JOIN device_log l ON l.log = s.other WHERE s.log = ?1")?
        .query_map([log.0], |row| Ok((WriterKey(row.get(0)?), Hlc::from_bits(unsigned(row, 1)?))))?
        .collect()
}

/// Keeps one line of a seen vector.
pub(crate) fn set_seen(
    connection: &Connection,
    log: LogNumber,
    other: LogNumber,
    seq: Seq,
    hlc: Hlc,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO device_seen(log, other, seq, hlc) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![log.0, other.0, seq.0 as i64, hlc.to_bits() as i64])?;
    Ok(())
}

/// The logs of which this installation has merged more than its own log `own` last said.
pub(crate) fn newly_seen(
    connection: &Connection,
    compartment: CompartmentId,
    own: LogNumber,
) -> rusqlite::Result<Vec<LogRow>> {
    connection
        .prepare_cached(select_logs!(
            "AS l WHERE compartment = ?1 AND log <> ?2 AND merged_seq > coalesce((SELECT seq FROM device_seen WHERE log = ?2 AND other = l.log), 0)"
        ))?
        .query_map(params![compartment.0, own.0], LogRow::read)?
        .collect()
}

/// The first bytes of the hash of an entry, if it is here.
pub(crate) fn check_at(
    connection: &Connection,
    log: &LogRow,
    seq: Seq,
) -> rusqlite::Result<Option<EntryCheck>> {
    if seq == log.tail {
        return Ok(Some(log.tail_hash.check()));
    }
    let Some(bytes) = entry(connection, log.number, seq)? else {
        let past = checkpoint::past(connection, log.number, seq)?;
        return Ok(past.map(|(_, check)| check));
    };
    Ok(EntryRef::parse(&bytes)
        .ok()
        .map(|entry| entry.hash().check()))
}

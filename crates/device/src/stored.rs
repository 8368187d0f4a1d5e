//! Logs, entries and heads as rows. Only positions and bytes: nothing here knows a key or a rule.

use std::collections::BTreeMap;

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{CompartmentId, ContextId, EntryCheck, EntryHash, Seq, WriterKey};
use aeroedge_log::entry::{EntryRef, Seen, WriterTag};
use aeroedge_protocol::Frontier;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::checkpoint;
use crate::verdicts::latest_stamp;

/// Local number of a log; never leaves the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogNumber(pub(crate) i64);

/// A log and how far it has come: the trunk of a writer, or a branch of it.
#[derive(Debug, Clone)]
pub(crate) struct LogRow {
    pub(crate) number: LogNumber,
    pub(crate) context: ContextId,
    pub(crate) compartment: CompartmentId,
    /// What the log is called everywhere but in its entries: the writer's key, or the name of the branch.
    pub(crate) writer: WriterKey,
    /// The key of the writer, which stands in the entries and signs the heads.
    pub(crate) signer: WriterKey,
    /// The log a branch leaves.
    pub(crate) parent: Option<LogNumber>,
    /// Where it begins.
    pub(crate) first: Seq,
    /// Contiguous and chain verified.
    pub(crate) tail: Seq,
    /// Hash of the entry at the tail; zero for an empty trunk.
    pub(crate) tail_hash: EntryHash,
    /// Covered by a signed head.
    pub(crate) vouched: Seq,
    /// Hash of the entry there.
    pub(crate) vouched_hash: EntryHash,
    /// Applied to the tables, or refused for good.
    pub(crate) merged: Seq,
    /// Of the entry at `merged`.
    pub(crate) merged_hlc: Hlc,
}

/// A query for logs, with what follows FROM.
macro_rules! select_logs {
    ($rest:literal) => {
        concat!(
            "SELECT log, context, compartment, writer, signer, parent, first_seq, tail_seq, tail_hash, vouched_seq, vouched_hash, merged_seq, merged_hlc FROM device_log ",
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
            signer: WriterKey(row.get(4)?),
            parent: row.get::<_, Option<i64>>(5)?.map(LogNumber),
            first: Seq(unsigned(row, 6)?),
            tail: Seq(unsigned(row, 7)?),
            tail_hash: EntryHash(row.get(8)?),
            vouched: Seq(unsigned(row, 9)?),
            vouched_hash: EntryHash(row.get(10)?),
            merged: Seq(unsigned(row, 11)?),
            merged_hlc: Hlc::from_bits(unsigned(row, 12)?),
        })
    }

    /// Writes the positions back.
    pub(crate) fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "UPDATE device_log SET tail_seq = ?2, tail_hash = ?3, vouched_seq = ?4, vouched_hash = ?5, merged_seq = ?6, merged_hlc = ?7 WHERE log = ?1",
            )?
            .execute(params![
                self.number.0,
                self.tail.0 as i64,
                self.tail_hash.0,
                self.vouched.0 as i64,
                self.vouched_hash.0,
                self.merged.0 as i64,
                self.merged_hlc.to_bits() as i64
            ])?;
        Ok(())
    }

    /// The position before its first entry: where a branch leaves its parent.
    pub(crate) fn base(&self) -> Seq {
        Seq(self.first.0.saturating_sub(1))
    }

    /// Whether some of it is signed. A branch of which nothing is proves nothing.
    pub(crate) fn is_proven(&self) -> bool {
        self.parent.is_none() || self.vouched >= self.first
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
        hash: EntryHash,
        signature: &[u8; 64],
    ) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO device_head(log, seq, signature) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![self.number.0, seq.0 as i64, signature])?;
        if seq > self.vouched {
            (self.vouched, self.vouched_hash) = (seq, hash);
        }
        Ok(())
    }
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|value| value as u64)
}

/// The log of this name in a compartment.
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

/// The trunk of a writer in a compartment, made empty if there is none.
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
            "INSERT INTO device_log(context, compartment, writer, signer, tag, first_seq, tail_seq, tail_hash, vouched_seq, vouched_hash, merged_seq, merged_hlc)
             VALUES (?1, ?2, ?3, ?3, ?4, 1, 0, zeroblob(32), 0, zeroblob(32), 0, 0)",
        )?
        .execute(params![context.0, compartment.0, writer.0, tag])?;
    find(connection, compartment, writer)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

/// The logs of the writers that entries of this compartment call `tag`: the trunk and its branches.
pub(crate) fn find_by_tag(
    connection: &Connection,
    compartment: CompartmentId,
    tag: [u8; 8],
) -> rusqlite::Result<Vec<LogRow>> {
    connection
        .prepare_cached(select_logs!(
            "WHERE compartment = ?1 AND tag = ?2 ORDER BY log"
        ))?
        .query_map(params![compartment.0, tag], LogRow::read)?
        .collect()
}

/// The trunk of a writer and its branches, the trunk first.
pub(crate) fn logs_of_signer(
    connection: &Connection,
    compartment: CompartmentId,
    signer: WriterKey,
) -> rusqlite::Result<Vec<LogRow>> {
    let mut logs = find_by_tag(connection, compartment, WriterTag::of(&signer).0)?;
    logs.retain(|log| log.signer == signer);
    logs.sort_by_key(|log| (log.parent.is_some(), log.number));
    Ok(logs)
}

/// A log by its number.
pub(crate) fn by_number(connection: &Connection, number: LogNumber) -> rusqlite::Result<LogRow> {
    connection
        .prepare_cached(select_logs!("WHERE log = ?1"))?
        .query_row([number.0], LogRow::read)
}

/// Of the logs of one writer that in which the entry stands that a line of `seen` names, if it is here.
pub(crate) fn find_seen<'l>(
    connection: &Connection,
    logs: &'l [LogRow],
    seen: &Seen,
) -> rusqlite::Result<Option<&'l LogRow>> {
    for log in logs {
        if seen.seq >= log.first
            && seen.seq <= log.tail
            && check_at(connection, log, seen.seq)? == Some(seen.check)
        {
            return Ok(Some(log));
        }
    }
    Ok(None)
}

/// The hash of the entry at a position of a log, or before its beginning of the logs it leaves.
pub(crate) fn hash_at(
    connection: &Connection,
    log: &LogRow,
    seq: Seq,
) -> rusqlite::Result<Option<EntryHash>> {
    if seq == log.tail {
        return Ok(Some(log.tail_hash));
    }
    if seq == log.vouched {
        return Ok(Some(log.vouched_hash));
    }
    if seq < log.first {
        return match log.parent {
            Some(parent) => hash_at(connection, &by_number(connection, parent)?, seq),
            None => Ok((seq == Seq::NONE).then_some(EntryHash([0; 32]))),
        };
    }
    Ok(entry(connection, log.number, seq)?
        .and_then(|bytes| Some(EntryRef::parse(&bytes).ok()?.hash())))
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

/// Whether a branch holds what can be merged.
pub(crate) fn any_branch_waits(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS(SELECT 1 FROM device_log l WHERE parent IS NOT NULL AND vouched_seq > merged_seq AND vouched_seq >= first_seq
             AND (SELECT merged_seq FROM device_log WHERE log = l.parent) >= first_seq - 1)",
        )?
        .query_row([], |row| row.get(0))
}

/// Logs that hold vouched entries the tables do not know yet. A branch follows the log it leaves.
pub(crate) fn unmerged(connection: &Connection) -> rusqlite::Result<Vec<LogRow>> {
    connection
        .prepare_cached(select_logs!(
            "AS l WHERE vouched_seq > merged_seq AND (parent IS NULL
             OR (vouched_seq >= first_seq AND (SELECT merged_seq FROM device_log WHERE log = l.parent) >= first_seq - 1)) ORDER BY log"
        ))?
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
            "SELECT log, context, compartment, writer, signer, parent, first_seq, tail_seq, tail_hash, vouched_seq, vouched_hash, merged_seq, merged_hlc,
                    (SELECT coalesce(sum(length(bytes)), 0) FROM device_entry e WHERE e.log = l.log AND e.seq > l.vouched_seq)
             FROM device_log l WHERE tail_seq > vouched_seq AND merged_seq < tail_seq ORDER BY 14 DESC, log",
        )?
        .query_map([], |row| Ok((LogRow::read(row)?, row.get(13)?)))?
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
            "SELECT writer, vouched_seq, vouched_hash FROM device_log WHERE compartment = ?1 AND vouched_seq >= first_seq",
        )?
        .query_map([compartment.0], |row| {
            let hash = EntryHash(row.get(2)?);
            Ok((WriterKey(row.get(0)?), Seq(unsigned(row, 1)?), hash.check()))
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

/// Drops what follows `seq`, which no head covers, after another source told a different story.
pub(crate) fn truncate(
    connection: &Connection,
    row: &mut LogRow,
    seq: Seq,
) -> rusqlite::Result<()> {
    let seq = seq.max(row.vouched);
    let hash = hash_at(connection, row, seq)?.unwrap_or(row.vouched_hash);
    connection
        .prepare_cached("DELETE FROM device_entry WHERE log = ?1 AND seq > ?2")?
        .execute(params![row.number.0, seq.0 as i64])?;
    (row.tail, row.tail_hash) = (seq, hash);
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

/// Before the first entry of a branch: its writer had seen what it had seen at the end of the log that the branch leaves, and that log.
pub(crate) fn inherit_seen(connection: &Connection, log: &LogRow) -> rusqlite::Result<()> {
    let Some(parent) = log.parent.filter(|_| log.merged == log.base()) else {
        return Ok(());
    };
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO device_seen(log, other, seq, hlc) SELECT ?1, other, seq, hlc FROM device_seen WHERE log = ?2 AND other <> ?1",
        )?
        .execute(params![log.number.0, parent.0])?;
    if log.base() > Seq::NONE {
        let parent = by_number(connection, parent)?;
        let hlc = latest_stamp(connection, &parent, log.base())?.unwrap_or(Hlc::ZERO);
        set_seen(connection, log.number, parent.number, log.base(), hlc)?;
    }
    Ok(())
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
            "AS l WHERE compartment = ?1 AND log <> ?2 AND merged_seq >= first_seq AND merged_seq > coalesce((SELECT seq FROM device_seen WHERE log = ?2 AND other = l.log), 0)"
        ))?
        .query_map(params![compartment.0, own.0], LogRow::read)?
        .collect()
}

/// The first bytes of the hash of an entry, if it is here or a state stands for it.
pub(crate) fn check_at(
    connection: &Connection,
    log: &LogRow,
    seq: Seq,
) -> rusqlite::Result<Option<EntryCheck>> {
    if let Some(hash) = hash_at(connection, log, seq)? {
        return Ok(Some(hash.check()));
    }
    let past = checkpoint::past(connection, log.number, seq)?;
    Ok(past.map(|(_, check)| check))
}

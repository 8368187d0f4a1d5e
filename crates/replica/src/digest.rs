//! A fingerprint of what a replica holds, equal on replicas that merged the same changes.
//!
//! Everything goes in by name and in canonical form: column names, not numbers; writer keys, not their local numbers; rows
//! in the order of their keys, not of their slots.

use aeroedge_crdt::life::Life;
use aeroedge_crdt::msgpack::{write_bytes, write_text, write_unsigned};
use aeroedge_crdt::value::Value;
use aeroedge_ids::WriterKey;
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use crate::Replica;
use crate::clocks::{ClockStore, Written};
use crate::conflicts::cells;
use crate::names::list;
use crate::rows::RowBytes;
use crate::slots::Slots;
use crate::storage::StorageError;
use crate::tables::Table;
use crate::writers::Writers;

/// Fingerprints of merged tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// Living rows.
    pub rows: u64,
    /// Of the rows as a reader sees them.
    pub content: [u8; 32],
    /// Of everything behind them: clocks, tombstones, open conflicts and what waits for the schema.
    pub history: [u8; 32],
}

impl Replica {
    /// The fingerprint of one merged table, or of all of them in the order of their names.
    pub fn digest(&mut self, table: Option<&str>) -> Result<Digest, StorageError> {
        let Self { connection, engine } = self;
        engine.refresh_for_reading(connection)?;
        let mut tables: Vec<_> = engine
            .tables
            .all
            .iter()
            .filter(|known| table.is_none_or(|name| known.name == name))
            .collect();
        tables.sort_by(|left, right| left.name.cmp(&right.name));
        let mut fingerprint = Fingerprint {
            connection,
            writers: &mut engine.writers,
            rows: 0,
            content: Sha256::new(),
            history: Sha256::new(),
            bytes: Vec::new(),
        };
        connection.execute_batch("SAVEPOINT replica_digest")?;
        let outcome = tables
            .into_iter()
            .try_for_each(|table| fingerprint.table(table));
        let outcome = outcome.and_then(|()| fingerprint.quarantine(table));
        let Fingerprint {
            rows,
            content,
            history,
            ..
        } = fingerprint;
        connection.execute_batch("RELEASE replica_digest")?;
        outcome?;
        Ok(Digest {
            rows,
            content: content.finalize().into(),
            history: history.finalize().into(),
        })
    }
}

struct Fingerprint<'a> {
    connection: &'a Connection,
    writers: &'a mut Writers,
    rows: u64,
    content: Sha256,
    history: Sha256,
    bytes: Vec<u8>,
}

impl Fingerprint<'_> {
    fn table(&mut self, table: &Table) -> Result<(), StorageError> {
        self.bytes.clear();
        write_text(&mut self.bytes, &table.name);
        self.content.update(&self.bytes);
        self.history.update(&self.bytes);
        self.living(table)?;
        self.dead(table)?;
        self.conflicts(table)
    }

    fn living(&mut self, table: &Table) -> Result<(), StorageError> {
        let mut by_name: Vec<usize> = (0..table.columns.len()).collect();
        by_name.sort_by(|left, right| table.columns[*left].name.cmp(&table.columns[*right].name));
        let mut clocks = ClockStore::new(self.connection, &table.sql)?;
        let mut slots = Slots::new(self.connection, &table.sql);
        let keys = list(table.key_names.iter().map(String::as_str));
        let mut statement = self
            .connection
            .prepare(&format!("{} ORDER BY {keys}", table.select()))?;
        let mut rows = statement.query([])?;
        let mut row = RowBytes::default();
        while let Some(found) = rows.next()? {
            row.fill(table, found)?;
            self.rows += 1;
            let slot = if table.without_rowid() {
                slots
                    .find(&row.key)?
                    .ok_or(StorageError::Damaged("a row has no slot"))?
            } else {
                row.slot
            };
            self.content.update(&row.key);
            let (chunk, place) = clocks.read(slot)?;
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.clear();
            bytes.extend_from_slice(&row.key);
            write_unsigned(&mut bytes, chunk.life(place));
            for &index in &by_name {
                write_text(&mut bytes, &table.columns[index].name);
                match chunk.cell(place, table.columns[index].number) {
                    None => Value::Null.write(&mut bytes),
                    Some(written) => self.stamp(&mut bytes, written)?,
                }
                self.content.update(row.value(index));
            }
            self.history.update(&bytes);
            self.bytes = bytes;
        }
        Ok(())
    }

    fn dead(&mut self, table: &Table) -> Result<(), StorageError> {
        let mut statement = self.connection.prepare(&format!(
            "SELECT key, life, hlc, writer FROM replica_grave_{} ORDER BY key",
            table.id
        ))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let mut bytes: Vec<u8> = row.get(0)?;
            write_unsigned(&mut bytes, row.get::<_, i64>(1)? as u64);
            let written = Written {
                hlc: row.get::<_, i64>(2)? as u64,
                writer: row.get(3)?,
                version: 0,
            };
            self.stamp(&mut bytes, written)?;
            self.history.update(&bytes);
        }
        Ok(())
    }

    fn conflicts(&mut self, table: &Table) -> Result<(), StorageError> {
        let mut statement = self.connection.prepare(
            "SELECT c.key, c.life, c.hlc, w.key, c.cells FROM replica_conflict AS c
             JOIN replica_writer AS w ON w.number = c.writer
             WHERE c.tbl = ?1 ORDER BY c.key, c.life, c.hlc, w.key",
        )?;
        let mut rows = statement.query([table.id])?;
        while let Some(row) = rows.next()? {
            let mut bytes: Vec<u8> = row.get(0)?;
            write_unsigned(&mut bytes, row.get::<_, i64>(1)? as u64);
            write_unsigned(&mut bytes, row.get::<_, i64>(2)? as u64);
            write_bytes(&mut bytes, &row.get::<_, [u8; 32]>(3)?);
            let packed: Vec<u8> = row.get(4)?;
            let mut named: Vec<_> = cells(&packed)
                .map(|(number, value)| (table.column_name(number), value.to_bytes()))
                .collect();
            named.sort_unstable();
            for (name, value) in named {
                write_text(&mut bytes, name);
                bytes.extend_from_slice(&value);
            }
            self.history.update(&bytes);
        }
        Ok(())
    }

    fn quarantine(&mut self, table: Option<&str>) -> Result<(), StorageError> {
        let mut statement = self.connection.prepare(
            "SELECT q.tbl, q.keys, q.key, q.col, q.life, q.hlc, w.key, q.value FROM replica_quarantine AS q
             JOIN replica_writer AS w ON w.number = q.writer
             WHERE ?1 IS NULL OR q.tbl = ?1 ORDER BY q.tbl, q.keys, q.key, q.col",
        )?;
        let mut rows = statement.query([table])?;
        while let Some(row) = rows.next()? {
            let mut bytes = Vec::new();
            write_text(&mut bytes, &row.get::<_, String>(0)?);
            write_text(&mut bytes, &row.get::<_, String>(1)?);
            bytes.extend_from_slice(&row.get::<_, Vec<u8>>(2)?);
            let column: String = row.get(3)?;
            write_text(&mut bytes, &column);
            let life = Life::from_number(row.get::<_, i64>(4)? as u64);
            write_unsigned(&mut bytes, life.number());
            // That a row lives has no stamp of its own, here as little as in a table.
            if !column.is_empty() || !life.is_alive() {
                write_unsigned(&mut bytes, row.get::<_, i64>(5)? as u64);
                write_bytes(&mut bytes, &row.get::<_, [u8; 32]>(6)?);
            }
            bytes.extend_from_slice(&row.get::<_, Vec<u8>>(7)?);
            self.history.update(&bytes);
        }
        Ok(())
    }

    fn stamp(&mut self, bytes: &mut Vec<u8>, written: Written) -> Result<(), StorageError> {
        let WriterKey(key) = self.writers.key(self.connection, written.writer)?;
        write_unsigned(bytes, written.hlc);
        write_bytes(bytes, &key);
        Ok(())
    }
}

//! The state of the merged tables, or what changed in it since a local version, as changesets with their original stamps.
//!
//! For exchange without a journal: whoever merges all of it holds equal tables afterwards. It carries no history, so the
//! receiver cannot tell concurrent edits from later ones and its conflict log stays as it is.

use aeroedge_crdt::changeset::Kind;
use aeroedge_crdt::hlc::{Hlc, Stamp};
use aeroedge_crdt::life::Life;
use rusqlite::Connection;

use crate::Replica;
use crate::clocks::{Chunk, SLOTS, Written, common_era};
use crate::encode::{EncodedRow, Encoder, PART_LENGTH, compartment_of};
use crate::merge::{MergeError, MergeOutcome};
use crate::rows::{RowBytes, RowReader};
use crate::slots::Slots;
use crate::storage::StorageError;
use crate::tables::Table;
use crate::transaction::CompartmentChanges;
use crate::writers::Writers;

/// What changed since a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The version up to which it goes: ask from here next time.
    pub version: u64,
    /// Rows in it; one that was written in several transactions counts as often.
    pub rows: u64,
    /// Changesets by compartment, for [`Merging::apply_state`](crate::Merging::apply_state), in any order.
    pub parts: Vec<CompartmentChanges>,
}

impl Replica {
    /// Everything that changed after a version; after 0 is everything.
    pub fn changes_since(&mut self, version: u64) -> Result<Changes, StorageError> {
        let Self { connection, engine } = self;
        let connection = &*connection;
        // One snapshot for all tables.
        connection.execute_batch("SAVEPOINT replica_since")?;
        let mut encoder = Encoder::new(PART_LENGTH);
        let outcome: Result<u64, StorageError> = (|| {
            engine.refresh_for_reading(connection)?;
            for table in &engine.tables.all {
                let mut export = Export::new(connection, table, &mut engine.writers, &mut encoder);
                export.rows(version)?;
                export.graves(version)?;
            }
            Ok(engine.memory.latest(connection)?.version)
        })();
        connection.execute_batch("RELEASE replica_since")?;
        Ok(Changes {
            version: outcome?,
            rows: encoder.rows,
            parts: encoder.finish(),
        })
    }
}

impl Replica {
    /// Merges the state of another replica, in one transaction.
    pub fn merge_state(&mut self, changes: &Changes) -> Result<MergeOutcome<()>, MergeError> {
        self.merging(|merging| {
            for (compartment, parts) in &changes.parts {
                for part in parts {
                    merging.apply_state(*compartment, part)?;
                }
            }
            Ok(())
        })
    }
}

struct Export<'a, 'c> {
    connection: &'c Connection,
    table: &'a Table,
    writers: &'a mut Writers,
    encoder: &'a mut Encoder,
    reader: RowReader<'c>,
    slots: Slots<'c>,
    /// The rows of one chunk.
    rows: Vec<RowBytes>,
    values: Vec<u8>,
}

impl<'a, 'c> Export<'a, 'c> {
    fn new(
        connection: &'c Connection,
        table: &'a Table,
        writers: &'a mut Writers,
        encoder: &'a mut Encoder,
    ) -> Self {
        Self {
            connection,
            table,
            writers,
            encoder,
            reader: RowReader::new(connection, table),
            slots: Slots::new(connection, &table.sql),
            rows: (0..SLOTS).map(|_| RowBytes::default()).collect(),
            values: Vec::new(),
        }
    }

    fn rows(&mut self, since: u64) -> Result<(), StorageError> {
        // A state is read in the order of the table, a little of it by way of the index.
        let some = if since == 0 {
            "+era > -1 + 0 * (?1 + ?2) ORDER BY chunk"
        } else {
            "era > ?1 OR era = ?2"
        };
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT chunk, clocks FROM replica_clock_{} WHERE {some}",
            self.table.id,
        ))?;
        let mut chunks = statement.query([since as i64, common_era(since.saturating_add(1))])?;
        while let Some(found) = chunks.next()? {
            let number: i64 = found.get(0)?;
            let chunk = Chunk::decode(found.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?;
            self.chunk(number, &chunk, since)?;
        }
        Ok(())
    }

    /// The rows of a chunk that have a cell written after `since`.
    fn chunk(&mut self, number: i64, chunk: &Chunk, since: u64) -> Result<(), StorageError> {
        let stamps = chunk
            .written()
            .iter()
            .map(|written| self.stamp(*written))
            .collect::<Result<Vec<_>, _>>()?;
        let fresh: Vec<bool> = chunk
            .written()
            .iter()
            .map(|written| written.version > since)
            .collect();
        let is_fresh = |index: usize| fresh.get(index).copied().unwrap_or(false);
        let all_numbers = &self.table.numbers;
        let concerned = |slot: usize| {
            chunk.life(slot) != 0
                && (is_fresh(chunk.base_index(slot))
                    || all_numbers
                        .iter()
                        .any(|&number| is_fresh(chunk.cell_index(slot, number))))
        };
        let wanted: Vec<bool> = (0..SLOTS).map(concerned).collect();
        let Some(first) = wanted.iter().position(|wanted| *wanted) else {
            return Ok(());
        };
        let last = wanted.iter().rposition(|wanted| *wanted).unwrap_or(first);
        let read = self.read(number, &wanted, first, last)?;

        // Rows by writing, so that neighbours share a block.
        let mut pieces: Vec<(usize, usize, Vec<u16>)> = Vec::new();
        let mut by_writing: Vec<Vec<u16>> = vec![Vec::new(); stamps.len()];
        for &slot in &read {
            let base = chunk.base_index(slot);
            if chunk.is_uniform(slot, self.table.numbers_end) {
                pieces.push((base, slot, self.table.numbers.clone()));
                continue;
            }
            for &number in &self.table.numbers {
                if let Some(columns) = by_writing.get_mut(chunk.cell_index(slot, number)) {
                    columns.push(number);
                }
            }
            for (index, columns) in by_writing.iter_mut().enumerate() {
                if is_fresh(index) && (!columns.is_empty() || index == base) {
                    pieces.push((index, slot, std::mem::take(columns)));
                } else {
                    columns.clear();
                }
            }
        }
        pieces.sort_by_key(|piece| piece.0);
        for (index, slot, columns) in pieces {
            let life = Life::from_number(chunk.life(slot));
            self.piece(slot, life, stamps[index], &columns)?;
        }
        Ok(())
    }

    /// Reads the wanted rows of a chunk; their places in it.
    fn read(
        &mut self,
        number: i64,
        wanted: &[bool],
        first: usize,
        last: usize,
    ) -> Result<Vec<usize>, StorageError> {
        let start = number << 6;
        let mut read = Vec::with_capacity(SLOTS);
        if self.table.without_rowid() {
            for place in (first..=last).filter(|&place| wanted[place]) {
                if self.reader.read(
                    self.table,
                    start + place as i64,
                    &mut self.slots,
                    &mut self.rows[place],
                )? {
                    read.push(place);
                }
            }
            return Ok(read);
        }
        let mut rows = self
            .reader
            .range(start + first as i64, start + last as i64)?;
        while let Some(row) = rows.next()? {
            let place = (row.get::<_, i64>(0)? - start) as usize;
            if wanted.get(place).copied().unwrap_or(false) {
                self.rows[place].fill(self.table, row)?;
                read.push(place);
            }
        }
        Ok(read)
    }

    fn piece(
        &mut self,
        place: usize,
        life: Life,
        stamp: Stamp,
        columns: &[u16],
    ) -> Result<(), StorageError> {
        let row = &self.rows[place];
        let values = if columns.len() == self.table.columns.len() {
            &row.values
        } else {
            self.values.clear();
            for &number in columns {
                if let Some(index) = self.table.column_index(number) {
                    self.values.extend_from_slice(row.value(index));
                }
            }
            &self.values
        };
        let Ok(compartment) = compartment_of(self.table, &row.key) else {
            return Err(StorageError::Damaged("a row names no proper compartment"));
        };
        let encoded = EncodedRow {
            kind: Kind::Write,
            life,
            stamp: Some(stamp),
            columns,
            key: &row.key,
            values,
        };
        self.encoder.row(compartment, self.table, encoded);
        Ok(())
    }

    fn graves(&mut self, since: u64) -> Result<(), StorageError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT key, life, hlc, writer FROM replica_grave_{} WHERE version > ?1",
            self.table.id
        ))?;
        let mut rows = statement.query([since as i64])?;
        while let Some(row) = rows.next()? {
            let key = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            let life = Life::from_number(row.get::<_, i64>(1)? as u64);
            let written = Written {
                hlc: row.get::<_, i64>(2)? as u64,
                writer: row.get(3)?,
                version: 0,
            };
            let stamp = self.stamp(written)?;
            let Ok(compartment) = compartment_of(self.table, key) else {
                return Err(StorageError::Damaged(
                    "a tombstone names no proper compartment",
                ));
            };
            let encoded = EncodedRow {
                kind: Kind::Delete,
                life,
                stamp: Some(stamp),
                columns: &[],
                key,
                values: &[],
            };
            self.encoder.row(compartment, self.table, encoded);
        }
        Ok(())
    }

    fn stamp(&mut self, written: Written) -> Result<Stamp, StorageError> {
        Ok(Stamp {
            hlc: Hlc::from_bits(written.hlc),
            writer: self.writers.key(self.connection, written.writer)?,
        })
    }
}

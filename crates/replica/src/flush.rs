//! The end of a local transaction: stamps what changed, and hands its content to the journal.
//!
//! A local write has seen everything that was merged before it, so it settles the open conflicts of the cells it writes.

use aeroedge_crdt::changeset::Kind;
use aeroedge_crdt::life::Life;
use rusqlite::Connection;

use crate::capture::TableCapture;
use crate::clocks::{Carried, ClockStore, Written};
use crate::conflicts::ConflictLog;
use crate::encode::{EncodedRow, Encoder, NotACompartment, compartment_of};
use crate::graves::{Grave, Graves};
use crate::memory::{Memory, TableMemory};
use crate::net::{Access, Net, effect};
use crate::quarantine;
use crate::rows::RowBytes;
use crate::storage::StorageError;
use crate::tables::Table;

/// Why a transaction cannot end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlushError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("a row's compartment column does not hold 16 bytes")]
    NotACompartment,
    #[error("a row's key is NULL or a floating-point number")]
    Key,
}

impl From<rusqlite::Error> for FlushError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.into())
    }
}

impl From<NotACompartment> for FlushError {
    fn from(_: NotACompartment) -> Self {
        Self::NotACompartment
    }
}

/// Stamps the changes of one table; the number of rows changed.
pub(crate) fn flush_table(
    connection: &Connection,
    table: &Table,
    capture: &mut TableCapture,
    trusted: bool,
    written: Written,
    encoder: Option<&mut Encoder>,
    memory: &mut Memory,
) -> Result<u64, FlushError> {
    let mut access = Access::new(connection, table);
    let TableMemory { clocks, any_grave } = memory.take(connection, table.id, &table.sql)?;
    let mut graves = Graves::with(connection, &table.sql, any_grave);
    let net = effect(&mut access, capture, trusted, any_grave)?;
    if net.is_empty() {
        memory.keep(table.id, TableMemory { clocks, any_grave });
        return Ok(0);
    }
    let mut flush = Flush {
        conflicts: ConflictLog::new(connection, table.id),
        clocks: ClockStore::with(connection, &table.sql, clocks),
        access,
        written,
        encoder,
        rows: 0,
    };
    let carried = flush.carry(&net)?;
    flush.removed(&net, &mut graves)?;
    flush.runs(&net)?;
    flush.added(&net, &mut graves)?;
    flush.updated(&net, &carried)?;
    flush.clocks.flush()?;
    let rows = flush.rows;
    let known = TableMemory {
        clocks: flush.clocks.into_memory(),
        any_grave: graves.any,
    };
    memory.keep(table.id, known);
    Ok(rows)
}

struct Flush<'a, 'c, 'e> {
    access: Access<'a, 'c>,
    clocks: ClockStore<'c>,
    conflicts: ConflictLog<'c>,
    written: Written,
    encoder: Option<&'e mut Encoder>,
    rows: u64,
}

impl Flush<'_, '_, '_> {
    /// Takes up the clocks of rows that got another slot, before anything is put down there: rows may trade slots.
    fn carry(&mut self, net: &Net) -> Result<Vec<(i64, Carried)>, FlushError> {
        let mut carried = Vec::new();
        for updated in &net.updated {
            if let Some(from) = updated.from {
                carried.push((updated.slot, self.clocks.remove(from)?));
            }
        }
        Ok(carried)
    }

    fn removed(&mut self, net: &Net, graves: &mut Graves<'_>) -> Result<(), FlushError> {
        let table = self.access.table;
        let quarantined = !net.removed.is_empty() && quarantine::any(self.access.connection)?;
        let mut dead = Vec::with_capacity(net.removed.len());
        for removed in &net.removed {
            let life = Life::from_number(self.clocks.remove(removed.slot)?.life.max(1)).died();
            if table.without_rowid() {
                self.access.slots.remove(removed.slot)?;
            }
            dead.push((&removed.key, life));
        }
        dead.sort_unstable();
        for (key, life) in dead {
            graves.put(
                key,
                Grave {
                    life: life.number(),
                    written: self.written,
                },
            )?;
            self.conflicts.close(key, None, |_, _| Ok(true))?;
            if quarantined {
                quarantine::row_died(self.access.connection, table, key, life.number())?;
            }
            self.encode(Kind::Delete, life, &[], key, &[])?;
            self.rows += 1;
        }
        Ok(())
    }

    fn runs(&mut self, net: &Net) -> Result<(), FlushError> {
        let table = self.access.table;
        for &(first, last) in &net.runs {
            self.clocks.made(
                first,
                last,
                Life::FIRST.number(),
                self.written,
                table.numbers_end,
            )?;
            self.rows += last.abs_diff(first) + 1;
            if self.encoder.is_none() {
                continue;
            }
            let mut row = RowBytes::default();
            if table.without_rowid() {
                for slot in first..=last {
                    self.access.read(slot, &mut row)?;
                    encode_whole(self.encoder.as_deref_mut(), table, Life::FIRST, &row)?;
                }
            } else {
                let mut rows = self.access.reader.range(first, last)?;
                while let Some(found) = rows.next()? {
                    row.fill(table, found)?;
                    encode_whole(self.encoder.as_deref_mut(), table, Life::FIRST, &row)?;
                }
            }
        }
        Ok(())
    }

    fn added(&mut self, net: &Net, graves: &mut Graves<'_>) -> Result<(), FlushError> {
        let table = self.access.table;
        let mut row = RowBytes::default();
        for added in &net.added {
            let mut life = Life::FIRST;
            if let Some(key) = &added.key
                && let Some(grave) = graves.get(key)?
            {
                life = Life::from_number(grave.life).born();
                graves.remove(key)?;
                self.conflicts
                    .close(key, Some(&table.numbers), |_, _| Ok(true))?;
            }
            self.clocks.made(
                added.slot,
                added.slot,
                life.number(),
                self.written,
                table.numbers_end,
            )?;
            self.rows += 1;
            if self.encoder.is_some() {
                self.access.read(added.slot, &mut row)?;
                encode_whole(self.encoder.as_deref_mut(), table, life, &row)?;
            }
        }
        Ok(())
    }

    fn updated(&mut self, net: &Net, carried: &[(i64, Carried)]) -> Result<(), FlushError> {
        for (slot, clock) in carried {
            self.clocks.put(*slot, clock)?;
        }
        let mut row = RowBytes::default();
        let mut values = Vec::new();
        let table = self.access.table;
        for updated in &net.updated {
            let columns = &net.column_sets[updated.columns];
            if columns.is_empty() {
                continue;
            }
            self.clocks.wrote(updated.slot, columns, self.written)?;
            self.rows += 1;
            if self.encoder.is_none() && !self.conflicts.any()? {
                continue;
            }
            self.access.read(updated.slot, &mut row)?;
            self.conflicts
                .close(&row.key, Some(columns), |_, _| Ok(true))?;
            if self.encoder.is_some() {
                let (chunk, place) = self.clocks.read(updated.slot)?;
                let life = Life::from_number(chunk.life(place));
                values.clear();
                for &number in columns {
                    if let Some(index) = table.column_index(number) {
                        values.extend_from_slice(row.value(index));
                    }
                }
                self.encode(Kind::Write, life, columns, &row.key, &values)?;
            }
        }
        Ok(())
    }

    fn encode(
        &mut self,
        kind: Kind,
        life: Life,
        columns: &[u16],
        key: &[u8],
        values: &[u8],
    ) -> Result<(), FlushError> {
        if let Some(encoder) = &mut self.encoder {
            let compartment = compartment_of(self.access.table, key)?;
            encoder.row(
                compartment,
                self.access.table,
                EncodedRow {
                    kind,
                    life,
                    stamp: None,
                    columns,
                    key,
                    values,
                },
            );
        }
        Ok(())
    }
}

/// Encodes a row with all its columns.
pub(crate) fn encode_whole(
    encoder: Option<&mut Encoder>,
    table: &Table,
    life: Life,
    row: &RowBytes,
) -> Result<(), FlushError> {
    if let Some(encoder) = encoder {
        if row.bad_key {
            return Err(FlushError::Key);
        }
        let compartment = compartment_of(table, &row.key)?;
        let whole = EncodedRow {
            kind: Kind::Write,
            life,
            stamp: None,
            columns: &table.numbers,
            key: &row.key,
            values: &row.values,
        };
        encoder.row(compartment, table, whole);
    }
    Ok(())
}

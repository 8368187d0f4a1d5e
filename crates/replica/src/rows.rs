//! Reads rows of a merged table by slot or by key, as canonical bytes.

use aeroedge_crdt::changeset::Values;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Rows};

use crate::slots::Slots;
use crate::statements::Lazy;
use crate::storage::StorageError;
use crate::tables::Table;
use crate::values::{Bound, to_value};

/// A row as canonical bytes.
#[derive(Debug, Default, Clone)]
pub(crate) struct RowBytes {
    pub(crate) slot: i64,
    pub(crate) key: Vec<u8>,
    /// All other columns, one after the other.
    pub(crate) values: Vec<u8>,
    /// Where each of them ends.
    pub(crate) ends: Vec<usize>,
    /// Whether the key holds NULL or a floating-point number, and therefore names nothing.
    pub(crate) bad_key: bool,
}

impl RowBytes {
    /// The canonical form of one column, by its place among the others.
    pub(crate) fn value(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.values[start..self.ends[index]]
    }

    /// Takes over what [`Table::select`] returned.
    pub(crate) fn fill(&mut self, table: &Table, row: &Row<'_>) -> Result<(), rusqlite::Error> {
        self.slot = row.get(0)?;
        self.key.clear();
        self.values.clear();
        self.ends.clear();
        let keys = table.key_names.len();
        self.bad_key = false;
        for index in 0..keys {
            let value = row.get_ref(1 + index)?;
            self.bad_key |= matches!(value, ValueRef::Null | ValueRef::Real(_));
            to_value(value).write(&mut self.key);
        }
        for index in 0..table.columns.len() {
            to_value(row.get_ref(1 + keys + index)?).write(&mut self.values);
            self.ends.push(self.values.len());
        }
        Ok(())
    }
}

/// Reads rows of one table.
#[derive(Debug)]
pub(crate) struct RowReader<'c> {
    one: Lazy<'c>,
    range: Lazy<'c>,
    by_key: bool,
}

impl<'c> RowReader<'c> {
    pub(crate) fn new(connection: &'c Connection, table: &Table) -> Self {
        Self {
            one: Lazy::new(connection, &table.sql.read_one),
            range: Lazy::new(connection, &table.sql.read_range),
            by_key: table.without_rowid(),
        }
    }

    /// Reads the row in a slot; false when there is none.
    pub(crate) fn read(
        &mut self,
        table: &Table,
        slot: i64,
        slots: &mut Slots<'_>,
        into: &mut RowBytes,
    ) -> Result<bool, StorageError> {
        let statement = self.one.get()?;
        if self.by_key {
            let key = slots.key(slot)?;
            for (index, value) in Values::of(&key).enumerate() {
                statement.raw_bind_parameter(index + 1, Bound(value))?;
            }
        } else {
            statement.raw_bind_parameter(1, slot)?;
        }
        let mut rows = statement.raw_query();
        let Some(row) = rows.next()? else {
            return Ok(false);
        };
        into.fill(table, row)?;
        into.slot = slot;
        Ok(true)
    }

    /// The rows of a range of slots in order. Not for tables WITHOUT ROWID.
    pub(crate) fn range(&mut self, first: i64, last: i64) -> Result<Rows<'_>, StorageError> {
        let statement = self.range.get()?;
        statement.raw_bind_parameter(1, first)?;
        statement.raw_bind_parameter(2, last)?;
        Ok(statement.raw_query())
    }
}

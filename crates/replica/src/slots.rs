//! Numbers that stand for the keys of a table WITHOUT ROWID, so that its clocks can be kept like those of any other.

use rusqlite::{Connection, OptionalExtension};

use crate::statements::{Lazy, TableSql};
use crate::storage::StorageError;

/// The slots of one table.
#[derive(Debug)]
pub(crate) struct Slots<'c> {
    by_key: Lazy<'c>,
    by_slot: Lazy<'c>,
    insert: Lazy<'c>,
    delete: Lazy<'c>,
    connection: &'c Connection,
}

impl<'c> Slots<'c> {
    pub(crate) fn new(connection: &'c Connection, sql: &TableSql) -> Self {
        Self {
            by_key: Lazy::new(connection, &sql.slot_by_key),
            by_slot: Lazy::new(connection, &sql.slot_by_slot),
            insert: Lazy::new(connection, &sql.slot_insert),
            delete: Lazy::new(connection, &sql.slot_delete),
            connection,
        }
    }

    /// The slot of a key, if it has one.
    pub(crate) fn find(&mut self, key: &[u8]) -> Result<Option<i64>, StorageError> {
        Ok(self
            .by_key
            .get()?
            .query_row([key], |row| row.get(0))
            .optional()?)
    }

    /// The slot of a key, made if it had none.
    pub(crate) fn find_or_make(&mut self, key: &[u8]) -> Result<i64, StorageError> {
        if let Some(slot) = self.find(key)? {
            return Ok(slot);
        }
        self.insert.get()?.execute([key])?;
        Ok(self.connection.last_insert_rowid())
    }

    /// The key of a slot.
    pub(crate) fn key(&mut self, slot: i64) -> Result<Vec<u8>, StorageError> {
        self.by_slot
            .get()?
            .query_row([slot], |row| row.get(0))
            .optional()?
            .ok_or(StorageError::Damaged("a slot stands for no key"))
    }

    pub(crate) fn remove(&mut self, slot: i64) -> Result<(), StorageError> {
        self.delete.get()?.execute([slot])?;
        Ok(())
    }
}

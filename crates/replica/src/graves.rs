//! Tombstones: which keys of a table are dead, in which life, and by whose hand.

use rusqlite::{Connection, OptionalExtension};

use crate::clocks::Written;
use crate::statements::{Lazy, TableSql};
use crate::storage::StorageError;

/// A dead row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grave {
    pub(crate) life: u64,
    pub(crate) written: Written,
}

/// The tombstones of one table.
#[derive(Debug)]
pub(crate) struct Graves<'c> {
    select: Lazy<'c>,
    put: Lazy<'c>,
    delete: Lazy<'c>,
    /// Nothing needs to be looked up while there is none.
    pub(crate) any: bool,
}

/// Whether a table has any tombstone.
pub(crate) fn any(connection: &Connection, sql: &TableSql) -> Result<bool, StorageError> {
    Ok(connection
        .prepare_cached(sql.grave_any.as_str())?
        .query_row([], |row| row.get(0))?)
}

impl<'c> Graves<'c> {
    pub(crate) fn new(connection: &'c Connection, sql: &TableSql) -> Result<Self, StorageError> {
        Ok(Self::with(connection, sql, any(connection, sql)?))
    }

    /// For a table of which it is known whether it has any tombstone.
    pub(crate) fn with(connection: &'c Connection, sql: &TableSql, any: bool) -> Self {
        Self {
            select: Lazy::new(connection, &sql.grave_select),
            put: Lazy::new(connection, &sql.grave_put),
            delete: Lazy::new(connection, &sql.grave_delete),
            any,
        }
    }

    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Option<Grave>, StorageError> {
        if !self.any {
            return Ok(None);
        }
        let found = self.select.get()?.query_row([key], |row| {
            Ok(Grave {
                life: row.get::<_, i64>(0)? as u64,
                written: Written {
                    hlc: row.get::<_, i64>(1)? as u64,
                    writer: row.get(2)?,
                    version: row.get::<_, i64>(3)? as u64,
                },
            })
        });
        Ok(found.optional()?)
    }

    pub(crate) fn put(&mut self, key: &[u8], grave: Grave) -> Result<(), StorageError> {
        self.any = true;
        let Written {
            hlc,
            writer,
            version,
        } = grave.written;
        self.put
            .get()?
            .execute((key, grave.life as i64, hlc as i64, writer, version as i64))?;
        Ok(())
    }

    pub(crate) fn remove(&mut self, key: &[u8]) -> Result<(), StorageError> {
        self.delete.get()?.execute([key])?;
        Ok(())
    }
}

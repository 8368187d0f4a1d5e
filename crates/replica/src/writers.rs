//! Writers by local number: a clock names its writer with one byte instead of thirty-two.

use std::collections::BTreeMap;

use aeroedge_ids::WriterKey;
use rusqlite::{Connection, OptionalExtension};

use crate::storage::StorageError;

/// The writers met so far. Numbers are never reused, but a rolled back transaction may take one back: forget all then.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    number_by_key: BTreeMap<WriterKey, u32>,
    key_by_number: BTreeMap<u32, WriterKey>,
}

impl Writers {
    /// The number of a writer, given on first sight.
    pub(crate) fn number(
        &mut self,
        connection: &Connection,
        key: WriterKey,
    ) -> Result<u32, StorageError> {
        if let Some(&number) = self.number_by_key.get(&key) {
            return Ok(number);
        }
        let known = connection
            .prepare_cached("SELECT number FROM replica_writer WHERE key = ?1")?
            .query_row([key.as_bytes()], |row| row.get(0))
            .optional()?;
        let number = if let Some(number) = known {
            number
        } else {
            connection.execute(
                "INSERT INTO replica_writer(key) VALUES (?1)",
                [key.as_bytes()],
            )?;
            u32::try_from(connection.last_insert_rowid())
                .map_err(|_| StorageError::Damaged("a writer number is too great"))?
        };
        self.number_by_key.insert(key, number);
        self.key_by_number.insert(number, key);
        Ok(number)
    }

    /// The writer with a number.
    pub(crate) fn key(
        &mut self,
        connection: &Connection,
        number: u32,
    ) -> Result<WriterKey, StorageError> {
        if let Some(&key) = self.key_by_number.get(&number) {
            return Ok(key);
        }
        let bytes: Option<[u8; 32]> = connection
            .prepare_cached("SELECT key FROM replica_writer WHERE number = ?1")?
            .query_row([number], |row| row.get(0))
            .optional()?;
        let key = WriterKey(bytes.ok_or(StorageError::Damaged("a clock names an unknown writer"))?);
        self.number_by_key.insert(key, number);
        self.key_by_number.insert(number, key);
        Ok(key)
    }

    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

//! The latest stamp, the local version, and how far each writer was merged.

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{CompartmentId, WriterKey};
use rusqlite::{Connection, OptionalExtension};

use crate::storage::StorageError;
use crate::tables::Table;

/// What every transaction of the engine reads at its beginning and moves on at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    /// The latest stamp written or seen.
    pub(crate) hlc: Hlc,
    /// Grows by one with every transaction of the engine that changes something.
    pub(crate) version: u64,
}

/// Where the state stands among the clocks of a table: behind all chunks.
pub(crate) const STATE_CHUNK: i64 = i64::MAX;

impl State {
    /// The latest of all places in which a state is written.
    pub(crate) fn load(connection: &Connection) -> Result<Self, StorageError> {
        let state = connection
            .prepare_cached("SELECT hlc, version FROM replica_state WHERE id = 1")?
            .query_row([], |row| {
                Ok(Self {
                    hlc: Hlc::from_bits(row.get::<_, i64>(0)? as u64),
                    version: row.get::<_, i64>(1)? as u64,
                })
            })
            .optional()?;
        let mut state = state.ok_or(StorageError::Damaged("the state is missing"))?;
        let mut statement = connection.prepare_cached("SELECT id FROM replica_table")?;
        let tables: Vec<i64> = statement
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for table in tables {
            let beside = connection
                .prepare_cached(&format!(
                    "SELECT clocks FROM replica_clock_{table} WHERE chunk = {STATE_CHUNK}"
                ))?
                .query_row([], |row| row.get::<_, [u8; 16]>(0))
                .optional()?;
            if let Some(beside) = beside.map(Self::from_bytes)
                && beside.version > state.version
            {
                state = beside;
            }
        }
        Ok(state)
    }

    /// Writes the state beside the clocks of a table that the transaction changed: a page that is written anyway, while one
    /// more page would cost a small transaction as much as its row.
    pub(crate) fn store(
        self,
        connection: &Connection,
        table: Option<&Table>,
    ) -> Result<(), StorageError> {
        let Some(table) = table else {
            connection
                .prepare_cached("UPDATE replica_state SET hlc = ?1, version = ?2 WHERE id = 1")?
                .execute((self.hlc.to_bits() as i64, self.version as i64))?;
            return Ok(());
        };
        let bytes = self.to_bytes();
        let updated = connection
            .prepare_cached(table.sql.state_update.as_str())?
            .execute([bytes])?;
        if updated == 0 {
            // An era before all others keeps it out of every export.
            connection.execute(
                &format!("INSERT INTO replica_clock_{}(chunk, era, clocks) VALUES ({STATE_CHUNK}, -1, ?1)", table.id),
                [bytes],
            )?;
        }
        Ok(())
    }

    fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.hlc.to_bits()) << 64 | u128::from(self.version)).to_be_bytes()
    }

    fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        Self {
            hlc: Hlc::from_bits((both >> 64) as u64),
            version: both as u64,
        }
    }
}

/// How far the changesets of one writer were merged in one compartment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Reached {
    pub(crate) hlc: Hlc,
    pub(crate) part: u32,
}

fn compartment_bytes(compartment: Option<&CompartmentId>) -> &[u8] {
    compartment.map_or(&[], |compartment| compartment.as_bytes())
}

/// How far a writer was merged.
pub(crate) fn reached(
    connection: &Connection,
    writer: u32,
    compartment: Option<&CompartmentId>,
) -> Result<Option<Reached>, StorageError> {
    let found = connection
        .prepare_cached(
            "SELECT hlc, part FROM replica_frontier WHERE writer = ?1 AND compartment = ?2",
        )?
        .query_row((writer, compartment_bytes(compartment)), |row| {
            Ok(Reached {
                hlc: Hlc::from_bits(row.get::<_, i64>(0)? as u64),
                part: row.get(1)?,
            })
        })
        .optional()?;
    Ok(found)
}

/// Notes how far a writer was merged.
pub(crate) fn set_reached(
    connection: &Connection,
    writer: u32,
    compartment: Option<&CompartmentId>,
    reached: Reached,
) -> Result<(), StorageError> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO replica_frontier(writer, compartment, hlc, part) VALUES (?1, ?2, ?3, ?4)")?
        .execute((writer, compartment_bytes(compartment), reached.hlc.to_bits() as i64, reached.part))?;
    Ok(())
}

/// The latest stamp merged from every writer in a compartment.
pub(crate) fn frontier(
    connection: &Connection,
    compartment: Option<&CompartmentId>,
) -> Result<Vec<(WriterKey, Hlc)>, StorageError> {
    let mut statement = connection.prepare_cached(
        "SELECT w.key, f.hlc FROM replica_frontier AS f JOIN replica_writer AS w ON w.number = f.writer
         WHERE f.compartment = ?1 ORDER BY w.key",
    )?;
    let rows = statement.query_map([compartment_bytes(compartment)], |row| {
        Ok((
            WriterKey(row.get(0)?),
            Hlc::from_bits(row.get::<_, i64>(1)? as u64),
        ))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets how far writers were merged in a compartment.
pub(crate) fn forget_reached(
    connection: &Connection,
    compartment: Option<&CompartmentId>,
) -> Result<(), StorageError> {
    connection
        .prepare_cached("DELETE FROM replica_frontier WHERE compartment = ?1")?
        .execute([compartment_bytes(compartment)])?;
    Ok(())
}

//! Who wrote the cells of one row and when, and which rows of a table changed since a local version.
//!
//! For applications that act on what was merged, such as carrying an edit to another row. It only reads, and outside of a
//! transaction its answer is of one moment: another program may write right afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use aeroedge_crdt::changeset::Values;
use aeroedge_crdt::hlc::{Hlc, Stamp};
use aeroedge_crdt::life::Life;
use rusqlite::types::Value;
use rusqlite::{Connection, Row};

use crate::Replica;
use crate::clocks::{Chunk, ClockStore, SLOTS, Written, common_era};
use crate::graves::Graves;
use crate::names::{list, quoted};
use crate::slots::Slots;
use crate::state::State;
use crate::storage::StorageError;
use crate::tables::{self, Table};
use crate::values::{owned_value, owned_values, to_value};

/// The clocks of one row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowStamps {
    /// How often it was made and deleted.
    pub life: Life,
    /// When and by whom its columns were last written; a column that no one ever wrote is not among them.
    pub stamp_by_column: BTreeMap<String, Stamp>,
    /// When and by whom it was deleted, if it is.
    pub deleted: Option<Stamp>,
}

/// Which rows of a table changed since a version.
#[derive(Debug, Clone, PartialEq)]
pub struct RowsSince {
    /// The version up to which it goes: ask from here next time.
    pub version: u64,
    /// Key values, in key order, of the rows that were written or deleted; none if there are more than were asked for.
    pub keys: Option<Vec<Vec<Value>>>,
}

impl Replica {
    /// The clocks of the row with these key values, in key order. None if nobody ever made it, or its table does not merge.
    pub fn row_stamps(
        &self,
        table: &str,
        key: &[Value],
    ) -> Result<Option<RowStamps>, StorageError> {
        self.in_snapshot(table, |connection, table| {
            let sql = table.sql.find.as_str();
            let mut find = connection.prepare_cached(sql)?;
            let mut found = find.query(rusqlite::params_from_iter(key))?;
            let slot: Option<i64> = found.next()?.map(|row| row.get(0)).transpose()?;
            let bytes = key_bytes(key);
            match slot {
                Some(slot) if !table.without_rowid() => living(connection, table, slot).map(Some),
                Some(_) => {
                    let slot = Slots::new(connection, &table.sql)
                        .find(&bytes)?
                        .ok_or(StorageError::Damaged("a row has no slot"))?;
                    living(connection, table, slot).map(Some)
                }
                None => dead(connection, table, &bytes),
            }
        })
        .map(|(_, stamps)| stamps.flatten())
    }

    /// The rows of a table that were written or deleted after a local version, in no particular order; those of a table
    /// that does not merge are none. Gives up, and says so, when there are more than `limit`.
    pub fn rows_since(
        &self,
        table: &str,
        version: u64,
        limit: usize,
    ) -> Result<RowsSince, StorageError> {
        let (version, keys) = self.in_snapshot(table, |connection, table| {
            let mut changed = Changed {
                keys: Vec::new(),
                limit,
            };
            let complete = changed.living(connection, table, version)?
                && changed.dead(connection, table, version)?;
            Ok(complete.then_some(changed.keys))
        })?;
        Ok(RowsSince {
            version,
            keys: keys.unwrap_or_else(|| Some(Vec::new())),
        })
    }

    /// Reads a merged table and the local version as of one moment. None if the table does not merge.
    fn in_snapshot<T>(
        &self,
        table: &str,
        read: impl FnOnce(&Connection, &Table) -> Result<T, StorageError>,
    ) -> Result<(u64, Option<T>), StorageError> {
        let connection = &self.connection;
        connection.execute_batch("SAVEPOINT replica_stamps")?;
        let outcome = (|| {
            let table = self.table_as_of_now(table)?;
            let outcome = table.map(|table| read(connection, &table)).transpose()?;
            Ok((State::load(connection)?.version, outcome))
        })();
        connection.execute_batch("RELEASE replica_stamps")?;
        outcome
    }

    fn table_as_of_now(&self, name: &str) -> Result<Option<Arc<Table>>, StorageError> {
        let of = |tables: &tables::Tables| {
            tables
                .by_name(name)
                .map(|index| Arc::clone(&tables.all[index]))
        };
        if tables::schema_version(&self.connection)? == self.engine.tables.schema_version {
            return Ok(of(&self.engine.tables));
        }
        match tables::load(&self.connection)? {
            Ok(tables) => Ok(of(&tables)),
            Err(_) => Err(StorageError::Damaged(
                "a merged table was changed so that it no longer fits",
            )),
        }
    }
}

fn key_bytes(key: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in key {
        to_value(value.into()).write(&mut bytes);
    }
    bytes
}

fn living(connection: &Connection, table: &Table, slot: i64) -> Result<RowStamps, StorageError> {
    let mut clocks = ClockStore::new(connection, &table.sql)?;
    let (chunk, place) = clocks.read(slot)?;
    let mut stamp_by_column = BTreeMap::new();
    for column in &table.columns {
        if let Some(written) = chunk.cell(place, column.number) {
            stamp_by_column.insert(column.name.clone(), stamp_of(connection, written)?);
        }
    }
    Ok(RowStamps {
        life: Life::from_number(chunk.life(place)),
        stamp_by_column,
        deleted: None,
    })
}

fn dead(
    connection: &Connection,
    table: &Table,
    key: &[u8],
) -> Result<Option<RowStamps>, StorageError> {
    let grave = Graves::new(connection, &table.sql)?.get(key)?;
    grave
        .map(|grave| {
            Ok(RowStamps {
                life: Life::from_number(grave.life),
                stamp_by_column: BTreeMap::new(),
                deleted: Some(stamp_of(connection, grave.written)?),
            })
        })
        .transpose()
}

fn stamp_of(connection: &Connection, written: Written) -> Result<Stamp, StorageError> {
    let key: [u8; 32] = connection
        .prepare_cached("SELECT key FROM replica_writer WHERE number = ?1")?
        .query_row([written.writer], |row| row.get(0))?;
    Ok(Stamp {
        hlc: Hlc::from_bits(written.hlc),
        writer: key.into(),
    })
}

/// Collects keys until there are too many.
struct Changed {
    keys: Vec<Vec<Value>>,
    limit: usize,
}

impl Changed {
    /// False if there are too many.
    fn add(&mut self, key: Vec<Value>) -> bool {
        self.keys.push(key);
        self.keys.len() <= self.limit
    }

    fn living(
        &mut self,
        connection: &Connection,
        table: &Table,
        since: u64,
    ) -> Result<bool, StorageError> {
        let mut slots = Slots::new(connection, &table.sql);
        let keys = list(table.key_names.iter().map(String::as_str));
        let rowid = &table.shape.rowid;
        let range = (!table.without_rowid()).then(|| {
            format!(
                "SELECT {rowid},{keys} FROM {} WHERE {rowid} BETWEEN ?1 AND ?2",
                quoted(&table.name)
            )
        });
        let mut chunks = connection.prepare_cached(&format!(
            "SELECT chunk, clocks FROM replica_clock_{} WHERE era > ?1 OR era = ?2",
            table.id
        ))?;
        let eras = [since as i64, common_era(since.saturating_add(1))];
        let mut chunks = chunks.query(eras)?;
        while let Some(found) = chunks.next()? {
            let first = found.get::<_, i64>(0)? << 6;
            let bytes = found.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            let changed = changed_in(&Chunk::decode(bytes)?, table, since);
            let Some(range) = &range else {
                for place in (0..SLOTS).filter(|&place| changed[place]) {
                    let key = slots.key(first + place as i64)?;
                    if !self.add(owned_values(Values::of(&key))) {
                        return Ok(false);
                    }
                }
                continue;
            };
            if !changed.contains(&true) {
                continue;
            }
            let mut rows = connection.prepare_cached(range)?;
            let mut rows = rows.query([first, first + (SLOTS as i64 - 1)])?;
            while let Some(row) = rows.next()? {
                let place = (row.get::<_, i64>(0)? - first) as usize;
                if changed.get(place).copied().unwrap_or(false)
                    && !self.add(key_of(row, table.key_names.len())?)
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn dead(
        &mut self,
        connection: &Connection,
        table: &Table,
        since: u64,
    ) -> Result<bool, StorageError> {
        let mut graves = connection.prepare_cached(&format!(
            "SELECT key FROM replica_grave_{} WHERE version > ?1",
            table.id
        ))?;
        let mut graves = graves.query([since as i64])?;
        while let Some(grave) = graves.next()? {
            let key = grave.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            if !self.add(owned_values(Values::of(key))) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Which rows of a chunk have a cell that was written after `since`.
fn changed_in(chunk: &Chunk, table: &Table, since: u64) -> [bool; SLOTS] {
    let fresh: Vec<bool> = chunk
        .written()
        .iter()
        .map(|written| written.version > since)
        .collect();
    let is_fresh = |index: usize| fresh.get(index).copied().unwrap_or(false);
    std::array::from_fn(|slot| {
        chunk.life(slot) != 0
            && (is_fresh(chunk.base_index(slot))
                || table
                    .numbers
                    .iter()
                    .any(|&number| is_fresh(chunk.cell_index(slot, number))))
    })
}

fn key_of(row: &Row<'_>, columns: usize) -> Result<Vec<Value>, rusqlite::Error> {
    (0..columns)
        .map(|index| Ok(owned_value(to_value(row.get_ref(1 + index)?))))
        .collect()
}

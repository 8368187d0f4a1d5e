//! What the local schema cannot hold yet: cells of unknown tables and columns, and values that a column refuses.
//!
//! They are kept with their clocks and merge here by the same order, until the schema gains what they need. Nothing is
//! dropped and nothing stops because of them. An entry with an empty column name speaks of the row itself.

use aeroedge_crdt::changeset::Values;
use aeroedge_crdt::life::Life;
use aeroedge_crdt::value::Value;
use rusqlite::{Connection, OptionalExtension};

use crate::clocks::Written;
use crate::storage::StorageError;
use crate::tables::{Table, Tables};
use crate::values::{owned_value, owned_values};

/// A cell that waits for the schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Quarantined {
    /// The table it is for.
    pub table: String,
    /// Values of the key columns, in key order.
    pub key: Vec<rusqlite::types::Value>,
    /// The column it is for; empty when it only says that the row lives or is dead.
    pub column: String,
    /// The value; NULL where the entry speaks of the row.
    pub value: rusqlite::types::Value,
}

/// A cell or row on its way into quarantine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting<'a> {
    pub(crate) table: &'a str,
    pub(crate) keys: &'a str,
    pub(crate) key: &'a [u8],
    pub(crate) column: &'a str,
    pub(crate) life: u64,
    pub(crate) value: &'a [u8],
}

/// Whether anything waits at all.
pub(crate) fn any(connection: &Connection) -> Result<bool, rusqlite::Error> {
    connection
        .prepare_cached("SELECT EXISTS(SELECT 1 FROM replica_quarantine)")?
        .query_row([], |row| row.get(0))
}

/// The names of key columns as the table of waiting cells has them.
pub(crate) fn joined_names<N: AsRef<str>>(names: &[N]) -> String {
    names
        .iter()
        .flat_map(|name| [name.as_ref(), "\n"])
        .collect()
}

/// Keeps a cell if it beats what already waits in its place. `beats` compares (life, stamp) of new and old; equal
/// stamps leave the greater value.
pub(crate) fn keep(
    connection: &Connection,
    waiting: Waiting<'_>,
    written: Written,
    mut writer_less: impl FnMut(u32, u32) -> Result<bool, StorageError>,
) -> Result<(), StorageError> {
    let Waiting {
        table,
        keys,
        key,
        column,
        life,
        value,
    } = waiting;
    let known = connection
        .prepare_cached(
            "SELECT life, hlc, writer, value FROM replica_quarantine WHERE tbl = ?1 AND keys = ?2 AND key = ?3 AND col = ?4",
        )?
        .query_row((table, keys, key, column), |row| {
            let (life, hlc): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok((life as u64, hlc as u64, row.get::<_, u32>(2)?, row.get::<_, Vec<u8>>(3)?))
        })
        .optional()?;
    if let Some((known_life, known_hlc, known_writer, known_value)) = known {
        let order = (life, written.hlc).cmp(&(known_life, known_hlc));
        let loses = match order {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Greater => false,
            std::cmp::Ordering::Equal if written.writer == known_writer => {
                value <= known_value.as_slice()
            }
            std::cmp::Ordering::Equal => writer_less(written.writer, known_writer)?,
        };
        if loses {
            return Ok(());
        }
    }
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO replica_quarantine(tbl, keys, key, col, life, hlc, writer, version, value)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute((
            table,
            keys,
            key,
            column,
            life as i64,
            written.hlc as i64,
            written.writer,
            written.version as i64,
            value,
        ))?;
    Ok(())
}

/// The life that waiting entries give to a row; 0 when they know nothing of it.
pub(crate) fn life_of(
    connection: &Connection,
    table: &str,
    keys: &str,
    key: &[u8],
) -> Result<u64, StorageError> {
    let life: Option<i64> = connection
        .prepare_cached(
            "SELECT max(life) FROM replica_quarantine WHERE tbl = ?1 AND keys = ?2 AND key = ?3",
        )?
        .query_row((table, keys, key), |row| row.get(0))?;
    Ok(life.unwrap_or(0) as u64)
}

/// Drops whatever waits for a row.
pub(crate) fn forget(
    connection: &Connection,
    table: &str,
    keys: &str,
    key: &[u8],
) -> Result<(), StorageError> {
    connection
        .prepare_cached("DELETE FROM replica_quarantine WHERE tbl = ?1 AND keys = ?2 AND key = ?3")?
        .execute((table, keys, key))?;
    Ok(())
}

/// Drops the cells of shorter lives.
pub(crate) fn drop_shorter(
    connection: &Connection,
    table: &str,
    keys: &str,
    key: &[u8],
    life: u64,
) -> Result<(), StorageError> {
    connection
        .prepare_cached("DELETE FROM replica_quarantine WHERE tbl = ?1 AND keys = ?2 AND key = ?3 AND life < ?4")?
        .execute((table, keys, key, life as i64))?;
    Ok(())
}

/// A row of a known table died: its waiting cells go with it.
pub(crate) fn row_died(
    connection: &Connection,
    table: &Table,
    key: &[u8],
    life: u64,
) -> Result<(), StorageError> {
    drop_shorter(
        connection,
        &table.name,
        &joined_names(&table.key_names),
        key,
        life,
    )
}

/// An entry taken out of quarantine.
#[derive(Debug)]
pub(crate) struct Released {
    pub(crate) table: String,
    /// Names of its key columns, each followed by a line feed.
    pub(crate) keys: String,
    pub(crate) key: Vec<u8>,
    pub(crate) column: String,
    pub(crate) life: Life,
    pub(crate) hlc: u64,
    pub(crate) writer: u32,
    pub(crate) value: Vec<u8>,
}

/// Takes out the entries that the tables can hold now, those that speak of rows before those of their cells.
pub(crate) fn take_ready(
    connection: &Connection,
    tables: &Tables,
) -> Result<Vec<Released>, StorageError> {
    let ready = ready(connection, tables)?;
    for entry in &ready {
        connection
            .prepare_cached("DELETE FROM replica_quarantine WHERE tbl = ?1 AND keys = ?2 AND key = ?3 AND col = ?4")?
            .execute((&entry.table, &entry.keys, &entry.key, &entry.column))?;
    }
    Ok(ready)
}

/// The entries that the tables can hold now.
pub(crate) fn ready(
    connection: &Connection,
    tables: &Tables,
) -> Result<Vec<Released>, StorageError> {
    let mut ready = Vec::new();
    if !any(connection)? {
        return Ok(ready);
    }
    for table in &tables.all {
        let keys = joined_names(&table.key_names);
        let mut statement = connection.prepare(
            "SELECT key, col, life, hlc, writer, value FROM replica_quarantine WHERE tbl = ?1 AND keys = ?2 ORDER BY key, col",
        )?;
        let mut rows = statement.query((&table.name, &keys))?;
        while let Some(row) = rows.next()? {
            let column: String = row.get(1)?;
            let value: Vec<u8> = row.get(5)?;
            let key: Vec<u8> = row.get(0)?;
            let keeps_key = Values::of(&key)
                .enumerate()
                .all(|(place, value)| table.keeps_key(place, value));
            let fits = column.is_empty()
                || table.columns.iter().any(|known| {
                    known.name == column
                        && Value::read(&mut value.as_slice())
                            .is_ok_and(|value| known.accepts(value))
                });
            if keeps_key && fits {
                ready.push(Released {
                    table: table.name.clone(),
                    keys: keys.clone(),
                    key,
                    column,
                    life: Life::from_number(row.get::<_, i64>(2)? as u64),
                    hlc: row.get::<_, i64>(3)? as u64,
                    writer: row.get(4)?,
                    value,
                });
            }
        }
    }
    Ok(ready)
}

/// Everything that waits.
pub(crate) fn list(connection: &Connection) -> Result<Vec<Quarantined>, StorageError> {
    let mut statement = connection.prepare(
        "SELECT tbl, key, col, value FROM replica_quarantine ORDER BY tbl, keys, key, col",
    )?;
    let rows = statement.query_map([], |row| {
        let (key, value): (Vec<u8>, Vec<u8>) = (row.get(1)?, row.get(3)?);
        Ok(Quarantined {
            table: row.get(0)?,
            key: owned_values(Values::of(&key)),
            column: row.get(2)?,
            value: Value::read(&mut value.as_slice())
                .map_or(rusqlite::types::Value::Null, owned_value),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

//! Writes the content of a changeset as a local change of the present.
//!
//! For what a device wrote and may not stand as it was written: by a clock that was wrong, past a cut-off, too long ago.
//! The statements are the application's own kind, so they are stamped, sealed and judged like any other.

use aeroedge_crdt::changeset::{Block, Changeset, Kind, MalformedChangeset, TableNames};
use aeroedge_crdt::life::Life;
use aeroedge_crdt::value::Value;
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::names::{list, quoted};
use crate::schema::SchemaError;
use crate::storage::StorageError;
use crate::tables::{self, Table, Tables};
use crate::transaction::Transaction;
use crate::values::{Bound, owned_values};

/// What to do with cells of a row that does not live here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingRow {
    /// Make the row; columns that the changeset does not name get their defaults.
    Make,
    /// Leave it, and report it.
    Leave,
    /// Make it, unless it was deleted in the life that the changeset speaks of, or a later one: then leave it, and report it.
    MakeUnlessDeleted,
}

/// What became of the content of a changeset.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WrittenAgain {
    /// Rows that were written or deleted.
    pub rows: u64,
    /// Rows that do not live here, with table and key in key order, and were left so.
    pub missing: Vec<(String, Vec<SqlValue>)>,
    /// Cells and rows that the schema here has no place for. They stay where they are, in quarantine.
    pub without_place: u64,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteAgainError {
    /// The bytes are not a changeset.
    #[error(transparent)]
    Malformed(#[from] MalformedChangeset),
    /// A merged table no longer fits.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The tables could not be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<rusqlite::Error> for WriteAgainError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.into())
    }
}

/// Writes every cell of a changeset, and deletes every row it deletes, in a local transaction. Stamps and lives in it do not matter.
pub fn write_again(
    transaction: &Transaction<'_>,
    changes: &[u8],
    missing: MissingRow,
) -> Result<WrittenAgain, WriteAgainError> {
    let connection: &Connection = transaction;
    let changes = Changeset::parse(changes)?;
    let known = tables::load(connection)??;
    let mut written = WrittenAgain::default();
    for block in &changes.blocks {
        let names = &changes.tables[block.table];
        match local_table(&known, names) {
            None => written.without_place += block.row_count() as u64,
            Some(table) if block.kind == Kind::Delete => {
                delete(connection, table, block, &mut written)?;
            }
            Some(table) => write(connection, table, names, block, missing, &mut written)?,
        }
    }
    Ok(written)
}

fn local_table<'t>(tables: &'t Tables, names: &TableNames<'_>) -> Option<&'t Table> {
    let table = &tables.all[tables.by_name(names.name)?];
    let same_key = table
        .key_names
        .iter()
        .map(String::as_str)
        .eq(names.keys.iter().copied());
    same_key.then_some(&**table)
}

fn delete(
    connection: &Connection,
    table: &Table,
    block: &Block<'_>,
    written: &mut WrittenAgain,
) -> Result<(), WriteAgainError> {
    let mut statement = connection.prepare_cached(&format!(
        "DELETE FROM {} WHERE {}",
        quoted(&table.name),
        key_condition(table)
    ))?;
    for row in block.rows() {
        written.rows += statement.execute(params_from_iter(row.key_values().map(Bound)))? as u64;
    }
    Ok(())
}

fn write(
    connection: &Connection,
    table: &Table,
    names: &TableNames<'_>,
    block: &Block<'_>,
    missing: MissingRow,
    written: &mut WrittenAgain,
) -> Result<(), WriteAgainError> {
    let targets: Vec<Option<usize>> = block
        .columns
        .iter()
        .map(|column| {
            let name = names.columns[usize::from(*column)];
            table.columns.iter().position(|known| known.name == name)
        })
        .collect();
    for row in block.rows() {
        let mut cells: Vec<(usize, Value<'_>)> = Vec::with_capacity(targets.len());
        for (target, value) in targets.iter().zip(row.written_values()) {
            match target.filter(|index| table.columns[*index].accepts(value)) {
                Some(index) => cells.push((index, value)),
                None => written.without_place += 1,
            }
        }
        let keeps_key = row
            .key_values()
            .enumerate()
            .all(|(place, value)| table.keeps_key(place, value));
        if !keeps_key {
            written.without_place += 1;
            continue;
        }
        let columns: Vec<&str> = cells
            .iter()
            .map(|(index, _)| table.columns[*index].name.as_str())
            .collect();
        let key: Vec<Value<'_>> = row.key_values().collect();
        let values = cells.iter().map(|(_, value)| *value);
        let is_left = match missing {
            MissingRow::Make => false,
            MissingRow::Leave => !lives(connection, table, &key)?,
            MissingRow::MakeUnlessDeleted => {
                deleted_in(connection, table, row.key)?.is_some_and(|life| life >= block.life)
            }
        };
        if is_left {
            written
                .missing
                .push((table.name.clone(), owned_values(row.key_values())));
            continue;
        }
        let parameters = key.iter().copied().chain(values).map(Bound);
        connection
            .prepare_cached(&upsert(table, &columns))?
            .execute(params_from_iter(parameters))?;
        written.rows += 1;
    }
    Ok(())
}

fn lives(connection: &Connection, table: &Table, key: &[Value<'_>]) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(&format!(
            "SELECT 1 FROM {} WHERE {}",
            quoted(&table.name),
            key_condition(table)
        ))?
        .exists(params_from_iter(key.iter().copied().map(Bound)))
}

/// The life in which a row was deleted, if it is dead.
fn deleted_in(
    connection: &Connection,
    table: &Table,
    key: &[u8],
) -> rusqlite::Result<Option<Life>> {
    connection
        .prepare_cached(&format!(
            "SELECT life FROM replica_grave_{} WHERE key = ?1",
            table.id
        ))?
        .query_row([key], |row| {
            Ok(Life::from_number(row.get::<_, i64>(0)? as u64))
        })
        .optional()
}

fn upsert(table: &Table, columns: &[&str]) -> String {
    let keys = table.key_names.iter().map(String::as_str);
    let places: Vec<String> = (1..=table.key_names.len() + columns.len())
        .map(|place| format!("?{place}"))
        .collect();
    let sets: Vec<String> = columns
        .iter()
        .map(|name| format!("{0}=excluded.{0}", quoted(name)))
        .collect();
    let otherwise = if sets.is_empty() {
        "DO NOTHING".to_owned()
    } else {
        format!("DO UPDATE SET {}", sets.join(","))
    };
    format!(
        "INSERT INTO {}({}) VALUES ({}) ON CONFLICT({}) {otherwise}",
        quoted(&table.name),
        list(keys.clone().chain(columns.iter().copied())),
        places.join(","),
        list(keys)
    )
}

fn key_condition(table: &Table) -> String {
    let conditions: Vec<String> = table
        .key_names
        .iter()
        .enumerate()
        .map(|(index, name)| format!("{}=?{}", quoted(name), index + 1))
        .collect();
    conditions.join(" AND ")
}

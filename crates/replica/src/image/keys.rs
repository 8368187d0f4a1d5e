//! Every row a scope has ever heard of, living, dead, contested or waiting.

use rusqlite::Connection;

use super::Scope;
use crate::quarantine::joined_names;
use crate::rows::RowBytes;
use crate::storage::StorageError;
use crate::tables::{Table, Tables};

/// Calls `found` with table, names of key columns (each followed by a line feed) and key of every row; of some more than once.
pub(crate) fn visit(
    connection: &Connection,
    tables: &Tables,
    scope: &Scope<'_>,
    found: &mut dyn FnMut(&str, &str, &[u8]),
) -> Result<(), StorageError> {
    for table in &tables.all {
        let names = joined_names(&table.key_names);
        let mut in_scope = |key: &[u8]| {
            if scope.has_row(table, key) {
                found(&table.name, &names, key);
            }
        };
        living(connection, table, &mut in_scope)?;
        let beside = [
            format!("SELECT key FROM replica_grave_{}", table.id),
            format!(
                "SELECT DISTINCT key FROM replica_conflict WHERE tbl = {}",
                table.id
            ),
        ];
        for sql in beside {
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                in_scope(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
            }
        }
    }
    let mut statement =
        connection.prepare("SELECT DISTINCT tbl, keys, key FROM replica_quarantine")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (name, names): (String, String) = (row.get(0)?, row.get(1)?);
        let key = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        let known = tables
            .by_name(&name)
            .map(|place| &tables.all[place])
            .filter(|table| joined_names(&table.key_names) == names);
        let belongs = match known {
            Some(table) => scope.has_row(table, key),
            None => scope.has_stranger(key),
        };
        if belongs {
            found(&name, &names, key);
        }
    }
    Ok(())
}

fn living(
    connection: &Connection,
    table: &Table,
    found: &mut dyn FnMut(&[u8]),
) -> Result<(), StorageError> {
    let mut statement = connection.prepare(&table.select())?;
    let mut rows = statement.query([])?;
    let mut bytes = RowBytes::default();
    while let Some(row) = rows.next()? {
        bytes.fill(table, row)?;
        found(&bytes.key);
    }
    Ok(())
}

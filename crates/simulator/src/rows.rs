//! Rows as SQL literals: exact, comparable and readable in a trace.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};

use crate::tables::{COMPARTMENT, TABLES, Table};

/// Which row: the number of its table and its key values in the order of the key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowKey {
    pub(crate) table: usize,
    pub(crate) key: Vec<String>,
}

/// The values of a row outside its key, or nothing if there is no such row.
pub(crate) type Image = Option<Vec<String>>;

impl RowKey {
    pub(crate) fn table(&self) -> &'static Table {
        &TABLES[self.table]
    }

    /// The literal of the compartment the row lives in.
    pub(crate) fn compartment(&self) -> &str {
        let place = self
            .table()
            .keys
            .iter()
            .position(|column| *column == COMPARTMENT);
        &self.key[place.unwrap_or_default()]
    }

    /// The same key in another compartment.
    pub(crate) fn moved_to(&self, compartment: &str) -> Self {
        let mut moved = self.clone();
        for (column, value) in self.table().keys.iter().zip(&mut moved.key) {
            if *column == COMPARTMENT {
                compartment.clone_into(value);
            }
        }
        moved
    }

    /// The condition that names the row.
    pub(crate) fn condition(&self) -> String {
        let columns = self.table().keys.iter().zip(&self.key);
        let terms: Vec<String> = columns
            .map(|(column, value)| format!("{column} = {value}"))
            .collect();
        terms.join(" AND ")
    }
}

impl std::fmt::Display for RowKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.table().name, self.key.join(", "))
    }
}

fn quoted(columns: impl Iterator<Item = &'static str>) -> String {
    let quoted: Vec<String> = columns.map(|column| format!("quote({column})")).collect();
    quoted.join(", ")
}

pub(crate) fn read_row(connection: &Connection, row: &RowKey) -> rusqlite::Result<Image> {
    let table = row.table();
    let columns = quoted(table.columns.iter().map(|(column, _)| *column));
    let columns = if columns.is_empty() { "1" } else { &columns };
    let sql = format!(
        "SELECT {columns} FROM {} WHERE {}",
        table.name,
        row.condition()
    );
    connection
        .query_row(&sql, [], |found| {
            (0..table.columns.len())
                .map(|place| found.get(place))
                .collect()
        })
        .optional()
}

/// All rows of a table that live in one compartment.
pub(crate) fn read_table(
    connection: &Connection,
    number: usize,
    compartment: &str,
) -> rusqlite::Result<BTreeMap<RowKey, Vec<String>>> {
    let table = &TABLES[number];
    let all = table.keys.iter().copied();
    let columns = quoted(all.chain(table.columns.iter().map(|(column, _)| *column)));
    let sql = format!(
        "SELECT {columns} FROM {} WHERE {COMPARTMENT} = {compartment}",
        table.name
    );
    connection
        .prepare(&sql)?
        .query_map([], |row| {
            let mut values: Vec<String> = (0..table.keys.len() + table.columns.len())
                .map(|place| row.get(place))
                .collect::<Result<_, _>>()?;
            let rest = values.split_off(table.keys.len());
            let key = RowKey {
                table: number,
                key: values,
            };
            Ok((key, rest))
        })?
        .collect()
}

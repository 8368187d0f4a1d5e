//! The merged tables of a database: their columns, numbers, rules, and the SQL that reaches their rows.
//!
//! A column keeps its number for good; clocks and conflicts name columns by number, so that a column may move or a new one
//! appear without rewriting them.

use std::sync::Arc;

use rusqlite::Connection;

use crate::capture::{ColumnRole, Watched};
use crate::names::{list, quoted};
use crate::schema::{SchemaError, Shape, StrictType, inspect};
use crate::statements::TableSql;
use crate::storage::StorageError;

/// Where the rows of a table live.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CompartmentRule {
    /// All rows live in the default compartment.
    Fixed,
    /// A BLOB column of 16 bytes, part of the primary key, names the compartment of each row.
    Column(String),
}

/// What happens to the loser of two concurrent edits of a cell. The later edit wins in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Policy {
    /// The conflict log keeps it.
    #[default]
    Record,
    /// The conflict log keeps it until a person chooses, whose choice is an ordinary later write.
    Manual,
    /// The conflict log keeps it until the one device with authority writes its own value again.
    Authority,
    /// Nothing keeps it.
    Silent,
}

impl Policy {
    pub(crate) fn to_number(self) -> i64 {
        match self {
            Self::Record => 0,
            Self::Manual => 1,
            Self::Authority => 2,
            Self::Silent => 3,
        }
    }

    fn from_number(number: i64) -> Result<Self, StorageError> {
        match number {
            0 => Ok(Self::Record),
            1 => Ok(Self::Manual),
            2 => Ok(Self::Authority),
            3 => Ok(Self::Silent),
            _ => Err(StorageError::Damaged("an unknown policy number")),
        }
    }
}

impl Table {
    /// Whether SQLite keeps a key value as it is. One that it turns into another would be one row in the table and two in
    /// the tombstones, and one that it refuses would stop the merging of everything.
    pub(crate) fn keeps_key(&self, place: usize, value: aeroedge_crdt::value::Value<'_>) -> bool {
        use aeroedge_crdt::value::Value;
        let Some(column) = self
            .shape
            .keys
            .get(place)
            .and_then(|place| self.shape.columns.get(*place))
        else {
            return false;
        };
        match column.strict {
            Some(StrictType::Integer) => matches!(value, Value::Integer(_)),
            Some(StrictType::Text) => matches!(value, Value::Text(_)),
            Some(StrictType::Blob) => matches!(value, Value::Blob(_)),
            Some(StrictType::Real) => false,
            None if self.integer_key => matches!(value, Value::Integer(_)),
            // A column of text turns numbers into text.
            None if !column.may_be_real => !matches!(value, Value::Integer(_)),
            None => true,
        }
    }
}

/// A column that is not part of the key.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Its number for good.
    pub(crate) number: u16,
    /// Its place in the table.
    pub(crate) place: usize,
    not_null: bool,
    strict: Option<StrictType>,
}

impl Column {
    /// Whether SQLite would store the value in it.
    pub(crate) fn accepts(&self, value: aeroedge_crdt::value::Value<'_>) -> bool {
        use aeroedge_crdt::value::Value;
        match (value, self.strict) {
            (Value::Null, _) => !self.not_null,
            (_, None)
            | (Value::Integer(_), Some(StrictType::Integer | StrictType::Real))
            | (Value::Real(_), Some(StrictType::Real))
            | (Value::Text(_), Some(StrictType::Text))
            | (Value::Blob(_), Some(StrictType::Blob)) => true,
            _ => false,
        }
    }
}

/// A merged table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) policy: Policy,
    pub(crate) shape: Shape,
    /// Names of the key columns, in key order.
    pub(crate) key_names: Vec<String>,
    /// The other columns, in their order in the table.
    pub(crate) columns: Vec<Column>,
    /// Which of the key columns names the compartment.
    pub(crate) compartment_key: Option<usize>,
    /// One more than the greatest column number ever given.
    pub(crate) numbers_end: u16,
    index_by_number: Vec<Option<u16>>,
    /// Numbers of all columns, in the order of `columns`.
    pub(crate) numbers: Vec<u16>,
    pub(crate) integer_key: bool,
    pub(crate) sql: TableSql,
}

impl Table {
    /// Place in `columns` of the column with a number, none when the column was dropped.
    pub(crate) fn column_index(&self, number: u16) -> Option<usize> {
        self.index_by_number
            .get(usize::from(number))
            .copied()
            .flatten()
            .map(usize::from)
    }

    /// The number of the column at a place in the table; none for key columns and those not merged yet.
    pub(crate) fn number_at(&self, place: usize) -> Option<u16> {
        let index = self
            .columns
            .binary_search_by_key(&place, |column| column.place)
            .ok()?;
        Some(self.columns[index].number)
    }

    /// The name of the column with a number.
    pub(crate) fn column_name(&self, number: u16) -> &str {
        self.column_index(number)
            .map_or("", |index| &self.columns[index].name)
    }

    pub(crate) fn without_rowid(&self) -> bool {
        self.shape.without_rowid
    }

    /// Slot, key columns, other columns of rows; the caller adds the WHERE. The slot of a table WITHOUT ROWID reads 0.
    pub(crate) fn select(&self) -> String {
        select_rows(&self.name, &self.shape, &self.key_names, &self.columns)
    }

    /// The condition that finds one row, by slot where rows have one, else by key values; bound from `first` on.
    pub(crate) fn where_slot(&self, first: usize) -> String {
        where_slot(&self.shape, &self.key_names, first)
    }

    pub(crate) fn watched(&self) -> Watched {
        let mut roles = vec![ColumnRole::Other; self.shape.columns.len()];
        for &place in &self.shape.keys {
            roles[place] = ColumnRole::Key;
        }
        Watched {
            name: self.name.clone(),
            roles,
            columns: self
                .shape
                .columns
                .iter()
                .map(|column| column.name.clone())
                .collect(),
            settable: Vec::new(),
            loose_key: !self.integer_key
                && self.shape.keys.iter().any(|&place| {
                    let column = &self.shape.columns[place];
                    column.may_be_real || !(column.not_null || self.shape.without_rowid)
                }),
            keys: self.shape.keys.clone(),
            without_rowid: self.shape.without_rowid,
            integer_key: self.integer_key,
        }
    }
}

/// All merged tables of a database, as of one version of its schema.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) all: Vec<Arc<Table>>,
    pub(crate) schema_version: i64,
    /// Virtual tables count changes that no hook sees.
    pub(crate) has_virtual: bool,
}

impl Tables {
    pub(crate) fn by_name(&self, name: &str) -> Option<usize> {
        self.all.iter().position(|table| table.name == name)
    }
}

/// The number SQLite raises with every change of the schema.
pub(crate) fn schema_version(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection
        .prepare_cached("PRAGMA schema_version")?
        .query_row([], |row| row.get(0))
}

/// Reads the merged tables; those that no longer fit are reported.
pub(crate) fn load(connection: &Connection) -> Result<Result<Tables, SchemaError>, StorageError> {
    let mut tables = Tables {
        schema_version: schema_version(connection)?,
        has_virtual: connection.query_row(
            "SELECT EXISTS(SELECT 1 FROM sqlite_schema WHERE type = 'table' AND rootpage = 0)",
            [],
            |row| row.get(0),
        )?,
        all: Vec::new(),
    };
    let mut statement = connection
        .prepare("SELECT id, name, compartment, policy FROM replica_table ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, name): (i64, String) = (row.get(0)?, row.get(1)?);
        let compartment: Option<String> = row.get(2)?;
        let policy = Policy::from_number(row.get(3)?)?;
        let shape = match inspect(connection, &name)? {
            Ok(shape) => shape,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let numbers = column_numbers(connection, id)?;
        let table = assemble(id, name, compartment, policy, shape, &numbers)?;
        tables.all.push(Arc::new(table));
    }
    Ok(Ok(tables))
}

/// Numbers already given to the columns of a table, by name.
pub(crate) fn column_numbers(
    connection: &Connection,
    table: i64,
) -> Result<Vec<(u16, String)>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT number, name FROM replica_column WHERE tbl = ?1 ORDER BY number")?
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn select_rows(table: &str, shape: &Shape, keys: &[String], columns: &[Column]) -> String {
    let slot = if shape.without_rowid {
        "0"
    } else {
        &shape.rowid
    };
    let names = keys
        .iter()
        .chain(columns.iter().map(|column| &column.name))
        .map(String::as_str);
    format!("SELECT {slot},{} FROM {}", list(names), quoted(table))
}

fn where_key(keys: &[String], first: usize) -> String {
    let conditions: Vec<String> = keys
        .iter()
        .enumerate()
        .map(|(index, name)| format!("{}=?{}", quoted(name), first + index))
        .collect();
    conditions.join(" AND ")
}

fn where_slot(shape: &Shape, keys: &[String], first: usize) -> String {
    if shape.without_rowid {
        where_key(keys, first)
    } else {
        format!("{}=?{first}", shape.rowid)
    }
}

fn assemble(
    id: i64,
    name: String,
    compartment: Option<String>,
    policy: Policy,
    shape: Shape,
    numbers: &[(u16, String)],
) -> Result<Table, StorageError> {
    let key_names: Vec<String> = shape
        .keys
        .iter()
        .map(|&place| shape.columns[place].name.clone())
        .collect();
    let compartment_key = match &compartment {
        None => None,
        Some(column) => Some(key_names.iter().position(|key| key == column).ok_or(
            StorageError::Damaged("a compartment column is no longer part of its key"),
        )?),
    };
    let numbers_end = numbers.last().map_or(0, |(number, _)| number + 1);
    let mut index_by_number = vec![None; usize::from(numbers_end)];
    let mut columns = Vec::new();
    for (place, column) in shape.columns.iter().enumerate() {
        if shape.keys.contains(&place) {
            continue;
        }
        // A column that was added after the last declaration has no number yet and is not merged yet.
        let Some((number, _)) = numbers.iter().find(|(_, known)| *known == column.name) else {
            continue;
        };
        index_by_number[usize::from(*number)] = Some(columns.len() as u16);
        columns.push(Column {
            name: column.name.clone(),
            number: *number,
            place,
            not_null: column.not_null,
            strict: column.strict,
        });
    }
    let integer_key = shape.key_is_rowid;
    let sql = TableSql::new(
        id,
        &name,
        &select_rows(&name, &shape, &key_names, &columns),
        &shape.rowid,
        &where_slot(&shape, &key_names, 1),
        &where_key(&key_names, 1),
    );
    Ok(Table {
        id,
        name,
        policy,
        key_names,
        numbers: columns.iter().map(|column| column.number).collect(),
        columns,
        compartment_key,
        numbers_end,
        index_by_number,
        integer_key,
        sql,
        shape,
    })
}

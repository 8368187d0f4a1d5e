//! Rows of merged tables as records: one list of columns for writing and reading, and updates that write only what differs.
//!
//! An update that touched every column would make every cell of the row look edited, and win over another device's edit
//! of a different field; so before and after are compared and only differing cells are written.

use aeroedge_ids::{CompartmentId, Millis, UserId};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A read or write of an aviation table failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refused.
    #[error("read or write the aviation tables")]
    Sqlite(#[from] rusqlite::Error),
    /// There is no such row.
    #[error("find {table} {id}: there is none with this id in this compartment")]
    NotFound {
        /// Table.
        table: &'static str,
        /// Identifier asked for.
        id: String,
    },
    /// A patch names a field that does not exist or gives it a wrong value.
    #[error("change {table}: {why}")]
    Patch {
        /// Table.
        table: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// A row of a merged table.
#[derive(Debug, Clone, PartialEq)]
pub struct Record<T> {
    /// UUIDv7; identifies the row inside its compartment.
    pub id: String,
    /// Where it lives, for good.
    pub compartment: CompartmentId,
    /// When it was made.
    pub created_at: Millis,
    /// When it was last changed.
    pub updated_at: Millis,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// What it holds.
    pub value: T,
}

/// A patch by named fields, as JSON.
pub type Patch = serde_json::Map<String, serde_json::Value>;

/// What can be stored in a merged table.
pub(crate) trait Stored: Sized {
    const TABLE: &'static str;
    const COLUMNS: &'static [&'static str];
    /// Values of the columns, in their order.
    fn values(&self) -> Vec<Value>;
    /// Reads the columns, in their order. Cells that another program filled with something else count as empty.
    fn read(cells: &mut Cells<'_, '_>) -> Self;
}

const META_COLUMNS: &str = "id, compartment_id, created_at, updated_at, created_by";
/// How many columns stand before those of a record.
pub(crate) const META_COUNT: usize = 5;

/// Identity and origin of a row to be inserted.
#[derive(Debug, Clone, Copy)]
pub struct NewRow<'a> {
    /// UUIDv7.
    pub id: &'a str,
    /// Where it will live.
    pub compartment: CompartmentId,
    /// Who makes it.
    pub created_by: Option<UserId>,
    /// When.
    pub now: Millis,
}

pub(crate) fn insert<T: Stored>(
    conn: &Connection,
    row: NewRow<'_>,
    value: &T,
) -> Result<(), StoreError> {
    insert_with(conn, row, value, &[], &[])
}

/// Inserts with columns beyond those of the record, such as the parent of a child row.
pub(crate) fn insert_with<T: Stored>(
    conn: &Connection,
    row: NewRow<'_>,
    value: &T,
    extra_columns: &[&str],
    extra_values: &[Value],
) -> Result<(), StoreError> {
    let columns: Vec<&str> = T::COLUMNS.iter().chain(extra_columns).copied().collect();
    let sql = format!(
        "INSERT INTO {} ({META_COLUMNS}, {}) VALUES ({})",
        T::TABLE,
        columns.join(", "),
        vec!["?"; columns.len() + META_COUNT].join(", ")
    );
    let meta = [
        Value::Text(row.id.to_owned()),
        Value::Blob(row.compartment.0.to_vec()),
        integer(row.now),
        integer(row.now),
        user(row.created_by),
    ];
    let values = meta
        .into_iter()
        .chain(value.values())
        .chain(extra_values.iter().cloned());
    conn.prepare_cached(&sql)?
        .execute(params_from_iter(values))?;
    Ok(())
}

/// The columns of a record for a `SELECT`, each with the table's name before it.
pub(crate) fn select_columns<T: Stored>() -> String {
    META_COLUMNS
        .split(", ")
        .chain(T::COLUMNS.iter().copied())
        .map(|column| format!("{}.{column}", T::TABLE))
        .collect::<Vec<_>>()
        .join(", ")
}

pub(crate) fn read_record<T: Stored>(row: &Row<'_>) -> Record<T> {
    let mut cells = Cells { row, index: 0 };
    Record {
        id: cells.text().unwrap_or_default(),
        compartment: CompartmentId(cells.bytes().unwrap_or_default()),
        created_at: Millis(cells.integer().unwrap_or(0).max(0) as u64),
        updated_at: Millis(cells.integer().unwrap_or(0).max(0) as u64),
        created_by: cells.bytes().map(UserId),
        value: T::read(&mut cells),
    }
}

pub(crate) fn get<T: Stored>(
    conn: &Connection,
    compartment: CompartmentId,
    id: &str,
) -> Result<Option<Record<T>>, StoreError> {
    let sql = format!(
        "SELECT {} FROM {} WHERE id = ?1 AND compartment_id = ?2",
        select_columns::<T>(),
        T::TABLE
    );
    Ok(conn
        .prepare_cached(&sql)?
        .query_row((id, compartment.0), |row| Ok(read_record(row)))
        .optional()?)
}

pub(crate) fn get_or_not_found<T: Stored>(
    conn: &Connection,
    compartment: CompartmentId,
    id: &str,
) -> Result<Record<T>, StoreError> {
    get(conn, compartment, id)?.ok_or_else(|| StoreError::NotFound {
        table: T::TABLE,
        id: id.to_owned(),
    })
}

/// Writes the cells in which `after` differs and returns their columns.
pub(crate) fn update<T: Stored>(
    conn: &Connection,
    before: &Record<T>,
    after: &T,
    now: Millis,
) -> Result<Vec<&'static str>, StoreError> {
    let differing: Vec<(&'static str, Value)> = T::COLUMNS
        .iter()
        .zip(before.value.values())
        .zip(after.values())
        .filter(|((_, before), after)| before != after)
        .map(|((column, _), after)| (*column, after))
        .collect();
    write_cells(conn, before, differing, now)
}

/// Writes these cells of a row and returns their columns.
pub(crate) fn write_cells<T: Stored>(
    conn: &Connection,
    before: &Record<T>,
    differing: Vec<(&'static str, Value)>,
    now: Millis,
) -> Result<Vec<&'static str>, StoreError> {
    if differing.is_empty() {
        return Ok(Vec::new());
    }
    let assignments: Vec<String> = differing
        .iter()
        .map(|(column, _)| format!("{column} = ?"))
        .collect();
    let sql = format!(
        "UPDATE {} SET {}, updated_at = ? WHERE id = ? AND compartment_id = ?",
        T::TABLE,
        assignments.join(", ")
    );
    let columns = differing.iter().map(|(column, _)| *column).collect();
    let values = differing.into_iter().map(|(_, value)| value).chain([
        integer(later(before.updated_at, now)),
        Value::Text(before.id.clone()),
        Value::Blob(before.compartment.0.to_vec()),
    ]);
    let touched = conn
        .prepare_cached(&sql)?
        .execute(params_from_iter(values))?;
    if touched == 0 {
        return Err(StoreError::NotFound {
            table: T::TABLE,
            id: before.id.clone(),
        });
    }
    Ok(columns)
}

/// Marks a row as changed when only rows that belong to it were.
pub(crate) fn touch(
    conn: &Connection,
    table: &'static str,
    id: &str,
    compartment: CompartmentId,
    before: Millis,
    now: Millis,
) -> Result<(), StoreError> {
    let sql = format!("UPDATE {table} SET updated_at = ?1 WHERE id = ?2 AND compartment_id = ?3");
    conn.prepare_cached(&sql)?
        .execute((integer(later(before, now)), id, compartment.0))?;
    Ok(())
}

/// Deletes a row; whether there was one.
pub(crate) fn delete(
    conn: &Connection,
    table: &'static str,
    compartment: CompartmentId,
    id: &str,
) -> Result<bool, StoreError> {
    let sql = format!("DELETE FROM {table} WHERE id = ?1 AND compartment_id = ?2");
    let touched = conn.prepare_cached(&sql)?.execute((id, compartment.0))?;
    Ok(touched > 0)
}

/// A change always moves the time of change, also within one millisecond and after a clock was set back: undoing an
/// import tells edited rows by it.
fn later(before: Millis, now: Millis) -> Millis {
    Millis(now.0.max(before.0 + 1))
}

/// Lays a patch over a value.
pub(crate) fn patched<T: Serialize + DeserializeOwned>(
    table: &'static str,
    current: &T,
    patch: &Patch,
) -> Result<T, StoreError> {
    let wrong = |why: String| StoreError::Patch { table, why };
    let mut fields = match serde_json::to_value(current) {
        Ok(serde_json::Value::Object(fields)) => fields,
        Ok(_) => return Err(wrong("it has no fields".to_owned())),
        Err(error) => return Err(wrong(error.to_string())),
    };
    for (name, value) in patch {
        let Some(field) = fields.get_mut(name) else {
            return Err(wrong(format!("it has no field {name:?}")));
        };
        *field = value.clone();
    }
    serde_json::from_value(serde_json::Value::Object(fields))
        .map_err(|error| wrong(format!("a value does not fit: {error}")))
}

/// Reads the cells of a row one after the other. What does not have the expected type counts as empty: a row may come
/// from a newer program or a careless one, and must not make a whole list unreadable.
pub(crate) struct Cells<'a, 'row> {
    row: &'a Row<'row>,
    index: usize,
}

impl Cells<'_, '_> {
    fn next(&mut self) -> ValueRef<'_> {
        let index = self.index;
        self.index += 1;
        self.row.get_ref(index).unwrap_or(ValueRef::Null)
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        self.next().as_str().ok().map(str::to_owned)
    }

    pub(crate) fn integer(&mut self) -> Option<i64> {
        self.next().as_i64().ok()
    }

    pub(crate) fn count(&mut self) -> Option<u32> {
        self.integer().and_then(|value| u32::try_from(value).ok())
    }

    pub(crate) fn toggle(&mut self) -> Option<bool> {
        self.integer().map(|value| value != 0)
    }

    pub(crate) fn blob(&mut self) -> Option<Vec<u8>> {
        self.next().as_blob().ok().map(<[u8]>::to_vec)
    }

    pub(crate) fn bytes(&mut self) -> Option<[u8; 16]> {
        self.next().as_blob().ok()?.try_into().ok()
    }
}

pub(crate) fn text(value: Option<&String>) -> Value {
    value.map_or(Value::Null, |text| Value::Text(text.clone()))
}

pub(crate) fn count(value: Option<u32>) -> Value {
    value.map_or(Value::Null, |count| Value::Integer(i64::from(count)))
}

pub(crate) fn toggle(value: Option<bool>) -> Value {
    value.map_or(Value::Null, |value| Value::Integer(i64::from(value)))
}

pub(crate) fn blob(value: Option<&[u8]>) -> Value {
    value.map_or(Value::Null, |bytes| Value::Blob(bytes.to_vec()))
}

pub(crate) fn user(value: Option<UserId>) -> Value {
    blob(value.as_ref().map(|user| user.0.as_slice()))
}

pub(crate) fn integer(value: Millis) -> Value {
    Value::Integer(i64::try_from(value.0).unwrap_or(i64::MAX))
}

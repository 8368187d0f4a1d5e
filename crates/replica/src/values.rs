//! Between values of SQLite and values of changesets.

use aeroedge_crdt::changeset::Values;
use aeroedge_crdt::value::Value;
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

/// A value of SQLite as a changeset holds it.
pub(crate) fn to_value(value: ValueRef<'_>) -> Value<'_> {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(text) => Value::Text(text),
        ValueRef::Blob(bytes) => Value::Blob(bytes),
    }
}

/// A value of a changeset that can be bound to a statement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound<'a>(pub(crate) Value<'a>);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Integer(value) => ValueRef::Integer(value),
            Value::Real(value) => ValueRef::Real(value),
            Value::Text(text) => ValueRef::Text(text),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// A value that outlives its changeset.
pub(crate) fn owned_value(value: Value<'_>) -> rusqlite::types::Value {
    match value {
        Value::Null => rusqlite::types::Value::Null,
        Value::Integer(value) => rusqlite::types::Value::Integer(value),
        Value::Real(value) => rusqlite::types::Value::Real(value),
        // What shows a conflict shows text that is not UTF-8 with replacement characters.
        Value::Text(text) => {
            rusqlite::types::Value::Text(String::from_utf8_lossy(text).into_owned())
        }
        Value::Blob(bytes) => rusqlite::types::Value::Blob(bytes.to_vec()),
    }
}

/// Values that outlive their changeset.
pub(crate) fn owned_values(values: Values<'_>) -> Vec<rusqlite::types::Value> {
    values.map(owned_value).collect()
}

//! What a table must be so that it can merge, and a clear sentence when it is not.
//!
//! A merged table has a primary key and nothing that could refuse a row which another device accepted: no other unique
//! index, no CHECK, no trigger, no enforced foreign key, no column that must be filled and has no default.

use rusqlite::{Connection, OptionalExtension};

use crate::guard;
use crate::names::quoted;

/// Why a table cannot be merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// No such table.
    #[error("there is no table {0}; create it first")]
    Missing(String),
    /// A view, a virtual table or one of SQLite's or the engine's own.
    #[error("{0} is not an ordinary table; only ordinary tables merge")]
    NotATable(String),
    /// Rows could not be recognised on another device.
    #[error("table {0} has no primary key; declare one")]
    NoPrimaryKey(String),
    /// Two devices could each make a row that the other's unique index refuses.
    #[error(
        "table {table} has another unique index ({index}); drop it and look for duplicates instead"
    )]
    UniqueIndex {
        /// The table.
        table: String,
        /// The index.
        index: String,
    },
    /// Two devices could merge into a row that the constraint refuses.
    #[error("table {0} has a CHECK constraint; check in the program instead")]
    Check(String),
    /// A trigger would run again on every device.
    #[error("table {table} has a trigger ({trigger}); drop it and do its work in the program")]
    Trigger {
        /// The table.
        table: String,
        /// The trigger.
        trigger: String,
    },
    /// A row may arrive before the row it refers to.
    #[error(
        "table {0} takes part in an enforced foreign key; switch enforcement off with PRAGMA foreign_keys = OFF"
    )]
    ForeignKey(String),
    /// Generated columns cannot be written.
    #[error("table {table} has a generated column ({column}); compute it in a view instead")]
    Generated {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// An older program makes rows without the column.
    #[error("column {column} of table {table} is NOT NULL and has no default; give it one")]
    NoDefault {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// Two spellings of a key would be one row here and two there.
    #[error(
        "key column {column} of table {table} compares with {collation}; use the default BINARY"
    )]
    Collation {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The collation.
        collation: String,
    },
    /// Floating-point keys have several spellings.
    #[error(
        "key column {column} of table {table} holds floating-point numbers; use INTEGER, TEXT or BLOB"
    )]
    RealKey {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A row could move between compartments by an ordinary update.
    #[error(
        "compartment column {column} of table {table} is not part of the primary key; add it there"
    )]
    CompartmentNotInKey {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// Columns called rowid, oid and `_rowid_` leave no name for the row's own number.
    #[error("table {0} has columns named rowid, oid and _rowid_; rename one of them")]
    RowidHidden(String),
    /// Existing rows have no identity.
    #[error(
        "table {0} has a row whose key is NULL or a floating-point number; mend or delete it first"
    )]
    RowWithoutKey(String),
    /// A declaration that contradicts an earlier one.
    #[error("table {0} was declared with another compartment rule; its rows live where they live")]
    OtherCompartment(String),
}

/// What a column of a STRICT table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StrictType {
    Integer,
    Real,
    Text,
    Blob,
}

/// A column as SQLite describes it.
#[derive(Debug, Clone)]
pub(crate) struct ColumnShape {
    pub(crate) name: String,
    pub(crate) not_null: bool,
    pub(crate) strict: Option<StrictType>,
    /// Whether it can hold a floating-point number.
    pub(crate) may_be_real: bool,
}

/// A table as SQLite describes it, found fit to merge.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// All columns in their order in the table.
    pub(crate) columns: Vec<ColumnShape>,
    /// Places of the key columns, in key order.
    pub(crate) keys: Vec<usize>,
    pub(crate) without_rowid: bool,
    /// The key is the row's own number.
    pub(crate) key_is_rowid: bool,
    /// The name under which the row's own number can be had.
    pub(crate) rowid: String,
}

/// Looks at a table and refuses it if it could not merge.
pub(crate) fn inspect(
    connection: &Connection,
    table: &str,
) -> Result<Result<Shape, SchemaError>, rusqlite::Error> {
    let refused = |error| Ok(Err(error));
    let owned = || table.to_owned();
    if table.starts_with("replica_") || table.starts_with("sqlite_") {
        return refused(SchemaError::NotATable(owned()));
    }
    let listed = connection
        .query_row(
            "SELECT type, wr, strict FROM pragma_table_list WHERE schema = 'main' AND name = ?1",
            [table],
            |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, bool>(1)?,
                    row.get::<_, bool>(2)?,
                ))
            },
        )
        .optional()?;
    let Some((kind, without_rowid, strict)) = listed else {
        return refused(SchemaError::Missing(owned()));
    };
    if kind != "table" {
        return refused(SchemaError::NotATable(owned()));
    }

    let mut columns = Vec::new();
    let mut keys: Vec<(i64, usize)> = Vec::new();
    let mut refusal = None;
    let mut statement = connection.prepare(
        "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk, hidden FROM pragma_table_xinfo(?1, 'main') ORDER BY cid",
    )?;
    let mut rows = statement.query([table])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let declared: String = row.get(1)?;
        let (not_null, has_default): (bool, bool) = (row.get(2)?, row.get(3)?);
        let (key, hidden): (i64, i64) = (row.get(4)?, row.get(5)?);
        let column = || name.clone();
        if hidden != 0 {
            refusal.get_or_insert(SchemaError::Generated {
                table: owned(),
                column: column(),
            });
        }
        if key > 0 {
            keys.push((key, columns.len()));
            if is_real(&declared) {
                refusal.get_or_insert(SchemaError::RealKey {
                    table: owned(),
                    column: column(),
                });
            }
        } else if not_null && !has_default {
            refusal.get_or_insert(SchemaError::NoDefault {
                table: owned(),
                column: column(),
            });
        }
        columns.push(ColumnShape {
            name,
            not_null,
            strict: strict_type(&declared).filter(|_| strict),
            may_be_real: if strict {
                strict_type(&declared).is_none_or(|kind| kind == StrictType::Real)
            } else {
                !is_text(&declared)
            },
        });
    }
    drop(rows);
    keys.sort_unstable();
    let keys: Vec<usize> = keys.into_iter().map(|(_, place)| place).collect();
    if keys.is_empty() {
        return refused(SchemaError::NoPrimaryKey(owned()));
    }
    if let Some(refusal) = refusal {
        return refused(refusal);
    }
    if let Some(refusal) = refuse_indexes(connection, table)? {
        return refused(refusal);
    }
    if let Some(refusal) = refuse_rules(connection, table)? {
        return refused(refusal);
    }
    // A key column that is called rowid hides the number only if it is not the number itself.
    let hidden = |name: &str| {
        columns
            .iter()
            .any(|column| column.name.eq_ignore_ascii_case(name))
    };
    let rowid = ["rowid", "_rowid_", "oid"]
        .into_iter()
        .find(|name| !hidden(name));
    let integer_key = !without_rowid && keys.len() == 1 && !has_key_index(connection, table)?;
    let rowid = match rowid {
        Some(name) => name.to_owned(),
        None if integer_key => quoted(&columns[keys[0]].name),
        None if without_rowid => String::new(),
        None => return refused(SchemaError::RowidHidden(owned())),
    };
    Ok(Ok(Shape {
        columns,
        keys,
        without_rowid,
        key_is_rowid: integer_key,
        rowid,
    }))
}

fn has_key_index(connection: &Connection, table: &str) -> Result<bool, rusqlite::Error> {
    connection.query_row(
        "SELECT EXISTS(SELECT 1 FROM pragma_index_list(?1, 'main') WHERE origin = 'pk')",
        [table],
        |row| row.get(0),
    )
}

fn refuse_indexes(
    connection: &Connection,
    table: &str,
) -> Result<Option<SchemaError>, rusqlite::Error> {
    let unique = connection
        .query_row(
            "SELECT name FROM pragma_index_list(?1, 'main') WHERE \"unique\" AND origin <> 'pk'",
            [table],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(index) = unique {
        return Ok(Some(SchemaError::UniqueIndex {
            table: table.to_owned(),
            index,
        }));
    }
    let collated = connection
        .query_row(
            "SELECT i.name, i.coll FROM pragma_index_list(?1, 'main') AS l, pragma_index_xinfo(l.name, 'main') AS i
             WHERE l.origin = 'pk' AND i.key AND i.coll <> 'BINARY' COLLATE NOCASE",
            [table],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    Ok(collated.map(|(column, collation)| SchemaError::Collation {
        table: table.to_owned(),
        column,
        collation,
    }))
}

fn refuse_rules(
    connection: &Connection,
    table: &str,
) -> Result<Option<SchemaError>, rusqlite::Error> {
    let sql: String = connection.query_row(
        "SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND name = ?1",
        [table],
        |row| row.get(0),
    )?;
    if mentions_check(&sql) {
        return Ok(Some(SchemaError::Check(table.to_owned())));
    }
    let trigger = connection
        .query_row(
            "SELECT name FROM (SELECT name, tbl_name, type FROM main.sqlite_schema UNION ALL
                               SELECT name, tbl_name, type FROM temp.sqlite_schema)
             WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE AND name NOT GLOB ?2",
            [table, guard::TRIGGERS_GLOB],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(trigger) = trigger {
        return Ok(Some(SchemaError::Trigger {
            table: table.to_owned(),
            trigger,
        }));
    }
    let enforced: bool = connection.query_row("PRAGMA foreign_keys", [], |row| row.get(0))?;
    if enforced {
        let concerned: bool = connection.query_row(
            "SELECT EXISTS(
               SELECT 1 FROM pragma_table_list AS l, pragma_foreign_key_list(l.name, 'main') AS f
               WHERE l.schema = 'main' AND (l.name = ?1 OR f.\"table\" = ?1 COLLATE NOCASE))",
            [table],
            |row| row.get(0),
        )?;
        if concerned {
            return Ok(Some(SchemaError::ForeignKey(table.to_owned())));
        }
    }
    Ok(None)
}

/// SQLite's rules of affinity, as far as they concern floating-point numbers.
fn is_real(declared: &str) -> bool {
    let declared = declared.to_ascii_uppercase();
    if declared.contains("INT") {
        return false;
    }
    if ["CHAR", "CLOB", "TEXT", "BLOB"]
        .iter()
        .any(|kind| declared.contains(kind))
    {
        return false;
    }
    ["REAL", "FLOA", "DOUB"]
        .iter()
        .any(|kind| declared.contains(kind))
}

/// Whether SQLite turns numbers into text in a column.
fn is_text(declared: &str) -> bool {
    let declared = declared.to_ascii_uppercase();
    !declared.contains("INT")
        && ["CHAR", "CLOB", "TEXT"]
            .iter()
            .any(|kind| declared.contains(kind))
}

fn strict_type(declared: &str) -> Option<StrictType> {
    match declared.to_ascii_uppercase().as_str() {
        "INT" | "INTEGER" => Some(StrictType::Integer),
        "REAL" => Some(StrictType::Real),
        "TEXT" => Some(StrictType::Text),
        "BLOB" => Some(StrictType::Blob),
        _ => None,
    }
}

/// Whether the word CHECK stands in the statement outside of names, strings and comments.
fn mentions_check(sql: &str) -> bool {
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let skip_past = |opening: usize, closing: &str| {
            rest[opening..]
                .find(closing)
                .map_or("", |end| &rest[opening + end + closing.len()..])
        };
        rest = match first {
            // A doubled quote inside a string ends one string and starts the next.
            '\'' => skip_past(1, "'"),
            '"' => skip_past(1, "\""),
            '`' => skip_past(1, "`"),
            '[' => skip_past(1, "]"),
            '-' if rest.starts_with("--") => skip_past(2, "\n"),
            '/' if rest.starts_with("/*") => skip_past(2, "*/"),
            letter if letter.is_alphanumeric() || letter == '_' => {
                let end = rest
                    .find(|next: char| !(next.is_alphanumeric() || next == '_' || next == '$'))
                    .unwrap_or(rest.len());
                if rest[..end].eq_ignore_ascii_case("CHECK") {
                    return true;
                }
                &rest[end..]
            }
            other => &rest[other.len_utf8()..],
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_is_found_only_as_a_word_of_its_own() {
        assert!(mentions_check("CREATE TABLE t(a INT check(a > 0))"));
        assert!(mentions_check("CREATE TABLE t(a, CONSTRAINT c CHECK(a))"));
        for innocent in [
            "CREATE TABLE checks(a, checked INT, \"check\" INT, [check] INT, `check` INT)",
            "CREATE TABLE t(a DEFAULT 'check it''s check') -- check",
            "CREATE TABLE t(a /* check */, é_check INT)",
        ] {
            assert!(!mentions_check(innocent), "{innocent}");
        }
    }
}

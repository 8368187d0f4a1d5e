//! Keeps writers without the engine away from merged tables, so that no change goes untracked.
//!
//! Every merged table carries an always empty partial index over all its columns, whose WHERE calls a function that only
//! the engine registers: any INSERT or UPDATE elsewhere cannot even be prepared, reading is not affected. A trigger that
//! never fires does the same for DELETE. The engine's own function lets a statement run only inside one of the engine's
//! transactions, so a plain write on [`Replica::connection`](crate::Replica::connection) fails too.

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use crate::capture::{Mode, Shared};
use crate::names::{list, quoted};

/// How the names of the guard's own triggers begin and end, as a pattern for GLOB.
pub(crate) const TRIGGERS_GLOB: &str = "replica_guard_*_delete";

/// A merged table was written outside of the engine's transactions.
#[derive(Debug, thiserror::Error)]
#[error("merged tables are written through a transaction of the merge engine, not directly")]
struct OutsideTransaction;

/// Registers the function that the guards of this connection call.
pub(crate) fn register(
    connection: &Connection,
    shared: &Arc<Shared>,
) -> Result<(), rusqlite::Error> {
    let shared = Arc::clone(shared);
    connection.create_scalar_function(
        "replica_guard",
        0,
        FunctionFlags::SQLITE_UTF8
            | FunctionFlags::SQLITE_DETERMINISTIC
            | FunctionFlags::SQLITE_INNOCUOUS,
        move |_| {
            if shared.mode() == Mode::Closed {
                Err(rusqlite::Error::UserFunctionError(Box::new(
                    OutsideTransaction,
                )))
            } else {
                Ok(false)
            }
        },
    )
}

/// Puts the guard on a table, or renews it after a column was added.
pub(crate) fn put(
    connection: &Connection,
    id: i64,
    table: &str,
    columns: &[String],
) -> Result<(), rusqlite::Error> {
    let index = format!("replica_guard_{id}");
    connection.execute_batch(&format!(
        "DROP INDEX IF EXISTS {index};
         DROP TRIGGER IF EXISTS {index}_delete;
         CREATE INDEX {index} ON {quoted}({columns}) WHERE replica_guard();
         {trigger};",
        quoted = quoted(table),
        columns = list(columns.iter().map(String::as_str)),
        trigger = trigger(&format!("{index}_delete"), table),
    ))
}

fn trigger(name: &str, table: &str) -> String {
    format!(
        "CREATE TRIGGER {name} AFTER DELETE ON {} WHEN replica_guard() BEGIN SELECT 1; END",
        quoted(table)
    )
}

/// The triggers and views in a database that are not the engine's own, by kind and name. Whoever takes in a database that
/// somebody else may have changed looks here first: their statements would run amid those of the application.
pub fn foreign_code(connection: &Connection) -> Result<Vec<String>, rusqlite::Error> {
    let mut statement = connection.prepare(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE type IN ('trigger', 'view') ORDER BY type, name",
    )?;
    let mut rows = statement.query([])?;
    let mut foreign = Vec::new();
    while let Some(row) = rows.next()? {
        let (kind, name, table): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let text: Option<String> = row.get(3)?;
        let number = name
            .strip_prefix("replica_guard_")
            .and_then(|rest| rest.strip_suffix("_delete"))
            .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        let own = number.is_some() && text.as_deref() == Some(trigger(&name, &table).as_str());
        if !own {
            foreign.push(format!("{kind} {name}"));
        }
    }
    Ok(foreign)
}

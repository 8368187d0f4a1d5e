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
         CREATE INDEX {index} ON {table}({columns}) WHERE replica_guard();
         CREATE TRIGGER {index}_delete AFTER DELETE ON {table} WHEN replica_guard() BEGIN SELECT 1; END;",
        table = quoted(table),
        columns = list(columns.iter().map(String::as_str)),
    ))
}

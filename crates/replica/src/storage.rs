//! The engine's own tables, all named `replica_…`, and the one number that says which program may write them.
//!
//! Forward only: a migration is never edited once released, and a database of a newer format is refused untouched.

use rusqlite::{Connection, OptionalExtension};

/// The format this program writes.
const FORMAT: i64 = 1;

/// The engine's tables could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// SQLite said no.
    #[error("use the merge engine's tables")]
    Sqlite(#[from] rusqlite::Error),
    /// The tables hold something that this engine never writes.
    #[error("the merge engine's tables are damaged ({0}); restore the database from a backup")]
    Damaged(&'static str),
    /// Merging or declaring while transactions are held back to be committed together.
    #[error("a group of transactions is open; commit it first")]
    GroupOpen,
    /// SQLite rolled back what was held back: a statement of the application demanded it, or the disk is full.
    #[error("the transactions that were to be committed together were rolled back; run them again")]
    GroupLost,
    /// A newer program wrote the database.
    #[error(
        "this database has merge format {found} and this program knows {FORMAT}; update the program"
    )]
    Newer {
        /// The format of the database.
        found: i64,
    },
}

/// Tables that exist once. Those that exist once per merged table are made by [`create_tables_of`].
const SCHEMA: &str = "
CREATE TABLE replica_state(
  -- one row: the latest stamp written or seen, and a number that grows with every transaction of the engine
  id INTEGER PRIMARY KEY CHECK (id = 1),
  format INTEGER NOT NULL,
  hlc INTEGER NOT NULL,
  version INTEGER NOT NULL
);
CREATE TABLE replica_table(
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  compartment TEXT,                       -- the key column that names the compartment, NULL for the default one
  policy INTEGER NOT NULL
);
CREATE TABLE replica_column(
  -- columns keep their number for good, whatever their place in the table
  tbl INTEGER NOT NULL,
  number INTEGER NOT NULL,
  name TEXT NOT NULL,
  PRIMARY KEY (tbl, number)
) WITHOUT ROWID;
CREATE TABLE replica_writer(
  number INTEGER PRIMARY KEY,
  key BLOB NOT NULL UNIQUE
);
CREATE TABLE replica_frontier(
  -- how far the changesets of a writer were merged: what is not beyond is known
  writer INTEGER NOT NULL,
  compartment BLOB NOT NULL,              -- empty for the default compartment
  hlc INTEGER NOT NULL,
  part INTEGER NOT NULL,
  PRIMARY KEY (writer, compartment)
) WITHOUT ROWID;
CREATE TABLE replica_conflict(
  -- writes that lost to a write they had not seen
  tbl INTEGER NOT NULL,
  key BLOB NOT NULL,
  life INTEGER NOT NULL,
  hlc INTEGER NOT NULL,
  writer INTEGER NOT NULL,
  cells BLOB NOT NULL,                    -- column number and value, one after the other
  PRIMARY KEY (tbl, key, life, hlc, writer)
) WITHOUT ROWID;
CREATE TABLE replica_quarantine(
  -- what the local schema cannot hold yet; a row with an empty column says that the row itself is alive or dead
  tbl TEXT NOT NULL,
  keys TEXT NOT NULL,                     -- names of the key columns, each followed by a line feed
  key BLOB NOT NULL,
  col TEXT NOT NULL,
  life INTEGER NOT NULL,
  hlc INTEGER NOT NULL,
  writer INTEGER NOT NULL,
  version INTEGER NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (tbl, keys, key, col)
) WITHOUT ROWID;
";

/// Makes the engine's tables in a new database, and checks the format of an old one.
pub(crate) fn migrate(connection: &Connection) -> Result<(), StorageError> {
    if let Some(found) = format(connection)? {
        return check(found);
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let made = make(connection);
    connection.execute_batch(if made.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    made
}

fn make(connection: &Connection) -> Result<(), StorageError> {
    // Another process may have made them since we looked.
    if let Some(found) = format(connection)? {
        return check(found);
    }
    connection.execute_batch(SCHEMA)?;
    connection.execute(
        "INSERT INTO replica_state(id, format, hlc, version) VALUES (1, ?1, 0, 0)",
        [FORMAT],
    )?;
    Ok(())
}

fn check(found: i64) -> Result<(), StorageError> {
    match found {
        FORMAT => Ok(()),
        found if found > FORMAT => Err(StorageError::Newer { found }),
        _ => Err(StorageError::Damaged("the format number is too small")),
    }
}

fn format(connection: &Connection) -> Result<Option<i64>, StorageError> {
    let exists = connection
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'replica_state'",
            [],
            |_| Ok(()),
        )
        .optional()?;
    if exists.is_none() {
        return Ok(None);
    }
    Ok(connection
        .query_row("SELECT format FROM replica_state WHERE id = 1", [], |row| {
            row.get(0)
        })
        .optional()?)
}

/// Makes the clocks and tombstones of one merged table, and for one WITHOUT ROWID the numbers that stand for its keys.
pub(crate) fn create_tables_of(
    connection: &Connection,
    table: i64,
    without_rowid: bool,
) -> Result<(), rusqlite::Error> {
    connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS replica_clock_{table}(
           chunk INTEGER PRIMARY KEY,           -- 64 neighbouring slots
           era INTEGER NOT NULL,                -- the latest version in it, or one shortly before
           clocks BLOB NOT NULL
         );
         CREATE INDEX IF NOT EXISTS replica_clock_{table}_era ON replica_clock_{table}(era);
         CREATE TABLE IF NOT EXISTS replica_grave_{table}(
           key BLOB PRIMARY KEY,
           life INTEGER NOT NULL,
           hlc INTEGER NOT NULL,
           writer INTEGER NOT NULL,
           version INTEGER NOT NULL
         ) WITHOUT ROWID;
         CREATE INDEX IF NOT EXISTS replica_grave_{table}_version ON replica_grave_{table}(version);"
    ))?;
    if without_rowid {
        connection.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS replica_slot_{table}(
               slot INTEGER PRIMARY KEY,
               key BLOB NOT NULL UNIQUE
             );"
        ))?;
    }
    Ok(())
}

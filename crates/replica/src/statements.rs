//! A statement prepared when it is first needed and given back to the connection's cache at the end.

use rusqlite::{CachedStatement, Connection};

/// A statement that may never be needed.
pub(crate) struct Lazy<'c> {
    connection: &'c Connection,
    sql: String,
    statement: Option<CachedStatement<'c>>,
}

impl<'c> Lazy<'c> {
    pub(crate) fn new(connection: &'c Connection, sql: String) -> Self {
        Self {
            connection,
            sql,
            statement: None,
        }
    }

    pub(crate) fn get(&mut self) -> Result<&mut CachedStatement<'c>, rusqlite::Error> {
        match &mut self.statement {
            Some(statement) => Ok(statement),
            none => Ok(none.insert(self.connection.prepare_cached(&self.sql)?)),
        }
    }
}

impl std::fmt::Debug for Lazy<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lazy").field(&self.sql).finish()
    }
}

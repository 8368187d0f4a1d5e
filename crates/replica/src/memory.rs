//! What the engine remembers of its own tables from one transaction to the next, so that a small one reads next to nothing.
//!
//! Good until another connection commits, this one rolls back, or the tables are read anew. What a transaction takes it
//! puts back only when it has written all of it; whatever is missing here is read again.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::clocks::ClockMemory;
use crate::state::State;
use crate::statements::TableSql;
use crate::storage::StorageError;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// SQLite's count of commits by others at the latest look, and the state then.
    known: Option<(i64, State)>,
    tables: BTreeMap<i64, TableMemory>,
    /// A transaction that holds the database goes on: nobody else can have committed.
    pinned: bool,
}

/// What is known of one merged table.
#[derive(Debug)]
pub(crate) struct TableMemory {
    pub(crate) clocks: ClockMemory,
    pub(crate) any_grave: bool,
}

impl Memory {
    /// The state now. Call inside a transaction, and before [`take`](Self::take).
    pub(crate) fn state(&mut self, connection: &Connection) -> Result<State, StorageError> {
        if let Some((_, state)) = self.known.filter(|_| self.pinned) {
            return Ok(state);
        }
        let seen: i64 = connection
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?;
        if let Some((known, state)) = self.known
            && known == seen
        {
            return Ok(state);
        }
        self.tables.clear();
        let state = State::load(connection)?;
        self.known = Some((seen, state));
        Ok(state)
    }

    /// The state for readers, inside a transaction or not.
    pub(crate) fn latest(&self, connection: &Connection) -> Result<State, StorageError> {
        match self.known.filter(|_| self.pinned) {
            Some((_, state)) => Ok(state),
            None => State::load(connection),
        }
    }

    /// SQLite's transaction goes on after this one of the engine's.
    pub(crate) fn pin(&mut self) {
        self.pinned = true;
    }

    /// It ends.
    pub(crate) fn unpin(&mut self) {
        self.pinned = false;
    }

    /// This connection committed a new state, or is about to.
    pub(crate) fn set(&mut self, state: State) {
        if let Some((_, known)) = &mut self.known {
            *known = state;
        }
    }

    /// Takes what is known of a table.
    pub(crate) fn take(
        &mut self,
        connection: &Connection,
        table: i64,
        sql: &TableSql,
    ) -> Result<TableMemory, StorageError> {
        if let Some(known) = self.tables.remove(&table) {
            return Ok(known);
        }
        Ok(TableMemory {
            clocks: ClockMemory::read(connection, sql)?,
            any_grave: crate::graves::any(connection, sql)?,
        })
    }

    /// Puts back what is known of a table, after all of it was written.
    pub(crate) fn keep(&mut self, table: i64, known: TableMemory) {
        self.tables.insert(table, known);
    }

    /// Nobody knows anything of the tables.
    pub(crate) fn forget_tables(&mut self) {
        self.tables.clear();
    }

    /// Nobody knows anything.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

//! SQL text that is made once for a table, and statements prepared when they are first needed.

use std::fmt;
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection};

use crate::names::quoted;
use crate::state::STATE_CHUNK;

/// SQL text that can be handed on for nothing.
#[derive(Debug, Clone)]
pub(crate) enum Sql {
    Fixed(&'static str),
    Made(Arc<str>),
}

impl Sql {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Fixed(sql) => sql,
            Self::Made(sql) => sql,
        }
    }
}

impl From<String> for Sql {
    fn from(sql: String) -> Self {
        Self::Made(sql.into())
    }
}

/// A statement that may never be needed. It is prepared on first use and given back to the connection's cache at the end.
pub(crate) struct Lazy<'c> {
    connection: &'c Connection,
    sql: Sql,
    statement: Option<CachedStatement<'c>>,
}

impl<'c> Lazy<'c> {
    pub(crate) fn new(connection: &'c Connection, sql: &Sql) -> Self {
        Self {
            connection,
            sql: sql.clone(),
            statement: None,
        }
    }

    pub(crate) fn get(&mut self) -> Result<&mut CachedStatement<'c>, rusqlite::Error> {
        match &mut self.statement {
            Some(statement) => Ok(statement),
            none => Ok(none.insert(self.connection.prepare_cached(self.sql.as_str())?)),
        }
    }
}

impl fmt::Debug for Lazy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lazy").field(&self.sql).finish()
    }
}

/// The statements that every transaction on a table may need.
#[derive(Debug)]
pub(crate) struct TableSql {
    pub(crate) read_one: Sql,
    pub(crate) read_range: Sql,
    pub(crate) find: Sql,
    pub(crate) delete: Sql,
    pub(crate) clock_last: Sql,
    pub(crate) clock_select: Sql,
    pub(crate) clock_insert: Sql,
    pub(crate) clock_update: Sql,
    pub(crate) clock_update_era: Sql,
    pub(crate) clock_delete: Sql,
    pub(crate) state_update: Sql,
    pub(crate) grave_any: Sql,
    pub(crate) grave_select: Sql,
    pub(crate) grave_put: Sql,
    pub(crate) grave_delete: Sql,
    pub(crate) slot_by_key: Sql,
    pub(crate) slot_by_slot: Sql,
    pub(crate) slot_insert: Sql,
    pub(crate) slot_delete: Sql,
}

impl TableSql {
    /// For the table with a number: how its rows are selected, and the conditions that find one by slot and by key.
    pub(crate) fn new(
        id: i64,
        table: &str,
        select: &str,
        rowid: &str,
        by_slot: &str,
        by_key: &str,
    ) -> Self {
        let clock = format!("replica_clock_{id}");
        let grave = format!("replica_grave_{id}");
        let slot = format!("replica_slot_{id}");
        Self {
            read_one: format!("{select} WHERE {by_slot}").into(),
            read_range: format!("{select} WHERE {rowid} BETWEEN ?1 AND ?2 ORDER BY {rowid}").into(),
            find: format!("{select} WHERE {by_key}").into(),
            delete: format!("DELETE FROM {} WHERE {by_slot}", quoted(table)).into(),
            clock_last: format!("SELECT max(chunk) FROM {clock} WHERE chunk < {STATE_CHUNK}").into(),
            clock_select: format!("SELECT era, clocks FROM {clock} WHERE chunk = ?1").into(),
            clock_insert: format!("INSERT INTO {clock}(chunk, era, clocks) VALUES (?1, ?2, ?3)").into(),
            clock_update: format!("UPDATE {clock} SET clocks = ?2 WHERE chunk = ?1").into(),
            clock_update_era: format!("UPDATE {clock} SET era = ?2, clocks = ?3 WHERE chunk = ?1").into(),
            clock_delete: format!("DELETE FROM {clock} WHERE chunk = ?1").into(),
            state_update: format!("UPDATE {clock} SET clocks = ?1 WHERE chunk = {STATE_CHUNK}").into(),
            grave_any: format!("SELECT EXISTS(SELECT 1 FROM {grave})").into(),
            grave_select: format!("SELECT life, hlc, writer, version FROM {grave} WHERE key = ?1").into(),
            grave_put: format!(
                "INSERT OR REPLACE INTO {grave}(key, life, hlc, writer, version) VALUES (?1, ?2, ?3, ?4, ?5)"
            )
            .into(),
            grave_delete: format!("DELETE FROM {grave} WHERE key = ?1").into(),
            slot_by_key: format!("SELECT slot FROM {slot} WHERE key = ?1").into(),
            slot_by_slot: format!("SELECT key FROM {slot} WHERE slot = ?1").into(),
            slot_insert: format!("INSERT INTO {slot}(key) VALUES (?1)").into(),
            slot_delete: format!("DELETE FROM {slot} WHERE slot = ?1").into(),
        }
    }
}

//! The ends of this device's own logs, remembered between transactions.
//!
//! Valid only while nobody else wrote to the database and nothing was merged since; whoever does either calls [`OwnLogs::forget`],
//! and what other connections do shows in SQLite's own counter.

use std::collections::BTreeMap;

use aeroedge_ids::CompartmentId;
use rusqlite::Connection;

use crate::stored::LogRow;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct OwnLogs {
    data_version: i64,
    ends: BTreeMap<CompartmentId, LogRow>,
}

impl OwnLogs {
    /// Call inside a write transaction: drops what another connection has made stale.
    pub(crate) fn check(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let version = connection
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?;
        if version != self.data_version {
            self.forget();
            self.data_version = version;
        }
        Ok(())
    }

    /// The end of a log, if it is known and everything merged in its compartment was seen by an entry of it.
    pub(crate) fn take(&mut self, compartment: CompartmentId) -> Option<LogRow> {
        self.ends.remove(&compartment)
    }

    /// Remembers the end of a log after an entry that names everything merged so far.
    pub(crate) fn keep(&mut self, log: LogRow) {
        self.ends.insert(log.compartment, log);
    }

    /// After anything but an own write: a merge, a signature, a rollback.
    pub(crate) fn forget(&mut self) {
        self.ends.clear();
    }
}

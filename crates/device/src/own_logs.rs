//! The ends of this device's own logs, remembered between transactions.
//!
//! Valid only while nobody else wrote to the database and nothing was merged since; whoever does either calls [`OwnLogs::forget`],
//! and what other connections do shows in SQLite's own counter. While transactions are committed together the positions are
//! written once, at the end of the group, and stand only here until then.

use std::collections::BTreeMap;

use aeroedge_ids::CompartmentId;
use rusqlite::Connection;

use crate::stored::LogRow;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct OwnLogs {
    data_version: i64,
    ends: BTreeMap<CompartmentId, End>,
    /// Ends that the running transaction has made.
    fresh: Vec<End>,
}

#[derive(Debug)]
struct End {
    log: LogRow,
    is_saved: bool,
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
    pub(crate) fn known(&self, compartment: CompartmentId) -> Option<LogRow> {
        self.ends.get(&compartment).map(|end| end.log.clone())
    }

    /// Notes the end of a log after an entry that names everything merged so far.
    pub(crate) fn note(&mut self, log: LogRow, is_saved: bool) {
        self.fresh.push(End { log, is_saved });
    }

    /// The transaction holds: what it noted is the end now.
    pub(crate) fn accept(&mut self) {
        for end in self.fresh.drain(..) {
            self.ends.insert(end.log.compartment, end);
        }
    }

    /// The transaction is undone.
    pub(crate) fn reject(&mut self) {
        self.fresh.clear();
    }

    /// Writes the positions that are not written yet.
    pub(crate) fn save(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for end in self.ends.values_mut().filter(|end| !end.is_saved) {
            end.log.save(connection)?;
            end.is_saved = true;
        }
        Ok(())
    }

    /// A head covers the whole of a log.
    pub(crate) fn signed(&mut self, log: &LogRow) {
        if let Some(end) = self.ends.get_mut(&log.compartment)
            && end.log.number == log.number
        {
            (end.log.vouched, end.log.vouched_hash) = (log.vouched, log.vouched_hash);
        }
    }

    /// After anything but an own write: a merge, a rollback.
    pub(crate) fn forget(&mut self) {
        self.ends.clear();
        self.fresh.clear();
    }
}

//! The tables of the platform and how an older database becomes a current one. Migrations only add.

use rusqlite::Connection;

/// In order; the position is the version.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_logs.sql"),
    include_str!("../migrations/0002_verdicts.sql"),
    include_str!("../migrations/0003_again.sql"),
    include_str!("../migrations/0004_base.sql"),
];

/// Why a database could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Written by a later program.
    #[error(
        "this database was written by a newer program (format {found}, this one knows {known}): install the newer version to open it"
    )]
    Newer {
        /// In the file.
        found: u32,
        /// The newest this program knows.
        known: u32,
    },
    /// SQLite said no.
    #[error("the platform's tables could not be made")]
    Sqlite(#[from] rusqlite::Error),
}

/// The version this program writes.
pub(crate) const fn current() -> u32 {
    MIGRATIONS.len() as u32
}

/// Brings the tables up to date; safe when several processes start at once.
pub(crate) fn migrate(connection: &Connection) -> Result<(), SchemaError> {
    if version(connection)? == current() {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let outcome = migrate_locked(connection);
    connection.execute_batch(if outcome.is_ok() {
        "COMMIT"
    } else {
        "ROLLBACK"
    })?;
    outcome
}

fn migrate_locked(connection: &Connection) -> Result<(), SchemaError> {
    let found = version(connection)?;
    if found > current() {
        return Err(SchemaError::Newer {
            found,
            known: current(),
        });
    }
    for step in &MIGRATIONS[found as usize..] {
        connection.execute_batch(step)?;
    }
    connection.execute(
        "INSERT INTO device_meta(name, value) VALUES ('format', ?1) ON CONFLICT(name) DO UPDATE SET value = ?1",
        [current()],
    )?;
    Ok(())
}

fn version(connection: &Connection) -> Result<u32, rusqlite::Error> {
    let present: bool = connection.query_row(
        "SELECT EXISTS(SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'device_meta')",
        [],
        |row| row.get(0),
    )?;
    if !present {
        return Ok(0);
    }
    connection.query_row(
        "SELECT coalesce((SELECT value FROM device_meta WHERE name = 'format'), 0)",
        [],
        |row| row.get(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_changes_nothing() {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection).unwrap();
        migrate(&connection).unwrap();
        assert_eq!(version(&connection).unwrap(), current());
    }

    #[test]
    fn a_newer_database_is_refused_with_advice() {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection).unwrap();
        connection
            .execute(
                "UPDATE device_meta SET value = 99 WHERE name = 'format'",
                [],
            )
            .unwrap();
        let message = migrate(&connection).unwrap_err().to_string();
        assert!(message.contains("install the newer version"), "{message}");
    }
}

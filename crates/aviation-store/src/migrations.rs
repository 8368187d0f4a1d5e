//! Brings a database to the schema of this program, step by numbered step.
//!
//! Migrations are embedded, forward-only and never edited once released: a change is a new file. Old and new programs
//! share merged rows, so a schema only ever grows.

use rusqlite::{Connection, OptionalExtension};

/// The database cannot be brought to this program's schema.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// A newer program has been here.
    #[error(
        "database has aviation schema {found} and this program knows {known}: install the newer program that wrote it"
    )]
    NewerProgram {
        /// Version in the database.
        found: u32,
        /// Newest version of this program.
        known: u32,
    },
    /// The recorded migrations are not those of this program.
    #[error(
        "aviation migration {version} is {found:?} in the database and {known:?} in this program: it was written by a program of another origin; restore a copy made by this one"
    )]
    OtherOrigin {
        /// The first version that differs.
        version: u32,
        /// Its name in the database.
        found: String,
        /// Its name here.
        known: String,
    },
    /// A step failed; nothing of it remains.
    #[error("apply aviation migration {version} ({name})")]
    Step {
        /// Version of the step.
        version: u32,
        /// Name of the step.
        name: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The record of applied migrations cannot be read or written.
    #[error("read which aviation migrations the database has")]
    Record(#[source] rusqlite::Error),
}

macro_rules! embedded {
    ($($version:literal $name:literal)*) => {
        &[$(($version, $name, include_str!(concat!("../migrations/", $name, ".sql")))),*]
    };
}

/// Every migration: version, name and SQL, without gaps from 1.
pub fn migrations() -> &'static [(u32, &'static str, &'static str)] {
    embedded! {
        1 "0001_people"
        2 "0002_logbook"
        3 "0003_aircraft"
        4 "0004_schedule"
        5 "0005_training"
        6 "0006_money"
        7 "0007_notices"
        8 "0008_copies"
    }
}

/// Applies what is missing, all or nothing, and returns the version at which the database then stands.
///
/// Works inside a transaction of the caller or makes one of its own.
pub fn apply(conn: &Connection) -> Result<u32, MigrationError> {
    let (begin, commit, rollback) = if conn.is_autocommit() {
        ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")
    } else {
        (
            "SAVEPOINT aviation_migration",
            "RELEASE aviation_migration",
            "ROLLBACK TO aviation_migration; RELEASE aviation_migration",
        )
    };
    conn.execute_batch(begin).map_err(MigrationError::Record)?;
    let applied = apply_missing(conn).and_then(|version| match conn.execute_batch(commit) {
        Ok(()) => Ok(version),
        Err(error) => Err(MigrationError::Record(error)),
    });
    if applied.is_err() {
        // The first error says what happened; a failing rollback would only repeat it.
        let _ = conn.execute_batch(rollback);
    }
    applied
}

fn apply_missing(conn: &Connection) -> Result<u32, MigrationError> {
    conn.execute_batch(
        "CREATE TABLE IF NOT EXISTS aviation_migration (
           version INTEGER PRIMARY KEY,  -- without gaps from 1
           name TEXT NOT NULL
         )",
    )
    .map_err(MigrationError::Record)?;
    let found: u32 = conn
        .query_row("SELECT max(version) FROM aviation_migration", [], |row| {
            row.get::<_, Option<u32>>(0)
        })
        .map_err(MigrationError::Record)?
        .unwrap_or(0);
    let known = migrations().len() as u32;
    if found > known {
        return Err(MigrationError::NewerProgram { found, known });
    }
    for (version, name, sql) in migrations() {
        let recorded: Option<String> = conn
            .query_row(
                "SELECT name FROM aviation_migration WHERE version = ?1",
                [version],
                |row| row.get(0),
            )
            .optional()
            .map_err(MigrationError::Record)?;
        match recorded {
            Some(recorded) if recorded == *name => {}
            Some(found) => {
                return Err(MigrationError::OtherOrigin {
                    version: *version,
                    found,
                    known: (*name).to_owned(),
                });
            }
            None => conn
                .execute_batch(sql)
                .and_then(|()| {
                    conn.execute(
                        "INSERT INTO aviation_migration (version, name) VALUES (?1, ?2)",
                        (version, name),
                    )
                })
                .map(|_| ())
                .map_err(|source| MigrationError::Step {
                    version: *version,
                    name,
                    source,
                })?,
        }
    }
    Ok(known)
}

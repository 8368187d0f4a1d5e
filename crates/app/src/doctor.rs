//! What is wrong with an installation, and what to do about it.
//!
//! Examining changes nothing and needs no passphrase. It goes on after a finding: several things break together.

use std::fs;
use std::path::Path;

use aeroedge_ids::Millis;
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;

use crate::explain::{Explained, with_causes};
use crate::folder::{DataFolder, is_exposed};
use crate::keys::KeyFile;
use crate::standing::Standing;

/// Below this a database cannot be worked with.
const SPACE_NEEDED_BYTES: u64 = 100 * 1024 * 1024;
/// Below this it is time to think about it.
const SPACE_COMFORTABLE_BYTES: u64 = 1024 * 1024 * 1024;
/// Time zones and a badly set clock of the builder.
const CLOCK_TOLERANCE_MILLIS: u64 = 24 * 3600 * 1000;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Good,
    /// Works, and somebody should know.
    Note,
    /// Must be dealt with.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub check: String,
    /// How bad it is.
    pub state: State,
    /// What was found.
    pub message: String,
    /// What to do; empty if nothing.
    pub advice: String,
}

impl Finding {
    /// Nothing to do.
    pub fn good(check: &str, message: impl Into<String>) -> Self {
        Self::new(check, State::Good, message, "")
    }

    /// Works, and somebody should know.
    pub fn note(check: &str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, State::Note, message, advice)
    }

    /// Must be dealt with.
    pub fn bad(check: &str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, State::Bad, message, advice)
    }

    /// An error of another operation as a finding.
    pub fn from_error(check: &str, error: &impl Explained) -> Self {
        Self::bad(check, with_causes(error), error.advice())
    }

    fn new(
        check: &str,
        state: State,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            check: check.to_owned(),
            state,
            message: message.into(),
            advice: advice.into(),
        }
    }
}

/// Looks at everything that can be seen from outside: folder, files, disk, clock.
pub fn examine_folder(path: &Path, now: Millis) -> Vec<Finding> {
    let folder = match DataFolder::open(path) {
        Ok(folder) => folder,
        Err(error) => {
            return vec![Finding::from_error("folder", &error), clock(now)];
        }
    };
    let mut findings = vec![Finding::good(
        "folder",
        format!("{} belongs to you alone", path.display()),
    )];
    findings.push(key_file(&folder));
    findings.push(database_file(&folder));
    findings.push(integrity(&folder));
    findings.push(space(&folder));
    findings.push(clock(now));
    findings
}

/// Looks at what one group has to say.
pub fn examine_standing(standing: &Standing) -> Vec<Finding> {
    let name = standing.name.as_deref().unwrap_or("a group without a name");
    let mut findings = Vec::new();
    if standing.waiting > 0 {
        let why = standing
            .notices
            .first()
            .map_or_else(|| "they wait for others".to_owned(), Clone::clone);
        findings.push(Finding::note(
            "waiting",
            format!(
                "{}: {} changes are here and not in the tables yet; {why}",
                name, standing.waiting
            ),
            "meet more devices of the group with `aeroedge sync now`",
        ));
    }
    if standing.refused > 0 {
        findings.push(Finding::note(
            "refused",
            format!(
                "{}: {} changes of others do not count",
                name, standing.refused
            ),
            "see `aeroedge sync status`; the roles of their writers do not allow them",
        ));
    }
    if standing.quarantined > 0 {
        findings.push(Finding::note(
            "newer data",
            format!(
                "{}: {} values have no place in this program",
                name, standing.quarantined
            ),
            "update this program; nothing is lost meanwhile",
        ));
    }
    if standing.conflicts > 0 {
        findings.push(Finding::note(
            "conflicts",
            format!(
                "{}: {} fields were edited by several at once; the latest stands",
                name, standing.conflicts
            ),
            "look at them on the page that `aeroedge up` serves",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::good(
            "content",
            format!("{name}: {} changes, all in the tables", standing.merged),
        ));
    }
    findings
}

fn key_file(folder: &DataFolder) -> Finding {
    match KeyFile::read(&folder.key_file()) {
        Err(error) => Finding::from_error("keys", &error),
        Ok(file) if file.is_sealed() => Finding::good(
            "keys",
            "the keys of this device rest sealed by a passphrase",
        ),
        Ok(_) => Finding::note(
            "keys",
            "the keys of this device rest in a file that only you may read, not sealed",
            "encrypt the disk of this computer, or make new installations with `aeroedge init --seal`",
        ),
    }
}

fn database_file(folder: &DataFolder) -> Finding {
    match fs::metadata(folder.database()) {
        Ok(metadata) if is_exposed(&metadata) => Finding::bad(
            "database file",
            "other users of this computer may read the database",
            format!(
                "close it with `chmod go= '{}'`",
                folder.database().display()
            ),
        ),
        Ok(metadata) => Finding::good(
            "database file",
            format!("{} on disk", bytes(metadata.len())),
        ),
        Err(error) => Finding::bad(
            "database file",
            format!("cannot look at the database: {error}"),
            "check that the folder belongs to you",
        ),
    }
}

/// Looks through every page of the database, without writing to it.
fn integrity(folder: &DataFolder) -> Finding {
    let check = || -> rusqlite::Result<String> {
        let connection =
            Connection::open_with_flags(folder.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
    };
    let advice =
        "keep this folder as it is and restore an export into a new one with `aeroedge restore`";
    match check() {
        Ok(answer) if answer == "ok" => {
            Finding::good("integrity", "every page of the database is sound")
        }
        Ok(answer) => Finding::bad(
            "integrity",
            format!("the database is damaged: {answer}"),
            advice,
        ),
        Err(error) => Finding::bad(
            "integrity",
            format!("the database cannot be read: {error}"),
            advice,
        ),
    }
}

fn space(folder: &DataFolder) -> Finding {
    let free = match free_bytes(folder.path()) {
        Ok(free) => free,
        Err(error) => {
            return Finding::note(
                "disk",
                format!("cannot tell how much room is left: {error}"),
                "",
            );
        }
    };
    let message = format!("{} free on this disk", bytes(free));
    if free < SPACE_NEEDED_BYTES {
        Finding::bad("disk", message, "make room; writing fails once it is full")
    } else if free < SPACE_COMFORTABLE_BYTES {
        Finding::note("disk", message, "make room before a large import")
    } else {
        Finding::good("disk", message)
    }
}

#[cfg(unix)]
fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> std::io::Result<u64> {
    Err(std::io::ErrorKind::Unsupported.into())
}

fn clock(now: Millis) -> Finding {
    let built = Millis(built_at_seconds() * 1000);
    if now.0 + CLOCK_TOLERANCE_MILLIS < built.0 {
        return Finding::bad(
            "clock",
            "the clock of this computer is behind the day this program was built",
            "set date and time, then start again; until then others would take new entries for old ones",
        );
    }
    Finding::good(
        "clock",
        "the clock is not behind the day this program was built",
    )
}

/// When this program was built, in seconds since 1970.
pub fn built_at_seconds() -> u64 {
    env!("AEROEDGE_BUILT_AT_SECONDS").parse().unwrap_or(0)
}

fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{number} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_behind_the_program_is_bad() {
        assert_eq!(clock(Millis(0)).state, State::Bad);
        let now = Millis(built_at_seconds() * 1000 + 5_000);
        assert_eq!(clock(now).state, State::Good);
    }

    #[test]
    fn a_folder_without_an_installation_says_how_to_make_one() {
        let place = tempfile::tempdir().unwrap();
        let findings = examine_folder(&place.path().join("none"), Millis(0));
        assert_eq!(findings[0].state, State::Bad);
        assert!(findings[0].advice.contains("init"));
    }

    #[test]
    fn sizes_are_shown_in_one_unit() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(3 * 1024 * 1024 * 1024), "3.0 GiB");
    }
}

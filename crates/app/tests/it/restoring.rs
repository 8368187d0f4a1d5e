//! Copies that somebody changed on the way.

#![expect(clippy::unwrap_used, reason = "a test may end here")]

use std::fs;
use std::path::{Path, PathBuf};

use aeroedge_app::copies::{CopyError, export, manifest_path, restore};
use rusqlite::Connection;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::support::{NOW, installation};

const PASSPHRASE: &str = "four tall green trees";

/// An export into which somebody smuggled a statement, with a manifest that fits.
fn tampered(place: &TempDir, original: &Path, statement: &str) -> PathBuf {
    let file = place.path().join("tampered.db");
    fs::copy(original, &file).unwrap();
    let connection = Connection::open(&file).unwrap();
    connection.execute_batch(statement).unwrap();
    connection.close().unwrap();
    let bytes = fs::read(&file).unwrap();
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(manifest_path(original)).unwrap()).unwrap();
    manifest["bytes"] = bytes.len().into();
    manifest["sha256"] = data_encoding::HEXLOWER
        .encode(&Sha256::digest(&bytes))
        .into();
    fs::write(manifest_path(&file), manifest.to_string()).unwrap();
    file
}

#[test]
fn a_copy_with_statements_of_somebody_else_is_refused_and_leaves_nothing() {
    let (place, mut installation) = installation();
    let file = place.path().join("copy.db");
    export(
        &mut installation,
        &file,
        Some(PASSPHRASE),
        NOW,
        &mut |_, _| {},
    )
    .unwrap();
    let target = place.path().join("restored");
    for (statement, told) in [
        (
            "CREATE TRIGGER pass_on AFTER INSERT ON device_entry BEGIN DELETE FROM device_head; END",
            "trigger pass_on",
        ),
        (
            "CREATE TRIGGER replica_guard_99_delete AFTER INSERT ON device_entry BEGIN DELETE FROM device_head; END",
            "trigger replica_guard_99_delete",
        ),
        ("CREATE VIEW club AS SELECT * FROM device_meta", "view club"),
    ] {
        let bad = tampered(&place, &file, statement);
        let refused = restore(&bad, None, Some(PASSPHRASE), &target, NOW).unwrap_err();
        let CopyError::ForeignCode { what, .. } = &refused else {
            panic!("{refused}");
        };
        assert_eq!(what, told);
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "{statement}");
    }
    restore(&file, None, Some(PASSPHRASE), &target, NOW).unwrap();
}

#[test]
fn a_restore_that_fails_late_leaves_nothing_beside_the_database() {
    let (place, mut installation) = installation();
    let file = place.path().join("copy.db");
    export(
        &mut installation,
        &file,
        Some(PASSPHRASE),
        NOW,
        &mut |_, _| {},
    )
    .unwrap();
    let bad = tampered(&place, &file, "DELETE FROM device_meta WHERE name = 'user'");
    let target = place.path().join("restored");
    restore(&bad, None, Some(PASSPHRASE), &target, NOW).unwrap_err();
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
}

//! Making an installation, and everything that can be wrong with one.

use std::fs;
use std::net::TcpListener;

use rusqlite::Connection;

use crate::support::Place;

#[test]
fn an_installation_is_made_once() {
    let place = Place::new();
    let home = place.installation("Avery");
    let message = home.run(&["init"]).refused(4);
    assert!(
        message.contains("already holds an installation"),
        "{message}"
    );
    let missing = place.nothing("Nobody").run(&["flight", "list"]).refused(3);
    assert!(missing.contains("init"), "{missing}");
}

#[test]
fn a_file_in_place_of_the_folder_is_told() {
    let place = Place::new();
    place.file("Avery", "x");
    for command in [
        ["init"].as_slice(),
        &["flight", "list"],
        &["up"],
        &["export", "x.db"],
    ] {
        let message = place.nothing("Avery").run(command).refused(2);
        assert!(message.contains("is a file, not a folder"), "{message}");
    }
    let examined = place.nothing("Avery").run(&["doctor"]);
    assert_eq!(examined.code, 1);
    assert_eq!(examined.answer["healthy"], false);
}

#[test]
fn a_database_of_a_newer_program_is_left_alone() {
    for change in [
        "INSERT INTO aviation_migration (version, name) VALUES (9999, '9999_later')",
        "UPDATE device_meta SET value = 9999 WHERE name = 'format'",
    ] {
        let place = Place::new();
        let home = place.installation("Avery");
        let database = home.path.join("aeroedge.db");
        let connection = Connection::open(&database).unwrap();
        connection.execute(change, ()).unwrap();
        drop(connection);
        let before = fs::read(&database).unwrap();
        let message = home
            .run(&["flight", "add", "--date", "2026-05-14", "--total", "1"])
            .refused(6);
        assert!(message.contains("newer"), "{message}");
        assert_eq!(fs::read(&database).unwrap(), before);
    }
}

#[test]
fn a_database_that_is_none_is_told() {
    let place = Place::new();
    let home = place.installation("Avery");
    fs::write(
        home.path.join("aeroedge.db"),
        "not a database, but long enough to be read as one ".repeat(100),
    )
    .unwrap();
    let message = home.run(&["flight", "list"]).refused(6);
    assert!(message.contains("restore"), "{message}");
    let examined = home.run(&["doctor"]);
    assert_eq!(examined.code, 1);
    let findings = examined.answer["findings"].as_array().unwrap().clone();
    assert!(
        findings
            .iter()
            .any(|finding| finding["check"] == "integrity" && finding["state"] == "bad")
    );
}

#[test]
fn keys_of_another_installation_are_refused() {
    let place = Place::new();
    let home = place.installation("Avery");
    let other = place.installation("Robin");
    fs::copy(other.path.join("device.key"), home.path.join("device.key")).unwrap();
    let message = home.run(&["flight", "list"]).refused(4);
    assert!(message.contains("key"), "{message}");
    fs::remove_file(home.path.join("device.key")).unwrap();
    let message = home.run(&["flight", "list"]).refused(3);
    assert!(message.contains("backup"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_folder_that_others_may_read_is_refused_and_the_way_back_told() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let home = place.installation("Avery");
    fs::set_permissions(&home.path, fs::Permissions::from_mode(0o755)).unwrap();
    let message = home.run(&["flight", "list"]).refused(4);
    assert!(message.contains("chmod"), "{message}");
}

#[test]
fn sealed_keys_open_with_their_passphrase_only() {
    let place = Place::new();
    let home = place.nothing("Avery");
    let phrase = place.file("phrase", "four tall green trees\n");
    let made = home
        .run(&["init", "--seal", "--passphrase-file", &phrase])
        .done();
    assert_eq!(made["keys_sealed"], true);
    let message = home.run(&["flight", "list"]).refused(2);
    assert!(message.contains("--passphrase-file"), "{message}");
    let wrong = home.run_with(
        &["flight", "list", "--passphrase-stdin"],
        "three tall green trees\n",
    );
    assert!(!wrong.stderr.contains("green"), "{}", wrong.stderr);
    wrong.refused(4);
    home.run_with(
        &["flight", "list", "--passphrase-stdin"],
        "four tall green trees\n",
    )
    .done();
    // A context is a new writer, whose secret must end up under the same seal.
    home.run(&["context", "create", "Club", "--passphrase-file", &phrase])
        .done();
    home.run(&["flight", "list"]).refused(2);
    home.run(&["context", "members", "Club", "--passphrase-file", &phrase])
        .done();
    let short = place
        .nothing("Short")
        .run_with(&["init", "--seal", "--passphrase-stdin"], "short\n");
    short.refused(2);
    assert!(!place.path("Short/aeroedge.db").exists());
}

#[test]
fn a_port_in_use_is_told_and_without_a_wish_another_is_found() {
    let place = Place::new();
    let home = place.installation("Avery");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let message = home.run(&["up", "--api-port", &port]).refused(1);
    assert!(message.contains("--api-port"), "{message}");
    let taken_by_others = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken_by_others.local_addr().unwrap().port().to_string();
    let message = home
        .run(&["up", "--api-port", "0", "--lan-port", &port])
        .refused(1);
    assert!(message.contains("--lan-port"), "{message}");
    assert!(!home.path.join("node.json").exists());
}

#[test]
fn a_node_that_was_killed_is_a_note_and_no_trouble() {
    let place = Place::new();
    let home = place.installation("Avery");
    home.up().kill();
    let examined = home.run(&["doctor"]).done();
    let findings = examined["findings"].as_array().unwrap();
    assert!(
        findings
            .iter()
            .any(|finding| finding["check"] == "node" && finding["state"] == "note")
    );
    assert_eq!(home.run(&["sync", "status"]).done()["running"], false);
    home.up().end();
}

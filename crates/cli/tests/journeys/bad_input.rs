//! What must be refused is refused in one sentence that says what happened and what to do, and changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::machine::{Invite, Machine, Ran, found, invite};

/// The name and the bytes of every file that holds data; what SQLite needs for its housekeeping does not.
type Content = BTreeMap<PathBuf, Vec<u8>>;

fn content(folder: &Path) -> Content {
    if folder.is_file() {
        return BTreeMap::from([(folder.to_owned(), fs::read(folder).unwrap())]);
    }
    let Ok(entries) = fs::read_dir(folder) else {
        return Content::new();
    };
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.to_string_lossy();
            !name.ends_with("-shm") && !name.ends_with("-wal")
        })
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// Checks that a command fails with `code` and one sentence that holds all of `says`, and leaves the data alone.
#[track_caller]
fn check(machine: &Machine<'_>, arguments: &[&str], input: &str, code: i32, says: &[&str]) -> Ran {
    let before = content(machine.data());
    let ran = machine.run(arguments, input);
    assert_eq!(
        ran.code,
        Some(code),
        "{arguments:?}: {}{}",
        ran.stdout,
        ran.stderr
    );
    assert_eq!(ran.stdout, "", "{arguments:?} prints a result");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(
        lines.len(),
        1,
        "{arguments:?} says one sentence: {}",
        ran.stderr
    );
    let sentence = lines[0]
        .strip_prefix("error: ")
        .expect("it is marked as an error");
    println!("{sentence}");
    for word in says {
        assert!(
            sentence.contains(word),
            "{arguments:?} does not say {word:?}: {sentence}"
        );
    }
    let after = content(machine.data());
    for (path, bytes) in &after {
        assert!(
            before.get(path) == Some(bytes),
            "{arguments:?} changed {}",
            path.display()
        );
    }
    assert_eq!(after.len(), before.len(), "{arguments:?} removed a file");
    ran
}

fn installation() -> (TempDir, Machine<'static>) {
    let place = tempfile::tempdir().unwrap();
    let machine = Machine::init(&place.path().join("data"), "Avery Example", None);
    (place, machine)
}

/// An installation that is alone, one that founded a club, runs and invites, and the invitation.
fn club() -> (TempDir, Machine<'static>, Machine<'static>, String, Invite) {
    let (place, joiner) = installation();
    let mut founder = Machine::init(&place.path().join("founder"), "Robin Example", None);
    let (context, invite) = found(&founder, "Hangar 4 Flying Club");
    founder.up(&["--api-port", "0", "--lan-port", "0"]);
    (place, joiner, founder, context, invite)
}

fn join<'a>(link: &'a str, timeout: &'a str) -> [&'a str; 6] {
    [
        "context",
        "join",
        link,
        "--secret-stdin",
        "--timeout",
        timeout,
    ]
}

#[test]
fn a_link_that_is_none_is_refused() {
    let (_place, machine) = installation();
    for link in [
        "hello",
        "",
        "aeroedge://join",
        "aeroedge://join?c=zz",
        "aeroedge://join?c=00&k=00",
        "https://example.com/join?c=5",
        "aeroedge://join?c=\u{1f6e9}&n=%ff%fe&k=%zz",
    ] {
        check(
            &machine,
            &join(link, "5s"),
            "amber boat\n",
            2,
            &["link", "; "],
        );
    }
    let long = format!("aeroedge://join?c={}", "a".repeat(100_000));
    check(
        &machine,
        &join(&long, "5s"),
        "amber boat\n",
        2,
        &["link", "; "],
    );
}

#[test]
fn a_link_cut_short_or_altered_anywhere_is_refused_or_leads_nowhere() {
    let (_place, machine, _founder, _, invite) = club();
    let cut = &invite.link[..invite.link.len() / 2];
    let ran = machine.run(&join(cut, "2s"), &format!("{}\n", invite.secret));
    assert!(matches!(ran.code, Some(2 | 4 | 5)), "{}", ran.stderr);
    let contexts = machine.ask(&["context", "list"], "");
    assert_eq!(contexts["contexts"].as_array().unwrap().len(), 1);
}

#[test]
fn a_link_into_a_foreign_context_leads_nowhere() {
    let (_place, joiner, founder, context, invitation) = club();
    let (other, _) = found(&founder, "Another Club");
    let in_link = |id: &str| BASE64URL_NOPAD.encode(&HEXLOWER.decode(id.as_bytes()).unwrap());
    assert!(invitation.link.contains(&in_link(&context)));
    // The invitation of one club under the id of another, and under the id of none.
    for id in [other, "0".repeat(32)] {
        let link = invitation.link.replace(&in_link(&context), &in_link(&id));
        let secret = format!("{}\n", invitation.secret);
        check(
            &joiner,
            &join(&link, "3s"),
            &secret,
            5,
            &["no device of the group", "; "],
        );
    }
}

#[test]
fn a_wrong_secret_is_refused_and_nothing_is_kept() {
    let (_place, joiner, founder, context, invitation) = club();
    let wrong = "some other words than those\n";
    check(
        &joiner,
        &join(&invitation.link, "60s"),
        wrong,
        4,
        &["secret", "ask for the secret again"],
    );
    // The secret of another invitation into the same club is wrong as well.
    let another = invite(&founder, &context);
    let secret = format!("{}\n", another.secret);
    check(
        &joiner,
        &join(&invitation.link, "60s"),
        &secret,
        4,
        &["secret"],
    );
    let contexts = joiner.ask(&["context", "list"], "");
    assert_eq!(contexts["contexts"].as_array().unwrap().len(), 1);
    // The right one still works.
    crate::machine::join(&joiner, &invitation);
}

#[test]
fn a_secret_that_is_missing_or_empty_is_asked_for() {
    let (_place, joiner, _founder, _, invitation) = club();
    check(
        &joiner,
        &join(&invitation.link, "5s"),
        "\n",
        2,
        &["secret", "; "],
    );
    let without = ["context", "join", &invitation.link];
    check(&joiner, &without, "", 2, &["secret", "--secret-stdin"]);
    let unreadable = [
        "context",
        "join",
        &invitation.link,
        "--secret-file",
        "/nowhere/secret",
    ];
    check(&joiner, &unreadable, "", 3, &["/nowhere/secret", "; "]);
}

#[test]
fn an_own_invitation_is_refused_however_often() {
    let (_place, joiner, founder, _, invitation) = club();
    let secret = format!("{}\n", invitation.secret);
    for _ in 0..2 {
        check(
            &founder,
            &join(&invitation.link, "5s"),
            &secret,
            4,
            &["member", "; "],
        );
    }
    crate::machine::join(&joiner, &invitation);
    for _ in 0..2 {
        check(
            &joiner,
            &join(&invitation.link, "5s"),
            &secret,
            4,
            &["member", "; "],
        );
    }
}

#[test]
fn an_unknown_context_is_named() {
    let (_place, machine) = installation();
    let id = "00112233445566778899aabbccddeeff";
    for arguments in [
        &["context", "members", id][..],
        &["context", "invite", id],
        &["flight", "list", "--context", id],
        &["flight", "totals", "--context", id],
        &[
            "flight",
            "add",
            "--date",
            "2026-05-14",
            "--total",
            "1.4",
            "--context",
            id,
        ],
    ] {
        check(&machine, arguments, "", 3, &[id, "aeroedge context list"]);
    }
}

#[test]
fn a_port_in_use_is_named() {
    let (_place, machine) = installation();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    // The token of the interface may have been made before the port was found to be taken.
    machine.run(&["up", "--api-port", &port], "");
    check(
        &machine,
        &["up", "--api-port", &port],
        "",
        1,
        &[&port, "--api-port"],
    );
    let lan = ["up", "--api-port", "0", "--lan-port", &port];
    check(&machine, &lan, "", 1, &[&port, "--lan-port"]);
}

#[test]
fn a_second_node_on_one_folder_is_refused() {
    let (_place, mut machine) = installation();
    machine.up(&["--api-port", "0", "--lan-port", "0"]);
    check(&machine, &["up"], "", 4, &["already", "; "]);
}

#[test]
fn a_file_in_place_of_the_folder_is_named() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("data");
    fs::write(&path, "a letter").unwrap();
    let machine = Machine::bare(&path, None);
    for arguments in [
        &["flight", "list"][..],
        &["up"],
        &["init", "--name", "Avery"],
    ] {
        check(
            &machine,
            arguments,
            "",
            2,
            &["is a file, not a folder", "--data"],
        );
    }
    let below = Machine::bare(&path.join("below"), None);
    check(
        &below,
        &["flight", "list"],
        "",
        2,
        &["is a file, not a folder", "--data"],
    );
}

#[test]
fn a_folder_without_an_installation_is_named() {
    let place = tempfile::tempdir().unwrap();
    let machine = Machine::bare(&place.path().join("data"), None);
    for arguments in [&["flight", "list"][..], &["up"], &["sync", "status"]] {
        check(
            &machine,
            arguments,
            "",
            3,
            &["there is no AeroEdge data", "init"],
        );
    }
    assert!(!machine.data().exists());
}

#[test]
fn a_folder_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let (_place, machine) = installation();
    fs::set_permissions(machine.data(), fs::Permissions::from_mode(0o755)).unwrap();
    check(
        &machine,
        &["flight", "list"],
        "",
        4,
        &["other users", "chmod"],
    );
}

#[test]
fn a_database_of_a_newer_program_is_left_alone() {
    for raise in [
        "UPDATE device_meta SET value = value + 1 WHERE name = 'format'",
        "UPDATE replica_state SET format = format + 1",
        "INSERT INTO aviation_migration(version, name) SELECT max(version) + 1, 'later' FROM aviation_migration",
    ] {
        let (_place, machine) = installation();
        let database = Connection::open(machine.data().join("aeroedge.db")).unwrap();
        assert_eq!(database.execute(raise, []).unwrap(), 1, "{raise}");
        database.close().unwrap();
        for arguments in [&["flight", "list"][..], &["up"]] {
            check(&machine, arguments, "", 6, &["program"]);
        }
    }
}

#[test]
fn a_damaged_database_is_left_alone() {
    let (_place, machine) = installation();
    let path = machine.data().join("aeroedge.db");
    let whole = fs::read(&path).unwrap();
    for length in [0, 50, 4096, whole.len() / 2] {
        fs::write(&path, &whole[..length]).unwrap();
        check(&machine, &["flight", "list"], "", 6, &["database", "; "]);
    }
    let garbage: Vec<u8> = (0..whole.len()).map(|number| (number * 7) as u8).collect();
    fs::write(&path, garbage).unwrap();
    check(&machine, &["flight", "list"], "", 6, &["database", "; "]);
    fs::write(&path, &whole).unwrap();
    machine.ask(&["flight", "list"], "");
}

#[test]
fn a_damaged_or_foreign_key_file_is_left_alone() {
    let (_place, machine) = installation();
    let (_other_place, other) = installation();
    let path = machine.data().join("device.key");
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        check(&machine, &["flight", "list"], "", 6, &["key", "; "]);
    }
    fs::write(&path, fs::read(other.data().join("device.key")).unwrap()).unwrap();
    check(&machine, &["flight", "list"], "", 4, &["key"]);
    check(&machine, &["up"], "", 4, &["key"]);
    fs::remove_file(&path).unwrap();
    check(&machine, &["flight", "list"], "", 3, &["key file", "; "]);
    fs::write(&path, &whole).unwrap();
}

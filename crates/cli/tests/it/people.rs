//! Members, devices and a second device of one person, as commands.

#![expect(clippy::unwrap_used, reason = "a test may end here")]

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Installation, Place};

fn count(answer: &Value, what: &str) -> usize {
    answer[what].as_array().unwrap().len()
}

fn appears(path: &Path) {
    let began = Instant::now();
    while !fs::read_to_string(path).is_ok_and(|text| text.ends_with('\n')) {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{}",
            path.display()
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// Pairs `new` with `old`; both may have a node running or not.
fn pair(old: &Installation, new: &Installation, link: &Path) {
    thread::scope(|scope| {
        let adding = scope.spawn(|| {
            let link = link.to_str().unwrap();
            old.run(&["device", "add", "--write-link", link, "--yes"])
        });
        appears(link);
        let answer = new
            .run(&[
                "device",
                "pair",
                "--link-file",
                link.to_str().unwrap(),
                "--timeout",
                "60s",
            ])
            .done();
        assert_eq!(answer["in_sync"], true);
        adding.join().unwrap().done();
    });
}

#[test]
fn a_second_device_has_everything_with_no_secret_typed() {
    let place = Place::new();
    let home = place.installation("Avery");
    home.run(&["context", "create", "Hangar 4"]).done();
    home.run(&["context", "create", "Bay School", "--kind", "school"])
        .done();
    let private = home.flight(&["--remarks", "for me"]);
    let shared = home.flight(&["--context", "Hangar", "--remarks", "for all"]);
    let second = place.nothing("second");
    let _node = home.up();
    pair(&home, &second, &place.path("link"));
    for flight in [&private, &shared] {
        second.run(&["flight", "show", flight]).done();
    }
    assert_eq!(
        count(&second.run(&["context", "list"]).done(), "contexts"),
        3
    );
    let devices = second.run(&["device", "list"]).done();
    assert_eq!(count(&devices, "devices"), 2);
    // A code is good once, and its file is not written over.
    let message = second
        .run(&[
            "device",
            "pair",
            "--link-file",
            place.path("link").to_str().unwrap(),
            "--timeout",
            "1s",
        ])
        .refused(5);
    assert!(message.contains("start anew"), "{message}");
    // Lost: shut out by the other, it learns of it and says so.
    let key = devices["devices"]
        .as_array()
        .unwrap()
        .iter()
        .find(|device| device["own"] == true)
        .unwrap()["key"]
        .as_str()
        .unwrap()
        .to_owned();
    home.run(&["device", "revoke", &key[..8]]).refused(2);
    let revoked = home.run(&["device", "revoke", &key[..8], "--yes"]).done();
    assert_eq!(revoked["changed"], 3);
    // It may be met and told, or turned away; either way nothing of it counts.
    second.run(&["sync", "now", "--timeout", "3s"]);
    let message = second
        .run(&["flight", "add", "--date", "2026-05-14", "--total", "1.0"])
        .refused(4);
    assert!(
        message.contains("belongs to the group no more"),
        "{message}"
    );
    home.flight(&["--context", "Hangar"]);
}

#[test]
fn a_text_that_is_no_pairing_code_is_told_and_nothing_is_made() {
    let place = Place::new();
    let home = place.installation("Avery");
    home.run(&["context", "create", "Hangar 4"]).done();
    let invite = home.run(&["context", "invite", "Hangar"]).done();
    let second = place.nothing("second");
    let join = invite["link"].as_str().unwrap();
    for (text, says) in [
        ("hello", "aeroedge://pair?"),
        ("WIFI:T:WPA;S:Hangar;;", "aeroedge://pair?"),
        (join, "context join"),
        ("aeroedge://pair?v=1&k=AAAA", "damaged"),
        ("aeroedge://pair?v=7&k=AAAA", "update"),
    ] {
        let message = second
            .run_with(&["device", "pair", "--link-stdin"], &format!("{text}\n"))
            .refused(2);
        assert!(message.contains(says), "{message}");
        assert!(!message.contains(text), "{message}");
    }
    let unknown = format!("aeroedge://pair?v=1&k={}", "A".repeat(43));
    second
        .run_with(
            &["device", "pair", "--link-stdin", "--timeout", "1s"],
            &format!("{unknown}\n"),
        )
        .refused(5);
    // Nothing is left, so the folder can become an installation of its own.
    second.run(&["init", "--name", "Robin"]).done();
    home.run(&["device", "add"]).refused(2);
}

#[test]
fn members_are_changed_by_name_and_what_cannot_be_undone_asks_first() {
    let place = Place::new();
    let home = place.installation("Avery");
    home.run(&["context", "create", "Hangar 4"]).done();
    home.run(&["context", "invite", "Hangar"]).done();
    let invites = home.run(&["context", "invites", "list", "Hangar"]).done();
    assert_eq!(count(&invites, "invites"), 1);
    assert_eq!(invites["invites"][0]["state"], "open");
    let key = invites["invites"][0]["key"].as_str().unwrap().to_owned();
    let voided = home
        .run(&["context", "invites", "void", "Hangar", &key[..8]])
        .done();
    assert_eq!(voided["changed"], 1);
    home.run(&["context", "invites", "void", "Hangar", "ffffffffff"])
        .refused(3);
    let rotated = home.run(&["context", "rotate", "Hangar"]).done();
    assert_eq!(rotated["changed"], 1);
    home.run(&["context", "role", "Hangar", "nobody", "admin"])
        .refused(3);
    let same = home
        .run(&["context", "role", "Hangar", "Avery", "owner"])
        .done();
    assert_eq!(same["changed"], 0);
    let message = home
        .run(&["context", "role", "Hangar", "Avery", "member"])
        .refused(4);
    assert!(message.contains("owner"), "{message}");
    let message = home.run(&["context", "leave", "Hangar"]).refused(2);
    assert!(message.contains("--yes"), "{message}");
    let message = home
        .run(&["context", "leave", "Hangar", "--yes"])
        .refused(4);
    assert!(message.contains("owner"), "{message}");
    home.run(&["context", "remove", "Hangar", "nobody", "--yes"])
        .refused(3);
    home.run(&["device", "revoke", "ffffffffff", "--yes"])
        .refused(3);
}

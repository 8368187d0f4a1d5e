//! Groups, invitations and devices that meet on the network of this computer.

#![expect(clippy::unwrap_used, reason = "a test may end here")]

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Installation, Place};

/// A club on a running node, and an invitation to it.
fn club(home: &Installation) -> (String, Value) {
    let id = home.run(&["context", "create", "Hangar 4"]).done()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let invite = home.run(&["context", "invite", "hangar"]).done();
    (id, invite)
}

fn link(invite: &Value) -> &str {
    invite["link"].as_str().unwrap()
}

#[test]
fn links_that_lead_nowhere_are_told_before_a_secret_is_asked() {
    let place = Place::new();
    let home = place.installation("Avery");
    for garbage in [
        "hello",
        "https://example.org/",
        "aeroedge://join?",
        "aeroedge://join?c=x&k=y",
    ] {
        let message = home.run(&["context", "join", garbage]).refused(2);
        assert!(message.contains("link"), "{message}");
    }
    let (_, invite) = club(&home);
    let message = home.run(&["context", "join", link(&invite)]).refused(4);
    assert!(message.contains("member"), "{message}");
    home.run(&["context", "members", "nowhere"]).refused(3);
    home.run(&["context", "invite", "Logbook"]).refused(4);
}

#[test]
fn secrets_of_ones_own_choice_must_be_strong() {
    let place = Place::new();
    let home = place.installation("Avery");
    club(&home);
    let message = home
        .run_with(
            &["context", "invite", "Hangar", "--secret-stdin"],
            "password123\n",
        )
        .refused(2);
    assert!(message.contains("60 bits"), "{message}");
    let spoken = "quartz lantern mosaic otter velvet thimble";
    let invite = home
        .run_with(
            &["context", "invite", "Hangar", "--secret-stdin"],
            &format!("{spoken}\n"),
        )
        .done();
    assert!(!link(&invite).contains("quartz"));
}

#[test]
fn nobody_there_is_told_after_the_time_given() {
    let place = Place::new();
    let (home, guest) = (place.installation("Avery"), place.installation("Robin"));
    let (_, invite) = club(&home);
    let message = guest
        .run_with(
            &[
                "context",
                "join",
                link(&invite),
                "--secret-stdin",
                "--timeout",
                "1s",
            ],
            "numoj-siruv-logav-pojof\n",
        )
        .refused(5);
    assert!(message.contains("aeroedge up"), "{message}");
    guest.run(&["sync", "now", "--timeout", "1s"]).refused(5);
    assert_eq!(
        guest.run(&["context", "list"]).done()["contexts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn two_devices_meet_join_and_hold_the_same() {
    let place = Place::new();
    let (home, guest) = (place.installation("Avery"), place.installation("Robin"));
    let (club, invite) = club(&home);
    let flight = home.flight(&["--context", "Hangar", "--remarks", "to share"]);
    let private = home.flight(&["--remarks", "for me"]);
    let _node = home.up();

    // A wrong secret is refused and leaves nothing behind; no node runs on this side.
    let join = [
        "context",
        "join",
        link(&invite),
        "--secret-stdin",
        "--timeout",
        "30s",
    ];
    let message = guest
        .run_with(&join, "wrong-horse-battery-staple\n")
        .refused(4);
    assert!(
        message.contains("secret") && !message.contains("horse"),
        "{message}"
    );
    assert_eq!(
        guest.run(&["context", "list"]).done()["contexts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let secret = format!("{}\n", invite["secret"].as_str().unwrap());
    let joined = guest.run_with(&join, &secret);
    assert!(!joined.stdout.contains(secret.trim()) && !joined.stderr.contains(secret.trim()));
    assert_eq!(joined.done()["context"], club.as_str());

    guest.run(&["sync", "now", "--timeout", "30s"]).done();
    let shown = guest.run(&["flight", "show", &flight]).done();
    assert_eq!(shown["entry"]["remarks"], "to share");
    guest.run(&["flight", "show", &private]).refused(3);

    guest
        .run(&["flight", "edit", &flight, "--remarks", "seen"])
        .done();
    guest.run(&["sync", "now", "--timeout", "30s"]).done();
    wait_until(|| home.run(&["flight", "show", &flight]).done()["entry"]["remarks"] == "seen");
    wait_until(|| {
        let members = home.run(&["context", "members", &club]).done();
        let members = members["members"].as_array().unwrap().clone();
        members.iter().any(|member| member["name"] == "Robin")
    });
    wait_until(|| digest(&home, &club) == digest(&guest, &club));

    // The invitation was for one: it is announced no more, so nobody answers.
    let late = place.installation("Sam");
    let join = [
        "context",
        "join",
        link(&invite),
        "--secret-stdin",
        "--timeout",
        "3s",
    ];
    late.run_with(&join, &secret).refused(5);
}

#[test]
fn an_edit_in_one_group_reaches_the_other_through_a_device_in_both() {
    let place = Place::new();
    let (home, guest) = (place.installation("Avery"), place.installation("Robin"));
    let (club, invite) = club(&home);
    let flight = home.flight(&["--context", "Logbook", "--context", "Hangar"]);
    let _node = home.up();
    let secret = format!("{}\n", invite["secret"].as_str().unwrap());
    guest
        .run_with(
            &[
                "context",
                "join",
                link(&invite),
                "--secret-stdin",
                "--timeout",
                "30s",
            ],
            &secret,
        )
        .done();
    guest.run(&["sync", "now", "--timeout", "30s"]).done();
    assert_eq!(
        guest.run(&["flight", "show", &flight]).done()["contexts"],
        serde_json::json!([club])
    );
    guest
        .run(&["flight", "edit", &flight, "--remarks", "by Robin"])
        .done();
    guest.run(&["sync", "now", "--timeout", "30s"]).done();
    wait_until(|| {
        let own = home.run(&["flight", "list", "--context", "Logbook"]).done();
        own["flights"][0]["entry"]["remarks"] == "by Robin"
    });
    // What was carried is the last word: nothing goes back and forth.
    let merged = |home: &Installation| {
        let status = home.run(&["sync", "status"]).done();
        let contexts = status["contexts"].as_array().unwrap().clone();
        contexts
            .iter()
            .map(|context| context["merged"].as_u64().unwrap())
            .sum::<u64>()
    };
    let before = merged(&home);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(merged(&home), before);
}

fn digest(home: &Installation, context: &str) -> Value {
    let status = home.run(&["sync", "status"]).done();
    let contexts = status["contexts"].as_array().unwrap().clone();
    let found = contexts.into_iter().find(|known| known["id"] == context);
    found
        .map(|known| known["digest"].clone())
        .unwrap_or_default()
}

#[track_caller]
fn wait_until(mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "it never came true"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

//! A device whose clock was set to another year, as its user meets it: what is said, and how it is put right.

use aeroedge_app::doctor::State;
use aeroedge_app::{clock, flights};
use aeroedge_ids::Millis;

use crate::support::{NOW, flight, installation};

const DAY: u64 = 24 * 3_600_000;

#[test]
fn what_a_clock_that_was_ahead_wrote_is_named_and_written_again() {
    let (_place, mut installation) = installation();
    let device = &mut installation.device;
    let ahead = Millis(NOW.0 + 1_000 * DAY);
    let logged = flights::add(device, &[], &flight(), ahead).unwrap();
    // The date is right again: nothing more can be written before the repair, and the doctor says so.
    let error = flights::add(device, &[], &flight(), NOW).unwrap_err();
    assert!(error.to_string().contains("clock"), "{error}");
    let findings = clock::examine(device, NOW).unwrap();
    assert_eq!(findings[0].state, State::Bad);
    assert!(
        findings[0].advice.contains("--repair-clock"),
        "{findings:?}"
    );

    assert_eq!(clock::repair(device, NOW).unwrap().state, State::Good);
    assert!(clock::examine(device, NOW).unwrap().is_empty());
    assert!(flights::get(device, &logged).is_ok());
    flights::add(device, &[], &flight(), NOW).unwrap();
}

#[test]
fn a_clock_that_is_right_leaves_nothing_to_repair() {
    let (_place, mut installation) = installation();
    let device = &mut installation.device;
    flights::add(device, &[], &flight(), NOW).unwrap();
    assert!(clock::examine(device, NOW).unwrap().is_empty());
    let finding = clock::repair(device, NOW).unwrap();
    assert!(
        finding.message.contains("nothing to put right"),
        "{finding:?}"
    );
}

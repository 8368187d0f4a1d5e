//! Clocks that are off: a device in the future harms nobody, and one in the past writes nothing.

use aeroedge_device::{ClockError, ClockFinding, ClockOff, SealingError, WriteError};
use aeroedge_ids::Millis;
use aeroedge_log::compartment::Division;
use aeroedge_log::control::Role;

use crate::club::{NOW, Peer, everyone, pair, synchronise};

const MINUTE: u64 = 60_000;
/// 1 January 2099.
const FAR: Millis = Millis(4_070_908_800_000);

fn refused(outcome: Result<usize, WriteError<rusqlite::Error>>) -> ClockOff {
    match outcome.unwrap_err() {
        WriteError::Refused(SealingError::Clock(off)) => off,
        other => panic!("refused for another reason: {other}"),
    }
}

#[test]
fn a_device_set_to_1970_is_told_so_and_writes_nothing() {
    let (mut owner, mut other, context) = pair(Division::Single, Role::Member);
    let compartment = everyone(context);
    other.device.set_built(NOW);
    let before = other.device.frontier(compartment).unwrap();
    let past = Millis(3 * MINUTE);
    let off = refused(other.try_write(past, compartment, "a", "from 1970"));
    assert_eq!(
        off,
        ClockOff::BehindProgram {
            now: past,
            built: NOW
        }
    );
    assert!(matches!(
        other.device.clock_findings(past).unwrap()[..],
        [ClockFinding::Own(ClockOff::BehindProgram { .. })]
    ));
    let error = other
        .device
        .create_context(Division::Single, "club", past, &mut other.rng)
        .unwrap_err();
    assert!(error.to_string().contains("1970-01-01 00:03"), "{error}");
    other.device.make_durable().unwrap();
    assert_eq!(other.device.frontier(compartment).unwrap(), before);
    assert_eq!(other.notes(), []);

    // It still receives, and writes again once the clock is right.
    owner.write(compartment, "b", "now");
    synchronise(&mut owner, &mut other, context);
    assert_eq!(other.notes().len(), 1);
    other.write(compartment, "c", "now too");
    synchronise(&mut owner, &mut other, context);
    assert_eq!(owner.notes(), other.notes());
    assert_eq!(owner.notes().len(), 2);
    assert_eq!(other.device.clock_findings(NOW).unwrap(), []);
}

#[test]
fn a_clock_behind_the_own_past_stops_writing_with_both_times() {
    let (_, mut other, context) = pair(Division::Single, Role::Member);
    let compartment = everyone(context);
    other.write(compartment, "a", "now");
    // A few minutes are what clocks differ by.
    let early = Millis(NOW.0 - 4 * MINUTE);
    other
        .try_write(early, compartment, "b", "a little early")
        .unwrap();
    let late = Millis(NOW.0 - 6 * MINUTE);
    let off = refused(other.try_write(late, compartment, "c", "too early"));
    let ClockOff::BehindOwnPast { now, last } = off else {
        panic!("{off}");
    };
    assert_eq!((now, last), (late, NOW));
    let sentence = off.to_string();
    assert!(sentence.contains("2027-01-15 07:54"), "{sentence}");
    assert!(sentence.contains("2027-01-15 08:00"), "{sentence}");
    assert!(matches!(
        other.device.check_clock(late),
        Err(ClockError::Off(_))
    ));
    assert_eq!(other.notes().len(), 2);
}

#[test]
fn a_device_in_2099_harms_nobody_and_is_named() {
    let (mut owner, mut other, context) = pair(Division::Single, Role::Member);
    let compartment = everyone(context);
    for hour in 0..24 {
        let now = Millis(FAR.0 + hour * 60 * MINUTE);
        other
            .try_write(now, compartment, &format!("future {hour}"), "from 2099")
            .unwrap();
    }
    owner.write(compartment, "a", "here and now");
    synchronise(&mut owner, &mut other, context);
    owner.write(compartment, "b", "still here and now");
    assert_eq!(owner.notes().len(), 2);
    assert!(owner.device.check_clock(NOW).is_ok());
    let findings = owner.device.clock_findings(NOW).unwrap();
    let [
        finding @ ClockFinding::Other {
            device,
            user,
            first,
            entries,
            ..
        },
    ] = &findings[..]
    else {
        panic!("{findings:?}");
    };
    assert_eq!(*device, Some(other.device.key()));
    assert_eq!(*user, Some(other.device.user()));
    assert_eq!((*first, *entries), (FAR, 24));
    assert!(
        finding.to_string().contains("2099-01-01 00:00"),
        "{finding}"
    );
    // When that time has come, nothing is lost.
    owner
        .device
        .merge_waiting(Millis(FAR.0 + 24 * 60 * MINUTE))
        .unwrap();
    assert_eq!(owner.notes().len(), 26);
}

#[test]
fn two_devices_ahead_make_the_own_clock_the_suspect() {
    let (mut owner, mut second, context) = pair(Division::Single, Role::Member);
    let mut third = Peer::new(3);
    crate::club::admit(&mut owner, &mut third, context, Role::Member);
    synchronise(&mut owner, &mut second, context);
    let compartment = everyone(context);
    let ahead = Millis(NOW.0 + 3 * 60 * MINUTE);
    for peer in [&mut second, &mut third] {
        peer.try_write(ahead, compartment, "a", "three hours on")
            .unwrap();
        synchronise(&mut owner, peer, context);
    }
    let findings = owner.device.clock_findings(NOW).unwrap();
    let Some(ClockFinding::Outvoted { devices, ahead_ms }) = findings.last() else {
        panic!("{findings:?}");
    };
    assert_eq!((*devices, *ahead_ms), (2, 3 * 60 * MINUTE));
}

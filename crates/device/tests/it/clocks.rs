//! Clocks that are off: a device in the future harms nobody, and one in the past writes nothing.

use aeroedge_device::{ClockError, ClockFinding, ClockOff, SealingError, WriteError};
use aeroedge_ids::Millis;
use aeroedge_log::compartment::Division;
use aeroedge_log::control::Role;

use crate::club::{NOW, Peer, everyone, pair, synchronise, synchronise_at};

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

fn execute(peer: &mut Peer, now: Millis, sql: &str) {
    let written = peer
        .device
        .write(now, &mut peer.rng, |tx| tx.execute_batch(sql));
    written.unwrap();
    peer.device.make_durable().unwrap();
}

fn titles(peer: &Peer) -> Vec<(String, Option<String>)> {
    let notes = peer.notes().into_iter();
    notes.map(|(id, _, title)| (id, title)).collect()
}

fn assert_same(left: &mut Peer, right: &mut Peer) {
    assert_eq!(left.notes(), right.notes());
    assert_eq!(
        left.device.engine_digest().unwrap(),
        right.device.engine_digest().unwrap()
    );
}

#[test]
fn after_the_correction_the_data_are_there_and_the_future_is_void() {
    let (mut owner, mut other, context) = pair(Division::Single, Role::Member);
    let mut newcomer = Peer::new(3);
    crate::club::admit(&mut owner, &mut newcomer, context, Role::Member);
    let compartment = everyone(context);
    owner.write(compartment, "kept", "before");
    owner.write(compartment, "doomed", "before");
    owner.write(compartment, "gone", "before");
    synchronise(&mut owner, &mut other, context);
    for hour in 0..24 {
        let now = Millis(FAR.0 + hour * 60 * MINUTE);
        let id = format!("future {hour}");
        other.try_write(now, compartment, &id, "from 2099").unwrap();
        other
            .try_write(now, compartment, "kept", &format!("edit {hour}"))
            .unwrap();
    }
    let late = Millis(FAR.0 + 25 * 60 * MINUTE);
    execute(&mut other, late, "DELETE FROM note WHERE id = 'doomed'");
    execute(
        &mut other,
        late,
        "UPDATE note SET body = 'edited' WHERE id = 'gone'",
    );
    // Meanwhile, in the present.
    execute(&mut owner, NOW, "DELETE FROM note WHERE id = 'gone'");
    let tomorrow = Millis(NOW.0 + 24 * 60 * MINUTE);
    synchronise_at(&mut owner, &mut other, context, tomorrow);
    assert_eq!(owner.notes().len(), 2, "nothing of the future is here");
    let off = refused(other.try_write(tomorrow, compartment, "x", "too early"));
    assert!(matches!(off, ClockOff::BehindOwnPast { .. }));

    let repair = other.device.repair_clock(tomorrow, &mut other.rng).unwrap();
    assert_eq!((repair.voided, repair.written), (50, 50));
    assert_eq!(repair.refused, Vec::<String>::new());
    assert_eq!(repair.gone.len(), 1, "an edit of what others deleted");
    assert!(other.device.check_clock(tomorrow).is_ok());
    assert_eq!(other.device.clock_findings(tomorrow).unwrap(), []);

    synchronise_at(&mut owner, &mut other, context, tomorrow);
    assert_same(&mut owner, &mut other);
    let rows = titles(&owner);
    assert_eq!(rows.len(), 25);
    assert!(rows.contains(&("kept".into(), Some("edit 23".into()))));
    assert!(rows.contains(&("future 0".into(), Some("from 2099".into()))));
    assert_eq!(owner.device.clock_findings(tomorrow).unwrap(), []);
    // Both go on at the present, and whoever comes later sees the same.
    other
        .try_write(tomorrow, compartment, "kept", "today")
        .unwrap();
    synchronise_at(&mut owner, &mut other, context, tomorrow);
    owner
        .try_write(tomorrow, compartment, "kept", "later today")
        .unwrap();
    synchronise_at(&mut owner, &mut other, context, tomorrow);
    assert!(titles(&other).contains(&("kept".into(), Some("later today".into()))));
    synchronise_at(&mut owner, &mut newcomer, context, tomorrow);
    assert_same(&mut owner, &mut other);
    assert_same(&mut owner, &mut newcomer);
    // Nothing is left to repair.
    let again = other.device.repair_clock(tomorrow, &mut other.rng).unwrap();
    assert_eq!(again, aeroedge_device::ClockRepair::default());
}

#[test]
fn what_two_wrong_clocks_told_each_other_is_held_back_again() {
    let (mut owner, mut other, context) = pair(Division::Single, Role::Member);
    let mut third = Peer::new(3);
    crate::club::admit(&mut owner, &mut third, context, Role::Member);
    synchronise(&mut owner, &mut other, context);
    let compartment = everyone(context);
    third
        .try_write(FAR, compartment, "third", "from 2099")
        .unwrap();
    synchronise_at(&mut third, &mut other, context, FAR);
    other
        .try_write(FAR, compartment, "third", "seen in 2099")
        .unwrap();
    other
        .try_write(FAR, compartment, "other", "from 2099")
        .unwrap();
    assert_eq!(other.notes().len(), 2);

    other.device.repair_clock(NOW, &mut other.rng).unwrap();
    // What the other device wrote is back in the future; what this one made of it is here.
    other.try_write(NOW, compartment, "now", "at last").unwrap();
    synchronise(&mut owner, &mut other, context);
    assert_eq!(
        titles(&owner),
        [
            ("now".into(), Some("at last".into())),
            ("other".into(), Some("from 2099".into())),
            ("third".into(), Some("seen in 2099".into())),
        ]
    );
    assert_same(&mut owner, &mut other);
    third.device.repair_clock(NOW, &mut third.rng).unwrap();
    synchronise(&mut owner, &mut third, context);
    synchronise(&mut owner, &mut other, context);
    assert_same(&mut owner, &mut other);
    assert_same(&mut owner, &mut third);
}

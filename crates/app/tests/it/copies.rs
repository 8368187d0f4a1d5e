//! A flight in two groups is one flight: edits reach both, nothing echoes, and each group may delete its own copy.

#![expect(clippy::unwrap_used, reason = "a test may end here")]

use aeroedge_app::contexts::{self, ContextKind, NewContext};
use aeroedge_app::explain::{Explained, Kind};
use aeroedge_app::flights::{self, Query};
use aeroedge_app::installation::Installation;
use aeroedge_aviation::logbook::{Approach, Flight, FlightPerson, Who};
use aeroedge_ids::{ContextId, Millis};
use aeroedge_log::control::Role;
use tempfile::TempDir;

use crate::support::{NOW, admit, exchange, flight, installation, reopened};
use crate::world::{LAST, LATER, World};

const ALL: flights::Part = flights::Part {
    offset: 0,
    limit: 100,
    oldest_first: false,
};

fn add(world: &mut World, flight: &Flight) -> String {
    let groups = [world.club, world.school];
    let id = flights::add(&mut world.both.1.device, &groups, flight, NOW).unwrap();
    world.both.1.device.make_durable().unwrap();
    world.exchange(NOW);
    id
}

fn seen(installation: &Installation, id: &str) -> Flight {
    flights::get(&installation.device, id).unwrap().flight
}

fn edit(installation: &mut Installation, id: &str, now: Millis, change: impl FnOnce(&mut Flight)) {
    let mut flight = seen(installation, id);
    change(&mut flight);
    flights::edit(&mut installation.device, id, &flight, now).unwrap();
    installation.device.make_durable().unwrap();
}

fn count(installation: &Installation, context: Option<ContextId>) -> u64 {
    let query = Query {
        context,
        ..Query::default()
    };
    flights::list(&installation.device, &query, ALL).unwrap().0
}

fn everybody(world: &World) -> [&Installation; 3] {
    [&world.both.1, &world.flyer.1, &world.teacher.1]
}

#[test]
fn an_edit_in_either_group_reaches_both_and_nothing_echoes() {
    let mut world = World::new();
    let id = add(&mut world, &flight());
    assert_eq!(count(&world.both.1, None), 1, "two copies are one flight");
    edit(&mut world.flyer.1, &id, LATER, |flight| {
        flight.remarks = Some("edited in the club".into());
    });
    let before = world.entries();
    world.exchange(LATER);
    for installation in everybody(&world) {
        let remarks = seen(installation, &id).remarks;
        assert_eq!(remarks.as_deref(), Some("edited in the club"));
    }
    assert_eq!(
        world.entries(),
        before + 2,
        "the edit, and carrying it once"
    );
    edit(&mut world.teacher.1, &id, LAST, |flight| {
        flight.remarks = Some("edited in the school".into());
    });
    world.exchange(LAST);
    for installation in everybody(&world) {
        let remarks = seen(installation, &id).remarks;
        assert_eq!(remarks.as_deref(), Some("edited in the school"));
    }
    let entries = world.entries();
    for round in 1..=5 {
        world.exchange(Millis(LAST.0 + round * 60_000));
        assert_eq!(world.entries(), entries, "an echo in round {round}");
    }
}

#[test]
fn edits_of_different_fields_in_two_groups_both_stand() {
    // The later edit may be in either group, and arrive first or last.
    for (club_at, school_at) in [(LATER, LAST), (LAST, LATER)] {
        for club_first in [true, false] {
            let mut world = World::new();
            let id = add(&mut world, &flight());
            edit(&mut world.flyer.1, &id, club_at, |flight| {
                flight.remarks = Some("from the club".into());
                flight.landings = Some(5);
            });
            edit(&mut world.teacher.1, &id, school_at, |flight| {
                flight.route = Some("KHAF".into());
                flight.landings = Some(6);
            });
            // Both have arrived before anything is carried.
            world.meet(club_first, LAST);
            world.meet(!club_first, LAST);
            world.exchange(LAST);
            for installation in everybody(&world) {
                let seen = seen(installation, &id);
                assert_eq!(seen.remarks.as_deref(), Some("from the club"));
                assert_eq!(seen.route.as_deref(), Some("KHAF"));
                let later = if club_at > school_at { 5 } else { 6 };
                assert_eq!(seen.landings, Some(later), "the later of two edits");
            }
        }
    }
}

#[test]
fn what_belongs_to_the_flight_is_edited_row_by_row() {
    let mut world = World::new();
    let approach = |kind: &str| Approach {
        kind: Some(kind.into()),
        count: Some(1),
        ..Approach::default()
    };
    let mut logged = flight();
    logged.approaches = vec![approach("ILS"), approach("VOR")];
    logged.persons = vec![FlightPerson {
        who: Who::named("Jo Example"),
        ..FlightPerson::default()
    }];
    let id = add(&mut world, &logged);
    edit(&mut world.flyer.1, &id, LATER, |flight| {
        flight.approaches[0].runway = Some("28R".into());
        flight.approaches.push(approach("RNAV"));
        flight.persons.clear();
    });
    edit(&mut world.teacher.1, &id, LATER, |flight| {
        flight.approaches[0].count = Some(3);
        flight.approaches.remove(1);
        flight.persons[0].part = Some("Passenger".into());
    });
    world.meet(true, LAST);
    world.meet(false, LAST);
    world.exchange(LAST);
    for installation in everybody(&world) {
        let seen = seen(installation, &id);
        let found: Vec<(&str, Option<u32>, Option<&str>)> = seen
            .approaches
            .iter()
            .map(|row| {
                (
                    row.kind.as_deref().unwrap(),
                    row.count,
                    row.runway.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            found,
            [("ILS", Some(3), Some("28R")), ("RNAV", Some(1), None)]
        );
        assert_eq!(seen.persons, [], "a deletion wins over an edit");
    }
    let entries = world.entries();
    world.exchange(LAST);
    assert_eq!(world.entries(), entries, "an echo");
}

#[test]
fn two_devices_that_carry_write_as_much_as_each_knew_and_then_nothing() {
    let mut world = World::new();
    let mut second = installation();
    admit(&mut world.both.1, &mut second.1, world.club, Role::Member);
    admit(&mut world.both.1, &mut second.1, world.school, Role::Admin);
    let id = add(&mut world, &flight());
    let groups = [world.club, world.school];
    let meet = |world: &mut World, second: &mut (TempDir, Installation), now| {
        for group in groups {
            exchange(&mut world.both.1, &mut second.1, group, now);
        }
    };
    let carry = |installation: &mut Installation, now| {
        let written = flights::carry_across(&mut installation.device, now).unwrap();
        installation.device.make_durable().unwrap();
        written
    };
    meet(&mut world, &mut second, NOW);
    assert_eq!(carry(&mut second.1, NOW), 0, "copies were equal");
    edit(&mut world.flyer.1, &id, LATER, |flight| {
        flight.remarks = Some("from the club".into());
    });
    edit(&mut world.teacher.1, &id, LATER, |flight| {
        flight.route = Some("KHAF".into());
    });
    // Both learn of both edits before either hears that the other one carried them.
    exchange(&mut world.both.1, &mut world.flyer.1, world.club, LATER);
    exchange(&mut world.both.1, &mut world.teacher.1, world.school, LATER);
    exchange(&mut second.1, &mut world.flyer.1, world.club, LATER);
    exchange(&mut second.1, &mut world.teacher.1, world.school, LATER);
    let mut written = carry(&mut world.both.1, LATER) + carry(&mut second.1, LATER);
    assert_eq!(written, 4, "each wrote both copies once");
    for round in 1..=5 {
        let now = Millis(LATER.0 + round * 1000);
        meet(&mut world, &mut second, now);
        world.exchange(now);
        written += carry(&mut second.1, now) + carry(&mut world.both.1, now);
    }
    assert_eq!(written, 4, "and nothing since");
    for installation in [&world.both.1, &second.1, &world.flyer.1, &world.teacher.1] {
        let seen = seen(installation, &id);
        assert_eq!(seen.remarks.as_deref(), Some("from the club"));
        assert_eq!(seen.route.as_deref(), Some("KHAF"));
    }
}

#[test]
fn a_device_that_ended_right_after_merging_carries_when_it_starts_again() {
    let mut world = World::new();
    let id = add(&mut world, &flight());
    edit(&mut world.flyer.1, &id, LATER, |flight| {
        flight.remarks = Some("edited in the club".into());
    });
    world.meet(true, LATER);
    world.both.1 = reopened(&world.both.0);
    assert_eq!(
        flights::carry_across(&mut world.both.1.device, LAST).unwrap(),
        1
    );
    world.both.1.device.make_durable().unwrap();
    world.exchange(LAST);
    let remarks = seen(&world.teacher.1, &id).remarks;
    assert_eq!(remarks.as_deref(), Some("edited in the club"));
}

#[test]
fn a_group_that_deletes_its_copy_deletes_only_that() {
    let mut world = World::new();
    let id = add(&mut world, &flight());
    let deleted = flights::delete(&mut world.flyer.1.device, &id, None, LATER).unwrap();
    assert_eq!(deleted.from, [world.club]);
    world.flyer.1.device.make_durable().unwrap();
    world.exchange(LATER);
    let view = flights::get(&world.both.1.device, &id).unwrap();
    assert_eq!(view.contexts, [world.school]);
    // Nothing brings it back there.
    edit(&mut world.teacher.1, &id, LAST, |flight| {
        flight.remarks = Some("edited in the school".into());
    });
    world.exchange(LAST);
    assert_eq!(count(&world.flyer.1, Some(world.club)), 0);
    assert_eq!(count(&world.both.1, Some(world.club)), 0);
    let remarks = seen(&world.both.1, &id).remarks;
    assert_eq!(remarks.as_deref(), Some("edited in the school"));
}

#[test]
fn who_is_in_both_groups_deletes_both_copies_or_one() {
    let mut world = World::new();
    let (club, school) = (world.club, world.school);
    let first = add(&mut world, &flight());
    let second = add(&mut world, &flight());
    let device = &mut world.both.1.device;
    let all = flights::delete(device, &first, None, LATER).unwrap();
    let mut both = vec![club, school];
    both.sort_unstable();
    assert_eq!((all.from, all.kept), (both, vec![]));
    let one = flights::delete(device, &second, Some(school), LATER).unwrap();
    assert_eq!((one.from, one.kept), (vec![school], vec![club]));
    let again = flights::delete(device, &second, Some(school), LATER).unwrap_err();
    assert_eq!(again.kind(), Kind::NotFound);
    device.make_durable().unwrap();
    world.exchange(LATER);
    assert_eq!(count(&world.teacher.1, None), 0);
    assert_eq!(count(&world.flyer.1, None), 1);
}

#[test]
fn a_copy_that_one_may_only_read_stays_as_it_is() {
    let mut both = installation();
    let mut guest = installation();
    let mut found = |name: &str| {
        let new = NewContext {
            name: name.to_owned(),
            kind: ContextKind::Club,
            home_airport: None,
            own_name: None,
        };
        contexts::create(&mut both.1.device, &new, NOW).unwrap()
    };
    let (club, partners) = (found("Hangar 4"), found("Partners"));
    admit(&mut both.1, &mut guest.1, club, Role::Member);
    admit(&mut both.1, &mut guest.1, partners, Role::ReadOnly);
    let id = flights::add(&mut both.1.device, &[club, partners], &flight(), NOW).unwrap();
    both.1.device.make_durable().unwrap();
    for group in [club, partners] {
        exchange(&mut both.1, &mut guest.1, group, NOW);
    }
    edit(&mut guest.1, &id, LATER, |flight| flight.landings = Some(9));
    assert_eq!(seen(&guest.1, &id).landings, Some(9));
    let carried = flights::carry_across(&mut guest.1.device, LATER).unwrap();
    assert_eq!(carried, 0, "it has no right to");
    // Who has the right carries it.
    exchange(&mut both.1, &mut guest.1, club, LATER);
    assert_eq!(flights::carry_across(&mut both.1.device, LATER).unwrap(), 1);
    let deleted = flights::delete(&mut guest.1.device, &id, None, LAST).unwrap();
    assert_eq!((deleted.from, deleted.kept), (vec![club], vec![partners]));
    let refused = flights::delete(&mut guest.1.device, &id, None, LAST).unwrap_err();
    assert_eq!(refused.kind(), Kind::Refused);
}

#[test]
fn what_names_a_record_of_one_group_stays_there() {
    let mut world = World::new();
    let id = add(&mut world, &flight());
    edit(&mut world.teacher.1, &id, LATER, |flight| {
        flight.aircraft_id = Some("aircraft of the school".into());
        flight.instructor = Who {
            person_id: Some("person of the school".into()),
            name: Some("Sam Sample".into()),
        };
    });
    world.exchange(LATER);
    let there = seen(&world.teacher.1, &id);
    assert_eq!(
        there.instructor.person_id.as_deref(),
        Some("person of the school")
    );
    let here = seen(&world.flyer.1, &id);
    assert_eq!(here.aircraft_id, None);
    assert_eq!(here.instructor, Who::named("Sam Sample"));
}

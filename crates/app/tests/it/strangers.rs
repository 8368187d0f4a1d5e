//! Who is in one group only cannot touch a flight of the other by naming it, whatever they write in their own.

#![expect(clippy::unwrap_used, reason = "a test may end here")]

use aeroedge_app::contexts;
use aeroedge_app::explain::{Explained, Kind};
use aeroedge_app::flights::{self, FlightError, FlightView, Query};
use aeroedge_app::installation::Installation;
use aeroedge_aviation_store::tables::Audience as TableAudience;
use aeroedge_ids::{CompartmentId, Millis};
use rusqlite::{OptionalExtension, params};

use crate::support::{NOW, flight};
use crate::world::{LAST, LATER, World};

/// What a row says that makes it a copy.
#[derive(Debug, Clone)]
struct Claimed {
    id: String,
    flight_uid: Option<String>,
    proof: Option<Vec<u8>>,
}

/// Reads what a stranger may have learned.
fn claimed(installation: &Installation, compartment: CompartmentId) -> Claimed {
    installation
        .device
        .connection()
        .query_row(
            "SELECT id, flight_uid, flight_proof FROM flight WHERE compartment_id = ?1",
            [compartment.0],
            |row| {
                Ok(Claimed {
                    id: row.get(0)?,
                    flight_uid: row.get(1)?,
                    proof: row.get(2)?,
                })
            },
        )
        .unwrap()
}

/// Puts a row into the club that says what it likes.
fn plant(world: &mut World, row: &Claimed, now: Millis) {
    let club = world.in_club();
    let author = world.both.1.device.user();
    let flyer = &mut world.flyer.1;
    flyer
        .device
        .write(now, &mut rand::rng(), |tx| {
            tx.execute(
                "INSERT INTO flight (
                   id, compartment_id, created_by, created_at, updated_at, flight_uid, flight_proof, pilot_user_id, date,
                   remarks, total_seconds
                 ) VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, ?3, '2026-05-14', 'forged', 60)",
                params![row.id, club.0, author.0, now.0 as i64, row.flight_uid, row.proof],
            )
        })
        .unwrap();
    flyer.device.make_durable().unwrap();
}

fn remarks(installation: &Installation, id: &str) -> Option<String> {
    flights::get(&installation.device, id)
        .unwrap()
        .flight
        .remarks
}

fn set_remarks(installation: &mut Installation, id: &str, remarks: &str, now: Millis) {
    let mut flight = flights::get(&installation.device, id).unwrap().flight;
    flight.remarks = Some(remarks.to_owned());
    flights::edit(&mut installation.device, id, &flight, now).unwrap();
    installation.device.make_durable().unwrap();
}

fn listed(installation: &Installation) -> Vec<FlightView> {
    let part = flights::Part {
        offset: 0,
        limit: 100,
        oldest_first: false,
    };
    flights::list(&installation.device, &Query::default(), part)
        .unwrap()
        .1
}

/// The teacher logs a flight in the school and in the personal logbook.
fn flight_of_the_teacher(world: &mut World) -> (String, Claimed) {
    let own = contexts::personal(&world.teacher.1.device).unwrap();
    let groups = [own, world.school];
    let teacher = &mut world.teacher.1.device;
    let id = flights::add(teacher, &groups, &flight(), NOW).unwrap();
    teacher.make_durable().unwrap();
    let place = aeroedge_log::compartment::Audience::Person(teacher.user());
    let learned = claimed(&world.teacher.1, place.compartment(world.school));
    (id, learned)
}

/// The stranger's row is a flight of its own at who is in both groups, and the true one is as it was, everywhere.
fn check_apart(world: &mut World, id: &str, copies: usize) {
    for installation in [&world.both.1, &world.teacher.1] {
        assert_eq!(remarks(installation, id), None);
    }
    let all = listed(&world.both.1);
    assert_eq!(all.len(), 2, "{all:?}");
    let forged = all
        .iter()
        .find(|view| view.flight.remarks.as_deref() == Some("forged"))
        .unwrap();
    assert_eq!(forged.contexts, [world.club]);
    let totals = flights::totals(&world.both.1.device, &Query::default()).unwrap();
    assert_eq!((totals.flights, totals.total.0), (2, 5040 + 60));
    // Each is reached by the id under which it is listed, and only that one.
    let true_one = flights::get(&world.both.1.device, id).unwrap();
    assert_eq!(
        (true_one.id.as_str(), true_one.contexts.len()),
        (id, copies)
    );
    let forged_id = forged.id.clone();
    assert_ne!(forged_id, id);
    set_remarks(&mut world.both.1, id, "true", LAST);
    set_remarks(&mut world.both.1, &forged_id, "still forged", LAST);
    world.exchange(LAST);
    let after = |installation: &Installation, id: &str| remarks(installation, id).unwrap();
    assert_eq!(after(&world.teacher.1, id), "true");
    assert_eq!(after(&world.both.1, id), "true");
    assert_eq!(after(&world.both.1, &forged_id), "still forged");
    let entries = world.entries();
    world.exchange(LAST);
    assert_eq!(world.entries(), entries, "nothing was carried");
    flights::delete(&mut world.both.1.device, &forged_id, None, LAST).unwrap();
    world.both.1.device.make_durable().unwrap();
    world.exchange(LAST);
    assert_eq!(after(&world.teacher.1, id), "true");
    flights::delete(&mut world.both.1.device, id, None, LAST).unwrap();
    assert!(listed(&world.both.1).is_empty());
}

#[test]
fn a_row_under_a_learned_id_is_no_copy() {
    for planted_first in [true, false] {
        let mut world = World::new();
        let (id, learned) = flight_of_the_teacher(&mut world);
        let forged = Claimed {
            id: "0197f3a2-0000-7000-8000-00000000f00d".into(),
            proof: None,
            ..learned
        };
        if planted_first {
            plant(&mut world, &forged, LATER);
            world.meet(true, LATER);
            flights::carry_across(&mut world.both.1.device, LATER).unwrap();
        } else {
            world.exchange(NOW);
            plant(&mut world, &forged, LATER);
        }
        world.exchange(LATER);
        check_apart(&mut world, &id, 1);
    }
}

#[test]
fn a_proof_of_another_place_is_none() {
    for own_row_id in [true, false] {
        let mut world = World::new();
        let (id, learned) = flight_of_the_teacher(&mut world);
        world.exchange(NOW);
        // Everything that stands in the school, but for the group; even under the same row id.
        let mut forged = learned;
        if own_row_id {
            forged.id = "0197f3a2-0000-7000-8000-00000000f00d".into();
        }
        plant(&mut world, &forged, LATER);
        world.exchange(LATER);
        check_apart(&mut world, &id, 1);
    }
}

#[test]
fn a_row_named_like_the_flight_does_not_stand_in_its_way() {
    let mut world = World::new();
    let (id, learned) = flight_of_the_teacher(&mut world);
    world.exchange(NOW);
    let forged = Claimed {
        id: id.clone(),
        ..learned
    };
    plant(&mut world, &forged, LATER);
    world.exchange(LATER);
    check_apart(&mut world, &id, 1);
}

#[test]
fn a_true_proof_of_ones_own_under_a_learned_id_is_none() {
    let mut world = World::new();
    let (id, _) = flight_of_the_teacher(&mut world);
    world.exchange(NOW);
    // A flight of the stranger's own, truly in two groups; then it says that it is the other one.
    let own = contexts::personal(&world.flyer.1.device).unwrap();
    let groups = [own, world.club];
    let mut forged = flight();
    forged.remarks = Some("forged".into());
    forged.total = aeroedge_aviation::logbook::Seconds(60);
    flights::add(&mut world.flyer.1.device, &groups, &forged, NOW).unwrap();
    world.exchange(NOW);
    let change = |world: &mut World, sql: &str, values: &[&dyn rusqlite::ToSql]| {
        let flyer = &mut world.flyer.1.device;
        let changed = flyer.write(LATER, &mut rand::rng(), |tx| tx.execute(sql, values));
        assert!(changed.unwrap() > 0);
        flyer.make_durable().unwrap();
        world.exchange(LATER);
    };
    let (club, uid) = (world.in_club().0, id.clone());
    change(
        &mut world,
        "UPDATE flight SET flight_uid = ?1 WHERE compartment_id = ?2",
        &[&uid, &club],
    );
    check_apart(&mut world, &id, 1);
}

#[test]
fn a_copy_repeated_under_another_row_id_is_no_copy() {
    let mut world = World::new();
    let groups = [world.club, world.school];
    let id = flights::add(&mut world.both.1.device, &groups, &flight(), NOW).unwrap();
    world.both.1.device.make_durable().unwrap();
    world.exchange(NOW);
    let mut repeated = claimed(&world.flyer.1, world.in_club());
    repeated.id = "0197f3a2-0000-7000-8000-00000000f00d".into();
    plant(&mut world, &repeated, LATER);
    world.exchange(LATER);
    check_apart(&mut world, &id, 2);
}

#[test]
fn a_copy_that_was_deleted_and_made_again_is_no_copy() {
    for both_at_once in [true, false] {
        let mut world = World::new();
        let groups = [world.club, world.school];
        let id = flights::add(&mut world.both.1.device, &groups, &flight(), NOW).unwrap();
        world.both.1.device.make_durable().unwrap();
        world.exchange(NOW);
        let old = claimed(&world.flyer.1, world.in_club());
        // Who logged it takes it out of the club; a member remembers what the row said and puts it back.
        flights::delete(&mut world.both.1.device, &id, Some(world.club), LATER).unwrap();
        world.both.1.device.make_durable().unwrap();
        if both_at_once {
            // Nobody looks at the flights between the two.
            world.meet(true, LATER);
            world.flyer.1.device.make_durable().unwrap();
        } else {
            world.exchange(LATER);
        }
        plant(&mut world, &old, LAST);
        world.exchange(LAST);
        check_apart(&mut world, &id, 1);
    }
}

#[test]
fn a_copy_that_was_made_to_say_something_else_is_its_groups_own() {
    let mut world = World::new();
    let groups = [world.club, world.school];
    let id = flights::add(&mut world.both.1.device, &groups, &flight(), NOW).unwrap();
    world.both.1.device.make_durable().unwrap();
    world.exchange(NOW);
    let flyer = &mut world.flyer.1.device;
    flyer
        .write(LATER, &mut rand::rng(), |tx| {
            tx.execute(
                "UPDATE flight SET flight_proof = x'00', remarks = 'forged', total_seconds = 60",
                [],
            )
        })
        .unwrap();
    flyer.make_durable().unwrap();
    world.exchange(LATER);
    check_apart(&mut world, &id, 1);
}

#[test]
fn two_rows_of_one_id_in_two_groups_are_told_apart() {
    let mut world = World::new();
    // A flight that stands in the school alone is named by its row.
    let teacher = &mut world.teacher.1.device;
    let school = [world.school];
    let id = flights::add(teacher, &school, &flight(), NOW).unwrap();
    teacher.make_durable().unwrap();
    let forged = Claimed {
        id: id.clone(),
        flight_uid: None,
        proof: None,
    };
    plant(&mut world, &forged, LATER);
    world.exchange(LATER);
    let refused = flights::get(&world.both.1.device, &id).unwrap_err();
    assert!(matches!(refused, FlightError::Ambiguous(_)));
    assert_eq!(refused.kind(), Kind::Invalid);
    assert_eq!(remarks(&world.teacher.1, &id), None, "no doubt there");
    for view in listed(&world.both.1) {
        assert!(view.id.starts_with(&format!("{id}@")), "{}", view.id);
        let again = flights::get(&world.both.1.device, &view.id).unwrap();
        assert_eq!(again, view);
        set_remarks(&mut world.both.1, &view.id, "edited", LAST);
    }
    let by_group = flights::get(&world.both.1.device, &format!("{id}@Bay School")).unwrap();
    assert_eq!(by_group.contexts, [world.school]);
    flights::delete(
        &mut world.both.1.device,
        &format!("{id}@hangar"),
        None,
        LAST,
    )
    .unwrap();
    let left = listed(&world.both.1);
    assert_eq!(left.len(), 1);
    assert_eq!((&left[0].id, &left[0].contexts), (&id, &vec![world.school]));
}

#[test]
fn rows_that_belong_to_another_flight_are_not_drawn_in() {
    let mut world = World::new();
    let approach = aeroedge_aviation::logbook::Approach {
        kind: Some("ILS".into()),
        ..Default::default()
    };
    let mut with_approach = flight();
    with_approach.approaches = vec![approach];
    let groups = [world.club, world.school];
    let shared = flights::add(&mut world.both.1.device, &groups, &flight(), NOW).unwrap();
    let school = [world.school];
    let other = flights::add(&mut world.both.1.device, &school, &with_approach, NOW).unwrap();
    world.both.1.device.make_durable().unwrap();
    world.exchange(NOW);
    let before = flights::get(&world.teacher.1.device, &other)
        .unwrap()
        .flight;
    // A row of the same id, in the club, that belongs to the copy that is there: edited, then deleted.
    let child = before.approaches[0].id.clone().unwrap();
    let (club, of) = (
        world.in_club().0,
        claimed(&world.flyer.1, world.in_club()).id,
    );
    for (sql, now) in [
        (
            "INSERT INTO approach (id, compartment_id, flight_id, kind) VALUES (?1, ?2, ?3, 'forged')",
            LATER,
        ),
        (
            "UPDATE approach SET kind = 'forged again' WHERE id = ?1 AND compartment_id = ?2 AND flight_id = ?3",
            LATER,
        ),
        (
            "DELETE FROM approach WHERE id = ?1 AND compartment_id = ?2 AND flight_id = ?3",
            LAST,
        ),
    ] {
        let flyer = &mut world.flyer.1.device;
        flyer
            .write(now, &mut rand::rng(), |tx| {
                tx.execute(sql, params![child, club, of])?;
                tx.execute("UPDATE flight SET updated_at = ?1", [now.0 as i64])
            })
            .unwrap();
        flyer.make_durable().unwrap();
        world.exchange(now);
        let after = flights::get(&world.teacher.1.device, &other)
            .unwrap()
            .flight;
        assert_eq!(after, before, "{sql}");
    }
    assert!(flights::get(&world.teacher.1.device, &shared).is_ok());
    let in_school = world.in_school(TableAudience::PersonAndStaff).0;
    let row: Option<String> = world
        .both
        .1
        .device
        .connection()
        .query_row(
            "SELECT kind FROM approach WHERE id = ?1 AND compartment_id = ?2",
            params![child, in_school],
            |row| row.get(0),
        )
        .optional()
        .unwrap();
    assert_eq!(row.as_deref(), Some("ILS"));
}

//! One person in two groups: nothing of one group reaches who is only in the other, but what the person put into both.

#![expect(clippy::unwrap_used, reason = "a test may end here")]

use aeroedge_app::installation::Installation;
use aeroedge_aviation_store::tables::{Audience as TableAudience, MERGED};
use aeroedge_log::compartment::Division;

use crate::support::{NOW, keeps, plant};
use crate::world::{LATER, World};

const OF_CLUB: &str = "canary of the club";
const OF_SCHOOL: &str = "canary of the school";

fn rows_saying(installation: &Installation, table: &str, canary: &str) -> i64 {
    installation
        .device
        .connection()
        .query_row(
            &format!("SELECT count(*) FROM {table} WHERE id = ?1"),
            [canary],
            |row| row.get(0),
        )
        .unwrap()
}

#[test]
fn no_table_of_one_group_reaches_who_is_only_in_the_other() {
    let mut world = World::new();
    // One transaction for each table that writes to both groups at once, and one group each by who is only there.
    for table in MERGED {
        let rows = [
            (table.name, world.in_club(), OF_CLUB),
            (table.name, world.in_school(table.audience), OF_SCHOOL),
        ];
        plant(&mut world.both.1, &rows);
    }
    world.exchange(NOW);
    for table in MERGED {
        let counts = |installation| {
            [OF_CLUB, OF_SCHOOL].map(|canary| rows_saying(installation, table.name, canary))
        };
        assert_eq!(counts(&world.both.1), [1, 1], "{}", table.name);
        assert_eq!(counts(&world.flyer.1), [1, 0], "{}", table.name);
        assert_eq!(counts(&world.teacher.1), [0, 1], "{}", table.name);
        check_entries(&world, table.name);
    }
    // Not in a table, and nowhere else in the files either.
    let kept = |installation| [OF_CLUB, OF_SCHOOL].map(|canary| keeps(installation, canary));
    assert_eq!(kept(&world.both.1), [true, true]);
    assert_eq!(kept(&world.flyer.1), [true, false]);
    assert_eq!(kept(&world.teacher.1), [false, true]);
    let groups = |installation: &Installation| installation.device.contexts().len();
    assert_eq!(groups(&world.flyer.1), 2, "the own one and the club");
    assert_eq!(groups(&world.teacher.1), 2, "the own one and the school");
}

/// Opens every entry and checks that it says only what belongs to its group.
fn check_entries(world: &World, table: &str) {
    let revisions = world
        .both
        .1
        .device
        .history_of(table, &|_| true, &mut |_| {})
        .unwrap();
    let of = |context, canary: &str| {
        revisions
            .iter()
            .filter(|revision| revision.context == context)
            .filter(|revision| format!("{:?}", revision.kind).contains(canary))
            .count()
    };
    assert_eq!(of(world.club, OF_CLUB), 1, "{table}");
    assert_eq!(of(world.club, OF_SCHOOL), 0, "{table}");
    assert_eq!(of(world.school, OF_SCHOOL), 1, "{table}");
    assert_eq!(of(world.school, OF_CLUB), 0, "{table}");
}

#[test]
fn a_row_of_the_other_group_is_out_of_reach_by_its_name() {
    let mut world = World::new();
    let there = world.in_school(TableAudience::PersonAndStaff);
    let here = world.in_club();
    plant(&mut world.both.1, &[("flight", there, OF_SCHOOL)]);
    world.exchange(NOW);
    // Straight into the other group: this device has no such place.
    let flyer = &mut world.flyer.1;
    let refused = flyer.device.write(NOW, &mut rand::rng(), |tx| {
        tx.execute(
            "INSERT INTO flight (id, compartment_id, remarks) VALUES (?1, ?2, 'overwritten')",
            rusqlite::params![OF_SCHOOL, there.0],
        )
    });
    assert!(refused.is_err(), "a foreign compartment is refused");
    // The same row in the own group, changed and deleted there.
    for sql in [
        "INSERT INTO flight (id, compartment_id, remarks) VALUES (?1, ?2, 'overwritten')",
        "UPDATE flight SET total_seconds = 1 WHERE id = ?1 AND compartment_id = ?2",
        "DELETE FROM flight WHERE id = ?1 AND compartment_id = ?2",
    ] {
        let written = flyer.device.write(NOW, &mut rand::rng(), |tx| {
            tx.execute(sql, rusqlite::params![OF_SCHOOL, here.0])
        });
        assert_eq!(written.unwrap(), 1, "{sql}");
    }
    flyer.device.make_durable().unwrap();
    world.exchange(LATER);
    for installation in [&world.both.1, &world.teacher.1] {
        let remarks: Vec<String> = installation
            .device
            .connection()
            .prepare("SELECT remarks FROM flight WHERE id = ?1")
            .unwrap()
            .query_map([OF_SCHOOL], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(remarks, [OF_SCHOOL]);
    }
}

#[test]
fn a_school_is_divided_and_a_club_is_not() {
    let world = World::new();
    let division = |context| world.both.1.device.roster(context).unwrap().division();
    assert_eq!(division(world.club), Division::Single);
    assert_eq!(division(world.school), Division::Divided);
}

//! One person in two groups: nothing of one group reaches who is only in the other, but what the person put into both.

#![expect(clippy::unwrap_used, reason = "a test may end here")]

use aeroedge_app::contexts::{self, ContextKind, NewContext};
use aeroedge_app::flights::{self, Query};
use aeroedge_app::installation::Installation;
use aeroedge_aviation_store::tables::{Audience as TableAudience, MERGED};
use aeroedge_ids::{CompartmentId, ContextId, Millis};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::control::Role;
use tempfile::TempDir;

use crate::support::{NOW, admit, exchange, flight, installation, keeps, plant};

const OF_CLUB: &str = "canary of the club";
const OF_SCHOOL: &str = "canary of the school";
const LATER: Millis = Millis(NOW.0 + 60_000);
const LAST: Millis = Millis(NOW.0 + 120_000);

/// `both` founded a club and a school; `flyer` is only in the club, and `teacher`, who reads everything, only in the school.
struct World {
    both: (TempDir, Installation),
    flyer: (TempDir, Installation),
    teacher: (TempDir, Installation),
    club: ContextId,
    school: ContextId,
}

impl World {
    fn new() -> Self {
        let mut both = installation();
        let mut found = |name: &str, kind| {
            let new = NewContext {
                name: name.to_owned(),
                kind,
                home_airport: None,
                own_name: None,
            };
            contexts::create(&mut both.1.device, &new, NOW).unwrap()
        };
        let club = found("Hangar 4", ContextKind::Club);
        let school = found("Bay School", ContextKind::School);
        let mut flyer = installation();
        let mut teacher = installation();
        admit(&mut both.1, &mut flyer.1, club, Role::Member);
        admit(&mut both.1, &mut teacher.1, school, Role::Admin);
        Self {
            both,
            flyer,
            teacher,
            club,
            school,
        }
    }

    /// Brings everybody up to date, as often as something moves; a device that merged carries edits across.
    fn exchange(&mut self, now: Millis) {
        for _ in 0..3 {
            for (other, context) in [
                (&mut self.flyer.1, self.club),
                (&mut self.teacher.1, self.school),
            ] {
                let both = &mut self.both.1;
                let arrived = exchange(both, other, context, now);
                let ids = flights::touched(&both.device, &arrived);
                flights::carry_across(&mut both.device, &ids, now).unwrap();
                both.device.make_durable().unwrap();
            }
        }
    }

    /// How many entries `both` holds of the two groups.
    fn entries(&self) -> u64 {
        let status = self.both.1.device.status().unwrap();
        status
            .iter()
            .flat_map(|compartment| &compartment.logs)
            .map(|log| log.stored.0)
            .sum()
    }

    /// Where a row about the person of `both` lives in the school.
    fn in_school(&self, audience: TableAudience) -> CompartmentId {
        let audience = match audience {
            TableAudience::Everyone => Audience::Everyone,
            TableAudience::Staff => Audience::Staff,
            TableAudience::PersonAndStaff | TableAudience::OfItsOwner => {
                Audience::Person(self.both.1.device.user())
            }
        };
        audience.compartment(self.school)
    }

    fn in_club(&self) -> CompartmentId {
        Audience::Everyone.compartment(self.club)
    }
}

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
fn a_flight_in_two_groups_is_one_flight_and_nothing_echoes() {
    let mut world = World::new();
    let groups = [world.club, world.school];
    let id = flights::add(&mut world.both.1.device, &groups, &flight(), NOW).unwrap();
    world.both.1.device.make_durable().unwrap();
    world.exchange(NOW);
    let listed = flights::list(
        &world.both.1.device,
        &Query::default(),
        flights::Part {
            offset: 0,
            limit: 10,
            oldest_first: false,
        },
    );
    assert_eq!(listed.unwrap().0, 1, "two copies are one flight");

    let remarks = |installation: &Installation| {
        flights::get(&installation.device, &id)
            .unwrap()
            .flight
            .remarks
    };
    let edit = |installation: &mut Installation, remarks: &str, now| {
        let mut changed = flights::get(&installation.device, &id).unwrap().flight;
        changed.remarks = Some(remarks.to_owned());
        flights::edit(&mut installation.device, &id, &changed, now).unwrap();
        installation.device.make_durable().unwrap();
    };
    edit(&mut world.flyer.1, "edited in the club", LATER);
    world.exchange(LATER);
    for installation in [&world.both.1, &world.flyer.1, &world.teacher.1] {
        assert_eq!(remarks(installation).as_deref(), Some("edited in the club"));
    }
    edit(&mut world.teacher.1, "edited in the school", LAST);
    world.exchange(LAST);
    for installation in [&world.both.1, &world.flyer.1, &world.teacher.1] {
        assert_eq!(
            remarks(installation).as_deref(),
            Some("edited in the school")
        );
    }
    let entries = world.entries();
    for round in 1..=5 {
        world.exchange(Millis(LAST.0 + round * 60_000));
        assert_eq!(world.entries(), entries, "an echo in round {round}");
    }
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
fn a_flight_of_the_other_group_can_be_reached_by_its_id_still() {
    let mut world = World::new();
    let school = [world.school];
    let id = flights::add(&mut world.both.1.device, &school, &flight(), NOW).unwrap();
    world.both.1.device.make_durable().unwrap();
    world.exchange(NOW);
    // Who is only in the club puts a flight there under the id that it learned of one in the school.
    let here = world.in_club();
    let author = world.both.1.device.user();
    let flyer = &mut world.flyer.1;
    flyer
        .device
        .write(LATER, &mut rand::rng(), |tx| {
            tx.execute(
                "INSERT INTO flight (id, compartment_id, created_by, created_at, updated_at, flight_uid, pilot_user_id, date, remarks)
                 VALUES ('forged', ?1, ?2, ?3, ?3, ?4, ?2, '2026-05-14', 'forged')",
                rusqlite::params![here.0, author.0, LATER.0 as i64, id],
            )
        })
        .unwrap();
    flyer.device.make_durable().unwrap();
    world.exchange(LAST);
    let seen = flights::get(&world.teacher.1.device, &id).unwrap().flight;
    // FIXME: the copy in the school must stand as it was. Whoever is in both groups takes the forged copy for one of its
    // own and carries it across; copies count as one flight only if one and the same person put them there.
    assert_eq!(seen.remarks.as_deref(), Some("forged"));
}

#[test]
fn edits_of_different_fields_in_two_groups_both_stand() {
    let mut world = World::new();
    let groups = [world.club, world.school];
    let id = flights::add(&mut world.both.1.device, &groups, &flight(), NOW).unwrap();
    world.both.1.device.make_durable().unwrap();
    world.exchange(NOW);
    let mut changed = flight();
    changed.remarks = Some("from the club".into());
    flights::edit(&mut world.flyer.1.device, &id, &changed, LATER).unwrap();
    world.flyer.1.device.make_durable().unwrap();
    let mut changed = flight();
    changed.route = Some("KHAF".into());
    flights::edit(&mut world.teacher.1.device, &id, &changed, LAST).unwrap();
    world.teacher.1.device.make_durable().unwrap();
    world.exchange(LAST);
    for installation in [&world.both.1, &world.flyer.1, &world.teacher.1] {
        let seen = flights::get(&installation.device, &id).unwrap().flight;
        assert_eq!(seen.remarks.as_deref(), Some("from the club"));
        assert_eq!(seen.route.as_deref(), Some("KHAF"));
    }
}

#[test]
fn a_school_is_divided_and_a_club_is_not() {
    let world = World::new();
    let division = |context| world.both.1.device.roster(context).unwrap().division();
    assert_eq!(division(world.club), Division::Single);
    assert_eq!(division(world.school), Division::Divided);
}

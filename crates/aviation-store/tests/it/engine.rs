//! The merge engine accepts every merged table, and an import through it is as complete as one without.

use aeroedge_aviation::demo::demo_logbook;
use aeroedge_aviation::foreflight::{Options, parse, write};
use aeroedge_aviation_store::flights::{self, Filter, Pilot};
use aeroedge_aviation_store::imports::{Caller, SourceFile, Target, apply_import, undo_import};
use aeroedge_aviation_store::{apply, migrations, tables::MERGED};
use aeroedge_ids::{Millis, WriterKey};
use aeroedge_replica::{CompartmentRule, Merged, Policy, Replica};
use rusqlite::Connection;

use crate::support::{HERE, NOW, PILOT, ids};

fn replica() -> Replica {
    let connection = Connection::open_in_memory().unwrap();
    apply(&connection).unwrap();
    merging(connection)
}

fn merging(connection: Connection) -> Replica {
    let mut replica = Replica::open(connection, WriterKey([5; 32])).unwrap();
    let tables: Vec<Merged> = MERGED
        .iter()
        .map(|table| Merged {
            table: table.name.to_owned(),
            compartment: CompartmentRule::Column("compartment_id".to_owned()),
            policy: Policy::Record,
        })
        .collect();
    replica.declare(&tables, NOW).unwrap();
    replica
}

#[test]
fn every_merged_table_is_accepted() {
    replica();
}

#[test]
fn a_database_of_an_earlier_program_goes_on_merging() {
    // Kept in memory for as long as one connection to it is open.
    let open = || Connection::open("file:earlier?mode=memory&cache=shared").unwrap();
    let keep = open();
    let earlier = open();
    earlier
        .execute_batch(
            "CREATE TABLE aviation_migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL)",
        )
        .unwrap();
    for (version, name, sql) in &migrations()[..7] {
        earlier.execute_batch(sql).unwrap();
        let record = "INSERT INTO aviation_migration (version, name) VALUES (?1, ?2)";
        earlier.execute(record, (version, name)).unwrap();
    }
    let insert = "INSERT INTO flight (id, compartment_id, flight_uid) VALUES (?1, x'01010101010101010101010101010101', 'u')";
    merging(earlier)
        .transaction(NOW, |conn| conn.execute(insert, ["old"]))
        .unwrap();
    let later = open();
    assert_eq!(apply(&later).unwrap() as usize, migrations().len());
    let mut replica = merging(later);
    replica
        .transaction(NOW, |conn| {
            conn.execute(insert, ["new"])?;
            conn.execute("UPDATE flight SET flight_proof = x'00'", [])
        })
        .unwrap();
    let filter = Filter {
        compartments: &[HERE],
        ..Filter::default()
    };
    assert_eq!(flights::count(replica.connection(), &filter).unwrap(), 2);
    drop(keep);
}

#[test]
fn an_import_and_its_undo_go_through_the_engine() {
    let mut replica = replica();
    let logbook = demo_logbook(1, 2_000);
    let text = write(&logbook.aircraft, &logbook.flights);
    let parsed = parse(text.as_bytes(), &Options::default()).unwrap();
    let target = Target {
        compartment: HERE,
        aircraft_compartment: Some(HERE),
        pilot: Pilot {
            user: Some(PILOT),
            person_id: None,
        },
        created_by: Some(PILOT),
    };
    let mut ids = ids();
    let source = SourceFile::default();
    let started = std::time::Instant::now();
    let committed = replica
        .transaction(NOW, |conn| {
            let caller = Caller {
                ids: &mut ids,
                progress: &mut |_, _| {},
            };
            apply_import(conn, &target, "batch", &source, &parsed, caller, NOW)
        })
        .unwrap();
    println!("2,000 flights in {:?}", started.elapsed());
    assert_eq!(committed.value.imported, 2_000);
    assert!(committed.hlc.is_some());
    let filter = Filter {
        compartments: &[HERE],
        ..Filter::default()
    };
    let totals = flights::totals(replica.connection(), &filter).unwrap();
    assert_eq!(totals, parsed.totals);
    let report = replica
        .transaction(Millis(NOW.0 + 1), |conn| {
            undo_import(conn, "batch", false, NOW)
        })
        .unwrap()
        .value;
    assert_eq!((report.flights, report.aircraft), (2_000, 6));
    assert_eq!(flights::count(replica.connection(), &filter).unwrap(), 0);
}

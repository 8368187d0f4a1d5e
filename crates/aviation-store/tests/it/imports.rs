//! Imports: nothing twice, everything back, and no edit lost.

use std::path::Path;
use std::time::Instant;

use aeroedge_aviation::foreflight::{Options, Outcome, Parsed, parse, write};
use aeroedge_aviation::logbook::{Aircraft, Flight, Hundredths, Seconds, totals};
use aeroedge_aviation_store::flights::{self, Filter, Pilot};
use aeroedge_aviation_store::imports::{
    Caller, SourceFile, Target, apply_import, batches, plan_import, undo_import,
};
use aeroedge_aviation_store::{StoreError, aircraft};
use aeroedge_ids::{Millis, UserId};
use rusqlite::Connection;
use serde_json::json;

use crate::support::{HERE, NOW, PILOT, database, full_flight, ids, new_row, short_flight};

fn target() -> Target {
    Target {
        compartment: HERE,
        aircraft_compartment: Some(HERE),
        pilot: Pilot {
            user: Some(PILOT),
            person_id: None,
        },
        created_by: Some(PILOT),
    }
}

fn logbook(flights: &[Flight]) -> Parsed {
    let plane = Aircraft {
        tail: "N100AA".into(),
        type_designator: Some("C172".into()),
        ..Aircraft::default()
    };
    parse(write(&[plane], flights).as_bytes(), &Options::default()).unwrap()
}

fn import(conn: &Connection, batch: &str, parsed: &Parsed) -> (u64, u64) {
    let mut ids = ids();
    let mut ids = || format!("{batch}-{}", ids());
    let source = SourceFile {
        name: Some("logbook.csv".into()),
        sha256: Some([3; 32]),
    };
    let planned = plan_import(conn, &target(), batch, parsed).unwrap();
    let caller = Caller {
        ids: &mut ids,
        progress: &mut |_, _| {},
    };
    let report = apply_import(conn, &target(), batch, &source, parsed, caller, NOW).unwrap();
    assert_eq!(report, planned, "the plan says what is done");
    (report.imported, report.duplicates)
}

fn here() -> Filter<'static> {
    Filter {
        compartments: &[HERE],
        ..Filter::default()
    }
}

/// Everything in every table except the list of imports, as text.
fn content(conn: &Connection) -> Vec<String> {
    let mut content = Vec::new();
    for table in aeroedge_aviation_store::tables::MERGED {
        let mut statement = conn
            .prepare(&format!("SELECT * FROM {} ORDER BY id", table.name))
            .unwrap();
        let width = statement.column_count();
        let rows = statement
            .query_map([], |row| {
                Ok((0..width)
                    .map(|i| format!("{:?}", row.get_ref(i).unwrap()))
                    .collect::<Vec<_>>()
                    .join(" "))
            })
            .unwrap();
        content.extend(rows.map(|row| format!("{}: {}", table.name, row.unwrap())));
    }
    content
}

#[test]
fn an_import_brings_flights_and_their_aircraft() {
    let conn = database();
    let parsed = logbook(&[full_flight(), short_flight("2026-01-01", "1.5")]);
    assert_eq!(import(&conn, "batch", &parsed), (2, 0));
    let found = flights::list(&conn, &here()).unwrap();
    assert_eq!(flights::totals(&conn, &here()).unwrap(), parsed.totals);
    let short = &found[1].value;
    let plane = aircraft::find_by_tail(&conn, HERE, "N100AA").unwrap();
    assert_eq!(short.flight.aircraft_id, plane);
    assert_eq!(short.flight.aircraft_type.as_deref(), Some("C172"));
    assert_eq!(short.import.as_ref().unwrap().batch_id, "batch");
    assert_eq!(short.link, None);
    assert_eq!(found[0].value.flight.approaches.len(), 1);
    let batches = batches(&conn).unwrap();
    assert_eq!((batches[0].flights, batches[0].aircraft), (2, 1));
}

#[test]
fn a_second_import_adds_nothing() {
    let conn = database();
    let twins = [
        short_flight("2026-01-01", "1.5"),
        short_flight("2026-01-01", "1.5"),
    ];
    let parsed = logbook(&twins);
    assert_eq!(
        import(&conn, "first", &parsed),
        (2, 0),
        "identical rows are two flights"
    );
    let before = content(&conn);
    assert_eq!(import(&conn, "second", &parsed), (0, 2));
    assert_eq!(content(&conn), before);
    let report = plan_import(&conn, &target(), "third", &parsed).unwrap();
    let skipped = |outcome: &Outcome| matches!(outcome, Outcome::SkippedDuplicate);
    assert_eq!(
        report
            .report
            .rows
            .iter()
            .filter(|row| skipped(&row.outcome))
            .count(),
        2
    );
}

#[test]
fn an_overlapping_export_adds_what_is_new() {
    let conn = database();
    let [first, second, third] =
        ["2026-01-01", "2026-01-02", "2026-01-03"].map(|d| short_flight(d, "1.0"));
    assert_eq!(
        import(&conn, "older", &logbook(&[second.clone(), first.clone()])),
        (2, 0)
    );
    assert_eq!(
        import(
            &conn,
            "newer",
            &logbook(&[third, second, first.clone(), first])
        ),
        (2, 2)
    );
    assert_eq!(flights::count(&conn, &here()).unwrap(), 4);
}

#[test]
fn an_entry_edited_here_is_still_recognised() {
    let conn = database();
    let parsed = logbook(&[short_flight("2026-01-01", "1.0")]);
    import(&conn, "first", &parsed);
    let id = flights::list(&conn, &here()).unwrap()[0].id.clone();
    let patch = json!({"total": 7200, "remarks": "corrected"});
    flights::update(
        &conn,
        HERE,
        &id,
        patch.as_object().unwrap(),
        &mut ids(),
        Millis(NOW.0 + 1),
    )
    .unwrap();
    assert_eq!(import(&conn, "second", &parsed), (0, 1));
}

#[test]
fn a_flight_that_was_typed_in_before_is_imported_and_pointed_out() {
    let conn = database();
    let mut typed = short_flight("2026-01-01", "1.0");
    typed.tail = Some("n100aa".into());
    typed.landings = Some(4);
    flights::insert(
        &conn,
        new_row("mine", HERE),
        &crate::support::entry(typed, None),
        &mut ids(),
    )
    .unwrap();
    let parsed = logbook(&[
        short_flight("2026-01-01", "1.0"),
        short_flight("2026-01-01", "1.1"),
    ]);
    let report = plan_import(&conn, &target(), "batch", &parsed).unwrap();
    let noted = |row: usize| match &report.report.rows[row].outcome {
        Outcome::Imported { notes } => notes.iter().any(|note| note.contains("there already")),
        _ => false,
    };
    assert_eq!((report.imported, noted(1), noted(2)), (2, true, false));
}

#[test]
fn twins_of_one_day_are_no_lookalikes_of_each_other() {
    let conn = database();
    let mut second = short_flight("2026-01-01", "1.0");
    second.remarks = Some("second circuit session".into());
    import(
        &conn,
        "first",
        &logbook(&[short_flight("2026-01-01", "1.0")]),
    );
    let both = logbook(&[second, short_flight("2026-01-01", "1.0")]);
    let report = plan_import(&conn, &target(), "second", &both).unwrap();
    assert_eq!((report.imported, report.duplicates), (1, 1));
    assert!(report.report.rows.iter().all(|row| match &row.outcome {
        Outcome::Imported { notes } => notes.is_empty(),
        _ => true,
    }));
}

#[test]
fn another_pilots_same_rows_are_that_pilots_flights() {
    let conn = database();
    let parsed = logbook(&[short_flight("2026-01-01", "1.0")]);
    import(&conn, "first", &parsed);
    let other = Target {
        pilot: Pilot {
            user: Some(UserId([8; 16])),
            person_id: None,
        },
        ..target()
    };
    let report = plan_import(&conn, &other, "second", &parsed).unwrap();
    assert_eq!((report.imported, report.aircraft), (1, 0));
}

#[test]
fn a_dry_run_changes_nothing() {
    let conn = database();
    let before = content(&conn);
    let parsed = logbook(&[full_flight()]);
    let report = plan_import(&conn, &target(), "batch", &parsed).unwrap();
    assert_eq!((report.imported, report.aircraft), (1, 1));
    assert_eq!(report.totals, parsed.totals);
    assert_eq!(content(&conn), before);
    assert_eq!(batches(&conn).unwrap(), []);
}

#[test]
fn undo_leaves_nothing_of_an_import_and_everything_else() {
    let conn = database();
    flights::insert(
        &conn,
        new_row("mine", HERE),
        &crate::support::entry(full_flight(), None),
        &mut ids(),
    )
    .unwrap();
    import(
        &conn,
        "kept",
        &logbook(&[short_flight("2025-01-01", "1.0")]),
    );
    let before = content(&conn);
    import(
        &conn,
        "undone",
        &logbook(&[full_flight(), short_flight("2026-01-01", "1.0")]),
    );
    let report = undo_import(&conn, "undone", false, NOW).unwrap();
    assert_eq!(
        (report.flights, report.aircraft, report.kept.len()),
        (2, 0, 0)
    );
    assert_eq!(content(&conn), before);
    let undone = batches(&conn)
        .unwrap()
        .into_iter()
        .find(|b| b.id == "undone")
        .unwrap();
    assert_eq!(undone.undone_at_ms, Some(NOW.0 as i64));
    assert_eq!(import(&conn, "again", &logbook(&[full_flight()])), (1, 0));
}

#[test]
fn undo_of_the_only_import_empties_every_table() {
    let conn = database();
    import(
        &conn,
        "batch",
        &logbook(&[full_flight(), short_flight("2026-01-01", "1.0")]),
    );
    let report = undo_import(&conn, "batch", false, NOW).unwrap();
    assert_eq!((report.flights, report.aircraft), (2, 1));
    assert_eq!(content(&conn), [""; 0]);
}

#[test]
fn undo_keeps_what_was_edited_since_unless_forced() {
    let conn = database();
    import(
        &conn,
        "batch",
        &logbook(&[full_flight(), short_flight("2026-01-01", "1.0")]),
    );
    let edited = flights::list(&conn, &here()).unwrap()[0].clone();
    let mut flight = edited.value.flight.clone();
    flight.approaches[0].count = Some(9);
    flights::replace(&conn, HERE, &edited.id, flight, &mut ids(), NOW).unwrap();
    let report = undo_import(&conn, "batch", false, NOW).unwrap();
    assert_eq!(report.flights, 1);
    assert_eq!(
        batches(&conn).unwrap()[0].undone_at_ms,
        None,
        "force can still finish it"
    );
    assert_eq!(
        (report.kept[0].id.as_str(), report.kept[0].why),
        (edited.id.as_str(), "edited since the import")
    );
    assert_eq!(report.kept[0].label, "2026-02-11 N738VU KPAO KSQL");
    let forced = undo_import(&conn, "batch", true, NOW).unwrap();
    assert_eq!((forced.flights, forced.kept.len()), (1, 0));
    assert!(batches(&conn).unwrap()[0].undone_at_ms.is_some());
    assert_eq!(content(&conn), [""; 0]);
}

#[test]
fn undo_keeps_an_aircraft_that_another_flight_uses() {
    let conn = database();
    import(
        &conn,
        "batch",
        &logbook(&[short_flight("2026-01-01", "1.0")]),
    );
    let mut flight = short_flight("2026-01-02", "1.0");
    flight.aircraft_id = aircraft::find_by_tail(&conn, HERE, "N100AA").unwrap();
    flights::insert(
        &conn,
        new_row("mine", HERE),
        &crate::support::entry(flight, None),
        &mut ids(),
    )
    .unwrap();
    let report = undo_import(&conn, "batch", true, NOW).unwrap();
    assert_eq!((report.flights, report.aircraft), (1, 0));
    assert_eq!(report.kept[0].why, "other flights use it");
}

#[test]
fn undo_works_on_a_device_that_only_received_the_rows() {
    let conn = database();
    import(
        &conn,
        "batch",
        &logbook(&[short_flight("2026-01-01", "1.0")]),
    );
    conn.execute("DELETE FROM import_batch", []).unwrap();
    assert_eq!(undo_import(&conn, "batch", false, NOW).unwrap().flights, 1);
}

#[test]
fn an_unknown_import_is_not_undone() {
    let error = undo_import(&database(), "none", false, NOW).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::NotFound {
                table: "import",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn an_aircraft_already_there_is_left_as_it_is() {
    let conn = database();
    let plane = Aircraft {
        tail: "n100aa".into(),
        make: Some("Cessna".into()),
        ..Aircraft::default()
    };
    aircraft::insert(&conn, new_row("a", HERE), &plane, &mut ids()).unwrap();
    import(
        &conn,
        "batch",
        &logbook(&[short_flight("2026-01-01", "1.0")]),
    );
    assert_eq!(aircraft::list(&conn, &[HERE]).unwrap().len(), 1);
    assert_eq!(
        flights::list(&conn, &here()).unwrap()[0]
            .value
            .flight
            .aircraft_id
            .as_deref(),
        Some("a")
    );
}

#[test]
fn without_a_place_for_aircraft_flights_keep_the_tail() {
    let conn = database();
    let target = Target {
        aircraft_compartment: None,
        ..target()
    };
    let parsed = logbook(&[short_flight("2026-01-01", "1.0")]);
    let caller = Caller {
        ids: &mut ids(),
        progress: &mut |_, _| {},
    };
    apply_import(
        &conn,
        &target,
        "batch",
        &SourceFile::default(),
        &parsed,
        caller,
        NOW,
    )
    .unwrap();
    let flight = &flights::list(&conn, &here()).unwrap()[0].value.flight;
    assert_eq!(
        (flight.aircraft_id.clone(), flight.tail.as_deref()),
        (None, Some("N100AA"))
    );
    assert_eq!(aircraft::list(&conn, &[HERE]).unwrap(), []);
}

#[test]
fn a_bad_row_is_in_the_report_and_costs_no_good_one() {
    let conn = database();
    let text = "Date,AircraftID,TotalTime,AllLandings\n2026-01-01,N1,1.0,1\n2026-01-02,N1,one,1\n2026-01-03,N1,1.0,1\n";
    let parsed = parse(text.as_bytes(), &Options::default()).unwrap();
    assert_eq!(import(&conn, "batch", &parsed), (2, 0));
    let report: String = conn
        .query_row("SELECT report FROM import_batch", [], |row| row.get(0))
        .unwrap();
    assert!(report.contains("is not a duration"), "{report}");
    assert_eq!(batches(&conn).unwrap()[0].rejected, 1);
}

#[test]
fn a_count_that_the_file_does_not_carry_is_null_in_the_table() {
    let conn = database();
    let text = "Date,AircraftID,TotalTime,AllLandings\n2026-01-01,N1,1.0,0\n";
    import(
        &conn,
        "batch",
        &parse(text.as_bytes(), &Options::default()).unwrap(),
    );
    let counts: (Option<u32>, Option<u32>) = conn
        .query_row("SELECT landings, takeoffs_night FROM flight", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(counts, (Some(0), None));
}

#[test]
fn ten_thousand_flights_import_and_undo_in_seconds() {
    let conn = database();
    let flights: Vec<Flight> = (0..10_000)
        .map(|index| Flight {
            hobbs_end: Some(Hundredths(index)),
            total: Seconds(360 + index),
            ..full_flight()
        })
        .collect();
    let parsed = logbook(&flights);
    let started = Instant::now();
    conn.execute_batch("BEGIN").unwrap();
    assert_eq!(import(&conn, "batch", &parsed), (10_000, 0));
    conn.execute_batch("COMMIT").unwrap();
    let imported = started.elapsed();
    assert_eq!(
        flights::totals(&conn, &here()).unwrap(),
        totals(parsed.flights.iter().map(|p| &p.flight))
    );
    let listed = Instant::now();
    assert_eq!(flights::list(&conn, &here()).unwrap().len(), 10_000);
    let listed = listed.elapsed();
    let started = Instant::now();
    conn.execute_batch("BEGIN").unwrap();
    undo_import(&conn, "batch", false, NOW).unwrap();
    conn.execute_batch("COMMIT").unwrap();
    println!(
        "imported in {imported:?}, listed in {listed:?}, undone in {:?}",
        started.elapsed()
    );
    assert!(imported.as_secs() < 20, "{imported:?}");
}

#[test]
fn real_exports_keep_their_totals_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["older-format-2020.csv", "tailwheel-2025.csv"] {
        let Some(path) = ["../../../shared/data", "../../../../shared/data"]
            .iter()
            .map(|folder| root.join(folder).join("foreflight").join(file))
            .find(|path| path.exists())
        else {
            println!("skipped: {file} is not beside this repository");
            return;
        };
        let parsed = parse(&std::fs::read(path).unwrap(), &Options::default()).unwrap();
        let conn = database();
        let rows = parsed.flights.len() as u64;
        assert_eq!(import(&conn, "first", &parsed), (rows, 0));
        assert_eq!(flights::totals(&conn, &here()).unwrap(), parsed.totals);
        assert_eq!(import(&conn, "second", &parsed), (0, rows));
        undo_import(&conn, "first", false, NOW).unwrap();
        assert_eq!(content(&conn), [""; 0]);
    }
}

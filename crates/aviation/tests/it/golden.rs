//! Two real exports must add up to known totals, to the digit.
//!
//! The exports are not part of this repository; without them these tests say so and check nothing.

use std::path::{Path, PathBuf};

use aeroedge_aviation::foreflight::{Options, Outcome, Parsed, Table, parse};
use aeroedge_aviation::logbook::{Hundredths, Seconds};
use serde_json::Value;

fn shared(file: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = ["../../../shared/data", "../../../../shared/data"]
        .iter()
        .map(|folder| root.join(folder).join(file))
        .find(|path| path.exists());
    if found.is_none() {
        println!("skipped: {file} is not beside this repository");
    }
    found
}

#[expect(clippy::disallowed_methods, reason = "a test reads its input")]
fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn golden(file: &str) -> Option<(Parsed, Value)> {
    let golden = read(&shared("foreflight/golden-totals.json")?);
    let golden: Value = serde_json::from_slice(&golden).unwrap();
    let bytes = read(&shared(&format!("foreflight/{file}"))?);
    let parsed = parse(&bytes, &Options::default()).unwrap();
    Some((parsed, golden[file].clone()))
}

fn check_totals(file: &str) {
    let Some((parsed, golden)) = golden(file) else {
        return;
    };
    let totals = &parsed.totals;
    let durations = [
        ("TotalTime", totals.total),
        ("PIC", totals.pic),
        ("SIC", totals.sic),
        ("Night", totals.night),
        ("Solo", totals.solo),
        ("CrossCountry", totals.cross_country),
        ("ActualInstrument", totals.actual_instrument),
        ("SimulatedInstrument", totals.simulated_instrument),
        ("DualGiven", totals.dual_given),
        ("DualReceived", totals.dual_received),
        ("SimulatedFlight", totals.simulator),
        ("GroundTraining", totals.ground_received),
    ];
    let counts = [
        ("DayTakeoffs", totals.takeoffs_day.sum),
        ("DayLandingsFullStop", totals.full_stops_day.sum),
        ("NightTakeoffs", totals.takeoffs_night.sum),
        ("NightLandingsFullStop", totals.full_stops_night.sum),
        ("AllLandings", totals.landings.sum),
        ("Holds", totals.holds.sum),
    ];
    let expected = golden["totals"].as_object().unwrap();
    assert_eq!(expected.len(), durations.len() + counts.len() + 1);
    for (name, value) in durations {
        let golden = expected[name].as_str().unwrap();
        assert_eq!(value, Seconds::parse(golden).unwrap(), "{name} is {golden}");
    }
    for (name, value) in counts {
        assert_eq!(
            value.to_string(),
            expected[name].as_str().unwrap(),
            "{name}"
        );
    }
    let distance = expected["Distance"].as_str().unwrap();
    assert_eq!(totals.distance, Hundredths::parse(distance).unwrap());
    assert_eq!(
        totals.approaches,
        golden["approach_total"].as_u64().unwrap()
    );
}

fn check_rows(file: &str) {
    let Some((parsed, golden)) = golden(file) else {
        return;
    };
    let number = |value: &Value| value.as_u64().unwrap();
    let count = |of: &dyn Fn(&aeroedge_aviation::logbook::Flight) -> bool| {
        parsed.flights.iter().filter(|p| of(&p.flight)).count() as u64
    };
    assert_eq!(
        u64::from(parsed.report.flight_rows),
        number(&golden["flight_rows"])
    );
    assert_eq!(
        u64::from(parsed.report.aircraft_rows),
        number(&golden["aircraft_rows"])
    );
    assert_eq!(parsed.flights.len() as u64, number(&golden["flight_rows"]));
    assert_eq!(parsed.report.rejected(), 0);
    let dates: Vec<_> = parsed.flights.iter().map(|p| p.flight.date).collect();
    let (first, last) = (dates.iter().min().unwrap(), dates.iter().max().unwrap());
    assert_eq!(first.to_string(), golden["first_date"].as_str().unwrap());
    assert_eq!(last.to_string(), golden["last_date"].as_str().unwrap());

    let anomalies = &golden["anomalies"];
    assert_eq!(
        count(&|f| f.tail.is_none()),
        number(&anomalies["flights_blank_aircraft"])
    );
    assert_eq!(
        count(&|f| f.total.is_zero()),
        number(&anomalies["zero_or_blank_total"])
    );
    assert_eq!(
        count(&|f| f.pic > f.total),
        number(&anomalies["pic_gt_total"])
    );
    assert_eq!(
        count(&|f| !f.pic.is_zero() && !f.dual_received.is_zero()),
        number(&anomalies["dual_and_pic_both"])
    );
    assert_eq!(
        count(&|f| f.full_stops_night > Some(0) && f.night.is_zero()),
        number(&anomalies["night_fs_but_no_night_time"])
    );
    assert_eq!(
        count(&|f| f.flight_review),
        number(&golden["flight_review_rows"])
    );
    assert_eq!(
        count(&|f| f.instrument_proficiency_check),
        number(&golden["ipc_rows"])
    );
    assert_eq!(count(&|f| f.checkride), number(&golden["checkride_rows"]));
    assert_eq!(
        count(&|f| f
            .remarks
            .as_deref()
            .is_some_and(|text| text.starts_with('"') && text.ends_with('"'))),
        0,
        "no remark keeps the literal quotes"
    );
    let types = golden["approach_types"].as_object().unwrap();
    for approach in parsed.flights.iter().flat_map(|p| &p.flight.approaches) {
        assert!(types.contains_key(approach.kind.as_deref().unwrap()));
    }
    let custom: Vec<String> = golden["custom_columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().replace("[Hours]", ""))
        .collect();
    for name in &custom {
        assert!(parsed.report.custom_columns.contains(name), "{name}");
    }
}

#[test]
fn older_export_adds_up_to_the_golden_totals() {
    check_totals("older-format-2020.csv");
}

#[test]
fn newer_export_adds_up_to_the_golden_totals() {
    check_totals("tailwheel-2025.csv");
}

#[test]
fn older_export_is_read_row_for_row() {
    check_rows("older-format-2020.csv");
}

#[test]
fn newer_export_is_read_row_for_row() {
    check_rows("tailwheel-2025.csv");
}

#[test]
fn the_newest_template_is_read_and_has_no_flights() {
    let Some(path) = shared("foreflight/template-current.csv") else {
        return;
    };
    let parsed = parse(&read(&path), &Options::default()).unwrap();
    assert_eq!((parsed.flights.len(), parsed.aircraft.len()), (0, 0));
    assert!(parsed.report.rows.is_empty(), "{:?}", parsed.report.rows);
    assert!(parsed.report.absent_counts.is_empty());
    assert!(
        parsed
            .report
            .notes
            .iter()
            .any(|note| note.contains("no rows"))
    );
}

#[test]
fn real_exports_cut_at_any_byte_keep_what_stands_before_the_cut() {
    for file in ["older-format-2020.csv", "tailwheel-2025.csv"] {
        let Some(path) = shared(&format!("foreflight/{file}")) else {
            return;
        };
        let bytes = read(&path);
        let whole = parse(&bytes, &Options::default()).unwrap();
        for cut in (0..bytes.len()).step_by(131) {
            let Ok(parsed) = parse(&bytes[..cut], &Options::default()) else {
                continue;
            };
            let same = parsed
                .flights
                .iter()
                .zip(&whole.flights)
                .take_while(|(cut, whole)| cut.flight == whole.flight)
                .count();
            assert!(same + 1 >= parsed.flights.len(), "cut at {cut} of {file}");
        }
    }
}

#[test]
fn a_written_export_reads_back_to_the_same_fingerprints() {
    for file in ["older-format-2020.csv", "tailwheel-2025.csv"] {
        let Some((parsed, _)) = golden(file) else {
            return;
        };
        let flights: Vec<_> = parsed.flights.iter().map(|p| p.flight.clone()).collect();
        let written = aeroedge_aviation::foreflight::write(&parsed.aircraft, &flights);
        let again = parse(written.as_bytes(), &Options::default()).unwrap();
        assert_eq!(again.totals, parsed.totals);
        for (before, after) in parsed.flights.iter().zip(&again.flights) {
            assert_eq!(before.fingerprint, after.fingerprint, "row {}", before.row);
            assert_eq!(before.occurrence, after.occurrence);
        }
        assert_eq!(again.aircraft.len(), parsed.aircraft.len());
    }
}

#[test]
fn every_row_of_a_real_export_is_in_the_report() {
    let Some((parsed, _)) = golden("older-format-2020.csv") else {
        return;
    };
    let report = &parsed.report;
    assert_eq!(
        report.rows.len() as u32,
        report.aircraft_rows + report.flight_rows
    );
    // N286SW stands twice in the aircraft table, with two type codes.
    assert_eq!(parsed.aircraft.len(), 16);
    let told = report.count(Table::Aircraft, |outcome| {
        matches!(outcome, Outcome::Imported { notes } if notes.iter().any(|n| n.contains("172S")))
    });
    assert_eq!(told, 1);
}

#[test]
fn exports_of_other_programs_are_named() {
    for (file, program) in [
        ("logten/tab-native-keys.txt", "LogTen"),
        ("logten/tab-renamed-headers.txt", "LogTen"),
        ("logten/api-sample.json", "LogTen"),
        ("myflightbook/import-template.csv", "MyFlightbook"),
        ("myflightbook/sample-1.csv", "MyFlightbook"),
        ("myflightbook/sample-2.csv", "MyFlightbook"),
        ("tracks/kpae-roche-harbor.gpx", "GPX"),
        ("tracks/kpae-roche-harbor.kml", "KML"),
    ] {
        let Some(path) = shared(file) else {
            return;
        };
        let error = parse(&read(&path), &Options::default()).unwrap_err();
        assert!(error.to_string().contains(program), "{file}: {error}");
    }
}

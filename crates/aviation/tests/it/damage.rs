//! Damaged, foreign and hostile files give a clear answer and never a panic.

use aeroedge_aviation::foreflight::{ImportError, Options, parse};
use proptest::prelude::*;

use crate::generations::{GENERATION_2020, GENERATION_2025};

fn error(bytes: &[u8]) -> String {
    parse(bytes, &Options::default()).unwrap_err().to_string()
}

#[test]
fn cut_at_any_byte() {
    for text in [GENERATION_2020, GENERATION_2025] {
        let whole = parse(text.as_bytes(), &Options::default()).unwrap();
        let header = text.find("\nDate,").unwrap();
        let header_end = header + 1 + text[header + 1..].find('\n').unwrap();
        let commas = |bytes: &[u8]| bytes.split(|byte| *byte == b',').count() - 1;
        let width = commas(&text.as_bytes()[header..header_end]);
        for cut in 0..text.len() {
            let beginning = &text.as_bytes()[..cut];
            let parsed = parse(beginning, &Options::default());
            if cut <= header_end {
                assert!(parsed.is_err(), "cut at {cut} within or before the header");
                continue;
            }
            let parsed = parsed.unwrap();
            let after_header = &beginning[header_end + 1..];
            let rows = after_header.split(|byte| *byte == b'\n').count() - 1;
            let last = after_header.rsplit(|byte| *byte == b'\n').next().unwrap();
            if !last.is_empty() && commas(last) < width {
                assert_eq!(
                    parsed.report.rejected(),
                    1,
                    "the cut row is reported, at {cut}"
                );
                assert!(
                    parsed
                        .report
                        .notes
                        .iter()
                        .any(|note| note.contains("was cut")),
                    "the cut file is named, at {cut}"
                );
            }
            assert!(parsed.flights.len() >= rows, "cut at {cut}");
            for (cut, whole) in parsed.flights.iter().zip(&whole.flights).take(rows) {
                assert_eq!(cut, whole);
            }
        }
    }
}

#[test]
fn a_last_row_without_a_line_end_is_pointed_out() {
    let parsed = parse(GENERATION_2020.trim_end().as_bytes(), &Options::default()).unwrap();
    assert_eq!(parsed.flights.len(), 2);
    let notes = &parsed.report.notes;
    assert!(
        notes.iter().any(|note| note.contains("row 12 is the last")),
        "{notes:?}"
    );
}

#[test]
fn a_hundred_megabytes_of_one_line() {
    let line = vec![b'a'; 100 * 1024 * 1024];
    assert_eq!(
        error(&line),
        "line 1 has more than 1048576 bytes, so this is not a ForeFlight export: \
         choose the CSV file that ForeFlight exported"
    );
    let mut text = GENERATION_2020.as_bytes().to_vec();
    text.extend(vec![b'"'; 2 * 1024 * 1024]);
    assert!(error(&text).starts_with("line 13 has more than"));
}

#[test]
fn too_large_a_file() {
    let text = "2026-01-01,N1,1.0\n".repeat(4 * 1024 * 1024);
    assert!(error(text.as_bytes()).contains("more than the 64 MB"));
}

#[test]
fn too_many_rows() {
    let text = format!("Date,AircraftID,TotalTime\n{}", "x\n".repeat(250_001));
    assert!(error(text.as_bytes()).contains("more than 250000 rows"));
}

#[test]
fn what_is_no_text_is_named() {
    assert!(error(b"PK\x03\x04rest").contains("spreadsheet workbook"));
    assert!(error(b"%PDF-1.7").contains("PDF"));
    assert!(error(b"SQLite format 3\0").contains("SQLite"));
    assert!(error(&[0; 4096]).contains("binary"));
    assert!(error(b"").contains("empty"));
    assert!(error(b"\xFF\xFE").contains("empty"));
}

#[test]
fn an_export_without_its_flights_says_so() {
    let text = &GENERATION_2020[..GENERATION_2020.find("Flights Table").unwrap()];
    assert_eq!(
        parse(text.as_bytes(), &Options::default()),
        Err(ImportError::NoFlightsTable)
    );
    let without_total = "ForeFlight Logbook Import\nFlights Table\nDate,AircraftID\n";
    assert!(error(without_total.as_bytes()).contains("line 3 lacks the column TotalTime"));
}

#[test]
fn a_million_quotes_end_in_reasonable_time() {
    let mut text = GENERATION_2020.to_owned();
    text.push_str(&"\"x\n\"".repeat(50_000));
    let parsed = parse(text.as_bytes(), &Options::default()).unwrap();
    assert_eq!(parsed.flights.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = parse(&bytes, &Options::default());
    }

    #[test]
    fn random_bytes_after_a_good_beginning_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        generation in prop_oneof![Just(GENERATION_2020), Just(GENERATION_2025)],
    ) {
        let mut text = generation.as_bytes().to_vec();
        text.extend(bytes);
        let _ = parse(&text, &Options::default());
    }

    #[test]
    fn random_cells_never_panic_and_every_row_is_reported(
        rows in proptest::collection::vec(
            proptest::collection::vec("[-0-9a-z:;., \"'/\u{e9}]{0,8}", 0..56),
            0..6,
        ),
    ) {
        let mut text = GENERATION_2020.to_owned();
        for row in &rows {
            text.push_str(&row.join(","));
            text.push('\n');
        }
        if let Ok(parsed) = parse(text.as_bytes(), &Options::default()) {
            let reported = parsed.report.rows.len() as u32;
            prop_assert_eq!(reported, parsed.report.flight_rows + parsed.report.aircraft_rows);
            prop_assert!(parsed.flights.len() >= 2);
        }
    }

    #[test]
    fn a_flipped_byte_never_panics(position in 0..GENERATION_2020.len(), byte in any::<u8>()) {
        let mut text = GENERATION_2020.as_bytes().to_vec();
        text[position] = byte;
        let _ = parse(&text, &Options::default());
    }

    #[test]
    fn wrong_encodings_never_panic(text in "\\PC{0,200}", odd in any::<bool>()) {
        let mut bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        if odd {
            bytes.push(0);
        }
        let _ = parse(&bytes, &Options::default());
    }
}

//! Which program wrote a file, decided from its first lines.
//!
//! A file that is not a ForeFlight export is named and refused before anything is read from it.

use super::report::excerpt;

/// The file cannot be imported at all, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each says what it is")]
pub enum ImportError {
    #[error("file is empty: export the logbook again and choose that file")]
    Empty,
    #[error(
        "file has {megabytes} MB, more than the {megabytes_max} MB a logbook can have: choose the CSV file that ForeFlight exported"
    )]
    TooLarge {
        megabytes: usize,
        megabytes_max: usize,
    },
    #[error(
        "line {line} has more than {bytes_max} bytes, so this is not a ForeFlight export: choose the CSV file that ForeFlight exported"
    )]
    LineTooLong { line: usize, bytes_max: usize },
    #[error(
        "file has more than {rows_max} rows, more than a logbook can have: choose the CSV file that ForeFlight exported"
    )]
    TooManyRows { rows_max: usize },
    #[error("file is {found}, not text: save or export it as CSV and choose that file")]
    NotText { found: &'static str },
    #[error("file was written by {program}, not by ForeFlight: {advice}")]
    OtherProgram {
        program: &'static str,
        advice: &'static str,
    },
    #[error(
        "file is no logbook that is known here; it begins with {beginning:?}: export the logbook from ForeFlight (More, Logbook, Export) and choose that file"
    )]
    Unrecognised { beginning: String },
    #[error(
        "file has no flights table: it was cut or edited; export the logbook from ForeFlight again"
    )]
    NoFlightsTable,
    #[error(
        "header of the flights table on line {line} lacks the column {missing}: the file was cut or edited; export the logbook from ForeFlight again"
    )]
    HeaderIncomplete { line: u32, missing: &'static str },
}

const OTHER_ADVICE: &str = "only ForeFlight exports can be read so far; bring the flights into ForeFlight and export there";

/// Columns by which the first lines of another program's file are known, in reduced form.
const OTHER_PROGRAMS: &[(&str, &[&str])] = &[
    ("LogTen", &["flightflightdate"]),
    ("LogTen", &["aircraftid", "picp1crew"]),
    ("LogTen", &["aircraftid", "dayldg"]),
    ("MyFlightbook", &["tailnumber", "totalflighttime"]),
    ("MyFlightbook", &["tailnumber", "fsdaylandings"]),
    ("capzlog", &["departureplace", "singlepilotse"]),
    ("FLYLOG", &["departureairport", "blocktime", "pictime"]),
    ("Vereinsflieger", &["datum", "kennzeichen", "muster"]),
    ("mccPILOTLOG", &["acreg", "afdep", "afarr"]),
    ("Wader", &["sector", "offblock", "onblock"]),
    ("SkyDemon", &["pilotincommand", "departuretime", "duration"]),
    ("eLogSite", &["ident", "scheduleddeptime", "asel"]),
    (
        "Garmin Pilot",
        &["aircraftid", "aircrafttype", "timeout", "timein"],
    ),
    ("Garmin Pilot", &["name", "simulator"]),
    ("Safelog", &["blockoff", "blockon", "landingsday"]),
];

/// A ForeFlight file and how its cells are separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recognised {
    pub(super) delimiter: u8,
    /// Whether the title line of an export stands at the top.
    pub(super) titled: bool,
}

/// Decides whether the text is a ForeFlight export.
pub(super) fn recognise(text: &str) -> Result<Recognised, ImportError> {
    if text.trim().is_empty() {
        return Err(ImportError::Empty);
    }
    let delimiter = delimiter(text);
    let mut titled = false;
    for line in text.split(['\n', '\r']).take(200) {
        let start = line.trim_start_matches(['\u{FEFF}', '"', ' ']);
        if starts_with_ignoring_case(start, "ForeFlight Logbook Import") {
            titled = true;
            break;
        }
        let bare_header = is_bare_header(line, delimiter);
        if bare_header
            || starts_with_ignoring_case(start, "Flights Table")
            || starts_with_ignoring_case(start, "Aircraft Table")
        {
            return Ok(Recognised {
                delimiter,
                titled: false,
            });
        }
    }
    if titled {
        return Ok(Recognised { delimiter, titled });
    }
    Err(other_program(text))
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// The header of a flights table without the lines that usually stand above it.
fn is_bare_header(line: &str, delimiter: u8) -> bool {
    let mut cells = line
        .split(char::from(delimiter))
        .map(|cell| cell.trim().trim_matches('"'));
    cells.clone().any(|cell| cell == "Date")
        && cells.clone().any(|cell| cell == "AircraftID")
        && cells.any(|cell| cell == "TotalTime")
}

/// The sign between cells: the one after the name that every header has.
fn delimiter(text: &str) -> u8 {
    text.match_indices("AircraftID")
        .take(8)
        .find_map(|(index, name)| {
            let rest = text[index + name.len()..].trim_start_matches(['"', ' ']);
            rest.bytes()
                .next()
                .filter(|byte| matches!(byte, b',' | b';' | b'\t'))
        })
        .unwrap_or(b',')
}

fn other_program(text: &str) -> ImportError {
    let beginning = text.trim_start();
    if beginning.starts_with(['{', '[']) {
        let program = if text.contains("flight_") {
            "LogTen (JSON)"
        } else {
            "another program (JSON)"
        };
        return ImportError::OtherProgram {
            program,
            advice: OTHER_ADVICE,
        };
    }
    if starts_with_ignoring_case(beginning, "<gpx") || head(text).contains("<gpx") {
        return ImportError::OtherProgram {
            program: "a track recorder (GPX)",
            advice: "a track holds one flight and no logbook; export the logbook from ForeFlight",
        };
    }
    if head(text).contains("<kml") {
        return ImportError::OtherProgram {
            program: "a track recorder (KML)",
            advice: "a track holds one flight and no logbook; export the logbook from ForeFlight",
        };
    }
    if beginning.starts_with('<') {
        return ImportError::NotText {
            found: "a web page or an XML document",
        };
    }
    for line in text.lines().filter(|line| !line.trim().is_empty()).take(8) {
        let names: Vec<String> = line
            .split([',', ';', '\t'])
            .take(300)
            .map(|cell| {
                cell.chars()
                    .filter(|c| c.is_alphanumeric())
                    .flat_map(char::to_lowercase)
                    .collect()
            })
            .collect();
        for (program, needed) in OTHER_PROGRAMS {
            if needed
                .iter()
                .all(|needed| names.iter().any(|name| name == needed))
            {
                return ImportError::OtherProgram {
                    program,
                    advice: OTHER_ADVICE,
                };
            }
        }
    }
    ImportError::Unrecognised {
        beginning: excerpt(beginning.lines().next().unwrap_or_default()),
    }
}

fn head(text: &str) -> &str {
    let end = text.len().min(2048);
    let end = (0..=end).rev().find(|i| text.is_char_boundary(*i));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let message = recognise(text).unwrap_err().to_string();
        assert!(message.contains(expected), "{text:?} gave {message:?}");
    }

    #[test]
    fn other_programs_are_named() {
        check(
            "flight_flightDate\taircraft_aircraftID\tflight_from\n",
            "LogTen",
        );
        check(
            "Date\tFlight #\tAircraft ID\tFrom\tPIC/P1 Crew\tDay Ldg\n",
            "LogTen",
        );
        check("{\"entities\":[{\"flight_from\":\"KPDX\"}]}", "LogTen");
        check(
            "Date,Tail Number,Model,Total Flight Time,Route\n",
            "MyFlightbook",
        );
        check(
            "Date,Departure Place,Departure Time,Single Pilot SE\n",
            "capzlog",
        );
        check("Date,Departure Airport,Block Time,PIC Time\n", "FLYLOG");
        check("Datum;Kennzeichen;Muster;Startort\n", "Vereinsflieger");
        check("flight_date,ac_reg,ac_model,af_dep,af_arr\n", "mccPILOTLOG");
        check("Date,Sector,Aircraft,Off Block,On Block\n", "Wader");
        check(
            "Date,Aircraft,Pilot In Command,Departure,Departure Time,Duration\n",
            "SkyDemon",
        );
        check("date,ident,type,scheduleddeptime,total,asel\n", "eLogSite");
        check(
            "Aircraft ID,Aircraft Type,Time Out,Time In\n",
            "Garmin Pilot",
        );
        check("<?xml version=\"1.0\"?><gpx>", "GPX");
        check("<?xml version=\"1.0\"?><kml>", "KML");
        check("<!DOCTYPE html>", "web page");
        check("dear diary,\n", "dear diary");
        check(" \r\n", "empty");
    }

    #[test]
    fn separators_other_than_a_comma_are_found() {
        for (separator, byte) in [(",", b','), (";", b';'), ("\t", b'\t')] {
            let text = ["ForeFlight Logbook Import\nDate", "AircraftID", "From"].join(separator);
            assert_eq!(recognise(&text).unwrap().delimiter, byte);
        }
    }

    #[test]
    fn a_table_without_the_title_is_recognised() {
        assert!(
            !recognise("Date,AircraftID,From,To,TotalTime\n")
                .unwrap()
                .titled
        );
        assert!(!recognise("\nFlights Table ,,\n").unwrap().titled);
    }
}

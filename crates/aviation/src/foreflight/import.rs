//! Reads a whole export: finds its tables, reads every row, and adds the result up.
//!
//! Memory is bounded by a small multiple of the file, and the file by limits checked before anything is copied.

use std::collections::BTreeMap;
use std::fmt;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::logbook::{Aircraft, Fingerprint, Flight, Totals, fingerprint, totals};

use super::aircraft_row;
use super::columns::{AircraftColumn, FlightColumn, Header};
use super::decode::{Encoding, binary_format, decode};
use super::flight_row::FlightRows;
use super::recognise::{ImportError, recognise};
use super::report::{Outcome, Problem, Report, RowReport, Table};
use super::rows::{Row, Rows};
use super::times::SlashOrder;

/// A logbook of two hundred thousand flights is smaller than this. Callers may refuse a larger file before reading it.
pub const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// More flights than anybody's; bounds the report of a hostile file.
const ROWS_MAX: usize = 250_000;

/// Looks up the zone of an airport by its identifier.
pub type AirportZones<'a> = dyn Fn(&str) -> Option<TimeZone> + 'a;

/// What a file does not say and the caller may know.
#[derive(Default, Clone)]
pub struct Options<'a> {
    /// The zone of the pilot's home airport, in which dates are local days where the airport's own is not known.
    pub home_zone: Option<TimeZone>,
    /// The zone of an airport.
    pub airport_zone: Option<&'a AirportZones<'a>>,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("home_zone", &self.home_zone)
            .field("airport_zone", &self.airport_zone.is_some())
            .finish()
    }
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parsed {
    /// The aircraft, one for each tail.
    pub aircraft: Vec<Aircraft>,
    /// The readable flights in the order of the file.
    pub flights: Vec<ParsedFlight>,
    /// What became of every row.
    pub report: Report,
    /// What the readable flights add up to.
    pub totals: Totals,
}

/// A flight and what it is recognised by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParsedFlight {
    /// Number of its row in the file, as a spreadsheet counts.
    pub row: u32,
    /// What it is recognised by when it comes again.
    pub fingerprint: Fingerprint,
    /// The how-manieth row of the file with this fingerprint; the first is 1.
    pub occurrence: u32,
    /// The flight.
    pub flight: Flight,
}

/// Reads an export.
///
/// # Errors
///
/// When the file as a whole is not a ForeFlight export that can be read; single bad rows are in the report instead.
pub fn parse(bytes: &[u8], options: &Options<'_>) -> Result<Parsed, ImportError> {
    check_limits(bytes)?;
    let (text, encoding) = decode(bytes);
    if text.contains('\0') && text.matches('\0').count() > text.len() / 100 {
        return Err(ImportError::NotText {
            found: "binary data",
        });
    }
    let recognised = recognise(&text)?;
    let mut import = Import::new(options, encoding);
    import.slash_order = SlashOrder::of(first_cells(&text, recognised.delimiter));
    if !recognised.titled {
        import.note("the title line of a ForeFlight export is missing");
    }
    import.read(Rows::new(&text, recognised.delimiter))?;
    import.finish()
}

fn check_limits(bytes: &[u8]) -> Result<(), ImportError> {
    if let Some(found) = binary_format(bytes) {
        return Err(ImportError::NotText { found });
    }
    let mut start = 0;
    let mut line = 1;
    for (index, byte) in bytes.iter().enumerate() {
        if index - start > LINE_BYTES_MAX {
            return Err(ImportError::LineTooLong {
                line,
                bytes_max: LINE_BYTES_MAX,
            });
        }
        if matches!(byte, b'\n' | b'\r') {
            start = index + 1;
            line += usize::from(*byte == b'\n' || bytes.get(index + 1) != Some(&b'\n'));
        }
    }
    if bytes.len() > FILE_BYTES_MAX {
        return Err(ImportError::TooLarge {
            megabytes: bytes.len() / 1_048_576,
            megabytes_max: FILE_BYTES_MAX / 1_048_576,
        });
    }
    Ok(())
}

fn first_cells(text: &str, delimiter: u8) -> impl Iterator<Item = &str> {
    text.split(['\n', '\r']).map(move |line| {
        let cell = line.split(char::from(delimiter)).next().unwrap_or_default();
        cell.trim().trim_matches('"')
    })
}

/// Where in the file reading is.
enum Place {
    /// Before, between or after tables.
    Outside,
    /// After the title of a table, before its header.
    Before(Table),
    /// Among the rows of the aircraft table.
    Aircraft(Header<AircraftColumn>),
    /// Among the rows of the flights table; its header stands in `Import::flight_rows`.
    Flights,
}

struct Import<'a> {
    options: &'a Options<'a>,
    slash_order: SlashOrder,
    place: Place,
    flight_rows: Option<FlightRows<'a>>,
    aircraft: Vec<Aircraft>,
    aircraft_by_tail: BTreeMap<String, usize>,
    flights: Vec<ParsedFlight>,
    occurrences: BTreeMap<Fingerprint, u32>,
    report: Report,
}

impl<'a> Import<'a> {
    fn new(options: &'a Options<'a>, encoding: Encoding) -> Self {
        Self {
            options,
            slash_order: SlashOrder::MonthFirst,
            place: Place::Outside,
            flight_rows: None,
            aircraft: Vec::new(),
            aircraft_by_tail: BTreeMap::new(),
            flights: Vec::new(),
            occurrences: BTreeMap::new(),
            report: Report {
                encoding,
                aircraft_rows: 0,
                flight_rows: 0,
                rows: Vec::new(),
                absent_counts: Vec::new(),
                custom_columns: Vec::new(),
                notes: Vec::new(),
            },
        }
    }

    fn note(&mut self, note: impl Into<String>) {
        self.report.notes.push(note.into());
    }

    fn read(&mut self, mut rows: Rows<'_>) -> Result<(), ImportError> {
        while let Some(row) = rows.next() {
            if row.is_blank() {
                continue;
            }
            if self.report.rows.len() >= ROWS_MAX {
                return Err(ImportError::TooManyRows { rows_max: ROWS_MAX });
            }
            if let Some(table) = title(&row) {
                self.place = Place::Before(table);
            } else if let Some(table) = self.header_of(&row) {
                rows.set_columns(row.filled());
                self.begin_table(table, &row)?;
            } else {
                self.data(&row);
                self.note_cut(&row);
            }
        }
        Ok(())
    }

    /// The table whose header this row is. A header is known by its column `AircraftID`; above it stands, in templates,
    /// a row of types.
    fn header_of(&self, row: &Row) -> Option<Table> {
        let cells = row.cells.as_ref().ok()?;
        let has = |name: &str| {
            cells
                .iter()
                .any(|cell| cell.trim().eq_ignore_ascii_case(name))
        };
        if !has("AircraftID") {
            return None;
        }
        match self.place {
            Place::Before(table) => Some(table),
            Place::Outside if has("TotalTime") => Some(Table::Flights),
            Place::Outside if has("TypeCode") => Some(Table::Aircraft),
            _ => None,
        }
    }

    fn begin_table(&mut self, table: Table, row: &Row) -> Result<(), ImportError> {
        match table {
            Table::Aircraft => {
                let header = Header::aircraft(row);
                self.keep_columns(&header);
                self.place = Place::Aircraft(header);
            }
            Table::Flights => {
                let header = Header::flights(row);
                let needed = [
                    (FlightColumn::Date, "Date"),
                    (FlightColumn::TotalTime, "TotalTime"),
                ];
                let incomplete = |missing| ImportError::HeaderIncomplete {
                    line: row.line,
                    missing,
                };
                for (column, name) in needed {
                    if !header.has(column) {
                        return Err(incomplete(name));
                    }
                }
                if !row.terminated {
                    return Err(incomplete("after its last one, as the file ends within it"));
                }
                self.keep_columns(&header);
                self.report.absent_counts = absent_counts(&header);
                self.flight_rows = Some(FlightRows {
                    header,
                    slash_order: self.slash_order,
                    home_zone: self.options.home_zone.as_ref(),
                    airport_zone: self.options.airport_zone,
                });
                self.place = Place::Flights;
            }
        }
        Ok(())
    }

    fn keep_columns<C: Copy + Ord>(&mut self, header: &Header<C>) {
        for kept in header.kept() {
            self.report.custom_columns.push(kept.name.clone());
            if kept.foreign {
                self.note(format!(
                    "column {:?} is not known here: its texts are kept as a custom field",
                    kept.name
                ));
            }
        }
    }

    fn data(&mut self, row: &Row) {
        let (table, outcome) = match &self.place {
            Place::Outside | Place::Before(_) => return,
            Place::Aircraft(header) => {
                self.report.aircraft_rows += 1;
                let read =
                    whole(row, header.width()).and_then(|()| aircraft_row::parse(header, row));
                (
                    Table::Aircraft,
                    read.map(|aircraft| self.add_aircraft(aircraft)),
                )
            }
            Place::Flights => {
                let Some(rows) = &self.flight_rows else {
                    return;
                };
                self.report.flight_rows += 1;
                let read = whole(row, rows.header.width()).and_then(|()| rows.parse(row));
                (
                    Table::Flights,
                    read.map(|read| {
                        self.add_flight(row.number, read.flight);
                        read.notes
                    }),
                )
            }
        };
        self.report.rows.push(RowReport {
            row: row.number,
            line: row.line,
            table,
            outcome: match outcome {
                Ok(notes) => Outcome::Imported { notes },
                Err(problems) => Outcome::Rejected { problems },
            },
        });
    }

    fn add_aircraft(&mut self, aircraft: Aircraft) -> Vec<String> {
        let key = aircraft.tail.to_uppercase();
        match self.aircraft_by_tail.get(&key) {
            None => {
                self.aircraft_by_tail.insert(key, self.aircraft.len());
                self.aircraft.push(aircraft);
                Vec::new()
            }
            Some(index) => {
                let differences = self.aircraft[*index].fill_from(&aircraft);
                let mut notes = vec![format!(
                    "{} stands in the table more than once: the rows are put together",
                    aircraft.tail
                )];
                notes.extend(differences.iter().map(|difference| {
                    format!(
                        "{} is {:?} here and {:?} above: the one above stands",
                        difference.field, difference.other, difference.kept
                    )
                }));
                notes
            }
        }
    }

    fn add_flight(&mut self, row: u32, mut flight: Flight) {
        let fingerprint = fingerprint(&flight);
        let occurrence = self.occurrences.entry(fingerprint).or_default();
        *occurrence += 1;
        flight.aircraft_type = flight
            .tail
            .as_ref()
            .and_then(|tail| self.aircraft_by_tail.get(&tail.to_uppercase()))
            .map(|index| &self.aircraft[*index])
            .and_then(|aircraft| aircraft.type_designator.clone().or(aircraft.model.clone()));
        self.flights.push(ParsedFlight {
            row,
            fingerprint,
            occurrence: *occurrence,
            flight,
        });
    }

    /// Says of the file as a whole that it was cut: a report of thousands of rows hides its last one.
    fn note_cut(&mut self, row: &Row) {
        let width = self
            .flight_rows
            .as_ref()
            .map_or(0, |rows| rows.header.width());
        if row.terminated || width == 0 {
            return;
        }
        self.note(if whole(row, width).is_err() {
            format!(
                "the file ends in the middle of row {}: it was cut; export the logbook again",
                row.number
            )
        } else {
            format!(
                "row {} is the last and has no line end: if the file was cut there, its last cell is not whole",
                row.number
            )
        });
    }

    fn finish(mut self) -> Result<Parsed, ImportError> {
        if self.flight_rows.is_none() {
            return Err(ImportError::NoFlightsTable);
        }
        if self.report.flight_rows == 0 {
            self.note("the flights table has no rows");
        }
        if self.slash_order == SlashOrder::DayFirst {
            self.note("dates such as 25/3/2020 are read as day/month/year");
        }
        if self.options.home_zone.is_none()
            && self
                .flights
                .iter()
                .any(|f| f.flight.departure_zone.is_none() && f.flight.out_at.is_some())
        {
            self.note("no home zone is set: days are taken as UTC days");
        }
        let totals = totals(self.flights.iter().map(|parsed| &parsed.flight));
        Ok(Parsed {
            aircraft: self.aircraft,
            flights: self.flights,
            report: self.report,
            totals,
        })
    }
}

/// The table whose title this row is.
fn title(row: &Row) -> Option<Table> {
    if row.filled() > 0 && row.cell(0).eq_ignore_ascii_case("Flights Table") {
        Some(Table::Flights)
    } else if row.filled() == 1 && row.cell(0).eq_ignore_ascii_case("Aircraft Table") {
        Some(Table::Aircraft)
    } else {
        None
    }
}

/// A row that was split into cells and, at the end of the file, is not cut.
fn whole(row: &Row, width: usize) -> Result<(), Vec<Problem>> {
    match &row.cells {
        Err(why) => Err(vec![Problem::row(*why)]),
        Ok(cells) if !row.terminated && cells.len() < width => Err(vec![Problem::row(
            "ends in the middle, and with it the file: export the logbook again",
        )]),
        Ok(_) => Ok(()),
    }
}

/// Counts that no column carries, under the names the app shows.
fn absent_counts(header: &Header<FlightColumn>) -> Vec<String> {
    [
        (FlightColumn::TakeoffsDay, "day takeoffs"),
        (FlightColumn::TakeoffsNight, "night takeoffs"),
        (FlightColumn::FullStopsDay, "day full-stop landings"),
        (FlightColumn::FullStopsNight, "night full-stop landings"),
        (FlightColumn::TouchAndGoDay, "day touch-and-go landings"),
        (FlightColumn::TouchAndGoNight, "night touch-and-go landings"),
        (FlightColumn::Holds, "holds"),
    ]
    .into_iter()
    .filter(|(column, _)| !header.has(*column))
    .map(|(_, name)| name.to_owned())
    .collect()
}

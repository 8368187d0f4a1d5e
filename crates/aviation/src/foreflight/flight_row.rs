//! One row of the flights table.
//!
//! A value that cannot be read rejects the row and says which column and text, because a flight with a wrong total is
//! worse than one that is reported missing. Oddities that are readable are left as they are and noted.

use jiff::tz::TimeZone;

use crate::logbook::{
    Approach, Flight, FlightPerson, Hundredths, ParseQuantityError, Seconds, Source, Who,
    parse_count,
};

use super::columns::{Cell, FlightColumn as Column, Header};
use super::import::AirportZones;
use super::report::Problem;
use super::rows::Row;
use super::times::{SlashOrder, instants, parse_date, parse_time};

/// What is the same for all rows of a file.
pub(super) struct FlightRows<'a> {
    pub(super) header: Header<Column>,
    pub(super) slash_order: SlashOrder,
    pub(super) home_zone: Option<&'a TimeZone>,
    pub(super) airport_zone: Option<&'a AirportZones<'a>>,
}

/// A readable row.
pub(super) struct ReadFlight {
    pub(super) flight: Flight,
    pub(super) notes: Vec<String>,
}

impl FlightRows<'_> {
    /// Reads a row, or tells everything that is wrong with it.
    pub(super) fn parse(&self, row: &Row) -> Result<ReadFlight, Vec<Problem>> {
        if row.filled() > self.header.width() {
            return Err(vec![Problem::row(format!(
                "has {} cells where the header has {}: a comma in a text is not quoted",
                row.filled(),
                self.header.width()
            ))]);
        }
        let mut reader = Reader {
            header: &self.header,
            row,
            problems: Vec::new(),
            notes: Vec::new(),
        };
        let mut flight = reader.plain_fields(self.slash_order);
        reader.landings(&mut flight);
        flight.approaches = reader.approaches();
        flight.persons = reader.persons();
        flight.custom_fields = self.header.custom_fields(row);
        name_crew(&mut flight);
        let times = [
            Column::TimeOut,
            Column::TimeOff,
            Column::TimeOn,
            Column::TimeIn,
        ]
        .map(|column| reader.optional(column, parse_time));
        if !reader.problems.is_empty() {
            return Err(reader.problems);
        }
        if times.iter().any(Option::is_some) {
            let zone = self.zone_of(&flight);
            [flight.out_at, flight.off_at, flight.on_at, flight.in_at] =
                instants(flight.date, times, zone.as_ref());
            flight.departure_zone = zone.and_then(|zone| zone.iana_name().map(str::to_owned));
        }
        note_oddities(&flight, &mut reader.notes);
        Ok(ReadFlight {
            flight,
            notes: reader.notes,
        })
    }

    fn zone_of(&self, flight: &Flight) -> Option<TimeZone> {
        flight
            .departure
            .as_deref()
            .and_then(|airport| self.airport_zone?(airport))
            .or_else(|| self.home_zone.cloned())
    }
}

/// Reads cells of one row and collects what is wrong with them.
struct Reader<'a> {
    header: &'a Header<Column>,
    row: &'a Row,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

impl<'a> Reader<'a> {
    fn plain_fields(&mut self, slash_order: SlashOrder) -> Flight {
        let date = self.optional(Column::Date, |text| parse_date(text, slash_order));
        if date.is_none() && self.problems.is_empty() {
            self.problems.push(Problem::row("has no Date"));
        }
        let (hobbs_start, hobbs_end) = self.meter(Column::HobbsStart, Column::HobbsEnd);
        let (tach_start, tach_end) = self.meter(Column::TachStart, Column::TachEnd);
        Flight {
            date: date.unwrap_or_default(),
            tail: self.text(Column::AircraftId),
            departure: self.text(Column::From),
            destination: self.text(Column::To),
            route: self.text(Column::Route),
            hobbs_start,
            hobbs_end,
            tach_start,
            tach_end,
            total: self.duration(Column::TotalTime),
            pic: self.duration(Column::Pic),
            sic: self.duration(Column::Sic),
            picus: self.duration(Column::Picus),
            dual_received: self.duration(Column::DualReceived),
            dual_given: self.duration(Column::DualGiven),
            solo: self.duration(Column::Solo),
            cross_country: self.duration(Column::CrossCountry),
            night: self.duration(Column::Night),
            actual_instrument: self.duration(Column::ActualInstrument),
            simulated_instrument: self.duration(Column::SimulatedInstrument),
            simulator: self.duration(Column::SimulatedFlight),
            ground_received: self.duration(Column::GroundTraining),
            ground_given: self.duration(Column::GroundTrainingGiven),
            takeoffs_day: self.count(Column::TakeoffsDay),
            takeoffs_night: self.count(Column::TakeoffsNight),
            holds: self.count(Column::Holds),
            distance: self.optional(Column::Distance, Hundredths::parse),
            instructor: Who {
                person_id: None,
                name: self.text(Column::InstructorName),
            },
            instructor_comments: self.comment(Column::InstructorComments),
            remarks: self.comment(Column::PilotComments),
            flight_review: self.flag(Column::FlightReview),
            instrument_proficiency_check: self.flag(Column::InstrumentProficiencyCheck),
            checkride: self.flag(Column::Checkride),
            proficiency_check: self.flag(Column::ProficiencyCheck),
            source: Source::Import,
            ..Flight::default()
        }
    }

    /// Landings. Newer files split touch-and-go by day and night; older ones give all landings and the full stops. When
    /// both stand together the file's own sum stands, unless its parts already make more.
    fn landings(&mut self, flight: &mut Flight) {
        flight.full_stops_day = self.count(Column::FullStopsDay);
        flight.full_stops_night = self.count(Column::FullStopsNight);
        let touch_and_go_day = self.count(Column::TouchAndGoDay);
        let touch_and_go_night = self.count(Column::TouchAndGoNight);
        let all = self.count(Column::AllLandings);
        flight.landings_day = both(flight.full_stops_day, touch_and_go_day);
        flight.landings_night = both(flight.full_stops_night, touch_and_go_night);
        let parts = add([
            flight.full_stops_day,
            flight.full_stops_night,
            touch_and_go_day,
            touch_and_go_night,
        ]);
        if let (Some(all @ 1..), Some(parts)) = (all, parts)
            && all < parts
        {
            self.notes.push(format!(
                "AllLandings is {all}, but its parts make {parts}: {parts} taken"
            ));
        }
        flight.landings = match (all, parts) {
            (Some(all), Some(parts)) => Some(all.max(parts)),
            (all, None) => all,
            (None, parts) => parts.filter(|_| {
                // Without the sum and without touch-and-go columns the parts are not all landings.
                self.header.has(Column::TouchAndGoDay) || self.header.has(Column::AllLandings)
            }),
        };
    }

    fn approaches(&mut self) -> Vec<Approach> {
        let mut approaches = Vec::new();
        for column in self
            .header
            .numbered(|column| matches!(column, Column::Approach(_)))
        {
            let Some(cell) = self.filled(column) else {
                continue;
            };
            let mut parts = cell.text.splitn(5, ';').map(|part| filled(part.trim()));
            let mut part = || parts.next().flatten();
            let count = part();
            let approach = Approach {
                count: count.and_then(|text| self.keep(cell, parse_count(text))),
                kind: part().map(str::to_owned),
                runway: part().map(str::to_owned),
                airport: part().map(str::to_owned),
                comments: part().map(|text| text.trim_end_matches(';').to_owned()),
                ..Approach::default()
            };
            if count.is_some() || approach != Approach::default() {
                approaches.push(approach);
            }
        }
        approaches
    }

    fn persons(&mut self) -> Vec<FlightPerson> {
        self.header
            .numbered(|column| matches!(column, Column::Person(_)))
            .filter_map(|column| {
                let cell = self.filled(column)?;
                let mut parts = cell.text.splitn(4, ';').map(|part| filled(part.trim()));
                let mut part = || parts.next().flatten().map(str::to_owned);
                let person = FlightPerson {
                    id: None,
                    who: Who {
                        person_id: None,
                        name: part(),
                    },
                    part: part(),
                    email: part(),
                    phone: part(),
                };
                (person != FlightPerson::default()).then_some(person)
            })
            .collect()
    }

    /// The two readings of a meter. The app writes 0.00 for a reading that was not taken; a meter that ends at zero has
    /// not been read, and one that starts there only if it ends elsewhere.
    fn meter(&mut self, start: Column, end: Column) -> (Option<Hundredths>, Option<Hundredths>) {
        let start = self.optional(start, Hundredths::parse);
        let end = self
            .optional(end, Hundredths::parse)
            .filter(|reading| reading.0 != 0);
        (start.filter(|reading| reading.0 != 0 || end.is_some()), end)
    }

    fn duration(&mut self, column: Column) -> Seconds {
        self.optional(column, Seconds::parse).unwrap_or_default()
    }

    fn count(&mut self, column: Column) -> Option<u32> {
        self.optional(column, parse_count)
            .filter(|count| *count <= 10_000)
            .or_else(|| {
                let cell = self.filled(column)?;
                if parse_count(cell.text).is_ok() {
                    let why = ParseQuantityError::TooLarge;
                    self.problems.push(Problem::cell(cell.name, cell.text, why));
                }
                None
            })
    }

    fn flag(&mut self, column: Column) -> bool {
        self.optional(column, |text| {
            parse_toggle(text).ok_or("is neither TRUE nor FALSE")
        })
        .unwrap_or(false)
    }

    fn text(&self, column: Column) -> Option<String> {
        self.filled(column).map(|cell| cell.text.to_owned())
    }

    /// A comment without the quotes that some exports write around it as part of the text.
    fn comment(&self, column: Column) -> Option<String> {
        let text = self.filled(column)?.text;
        let bare = text
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .map(|inner| inner.replace("\"\"", "\""));
        bare.or_else(|| Some(text.to_owned()))
            .filter(|text| !text.trim().is_empty())
    }

    fn filled(&self, column: Column) -> Option<Cell<'a>> {
        self.header
            .cell(self.row, column)
            .filter(|cell| !cell.text.is_empty())
    }

    fn optional<T, E: std::fmt::Display>(
        &mut self,
        column: Column,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let cell = self.filled(column)?;
        self.keep(cell, parse(cell.text))
    }

    fn keep<T, E: std::fmt::Display>(&mut self, cell: Cell<'_>, value: Result<T, E>) -> Option<T> {
        match value {
            Ok(value) => Some(value),
            Err(why) => {
                self.problems.push(Problem::cell(cell.name, cell.text, why));
                None
            }
        }
    }
}

/// Reads `TRUE`, `false`, `1` or `no`.
pub(super) fn parse_toggle(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "1" | "x" => Some(true),
        "false" | "no" | "n" | "0" | "" => Some(false),
        _ => None,
    }
}

/// The instructor, safety pilot and examiner stand among the persons in newer files: named in the entry if it is one.
fn name_crew(flight: &mut Flight) {
    let only_with_part = |words: &[&str]| {
        let mut with_part = flight.persons.iter().filter(|person| {
            person
                .part
                .as_deref()
                .is_some_and(|part| words.iter().any(|word| part.eq_ignore_ascii_case(word)))
        });
        match (with_part.next(), with_part.next()) {
            (Some(person), None) => Some(person.who.clone()),
            _ => None,
        }
    };
    let instructor = only_with_part(&["Instructor", "CFI", "Flight Instructor"]);
    let safety_pilot = only_with_part(&["Safety Pilot"]);
    let examiner = only_with_part(&["Examiner", "DPE"]);
    for (field, found) in [
        (&mut flight.instructor, instructor),
        (&mut flight.safety_pilot, safety_pilot),
        (&mut flight.examiner, examiner),
    ] {
        if let (true, Some(found)) = (field.is_nobody(), found) {
            *field = found;
        }
    }
}

fn note_oddities(flight: &Flight, notes: &mut Vec<String>) {
    if flight.pic > flight.total {
        notes.push("PIC is more than the total time".to_owned());
    }
    if flight.night > flight.total {
        notes.push("night is more than the total time".to_owned());
    }
    if flight.full_stops_night > Some(0) && flight.night.is_zero() {
        notes.push("night landings, but no night time".to_owned());
    }
    if let (Some(out), Some(inn)) = (flight.out_at, flight.in_at)
        && inn.duration_since(out).as_hours() >= 20
    {
        notes.push("20 hours or more from out to in: check the order of the times".to_owned());
    }
}

fn add<const N: usize>(counts: [Option<u32>; N]) -> Option<u32> {
    counts.into_iter().flatten().reduce(u32::saturating_add)
}

/// The sum of two counts, known only where both are: a blank beside a count may stand for what nobody split.
fn both(first: Option<u32>, second: Option<u32>) -> Option<u32> {
    Some(first?.saturating_add(second?))
}

fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

//! A flight's fields by name: how each is read from what a person typed, and what no flight can be.
//!
//! Every complaint names its field and what would be right; all of them are told at once. Nothing is corrected silently.

use std::fmt;

use aeroedge_aviation::logbook::{Approach, Flight, Hundredths, Seconds, Who, parse_count};
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Longest text of one field, in bytes; remarks of a whole page fit.
const TEXT_LENGTH_MAX: usize = 16 * 1024;
/// Longest flight: the record is under 65 days, a day is generous for everyone else.
const DURATION_MAX: Seconds = Seconds(65 * 24 * 3600);
/// Most landings, takeoffs or holds of one entry.
const COUNT_MAX: u32 = 1_000;

/// A field does not hold what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Name of the field.
    pub field: String,
    /// What is wrong and what would be right; fits after the name.
    pub problem: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.problem)
    }
}

/// Sets a field of a flight from text. Times of day need the date first.
pub fn set(flight: &mut Flight, field: &str, text: &str) -> Result<(), FieldError> {
    let text = text.trim();
    let wrong = |problem: String| FieldError {
        field: field.to_owned(),
        problem,
    };
    if text.is_empty() {
        return Err(wrong("is empty: give a value, or clear the field".into()));
    }
    if text.len() > TEXT_LENGTH_MAX {
        return Err(wrong(format!("is longer than {TEXT_LENGTH_MAX} bytes")));
    }
    let duration = || Seconds::parse(text).map_err(|error| wrong(error.to_string()));
    let meter = || Hundredths::parse(text).map_err(|error| wrong(error.to_string()));
    let count = || parse_count(text).map_err(|error| wrong(error.to_string()));
    let yes = || yes_or_no(text).ok_or_else(|| wrong("is neither yes nor no".into()));
    let identifier = || Some(text.to_uppercase());
    let date = flight.date;
    let instant = || instant(text, date).map_err(wrong);
    macro_rules! by_name {
        ($($value:expr => $($name:ident)*;)*) => {
            match field {
                $($(stringify!($name) => flight.$name = $value,)*)*
                _ => return Err(unknown(field)),
            }
        };
    }
    by_name! {
        read_date(text).map_err(wrong)? => date;
        identifier() => tail aircraft_type departure destination;
        Some(text.to_owned()) => route departure_zone simulator_level instructor_comments instructor_certificate
            ground_topic remarks;
        Some(instant()?) => out_at off_at on_at in_at;
        Some(meter()?) => hobbs_start hobbs_end tach_start tach_end distance;
        duration()? => total pic sic picus dual_received dual_given solo cross_country night actual_instrument
            simulated_instrument simulator ground_received ground_given;
        Some(count()?) => takeoffs_day takeoffs_night landings landings_day landings_night full_stops_day
            full_stops_night holds;
        Some(yes()?) => tracking;
        Who::named(text) => instructor safety_pilot examiner;
        yes()? => flight_review instrument_proficiency_check checkride proficiency_check;
    }
    if field == "departure_zone" && TimeZone::get(text).is_err() {
        return Err(wrong(
            "is not a time zone: write it as in America/Los_Angeles".into(),
        ));
    }
    Ok(())
}

/// Empties a field of a flight; the date stays.
pub fn clear(flight: &mut Flight, field: &str) -> Result<(), FieldError> {
    let blank = Flight {
        date: flight.date,
        ..Flight::default()
    };
    macro_rules! by_name {
        ($($name:ident)*) => {
            match field {
                $(stringify!($name) => flight.$name = blank.$name,)*
                "date" => {
                    return Err(FieldError {
                        field: field.to_owned(),
                        problem: "cannot be empty".to_owned(),
                    });
                }
                _ => return Err(unknown(field)),
            }
        };
    }
    by_name! {
        tail aircraft_type departure destination route departure_zone simulator_level instructor_comments
        instructor_certificate ground_topic remarks out_at off_at on_at in_at hobbs_start hobbs_end tach_start tach_end
        distance total pic sic picus dual_received dual_given solo cross_country night actual_instrument
        simulated_instrument simulator ground_received ground_given takeoffs_day takeoffs_night landings landings_day
        landings_night full_stops_day full_stops_night holds tracking instructor safety_pilot examiner flight_review
        instrument_proficiency_check checkride proficiency_check approaches
    }
    Ok(())
}

/// Reads `ILS 28R KSFO 2`: kind, runway, airport and how many, of which only the kind must be there.
pub fn approach(text: &str) -> Result<Approach, FieldError> {
    let wrong = |problem: &str| FieldError {
        field: "approach".to_owned(),
        problem: problem.to_owned(),
    };
    let mut words: Vec<&str> = text.split_whitespace().collect();
    if text.len() > 200 || words.is_empty() {
        return Err(wrong("is not an approach: write it as in 'ILS 28R KSFO 2'"));
    }
    let mut approach = Approach {
        count: Some(1),
        ..Approach::default()
    };
    // A lone number after three words is a count; '28' after one word is a runway.
    if words.len() > 3
        && let Some(Ok(count)) = words.last().map(|word| word.parse::<u32>())
    {
        if count == 0 || count > COUNT_MAX {
            return Err(wrong("has a count that nobody flies"));
        }
        approach.count = Some(count);
        words.pop();
    }
    if words.len() >= 3 {
        approach.airport = words.pop().map(str::to_uppercase);
    }
    if words.len() >= 2 {
        approach.runway = words.pop().map(str::to_uppercase);
    }
    approach.kind = Some(words.join(" "));
    Ok(approach)
}

/// What no flight can be. `today` is the date where it is latest on earth.
pub fn check(flight: &Flight, today: Date) -> Vec<FieldError> {
    let mut found = Complaints(Vec::new());
    if flight.date == Date::default() {
        found.add("date", "is missing: write it as in 2026-05-14");
    } else if flight.date > today {
        found.add("date", "is in the future");
    } else if flight.date.year() < 1903 {
        found.add("date", "is before the first flight");
    }
    let on_ground = flight.ground_received + flight.ground_given;
    if flight.total.is_zero() && flight.simulator.is_zero() && on_ground.is_zero() {
        found.add(
            "total",
            "is missing: give a total, simulator or ground time",
        );
    }
    macro_rules! durations {
        ($($name:ident)*) => {$(
            if flight.$name.0 < 0 {
                found.add(stringify!($name), "is negative");
            } else if flight.$name > DURATION_MAX {
                found.add(stringify!($name), "is longer than anybody has flown");
            }
        )*};
    }
    durations! { total simulator ground_received ground_given }
    // Night, instruments and the rest are parts of the flight or of the session in a device.
    let whole = flight.total + flight.simulator;
    macro_rules! parts {
        ($($name:ident)*) => {$(
            if flight.$name.0 < 0 {
                found.add(stringify!($name), "is negative");
            } else if flight.$name > whole {
                found.add(stringify!($name), "is longer than the whole flight");
            }
        )*};
    }
    parts! {
        pic sic picus dual_received dual_given solo cross_country night actual_instrument simulated_instrument
    }
    macro_rules! counts {
        ($($name:ident)*) => {$(
            if flight.$name.is_some_and(|count| count > COUNT_MAX) {
                found.add(stringify!($name), "is more than anybody does on one flight");
            }
        )*};
    }
    counts! {
        takeoffs_day takeoffs_night landings landings_day landings_night full_stops_day full_stops_night holds
    }
    found.ordered(
        "full_stops_day",
        flight.full_stops_day,
        flight.landings_day,
        "more than the landings by day",
    );
    found.ordered(
        "full_stops_night",
        flight.full_stops_night,
        flight.landings_night,
        "more than the landings by night",
    );
    found.ordered(
        "landings_day",
        flight.landings_day,
        flight.landings,
        "more than all landings",
    );
    found.ordered(
        "landings_night",
        flight.landings_night,
        flight.landings,
        "more than all landings",
    );
    found.ordered(
        "hobbs_start",
        flight.hobbs_start,
        flight.hobbs_end,
        "more than the meter afterwards",
    );
    found.ordered(
        "tach_start",
        flight.tach_start,
        flight.tach_end,
        "more than the meter afterwards",
    );
    let instants = [
        ("out_at", flight.out_at),
        ("off_at", flight.off_at),
        ("on_at", flight.on_at),
        ("in_at", flight.in_at),
    ];
    let mut earlier: Option<Timestamp> = None;
    for (name, instant) in instants {
        if let (Some(before), Some(now)) = (earlier, instant)
            && now < before
        {
            found.add(name, "is before what came before it");
        }
        earlier = instant.or(earlier);
    }
    found.0
}

struct Complaints(Vec<FieldError>);

impl Complaints {
    fn add(&mut self, field: &str, problem: &str) {
        self.0.push(FieldError {
            field: field.to_owned(),
            problem: problem.to_owned(),
        });
    }

    fn ordered<T: PartialOrd>(
        &mut self,
        field: &str,
        less: Option<T>,
        more: Option<T>,
        problem: &str,
    ) {
        if let (Some(less), Some(more)) = (less, more)
            && less > more
        {
            self.add(field, &format!("is {problem}"));
        }
    }
}

fn unknown(field: &str) -> FieldError {
    FieldError {
        field: field.to_owned(),
        problem: "is not a field of a flight".to_owned(),
    }
}

fn read_date(text: &str) -> Result<Date, String> {
    text.parse()
        .map_err(|_| "is not a date: write it as in 2026-05-14".to_owned())
}

fn yes_or_no(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "yes" | "y" | "true" | "1" => Some(true),
        "no" | "n" | "false" | "0" => Some(false),
        _ => None,
    }
}

/// An instant with its offset, or a time of day in UTC on the date of the flight.
fn instant(text: &str, date: Date) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    let wrong = || {
        "is not a time: write 17:05 for UTC, or 2026-05-14T10:05-07:00 with its offset".to_owned()
    };
    let time: Time = text
        .trim_end_matches(['z', 'Z'])
        .parse()
        .map_err(|_| wrong())?;
    if date == Date::default() {
        return Err("needs the date of the flight".to_owned());
    }
    date.to_datetime(time)
        .to_zoned(TimeZone::UTC)
        .map(|zoned| zoned.timestamp())
        .map_err(|_| wrong())
}

/// The date where it is latest on earth, at `now`.
pub fn latest_date(now: Timestamp) -> Date {
    let shifted = now.checked_add(14.hours()).unwrap_or(now);
    shifted.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(fields: &[(&str, &str)]) -> Flight {
        let mut flight = Flight::default();
        for (field, text) in fields {
            set(&mut flight, field, text).unwrap_or_else(|error| panic!("{error}"));
        }
        flight
    }

    #[track_caller]
    fn check_complaints(fields: &[(&str, &str)], expected: &[&str]) {
        let today = "2026-06-01".parse().unwrap();
        let found: Vec<String> = check(&flight(fields), today)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn fields_are_read_as_people_write_them() {
        let flight = flight(&[
            ("date", "2026-05-14"),
            ("tail", "n738vu"),
            ("total", "1:24"),
            ("hobbs_start", "1752.6"),
            ("landings", "3"),
            ("off_at", "17:05"),
            ("tracking", "yes"),
            ("instructor", " Sam Sample "),
        ]);
        assert_eq!(flight.tail.as_deref(), Some("N738VU"));
        assert_eq!(flight.total, Seconds(5040));
        assert_eq!(flight.off_at, "2026-05-14T17:05:00Z".parse().ok());
        assert_eq!(flight.instructor, Who::named("Sam Sample"));
    }

    #[test]
    fn what_cannot_be_read_names_the_field() {
        let mut flight = Flight::default();
        for (field, text, expected) in [
            (
                "total",
                "1.5h",
                "total is not a duration: write 1.5 or 1:30",
            ),
            (
                "date",
                "14.5.2026",
                "date is not a date: write it as in 2026-05-14",
            ),
            (
                "landings",
                "2.5",
                "landings is not a count: write a whole number",
            ),
            ("off_at", "17:05", "off_at needs the date of the flight"),
            ("altitude", "3", "altitude is not a field of a flight"),
            (
                "tail",
                " ",
                "tail is empty: give a value, or clear the field",
            ),
            (
                "departure_zone",
                "Mars",
                "departure_zone is not a time zone: write it as in America/Los_Angeles",
            ),
        ] {
            assert_eq!(
                set(&mut flight, field, text).unwrap_err().to_string(),
                expected
            );
        }
    }

    #[test]
    fn what_no_flight_can_be_is_told_all_at_once() {
        check_complaints(
            &[("date", "2026-05-14"), ("total", "1.4"), ("night", "1.4")],
            &[],
        );
        check_complaints(
            &[
                ("date", "2027-01-01"),
                ("total", "1.0"),
                ("night", "1.1"),
                ("landings", "1"),
                ("landings_day", "2"),
                ("hobbs_start", "10"),
                ("hobbs_end", "9"),
                ("off_at", "17:05"),
                ("on_at", "16:05"),
            ],
            &[
                "date is in the future",
                "night is longer than the whole flight",
                "landings_day is more than all landings",
                "hobbs_start is more than the meter afterwards",
                "on_at is before what came before it",
            ],
        );
        check_complaints(
            &[],
            &[
                "date is missing: write it as in 2026-05-14",
                "total is missing: give a total, simulator or ground time",
            ],
        );
    }

    #[test]
    fn every_field_but_the_date_can_be_emptied() {
        let mut flight = flight(&[("date", "2026-05-14"), ("holds", "2")]);
        clear(&mut flight, "holds").unwrap();
        assert_eq!(flight.holds, None);
        assert!(clear(&mut flight, "date").is_err());
        assert!(clear(&mut flight, "altitude").is_err());
    }

    #[test]
    fn approaches_are_read_in_the_order_pilots_say_them() {
        let full = approach("RNAV (GPS) 28r ksfo 2").unwrap();
        assert_eq!(full.kind.as_deref(), Some("RNAV (GPS)"));
        assert_eq!(full.runway.as_deref(), Some("28R"));
        assert_eq!(full.airport.as_deref(), Some("KSFO"));
        assert_eq!(full.count, Some(2));
        let short = approach("VOR 13").unwrap();
        assert_eq!(
            (short.kind.as_deref(), short.runway.as_deref(), short.count),
            (Some("VOR"), Some("13"), Some(1))
        );
        assert!(approach(" ").is_err());
    }
}

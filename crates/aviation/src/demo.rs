//! A made-up logbook: plausible, fictional and the same for the same seed.
//!
//! Names and tails belong to nobody; the school flies from real airports, because routes between invented ones would not
//! look like a logbook.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::logbook::{Aircraft, Approach, Flight, FlightPerson, Hundredths, Seconds, Source, Who};

/// Aircraft and flights of one made-up pilot.
#[derive(Debug, Clone, PartialEq)]
pub struct DemoLogbook {
    /// The aircraft flown.
    pub aircraft: Vec<Aircraft>,
    /// The flights, newest first.
    pub flights: Vec<Flight>,
}

/// Just the flights of [`demo_logbook`].
pub fn demo_flights(seed: u64, count: usize) -> Vec<Flight> {
    demo_logbook(seed, count).flights
}

const LAST_DAY: Date = jiff::civil::date(2026, 6, 30);
const ZONE: &str = "America/Los_Angeles";
const HOME: &str = "KPAO";

/// Tail, type, make, model, gear, complex, high performance.
const FLEET: [(&str, &str, &str, &str, &str, bool, bool); 6] = [
    (
        "N73AE",
        "C172",
        "Cessna",
        "172S",
        "fixed_tricycle",
        false,
        false,
    ),
    (
        "N52AE",
        "C172",
        "Cessna",
        "172S",
        "fixed_tricycle",
        false,
        false,
    ),
    (
        "N18AE",
        "P28A",
        "Piper",
        "Archer",
        "fixed_tricycle",
        false,
        false,
    ),
    (
        "N61AE",
        "P28R",
        "Piper",
        "Arrow",
        "retractable_tricycle",
        true,
        false,
    ),
    (
        "N44AE",
        "C182",
        "Cessna",
        "182T",
        "fixed_tricycle",
        false,
        true,
    ),
    (
        "N29AE",
        "CH7B",
        "American Champion",
        "7GCAA",
        "fixed_tailwheel",
        false,
        false,
    ),
];

/// Airport, its distance from home in hundredths of a nautical mile, minutes there.
const PLACES: [(&str, i64, u64); 8] = [
    ("KSQL", 720, 18),
    ("KHAF", 1450, 24),
    ("KLVK", 2310, 30),
    ("KRHV", 1580, 24),
    ("KWVI", 3740, 36),
    ("KMRY", 5560, 48),
    ("KSTS", 6480, 54),
    ("KUKI", 11_220, 72),
];

const INSTRUCTORS: [&str; 3] = ["Avery Fairweather", "Robin Tailwind", "Morgan Crosswind"];
const FRIENDS: [&str; 4] = [
    "Sam Cloudbase",
    "Jo Slipstream",
    "Kim Windsock",
    "Lee Altimeter",
];
const REMARKS: [&str; 8] = [
    "Pattern work, gusty crosswind from the left",
    "Steep turns, slow flight, stalls to the first sign",
    "Coast tour; fog bank stayed offshore",
    "Short and soft field landings, one go-around",
    "Flight following all the way, \"cleared through the Charlie\"",
    "Diversion exercise, lost procedures",
    "Emergency descent and engine-out practice",
    "Smooth air after sunset, city lights",
];
const APPROACHES: [(&str, &str, &str); 4] = [
    ("ILS", "25R", "KLVK"),
    ("RNAV (GPS)", "31", "KPAO"),
    ("VOR", "10R", "KMRY"),
    ("LOC", "28R", "KSQL"),
];

/// A logbook of `count` flights up to the middle of 2026, the same for the same seed.
pub fn demo_logbook(seed: u64, count: usize) -> DemoLogbook {
    let mut dice = Dice(seed);
    let mut day = LAST_DAY;
    let mut hobbs: Vec<i64> = FLEET
        .iter()
        .map(|_| 200_000 + 40 * count as i64 + dice.below(90_000) as i64)
        .collect();
    let mut flights = Vec::with_capacity(count);
    for index in 0..count {
        // Whoever has ten thousand flights flew more often, not longer.
        if index % (1 + count / 3000) == 0 && dice.chance(75) {
            day = earlier(day, 1 + dice.below(3));
        }
        flights.push(flight(&mut dice, day, &mut hobbs));
    }
    DemoLogbook {
        aircraft: FLEET.iter().map(aircraft).collect(),
        flights,
    }
}

fn aircraft(
    (tail, type_designator, make, model, gear, complex, high_performance): &(
        &str,
        &str,
        &str,
        &str,
        &str,
        bool,
        bool,
    ),
) -> Aircraft {
    Aircraft {
        tail: (*tail).to_owned(),
        make: Some((*make).to_owned()),
        model: Some((*model).to_owned()),
        type_designator: Some((*type_designator).to_owned()),
        category: Some("airplane".to_owned()),
        class: Some("airplane_single_engine_land".to_owned()),
        equipment: Some("aircraft".to_owned()),
        gear: Some((*gear).to_owned()),
        tailwheel: Some(gear.contains("tailwheel")),
        engine: Some("Piston".to_owned()),
        engine_count: Some(1),
        complex: Some(*complex),
        high_performance: Some(*high_performance),
        pressurized: Some(false),
        ..Aircraft::default()
    }
}

fn flight(dice: &mut Dice, date: Date, hobbs: &mut [i64]) -> Flight {
    let plane = dice.below(FLEET.len() as u64) as usize;
    let dual = dice.chance(30);
    let night = dice.chance(12);
    let away = dice
        .chance(55)
        .then(|| PLACES[dice.below(PLACES.len() as u64) as usize]);
    // A tenth of an hour is six minutes.
    let tenths = match away {
        Some((_, _, minutes)) => minutes.div_ceil(6) * 2 + dice.below(3),
        None => 6 + dice.below(10),
    } as i64;
    let total = Seconds::from_hundredths_of_hour(tenths * 10);
    let none_or = |condition: bool| if condition { total } else { Seconds::ZERO };
    let landings = if away.is_some() {
        2
    } else {
        1 + dice.below(8) as u32
    };
    let full_stops = if away.is_some() {
        2
    } else {
        1 + dice.below(u64::from(landings)) as u32
    };
    let (day_share, night_share) = if night { (0, 1) } else { (1, 0) };
    let instrument = dual && dice.chance(35);
    let simulated = Seconds((total.0 / 2 / 360) * 360);
    let approaches = if instrument {
        approaches(dice)
    } else {
        Vec::new()
    };
    let instructor = INSTRUCTORS[dice.below(3) as usize];
    let persons = if dual {
        vec![person(instructor, "Instructor")]
    } else if dice.chance(35) {
        vec![person(FRIENDS[dice.below(4) as usize], "Passenger")]
    } else {
        Vec::new()
    };
    let solo = persons.is_empty();
    let hobbs_end = hobbs[plane];
    hobbs[plane] -= tenths * 10;
    let [out_at, off_at, on_at, in_at] = times(dice, date, night, total);
    Flight {
        date,
        tail: Some(FLEET[plane].0.to_owned()),
        aircraft_type: Some(FLEET[plane].1.to_owned()),
        departure: Some(HOME.to_owned()),
        destination: Some(HOME.to_owned()),
        route: away.map(|(airport, _, _)| airport.to_owned()),
        out_at,
        off_at,
        on_at,
        in_at,
        departure_zone: out_at.map(|_| ZONE.to_owned()),
        hobbs_start: Some(Hundredths(hobbs_end - tenths * 10)),
        hobbs_end: Some(Hundredths(hobbs_end)),
        total,
        pic: none_or(!dual || dice.chance(50)),
        dual_received: none_or(dual),
        solo: none_or(solo),
        cross_country: none_or(away.is_some_and(|(_, distance, _)| distance > 5000)),
        night: none_or(night),
        simulated_instrument: if instrument { simulated } else { Seconds::ZERO },
        ground_received: if dual && dice.chance(40) {
            Seconds::from_hundredths_of_hour(50)
        } else {
            Seconds::ZERO
        },
        takeoffs_day: Some(landings * day_share),
        takeoffs_night: Some(landings * night_share),
        landings: Some(landings),
        landings_day: Some(landings * day_share),
        landings_night: Some(landings * night_share),
        full_stops_day: Some(full_stops * day_share),
        full_stops_night: Some(full_stops * night_share),
        holds: Some(u32::from(instrument && dice.chance(50))),
        instructor: if dual {
            Who::named(instructor)
        } else {
            Who::default()
        },
        distance: away.map(|(_, distance, _)| Hundredths(distance * 2)),
        remarks: dice
            .chance(70)
            .then(|| REMARKS[dice.below(8) as usize].to_owned()),
        source: Source::Import,
        approaches,
        persons,
        ..Flight::default()
    }
}

fn approaches(dice: &mut Dice) -> Vec<Approach> {
    (0..=dice.below(2))
        .map(|_| {
            let (kind, runway, airport) = APPROACHES[dice.below(4) as usize];
            Approach {
                count: Some(1 + dice.below(2) as u32),
                kind: Some(kind.to_owned()),
                runway: Some(runway.to_owned()),
                airport: Some(airport.to_owned()),
                ..Approach::default()
            }
        })
        .collect()
}

fn person(name: &str, part: &str) -> FlightPerson {
    let email = name.to_lowercase().replace(' ', ".");
    FlightPerson {
        who: Who::named(name),
        part: Some(part.to_owned()),
        email: Some(format!("{email}@example.org")),
        ..FlightPerson::default()
    }
}

/// Out, off, on and in for four flights of ten; the others were logged by hand.
fn times(dice: &mut Dice, date: Date, night: bool, total: Seconds) -> [Option<Timestamp>; 4] {
    let hour = if night { 20 } else { 8 + dice.below(9) as i8 };
    let minute = dice.below(60) as i8;
    if !dice.chance(40) {
        return [None; 4];
    }
    let Some(out) = Time::new(hour, minute, 0, 0)
        .ok()
        .and_then(|time| local(date.to_datetime(time)))
    else {
        return [None; 4];
    };
    [0, 480, total.0 - 360, total.0].map(|seconds| out.checked_add(seconds.seconds()).ok())
}

fn local(at: DateTime) -> Option<Timestamp> {
    let zone = TimeZone::get(ZONE).ok()?;
    zone.to_ambiguous_timestamp(at).compatible().ok()
}

fn earlier(day: Date, days: u64) -> Date {
    day.checked_sub((days as i64).days()).unwrap_or(day)
}

/// Numbers that look random and follow from the seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is small: the remainder's bias does not matter here.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreflight::{Options, parse, write};
    use crate::logbook::{fingerprint, totals};

    #[test]
    fn the_same_seed_gives_the_same_logbook() {
        assert_eq!(demo_logbook(7, 50), demo_logbook(7, 50));
        assert_ne!(demo_logbook(7, 50), demo_logbook(8, 50));
    }

    #[test]
    fn flights_are_plausible() {
        let logbook = demo_logbook(1, 20_000);
        for flight in &logbook.flights {
            assert!(flight.total.0 > 0 && flight.total.0 < 6 * 3600);
            assert!(flight.pic <= flight.total && flight.night <= flight.total);
            assert!(flight.full_stops_day <= flight.landings_day);
            assert!(flight.date.year() > 1990);
            assert!(flight.hobbs_start > Some(Hundredths::ZERO));
            assert!(flight.solo.is_zero() || flight.dual_received.is_zero());
            assert!(flight.in_at >= flight.out_at);
        }
    }

    #[test]
    fn ten_thousand_flights_survive_the_way_through_a_file() {
        let logbook = demo_logbook(42, 10_000);
        let text = write(&logbook.aircraft, &logbook.flights);
        let options = Options {
            home_zone: TimeZone::get(ZONE).ok(),
            airport_zone: None,
        };
        let parsed = parse(text.as_bytes(), &options).unwrap();
        assert_eq!(parsed.report.rejected(), 0);
        assert_eq!(parsed.totals, totals(&logbook.flights));
        assert_eq!(parsed.aircraft, logbook.aircraft);
        for (read, made) in parsed.flights.iter().zip(&logbook.flights) {
            assert_eq!(read.flight, *made);
            assert_eq!(read.fingerprint, fingerprint(made));
        }
    }
}

//! What makes two imported rows the same entry.
//!
//! The fingerprint covers what a pilot would call the flight and what every generation of export carries, so that the
//! same logbook exported by a newer app is still recognised: no custom fields, no contact details, and an absent count
//! equals zero. Identical rows of one file are told apart by their number of occurrence, kept beside it.

use std::collections::BTreeSet;
use std::fmt;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Flight, Who};

/// A hash over the content of an entry; 16 bytes of SHA-256, shown in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 16]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The fingerprint of an entry.
pub fn fingerprint(flight: &Flight) -> Fingerprint {
    let mut hasher = FieldHasher(Sha256::new());
    hasher.text("flight-1");
    hasher.text(&flight.date.to_string());
    hasher.upper(flight.tail.as_deref());
    hasher.upper(flight.departure.as_deref());
    hasher.upper(flight.destination.as_deref());
    hasher.upper(flight.route.as_deref());
    for instant in [flight.out_at, flight.off_at, flight.on_at, flight.in_at] {
        // The time of day only: which day it fell on depends on the zone assumed when it was read.
        let time = instant.map(|at| at.to_zoned(TimeZone::UTC).time().to_string());
        hasher.text(time.as_deref().unwrap_or_default());
    }
    for meter in [
        flight.hobbs_start,
        flight.hobbs_end,
        flight.tach_start,
        flight.tach_end,
        flight.distance,
    ] {
        hasher.number(meter.unwrap_or_default().0);
    }
    for duration in [
        flight.total,
        flight.pic,
        flight.sic,
        flight.picus,
        flight.dual_received,
        flight.dual_given,
        flight.solo,
        flight.cross_country,
        flight.night,
        flight.actual_instrument,
        flight.simulated_instrument,
        flight.simulator,
        flight.ground_received,
        flight.ground_given,
    ] {
        hasher.number(duration.0);
    }
    for count in [
        flight.takeoffs_day,
        flight.takeoffs_night,
        flight.landings,
        flight.full_stops_day,
        flight.full_stops_night,
        flight.holds,
    ] {
        hasher.number(i64::from(count.unwrap_or(0)));
    }
    for flag in [
        flight.flight_review,
        flight.instrument_proficiency_check,
        flight.checkride,
    ] {
        hasher.number(i64::from(flag));
    }
    hasher.words(flight.remarks.as_deref());
    hasher.words(flight.instructor_comments.as_deref());
    hasher.number(flight.approaches.len() as i64);
    for approach in &flight.approaches {
        hasher.number(i64::from(approach.count.unwrap_or(0)));
        hasher.upper(approach.kind.as_deref());
        hasher.upper(approach.runway.as_deref());
        hasher.upper(approach.airport.as_deref());
    }
    let names: BTreeSet<String> = flight
        .persons
        .iter()
        .map(|person| &person.who)
        .chain([&flight.instructor, &flight.safety_pilot, &flight.examiner])
        .filter_map(|who: &Who| who.name.as_deref())
        .map(str::to_lowercase)
        .collect();
    for name in &names {
        hasher.words(Some(name));
    }
    hasher.finish()
}

/// Hashes fields so that no two lists of fields run together.
struct FieldHasher(Sha256);

impl FieldHasher {
    fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    fn number(&mut self, number: i64) {
        self.0.update(number.to_le_bytes());
    }

    /// Identifiers and routes: neither case nor the amount of white space tells two flights apart.
    fn upper(&mut self, text: Option<&str>) {
        self.words(Some(&text.unwrap_or_default().to_uppercase()));
    }

    /// Prose: the amount of white space does not matter, as line ends change between systems.
    fn words(&mut self, text: Option<&str>) {
        let mut joined = String::new();
        for word in text.unwrap_or_default().split_whitespace() {
            if !joined.is_empty() {
                joined.push(' ');
            }
            joined.push_str(word);
        }
        self.text(&joined);
    }

    fn finish(self) -> Fingerprint {
        let digest = self.0.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Fingerprint(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logbook::{CustomField, FlightPerson, Seconds};

    fn flight() -> Flight {
        Flight {
            date: jiff::civil::date(2026, 2, 11),
            tail: Some("N738VU".into()),
            departure: Some("KPAO".into()),
            total: Seconds(5040),
            landings: Some(3),
            ..Flight::default()
        }
    }

    #[test]
    fn an_absent_count_equals_zero_and_custom_fields_do_not_matter() {
        let mut other = flight();
        other.holds = Some(0);
        other.custom_fields.push(CustomField {
            name: "Complex".into(),
            value: "1.4".into(),
            ..CustomField::default()
        });
        assert_eq!(fingerprint(&flight()), fingerprint(&other));
    }

    #[test]
    fn what_a_pilot_would_call_another_flight_differs() {
        let reference = fingerprint(&flight());
        let changes: [fn(&mut Flight); 6] = [
            |f| f.date = jiff::civil::date(2026, 2, 12),
            |f| f.tail = Some("N738VV".into()),
            |f| f.total = Seconds(5041),
            |f| f.landings = Some(4),
            |f| f.remarks = Some("pattern".into()),
            |f| {
                f.persons.push(FlightPerson {
                    who: Who::named("Sarah Example"),
                    ..FlightPerson::default()
                });
            },
        ];
        for change in changes {
            let mut other = flight();
            change(&mut other);
            assert_ne!(fingerprint(&other), reference, "{other:?}");
        }
    }

    #[test]
    fn the_fingerprint_is_fixed_for_good() {
        // Stored beside imported flights: a change would import every logbook a second time.
        assert_eq!(
            fingerprint(&flight()).to_string(),
            "4fa9bcfb0a525fd26780628b9568471c"
        );
    }
}

//! Records as they travel over HTTP and stand in `--json` output.
//!
//! Both sides name their fields alike on purpose, so a record crosses over field by field under its own name; a field that
//! only one side knows is an error, never dropped.

use std::collections::BTreeMap;

use aeroedge_api::types::{AircraftEntry, FlightEntry, FlightTotals};
use aeroedge_aviation::logbook::{Aircraft, CountTotal, Flight, Totals};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::{Doing, Failure};

/// A logged flight for the interface.
pub(crate) fn flight_entry(flight: &Flight) -> Result<FlightEntry, Failure> {
    across(flight)
}

/// A flight from the interface.
pub(crate) fn flight(entry: &FlightEntry) -> Result<Flight, Failure> {
    across(entry)
}

/// An aircraft for the interface.
pub(crate) fn aircraft_entry(aircraft: &Aircraft) -> Result<AircraftEntry, Failure> {
    across(aircraft)
}

/// An aircraft from the interface.
pub(crate) fn aircraft(entry: &AircraftEntry) -> Result<Aircraft, Failure> {
    across(entry)
}

/// Sums for the interface.
pub(crate) fn flight_totals(totals: &Totals) -> FlightTotals {
    let mut sums = FlightTotals {
        flights: totals.flights,
        ..FlightTotals::default()
    };
    macro_rules! durations {
        ($($name:ident)*) => {
            sums.seconds = BTreeMap::from([$((stringify!($name).to_owned(), totals.$name.0)),*]);
        };
    }
    durations! {
        total pic sic picus dual_received dual_given solo cross_country night actual_instrument simulated_instrument
        simulator ground_received ground_given
    }
    let mut count = |name: &str, count: CountTotal| {
        sums.counts.insert(name.to_owned(), count.sum as i64);
        if count.unknown > 0 {
            sums.unknown.insert(name.to_owned(), count.unknown);
        }
    };
    macro_rules! counts {
        ($($name:ident)*) => { $(count(stringify!($name), totals.$name);)* };
    }
    counts! {
        takeoffs_day takeoffs_night landings landings_day landings_night full_stops_day full_stops_night holds
    }
    sums.counts
        .insert("approaches".to_owned(), totals.approaches as i64);
    sums.counts.insert("distance".to_owned(), totals.distance.0);
    sums
}

fn across<From: Serialize, To: DeserializeOwned>(from: &From) -> Result<To, Failure> {
    serde_json::to_value(from)
        .and_then(serde_json::from_value)
        .doing(|| "translate a record".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aeroedge_aviation::logbook::{
        Approach, ApproachConditions, CustomField, CustomKind, FlightPerson, Hundredths, Seconds,
        Source, Who,
    };

    #[test]
    fn a_full_flight_crosses_over_and_back() {
        let given = Flight {
            date: jiff::civil::date(2026, 5, 14),
            tail: Some("N738VU".into()),
            off_at: "2026-05-14T17:05:00Z".parse().ok(),
            hobbs_start: Some(Hundredths(175_260)),
            total: Seconds(5040),
            landings: Some(3),
            tracking: Some(true),
            instructor: Who::named("Sam Sample"),
            instructor_signature: Some(vec![1, 2]),
            billing_context_id: Some([7; 16]),
            source: Source::OtherSide,
            approaches: vec![Approach {
                kind: Some("ILS".into()),
                conditions: Some(ApproachConditions::Actual),
                ..Approach::default()
            }],
            persons: vec![FlightPerson {
                who: Who::named("Robin"),
                part: Some("passenger".into()),
                ..FlightPerson::default()
            }],
            custom_fields: vec![CustomField {
                name: "Weather".into(),
                kind: CustomKind::DateTime,
                ..CustomField::default()
            }],
            ..Flight::default()
        };
        let entry = flight_entry(&given).unwrap();
        assert_eq!(entry.total, 5040);
        assert_eq!(flight(&entry).unwrap(), given);
    }

    #[test]
    fn an_aircraft_crosses_over_and_back() {
        let given = Aircraft {
            tail: "N80P".into(),
            tailwheel: Some(true),
            year: Some(1946),
            ..Aircraft::default()
        };
        assert_eq!(aircraft(&aircraft_entry(&given).unwrap()).unwrap(), given);
    }
}

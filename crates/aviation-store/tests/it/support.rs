//! A database in memory, identifiers that count up, and a flight to begin with.

use aeroedge_aviation::logbook::{Approach, CustomField, Flight, FlightPerson, Seconds, Who};
use aeroedge_aviation_store::flights::{Link, LoggedFlight, Pilot};
use aeroedge_aviation_store::{NewRow, apply};
use aeroedge_ids::{CompartmentId, Millis, UserId};
use rusqlite::Connection;

pub(crate) const HERE: CompartmentId = CompartmentId([1; 16]);
pub(crate) const ELSEWHERE: CompartmentId = CompartmentId([2; 16]);
pub(crate) const PILOT: UserId = UserId([7; 16]);
pub(crate) const NOW: Millis = Millis(1_770_000_000_000);

pub(crate) fn database() -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    apply(&conn).unwrap();
    conn
}

/// Identifiers in the form of a UUIDv7 that count up.
pub(crate) fn ids() -> impl FnMut() -> String {
    let mut next = 0_u64;
    move || {
        next += 1;
        format!("01990000-0000-7000-8000-{next:012x}")
    }
}

pub(crate) fn new_row(id: &str, compartment: CompartmentId) -> NewRow<'_> {
    NewRow {
        id,
        compartment,
        created_by: Some(PILOT),
        now: NOW,
    }
}

pub(crate) fn entry(flight: Flight, link: Option<Link>) -> LoggedFlight {
    LoggedFlight {
        link,
        pilot: Pilot {
            user: Some(PILOT),
            person_id: None,
        },
        import: None,
        flight,
    }
}

/// A flight in which every field says something.
pub(crate) fn full_flight() -> Flight {
    let json = r#"{
        "date": "2026-02-11", "aircraft_id": "a", "tail": "N738VU", "aircraft_type": "C172",
        "departure": "KPAO", "destination": "KSQL", "route": "KHAF",
        "out_at": "2026-02-11T18:00:00Z", "off_at": "2026-02-11T18:10:00Z",
        "on_at": "2026-02-11T19:20:00Z", "in_at": "2026-02-11T19:24:00Z",
        "departure_zone": "America/Los_Angeles",
        "hobbs_start": 101, "hobbs_end": 102, "tach_start": 103, "tach_end": 104,
        "total": 1, "pic": 2, "sic": 3, "picus": 4, "dual_received": 5, "dual_given": 6, "solo": 7,
        "cross_country": 8, "night": 9, "actual_instrument": 10, "simulated_instrument": 11,
        "simulator": 12, "simulator_level": "AATD", "ground_received": 13, "ground_given": 14,
        "takeoffs_day": 15, "takeoffs_night": 16, "landings": 17, "landings_day": 18, "landings_night": 19,
        "full_stops_day": 20, "full_stops_night": 21, "holds": 22, "tracking": true,
        "instructor": {"person_id": "p1", "name": "Avery Example"}, "instructor_comments": "fine",
        "instructor_certificate": "1234567CFI", "instructor_signature": [1, 2, 3],
        "safety_pilot": {"person_id": "p2", "name": "Jo Example"},
        "examiner": {"person_id": "p3", "name": "Kim Example"},
        "ground_topic": "airspace", "billing_context_id": [9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9],
        "distance": 1234, "remarks": "smooth 100%", "flight_review": true, "instrument_proficiency_check": true,
        "checkride": true, "proficiency_check": true, "source": "other_side"
    }"#;
    Flight {
        approaches: vec![Approach {
            count: Some(2),
            kind: Some("ILS".into()),
            runway: Some("25R".into()),
            airport: Some("KLVK".into()),
            conditions: Some(aeroedge_aviation::logbook::ApproachConditions::Simulated),
            comments: Some("to minimums".into()),
            ..Approach::default()
        }],
        persons: vec![FlightPerson {
            who: Who::named("Jo Example"),
            part: Some("Safety Pilot".into()),
            email: Some("jo@example.org".into()),
            phone: Some("555-0100".into()),
            ..FlightPerson::default()
        }],
        custom_fields: vec![CustomField {
            name: "Complex".into(),
            value: "1.0".into(),
            kind: aeroedge_aviation::logbook::CustomKind::Hours,
            ..CustomField::default()
        }],
        ..serde_json::from_str(json).unwrap()
    }
}

pub(crate) fn short_flight(date: &str, hours: &str) -> Flight {
    Flight {
        date: date.parse().unwrap(),
        tail: Some("N100AA".into()),
        total: Seconds::parse(hours).unwrap(),
        landings: Some(1),
        ..Flight::default()
    }
}

/// What says that a row is a copy; whether the proof holds is not for these tables to know.
pub(crate) fn link(flight_uid: &str) -> Link {
    Link {
        flight_uid: flight_uid.to_owned(),
        proof: vec![1, 2, 3],
    }
}

//! The columns of `flight` in one order, for writing and reading.

use aeroedge_aviation::logbook::{Flight, Hundredths, Seconds, Source, Who};
use aeroedge_ids::UserId;
use jiff::{Timestamp, civil::Date};
use rusqlite::types::Value;

use crate::row::{Cells, Stored, blob, count, text, toggle, user};

use super::{ImportMark, Link, LoggedFlight, Pilot};

impl Stored for LoggedFlight {
    const TABLE: &'static str = "flight";
    const COLUMNS: &'static [&'static str] = &[
        "flight_uid",
        "flight_proof",
        "pilot_user_id",
        "pilot_person_id",
        "date",
        "aircraft_id",
        "tail",
        "aircraft_type",
        "departure",
        "destination",
        "route",
        "out_at",
        "off_at",
        "on_at",
        "in_at",
        "departure_zone",
        "hobbs_start",
        "hobbs_end",
        "tach_start",
        "tach_end",
        "total_seconds",
        "pic_seconds",
        "sic_seconds",
        "picus_seconds",
        "dual_received_seconds",
        "dual_given_seconds",
        "solo_seconds",
        "cross_country_seconds",
        "night_seconds",
        "actual_instrument_seconds",
        "simulated_instrument_seconds",
        "simulator_seconds",
        "simulator_level",
        "ground_received_seconds",
        "ground_given_seconds",
        "takeoffs_day",
        "takeoffs_night",
        "landings",
        "landings_day",
        "landings_night",
        "full_stops_day",
        "full_stops_night",
        "holds",
        "tracking",
        "instructor_person_id",
        "instructor_name",
        "instructor_comments",
        "instructor_certificate",
        "instructor_signature",
        "safety_pilot_person_id",
        "safety_pilot_name",
        "examiner_person_id",
        "examiner_name",
        "ground_topic",
        "billing_context_id",
        "distance",
        "remarks",
        "flight_review",
        "instrument_proficiency_check",
        "checkride",
        "proficiency_check",
        "source",
        "import_batch_id",
        "import_fingerprint",
        "import_occurrence",
    ];

    fn values(&self) -> Vec<Value> {
        let flight = &self.flight;
        let import = self.import.as_ref();
        let link = self.link.as_ref();
        vec![
            text(link.map(|link| &link.flight_uid)),
            blob(link.map(|link| link.proof.as_slice())),
            user(self.pilot.user),
            text(self.pilot.person_id.as_ref()),
            Value::Text(flight.date.to_string()),
            text(flight.aircraft_id.as_ref()),
            text(flight.tail.as_ref()),
            text(flight.aircraft_type.as_ref()),
            text(flight.departure.as_ref()),
            text(flight.destination.as_ref()),
            text(flight.route.as_ref()),
            instant(flight.out_at),
            instant(flight.off_at),
            instant(flight.on_at),
            instant(flight.in_at),
            text(flight.departure_zone.as_ref()),
            hundredths(flight.hobbs_start),
            hundredths(flight.hobbs_end),
            hundredths(flight.tach_start),
            hundredths(flight.tach_end),
            seconds(flight.total),
            seconds(flight.pic),
            seconds(flight.sic),
            seconds(flight.picus),
            seconds(flight.dual_received),
            seconds(flight.dual_given),
            seconds(flight.solo),
            seconds(flight.cross_country),
            seconds(flight.night),
            seconds(flight.actual_instrument),
            seconds(flight.simulated_instrument),
            seconds(flight.simulator),
            text(flight.simulator_level.as_ref()),
            seconds(flight.ground_received),
            seconds(flight.ground_given),
            count(flight.takeoffs_day),
            count(flight.takeoffs_night),
            count(flight.landings),
            count(flight.landings_day),
            count(flight.landings_night),
            count(flight.full_stops_day),
            count(flight.full_stops_night),
            count(flight.holds),
            toggle(flight.tracking),
            text(flight.instructor.person_id.as_ref()),
            text(flight.instructor.name.as_ref()),
            text(flight.instructor_comments.as_ref()),
            text(flight.instructor_certificate.as_ref()),
            blob(flight.instructor_signature.as_deref()),
            text(flight.safety_pilot.person_id.as_ref()),
            text(flight.safety_pilot.name.as_ref()),
            text(flight.examiner.person_id.as_ref()),
            text(flight.examiner.name.as_ref()),
            text(flight.ground_topic.as_ref()),
            blob(flight.billing_context_id.as_ref().map(<[u8; 16]>::as_slice)),
            hundredths(flight.distance),
            text(flight.remarks.as_ref()),
            toggle(Some(flight.flight_review)),
            toggle(Some(flight.instrument_proficiency_check)),
            toggle(Some(flight.checkride)),
            toggle(Some(flight.proficiency_check)),
            Value::Text(flight.source.as_str().to_owned()),
            text(import.map(|mark| &mark.batch_id)),
            blob(import.map(|mark| mark.fingerprint.as_slice())),
            count(import.map(|mark| mark.occurrence)),
        ]
    }

    fn read(cells: &mut Cells<'_, '_>) -> Self {
        // Fields are read in the order in which they stand here: that of the columns.
        Self {
            link: link(cells),
            pilot: Pilot {
                user: cells.bytes().map(UserId),
                person_id: cells.text(),
            },
            flight: Flight {
                date: date(cells),
                aircraft_id: cells.text(),
                tail: cells.text(),
                aircraft_type: cells.text(),
                departure: cells.text(),
                destination: cells.text(),
                route: cells.text(),
                out_at: read_instant(cells),
                off_at: read_instant(cells),
                on_at: read_instant(cells),
                in_at: read_instant(cells),
                departure_zone: cells.text(),
                hobbs_start: cells.integer().map(Hundredths),
                hobbs_end: cells.integer().map(Hundredths),
                tach_start: cells.integer().map(Hundredths),
                tach_end: cells.integer().map(Hundredths),
                total: read_seconds(cells),
                pic: read_seconds(cells),
                sic: read_seconds(cells),
                picus: read_seconds(cells),
                dual_received: read_seconds(cells),
                dual_given: read_seconds(cells),
                solo: read_seconds(cells),
                cross_country: read_seconds(cells),
                night: read_seconds(cells),
                actual_instrument: read_seconds(cells),
                simulated_instrument: read_seconds(cells),
                simulator: read_seconds(cells),
                simulator_level: cells.text(),
                ground_received: read_seconds(cells),
                ground_given: read_seconds(cells),
                takeoffs_day: cells.count(),
                takeoffs_night: cells.count(),
                landings: cells.count(),
                landings_day: cells.count(),
                landings_night: cells.count(),
                full_stops_day: cells.count(),
                full_stops_night: cells.count(),
                holds: cells.count(),
                tracking: cells.toggle(),
                instructor: who(cells),
                instructor_comments: cells.text(),
                instructor_certificate: cells.text(),
                instructor_signature: cells.blob(),
                safety_pilot: who(cells),
                examiner: who(cells),
                ground_topic: cells.text(),
                billing_context_id: cells.bytes(),
                distance: cells.integer().map(Hundredths),
                remarks: cells.text(),
                flight_review: cells.toggle().unwrap_or(false),
                instrument_proficiency_check: cells.toggle().unwrap_or(false),
                checkride: cells.toggle().unwrap_or(false),
                proficiency_check: cells.toggle().unwrap_or(false),
                source: cells
                    .text()
                    .map_or(Source::Manual, |word| Source::from_stored(&word)),
                approaches: Vec::new(),
                persons: Vec::new(),
                custom_fields: Vec::new(),
            },
            import: import_mark(cells),
        }
    }
}

fn link(cells: &mut Cells<'_, '_>) -> Option<Link> {
    let (flight_uid, proof) = (cells.text(), cells.blob());
    Some(Link {
        flight_uid: flight_uid?,
        proof: proof?,
    })
}

fn import_mark(cells: &mut Cells<'_, '_>) -> Option<ImportMark> {
    let (batch_id, fingerprint, occurrence) = (cells.text(), cells.bytes(), cells.count());
    Some(ImportMark {
        batch_id: batch_id?,
        fingerprint: fingerprint?,
        occurrence: occurrence?,
    })
}

fn date(cells: &mut Cells<'_, '_>) -> Date {
    cells
        .text()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

fn who(cells: &mut Cells<'_, '_>) -> Who {
    Who {
        person_id: cells.text(),
        name: cells.text(),
    }
}

fn instant(value: Option<Timestamp>) -> Value {
    value.map_or(Value::Null, |at| Value::Integer(at.as_millisecond()))
}

fn read_instant(cells: &mut Cells<'_, '_>) -> Option<Timestamp> {
    Timestamp::from_millisecond(cells.integer()?).ok()
}

fn hundredths(value: Option<Hundredths>) -> Value {
    value.map_or(Value::Null, |value| Value::Integer(value.0))
}

fn seconds(value: Seconds) -> Value {
    Value::Integer(value.0)
}

fn read_seconds(cells: &mut Cells<'_, '_>) -> Seconds {
    Seconds(cells.integer().unwrap_or(0))
}

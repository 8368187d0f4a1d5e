//! Flights and aircraft.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// One logbook entry. Durations are whole seconds and zero when not logged; counts are null when not recorded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FlightEntry {
    /// The local date at departure.
    #[schema(value_type = String, format = Date, example = "2026-05-14")]
    pub date: Date,
    /// Identifier of the aircraft in the fleet, when it is there.
    pub aircraft_id: Option<String>,
    /// Tail number as flown.
    #[schema(example = "N738VU")]
    pub tail: Option<String>,
    /// Type designator as flown.
    #[schema(example = "C172")]
    pub aircraft_type: Option<String>,
    /// Where it began.
    #[schema(example = "KPAO")]
    pub departure: Option<String>,
    /// Where it ended.
    #[schema(example = "KSQL")]
    pub destination: Option<String>,
    /// Places and fixes between, as the pilot wrote them.
    pub route: Option<String>,
    /// Off blocks.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub out_at: Option<Timestamp>,
    /// In the air.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub off_at: Option<Timestamp>,
    /// On the ground.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub on_at: Option<Timestamp>,
    /// On blocks.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub in_at: Option<Timestamp>,
    /// IANA name of the zone in which `date` is the local day.
    pub departure_zone: Option<String>,
    /// Hobbs meter before, in hundredths of an hour.
    pub hobbs_start: Option<i64>,
    /// Hobbs meter after, in hundredths of an hour.
    pub hobbs_end: Option<i64>,
    /// Tachometer before, in hundredths of an hour.
    pub tach_start: Option<i64>,
    /// Tachometer after, in hundredths of an hour.
    pub tach_end: Option<i64>,
    /// Total time.
    #[schema(example = 5040)]
    pub total: i64,
    /// Pilot in command.
    pub pic: i64,
    /// Second in command.
    pub sic: i64,
    /// Pilot in command under supervision.
    pub picus: i64,
    /// Instruction received in the air.
    pub dual_received: i64,
    /// Instruction given in the air.
    pub dual_given: i64,
    /// Sole occupant.
    pub solo: i64,
    /// Cross-country.
    pub cross_country: i64,
    /// Night.
    pub night: i64,
    /// In cloud.
    pub actual_instrument: i64,
    /// Under the hood.
    pub simulated_instrument: i64,
    /// In a simulator or training device.
    pub simulator: i64,
    /// Level of that device (FFS, FTD, AATD, BATD).
    pub simulator_level: Option<String>,
    /// Instruction received on the ground.
    pub ground_received: i64,
    /// Instruction given on the ground.
    pub ground_given: i64,
    /// Takeoffs by day.
    pub takeoffs_day: Option<u32>,
    /// Takeoffs by night.
    pub takeoffs_night: Option<u32>,
    /// All landings, of any kind, day and night.
    pub landings: Option<u32>,
    /// Landings by day, touch-and-go and full-stop.
    pub landings_day: Option<u32>,
    /// Landings by night, touch-and-go and full-stop.
    pub landings_night: Option<u32>,
    /// Full-stop landings by day.
    pub full_stops_day: Option<u32>,
    /// Full-stop landings by night.
    pub full_stops_night: Option<u32>,
    /// Holding procedures.
    pub holds: Option<u32>,
    /// Intercepting and tracking courses was practised.
    pub tracking: Option<bool>,
    /// Who instructed.
    pub instructor: Who,
    /// What the instructor wrote.
    pub instructor_comments: Option<String>,
    /// Number of the instructor's certificate.
    pub instructor_certificate: Option<String>,
    /// The instructor's signature over the entry.
    pub instructor_signature: Option<Vec<u8>>,
    /// Who looked out while the pilot was under the hood.
    pub safety_pilot: Who,
    /// Who examined.
    pub examiner: Who,
    /// Subject of a ground lesson.
    pub ground_topic: Option<String>,
    /// The context that bills for it: 16 bytes.
    pub billing_context_id: Option<[u8; 16]>,
    /// Distance in hundredths of a nautical mile.
    pub distance: Option<i64>,
    /// What the pilot wrote.
    pub remarks: Option<String>,
    /// It was a flight review (14 CFR 61.56).
    pub flight_review: bool,
    /// It was an instrument proficiency check (14 CFR 61.57(d)).
    pub instrument_proficiency_check: bool,
    /// It was a practical test.
    pub checkride: bool,
    /// It was a pilot-in-command proficiency check (14 CFR 61.58).
    pub proficiency_check: bool,
    /// Where the entry came from.
    pub source: FlightSource,
    /// Approaches flown.
    pub approaches: Vec<Approach>,
    /// Who else was aboard, and as what.
    pub persons: Vec<FlightPerson>,
    /// What the source carried beyond these fields, word for word.
    pub custom_fields: Vec<CustomField>,
}

/// A person the context knows, or only a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Who {
    /// Identifier of the person's row.
    pub person_id: Option<String>,
    /// The name as written.
    pub name: Option<String>,
}

/// Where an entry came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlightSource {
    /// Typed into a form.
    #[default]
    Manual,
    /// Understood from a line of text.
    Text,
    /// Read from another program's file.
    Import,
    /// Made from a closed-out booking.
    Booking,
    /// The other side of somebody else's entry.
    OtherSide,
}

/// Instrument approaches of one kind to one runway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Approach {
    /// Identifier of its row; null until it is stored.
    pub id: Option<String>,
    /// How many were flown; null if the source names the approach without a number.
    pub count: Option<u32>,
    /// ILS, RNAV (GPS), VOR and so on.
    pub kind: Option<String>,
    /// Runway.
    pub runway: Option<String>,
    /// Airport.
    pub airport: Option<String>,
    /// In cloud, under the hood or in a device.
    pub conditions: Option<ApproachConditions>,
    /// What the pilot wrote.
    pub comments: Option<String>,
}

/// Under which conditions an approach was flown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApproachConditions {
    /// In cloud.
    Actual,
    /// Under the hood.
    Simulated,
    /// In a simulator or training device.
    Device,
}

/// Somebody else on the flight.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FlightPerson {
    /// Identifier of its row; null until it is stored.
    pub id: Option<String>,
    /// Who.
    pub who: Who,
    /// What they did there: instructor, safety pilot, passenger.
    pub part: Option<String>,
    /// E-mail address as the source carried it.
    pub email: Option<String>,
    /// Telephone number as the source carried it.
    pub phone: Option<String>,
}

/// A field that a source carries and these records have no place for, kept word for word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CustomField {
    /// Identifier of its row; null until it is stored.
    pub id: Option<String>,
    /// Name as the source has it, without the kind.
    pub name: String,
    /// What the value is.
    pub kind: CustomKind,
    /// The value as written.
    pub value: String,
}

/// What the value of a custom field is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CustomKind {
    /// Words.
    #[default]
    Text,
    /// A number.
    Numeric,
    /// A duration.
    Hours,
    /// A count.
    Counter,
    /// A day.
    Date,
    /// A day and a time.
    DateTime,
    /// Yes or no.
    Toggle,
}

/// A flight as it stands in the logbook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Flight {
    /// Identifier, the same in every context that holds a copy.
    pub id: String,
    /// The contexts that hold it.
    pub contexts: Vec<String>,
    /// When it was last changed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Timestamp>,
    /// What the pilot logged.
    pub entry: FlightEntry,
}

/// A flight to be logged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFlight {
    /// The contexts that shall hold it; empty means the personal one.
    #[serde(default)]
    pub contexts: Vec<String>,
    /// What the pilot logged.
    pub entry: FlightEntry,
}

/// The identifier of what was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Created {
    /// Identifier.
    pub id: String,
}

/// Which flights.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct FlightFilter {
    /// Only flights of this context.
    pub context: Option<String>,
    /// Words that must all occur in tail, type, route, places, names or remarks, whatever their case.
    pub search: Option<String>,
    /// Only this tail number.
    pub tail: Option<String>,
    /// The first day.
    #[param(value_type = Option<String>, format = Date)]
    pub from: Option<Date>,
    /// The last day.
    #[param(value_type = Option<String>, format = Date)]
    pub until: Option<Date>,
}

/// Which part of a long list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// How many to leave out at the start.
    pub offset: u64,
    /// How many to return, 1 to 500.
    #[param(minimum = 1, maximum = 500)]
    pub limit: u32,
    /// Which end comes first.
    #[param(inline)]
    pub order: Order,
}

impl Default for Paging {
    fn default() -> Self {
        Self {
            offset: 0,
            limit: 100,
            order: Order::Newest,
        }
    }
}

/// Which end of a list comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The latest date first.
    #[default]
    Newest,
    /// The earliest date first.
    Oldest,
}

/// Part of the logbook.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FlightPage {
    /// How many flights the filter finds in all.
    pub count: u64,
    /// How many were left out at the start.
    pub offset: u64,
    /// The flights of this part.
    pub flights: Vec<Flight>,
}

/// What flights add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlightTotals {
    /// How many flights.
    pub flights: u64,
    /// Whole seconds by the name of the duration: total, pic, night and so on.
    pub seconds: BTreeMap<String, i64>,
    /// Sums by the name of the count, such as landings; a flight without the count adds nothing.
    pub counts: BTreeMap<String, i64>,
    /// How many flights carry no value, by the name of the count; names without any are left out.
    pub unknown: BTreeMap<String, u64>,
}

/// What is known of one aircraft, simulator or training device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AircraftEntry {
    /// Tail number, or the name under which a pilot logs a device.
    pub tail: String,
    /// Manufacturer.
    pub make: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// ICAO type designator.
    pub type_designator: Option<String>,
    /// airplane, rotorcraft, glider and so on.
    pub category: Option<String>,
    /// airplane_single_engine_land and so on.
    pub class: Option<String>,
    /// aircraft, or the kind of training device.
    pub equipment: Option<String>,
    /// fixed_tricycle, retractable_tailwheel and so on.
    pub gear: Option<String>,
    /// Lands on a tail wheel (14 CFR 61.57(a)(1)(ii)).
    pub tailwheel: Option<bool>,
    /// Piston, radial, turboprop, jet.
    pub engine: Option<String>,
    /// How many engines.
    pub engine_count: Option<u32>,
    /// Complex.
    pub complex: Option<bool>,
    /// High performance.
    pub high_performance: Option<bool>,
    /// Technically advanced.
    pub technically_advanced: Option<bool>,
    /// Pressurized.
    pub pressurized: Option<bool>,
    /// Year of manufacture.
    pub year: Option<u32>,
    /// Serial number.
    pub serial: Option<String>,
    /// What the source carried beyond these fields, word for word.
    pub custom_fields: Vec<CustomField>,
}

/// An aircraft of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Aircraft {
    /// Identifier.
    pub id: String,
    /// The context it belongs to.
    pub context: String,
    /// What is known of it.
    pub entry: AircraftEntry,
}

/// An aircraft to be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAircraft {
    /// The context it shall belong to; null means the personal one.
    #[serde(default)]
    pub context: Option<String>,
    /// What is known of it.
    pub entry: AircraftEntry,
}

/// The aircraft of all contexts, or of one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AircraftList {
    /// By tail number.
    pub aircraft: Vec<Aircraft>,
}

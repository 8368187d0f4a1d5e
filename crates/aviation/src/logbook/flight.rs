//! One logbook entry with everything that belongs to it.
//!
//! The tail and type are kept as flown, whether or not the aircraft is in a fleet. Who flew a landing, who was under the
//! hood and who gave instruction are facts of the entry, never inferred from the other pilot's.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use super::{Hundredths, Seconds};

/// A flight, a simulator session or a ground lesson, as one pilot logged it.
///
/// Durations that a source did not carry are zero; counts that it did not carry are `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flight {
    /// The local date at departure.
    pub date: Date,
    /// Identifier of the aircraft in the fleet, when it is there.
    pub aircraft_id: Option<String>,
    /// Tail number as flown.
    pub tail: Option<String>,
    /// Type designator as flown.
    pub aircraft_type: Option<String>,
    /// Where it began.
    pub departure: Option<String>,
    /// Where it ended.
    pub destination: Option<String>,
    /// Places and fixes between, as the pilot wrote them.
    pub route: Option<String>,
    /// Off blocks.
    pub out_at: Option<Timestamp>,
    /// In the air.
    pub off_at: Option<Timestamp>,
    /// On the ground.
    pub on_at: Option<Timestamp>,
    /// On blocks.
    pub in_at: Option<Timestamp>,
    /// IANA name of the zone in which `date` is the local day.
    pub departure_zone: Option<String>,
    /// Hobbs meter before, in hundredths of an hour.
    pub hobbs_start: Option<Hundredths>,
    /// Hobbs meter after.
    pub hobbs_end: Option<Hundredths>,
    /// Tachometer before.
    pub tach_start: Option<Hundredths>,
    /// Tachometer after.
    pub tach_end: Option<Hundredths>,
    /// Total time.
    pub total: Seconds,
    /// Pilot in command.
    pub pic: Seconds,
    /// Second in command.
    pub sic: Seconds,
    /// Pilot in command under supervision.
    pub picus: Seconds,
    /// Instruction received in the air.
    pub dual_received: Seconds,
    /// Instruction given in the air.
    pub dual_given: Seconds,
    /// Sole occupant.
    pub solo: Seconds,
    /// Cross-country.
    pub cross_country: Seconds,
    /// Night.
    pub night: Seconds,
    /// In cloud.
    pub actual_instrument: Seconds,
    /// Under the hood.
    pub simulated_instrument: Seconds,
    /// In a simulator or training device.
    pub simulator: Seconds,
    /// Level of that device (FFS, FTD, AATD, BATD).
    pub simulator_level: Option<String>,
    /// Instruction received on the ground.
    pub ground_received: Seconds,
    /// Instruction given on the ground.
    pub ground_given: Seconds,
    /// Takeoffs by day.
    pub takeoffs_day: Option<u32>,
    /// Takeoffs by night.
    pub takeoffs_night: Option<u32>,
    /// All landings, of any kind, day and night: what every source knows.
    pub landings: Option<u32>,
    /// Landings by day, touch-and-go and full-stop; older sources do not tell.
    pub landings_day: Option<u32>,
    /// Landings by night, touch-and-go and full-stop; older sources do not tell.
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
    /// The context that bills for it.
    pub billing_context_id: Option<[u8; 16]>,
    /// Distance in hundredths of a nautical mile.
    pub distance: Option<Hundredths>,
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
    pub source: Source,
    /// Approaches flown.
    pub approaches: Vec<Approach>,
    /// Who else was aboard, and as what.
    pub persons: Vec<FlightPerson>,
    /// What the source carried beyond these fields, word for word.
    pub custom_fields: Vec<CustomField>,
}

/// A person the context knows, or only a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Who {
    /// Identifier of the person's row.
    pub person_id: Option<String>,
    /// The name as written.
    pub name: Option<String>,
}

impl Who {
    /// Somebody known by name only.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            person_id: None,
            name: Some(name.into()),
        }
    }

    /// Whether nobody is named.
    pub fn is_nobody(&self) -> bool {
        self.person_id.is_none() && self.name.is_none()
    }
}

/// Where an entry came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Typed into the form.
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

impl Source {
    /// The word under which it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Text => "text",
            Self::Import => "import",
            Self::Booking => "booking",
            Self::OtherSide => "other_side",
        }
    }

    /// Reads the stored word; a word of a newer program counts as manual.
    pub fn from_stored(word: &str) -> Self {
        match word {
            "text" => Self::Text,
            "import" => Self::Import,
            "booking" => Self::Booking,
            "other_side" => Self::OtherSide,
            _ => Self::Manual,
        }
    }
}

/// Instrument approaches of one kind to one runway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Approach {
    /// Identifier of its row; `None` until it is stored.
    pub id: Option<String>,
    /// How many were flown; `None` if the source names the approach without a number.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApproachConditions {
    /// In cloud.
    Actual,
    /// Under the hood.
    Simulated,
    /// In a simulator or training device.
    Device,
}

impl ApproachConditions {
    /// The word under which it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Actual => "actual",
            Self::Simulated => "simulated",
            Self::Device => "device",
        }
    }

    /// Reads the stored word; a word of a newer program counts as unknown.
    pub fn from_stored(word: &str) -> Option<Self> {
        match word {
            "actual" => Some(Self::Actual),
            "simulated" => Some(Self::Simulated),
            "device" => Some(Self::Device),
            _ => None,
        }
    }
}

/// Somebody else on the flight.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlightPerson {
    /// Identifier of its row; `None` until it is stored.
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CustomField {
    /// Identifier of its row; `None` until it is stored.
    pub id: Option<String>,
    /// Name as the source has it, without the kind.
    pub name: String,
    /// What the value is.
    pub kind: CustomKind,
    /// The value as written.
    pub value: String,
}

/// What the value of a custom field is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

impl CustomKind {
    /// All of them with the word under which they are stored.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Text, "text"),
        (Self::Numeric, "numeric"),
        (Self::Hours, "hours"),
        (Self::Counter, "counter"),
        (Self::Date, "date"),
        (Self::DateTime, "date_time"),
        (Self::Toggle, "toggle"),
    ];

    /// The word under which it is stored.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("text", |(_, word)| word)
    }

    /// Reads the stored word; a word of a newer program counts as text.
    pub fn from_stored(word: &str) -> Self {
        Self::ALL
            .iter()
            .find(|(_, stored)| *stored == word)
            .map_or(Self::Text, |(kind, _)| *kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_words_read_back() {
        for source in [
            Source::Manual,
            Source::Text,
            Source::Import,
            Source::Booking,
            Source::OtherSide,
        ] {
            assert_eq!(Source::from_stored(source.as_str()), source);
        }
        for (kind, word) in CustomKind::ALL {
            assert_eq!(CustomKind::from_stored(word), kind);
            assert_eq!(kind.as_str(), word);
        }
        for conditions in [
            ApproachConditions::Actual,
            ApproachConditions::Simulated,
            ApproachConditions::Device,
        ] {
            assert_eq!(
                ApproachConditions::from_stored(conditions.as_str()),
                Some(conditions)
            );
        }
    }

    #[test]
    fn json_names_an_unknown_field_instead_of_dropping_it() {
        let error = serde_json::from_str::<Flight>(r#"{"date":"2026-01-01","totl":3600}"#);
        assert!(error.unwrap_err().to_string().contains("totl"));
    }

    #[test]
    fn json_round_trips() {
        let flight = Flight {
            date: Date::constant(2026, 2, 11),
            tail: Some("N738VU".into()),
            total: Seconds(5040),
            landings: Some(3),
            instructor: Who::named("Avery Example"),
            ..Flight::default()
        };
        let text = serde_json::to_string(&flight).unwrap();
        assert_eq!(serde_json::from_str::<Flight>(&text).unwrap(), flight);
    }
}

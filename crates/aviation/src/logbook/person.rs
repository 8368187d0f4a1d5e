//! What a context may know of a pilot.
//!
//! Instructor privileges have a recent-experience date and no expiry: certificates issued since 2024-12-01 carry none.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// Somebody who flies, teaches or works there; a person need not have a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Person {
    /// The user, if the person has a device.
    pub user_id: Option<[u8; 16]>,
    /// Name.
    pub name: String,
    /// E-mail address.
    pub email: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// student, sport, recreational, private, commercial, atp.
    pub certificate_grade: Option<String>,
    /// Number of the pilot certificate.
    pub certificate_number: Option<String>,
    /// The ladder of medical privileges depends on it.
    pub birth_date: Option<Date>,
    /// Number of the instructor certificate.
    pub instructor_certificate: Option<String>,
    /// Until when recent experience allows instructing.
    pub instructor_recent_experience_end: Option<Date>,
    /// Whom to call.
    pub emergency_contact_name: Option<String>,
    /// At which number.
    pub emergency_contact_phone: Option<String>,
    /// Who that is to the person.
    pub emergency_contact_relation: Option<String>,
    /// Selects rates.
    pub member_class: Option<String>,
    /// Home airport.
    pub home_airport: Option<String>,
    /// The aircraft meant when none is named.
    pub default_aircraft_id: Option<String>,
    /// Notes the person may read.
    pub notes: Option<String>,
    /// Ratings on the certificate.
    pub ratings: Vec<Rating>,
}

/// A rating on a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rating {
    /// Identifier of its row; `None` until it is stored.
    pub id: Option<String>,
    /// airplane_single_engine_land, instrument_airplane and so on.
    pub rating: String,
    /// When it was issued.
    pub issued: Option<Date>,
}

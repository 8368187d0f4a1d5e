//! An aircraft as a logbook or a fleet describes it.
//!
//! Two descriptions of one tail are put together by filling blanks; where both say something and differ, the first
//! stands and the difference is reported.

use serde::{Deserialize, Serialize};

use super::CustomField;

/// What is known of one aircraft, simulator or training device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Aircraft {
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

/// Two descriptions of one aircraft do not agree in a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Name of the field.
    pub field: String,
    /// What stands.
    pub kept: String,
    /// What the other description says.
    pub other: String,
}

impl Aircraft {
    /// Fills the blanks from another description of the same tail and returns where both speak and differ.
    pub fn fill_from(&mut self, other: &Self) -> Vec<Difference> {
        let mut differences = Vec::new();
        macro_rules! fill {
            ($($field:ident)*) => {$(
                match (&self.$field, &other.$field) {
                    (None, Some(value)) => self.$field = Some(value.clone()),
                    (Some(kept), Some(value)) if kept != value => differences.push(Difference {
                        field: stringify!($field).to_owned(),
                        kept: kept.to_string(),
                        other: value.to_string(),
                    }),
                    _ => {}
                }
            )*};
        }
        fill! {
            make model type_designator category class equipment gear tailwheel engine engine_count complex
            high_performance technically_advanced pressurized year serial
        }
        for field in &other.custom_fields {
            if !self
                .custom_fields
                .iter()
                .any(|known| known.name == field.name)
            {
                self.custom_fields.push(field.clone());
            }
        }
        differences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_filled_and_differences_told() {
        let mut aircraft = Aircraft {
            tail: "N286SW".into(),
            type_designator: Some("172S".into()),
            ..Aircraft::default()
        };
        let other = Aircraft {
            tail: "N286SW".into(),
            make: Some("Cessna".into()),
            type_designator: Some("C172S".into()),
            ..Aircraft::default()
        };
        let differences = aircraft.fill_from(&other);
        assert_eq!(aircraft.make.as_deref(), Some("Cessna"));
        assert_eq!(aircraft.type_designator.as_deref(), Some("172S"));
        assert_eq!(
            differences,
            [Difference {
                field: "type_designator".into(),
                kept: "172S".into(),
                other: "C172S".into()
            }]
        );
    }
}

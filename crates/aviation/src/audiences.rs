//! Who may read which table in a divided context: the table of compartments, as data.
//!
//! Like the table of rights beside it, it is baked into history: a row lives in one compartment for good. The two agree, a test sees to
//! that: nobody has a right to write a table where others than its audience would read it.

/// The audience of a table's rows in a context that is divided. A personal context has one compartment, and so have a
/// partnership and a club: there the audience makes no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Audience {
    /// Every member.
    Everyone,
    /// One person and the staff concerned.
    PersonAndStaff,
    /// Staff.
    Staff,
    /// Whoever may read the row it belongs to.
    OfItsOwner,
}

/// A table that merges between the devices that may read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedTable {
    /// Name of the table.
    pub name: &'static str,
    /// Who may read its rows.
    pub audience: Audience,
}

macro_rules! shared {
    ($($audience:ident: $($name:ident)*;)*) => {
        &[$($(SharedTable { name: stringify!($name), audience: Audience::$audience },)*)*]
    };
}

/// Every table that is shared.
pub const SHARED: &[SharedTable] = shared! {
    Everyone: context_profile preference context_member member_phone member_permission
        aircraft meter_series meter_reading component inspection_program inspection squawk
        booking booking_flight booking_template booking_template_weekday booking_template_exception
        availability opening_hours
        syllabus stage lesson lesson_objective rate;
    PersonAndStaff: person person_rating checkout share currency_statement medical review
        flight approach flight_person flight_link track draft draft_field endorsement
        booking_detail booking_gate_override
        enrolment lesson_result lesson_objective_result stage_check
        charge charge_line invoice invoice_line payment reversal dues notice;
    Staff: person_remark rate_draft deposit deposit_payment month_close;
    OfItsOwner: attachment custom_field;
};

/// Who reads the rows of a table; `None` for a table that is not shared.
pub fn audience_of(table: &str) -> Option<Audience> {
    SHARED
        .iter()
        .find(|shared| shared.name == table)
        .map(|shared| shared.audience)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::{CompartmentKind, rights};

    #[test]
    fn a_table_is_written_only_where_its_audience_reads() {
        for (grantee, table, compartment) in rights() {
            let audience = audience_of(table);
            let fits = match compartment {
                CompartmentKind::Whole => audience.is_some(),
                CompartmentKind::Everyone => {
                    matches!(audience, Some(Audience::Everyone | Audience::OfItsOwner))
                }
                CompartmentKind::Staff => {
                    matches!(audience, Some(Audience::Staff | Audience::OfItsOwner))
                }
                CompartmentKind::Person => {
                    matches!(
                        audience,
                        Some(Audience::PersonAndStaff | Audience::OfItsOwner)
                    )
                }
            };
            assert!(
                fits,
                "{grantee:?} may write {table} ({audience:?}) in {compartment:?}"
            );
        }
    }

    #[test]
    fn what_is_private_is_one_persons() {
        for table in [
            "charge",
            "medical",
            "person",
            "lesson_result",
            "lesson_objective_result",
            "payment",
            "endorsement",
        ] {
            assert_eq!(
                audience_of(table),
                Some(Audience::PersonAndStaff),
                "{table}"
            );
        }
        assert_eq!(audience_of("person_remark"), Some(Audience::Staff));
        assert_eq!(audience_of("sqlite_master"), None);
    }

    #[test]
    fn every_table_stands_once() {
        for shared in SHARED {
            let same = SHARED.iter().filter(|other| other.name == shared.name);
            assert_eq!(same.count(), 1, "{}", shared.name);
        }
    }
}

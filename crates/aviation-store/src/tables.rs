//! Which tables merge between devices, and who may read their rows.
//!
//! The list is data for the merge engine and for the choice of a row's compartment; tables that are not in it stay on
//! this device.

/// The audience of a table's rows in a context that has compartments. A personal context has one compartment, and a
/// partnership usually one: there the audience makes no difference.
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
pub struct MergedTable {
    /// Name of the table.
    pub name: &'static str,
    /// Who may read its rows.
    pub audience: Audience,
}

macro_rules! merged {
    ($($audience:ident: $($name:ident)*;)*) => {
        &[$($(MergedTable { name: stringify!($name), audience: Audience::$audience },)*)*]
    };
}

/// Every table that merges.
pub const MERGED: &[MergedTable] = merged! {
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

/// Tables that stay on this device.
pub const LOCAL: &[&str] = &["aviation_migration", "import_batch"];

/// The merged table of this name.
pub fn merged(name: &str) -> Option<&'static MergedTable> {
    MERGED.iter().find(|table| table.name == name)
}

//! The logbook.

pub mod fields;

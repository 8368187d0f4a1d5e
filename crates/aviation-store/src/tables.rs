//! Which tables merge between devices, and who may read their rows.
//!
//! The list is data for the merge engine and for the choice of a row's compartment; tables that are not in it stay on
//! this device.

pub use aeroedge_aviation::audiences::{Audience, SharedTable as MergedTable};

/// Every table that merges.
pub const MERGED: &[MergedTable] = aeroedge_aviation::audiences::SHARED;

/// Tables that stay on this device.
pub const LOCAL: &[&str] = &[
    "aviation_migration",
    "import_batch",
    "flight_copy",
    "flight_copy_progress",
];

/// The merged table of this name.
pub fn merged(name: &str) -> Option<&'static MergedTable> {
    MERGED.iter().find(|table| table.name == name)
}

//! Edits of a flight reach all groups that hold it, carried by a device that is in more than one of them.
//!
//! A carried edit is an ordinary later write under this device's own rights. Only what differs is written, so two devices
//! that both carry end up with equal copies and have nothing more to say: nothing echoes. A device that is in one of the
//! groups only never touches the others, because it does not see their copies.

use std::collections::BTreeSet;

use aeroedge_aviation_store::flights as store;
use aeroedge_device::Device;
use aeroedge_ids::{CompartmentId, Millis};
use aeroedge_replica::Touched;
use rusqlite::types::Value;

use super::FlightError;
use crate::contexts;
use crate::write::{new_id, write};

/// The flights among the rows that merging changed, by id.
pub fn touched<'a>(
    device: &Device,
    rows: impl IntoIterator<Item = &'a Touched>,
) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    if device.contexts().len() < 2 {
        return ids;
    }
    for touched in rows.into_iter().filter(|touched| touched.table == "flight") {
        for key in &touched.keys {
            let (Some(id), Some(compartment)) = (text_in(key), compartment_in(key)) else {
                continue;
            };
            // A row that is gone again has nothing to carry.
            if let Ok(Some(record)) = store::get(device.connection(), compartment, id) {
                ids.insert(record.value.flight_uid);
            }
        }
    }
    ids
}

/// Makes the copies of these flights equal where they differ: the copy edited last stands for all, as a whole, so an
/// earlier edit of another field in another copy gives way to it. Returns how many copies were written.
pub fn carry_across(
    device: &mut Device,
    ids: &BTreeSet<String>,
    now: Millis,
) -> Result<u64, FlightError> {
    let compartments: Vec<CompartmentId> =
        contexts::readable_everywhere(device).into_keys().collect();
    let mut written = 0;
    for id in ids {
        let mut copies = store::copies(device.connection(), &compartments, id)?;
        if copies.len() < 2 {
            continue;
        }
        // The order is the same on every device, whatever their clocks say.
        copies.sort_by_key(|copy| (copy.updated_at, copy.compartment));
        let Some(latest) = copies.pop() else { continue };
        for copy in copies {
            let mut carried = latest.value.flight.clone();
            // An aircraft is a record of one group, so the copies name different ones.
            carried
                .aircraft_id
                .clone_from(&copy.value.flight.aircraft_id);
            let stands = &copy.value.flight;
            keep_equal_rows(&stands.approaches, &mut carried.approaches, |row| {
                row.id = None;
            });
            keep_equal_rows(&stands.persons, &mut carried.persons, |row| row.id = None);
            keep_equal_rows(&stands.custom_fields, &mut carried.custom_fields, |row| {
                row.id = None;
            });
            if *stands == carried {
                continue;
            }
            write(device, now, |connection| {
                store::replace(
                    connection,
                    copy.compartment,
                    &copy.id,
                    carried,
                    &mut || new_id(now),
                    now,
                )
            })?;
            written += 1;
        }
    }
    Ok(written)
}

/// Rows that belong to a flight have ids of their own in each copy: lists that say the same are the same, and one that
/// says something else brings new rows.
fn keep_equal_rows<T: Clone + PartialEq>(
    stands: &[T],
    carried: &mut Vec<T>,
    forget_id: fn(&mut T),
) {
    let nameless = |rows: &[T]| -> Vec<T> {
        let mut rows = rows.to_vec();
        rows.iter_mut().for_each(forget_id);
        rows
    };
    *carried = if nameless(stands) == nameless(carried) {
        stands.to_vec()
    } else {
        nameless(carried)
    };
}

fn text_in(key: &[Value]) -> Option<&str> {
    key.iter().find_map(|value| match value {
        Value::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

fn compartment_in(key: &[Value]) -> Option<CompartmentId> {
    key.iter().find_map(|value| match value {
        Value::Blob(bytes) => CompartmentId::try_from(bytes.as_slice()).ok(),
        _ => None,
    })
}

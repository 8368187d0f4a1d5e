//! What a person takes along when a membership ends: the own flights, as copies in the personal logbook.
//!
//! What is taken along is a flight of its own: nobody in the group reaches it any more. It keeps the row's id, so that doing
//! this twice, or on two devices, makes one of it. A flight that stands in a group one stays in is there already.

use std::collections::BTreeSet;

use aeroedge_aviation_store::NewRow;
use aeroedge_aviation_store::flights::{self as store, Filter, Place, links};
use aeroedge_device::Device;
use aeroedge_ids::{CompartmentId, ContextId, Millis};

use super::{ContextError, compartment_for, personal, readable_everywhere};
use crate::flights::settle_copies;
use crate::write::{new_id, write};

/// Flights copied in one transaction.
const BATCH: usize = 500;

/// Copies the own flights of a group into the personal logbook, where they are not there yet. Returns how many.
pub fn keep_own(device: &mut Device, context: ContextId, now: Millis) -> Result<u64, ContextError> {
    let home = compartment_for(device, personal(device)?, "flight")?;
    let user = device.user();
    let compartments: Vec<CompartmentId> = device
        .roster(context)
        .into_iter()
        .flat_map(aeroedge_log::roster::Roster::compartments)
        .map(|compartment| compartment.id)
        .collect();
    let filter = Filter {
        compartments: &compartments,
        pilot: Some(user),
        ..Filter::default()
    };
    settle_copies(device);
    let connection = device.connection();
    let staying: Vec<CompartmentId> = readable_everywhere(device)
        .into_iter()
        .filter(|(_, group)| *group != context)
        .map(|(compartment, _)| compartment)
        .collect();
    let mut known = BTreeSet::new();
    let mut missing = Vec::new();
    for record in store::list(connection, &filter)? {
        let place = Place {
            compartment: record.compartment,
            id: record.id,
        };
        let stays = match links::uid_of(connection, &place)? {
            Some(uid) => !links::copies_of(connection, &staying, &uid)?.is_empty(),
            None => false,
        };
        let is_home = store::get(connection, home, &place.id)?.is_some();
        if !stays && !is_home && known.insert(place.id.clone()) {
            missing.push((place.id, record.value));
        }
    }
    let kept = missing.len() as u64;
    while !missing.is_empty() {
        let batch = missing.split_off(missing.len().saturating_sub(BATCH));
        write(device, now, |connection| {
            for (id, mut entry) in batch {
                // The aircraft and the import are records of the group; the tail stays.
                entry.flight.aircraft_id = None;
                entry.import = None;
                entry.link = None;
                let row = NewRow {
                    id: &id,
                    compartment: home,
                    created_by: Some(user),
                    now,
                };
                entry
                    .flight
                    .approaches
                    .iter_mut()
                    .for_each(|row| row.id = None);
                entry
                    .flight
                    .persons
                    .iter_mut()
                    .for_each(|row| row.id = None);
                entry
                    .flight
                    .custom_fields
                    .iter_mut()
                    .for_each(|row| row.id = None);
                store::insert(connection, row, &entry, &mut || new_id(now))?;
            }
            Ok(())
        })?;
    }
    Ok(kept)
}

/// The groups that this person is out of.
pub fn ended(device: &Device) -> BTreeSet<ContextId> {
    device
        .contexts()
        .into_iter()
        .filter(|context| context.rights.is_none())
        .map(|context| context.id)
        .collect()
}

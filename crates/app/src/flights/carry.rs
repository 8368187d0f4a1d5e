//! Edits of a flight reach all groups that hold a copy, carried by a device that is in more than one of them.
//!
//! A carried edit is an ordinary write under this device's own rights: the later written cell into the others. Only what
//! differs is written, so two devices that both carry end up with equal copies and have nothing more to say: nothing
//! echoes. A group that deletes its copy deletes only that.

use std::collections::BTreeSet;

use aeroedge_aviation_store::StoreError;
use aeroedge_aviation_store::flights::Place;
use aeroedge_aviation_store::flights::carried::{self, CarriedTable, CellChange, SharedRow};
use aeroedge_aviation_store::flights::links;
use aeroedge_crdt::hlc::Stamp;
use aeroedge_device::{Device, WriteError as DeviceWriteError};
use aeroedge_ids::{CompartmentId, Millis, UserId};
use aeroedge_replica::{RowStamps, Touched};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::{FlightError, copies};
use crate::contexts;
use crate::write::{WriteError, write};

/// A list of more rows than anybody writes down is left as it is in each copy.
const CHILDREN_MAX: usize = 500;

/// Whether [`carry_across`] may have something to do after these rows were merged.
pub fn concerns_flights<'a>(rows: impl IntoIterator<Item = &'a Touched>) -> bool {
    rows.into_iter().any(|touched| touched.table == "flight")
}

/// Makes copies equal where they differ, as far as flights changed since this was last done: of each field, what was
/// written last stands for all. Returns how many rows were written.
pub fn carry_across(device: &mut Device, now: Millis) -> Result<u64, FlightError> {
    if device.contexts().len() < 2 {
        return Ok(0);
    }
    copies::settle(device)?;
    let known = links::progress(device.connection())?.carried;
    let Some(changed) = copies::changed_since(device, known)? else {
        return Ok(0);
    };
    let uids = links::uids_of(device.connection(), changed.places.as_deref())?;
    if uids.is_empty()
        && changed.places.is_some()
        && changed.version - known < copies::UNNOTED_VERSIONS_MAX
    {
        return Ok(0);
    }
    let mut written = 0;
    let mut complete = true;
    for uid in &uids {
        match carry_flight(device, uid, now) {
            Ok(rows) => written += rows,
            // Nothing can be written there for the time being.
            Err(FlightError::Write(WriteError::Device(DeviceWriteError::Refused(_)))) => {
                complete = false;
            }
            Err(error) => return Err(error),
        }
    }
    if complete {
        links::note_carried(device.connection(), changed.version)?;
    }
    Ok(written)
}

/// A copy of the flight.
#[derive(Debug)]
struct Copy {
    place: Place,
    /// Tables that this device may write there.
    writable: BTreeSet<&'static str>,
}

impl Copy {
    fn may_write(&self, table: &CarriedTable) -> bool {
        self.writable.contains(table.name)
    }

    /// Where the row of an id stands that belongs to this copy.
    fn place_of(&self, id: &str) -> Place {
        Place {
            compartment: self.place.compartment,
            id: id.to_owned(),
        }
    }
}

/// One row of one copy.
#[derive(Debug)]
struct Standing<'a> {
    copy: &'a Copy,
    place: Place,
    row: SharedRow,
    stamps: RowStamps,
}

/// Something to be written.
#[derive(Debug)]
enum Step<'a> {
    Overwrite {
        table: &'a CarriedTable,
        place: Place,
        cells: Vec<CellChange>,
    },
    Insert {
        table: &'a CarriedTable,
        id: String,
        flight: Place,
        values: Vec<Value>,
    },
    Delete {
        table: &'a CarriedTable,
        id: String,
        flight: Place,
    },
}

fn carry_flight(device: &mut Device, uid: &str, now: Millis) -> Result<u64, FlightError> {
    let compartments: Vec<CompartmentId> =
        contexts::readable_everywhere(device).into_keys().collect();
    let (flight, children) = (carried::flight_table(), carried::child_tables());
    let mut copies = Vec::new();
    for place in links::copies_of(device.connection(), &compartments, uid)? {
        let tables = children.iter().chain([&flight]).map(|table| table.name);
        copies.push(Copy {
            writable: tables
                .filter(|table| device.may_write(table, place.compartment))
                .collect(),
            place,
        });
    }
    if copies.len() < 2 || copies.iter().all(|copy| copy.writable.is_empty()) {
        return Ok(0);
    }
    let mut standing = Vec::new();
    for copy in &copies {
        standing.extend(look(device, &flight, copy, copy.place.clone())?);
    }
    let mut steps = equalise(&flight, &standing);
    for table in &children {
        let mut ids = BTreeSet::new();
        for copy in &copies {
            ids.extend(carried::children(device.connection(), table, &copy.place)?);
        }
        if ids.len() <= CHILDREN_MAX {
            for id in &ids {
                steps.extend(carry_child(device, table, &copies, id)?);
            }
        }
    }
    if steps.is_empty() {
        return Ok(0);
    }
    let user = device.user();
    Ok(write(device, now, |connection| {
        for step in &steps {
            step.take(connection, user, now)?;
        }
        Ok(steps.len() as u64)
    })?)
}

fn look<'a>(
    device: &Device,
    table: &CarriedTable,
    copy: &'a Copy,
    place: Place,
) -> Result<Option<Standing<'a>>, FlightError> {
    let Some(row) = carried::read(device.connection(), table, &place)? else {
        return Ok(None);
    };
    let stamps = stamps_of(device, table, &place)?;
    Ok(Some(Standing {
        copy,
        place,
        row,
        stamps,
    }))
}

fn stamps_of(
    device: &Device,
    table: &CarriedTable,
    place: &Place,
) -> Result<RowStamps, FlightError> {
    Ok(device
        .row_stamps(table.name, &copies::key_of(place))?
        .unwrap_or_default())
}

/// The steps that make rows equal, of each column what was written last. Stamps and, in a tie, places decide the same on
/// every device.
fn equalise<'a>(table: &'a CarriedTable, standing: &[Standing<'_>]) -> Vec<Step<'a>> {
    let latest = latest_values(table, standing);
    let mut steps = Vec::new();
    for row in standing.iter().filter(|row| row.copy.may_write(table)) {
        let cells: Vec<CellChange> = row
            .row
            .values
            .iter()
            .zip(&latest)
            .enumerate()
            .filter(|(_, (stands, latest))| stands != latest)
            .map(|(column, (stands, latest))| CellChange {
                column,
                from: stands.clone(),
                to: latest.clone(),
            })
            .collect();
        if !cells.is_empty() {
            steps.push(Step::Overwrite {
                table,
                place: row.place.clone(),
                cells,
            });
        }
    }
    steps
}

fn latest_values(table: &CarriedTable, standing: &[Standing<'_>]) -> Vec<Value> {
    table
        .columns
        .iter()
        .enumerate()
        .filter_map(|(index, column)| {
            let latest = standing
                .iter()
                .max_by_key(|row| (row.stamps.stamp_by_column.get(*column), &row.place))?;
            Some(latest.row.values[index].clone())
        })
        .collect()
}

/// The steps that make a row that belongs to the flight the same in every copy: there with equal cells, or gone.
///
/// It is gone when, of every copy that has it, another one deleted it later than it was made: a deletion wins over edits that
/// did not know of it. A row that somebody makes again afterwards comes back everywhere.
fn carry_child<'a>(
    device: &Device,
    table: &'a CarriedTable,
    copies: &[Copy],
    id: &str,
) -> Result<Vec<Step<'a>>, FlightError> {
    let mut living = Vec::new();
    let mut missing = Vec::new();
    for copy in copies {
        let place = copy.place_of(id);
        match look(device, table, copy, place.clone())? {
            Some(row) if row.row.parent.as_ref() == Some(&copy.place.id) => living.push(row),
            // A row of another flight under the same id is none of this one's business.
            Some(_) => {}
            None => missing.push((copy, stamps_of(device, table, &place)?)),
        }
    }
    let made = |row: &Standing<'_>| -> Option<Stamp> {
        let column = table.parent_column()?;
        row.stamps.stamp_by_column.get(column).copied()
    };
    let is_deleted = |row: &Standing<'_>| {
        missing.iter().any(|(_, gone)| {
            gone.deleted.is_some() && (gone.life > row.stamps.life || gone.deleted > made(row))
        })
    };
    if living.iter().all(is_deleted) {
        return Ok(living
            .iter()
            .filter(|row| row.copy.may_write(table))
            .map(|row| Step::Delete {
                table,
                id: id.to_owned(),
                flight: row.copy.place.clone(),
            })
            .collect());
    }
    let mut steps = equalise(table, &living);
    let latest = latest_values(table, &living);
    for (copy, _) in missing {
        if copy.may_write(table) {
            steps.push(Step::Insert {
                table,
                id: id.to_owned(),
                flight: copy.place.clone(),
                values: latest.clone(),
            });
        }
    }
    Ok(steps)
}

impl Step<'_> {
    fn take(&self, connection: &Connection, user: UserId, now: Millis) -> Result<(), StoreError> {
        match self {
            Self::Overwrite {
                table,
                place,
                cells,
            } => carried::overwrite(connection, table, place, cells),
            Self::Insert {
                table,
                id,
                flight,
                values,
            } => carried::insert_child(connection, table, id, flight, values, user, now),
            Self::Delete { table, id, flight } => {
                carried::delete_child(connection, table, id, flight)
            }
        }
    }
}

//! Logbook entries with their approaches, persons and custom fields.
//!
//! A flight that belongs to several contexts has a copy in each under one `flight_uid`; lists and totals count it once.

mod columns;
mod lookup;
mod query;

use aeroedge_aviation::logbook::{Approach, CustomField, Flight, FlightPerson};
use aeroedge_ids::{CompartmentId, Millis, UserId};
use rusqlite::Connection;

use crate::children::{self, Parent};
use crate::row::{self, NewRow, Patch, Record, StoreError, Stored, patched};

pub use lookup::{compartments_of, uids_beginning_with};
pub use query::{Filter, count, list, totals};

/// A flight as it stands in somebody's logbook.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoggedFlight {
    /// Shared by the copies of this entry in several contexts.
    pub flight_uid: String,
    /// Whose logbook.
    pub pilot: Pilot,
    /// By which import it came, if by one.
    pub import: Option<ImportMark>,
    /// The flight.
    pub flight: Flight,
}

/// Whose logbook an entry stands in: somebody with a device, or a person the context only knows about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pilot {
    /// The user.
    pub user: Option<UserId>,
    /// The person's row.
    pub person_id: Option<String>,
}

/// How an imported row is recognised when it comes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportMark {
    /// The import that brought it.
    pub batch_id: String,
    /// Over the content of the row in the file.
    pub fingerprint: [u8; 16],
    /// Tells identical rows of one file apart.
    pub occurrence: u32,
}

/// Inserts an entry with everything that belongs to it.
pub fn insert(
    conn: &Connection,
    new: NewRow<'_>,
    entry: &LoggedFlight,
    ids: &mut dyn FnMut() -> String,
) -> Result<(), StoreError> {
    row::insert(conn, new, entry)?;
    let parent = Parent::of_new(LoggedFlight::TABLE, new);
    children::insert_all(conn, parent, &entry.flight.approaches, ids)?;
    children::insert_all(conn, parent, &entry.flight.persons, ids)?;
    children::insert_all(conn, parent, &entry.flight.custom_fields, ids)
}

/// The entry of this id.
pub fn get(
    conn: &Connection,
    compartment: CompartmentId,
    id: &str,
) -> Result<Option<Record<LoggedFlight>>, StoreError> {
    let mut record = row::get(conn, compartment, id)?;
    load_children(conn, record.as_mut_slice())?;
    Ok(record)
}

/// The copies of one entry in these compartments.
pub fn copies(
    conn: &Connection,
    compartments: &[CompartmentId],
    flight_uid: &str,
) -> Result<Vec<Record<LoggedFlight>>, StoreError> {
    query::copies(conn, compartments, flight_uid)
}

/// Changes the named fields (those of [`Flight`]) and returns the columns that were written: none if nothing differs.
pub fn update(
    conn: &Connection,
    compartment: CompartmentId,
    id: &str,
    patch: &Patch,
    ids: &mut dyn FnMut() -> String,
    now: Millis,
) -> Result<Vec<&'static str>, StoreError> {
    let before = get_or_not_found(conn, compartment, id)?;
    let after = patched(LoggedFlight::TABLE, &before.value.flight, patch)?;
    write_difference(conn, before, after, ids, now)
}

/// Makes the entry this flight, writing only what differs; returns the columns that were written.
pub fn replace(
    conn: &Connection,
    compartment: CompartmentId,
    id: &str,
    flight: Flight,
    ids: &mut dyn FnMut() -> String,
    now: Millis,
) -> Result<Vec<&'static str>, StoreError> {
    let before = get_or_not_found(conn, compartment, id)?;
    write_difference(conn, before, flight, ids, now)
}

fn get_or_not_found(
    conn: &Connection,
    compartment: CompartmentId,
    id: &str,
) -> Result<Record<LoggedFlight>, StoreError> {
    let mut before = row::get_or_not_found(conn, compartment, id)?;
    load_children(conn, std::slice::from_mut(&mut before))?;
    Ok(before)
}

fn write_difference(
    conn: &Connection,
    before: Record<LoggedFlight>,
    flight: Flight,
    ids: &mut dyn FnMut() -> String,
    now: Millis,
) -> Result<Vec<&'static str>, StoreError> {
    let after = LoggedFlight {
        flight,
        ..before.value.clone()
    };
    let mut columns = row::update(conn, &before, &after, now)?;
    let own_columns = columns.len();
    let parent = Parent {
        table: LoggedFlight::TABLE,
        id: &before.id,
        compartment: before.compartment,
        created_by: before.created_by,
        now,
    };
    let (old, new) = (&before.value.flight, &after.flight);
    if children::replace_all(conn, parent, &old.approaches, &new.approaches, ids)? {
        columns.push("approaches");
    }
    if children::replace_all(conn, parent, &old.persons, &new.persons, ids)? {
        columns.push("persons");
    }
    if children::replace_all(conn, parent, &old.custom_fields, &new.custom_fields, ids)? {
        columns.push("custom_fields");
    }
    if own_columns == 0 && !columns.is_empty() {
        row::touch(
            conn,
            LoggedFlight::TABLE,
            &before.id,
            before.compartment,
            before.updated_at,
            now,
        )?;
    }
    Ok(columns)
}

/// Deletes an entry with everything that belongs to it; whether there was one.
pub fn delete(conn: &Connection, compartment: CompartmentId, id: &str) -> Result<bool, StoreError> {
    children::delete_all::<Approach>(conn, compartment, id)?;
    children::delete_all::<FlightPerson>(conn, compartment, id)?;
    children::delete_all::<CustomField>(conn, compartment, id)?;
    row::delete(conn, LoggedFlight::TABLE, compartment, id)
}

fn load_children(
    conn: &Connection,
    records: &mut [Record<LoggedFlight>],
) -> Result<(), StoreError> {
    children::load(conn, records, |entry| &mut entry.flight.approaches)?;
    children::load(conn, records, |entry| &mut entry.flight.persons)?;
    children::load(conn, records, |entry| &mut entry.flight.custom_fields)
}

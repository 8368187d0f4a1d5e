//! Logbook entries with their approaches, persons and custom fields.
//!
//! A flight that belongs to several contexts has a copy in each under one `flight_uid`, with a proof; lists and totals
//! count it once.

pub mod carried;
mod columns;
pub mod links;
mod query;

use aeroedge_aviation::logbook::{Approach, CustomField, Flight, FlightPerson};
use aeroedge_ids::{CompartmentId, Millis, UserId};
use rusqlite::Connection;

use crate::children::{self, Parent};
use crate::row::{self, NewRow, Patch, Record, StoreError, Stored, patched};

pub use links::{Link, Place};
pub use query::{Filter, count, list, totals};

/// A flight as it stands in somebody's logbook.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoggedFlight {
    /// What makes it a copy of one flight in several contexts, if it is one.
    pub link: Option<Link>,
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
    let from = before.value.flight.clone();
    let change = Change::new(&from, after, ids);
    write_change(conn, before, &change, now)
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
    let from = before.value.flight.clone();
    let change = Change::new(&from, flight, ids);
    write_change(conn, before, &change, now)
}

/// What somebody did to a flight as they saw it, to be done to each of its copies.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    from: Flight,
    to: Flight,
}

impl Change {
    /// From what was seen to what it shall be. What belongs to the flight and is new gets its id here, the same in every copy.
    pub fn new(from: &Flight, mut to: Flight, ids: &mut dyn FnMut() -> String) -> Self {
        children::identify(&from.approaches, &mut to.approaches, ids);
        children::identify(&from.persons, &mut to.persons, ids);
        children::identify(&from.custom_fields, &mut to.custom_fields, ids);
        Self {
            from: from.clone(),
            to,
        }
    }

    /// The same for a copy in another group, which cannot name what is a record of the first one.
    pub fn elsewhere(&self) -> Self {
        let mut other = self.clone();
        for flight in [&mut other.from, &mut other.to] {
            for person in &mut flight.persons {
                person.who.person_id = None;
            }
        }
        other.to.source = other.from.source;
        other.to.billing_context_id = other.from.billing_context_id;
        // A reference that changed names nothing there; one that did not stays as it stands.
        let forget = |from: &Option<String>, to: &mut Option<String>| {
            if to != from {
                *to = None;
            }
        };
        forget(&other.from.aircraft_id, &mut other.to.aircraft_id);
        let whos = [
            (&other.from.instructor, &mut other.to.instructor),
            (&other.from.safety_pilot, &mut other.to.safety_pilot),
            (&other.from.examiner, &mut other.to.examiner),
        ];
        for (from, to) in whos {
            if from != to {
                to.person_id = None;
            }
        }
        other
    }
}

/// Does to this entry what was done to a flight, writing only what differs; returns the columns that were written.
pub fn change(
    conn: &Connection,
    place: &Place,
    change: &Change,
    now: Millis,
) -> Result<Vec<&'static str>, StoreError> {
    let before = get_or_not_found(conn, place.compartment, &place.id)?;
    write_change(conn, before, change, now)
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

fn write_change(
    conn: &Connection,
    before: Record<LoggedFlight>,
    change: &Change,
    now: Millis,
) -> Result<Vec<&'static str>, StoreError> {
    let with = |flight: &Flight| LoggedFlight {
        flight: flight.clone(),
        ..before.value.clone()
    };
    let (from, to) = (with(&change.from).values(), with(&change.to).values());
    let cells = LoggedFlight::COLUMNS
        .iter()
        .zip(before.value.values())
        .zip(from.into_iter().zip(to))
        .filter(|((_, stands), (from, to))| from != to && stands != to)
        .map(|((column, _), (_, to))| (*column, to))
        .collect();
    let mut columns = row::write_cells(conn, &before, cells, now)?;
    let own_columns = columns.len();
    let parent = Parent {
        table: LoggedFlight::TABLE,
        id: &before.id,
        compartment: before.compartment,
        created_by: before.created_by,
        now,
    };
    let stands = &before.value.flight;
    macro_rules! children {
        ($($name:ident)*) => {$(
            let after = children::laid_over(&stands.$name, &change.from.$name, &change.to.$name);
            if children::replace_all(conn, parent, &stands.$name, &after)? {
                columns.push(stringify!($name));
            }
        )*};
    }
    children! { approaches persons custom_fields }
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

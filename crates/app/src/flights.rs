//! The logbook: log a flight, look it up, change it, add flights up.
//!
//! A flight that stands in several groups is one flight here: it has one id, lists show it once, and a change is made to
//! all of its copies in one transaction.

mod carry;
pub mod fields;

pub use carry::{carry_across, touched};

use std::collections::BTreeSet;

use aeroedge_aviation::logbook::{Flight, Totals};
use aeroedge_aviation_store::flights::{self as store, Filter, LoggedFlight, Pilot};
use aeroedge_aviation_store::{NewRow, Record, StoreError};
use aeroedge_device::Device;
use aeroedge_ids::{CompartmentId, ContextId, Millis, UserId};
use jiff::Timestamp;
use jiff::civil::Date;

use crate::contexts::{self, ContextError};
use crate::explain::{Explained, Kind};
use crate::write::{WriteError, new_id, write};
use fields::FieldError;

/// Fewest characters of an id that name a row.
const ID_PREFIX_MIN: usize = 6;

/// A flight as it stands in the logbook.
#[derive(Debug, Clone, PartialEq)]
pub struct FlightView {
    /// The same in every group that holds a copy.
    pub id: String,
    /// The groups that hold it.
    pub contexts: Vec<ContextId>,
    /// Whose logbook it stands in.
    pub pilot: Option<UserId>,
    /// When it was last changed.
    pub updated_at: Millis,
    /// What was logged.
    pub flight: Flight,
}

/// Which flights.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Of this group; `None` is all groups.
    pub context: Option<ContextId>,
    /// In this person's logbook; `None` is everybody's.
    pub pilot: Option<UserId>,
    /// With this text somewhere.
    pub search: Option<String>,
    /// In this aircraft.
    pub tail: Option<String>,
    /// The first day.
    pub from: Option<Date>,
    /// The last day.
    pub until: Option<Date>,
}

/// Which part of a list.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// How many to leave out at the start.
    pub offset: u64,
    /// How many at most.
    pub limit: u32,
    /// The earliest first.
    pub oldest_first: bool,
}

/// Something about a flight could not be done.
#[derive(Debug, thiserror::Error)]
pub enum FlightError {
    /// Nothing of this id.
    #[error("there is no flight {0:?} in this logbook")]
    Unknown(String),
    /// Several flights begin like this.
    #[error("more than one flight has an id that begins with {0:?}")]
    Ambiguous(String),
    /// What was given makes no flight.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Fields(Vec<FieldError>),
    /// The groups it shall stand in.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<StoreError> for FlightError {
    fn from(error: StoreError) -> Self {
        Self::Write(error.into())
    }
}

impl Explained for FlightError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unknown(_) => Kind::NotFound,
            Self::Ambiguous(_) | Self::Fields(_) => Kind::Invalid,
            Self::Context(error) => error.kind(),
            Self::Write(error) => error.kind(),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Unknown(_) => "see `aeroedge flight list`".to_owned(),
            Self::Ambiguous(_) => "give more of the id".to_owned(),
            Self::Fields(_) => "nothing was changed".to_owned(),
            Self::Context(error) => error.advice(),
            Self::Write(error) => error.advice(),
        }
    }
}

/// Logs a flight of this device's person in some groups; none means the personal logbook. Returns its id.
pub fn add(
    device: &mut Device,
    groups: &[ContextId],
    flight: &Flight,
    now: Millis,
) -> Result<String, FlightError> {
    check(flight, None, now)?;
    let personal;
    let groups = if groups.is_empty() {
        personal = [contexts::personal(device)?];
        &personal[..]
    } else {
        groups
    };
    let compartments = groups
        .iter()
        .map(|group| contexts::compartment_for(device, *group, "flight"))
        .collect::<Result<BTreeSet<CompartmentId>, _>>()?;
    let user = device.user();
    let id = new_id(now);
    let entry = LoggedFlight {
        flight_uid: id.clone(),
        pilot: Pilot {
            user: Some(user),
            person_id: None,
        },
        import: None,
        flight: flight.clone(),
    };
    write(device, now, |connection| {
        for compartment in &compartments {
            let row = NewRow {
                id: &new_id(now),
                compartment: *compartment,
                created_by: Some(user),
                now,
            };
            store::insert(connection, row, &entry, &mut || new_id(now))?;
        }
        Ok(())
    })?;
    Ok(id)
}

/// How many flights there are, and some of them.
pub fn list(
    device: &Device,
    query: &Query,
    part: Part,
) -> Result<(u64, Vec<FlightView>), FlightError> {
    let compartments = compartments_of(device, query);
    let mut filter = filter_of(query, &compartments);
    let connection = device.connection();
    let count = store::count(connection, &filter)?;
    let left = count.saturating_sub(part.offset);
    let limit = u64::from(part.limit).min(left);
    // The list is kept newest first, so its other end is read from behind.
    let offset = if part.oldest_first {
        left - limit
    } else {
        part.offset
    };
    filter.limit = Some(limit as u32);
    filter.offset = u32::try_from(offset).unwrap_or(u32::MAX);
    let mut views = if limit == 0 {
        Vec::new()
    } else {
        store::list(connection, &filter)?
            .into_iter()
            .map(|record| view_of(device, record))
            .collect::<Result<_, _>>()?
    };
    if part.oldest_first {
        views.reverse();
    }
    Ok((count, views))
}

/// What flights add up to.
pub fn totals(device: &Device, query: &Query) -> Result<Totals, FlightError> {
    let compartments = compartments_of(device, query);
    Ok(store::totals(
        device.connection(),
        &filter_of(query, &compartments),
    )?)
}

/// The flight that a person means, by its id or the beginning of it.
pub fn get(device: &Device, id: &str) -> Result<FlightView, FlightError> {
    let id = resolve(device, id)?;
    let mut records = copies(device, &id)?;
    // Of several copies the latest edited one speaks for all.
    records.sort_by_key(|record| record.updated_at);
    match records.pop() {
        Some(record) => view_of(device, record),
        None => Err(FlightError::Unknown(id)),
    }
}

/// Makes a flight this, in every group that holds it. Only what differs is written.
pub fn edit(
    device: &mut Device,
    id: &str,
    flight: &Flight,
    now: Millis,
) -> Result<FlightView, FlightError> {
    let stands = get(device, id)?;
    check(flight, Some(&stands.flight), now)?;
    let records = copies(device, &stands.id)?;
    write(device, now, |connection| {
        for record in &records {
            let mut changed = flight.clone();
            // An aircraft is a record of one group, so the copies name different ones.
            if flight.aircraft_id == stands.flight.aircraft_id {
                changed
                    .aircraft_id
                    .clone_from(&record.value.flight.aircraft_id);
            }
            store::replace(
                connection,
                record.compartment,
                &record.id,
                changed,
                &mut || new_id(now),
                now,
            )?;
        }
        Ok(())
    })?;
    get(device, &stands.id)
}

/// Deletes a flight in every group that holds it.
pub fn delete(device: &mut Device, id: &str, now: Millis) -> Result<(), FlightError> {
    let id = resolve(device, id)?;
    let records = copies(device, &id)?;
    if records.is_empty() {
        return Err(FlightError::Unknown(id));
    }
    write(device, now, |connection| {
        for record in &records {
            store::delete(connection, record.compartment, &record.id)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// The full id that begins like this.
fn resolve(device: &Device, id: &str) -> Result<String, FlightError> {
    let id = id.trim().to_lowercase();
    let unknown = || FlightError::Unknown(id.clone());
    if id.len() < ID_PREFIX_MIN {
        return Err(unknown());
    }
    let compartments: Vec<CompartmentId> =
        contexts::readable_everywhere(device).into_keys().collect();
    let mut found = store::uids_beginning_with(device.connection(), &compartments, &id, 2)?;
    match (found.pop(), found.pop()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(FlightError::Ambiguous(id)),
        (None, _) => Err(unknown()),
    }
}

fn copies(device: &Device, id: &str) -> Result<Vec<Record<LoggedFlight>>, FlightError> {
    let compartments: Vec<CompartmentId> =
        contexts::readable_everywhere(device).into_keys().collect();
    Ok(store::copies(device.connection(), &compartments, id)?)
}

fn view_of(device: &Device, record: Record<LoggedFlight>) -> Result<FlightView, FlightError> {
    let readable = contexts::readable_everywhere(device);
    let compartments: Vec<CompartmentId> = readable.keys().copied().collect();
    let holding =
        store::compartments_of(device.connection(), &compartments, &record.value.flight_uid)?;
    let mut contexts: Vec<ContextId> = holding
        .iter()
        .filter_map(|compartment| readable.get(compartment).copied())
        .collect();
    contexts.sort_unstable();
    contexts.dedup();
    Ok(FlightView {
        id: record.value.flight_uid,
        contexts,
        pilot: record.value.pilot.user,
        updated_at: record.updated_at,
        flight: record.value.flight,
    })
}

fn compartments_of(device: &Device, query: &Query) -> Vec<CompartmentId> {
    match query.context {
        Some(context) => contexts::readable(device, &[context]),
        None => contexts::readable_everywhere(device),
    }
    .into_keys()
    .collect()
}

fn filter_of<'a>(query: &'a Query, compartments: &'a [CompartmentId]) -> Filter<'a> {
    Filter {
        compartments,
        pilot: query.pilot,
        from: query.from,
        to: query.until,
        tail: query.tail.as_deref(),
        text: query.search.as_deref(),
        ..Filter::default()
    }
}

/// Refuses what no flight can be; what already stood there, such as an odd import, is not held against an edit.
fn check(flight: &Flight, stands: Option<&Flight>, now: Millis) -> Result<(), FlightError> {
    let instant = Timestamp::from_millisecond(now.0 as i64).unwrap_or(Timestamp::MAX);
    let today = fields::latest_date(instant);
    let known = stands.map_or_else(Vec::new, |stands| fields::check(stands, today));
    let mut found = fields::check(flight, today);
    found.retain(|error| !known.contains(error));
    if found.is_empty() {
        Ok(())
    } else {
        Err(FlightError::Fields(found))
    }
}

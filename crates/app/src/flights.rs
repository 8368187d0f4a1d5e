//! The logbook: log a flight, look it up, change it, add flights up.
//!
//! A flight that stands in several groups is one flight here: it has one id, lists show it once, and a change is made to
//! all of its copies in one transaction. Rows are copies of one flight only if who logged it made them so (`proof`).

mod carry;
mod copies;
pub mod fields;
mod proof;

pub use carry::{carry_across, concerns_flights};

use std::collections::{BTreeMap, BTreeSet};

use aeroedge_aviation::logbook::{Flight, Totals};
use aeroedge_aviation_store::flights::{self as store, Change, Filter, LoggedFlight, Pilot, Place};
use aeroedge_aviation_store::{NewRow, Record, StoreError};
use aeroedge_device::Device;
use aeroedge_ids::{CompartmentId, ContextId, Millis, UserId};
use aeroedge_replica::StorageError;
use jiff::Timestamp;
use jiff::civil::Date;

use crate::contexts::{self, ContextError};
use crate::explain::{Explained, Kind};
use crate::write::{WriteError, new_id, write};
use copies::Found;
use fields::FieldError;
use proof::FlightKey;

/// A flight as it stands in the logbook.
#[derive(Debug, Clone, PartialEq)]
pub struct FlightView {
    /// The same in every group that holds a copy. With `@` and a compartment if another group has a flight of this id.
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
    /// The group does not hold the flight.
    #[error("the flight {id} does not stand in the group {group}")]
    NotThere {
        /// The flight.
        id: String,
        /// The group.
        group: ContextId,
    },
    /// The clocks of rows cannot be read.
    #[error("cannot read who changed the flight")]
    Engine(#[from] StorageError),
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
            Self::Unknown(_) | Self::NotThere { .. } => Kind::NotFound,
            Self::Ambiguous(_) | Self::Fields(_) => Kind::Invalid,
            Self::Engine(_) => Kind::Failure,
            Self::Context(error) => error.kind(),
            Self::Write(error) => error.kind(),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Unknown(_) => "see `aeroedge flight list`".to_owned(),
            Self::Ambiguous(_) => {
                "give more of the id, or name the group too, as in ID@GROUP".to_owned()
            }
            Self::NotThere { .. } => "see `aeroedge flight show`".to_owned(),
            Self::Engine(_) => "see `aeroedge doctor`".to_owned(),
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
    let mut flight = flight.clone();
    name_children(&mut flight, now);
    let key = (compartments.len() > 1).then(|| FlightKey::generate(&mut rand::rng()));
    let rows: Vec<(Place, LoggedFlight)> = compartments
        .into_iter()
        .map(|compartment| {
            let place = Place {
                compartment,
                id: new_id(now),
            };
            let entry = LoggedFlight {
                link: key.as_ref().map(|key| key.link(&place)),
                pilot: Pilot {
                    user: Some(user),
                    person_id: None,
                },
                import: None,
                flight: flight.clone(),
            };
            (place, entry)
        })
        .collect();
    write(device, now, |connection| {
        for (place, entry) in &rows {
            let row = NewRow {
                id: &place.id,
                compartment: place.compartment,
                created_by: Some(user),
                now,
            };
            store::insert(connection, row, entry, &mut || new_id(now))?;
        }
        Ok(())
    })?;
    let first = rows.into_iter().next();
    Ok(first
        .map(|(place, entry)| entry.link.map_or(place.id, |link| link.flight_uid))
        .unwrap_or_default())
}

/// What belongs to a flight has the same ids in all of its copies, so that edits of it can be carried.
fn name_children(flight: &mut Flight, now: Millis) {
    for approach in &mut flight.approaches {
        approach.id = Some(new_id(now));
    }
    for person in &mut flight.persons {
        person.id = Some(new_id(now));
    }
    for field in &mut flight.custom_fields {
        field.id = Some(new_id(now));
    }
}

/// How many flights there are, and some of them.
pub fn list(
    device: &Device,
    query: &Query,
    part: Part,
) -> Result<(u64, Vec<FlightView>), FlightError> {
    copies::settle_if_free(device);
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
        let readable = contexts::readable_everywhere(device);
        store::list(connection, &filter)?
            .into_iter()
            .map(|record| view_of(device, &readable, record))
            .collect::<Result<_, _>>()?
    };
    if part.oldest_first {
        views.reverse();
    }
    Ok((count, views))
}

/// What flights add up to.
pub fn totals(device: &Device, query: &Query) -> Result<Totals, FlightError> {
    copies::settle_if_free(device);
    let compartments = compartments_of(device, query);
    Ok(store::totals(
        device.connection(),
        &filter_of(query, &compartments),
    )?)
}

/// The flight that a person means, by its id or the beginning of it.
pub fn get(device: &Device, id: &str) -> Result<FlightView, FlightError> {
    copies::settle_if_free(device);
    shown(device, &copies::find(device, id)?)
}

/// Of several copies the latest edited one speaks for all.
fn shown(device: &Device, found: &Found) -> Result<FlightView, FlightError> {
    let latest = latest_of(device, found)?;
    view_of(device, &contexts::readable_everywhere(device), latest)
}

fn latest_of(device: &Device, found: &Found) -> Result<Record<LoggedFlight>, FlightError> {
    let mut records = Vec::new();
    for place in &found.copies {
        records.extend(store::get(
            device.connection(),
            place.compartment,
            &place.id,
        )?);
    }
    records
        .into_iter()
        .max_by(|one, other| {
            let order = |record: &Record<LoggedFlight>| {
                (record.updated_at, record.compartment, record.id.clone())
            };
            order(one).cmp(&order(other))
        })
        .ok_or_else(|| FlightError::Unknown(found.id.clone()))
}

/// Makes a flight this, in every group that holds it and lets this device write. Only what differs is written.
pub fn edit(
    device: &mut Device,
    id: &str,
    flight: &Flight,
    now: Millis,
) -> Result<FlightView, FlightError> {
    copies::settle(device)?;
    let found = copies::find(device, id)?;
    let stands = latest_of(device, &found)?;
    check(flight, Some(&stands.value.flight), now)?;
    let change = Change::new(&stands.value.flight, flight.clone(), &mut || new_id(now));
    let elsewhere = change.elsewhere();
    let readable = contexts::readable_everywhere(device);
    let is_here =
        |place: &Place| readable.get(&place.compartment) == readable.get(&stands.compartment);
    let (places, _) = writable(device, &found.copies);
    write(device, now, |connection| {
        for place in &places {
            let change = if is_here(place) { &change } else { &elsewhere };
            store::change(connection, place, change, now)?;
        }
        Ok(())
    })?;
    shown(device, &found)
}

/// Where a flight was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The flight.
    pub id: String,
    /// Groups that hold it no more.
    pub from: Vec<ContextId>,
    /// Groups that keep it: this device may not delete it there, or was not told to.
    pub kept: Vec<ContextId>,
}

/// Deletes a flight in every group that holds it and lets this device write, or in one of them only.
pub fn delete(
    device: &mut Device,
    id: &str,
    only: Option<ContextId>,
    now: Millis,
) -> Result<Deleted, FlightError> {
    copies::settle(device)?;
    let found = copies::find(device, id)?;
    let readable = contexts::readable_everywhere(device);
    let group_of = |place: &Place| readable.get(&place.compartment).copied();
    let (wanted, mut kept): (Vec<Place>, Vec<Place>) = found
        .copies
        .into_iter()
        .partition(|place| only.is_none() || group_of(place) == only);
    if let Some(group) = only
        && wanted.is_empty()
    {
        return Err(FlightError::NotThere {
            id: found.id,
            group,
        });
    }
    let (places, forbidden) = writable(device, &wanted);
    kept.extend(forbidden);
    write(device, now, |connection| {
        for place in &places {
            store::delete(connection, place.compartment, &place.id)?;
        }
        Ok(())
    })?;
    let groups = |places: &[Place]| -> Vec<ContextId> {
        let groups: BTreeSet<ContextId> = places.iter().filter_map(group_of).collect();
        groups.into_iter().collect()
    };
    Ok(Deleted {
        id: found.id,
        from: groups(&places),
        kept: groups(&kept),
    })
}

/// Looks at what changed, for who asks the records themselves which rows are copies. What fails here fails there again.
pub(crate) fn settle_copies(device: &Device) {
    let _ = copies::settle(device);
}

/// The copies that this device may write, and those that it may not. If it may write none, all are to be tried: the refusal
/// says why.
fn writable(device: &Device, copies: &[Place]) -> (Vec<Place>, Vec<Place>) {
    let (may, may_not): (Vec<Place>, Vec<Place>) = copies
        .iter()
        .cloned()
        .partition(|place| device.may_write("flight", place.compartment));
    if may.is_empty() {
        (may_not, may)
    } else {
        (may, may_not)
    }
}

fn view_of(
    device: &Device,
    readable: &BTreeMap<CompartmentId, ContextId>,
    record: Record<LoggedFlight>,
) -> Result<FlightView, FlightError> {
    let everywhere: Vec<CompartmentId> = readable.keys().copied().collect();
    let place = Place {
        compartment: record.compartment,
        id: record.id,
    };
    let found = copies::flight_of(device, &everywhere, &place)?;
    let contexts: BTreeSet<ContextId> = found
        .copies
        .iter()
        .filter_map(|place| readable.get(&place.compartment).copied())
        .collect();
    Ok(FlightView {
        id: found.id,
        contexts: contexts.into_iter().collect(),
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

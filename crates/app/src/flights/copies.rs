//! Which rows make one flight, and which flight a person means.
//!
//! Proofs are checked when rows change, wherever the change came from: the merge engine tells what changed since this was
//! last looked at, so a crash or another process in between makes no difference. Invariant: a row that was deleted and made
//! again is a flight of its own, whatever it says, for anybody in its group may have copied that from the old one.

use std::collections::BTreeMap;
use std::time::Duration;

use aeroedge_aviation_store::flights::Place;
use aeroedge_aviation_store::flights::links::{self, Claim};
use aeroedge_crdt::life::Life;
use aeroedge_device::Device;
use aeroedge_ids::{CompartmentId, ContextId};
use rusqlite::types::Value;

use super::{FlightError, proof};
use crate::contexts;

/// Fewest characters of an id that name a flight.
const ID_PREFIX_MIN: usize = 6;

/// More changed rows than this are looked at all together.
const CHANGES_MAX: usize = 100_000;

/// As long as no copy is concerned, so many versions go unnoted: looking at them again costs less than a write each.
pub(super) const UNNOTED_VERSIONS_MAX: u64 = 256;

/// Rows of flights that changed since a version.
#[derive(Debug)]
pub(super) struct Changed {
    /// Up to which version.
    pub(super) version: u64,
    /// The rows; none means any.
    pub(super) places: Option<Vec<Place>>,
}

/// What changed since a version; none if nothing did.
pub(super) fn changed_since(device: &Device, version: u64) -> Result<Option<Changed>, FlightError> {
    let now = device.version()?;
    if now == version {
        return Ok(None);
    }
    // A version that is yet to come is of another copy of the database.
    if version == 0 || version > now {
        return Ok(Some(Changed {
            version: now,
            places: None,
        }));
    }
    let rows = device.rows_since("flight", version, CHANGES_MAX)?;
    Ok(Some(Changed {
        version: rows.version,
        places: rows
            .keys
            .map(|keys| keys.iter().filter_map(|key| place_of(key)).collect()),
    }))
}

fn place_of(key: &[Value]) -> Option<Place> {
    match key {
        [Value::Text(id), Value::Blob(compartment)] => Some(Place {
            compartment: CompartmentId::try_from(compartment.as_slice()).ok()?,
            id: id.clone(),
        }),
        _ => None,
    }
}

/// The key of a row, as the merge engine takes it.
pub(super) fn key_of(place: &Place) -> [Value; 2] {
    [
        Value::Text(place.id.clone()),
        Value::Blob(place.compartment.0.to_vec()),
    ]
}

/// Checks the proofs of the rows that changed.
pub(super) fn settle(device: &Device) -> Result<(), FlightError> {
    let connection = device.connection();
    let known = links::progress(connection)?.proven;
    let Some(changed) = changed_since(device, known)? else {
        return Ok(());
    };
    let claims = links::claims(connection, changed.places.as_deref())?;
    if let Some(places) = &changed.places
        && claims.is_empty()
        && changed.version - known < UNNOTED_VERSIONS_MAX
        && !links::knows_any(connection, places)?
    {
        return Ok(());
    }
    let mut holding = Vec::new();
    for claim in claims {
        if holds(device, &claim)? {
            holding.push(claim);
        }
    }
    links::remember(
        connection,
        changed.places.as_deref(),
        &holding,
        changed.version,
    )?;
    Ok(())
}

fn holds(device: &Device, claim: &Claim) -> Result<bool, FlightError> {
    let stamps = device.row_stamps("flight", &key_of(&claim.place))?;
    Ok(stamps.is_some_and(|stamps| stamps.life == Life::FIRST)
        && (links::is_remembered(device.connection(), claim)? || proof::holds(claim)))
}

/// As [`settle`], for who only reads: does not wait for another process that writes, and is content with what was settled
/// before. Copies that nobody looked at yet are then flights of their own for a moment.
pub(super) fn settle_if_free(device: &Device) {
    let connection = device.connection();
    let patience = connection.query_row("PRAGMA busy_timeout", [], |row| row.get::<_, u32>(0));
    let Ok(patience) = patience else { return };
    if connection.busy_timeout(Duration::ZERO).is_ok() {
        // What cannot be read or written now will be told by what is asked for.
        let _ = settle(device);
    }
    let _ = connection.busy_timeout(Duration::from_millis(patience.into()));
}

/// A flight and where it stands.
#[derive(Debug)]
pub(super) struct Found {
    /// Under which id it is found again.
    pub(super) id: String,
    /// Its copies, or the one row that it is.
    pub(super) copies: Vec<Place>,
}

/// The flight that a person means by an id, the beginning of one, or either with `@` and a group.
pub(super) fn find(device: &Device, text: &str) -> Result<Found, FlightError> {
    let text = text.trim().to_lowercase();
    let unknown = || FlightError::Unknown(text.clone());
    let ambiguous = || FlightError::Ambiguous(text.clone());
    let readable = contexts::readable_everywhere(device);
    let everywhere: Vec<CompartmentId> = readable.keys().copied().collect();
    let (id, within) = match text.split_once('@') {
        None => (text.as_str(), everywhere.clone()),
        Some((id, group)) => (id, compartments_named(device, &readable, group)?),
    };
    if id.len() < ID_PREFIX_MIN {
        return Err(unknown());
    }
    let connection = device.connection();
    // An exact match sorts before all that only begin like it.
    let copied = links::uids_beginning_with(connection, &within, id, 2)?;
    let single = links::single_rows_beginning_with(connection, &within, id, 2)?;
    if let Some(uid) = copied.iter().find(|uid| *uid == id) {
        // Nobody else can have this id, whatever their rows are called.
        return copied_flight(device, &everywhere, uid);
    }
    let exact = single.iter().filter(|place| place.id == id).count();
    match (&single[..], &copied[..]) {
        ([place, ..], _) if exact == 1 => single_flight(device, &everywhere, place),
        ([place], []) => single_flight(device, &everywhere, place),
        ([], [uid]) => copied_flight(device, &everywhere, uid),
        ([], []) => Err(unknown()),
        _ => Err(ambiguous()),
    }
}

fn compartments_named(
    device: &Device,
    readable: &BTreeMap<CompartmentId, ContextId>,
    group: &str,
) -> Result<Vec<CompartmentId>, FlightError> {
    if let Some(compartment) = readable.keys().find(|known| known.to_string() == group) {
        return Ok(vec![*compartment]);
    }
    let context = contexts::resolve(device, group)?;
    Ok(contexts::readable(device, &[context]).into_keys().collect())
}

fn copied_flight(
    device: &Device,
    everywhere: &[CompartmentId],
    uid: &str,
) -> Result<Found, FlightError> {
    Ok(Found {
        id: uid.to_owned(),
        copies: links::copies_of(device.connection(), everywhere, uid)?,
    })
}

fn single_flight(
    device: &Device,
    everywhere: &[CompartmentId],
    place: &Place,
) -> Result<Found, FlightError> {
    // An id is a row's own only inside its group: who has two rows of one id is told them apart.
    let id = if links::shares_its_id(device.connection(), everywhere, place)? {
        format!("{}@{}", place.id, place.compartment)
    } else {
        place.id.clone()
    };
    Ok(Found {
        id,
        copies: vec![place.clone()],
    })
}

/// The flight to which a row belongs.
pub(super) fn flight_of(
    device: &Device,
    everywhere: &[CompartmentId],
    place: &Place,
) -> Result<Found, FlightError> {
    match links::uid_of(device.connection(), place)? {
        Some(uid) => copied_flight(device, everywhere, &uid),
        None => single_flight(device, everywhere, place),
    }
}

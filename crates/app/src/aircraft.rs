//! The aircraft of a logbook or a fleet.

use aeroedge_aviation::logbook::Aircraft;
use aeroedge_aviation_store::{NewRow, StoreError, aircraft as store};
use aeroedge_device::Device;
use aeroedge_ids::{CompartmentId, ContextId, Millis};

use crate::contexts::{self, ContextError};
use crate::explain::{Explained, Kind};
use crate::write::{WriteError, new_id, write};

/// Longest tail number or name of a training device.
const TAIL_LENGTH_MAX: usize = 40;

/// An aircraft of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct AircraftView {
    /// Its id.
    pub id: String,
    /// The group it belongs to.
    pub context: ContextId,
    /// What is known of it.
    pub aircraft: Aircraft,
}

/// Something about an aircraft could not be done.
#[derive(Debug, thiserror::Error)]
pub enum AircraftError {
    /// Empty or too long.
    #[error("a tail number has 1 to {TAIL_LENGTH_MAX} characters")]
    Tail,
    /// It is there already.
    #[error("{0} is in this fleet already")]
    Known(String),
    /// The group.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<StoreError> for AircraftError {
    fn from(error: StoreError) -> Self {
        Self::Write(error.into())
    }
}

impl Explained for AircraftError {
    fn kind(&self) -> Kind {
        match self {
            Self::Tail => Kind::Invalid,
            Self::Known(_) => Kind::Refused,
            Self::Context(error) => error.kind(),
            Self::Write(error) => error.kind(),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Tail => "write it as it stands on the aircraft, such as N738VU".to_owned(),
            Self::Known(_) => "see `aeroedge aircraft list`".to_owned(),
            Self::Context(error) => error.advice(),
            Self::Write(error) => error.advice(),
        }
    }
}

/// Adds an aircraft to a group, or to the personal logbook. Returns its id.
pub fn add(
    device: &mut Device,
    group: Option<ContextId>,
    aircraft: &Aircraft,
    now: Millis,
) -> Result<String, AircraftError> {
    let tail = aircraft.tail.trim().to_uppercase();
    if tail.is_empty() || tail.chars().count() > TAIL_LENGTH_MAX {
        return Err(AircraftError::Tail);
    }
    let group = match group {
        Some(group) => group,
        None => contexts::personal(device)?,
    };
    let compartment = contexts::compartment_for(device, group, "aircraft")?;
    if store::find_by_tail(device.connection(), compartment, &tail)?.is_some() {
        return Err(AircraftError::Known(tail));
    }
    let aircraft = Aircraft {
        tail,
        ..aircraft.clone()
    };
    let user = device.user();
    let id = new_id(now);
    write(device, now, |connection| {
        let row = NewRow {
            id: &id,
            compartment,
            created_by: Some(user),
            now,
        };
        store::insert(connection, row, &aircraft, &mut || new_id(now))
    })?;
    Ok(id)
}

/// The aircraft of one group, or of all, by tail.
pub fn list(device: &Device, group: Option<ContextId>) -> Result<Vec<AircraftView>, AircraftError> {
    let readable = match group {
        Some(group) => contexts::readable(device, &[group]),
        None => contexts::readable_everywhere(device),
    };
    let compartments: Vec<CompartmentId> = readable.keys().copied().collect();
    let records = store::list(device.connection(), &compartments)?;
    Ok(records
        .into_iter()
        .filter_map(|record| {
            Some(AircraftView {
                context: *readable.get(&record.compartment)?,
                id: record.id,
                aircraft: record.value,
            })
        })
        .collect())
}

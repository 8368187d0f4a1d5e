//! One transaction of the application: rows and sealed entries together, or neither.

use aeroedge_aviation_store::StoreError;
use aeroedge_device::{Device, FoundError, WriteError as DeviceWriteError};
use aeroedge_ids::{ContextId, Millis};
use aeroedge_log::compartment::Division;
use rusqlite::Connection;

use crate::contexts::ContextError;
use crate::explain::{Explained, Kind, with_causes};

/// Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The records.
    #[error("cannot {0}")]
    Records(#[from] StoreError),
    /// Others would not accept it, or the database failed.
    #[error(transparent)]
    Device(DeviceWriteError<StoreError>),
}

impl From<DeviceWriteError<StoreError>> for WriteError {
    fn from(error: DeviceWriteError<StoreError>) -> Self {
        match error {
            DeviceWriteError::Application(error) => Self::Records(error),
            other => Self::Device(other),
        }
    }
}

impl Explained for WriteError {
    fn kind(&self) -> Kind {
        match self {
            Self::Records(StoreError::NotFound { .. }) => Kind::NotFound,
            Self::Records(StoreError::Patch { .. }) => Kind::Invalid,
            Self::Device(DeviceWriteError::Refused(_)) => Kind::Refused,
            Self::Records(_) | Self::Device(_) => Kind::Failure,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Records(StoreError::Sqlite(_)) | Self::Device(DeviceWriteError::Storage(_)) => {
                let text = with_causes(self);
                if text.contains("full") {
                    "make room on this disk and try again; nothing was changed".to_owned()
                } else {
                    "nothing was changed; see `aeroedge doctor`".to_owned()
                }
            }
            Self::Records(_) | Self::Device(_) => "nothing was changed".to_owned(),
        }
    }
}

/// Runs `change` in one transaction of the device.
pub(crate) fn write<T>(
    device: &mut Device,
    now: Millis,
    change: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, WriteError> {
    Ok(device.write(now, &mut rand::rng(), |transaction| change(transaction))?)
}

/// Founds a group together with the first records in it.
pub(crate) fn found(
    device: &mut Device,
    division: Division,
    purpose: &str,
    now: Millis,
    records: impl FnOnce(&Connection, ContextId) -> Result<(), StoreError>,
) -> Result<ContextId, ContextError> {
    let founded = device.found_context(
        division,
        purpose,
        now,
        &mut rand::rng(),
        |transaction, id| records(transaction, id),
    );
    match founded {
        Ok((id, ())) => Ok(id),
        Err(FoundError::Membership(error)) => Err(error.into()),
        Err(FoundError::Records(error)) => Err(WriteError::from(error).into()),
    }
}

/// Makes a new row id, in the order of time.
pub(crate) fn new_id(now: Millis) -> String {
    let seconds = now.0 / 1000;
    let nanoseconds = (now.0 % 1000) as u32 * 1_000_000;
    let moment = uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanoseconds);
    uuid::Uuid::new_v7(moment).to_string()
}

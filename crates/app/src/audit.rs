//! Who changed a row, when and what: read from the signed logs, not from the tables.

use std::collections::BTreeSet;

use aeroedge_aviation_store::flights::links;
use aeroedge_device::{Device, DeviceError, RevisionKind};
use aeroedge_ids::{CompartmentId, ContextId, Millis, UserId, WriterKey};
use rusqlite::types::Value;

use crate::contexts::{self, ContextError};
use crate::explain::{Explained, Kind};
use crate::flights::settle_copies;
use crate::standing::json_of;

/// Fewest characters of an id that name a row.
const ID_PREFIX_MIN: usize = 6;

/// The history of a row could not be told.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Not a table that merges.
    #[error("there is no table {0:?} with a history")]
    Table(String),
    /// No such row, now or ever.
    #[error("there is no row {id:?} in the history of {table}")]
    Unknown {
        /// The table.
        table: String,
        /// What was asked for.
        id: String,
    },
    /// Several rows begin like this.
    #[error("more than one row has an id that begins with {0:?}")]
    Ambiguous(String),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The groups.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The records.
    #[error(transparent)]
    Records(#[from] aeroedge_aviation_store::StoreError),
}

impl Explained for AuditError {
    fn kind(&self) -> Kind {
        match self {
            Self::Table(_) | Self::Unknown { .. } => Kind::NotFound,
            Self::Ambiguous(_) => Kind::Invalid,
            Self::Context(error) => error.kind(),
            Self::Device(_) | Self::Records(_) => Kind::Failure,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Table(_) => "try flight or aircraft".to_owned(),
            Self::Unknown { .. } => "see `aeroedge flight list`".to_owned(),
            Self::Ambiguous(_) => "give more of the id".to_owned(),
            Self::Context(error) => error.advice(),
            Self::Device(_) | Self::Records(_) => "see `aeroedge doctor`".to_owned(),
        }
    }
}

/// One change of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The group.
    pub context: ContextId,
    /// When, by the writer's clock.
    pub at: Millis,
    /// Who, if the membership history knows.
    pub user: Option<UserId>,
    /// What they are called.
    pub name: Option<String>,
    /// The log it stands in.
    pub writer: WriterKey,
    /// Its number there.
    pub seq: u64,
    /// The fields written; `None` if the row was deleted.
    pub fields: Option<Vec<(String, serde_json::Value)>>,
    /// Why it does not count, if it does not.
    pub refused: Option<String>,
}

/// Every change of a row, the first one first. A flight is named by its id; all of its copies are told.
pub fn history(
    device: &Device,
    table: &str,
    id: &str,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<Change>, AuditError> {
    if aeroedge_aviation_store::tables::merged(table).is_none() {
        return Err(AuditError::Table(table.to_owned()));
    }
    let id = id.trim().to_lowercase();
    // A list may name the compartment too, where two rows have one id.
    let id = id.split('@').next().unwrap_or_default().to_owned();
    let unknown = || AuditError::Unknown {
        table: table.to_owned(),
        id: id.clone(),
    };
    if id.len() < ID_PREFIX_MIN {
        return Err(unknown());
    }
    let rows = if table == "flight" {
        rows_of_flight(device, &id)?
    } else {
        BTreeSet::new()
    };
    let is_wanted = |key: &[Value]| {
        key.iter().any(|value| match value {
            Value::Text(text) if rows.is_empty() => text.starts_with(&id),
            Value::Text(text) => rows.contains(text),
            _ => false,
        })
    };
    let all: Vec<ContextId> = device.contexts().iter().map(|context| context.id).collect();
    let names = contexts::names(device, &all)?;
    let changes: Vec<Change> = device
        .history_of(table, &is_wanted, progress)?
        .into_iter()
        .map(|revision| Change {
            context: revision.context,
            at: revision.hlc.time(),
            user: revision.user,
            name: revision.user.and_then(|user| names.get(&user).cloned()),
            writer: revision.writer,
            seq: revision.seq.0,
            fields: match revision.kind {
                RevisionKind::Deleted => None,
                RevisionKind::Written(fields) => Some(
                    fields
                        .into_iter()
                        .map(|(column, value)| (column, json_of(&value)))
                        .collect(),
                ),
            },
            refused: revision.refused,
        })
        .collect();
    if changes.is_empty() {
        return Err(unknown());
    }
    Ok(changes)
}

/// The rows of all copies of the flight whose id begins like this; none if it is not there any more, or stands in one group
/// and is named by its row.
fn rows_of_flight(device: &Device, id: &str) -> Result<BTreeSet<String>, AuditError> {
    settle_copies(device);
    let compartments: Vec<CompartmentId> =
        contexts::readable_everywhere(device).into_keys().collect();
    let connection = device.connection();
    let mut found = links::uids_beginning_with(connection, &compartments, id, 2)?;
    let Some(uid) = found.pop() else {
        return Ok(BTreeSet::new());
    };
    if !found.is_empty() {
        return Err(AuditError::Ambiguous(id.to_owned()));
    }
    Ok(links::copies_of(connection, &compartments, &uid)?
        .into_iter()
        .map(|place| place.id)
        .collect())
}

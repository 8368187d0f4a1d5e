//! How this device stands with the others, as far as its own database knows.

use std::collections::BTreeMap;

use aeroedge_device::{Device, DeviceError};
use aeroedge_ids::{CompartmentId, ContextId, Millis, UserId, WriterKey};
use aeroedge_replica::{Conflict, ConflictFilter, StorageError};
use data_encoding::HEXLOWER;
use rusqlite::types::Value;
use sha2::{Digest, Sha256};

use crate::contexts::{self, ContextError};
use crate::explain::{Explained, Kind};

/// The standing could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The merge engine.
    #[error("cannot read what the merge engine keeps")]
    Engine(#[from] StorageError),
    /// The groups.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The records.
    #[error(transparent)]
    Records(#[from] aeroedge_aviation_store::StoreError),
}

impl Explained for StandingError {
    fn kind(&self) -> Kind {
        match self {
            Self::Context(error) => error.kind(),
            Self::Device(_) | Self::Engine(_) | Self::Records(_) => Kind::Failure,
        }
    }

    fn advice(&self) -> String {
        "see `aeroedge doctor`".to_owned()
    }
}

/// How one group stands.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The group.
    pub id: ContextId,
    /// Its name.
    pub name: Option<String>,
    /// Entries in the tables.
    pub merged: u64,
    /// Entries stored that wait for something.
    pub waiting: u64,
    /// Entries that do not count.
    pub refused: u64,
    /// Values without a place in this program.
    pub quarantined: u64,
    /// Values overruled by a concurrent edit.
    pub conflicts: u64,
    /// What waits and why, one sentence each.
    pub notices: Vec<String>,
}

/// How every group stands.
pub fn counts(device: &mut Device) -> Result<Vec<Standing>, StandingError> {
    let mut standings: Vec<Standing> = contexts::list(device)?
        .into_iter()
        .map(|view| Standing {
            id: view.id,
            name: view.name,
            merged: 0,
            waiting: 0,
            refused: 0,
            quarantined: 0,
            conflicts: 0,
            notices: Vec::new(),
        })
        .collect();
    let of_compartment = contexts::readable_everywhere(device);
    let all: Vec<ContextId> = standings.iter().map(|standing| standing.id).collect();
    let names = contexts::names(device, &all)?;
    for compartment in device.status()? {
        let Some(standing) = standings
            .iter_mut()
            .find(|standing| standing.id == compartment.context)
        else {
            continue;
        };
        for log in compartment.logs {
            standing.merged += log.merged.0;
            standing.waiting += log.vouched.0.saturating_sub(log.merged.0);
            standing.refused += log.refused.len() as u64;
            let who = log
                .user
                .and_then(|user| names.get(&user).cloned())
                .unwrap_or_else(|| "somebody".to_owned());
            standing.notices.extend(
                log.waiting
                    .map(|waiting| format!("a change by {who} waits: {waiting}")),
            );
            let reason = log.refused.first();
            standing.notices.extend(
                reason.map(|(_, reason)| format!("a change by {who} was refused: {reason}")),
            );
        }
    }
    let mut add = |key: &[Value], count: fn(&mut Standing) -> &mut u64| {
        let context = compartment_in(key).and_then(|found| of_compartment.get(&found));
        let standing = standings
            .iter_mut()
            .find(|standing| Some(&standing.id) == context);
        if let Some(standing) = standing {
            *count(standing) += 1;
        }
    };
    for conflict in device.conflicts(ConflictFilter::default())? {
        add(&conflict.key, |standing| &mut standing.conflicts);
    }
    for quarantined in device.quarantined()? {
        add(&quarantined.key, |standing| &mut standing.quarantined);
    }
    Ok(standings)
}

/// A digest over every row of a group and over how far each log is merged: equal on devices that hold the same.
pub fn digest(device: &Device, context: ContextId) -> Result<String, StandingError> {
    let compartments: Vec<CompartmentId> =
        contexts::readable(device, &[context]).into_keys().collect();
    let mut hasher = Sha256::new();
    aeroedge_aviation_store::digest::visit_rows(
        device.connection(),
        &compartments,
        &mut |bytes| hasher.update(bytes),
    )?;
    let mut positions: BTreeMap<(CompartmentId, WriterKey), u64> = BTreeMap::new();
    for compartment in device.status()? {
        if compartment.context == context {
            for log in compartment.logs.iter().filter(|log| log.merged.0 > 0) {
                positions.insert((compartment.id, log.writer), log.merged.0);
            }
        }
    }
    for ((compartment, writer), merged) in positions {
        hasher.update(compartment.0);
        hasher.update(writer.0);
        hasher.update(merged.to_be_bytes());
    }
    Ok(HEXLOWER.encode(&hasher.finalize()))
}

/// A field that several people gave a value without knowing of each other.
#[derive(Debug, Clone, PartialEq)]
pub struct ConflictView {
    /// The table.
    pub table: String,
    /// Id of the row.
    pub row: String,
    /// The column.
    pub column: String,
    /// What stands.
    pub stands: Side,
    /// What was overruled.
    pub overruled: Vec<Side>,
}

/// One of the values.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    /// The value; bytes as hexadecimal text.
    pub value: serde_json::Value,
    /// Who wrote it.
    pub user: Option<UserId>,
    /// What they are called.
    pub name: Option<String>,
    /// When, by their clock.
    pub written_at: Option<Millis>,
}

/// All conflicts, and some of them in full.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conflicts {
    /// How many fields.
    pub count: u64,
    /// At most as many as were asked for.
    pub conflicts: Vec<ConflictView>,
}

/// What was edited by several at once.
pub fn conflicts(device: &mut Device, limit: usize) -> Result<Conflicts, StandingError> {
    let found = device.conflicts(ConflictFilter::default())?;
    let device = &*device;
    let of_compartment = contexts::readable_everywhere(device);
    let all: Vec<ContextId> = device.contexts().iter().map(|context| context.id).collect();
    let names = contexts::names(device, &all)?;
    let side =
        |context: Option<ContextId>, value: &Value, stamp: Option<aeroedge_crdt::hlc::Stamp>| {
            let user = stamp
                .zip(context)
                .and_then(|(stamp, context)| device.user_of(context, stamp.writer));
            Side {
                value: json_of(value),
                user,
                name: user.and_then(|user| names.get(&user).cloned()),
                written_at: stamp.map(|stamp| stamp.hlc.time()),
            }
        };
    let mut views: Vec<(Vec<Value>, ConflictView)> = Vec::new();
    for conflict in found {
        let context = compartment_in(&conflict.key)
            .and_then(|compartment| of_compartment.get(&compartment))
            .copied();
        let overruled = side(context, &conflict.losing, Some(conflict.losing_stamp));
        let same = |(key, view): &&mut (Vec<Value>, ConflictView)| {
            *key == conflict.key && view.table == conflict.table && view.column == conflict.column
        };
        if let Some((_, view)) = views.iter_mut().find(same) {
            view.overruled.push(overruled);
            continue;
        }
        let winning = conflict.winning.clone().unwrap_or(Value::Null);
        let view = ConflictView {
            row: row_of(&conflict),
            stands: side(context, &winning, conflict.winning_stamp),
            overruled: vec![overruled],
            table: conflict.table,
            column: conflict.column,
        };
        views.push((conflict.key, view));
    }
    Ok(Conflicts {
        count: views.len() as u64,
        conflicts: views
            .into_iter()
            .take(limit)
            .map(|(_, view)| view)
            .collect(),
    })
}

/// Every key of the product is an id and a compartment.
fn compartment_in(key: &[Value]) -> Option<CompartmentId> {
    key.iter().find_map(|value| match value {
        Value::Blob(bytes) => CompartmentId::try_from(bytes.as_slice()).ok(),
        _ => None,
    })
}

fn row_of(conflict: &Conflict) -> String {
    conflict
        .key
        .iter()
        .find_map(|value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
        .unwrap_or_default()
}

/// A value of a table as JSON; bytes as hexadecimal text.
pub(crate) fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Integer(number) => (*number).into(),
        Value::Real(number) => (*number).into(),
        Value::Text(text) => text.clone().into(),
        Value::Blob(bytes) => HEXLOWER.encode(bytes).into(),
    }
}

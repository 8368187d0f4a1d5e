//! Which entries a person means, and where they stand.

use aeroedge_ids::CompartmentId;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::row::StoreError;

/// The ids, shared by the copies of an entry, that begin like this; at most `limit`.
pub fn uids_beginning_with(
    conn: &Connection,
    compartments: &[CompartmentId],
    beginning: &str,
    limit: u32,
) -> Result<Vec<String>, StoreError> {
    let sql = format!(
        "SELECT DISTINCT flight_uid FROM flight
         WHERE flight_uid >= ? AND flight_uid < ? AND compartment_id IN ({})
         ORDER BY flight_uid LIMIT ?",
        places(compartments)
    );
    // What begins like this sorts from it to just before its last character raised by the largest one there is.
    let bounds = [
        Value::Text(beginning.to_owned()),
        Value::Text(format!("{beginning}\u{10ffff}")),
    ];
    let values = bounds
        .into_iter()
        .chain(blobs(compartments))
        .chain([Value::Integer(i64::from(limit))]);
    let mut statement = conn.prepare_cached(&sql)?;
    let found = statement.query_map(params_from_iter(values), |row| row.get(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Which of these compartments hold a copy of the entry.
pub fn compartments_of(
    conn: &Connection,
    compartments: &[CompartmentId],
    flight_uid: &str,
) -> Result<Vec<CompartmentId>, StoreError> {
    let sql = format!(
        "SELECT compartment_id FROM flight WHERE flight_uid = ? AND compartment_id IN ({})",
        places(compartments)
    );
    let values = std::iter::once(Value::Text(flight_uid.to_owned())).chain(blobs(compartments));
    let mut statement = conn.prepare_cached(&sql)?;
    let found = statement.query_map(params_from_iter(values), |row| {
        row.get(0).map(CompartmentId)
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn places(compartments: &[CompartmentId]) -> String {
    vec!["?"; compartments.len()].join(", ")
}

fn blobs(compartments: &[CompartmentId]) -> impl Iterator<Item = Value> {
    compartments
        .iter()
        .map(|compartment| Value::Blob(compartment.0.to_vec()))
}

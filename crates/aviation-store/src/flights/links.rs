//! Which rows are copies of one flight, as this device remembers it, so that lists need not check signatures.
//!
//! Invariant: a row is a copy only as long as it still says what was proven; being remembered alone makes none. The memory
//! never leaves this device and can be made anew from the rows.

use std::collections::BTreeSet;

use aeroedge_ids::CompartmentId;
use rusqlite::types::Value;
use rusqlite::{
    Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params_from_iter,
};

use crate::row::StoreError;

/// Where a row stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its compartment.
    pub compartment: CompartmentId,
    /// Its id, which is its own only inside the compartment.
    pub id: String,
}

/// Makes a row a copy of a flight, if its proof holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Shared by the copies of one flight in several contexts.
    pub flight_uid: String,
    /// That the row was made a copy of it by who made the others.
    pub proof: Vec<u8>,
}

/// A row that says it is a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The row.
    pub place: Place,
    /// What it says.
    pub link: Link,
}

/// Up to which version of the merge engine changes were looked at; 0 is never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// For proofs.
    pub proven: u64,
    /// For carrying them to the other copies.
    pub carried: u64,
}

/// What was looked at so far.
pub fn progress(conn: &Connection) -> Result<Progress, StoreError> {
    let found = conn
        .prepare_cached("SELECT proven, carried FROM flight_copy_progress WHERE id = 1")?
        .query_row([], |row| {
            Ok(Progress {
                proven: row.get::<_, i64>(0)? as u64,
                carried: row.get::<_, i64>(1)? as u64,
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Notes that the changes up to a version were carried.
pub fn note_carried(conn: &Connection, version: u64) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO flight_copy_progress (id, proven, carried) VALUES (1, 0, ?1)
         ON CONFLICT (id) DO UPDATE SET carried = excluded.carried",
    )?
    .execute([version as i64])?;
    Ok(())
}

/// Which of these rows, or of all rows, say that they are copies.
pub fn claims(conn: &Connection, places: Option<&[Place]>) -> Result<Vec<Claim>, StoreError> {
    const COLUMNS: &str = "SELECT compartment_id, id, flight_uid, flight_proof FROM flight";
    let mut claims = Vec::new();
    match places {
        None => {
            let sql = format!("{COLUMNS} WHERE flight_uid > '' AND flight_proof IS NOT NULL");
            let mut statement = conn.prepare_cached(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                claims.extend(claim(row));
            }
        }
        Some(places) => {
            let sql = format!("{COLUMNS} WHERE id = ?1 AND compartment_id = ?2");
            let mut statement = conn.prepare_cached(&sql)?;
            for place in places {
                let mut rows = statement.query((&place.id, place.compartment.0))?;
                while let Some(row) = rows.next()? {
                    claims.extend(claim(row));
                }
            }
        }
    }
    Ok(claims)
}

/// None if the row claims nothing, or something of the wrong type.
fn claim(row: &Row<'_>) -> Option<Claim> {
    Some(Claim {
        place: place(row).ok()?,
        link: Link {
            flight_uid: row.get(2).ok()?,
            proof: row.get(3).ok()?,
        },
    })
}

fn place(row: &Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place {
        compartment: CompartmentId(row.get(0)?),
        id: row.get(1)?,
    })
}

/// Whether just this claim is remembered to hold.
pub fn is_remembered(conn: &Connection, claim: &Claim) -> Result<bool, StoreError> {
    let Claim { place, link } = claim;
    Ok(conn
        .prepare_cached(
            "SELECT 1 FROM flight_copy
             WHERE flight_id = ?1 AND compartment_id = ?2 AND flight_uid = ?3 AND flight_proof = ?4",
        )?
        .exists((
            &place.id,
            place.compartment.0,
            &link.flight_uid,
            &link.proof,
        ))?)
}

/// Whether anything is remembered of one of these rows.
pub fn knows_any(conn: &Connection, places: &[Place]) -> Result<bool, StoreError> {
    let mut statement = conn
        .prepare_cached("SELECT 1 FROM flight_copy WHERE flight_id = ?1 AND compartment_id = ?2")?;
    for place in places {
        if statement.exists((&place.id, place.compartment.0))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Forgets what was known of these rows, or of all, and remembers which claims hold as of a version. All or nothing.
pub fn remember(
    conn: &Connection,
    changed: Option<&[Place]>,
    holding: &[Claim],
    version: u64,
) -> Result<(), StoreError> {
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    match changed {
        None => {
            transaction.execute("DELETE FROM flight_copy", [])?;
        }
        Some(places) => {
            let mut forget = transaction.prepare_cached(
                "DELETE FROM flight_copy WHERE flight_id = ?1 AND compartment_id = ?2",
            )?;
            for place in places {
                forget.execute((&place.id, place.compartment.0))?;
            }
        }
    }
    {
        let mut keep = transaction.prepare_cached(
            "INSERT OR REPLACE INTO flight_copy (flight_id, compartment_id, flight_uid, flight_proof)
             VALUES (?1, ?2, ?3, ?4)",
        )?;
        for Claim { place, link } in holding {
            keep.execute((
                &place.id,
                place.compartment.0,
                &link.flight_uid,
                &link.proof,
            ))?;
        }
        transaction
            .prepare_cached(
                "INSERT INTO flight_copy_progress (id, proven, carried) VALUES (1, ?1, 0)
                 ON CONFLICT (id) DO UPDATE SET proven = excluded.proven",
            )?
            .execute([version as i64])?;
    }
    transaction.commit()?;
    Ok(())
}

/// The flights of which these rows, or any rows, are copies.
pub fn uids_of(
    conn: &Connection,
    places: Option<&[Place]>,
) -> Result<BTreeSet<String>, StoreError> {
    let Some(places) = places else {
        let mut statement = conn.prepare_cached("SELECT DISTINCT flight_uid FROM flight_copy")?;
        let found = statement.query_map([], |row| row.get(0))?;
        return Ok(found.collect::<Result<_, _>>()?);
    };
    let mut uids = BTreeSet::new();
    for place in places {
        uids.extend(uid_of(conn, place)?);
    }
    Ok(uids)
}

/// The flight of which this row is a copy, if it is one.
pub fn uid_of(conn: &Connection, place: &Place) -> Result<Option<String>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT known.flight_uid FROM flight_copy AS known
             JOIN flight ON flight.id = known.flight_id AND flight.compartment_id = known.compartment_id
               AND flight.flight_uid = known.flight_uid
             WHERE known.flight_id = ?1 AND known.compartment_id = ?2",
        )?
        .query_row((&place.id, place.compartment.0), |row| row.get(0))
        .optional()?)
}

/// The copies of a flight in these compartments.
pub fn copies_of(
    conn: &Connection,
    compartments: &[CompartmentId],
    flight_uid: &str,
) -> Result<Vec<Place>, StoreError> {
    let sql = format!(
        "SELECT flight.compartment_id, flight.id FROM flight_copy AS known
         JOIN flight ON flight.id = known.flight_id AND flight.compartment_id = known.compartment_id
           AND flight.flight_uid = known.flight_uid
         WHERE known.flight_uid = ? AND known.compartment_id IN ({})
         ORDER BY flight.compartment_id, flight.id",
        places(compartments)
    );
    let values = std::iter::once(Value::Text(flight_uid.to_owned())).chain(blobs(compartments));
    let mut statement = conn.prepare_cached(&sql)?;
    let found = statement.query_map(params_from_iter(values), place)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The ids, shared by copies in these compartments, that begin like this; at most `limit`.
pub fn uids_beginning_with(
    conn: &Connection,
    compartments: &[CompartmentId],
    beginning: &str,
    limit: u32,
) -> Result<Vec<String>, StoreError> {
    let sql = format!(
        "SELECT DISTINCT known.flight_uid FROM flight_copy AS known
         JOIN flight ON flight.id = known.flight_id AND flight.compartment_id = known.compartment_id
           AND flight.flight_uid = known.flight_uid
         WHERE known.flight_uid >= ? AND known.flight_uid < ? AND known.compartment_id IN ({})
         ORDER BY known.flight_uid LIMIT ?",
        places(compartments)
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let values = beginning_values(compartments, beginning, limit);
    let found = statement.query_map(params_from_iter(values), |row| row.get(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The rows in these compartments that are no copies and whose id begins like this; at most `limit`.
pub fn single_rows_beginning_with(
    conn: &Connection,
    compartments: &[CompartmentId],
    beginning: &str,
    limit: u32,
) -> Result<Vec<Place>, StoreError> {
    let sql = format!(
        "SELECT flight.compartment_id, flight.id FROM flight
         WHERE flight.id >= ? AND flight.id < ? AND flight.compartment_id IN ({})
           AND NOT EXISTS (
             SELECT 1 FROM flight_copy AS known
             WHERE known.flight_id = flight.id AND known.compartment_id = flight.compartment_id
               AND known.flight_uid = flight.flight_uid
           )
         ORDER BY flight.id, flight.compartment_id LIMIT ?",
        places(compartments)
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let values = beginning_values(compartments, beginning, limit);
    let found = statement.query_map(params_from_iter(values), place)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Whether another row or flight in these compartments has the id of this row.
pub fn shares_its_id(
    conn: &Connection,
    compartments: &[CompartmentId],
    place: &Place,
) -> Result<bool, StoreError> {
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM flight WHERE id = ? AND compartment_id <> ? AND compartment_id IN ({in_these}))
             OR EXISTS (SELECT 1 FROM flight_copy WHERE flight_uid = ? AND compartment_id IN ({in_these}))",
        in_these = places(compartments)
    );
    let id = Value::Text(place.id.clone());
    let values = [id.clone(), Value::Blob(place.compartment.0.to_vec())]
        .into_iter()
        .chain(blobs(compartments))
        .chain([id])
        .chain(blobs(compartments));
    Ok(conn
        .prepare_cached(&sql)?
        .query_row(params_from_iter(values), |row| row.get(0))?)
}

/// What begins like this sorts from it to just before its last character raised by the largest one there is.
fn beginning_values(
    compartments: &[CompartmentId],
    beginning: &str,
    limit: u32,
) -> impl Iterator<Item = Value> {
    [
        Value::Text(beginning.to_owned()),
        Value::Text(format!("{beginning}\u{10ffff}")),
    ]
    .into_iter()
    .chain(blobs(compartments))
    .chain([Value::Integer(i64::from(limit))])
}

fn places(compartments: &[CompartmentId]) -> String {
    vec!["?"; compartments.len()].join(", ")
}

fn blobs(compartments: &[CompartmentId]) -> impl Iterator<Item = Value> {
    compartments
        .iter()
        .map(|compartment| Value::Blob(compartment.0.to_vec()))
}

//! Which entries a node's tables hold: those it merged and did not refuse, whatever log they stand in.

use std::collections::{BTreeMap, BTreeSet};

use aeroedge_ids::{CompartmentId, Seq};
use rusqlite::{Connection, params};

use crate::oracle::EntryName;

/// Where the salt stands in an entry, counted from 1 as SQL does, and the flags.
const SALT_IN_SQL: usize = 153;
const FLAGS: usize = 2;
const MORE_PARTS: u8 = 2;

/// The last entry of each transaction in the tables, by compartment.
pub(crate) type Standing = BTreeMap<CompartmentId, BTreeSet<EntryName>>;

/// Reads what the tables of a node hold.
pub(crate) fn standing(connection: &Connection) -> rusqlite::Result<Standing> {
    let refused: BTreeSet<(i64, i64)> = connection
        .prepare_cached("SELECT log, seq FROM device_refused")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT l.compartment, e.log, e.seq, substr(e.bytes, 1, 4), substr(e.bytes, {SALT_IN_SQL}, 16)
         FROM device_log l JOIN device_entry e ON e.log = l.log AND e.seq <= l.merged_seq ORDER BY e.log, e.seq"
    ))?;
    let mut rows = statement.query([])?;
    let mut standing = Standing::new();
    let mut is_refused = false;
    while let Some(row) = rows.next()? {
        is_refused |= refused.contains(&(row.get(1)?, row.get(2)?));
        let start: [u8; 4] = row.get(3)?;
        if start[FLAGS] & MORE_PARTS != 0 {
            continue;
        }
        if !std::mem::take(&mut is_refused) {
            standing
                .entry(CompartmentId(row.get(0)?))
                .or_default()
                .insert(row.get(4)?);
        }
    }
    Ok(standing)
}

/// All entries a node holds of its own or others' logs, merged or not.
pub(crate) fn held(connection: &Connection) -> rusqlite::Result<BTreeSet<EntryName>> {
    connection
        .prepare_cached(&format!(
            "SELECT substr(bytes, {SALT_IN_SQL}, 16) FROM device_entry"
        ))?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// The name of one entry, if it is there.
pub(crate) fn name_of(
    connection: &Connection,
    log: i64,
    seq: Seq,
) -> rusqlite::Result<Option<EntryName>> {
    use rusqlite::OptionalExtension;
    connection
        .prepare_cached(&format!(
            "SELECT substr(bytes, {SALT_IN_SQL}, 16) FROM device_entry WHERE log = ?1 AND seq = ?2"
        ))?
        .query_row(params![log, seq.0 as i64], |row| row.get(0))
        .optional()
}

/// Whether some log of a compartment holds this entry at this place.
pub(crate) fn holds(
    connection: &Connection,
    compartment: CompartmentId,
    seq: Seq,
    name: &EntryName,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(&format!(
            "SELECT EXISTS(SELECT 1 FROM device_log l JOIN device_entry e ON e.log = l.log AND e.seq = ?2
             WHERE l.compartment = ?1 AND substr(e.bytes, {SALT_IN_SQL}, 16) = ?3)"
        ))?
        .query_row(params![compartment.0, seq.0 as i64, name], |row| row.get(0))
}

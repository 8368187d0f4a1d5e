//! Takes a parsed export into a logbook, and takes a whole import back.
//!
//! What the logbook already has is recognised by the fingerprint stored beside every imported entry, also after the entry
//! was edited here; so a second import of the same or an overlapping file adds nothing. Undoing works from the entries
//! themselves and therefore also on another device of the same person.

use std::collections::{BTreeMap, BTreeSet};

use aeroedge_aviation::foreflight::{Outcome, Parsed, Report, Table};
use aeroedge_aviation::logbook::{Flight, Seconds, Totals, totals};
use aeroedge_ids::{CompartmentId, Millis, UserId};
use jiff::civil::Date;
use rusqlite::Connection;
use serde::Serialize;

use crate::aircraft;
use crate::flights::{self, ImportMark, LoggedFlight, Pilot};
use crate::row::{self, NewRow, StoreError};

/// Where an import goes.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where the flights will live.
    pub compartment: CompartmentId,
    /// Where aircraft that are new will live; `None` brings in no aircraft.
    pub aircraft_compartment: Option<CompartmentId>,
    /// Whose logbook it is.
    pub pilot: Pilot,
    /// Who imports.
    pub created_by: Option<UserId>,
}

/// The file that was parsed, for the record.
#[derive(Debug, Clone, Default)]
pub struct SourceFile {
    /// Name without folders.
    pub name: Option<String>,
    /// Hash of its bytes.
    pub sha256: Option<[u8; 32]>,
}

/// What an import did, or would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImportReport {
    /// The import; undo names it.
    pub batch_id: String,
    /// Flights added.
    pub imported: u64,
    /// Flights the logbook already had.
    pub duplicates: u64,
    /// Rows that could not be read.
    pub rejected: u64,
    /// Aircraft added.
    pub aircraft: u64,
    /// What the added flights add up to.
    pub totals: Totals,
    /// Every row of the file.
    pub report: Report,
}

/// What an import would do, without doing it.
pub fn plan_import(
    conn: &Connection,
    target: &Target,
    batch_id: &str,
    parsed: &Parsed,
) -> Result<ImportReport, StoreError> {
    Plan::make(conn, target, parsed).map(|plan| plan.report(batch_id, parsed))
}

/// What an import asks of whoever started it.
pub struct Caller<'a> {
    /// Makes a new UUIDv7 at every call.
    pub ids: &'a mut dyn FnMut() -> String,
    /// Hears how many of the new rows are in the tables, and how many there are in all.
    pub progress: &'a mut dyn FnMut(u64, u64),
}

impl std::fmt::Debug for Caller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Caller")
    }
}

/// Adds what is new of a parsed file. The caller's transaction makes it one step.
pub fn apply_import(
    conn: &Connection,
    target: &Target,
    batch_id: &str,
    source: &SourceFile,
    parsed: &Parsed,
    caller: Caller<'_>,
    now: Millis,
) -> Result<ImportReport, StoreError> {
    let Caller { ids, progress } = caller;
    let plan = Plan::make(conn, target, parsed)?;
    let rows = (plan.new_aircraft.len() + plan.new_flights.len()) as u64;
    let mut done = 0;
    let mut one_more = || {
        done += 1;
        progress(done, rows);
    };
    let mut aircraft_by_tail = plan.known_aircraft.clone();
    if let Some(compartment) = target.aircraft_compartment {
        for index in &plan.new_aircraft {
            let aircraft = &parsed.aircraft[*index];
            let id = ids();
            let new = NewRow {
                id: &id,
                compartment,
                created_by: target.created_by,
                now,
            };
            aircraft::insert_imported(conn, new, aircraft, Some(batch_id), ids)?;
            aircraft_by_tail.insert(aircraft.tail.to_uppercase(), id);
            one_more();
        }
    }
    for index in &plan.new_flights {
        let parsed = &parsed.flights[*index];
        let id = ids();
        let mut entry = LoggedFlight {
            link: None,
            pilot: target.pilot.clone(),
            import: Some(ImportMark {
                batch_id: batch_id.to_owned(),
                fingerprint: parsed.fingerprint.0,
                occurrence: parsed.occurrence,
            }),
            flight: parsed.flight.clone(),
        };
        entry.flight.aircraft_id = entry
            .flight
            .tail
            .as_ref()
            .and_then(|tail| aircraft_by_tail.get(&tail.to_uppercase()))
            .cloned();
        let new = NewRow {
            id: &id,
            compartment: target.compartment,
            created_by: target.created_by,
            now,
        };
        flights::insert(conn, new, &entry, ids)?;
        one_more();
    }
    let report = plan.report(batch_id, parsed);
    record(conn, target, source, &report, now)?;
    Ok(report)
}

const LOOKALIKE: &str = "an entry of the same day, aircraft and total time is there already, with other details: \
     compare the two and delete one if they are the same flight";

/// What of a file is new to the logbook.
struct Plan {
    new_flights: Vec<usize>,
    new_aircraft: Vec<usize>,
    known_aircraft: BTreeMap<String, String>,
    lookalikes: BTreeSet<u32>,
}

/// What two entries of one flight usually share, whoever typed them.
type Likeness = (Date, Option<String>, Seconds);

fn likeness(flight: &Flight) -> Likeness {
    let tail = flight.tail.as_ref().map(|tail| tail.to_uppercase());
    (flight.date, tail, flight.total)
}

impl Plan {
    fn make(conn: &Connection, target: &Target, parsed: &Parsed) -> Result<Self, StoreError> {
        let mut known_flight = conn.prepare_cached(
            "SELECT 1 FROM flight
             WHERE import_fingerprint = ?1 AND import_occurrence = ?2 AND compartment_id = ?3
               AND pilot_user_id IS ?4 AND pilot_person_id IS ?5",
        )?;
        let mut new_flights = Vec::new();
        let mut recognised: BTreeMap<Likeness, u32> = BTreeMap::new();
        for (index, flight) in parsed.flights.iter().enumerate() {
            let known = known_flight.exists((
                flight.fingerprint.0,
                flight.occurrence,
                target.compartment.0,
                target.pilot.user.map(|user| user.0),
                &target.pilot.person_id,
            ))?;
            if known {
                *recognised.entry(likeness(&flight.flight)).or_default() += 1;
            } else {
                new_flights.push(index);
            }
        }
        let mut alike = conn.prepare_cached(
            "SELECT count(*) FROM flight
             WHERE date = ?1 AND upper(tail) IS ?2 AND total_seconds = ?3 AND compartment_id = ?4
               AND pilot_user_id IS ?5 AND pilot_person_id IS ?6",
        )?;
        let mut lookalikes = BTreeSet::new();
        for index in &new_flights {
            let likeness = likeness(&parsed.flights[*index].flight);
            let there: u32 = alike.query_row(
                (
                    likeness.0.to_string(),
                    &likeness.1,
                    likeness.2.0,
                    target.compartment.0,
                    target.pilot.user.map(|user| user.0),
                    &target.pilot.person_id,
                ),
                |row| row.get(0),
            )?;
            // More than the file itself accounts for: the entry may stand there in other words.
            if there > recognised.get(&likeness).copied().unwrap_or(0) {
                lookalikes.insert(parsed.flights[*index].row);
            }
        }
        let mut known_aircraft = BTreeMap::new();
        let mut new_aircraft = Vec::new();
        if let Some(compartment) = target.aircraft_compartment {
            for record in aircraft::list(conn, &[compartment])? {
                known_aircraft
                    .entry(record.value.tail.to_uppercase())
                    .or_insert(record.id);
            }
            new_aircraft = (0..parsed.aircraft.len())
                .filter(|index| {
                    !known_aircraft.contains_key(&parsed.aircraft[*index].tail.to_uppercase())
                })
                .collect();
        }
        Ok(Self {
            new_flights,
            new_aircraft,
            known_aircraft,
            lookalikes,
        })
    }

    fn report(&self, batch_id: &str, parsed: &Parsed) -> ImportReport {
        let mut report = parsed.report.clone();
        let new_rows: Vec<u32> = self
            .new_flights
            .iter()
            .map(|index| parsed.flights[*index].row)
            .collect();
        for row in &mut report.rows {
            if row.table != Table::Flights {
                continue;
            }
            if let Outcome::Imported { notes } = &mut row.outcome {
                if new_rows.binary_search(&row.row).is_err() {
                    row.outcome = Outcome::SkippedDuplicate;
                } else if self.lookalikes.contains(&row.row) {
                    notes.push(LOOKALIKE.to_owned());
                }
            }
        }
        let added = self
            .new_flights
            .iter()
            .map(|index| &parsed.flights[*index].flight);
        ImportReport {
            batch_id: batch_id.to_owned(),
            imported: self.new_flights.len() as u64,
            duplicates: (parsed.flights.len() - self.new_flights.len()) as u64,
            rejected: report.rejected() as u64,
            aircraft: self.new_aircraft.len() as u64,
            totals: totals(added),
            report,
        }
    }
}

fn record(
    conn: &Connection,
    target: &Target,
    source: &SourceFile,
    report: &ImportReport,
    now: Millis,
) -> Result<(), StoreError> {
    // Only rows that need attention are kept: the others stand in the logbook.
    let mut told = report.report.clone();
    told.rows.retain(|row| match &row.outcome {
        Outcome::Imported { notes } => !notes.is_empty(),
        Outcome::SkippedDuplicate => false,
        Outcome::Rejected { .. } => true,
    });
    conn.prepare_cached(
        "INSERT INTO import_batch (
           id, compartment_id, imported_at, file_name, file_sha256, format, flights, aircraft, duplicates,
           rejected, report
         ) VALUES (?1, ?2, ?3, ?4, ?5, 'foreflight', ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute((
        &report.batch_id,
        target.compartment.0,
        row::integer(now),
        &source.name,
        source.sha256,
        report.imported as i64,
        report.aircraft as i64,
        report.duplicates as i64,
        report.rejected as i64,
        serde_json::to_string(&told).ok(),
    ))?;
    Ok(())
}

/// An import made on this device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Batch {
    /// Names it to undo.
    pub id: String,
    /// When it was made.
    pub imported_at_ms: i64,
    /// Name of the file.
    pub file_name: Option<String>,
    /// Flights it added.
    pub flights: u32,
    /// Aircraft it added.
    pub aircraft: u32,
    /// Flights it found to be there already.
    pub duplicates: u32,
    /// Rows it could not read.
    pub rejected: u32,
    /// When it was undone.
    pub undone_at_ms: Option<i64>,
}

/// Imports made on this device, newest first.
pub fn batches(conn: &Connection) -> Result<Vec<Batch>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT id, imported_at, file_name, flights, aircraft, duplicates, rejected, undone_at
         FROM import_batch ORDER BY imported_at DESC, rowid DESC",
    )?;
    let batches = statement.query_map([], |row| {
        Ok(Batch {
            id: row.get(0)?,
            imported_at_ms: row.get(1)?,
            file_name: row.get(2)?,
            flights: row.get(3)?,
            aircraft: row.get(4)?,
            duplicates: row.get(5)?,
            rejected: row.get(6)?,
            undone_at_ms: row.get(7)?,
        })
    })?;
    Ok(batches.collect::<Result<_, _>>()?)
}

/// What undoing an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UndoReport {
    /// Flights deleted.
    pub flights: u64,
    /// Aircraft deleted.
    pub aircraft: u64,
    /// What was left in place, and why.
    pub kept: Vec<Kept>,
}

/// A row of an import that undoing left in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Table.
    pub table: &'static str,
    /// Identifier.
    pub id: String,
    /// What a person knows it by.
    pub label: String,
    /// Why it stays.
    pub why: &'static str,
}

/// Deletes what an import inserted. Rows edited since stay and are named, unless `force`; aircraft that other flights
/// use stay in any case.
pub fn undo_import(
    conn: &Connection,
    batch_id: &str,
    force: bool,
    now: Millis,
) -> Result<UndoReport, StoreError> {
    let compartments = compartments_of(conn, batch_id)?;
    let recorded = conn
        .prepare_cached("SELECT 1 FROM import_batch WHERE id = ?1")?
        .exists([batch_id])?;
    if compartments.is_empty() && !recorded {
        return Err(StoreError::NotFound {
            table: "import",
            id: batch_id.to_owned(),
        });
    }
    let mut report = UndoReport::default();
    for compartment in &compartments {
        undo_flights(conn, batch_id, *compartment, force, &mut report)?;
    }
    for compartment in compartments {
        undo_aircraft(conn, batch_id, compartment, force, &mut report)?;
    }
    // While force could still take something back, the import is not undone.
    if report.kept.iter().all(|kept| kept.why == IN_USE) {
        conn.prepare_cached("UPDATE import_batch SET undone_at = ?2 WHERE id = ?1")?
            .execute((batch_id, row::integer(now)))?;
    }
    Ok(report)
}

const EDITED: &str = "edited since the import";
const IN_USE: &str = "other flights use it";

fn compartments_of(conn: &Connection, batch_id: &str) -> Result<Vec<CompartmentId>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT compartment_id FROM flight WHERE import_batch_id = ?1
         UNION SELECT compartment_id FROM aircraft WHERE import_batch_id = ?1",
    )?;
    let compartments = statement.query_map([batch_id], |row| row.get(0).map(CompartmentId))?;
    Ok(compartments.collect::<Result<_, _>>()?)
}

fn undo_flights(
    conn: &Connection,
    batch_id: &str,
    compartment: CompartmentId,
    force: bool,
    report: &mut UndoReport,
) -> Result<(), StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT id, updated_at > created_at,
           coalesce(date, '') || ' ' || coalesce(tail, '') || ' ' || coalesce(departure, '')
             || ' ' || coalesce(destination, '')
         FROM flight WHERE import_batch_id = ?1 AND compartment_id = ?2 ORDER BY date, id",
    )?;
    let rows = statement
        .query_map((batch_id, compartment.0), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<Vec<(String, bool, String)>, _>>()?;
    for (id, edited, label) in rows {
        if edited && !force {
            report.kept.push(Kept {
                table: "flight",
                id,
                label: label.split_whitespace().collect::<Vec<_>>().join(" "),
                why: EDITED,
            });
        } else {
            flights::delete(conn, compartment, &id)?;
            report.flights += 1;
        }
    }
    Ok(())
}

fn undo_aircraft(
    conn: &Connection,
    batch_id: &str,
    compartment: CompartmentId,
    force: bool,
    report: &mut UndoReport,
) -> Result<(), StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT id, coalesce(tail, ''), updated_at > created_at,
           EXISTS (SELECT 1 FROM flight WHERE flight.aircraft_id = aircraft.id)
         FROM aircraft WHERE import_batch_id = ?1 AND compartment_id = ?2 ORDER BY tail, id",
    )?;
    let rows = statement
        .query_map((batch_id, compartment.0), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<Result<Vec<(String, String, bool, bool)>, _>>()?;
    for (id, label, edited, used) in rows {
        let why = match (used, edited && !force) {
            (true, _) => IN_USE,
            (false, true) => EDITED,
            (false, false) => {
                aircraft::delete(conn, compartment, &id)?;
                report.aircraft += 1;
                continue;
            }
        };
        report.kept.push(Kept {
            table: "aircraft",
            id,
            label,
            why,
        });
    }
    Ok(())
}

//! Aircraft of a fleet or a logbook.
//!
//! Deleting one leaves the flights in it alone: they keep tail and type as flown.

use aeroedge_aviation::logbook::{Aircraft, CustomField};
use aeroedge_ids::{CompartmentId, Millis};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::children::{self, Parent};
use crate::row::{
    self, Cells, NewRow, Patch, Record, StoreError, Stored, count, patched, text, toggle,
};

impl Stored for Aircraft {
    const TABLE: &'static str = "aircraft";
    const COLUMNS: &'static [&'static str] = &[
        "tail",
        "make",
        "model",
        "type_designator",
        "category",
        "class",
        "equipment",
        "gear",
        "tailwheel",
        "engine",
        "engine_count",
        "complex",
        "high_performance",
        "technically_advanced",
        "pressurized",
        "year",
        "serial",
    ];

    fn values(&self) -> Vec<Value> {
        vec![
            Value::Text(self.tail.clone()),
            text(self.make.as_ref()),
            text(self.model.as_ref()),
            text(self.type_designator.as_ref()),
            text(self.category.as_ref()),
            text(self.class.as_ref()),
            text(self.equipment.as_ref()),
            text(self.gear.as_ref()),
            toggle(self.tailwheel),
            text(self.engine.as_ref()),
            count(self.engine_count),
            toggle(self.complex),
            toggle(self.high_performance),
            toggle(self.technically_advanced),
            toggle(self.pressurized),
            count(self.year),
            text(self.serial.as_ref()),
        ]
    }

    fn read(cells: &mut Cells<'_, '_>) -> Self {
        Self {
            tail: cells.text().unwrap_or_default(),
            make: cells.text(),
            model: cells.text(),
            type_designator: cells.text(),
            category: cells.text(),
            class: cells.text(),
            equipment: cells.text(),
            gear: cells.text(),
            tailwheel: cells.toggle(),
            engine: cells.text(),
            engine_count: cells.count(),
            complex: cells.toggle(),
            high_performance: cells.toggle(),
            technically_advanced: cells.toggle(),
            pressurized: cells.toggle(),
            year: cells.count(),
            serial: cells.text(),
            custom_fields: Vec::new(),
        }
    }
}

/// Inserts an aircraft.
pub fn insert(
    conn: &Connection,
    new: NewRow<'_>,
    aircraft: &Aircraft,
    ids: &mut dyn FnMut() -> String,
) -> Result<(), StoreError> {
    insert_imported(conn, new, aircraft, None, ids)
}

pub(crate) fn insert_imported(
    conn: &Connection,
    new: NewRow<'_>,
    aircraft: &Aircraft,
    batch: Option<&str>,
    ids: &mut dyn FnMut() -> String,
) -> Result<(), StoreError> {
    let batch = batch.map_or(Value::Null, |batch| Value::Text(batch.to_owned()));
    row::insert_with(conn, new, aircraft, &["import_batch_id"], &[batch])?;
    children::insert_all(
        conn,
        Parent::of_new(Aircraft::TABLE, new),
        &aircraft.custom_fields,
        ids,
    )
}

/// The aircraft of this id.
pub fn get(
    conn: &Connection,
    compartment: CompartmentId,
    id: &str,
) -> Result<Option<Record<Aircraft>>, StoreError> {
    let mut record = row::get(conn, compartment, id)?;
    children::load(conn, record.as_mut_slice(), custom_fields)?;
    Ok(record)
}

/// Aircraft of several compartments, by tail.
pub fn list(
    conn: &Connection,
    compartments: &[CompartmentId],
) -> Result<Vec<Record<Aircraft>>, StoreError> {
    let sql = format!(
        "SELECT {} FROM aircraft WHERE compartment_id IN ({}) ORDER BY tail, compartment_id, id",
        row::select_columns::<Aircraft>(),
        vec!["?"; compartments.len()].join(", ")
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let parameters = params_from_iter(compartments.iter().map(|c| c.0));
    let mut records = statement
        .query_map(parameters, |row| Ok(row::read_record(row)))?
        .collect::<Result<Vec<_>, _>>()?;
    children::load(conn, &mut records, custom_fields)?;
    Ok(records)
}

/// The id of the aircraft with this tail, whatever its case.
pub fn find_by_tail(
    conn: &Connection,
    compartment: CompartmentId,
    tail: &str,
) -> Result<Option<String>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT id FROM aircraft WHERE compartment_id = ?1 AND upper(tail) = upper(?2) ORDER BY id LIMIT 1",
        )?
        .query_row((compartment.0, tail.trim()), |row| row.get(0))
        .optional()?)
}

/// Changes the named fields; returns the columns that were written.
pub fn update(
    conn: &Connection,
    compartment: CompartmentId,
    id: &str,
    patch: &Patch,
    ids: &mut dyn FnMut() -> String,
    now: Millis,
) -> Result<Vec<&'static str>, StoreError> {
    let before = get(conn, compartment, id)?.ok_or_else(|| StoreError::NotFound {
        table: Aircraft::TABLE,
        id: id.to_owned(),
    })?;
    let mut after: Aircraft = patched(Aircraft::TABLE, &before.value, patch)?;
    children::identify(&before.value.custom_fields, &mut after.custom_fields, ids);
    let mut columns = row::update(conn, &before, &after, now)?;
    let parent = Parent {
        table: Aircraft::TABLE,
        id,
        compartment,
        created_by: before.created_by,
        now,
    };
    let custom_fields = (&before.value.custom_fields, &after.custom_fields);
    if children::replace_all(conn, parent, custom_fields.0, custom_fields.1)? {
        if columns.is_empty() {
            row::touch(
                conn,
                Aircraft::TABLE,
                id,
                compartment,
                before.updated_at,
                now,
            )?;
        }
        columns.push("custom_fields");
    }
    Ok(columns)
}

/// Deletes an aircraft; whether there was one.
pub fn delete(conn: &Connection, compartment: CompartmentId, id: &str) -> Result<bool, StoreError> {
    children::delete_all::<CustomField>(conn, compartment, id)?;
    row::delete(conn, Aircraft::TABLE, compartment, id)
}

fn custom_fields(aircraft: &mut Aircraft) -> &mut Vec<CustomField> {
    &mut aircraft.custom_fields
}

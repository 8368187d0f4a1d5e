//! The cells of a flight that every copy of it shares, and how they are read and written one by one.
//!
//! What names a record of one group, or tells how a copy came to stand there, is not among them. Values are handed on as
//! they are: a copy may hold what a newer program wrote.

use aeroedge_aviation::logbook::{Approach, CustomField, FlightPerson};
use aeroedge_ids::{Millis, UserId};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::children::Child;
use crate::row::{self, StoreError, Stored};

use super::LoggedFlight;
use super::links::Place;

/// Columns that stay with their copy.
pub(crate) const OWN_COLUMNS: [&str; 13] = [
    "flight_uid",
    "flight_proof",
    "pilot_user_id",
    "pilot_person_id",
    "aircraft_id",
    "instructor_person_id",
    "safety_pilot_person_id",
    "examiner_person_id",
    "billing_context_id",
    "source",
    "import_batch_id",
    "import_fingerprint",
    "import_occurrence",
];

/// The column of children that stays with its copy: it names a record of one group.
const OWN_CHILD_COLUMN: &str = "person_id";

/// A table whose rows copies share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedTable {
    /// Its name.
    pub name: &'static str,
    /// The columns that are shared.
    pub columns: Vec<&'static str>,
    /// The column that names the flight, if it is not the flight itself.
    parent_column: Option<&'static str>,
    names_table: bool,
}

impl CarriedTable {
    /// The column that is written when a row is made and never again; a flight has none.
    pub fn parent_column(&self) -> Option<&'static str> {
        self.parent_column
    }
}

/// The flight itself.
pub fn flight_table() -> CarriedTable {
    let columns = LoggedFlight::COLUMNS
        .iter()
        .copied()
        .filter(|column| !OWN_COLUMNS.contains(column));
    CarriedTable {
        name: LoggedFlight::TABLE,
        columns: columns.chain(["updated_at"]).collect(),
        parent_column: None,
        names_table: false,
    }
}

/// The rows that belong to it. They have the same ids in every copy.
pub fn child_tables() -> [CarriedTable; 3] {
    [
        child_table::<Approach>(),
        child_table::<FlightPerson>(),
        child_table::<CustomField>(),
    ]
}

fn child_table<T: Child>() -> CarriedTable {
    let columns = T::COLUMNS
        .iter()
        .copied()
        .filter(|column| *column != OWN_CHILD_COLUMN);
    CarriedTable {
        name: T::TABLE,
        columns: columns.chain(["position", "updated_at"]).collect(),
        parent_column: Some(T::PARENT_COLUMN),
        names_table: T::NAMES_TABLE,
    }
}

/// A row as copies compare it.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedRow {
    /// To which flight of its compartment it belongs; of a flight, none.
    pub parent: Option<String>,
    /// The shared columns, in their order.
    pub values: Vec<Value>,
}

/// Reads a row, if it is there.
pub fn read(
    conn: &Connection,
    table: &CarriedTable,
    place: &Place,
) -> Result<Option<SharedRow>, StoreError> {
    let sql = format!(
        "SELECT {}, {} FROM {} WHERE id = ?1 AND compartment_id = ?2",
        table.parent_column.unwrap_or("NULL"),
        table.columns.join(", "),
        table.name
    );
    let found = conn
        .prepare_cached(&sql)?
        .query_row((&place.id, place.compartment.0), |row| {
            Ok(SharedRow {
                parent: row.get_ref(0)?.as_str().ok().map(str::to_owned),
                values: (1..=table.columns.len())
                    .map(|index| value(row.get_ref(index)?))
                    .collect::<Result<_, _>>()?,
            })
        })
        .optional()?;
    Ok(found)
}

/// A value as it is, but for text that is not UTF-8, which nothing here writes.
fn value(cell: rusqlite::types::ValueRef<'_>) -> rusqlite::Result<Value> {
    Value::try_from(cell).or_else(|_| {
        Ok(Value::Text(
            String::from_utf8_lossy(cell.as_bytes()?).into_owned(),
        ))
    })
}

/// The ids of the rows that belong to a flight.
pub fn children(
    conn: &Connection,
    table: &CarriedTable,
    flight: &Place,
) -> Result<Vec<String>, StoreError> {
    let Some(parent) = table.parent_column else {
        return Ok(Vec::new());
    };
    let mut sql = format!(
        "SELECT id FROM {} WHERE {parent} = ?1 AND compartment_id = ?2",
        table.name
    );
    if table.names_table {
        sql += " AND of_table = 'flight'";
    }
    let mut statement = conn.prepare_cached(&sql)?;
    let found = statement.query_map((&flight.id, flight.compartment.0), |row| row.get(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// A cell to be made equal: which column, what stands there, and what shall.
#[derive(Debug, Clone, PartialEq)]
pub struct CellChange {
    /// Place of the column among the shared ones.
    pub column: usize,
    /// What stands there.
    pub from: Value,
    /// What shall.
    pub to: Value,
}

/// Writes cells of one row, unless one of them changed meanwhile or the row is gone: then there is something new to be
/// carried.
pub fn overwrite(
    conn: &Connection,
    table: &CarriedTable,
    place: &Place,
    cells: &[CellChange],
) -> Result<(), StoreError> {
    let name = |cell: &CellChange| table.columns[cell.column];
    let sets: Vec<String> = cells
        .iter()
        .map(|cell| format!("{} = ?", name(cell)))
        .collect();
    let stands: Vec<String> = cells
        .iter()
        .map(|cell| format!("{} IS ?", name(cell)))
        .collect();
    let sql = format!(
        "UPDATE {} SET {} WHERE id = ? AND compartment_id = ? AND {}",
        table.name,
        sets.join(", "),
        stands.join(" AND ")
    );
    let values = cells
        .iter()
        .map(|cell| cell.to.clone())
        .chain([
            Value::Text(place.id.clone()),
            Value::Blob(place.compartment.0.to_vec()),
        ])
        .chain(cells.iter().map(|cell| cell.from.clone()));
    conn.prepare_cached(&sql)?
        .execute(params_from_iter(values))?;
    Ok(())
}

/// Makes a row that belongs to a flight.
pub fn insert_child(
    conn: &Connection,
    table: &CarriedTable,
    id: &str,
    flight: &Place,
    values: &[Value],
    created_by: UserId,
    now: Millis,
) -> Result<(), StoreError> {
    let Some(parent) = table.parent_column else {
        return Ok(());
    };
    let mut columns = vec!["id", "compartment_id", "created_at", "created_by", parent];
    let mut all = vec![
        Value::Text(id.to_owned()),
        Value::Blob(flight.compartment.0.to_vec()),
        row::integer(now),
        row::user(Some(created_by)),
        Value::Text(flight.id.clone()),
    ];
    if table.names_table {
        columns.push("of_table");
        all.push(Value::Text(LoggedFlight::TABLE.to_owned()));
    }
    columns.extend(&table.columns);
    all.extend_from_slice(values);
    let sql = format!(
        "INSERT INTO {} ({}) VALUES ({})",
        table.name,
        columns.join(", "),
        vec!["?"; columns.len()].join(", ")
    );
    conn.prepare_cached(&sql)?.execute(params_from_iter(all))?;
    Ok(())
}

/// Deletes a row that belongs to a flight.
pub fn delete_child(
    conn: &Connection,
    table: &CarriedTable,
    id: &str,
    flight: &Place,
) -> Result<(), StoreError> {
    let Some(parent) = table.parent_column else {
        return Ok(());
    };
    let sql = format!(
        "DELETE FROM {} WHERE id = ?1 AND compartment_id = ?2 AND {parent} = ?3",
        table.name
    );
    conn.prepare_cached(&sql)?
        .execute((id, flight.compartment.0, &flight.id))?;
    Ok(())
}

//! People a context knows: pilot facts, whether or not the person has a device.

use aeroedge_aviation::logbook::{Person, Rating};
use aeroedge_ids::{CompartmentId, Millis};
use jiff::civil::Date;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::children::{self, Child, Parent};
use crate::row::{self, Cells, NewRow, Patch, Record, StoreError, Stored, blob, patched, text};

impl Stored for Person {
    const TABLE: &'static str = "person";
    const COLUMNS: &'static [&'static str] = &[
        "user_id",
        "name",
        "email",
        "phone",
        "certificate_grade",
        "certificate_number",
        "birth_date",
        "instructor_certificate",
        "instructor_recent_experience_end",
        "emergency_contact_name",
        "emergency_contact_phone",
        "emergency_contact_relation",
        "member_class",
        "home_airport",
        "default_aircraft_id",
        "notes",
    ];

    fn values(&self) -> Vec<Value> {
        vec![
            blob(self.user_id.as_ref().map(<[u8; 16]>::as_slice)),
            Value::Text(self.name.clone()),
            text(self.email.as_ref()),
            text(self.phone.as_ref()),
            text(self.certificate_grade.as_ref()),
            text(self.certificate_number.as_ref()),
            date(self.birth_date),
            text(self.instructor_certificate.as_ref()),
            date(self.instructor_recent_experience_end),
            text(self.emergency_contact_name.as_ref()),
            text(self.emergency_contact_phone.as_ref()),
            text(self.emergency_contact_relation.as_ref()),
            text(self.member_class.as_ref()),
            text(self.home_airport.as_ref()),
            text(self.default_aircraft_id.as_ref()),
            text(self.notes.as_ref()),
        ]
    }

    fn read(cells: &mut Cells<'_, '_>) -> Self {
        Self {
            user_id: cells.bytes(),
            name: cells.text().unwrap_or_default(),
            email: cells.text(),
            phone: cells.text(),
            certificate_grade: cells.text(),
            certificate_number: cells.text(),
            birth_date: read_date(cells),
            instructor_certificate: cells.text(),
            instructor_recent_experience_end: read_date(cells),
            emergency_contact_name: cells.text(),
            emergency_contact_phone: cells.text(),
            emergency_contact_relation: cells.text(),
            member_class: cells.text(),
            home_airport: cells.text(),
            default_aircraft_id: cells.text(),
            notes: cells.text(),
            ratings: Vec::new(),
        }
    }
}

impl Stored for Rating {
    const TABLE: &'static str = "person_rating";
    const COLUMNS: &'static [&'static str] = &["rating", "issued"];

    fn values(&self) -> Vec<Value> {
        vec![Value::Text(self.rating.clone()), date(self.issued)]
    }

    fn read(cells: &mut Cells<'_, '_>) -> Self {
        Self {
            id: None,
            rating: cells.text().unwrap_or_default(),
            issued: read_date(cells),
        }
    }
}

impl Child for Rating {
    const PARENT_COLUMN: &'static str = "person_id";

    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn set_id(&mut self, id: Option<String>) {
        self.id = id;
    }
}

/// Inserts a person.
pub fn insert(
    conn: &Connection,
    new: NewRow<'_>,
    person: &Person,
    ids: &mut dyn FnMut() -> String,
) -> Result<(), StoreError> {
    row::insert(conn, new, person)?;
    children::insert_all(
        conn,
        Parent::of_new(Person::TABLE, new),
        &person.ratings,
        ids,
    )
}

/// The person of this id.
pub fn get(
    conn: &Connection,
    compartment: CompartmentId,
    id: &str,
) -> Result<Option<Record<Person>>, StoreError> {
    let mut record: Option<Record<Person>> = row::get(conn, compartment, id)?;
    children::load(conn, record.as_mut_slice(), ratings)?;
    Ok(record)
}

/// People of several compartments, by name.
pub fn list(
    conn: &Connection,
    compartments: &[CompartmentId],
) -> Result<Vec<Record<Person>>, StoreError> {
    let sql = format!(
        "SELECT {} FROM person WHERE compartment_id IN ({}) ORDER BY name, compartment_id, id",
        row::select_columns::<Person>(),
        vec!["?"; compartments.len()].join(", ")
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let parameters = params_from_iter(compartments.iter().map(|c| c.0));
    let mut records = statement
        .query_map(parameters, |row| Ok(row::read_record::<Person>(row)))?
        .collect::<Result<Vec<_>, _>>()?;
    children::load(conn, &mut records, ratings)?;
    Ok(records)
}

/// The id of the person who is this user.
pub fn find_by_user(
    conn: &Connection,
    compartment: CompartmentId,
    user: aeroedge_ids::UserId,
) -> Result<Option<String>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT id FROM person WHERE compartment_id = ?1 AND user_id = ?2 ORDER BY id LIMIT 1",
        )?
        .query_row((compartment.0, user.0), |row| row.get(0))
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
    let mut before: Record<Person> = row::get_or_not_found(conn, compartment, id)?;
    children::load(conn, std::slice::from_mut(&mut before), ratings)?;
    let mut after: Person = patched(Person::TABLE, &before.value, patch)?;
    children::identify(&before.value.ratings, &mut after.ratings, ids);
    let mut columns = row::update(conn, &before, &after, now)?;
    let parent = Parent {
        table: Person::TABLE,
        id,
        compartment,
        created_by: before.created_by,
        now,
    };
    if children::replace_all(conn, parent, &before.value.ratings, &after.ratings)? {
        if columns.is_empty() {
            row::touch(conn, Person::TABLE, id, compartment, before.updated_at, now)?;
        }
        columns.push("ratings");
    }
    Ok(columns)
}

/// Deletes a person; whether there was one. Entries that name the person keep the name.
pub fn delete(conn: &Connection, compartment: CompartmentId, id: &str) -> Result<bool, StoreError> {
    children::delete_all::<Rating>(conn, compartment, id)?;
    row::delete(conn, Person::TABLE, compartment, id)
}

fn ratings(person: &mut Person) -> &mut Vec<Rating> {
    &mut person.ratings
}

fn date(value: Option<Date>) -> Value {
    value.map_or(Value::Null, |date| Value::Text(date.to_string()))
}

fn read_date(cells: &mut Cells<'_, '_>) -> Option<Date> {
    cells.text()?.parse().ok()
}

//! Rows that belong to a row: approaches and persons of a flight, custom fields of a flight or an aircraft.
//!
//! They are edited apart from each other on different devices, so a changed list keeps the rows it still holds and writes
//! only what differs.

use std::collections::BTreeMap;

use aeroedge_aviation::logbook::{
    Approach, ApproachConditions, CustomField, CustomKind, FlightPerson, Who,
};
use aeroedge_ids::{CompartmentId, Millis, UserId};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::row::{self, Cells, NewRow, Record, StoreError, Stored, count, text};

/// The row to which children belong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parent<'a> {
    pub(crate) table: &'static str,
    pub(crate) id: &'a str,
    pub(crate) compartment: CompartmentId,
    pub(crate) created_by: Option<UserId>,
    pub(crate) now: Millis,
}

impl<'a> Parent<'a> {
    pub(crate) fn of_new(table: &'static str, new: NewRow<'a>) -> Self {
        Self {
            table,
            id: new.id,
            compartment: new.compartment,
            created_by: new.created_by,
            now: new.now,
        }
    }
}

/// A row that belongs to another.
pub(crate) trait Child: Stored + Clone + PartialEq {
    /// The column that names the row it belongs to.
    const PARENT_COLUMN: &'static str;
    /// Whether a column `of_table` says in which table that is.
    const NAMES_TABLE: bool = false;
    fn id(&self) -> Option<&str>;
    fn set_id(&mut self, id: Option<String>);
}

pub(crate) fn insert_all<T: Child>(
    conn: &Connection,
    parent: Parent<'_>,
    children: &[T],
    ids: &mut dyn FnMut() -> String,
) -> Result<(), StoreError> {
    for (position, child) in children.iter().enumerate() {
        let id = child.id().map_or_else(&mut *ids, str::to_owned);
        insert(conn, parent, child, position, &id)?;
    }
    Ok(())
}

fn insert<T: Child>(
    conn: &Connection,
    parent: Parent<'_>,
    child: &T,
    position: usize,
    id: &str,
) -> Result<(), StoreError> {
    let new = NewRow {
        id,
        compartment: parent.compartment,
        created_by: parent.created_by,
        now: parent.now,
    };
    let columns = [T::PARENT_COLUMN, "position", "of_table"];
    let values = [
        Value::Text(parent.id.to_owned()),
        Value::Integer(position as i64),
        Value::Text(parent.table.to_owned()),
    ];
    let used = if T::NAMES_TABLE { 3 } else { 2 };
    row::insert_with(conn, new, child, &columns[..used], &values[..used])
}

/// At most so many rows are asked for at once.
const PARENTS_AT_ONCE: usize = 400;

/// Gives each of many rows its children, with few statements.
pub(crate) fn load<T: Child, P>(
    conn: &Connection,
    parents: &mut [Record<P>],
    children_of: impl Fn(&mut P) -> &mut Vec<T>,
) -> Result<(), StoreError> {
    for parents in parents.chunks_mut(PARENTS_AT_ONCE) {
        let sql = format!(
            "SELECT {}, {parent} FROM {} WHERE {parent} IN ({}) ORDER BY position, id",
            row::select_columns::<T>(),
            T::TABLE,
            vec!["?"; parents.len()].join(", "),
            parent = T::PARENT_COLUMN,
        );
        let mut children: BTreeMap<(CompartmentId, String), Vec<T>> = BTreeMap::new();
        let mut statement = conn.prepare_cached(&sql)?;
        let ids = params_from_iter(parents.iter().map(|parent| parent.id.as_str()));
        let mut rows = statement.query(ids)?;
        while let Some(row) = rows.next()? {
            let Record {
                id,
                compartment,
                mut value,
                ..
            } = row::read_record::<T>(row);
            value.set_id(Some(id));
            let parent = row.get(row::META_COUNT + T::COLUMNS.len())?;
            children
                .entry((compartment, parent))
                .or_default()
                .push(value);
        }
        for parent in parents {
            let key = (parent.compartment, parent.id.clone());
            *children_of(&mut parent.value) = children.remove(&key).unwrap_or_default();
        }
    }
    Ok(())
}

/// Gives every child of `after` an id: a child that has the id of one of `before`, or equals it, is that one; all others are
/// new.
pub(crate) fn identify<T: Child>(before: &[T], after: &mut [T], ids: &mut dyn FnMut() -> String) {
    let mut free: Vec<&T> = before.iter().collect();
    for child in after.iter_mut() {
        let place = free
            .iter()
            .position(|known| known.id().is_some() && known.id() == child.id());
        match place {
            Some(place) => {
                free.swap_remove(place);
            }
            None => child.set_id(None),
        }
    }
    for child in after.iter_mut().filter(|child| child.id().is_none()) {
        let same = |known: &&T| {
            let mut nameless = (*known).clone();
            nameless.set_id(None);
            nameless == *child
        };
        let id = match free.iter().position(same) {
            Some(place) => free.remove(place).id().map(str::to_owned),
            None => None,
        };
        child.set_id(Some(id.unwrap_or_else(&mut *ids)));
    }
}

/// What becomes of `stands` when somebody who saw `from` made it `to`: what they did not touch stays as it stands here.
pub(crate) fn laid_over<T: Child>(stands: &[T], from: &[T], to: &[T]) -> Vec<T> {
    fn of<'a, T: Child>(rows: &'a [T], child: &T) -> Option<&'a T> {
        rows.iter().find(|row| row.id() == child.id())
    }
    let untouched = |child: &T| of(from, child).is_some_and(|was| was == child);
    to.iter()
        .filter_map(|child| match of(stands, child) {
            Some(standing) if untouched(child) => Some(standing.clone()),
            None if untouched(child) => None,
            _ => Some(child.clone()),
        })
        .chain(
            stands
                .iter()
                .filter(|row| of(from, row).is_none() && of(to, row).is_none())
                .cloned(),
        )
        .collect()
}

/// Makes the children those of `after`, which have ids; whether anything changed.
pub(crate) fn replace_all<T: Child>(
    conn: &Connection,
    parent: Parent<'_>,
    before: &[T],
    after: &[T],
) -> Result<bool, StoreError> {
    let mut kept = vec![false; before.len()];
    let mut changed = false;
    for (position, child) in after.iter().enumerate() {
        let known = before
            .iter()
            .position(|known| known.id().is_some() && known.id() == child.id());
        let Some((index, id)) = known.and_then(|index| Some((index, before[index].id()?))) else {
            insert(
                conn,
                parent,
                child,
                position,
                child.id().unwrap_or_default(),
            )?;
            changed = true;
            continue;
        };
        kept[index] = true;
        let record = Record {
            id: id.to_owned(),
            compartment: parent.compartment,
            created_at: Millis(0),
            updated_at: Millis(0),
            created_by: None,
            value: before[index].clone(),
        };
        changed |= !row::update(conn, &record, child, parent.now)?.is_empty();
        if index != position {
            move_to(conn, parent, T::TABLE, id, position)?;
            changed = true;
        }
    }
    for (child, kept) in before.iter().zip(kept) {
        if let (Some(id), false) = (child.id(), kept) {
            row::delete(conn, T::TABLE, parent.compartment, id)?;
            changed = true;
        }
    }
    Ok(changed)
}

fn move_to(
    conn: &Connection,
    parent: Parent<'_>,
    table: &'static str,
    id: &str,
    position: usize,
) -> Result<(), StoreError> {
    let sql = format!(
        "UPDATE {table} SET position = ?1, updated_at = ?2 WHERE id = ?3 AND compartment_id = ?4"
    );
    let values = (
        position as i64,
        row::integer(parent.now),
        id,
        parent.compartment.0,
    );
    conn.prepare_cached(&sql)?.execute(values)?;
    Ok(())
}

pub(crate) fn delete_all<T: Child>(
    conn: &Connection,
    compartment: CompartmentId,
    parent: &str,
) -> Result<(), StoreError> {
    let sql = format!(
        "DELETE FROM {} WHERE {} = ?1 AND compartment_id = ?2",
        T::TABLE,
        T::PARENT_COLUMN
    );
    conn.prepare_cached(&sql)?
        .execute((parent, compartment.0))?;
    Ok(())
}

macro_rules! child {
    ($type:ident, $column:literal $(, $names_table:literal)?) => {
        impl Child for $type {
            const PARENT_COLUMN: &'static str = $column;
            $(const NAMES_TABLE: bool = $names_table;)?
            fn id(&self) -> Option<&str> {
                self.id.as_deref()
            }
            fn set_id(&mut self, id: Option<String>) {
                self.id = id;
            }
        }
    };
}

child!(Approach, "flight_id");
child!(FlightPerson, "flight_id");
child!(CustomField, "of_id", true);

impl Stored for Approach {
    const TABLE: &'static str = "approach";
    const COLUMNS: &'static [&'static str] = &[
        "count",
        "kind",
        "runway",
        "airport",
        "conditions",
        "comments",
    ];

    fn values(&self) -> Vec<Value> {
        let conditions = self.conditions.map(|c| c.as_str().to_owned());
        vec![
            count(self.count),
            text(self.kind.as_ref()),
            text(self.runway.as_ref()),
            text(self.airport.as_ref()),
            text(conditions.as_ref()),
            text(self.comments.as_ref()),
        ]
    }

    fn read(cells: &mut Cells<'_, '_>) -> Self {
        Self {
            id: None,
            count: cells.count(),
            kind: cells.text(),
            runway: cells.text(),
            airport: cells.text(),
            conditions: cells
                .text()
                .and_then(|word| ApproachConditions::from_stored(&word)),
            comments: cells.text(),
        }
    }
}

impl Stored for FlightPerson {
    const TABLE: &'static str = "flight_person";
    const COLUMNS: &'static [&'static str] = &["person_id", "name", "part", "email", "phone"];

    fn values(&self) -> Vec<Value> {
        vec![
            text(self.who.person_id.as_ref()),
            text(self.who.name.as_ref()),
            text(self.part.as_ref()),
            text(self.email.as_ref()),
            text(self.phone.as_ref()),
        ]
    }

    fn read(cells: &mut Cells<'_, '_>) -> Self {
        Self {
            id: None,
            who: Who {
                person_id: cells.text(),
                name: cells.text(),
            },
            part: cells.text(),
            email: cells.text(),
            phone: cells.text(),
        }
    }
}

impl Stored for CustomField {
    const TABLE: &'static str = "custom_field";
    const COLUMNS: &'static [&'static str] = &["name", "kind", "value"];

    fn values(&self) -> Vec<Value> {
        vec![
            Value::Text(self.name.clone()),
            Value::Text(self.kind.as_str().to_owned()),
            Value::Text(self.value.clone()),
        ]
    }

    fn read(cells: &mut Cells<'_, '_>) -> Self {
        Self {
            id: None,
            name: cells.text().unwrap_or_default(),
            kind: cells
                .text()
                .map_or(CustomKind::Text, |word| CustomKind::from_stored(&word)),
            value: cells.text().unwrap_or_default(),
        }
    }
}

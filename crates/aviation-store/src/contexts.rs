//! What a context says of itself and of its members, for everyone in it to read.
//!
//! None of it grants a right: those follow from the signed history of the context.

use aeroedge_ids::{CompartmentId, Millis, UserId};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::row::{self, Cells, NewRow, Record, StoreError, Stored, text, user};

/// The context itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: Option<String>,
    /// personal, partnership, club, school.
    pub kind: Option<String>,
    /// solo, small_group, organization.
    pub tier: Option<String>,
    /// Where it is at home.
    pub home_airport: Option<String>,
}

/// What everyone may know of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberCard {
    /// Who; `None` for a person without a device.
    pub user: Option<UserId>,
    /// What they are called.
    pub name: Option<String>,
    /// owner, admin, manager, member, readonly.
    pub role: Option<String>,
    /// When they joined.
    pub joined_at: Option<Millis>,
    /// active, suspended, removed.
    pub status: Option<String>,
}

impl Stored for Profile {
    const TABLE: &'static str = "context_profile";
    const COLUMNS: &'static [&'static str] = &["name", "type", "tier", "home_airport"];

    fn values(&self) -> Vec<Value> {
        vec![
            text(self.name.as_ref()),
            text(self.kind.as_ref()),
            text(self.tier.as_ref()),
            text(self.home_airport.as_ref()),
        ]
    }

    fn read(cells: &mut Cells<'_, '_>) -> Self {
        Self {
            name: cells.text(),
            kind: cells.text(),
            tier: cells.text(),
            home_airport: cells.text(),
        }
    }
}

impl Stored for MemberCard {
    const TABLE: &'static str = "context_member";
    const COLUMNS: &'static [&'static str] = &["user_id", "name", "role", "joined_at", "status"];

    fn values(&self) -> Vec<Value> {
        vec![
            user(self.user),
            text(self.name.as_ref()),
            text(self.role.as_ref()),
            self.joined_at
                .map_or(Value::Null, |at| Value::Integer(at.0 as i64)),
            text(self.status.as_ref()),
        ]
    }

    fn read(cells: &mut Cells<'_, '_>) -> Self {
        Self {
            user: cells.bytes().map(UserId),
            name: cells.text(),
            role: cells.text(),
            joined_at: cells.integer().map(|at| Millis(at.max(0) as u64)),
            status: cells.text(),
        }
    }
}

/// Inserts what a context says of itself.
pub fn insert_profile(
    conn: &Connection,
    new: NewRow<'_>,
    profile: &Profile,
) -> Result<(), StoreError> {
    row::insert(conn, new, profile)
}

/// Inserts what a context says of a member.
pub fn insert_member(
    conn: &Connection,
    new: NewRow<'_>,
    card: &MemberCard,
) -> Result<(), StoreError> {
    row::insert(conn, new, card)
}

/// What contexts say of themselves.
pub fn profiles(
    conn: &Connection,
    compartments: &[CompartmentId],
) -> Result<Vec<Record<Profile>>, StoreError> {
    list(conn, compartments)
}

/// What contexts say of their members.
pub fn members(
    conn: &Connection,
    compartments: &[CompartmentId],
) -> Result<Vec<Record<MemberCard>>, StoreError> {
    list(conn, compartments)
}

fn list<T: Stored>(
    conn: &Connection,
    compartments: &[CompartmentId],
) -> Result<Vec<Record<T>>, StoreError> {
    let sql = format!(
        "SELECT {} FROM {} WHERE compartment_id IN ({}) ORDER BY compartment_id, id",
        row::select_columns::<T>(),
        T::TABLE,
        vec!["?"; compartments.len()].join(", ")
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let parameters = params_from_iter(compartments.iter().map(|compartment| compartment.0));
    let records = statement.query_map(parameters, |row| Ok(row::read_record(row)))?;
    Ok(records.collect::<Result<_, _>>()?)
}

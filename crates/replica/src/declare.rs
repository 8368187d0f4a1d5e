//! Declaring tables as merged: checks them, puts the guard on, takes over rows that are already there.

use aeroedge_crdt::hlc::Hlc;
use aeroedge_crdt::life::Life;
use aeroedge_ids::Millis;
use rusqlite::{Connection, OptionalExtension};

use crate::capture::Mode;
use crate::clocks::{ClockStore, Written};
use crate::encode::{Encoder, PART_LENGTH};
use crate::flush::{FlushError, encode_whole};
use crate::guard;
use crate::merge::{MergeError, Merging, RowSet};
use crate::names::quoted;
use crate::quarantine;
use crate::rows::RowBytes;
use crate::schema::{SchemaError, Shape, inspect};
use crate::slots::Slots;
use crate::state::State;
use crate::storage::{StorageError, create_tables_of};
use crate::tables::{CompartmentRule, Policy, Table, column_numbers};
use crate::transaction::{Journal, JournalError, LocalTransaction, NoJournal};
use crate::{Engine, Replica};

/// A table that shall merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// Its name, spelled as in CREATE TABLE.
    pub table: String,
    /// Where its rows live.
    pub compartment: CompartmentRule,
    /// What happens to losers of concurrent edits.
    pub policy: Policy,
}

impl Merged {
    /// A table in the default compartment whose conflicts are kept.
    pub fn table(name: impl Into<String>) -> Self {
        Self {
            table: name.into(),
            compartment: CompartmentRule::Fixed,
            policy: Policy::Record,
        }
    }
}

/// Why tables were not declared. Nothing of the declaration remains.
#[derive(Debug, thiserror::Error)]
pub enum DeclareError {
    /// A table cannot merge.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A row that was already there names no proper compartment.
    #[error(
        "a row of table {0} does not name its compartment with 16 bytes; mend or delete it first"
    )]
    Compartment(String),
    /// What waited for the tables could not be merged.
    #[error("merge what waited for the tables")]
    Release(#[source] MergeError),
    /// The journal could not take the rows that were already there.
    #[error("write the journal")]
    Journal(#[source] JournalError),
    /// The database said no.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<rusqlite::Error> for DeclareError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.into())
    }
}

impl Replica {
    /// Declares tables as merged; saying it again changes nothing. Call it again after ALTER TABLE ADD COLUMN.
    ///
    /// Rows that are already there count as written at `now` by this replica.
    pub fn declare(&mut self, tables: &[Merged], now: Millis) -> Result<(), DeclareError> {
        self.declare_with(tables, now, &mut NoJournal)
    }

    /// Declares tables whose existing rows `journal` takes, so that they reach other replicas.
    pub fn declare_with(
        &mut self,
        tables: &[Merged],
        now: Millis,
        journal: &mut dyn Journal,
    ) -> Result<(), DeclareError> {
        self.declare_and(tables, now, journal, Waiting::IsReleased)
    }

    /// Declares tables, and leaves in quarantine what they can hold from now on. Released from there, cells have no conflicts: who can
    /// merge again what concerns [`rows_ready`](Self::rows_ready) finds them.
    pub fn declare_holding_back(
        &mut self,
        tables: &[Merged],
        now: Millis,
    ) -> Result<(), DeclareError> {
        self.declare_and(tables, now, &mut NoJournal, Waiting::Stays)
    }

    /// Rows of which something waits in quarantine that the tables can hold.
    pub fn rows_ready(&mut self) -> Result<RowSet, StorageError> {
        let Self { connection, engine } = self;
        engine.refresh_for_reading(connection)?;
        let mut rows = RowSet::new();
        for entry in quarantine::ready(connection, &engine.tables)? {
            rows.add_key(&entry.table, &entry.keys, entry.key);
        }
        Ok(rows)
    }

    fn declare_and(
        &mut self,
        tables: &[Merged],
        now: Millis,
        journal: &mut dyn Journal,
        waiting: Waiting,
    ) -> Result<(), DeclareError> {
        let Self { connection, engine } = self;
        let connection = &*connection;
        engine.begin(connection)?;
        engine.shared.set_mode(Mode::Internal);
        let outcome = engine.declare(connection, tables, now, journal, waiting);
        engine.shared.set_mode(Mode::Closed);
        if outcome.is_err() {
            engine.abandon(connection)?;
            // The tables in memory must be those of the database again.
            engine.reload(connection)??;
        }
        outcome
    }
}

/// What becomes of what waited for the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    IsReleased,
    Stays,
}

/// A table whose rows were there before it was declared.
struct Adopted {
    id: i64,
}

impl Engine {
    fn declare(
        &mut self,
        connection: &Connection,
        tables: &[Merged],
        now: Millis,
        journal: &mut dyn Journal,
        waiting: Waiting,
    ) -> Result<(), DeclareError> {
        let mut adopted = Vec::new();
        let mut changed = false;
        for merged in tables {
            let shape = inspect(connection, &merged.table)??;
            check_compartment(merged, &shape)?;
            let (id, is_new) = register(connection, merged)?;
            if is_new {
                create_tables_of(connection, id, shape.without_rowid)?;
                adopted.push(Adopted { id });
            }
            changed |= number_columns(connection, id, &merged.table, &shape, is_new)?;
        }
        self.reload(connection)??;
        self.adopt(connection, &adopted, now, journal)?;
        if changed && waiting == Waiting::IsReleased {
            self.release(connection)?;
        } else {
            connection
                .prepare_cached(crate::group::COMMIT)?
                .execute([])?;
        }
        Ok(())
    }

    /// Stamps the rows that were there before their tables were declared.
    fn adopt(
        &mut self,
        connection: &Connection,
        adopted: &[Adopted],
        now: Millis,
        journal: &mut dyn Journal,
    ) -> Result<(), DeclareError> {
        let state = self.memory.state(connection)?;
        let hlc = state.hlc.tick(now);
        let writer = self.writers.number(connection, self.writer)?;
        let written = Written {
            hlc: hlc.to_bits(),
            writer,
            version: state.version + 1,
        };
        let mut encoder = journal.wants_changes().then(|| Encoder::new(PART_LENGTH));
        let mut rows = 0;
        for Adopted { id } in adopted {
            let Some(table) = self.tables.all.iter().find(|table| table.id == *id) else {
                continue;
            };
            rows += adopt_rows(connection, table, written, encoder.as_mut()).map_err(|error| {
                match error {
                    FlushError::Storage(error) => DeclareError::Storage(error),
                    FlushError::Key => SchemaError::RowWithoutKey(table.name.clone()).into(),
                    FlushError::NotACompartment => DeclareError::Compartment(table.name.clone()),
                }
            })?;
        }
        if rows > 0 {
            let state = State {
                hlc,
                version: written.version,
            };
            state.store(connection, None)?;
            self.memory.set(state);
            let changes = encoder.map(Encoder::finish).unwrap_or_default();
            let transaction = LocalTransaction {
                hlc: Hlc::from_bits(written.hlc),
                changes: &changes,
            };
            journal
                .append(connection, &transaction)
                .map_err(DeclareError::Journal)?;
        }
        Ok(())
    }

    /// Merges what waited for the new tables and columns, and commits.
    fn release(&mut self, connection: &Connection) -> Result<(), DeclareError> {
        let mut merging = Merging::new(connection, self).map_err(DeclareError::Release)?;
        merging
            .release_quarantine()
            .map_err(DeclareError::Release)?;
        merging.finish(()).map_err(DeclareError::Release)?;
        Ok(())
    }
}

fn check_compartment(merged: &Merged, shape: &Shape) -> Result<(), SchemaError> {
    let CompartmentRule::Column(column) = &merged.compartment else {
        return Ok(());
    };
    if shape
        .keys
        .iter()
        .any(|&place| shape.columns[place].name == *column)
    {
        Ok(())
    } else {
        Err(SchemaError::CompartmentNotInKey {
            table: merged.table.clone(),
            column: column.clone(),
        })
    }
}

/// Notes the declaration; the table's number and whether it is new.
fn register(connection: &Connection, merged: &Merged) -> Result<(i64, bool), DeclareError> {
    let compartment = match &merged.compartment {
        CompartmentRule::Fixed => None,
        CompartmentRule::Column(column) => Some(column.as_str()),
    };
    let known = connection
        .query_row(
            "SELECT id, compartment FROM replica_table WHERE name = ?1",
            [&merged.table],
            |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?)),
        )
        .optional()?;
    if let Some((id, rule)) = known {
        if rule.as_deref() != compartment {
            return Err(SchemaError::OtherCompartment(merged.table.clone()).into());
        }
        connection.execute(
            "UPDATE replica_table SET policy = ?2 WHERE id = ?1",
            (id, merged.policy.to_number()),
        )?;
        return Ok((id, false));
    }
    connection.execute(
        "INSERT INTO replica_table(name, compartment, policy) VALUES (?1, ?2, ?3)",
        (&merged.table, compartment, merged.policy.to_number()),
    )?;
    Ok((connection.last_insert_rowid(), true))
}

/// Gives numbers to columns that have none, and renews the guard if there are any; whether there were.
fn number_columns(
    connection: &Connection,
    id: i64,
    table: &str,
    shape: &Shape,
    is_new: bool,
) -> Result<bool, rusqlite::Error> {
    let known = column_numbers(connection, id)?;
    let mut next = known.last().map_or(0, |(number, _)| number + 1);
    let mut changed = is_new;
    for (place, column) in shape.columns.iter().enumerate() {
        if shape.keys.contains(&place) || known.iter().any(|(_, name)| *name == column.name) {
            continue;
        }
        connection.execute(
            "INSERT INTO replica_column(tbl, number, name) VALUES (?1, ?2, ?3)",
            (id, next, &column.name),
        )?;
        next += 1;
        changed = true;
    }
    if changed {
        let names: Vec<String> = shape
            .columns
            .iter()
            .map(|column| column.name.clone())
            .collect();
        guard::put(connection, id, table, &names)?;
    }
    Ok(changed)
}

fn adopt_rows(
    connection: &Connection,
    table: &Table,
    written: Written,
    mut encoder: Option<&mut Encoder>,
) -> Result<u64, FlushError> {
    let improper: bool = connection.query_row(
        &format!(
            "SELECT EXISTS(SELECT 1 FROM {} WHERE {})",
            quoted(&table.name),
            table
                .key_names
                .iter()
                .map(|key| format!("typeof({}) IN ('null', 'real')", quoted(key)))
                .collect::<Vec<_>>()
                .join(" OR ")
        ),
        [],
        |row| row.get(0),
    )?;
    if improper {
        return Err(FlushError::Key);
    }
    let mut clocks = ClockStore::new(connection, &table.sql)?;
    let mut slots = Slots::new(connection, &table.sql);
    let order = if table.without_rowid() {
        "1"
    } else {
        &table.shape.rowid
    };
    let mut statement = connection.prepare(&format!("{} ORDER BY {order}", table.select()))?;
    let mut rows = statement.query([])?;
    let mut row = RowBytes::default();
    let mut count = 0;
    while let Some(found) = rows.next()? {
        row.fill(table, found)?;
        let slot = if table.without_rowid() {
            slots.find_or_make(&row.key)?
        } else {
            row.slot
        };
        clocks.made(slot, slot, Life::FIRST.number(), written, table.numbers_end)?;
        encode_whole(encoder.as_deref_mut(), table, Life::FIRST, &row)?;
        count += 1;
    }
    clocks.flush()?;
    Ok(count)
}

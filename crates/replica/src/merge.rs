//! Merging: many changesets of other writers in one SQLite transaction.
//!
//! Changesets arrive in a causal order: whatever a writer had seen was merged before. A changeset that was merged already
//! is skipped without being read. One that is malformed or names another compartment changes nothing.

mod again;
mod held;
mod image;
mod rows;
mod seen;
mod table;

pub use rows::RowSet;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use aeroedge_crdt::changeset::{Block, Changeset, Kind, MalformedChangeset, Values};
use aeroedge_crdt::hlc::{Hlc, Stamp};
use aeroedge_crdt::value::Value;
use aeroedge_ids::{CompartmentId, WriterKey};
use rusqlite::Connection;

use crate::capture::Mode;
use crate::clocks::Written;
use crate::encode::compartment_of;
use crate::memory::Memory;
use crate::quarantine::{self, Waiting, joined_names};
use crate::schema::SchemaError;
use crate::state::{self, Reached, State};
use crate::storage::StorageError;
use crate::tables::{Table, Tables};
use crate::values::owned_values;
use crate::{Engine, Replica};

use seen::Context;
use table::{TableMerge, Target};

/// A changeset and where it comes from.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    /// When and by whom it was written.
    pub stamp: Stamp,
    /// Its place among the parts of its transaction in this compartment, from 0.
    pub part: u32,
    /// The compartment whose log carried it; none for the default one.
    pub compartment: Option<CompartmentId>,
    /// The latest stamp of a writer that the author had seen; [`Hlc::ZERO`] for one not seen.
    pub seen: &'a dyn Fn(&WriterKey) -> Hlc,
    /// The changeset.
    pub changes: &'a [u8],
}

impl std::fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming")
            .field("stamp", &self.stamp)
            .field("part", &self.part)
            .field("compartment", &self.compartment)
            .field("bytes", &self.changes.len())
            .finish_non_exhaustive()
    }
}

/// Why a changeset was not merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The bytes are not a changeset.
    #[error(transparent)]
    Malformed(#[from] MalformedChangeset),
    /// A row says that it lives in another compartment than the log that carries it.
    #[error("a row of table {0} belongs to another compartment than the log that carries it")]
    OtherCompartment(String),
    /// A row without a proper key.
    #[error(
        "a row of table {0} has a key that is NULL, a floating-point number or of a type that its column does not keep"
    )]
    BadKey(String),
    /// A log speaks only for its own writer and moment. One that named others could write in their name, or from a future that
    /// nobody ever overtakes.
    #[error("a row of table {0} carries a stamp other than that of the entry it came in")]
    OtherStamp(String),
    /// A merged table no longer fits.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Nothing can be merged after an error of the database; the whole session is rolled back.
    #[error("merging stopped at an earlier error of the database")]
    Stopped,
    /// The engine's tables could not be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<rusqlite::Error> for MergeError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.into())
    }
}

/// What a changeset came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It was merged now.
    Merged,
    /// It had been merged before.
    Known,
}

/// Rows that merging changed in one table.
#[derive(Debug, Clone, PartialEq)]
pub struct Touched {
    /// The table.
    pub table: String,
    /// How many rows changed.
    pub rows: u64,
    /// Keys of some of them, the values in key order; all if there are as many as `rows`.
    pub keys: Vec<Vec<rusqlite::types::Value>>,
}

/// What a session of merging did.
#[derive(Debug, Clone, PartialEq)]
pub struct MergeOutcome<T> {
    /// What the closure returned.
    pub value: T,
    /// The local version afterwards.
    pub version: u64,
    /// Rows that changed, by table.
    pub touched: Vec<Touched>,
}

/// A session of merging: one SQLite transaction.
pub struct Merging<'c> {
    connection: &'c Connection,
    engine: &'c mut Engine,
    tables: BTreeMap<usize, TableMerge<'c>>,
    state: State,
    /// How far writers were merged, as far as this session asked or moved on, and whether it moved on.
    reached: BTreeMap<(u32, Option<CompartmentId>), (Option<Reached>, bool)>,
    /// The version that everything merged in this session gets.
    version: u64,
    changed: bool,
    stopped: bool,
}

impl std::fmt::Debug for Merging<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merging")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Replica {
    /// Merges changesets of other writers. Everything happens in one transaction, which an error rolls back.
    pub fn merging<T, E>(
        &mut self,
        work: impl FnOnce(&mut Merging<'_>) -> Result<T, E>,
    ) -> Result<MergeOutcome<T>, E>
    where
        E: From<MergeError>,
    {
        let Self { connection, engine } = self;
        let connection = &*connection;
        engine
            .begin(connection)
            .map_err(|error| E::from(error.into()))?;
        let outcome = run(connection, engine, work);
        engine.shared.set_mode(Mode::Closed);
        if outcome.is_err() {
            engine.abandon(connection).map_err(MergeError::from)?;
        }
        outcome
    }
}

fn run<'c, T, E: From<MergeError>>(
    connection: &'c Connection,
    engine: &'c mut Engine,
    work: impl FnOnce(&mut Merging<'c>) -> Result<T, E>,
) -> Result<MergeOutcome<T>, E> {
    let mut merging = Merging::new(connection, engine)?;
    let value = work(&mut merging)?;
    merging.finish(value).map_err(E::from)
}

impl<'c> Merging<'c> {
    pub(crate) fn new(
        connection: &'c Connection,
        engine: &'c mut Engine,
    ) -> Result<Self, MergeError> {
        engine.refresh(connection)??;
        let state = engine.memory.state(connection)?;
        Ok(Self {
            connection,
            engine,
            tables: BTreeMap::new(),
            reached: BTreeMap::new(),
            version: state.version + 1,
            state,
            changed: false,
            stopped: false,
        })
    }

    /// The connection, for writing along in the same transaction. Merged tables can only be read through it, and may lack rows
    /// of this session until it ends.
    pub fn connection(&self) -> &'c Connection {
        self.connection
    }

    /// Merges one changeset of a log. An error that names the changeset leaves the session as it was.
    pub fn apply(&mut self, incoming: &Incoming<'_>) -> Result<Applied, MergeError> {
        let writer = self
            .engine
            .writers
            .number(self.connection, incoming.stamp.writer)?;
        let reached = Reached {
            hlc: incoming.stamp.hlc,
            part: incoming.part,
        };
        let place = (writer, incoming.compartment);
        let known = self.reached(writer, incoming.compartment)?;
        if known.is_some_and(|known| reached <= known) {
            return Ok(Applied::Known);
        }
        let changes = parse(incoming)?;
        self.merge(
            &changes,
            incoming.stamp,
            incoming.compartment,
            Some(incoming.seen),
        )?;
        self.reached.insert(place, (Some(reached), true));
        self.state.hlc = self.state.hlc.max(incoming.stamp.hlc);
        self.changed = true;
        Ok(Applied::Merged)
    }

    /// How far a writer was merged in a compartment.
    fn reached(
        &mut self,
        writer: u32,
        compartment: Option<CompartmentId>,
    ) -> Result<Option<Reached>, StorageError> {
        if let Some((known, _)) = self.reached.get(&(writer, compartment)) {
            return Ok(*known);
        }
        let known = state::reached(self.connection, writer, compartment.as_ref())?;
        self.reached.insert((writer, compartment), (known, false));
        Ok(known)
    }

    /// Merges a state made by [`Replica::changes_since`]. The tables become equal; conflicts are not recognised, because a
    /// state does not say what its writers had seen.
    pub fn apply_state(
        &mut self,
        compartment: Option<CompartmentId>,
        changes: &[u8],
    ) -> Result<(), MergeError> {
        let changes = Changeset::parse(changes)?;
        // Every block of a state names its stamp; one that does not counts as written before everything else.
        let nobody = Stamp {
            hlc: Hlc::ZERO,
            writer: WriterKey([0; 32]),
        };
        self.merge(&changes, nobody, compartment, None)?;
        let latest = changes
            .blocks
            .iter()
            .filter_map(|block| block.stamp)
            .map(|stamp| stamp.hlc)
            .max();
        self.state.hlc = self.state.hlc.max(latest.unwrap_or_default());
        self.changed = true;
        Ok(())
    }

    fn merge(
        &mut self,
        changes: &Changeset<'_>,
        stamp: Stamp,
        compartment: Option<CompartmentId>,
        seen: Option<&dyn Fn(&WriterKey) -> Hlc>,
    ) -> Result<(), MergeError> {
        if self.stopped {
            return Err(MergeError::Stopped);
        }
        let local: Vec<Option<usize>> = changes
            .tables
            .iter()
            .map(|names| self.local_table(names))
            .collect();
        for block in &changes.blocks {
            self.check(changes, block, local[block.table], compartment)?;
        }
        self.merge_checked(changes, &local, stamp, seen)
    }

    fn merge_checked(
        &mut self,
        changes: &Changeset<'_>,
        local: &[Option<usize>],
        stamp: Stamp,
        seen: Option<&dyn Fn(&WriterKey) -> Hlc>,
    ) -> Result<(), MergeError> {
        self.engine.shared.set_mode(Mode::Internal);
        let merged = self.merge_blocks(changes, local, stamp, seen);
        self.engine.shared.set_mode(Mode::Closed);
        self.stopped = merged.is_err();
        Ok(merged?)
    }

    /// The merged table that a changeset means: the one of the same name and key.
    fn local_table(&self, names: &aeroedge_crdt::changeset::TableNames<'_>) -> Option<usize> {
        let place = self.engine.tables.by_name(names.name)?;
        let table = &self.engine.tables.all[place];
        table
            .key_names
            .iter()
            .map(String::as_str)
            .eq(names.keys.iter().copied())
            .then_some(place)
    }

    fn check(
        &self,
        changes: &Changeset<'_>,
        block: &Block<'_>,
        local: Option<usize>,
        compartment: Option<CompartmentId>,
    ) -> Result<(), MergeError> {
        let name = changes.tables[block.table].name;
        let table = local.map(|place| &self.engine.tables.all[place]);
        // Where the table is not known, neither is its rule; the caller's rights decide.
        let ruled = table.filter(|table| table.compartment_key.is_some() || compartment.is_some());
        for row in block.rows() {
            let is_bad = |(place, value)| {
                matches!(value, Value::Null | Value::Real(_))
                    || table.is_some_and(|table| !table.keeps_key(place, value))
            };
            if row.key_values().enumerate().any(is_bad) {
                return Err(MergeError::BadKey(name.to_owned()));
            }
            if let Some(table) = ruled
                && table.compartment_key.is_some()
                && compartment_of(table, row.key) != Ok(compartment)
            {
                return Err(MergeError::OtherCompartment(name.to_owned()));
            }
        }
        Ok(())
    }

    fn merge_blocks(
        &mut self,
        changes: &Changeset<'_>,
        local: &[Option<usize>],
        stamp: Stamp,
        seen: Option<&dyn Fn(&WriterKey) -> Hlc>,
    ) -> Result<(), StorageError> {
        for block in &changes.blocks {
            let stamp = block.stamp.unwrap_or(stamp);
            let mut context = Context::new(
                self.connection,
                &mut self.engine.writers,
                stamp,
                self.version,
                seen,
            )?;
            let names = &changes.tables[block.table];
            match local[block.table] {
                None => quarantine_block(&mut context, names, block)?,
                Some(place) => {
                    let table = open(
                        &mut self.tables,
                        self.connection,
                        &self.engine.tables,
                        &mut self.engine.memory,
                        place,
                    )?;
                    merge_block(
                        &mut context,
                        table,
                        &self.engine.tables.all[place],
                        names,
                        block,
                    )?;
                }
            }
        }
        Ok(())
    }

    /// What waits for the schema and can be held now goes into its tables.
    pub(crate) fn release_quarantine(&mut self) -> Result<(), MergeError> {
        let waiting = quarantine::take_ready(self.connection, &self.engine.tables)?;
        if waiting.is_empty() {
            return Ok(());
        }
        self.engine.shared.set_mode(Mode::Internal);
        let released = self.release(&waiting);
        self.engine.shared.set_mode(Mode::Closed);
        self.stopped = released.is_err();
        self.changed = true;
        Ok(released?)
    }

    fn release(&mut self, waiting: &[quarantine::Released]) -> Result<(), StorageError> {
        for entry in waiting {
            let Some(place) = self.engine.tables.by_name(&entry.table) else {
                continue;
            };
            let table = self.engine.tables.all[place].clone();
            let merge = open(
                &mut self.tables,
                self.connection,
                &self.engine.tables,
                &mut self.engine.memory,
                place,
            )?;
            let writer = self.engine.writers.key(self.connection, entry.writer)?;
            let stamp = Stamp {
                hlc: Hlc::from_bits(entry.hlc),
                writer,
            };
            let mut context = Context::new(
                self.connection,
                &mut self.engine.writers,
                stamp,
                self.version,
                None,
            )?;
            if !entry.life.is_alive() {
                merge.delete(&mut context, entry.life, &entry.key)?;
            } else if entry.column.is_empty() {
                merge.write(
                    &mut context,
                    entry.life,
                    &entry.key,
                    &[],
                    &[],
                    &mut Vec::new(),
                )?;
            } else {
                let index = table
                    .columns
                    .iter()
                    .position(|column| column.name == entry.column);
                let target = Target {
                    name: &entry.column,
                    index,
                };
                merge.write(
                    &mut context,
                    entry.life,
                    &entry.key,
                    &[target],
                    &entry.value,
                    &mut Vec::new(),
                )?;
            }
        }
        Ok(())
    }

    pub(crate) fn finish<T>(mut self, value: T) -> Result<MergeOutcome<T>, MergeError> {
        if self.stopped {
            return Err(MergeError::Stopped);
        }
        let shared = std::sync::Arc::clone(&self.engine.shared);
        shared.set_mode(Mode::Internal);
        let mut touched = Vec::new();
        let mut beside = None;
        for (place, mut table) in std::mem::take(&mut self.tables) {
            let local = &*self.engine.tables.all[place];
            let (rows, keys) = (table.touched, std::mem::take(&mut table.touched_keys));
            self.engine.memory.keep(local.id, table.finish()?);
            if rows > 0 {
                beside = Some(local);
                touched.push(Touched {
                    table: local.name.clone(),
                    rows,
                    keys: keys
                        .iter()
                        .map(|key| owned_values(Values::of(key)))
                        .collect(),
                });
            }
        }
        for ((writer, compartment), (reached, moved)) in &self.reached {
            if let (Some(reached), true) = (reached, moved) {
                state::set_reached(self.connection, *writer, compartment.as_ref(), *reached)?;
            }
        }
        if self.changed {
            self.state.version = self.version;
            self.state.store(self.connection, beside)?;
        }
        self.connection
            .prepare_cached(crate::group::COMMIT)?
            .execute([])?;
        self.engine.memory.set(self.state);
        Ok(MergeOutcome {
            value,
            version: self.state.version,
            touched,
        })
    }
}

/// What merges into the table at a place.
fn open<'t, 'c>(
    open: &'t mut BTreeMap<usize, TableMerge<'c>>,
    connection: &'c Connection,
    tables: &Tables,
    memory: &mut Memory,
    place: usize,
) -> Result<&'t mut TableMerge<'c>, StorageError> {
    Ok(match open.entry(place) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => entry.insert(TableMerge::new(
            connection,
            tables.all[place].clone(),
            memory,
        )?),
    })
}

/// Reads a changeset of a log, which speaks only for its own writer and moment.
fn parse<'a>(incoming: &Incoming<'a>) -> Result<Changeset<'a>, MergeError> {
    let changes = Changeset::parse(incoming.changes)?;
    match changes.blocks.iter().find(|block| block.stamp.is_some()) {
        Some(block) => {
            let name = changes.tables[block.table].name;
            Err(MergeError::OtherStamp(name.to_owned()))
        }
        None => Ok(changes),
    }
}

fn merge_block(
    context: &mut Context<'_>,
    merge: &mut TableMerge<'_>,
    table: &Table,
    names: &aeroedge_crdt::changeset::TableNames<'_>,
    block: &Block<'_>,
) -> Result<(), StorageError> {
    if block.kind == Kind::Delete {
        for row in block.rows() {
            merge.delete(context, block.life, row.key)?;
        }
        return Ok(());
    }
    let targets: Vec<Target<'_>> = block
        .columns
        .iter()
        .map(|&column| {
            let name = names.columns[usize::from(column)];
            Target {
                name,
                index: table.columns.iter().position(|column| column.name == name),
            }
        })
        .collect();
    // New rows go into the key index in its own order, which costs far less than in any other; known rows stay in the order
    // in which they were written, which is probably that of the table here too.
    let mut order: Vec<u32> = (0..block.row_count() as u32).collect();
    let is_new = order.len() > 8 && !merge.knows(block.row(0).key)?;
    if is_new && order.len() >= held::ROWS_MIN {
        merge.hold(context, block.life, &targets)?;
        for row in block.rows() {
            merge.hold_row(row.key, row.values);
        }
        return Ok(());
    }
    if is_new {
        order.sort_by(|left, right| {
            block
                .row(*left as usize)
                .key
                .cmp(block.row(*right as usize).key)
        });
    }
    let mut cells = Vec::with_capacity(targets.len());
    for index in order {
        let row = block.row(index as usize);
        merge.write(
            context, block.life, row.key, &targets, row.values, &mut cells,
        )?;
    }
    Ok(())
}

/// Rows of a table that is not known here.
fn quarantine_block(
    context: &mut Context<'_>,
    names: &aeroedge_crdt::changeset::TableNames<'_>,
    block: &Block<'_>,
) -> Result<(), StorageError> {
    let keys = joined_names(&names.keys);
    let life = block.life.number();
    let written = Written {
        hlc: context.stamp.hlc.to_bits(),
        writer: context.writer,
        version: context.version,
    };
    let nothing = Value::Null.to_bytes();
    for row in block.rows() {
        let standing = quarantine::life_of(context.connection, names.name, &keys, row.key)?;
        if life < standing {
            continue;
        }
        if life > standing {
            quarantine::drop_shorter(context.connection, names.name, &keys, row.key, life)?;
        }
        let mut rest = row.values;
        let mut keep = |column: &str, value: &[u8]| {
            let waiting = Waiting {
                table: names.name,
                keys: &keys,
                key: row.key,
                column,
                life,
                value,
            };
            quarantine::keep(context.connection, waiting, written, |left, right| {
                context.writer_less(left, right)
            })
        };
        keep("", &nothing)?;
        for &column in &block.columns {
            let before = rest;
            if Value::read(&mut rest).is_err() {
                break;
            }
            keep(
                names.columns[usize::from(column)],
                &before[..before.len() - rest.len()],
            )?;
        }
    }
    Ok(())
}

//! Merges rows into one table: the later write of each cell stays, the longer life of each row stays.
//!
//! New rows are inserted blindly while they turn out to be new, and looked up first once they turn out to be known. What
//! loses to a write it had not seen goes to the conflict log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aeroedge_crdt::changeset::Values;
use aeroedge_crdt::hlc::Hlc;
use aeroedge_crdt::life::Life;
use aeroedge_crdt::value::Value;
use aeroedge_ids::WriterKey;
use rusqlite::Connection;

use super::held::Held;
use super::seen::{Context, SeenBy};
use crate::clocks::{ClockStore, Written};
use crate::conflicts::{ConflictLog, Losing, write_cell};
use crate::graves::{Grave, Graves};
use crate::memory::{Memory, TableMemory};
use crate::names::{list, quoted};
use crate::quarantine::{self, Waiting};
use crate::rows::RowBytes;
use crate::slots::Slots;
use crate::statements::Lazy;
use crate::storage::StorageError;
use crate::tables::{Policy, Table};
use crate::values::Bound;
use crate::writers::Writers;

/// A column that a block writes, as the local schema knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) name: &'a str,
    /// Place among the local columns; none when it is unknown here.
    pub(crate) index: Option<usize>,
}

/// One incoming cell that the local schema can hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell<'a> {
    index: usize,
    number: u16,
    value: Value<'a>,
    bytes: &'a [u8],
}

/// A statement for one set of columns. Few sets occur in practice, and mostly the same as just before.
type ForColumns<'c> = (Vec<u16>, Lazy<'c>);

/// Keys of touched rows that are kept for the summary.
const KEYS_MAX: usize = 256;

/// Merges into one table during one session.
pub(crate) struct TableMerge<'c> {
    connection: &'c Connection,
    table: Arc<Table>,
    keys: String,
    clocks: ClockStore<'c>,
    graves: Graves<'c>,
    conflicts: ConflictLog<'c>,
    slots: Slots<'c>,
    find: Lazy<'c>,
    delete: Lazy<'c>,
    inserts: Vec<ForColumns<'c>>,
    updates: Vec<ForColumns<'c>>,
    /// Whether the latest row was known, which makes it likely for the next.
    expect_known: bool,
    quarantined: bool,
    row: RowBytes,
    /// Rows that are not written yet.
    held: Held,
    /// Keys that were forgotten in this session.
    forgotten: BTreeSet<Vec<u8>>,
    pub(crate) touched: u64,
    pub(crate) touched_keys: Vec<Vec<u8>>,
}

impl<'c> TableMerge<'c> {
    pub(crate) fn new(
        connection: &'c Connection,
        table: Arc<Table>,
        memory: &mut Memory,
    ) -> Result<Self, StorageError> {
        let TableMemory { clocks, any_grave } = memory.take(connection, table.id, &table.sql)?;
        Ok(Self {
            connection,
            keys: quarantine::joined_names(&table.key_names),
            clocks: ClockStore::with(connection, &table.sql, clocks),
            graves: Graves::with(connection, &table.sql, any_grave),
            conflicts: ConflictLog::new(connection, table.id),
            slots: Slots::new(connection, &table.sql),
            find: Lazy::new(connection, &table.sql.find),
            delete: Lazy::new(connection, &table.sql.delete),
            inserts: Vec::new(),
            updates: Vec::new(),
            expect_known: false,
            quarantined: quarantine::any(connection)?,
            row: RowBytes::default(),
            held: Held::default(),
            forgotten: BTreeSet::new(),
            touched: 0,
            touched_keys: Vec::new(),
            table,
        })
    }

    /// Writes what is not written yet; what the next transaction may go on with.
    pub(crate) fn finish(mut self) -> Result<TableMemory, StorageError> {
        self.settle()?;
        self.conflicts.flush()?;
        self.clocks.flush()?;
        Ok(TableMemory {
            clocks: self.clocks.into_memory(),
            any_grave: self.graves.any,
        })
    }

    /// Drops a row with everything that is known of it, as if nobody had ever written it.
    pub(crate) fn forget(&mut self, key: &[u8]) -> Result<(), StorageError> {
        self.settle()?;
        if self.look_up(key)? {
            self.remove_row(key)?;
        }
        self.graves.remove(key)?;
        self.conflicts.forget(key)?;
        quarantine::forget(self.connection, &self.table.name, &self.keys, key)?;
        if self.forgotten.insert(key.to_vec()) {
            self.note_touched(key);
        }
        Ok(())
    }

    /// Keeps an open conflict that another replica has found.
    pub(crate) fn keep_losing(&mut self, key: &[u8], losing: Losing) -> Result<(), StorageError> {
        self.settle()?;
        if self.table.policy == Policy::Silent {
            return Ok(());
        }
        self.conflicts.add(key, losing)
    }

    /// Whether a row of this key lives here.
    pub(crate) fn knows(&mut self, key: &[u8]) -> Result<bool, StorageError> {
        self.look_up(key)
    }

    /// Begins a block of writes that [`settle`](Self::settle) will merge, together with more of the same writer and moment.
    pub(crate) fn hold(
        &mut self,
        context: &Context<'_>,
        life: Life,
        targets: &[Target<'_>],
    ) -> Result<(), StorageError> {
        if !self.held.takes(context) {
            self.settle()?;
            self.held.begin(context)?;
        }
        self.held.block(life, targets);
        Ok(())
    }

    /// Adds a row to the block begun last.
    pub(crate) fn hold_row(&mut self, key: &[u8], values: &[u8]) {
        self.held.row(key, values);
    }

    /// Merges the writes that were held back. Everything else that looks at rows begins with it.
    fn settle(&mut self) -> Result<(), StorageError> {
        if self.held.is_empty() {
            return Ok(());
        }
        let mut held = std::mem::take(&mut self.held);
        held.sort();
        let Some(origin) = held.origin() else {
            return Ok(());
        };
        let seen = origin
            .seen
            .as_ref()
            .map(|seen| |writer: &WriterKey| seen.get(writer).copied().unwrap_or(Hlc::ZERO));
        let seen = seen.as_ref().map(|seen| seen as SeenBy<'_>);
        let mut writers = Writers::default();
        let (stamp, version) = (origin.stamp, origin.version);
        let mut context = Context::new(self.connection, &mut writers, stamp, version, seen)?;
        let targets: Vec<Vec<Target<'_>>> = held
            .blocks()
            .iter()
            .map(|block| {
                let targets = block.targets.iter();
                targets
                    .map(|held| {
                        let (name, index) = (held.0.as_str(), held.1);
                        Target { name, index }
                    })
                    .collect()
            })
            .collect();
        let mut cells = Vec::new();
        for row in held.rows() {
            let life = held.blocks()[row.block].life;
            let targets = &targets[row.block];
            self.write(&mut context, life, row.key, targets, row.values, &mut cells)?;
        }
        Ok(())
    }

    /// Merges a write of some cells of one row.
    ///
    /// `cells` only lends its memory from row to row.
    pub(crate) fn write<'a>(
        &mut self,
        context: &mut Context<'_>,
        life: Life,
        key: &[u8],
        targets: &[Target<'_>],
        values: &'a [u8],
        cells: &mut Vec<Cell<'a>>,
    ) -> Result<(), StorageError> {
        self.settle()?;
        let table = Arc::clone(&self.table);
        cells.clear();
        let mut strangers = Vec::new();
        let mut rest = values;
        for target in targets {
            let before = rest;
            let Ok(value) = Value::read(&mut rest) else {
                break;
            };
            let bytes = &before[..before.len() - rest.len()];
            match target.index {
                Some(index) if table.columns[index].accepts(value) => {
                    cells.push(Cell {
                        index,
                        number: table.columns[index].number,
                        value,
                        bytes,
                    });
                }
                _ => strangers.push((target.name, bytes)),
            }
        }
        let life = life.number();
        let standing = self.write_known(context, life, key, cells)?;
        if life >= standing {
            for (column, value) in strangers {
                self.quarantine(context, life, key, column, value)?;
            }
        }
        Ok(())
    }

    /// Merges the cells that the schema can hold; the life of the row afterwards.
    fn write_known(
        &mut self,
        context: &mut Context<'_>,
        life: u64,
        key: &[u8],
        cells: &[Cell<'_>],
    ) -> Result<u64, StorageError> {
        if let Some(grave) = self.graves.get(key)? {
            self.close(context, key, Some(cells))?;
            if life <= grave.life {
                self.lose(context, life, key, cells.iter())?;
                return Ok(grave.life);
            }
            self.graves.remove(key)?;
            self.make(context, life, key, cells)?;
            return Ok(life);
        }
        if !self.expect_known && self.make(context, life, key, cells)? {
            return Ok(life);
        }
        if !self.look_up(key)? {
            self.make(context, life, key, cells)?;
            return Ok(life);
        }
        self.expect_known = true;
        self.close(context, key, Some(cells))?;
        let slot = self.row.slot;
        let (chunk, place) = self.clocks.read(slot)?;
        let standing = chunk.life(place);
        match life.cmp(&standing) {
            std::cmp::Ordering::Less => self.lose(context, life, key, cells.iter())?,
            std::cmp::Ordering::Equal => self.meet(context, life, key, cells)?,
            std::cmp::Ordering::Greater => {
                self.keep_unseen(context, key)?;
                self.remove_row(key)?;
                self.make(context, life, key, cells)?;
            }
        }
        Ok(life.max(standing))
    }

    /// Merges a delete of one row.
    pub(crate) fn delete(
        &mut self,
        context: &mut Context<'_>,
        life: Life,
        key: &[u8],
    ) -> Result<(), StorageError> {
        self.settle()?;
        let life = life.number();
        self.close(context, key, None)?;
        let grave = Grave {
            life,
            written: written(context),
        };
        if let Some(known) = self.graves.get(key)? {
            let later = match (life, grave.written.hlc).cmp(&(known.life, known.written.hlc)) {
                std::cmp::Ordering::Less => false,
                std::cmp::Ordering::Greater => true,
                std::cmp::Ordering::Equal => {
                    known.written.writer != grave.written.writer
                        && context.writer_less(known.written.writer, grave.written.writer)?
                }
            };
            if later {
                self.graves.put(key, grave)?;
            }
            return Ok(());
        }
        if self.look_up(key)? {
            let (chunk, place) = self.clocks.read(self.row.slot)?;
            if chunk.life(place) > life {
                return Ok(());
            }
            self.keep_unseen(context, key)?;
            self.remove_row(key)?;
            self.touch(key);
        }
        if self.quarantined {
            quarantine::row_died(self.connection, &self.table, key, life)?;
        }
        self.graves.put(key, grave)
    }

    /// Inserts a row; false when one of this key lives already.
    fn make(
        &mut self,
        context: &Context<'_>,
        life: u64,
        key: &[u8],
        cells: &[Cell<'_>],
    ) -> Result<bool, StorageError> {
        let statement =
            insert_statement(&mut self.inserts, self.connection, &self.table, cells).get()?;
        let mut place = 0;
        for value in Values::of(key).chain(cells.iter().map(|cell| cell.value)) {
            place += 1;
            statement.raw_bind_parameter(place, Bound(value))?;
        }
        if statement.raw_execute()? == 0 {
            return Ok(false);
        }
        let slot = if self.table.without_rowid() {
            self.slots.find_or_make(key)?
        } else {
            self.connection.last_insert_rowid()
        };
        let written = written(context);
        let covered = self.table.numbers_end;
        if cells.len() == self.table.columns.len() {
            self.clocks.made(slot, slot, life, written, covered)?;
        } else {
            let never = self
                .table
                .columns
                .iter()
                .enumerate()
                .filter(|(index, _)| cells.iter().all(|cell| cell.index != *index))
                .map(|(_, column)| column.number);
            self.clocks
                .made_partly(slot, life, written, covered, never)?;
        }
        if self.quarantined {
            quarantine::drop_shorter(self.connection, &self.table.name, &self.keys, key, life)?;
        }
        self.expect_known = false;
        self.touch(key);
        Ok(true)
    }

    /// Two writes of one life meet cell by cell.
    fn meet(
        &mut self,
        context: &mut Context<'_>,
        life: u64,
        key: &[u8],
        cells: &[Cell<'_>],
    ) -> Result<(), StorageError> {
        let slot = self.row.slot;
        let incoming = written(context);
        let mut won: Vec<&Cell<'_>> = Vec::with_capacity(cells.len());
        let mut lost: Vec<&Cell<'_>> = Vec::new();
        let mut beaten: BTreeMap<(u64, u32), Vec<u8>> = BTreeMap::new();
        let (chunk, place) = self.clocks.read(slot)?;
        // Rows are mostly written as a whole, and then one comparison speaks for all their cells.
        let mut latest: Option<(Written, bool, bool)> = None;
        for cell in cells {
            let Some(standing) = chunk.cell(place, cell.number) else {
                won.push(cell);
                continue;
            };
            let same_writer = standing.writer == incoming.writer;
            if same_writer && standing.hlc == incoming.hlc {
                // One writing never differs from itself unless a log was forked.
                if cell.bytes > self.row.value(cell.index) {
                    won.push(cell);
                }
                continue;
            }
            let (wins, is_unseen) = match latest {
                Some((known, wins, is_unseen)) if known == standing => (wins, is_unseen),
                _ => {
                    let wins = match incoming.hlc.cmp(&standing.hlc) {
                        std::cmp::Ordering::Greater => true,
                        std::cmp::Ordering::Less => false,
                        std::cmp::Ordering::Equal => {
                            context.writer_less(standing.writer, incoming.writer)?
                        }
                    };
                    let is_unseen = wins
                        && self.table.policy != Policy::Silent
                        && !context.had_seen(standing.writer, standing.hlc)?;
                    latest = Some((standing, wins, is_unseen));
                    (wins, is_unseen)
                }
            };
            if wins {
                if is_unseen {
                    let kept = beaten.entry((standing.hlc, standing.writer)).or_default();
                    append_cell(kept, cell.number, self.row.value(cell.index));
                }
                won.push(cell);
            } else if !same_writer {
                lost.push(cell);
            }
        }
        if context.seen.is_some() && !lost.is_empty() {
            self.lose(context, life, key, lost.into_iter())?;
        }
        for ((hlc, writer), cells) in beaten {
            self.conflicts.add(
                key,
                Losing {
                    life,
                    hlc,
                    writer,
                    cells,
                },
            )?;
        }
        if won.is_empty() {
            return Ok(());
        }
        let covered = self.table.numbers_end;
        if won.len() == usize::from(covered) {
            self.clocks.made(slot, slot, life, incoming, covered)?;
        } else {
            let numbers: Vec<u16> = won.iter().map(|cell| cell.number).collect();
            self.clocks.wrote(slot, &numbers, incoming)?;
        }
        let changed: Vec<&Cell<'_>> = won
            .into_iter()
            .filter(|cell| cell.bytes != self.row.value(cell.index))
            .collect();
        if !changed.is_empty() {
            self.update_row(key, slot, &changed)?;
        }
        self.touch(key);
        Ok(())
    }

    fn update_row(
        &mut self,
        key: &[u8],
        slot: i64,
        cells: &[&Cell<'_>],
    ) -> Result<(), StorageError> {
        let statement =
            update_statement(&mut self.updates, self.connection, &self.table, cells).get()?;
        for (index, cell) in cells.iter().enumerate() {
            statement.raw_bind_parameter(index + 1, Bound(cell.value))?;
        }
        if self.table.without_rowid() {
            for (index, value) in Values::of(key).enumerate() {
                statement.raw_bind_parameter(cells.len() + 1 + index, Bound(value))?;
            }
        } else {
            statement.raw_bind_parameter(cells.len() + 1, slot)?;
        }
        statement.raw_execute()?;
        Ok(())
    }

    /// Finds a living row by its key and keeps it at hand.
    fn look_up(&mut self, key: &[u8]) -> Result<bool, StorageError> {
        let statement = self.find.get()?;
        for (index, value) in Values::of(key).enumerate() {
            statement.raw_bind_parameter(index + 1, Bound(value))?;
        }
        let mut rows = statement.raw_query();
        let Some(row) = rows.next()? else {
            return Ok(false);
        };
        self.row.fill(&self.table, row)?;
        if self.table.without_rowid() {
            self.row.slot = self.slots.find_or_make(key)?;
        }
        Ok(true)
    }

    /// Removes the row at hand with its clocks.
    fn remove_row(&mut self, key: &[u8]) -> Result<(), StorageError> {
        let slot = self.row.slot;
        let statement = self.delete.get()?;
        if self.table.without_rowid() {
            for (index, value) in Values::of(key).enumerate() {
                statement.raw_bind_parameter(index + 1, Bound(value))?;
            }
        } else {
            statement.raw_bind_parameter(1, slot)?;
        }
        statement.raw_execute()?;
        self.clocks.remove(slot)?;
        if self.table.without_rowid() {
            self.slots.remove(slot)?;
        }
        Ok(())
    }

    /// The incoming write settles what its writer had seen.
    fn close(
        &mut self,
        context: &mut Context<'_>,
        key: &[u8],
        cells: Option<&[Cell<'_>]>,
    ) -> Result<(), StorageError> {
        if context.seen.is_none() || !self.conflicts.may_have(key)? {
            return Ok(());
        }
        let numbers: Option<Vec<u16>> =
            cells.map(|cells| cells.iter().map(|cell| cell.number).collect());
        self.conflicts
            .close(key, numbers.as_deref(), |writer, hlc| {
                context.had_seen(writer, hlc)
            })
    }

    /// Incoming cells that lost go to the conflict log.
    fn lose<'a>(
        &mut self,
        context: &Context<'_>,
        life: u64,
        key: &[u8],
        cells: impl Iterator<Item = &'a Cell<'a>>,
    ) -> Result<(), StorageError> {
        if self.table.policy == Policy::Silent || context.seen.is_none() {
            return Ok(());
        }
        let mut lost: Vec<&Cell<'_>> = cells.collect();
        lost.sort_unstable_by_key(|cell| cell.number);
        let mut bytes = Vec::new();
        for cell in lost {
            append_cell(&mut bytes, cell.number, cell.bytes);
        }
        let Written { hlc, writer, .. } = written(context);
        self.conflicts.add(
            key,
            Losing {
                life,
                hlc,
                writer,
                cells: bytes,
            },
        )
    }

    /// The row at hand ends its life: cells that the incoming writer had not seen go to the conflict log.
    fn keep_unseen(&mut self, context: &mut Context<'_>, key: &[u8]) -> Result<(), StorageError> {
        if self.table.policy == Policy::Silent || context.seen.is_none() {
            return Ok(());
        }
        let (chunk, place) = self.clocks.read(self.row.slot)?;
        let life = chunk.life(place);
        let mut unseen: BTreeMap<(u64, u32), Vec<(u16, usize)>> = BTreeMap::new();
        for (index, column) in self.table.columns.iter().enumerate() {
            if let Some(standing) = chunk.cell(place, column.number)
                && !context.had_seen(standing.writer, standing.hlc)?
            {
                unseen
                    .entry((standing.hlc, standing.writer))
                    .or_default()
                    .push((column.number, index));
            }
        }
        for ((hlc, writer), mut columns) in unseen {
            columns.sort_unstable();
            let mut cells = Vec::new();
            for (number, index) in columns {
                append_cell(&mut cells, number, self.row.value(index));
            }
            self.conflicts.add(
                key,
                Losing {
                    life,
                    hlc,
                    writer,
                    cells,
                },
            )?;
        }
        Ok(())
    }

    fn quarantine(
        &mut self,
        context: &mut Context<'_>,
        life: u64,
        key: &[u8],
        column: &str,
        value: &[u8],
    ) -> Result<(), StorageError> {
        self.quarantined = true;
        let waiting = Waiting {
            table: &self.table.name,
            keys: &self.keys,
            key,
            column,
            life,
            value,
        };
        quarantine::keep(self.connection, waiting, written(context), |left, right| {
            context.writer_less(left, right)
        })
    }

    fn touch(&mut self, key: &[u8]) {
        // What was forgotten was counted then.
        if self.forgotten.is_empty() || !self.forgotten.contains(key) {
            self.note_touched(key);
        }
    }

    fn note_touched(&mut self, key: &[u8]) {
        self.touched += 1;
        if self.touched_keys.len() < KEYS_MAX {
            self.touched_keys.push(key.to_vec());
        }
    }
}

fn written(context: &Context<'_>) -> Written {
    Written {
        hlc: context.stamp.hlc.to_bits(),
        writer: context.writer,
        version: context.version,
    }
}

fn append_cell(out: &mut Vec<u8>, number: u16, mut value: &[u8]) {
    // The bytes were checked when they were read, so this always finds a value.
    if let Ok(value) = Value::read(&mut value) {
        write_cell(out, number, value);
    }
}

fn insert_statement<'s, 'c>(
    statements: &'s mut Vec<ForColumns<'c>>,
    connection: &'c Connection,
    table: &Table,
    cells: &[Cell<'_>],
) -> &'s mut Lazy<'c> {
    statement_for(statements, cells.iter().map(|cell| cell.number), || {
        let names = table
            .key_names
            .iter()
            .chain(cells.iter().map(|cell| &table.columns[cell.index].name))
            .map(String::as_str);
        let places: Vec<String> = (1..=table.key_names.len() + cells.len())
            .map(|place| format!("?{place}"))
            .collect();
        let sql = format!(
            "INSERT INTO {}({}) VALUES ({}) ON CONFLICT DO NOTHING",
            quoted(&table.name),
            list(names),
            places.join(",")
        );
        Lazy::new(connection, &sql.into())
    })
}

fn update_statement<'s, 'c>(
    statements: &'s mut Vec<ForColumns<'c>>,
    connection: &'c Connection,
    table: &Table,
    cells: &[&Cell<'_>],
) -> &'s mut Lazy<'c> {
    statement_for(statements, cells.iter().map(|cell| cell.number), || {
        let sets: Vec<String> = cells
            .iter()
            .enumerate()
            .map(|(place, cell)| {
                format!("{}=?{}", quoted(&table.columns[cell.index].name), place + 1)
            })
            .collect();
        let sql = format!(
            "UPDATE {} SET {} WHERE {}",
            quoted(&table.name),
            sets.join(","),
            table.where_slot(cells.len() + 1)
        );
        Lazy::new(connection, &sql.into())
    })
}

fn statement_for<'s, 'c>(
    statements: &'s mut Vec<ForColumns<'c>>,
    columns: impl Iterator<Item = u16> + Clone,
    make: impl FnOnce() -> Lazy<'c>,
) -> &'s mut Lazy<'c> {
    let known = statements
        .iter()
        .rposition(|(known, _)| known.iter().copied().eq(columns.clone()));
    let place = known.unwrap_or_else(|| {
        statements.push((columns.collect(), make()));
        statements.len() - 1
    });
    &mut statements[place].1
}

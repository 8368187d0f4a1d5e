//! What a transaction did in the end to each row of a table, whatever it did and took back in between.
//!
//! The first note about a slot tells what it held when the transaction began, because nothing had touched it before. Where
//! notes may be stale (a statement failed, a savepoint was rolled back), the table itself tells what the slot holds now.
//! Rows are the same when their keys are the same, whatever slots they had.

use std::collections::BTreeMap;

use aeroedge_crdt::value::Value;
use rusqlite::Connection;

use crate::capture::{Event, EventKind, TableCapture, take_changed, take_key};
use crate::rows::{RowBytes, RowReader};
use crate::slots::Slots;
use crate::storage::StorageError;
use crate::tables::Table;

/// A row that exists and did not, or did under another slot.
#[derive(Debug)]
pub(crate) struct Added {
    pub(crate) slot: i64,
    /// Read only when someone needed it.
    pub(crate) key: Option<Vec<u8>>,
}

/// A row whose columns changed.
#[derive(Debug)]
pub(crate) struct Updated {
    pub(crate) slot: i64,
    /// Its columns, as an index into [`Net::column_sets`].
    pub(crate) columns: usize,
    /// The slot its clocks are in, when that is another one.
    pub(crate) from: Option<i64>,
}

/// A row that existed and does not any more.
#[derive(Debug)]
pub(crate) struct Removed {
    pub(crate) slot: i64,
    pub(crate) key: Vec<u8>,
    /// Its notes, as a range of the sorted notes.
    notes: std::ops::Range<usize>,
}

/// The net effect on one table.
#[derive(Debug, Default)]
pub(crate) struct Net {
    /// Rows made in consecutive slots: first and last.
    pub(crate) runs: Vec<(i64, i64)>,
    pub(crate) added: Vec<Added>,
    pub(crate) updated: Vec<Updated>,
    pub(crate) removed: Vec<Removed>,
    /// Numbers of columns, each set once.
    pub(crate) column_sets: Vec<Vec<u16>>,
}

impl Net {
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
            && self.added.is_empty()
            && self.updated.is_empty()
            && self.removed.is_empty()
    }

    fn column_set(&mut self, columns: &[u16]) -> usize {
        // Statements change the same columns row after row.
        if let Some(place) = self.column_sets.iter().rposition(|known| known == columns) {
            return place;
        }
        self.column_sets.push(columns.to_vec());
        self.column_sets.len() - 1
    }

    fn update(&mut self, slot: i64, columns: &[u16], from: Option<i64>) {
        if !columns.is_empty() || from.is_some() {
            let columns = self.column_set(columns);
            self.updated.push(Updated {
                slot,
                columns,
                from,
            });
        }
    }

    /// Turns runs into single rows.
    fn expand_runs(&mut self) {
        for (first, last) in std::mem::take(&mut self.runs) {
            self.added
                .extend((first..=last).map(|slot| Added { slot, key: None }));
        }
    }
}

/// What is needed to look at the table.
#[derive(Debug)]
pub(crate) struct Access<'a, 'c> {
    pub(crate) connection: &'c Connection,
    pub(crate) table: &'a Table,
    pub(crate) reader: RowReader<'c>,
    pub(crate) slots: Slots<'c>,
}

impl<'a, 'c> Access<'a, 'c> {
    pub(crate) fn new(connection: &'c Connection, table: &'a Table) -> Self {
        Self {
            connection,
            table,
            reader: RowReader::new(connection, table),
            slots: Slots::new(connection, &table.sql),
        }
    }

    pub(crate) fn read(&mut self, slot: i64, into: &mut RowBytes) -> Result<bool, StorageError> {
        self.reader.read(self.table, slot, &mut self.slots, into)
    }

    /// The slots of a range that hold a row.
    fn present(&mut self, first: i64, last: i64) -> Result<Vec<i64>, StorageError> {
        if self.table.without_rowid() {
            let there = self.read(first, &mut RowBytes::default())?;
            return Ok(if there { vec![first] } else { Vec::new() });
        }
        let mut present = Vec::new();
        let mut rows = self.reader.range(first, last)?;
        while let Some(row) = rows.next()? {
            present.push(row.get(0)?);
        }
        Ok(present)
    }

    /// Reads the keys that are not known yet.
    pub(crate) fn read_keys(&mut self, added: &mut [Added]) -> Result<(), StorageError> {
        let mut row = RowBytes::default();
        for added in added.iter_mut().filter(|added| added.key.is_none()) {
            if self.table.without_rowid() {
                added.key = Some(self.slots.key(added.slot)?);
            } else {
                if !self.read(added.slot, &mut row)? {
                    return Err(StorageError::Damaged(
                        "a row vanished within its transaction",
                    ));
                }
                added.key = Some(row.key.clone());
            }
        }
        Ok(())
    }
}

/// The note of one event, in the order of slots and then of time.
#[derive(Debug, Clone, Copy)]
struct Note {
    slot: i64,
    time: usize,
    kind: EventKind,
    arena: usize,
}

/// Works out the net effect. `trusted` says that every note still holds.
pub(crate) fn effect(
    access: &mut Access<'_, '_>,
    capture: &mut TableCapture,
    trusted: bool,
    need_keys: bool,
) -> Result<Net, StorageError> {
    if access.table.without_rowid() {
        number_keys(access, capture)?;
    }
    let mut net = Net::default();
    let mut notes: Vec<Note> = Vec::new();
    let mut runs: Vec<(i64, i64, usize)> = Vec::new();
    for (time, event) in capture.events.iter().enumerate() {
        match event.kind {
            EventKind::Insert { count } => runs.push((event.slot, event.slot + (count - 1), time)),
            kind => notes.push(Note {
                slot: event.slot,
                time,
                kind,
                arena: event.arena,
            }),
        }
    }
    if !notes.is_sorted_by_key(|note| note.slot) {
        notes.sort_by_key(|note| note.slot);
    }
    split_runs(&mut net, &mut notes, &runs);
    if !trusted {
        verify_runs(&mut net, access)?;
    }
    let mut row = RowBytes::default();
    let mut columns = Vec::new();
    let mut start = 0;
    while start < notes.len() {
        let slot = notes[start].slot;
        let end = start
            + notes[start..]
                .iter()
                .take_while(|note| note.slot == slot)
                .count();
        let group = &notes[start..end];
        let before = !matches!(group[0].kind, EventKind::Insert { .. });
        let first_delete = group.iter().position(|note| note.kind == EventKind::Delete);
        let mut read = false;
        let after = if trusted {
            group[group.len() - 1].kind != EventKind::Delete
        } else {
            read = true;
            access.read(slot, &mut row)?
        };
        match (before, after) {
            (false, false) => {
                if access.table.without_rowid() {
                    access.slots.remove(slot)?;
                }
            }
            (false, true) => net.added.push(Added { slot, key: None }),
            (true, false) => {
                let delete =
                    first_delete.ok_or(StorageError::Damaged("a row vanished without a trace"))?;
                let key = key_of(access.table, capture, group[delete]);
                net.removed.push(Removed {
                    slot,
                    key,
                    notes: start..end,
                });
            }
            (true, true) if first_delete.is_none() && trusted => {
                columns.clear();
                for note in group {
                    changed_columns(access.table, capture, *note, &mut columns);
                }
                if group.len() > 1 {
                    columns.sort_unstable();
                    columns.dedup();
                }
                net.update(slot, &columns, None);
            }
            (true, true) => {
                if !read {
                    access.read(slot, &mut row)?;
                }
                let key = first_delete.map(|delete| key_of(access.table, capture, group[delete]));
                if key.is_some_and(|key| key != row.key) {
                    let delete = first_delete.unwrap_or_default();
                    let key = key_of(access.table, capture, group[delete]);
                    net.removed.push(Removed {
                        slot,
                        key,
                        notes: start..end,
                    });
                    net.added.push(Added {
                        slot,
                        key: Some(row.key.clone()),
                    });
                } else {
                    let old = old_values(access.table, capture, group);
                    differing(access.table, &old, &row, &mut columns);
                    net.update(slot, &columns, None);
                }
            }
        }
        start = end;
    }
    if need_keys || !net.removed.is_empty() {
        net.expand_runs();
        access.read_keys(&mut net.added)?;
    }
    if !net.removed.is_empty() && !net.added.is_empty() {
        join_by_key(&mut net, access, capture, &notes)?;
    }
    Ok(net)
}

/// Gives every note of a table WITHOUT ROWID the slot of its key.
fn number_keys(
    access: &mut Access<'_, '_>,
    capture: &mut TableCapture,
) -> Result<(), StorageError> {
    let keys = access.table.key_names.len();
    let TableCapture { events, arena } = capture;
    for event in events {
        let mut rest = &arena[event.arena..];
        let before = rest.len();
        let key = take_key(&mut rest, keys);
        event.slot = access.slots.find_or_make(key)?;
        event.arena += before - rest.len();
    }
    Ok(())
}

/// Cuts out of the runs of inserts the slots that have other notes, so that each slot is treated in one place.
fn split_runs(net: &mut Net, notes: &mut Vec<Note>, runs: &[(i64, i64, usize)]) {
    let mut touched: Vec<i64> = notes.iter().map(|note| note.slot).collect();
    touched.dedup();
    let mut from_runs = Vec::new();
    for &(first, last, time) in runs {
        let mut start = first;
        let from = touched.partition_point(|&slot| slot < first);
        for &slot in touched[from..].iter().take_while(|&&slot| slot <= last) {
            if slot > start {
                net.runs.push((start, slot - 1));
            }
            from_runs.push(Note {
                slot,
                time,
                kind: EventKind::Insert { count: 1 },
                arena: 0,
            });
            start = slot.saturating_add(1);
        }
        if start <= last {
            net.runs.push((start, last));
        }
    }
    if !from_runs.is_empty() {
        notes.extend(from_runs);
        notes.sort_by_key(|note| (note.slot, note.time));
    }
    if !net.runs.is_sorted() {
        net.runs.sort_unstable();
    }
    net.runs.dedup_by(|next, run| {
        let touches = run.1.checked_add(1).is_none_or(|after| next.0 <= after);
        if touches {
            run.1 = run.1.max(next.1);
        }
        touches
    });
}

/// Keeps of the runs what is really there.
fn verify_runs(net: &mut Net, access: &mut Access<'_, '_>) -> Result<(), StorageError> {
    let mut verified: Vec<(i64, i64)> = Vec::new();
    for (first, last) in std::mem::take(&mut net.runs) {
        if access.table.without_rowid() {
            for slot in first..=last {
                if access.present(slot, slot)?.is_empty() {
                    access.slots.remove(slot)?;
                } else {
                    verified.push((slot, slot));
                }
            }
            continue;
        }
        for slot in access.present(first, last)? {
            match verified.last_mut() {
                Some((_, end)) if *end + 1 == slot => *end = slot,
                _ => verified.push((slot, slot)),
            }
        }
    }
    net.runs = verified;
    Ok(())
}

/// A row that went under one slot and came under another is the same row.
fn join_by_key(
    net: &mut Net,
    access: &mut Access<'_, '_>,
    capture: &TableCapture,
    notes: &[Note],
) -> Result<(), StorageError> {
    let mut place_by_key: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for (place, added) in net.added.iter().enumerate() {
        place_by_key.insert(added.key.clone().unwrap_or_default(), place);
    }
    let mut joined = vec![false; net.added.len()];
    let mut row = RowBytes::default();
    let mut columns = Vec::new();
    let mut moved = Vec::new();
    for removed in std::mem::take(&mut net.removed) {
        let Some(&place) = place_by_key.get(&removed.key) else {
            net.removed.push(removed);
            continue;
        };
        joined[place] = true;
        let slot = net.added[place].slot;
        access.read(slot, &mut row)?;
        let old = old_values(access.table, capture, &notes[removed.notes.clone()]);
        differing(access.table, &old, &row, &mut columns);
        moved.push((slot, columns.clone(), removed.slot));
    }
    let mut places = joined.into_iter();
    net.added.retain(|_| !places.next().unwrap_or(false));
    for (slot, columns, from) in moved {
        net.update(slot, &columns, Some(from));
    }
    Ok(())
}

/// The key a deleted row had.
fn key_of(table: &Table, capture: &TableCapture, note: Note) -> Vec<u8> {
    let mut rest = &capture.arena[note.arena..];
    let last = table.shape.keys.iter().max().map_or(0, |place| place + 1);
    let values: Vec<Value<'_>> = std::iter::from_fn(|| Value::read(&mut rest).ok())
        .take(last)
        .collect();
    let mut key = Vec::new();
    for &place in &table.shape.keys {
        values
            .get(place)
            .copied()
            .unwrap_or(Value::Null)
            .write(&mut key);
    }
    key
}

/// Adds the numbers of the columns that an update changed.
fn changed_columns(table: &Table, capture: &TableCapture, note: Note, columns: &mut Vec<u16>) {
    let mut rest = &capture.arena[note.arena..];
    while let Some((place, _)) = take_changed(&mut rest) {
        if let Some(number) = table.number_at(place) {
            columns.push(number);
        }
    }
}

/// What the columns held when the transaction began, by place in the table, as far as they were touched.
fn old_values<'a>(
    table: &Table,
    capture: &'a TableCapture,
    group: &[Note],
) -> BTreeMap<usize, Value<'a>> {
    let mut old = BTreeMap::new();
    for note in group {
        let mut rest = &capture.arena[note.arena..];
        match note.kind {
            EventKind::Insert { .. } => {}
            EventKind::Update => {
                while let Some((place, value)) = take_changed(&mut rest) {
                    old.entry(place).or_insert(value);
                }
            }
            EventKind::Delete => {
                for place in 0..table.shape.columns.len() {
                    let value = Value::read(&mut rest).unwrap_or(Value::Null);
                    old.entry(place).or_insert(value);
                }
                break;
            }
        }
    }
    old
}

/// The numbers of the columns that hold something else now.
fn differing(
    table: &Table,
    old: &BTreeMap<usize, Value<'_>>,
    row: &RowBytes,
    columns: &mut Vec<u16>,
) {
    columns.clear();
    let mut bytes = Vec::new();
    for (index, column) in table.columns.iter().enumerate() {
        if let Some(value) = old.get(&column.place) {
            bytes.clear();
            value.write(&mut bytes);
            if bytes != row.value(index) {
                columns.push(column.number);
            }
        }
    }
    columns.sort_unstable();
}

impl Event {
    /// Rows that the event speaks of.
    pub(crate) fn rows(&self) -> u64 {
        match self.kind {
            EventKind::Insert { count } => count as u64,
            _ => 1,
        }
    }
}

//! Writes an image: tables by name, rows by key, whatever order they were merged in.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use aeroedge_crdt::changeset::Values;
use aeroedge_crdt::msgpack::{write_array, write_bytes, write_nil, write_text, write_unsigned};
use aeroedge_crdt::value::Value;
use rusqlite::Connection;

use super::{Scope, VERSION};
use crate::Replica;
use crate::clocks::{ClockStore, Written};
use crate::conflicts::cells;
use crate::names::quoted;
use crate::quarantine::joined_names;
use crate::rows::RowBytes;
use crate::slots::Slots;
use crate::storage::StorageError;
use crate::tables::Table;
use crate::writers::Writers;

impl Replica {
    /// The state of a compartment as canonical bytes.
    pub fn image(&mut self, scope: &Scope<'_>) -> Result<Vec<u8>, StorageError> {
        let Self { connection, engine } = self;
        engine.refresh_for_reading(connection)?;
        connection.execute_batch("SAVEPOINT replica_image")?;
        let tables: Vec<&Table> = engine.tables.all.iter().map(|table| &**table).collect();
        let image = write(connection, &tables, &mut engine.writers, scope);
        connection.execute_batch("RELEASE replica_image")?;
        image
    }
}

/// The name of a table and those of its key columns, each followed by a line feed.
type Name = (String, String);

/// What waits for the schema of one row.
#[derive(Default)]
struct WaitingRow {
    life: u64,
    /// Of the entry that says the row is dead.
    dead: Option<Written>,
    cells: BTreeMap<String, (u64, Written, Vec<u8>)>,
}

type WaitingRows = BTreeMap<Vec<u8>, WaitingRow>;

fn write(
    connection: &Connection,
    tables: &[&Table],
    writers: &mut Writers,
    scope: &Scope<'_>,
) -> Result<Vec<u8>, StorageError> {
    let known: BTreeMap<Name, &Table> = tables
        .iter()
        .map(|table| {
            let name = (table.name.clone(), joined_names(&table.key_names));
            (name, *table)
        })
        .collect();
    let mut waiting = waiting_rows(connection, &known, scope)?;
    let names: BTreeSet<Name> = known.keys().chain(waiting.keys()).cloned().collect();
    let mut stamps = Stamps {
        connection,
        writers,
        numbers: BTreeMap::new(),
    };
    let mut written = Vec::new();
    let mut count = 0;
    for name in names {
        let rows = waiting.remove(&name).unwrap_or_default();
        let mut parts = Parts {
            living: Vec::new(),
            dead: Vec::new(),
            losing: Vec::new(),
            columns: BTreeMap::new(),
            stamps: &mut stamps,
        };
        match known.get(&name) {
            Some(table) if is_in(table, scope) => {
                parts.living(connection, table, scope, &rows)?;
                parts.dead(connection, Some(table), scope, &rows)?;
                parts.losing(connection, table, scope)?;
            }
            Some(_) => continue,
            None => {
                let mut order: Vec<_> = rows.iter().collect();
                order.sort_by(|left, right| by_values(left.0, right.0));
                for (key, row) in order {
                    parts.stranger(key, row)?;
                }
                parts.dead(connection, None, scope, &rows)?;
            }
        }
        if parts.living.is_empty() && parts.dead.is_empty() && parts.losing.is_empty() {
            continue;
        }
        count += 1;
        write_array(&mut written, 5);
        write_text(&mut written, &name.0);
        let keys: Vec<&str> = name.1.split_terminator('\n').collect();
        write_array(&mut written, keys.len());
        for key in keys {
            write_text(&mut written, key);
        }
        for part in [&parts.living, &parts.dead, &parts.losing] {
            write_bytes(&mut written, part);
        }
    }
    let mut image = Vec::with_capacity(written.len() + 8);
    write_array(&mut image, 2);
    write_unsigned(&mut image, VERSION);
    write_array(&mut image, count);
    image.extend_from_slice(&written);
    Ok(image)
}

/// Whether rows of a known table may be in the scope.
fn is_in(table: &Table, scope: &Scope<'_>) -> bool {
    if table.compartment_key.is_some() {
        scope.compartment.is_some()
    } else {
        scope.with_default
    }
}

fn waiting_rows(
    connection: &Connection,
    known: &BTreeMap<Name, &Table>,
    scope: &Scope<'_>,
) -> Result<BTreeMap<Name, WaitingRows>, StorageError> {
    let mut found: BTreeMap<Name, WaitingRows> = BTreeMap::new();
    let mut statement = connection.prepare(
        "SELECT tbl, keys, key, col, life, hlc, writer, value FROM replica_quarantine ORDER BY tbl, keys, key, col",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: Name = (row.get(0)?, row.get(1)?);
        let key: Vec<u8> = row.get(2)?;
        let belongs = match known.get(&name) {
            Some(table) => scope.has_row(table, &key),
            None => scope.has_stranger(&key),
        };
        if !belongs {
            continue;
        }
        let column: String = row.get(3)?;
        let life = row.get::<_, i64>(4)? as u64;
        let written = Written {
            hlc: row.get::<_, i64>(5)? as u64,
            writer: row.get(6)?,
            version: 0,
        };
        let standing = found.entry(name).or_default().entry(key).or_default();
        standing.life = standing.life.max(life);
        if !column.is_empty() {
            let cell = (life, written, row.get(7)?);
            standing.cells.insert(column, cell);
        } else if !aeroedge_crdt::life::Life::from_number(life).is_alive() {
            standing.dead = Some(written);
        }
    }
    Ok(found)
}

/// Compares keys as SQLite orders them: numbers, then text, then blobs.
fn by_values(left: &[u8], right: &[u8]) -> Ordering {
    let rank = |value: &Value<'_>| match value {
        Value::Null => 0,
        Value::Integer(_) | Value::Real(_) => 1,
        Value::Text(_) => 2,
        Value::Blob(_) => 3,
    };
    for (left, right) in Values::of(left).zip(Values::of(right)) {
        let order = match (left, right) {
            (Value::Integer(left), Value::Integer(right)) => left.cmp(&right),
            (Value::Text(left), Value::Text(right)) | (Value::Blob(left), Value::Blob(right)) => {
                left.cmp(right)
            }
            _ => rank(&left).cmp(&rank(&right)),
        };
        if order.is_ne() {
            return order;
        }
    }
    left.cmp(right)
}

/// Writers by their order of appearance.
struct Stamps<'a> {
    connection: &'a Connection,
    writers: &'a mut Writers,
    numbers: BTreeMap<u32, u64>,
}

impl Stamps<'_> {
    fn write(&mut self, out: &mut Vec<u8>, written: Written) -> Result<(), StorageError> {
        write_unsigned(out, written.hlc);
        let next = self.numbers.len() as u64;
        if let Some(number) = self.numbers.get(&written.writer) {
            write_unsigned(out, *number);
        } else {
            let key = self.writers.key(self.connection, written.writer)?;
            self.numbers.insert(written.writer, next);
            write_unsigned(out, next);
            write_bytes(out, key.as_bytes());
        }
        Ok(())
    }
}

/// The parts of one table.
struct Parts<'a, 'w> {
    living: Vec<u8>,
    dead: Vec<u8>,
    losing: Vec<u8>,
    columns: BTreeMap<String, u64>,
    stamps: &'a mut Stamps<'w>,
}

/// A cell on its way into an image.
struct Cell<'a> {
    column: &'a str,
    written: Written,
    value: &'a [u8],
}

fn write_column(columns: &mut BTreeMap<String, u64>, out: &mut Vec<u8>, column: &str) {
    if let Some(number) = columns.get(column) {
        write_unsigned(out, *number);
        return;
    }
    let next = columns.len() as u64;
    columns.insert(column.to_owned(), next);
    write_unsigned(out, next);
    write_text(out, column);
}

impl Parts<'_, '_> {
    /// Rows of a known table, and what waits of them and beside them.
    fn living(
        &mut self,
        connection: &Connection,
        table: &Table,
        scope: &Scope<'_>,
        waiting: &WaitingRows,
    ) -> Result<(), StorageError> {
        let mut columns: Vec<usize> = (0..table.columns.len()).collect();
        columns.sort_by(|left, right| table.columns[*left].name.cmp(&table.columns[*right].name));
        let mut clocks = ClockStore::new(connection, &table.sql)?;
        let mut slots = Slots::new(connection, &table.sql);
        let order: Vec<String> = table
            .key_names
            .iter()
            .map(|key| format!("{} COLLATE BINARY", quoted(key)))
            .collect();
        let filter = table
            .compartment_key
            .map(|place| format!("WHERE {} = ?1", quoted(&table.key_names[place])));
        let sql = format!(
            "{} {} ORDER BY {}",
            table.select(),
            filter.as_deref().unwrap_or_default(),
            order.join(",")
        );
        let mut statement = connection.prepare(&sql)?;
        let mut rows = match (&filter, &scope.compartment) {
            (Some(_), Some(compartment)) => statement.query([compartment.as_bytes()])?,
            _ => statement.query([])?,
        };
        let mut beside: Vec<_> = waiting.iter().collect();
        beside.sort_by(|left, right| by_values(left.0, right.0));
        let mut beside = beside.into_iter().peekable();
        let mut row = RowBytes::default();
        while let Some(found) = rows.next()? {
            row.fill(table, found)?;
            while let Some((key, stranger)) =
                beside.next_if(|(key, _)| by_values(key, &row.key).is_lt())
            {
                self.stranger(key, stranger)?;
            }
            let waiting = beside.next_if(|(key, _)| **key == row.key);
            let slot = if table.without_rowid() {
                slots
                    .find(&row.key)?
                    .ok_or(StorageError::Damaged("a row has no slot"))?
            } else {
                row.slot
            };
            let (chunk, place) = clocks.read(slot)?;
            let life = chunk.life(place);
            let mut cells: Vec<Cell<'_>> = Vec::with_capacity(columns.len());
            for &index in &columns {
                let column = &table.columns[index];
                if let Some(written) = chunk.cell(place, column.number) {
                    cells.push(Cell {
                        column: &column.name,
                        written,
                        value: row.value(index),
                    });
                }
            }
            if let Some((_, waiting)) = waiting {
                cells.extend(waiting_cells(waiting, life));
                // Stable: of one column, what stands in the table comes first.
                cells.sort_by(|left, right| left.column.cmp(right.column));
            }
            self.row(&row.key, life, &cells)?;
        }
        for (key, stranger) in beside {
            self.stranger(key, stranger)?;
        }
        Ok(())
    }

    /// A living row that the tables here cannot hold.
    fn stranger(&mut self, key: &[u8], row: &WaitingRow) -> Result<(), StorageError> {
        if !aeroedge_crdt::life::Life::from_number(row.life).is_alive() {
            return Ok(());
        }
        let cells: Vec<Cell<'_>> = waiting_cells(row, row.life).collect();
        self.row(key, row.life, &cells)
    }

    fn row(&mut self, key: &[u8], life: u64, cells: &[Cell<'_>]) -> Result<(), StorageError> {
        let out = &mut self.living;
        out.extend_from_slice(key);
        write_unsigned(out, life);
        write_unsigned(out, cells.len() as u64);
        let mut before = None;
        for cell in cells {
            write_column(&mut self.columns, out, cell.column);
            let stamp = (cell.written.hlc, cell.written.writer);
            if before == Some(stamp) {
                write_nil(out);
            } else {
                self.stamps.write(out, cell.written)?;
                before = Some(stamp);
            }
            out.extend_from_slice(cell.value);
        }
        Ok(())
    }

    /// Tombstones, those of rows the tables cannot hold among them.
    fn dead(
        &mut self,
        connection: &Connection,
        table: Option<&Table>,
        scope: &Scope<'_>,
        waiting: &WaitingRows,
    ) -> Result<(), StorageError> {
        let mut graves: BTreeMap<Vec<u8>, (u64, Written)> = waiting
            .iter()
            .filter_map(|(key, row)| Some((key.clone(), (row.life, row.dead?))))
            .filter(|(_, (life, _))| !aeroedge_crdt::life::Life::from_number(*life).is_alive())
            .collect();
        if let Some(table) = table {
            let mut statement = connection.prepare(&format!(
                "SELECT key, life, hlc, writer FROM replica_grave_{}",
                table.id
            ))?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let key: Vec<u8> = row.get(0)?;
                if scope.has_row(table, &key) {
                    let written = Written {
                        hlc: row.get::<_, i64>(2)? as u64,
                        writer: row.get(3)?,
                        version: 0,
                    };
                    graves.insert(key, (row.get::<_, i64>(1)? as u64, written));
                }
            }
        }
        for (key, (life, written)) in graves {
            self.dead.extend_from_slice(&key);
            write_unsigned(&mut self.dead, life);
            self.stamps.write(&mut self.dead, written)?;
        }
        Ok(())
    }

    /// Open conflicts.
    fn losing(
        &mut self,
        connection: &Connection,
        table: &Table,
        scope: &Scope<'_>,
    ) -> Result<(), StorageError> {
        let mut statement = connection.prepare(
            "SELECT c.key, c.life, c.hlc, c.writer, c.cells FROM replica_conflict AS c
             JOIN replica_writer AS w ON w.number = c.writer
             WHERE c.tbl = ?1 ORDER BY c.key, c.life, c.hlc, w.key",
        )?;
        let mut rows = statement.query([table.id])?;
        while let Some(row) = rows.next()? {
            let key: Vec<u8> = row.get(0)?;
            if !scope.has_row(table, &key) {
                continue;
            }
            let packed: Vec<u8> = row.get(4)?;
            let mut named: Vec<_> = cells(&packed)
                .map(|(number, value)| (table.column_name(number), value.to_bytes()))
                .collect();
            named.sort_unstable();
            let written = Written {
                hlc: row.get::<_, i64>(2)? as u64,
                writer: row.get(3)?,
                version: 0,
            };
            let out = &mut self.losing;
            out.extend_from_slice(&key);
            write_unsigned(out, row.get::<_, i64>(1)? as u64);
            self.stamps.write(out, written)?;
            write_unsigned(out, named.len() as u64);
            for (name, value) in named {
                write_column(&mut self.columns, out, name);
                out.extend_from_slice(&value);
            }
        }
        Ok(())
    }
}

/// What waits of a row in a life, by column.
fn waiting_cells(row: &WaitingRow, of_life: u64) -> impl Iterator<Item = Cell<'_>> {
    row.cells
        .iter()
        .filter(move |(_, (life, ..))| *life == of_life)
        .map(|(column, (_, written, value))| Cell {
            column,
            written: *written,
            value,
        })
}

//! The conflict log: writes that lost to a write they had not seen, until someone who saw both writes again.
//!
//! An entry is one losing stamp of one row with the cells it wrote. A later write closes the cells it writes itself, a
//! delete closes all, but only of entries its writer had seen; so the log is the same on every device.

use std::collections::BTreeMap;

use aeroedge_crdt::changeset::Values;
use aeroedge_crdt::hlc::{Hlc, Stamp};
use aeroedge_crdt::life::Life;
use aeroedge_crdt::msgpack::{read_unsigned, write_unsigned};
use aeroedge_crdt::value::Value;
use rusqlite::Connection;

use crate::Replica;
use crate::clocks::{ClockStore, Written};
use crate::graves::Graves;
use crate::rows::RowBytes;
use crate::slots::Slots;
use crate::statements::{Lazy, Sql};
use crate::storage::StorageError;
use crate::tables::Table;
use crate::values::{Bound, owned_value, owned_values};
use crate::writers::Writers;

/// A cell whose concurrent edit lost.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// The table.
    pub table: String,
    /// Values of the key columns, in key order.
    pub key: Vec<rusqlite::types::Value>,
    /// The column.
    pub column: String,
    /// What was written and lost.
    pub losing: rusqlite::types::Value,
    /// When and by whom.
    pub losing_stamp: Stamp,
    /// The life of the row in which it was written; shorter than the present one if the row died meanwhile.
    pub losing_life: Life,
    /// What the cell holds now; none when the row is dead.
    pub winning: Option<rusqlite::types::Value>,
    /// When and by whom the present value was written, or the row deleted; none for a default that no one wrote.
    pub winning_stamp: Option<Stamp>,
}

/// Which conflicts to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConflictFilter<'a> {
    /// Only those of one table.
    pub table: Option<&'a str>,
    /// At most so many.
    pub limit: Option<usize>,
    /// Also those whose losing value equals the winning one, which need no one's attention.
    pub with_equal: bool,
}

/// One losing stamp of one row.
#[derive(Debug)]
pub(crate) struct Losing {
    pub(crate) life: u64,
    pub(crate) hlc: u64,
    pub(crate) writer: u32,
    pub(crate) cells: Vec<u8>,
}

/// The log as far as it concerns one table.
#[derive(Debug)]
pub(crate) struct ConflictLog<'c> {
    connection: &'c Connection,
    table: i64,
    select: Lazy<'c>,
    insert: Lazy<'c>,
    update: Lazy<'c>,
    delete: Lazy<'c>,
    any: Option<bool>,
    /// Entries that are not in the table yet, by row: they go there in the order of keys, which costs far less than any other.
    added: BTreeMap<Vec<u8>, Vec<Losing>>,
    added_bytes: usize,
}

/// Added entries are written once they take this much memory.
const ADDED_BYTES_MAX: usize = 32 << 20;

/// Takes the cells of an entry one by one.
pub(crate) fn cells(bytes: &[u8]) -> impl Iterator<Item = (u16, Value<'_>)> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let column = read_unsigned(&mut rest).ok()?;
        Some((column as u16, Value::read(&mut rest).ok()?))
    })
}

/// Appends a cell to an entry.
pub(crate) fn write_cell(out: &mut Vec<u8>, column: u16, value: Value<'_>) {
    write_unsigned(out, u64::from(column));
    value.write(out);
}

impl<'c> ConflictLog<'c> {
    pub(crate) fn new(connection: &'c Connection, table: i64) -> Self {
        let lazy = |sql: &'static str| Lazy::new(connection, &Sql::Fixed(sql));
        Self {
            connection,
            table,
            select: lazy("SELECT life, hlc, writer, cells FROM replica_conflict WHERE tbl = ?1 AND key = ?2"),
            insert: lazy(
                "INSERT INTO replica_conflict(tbl, key, life, hlc, writer, cells) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO NOTHING",
            ),
            update: lazy(
                "UPDATE replica_conflict SET cells = ?6 WHERE tbl = ?1 AND key = ?2 AND life = ?3 AND hlc = ?4 AND writer = ?5",
            ),
            delete: lazy(
                "DELETE FROM replica_conflict WHERE tbl = ?1 AND key = ?2 AND life = ?3 AND hlc = ?4 AND writer = ?5",
            ),
            any: None,
            added: BTreeMap::new(),
            added_bytes: 0,
        }
    }

    /// Whether a row may have an entry.
    pub(crate) fn may_have(&mut self, key: &[u8]) -> Result<bool, StorageError> {
        if self.added.contains_key(key) {
            self.flush()?;
        }
        self.any()
    }

    /// Whether the table has any entry: nothing needs to be looked up while there is none.
    pub(crate) fn any(&mut self) -> Result<bool, StorageError> {
        if let Some(any) = self.any {
            return Ok(any);
        }
        let any = self
            .connection
            .prepare_cached("SELECT EXISTS(SELECT 1 FROM replica_conflict WHERE tbl = ?1)")?
            .query_row([self.table], |row| row.get(0))?;
        self.any = Some(any);
        Ok(any)
    }

    /// The entries of a row.
    pub(crate) fn of(&mut self, key: &[u8]) -> Result<Vec<Losing>, StorageError> {
        if !self.may_have(key)? {
            return Ok(Vec::new());
        }
        let statement = self.select.get()?;
        let rows = statement.query_map((self.table, key), |row| {
            Ok(Losing {
                life: row.get::<_, i64>(0)? as u64,
                hlc: row.get::<_, i64>(1)? as u64,
                writer: row.get(2)?,
                cells: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A write of `columns` (none: a delete, which concerns all) settles what its writer had seen.
    pub(crate) fn close(
        &mut self,
        key: &[u8],
        columns: Option<&[u16]>,
        mut seen: impl FnMut(u32, u64) -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        for losing in self.of(key)? {
            if !seen(losing.writer, losing.hlc)? {
                continue;
            }
            let mut rest = Vec::new();
            if let Some(columns) = columns {
                for (column, value) in cells(&losing.cells) {
                    if !columns.contains(&column) {
                        write_cell(&mut rest, column, value);
                    }
                }
            }
            if rest.len() == losing.cells.len() {
                continue;
            }
            let (life, hlc) = (losing.life as i64, losing.hlc as i64);
            if rest.is_empty() {
                self.delete
                    .get()?
                    .execute((self.table, key, life, hlc, losing.writer))?;
            } else {
                self.update
                    .get()?
                    .execute((self.table, key, life, hlc, losing.writer, rest))?;
            }
        }
        Ok(())
    }

    /// Drops whatever is kept about a row.
    pub(crate) fn forget(&mut self, key: &[u8]) -> Result<(), StorageError> {
        self.added.remove(key);
        self.connection
            .prepare_cached("DELETE FROM replica_conflict WHERE tbl = ?1 AND key = ?2")?
            .execute((self.table, key))?;
        Ok(())
    }

    /// Keeps cells that lost.
    pub(crate) fn add(&mut self, key: &[u8], losing: Losing) -> Result<(), StorageError> {
        if losing.cells.is_empty() {
            return Ok(());
        }
        self.added_bytes += key.len() + losing.cells.len();
        self.added.entry(key.to_vec()).or_default().push(losing);
        if self.added_bytes > ADDED_BYTES_MAX {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Writes what was added.
    pub(crate) fn flush(&mut self) -> Result<(), StorageError> {
        self.added_bytes = 0;
        for (key, entries) in std::mem::take(&mut self.added) {
            for losing in entries {
                self.store(&key, &losing)?;
            }
        }
        Ok(())
    }

    fn store(&mut self, key: &[u8], losing: &Losing) -> Result<(), StorageError> {
        self.any = Some(true);
        let (life, hlc) = (losing.life as i64, losing.hlc as i64);
        let inserted = self.insert.get()?.execute((
            self.table,
            key,
            life,
            hlc,
            losing.writer,
            &losing.cells,
        ))?;
        if inserted == 0 {
            let known = self.of(key)?.into_iter().find(|known| {
                (known.life, known.hlc, known.writer) == (losing.life, losing.hlc, losing.writer)
            });
            let mut both: Vec<(u16, Value<'_>)> = cells(&losing.cells).collect();
            if let Some(known) = &known {
                both.extend(cells(&known.cells));
            }
            // The greater of two values of one cell stands first and stays.
            both.sort_by_cached_key(|(column, value)| {
                (*column, std::cmp::Reverse(value.to_bytes()))
            });
            both.dedup_by_key(|cell| cell.0);
            let mut merged = Vec::new();
            for (column, value) in both {
                write_cell(&mut merged, column, value);
            }
            self.update
                .get()?
                .execute((self.table, key, life, hlc, losing.writer, merged))?;
        }
        Ok(())
    }
}

impl Replica {
    /// The open conflicts, those of one row together.
    pub fn conflicts(&mut self, filter: ConflictFilter<'_>) -> Result<Vec<Conflict>, StorageError> {
        let Self { connection, engine } = self;
        engine.refresh_for_reading(connection)?;
        let mut found = Vec::new();
        for table in &engine.tables.all {
            if filter.table.is_none_or(|name| name == table.name) {
                let mut listing = Listing::new(connection, table, &mut engine.writers)?;
                listing.run(&filter, &mut found)?;
            }
        }
        Ok(found)
    }
}

/// Lists the conflicts of one table.
struct Listing<'a> {
    connection: &'a Connection,
    table: &'a Table,
    writers: &'a mut Writers,
    clocks: ClockStore<'a>,
    graves: Graves<'a>,
    slots: Slots<'a>,
}

impl<'a> Listing<'a> {
    fn new(
        connection: &'a Connection,
        table: &'a Table,
        writers: &'a mut Writers,
    ) -> Result<Self, StorageError> {
        Ok(Self {
            connection,
            table,
            writers,
            clocks: ClockStore::new(connection, &table.sql)?,
            graves: Graves::new(connection, &table.sql)?,
            slots: Slots::new(connection, &table.sql),
        })
    }

    fn run(
        &mut self,
        filter: &ConflictFilter<'_>,
        found: &mut Vec<Conflict>,
    ) -> Result<(), StorageError> {
        let limit = filter.limit.unwrap_or(usize::MAX);
        let mut statement = self.connection.prepare(
            "SELECT key, life, hlc, writer, cells FROM replica_conflict WHERE tbl = ?1 ORDER BY key, life, hlc, writer",
        )?;
        let mut rows = statement.query([self.table.id])?;
        while found.len() < limit
            && let Some(row) = rows.next()?
        {
            let key: Vec<u8> = row.get(0)?;
            let losing_life = Life::from_number(row.get::<_, i64>(1)? as u64);
            let losing = Written {
                hlc: row.get::<_, i64>(2)? as u64,
                writer: row.get(3)?,
                version: 0,
            };
            let losing_stamp = self.stamp(losing)?;
            let packed: Vec<u8> = row.get(4)?;
            let standing = self.standing(&key)?;
            for (number, value) in cells(&packed) {
                let (winning, winning_stamp) = match &standing {
                    Standing::Dead(stamp) => (None, *stamp),
                    Standing::Living(row) => {
                        let index = self.table.column_index(number);
                        let (chunk, place) = self.clocks.read(row.slot)?;
                        let written = chunk.cell(place, number);
                        let stamp = written.map(|written| self.stamp(written)).transpose()?;
                        (index.map(|index| row.value(index)), stamp)
                    }
                };
                if !filter.with_equal && winning.is_some_and(|winning| winning == value.to_bytes())
                {
                    continue;
                }
                found.push(Conflict {
                    table: self.table.name.clone(),
                    key: owned_values(Values::of(&key)),
                    column: self.table.column_name(number).to_owned(),
                    losing: owned_value(value),
                    losing_stamp,
                    losing_life,
                    winning: winning
                        .and_then(|bytes| Values::of(bytes).next())
                        .map(owned_value),
                    winning_stamp,
                });
            }
        }
        found.truncate(limit);
        Ok(())
    }

    fn standing(&mut self, key: &[u8]) -> Result<Standing, StorageError> {
        let mut statement = self
            .connection
            .prepare_cached(self.table.sql.find.as_str())?;
        let parameters = rusqlite::params_from_iter(Values::of(key).map(Bound));
        let mut rows = statement.query(parameters)?;
        if let Some(found) = rows.next()? {
            let mut row = RowBytes::default();
            row.fill(self.table, found)?;
            if self.table.without_rowid() {
                row.slot = self
                    .slots
                    .find(key)?
                    .ok_or(StorageError::Damaged("a row has no slot"))?;
            }
            return Ok(Standing::Living(row));
        }
        let grave = self.graves.get(key)?;
        let stamp = grave.map(|grave| self.stamp(grave.written)).transpose()?;
        Ok(Standing::Dead(stamp))
    }

    fn stamp(&mut self, written: Written) -> Result<Stamp, StorageError> {
        let writer = self.writers.key(self.connection, written.writer)?;
        Ok(Stamp {
            hlc: Hlc::from_bits(written.hlc),
            writer,
        })
    }
}

/// The row a conflict is about, as it is now.
enum Standing {
    Living(RowBytes),
    Dead(Option<Stamp>),
}

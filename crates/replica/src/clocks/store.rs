//! Loads, keeps and writes back the chunks of one table within one transaction.
//!
//! A bounded number of chunks stays in memory; they are written in order of their numbers, which SQLite likes best.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};

use super::chunk::{Carried, Chunk, SLOTS, Written};
use crate::statements::{Lazy, TableSql};
use crate::storage::StorageError;

/// Chunks in memory before those that changed are written and all are dropped: some ten megabytes.
const CHUNKS_MAX: usize = 4096;

/// Versions of small transactions that share an entry in the index by era, so that a chunk that changes often does not
/// change its entry as often.
const VERSIONS_PER_ERA: u64 = 256;

/// Chunks that are remembered from one transaction to the next; of more only the last, where rows are added.
const CHUNKS_REMEMBERED: usize = 16;

/// A transaction that changes more chunks than this has an era of its own, so that nobody reads them in vain.
const CHUNKS_OF_A_SMALL_TRANSACTION: usize = 8;

/// The era that a version shares with its neighbours.
pub(crate) fn common_era(version: u64) -> i64 {
    (version - version % VERSIONS_PER_ERA) as i64
}

#[derive(Debug)]
struct Loaded {
    chunk: Chunk,
    /// The era in the table, none when the chunk is not there yet.
    stored_era: Option<i64>,
    changed: bool,
}

/// What stays known of the clocks of one table while nobody else writes them.
#[derive(Debug)]
pub(crate) struct ClockMemory {
    loaded: BTreeMap<i64, Loaded>,
    last: i64,
}

impl ClockMemory {
    /// Knows only where the chunks end.
    pub(crate) fn read(connection: &Connection, sql: &TableSql) -> Result<Self, StorageError> {
        let last: Option<i64> = connection
            .prepare_cached(sql.clock_last.as_str())?
            .query_row([], |row| row.get(0))?;
        Ok(Self {
            loaded: BTreeMap::new(),
            last: last.unwrap_or(i64::MIN),
        })
    }
}

/// The clocks of one table.
#[derive(Debug)]
pub(crate) struct ClockStore<'c> {
    select: Lazy<'c>,
    insert: Lazy<'c>,
    update: Lazy<'c>,
    update_era: Lazy<'c>,
    delete: Lazy<'c>,
    loaded: BTreeMap<i64, Loaded>,
    /// The greatest chunk in the table when we began: beyond it nothing needs to be looked up.
    last: i64,
}

fn place(slot: i64) -> (i64, usize) {
    (slot >> 6, (slot & 63) as usize)
}

impl<'c> ClockStore<'c> {
    pub(crate) fn new(connection: &'c Connection, sql: &TableSql) -> Result<Self, StorageError> {
        Ok(Self::with(
            connection,
            sql,
            ClockMemory::read(connection, sql)?,
        ))
    }

    /// Goes on with what is known.
    pub(crate) fn with(connection: &'c Connection, sql: &TableSql, memory: ClockMemory) -> Self {
        Self {
            select: Lazy::new(connection, &sql.clock_select),
            insert: Lazy::new(connection, &sql.clock_insert),
            update: Lazy::new(connection, &sql.clock_update),
            update_era: Lazy::new(connection, &sql.clock_update_era),
            delete: Lazy::new(connection, &sql.clock_delete),
            loaded: memory.loaded,
            last: memory.last,
        }
    }

    /// What the next transaction may go on with. Call after [`flush`](Self::flush).
    pub(crate) fn into_memory(mut self) -> ClockMemory {
        if self.loaded.len() > CHUNKS_REMEMBERED {
            self.loaded = self.loaded.split_off(&self.last);
        }
        ClockMemory {
            loaded: std::mem::take(&mut self.loaded),
            last: self.last,
        }
    }

    fn load(&mut self, number: i64) -> Result<&mut Loaded, StorageError> {
        if !self.loaded.contains_key(&number) {
            if self.loaded.len() >= CHUNKS_MAX {
                self.flush()?;
                self.loaded.clear();
            }
            let stored = if number > self.last {
                None
            } else {
                self.select
                    .get()?
                    .query_row([number], |row| {
                        Ok((row.get(0)?, Chunk::decode(row.get_ref(1)?.as_blob()?)))
                    })
                    .optional()?
            };
            let loaded = match stored {
                None => Loaded {
                    chunk: Chunk::default(),
                    stored_era: None,
                    changed: false,
                },
                Some((era, chunk)) => Loaded {
                    chunk: chunk?,
                    stored_era: Some(era),
                    changed: false,
                },
            };
            self.loaded.insert(number, loaded);
        }
        self.loaded
            .get_mut(&number)
            .ok_or(StorageError::Damaged("a chunk of clocks vanished"))
    }

    /// The chunk of a slot for reading, and the place in it.
    pub(crate) fn read(&mut self, slot: i64) -> Result<(&Chunk, usize), StorageError> {
        let (number, place) = place(slot);
        Ok((&self.load(number)?.chunk, place))
    }

    fn edit(&mut self, slot: i64) -> Result<(&mut Chunk, usize), StorageError> {
        let (number, place) = place(slot);
        let loaded = self.load(number)?;
        loaded.changed = true;
        Ok((&mut loaded.chunk, place))
    }

    /// Rows from `first` to `last` were made, all columns at once.
    pub(crate) fn made(
        &mut self,
        first: i64,
        last: i64,
        life: u64,
        written: Written,
        covered: u16,
    ) -> Result<(), StorageError> {
        let mut slot = first;
        loop {
            let (chunk, start) = self.edit(slot)?;
            let count = (SLOTS - start).min(
                (last.saturating_sub(slot) as u64)
                    .saturating_add(1)
                    .min(SLOTS as u64) as usize,
            );
            chunk.fill(start..start + count, life, written, covered);
            match slot.checked_add(count as i64) {
                Some(next) if next <= last => slot = next,
                _ => return Ok(()),
            }
        }
    }

    /// A row was made of which some columns were not written.
    pub(crate) fn made_partly(
        &mut self,
        slot: i64,
        life: u64,
        written: Written,
        covered: u16,
        never: impl Iterator<Item = u16>,
    ) -> Result<(), StorageError> {
        let (chunk, place) = self.edit(slot)?;
        chunk.fill_partly(place, life, written, covered, never);
        Ok(())
    }

    /// Cells of a row were written.
    pub(crate) fn wrote(
        &mut self,
        slot: i64,
        columns: &[u16],
        written: Written,
    ) -> Result<(), StorageError> {
        let (chunk, place) = self.edit(slot)?;
        chunk.write(place, columns, written);
        Ok(())
    }

    /// The row is gone; what it had can be put down elsewhere.
    pub(crate) fn remove(&mut self, slot: i64) -> Result<Carried, StorageError> {
        let (chunk, place) = self.edit(slot)?;
        Ok(chunk.carry(place))
    }

    /// A row got another slot.
    pub(crate) fn put(&mut self, slot: i64, carried: &Carried) -> Result<(), StorageError> {
        let (chunk, place) = self.edit(slot)?;
        chunk.put(place, carried);
        Ok(())
    }

    /// Writes what changed; the store can be used on.
    pub(crate) fn flush(&mut self) -> Result<(), StorageError> {
        let changed = self.loaded.values().filter(|loaded| loaded.changed).count();
        let is_small = changed <= CHUNKS_OF_A_SMALL_TRANSACTION;
        for (number, loaded) in &mut self.loaded {
            if !std::mem::take(&mut loaded.changed) {
                continue;
            }
            if loaded.chunk.is_empty() {
                if loaded.stored_era.take().is_some() {
                    self.delete.get()?.execute([number])?;
                }
                continue;
            }
            let bytes = loaded.chunk.encode();
            let version = loaded.chunk.version_max();
            let era = if is_small {
                common_era(version)
            } else {
                version as i64
            };
            match loaded.stored_era {
                None => self.insert.get()?.execute((number, era, &bytes))?,
                Some(stored) if stored == era => self.update.get()?.execute((number, &bytes))?,
                Some(_) => self.update_era.get()?.execute((number, era, &bytes))?,
            };
            loaded.stored_era = Some(era);
            self.last = self.last.max(*number);
        }
        Ok(())
    }
}

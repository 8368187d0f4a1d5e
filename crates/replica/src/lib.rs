//! Turns ordinary SQLite tables into tables that merge.
//!
//! Declare which tables merge, change their rows with ordinary SQL inside [`Replica::transaction`], and carry the changes to
//! other replicas in any way: as changesets handed to a [`Journal`] and merged there with [`Replica::merging`], or as a
//! state made by [`Replica::changes_since`]. Replicas that merged the same changes hold equal tables, byte for byte.
//!
//! No threads, no files but the database, no clock: the time is an argument.
//!
//! Read in this order: `schema` what a table must be, `capture` how changes are noticed, `net` what they come to,
//! `clocks` how they are stamped, `flush` the end of a local transaction, `merge` those of others.

mod capture;
mod clocks;
mod conflicts;
mod declare;
mod digest;
mod encode;
mod flush;
mod graves;
mod group;
mod guard;
mod image;
mod memory;
mod merge;
mod names;
mod net;
mod quarantine;
mod rows;
mod schema;
mod since;
mod slots;
mod stamps;
mod state;
mod statements;
mod storage;
mod tables;
mod transaction;
mod values;
mod write_again;
mod writers;

use std::sync::Arc;

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{CompartmentId, WriterKey};
use rusqlite::Connection;

use crate::capture::{Mode, Shared};
use crate::group::Group;
use crate::memory::Memory;
use crate::tables::Tables;
use crate::writers::Writers;

pub use crate::conflicts::{Conflict, ConflictFilter};
pub use crate::declare::{DeclareError, Merged};
pub use crate::digest::Digest;
pub use crate::guard::foreign_code;
pub use crate::image::{DEFAULT_SCOPE, ImageError, Scope};
pub use crate::merge::{Applied, Incoming, MergeError, MergeOutcome, Merging, RowSet, Touched};
pub use crate::quarantine::Quarantined;
pub use crate::schema::SchemaError;
pub use crate::since::Changes;
pub use crate::stamps::{RowStamps, RowsSince};
pub use crate::storage::StorageError;
pub use crate::tables::{CompartmentRule, Policy};
pub use crate::transaction::{
    Committed, CompartmentChanges, Journal, JournalError, LocalTransaction, NoJournal, Transaction,
    TransactionError,
};
pub use rusqlite;
pub use write_again::{MissingRow, WriteAgainError, WrittenAgain, write_again};

/// A database whose declared tables merge. Owns the one connection through which this program writes.
#[derive(Debug)]
pub struct Replica {
    connection: Connection,
    engine: Engine,
}

/// What the engine keeps in memory about the database.
#[derive(Debug)]
struct Engine {
    shared: Arc<Shared>,
    writer: WriterKey,
    tables: Tables,
    writers: Writers,
    memory: Memory,
    group: Group,
}

/// Why a database was not opened for merging.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The engine's tables could not be read or made, or a newer program made them.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A merged table no longer fits.
    #[error("a merged table does not fit any more")]
    Schema(#[from] SchemaError),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.into())
    }
}

/// Statements kept prepared: some ten for every table in use.
const STATEMENTS_KEPT: usize = 512;

impl Replica {
    /// Takes over a connection to a new or an existing database; what it writes carries `writer` as author.
    pub fn open(mut connection: Connection, writer: WriterKey) -> Result<Self, OpenError> {
        storage::migrate(&connection)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        let shared = capture::attach(&mut connection)?;
        guard::register(&connection, &shared)?;
        let mut engine = Engine {
            shared,
            writer,
            tables: Tables::default(),
            writers: Writers::default(),
            memory: Memory::default(),
            group: Group::Off,
        };
        engine.reload(&connection)??;
        Ok(Self { connection, engine })
    }

    /// The connection, for reading. A write to a merged table through it fails; other tables may be written.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The author of what this replica writes.
    pub fn writer(&self) -> WriterKey {
        self.engine.writer
    }

    /// Writes under another author from now on: after a fork, or after the clock was repaired.
    pub fn set_writer(&mut self, writer: WriterKey) {
        self.engine.writer = writer;
    }

    /// The latest stamp written or merged.
    pub fn last_hlc(&self) -> Result<Hlc, StorageError> {
        Ok(self.engine.memory.latest(&self.connection)?.hlc)
    }

    /// A number that grows with every transaction that changed a merged table, for [`changes_since`](Self::changes_since).
    pub fn version(&self) -> Result<u64, StorageError> {
        Ok(self.engine.memory.latest(&self.connection)?.version)
    }

    /// The latest stamp merged from each writer in a compartment: what a local write has seen. The replica's own writer
    /// is not among them.
    pub fn frontier(
        &self,
        compartment: Option<&CompartmentId>,
    ) -> Result<Vec<(WriterKey, Hlc)>, StorageError> {
        state::frontier(&self.connection, compartment)
    }

    /// What waits for a newer schema.
    pub fn quarantined(&self) -> Result<Vec<Quarantined>, StorageError> {
        quarantine::list(&self.connection)
    }

    /// Runs maintenance such as VACUUM, which touches the guards of merged tables without changing any row.
    pub fn maintain<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, rusqlite::Error> {
        self.engine.shared.set_mode(Mode::Internal);
        let outcome = work(&self.connection);
        self.engine.shared.set_mode(Mode::Closed);
        outcome
    }
}

impl Engine {
    /// Reads the merged tables anew.
    fn reload(&mut self, connection: &Connection) -> Result<Result<(), SchemaError>, StorageError> {
        let tables = match tables::load(connection)? {
            Ok(tables) => tables,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.shared
            .watch(tables.all.iter().map(|table| table.watched()).collect());
        self.tables = tables;
        self.memory.forget_tables();
        Ok(Ok(()))
    }

    /// As [`refresh`](Self::refresh), for readers, who cannot do anything about a table that no longer fits.
    fn refresh_for_reading(&mut self, connection: &Connection) -> Result<(), StorageError> {
        self.refresh(connection)?.map_err(|_| {
            StorageError::Damaged("a merged table was changed so that it no longer fits")
        })
    }

    /// Reads the merged tables anew if the schema changed, here or in another process. Call inside a transaction.
    fn refresh(
        &mut self,
        connection: &Connection,
    ) -> Result<Result<(), SchemaError>, StorageError> {
        if tables::schema_version(connection)? == self.tables.schema_version {
            return Ok(Ok(()));
        }
        self.reload(connection)
    }
}

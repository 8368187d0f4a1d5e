//! Local transactions: the application writes, the engine stamps, the journal seals, SQLite commits; all or nothing.

use std::error::Error;
use std::fmt;
use std::ops::Deref;

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{CompartmentId, Millis};
use rusqlite::{Connection, Params};

use crate::capture::{Event, Mode};
use crate::clocks::Written;
use crate::encode::{Encoder, PART_LENGTH};
use crate::flush::{FlushError, flush_table};
use crate::group::Group;
use crate::schema::SchemaError;
use crate::state::State;
use crate::storage::StorageError;
use crate::{Engine, Replica};

/// What a journal may answer: any error, which rolls the transaction back.
pub type JournalError = Box<dyn Error + Send + Sync>;

/// Takes the changes of a transaction before it commits, to make them durable together with the rows.
pub trait Journal {
    /// Called once, inside the transaction, if something merged changed. It may write tables of its own.
    fn append(
        &mut self,
        connection: &Connection,
        transaction: &LocalTransaction<'_>,
    ) -> Result<(), JournalError>;

    /// Whether [`append`](Self::append) wants the changesets; without them nothing is read back or encoded.
    fn wants_changes(&self) -> bool {
        true
    }
}

/// Keeps nothing: for replicas that exchange states.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn append(&mut self, _: &Connection, _: &LocalTransaction<'_>) -> Result<(), JournalError> {
        Ok(())
    }

    fn wants_changes(&self) -> bool {
        false
    }
}

/// The changesets of one compartment, in the parts in which they must be applied.
pub type CompartmentChanges = (Option<CompartmentId>, Vec<Vec<u8>>);

/// A transaction about to commit.
#[derive(Debug)]
pub struct LocalTransaction<'a> {
    /// The stamp of everything in it.
    pub hlc: Hlc,
    /// Its changes, by compartment.
    pub changes: &'a [CompartmentChanges],
}

/// The connection inside a transaction. Savepoints are welcome; COMMIT and ROLLBACK are the engine's.
#[derive(Debug)]
pub struct Transaction<'c> {
    connection: &'c Connection,
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

/// What a committed transaction came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed<T> {
    /// What the closure returned.
    pub value: T,
    /// The stamp of its changes; none if nothing merged changed.
    pub hlc: Option<Hlc>,
    /// The local version afterwards.
    pub version: u64,
    /// Rows of merged tables that changed.
    pub rows: u64,
}

/// Why a transaction was rolled back. Nothing of it remains.
#[derive(Debug)]
pub enum TransactionError<E> {
    /// The closure said so.
    Work(E),
    /// The journal could not take the changes.
    Journal(JournalError),
    /// A row got a key that cannot name it on other devices.
    Key {
        /// Its table.
        table: String,
    },
    /// A row names no proper compartment.
    Compartment {
        /// Its table.
        table: String,
    },
    /// A merged table no longer fits.
    Schema(SchemaError),
    /// The transaction had ended before its end, because a conflict clause or a full disk rolled it back.
    Ended,
    /// The database said no.
    Storage(StorageError),
}

impl<E: fmt::Display> fmt::Display for TransactionError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work(error) => error.fmt(f),
            Self::Journal(_) => f.write_str("write the journal"),
            Self::Key { table } => {
                write!(
                    f,
                    "a row of table {table} has a key that is NULL or a floating-point number; give it another"
                )
            }
            Self::Compartment { table } => {
                write!(
                    f,
                    "a row of table {table} does not name its compartment with 16 bytes; name it"
                )
            }
            Self::Schema(error) => error.fmt(f),
            Self::Ended => {
                f.write_str("the transaction was rolled back before its end; run it again")
            }
            Self::Storage(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> Error for TransactionError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Journal(error) => Some(&**error),
            Self::Storage(error) => error.source(),
            _ => None,
        }
    }
}

impl<E> From<StorageError> for TransactionError<E> {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl<E> From<rusqlite::Error> for TransactionError<E> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.into())
    }
}

impl Replica {
    /// Runs one transaction. `now` is the time; what it writes is later than everything seen before in any case.
    pub fn transaction<T, E>(
        &mut self,
        now: Millis,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<Committed<T>, TransactionError<E>> {
        self.transaction_with(now, &mut NoJournal, work)
    }

    /// Runs one transaction whose changes `journal` takes before they are committed.
    pub fn transaction_with<T, E>(
        &mut self,
        now: Millis,
        journal: &mut dyn Journal,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<Committed<T>, TransactionError<E>> {
        let Self { connection, engine } = self;
        let connection = &*connection;
        engine.enter(connection)?;
        let outcome = engine.run(connection, now, journal, work);
        engine.shared.set_mode(Mode::Closed);
        if outcome.is_err() {
            engine.take_back(connection)?;
        }
        outcome
    }

    /// Runs one statement in a transaction of its own; the number of rows it changed.
    pub fn execute(
        &mut self,
        now: Millis,
        sql: &str,
        parameters: impl Params,
    ) -> Result<usize, TransactionError<rusqlite::Error>> {
        Ok(self
            .transaction(now, |transaction| {
                transaction.prepare_cached(sql)?.execute(parameters)
            })?
            .value)
    }
}

/// What a transaction came to, before it ends.
struct Sealed {
    hlc: Option<Hlc>,
    state: State,
    rows: u64,
    /// The number of a table that it changed.
    beside: Option<i64>,
}

impl Sealed {
    fn nothing(state: State) -> Self {
        Self {
            hlc: None,
            state,
            rows: 0,
            beside: None,
        }
    }
}

impl Engine {
    fn run<T, E>(
        &mut self,
        connection: &Connection,
        now: Millis,
        journal: &mut dyn Journal,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<Committed<T>, TransactionError<E>> {
        self.refresh(connection)?
            .map_err(TransactionError::Schema)?;
        let mut capture = self.shared.capture();
        capture.clear();
        capture.check_keys = !journal.wants_changes();
        drop(capture);
        let counted_before = connection.total_changes();
        self.shared.set_mode(Mode::Capturing);
        let value = work(&Transaction { connection }).map_err(TransactionError::Work)?;
        self.shared.set_mode(Mode::Internal);
        if connection.is_autocommit() {
            return Err(TransactionError::Ended);
        }
        let counted = connection.total_changes() - counted_before;
        let Sealed {
            hlc,
            state,
            rows,
            beside,
        } = self.seal(connection, now, counted, journal)?;
        self.leave(connection, state, beside)?;
        Ok(Committed {
            value,
            hlc,
            version: state.version,
            rows,
        })
    }

    /// Stamps what was captured and hands it to the journal.
    fn seal<E>(
        &mut self,
        connection: &Connection,
        now: Millis,
        counted: u64,
        journal: &mut dyn Journal,
    ) -> Result<Sealed, TransactionError<E>> {
        let state = self.memory.state(connection)?;
        let shared = std::sync::Arc::clone(&self.shared);
        let mut capture = shared.capture();
        if let Some(table) = capture.bad_key.take() {
            return Err(TransactionError::Key { table });
        }
        // A statement that failed was noted row by row and not counted; a savepoint rolled back was counted all the same.
        let trusted = capture.rows_seen == counted
            && !shared.savepoint_rolled_back()
            && !self.tables.has_virtual;
        if capture
            .tables
            .iter()
            .all(|table| table.events.iter().map(Event::rows).sum::<u64>() == 0)
        {
            return Ok(Sealed::nothing(state));
        }
        let hlc = state.hlc.tick(now);
        let writer = self.writers.number(connection, self.writer)?;
        let written = Written {
            hlc: hlc.to_bits(),
            writer,
            version: state.version + 1,
        };
        let mut encoder = journal.wants_changes().then(|| Encoder::new(PART_LENGTH));
        let mut rows = 0;
        let mut beside = None;
        for (table, capture) in self.tables.all.iter().zip(&mut capture.tables) {
            if capture.events.is_empty() {
                continue;
            }
            let changed = flush_table(
                connection,
                table,
                capture,
                trusted,
                written,
                encoder.as_mut(),
                &mut self.memory,
            )
            .map_err(|error| match error {
                FlushError::Storage(error) => TransactionError::Storage(error),
                FlushError::Key => TransactionError::Key {
                    table: table.name.clone(),
                },
                FlushError::NotACompartment => TransactionError::Compartment {
                    table: table.name.clone(),
                },
            })?;
            if changed > 0 {
                beside = Some(table.id);
                rows += changed;
            }
        }
        drop(capture);
        if rows == 0 {
            return Ok(Sealed::nothing(state));
        }
        let changes = encoder.map(Encoder::finish).unwrap_or_default();
        journal
            .append(
                connection,
                &LocalTransaction {
                    hlc,
                    changes: &changes,
                },
            )
            .map_err(TransactionError::Journal)?;
        Ok(Sealed {
            hlc: Some(hlc),
            state: State {
                hlc,
                version: written.version,
            },
            rows,
            beside,
        })
    }

    /// Starts a transaction that nobody else can start before it ends.
    pub(crate) fn begin(&mut self, connection: &Connection) -> Result<(), StorageError> {
        if matches!(self.group, Group::Open(_) | Group::Lost) {
            return Err(StorageError::GroupOpen);
        }
        self.shared.set_mode(Mode::Closed);
        if !connection.is_autocommit() {
            // A closure panicked in the middle of the previous one.
            self.abandon(connection)?;
        }
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(())
    }

    /// Takes back what an unfinished transaction did, in the database and in memory.
    pub(crate) fn abandon(&mut self, connection: &Connection) -> Result<(), rusqlite::Error> {
        self.writers.forget();
        self.memory.forget();
        self.shared.capture().clear();
        // SQLite may have rolled back already.
        if connection.is_autocommit() {
            Ok(())
        } else {
            connection.execute_batch("ROLLBACK")
        }
    }
}

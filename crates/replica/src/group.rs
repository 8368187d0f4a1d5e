//! Transactions that are committed together: one SQLite transaction, and in it a savepoint for each.
//!
//! A commit costs more than a row. Where many callers wait at once, each still gets a transaction of its own (its stamp,
//! its changesets, its own success or failure), and all of them one commit. One that fails takes back what it did itself
//! and nothing else.

use rusqlite::Connection;

use crate::capture::Mode;
use crate::state::State;
use crate::storage::StorageError;
use crate::{Engine, Replica};

/// The savepoint around a transaction of a group. The application must not name it: see the authorizer.
pub(crate) const SAVEPOINT: &str = "replica_transaction";

// In words that the application does not use: a statement from the cache is not seen by the authorizer.
pub(crate) const COMMIT: &str = "COMMIT /* of the engine */";
const ENTER: &str = "SAVEPOINT replica_transaction /* of the engine */";
const LEAVE: &str = "RELEASE replica_transaction /* of the engine */";
const TAKE_BACK: &str = "ROLLBACK TO replica_transaction; RELEASE replica_transaction";

/// Whether transactions are committed one by one or together.
#[derive(Debug, Default)]
pub(crate) enum Group {
    /// One by one.
    #[default]
    Off,
    /// Together; none has begun.
    Waiting,
    /// SQLite's transaction has begun.
    Open(OpenGroup),
    /// SQLite rolled back all of it.
    Lost,
}

/// What a group has come to.
#[derive(Debug)]
pub(crate) struct OpenGroup {
    /// After the latest transaction; none before the first has ended.
    state: Option<State>,
    /// The table beside whose clocks the state will be written.
    beside: Option<i64>,
    /// Where in it a transaction is running.
    running: Running,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Running {
    Nothing,
    /// Alone: all of SQLite's transaction is its own.
    First,
    Savepoint,
}

impl Replica {
    /// From now on transactions are held back, and [`commit_group`](Self::commit_group) commits them together.
    ///
    /// Until then merging and declaring are refused, and nobody else can write to the database once the first transaction
    /// of the group has begun.
    pub fn begin_group(&mut self) {
        if matches!(self.engine.group, Group::Off) {
            self.engine.group = Group::Waiting;
        }
    }

    /// Whether a transaction is held back.
    pub fn is_group_open(&self) -> bool {
        matches!(self.engine.group, Group::Open(_))
    }

    /// Ends the group: runs `last` in it, which may write tables of its own, and commits. Returns whether there was anything
    /// to commit; without it `last` does not run. After an error none of the group's transactions has happened.
    pub fn commit_group<E>(
        &mut self,
        last: impl FnOnce(&Connection) -> Result<(), E>,
    ) -> Result<bool, E>
    where
        E: From<StorageError>,
    {
        let Self { connection, engine } = self;
        let connection = &*connection;
        engine.end_what_runs(connection)?;
        let open = match std::mem::take(&mut engine.group) {
            Group::Off | Group::Waiting => return Ok(false),
            Group::Lost => return Err(StorageError::GroupLost.into()),
            Group::Open(open) => open,
        };
        engine.memory.unpin();
        let outcome = last(connection).and_then(|()| Ok(engine.close(connection, &open)?));
        if outcome.is_err() {
            engine
                .abandon(connection)
                .map_err(|error| E::from(error.into()))?;
        }
        outcome.map(|()| true)
    }
}

impl Engine {
    /// Begins a transaction of the application, in the group if there is one.
    pub(crate) fn enter(&mut self, connection: &Connection) -> Result<(), StorageError> {
        self.end_what_runs(connection)?;
        match &mut self.group {
            Group::Off => self.begin(connection),
            Group::Lost => Err(StorageError::GroupLost),
            Group::Waiting => {
                self.group = Group::Off;
                let begun = self.begin(connection);
                self.group = match begun {
                    Ok(()) => Group::Open(OpenGroup {
                        state: None,
                        beside: None,
                        running: Running::First,
                    }),
                    Err(_) => Group::Waiting,
                };
                begun
            }
            Group::Open(open) => {
                self.shared.set_mode(Mode::Internal);
                connection.prepare_cached(ENTER)?.execute([])?;
                self.shared.set_mode(Mode::Closed);
                open.running = Running::Savepoint;
                Ok(())
            }
        }
    }

    /// Ends a transaction of the application: commits it, or leaves it to the group. `beside` is the number of a table that it
    /// changed; none if it changed nothing.
    pub(crate) fn leave(
        &mut self,
        connection: &Connection,
        state: State,
        beside: Option<i64>,
    ) -> Result<(), StorageError> {
        let Group::Open(open) = &mut self.group else {
            let alone = OpenGroup {
                state: Some(state),
                beside,
                running: Running::Nothing,
            };
            return self.close(connection, &alone);
        };
        if open.running == Running::Savepoint {
            connection.prepare_cached(LEAVE)?.execute([])?;
        }
        open.running = Running::Nothing;
        open.state = Some(state);
        open.beside = beside.or(open.beside);
        self.memory.set(state);
        self.memory.pin();
        Ok(())
    }

    fn close(&mut self, connection: &Connection, open: &OpenGroup) -> Result<(), StorageError> {
        if let Some((state, beside)) = open.state.zip(open.beside) {
            let mut tables = self.tables.all.iter();
            let beside = tables.find(|table| table.id == beside);
            state.store(connection, beside.map(|table| &**table))?;
        }
        connection.prepare_cached(COMMIT)?.execute([])?;
        if let Some(state) = open.state {
            self.memory.set(state);
        }
        Ok(())
    }

    /// Takes back the transaction that failed: alone, or with everything if it is all there is.
    pub(crate) fn take_back(&mut self, connection: &Connection) -> Result<(), StorageError> {
        let Group::Open(open) = &mut self.group else {
            return Ok(self.abandon(connection)?);
        };
        let running = std::mem::replace(&mut open.running, Running::Nothing);
        if running == Running::First {
            self.group = Group::Waiting;
            return Ok(self.abandon(connection)?);
        }
        let state = open.state;
        if self.roll_back_to_savepoint(connection).is_err() {
            // The application's statement, or a full disk, ended SQLite's transaction; or nothing works any more.
            self.group = Group::Lost;
            self.memory.unpin();
            return Ok(self.abandon(connection)?);
        }
        self.writers.forget();
        self.memory.forget_tables();
        if let Some(state) = state {
            self.memory.set(state);
        }
        self.shared.capture().clear();
        Ok(())
    }

    fn roll_back_to_savepoint(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        self.shared.set_mode(Mode::Internal);
        let outcome = connection.execute_batch(TAKE_BACK);
        self.shared.set_mode(Mode::Closed);
        outcome
    }

    /// A closure panicked in the middle of the previous transaction of the group.
    fn end_what_runs(&mut self, connection: &Connection) -> Result<(), StorageError> {
        let runs = matches!(&self.group, Group::Open(open) if open.running != Running::Nothing);
        if runs {
            self.shared.set_mode(Mode::Closed);
            self.take_back(connection)?;
        }
        Ok(())
    }
}

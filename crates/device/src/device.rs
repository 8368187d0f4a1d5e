//! The device itself: what it holds in memory, how it opens, and how it notices what another process did to its database.

use std::collections::BTreeMap;
use std::error::Error;

use aeroedge_ids::{CompartmentId, ContextId, DeviceKey, Millis, UserId, WriterKey};
use aeroedge_log::entry::{Opener, Sealer};
use aeroedge_log::history::History;
use aeroedge_log::keys::WriterSecret;
use aeroedge_log::secrets::DeviceSecrets;
use aeroedge_replica::{
    Conflict, ConflictFilter, Quarantined, Replica, RowStamps, RowsSince, StorageError,
};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension};

use crate::forks::Copies;
use crate::group::Group;
use crate::keys::KeyStore;
use crate::membership::{Joining, Pairing};
use crate::merging::{Vectors, Waiting};
use crate::own_logs::OwnLogs;
use crate::schema::{self, SchemaError};
use crate::sealing::TableRights;
use crate::state::{self, ContextState, StateError};
use crate::verdicts;

/// Pages of the write-ahead log from which on it is carried over into the database: 32 MiB instead of SQLite's 4, since
/// that costs two fsyncs, and under load most pages change again before.
const CHECKPOINT_PAGES: i64 = 8192;

/// What an application brings.
pub struct Options {
    /// The tables that merge.
    pub tables: Vec<aeroedge_replica::Merged>,
    /// Who may write which of them where.
    pub rights: Box<dyn TableRights>,
    /// Version of the application's schema; stands in every entry.
    pub schema_version: u32,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("schema_version", &self.schema_version)
            .finish_non_exhaustive()
    }
}

/// One installation.
pub struct Device {
    pub(crate) replica: Replica,
    pub(crate) key_store: Box<dyn KeyStore>,
    pub(crate) secrets: DeviceSecrets,
    pub(crate) tables: Vec<aeroedge_replica::Merged>,
    pub(crate) rights: Box<dyn TableRights>,
    pub(crate) schema_version: u32,
    pub(crate) user: UserId,
    pub(crate) contexts: BTreeMap<ContextId, ContextState>,
    /// Compartments this device reads, and their contexts.
    pub(crate) compartments: BTreeMap<CompartmentId, ContextId>,
    /// Where rows of tables without a compartment column belong.
    pub(crate) fixed: Option<CompartmentId>,
    pub(crate) joining: BTreeMap<ContextId, Joining>,
    pub(crate) pairing: Option<Pairing>,
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
    pub(crate) own_logs: OwnLogs,
    pub(crate) group: Group,
    pub(crate) copies: Copies,
    pub(crate) vectors: Vectors,
    pub(crate) waiting: BTreeMap<(CompartmentId, WriterKey), Waiting>,
    /// Position in the stored control entries up to which `contexts` reads.
    pub(crate) control_read: i64,
    /// Up to where the verdicts on entries take them into account.
    pub(crate) control_judged: i64,
    /// SQLite's count of changes by other connections, as of the last look.
    pub(crate) data_version: i64,
    /// Something came from peers that may not be on the disk yet.
    pub(crate) took_in: bool,
    /// When the program was built; zero if nobody said.
    pub(crate) built: Millis,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("key", &self.key())
            .field("contexts", &self.contexts.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The database could not be opened as a device's.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The platform's tables.
    #[error("the database could not be brought up to date")]
    Schema(#[from] SchemaError),
    /// The engine's tables.
    #[error("the merge engine could not be used")]
    Engine(#[source] Box<dyn Error + Send + Sync>),
    /// Writes that were to be committed together were not.
    #[error("what was written together was rolled back, run it again: {0}")]
    GroupLost(String),
    /// The keys.
    #[error("the keys could not be loaded")]
    Keys(#[source] Box<dyn Error + Send + Sync>),
    /// The keys are another installation's.
    #[error("these keys are not this database's: put back the key file that belongs to it")]
    OtherKeys,
    /// The histories.
    #[error("the membership of a context could not be read")]
    State(#[from] StateError),
    /// The database belongs to nobody yet.
    #[error("this database has no installation: initialise it first")]
    NotInitialised,
    /// Compression has no memory.
    #[error("not enough memory to seal and open entries")]
    Memory,
    /// SQLite said no.
    #[error("the database could not be used")]
    Sqlite(#[from] rusqlite::Error),
}

impl From<StorageError> for DeviceError {
    fn from(error: StorageError) -> Self {
        Self::Engine(Box::new(error))
    }
}

impl Device {
    /// Makes `connection`'s database an installation of `user`, or opens it if it is one already.
    pub fn create(
        connection: Connection,
        key_store: Box<dyn KeyStore>,
        options: Options,
        user: UserId,
        now: Millis,
    ) -> Result<Self, DeviceError> {
        schema::migrate(&connection)?;
        let device = key_store.load().map_err(DeviceError::Keys)?.device();
        connection.execute(
            "INSERT OR IGNORE INTO device_meta(name, value) VALUES ('user', ?1), ('device', ?2)",
            rusqlite::params![user.0, device.0],
        )?;
        Self::open(connection, key_store, options, now)
    }

    /// Opens an installation.
    pub fn open(
        connection: Connection,
        key_store: Box<dyn KeyStore>,
        options: Options,
        now: Millis,
    ) -> Result<Self, DeviceError> {
        schema::migrate(&connection)?;
        let secrets = key_store.load().map_err(DeviceError::Keys)?;
        let user = UserId(meta(&connection, "user")?.ok_or(DeviceError::NotInitialised)?);
        if meta(&connection, "device")? != Some(secrets.device().0) {
            return Err(DeviceError::OtherKeys);
        }
        // Until the first context there is nothing to write, and so no writer.
        let writer = secrets
            .writer_in_use()
            .map_or(WriterKey([0; 32]), WriterSecret::key);
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        let mut replica = Replica::open(connection, writer)
            .map_err(|error| DeviceError::Engine(Box::new(error)))?;
        replica
            .declare_holding_back(&options.tables, now)
            .map_err(|error| DeviceError::Engine(Box::new(error)))?;
        let mut device = Self {
            replica,
            key_store,
            secrets,
            tables: options.tables,
            rights: options.rights,
            schema_version: options.schema_version,
            user,
            contexts: BTreeMap::new(),
            compartments: BTreeMap::new(),
            fixed: None,
            joining: BTreeMap::new(),
            pairing: None,
            sealer: Sealer::new().map_err(|_| DeviceError::Memory)?,
            opener: Opener::new().map_err(|_| DeviceError::Memory)?,
            own_logs: OwnLogs::default(),
            group: Group::default(),
            copies: Copies::default(),
            vectors: Vectors::new(),
            waiting: BTreeMap::new(),
            control_read: 0,
            control_judged: -1,
            data_version: -1,
            took_in: false,
            built: Millis(0),
        };
        device.read_control()?;
        device.finish_renewal(now)?;
        device.control_judged = verdicts::judged_control(device.connection())?;
        device.release_quarantine(now)?;
        device.look_for_copies()?;
        Ok(device)
    }

    /// The database, for reading.
    pub fn connection(&self) -> &Connection {
        self.replica.connection()
    }

    /// Values overruled by a concurrent edit.
    pub fn conflicts(&mut self, filter: ConflictFilter<'_>) -> Result<Vec<Conflict>, StorageError> {
        self.replica.conflicts(filter)
    }

    /// Values that the schema here has no place for.
    pub fn quarantined(&self) -> Result<Vec<Quarantined>, StorageError> {
        self.replica.quarantined()
    }

    /// A number that grows with every change of a merged table, by whomever.
    pub fn version(&self) -> Result<u64, StorageError> {
        self.replica.version()
    }

    /// Who wrote the cells of a row and when.
    pub fn row_stamps(
        &self,
        table: &str,
        key: &[Value],
    ) -> Result<Option<RowStamps>, StorageError> {
        self.replica.row_stamps(table, key)
    }

    /// Which rows of a table changed after a [`version`](Self::version).
    pub fn rows_since(
        &self,
        table: &str,
        version: u64,
        limit: usize,
    ) -> Result<RowsSince, StorageError> {
        self.replica.rows_since(table, version, limit)
    }

    /// The public name of this installation.
    pub fn key(&self) -> DeviceKey {
        self.secrets.device()
    }

    /// Whose installation it is.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// Rows of tables without a compartment column belong to this compartment from now on.
    pub fn use_for_fixed_tables(&mut self, compartment: CompartmentId) {
        self.fixed = Some(compartment);
    }

    /// Takes note of what other processes did to the database. Returns whether they did anything; cheap if not.
    pub fn refresh(&mut self) -> Result<bool, DeviceError> {
        self.commit_held_back()?;
        let version = self
            .connection()
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?;
        if version == self.data_version {
            return Ok(false);
        }
        self.data_version = version;
        self.vectors.clear();
        self.read_control()?;
        self.look_for_copies()?;
        Ok(true)
    }

    /// Reads the control entries that were stored since the last time, by whomever.
    pub(crate) fn read_control(&mut self) -> Result<(), DeviceError> {
        let newest = state::newest(self.connection())?;
        if newest == self.control_read {
            return Ok(());
        }
        self.secrets = self.key_store.load().map_err(DeviceError::Keys)?;
        if let Some(writer) = self.secrets.writer_in_use() {
            self.replica.set_writer(writer.key());
        }
        let mut histories: BTreeMap<ContextId, History> = std::mem::take(&mut self.contexts)
            .into_iter()
            .map(|(id, state)| (id, state.history))
            .collect();
        let (_, last) = state::load(self.replica.connection(), &mut histories, self.control_read)?;
        self.control_read = last;
        self.own_logs.forget();
        for (id, history) in histories {
            if let Some(state) = ContextState::derive(history, &self.secrets) {
                self.contexts.insert(id, state);
            }
        }
        self.index_compartments();
        Ok(())
    }

    pub(crate) fn index_compartments(&mut self) {
        self.compartments = self
            .contexts
            .iter()
            .flat_map(|(id, state)| {
                state
                    .readable(self.user)
                    .into_iter()
                    .map(|compartment| (compartment, *id))
            })
            .collect();
    }
}

fn meta<const N: usize>(connection: &Connection, name: &str) -> rusqlite::Result<Option<[u8; N]>> {
    connection
        .query_row(
            "SELECT value FROM device_meta WHERE name = ?1",
            [name],
            |row| row.get(0),
        )
        .optional()
}

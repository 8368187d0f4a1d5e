//! One installation: a data folder, the keys in it and the device they belong to.
//!
//! Any number of programs may open the same installation at once; none of them locks it.

use std::fs;
use std::path::{Path, PathBuf};

use aeroedge_aviation_store::tables::{Audience as TableAudience, MERGED};
use aeroedge_device::{Device, DeviceError, Options, SchemaError};
use aeroedge_ids::{Millis, UserId};
use aeroedge_log::secrets::DeviceSecrets;
use aeroedge_replica::{CompartmentRule, Merged, OpenError as EngineError, Policy, StorageError};
use rand::Rng;
use rusqlite::Connection;

use crate::contexts::{self, ContextError, ContextKind, NewContext};
use crate::doctor::built_at_seconds;
use crate::explain::{Explained, Kind};
use crate::folder::{DataFolder, Filling, FolderError};
use crate::keys::{FileKeys, KeyError, KeyFile};
use crate::rights::AviationRights;

/// The column that says in which compartment a row lives.
const COMPARTMENT_COLUMN: &str = "compartment_id";

/// An installation could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The product's tables.
    #[error(transparent)]
    Records(#[from] aeroedge_aviation_store::MigrationError),
    /// The platform's tables, or the two do not belong together.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The personal logbook could not be founded.
    #[error("cannot make the personal logbook")]
    Personal(#[source] ContextError),
    /// The database is there and belongs to nobody.
    #[error("the database {} holds no installation", .0.display())]
    Unfinished(PathBuf),
}

impl Explained for OpenError {
    fn kind(&self) -> Kind {
        use aeroedge_aviation_store::MigrationError as Migration;
        match self {
            Self::Folder(error) => error.kind(),
            Self::Keys(error) => error.kind(),
            Self::Records(Migration::NewerProgram { .. } | Migration::OtherOrigin { .. }) => {
                Kind::Unreadable
            }
            Self::Device(error) if is_newer(error) => Kind::Unreadable,
            Self::Device(DeviceError::OtherKeys) => Kind::Refused,
            Self::Records(_) | Self::Device(_) => Kind::Failure,
            Self::Personal(error) => error.kind(),
            Self::Unfinished(_) => Kind::Unreadable,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Folder(error) => error.advice(),
            Self::Keys(error) => error.advice(),
            Self::Personal(error) => error.advice(),
            Self::Records(_) | Self::Device(_) if self.kind() == Kind::Unreadable => {
                "nothing was changed".to_owned()
            }
            Self::Unfinished(_) => {
                "if `aeroedge init` was interrupted, delete the folder and make it again; else restore an export into a new folder with `aeroedge restore`".to_owned()
            }
            // It says itself what to do.
            Self::Device(DeviceError::OtherKeys) => String::new(),
            Self::Records(_) | Self::Device(_) => "see `aeroedge doctor`".to_owned(),
        }
    }
}

/// Whether the cause is a database that a newer program wrote.
fn is_newer(error: &DeviceError) -> bool {
    match error {
        DeviceError::Schema(SchemaError::Newer { .. }) => true,
        DeviceError::Engine(error) => matches!(
            error.downcast_ref::<EngineError>(),
            Some(EngineError::Storage(StorageError::Newer { .. }))
        ),
        _ => false,
    }
}

/// A folder and its device.
#[derive(Debug)]
pub struct Installation {
    /// Where everything stands.
    pub folder: DataFolder,
    /// What works on it.
    pub device: Device,
}

impl Installation {
    /// Makes a new installation for a new person, with a personal logbook. Nothing is left behind if it fails; if the
    /// program is killed meanwhile, what it left is no installation and is begun anew by the next call.
    pub fn create(
        path: &Path,
        name: Option<&str>,
        passphrase: Option<&str>,
        now: Millis,
    ) -> Result<Self, OpenError> {
        let filling = DataFolder::fill(path)?;
        let made = Self::fill(filling.folder(), passphrase, now)?.found_personal(name, now)?;
        filling.finish()?;
        Ok(made)
    }

    /// Makes an installation that belongs to nobody yet: a second device of somebody, before it is let in. It is one only
    /// once the filling was finished; dropped before, it leaves nothing behind.
    pub fn create_for_pairing(
        path: &Path,
        passphrase: Option<&str>,
        now: Millis,
    ) -> Result<(Self, Filling), OpenError> {
        let filling = DataFolder::fill(path)?;
        let made = Self::fill(filling.folder(), passphrase, now)?;
        Ok((made, filling))
    }

    fn fill(folder: &DataFolder, passphrase: Option<&str>, now: Millis) -> Result<Self, OpenError> {
        let mut random = rand::rng();
        let secrets = DeviceSecrets::generate(&mut random);
        KeyFile::new(&secrets, passphrase, &mut random)?.write_new(&folder.key_file())?;
        let keys = FileKeys::open(&folder.key_file(), passphrase)?;
        let mut user = [0; UserId::LENGTH];
        random.fill_bytes(&mut user);
        let connection = folder.connect()?;
        let schema_version = aeroedge_aviation_store::apply(&connection)?;
        let mut device = Device::create(
            connection,
            Box::new(keys),
            options(schema_version),
            UserId(user),
            now,
        )?;
        device.set_built(built());
        device.make_durable()?;
        Ok(Self {
            folder: folder.clone(),
            device,
        })
    }

    fn found_personal(mut self, name: Option<&str>, now: Millis) -> Result<Self, OpenError> {
        let personal = NewContext {
            name: name.map_or_else(
                || "Personal logbook".to_owned(),
                |name| format!("Logbook of {name}"),
            ),
            kind: ContextKind::Personal,
            home_airport: None,
            own_name: name.map(str::to_owned),
        };
        contexts::create(&mut self.device, &personal, now).map_err(OpenError::Personal)?;
        self.device.make_durable()?;
        Ok(self)
    }

    /// Opens an installation. `passphrase` matters only if its keys are sealed.
    pub fn open(
        folder: DataFolder,
        passphrase: Option<&str>,
        now: Millis,
    ) -> Result<Self, OpenError> {
        let keys = FileKeys::open(&folder.key_file(), passphrase)?;
        let unfinished = || OpenError::Unfinished(folder.database());
        // Opening an empty file would make the tables of a new installation in it.
        if fs::metadata(folder.database()).is_ok_and(|file| file.len() == 0) {
            return Err(unfinished());
        }
        let connection = folder.connect()?;
        let device = open_device(connection, keys, now).map_err(|error| match error {
            OpenError::Device(DeviceError::NotInitialised) => unfinished(),
            other => other,
        })?;
        Ok(Self { folder, device })
    }
}

pub(crate) fn open_device(
    connection: Connection,
    keys: FileKeys,
    now: Millis,
) -> Result<Device, OpenError> {
    let schema_version = aeroedge_aviation_store::apply(&connection)?;
    let mut device = Device::open(connection, Box::new(keys), options(schema_version), now)?;
    device.set_built(built());
    Ok(device)
}

fn built() -> Millis {
    Millis(built_at_seconds() * 1000)
}

/// Whether the keys in this folder are sealed by a passphrase.
pub fn needs_passphrase(folder: &DataFolder) -> Result<bool, KeyError> {
    Ok(KeyFile::read(&folder.key_file())?.is_sealed())
}

/// What the product brings to the platform: its tables, and who may write them.
fn options(schema_version: u32) -> Options {
    Options {
        tables: MERGED
            .iter()
            .map(|table| Merged {
                table: table.name.to_owned(),
                compartment: CompartmentRule::Column(COMPARTMENT_COLUMN.to_owned()),
                policy: Policy::Record,
            })
            .collect(),
        rights: Box::new(AviationRights),
        schema_version,
    }
}

/// Whose rows of a table are whose to read.
pub(crate) fn audience_of(table: &str) -> TableAudience {
    aeroedge_aviation_store::tables::merged(table)
        .map_or(TableAudience::Everyone, |table| table.audience)
}

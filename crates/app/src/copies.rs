//! Copies of a whole installation: an ordinary SQLite file, and a manifest beside it that says what is in it.
//!
//! Keys stay out unless they are asked for, and then sealed by a passphrase. A restored copy goes on under a new writer:
//! the device it came from may still be writing, and two that write under one name would contradict each other.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aeroedge_device::{Device, DeviceError, MembershipError};
use aeroedge_ids::Millis;
use data_encoding::{BASE64, HEXLOWER};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::contexts;
use crate::explain::{Explained, Kind};
use crate::flights::{self, FlightError, Query};
use crate::folder::{DataFolder, FolderError, create_private};
use crate::installation::{Installation, OpenError};
use crate::keys::{KeyError, KeyFile};
use crate::standing::{self, StandingError};

const FORMAT: &str = "aeroedge export";
const VERSION: u32 = 1;
/// Pages copied between two reports of progress.
const PAGES_PER_STEP: i32 = 512;
/// A manifest describes; it holds no data.
const MANIFEST_LENGTH_MAX: u64 = 4 * 1024 * 1024;

/// What an export holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always the same word.
    pub format: String,
    /// Of this manifest.
    pub version: u32,
    /// Version of the program that wrote it.
    pub program: String,
    /// Milliseconds since 1970.
    pub exported_at_ms: u64,
    /// The device it is a copy of.
    pub device: String,
    /// Its person.
    pub user: String,
    /// Length of the database file.
    pub bytes: u64,
    /// SHA-256 of the database file.
    pub sha256: String,
    /// The groups in it.
    pub contexts: Vec<ManifestContext>,
    /// The device's keys, sealed by a passphrase: the bytes of a key file in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_keys: Option<String>,
}

/// A group in an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestContext {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// How many flights it holds.
    pub flights: u64,
    /// Entries in its logs.
    pub entries: u64,
    /// As devices compare it.
    pub digest: String,
}

/// An export could not be made or taken in.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It would replace something.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// The operating system said no.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Not a manifest.
    #[error("{} is not the manifest of an export", .0.display())]
    Manifest(PathBuf),
    /// Written by a newer program.
    #[error("the export is of version {0}, which this program does not know")]
    Newer(u32),
    /// The file and its manifest do not belong together.
    #[error("{} is not the file that its manifest describes", .0.display())]
    Mismatch(PathBuf),
    /// It would run statements of somebody else.
    #[error("{} contains statements that no AeroEdge program writes ({what})", file.display())]
    ForeignCode {
        /// The file.
        file: PathBuf,
        /// A trigger or a view.
        what: String,
    },
    /// There are no keys to restore with.
    #[error("the export carries no keys")]
    NoKeys,
    /// The database would not be copied.
    #[error("cannot copy the database")]
    Database(#[from] rusqlite::Error),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The new folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The restored installation does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The restored installation cannot go on under a new writer.
    #[error("cannot give the restored copy a writer of its own")]
    Writer(#[from] MembershipError),
    /// The groups.
    #[error(transparent)]
    Standing(#[from] StandingError),
    /// The flights.
    #[error(transparent)]
    Flights(#[from] FlightError),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl Explained for CopyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Exists(_) | Self::NoKeys => Kind::Refused,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Kind::NotFound,
            Self::Manifest(_) | Self::Newer(_) | Self::Mismatch(_) | Self::ForeignCode { .. } => {
                Kind::Unreadable
            }
            Self::Keys(error) => error.kind(),
            Self::Folder(error) => error.kind(),
            Self::Open(error) => error.kind(),
            Self::Standing(error) => error.kind(),
            Self::Flights(error) => error.kind(),
            Self::Io { .. } | Self::Database(_) | Self::Writer(_) | Self::Device(_) => {
                Kind::Failure
            }
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Exists(_) => "name another file; nothing was written".to_owned(),
            Self::Io { .. } => "check the path and the room on that disk".to_owned(),
            Self::Manifest(_) => "name the exported file, with its manifest beside it".to_owned(),
            Self::Newer(_) => "use the program that wrote it, or a newer one".to_owned(),
            Self::Mismatch(_) => {
                "it was changed or cut short on the way; copy both files again".to_owned()
            }
            Self::ForeignCode { .. } => {
                "somebody changed it after the export: restore another copy; nothing was written"
                    .to_owned()
            }
            Self::NoKeys => {
                "give the key file of that device with --key-file, or export again with --with-keys"
                    .to_owned()
            }
            Self::Keys(error) => error.advice(),
            Self::Folder(error) => error.advice(),
            Self::Open(error) => error.advice(),
            Self::Standing(error) => error.advice(),
            Self::Flights(error) => error.advice(),
            Self::Database(_) | Self::Writer(_) | Self::Device(_) => {
                "see `aeroedge doctor`".to_owned()
            }
        }
    }
}

/// The manifest of an exported file stands beside it.
pub fn manifest_path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".json");
    PathBuf::from(path)
}

/// Writes a copy of the whole database to `file` and its manifest beside it, without stopping anybody who works on it.
/// With a passphrase, the keys go into the manifest, sealed by it. `progress` hears of pages copied, of how many.
pub fn export(
    installation: &mut Installation,
    file: &Path,
    key_passphrase: Option<&str>,
    now: Millis,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Manifest, CopyError> {
    let manifest_file = manifest_path(file);
    for path in [file, &manifest_file] {
        if path.exists() {
            return Err(CopyError::Exists(path.to_owned()));
        }
    }
    let sealed_keys = key_passphrase
        .map(|passphrase| -> Result<String, CopyError> {
            let secrets = installation.device.secrets_for_backup()?;
            let sealed = KeyFile::new(&secrets, Some(passphrase), &mut rand::rng())?;
            Ok(BASE64.encode(sealed.as_bytes()))
        })
        .transpose()?;
    create_private(file).map_err(|source| io_error("create", file, source))?;
    let written = (|| {
        copy_database(installation.device.connection(), file, progress)?;
        let (bytes, sha256) = digest_of(file)?;
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            exported_at_ms: now.0,
            device: installation.device.key().to_string(),
            user: installation.device.user().to_string(),
            bytes,
            sha256,
            contexts: contexts_in(&mut installation.device)?,
            sealed_keys,
        };
        write_manifest(&manifest_file, &manifest)?;
        Ok(manifest)
    })();
    if written.is_err() {
        // Half an export is worse than none.
        let _ = fs::remove_file(file);
        let _ = fs::remove_file(&manifest_file);
    }
    written
}

fn copy_database(
    from: &Connection,
    file: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), CopyError> {
    let mut to = Connection::open(file)?;
    {
        let backup = Backup::new(from, &mut to)?;
        loop {
            let step = backup.step(PAGES_PER_STEP)?;
            let pages = backup.progress();
            let total = pages.pagecount.max(0) as u64;
            progress(total - pages.remaining.max(0) as u64, total);
            match step {
                StepResult::Done => break,
                StepResult::Busy | StepResult::Locked => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                _ => {}
            }
        }
    }
    // One file, without a log beside it.
    to.pragma_update(None, "journal_mode", "DELETE")?;
    to.close().map_err(|(_, error)| error)?;
    fs::File::open(file)
        .and_then(|file| file.sync_all())
        .map_err(|source| io_error("write", file, source))
}

fn contexts_in(device: &mut Device) -> Result<Vec<ManifestContext>, CopyError> {
    standing::counts(device)?
        .into_iter()
        .map(|standing| {
            let query = Query {
                context: Some(standing.id),
                ..Query::default()
            };
            Ok(ManifestContext {
                id: standing.id.to_string(),
                flights: flights::totals(device, &query)?.flights,
                entries: standing.merged,
                digest: standing::digest(device, standing.id)?,
                name: standing.name,
            })
        })
        .collect()
}

fn write_manifest(path: &Path, manifest: &Manifest) -> Result<(), CopyError> {
    let write = || -> io::Result<()> {
        let mut file = create_private(path)?;
        serde_json::to_writer_pretty(&mut file, manifest)?;
        file.write_all(b"\n")?;
        file.sync_all()
    };
    write().map_err(|source| io_error("write", path, source))
}

/// Reads the manifest of an export and checks that the file is the one it describes.
pub fn check(file: &Path) -> Result<Manifest, CopyError> {
    let path = manifest_path(file);
    let read = || -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        fs::File::open(&path)?
            .take(MANIFEST_LENGTH_MAX)
            .read_to_end(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|source| io_error("read", &path, source))?;
    let not_one = || CopyError::Manifest(path.clone());
    let loose: serde_json::Value = serde_json::from_slice(&text).map_err(|_| not_one())?;
    if loose["format"] != FORMAT {
        return Err(not_one());
    }
    match loose["version"].as_u64() {
        Some(version) if version > u64::from(VERSION) => {
            return Err(CopyError::Newer(u32::try_from(version).unwrap_or(u32::MAX)));
        }
        Some(_) => {}
        None => return Err(not_one()),
    }
    let manifest: Manifest = serde_json::from_value(loose).map_err(|_| not_one())?;
    let (bytes, sha256) = digest_of(file)?;
    if bytes != manifest.bytes || sha256 != manifest.sha256 {
        return Err(CopyError::Mismatch(file.to_owned()));
    }
    Ok(manifest)
}

/// Makes an installation in a new folder from an export. The keys come from the manifest, or from a key file.
pub fn restore(
    file: &Path,
    key_file: Option<&Path>,
    key_passphrase: Option<&str>,
    target: &Path,
    now: Millis,
) -> Result<(Manifest, Installation), CopyError> {
    let manifest = check(file)?;
    let resting = match (key_file, &manifest.sealed_keys) {
        (Some(path), _) => KeyFile::read(path)?,
        (None, Some(sealed)) => KeyFile::from_bytes(
            BASE64
                .decode(sealed.as_bytes())
                .map_err(|_| CopyError::Manifest(manifest_path(file)))?,
        ),
        (None, None) => return Err(CopyError::NoKeys),
    };
    // A wrong passphrase is told before anything is written.
    resting.secrets(key_passphrase)?;
    let filling = DataFolder::fill(target)?;
    let made = fill(
        &manifest,
        file,
        filling.folder(),
        &resting,
        key_passphrase,
        now,
    )?;
    filling.finish()?;
    Ok((manifest, made))
}

fn fill(
    manifest: &Manifest,
    file: &Path,
    folder: &DataFolder,
    keys: &KeyFile,
    key_passphrase: Option<&str>,
    now: Millis,
) -> Result<Installation, CopyError> {
    let database = folder.database();
    let copy = || -> io::Result<()> {
        let mut to = create_private(&database)?;
        io::copy(&mut fs::File::open(file)?, &mut to)?;
        to.sync_all()
    };
    copy().map_err(|source| io_error("write", &database, source))?;
    // The file was checked before; what counts is what arrived.
    if digest_of(&database)?.1 != manifest.sha256 {
        return Err(CopyError::Mismatch(database));
    }
    refuse_foreign_code(file, &database)?;
    keys.write_new(&folder.key_file())?;
    let mut installation = Installation::open(folder.clone(), key_passphrase, now)?;
    installation.device.open_new_writer(now, &mut rand::rng())?;
    installation.device.make_durable()?;
    contexts::list(&installation.device).map_err(StandingError::from)?;
    Ok(installation)
}

/// The manifest proves that a file arrived whole, not who wrote it: statements that lie in wait are looked for before the
/// database is used for anything else.
fn refuse_foreign_code(file: &Path, database: &Path) -> Result<(), CopyError> {
    let connection = Connection::open(database)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    match aeroedge_replica::foreign_code(&connection)?.pop() {
        None => Ok(()),
        Some(what) => Err(CopyError::ForeignCode {
            file: file.to_owned(),
            what,
        }),
    }
}

fn digest_of(path: &Path) -> Result<(u64, String), CopyError> {
    let digest = || -> io::Result<(u64, String)> {
        let mut file = fs::File::open(path)?;
        let mut hasher = Sha256::new();
        let mut piece = vec![0; 1024 * 1024];
        let mut bytes = 0;
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                return Ok((bytes, HEXLOWER.encode(&hasher.finalize())));
            }
            bytes += read as u64;
            hasher.update(&piece[..read]);
        }
    };
    digest().map_err(|source| io_error("read", path, source))
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> CopyError {
    CopyError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

//! The data folder: where an installation keeps its database, its keys and the trace of a running node.
//!
//! Nothing in it is locked: any number of programs may open it at once. Everything in it is readable by its owner alone,
//! and that is checked on every opening, because a backup tool or a careless copy undoes it silently.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use crate::explain::{Explained, Kind};

const DATABASE: &str = "aeroedge.db";
const KEY_FILE: &str = "device.key";
const NODE_FILE: &str = "node.json";
const TOKEN_FILE: &str = "api.token";

/// How long a statement waits for another program's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A data folder is not usable.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is none.
    #[error("there is no AeroEdge data in {}", .0.display())]
    Missing(PathBuf),
    /// Something else has that name.
    #[error("{} is a file, not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// It holds an installation already.
    #[error("{} already holds an installation", .0.display())]
    Taken(PathBuf),
    /// It holds other things.
    #[error("{} is not empty and holds no installation", .0.display())]
    NotEmpty(PathBuf),
    /// Other users of the computer may look into it.
    #[error("{} may be read by other users of this computer", .0.display())]
    Exposed(PathBuf),
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
    /// The database would not open.
    #[error("cannot open the database {}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
}

impl Explained for FolderError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing(_) => Kind::NotFound,
            Self::NotAFolder(_) => Kind::Invalid,
            Self::Taken(_) | Self::NotEmpty(_) | Self::Exposed(_) => Kind::Refused,
            Self::Io { .. } => Kind::Failure,
            Self::Database { source, .. } => match source.sqlite_error_code() {
                Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                    Kind::Unreadable
                }
                _ => Kind::Failure,
            },
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Missing(path) => format!(
                "make an installation there with `aeroedge --data {} init`, or name another folder with --data",
                path.display()
            ),
            Self::NotAFolder(_) => "name another folder with --data".into(),
            Self::Taken(_) => {
                "use it as it is, or name another folder with --data to make a second installation".into()
            }
            Self::NotEmpty(_) => "name an empty or a new folder with --data".into(),
            Self::Exposed(path) => format!(
                "if you trust what is in it, close it with `chmod -R go= '{}'`",
                path.display()
            ),
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    "check that the folder belongs to you, or name another with --data".into()
                }
                io::ErrorKind::StorageFull => "make room on this disk and try again".into(),
                _ => "name another folder with --data, or see `aeroedge doctor`".into(),
            },
            Self::Database { source, .. } => match source.sqlite_error_code() {
                Some(
                    rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt,
                ) => "restore an export into a new folder with `aeroedge restore`, and keep this file".into(),
                _ => "see `aeroedge doctor`".into(),
            },
        }
    }
}

/// A folder that exists and that only its owner can look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFolder {
    path: PathBuf,
}

impl DataFolder {
    /// Takes a new or empty folder for a new installation.
    pub fn create(path: &Path) -> Result<Self, FolderError> {
        let folder = Self {
            path: path.to_owned(),
        };
        match fs::metadata(path) {
            Ok(found) if !found.is_dir() => return Err(FolderError::NotAFolder(path.to_owned())),
            Ok(_) => {
                if folder.database().exists() || folder.key_file().exists() {
                    return Err(FolderError::Taken(path.to_owned()));
                }
                let mut inside =
                    fs::read_dir(path).map_err(|source| io_error("read", path, source))?;
                if inside.next().is_some() {
                    return Err(FolderError::NotEmpty(path.to_owned()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_closed(path).map_err(|source| io_error("create", path, source))?;
            }
            Err(source) => return Err(not_a_folder_or(path, "read", source)),
        }
        close_to_others(path, 0o700).map_err(|source| io_error("protect", path, source))?;
        Ok(folder)
    }

    /// Opens the folder of an existing installation.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let folder = Self {
            path: path.to_owned(),
        };
        match fs::metadata(path) {
            Ok(found) if !found.is_dir() => return Err(FolderError::NotAFolder(path.to_owned())),
            Ok(found) => {
                if is_exposed(&found) {
                    return Err(FolderError::Exposed(path.to_owned()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FolderError::Missing(path.to_owned()));
            }
            Err(source) => return Err(not_a_folder_or(path, "read", source)),
        }
        fs::read_dir(path).map_err(|source| io_error("read", path, source))?;
        match folder.database().try_exists() {
            Ok(true) => Ok(folder),
            Ok(false) => Err(FolderError::Missing(path.to_owned())),
            Err(source) => Err(io_error("read", path, source)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The one SQLite file.
    pub fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// The secrets of this device.
    pub fn key_file(&self) -> PathBuf {
        self.path.join(KEY_FILE)
    }

    /// Process and port of the node that runs on this folder, while one does.
    pub fn node_file(&self) -> PathBuf {
        self.path.join(NODE_FILE)
    }

    /// What a program must show to talk to that node.
    pub fn token_file(&self) -> PathBuf {
        self.path.join(TOKEN_FILE)
    }

    /// Opens a connection to the database, as every program that shares it must: write-ahead log, no fsync per commit
    /// (durability is a step of its own), patience with other writers.
    pub fn connect(&self) -> Result<Connection, FolderError> {
        let path = self.database();
        if !path.exists() {
            create_private(&path).map_err(|source| io_error("create", &path, source))?;
        }
        let database = |source| FolderError::Database {
            path: path.clone(),
            source,
        };
        let connection = Connection::open(&path).map_err(database)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(database)?;
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(database)?;
        connection
            .pragma_update(None, "synchronous", "NORMAL")
            .map_err(database)?;
        connection
            .pragma_update(None, "foreign_keys", false)
            .map_err(database)?;
        Ok(connection)
    }
}

/// Creates an empty file that only its owner may read; fails if there is one.
pub(crate) fn create_private(path: &Path) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}

/// Whether users other than the owner may read or enter.
#[cfg(unix)]
pub(crate) fn is_exposed(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o077 != 0
}

/// Other systems keep access lists that are private by default.
#[cfg(not(unix))]
pub(crate) fn is_exposed(_: &fs::Metadata) -> bool {
    false
}

/// Makes a folder that is closed to others from its first moment.
fn create_closed(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(unix)]
fn close_to_others(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn close_to_others(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> FolderError {
    FolderError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

/// A path that leads through a file is told like a file in place of the folder.
fn not_a_folder_or(path: &Path, doing: &'static str, source: io::Error) -> FolderError {
    if source.kind() == io::ErrorKind::NotADirectory {
        let file = path
            .ancestors()
            .find(|ancestor| ancestor.is_file())
            .unwrap_or(path);
        return FolderError::NotAFolder(file.to_owned());
    }
    io_error(doing, path, source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_is_told_with_the_command_that_makes_it() {
        let place = tempfile::tempdir().unwrap();
        let error = DataFolder::open(&place.path().join("none")).unwrap_err();
        assert!(matches!(error, FolderError::Missing(_)));
        assert!(error.advice().contains("init"), "{}", error.advice());
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_told() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "x").unwrap();
        for path in [file.clone(), file.join("below")] {
            for error in [
                DataFolder::open(&path).unwrap_err(),
                DataFolder::create(&path).unwrap_err(),
            ] {
                assert_eq!(
                    error.to_string(),
                    format!("{} is a file, not a folder", file.display())
                );
            }
        }
    }

    #[test]
    fn a_folder_with_other_things_in_it_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("letter.txt"), "x").unwrap();
        let error = DataFolder::create(place.path()).unwrap_err();
        assert!(matches!(error, FolderError::NotEmpty(_)));
    }

    #[cfg(unix)]
    #[test]
    fn a_new_folder_and_its_database_belong_to_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let folder = DataFolder::create(&place.path().join("deep/er")).unwrap();
        let connection = folder.connect().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder.path()), 0o700);
        assert_eq!(mode(&folder.database()), 0o600);
        drop(connection);

        assert_eq!(DataFolder::open(folder.path()).unwrap(), folder);
        assert!(matches!(
            DataFolder::create(folder.path()),
            Err(FolderError::Taken(_))
        ));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let error = DataFolder::open(folder.path()).unwrap_err();
        assert!(matches!(error, FolderError::Exposed(_)));
        assert!(error.advice().contains("chmod"));
    }
}

//! The data folder: where an installation keeps its database, its keys and the trace of a running node.
//!
//! Once it is filled, nothing in it is locked: any number of programs may open it at once. Everything in it is readable by its owner alone,
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
/// There, and locked, while a program fills the folder; there and not locked, when that program did not come to its end.
const UNFINISHED_FILE: &str = "unfinished";

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
    /// A program that filled it was interrupted.
    #[error("what was begun in {} was never finished", .0.display())]
    Unfinished(PathBuf),
    /// Another program fills it.
    #[error("another program is making an installation in {}", .0.display())]
    Busy(PathBuf),
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
            Self::Taken(_)
            | Self::Unfinished(_)
            | Self::Busy(_)
            | Self::NotEmpty(_)
            | Self::Exposed(_) => Kind::Refused,
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
            Self::Unfinished(path) => format!(
                "run `aeroedge --data {} init` or `aeroedge restore` again; it starts over by itself",
                path.display()
            ),
            Self::Busy(_) => "wait for it, or name another folder with --data".into(),
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
    /// Takes a folder for a new installation: a new or empty one, or one that an interrupted program left half filled.
    pub fn fill(path: &Path) -> Result<Filling, FolderError> {
        let folder = Self {
            path: path.to_owned(),
        };
        match fs::metadata(path) {
            Ok(found) if !found.is_dir() => return Err(FolderError::NotAFolder(path.to_owned())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_closed(path).map_err(|source| io_error("create", path, source))?;
            }
            Err(source) => return Err(not_a_folder_or(path, "read", source)),
        }
        let filling = match fs::File::open(folder.unfinished_file()) {
            Ok(mark) => Filling::take_over(folder, mark)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Filling::begin(folder)?,
            Err(source) => return Err(io_error("read", &folder.unfinished_file(), source)),
        };
        close_to_others(path, 0o700).map_err(|source| io_error("protect", path, source))?;
        Ok(filling)
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
        if folder.unfinished_file().exists() {
            return Err(FolderError::Unfinished(path.to_owned()));
        }
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

    fn unfinished_file(&self) -> PathBuf {
        self.path.join(UNFINISHED_FILE)
    }

    /// Whether there is nothing in it.
    fn is_empty(&self) -> Result<bool, FolderError> {
        let mut inside =
            fs::read_dir(&self.path).map_err(|source| io_error("read", &self.path, source))?;
        Ok(inside.next().is_none())
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
        // Before anything is read: what a schema calls must be harmless, whoever wrote it.
        connection
            .pragma_update(None, "trusted_schema", false)
            .map_err(database)?;
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

/// A folder that this program is filling. Unless it is finished, dropping it leaves the folder empty; should the program not
/// come so far, whoever fills the folder next does.
#[derive(Debug)]
pub struct Filling {
    folder: DataFolder,
    /// Locked as long as it is open: the lock ends with the process, however that ends.
    mark: Option<fs::File>,
}

impl Filling {
    fn begin(folder: DataFolder) -> Result<Self, FolderError> {
        let path = folder.path.clone();
        if folder.database().exists() || folder.key_file().exists() {
            return Err(FolderError::Taken(path));
        }
        if !folder.is_empty()? {
            return Err(FolderError::NotEmpty(path));
        }
        match create_private(&folder.unfinished_file()) {
            Ok(mark) => Self::lock(folder, mark),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(FolderError::Busy(path))
            }
            Err(source) => Err(io_error("write to", &path, source)),
        }
    }

    /// Starts over where another program was interrupted.
    fn take_over(folder: DataFolder, mark: fs::File) -> Result<Self, FolderError> {
        let filling = Self::lock(folder, mark)?;
        // The other program may have come to its end in the meantime.
        if !filling.folder.unfinished_file().exists() {
            let path = filling.folder.path.clone();
            filling.let_go();
            return Err(FolderError::Taken(path));
        }
        filling.remove_content();
        Ok(filling)
    }

    fn lock(folder: DataFolder, mark: fs::File) -> Result<Self, FolderError> {
        match mark.try_lock() {
            Ok(()) => Ok(Self {
                folder,
                mark: Some(mark),
            }),
            Err(fs::TryLockError::WouldBlock) => Err(FolderError::Busy(folder.path)),
            Err(fs::TryLockError::Error(source)) => {
                Err(io_error("lock", &folder.unfinished_file(), source))
            }
        }
    }

    /// The folder being filled.
    pub fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// Everything is in it, and durable.
    pub fn finish(self) -> Result<DataFolder, FolderError> {
        let mark = self.folder.unfinished_file();
        fs::remove_file(&mark).map_err(|source| io_error("remove", &mark, source))?;
        Ok(self.let_go())
    }

    /// Leaves everything as it is.
    fn let_go(mut self) -> DataFolder {
        self.mark = None;
        self.folder.clone()
    }

    fn remove_content(&self) {
        let database = self.folder.database();
        let beside = ["", "-wal", "-shm", "-journal"].map(|suffix| {
            let mut file = database.clone().into_os_string();
            file.push(suffix);
            PathBuf::from(file)
        });
        for file in beside.iter().chain([&self.folder.key_file()]) {
            // Most are not there.
            let _ = fs::remove_file(file);
        }
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if self.mark.is_some() {
            self.remove_content();
            let _ = fs::remove_file(self.folder.unfinished_file());
        }
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
                DataFolder::fill(&path).unwrap_err(),
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
        let error = DataFolder::fill(place.path()).unwrap_err();
        assert!(matches!(error, FolderError::NotEmpty(_)));
    }

    #[test]
    fn an_unfinished_folder_is_no_installation_and_is_begun_anew() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("data");
        let first = DataFolder::fill(&path).unwrap();
        drop(first.folder().connect().unwrap());
        assert!(matches!(DataFolder::fill(&path), Err(FolderError::Busy(_))));
        // As if the process had been killed: its lock is gone, its files are not.
        first.let_go();
        assert!(matches!(
            DataFolder::open(&path),
            Err(FolderError::Unfinished(_))
        ));
        let second = DataFolder::fill(&path).unwrap();
        assert!(!second.folder().database().exists());
        drop(second.folder().connect().unwrap());
        drop(second);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_new_folder_and_its_database_belong_to_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let filling = DataFolder::fill(&place.path().join("deep/er")).unwrap();
        let folder = filling.folder().clone();
        let connection = folder.connect().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder.path()), 0o700);
        assert_eq!(mode(&folder.database()), 0o600);
        drop(connection);
        filling.finish().unwrap();

        assert_eq!(DataFolder::open(folder.path()).unwrap(), folder);
        assert!(matches!(
            DataFolder::fill(folder.path()),
            Err(FolderError::Taken(_))
        ));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let error = DataFolder::open(folder.path()).unwrap_err();
        assert!(matches!(error, FolderError::Exposed(_)));
        assert!(error.advice().contains("chmod"));
    }
}

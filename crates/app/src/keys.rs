//! The file in which the secrets of a device rest: sealed by a passphrase, or open and readable by its owner alone.
//!
//! It is replaced as a whole or not at all: whoever reads it sees the old keys or the new ones, never half of either.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use aeroedge_device::KeyStore;

use aeroedge_log::invite::Stretch;
use aeroedge_log::secrets::{DeviceSecrets, SecretsError};
use rand::CryptoRng;
use zeroize::Zeroizing;

use crate::explain::{Explained, Kind};
use crate::folder::{create_private, is_exposed};

/// A key file holds a few keys; anything longer is not one.
const FILE_LENGTH_MAX: u64 = 1024 * 1024;
/// A passphrase that opens a device's keys must not be guessed in an afternoon.
pub const PASSPHRASE_LENGTH_MIN: usize = 10;

/// The secrets of a device cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no key file.
    #[error("the key file {} is missing", .0.display())]
    Missing(PathBuf),
    /// Other users of the computer may read it.
    #[error("the key file {} may be read by other users of this computer", .0.display())]
    Exposed(PathBuf),
    /// Too short to protect anything.
    #[error("a passphrase needs at least {PASSPHRASE_LENGTH_MIN} characters")]
    WeakPassphrase,
    /// What the file holds cannot be used.
    #[error("the keys of this device cannot be opened")]
    Content(#[from] SecretsError),
    /// The operating system said no.
    #[error("cannot {doing} the key file {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Explained for KeyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing(_) => Kind::NotFound,
            Self::Exposed(_)
            | Self::Content(SecretsError::NeedsPassphrase | SecretsError::WrongPassphrase) => {
                Kind::Refused
            }
            Self::WeakPassphrase => Kind::Invalid,
            Self::Content(SecretsError::Stretch) | Self::Io { .. } => Kind::Failure,
            Self::Content(_) => Kind::Unreadable,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Missing(_) => {
                "bring it back from a backup; without it the data can be read but not shared"
                    .to_owned()
            }
            Self::Exposed(path) => format!(
                "if nobody else saw it, close it with `chmod 600 '{}'`",
                path.display()
            ),
            Self::WeakPassphrase => "use several words".to_owned(),
            Self::Content(SecretsError::NeedsPassphrase) => {
                "type it when asked, or give --passphrase-file or --passphrase-stdin".to_owned()
            }
            Self::Content(SecretsError::WrongPassphrase) => {
                "try again; nothing was changed".to_owned()
            }
            Self::Content(SecretsError::Stretch) => "close other programs and try again".to_owned(),
            Self::Content(_) => {
                "bring the file back from a backup, or use the program that wrote it".to_owned()
            }
            Self::Io { .. } => "check that the data folder belongs to you and has room".to_owned(),
        }
    }
}

/// A key file that was read and not opened.
pub struct KeyFile {
    bytes: Zeroizing<Vec<u8>>,
}

impl KeyFile {
    /// Puts secrets to rest, sealed if there is a passphrase.
    pub fn new(
        secrets: &DeviceSecrets,
        passphrase: Option<&str>,
        random: &mut impl CryptoRng,
    ) -> Result<Self, KeyError> {
        let bytes = match passphrase {
            None => secrets.to_file(random),
            Some(passphrase) if passphrase.chars().count() < PASSPHRASE_LENGTH_MIN => {
                return Err(KeyError::WeakPassphrase);
            }
            Some(passphrase) => {
                Zeroizing::new(secrets.to_sealed_file(passphrase, Stretch::FORMAT, random)?)
            }
        };
        Ok(Self { bytes })
    }

    /// A key file that stood somewhere else.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self {
            bytes: Zeroizing::new(bytes),
        }
    }

    /// What stands in the file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads a key file, after checking that nobody else can.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let io = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => KeyError::Missing(path.to_owned()),
            _ => KeyError::Io {
                doing: "read",
                path: path.to_owned(),
                source,
            },
        };
        let found = fs::metadata(path).map_err(io)?;
        if is_exposed(&found) {
            return Err(KeyError::Exposed(path.to_owned()));
        }
        if found.len() > FILE_LENGTH_MAX {
            return Err(SecretsError::NotAKeyFile.into());
        }
        Ok(Self::from_bytes(fs::read(path).map_err(io)?))
    }

    /// Writes a new file and waits until the disk has it; never replaces one.
    pub fn write_new(&self, path: &Path) -> Result<(), KeyError> {
        let write = || -> io::Result<()> {
            let mut file = create_private(path)?;
            file.write_all(&self.bytes)?;
            file.sync_all()
        };
        write().map_err(|source| KeyError::Io {
            doing: "write",
            path: path.to_owned(),
            source,
        })
    }

    /// Whether a passphrase is needed.
    pub fn is_sealed(&self) -> bool {
        matches!(
            self.secrets(None),
            Err(KeyError::Content(SecretsError::NeedsPassphrase))
        )
    }

    /// The secrets; `passphrase` matters only if they are sealed.
    pub fn secrets(&self, passphrase: Option<&str>) -> Result<DeviceSecrets, KeyError> {
        Ok(DeviceSecrets::from_file(
            &self.bytes,
            passphrase,
            Stretch::FORMAT,
        )?)
    }
}

/// The key file of a data folder as the place where a device keeps its secrets.
pub struct FileKeys {
    path: PathBuf,
    passphrase: Option<Zeroizing<String>>,
    /// The file as it was last opened, and what was in it: opening a seal takes a tenth of a second.
    opened: Mutex<Option<(KeyFile, DeviceSecrets)>>,
}

impl FileKeys {
    /// Opens the file once, so that a wrong passphrase is told before anything else happens.
    pub fn open(path: &Path, passphrase: Option<&str>) -> Result<Self, KeyError> {
        let keys = Self {
            path: path.to_owned(),
            passphrase: passphrase.map(|text| Zeroizing::new(text.to_owned())),
            opened: Mutex::new(None),
        };
        keys.secrets()?;
        Ok(keys)
    }

    /// The secrets as they rest now.
    pub fn secrets(&self) -> Result<DeviceSecrets, KeyError> {
        let file = KeyFile::read(&self.path)?;
        let mut opened = self
            .opened
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((known, secrets)) = &*opened
            && *known.bytes == *file.bytes
        {
            return Ok(secrets.clone());
        }
        let secrets = file.secrets(self.passphrase.as_ref().map(|text| text.as_str()))?;
        *opened = Some((file, secrets.clone()));
        Ok(secrets)
    }

    fn replace(&self, secrets: &DeviceSecrets) -> Result<(), KeyError> {
        let passphrase = self.passphrase.as_ref().map(|text| text.as_str());
        // The protection stays what it was, also if the passphrase was given without need.
        let passphrase =
            passphrase.filter(|_| KeyFile::read(&self.path).is_ok_and(|file| file.is_sealed()));
        let file = KeyFile::new(secrets, passphrase, &mut rand::rng())?;
        let beside = self
            .path
            .with_extension(format!("{}.new", std::process::id()));
        // Left over if this process's number was killed at the wrong moment once.
        let _ = fs::remove_file(&beside);
        file.write_new(&beside)?;
        let settle = || -> io::Result<()> {
            fs::rename(&beside, &self.path)?;
            match self.path.parent() {
                Some(folder) if cfg!(unix) => fs::File::open(folder)?.sync_all(),
                _ => Ok(()),
            }
        };
        settle().map_err(|source| KeyError::Io {
            doing: "replace",
            path: self.path.clone(),
            source,
        })
    }
}

impl KeyStore for FileKeys {
    fn load(&self) -> Result<DeviceSecrets, Box<dyn Error + Send + Sync>> {
        Ok(self.secrets()?)
    }

    fn save(&mut self, secrets: &DeviceSecrets) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.replace(secrets)?)
    }
}

impl std::fmt::Debug for FileKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileKeys")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyFile(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> DeviceSecrets {
        DeviceSecrets::generate(&mut rand::rng())
    }

    #[test]
    fn a_sealed_file_opens_with_its_passphrase_only() {
        let secrets = secrets();
        let file = KeyFile::new(&secrets, Some("four tall green trees"), &mut rand::rng()).unwrap();
        assert!(file.is_sealed());
        let opened = file.secrets(Some("four tall green trees")).unwrap();
        assert_eq!(opened.device(), secrets.device());
        for wrong in [None, Some("four tall green treez")] {
            assert_eq!(file.secrets(wrong).unwrap_err().kind(), Kind::Refused);
        }
    }

    #[test]
    fn a_short_passphrase_is_refused() {
        let error = KeyFile::new(&secrets(), Some("short"), &mut rand::rng()).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
    }

    #[test]
    fn a_file_is_private_and_never_replaced() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("device.key");
        let first = secrets();
        let write = |secrets| {
            KeyFile::new(secrets, None, &mut rand::rng())
                .unwrap()
                .write_new(&path)
        };
        write(&first).unwrap();
        assert!(!is_exposed(&fs::metadata(&path).unwrap()));
        assert!(write(&secrets()).is_err());
        let read = KeyFile::read(&path).unwrap();
        assert!(!read.is_sealed());
        assert_eq!(read.secrets(None).unwrap().device(), first.device());
    }

    #[cfg(unix)]
    #[test]
    fn an_exposed_or_garbled_file_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("device.key");
        assert_eq!(KeyFile::read(&path).unwrap_err().kind(), Kind::NotFound);
        fs::write(&path, "{}").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(KeyFile::read(&path), Err(KeyError::Exposed(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = KeyFile::read(&path).unwrap().secrets(None).unwrap_err();
        assert_eq!(error.kind(), Kind::Unreadable);
    }

    #[test]
    fn replacing_keeps_the_protection_and_leaves_nothing_beside() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("device.key");
        let phrase = Some("four tall green trees");
        let (first, second) = (secrets(), secrets());
        KeyFile::new(&first, phrase, &mut rand::rng())
            .unwrap()
            .write_new(&path)
            .unwrap();
        let mut keys = FileKeys::open(&path, phrase).unwrap();
        keys.save(&second).unwrap();
        assert_eq!(keys.load().unwrap().device(), second.device());
        assert!(KeyFile::read(&path).unwrap().is_sealed());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}

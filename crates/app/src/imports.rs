//! Taking in other programs' files, and taking a whole import back.
//!
//! One import is one transaction: it stands as a whole or not at all. What the logbook already has is recognised.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aeroedge_aviation::foreflight::{self, FILE_BYTES_MAX, ImportError as FileError, Options};
use aeroedge_aviation_store::imports::{
    self as store, Batch, ImportReport, SourceFile, Target, UndoReport,
};
use aeroedge_aviation_store::{StoreError, flights::Pilot};
use aeroedge_device::Device;
use aeroedge_ids::{ContextId, Millis};
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use crate::contexts::{self, ContextError};
use crate::explain::{Explained, Kind};
use crate::write::{WriteError, new_id, write};

/// A file could not be imported, or an import not be undone.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{} is not a ForeFlight export that can be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: FileError,
    },
    /// No such zone.
    #[error("{0:?} is not a time zone")]
    Zone(String),
    /// There is nothing to undo.
    #[error("there is no import {0}to take back")]
    NothingToUndo(String),
    /// Several imports begin like this.
    #[error("more than one import has an id that begins with {0:?}")]
    Ambiguous(String),
    /// The group.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The flights could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Write(error.into())
    }
}

impl Explained for ImportError {
    fn kind(&self) -> Kind {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Kind::NotFound,
            Self::Io { .. } => Kind::Failure,
            Self::File { .. } | Self::Zone(_) | Self::Ambiguous(_) => Kind::Invalid,
            Self::NothingToUndo(_) => Kind::NotFound,
            Self::Context(error) => error.kind(),
            Self::Write(error) => error.kind(),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Io { .. } => "name the file that ForeFlight exported".to_owned(),
            // Its cause says what to do.
            Self::File { .. } => "nothing was changed".to_owned(),
            Self::Zone(_) => "write it as in America/Los_Angeles".to_owned(),
            Self::NothingToUndo(_) => "each import can be taken back once".to_owned(),
            Self::Ambiguous(_) => "give more of the id".to_owned(),
            Self::Context(error) => error.advice(),
            Self::Write(error) => error.advice(),
        }
    }
}

/// Imports a ForeFlight export into a group, or into the personal logbook. A dry run reports the same and changes nothing.
pub fn foreflight(
    device: &mut Device,
    path: &Path,
    group: Option<ContextId>,
    zone: &str,
    dry_run: bool,
    now: Millis,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<ImportReport, ImportError> {
    let home_zone = TimeZone::get(zone).map_err(|_| ImportError::Zone(zone.to_owned()))?;
    let group = match group {
        Some(group) => group,
        None => contexts::personal(device)?,
    };
    let bytes = read_file(path)?;
    let options = Options {
        home_zone: Some(home_zone),
        airport_zone: None,
    };
    let parsed = foreflight::parse(&bytes, &options).map_err(|source| ImportError::File {
        path: path.to_owned(),
        source,
    })?;
    let user = device.user();
    let target = Target {
        compartment: contexts::compartment_for(device, group, "flight")?,
        aircraft_compartment: Some(contexts::compartment_for(device, group, "aircraft")?),
        pilot: Pilot {
            user: Some(user),
            person_id: None,
        },
        created_by: Some(user),
    };
    let batch_id = new_id(now);
    if dry_run {
        return Ok(store::plan_import(
            device.connection(),
            &target,
            &batch_id,
            &parsed,
        )?);
    }
    let source = SourceFile {
        name: path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned()),
        sha256: Some(Sha256::digest(&bytes).into()),
    };
    let report = write(device, now, |connection| {
        store::apply_import(
            connection,
            &target,
            &batch_id,
            &source,
            &parsed,
            store::Caller {
                ids: &mut || new_id(now),
                progress,
            },
            now,
        )
    })?;
    Ok(report)
}

/// Reads a file, but never more of it than an import takes.
fn read_file(path: &Path) -> Result<Vec<u8>, ImportError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // One byte more than allowed, so that the reader of the format sees that it is too large and says so.
        fs::File::open(path)?
            .take(FILE_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| ImportError::Io {
        path: path.to_owned(),
        source,
    })
}

/// What taking an import back did.
#[derive(Debug)]
pub struct Undone {
    /// The import.
    pub batch: Batch,
    /// What is gone, and what stays.
    pub report: UndoReport,
}

/// Takes back an import of this device, the last one if none is named. What was edited since stays, unless `force`.
pub fn undo(
    device: &mut Device,
    id: Option<&str>,
    force: bool,
    now: Millis,
) -> Result<Undone, ImportError> {
    let open: Vec<Batch> = store::batches(device.connection())?
        .into_iter()
        .filter(|batch| batch.undone_at_ms.is_none())
        .collect();
    let batch = match id.map(str::trim) {
        None => open.into_iter().next(),
        Some(id) => {
            let mut named = open
                .into_iter()
                .filter(|batch| !id.is_empty() && batch.id.starts_with(&id.to_lowercase()));
            let first = named.next();
            if named.next().is_some() {
                return Err(ImportError::Ambiguous(id.to_owned()));
            }
            first
        }
    };
    let batch = batch.ok_or_else(|| {
        ImportError::NothingToUndo(id.map(|id| format!("{id} ")).unwrap_or_default())
    })?;
    let report = write(device, now, |connection| {
        store::undo_import(connection, &batch.id, force, now)
    })?;
    Ok(Undone { batch, report })
}

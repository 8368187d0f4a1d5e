//! The merged state of one compartment as canonical bytes: replicas that merged the same changes write the same bytes.
//!
//! ```text
//! image    := [1, [table ...]]                                     tables by name and key columns, empty ones left out
//! table    := [name, [key column ...], living, dead, losing]       the last three binary, rows one after the other
//! living   := (key value ..., life, count, (column, stamp, value) ...) ...     in the order of keys, columns by name
//! dead     := (key value ..., life, stamp) ...                     in the order of the bytes of keys
//! losing   := (key value ..., life, stamp, count, (column, value) ...) ...     open conflicts, by bytes of key, life and stamp
//! column   := number, followed by the name where the number is new in this table
//! stamp    := nil (the one before, in the same row) | hlc, writer
//! writer   := number, followed by the key (binary, 32 bytes) where the number is new in the image
//! ```
//! Numbers are given in the order of appearance. A cell no one ever wrote is left out: it holds the default of its column. What waits for
//! the schema stands among the other cells, and rows of unknown tables stand like those of known ones, so a program that
//! lacks a column writes the same bytes as one that has it. Only conflicts in what it lacks are unknown to it.

pub(crate) mod keys;
mod write;

use aeroedge_crdt::changeset::Values;
use aeroedge_crdt::value::Value;
use aeroedge_ids::CompartmentId;

use crate::encode::compartment_of;
use crate::merge::MergeError;
use crate::storage::StorageError;
use crate::tables::Table;

/// The version of the form.
pub(crate) const VERSION: u64 = 1;

/// Which rows an image is of.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Rows that name this compartment in their key.
    pub compartment: Option<CompartmentId>,
    /// Also rows of tables without a compartment column.
    pub with_default: bool,
    /// Every compartment there is: a row of an unknown table is taken for one of the default compartment if its key names none of them.
    pub known: &'a [CompartmentId],
}

/// Everything a replica holds that keeps only one compartment.
pub const DEFAULT_SCOPE: Scope<'static> = Scope {
    compartment: None,
    with_default: true,
    known: &[],
};

impl Scope<'_> {
    /// Whether a row of a known table is in it.
    pub(crate) fn has_row(&self, table: &Table, key: &[u8]) -> bool {
        match compartment_of(table, key) {
            Ok(None) => self.with_default,
            Ok(compartment) => compartment == self.compartment,
            Err(_) => false,
        }
    }

    /// Whether a row of an unknown table belongs in it. Which of its key columns names the compartment is not known, but an id
    /// of 16 bytes that is a hash is nobody else's.
    pub(crate) fn has_stranger(&self, key: &[u8]) -> bool {
        let names = |id: &CompartmentId| {
            Values::of(key)
                .any(|value| matches!(value, Value::Blob(bytes) if bytes == id.as_bytes()))
        };
        match &self.compartment {
            Some(id) if names(id) => true,
            _ => self.with_default && !self.known.iter().any(names),
        }
    }
}

/// An image could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The bytes are not an image.
    #[error("take over a state: its bytes are damaged")]
    Malformed,
    /// A newer program made it.
    #[error("take over a state of form {0}: update this program")]
    Version(u64),
    /// It says something of rows that are not in its scope.
    #[error("take over a state: a row of table {0} belongs to another compartment")]
    OtherCompartment(String),
    /// A conflict concerns a column that this program does not have, so it could not be kept.
    #[error(
        "take over a state with an open conflict in {table}.{column}, which this program does not know: update this program"
    )]
    UnknownColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// The tables could not be written.
    #[error(transparent)]
    Merge(#[from] MergeError),
}

impl From<StorageError> for ImageError {
    fn from(error: StorageError) -> Self {
        Self::Merge(error.into())
    }
}

impl From<rusqlite::Error> for ImageError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Merge(error.into())
    }
}

//! Whether the writer of an incoming changeset had seen a write that is already here.
//!
//! Changesets arrive in causal order, so nothing that is here had seen the incoming one: two writes of a cell are concurrent
//! exactly when the incoming writer had not seen the other.

use std::collections::BTreeMap;

use aeroedge_crdt::hlc::{Hlc, Stamp};
use aeroedge_ids::WriterKey;
use rusqlite::Connection;

use crate::storage::StorageError;
use crate::writers::Writers;

/// Says up to which stamp of a writer the incoming one had seen.
pub(crate) type SeenBy<'a> = &'a dyn Fn(&WriterKey) -> Hlc;

/// What one incoming stamp had seen.
pub(crate) struct Context<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) writers: &'a mut Writers,
    pub(crate) stamp: Stamp,
    /// The local number of the incoming writer.
    pub(crate) writer: u32,
    pub(crate) version: u64,
    /// None when nobody knows: then nothing is taken for concurrent, and no conflict is kept or closed.
    pub(crate) seen: Option<SeenBy<'a>>,
    cache: BTreeMap<u32, u64>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        connection: &'a Connection,
        writers: &'a mut Writers,
        stamp: Stamp,
        version: u64,
        seen: Option<SeenBy<'a>>,
    ) -> Result<Self, StorageError> {
        let writer = writers.number(connection, stamp.writer)?;
        Ok(Self {
            connection,
            writers,
            stamp,
            writer,
            version,
            seen,
            cache: BTreeMap::new(),
        })
    }

    /// Whether the incoming writer had seen a write.
    pub(crate) fn had_seen(&mut self, writer: u32, hlc: u64) -> Result<bool, StorageError> {
        let Some(seen) = self.seen else {
            return Ok(true);
        };
        if writer == self.writer {
            return Ok(true);
        }
        let upto = if let Some(&upto) = self.cache.get(&writer) {
            upto
        } else {
            let upto = seen(&self.writers.key(self.connection, writer)?).to_bits();
            self.cache.insert(writer, upto);
            upto
        };
        Ok(hlc <= upto)
    }

    /// Whether the key of one writer is less than that of another.
    pub(crate) fn writer_less(&mut self, left: u32, right: u32) -> Result<bool, StorageError> {
        Ok(self.writers.key(self.connection, left)? < self.writers.key(self.connection, right)?)
    }
}

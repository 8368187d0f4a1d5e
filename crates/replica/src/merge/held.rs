//! New rows of large changesets, held back until there are many, so that they go into the key index in its own order.
//!
//! A transaction of a million rows comes in parts. Each part in order costs the index a walk through all its pages; the whole in
//! order costs it one. Writes of different rows may change places, writes of one row never do.

use aeroedge_crdt::hlc::{Hlc, Stamp};
use aeroedge_crdt::life::Life;
use aeroedge_ids::WriterKey;
use rusqlite::Connection;
use std::collections::BTreeMap;

use super::seen::Context;
use super::table::Target;
use crate::storage::StorageError;

/// Changesets with fewer rows are merged as they come.
pub(crate) const ROWS_MIN: usize = 256;
/// How much is held back at most.
const BYTES_MAX: usize = 24 << 20;

/// Writes of one writer and moment.
#[derive(Debug, Default)]
pub(crate) struct Held {
    origin: Option<Origin>,
    blocks: Vec<HeldBlock>,
    rows: Vec<HeldRow>,
    bytes: Vec<u8>,
}

/// What all of it shares.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) stamp: Stamp,
    pub(crate) version: u64,
    /// What its writer had seen of every writer known here; none when nobody knows.
    pub(crate) seen: Option<BTreeMap<WriterKey, Hlc>>,
}

#[derive(Debug)]
pub(crate) struct HeldBlock {
    pub(crate) life: Life,
    /// Names of columns and their places among the local ones.
    pub(crate) targets: Vec<(String, Option<usize>)>,
}

#[derive(Debug, Clone, Copy)]
struct HeldRow {
    /// How the key begins, behind its length: most comparisons end here.
    start_of_key: u128,
    at: usize,
    key_length: u32,
    length: u32,
    block: u32,
}

/// One row that was held back.
pub(crate) struct Row<'a> {
    pub(crate) block: usize,
    pub(crate) key: &'a [u8],
    pub(crate) values: &'a [u8],
}

impl Held {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether more of the same writer and moment can be held back with what is here.
    pub(crate) fn takes(&self, context: &Context<'_>) -> bool {
        self.bytes.len() < BYTES_MAX
            && self.origin.as_ref().is_some_and(|origin| {
                origin.stamp == context.stamp
                    && origin.version == context.version
                    && origin.seen.is_some() == context.seen.is_some()
            })
    }

    /// Begins with another writer or moment.
    pub(crate) fn begin(&mut self, context: &Context<'_>) -> Result<(), StorageError> {
        let seen = match context.seen {
            None => None,
            Some(seen) => Some(
                writers(context.connection)?
                    .into_iter()
                    .map(|writer| (writer, seen(&writer)))
                    .collect(),
            ),
        };
        self.origin = Some(Origin {
            stamp: context.stamp,
            version: context.version,
            seen,
        });
        Ok(())
    }

    pub(crate) fn block(&mut self, life: Life, targets: &[Target<'_>]) {
        let targets = targets
            .iter()
            .map(|target| (target.name.to_owned(), target.index))
            .collect();
        self.blocks.push(HeldBlock { life, targets });
    }

    /// Adds a row to the latest block.
    pub(crate) fn row(&mut self, key: &[u8], values: &[u8]) {
        self.rows.push(HeldRow {
            start_of_key: start_of(key),
            at: self.bytes.len(),
            key_length: key.len() as u32,
            length: (key.len() + values.len()) as u32,
            block: self.blocks.len().saturating_sub(1) as u32,
        });
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(values);
    }

    pub(crate) fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    pub(crate) fn blocks(&self) -> &[HeldBlock] {
        &self.blocks
    }

    /// Puts the rows in the order of their keys; rows of one key stay in the order in which they came.
    pub(crate) fn sort(&mut self) {
        let bytes = &self.bytes;
        let key = |row: &HeldRow| &bytes[row.at..row.at + row.key_length as usize];
        self.rows.sort_unstable_by(|left, right| {
            left.start_of_key
                .cmp(&right.start_of_key)
                .then_with(|| key(left).cmp(key(right)))
                .then_with(|| left.at.cmp(&right.at))
        });
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|row| {
            let bytes = &self.bytes[row.at..row.at + row.length as usize];
            let (key, values) = bytes.split_at(row.key_length as usize);
            Row {
                block: row.block as usize,
                key,
                values,
            }
        })
    }
}

/// The first sixteen bytes of a key's content: what an index of it is ordered by, mostly.
fn start_of(key: &[u8]) -> u128 {
    let header = match key.first() {
        Some(0xa0..=0xbf) => 1,
        Some(0xc4 | 0xd9) => 2,
        Some(0xc5 | 0xda) => 3,
        Some(0xc6 | 0xdb) => 5,
        _ => 0,
    };
    let content = key.get(header..).unwrap_or_default();
    let mut start = [0; 16];
    let length = content.len().min(start.len());
    start[..length].copy_from_slice(&content[..length]);
    u128::from_be_bytes(start)
}

fn writers(connection: &Connection) -> Result<Vec<WriterKey>, StorageError> {
    let mut statement = connection.prepare_cached("SELECT key FROM replica_writer")?;
    let keys = statement.query_map([], |row| row.get(0).map(WriterKey))?;
    Ok(keys.collect::<Result<_, _>>()?)
}

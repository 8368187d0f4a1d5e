//! Replicas that keep a log of their changesets, and the causal delivery of logs to each other.

use std::collections::BTreeMap;

use aeroedge_crdt::hlc::{Hlc, Stamp};
use aeroedge_ids::{Millis, WriterKey};
use aeroedge_replica::rusqlite::{self, Connection};
use aeroedge_replica::{
    Applied, CompartmentChanges, Incoming, Journal, JournalError, LocalTransaction, MergeError,
    Merged, Replica, Transaction, TransactionError,
};

/// One transaction of a writer as it would travel.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) stamp: Stamp,
    pub(crate) seen: BTreeMap<WriterKey, Hlc>,
    pub(crate) parts: Vec<CompartmentChanges>,
}

/// Keeps the changesets of transactions.
#[derive(Debug, Default)]
pub(crate) struct Log(pub(crate) Vec<(Hlc, Vec<CompartmentChanges>)>);

impl Journal for Log {
    fn append(
        &mut self,
        _: &Connection,
        transaction: &LocalTransaction<'_>,
    ) -> Result<(), JournalError> {
        self.0.push((transaction.hlc, transaction.changes.to_vec()));
        Ok(())
    }
}

/// A replica in memory with everything it wrote and merged, in the order in which it did.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) replica: Replica,
    pub(crate) entries: Vec<Entry>,
    pub(crate) now: u64,
}

impl Peer {
    pub(crate) fn new(number: u8, schema: &str, tables: &[Merged]) -> Self {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(schema).unwrap();
        let mut replica = Replica::open(connection, WriterKey([number; 32])).unwrap();
        replica.declare(tables, Millis(1)).unwrap();
        Self {
            replica,
            entries: Vec::new(),
            now: 1_000,
        }
    }

    /// What a local write has seen now.
    pub(crate) fn seen(&self) -> BTreeMap<WriterKey, Hlc> {
        let mut seen = BTreeMap::new();
        for entry in &self.entries {
            let upto = seen.entry(entry.stamp.writer).or_insert(Hlc::ZERO);
            *upto = entry.stamp.hlc.max(*upto);
        }
        seen
    }

    /// Runs a transaction and keeps its changesets.
    pub(crate) fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, TransactionError<rusqlite::Error>> {
        let mut log = Log::default();
        let seen = self.seen();
        let committed = self
            .replica
            .transaction_with(Millis(self.now), &mut log, work)?;
        self.keep(log, seen);
        Ok(committed.value)
    }

    pub(crate) fn keep(&mut self, log: Log, seen: BTreeMap<WriterKey, Hlc>) {
        let writer = self.replica.writer();
        for (hlc, parts) in log.0 {
            self.entries.push(Entry {
                stamp: Stamp { hlc, writer },
                seen: seen.clone(),
                parts,
            });
        }
    }

    /// Runs one statement and keeps its changesets.
    pub(crate) fn sql(&mut self, sql: &str) -> Result<(), TransactionError<rusqlite::Error>> {
        self.write(|transaction| transaction.execute_batch(sql))
    }

    /// Merges entries; those known already stay out of the log.
    pub(crate) fn receive(&mut self, entries: &[Entry]) {
        let Self {
            replica,
            entries: log,
            ..
        } = self;
        replica
            .merging(|merging| {
                for entry in entries {
                    let mut known = true;
                    for (compartment, parts) in &entry.parts {
                        for (part, changes) in parts.iter().enumerate() {
                            let applied = merging.apply(&Incoming {
                                stamp: entry.stamp,
                                part: part as u32,
                                compartment: *compartment,
                                seen: &|writer| entry.seen.get(writer).copied().unwrap_or_default(),
                                changes,
                            })?;
                            known &= applied == Applied::Known;
                        }
                    }
                    if !known {
                        log.push(entry.clone());
                    }
                }
                Ok::<_, MergeError>(())
            })
            .unwrap();
    }

    /// Everything a query returns, as text.
    pub(crate) fn query(&self, sql: &str) -> String {
        let mut statement = self.replica.connection().prepare(sql).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        let mut out = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<String> = (0..columns)
                .map(
                    |column| match row.get::<_, rusqlite::types::Value>(column).unwrap() {
                        rusqlite::types::Value::Null => "NULL".to_owned(),
                        rusqlite::types::Value::Integer(value) => value.to_string(),
                        rusqlite::types::Value::Real(value) => format!("{value:?}"),
                        rusqlite::types::Value::Text(text) => text,
                        rusqlite::types::Value::Blob(bytes) => format!("{bytes:02x?}"),
                    },
                )
                .collect();
            out.push(values.join("|"));
        }
        out.join("\n")
    }
}

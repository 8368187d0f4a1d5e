//! Who changed a row, when and what: read back from the entries themselves, not from the tables.

use aeroedge_crdt::changeset::{Changeset, Kind};
use aeroedge_crdt::hlc::Hlc;
use aeroedge_crdt::value::Value;
use aeroedge_ids::{CompartmentId, ContextId, Seq, UserId, WriterKey};
use aeroedge_log::entry::{Body, EntryRef, Opener};
use rusqlite::{params, types};

use crate::device::{Device, DeviceError};
use crate::merging::key_of;
use crate::state::ContextState;
use crate::stored;
use crate::verdicts;

/// One change of one row.
#[derive(Debug, Clone)]
pub struct Revision {
    /// The context.
    pub context: ContextId,
    /// The compartment the row lives in.
    pub compartment: CompartmentId,
    /// The log.
    pub writer: WriterKey,
    /// The entry.
    pub seq: Seq,
    /// The person, if the membership history knows.
    pub user: Option<UserId>,
    /// When, by the writer's clock.
    pub hlc: Hlc,
    /// What.
    pub kind: RevisionKind,
    /// Why the change does not count, if it does not.
    pub refused: Option<String>,
}

/// What was done to the row.
#[derive(Debug, Clone, PartialEq)]
pub enum RevisionKind {
    /// Columns got values.
    Written(Vec<(String, types::Value)>),
    /// The row was deleted.
    Deleted,
}

impl Device {
    /// Every change of the rows of `table` whose key satisfies `is_wanted` (the key's values in key order), oldest first. Reads all entries of
    /// all compartments, so it takes time in proportion to the whole history; `progress` hears of every thousandth entry.
    pub fn history_of(
        &self,
        table: &str,
        is_wanted: &dyn Fn(&[types::Value]) -> bool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<Revision>, DeviceError> {
        let mut opener = Opener::new().map_err(|_| DeviceError::Memory)?;
        let mut revisions = Vec::new();
        let mut count = 0;
        for (compartment, context) in &self.compartments {
            let Some(state) = self.contexts.get(context) else {
                continue;
            };
            for log in stored::logs_of(self.connection(), *compartment)? {
                let mut statement = self.connection().prepare_cached(
                    "SELECT bytes FROM device_entry WHERE log = ?1 AND seq <= ?2 ORDER BY seq",
                )?;
                let mut rows = statement.query(params![log.number.0, log.merged.0 as i64])?;
                while let Some(row) = rows.next()? {
                    count += 1;
                    if count % 1000 == 0 {
                        progress(count);
                    }
                    let bytes = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
                    let Ok(entry) = EntryRef::parse(bytes) else {
                        continue;
                    };
                    // Also what does not count, which is the point of asking.
                    let Some(key) = key_of(state, &entry) else {
                        continue;
                    };
                    let Ok(plaintext) = opener.open(&entry, &key) else {
                        continue;
                    };
                    let Ok(body) = Body::decode(plaintext) else {
                        continue;
                    };
                    for kind in changes_of(body.changes, table, is_wanted) {
                        revisions.push(Revision {
                            context: *context,
                            compartment: *compartment,
                            writer: log.writer,
                            seq: entry.seq(),
                            user: author_of(state, &entry),
                            hlc: entry.hlc(),
                            kind,
                            refused: verdicts::reason_at(
                                self.connection(),
                                log.number,
                                entry.seq(),
                            )?,
                        });
                    }
                }
            }
        }
        revisions.sort_by_key(|revision| (revision.hlc, revision.writer, revision.seq));
        Ok(revisions)
    }
}

/// The person behind an entry, by what its writer knew and by what is known now.
fn author_of(state: &ContextState, entry: &EntryRef<'_>) -> Option<UserId> {
    let heads: Vec<_> = entry.heads().collect();
    let then = state.history.roster_at(&heads).ok();
    let known = then
        .as_deref()
        .and_then(|roster| roster.writer(entry.writer()));
    let known = known.or_else(|| state.roster.writer(entry.writer()));
    known.map(|writer| writer.user)
}

fn changes_of(
    changes: &[u8],
    table: &str,
    is_wanted: &dyn Fn(&[types::Value]) -> bool,
) -> Vec<RevisionKind> {
    let Ok(changeset) = Changeset::parse(changes) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for block in changeset
        .blocks
        .iter()
        .filter(|block| changeset.tables[block.table].name == table)
    {
        let names = &changeset.tables[block.table];
        for row in block.rows() {
            let key: Vec<_> = row.key_values().map(owned).collect();
            if !is_wanted(&key) {
                continue;
            }
            found.push(match block.kind {
                Kind::Delete => RevisionKind::Deleted,
                Kind::Write => RevisionKind::Written(
                    block
                        .columns
                        .iter()
                        .map(|column| names.columns[usize::from(*column)].to_owned())
                        .zip(row.written_values().map(owned))
                        .collect(),
                ),
            });
        }
    }
    found
}

fn owned(value: Value<'_>) -> types::Value {
    match value {
        Value::Null => types::Value::Null,
        Value::Integer(number) => types::Value::Integer(number),
        Value::Real(number) => types::Value::Real(number),
        Value::Text(text) => types::Value::Text(String::from_utf8_lossy(text).into_owned()),
        Value::Blob(bytes) => types::Value::Blob(bytes.to_vec()),
    }
}

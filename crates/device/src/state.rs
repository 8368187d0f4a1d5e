//! What a device knows of a context while it runs: the history read, and the keys it opens. Nothing here is stored; it follows from the
//! control entries and the device's secrets.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use aeroedge_ids::{CompartmentId, ContextId, UserId, WriterKey};
use aeroedge_log::control::{ControlEntry, Rights};
use aeroedge_log::history::{CannotWrite, History, Inserted, WritingPoint};
use aeroedge_log::keyring::KeyRing;
use aeroedge_log::roster::Roster;
use aeroedge_log::secrets::DeviceSecrets;
use rusqlite::{Connection, params};

/// One context this device is in.
#[derive(Debug)]
pub(crate) struct ContextState {
    pub(crate) history: History,
    pub(crate) roster: Arc<Roster>,
    pub(crate) keys: KeyRing,
    /// The writer this device uses now.
    pub(crate) writer: WriterKey,
    /// Where that writer stands in each compartment it has written to. As long as the history does not grow, it stays there.
    points: RefCell<BTreeMap<CompartmentId, Arc<WritingPoint>>>,
}

/// A history that cannot be read, although it is stored.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// SQLite said no.
    #[error("the signed history could not be read")]
    Sqlite(#[from] rusqlite::Error),
    /// The stored bytes are damaged.
    #[error("the stored history of context {0} is damaged: restore a copy, or join again")]
    Damaged(ContextId),
}

impl ContextState {
    /// Reads a history anew.
    pub(crate) fn derive(history: History, secrets: &DeviceSecrets) -> Option<Self> {
        let roster = history.roster()?;
        let writer = secrets.writer(history.context())?.key();
        let mut keys = KeyRing::new(secrets);
        keys.learn(&roster);
        Some(Self {
            history,
            roster,
            keys,
            writer,
            points: RefCell::default(),
        })
    }

    /// Under which heads and key to write to a compartment.
    pub(crate) fn writing_point(
        &self,
        compartment: CompartmentId,
    ) -> Result<Arc<WritingPoint>, CannotWrite> {
        if let Some(point) = self.points.borrow().get(&compartment) {
            return Ok(Arc::clone(point));
        }
        let point = Arc::new(
            self.history
                .writing_point(&self.keys, self.writer, compartment)?,
        );
        self.points
            .borrow_mut()
            .insert(compartment, Arc::clone(&point));
        Ok(point)
    }

    /// What this user may do now.
    pub(crate) fn rights(&self, user: UserId) -> Option<&Rights> {
        self.roster
            .member(user)
            .filter(|member| member.is_active())
            .map(|member| &member.rights)
    }

    /// Compartments whose current key this device holds.
    pub(crate) fn readable(&self, user: UserId) -> Vec<CompartmentId> {
        self.roster
            .readable_by(user)
            .map(|compartment| compartment.id)
            .collect()
    }
}

/// Reads all control entries after `arrival` into histories; returns the contexts that changed and the new position.
pub(crate) fn load(
    connection: &Connection,
    histories: &mut BTreeMap<ContextId, History>,
    arrival: i64,
) -> Result<(Vec<ContextId>, i64), StateError> {
    let mut changed = Vec::new();
    let mut last = arrival;
    let mut statement = connection.prepare_cached(
        "SELECT arrival, context, bytes FROM device_control WHERE arrival > ?1 ORDER BY arrival",
    )?;
    let mut rows = statement.query([arrival])?;
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        let context = ContextId(row.get(1)?);
        let entry =
            ControlEntry::decode_stored(row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?)
                .map_err(|_| StateError::Damaged(context))?;
        let history = histories
            .entry(context)
            .or_insert_with(|| History::new(context));
        history
            .insert(entry)
            .map_err(|_| StateError::Damaged(context))?;
        if !changed.contains(&context) {
            changed.push(context);
        }
    }
    Ok((changed, last))
}

/// Where the newest stored control entry stands.
pub(crate) fn newest(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT coalesce(max(arrival), 0) FROM device_control")?
        .query_row([], |row| row.get(0))
}

/// Stores one control entry.
pub(crate) fn store(connection: &Connection, entry: &ControlEntry) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO device_control(context, hash, bytes) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![entry.context().0, entry.hash().0, entry.bytes()])?;
    Ok(())
}

/// Adds an entry to a history and stores whatever became part of it, in an order in which it can be read back.
pub(crate) fn insert(
    connection: &Connection,
    history: &mut History,
    entry: ControlEntry,
) -> Result<bool, InsertAndStoreError> {
    match history.insert(entry)? {
        Inserted::Added(hashes) => {
            for hash in hashes {
                if let Some(entry) = history.get(hash) {
                    store(connection, entry)?;
                }
            }
            Ok(true)
        }
        Inserted::Known | Inserted::Waiting { .. } => Ok(false),
    }
}

/// The entry was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InsertAndStoreError {
    #[error(transparent)]
    Insert(#[from] aeroedge_log::history::InsertError),
    #[error("the control entry could not be stored")]
    Sqlite(#[from] rusqlite::Error),
}

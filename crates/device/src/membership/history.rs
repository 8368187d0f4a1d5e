//! The signed history as it travels: what is held of it, and taking in what others did.

use std::error::Error;

use aeroedge_ids::{ContextId, ControlHash, Millis};
use aeroedge_log::control::{ControlEntry, ControlError};
use aeroedge_log::history::History;
use rand::CryptoRng;

use crate::device::{Device, DeviceError};
use crate::state::{self, InsertAndStoreError};

/// What became of control entries from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ControlReceived {
    /// Something is new.
    pub changed: bool,
    /// This device became a member by it.
    pub joined: bool,
}

/// Control entries were not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveControlError {
    /// Not one of this device's.
    #[error("this device is in no context {0}")]
    UnknownContext(ContextId),
    /// Not control entries, or not signed by who they say.
    #[error("the peer sent something that is not a signed control entry")]
    Malformed(#[from] ControlError),
    /// They do not belong here.
    #[error("the peer's control entries do not fit: {0}")]
    Refused(String),
    /// The database.
    #[error("the control entries could not be stored")]
    Storage(#[source] Box<dyn Error + Send + Sync>),
}

impl From<rusqlite::Error> for ReceiveControlError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl From<DeviceError> for ReceiveControlError {
    fn from(error: DeviceError) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl Device {
    /// The hash of every control entry held of a context, parents first; the list only grows at its end.
    pub fn control_hashes(&self, context: ContextId) -> Vec<ControlHash> {
        if let Some(pairing) = self.pairing_at(context) {
            return pairing.hashes();
        }
        let held = self.history_held(context).into_iter();
        held.flat_map(History::entries)
            .map(ControlEntry::hash)
            .collect()
    }

    /// What is known of a context, as a member or while joining: whoever tells what it holds must be able to hand it on.
    fn history_held(&self, context: ContextId) -> Option<&History> {
        match self.joining.get(&context) {
            Some(joining) => Some(&joining.history),
            None => self.contexts.get(&context).map(|state| &state.history),
        }
    }

    /// Control entries by hash, until `max_bytes` are reached, but at least one.
    pub fn control_entries(
        &self,
        context: ContextId,
        hashes: &[ControlHash],
        max_bytes: usize,
    ) -> Vec<Vec<u8>> {
        if let Some(pairing) = self.pairing_at(context) {
            return pairing.messages(hashes, max_bytes);
        }
        let Some(history) = self.history_held(context) else {
            return Vec::new();
        };
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in hashes.iter().map_while(|hash| history.get(*hash)) {
            bytes += entry.bytes().len();
            if !entries.is_empty() && bytes > max_bytes {
                break;
            }
            entries.push(entry.bytes().to_vec());
        }
        entries
    }

    /// Takes in control entries of a context this device is in, or wants to join.
    pub fn receive_control(
        &mut self,
        context: ContextId,
        entries: &[Vec<u8>],
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<ControlReceived, ReceiveControlError> {
        if self.pairing_at(context).is_some() {
            return self.receive_for_pairing(entries, now, rng);
        }
        self.took_in = true;
        let mut decoded = Vec::with_capacity(entries.len());
        for bytes in entries {
            decoded.push(ControlEntry::decode(bytes)?);
        }
        if self.joining.contains_key(&context) {
            return self.receive_for_join(context, decoded, now, rng);
        }
        self.refresh()?;
        if !self.contexts.contains_key(&context) {
            return Err(ReceiveControlError::UnknownContext(context));
        }
        self.connection().execute_batch("BEGIN IMMEDIATE")?;
        // What another process stored since the last look would be skipped otherwise.
        if let Err(error) = self.read_control() {
            self.connection().execute_batch("ROLLBACK")?;
            return Err(error.into());
        }
        let connection = self.replica.connection();
        let mut changed = false;
        let known = self.contexts.get_mut(&context);
        let store = || -> Result<(), InsertAndStoreError> {
            let Some(state) = known else {
                return Ok(());
            };
            for entry in decoded {
                changed |= state::insert(connection, &mut state.history, entry)?;
            }
            Ok(())
        };
        if let Err(error) = store() {
            connection.execute_batch("ROLLBACK")?;
            self.reload()?;
            return Err(ReceiveControlError::Refused(error.to_string()));
        }
        connection.execute_batch("COMMIT")?;
        if changed {
            self.reread(context)?;
            // A copy of this device may have closed the writer in use: what was written here is counted in before it is judged.
            self.look_for_copies()?;
            self.leave_spent_writer(now, rng)
                .map_err(|error| ReceiveControlError::Storage(Box::new(error)))?;
            self.pay_owed_wraps(context, now, rng)
                .map_err(|error| ReceiveControlError::Storage(Box::new(error)))?;
        }
        Ok(ControlReceived {
            changed,
            joined: false,
        })
    }
}

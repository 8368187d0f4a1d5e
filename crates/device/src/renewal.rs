//! A new writer for an installation that may not go on under its old one.
//!
//! A restored copy does not know how far the device it was taken from has written since. Two that continue one log would
//! fork it; under a writer of its own each continues a log of its own.

use aeroedge_ids::Millis;
use aeroedge_log::context;
use aeroedge_log::control::{Action, NewWriter};
use aeroedge_log::keys::WriterSecret;
use aeroedge_log::secrets::DeviceSecrets;
use rand::CryptoRng;

use crate::device::{Device, DeviceError};
use crate::membership::MembershipError;
use crate::state;

impl Device {
    /// From now on this installation writes under a new writer in all its contexts. What it wrote under the old one stays.
    pub fn open_new_writer(
        &mut self,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<(), MembershipError> {
        self.refresh()?;
        let writer = WriterSecret::generate(rng);
        let mut secrets = self.key_store.load().map_err(MembershipError::Keys)?;
        for context in self.contexts.keys() {
            secrets.add_writer(*context, writer.clone());
        }
        self.key_store
            .save(&secrets)
            .map_err(MembershipError::Keys)?;
        self.announce_writer(&writer, now)?;
        Ok(())
    }

    /// Ends what a crash cut short: the key of a new writer was saved, and the contexts do not know it yet.
    pub(crate) fn finish_renewal(&mut self, now: Millis) -> Result<(), DeviceError> {
        match self.secrets.writer_in_use().cloned() {
            Some(writer) => self.announce_writer(&writer, now),
            None => Ok(()),
        }
    }

    /// Opens a writer in every context of this device that does not know it.
    fn announce_writer(&mut self, writer: &WriterSecret, now: Millis) -> Result<(), DeviceError> {
        let hlc = self.next_control_stamp(now);
        let device = self.secrets.device();
        let entries: Vec<_> = self
            .contexts
            .values()
            .filter(|state| {
                state.roster.active_device(device).is_some()
                    && state.roster.writer(writer.key()).is_none()
            })
            .map(|state| {
                let opened = NewWriter {
                    key: writer.key(),
                    proof: writer.prove(device),
                };
                context::act(
                    &state.history,
                    &self.secrets,
                    hlc,
                    Action::OpenWriter(opened),
                )
            })
            .collect();
        if entries.is_empty() {
            return Ok(());
        }
        self.took_in = true;
        let connection = self.replica.connection();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let stored = entries
            .iter()
            .try_for_each(|entry| state::store(connection, entry));
        connection.execute_batch(if stored.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
        stored?;
        self.read_control()
    }

    /// The secrets of this installation, to be put into a backup under a seal of its own.
    pub fn secrets_for_backup(&self) -> Result<DeviceSecrets, DeviceError> {
        self.key_store.load().map_err(DeviceError::Keys)
    }
}

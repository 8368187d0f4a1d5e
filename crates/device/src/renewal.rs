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
        let hlc = self.next_control_stamp(now);
        let writer = WriterSecret::generate(rng);
        let entries: Vec<_> = self
            .contexts
            .iter()
            .map(|(id, state)| {
                let opened = NewWriter {
                    key: writer.key(),
                    proof: writer.prove(self.secrets.device()),
                };
                let action = Action::OpenWriter(opened);
                (
                    *id,
                    context::act(&state.history, &self.secrets, hlc, action),
                )
            })
            .collect();
        let connection = self.replica.connection();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let outcome = (|| -> Result<(), MembershipError> {
            let mut secrets = self.key_store.load().map_err(MembershipError::Keys)?;
            for (context, _) in &entries {
                secrets.add_writer(*context, writer.clone());
            }
            self.key_store
                .save(&secrets)
                .map_err(MembershipError::Keys)?;
            for (_, entry) in &entries {
                state::store(connection, entry)?;
            }
            Ok(())
        })();
        connection.execute_batch(if outcome.is_ok() {
            "COMMIT"
        } else {
            "ROLLBACK"
        })?;
        outcome?;
        self.read_control()?;
        Ok(())
    }

    /// The secrets of this installation, to be put into a backup under a seal of its own.
    pub fn secrets_for_backup(&self) -> Result<DeviceSecrets, DeviceError> {
        self.key_store.load().map_err(DeviceError::Keys)
    }
}

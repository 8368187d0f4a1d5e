//! What a person wants to know when something does not arrive: how far each log has come, what it waits for, what was refused.

use aeroedge_ids::{CompartmentId, ContextId, DeviceKey, Seq, UserId, WriterKey};
use aeroedge_log::compartment::Audience;
use rusqlite::params;

use crate::device::{Device, DeviceError};
use crate::merging::Waiting;
use crate::stored;

/// One compartment of a context.
#[derive(Debug, Clone)]
pub struct CompartmentStatus {
    /// The context.
    pub context: ContextId,
    /// The compartment.
    pub id: CompartmentId,
    /// Who reads it.
    pub audience: Audience,
    /// Its logs.
    pub logs: Vec<LogStatus>,
}

/// One log of a compartment.
#[derive(Debug, Clone)]
pub struct LogStatus {
    /// Its name: the writer, or a name of its own if it is a branch of a forked log.
    pub writer: WriterKey,
    /// The writer whose branch it is, if it is one.
    pub branch_of: Option<WriterKey>,
    /// The device behind the writer.
    pub device: Option<DeviceKey>,
    /// The person behind the device.
    pub user: Option<UserId>,
    /// Whether it is a log of this device.
    pub is_own: bool,
    /// Entries stored.
    pub stored: Seq,
    /// Entries a signed head covers.
    pub vouched: Seq,
    /// Entries in the tables.
    pub merged: Seq,
    /// What the next entry waits for.
    pub waiting: Option<Waiting>,
    /// Entries that do not count, with the reason; at most the last hundred.
    pub refused: Vec<(Seq, String)>,
}

impl Device {
    /// Every log this device holds of the compartments it reads.
    pub fn status(&self) -> Result<Vec<CompartmentStatus>, DeviceError> {
        let mut status = Vec::new();
        for (compartment, context) in &self.compartments {
            let Some(state) = self.contexts.get(context) else {
                continue;
            };
            let mut logs = Vec::new();
            for log in stored::logs_of(self.connection(), *compartment)? {
                // A story that nobody signed is none.
                if !log.is_proven() {
                    continue;
                }
                let known = state.roster.writer(log.signer);
                let refused = self
                    .connection()
                    .prepare_cached("SELECT seq, reason FROM device_refused WHERE log = ?1 ORDER BY seq DESC LIMIT 100")?
                    .query_map(params![log.number.0], |row| Ok((Seq(row.get::<_, i64>(0)? as u64), row.get(1)?)))?
                    .collect::<Result<_, _>>()?;
                logs.push(LogStatus {
                    writer: log.writer,
                    branch_of: log.parent.map(|_| log.signer),
                    device: known.map(|writer| writer.device),
                    user: known.map(|writer| writer.user),
                    is_own: self.secrets.writer_by_key(log.signer).is_some(),
                    stored: log.tail,
                    vouched: log.vouched,
                    merged: log.merged,
                    waiting: self.waiting.get(&(*compartment, log.writer)).cloned(),
                    refused,
                });
            }
            let audience = state
                .roster
                .compartment(*compartment)
                .map_or(Audience::Everyone, |found| found.audience);
            status.push(CompartmentStatus {
                context: *context,
                id: *compartment,
                audience,
                logs,
            });
        }
        Ok(status)
    }
}

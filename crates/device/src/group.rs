//! Writes that are committed together: where many callers wait at once, the cost of a commit is shared.
//!
//! Each write keeps its own stamp and its own entry, and fails alone. The commit of a group is synchronous and contains the
//! signed heads, so what it made is durable and may be offered when it returns; until then nobody else sees any of it.

use aeroedge_log::head::Head;
use aeroedge_log::secrets::DeviceSecrets;
use rusqlite::Connection;

use crate::device::{Device, DeviceError};
use crate::own_logs::OwnLogs;
use crate::sealing::Commit;
use crate::stored;

/// What a device remembers of groups.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Whether writes are held back.
    is_on: bool,
    /// Whether the next commit is synchronous.
    is_synchronous: bool,
    /// Why what was held back is gone.
    lost: Option<String>,
    /// Whether heads were signed that [`Device::make_durable`] has not told of.
    signed: bool,
}

impl Device {
    /// From now on writes are held back, to be committed together by [`Device::end_group`] or [`Device::make_durable`].
    ///
    /// Meanwhile nothing but [`Device::write`] and reading is meant to happen on this connection. What cannot happen amid
    /// a group, such as taking in entries, commits first what is held back.
    pub fn begin_group(&mut self) {
        self.group.is_on = true;
        self.group.lost = None;
    }

    /// Commits what was held back, durably and with its heads signed. After an error none of the writes since
    /// [`Device::begin_group`] can be relied on.
    pub fn end_group(&mut self) -> Result<(), DeviceError> {
        self.group.is_on = false;
        let committed = self.commit_held_back();
        match self.group.lost.take() {
            Some(reason) => Err(DeviceError::GroupLost(reason)),
            None => committed,
        }
    }

    /// How the next write is committed; what has to be known before it is looked up.
    pub(crate) fn prepare_write(&mut self) -> Result<Commit, DeviceError> {
        if self.replica.is_group_open() {
            return Ok(Commit::AsLater);
        }
        self.refresh()?;
        if let Some(reason) = &self.group.lost {
            return Err(DeviceError::GroupLost(reason.clone()));
        }
        if !self.group.is_on {
            return Ok(Commit::Alone);
        }
        self.synchronous(true)?;
        self.replica.begin_group();
        Ok(Commit::AsFirst)
    }

    pub(crate) fn commit_held_back(&mut self) -> Result<(), DeviceError> {
        let (own_logs, secrets) = (&mut self.own_logs, &self.secrets);
        let mut signed = false;
        let outcome = self.replica.commit_group(|connection| {
            own_logs.save(connection)?;
            signed = sign_heads(connection, secrets, own_logs)?;
            Ok::<_, DeviceError>(())
        });
        match &outcome {
            Ok(false) => {}
            Ok(true) => {
                self.group.signed |= signed;
                self.took_in = false;
            }
            Err(error) => {
                self.own_logs.forget();
                self.group.lost = Some(error.to_string());
            }
        }
        if self.group.is_synchronous {
            self.synchronous(false)?;
        }
        outcome.map(|_| ())
    }

    fn synchronous(&mut self, full: bool) -> rusqlite::Result<()> {
        self.connection().execute_batch(if full {
            "PRAGMA synchronous = FULL"
        } else {
            "PRAGMA synchronous = NORMAL"
        })?;
        self.group.is_synchronous = full;
        Ok(())
    }

    /// Makes every commit so far durable with one fsync, what came from peers too, and signs the heads of own logs that
    /// grew. Returns whether any did.
    ///
    /// The heads are part of the synchronous transaction itself; see decision 0006 for why that is enough.
    pub fn make_durable(&mut self) -> Result<bool, DeviceError> {
        self.end_group()?;
        if self.took_in || !stored::written_unsigned(self.connection())?.is_empty() {
            self.synchronous(true)?;
            let outcome = self.commit_heads();
            self.synchronous(false)?;
            self.group.signed |= outcome?;
            self.took_in = false;
        }
        Ok(std::mem::take(&mut self.group.signed))
    }

    /// As [`Device::make_durable`], which goes on to tell of it: before something arrives that what was written must not wait for.
    pub(crate) fn sign_before(&mut self) -> Result<(), DeviceError> {
        let signed = self.make_durable()?;
        self.group.signed |= signed;
        Ok(())
    }

    fn commit_heads(&mut self) -> Result<bool, DeviceError> {
        self.own_logs.forget();
        let connection = self.replica.connection();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut sign = || -> rusqlite::Result<bool> {
            let any = sign_heads(connection, &self.secrets, &mut self.own_logs)?;
            if !any {
                // A transaction that changes nothing syncs nothing.
                stored::rewrite_something(connection)?;
            }
            Ok(any)
        };
        match sign() {
            Ok(any) => {
                connection.execute_batch("COMMIT")?;
                Ok(any)
            }
            Err(error) => {
                connection.execute_batch("ROLLBACK")?;
                Err(error.into())
            }
        }
    }
}

/// Signs the ends of own logs that no head covers; whether there were any.
fn sign_heads(
    connection: &Connection,
    secrets: &DeviceSecrets,
    own_logs: &mut OwnLogs,
) -> rusqlite::Result<bool> {
    let mut any = false;
    for mut log in stored::written_unsigned(connection)? {
        let Some(secret) = secrets.writer_by_key(log.signer) else {
            continue;
        };
        let head = Head::sign(log.compartment, log.tail, log.tail_hash, secret);
        let (seq, hash) = (log.tail, log.tail_hash);
        log.vouch(connection, seq, hash, &head.signature)?;
        log.save(connection)?;
        own_logs.signed(&log);
        any = true;
    }
    Ok(any)
}

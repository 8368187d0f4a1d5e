//! A row becomes an entry: ordinary SQL by the application, sealed before COMMIT, signed after fsync.

use std::error::Error;

use aeroedge_ids::Millis;
use aeroedge_log::head::Head;
use aeroedge_replica::{Transaction, TransactionError};
use rand::CryptoRng;

use crate::device::{Device, DeviceError};
use crate::sealing::{Sealing, SealingError};
use crate::stored;

/// The write did not happen: neither row nor entry is there.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    /// The application's own.
    #[error(transparent)]
    Application(E),
    /// Others would not accept it, or it cannot be sealed.
    #[error(transparent)]
    Refused(SealingError),
    /// A key that names nothing on other devices.
    #[error(
        "a row of table {table} has a key that is NULL or a floating-point number: give it another"
    )]
    BadKey {
        /// The table.
        table: String,
    },
    /// A row outside any compartment.
    #[error("a row of table {table} does not name its compartment with 16 bytes: name it")]
    BadCompartment {
        /// The table.
        table: String,
    },
    /// The database.
    #[error("the change could not be written")]
    Storage(#[source] Box<dyn Error + Send + Sync>),
}

impl Device {
    /// Runs `change` in a transaction. When it returns, rows and entries are committed together; they are safe from a power cut, and
    /// leave this device, after [`Device::make_durable`].
    pub fn write<T, E>(
        &mut self,
        now: Millis,
        rng: &mut impl CryptoRng,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, WriteError<E>> {
        self.refresh()
            .map_err(|error| WriteError::Storage(Box::new(error)))?;
        let mut journal = Sealing {
            contexts: &self.contexts,
            compartments: &self.compartments,
            fixed: self.fixed,
            rights: &*self.rights,
            user: self.user,
            schema_version: self.schema_version,
            now,
            built: self.built,
            sealer: &mut self.sealer,
            own_logs: &mut self.own_logs,
            rng,
        };
        let outcome = self.replica.transaction_with(now, &mut journal, change);
        if outcome.is_err() {
            self.own_logs.forget();
        }
        match outcome {
            Ok(committed) => Ok(committed.value),
            Err(TransactionError::Work(error)) => Err(WriteError::Application(error)),
            Err(TransactionError::Journal(error)) => match error.downcast::<SealingError>() {
                Ok(refused) => Err(WriteError::Refused(*refused)),
                Err(error) => Err(WriteError::Storage(error)),
            },
            Err(TransactionError::Key { table }) => Err(WriteError::BadKey { table }),
            Err(TransactionError::Compartment { table }) => {
                Err(WriteError::BadCompartment { table })
            }
            Err(TransactionError::Ended) => Err(WriteError::Storage(
                "the transaction was rolled back, run it again".into(),
            )),
            Err(TransactionError::Schema(error)) => Err(WriteError::Storage(Box::new(error))),
            Err(TransactionError::Storage(error)) => Err(WriteError::Storage(Box::new(error))),
        }
    }

    /// Makes every commit so far durable with one fsync, what came from peers too, and signs the heads of own logs that
    /// grew. Returns whether any did.
    ///
    /// The heads are part of the synchronous transaction itself; see decision 0006 for why that is enough.
    pub fn make_durable(&mut self) -> Result<bool, DeviceError> {
        if !self.took_in && stored::written_unsigned(self.connection())?.is_empty() {
            return Ok(false);
        }
        self.connection()
            .execute_batch("PRAGMA synchronous = FULL")?;
        let outcome = self.sign_heads();
        self.connection()
            .execute_batch("PRAGMA synchronous = NORMAL")?;
        if outcome.is_ok() {
            self.took_in = false;
        }
        outcome
    }

    fn sign_heads(&mut self) -> Result<bool, DeviceError> {
        self.own_logs.forget();
        let connection = self.replica.connection();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let sign = || -> rusqlite::Result<bool> {
            let mut any = false;
            for mut log in stored::written_unsigned(connection)? {
                let Some(secret) = self.secrets.writer_by_key(log.writer) else {
                    continue;
                };
                let head = Head::sign(log.compartment, log.tail, log.tail_hash, secret);
                log.vouch(connection, log.tail, &head.signature)?;
                log.save(connection)?;
                any = true;
            }
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

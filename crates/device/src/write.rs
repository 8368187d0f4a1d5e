//! A row becomes an entry: ordinary SQL by the application, sealed before COMMIT, signed after fsync.

use std::error::Error;

use aeroedge_ids::Millis;
use aeroedge_replica::{Transaction, TransactionError};
use rand::CryptoRng;

use crate::device::Device;
use crate::sealing::{Sealing, SealingError};

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

impl<E> WriteError<E> {
    /// The application's own error, or the rest of them.
    pub(crate) fn split<F>(self) -> Result<E, WriteError<F>> {
        Err(match self {
            Self::Application(error) => return Ok(error),
            Self::Refused(error) => WriteError::Refused(error),
            Self::BadKey { table } => WriteError::BadKey { table },
            Self::BadCompartment { table } => WriteError::BadCompartment { table },
            Self::Storage(error) => WriteError::Storage(error),
        })
    }
}

impl Device {
    /// Runs `change` in a transaction. When it returns, rows and entries are committed together; they are safe from a power cut, and
    /// leave this device, after [`Device::make_durable`]. In a group (see [`Device::begin_group`]) that is also when they are committed.
    pub fn write<T, E>(
        &mut self,
        now: Millis,
        rng: &mut impl CryptoRng,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, WriteError<E>> {
        if !self.replica.is_group_open() {
            self.refresh()
                .map_err(|error| WriteError::Storage(Box::new(error)))?;
            self.leave_spent_writer(now, rng)
                .map_err(|error| WriteError::Storage(Box::new(error)))?;
        }
        let commit = self
            .prepare_write()
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
            commit,
            rng,
        };
        let outcome = self.replica.transaction_with(now, &mut journal, change);
        if outcome.is_ok() {
            self.own_logs.accept();
        } else if self.replica.is_group_open() {
            self.own_logs.reject();
        } else {
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
}

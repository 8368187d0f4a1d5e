//! A context and the first records in it are one transaction: whoever looks later finds both or nothing.

use std::error::Error;

use aeroedge_ids::{ContextId, Millis};
use aeroedge_log::compartment::Division;
use aeroedge_log::context::{self, Entered, Founding};
use aeroedge_log::history::History;
use aeroedge_replica::Transaction;
use rand::CryptoRng;

use crate::device::{Device, DeviceError};
use crate::membership::MembershipError;
use crate::state::{self, ContextState};
use crate::verdicts;
use crate::write::WriteError;

/// The context was not founded; nothing of it is there.
#[derive(Debug, thiserror::Error)]
pub enum FoundError<E> {
    /// The context itself.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The first records.
    #[error(transparent)]
    Records(#[from] WriteError<E>),
}

/// What goes wrong inside the transaction.
enum InTransaction<E> {
    Sqlite(rusqlite::Error),
    Records(E),
}

impl Device {
    /// Founds a context as [`Device::create_context`] does, and writes its first records in the same transaction. Ends a group
    /// of writes, if one is on.
    pub fn found_context<T, E>(
        &mut self,
        division: Division,
        purpose: &str,
        now: Millis,
        rng: &mut impl CryptoRng,
        records: impl FnOnce(&Transaction<'_>, ContextId) -> Result<T, E>,
    ) -> Result<(ContextId, T), FoundError<E>> {
        self.end_group().map_err(MembershipError::from)?;
        self.refresh().map_err(MembershipError::from)?;
        self.check_clock(now).map_err(MembershipError::from)?;
        let founding = Founding {
            user: self.user,
            division,
            purpose: purpose.to_owned(),
        };
        let stamp = self.next_control_stamp(now);
        let entered = context::create(&self.secrets, &founding, stamp, rng);
        self.save_writer(&entered)?;
        let context = entered.context;
        let is_judged = !self.is_rejudge_due();
        // What the write needs to know of the context stands in memory before it stands in the database.
        let outcome = match self.imagine(&entered) {
            Ok(()) => self
                .write(now, rng, |transaction| {
                    for entry in &entered.entries {
                        state::store(transaction, entry).map_err(InTransaction::Sqlite)?;
                    }
                    if is_judged {
                        // Nobody else has written anything here that a beginning could judge.
                        verdicts::set_all_judged(transaction).map_err(InTransaction::Sqlite)?;
                    }
                    records(transaction, context).map_err(InTransaction::Records)
                })
                .map_err(|error| match error.split() {
                    Ok(InTransaction::Records(error)) => WriteError::Application(error).into(),
                    Ok(InTransaction::Sqlite(error)) => MembershipError::from(error).into(),
                    Err(error) => error.into(),
                }),
            Err(error) => Err(MembershipError::from(error).into()),
        };
        if outcome.is_ok() {
            self.took_in = true;
            self.read_control().map_err(MembershipError::from)?;
            if is_judged {
                self.control_judged = self.control_read;
            }
        } else {
            self.reload().map_err(MembershipError::from)?;
        }
        outcome.map(|value| (context, value))
    }

    /// Saves the secret of the writer before anything relies on it.
    fn save_writer(&mut self, entered: &Entered) -> Result<(), MembershipError> {
        // The lock of the database keeps other processes from the keys meanwhile.
        let connection = self.replica.connection();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let saved = (|| -> Result<_, Box<dyn Error + Send + Sync>> {
            let mut secrets = self.key_store.load()?;
            secrets.add_writer(entered.context, entered.writer.clone());
            self.key_store.save(&secrets)?;
            Ok(secrets)
        })();
        connection.execute_batch("ROLLBACK")?;
        self.secrets = saved.map_err(MembershipError::Keys)?;
        Ok(())
    }

    /// Knows the context in memory alone.
    fn imagine(&mut self, entered: &Entered) -> Result<(), DeviceError> {
        let damaged = || state::StateError::Damaged(entered.context);
        let mut history = History::new(entered.context);
        for entry in &entered.entries {
            history.insert(entry.clone()).map_err(|_| damaged())?;
        }
        let state = ContextState::derive(history, &self.secrets).ok_or_else(damaged)?;
        self.contexts.insert(entered.context, state);
        self.index_compartments();
        self.replica.set_writer(entered.writer.key());
        Ok(())
    }
}

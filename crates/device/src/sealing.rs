//! The journal of the engine: before a transaction commits, its changes become entries of this device's own logs.
//!
//! Invariant: an entry is only written if every other device will accept it, so a right is checked here as it will be there.

use std::collections::BTreeMap;
use std::error::Error;

use aeroedge_crdt::changeset::Changeset;
use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{CompartmentId, ContextId, Millis, TransactionId, UserId, WriterKey};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::control::Rights;
use aeroedge_log::entry::{Body, EntryFields, Sealer, Seen, WriterTag};
use aeroedge_log::history::{CannotWrite, Refusal};
use aeroedge_replica::{Journal, JournalError, LocalTransaction};
use rand::CryptoRng;
use rusqlite::Connection;

use crate::clocks::{self, ClockOff};
use crate::device::Device;
use crate::forks;
use crate::own_logs::OwnLogs;
use crate::state::ContextState;
use crate::stored::{self, LogRow};

/// Where a row lives, as far as rights care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Whether its context is divided: in one that is not, everything is everyone's to read.
    pub division: Division,
    /// Whose compartment it is.
    pub audience: Audience,
}

impl Place {
    pub(crate) fn of(state: &ContextState, compartment: CompartmentId) -> Self {
        Self {
            division: state.roster.division(),
            audience: state
                .roster
                .compartment(compartment)
                .map_or(Audience::Everyone, |found| found.audience),
        }
    }
}

/// The application's rule of who may write what where. Data, not judgement: it is baked into history.
pub trait TableRights: Send {
    /// Whether a member with these rights may write rows of `table` there.
    fn may_write(&self, table: &str, place: Place, user: UserId, rights: &Rights) -> bool;
}

/// Everybody who may write at all may write everything.
#[derive(Debug, Clone, Copy)]
pub struct AllTables;

impl TableRights for AllTables {
    fn may_write(&self, _table: &str, _place: Place, _user: UserId, _rights: &Rights) -> bool {
        true
    }
}

/// Why a change cannot become an entry.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// The compartment is of no context this device is in.
    #[error("no context of this device has compartment {0}: create or join one first")]
    UnknownCompartment(CompartmentId),
    /// This person, or this device, was shut out of the context, or left it.
    #[error(
        "this device belongs to the group no more: what it holds stays readable, and nothing can be written there until it is invited again"
    )]
    ShutOut,
    /// This person's role reaches the compartment no more.
    #[error("your role does not reach these records any more: ask an administrator of the context")]
    OutOfReach,
    /// A table without compartments is used before a compartment was chosen for such tables.
    #[error(
        "a row has no compartment: choose the one for tables without a compartment column first"
    )]
    NoCompartment,
    /// Others would refuse it.
    #[error("your role does not allow writing {table} here: ask an administrator of the context")]
    NotAllowed {
        /// The table.
        table: String,
    },
    /// The membership does not allow it, or a key is missing.
    #[error("nothing can be written here now")]
    CannotWrite(#[source] CannotWrite),
    /// The clock of this device is behind.
    #[error(transparent)]
    Clock(ClockOff),
    /// Another process has just found out that a copy of this device wrote under the writer in use.
    #[error("another copy of this device wrote in its name: write again, under a new name")]
    UsedElsewhere,
    /// Entries of this device's own came back from others and could not be merged yet: writing now would skip them.
    #[error(
        "entries that this device wrote earlier have come back and wait: synchronise, then write again"
    )]
    OwnEntriesWait,
}

/// How a transaction is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    /// At once.
    Alone,
    /// With others, of which it is the first.
    AsFirst,
    /// With others that were before it.
    AsLater,
}

/// Seals for one transaction.
pub(crate) struct Sealing<'a, R: CryptoRng> {
    pub(crate) contexts: &'a BTreeMap<ContextId, ContextState>,
    pub(crate) compartments: &'a BTreeMap<CompartmentId, ContextId>,
    pub(crate) fixed: Option<CompartmentId>,
    pub(crate) rights: &'a dyn TableRights,
    pub(crate) user: UserId,
    pub(crate) schema_version: u32,
    pub(crate) now: Millis,
    pub(crate) built: Millis,
    pub(crate) sealer: &'a mut Sealer,
    pub(crate) own_logs: &'a mut OwnLogs,
    /// How this transaction will be committed.
    pub(crate) commit: Commit,
    pub(crate) rng: &'a mut R,
}

impl<R: CryptoRng> Journal for Sealing<'_, R> {
    fn append(
        &mut self,
        connection: &Connection,
        transaction: &LocalTransaction<'_>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        clocks::check_program(self.now, self.built).map_err(SealingError::Clock)?;
        clocks::check_stamp(self.now, transaction.hlc).map_err(SealingError::Clock)?;
        // Once a group has begun, nobody else can have written.
        if self.commit != Commit::AsLater {
            self.own_logs.check(connection)?;
        }
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        let mut touched = Vec::with_capacity(transaction.changes.len());
        for (compartment, _) in transaction.changes {
            touched.push(
                compartment
                    .or(self.fixed)
                    .ok_or(SealingError::NoCompartment)?,
            );
        }
        for ((_, parts), compartment) in transaction.changes.iter().zip(&touched) {
            let mut others: Vec<_> = touched
                .iter()
                .copied()
                .filter(|other| other != compartment)
                .collect();
            others.sort_unstable();
            self.append_to(
                connection,
                *compartment,
                TransactionId(id),
                others,
                transaction.hlc,
                parts,
            )?;
        }
        Ok(())
    }
}

impl<R: CryptoRng> Sealing<'_, R> {
    fn append_to(
        &mut self,
        connection: &Connection,
        compartment: CompartmentId,
        transaction: TransactionId,
        others: Vec<CompartmentId>,
        hlc: Hlc,
        parts: &[Vec<u8>],
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let context = *self
            .compartments
            .get(&compartment)
            .ok_or_else(|| self.out_of_reach(compartment))?;
        let state = self
            .contexts
            .get(&context)
            .ok_or(SealingError::UnknownCompartment(compartment))?;
        let point = state
            .writing_point(compartment)
            .map_err(|error| match error {
                CannotWrite::Refused(Refusal::ShutOut(_)) => SealingError::ShutOut,
                error => SealingError::CannotWrite(error),
            })?;
        self.check_rights(state, compartment, &point.rights, parts)?;
        let (mut log, mut seen) =
            self.end_of_log(connection, context, compartment, state.writer)?;
        let mut plaintext = Vec::new();
        for (part, changes) in parts.iter().enumerate() {
            plaintext.clear();
            Body {
                transaction,
                part: part as u32,
                others: others.clone(),
                seen: std::mem::take(&mut seen),
                changes,
            }
            .encode(&mut plaintext);
            let fields = EntryFields {
                context,
                compartment,
                writer: state.writer,
                seq: log.tail.next(),
                previous: log.tail_hash,
                hlc,
                epoch: point.epoch,
                schema_version: self.schema_version,
                heads: point.heads.clone(),
                more_parts: part + 1 < parts.len(),
            };
            let sealed = self
                .sealer
                .seal(&fields, &plaintext, &point.key, self.rng)?;
            log.append(connection, &sealed.bytes, sealed.hash)?;
        }
        log.merged = log.tail;
        log.merged_hlc = hlc;
        let is_saved = self.commit == Commit::Alone;
        if is_saved {
            log.save(connection)?;
        }
        self.own_logs.note(log, is_saved);
        Ok(())
    }

    /// Why a compartment is none that this device writes to.
    fn out_of_reach(&self, compartment: CompartmentId) -> SealingError {
        let state = self
            .contexts
            .values()
            .find(|state| state.roster.compartment(compartment).is_some());
        match state {
            None => SealingError::UnknownCompartment(compartment),
            Some(state) if state.rights(self.user).is_none() => SealingError::ShutOut,
            Some(_) => SealingError::OutOfReach,
        }
    }

    /// Where the next entry goes, and what was merged in the compartment since the last one.
    fn end_of_log(
        &mut self,
        connection: &Connection,
        context: ContextId,
        compartment: CompartmentId,
        writer: WriterKey,
    ) -> Result<(LogRow, Vec<Seen>), JournalError> {
        if let Some(log) = self.own_logs.known(compartment) {
            return Ok((log, Vec::new()));
        }
        if forks::is_spent(connection, writer)? {
            return Err(SealingError::UsedElsewhere.into());
        }
        let mut log = stored::find_or_start(
            connection,
            context,
            compartment,
            writer,
            &WriterTag::of(&writer).0,
        )?;
        if log.tail > log.vouched && !log.awaits_own_head() {
            let vouched = log.vouched;
            stored::truncate(connection, &mut log, vouched)?;
        }
        if log.merged < log.tail {
            return Err(SealingError::OwnEntriesWait.into());
        }
        let mut seen = Vec::new();
        for other in stored::newly_seen(connection, compartment, log.number)? {
            let Some(check) = stored::check_at(connection, &other, other.merged)? else {
                continue;
            };
            seen.push(Seen {
                writer: WriterTag::of(&other.signer),
                seq: other.merged,
                check,
            });
            let (seq, hlc) = (other.merged, other.merged_hlc);
            stored::set_seen(connection, log.number, other.number, seq, hlc)?;
        }
        seen.sort_unstable();
        Ok((log, seen))
    }

    fn check_rights(
        &self,
        state: &ContextState,
        compartment: CompartmentId,
        rights: &Rights,
        parts: &[Vec<u8>],
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let place = Place::of(state, compartment);
        for part in parts {
            if let Some(table) = first_forbidden(part, place, self.user, rights, self.rights)? {
                return Err(SealingError::NotAllowed { table }.into());
            }
        }
        Ok(())
    }
}

impl Device {
    /// Whether others would accept a change of `table` in a compartment from this device now.
    pub fn may_write(&self, table: &str, compartment: CompartmentId) -> bool {
        let Some(state) = self
            .compartments
            .get(&compartment)
            .and_then(|context| self.contexts.get(context))
        else {
            return false;
        };
        state.writing_point(compartment).is_ok_and(|point| {
            let place = Place::of(state, compartment);
            self.rights
                .may_write(table, place, self.user, &point.rights)
        })
    }
}

/// The first table of a changeset that its author may not write.
pub(crate) fn first_forbidden(
    changes: &[u8],
    place: Place,
    user: UserId,
    rights: &Rights,
    rule: &dyn TableRights,
) -> Result<Option<String>, aeroedge_crdt::changeset::MalformedChangeset> {
    let tables = Changeset::table_names(changes)?;
    let forbidden = tables
        .into_iter()
        .find(|table| !rule.may_write(table, place, user, rights));
    Ok(forbidden.map(str::to_owned))
}

//! Contexts: founding one, inviting into it, joining, and taking in what others did to its membership.
//!
//! Secrets are saved before the entry that relies on them is stored: a crash in between leaves a key nobody knows of, never a
//! member without a key.

mod acts;
mod epochs;
mod history;
mod invites;
mod joining;
mod pairing;
mod people;

pub use history::{ControlReceived, ReceiveControlError};
pub use invites::Invitation;
pub use joining::JoinState;
pub(crate) use joining::Joining;
pub(crate) use pairing::Pairing;
pub use pairing::{PAIRING_MS, PairingError, PairingState};

use std::error::Error;

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{ContextId, Millis, UserId, WriterKey};
use aeroedge_log::compartment::Division;
use aeroedge_log::context::{self, Entered, Founding, InviteError, JoinError};
use aeroedge_log::control::{ControlEntry, Rights};
use aeroedge_log::roster::{Member, Rejection, Roster};
use rand::CryptoRng;

use crate::clocks::{ClockError, ClockOff};
use crate::device::{Device, DeviceError};
use crate::merging::HOLD_BACK_MS;
use crate::state::{self, ContextState};

/// A membership could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// Not one of this device's.
    #[error("this device is in no context {0}: list the contexts to see which it is in")]
    UnknownContext(ContextId),
    /// The invite.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// The join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The link is of a context this device is in.
    #[error(
        "you are a member of this context already: an invite is for someone else, or for another device"
    )]
    AlreadyMember,
    /// The clock of this device is behind.
    #[error(transparent)]
    Clock(ClockOff),
    /// This person is out of the context.
    #[error("you are no member of this group any more: ask for an invitation to come back")]
    NotAMember,
    /// The role does not reach.
    #[error("your role does not allow this: ask an admin, or an owner where an owner is concerned")]
    NoRight,
    /// More would be given than there is to give.
    #[error("you cannot give rights that go beyond your own role: ask an owner")]
    GrantsTooMuch,
    /// Nobody of this id.
    #[error("there is no such member in this group: list the members to see who is")]
    UnknownMember,
    /// No such device.
    #[error("there is no such device in this group: list the devices to see which are")]
    UnknownDevice,
    /// No such invite.
    #[error("there is no such invitation in this group: list the invitations to see which are")]
    UnknownInvite,
    /// A recovery sheet outranks this device.
    #[error("the recovery sheet outranks this device: use the sheet for this")]
    NeedsRecovery,
    /// The context would have nobody to run it.
    #[error("the group would be left without an owner: make somebody else owner first")]
    LastOwner,
    /// Others would ignore it.
    #[error("the group would ignore this: {0}")]
    Ignored(Rejection),
    /// The keys.
    #[error("the keys could not be saved")]
    Keys(#[source] Box<dyn Error + Send + Sync>),
    /// The database.
    #[error("the membership could not be stored")]
    Storage(#[source] Box<dyn Error + Send + Sync>),
}

impl From<rusqlite::Error> for MembershipError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl From<DeviceError> for MembershipError {
    fn from(error: DeviceError) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl From<ClockError> for MembershipError {
    fn from(error: ClockError) -> Self {
        match error {
            ClockError::Off(off) => Self::Clock(off),
            ClockError::Device(error) => error.into(),
        }
    }
}

/// A context as its member sees it.
#[derive(Debug, Clone)]
pub struct ContextSummary {
    /// Its id.
    pub id: ContextId,
    /// Into which compartments it is divided.
    pub division: Division,
    /// The application's word for what it is for.
    pub purpose: String,
    /// What this device's user may do; nothing if removed.
    pub rights: Option<Rights>,
    /// Everybody who was ever in it.
    pub members: Vec<Member>,
}

impl Device {
    /// Founds a context; this device's user becomes its owner.
    pub fn create_context(
        &mut self,
        division: Division,
        purpose: &str,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<ContextId, MembershipError> {
        self.refresh()?;
        self.check_clock(now)?;
        let founding = Founding {
            user: self.user,
            division,
            purpose: purpose.to_owned(),
        };
        let entered = context::create(&self.secrets, &founding, self.next_control_stamp(now), rng);
        self.enter(entered, Vec::new())
    }

    /// The contexts this device is in.
    pub fn contexts(&self) -> Vec<ContextSummary> {
        self.contexts
            .iter()
            .map(|(id, state)| ContextSummary {
                id: *id,
                division: state.roster.division(),
                purpose: state.roster.purpose().to_owned(),
                rights: state.rights(self.user).cloned(),
                members: state.roster.members().cloned().collect(),
            })
            .collect()
    }

    /// What the signed history of a context says.
    pub fn roster(&self, context: ContextId) -> Option<&Roster> {
        self.contexts.get(&context).map(|state| &*state.roster)
    }

    /// Who stands behind a writer in a context.
    pub fn user_of(&self, context: ContextId, writer: WriterKey) -> Option<UserId> {
        let roster = self.roster(context)?;
        if let Some(known) = roster.writer(writer) {
            return Some(known.user);
        }
        // The cells of a branch of a forked log carry its name.
        Some(roster.writer(self.signer_of(writer).ok()?)?.user)
    }

    /// Becomes a member: saves the writer's secret, then stores the entries that others gave us and our own.
    fn enter(
        &mut self,
        entered: Entered,
        known: Vec<ControlEntry>,
    ) -> Result<ContextId, MembershipError> {
        // A membership that a power cut took back could not be gained again: others would know it already.
        self.took_in = true;
        let connection = self.replica.connection();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let outcome = (|| -> Result<(), MembershipError> {
            let mut secrets = self.key_store.load().map_err(MembershipError::Keys)?;
            secrets.add_writer(entered.context, entered.writer);
            self.key_store
                .save(&secrets)
                .map_err(MembershipError::Keys)?;
            for entry in known.iter().chain(&entered.entries) {
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
        Ok(entered.context)
    }

    /// Adds an entry of this device's own.
    fn add_own(&mut self, context: ContextId, entry: ControlEntry) -> Result<(), MembershipError> {
        self.took_in = true;
        state::store(self.replica.connection(), &entry)?;
        self.read_control()?;
        debug_assert!(
            self.contexts
                .get(&context)
                .is_some_and(|state| state.history.contains(entry.hash()))
        );
        Ok(())
    }

    /// Reads one context anew after its history grew in memory.
    fn reread(&mut self, context: ContextId) -> Result<(), DeviceError> {
        if let Some(state) = self.contexts.remove(&context)
            && let Some(state) = ContextState::derive(state.history, &self.secrets)
        {
            self.contexts.insert(context, state);
        }
        self.control_read = self.connection().query_row(
            "SELECT coalesce(max(arrival), 0) FROM device_control",
            [],
            |row| row.get(0),
        )?;
        self.index_compartments();
        Ok(())
    }

    /// Forgets what is in memory and reads the stored histories again.
    pub(crate) fn reload(&mut self) -> Result<(), DeviceError> {
        self.contexts.clear();
        self.control_read = 0;
        self.index_compartments();
        self.read_control()
    }

    pub(crate) fn state(&self, context: ContextId) -> Result<&ContextState, MembershipError> {
        self.contexts
            .get(&context)
            .ok_or(MembershipError::UnknownContext(context))
    }

    /// Later than everything in any history here, so that an act never sorts before what its author knew. Stamps from a future
    /// that no honest clock shows do not count: anyone may stamp an act, and one from the end of time would drag every later
    /// act, and so every join, past the end of its invite.
    pub(crate) fn next_control_stamp(&self, now: Millis) -> Hlc {
        let known = self
            .contexts
            .values()
            .map(|state| &state.history)
            .chain(self.joining.values().map(|joining| &joining.history))
            .flat_map(|history| {
                history
                    .heads()
                    .into_iter()
                    .filter_map(|head| history.get(head))
            })
            .map(ControlEntry::hlc)
            .filter(|hlc| hlc.time().0.saturating_sub(now.0) <= HOLD_BACK_MS)
            .max()
            .unwrap_or(Hlc::ZERO);
        known.tick(now)
    }
}

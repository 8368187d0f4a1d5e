//! Acts of this device in one context: made one after the other, stored in one transaction, all of them or none.
//!
//! An act that others would ignore is not made; its author is told why.

use std::sync::Arc;

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{ContextId, Millis};
use aeroedge_log::context;
use aeroedge_log::control::{Action, ControlEntry};
use aeroedge_log::history::History;
use aeroedge_log::roster::{Rejection, Roster};
use aeroedge_log::secrets::DeviceSecrets;
use rusqlite::Connection;

use super::MembershipError;
use crate::device::Device;
use crate::state;

/// A context while this device acts in it.
pub(super) struct Acts<'a> {
    pub(super) history: &'a mut History,
    pub(super) secrets: &'a DeviceSecrets,
    pub(super) connection: &'a Connection,
    hlc: Hlc,
}

impl Acts<'_> {
    /// What the history says, with what was done so far.
    pub(super) fn roster(&self) -> Result<Arc<Roster>, MembershipError> {
        let context = self.history.context();
        self.history
            .roster()
            .ok_or(MembershipError::UnknownContext(context))
    }

    /// Does something, if it would count.
    pub(super) fn act(&mut self, action: Action) -> Result<(), MembershipError> {
        let stamp = self.next_stamp();
        let entry = context::act(self.history, self.secrets, stamp, action);
        if let Some(rejection) = self.history.would_reject(&entry) {
            return Err(refused(rejection));
        }
        self.add(entry)
    }

    /// Adds an entry made elsewhere.
    pub(super) fn add(&mut self, entry: ControlEntry) -> Result<(), MembershipError> {
        state::insert(self.connection, self.history, entry)
            .map_err(|error| MembershipError::Storage(Box::new(error)))?;
        Ok(())
    }

    /// Later than everything before.
    pub(super) fn next_stamp(&mut self) -> Hlc {
        let stamp = self.hlc;
        self.hlc = stamp.tick(Millis(0));
        stamp
    }
}

impl Device {
    /// Acts in a context. What `act` did is undone if it fails.
    pub(super) fn act_in<T>(
        &mut self,
        context: ContextId,
        now: Millis,
        act: impl FnOnce(&mut Acts<'_>) -> Result<T, MembershipError>,
    ) -> Result<T, MembershipError> {
        // Others act on what they hear of it, so it must not be lost.
        self.took_in = true;
        self.connection().execute_batch("BEGIN IMMEDIATE")?;
        let outcome = self.act_locked(context, now, act);
        if outcome.is_err() {
            self.connection().execute_batch("ROLLBACK")?;
            self.reload()?;
            return outcome;
        }
        self.connection().execute_batch("COMMIT")?;
        self.reread(context)?;
        outcome
    }

    fn act_locked<T>(
        &mut self,
        context: ContextId,
        now: Millis,
        act: impl FnOnce(&mut Acts<'_>) -> Result<T, MembershipError>,
    ) -> Result<T, MembershipError> {
        // What another process stored since the last look would be skipped otherwise.
        self.read_control()?;
        self.check_clock(now)?;
        let hlc = self.next_control_stamp(now);
        let state = self
            .contexts
            .get_mut(&context)
            .ok_or(MembershipError::UnknownContext(context))?;
        act(&mut Acts {
            history: &mut state.history,
            secrets: &self.secrets,
            connection: self.replica.connection(),
            hlc,
        })
    }
}

/// Why an act would be ignored, to its author.
pub(super) fn refused(rejection: Rejection) -> MembershipError {
    match rejection {
        Rejection::NotAMember => MembershipError::NotAMember,
        Rejection::NoRight => MembershipError::NoRight,
        Rejection::GrantsTooMuch => MembershipError::GrantsTooMuch,
        Rejection::UnknownMember => MembershipError::UnknownMember,
        Rejection::UnknownDevice => MembershipError::UnknownDevice,
        Rejection::UnknownInvite => MembershipError::UnknownInvite,
        Rejection::NeedsRecovery => MembershipError::NeedsRecovery,
        Rejection::LastOwner => MembershipError::LastOwner,
        other => MembershipError::Ignored(other),
    }
}

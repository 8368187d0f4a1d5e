//! New keys: when somebody was shut out, when an admin wants one, and for those who lack the keys there are.
//!
//! Whoever shuts somebody out starts the new epochs at once. When that could not be (who leaves may not, a power cut came
//! between) any other device that reads the compartment does it later, in an order by rank, so that they do not all do it.

use aeroedge_ids::{ContextId, Millis};
use aeroedge_log::compartment::Audience;
use aeroedge_log::context;
use aeroedge_log::roster::Compartment;
use rand::CryptoRng;

use super::MembershipError;
use super::acts::Acts;
use crate::device::Device;

/// How long others wait for the device that shut somebody out to start the new epoch, milliseconds.
const PATIENCE_MS: u64 = 60_000;
/// How much longer each next device waits.
const PATIENCE_STEP_MS: u64 = 10_000;
/// No device waits longer for others than this many steps.
const STEPS_MAX: u64 = 60;

impl Acts<'_> {
    /// Starts an epoch in each compartment that somebody was shut out of, that this device may read and that `is_wanted`.
    pub(super) fn start_due_epochs(
        &mut self,
        rng: &mut impl CryptoRng,
        is_wanted: impl Fn(&Compartment) -> bool,
    ) -> Result<usize, MembershipError> {
        self.start_epochs(rng, |compartment| {
            !compartment.exposed_by.is_empty() && is_wanted(compartment)
        })
    }

    fn start_epochs(
        &mut self,
        rng: &mut impl CryptoRng,
        is_wanted: impl Fn(&Compartment) -> bool,
    ) -> Result<usize, MembershipError> {
        let roster = self.roster()?;
        let Some((_, member)) = roster.active_device(self.secrets.device()) else {
            return Ok(0);
        };
        let mut audiences: Vec<Audience> = roster
            .readable_by(member.user)
            .filter(|compartment| is_wanted(compartment))
            .map(|compartment| compartment.audience)
            .collect();
        // Everyone, staff, then each person: a person's key is sealed to the new key of staff.
        audiences.sort_unstable();
        for audience in &audiences {
            let stamp = self.next_stamp();
            let entry = context::start_epoch(self.history, self.secrets, *audience, stamp, rng);
            if let Some(entry) = entry {
                self.add(entry)?;
            }
        }
        Ok(audiences.len())
    }
}

impl Device {
    /// Starts a new epoch in every compartment of a context that this device reads; for admins. Voids all open invites.
    pub fn rotate(
        &mut self,
        context: ContextId,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<usize, MembershipError> {
        let user = self.user;
        let started = self.act_in(context, now, |acts| {
            let roster = acts.roster()?;
            let role = roster
                .member(user)
                .filter(|member| member.is_active())
                .ok_or(MembershipError::NotAMember)?
                .rights
                .role;
            if role < aeroedge_log::control::Role::Admin {
                return Err(MembershipError::NoRight);
            }
            acts.start_epochs(rng, |_| true)
        })?;
        self.pay_owed_wraps(context, now, rng)?;
        Ok(started)
    }

    /// Starts the epochs that are due and that nobody has started for a while; returns how many.
    pub fn start_overdue_epochs(
        &mut self,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<usize, MembershipError> {
        let overdue: Vec<ContextId> = self
            .contexts
            .iter()
            .filter(|(_, state)| {
                let mut readable = state.roster.readable_by(self.user);
                readable.any(|compartment| self.is_overdue(state, compartment, now))
            })
            .map(|(id, _)| *id)
            .collect();
        let mut started = 0;
        for context in overdue {
            let wanted: Vec<_> = self
                .contexts
                .get(&context)
                .into_iter()
                .flat_map(|state| {
                    let readable = state.roster.readable_by(self.user);
                    readable.filter(|compartment| self.is_overdue(state, compartment, now))
                })
                .map(|compartment| compartment.id)
                .collect();
            started += self.act_in(context, now, |acts| {
                acts.start_due_epochs(rng, |compartment| wanted.contains(&compartment.id))
            })?;
            self.pay_owed_wraps(context, now, rng)?;
        }
        Ok(started)
    }

    fn is_overdue(
        &self,
        state: &crate::state::ContextState,
        compartment: &Compartment,
        now: Millis,
    ) -> bool {
        let exposed = compartment
            .exposed_by
            .iter()
            .filter_map(|hash| state.history.get(*hash))
            .map(|entry| entry.hlc().time().0)
            .max();
        let Some(exposed) = exposed else {
            return false;
        };
        let audience = state.roster.audience(compartment.id);
        let Some(rank) = audience
            .iter()
            .position(|device| device.key == self.secrets.device())
        else {
            return false;
        };
        let steps = (rank as u64).min(STEPS_MAX);
        now.0 >= exposed.saturating_add(PATIENCE_MS + steps * PATIENCE_STEP_MS)
    }

    /// Seals keys to members who should have them and lack them.
    pub(super) fn pay_owed_wraps(
        &mut self,
        context: ContextId,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<(), MembershipError> {
        loop {
            let hlc = self.next_control_stamp(now);
            let Some(state) = self.contexts.get(&context) else {
                return Ok(());
            };
            let is_member = state.roster.active_device(self.secrets.device()).is_some();
            let owed = state.keys.owed(&state.roster);
            if owed == 0 || !is_member {
                return Ok(());
            }
            let entry = context::wrap_owed(
                &state.history,
                &state.keys,
                &self.secrets,
                context::WRAPS_MAX,
                hlc,
                rng,
            );
            let Some(entry) = entry else { return Ok(()) };
            self.add_own(context, entry)?;
            let left = self
                .contexts
                .get(&context)
                .map_or(0, |state| state.keys.owed(&state.roster));
            // An entry that does not count, or a key that cannot be sealed to, must not keep us here.
            if left >= owed {
                return Ok(());
            }
        }
    }
}

//! Taking rights away and giving them: removing, leaving, other roles, lost devices.
//!
//! Whoever is cut off is cut off where this device stands: what it holds of the person's logs, under a signed head, goes on
//! counting, everything beyond does not, whoever else holds it. The keys that the person knows are replaced in the same
//! transaction.

use aeroedge_ids::{ContextId, DeviceKey, Millis, UserId};
use aeroedge_log::control::{Action, CutOff, RemoveMember, RevokeDevice, Rights, SetRole};
use aeroedge_log::roster::{Roster, Writer};
use rand::CryptoRng;
use rusqlite::Connection;

use super::MembershipError;
use crate::device::Device;
use crate::forks;

impl Device {
    /// Shuts a person out of a context with all devices. Returns whether anything changed: who is out already stays out.
    pub fn remove_member(
        &mut self,
        context: ContextId,
        user: UserId,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<bool, MembershipError> {
        self.reduce(context, now, rng, |connection, roster| {
            let member = roster.member(user).ok_or(MembershipError::UnknownMember)?;
            if !member.is_active() {
                return Ok(None);
            }
            let cut_offs = cut_offs(connection, context, roster, |writer| writer.user == user)?;
            Ok(Some(Action::RemoveMember(RemoveMember { user, cut_offs })))
        })
    }

    /// Ends this person's own membership. What the device holds stays on it and can be read; others start new keys.
    pub fn leave(
        &mut self,
        context: ContextId,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<bool, MembershipError> {
        self.remove_member(context, self.user, now, rng)
    }

    /// Gives a member another role and other permissions. Returns whether anything changed.
    pub fn set_role(
        &mut self,
        context: ContextId,
        user: UserId,
        rights: Rights,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<bool, MembershipError> {
        self.reduce(context, now, rng, |connection, roster| {
            let member = roster
                .member(user)
                .filter(|member| member.is_active())
                .ok_or(MembershipError::UnknownMember)?;
            if member.rights == rights {
                return Ok(None);
            }
            let loses = member.rights.role > rights.role
                || !member.rights.permissions.is_subset(&rights.permissions);
            let cut_offs = if loses {
                cut_offs(connection, context, roster, |writer| writer.user == user)?
            } else {
                Vec::new()
            };
            Ok(Some(Action::SetRole(SetRole {
                user,
                rights,
                cut_offs,
            })))
        })
    }

    /// Shuts one device out of a context; its person's others stay. Returns whether anything changed.
    pub fn revoke_device(
        &mut self,
        context: ContextId,
        device: DeviceKey,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<bool, MembershipError> {
        self.reduce(context, now, rng, |connection, roster| {
            let known = roster
                .device(device)
                .ok_or(MembershipError::UnknownDevice)?;
            if known.revoked.is_some() {
                return Ok(None);
            }
            let cut_offs = cut_offs(connection, context, roster, |writer| {
                writer.device == device
            })?;
            Ok(Some(Action::RevokeDevice(RevokeDevice {
                device,
                cut_offs,
            })))
        })
    }

    /// Does what `decide` makes of the roster, and starts the keys that follow from it in the same transaction. Returns
    /// whether there was anything to do.
    fn reduce(
        &mut self,
        context: ContextId,
        now: Millis,
        rng: &mut impl CryptoRng,
        decide: impl FnOnce(&Connection, &Roster) -> Result<Option<Action>, MembershipError>,
    ) -> Result<bool, MembershipError> {
        // What is cut off is counted by signed heads.
        self.make_durable()?;
        let changed = self.act_in(context, now, |acts| {
            let roster = acts.roster()?;
            let Some(action) = decide(acts.connection, &roster)? else {
                return Ok(false);
            };
            acts.act(action)?;
            acts.start_due_epochs(rng, |_| true)?;
            Ok(true)
        })?;
        self.pay_owed_wraps(context, now, rng)?;
        Ok(changed)
    }
}

/// How far the logs of some writers go here, as far as signed heads vouch for them; ascending, as an act takes them.
fn cut_offs(
    connection: &Connection,
    context: ContextId,
    roster: &Roster,
    concerns: impl Fn(&Writer) -> bool,
) -> Result<Vec<CutOff>, MembershipError> {
    Ok(forks::cut_offs(connection, context, &|signer| {
        roster.writer(signer).is_some_and(&concerns)
    })?)
}

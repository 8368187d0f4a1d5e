//! Invites: offering membership, and withdrawing the offer.

use aeroedge_ids::{ContextId, InviteKey, Millis};
use aeroedge_log::context::{self, InviteTerms};
use aeroedge_log::control::{Action, Rights};
use aeroedge_log::invite::{InviteLink, Secret, Stretch};
use aeroedge_log::roster::Roster;
use rand::CryptoRng;

use super::MembershipError;
use crate::device::Device;

/// What an invite offers.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// What the joiner sees until the context's own records have arrived.
    pub name: String,
    /// What a new member gets.
    pub rights: Rights,
    /// When it ends; zero for never.
    pub expires: Millis,
    /// How many may join.
    pub uses: u32,
    /// Where to connect, in words that transports understand.
    pub hints: Vec<String>,
}

impl Device {
    /// Offers membership in a context.
    pub fn invite(
        &mut self,
        context: ContextId,
        invitation: &Invitation,
        secret: &Secret,
        stretch: Stretch,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<InviteLink, MembershipError> {
        self.refresh()?;
        self.check_clock(now)?;
        let hlc = self.next_control_stamp(now);
        let state = self.state(context)?;
        let terms = InviteTerms {
            rights: invitation.rights.clone(),
            expires: invitation.expires,
            uses: invitation.uses,
        };
        let (entry, seed) = context::invite(
            &state.history,
            &state.keys,
            &self.secrets,
            &terms,
            secret,
            stretch,
            hlc,
            rng,
        )?;
        self.add_own(context, entry)?;
        Ok(InviteLink {
            context,
            name: invitation.name.clone(),
            seed,
            hints: invitation.hints.clone(),
        })
    }

    /// The invites of a context that may still be used.
    pub fn open_invites(&self, context: ContextId, now: Millis) -> Vec<InviteKey> {
        self.roster(context)
            .into_iter()
            .flat_map(Roster::invites)
            .filter(|invite| invite.is_open(now))
            .map(|invite| invite.key)
            .collect()
    }

    /// Withdraws an invite: nobody who has heard of it joins with it any more.
    pub fn void_invite(
        &mut self,
        context: ContextId,
        invite: InviteKey,
        now: Millis,
    ) -> Result<(), MembershipError> {
        self.act_in(context, now, |acts| acts.act(Action::VoidInvite(invite)))
    }
}

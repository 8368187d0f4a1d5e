//! What a member may do, as seen from some point of the history.
//!
//! A member's rights are those of the last act that gave some, less what every act took away that this one did not know.
//! So who was removed is not taken back in by someone who had not heard of the removal, and a demotion holds against a
//! promotion made at the same time, whatever the clocks say.

use aeroedge_ids::{ControlHash, DeviceKey, UserId};

use super::{Member, Roster};
use crate::control::Rights;
use crate::roster::{Knowledge, ReductionScope};

/// One act about a member's rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) entry: ControlHash,
    /// What it gives or leaves; nothing for a removal.
    pub(super) rights: Option<Rights>,
    /// It gives rights: founding, joining, setting a role.
    pub(super) gives: bool,
    /// It takes rights away.
    pub(super) takes: bool,
}

impl Member {
    /// The rights as seen by someone who knows of certain acts; the removal if they know of one that holds, or nothing if
    /// they know of no act that made this a member.
    pub(super) fn standing(
        &self,
        knows: impl Fn(ControlHash) -> bool,
        knowledge: &impl Knowledge,
    ) -> Result<Rights, Option<ControlHash>> {
        let given = self.given(&knows).ok_or(None)?;
        let mut rights = given.rights.clone().ok_or(None)?;
        for taken in self.record.iter().filter(|change| {
            change.takes
                && change.entry != given.entry
                && knows(change.entry)
                && !knowledge.saw(given.entry, change.entry)
        }) {
            match &taken.rights {
                Some(left) => rights = rights.limited_to(left),
                None => return Err(Some(taken.entry)),
            }
        }
        Ok(rights)
    }

    /// The last act that gave rights and that someone knows of.
    pub(super) fn given(&self, knows: impl Fn(ControlHash) -> bool) -> Option<&Change> {
        let mut giving = self.record.iter().rev().filter(|change| change.gives);
        giving.find(|change| knows(change.entry))
    }

    /// Whether an act that a change of this member's rights by `by` did not know gave rights that `is_beyond` it.
    pub(super) fn was_given(
        &self,
        by: ControlHash,
        is_beyond: impl Fn(&Rights) -> bool,
        knowledge: &impl Knowledge,
    ) -> bool {
        self.record.iter().any(|change| {
            change.gives
                && change.rights.as_ref().is_some_and(&is_beyond)
                && !knowledge.saw(by, change.entry)
        })
    }

    pub(super) fn note(&mut self, change: Change, knowledge: &impl Knowledge) {
        self.record.push(change);
        match self.standing(|_| true, knowledge) {
            Ok(rights) => (self.rights, self.removed) = (rights, None),
            Err(by) => {
                if let Some(Some(rights)) = self.given(|_| true).map(|given| given.rights.clone()) {
                    self.rights = rights;
                }
                self.removed = by;
            }
        }
    }
}

impl Roster {
    /// The act that gave a member the present rights.
    pub(crate) fn rights_given_by(&self, user: UserId) -> Option<ControlHash> {
        let given = self.members.get(&user)?.given(|_| true)?;
        Some(given.entry)
    }

    /// The rights of the device's user, as seen by someone who knows of certain acts: of those that count in this roster.
    pub(crate) fn rights_seen(
        &self,
        device: DeviceKey,
        knows: impl Fn(ControlHash) -> bool,
        knowledge: &impl Knowledge,
    ) -> Result<Rights, Option<ControlHash>> {
        let device = self.devices.get(&device).ok_or(None)?;
        if !knows(device.since) {
            return Err(None);
        }
        if device.revoked.is_some()
            && let Some(revocation) = self.reductions.iter().find(|reduction| {
                reduction.scope == ReductionScope::Device(device.key) && knows(reduction.entry)
            })
        {
            return Err(Some(revocation.entry));
        }
        let member = self.members.get(&device.user).ok_or(None)?;
        member.standing(knows, knowledge)
    }
}

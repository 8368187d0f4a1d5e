//! What there is to know about an act when it is contested: what it rests on, what it needs, what stands against it.

use aeroedge_ids::{ControlHash, DeviceKey, UserId};

use super::{Knowledge, Reduction, ReductionScope, Roster};
use crate::control::{Action, ControlEntry, Role};

impl Roster {
    /// The acts that gave the author of an act its place and its rights, as far as the author knew.
    pub(crate) fn foundations(
        &self,
        act: &ControlEntry,
        knows: impl Fn(ControlHash) -> bool,
    ) -> Vec<ControlHash> {
        if let Action::Join(join) = act.action() {
            let offers = self.invites_called(join.invite);
            let joined = self.members.get(&join.user);
            let offer = joined.filter(|member| member.since == act.hash());
            return match offer.and_then(|member| member.offer) {
                Some((_, offer)) => vec![offer],
                None => offers
                    .map(|invite| invite.entry)
                    .filter(|offer| knows(*offer))
                    .collect(),
            };
        }
        let Some(device) = self.device(act.author()) else {
            return Vec::new();
        };
        let mut foundations = Vec::new();
        if device.since != act.hash() {
            foundations.push(device.since);
        }
        if let Some(given) = self
            .members
            .get(&device.user)
            .and_then(|member| member.given(&knows))
        {
            foundations.push(given.entry);
        }
        foundations
    }

    /// The least role that an act of one who may do it needs.
    pub(crate) fn needed_for(&self, act: &ControlEntry) -> Role {
        let by = act.author();
        match act.action() {
            Action::Invite(offer) => [Role::Manager, Role::Admin]
                .into_iter()
                .find(|role| role.may_grant(&offer.rights))
                .unwrap_or(Role::Owner),
            Action::VoidInvite(_) | Action::Checkpoint(_) | Action::StartEpoch(_) => Role::Admin,
            Action::SetRole(change) => {
                let least = if Role::Admin.may_grant(&change.rights) {
                    Role::Admin
                } else {
                    Role::Owner
                };
                least.max(self.needed_to_administer(by, change.user))
            }
            Action::RemoveMember(removed) => self.needed_to_administer(by, removed.user),
            Action::RevokeDevice(revoked) => self.needed_for_device(by, revoked.device),
            Action::DeclareStale(stale) => self.needed_for_device(by, stale.device),
            Action::CloseWriter { writer, .. } => {
                self.writer(*writer).map_or(Role::Admin, |writer| {
                    self.needed_for_device(by, writer.device)
                })
            }
            _ => Role::ReadOnly,
        }
    }

    fn needed_for_device(&self, by: DeviceKey, device: DeviceKey) -> Role {
        self.device(device).map_or(Role::Admin, |device| {
            self.needed_to_administer(by, device.user)
        })
    }

    fn needed_to_administer(&self, by: DeviceKey, user: UserId) -> Role {
        let is_own = self.device(by).is_some_and(|device| device.user == user);
        match self.member(user).map(|member| member.rights.role) {
            _ if is_own => Role::ReadOnly,
            Some(Role::Owner) => Role::Owner,
            _ => Role::Admin,
        }
    }

    /// The acts that count and withdraw whatever a join may rely on.
    pub(crate) fn withdrawals_of(
        &self,
        join: &ControlEntry,
        knowledge: &impl Knowledge,
    ) -> Vec<ControlHash> {
        let Action::Join(made) = join.action() else {
            return Vec::new();
        };
        let hash = join.hash();
        let mut withdrawals = Vec::new();
        for invite in self.invites_called(made.invite) {
            if !knowledge.saw(hash, invite.entry)
                || !knowledge.had_secret(join, made, &invite.consent)
            {
                continue;
            }
            let before = withdrawals.len();
            let unknown = |withdrawal: &ControlHash| !knowledge.saw(*withdrawal, hash);
            withdrawals.extend(invite.withdrawn.iter().copied().filter(unknown));
            if withdrawals.len() == before {
                return Vec::new();
            }
        }
        withdrawals
    }

    /// Acts that made someone owner, each with a reduction of that person by someone who is no owner.
    pub(crate) fn overridden_by_owners(&self) -> Vec<(ControlHash, ControlHash)> {
        let mut overridden = Vec::new();
        for member in self.members.values() {
            let made_owner = member.record.iter().filter(|change| {
                let rights = change.rights.as_ref();
                change.gives && rights.is_some_and(|rights| rights.role == Role::Owner)
            });
            for change in made_owner {
                let reductions = self.reductions().filter(|reduction| {
                    reduction.by_role < Role::Owner
                        && reduction.by != member.user
                        && self.user_concerned(reduction) == Some(member.user)
                });
                overridden.extend(reductions.map(|reduction| (change.entry, reduction.entry)));
            }
        }
        overridden
    }

    fn user_concerned(&self, reduction: &Reduction) -> Option<UserId> {
        match reduction.scope {
            ReductionScope::User(user) => Some(user),
            ReductionScope::Device(device) | ReductionScope::Stale(device) => {
                self.device(device).map(|device| device.user)
            }
            ReductionScope::Writer(writer) => self.writer(writer).map(|writer| writer.user),
        }
    }
}

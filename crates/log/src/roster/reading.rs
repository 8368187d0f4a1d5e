//! Applying one control entry after the other.
//!
//! Each act either takes effect as a whole or leaves nothing but a [`Rejection`]. What its author may do is what those
//! acts gave that the author knew; what took rights away, and the author did not know, counts as well.

mod devices;
mod keys;
mod people;

use std::collections::BTreeMap;
use std::sync::Arc;

use aeroedge_ids::{ControlHash, DeviceKey, UserId};

use super::plan::{Bar, Plan, Restart};
use super::shared::Shared;
use super::{Device, Member, Reduction, ReductionScope, Rejection, Roster};
use crate::compartment::{Audience, Division};
use crate::control::{
    Action, ControlEntry, CutOff, DeviceKind, Genesis, Join, Rights, Role, StartEpoch,
};
use crate::entry::WriterTag;

/// Who knew of what.
pub(crate) trait Knowledge {
    /// Whether the author of `later` knew `earlier`. Nobody knows their own act.
    fn saw(&self, later: ControlHash, earlier: ControlHash) -> bool;

    /// Whether a join was made with link and secret of the invite with this consent key.
    fn had_secret(&self, entry: &ControlEntry, join: &Join, consent: &[u8; 32]) -> bool;
}

/// Why an act does not take effect, or that the reading must start over.
enum Refused {
    Because(Rejection),
    Restart(Restart),
}

impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Self {
        Self::Because(rejection)
    }
}

impl From<Restart> for Refused {
    fn from(restart: Restart) -> Self {
        Self::Restart(restart)
    }
}

/// The member behind the author of an act.
struct Author {
    user: UserId,
    device: DeviceKey,
    kind: DeviceKind,
    rights: Rights,
}

impl Roster {
    /// The roster after the first entry; `None` if the entry founds nothing.
    pub(crate) fn found(
        entry: &ControlEntry,
        plan: Option<Arc<Plan>>,
        knowledge: &impl Knowledge,
    ) -> Option<Self> {
        let Action::Genesis(genesis) = entry.action() else {
            return None;
        };
        let mut roster = Self {
            context: entry.context(),
            division: genesis.division,
            purpose: genesis.purpose.clone(),
            members: Shared::default(),
            devices: Shared::default(),
            writers: Shared::default(),
            tags: Shared::default(),
            turned_away: Shared::default(),
            invites: Shared::default(),
            compartments: Shared::default(),
            epochs: Shared::default(),
            checkpoints: Shared::default(),
            reductions: Vec::new(),
            reduced_by: Shared::default(),
            withdrawn: Shared::default(),
            rejected: Shared::default(),
            plan,
        };
        roster.begin(entry, genesis, knowledge);
        Some(roster)
    }

    fn begin(&mut self, entry: &ControlEntry, genesis: &Genesis, knowledge: &impl Knowledge) {
        self.add_compartment(Audience::Everyone);
        if self.division == Division::Divided {
            self.add_compartment(Audience::Staff);
        }
        let device = Device::new(
            entry.author(),
            genesis.user,
            genesis.sealing,
            entry.hash(),
            DeviceKind::Everyday,
        );
        self.add_member(
            entry,
            genesis.user,
            Rights::of(Role::Owner),
            None,
            knowledge,
        );
        self.introduce_device(device, knowledge);
        self.introduce_writer(device.since, &device, genesis.writer.key, None);
    }

    /// Reads one more entry, whose parents have all been read.
    pub(crate) fn apply(
        &mut self,
        entry: &ControlEntry,
        knowledge: &impl Knowledge,
    ) -> Result<(), Restart> {
        match self.try_apply(entry, knowledge) {
            Ok(()) => Ok(()),
            Err(Refused::Because(rejection)) => {
                self.reject(entry, rejection);
                Ok(())
            }
            Err(Refused::Restart(restart)) => Err(restart),
        }
    }

    /// Everything contested is settled: what is read from here on heeds what was read.
    pub(crate) fn settled(mut self) -> Self {
        self.plan = None;
        self
    }

    fn reject(&mut self, entry: &ControlEntry, rejection: Rejection) {
        self.rejected.insert(entry.hash(), rejection);
        if let Some(writer) = entry.action().new_writer() {
            let tag = WriterTag::of(&writer.key);
            self.turned_away.entry(tag).or_default().insert(writer.key);
        }
        // Others may have sealed under it before they heard of what made it void.
        if matches!(
            rejection,
            Rejection::ShutOut | Rejection::Outranked | Rejection::NotAMember
        ) {
            match entry.action() {
                Action::StartEpoch(started) => self.keep_epoch(entry.hash(), started),
                Action::WrapKeys(wraps) => self.wrap_keys(wraps),
                _ => {}
            }
        }
    }

    fn try_apply(
        &mut self,
        entry: &ControlEntry,
        knowledge: &impl Knowledge,
    ) -> Result<(), Refused> {
        if self.bar(entry.hash()) == Some(&Bar::Outranked) {
            return Err(Rejection::Outranked.into());
        }
        match entry.action() {
            Action::Genesis(_) => return Err(Rejection::SecondGenesis.into()),
            Action::Join(join) => return self.join(entry, join, knowledge),
            Action::Unknown { .. } => return Err(Rejection::UnknownAction.into()),
            _ => {}
        }
        let author = self.author(entry, knowledge)?;
        match entry.action() {
            Action::Genesis(_) | Action::Join(_) | Action::Unknown { .. } | Action::Acknowledge => {
            }
            Action::Invite(offer) => self.invite_member(entry, &author, offer)?,
            Action::VoidInvite(key) => self.void_invite(entry, &author, *key, knowledge)?,
            Action::SetRole(change) => self.set_role(entry, &author, change, knowledge)?,
            Action::AddDevice(added) => self.add_device(entry, &author, added, knowledge)?,
            Action::RevokeDevice(revoked) => {
                self.revoke_device(entry, &author, revoked, knowledge)?;
            }
            Action::RemoveMember(removed) => {
                self.remove_member(entry, &author, removed, knowledge)?;
            }
            Action::OpenWriter(opened) => {
                self.open_writer(entry, author.device, opened, knowledge)?;
            }
            Action::CloseWriter { writer, cut_offs } => {
                self.close_writer(entry, &author, *writer, cut_offs, knowledge)?;
            }
            Action::StartEpoch(started) => self.start_epoch(entry, &author, started, knowledge)?,
            Action::WrapKeys(epochs) => self.wrap_keys(epochs),
            Action::Checkpoint(checkpoint) => {
                let role = author.rights.role;
                self.make_checkpoint(entry.hash(), author.device, role, checkpoint)?;
            }
            Action::AcknowledgeCheckpoints(checkpoints) => {
                self.acknowledge(author.device, checkpoints)?;
            }
            Action::DeclareStale(stale) => self.declare_stale(entry, &author, stale, knowledge)?,
        }
        Ok(())
    }

    fn bar(&self, entry: ControlHash) -> Option<&Bar> {
        self.plan.as_ref()?.bars.get(&entry)
    }

    /// The author of an act with the rights it has for it: what it knew to have, and what nothing took away that it did
    /// not know.
    fn author(
        &self,
        entry: &ControlEntry,
        knowledge: &impl Knowledge,
    ) -> Result<Author, Rejection> {
        let hash = entry.hash();
        let knows = |earlier| knowledge.saw(hash, earlier);
        let mut rights = self
            .rights_seen(entry.author(), knows, knowledge)
            .map_err(|_| Rejection::NotAMember)?;
        let device = *self.device(entry.author()).ok_or(Rejection::NotAMember)?;
        match self.limit(entry, &device, knowledge) {
            Some(Bar::Limited(Some(left))) => rights = rights.limited_to(&left),
            Some(Bar::Limited(None)) => return Err(Rejection::ShutOut),
            _ => {}
        }
        Ok(Author {
            user: device.user,
            device: device.key,
            kind: device.kind,
            rights,
        })
    }

    /// What acts that the author did not know, and that did not know this act, left of the author's rights.
    fn limit(
        &self,
        entry: &ControlEntry,
        device: &Device,
        knowledge: &impl Knowledge,
    ) -> Option<Bar> {
        if self.plan.is_some() {
            return self.bar(entry.hash()).cloned();
        }
        let is_reduced = device.revoked.is_some()
            || self
                .members
                .get(&device.user)
                .is_some_and(|member| member.record.iter().any(|change| change.takes));
        if !is_reduced {
            return None;
        }
        // What is read before an entry cannot have known it.
        let unknown = self.reductions.iter().filter(|reduction| {
            reduction.bars(device) && !knowledge.saw(entry.hash(), reduction.entry)
        });
        unknown
            .map(|reduction| Bar::Limited(reduction.remaining.clone()))
            .reduce(Bar::and)
    }

    /// The user's own affairs are the user's; others' are an admin's, and an owner's only an owner's.
    fn may_administer(author: &Author, user: UserId, role: Role) -> Result<(), Rejection> {
        if author.user == user || author.rights.role.outranks(role) {
            Ok(())
        } else {
            Err(Rejection::NoRight)
        }
    }

    /// What the author of an act knew of another member's rights, last ones if removed, and whether the member was in.
    fn known(
        &self,
        entry: &ControlEntry,
        user: UserId,
        knowledge: &impl Knowledge,
    ) -> Result<(Rights, bool), Rejection> {
        let knows = |earlier| knowledge.saw(entry.hash(), earlier);
        let member = self.members.get(&user).ok_or(Rejection::UnknownMember)?;
        let given = member.given(knows).ok_or(Rejection::UnknownMember)?;
        if let Ok(rights) = member.standing(knows, knowledge) {
            return Ok((rights, true));
        }
        let last = given.rights.clone().ok_or(Rejection::UnknownMember)?;
        Ok((last, false))
    }

    /// Whether a change to a member, by an author who did not know that the member had been given such a role, goes beyond
    /// what the author may do.
    fn is_above(
        &self,
        entry: &ControlEntry,
        author: &Author,
        user: UserId,
        knowledge: &impl Knowledge,
    ) -> bool {
        author.user != user
            && self.members.get(&user).is_some_and(|member| {
                let is_beyond = |rights: &Rights| !author.rights.role.outranks(rights.role);
                member.was_given(entry.hash(), is_beyond, knowledge)
            })
    }

    fn reduce(
        &mut self,
        entry: &ControlEntry,
        author: &Author,
        scope: ReductionScope,
        remaining: Option<Rights>,
        cut_offs: &[CutOff],
    ) {
        let mut by_log = BTreeMap::<_, Vec<CutOff>>::new();
        for cut_off in cut_offs {
            by_log
                .entry((cut_off.writer, cut_off.compartment))
                .or_default()
                .push(*cut_off);
        }
        self.reduced_by.insert(entry.hash());
        self.reductions.push(Arc::new(Reduction {
            entry: entry.hash(),
            by: author.user,
            by_role: author.rights.role,
            scope,
            remaining,
            cut_offs: by_log,
        }));
    }

    fn member_mut(&mut self, user: UserId) -> Option<&mut Member> {
        self.members.get_mut(&user).map(Arc::make_mut)
    }
}

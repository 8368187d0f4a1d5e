//! Members: inviting, joining, changing roles, removing.

use std::cmp::Reverse;
use std::sync::Arc;

use aeroedge_ids::{ControlHash, InviteKey, Millis, UserId};

use super::keys::may_withdraw;
use super::{
    Audience, Author, Bar, ControlEntry, Device, DeviceKind, Division, Join, Knowledge, Refused,
    Rejection, Restart, Rights, Role, Roster,
};
use crate::control::{InviteOffer, RemoveMember, SetRole};
use crate::roster::standing::Change;
use crate::roster::{Invite, Member, ReductionScope, Withdrawn};

/// An invite key, and the entry that offers it.
type Offer = (InviteKey, ControlHash);

impl Roster {
    pub(super) fn invite_member(
        &mut self,
        entry: &ControlEntry,
        author: &Author,
        offer: &InviteOffer,
    ) -> Result<(), Rejection> {
        if author.rights.role < Role::Manager {
            return Err(Rejection::NoRight);
        }
        if !author.rights.role.may_grant(&offer.rights) {
            return Err(Rejection::GrantsTooMuch);
        }
        let invite = Invite {
            key: offer.key,
            by: author.user,
            by_role: author.rights.role,
            rights: offer.rights.clone(),
            expires: offer.expires,
            uses: offer.uses,
            consent: offer.consent,
            entry: entry.hash(),
            voided: Vec::new(),
            withdrawn: Vec::new(),
            joins: Vec::new(),
        };
        // Another offer under the same key, by someone who copied it, harms neither it nor those who joined by it.
        self.invites
            .insert((offer.key, entry.hash()), Arc::new(invite));
        Ok(())
    }

    pub(super) fn void_invite(
        &mut self,
        entry: &ControlEntry,
        author: &Author,
        key: InviteKey,
        knowledge: &impl Knowledge,
    ) -> Result<(), Rejection> {
        let known = |invite: &&Invite| knowledge.saw(entry.hash(), invite.entry);
        if !self.invites_called(key).any(|invite| known(&invite)) {
            return Err(Rejection::UnknownInvite);
        }
        let is_within = |invite| may_withdraw(author, invite);
        if !self.invites_called(key).filter(known).any(is_within) {
            return Err(Rejection::NoRight);
        }
        self.withdraw(entry, author, |invite| invite.key == key, knowledge);
        Ok(())
    }

    pub(super) fn join(
        &mut self,
        entry: &ControlEntry,
        join: &Join,
        knowledge: &impl Knowledge,
    ) -> Result<(), Refused> {
        let hash = entry.hash();
        let (key, rights, admitted) = self.offer_for(entry, join, knowledge)?;
        let is_confirmed = self
            .plan
            .as_ref()
            .is_some_and(|plan| plan.confirmed.contains_key(&hash));
        match admitted {
            Err(Refused::Because(rejection)) if !is_confirmed => {
                let withdrawn = Withdrawn { join: hash, rights };
                self.withdrawn
                    .entry((join.user, entry.author()))
                    .or_insert(withdrawn);
                return Err(rejection.into());
            }
            Err(restart @ Refused::Restart(_)) if !is_confirmed => return Err(restart),
            _ => {}
        }
        if let Some(earlier) = self.confirms(entry, join.user, knowledge)
            && earlier.1 == entry.author()
        {
            return Err(Restart::Confirmed(earlier.0, hash).into());
        }
        self.take_in(entry, join, rights, key, knowledge)?;
        self.wrap_keys(&join.wraps);
        if let Some(invite) = self.invites.get_mut(&key) {
            Arc::make_mut(invite).joins.push(hash);
        }
        Ok(())
    }

    /// The offer that a join uses, its rights, and whether it lets the joiner in: of several under one key the first that
    /// does.
    fn offer_for(
        &self,
        entry: &ControlEntry,
        join: &Join,
        knowledge: &impl Knowledge,
    ) -> Result<(Offer, Rights, Result<(), Refused>), Rejection> {
        let mut offers: Vec<_> = self
            .invites_called(join.invite)
            .filter(|invite| knowledge.saw(entry.hash(), invite.entry))
            .collect();
        if offers.is_empty() {
            return Err(Rejection::UnknownInvite);
        }
        offers.sort_by_key(|invite| (Reverse(invite.by_role), invite.entry));
        offers.retain(|invite| knowledge.had_secret(entry, join, &invite.consent));
        let mut first = None;
        for invite in offers {
            let admitted = self.admits(entry, invite, knowledge);
            let is_refused = matches!(admitted, Err(Refused::Because(_)));
            let found = ((invite.key, invite.entry), invite.rights.clone(), admitted);
            if !is_refused {
                return Ok(found);
            }
            first.get_or_insert(found);
        }
        first.ok_or(Rejection::NoSecret)
    }

    /// Whether the invite itself lets the joiner in.
    fn admits(
        &self,
        entry: &ControlEntry,
        invite: &Invite,
        knowledge: &impl Knowledge,
    ) -> Result<(), Refused> {
        let hash = entry.hash();
        // Without a plan nothing that was read before knew the join, so whatever withdraws the invite stands against it.
        let is_withdrawn = match &self.plan {
            None => !invite.withdrawn.is_empty(),
            Some(plan) => plan.bars.get(&hash) == Some(&Bar::Withdrawn),
        };
        if is_withdrawn || invite.voided.iter().any(|void| knowledge.saw(hash, *void)) {
            return Err(Rejection::InviteVoid.into());
        }
        if invite.expires != Millis(0) && entry.hlc().time() > invite.expires {
            return Err(Rejection::InviteExpired.into());
        }
        if let Some(plan) = &self.plan
            && let Some(Rejection::Surplus) = plan.displaced.get(&hash)
        {
            return Err(Rejection::Surplus.into());
        }
        if (invite.joins.len() as u64) < u64::from(invite.uses) {
            return Ok(());
        }
        // Those it had seen were there before it. Of the others the one with the highest hash gives way.
        let rival = invite
            .joins
            .iter()
            .filter(|rival| !knowledge.saw(hash, **rival))
            .max();
        match rival {
            Some(rival) if *rival > hash => {
                Err(Restart::Displaced(*rival, Rejection::Surplus).into())
            }
            _ => Err(Rejection::Surplus.into()),
        }
    }

    /// The join of a user that did not stand and that an act, which knew it, can take in all the same: only if it is clear
    /// which is meant.
    fn confirms(
        &self,
        entry: &ControlEntry,
        user: UserId,
        knowledge: &impl Knowledge,
    ) -> Option<(ControlHash, aeroedge_ids::DeviceKey)> {
        if let Some(plan) = &self.plan
            && plan.unconfirming.contains(&entry.hash())
        {
            return None;
        }
        let first = (user, aeroedge_ids::DeviceKey([0; 32]));
        let last = (user, aeroedge_ids::DeviceKey([0xff; 32]));
        let mut known = self
            .withdrawn
            .range(first..=last)
            .filter(|(_, withdrawn)| knowledge.saw(entry.hash(), withdrawn.join));
        match (known.next(), known.next()) {
            (Some(((_, device), withdrawn)), None) => Some((withdrawn.join, *device)),
            _ => None,
        }
    }

    /// A new member, or one that was removed and comes back with a device that is known.
    fn take_in(
        &mut self,
        entry: &ControlEntry,
        join: &Join,
        rights: Rights,
        invite: Offer,
        knowledge: &impl Knowledge,
    ) -> Result<(), Refused> {
        let hash = entry.hash();
        if let Some(plan) = &self.plan
            && let Some(Rejection::AlreadyThere) = plan.displaced.get(&hash)
        {
            return Err(Rejection::AlreadyThere.into());
        }
        let device = self.devices.get(&entry.author()).copied();
        let Some(member) = self.members.get(&join.user) else {
            if device.is_some() || self.is_writer_taken(&join.writer.key) {
                return Err(Rejection::AlreadyThere.into());
            }
            let device = Device::new(
                entry.author(),
                join.user,
                join.sealing,
                hash,
                DeviceKind::Everyday,
            );
            self.add_member(entry, join.user, rights, Some(invite), knowledge);
            self.introduce_device(device, knowledge);
            self.introduce_writer(hash, &device, join.writer.key, None);
            return Ok(());
        };
        let Some(device) =
            device.filter(|device| (device.user, device.sealing) == (join.user, join.sealing))
        else {
            return self.contend(entry, member, invite, knowledge);
        };
        let is_known_writer = self
            .writers
            .get(&join.writer.key)
            .is_some_and(|writer| writer.device == device.key);
        let is_taken = !is_known_writer && self.is_writer_taken(&join.writer.key);
        if device.revoked.is_some() || is_taken {
            return Err(Rejection::AlreadyThere.into());
        }
        let is_removed = matches!(self.known(entry, join.user, knowledge), Ok((_, false)));
        let is_confirming = self
            .plan
            .as_ref()
            .is_some_and(|plan| plan.confirmed.values().any(|by| *by == hash));
        if !is_removed && !is_confirming {
            return Err(Rejection::AlreadyThere.into());
        }
        if !is_known_writer {
            self.introduce_writer(hash, &device, join.writer.key, None);
        }
        if is_removed && let Some(member) = self.member_mut(join.user) {
            let change = Change {
                entry: hash,
                rights: Some(rights),
                gives: true,
                takes: false,
            };
            member.note(change, knowledge);
        }
        Ok(())
    }

    /// Two who do not know of each other join under one user's name: the one stands whose inviter ranks higher, so that
    /// nobody is pushed out by an invite of someone lower, made later and dated back.
    fn contend(
        &self,
        entry: &ControlEntry,
        member: &Member,
        invite: Offer,
        knowledge: &impl Knowledge,
    ) -> Result<(), Refused> {
        let rank = |invite: Option<&Arc<Invite>>| {
            invite.map(|invite| {
                let place = self.members.get(&invite.by).map(|member| member.place);
                (Reverse(invite.by_role), place)
            })
        };
        let theirs = member.offer.map(|offer| rank(self.invites.get(&offer)));
        let is_outranked = theirs.is_some_and(|theirs| rank(self.invites.get(&invite)) < theirs);
        if is_outranked && !knowledge.saw(entry.hash(), member.since) {
            return Err(Restart::Displaced(member.since, Rejection::AlreadyThere).into());
        }
        Err(Rejection::AlreadyThere.into())
    }

    pub(super) fn set_role(
        &mut self,
        entry: &ControlEntry,
        author: &Author,
        change: &SetRole,
        knowledge: &impl Knowledge,
    ) -> Result<(), Refused> {
        let known = self.known(entry, change.user, knowledge);
        let confirmed = match &known {
            Ok(_) => None,
            Err(_) => self.confirms(entry, change.user, knowledge),
        };
        let (before, was_in) = match (known, confirmed) {
            (Ok(known), _) => known,
            (Err(_), Some((_, device))) => {
                let withdrawn = self.withdrawn.get(&(change.user, device));
                let withdrawn = withdrawn.ok_or(Rejection::UnknownMember)?;
                (withdrawn.rights.clone(), true)
            }
            (Err(rejection), None) => return Err(rejection.into()),
        };
        if !author.rights.role.outranks(before.role) {
            return Err(Rejection::NoRight.into());
        }
        if !author.rights.role.may_grant(&change.rights) {
            return Err(Rejection::GrantsTooMuch.into());
        }
        if let Some((join, _)) = confirmed {
            return Err(Restart::Confirmed(join, entry.hash()).into());
        }
        let takes = was_in && before.exceeds(&change.rights);
        if takes && self.is_above(entry, author, change.user, knowledge) {
            return Err(Rejection::NoRight.into());
        }
        if change.rights.role < Role::Owner && self.is_last_owner(change.user) {
            return Err(Rejection::LastOwner.into());
        }
        let read_before = self.audiences_of(change.user);
        if let Some(member) = self.member_mut(change.user) {
            let change = Change {
                entry: entry.hash(),
                rights: Some(change.rights.clone()),
                gives: true,
                takes,
            };
            member.note(change, knowledge);
        }
        let read_now = self.audiences_of(change.user);
        let lost: Vec<_> = read_before
            .into_iter()
            .filter(|audience| !read_now.contains(audience))
            .collect();
        self.expose(entry.hash(), &lost);
        if takes {
            let scope = ReductionScope::User(change.user);
            let remaining = Some(change.rights.clone());
            self.reduce(entry, author, scope, remaining, &change.cut_offs);
            self.withdraw(entry, author, |_| true, knowledge);
        }
        Ok(())
    }

    pub(super) fn remove_member(
        &mut self,
        entry: &ControlEntry,
        author: &Author,
        removed: &RemoveMember,
        knowledge: &impl Knowledge,
    ) -> Result<(), Rejection> {
        let user = removed.user;
        let (rights, was_in) = self.known(entry, user, knowledge)?;
        if !was_in {
            return Err(Rejection::UnknownMember);
        }
        Self::may_administer(author, user, rights.role)?;
        if self.is_above(entry, author, user, knowledge) {
            return Err(Rejection::NoRight);
        }
        if self.is_last_owner(user) {
            return Err(Rejection::LastOwner);
        }
        let lost = self.audiences_of(user);
        self.expose(entry.hash(), &lost);
        let scope = ReductionScope::User(user);
        self.reduce(entry, author, scope, None, &removed.cut_offs);
        if let Some(member) = self.member_mut(user) {
            let change = Change {
                entry: entry.hash(),
                rights: None,
                gives: false,
                takes: true,
            };
            member.note(change, knowledge);
        }
        self.withdraw(entry, author, |_| true, knowledge);
        Ok(())
    }

    fn is_last_owner(&self, user: UserId) -> bool {
        let is_owner = |member: &Member| member.is_active() && member.rights.role == Role::Owner;
        self.member(user).is_some_and(is_owner) && self.active_owners() == 1
    }

    pub(super) fn add_member(
        &mut self,
        entry: &ControlEntry,
        user: UserId,
        rights: Rights,
        offer: Option<Offer>,
        knowledge: &impl Knowledge,
    ) {
        let mut member = Member {
            user,
            rights: rights.clone(),
            since: entry.hash(),
            invite: offer.map(|(key, _)| key),
            removed: None,
            offer,
            place: self.members.len(),
            record: Vec::new(),
        };
        let joined = Change {
            entry: entry.hash(),
            rights: Some(rights),
            gives: true,
            takes: false,
        };
        member.note(joined, knowledge);
        self.members.insert(user, Arc::new(member));
        if self.division == Division::Divided {
            self.add_compartment(Audience::Person(user));
        }
    }
}

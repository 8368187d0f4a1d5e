//! Applying one control entry after the other.
//!
//! Each act either takes effect as a whole or leaves nothing but a [`Rejection`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aeroedge_ids::{ControlHash, DeviceKey, InviteKey, Millis, UserId, WriterKey};

use super::{
    Compartment, Device, Epoch, Invite, Member, Reduction, ReductionScope, Rejection, Roster,
    Writer,
};
use crate::compartment::{Audience, Division};
use crate::control::{
    Action, AddDevice, ControlEntry, CutOff, DeclareStale, DeviceKind, EpochWraps, Genesis,
    InviteOffer, Join, NewWriter, Rights, Role, SetRole, StartEpoch,
};
use crate::entry::WriterTag;

/// Who knew of what.
pub(crate) trait Causality {
    /// Whether the author of `later` knew `earlier`.
    fn saw(&self, later: ControlHash, earlier: ControlHash) -> bool;
}

/// A join that stood must give way to one with a lower hash: the reading starts over without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Displaced(pub(crate) ControlHash);

/// Why an act does not take effect, or that the reading must start over.
enum Refused {
    Because(Rejection),
    Restart(Displaced),
}

impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Self {
        Self::Because(rejection)
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
    pub(crate) fn found(entry: &ControlEntry, displaced: BTreeSet<ControlHash>) -> Option<Self> {
        let Action::Genesis(genesis) = entry.action() else {
            return None;
        };
        let mut roster = Self {
            context: entry.context(),
            division: genesis.division,
            purpose: genesis.purpose.clone(),
            members: BTreeMap::new(),
            devices: BTreeMap::new(),
            writers: BTreeMap::new(),
            tags: BTreeMap::new(),
            turned_away: BTreeMap::new(),
            invites: BTreeMap::new(),
            compartments: BTreeMap::new(),
            epochs: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            reductions: Vec::new(),
            reduced_by: BTreeSet::new(),
            rejected: BTreeMap::new(),
            displaced,
        };
        roster.begin(entry, genesis);
        Some(roster)
    }

    /// Reads one more entry, whose parents have all been read.
    pub(crate) fn apply(
        &mut self,
        entry: &ControlEntry,
        causality: &impl Causality,
    ) -> Result<(), Displaced> {
        match self.try_apply(entry, causality) {
            Ok(()) => Ok(()),
            Err(Refused::Because(rejection)) => {
                self.reject(entry, rejection);
                Ok(())
            }
            Err(Refused::Restart(displaced)) => Err(displaced),
        }
    }

    fn reject(&mut self, entry: &ControlEntry, rejection: Rejection) {
        self.rejected.insert(entry.hash(), rejection);
        if let Some(writer) = entry.action().new_writer() {
            let tag = WriterTag::of(&writer.key);
            self.turned_away.entry(tag).or_default().insert(writer.key);
        }
    }

    pub(crate) fn displaced(&self) -> &BTreeSet<ControlHash> {
        &self.displaced
    }

    fn try_apply(
        &mut self,
        entry: &ControlEntry,
        causality: &impl Causality,
    ) -> Result<(), Refused> {
        match entry.action() {
            Action::Genesis(_) => return Err(Rejection::SecondGenesis.into()),
            Action::Join(join) => return self.join(entry, join, causality),
            Action::Unknown { .. } => return Err(Rejection::UnknownAction.into()),
            _ => {}
        }
        let author = self.author(entry.author())?;
        match entry.action() {
            Action::Genesis(_) | Action::Join(_) | Action::Unknown { .. } | Action::Acknowledge => {
            }
            Action::Invite(offer) => self.invite_member(entry, &author, offer)?,
            Action::VoidInvite(key) => {
                let invite = self.invites.get_mut(key).ok_or(Rejection::UnknownInvite)?;
                if author.rights.role < Role::Admin && invite.by != author.user {
                    return Err(Rejection::NoRight.into());
                }
                Arc::make_mut(invite).voided.push(entry.hash());
            }
            Action::SetRole(change) => self.set_role(entry, &author, change)?,
            Action::AddDevice(added) => self.add_device(entry, &author, added, causality)?,
            Action::RevokeDevice(revoked) => {
                self.revoke_device(entry, &author, revoked.device, &revoked.cut_offs)?;
            }
            Action::RemoveMember(removed) => {
                self.remove_member(entry, &author, removed.user, &removed.cut_offs)?;
            }
            Action::OpenWriter(opened) => {
                self.open_writer(entry, author.device, opened, causality)?;
            }
            Action::CloseWriter { writer, cut_offs } => {
                self.close_writer(entry, &author, *writer, cut_offs)?;
            }
            Action::StartEpoch(started) => self.start_epoch(entry, &author, started, causality)?,
            Action::WrapKeys(epochs) => self.wrap_keys(epochs),
            Action::Checkpoint(checkpoint) => {
                let role = author.rights.role;
                self.make_checkpoint(entry.hash(), author.device, role, checkpoint)?;
            }
            Action::AcknowledgeCheckpoints(checkpoints) => {
                self.acknowledge(author.device, checkpoints)?;
            }
            Action::DeclareStale(stale) => self.declare_stale(entry, &author, stale)?,
        }
        Ok(())
    }

    fn author(&self, device: DeviceKey) -> Result<Author, Rejection> {
        let (device, member) = self.active_device(device).ok_or(Rejection::NotAMember)?;
        Ok(Author {
            user: member.user,
            device: device.key,
            kind: device.kind,
            rights: member.rights.clone(),
        })
    }

    fn begin(&mut self, entry: &ControlEntry, genesis: &Genesis) {
        self.add_compartment(Audience::Everyone);
        if self.division == Division::Divided {
            self.add_compartment(Audience::Staff);
        }
        self.add_member(entry, genesis.user, Rights::of(Role::Owner), None);
        let device = Device {
            key: entry.author(),
            user: genesis.user,
            sealing: genesis.sealing,
            since: entry.hash(),
            kind: DeviceKind::Everyday,
            revoked: None,
            stale: None,
        };
        self.devices.insert(device.key, device);
        self.introduce_writer(device.since, &device, genesis.writer.key, None);
    }

    fn invite_member(
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
        if self.invites.contains_key(&offer.key) {
            return Err(Rejection::AlreadyThere);
        }
        let invite = Invite {
            key: offer.key,
            by: author.user,
            rights: offer.rights.clone(),
            expires: offer.expires,
            uses: offer.uses,
            consent: offer.consent,
            entry: entry.hash(),
            voided: Vec::new(),
            joins: Vec::new(),
        };
        self.invites.insert(offer.key, Arc::new(invite));
        Ok(())
    }

    fn join(
        &mut self,
        entry: &ControlEntry,
        join: &Join,
        causality: &impl Causality,
    ) -> Result<(), Refused> {
        let invite = self
            .invites
            .get(&join.invite)
            .ok_or(Rejection::UnknownInvite)?;
        if !join.had_secret(self.context, entry.author(), &invite.consent) {
            return Err(Rejection::NoSecret.into());
        }
        if invite
            .voided
            .iter()
            .any(|void| causality.saw(entry.hash(), *void))
        {
            return Err(Rejection::InviteVoid.into());
        }
        if invite.expires != Millis(0) && entry.hlc().time() > invite.expires {
            return Err(Rejection::InviteExpired.into());
        }
        if self.members.contains_key(&join.user)
            || self.devices.contains_key(&entry.author())
            || self.is_writer_taken(&join.writer.key)
        {
            return Err(Rejection::AlreadyThere.into());
        }
        if self.displaced.contains(&entry.hash()) {
            return Err(Rejection::Surplus.into());
        }
        if invite.joins.len() as u64 >= u64::from(invite.uses) {
            // Those it had seen were there before it. Of the others the one with the highest hash gives way.
            let rival = invite
                .joins
                .iter()
                .filter(|rival| !causality.saw(entry.hash(), **rival))
                .max();
            return match rival {
                Some(rival) if *rival > entry.hash() => Err(Refused::Restart(Displaced(*rival))),
                _ => Err(Rejection::Surplus.into()),
            };
        }
        let rights = invite.rights.clone();
        self.add_member(entry, join.user, rights, Some(join.invite));
        let device = Device {
            key: entry.author(),
            user: join.user,
            sealing: join.sealing,
            since: entry.hash(),
            kind: DeviceKind::Everyday,
            revoked: None,
            stale: None,
        };
        self.introduce_device(device, join.writer.key, causality);
        self.wrap_keys(&join.wraps);
        if let Some(invite) = self.invites.get_mut(&join.invite) {
            Arc::make_mut(invite).joins.push(entry.hash());
        }
        Ok(())
    }

    fn set_role(
        &mut self,
        entry: &ControlEntry,
        author: &Author,
        change: &SetRole,
    ) -> Result<(), Rejection> {
        let member = self
            .members
            .get(&change.user)
            .ok_or(Rejection::UnknownMember)?;
        let before = member.rights.clone();
        let was_active = member.is_active();
        if !author.rights.role.outranks(before.role) {
            return Err(Rejection::NoRight);
        }
        if !author.rights.role.may_grant(&change.rights) {
            return Err(Rejection::GrantsTooMuch);
        }
        if was_active
            && before.role == Role::Owner
            && change.rights.role < Role::Owner
            && self.active_owners() == 1
        {
            return Err(Rejection::LastOwner);
        }
        if was_active && before.exceeds(&change.rights) {
            let lost: Vec<_> = self
                .compartments
                .values()
                .map(|compartment| compartment.audience)
                .filter(|audience| {
                    audience.includes(change.user, &before)
                        && !audience.includes(change.user, &change.rights)
                })
                .collect();
            self.expose(entry.hash(), &lost);
            let remaining = Some(change.rights.clone());
            self.reduce(
                entry.hash(),
                ReductionScope::User(change.user),
                remaining,
                &change.cut_offs,
            );
        }
        if let Some(member) = self.members.get_mut(&change.user) {
            let member = Arc::make_mut(member);
            member.rights = change.rights.clone();
            member.removed = None;
        }
        Ok(())
    }

    fn add_device(
        &mut self,
        entry: &ControlEntry,
        author: &Author,
        added: &AddDevice,
        causality: &impl Causality,
    ) -> Result<(), Rejection> {
        if added.user != author.user {
            return Err(Rejection::NoRight);
        }
        // Else whoever finds a phone would make a sheet of their own.
        if added.kind == DeviceKind::Recovery
            && author.kind != DeviceKind::Recovery
            && self.has_recovery(added.user)
        {
            return Err(Rejection::NeedsRecovery);
        }
        if self.devices.contains_key(&added.device) || self.is_writer_taken(&added.writer.key) {
            return Err(Rejection::AlreadyThere);
        }
        let device = Device {
            key: added.device,
            user: added.user,
            sealing: added.sealing,
            since: entry.hash(),
            kind: added.kind,
            revoked: None,
            stale: None,
        };
        self.introduce_device(device, added.writer.key, causality);
        self.wrap_keys(&added.wraps);
        Ok(())
    }

    fn revoke_device(
        &mut self,
        entry: &ControlEntry,
        author: &Author,
        key: DeviceKey,
        cut_offs: &[CutOff],
    ) -> Result<(), Rejection> {
        let device = self
            .devices
            .get(&key)
            .filter(|device| device.revoked.is_none())
            .ok_or(Rejection::UnknownDevice)?;
        let (user, kind) = (device.user, device.kind);
        self.may_administer(author, user)?;
        if author.user == user
            && kind == DeviceKind::Recovery
            && author.kind != DeviceKind::Recovery
        {
            return Err(Rejection::NeedsRecovery);
        }
        let lost = self.audiences_of(user);
        self.expose(entry.hash(), &lost);
        self.reduce(entry.hash(), ReductionScope::Device(key), None, cut_offs);
        if let Some(device) = self.devices.get_mut(&key) {
            device.revoked = Some(entry.hash());
        }
        Ok(())
    }

    /// Nobody is shut out by it: only the logs that the device has now are cut off, and nobody waits for it.
    fn declare_stale(
        &mut self,
        entry: &ControlEntry,
        author: &Author,
        declared: &DeclareStale,
    ) -> Result<(), Rejection> {
        let key = declared.device;
        let user = self
            .devices
            .get(&key)
            .filter(|device| device.revoked.is_none() && device.stale.is_none())
            .ok_or(Rejection::UnknownDevice)?
            .user;
        self.may_administer(author, user)?;
        self.reduce(
            entry.hash(),
            ReductionScope::Stale(key),
            None,
            &declared.cut_offs,
        );
        if let Some(device) = self.devices.get_mut(&key) {
            device.stale = Some(entry.hash());
        }
        for writer in self.writers.values_mut() {
            if writer.device == key && writer.outdated.is_none() {
                writer.outdated = Some(entry.hash());
            }
        }
        Ok(())
    }

    fn remove_member(
        &mut self,
        entry: &ControlEntry,
        author: &Author,
        user: UserId,
        cut_offs: &[CutOff],
    ) -> Result<(), Rejection> {
        let member = self
            .member(user)
            .filter(|member| member.is_active())
            .ok_or(Rejection::UnknownMember)?;
        let role = member.rights.role;
        self.may_administer(author, user)?;
        if role == Role::Owner && self.active_owners() == 1 {
            return Err(Rejection::LastOwner);
        }
        let lost = self.audiences_of(user);
        self.expose(entry.hash(), &lost);
        self.reduce(entry.hash(), ReductionScope::User(user), None, cut_offs);
        if let Some(member) = self.members.get_mut(&user) {
            Arc::make_mut(member).removed = Some(entry.hash());
        }
        Ok(())
    }

    fn open_writer(
        &mut self,
        entry: &ControlEntry,
        device: DeviceKey,
        opened: &NewWriter,
        causality: &impl Causality,
    ) -> Result<(), Rejection> {
        if self.is_writer_taken(&opened.key) {
            return Err(Rejection::AlreadyThere);
        }
        // A device that has heard that nobody waits for it returns with its new writer.
        let outdated = self
            .reductions
            .iter()
            .filter(|reduction| reduction.scope == ReductionScope::Stale(device))
            .map(|reduction| reduction.entry)
            .find(|stale| !causality.saw(entry.hash(), *stale));
        let device = self.devices.get_mut(&device).ok_or(Rejection::NotAMember)?;
        if outdated.is_none() {
            device.stale = None;
        }
        let device = *device;
        self.introduce_writer(entry.hash(), &device, opened.key, outdated);
        Ok(())
    }

    fn close_writer(
        &mut self,
        entry: &ControlEntry,
        author: &Author,
        key: WriterKey,
        cut_offs: &[CutOff],
    ) -> Result<(), Rejection> {
        let writer = self
            .writers
            .get(&key)
            .filter(|writer| writer.closed.is_none());
        let user = writer.ok_or(Rejection::UnknownWriter)?.user;
        self.may_administer(author, user)?;
        self.reduce(entry.hash(), ReductionScope::Writer(key), None, cut_offs);
        if let Some(writer) = self.writers.get_mut(&key) {
            writer.closed = Some(entry.hash());
        }
        Ok(())
    }

    /// Whoever reads a compartment may start its first epoch, and a new one after someone was shut out of it; admins at
    /// any time.
    fn start_epoch(
        &mut self,
        entry: &ControlEntry,
        author: &Author,
        started: &StartEpoch,
        causality: &impl Causality,
    ) -> Result<(), Rejection> {
        let id = started.audience.compartment(self.context);
        let compartment = self
            .compartments
            .get(&id)
            .ok_or(Rejection::UnknownCompartment)?;
        let is_needed = compartment.epochs.is_empty() || !compartment.exposed_by.is_empty();
        if !self.may_read(author.user, id) || !(is_needed || author.rights.role >= Role::Admin) {
            return Err(Rejection::NoRight);
        }
        let hash = entry.hash();
        let is_rotation = !compartment.epochs.is_empty();
        if let Some(compartment) = self.compartments.get_mut(&id) {
            let compartment = Arc::make_mut(compartment);
            compartment
                .current
                .retain(|earlier| !causality.saw(hash, *earlier));
            compartment.current.push(hash);
            compartment.current.sort_unstable();
            compartment.epochs.push(hash);
            compartment
                .exposed_by
                .retain(|exposure| !causality.saw(hash, *exposure));
        }
        if is_rotation {
            // The packages of open invites lack the new key, and whoever was shut out may know their secrets.
            for invite in self.invites.values_mut() {
                Arc::make_mut(invite).voided.push(hash);
            }
        }
        let mut epoch = Epoch {
            hash,
            compartment: id,
            commitment: started.commitment,
            sealing: started.sealing,
            wraps: BTreeMap::new(),
        };
        for wrap in &started.wraps {
            epoch
                .wraps
                .entry(wrap.recipient)
                .or_default()
                .push(wrap.clone());
        }
        self.epochs.insert(hash, Arc::new(epoch));
        Ok(())
    }

    /// Wraps prove themselves against the commitment when they are opened; those for unknown epochs are left out.
    fn wrap_keys(&mut self, epochs: &[EpochWraps]) {
        for EpochWraps { epoch, wraps } in epochs {
            let Some(epoch) = self.epochs.get_mut(epoch) else {
                continue;
            };
            let epoch = Arc::make_mut(epoch);
            for wrap in wraps {
                let known = epoch.wraps.entry(wrap.recipient).or_default();
                if !known.contains(wrap) {
                    known.push(wrap.clone());
                }
            }
        }
    }

    fn add_member(
        &mut self,
        entry: &ControlEntry,
        user: UserId,
        rights: Rights,
        invite: Option<InviteKey>,
    ) {
        let member = Member {
            user,
            rights,
            since: entry.hash(),
            invite,
            removed: None,
        };
        self.members.insert(user, Arc::new(member));
        if self.division == Division::Divided {
            self.add_compartment(Audience::Person(user));
        }
    }

    /// Whether the writer is here, or one that entries would call by the same tag.
    fn is_writer_taken(&self, writer: &WriterKey) -> bool {
        let tag = WriterTag::of(writer);
        self.writers.contains_key(writer) || self.tags.contains_key(&tag)
    }

    fn introduce_device(&mut self, device: Device, writer: WriterKey, causality: &impl Causality) {
        self.devices.insert(device.key, device);
        self.begin_with_checkpoints(device.since, device.key, causality);
        self.introduce_writer(device.since, &device, writer, None);
    }

    fn introduce_writer(
        &mut self,
        since: ControlHash,
        device: &Device,
        key: WriterKey,
        outdated: Option<ControlHash>,
    ) {
        let writer = Writer {
            key,
            device: device.key,
            user: device.user,
            since,
            closed: None,
            outdated,
        };
        self.tags.insert(WriterTag::of(&key), key);
        self.writers.insert(key, writer);
    }

    fn add_compartment(&mut self, audience: Audience) {
        let id = audience.compartment(self.context);
        self.compartments.entry(id).or_insert_with(|| {
            Arc::new(Compartment {
                id,
                audience,
                epochs: Vec::new(),
                current: Vec::new(),
                exposed_by: Vec::new(),
            })
        });
    }

    /// The user's own affairs are the user's; others' are an admin's, and an owner's only an owner's.
    fn may_administer(&self, author: &Author, user: UserId) -> Result<(), Rejection> {
        let role = self
            .member(user)
            .map_or(Role::Owner, |member| member.rights.role);
        if author.user == user || author.rights.role.outranks(role) {
            Ok(())
        } else {
            Err(Rejection::NoRight)
        }
    }

    fn has_recovery(&self, user: UserId) -> bool {
        self.devices.values().any(|device| {
            device.user == user && device.kind == DeviceKind::Recovery && device.revoked.is_none()
        })
    }

    fn audiences_of(&self, user: UserId) -> Vec<Audience> {
        self.readable_by(user)
            .map(|compartment| compartment.audience)
            .collect()
    }

    fn expose(&mut self, by: ControlHash, audiences: &[Audience]) {
        for audience in audiences {
            if let Some(compartment) = self
                .compartments
                .get_mut(&audience.compartment(self.context))
            {
                Arc::make_mut(compartment).exposed_by.push(by);
            }
        }
    }

    fn reduce(
        &mut self,
        entry: ControlHash,
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
        self.reduced_by.insert(entry);
        self.reductions.push(Arc::new(Reduction {
            entry,
            scope,
            remaining,
            cut_offs: by_log,
        }));
    }
}

#[cfg(test)]
mod tests {
    use aeroedge_crdt::hlc::Hlc;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;
    use crate::context::{Founding, create};
    use crate::secrets::DeviceSecrets;

    #[test]
    fn a_writer_that_would_be_called_like_another_is_taken() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let founding = Founding {
            user: UserId([1; 16]),
            division: Division::Single,
            purpose: String::new(),
        };
        let secrets = DeviceSecrets::generate(&mut rng);
        let entered = create(&secrets, &founding, Hlc::at(Millis(1)), &mut rng);
        let mut roster = Roster::found(&entered.entries[0], BTreeSet::new()).unwrap();
        assert!(roster.is_writer_taken(&entered.writer.key()));
        let other = WriterKey([9; 32]);
        assert!(!roster.is_writer_taken(&other));
        // Nobody can make a collision for a test, so only the name is taken here.
        roster.tags.insert(WriterTag::of(&other), other);
        assert!(roster.is_writer_taken(&other));
    }
}

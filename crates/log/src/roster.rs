//! What a signed history means: members, devices, writers, invites, compartments and epochs at one point of it.
//!
//! A roster is a pure function of a set of control entries. They are read one after the other in one order, the same on
//! every device: parents first, and among entries whose parents are all read the one with the smaller (HLC, hash). An
//! act counts only if its author had the right to it at its place in that order; else it is ignored, with a
//! [`Rejection`] to show. Nothing is ever deleted from the history, so a later, stricter reading remains possible.
//!
//! Strong removal: what someone did who was shut out counts only as far as the one who did it knew of it, wherever its
//! parents or its clock put it. Strong void: a join by a withdrawn invite counts only as far as the withdrawal knew of it.
//! Who shuts out whom, where several do it at once, is settled before anything else: see [`crate::history`].

mod checkpoint;
mod contest;
mod plan;
mod reading;
mod shared;
mod standing;

pub use checkpoint::Checkpoint;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aeroedge_ids::{
    CompartmentId, ContextId, ControlHash, DeviceKey, InviteKey, Millis, SealingKey, Seq, UserId,
    WriterKey,
};

use crate::compartment::{Audience, Division};
use crate::control::{CutOff, DeviceKind, Rights, Role};
use crate::entry::WriterTag;
use crate::history::Chain;
use crate::keys::{Wrap, WrapScope, combined_epoch};
use shared::Shared;

pub(crate) use plan::{Bar, Plan, Restart};
pub(crate) use reading::Knowledge;

/// The state of a context at some heads of its history.
#[derive(Debug, Clone)]
pub struct Roster {
    context: ContextId,
    division: Division,
    purpose: String,
    members: Shared<BTreeMap<UserId, Arc<Member>>>,
    devices: Shared<BTreeMap<DeviceKey, Device>>,
    writers: Shared<BTreeMap<WriterKey, Writer>>,
    /// What entries call the writers. No two are called alike.
    tags: Shared<BTreeMap<WriterTag, WriterKey>>,
    /// Writers that only ignored acts introduce, by what entries call them.
    turned_away: Shared<BTreeMap<WriterTag, BTreeSet<WriterKey>>>,
    /// Several offers may be made under one key: anyone who knows it can copy it.
    invites: Shared<BTreeMap<(InviteKey, ControlHash), Arc<Invite>>>,
    compartments: Shared<BTreeMap<CompartmentId, Arc<Compartment>>>,
    epochs: Shared<BTreeMap<ControlHash, Arc<Epoch>>>,
    checkpoints: Shared<checkpoint::Checkpoints>,
    reductions: Vec<Arc<Reduction>>,
    /// The entries of the reductions.
    reduced_by: Shared<BTreeSet<ControlHash>>,
    /// Joins that the invite did not let stand, the first of each device as each user.
    withdrawn: Shared<BTreeMap<(UserId, DeviceKey), Withdrawn>>,
    rejected: Shared<BTreeMap<ControlHash, Rejection>>,
    /// While contested acts are being settled: what is known of them.
    plan: Option<Arc<Plan>>,
}

/// A join that does not stand and may yet be confirmed.
#[derive(Debug, Clone)]
struct Withdrawn {
    join: ControlHash,
    rights: Rights,
}

/// A user in a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// Role and permissions; of a removed member the last ones.
    pub rights: Rights,
    /// The entry that made the user a member.
    pub since: ControlHash,
    /// The invite used; none for the founder.
    pub invite: Option<InviteKey>,
    /// The entry that shut the member out.
    pub removed: Option<ControlHash>,
    /// The offer by which the member joined.
    offer: Option<(InviteKey, ControlHash)>,
    /// How many members came before.
    place: usize,
    /// All that gave and took rights, in the order of the reading.
    record: Vec<standing::Change>,
}

impl Member {
    /// Whether the member belongs to the context now.
    pub fn is_active(&self) -> bool {
        self.removed.is_none()
    }
}

/// An installation of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Its public name.
    pub key: DeviceKey,
    /// Whose it is.
    pub user: UserId,
    /// The key to seal to.
    pub sealing: SealingKey,
    /// The entry that introduced it.
    pub since: ControlHash,
    /// What it is for.
    pub kind: DeviceKind,
    /// The entry that shut it out.
    pub revoked: Option<ControlHash>,
    /// The entry that stopped waiting for it, as long as it has not returned.
    pub stale: Option<ControlHash>,
}

impl Device {
    fn new(
        key: DeviceKey,
        user: UserId,
        sealing: SealingKey,
        since: ControlHash,
        kind: DeviceKind,
    ) -> Self {
        Self {
            key,
            user,
            sealing,
            since,
            kind,
            revoked: None,
            stale: None,
        }
    }
}

/// An author of logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writer {
    /// The key that signs its heads.
    pub key: WriterKey,
    /// The device it belongs to.
    pub device: DeviceKey,
    /// The user behind it.
    pub user: UserId,
    /// The entry that introduced it.
    pub since: ControlHash,
    /// The entry that closed it.
    pub closed: Option<ControlHash>,
    /// The entry that stopped waiting for its device, and that whoever opened the writer did not know.
    pub outdated: Option<ControlHash>,
}

impl Writer {
    /// The entry that ended it: by closing it, or by stopping to wait for its device.
    pub fn ended(&self) -> Option<ControlHash> {
        self.closed.or(self.outdated)
    }
}

/// An offer of membership and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// Its name, the public half of the key in the link.
    pub key: InviteKey,
    /// Who made it.
    pub by: UserId,
    /// As what.
    by_role: Role,
    /// What a new member gets.
    pub rights: Rights,
    /// When it ends; zero for never.
    pub expires: Millis,
    /// How many may join.
    pub uses: u32,
    /// The key that joins are signed under: whoever joins had link and secret.
    pub consent: [u8; 32],
    /// The entry that made it; it holds the package.
    pub entry: ControlHash,
    /// The entries that withdrew it: by name, or by starting an epoch whose key the package lacks.
    pub voided: Vec<ControlHash>,
    /// Those of them by someone who may withdraw it: no join stands that these did not know.
    withdrawn: Vec<ControlHash>,
    /// The joins that stand.
    pub joins: Vec<ControlHash>,
}

impl Invite {
    /// Which of several offers under one key goes first: whoever copies a key has no more standing by it.
    pub(crate) fn precedence(&self) -> impl Ord + use<> {
        let most_first = std::cmp::Reverse((self.by_role, self.joins.len()));
        (most_first, self.entry)
    }

    /// Whether someone who knows everything this roster knows may still join with it.
    pub fn is_open(&self, now: Millis) -> bool {
        self.voided.is_empty()
            && (self.joins.len() as u64) < u64::from(self.uses)
            && (self.expires == Millis(0) || now <= self.expires)
    }
}

/// A part of the context that one audience may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compartment {
    /// Its name.
    pub id: CompartmentId,
    /// Who reads it.
    pub audience: Audience,
    /// Every epoch ever started, in the order of the reading.
    pub epochs: Vec<ControlHash>,
    /// The epochs that no other epoch follows, ascending; more than one after concurrent rotations.
    pub current: Vec<ControlHash>,
    /// Entries that shut someone out of it and that no epoch has followed yet.
    pub exposed_by: Vec<ControlHash>,
    /// Every entry that ever shut someone out of it.
    exposures: Vec<ControlHash>,
}

impl Compartment {
    /// The epoch in which to write: the current one, or the name of the combination of several.
    pub fn current_epoch(&self) -> Option<ControlHash> {
        match self.current.as_slice() {
            [] => None,
            [epoch] => Some(*epoch),
            parts => Some(combined_epoch(parts)),
        }
    }

    /// The epochs whose keys together make the key of `epoch`, if an entry written with this knowledge may use it.
    pub fn parts_of(&self, epoch: ControlHash) -> Option<Vec<ControlHash>> {
        if self.current.contains(&epoch) {
            Some(vec![epoch])
        } else {
            (self.current_epoch() == Some(epoch)).then(|| self.current.clone())
        }
    }
}

/// A generation of a compartment's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// The entry that starts it.
    pub hash: ControlHash,
    /// Whose key it is.
    pub compartment: CompartmentId,
    /// What the key must match.
    pub commitment: [u8; 32],
    /// The key to seal to for all holders of the epoch.
    pub sealing: SealingKey,
    /// The key sealed to recipients. There can be several for one; only the one that matches the commitment counts.
    pub wraps: BTreeMap<SealingKey, Vec<Wrap>>,
}

impl Epoch {
    /// What goes into the seal of its wraps.
    pub fn scope(&self, context: ContextId) -> WrapScope {
        WrapScope {
            context,
            compartment: self.compartment,
            commitment: self.commitment,
        }
    }
}

/// Rights taken away, and from where on in each log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduction {
    /// The entry that did it.
    pub entry: ControlHash,
    /// Whose act it is.
    pub by: UserId,
    /// As what.
    by_role: Role,
    /// Whose logs it concerns.
    pub scope: ReductionScope,
    /// What remains past the cut-offs; nothing if none.
    pub remaining: Option<Rights>,
    /// How far each log still counts with the rights of before. A log not listed does not count at all.
    /// Several for one log name several branches of it.
    pub cut_offs: BTreeMap<(WriterKey, CompartmentId), Vec<CutOff>>,
}

/// Whose logs a reduction concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReductionScope {
    /// All of a user's.
    User(UserId),
    /// All of a device's.
    Device(DeviceKey),
    /// One writer's.
    Writer(WriterKey),
    /// Those that a device had when it was declared stale.
    Stale(DeviceKey),
}

impl Reduction {
    /// Whether it concerns the logs of `writer`.
    pub fn concerns(&self, writer: &Writer) -> bool {
        match self.scope {
            ReductionScope::User(user) => user == writer.user,
            ReductionScope::Device(device) => device == writer.device,
            ReductionScope::Writer(key) => key == writer.key,
            ReductionScope::Stale(device) => {
                device == writer.device && writer.outdated == Some(self.entry)
            }
        }
    }

    /// Whether it takes effect on what the device does in the control history.
    pub(crate) fn bars(&self, device: &Device) -> bool {
        match self.scope {
            ReductionScope::User(user) => user == device.user,
            ReductionScope::Device(key) => key == device.key,
            ReductionScope::Writer(_) | ReductionScope::Stale(_) => false,
        }
    }

    /// Whether it is a user's closing of one of their own writers.
    pub(crate) fn is_own_closing(&self, writer: &Writer) -> bool {
        matches!(self.scope, ReductionScope::Writer(_)) && self.by == writer.user
    }

    /// Whether the entry `seq` of a log, which is `chain` as far as it is known, lies at or before a cut-off that its log
    /// leads to.
    pub fn spares(
        &self,
        writer: WriterKey,
        compartment: CompartmentId,
        seq: Seq,
        chain: &dyn Chain,
    ) -> bool {
        self.cut_offs
            .get(&(writer, compartment))
            .into_iter()
            .flatten()
            .any(|cut_off| {
                seq <= cut_off.seq && chain.contains(cut_off.seq, cut_off.hash) != Some(false)
            })
    }
}

/// Why an act is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The author's device belongs to no member, or no longer.
    #[error("its author is not an active member")]
    NotAMember,
    /// Someone who did not know of it had shut its author out, or taken the rights that it needs.
    #[error("its author was shut out by someone who did not know of it")]
    ShutOut,
    /// It contradicts an act of someone who goes before its author.
    #[error("it contradicts an act of someone senior, made at the same time")]
    Outranked,
    /// The author's role is too small.
    #[error("its author has no right to it")]
    NoRight,
    /// It would give rights that its author does not have to give.
    #[error("its author cannot grant these rights")]
    GrantsTooMuch,
    /// No such user in the context.
    #[error("it names an unknown member")]
    UnknownMember,
    /// No such device, or already shut out.
    #[error("it names an unknown or revoked device")]
    UnknownDevice,
    /// No such writer, or already closed.
    #[error("it names an unknown or closed writer")]
    UnknownWriter,
    /// No such invite.
    #[error("it names an unknown invite")]
    UnknownInvite,
    /// The joiner had the link and not the secret.
    #[error("its author did not have the secret of the invite")]
    NoSecret,
    /// The invite was withdrawn by someone who did not know of the join, or whose withdrawal the joiner had seen.
    #[error("the invite was withdrawn before the join was known: ask for a new link")]
    InviteVoid,
    /// The join is stamped after the end of the invite.
    #[error("the invite had expired")]
    InviteExpired,
    /// More joined than the invite allows, and others were first or have the lower hash.
    #[error("the invite was used up by others")]
    Surplus,
    /// The user, device, writer or invite is in the context already.
    #[error("what it introduces is there already")]
    AlreadyThere,
    /// Only a recovery device of the user may do it.
    #[error("only the recovery sheet may do that: a device in use is outranked by it")]
    NeedsRecovery,
    /// The context would be left without an owner.
    #[error("it would leave the context without an owner")]
    LastOwner,
    /// The context has no such compartment.
    #[error("it names a compartment that the context does not have")]
    UnknownCompartment,
    /// A first entry that is not the first.
    #[error("a context is founded only once")]
    SecondGenesis,
    /// A newer program wrote it.
    #[error("this version does not know what it does: update this program")]
    UnknownAction,
}

impl Roster {
    /// The context.
    pub fn context(&self) -> ContextId {
        self.context
    }

    /// Into which compartments the context is divided.
    pub fn division(&self) -> Division {
        self.division
    }

    /// The application's word for what the context is for.
    pub fn purpose(&self) -> &str {
        &self.purpose
    }

    /// Everyone who is or was a member.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values().map(Arc::as_ref)
    }

    /// One member, also a removed one.
    pub fn member(&self, user: UserId) -> Option<&Member> {
        self.members.get(&user).map(Arc::as_ref)
    }

    /// All devices, also revoked ones.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    /// One device, also a revoked one.
    pub fn device(&self, key: DeviceKey) -> Option<&Device> {
        self.devices.get(&key)
    }

    /// The device and its member, if both belong to the context now.
    pub fn active_device(&self, key: DeviceKey) -> Option<(&Device, &Member)> {
        let device = self
            .devices
            .get(&key)
            .filter(|device| device.revoked.is_none())?;
        let member = self
            .member(device.user)
            .filter(|member| member.is_active())?;
        Some((device, member))
    }

    /// All writers, also closed ones.
    pub fn writers(&self) -> impl Iterator<Item = &Writer> {
        self.writers.values()
    }

    /// One writer, also a closed one.
    pub fn writer(&self, key: WriterKey) -> Option<&Writer> {
        self.writers.get(&key)
    }

    /// The writers that entries call so: the one in the context, also a closed one, or else those that only ignored acts
    /// introduce. A `seen` line of an entry may be about either.
    pub fn writers_called(&self, tag: WriterTag) -> impl Iterator<Item = WriterKey> {
        let known = self.tags.get(&tag).copied();
        let turned_away = self.turned_away.get(&tag).into_iter().flatten().copied();
        known
            .into_iter()
            .chain(turned_away.filter(move |_| known.is_none()))
    }

    /// Whether acts introduce this writer and all of them are ignored.
    pub fn is_turned_away(&self, writer: WriterKey) -> bool {
        !self.writers.contains_key(&writer)
            && self
                .turned_away
                .get(&WriterTag::of(&writer))
                .is_some_and(|writers| writers.contains(&writer))
    }

    /// The writers of one device, also closed ones.
    pub fn writers_of(&self, device: DeviceKey) -> impl Iterator<Item = &Writer> {
        self.writers
            .values()
            .filter(move |writer| writer.device == device)
    }

    /// All invites, also void and used ones.
    pub fn invites(&self) -> impl Iterator<Item = &Invite> {
        self.invites.values().map(Arc::as_ref)
    }

    /// One invite; if several were offered under its key, the one that goes first.
    pub fn invite(&self, key: InviteKey) -> Option<&Invite> {
        self.invites_called(key)
            .min_by_key(|invite| invite.precedence())
    }

    /// All invites under one key. Whoever knows a key can offer it again; only the true one opens with the secret.
    pub fn invites_called(&self, key: InviteKey) -> impl Iterator<Item = &Invite> {
        let first = (key, ControlHash([0; 32]));
        let last = (key, ControlHash([0xff; 32]));
        self.invites
            .range(first..=last)
            .map(|(_, invite)| &**invite)
    }

    /// All compartments.
    pub fn compartments(&self) -> impl Iterator<Item = &Compartment> {
        self.compartments.values().map(Arc::as_ref)
    }

    /// One compartment.
    pub fn compartment(&self, id: CompartmentId) -> Option<&Compartment> {
        self.compartments.get(&id).map(Arc::as_ref)
    }

    /// The compartment of an audience, if the context has it.
    pub fn compartment_of(&self, audience: Audience) -> Option<&Compartment> {
        self.compartment(audience.compartment(self.context))
    }

    /// All epochs of all compartments.
    pub fn epochs(&self) -> impl Iterator<Item = &Epoch> {
        self.epochs.values().map(Arc::as_ref)
    }

    /// The epoch that a control entry started. A combination of concurrent epochs has no entry of its own.
    pub fn epoch(&self, hash: ControlHash) -> Option<&Epoch> {
        self.epochs.get(&hash).map(Arc::as_ref)
    }

    /// The epoch in which to write to a compartment now.
    pub fn current_epoch(&self, compartment: CompartmentId) -> Option<ControlHash> {
        self.compartment(compartment)?.current_epoch()
    }

    /// Everything that took rights away, in the order of the reading.
    pub fn reductions(&self) -> impl Iterator<Item = &Reduction> {
        self.reductions.iter().map(Arc::as_ref)
    }

    /// Whether an entry took rights away.
    pub(crate) fn has_reduction(&self, entry: ControlHash) -> bool {
        self.reduced_by.contains(&entry)
    }

    /// Whether a reduction still keeps this writer, which it concerns, from writing to a compartment.
    pub(crate) fn keeps_from_writing(
        &self,
        reduction: &Reduction,
        writer: &Writer,
        compartment: CompartmentId,
        knowledge: &impl Knowledge,
    ) -> bool {
        let Some(member) = self.member(writer.user) else {
            return true;
        };
        // Whoever gave rights knowing of it has lifted it.
        let is_lifted = || {
            member.given(|_| true).is_none_or(|given| {
                given.entry != reduction.entry && knowledge.saw(given.entry, reduction.entry)
            })
        };
        let may_write = |rights: &Rights| {
            rights.role > Role::ReadOnly
                && self
                    .compartment(compartment)
                    .is_some_and(|compartment| compartment.audience.includes(member.user, rights))
        };
        match (reduction.scope, &reduction.remaining) {
            (ReductionScope::User(_), None) => !is_lifted(),
            (ReductionScope::User(_), Some(left)) => !is_lifted() && !may_write(left),
            (ReductionScope::Stale(_), _) => writer.outdated == Some(reduction.entry),
            (ReductionScope::Device(_) | ReductionScope::Writer(_), _) => true,
        }
    }

    /// The acts that are ignored, and why.
    pub fn rejected(&self) -> &BTreeMap<ControlHash, Rejection> {
        &self.rejected
    }

    /// Whether a user may read a compartment.
    pub fn may_read(&self, user: UserId, compartment: CompartmentId) -> bool {
        match (self.member(user), self.compartment(compartment)) {
            (Some(member), Some(compartment)) => {
                member.is_active() && compartment.audience.includes(member.user, &member.rights)
            }
            _ => false,
        }
    }

    /// The compartments a user may read.
    pub fn readable_by(&self, user: UserId) -> impl Iterator<Item = &Compartment> {
        let member = self.member(user).filter(|member| member.is_active());
        self.compartments().filter(move |compartment| {
            member.is_some_and(|member| compartment.audience.includes(member.user, &member.rights))
        })
    }

    /// The devices that must hold the keys of a compartment.
    pub fn audience(&self, compartment: CompartmentId) -> Vec<&Device> {
        let Some(compartment) = self.compartment(compartment) else {
            return Vec::new();
        };
        self.devices
            .values()
            .filter(|device| device.revoked.is_none())
            .filter(|device| {
                self.member(device.user).is_some_and(|member| {
                    member.is_active() && compartment.audience.includes(member.user, &member.rights)
                })
            })
            .collect()
    }

    fn active_owners(&self) -> usize {
        self.members()
            .filter(|member| member.is_active() && member.rights.role == Role::Owner)
            .count()
    }
}

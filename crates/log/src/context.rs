//! Making the acts: founding a context, inviting, joining, and keeping keys where they belong.
//!
//! Each function returns signed entries in the order in which they must be inserted and stored, all of them or none.
//! The HLC given to one that makes several is that of the first; the others follow it.

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{ContextId, ControlHash, DeviceKey, Millis, UserId};
use rand::CryptoRng;

use crate::compartment::{Audience, Division};
use crate::control::{
    Action, AddDevice, ControlEntry, DeviceKind, EpochWraps, Genesis, InviteOffer, Join, NewWriter,
    Rights, StartEpoch,
};
use crate::history::History;
use crate::invite::{
    Consent, InviteSeed, PackageError, PackagedKey, Secret, Stretch, open_package, seal_package,
};
use crate::keyring::{KeyRing, recipients, wrap_to};
use crate::keys::{EpochKey, Wrap, WrapScope, WriterSecret};
use crate::roster::{Invite, Roster};
use crate::secrets::DeviceSecrets;

/// How many offers under one key a joiner tries: each try stretches the secret.
const OFFERS_TRIED_MAX: usize = 4;

/// What a context is when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    /// The first user, who becomes owner.
    pub user: UserId,
    /// The compartments it is divided into, for good.
    pub division: Division,
    /// The application's word for what it is for, at most 32 bytes. It stands in clear: no names.
    pub purpose: String,
}

/// A new context, or a membership in one: what to store.
#[derive(Debug, Clone)]
pub struct Entered {
    /// The context.
    pub context: ContextId,
    /// The entries, to be inserted in this order.
    pub entries: Vec<ControlEntry>,
    /// The device's writer there: [`DeviceSecrets::add_writer`] it before anything else is stored.
    pub writer: WriterSecret,
}

/// Founds a context: the first entry, and the first epoch of everyone, of staff and of the founder as far as the
/// division has them.
pub fn create(
    secrets: &DeviceSecrets,
    founding: &Founding,
    hlc: Hlc,
    rng: &mut impl CryptoRng,
) -> Entered {
    let writer = writer_in_use(secrets, rng);
    let mut nonce = [0; 16];
    rng.fill_bytes(&mut nonce);
    let genesis = Genesis {
        nonce,
        division: founding.division,
        purpose: founding.purpose.clone(),
        user: founding.user,
        sealing: secrets.sealing_key(),
        writer: new_writer(secrets, &writer),
    };
    let genesis = ControlEntry::sign(
        secrets,
        ContextId([0; 16]),
        Vec::new(),
        hlc,
        Action::Genesis(genesis),
    );
    let context = genesis.context();
    let mut chain = Chain {
        secrets,
        context,
        parents: vec![genesis.hash()],
        hlc,
        entries: vec![genesis],
    };
    let own = secrets.sealing_key();
    chain.start_epoch(Audience::Everyone, &[own], rng);
    if founding.division == Division::Divided {
        let staff = chain.start_epoch(Audience::Staff, &[own], rng);
        chain.start_epoch(
            Audience::Person(founding.user),
            &[own, staff.sealing().key()],
            rng,
        );
    }
    Entered {
        context,
        entries: chain.entries,
        writer,
    }
}

/// What an invite offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteTerms {
    /// What a new member gets.
    pub rights: Rights,
    /// When it ends; [`Millis`] zero for never.
    pub expires: Millis,
    /// How many may join, at least 1.
    pub uses: u32,
}

/// An invite cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// The context is not here.
    #[error("invite into a context whose history is not here yet: wait for sync")]
    NoHistory,
    /// A key that the package needs has not arrived.
    #[error(
        "invite: this device does not hold the keys of the context yet, wait for sync or invite from another device"
    )]
    MissingKey,
    /// The author may not make this invite.
    #[error("invite: your role does not allow you to invite with these rights")]
    NoRight,
    /// The package could not be sealed.
    #[error("seal the invite")]
    Package(#[source] PackageError),
}

/// Offers membership. The link needs the seed, the joiner needs link and secret.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a different thing, and all are needed"
)]
pub fn invite(
    history: &History,
    ring: &KeyRing,
    secrets: &DeviceSecrets,
    terms: &InviteTerms,
    secret: &Secret,
    stretch: Stretch,
    hlc: Hlc,
    rng: &mut impl CryptoRng,
) -> Result<(ControlEntry, InviteSeed), InviteError> {
    let roster = history.roster().ok_or(InviteError::NoHistory)?;
    let seed = InviteSeed::generate(rng);
    let mut keys = Vec::new();
    for compartment in roster
        .compartments()
        .filter(|compartment| match compartment.audience {
            Audience::Everyone => true,
            Audience::Staff => terms.rights.is_staff(),
            // Staff reach these through the staff epochs.
            Audience::Person(_) => false,
        })
    {
        for epoch in &compartment.epochs {
            let key = ring.key(*epoch).ok_or(InviteError::MissingKey)?.clone();
            keys.push(PackagedKey { epoch: *epoch, key });
        }
    }
    keys.sort_by_key(|packaged| packaged.epoch);
    let (package, consent) = seal_package(history.context(), &seed, secret, stretch, &keys)
        .map_err(InviteError::Package)?;
    let offer = InviteOffer {
        key: seed.key(),
        rights: terms.rights.clone(),
        expires: terms.expires,
        uses: terms.uses,
        consent: consent.public(),
        package,
    };
    let entry = act(history, secrets, hlc, Action::Invite(offer));
    if history.would_reject(&entry).is_some() {
        return Err(InviteError::NoRight);
    }
    Ok((entry, seed))
}

/// One cannot join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The context's history has not arrived.
    #[error(
        "join: the history of the context has not arrived, stay connected to a device that has it"
    )]
    NoHistory,
    /// The history does not contain the invite.
    #[error("join: the context does not know this invite, ask for a new link")]
    UnknownInvite,
    /// Withdrawn, or overtaken by a new key.
    #[error("join: the invite was withdrawn, ask for a new one")]
    Void,
    /// Its time is over.
    #[error("join: the invite has expired, ask for a new one")]
    Expired,
    /// As many joined as may.
    #[error("join: the invite has been used up, ask for a new one")]
    UsedUp,
    /// The user or device is a member already.
    #[error("join: you are a member of this context already")]
    AlreadyMember,
    /// The user was removed, and this is none of the devices the user had then.
    #[error(
        "join: you were a member before, join with a device you had then or ask an admin to take you back in"
    )]
    OtherDevice,
    /// The secret does not open the invite, or what it opens makes no sense.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The invite holds a key that the history does not commit to.
    #[error("join: the keys in the invite do not belong to the context, ask for a new one")]
    ForeignKeys,
}

/// Joins with link and secret. The wrong secret leaves nothing behind.
///
/// Makes the join itself, with the keys from the package sealed to this device, and the first epoch of the new
/// person's compartment if the context has such.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a different thing, and all are needed"
)]
pub fn join(
    history: &History,
    secrets: &DeviceSecrets,
    seed: &InviteSeed,
    secret: &Secret,
    stretch: Stretch,
    user: UserId,
    hlc: Hlc,
    rng: &mut impl CryptoRng,
) -> Result<Entered, JoinError> {
    let context = history.context();
    let roster = history.roster().ok_or(JoinError::NoHistory)?;
    may_enter(&roster, secrets.device(), user)?;
    let (keys, consent) = open_offer(history, &roster, seed, secret, stretch, hlc)?;
    let wraps = wrap_package(&roster, &keys, secrets, rng)?;
    let writer = writer_in_use(secrets, rng);
    let message = Join::message(
        context,
        seed.key(),
        user,
        secrets.device(),
        secrets.sealing_key(),
        writer.key(),
    );
    let join = Join {
        invite: seed.key(),
        user,
        sealing: secrets.sealing_key(),
        writer: new_writer(secrets, &writer),
        invite_proof: consent.sign(&message),
        wraps,
    };
    let joined = act(history, secrets, hlc, Action::Join(join));
    let mut chain = Chain {
        secrets,
        context,
        parents: vec![joined.hash()],
        hlc,
        entries: vec![joined],
    };
    let has_key = roster
        .compartment_of(Audience::Person(user))
        .is_some_and(|compartment| !compartment.epochs.is_empty());
    if roster.division() == Division::Divided && !has_key {
        chain.start_own_epoch(&roster, user, rng);
    }
    Ok(Entered {
        context,
        entries: chain.entries,
        writer,
    })
}

/// Who was removed comes back under the same name with a device of before.
fn may_enter(roster: &Roster, device: DeviceKey, user: UserId) -> Result<(), JoinError> {
    let known = roster.device(device);
    match roster.member(user) {
        Some(member) if member.is_active() => Err(JoinError::AlreadyMember),
        Some(_) if known.is_none_or(|known| known.user != user || known.revoked.is_some()) => {
            Err(JoinError::OtherDevice)
        }
        None if known.is_some() => Err(JoinError::AlreadyMember),
        _ => Ok(()),
    }
}

/// Opens the package of the invite. Someone may have offered it again under its key; the true offer opens.
fn open_offer(
    history: &History,
    roster: &Roster,
    seed: &InviteSeed,
    secret: &Secret,
    stretch: Stretch,
    hlc: Hlc,
) -> Result<(Vec<PackagedKey>, Consent), JoinError> {
    let mut offers: Vec<_> = roster.invites_called(seed.key()).collect();
    offers.sort_by_key(|invite| invite.precedence());
    let mut first_error = None;
    for invite in offers.into_iter().take(OFFERS_TRIED_MAX) {
        let opened = open_one(history, invite, seed, secret, stretch, hlc);
        match opened {
            Ok(opened) => return Ok(opened),
            Err(error) => _ = first_error.get_or_insert(error),
        }
    }
    Err(first_error.unwrap_or(JoinError::UnknownInvite))
}

fn open_one(
    history: &History,
    invite: &Invite,
    seed: &InviteSeed,
    secret: &Secret,
    stretch: Stretch,
    hlc: Hlc,
) -> Result<(Vec<PackagedKey>, Consent), JoinError> {
    let package = match history.get(invite.entry).map(ControlEntry::action) {
        Some(Action::Invite(offer)) => &offer.package,
        _ => return Err(JoinError::UnknownInvite),
    };
    if !invite.voided.is_empty() {
        return Err(JoinError::Void);
    }
    if invite.expires != Millis(0) && hlc.time() > invite.expires {
        return Err(JoinError::Expired);
    }
    if invite.joins.len() as u64 >= u64::from(invite.uses) {
        return Err(JoinError::UsedUp);
    }
    Ok(open_package(
        history.context(),
        seed,
        secret,
        stretch,
        package,
    )?)
}

/// Seals each key from the package to the joiner itself, so that the key ring finds it in the history from now on.
fn wrap_package(
    roster: &Roster,
    keys: &[PackagedKey],
    secrets: &DeviceSecrets,
    rng: &mut impl CryptoRng,
) -> Result<Vec<EpochWraps>, JoinError> {
    let mut wraps = Vec::new();
    for PackagedKey { epoch, key } in keys {
        let started = roster.epoch(*epoch).ok_or(JoinError::ForeignKeys)?;
        if started.commitment != key.commitment() {
            return Err(JoinError::ForeignKeys);
        }
        let own = wrap_to(
            key,
            roster,
            started.compartment,
            &[secrets.sealing_key()],
            rng,
        );
        wraps.push(EpochWraps {
            epoch: *epoch,
            wraps: own,
        });
    }
    Ok(wraps)
}

/// A device writes under one name in all its contexts, because a transaction that spans them has one stamp.
fn writer_in_use(secrets: &DeviceSecrets, rng: &mut impl CryptoRng) -> WriterSecret {
    secrets
        .writer_in_use()
        .cloned()
        .unwrap_or_else(|| WriterSecret::generate(rng))
}

/// Any act of this device at the heads of the history as it is here. See [`History::would_reject`] for whether it
/// would count.
pub fn act(history: &History, secrets: &DeviceSecrets, hlc: Hlc, action: Action) -> ControlEntry {
    ControlEntry::sign(
        secrets,
        history.context(),
        history.heads_to_follow(),
        hlc,
        action,
    )
}

/// A further writer for this device, for after a fork or a clock repair.
pub fn open_writer(
    history: &History,
    secrets: &DeviceSecrets,
    hlc: Hlc,
    rng: &mut impl CryptoRng,
) -> (ControlEntry, WriterSecret) {
    let writer = WriterSecret::generate(rng);
    let entry = act(
        history,
        secrets,
        hlc,
        Action::OpenWriter(new_writer(secrets, &writer)),
    );
    (entry, writer)
}

/// The most keys sealed to others in one control entry: such an entry stays far below the bound on its size.
pub const WRAPS_MAX: usize = 500;

/// Starts a new epoch for a compartment and seals its key to this device and to the first [`WRAPS_MAX`] who may have it;
/// the others are owed it: see [`wrap_owed`]. `None` if the context has no such compartment.
pub fn start_epoch(
    history: &History,
    secrets: &DeviceSecrets,
    audience: Audience,
    hlc: Hlc,
    rng: &mut impl CryptoRng,
) -> Option<ControlEntry> {
    let roster = history.roster()?;
    let compartment = roster.compartment_of(audience)?;
    let key = EpochKey::generate(rng);
    let mut recipients = recipients(&roster, compartment, |_| false);
    let own = secrets.sealing_key();
    if let Some(place) = recipients.iter().position(|recipient| *recipient == own)
        && place >= WRAPS_MAX
    {
        recipients.swap(0, place);
    }
    recipients.truncate(WRAPS_MAX);
    recipients.sort_unstable();
    let wraps = wrap_to(&key, &roster, compartment.id, &recipients, rng);
    Some(act(
        history,
        secrets,
        hlc,
        Action::StartEpoch(started(audience, &key, wraps)),
    ))
}

/// Seals keys to those who should have them and lack them, at most `limit` wraps in one entry; `None` if nobody lacks
/// any that this ring holds.
pub fn wrap_owed(
    history: &History,
    ring: &KeyRing,
    secrets: &DeviceSecrets,
    limit: usize,
    hlc: Hlc,
    rng: &mut impl CryptoRng,
) -> Option<ControlEntry> {
    let owed = ring.owed_wraps(&*history.roster()?, limit, rng);
    (!owed.is_empty()).then(|| act(history, secrets, hlc, Action::WrapKeys(owed)))
}

/// What a new device gives to the one that adds it: its public keys and its consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceOffer {
    /// Everything but the keys sealed to it.
    pub added: AddDevice,
}

/// Made on the new device, with a writer that it must keep.
pub fn offer_device(
    secrets: &DeviceSecrets,
    context: ContextId,
    user: UserId,
    rng: &mut impl CryptoRng,
) -> (DeviceOffer, WriterSecret) {
    offer(secrets, context, user, DeviceKind::Everyday, rng)
}

/// As [`offer_device`], for keys that go on a recovery sheet and not into a device.
pub fn offer_recovery_device(
    secrets: &DeviceSecrets,
    context: ContextId,
    user: UserId,
    rng: &mut impl CryptoRng,
) -> (DeviceOffer, WriterSecret) {
    offer(secrets, context, user, DeviceKind::Recovery, rng)
}

fn offer(
    secrets: &DeviceSecrets,
    context: ContextId,
    user: UserId,
    kind: DeviceKind,
    rng: &mut impl CryptoRng,
) -> (DeviceOffer, WriterSecret) {
    let writer = writer_in_use(secrets, rng);
    let (device, sealing) = (secrets.device(), secrets.sealing_key());
    let message = AddDevice::message(context, user, device, sealing, writer.key(), kind);
    let added = AddDevice {
        user,
        device,
        sealing,
        writer: new_writer(secrets, &writer),
        kind,
        device_proof: secrets.sign(&message),
        wraps: Vec::new(),
    };
    (DeviceOffer { added }, writer)
}

/// Made on a device of the same user: takes the new one in and seals to it every key that the ring holds and the user
/// may have. `None` while the history is not here.
pub fn add_device(
    history: &History,
    ring: &KeyRing,
    secrets: &DeviceSecrets,
    offer: DeviceOffer,
    hlc: Hlc,
    rng: &mut impl CryptoRng,
) -> Option<ControlEntry> {
    let roster = history.roster()?;
    let mut added = offer.added;
    added.wraps = roster
        .epochs()
        .filter(|epoch| {
            let is_own = roster
                .compartment(epoch.compartment)
                .is_some_and(|compartment| match compartment.audience {
                    Audience::Person(person) => person == added.user,
                    Audience::Everyone | Audience::Staff => true,
                });
            is_own && roster.may_read(added.user, epoch.compartment)
        })
        .filter_map(|epoch| {
            let wraps = wrap_to(
                ring.key(epoch.hash)?,
                &roster,
                epoch.compartment,
                &[added.sealing],
                rng,
            );
            Some(EpochWraps {
                epoch: epoch.hash,
                wraps,
            })
        })
        .collect();
    Some(act(history, secrets, hlc, Action::AddDevice(added)))
}

/// Entries of one author, each following the one before.
struct Chain<'a> {
    secrets: &'a DeviceSecrets,
    context: ContextId,
    parents: Vec<ControlHash>,
    hlc: Hlc,
    entries: Vec<ControlEntry>,
}

impl Chain<'_> {
    fn add(&mut self, action: Action) {
        self.hlc = self.hlc.tick(Millis(0));
        let entry = ControlEntry::sign(
            self.secrets,
            self.context,
            self.parents.clone(),
            self.hlc,
            action,
        );
        self.parents = vec![entry.hash()];
        self.entries.push(entry);
    }

    /// Starts a first epoch, sealed to `recipients`.
    fn start_epoch(
        &mut self,
        audience: Audience,
        recipients: &[aeroedge_ids::SealingKey],
        rng: &mut impl CryptoRng,
    ) -> EpochKey {
        let key = EpochKey::generate(rng);
        let compartment = audience.compartment(self.context);
        let scope = WrapScope {
            context: self.context,
            compartment,
            commitment: key.commitment(),
        };
        let mut recipients = recipients.to_vec();
        recipients.sort_unstable();
        recipients.dedup();
        let wraps = recipients
            .iter()
            .filter_map(|recipient| Wrap::seal(&key, *recipient, &scope, rng).ok())
            .collect();
        self.add(Action::StartEpoch(started(audience, &key, wraps)));
        key
    }

    /// Starts the first epoch of a new person's compartment: for the own device and for staff.
    fn start_own_epoch(&mut self, roster: &Roster, user: UserId, rng: &mut impl CryptoRng) {
        let mut to = vec![self.secrets.sealing_key()];
        let staff = roster.compartment_of(Audience::Staff);
        match staff.map(|staff| (staff, staff.current.as_slice())) {
            Some((_, [epoch])) => to.extend(roster.epoch(*epoch).map(|epoch| epoch.sealing)),
            Some((staff, _)) => to.extend(
                roster
                    .audience(staff.id)
                    .iter()
                    .map(|device| device.sealing),
            ),
            None => {}
        }
        self.start_epoch(Audience::Person(user), &to, rng);
    }
}

fn started(audience: Audience, key: &EpochKey, wraps: Vec<Wrap>) -> StartEpoch {
    StartEpoch {
        audience,
        commitment: key.commitment(),
        sealing: key.sealing().key(),
        wraps,
    }
}

fn new_writer(secrets: &DeviceSecrets, writer: &WriterSecret) -> NewWriter {
    NewWriter {
        key: writer.key(),
        proof: writer.prove(secrets.device()),
    }
}

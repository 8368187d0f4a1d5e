//! What a control entry does, and who else must have agreed to it.
//!
//! The numbers of actions are never reused. An action this version does not know keeps its bytes: it is stored, carried
//! and ignored by the reading, so an older program forwards what a newer one wrote.

mod codec;

pub use codec::{BRANCHES_MAX, CHECKPOINTS_MAX, CUT_OFFS_MAX};

use aeroedge_ids::{
    CompartmentId, ContextId, ControlHash, DeviceKey, EntryHash, InviteKey, Millis, SealingKey,
    Seq, UserId, WriterKey,
};

use super::ControlError;
use super::role::Rights;
use crate::compartment::{Audience, Division};
use crate::keys::{Wrap, is_signed_by, writer_proof_is_valid};

const JOIN_DOMAIN: &[u8] = b"aeroedge join v1";
const DEVICE_DOMAIN: &[u8] = b"aeroedge device v1";

/// An act in the history of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Founds the context; its author's user becomes owner.
    Genesis(Genesis),
    /// Offers membership to whoever holds the link and the secret.
    Invite(InviteOffer),
    /// Withdraws an invite.
    VoidInvite(InviteKey),
    /// A new member, by invite.
    Join(Join),
    /// Gives a member another role or other permissions.
    SetRole(SetRole),
    /// A further device of the author's own user.
    AddDevice(AddDevice),
    /// Shuts a device out.
    RevokeDevice(RevokeDevice),
    /// Shuts a user out with all devices.
    RemoveMember(RemoveMember),
    /// A further writer of the author's device.
    OpenWriter(NewWriter),
    /// No entries of this writer count past the cut-offs.
    CloseWriter {
        /// The writer.
        writer: WriterKey,
        /// How far each of its logs counts.
        cut_offs: Vec<CutOff>,
    },
    /// A new key for a compartment.
    StartEpoch(StartEpoch),
    /// Seals keys of existing epochs to those who lack them; ascending by epoch.
    WrapKeys(Vec<EpochWraps>),
    /// Says only that the author has seen the parents; joins concurrent heads.
    Acknowledge,
    /// The state of a compartment at some point, as the author's device has it.
    Checkpoint(Checkpoint),
    /// The author's device has the same state as these checkpoints at their points; ascending, by the control entries that
    /// made them.
    AcknowledgeCheckpoints(Vec<ControlHash>),
    /// A device was away for too long: nobody waits for it any more. It returns with a new writer.
    DeclareStale(DeclareStale),
    /// Something a newer program does.
    Unknown {
        /// Its number.
        number: u32,
        /// Its bytes.
        body: Vec<u8>,
    },
}

/// Founds a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// Random, so that two contexts of one device differ.
    pub nonce: [u8; 16],
    /// The compartments it is divided into.
    pub division: Division,
    /// The application's word for what it is for, at most 32 bytes. Not a name: this stands in clear.
    pub purpose: String,
    /// The first user.
    pub user: UserId,
    /// The first device's sealing key.
    pub sealing: SealingKey,
    /// The first writer.
    pub writer: NewWriter,
}

/// An offer of membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteOffer {
    /// The public half of the key in the link. Names the invite.
    pub key: InviteKey,
    /// What a new member gets.
    pub rights: Rights,
    /// Joins stamped later are ignored; [`Millis`] zero means never.
    pub expires: Millis,
    /// How many may join.
    pub uses: u32,
    /// The Ed25519 public key that joins are signed under. Its secret follows from link and secret together.
    pub consent: [u8; 32],
    /// The sealed epoch keys: see [`crate::invite`].
    pub package: Vec<u8>,
}

/// A new member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The invite used.
    pub invite: InviteKey,
    /// The new user.
    pub user: UserId,
    /// The sealing key of the author's device.
    pub sealing: SealingKey,
    /// The first writer of the author's device.
    pub writer: NewWriter,
    /// Ed25519 by the invite's consent key over [`Join::message`]. Checked where the history is read, which knows the invite.
    pub invite_proof: [u8; 64],
    /// The keys from the package, sealed to the author's own device.
    pub wraps: Vec<EpochWraps>,
}

/// Another role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetRole {
    /// Whose.
    pub user: UserId,
    /// What the user may do from here on.
    pub rights: Rights,
    /// When rights are taken away: how far the user's logs still count with the old ones.
    pub cut_offs: Vec<CutOff>,
}

/// A further device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddDevice {
    /// The author's user.
    pub user: UserId,
    /// The new device.
    pub device: DeviceKey,
    /// Its sealing key.
    pub sealing: SealingKey,
    /// Its first writer.
    pub writer: NewWriter,
    /// What it is for.
    pub kind: DeviceKind,
    /// Ed25519 by the new device over [`AddDevice::message`].
    pub device_proof: [u8; 64],
    /// Epoch keys sealed to it.
    pub wraps: Vec<EpochWraps>,
}

/// What a device is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKind {
    /// Used day by day.
    Everyday,
    /// Keys on a sheet of paper. It never acknowledges anything, may shut out the other devices of its user and cannot
    /// be shut out by them.
    Recovery,
}

impl DeviceKind {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Everyday => 0,
            Self::Recovery => 1,
        }
    }

    pub(crate) fn from_code(code: u64) -> Option<Self> {
        match code {
            0 => Some(Self::Everyday),
            1 => Some(Self::Recovery),
            _ => None,
        }
    }
}

/// The state of a compartment at one point, sealed in the author's log there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Of which compartment.
    pub compartment: CompartmentId,
    /// What names the point: the hash of the positions in all logs up to which the state goes.
    pub positions: [u8; 32],
    /// The hash of the state's canonical bytes.
    pub state: [u8; 32],
    /// The author's writer in whose log it is sealed.
    pub writer: WriterKey,
    /// The entry with its first part.
    pub first: Seq,
    /// The entry with its last part.
    pub last: Seq,
}

/// Stops waiting for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclareStale {
    /// The device.
    pub device: DeviceKey,
    /// How far each of its logs counts.
    pub cut_offs: Vec<CutOff>,
}

/// Shuts a device out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokeDevice {
    /// The device.
    pub device: DeviceKey,
    /// How far each of its logs counts.
    pub cut_offs: Vec<CutOff>,
}

/// Shuts a user out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveMember {
    /// The user.
    pub user: UserId,
    /// How far each of the user's logs counts.
    pub cut_offs: Vec<CutOff>,
}

/// A writer of a device, and its own consent to be that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewWriter {
    /// The writer.
    pub key: WriterKey,
    /// What [`crate::keys::WriterSecret::prove`] made for the device.
    pub proof: [u8; 64],
}

/// The end of the part of one log that counts. A log that is not listed does not count at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CutOff {
    /// Whose log.
    pub writer: WriterKey,
    /// In which compartment.
    pub compartment: CompartmentId,
    /// The last entry that counts.
    pub seq: Seq,
    /// Its hash.
    pub hash: EntryHash,
}

/// A new key for a compartment. The entry's own hash names the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartEpoch {
    /// Whose compartment.
    pub audience: Audience,
    /// [`crate::keys::EpochKey::commitment`].
    pub commitment: [u8; 32],
    /// The public half of [`crate::keys::EpochKey::sealing`].
    pub sealing: SealingKey,
    /// The key sealed to those who may have it, ascending by recipient.
    pub wraps: Vec<Wrap>,
}

/// Keys of one epoch for several recipients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochWraps {
    /// The control entry that starts the epoch.
    pub epoch: ControlHash,
    /// The key sealed to each, ascending by recipient.
    pub wraps: Vec<Wrap>,
}

impl Join {
    /// Whether its author, a device, had link and secret of the invite with this consent key.
    pub(crate) fn had_secret(
        &self,
        context: ContextId,
        author: DeviceKey,
        consent: &[u8; 32],
    ) -> bool {
        let message = Self::message(
            context,
            self.invite,
            self.user,
            author,
            self.sealing,
            self.writer.key,
        );
        is_signed_by(consent, &message, &self.invite_proof)
    }

    /// What the invite's consent key signs.
    pub fn message(
        context: ContextId,
        invite: InviteKey,
        user: UserId,
        device: DeviceKey,
        sealing: SealingKey,
        writer: WriterKey,
    ) -> Vec<u8> {
        [
            JOIN_DOMAIN,
            &context.0,
            &invite.0,
            &user.0,
            &device.0,
            &sealing.0,
            &writer.0,
        ]
        .concat()
    }
}

impl AddDevice {
    /// What the new device signs.
    pub fn message(
        context: ContextId,
        user: UserId,
        device: DeviceKey,
        sealing: SealingKey,
        writer: WriterKey,
        kind: DeviceKind,
    ) -> Vec<u8> {
        [
            DEVICE_DOMAIN,
            &context.0,
            &user.0,
            &device.0,
            &sealing.0,
            &writer.0,
            &[kind.code()],
        ]
        .concat()
    }
}

impl Action {
    /// The number that stands in the entry.
    pub fn number(&self) -> u32 {
        match self {
            Self::Genesis(_) => 1,
            Self::Invite(_) => 2,
            Self::VoidInvite(_) => 3,
            Self::Join(_) => 4,
            Self::SetRole(_) => 5,
            Self::AddDevice(_) => 6,
            Self::RevokeDevice(_) => 7,
            Self::RemoveMember(_) => 8,
            Self::OpenWriter(_) => 9,
            Self::CloseWriter { .. } => 10,
            Self::StartEpoch(_) => 11,
            Self::WrapKeys(_) => 12,
            Self::Acknowledge => 13,
            Self::Checkpoint(_) => 14,
            Self::AcknowledgeCheckpoints(_) => 15,
            Self::DeclareStale(_) => 16,
            Self::Unknown { number, .. } => *number,
        }
    }

    /// The writer it introduces.
    pub(crate) fn new_writer(&self) -> Option<&NewWriter> {
        match self {
            Self::Genesis(genesis) => Some(&genesis.writer),
            Self::Join(join) => Some(&join.writer),
            Self::AddDevice(added) => Some(&added.writer),
            Self::OpenWriter(opened) => Some(opened),
            _ => None,
        }
    }

    /// Checks everything in the action that some other key must have agreed to.
    pub(super) fn verify_proofs(
        &self,
        context: ContextId,
        author: DeviceKey,
    ) -> Result<(), ControlError> {
        if let Some(writer) = self.new_writer() {
            let device = match self {
                Self::AddDevice(added) => added.device,
                _ => author,
            };
            if !writer_proof_is_valid(writer.key, device, &writer.proof) {
                return Err(ControlError::Proof("writer"));
            }
        }
        if let Self::AddDevice(added) = self {
            let message = AddDevice::message(
                context,
                added.user,
                added.device,
                added.sealing,
                added.writer.key,
                added.kind,
            );
            if !is_signed_by(&added.device.0, &message, &added.device_proof) {
                return Err(ControlError::Proof("new device"));
            }
        }
        Ok(())
    }
}

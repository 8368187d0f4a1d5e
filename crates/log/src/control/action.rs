//! What a control entry does, and the bytes of it.
//!
//! The numbers of actions are never reused. An action this version does not know keeps its bytes: it is stored, carried
//! and ignored by the reading, so an older program forwards what a newer one wrote.

use aeroedge_ids::{
    CompartmentId, ContextId, ControlHash, DeviceKey, EntryHash, InviteKey, Millis, SealingKey,
    Seq, UserId, WriterKey,
};

use super::ControlError;
use super::role::Rights;
use crate::bytes::{DecodeError, Reader, Writer, strictly_ascending};
use crate::compartment::{Audience, Division};
use crate::keys::{Wrap, is_signed_by, writer_proof_is_valid};

const JOIN_DOMAIN: &[u8] = b"aeroedge join v1";
const DEVICE_DOMAIN: &[u8] = b"aeroedge device v1";
/// The longest word for what a context is for, bytes.
const PURPOSE_MAX: usize = 32;

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
    /// Ed25519 by the invite key over [`Join::message`].
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
    /// Ed25519 by the new device over [`AddDevice::message`].
    pub device_proof: [u8; 64],
    /// Epoch keys sealed to it.
    pub wraps: Vec<EpochWraps>,
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
    /// What the invite key signs.
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
    ) -> Vec<u8> {
        [
            DEVICE_DOMAIN,
            &context.0,
            &user.0,
            &device.0,
            &sealing.0,
            &writer.0,
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
            Self::Unknown { number, .. } => *number,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::Genesis(genesis) => {
                writer.array(7);
                writer.bin(&genesis.nonce);
                writer.uint(genesis.division.code());
                writer.text(&genesis.purpose);
                writer.bin(&genesis.user.0);
                writer.bin(&genesis.sealing.0);
                encode_writer(&mut writer, &genesis.writer);
            }
            Self::Invite(offer) => {
                writer.array(6);
                writer.bin(&offer.key.0);
                offer.rights.encode(&mut writer);
                writer.uint(offer.expires.0);
                writer.uint(u64::from(offer.uses));
                writer.bin(&offer.package);
            }
            Self::VoidInvite(invite) => {
                writer.array(1);
                writer.bin(&invite.0);
            }
            Self::Join(join) => {
                writer.array(7);
                writer.bin(&join.invite.0);
                writer.bin(&join.user.0);
                writer.bin(&join.sealing.0);
                encode_writer(&mut writer, &join.writer);
                writer.bin(&join.invite_proof);
                encode_epoch_wraps(&mut writer, &join.wraps);
            }
            Self::SetRole(change) => {
                writer.array(4);
                writer.bin(&change.user.0);
                change.rights.encode(&mut writer);
                encode_cut_offs(&mut writer, &change.cut_offs);
            }
            Self::AddDevice(added) => {
                writer.array(7);
                writer.bin(&added.user.0);
                writer.bin(&added.device.0);
                writer.bin(&added.sealing.0);
                encode_writer(&mut writer, &added.writer);
                writer.bin(&added.device_proof);
                encode_epoch_wraps(&mut writer, &added.wraps);
            }
            Self::RevokeDevice(revoked) => {
                writer.array(2);
                writer.bin(&revoked.device.0);
                encode_cut_offs(&mut writer, &revoked.cut_offs);
            }
            Self::RemoveMember(removed) => {
                writer.array(2);
                writer.bin(&removed.user.0);
                encode_cut_offs(&mut writer, &removed.cut_offs);
            }
            Self::OpenWriter(opened) => {
                writer.array(2);
                encode_writer(&mut writer, opened);
            }
            Self::CloseWriter {
                writer: closed,
                cut_offs,
            } => {
                writer.array(2);
                writer.bin(&closed.0);
                encode_cut_offs(&mut writer, cut_offs);
            }
            Self::StartEpoch(started) => {
                let (kind, user) = started.audience.parts();
                writer.array(5);
                writer.uint(u64::from(kind));
                writer.bin(&user.0);
                writer.bin(&started.commitment);
                writer.bin(&started.sealing.0);
                encode_wraps(&mut writer, &started.wraps);
            }
            Self::WrapKeys(epochs) => {
                writer.array(1);
                encode_epoch_wraps(&mut writer, epochs);
            }
            Self::Acknowledge => writer.array(0),
            Self::Unknown { body, .. } => writer.bytes.extend_from_slice(body),
        }
        writer.bytes
    }

    pub(super) fn decode(number: u32, body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let action = match number {
            1 => {
                reader.array_of(7)?;
                Self::Genesis(Genesis {
                    nonce: reader.bytes()?,
                    division: Division::from_code(reader.uint()?)
                        .ok_or(DecodeError::OutOfRange("division"))?,
                    purpose: decode_purpose(&mut reader)?,
                    user: UserId(reader.bytes()?),
                    sealing: SealingKey(reader.bytes()?),
                    writer: decode_writer(&mut reader)?,
                })
            }
            2 => {
                reader.array_of(6)?;
                Self::Invite(InviteOffer {
                    key: InviteKey(reader.bytes()?),
                    rights: Rights::decode(&mut reader)?,
                    expires: Millis(reader.uint()?),
                    uses: reader.uint32("uses")?,
                    package: reader.bin()?.to_vec(),
                })
            }
            3 => {
                reader.array_of(1)?;
                Self::VoidInvite(InviteKey(reader.bytes()?))
            }
            4 => {
                reader.array_of(7)?;
                Self::Join(Join {
                    invite: InviteKey(reader.bytes()?),
                    user: UserId(reader.bytes()?),
                    sealing: SealingKey(reader.bytes()?),
                    writer: decode_writer(&mut reader)?,
                    invite_proof: reader.bytes()?,
                    wraps: decode_epoch_wraps(&mut reader)?,
                })
            }
            5 => {
                reader.array_of(4)?;
                Self::SetRole(SetRole {
                    user: UserId(reader.bytes()?),
                    rights: Rights::decode(&mut reader)?,
                    cut_offs: decode_cut_offs(&mut reader)?,
                })
            }
            6 => {
                reader.array_of(7)?;
                Self::AddDevice(AddDevice {
                    user: UserId(reader.bytes()?),
                    device: DeviceKey(reader.bytes()?),
                    sealing: SealingKey(reader.bytes()?),
                    writer: decode_writer(&mut reader)?,
                    device_proof: reader.bytes()?,
                    wraps: decode_epoch_wraps(&mut reader)?,
                })
            }
            7 => {
                reader.array_of(2)?;
                Self::RevokeDevice(RevokeDevice {
                    device: DeviceKey(reader.bytes()?),
                    cut_offs: decode_cut_offs(&mut reader)?,
                })
            }
            8 => {
                reader.array_of(2)?;
                Self::RemoveMember(RemoveMember {
                    user: UserId(reader.bytes()?),
                    cut_offs: decode_cut_offs(&mut reader)?,
                })
            }
            9 => {
                reader.array_of(2)?;
                Self::OpenWriter(decode_writer(&mut reader)?)
            }
            10 => {
                reader.array_of(2)?;
                Self::CloseWriter {
                    writer: WriterKey(reader.bytes()?),
                    cut_offs: decode_cut_offs(&mut reader)?,
                }
            }
            11 => {
                reader.array_of(5)?;
                let (kind, user) = (reader.uint8("audience")?, UserId(reader.bytes()?));
                Self::StartEpoch(StartEpoch {
                    audience: Audience::from_parts(kind, user)
                        .ok_or(DecodeError::OutOfRange("audience"))?,
                    commitment: reader.bytes()?,
                    sealing: SealingKey(reader.bytes()?),
                    wraps: decode_wraps(&mut reader)?,
                })
            }
            12 => {
                reader.array_of(1)?;
                Self::WrapKeys(decode_epoch_wraps(&mut reader)?)
            }
            13 => {
                reader.array_of(0)?;
                Self::Acknowledge
            }
            _ => {
                return Ok(Self::Unknown {
                    number,
                    body: body.to_vec(),
                });
            }
        };
        reader.finish()?;
        Ok(action)
    }

    /// Checks everything in the action that some other key must have agreed to.
    pub(super) fn verify_proofs(
        &self,
        context: ContextId,
        author: DeviceKey,
    ) -> Result<(), ControlError> {
        let writer = match self {
            Self::Genesis(genesis) => Some((&genesis.writer, author)),
            Self::Join(join) => Some((&join.writer, author)),
            Self::AddDevice(added) => Some((&added.writer, added.device)),
            Self::OpenWriter(opened) => Some((opened, author)),
            _ => None,
        };
        if let Some((writer, device)) = writer
            && !writer_proof_is_valid(writer.key, device, &writer.proof)
        {
            return Err(ControlError::Proof("writer"));
        }
        match self {
            Self::Join(join) => {
                let message = Join::message(
                    context,
                    join.invite,
                    join.user,
                    author,
                    join.sealing,
                    join.writer.key,
                );
                if !is_signed_by(&join.invite.0, &message, &join.invite_proof) {
                    return Err(ControlError::Proof("invite"));
                }
            }
            Self::AddDevice(added) => {
                let message = AddDevice::message(
                    context,
                    added.user,
                    added.device,
                    added.sealing,
                    added.writer.key,
                );
                if !is_signed_by(&added.device.0, &message, &added.device_proof) {
                    return Err(ControlError::Proof("new device"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn decode_purpose(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let purpose = reader.text()?;
    if purpose.len() <= PURPOSE_MAX {
        Ok(purpose.to_owned())
    } else {
        Err(DecodeError::OutOfRange("purpose"))
    }
}

fn encode_writer(writer: &mut Writer, new: &NewWriter) {
    writer.bin(&new.key.0);
    writer.bin(&new.proof);
}

fn decode_writer(reader: &mut Reader<'_>) -> Result<NewWriter, DecodeError> {
    Ok(NewWriter {
        key: WriterKey(reader.bytes()?),
        proof: reader.bytes()?,
    })
}

fn encode_cut_offs(writer: &mut Writer, cut_offs: &[CutOff]) {
    writer.array(cut_offs.len());
    for cut_off in cut_offs {
        writer.array(4);
        writer.bin(&cut_off.writer.0);
        writer.bin(&cut_off.compartment.0);
        writer.uint(cut_off.seq.0);
        writer.bin(&cut_off.hash.0);
    }
}

fn decode_cut_offs(reader: &mut Reader<'_>) -> Result<Vec<CutOff>, DecodeError> {
    let mut cut_offs = Vec::<CutOff>::new();
    for _ in 0..reader.array()? {
        reader.array_of(4)?;
        cut_offs.push(CutOff {
            writer: WriterKey(reader.bytes()?),
            compartment: CompartmentId(reader.bytes()?),
            seq: Seq(reader.uint()?),
            hash: EntryHash(reader.bytes()?),
        });
    }
    let logs: Vec<_> = cut_offs
        .iter()
        .map(|cut_off| (cut_off.writer, cut_off.compartment))
        .collect();
    if strictly_ascending(&logs) {
        Ok(cut_offs)
    } else {
        Err(DecodeError::NotCanonical)
    }
}

fn encode_wraps(writer: &mut Writer, wraps: &[Wrap]) {
    writer.array(wraps.len());
    for wrap in wraps {
        writer.array(3);
        writer.bin(&wrap.recipient.0);
        writer.bin(&wrap.encapsulated);
        writer.bin(&wrap.ciphertext);
    }
}

fn decode_wraps(reader: &mut Reader<'_>) -> Result<Vec<Wrap>, DecodeError> {
    let mut wraps = Vec::<Wrap>::new();
    for _ in 0..reader.array()? {
        reader.array_of(3)?;
        wraps.push(Wrap {
            recipient: SealingKey(reader.bytes()?),
            encapsulated: reader.bytes()?,
            ciphertext: reader.bytes()?,
        });
    }
    let recipients: Vec<_> = wraps.iter().map(|wrap| wrap.recipient).collect();
    if strictly_ascending(&recipients) {
        Ok(wraps)
    } else {
        Err(DecodeError::NotCanonical)
    }
}

fn encode_epoch_wraps(writer: &mut Writer, epochs: &[EpochWraps]) {
    writer.array(epochs.len());
    for epoch in epochs {
        writer.array(2);
        writer.bin(&epoch.epoch.0);
        encode_wraps(writer, &epoch.wraps);
    }
}

fn decode_epoch_wraps(reader: &mut Reader<'_>) -> Result<Vec<EpochWraps>, DecodeError> {
    let mut epochs = Vec::<EpochWraps>::new();
    for _ in 0..reader.array()? {
        reader.array_of(2)?;
        epochs.push(EpochWraps {
            epoch: ControlHash(reader.bytes()?),
            wraps: decode_wraps(reader)?,
        });
    }
    let names: Vec<_> = epochs.iter().map(|epoch| epoch.epoch).collect();
    if strictly_ascending(&names) {
        Ok(epochs)
    } else {
        Err(DecodeError::NotCanonical)
    }
}

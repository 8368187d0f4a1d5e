//! The bytes of an action: one array for each number, of a fixed length.

use aeroedge_ids::{
    CompartmentId, ControlHash, DeviceKey, EntryHash, InviteKey, Millis, SealingKey, Seq, UserId,
    WriterKey,
};

use super::{
    Action, AddDevice, Checkpoint, CutOff, DeclareStale, DeviceKind, EpochWraps, Genesis,
    InviteOffer, Join, NewWriter, RemoveMember, RevokeDevice, SetRole, StartEpoch,
};
use crate::bytes::{DecodeError, Reader, Writer, strictly_ascending};
use crate::compartment::{Audience, Division};
use crate::control::role::Rights;
use crate::keys::Wrap;

/// The longest word for what a context is for, bytes.
const PURPOSE_MAX: usize = 32;
/// The most cut-offs in one action.
pub const CUT_OFFS_MAX: usize = 8192;
/// The most branches of one log that the cut-offs of one action may name.
pub const BRANCHES_MAX: usize = 16;
/// The most checkpoints that one action acknowledges.
pub const CHECKPOINTS_MAX: usize = 4096;

impl Action {
    pub(in crate::control) fn encode(&self) -> Vec<u8> {
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
                writer.array(7);
                writer.bin(&offer.key.0);
                offer.rights.encode(&mut writer);
                writer.uint(offer.expires.0);
                writer.uint(u64::from(offer.uses));
                writer.bin(&offer.consent);
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
                writer.array(8);
                writer.bin(&added.user.0);
                writer.bin(&added.device.0);
                writer.bin(&added.sealing.0);
                encode_writer(&mut writer, &added.writer);
                writer.uint(u64::from(added.kind.code()));
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
            Self::Checkpoint(checkpoint) => {
                writer.array(6);
                writer.bin(&checkpoint.compartment.0);
                writer.bin(&checkpoint.positions);
                writer.bin(&checkpoint.state);
                writer.bin(&checkpoint.writer.0);
                writer.uint(checkpoint.first.0);
                writer.uint(checkpoint.last.0);
            }
            Self::AcknowledgeCheckpoints(checkpoints) => {
                writer.array(1);
                writer.array(checkpoints.len());
                for checkpoint in checkpoints {
                    writer.bin(&checkpoint.0);
                }
            }
            Self::DeclareStale(stale) => {
                writer.array(2);
                writer.bin(&stale.device.0);
                encode_cut_offs(&mut writer, &stale.cut_offs);
            }
            Self::Unknown { body, .. } => writer.bytes.extend_from_slice(body),
        }
        writer.bytes
    }

    pub(in crate::control) fn decode(number: u32, body: &[u8]) -> Result<Self, DecodeError> {
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
                reader.array_of(7)?;
                Self::Invite(InviteOffer {
                    key: InviteKey(reader.bytes()?),
                    rights: Rights::decode(&mut reader)?,
                    expires: Millis(reader.uint()?),
                    uses: reader.uint32("uses")?,
                    consent: reader.bytes()?,
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
                reader.array_of(8)?;
                Self::AddDevice(AddDevice {
                    user: UserId(reader.bytes()?),
                    device: DeviceKey(reader.bytes()?),
                    sealing: SealingKey(reader.bytes()?),
                    writer: decode_writer(&mut reader)?,
                    kind: DeviceKind::from_code(reader.uint()?)
                        .ok_or(DecodeError::OutOfRange("kind of device"))?,
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
            14 => {
                reader.array_of(6)?;
                let checkpoint = Checkpoint {
                    compartment: CompartmentId(reader.bytes()?),
                    positions: reader.bytes()?,
                    state: reader.bytes()?,
                    writer: WriterKey(reader.bytes()?),
                    first: Seq(reader.uint()?),
                    last: Seq(reader.uint()?),
                };
                if checkpoint.first == Seq::NONE || checkpoint.last < checkpoint.first {
                    return Err(DecodeError::OutOfRange("place of a checkpoint"));
                }
                Self::Checkpoint(checkpoint)
            }
            15 => {
                reader.array_of(1)?;
                let mut checkpoints = Vec::new();
                for _ in 0..reader.array_up_to(CHECKPOINTS_MAX, "number of checkpoints")? {
                    checkpoints.push(ControlHash(reader.bytes()?));
                }
                if !strictly_ascending(&checkpoints) {
                    return Err(DecodeError::NotCanonical);
                }
                Self::AcknowledgeCheckpoints(checkpoints)
            }
            16 => {
                reader.array_of(2)?;
                Self::DeclareStale(DeclareStale {
                    device: DeviceKey(reader.bytes()?),
                    cut_offs: decode_cut_offs(&mut reader)?,
                })
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
    for _ in 0..reader.array_up_to(CUT_OFFS_MAX, "number of cut-offs")? {
        reader.array_of(4)?;
        cut_offs.push(CutOff {
            writer: WriterKey(reader.bytes()?),
            compartment: CompartmentId(reader.bytes()?),
            seq: Seq(reader.uint()?),
            hash: EntryHash(reader.bytes()?),
        });
    }
    // Of one log several branches may be named, each by the entry it ends with.
    if !strictly_ascending(&cut_offs) {
        return Err(DecodeError::NotCanonical);
    }
    let is_same_log = |one: &CutOff, other: &CutOff| {
        (one.writer, one.compartment) == (other.writer, other.compartment)
    };
    if cut_offs
        .chunk_by(is_same_log)
        .any(|branches| branches.len() > BRANCHES_MAX)
    {
        return Err(DecodeError::OutOfRange("number of branches of one log"));
    }
    Ok(cut_offs)
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

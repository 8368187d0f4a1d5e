//! Giving a person's contexts to a second device: what the two devices say to each other.
//!
//! They meet by a secret that one shows as a QR code and the other reads. All they say is sealed under it. Someone who also saw the
//! code could use it first, so a person compares six digits on both screens before anything is given: each side commits to its
//! part before it knows the other's, so nobody between them can choose the digits. What is given is sealed to the new device's
//! own key as well.

mod link;

pub use link::{PairingLink, PairingLinkError};

use std::fmt;

use aeroedge_ids::{
    CompartmentId, ContextId, ControlHash, DeviceKey, SealingKey, UserId, WriterKey,
};
use rand::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::bytes::{DecodeError, Reader, Writer};
use crate::keys::{EpochKey, SealingSecret, Wrap, WrapScope};
use crate::seal::{self, derive, sha256};
use crate::tags::LinkKey;

const VERSION: u8 = 1;
const SALT_LENGTH: usize = 32;
const HEADER_LENGTH: usize = 2 + SALT_LENGTH;
const PLACE_DOMAIN: &[u8] = b"aeroedge pairing place v1";
const LINK_INFO: &[u8] = b"aeroedge pairing link v1";
const MESSAGE_INFO: &[u8] = b"aeroedge pairing message v1";
const PART_INFO: &[u8] = b"aeroedge pairing part v1";
const COMMIT_DOMAIN: &[u8] = b"aeroedge pairing commit v1";
const CODE_DOMAIN: &[u8] = b"aeroedge pairing code v1";

/// The most contexts that are given at once.
pub const CONTEXTS_MAX: usize = 1000;
/// The most bytes of control entries in one part, before it is sealed; one entry may be longer.
pub const PART_BYTES_MAX: usize = 256 * 1024;

/// What both devices know before they meet: 32 random bytes, good once.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct PairingSecret([u8; 32]);

impl PairingSecret {
    /// A new one.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        Self(secret)
    }

    /// From bytes that were read.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret itself.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What takes the place of a context while the two speak.
    pub fn place(&self) -> ContextId {
        let hash = sha256(&[PLACE_DOMAIN, &self.0]);
        let mut place = [0; 16];
        place.copy_from_slice(&hash[..16]);
        ContextId(place)
    }

    /// The key by which the two recognise each other on a network.
    pub fn link_key(&self) -> LinkKey {
        LinkKey::from_bytes(*derive(&self.0, &[], &[LINK_INFO]))
    }
}

impl fmt::Debug for PairingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairingSecret(secret)")
    }
}

/// The keys of the new device, and what it drew for this pairing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewDevice {
    /// Its public name.
    pub device: DeviceKey,
    /// The key to seal to.
    pub sealing: SealingKey,
    /// Its first writer.
    pub writer: WriterKey,
    /// The writer's consent to be the device's.
    pub writer_proof: [u8; 64],
    /// Random.
    pub nonce: [u8; 32],
}

impl NewDevice {
    /// What it says before it knows anything of the other.
    pub fn commitment(&self) -> [u8; 32] {
        sha256(&[
            COMMIT_DOMAIN,
            &self.device.0,
            &self.sealing.0,
            &self.writer.0,
            &self.writer_proof,
            &self.nonce,
        ])
    }
}

/// Who the old device is, and what it has to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The commitment it answers.
    pub commitment: [u8; 32],
    /// The person.
    pub user: UserId,
    /// Their contexts, ascending.
    pub contexts: Vec<ContextId>,
    /// Random.
    pub nonce: [u8; 32],
}

/// One thing said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The new device: that it is there, and bound to what it will say.
    Commit([u8; 32]),
    /// The old device.
    Welcome(Welcome),
    /// The new device: its keys, and its consent for each context of the welcome, in that order.
    Offer {
        /// The keys.
        new: NewDevice,
        /// Ed25519 by the new device over [`crate::control::AddDevice::message`], one for each context.
        proofs: Vec<[u8; 64]>,
    },
    /// The old device, after its person said so: the key of the parts, sealed to the new device, and how many there are.
    Grant {
        /// What the key must match.
        commitment: [u8; 32],
        /// The key.
        wrap: Wrap,
        /// How many parts follow.
        parts: u32,
    },
    /// The old device: a part of the histories, sealed by [`Part::seal`].
    Part(Vec<u8>),
    /// The new device has everything.
    Received,
}

/// Some control entries of one context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its place among the parts, from 0.
    pub number: u32,
    /// The context.
    pub context: ContextId,
    /// The entries, parents first.
    pub entries: Vec<Vec<u8>>,
}

/// What was received is no message of this pairing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A newer program made it.
    #[error("read what the other device says: update this program")]
    Version,
    /// Another secret, or altered.
    #[error("read what the other device says: it is not of this pairing")]
    NotOfThisPairing,
    /// Sealed by the right secret and no message all the same.
    #[error("read what the other device says")]
    Malformed(#[source] DecodeError),
}

impl Message {
    fn kind(&self) -> u8 {
        match self {
            Self::Commit(_) => 1,
            Self::Welcome(_) => 2,
            Self::Offer { .. } => 3,
            Self::Grant { .. } => 4,
            Self::Part(_) => 5,
            Self::Received => 6,
        }
    }

    /// The message as it travels.
    pub fn seal(&self, secret: &PairingSecret, rng: &mut impl CryptoRng) -> Vec<u8> {
        sealed(&secret.0, MESSAGE_INFO, self.kind(), self.encode(), rng)
    }

    /// Reads what [`Message::seal`] made.
    pub fn open(secret: &PairingSecret, bytes: &[u8]) -> Result<Self, MessageError> {
        let (kind, text) = opened(&secret.0, MESSAGE_INFO, bytes)?;
        Self::decode(kind, &text).map_err(MessageError::Malformed)
    }

    /// The name under which a message travels.
    pub fn hash(bytes: &[u8]) -> ControlHash {
        ControlHash(sha256(&[bytes]))
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::Commit(commitment) => writer.bin(commitment),
            Self::Welcome(welcome) => welcome.encode(&mut writer),
            Self::Offer { new, proofs } => {
                writer.array(6);
                writer.bin(&new.device.0);
                writer.bin(&new.sealing.0);
                writer.bin(&new.writer.0);
                writer.bin(&new.writer_proof);
                writer.bin(&new.nonce);
                writer.array(proofs.len());
                for proof in proofs {
                    writer.bin(proof);
                }
            }
            Self::Grant {
                commitment,
                wrap,
                parts,
            } => {
                writer.array(5);
                writer.bin(commitment);
                writer.bin(&wrap.recipient.0);
                writer.bin(&wrap.encapsulated);
                writer.bin(&wrap.ciphertext);
                writer.uint(u64::from(*parts));
            }
            Self::Part(part) => writer.bin(part),
            Self::Received => writer.array(0),
        }
        writer.bytes
    }

    fn decode(kind: u8, text: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(text);
        let message = match kind {
            1 => Self::Commit(reader.bytes()?),
            2 => Self::Welcome(Welcome::decode(&mut reader)?),
            3 => {
                reader.array_of(6)?;
                let new = NewDevice {
                    device: DeviceKey(reader.bytes()?),
                    sealing: SealingKey(reader.bytes()?),
                    writer: WriterKey(reader.bytes()?),
                    writer_proof: reader.bytes()?,
                    nonce: reader.bytes()?,
                };
                let count = reader.array_up_to(CONTEXTS_MAX, "the number of contexts")?;
                let proofs = (0..count)
                    .map(|_| reader.bytes())
                    .collect::<Result<_, _>>()?;
                Self::Offer { new, proofs }
            }
            4 => {
                reader.array_of(5)?;
                Self::Grant {
                    commitment: reader.bytes()?,
                    wrap: Wrap {
                        recipient: SealingKey(reader.bytes()?),
                        encapsulated: reader.bytes()?,
                        ciphertext: reader.bytes()?,
                    },
                    parts: reader.uint32("the number of parts")?,
                }
            }
            5 => Self::Part(reader.bin()?.to_vec()),
            6 => {
                reader.array_of(0)?;
                Self::Received
            }
            _ => return Err(DecodeError::Expected("a known message")),
        };
        reader.finish()?;
        Ok(message)
    }
}

impl Welcome {
    fn encode(&self, writer: &mut Writer) {
        writer.array(4);
        writer.bin(&self.commitment);
        writer.bin(&self.user.0);
        writer.array(self.contexts.len());
        for context in &self.contexts {
            writer.bin(&context.0);
        }
        writer.bin(&self.nonce);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array_of(4)?;
        let commitment = reader.bytes()?;
        let user = UserId(reader.bytes()?);
        let count = reader.array_up_to(CONTEXTS_MAX, "the number of contexts")?;
        let contexts: Vec<ContextId> = (0..count)
            .map(|_| reader.bytes().map(ContextId))
            .collect::<Result<_, _>>()?;
        if !crate::bytes::strictly_ascending(&contexts) {
            return Err(DecodeError::NotCanonical);
        }
        Ok(Self {
            commitment,
            user,
            contexts,
            nonce: reader.bytes()?,
        })
    }
}

/// The six digits that both screens show: over everything both sides said before anything is given.
pub fn code(secret: &PairingSecret, welcome: &Welcome, new: &NewDevice) -> u32 {
    let mut writer = Writer::default();
    welcome.encode(&mut writer);
    let hash = sha256(&[
        CODE_DOMAIN,
        &secret.0,
        &new.commitment(),
        &new.nonce,
        &sha256(&[&writer.bytes]),
    ]);
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) % 1_000_000
}

/// Makes the key of the parts and seals it to the new device. `None` if that device's key is unusable.
pub fn grant(
    place: ContextId,
    recipient: SealingKey,
    rng: &mut impl CryptoRng,
) -> Option<(EpochKey, Wrap)> {
    let key = EpochKey::generate(rng);
    let wrap = Wrap::seal(&key, recipient, &scope(place, key.commitment()), rng).ok()?;
    Some((key, wrap))
}

/// The key that a grant gives to this device.
pub fn granted(
    place: ContextId,
    secret: &SealingSecret,
    commitment: [u8; 32],
    wrap: &Wrap,
) -> Option<EpochKey> {
    wrap.open(secret, &scope(place, commitment)).ok()
}

fn scope(place: ContextId, commitment: [u8; 32]) -> WrapScope {
    WrapScope {
        context: place,
        compartment: CompartmentId([0; 16]),
        commitment,
    }
}

impl Part {
    /// The part under the key of a grant.
    pub fn seal(&self, key: &EpochKey, rng: &mut impl CryptoRng) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.array(3);
        writer.uint(u64::from(self.number));
        writer.bin(&self.context.0);
        writer.array(self.entries.len());
        for entry in &self.entries {
            writer.bin(entry);
        }
        sealed(key.as_bytes(), PART_INFO, 0, writer.bytes, rng)
    }

    /// Reads what [`Part::seal`] made.
    pub fn open(key: &EpochKey, bytes: &[u8]) -> Result<Self, MessageError> {
        let (_, text) = opened(key.as_bytes(), PART_INFO, bytes)?;
        Self::decode(&text).map_err(MessageError::Malformed)
    }

    fn decode(text: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(text);
        reader.array_of(3)?;
        let number = reader.uint32("the number of a part")?;
        let context = ContextId(reader.bytes()?);
        let count = reader.array()?;
        let entries = (0..count)
            .map(|_| reader.bin().map(<[u8]>::to_vec))
            .collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self {
            number,
            context,
            entries,
        })
    }
}

fn sealed(
    key: &[u8; 32],
    info: &[u8],
    kind: u8,
    mut text: Vec<u8>,
    rng: &mut impl CryptoRng,
) -> Vec<u8> {
    let mut header = [0; HEADER_LENGTH];
    header[0] = VERSION;
    header[1] = kind;
    rng.fill_bytes(&mut header[2..]);
    let key = derive(key, &header[2..], &[info]);
    let tag = seal::seal(&key, &header, &mut text);
    [&header[..], &text, &tag].concat()
}

fn opened(key: &[u8; 32], info: &[u8], bytes: &[u8]) -> Result<(u8, Vec<u8>), MessageError> {
    let (header, rest) = bytes
        .split_at_checked(HEADER_LENGTH)
        .ok_or(MessageError::NotOfThisPairing)?;
    if header[0] != VERSION {
        return Err(MessageError::Version);
    }
    let key = derive(key, &header[2..], &[info]);
    let mut text = rest.to_vec();
    let length = seal::open(&key, header, &mut text).map_err(|_| MessageError::NotOfThisPairing)?;
    text.truncate(length);
    Ok((header[1], text))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;

    fn new_device() -> NewDevice {
        NewDevice {
            device: DeviceKey([1; 32]),
            sealing: SealingKey([2; 32]),
            writer: WriterKey([3; 32]),
            writer_proof: [4; 64],
            nonce: [5; 32],
        }
    }

    fn welcome() -> Welcome {
        Welcome {
            commitment: new_device().commitment(),
            user: UserId([6; 16]),
            contexts: vec![ContextId([7; 16]), ContextId([8; 16])],
            nonce: [9; 32],
        }
    }

    #[test]
    fn every_message_reads_back_and_no_other_secret_opens_it() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let secret = PairingSecret::generate(&mut rng);
        let other = PairingSecret::generate(&mut rng);
        let sealing = SealingSecret::generate(&mut rng);
        let (key, wrap) = grant(secret.place(), sealing.key(), &mut rng).unwrap();
        let messages = [
            Message::Commit([1; 32]),
            Message::Welcome(welcome()),
            Message::Offer {
                new: new_device(),
                proofs: vec![[1; 64], [2; 64]],
            },
            Message::Grant {
                commitment: key.commitment(),
                wrap: wrap.clone(),
                parts: 3,
            },
            Message::Part(vec![1, 2, 3]),
            Message::Received,
        ];
        for message in messages {
            let sealed = message.seal(&secret, &mut rng);
            assert_eq!(Message::open(&secret, &sealed), Ok(message));
            let foreign = Message::open(&other, &sealed);
            assert_eq!(foreign, Err(MessageError::NotOfThisPairing));
            for length in 0..sealed.len() {
                assert!(Message::open(&secret, &sealed[..length]).is_err());
            }
        }
        let opened = granted(secret.place(), &sealing, key.commitment(), &wrap).unwrap();
        assert_eq!(opened, key);
        let stranger = SealingSecret::generate(&mut rng);
        assert!(granted(secret.place(), &stranger, key.commitment(), &wrap).is_none());
        let part = Part {
            number: 1,
            context: ContextId([1; 16]),
            entries: vec![vec![1; 300], Vec::new()],
        };
        let sealed = part.seal(&key, &mut rng);
        assert_eq!(Part::open(&key, &sealed), Ok(part));
    }

    #[test]
    fn the_digits_depend_on_everything_said() {
        let secret = PairingSecret::from_bytes([1; 32]);
        let digits = code(&secret, &welcome(), &new_device());
        assert!(digits < 1_000_000);
        let mut other = new_device();
        other.nonce[0] ^= 1;
        assert_ne!(digits, code(&secret, &welcome(), &other));
        let mut other = new_device();
        other.device.0[0] ^= 1;
        assert_ne!(digits, code(&secret, &welcome(), &other));
        let mut other = welcome();
        other.user.0[0] ^= 1;
        assert_ne!(digits, code(&secret, &other, &new_device()));
        let mut other = welcome();
        other.nonce[0] ^= 1;
        assert_ne!(digits, code(&secret, &other, &new_device()));
        let other = PairingSecret::from_bytes([2; 32]);
        assert_ne!(digits, code(&other, &welcome(), &new_device()));
    }
}

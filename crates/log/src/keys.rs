//! The secret halves: epoch keys, writer keys, and sealing one to another.
//!
//! No type here prints its secret, and each wipes it when dropped. A wrapped key is believed only when it matches the
//! commitment in the control entry that starts its epoch.

use std::fmt;

use aeroedge_ids::{CompartmentId, ContextId, ControlHash, DeviceKey, SealingKey, WriterKey};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::seal::{derive, sha256};
use crate::tags::LinkKey;

const COMMITMENT_INFO: &[u8] = b"aeroedge epoch commitment v1";
const LINK_INFO: &[u8] = b"aeroedge epoch link v1";
const SEALING_INFO: &[u8] = b"aeroedge epoch sealing v1";
const COMBINED_INFO: &[u8] = b"aeroedge epoch combined v1";
const WRAP_INFO: &[u8] = b"aeroedge epoch wrap v1";
const WRITER_DOMAIN: &[u8] = b"aeroedge writer v1";

/// The key of one epoch of one compartment: 32 random bytes, or the combination of concurrent ones.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct EpochKey([u8; 32]);

impl EpochKey {
    /// A new key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        Self(key)
    }

    /// From bytes that were kept or carried.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret itself.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the control entry that starts the epoch publishes, so that nobody can be given another key under its name.
    pub fn commitment(&self) -> [u8; 32] {
        *derive(&self.0, &[], &[COMMITMENT_INFO])
    }

    /// The key with which members recognise each other on a network.
    pub fn link_key(&self) -> LinkKey {
        LinkKey::from_bytes(*derive(&self.0, &[], &[LINK_INFO]))
    }

    /// The key pair to which others seal what the holders of this epoch may open.
    pub fn sealing(&self) -> SealingSecret {
        SealingSecret(derive(&self.0, &[], &[SEALING_INFO]))
    }

    /// The key that follows from several concurrent epochs: from their keys in ascending order of the epochs' hashes.
    pub fn combine<'a>(keys: impl IntoIterator<Item = &'a Self>) -> Self {
        let ikm: Zeroizing<Vec<u8>> =
            Zeroizing::new(keys.into_iter().flat_map(|key| key.0).collect());
        Self(*derive(&ikm, &[], &[COMBINED_INFO]))
    }
}

impl fmt::Debug for EpochKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochKey(secret)")
    }
}

/// The private half of a [`SealingKey`], X25519.
#[derive(Clone)]
pub struct SealingSecret(Zeroizing<[u8; 32]>);

impl SealingSecret {
    /// A new key pair.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *secret);
        Self(secret)
    }

    /// From bytes that were kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The secret itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public half.
    pub fn key(&self) -> SealingKey {
        let mut key = [0; 32];
        if let Ok(secret) = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&*self.0) {
            X25519HkdfSha256::sk_to_pk(&secret).write_exact(&mut key);
        }
        SealingKey(key)
    }
}

impl fmt::Debug for SealingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingSecret({:?})", self.key())
    }
}

/// An epoch key sealed to one recipient: a device, or the holders of another epoch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wrap {
    /// Whom it is for.
    pub recipient: SealingKey,
    /// The HPKE encapsulated key.
    pub encapsulated: [u8; 32],
    /// The epoch key and its tag.
    pub ciphertext: [u8; 48],
}

/// Which epoch a wrapped key belongs to; goes into the seal, so a wrap cannot be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrapScope {
    /// The context.
    pub context: ContextId,
    /// The compartment.
    pub compartment: CompartmentId,
    /// What the epoch's control entry commits to.
    pub commitment: [u8; 32],
}

/// The key could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// The recipient's key is not a usable point.
    #[error("seal an epoch key to {0}: it is not a usable sealing key")]
    Recipient(SealingKey),
    /// Sealed to another key, for another epoch, or altered.
    #[error("open a wrapped epoch key: it was sealed to another key or for another epoch")]
    NotForUs,
    /// It opened to a key that the epoch does not commit to.
    #[error("trust a wrapped epoch key: the epoch commits to another one")]
    Commitment,
}

impl Wrap {
    /// Seals `key` to `recipient`.
    pub fn seal(
        key: &EpochKey,
        recipient: SealingKey,
        scope: &WrapScope,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, WrapError> {
        let unusable = WrapError::Recipient(recipient);
        let public =
            <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&recipient.0).map_err(|_| unusable)?;
        let (encapsulated, ciphertext) = hpke::single_shot_seal_with_rng::<
            AesGcm256,
            HkdfSha256,
            X25519HkdfSha256,
        >(
            &OpModeS::Base, &public, &scope.info(), &key.0, &[], rng
        )
        .map_err(|_| unusable)?;
        Ok(Self {
            recipient,
            encapsulated: encapsulated.to_bytes().into(),
            ciphertext: ciphertext.try_into().map_err(|_| unusable)?,
        })
    }

    /// Opens it with the recipient's secret and checks it against the commitment in `scope`.
    pub fn open(&self, secret: &SealingSecret, scope: &WrapScope) -> Result<EpochKey, WrapError> {
        let private = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&*secret.0)
            .map_err(|_| WrapError::NotForUs)?;
        let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&self.encapsulated)
            .map_err(|_| WrapError::NotForUs)?;
        let plaintext = hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &private,
            &encapsulated,
            &scope.info(),
            &self.ciphertext,
            &[],
        )
        .map(Zeroizing::new)
        .map_err(|_| WrapError::NotForUs)?;
        let key = EpochKey(
            plaintext
                .as_slice()
                .try_into()
                .map_err(|_| WrapError::NotForUs)?,
        );
        if key.commitment() == scope.commitment {
            Ok(key)
        } else {
            Err(WrapError::Commitment)
        }
    }
}

impl WrapScope {
    fn info(&self) -> Vec<u8> {
        [
            WRAP_INFO,
            &self.context.0,
            &self.compartment.0,
            &self.commitment,
        ]
        .concat()
    }
}

/// The private half of a [`WriterKey`], Ed25519.
#[derive(Clone)]
pub struct WriterSecret(SigningKey);

impl WriterSecret {
    /// A new writer.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(signing_key(rng))
    }

    /// From bytes that were kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let bytes = Zeroizing::new(bytes);
        Self(SigningKey::from_bytes(&bytes))
    }

    /// The secret itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The public half.
    pub fn key(&self) -> WriterKey {
        WriterKey(self.0.verifying_key().to_bytes())
    }

    /// Proves to readers of the control history that this writer belongs to `device` by its own will.
    pub fn prove(&self, device: DeviceKey) -> [u8; 64] {
        self.sign(&writer_message(device, self.key()))
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for WriterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriterSecret({:?})", self.key())
    }
}

/// Checks what [`WriterSecret::prove`] made.
pub(crate) fn writer_proof_is_valid(
    writer: WriterKey,
    device: DeviceKey,
    proof: &[u8; 64],
) -> bool {
    is_signed_by(&writer.0, &writer_message(device, writer), proof)
}

fn writer_message(device: DeviceKey, writer: WriterKey) -> Vec<u8> {
    [WRITER_DOMAIN, &device.0, &writer.0].concat()
}

/// Whether the holder of an Ed25519 key, a device's or an invite's, signed `message`.
pub fn is_signed_by(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| {
        key.verify_strict(message, &Signature::from_bytes(signature))
            .is_ok()
    })
}

pub(crate) fn signing_key(rng: &mut impl CryptoRng) -> SigningKey {
    let mut secret = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *secret);
    SigningKey::from_bytes(&secret)
}

/// The name of the combination of concurrent epochs, given their hashes in ascending order.
pub(crate) fn combined_epoch(parts: &[ControlHash]) -> ControlHash {
    let mut message = COMBINED_INFO.to_vec();
    message.extend(parts.iter().flat_map(|part| part.0));
    ControlHash(sha256(&[&message]))
}

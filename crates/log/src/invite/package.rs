//! The key in the link, the stretching of the secret, and the package both open.
//!
//! A package is sealed once, under a key that depends on a random seed, so its nonce is zero.

use std::fmt;

use aeroedge_ids::{ContextId, ControlHash, InviteKey};
use argon2::{Algorithm, Argon2, Params, Version};
use ed25519_dalek::{Signer, SigningKey};
use rand::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::Secret;
use crate::bytes::{DecodeError, Reader, Writer, strictly_ascending};
use crate::keys::EpochKey;
use crate::seal::{self, derive};

const SIGNING_INFO: &[u8] = b"aeroedge invite signing v1";
const PART_INFO: &[u8] = b"aeroedge invite part v1";
const PACKAGE_INFO: &[u8] = b"aeroedge invite package v1";
const CONSENT_INFO: &[u8] = b"aeroedge invite consent v1";

/// How much work it takes to try one secret: Argon2id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// Argon2id could not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StretchFailed;

impl Stretch {
    /// What the format prescribes: 64 MiB, 3 passes, 4 lanes. About a tenth of a second.
    pub const FORMAT: Self = Self {
        memory_kib: 64 << 10,
        passes: 3,
        lanes: 4,
    };
    /// Next to nothing, for tests and simulations. Whatever is sealed with it no other program opens.
    pub const FOR_TESTS: Self = Self {
        memory_kib: 32,
        passes: 1,
        lanes: 4,
    };

    pub(crate) fn apply(
        self,
        secret: &[u8],
        salt: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, StretchFailed> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|_| StretchFailed)?;
        let mut stretched = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(secret, salt, &mut *stretched)
            .map_err(|_| StretchFailed)?;
        Ok(stretched)
    }
}

/// The secret half of an invite, which stands in the link: 32 random bytes.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct InviteSeed([u8; 32]);

impl InviteSeed {
    /// A new one.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        Self(seed)
    }

    /// From a link.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret itself.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public name of the invite.
    pub fn key(&self) -> InviteKey {
        InviteKey(self.signing().verifying_key().to_bytes())
    }

    fn signing(&self) -> SigningKey {
        SigningKey::from_bytes(&derive(&self.0, &[], &[SIGNING_INFO]))
    }

    /// What must come together with the stretched secret.
    fn part(&self) -> Zeroizing<[u8; 32]> {
        derive(&self.0, &[], &[PART_INFO])
    }
}

impl fmt::Debug for InviteSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InviteSeed({:?})", self.key())
    }
}

/// The package cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// The secret is not the one the invite was made with.
    #[error(
        "open the invite: the secret is wrong, ask the person who invited you and type it again"
    )]
    WrongSecret,
    /// The secret was right and the content makes no sense.
    #[error("read the keys in the invite: ask for a new one")]
    Content(#[source] DecodeError),
    /// Argon2id has no memory.
    #[error("stretch the secret: 64 MiB of memory are needed")]
    Stretch,
}

/// An epoch's key on its way to a new member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackagedKey {
    pub(crate) epoch: ControlHash,
    pub(crate) key: EpochKey,
}

/// The key that only link and secret together yield. A join signed with it proves that its author had both, which the link
/// alone does not.
pub(crate) struct Consent(SigningKey);

impl Consent {
    fn of(package_key: &[u8; 32], seed: &InviteSeed) -> Self {
        Self(SigningKey::from_bytes(&derive(
            package_key,
            &seed.key().0,
            &[CONSENT_INFO],
        )))
    }

    /// Signs a join.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// The half that stands in the invite.
    pub(crate) fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }
}

/// Seals `keys`, ascending by epoch.
pub(crate) fn seal_package(
    context: ContextId,
    seed: &InviteSeed,
    secret: &Secret,
    stretch: Stretch,
    keys: &[PackagedKey],
) -> Result<(Vec<u8>, Consent), PackageError> {
    let key = package_key(seed, secret, stretch)?;
    let mut writer = Writer::default();
    writer.array(keys.len());
    for packaged in keys {
        writer.array(2);
        writer.bin(&packaged.epoch.0);
        writer.bin(packaged.key.as_bytes());
    }
    let mut package = writer.bytes;
    let tag = seal::seal(&key, &header(context, seed), &mut package);
    package.extend_from_slice(&tag);
    Ok((package, Consent::of(&key, seed)))
}

pub(crate) fn open_package(
    context: ContextId,
    seed: &InviteSeed,
    secret: &Secret,
    stretch: Stretch,
    package: &[u8],
) -> Result<(Vec<PackagedKey>, Consent), PackageError> {
    let key = package_key(seed, secret, stretch)?;
    let mut content = Zeroizing::new(package.to_vec());
    // The package is part of a signed entry, so it is whole: only the secret can be wrong.
    let length = seal::open(&key, &header(context, seed), &mut content)
        .map_err(|_| PackageError::WrongSecret)?;
    let keys = decode(&content[..length]).map_err(PackageError::Content)?;
    Ok((keys, Consent::of(&key, seed)))
}

fn decode(content: &[u8]) -> Result<Vec<PackagedKey>, DecodeError> {
    let mut reader = Reader::new(content);
    let mut keys = Vec::new();
    for _ in 0..reader.array()? {
        reader.array_of(2)?;
        let epoch = ControlHash(reader.bytes()?);
        keys.push(PackagedKey {
            epoch,
            key: EpochKey::from_bytes(reader.bytes()?),
        });
    }
    reader.finish()?;
    let epochs: Vec<_> = keys.iter().map(|packaged| packaged.epoch).collect();
    if strictly_ascending(&epochs) {
        Ok(keys)
    } else {
        Err(DecodeError::NotCanonical)
    }
}

fn package_key(
    seed: &InviteSeed,
    secret: &Secret,
    stretch: Stretch,
) -> Result<Zeroizing<[u8; 32]>, PackageError> {
    let salt = seed.key();
    let stretched = stretch
        .apply(secret.as_bytes(), &salt.0)
        .map_err(|_| PackageError::Stretch)?;
    let both = Zeroizing::new([stretched.as_slice(), seed.part().as_slice()].concat());
    Ok(derive(&both, &salt.0, &[PACKAGE_INFO]))
}

fn header(context: ContextId, seed: &InviteSeed) -> Vec<u8> {
    [PACKAGE_INFO, &context.0, &seed.key().0].concat()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;

    #[test]
    fn consent_takes_link_and_secret() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let context = ContextId([1; 16]);
        let seed = InviteSeed::generate(&mut rng);
        let consent = |seed: &InviteSeed, secret: &str| {
            let secret = Secret::typed(secret);
            let (_, consent) =
                seal_package(context, seed, &secret, Stretch::FOR_TESTS, &[]).unwrap();
            consent.public()
        };
        let right = consent(&seed, "lusab-babad");
        assert_eq!(right, consent(&seed, "lusab babad"));
        assert_ne!(right, consent(&seed, "lusab-babaf"));
        assert_ne!(
            right,
            consent(&InviteSeed::generate(&mut rng), "lusab-babad")
        );
        assert_ne!(right, seed.key().0);
    }
}

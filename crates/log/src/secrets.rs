//! The secrets of one installation and the file that holds them.
//!
//! The file is sealed under a passphrase or stands in clear, and says which. Reading and writing files is the caller's.

use std::collections::BTreeMap;
use std::fmt;

use aeroedge_ids::{ContextId, DeviceKey, SealingKey, WriterKey};
use ed25519_dalek::{Signer, SigningKey};
use rand::CryptoRng;
use zeroize::Zeroizing;

use crate::bytes::{DecodeError, Reader, Writer};
use crate::invite::Stretch;
use crate::keys::{SealingSecret, WriterSecret, signing_key};
use crate::seal::{self, derive, sha256};

const MAGIC: &[u8; 13] = b"aeroedge keys";
const VERSION: u8 = 1;
const IN_CLEAR: u8 = 0;
const SEALED: u8 = 1;
/// Magic, version, protection and salt.
const PREFIX_LENGTH: usize = MAGIC.len() + 2 + 16;
const FILE_INFO: &[u8] = b"aeroedge keys v1";

/// Everything an installation must keep secret and must not lose.
#[derive(Clone)]
pub struct DeviceSecrets {
    signing: SigningKey,
    sealing: SealingSecret,
    /// In the order they were opened; the last is in use. They are random, never derived: a copy of this file must not
    /// come up with the same next writer as its original.
    writers: Vec<WriterSecret>,
    /// Under which of them this installation is known where.
    writer_by_context: BTreeMap<ContextId, WriterKey>,
}

/// The file cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// The first bytes are not ours.
    #[error("read the key file: this is not one")]
    NotAKeyFile,
    /// A newer program wrote it.
    #[error("read a key file of version {0}: update this program")]
    Version(u8),
    /// It is sealed and no passphrase was given.
    #[error("open the key file: it needs a passphrase")]
    NeedsPassphrase,
    /// The passphrase does not open it, or the file is damaged.
    #[error("open the key file: the passphrase is wrong or the file is damaged")]
    WrongPassphrase,
    /// The file is in clear and its checksum does not fit.
    #[error("read the key file: it is damaged, restore it from a copy")]
    Damaged,
    /// It opened and does not hold what it should.
    #[error("read the keys in the key file")]
    Content(#[source] DecodeError),
    /// Argon2id has no memory.
    #[error("stretch the passphrase: not enough memory")]
    Stretch,
}

impl DeviceSecrets {
    /// The secrets of a new installation.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self {
            signing: signing_key(rng),
            sealing: SealingSecret::generate(rng),
            writers: Vec::new(),
            writer_by_context: BTreeMap::new(),
        }
    }

    /// The public name of this installation.
    pub fn device(&self) -> DeviceKey {
        DeviceKey(self.signing.verifying_key().to_bytes())
    }

    /// The key to which others seal for this installation.
    pub fn sealing_key(&self) -> SealingKey {
        self.sealing.key()
    }

    /// The private half of [`DeviceSecrets::sealing_key`].
    pub fn sealing(&self) -> &SealingSecret {
        &self.sealing
    }

    /// Signs for a control entry, or to prove this device on a link. The message begins with a domain of its own.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing.sign(message).to_bytes()
    }

    /// Remembers that `writer` is the one in use, and that `context` knows it; earlier ones are kept.
    pub fn add_writer(&mut self, context: ContextId, writer: WriterSecret) {
        self.writer_by_context.insert(context, writer.key());
        if self.writer_by_key(writer.key()).is_none() {
            self.writers.push(writer);
        }
    }

    /// The writer under which `context` knows this installation.
    pub fn writer(&self, context: ContextId) -> Option<&WriterSecret> {
        self.writer_by_key(*self.writer_by_context.get(&context)?)
    }

    /// The writer under which this installation writes in all its contexts; none before the first.
    pub fn writer_in_use(&self) -> Option<&WriterSecret> {
        self.writers.last()
    }

    /// The secret of a particular writer, also one no longer in use.
    pub fn writer_by_key(&self, key: WriterKey) -> Option<&WriterSecret> {
        self.writers.iter().find(|writer| writer.key() == key)
    }

    /// The contexts that know a writer of this installation.
    pub fn contexts(&self) -> impl Iterator<Item = ContextId> + '_ {
        self.writer_by_context.keys().copied()
    }

    /// The file in clear. Whoever reads it is this device.
    pub fn to_file(&self, rng: &mut impl CryptoRng) -> Zeroizing<Vec<u8>> {
        let content = self.encode();
        let mut file = Zeroizing::new(prefix(IN_CLEAR, rng));
        let checksum = sha256(&[&file, &content]);
        file.extend_from_slice(&content);
        file.extend_from_slice(&checksum[..16]);
        file
    }

    /// The file sealed under a passphrase.
    pub fn to_sealed_file(
        &self,
        passphrase: &str,
        stretch: Stretch,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, SecretsError> {
        let mut content = self.encode();
        let mut file = prefix(SEALED, rng);
        let key = file_key(passphrase, stretch, &file)?;
        let tag = seal::seal(&key, &file, &mut content);
        file.extend_from_slice(&content);
        file.extend_from_slice(&tag);
        Ok(file)
    }

    /// Reads either kind of file. `stretch` must be what the file was sealed with.
    pub fn from_file(
        file: &[u8],
        passphrase: Option<&str>,
        stretch: Stretch,
    ) -> Result<Self, SecretsError> {
        let (prefix, rest) = file
            .split_at_checked(PREFIX_LENGTH)
            .ok_or(SecretsError::NotAKeyFile)?;
        if !prefix.starts_with(MAGIC) {
            return Err(SecretsError::NotAKeyFile);
        }
        let (version, protection) = (prefix[MAGIC.len()], prefix[MAGIC.len() + 1]);
        if version != VERSION {
            return Err(SecretsError::Version(version));
        }
        match (protection, passphrase) {
            (IN_CLEAR, _) => {
                let length = rest.len().checked_sub(16).ok_or(SecretsError::Damaged)?;
                let (content, checksum) = rest.split_at(length);
                if sha256(&[prefix, content])[..16] != *checksum {
                    return Err(SecretsError::Damaged);
                }
                Self::decode(content).map_err(SecretsError::Content)
            }
            (SEALED, None) => Err(SecretsError::NeedsPassphrase),
            (SEALED, Some(passphrase)) => {
                let key = file_key(passphrase, stretch, prefix)?;
                let mut content = Zeroizing::new(rest.to_vec());
                let length = seal::open(&key, prefix, &mut content)
                    .map_err(|_| SecretsError::WrongPassphrase)?;
                Self::decode(&content[..length]).map_err(SecretsError::Content)
            }
            _ => Err(SecretsError::Damaged),
        }
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::default();
        writer.array(4);
        writer.bin(self.signing.as_bytes());
        writer.bin(self.sealing.as_bytes());
        writer.array(self.writers.len());
        for secret in &self.writers {
            writer.bin(secret.as_bytes());
        }
        writer.array(self.writer_by_context.len());
        for (context, key) in &self.writer_by_context {
            writer.array(2);
            writer.bin(&context.0);
            writer.bin(&key.0);
        }
        Zeroizing::new(writer.bytes)
    }

    fn decode(content: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(content);
        reader.array_of(4)?;
        let signing = SigningKey::from_bytes(&Zeroizing::new(reader.bytes()?));
        let sealing = SealingSecret::from_bytes(reader.bytes()?);
        let mut writers = Vec::new();
        for _ in 0..reader.array()? {
            writers.push(WriterSecret::from_bytes(reader.bytes()?));
        }
        let mut writer_by_context = BTreeMap::new();
        for _ in 0..reader.array()? {
            reader.array_of(2)?;
            writer_by_context.insert(ContextId(reader.bytes()?), WriterKey(reader.bytes()?));
        }
        reader.finish()?;
        Ok(Self {
            signing,
            sealing,
            writers,
            writer_by_context,
        })
    }
}

impl fmt::Debug for DeviceSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceSecrets")
            .field("device", &self.device())
            .finish_non_exhaustive()
    }
}

fn prefix(protection: u8, rng: &mut impl CryptoRng) -> Vec<u8> {
    let mut salt = [0; 16];
    rng.fill_bytes(&mut salt);
    [MAGIC.as_slice(), &[VERSION, protection], &salt].concat()
}

fn file_key(
    passphrase: &str,
    stretch: Stretch,
    prefix: &[u8],
) -> Result<Zeroizing<[u8; 32]>, SecretsError> {
    let stretched = stretch
        .apply(passphrase.as_bytes(), &prefix[PREFIX_LENGTH - 16..])
        .map_err(|_| SecretsError::Stretch)?;
    Ok(derive(&*stretched, &[], &[FILE_INFO]))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;

    fn secrets(rng: &mut ChaCha20Rng) -> DeviceSecrets {
        let mut secrets = DeviceSecrets::generate(rng);
        secrets.add_writer(ContextId([1; 16]), WriterSecret::generate(rng));
        secrets.add_writer(ContextId([1; 16]), WriterSecret::generate(rng));
        secrets
    }

    #[test]
    fn both_kinds_of_file_read_back() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let secrets = secrets(&mut rng);
        let clear = secrets.to_file(&mut rng);
        let sealed = secrets
            .to_sealed_file("correct horse", Stretch::FOR_TESTS, &mut rng)
            .unwrap();
        for file in [clear.as_slice(), &sealed] {
            let read =
                DeviceSecrets::from_file(file, Some("correct horse"), Stretch::FOR_TESTS).unwrap();
            assert_eq!(read.device(), secrets.device());
            assert_eq!(read.sealing_key(), secrets.sealing_key());
            let context = ContextId([1; 16]);
            assert_eq!(
                read.writer(context).unwrap().key(),
                secrets.writer(context).unwrap().key()
            );
        }
    }

    #[test]
    fn the_writer_opened_last_is_in_use_whatever_the_contexts_are_called() {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let mut secrets = DeviceSecrets::generate(&mut rng);
        assert!(secrets.writer_in_use().is_none());
        let (old, new) = (
            WriterSecret::generate(&mut rng),
            WriterSecret::generate(&mut rng),
        );
        for context in [1, 3] {
            secrets.add_writer(ContextId([context; 16]), old.clone());
        }
        secrets.add_writer(ContextId([3; 16]), new.clone());
        let file = secrets.to_file(&mut rng);
        let secrets = DeviceSecrets::from_file(&file, None, Stretch::FOR_TESTS).unwrap();
        assert_eq!(secrets.writer_in_use().unwrap().key(), new.key());
        assert_eq!(secrets.writer(ContextId([1; 16])).unwrap().key(), old.key());
        assert_eq!(secrets.writer(ContextId([3; 16])).unwrap().key(), new.key());
        assert!(secrets.writer_by_key(old.key()).is_some());
        assert_eq!(secrets.contexts().count(), 2);
    }

    #[test]
    fn each_way_to_fail_has_its_own_error() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let secrets = secrets(&mut rng);
        let read = |file: &[u8], passphrase| {
            DeviceSecrets::from_file(file, passphrase, Stretch::FOR_TESTS)
                .map(|secrets| secrets.device())
        };
        let sealed = secrets
            .to_sealed_file("right", Stretch::FOR_TESTS, &mut rng)
            .unwrap();
        assert_eq!(read(&sealed, None), Err(SecretsError::NeedsPassphrase));
        assert_eq!(
            read(&sealed, Some("wrong")),
            Err(SecretsError::WrongPassphrase)
        );
        assert_eq!(read(b"{}", None), Err(SecretsError::NotAKeyFile));
        let mut clear = secrets.to_file(&mut rng).to_vec();
        clear[MAGIC.len()] = 9;
        assert_eq!(read(&clear, None), Err(SecretsError::Version(9)));
        clear[MAGIC.len()] = VERSION;
        clear[PREFIX_LENGTH + 10] ^= 1;
        assert_eq!(read(&clear, None), Err(SecretsError::Damaged));
    }

    #[test]
    fn a_secret_is_never_printed() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let secrets = secrets(&mut rng);
        let printed = format!("{secrets:?} {:?}", secrets.writer(ContextId([1; 16])));
        let secret = data_encoding::HEXLOWER.encode(secrets.signing.as_bytes());
        assert!(!printed.contains(&secret[..12]));
    }
}

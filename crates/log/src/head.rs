//! A writer's signature over the end of its log: it vouches for everything up to there.
//!
//! Entries carry no signature; one head serves a whole durable group. It proves authenticity, never completeness.

use aeroedge_ids::{CompartmentId, EntryHash, Seq, WriterKey};
use ed25519_dalek::{Signature, VerifyingKey, verify_batch};

use crate::keys::WriterSecret;

const DOMAIN: &[u8] = b"aeroedge head v1";
const MESSAGE_LENGTH: usize = DOMAIN.len() + 16 + 32 + 8 + 32;

/// A signed position of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The compartment of the log.
    pub compartment: CompartmentId,
    /// Whose log.
    pub writer: WriterKey,
    /// The last entry it vouches for.
    pub seq: Seq,
    /// The hash of that entry.
    pub hash: EntryHash,
    /// Ed25519 by the writer.
    pub signature: [u8; 64],
}

/// The head cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not [`Head::LENGTH`] bytes.
    #[error("read a head of {0} bytes: a head has 152")]
    Length(usize),
    /// The writer did not sign this.
    #[error("verify the head: its writer did not sign it")]
    Signature,
}

impl Head {
    /// Length on the wire, bytes.
    pub const LENGTH: usize = 16 + 32 + 8 + 32 + 64;

    /// Signs the end of a log. Only what is durable may be signed: see `docs/format.md`.
    pub fn sign(
        compartment: CompartmentId,
        seq: Seq,
        hash: EntryHash,
        secret: &WriterSecret,
    ) -> Self {
        let writer = secret.key();
        let mut head = Self {
            compartment,
            writer,
            seq,
            hash,
            signature: [0; 64],
        };
        head.signature = secret.sign(&head.message());
        head
    }

    /// Whether the writer it names signed it.
    pub fn verify(&self) -> Result<(), HeadError> {
        VerifyingKey::from_bytes(&self.writer.0)
            .and_then(|key| {
                key.verify_strict(&self.message(), &Signature::from_bytes(&self.signature))
            })
            .map_err(|_| HeadError::Signature)
    }

    /// As it stands on the wire.
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..16].copy_from_slice(&self.compartment.0);
        bytes[16..48].copy_from_slice(&self.writer.0);
        bytes[48..56].copy_from_slice(&self.seq.0.to_be_bytes());
        bytes[56..88].copy_from_slice(&self.hash.0);
        bytes[88..].copy_from_slice(&self.signature);
        bytes
    }

    /// Reads what [`Head::to_bytes`] wrote. The signature is not checked.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HeadError> {
        let bytes: &[u8; Self::LENGTH] = bytes
            .try_into()
            .map_err(|_| HeadError::Length(bytes.len()))?;
        let (compartment, rest) = take(bytes);
        let (writer, rest) = take(rest);
        let (seq, rest) = take(rest);
        let (hash, rest) = take(rest);
        let (signature, _) = take(rest);
        Ok(Self {
            compartment: CompartmentId(compartment),
            writer: WriterKey(writer),
            seq: Seq(u64::from_be_bytes(seq)),
            hash: EntryHash(hash),
            signature,
        })
    }

    fn message(&self) -> [u8; MESSAGE_LENGTH] {
        let mut message = [0; MESSAGE_LENGTH];
        message[..DOMAIN.len()].copy_from_slice(DOMAIN);
        message[DOMAIN.len()..].copy_from_slice(&self.to_bytes()[..88]);
        message
    }
}

/// Verifies many heads at less than half the cost of one by one. Returns the positions of those that fail, in order.
///
/// A batch accepts whatever [`Head::verify`] accepts. Beyond that it may accept what only the writer itself could craft
/// with its own secret key, so nobody can speak for another.
pub fn verify_all(heads: &[Head]) -> Vec<usize> {
    if heads.len() > 1 && all_verify_as_a_batch(heads) {
        return Vec::new();
    }
    heads
        .iter()
        .enumerate()
        .filter(|(_, head)| head.verify().is_err())
        .map(|(position, _)| position)
        .collect()
}

fn all_verify_as_a_batch(heads: &[Head]) -> bool {
    let keys: Option<Vec<VerifyingKey>> = heads
        .iter()
        .map(|head| {
            VerifyingKey::from_bytes(&head.writer.0)
                .ok()
                .filter(|key| !key.is_weak())
        })
        .collect();
    let Some(keys) = keys else { return false };
    let messages: Vec<_> = heads.iter().map(Head::message).collect();
    let messages: Vec<&[u8]> = messages
        .iter()
        .map(<[u8; MESSAGE_LENGTH]>::as_slice)
        .collect();
    let signatures: Vec<_> = heads
        .iter()
        .map(|head| Signature::from_bytes(&head.signature))
        .collect();
    verify_batch(&messages, &signatures, &keys).is_ok()
}

/// The first `N` bytes and the rest. The caller knows that there are as many.
fn take<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    let (taken, rest) = bytes.split_at(N);
    let mut value = [0; N];
    value.copy_from_slice(taken);
    (value, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads() -> Vec<Head> {
        (1..=20)
            .map(|number| {
                let secret = WriterSecret::from_bytes([number; 32]);
                Head::sign(
                    CompartmentId([7; 16]),
                    Seq(u64::from(number)),
                    EntryHash([number; 32]),
                    &secret,
                )
            })
            .collect()
    }

    #[test]
    fn any_changed_bit_of_a_head_is_noticed() {
        let bytes = heads()[0].to_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                Head::from_bytes(&changed).unwrap().verify(),
                Err(HeadError::Signature),
                "bit {bit}"
            );
        }
        assert_eq!(Head::from_bytes(&bytes).unwrap().verify(), Ok(()));
        assert_eq!(Head::from_bytes(&bytes[1..]), Err(HeadError::Length(151)));
    }

    #[test]
    fn a_batch_names_the_heads_that_fail() {
        let mut heads = heads();
        assert_eq!(verify_all(&heads), Vec::<usize>::new());
        heads[3].seq = Seq(99);
        heads[17].compartment = CompartmentId([8; 16]);
        assert_eq!(verify_all(&heads), [3, 17]);
        assert_eq!(verify_all(&[]), Vec::<usize>::new());
    }
}

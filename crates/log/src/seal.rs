//! The three primitives everything else is made of: SHA-256, HKDF-SHA-256 and AES-256-GCM with a key used once.
//!
//! Every key that reaches [`seal`] is derived from fresh randomness for this one message, which is why the nonce is zero.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes that AES-256-GCM adds.
pub(crate) const TAG_LENGTH: usize = 16;

/// The message was not sealed with this key and header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAuthentic;

pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// HKDF-SHA-256 to 32 bytes. `info` is the concatenation of its parts.
pub(crate) fn derive(ikm: &[u8], salt: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    // Cannot fail: 32 bytes are far below the limit of 255 blocks.
    let _ = Hkdf::<Sha256>::new(Some(salt), ikm).expand_multi_info(info, &mut *key);
    key
}

/// Encrypts `message` in place under a key used once; what it returns follows the ciphertext.
pub(crate) fn seal(key: &[u8; 32], header: &[u8], message: &mut [u8]) -> [u8; TAG_LENGTH] {
    let tag = Aes256Gcm::new(key.into()).encrypt_inout_detached(
        &Nonce::default(),
        header,
        message.into(),
    );
    // Cannot fail: the limit is 64 GiB and the caller's cap is 1 MiB.
    tag.unwrap_or_default().into()
}

/// Decrypts in place what [`seal`] made; `sealed` ends with the tag. Returns the length of the message.
pub(crate) fn open(
    key: &[u8; 32],
    header: &[u8],
    sealed: &mut [u8],
) -> Result<usize, NotAuthentic> {
    let length = sealed.len().checked_sub(TAG_LENGTH).ok_or(NotAuthentic)?;
    let (message, tag) = sealed.split_at_mut(length);
    let tag = Tag::try_from(&*tag).map_err(|_| NotAuthentic)?;
    Aes256Gcm::new(key.into())
        .decrypt_inout_detached(&Nonce::default(), header, message.into(), &tag)
        .map_err(|_| NotAuthentic)?;
    Ok(length)
}

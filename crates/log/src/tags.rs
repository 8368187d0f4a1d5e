//! How members find each other on a network without telling strangers that they are there.
//!
//! A tag is a keyed hash of a fresh nonce: who holds the link key recognises it, to anyone else it is noise.

use std::fmt;

use aeroedge_ids::InviteKey;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::seal::derive;

const ANNOUNCE_DOMAIN: &[u8] = b"aeroedge announce v1";
const INVITE_INFO: &[u8] = b"aeroedge invite link v1";

/// The key under which the members of an epoch, or the holders of an invite and the members, recognise each other.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct LinkKey([u8; 32]);

/// What an announcement carries: 8 bytes, so that many fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnnounceTag(pub [u8; 8]);

impl LinkKey {
    /// From bytes that were derived.
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret itself, for the session that greets with it.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key by which the holder of an invite link and the members of its context recognise each other. It follows
    /// from the invite's public key, which only they know.
    pub fn of_invite(invite: InviteKey) -> Self {
        Self(*derive(&invite.0, &[], &[INVITE_INFO]))
    }

    /// The tag for an announcement with this nonce.
    pub fn announce(&self, nonce: &[u8]) -> AnnounceTag {
        let mut tag = [0; 8];
        // Any length is a key to HMAC, so this is always taken.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) {
            mac.update(ANNOUNCE_DOMAIN);
            mac.update(nonce);
            tag.copy_from_slice(&mac.finalize().into_bytes()[..8]);
        }
        AnnounceTag(tag)
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_depends_on_key_and_nonce() {
        let (one, other) = (LinkKey::from_bytes([1; 32]), LinkKey::from_bytes([2; 32]));
        assert_eq!(one.announce(b"nonce"), one.clone().announce(b"nonce"));
        assert_ne!(one.announce(b"nonce"), other.announce(b"nonce"));
        assert_ne!(one.announce(b"nonce"), one.announce(b"other"));
    }
}

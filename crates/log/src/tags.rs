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
const GREET_DOMAIN: &[u8] = b"aeroedge greet v1";
const INVITE_INFO: &[u8] = b"aeroedge invite link v1";

/// The key under which the members of an epoch, or the holders of an invite and the members, recognise each other.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct LinkKey([u8; 32]);

/// What an announcement carries: 8 bytes, so that many fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnnounceTag(pub [u8; 8]);

/// What the two sides of a link exchange to learn which contexts they share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GreetTag(pub [u8; 16]);

/// Everything a greeting depends on.
#[derive(Debug, Clone, Copy)]
pub struct Greeting<'a> {
    /// The handshake hash of the link.
    pub binding: &'a [u8],
    /// The nonce of the side that opened the link.
    pub initiator_nonce: &'a [u8; 32],
    /// The nonce of the other side.
    pub responder_nonce: &'a [u8; 32],
    /// Who greets: 0 the side that opened the link, 1 the other.
    pub side: u8,
}

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
        AnnounceTag(self.tag(&[ANNOUNCE_DOMAIN, nonce]))
    }

    /// The tag for a greeting. The two sides of one link send different ones, so neither can be sent back.
    pub fn greet(&self, greeting: &Greeting<'_>) -> GreetTag {
        GreetTag(self.tag(&[
            GREET_DOMAIN,
            &[greeting.side],
            greeting.initiator_nonce,
            greeting.responder_nonce,
            greeting.binding,
        ]))
    }

    /// The first `N` bytes of HMAC-SHA-256.
    fn tag<const N: usize>(&self, parts: &[&[u8]]) -> [u8; N] {
        let mut tag = [0; N];
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) {
            for part in parts {
                mac.update(part);
            }
            tag.copy_from_slice(&mac.finalize().into_bytes()[..N]);
        }
        tag
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
    fn the_two_sides_of_a_link_greet_differently() {
        let key = LinkKey::from_bytes([1; 32]);
        let greeting = Greeting {
            binding: b"hash",
            initiator_nonce: &[2; 32],
            responder_nonce: &[3; 32],
            side: 0,
        };
        assert_ne!(
            key.greet(&greeting),
            key.greet(&Greeting {
                side: 1,
                ..greeting
            })
        );
        assert_ne!(
            key.greet(&greeting),
            key.greet(&Greeting {
                binding: b"other",
                ..greeting
            })
        );
        assert_eq!(key.greet(&greeting), key.clone().greet(&greeting));
    }
}

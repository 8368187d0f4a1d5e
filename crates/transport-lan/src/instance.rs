//! Who a running driver is on the network: a key pair made at start and forgotten at stop.
//!
//! It says nothing about the device: its only use is that whoever answers at an announced address can prove to be the
//! one that was announced, and that two links between the same two drivers are known to be duplicates.

use std::fmt;

use aeroedge_transport::Nonce;
use data_encoding::BASE32_NOPAD;
use snow::Keypair;

use crate::handshake::{self, HandshakeError};

/// The public half: announced, and proved in every handshake.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Instance([u8; 32]);

/// Both halves.
pub(crate) struct InstanceKeys {
    pub(crate) public: Instance,
    pub(crate) private: Vec<u8>,
}

impl InstanceKeys {
    pub(crate) fn generate() -> Result<Self, HandshakeError> {
        let Keypair { public, private } = handshake::builder()?.generate_keypair()?;
        let public = Instance::from_bytes(&public).ok_or(HandshakeError::Foreign)?;
        Ok(Self { public, private })
    }
}

impl Instance {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The name under which it is announced: 52 letters and digits, which fit a DNS label.
    pub(crate) fn name(&self) -> String {
        BASE32_NOPAD.encode(&self.0).to_ascii_lowercase()
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let bytes = BASE32_NOPAD
            .decode(name.to_ascii_uppercase().as_bytes())
            .ok()?;
        Self::from_bytes(&bytes)
    }

    /// The nonce of its tags: nobody else can answer in the name of an instance, so nobody can use its tags either.
    pub(crate) fn nonce(&self) -> Nonce {
        let mut nonce = Nonce::default();
        nonce.copy_from_slice(&self.0[..size_of::<Nonce>()]);
        nonce
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name()[..8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_reads_back_in_any_case() {
        let instance = InstanceKeys::generate().unwrap().public;
        assert_eq!(Instance::from_name(&instance.name()), Some(instance));
        assert_eq!(
            Instance::from_name(&instance.name().to_uppercase()),
            Some(instance)
        );
        assert!(instance.name().len() <= 63);
    }

    #[test]
    fn foreign_names_are_no_instances() {
        for name in ["", "printer", "AAAA", &"a".repeat(63), "ü"] {
            assert_eq!(Instance::from_name(name), None, "{name}");
        }
    }
}

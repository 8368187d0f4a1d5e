//! A type for every identifier, so that two of them cannot be swapped silently.
//!
//! Identifiers are plain bytes with one text form, lower-case hexadecimal. Nothing here makes an identifier up: random
//! ones come from the caller, derived ones from the crate that knows the derivation.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;

/// The text was not an identifier of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} must be {length} hexadecimal digits, not {found:?}")]
pub struct ParseIdError {
    kind: &'static str,
    length: usize,
    found: String,
}

macro_rules! byte_ids {
    ($($(#[$doc:meta])* $name:ident, $length:literal, $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $length]);

        impl $name {
            /// Length in bytes.
            pub const LENGTH: usize = $length;

            /// The bytes as they stand on the wire.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl From<[u8; $length]> for $name {
            fn from(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = ParseIdError;

            fn try_from(bytes: &[u8]) -> Result<Self, ParseIdError> {
                bytes.try_into().map(Self).map_err(|_| ParseIdError {
                    kind: $kind,
                    length: $length * 2,
                    found: format!("{} bytes", bytes.len()),
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), &HEXLOWER_PERMISSIVE.encode(&self.0)[..12])
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                HEXLOWER_PERMISSIVE
                    .decode(text.trim().as_bytes())
                    .ok()
                    .and_then(|bytes| <[u8; $length]>::try_from(bytes).ok())
                    .map(Self)
                    .ok_or_else(|| ParseIdError {
                        kind: $kind,
                        length: $length * 2,
                        found: text.chars().take(80).collect(),
                    })
            }
        }
    )*};
}

byte_ids! {
    /// A group that shares data and a key: the first half of the hash of its first control entry.
    ContextId, 16, "a context id";
    /// The part of a context that one audience may read, derived from the context and the audience.
    CompartmentId, 16, "a compartment id";
    /// A person, across all of that person's devices.
    UserId, 16, "a user id";
    /// Ties the entries that one transaction made in several compartments.
    TransactionId, 16, "a transaction id";
    /// One installation: its Ed25519 public key.
    DeviceKey, 32, "a device key";
    /// The X25519 public key to which a device lets others seal.
    SealingKey, 32, "a sealing key";
    /// The author of logs: the Ed25519 public key that signs their heads.
    WriterKey, 32, "a writer key";
    /// An invite: the Ed25519 public key whose private half stands in the link.
    InviteKey, 32, "an invite key";
    /// SHA-256 of a data entry as it stands in a log.
    EntryHash, 32, "an entry hash";
    /// SHA-256 of a control entry.
    ControlHash, 32, "a control hash";
    /// The first 8 bytes of an entry's hash: enough to tell which of two stories is meant, not a proof.
    EntryCheck, 8, "an entry check";
}

impl EntryHash {
    /// Its first bytes.
    pub fn check(&self) -> EntryCheck {
        let mut check = [0; EntryCheck::LENGTH];
        check.copy_from_slice(&self.0[..EntryCheck::LENGTH]);
        EntryCheck(check)
    }
}

/// Position of an entry in its log; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first entry.
    pub const NONE: Self = Self(0);

    /// The position after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z, as the caller's clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let id = ContextId([0xab; 16]);
        assert_eq!(id.to_string().parse::<ContextId>().unwrap(), id);
        assert_eq!(
            id.to_string().to_uppercase().parse::<ContextId>().unwrap(),
            id
        );
    }

    #[test]
    fn wrong_length_says_what_was_expected() {
        let error = "abcd".parse::<ContextId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "a context id must be 32 hexadecimal digits, not \"abcd\""
        );
    }
}

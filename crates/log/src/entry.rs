//! One sealed changeset: a header in clear and a ciphertext, chained to the writer's previous entry.
//!
//! [`EntryRef`] reads the header where it lies and copies nothing. Parsing is strict and total: any bytes either are an
//! entry with exactly one reading or give an error. An entry carries no signature; see [`crate::head`].

mod body;
mod chain;
mod sealer;

pub use body::{Body, BodyError, Seen, WriterTag, branch_name};
pub use chain::{ChainError, ChainPosition};
pub use sealer::{OpenError, Opener, SealError, SealedEntry, Sealer};

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{CompartmentId, ContextId, ControlHash, EntryHash, Seq, WriterKey};

use crate::bytes::strictly_ascending;
use crate::seal::{TAG_LENGTH, sha256};

/// The version of the entry format that this crate writes and reads.
pub const VERSION: u8 = 1;
/// The longest body before compression, bytes.
pub const PLAINTEXT_MAX: usize = 1 << 20;
/// The longest ciphertext, bytes.
pub const CIPHERTEXT_MAX: usize = PLAINTEXT_MAX + TAG_LENGTH;
/// A body longer than this should be split into parts, bytes.
pub const PART_TARGET: usize = 256 << 10;
/// The most membership heads one header names.
pub const HEADS_MAX: usize = 8;

const FLAG_COMPRESSED: u8 = 1;
const FLAG_MORE_PARTS: u8 = 2;

// Offsets in the header, in the order of docs/format.md.
const KIND: usize = 1;
const FLAGS: usize = 2;
const HEADS_COUNT: usize = 3;
const CONTEXT: usize = 4;
const COMPARTMENT: usize = 20;
const WRITER: usize = 36;
const SEQ: usize = 68;
const PREVIOUS: usize = 76;
const HLC: usize = 108;
const EPOCH: usize = 116;
const SCHEMA: usize = 148;
const SALT: usize = 152;
const LENGTH: usize = 184;
const HEADS: usize = 188;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// The changeset of one transaction, or a part of it.
    Data,
    /// The whole state of a compartment. Reserved: recognised, stored and forwarded, not opened by this version.
    Checkpoint,
}

/// What a writer decides about an entry; the rest of the header follows from the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryFields {
    /// The context it belongs to.
    pub context: ContextId,
    /// The compartment whose log it extends.
    pub compartment: CompartmentId,
    /// Whose log it extends.
    pub writer: WriterKey,
    /// Its position; the first is 1.
    pub seq: Seq,
    /// Hash of the entry before it; all zero for the first.
    pub previous: EntryHash,
    /// The stamp of the transaction, greater than any the writer used before.
    pub hlc: Hlc,
    /// The epoch whose key seals it.
    pub epoch: ControlHash,
    /// The version of the application's schema when it was written.
    pub schema_version: u32,
    /// Heads of the control history the writer knew, ascending, 1 to [`HEADS_MAX`].
    pub heads: Vec<ControlHash>,
    /// More parts of the same transaction follow in the next entry.
    pub more_parts: bool,
}

/// The bytes are not an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes end before the header or the ciphertext does.
    #[error("read the entry: it is cut off")]
    Truncated,
    /// Bytes follow the ciphertext.
    #[error("read the entry: bytes follow its end")]
    Trailing,
    /// Written by a newer program.
    #[error("read an entry of format version {0}: update this program")]
    Version(u8),
    /// A kind that this version does not know.
    #[error("read an entry of kind {0}: update this program")]
    Kind(u8),
    /// A flag that this version does not know.
    #[error("read an entry with flags {0:#04x}: update this program")]
    Flags(u8),
    /// No heads, too many, or not ascending.
    #[error("read the entry: its membership heads are not an ascending list of 1 to 8")]
    Heads,
    /// Sequence number zero, or a first entry that names a predecessor, or a later one that names none.
    #[error("read the entry: its sequence number and previous hash contradict each other")]
    Seq,
    /// The ciphertext is longer than [`CIPHERTEXT_MAX`] or shorter than its tag.
    #[error("read the entry: a ciphertext of {0} bytes is outside what the format allows")]
    Length(u32),
}

/// A view of one whole, well-formed entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRef<'a> {
    bytes: &'a [u8],
    header_length: usize,
}

impl<'a> EntryRef<'a> {
    /// Reads an entry that takes up all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let (entry, rest) = Self::parse_first(bytes)?;
        if rest.is_empty() {
            Ok(entry)
        } else {
            Err(EntryError::Trailing)
        }
    }

    /// Reads the entry at the front of `bytes` and returns what follows it.
    pub fn parse_first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), EntryError> {
        let version = *bytes.first().ok_or(EntryError::Truncated)?;
        if version != VERSION {
            return Err(EntryError::Version(version));
        }
        if bytes.len() < HEADS {
            return Err(EntryError::Truncated);
        }
        if !matches!(bytes[KIND], 1 | 2) {
            return Err(EntryError::Kind(bytes[KIND]));
        }
        if bytes[FLAGS] & !(FLAG_COMPRESSED | FLAG_MORE_PARTS) != 0 {
            return Err(EntryError::Flags(bytes[FLAGS]));
        }
        let heads = usize::from(bytes[HEADS_COUNT]);
        if !(1..=HEADS_MAX).contains(&heads) {
            return Err(EntryError::Heads);
        }
        let length = u32::from_be_bytes(field(bytes, LENGTH));
        if !(TAG_LENGTH..=CIPHERTEXT_MAX).contains(&(length as usize)) {
            return Err(EntryError::Length(length));
        }
        let header_length = HEADS + heads * ControlHash::LENGTH;
        let (bytes, rest) = bytes
            .split_at_checked(header_length + length as usize)
            .ok_or(EntryError::Truncated)?;
        let entry = Self {
            bytes,
            header_length,
        };
        if !strictly_ascending(entry.heads_array()) {
            return Err(EntryError::Heads);
        }
        let is_first = entry.previous() == EntryHash([0; 32]);
        if entry.seq() == Seq::NONE || is_first != (entry.seq() == Seq(1)) {
            return Err(EntryError::Seq);
        }
        Ok((entry, rest))
    }

    /// The whole entry.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The header: everything before the ciphertext.
    pub fn header(&self) -> &'a [u8] {
        &self.bytes[..self.header_length]
    }

    /// The ciphertext with its tag.
    pub fn ciphertext(&self) -> &'a [u8] {
        &self.bytes[self.header_length..]
    }

    /// SHA-256 of the entry. Computed anew on every call.
    pub fn hash(&self) -> EntryHash {
        EntryHash(sha256(&[self.bytes]))
    }

    /// What it is.
    pub fn kind(&self) -> EntryKind {
        if self.bytes[KIND] == 1 {
            EntryKind::Data
        } else {
            EntryKind::Checkpoint
        }
    }

    /// The context it belongs to.
    pub fn context(&self) -> ContextId {
        ContextId(field(self.bytes, CONTEXT))
    }

    /// The compartment whose log it extends.
    pub fn compartment(&self) -> CompartmentId {
        CompartmentId(field(self.bytes, COMPARTMENT))
    }

    /// Whose log it extends.
    pub fn writer(&self) -> WriterKey {
        WriterKey(field(self.bytes, WRITER))
    }

    /// Its position in the log.
    pub fn seq(&self) -> Seq {
        Seq(u64::from_be_bytes(field(self.bytes, SEQ)))
    }

    /// Hash of the entry before it; all zero for the first.
    pub fn previous(&self) -> EntryHash {
        EntryHash(field(self.bytes, PREVIOUS))
    }

    /// The stamp of the transaction.
    pub fn hlc(&self) -> Hlc {
        Hlc::from_bits(u64::from_be_bytes(field(self.bytes, HLC)))
    }

    /// The epoch whose key opens it.
    pub fn epoch(&self) -> ControlHash {
        ControlHash(field(self.bytes, EPOCH))
    }

    /// The version of the application's schema when it was written.
    pub fn schema_version(&self) -> u32 {
        u32::from_be_bytes(field(self.bytes, SCHEMA))
    }

    /// More parts of the same transaction follow in the next entry.
    pub fn more_parts(&self) -> bool {
        self.bytes[FLAGS] & FLAG_MORE_PARTS != 0
    }

    /// Heads of the control history that the writer knew, ascending.
    pub fn heads(&self) -> impl ExactSizeIterator<Item = ControlHash> + 'a {
        self.heads_array().iter().copied().map(ControlHash)
    }

    fn heads_array(&self) -> &'a [[u8; 32]] {
        self.bytes[HEADS..self.header_length].as_chunks().0
    }

    fn is_compressed(&self) -> bool {
        self.bytes[FLAGS] & FLAG_COMPRESSED != 0
    }
}

/// Copies a fixed field. The caller has checked that the header is that long.
fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[offset..offset + N]);
    value
}

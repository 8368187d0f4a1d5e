//! What an entry says once it is open: which transaction, what its writer had seen, and the changes.
//!
//! The changes are opaque here. The reader borrows them, and the form is canonical: one body, one encoding.

use aeroedge_ids::{CompartmentId, EntryCheck, EntryHash, Seq, TransactionId, WriterKey};

use crate::bytes::{DecodeError, Reader, Writer, strictly_ascending};
use crate::seal::sha256;

/// The short name of a writer inside a body: the first 8 bytes of SHA-256 of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterTag(pub [u8; 8]);

impl WriterTag {
    /// The tag of a writer.
    pub fn of(writer: &WriterKey) -> Self {
        let mut tag = [0; 8];
        tag.copy_from_slice(&sha256(&[&writer.0])[..8]);
        Self(tag)
    }
}

/// What a branch of a forked log is called wherever a log is named, and in the stamps of its cells: no two branches of any
/// writers are called alike.
pub fn branch_name(writer: &WriterKey, first: &EntryHash) -> WriterKey {
    WriterKey(sha256(&[b"aeroedge branch v1", &writer.0, &first.0]))
}

/// How far the writer of an entry had merged one other log. A writer whose log is forked may have a line for each branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Whose log.
    pub writer: WriterTag,
    /// Up to which entry, that one included.
    pub seq: Seq,
    /// Which entry that was: it tells the branch.
    pub check: EntryCheck,
}

/// The plaintext of a data entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body<'a> {
    /// Ties the entries and parts that one transaction made.
    pub transaction: TransactionId,
    /// Number of this part, from 0.
    pub part: u32,
    /// The other compartments in which the transaction made entries, ascending.
    pub others: Vec<CompartmentId>,
    /// The last entry merged of each log of this compartment, only where it changed since the writer's previous entry,
    /// ascending.
    pub seen: Vec<Seen>,
    /// The changeset, opaque to this crate.
    pub changes: &'a [u8],
}

/// The plaintext is not a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("read the body of an entry")]
pub struct BodyError(#[from] pub DecodeError);

impl<'a> Body<'a> {
    /// Appends the encoding to `out`.
    ///
    /// `others` and `seen` must be ascending, else no reader accepts the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        debug_assert!(
            self.is_canonical(),
            "others and seen are sets in ascending order"
        );
        let mut writer = Writer {
            bytes: std::mem::take(out),
        };
        writer.array(5);
        writer.bin(&self.transaction.0);
        writer.uint(u64::from(self.part));
        writer.array(self.others.len());
        for other in &self.others {
            writer.bin(&other.0);
        }
        writer.array(self.seen.len());
        for seen in &self.seen {
            writer.array(3);
            writer.bin(&seen.writer.0);
            writer.uint(seen.seq.0);
            writer.bin(&seen.check.0);
        }
        writer.bin(self.changes);
        *out = writer.bytes;
    }

    /// Reads a body that takes up all of `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, BodyError> {
        let mut reader = Reader::new(bytes);
        reader.array_of(5)?;
        let transaction = TransactionId(reader.bytes()?);
        let part = reader.uint32("part")?;
        let count = reader.array()?;
        let mut others = Vec::new();
        for _ in 0..count {
            others.push(CompartmentId(reader.bytes()?));
        }
        let count = reader.array()?;
        let mut seen = Vec::new();
        for _ in 0..count {
            reader.array_of(3)?;
            seen.push(Seen {
                writer: WriterTag(reader.bytes()?),
                seq: Seq(reader.uint()?),
                check: EntryCheck(reader.bytes()?),
            });
        }
        let changes = reader.bin()?;
        reader.finish()?;
        let body = Self {
            transaction,
            part,
            others,
            seen,
            changes,
        };
        if body.is_canonical() {
            Ok(body)
        } else {
            Err(DecodeError::NotCanonical.into())
        }
    }

    fn is_canonical(&self) -> bool {
        strictly_ascending(&self.others) && strictly_ascending(&self.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(writer: u8, seq: u64, check: u8) -> Seen {
        Seen {
            writer: WriterTag([writer; 8]),
            seq: Seq(seq),
            check: EntryCheck([check; 8]),
        }
    }

    fn body() -> Body<'static> {
        Body {
            transaction: TransactionId([1; 16]),
            part: 3,
            others: vec![CompartmentId([2; 16]), CompartmentId([3; 16])],
            seen: vec![seen(1, 70_000, 9), seen(2, 1, 1), seen(2, 1, 2)],
            changes: b"changes",
        }
    }

    #[test]
    fn a_body_reads_back_as_it_was_written() {
        let mut bytes = Vec::new();
        body().encode(&mut bytes);
        assert_eq!(Body::decode(&bytes), Ok(body()));
    }

    #[test]
    fn a_body_cut_anywhere_is_refused() {
        let mut bytes = Vec::new();
        body().encode(&mut bytes);
        for length in 0..bytes.len() {
            assert!(Body::decode(&bytes[..length]).is_err());
        }
        bytes.push(0);
        assert_eq!(Body::decode(&bytes), Err(BodyError(DecodeError::Trailing)));
    }

    #[test]
    fn two_writers_in_the_wrong_order_are_refused() {
        let mut bytes = Vec::new();
        body().encode(&mut bytes);
        let first = bytes
            .windows(8)
            .position(|window| window == [1; 8])
            .unwrap();
        let tag = bytes
            .windows(10)
            .position(|window| window == [0x93, 0xc4, 8, 1, 1, 1, 1, 1, 1, 1])
            .unwrap()
            + 3;
        assert_ne!(first, tag);
        bytes[tag..tag + 8].fill(9);
        assert_eq!(
            Body::decode(&bytes),
            Err(BodyError(DecodeError::NotCanonical))
        );
    }
}

//! The chain of one log: each entry names the hash of the one before it, without gaps.

use aeroedge_ids::{EntryHash, Seq};

use super::EntryRef;

/// The end of a verified stretch of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainPosition {
    /// Sequence number of the last entry; zero before the first.
    pub seq: Seq,
    /// Its hash; all zero before the first.
    pub hash: EntryHash,
}

/// The entry does not continue the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Another sequence number was due.
    #[error("continue the log: entry {expected} is due and entry {found} was offered")]
    Seq {
        /// What is due.
        expected: Seq,
        /// What was offered.
        found: Seq,
    },
    /// The entry follows another history than the one that is stored.
    #[error(
        "continue the log: entry {0} names another predecessor than the one stored, so the log is forked or damaged"
    )]
    Previous(Seq),
}

impl ChainPosition {
    /// Before the first entry.
    pub const START: Self = Self {
        seq: Seq::NONE,
        hash: EntryHash([0; 32]),
    };

    /// The position after `entry`, if it follows this one. Context, compartment and writer are the caller's to compare.
    pub fn advance(self, entry: &EntryRef<'_>) -> Result<Self, ChainError> {
        // Saturating: a log that reached the last number accepts nothing more.
        let expected = Seq(self.seq.0.saturating_add(1));
        if entry.seq() != expected || self.seq == expected {
            return Err(ChainError::Seq {
                expected,
                found: entry.seq(),
            });
        }
        if entry.previous() != self.hash {
            return Err(ChainError::Previous(entry.seq()));
        }
        Ok(Self {
            seq: expected,
            hash: entry.hash(),
        })
    }
}

//! Everything that happened, as one hash and, on request, as lines to read.
//!
//! Invariant: the hash depends on the seed and the program alone, so equal hashes mean the same run.

use std::fmt::{self, Write as _};

use aeroedge_ids::Millis;
use sha2::{Digest, Sha256};

/// Hashes lines, and keeps them if asked to.
#[derive(Debug)]
pub(crate) struct Trace {
    hasher: Sha256,
    line: String,
    kept: Option<Vec<String>>,
    count: u64,
}

impl Trace {
    pub(crate) fn new(keep: bool) -> Self {
        Self {
            hasher: Sha256::new(),
            line: String::new(),
            kept: keep.then(Vec::new),
            count: 0,
        }
    }

    pub(crate) fn note(&mut self, now: Millis, what: fmt::Arguments<'_>) {
        self.line.clear();
        // Writing to a string does not fail.
        let _ = write!(self.line, "{:>8} {what}", now.0);
        self.hasher.update(self.line.as_bytes());
        self.hasher.update(b"\n");
        self.count += 1;
        if let Some(kept) = &mut self.kept {
            kept.push(self.line.clone());
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn finish(self) -> ([u8; 32], Vec<String>) {
        (self.hasher.finalize().into(), self.kept.unwrap_or_default())
    }
}

/// The first bytes of the SHA-256 of something, for a line of the trace.
pub(crate) struct Short(pub(crate) [u8; 32]);

impl Short {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

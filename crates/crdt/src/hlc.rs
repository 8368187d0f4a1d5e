//! The hybrid logical clock: what was seen is always earlier than what is written after it.

use std::fmt;

use aeroedge_ids::{Millis, WriterKey};

/// 48 bits of milliseconds since 1970 and a 16-bit counter, compared as one number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc(u64);

impl Hlc {
    /// Before every stamp.
    pub const ZERO: Self = Self(0);

    /// From the number that stands on disk and wire.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The number that stands on disk and wire.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The first stamp of a millisecond.
    pub const fn at(time: Millis) -> Self {
        Self(time.0 << 16)
    }

    /// The milliseconds in it.
    pub const fn time(self) -> Millis {
        Millis(self.0 >> 16)
    }

    /// The stamp of a write made at `now` by someone who has seen `self`: later than both.
    pub fn tick(self, now: Millis) -> Self {
        Self(Self::at(now).0.max(self.0.saturating_add(1)))
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 16, self.0 & 0xffff)
    }
}

/// When and by whom a cell was written. A writer never uses a time twice, so a stamp names one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Compared first.
    pub hlc: Hlc,
    /// Breaks ties.
    pub writer: WriterKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tick_is_later_than_both_what_was_seen_and_the_clock() {
        let seen = Hlc::at(Millis(1_000));
        assert!(seen.tick(Millis(10)) > seen);
        assert_eq!(seen.tick(Millis(2_000)), Hlc::at(Millis(2_000)));
    }

    #[test]
    fn a_full_counter_runs_into_the_next_millisecond() {
        let last = Hlc::from_bits(Hlc::at(Millis(5)).to_bits() | 0xffff);
        assert_eq!(last.tick(Millis(5)), Hlc::at(Millis(6)));
    }
}

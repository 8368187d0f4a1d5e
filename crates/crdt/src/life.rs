//! The causal length of a row: 1 alive, 2 deleted, 3 alive again. A longer life beats every stamp of a shorter one.

use std::fmt;

/// How often a row was born and died; odd means alive. Zero stands for a row nobody ever made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Life(u64);

impl Life {
    /// No such row yet.
    pub const NONE: Self = Self(0);
    /// The first life of a row.
    pub const FIRST: Self = Self(1);

    /// The longest life that is read from a stranger: even, so that a row that somebody gave a life just below it can still
    /// die, and a number that SQLite can hold.
    pub const MAX: Self = Self(i64::MAX as u64 - 1);

    /// The number that stands on disk and wire.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The number that stands on disk and wire.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Whether the row exists in this life.
    pub const fn is_alive(self) -> bool {
        self.0 % 2 == 1
    }

    /// What follows when a dead row is made again: an alive life stays as it is.
    pub const fn born(self) -> Self {
        if self.is_alive() {
            self
        } else {
            Self(self.0.saturating_add(1))
        }
    }

    /// What follows when a live row is deleted: a dead life stays as it is.
    pub const fn died(self) -> Self {
        if self.is_alive() {
            Self(self.0.saturating_add(1))
        } else {
            self
        }
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "life {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn births_and_deaths_alternate() {
        let born = Life::NONE.born();
        assert_eq!(born, Life::FIRST);
        assert_eq!(born.born(), born);
        assert_eq!(born.died().number(), 2);
        assert_eq!(born.died().died(), born.died());
        assert_eq!(born.died().born().number(), 3);
    }
}

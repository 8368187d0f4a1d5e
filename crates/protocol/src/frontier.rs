//! How far the logs of a compartment have come: the positions that are compared when two devices meet.
//!
//! Invariant: a check belongs to exactly the position it was told for; where a position moves on without one, there is none.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use aeroedge_ids::{EntryCheck, Seq, WriterKey};

/// For one compartment: log -> highest seq held without a gap, and if known the first bytes of the hash of that entry. A
/// log that is absent stands at zero.
///
/// Reads and writes like a map of positions.
#[derive(Debug, Clone, Default)]
pub struct Frontier {
    positions: BTreeMap<WriterKey, Seq>,
    checks: BTreeMap<WriterKey, (Seq, EntryCheck)>,
}

impl Frontier {
    /// Nothing held.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a position together with the check of its entry.
    pub fn mark(&mut self, writer: WriterKey, seq: Seq, check: EntryCheck) {
        self.positions.insert(writer, seq);
        self.checks.insert(writer, (seq, check));
    }

    /// The check of the entry at a log's position, if it is known.
    pub fn check(&self, writer: &WriterKey) -> Option<EntryCheck> {
        let (seq, check) = self.checks.get(writer)?;
        (self.positions.get(writer) == Some(seq)).then_some(*check)
    }

    /// Whether both stand at the same position of a log and mean different entries.
    pub fn contradicts(&self, other: &Self, writer: &WriterKey) -> bool {
        self.positions.get(writer) == other.positions.get(writer)
            && matches!((self.check(writer), other.check(writer)), (Some(one), Some(two)) if one != two)
    }

    /// Takes over the position of one log, with its check.
    pub fn copy(&mut self, from: &Self, writer: &WriterKey) {
        let Some(seq) = from.positions.get(writer) else {
            return;
        };
        match from.check(writer) {
            Some(check) => self.mark(*writer, *seq, check),
            None => drop(self.positions.insert(*writer, *seq)),
        }
    }

    /// Takes over all positions of another, with their checks.
    pub fn copy_all(&mut self, from: &Self) {
        for writer in from.positions.keys() {
            self.copy(from, writer);
        }
    }

    /// What lies beyond another frontier.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Self {
        let mut beyond = Self::new();
        for (writer, seq) in &self.positions {
            if other.positions.get(writer) < Some(seq) {
                beyond.copy(self, writer);
            }
        }
        beyond
    }
}

impl Deref for Frontier {
    type Target = BTreeMap<WriterKey, Seq>;

    fn deref(&self) -> &Self::Target {
        &self.positions
    }
}

impl DerefMut for Frontier {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.positions
    }
}

impl PartialEq for Frontier {
    fn eq(&self, other: &Self) -> bool {
        self.positions == other.positions
            && self
                .positions
                .keys()
                .all(|writer| self.check(writer) == other.check(writer))
    }
}

impl Eq for Frontier {}

impl FromIterator<(WriterKey, Seq)> for Frontier {
    fn from_iter<T: IntoIterator<Item = (WriterKey, Seq)>>(items: T) -> Self {
        Self {
            positions: items.into_iter().collect(),
            checks: BTreeMap::new(),
        }
    }
}

impl FromIterator<(WriterKey, Seq, EntryCheck)> for Frontier {
    fn from_iter<T: IntoIterator<Item = (WriterKey, Seq, EntryCheck)>>(items: T) -> Self {
        let mut frontier = Self::new();
        for (writer, seq, check) in items {
            frontier.mark(writer, seq, check);
        }
        frontier
    }
}

impl<const N: usize> From<[(WriterKey, Seq); N]> for Frontier {
    fn from(positions: [(WriterKey, Seq); N]) -> Self {
        positions.into_iter().collect()
    }
}

impl IntoIterator for Frontier {
    type Item = (WriterKey, Seq);
    type IntoIter = std::collections::btree_map::IntoIter<WriterKey, Seq>;

    fn into_iter(self) -> Self::IntoIter {
        self.positions.into_iter()
    }
}

impl<'a> IntoIterator for &'a Frontier {
    type Item = (&'a WriterKey, &'a Seq);
    type IntoIter = std::collections::btree_map::Iter<'a, WriterKey, Seq>;

    fn into_iter(self) -> Self::IntoIter {
        self.positions.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: WriterKey = WriterKey([1; 32]);

    #[test]
    fn a_check_holds_for_its_position_only() {
        let mut frontier = Frontier::new();
        frontier.mark(LOG, Seq(3), EntryCheck([9; 8]));
        assert_eq!(frontier.check(&LOG), Some(EntryCheck([9; 8])));
        frontier.insert(LOG, Seq(4));
        assert_eq!(frontier.check(&LOG), None);
    }

    #[test]
    fn only_different_entries_with_one_number_contradict() {
        let at = |seq, check| Frontier::from_iter([(LOG, Seq(seq), EntryCheck([check; 8]))]);
        assert!(at(3, 1).contradicts(&at(3, 2), &LOG));
        assert!(!at(3, 1).contradicts(&at(3, 1), &LOG));
        assert!(!at(3, 1).contradicts(&at(4, 2), &LOG));
        assert!(!at(3, 1).contradicts(&Frontier::from([(LOG, Seq(3))]), &LOG));
    }
}

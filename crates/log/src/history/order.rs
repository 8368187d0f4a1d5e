//! The graph of entries and its one order: parents first, ties by the smaller (HLC, hash).
//!
//! The order of a part that is closed under parents is the order of the whole, restricted to it: leaving out entries
//! and all that follow from them never changes which of the others is read next. So one order serves every reading.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::ControlHash;

use crate::control::ControlEntry;
use crate::roster::Causality;

#[derive(Debug, Default)]
pub(super) struct Order {
    nodes: Vec<Node>,
    index_by_hash: BTreeMap<ControlHash, u32>,
    /// Indexes in reading order; emptied when an entry lands in the middle of it.
    sorted: OnceLock<Vec<u32>>,
}

#[derive(Debug)]
struct Node {
    entry: ControlEntry,
    parents: Vec<u32>,
}

impl Node {
    fn key(&self) -> (Hlc, ControlHash) {
        (self.entry.hlc(), self.entry.hash())
    }
}

impl Order {
    /// Adds an entry whose parents are all here.
    pub(super) fn push(&mut self, entry: ControlEntry) {
        let parents: Vec<u32> = entry
            .parents()
            .iter()
            .filter_map(|parent| self.index_by_hash.get(parent).copied())
            .collect();
        let index = self.nodes.len() as u32;
        self.index_by_hash.insert(entry.hash(), index);
        self.nodes.push(Node { entry, parents });
        let Some(mut sorted) = self.sorted.take() else {
            return;
        };
        if self.comes_last(index, &sorted) {
            sorted.push(index);
            self.sorted = OnceLock::from(sorted);
        }
    }

    /// Whether everything that is read after the parents of a new entry is read before the entry itself.
    fn comes_last(&self, index: u32, sorted: &[u32]) -> bool {
        let node = &self.nodes[index as usize];
        sorted
            .iter()
            .rev()
            .take_while(|placed| !node.parents.contains(placed))
            .all(|placed| self.nodes[*placed as usize].key() < node.key())
    }

    pub(super) fn contains(&self, hash: ControlHash) -> bool {
        self.index_by_hash.contains_key(&hash)
    }

    pub(super) fn get(&self, hash: ControlHash) -> Option<&ControlEntry> {
        self.index_by_hash
            .get(&hash)
            .map(|index| self.entry(*index))
    }

    pub(super) fn entry(&self, index: u32) -> &ControlEntry {
        &self.nodes[index as usize].entry
    }

    pub(super) fn entries(&self) -> impl ExactSizeIterator<Item = &ControlEntry> {
        self.nodes.iter().map(|node| &node.entry)
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The entries up to `heads` in reading order.
    pub(super) fn sequence(&self, heads: &[ControlHash]) -> Vec<u32> {
        let included = self.ancestors_and_self(heads);
        self.sorted()
            .iter()
            .copied()
            .filter(|index| included[*index as usize])
            .collect()
    }

    /// For each entry, by index, whether it is one of `hashes` or known to one of them.
    pub(super) fn ancestors_and_self(&self, hashes: &[ControlHash]) -> Vec<bool> {
        let mut included = vec![false; self.nodes.len()];
        let mut pending: Vec<u32> = hashes
            .iter()
            .filter_map(|hash| self.index_by_hash.get(hash).copied())
            .collect();
        while let Some(index) = pending.pop() {
            if !std::mem::replace(&mut included[index as usize], true) {
                pending.extend(&self.nodes[index as usize].parents);
            }
        }
        included
    }

    fn sorted(&self) -> &[u32] {
        self.sorted.get_or_init(|| {
            let mut unread_parents: Vec<usize> =
                self.nodes.iter().map(|node| node.parents.len()).collect();
            let mut children = vec![Vec::new(); self.nodes.len()];
            for (index, node) in self.nodes.iter().enumerate() {
                for parent in &node.parents {
                    children[*parent as usize].push(index as u32);
                }
            }
            let mut ready: BTreeSet<_> = self
                .nodes
                .iter()
                .enumerate()
                .filter(|(_, node)| node.parents.is_empty())
                .map(|(index, node)| (node.key(), index as u32))
                .collect();
            let mut sorted = Vec::with_capacity(self.nodes.len());
            while let Some((_, index)) = ready.pop_first() {
                sorted.push(index);
                for child in &children[index as usize] {
                    let unread = &mut unread_parents[*child as usize];
                    *unread -= 1;
                    if *unread == 0 {
                        ready.insert((self.nodes[*child as usize].key(), *child));
                    }
                }
            }
            sorted
        })
    }

    /// Whether `earlier` is among the entries that lead to `later`. An entry does not know itself.
    pub(super) fn knows(&self, later: ControlHash, earlier: ControlHash) -> bool {
        let (Some(later), Some(earlier)) = (
            self.index_by_hash.get(&later),
            self.index_by_hash.get(&earlier),
        ) else {
            return false;
        };
        // Parents are added before their children, so nothing below `earlier` can lead to it.
        let mut visited = vec![false; *later as usize];
        let mut pending = vec![*later];
        while let Some(index) = pending.pop() {
            for parent in &self.nodes[index as usize].parents {
                if parent == earlier {
                    return true;
                }
                if parent > earlier && !std::mem::replace(&mut visited[*parent as usize], true) {
                    pending.push(*parent);
                }
            }
        }
        false
    }
}

impl Causality for Order {
    fn saw(&self, later: ControlHash, earlier: ControlHash) -> bool {
        self.knows(later, earlier)
    }
}

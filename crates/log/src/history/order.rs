//! The graph of entries and its one order: parents first, ties by the smaller (HLC, hash).
//!
//! The order of a part that is closed under parents is the order of the whole, restricted to it: leaving out entries
//! and all that follow from them never changes which of the others is read next. So one order serves every reading.
//!
//! Who knew what is asked often, so each entry keeps its ancestors as a set of bits, as long as there are not too many.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{ControlHash, DeviceKey, UserId};

use crate::compartment::Audience;
use crate::control::{Action, ControlEntry, Join};
use crate::roster::Knowledge;

/// Up to how many entries ancestors are kept as bits: at most 16 MiB of them. Beyond it the graph is walked.
const ANCESTORS_KEPT_MAX: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(super) struct Order {
    nodes: Vec<Node>,
    index_by_hash: BTreeMap<ControlHash, u32>,
    /// By author, whether or not they count.
    acts_by_device: BTreeMap<DeviceKey, Vec<u32>>,
    /// The devices that any entry introduces as a user's, whether or not it counts.
    devices_by_user: BTreeMap<UserId, BTreeSet<DeviceKey>>,
    joins: Vec<u32>,
    /// Whatever takes rights away, if it counts.
    reductions: Vec<u32>,
    /// The consent keys under which each join was made.
    consents: BTreeMap<ControlHash, Vec<[u8; 32]>>,
    epochs_by_audience: BTreeMap<Audience, Vec<u32>>,
    /// Indexes in reading order; emptied when an entry lands in the middle of it.
    sorted: OnceLock<Vec<u32>>,
}

#[derive(Debug)]
struct Node {
    entry: ControlEntry,
    parents: Vec<u32>,
    /// One bit for each earlier entry that leads to this one; empty beyond [`ANCESTORS_KEPT_MAX`].
    ancestors: Bits,
}

/// A set of small numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl FromIterator<u32> for Bits {
    fn from_iter<T: IntoIterator<Item = u32>>(indexes: T) -> Self {
        let mut bits = Self::default();
        for index in indexes {
            bits.insert(index);
        }
        bits
    }
}

impl Bits {
    pub(super) fn contains(&self, index: u32) -> bool {
        self.0
            .get(index as usize / 64)
            .is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    pub(super) fn insert(&mut self, index: u32) {
        let word = index as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (index % 64);
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }
}

impl Node {
    fn key(&self) -> (Hlc, ControlHash) {
        (self.entry.hlc(), self.entry.hash())
    }
}

impl Order {
    /// Adds an entry whose parents are all here.
    pub(super) fn push(&mut self, entry: ControlEntry, consents: Vec<[u8; 32]>) {
        let parents: Vec<u32> = entry
            .parents()
            .iter()
            .filter_map(|parent| self.index_by_hash.get(parent).copied())
            .collect();
        let index = self.nodes.len() as u32;
        self.index_by_hash.insert(entry.hash(), index);
        self.enlist(index, &entry);
        if !consents.is_empty() {
            self.consents.insert(entry.hash(), consents);
        }
        let mut ancestors = Bits::default();
        if (index as usize) < ANCESTORS_KEPT_MAX {
            for parent in &parents {
                ancestors.add_all(&self.nodes[*parent as usize].ancestors);
                ancestors.insert(*parent);
            }
        }
        self.nodes.push(Node {
            entry,
            parents,
            ancestors,
        });
        let Some(mut sorted) = self.sorted.take() else {
            return;
        };
        if self.comes_last(index, &sorted) {
            sorted.push(index);
            self.sorted = OnceLock::from(sorted);
        }
    }

    fn enlist(&mut self, index: u32, entry: &ControlEntry) {
        let author = entry.author();
        self.acts_by_device.entry(author).or_default().push(index);
        let introduced = match entry.action() {
            Action::Genesis(genesis) => Some((genesis.user, author)),
            Action::Join(join) => Some((join.user, author)),
            Action::AddDevice(added) => Some((added.user, added.device)),
            _ => None,
        };
        if let Some((user, device)) = introduced {
            self.devices_by_user.entry(user).or_default().insert(device);
        }
        match entry.action() {
            Action::Join(_) => self.joins.push(index),
            Action::SetRole(_)
            | Action::RemoveMember(_)
            | Action::RevokeDevice(_)
            | Action::DeclareStale(_)
            | Action::CloseWriter { .. } => self.reductions.push(index),
            Action::StartEpoch(started) => {
                let epochs = self.epochs_by_audience.entry(started.audience);
                epochs.or_default().push(index);
            }
            _ => {}
        }
    }

    /// Everything that a device did, whether or not it counts.
    pub(super) fn acts_of_device(&self, device: DeviceKey) -> impl Iterator<Item = u32> {
        self.acts_by_device
            .get(&device)
            .into_iter()
            .flatten()
            .copied()
    }

    /// Everything that anyone did who claims to be the user, whether or not it counts.
    pub(super) fn acts_of_user(&self, user: UserId) -> impl Iterator<Item = u32> {
        let devices = self.devices_by_user.get(&user).into_iter().flatten();
        devices.flat_map(|device| self.acts_of_device(*device))
    }

    /// Whatever may take rights away from a user, whether or not it counts.
    pub(super) fn reductions_of(&self, user: UserId) -> impl Iterator<Item = u32> {
        let devices = self.devices_by_user.get(&user);
        let is_theirs =
            move |device| devices.is_some_and(|devices: &BTreeSet<_>| devices.contains(device));
        self.reductions.iter().copied().filter(move |index| {
            match self.entry(*index).action() {
                Action::SetRole(change) => change.user == user,
                Action::RemoveMember(removed) => removed.user == user,
                Action::RevokeDevice(revoked) => is_theirs(&revoked.device),
                Action::DeclareStale(stale) => is_theirs(&stale.device),
                // Whose writer it is, is not known here.
                _ => true,
            }
        })
    }

    pub(super) fn joins(&self) -> impl Iterator<Item = u32> {
        self.joins.iter().copied()
    }

    /// Every epoch anyone started for an audience.
    pub(super) fn epochs_of(&self, audience: Audience) -> impl Iterator<Item = u32> {
        self.epochs_by_audience
            .get(&audience)
            .into_iter()
            .flatten()
            .copied()
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

    pub(super) fn index(&self, hash: ControlHash) -> Option<u32> {
        self.index_by_hash.get(&hash).copied()
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
        match (self.index(later), self.index(earlier)) {
            (Some(later), Some(earlier)) => self.leads_to(earlier, later),
            _ => false,
        }
    }

    /// As [`Order::knows`], by index.
    pub(super) fn leads_to(&self, earlier: u32, later: u32) -> bool {
        // Parents are added before their children, so nothing below `earlier` can lead to it.
        let mut visited = Bits::default();
        let mut pending = vec![later];
        while let Some(index) = pending.pop() {
            let node = &self.nodes[index as usize];
            if (index as usize) < ANCESTORS_KEPT_MAX {
                if node.ancestors.contains(earlier) {
                    return true;
                }
                continue;
            }
            for parent in &node.parents {
                if *parent == earlier {
                    return true;
                }
                if *parent > earlier && !visited.contains(*parent) {
                    visited.insert(*parent);
                    pending.push(*parent);
                }
            }
        }
        false
    }
}

impl Knowledge for Order {
    fn saw(&self, later: ControlHash, earlier: ControlHash) -> bool {
        self.knows(later, earlier)
    }

    fn had_secret(&self, entry: &ControlEntry, _join: &Join, consent: &[u8; 32]) -> bool {
        self.consents
            .get(&entry.hash())
            .is_some_and(|consents| consents.contains(consent))
    }
}

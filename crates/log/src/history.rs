//! The signed acts of one context: a graph, filled in any order, with one reading.
//!
//! Entries arrive in any order; one whose parents are not all here waits and is part of nothing. What a set of entries
//! means does not depend on how they arrived. Readings are kept, and one that continues an earlier one starts from it.
//!
//! Most acts follow one another, and are read one after the other. Where someone was shut out, or an invite withdrawn, by
//! someone who did not know of all that it strikes, the acts are settled first: [`settling`].

mod order;
mod rights;
mod settling;
mod writing;

pub use rights::{Author, Chain, Claim, Refusal, UnknownChain};
pub use writing::{CannotWrite, WritingPoint};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use aeroedge_ids::{ContextId, ControlHash, DeviceKey, InviteKey};

use crate::control::{Action, ControlEntry, Join, PARENTS_MAX};
use crate::roster::{Knowledge, Rejection, Roster};
use order::{Bits, Order};

/// The most entries that may wait for their parents; beyond it the sender must send in order.
pub const WAITING_MAX: usize = 4096;
/// The most bytes of entries that may wait for their parents: anyone who was given an invite link may send such.
pub const WAITING_BYTES_MAX: usize = 16 << 20;
/// The readings kept at once: the entries of a log name ever later points, and one log is judged after the other.
const READINGS_MAX: usize = 128;

/// The control history of one context.
#[derive(Debug)]
pub struct History {
    context: ContextId,
    order: Order,
    heads: BTreeSet<ControlHash>,
    waiting: BTreeMap<ControlHash, ControlEntry>,
    /// For each missing entry those that wait for it, each listed under one of its missing parents.
    wanted: BTreeMap<ControlHash, Vec<ControlHash>>,
    /// What introduces each device, whether or not it counts: only these have a say.
    introduced: BTreeMap<DeviceKey, Vec<ControlHash>>,
    /// Every offer under each invite key, whether or not it counts, with its consent key.
    offers: BTreeMap<InviteKey, Vec<(ControlHash, [u8; 32])>>,
    /// Behind a lock only so that reading needs no exclusive access; nothing else is shared.
    readings: Mutex<Vec<Reading>>,
}

/// A roster, and which entries in which order it came from.
#[derive(Debug, Clone)]
struct Reading {
    heads: Vec<ControlHash>,
    sequence: Vec<u32>,
    roster: Arc<Roster>,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    /// It was here already.
    Known,
    /// It is part of the history now, and so are those that waited for it. In an order in which they can be stored.
    Added(Vec<ControlHash>),
    /// It waits for entries that are not here.
    Waiting {
        /// What to ask for.
        missing: Vec<ControlHash>,
    },
}

/// The entry cannot belong to this history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// It belongs to another context.
    #[error("accept a control entry of context {0}: it is not this one")]
    OtherContext(ContextId),
    /// Too many entries wait already.
    #[error(
        "keep a control entry whose predecessors are missing: too many wait already, send them in order"
    )]
    TooManyWaiting,
    /// Nothing in the history introduces its author, and it is no join made with link and secret.
    #[error("keep a control entry of device {0}: nothing in this context's history introduces it")]
    Stranger(DeviceKey),
}

/// Heads were named that are not here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read the history at heads that are not here yet")]
pub struct UnknownHeads {
    /// What to ask for.
    pub missing: Vec<ControlHash>,
}

impl History {
    /// An empty history.
    pub fn new(context: ContextId) -> Self {
        Self {
            context,
            order: Order::default(),
            heads: BTreeSet::new(),
            waiting: BTreeMap::new(),
            wanted: BTreeMap::new(),
            introduced: BTreeMap::new(),
            offers: BTreeMap::new(),
            readings: Mutex::new(Vec::new()),
        }
    }

    /// The context.
    pub fn context(&self) -> ContextId {
        self.context
    }

    /// Takes in one entry, whatever is here already.
    pub fn insert(&mut self, entry: ControlEntry) -> Result<Inserted, InsertError> {
        if entry.context() != self.context {
            return Err(InsertError::OtherContext(entry.context()));
        }
        if self.order.contains(entry.hash()) || self.waiting.contains_key(&entry.hash()) {
            return Ok(Inserted::Known);
        }
        let missing = self.missing_parents(&entry);
        if let Some(first) = missing.first() {
            let bytes: usize = self.waiting.values().map(|entry| entry.bytes().len()).sum();
            if self.waiting.len() >= WAITING_MAX || bytes + entry.bytes().len() > WAITING_BYTES_MAX
            {
                return Err(InsertError::TooManyWaiting);
            }
            self.wanted.entry(*first).or_default().push(entry.hash());
            self.waiting.insert(entry.hash(), entry);
            return Ok(Inserted::Waiting { missing });
        }
        if self.is_strange(&entry, &self.consents(&entry)) {
            return Err(InsertError::Stranger(entry.author()));
        }
        Ok(Inserted::Added(self.add(entry)))
    }

    /// Whether an entry, whose parents are all here, cannot count wherever it stands: what introduces an author must be
    /// among the ancestors of whatever that author signs, and a join must be made with link and secret of an invite there.
    /// Keeping others would let anyone fill every device of the context for good.
    fn is_strange(&self, entry: &ControlEntry, consents: &[[u8; 32]]) -> bool {
        match entry.action() {
            Action::Genesis(_) => false,
            Action::Join(_) => consents.is_empty(),
            _ => !self
                .introduced
                .get(&entry.author())
                .into_iter()
                .flatten()
                .any(|introduction| self.follows(entry, *introduction)),
        }
    }

    /// The consent keys under which a join was made, of the offers among its ancestors.
    fn consents(&self, entry: &ControlEntry) -> Vec<[u8; 32]> {
        let Action::Join(join) = entry.action() else {
            return Vec::new();
        };
        let offers = self.offers.get(&join.invite).into_iter().flatten();
        let mut consents: Vec<_> = offers
            .filter(|(offer, _)| self.follows(entry, *offer))
            .map(|(_, consent)| *consent)
            .collect();
        consents.sort_unstable();
        consents.dedup();
        consents.retain(|consent| join.had_secret(self.context, entry.author(), consent));
        consents
    }

    /// Whether an entry that is not part of the history yet, with all its parents here, knows another.
    fn follows(&self, entry: &ControlEntry, earlier: ControlHash) -> bool {
        let mut parents = entry.parents().iter();
        parents.any(|parent| *parent == earlier || self.order.knows(*parent, earlier))
    }

    fn introduce(&mut self, entry: &ControlEntry) {
        let device = match entry.action() {
            Action::Genesis(_) | Action::Join(_) => entry.author(),
            Action::AddDevice(added) => added.device,
            Action::Invite(offer) => {
                let offers = self.offers.entry(offer.key).or_default();
                offers.push((entry.hash(), offer.consent));
                return;
            }
            _ => return,
        };
        self.introduced
            .entry(device)
            .or_default()
            .push(entry.hash());
    }

    /// Adds an entry whose parents are all here, and what waits no longer because of it.
    fn add(&mut self, entry: ControlEntry) -> Vec<ControlHash> {
        let mut added = Vec::new();
        let mut ready = vec![entry];
        while let Some(entry) = ready.pop() {
            // What waits for a stranger's entry waits on, as for any that never comes.
            let consents = self.consents(&entry);
            if self.is_strange(&entry, &consents) {
                continue;
            }
            self.introduce(&entry);
            let hash = entry.hash();
            for parent in entry.parents() {
                self.heads.remove(parent);
            }
            self.heads.insert(hash);
            self.order.push(entry, consents);
            added.push(hash);
            for waiting in self.wanted.remove(&hash).unwrap_or_default() {
                let missing = self
                    .waiting
                    .get(&waiting)
                    .map(|entry| self.missing_parents(entry))
                    .unwrap_or_default();
                match missing.first() {
                    Some(first) => self.wanted.entry(*first).or_default().push(waiting),
                    None => ready.extend(self.waiting.remove(&waiting)),
                }
            }
        }
        added
    }

    fn missing_parents(&self, entry: &ControlEntry) -> Vec<ControlHash> {
        entry
            .parents()
            .iter()
            .copied()
            .filter(|parent| !self.order.contains(*parent))
            .collect()
    }

    /// Whether the first entry is here.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The number of entries that are part of the history.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// The entries that no other names as parent, ascending.
    pub fn heads(&self) -> Vec<ControlHash> {
        self.heads.iter().copied().collect()
    }

    /// Whether an entry is part of the history.
    pub fn contains(&self, hash: ControlHash) -> bool {
        self.order.contains(hash)
    }

    /// One entry that is part of the history.
    pub fn get(&self, hash: ControlHash) -> Option<&ControlEntry> {
        self.order.get(hash)
    }

    /// The entries in the order they were added: parents before children.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &ControlEntry> {
        self.order.entries()
    }

    /// What is named as a parent and is neither here nor waiting, ascending.
    pub fn missing(&self) -> Vec<ControlHash> {
        let missing: BTreeSet<_> = self
            .waiting
            .values()
            .flat_map(|entry| entry.parents().iter().copied())
            .filter(|parent| !self.order.contains(*parent) && !self.waiting.contains_key(parent))
            .collect();
        missing.into_iter().collect()
    }

    /// The entries that someone with `heads` does not have, parents before children. Heads that are not here are
    /// passed over: that side knows something we do not.
    pub fn unknown_to(&self, heads: &[ControlHash]) -> Vec<&ControlEntry> {
        let known: Vec<_> = heads
            .iter()
            .copied()
            .filter(|head| self.order.contains(*head))
            .collect();
        let known = self.order.ancestors_and_self(&known);
        self.entries()
            .zip(known)
            .filter(|(_, is_known)| !is_known)
            .map(|(entry, _)| entry)
            .collect()
    }

    /// What the whole history means; `None` while the first entry is missing.
    pub fn roster(&self) -> Option<Arc<Roster>> {
        self.roster_at(&self.heads()).ok()
    }

    /// What the history up to `heads` means: of the part that someone knew who knew exactly these.
    pub fn roster_at(&self, heads: &[ControlHash]) -> Result<Arc<Roster>, UnknownHeads> {
        let missing: Vec<_> = heads
            .iter()
            .copied()
            .filter(|head| !self.order.contains(*head))
            .collect();
        if !missing.is_empty() || heads.is_empty() {
            return Err(UnknownHeads { missing });
        }
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(position) = readings.iter().position(|reading| reading.heads == heads) {
            let reading = readings.remove(position);
            let roster = Arc::clone(&reading.roster);
            readings.push(reading);
            return Ok(roster);
        }
        let sequence = self.order.sequence(heads);
        let roster = self
            .read(&sequence, &readings)
            .ok_or(UnknownHeads { missing })?;
        if readings.len() == READINGS_MAX {
            readings.remove(0);
        }
        readings.push(Reading {
            heads: heads.to_vec(),
            sequence,
            roster: Arc::clone(&roster),
        });
        Ok(roster)
    }

    /// Reads a sequence, starting from the longest kept reading that it continues.
    fn read(&self, sequence: &[u32], readings: &[Reading]) -> Option<Arc<Roster>> {
        let start = readings
            .iter()
            .filter(|reading| sequence.starts_with(&reading.sequence))
            .max_by_key(|reading| reading.sequence.len());
        let (mut roster, position) = match start {
            Some(reading) if reading.sequence.len() == sequence.len() => {
                return Some(Arc::clone(&reading.roster));
            }
            Some(reading) => (Roster::clone(&reading.roster), reading.sequence.len()),
            None => (
                Roster::found(self.order.entry(*sequence.first()?), None, &self.order)?,
                1,
            ),
        };
        let (known, more) = sequence.split_at(position);
        let mut read: Bits = known.iter().copied().collect();
        for index in more {
            let is_contested = self.is_contested(*index, &read);
            if is_contested || roster.apply(self.order.entry(*index), &self.order).is_err() {
                return self.settle(sequence).map(Arc::new);
            }
            read.insert(*index);
        }
        Some(Arc::new(roster))
    }

    /// Why an act, made at heads that are here, would be ignored as things stand; `None` if it would count.
    pub fn would_reject(&self, entry: &ControlEntry) -> Option<Rejection> {
        let roster = self.roster_at(entry.parents()).ok()?;
        let mut roster = Roster::clone(&roster);
        let displaced = roster.apply(
            entry,
            &Prospect {
                order: &self.order,
                entry,
            },
        );
        match displaced {
            Ok(()) => roster.rejected().get(&entry.hash()).copied(),
            Err(_) => None,
        }
    }

    /// The heads that a new act should name as its parents: all of them, or the latest if there are more than it can.
    pub fn heads_to_follow(&self) -> Vec<ControlHash> {
        self.latest_heads(PARENTS_MAX)
    }

    /// At most `limit` heads, ascending: those that count before the rest, first such that start epochs, then such that
    /// change who may do what, each time the latest. So no number of empty acts, stamped as they may be, keeps anyone from
    /// naming what matters.
    fn latest_heads(&self, limit: usize) -> Vec<ControlHash> {
        if self.heads.len() <= limit {
            return self.heads();
        }
        let roster = self.roster();
        let is_void = |hash: ControlHash| {
            let rejected = roster.as_ref().map(|roster| roster.rejected());
            rejected.is_some_and(|rejected| rejected.contains_key(&hash))
        };
        let mut heads: Vec<_> = self
            .heads
            .iter()
            .filter_map(|head| self.order.get(*head))
            .collect();
        heads.sort_by_key(|entry| {
            let weight = match entry.action() {
                Action::StartEpoch(_) => 0,
                Action::WrapKeys(_) | Action::Acknowledge | Action::AcknowledgeCheckpoints(_) => 2,
                _ => 1,
            };
            let latest_first = std::cmp::Reverse((entry.hlc(), entry.hash()));
            (is_void(entry.hash()), weight, latest_first)
        });
        let mut named: Vec<_> = heads.iter().take(limit).map(|entry| entry.hash()).collect();
        named.sort_unstable();
        named
    }
}

/// The causality of an entry that is not part of the history yet: it saw its parents and whatever they saw.
struct Prospect<'a> {
    order: &'a Order,
    entry: &'a ControlEntry,
}

impl Knowledge for Prospect<'_> {
    fn saw(&self, later: ControlHash, earlier: ControlHash) -> bool {
        if later != self.entry.hash() {
            return self.order.knows(later, earlier);
        }
        self.entry
            .parents()
            .iter()
            .any(|parent| *parent == earlier || self.order.knows(*parent, earlier))
    }

    fn had_secret(&self, entry: &ControlEntry, join: &Join, consent: &[u8; 32]) -> bool {
        join.had_secret(entry.context(), entry.author(), consent)
    }
}

//! Contested acts: who stands where people shut each other out, or withdraw what others rely on, without knowing of it.
//!
//! An act strikes what it did not know and that did not know it: a removal, a revocation or a demotion strikes the acts
//! of whom it concerns, as far as they need the rights it took; a withdrawal of an invite strikes joins; making someone
//! owner strikes what those who are no owners did to that person. An act rests on what gave its author a place and
//! rights. One that strikes something another rests on contradicts it.
//!
//! They are settled in rounds. Each reads the history with what is settled so far, and settles of the acts that count
//! and strike something those that nothing unsettled contradicts. Acts that contradict each other in a circle are settled
//! by rank: the first among them stands, and those that contradict it do not. An act that strikes nothing is part of no
//! circle, so reading it in its place comes to the same: only a history in which something new strikes is settled anew.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aeroedge_ids::{ControlHash, UserId};

use super::History;
use super::order::Bits;
use crate::control::{Action, ControlEntry, DeviceKind, Rights, Role};
use crate::roster::{Bar, Plan, ReductionScope, Restart, Roster};

/// An act that counts and strikes others.
struct Striking {
    entry: ControlHash,
    /// What becomes of each act it strikes.
    strikes: BTreeMap<ControlHash, Bar>,
    /// The acts it rests on, itself among them.
    rests_on: BTreeSet<ControlHash>,
    rank: Rank,
}

/// Smaller goes first: the greater role, then the older member, the recovery device, the older device, the earlier act.
type Rank = (Reverse<Role>, usize, Reverse<DeviceKind>, usize, usize);

impl Striking {
    fn contradicts(&self, other: &Self) -> bool {
        self.entry != other.entry
            && other
                .rests_on
                .iter()
                .any(|act| self.strikes.contains_key(act))
    }
}

/// One sequence being settled.
struct Settling<'a> {
    history: &'a History,
    sequence: &'a [u32],
    place: BTreeMap<ControlHash, usize>,
    plan: Plan,
    settled: BTreeSet<ControlHash>,
}

impl History {
    /// Whether an entry may strike anything that was read before it, counting or not.
    pub(super) fn is_contested(&self, index: u32, read: &Bits) -> bool {
        let order = &self.order;
        let is_struck = |other: u32| read.contains(other) && !order.leads_to(other, index);
        let strikes_joins = || order.joins().any(is_struck);
        match order.entry(index).action() {
            Action::RemoveMember(removed) => {
                order.acts_of_user(removed.user).any(is_struck) || strikes_joins()
            }
            Action::RevokeDevice(revoked) => {
                order.acts_of_device(revoked.device).any(is_struck) || strikes_joins()
            }
            Action::SetRole(change) => {
                let makes_owner = change.rights.role == Role::Owner;
                order.acts_of_user(change.user).any(is_struck)
                    || strikes_joins()
                    || (makes_owner && order.reductions_of(change.user).any(is_struck))
            }
            Action::VoidInvite(_) => strikes_joins(),
            Action::StartEpoch(started) => {
                order
                    .epochs_of(started.audience)
                    .any(|epoch| order.leads_to(epoch, index))
                    && strikes_joins()
            }
            _ => false,
        }
    }

    /// Reads a sequence in which something is contested.
    pub(super) fn settle(&self, sequence: &[u32]) -> Option<Roster> {
        let place = sequence
            .iter()
            .enumerate()
            .map(|(place, index)| (self.order.entry(*index).hash(), place))
            .collect();
        let mut settling = Settling {
            history: self,
            sequence,
            place,
            plan: Plan::default(),
            settled: BTreeSet::new(),
        };
        // Acts that came to nothing by what they themselves struck strike nothing from the start.
        let mut void = BTreeMap::new();
        loop {
            settling.plan.bars.clone_from(&void);
            settling.settled.clear();
            let roster = settling.run()?;
            let ghosts: Vec<_> = settling
                .settled
                .iter()
                .filter(|act| roster.rejected().contains_key(*act))
                .copied()
                .collect();
            if ghosts.is_empty() {
                return Some(roster.settled());
            }
            void.extend(ghosts.into_iter().map(|act| (act, Bar::Outranked)));
        }
    }
}

impl Settling<'_> {
    /// Settles round by round until nothing unsettled strikes.
    fn run(&mut self) -> Option<Roster> {
        loop {
            let roster = self.read()?;
            let (settled, open): (Vec<_>, Vec<_>) = self
                .striking(&roster)
                .into_iter()
                .partition(|act| self.settled.contains(&act.entry));
            // What came to count since may be struck as well.
            let mut has_changed = false;
            for act in &settled {
                has_changed |= self.bar_all(&act.strikes);
            }
            if has_changed {
                continue;
            }
            if open.is_empty() {
                return Some(roster);
            }
            for act in first_of_each_circle(&open) {
                self.settled.insert(act.entry);
                self.bar_all(&act.strikes);
                let contradicting = open.iter().filter(|other| other.contradicts(act));
                let outranked = contradicting.map(|other| (other.entry, Bar::Outranked));
                self.bar_all(&outranked.collect());
            }
        }
    }

    /// Whether any of them is new.
    fn bar_all(&mut self, strikes: &BTreeMap<ControlHash, Bar>) -> bool {
        let bars = &mut self.plan.bars;
        let mut has_changed = false;
        for (act, bar) in strikes {
            let earlier = bars.remove(act);
            let together = match &earlier {
                Some(earlier) => earlier.clone().and(bar.clone()),
                None => bar.clone(),
            };
            has_changed |= earlier.as_ref() != Some(&together);
            bars.insert(*act, together);
        }
        has_changed
    }

    /// Reads the whole sequence heeding the plan.
    fn read(&mut self) -> Option<Roster> {
        self.plan.displaced.clear();
        self.plan.confirmed.clear();
        self.plan.unconfirming.clear();
        loop {
            match self.try_read()? {
                Ok(roster) => {
                    let in_vain: Vec<_> = self
                        .plan
                        .confirmed
                        .values()
                        .filter(|by| roster.rejected().contains_key(*by))
                        .copied()
                        .collect();
                    if in_vain.is_empty() {
                        return Some(roster);
                    }
                    self.plan.confirmed.retain(|_, by| !in_vain.contains(by));
                    self.plan.unconfirming.extend(in_vain);
                }
                // Each adds to the plan, so this ends.
                Err(Restart::Displaced(join, why)) => {
                    self.plan.displaced.insert(join, why);
                }
                Err(Restart::Confirmed(join, by)) => {
                    self.plan.confirmed.insert(join, by);
                }
            }
        }
    }

    fn try_read(&self) -> Option<Result<Roster, Restart>> {
        let order = &self.history.order;
        let (first, more) = self.sequence.split_first()?;
        let plan = Arc::new(self.plan.clone());
        let mut roster = Roster::found(order.entry(*first), Some(plan), order)?;
        for index in more {
            if let Err(restart) = roster.apply(order.entry(*index), order) {
                return Some(Err(restart));
            }
        }
        Some(Ok(roster))
    }

    /// The acts that count in a reading and strike something.
    fn striking(&self, roster: &Roster) -> Vec<Striking> {
        let order = &self.history.order;
        let mut strikes: BTreeMap<ControlHash, BTreeMap<ControlHash, Bar>> = BTreeMap::new();
        let mut add = |act: ControlHash, struck: &ControlEntry, bar: Bar| {
            let (struck, is_same) = (struck.hash(), struck.hash() == act);
            if !is_same && !order.knows(act, struck) && !order.knows(struck, act) {
                let all = strikes.entry(act).or_default();
                let together = match all.remove(&struck) {
                    Some(earlier) => Bar::and(earlier, bar),
                    None => bar,
                };
                all.insert(struck, together);
            }
        };
        for reduction in roster.reductions() {
            let acts: Vec<u32> = match reduction.scope {
                ReductionScope::User(user) => order.acts_of_user(user).collect(),
                ReductionScope::Device(device) => order.acts_of_device(device).collect(),
                ReductionScope::Writer(_) | ReductionScope::Stale(_) => Vec::new(),
            };
            for struck in acts.into_iter().map(|index| order.entry(index)) {
                let is_here = self.place.contains_key(&struck.hash());
                let is_by_whom_it_concerns = roster
                    .device(struck.author())
                    .is_some_and(|device| reduction.bars(device));
                if is_here && is_by_whom_it_concerns && !matches!(struck.action(), Action::Join(_))
                {
                    add(
                        reduction.entry,
                        struck,
                        Bar::Limited(reduction.remaining.clone()),
                    );
                }
            }
        }
        for join in order.joins().map(|index| order.entry(index)) {
            if self.place.contains_key(&join.hash())
                && !self.plan.confirmed.contains_key(&join.hash())
            {
                for withdrawal in roster.withdrawals_of(join, order) {
                    add(withdrawal, join, Bar::Withdrawn);
                }
            }
        }
        for (made_owner, reduction) in roster.overridden_by_owners() {
            if let Some(struck) = order.get(reduction) {
                add(made_owner, struck, Bar::Outranked);
            }
        }
        strikes
            .into_iter()
            .filter_map(|(entry, mut strikes)| {
                let act = order.get(entry)?;
                // What the struck act can do without the rights that were taken is not struck.
                strikes.retain(|struck, bar| match (bar, order.get(*struck)) {
                    (Bar::Limited(Some(left)), Some(struck)) => {
                        left.role < roster.needed_for(struck)
                    }
                    _ => true,
                });
                Some(Striking {
                    entry,
                    rests_on: self.rests_on(roster, act),
                    rank: self.rank(roster, act),
                    strikes,
                })
            })
            .filter(|act| !act.strikes.is_empty())
            .collect()
    }

    /// The acts that gave the author of an act its place and its rights, and those that these rest on in turn.
    fn rests_on(&self, roster: &Roster, act: &ControlEntry) -> BTreeSet<ControlHash> {
        let order = &self.history.order;
        let mut rests_on = BTreeSet::new();
        let mut pending = vec![act.hash()];
        while let Some(hash) = pending.pop() {
            let Some(entry) = order.get(hash) else {
                continue;
            };
            if !rests_on.insert(hash) {
                continue;
            }
            let knows = |earlier| order.knows(hash, earlier);
            pending.extend(roster.foundations(entry, knows));
        }
        rests_on
    }

    fn rank(&self, roster: &Roster, act: &ControlEntry) -> Rank {
        let order = &self.history.order;
        let place = |hash: ControlHash| self.place.get(&hash).copied().unwrap_or(usize::MAX);
        let knows = |earlier| order.knows(act.hash(), earlier);
        let device = roster.device(act.author());
        let user: Option<UserId> = device.map(|device| device.user);
        let rights = roster.rights_seen(act.author(), knows, order);
        let role = rights.map_or(Role::ReadOnly, |rights: Rights| rights.role);
        let member = user.and_then(|user| roster.member(user));
        (
            Reverse(role),
            member.map_or(usize::MAX, |member| place(member.since)),
            Reverse(device.map_or(DeviceKind::Everyday, |device| device.kind)),
            device.map_or(usize::MAX, |device| place(device.since)),
            place(act.hash()),
        )
    }
}

/// Of each circle of acts that contradict each other, and that no act outside it contradicts, the first by rank. An act
/// that nothing contradicts is a circle of its own.
fn first_of_each_circle(acts: &[Striking]) -> Vec<&Striking> {
    // For each act whom it contradicts, directly or through others, as bits.
    let count = acts.len();
    let mut reached: Vec<Bits> = acts
        .iter()
        .map(|act| {
            let contradicted = (0..count).filter(|other| act.contradicts(&acts[*other]));
            contradicted.map(|other| other as u32).collect()
        })
        .collect();
    for through in 0..count {
        let beyond = reached[through].clone();
        for bits in &mut reached {
            if bits.contains(through as u32) {
                bits.add_all(&beyond);
            }
        }
    }
    let reaches = |from: usize, to: usize| reached[from].contains(to as u32);
    (0..count)
        .filter(|act| {
            (0..count)
                .filter(|other| reaches(*other, *act))
                .all(|other| reaches(*act, other) && acts[*act].rank <= acts[other].rank)
        })
        .map(|act| &acts[act])
        .collect()
}

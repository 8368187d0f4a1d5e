//! Who is around, who is to be dialled when, and which of two links stays.
//!
//! A state machine without sockets or clock: everything that happens comes in with its time, and the driver asks what
//! is due.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aeroedge_transport::{CloseReason, Side, Tag};
use rand::Rng;

use crate::attempts::Attempts;
use crate::instance::Instance;

/// Two links that come up within this time of each other crossed; a later one replaces one that must be dead.
const CROSSING: Duration = Duration::from_secs(2);
/// The lesser of two instances lets the greater dial first.
const LESSER_WAITS: Duration = Duration::from_millis(400);
/// There is hope for somebody who was heard of or linked this recently.
const RECENT: Duration = Duration::from_mins(5);
/// Failures at a hint before there is little hope.
const HINT_FAILURES_HOPEFUL: u32 = 300;
/// A link that lasted this long was wanted: its end does not count as another refusal.
const LASTED: Duration = Duration::from_secs(30);
/// Somebody not heard of for this long is forgotten.
const FORGET_AFTER: Duration = Duration::from_hours(1);
/// Neighbours remembered at most, so that a flood of announcements does not fill the memory.
const KNOWN_MAX: usize = 1_024;
const ADDRESSES_MAX: usize = 64;

/// Number of a link, in the order they came up.
pub(crate) type LinkNumber = u64;

/// Whom to dial.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// Somebody who was heard.
    Neighbour(Instance),
    /// A place where somebody may be.
    Hint(String),
}

/// Dial this now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) target: Target,
    /// Empty for a hint, whose name has to be resolved first.
    pub(crate) addresses: BTreeSet<SocketAddr>,
}

/// What becomes of a link that has just come up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the only one.
    Keep(LinkNumber),
    /// It takes the place of this one, which is to be closed.
    Replace { number: LinkNumber, old: LinkNumber },
    /// The one that is there stays; this one is to be closed.
    Refuse,
}

pub(crate) struct Neighbours {
    me: Instance,
    known: BTreeMap<Instance, Neighbour>,
    hints: BTreeMap<String, Hint>,
    last_number: LinkNumber,
}

#[derive(Default)]
struct Neighbour {
    addresses: BTreeSet<SocketAddr>,
    /// Where it answered last: a false announcement in its name must not hide it.
    good: Option<SocketAddr>,
    tags: Vec<Tag>,
    /// Shares something with this device.
    recognised: bool,
    /// Announcement or good link, whichever was later.
    last_seen: Option<Instant>,
    link: Option<Established>,
    attempts: Attempts,
}

struct Established {
    number: LinkNumber,
    side: Side,
    since: Instant,
}

#[derive(Default)]
struct Hint {
    instance: Option<Instance>,
    myself: bool,
    attempts: Attempts,
}

impl Neighbours {
    pub(crate) fn new(me: Instance) -> Self {
        Self {
            me,
            known: BTreeMap::new(),
            hints: BTreeMap::new(),
            last_number: 0,
        }
    }

    /// Somebody announced itself.
    pub(crate) fn heard(
        &mut self,
        instance: Instance,
        addresses: BTreeSet<SocketAddr>,
        tags: Vec<Tag>,
        recognised: bool,
        now: Instant,
    ) {
        if instance == self.me || !self.make_room_for(&instance) {
            return;
        }
        let neighbour = self.known.entry(instance).or_default();
        if self.me < instance {
            neighbour.attempts.hold_first_until(now + LESSER_WAITS);
        }
        if neighbour.attempts.failures() > 0 {
            neighbour.attempts.hurry(now);
        }
        neighbour.last_seen = Some(now);
        neighbour.addresses = addresses.into_iter().take(ADDRESSES_MAX).collect();
        neighbour.tags = tags;
        neighbour.recognised = recognised;
    }

    /// Somebody is no longer announced. That looks the same after a goodbye and in a cut network: only who also closed
    /// its link on purpose is forgotten.
    pub(crate) fn silent(&mut self, instance: &Instance) {
        let left =
            |neighbour: &Neighbour| neighbour.link.is_none() && neighbour.attempts.was_refused();
        if self.known.get(instance).is_some_and(left) {
            self.known.remove(instance);
        }
    }

    /// Another program answers where somebody was: that driver has ended.
    pub(crate) fn replaced(&mut self, target: &Target) {
        if let Target::Neighbour(instance) = target
            && self
                .known
                .get(instance)
                .is_some_and(|neighbour| neighbour.link.is_none())
        {
            self.known.remove(instance);
        }
    }

    /// What this device shares changed: every announcement is judged anew.
    pub(crate) fn recognise(
        &mut self,
        now: Instant,
        recognises: impl Fn(&Instance, &[Tag]) -> bool,
    ) {
        for (instance, neighbour) in &mut self.known {
            neighbour.recognised = recognises(instance, &neighbour.tags);
            neighbour.attempts.start_afresh(now);
        }
        for hint in self.hints.values_mut() {
            hint.attempts.start_afresh(now);
        }
    }

    /// These are the places to look at from now on.
    pub(crate) fn set_hints(&mut self, hints: impl IntoIterator<Item = String>) {
        let mut old = std::mem::take(&mut self.hints);
        for name in hints {
            let hint = old.remove(&name).unwrap_or_default();
            self.hints.insert(name, hint);
        }
    }

    /// An interface or address of this machine changed: old failures say nothing about the new network.
    pub(crate) fn network_changed(&mut self, now: Instant) {
        for neighbour in self.known.values_mut() {
            neighbour.attempts.hurry(now);
        }
        for hint in self.hints.values_mut() {
            hint.myself = false;
            hint.attempts.hurry(now);
        }
    }

    /// Whom to dial now; each counts as being dialled until [`Neighbours::dialled`].
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Due> {
        self.known
            .retain(|_, neighbour| neighbour.is_worth_knowing(now));
        let mut due = Vec::new();
        for (instance, neighbour) in &mut self.known {
            if neighbour.wants_link() && neighbour.attempts.start(now) {
                due.push(Due {
                    target: Target::Neighbour(*instance),
                    addresses: neighbour
                        .addresses
                        .iter()
                        .chain(&neighbour.good)
                        .copied()
                        .collect(),
                });
            }
        }
        for (name, hint) in &mut self.hints {
            if hint.wants_link(&self.known) && hint.attempts.start(now) {
                due.push(Due {
                    target: Target::Hint(name.clone()),
                    addresses: BTreeSet::new(),
                });
            }
        }
        due
    }

    /// When [`Neighbours::due`] will have something new, if nothing else happens.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let neighbours = self
            .known
            .values()
            .filter(|neighbour| neighbour.wants_link());
        let hints = self
            .hints
            .values()
            .filter(|hint| hint.wants_link(&self.known));
        neighbours
            .map(|neighbour| &neighbour.attempts)
            .chain(hints.map(|hint| &hint.attempts))
            .filter_map(Attempts::next)
            .min()
    }

    /// An attempt ended, with a link to `reached` or without one.
    pub(crate) fn dialled(
        &mut self,
        target: &Target,
        reached: Option<Instance>,
        now: Instant,
        random: &mut impl Rng,
    ) {
        let (attempts, hopeful) = match target {
            Target::Neighbour(instance) => {
                let Some(neighbour) = self.known.get_mut(instance) else {
                    return;
                };
                let recent = |seen| now.saturating_duration_since(seen) < RECENT;
                (
                    &mut neighbour.attempts,
                    neighbour.last_seen.is_some_and(recent),
                )
            }
            Target::Hint(name) => {
                let Some(hint) = self.hints.get_mut(name) else {
                    return;
                };
                hint.instance = reached.or(hint.instance);
                let hopeful = hint.attempts.failures() < HINT_FAILURES_HOPEFUL;
                (&mut hint.attempts, hopeful)
            }
        };
        attempts.over();
        if reached.is_some() {
            attempts.succeeded();
        } else {
            attempts.failed(hopeful, now, random);
        }
    }

    /// A hint led back to this driver; nothing is gained by following it again on this network.
    pub(crate) fn is_myself(&mut self, target: &Target) {
        if let Target::Hint(name) = target
            && let Some(hint) = self.hints.get_mut(name)
        {
            hint.myself = true;
        }
    }

    /// A link came up. Of two that crossed, both ends keep the one that the greater instance dialled.
    pub(crate) fn established(
        &mut self,
        instance: Instance,
        side: Side,
        remote: SocketAddr,
        now: Instant,
    ) -> Verdict {
        if !self.make_room_for(&instance) {
            return Verdict::Refuse;
        }
        let dialled_by_greater = (side == Side::Dialled) == (self.me > instance);
        let neighbour = self.known.entry(instance).or_default();
        let old = neighbour.link.as_ref().map(|link| link.number);
        if let Some(link) = &neighbour.link
            && link.side != side
            && now.saturating_duration_since(link.since) < CROSSING
            && !dialled_by_greater
        {
            return Verdict::Refuse;
        }
        self.last_number += 1;
        let number = self.last_number;
        neighbour.last_seen = Some(now);
        if side == Side::Dialled {
            neighbour.good = Some(remote);
        }
        neighbour.link = Some(Established {
            number,
            side,
            since: now,
        });
        old.map_or(Verdict::Keep(number), |old| Verdict::Replace {
            number,
            old,
        })
    }

    /// A link ended.
    pub(crate) fn ended(
        &mut self,
        instance: &Instance,
        number: LinkNumber,
        reason: &CloseReason,
        now: Instant,
        random: &mut impl Rng,
    ) {
        let Some(neighbour) = self.known.get_mut(instance) else {
            return;
        };
        let Some(link) = neighbour.link.take_if(|link| link.number == number) else {
            return;
        };
        let lasted = now.saturating_duration_since(link.since);
        neighbour.last_seen = Some(now);
        let by_hint = self
            .hints
            .values_mut()
            .filter(|hint| hint.instance == Some(*instance));
        let all = by_hint
            .map(|hint| &mut hint.attempts)
            .chain([&mut neighbour.attempts]);
        for attempts in all {
            match reason {
                CloseReason::Lost(_) if lasted < CROSSING => attempts.failed(true, now, random),
                CloseReason::Lost(_) => attempts.hurry(now),
                _ => attempts.refused(lasted >= LASTED, now, random),
            }
        }
    }

    /// Neighbours that share something with this device.
    pub(crate) fn count(&self) -> usize {
        self.known
            .values()
            .filter(|neighbour| neighbour.recognised || neighbour.link.is_some())
            .count()
    }

    /// Links that are up.
    pub(crate) fn links(&self) -> usize {
        self.known
            .values()
            .filter(|neighbour| neighbour.link.is_some())
            .count()
    }

    /// When the room is full, a stranger not heard of for the longest time has to go.
    fn make_room_for(&mut self, instance: &Instance) -> bool {
        if self.known.len() < KNOWN_MAX || self.known.contains_key(instance) {
            return true;
        }
        let strangers = self
            .known
            .iter()
            .filter(|(_, known)| !known.recognised && known.link.is_none());
        let oldest = strangers
            .min_by_key(|(_, known)| known.last_seen)
            .map(|(instance, _)| *instance);
        oldest.is_some_and(|oldest| self.known.remove(&oldest).is_some())
    }
}

impl Neighbour {
    fn wants_link(&self) -> bool {
        self.recognised
            && self.link.is_none()
            && !(self.addresses.is_empty() && self.good.is_none())
    }

    fn is_worth_knowing(&self, now: Instant) -> bool {
        let seen = self
            .last_seen
            .is_some_and(|seen| now.saturating_duration_since(seen) < FORGET_AFTER);
        seen || self.link.is_some() || self.attempts.is_under_way()
    }
}

impl Hint {
    fn wants_link(&self, known: &BTreeMap<Instance, Neighbour>) -> bool {
        let linked = self
            .instance
            .and_then(|instance| known.get(&instance))
            .is_some_and(|known| known.link.is_some());
        !self.myself && !linked
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::ThreadRng;

    use super::*;
    use crate::instance::InstanceKeys;

    /// Neighbours of the lesser or greater of two instances, the other instance, and an address of it.
    struct Scene {
        neighbours: Neighbours,
        other: Instance,
        address: SocketAddr,
        start: Instant,
        random: ThreadRng,
    }

    impl Scene {
        fn new(greater: bool) -> Self {
            let mut pair = [(); 2].map(|()| InstanceKeys::generate().unwrap().public);
            pair.sort_unstable();
            let [me, other] = if greater { [pair[1], pair[0]] } else { pair };
            Self {
                neighbours: Neighbours::new(me),
                other,
                address: "10.1.2.3:8765".parse().unwrap(),
                start: Instant::now(),
                random: rand::rng(),
            }
        }

        fn at(&self, milliseconds: u64) -> Instant {
            self.start + Duration::from_millis(milliseconds)
        }

        fn heard(&mut self, milliseconds: u64) {
            let now = self.at(milliseconds);
            self.neighbours
                .heard(self.other, [self.address].into(), vec![[1; 8]], true, now);
        }

        fn due(&mut self, milliseconds: u64) -> usize {
            let now = self.at(milliseconds);
            self.neighbours.due(now).len()
        }

        fn linked(&mut self, side: Side, milliseconds: u64) -> Verdict {
            let now = self.at(milliseconds);
            self.neighbours
                .established(self.other, side, self.address, now)
        }

        fn dialled(&mut self, reached: bool, milliseconds: u64) {
            let now = self.at(milliseconds);
            let reached = reached.then_some(self.other);
            self.neighbours.dialled(
                &Target::Neighbour(self.other),
                reached,
                now,
                &mut self.random,
            );
        }

        fn ended(&mut self, number: LinkNumber, reason: &CloseReason, milliseconds: u64) {
            let now = self.at(milliseconds);
            self.neighbours
                .ended(&self.other, number, reason, now, &mut self.random);
        }
    }

    fn lost() -> CloseReason {
        CloseReason::Lost("cut".into())
    }

    #[test]
    fn greater_dials_at_once_and_lesser_gives_it_a_moment() {
        let mut greater = Scene::new(true);
        greater.heard(0);
        assert_eq!(greater.due(0), 1);
        let mut lesser = Scene::new(false);
        lesser.heard(0);
        lesser.heard(100);
        assert_eq!(lesser.due(100), 0);
        assert_eq!(
            lesser.neighbours.next_due(),
            Some(lesser.at(0) + LESSER_WAITS)
        );
        assert_eq!(lesser.due(400), 1);
    }

    #[test]
    fn of_links_that_cross_both_ends_keep_the_one_the_greater_dialled() {
        for first in [Side::Dialled, Side::Accepted] {
            let second = if first == Side::Dialled {
                Side::Accepted
            } else {
                Side::Dialled
            };
            for greater in [true, false] {
                let mut scene = Scene::new(greater);
                assert_eq!(scene.linked(first, 0), Verdict::Keep(1));
                let by_greater = (second == Side::Dialled) == greater;
                let expected = if by_greater {
                    Verdict::Replace { number: 2, old: 1 }
                } else {
                    Verdict::Refuse
                };
                assert_eq!(scene.linked(second, 10), expected);
            }
        }
    }

    #[test]
    fn later_link_replaces_one_that_must_be_dead() {
        for greater in [true, false] {
            let mut scene = Scene::new(greater);
            assert_eq!(scene.linked(Side::Dialled, 0), Verdict::Keep(1));
            assert_eq!(
                scene.linked(Side::Accepted, 5_000),
                Verdict::Replace { number: 2, old: 1 }
            );
            scene.ended(1, &lost(), 5_001);
            assert_eq!(scene.neighbours.links(), 1);
        }
    }

    #[test]
    fn lost_link_is_dialled_at_once_and_then_every_second() {
        let mut scene = Scene::new(true);
        scene.heard(0);
        assert_eq!(scene.due(0), 1);
        scene.dialled(true, 10);
        scene.linked(Side::Dialled, 10);
        assert_eq!(scene.due(20), 0);
        scene.ended(1, &lost(), 5_000);
        for second in 5..60 {
            assert_eq!(scene.due(second * 1_000), 1, "after {second} s");
            scene.dialled(false, second * 1_000);
        }
    }

    #[test]
    fn link_closed_on_purpose_is_left_alone_until_keys_change() {
        let mut scene = Scene::new(true);
        scene.heard(0);
        assert_eq!(scene.due(0), 1);
        scene.dialled(true, 0);
        scene.linked(Side::Dialled, 0);
        scene.ended(1, &CloseReason::Remote("nothing in common".into()), 100);
        scene.heard(200);
        assert_eq!(scene.due(900), 0);
        let now = scene.at(1_000);
        scene.neighbours.recognise(now, |_, _| true);
        assert_eq!(scene.due(1_000), 1);
    }

    #[test]
    fn only_the_recognised_are_dialled() {
        let mut scene = Scene::new(true);
        scene.heard(0);
        let now = scene.at(0);
        scene.neighbours.recognise(now, |_, _| false);
        assert_eq!((scene.due(10), scene.neighbours.count()), (0, 0));
    }

    #[test]
    fn flood_of_strangers_keeps_nobody_out() {
        let mut scene = Scene::new(true);
        for number in 0..2 * KNOWN_MAX as u64 {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            let stranger = Instance::from_bytes(&bytes).unwrap();
            let now = scene.at(number);
            scene
                .neighbours
                .heard(stranger, [scene.address].into(), Vec::new(), false, now);
        }
        assert_eq!(scene.neighbours.known.len(), KNOWN_MAX);
        scene.heard(10_000);
        assert_eq!(scene.due(10_000), 1);
    }

    #[test]
    fn address_that_answered_outlives_a_false_announcement() {
        let mut scene = Scene::new(true);
        scene.linked(Side::Dialled, 0);
        let (now, wrong) = (scene.at(10), "10.6.6.6:6".parse().unwrap());
        scene
            .neighbours
            .heard(scene.other, [wrong].into(), vec![[1; 8]], true, now);
        scene.ended(1, &lost(), 3_000);
        let now = scene.at(3_000);
        let due = scene.neighbours.due(now);
        assert_eq!(due[0].addresses, [scene.address, wrong].into());
    }

    #[test]
    fn driver_whose_address_another_has_is_forgotten() {
        let mut scene = Scene::new(true);
        scene.heard(0);
        assert_eq!(scene.due(0), 1);
        scene.neighbours.replaced(&Target::Neighbour(scene.other));
        scene.dialled(false, 10);
        assert_eq!((scene.due(60_000), scene.neighbours.count()), (0, 0));
    }

    #[test]
    fn hint_is_followed_until_it_leads_to_a_link_or_home() {
        let mut scene = Scene::new(true);
        let hint = Target::Hint("club.local:8765".into());
        scene.neighbours.set_hints(["club.local:8765".into()]);
        assert_eq!(scene.due(0), 1);
        let now = scene.at(0);
        scene
            .neighbours
            .dialled(&hint, None, now, &mut scene.random);
        assert_eq!(scene.due(1_000), 1);
        let now = scene.at(1_000);
        scene
            .neighbours
            .dialled(&hint, Some(scene.other), now, &mut scene.random);
        scene.linked(Side::Dialled, 1_000);
        assert_eq!(scene.due(10_000), 0);
        scene.ended(1, &lost(), 10_000);
        assert_eq!(scene.due(10_000), 1);
        scene.neighbours.is_myself(&hint);
        let now = scene.at(11_000);
        scene
            .neighbours
            .dialled(&hint, None, now, &mut scene.random);
        assert_eq!(scene.due(60_000), 0);
    }
}

//! Who is around, who is to be dialled when, and which of two links stays.
//!
//! A state machine without sockets or clock: everything that happens comes in with its time, and the driver asks what
//! is due.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aeroedge_transport::{CloseReason, Side, Tag};
use rand::{Rng, RngExt};

use crate::instance::Instance;

/// Two links that come up within this time of each other crossed; a later one replaces one that must be dead.
const CROSSING: Duration = Duration::from_secs(2);
/// The lesser of two instances lets the greater dial first.
const LESSER_WAITS: Duration = Duration::from_millis(400);
/// Pause after the first failure, doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause while somebody was heard of or linked a short while ago, or is waited for at a hint: a cut of the
/// network must heal quickly.
const PAUSE_MAX_RECENT: Duration = Duration::from_secs(1);
const RECENT: Duration = Duration::from_mins(10);
/// Failures at a hint before it is followed less often.
const HINT_FAILURES_RECENT: u32 = 120;
/// Longest pause otherwise.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// First pause after a link that one end closed on purpose.
const DECLINED_PAUSE: Duration = Duration::from_secs(2);
/// Longest pause after a link that one end closed on purpose.
const DECLINED_PAUSE_MAX: Duration = Duration::from_mins(2);
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

/// When to dial next.
#[derive(Default)]
struct Attempts {
    under_way: bool,
    not_before: Option<Instant>,
    failures: u32,
    /// Links in a row that one end closed on purpose.
    refusals: u32,
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
        if instance == self.me || !self.has_room_for(&instance) {
            return;
        }
        let first = self.me < instance;
        let neighbour = self.known.entry(instance).or_default();
        neighbour.last_seen = Some(now);
        let addresses: BTreeSet<SocketAddr> = addresses.into_iter().take(ADDRESSES_MAX).collect();
        let moved = !addresses.is_subset(&neighbour.addresses);
        let changed = neighbour.tags != tags;
        if recognised && !neighbour.recognised && neighbour.attempts.not_before.is_none() && first {
            neighbour.attempts.not_before = Some(now + LESSER_WAITS);
        } else if neighbour.attempts.failures > 0 && (moved || changed) {
            neighbour.attempts.hurry(now);
        }
        neighbour.addresses = addresses;
        neighbour.tags = tags;
        neighbour.recognised = recognised;
    }

    /// Somebody is no longer announced. That looks the same after a goodbye and in a cut network: only who also closed
    /// its link on purpose is forgotten.
    pub(crate) fn silent(&mut self, instance: &Instance) {
        let left =
            |neighbour: &Neighbour| neighbour.link.is_none() && neighbour.attempts.refusals > 0;
        if self.known.get(instance).is_some_and(left) {
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
            neighbour.attempts.refusals = 0;
            neighbour.attempts.hurry(now);
        }
        for hint in self.hints.values_mut() {
            hint.attempts.refusals = 0;
            hint.attempts.hurry(now);
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
                    addresses: neighbour.addresses.clone(),
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
            .filter(|attempts| !attempts.under_way)
            .filter_map(|attempts| attempts.not_before)
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
        let (attempts, recent) = match target {
            Target::Neighbour(instance) => {
                let Some(neighbour) = self.known.get_mut(instance) else {
                    return;
                };
                let recent = neighbour
                    .last_seen
                    .is_some_and(|seen| now.saturating_duration_since(seen) < RECENT);
                (&mut neighbour.attempts, recent)
            }
            Target::Hint(name) => {
                let Some(hint) = self.hints.get_mut(name) else {
                    return;
                };
                hint.instance = reached.or(hint.instance);
                let recent = hint.attempts.failures < HINT_FAILURES_RECENT;
                (&mut hint.attempts, recent)
            }
        };
        attempts.under_way = false;
        if reached.is_some() {
            attempts.failures = 0;
        } else {
            attempts.failed(
                now,
                if recent { PAUSE_MAX_RECENT } else { PAUSE_MAX },
                random,
            );
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
    pub(crate) fn established(&mut self, instance: Instance, side: Side, now: Instant) -> Verdict {
        if !self.has_room_for(&instance) {
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
                CloseReason::Lost(_) if lasted < CROSSING => {
                    attempts.failed(now, PAUSE_MAX_RECENT, random);
                }
                CloseReason::Lost(_) => attempts.hurry(now),
                _ => {
                    if lasted >= LASTED {
                        attempts.refusals = 0;
                    }
                    attempts.refused(now, random);
                }
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

    fn has_room_for(&self, instance: &Instance) -> bool {
        self.known.len() < KNOWN_MAX || self.known.contains_key(instance)
    }
}

impl Neighbour {
    fn wants_link(&self) -> bool {
        self.recognised && self.link.is_none() && !self.addresses.is_empty()
    }

    fn is_worth_knowing(&self, now: Instant) -> bool {
        let seen = self
            .last_seen
            .is_some_and(|seen| now.saturating_duration_since(seen) < FORGET_AFTER);
        seen || self.link.is_some() || self.attempts.under_way
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

impl Attempts {
    /// Whether to dial now; if so, dialling is under way.
    fn start(&mut self, now: Instant) -> bool {
        let due = !self.under_way && self.not_before.is_none_or(|time| time <= now);
        if due {
            self.under_way = true;
            self.not_before = None;
        }
        due
    }

    /// Failures of the past no longer count; refusals do.
    fn hurry(&mut self, now: Instant) {
        self.failures = 0;
        if self.refusals == 0 {
            self.not_before = Some(now);
        }
    }

    fn failed(&mut self, now: Instant, pause_max: Duration, random: &mut impl Rng) {
        let pause = doubled(FIRST_PAUSE, self.failures, pause_max);
        self.failures += 1;
        self.not_before = Some(now + jittered(pause, random));
    }

    fn refused(&mut self, now: Instant, random: &mut impl Rng) {
        let pause = doubled(DECLINED_PAUSE, self.refusals, DECLINED_PAUSE_MAX);
        self.refusals += 1;
        self.not_before = Some(now + jittered(pause, random));
    }
}

fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(most)
}

/// Between half the pause and all of it, so that devices cut off together do not return in step.
fn jittered(pause: Duration, random: &mut impl Rng) -> Duration {
    pause.mul_f64(random.random_range(0.5..=1.0))
}

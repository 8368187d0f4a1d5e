//! For devices with several links: from which of them a compartment that lacks much is fetched.
//!
//! Invariant: where anything is lacking, exactly one of the links that offer it is not paused; a link that is forgotten
//! or has no more to offer leaves none waiting for it.

use std::collections::BTreeMap;

use aeroedge_ids::{CompartmentId, ContextId};

use crate::event::Event;

/// Keeps the links of one device from bringing the same entries several times. Without it everything still arrives.
///
/// After [`crate::Output::PeerFrontier`], and after every [`Event::Applied`] and [`Event::Frontier`] a session was given,
/// report [`crate::Session::progress`] of that link by [`Feeders::update`]; when a link ends, [`Feeders::forget`] it. Give
/// the events that come back to the sessions of the links they name.
#[derive(Debug)]
pub struct Feeders {
    lacking_min: u64,
    by_place: BTreeMap<(ContextId, CompartmentId), Offers>,
}

#[derive(Debug, Default)]
struct Offers {
    /// Number of lacking entries by link.
    lacking: BTreeMap<u64, u64>,
    feeder: Option<u64>,
}

impl Feeders {
    /// No links yet. Fewer lacking entries than `lacking_min` are taken from whoever sends them.
    pub fn new(lacking_min: u64) -> Self {
        Self {
            lacking_min: lacking_min.max(1),
            by_place: BTreeMap::new(),
        }
    }

    /// Over this link so many entries of a compartment are still to be received.
    pub fn update(
        &mut self,
        link: u64,
        context: ContextId,
        compartment: CompartmentId,
        to_receive: u64,
    ) -> Vec<(u64, Event)> {
        let place = (context, compartment);
        let matters = to_receive >= self.lacking_min;
        if !matters && !self.by_place.contains_key(&place) {
            return Vec::new();
        }
        let offers = self.by_place.entry(place).or_default();
        let mut events = Vec::new();
        let mut pause = |link, paused| {
            let event = Event::Pause {
                context,
                compartment,
                paused,
            };
            events.push((link, event));
        };
        if matters {
            let new = offers.lacking.insert(link, to_receive).is_none();
            if new && offers.feeder.is_some() {
                pause(link, true);
            }
        } else if offers.lacking.remove(&link).is_some() && offers.feeder != Some(link) {
            pause(link, false);
        }
        if let Some(feeder) = offers.choose() {
            pause(feeder, false);
        }
        self.by_place.retain(|_, offers| !offers.lacking.is_empty());
        events
    }

    /// The link is no more.
    pub fn forget(&mut self, link: u64) -> Vec<(u64, Event)> {
        let mut events = Vec::new();
        for ((context, compartment), offers) in &mut self.by_place {
            offers.lacking.remove(&link);
            if let Some(feeder) = offers.choose() {
                let event = Event::Pause {
                    context: *context,
                    compartment: *compartment,
                    paused: false,
                };
                events.push((feeder, event));
            }
        }
        self.by_place.retain(|_, offers| !offers.lacking.is_empty());
        events
    }
}

impl Offers {
    /// Makes the link that offers most the feeder if there is none; returns it if it must be told.
    fn choose(&mut self) -> Option<u64> {
        if self
            .feeder
            .is_some_and(|feeder| self.lacking.contains_key(&feeder))
        {
            return None;
        }
        let before = self.feeder.take();
        self.feeder = self
            .lacking
            .iter()
            .max_by_key(|(_, lacking)| **lacking)
            .map(|(link, _)| *link);
        // The very first was never paused.
        self.feeder.filter(|_| before.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: ContextId = ContextId([1; 16]);
    const COMPARTMENT: CompartmentId = CompartmentId([2; 16]);

    fn check(events: Vec<(u64, Event)>, expected: &[(u64, bool)]) {
        let told: Vec<(u64, bool)> = events
            .into_iter()
            .map(|(link, event)| match event {
                Event::Pause { paused, .. } => (link, paused),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn one_link_feeds_and_the_next_takes_over_when_it_ends() {
        let mut feeders = Feeders::new(10);
        check(feeders.update(1, CONTEXT, COMPARTMENT, 100), &[]);
        check(feeders.update(2, CONTEXT, COMPARTMENT, 100), &[(2, true)]);
        check(feeders.update(3, CONTEXT, COMPARTMENT, 150), &[(3, true)]);
        check(feeders.update(1, CONTEXT, COMPARTMENT, 50), &[]);
        check(feeders.forget(1), &[(3, false)]);
        check(feeders.update(2, CONTEXT, COMPARTMENT, 5), &[(2, false)]);
        check(feeders.update(3, CONTEXT, COMPARTMENT, 5), &[]);
        check(feeders.forget(3), &[]);
        assert!(feeders.by_place.is_empty());
    }

    #[test]
    fn a_feeder_with_nothing_left_hands_over_to_one_that_has_more() {
        let mut feeders = Feeders::new(1);
        check(feeders.update(1, CONTEXT, COMPARTMENT, 10), &[]);
        check(feeders.update(2, CONTEXT, COMPARTMENT, 30), &[(2, true)]);
        check(feeders.update(1, CONTEXT, COMPARTMENT, 0), &[(2, false)]);
        check(feeders.update(2, CONTEXT, COMPARTMENT, 0), &[]);
    }

    #[test]
    fn little_is_taken_from_whoever_sends_it() {
        let mut feeders = Feeders::new(10);
        check(feeders.update(1, CONTEXT, COMPARTMENT, 9), &[]);
        check(feeders.update(2, CONTEXT, COMPARTMENT, 9), &[]);
        assert!(feeders.by_place.is_empty());
    }
}

//! From which link a compartment that lacks much is fetched, so that three neighbours do not all send the same.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aeroedge_ids::{CompartmentId, ContextId};
use aeroedge_protocol::{Event, Feeders};
use tokio::sync::mpsc::UnboundedSender;

use crate::jobs::{LinkId, ToLink};

/// Fewer lacking entries than this are taken from whoever sends them first.
const LACKING_MIN: u64 = 2_000;

/// Decides for all links of the node.
pub(crate) struct Fetching(Mutex<Inner>);

struct Inner {
    feeders: Feeders,
    links: BTreeMap<u64, UnboundedSender<ToLink>>,
}

impl Fetching {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Inner {
            feeders: Feeders::new(LACKING_MIN),
            links: BTreeMap::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn link_up(&self, link: LinkId, events: UnboundedSender<ToLink>) {
        self.lock().links.insert(link.0, events);
    }

    /// Over this link so many entries are still to come.
    pub(crate) fn progress(
        &self,
        link: LinkId,
        context: ContextId,
        compartment: CompartmentId,
        to_receive: u64,
    ) {
        let mut inner = self.lock();
        let told = inner
            .feeders
            .update(link.0, context, compartment, to_receive);
        inner.tell(told);
    }

    pub(crate) fn link_down(&self, link: LinkId) {
        let mut inner = self.lock();
        inner.links.remove(&link.0);
        let told = inner.feeders.forget(link.0);
        inner.tell(told);
    }
}

impl Inner {
    fn tell(&self, told: Vec<(u64, Event)>) {
        for (link, event) in told {
            if let Some(events) = self.links.get(&link) {
                // A link that ended a moment ago needs no advice.
                let _ = events.send(ToLink::Event(event));
            }
        }
    }
}

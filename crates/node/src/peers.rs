//! Who is there: links, the devices behind them, and how the exchange with each stands.
//!
//! A device counts as there while a link to it is proven. Of two links to one device by different transports one stays, and both ends
//! choose the same: the newer one, since the older may be dead without this end knowing; if they crossed, the one with the
//! smaller binding. Two by one transport both stay: it knows its own duplicates, so these lead to two programs under one key, a
//! device and a copy of it, and each has something to say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aeroedge_ids::{CompartmentId, ContextId, DeviceKey, Seq, WriterKey};
use aeroedge_protocol::Frontier;
use tokio::sync::{Notify, broadcast};

use crate::jobs::LinkId;
use crate::status::{
    LinkFigures, Notice, PeerState, PeerStatus, Rejections, SyncState, SyncStatus,
};

/// Links opened closer together than this crossed on their way.
const CROSSING: Duration = Duration::from_secs(3);
/// A peer that was not heard for longer is degraded; sessions ping every ten seconds.
const DEGRADED_AFTER: Duration = Duration::from_secs(13);
/// For so long a lost peer counts as sought again.
const RECONNECTING_FOR: Duration = Duration::from_mins(1);
/// Devices remembered after they left, and reasons counted.
const REMEMBERED_MAX: usize = 4096;

/// What every part of the node may ask and tell about peers.
pub(crate) struct Peers {
    /// A std mutex: held for a look or a note, never across an await.
    inner: Mutex<Inner>,
    /// Something is to be published.
    pub(crate) due: Notify,
    pub(crate) notices: broadcast::Sender<Notice>,
}

#[derive(Default)]
struct Inner {
    links: BTreeMap<LinkId, LinkRecord>,
    known: BTreeMap<DeviceKey, Known>,
    rejections: Rejections,
    received_at: Option<SystemTime>,
    synced_at: Option<SystemTime>,
    own: BTreeMap<(CompartmentId, WriterKey), Own>,
    changed: BTreeMap<Option<ContextId>, BTreeSet<String>>,
    published: Option<(SyncState, u64)>,
}

/// A log written here: how far it may be offered, and how far somebody has it.
#[derive(Clone, Copy)]
struct Own {
    offered: Seq,
    confirmed: Seq,
}

struct LinkRecord {
    opened: Instant,
    binding: [u8; 32],
    transport: &'static str,
    remote: String,
    heard: Arc<Heard>,
    device: Option<DeviceKey>,
    contexts: BTreeSet<ContextId>,
    in_sync: bool,
    figures: LinkFigures,
}

/// Of a device that was here.
struct Known {
    transport: &'static str,
    remote: String,
    contexts: BTreeSet<ContextId>,
    seen_at: SystemTime,
    lost: Option<Instant>,
    synced_at: Option<SystemTime>,
    figures: LinkFigures,
}

/// When a link was last heard, written by its task without a lock.
pub(crate) struct Heard {
    start: Instant,
    after_ms: AtomicU64,
}

impl Heard {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            after_ms: AtomicU64::new(0),
        }
    }

    pub(crate) fn now(&self) {
        self.after_ms
            .store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn ago(&self) -> Duration {
        let at = Duration::from_millis(self.after_ms.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(at)
    }
}

/// What to do with a link whose peer has just proved who it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Keep,
    /// It stays; this other one goes.
    Replaces(LinkId),
    /// It goes.
    Yields,
}

impl Peers {
    pub(crate) fn new(notices: broadcast::Sender<Notice>) -> Self {
        Self {
            inner: Mutex::default(),
            due: Notify::new(),
            notices,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn notify(&self, notice: Notice) {
        // Nobody listening is fine.
        let _ = self.notices.send(notice);
    }

    pub(crate) fn link_up(
        &self,
        link: LinkId,
        binding: [u8; 32],
        transport: &'static str,
        remote: String,
        heard: Arc<Heard>,
    ) {
        let record = LinkRecord {
            opened: Instant::now(),
            binding,
            transport,
            remote,
            heard,
            device: None,
            contexts: BTreeSet::new(),
            in_sync: false,
            figures: LinkFigures::default(),
        };
        self.lock().links.insert(link, record);
    }

    /// Whether both ends of a link are here.
    pub(crate) fn leads_back(&self, link: LinkId) -> bool {
        let inner = self.lock();
        let binding = inner.links.get(&link).map(|record| record.binding);
        inner
            .links
            .iter()
            .any(|(id, other)| *id != link && Some(other.binding) == binding)
    }

    /// The peer proved who it is, in one context; the first time decides which of two links stays.
    pub(crate) fn proven(&self, link: LinkId, device: DeviceKey, context: ContextId) -> Verdict {
        let mut inner = self.lock();
        let Some(record) = inner.links.get(&link) else {
            return Verdict::Yields;
        };
        if record.device.is_some_and(|known| known != device) {
            // One installation has one key: two on one link are nobody we know.
            return Verdict::Yields;
        }
        let first = record.device.is_none();
        let (opened, binding, transport) = (record.opened, record.binding, record.transport);
        let other = inner
            .links
            .iter()
            .find(|(id, other)| {
                **id != link && other.device == Some(device) && other.transport != transport
            })
            .map(|(id, other)| (*id, other.opened, other.binding))
            .filter(|_| first);
        let verdict = match other {
            None => Verdict::Keep,
            Some((id, other_opened, other_binding)) => {
                let apart = opened.max(other_opened) - opened.min(other_opened);
                let stays = if apart < CROSSING {
                    binding < other_binding
                } else {
                    opened > other_opened
                };
                if stays {
                    Verdict::Replaces(id)
                } else {
                    return Verdict::Yields;
                }
            }
        };
        if let Some(record) = inner.links.get_mut(&link) {
            record.device = Some(device);
            record.contexts.insert(context);
        }
        inner.remember(link, device);
        drop(inner);
        if first && verdict == Verdict::Keep {
            self.notify(Notice::PeerUp(device));
        }
        self.due.notify_one();
        verdict
    }

    pub(crate) fn context_ended(&self, link: LinkId, context: ContextId) {
        if let Some(record) = self.lock().links.get_mut(&link) {
            record.contexts.remove(&context);
        }
        self.due.notify_one();
    }

    pub(crate) fn link_down(&self, link: LinkId, figures: LinkFigures) {
        let mut inner = self.lock();
        if let Some(record) = inner.links.get_mut(&link) {
            record.figures = figures;
        }
        let device = inner.links.get(&link).and_then(|record| record.device);
        if let Some(device) = device {
            inner.remember(link, device);
        }
        inner.links.remove(&link);
        let Some(device) = device else { return };
        let gone = !inner
            .links
            .values()
            .any(|other| other.device == Some(device));
        if gone && let Some(known) = inner.known.get_mut(&device) {
            known.lost = Some(Instant::now());
        }
        drop(inner);
        if gone {
            self.notify(Notice::PeerDown(device));
        }
        self.due.notify_one();
    }

    /// Whether both ends of a link have everything of each other, and what went over it.
    pub(crate) fn progress(&self, link: LinkId, in_sync: bool, figures: LinkFigures) {
        let mut inner = self.lock();
        let now = SystemTime::now();
        let Some(record) = inner.links.get_mut(&link) else {
            return;
        };
        record.in_sync = in_sync;
        record.figures = figures;
        let device = record.device;
        if in_sync && let Some(device) = device {
            inner.synced_at = Some(now);
            if let Some(known) = inner.known.get_mut(&device) {
                known.synced_at = Some(now);
            }
        }
        drop(inner);
        self.due.notify_one();
    }

    /// Somebody holds entries written here up to these.
    pub(crate) fn confirmed(&self, compartment: CompartmentId, told: &Frontier) {
        let mut inner = self.lock();
        for (writer, seq) in told {
            if let Some(own) = inner.own.get_mut(&(compartment, *writer)) {
                own.confirmed = own.confirmed.max(*seq);
            }
        }
    }

    /// What was here before the node started counts as confirmed: nobody remembers by whom it was not.
    pub(crate) fn own_at_start(&self, compartment: CompartmentId, writer: WriterKey, seq: Seq) {
        let own = Own {
            offered: seq,
            confirmed: seq,
        };
        self.lock().own.insert((compartment, writer), own);
    }

    /// Entries written here may be offered up to there.
    pub(crate) fn own_moved(&self, compartment: CompartmentId, writer: WriterKey, seq: Seq) {
        let mut inner = self.lock();
        let own = inner.own.entry((compartment, writer)).or_insert(Own {
            offered: Seq::NONE,
            confirmed: Seq::NONE,
        });
        own.offered = own.offered.max(seq);
        drop(inner);
        self.due.notify_one();
    }

    pub(crate) fn received(&self) {
        self.lock().received_at = Some(SystemTime::now());
    }

    /// Notes tables for the next notice: many changes in a short time become one.
    pub(crate) fn changed(
        &self,
        context: Option<ContextId>,
        tables: impl IntoIterator<Item = String>,
    ) {
        self.lock()
            .changed
            .entry(context)
            .or_default()
            .extend(tables);
        self.due.notify_one();
    }

    /// Counts why a session or context ended.
    pub(crate) fn rejected(&self, reason: String) {
        let mut inner = self.lock();
        if inner.rejections.len() < REMEMBERED_MAX || inner.rejections.contains_key(&reason) {
            *inner.rejections.entry(reason).or_default() += 1;
        }
    }

    pub(crate) fn rejections(&self) -> Rejections {
        self.lock().rejections.clone()
    }

    /// What has become due since it was last asked.
    pub(crate) fn take_due(&self) -> Vec<Notice> {
        let mut inner = self.lock();
        let mut notices: Vec<Notice> = std::mem::take(&mut inner.changed)
            .into_iter()
            .map(|(context, tables)| Notice::Changed { context, tables })
            .collect();
        let current = (inner.state(), inner.pending());
        if inner.published != Some(current) {
            inner.published = Some(current);
            let (state, pending) = current;
            notices.push(Notice::Sync { state, pending });
        }
        notices
    }

    pub(crate) fn status(&self) -> SyncStatus {
        let inner = self.lock();
        let devices: BTreeSet<DeviceKey> = inner
            .links
            .values()
            .filter_map(|record| record.device)
            .collect();
        SyncStatus {
            state: inner.state(),
            connected: devices.len(),
            pending: inner.pending(),
            received_at: inner.received_at,
            synced_at: inner.synced_at,
            problems: Vec::new(),
        }
    }

    /// Connected devices first, then the latest seen.
    pub(crate) fn list(&self) -> Vec<PeerStatus> {
        let inner = self.lock();
        let mut list: Vec<PeerStatus> = inner
            .known
            .iter()
            .map(|(device, known)| inner.describe(*device, known))
            .collect();
        drop(inner);
        list.sort_by_key(|peer| {
            let away = matches!(
                peer.state,
                PeerState::Reconnecting | PeerState::Disconnected
            );
            (away, std::cmp::Reverse(peer.seen_at))
        });
        list
    }
}

impl Inner {
    /// Keeps what a link shows of its device.
    fn remember(&mut self, link: LinkId, device: DeviceKey) {
        let Some(record) = self.links.get(&link) else {
            return;
        };
        let seen_at = SystemTime::now() - record.heard.ago();
        let synced_at = self.known.get(&device).and_then(|known| known.synced_at);
        let known = Known {
            transport: record.transport,
            remote: record.remote.clone(),
            contexts: record.contexts.clone(),
            seen_at,
            lost: None,
            synced_at,
            figures: record.figures,
        };
        if self.known.len() < REMEMBERED_MAX || self.known.contains_key(&device) {
            self.known.insert(device, known);
        }
    }

    fn describe(&self, device: DeviceKey, known: &Known) -> PeerStatus {
        let link = self
            .links
            .values()
            .find(|record| record.device == Some(device));
        let state = match link {
            Some(record) if record.heard.ago() > DEGRADED_AFTER => PeerState::Degraded,
            Some(_) => PeerState::Connected,
            None if known
                .lost
                .is_some_and(|lost| lost.elapsed() < RECONNECTING_FOR) =>
            {
                PeerState::Reconnecting
            }
            None => PeerState::Disconnected,
        };
        PeerStatus {
            device,
            state,
            transport: link.map_or(known.transport, |record| record.transport),
            remote: link.map_or_else(|| known.remote.clone(), |record| record.remote.clone()),
            contexts: link.map_or_else(|| known.contexts.clone(), |record| record.contexts.clone()),
            in_sync: link.is_some_and(|record| record.in_sync),
            seen_at: link.map_or(known.seen_at, |record| {
                SystemTime::now() - record.heard.ago()
            }),
            synced_at: known.synced_at,
            figures: link.map_or(known.figures, |record| record.figures),
        }
    }

    fn state(&self) -> SyncState {
        let mut proven = self
            .links
            .values()
            .filter(|record| record.device.is_some())
            .peekable();
        if proven.peek().is_none() {
            SyncState::Offline
        } else if proven.all(|record| record.in_sync) {
            SyncState::Synced
        } else {
            SyncState::Syncing
        }
    }

    fn pending(&self) -> u64 {
        self.own
            .values()
            .map(|own| own.offered.0.saturating_sub(own.confirmed.0))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceKey = DeviceKey([7; 32]);
    const CONTEXT: ContextId = ContextId([1; 16]);

    fn peers() -> Peers {
        Peers::new(broadcast::channel(16).0)
    }

    fn up(peers: &Peers, link: u64, binding: u8) {
        // Two transports, so that the links may be duplicates.
        let transport = if link == 1 { "memory" } else { "other" };
        up_by(peers, link, binding, transport);
    }

    fn up_by(peers: &Peers, link: u64, binding: u8, transport: &'static str) {
        peers.link_up(
            LinkId(link),
            [binding; 32],
            transport,
            "here".into(),
            Arc::new(Heard::new()),
        );
    }

    #[test]
    fn of_two_crossed_links_the_smaller_binding_stays_whichever_is_proven_first() {
        let here = peers();
        up(&here, 1, 9);
        up(&here, 2, 3);
        assert_eq!(here.proven(LinkId(1), DEVICE, CONTEXT), Verdict::Keep);
        assert_eq!(
            here.proven(LinkId(2), DEVICE, CONTEXT),
            Verdict::Replaces(LinkId(1))
        );
        let there = peers();
        up(&there, 1, 3);
        up(&there, 2, 9);
        assert_eq!(there.proven(LinkId(1), DEVICE, CONTEXT), Verdict::Keep);
        assert_eq!(there.proven(LinkId(2), DEVICE, CONTEXT), Verdict::Yields);
    }

    #[test]
    fn a_link_that_is_opened_much_later_replaces_the_old() {
        let peers = peers();
        up(&peers, 1, 3);
        if let Some(record) = peers.lock().links.get_mut(&LinkId(1))
            && let Some(earlier) = record.opened.checked_sub(Duration::from_mins(1))
        {
            record.opened = earlier;
        }
        up(&peers, 2, 9);
        assert_eq!(peers.proven(LinkId(1), DEVICE, CONTEXT), Verdict::Keep);
        assert_eq!(
            peers.proven(LinkId(2), DEVICE, CONTEXT),
            Verdict::Replaces(LinkId(1))
        );
    }

    #[test]
    fn a_device_and_its_copy_both_keep_their_links() {
        let peers = peers();
        up_by(&peers, 1, 3, "lan");
        up_by(&peers, 2, 9, "lan");
        assert_eq!(peers.proven(LinkId(1), DEVICE, CONTEXT), Verdict::Keep);
        assert_eq!(peers.proven(LinkId(2), DEVICE, CONTEXT), Verdict::Keep);
    }

    #[test]
    fn two_devices_on_one_link_are_nobody() {
        let peers = peers();
        up(&peers, 1, 3);
        assert_eq!(peers.proven(LinkId(1), DEVICE, CONTEXT), Verdict::Keep);
        assert_eq!(
            peers.proven(LinkId(1), DEVICE, ContextId([2; 16])),
            Verdict::Keep
        );
        let other = DeviceKey([8; 32]);
        assert_eq!(
            peers.proven(LinkId(1), other, ContextId([3; 16])),
            Verdict::Yields
        );
    }

    #[test]
    fn pending_counts_what_nobody_confirmed() {
        let peers = peers();
        let (compartment, writer) = (CompartmentId([1; 16]), WriterKey([2; 32]));
        peers.own_at_start(compartment, writer, Seq(10));
        assert_eq!(peers.status().pending, 0);
        peers.own_moved(compartment, writer, Seq(13));
        assert_eq!(peers.status().pending, 3);
        peers.confirmed(compartment, &Frontier::from([(writer, Seq(12))]));
        assert_eq!(peers.status().pending, 1);
    }

    #[test]
    fn a_lost_peer_is_sought_and_remembered() {
        let peers = peers();
        up(&peers, 1, 3);
        peers.proven(LinkId(1), DEVICE, CONTEXT);
        assert_eq!(peers.list()[0].state, PeerState::Connected);
        peers.link_down(LinkId(1), LinkFigures::default());
        assert_eq!(peers.list()[0].state, PeerState::Reconnecting);
        assert_eq!(peers.status().state, SyncState::Offline);
    }
}

//! The one task that owns the driver's state: it hears of everything and starts what is due.
//!
//! Sockets, handshakes and links live in tasks of their own that only report here, so nothing a peer does holds up the
//! others.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aeroedge_transport::{
    Announcement, CloseReason, Ending, Link, Side, Status, Stopper, Tag, open,
};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until, timeout};

use crate::carry::carry;
use crate::dial::{DialError, dial};
use crate::discovery::{Discovery, DiscoveryError, Heard, heard};
use crate::guests::{GuestNumber, Guests};
use crate::handshake::{Secured, shake};
use crate::instance::{Instance, InstanceKeys};
use crate::listen::USUAL_PORT;
use crate::neighbours::{Due, LinkNumber, Neighbours, Target, Verdict};
use crate::{Interfaces, NAME};

const HANDSHAKE_WITHIN: Duration = Duration::from_secs(3);
/// Links at most, so that nobody can use up the memory; honest schools have fewer devices in one room.
const LINKS_MAX: usize = 256;
/// How often the addresses of this machine are compared.
const ADDRESSES_EVERY: Duration = Duration::from_secs(1);
/// How soon mDNS is tried again after it failed.
const DISCOVERY_AGAIN: Duration = Duration::from_secs(5);
/// Goodbyes at stop.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// What the other tasks report.
enum Event {
    /// Something came by mDNS.
    Heard(Heard),
    /// mDNS ended by itself.
    Deaf,
    /// A handshake with somebody who dialled this device is over.
    Accepted {
        stream: TcpStream,
        secured: Secured,
        remote: SocketAddr,
        guest: GuestNumber,
    },
    /// A handshake with somebody who dialled this device came to nothing.
    Refused { guest: GuestNumber },
    /// An attempt is over.
    Dialled {
        target: Target,
        result: Result<(TcpStream, Secured), DialError>,
    },
    /// A link has ended.
    Ended {
        instance: Instance,
        number: LinkNumber,
        reason: CloseReason,
    },
}

pub(crate) struct Supervisor {
    keys: Arc<InstanceKeys>,
    listener: TcpListener,
    bound: SocketAddr,
    announcements: watch::Receiver<Announcement>,
    links: mpsc::Sender<Link>,
    status: watch::Sender<Status>,
    /// None where mDNS does not work; hints and those who dial this device remain.
    discovery: Option<Discovery>,
    /// Why mDNS does not work, for people to read.
    deaf: Option<String>,
    interfaces: Interfaces,
    /// Listens for others.
    browsing: Option<AbortHandle>,
    neighbours: Neighbours,
    open: BTreeMap<LinkNumber, OpenLink>,
    guests: Guests<Guest>,
    /// Every task the driver started; dropping it stops them all.
    tasks: JoinSet<()>,
    events: mpsc::Receiver<Event>,
    report: mpsc::Sender<Event>,
    addresses: BTreeSet<IpAddr>,
}

/// Somebody who dialled this device and is not known yet.
enum Guest {
    /// In the handshake, or before it.
    Arriving(AbortHandle),
    /// With a link over which it has not said yet who it is.
    Linked(Ending),
}

impl Guest {
    /// Whether it is still there and still not known.
    fn is_one(&self) -> bool {
        match self {
            // One that has finished waits to be told of.
            Self::Arriving(_) => true,
            Self::Linked(ending) => !ending.is_settled() && ending.reason().is_none(),
        }
    }

    fn send_away(self) {
        match self {
            Self::Arriving(task) => task.abort(),
            // Not closed on purpose: an honest device comes back soon.
            Self::Linked(ending) => {
                ending.end(CloseReason::Lost("too many strangers at once".into()));
            }
        }
    }
}

struct OpenLink {
    ending: Ending,
    /// The address of this machine that it runs over.
    local: Option<IpAddr>,
}

impl Supervisor {
    pub(crate) fn new(
        keys: InstanceKeys,
        listener: TcpListener,
        bound: SocketAddr,
        interfaces: Interfaces,
        announcements: watch::Receiver<Announcement>,
        links: mpsc::Sender<Link>,
        status: watch::Sender<Status>,
    ) -> Self {
        let (report, events) = mpsc::channel(64);
        Self {
            bound,
            discovery: None,
            deaf: None,
            interfaces,
            browsing: None,
            neighbours: Neighbours::new(keys.public),
            keys: Arc::new(keys),
            listener,
            announcements,
            links,
            status,
            open: BTreeMap::new(),
            guests: Guests::new(),
            tasks: JoinSet::new(),
            events,
            report,
            addresses: own_addresses(),
        }
    }

    /// Works until it is stopped.
    pub(crate) async fn run(mut self, mut stopper: Stopper) {
        tracing::info!(bound = %self.bound, instance = ?self.keys.public, "listening");
        let mut look = interval(ADDRESSES_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut listen_again = interval(DISCOVERY_AGAIN);
        listen_again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.announcement_changed();
        loop {
            self.dial_what_is_due();
            self.publish();
            let next_due = self.neighbours.next_due();
            tokio::select! {
                () = stopper.stopped() => break,
                Ok(()) = self.announcements.changed() => self.announcement_changed(),
                accepted = self.listener.accept() => self.accepted(accepted).await,
                Some(event) = self.events.recv() => self.happened(event),
                Some(_) = self.tasks.join_next() => {}
                _ = look.tick() => self.look_at_addresses(),
                _ = listen_again.tick(), if self.deaf.is_some() => self.announce_now(),
                () = at(next_due) => {}
            }
        }
        self.stop().await;
    }

    fn announcement_changed(&mut self) {
        let Announcement { beacon, hints } = self.announcements.borrow_and_update().clone();
        self.neighbours.set_hints(hints);
        self.neighbours.recognise(Instant::now(), |instance, tags| {
            beacon.recognises(&instance.nonce(), tags)
        });
        self.announce_now();
    }

    fn announce_now(&mut self) {
        let beacon = Arc::clone(&self.announcements.borrow().beacon);
        if let Err(error) = self.announce(beacon.tags(&self.keys.public.nonce())) {
            self.deafened(&error);
        }
    }

    fn announce(&mut self, tags: Vec<Tag>) -> Result<(), DiscoveryError> {
        if self.discovery.is_none() {
            self.discovery = Some(Discovery::start(
                self.keys.public,
                self.bound.port(),
                self.interfaces,
            )?);
        }
        self.listen_for_others(!tags.is_empty())?;
        if let Some(discovery) = &mut self.discovery {
            discovery.announce(tags)?;
        }
        self.deaf = None;
        Ok(())
    }

    /// mDNS failed: it is started anew before long.
    fn deafened(&mut self, error: &DiscoveryError) {
        if self.deaf.is_none() {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "mDNS does not work"
            );
        }
        self.deaf = Some(error.to_string());
        self.discovery = None;
        if let Some(browsing) = self.browsing.take() {
            browsing.abort();
        }
    }

    /// Asks the network who is there, from the first time there is somebody to look for.
    fn listen_for_others(&mut self, wanted: bool) -> Result<(), DiscoveryError> {
        let Some(discovery) = self
            .discovery
            .as_ref()
            .filter(|_| wanted && self.browsing.is_none())
        else {
            return Ok(());
        };
        let found = discovery.browse()?;
        let report = self.report.clone();
        let browsing = self.tasks.spawn(async move {
            while let Ok(event) = found.recv_async().await {
                if let Some(heard) = heard(&event)
                    && report.send(Event::Heard(heard)).await.is_err()
                {
                    return;
                }
            }
            // Nobody to report to: the driver is stopping.
            let _ = report.send(Event::Deaf).await;
        });
        self.browsing = Some(browsing);
        Ok(())
    }

    fn dial_what_is_due(&mut self) {
        for Due { target, addresses } in self.neighbours.due(Instant::now()) {
            let (keys, report) = (Arc::clone(&self.keys), self.report.clone());
            self.tasks.spawn(async move {
                let result = match &target {
                    Target::Neighbour(instance) => dial(addresses, Some(*instance), &keys).await,
                    Target::Hint(name) => match resolve(name).await {
                        Ok(addresses) => dial(addresses, None, &keys).await,
                        Err(error) => Err(error),
                    },
                };
                // Nobody to report to: the driver is stopping.
                let _ = report.send(Event::Dialled { target, result }).await;
            });
        }
    }

    async fn accepted(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                // Out of file handles, most likely: give the links that hold them time to end.
                return sleep(Duration::from_millis(100)).await;
            }
        };
        let address = plain(remote).ip();
        self.guests.retain(Guest::is_one);
        if let Some(guest) = self.guests.make_room(address) {
            tracing::debug!(%remote, "too many strangers at once: the oldest is sent away");
            guest.send_away();
        }
        let (keys, report) = (Arc::clone(&self.keys), self.report.clone());
        let (begin, begun) = oneshot::channel();
        let task = self.tasks.spawn(async move {
            if let Ok(guest) = begun.await {
                answer(stream, remote, keys, report, guest).await;
            }
        });
        let guest = self.guests.add(address, Guest::Arriving(task));
        // The task waits for its number.
        let _ = begin.send(guest);
    }

    fn happened(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Heard(Heard::Announced {
                instance,
                addresses,
                tags,
            }) => {
                let beacon = Arc::clone(&self.announcements.borrow().beacon);
                let recognised = beacon.recognises(&instance.nonce(), &tags);
                tracing::debug!(?instance, ?addresses, recognised, "heard");
                self.neighbours
                    .heard(instance, addresses, tags, recognised, now);
            }
            Event::Heard(Heard::Silent(instance)) => self.neighbours.silent(&instance),
            Event::Deaf => self.deafened(&DiscoveryError::Daemon(mdns_sd::Error::DaemonShutdown)),
            Event::Accepted {
                stream,
                secured,
                remote,
                guest,
            } => {
                if !self.guests.holds(guest) {
                    return;
                }
                let link = if secured.remote == self.keys.public {
                    None
                } else {
                    self.established(stream, secured, Side::Accepted, remote)
                };
                match link {
                    Some(ending) => self.guests.change(guest, Guest::Linked(ending)),
                    None => self.guests.remove(guest),
                }
            }
            Event::Refused { guest } => self.guests.remove(guest),
            Event::Dialled { target, result } => match result {
                Ok((stream, secured)) => {
                    self.neighbours
                        .dialled(&target, Some(secured.remote), now, &mut rand::rng());
                    if let Ok(remote) = stream.peer_addr() {
                        // Whoever was dialled is no guest.
                        let _ = self.established(stream, secured, Side::Dialled, remote);
                    }
                }
                Err(error) => {
                    match error {
                        DialError::Myself { .. } => self.neighbours.is_myself(&target),
                        DialError::SomebodyElse { .. } => self.neighbours.replaced(&target),
                        _ => {}
                    }
                    tracing::debug!(?target, error = &error as &dyn std::error::Error, "no link");
                    self.neighbours
                        .dialled(&target, None, now, &mut rand::rng());
                }
            },
            Event::Ended {
                instance,
                number,
                reason,
            } => {
                tracing::info!(?instance, %reason, "link ended");
                self.open.remove(&number);
                self.neighbours
                    .ended(&instance, number, &reason, now, &mut rand::rng());
            }
        }
    }

    /// Opens a link; `None` if it is not wanted.
    fn established(
        &mut self,
        stream: TcpStream,
        secured: Secured,
        side: Side,
        remote: SocketAddr,
    ) -> Option<Ending> {
        if self.open.len() >= LINKS_MAX {
            tracing::warn!(%remote, "too many links: connection turned away");
            return None;
        }
        let instance = secured.remote;
        let number = match self
            .neighbours
            .established(instance, side, remote, Instant::now())
        {
            Verdict::Keep(number) => number,
            Verdict::Replace { number, old } => {
                if let Some(old) = self.open.get(&old) {
                    old.ending
                        .end(CloseReason::Local("another link took its place".into()));
                }
                number
            }
            Verdict::Refuse => return None,
        };
        let (link, end) = open(secured.binding, side, plain(remote).to_string(), NAME);
        let local = stream.local_addr().ok().map(|address| plain(address).ip());
        let ending = end.ending();
        self.open.insert(
            number,
            OpenLink {
                ending: ending.clone(),
                local,
            },
        );
        tracing::info!(?instance, ?side, %remote, "link open");
        let (links, report) = (self.links.clone(), self.report.clone());
        self.tasks.spawn(async move {
            let reason = tokio::select! {
                reason = carry(stream, &secured, end) => reason,
                // The caller takes the link or drops it; either way the future above goes on to its end.
                never = hand_over(links, link) => match never {},
            };
            let _ = report
                .send(Event::Ended {
                    instance,
                    number,
                    reason,
                })
                .await;
        });
        Some(ending)
    }

    /// A link over an address that this machine no longer has is dead, long before silence shows it.
    fn look_at_addresses(&mut self) {
        let addresses = own_addresses();
        if addresses == self.addresses {
            return;
        }
        self.addresses = addresses;
        for link in self.open.values() {
            if link
                .local
                .is_some_and(|local| !self.addresses.contains(&local))
            {
                link.ending
                    .end(CloseReason::Lost("this machine changed its address".into()));
            }
        }
        self.neighbours.network_changed(Instant::now());
    }

    /// Tells how the driver is doing, if that changed.
    pub(crate) fn publish(&self) {
        let status = Status {
            listening: self.listening(),
            neighbours: self.neighbours.count(),
            links: self.neighbours.links(),
            problem: self.problem(),
        };
        self.status.send_if_modified(|published| {
            let changed = *published != status;
            *published = status;
            changed
        });
    }

    /// Where others reach this device; addresses that only this machine can use come last.
    fn listening(&self) -> Vec<SocketAddr> {
        let reaches = |ip: &IpAddr| match self.bound.ip() {
            bound if !bound.is_unspecified() => *ip == bound,
            bound => bound.is_ipv6() || ip.is_ipv4(),
        };
        let mut addresses: Vec<IpAddr> = self.addresses.iter().copied().filter(reaches).collect();
        addresses.retain(|ip| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()));
        addresses.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6(), *ip));
        addresses
            .into_iter()
            .map(|ip| SocketAddr::new(ip, self.bound.port()))
            .collect()
    }

    fn problem(&self) -> Option<String> {
        let alone =
            self.bound.ip().is_unspecified() && self.addresses.iter().all(IpAddr::is_loopback);
        let no_network =
            alone.then(|| "this machine has no network: turn on Wi-Fi or plug in a cable".into());
        self.deaf.clone().or(no_network)
    }

    async fn stop(mut self) {
        for link in self.open.values() {
            link.ending
                .end(CloseReason::Local("the device stops".into()));
        }
        let goodbyes = async {
            while !self.open.is_empty() {
                match self.events.recv().await {
                    Some(Event::Ended { number, .. }) => drop(self.open.remove(&number)),
                    Some(_) => {}
                    None => return,
                }
            }
        };
        let _ = timeout(STOP_WITHIN, goodbyes).await;
        if let Some(discovery) = self.discovery.take() {
            discovery.stop().await;
        }
        self.tasks.shutdown().await;
    }
}

/// The port may be left out of a hint.
async fn resolve(hint: &str) -> Result<Vec<SocketAddr>, DialError> {
    let found = match lookup_host(hint).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(_) => lookup_host((hint, USUAL_PORT)).await.map(Iterator::collect),
    };
    found.map_err(|source| DialError::Unresolved {
        hint: hint.into(),
        source,
    })
}

async fn answer(
    mut stream: TcpStream,
    remote: SocketAddr,
    keys: Arc<InstanceKeys>,
    report: mpsc::Sender<Event>,
    guest: GuestNumber,
) {
    let _ = stream.set_nodelay(true);
    let shaken = timeout(HANDSHAKE_WITHIN, shake(&mut stream, Side::Accepted, &keys)).await;
    let event = match shaken {
        Ok(Ok(secured)) => Event::Accepted {
            stream,
            secured,
            remote,
            guest,
        },
        Ok(Err(error)) => {
            tracing::debug!(%remote, error = &error as &dyn std::error::Error, "connection refused");
            Event::Refused { guest }
        }
        Err(_) => {
            tracing::debug!(%remote, "connection refused: silent during the handshake");
            Event::Refused { guest }
        }
    };
    // Nobody to report to: the driver is stopping.
    let _ = report.send(event).await;
}

async fn hand_over(links: mpsc::Sender<Link>, link: Link) -> std::convert::Infallible {
    // When nobody takes links any more, this one is dropped, which closes it.
    let _ = links.send(link).await;
    std::future::pending().await
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// IPv4 addresses that came in over an IPv6 socket, as people know them.
fn plain(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(ip) => SocketAddr::from((ip, v6.port())),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}

/// The addresses of interfaces that are up, as far as the system knows.
fn own_addresses() -> BTreeSet<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces
        .iter()
        .filter(|interface| interface.is_oper_up())
        .map(if_addrs::Interface::ip)
        .collect()
}

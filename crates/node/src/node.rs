//! What a program holds: start a node, give it links and transports, ask for things to be done with its database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use aeroedge_protocol::Limits;
use aeroedge_transport::{Announcement, Link, Running, Status, Transport};
use tokio::sync::{Mutex, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::beacon::{Silent, Snapshot, Tags};
use crate::engine::{AfterMerge, Thread};
use crate::fetching::Fetching;
use crate::jobs::{Call, Engine, Job, LinkId};
use crate::link::{self, Ended, Surroundings};
use crate::peers::Peers;
use crate::status::{Notice, PeerStatus, Rejections, SyncStatus};
use crate::store::Store;

/// Calls of the program that may wait for the database at once; more wait for their turn to wait.
const CALLS_MAX: usize = 512;
/// Notices kept for a listener that is slow.
const NOTICES_MAX: usize = 1024;
/// After a session asked to begin anew, transports are asked to look again when the old link is surely gone.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(150);
/// How long links may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(3);

/// How a node behaves.
pub struct Config<S: Store> {
    /// Bounds and intervals of sessions.
    pub limits: Limits,
    /// Links at once; more are turned away.
    pub links_max: usize,
    /// Runs on the thread of the database after rows changed by merging; what it writes is durable with them.
    pub after_merge: Option<AfterMerge<S>>,
}

impl<S: Store> Default for Config<S> {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            links_max: 256,
            after_merge: None,
        }
    }
}

impl<S: Store> std::fmt::Debug for Config<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("limits", &self.limits)
            .field("links_max", &self.links_max)
            .finish_non_exhaustive()
    }
}

/// The node has ended; nothing more can be asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node has ended")]
pub struct Stopped;

/// A call could not be carried out durably.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The node has ended.
    #[error("the node has ended")]
    Stopped,
    /// What the call wrote may be lost in a power cut, and was sent to nobody.
    #[error("writes could not be made durable, free some disk space: {0}")]
    NotDurable(String),
}

/// The node could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system gave no thread.
    #[error("start the thread of the database")]
    Thread(#[source] std::io::Error),
}

/// A running node. Dropping it ends links without a goodbye; [`Node::stop`] is the polite way.
pub struct Node<S: Store> {
    handle: NodeHandle<S>,
    thread: Option<thread::JoinHandle<S>>,
    publisher: JoinHandle<()>,
    announcer: JoinHandle<()>,
    ending: watch::Sender<bool>,
}

/// Asks a node for things; cheap to clone.
pub struct NodeHandle<S: Store> {
    engine: Engine<S>,
    peers: Arc<Peers>,
    around: Arc<Surroundings<S>>,
    shared: Arc<Shared>,
}

struct Shared {
    calls: Semaphore,
    links_max: usize,
    link_numbers: AtomicU64,
    announcement: watch::Sender<Announcement>,
    /// Held while a link task is added or the node ends.
    links: Mutex<JoinSet<()>>,
    drivers: Mutex<Vec<Running>>,
    statuses: std::sync::Mutex<Vec<watch::Receiver<Status>>>,
}

impl<S: Store> Clone for NodeHandle<S> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            peers: Arc::clone(&self.peers),
            around: Arc::clone(&self.around),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S: Store> std::fmt::Debug for NodeHandle<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeHandle").finish_non_exhaustive()
    }
}

impl<S: Store> std::fmt::Debug for Node<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").finish_non_exhaustive()
    }
}

impl<S: Store> Node<S> {
    /// Starts the thread that owns `store`. Needs a tokio runtime.
    pub fn start(store: S, config: Config<S>) -> Result<Self, StartError> {
        let (jobs, queue) = std::sync::mpsc::channel();
        let (tags, changed_tags) = watch::channel::<Arc<dyn Tags>>(Arc::new(Silent));
        let peers = Arc::new(Peers::new(broadcast::channel(NOTICES_MAX).0));
        let worker = Thread::new(store, queue, Arc::clone(&peers), config.after_merge, tags);
        let thread = thread::Builder::new()
            .name("database".into())
            .spawn(move || worker.run())
            .map_err(StartError::Thread)?;
        let (ending, ended) = watch::channel(false);
        let announcement = watch::Sender::new(Announcement {
            beacon: Arc::new(Snapshot(Arc::new(Silent))),
            hints: Vec::new(),
        });
        let engine = Engine(jobs);
        let shared = Arc::new(Shared {
            calls: Semaphore::new(CALLS_MAX),
            links_max: config.links_max,
            link_numbers: AtomicU64::new(0),
            announcement,
            links: Mutex::default(),
            drivers: Mutex::default(),
            statuses: std::sync::Mutex::default(),
        });
        let around = Arc::new(Surroundings {
            engine: engine.clone(),
            peers: Arc::clone(&peers),
            fetching: Fetching::new(),
            limits: config.limits,
            evictions: broadcast::channel(64).0,
            ending: ended,
        });
        Ok(Self {
            publisher: tokio::spawn(crate::notices::publish(Arc::clone(&peers))),
            announcer: tokio::spawn(announce(Arc::clone(&shared), changed_tags)),
            handle: NodeHandle {
                engine,
                peers,
                around,
                shared,
            },
            thread: Some(thread),
            ending,
        })
    }

    /// A handle to give away.
    pub fn handle(&self) -> NodeHandle<S> {
        self.handle.clone()
    }

    /// Says goodbye on every link, makes everything durable and gives the database back.
    pub async fn stop(mut self) -> Option<S> {
        self.ending.send_replace(true);
        let goodbyes = async {
            let mut links = self.handle.shared.links.lock().await;
            while links.join_next().await.is_some() {}
        };
        if timeout(GOODBYE, goodbyes).await.is_err() {
            tracing::warn!("some links did not say goodbye in time");
        }
        for driver in self.handle.shared.drivers.lock().await.drain(..) {
            driver.stop().await;
        }
        self.handle.engine.send(Job::Stop);
        let thread = self.thread.take()?;
        tokio::task::spawn_blocking(move || thread.join().ok())
            .await
            .ok()?
    }
}

impl<S: Store> Drop for Node<S> {
    fn drop(&mut self) {
        self.publisher.abort();
        self.announcer.abort();
        self.ending.send_replace(true);
        self.handle.engine.send(Job::Stop);
    }
}

impl<S: Store> NodeHandle<S> {
    /// Does something with the database on its thread. The answer comes once whatever was written is durable; what was
    /// written is sent to peers at the same moment.
    pub async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, CallError> {
        self.call(Job::Call, act).await
    }

    /// As [`with`](Self::with), for what only reads and writes rows: writes that wait at the same time share one commit,
    /// while each succeeds or fails alone. `act` must not rely on its writes being committed when they return, and must not
    /// begin transactions of its own on the connection.
    pub async fn write<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, CallError> {
        self.call(Job::Write, act).await
    }

    async fn call<T: Send + 'static>(
        &self,
        job: fn(Call<S>) -> Job<S>,
        act: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, CallError> {
        let _permit = self
            .shared
            .calls
            .acquire()
            .await
            .map_err(|_| CallError::Stopped)?;
        let (answer, answered) = oneshot::channel();
        let call = move |store: &mut S| -> crate::jobs::Finish {
            let value = act(store);
            Box::new(move |durable| {
                let outcome = match durable {
                    Ok(()) => Ok(value),
                    Err(error) => Err(CallError::NotDurable(error.to_string())),
                };
                // Whoever asked may have stopped waiting.
                let _ = answer.send(outcome);
            })
        };
        if !self.engine.send(job(Box::new(call))) {
            return Err(CallError::Stopped);
        }
        answered.await.map_err(|_| CallError::Stopped)?
    }

    /// Another process wrote to the database: takes notice, and sends it. Returns once it is durable and on its way.
    pub async fn poke(&self) -> Result<(), Stopped> {
        let (done, finished) = oneshot::channel();
        if !self.engine.send(Job::Poke(done)) {
            return Err(Stopped);
        }
        finished.await.map_err(|_| Stopped)
    }

    /// Looks for changes and for peers at once.
    pub async fn sync_now(&self) -> Result<(), Stopped> {
        self.shared.announcement.send_modify(|_| {});
        self.poke().await
    }

    /// Starts a transport: it announces this device, and links it finds become sessions.
    pub async fn add_transport<T: Transport>(
        &self,
        transport: T,
    ) -> Result<(), aeroedge_transport::StartError> {
        let (found, mut links) = mpsc::channel(16);
        let running = transport
            .start(self.shared.announcement.subscribe(), found)
            .await?;
        if let Ok(mut statuses) = self.shared.statuses.lock() {
            statuses.push(running.status());
        }
        self.shared.drivers.lock().await.push(running);
        let handle = self.clone();
        tokio::spawn(async move {
            while let Some(link) = links.recv().await {
                handle.accept(link).await;
            }
        });
        Ok(())
    }

    /// Runs a session over a link.
    pub async fn accept(&self, link: Link) {
        let mut links = self.shared.links.lock().await;
        while links.try_join_next().is_some() {}
        if *self.around.ending.borrow() {
            return link.close("the device stops");
        }
        if links.len() >= self.shared.links_max {
            self.peers
                .rejected("too many links at once: turned away".into());
            return link.close("too many links: try again later");
        }
        let id = LinkId(self.shared.link_numbers.fetch_add(1, Ordering::Relaxed));
        let (around, shared) = (Arc::clone(&self.around), Arc::clone(&self.shared));
        links.spawn(async move {
            if link::run(id, link, around).await == Ended::Restart {
                sleep(LOOK_AGAIN_AFTER).await;
                shared.announcement.send_modify(|_| {});
            }
        });
    }

    /// Where somebody may be, as `host:port`, for transports to try.
    pub fn add_hints(&self, hints: impl IntoIterator<Item = String>) {
        let new: Vec<String> = hints.into_iter().collect();
        self.shared.announcement.send_if_modified(|announcement| {
            let before = announcement.hints.len();
            for hint in new {
                if !announcement.hints.contains(&hint) {
                    announcement.hints.push(hint);
                }
            }
            announcement.hints.len() != before
        });
    }

    /// What happens from now on. A listener that falls behind misses the oldest.
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.peers.notices.subscribe()
    }

    /// How this device stands with the others.
    pub fn status(&self) -> SyncStatus {
        let mut status = self.peers.status();
        status.problems = self
            .transports()
            .into_iter()
            .filter_map(|transport| transport.problem)
            .collect();
        status
    }

    /// How each transport is doing.
    pub fn transports(&self) -> Vec<Status> {
        self.shared
            .statuses
            .lock()
            .map(|statuses| {
                statuses
                    .iter()
                    .map(|status| status.borrow().clone())
                    .collect()
            })
            .unwrap_or_default()
    }

    /// The devices met since the start, connected ones first.
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.peers.list()
    }

    /// How often sessions and contexts ended for a reason that points at the peer.
    pub fn rejections(&self) -> Rejections {
        self.peers.rejections()
    }
}

/// Hands changed tags to the transports.
async fn announce(shared: Arc<Shared>, mut changed: watch::Receiver<Arc<dyn Tags>>) {
    loop {
        let tags = Arc::clone(&changed.borrow_and_update());
        shared.announcement.send_modify(|announcement| {
            announcement.beacon = Arc::new(Snapshot(tags));
        });
        if changed.changed().await.is_err() {
            return;
        }
    }
}

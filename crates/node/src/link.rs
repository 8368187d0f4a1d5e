//! The task of one link: it owns a session, moves frames, and asks the database's thread.
//!
//! It never waits for the thread and never stops draining what the thread says. When too much waits to be sent it stops
//! reading frames, which is all the back-pressure a peer ever sees.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aeroedge_ids::{CompartmentId, ContextId, Millis};
use aeroedge_protocol::{
    CloseReason, Config, Event, Frontier, Limits, Origin, Output, Session, Side,
};
use aeroedge_transport::{FrameReceiver, FrameSender, Link, SendError};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout};

use crate::fetching::Fetching;
use crate::jobs::{Engine, Job, LinkId, Question, ToLink};
use crate::peers::{Heard, Peers, Verdict};
use crate::status::LinkFigures;

/// Frames that wait to be sent, in bytes, beyond which no more are read. Larger than the windows of the protocol, so
/// that only a peer that floods with control frames ever meets it.
const OUTGOING_MAX: usize = 16 << 20;
/// How long the last frames of a session may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// Events handled before the task looks at everything else again.
const BURST: usize = 32;

/// What a link task shares with the node.
pub(crate) struct Surroundings<S> {
    pub(crate) engine: Engine<S>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) fetching: Fetching,
    pub(crate) limits: Limits,
    /// Ends links by number: those replaced by another.
    pub(crate) evictions: tokio::sync::broadcast::Sender<LinkId>,
    pub(crate) ending: watch::Receiver<bool>,
}

/// Why a link task ended, for the node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The session has to begin anew: transports should look for the peer at once.
    Restart,
    Other,
}

/// Runs one link to its end.
pub(crate) async fn run<S: Send + 'static>(
    id: LinkId,
    link: Link,
    around: Arc<Surroundings<S>>,
) -> Ended {
    let heard = Arc::new(Heard::new());
    let (events, incoming) = mpsc::unbounded_channel();
    around.peers.link_up(
        id,
        link.binding,
        link.transport,
        link.remote.clone(),
        Arc::clone(&heard),
    );
    around.fetching.link_up(id, events.clone());
    let Some(mut task) = Task::begin(id, link, &around, heard, events, incoming).await else {
        around.fetching.link_down(id);
        around.peers.link_down(id, LinkFigures::default());
        around.engine.send(Job::Gone(id));
        return Ended::Other;
    };
    task.work().await;
    task.farewell().await;
    around.fetching.link_down(id);
    around.peers.link_down(id, task.session.counters().into());
    around.engine.send(Job::Gone(id));
    task.ended
}

type Sending = Pin<Box<dyn Future<Output = (FrameSender, Result<(), SendError>)> + Send>>;

/// The way out: free, or waiting for room with one frame in hand.
enum Way {
    Free(FrameSender),
    Full(Sending),
    Gone,
}

struct Task<'a, S> {
    id: LinkId,
    session: Session,
    start: Instant,
    around: &'a Surroundings<S>,
    heard: Arc<Heard>,
    incoming: mpsc::UnboundedReceiver<ToLink>,
    receiver: FrameReceiver,
    way: Way,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    /// Compartments shared with the peer, and whether both ends hold the same of each.
    shared: BTreeMap<(ContextId, CompartmentId), bool>,
    /// Those to look at again.
    stirred: BTreeSet<(ContextId, CompartmentId)>,
    /// Own entries the session knows of and the peer has not confirmed.
    told: BTreeMap<CompartmentId, Frontier>,
    was_in_sync: bool,
    close_reason: String,
    ended: Ended,
}

impl<'a, S: Send + 'static> Task<'a, S> {
    async fn begin(
        id: LinkId,
        link: Link,
        around: &'a Surroundings<S>,
        heard: Arc<Heard>,
        events: mpsc::UnboundedSender<ToLink>,
        mut incoming: mpsc::UnboundedReceiver<ToLink>,
    ) -> Option<Self> {
        if !around.engine.send(Job::Opened { link: id, events }) {
            return None;
        }
        let Some(ToLink::Credentials(credentials)) = incoming.recv().await else {
            link.close("the database cannot be read");
            return None;
        };
        let start = Instant::now();
        let config = Config {
            side: match link.side {
                aeroedge_transport::Side::Dialled => Side::Dialler,
                aeroedge_transport::Side::Accepted => Side::Acceptor,
            },
            binding: link.binding,
            credentials,
            limits: around.limits.clone(),
        };
        let session = Session::new(config, Millis(0), &mut rand::rng());
        Some(Self {
            id,
            session,
            start,
            around,
            heard,
            incoming,
            receiver: link.receiver,
            way: Way::Free(link.sender),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            shared: BTreeMap::new(),
            stirred: BTreeSet::new(),
            told: BTreeMap::new(),
            was_in_sync: false,
            close_reason: String::from("the session is over"),
            ended: Ended::Other,
        })
    }

    async fn work(&mut self) {
        let mut ending = self.around.ending.clone();
        let mut evictions = self.around.evictions.subscribe();
        self.drain();
        while !self.session.is_closed() {
            let wake = self.session.poll_timeout().unwrap_or(Millis(0));
            let wake = tokio::time::Instant::from_std(self.start + Duration::from_millis(wake.0));
            tokio::select! {
                biased;
                Some(told) = self.incoming.recv() => {
                    self.told_by_engine(told);
                    for _ in 0..BURST {
                        let Ok(told) = self.incoming.try_recv() else { break };
                        self.told_by_engine(told);
                    }
                }
                (sender, sent) = room(&mut self.way) => self.sent(sender, &sent),
                frame = self.receiver.receive(), if self.waiting_bytes < OUTGOING_MAX => match frame {
                    Ok(frame) => {
                        self.heard.now();
                        self.handle(Event::Frame(frame));
                        for _ in 0..BURST {
                            let Some(frame) = self.receiver.try_receive() else { break };
                            self.handle(Event::Frame(frame));
                        }
                    }
                    Err(reason) => {
                        tracing::debug!(link = self.id.0, %reason, "link lost");
                        self.handle(Event::LinkLost);
                    }
                },
                Ok(evicted) = evictions.recv() => if evicted == self.id {
                    self.handle(Event::Close(CloseReason::Replaced));
                },
                Ok(()) = ending.changed() => self.handle(Event::Close(CloseReason::ShuttingDown)),
                () = sleep_until(wake) => self.handle(Event::Timeout),
                else => self.handle(Event::Close(CloseReason::ShuttingDown)),
            }
            self.look_at_progress();
        }
    }

    fn now(&self) -> Millis {
        Millis(self.start.elapsed().as_millis() as u64)
    }

    fn told_by_engine(&mut self, told: ToLink) {
        match told {
            ToLink::Credentials(_) => {}
            ToLink::Restart => {
                self.ended = Ended::Restart;
                self.handle(Event::Close(CloseReason::Done));
            }
            ToLink::Accepted {
                context,
                device,
                compartments,
            } => {
                match self.around.peers.proven(self.id, device, context) {
                    Verdict::Keep => {}
                    Verdict::Replaces(other) => {
                        let _ = self.around.evictions.send(other);
                    }
                    Verdict::Yields => return self.handle(Event::Close(CloseReason::Replaced)),
                }
                self.receiver.settle();
                self.shared.retain(|(of, compartment), _| {
                    *of != context || compartments.contains_key(compartment)
                });
                for (compartment, frontier) in &compartments {
                    self.shared.entry((context, *compartment)).or_insert(false);
                    self.stirred.insert((context, *compartment));
                    self.told.entry(*compartment).or_default().extend(frontier);
                }
                self.was_in_sync = false;
                self.handle(Event::PeerAccepted {
                    context,
                    compartments,
                });
            }
            ToLink::Event(event) => {
                if let Event::Frontier {
                    context,
                    compartment,
                    changed,
                    origin,
                } = &event
                {
                    self.stirred.insert((*context, *compartment));
                    if *origin == Origin::Here {
                        self.told.entry(*compartment).or_default().extend(changed);
                    }
                }
                self.handle(event);
            }
        }
    }

    fn handle(&mut self, event: Event) {
        self.session.handle(self.now(), event);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll() {
            self.carry_out(output);
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send(frame) => self.send(frame),
            Output::Closed { reason, by_peer } => {
                tracing::info!(link = self.id.0, %reason, by_peer, "session over");
                self.close_reason = reason.to_string();
                if reason == CloseReason::Parted {
                    self.ended = Ended::Restart;
                }
                if !matches!(
                    reason,
                    CloseReason::Done
                        | CloseReason::Parted
                        | CloseReason::LinkLost
                        | CloseReason::Replaced
                        | CloseReason::ShuttingDown
                ) {
                    self.around.peers.rejected(self.close_reason.clone());
                }
            }
            Output::Shared { context, kind } => {
                tracing::debug!(link = self.id.0, %context, ?kind, "context shared");
            }
            Output::Sign { context, message } => self.ask(Question::Sign { context, message }),
            Output::ReadHistory { context } => self.ask(Question::ReadHistory { context }),
            Output::ReadControl {
                context,
                hashes,
                bytes_max,
            } => {
                self.ask(Question::ReadControl {
                    context,
                    hashes,
                    bytes_max,
                });
            }
            Output::ApplyControl {
                context,
                kind,
                entries,
            } => {
                self.ask(Question::ApplyControl {
                    context,
                    kind,
                    entries,
                });
            }
            Output::PeerProof {
                context,
                device,
                message,
                signature,
            } => {
                self.ask(Question::PeerProof {
                    context,
                    device,
                    message,
                    signature,
                });
            }
            Output::ReadEntries {
                context,
                compartment,
                after,
                peer,
                bytes_max,
            } => {
                self.stirred.insert((context, compartment));
                self.ask(Question::ReadEntries {
                    context,
                    compartment,
                    after,
                    peer,
                    bytes_max,
                });
            }
            Output::Apply {
                batch,
                context,
                compartment,
                runs,
            } => {
                self.stirred.insert((context, compartment));
                self.ask(Question::Apply {
                    batch,
                    context,
                    compartment,
                    runs,
                });
            }
            Output::ContextEnded {
                context,
                reason,
                by_peer,
            } => {
                tracing::info!(link = self.id.0, %context, %reason, by_peer, "context over");
                self.shared.retain(|(of, _), _| *of != context);
                self.around.peers.context_ended(self.id, context);
                self.around.peers.rejected(reason.to_string());
                self.ask(Question::Forget { context });
            }
            Output::InSync {
                context,
                compartment,
            } => {
                self.stirred.insert((context, compartment));
            }
            Output::PeerFrontier {
                context,
                compartment,
                frontier,
            } => {
                self.stirred.insert((context, compartment));
                self.ask(Question::Compare {
                    context,
                    compartment,
                    peer: frontier,
                });
            }
            Output::ControlInSync { .. } => {}
        }
    }

    fn ask(&mut self, question: Question) {
        self.around.engine.send(Job::Ask(self.id, question));
    }

    /// Queues a frame; what there is room for goes out at once.
    fn send(&mut self, frame: Vec<u8>) {
        if let Way::Free(sender) = &mut self.way
            && self.waiting.is_empty()
        {
            match sender.try_send(frame) {
                Ok(None) => {}
                Ok(Some(back)) => {
                    self.waiting_bytes += back.len();
                    self.waiting.push_back(back);
                    self.wait_for_room();
                }
                Err(_) => self.way = Way::Gone,
            }
        } else if !matches!(self.way, Way::Gone) {
            self.waiting_bytes += frame.len();
            self.waiting.push_back(frame);
        }
    }

    fn wait_for_room(&mut self) {
        let Way::Free(mut sender) = std::mem::replace(&mut self.way, Way::Gone) else {
            return;
        };
        self.way = match self.waiting.pop_front() {
            None => Way::Free(sender),
            Some(frame) => {
                self.waiting_bytes -= frame.len();
                Way::Full(Box::pin(async move {
                    let sent = sender.send(frame).await;
                    (sender, sent)
                }))
            }
        };
    }

    fn sent(&mut self, sender: FrameSender, sent: &Result<(), SendError>) {
        if sent.is_err() {
            self.way = Way::Gone;
            self.waiting.clear();
            self.waiting_bytes = 0;
            return;
        }
        self.way = Way::Free(sender);
        while let Some(frame) = self.waiting.pop_front() {
            self.waiting_bytes -= frame.len();
            let Way::Free(sender) = &mut self.way else {
                return;
            };
            match sender.try_send(frame) {
                Ok(None) => {}
                Ok(Some(back)) => {
                    self.waiting_bytes += back.len();
                    self.waiting.push_front(back);
                    return self.wait_for_room();
                }
                Err(_) => self.way = Way::Gone,
            }
        }
    }

    /// Notes whether both ends hold the same, if anything stirred.
    fn look_at_progress(&mut self) {
        if self.stirred.is_empty() {
            return;
        }
        for (context, compartment) in std::mem::take(&mut self.stirred) {
            if let Some(progress) = self.session.progress(context, compartment) {
                let to_receive = progress.to_receive;
                self.around
                    .fetching
                    .progress(self.id, context, compartment, to_receive);
            }
            let in_sync = self.session.in_sync(context, compartment);
            if let Some(shared) = self.shared.get_mut(&(context, compartment)) {
                *shared = in_sync;
            }
            if in_sync && let Some(told) = self.told.remove(&compartment) {
                self.around.peers.confirmed(compartment, &told);
            }
        }
        let in_sync = !self.shared.is_empty() && self.shared.values().all(|shared| *shared);
        if in_sync != self.was_in_sync {
            self.was_in_sync = in_sync;
            self.around
                .peers
                .progress(self.id, in_sync, self.session.counters().into());
        }
    }

    /// Lets the last frames go out, then ends the link.
    async fn farewell(&mut self) {
        let last = async {
            loop {
                match &mut self.way {
                    Way::Full(_) => {
                        let (sender, sent) = room(&mut self.way).await;
                        self.sent(sender, &sent);
                    }
                    Way::Free(_) if !self.waiting.is_empty() => self.wait_for_room(),
                    Way::Free(_) | Way::Gone => return,
                }
            }
        };
        let _ = timeout(FAREWELL, last).await;
        self.receiver.closer().close(self.close_reason.clone());
    }
}

/// Ready when the frame in hand is on its way.
async fn room(way: &mut Way) -> (FrameSender, Result<(), SendError>) {
    match way {
        Way::Full(sending) => sending.await,
        Way::Free(_) | Way::Gone => std::future::pending().await,
    }
}

//! A link as the caller sees it: frames in order both ways, with back-pressure, until somebody closes it.
//!
//! What is queued in one direction never exceeds [`QUEUE_LIMIT`] and one frame: a sender waits, it never buffers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::{FRAME_LIMIT, QUEUE_LIMIT};

/// What a queued frame costs beside its bytes, so that a flood of empty frames is bounded too.
const FRAME_OVERHEAD: usize = 64;

/// A connection to another device over which frames travel.
#[derive(Debug)]
pub struct Link {
    /// The same 32 bytes at both ends and nowhere else: sign it, and the proof is worth nothing on another channel.
    pub binding: [u8; 32],
    /// Which end this is.
    pub side: Side,
    /// Where the other end is, for people to read.
    pub remote: String,
    /// The driver that made the link, such as `lan`.
    pub transport: &'static str,
    /// The way out.
    pub sender: FrameSender,
    /// The way in.
    pub receiver: FrameReceiver,
}

/// Which end of a link made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// This end dialled.
    Dialled,
    /// This end was dialled.
    Accepted,
}

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// This end closed it.
    #[error("closed here: {0}")]
    Local(String),
    /// The other end closed it and said why.
    #[error("closed by the other side: {0}")]
    Remote(String),
    /// The connection broke or fell silent.
    #[error("lost: {0}")]
    Lost(String),
    /// The other end broke the rules of the transport.
    #[error("closed because the other side broke the rules: {0}")]
    Violation(String),
}

/// A frame was not taken for sending.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The frame is larger than any transport carries; nothing was sent and the link is still good.
    #[error(
        "a frame of {length} bytes is larger than the {FRAME_LIMIT} bytes a link carries: split it"
    )]
    TooLarge {
        /// Length of the refused frame, in bytes.
        length: usize,
    },
    /// The link has ended.
    #[error("the link has ended")]
    Closed(#[source] CloseReason),
}

/// The way out of a link. Dropping it closes the link once everything queued is on its way.
#[derive(Debug)]
pub struct FrameSender {
    shared: Arc<Shared>,
}

/// The way in. Dropping it closes the link.
#[derive(Debug)]
pub struct FrameReceiver {
    shared: Arc<Shared>,
}

/// Closes a link, or waits for its end, from anywhere.
#[derive(Debug, Clone)]
pub struct Closer {
    shared: Arc<Shared>,
}

impl Link {
    /// Closes the link; what was sent before is still carried, and the other end reads `why`.
    pub fn close(self, why: impl Into<String>) {
        self.closer().close(why);
    }

    /// A handle that can close the link after its halves have gone to different tasks.
    pub fn closer(&self) -> Closer {
        self.sender.closer()
    }
}

impl FrameSender {
    /// Queues a frame, waiting while the queue is full.
    ///
    /// Dropping the future before it is ready leaves the frame unsent.
    pub async fn send(&mut self, frame: Vec<u8>) -> Result<(), SendError> {
        check_length(&frame)?;
        self.shared
            .outgoing
            .push(&self.shared, frame)
            .await
            .map_err(SendError::Closed)
    }

    /// Queues a frame if there is room for it now; gives it back if there is not.
    pub fn try_send(&mut self, frame: Vec<u8>) -> Result<Option<Vec<u8>>, SendError> {
        check_length(&frame)?;
        match self.shared.reason() {
            Some(reason) => Err(SendError::Closed(reason)),
            None => Ok(self.shared.outgoing.try_push(frame).err()),
        }
    }

    /// A handle that can close the link from elsewhere.
    pub fn closer(&self) -> Closer {
        Closer {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl FrameReceiver {
    /// The next frame; frames that arrived before the link ended are delivered first.
    ///
    /// Dropping the future before it is ready loses nothing.
    pub async fn receive(&mut self) -> Result<Vec<u8>, CloseReason> {
        loop {
            let reason = self.shared.reason();
            if let Some(frame) = self.shared.incoming.pop() {
                return Ok(frame);
            }
            if let Some(reason) = reason {
                return Err(reason);
            }
            self.shared.incoming.ready.notified().await;
        }
    }

    /// The next frame if one is waiting.
    pub fn try_receive(&mut self) -> Option<Vec<u8>> {
        self.shared.incoming.pop()
    }

    /// Tells the driver that whoever is at the other end has proved to belong here: this link is not given up for that of
    /// a newcomer any more.
    pub fn settle(&self) {
        self.shared.settled.store(true, Ordering::Relaxed);
    }

    /// Bytes that wait to be received.
    pub fn waiting(&self) -> usize {
        self.shared.incoming.lock().bytes
    }

    /// A handle that can close the link from elsewhere.
    pub fn closer(&self) -> Closer {
        Closer {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Closer {
    /// Closes the link; what was sent before is still carried, and the other end reads `why`.
    pub fn close(&self, why: impl Into<String>) {
        self.shared.close(CloseReason::Local(why.into()));
    }

    /// Waits for the end of the link.
    pub async fn closed(&self) -> CloseReason {
        self.shared.ended().await
    }

    /// Why the link ended, if it did.
    pub fn reason(&self) -> Option<CloseReason> {
        self.shared.reason()
    }
}

impl Drop for FrameSender {
    fn drop(&mut self) {
        self.shared
            .close(CloseReason::Local("no longer needed".into()));
    }
}

impl Drop for FrameReceiver {
    fn drop(&mut self) {
        self.shared
            .close(CloseReason::Local("no longer needed".into()));
    }
}

fn check_length(frame: &[u8]) -> Result<(), SendError> {
    if frame.len() > FRAME_LIMIT {
        return Err(SendError::TooLarge {
            length: frame.len(),
        });
    }
    Ok(())
}

/// What both ends of a link, the caller's and the driver's, hold together.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) outgoing: Queue,
    pub(crate) incoming: Queue,
    /// The caller knows who is at the other end.
    pub(crate) settled: AtomicBool,
    /// Set once and never cleared.
    closed: watch::Sender<Option<CloseReason>>,
}

impl Shared {
    pub(crate) fn halves() -> (Arc<Self>, FrameSender, FrameReceiver) {
        let shared = Arc::new(Self {
            outgoing: Queue::default(),
            incoming: Queue::default(),
            settled: AtomicBool::new(false),
            closed: watch::Sender::new(None),
        });
        let sender = FrameSender {
            shared: Arc::clone(&shared),
        };
        let receiver = FrameReceiver {
            shared: Arc::clone(&shared),
        };
        (shared, sender, receiver)
    }

    pub(crate) fn reason(&self) -> Option<CloseReason> {
        self.closed.borrow().clone()
    }

    /// The first reason stands.
    pub(crate) fn close(&self, reason: CloseReason) {
        let first = self.closed.send_if_modified(|closed| {
            let first = closed.is_none();
            if first {
                *closed = Some(reason);
            }
            first
        });
        if first {
            for queue in [&self.outgoing, &self.incoming] {
                queue.ready.notify_one();
                queue.room.notify_one();
            }
        }
    }

    pub(crate) async fn ended(&self) -> CloseReason {
        let mut closed = self.closed.subscribe();
        match closed.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(reason)) => reason.clone(),
            // The sender lives in `self`, and `wait_for` asked for a reason.
            _ => CloseReason::Lost("the link was dropped".into()),
        }
    }
}

/// Frames that wait in one direction. One task pushes and one pops, so one stored wake-up each is enough.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// A std mutex: held for a push or a pop, never across an await.
    waiting: Mutex<Waiting>,
    pub(crate) ready: Notify,
    room: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct Waiting {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn push(
        &self,
        shared: &Shared,
        mut frame: Vec<u8>,
    ) -> Result<(), CloseReason> {
        loop {
            if let Some(reason) = shared.reason() {
                return Err(reason);
            }
            match self.try_push(frame) {
                Ok(()) => return Ok(()),
                Err(back) => frame = back,
            }
            self.room.notified().await;
        }
    }

    fn try_push(&self, frame: Vec<u8>) -> Result<(), Vec<u8>> {
        let mut waiting = self.lock();
        let cost = frame.len() + FRAME_OVERHEAD;
        if !waiting.frames.is_empty() && waiting.bytes + cost > QUEUE_LIMIT {
            return Err(frame);
        }
        waiting.bytes += cost;
        waiting.frames.push_back(frame);
        drop(waiting);
        self.ready.notify_one();
        Ok(())
    }

    pub(crate) fn pop(&self) -> Option<Vec<u8>> {
        let mut waiting = self.lock();
        let frame = waiting.frames.pop_front()?;
        waiting.bytes -= frame.len() + FRAME_OVERHEAD;
        drop(waiting);
        self.room.notify_one();
        Some(frame)
    }

    /// Takes frames until `bytes` are exceeded: at least one if any waits.
    pub(crate) fn pop_many(&self, bytes: usize, into: &mut Vec<Vec<u8>>) {
        let mut waiting = self.lock();
        let mut taken = 0;
        while taken < bytes
            && let Some(frame) = waiting.frames.pop_front()
        {
            waiting.bytes -= frame.len() + FRAME_OVERHEAD;
            taken += frame.len() + FRAME_OVERHEAD;
            into.push(frame);
        }
        drop(waiting);
        if taken > 0 {
            self.room.notify_one();
        }
    }

    pub(crate) fn clear(&self) {
        *self.lock() = Waiting::default();
    }
}

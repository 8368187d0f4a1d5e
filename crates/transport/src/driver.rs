//! A link as its driver sees it: frames to carry away, and a place to put those that arrive.
//!
//! Dropping either half tells the caller that the link is lost, so a driver that dies leaves nobody waiting.

use std::sync::Arc;

use crate::link::{CloseReason, Link, Shared, Side};

/// The driver's end of a link.
#[derive(Debug)]
pub struct LinkEnd {
    /// What the caller sends.
    pub outgoing: OutgoingFrames,
    /// Where what arrives goes.
    pub incoming: IncomingFrames,
}

/// Frames the caller sends, in order.
#[derive(Debug)]
pub struct OutgoingFrames {
    shared: Arc<Shared>,
}

/// Takes the frames that arrived to the caller, in order.
#[derive(Debug)]
pub struct IncomingFrames {
    shared: Arc<Shared>,
}

/// Ends a link from the driver's side, or waits for its end.
#[derive(Debug, Clone)]
pub struct Ending {
    shared: Arc<Shared>,
}

/// Opens a link: the first half goes to the caller, the second stays with the driver.
pub fn open(
    binding: [u8; 32],
    side: Side,
    remote: impl Into<String>,
    transport: &'static str,
) -> (Link, LinkEnd) {
    let (shared, sender, receiver) = Shared::halves();
    let end = LinkEnd {
        outgoing: OutgoingFrames {
            shared: Arc::clone(&shared),
        },
        incoming: IncomingFrames { shared },
    };
    (
        Link {
            binding,
            side,
            remote: remote.into(),
            transport,
            sender,
            receiver,
        },
        end,
    )
}

impl OutgoingFrames {
    /// Waits until something is to be sent, then takes frames until they exceed `bytes`.
    ///
    /// After the caller closed the link, what it sent before still comes out, then the reason. Dropping the future
    /// before it is ready loses nothing.
    pub async fn next_batch(
        &mut self,
        bytes: usize,
        into: &mut Vec<Vec<u8>>,
    ) -> Result<(), CloseReason> {
        loop {
            let reason = self.shared.reason();
            if !matches!(reason, None | Some(CloseReason::Local(_))) {
                self.shared.outgoing.clear();
            }
            self.shared.outgoing.pop_many(bytes, into);
            if !into.is_empty() {
                return Ok(());
            }
            if let Some(reason) = reason {
                return Err(reason);
            }
            self.shared.outgoing.ready.notified().await;
        }
    }
}

impl IncomingFrames {
    /// Hands a frame to the caller, waiting while it has too many unread.
    pub async fn push(&mut self, frame: Vec<u8>) -> Result<(), CloseReason> {
        self.shared.incoming.push(&self.shared, frame).await
    }
}

impl LinkEnd {
    /// A handle on the end of the link that outlives the two halves.
    pub fn ending(&self) -> Ending {
        Ending {
            shared: Arc::clone(&self.outgoing.shared),
        }
    }
}

impl Ending {
    /// Ends the link for the caller, who still gets what was pushed before. The first reason stands.
    pub fn end(&self, reason: CloseReason) {
        self.shared.close(reason);
    }

    /// Whether the caller knows who is at the other end: see [`FrameReceiver::settle`](crate::FrameReceiver::settle).
    pub fn is_settled(&self) -> bool {
        self.shared
            .settled
            .load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Waits for the end of the link, whoever ended it.
    pub async fn ended(&self) -> CloseReason {
        self.shared.ended().await
    }

    /// Why the link ended, if it did.
    pub fn reason(&self) -> Option<CloseReason> {
        self.shared.reason()
    }
}

impl Drop for OutgoingFrames {
    fn drop(&mut self) {
        self.shared
            .close(CloseReason::Lost("the driver stopped".into()));
    }
}

impl Drop for IncomingFrames {
    fn drop(&mut self) {
        self.shared
            .close(CloseReason::Lost("the driver stopped".into()));
    }
}

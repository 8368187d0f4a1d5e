//! Links between two ends of one process, for tests and simulations of a whole node.
//!
//! They behave like every other link, back-pressure and reasons included; only nothing can be lost.

use rand::Rng;

use crate::driver::{Ending, IncomingFrames, OutgoingFrames, open};
use crate::{CloseReason, Link, Side};

/// A link and its other end. Needs a tokio runtime.
pub fn pair() -> (Link, Link) {
    let mut binding = [0; 32];
    rand::rng().fill_bytes(&mut binding);
    let (dialled, near) = open(binding, Side::Dialled, "the same process", "memory");
    let (accepted, far) = open(binding, Side::Accepted, "the same process", "memory");
    let (here, there) = (near.ending(), far.ending());
    tokio::spawn(carry(
        here.clone(),
        near.outgoing,
        there.clone(),
        far.incoming,
    ));
    tokio::spawn(carry(there, far.outgoing, here, near.incoming));
    (dialled, accepted)
}

async fn carry(here: Ending, mut from: OutgoingFrames, there: Ending, mut to: IncomingFrames) {
    let mut batch = Vec::new();
    loop {
        if let Err(reason) = from.next_batch(1, &mut batch).await {
            return there.end(as_seen_across(reason));
        }
        for frame in batch.drain(..) {
            if let Err(reason) = to.push(frame).await {
                return here.end(as_seen_across(reason));
            }
        }
    }
}

fn as_seen_across(reason: CloseReason) -> CloseReason {
    match reason {
        CloseReason::Local(why) => CloseReason::Remote(why),
        other => other,
    }
}

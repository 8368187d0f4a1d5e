//! What every driver must do, as one suite that each runs in its own tests.
//!
//! Implement [`Harness`] for a driver and call [`every_rule_holds`]; a rule that does not hold panics and names itself.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

use crate::{CloseReason, FRAME_LIMIT, Link, QUEUE_LIMIT, SendError, Side};

/// How long anything may take before a rule counts as broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// Cuts the wire under a link.
pub type Cut = Box<dyn FnOnce()>;

/// Makes links of the driver under test.
pub trait Harness {
    /// Two ends of a new link: the one that dialled and the one that accepted.
    fn pair(&self) -> impl Future<Output = (Link, Link)>;

    /// Two ends of a new link whose wire can be cut without either end being told; `None` where no wire can be cut.
    fn pair_to_cut(&self) -> impl Future<Output = Option<(Link, Link, Cut)>>;

    /// How long a cut may go unnoticed.
    fn notices_within(&self) -> Duration;
}

/// Checks one driver against every rule.
pub async fn every_rule_holds(harness: &impl Harness) {
    both_ends_agree_on_the_channel(harness).await;
    frames_arrive_in_order_both_ways(harness).await;
    empty_and_large_frames_arrive_whole(harness).await;
    oversize_frames_are_refused_before_they_leave(harness).await;
    slow_reader_makes_the_sender_wait(harness).await;
    close_is_seen_across_after_what_was_sent(harness).await;
    dropped_link_is_seen_across(harness).await;
    silence_is_noticed(harness).await;
}

/// The binding is shared by the two ends of one link and differs between links; the sides are opposite.
pub async fn both_ends_agree_on_the_channel(harness: &impl Harness) {
    let (dialled, accepted) = pair(harness).await;
    let (other, _other) = pair(harness).await;
    assert_eq!(
        dialled.binding, accepted.binding,
        "the ends of a link have different bindings"
    );
    assert_ne!(
        dialled.binding, other.binding,
        "two links have the same binding"
    );
    assert_eq!(
        (dialled.side, accepted.side),
        (Side::Dialled, Side::Accepted)
    );
    assert_eq!(dialled.transport, accepted.transport);
    assert!(
        !dialled.remote.is_empty() && !accepted.remote.is_empty(),
        "the remote end has no description"
    );
}

/// Ten thousand small frames each way at once keep their order.
pub async fn frames_arrive_in_order_both_ways(harness: &impl Harness) {
    async fn talk(mut link: Link) -> Link {
        let Link {
            sender, receiver, ..
        } = &mut link;
        let send = async {
            for number in 0..10_000_u32 {
                sender
                    .send(number.to_be_bytes().to_vec())
                    .await
                    .expect("send a frame");
            }
        };
        let receive = async {
            for number in 0..10_000_u32 {
                let frame = receiver.receive().await.expect("receive a frame");
                assert_eq!(frame, number.to_be_bytes(), "a frame arrived out of order");
            }
        };
        tokio::join!(send, receive);
        link
    }
    let (dialled, accepted) = pair(harness).await;
    in_time("frames both ways", async {
        tokio::join!(talk(dialled), talk(accepted))
    })
    .await;
}

/// Frames of every awkward length arrive as they were sent.
pub async fn empty_and_large_frames_arrive_whole(harness: &impl Harness) {
    let lengths = [
        0,
        1,
        65_515,
        65_519,
        65_520,
        131_071,
        FRAME_LIMIT,
        0,
        FRAME_LIMIT,
        3,
    ];
    let (mut dialled, mut accepted) = pair(harness).await;
    let send = async {
        for length in lengths {
            dialled
                .sender
                .send(pattern(length))
                .await
                .expect("send a frame");
        }
    };
    let receive = async {
        for length in lengths {
            let frame = accepted.receiver.receive().await.expect("receive a frame");
            assert!(
                frame == pattern(length),
                "a frame of {length} bytes arrived changed"
            );
        }
    };
    in_time("large frames", async { tokio::join!(send, receive) }).await;
}

/// A frame beyond the limit is an error that leaves the link usable.
pub async fn oversize_frames_are_refused_before_they_leave(harness: &impl Harness) {
    let (mut dialled, mut accepted) = pair(harness).await;
    let refused = dialled.sender.send(vec![0; FRAME_LIMIT + 1]).await;
    assert_eq!(
        refused,
        Err(SendError::TooLarge {
            length: FRAME_LIMIT + 1
        })
    );
    dialled
        .sender
        .send(vec![7])
        .await
        .expect("send after a refusal");
    let frame = in_time("the next frame", accepted.receiver.receive()).await;
    assert_eq!(frame, Ok(vec![7]));
}

/// Somebody who does not read stops the sender, and costs a bounded amount of memory here.
pub async fn slow_reader_makes_the_sender_wait(harness: &impl Harness) {
    const LENGTH: usize = 1024 * 1024;
    const FRAMES: usize = 64;
    let (mut dialled, mut accepted) = pair(harness).await;
    let mut sent = 0;
    while sent < FRAMES {
        let send = dialled.sender.send(pattern(LENGTH));
        match timeout(Duration::from_millis(1500), send).await {
            Ok(result) => result.expect("send a frame"),
            Err(_) => break,
        }
        sent += 1;
    }
    assert!(
        sent < FRAMES,
        "{FRAMES} MiB were taken although nobody read"
    );
    let waiting = accepted.receiver.waiting();
    assert!(
        waiting <= QUEUE_LIMIT + FRAME_LIMIT,
        "{waiting} bytes wait unread"
    );
    in_time("what was sent", async {
        for _ in 0..sent {
            let frame = accepted.receiver.receive().await.expect("receive a frame");
            assert_eq!(frame.len(), LENGTH);
        }
    })
    .await;
    dialled
        .sender
        .send(vec![1])
        .await
        .expect("send once there is room");
    assert_eq!(
        in_time("the frame after", accepted.receiver.receive()).await,
        Ok(vec![1])
    );
}

/// Closing carries what was sent, then the reason.
pub async fn close_is_seen_across_after_what_was_sent(harness: &impl Harness) {
    let (mut dialled, mut accepted) = pair(harness).await;
    for number in 0..100_u8 {
        dialled
            .sender
            .send(vec![number; 10_000])
            .await
            .expect("send a frame");
    }
    dialled.close("that was all");
    in_time("the end", async {
        for number in 0..100_u8 {
            assert_eq!(accepted.receiver.receive().await, Ok(vec![number; 10_000]));
        }
        let reason = CloseReason::Remote("that was all".into());
        assert_eq!(accepted.receiver.receive().await, Err(reason.clone()));
        assert_eq!(
            accepted.sender.send(vec![1]).await,
            Err(SendError::Closed(reason.clone()))
        );
        assert_eq!(accepted.sender.closer().closed().await, reason);
    })
    .await;
}

/// A link that is dropped ends at the other side too.
pub async fn dropped_link_is_seen_across(harness: &impl Harness) {
    let (dialled, mut accepted) = pair(harness).await;
    drop(dialled);
    let reason = in_time("the end", accepted.receiver.receive()).await;
    assert!(matches!(reason, Err(CloseReason::Remote(_))), "{reason:?}");
}

/// A wire that is cut without a word ends both links in bounded time, also while one side is only listening.
pub async fn silence_is_noticed(harness: &impl Harness) {
    let Some((mut dialled, mut accepted, cut)) = harness.pair_to_cut().await else {
        return;
    };
    dialled.sender.send(vec![1]).await.expect("send a frame");
    assert_eq!(
        in_time("a frame", accepted.receiver.receive()).await,
        Ok(vec![1])
    );
    let idle = timeout(harness.notices_within() * 2, accepted.receiver.receive()).await;
    assert!(idle.is_err(), "an idle link ended by itself: {idle:?}");
    cut();
    for receiver in [&mut dialled.receiver, &mut accepted.receiver] {
        let ended = timeout(harness.notices_within() * 2, receiver.receive()).await;
        let reason = ended.expect("a dead link goes unnoticed");
        assert!(matches!(reason, Err(CloseReason::Lost(_))), "{reason:?}");
    }
}

async fn pair(harness: &impl Harness) -> (Link, Link) {
    in_time("a link", harness.pair()).await
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let value = timeout(PATIENCE, future).await;
    value.unwrap_or_else(|_| panic!("{what} did not come within {PATIENCE:?}"))
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|position| (position % 251) as u8).collect()
}

//! The links between two ends of one process keep the rules of every driver.

use std::time::Duration;

use aeroedge_transport::conformance::{Cut, Harness, every_rule_holds};
use aeroedge_transport::{CloseReason, Link, QUEUE_LIMIT, memory};

struct Memory;

impl Harness for Memory {
    async fn pair(&self) -> (Link, Link) {
        memory::pair()
    }

    async fn pair_to_cut(&self) -> Option<(Link, Link, Cut)> {
        None
    }

    fn notices_within(&self) -> Duration {
        Duration::ZERO
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_links_keep_every_rule() {
    every_rule_holds(&Memory).await;
}

#[tokio::test]
async fn empty_frames_are_bounded_too() {
    let (mut near, _far) = memory::pair();
    let mut taken = 0;
    while near
        .sender
        .try_send(Vec::new())
        .expect("link is open")
        .is_none()
    {
        taken += 1;
        assert!(taken <= QUEUE_LIMIT, "empty frames are taken without end");
    }
}

#[tokio::test]
async fn first_reason_stands() {
    let (near, far) = memory::pair();
    let closer = near.closer();
    closer.close("first");
    closer.close("second");
    assert_eq!(closer.closed().await, CloseReason::Local("first".into()));
    assert_eq!(
        far.closer().closed().await,
        CloseReason::Remote("first".into())
    );
}

//! Links that are garbage, doubled, foreign or unwelcome end, and nothing else does.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use aeroedge_ids::ContextId;
use aeroedge_node::PeerState;
use aeroedge_transport::memory;

use crate::ledger::{Faults, Ledger};
use crate::support::{connect, connect_by, eventually, len, start, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_talks_garbage_is_dropped_and_counted() {
    let node = start(Ledger::new(1));
    for garbage in [
        vec![],
        vec![0xff; 3],
        vec![0xc1; 100_000],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let (here, mut there) = memory::pair();
        node.handle().accept(here).await;
        for _ in 0..3 {
            // It may be closed already.
            let _ = there.sender.send(garbage.clone()).await;
        }
        while there.receiver.receive().await.is_ok() {}
    }
    let rejections = node.handle().rejections();
    assert_eq!(rejections.values().sum::<u64>(), 4, "{rejections:?}");
    write(&node.handle(), "still alive").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_links_to_one_device_one_stays() {
    let (a, b) = (start(Ledger::new(1)), start(Ledger::new(2)));
    let (a, b) = (a.handle(), b.handle());
    let first = connect(&a, &b).await;
    let second = connect_by("another", &a, &b).await;
    eventually("one of them is closed", async || {
        first.reason().is_some() != second.reason().is_some()
    })
    .await;
    write(&a, "over the other").await;
    eventually("the other carries on", async || len(&b).await == 1).await;
    assert_eq!((a.peers().len(), b.peers().len()), (1, 1));
    assert_eq!(a.peers()[0].state, PeerState::Connected);
    assert_ne!(first.reason().is_some(), second.reason().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_oneself_comes_to_nothing() {
    let node = start(Ledger::new(1));
    let closer = connect(&node.handle(), &node.handle()).await;
    closer.closed().await;
    assert!(node.handle().peers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_hears_a_copy_of_itself() {
    let (a, b) = (start(Ledger::new(1)), start(Ledger::new(1)));
    let (a, b) = (a.handle(), b.handle());
    let closer = connect(&a, &b).await;
    write(&a, "for the copy").await;
    eventually("it arrives", async || len(&b).await == 1).await;
    assert_eq!(closer.reason(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_removed_hears_no_more() {
    let (a, b) = (start(Ledger::new(1)), start(Ledger::new(2)));
    let (a, b) = (a.handle(), b.handle());
    let closer = connect(&a, &b).await;
    write(&a, "for both").await;
    eventually("it arrives", async || len(&b).await == 1).await;
    a.with(|ledger| ledger.revoke(2)).await.unwrap();
    closer.closed().await;
    write(&a, "not for b").await;
    let again = connect(&a, &b).await;
    again.closed().await;
    assert_eq!(len(&b).await, 1);
    assert!(
        a.rejections()
            .keys()
            .any(|reason| reason.contains("removed"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_begin_anew_when_there_is_more_to_speak_of() {
    let (a, b) = (start(Ledger::new(1)), start(Ledger::new(2)));
    let (a, b) = (a.handle(), b.handle());
    let closer = connect(&a, &b).await;
    eventually("they meet", async || a.status().connected == 1).await;
    a.with(|ledger| ledger.become_member_of(ContextId([9; 16])))
        .await
        .unwrap();
    closer.closed().await;
    let lasting = connect(&a, &b).await;
    eventually("they meet again", async || a.status().connected == 1).await;
    assert!(lasting.reason().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_database_ends_the_session_and_not_the_node() {
    let faults = Arc::new(Faults::default());
    let (a, b) = (
        start(Ledger::new(1)),
        start(Ledger::with_faults(2, Arc::clone(&faults))),
    );
    let (a, b) = (a.handle(), b.handle());
    let closer = connect(&a, &b).await;
    eventually("they meet", async || a.status().connected == 1).await;
    faults.fail_receiving.store(1, Ordering::Relaxed);
    write(&a, "does not fit").await;
    closer.closed().await;
    connect(&a, &b).await;
    eventually("it arrives with the next link", async || len(&b).await == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_links_than_allowed_are_turned_away() {
    let node = aeroedge_node::Node::start(
        Ledger::new(1),
        aeroedge_node::Config {
            links_max: 2,
            ..aeroedge_node::Config::default()
        },
    )
    .unwrap();
    let mut kept = Vec::new();
    for _ in 0..2 {
        let (here, there) = memory::pair();
        node.handle().accept(here).await;
        kept.push(there);
    }
    let (here, mut there) = memory::pair();
    node.handle().accept(here).await;
    assert!(there.receiver.receive().await.is_err());
    assert!(kept[0].receiver.receive().await.is_ok());
}

//! Entries reach every node, at once when there is a link and later when there was none.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aeroedge_node::{Config, Node, Notice, PeerState, SyncState};

use crate::ledger::{Faults, Ledger};
use crate::support::{connect, content, eventually, len, start, write};

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_catch_up_and_stay_equal() {
    let (a, b) = (start(Ledger::new(1)), start(Ledger::new(2)));
    let (a, b) = (a.handle(), b.handle());
    for number in 0..50 {
        write(&a, &format!("a {number}")).await;
        write(&b, &format!("b {number}")).await;
    }
    connect(&a, &b).await;
    eventually("both hold 100 entries", async || {
        len(&a).await == 100 && len(&b).await == 100
    })
    .await;
    write(&a, "live").await;
    eventually("a live entry arrives", async || len(&b).await == 101).await;
    assert_eq!(content(&a).await, content(&b).await);
    eventually("both say so", async || {
        a.status().state == SyncState::Synced && b.status().state == SyncState::Synced
    })
    .await;
    eventually("nothing is pending", async || a.status().pending == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_in_a_row_converge() {
    let nodes = [
        start(Ledger::new(1)),
        start(Ledger::new(2)),
        start(Ledger::new(3)),
    ];
    let [a, b, c] = [nodes[0].handle(), nodes[1].handle(), nodes[2].handle()];
    write(&a, "first").await;
    connect(&a, &b).await;
    connect(&b, &c).await;
    write(&c, "last").await;
    write(&a, "second").await;
    eventually("all hold three entries", async || {
        len(&a).await == 3 && len(&b).await == 3 && len(&c).await == 3
    })
    .await;
    assert_eq!(content(&a).await, content(&c).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_visible_at_the_peer_within_milliseconds() {
    let (a, b) = (start(Ledger::new(1)), start(Ledger::new(2)));
    let (a, b) = (a.handle(), b.handle());
    connect(&a, &b).await;
    eventually("they are in sync", async || {
        a.status().state == SyncState::Synced
    })
    .await;
    let mut latencies = Vec::new();
    for number in 1..=200 {
        let began = Instant::now();
        write(&a, &format!("{number}")).await;
        while len(&b).await < number {
            tokio::task::yield_now().await;
        }
        latencies.push(began.elapsed());
    }
    latencies.sort();
    println!("p50 {:?}, p99 {:?}", latencies[100], latencies[197]);
    assert!(
        latencies[100] < Duration::from_millis(20),
        "{:?}",
        latencies[100]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_holds_the_sender_back() {
    let faults = Arc::new(Faults::default());
    let shared = Faults {
        outstanding: Arc::clone(&faults.outstanding),
        ..Faults::default()
    };
    faults.durable_takes_ms.store(20, Ordering::Relaxed);
    let mut full = Ledger::with_faults(1, Arc::new(shared));
    for number in 0..600_u32 {
        let mut entry = vec![0; 128 << 10];
        entry[..4].copy_from_slice(&number.to_be_bytes());
        full.write(entry);
    }
    let (a, b) = (
        start(full),
        start(Ledger::with_faults(2, Arc::clone(&faults))),
    );
    let (a, b) = (a.handle(), b.handle());
    connect(&a, &b).await;
    eventually("everything arrives", async || len(&b).await == 600).await;
    let most = faults.outstanding.most() >> 20;
    assert!(most <= 16, "{most} MiB were under way at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_stopped_goes_on_where_it_was() {
    let (a, b) = (start(Ledger::new(1)), start(Ledger::new(2)));
    let b_handle = b.handle();
    connect(&a.handle(), &b_handle).await;
    write(&b_handle, "before").await;
    eventually("it arrives", async || len(&a.handle()).await == 1).await;
    let ledger = a.stop().await.unwrap();
    write(&b_handle, "while away").await;
    assert_eq!(b_handle.status().state, SyncState::Offline);
    assert_eq!(b_handle.status().pending, 1);
    let a = start(ledger);
    connect(&a.handle(), &b_handle).await;
    eventually("the rest arrives", async || len(&a.handle()).await == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_link_heals_with_the_next() {
    let (a, b) = (start(Ledger::new(1)), start(Ledger::new(2)));
    let (a, b) = (a.handle(), b.handle());
    let mut notices = a.notices();
    for round in 1..=5 {
        let closer = connect(&a, &b).await;
        write(&a, &format!("{round}")).await;
        eventually("it arrives", async || len(&b).await == round).await;
        closer.close("cut");
        eventually("a sees it", async || {
            a.peers()[0].state == PeerState::Reconnecting
        })
        .await;
    }
    let mut ups = 0;
    while let Ok(notice) = notices.try_recv() {
        ups += usize::from(matches!(notice, Notice::PeerUp(_)));
    }
    assert_eq!(ups, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_hook_writes_after_merging_is_sent_too() {
    let b = Node::start(
        Ledger::new(2),
        Config {
            after_merge: Some(Box::new(|ledger: &mut Ledger, _| {
                if ledger.len() == 1 {
                    ledger.write("answer");
                }
            })),
            ..Config::default()
        },
    )
    .unwrap();
    let a = start(Ledger::new(1));
    connect(&a.handle(), &b.handle()).await;
    write(&a.handle(), "question").await;
    eventually("the answer arrives", async || len(&a.handle()).await == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_hear_of_changes_from_elsewhere() {
    let (a, b) = (start(Ledger::new(1)), start(Ledger::new(2)));
    let mut notices = b.handle().notices();
    connect(&a.handle(), &b.handle()).await;
    write(&a.handle(), "news").await;
    loop {
        let notice = tokio::time::timeout(Duration::from_secs(10), notices.recv())
            .await
            .unwrap()
            .unwrap();
        if let Notice::Changed { tables, .. } = notice {
            assert!(tables.contains("note"));
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_node_is_not_sent_everything_twice() {
    let (mut first, mut second) = (Ledger::new(1), Ledger::new(1));
    for number in 0..20_000_u32 {
        let mut entry = vec![0; 200];
        entry[..4].copy_from_slice(&number.to_be_bytes());
        first.write(entry.clone());
        second.write(entry);
    }
    second.call_itself(2);
    let (a, b) = (start(first), start(second));
    let c = start(Ledger::new(3));
    let (a, b, c) = (a.handle(), b.handle(), c.handle());
    connect(&a, &c).await;
    connect(&b, &c).await;
    eventually("everything arrives", async || len(&c).await == 20_000).await;
    write(&b, "and what only the other has").await;
    eventually("it arrives", async || len(&c).await == 20_001).await;
    let received: u64 = c
        .peers()
        .iter()
        .map(|peer| peer.figures.entries_received)
        .sum();
    assert!(received < 30_000, "{received} entries were sent for 20001");
}

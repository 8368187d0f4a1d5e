//! What a program asks of the database's thread.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aeroedge_node::CallError;

use crate::ledger::{Faults, Ledger};
use crate::support::{connect, eventually, len, start, write};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_means_durable() {
    let faults = Arc::new(Faults::default());
    let node = start(Ledger::with_faults(1, Arc::clone(&faults)));
    faults.fail_durable.store(1, Ordering::Relaxed);
    let answer = node.handle().with(|ledger| ledger.write("lost")).await;
    assert!(
        matches!(answer, Err(CallError::NotDurable(_))),
        "{answer:?}"
    );
    faults.fail_durable.store(0, Ordering::Relaxed);
    write(&node.handle(), "kept").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_together_become_durable_together() {
    let faults = Arc::new(Faults::default());
    faults.durable_takes_ms.store(5, Ordering::Relaxed);
    let node = start(Ledger::with_faults(1, Arc::clone(&faults)));
    let calls: Vec<_> = (0..400)
        .map(|number| {
            let handle = node.handle();
            tokio::spawn(async move { write(&handle, &number.to_string()).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let groups = faults.durable_calls.load(Ordering::Relaxed);
    assert!(groups < 100, "400 writes took {groups} groups");
    assert_eq!(len(&node.handle()).await, 400);
}

/// Asks for something and does not wait for the answer.
async fn only_ask(asking: impl Future) {
    tokio::select! {
        biased;
        _ = asking => {}
        () = std::future::ready(()) => {}
    }
}

/// Notes its number when nobody takes it.
struct Answer(u32, Arc<Mutex<Vec<u32>>>);

impl Drop for Answer {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_wait_together_share_a_commit_and_are_answered_in_order() {
    let faults = Arc::new(Faults::default());
    let node = start(Ledger::with_faults(1, Arc::clone(&faults)));
    let handle = node.handle();
    let answered = Arc::new(Mutex::new(Vec::new()));
    only_ask(handle.with(|_| std::thread::sleep(Duration::from_millis(5)))).await;
    for number in 0..100 {
        let answer = Answer(number, Arc::clone(&answered));
        only_ask(handle.write(move |ledger| {
            ledger.write(number.to_string());
            answer
        }))
        .await;
    }
    assert_eq!(*answered.lock().unwrap(), [0; 0], "none before its group");
    write(&handle, "last").await;
    assert!(answered.lock().unwrap().iter().copied().eq(0..100));
    assert_eq!(len(&handle).await, 101);
    let groups = faults.groups.load(Ordering::Relaxed);
    assert!(groups < 20, "100 writes took {groups} commits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_is_told_to_those_whose_writes_it_held() {
    let faults = Arc::new(Faults::default());
    faults.fail_groups.store(1, Ordering::Relaxed);
    let node = start(Ledger::with_faults(1, Arc::clone(&faults)));
    let handle = node.handle();
    only_ask(handle.with(|_| std::thread::sleep(Duration::from_millis(5)))).await;
    let (one, two, between, three) = tokio::join!(
        biased;
        handle.write(|ledger| ledger.write("one")),
        handle.write(|ledger| ledger.write("two")),
        handle.with(|ledger| ledger.write("between")),
        handle.write(|ledger| ledger.write("three")),
    );
    assert!(matches!(one, Err(CallError::NotDurable(_))), "{one:?}");
    assert!(matches!(two, Err(CallError::NotDurable(_))), "{two:?}");
    between.unwrap();
    three.unwrap();
    let content = crate::support::content(&handle).await;
    assert_eq!(content, [b"between".to_vec(), b"three".to_vec()].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_wrote_is_noticed_with_and_without_a_poke() {
    let faults = Arc::new(Faults::default());
    let (a, b) = (
        start(Ledger::with_faults(1, Arc::clone(&faults))),
        start(Ledger::new(2)),
    );
    let (a, b) = (a.handle(), b.handle());
    connect(&a, &b).await;
    eventually("they meet", async || a.status().connected == 1).await;
    faults.foreign.lock().unwrap().push(b"poked".to_vec());
    let began = Instant::now();
    a.poke().await.unwrap();
    eventually("it arrives", async || len(&b).await == 1).await;
    println!("poke to peer: {:?}", began.elapsed());
    faults.foreign.lock().unwrap().push(b"found".to_vec());
    eventually("it arrives without a poke", async || len(&b).await == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_ended_says_so() {
    let node = start(Ledger::new(1));
    let handle = node.handle();
    assert!(node.stop().await.is_some());
    assert_eq!(handle.with(|_| ()).await, Err(CallError::Stopped));
    assert!(handle.poke().await.is_err());
    let (here, mut there) = aeroedge_transport::memory::pair();
    handle.accept(here).await;
    assert!(there.receiver.receive().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_stops_waiting_harms_nobody() {
    let node = start(Ledger::new(1));
    let handle = node.handle();
    for _ in 0..100 {
        let call = handle.with(|ledger| ledger.write("x"));
        tokio::select! { biased; _ = call => {}, () = std::future::ready(()) => {} }
    }
    write(&handle, "y").await;
}

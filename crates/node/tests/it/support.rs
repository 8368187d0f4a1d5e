//! Nodes, links between them, and waiting for what must come.

use std::time::Duration;

use aeroedge_node::{Config, Node, NodeHandle};
use aeroedge_transport::{Closer, memory};
use tokio::time::{Instant, sleep};

use crate::ledger::Ledger;

pub(crate) fn start(ledger: Ledger) -> Node<Ledger> {
    Node::start(ledger, Config::default()).unwrap()
}

/// Connects two nodes by a link that the returned handle can cut.
pub(crate) async fn connect(a: &NodeHandle<Ledger>, b: &NodeHandle<Ledger>) -> Closer {
    connect_by("memory", a, b).await
}

/// By a transport of this name.
pub(crate) async fn connect_by(
    transport: &'static str,
    a: &NodeHandle<Ledger>,
    b: &NodeHandle<Ledger>,
) -> Closer {
    let (mut here, mut there) = memory::pair();
    (here.transport, there.transport) = (transport, transport);
    let closer = here.closer();
    a.accept(here).await;
    b.accept(there).await;
    closer
}

/// Waits until something holds; fails after ten seconds.
#[track_caller]
pub(crate) fn eventually<F: AsyncFnMut() -> bool>(
    what: &str,
    mut holds: F,
) -> impl Future<Output = ()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let what = what.to_owned();
    async move {
        while !holds().await {
            assert!(
                Instant::now() < deadline,
                "it did not come true that {what}"
            );
            sleep(Duration::from_millis(2)).await;
        }
    }
}

pub(crate) async fn write(node: &NodeHandle<Ledger>, content: &str) {
    let content = content.to_owned();
    node.with(move |ledger| ledger.write(content))
        .await
        .unwrap();
}

pub(crate) async fn content(node: &NodeHandle<Ledger>) -> std::collections::BTreeSet<Vec<u8>> {
    node.with(|ledger| ledger.content()).await.unwrap()
}

pub(crate) async fn len(node: &NodeHandle<Ledger>) -> usize {
    node.with(|ledger| ledger.len()).await.unwrap()
}

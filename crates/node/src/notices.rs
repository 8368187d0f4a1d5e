//! Publishes what changed, at most every few milliseconds: a burst of writes is one notice.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::peers::Peers;

/// Between two rounds of notices.
const PAUSE: Duration = Duration::from_millis(20);

/// Works until it is dropped.
pub(crate) async fn publish(peers: Arc<Peers>) {
    loop {
        peers.due.notified().await;
        for notice in peers.take_due() {
            peers.notify(notice);
        }
        sleep(PAUSE).await;
    }
}

//! Links over real sockets keep the rules of every driver, and come back after a loss.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aeroedge_transport::conformance::{Cut, Harness, every_rule_holds};
use aeroedge_transport::{CloseReason, Link};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::drivers::Driver;

#[derive(Default)]
struct Lan {
    /// Drivers live as long as their links.
    drivers: RefCell<Vec<Driver>>,
}

impl Lan {
    async fn pair_over(&self, mut far: Driver, address: SocketAddr) -> (Link, Link) {
        let mut near = Driver::start(&[address]).await;
        let (dialled, accepted) = (near.link().await, far.link().await);
        self.drivers.borrow_mut().extend([near, far]);
        (dialled, accepted)
    }
}

impl Harness for Lan {
    async fn pair(&self) -> (Link, Link) {
        let far = Driver::start(&[]).await;
        let address = far.address();
        self.pair_over(far, address).await
    }

    async fn pair_to_cut(&self) -> Option<(Link, Link, Cut)> {
        let far = Driver::start(&[]).await;
        let wire = Wire::to(far.address()).await;
        let (dialled, accepted) = self.pair_over(far, wire.address).await;
        Some((dialled, accepted, Box::new(move || wire.set_up(false))))
    }

    fn notices_within(&self) -> Duration {
        Duration::from_secs(3)
    }
}

/// A relay that can stop to carry without ending the connections.
struct Wire {
    address: SocketAddr,
    up: watch::Sender<bool>,
}

impl Wire {
    async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bind a relay");
        let address = listener.local_addr().expect("address of the relay");
        let (up, watched) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(target)
                    .await
                    .expect("reach the far driver");
                let ((near_out, near_in), (far_out, far_in)) =
                    (near.into_split(), far.into_split());
                tokio::spawn(relay(near_out, far_in, watched.clone()));
                tokio::spawn(relay(far_out, near_in, watched.clone()));
            }
        });
        Self { address, up }
    }

    fn set_up(&self, up: bool) {
        self.up.send_replace(up);
    }
}

async fn relay(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut up: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if up.wait_for(|up| *up).await.is_err() {
            // The wire was dropped while it was down: the bytes never arrive.
            return std::future::pending().await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lan_links_keep_every_rule() {
    every_rule_holds(&Lan::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_link_comes_back_within_three_seconds() {
    let mut far = Driver::start(&[]).await;
    let wire = Wire::to(far.address()).await;
    let mut near = Driver::start(&[wire.address]).await;
    let (mut dialled, _accepted) = (near.link().await, far.link().await);
    wire.set_up(false);
    let lost = timeout(Duration::from_secs(5), dialled.receiver.receive()).await;
    assert!(matches!(lost, Ok(Err(CloseReason::Lost(_)))), "{lost:?}");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let restored = Instant::now();
    wire.set_up(true);
    loop {
        let (mut dialled, mut accepted) = (near.link().await, far.link().await);
        let sent = dialled.sender.send(b"back".to_vec()).await;
        if sent.is_ok() && accepted.receiver.receive().await == Ok(b"back".to_vec()) {
            break;
        }
    }
    assert!(
        restored.elapsed() < Duration::from_secs(3),
        "it took {:?}",
        restored.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drivers_that_dial_each_other_keep_one_link() {
    for _ in 0..10 {
        let mut near = Driver::start(&[]).await;
        let mut far = Driver::start(&[near.address()]).await;
        let hint = far.address().to_string();
        near.announcements
            .send_modify(|announcement| announcement.hints.push(hint));
        let mut open = Vec::new();
        let settled = tokio::time::sleep(Duration::from_millis(700));
        tokio::pin!(settled);
        loop {
            tokio::select! {
                link = near.links.recv() => open.push(("near", link.expect("the driver stopped"))),
                link = far.links.recv() => open.push(("far", link.expect("the driver stopped"))),
                () = &mut settled => break,
            }
        }
        open.retain(|(_, link)| link.closer().reason().is_none());
        let ends: Vec<&str> = open.iter().map(|(end, _)| *end).collect();
        assert!(
            ends.len() == 2 && ends.contains(&"near") && ends.contains(&"far"),
            "{ends:?}"
        );
        assert_eq!(open[0].1.binding, open[1].1.binding);
    }
}

#[tokio::test]
async fn hint_to_oneself_is_harmless() {
    let mut driver = Driver::start(&[]).await;
    let hint = driver.address().to_string();
    driver
        .announcements
        .send_modify(|announcement| announcement.hints = vec![hint]);
    let link = timeout(Duration::from_millis(500), driver.links.recv()).await;
    assert!(link.is_err(), "a link to itself: {link:?}");
}

#[tokio::test]
async fn stopped_driver_says_goodbye() {
    let mut far = Driver::start(&[]).await;
    let mut near = Driver::start(&[far.address()]).await;
    let (mut link, _accepted) = (near.link().await, far.link().await);
    far.running.stop().await;
    assert_eq!(
        link.receiver.receive().await,
        Err(CloseReason::Remote("the device stops".into()))
    );
}

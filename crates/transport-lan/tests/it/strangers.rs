//! Whoever does not speak the protocol gets nothing, and costs little.

use std::time::Duration;

use aeroedge_transport::CloseReason;
use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::drivers::Driver;

#[tokio::test]
async fn garbage_is_turned_away_and_harms_nobody() {
    let mut driver = Driver::start(&[]).await;
    for length in [0, 1, 2, 34, 98, 4_000, 70_000] {
        let mut garbage = vec![0; length];
        rand::rng().fill_bytes(&mut garbage);
        if length > 2 && length < 100 {
            garbage[..2].copy_from_slice(&(length as u16 - 2).to_be_bytes());
        }
        let mut stream = TcpStream::connect(driver.address()).await.expect("connect");
        // The driver may have hung up before it was all said.
        let _ = stream.write_all(&garbage).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer))
            .await
            .expect("not turned away");
        assert!(
            answer.len() <= 98,
            "garbage of {length} bytes was answered with {} bytes",
            answer.len()
        );
    }
    let mut friend = Driver::start(&[driver.address()]).await;
    friend.link().await;
    driver.link().await;
}

#[tokio::test]
async fn browser_is_turned_away_at_once() {
    let driver = Driver::start(&[]).await;
    let mut stream = TcpStream::connect(driver.address()).await.expect("connect");
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: club\r\n\r\n")
        .await
        .expect("ask");
    let mut answer = [0; 1];
    let read = timeout(Duration::from_secs(1), stream.read(&mut answer))
        .await
        .expect("not turned away at once");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn silent_strangers_do_not_keep_friends_out() {
    let mut driver = Driver::start(&[]).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(driver.address()).await.expect("connect"));
    }
    let mut friend = Driver::start(&[driver.address()]).await;
    let (_dialled, _accepted) = (friend.link().await, driver.link().await);
}

#[tokio::test]
async fn strangers_who_never_say_who_they_are_make_room_for_others() {
    let mut driver = Driver::start(&[]).await;
    let mut friend = Driver::start(&[driver.address()]).await;
    let (_theirs, known) = (friend.link().await, driver.link().await);
    known.receiver.settle();
    let (mut strangers, mut links) = (Vec::new(), Vec::new());
    // One more than may be there from one address.
    for _ in 0..17 {
        let mut stranger = Driver::start(&[driver.address()]).await;
        let theirs = stranger.link().await;
        links.push(driver.link().await);
        strangers.push((stranger, theirs));
    }
    let reason = timeout(Duration::from_secs(5), links[0].closer().closed())
        .await
        .expect("the oldest stays for ever");
    assert_eq!(
        reason,
        CloseReason::Lost("too many strangers at once".into())
    );
    assert_eq!(known.closer().reason(), None);
}

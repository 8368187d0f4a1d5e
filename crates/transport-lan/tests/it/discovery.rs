//! Drivers that share something find each other by real mDNS, and nobody else.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::drivers::Driver;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_drivers_find_each_other() {
    let key = rand::random();
    let start = Instant::now();
    let mut drivers = Vec::new();
    for _ in 0..3 {
        drivers.push(Driver::start_sharing(&[rand::random(), key]).await);
    }
    let mut links = Vec::new();
    for driver in &mut drivers {
        links.push((driver.link().await, driver.link().await));
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "it took {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_leave_each_other_alone() {
    let mut one = Driver::start_sharing(&[rand::random()]).await;
    let _other = Driver::start_sharing(&[rand::random()]).await;
    let link = timeout(Duration::from_secs(2), one.links.recv()).await;
    assert!(link.is_err(), "a link between strangers: {link:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_of_keys_is_announced() {
    let mut one = Driver::start_sharing(&[rand::random()]).await;
    let mut other = Driver::start_sharing(&[rand::random()]).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let key = rand::random();
    one.share(&[rand::random(), key]);
    other.share(&[key]);
    let start = Instant::now();
    let _links = (one.link().await, other.link().await);
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "it took {:?}",
        start.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn driver_without_keys_is_silent_until_it_has_some() {
    let key = rand::random();
    let mut one = Driver::start_sharing(&[key]).await;
    let mut other = Driver::start_sharing(&[]).await;
    let link = timeout(Duration::from_secs(1), other.links.recv()).await;
    assert!(link.is_err(), "a link without a key: {link:?}");
    other.share(&[key]);
    let _links = (one.link().await, other.link().await);
}

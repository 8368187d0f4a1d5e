//! Hosts with a network of their own, real mDNS between them, and a cable that is pulled. These tests run as root.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use aeroedge_lan_lab::{Lab, pcap_contains};
use data_encoding::HEXLOWER;

use crate::probe::{self, Probe};

const SOON: Duration = Duration::from_secs(2);
const HEALED_WITHIN: Duration = Duration::from_secs(3);
const LATE: Duration = Duration::from_secs(20);

/// A word no other test and no random byte will ever say.
fn canary() -> String {
    format!("canary{}", HEXLOWER.encode(&rand::random::<[u8; 8]>()))
}

/// How long the cable stays cut: AEROEDGE_CUT_SECONDS, or enough that every retry has reached its longest pause.
fn cut_for() -> Duration {
    let seconds = std::env::var("AEROEDGE_CUT_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

/// Two hosts whose drivers have found each other, and how long that took.
fn acquainted(lab: &Lab, key: &str) -> (Probe, Probe, Duration) {
    let one = Probe::start(lab, 0, &[key]);
    let start = Instant::now();
    let other = Probe::start(lab, 1, &[key]);
    let found = one.answer(LATE).max(other.answer(LATE));
    (one, other, found - start)
}

/// Checks that both hear each other again in time, counted from `since`.
fn heals(one: &Probe, other: &Probe, since: Instant) {
    one.forget();
    other.forget();
    let took = one.answer(LATE).max(other.answer(LATE)) - since;
    assert!(took < HEALED_WITHIN, "it took {took:?}");
}

#[test]
fn three_hosts_find_each_other_at_once() {
    let lab = Lab::new(3).unwrap();
    let key = canary();
    let start = Instant::now();
    let probes: Vec<Probe> = (0..3)
        .map(|host| Probe::start(&lab, host, &[&key]))
        .collect();
    for probe in &probes {
        for number in ["answer 1 ", "answer 2 "] {
            let (time, _) = probe.next(&[number], LATE).expect("two neighbours answer");
            assert!(time - start < SOON, "it took {:?}", time - start);
        }
    }
}

#[test]
fn pulled_cable_heals_within_three_seconds() {
    let lab = Lab::new(2).unwrap();
    let (one, other, _) = acquainted(&lab, &canary());
    lab.cut(0).unwrap();
    for probe in [&one, &other] {
        probe
            .next(&["ended"], Duration::from_secs(4))
            .expect("a dead link is noticed");
    }
    sleep(cut_for());
    lab.restore(0).unwrap();
    heals(&one, &other, Instant::now());
}

#[test]
fn network_that_loses_everything_in_silence_heals_within_three_seconds() {
    let lab = Lab::new(2).unwrap();
    let (one, other, _) = acquainted(&lab, &canary());
    lab.silence(1).unwrap();
    for probe in [&one, &other] {
        probe
            .next(&["ended"], Duration::from_secs(4))
            .expect("a dead link is noticed");
    }
    sleep(cut_for());
    lab.restore(1).unwrap();
    heals(&one, &other, Instant::now());
}

#[test]
fn links_outlive_a_network_that_loses_every_tenth_packet() {
    let lab = Lab::new(2).unwrap();
    let (one, _other, _) = acquainted(&lab, &canary());
    lab.lose(0, 100).unwrap();
    let ended = one.next(&["ended"], Duration::from_secs(8));
    assert_eq!(ended, None);
    one.answer(SOON);
}

#[test]
fn host_that_changes_its_address_is_found_again() {
    let lab = Lab::new(2).unwrap();
    without_ipv6(&lab);
    let (one, other, _) = acquainted(&lab, &canary());
    lab.change_address(1, Ipv4Addr::new(10, 77, 0, 77).into())
        .unwrap();
    let changed = Instant::now();
    one.next(&["link"], HEALED_WITHIN).expect("a new link");
    heals(&one, &other, changed);
}

#[test]
fn both_hosts_that_change_their_network_find_each_other_again() {
    let lab = Lab::new(2).unwrap();
    without_ipv6(&lab);
    let (one, other, _) = acquainted(&lab, &canary());
    for host in 0..2 {
        lab.change_address(host, Ipv4Addr::new(10, 78, 0, host as u8 + 1).into())
            .unwrap();
    }
    let changed = Instant::now();
    one.next(&["link"], LATE).expect("a new link");
    // Neither knows an address of the other any more: only a new announcement helps.
    one.forget();
    other.forget();
    let took = one.answer(LATE).max(other.answer(LATE)) - changed;
    assert!(took < Duration::from_secs(5), "it took {took:?}");
}

#[test]
fn second_address_carries_on_when_the_first_goes() {
    let lab = Lab::new(2).unwrap();
    without_ipv6(&lab);
    lab.add_address(0, Ipv4Addr::new(10, 78, 0, 1).into())
        .unwrap();
    lab.add_address(1, Ipv4Addr::new(10, 78, 0, 2).into())
        .unwrap();
    let (one, other, took) = acquainted(&lab, &canary());
    assert!(took < SOON, "it took {took:?}");
    let first = Ipv4Addr::new(10, 77, 0, 2);
    let removed = lab
        .command(1, "ip")
        .args(["addr", "del", &format!("{first}/24"), "dev", "eth0"])
        .status()
        .expect("ip can be started");
    assert!(removed.success());
    sleep(Duration::from_millis(100));
    heals(&one, &other, Instant::now());
}

#[test]
fn hosts_with_link_local_addresses_alone_find_each_other() {
    let lab = Lab::new(2).unwrap();
    for host in 0..2 {
        for family in ["-4", "-6"] {
            let flushed = lab
                .command(host, "ip")
                .args([family, "addr", "flush", "dev", "eth0", "scope", "global"])
                .status()
                .expect("ip can be started");
            assert!(flushed.success());
        }
    }
    let (one, _other, took) = acquainted(&lab, &canary());
    assert!(took < SOON, "it took {took:?}");
    drop(one);
}

#[test]
fn taken_port_is_passed_over_and_the_other_one_announced() {
    let lab = Lab::new(2).unwrap();
    let key = canary();
    let neighbour_on_the_same_host = Probe::start(&lab, 1, &["somebody else's key"]);
    let (_, taken) = neighbour_on_the_same_host
        .next(&["listening"], LATE)
        .expect("it listens");
    assert!(taken.contains("10.77.0.2:8765"), "{taken}");
    let second = Probe::start(&lab, 1, &[&key]);
    let (_, passed_over) = second.next(&["listening"], LATE).expect("it listens");
    assert!(passed_over.contains("10.77.0.2:8766"), "{passed_over}");
    let one = Probe::start(&lab, 0, &[&key]);
    one.answer(SOON);
    second.answer(SOON);
}

#[test]
fn processes_on_a_host_without_a_network_find_each_other() {
    let lab = Lab::new(1).unwrap();
    lab.cut(0).unwrap();
    let key = canary();
    let (one, other) = (
        Probe::start(&lab, 0, &[&key]),
        Probe::start(&lab, 0, &[&key]),
    );
    one.answer(SOON);
    other.answer(SOON);
}

#[test]
fn missing_network_is_told_in_a_sentence() {
    let lab = Lab::new(1).unwrap();
    let probe = Probe::start(&lab, 0, &[&canary()]);
    let (_, listening) = probe
        .next(&["listening", "problem"], LATE)
        .expect("it listens");
    assert!(
        listening.contains("10.77.0.1:8765, [fd77::1]:8765, 127.0.0.1:8765"),
        "{listening}"
    );
    lab.cut(0).unwrap();
    let (_, problem) = probe.next(&["problem"], LATE).expect("the cut is noticed");
    assert_eq!(
        problem,
        "problem this machine has no network: turn on Wi-Fi or plug in a cable"
    );
}

#[test]
fn taken_port_that_was_asked_for_is_named() {
    let lab = Lab::new(1).unwrap();
    let first = Probe::start(&lab, 0, &[&canary(), "9100"]);
    first.next(&["listening"], LATE).expect("it listens");
    let refused = lab
        .command(0, probe::example("lan-probe"))
        .args([&canary(), "9100"])
        .output()
        .unwrap();
    assert!(!refused.status.success());
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(
        told,
        "error: port 9100 is in use by another program: stop it, or choose another port\n"
    );
}

#[test]
fn killed_driver_that_starts_again_is_found_at_once() {
    let lab = Lab::new(2).unwrap();
    let key = canary();
    let (one, mut other, _) = acquainted(&lab, &key);
    for _ in 0..3 {
        drop(other);
        one.next(&["ended"], SOON).expect("the end is noticed");
        let start = Instant::now();
        other = Probe::start(&lab, 1, &[&key]);
        one.forget();
        let took = one.answer(LATE).max(other.answer(LATE)) - start;
        assert!(took < SOON, "it took {took:?}");
    }
}

#[test]
fn driver_that_stood_still_is_found_again() {
    let lab = Lab::new(2).unwrap();
    let (one, other, _) = acquainted(&lab, &canary());
    other.signal("STOP");
    one.next(&["ended"], Duration::from_secs(4))
        .expect("a dead link is noticed");
    sleep(Duration::from_secs(6));
    other.signal("CONT");
    heals(&one, &other, Instant::now());
}

#[test]
fn discovery_starts_when_its_port_becomes_free() {
    let lab = Lab::new(2).unwrap();
    let key = canary();
    let mut holder = lab
        .command(0, probe::example("hold-port"))
        .arg("5353")
        .spawn()
        .unwrap();
    sleep(Duration::from_millis(300));
    let (one, other) = (
        Probe::start(&lab, 0, &[&key]),
        Probe::start(&lab, 1, &[&key]),
    );
    let (_, problem) = one.next(&["problem"], LATE).expect("a problem is told");
    assert_eq!(
        problem,
        "problem neighbours cannot be found, because another program keeps UDP port 5353 to itself: \
         stop it, or give their addresses"
    );
    assert_eq!(other.next(&["link"], SOON), None);
    holder.kill().unwrap();
    holder.wait().unwrap();
    one.answer(LATE);
    other.answer(LATE);
}

#[test]
fn nothing_readable_crosses_the_network() {
    let lab = Lab::new(2).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let capture = lab
        .capture_all(&folder.path().join("packets.pcap"))
        .unwrap();
    let key = canary();
    let (one, other, _) = acquainted(&lab, &key);
    sleep(Duration::from_secs(1));
    drop((one, other));
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".into());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let needles = [
        ("what links carry", key.as_bytes()),
        ("name of this machine", host.trim().as_bytes()),
        ("name of the user", user.as_bytes()),
    ];
    let needles: Vec<_> = needles
        .into_iter()
        .filter(|(_, needle)| needle.len() >= 6)
        .collect();
    let searched = pcap_contains(&capture.finish().unwrap(), &needles).unwrap();
    assert!(
        searched.packets > 20 && searched.stream_bytes > 1_000,
        "{searched:?}"
    );
    assert!(searched.hits.is_empty(), "{:?}", searched.hits);
}

fn without_ipv6(lab: &Lab) {
    for host in 0..lab.hosts() {
        let off = lab
            .command(host, "sysctl")
            .args(["-qw", "net.ipv6.conf.eth0.disable_ipv6=1"])
            .status()
            .expect("sysctl can be started");
        assert!(off.success());
    }
}

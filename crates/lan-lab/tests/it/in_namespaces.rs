//! What hosts of a lab can and cannot reach. These tests run as root.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;

use aeroedge_lan_lab::{Capture, Lab};

/// Whether `address` answers `host` within a second.
fn reaches(lab: &Lab, host: usize, address: impl Into<IpAddr>) -> bool {
    lab.command(host, "ping")
        .args(["-c", "1", "-W", "1", &address.into().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .expect("ping can be started")
        .success()
}

#[test]
fn hosts_reach_each_other_over_both_families() {
    let lab = Lab::new(3).unwrap();
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        assert!(reaches(&lab, from, lab.ipv4(to)));
        assert!(reaches(&lab, from, lab.ipv6(to)));
    }
}

#[test]
fn a_cut_host_is_out_of_reach_and_sees_it_until_it_is_restored() {
    let lab = Lab::new(2).unwrap();
    let carrier = || {
        let read = lab
            .command(0, "cat")
            .arg("/sys/class/net/eth0/carrier")
            .output()
            .unwrap();
        String::from_utf8(read.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(carrier(), "1");
    lab.cut(0).unwrap();
    assert_eq!(carrier(), "0");
    assert!(!reaches(&lab, 1, lab.ipv4(0)));
    lab.restore(0).unwrap();
    assert_eq!(carrier(), "1");
    assert!(reaches(&lab, 1, lab.ipv4(0)));
}

#[test]
fn a_silenced_host_keeps_its_carrier() {
    let lab = Lab::new(2).unwrap();
    lab.silence(0).unwrap();
    let link = lab
        .command(0, "cat")
        .arg("/sys/class/net/eth0/carrier")
        .output()
        .unwrap();
    assert_eq!(link.stdout, b"1\n");
    assert!(!reaches(&lab, 1, lab.ipv4(0)));
    lab.restore(0).unwrap();
    assert!(reaches(&lab, 1, lab.ipv4(0)));
}

#[test]
fn an_added_address_answers_beside_the_first() {
    let lab = Lab::new(2).unwrap();
    let second = Ipv4Addr::new(10, 77, 0, 200);
    assert!(!reaches(&lab, 1, second));
    lab.add_address(0, second.into()).unwrap();
    assert!(reaches(&lab, 1, second));
    assert!(reaches(&lab, 1, lab.ipv4(0)));
}

#[test]
fn a_changed_address_replaces_the_first() {
    let lab = Lab::new(2).unwrap();
    let other_v4 = Ipv4Addr::new(10, 77, 0, 201);
    lab.change_address(0, other_v4.into()).unwrap();
    assert!(reaches(&lab, 1, other_v4));
    assert!(!reaches(&lab, 1, lab.ipv4(0)));
    let other_v6 = "fd77::201".parse::<IpAddr>().unwrap();
    lab.change_address(0, other_v6).unwrap();
    assert!(reaches(&lab, 1, other_v6));
    assert!(!reaches(&lab, 1, lab.ipv6(0)));
}

#[test]
fn labs_beside_each_other_share_nothing() {
    let one = Lab::new(2).unwrap();
    let other = Lab::new(2).unwrap();
    one.cut(1).unwrap();
    assert!(!reaches(&one, 0, one.ipv4(1)));
    assert!(reaches(&other, 0, other.ipv4(1)));
}

/// What the pings of [`ping_with_mark`] carry.
const MARK: &[u8] = b"canary in a mine";

fn ping_with_mark(lab: &Lab, host: usize, address: Ipv4Addr) -> bool {
    lab.command(host, "ping")
        .args([
            "-c",
            "1",
            "-W",
            "1",
            "-p",
            "63616e61727920696e2061206d696e65",
        ])
        .arg(address.to_string())
        .stdout(Stdio::null())
        .status()
        .expect("ping can be started")
        .success()
}

fn holds_mark(capture: Capture) -> bool {
    let file = capture.finish().expect("no packet was lost");
    let bytes = std::fs::read(file).expect("the capture is there");
    bytes.windows(MARK.len()).any(|window| window == MARK)
}

#[test]
fn a_capture_holds_what_crossed_the_bridge() {
    let lab = Lab::new(3).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at_bridge = lab.capture_all(&folder.path().join("bridge")).unwrap();
    let at_bystander = lab.capture(2, &folder.path().join("bystander")).unwrap();
    assert!(ping_with_mark(&lab, 0, lab.ipv4(1)));
    assert!(holds_mark(at_bridge));
    assert!(!holds_mark(at_bystander));
}

#[test]
fn multicast_is_heard_by_every_host() {
    let lab = Lab::new(3).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let captures = [1, 2].map(|host| {
        let file = folder.path().join(host.to_string());
        lab.capture(host, &file).unwrap()
    });
    let everyone = Ipv4Addr::new(224, 0, 0, 251);
    assert!(!ping_with_mark(&lab, 0, everyone), "nobody answers to all");
    for capture in captures {
        assert!(holds_mark(capture));
    }
}

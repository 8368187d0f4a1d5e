//! What hosts of a lab can and cannot reach. These tests run as root.

use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use aeroedge_lan_lab::{Capture, Lab, pcap_contains};

/// More than a kernel needs to give up a neighbour it has asked for in vain, and to ask anew.
const REACHED_WITHIN: Duration = Duration::from_secs(10);

/// Whether `address` answers `host` within some seconds. A ping on its own gives up at the first error, and the kernel
/// still reports one up to a second after a way is mended if its last question for the neighbour was lost before.
fn reaches(lab: &Lab, host: usize, address: impl Into<IpAddr>) -> bool {
    let address = address.into();
    let began = Instant::now();
    while !ping(lab, host, address, &["-W", "1"]) {
        if began.elapsed() > REACHED_WITHIN {
            return false;
        }
    }
    true
}

/// Whether `host` gets no answer from `address` within a second.
fn misses(lab: &Lab, host: usize, address: impl Into<IpAddr>) -> bool {
    !ping(lab, host, address, &["-W", "1"])
}

/// Whether one answer came.
fn ping(lab: &Lab, host: usize, address: impl Into<IpAddr>, options: &[&str]) -> bool {
    lab.command(host, "ping")
        .args(["-c", "1"])
        .args(options)
        .arg(address.into().to_string())
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
    assert!(misses(&lab, 1, lab.ipv4(0)));
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
    assert!(misses(&lab, 1, lab.ipv4(0)));
    lab.restore(0).unwrap();
    assert!(reaches(&lab, 1, lab.ipv4(0)));
}

#[test]
fn separated_hosts_still_reach_a_third() {
    let lab = Lab::new(3).unwrap();
    lab.separate(0, 1).unwrap();
    assert!(misses(&lab, 0, lab.ipv4(1)));
    assert!(misses(&lab, 1, lab.ipv6(0)));
    assert!(reaches(&lab, 0, lab.ipv4(2)));
    assert!(reaches(&lab, 1, lab.ipv4(2)));
    lab.unite(1, 0).unwrap();
    assert!(reaches(&lab, 0, lab.ipv4(1)));
}

#[test]
fn packets_are_lost_by_chance_until_that_ends() {
    let lab = Lab::new(2).unwrap();
    assert!(reaches(&lab, 0, lab.ipv4(1)));
    lab.lose(1, 500).unwrap();
    let lost = lab
        .command(0, "ping")
        .args(["-q", "-c", "100", "-i", "0.002", "-W", "1"])
        .arg(lab.ipv4(1).to_string())
        .output()
        .unwrap();
    let said = String::from_utf8(lost.stdout).unwrap();
    let arrived: u32 = said
        .split(" packets transmitted, ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .expect("ping counts the answers");
    // Both ways must be survived: a quarter of 100 is expected, and six standard deviations are granted.
    assert!((1..52).contains(&arrived), "{said}");
    lab.lose(1, 0).unwrap();
    assert!(reaches(&lab, 0, lab.ipv4(1)));
}

#[test]
fn an_added_address_answers_beside_the_first() {
    let lab = Lab::new(2).unwrap();
    let second = Ipv4Addr::new(10, 77, 0, 200);
    assert!(misses(&lab, 1, second));
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
    assert!(misses(&lab, 1, lab.ipv4(0)));
    let other_v6 = "fd77::201".parse::<IpAddr>().unwrap();
    lab.change_address(0, other_v6).unwrap();
    assert!(reaches(&lab, 1, other_v6));
    assert!(misses(&lab, 1, lab.ipv6(0)));
}

#[test]
fn a_socket_opened_on_a_host_stays_there() {
    let lab = Lab::new(2).unwrap();
    let listen = || TcpListener::bind("0.0.0.0:7000").unwrap();
    let (here, there) = (lab.at(0, listen).unwrap(), lab.at(1, listen).unwrap());
    let connect = |host| TcpStream::connect((lab.ipv4(host), 7000)).unwrap();
    let near = lab.at(0, || connect(0)).unwrap();
    let far = lab.at(0, || connect(1)).unwrap();
    assert_eq!(here.accept().unwrap().1, near.local_addr().unwrap());
    assert_eq!(there.accept().unwrap().1, far.local_addr().unwrap());
}

#[test]
fn labs_beside_each_other_share_nothing() {
    let one = Lab::new(2).unwrap();
    let other = Lab::new(2).unwrap();
    one.cut(1).unwrap();
    assert!(misses(&one, 0, one.ipv4(1)));
    assert!(reaches(&other, 0, other.ipv4(1)));
}

/// What pings carry with [`WITH_MARK`].
const MARK: &[u8] = b"canary in a mine";

/// Sends [`MARK`] once a second, for three seconds at most.
const WITH_MARK: &[&str] = &["-w", "3", "-p", "63616e61727920696e2061206d696e65"];

fn holds_mark(capture: Capture) -> bool {
    let file = capture.finish().expect("no packet was lost");
    let searched = pcap_contains(&file, &[("mark", MARK)]).expect("the capture can be searched");
    !searched.hits.is_empty()
}

#[test]
fn a_capture_holds_what_crossed_the_bridge() {
    let lab = Lab::new(3).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at_bridge = lab.capture_all(&folder.path().join("bridge")).unwrap();
    let at_bystander = lab.capture(2, &folder.path().join("bystander")).unwrap();
    assert!(ping(&lab, 0, lab.ipv4(1), WITH_MARK));
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
    assert!(!ping(&lab, 0, everyone, WITH_MARK), "nobody answers to all");
    for capture in captures {
        assert!(holds_mark(capture));
    }
}

//! Copies made at any moment, and exchanges in any order: all end equal, and nothing that was acknowledged is lost.

use std::collections::{BTreeMap, BTreeSet};

use aeroedge_ids::{CompartmentId, ContextId, EntryHash, Seq, WriterKey};
use aeroedge_log::compartment::Division;
use aeroedge_log::control::Role;
use aeroedge_log::entry::EntryRef;
use aeroedge_protocol::{Cursor, Frontier};
use proptest::prelude::*;

use super::{assert_equal, come_to_rest, offered};
use crate::club::{NOW, Peer, carry_control, everyone, pair};

#[derive(Debug, Clone)]
enum Step {
    Write {
        by: usize,
        row: u8,
    },
    Copy {
        of: usize,
    },
    Carry {
        from: usize,
        to: usize,
        bytes: usize,
        repeat: bool,
    },
    Control {
        from: usize,
        to: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..8usize, 0..6u8).prop_map(|(by, row)| Step::Write { by, row }),
        1 => (0..8usize).prop_map(|of| Step::Copy { of }),
        4 => (0..8usize, 0..8usize, prop_oneof![Just(1), Just(1000), Just(1 << 20)], any::<bool>())
            .prop_map(|(from, to, bytes, repeat)| Step::Carry { from, to, bytes, repeat }),
        2 => (0..8usize, 0..8usize).prop_map(|(from, to)| Step::Control { from, to }),
    ];
    prop::collection::vec(step, 1..40)
}

/// Part of what one has that the other may lack, in pieces, perhaps twice.
fn carry_some(
    from: &Peer,
    to: &mut Peer,
    (context, place): (ContextId, CompartmentId),
    bytes: usize,
    repeat: bool,
) {
    let mut known = if repeat {
        Frontier::new()
    } else {
        to.device.frontier(place).unwrap()
    };
    for log in from.device.disagreements(place, &known).unwrap() {
        known.remove(&log);
    }
    let mut cursor = Cursor::START;
    for _ in 0..4 {
        let read = from
            .device
            .read_entries(place, &known, cursor, bytes)
            .unwrap();
        cursor = read.next;
        if !read.runs.is_empty() {
            to.device
                .receive_entries(&[(context, place, read.runs)], NOW)
                .unwrap();
        }
        if read.exhausted {
            return;
        }
    }
}

/// Every entry that an installation signed while it used a writer, to see that none used a number twice.
type Signed = BTreeMap<(usize, WriterKey, Seq), EntryHash>;

fn run(steps: &[Step]) {
    let (owner, member, context) = pair(Division::Single, Role::Member);
    let place = everyone(context);
    let mut peers = vec![owner, member];
    let mut acknowledged: BTreeSet<String> = BTreeSet::new();
    let mut signed = Signed::new();
    let mut count = 0;
    for step in steps {
        let among = |index: usize| index % peers.len();
        match step {
            Step::Write { by, row } => {
                let by = among(*by);
                count += 1;
                let id = format!("row {row}");
                let own = format!("own {count}");
                peers[by].write(place, &id, &format!("{count}"));
                peers[by].write(place, &own, "x");
                acknowledged.extend([id, own]);
                note_signed(&mut signed, by, &peers[by], place);
            }
            Step::Copy { of } => {
                if peers.len() < 5 {
                    let number = 10 + peers.len() as u8;
                    let copy = peers[among(*of)].copy(number);
                    peers.push(copy);
                }
            }
            Step::Carry {
                from,
                to,
                bytes,
                repeat,
            } => {
                let (from, to) = (among(*from), among(*to));
                if from != to {
                    let (one, other) = two(&mut peers, from, to);
                    carry_some(one, other, (context, place), *bytes, *repeat);
                }
            }
            Step::Control { from, to } => {
                let (from, to) = (among(*from), among(*to));
                if from != to {
                    let (one, other) = two(&mut peers, from, to);
                    carry_control(one, other, context);
                    other.device.merge_waiting(NOW).unwrap();
                }
            }
        }
    }
    come_to_rest(&mut peers, context);
    come_to_rest(&mut peers, context);
    assert_equal(&mut peers, context, place);
    let found: BTreeSet<String> = peers[0].notes().into_iter().map(|note| note.0).collect();
    assert_eq!(found, acknowledged);
}

/// What an installation wrote under its writers and now offers stays what it offers.
fn note_signed(signed: &mut Signed, by: usize, peer: &Peer, place: CompartmentId) {
    for run in offered(&peer.device, place) {
        for (offset, bytes) in run.entries.iter().enumerate() {
            let seq = Seq(run.first.0 + offset as u64);
            let hash = EntryRef::parse(bytes).unwrap().hash();
            let before = signed.insert((by, run.writer, seq), hash);
            assert!(before.is_none_or(|before| before == hash));
        }
    }
}

fn two(peers: &mut [Peer], one: usize, other: usize) -> (&Peer, &mut Peer) {
    if one < other {
        let (left, right) = peers.split_at_mut(other);
        (&left[one], &mut right[0])
    } else {
        let (left, right) = peers.split_at_mut(one);
        (&right[0], &mut left[other])
    }
}

#[test]
fn a_device_that_heard_two_stories_is_copied() {
    let carry = |from, to| Step::Carry {
        from,
        to,
        bytes: 1,
        repeat: false,
    };
    let write = |by, row| Step::Write { by, row };
    run(&[
        Step::Copy { of: 1 },
        write(2, 0),
        write(0, 0),
        carry(2, 0),
        write(1, 0),
        carry(1, 0),
        write(0, 1),
        Step::Copy { of: 0 },
        write(3, 0),
    ]);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("AEROEDGE_FORK_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn copies_end_equal_whatever_they_did(steps in steps()) {
        run(&steps);
    }
}

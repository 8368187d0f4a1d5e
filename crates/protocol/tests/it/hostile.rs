//! Peers that break the rules: the session ends with a reason or ignores them, never panics, never grows.

use aeroedge_ids::{CompartmentId, Seq};
use aeroedge_protocol::frame::{Channel, Decoded};
use aeroedge_protocol::{CloseReason, Event, Frame, Run};
use proptest::prelude::*;
use rand::{Rng, RngExt};

use crate::store::Action;
use crate::world::{CLUB, EVERYONE, STAFF, World, writer};

fn busy_world(seed: u64) -> World {
    let mut world = World::club(seed, 2);
    for store in &mut world.stores {
        store.wary = true;
    }
    for _ in 0..5 {
        world.write(0, EVERYONE, writer(1), &[200, 300]);
        world.write(1, STAFF, writer(2), &[200, 300]);
    }
    world.govern(0, Action::Nothing);
    world.govern(1, Action::Nothing);
    world
}

/// The number by which the end on `side` knows the club.
fn channel_of(world: &World, link: usize, side: usize) -> Channel {
    world.links[link][side]
        .sent
        .iter()
        .find_map(|bytes| match Frame::decode(bytes) {
            Ok(Decoded::Known(Frame::ControlDigest { channel, .. })) => Some(channel),
            _ => None,
        })
        .unwrap()
}

fn entries(
    channel: Channel,
    compartment: CompartmentId,
    batch: u64,
    first: u64,
    size: usize,
) -> Vec<u8> {
    let run = Run {
        writer: writer(50),
        first: Seq(first),
        entries: vec![vec![1; size]],
        head: None,
    };
    Frame::Entries {
        channel,
        compartment,
        batch,
        runs: vec![run],
    }
    .encode()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_repeated_and_swapped_frames_never_panic(
        seed in any::<u64>(),
        at in 0..40_usize,
        kind in 0..6_u8,
        position in any::<u16>(),
        value in any::<u8>(),
    ) {
        let mut world = busy_world(seed);
        world.limits.batch_bytes = 600;
        let link = world.link(0, 1);
        let mut delivered = 0;
        while world.links[link].iter().all(|end| end.closed().is_none()) && world.now.0 < 1_700_000_000_500 {
            world.run(1);
            let side = usize::from(seed % 2 == 0);
            let waiting = world.links[link][side].inbox.len();
            if delivered <= at && at < delivered + waiting {
                let inbox = &mut world.links[link][side].inbox;
                let index = at - delivered;
                match kind {
                    0 => {
                        let bytes = &mut inbox[index].1;
                        let position = usize::from(position) % bytes.len();
                        bytes[position] ^= value;
                    }
                    1 => {
                        let copy = inbox[index].clone();
                        inbox.insert(index, copy);
                    }
                    2 => {
                        let other = usize::from(position) % waiting;
                        inbox.swap(index, other);
                        let due = inbox.iter().map(|(due, _)| *due).min().unwrap();
                        for (time, _) in inbox.iter_mut() {
 *time = due;
 }
                    }
                    3 => {
                        let length = usize::from(position) % (inbox[index].1.len() + 1);
                        inbox[index].1.truncate(length);
                    }
                    4 => {
                        inbox.remove(index);
                    }
                    _ => {
                        let mut garbage = vec![0; usize::from(position) % 500];
                        world.rng.fill_bytes(&mut garbage);
                        world.links[link][side].inbox[index].1 = garbage;
                    }
                }
                delivered = usize::MAX / 2;
            }
            delivered += waiting;
        }
        // Whatever came of it, a new link heals it.
        world.cut(link);
        world.link(1, 0);
        world.run(1_000);
    }

    #[test]
    fn random_known_frames_at_random_moments_never_panic(seed in any::<u64>(), after_ms in 0..60_u64) {
        let mut world = busy_world(seed);
        let link = world.link(0, 1);
        world.run(after_ms);
        for _ in 0..30 {
            let frame = random_frame(&mut world);
            world.feed(link, 0, Event::Frame(frame.encode()));
            world.run(0);
        }
    }
}

fn random_frame(world: &mut World) -> Frame {
    let rng = &mut world.rng;
    let channel = Channel(rng.random_range(0..4));
    let compartment = [EVERYONE, STAFF, CompartmentId([9; 16])][rng.random_range(0..3)];
    let frontier = [(writer(rng.random_range(0..4)), Seq(rng.random_range(1..30)))].into();
    match rng.random_range(0..15) {
        0 => Frame::Hello {
            version: 1,
            nonce: rng.random(),
            window: rng.random(),
        },
        1 => Frame::Greet {
            tags: vec![rng.random()],
        },
        2 => Frame::Ping,
        3 => Frame::Prove {
            channel,
            device: aeroedge_ids::DeviceKey(rng.random()),
            signature: [1; 64],
        },
        4 => Frame::ControlDigest {
            channel,
            digest: rng.random(),
        },
        5 => Frame::ControlBuckets {
            channel,
            buckets: Box::new([rng.random(); 256]),
        },
        6 => Frame::ControlHave {
            channel,
            hashes: vec![aeroedge_ids::ControlHash(rng.random())],
        },
        7 => Frame::ControlEntries {
            channel,
            entries: vec![vec![7; rng.random_range(1..100)]],
        },
        8 => Frame::ControlReceived { channel },
        9 => Frame::Digests {
            channel,
            digests: vec![(compartment, rng.random())],
        },
        10 => Frame::Frontier {
            channel,
            compartment,
            frontier,
        },
        11 => Frame::Received {
            batch: rng.random_range(0..3),
            declined: vec![writer(1)],
        },
        12 => Frame::Advance {
            channel,
            compartment,
            changed: frontier,
        },
        13 => Frame::Pause {
            channel,
            compartment,
            paused: rng.random(),
        },
        _ => Frame::Withdraw {
            channel,
            code: rng.random(),
        },
    }
}

#[test]
fn a_peer_that_sends_beyond_its_grant_is_shut_out() {
    let mut world = World::club(1, 2);
    world.limits.window_bytes = 100_000;
    let link = world.link(0, 1);
    world.run(1_000);
    world.never_applies = Some(1);
    let channel = channel_of(&world, link, 0);
    for batch in 1..100 {
        world.feed(
            link,
            1,
            Event::Frame(entries(channel, EVERYONE, batch, batch, 10_000)),
        );
        if let Some(closed) = world.links[link][1].closed() {
            assert_eq!(closed, (CloseReason::Flooded, false));
            assert_eq!(batch, 10);
            return;
        }
    }
    panic!("the flood went on");
}

#[test]
fn a_peer_that_never_acknowledges_gets_one_window_and_costs_no_more() {
    let mut world = World::club(2, 2);
    world.limits.window_bytes = 200_000;
    world.limits.batch_bytes = 50_000;
    for _ in 0..500 {
        world.write(0, EVERYONE, writer(1), &[9_000]);
        world.write(0, STAFF, writer(1), &[9_000]);
    }
    world.never_applies = Some(1);
    let link = world.link(0, 1);
    for _ in 0..50 {
        world.run(100);
        world.write(0, EVERYONE, writer(1), &[9_000]);
    }
    world.assert_open(link);
    let sent = world.bytes(link);
    assert!(
        sent < 220_000,
        "{sent} bytes sent against a window of 200,000"
    );
    for end in &world.links[link] {
        assert!(end.buffered_max < 260_000, "{}", end.buffered_max);
    }
    // Once it works again, everything arrives.
    world.never_applies = None;
    world.run(5_000);
    world.assert_equal(0, 1);
}

#[test]
fn entries_sent_again_end_the_session() {
    for (batch, first, expected) in [
        (1, 2, CloseReason::Repeated),
        (3, 2, CloseReason::WrongOrder),
        (2, 1, CloseReason::Repeated),
    ] {
        let mut world = World::club(3, 2);
        let link = world.link(0, 1);
        world.run(1_000);
        let channel = channel_of(&world, link, 0);
        world.feed(link, 1, Event::Frame(entries(channel, EVERYONE, 1, 1, 10)));
        assert_eq!(world.links[link][1].closed(), None);
        world.feed(
            link,
            1,
            Event::Frame(entries(channel, EVERYONE, batch, first, 10)),
        );
        assert_eq!(world.links[link][1].closed(), Some((expected, false)));
    }
}

#[test]
fn frames_of_contexts_and_compartments_not_shared_end_the_session() {
    for (channel_shift, compartment) in [(1, EVERYONE), (0, CompartmentId([0x77; 16]))] {
        let mut world = World::club(4, 2);
        let link = world.link(0, 1);
        world.run(1_000);
        let Channel(channel) = channel_of(&world, link, 0);
        let bytes = entries(
            Channel((channel + channel_shift) % 4),
            compartment,
            1,
            1,
            10,
        );
        world.feed(link, 1, Event::Frame(bytes));
        assert_eq!(
            world.links[link][1].closed(),
            Some((CloseReason::WrongOrder, false))
        );
    }
}

#[test]
fn entries_before_the_proof_is_accepted_end_the_session() {
    let mut world = World::club(5, 2);
    world.latency_ms = 10;
    let link = world.link(0, 1);
    world.run(20);
    world.links[link][1].inbox.clear();
    let channel = channel_of(&world, link, 0);
    world.feed(link, 1, Event::Frame(entries(channel, EVERYONE, 1, 1, 10)));
    assert_eq!(
        world.links[link][1].closed(),
        Some((CloseReason::WrongOrder, false))
    );
    assert!(world.stores[1].content(CLUB, EVERYONE).is_empty());
}

#[test]
fn a_control_entry_that_does_not_hold_ends_the_context() {
    let mut world = World::club(6, 2);
    let link = world.link(0, 1);
    world.run(1_000);
    let channel = channel_of(&world, link, 0);
    let bytes = Frame::ControlEntries {
        channel,
        entries: vec![vec![9; 60]],
    }
    .encode();
    world.feed(link, 1, Event::Frame(bytes));
    world.run(100);
    assert_eq!(
        world.links[link][1].ended(),
        Some((aeroedge_protocol::EndReason::ControlRefused, false))
    );
    assert_eq!(
        world.links[link][0].ended(),
        Some((aeroedge_protocol::EndReason::ControlRefused, true))
    );
}

#[test]
fn a_second_control_batch_before_the_first_is_stored_is_a_flood() {
    let mut world = World::club(7, 2);
    let link = world.link(0, 1);
    world.run(1_000);
    let channel = channel_of(&world, link, 0);
    for _ in 0..2 {
        let bytes = Frame::ControlEntries {
            channel,
            entries: vec![vec![9; 60]],
        }
        .encode();
        world.feed(link, 1, Event::Frame(bytes));
    }
    assert_eq!(
        world.links[link][1].closed(),
        Some((CloseReason::Flooded, false))
    );
}

#[test]
fn every_frame_that_comes_once_ends_the_session_when_it_comes_again() {
    let mut repeated = 0;
    for index in 0..9 {
        let mut world = World::club(8, 2);
        world.write(0, EVERYONE, writer(1), &[100]);
        // The dialler's histories and frontiers differ from the acceptor's, so every frame of the start is there.
        world.govern(0, Action::Nothing);
        let link = world.link(0, 1);
        world.run(1_000);
        let bytes = world.links[link][0].sent[index].clone();
        let Ok(Decoded::Known(frame)) = Frame::decode(&bytes) else {
            panic!()
        };
        if matches!(
            frame,
            Frame::ControlEntries { .. } | Frame::Entries { .. } | Frame::Received { .. }
        ) {
            continue;
        }
        world.feed(link, 1, Event::Frame(bytes));
        let closed = world.links[link][1].closed();
        assert_eq!(closed, Some((CloseReason::WrongOrder, false)), "{frame:?}");
        repeated += 1;
    }
    assert_eq!(
        repeated, 8,
        "hello, greeting, proof, digest, buckets, hashes, digests, frontier"
    );
}

#[test]
fn digests_repeated_before_they_are_wanted_end_the_session() {
    let mut world = World::club(9, 2);
    let link = world.link(0, 1);
    world.run(1_000);
    let channel = channel_of(&world, link, 0);
    let unknown = CompartmentId([0x33; 16]);
    let digests = Frame::Digests {
        channel,
        digests: vec![(unknown, [1; 32])],
    };
    world.feed(link, 1, Event::Frame(digests.encode()));
    world.assert_open(link);
    world.feed(link, 1, Event::Frame(digests.encode()));
    assert_eq!(
        world.links[link][1].closed(),
        Some((CloseReason::WrongOrder, false))
    );
}

//! Whatever happens in between, linked devices end with the same entries, and none travels twice over one link.

use aeroedge_protocol::{Event, Limits, Output, Progress};
use rand::RngExt;

use crate::store::Action;
use crate::world::{CLUB, EVERYONE, STAFF, World, writer};

/// Random writes, control entries, cuts and new links, then a quiet while: everything is equal.
fn check_random(seed: u64, devices: u8, limits: Limits) {
    let mut world = World::club(seed, devices);
    world.limits = limits;
    let count = usize::from(devices);
    for device in 0..count {
        for _ in 0..world.rng.random_range(0..30) {
            random_write(&mut world, device);
        }
        for _ in 0..world.rng.random_range(0..5) {
            world.govern(device, Action::Nothing);
        }
    }
    let mut pairs = Vec::new();
    for one in 0..count {
        for other in one + 1..count {
            // Always connected through the first device, the rest at random.
            if one == 0 || world.rng.random_bool(0.5) {
                let link = world.link(one, other);
                pairs.push((one, other, link));
            }
        }
    }
    for _ in 0..world.rng.random_range(5..40) {
        world.latency_ms = world.rng.random_range(0..40);
        match world.rng.random_range(0..10) {
            0 => {
                let index = world.rng.random_range(0..pairs.len());
                let (one, other, link) = pairs[index];
                world.cut(link);
                pairs[index].2 = world.link(other, one);
            }
            1 => {
                let device = world.rng.random_range(0..count);
                world.govern(device, Action::Nothing);
            }
            _ => {
                let device = world.rng.random_range(0..count);
                random_write(&mut world, device);
            }
        }
        let ms = world.rng.random_range(0..60);
        world.run(ms);
    }
    // A window of one byte moves one entry for each round trip.
    world.run(60_000);
    for other in 1..count {
        world.assert_equal(0, other);
    }
    for (_, _, link) in pairs {
        world.assert_open(link);
        for end in &world.links[link] {
            assert!(end.session.in_sync(CLUB, EVERYONE), "seed {seed}");
            assert!(end.session.in_sync(CLUB, STAFF), "seed {seed}");
        }
    }
}

fn random_write(world: &mut World, device: usize) {
    let compartment = if world.rng.random() { EVERYONE } else { STAFF };
    let key = writer(device as u8 * 2 + world.rng.random_range(0..2));
    let count = world.rng.random_range(1..6);
    let sizes: Vec<usize> = (0..count)
        .map(|_| world.rng.random_range(1..3_000))
        .collect();
    world.write(device, compartment, key, &sizes);
}

#[test]
fn two_devices_end_equal_after_any_interleaving() {
    for seed in 0..150 {
        check_random(seed, 2, Limits::default());
    }
}

#[test]
fn a_mesh_ends_equal_after_any_interleaving() {
    for seed in 0..40 {
        check_random(1_000 + seed, 2 + (seed % 5) as u8, Limits::default());
    }
}

#[test]
fn small_windows_and_batches_only_take_longer() {
    for seed in 0..60 {
        let limits = Limits {
            batch_bytes: [1, 700, 4_000][seed as usize % 3],
            window_bytes: [1, 2_000, 9_000][seed as usize / 3 % 3],
            control_batch_bytes: 1,
            ..Limits::default()
        };
        check_random(2_000 + seed, 3, limits);
    }
}

#[test]
fn a_link_lost_at_any_frame_heals_on_the_next() {
    for lost_after in 0..60 {
        let mut world = World::club(77, 2);
        world.limits.batch_bytes = 3_000;
        for round in 0..10 {
            world.write(0, EVERYONE, writer(1), &[500, 700, 900 + round]);
            world.write(1, STAFF, writer(2), &[400, 300]);
        }
        world.govern(0, Action::Nothing);
        world.govern(1, Action::Nothing);
        let link = world.link(0, 1);
        while world.links[link]
            .iter()
            .map(|end| end.sent.len())
            .sum::<usize>()
            < lost_after
        {
            let before = world.links[link]
                .iter()
                .map(|end| end.sent.len())
                .sum::<usize>();
            world.run(1);
            if world.now.0 > 1_700_000_001_000 && before == lost_after {
                break;
            }
        }
        world.cut(link);
        let again = world.link(1, 0);
        world.run(1_000);
        world.assert_equal(0, 1);
        world.assert_open(again);
    }
}

#[test]
fn a_write_reaches_the_peer_after_one_crossing_of_the_link() {
    let mut world = World::club(5, 2);
    world.latency_ms = 20;
    world.link(0, 1);
    world.run(1_000);
    world.write(0, EVERYONE, writer(1), &[300]);
    world.run(20);
    world.assert_equal(0, 1);
}

#[test]
fn a_relayed_entry_crosses_only_where_it_is_lacking() {
    let mut world = World::club(6, 3);
    let near = world.link(0, 1);
    let far = world.link(0, 2);
    let between = world.link(1, 2);
    world.run(1_000);
    let before = world.links[between]
        .iter()
        .map(|end| end.session.counters().entries_sent)
        .sum::<u64>();
    world.write(0, EVERYONE, writer(1), &[5_000; 10]);
    world.run(1_000);
    world.assert_equal(0, 1);
    world.assert_equal(0, 2);
    let after = world.links[between]
        .iter()
        .map(|end| end.session.counters().entries_sent)
        .sum::<u64>();
    assert_eq!(before, after, "both had it from its author");
    // Without the direct link it comes the long way round.
    world.cut(far);
    world.write(0, EVERYONE, writer(1), &[5_000]);
    world.run(1_000);
    world.assert_equal(0, 2);
    world.assert_open(near);
}

#[test]
fn catching_up_costs_the_entries_and_little_more() {
    let mut world = World::club(8, 2);
    for _ in 0..1_000 {
        world.write(0, EVERYONE, writer(1), &[400]);
    }
    let link = world.link(0, 1);
    world.run(2_000);
    world.assert_equal(0, 1);
    let entries = 1_000 * 400;
    let overhead = world.bytes(link) - entries;
    // Each entry came with a head of its own: 96 bytes of it, and 32 of the writer.
    assert!(overhead < 1_000 * 160 + 2_000, "{overhead}");
    let frames: u64 = world.links[link]
        .iter()
        .map(|end| end.session.counters().frames_sent)
        .sum();
    assert!(frames < 30, "{frames}");
}

#[test]
fn a_declined_writer_does_not_stop_the_others() {
    let mut world = World::club(9, 2);
    world.limits.window_bytes = 4_000;
    world.limits.batch_bytes = 1_000;
    for _ in 0..20 {
        world.write(0, EVERYONE, writer(1), &[400]);
        world.write(0, EVERYONE, writer(9), &[400]);
    }
    world.stores[1].distrusted.insert(writer(9));
    let link = world.link(0, 1);
    world.run(2_000);
    world.assert_open(link);
    assert_eq!(world.stores[1].content(CLUB, EVERYONE).len(), 20);
    assert!(
        world.links[link][0].session.counters().entries_sent < 40,
        "told to stop, it stopped"
    );
    assert!(world.links[link][0].session.in_sync(CLUB, EVERYONE));
}

#[test]
fn the_peer_hears_when_both_are_equal() {
    let mut world = World::club(10, 2);
    world.write(0, EVERYONE, writer(1), &[400]);
    let link = world.link(0, 1);
    world.run(1_000);
    for end in &world.links[link] {
        for compartment in [EVERYONE, STAFF] {
            let told = end.notices.iter().filter(
                |notice| matches!(notice, Output::InSync { compartment: told, .. } if *told == compartment),
            );
            assert_eq!(told.count(), 1);
        }
        assert!(end.session.peer_device(CLUB).is_some());
    }
}

#[test]
fn a_paused_compartment_waits_and_the_others_do_not() {
    let mut world = World::club(11, 2);
    world.limits.window_bytes = 50_000;
    world.limits.batch_bytes = 10_000;
    for _ in 0..100 {
        world.write(0, EVERYONE, writer(1), &[1_000]);
        world.write(0, STAFF, writer(1), &[1_000]);
    }
    let link = world.link(0, 1);
    while world.links[link][1].session.peer_device(CLUB).is_none() {
        world.run(1);
    }
    let pause = |paused| Event::Pause {
        context: CLUB,
        compartment: EVERYONE,
        paused,
    };
    world.feed(link, 1, pause(true));
    world.run(2_000);
    assert_eq!(world.stores[1].content(CLUB, STAFF).len(), 100);
    let held = world.stores[1].content(CLUB, EVERYONE).len();
    assert!(held < 60, "{held}: no more than was already on its way");
    let progress = world.links[link][1]
        .session
        .progress(CLUB, EVERYONE)
        .unwrap();
    assert_eq!(progress.to_receive, 100 - held as u64);
    world.feed(link, 1, pause(false));
    world.run(2_000);
    world.assert_equal(0, 1);
    let progress = world.links[link][0]
        .session
        .progress(CLUB, EVERYONE)
        .unwrap();
    assert_eq!(progress, Progress::default());
}

#[test]
fn a_slow_receiver_is_not_fed_the_same_by_everyone() {
    let mut world = World::club(12, 3);
    world.latency_ms = 2;
    world.limits.window_bytes = 20_000;
    world.limits.batch_bytes = 5_000;
    world.link(0, 1);
    world.link(0, 2);
    let between = world.link(1, 2);
    world.run(1_000);
    // The third device is slower than the author writes.
    world.slow = Some((2, 40));
    for _ in 0..500 {
        world.write(0, EVERYONE, writer(1), &[1_000]);
        world.run(2);
    }
    world.run(30_000);
    world.assert_equal(0, 2);
    let relayed: u64 = world.links[between]
        .iter()
        .map(|end| end.session.counters().entries_sent)
        .sum();
    assert!(relayed < 250, "{relayed} of 500 came twice");
}

#[test]
fn a_fresh_device_with_two_links_takes_nearly_everything_once() {
    let mut world = World::club(13, 3);
    world.latency_ms = 2;
    world.limits.window_bytes = 100_000;
    for _ in 0..3_000 {
        world.write(0, EVERYONE, writer(1), &[1_000]);
    }
    world.link(0, 1);
    world.run(5_000);
    world.assert_equal(0, 1);
    let links = [world.link(0, 2), world.link(1, 2)];
    world.slow = Some((2, 20));
    world.run(250);
    assert!(world.stores[2].content(CLUB, EVERYONE).len() < 2_000);
    // Whoever feeds it, the other takes over.
    world.cut(links[0]);
    world.run(30_000);
    world.assert_equal(0, 2);
    let received = |link: usize| world.links[link][1].session.counters().entries_received;
    let (first, second) = (received(links[0]), received(links[1]));
    assert!(first > 100 && second > 100, "{first} and {second}");
    // A window's worth was on its way on either link when the choice was made and when the first was cut.
    assert!(first + second < 3_000 + 3 * 100, "{first} and {second}");
}

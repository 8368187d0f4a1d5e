//! Membership histories come together before anyone is judged by them.

use aeroedge_protocol::EndReason;

use crate::store::{Action, Store};
use crate::world::{CLUB, EVERYONE, World, writer};

#[test]
fn long_histories_that_parted_ways_meet_in_few_round_trips() {
    let mut world = World::club(1, 2);
    for _ in 0..3_000 {
        world.stores[0].govern(CLUB, Action::Nothing, &mut world.rng);
    }
    let common = world.stores[0].contexts[&CLUB].control.clone();
    world.stores[1].contexts.get_mut(&CLUB).unwrap().control = common;
    for _ in 0..20 {
        world.govern(0, Action::Nothing);
        world.govern(1, Action::Nothing);
    }
    world.latency_ms = 100;
    let link = world.link(0, 1);
    // Hello, greeting, digest, buckets, hashes, entries: six crossings.
    world.run(600);
    world.assert_equal(0, 1);
    // 40 entries of 81 bytes; the hashes of at most 40 of 256 buckets on each side; 2 KiB of buckets each way.
    assert!(
        world.bytes(link) < 2 * (40 * 12 * 32 + 2_100) + 40 * 90 + 2_000,
        "{}",
        world.bytes(link)
    );
}

#[test]
fn equal_histories_cost_one_digest() {
    let mut world = World::club(2, 2);
    let link = world.link(0, 1);
    world.run(1_000);
    assert!(world.bytes(link) < 2 * 400, "{}", world.bytes(link));
}

#[test]
fn a_device_admitted_elsewhere_is_judged_by_the_history_it_brings() {
    let mut world = World::club(3, 2);
    let mut newcomer = Store::new(9);
    newcomer.enter(CLUB, 7, &[EVERYONE]);
    world.stores[1].govern(CLUB, Action::Add(newcomer.device), &mut world.rng);
    newcomer.contexts.get_mut(&CLUB).unwrap().control =
        world.stores[1].contexts[&CLUB].control.clone();
    world.stores.push(newcomer);
    world.write(0, EVERYONE, writer(1), &[100]);
    let link = world.link(2, 0);
    world.run(1_000);
    world.assert_open(link);
    world.assert_equal(0, 2);
}

#[test]
fn a_removed_device_learns_of_it_and_gets_nothing_more() {
    let mut world = World::club(4, 2);
    let removed = world.stores[1].device;
    world.govern(0, Action::Revoke(removed));
    world.write(0, EVERYONE, writer(1), &[100]);
    let link = world.link(1, 0);
    world.run(1_000);
    assert_eq!(
        world.links[link][0].ended(),
        Some((EndReason::Revoked, true))
    );
    assert_eq!(
        world.stores[1].control_set(CLUB),
        world.stores[0].control_set(CLUB)
    );
    assert!(world.stores[1].content(CLUB, EVERYONE).is_empty());
}

#[test]
fn an_unknown_device_with_a_link_key_gets_no_entries() {
    let mut world = World::club(5, 1);
    let mut stranger = Store::new(9);
    stranger.enter(CLUB, 7, &[EVERYONE]);
    world.stores.push(stranger);
    world.write(0, EVERYONE, writer(1), &[100]);
    let link = world.link(1, 0);
    world.run(1_000);
    assert_eq!(
        world.links[link][0].ended(),
        Some((EndReason::UnknownDevice, true))
    );
    assert!(world.stores[1].content(CLUB, EVERYONE).is_empty());
}

#[test]
fn new_control_entries_are_pushed_and_passed_on() {
    let mut world = World::club(6, 3);
    world.link(0, 1);
    world.link(1, 2);
    world.run(1_000);
    for _ in 0..5 {
        world.govern(0, Action::Nothing);
        world.govern(2, Action::Nothing);
        world.run(30);
    }
    world.run(1_000);
    world.assert_equal(0, 1);
    world.assert_equal(0, 2);
}

#[test]
fn entries_wait_until_the_peer_has_the_control_history() {
    let mut world = World::club(7, 2);
    world.latency_ms = 100;
    let link = world.link(0, 1);
    world.run(2_000);
    world.assert_equal(0, 1);
    // More than goes into one batch, and an entry at the same time.
    for _ in 0..12_000 {
        world.stores[0].govern(CLUB, Action::Nothing, &mut world.rng);
    }
    world.govern(0, Action::Nothing);
    world.write(0, EVERYONE, writer(1), &[100]);
    while world.stores[1].content(CLUB, EVERYONE).is_empty() {
        world.run(10);
        world.assert_open(link);
    }
    assert_eq!(
        world.stores[1].control_set(CLUB),
        world.stores[0].control_set(CLUB)
    );
}

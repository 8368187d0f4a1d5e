//! A link from the first frame to the last: strangers, privacy, idleness, silence.

use aeroedge_ids::{ContextId, Millis};
use aeroedge_protocol::{CloseReason, EndReason, Event, Frame, Limits, Origin};

use crate::store::{Action, Store};
use crate::world::{CLUB, EVERYONE, STAFF, World, writer};

#[test]
fn strangers_part_at_once() {
    let mut world = World::club(1, 1);
    let mut stranger = Store::new(9);
    stranger.enter(ContextId([0xaa; 16]), 8, &[EVERYONE]);
    world.stores.push(stranger);
    let link = world.link(0, 1);
    world.run(100);
    for end in &world.links[link] {
        assert_eq!(end.closed().unwrap().0, CloseReason::NothingInCommon);
        assert_eq!(end.sent.len(), 3, "hello, greeting, close");
    }
}

#[test]
fn no_frame_names_a_context() {
    let secret = ContextId([0xaa; 16]);
    let mut world = World::club(2, 2);
    world.stores[0].enter(secret, 8, &[EVERYONE]);
    world.stores[0].govern(secret, Action::Nothing, &mut world.rng.clone());
    world.write(0, EVERYONE, writer(1), &[100]);
    world.govern(1, Action::Nothing);
    let link = world.link(0, 1);
    world.run(1_000);
    world.assert_equal(0, 1);
    for end in &world.links[link] {
        for frame in &end.sent {
            for context in [secret, CLUB] {
                for window in frame.windows(8) {
                    assert_ne!(window, &context.0[..8], "{frame:02x?}");
                }
            }
        }
    }
}

#[test]
fn greetings_never_repeat_and_hide_how_many_contexts_there_are() {
    let mut seen = std::collections::BTreeSet::new();
    for contexts in 0..9_u8 {
        let mut world = World::club(3, 2);
        for number in 0..contexts {
            world.stores[0].enter(ContextId([number; 16]), number + 100, &[]);
        }
        let link = world.link(0, 1);
        world.run(500);
        let Ok(aeroedge_protocol::frame::Decoded::Known(Frame::Greet { tags })) =
            Frame::decode(&world.links[link][0].sent[1])
        else {
            panic!("the second frame is the greeting")
        };
        assert_eq!(tags.len() % 4, 0);
        let count = tags.len();
        // The seed is the same each time, so only the credentials differ: the tag of the club repeats within this test.
        seen.extend(tags);
        assert_eq!(count, (usize::from(contexts) + 1).next_multiple_of(4));
    }
    assert!(seen.len() > 12);
}

#[test]
fn idle_and_equal_peers_exchange_a_few_dozen_bytes() {
    let mut world = World::club(4, 2);
    let link = world.link(0, 1);
    world.run(1_000);
    let caught_up = world.bytes(link);
    world.run(60_000);
    world.assert_open(link);
    let idle = world.bytes(link) - caught_up;
    assert!(
        idle > 0 && idle < 100,
        "{idle} bytes in a minute, both directions"
    );
    assert!(
        caught_up < 800,
        "{caught_up} bytes to find out that both are equal"
    );
}

#[test]
fn a_silent_peer_is_given_up() {
    let mut world = World::club(5, 2);
    let link = world.link(0, 1);
    world.run(1_000);
    world.deaf = Some(0);
    let silence_ms = Limits::default().silence_ms;
    world.run(silence_ms - 2_000);
    world.assert_open(link);
    world.run(2_000);
    assert_eq!(
        world.links[link][0].closed(),
        Some((CloseReason::Silence, false))
    );
}

#[test]
fn a_peer_that_never_greets_is_given_up_sooner() {
    let mut world = World::club(6, 2);
    world.deaf = Some(0);
    let link = world.link(0, 1);
    for _ in 0..10 {
        world.feed(link, 0, Event::Frame(Frame::Ping.encode()));
        world.run(1_000);
    }
    assert_eq!(
        world.links[link][0].closed(),
        Some((CloseReason::Silence, false))
    );
}

#[test]
fn a_clock_set_back_does_not_freeze_or_end_the_session() {
    let mut world = World::club(7, 2);
    let link = world.link(0, 1);
    world.run(1_000);
    world.now = Millis(world.now.0 - 3_600_000);
    world.run(60_000);
    world.write(0, EVERYONE, writer(1), &[100]);
    world.run(60_000);
    world.assert_open(link);
    world.assert_equal(0, 1);
    world.now = Millis(world.now.0 - 3_600_000);
    world.deaf = Some(0);
    world.feed(link, 0, Event::Timeout);
    world.run(Limits::default().silence_ms);
    assert_eq!(
        world.links[link][0].closed(),
        Some((CloseReason::Silence, false))
    );
}

#[test]
fn another_version_is_named_as_the_reason() {
    let mut world = World::club(8, 2);
    let link = world.link(0, 1);
    let hello = Frame::Hello {
        version: 2,
        nonce: [1; 32],
        window: 1 << 20,
    };
    world.feed(link, 0, Event::Frame(hello.encode()));
    assert_eq!(
        world.links[link][0].closed(),
        Some((CloseReason::UnsupportedVersion, false))
    );
    world.run(100);
    // Its own hello was read by the peer, which then met the close.
    assert_eq!(
        world.links[link][1].closed(),
        Some((CloseReason::UnsupportedVersion, true))
    );
}

#[test]
fn unknown_frames_are_counted_and_ignored() {
    let mut world = World::club(9, 2);
    let link = world.link(0, 1);
    world.run(1_000);
    world.feed(link, 0, Event::Frame(vec![0x93, 40, 0xff, 0xff]));
    assert_eq!(world.links[link][0].session.counters().unknown_frames, 1);
    world.assert_open(link);
    for _ in 0..2_000 {
        world.feed(link, 0, Event::Frame(vec![0x91, 77]));
    }
    assert_eq!(
        world.links[link][0].closed(),
        Some((CloseReason::Flooded, false))
    );
}

#[test]
fn a_compartment_taken_away_is_silent_from_then_on() {
    let mut world = World::club(10, 2);
    let link = world.link(0, 1);
    world.run(1_000);
    let mut kept = world.stores[0].frontiers(CLUB);
    kept.remove(&EVERYONE);
    world.feed(
        link,
        0,
        Event::PeerAccepted {
            context: CLUB,
            compartments: kept,
        },
    );
    world.write(0, EVERYONE, writer(1), &[100]);
    world.write(1, EVERYONE, writer(2), &[100]);
    world.run(1_000);
    world.assert_open(link);
    assert_eq!(world.stores[1].content(CLUB, EVERYONE).len(), 1);
    assert_eq!(world.stores[0].content(CLUB, EVERYONE).len(), 1);
}

#[test]
fn what_waits_for_a_closed_place_gives_its_room_back() {
    let other = ContextId([0x0c; 16]);
    for whole_context in [false, true] {
        let mut world = World::club(11, 2);
        world.limits.window_bytes = 4_000;
        world.never_applies = Some(1);
        for index in 0..2 {
            world.stores[index].enter(other, 9, &[STAFF]);
            let founded = world.stores[0].contexts[&CLUB].control.clone();
            world.stores[index]
                .contexts
                .get_mut(&other)
                .unwrap()
                .control = founded;
        }
        world.write(0, EVERYONE, writer(1), &[30; 400]);
        let link = world.link(0, 1);
        world.run(1_000);
        if whole_context {
            let event = Event::EndContext {
                context: CLUB,
                reason: EndReason::Done,
            };
            world.feed(link, 0, event);
        } else {
            let mut kept = world.stores[0].frontiers(CLUB);
            kept.remove(&EVERYONE);
            world.feed(
                link,
                0,
                Event::PeerAccepted {
                    context: CLUB,
                    compartments: kept,
                },
            );
        }
        world.never_applies = None;
        world.run(1_000);
        let changed = world.stores[0].write(other, STAFF, writer(1), &[30; 200], &mut world.rng);
        let told = Event::Frontier {
            context: other,
            compartment: STAFF,
            changed,
            origin: Origin::Here,
        };
        world.feed(link, 0, told);
        world.run(5_000);
        world.assert_open(link);
        assert_eq!(world.stores[1].content(other, STAFF).len(), 200);
        assert!(world.stores[1].content(CLUB, EVERYONE).is_empty());
    }
}

#[test]
fn one_write_is_one_frame_there_and_one_back() {
    let mut world = World::club(12, 2);
    let link = world.link(0, 1);
    world.run(1_000);
    let before = [0, 1].map(|side| world.links[link][side].sent.len());
    world.write(0, EVERYONE, writer(1), &[100; 3]);
    world.run(1_000);
    let after = [0, 1].map(|side| world.links[link][side].sent.len());
    assert_eq!(after, [before[0] + 1, before[1] + 1]);
}

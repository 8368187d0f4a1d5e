//! A joiner sees the control history and nothing else until it is a member.

use aeroedge_ids::InviteKey;
use aeroedge_protocol::{CloseReason, Credential, Event, Frame, LinkKind, Output};

use crate::store::{Action, Store};
use crate::world::{CLUB, EVERYONE, World, writer};

fn club_with_joiner(seed: u64) -> World {
    let mut world = World::club(seed, 1);
    world.stores[0].credentials.push(Credential::Invite {
        context: CLUB,
        invite: InviteKey([5; 32]),
        link_key: [99; 32],
    });
    world.write(0, EVERYONE, writer(1), &[100; 10]);
    let mut joiner = Store::new(9);
    joiner.credentials.push(Credential::Joiner {
        context: CLUB,
        link_key: [99; 32],
    });
    world.stores.push(joiner);
    world
}

#[test]
fn a_joiner_gets_the_history_pushes_its_entry_and_returns_as_a_member() {
    let mut world = club_with_joiner(1);
    let link = world.link(1, 0);
    world.run(500);
    assert_eq!(
        world.links[link][0].notices[0],
        Output::Shared {
            context: CLUB,
            kind: LinkKind::Joining
        }
    );
    assert_eq!(
        world.links[link][1].notices[0],
        Output::Shared {
            context: CLUB,
            kind: LinkKind::Hosting(InviteKey([5; 32]))
        }
    );
    let in_sync = |world: &World| {
        let notices = &world.links[link][0].notices;
        notices
            .iter()
            .filter(|notice| matches!(notice, Output::ControlInSync { .. }))
            .count()
    };
    assert_eq!(in_sync(&world), 1);
    assert_eq!(
        world.stores[1].control_set(CLUB),
        world.stores[0].control_set(CLUB)
    );

    let device = world.stores[1].device;
    world.govern(1, Action::Add(device));
    world.run(500);
    assert_eq!(in_sync(&world), 2, "the host has stored the join entry");
    assert_eq!(world.links[link][1].session.counters().entries_sent, 0);
    world.feed(link, 0, Event::Close(CloseReason::Done));
    world.run(100);
    assert_eq!(
        world.links[link][1].closed(),
        Some((CloseReason::Done, true))
    );

    world.stores[1].credentials.clear();
    world.stores[1].enter(CLUB, 7, &[EVERYONE]);
    let link = world.link(1, 0);
    world.run(500);
    world.assert_open(link);
    world.assert_equal(0, 1);
}

#[test]
fn a_joiner_that_asks_for_entries_is_shut_out() {
    let mut world = club_with_joiner(2);
    let link = world.link(1, 0);
    world.run(500);
    let Ok(aeroedge_protocol::frame::Decoded::Known(Frame::ControlDigest { channel, .. })) =
        Frame::decode(&world.links[link][0].sent[2])
    else {
        panic!("the third frame is the digest")
    };
    let forged = Frame::Digests {
        channel,
        digests: vec![(EVERYONE, [0; 32])],
    };
    world.feed(link, 1, Event::Frame(forged.encode()));
    assert_eq!(
        world.links[link][1].closed(),
        Some((CloseReason::WrongOrder, false))
    );
}

#[test]
fn two_joiners_of_one_invite_have_nothing_to_say_to_each_other() {
    let mut world = club_with_joiner(3);
    let mut other = Store::new(10);
    other.credentials = world.stores[1].credentials.clone();
    world.stores.push(other);
    let link = world.link(1, 2);
    world.run(500);
    assert_eq!(
        world.links[link][0].closed().unwrap().0,
        CloseReason::NothingInCommon
    );
}

#[test]
fn a_member_that_also_hosts_meets_members_as_members() {
    let mut world = World::club(4, 2);
    for store in &mut world.stores {
        store.credentials.push(Credential::Invite {
            context: CLUB,
            invite: InviteKey([5; 32]),
            link_key: [99; 32],
        });
    }
    world.write(0, EVERYONE, writer(1), &[100]);
    let link = world.link(0, 1);
    world.run(500);
    world.assert_open(link);
    world.assert_equal(0, 1);
}

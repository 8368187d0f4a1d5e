//! Copies of one installation that go on side by side: nothing that either wrote is lost, and all devices end equal.

use aeroedge_device::{CLOSE_AFTER_MS, Declined, Device};
use aeroedge_ids::{CompartmentId, ContextId, Millis, Seq, WriterKey};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::control::Role;
use aeroedge_protocol::{Cursor, Frontier, Run};

use crate::club::{NOW, Peer, everyone, pair, synchronise};

mod hostile;
mod random;

/// Everybody with everybody until nobody has anything new.
pub(crate) fn settle(peers: &mut [Peer], context: ContextId) {
    for _ in 0..4 {
        for one in 0..peers.len() {
            for other in one + 1..peers.len() {
                let (left, right) = peers.split_at_mut(other);
                synchronise(&mut left[one], &mut right[0], context);
            }
        }
    }
}

/// Time enough for every installation to say how far its old writers count, and for the others to hear of it.
pub(crate) fn come_to_rest(peers: &mut [Peer], context: ContextId) {
    settle(peers, context);
    for step in 0..3 {
        let now = Millis(NOW.0 + step * CLOSE_AFTER_MS);
        for peer in &mut *peers {
            peer.device.tend_copies(now, &mut peer.rng).unwrap();
            peer.device.merge_waiting(now).unwrap();
            peer.device.make_durable().unwrap();
        }
        settle(peers, context);
    }
    for peer in peers {
        peer.device.merge_waiting(NOW).unwrap();
    }
}

pub(crate) fn assert_equal(peers: &mut [Peer], context: ContextId, place: CompartmentId) {
    let (first, others) = peers.split_first_mut().unwrap();
    for other in others {
        assert_eq!(
            first.device.frontier(place).unwrap(),
            other.device.frontier(place).unwrap()
        );
        assert_eq!(first.notes(), other.notes());
        assert_eq!(
            first.device.digest(context).unwrap(),
            other.device.digest(context).unwrap()
        );
        assert_eq!(
            first.device.engine_digest().unwrap(),
            other.device.engine_digest().unwrap()
        );
        assert!(
            other.device.waiting().is_empty(),
            "{:?}",
            other.device.waiting()
        );
    }
}

fn ids(peer: &Peer) -> Vec<String> {
    peer.notes().into_iter().map(|(id, _, _)| id).collect()
}

fn writers_in_use(peer: &Peer) -> WriterKey {
    use aeroedge_device::KeyStore;
    peer.keys.load().unwrap().writer_in_use().unwrap().key()
}

/// What a device offers of everything it has.
pub(crate) fn offered(device: &Device, place: CompartmentId) -> Vec<Run> {
    device
        .read_entries(place, &Frontier::new(), Cursor::START, 1 << 20)
        .unwrap()
        .runs
}

#[test]
fn an_old_copy_takes_its_tail_back_and_forks_nothing() {
    let (mut owner, member, context) = pair(Division::Single, Role::Member);
    let place = everyone(context);
    owner.write(place, "a", "before");
    let copy = owner.copy(3);
    let mut peers = [owner, member];
    peers[0].write(place, "b", "after the copy was made");
    peers[0].write(place, "a", "changed after it");
    settle(&mut peers, context);
    // The device itself is gone; its old copy takes its place.
    let [_, member] = peers;
    let old_writer = writers_in_use(&copy);
    let mut peers = [copy, member];
    settle(&mut peers, context);
    assert_eq!(peers[0].notes(), peers[1].notes());
    peers[0].write(place, "c", "goes on");
    assert_ne!(writers_in_use(&peers[0]), old_writer);
    come_to_rest(&mut peers, context);
    assert_eq!(ids(&peers[1]), ["a", "b", "c"]);
    for peer in &peers {
        assert_eq!(peer.device.forks().unwrap(), []);
    }
    let roster = peers[1].device.roster(context).unwrap();
    assert!(roster.writer(old_writer).unwrap().closed.is_some());
    assert_equal(&mut peers, context, place);
}

#[test]
fn a_claim_to_know_more_makes_the_next_write_safe() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    let place = everyone(context);
    owner.write(place, "a", "before");
    let mut copy = owner.copy(3);
    owner.write(place, "b", "after");
    synchronise(&mut owner, &mut member, context);
    let claimed = member.device.frontier(place).unwrap();
    assert_eq!(copy.device.compare_frontier(place, &claimed).unwrap(), []);
    // Written before the tail has come: under another name, so it forks nothing.
    copy.write(place, "c", "at once");
    let mut peers = [copy, member];
    come_to_rest(&mut peers, context);
    assert_eq!(ids(&peers[0]), ["a", "b", "c"]);
    assert_eq!(peers[0].device.forks().unwrap(), []);
    assert_equal(&mut peers, context, place);
}

/// A device, its copy and a member; device and copy have both written since.
fn two_stories(division: Division) -> ([Peer; 3], ContextId) {
    let (mut owner, mut member, context) = pair(division, Role::Member);
    let place = everyone(context);
    for number in 0..3 {
        owner.write(place, &format!("shared {number}"), "x");
    }
    synchronise(&mut owner, &mut member, context);
    let mut copy = owner.copy(3);
    owner.write(place, "device", "one");
    owner.write(place, "both", "of the device");
    copy.write(place, "copy", "other");
    copy.write(place, "both", "of the copy");
    ([owner, copy, member], context)
}

#[test]
fn two_copies_that_meet_go_on_under_new_writers() {
    let (mut peers, context) = two_stories(Division::Single);
    let place = everyone(context);
    let old = writers_in_use(&peers[0]);
    assert_eq!(writers_in_use(&peers[1]), old);
    let (device, rest) = peers.split_at_mut(1);
    synchronise(&mut device[0], &mut rest[0], context);
    device[0].write(place, "device later", "x");
    rest[0].write(place, "copy later", "x");
    let (one, other) = (writers_in_use(&device[0]), writers_in_use(&rest[0]));
    assert!(one != other && one != old && other != old);
    come_to_rest(&mut peers, context);
    assert_eq!(
        ids(&peers[2]),
        [
            "both",
            "copy",
            "copy later",
            "device",
            "device later",
            "shared 0",
            "shared 1",
            "shared 2"
        ]
    );
    assert_equal(&mut peers, context, place);
    for peer in &peers {
        let forks = peer.device.forks().unwrap();
        let [fork] = &forks[..] else {
            panic!("{forks:?}")
        };
        assert_eq!((fork.writer, fork.is_closed), (old, true));
        assert_eq!(fork.branches.len(), 2);
        assert!(fork.branches.iter().all(|branch| branch.first == Seq(4)));
        for branch in &fork.branches {
            assert_eq!(peer.device.user_of(context, branch.name), fork.user);
        }
    }
}

#[test]
fn two_copies_that_only_meet_others_are_found_out_by_these() {
    let (mut peers, context) = two_stories(Division::Single);
    let place = everyone(context);
    let [owner, copy, member] = &mut peers;
    synchronise(owner, member, context);
    // Builds on one story before the other is known.
    member.write(place, "both", "of the member");
    member.write(place, "device", "changed by the member");
    let mut late = Peer::new(9);
    join(&mut late, copy, context);
    late.write(place, "copy", "changed by the late one");
    synchronise(member, &mut late, context);
    synchronise(&mut late, owner, context);
    synchronise(&mut late, copy, context);
    let [owner, copy, member] = peers;
    let mut peers = [owner, copy, member, late];
    come_to_rest(&mut peers, context);
    assert_equal(&mut peers, context, place);
    let notes = peers[1].notes();
    let title = |id: &str| notes.iter().find(|note| note.0 == id).unwrap().2.clone();
    assert_eq!(title("device").unwrap(), "changed by the member");
    assert_eq!(title("copy").unwrap(), "changed by the late one");
}

pub(crate) fn join(newcomer: &mut Peer, host: &mut Peer, context: ContextId) {
    use crate::club::carry_control;
    let (link, secret) = host.invite(context, Role::Member, 1);
    newcomer
        .device
        .start_join(link, secret, aeroedge_log::invite::Stretch::FOR_TESTS)
        .unwrap();
    carry_control(host, newcomer, context);
    synchronise(host, newcomer, context);
}

#[test]
fn three_copies_are_three_stories() {
    let (mut owner, member, context) = pair(Division::Single, Role::Member);
    let place = everyone(context);
    owner.write(place, "shared", "x");
    let mut second = owner.copy(3);
    owner.write(place, "one", "x");
    let mut third = owner.copy(4);
    owner.write(place, "one more", "x");
    second.write(place, "two", "x");
    third.write(place, "three", "x");
    let mut peers = [owner, second, third, member];
    come_to_rest(&mut peers, context);
    assert_eq!(
        ids(&peers[3]),
        ["one", "one more", "shared", "three", "two"]
    );
    let forks = peers[3].device.forks().unwrap();
    // The first fork lies before the second: one branch is forked again.
    assert_eq!(forks[0].branches.len(), 4);
    assert_eq!(
        forks[0]
            .branches
            .iter()
            .filter(|branch| branch.is_forked)
            .count(),
        1
    );
    assert_equal(&mut peers, context, place);
}

#[test]
fn a_fork_in_a_divided_context_concerns_every_compartment() {
    let ([mut owner, mut copy, member], context) = two_stories(Division::Divided);
    let staff = Audience::Staff.compartment(context);
    owner.write(staff, "staff of the device", "x");
    copy.write(staff, "staff of the copy", "x");
    copy.write(staff, "more of the copy", "x");
    let mut peers = [owner, copy, member];
    come_to_rest(&mut peers, context);
    let [owner, copy, _] = &mut peers;
    assert_eq!(owner.notes(), copy.notes());
    assert_eq!(owner.device.forks().unwrap().len(), 2);
    assert_eq!(
        owner.device.engine_digest().unwrap(),
        copy.device.engine_digest().unwrap()
    );
    assert!(peers[2].notes().iter().all(|note| note.1 != staff.0));
}

#[test]
fn what_a_copy_wrote_after_the_old_writer_was_closed_counts_too() {
    let (mut peers, context) = two_stories(Division::Single);
    let place = everyone(context);
    let [owner, copy, member] = &mut peers;
    synchronise(owner, copy, context);
    // A third copy of the device, of which nobody knows.
    let mut third = {
        let ([_, third, _], _) = two_stories(Division::Single);
        third
    };
    third.write(place, "never heard of", "x");
    for step in 0..2 {
        let now = Millis(NOW.0 + step * CLOSE_AFTER_MS);
        owner.device.tend_copies(now, &mut owner.rng).unwrap();
    }
    synchronise(owner, member, context);
    let before = member.notes();
    // The copy has not heard that the writer is closed, and goes on under another one; the closing device learns nothing more of the old.
    copy.write(place, "copy later", "x");
    synchronise(copy, member, context);
    assert!(before.iter().all(|note| member.notes().contains(note)));
    come_to_rest(&mut peers, context);
    assert_equal(&mut peers, context, place);
    assert!(ids(&peers[2]).contains(&"copy later".to_owned()));
}

#[test]
fn entries_that_follow_another_story_ask_for_the_whole() {
    let ([owner, copy, mut member], context) = two_stories(Division::Single);
    let place = everyone(context);
    let batch = |runs| [(context, place, runs)];
    member
        .device
        .receive_entries(&batch(offered(&owner.device, place)), NOW)
        .unwrap();
    let mut tail = offered(&copy.device, place);
    tail[0].entries.drain(..4);
    tail[0].first = Seq(5);
    let received = member.device.receive_entries(&batch(tail), NOW).unwrap();
    assert_eq!(received.declined[0].1, Declined::OtherStory);
    assert!(received.forked.is_empty());
    // Both at the same number with another entry: the frontiers say so.
    let theirs = copy.device.frontier(place).unwrap();
    let differ = member.device.compare_frontier(place, &theirs).unwrap();
    assert_eq!(differ, [writers_in_use(&copy)]);
    let received = member
        .device
        .receive_entries(&batch(offered(&copy.device, place)), NOW)
        .unwrap();
    assert_eq!(received.forked, [writers_in_use(&copy)]);
    assert_eq!(member.device.forks().unwrap()[0].branches.len(), 2);
}

//! Stories that nobody signed, and more of them than anyone needs.

use aeroedge_crdt::hlc::Hlc;
use aeroedge_device::{Declined, KeyStore};
use aeroedge_ids::{ContextId, EntryHash, Millis, Seq, TransactionId};
use aeroedge_log::compartment::Division;
use aeroedge_log::control::Role;
use aeroedge_log::entry::{Body, EntryFields, EntryRef, Sealer};
use aeroedge_log::head::Head;
use aeroedge_protocol::{Run, WireHead};

use super::{assert_equal, offered, settle};
use crate::club::{NOW, Peer, everyone, pair, synchronise};
use crate::forging::{note_titled, writing_point};

/// An entry of `by` in its first log after `previous`, at a position of its choice.
fn equivocate(
    by: &mut Peer,
    context: ContextId,
    (seq, previous): (Seq, EntryHash),
    title: &str,
    more_parts: bool,
    part: u32,
) -> (Vec<u8>, EntryHash) {
    let secrets = by.keys.load().unwrap();
    let point = writing_point(by, context);
    let mut body = Vec::new();
    let changes = note_titled(context, title);
    Body {
        transaction: TransactionId([1; 16]),
        part,
        others: Vec::new(),
        seen: Vec::new(),
        changes: &changes,
    }
    .encode(&mut body);
    let fields = EntryFields {
        context,
        compartment: everyone(context),
        writer: secrets.writer(context).unwrap().key(),
        seq,
        previous,
        hlc: Hlc::at(Millis(NOW.0 + 1)),
        epoch: point.epoch,
        schema_version: 1,
        heads: point.heads.clone(),
        more_parts,
    };
    let sealed = Sealer::new()
        .unwrap()
        .seal(&fields, &body, &point.key, &mut by.rng)
        .unwrap();
    (sealed.bytes, sealed.hash)
}

fn signed(by: &Peer, context: ContextId, first: Seq, entries: Vec<(Vec<u8>, EntryHash)>) -> Run {
    let secrets = by.keys.load().unwrap();
    let secret = secrets.writer(context).unwrap();
    let last = Seq(first.0 + entries.len() as u64 - 1);
    let hash = entries.last().unwrap().1;
    let head = Head::sign(everyone(context), last, hash, secret);
    Run {
        writer: secret.key(),
        first,
        entries: entries.into_iter().map(|(bytes, _)| bytes).collect(),
        head: Some(WireHead {
            seq: last,
            hash,
            signature: head.signature,
        }),
    }
}

/// The end of what a member wrote.
fn end(of: &Peer, context: ContextId) -> (Seq, EntryHash) {
    let secrets = of.keys.load().unwrap();
    let writer = secrets.writer(context).unwrap().key();
    let runs = offered(&of.device, everyone(context));
    let run = runs.iter().rfind(|run| run.writer == writer).unwrap();
    let hash = EntryRef::parse(run.entries.last().unwrap()).unwrap().hash();
    (run.last(), hash)
}

#[test]
fn a_story_that_nobody_signed_proves_nothing() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    let place = everyone(context);
    member.write(place, "a", "x");
    let before = end(&member, context);
    member.write(place, "b", "x");
    synchronise(&mut owner, &mut member, context);
    let (seq, hash) = before;
    let other = equivocate(&mut member, context, (seq.next(), hash), "forged", false, 0);
    let mut run = signed(&member, context, seq.next(), vec![other]);
    if let Some(head) = &mut run.head {
        head.signature[0] ^= 1;
    }
    for run in [run.clone(), Run { head: None, ..run }] {
        owner
            .device
            .receive_entries(&[(context, place, vec![run])], NOW)
            .unwrap();
        assert_eq!(owner.device.forks().unwrap(), []);
        assert_eq!(owner.notes(), member.notes());
    }
    // Nor does it stand in the way of what is true.
    member.write(place, "c", "x");
    synchronise(&mut owner, &mut member, context);
    assert_eq!(owner.notes(), member.notes());
    assert_eq!(
        owner.device.engine_digest().unwrap(),
        member.device.engine_digest().unwrap()
    );
}

#[test]
fn more_stories_than_an_act_can_name_are_declined() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    let place = everyone(context);
    member.write(place, "a", "x");
    synchronise(&mut owner, &mut member, context);
    let (seq, hash) = end(&member, context);
    let mut declined = Vec::new();
    for number in 0..20 {
        let title = format!("story {number}");
        let entry = equivocate(&mut member, context, (seq.next(), hash), &title, false, 0);
        let run = signed(&member, context, seq.next(), vec![entry]);
        let received = owner
            .device
            .receive_entries(&[(context, place, vec![run])], NOW)
            .unwrap();
        declined.extend(received.declined.into_iter().map(|(_, reason)| reason));
    }
    assert_eq!(declined, [Declined::TooManyStories; 4]);
    assert_eq!(owner.device.forks().unwrap()[0].branches.len(), 16);
}

#[test]
fn a_transaction_that_two_stories_share_in_part_counts_in_none() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    let place = everyone(context);
    member.write(place, "a", "x");
    synchronise(&mut owner, &mut member, context);
    let mut third = Peer::new(7);
    super::join(&mut third, &mut owner, context);
    let (seq, hash) = end(&member, context);
    let first = equivocate(&mut member, context, (seq.next(), hash), "part 0", true, 0);
    let next = (Seq(seq.0 + 2), first.1);
    let one = equivocate(&mut member, context, next, "one end", false, 1);
    let other = equivocate(&mut member, context, next, "another end", false, 1);
    let stories = [
        signed(&member, context, seq.next(), vec![first.clone(), one]),
        signed(&member, context, seq.next(), vec![first, other]),
    ];
    for (peer, order) in [(&mut owner, [0, 1]), (&mut third, [1, 0])] {
        for story in order {
            let run = stories[story].clone();
            peer.device
                .receive_entries(&[(context, place, vec![run])], NOW)
                .unwrap();
        }
        assert_eq!(peer.notes().len(), 1, "{:?}", peer.notes());
    }
    let mut peers = [owner, third];
    settle(&mut peers, context);
    assert_equal(&mut peers, context, place);
}

#[test]
fn whoever_goes_on_with_both_stories_is_followed_in_both() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    let place = everyone(context);
    member.write(place, "a", "x");
    synchronise(&mut owner, &mut member, context);
    let mut third = Peer::new(7);
    super::join(&mut third, &mut owner, context);
    let mut twin = member.copy(8);
    // A changed program: it knows of its twin and does not care, so neither hears of the other.
    for round in 0..3 {
        member.write(place, &format!("one {round}"), "x");
        twin.write(place, &format!("two {round}"), "x");
        for (from, to) in [(&member, &mut owner), (&twin, &mut third)] {
            let runs = offered(&from.device, place);
            to.device
                .receive_entries(&[(context, place, runs)], NOW)
                .unwrap();
        }
        synchronise(&mut owner, &mut third, context);
    }
    let mut peers = [owner, third];
    settle(&mut peers, context);
    assert_equal(&mut peers, context, place);
    assert_eq!(peers[0].notes().len(), 7);
    let forks = peers[1].device.forks().unwrap();
    assert!(!forks[0].is_closed);
    assert!(forks[0].branches.iter().all(|branch| branch.last == Seq(4)));
}

//! Changing who may do what, and how far what was written before still counts.

use aeroedge_ids::{EntryHash, Seq};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::context::open_writer;
use aeroedge_log::control::{Action, CutOff, RemoveMember, Role, SetRole};
use aeroedge_log::entry::WriterTag;
use aeroedge_log::history::{Chain, Claim, Refusal, UnknownChain};
use aeroedge_log::roster::Rejection;

use crate::world::{Device, SECRET, rights};

#[test]
fn each_role_can_do_what_it_should_and_no_more() {
    let mut owner = Device::founder(1, Division::Single);
    let mut admin = owner.admit(2, rights(Role::Admin, &[]));
    let mut manager = owner.admit(3, rights(Role::Manager, &[]));
    let mut member = owner.admit(4, rights(Role::Member, &[]));
    for device in [&mut admin, &mut manager, &mut member] {
        device.pull(&owner);
    }
    let set = |device: &Device, role| {
        Action::SetRole(SetRole {
            user: device.user,
            rights: rights(role, &[]),
            cut_offs: Vec::new(),
        })
    };
    let remove = |device: &Device| {
        Action::RemoveMember(RemoveMember {
            user: device.user,
            cut_offs: Vec::new(),
        })
    };
    let check = |by: &Device, action: Action, expected: Option<Rejection>| {
        let entry = aeroedge_log::context::act(
            &by.history,
            &by.secrets,
            aeroedge_crdt::hlc::Hlc::ZERO,
            action,
        );
        assert_eq!(
            by.history.would_reject(&entry),
            expected,
            "{:?}",
            entry.action()
        );
    };
    check(&owner, set(&admin, Role::Owner), None);
    check(
        &owner,
        set(&owner, Role::Member),
        Some(Rejection::LastOwner),
    );
    check(&owner, remove(&owner), Some(Rejection::LastOwner));
    check(&admin, set(&member, Role::Admin), None);
    check(
        &admin,
        set(&member, Role::Owner),
        Some(Rejection::GrantsTooMuch),
    );
    check(&admin, remove(&owner), Some(Rejection::NoRight));
    check(&admin, remove(&manager), None);
    check(
        &manager,
        set(&member, Role::ReadOnly),
        Some(Rejection::NoRight),
    );
    check(&manager, remove(&member), Some(Rejection::NoRight));
    check(&member, remove(&member), None);
    check(&member, remove(&manager), Some(Rejection::NoRight));
    check(
        &member,
        Action::Unknown {
            number: 900,
            body: vec![0x90],
        },
        Some(Rejection::UnknownAction),
    );
    let stranger = Device::new(9, owner.history.context());
    let entry = aeroedge_log::context::act(
        &owner.history,
        &stranger.secrets,
        aeroedge_crdt::hlc::Hlc::ZERO,
        Action::Acknowledge,
    );
    assert_eq!(
        owner.history.would_reject(&entry),
        Some(Rejection::NotAMember)
    );
}

#[test]
fn what_a_removed_member_wrote_counts_up_to_the_cut_off_whatever_head_it_names() {
    let mut owner = Device::founder(1, Division::Single);
    let member = owner.admit(2, rights(Role::Member, &[]));
    let before = |seq| member.claim(Audience::Everyone, seq);
    let writer = before(1).writer;
    let compartment = before(1).compartment;
    let cut_off = CutOff {
        writer,
        compartment,
        seq: Seq(5),
        hash: EntryHash([1; 32]),
    };
    let removal = owner.act(Action::RemoveMember(RemoveMember {
        user: member.user,
        cut_offs: vec![cut_off],
    }));

    assert!(owner.history.may_write(&before(5), &UnknownChain).is_ok());
    assert_eq!(
        owner.history.may_write(&before(6), &UnknownChain),
        Err(Refusal::ShutOut(removal.hash()))
    );
    let mut knowing = before(1);
    knowing.heads = owner.history.heads();
    assert_eq!(
        owner.history.may_write(&knowing, &UnknownChain),
        Err(Refusal::ShutOut(removal.hash()))
    );

    let roster = owner.history.roster().unwrap();
    assert!(!roster.may_read(member.user, compartment));
    assert_eq!(roster.audience(compartment).len(), 1);
    assert_eq!(
        roster.compartment(compartment).unwrap().exposed_by,
        [removal.hash()]
    );
}

#[test]
fn a_demoted_member_keeps_what_was_written_before() {
    let mut owner = Device::founder(1, Division::Divided);
    let mut teacher = owner.admit(2, rights(Role::Member, &["teaches", "bills"]));
    let old = teacher.claim(Audience::Staff, 3);
    let cut_off = CutOff {
        writer: old.writer,
        compartment: old.compartment,
        seq: Seq(3),
        hash: EntryHash([1; 32]),
    };
    owner.act(Action::SetRole(SetRole {
        user: teacher.user,
        rights: rights(Role::Member, &["teaches"]),
        cut_offs: vec![cut_off],
    }));
    let permissions = |claim| {
        let author = owner.history.may_write(claim, &UnknownChain).unwrap();
        author
            .rights
            .permissions
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(permissions(&old), ["bills", "teaches"]);
    let past = aeroedge_log::history::Claim {
        seq: Seq(4),
        ..old.clone()
    };
    assert_eq!(permissions(&past), ["teaches"]);
    teacher.pull(&owner);
    assert_eq!(permissions(&teacher.claim(Audience::Staff, 4)), ["teaches"]);
}

#[test]
fn a_further_writer_counts_and_a_closed_one_does_not() {
    let mut owner = Device::founder(1, Division::Single);
    let old = owner.claim(Audience::Everyone, 1);
    let now = owner.now();
    let (opened, writer) = open_writer(&owner.history, &owner.secrets, now, &mut owner.rng);
    owner.insert(opened);
    owner.secrets.add_writer(owner.history.context(), writer);
    owner.act(Action::CloseWriter {
        writer: old.writer,
        cut_offs: Vec::new(),
    });
    assert!(matches!(
        owner.history.may_write(&old, &UnknownChain),
        Err(Refusal::ShutOut(_))
    ));
    assert!(
        owner
            .history
            .may_write(&owner.claim(Audience::Everyone, 1), &UnknownChain)
            .is_ok()
    );
}

#[test]
fn who_was_taken_back_in_writes_again_knowing_it() {
    let mut owner = Device::founder(1, Division::Single);
    let mut member = owner.admit(2, rights(Role::Member, &[]));
    let unknowing = member.claim(Audience::Everyone, 1);
    owner.act(Action::RemoveMember(RemoveMember {
        user: member.user,
        cut_offs: Vec::new(),
    }));
    owner.act(Action::SetRole(SetRole {
        user: member.user,
        rights: rights(Role::Admin, &[]),
        cut_offs: Vec::new(),
    }));
    member.pull(&owner);
    assert!(matches!(
        owner.history.may_write(&unknowing, &UnknownChain),
        Err(Refusal::ShutOut(_))
    ));
    let author = owner
        .history
        .may_write(&member.claim(Audience::Everyone, 1), &UnknownChain)
        .unwrap();
    assert_eq!(author.rights.role, Role::Admin);
}

/// A log of which one entry is known.
struct Holding(Seq, EntryHash);

impl Chain for Holding {
    fn contains(&self, seq: Seq, hash: EntryHash) -> Option<bool> {
        (seq == self.0).then_some(hash == self.1)
    }
}

#[test]
fn below_a_cut_off_only_the_branches_it_names_count() {
    let mut owner = Device::founder(1, Division::Single);
    let member = owner.admit(2, rights(Role::Member, &[]));
    let claim = |seq| member.claim(Audience::Everyone, seq);
    let cut_off = |seq, hash| CutOff {
        writer: claim(1).writer,
        compartment: claim(1).compartment,
        seq: Seq(seq),
        hash: EntryHash([hash; 32]),
    };
    let closing = owner.act(Action::CloseWriter {
        writer: claim(1).writer,
        cut_offs: vec![cut_off(5, 1), cut_off(7, 2)],
    });
    let check = |seq, chain: &dyn Chain, counts: bool| {
        let expected = if counts {
            Ok(())
        } else {
            Err(Refusal::ShutOut(closing.hash()))
        };
        let found = owner.history.may_write(&claim(seq), chain).map(|_| ());
        assert_eq!(found, expected, "entry {seq}");
        let entry = (claim(seq).writer, claim(seq).compartment, Seq(seq));
        assert_eq!(
            owner.history.is_settled(entry.0, entry.1, entry.2, chain),
            !counts,
            "entry {seq}"
        );
    };
    let (first, second) = (EntryHash([1; 32]), EntryHash([2; 32]));
    check(5, &Holding(Seq(5), first), true);
    check(6, &Holding(Seq(7), EntryHash([3; 32])), false);
    check(5, &Holding(Seq(5), EntryHash([3; 32])), true);
    check(7, &Holding(Seq(7), second), true);
    check(7, &Holding(Seq(7), first), false);
    check(8, &Holding(Seq(7), second), false);
    check(7, &UnknownChain, true);
    check(8, &UnknownChain, false);
}

#[test]
fn nobody_waits_for_a_writer_that_was_turned_away() {
    let mut owner = Device::founder(1, Division::Single);
    let seed = owner.invite(rights(Role::Member, &[]), 1);
    let mut joiners: Vec<_> = (10..12)
        .map(|number| {
            let mut joiner = Device::new(number, owner.history.context());
            joiner.pull(&owner);
            joiner.try_join(&seed, SECRET).unwrap();
            joiner
        })
        .collect();
    let settled = |owner: &Device, joiner: &Device| {
        let claim = joiner.claim(Audience::Everyone, 1);
        let tag = WriterTag::of(&claim.writer);
        let called: Vec<_> = owner
            .history
            .roster()
            .unwrap()
            .writers_called(tag)
            .collect();
        let settled =
            owner
                .history
                .is_settled(claim.writer, claim.compartment, Seq(1), &UnknownChain);
        (called.contains(&claim.writer), settled)
    };
    assert_eq!(settled(&owner, &joiners[0]), (false, false));
    for joiner in &mut joiners {
        owner.pull(joiner);
    }
    let mut found: Vec<_> = joiners
        .iter()
        .map(|joiner| settled(&owner, joiner))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [(true, false), (true, true)]);
}

#[test]
fn two_copies_of_a_device_each_close_what_they_know_and_both_branches_count() {
    let mut owner = Device::founder(1, Division::Single);
    let mut member = owner.admit(2, rights(Role::Member, &[]));
    let first = member.claim(Audience::Everyone, 1);
    let claim = |seq| Claim {
        seq: Seq(seq),
        ..first.clone()
    };
    let cut_off = |seq, hash| CutOff {
        writer: claim(1).writer,
        compartment: claim(1).compartment,
        seq: Seq(seq),
        hash: EntryHash([hash; 32]),
    };
    let claims = [claim(4), claim(5), claim(8), claim(9)];
    // One knows its own branch to 8 and the other's to 4, the other the other way about.
    let by_one = vec![cut_off(4, 2), cut_off(8, 1)];
    let by_other = vec![cut_off(3, 1), cut_off(8, 2)];
    let writer = claim(1).writer;
    let mut copy = member.twin();
    member.act(Action::CloseWriter {
        writer,
        cut_offs: by_one,
    });
    copy.act(Action::CloseWriter {
        writer,
        cut_offs: by_other,
    });
    owner.pull(&copy);
    owner.pull(&member);
    for branch in [1, 2] {
        let chain = Holding(Seq(8), EntryHash([branch; 32]));
        for (claim, counts) in claims.iter().zip([true, true, true, false]) {
            assert_eq!(owner.history.may_write(claim, &chain).is_ok(), counts);
            let (writer, compartment) = (claim.writer, claim.compartment);
            let settled = owner
                .history
                .is_settled(writer, compartment, claim.seq, &chain);
            assert_eq!(settled, !counts);
        }
    }
    // An admin's closing limits them all.
    owner.act(Action::CloseWriter {
        writer,
        cut_offs: vec![cut_off(5, 1)],
    });
    let chain = Holding(Seq(8), EntryHash([1; 32]));
    for (claim, counts) in claims.iter().zip([true, true, false, false]) {
        assert_eq!(owner.history.may_write(claim, &chain).is_ok(), counts);
    }
}

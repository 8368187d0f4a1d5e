//! A club from its first day: who may read and write what, and what a wrong secret does.

use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::context::JoinError;
use aeroedge_log::control::{Action, Role};
use aeroedge_log::history::{Refusal, UnknownChain};
use aeroedge_log::invite::{InviteSeed, PackageError};
use aeroedge_log::roster::Rejection;

use crate::world::{Device, SECRET, rights};

#[test]
fn a_member_reads_and_writes_what_everyone_may() {
    let mut founder = Device::founder(1, Division::Single);
    let member = founder.admit(2, rights(Role::Member, &[]));
    let everyone = founder.compartment(Audience::Everyone);
    let roster = founder.history.roster().unwrap();
    assert!(roster.rejected().is_empty(), "{:?}", roster.rejected());
    assert_eq!(roster.members().count(), 2);
    assert_eq!(roster.compartments().count(), 1);

    let (founder_key, member_key) = (
        founder.ring().current(&roster, everyone),
        member.ring().current(&roster, everyone),
    );
    assert!(founder_key.is_some());
    assert_eq!(founder_key, member_key);

    let author = founder
        .history
        .may_write(&member.claim(Audience::Everyone, 1), &UnknownChain)
        .unwrap();
    assert_eq!(
        (author.user, author.rights.role),
        (member.user, Role::Member)
    );
}

#[test]
fn a_divided_context_keeps_each_audience_to_itself() {
    let mut founder = Device::founder(1, Division::Divided);
    let mut instructor = founder.admit(2, rights(Role::Member, &["teaches"]));
    let student = founder.admit(3, rights(Role::Member, &[]));
    instructor.pull(&founder);
    let roster = founder.history.roster().unwrap();
    assert!(roster.rejected().is_empty(), "{:?}", roster.rejected());
    let staff = founder.compartment(Audience::Staff);
    let own = founder.compartment(Audience::Person(student.user));
    let others = founder.compartment(Audience::Person(instructor.user));

    // The instructor joined with the staff key and reaches the student's compartment through it.
    for (device, readable) in [
        (&founder, [true, true, true]),
        (&instructor, [true, true, true]),
        (&student, [false, true, false]),
    ] {
        for (compartment, expected) in [staff, own, others].into_iter().zip(readable) {
            assert_eq!(
                device.ring().current(&roster, compartment).is_some(),
                expected
            );
            assert_eq!(roster.may_read(device.user, compartment), expected);
        }
    }
    assert_eq!(founder.ring().owed(&roster), 0);
    assert_eq!(roster.audience(own).len(), 3);
    assert_eq!(roster.audience(others).len(), 2);

    let mut claim = student.claim(Audience::Person(student.user), 1);
    assert!(founder.history.may_write(&claim, &UnknownChain).is_ok());
    claim.compartment = staff;
    assert_eq!(
        founder.history.may_write(&claim, &UnknownChain),
        Err(Refusal::NotInAudience(staff))
    );
}

#[test]
fn a_wrong_secret_says_so_and_leaves_nothing_behind() {
    let mut founder = Device::founder(1, Division::Divided);
    let seed = founder.invite(rights(Role::Member, &[]), 1);
    let mut joiner = Device::new(2, founder.history.context());
    assert_eq!(joiner.try_join(&seed, SECRET), Err(JoinError::NoHistory));
    joiner.pull(&founder);
    let before = joiner.history.len();
    assert_eq!(
        joiner.try_join(&seed, "lusab-babad-gutih-tugat"),
        Err(PackageError::WrongSecret.into())
    );
    assert_eq!(
        joiner.try_join(&InviteSeed::from_bytes([1; 32]), SECRET),
        Err(JoinError::UnknownInvite)
    );
    assert_eq!(joiner.history.len(), before);
    assert!(joiner.secrets.contexts().next().is_none());

    joiner.try_join(&seed, &SECRET.to_uppercase()).unwrap();
    assert_eq!(
        joiner.try_join(&seed, SECRET),
        Err(JoinError::AlreadyMember)
    );
    let mut late = Device::new(3, founder.history.context());
    late.pull(&joiner);
    assert_eq!(late.try_join(&seed, SECRET), Err(JoinError::UsedUp));
}

#[test]
fn a_read_only_member_reads_and_writes_nothing() {
    let mut founder = Device::founder(1, Division::Single);
    let reader = founder.admit(2, rights(Role::ReadOnly, &[]));
    let roster = founder.history.roster().unwrap();
    assert!(
        reader
            .ring()
            .current(&roster, founder.compartment(Audience::Everyone))
            .is_some()
    );
    assert_eq!(
        founder
            .history
            .may_write(&reader.claim(Audience::Everyone, 1), &UnknownChain),
        Err(Refusal::ReadOnly)
    );
}

#[test]
fn a_withdrawn_invite_lets_nobody_in() {
    let mut founder = Device::founder(1, Division::Single);
    let seed = founder.invite(rights(Role::Member, &[]), 5);
    let mut early = Device::new(4, founder.history.context());
    early.pull(&founder);
    early.try_join(&seed, SECRET).unwrap();
    founder.pull(&early);
    let mut unknowing = Device::new(2, founder.history.context());
    unknowing.pull(&founder);
    founder.act(Action::VoidInvite(seed.key()));
    let mut late = Device::new(3, founder.history.context());
    late.pull(&founder);
    assert_eq!(late.try_join(&seed, SECRET), Err(JoinError::Void));

    // Not who could not know of it either: else anyone who was shut out could claim not to.
    unknowing.try_join(&seed, SECRET).unwrap();
    let join = unknowing.history.heads()[0];
    founder.pull(&unknowing);
    let roster = founder.history.roster().unwrap();
    assert!(roster.member(early.user).unwrap().is_active());
    assert!(roster.member(unknowing.user).is_none());
    assert_eq!(roster.rejected()[&join], Rejection::InviteVoid);
}

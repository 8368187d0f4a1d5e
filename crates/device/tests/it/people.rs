//! Removing, leaving, other roles, lost devices: what each device has and may do afterwards.

use aeroedge_device::{Device, MembershipError, SealingError, WriteError};
use aeroedge_ids::{ContextId, Millis, UserId};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::control::{Permission, Rights, Role};
use aeroedge_log::invite::Stretch;
use aeroedge_protocol::Credential;
use rusqlite::{Connection, params};

use crate::club::{NOW, Peer, carry_control, everyone, pair, synchronise};

fn join(owner: &mut Peer, number: u8, context: ContextId, role: Role) -> Peer {
    let mut peer = Peer::new(number);
    let (link, secret) = owner.invite(context, role, 1);
    peer.device
        .start_join(link, secret, Stretch::FOR_TESTS)
        .unwrap();
    carry_control(owner, &mut peer, context);
    synchronise(owner, &mut peer, context);
    peer
}

fn refused_to_write(peer: &mut Peer, context: ContextId) -> SealingError {
    let error = peer.device.write(NOW, &mut peer.rng, |tx| {
        tx.execute(
            "INSERT INTO note(id, compartment_id, title) VALUES ('late', ?1, 'late')",
            params![everyone(context).0],
        )
    });
    match error.unwrap_err() {
        WriteError::Refused(refused) => refused,
        other => panic!("{other}"),
    }
}

fn titles(peer: &Peer) -> Vec<String> {
    peer.notes()
        .into_iter()
        .filter_map(|(_, _, title)| title)
        .collect()
}

#[test]
fn what_a_removed_member_wrote_before_stays_and_nothing_after_counts() {
    let (mut owner, mut removed, context) = pair(Division::Single, Role::Member);
    let mut third = join(&mut owner, 3, context, Role::Member);
    synchronise(&mut owner, &mut removed, context);
    removed.write(everyone(context), "a", "before");
    synchronise(&mut removed, &mut owner, context);
    removed.write(everyone(context), "b", "unsent");
    let user = removed.device.user();
    assert!(
        owner
            .device
            .remove_member(context, user, NOW, &mut owner.rng)
            .unwrap()
    );
    // The third hears of the removal first, and is given the later entry by the removed one itself.
    carry_control(&owner, &mut third, context);
    crate::club::carry(&removed, &mut third, context, everyone(context), 1 << 20);
    synchronise(&mut owner, &mut third, context);
    assert_eq!(titles(&owner), ["before"]);
    assert_eq!(titles(&third), ["before"]);
    owner.write(everyone(context), "c", "after");
    synchronise(&mut owner, &mut third, context);
    assert_eq!(titles(&third), ["before", "after"]);
    // The removed one may be handed everything: it has no key for what came after.
    carry_control(&owner, &mut removed, context);
    assert!(removed.device.compartments(context).is_empty());
    assert!(matches!(
        refused_to_write(&mut removed, context),
        SealingError::ShutOut
    ));
    assert_eq!(titles(&removed), ["before", "unsent"]);
}

#[test]
fn removing_twice_changes_nothing_the_second_time() {
    let (mut owner, member, context) = pair(Division::Divided, Role::Member);
    let user = member.device.user();
    let remove = |owner: &mut Peer| {
        owner
            .device
            .remove_member(context, user, NOW, &mut owner.rng)
    };
    assert!(remove(&mut owner).unwrap());
    let entries = owner.device.control_hashes(context).len();
    assert!(!remove(&mut owner).unwrap());
    assert_eq!(owner.device.control_hashes(context).len(), entries);
}

#[test]
fn a_removal_replaces_every_key_the_member_had() {
    let (mut owner, instructor, context) = pair(Division::Divided, Role::Manager);
    let mut student = join(&mut owner, 3, context, Role::Member);
    synchronise(&mut owner, &mut student, context);
    owner
        .device
        .remove_member(context, instructor.device.user(), NOW, &mut owner.rng)
        .unwrap();
    let roster = owner.device.roster(context).unwrap();
    for compartment in roster.compartments() {
        assert!(compartment.exposed_by.is_empty(), "{compartment:?}");
    }
    // Everyone, staff, the owner's, the instructor's and the student's own.
    assert_eq!(roster.compartments().count(), 5);
    carry_control(&owner, &mut student, context);
    let own = Audience::Person(student.device.user()).compartment(context);
    student.write(own, "s", "mine");
    synchronise(&mut student, &mut owner, context);
    assert_eq!(titles(&owner), ["mine"]);
}

#[test]
fn who_may_not_is_told_and_nothing_changes() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    let before = member.device.control_hashes(context).len();
    let (owner_user, member_user) = (owner.device.user(), member.device.user());
    let error = member
        .device
        .remove_member(context, owner_user, NOW, &mut member.rng)
        .unwrap_err();
    assert!(matches!(error, MembershipError::NoRight), "{error}");
    let error = member
        .device
        .set_role(
            context,
            member_user,
            Rights::of(Role::Owner),
            NOW,
            &mut member.rng,
        )
        .unwrap_err();
    assert!(matches!(error, MembershipError::NoRight), "{error}");
    let error = member
        .device
        .rotate(context, NOW, &mut member.rng)
        .unwrap_err();
    assert!(matches!(error, MembershipError::NoRight), "{error}");
    let error = owner
        .device
        .leave(context, NOW, &mut owner.rng)
        .unwrap_err();
    assert!(matches!(error, MembershipError::LastOwner), "{error}");
    let error = owner
        .device
        .remove_member(context, UserId([9; 16]), NOW, &mut owner.rng)
        .unwrap_err();
    assert!(matches!(error, MembershipError::UnknownMember), "{error}");
    assert_eq!(member.device.control_hashes(context).len(), before);
    member.write(everyone(context), "a", "still a member");
}

#[test]
fn who_leaves_keeps_what_there_is_and_others_start_new_keys_later() {
    let (mut owner, mut leaver, context) = pair(Division::Single, Role::Member);
    leaver.write(everyone(context), "a", "mine");
    assert!(leaver.device.leave(context, NOW, &mut leaver.rng).unwrap());
    assert!(matches!(
        refused_to_write(&mut leaver, context),
        SealingError::ShutOut
    ));
    assert_eq!(titles(&leaver), ["mine"]);
    carry_control(&leaver, &mut owner, context);
    // What was written before the leaving counts, also where it arrives after it.
    crate::club::carry(&leaver, &mut owner, context, everyone(context), 1 << 20);
    assert_eq!(titles(&owner), ["mine"]);
    let epoch = |owner: &Peer| {
        let roster = owner.device.roster(context).unwrap();
        roster.current_epoch(everyone(context))
    };
    let before = epoch(&owner);
    let soon = Millis(NOW.0 + 1_000);
    let later = Millis(NOW.0 + 20 * 60_000);
    assert_eq!(
        owner
            .device
            .start_overdue_epochs(soon, &mut owner.rng)
            .unwrap(),
        0
    );
    assert_eq!(
        owner
            .device
            .start_overdue_epochs(later, &mut owner.rng)
            .unwrap(),
        1
    );
    assert_eq!(
        owner
            .device
            .start_overdue_epochs(later, &mut owner.rng)
            .unwrap(),
        0
    );
    assert_ne!(epoch(&owner), before);
}

#[test]
fn promotion_opens_staff_records_and_demotion_closes_them() {
    let (mut owner, mut member, context) = pair(Division::Divided, Role::Member);
    let mut student = join(&mut owner, 3, context, Role::Member);
    let student_own = Audience::Person(student.device.user()).compartment(context);
    let staff = Audience::Staff.compartment(context);
    owner.write(staff, "s", "staff");
    student.write(student_own, "p", "student");
    synchronise(&mut owner, &mut student, context);
    synchronise(&mut owner, &mut member, context);
    assert!(titles(&member).is_empty());
    let user = member.device.user();
    let mut instructor = Rights::of(Role::Member);
    instructor
        .permissions
        .insert(Permission::new("instructor").unwrap());
    owner
        .device
        .set_role(context, user, instructor, NOW, &mut owner.rng)
        .unwrap();
    synchronise(&mut owner, &mut member, context);
    assert_eq!(titles(&member), ["student", "staff"]);
    owner
        .device
        .set_role(context, user, Rights::of(Role::Member), NOW, &mut owner.rng)
        .unwrap();
    owner.write(staff, "t", "later");
    synchronise(&mut owner, &mut student, context);
    student.write(student_own, "q", "later");
    synchronise(&mut owner, &mut student, context);
    synchronise(&mut owner, &mut member, context);
    assert!(!titles(&member).contains(&"later".to_owned()));
    assert_eq!(member.device.compartments(context).len(), 2);
    // It is offered nothing, and also what it is given all the same it cannot open.
    crate::club::carry(&owner, &mut member, context, staff, 1 << 20);
    assert!(!titles(&member).contains(&"later".to_owned()));
    let error = member.device.write(NOW, &mut member.rng, |tx| {
        tx.execute(
            "INSERT INTO note(id, compartment_id) VALUES ('x', ?1)",
            params![staff.0],
        )
    });
    assert!(matches!(
        error,
        Err(WriteError::Refused(SealingError::OutOfReach))
    ));
}

#[test]
fn a_rotation_voids_invites_and_reaches_everyone() {
    let (mut owner, mut member, context) = pair(Division::Divided, Role::Member);
    owner.invite(context, Role::Member, 1);
    assert_eq!(owner.device.open_invites(context, NOW).len(), 1);
    assert_eq!(
        owner.device.rotate(context, NOW, &mut owner.rng).unwrap(),
        4
    );
    assert!(owner.device.open_invites(context, NOW).is_empty());
    synchronise(&mut owner, &mut member, context);
    member.write(everyone(context), "a", "under the new key");
    synchronise(&mut member, &mut owner, context);
    assert_eq!(titles(&owner), ["under the new key"]);
}

#[test]
fn an_unknown_invite_is_not_voided() {
    let (mut owner, _, context) = pair(Division::Single, Role::Member);
    let unknown = aeroedge_ids::InviteKey([7; 32]);
    let error = owner.device.void_invite(context, unknown, NOW).unwrap_err();
    assert!(matches!(error, MembershipError::UnknownInvite), "{error}");
}

#[test]
fn one_act_that_fails_leaves_the_database_as_it_was() {
    let (mut owner, _, context) = pair(Division::Single, Role::Member);
    let count = |device: &Device| -> i64 {
        let sql = "SELECT count(*) FROM device_control";
        let connection: &Connection = device.connection();
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let before = count(&owner.device);
    let _ = owner
        .device
        .leave(context, NOW, &mut owner.rng)
        .unwrap_err();
    assert_eq!(count(&owner.device), before);
    owner.write(everyone(context), "a", "goes on");
}

#[test]
fn whoever_was_away_while_keys_were_replaced_is_still_found() {
    let (mut owner, other, context) = pair(Division::Single, Role::Member);
    for _ in 0..5 {
        owner.device.rotate(context, NOW, &mut owner.rng).unwrap();
    }
    let nonce = [7; 16];
    let from_afar = other.device.discovery_tags(&nonce, NOW);
    assert!(owner.device.recognises(&nonce, &from_afar, NOW));
    // Only the newest keys are announced, so whoever left long ago recognises nobody.
    let from_here = owner.device.discovery_tags(&nonce, NOW);
    assert!(!other.device.recognises(&nonce, &from_here, NOW));
    // On the link that follows, each greets under a key that the other knows.
    let keys = |peer: &Peer| -> Vec<[u8; 32]> {
        let credentials = peer.device.credentials(NOW);
        let of_members = credentials
            .into_iter()
            .filter_map(|credential| match credential {
                Credential::Member { link_keys, .. } => Some(link_keys),
                _ => None,
            });
        of_members.flatten().collect()
    };
    let known = keys(&owner);
    assert!(keys(&other).iter().any(|key| known.contains(key)));
}

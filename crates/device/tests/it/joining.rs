//! Becoming a member, and failing to.

use aeroedge_device::{JoinState, MembershipError};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::control::Role;
use aeroedge_log::invite::{Secret, Stretch};

use crate::club::{NOW, Peer, carry_control, everyone, pair, synchronise};

#[test]
fn a_joiner_reads_what_was_written_before_and_after() {
    let mut owner = Peer::new(1);
    let mut joiner = Peer::new(2);
    let context = owner.found(Division::Single);
    owner.write(everyone(context), "a", "before");
    let (link, secret) = owner.invite(context, Role::Member, 1);
    joiner
        .device
        .start_join(link, secret, Stretch::FOR_TESTS)
        .unwrap();
    assert_eq!(joiner.device.join_state(context), JoinState::Searching);
    carry_control(&owner, &mut joiner, context);
    assert_eq!(joiner.device.join_state(context), JoinState::Joined);
    owner.write(everyone(context), "b", "after");
    synchronise(&mut owner, &mut joiner, context);
    assert_eq!(joiner.notes(), owner.notes());
    assert_eq!(joiner.notes().len(), 2);
    joiner.write(everyone(context), "c", "back");
    synchronise(&mut joiner, &mut owner, context);
    assert_eq!(joiner.notes(), owner.notes());
    assert_eq!(owner.summary(context).members.len(), 2);
}

#[test]
fn a_wrong_secret_leaves_nothing_behind() {
    let mut owner = Peer::new(1);
    let mut joiner = Peer::new(2);
    let context = owner.found(Division::Divided);
    let (link, _) = owner.invite(context, Role::Member, 1);
    let wrong = Secret::generate(&mut joiner.rng);
    joiner
        .device
        .start_join(link, wrong, Stretch::FOR_TESTS)
        .unwrap();
    carry_control(&owner, &mut joiner, context);
    assert_eq!(joiner.device.join_state(context), JoinState::WrongSecret);
    joiner.device.cancel_join(context);
    assert!(joiner.device.contexts().is_empty());
    let stored: i64 = joiner
        .device
        .connection()
        .query_row("SELECT count(*) FROM device_control", [], |row| row.get(0))
        .unwrap();
    assert_eq!(stored, 0);
}

#[test]
fn a_joiner_hands_on_the_history_it_says_it_holds() {
    let mut owner = Peer::new(1);
    let mut joiner = Peer::new(2);
    let context = owner.found(Division::Single);
    let (link, _) = owner.invite(context, Role::Member, 1);
    let wrong = Secret::generate(&mut joiner.rng);
    joiner
        .device
        .start_join(link, wrong, Stretch::FOR_TESTS)
        .unwrap();
    carry_control(&owner, &mut joiner, context);
    let held = joiner.device.control_hashes(context);
    assert!(!held.is_empty());
    let handed_on = joiner.device.control_entries(context, &held, usize::MAX);
    assert_eq!(handed_on.len(), held.len());
}

#[test]
fn an_own_invite_is_refused_with_advice() {
    let mut owner = Peer::new(1);
    let context = owner.found(Division::Single);
    let (link, secret) = owner.invite(context, Role::Member, 1);
    let error = owner
        .device
        .start_join(link, secret, Stretch::FOR_TESTS)
        .unwrap_err();
    assert!(matches!(error, MembershipError::AlreadyMember), "{error}");
}

#[test]
fn a_used_invite_is_refused() {
    let (owner, _, context) = {
        let mut owner = Peer::new(1);
        let mut first = Peer::new(2);
        let context = owner.found(Division::Single);
        let (link, secret) = owner.invite(context, Role::Member, 1);
        first
            .device
            .start_join(link.clone(), secret.clone(), Stretch::FOR_TESTS)
            .unwrap();
        carry_control(&owner, &mut first, context);
        carry_control(&first, &mut owner, context);
        let mut second = Peer::new(3);
        second
            .device
            .start_join(link, secret, Stretch::FOR_TESTS)
            .unwrap();
        carry_control(&owner, &mut second, context);
        assert!(matches!(
            second.device.join_state(context),
            JoinState::Refused(_)
        ));
        (owner, first, context)
    };
    assert_eq!(owner.summary(context).members.len(), 2);
}

#[test]
fn a_member_of_a_divided_context_has_a_compartment_of_their_own() {
    let (owner, member, context) = pair(Division::Divided, Role::Member);
    assert_eq!(member.device.compartments(context).len(), 2);
    assert_eq!(owner.device.compartments(context).len(), 4);
}

/// The device as it would be in a copy of its database, with the same keys.
fn copy_of(peer: &Peer) -> aeroedge_device::Device {
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    rusqlite::backup::Backup::new(peer.device.connection(), &mut connection)
        .unwrap()
        .run_to_completion(1000, std::time::Duration::ZERO, None)
        .unwrap();
    aeroedge_device::Device::open(
        connection,
        Box::new(peer.keys.clone()),
        crate::club::options(Box::new(aeroedge_device::AllTables)),
        crate::club::NOW,
    )
    .unwrap()
}

#[test]
fn an_old_copy_writes_under_a_new_name_while_own_entries_wait() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    let old = copy_of(&member);
    // Written with the clock an hour ahead, so the copy cannot merge it yet.
    let later = aeroedge_ids::Millis(crate::club::NOW.0 + 3_600_000);
    let write = |peer: &mut Peer, now| {
        peer.device.write(now, &mut peer.rng, |tx| {
            tx.execute(
                "INSERT OR REPLACE INTO note(id, compartment_id) VALUES ('a', ?1)",
                [everyone(context).0],
            )
        })
    };
    write(&mut member, later).unwrap();
    member.device.make_durable().unwrap();
    synchronise(&mut member, &mut owner, context);
    member.device = old;
    synchronise(&mut owner, &mut member, context);
    assert_eq!(member.device.waiting().len(), 1);
    write(&mut member, crate::club::NOW).unwrap();
    member.device.make_durable().unwrap();
    for peer in [&mut member, &mut owner] {
        peer.device.merge_waiting(later).unwrap();
    }
    synchronise(&mut member, &mut owner, context);
    assert_eq!(member.device.forks().unwrap(), []);
    assert_eq!(member.notes(), owner.notes());
    assert_eq!(
        member.device.engine_digest().unwrap(),
        owner.device.engine_digest().unwrap()
    );
}

#[test]
fn a_reopened_device_is_the_same_member() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    member.write(everyone(context), "a", "one");
    member.device = copy_of(&member);
    member.write(everyone(context), "b", "two");
    synchronise(&mut member, &mut owner, context);
    assert_eq!(owner.notes().len(), 2);
}

#[test]
fn a_device_can_move_to_the_thread_that_will_own_it() {
    fn moves<T: Send>() {}
    moves::<aeroedge_device::Device>();
}

#[test]
fn a_context_is_founded_with_its_first_records_or_not_at_all() {
    let mut one = Peer::new(1);
    let held = |one: &Peer| -> (usize, i64, i64) {
        let count = |table: &str| {
            let question = format!("SELECT count(*) FROM {table}");
            let connection = one.device.connection();
            connection
                .query_row(&question, [], |row| row.get(0))
                .unwrap()
        };
        (
            one.device.contexts().len(),
            count("device_control"),
            count("note"),
        )
    };
    let found = |one: &mut Peer, title: Option<&str>| {
        one.device.found_context(
            Division::Single,
            "club",
            NOW,
            &mut one.rng,
            |transaction, context| {
                let everyone = Audience::Everyone.compartment(context);
                transaction.execute(
                    "INSERT INTO note(id, compartment_id, title) VALUES ('first', ?1, ?2)",
                    rusqlite::params![everyone.0, title],
                )?;
                title.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
                Ok::<_, rusqlite::Error>(())
            },
        )
    };
    found(&mut one, None).unwrap_err();
    assert_eq!(held(&one), (0, 0, 0));
    let (context, ()) = found(&mut one, Some("hello")).unwrap();
    let (contexts, entries, notes) = held(&one);
    assert_eq!((contexts, notes), (1, 1));
    assert!(entries > 0);
    found(&mut one, None).unwrap_err();
    assert_eq!(held(&one), (contexts, entries, notes));
    assert_eq!(one.device.contexts()[0].id, context);
    // The failed attempts left nothing that would be sealed, signed or carried.
    assert!(one.device.make_durable().unwrap());
    assert!(!one.device.make_durable().unwrap());
}

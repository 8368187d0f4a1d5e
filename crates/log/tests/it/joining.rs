//! Joining against limits: expiry, uses and the rights of those who invite.

use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::context::{InviteError, InviteTerms, invite};
use aeroedge_log::control::{Action, Role};
use aeroedge_log::invite::{Secret, Stretch};
use aeroedge_log::roster::Rejection;

use aeroedge_log::history::UnknownChain;

use crate::world::{Device, SECRET, rights};

#[test]
fn of_too_many_concurrent_joins_the_lowest_hashes_stand_whatever_the_order() {
    let mut owner = Device::founder(1, Division::Single);
    let seed = owner.invite(rights(Role::Member, &[]), 2);
    let mut joins = Vec::new();
    for number in 10..16 {
        let mut joiner = Device::new(number, owner.history.context());
        joiner.pull(&owner);
        joiner.try_join(&seed, SECRET).unwrap();
        joins.push(
            joiner
                .history
                .get(joiner.history.heads()[0])
                .unwrap()
                .clone(),
        );
    }
    for join in &joins {
        owner.insert(join.clone());
    }
    let mut lowest: Vec<_> = joins
        .iter()
        .map(aeroedge_log::control::ControlEntry::hash)
        .collect();
    lowest.sort_unstable();
    let roster = owner.history.roster().unwrap();
    let mut standing = roster.invite(seed.key()).unwrap().joins.clone();
    standing.sort_unstable();
    assert_eq!(standing, lowest[..2]);
    assert_eq!(roster.members().count(), 3);
    assert!(
        lowest[2..]
            .iter()
            .all(|join| roster.rejected()[join] == Rejection::Surplus)
    );
}

#[test]
fn who_joined_first_stays_against_a_later_join_that_knew() {
    let mut owner = Device::founder(1, Division::Single);
    let seed = owner.invite(rights(Role::Member, &[]), 1);
    // Whatever the hashes: several tries with different devices.
    for number in 20..26 {
        let mut first = Device::new(number, owner.history.context());
        first.pull(&owner);
        first.try_join(&seed, SECRET).unwrap();
        let mut second = Device::new(number + 20, owner.history.context());
        second.pull(&owner);
        second.try_join(&seed, SECRET).unwrap();
        let join = second
            .history
            .get(second.history.heads()[0])
            .unwrap()
            .clone();
        let Action::Join(join) = join.action().clone() else {
            panic!("a join is a join")
        };
        let now = second.now();
        let late =
            aeroedge_log::context::act(&first.history, &second.secrets, now, Action::Join(join));
        assert_eq!(first.history.would_reject(&late), Some(Rejection::Surplus));
    }
}

#[test]
fn an_expired_invite_is_refused_to_the_joiner_and_by_everyone() {
    let mut owner = Device::founder(1, Division::Single);
    let (ring, now) = (owner.ring(), owner.now());
    let terms = InviteTerms {
        rights: rights(Role::Member, &[]),
        expires: now.time(),
        uses: 1,
    };
    let secret = Secret::typed(SECRET);
    let (entry, seed) = invite(
        &owner.history,
        &ring,
        &owner.secrets,
        &terms,
        &secret,
        Stretch::FOR_TESTS,
        now,
        &mut owner.rng,
    )
    .unwrap();
    owner.insert(entry);
    assert!(
        owner
            .history
            .roster()
            .unwrap()
            .invite(seed.key())
            .unwrap()
            .is_open(now.time())
    );
    let mut late = Device::new(2, owner.history.context());
    late.pull(&owner);
    assert_eq!(
        late.try_join(&seed, SECRET),
        Err(aeroedge_log::context::JoinError::Expired)
    );

    let in_time = aeroedge_log::context::join(
        &late.history,
        &late.secrets,
        &seed,
        &secret,
        Stretch::FOR_TESTS,
        late.user,
        now,
        &mut late.rng,
    );
    let Action::Join(join) = in_time.unwrap().entries[0].action().clone() else {
        panic!("a join comes first")
    };
    let stamped_late = late.now();
    let entry = aeroedge_log::context::act(
        &late.history,
        &late.secrets,
        stamped_late,
        Action::Join(join),
    );
    assert_eq!(
        owner.history.would_reject(&entry),
        Some(Rejection::InviteExpired)
    );
}

#[test]
fn a_manager_cannot_invite_staff() {
    let mut owner = Device::founder(1, Division::Divided);
    let mut manager = owner.admit(2, rights(Role::Manager, &[]));
    let (ring, now, secret) = (manager.ring(), manager.now(), Secret::typed(SECRET));
    for rights in [
        rights(Role::Manager, &[]),
        rights(Role::Member, &["teaches"]),
    ] {
        let terms = InviteTerms {
            rights,
            expires: aeroedge_ids::Millis(0),
            uses: 1,
        };
        let result = invite(
            &manager.history,
            &ring,
            &manager.secrets,
            &terms,
            &secret,
            Stretch::FOR_TESTS,
            now,
            &mut manager.rng,
        );
        assert!(matches!(result, Err(InviteError::NoRight)));
    }
    manager.invite(rights(Role::Member, &[]), 1);
}

#[test]
fn nothing_counts_from_a_join_that_gave_way() {
    let mut owner = Device::founder(1, Division::Single);
    let seed = owner.invite(rights(Role::Member, &[]), 1);
    let joiners: Vec<_> = (10..12)
        .map(|number| {
            let mut joiner = Device::new(number, owner.history.context());
            joiner.pull(&owner);
            joiner.try_join(&seed, SECRET).unwrap();
            joiner
        })
        .collect();
    // Each counts for who knows only of it; for who knows of both only one does.
    for joiner in &joiners {
        assert!(
            joiner
                .history
                .may_write(&joiner.claim(Audience::Everyone, 1), &UnknownChain)
                .is_ok()
        );
        owner.pull(joiner);
    }
    let counts = joiners.iter().filter(|joiner| {
        owner
            .history
            .may_write(&joiner.claim(Audience::Everyone, 1), &UnknownChain)
            .is_ok()
    });
    assert_eq!(counts.count(), 1);
}

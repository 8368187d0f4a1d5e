//! Who is in a group and with what rights: removing, leaving, roles, invitations, lost devices.

#![expect(clippy::unwrap_used, reason = "a test may end here")]

use aeroedge_app::contexts::{self, ContextError, ContextKind, InviteState, NewContext, NewInvite};
use aeroedge_app::explain::{Explained, Kind};
use aeroedge_app::flights::{self, Part, Query};
use aeroedge_app::installation::Installation;
use aeroedge_ids::ContextId;
use aeroedge_log::control::Role;
use tempfile::TempDir;

use crate::support::{NOW, admit, exchange, flight, installation_of};

fn club() -> ((TempDir, Installation), (TempDir, Installation), ContextId) {
    let mut home = installation_of("Avery Example");
    let mut robin = installation_of("Robin Example");
    let new = NewContext {
        name: "Hangar 4".into(),
        kind: ContextKind::Club,
        home_airport: None,
        own_name: None,
    };
    let club = contexts::create(&mut home.1.device, &new, NOW).unwrap();
    home.1.device.make_durable().unwrap();
    admit(&mut home.1, &mut robin.1, club, Role::Member);
    contexts::introduce_everywhere(&mut robin.1.device, NOW).unwrap();
    robin.1.device.make_durable().unwrap();
    exchange(&mut home.1, &mut robin.1, club, NOW);
    (home, robin, club)
}

fn flights_of(installation: &Installation) -> u64 {
    let part = Part {
        offset: 0,
        limit: 10,
        oldest_first: false,
    };
    flights::list(&installation.device, &Query::default(), part)
        .unwrap()
        .0
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, ContextError>, kind: Kind) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(!error.advice().is_empty(), "{error}");
    error.to_string()
}

#[test]
fn a_member_is_found_by_name_and_put_out() {
    let (mut home, mut robin, club) = club();
    let member = contexts::resolve_member(&home.1.device, club, "robin").unwrap();
    assert_eq!(member.user, robin.1.device.user());
    assert!(contexts::remove(&mut home.1.device, club, member.user, NOW).unwrap());
    assert_eq!(contexts::members(&home.1.device, club).unwrap().len(), 1);
    refused(
        contexts::resolve_member(&home.1.device, club, "robin"),
        Kind::NotFound,
    );
    exchange(&mut home.1, &mut robin.1, club, NOW);
    assert_eq!(
        contexts::ended(&robin.1.device)
            .into_iter()
            .collect::<Vec<_>>(),
        [club]
    );
    let view = contexts::view(&robin.1.device, club).unwrap();
    assert_eq!((view.role, view.members), (None, 1));
    let error = flights::add(&mut robin.1.device, &[club], &flight(), NOW).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(
        error.to_string().contains("belongs to the group no more"),
        "{error}"
    );
}

#[test]
fn who_leaves_takes_the_own_flights_along() {
    let (mut home, mut robin, club) = club();
    let only_club = flights::add(&mut robin.1.device, &[club], &flight(), NOW).unwrap();
    let personal = contexts::personal(&robin.1.device).unwrap();
    let both = [club, personal];
    flights::add(&mut robin.1.device, &both, &flight(), NOW).unwrap();
    flights::add(&mut home.1.device, &[club], &flight(), NOW).unwrap();
    home.1.device.make_durable().unwrap();
    robin.1.device.make_durable().unwrap();
    exchange(&mut home.1, &mut robin.1, club, NOW);
    assert_eq!(flights_of(&robin.1), 3);
    assert!(contexts::leave(&mut robin.1.device, club, NOW).unwrap());
    assert_eq!(flights_of(&robin.1), 2);
    let kept = flights::get(&robin.1.device, &only_club).unwrap();
    assert_eq!(kept.contexts, [personal]);
    assert_eq!(kept.flight.tail, flight().tail);
    // They are the person's own from now on.
    flights::delete(&mut robin.1.device, &only_club, None, NOW).unwrap();
    exchange(&mut home.1, &mut robin.1, club, NOW);
    assert_eq!(flights_of(&home.1), 3);
    assert!(!contexts::leave(&mut robin.1.device, club, NOW).unwrap());
}

#[test]
fn the_last_owner_and_the_personal_logbook_stay() {
    let (mut home, mut robin, club) = club();
    refused(
        contexts::leave(&mut home.1.device, club, NOW),
        Kind::Refused,
    );
    let personal = contexts::personal(&home.1.device).unwrap();
    refused(
        contexts::leave(&mut home.1.device, personal, NOW),
        Kind::Refused,
    );
    let owner = home.1.device.user();
    refused(
        contexts::remove(&mut robin.1.device, club, owner, NOW),
        Kind::Refused,
    );
    let robin_user = robin.1.device.user();
    let refuse = contexts::set_role(&mut robin.1.device, club, robin_user, Role::Owner, &[], NOW);
    refused(refuse, Kind::Refused);
    assert!(
        contexts::set_role(&mut home.1.device, club, robin_user, Role::Owner, &[], NOW).unwrap()
    );
    exchange(&mut home.1, &mut robin.1, club, NOW);
    assert!(contexts::leave(&mut home.1.device, club, NOW).unwrap());
}

#[test]
fn a_permission_nobody_knows_is_refused() {
    let (mut home, robin, club) = club();
    let user = robin.1.device.user();
    let unknown = ["astronaut".to_owned()];
    let outcome = contexts::set_role(&mut home.1.device, club, user, Role::Member, &unknown, NOW);
    refused(outcome, Kind::Invalid);
}

#[test]
fn invitations_are_listed_and_withdrawn() {
    let (mut home, _robin, club) = club();
    let new = NewInvite {
        role: Role::Member,
        permissions: Vec::new(),
        uses: 2,
        lifetime_millis: 3_600_000,
        secret: None,
    };
    for _ in 0..2 {
        contexts::invite(&mut home.1.device, "hangar", &new, NOW).unwrap();
    }
    let states = |home: &Installation| -> Vec<InviteState> {
        contexts::invites(&home.device, club, NOW)
            .unwrap()
            .iter()
            .map(|invite| invite.state)
            .collect()
    };
    assert_eq!(
        states(&home.1),
        [InviteState::Open, InviteState::Open, InviteState::UsedUp]
    );
    let key = contexts::invites(&home.1.device, club, NOW).unwrap()[0]
        .key
        .to_string();
    let device = &mut home.1.device;
    assert_eq!(
        contexts::void_invites(device, club, Some(&key[..8]), NOW).unwrap(),
        1
    );
    assert_eq!(
        contexts::void_invites(device, club, Some(&key[..8]), NOW).unwrap(),
        0
    );
    refused(
        contexts::void_invites(device, club, Some("ffffffff00"), NOW),
        Kind::NotFound,
    );
    assert_eq!(contexts::void_invites(device, club, None, NOW).unwrap(), 1);
    assert!(!states(&home.1).contains(&InviteState::Open));
}

#[test]
fn this_very_device_is_not_revoked() {
    let (mut home, robin, _) = club();
    let own = home.1.device.key();
    refused(
        contexts::revoke(&mut home.1.device, own, NOW),
        Kind::Refused,
    );
    refused(
        contexts::resolve_device(&home.1.device, "ffffffffff"),
        Kind::NotFound,
    );
    let key = robin.1.device.key();
    assert_eq!(contexts::revoke(&mut home.1.device, key, NOW).unwrap(), 1);
    assert_eq!(contexts::revoke(&mut home.1.device, key, NOW).unwrap(), 0);
}

//! What must not get where it does not belong.

use aeroedge_device::{Place, SealingError, TableRights, WriteError};
use aeroedge_ids::{ContextId, UserId};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::control::{Rights, Role};
use aeroedge_log::invite::Stretch;
use aeroedge_protocol::{Cursor, Frontier};

use crate::club::{NOW, Peer, carry, carry_control, everyone, pair, synchronise};

#[test]
fn a_member_of_one_context_cannot_touch_a_row_of_another_by_its_id() {
    // `both` is in two contexts, `stranger` only in the second and knows the id of a row in the first.
    let mut both = Peer::new(1);
    let mut stranger = Peer::new(2);
    let first = both.found(Division::Single);
    let second = both.found(Division::Single);
    both.write(everyone(first), "row", "mine");
    let (link, secret) = both.invite(second, Role::Admin, 1);
    stranger
        .device
        .start_join(link, secret, Stretch::FOR_TESTS)
        .unwrap();
    carry_control(&both, &mut stranger, second);
    synchronise(&mut both, &mut stranger, second);
    stranger.write(everyone(second), "row", "yours");
    stranger
        .device
        .write(NOW, &mut stranger.rng, |tx| {
            tx.execute("DELETE FROM note WHERE id = 'row'", [])
        })
        .unwrap();
    stranger.device.make_durable().unwrap();
    synchronise(&mut both, &mut stranger, second);
    assert_eq!(
        both.notes(),
        [("row".to_owned(), everyone(first).0, Some("mine".to_owned()))]
    );
}

#[test]
fn a_row_cannot_be_written_into_a_context_one_is_not_in() {
    let mut peer = Peer::new(1);
    peer.found(Division::Single);
    let elsewhere = everyone(ContextId([9; 16]));
    let error = peer
        .device
        .write(NOW, &mut peer.rng, |tx| {
            tx.execute(
                "INSERT INTO note(id, compartment_id) VALUES ('a', ?1)",
                [elsewhere.0],
            )
        })
        .unwrap_err();
    assert!(
        matches!(
            error,
            WriteError::Refused(SealingError::UnknownCompartment(_))
        ),
        "{error}"
    );
    assert!(peer.notes().is_empty());
}

#[test]
fn rows_of_one_context_are_in_no_entry_of_another() {
    let mut peer = Peer::new(1);
    let first = peer.found(Division::Single);
    let second = peer.found(Division::Single);
    peer.device
        .write(NOW, &mut peer.rng, |tx| {
            for (context, title) in [(first, "alpha"), (second, "beta")] {
                tx.execute(
                    "INSERT INTO note(id, compartment_id, title) VALUES ('same', ?1, ?2)",
                    rusqlite::params![everyone(context).0, title],
                )?;
            }
            Ok::<_, rusqlite::Error>(())
        })
        .unwrap();
    peer.device.make_durable().unwrap();
    for (context, title) in [(first, "alpha"), (second, "beta")] {
        let runs = peer
            .device
            .read_entries(everyone(context), &Frontier::new(), Cursor::START, 1 << 20)
            .unwrap()
            .runs;
        assert_eq!(runs.iter().map(|run| run.entries.len()).sum::<usize>(), 1);
        let revisions = peer
            .device
            .history_of("note", &|_| true, &mut |_| {})
            .unwrap();
        let of_context: Vec<_> = revisions
            .iter()
            .filter(|revision| revision.context == context)
            .collect();
        assert_eq!(of_context.len(), 1);
        assert!(format!("{:?}", of_context[0].kind).contains(title));
    }
}

struct OnlyStaffTallies;

impl TableRights for OnlyStaffTallies {
    fn may_write(&self, table: &str, _: Place, _: UserId, rights: &Rights) -> bool {
        table != "tally" || rights.is_staff()
    }
}

#[test]
fn a_forbidden_table_is_refused_at_home_and_by_every_receiver() {
    let mut owner = Peer::with_rights(1, Box::new(OnlyStaffTallies));
    let context = owner.found(Division::Single);
    // A modified program that does not check its own rights.
    let mut rogue = Peer::new(2);
    let mut honest = Peer::with_rights(3, Box::new(OnlyStaffTallies));
    for joiner in [&mut rogue, &mut honest] {
        let (link, secret) = owner.invite(context, Role::Member, 1);
        joiner
            .device
            .start_join(link, secret, Stretch::FOR_TESTS)
            .unwrap();
        carry_control(&owner, joiner, context);
        carry_control(joiner, &mut owner, context);
    }
    let tally = |peer: &mut Peer| {
        peer.device.write(NOW, &mut peer.rng, |tx| {
            tx.execute(
                "INSERT INTO note(id, compartment_id) VALUES ('n', ?1)",
                [everyone(context).0],
            )?;
            tx.execute(
                "INSERT INTO tally(id, compartment_id, amount) VALUES ('t', ?1, 5)",
                [everyone(context).0],
            )
        })
    };
    assert!(matches!(
        tally(&mut honest).unwrap_err(),
        WriteError::Refused(SealingError::NotAllowed { .. })
    ));
    tally(&mut rogue).unwrap();
    rogue.device.make_durable().unwrap();
    let received = carry(&rogue, &mut owner, context, everyone(context), 1 << 20);
    assert_eq!(received[0].merged.refused.len(), 1);
    assert!(
        owner.notes().is_empty(),
        "one forbidden change rejects its whole transaction"
    );
    // It is carried on all the same: the next receiver judges for itself.
    let received = carry(&owner, &mut honest, context, everyone(context), 1 << 20);
    assert_eq!(received[0].merged.refused.len(), 1);
}

#[test]
fn a_member_does_not_receive_what_staff_writes_to_staff() {
    let (mut owner, mut member, context) = pair(Division::Divided, Role::Member);
    let staff = Audience::Staff.compartment(context);
    owner.write(staff, "s", "confidential");
    let own = Audience::Person(member.device.user()).compartment(context);
    owner.write(own, "p", "yours");
    synchronise(&mut owner, &mut member, context);
    let titles: Vec<_> = member
        .notes()
        .into_iter()
        .filter_map(|note| note.2)
        .collect();
    assert_eq!(titles, ["yours"]);
    assert!(!member.device.compartments(context).contains(&staff));
}

#[test]
fn entries_offered_for_a_compartment_one_does_not_read_are_not_stored() {
    let (mut owner, mut member, context) = pair(Division::Divided, Role::Member);
    let staff = Audience::Staff.compartment(context);
    owner.write(staff, "s", "confidential");
    let runs = owner
        .device
        .read_entries(staff, &Frontier::new(), Cursor::START, 1 << 20)
        .unwrap()
        .runs;
    assert!(!runs.is_empty());
    member
        .device
        .receive_entries(&[(context, staff, runs)], NOW)
        .unwrap();
    assert!(member.device.frontier(staff).unwrap().is_empty());
}

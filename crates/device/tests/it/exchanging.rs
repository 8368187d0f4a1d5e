//! Entries between devices: pieces, repetitions, gaps, forgeries.

use aeroedge_device::Declined;
use aeroedge_ids::Seq;
use aeroedge_log::compartment::Division;
use aeroedge_log::control::Role;
use aeroedge_log::entry::EntryRef;
use aeroedge_protocol::{Cursor, Frontier, Run};

use crate::club::{NOW, carry, everyone, pair};

#[test]
fn pieces_of_any_size_come_to_the_same() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    for number in 0..50 {
        owner.write(everyone(context), &format!("n{number}"), "x");
    }
    assert_ne!(
        member.device.digest(context).unwrap(),
        owner.device.digest(context).unwrap()
    );
    carry(&owner, &mut member, context, everyone(context), 1);
    assert_eq!(member.notes(), owner.notes());
    assert_eq!(
        member.device.digest(context).unwrap(),
        owner.device.digest(context).unwrap()
    );
    assert_eq!(
        member.device.frontier(everyone(context)).unwrap(),
        owner.device.frontier(everyone(context)).unwrap()
    );
}

#[test]
fn nothing_is_offered_before_it_is_durable() {
    let (mut owner, _, context) = pair(Division::Single, Role::Member);
    owner
        .device
        .write(NOW, &mut owner.rng, |tx| {
            tx.execute(
                "INSERT INTO note(id, compartment_id) VALUES ('a', ?1)",
                [everyone(context).0],
            )
        })
        .unwrap();
    let read = owner
        .device
        .read_entries(everyone(context), &Frontier::new(), Cursor::START, 1 << 20)
        .unwrap();
    assert!(read.runs.is_empty());
    assert!(owner.device.make_durable().unwrap());
    assert!(!owner.device.make_durable().unwrap());
    let read = owner
        .device
        .read_entries(everyone(context), &Frontier::new(), Cursor::START, 1 << 20)
        .unwrap();
    assert_eq!(read.runs.len(), 1);
}

#[test]
fn a_repeated_run_changes_nothing() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    owner.write(everyone(context), "a", "x");
    let read = owner
        .device
        .read_entries(everyone(context), &Frontier::new(), Cursor::START, 1 << 20)
        .unwrap();
    let batch = [(context, everyone(context), read.runs)];
    let first = member.device.receive_entries(&batch, NOW).unwrap();
    let second = member.device.receive_entries(&batch, NOW).unwrap();
    assert_eq!(first.merged.entries, 1);
    assert_eq!(second.merged.entries, 0);
    assert!(second.declined.is_empty());
}

#[test]
fn a_gap_a_broken_chain_and_a_false_head_are_declined() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    for number in 0..3 {
        owner.write(everyone(context), &format!("n{number}"), "x");
    }
    let whole = owner
        .device
        .read_entries(everyone(context), &Frontier::new(), Cursor::START, 1 << 20)
        .unwrap()
        .runs;
    let mut attempt = |change: &dyn Fn(&mut aeroedge_protocol::Run)| {
        let mut runs = whole.clone();
        change(&mut runs[0]);
        let received = member
            .device
            .receive_entries(&[(context, everyone(context), runs)], NOW)
            .unwrap();
        assert_eq!(member.notes().len(), 0);
        received.declined[0].1
    };
    let gap = attempt(&|run| {
        run.entries.remove(0);
        run.first = Seq(2);
    });
    assert_eq!(gap, Declined::Gap);
    assert_eq!(
        attempt(&|run| run.entries[1] = run.entries[0].clone()),
        Declined::Malformed
    );
    assert_eq!(
        attempt(&|run| {
            let last = run.entries[1].len() - 1;
            run.entries[1][last] ^= 1;
        }),
        Declined::BrokenChain
    );
    assert_eq!(
        attempt(&|run| run.head.as_mut().unwrap().signature[3] ^= 1),
        Declined::FalseHead
    );
    // What was refused before does not stand in the way of what is right.
    let received = member
        .device
        .receive_entries(&[(context, everyone(context), whole)], NOW)
        .unwrap();
    assert_eq!(received.merged.entries, 3);
}

#[test]
fn a_large_transaction_travels_in_parts_and_arrives_whole() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    owner
        .device
        .write(NOW, &mut owner.rng, |tx| {
            let mut insert =
                tx.prepare("INSERT INTO note(id, compartment_id, body) VALUES (?1, ?2, ?3)")?;
            for number in 0..3000 {
                insert.execute(rusqlite::params![
                    format!("n{number}"),
                    everyone(context).0,
                    format!("{number}").repeat(100)
                ])?;
            }
            Ok::<_, rusqlite::Error>(())
        })
        .unwrap();
    owner.device.make_durable().unwrap();
    let received = carry(&owner, &mut member, context, everyone(context), 1);
    let arrived: Vec<u64> = received
        .iter()
        .map(|step| step.merged.entries)
        .filter(|n| *n > 0)
        .collect();
    assert_eq!(arrived.len(), 1, "all parts apply together");
    assert!(arrived[0] > 1);
    assert_eq!(member.notes().len(), 3000);
}

#[test]
fn an_entry_from_the_future_waits_for_its_time() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    let later = aeroedge_ids::Millis(NOW.0 + 3_600_000);
    owner
        .device
        .write(later, &mut owner.rng, |tx| {
            tx.execute(
                "INSERT INTO note(id, compartment_id) VALUES ('a', ?1)",
                [everyone(context).0],
            )
        })
        .unwrap();
    owner.device.make_durable().unwrap();
    carry(&owner, &mut member, context, everyone(context), 1 << 20);
    assert_eq!(member.notes().len(), 0);
    assert_eq!(member.device.waiting().len(), 1);
    let merged = member.device.merge_waiting(later).unwrap();
    assert_eq!(merged.merged.entries, 1);
    assert!(member.device.waiting().is_empty());
}

#[test]
fn history_tells_who_changed_a_row() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    owner.write(everyone(context), "a", "one");
    carry(&owner, &mut member, context, everyone(context), 1 << 20);
    member.write(everyone(context), "a", "two");
    let revisions = member
        .device
        .history_of(
            "note",
            &|key| key[0] == rusqlite::types::Value::Text("a".into()),
            &mut |_| {},
        )
        .unwrap();
    let users: Vec<_> = revisions
        .iter()
        .map(|revision| revision.user.unwrap().0[0])
        .collect();
    assert_eq!(users, [1, 2]);
}

#[test]
fn own_entries_that_come_back_during_a_write_are_no_complaint() {
    let (mut owner, _, context) = pair(Division::Single, Role::Member);
    owner.write(everyone(context), "a", "signed");
    let known = owner
        .device
        .read_entries(everyone(context), &Frontier::new(), Cursor::START, 1 << 20)
        .unwrap()
        .runs;
    owner
        .device
        .write(NOW, &mut owner.rng, |tx| {
            tx.execute(
                "INSERT INTO note(id, compartment_id) VALUES ('b', ?1)",
                [everyone(context).0],
            )
        })
        .unwrap();
    let batch = [(context, everyone(context), known)];
    let received = owner.device.receive_entries(&batch, NOW).unwrap();
    assert!(received.declined.is_empty());
    assert!(owner.device.make_durable().unwrap());
    let frontier = owner.device.frontier(everyone(context)).unwrap();
    assert_eq!(frontier.values().copied().max(), Some(Seq(2)));
}

#[test]
fn nobody_gets_a_signature_under_entries_sent_in_our_name() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::ReadOnly);
    let place = everyone(context);
    owner.write(place, "a", "x");
    let runs = owner
        .device
        .read_entries(place, &Frontier::new(), Cursor::START, 1 << 20)
        .unwrap()
        .runs;
    // The owner's own entry again, as if it were the next: the header is in clear, so anyone can write one.
    let first = &runs[0].entries[0];
    let mut forged = first.clone();
    forged[68..76].copy_from_slice(&2_u64.to_be_bytes());
    forged[76..108].copy_from_slice(&EntryRef::parse(first).unwrap().hash().0);
    let run = Run {
        writer: runs[0].writer,
        first: Seq(2),
        entries: vec![forged],
        head: None,
    };
    let received = owner
        .device
        .receive_entries(&[(context, place, vec![run.clone()])], NOW)
        .unwrap();
    assert!(received.declined.is_empty());
    owner.device.make_durable().unwrap();
    owner.device.merge_waiting(NOW).unwrap();
    assert_eq!(owner.device.frontier(place).unwrap()[&run.writer], Seq(1));
    // What the owner writes next follows what the owner wrote before.
    owner.write(place, "b", "y");
    owner
        .device
        .receive_entries(&[(context, place, vec![run])], NOW)
        .unwrap();
    carry(&owner, &mut member, context, place, 1 << 20);
    assert_eq!(member.notes(), owner.notes());
    assert!(owner.device.status().unwrap().iter().all(|found| {
        found
            .logs
            .iter()
            .all(|log| log.refused.is_empty() && log.vouched == log.stored)
    }));
}

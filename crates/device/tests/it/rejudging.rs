//! What was merged and may not stand: whenever the control entry comes, the tables are those of a device that knew it first.

mod property;

use std::path::Path;

use aeroedge_device::{AllTables, Device, Waiting};
use aeroedge_ids::{ContextId, EntryHash, Millis, Seq, WriterKey};
use aeroedge_log::compartment::Division;
use aeroedge_log::control::{Action, ControlEntry, CutOff, RemoveMember, Rights, Role, SetRole};
use aeroedge_log::entry::EntryRef;
use aeroedge_log::keys::WriterSecret;
use aeroedge_protocol::{Cursor, Frontier};
use aeroedge_replica::ConflictFilter;
use rusqlite::types::Value;
use rusqlite::{Connection, params};

use crate::club::{NOW, Peer, SCHEMA, admit, carry, carry_control, everyone, options, synchronise};

/// An owner, two members and a newcomer who has heard of nothing but the membership.
fn club() -> ([Peer; 4], ContextId) {
    let mut owner = Peer::new(1);
    let context = owner.found(Division::Single);
    let others = [2, 3, 4].map(|number| {
        let mut peer = Peer::new(number);
        admit(&mut owner, &mut peer, context, Role::Member);
        peer
    });
    let [mut villain, mut honest, mut newcomer] = others;
    for peer in [&mut villain, &mut honest, &mut newcomer] {
        carry_control(&owner, peer, context);
    }
    ([owner, villain, honest, newcomer], context)
}

fn writer_of(peer: &Peer, context: ContextId) -> WriterKey {
    let secrets = aeroedge_device::KeyStore::load(&peer.keys).unwrap();
    secrets.writer(context).map(WriterSecret::key).unwrap()
}

/// How far `sees` has the logs of `of`, at most to `upto`, as cut-offs.
fn cut_offs(sees: &Peer, of: &Peer, context: ContextId, upto: u64) -> Vec<CutOff> {
    let writer = writer_of(of, context);
    let mut found = Vec::new();
    for compartment in sees.device.compartments(context) {
        let read = sees
            .device
            .read_entries(compartment, &Frontier::new(), Cursor::START, usize::MAX)
            .unwrap();
        let last = read
            .runs
            .iter()
            .filter(|run| run.writer == writer)
            .flat_map(|run| &run.entries)
            .filter_map(|bytes| EntryRef::parse(bytes).ok())
            .filter(|entry| entry.seq() <= Seq(upto))
            .map(|entry| (entry.seq(), entry.hash()))
            .max();
        let (seq, hash) = last.unwrap_or((Seq(0), EntryHash([0; 32])));
        if seq > Seq(0) {
            found.push(CutOff {
                writer,
                compartment,
                seq,
                hash,
            });
        }
    }
    found.sort();
    found
}

/// Signs an act of a member and lets its own device take it in.
fn act(by: &mut Peer, context: ContextId, action: Action) {
    let secrets = aeroedge_device::KeyStore::load(&by.keys).unwrap();
    let known = by.device.control_hashes(context);
    let entries = by.device.control_entries(context, &known, usize::MAX);
    let mut history = aeroedge_log::history::History::new(context);
    let mut latest = aeroedge_crdt::hlc::Hlc::ZERO;
    for bytes in entries {
        let entry = ControlEntry::decode(&bytes).unwrap();
        latest = latest.max(entry.hlc());
        history.insert(entry).unwrap();
    }
    let entry = aeroedge_log::context::act(&history, &secrets, latest.tick(NOW), action);
    by.device
        .receive_control(context, &[entry.bytes().to_vec()], NOW, &mut by.rng)
        .unwrap();
    by.device.merge_waiting(NOW).unwrap();
}

fn remove(by: &mut Peer, whom: &Peer, context: ContextId, upto: u64) {
    let cut_offs = cut_offs(by, whom, context, upto);
    let user = whom.device.user();
    act(
        by,
        context,
        Action::RemoveMember(RemoveMember { user, cut_offs }),
    );
}

fn set_role(by: &mut Peer, whom: &Peer, context: ContextId, role: Role, upto: u64) {
    let change = SetRole {
        user: whom.device.user(),
        rights: Rights::of(role),
        cut_offs: cut_offs(by, whom, context, upto),
    };
    act(by, context, Action::SetRole(change));
}

fn hear(from: &Peer, to: &mut Peer, context: ContextId) {
    carry_control(from, to, context);
    to.device.merge_waiting(NOW).unwrap();
    for compartment in to.device.compartments(context) {
        carry(from, to, context, compartment, 1 << 20);
    }
}

fn execute(peer: &mut Peer, sql: &str, context: ContextId) {
    peer.device
        .write(NOW, &mut peer.rng, |tx| {
            tx.execute(sql, [everyone(context).0])
        })
        .unwrap();
    peer.device.make_durable().unwrap();
}

/// Everything that must not depend on the order in which a device heard of things.
fn state(peer: &mut Peer, context: ContextId) -> (aeroedge_replica::Digest, Vec<String>) {
    peer.device.merge_waiting(NOW).unwrap();
    let mut verdicts = Vec::new();
    for compartment in peer.device.status().unwrap() {
        assert_eq!(compartment.context, context);
        for log in compartment.logs {
            let refused: Vec<_> = log.refused.iter().map(|(seq, _)| *seq).collect();
            verdicts.push(format!(
                "{:?} {:?} {:?} {:?} {:?}",
                compartment.id, log.writer, log.merged, log.waiting, refused
            ));
        }
    }
    verdicts.sort();
    (peer.device.engine_digest().unwrap(), verdicts)
}

fn titles(peer: &Peer) -> Vec<String> {
    let notes = peer.notes().into_iter();
    notes
        .map(|(id, _, title)| format!("{id}={}", title.unwrap_or_default()))
        .collect()
}

#[test]
fn what_a_removed_member_wrote_past_the_cut_off_is_taken_back() {
    let ([mut owner, mut villain, mut honest, mut newcomer], context) = club();
    let place = everyone(context);
    villain.write(place, "a", "before");
    hear(&villain, &mut owner, context);
    villain.write(place, "a", "after");
    villain.write(place, "b", "after");
    hear(&villain, &mut honest, context);
    assert_eq!(titles(&honest), ["a=after", "b=after"]);
    remove(&mut owner, &villain, context, u64::MAX);
    carry_control(&owner, &mut honest, context);
    let received = honest.device.merge_waiting(NOW).unwrap();
    assert_eq!(titles(&honest), ["a=before"]);
    let touched: u64 = received.touched.iter().map(|table| table.rows).sum();
    assert_eq!(touched, 2);
    assert_eq!(received.merged.contexts, [context]);
    let told = honest.device.recomputed(9).unwrap();
    assert_eq!((told.len(), told[0].withdrawn, told[0].rows), (1, 2, 2));
    assert!(told[0].cause.is_some(), "{told:?}");
    let of_a = |key: &[Value]| key.first() == Some(&Value::Text("a".into()));
    let revisions = honest
        .device
        .history_of("note", &of_a, &mut |_| {})
        .unwrap();
    let refused: Vec<_> = revisions
        .iter()
        .map(|revision| (revision.user, revision.refused.is_some()))
        .collect();
    let user = Some(villain.device.user());
    assert_eq!(refused, [(user, false), (user, true)]);
    hear(&honest, &mut owner, context);
    hear(&honest, &mut newcomer, context);
    assert_eq!(state(&mut owner, context), state(&mut honest, context));
    assert_eq!(state(&mut newcomer, context), state(&mut honest, context));
}

#[test]
fn an_honest_edit_of_a_row_that_is_taken_back_stays() {
    let ([mut owner, mut villain, mut honest, mut newcomer], context) = club();
    let place = everyone(context);
    villain.write(place, "a", "made by the villain");
    hear(&villain, &mut honest, context);
    execute(
        &mut honest,
        "UPDATE note SET body = 'kept' WHERE compartment_id = ?1",
        context,
    );
    remove(&mut owner, &villain, context, 0);
    hear(&owner, &mut honest, context);
    hear(&honest, &mut owner, context);
    hear(&honest, &mut newcomer, context);
    let kept: (Option<String>, Option<String>) = newcomer
        .device
        .connection()
        .query_row("SELECT title, body FROM note", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(kept, (None, Some("kept".into())));
    assert_eq!(state(&mut honest, context), state(&mut newcomer, context));
    assert_eq!(state(&mut owner, context), state(&mut newcomer, context));
}

#[test]
fn a_row_that_a_removed_member_deleted_comes_back() {
    let ([mut owner, mut villain, mut honest, mut newcomer], context) = club();
    honest.write(everyone(context), "a", "mine");
    hear(&honest, &mut villain, context);
    execute(
        &mut villain,
        "DELETE FROM note WHERE compartment_id = ?1",
        context,
    );
    hear(&villain, &mut honest, context);
    hear(&honest, &mut owner, context);
    assert_eq!(titles(&honest), Vec::<String>::new());
    remove(&mut owner, &villain, context, 0);
    hear(&owner, &mut honest, context);
    for peer in [&owner, &honest] {
        assert_eq!(titles(peer), ["a=mine"]);
    }
    hear(&owner, &mut newcomer, context);
    assert_eq!(state(&mut honest, context), state(&mut newcomer, context));
    assert_eq!(state(&mut owner, context), state(&mut newcomer, context));
}

#[test]
fn a_conflict_that_a_removed_member_opened_or_closed_is_as_if_it_never_had() {
    let ([mut owner, mut villain, mut honest, mut newcomer], context) = club();
    let place = everyone(context);
    owner.write(place, "a", "start");
    for peer in [&mut villain, &mut honest] {
        hear(&owner, peer, context);
    }
    owner.write(place, "a", "by the owner");
    honest.write(place, "a", "by the member");
    hear(&owner, &mut villain, context);
    hear(&honest, &mut villain, context);
    // The villain saw both and settles their conflict, and then opens another.
    villain.write(place, "a", "settled");
    hear(&villain, &mut owner, context);
    honest.write(place, "a", "once more");
    hear(&honest, &mut owner, context);
    let before = owner.device.conflicts(ConflictFilter::default()).unwrap();
    assert_eq!(before.len(), 1, "{before:?}");
    remove(&mut owner, &villain, context, 0);
    let after = owner.device.conflicts(ConflictFilter::default()).unwrap();
    assert_eq!(after.len(), 1, "{after:?}");
    assert_ne!(before[0].losing_stamp, after[0].losing_stamp);
    hear(&owner, &mut newcomer, context);
    assert_eq!(state(&mut owner, context), state(&mut newcomer, context));
}

#[test]
fn what_was_refused_counts_again_after_readmission() {
    let ([mut owner, mut villain, mut honest, mut newcomer], context) = club();
    let place = everyone(context);
    villain.write(place, "a", "before");
    hear(&villain, &mut owner, context);
    remove(&mut owner, &villain, context, 0);
    hear(&owner, &mut honest, context);
    assert_eq!(titles(&owner), Vec::<String>::new());
    set_role(&mut owner, &villain, context, Role::Member, 0);
    hear(&owner, &mut villain, context);
    villain.write(place, "b", "after");
    for peer in [&mut owner, &mut honest, &mut newcomer] {
        hear(&villain, peer, context);
    }
    assert_eq!(titles(&owner), ["b=after"]);
    for peer in [&mut owner, &mut honest, &mut villain] {
        assert_eq!(state(peer, context), state(&mut newcomer, context));
    }
}

#[test]
fn a_demoted_members_own_device_takes_its_later_writes_back_too() {
    let ([mut owner, mut villain, _, mut newcomer], context) = club();
    let place = everyone(context);
    villain.write(place, "a", "before");
    hear(&villain, &mut owner, context);
    villain.write(place, "b", "after");
    set_role(&mut owner, &villain, context, Role::ReadOnly, u64::MAX);
    hear(&owner, &mut villain, context);
    assert_eq!(titles(&villain), ["a=before"]);
    hear(&villain, &mut owner, context);
    hear(&owner, &mut newcomer, context);
    for peer in [&mut owner, &mut villain] {
        assert_eq!(state(peer, context), state(&mut newcomer, context));
    }
}

#[test]
fn nobody_waits_for_entries_past_a_cut_off_that_never_come() {
    let ([mut owner, mut villain, mut honest, mut newcomer], context) = club();
    let place = everyone(context);
    villain.write(place, "a", "before");
    hear(&villain, &mut owner, context);
    villain.write(place, "a", "after");
    hear(&villain, &mut honest, context);
    honest.write(place, "b", "seen all");
    remove(&mut owner, &villain, context, u64::MAX);
    hear(&owner, &mut newcomer, context);
    // The honest member's device is lost, and what is left of its entries came on a way that left out the villain's.
    let mut read = honest
        .device
        .read_entries(place, &Frontier::new(), Cursor::START, usize::MAX)
        .unwrap();
    let own = writer_of(&honest, context);
    read.runs.retain(|run| run.writer == own);
    newcomer
        .device
        .receive_entries(&[(context, place, read.runs)], NOW)
        .unwrap();
    assert_eq!(titles(&newcomer), ["a=before", "b=seen all"]);
    // Should they come after all, nothing changes; should they count again, they count as for everyone.
    hear(&honest, &mut newcomer, context);
    hear(&owner, &mut honest, context);
    assert_eq!(state(&mut newcomer, context), state(&mut honest, context));
}

#[test]
fn what_comes_late_and_counts_again_conflicts_with_nobody_who_had_seen_it() {
    let ([mut owner, mut villain, mut honest, mut newcomer], context) = club();
    let place = everyone(context);
    villain.write(place, "a", "by the one");
    hear(&villain, &mut honest, context);
    honest.write(place, "a", "by the other, who had seen it");
    // An administrator removes the one and is removed in turn, before anybody knew.
    let mut admin = Peer::new(9);
    admit(&mut owner, &mut admin, context, Role::Admin);
    remove(&mut admin, &villain, context, 0);
    hear(&admin, &mut newcomer, context);
    let mut read = honest
        .device
        .read_entries(place, &Frontier::new(), Cursor::START, usize::MAX)
        .unwrap();
    let own = writer_of(&honest, context);
    read.runs.retain(|run| run.writer == own);
    newcomer
        .device
        .receive_entries(&[(context, place, read.runs)], NOW)
        .unwrap();
    assert_eq!(titles(&newcomer), ["a=by the other, who had seen it"]);
    remove(&mut owner, &admin, context, 0);
    hear(&owner, &mut newcomer, context);
    hear(&honest, &mut newcomer, context);
    hear(&newcomer, &mut owner, context);
    for peer in [&mut owner, &mut honest] {
        hear(&newcomer, peer, context);
    }
    assert!(
        newcomer
            .device
            .conflicts(ConflictFilter::default())
            .unwrap()
            .is_empty()
    );
    assert_eq!(state(&mut newcomer, context), state(&mut owner, context));
    assert_eq!(state(&mut newcomer, context), state(&mut honest, context));
}

#[test]
fn a_transaction_in_parts_is_taken_back_whole() {
    let ([mut owner, mut villain, mut honest, mut newcomer], context) = club();
    let place = everyone(context);
    villain.write(place, "0", "before");
    hear(&villain, &mut owner, context);
    let long = "x".repeat(1 << 10);
    villain
        .device
        .write(NOW, &mut villain.rng, |tx| {
            for number in 0..600 {
                let id = format!("row {number}");
                tx.execute(
                    "INSERT INTO note(id, compartment_id, body) VALUES (?1, ?2, ?3)",
                    params![id, place.0, long],
                )?;
            }
            Ok::<_, rusqlite::Error>(())
        })
        .unwrap();
    villain.device.make_durable().unwrap();
    hear(&villain, &mut honest, context);
    assert_eq!(honest.notes().len(), 601);
    // The cut-off falls into the transaction.
    let cut_offs = cut_offs(&honest, &villain, context, 2);
    let user = villain.device.user();
    act(
        &mut owner,
        context,
        Action::RemoveMember(RemoveMember { user, cut_offs }),
    );
    hear(&owner, &mut honest, context);
    assert_eq!(titles(&honest), ["0=before"]);
    hear(&honest, &mut newcomer, context);
    hear(&honest, &mut owner, context);
    assert_eq!(state(&mut honest, context), state(&mut newcomer, context));
    assert_eq!(state(&mut honest, context), state(&mut owner, context));
}

#[test]
fn entries_below_a_cut_off_with_another_hash_stop_counting_when_that_shows() {
    let ([mut owner, mut villain, mut honest, _], context) = club();
    let place = everyone(context);
    villain.write(place, "a", "one");
    hear(&villain, &mut owner, context);
    hear(&villain, &mut honest, context);
    villain.write(place, "b", "two");
    let mut cut_offs = cut_offs(&villain, &villain, context, 2);
    cut_offs[0].hash = EntryHash([9; 32]);
    let user = villain.device.user();
    act(
        &mut owner,
        context,
        Action::RemoveMember(RemoveMember { user, cut_offs }),
    );
    hear(&owner, &mut honest, context);
    assert_eq!(titles(&honest), ["a=one"]);
    hear(&villain, &mut honest, context);
    assert_eq!(titles(&honest), Vec::<String>::new());
}

fn open(path: &Path, peer: &Peer) -> Device {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    Device::open(
        connection,
        Box::new(peer.keys.clone()),
        options(Box::new(AllTables)),
        NOW,
    )
    .unwrap()
}

#[test]
fn a_crash_before_the_consequences_are_drawn_is_found_at_the_next_start() {
    let ([mut owner, mut villain, mut honest, _], context) = club();
    let place = everyone(context);
    villain.write(place, "a", "after");
    hear(&villain, &mut honest, context);
    remove(&mut owner, &villain, context, 0);
    carry_control(&owner, &mut honest, context);
    // The power fails here.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.db");
    honest
        .device
        .connection()
        .execute("VACUUM INTO ?1", [path.to_str().unwrap()])
        .unwrap();
    let mut device = open(&path, &honest);
    assert!(device.is_rejudge_due());
    device.merge_waiting(NOW).unwrap();
    assert!(!device.is_rejudge_due());
    let left: i64 = device
        .connection()
        .query_row("SELECT count(*) FROM note", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
    drop(device);
    assert!(!open(&path, &honest).is_rejudge_due());
}

#[test]
fn an_entry_from_the_future_that_cannot_count_is_not_waited_for() {
    let ([mut owner, mut villain, mut honest, _], context) = club();
    let place = everyone(context);
    villain
        .try_write(Millis(NOW.0 * 2), place, "a", "from the future")
        .unwrap();
    hear(&villain, &mut honest, context);
    let waits = |peer: &Peer| {
        peer.device
            .waiting()
            .values()
            .any(|waiting| matches!(waiting, Waiting::Future { .. }))
    };
    assert!(waits(&honest));
    remove(&mut owner, &villain, context, 0);
    hear(&owner, &mut honest, context);
    assert!(!waits(&honest));
    synchronise(&mut owner, &mut honest, context);
    assert_eq!(state(&mut owner, context), state(&mut honest, context));
}

#[test]
fn two_processes_on_one_database_judge_by_what_either_of_them_knows() {
    let ([mut owner, mut villain, mut honest, mut newcomer], context) = club();
    let place = everyone(context);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shared.db");
    honest
        .device
        .connection()
        .execute("VACUUM INTO ?1", [path.to_str().unwrap()])
        .unwrap();
    let (mut one, mut two) = (open(&path, &honest), open(&path, &honest));
    villain.write(place, "a", "after");
    remove(&mut owner, &villain, context, 0);
    let known = owner.device.control_hashes(context);
    let control = owner.device.control_entries(context, &known, usize::MAX);
    let read = villain
        .device
        .read_entries(place, &Frontier::new(), Cursor::START, usize::MAX)
        .unwrap();
    one.receive_control(context, &control, NOW, &mut honest.rng)
        .unwrap();
    two.receive_entries(&[(context, place, read.runs)], NOW)
        .unwrap();
    let left: i64 = two
        .connection()
        .query_row("SELECT count(*) FROM note", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
    // Each takes in what the other did not have, and both know all of it.
    owner.invite(context, Role::Member, 1);
    hear(&owner, &mut newcomer, context);
    let more = owner.device.control_hashes(context);
    let control = owner
        .device
        .control_entries(context, &more[known.len()..], usize::MAX);
    two.receive_control(context, &control, NOW, &mut honest.rng)
        .unwrap();
    one.refresh().unwrap();
    assert_eq!(one.control_hashes(context), more);
    assert_eq!(two.control_hashes(context), more);
}

#[test]
fn one_of_two_logs_that_saw_each_other_all_the_time_is_taken_back() {
    let ([mut owner, mut villain, mut honest, _], context) = club();
    let place = everyone(context);
    let entries: u64 = 240;
    for number in 0..entries / 2 {
        for peer in [&mut villain, &mut honest] {
            let id = format!("{}", number % 100);
            peer.device
                .write(NOW, &mut peer.rng, |tx| {
                    tx.execute(
                        "INSERT INTO note(id, compartment_id, title) VALUES (?1, ?2, ?3)
                         ON CONFLICT DO UPDATE SET title = excluded.title",
                        params![id, place.0, number.to_string()],
                    )
                })
                .unwrap();
            peer.device.make_durable().unwrap();
        }
        // They hear each other all the time, so the logs are entangled.
        carry(&villain, &mut honest, context, place, 1 << 20);
        carry(&honest, &mut villain, context, place, 1 << 20);
    }
    remove(&mut owner, &villain, context, 0);
    carry_control(&owner, &mut honest, context);
    honest.device.merge_waiting(NOW).unwrap();
    let told = honest.device.recomputed(1).unwrap();
    assert_eq!(
        (told[0].withdrawn, told[0].rows),
        (entries / 2, entries.min(200) / 2)
    );
    hear(&honest, &mut owner, context);
    assert_eq!(state(&mut owner, context), state(&mut honest, context));
}

//! Old and new programs share data: unknown columns and tables wait, adopted rows travel.

use std::collections::BTreeMap;

use aeroedge_ids::Millis;
use aeroedge_replica::{DEFAULT_SCOPE, ImageError, MergeError, Merged};

use crate::support::{Log, Peer};

const OLD: &str = "CREATE TABLE contact(id TEXT PRIMARY KEY, name TEXT)";
const NEW: &str = "CREATE TABLE contact(id TEXT PRIMARY KEY, name TEXT, phone TEXT DEFAULT 'none');
                   CREATE TABLE visit(id BLOB PRIMARY KEY, place TEXT)";

fn old_peer(number: u8) -> Peer {
    Peer::new(number, OLD, &[Merged::table("contact")])
}

fn new_peer(number: u8) -> Peer {
    Peer::new(
        number,
        NEW,
        &[Merged::table("contact"), Merged::table("visit")],
    )
}

fn upgrade(peer: &mut Peer) {
    peer.replica
        .connection()
        .execute_batch("ALTER TABLE contact ADD COLUMN phone TEXT DEFAULT 'none'; CREATE TABLE visit(id BLOB PRIMARY KEY, place TEXT)")
        .unwrap();
    peer.replica
        .declare(
            &[Merged::table("contact"), Merged::table("visit")],
            Millis(5_000),
        )
        .unwrap();
}

#[test]
fn what_an_old_schema_cannot_hold_waits_and_is_applied_after_the_upgrade() {
    let mut new = new_peer(1);
    new.sql(
        "INSERT INTO contact VALUES ('a', 'Amelia', '1'), ('b', 'Bessie', '2'), ('c', 'Cora', '3')",
    )
    .unwrap();
    new.sql("INSERT INTO visit VALUES (x'01', 'Atchison'), (x'02', 'Derby'), (x'03', 'Lakehurst')")
        .unwrap();
    new.now += 10;
    new.sql("UPDATE contact SET phone = '11' WHERE id = 'a'; DELETE FROM contact WHERE id = 'c'")
        .unwrap();
    new.sql(
        "UPDATE visit SET place = 'Kansas' WHERE id = x'01'; DELETE FROM visit WHERE id = x'02'",
    )
    .unwrap();
    let mut old = old_peer(2);
    old.receive(&new.entries);
    assert_eq!(
        old.query("SELECT * FROM contact ORDER BY id"),
        "a|Amelia\nb|Bessie"
    );
    assert!(!old.replica.quarantined().unwrap().is_empty());

    old.sql("UPDATE contact SET name = 'Bess' WHERE id = 'b'")
        .unwrap();
    upgrade(&mut old);
    assert_eq!(
        old.query("SELECT * FROM contact ORDER BY id"),
        "a|Amelia|11\nb|Bess|2"
    );
    assert_eq!(
        old.query("SELECT place FROM visit ORDER BY id"),
        "Kansas\nLakehurst"
    );
    assert_eq!(old.replica.quarantined().unwrap(), []);
    let log = old.entries.clone();
    new.receive(&log);
    assert_eq!(
        new.replica.digest(None).unwrap(),
        old.replica.digest(None).unwrap()
    );
}

#[test]
fn waiting_cells_merge_by_the_same_order_whatever_the_order_of_arrival() {
    let mut one = new_peer(1);
    let mut two = new_peer(2);
    one.sql(
        "INSERT INTO contact VALUES ('a', 'Amelia', '1'); INSERT INTO visit VALUES (x'01', 'one')",
    )
    .unwrap();
    two.now += 5;
    two.sql(
        "INSERT INTO contact VALUES ('a', 'Earhart', '2'); INSERT INTO visit VALUES (x'01', 'two')",
    )
    .unwrap();
    let (mut forward, mut backward) = (old_peer(3), old_peer(4));
    forward.receive(&[one.entries.clone(), two.entries.clone()].concat());
    backward.receive(&[two.entries.clone(), one.entries.clone()].concat());
    assert_eq!(
        forward.replica.digest(None).unwrap(),
        backward.replica.digest(None).unwrap()
    );
    upgrade(&mut forward);
    upgrade(&mut backward);
    assert_eq!(forward.query("SELECT * FROM contact"), "a|Earhart|2");
    assert_eq!(forward.query("SELECT place FROM visit"), "two");
    assert_eq!(
        forward.replica.digest(None).unwrap(),
        backward.replica.digest(None).unwrap()
    );
}

#[test]
fn a_row_that_dies_takes_its_waiting_cells_along() {
    let mut new = new_peer(1);
    new.sql("INSERT INTO contact VALUES ('a', 'Amelia', '1')")
        .unwrap();
    let mut old = old_peer(2);
    old.receive(&new.entries);
    old.sql("DELETE FROM contact").unwrap();
    assert_eq!(old.replica.quarantined().unwrap(), []);
}

#[test]
fn an_old_programs_insert_leaves_new_columns_at_their_default() {
    let mut old = old_peer(1);
    old.sql("INSERT INTO contact VALUES ('a', 'Amelia')")
        .unwrap();
    let mut new = new_peer(2);
    new.receive(&old.entries);
    assert_eq!(new.query("SELECT * FROM contact"), "a|Amelia|none");
    // A concurrent insert by a program that knows the column fills it, though it is earlier.
    let mut other = new_peer(3);
    other.now -= 500;
    other
        .sql("INSERT INTO contact VALUES ('a', 'Earhart', '7')")
        .unwrap();
    new.receive(&other.entries);
    assert_eq!(new.query("SELECT * FROM contact"), "a|Amelia|7");
}

#[test]
fn a_value_that_the_column_refuses_waits() {
    let loose = "CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, b TEXT)";
    let strict =
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER NOT NULL DEFAULT 5, b TEXT) STRICT";
    let tables = [Merged::table("t")];
    let mut from = Peer::new(1, loose, &tables);
    from.sql("INSERT INTO t VALUES (1, 'words', 'x'), (2, NULL, 'y'), (3, 3, 'z')")
        .unwrap();
    let mut to = Peer::new(2, strict, &tables);
    to.receive(&from.entries);
    assert_eq!(to.query("SELECT * FROM t"), "1|5|x\n2|5|y\n3|3|z");
    assert_eq!(to.replica.quarantined().unwrap().len(), 2);
    from.now += 10;
    from.sql("UPDATE t SET a = 4").unwrap();
    to.receive(&from.entries);
    assert_eq!(to.query("SELECT * FROM t"), "1|4|x\n2|4|y\n3|4|z");
}

#[test]
fn rows_that_were_there_before_travel_like_others() {
    let schema = "CREATE TABLE contact(id TEXT PRIMARY KEY, name TEXT); INSERT INTO contact VALUES ('a', 'Amelia'), ('b', 'Bessie');
                  CREATE TABLE pair(a INTEGER, b INTEGER, note TEXT, PRIMARY KEY(a, b)) WITHOUT ROWID; INSERT INTO pair VALUES (1, 2, 'x');";
    let mut one = Peer::new(1, schema, &[]);
    let tables = [Merged::table("contact"), Merged::table("pair")];
    let mut log = Log::default();
    one.replica
        .declare_with(&tables, Millis(100), &mut log)
        .unwrap();
    one.keep(log, one.seen());
    assert_eq!(one.entries.len(), 1);
    let mut two = Peer::new(
        2,
        "CREATE TABLE contact(id TEXT PRIMARY KEY, name TEXT);
         CREATE TABLE pair(a INTEGER, b INTEGER, note TEXT, PRIMARY KEY(a, b)) WITHOUT ROWID;",
        &tables,
    );
    two.receive(&one.entries);
    assert_eq!(
        two.query("SELECT * FROM contact, pair ORDER BY id"),
        "a|Amelia|1|2|x\nb|Bessie|1|2|x"
    );
    assert_eq!(
        one.replica.digest(None).unwrap(),
        two.replica.digest(None).unwrap()
    );
}

#[test]
fn a_column_added_within_a_transaction_merges_after_the_next_declaration() {
    let mut one = old_peer(1);
    one.write(|transaction| {
        transaction.execute_batch("INSERT INTO contact VALUES ('a', 'Amelia'); ALTER TABLE contact ADD COLUMN phone TEXT DEFAULT 'none'")
    })
    .unwrap();
    one.replica
        .declare(&[Merged::table("contact")], Millis(5_000))
        .unwrap();
    one.sql("UPDATE contact SET phone = '1'").unwrap();
    let mut two = new_peer(2);
    two.receive(&one.entries);
    assert_eq!(two.query("SELECT * FROM contact"), "a|Amelia|1");
}

#[test]
fn an_error_in_a_session_rolls_all_of_it_back() {
    let mut one = old_peer(1);
    one.sql("INSERT INTO contact VALUES ('a', 'Amelia')")
        .unwrap();
    let mut two = old_peer(2);
    let before = two.replica.digest(None).unwrap();
    let entry = one.entries[0].clone();
    let outcome = two.replica.merging(|merging| {
        merging.apply(&aeroedge_replica::Incoming {
            stamp: entry.stamp,
            part: 0,
            compartment: None,
            seen: &|_| aeroedge_crdt::hlc::Hlc::ZERO,
            changes: &entry.parts[0].1[0],
        })?;
        merging.apply_state(None, b"garbage")
    });
    assert!(matches!(outcome, Err(MergeError::Malformed(_))));
    assert_eq!(two.replica.digest(None).unwrap(), before);
    two.receive(&one.entries);
    assert_eq!(
        one.replica.digest(None).unwrap(),
        two.replica.digest(None).unwrap()
    );
}

fn take_over(peer: &mut Peer, image: &[u8]) -> Result<(), ImageError> {
    let taken = peer.replica.merging(|merging| {
        merging.apply_image(&DEFAULT_SCOPE, image, &BTreeMap::new(), None)?;
        Ok::<_, ImageError>(())
    });
    taken.map(|_| ())
}

#[test]
fn an_old_and_a_new_program_write_the_same_image() {
    let mut new = new_peer(1);
    new.sql("INSERT INTO contact VALUES ('a', 'Amelia', '1'), ('bb', 'Bessie', '2'), ('c', 'Cora', '3')")
        .unwrap();
    new.sql(
        "INSERT INTO visit VALUES (x'01', 'Atchison'), (x'0202', 'Derby'), (x'03', 'Lakehurst')",
    )
    .unwrap();
    new.now += 10;
    new.sql("UPDATE contact SET phone = '11' WHERE id = 'a'; DELETE FROM contact WHERE id = 'c'")
        .unwrap();
    new.sql(
        "UPDATE visit SET place = 'Kansas' WHERE id = x'01'; DELETE FROM visit WHERE id = x'03'",
    )
    .unwrap();
    let mut old = old_peer(2);
    old.receive(&new.entries);
    let image = new.replica.image(&DEFAULT_SCOPE).unwrap();
    assert!(old.replica.image(&DEFAULT_SCOPE).unwrap() == image);

    // Whoever takes it over waits for the same, and holds the same after the upgrade.
    let mut other = old_peer(3);
    take_over(&mut other, &image).unwrap();
    assert_eq!(
        other.replica.digest(None).unwrap(),
        old.replica.digest(None).unwrap()
    );
    upgrade(&mut other);
    assert_eq!(
        other.replica.digest(None).unwrap(),
        new.replica.digest(None).unwrap()
    );
    let mut newest = new_peer(4);
    take_over(&mut newest, &image).unwrap();
    assert_eq!(
        newest.replica.digest(None).unwrap(),
        new.replica.digest(None).unwrap()
    );
}

#[test]
fn a_conflict_that_the_program_has_no_place_for_is_refused_with_advice() {
    let mut first = new_peer(1);
    let mut second = new_peer(2);
    first
        .sql("INSERT INTO contact VALUES ('a', 'Amelia', '1')")
        .unwrap();
    second.receive(&first.entries);
    first.sql("UPDATE contact SET phone = '2'").unwrap();
    second.sql("UPDATE contact SET phone = '3'").unwrap();
    second.receive(&first.entries);
    let image = second.replica.image(&DEFAULT_SCOPE).unwrap();
    let mut old = old_peer(3);
    let nothing = old.replica.digest(None).unwrap();
    let error = take_over(&mut old, &image).unwrap_err();
    assert!(matches!(error, ImageError::UnknownColumn { .. }));
    assert!(error.to_string().contains("contact.phone"), "{error}");
    assert_eq!(old.replica.digest(None).unwrap(), nothing);
}

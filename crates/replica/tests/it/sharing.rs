//! Several connections with the engine share one database; compartments keep to themselves; savepoints of every kind.

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{CompartmentId, Millis, WriterKey};
use aeroedge_replica::rusqlite::{Connection, ErrorCode};
use aeroedge_replica::{Applied, CompartmentRule, Incoming, MergeError, Merged, Replica};

use crate::support::Peer;

const SCHEMA: &str = "CREATE TABLE contact(id TEXT PRIMARY KEY, name TEXT, phone TEXT)";

/// Two connections to one database on the disk.
fn two_connections(folder: &std::path::Path) -> (Replica, Replica) {
    let open = || {
        let connection = Connection::open(folder.join("shared.db")).unwrap();
        connection
            .pragma_update(None, "journal_mode", "wal")
            .unwrap();
        Replica::open(connection, WriterKey([1; 32])).unwrap()
    };
    (open(), open())
}

#[test]
fn what_one_connection_remembers_ends_where_another_begins() {
    let folder = tempfile::tempdir().unwrap();
    let (mut one, mut two) = two_connections(folder.path());
    one.connection().execute_batch(SCHEMA).unwrap();
    one.declare(&[Merged::table("contact")], Millis(1)).unwrap();
    let insert = "INSERT INTO contact VALUES (?1, ?2, NULL)";
    for round in 0..30 {
        let (now, next) = (Millis(10 + round), format!("{round}"));
        one.execute(now, insert, (&next, "one")).unwrap();
        two.execute(now, insert, (format!("{round} of two"), "two"))
            .unwrap();
        // A tombstone that the first has not seen, and a row whose clocks it has at hand.
        two.execute(now, "DELETE FROM contact WHERE id = ?1", [&next])
            .unwrap();
        one.execute(now, insert, (&next, "again")).unwrap();
        two.execute(
            now,
            "UPDATE contact SET phone = 'two' WHERE id = ?1",
            [&next],
        )
        .unwrap();
        one.execute(
            now,
            "UPDATE contact SET name = 'last' WHERE id = ?1",
            [&next],
        )
        .unwrap();
    }
    // Whoever takes all of it as a state gets every life and every clock right, or the tables would differ.
    let mut copy = Peer::new(2, SCHEMA, &[Merged::table("contact")]);
    let changes = one.changes_since(0).unwrap();
    for part in changes.parts.iter().flat_map(|(_, parts)| parts) {
        copy.replica
            .merging(|merging| merging.apply_state(None, part))
            .unwrap();
    }
    assert_eq!(
        one.digest(None).unwrap(),
        copy.replica.digest(None).unwrap()
    );
    assert_eq!(one.digest(None).unwrap(), two.digest(None).unwrap());
    let lives: i64 = one
        .connection()
        .query_row(
            "SELECT count(*) FROM contact WHERE name = 'last' AND phone = 'two'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(lives, 30);
    // Second lives begin at 3: a delete of the first life, arriving late, must not take them away.
    let graves: i64 = one
        .connection()
        .query_row("SELECT count(*) FROM replica_grave_1", [], |row| row.get(0))
        .unwrap();
    assert_eq!(graves, 0);
}

#[test]
fn two_connections_with_the_engine_work_on_one_database() {
    let folder = tempfile::tempdir().unwrap();
    let (mut one, mut two) = two_connections(folder.path());
    one.connection().execute_batch(SCHEMA).unwrap();
    one.declare(&[Merged::table("contact")], Millis(1)).unwrap();
    // The other has never heard of the table, and learns of it when it begins.
    let mut stamps = Vec::new();
    for round in 0..20 {
        let replica = if round % 2 == 0 { &mut one } else { &mut two };
        let committed = replica
            .transaction(Millis(7), |transaction| {
                transaction.execute(
                    "INSERT INTO contact VALUES (?1, 'x', NULL) ON CONFLICT DO UPDATE SET phone = ?2",
                    (format!("key{}", round / 3), round),
                )
            })
            .unwrap();
        stamps.push(committed.hlc.unwrap());
    }
    assert!(stamps.is_sorted_by(|earlier, later| earlier < later));
    assert_eq!(one.digest(None).unwrap(), two.digest(None).unwrap());
    assert_eq!(one.version().unwrap(), 20);

    one.connection()
        .execute_batch("ALTER TABLE contact ADD COLUMN mail TEXT")
        .unwrap();
    one.declare(&[Merged::table("contact")], Millis(1)).unwrap();
    two.execute(Millis(8), "UPDATE contact SET mail = 'm'", [])
        .unwrap();
    let mut copy = Peer::new(
        2,
        "CREATE TABLE contact(id TEXT PRIMARY KEY, name TEXT, phone TEXT, mail TEXT)",
        &[Merged::table("contact")],
    );
    let changes = one.changes_since(0).unwrap();
    copy.replica
        .merging(|merging| merging.apply_state(None, &changes.parts[0].1[0]))
        .unwrap();
    assert_eq!(
        copy.replica.digest(None).unwrap().content,
        one.digest(None).unwrap().content
    );
}

#[test]
fn a_database_that_another_connection_holds_is_busy_and_unharmed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("busy.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .pragma_update(None, "journal_mode", "wal")
        .unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    connection.busy_timeout(std::time::Duration::ZERO).unwrap();
    let mut replica = Replica::open(connection, WriterKey([1; 32])).unwrap();
    replica
        .declare(&[Merged::table("contact")], Millis(1))
        .unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = replica
        .execute(Millis(2), "DELETE FROM contact", [])
        .unwrap_err();
    let aeroedge_replica::TransactionError::Storage(aeroedge_replica::StorageError::Sqlite(error)) =
        error
    else {
        panic!("{error:?}")
    };
    assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
    other.execute_batch("COMMIT").unwrap();
    replica
        .execute(Millis(2), "INSERT INTO contact VALUES ('a', 'b', 'c')", [])
        .unwrap();
}

#[test]
fn a_savepoint_rolled_back_by_an_old_statement_leaves_no_trace() {
    let tables = [Merged::table("contact")];
    let mut one = Peer::new(1, SCHEMA, &tables);
    one.sql("INSERT INTO contact VALUES ('a', 'Amelia', '1'), ('b', 'Bessie', '2')")
        .unwrap();
    for _ in 0..2 {
        // The second time the statements come prepared out of the cache.
        one.write(|transaction| {
            let run = |sql: &str| transaction.prepare_cached(sql)?.execute([]);
            run("SAVEPOINT s")?;
            run("UPDATE contact SET name = 'gone'")?;
            run("DELETE FROM contact WHERE id = 'b'")?;
            run("INSERT INTO contact VALUES ('c', 'Cora', '3')")?;
            run("ROLLBACK TO s")?;
            run("UPDATE contact SET phone = phone || '!' WHERE id = 'a'")?;
            run("RELEASE s")
        })
        .unwrap();
    }
    let mut two = Peer::new(2, SCHEMA, &tables);
    two.receive(&one.entries);
    assert_eq!(
        two.query("SELECT * FROM contact ORDER BY id"),
        "a|Amelia|1!!\nb|Bessie|2"
    );
    assert_eq!(
        one.replica.digest(None).unwrap(),
        two.replica.digest(None).unwrap()
    );
}

#[test]
fn a_transaction_that_changes_nothing_has_no_stamp() {
    let mut one = Peer::new(1, SCHEMA, &[Merged::table("contact")]);
    one.sql("INSERT INTO contact VALUES ('a', 'Amelia', '1')")
        .unwrap();
    let before = one.replica.version().unwrap();
    for sql in [
        "UPDATE contact SET name = name",
        "INSERT INTO contact VALUES ('x', 'y', 'z'); DELETE FROM contact WHERE id = 'x'",
        "CREATE TABLE unrelated(x); INSERT INTO unrelated VALUES (1)",
        "SAVEPOINT s; DELETE FROM contact; ROLLBACK TO s; RELEASE s",
        "REPLACE INTO contact VALUES ('a', 'Amelia', '1')",
    ] {
        one.sql(sql).unwrap();
        assert_eq!(one.replica.version().unwrap(), before, "{sql}");
    }
    assert_eq!(one.entries.len(), 1);
}

const VISITS: &str = "CREATE TABLE visit(room BLOB, id TEXT, place TEXT, PRIMARY KEY(room, id))";

fn rooms() -> [Merged; 1] {
    [Merged {
        compartment: CompartmentRule::Column("room".into()),
        ..Merged::table("visit")
    }]
}

#[test]
fn a_transaction_makes_one_changeset_for_each_compartment_it_touches() {
    let mut one = Peer::new(1, VISITS, &rooms());
    one.sql(&format!(
        "INSERT INTO visit VALUES (x'{0}', 'a', 'p'), (x'{1}', 'b', 'q'), (x'{0}', 'c', 'r')",
        "01".repeat(16),
        "02".repeat(16)
    ))
    .unwrap();
    let compartments: Vec<_> = one.entries[0]
        .parts
        .iter()
        .map(|(compartment, _)| *compartment)
        .collect();
    assert_eq!(
        compartments,
        [Some(CompartmentId([1; 16])), Some(CompartmentId([2; 16]))]
    );
    // Nothing of the one stands in the bytes of the other.
    let second = &one.entries[0].parts[1].1[0];
    assert!(!second.windows(16).any(|window| window == [1; 16]));
    assert!(
        !second
            .windows(2)
            .any(|window| window == [0xa1, b'p'] || window == [0xa1, b'r'])
    );
    // Moving a row is a delete in one and an insert in the other.
    one.sql(&format!(
        "UPDATE visit SET room = x'{}' WHERE id = 'a'",
        "02".repeat(16)
    ))
    .unwrap();
    assert_eq!(one.entries[1].parts.len(), 2);
    let mut two = Peer::new(2, VISITS, &rooms());
    two.receive(&one.entries);
    assert_eq!(
        one.replica.digest(None).unwrap(),
        two.replica.digest(None).unwrap()
    );
}

#[test]
fn a_key_that_sqlite_would_change_or_refuse_is_refused_before() {
    let tables = [Merged::table("t")];
    let text = "CREATE TABLE t(id TEXT PRIMARY KEY, a)";
    let integer = "CREATE TABLE t(id INTEGER PRIMARY KEY, a)";
    let blob = "CREATE TABLE t(id BLOB PRIMARY KEY, a INTEGER) STRICT";
    for (from, id, to) in [
        (text, "'words'", integer),
        (integer, "5", text),
        (text, "'words'", blob),
    ] {
        let mut one = Peer::new(1, from, &tables);
        one.sql(&format!("INSERT INTO t VALUES ({id}, 1)")).unwrap();
        let mut two = Peer::new(2, to, &tables);
        let outcome = two.replica.merging(|merging| {
            let applied = merging.apply(&Incoming {
                stamp: one.entries[0].stamp,
                part: 0,
                compartment: None,
                seen: &|_| Hlc::ZERO,
                changes: &one.entries[0].parts[0].1[0],
            });
            assert!(matches!(applied, Err(MergeError::BadKey(_))), "{applied:?}");
            Ok::<_, MergeError>(())
        });
        outcome.unwrap();
        assert_eq!(two.query("SELECT count(*) FROM t"), "0");
    }
}

#[test]
fn a_row_of_another_compartment_is_refused_with_its_whole_changeset() {
    let mut one = Peer::new(1, VISITS, &rooms());
    one.sql(&format!(
        "INSERT INTO visit VALUES (x'{}', 'a', 'p')",
        "01".repeat(16)
    ))
    .unwrap();
    let mut two = Peer::new(2, VISITS, &rooms());
    let before = two.replica.digest(None).unwrap();
    for claimed in [Some(CompartmentId([9; 16])), None] {
        let outcome = two.replica.merging(|merging| {
            let applied = merging.apply(&Incoming {
                stamp: one.entries[0].stamp,
                part: 0,
                compartment: claimed,
                seen: &|_| Hlc::ZERO,
                changes: &one.entries[0].parts[0].1[0],
            });
            assert!(
                matches!(applied, Err(MergeError::OtherCompartment(_))),
                "{applied:?}"
            );
            Ok::<_, MergeError>(())
        });
        outcome.unwrap();
    }
    assert_eq!(two.replica.digest(None).unwrap(), before);
    let error = one
        .sql("INSERT INTO visit VALUES (x'01', 'a', 'p')")
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "a row of table visit does not name its compartment with 16 bytes; name it"
    );
}

/// Everything that merging decides: rows, lives, stamps, tombstones and conflicts.
fn decided(peer: &mut Peer) -> String {
    let conflicts = peer.query(
        "SELECT hex(c.key), life, hlc, w.key, cells FROM replica_conflict AS c JOIN replica_writer AS w ON w.number = writer
         ORDER BY 1, 2, 3, 4",
    );
    let graves = peer.query(
        "SELECT hex(g.key), life, hlc, w.key FROM replica_grave_1 AS g JOIN replica_writer AS w ON w.number = writer",
    );
    let rows = peer.query("SELECT * FROM contact ORDER BY id");
    let digest = peer.replica.digest(None).unwrap();
    format!("{digest:?}\n{conflicts}\n{graves}\n{rows}")
}

#[test]
fn large_changesets_merge_alike_at_once_and_piece_by_piece() {
    let tables = [Merged::table("contact")];
    let mut other = Peer::new(3, SCHEMA, &tables);
    let mut one = Peer::new(1, SCHEMA, &tables);
    let write = |peer: &mut Peer, numbers: &mut dyn Iterator<Item = u32>, text: &str| {
        peer.write(|transaction| {
            for number in numbers {
                transaction.execute(
                    "INSERT INTO contact VALUES (?1, ?2, NULL) ON CONFLICT DO UPDATE SET name = excluded.name",
                    (format!("key{}", number * 7919 % 5000), text.repeat(100)),
                )?;
            }
            Ok(())
        })
        .unwrap();
    };
    write(&mut other, &mut (0..600), "early");
    other.sql("DELETE FROM contact WHERE id < 'key2'").unwrap();
    one.receive(&other.entries);
    // Neither has seen what the other does from here on.
    write(&mut other, &mut (400..900), "unseen");
    other
        .sql("DELETE FROM contact WHERE id BETWEEN 'key3' AND 'key4'")
        .unwrap();
    one.now += 500;
    write(&mut one, &mut (300..3_300), "one");
    write(&mut one, &mut (3_000..3_010), "small");
    write(&mut one, &mut (2_000..4_500), "more");
    one.sql("DELETE FROM contact WHERE id BETWEEN 'key41' AND 'key44'")
        .unwrap();
    write(&mut one, &mut (0..5_000), "last");
    let parts: usize = one
        .entries
        .iter()
        .flat_map(|entry| &entry.parts)
        .map(|(_, parts)| parts.len())
        .sum();
    assert!(parts > 12, "{parts}");

    let mut at_once = Peer::new(4, SCHEMA, &tables);
    at_once.receive(&other.entries);
    at_once.receive(&one.entries);
    let mut apart = Peer::new(5, SCHEMA, &tables);
    apart.receive(&other.entries);
    for entry in &one.entries {
        for (compartment, parts) in &entry.parts {
            for (part, changes) in parts.iter().enumerate() {
                let incoming = Incoming {
                    stamp: entry.stamp,
                    part: part as u32,
                    compartment: *compartment,
                    seen: &|writer| entry.seen.get(writer).copied().unwrap_or_default(),
                    changes,
                };
                apart
                    .replica
                    .merging(|merging| merging.apply(&incoming))
                    .unwrap();
            }
        }
    }
    let mut late = Peer::new(6, SCHEMA, &tables);
    late.receive(&one.entries);
    late.receive(&other.entries);
    let own: Vec<_> = one
        .entries
        .iter()
        .filter(|entry| entry.stamp.writer == WriterKey([1; 32]))
        .cloned()
        .collect();
    other.receive(&own);
    let expected = decided(&mut at_once);
    assert!(expected.lines().count() > 5_000);
    for peer in [&mut apart, &mut late, &mut other] {
        let found = decided(peer);
        let differs = found
            .lines()
            .zip(expected.lines())
            .find(|(one, other)| one != other);
        assert_eq!(differs, None, "writer {:?}", peer.replica.writer());
        assert_eq!(found.len(), expected.len());
    }
}

#[test]
fn a_large_transaction_comes_in_parts_that_merge_one_by_one() {
    let tables = [Merged::table("contact")];
    let mut one = Peer::new(1, SCHEMA, &tables);
    one.write(|transaction| {
        for number in 0..3_000 {
            transaction.execute(
                "INSERT INTO contact VALUES (?1, ?2, NULL)",
                (format!("key{number}"), "x".repeat(300)),
            )?;
        }
        Ok(())
    })
    .unwrap();
    let parts = &one.entries[0].parts[0].1;
    assert!(parts.len() > 3);
    assert!(parts.iter().all(|part| part.len() <= 256 << 10));
    let mut two = Peer::new(2, SCHEMA, &tables);
    for round in 0..2 {
        for (number, part) in parts.iter().enumerate() {
            let outcome = two
                .replica
                .merging(|merging| {
                    merging.apply(&Incoming {
                        stamp: one.entries[0].stamp,
                        part: number as u32,
                        compartment: None,
                        seen: &|_| Hlc::ZERO,
                        changes: part,
                    })
                })
                .unwrap();
            assert_eq!(
                outcome.value,
                if round == 0 {
                    Applied::Merged
                } else {
                    Applied::Known
                }
            );
        }
    }
    assert_eq!(
        one.replica.digest(None).unwrap(),
        two.replica.digest(None).unwrap()
    );
}

//! Connections without the engine can read merged tables and cannot write them.

use aeroedge_ids::{Millis, WriterKey};
use aeroedge_replica::rusqlite::Connection;
use aeroedge_replica::{Merged, Replica};

const SCHEMA: &str = "
    CREATE TABLE contact(id TEXT PRIMARY KEY, name TEXT, phone TEXT);
    CREATE TABLE pair(a INTEGER, b INTEGER, note TEXT, PRIMARY KEY(a, b)) WITHOUT ROWID;
    CREATE TABLE other(x);";

fn database() -> (tempfile::TempDir, Replica, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("contacts.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .pragma_update(None, "journal_mode", "wal")
        .unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    let mut replica = Replica::open(connection, WriterKey([1; 32])).unwrap();
    replica
        .declare(
            &[Merged::table("contact"), Merged::table("pair")],
            Millis(1),
        )
        .unwrap();
    replica
        .transaction(Millis(2), |transaction| {
            transaction.execute_batch("INSERT INTO contact VALUES ('a', 'Amelia', '1'); INSERT INTO pair VALUES (1, 2, 'x')")
        })
        .unwrap();
    let foreign = Connection::open(&path).unwrap();
    (folder, replica, foreign)
}

const WRITES: [&str; 12] = [
    "INSERT INTO contact VALUES ('b', 'Bessie', '2')",
    "INSERT OR REPLACE INTO contact VALUES ('a', 'Bessie', '2')",
    "UPDATE contact SET phone = '3'",
    "UPDATE contact SET name = '3' WHERE id = 'a'",
    "UPDATE contact SET id = 'z'",
    "DELETE FROM contact WHERE id = 'a'",
    "DELETE FROM contact",
    "INSERT INTO pair VALUES (3, 4, 'y')",
    "UPDATE pair SET note = 'y'",
    "UPDATE pair SET a = 7",
    "DELETE FROM pair WHERE a = 1",
    "DELETE FROM pair",
];

#[test]
fn a_connection_without_the_engine_cannot_write_merged_tables() {
    let (_folder, _replica, foreign) = database();
    for sql in WRITES {
        let error = foreign.execute_batch(sql).unwrap_err().to_string();
        assert!(error.contains("replica_guard"), "{sql}: {error}");
    }
    foreign
        .execute_batch("INSERT INTO other VALUES (1); DELETE FROM other")
        .unwrap();
}

#[test]
fn a_connection_without_the_engine_can_read() {
    let (_folder, _replica, foreign) = database();
    let name: String = foreign
        .query_row(
            "SELECT name FROM contact JOIN pair ON a = 1 WHERE id = 'a' ORDER BY phone",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(name, "Amelia");
}

#[test]
fn the_engines_own_connection_writes_only_in_its_transactions() {
    let (_folder, replica, _foreign) = database();
    for sql in WRITES {
        let error = replica
            .connection()
            .execute_batch(sql)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("through a transaction of the merge engine"),
            "{sql}: {error}"
        );
    }
    replica
        .connection()
        .execute_batch("INSERT INTO other VALUES (1)")
        .unwrap();
}

#[test]
fn a_transaction_cannot_end_itself() {
    let (_folder, mut replica, _foreign) = database();
    for sql in ["COMMIT", "ROLLBACK", "BEGIN"] {
        let outcome = replica.transaction(Millis(3), |transaction| transaction.execute_batch(sql));
        assert!(outcome.is_err(), "{sql}");
    }
    assert!(replica.connection().is_autocommit());
}

#[test]
fn a_conflict_clause_that_rolls_back_leaves_nothing_and_says_so() {
    let (_folder, mut replica, _foreign) = database();
    let before = replica.digest(None).unwrap();
    let outcome = replica.transaction(Millis(3), |transaction| {
        transaction.execute_batch("INSERT INTO contact VALUES ('b', 'Bessie', '2')")?;
        let _ =
            transaction.execute_batch("INSERT OR ROLLBACK INTO contact VALUES ('a', 'again', '2')");
        Ok::<_, aeroedge_replica::rusqlite::Error>(())
    });
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "the transaction was rolled back before its end; run it again"
    );
    assert_eq!(replica.digest(None).unwrap(), before);
    replica
        .execute(Millis(4), "DELETE FROM contact", [])
        .unwrap();
}

#[test]
fn a_panicking_closure_leaves_nothing_behind() {
    let (_folder, mut replica, _foreign) = database();
    let before = replica.digest(None).unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = replica.transaction(
            Millis(3),
            |transaction| -> Result<(), aeroedge_replica::rusqlite::Error> {
                transaction.execute_batch("DELETE FROM contact")?;
                panic!("for the test")
            },
        );
    }));
    assert!(caught.is_err());
    replica
        .execute(Millis(4), "UPDATE pair SET note = note", [])
        .unwrap();
    assert_eq!(replica.digest(None).unwrap(), before);
}

#[test]
fn maintenance_touches_no_row_and_keeps_clocks() {
    let (_folder, mut replica, _foreign) = database();
    replica
        .transaction(Millis(3), |transaction| {
            for number in 0..500 {
                transaction.execute(
                    "INSERT INTO contact(id, name) VALUES (?1, 'x')",
                    [format!("key{number}")],
                )?;
            }
            transaction.execute_batch("DELETE FROM contact WHERE rowid % 3 = 0")
        })
        .unwrap();
    replica
        .execute(
            Millis(4),
            "UPDATE contact SET name = 'y' WHERE rowid % 7 = 0",
            [],
        )
        .unwrap();
    let before = replica.digest(None).unwrap();
    let rowids: i64 = replica
        .connection()
        .query_row("SELECT sum(rowid) FROM contact", [], |row| row.get(0))
        .unwrap();
    replica
        .maintain(|connection| {
            connection.execute_batch("VACUUM; REINDEX; ANALYZE; PRAGMA optimize")
        })
        .unwrap();
    let check: String = replica
        .maintain(|connection| connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)))
        .unwrap();
    assert_eq!(check, "ok");
    let after: i64 = replica
        .connection()
        .query_row("SELECT sum(rowid) FROM contact", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rowids, after);
    assert_eq!(replica.digest(None).unwrap(), before);
}

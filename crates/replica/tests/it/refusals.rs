//! Tables that cannot merge are refused with one sentence, and nothing of the declaration remains.

use aeroedge_ids::{Millis, WriterKey};
use aeroedge_replica::rusqlite::Connection;
use aeroedge_replica::{CompartmentRule, Merged, OpenError, Replica, StorageError};

fn open(schema: &str) -> Replica {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(schema).unwrap();
    Replica::open(connection, WriterKey([1; 32])).unwrap()
}

fn check(schema: &str, expected: &str) {
    let mut replica = open(schema);
    let error = replica
        .declare(&[Merged::table("t")], Millis(1))
        .unwrap_err();
    assert_eq!(error.to_string(), expected, "{schema}");
    let left: i64 = replica
        .connection()
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'replica_*_[0-9]*'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(left, 0, "{schema}");
}

#[test]
fn each_reason_has_its_sentence() {
    check("", "there is no table t; create it first");
    check(
        "CREATE VIEW t AS SELECT 1",
        "t is not an ordinary table; only ordinary tables merge",
    );
    check(
        "CREATE VIRTUAL TABLE t USING fts5(a)",
        "t is not an ordinary table; only ordinary tables merge",
    );
    check(
        "CREATE TABLE t(a)",
        "table t has no primary key; declare one",
    );
    check(
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b UNIQUE)",
        "table t has another unique index (sqlite_autoindex_t_1); drop it and look for duplicates instead",
    );
    check(
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE UNIQUE INDEX one ON t(b)",
        "table t has another unique index (one); drop it and look for duplicates instead",
    );
    check(
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b CHECK (b > 0))",
        "table t has a CHECK constraint; check in the program instead",
    );
    check(
        "CREATE TABLE t(a INTEGER PRIMARY KEY); CREATE TRIGGER go AFTER INSERT ON t BEGIN SELECT 1; END",
        "table t has a trigger (go); drop it and do its work in the program",
    );
    check(
        "CREATE TABLE t(a INTEGER PRIMARY KEY); CREATE TEMP TRIGGER go AFTER INSERT ON t BEGIN SELECT 1; END",
        "table t has a trigger (go); drop it and do its work in the program",
    );
    check(
        "CREATE TABLE p(a INTEGER PRIMARY KEY); CREATE TABLE t(a INTEGER PRIMARY KEY, b REFERENCES p)",
        "table t takes part in an enforced foreign key; switch enforcement off with PRAGMA foreign_keys = OFF",
    );
    check(
        "CREATE TABLE t(a INTEGER PRIMARY KEY); CREATE TABLE c(a INTEGER PRIMARY KEY, b REFERENCES t)",
        "table t takes part in an enforced foreign key; switch enforcement off with PRAGMA foreign_keys = OFF",
    );
    check(
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b INT, c AS (b + 1))",
        "table t has a generated column (c); compute it in a view instead",
    );
    check(
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b NOT NULL)",
        "column b of table t is NOT NULL and has no default; give it one",
    );
    check(
        "CREATE TABLE t(a TEXT COLLATE NOCASE PRIMARY KEY)",
        "key column a of table t compares with NOCASE; use the default BINARY",
    );
    check(
        "CREATE TABLE t(a REAL PRIMARY KEY)",
        "key column a of table t holds floating-point numbers; use INTEGER, TEXT or BLOB",
    );
    check(
        "CREATE TABLE t(rowid, oid, _rowid_, k TEXT PRIMARY KEY)",
        "table t has columns named rowid, oid and _rowid_; rename one of them",
    );
    check(
        "CREATE TABLE t(a TEXT PRIMARY KEY); INSERT INTO t VALUES (NULL)",
        "table t has a row whose key is NULL or a floating-point number; mend or delete it first",
    );
}

#[test]
fn foreign_keys_that_are_not_enforced_are_welcome() {
    let mut replica = open(
        "PRAGMA foreign_keys = OFF; CREATE TABLE p(a INTEGER PRIMARY KEY); CREATE TABLE t(a INTEGER PRIMARY KEY, b REFERENCES p)",
    );
    replica
        .declare(&[Merged::table("t"), Merged::table("p")], Millis(1))
        .unwrap();
}

#[test]
fn declaring_again_changes_nothing() {
    let mut replica = open("CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
    for _ in 0..3 {
        replica.declare(&[Merged::table("t")], Millis(1)).unwrap();
    }
    let version: i64 = replica
        .connection()
        .query_row("PRAGMA schema_version", [], |row| row.get(0))
        .unwrap();
    replica.declare(&[Merged::table("t")], Millis(1)).unwrap();
    let after: i64 = replica
        .connection()
        .query_row("PRAGMA schema_version", [], |row| row.get(0))
        .unwrap();
    assert_eq!(version, after);
}

#[test]
fn a_compartment_column_must_be_in_the_key_and_stay() {
    let mut replica = open("CREATE TABLE t(a BLOB, b TEXT, c BLOB, PRIMARY KEY(a, b))");
    let within = |column: &str| Merged {
        compartment: CompartmentRule::Column(column.into()),
        ..Merged::table("t")
    };
    let error = replica.declare(&[within("c")], Millis(1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "compartment column c of table t is not part of the primary key; add it there"
    );
    replica.declare(&[within("a")], Millis(1)).unwrap();
    let error = replica
        .declare(&[Merged::table("t")], Millis(1))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "table t was declared with another compartment rule; its rows live where they live"
    );
}

#[test]
fn keys_that_name_nothing_fail_their_transaction() {
    let mut replica =
        open("CREATE TABLE t(a TEXT PRIMARY KEY, b); CREATE TABLE u(a PRIMARY KEY, b)");
    replica
        .declare(&[Merged::table("t"), Merged::table("u")], Millis(1))
        .unwrap();
    for sql in [
        "INSERT INTO t VALUES (NULL, 1)",
        "INSERT INTO u VALUES (1.5, 1)",
    ] {
        let error = replica.execute(Millis(2), sql, []).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("has a key that is NULL or a floating-point number"),
            "{error}"
        );
    }
    replica
        .execute(
            Millis(3),
            "INSERT INTO u VALUES (1, 1), ('1', 2), (x'31', 3)",
            [],
        )
        .unwrap();
    assert_eq!(replica.digest(None).unwrap().rows, 3);
}

#[test]
fn a_database_of_a_newer_program_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("newer.db");
    drop(Replica::open(Connection::open(&path).unwrap(), WriterKey([1; 32])).unwrap());
    Connection::open(&path)
        .unwrap()
        .execute_batch("UPDATE replica_state SET format = 99")
        .unwrap();
    let watcher = Connection::open(&path).unwrap();
    let changes = || {
        watcher
            .query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    let before = changes();
    let error = Replica::open(Connection::open(&path).unwrap(), WriterKey([1; 32])).unwrap_err();
    assert!(matches!(
        error,
        OpenError::Storage(StorageError::Newer { found: 99 })
    ));
    assert_eq!(
        error.to_string(),
        "this database has merge format 99 and this program knows 1; update the program"
    );
    assert_eq!(changes(), before);
}

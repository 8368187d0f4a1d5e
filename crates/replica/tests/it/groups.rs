//! Transactions committed together come to the same as one by one, and each fails alone.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use aeroedge_ids::{Millis, WriterKey};
use aeroedge_replica::rusqlite::{self, Connection};
use aeroedge_replica::{
    Committed, Journal, JournalError, LocalTransaction, MergeError, Merged, Replica, StorageError,
    Transaction, TransactionError,
};
use proptest::prelude::*;

use crate::support::Log;

const SCHEMA: &str = "CREATE TABLE note(id TEXT PRIMARY KEY, title TEXT, body TEXT);
    CREATE TABLE tag(note TEXT, name TEXT, PRIMARY KEY (note, name)) WITHOUT ROWID;";

fn replica(connection: Connection) -> Replica {
    let mut replica = Replica::open(connection, WriterKey([1; 32])).unwrap();
    let exists: bool = replica
        .connection()
        .query_row(
            "SELECT EXISTS(SELECT 1 FROM sqlite_schema WHERE name = 'note')",
            [],
            |row| row.get(0),
        )
        .unwrap();
    if !exists {
        replica.connection().execute_batch(SCHEMA).unwrap();
    }
    replica
        .declare(&[Merged::table("note"), Merged::table("tag")], Millis(1))
        .unwrap();
    replica
}

fn in_memory() -> Replica {
    replica(Connection::open_in_memory().unwrap())
}

fn commit(replica: &mut Replica) -> Result<bool, StorageError> {
    replica.commit_group(|_| Ok::<_, StorageError>(()))
}

/// One transaction: statements, and how it ends.
#[derive(Debug, Clone)]
struct Act {
    statements: Vec<String>,
    ending: Ending,
    /// Whether the group ends after it.
    last: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Well,
    /// The application gives up.
    Error,
    /// The journal cannot take it.
    Journal,
    /// A key that cannot be one.
    BadKey,
    /// The application takes back a part and goes on.
    Partly,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let row = 0..6_u8;
    let statement = prop_oneof![
        3 => (row.clone(), any::<u8>()).prop_map(|(row, value)| format!(
            "INSERT INTO note VALUES ('{row}', 't{value}', NULL) ON CONFLICT DO UPDATE SET title = 't{value}'"
        )),
        2 => (row.clone(), any::<u8>()).prop_map(|(row, value)| format!(
            "UPDATE note SET body = 'b{value}' WHERE id >= '{row}'"
        )),
        1 => row.clone().prop_map(|row| format!("DELETE FROM note WHERE id = '{row}'")),
        1 => row.clone().prop_map(|row| format!("INSERT OR REPLACE INTO note VALUES ('{row}', 'r', 'r')")),
        1 => (row.clone(), row.clone()).prop_map(|(note, name)| format!(
            "INSERT OR IGNORE INTO tag VALUES ('{note}', '{name}')"
        )),
        1 => row.prop_map(|note| format!("DELETE FROM tag WHERE note = '{note}'")),
    ];
    let ending = prop_oneof![
        6 => Just(Ending::Well),
        1 => Just(Ending::Error),
        1 => Just(Ending::Journal),
        1 => Just(Ending::BadKey),
        1 => Just(Ending::Partly),
    ];
    let act = (
        prop::collection::vec(statement, 1..4),
        ending,
        prop::bool::weighted(0.2),
    )
        .prop_map(|(statements, ending, last)| Act {
            statements,
            ending,
            last,
        });
    prop::collection::vec(act, 1..30)
}

/// Refuses when told to.
struct Choosy<'a> {
    log: &'a mut Log,
    refuses: bool,
}

impl Journal for Choosy<'_> {
    fn append(
        &mut self,
        connection: &Connection,
        transaction: &LocalTransaction<'_>,
    ) -> Result<(), JournalError> {
        if self.refuses {
            return Err("full".into());
        }
        self.log.append(connection, transaction)
    }
}

fn run(
    replica: &mut Replica,
    log: &mut Log,
    act: &Act,
) -> Result<Committed<()>, TransactionError<rusqlite::Error>> {
    let mut journal = Choosy {
        log,
        refuses: act.ending == Ending::Journal,
    };
    replica.transaction_with(Millis(50), &mut journal, |transaction: &Transaction<'_>| {
        for statement in &act.statements {
            transaction.execute_batch(statement)?;
        }
        match act.ending {
            Ending::Well | Ending::Journal => {}
            Ending::Error => return Err(rusqlite::Error::QueryReturnedNoRows),
            Ending::BadKey => {
                transaction.execute_batch("INSERT INTO note VALUES (NULL, 'n', NULL)")?;
            }
            Ending::Partly => transaction.execute_batch(
                "SAVEPOINT part; DELETE FROM note; INSERT INTO note VALUES ('gone', 'g', NULL);
                 ROLLBACK TO part; RELEASE part",
            )?,
        }
        Ok(())
    })
}

/// Everything the engine keeps, as text.
fn inside(replica: &Replica) -> String {
    let mut all = String::new();
    for sql in [
        "SELECT * FROM note",
        "SELECT * FROM tag",
        "SELECT chunk, era, hex(clocks) FROM replica_clock_1 WHERE era >= 0",
        "SELECT chunk, era, hex(clocks) FROM replica_clock_2 WHERE era >= 0",
        "SELECT hex(key), life, hlc, writer, version FROM replica_grave_1",
        "SELECT hex(key), life, hlc, writer, version FROM replica_grave_2",
        "SELECT slot, hex(key) FROM replica_slot_2",
    ] {
        let mut statement = replica.connection().prepare(sql).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                let _ = write!(all, "{:?},", row.get_ref(column).unwrap());
            }
            all.push('\n');
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn together_comes_to_the_same_as_one_by_one(acts in acts()) {
        let (mut alone, mut together) = (in_memory(), in_memory());
        let (mut log_alone, mut log_together) = (Log::default(), Log::default());
        for act in &acts {
            let one = run(&mut alone, &mut log_alone, act);
            together.begin_group();
            let other = run(&mut together, &mut log_together, act);
            prop_assert_eq!(format!("{one:?}"), format!("{other:?}"));
            prop_assert_eq!(alone.version().unwrap(), together.version().unwrap());
            if act.last {
                commit(&mut together).unwrap();
            }
        }
        commit(&mut together).unwrap();
        prop_assert!(log_alone.0.is_sorted_by(|earlier, later| earlier.0 < later.0));
        prop_assert_eq!(log_alone.0, log_together.0);
        prop_assert_eq!(alone.last_hlc().unwrap(), together.last_hlc().unwrap());
        prop_assert_eq!(inside(&alone), inside(&together));
        // What is remembered is what a stranger reads.
        let state = together.changes_since(0).unwrap();
        let mut copy = in_memory();
        copy.merge_state(&state).unwrap();
        prop_assert_eq!(copy.digest(None).unwrap(), together.digest(None).unwrap());
    }
}

fn insert(replica: &mut Replica, id: &str) -> Result<usize, TransactionError<rusqlite::Error>> {
    replica.execute(Millis(60), "INSERT INTO note VALUES (?1, 'x', NULL)", [id])
}

fn ids(replica: &Replica) -> Vec<String> {
    let mut statement = replica
        .connection()
        .prepare("SELECT id FROM note ORDER BY id")
        .unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn a_crash_in_a_group_takes_all_of_it_and_nothing_before() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let connection = Connection::open(folder.path().join("group.db")).unwrap();
        connection
            .pragma_update(None, "journal_mode", "wal")
            .unwrap();
        replica(connection)
    };
    let mut before = open();
    before.begin_group();
    insert(&mut before, "kept").unwrap();
    assert!(commit(&mut before).unwrap());
    let (version, stamp) = (before.version().unwrap(), before.last_hlc().unwrap());
    before.begin_group();
    insert(&mut before, "lost").unwrap();
    insert(&mut before, "lost too").unwrap();
    let seen: i64 = Connection::open(folder.path().join("group.db"))
        .unwrap()
        .query_row("SELECT count(*) FROM note", [], |row| row.get(0))
        .unwrap();
    assert_eq!(seen, 1, "nobody sees it yet");
    drop(before);
    let mut after = open();
    assert_eq!(ids(&after), ["kept"]);
    assert_eq!(
        (after.version().unwrap(), after.last_hlc().unwrap()),
        (version, stamp)
    );
    insert(&mut after, "next").unwrap();
    assert!(after.last_hlc().unwrap() > stamp);
}

#[test]
fn a_transaction_that_ends_sqlites_own_ends_the_group_and_all_are_told() {
    let mut replica = in_memory();
    insert(&mut replica, "before").unwrap();
    replica.begin_group();
    insert(&mut replica, "in the group").unwrap();
    let ended = replica.execute(
        Millis(60),
        "INSERT OR ROLLBACK INTO note VALUES ('before', 'x', NULL)",
        [],
    );
    assert!(ended.is_err());
    let late = insert(&mut replica, "late");
    assert!(
        matches!(
            late,
            Err(TransactionError::Storage(StorageError::GroupLost))
        ),
        "{late:?}"
    );
    assert!(matches!(commit(&mut replica), Err(StorageError::GroupLost)));
    assert_eq!(ids(&replica), ["before"]);
    insert(&mut replica, "after").unwrap();
    assert_eq!(ids(&replica), ["after", "before"]);
}

#[test]
fn the_first_of_a_group_may_fail_in_any_way() {
    let mut replica = in_memory();
    insert(&mut replica, "before").unwrap();
    replica.begin_group();
    let sql = "INSERT OR ROLLBACK INTO note VALUES ('before', 'x', NULL)";
    assert!(replica.execute(Millis(60), sql, []).is_err());
    insert(&mut replica, "next").unwrap();
    assert!(commit(&mut replica).unwrap());
    assert_eq!(ids(&replica), ["before", "next"]);
}

#[test]
fn a_panic_takes_back_its_own_transaction() {
    let mut replica = in_memory();
    for first in [true, false] {
        replica.begin_group();
        if !first {
            insert(&mut replica, "of the group").unwrap();
        }
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            replica.transaction(Millis(60), |transaction| {
                transaction.execute("INSERT INTO note VALUES ('half', 'x', NULL)", [])?;
                std::panic::resume_unwind(Box::new("planted"));
                #[expect(unreachable_code, reason = "names the error")]
                Ok::<_, rusqlite::Error>(())
            })
        }));
        assert!(panicked.is_err());
        insert(&mut replica, if first { "one" } else { "two" }).unwrap();
        assert!(commit(&mut replica).unwrap());
    }
    assert_eq!(ids(&replica), ["of the group", "one", "two"]);
}

#[test]
fn merging_waits_until_the_group_is_committed() {
    let mut replica = in_memory();
    replica.begin_group();
    insert(&mut replica, "held back").unwrap();
    let merged = replica.merging(|_| Ok::<_, MergeError>(()));
    assert!(
        matches!(merged, Err(MergeError::Storage(StorageError::GroupOpen))),
        "{merged:?}"
    );
    assert!(
        replica
            .declare(&[Merged::table("note")], Millis(1))
            .is_err()
    );
    assert!(commit(&mut replica).unwrap());
    assert!(!commit(&mut replica).unwrap());
    assert_eq!(ids(&replica), ["held back"]);
    replica.merging(|_| Ok::<_, MergeError>(())).unwrap();
}

#[test]
fn an_error_at_the_end_takes_back_the_group() {
    let mut replica = in_memory();
    replica.begin_group();
    insert(&mut replica, "one").unwrap();
    insert(&mut replica, "two").unwrap();
    let ended = replica.commit_group(|_| Err(StorageError::Damaged("planted")));
    assert!(ended.is_err());
    assert_eq!(ids(&replica), [""; 0]);
    assert_eq!(replica.version().unwrap(), 0);
    insert(&mut replica, "three").unwrap();
    assert_eq!(replica.version().unwrap(), 1);
}

#[test]
fn the_application_cannot_end_the_savepoint_around_it() {
    let mut replica = in_memory();
    replica.begin_group();
    insert(&mut replica, "one").unwrap();
    for sql in [
        "RELEASE replica_transaction",
        "ROLLBACK TO replica_transaction",
        "SAVEPOINT replica_transaction",
        "COMMIT",
    ] {
        assert!(replica.execute(Millis(60), sql, []).is_err(), "{sql}");
    }
    assert!(commit(&mut replica).unwrap());
    assert_eq!(ids(&replica), ["one"]);
}

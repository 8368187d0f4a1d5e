//! The disk itself: SQLite keeps its promises on it, and breaks them where a promise was not asked for.

use aeroedge_fault_disk::rusqlite::Connection;
use aeroedge_fault_disk::{Disk, Loss};

fn count(connection: &Connection) -> i64 {
    connection
        .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
        .unwrap()
}

fn is_sound(connection: &Connection) -> bool {
    connection
        .query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))
        .is_ok_and(|answer| answer == "ok")
}

/// Five synchronous commits, then five that nobody waited for, crashing after so many steps; what was promised.
fn commit_until_crash(disk: &Disk, connection: &Connection, steps: u64) -> i64 {
    let mut promised = 0;
    disk.crash_after(steps);
    for number in 0..10 {
        let level = if number < 5 { "FULL" } else { "NORMAL" };
        let done = connection.execute_batch(&format!(
            "PRAGMA synchronous = {level}; INSERT INTO t VALUES ({number}, zeroblob(3000))"
        ));
        if done.is_ok() && number < 5 {
            promised += 1;
        }
    }
    promised
}

fn prepared() -> Disk {
    let disk = Disk::empty();
    let connection = disk.open("a.db").unwrap();
    connection
        .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, filling BLOB)")
        .unwrap();
    drop(connection);
    disk.image()
}

#[test]
fn synchronous_commits_survive_every_crash_and_the_database_is_sound() {
    let base = prepared();
    let whole = base.image();
    let connection = whole.open("a.db").unwrap();
    let before = whole.steps();
    commit_until_crash(&whole, &connection, u64::MAX / 2);
    let steps = whole.steps() - before;
    assert!(steps > 20, "{steps}");
    for at in 0..steps {
        let disk = base.image();
        let connection = disk.open("a.db").unwrap();
        let promised = commit_until_crash(&disk, &connection, at);
        for loss in [
            Loss::Killed,
            Loss::Lost,
            Loss::Torn(at),
            Loss::Reordered(at),
        ] {
            let connection = disk.after(loss).open("a.db").unwrap();
            assert!(is_sound(&connection), "step {at}, {loss:?}");
            assert!(count(&connection) >= promised, "step {at}, {loss:?}");
        }
    }
}

#[test]
fn commits_nobody_waited_for_can_be_lost() {
    let disk = prepared();
    let running = disk.open("a.db").unwrap();
    assert_eq!(commit_until_crash(&disk, &running, u64::MAX / 2), 5);
    let connection = disk.after(Loss::Lost).open("a.db").unwrap();
    assert_eq!(count(&connection), 5);
    let connection = disk.after(Loss::Killed).open("a.db").unwrap();
    assert_eq!(count(&connection), 10);
}

#[test]
fn a_full_disk_says_so_and_goes_on_when_there_is_room() {
    let disk = prepared();
    let connection = disk.open("a.db").unwrap();
    disk.limit(Some(disk.used() + 20_000));
    let error = (0..100)
        .find_map(|number| {
            connection
                .execute("INSERT INTO t VALUES (?1, zeroblob(3000))", [number])
                .err()
        })
        .unwrap();
    assert!(error.to_string().contains("full"), "{error}");
    let kept = count(&connection);
    disk.limit(None);
    connection
        .execute("INSERT INTO t VALUES (1000, zeroblob(3000))", [])
        .unwrap();
    assert_eq!(count(&connection), kept + 1);
}

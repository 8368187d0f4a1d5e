//! A parachute jump log: jumps logged on two phones at the drop zone end up on both, however often they meet.

use aeroedge_ids::{Millis, WriterKey};
use aeroedge_replica::{Merged, Replica, rusqlite::Connection};

const SCHEMA: &str = "CREATE TABLE jump(
    jumper TEXT, number INTEGER, day TEXT, height_ft INTEGER, PRIMARY KEY (jumper, number)) WITHOUT ROWID";

fn phone(number: u8) -> Result<Replica, Box<dyn std::error::Error>> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(SCHEMA)?;
    let mut replica = Replica::open(connection, WriterKey([number; 32]))?;
    replica.declare(&[Merged::table("jump")], Millis(0))?;
    Ok(replica)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut kai, mut zoe) = (phone(1)?, phone(2)?);
    kai.transaction(Millis(1), |log| {
        log.execute(
            "INSERT INTO jump VALUES ('Kai', 211, '2026-08-01', 13500)",
            [],
        )?;
        log.execute(
            "INSERT INTO jump VALUES ('Kai', 212, '2026-08-01', 13500)",
            [],
        )
    })?;
    zoe.execute(
        Millis(2),
        "INSERT INTO jump VALUES ('Zoe', 40, '2026-08-01', 5000)",
        [],
    )?;
    for _ in 0..3 {
        zoe.merge_state(&kai.changes_since(0)?)?;
        kai.merge_state(&zoe.changes_since(0)?)?;
    }
    let sql = "SELECT count(*) FROM jump";
    assert_eq!(kai.connection().query_row(sql, [], |row| row.get(0)), Ok(3));
    assert_eq!(kai.digest(None)?.content, zoe.digest(None)?.content);
    Ok(())
}

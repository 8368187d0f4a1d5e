//! A contact list on two devices: each edits its own copy, then both are equal and neither edit is lost.

use aeroedge_ids::{Millis, WriterKey};
use aeroedge_replica::{Merged, Replica, rusqlite::Connection};

fn device(number: u8) -> Result<Replica, Box<dyn std::error::Error>> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch("CREATE TABLE contact(id TEXT PRIMARY KEY, name TEXT, phone TEXT)")?;
    let mut replica = Replica::open(connection, WriterKey([number; 32]))?;
    replica.declare(&[Merged::table("contact")], Millis(0))?;
    Ok(replica)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut phone, mut laptop) = (device(1)?, device(2)?);
    phone.execute(
        Millis(1),
        "INSERT INTO contact VALUES ('a', 'Amelia', '555-0100')",
        [],
    )?;
    laptop.merge_state(&phone.changes_since(0)?)?;
    phone.execute(Millis(2), "UPDATE contact SET name = 'Amelia Earhart'", [])?;
    laptop.execute(Millis(3), "UPDATE contact SET phone = '555-0199'", [])?;
    laptop.merge_state(&phone.changes_since(0)?)?;
    phone.merge_state(&laptop.changes_since(0)?)?;
    assert_eq!(phone.digest(None)?.content, laptop.digest(None)?.content);
    let sql = "SELECT name || ', ' || phone FROM contact";
    let row: String = phone.connection().query_row(sql, [], |row| row.get(0))?;
    assert_eq!(row, "Amelia Earhart, 555-0199");
    Ok(())
}

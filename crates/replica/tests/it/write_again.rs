//! Content of the past, written at the present.

use aeroedge_replica::{Merged, MissingRow, WrittenAgain, write_again};

use crate::support::Peer;

const SCHEMA: &str = "CREATE TABLE contact(id TEXT PRIMARY KEY, name TEXT, phone TEXT)";
const ALL: &str = "SELECT * FROM contact ORDER BY id";

fn peer(number: u8) -> Peer {
    Peer::new(number, SCHEMA, &[Merged::table("contact")])
}

fn again(peer: &mut Peer, changes: &[u8], missing: MissingRow) -> WrittenAgain {
    let mut written = None;
    peer.write(|transaction| {
        written = Some(write_again(transaction, changes, missing).unwrap());
        Ok(())
    })
    .unwrap();
    written.unwrap()
}

#[test]
fn cells_get_the_values_of_the_past_with_a_stamp_of_the_present() {
    let (mut one, mut two) = (peer(1), peer(2));
    one.sql("INSERT INTO contact VALUES ('a', 'Amelia', '1'), ('b', 'Bessie', '2')")
        .unwrap();
    one.sql("UPDATE contact SET phone = '3' WHERE id = 'a'")
        .unwrap();
    one.sql("DELETE FROM contact WHERE id = 'b'").unwrap();
    two.sql("INSERT INTO contact VALUES ('b', 'Bert', '9')")
        .unwrap();
    for entry in &one.entries {
        for changes in entry.parts.iter().flat_map(|(_, parts)| parts) {
            again(&mut two, changes, MissingRow::Make);
        }
    }
    assert_eq!(two.query(ALL), "a|Amelia|3");
    assert_eq!(two.entries.len(), 4);
    let mut third = peer(3);
    third.receive(&two.entries);
    assert_eq!(third.query(ALL), "a|Amelia|3");
}

#[test]
fn a_row_that_is_gone_is_left_so_and_reported() {
    let (mut one, mut two) = (peer(1), peer(2));
    one.sql("INSERT INTO contact VALUES ('a', 'Amelia', '1')")
        .unwrap();
    let changes = one.entries[0].parts[0].1[0].clone();
    let written = again(&mut two, &changes, MissingRow::Leave);
    assert_eq!(written.rows, 0);
    assert_eq!(written.missing.len(), 1);
    assert_eq!(two.query(ALL), "");
}

#[test]
fn what_the_schema_has_no_place_for_is_counted_and_left() {
    let mut one = Peer::new(
        1,
        "CREATE TABLE contact(id TEXT PRIMARY KEY, name TEXT, phone TEXT, fax TEXT); CREATE TABLE call(id TEXT PRIMARY KEY)",
        &[Merged::table("contact"), Merged::table("call")],
    );
    one.sql("INSERT INTO contact VALUES ('a', 'Amelia', '1', '2'); INSERT INTO call VALUES ('c')")
        .unwrap();
    let changes = one.entries[0].parts[0].1[0].clone();
    let mut two = peer(2);
    let written = again(&mut two, &changes, MissingRow::Make);
    assert_eq!((written.rows, written.without_place), (1, 2));
    assert_eq!(two.query(ALL), "a|Amelia|1");
}

//! Two replicas exchange ordinary edits.

use aeroedge_replica::Merged;

use crate::support::Peer;

const SCHEMA: &str = "CREATE TABLE contact(id TEXT PRIMARY KEY, name TEXT, phone TEXT)";

fn pair() -> (Peer, Peer) {
    let tables = [Merged::table("contact")];
    (Peer::new(1, SCHEMA, &tables), Peer::new(2, SCHEMA, &tables))
}

const ALL: &str = "SELECT * FROM contact ORDER BY id";

#[test]
fn rows_reach_the_other_replica() {
    let (mut one, mut two) = pair();
    one.sql("INSERT INTO contact VALUES ('a', 'Amelia', '1'), ('b', 'Bessie', NULL)")
        .unwrap();
    two.receive(&one.entries);
    assert_eq!(two.query(ALL), "a|Amelia|1\nb|Bessie|NULL");
    two.sql("UPDATE contact SET phone = '2' WHERE id = 'b'; DELETE FROM contact WHERE id = 'a'")
        .unwrap();
    one.receive(&two.entries);
    assert_eq!(one.query(ALL), "b|Bessie|2");
}

#[test]
fn edits_of_different_cells_both_stand() {
    let (mut one, mut two) = pair();
    one.sql("INSERT INTO contact VALUES ('a', 'Amelia', '1')")
        .unwrap();
    two.receive(&one.entries);
    one.sql("UPDATE contact SET name = 'Amelia Earhart'")
        .unwrap();
    two.sql("UPDATE contact SET phone = '2'").unwrap();
    let (first, second) = (one.entries.clone(), two.entries.clone());
    one.receive(&second);
    two.receive(&first);
    for peer in [&one, &two] {
        assert_eq!(peer.query(ALL), "a|Amelia Earhart|2");
    }
}

#[test]
fn the_later_of_two_edits_of_one_cell_stands() {
    let (mut one, mut two) = pair();
    one.sql("INSERT INTO contact VALUES ('a', 'Amelia', '1')")
        .unwrap();
    two.receive(&one.entries);
    two.now += 10;
    one.sql("UPDATE contact SET name = 'early'").unwrap();
    two.sql("UPDATE contact SET name = 'late'").unwrap();
    let (first, second) = (one.entries.clone(), two.entries.clone());
    one.receive(&second);
    two.receive(&first);
    for peer in [&one, &two] {
        assert_eq!(peer.query(ALL), "a|late|1");
    }
}

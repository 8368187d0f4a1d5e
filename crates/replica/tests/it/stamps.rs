//! What an application may ask about the clocks of a row, and which rows changed.

use aeroedge_crdt::hlc::Stamp;
use aeroedge_ids::WriterKey;
use aeroedge_replica::rusqlite::types::Value;
use aeroedge_replica::{Merged, RowStamps};

use crate::support::Peer;

const SCHEMA: &str =
    "CREATE TABLE contact(id TEXT, part INTEGER, name TEXT, phone TEXT, PRIMARY KEY (id, part));
    CREATE TABLE tag(id INTEGER PRIMARY KEY, label TEXT);
    CREATE TABLE note(id TEXT PRIMARY KEY, body TEXT) WITHOUT ROWID;
    CREATE TABLE aside(id INTEGER PRIMARY KEY)";

fn peer(number: u8) -> Peer {
    let tables = ["contact", "tag", "note"].map(Merged::table);
    Peer::new(number, SCHEMA, &tables)
}

fn key(id: &str) -> [Value; 2] {
    [Value::Text(id.to_owned()), Value::Integer(1)]
}

fn stamps(peer: &Peer, table: &str, key: &[Value]) -> Option<RowStamps> {
    peer.replica.row_stamps(table, key).unwrap()
}

fn last(peer: &Peer) -> Stamp {
    peer.entries.last().unwrap().stamp
}

#[test]
fn every_column_has_the_stamp_of_its_last_writer() {
    let (mut one, mut two) = (peer(1), peer(2));
    one.sql("INSERT INTO contact VALUES ('a', 1, 'Amelia', '1')")
        .unwrap();
    let made = last(&one);
    two.receive(&one.entries);
    two.now += 10;
    two.sql("UPDATE contact SET phone = '2'").unwrap();
    let edited = last(&two);
    one.receive(&two.entries);
    for peer in [&one, &two] {
        let found = stamps(peer, "contact", &key("a")).unwrap();
        assert_eq!(found.life.number(), 1);
        assert_eq!(found.deleted, None);
        let columns: Vec<(&str, Stamp)> = found
            .stamp_by_column
            .iter()
            .map(|(column, stamp)| (column.as_str(), *stamp))
            .collect();
        assert_eq!(columns, [("name", made), ("phone", edited)]);
    }
    assert_eq!(edited.writer, WriterKey([2; 32]));
}

#[test]
fn a_deleted_row_keeps_its_life_and_one_made_again_counts_on() {
    let mut one = peer(1);
    let by_table = [
        ("contact", key("a").to_vec(), "('a', 1, 'x', NULL)"),
        ("tag", vec![Value::Integer(7)], "(7, 'x')"),
        ("note", vec![Value::Text("n".into())], "('n', 'x')"),
    ];
    for (table, key, row) in by_table {
        assert_eq!(stamps(&one, table, &key), None, "{table}");
        one.sql(&format!("INSERT INTO {table} VALUES {row}"))
            .unwrap();
        assert_eq!(stamps(&one, table, &key).unwrap().life.number(), 1);
        one.now += 1;
        one.sql(&format!("DELETE FROM {table}")).unwrap();
        let dead = stamps(&one, table, &key).unwrap();
        assert_eq!((dead.life.number(), dead.deleted), (2, Some(last(&one))));
        assert!(dead.stamp_by_column.is_empty());
        one.now += 1;
        one.sql(&format!("INSERT INTO {table} VALUES {row}"))
            .unwrap();
        let again = stamps(&one, table, &key).unwrap();
        assert_eq!((again.life.number(), again.deleted), (3, None), "{table}");
    }
}

#[test]
fn a_table_that_does_not_merge_and_a_column_added_meanwhile_are_no_trouble() {
    let mut one = peer(1);
    assert_eq!(stamps(&one, "aside", &[Value::Integer(1)]), None);
    assert_eq!(
        one.replica.rows_since("aside", 0, 10).unwrap().keys,
        Some(vec![])
    );
    one.sql("INSERT INTO tag VALUES (1, 'x')").unwrap();
    one.replica
        .connection()
        .execute_batch("CREATE TABLE another(id)")
        .unwrap();
    assert!(stamps(&one, "tag", &[Value::Integer(1)]).is_some());
}

#[test]
fn rows_that_changed_are_named_and_no_others() {
    let mut one = peer(1);
    let changed = |peer: &Peer, table: &str, since: u64| {
        let found = peer.replica.rows_since(table, since, 1000).unwrap();
        let mut keys: Vec<String> = found
            .keys
            .unwrap()
            .iter()
            .map(|key| format!("{:?}", key[0]))
            .collect();
        keys.sort_unstable();
        (found.version, keys)
    };
    for number in 0..300 {
        one.sql(&format!(
            "INSERT INTO tag VALUES ({number}, 'x'); INSERT INTO note VALUES ('{number}', 'x')"
        ))
        .unwrap();
    }
    let (version, keys) = changed(&one, "tag", 0);
    assert_eq!((version, keys.len()), (one.replica.version().unwrap(), 300));
    assert_eq!(changed(&one, "note", 0).1.len(), 300);
    assert_eq!(changed(&one, "tag", version), (version, vec![]));
    one.sql("UPDATE tag SET label = 'y' WHERE id IN (5, 200); DELETE FROM tag WHERE id = 9; DELETE FROM note WHERE id = '7'")
        .unwrap();
    let mut two = peer(2);
    two.receive(&one.entries[..300]);
    let before = two.replica.version().unwrap();
    two.receive(&one.entries[300..]);
    for (peer, since) in [(&one, version), (&two, before)] {
        let (now, keys) = changed(peer, "tag", since);
        assert_eq!(keys, ["Integer(200)", "Integer(5)", "Integer(9)"]);
        assert_eq!(now, peer.replica.version().unwrap());
        assert_eq!(changed(peer, "note", since).1, ["Text(\"7\")"]);
        assert_eq!(changed(peer, "contact", since).1, [""; 0]);
    }
    assert_eq!(one.replica.rows_since("tag", 0, 10).unwrap().keys, None);
    assert_eq!(
        one.replica.rows_since("tag", version, 2).unwrap().keys,
        None
    );
}

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

#[test]
fn a_state_since_a_version_holds_what_changed_after_it_and_nothing_else() {
    let (mut one, _) = pair();
    let mut changed = Vec::new();
    for version in 1..=700_usize {
        // Most transactions change one row; some change many.
        let rows = if version % 97 == 0 { 900 } else { 1 };
        one.write(|transaction| {
            let mut statement = transaction.prepare_cached(
                "INSERT INTO contact VALUES (?1, ?2, NULL) ON CONFLICT DO UPDATE SET name = excluded.name",
            )?;
            for row in 0..rows {
                statement.execute((format!("key{}", version * 7 % 64 * 40 + row), version.to_string()))?;
            }
            Ok(())
        })
        .unwrap();
        changed.push(rows as u64);
    }
    for since in [0, 1, 96, 97, 98, 255, 256, 257, 500, 512, 699, 700] {
        let state = one.replica.changes_since(since as u64).unwrap();
        let mut expected = 0;
        let mut seen = std::collections::BTreeSet::new();
        for version in (since + 1..=700).rev() {
            for row in 0..changed[version - 1] {
                expected += u64::from(seen.insert(version as u64 * 7 % 64 * 40 + row));
            }
        }
        let (whole, parts): (u64, u64) = (seen.len() as u64, state.rows);
        assert_eq!(expected, whole);
        // A row whose cells were written in two transactions counts twice at most.
        assert!(
            (whole..=2 * whole).contains(&parts),
            "since {since}: {parts} for {whole}"
        );
        let keys: i64 = {
            let mut copy = pair().0;
            copy.replica.merge_state(&state).unwrap();
            copy.query("SELECT count(*) FROM contact").parse().unwrap()
        };
        assert_eq!(keys as u64, whole, "since {since}");
    }
}

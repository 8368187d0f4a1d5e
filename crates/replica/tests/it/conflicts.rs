//! What the conflict log keeps, and when it lets go.

use aeroedge_replica::rusqlite::types::Value;
use aeroedge_replica::{ConflictFilter, Merged, Policy};

use crate::support::Peer;

const SCHEMA: &str = "CREATE TABLE contact(id TEXT PRIMARY KEY, name TEXT, phone TEXT)";

/// Three replicas that all know one row.
fn trio(policy: Policy) -> [Peer; 3] {
    let tables = [Merged {
        policy,
        ..Merged::table("contact")
    }];
    let mut peers = [1, 2, 3].map(|number| Peer::new(number, SCHEMA, &tables));
    peers[0]
        .sql("INSERT INTO contact VALUES ('a', 'Amelia', '1')")
        .unwrap();
    let first = peers[0].entries.clone();
    peers[1].receive(&first);
    peers[2].receive(&first);
    for (peer, late) in peers.iter_mut().zip(1..) {
        peer.now += late * 10;
    }
    peers
}

fn exchange(peers: &mut [Peer]) {
    for from in 0..peers.len() {
        let log = peers[from].entries.clone();
        for (to, peer) in peers.iter_mut().enumerate() {
            if to != from {
                peer.receive(&log);
            }
        }
    }
}

/// Open conflicts as "column: losing < winning".
fn open(peer: &mut Peer) -> Vec<String> {
    let text = |value: Option<Value>| match value {
        Some(Value::Text(text)) => text,
        other => format!("{other:?}"),
    };
    let conflicts = peer.replica.conflicts(ConflictFilter::default()).unwrap();
    conflicts
        .into_iter()
        .map(|conflict| {
            format!(
                "{}: {} < {}",
                conflict.column,
                text(Some(conflict.losing)),
                text(conflict.winning)
            )
        })
        .collect()
}

fn check(peers: &mut [Peer], expected: &[&str]) {
    for peer in peers {
        assert_eq!(open(peer), expected);
    }
}

#[test]
fn all_concurrent_edits_but_the_winner_are_kept() {
    let mut peers = trio(Policy::Record);
    peers[0].sql("UPDATE contact SET name = 'one'").unwrap();
    peers[1].sql("UPDATE contact SET name = 'two'").unwrap();
    peers[2].sql("UPDATE contact SET name = 'three'").unwrap();
    exchange(&mut peers);
    check(&mut peers, &["name: one < three", "name: two < three"]);
}

#[test]
fn an_edit_of_someone_who_saw_both_settles_the_cell() {
    let mut peers = trio(Policy::Record);
    peers[0]
        .sql("UPDATE contact SET name = 'one', phone = '11'")
        .unwrap();
    peers[1]
        .sql("UPDATE contact SET name = 'two', phone = '22'")
        .unwrap();
    exchange(&mut peers);
    check(&mut peers, &["name: one < two", "phone: 11 < 22"]);
    peers[2].sql("UPDATE contact SET name = 'chosen'").unwrap();
    exchange(&mut peers);
    check(&mut peers, &["phone: 11 < 22"]);
}

#[test]
fn an_edit_of_someone_who_saw_only_the_winner_settles_nothing() {
    let mut peers = trio(Policy::Record);
    peers[0].sql("UPDATE contact SET name = 'one'").unwrap();
    peers[1].sql("UPDATE contact SET name = 'two'").unwrap();
    let log = peers[1].entries.clone();
    peers[2].receive(&log);
    peers[2].sql("UPDATE contact SET name = 'three'").unwrap();
    exchange(&mut peers);
    check(&mut peers, &["name: one < three"]);
}

#[test]
fn edits_in_a_row_are_no_conflict() {
    let mut peers = trio(Policy::Record);
    for peer in 0..3 {
        peers[peer]
            .sql("UPDATE contact SET name = name || '!'")
            .unwrap();
        exchange(&mut peers);
    }
    check(&mut peers, &[]);
}

#[test]
fn an_edit_lost_to_a_concurrent_delete_is_kept_until_the_row_is_made_again() {
    let mut peers = trio(Policy::Record);
    peers[0].sql("DELETE FROM contact").unwrap();
    peers[1].sql("UPDATE contact SET phone = 'kept'").unwrap();
    exchange(&mut peers);
    check(&mut peers, &["phone: kept < None"]);
    assert_eq!(peers[2].query("SELECT * FROM contact"), "");
    peers[2]
        .sql("INSERT INTO contact VALUES ('a', 'again', 'kept')")
        .unwrap();
    exchange(&mut peers);
    check(&mut peers, &[]);
    assert_eq!(peers[0].query("SELECT * FROM contact"), "a|again|kept");
}

#[test]
fn equal_edits_are_listed_only_on_demand() {
    let mut peers = trio(Policy::Record);
    peers[0].sql("UPDATE contact SET name = 'same'").unwrap();
    peers[1].sql("UPDATE contact SET name = 'same'").unwrap();
    exchange(&mut peers);
    check(&mut peers, &[]);
    let all = ConflictFilter {
        with_equal: true,
        ..Default::default()
    };
    assert_eq!(peers[2].replica.conflicts(all).unwrap().len(), 1);
}

#[test]
fn the_silent_policy_keeps_nothing() {
    let mut peers = trio(Policy::Silent);
    peers[0].sql("UPDATE contact SET name = 'one'").unwrap();
    peers[1].sql("UPDATE contact SET name = 'two'").unwrap();
    peers[2].sql("DELETE FROM contact").unwrap();
    exchange(&mut peers);
    let all = ConflictFilter {
        with_equal: true,
        ..Default::default()
    };
    for peer in &mut peers {
        assert_eq!(peer.replica.conflicts(all).unwrap(), []);
    }
}

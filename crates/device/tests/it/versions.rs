//! Programs of different age in one group: the old one carries what it does not know, and holds it after its upgrade.

use std::time::Duration;

use aeroedge_device::{AllTables, Device, KeysInMemory, Options};
use aeroedge_ids::{CompartmentId, ContextId, Millis, UserId};
use aeroedge_log::compartment::Division;
use aeroedge_log::control::Role;
use aeroedge_log::secrets::DeviceSecrets;
use aeroedge_replica::{CompartmentRule, ConflictFilter, Merged, Policy};
use rand::RngExt;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rusqlite::Connection;
use rusqlite::backup::Backup;

use crate::club::{NOW, Peer, admit, everyone, synchronise_at};

const OLD: &[&str] = &["note", "tally"];
const NEW: &[&str] = &["note", "tally", "picture", "mark", "journey"];

const OLD_SCHEMA: &str = crate::club::SCHEMA;
/// Five columns and three tables, one of them of keys only.
const ADDED: &str = "
    ALTER TABLE note ADD COLUMN colour TEXT;
    ALTER TABLE note ADD COLUMN weight INTEGER DEFAULT 7;
    ALTER TABLE note ADD COLUMN place TEXT NOT NULL DEFAULT 'nowhere';
    ALTER TABLE tally ADD COLUMN unit TEXT;
    ALTER TABLE tally ADD COLUMN rate REAL;
    CREATE TABLE picture (id TEXT NOT NULL, compartment_id BLOB NOT NULL, caption TEXT, pixels BLOB, PRIMARY KEY (id, compartment_id));
    CREATE TABLE mark (id INTEGER NOT NULL, compartment_id BLOB NOT NULL, PRIMARY KEY (compartment_id, id)) WITHOUT ROWID;
    CREATE TABLE journey (id TEXT NOT NULL, leg INTEGER NOT NULL, compartment_id BLOB NOT NULL, miles INTEGER, PRIMARY KEY (id, leg, compartment_id));
";

/// What is done to a row, with its id and a value as parameters, by a program of any age.
const OLD_CHANGES: &[&str] = &[
    "INSERT INTO note(id, compartment_id, title) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET title = excluded.title",
    "INSERT INTO note(id, compartment_id, body) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET body = excluded.body",
    "DELETE FROM note WHERE id = ?1 AND compartment_id = ?2 AND ?3 IS NOT NULL",
    "INSERT INTO tally(id, compartment_id, amount) VALUES (?1, ?2, length(?3)) ON CONFLICT DO UPDATE SET amount = excluded.amount",
    "DELETE FROM tally WHERE id = ?1 AND compartment_id = ?2 AND ?3 IS NOT NULL",
];
/// And by a new one only.
const NEW_CHANGES: &[&str] = &[
    "INSERT INTO note(id, compartment_id, colour) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET colour = excluded.colour",
    "INSERT INTO note(id, compartment_id, weight, place) VALUES (?1, ?2, 3, ?3) ON CONFLICT DO UPDATE SET weight = weight + 1, place = excluded.place",
    "INSERT INTO tally(id, compartment_id, unit, rate) VALUES (?1, ?2, ?3, 0.5) ON CONFLICT DO UPDATE SET unit = excluded.unit, rate = rate * 1.25",
    "INSERT INTO picture(id, compartment_id, caption, pixels) VALUES (?1, ?2, ?3, x'00ff') ON CONFLICT DO UPDATE SET caption = excluded.caption",
    "UPDATE picture SET pixels = CAST(?3 AS BLOB) WHERE id = ?1 AND compartment_id = ?2",
    "DELETE FROM picture WHERE id = ?1 AND compartment_id = ?2 AND ?3 IS NOT NULL",
    "INSERT INTO mark(id, compartment_id) VALUES (unicode(?1), ?2) ON CONFLICT DO NOTHING RETURNING ?3",
    "DELETE FROM mark WHERE id = unicode(?1) AND compartment_id = ?2 AND ?3 IS NOT NULL",
    "INSERT INTO journey(id, leg, compartment_id, miles) VALUES (?1, length(?3) % 2, ?2, length(?3)) ON CONFLICT DO UPDATE SET miles = excluded.miles",
    "DELETE FROM journey WHERE id = ?1 AND compartment_id = ?2 AND ?3 IS NOT NULL",
];

/// How many rounds; ten times as many with AEROEDGE_LONG.
fn rounds() -> u64 {
    if std::env::var_os("AEROEDGE_LONG").is_some() {
        10_000
    } else {
        1_000
    }
}

fn options(tables: &[&str], schema_version: u32) -> Options {
    let merged = |name: &&str| Merged {
        table: (*name).into(),
        compartment: CompartmentRule::Column("compartment_id".into()),
        policy: Policy::Record,
    };
    Options {
        tables: tables.iter().map(merged).collect(),
        rights: Box::new(AllTables),
        schema_version,
    }
}

fn installed(number: u8, is_new: bool) -> Peer {
    let mut rng = ChaCha20Rng::seed_from_u64(u64::from(number));
    let keys = KeysInMemory::new(DeviceSecrets::generate(&mut rng));
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(OLD_SCHEMA).unwrap();
    let (tables, version) = if is_new { (NEW, 2) } else { (OLD, 1) };
    if is_new {
        connection.execute_batch(ADDED).unwrap();
    }
    let device = Device::create(
        connection,
        Box::new(keys.clone()),
        options(tables, version),
        UserId([number; 16]),
        NOW,
    );
    let device = device.unwrap();
    Peer { device, rng, keys }
}

/// The new program opens what the old one left.
fn upgraded(peer: Peer, now: Millis) -> Peer {
    let Peer { device, rng, keys } = peer;
    let mut connection = Connection::open_in_memory().unwrap();
    Backup::new(device.connection(), &mut connection)
        .unwrap()
        .run_to_completion(1000, Duration::ZERO, None)
        .unwrap();
    drop(device);
    connection.execute_batch(ADDED).unwrap();
    let device = Device::open(connection, Box::new(keys.clone()), options(NEW, 2), now);
    let device = device.unwrap();
    Peer { device, rng, keys }
}

fn change(peer: &mut Peer, now: Millis, compartment: CompartmentId, is_new: bool) {
    let count = OLD_CHANGES.len() + if is_new { NEW_CHANGES.len() } else { 0 };
    let chosen = peer.rng.random_range(0..count);
    let sql = OLD_CHANGES.iter().chain(NEW_CHANGES).nth(chosen).unwrap();
    let id = ["a", "b", "c", "d", "e"][peer.rng.random_range(0..5)];
    let value = "x".repeat(peer.rng.random_range(1..9));
    execute(peer, now, sql, rusqlite::params![id, compartment.0, value]);
}

fn execute(peer: &mut Peer, now: Millis, sql: &str, parameters: &[&dyn rusqlite::ToSql]) {
    let written = peer.device.write(now, &mut peer.rng, |tx| {
        let mut statement = tx.prepare(sql)?;
        let mut rows = statement.query(parameters)?;
        while rows.next()?.is_some() {}
        Ok::<_, rusqlite::Error>(())
    });
    written.unwrap();
    peer.device.make_durable().unwrap();
}

fn assert_same(left: &mut Peer, right: &mut Peer, context: ContextId) {
    assert_eq!(
        left.device.digest(context).unwrap(),
        right.device.digest(context).unwrap()
    );
    let filter = ConflictFilter {
        with_equal: true,
        ..ConflictFilter::default()
    };
    assert_eq!(
        left.device.conflicts(filter).unwrap(),
        right.device.conflicts(filter).unwrap()
    );
    assert_eq!(
        left.device.quarantined().unwrap(),
        right.device.quarantined().unwrap()
    );
    assert_eq!(
        left.device.engine_digest().unwrap(),
        right.device.engine_digest().unwrap()
    );
}

#[test]
fn an_old_program_carries_everything_and_holds_it_after_its_upgrade() {
    let mut first = installed(1, true);
    let mut old = installed(2, false);
    let mut last = installed(3, true);
    let context = first.found(Division::Single);
    admit(&mut first, &mut old, context, Role::Member);
    admit(&mut first, &mut last, context, Role::Member);
    let compartment = everyone(context);
    let mut now = NOW;
    for round in 0..rounds() {
        now = Millis(now.0 + 60_000);
        change(&mut first, now, compartment, true);
        change(&mut last, now, compartment, true);
        if round % 3 == 0 {
            change(&mut old, now, compartment, false);
        }
        // The two new ones never meet: everything goes through the old one, and not at once.
        if round % 2 == 0 {
            synchronise_at(&mut first, &mut old, context, now);
        }
        if round % 5 == 1 {
            synchronise_at(&mut old, &mut last, context, now);
        }
    }
    assert!(!old.device.quarantined().unwrap().is_empty());
    let settle = |first: &mut Peer, old: &mut Peer, last: &mut Peer, now| {
        for _ in 0..2 {
            synchronise_at(first, old, context, now);
            synchronise_at(old, last, context, now);
        }
    };
    settle(&mut first, &mut old, &mut last, now);
    for peer in [&mut first, &mut last] {
        // Nobody settles these before the upgrade.
        for sql in [NEW_CHANGES[0], NEW_CHANGES[3]] {
            let title = format!("by {}", peer.device.user());
            execute(peer, now, sql, rusqlite::params!["a", compartment.0, title]);
        }
    }
    settle(&mut first, &mut old, &mut last, now);
    assert_same(&mut first, &mut last, context);
    let filter = ConflictFilter::default();
    let conflicts = first.device.conflicts(filter).unwrap();
    assert!(conflicts.iter().any(|conflict| conflict.column == "colour"));

    let mut upgraded = upgraded(old, now);
    assert_same(&mut first, &mut upgraded, context);
    // And it goes on like that.
    for _ in 0..20 {
        now = Millis(now.0 + 60_000);
        change(&mut first, now, compartment, true);
        change(&mut upgraded, now, compartment, true);
        synchronise_at(&mut first, &mut upgraded, context, now);
    }
    assert_same(&mut first, &mut upgraded, context);
}

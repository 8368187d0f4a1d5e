//! The rows that benchmarks write: thirteen columns, about 196 bytes, the same ones in every run.

use std::path::Path;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rusqlite::{Connection, params};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS entry (
    id TEXT PRIMARY KEY NOT NULL, day TEXT, tail TEXT, origin TEXT, target TEXT, off INTEGER, \"on\" INTEGER,
    minutes INTEGER, night INTEGER, count INTEGER, distance REAL, name TEXT, remarks TEXT)";
const INSERT: &str =
    "INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
const NAMES: [&str; 7] = [
    "A. Abel",
    "B. Bertram",
    "C. Caspari",
    "D. Dorn-Ferrand",
    "E. Ebert",
    "F. Fink",
    "self",
];

pub(crate) struct Row {
    pub(crate) id: String,
    day: String,
    tail: String,
    origin: String,
    target: String,
    off: i64,
    minutes: i64,
    night: i64,
    count: i64,
    distance: f64,
    name: &'static str,
    remarks: Option<String>,
}

/// Rows without end, made one by one so that a million of them need no memory.
pub(crate) fn rows() -> impl Iterator<Item = Row> + Send {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    std::iter::repeat_with(move || row(&mut rng))
}

fn row(rng: &mut ChaCha20Rng) -> Row {
    let mut below = |n: u64| (rng.next_u64() % n) as i64;
    let mut letters = || -> String { (0..4).map(|_| (b'A' + below(26) as u8) as char).collect() };
    let (tail, origin, target) = (letters(), letters(), letters());
    Row {
        id: format!(
            "{:016x}-{:019x}",
            below(u64::MAX >> 1),
            below(u64::MAX >> 1)
        ),
        day: format!(
            "20{:02}-{:02}-{:02}",
            10 + below(15),
            1 + below(12),
            1 + below(28)
        ),
        tail,
        origin,
        target,
        off: 1_600_000_000 + below(100_000_000),
        minutes: 30 + below(600),
        night: below(300),
        count: 1 + below(4),
        distance: below(50_000) as f64 / 10.0,
        name: NAMES[below(7) as usize],
        remarks: (below(3) > 0).then(|| format!("Remark {:x}: smooth, light wind", below(1 << 40))),
    }
}

pub(crate) fn insert(connection: &Connection, row: &Row) -> rusqlite::Result<usize> {
    connection.prepare_cached(INSERT)?.execute(params![
        row.id,
        row.day,
        row.tail,
        row.origin,
        row.target,
        row.off,
        row.off + row.minutes * 60,
        row.minutes,
        row.night,
        row.count,
        row.distance,
        row.name,
        row.remarks
    ])
}

pub(crate) fn open(folder: &Path, name: &str) -> Connection {
    let connection = Connection::open(folder.join(name)).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 8192;
             PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY",
        )
        .unwrap();
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(TABLE).unwrap();
    connection
}

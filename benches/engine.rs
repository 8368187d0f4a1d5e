//! The merge engine against plain SQLite doing the same work, as ratios within one run.
//!
//! `cargo bench -p aeroedge-replica --bench engine -- 10000 100000` measures with these numbers of rows (100000 if none is
//! given). Every line is the median over pairs of runs, so that a busy machine slows both halves of a pair. With
//! AEROEDGE_CLOCK=cpu the clock counts only the time the program was running, which other programs disturb less.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reads the clock, prints, and stops at any error"
)]

use std::path::Path;
use std::time::Instant;

use aeroedge_crdt::hlc::{Hlc, Stamp};
use aeroedge_ids::{Millis, WriterKey};
use aeroedge_replica::rusqlite::types::Value;
use aeroedge_replica::rusqlite::{self, Connection, Statement};
use aeroedge_replica::{
    Incoming, Journal, JournalError, LocalTransaction, MergeError, Merged, Policy, Replica,
};

const COLUMNS: usize = 12;
const SCHEMA: &str = "CREATE TABLE flight(
    id TEXT PRIMARY KEY NOT NULL,
    flight_date TEXT, registration TEXT, departure TEXT, arrival TEXT,
    off_block INTEGER, on_block INTEGER, total_minutes INTEGER, night_minutes INTEGER, landings INTEGER,
    distance REAL, pilot TEXT, remarks TEXT)";
const NAMES: &str = "flight_date, registration, departure, arrival, off_block, on_block, total_minutes, night_minutes, \
    landings, distance, pilot, remarks";

/// Lines that are measured together, and can be asked for alone.
const GROUPS: [&str; 3] = ["local", "single", "merge"];

fn main() {
    let sizes: Vec<usize> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let sizes = if sizes.is_empty() {
        vec![100_000]
    } else {
        sizes
    };
    let named = |group: &str| std::env::args().any(|argument| argument == group);
    let all = !GROUPS.into_iter().any(named);
    for rows in sizes {
        Bench::new(rows).run(&|group| all || named(group));
    }
}

/// Seconds by the chosen clock.
fn clock() -> f64 {
    if std::env::var("AEROEDGE_CLOCK").as_deref() == Ok("cpu") {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        let nanoseconds: u64 = text.split_whitespace().next().unwrap().parse().unwrap();
        return nanoseconds as f64 / 1e9;
    }
    thread_local!(static START: Instant = Instant::now());
    START.with(Instant::elapsed).as_secs_f64()
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = clock();
    let value = work();
    (clock() - start, value)
}

/// A deterministic stream of numbers.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn letters(&mut self) -> String {
        (0..4)
            .map(|_| (b'A' + self.below(26) as u8) as char)
            .collect()
    }
}

type Flight = (String, [Value; COLUMNS]);

/// A flight of some 196 bytes; another seed makes another flight of the same id.
fn flight(number: usize, seed: u64) -> Flight {
    let mut key = Numbers((number as u64).wrapping_mul(0xd134_2543_de82_ef95) ^ 0x00ab_cdef);
    let (high, low) = (key.next(), key.next());
    let id = format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | (low >> 48 & 0x3fff),
        low & 0xffff_ffff_ffff
    );
    let mut numbers = Numbers(number as u64 ^ seed.wrapping_mul(0x5851_f42d_4c95_7f2d));
    let off = 1_600_000_000 + numbers.below(100_000_000) as i64;
    let minutes = 30 + numbers.below(600) as i64;
    let date = format!(
        "20{:02}-{:02}-{:02}",
        10 + numbers.below(15),
        1 + numbers.below(12),
        1 + numbers.below(28)
    );
    let remark = format!(
        "Remark {:x}: ILS approach, light turbulence",
        numbers.below(1 << 40)
    );
    let values = [
        Value::Text(date),
        Value::Text(format!("D-{}", numbers.letters())),
        Value::Text(numbers.letters()),
        Value::Text(numbers.letters()),
        Value::Integer(off),
        Value::Integer(off + minutes * 60),
        Value::Integer(minutes),
        Value::Integer(numbers.below(300) as i64),
        Value::Integer(1 + numbers.below(4) as i64),
        Value::Real(numbers.below(50_000) as f64 / 10.0),
        Value::Text(
            ["A. Earhart", "C. Lindbergh", "B. Coleman", "self"][numbers.below(4) as usize].into(),
        ),
        if numbers.below(3) == 0 {
            Value::Null
        } else {
            Value::Text(remark)
        },
    ];
    (id, values)
}

fn flights(range: std::ops::Range<usize>, seed: u64) -> Vec<Flight> {
    range.map(|number| flight(number, seed)).collect()
}

fn insert_sql(verb: &str) -> String {
    format!(
        "{verb} INTO flight(id, {NAMES}) VALUES (?1{})",
        (2..=13)
            .map(|place| format!(", ?{place}"))
            .collect::<Vec<_>>()
            .concat()
    )
}

fn upsert_sql() -> String {
    let sets: Vec<String> = NAMES
        .split(", ")
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    format!(
        "{} ON CONFLICT DO UPDATE SET {}",
        insert_sql("INSERT"),
        sets.join(", ")
    )
}

fn bind(statement: &mut Statement<'_>, (id, values): &Flight) -> Result<(), rusqlite::Error> {
    statement.raw_bind_parameter(1, id)?;
    for (index, value) in values.iter().enumerate() {
        statement.raw_bind_parameter(index + 2, value)?;
    }
    statement.raw_execute()?;
    Ok(())
}

fn write_all(
    connection: &Connection,
    sql: &str,
    flights: &[Flight],
) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare_cached(sql)?;
    flights
        .iter()
        .try_for_each(|flight| bind(&mut statement, flight))
}

fn open(folder: &Path, name: &str) -> Connection {
    let path = folder.join(format!("{name}.db"));
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.join(format!("{name}.db{ending}")));
    }
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536;
             PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = OFF",
        )
        .unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    connection
}

fn engine(folder: &Path, name: &str, writer: u8, policy: Policy) -> Replica {
    let mut replica = Replica::open(open(folder, name), WriterKey([writer; 32])).unwrap();
    replica
        .declare(
            &[Merged {
                policy,
                ..Merged::table("flight")
            }],
            Millis(1),
        )
        .unwrap();
    replica
}

/// Bytes of the database once the log is folded in.
fn size(connection: &Connection) -> f64 {
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    connection
        .query_row(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
            [],
            |row| row.get(0),
        )
        .unwrap()
}

/// Keeps the changesets of one transaction.
#[derive(Default)]
struct Kept {
    hlc: Hlc,
    parts: Vec<Vec<u8>>,
}

impl Journal for Kept {
    fn append(
        &mut self,
        _: &Connection,
        transaction: &LocalTransaction<'_>,
    ) -> Result<(), JournalError> {
        self.hlc = transaction.hlc;
        self.parts = transaction
            .changes
            .iter()
            .flat_map(|(_, parts)| parts.clone())
            .collect();
        Ok(())
    }
}

fn merge(replica: &mut Replica, writer: u8, kept: &Kept) {
    let stamp = Stamp {
        hlc: kept.hlc,
        writer: WriterKey([writer; 32]),
    };
    replica
        .merging(|merging| {
            for (part, changes) in kept.parts.iter().enumerate() {
                merging.apply(&Incoming {
                    stamp,
                    part: part as u32,
                    compartment: None,
                    seen: &|_| Hlc::ZERO,
                    changes,
                })?;
            }
            Ok::<_, MergeError>(())
        })
        .unwrap();
}

/// Reads all rows after one, all columns; the bytes of them.
fn read_all(connection: &Connection, after: i64) -> usize {
    let mut statement = connection
        .prepare_cached("SELECT * FROM flight WHERE rowid > ?1")
        .unwrap();
    let mut rows = statement.query([after]).unwrap();
    let mut bytes = 0;
    while let Some(row) = rows.next().unwrap() {
        for column in 0..=COLUMNS {
            bytes += row
                .get_ref(column)
                .unwrap()
                .as_bytes()
                .map_or(8, <[u8]>::len);
        }
    }
    bytes
}

struct Bench {
    rows: usize,
    folder: tempfile::TempDir,
    flights: Vec<Flight>,
    others: Vec<Flight>,
}

impl Bench {
    fn new(rows: usize) -> Self {
        Self {
            rows,
            folder: tempfile::tempdir().unwrap(),
            flights: flights(0..rows, 1),
            others: flights(0..rows, 2),
        }
    }

    fn run(&self, wanted: &dyn Fn(&str) -> bool) {
        let pairs = match self.rows {
            0..=20_000 => 9,
            20_001..=200_000 => 5,
            _ => 3,
        };
        let mut lines: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
        for _ in 0..pairs {
            for (place, (name, pair)) in self.pair(wanted).into_iter().enumerate() {
                match lines.get_mut(place) {
                    Some(line) => line.1.push(pair),
                    None => lines.push((name, vec![pair])),
                }
            }
        }
        println!(
            "\n{} rows, SQLite {}, median of {pairs} pairs\n",
            self.rows,
            rusqlite::version()
        );
        println!("| work | plain | engine | ratio |");
        println!("|---|---|---|---|");
        for (name, pairs) in lines {
            let show = |value: f64| {
                if name.contains("size") {
                    format!("{:.1} MB", value / 1e6)
                } else {
                    format!("{:.2} ms", value * 1e3)
                }
            };
            let plain = median(pairs.iter().map(|pair| pair.0));
            let engine = median(pairs.iter().map(|pair| pair.1));
            let ratio = median(pairs.iter().map(|pair| pair.1 / pair.0));
            println!(
                "| {name} | {} | {} | {ratio:.2}x |",
                show(plain),
                show(engine)
            );
        }
    }

    /// Every line once, plain and with the engine.
    fn pair(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<(&'static str, (f64, f64))> {
        let mut lines = Vec::new();
        if wanted("local") {
            self.local(&mut lines);
        }
        if wanted("single") {
            lines.push((
                "b. inserts, a transaction each (10,000 at most)",
                self.single_inserts(),
            ));
        }
        if wanted("merge") {
            self.merges(&mut lines);
        }
        lines
    }

    fn local(&self, lines: &mut Vec<(&'static str, (f64, f64))>) {
        let folder = self.folder.path();
        let insert = insert_sql("INSERT");

        let plain = open(folder, "plain");
        let mut replica = engine(folder, "engine", 1, Policy::Record);
        let in_plain =
            |connection: &Connection, work: &dyn Fn(&Connection) -> Result<(), rusqlite::Error>| {
                timed(|| {
                    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
                    work(connection).unwrap();
                    connection.execute_batch("COMMIT").unwrap();
                })
                .0
            };
        let in_engine =
            |replica: &mut Replica, work: &dyn Fn(&Connection) -> Result<(), rusqlite::Error>| {
                timed(|| {
                    replica
                        .transaction(Millis(1_000), |transaction| work(transaction))
                        .unwrap()
                })
                .0
            };
        let write = |connection: &Connection| write_all(connection, &insert, &self.flights);
        lines.push((
            "a. insert, one transaction",
            (in_plain(&plain, &write), in_engine(&mut replica, &write)),
        ));
        lines.push(("size after a", (size(&plain), size(replica.connection()))));

        let read = timed(|| assert!(read_all(&plain, 0) > self.rows));
        let changes = timed(|| replica.changes_since(0).unwrap());
        assert_eq!(changes.1.rows, self.rows as u64);
        lines.push(("e. read all changes", (read.0, changes.0)));

        let version = replica.version().unwrap();
        let fresh = flights(self.rows..self.rows + 1_000, 1);
        let more = |connection: &Connection| write_all(connection, &insert, &fresh);
        in_plain(&plain, &more);
        in_engine(&mut replica, &more);
        // Too short for the clock of the processor.
        let read = median((0..5).map(|_| {
            let start = Instant::now();
            read_all(&plain, self.rows as i64);
            start.elapsed().as_secs_f64()
        }));
        let changes = median((0..5).map(|_| {
            let start = Instant::now();
            let changes = replica.changes_since(version).unwrap();
            assert_eq!(changes.rows, 1_000);
            start.elapsed().as_secs_f64()
        }));
        lines.push(("since a version, 1,000 new rows", (read, changes)));

        let update = |connection: &Connection| {
            let mut statement =
                connection.prepare_cached("UPDATE flight SET remarks = ?2 WHERE id = ?1")?;
            self.flights
                .iter()
                .enumerate()
                .try_for_each(|(number, (id, _))| {
                    statement.execute((id, format!("edited {number}")))?;
                    Ok(())
                })
        };
        lines.push((
            "c. update one column of every row",
            (in_plain(&plain, &update), in_engine(&mut replica, &update)),
        ));

        let delete = |connection: &Connection| {
            let mut statement = connection.prepare_cached("DELETE FROM flight WHERE id = ?1")?;
            self.flights.iter().step_by(5).try_for_each(|(id, _)| {
                statement.execute([id])?;
                Ok(())
            })
        };
        lines.push((
            "d. delete a fifth",
            (in_plain(&plain, &delete), in_engine(&mut replica, &delete)),
        ));
    }

    fn single_inserts(&self) -> (f64, f64) {
        let insert = insert_sql("INSERT");
        let plain = open(self.folder.path(), "plain");
        let mut replica = engine(self.folder.path(), "engine", 1, Policy::Record);
        let some = &self.flights[..self.rows.min(10_000)];
        let (in_plain, ()) = timed(|| {
            let mut begin = plain.prepare("BEGIN IMMEDIATE").unwrap();
            let mut commit = plain.prepare("COMMIT").unwrap();
            for flight in some {
                begin.raw_execute().unwrap();
                bind(&mut plain.prepare_cached(&insert).unwrap(), flight).unwrap();
                commit.raw_execute().unwrap();
            }
        });
        let (in_engine, ()) = timed(|| {
            for flight in some {
                replica
                    .transaction(Millis(1_000), |transaction| {
                        let mut statement = transaction.prepare_cached(&insert)?;
                        bind(&mut statement, flight)
                    })
                    .unwrap();
            }
        });
        (in_plain, in_engine)
    }

    fn merges(&self, lines: &mut Vec<(&'static str, (f64, f64))>) {
        let folder = self.folder.path();
        let insert = insert_sql("INSERT");
        let mut source = engine(folder, "source", 2, Policy::Record);
        let mut kept = Kept::default();
        source
            .transaction_with(Millis(9_000), &mut kept, |transaction| {
                write_all(transaction, &insert, &self.flights)
            })
            .unwrap();
        let state = source.changes_since(0).unwrap();
        drop(source);
        let plain = open(folder, "plain");
        let in_plain = |sql: &str, flights: &[Flight]| {
            timed(|| {
                plain.execute_batch("BEGIN IMMEDIATE").unwrap();
                write_all(&plain, sql, flights).unwrap();
                plain.execute_batch("COMMIT").unwrap();
            })
            .0
        };

        let fresh = in_plain(&insert, &self.flights);
        let mut replica = engine(folder, "engine", 1, Policy::Record);
        let merged = timed(|| merge(&mut replica, 2, &kept)).0;
        assert_eq!(replica.digest(None).unwrap().rows, self.rows as u64);
        lines.push(("f. merge fresh rows", (fresh, merged)));

        let ignored = in_plain(&insert_sql("INSERT OR IGNORE"), &self.flights);
        let again = timed(|| merge(&mut replica, 2, &kept)).0;
        lines.push(("h. merge again, known from the frontier", (ignored, again)));
        let again = timed(|| {
            replica
                .merging(|merging| {
                    for part in state.parts.iter().flat_map(|(_, parts)| parts) {
                        merging.apply_state(None, part)?;
                    }
                    Ok::<_, MergeError>(())
                })
                .unwrap();
        })
        .0;
        lines.push(("h. merge again, as a state", (ignored, again)));

        let upserted = in_plain(&upsert_sql(), &self.others);
        for (name, policy) in [
            ("g. merge onto conflicting rows, silent", Policy::Silent),
            ("g. merge onto conflicting rows, recorded", Policy::Record),
        ] {
            let mut replica = engine(folder, "engine", 1, policy);
            replica
                .transaction(Millis(1_000), |transaction| {
                    write_all(transaction, &insert, &self.others)
                })
                .unwrap();
            let merged = timed(|| merge(&mut replica, 2, &kept)).0;
            lines.push((name, (upserted, merged)));
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

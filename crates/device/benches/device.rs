//! What sealing costs: the same writes with plain SQLite, with the engine alone, and with the engine, compression, encryption, chain and log.
//! Then how fast another device takes the entries in, with everything but the network.
//!
//! `cargo bench -p aeroedge-device --bench device -- [rows] [repetitions]`. Ratios are taken within one repetition; the median counts.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a benchmark stops where it fails, prints, and looks at the clock"
)]

use std::path::Path;
use std::time::Instant;

use aeroedge_device::{AllTables, Device, EntriesRead, Invitation, KeysInMemory, Options};
use aeroedge_ids::{Millis, UserId, WriterKey};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::control::{Rights, Role};
use aeroedge_log::invite::{Secret, Stretch};
use aeroedge_log::secrets::DeviceSecrets;
use aeroedge_protocol::{Cursor, Frontier};
use aeroedge_replica::{Merged, Replica};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rusqlite::Connection;

#[path = "support/rows.rs"]
mod rows;

use rows::{Row, insert, open};

const NOW: Millis = Millis(1_800_000_000_000);

fn size(connection: &Connection) -> f64 {
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    connection
        .query_row(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
            [],
            |row| row.get::<_, i64>(0),
        )
        .unwrap() as f64
}

fn seconds<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn installation(folder: &Path, name: &str, user: u8, rng: &mut ChaCha20Rng) -> Device {
    let secrets = DeviceSecrets::generate(rng);
    let options = Options {
        tables: vec![Merged::table("entry")],
        rights: Box::new(AllTables),
        schema_version: 1,
    };
    let keys = Box::new(KeysInMemory::new(secrets));
    Device::create(open(folder, name), keys, options, UserId([user; 16]), NOW).unwrap()
}

fn sealed(folder: &Path, name: &str, rng: &mut ChaCha20Rng) -> Device {
    let mut device = installation(folder, name, 1, rng);
    let context = device
        .create_context(Division::Single, "bench", NOW, rng)
        .unwrap();
    device.use_for_fixed_tables(Audience::Everyone.compartment(context));
    device
}

fn engine(folder: &Path, name: &str) -> Replica {
    let mut replica = Replica::open(open(folder, name), WriterKey([1; 32])).unwrap();
    replica.declare(&[Merged::table("entry")], NOW).unwrap();
    replica
}

/// Seconds or bytes for (plain, engine, sealed).
type Sample = [f64; 3];

fn in_one_transaction(folder: &Path, rows: &[Row], rng: &mut ChaCha20Rng) -> (Sample, Sample) {
    let plain = open(folder, "a-plain");
    let mut engine = engine(folder, "a-engine");
    let mut device = sealed(folder, "a-sealed", rng);
    let all = |connection: &Connection| -> rusqlite::Result<()> {
        rows.iter()
            .try_for_each(|row| insert(connection, row).map(|_| ()))
    };
    let times = [
        seconds(|| {
            plain.execute_batch("BEGIN").unwrap();
            all(&plain).unwrap();
            plain.execute_batch("COMMIT").unwrap();
        }),
        seconds(|| engine.transaction(NOW, |tx| all(tx)).unwrap()),
        seconds(|| device.write(NOW, rng, |tx| all(tx)).unwrap()),
    ];
    (
        times,
        [
            size(&plain),
            size(engine.connection()),
            size(device.connection()),
        ],
    )
}

fn a_transaction_each(folder: &Path, rows: &[Row], rng: &mut ChaCha20Rng) -> (Sample, Sample) {
    let plain = open(folder, "b-plain");
    let mut engine = engine(folder, "b-engine");
    let mut device = sealed(folder, "b-sealed", rng);
    let times = [
        seconds(|| {
            for row in rows {
                insert(&plain, row).unwrap();
            }
        }),
        seconds(|| {
            for row in rows {
                engine.transaction(NOW, |tx| insert(tx, row)).unwrap();
            }
        }),
        seconds(|| {
            for row in rows {
                device.write(NOW, rng, |tx| insert(tx, row)).unwrap();
            }
        }),
    ];
    (
        times,
        [
            size(&plain),
            size(engine.connection()),
            size(device.connection()),
        ],
    )
}

/// Rows a second that a fresh device takes in when the sender wrote `each` rows to a transaction: (sending side reads, receiving side merges).
fn taken_in(folder: &Path, rows: &[Row], each: usize, rng: &mut ChaCha20Rng) -> (f64, f64) {
    let mut sender = sealed(folder, &format!("{each}-from"), rng);
    let context = sender.contexts()[0].id;
    let compartment = Audience::Everyone.compartment(context);
    for group in rows.chunks(each) {
        sender
            .write(NOW, rng, |tx| {
                group.iter().try_for_each(|row| insert(tx, row).map(|_| ()))
            })
            .unwrap();
    }
    sender.make_durable().unwrap();
    let secret = Secret::generate(rng);
    let invitation = Invitation {
        name: String::new(),
        rights: Rights::of(Role::Member),
        expires: Millis(0),
        uses: 1,
        hints: Vec::new(),
    };
    let link = sender
        .invite(context, &invitation, &secret, Stretch::FOR_TESTS, NOW, rng)
        .unwrap();
    let mut receiver = installation(folder, &format!("{each}-to"), 2, rng);
    receiver
        .start_join(link, secret, Stretch::FOR_TESTS)
        .unwrap();
    let hashes = sender.control_hashes(context);
    receiver
        .receive_control(
            context,
            &sender.control_entries(context, &hashes, usize::MAX),
            NOW,
            rng,
        )
        .unwrap();
    receiver.use_for_fixed_tables(compartment);
    let (mut reading, mut merging) = (0.0, 0.0);
    let mut cursor = Cursor::START;
    loop {
        let mut read = EntriesRead::default();
        reading += seconds(|| {
            read = sender
                .read_entries(compartment, &Frontier::new(), cursor, 1 << 20)
                .unwrap();
        });
        cursor = read.next;
        merging += seconds(|| {
            receiver
                .receive_entries(&[(context, compartment, read.runs)], NOW)
                .unwrap();
        });
        if read.exhausted {
            break;
        }
    }
    merging += seconds(|| receiver.make_durable().unwrap());
    assert_eq!(
        sender.digest(context).unwrap(),
        receiver.digest(context).unwrap()
    );
    (rows.len() as f64 / reading, rows.len() as f64 / merging)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn report(name: &str, samples: &[Sample]) {
    let ratio = |place: usize| {
        median(
            samples
                .iter()
                .map(|sample| sample[place] / sample[0])
                .collect(),
        )
    };
    let plain = median(samples.iter().map(|sample| sample[0]).collect());
    println!(
        "| {name} | {plain:.4} | {:.2}x | {:.2}x |",
        ratio(1),
        ratio(2)
    );
}

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse::<usize>().ok());
    let count = arguments.next().unwrap_or(100_000);
    let repetitions = arguments.next().unwrap_or(5);
    let rows: Vec<Row> = rows::rows().take(count).collect();
    let singles = &rows[..count.min(10_000)];
    let mut samples: [Vec<Sample>; 4] = Default::default();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for _ in 0..repetitions {
        let folder = tempfile::tempdir().unwrap();
        let (times, sizes) = in_one_transaction(folder.path(), &rows, &mut rng);
        samples[0].push(times);
        samples[1].push(sizes);
        let (times, sizes) = a_transaction_each(folder.path(), singles, &mut rng);
        samples[2].push(times);
        samples[3].push(sizes);
    }
    println!(
        "{count} rows, {repetitions} repetitions, medians of ratios to plain SQLite in the same repetition\n"
    );
    println!("| work | plain, s or bytes | engine | engine, sealed |\n|---|---|---|---|");
    report("a. insert, one transaction", &samples[0]);
    report("size after a", &samples[1]);
    report(
        &format!("b. {} inserts, a transaction each", singles.len()),
        &samples[2],
    );
    report("size after b", &samples[3]);

    println!(
        "\n| a fresh device takes in | read by the sender, rows/s | merged and durable, rows/s |\n|---|---|---|"
    );
    for (each, rows) in [(1, singles), (100, &rows[..]), (rows.len(), &rows[..])] {
        let samples: Vec<_> = (0..repetitions)
            .map(|_| taken_in(tempfile::tempdir().unwrap().path(), rows, each, &mut rng))
            .collect();
        let read = median(samples.iter().map(|sample| sample.0).collect());
        let merged = median(samples.iter().map(|sample| sample.1).collect());
        println!(
            "| {} rows in transactions of {each} | {read:.0} | {merged:.0} |",
            rows.len()
        );
    }
}

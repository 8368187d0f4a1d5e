//! Two nodes on one machine over the encrypted LAN transport: how fast a fresh device takes in a context, and how many
//! transactions a second flow from one to the other and are durable on both.
//!
//! `cargo bench -p aeroedge-node --bench exchange -- 100000` takes in that many rows (100000 if none is given).

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and stops at any error"
)]

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aeroedge_device::{AllTables, Device, Invitation, JoinState, KeysInMemory, Options};
use aeroedge_ids::{CompartmentId, ContextId, Millis, UserId};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::control::{Rights, Role};
use aeroedge_log::invite::{InviteLink, Secret, Stretch};
use aeroedge_log::secrets::DeviceSecrets;
use aeroedge_node::{Config, Node, NodeHandle};
use aeroedge_replica::{CompartmentRule, Merged, Policy};
use aeroedge_transport_lan::{Interfaces, LanConfig, LanTransport, Port};
use rusqlite::{Connection, params};

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS note (
    id TEXT NOT NULL, compartment_id BLOB NOT NULL, day TEXT, place TEXT, amount INTEGER, body TEXT,
    PRIMARY KEY (id, compartment_id))";
/// For so long transactions are written in each of the steady runs.
const STEADY: Duration = Duration::from_secs(5);
/// Transactions asked for in one call; the program's way to commit many at once.
const CALL: u32 = 200;

struct Peer {
    node: Node<Device>,
    rows: u32,
}

fn now() -> Millis {
    Millis(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_millis() as u64,
    )
}

impl Peer {
    async fn new(folder: &Path, user: u8) -> Self {
        let connection = Connection::open(folder.join(format!("{user}.db"))).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 10000;")
            .unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let keys = KeysInMemory::new(DeviceSecrets::generate(&mut rand::rng()));
        let note = Merged {
            table: "note".into(),
            compartment: CompartmentRule::Column("compartment_id".into()),
            policy: Policy::Record,
        };
        let options = Options {
            tables: vec![note],
            rights: Box::new(AllTables),
            schema_version: 1,
        };
        let device = Device::create(
            connection,
            Box::new(keys),
            options,
            UserId([user; 16]),
            now(),
        )
        .unwrap();
        let node = Node::start(device, Config::default()).unwrap();
        let lan = LanTransport::new(LanConfig {
            port: Port::Any,
            interfaces: Interfaces::Loopback,
        });
        node.handle().add_transport(lan).await.unwrap();
        Self { node, rows: 0 }
    }

    fn handle(&self) -> NodeHandle<Device> {
        self.node.handle()
    }

    async fn invite(&self, context: ContextId) -> (InviteLink, Secret) {
        let secret = Secret::generate(&mut rand::rng());
        let spoken = Secret::typed(&secret.spoken());
        let invitation = Invitation {
            name: "bench".into(),
            rights: Rights::of(Role::Member),
            expires: Millis(0),
            uses: 10,
            hints: Vec::new(),
        };
        let invite = move |device: &mut Device| {
            device
                .invite(
                    context,
                    &invitation,
                    &secret,
                    Stretch::FOR_TESTS,
                    now(),
                    &mut rand::rng(),
                )
                .unwrap()
        };
        (self.handle().with(invite).await.unwrap(), spoken)
    }

    async fn join(&self, link: InviteLink, secret: Secret) {
        let context = link.context;
        let join =
            |device: &mut Device| device.start_join(link, secret, Stretch::FOR_TESTS).unwrap();
        self.handle().with(join).await.unwrap();
        while self
            .handle()
            .with(move |device| device.join_state(context))
            .await
            .unwrap()
            != JoinState::Joined
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Writes `transactions` of `rows` each in one call.
    async fn write(&mut self, compartment: CompartmentId, transactions: u32, rows: u32) {
        let first = self.rows;
        self.rows += transactions * rows;
        let write = move |device: &mut Device| {
            for transaction in 0..transactions {
                device
                    .write(now(), &mut rand::rng(), |tx| {
                        let mut insert = tx.prepare_cached(
                            "INSERT INTO note VALUES (?1, ?2, '2026-05-14', 'KPAO', ?3, 'A note of ordinary length.')",
                        )?;
                        for row in 0..rows {
                            let number = first + transaction * rows + row;
                            insert.execute(params![format!("note-{number:08}"), compartment.0, number])?;
                        }
                        Ok::<_, rusqlite::Error>(())
                    })
                    .unwrap();
            }
        };
        self.handle().with(write).await.unwrap();
    }

    async fn count(&self) -> u32 {
        let count = |device: &mut Device| {
            device
                .connection()
                .prepare_cached("SELECT coalesce(max(rowid), 0) FROM note")
                .unwrap()
                .query_row([], |row| row.get(0))
                .unwrap()
        };
        self.handle().with(count).await.unwrap()
    }

    async fn until(&self, rows: u32) {
        while self.count().await < rows {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::main]
async fn main() {
    let rows: u32 = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(100_000);
    let folder = tempfile::tempdir().unwrap();
    let mut ann = Peer::new(folder.path(), 1).await;
    let bob = Peer::new(folder.path(), 2).await;
    let found = |device: &mut Device| {
        device
            .create_context(Division::Single, "bench", now(), &mut rand::rng())
            .unwrap()
    };
    let context = ann.handle().with(found).await.unwrap();
    let compartment = Audience::Everyone.compartment(context);
    let began = Instant::now();
    for _ in 0..rows / 10_000 {
        ann.write(compartment, 100, 100).await;
    }
    report("written before", ann.rows, "rows", began.elapsed());

    let (link, secret) = ann.invite(context).await;
    let began = Instant::now();
    bob.join(link, secret).await;
    println!("joined after {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    let joined = Instant::now();
    bob.until(ann.rows).await;
    report("taken in", ann.rows, "rows", joined.elapsed());

    for size in [1, 100] {
        let (began, before) = (Instant::now(), ann.rows);
        while began.elapsed() < STEADY {
            ann.write(compartment, CALL / size, size).await;
        }
        let wrote = began.elapsed();
        bob.until(ann.rows).await;
        let written = ann.rows - before;
        println!(
            "transactions of {size}: behind by {:.0} ms",
            began.elapsed().saturating_sub(wrote).as_secs_f64() * 1e3
        );
        report(
            "  transactions durable on both",
            written / size,
            "transactions",
            began.elapsed(),
        );
        report("  rows", written, "rows", began.elapsed());
    }
    for peer in [&ann, &bob] {
        println!(
            "{:?}",
            peer.handle().peers().first().map(|peer| peer.figures)
        );
    }
    let equal = ann.digest(context).await == bob.digest(context).await;
    assert!(equal, "the two devices differ");
}

impl Peer {
    async fn digest(&self, context: ContextId) -> [u8; 32] {
        self.handle()
            .with(move |device| device.digest(context).unwrap())
            .await
            .unwrap()
    }
}

fn report(what: &str, count: u32, unit: &str, time: Duration) {
    let rate = f64::from(count) / time.as_secs_f64();
    println!(
        "{what}: {count} {unit} in {:.2} s, {rate:.0} {unit}/s",
        time.as_secs_f64()
    );
}

//! Nodes over real devices: SQLite files, sealed entries, signed membership.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aeroedge_device::{AllTables, Device, Invitation, KeysInMemory, Options};
use aeroedge_ids::{CompartmentId, ContextId, Millis, UserId};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::control::{Rights, Role};
use aeroedge_log::invite::{InviteLink, Secret, Stretch};
use aeroedge_log::secrets::DeviceSecrets;
use aeroedge_node::{Config, JoinState, Node, NodeHandle, Notice, SyncState};
use aeroedge_replica::{CompartmentRule, Merged, Policy};
use aeroedge_transport::Transport;
use aeroedge_transport_lan::{Interfaces, LanConfig, LanTransport, Port};
use rusqlite::{Connection, params};
use tempfile::TempDir;

use crate::network::Network;
use crate::support::eventually;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS note (id TEXT NOT NULL, compartment_id BLOB NOT NULL, title TEXT, PRIMARY KEY (id, compartment_id));
";

fn now() -> Millis {
    Millis(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_millis() as u64,
    )
}

fn open(folder: &Path, keys: &KeysInMemory, user: u8) -> Device {
    let connection = Connection::open(folder.join("notes.db")).unwrap();
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
        .unwrap();
    connection.execute_batch(SCHEMA).unwrap();
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
    Device::create(
        connection,
        Box::new(keys.clone()),
        options,
        UserId([user; 16]),
        now(),
    )
    .unwrap()
}

struct Member {
    folder: TempDir,
    keys: KeysInMemory,
    number: u8,
    node: Node<Device>,
}

impl Member {
    async fn new(number: u8, transport: &(impl Transport + Clone)) -> Self {
        let folder = TempDir::new().unwrap();
        let keys = KeysInMemory::new(DeviceSecrets::generate(&mut rand::rng()));
        let node = Node::start(open(folder.path(), &keys, number), Config::default()).unwrap();
        node.handle()
            .add_transport(transport.clone())
            .await
            .unwrap();
        Self {
            folder,
            keys,
            number,
            node,
        }
    }

    fn handle(&self) -> NodeHandle<Device> {
        self.node.handle()
    }

    async fn found(&self) -> ContextId {
        let found = |device: &mut Device| {
            device.create_context(Division::Single, "club", now(), &mut rand::rng())
        };
        self.handle().with(found).await.unwrap().unwrap()
    }

    async fn invite(&self, context: ContextId) -> (InviteLink, String) {
        let secret = Secret::generate(&mut rand::rng());
        let spoken = secret.spoken().to_string();
        let invitation = Invitation {
            name: "Club".into(),
            rights: Rights::of(Role::Member),
            expires: Millis(0),
            uses: 10,
            hints: Vec::new(),
        };
        let invite = move |device: &mut Device| {
            device.invite(
                context,
                &invitation,
                &secret,
                Stretch::FOR_TESTS,
                now(),
                &mut rand::rng(),
            )
        };
        (self.handle().with(invite).await.unwrap().unwrap(), spoken)
    }

    async fn join(&self, link: &InviteLink, secret: &str) {
        let (link, secret) = (link.clone(), Secret::typed(secret));
        let join = |device: &mut Device| device.start_join(link, secret, Stretch::FOR_TESTS);
        self.handle().with(join).await.unwrap().unwrap();
    }

    async fn has_joined(&self, context: ContextId) {
        eventually("it is a member", async || {
            let handle = self.handle();
            let state = handle.with(move |device| device.join_state(context)).await;
            state.unwrap() == aeroedge_device::JoinState::Joined
        })
        .await;
    }

    async fn write(&self, context: ContextId, ids: std::ops::Range<u32>) {
        let writer = self.number;
        self.handle()
            .with(move |device| {
                device.write(now(), &mut rand::rng(), |tx| {
                    for id in ids {
                        tx.execute(
                            "INSERT INTO note(id, compartment_id, title) VALUES (?1, ?2, 'a note')",
                            params![format!("{writer} {id}"), everyone(context).0],
                        )?;
                    }
                    Ok::<_, rusqlite::Error>(())
                })
            })
            .await
            .unwrap()
            .unwrap();
    }

    async fn notes(&self) -> u32 {
        let count = |device: &mut Device| {
            device
                .connection()
                .query_row("SELECT count(*) FROM note", [], |row| row.get(0))
                .unwrap()
        };
        self.handle().with(count).await.unwrap()
    }

    async fn digest(&self, context: ContextId) -> [u8; 32] {
        self.handle()
            .with(move |device| device.digest(context).unwrap())
            .await
            .unwrap()
    }
}

fn everyone(context: ContextId) -> CompartmentId {
    Audience::Everyone.compartment(context)
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_join_by_invitation_and_stay_equal() {
    let network = Network::default();
    let (ann, bob) = (
        Member::new(1, &network).await,
        Member::new(2, &network).await,
    );
    let context = ann.found().await;
    ann.write(context, 0..1000).await;
    let (link, secret) = ann.invite(context).await;
    let mut notices = bob.handle().notices();
    bob.join(&link, &secret).await;
    eventually("everything arrives", async || bob.notes().await == 1000).await;
    bob.write(context, 0..10).await;
    eventually("what the new member writes arrives", async || {
        ann.notes().await == 1010
    })
    .await;
    eventually("both say they are in sync", async || {
        ann.handle().status().state == SyncState::Synced
            && bob.handle().status().state == SyncState::Synced
    })
    .await;
    assert_eq!(ann.digest(context).await, bob.digest(context).await);
    let mut joined = false;
    while let Ok(notice) = notices.try_recv() {
        joined |= notice == Notice::Join(context, JoinState::Joined);
    }
    assert!(joined);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_says_so_and_leaves_nothing_behind() {
    let network = Network::default();
    let (ann, bob) = (
        Member::new(1, &network).await,
        Member::new(2, &network).await,
    );
    let context = ann.found().await;
    let (link, secret) = ann.invite(context).await;
    let wrong = Secret::generate(&mut rand::rng()).spoken().to_string();
    bob.join(&link, &wrong).await;
    let state = async || {
        bob.handle()
            .with(move |device| device.join_state(context))
            .await
            .unwrap()
    };
    eventually("the secret is found wrong", async || {
        state().await == aeroedge_device::JoinState::WrongSecret
    })
    .await;
    assert!(
        bob.handle()
            .with(|device| device.contexts().is_empty())
            .await
            .unwrap()
    );
    let other = Secret::generate(&mut rand::rng()).spoken().to_string();
    bob.join(&link, &other).await;
    eventually("the next is found wrong too", async || {
        state().await == aeroedge_device::JoinState::WrongSecret
    })
    .await;
    bob.handle()
        .with(move |device| device.cancel_join(context))
        .await
        .unwrap();
    bob.join(&link, &secret).await;
    eventually("the right one is accepted", async || {
        state().await == aeroedge_device::JoinState::Joined
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_devices_stay_equal_through_cuts_and_a_restart() {
    let network = Network::default();
    let (ann, bob, mut eve) = (
        Member::new(1, &network).await,
        Member::new(2, &network).await,
        Member::new(3, &network).await,
    );
    let context = ann.found().await;
    let (link, secret) = ann.invite(context).await;
    bob.join(&link, &secret).await;
    eve.join(&link, &secret).await;
    bob.has_joined(context).await;
    eve.has_joined(context).await;
    for round in 0..5 {
        ann.write(context, round * 10..round * 10 + 10).await;
        network.cut();
        bob.write(context, round * 10..round * 10 + 10).await;
    }
    eventually("all hold 100 notes", async || {
        ann.notes().await == 100 && bob.notes().await == 100 && eve.notes().await == 100
    })
    .await;
    let Member {
        folder,
        keys,
        number,
        node,
    } = eve;
    node.stop().await;
    ann.write(context, 50..60).await;
    let node = Node::start(open(folder.path(), &keys, number), Config::default()).unwrap();
    node.handle().add_transport(network.clone()).await.unwrap();
    eve = Member {
        folder,
        keys,
        number,
        node,
    };
    eventually("the one that was away has the rest", async || {
        eve.notes().await == 110
    })
    .await;
    assert_eq!(ann.digest(context).await, eve.digest(context).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_writes_travels_at_once() {
    let network = Network::default();
    let (ann, bob) = (
        Member::new(1, &network).await,
        Member::new(2, &network).await,
    );
    let context = ann.found().await;
    let (link, secret) = ann.invite(context).await;
    bob.join(&link, &secret).await;
    eventually("they meet", async || {
        ann.handle().status().state == SyncState::Synced
    })
    .await;
    let mut beside = open(ann.folder.path(), &ann.keys, 1);
    let mut latencies = Vec::new();
    for number in 0..50_u32 {
        let began = Instant::now();
        beside
            .write(now(), &mut rand::rng(), |tx| {
                tx.execute(
                    "INSERT INTO note(id, compartment_id) VALUES (?1, ?2)",
                    params![format!("beside {number}"), everyone(context).0],
                )
            })
            .unwrap();
        ann.handle().poke().await.unwrap();
        while bob.notes().await <= number {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        latencies.push(began.elapsed());
    }
    latencies.sort();
    println!(
        "another process to the peer: p50 {:?}, p98 {:?}",
        latencies[25], latencies[48]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_reaches_the_peer_within_milliseconds() {
    let network = Network::default();
    let (ann, bob) = (
        Member::new(1, &network).await,
        Member::new(2, &network).await,
    );
    let context = ann.found().await;
    let (link, secret) = ann.invite(context).await;
    bob.join(&link, &secret).await;
    eventually("they meet", async || {
        ann.handle().status().state == SyncState::Synced
    })
    .await;
    let mut latencies = Vec::new();
    for number in 0..200 {
        let began = Instant::now();
        ann.write(context, number..number + 1).await;
        while bob.notes().await <= number {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        latencies.push(began.elapsed());
    }
    latencies.sort();
    println!(
        "commit to visible: p50 {:?}, p99 {:?}",
        latencies[100], latencies[197]
    );
    assert!(
        latencies[100] < Duration::from_millis(100),
        "{:?}",
        latencies[100]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_find_each_other_on_this_machine_and_stay_equal() {
    let lan = LanTransport::new(LanConfig {
        port: Port::Any,
        interfaces: Interfaces::Loopback,
    });
    let (ann, bob) = (Member::new(1, &lan).await, Member::new(2, &lan).await);
    let context = ann.found().await;
    ann.write(context, 0..2000).await;
    let (link, secret) = ann.invite(context).await;
    let began = Instant::now();
    bob.join(&link, &secret).await;
    bob.has_joined(context).await;
    println!("joined after {:?}", began.elapsed());
    eventually("everything arrives", async || bob.notes().await == 2000).await;
    println!("2000 notes after {:?}", began.elapsed());
    let mut latencies = Vec::new();
    for number in 2000..2200 {
        let began = Instant::now();
        ann.write(context, number..number + 1).await;
        while bob.notes().await <= number {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        latencies.push(began.elapsed());
    }
    latencies.sort();
    println!(
        "commit to visible: p50 {:?}, p99 {:?}",
        latencies[100], latencies[197]
    );
    assert_eq!(ann.digest(context).await, bob.digest(context).await);
}

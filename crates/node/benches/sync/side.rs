//! The two processes of a measurement: one writes and sends, one joins and takes in. What they measure they print, a line for each figure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aeroedge_device::{AllTables, Device, Invitation, KeysInMemory, Options};
use aeroedge_ids::{ContextId, Millis, UserId};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::control::{Rights, Role};
use aeroedge_log::invite::{InviteLink, Secret, Stretch};
use aeroedge_log::secrets::DeviceSecrets;
use aeroedge_node::{
    AfterMerge, Config, JoinState, MergedRows, Node, NodeHandle, Notice, SyncState,
};
use aeroedge_replica::Merged;
use aeroedge_transport_lan::{Interfaces, LanConfig, LanTransport, Port};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::rows::{self, Row, insert, open};

/// Writers that wait for an answer at once when as much is written as goes.
const WRITERS: usize = 256;

/// What is written and when.
#[derive(Clone, Copy)]
pub(crate) enum Load {
    /// Before anybody joins.
    CatchUp { rows: usize, each: usize },
    /// Transactions of `each` rows, `rate` a second, or as many as go if that is 0.
    Steady {
        rate: usize,
        each: usize,
        seconds: usize,
    },
    /// Single rows, `rate` a second; when each was committed and seen is written down.
    Latency { rate: usize, seconds: usize },
}

impl Load {
    pub(crate) fn to_text(self) -> String {
        match self {
            Self::CatchUp { rows, each } => format!("catch-up:{rows}:{each}:0"),
            Self::Steady {
                rate,
                each,
                seconds,
            } => format!("steady:{rate}:{each}:{seconds}"),
            Self::Latency { rate, seconds } => format!("latency:{rate}:1:{seconds}"),
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        let mut parts = text.split(':');
        let name = parts.next().unwrap();
        let mut number = || parts.next().unwrap().parse::<usize>().unwrap();
        let (first, each, seconds) = (number(), number(), number());
        match name {
            "catch-up" => Self::CatchUp { rows: first, each },
            "steady" => Self::Steady {
                rate: first,
                each,
                seconds,
            },
            _ => Self::Latency {
                rate: first,
                seconds,
            },
        }
    }
}

fn seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

fn now() -> Millis {
    Millis((seconds() * 1e3) as u64)
}

fn device(folder: &Path, user: u8) -> Device {
    let options = Options {
        tables: vec![Merged::table("entry")],
        rights: Box::new(AllTables),
        schema_version: 1,
    };
    let keys = KeysInMemory::new(DeviceSecrets::generate(&mut rand::rng()));
    let connection = open(folder, "bench.db");
    Device::create(
        connection,
        Box::new(keys),
        options,
        UserId([user; 16]),
        now(),
    )
    .unwrap()
}

fn write(device: &mut Device, rows: &[Row]) {
    device
        .write(now(), &mut rand::rng(), |tx| {
            rows.iter().try_for_each(|row| insert(tx, row).map(|_| ()))
        })
        .unwrap();
}

/// The most memory this process ever had, in KiB; `forget` starts anew.
fn peak_kib(forget: bool) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    if forget {
        // Without the right to do so the peak includes what came before.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
    }
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

/// Seconds of processor time this process has used.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
    let ticks = |place: usize| -> f64 {
        fields
            .get(place)
            .and_then(|ticks| ticks.parse().ok())
            .unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / 100.0
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
}

async fn start(device: Device, after_merge: Option<AfterMerge<Device>>) -> Node<Device> {
    let config = Config {
        after_merge,
        ..Config::default()
    };
    let node = Node::start(device, config).unwrap();
    let config = LanConfig {
        port: Port::Any,
        interfaces: Interfaces::Loopback,
    };
    let handle = node.handle();
    handle
        .add_transport(LanTransport::new(config))
        .await
        .unwrap();
    node
}

fn hex(bytes: [u8; 32]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn print(word: &str, figure: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word} {figure}").unwrap();
    out.flush().unwrap();
}

/// The sending process.
pub(crate) fn send(folder: &Path, load: Load) {
    let mut device = device(folder, 1);
    let mut rng = rand::rng();
    let context = device
        .create_context(Division::Single, "bench", now(), &mut rng)
        .unwrap();
    device.use_for_fixed_tables(Audience::Everyone.compartment(context));
    let mut transactions = 0;
    if let Load::CatchUp { rows, each } = load {
        let mut source = rows::rows().take(rows).peekable();
        while source.peek().is_some() {
            let group = source.by_ref().take(each);
            let write = device.write(now(), &mut rng, |tx| {
                for row in group {
                    insert(tx, &row)?;
                }
                Ok::<_, rusqlite::Error>(())
            });
            write.unwrap();
            transactions += 1;
        }
        device.make_durable().unwrap();
    }
    let secret = Secret::generate(&mut rng);
    let invitation = Invitation {
        name: "bench".into(),
        rights: Rights::of(Role::Member),
        expires: Millis(0),
        uses: 1,
        hints: Vec::new(),
    };
    let link = device
        .invite(
            context,
            &invitation,
            &secret,
            Stretch::FORMAT,
            now(),
            &mut rng,
        )
        .unwrap();
    peak_kib(true);
    let used = processor();
    runtime().block_on(async {
        let node = start(device, None).await;
        let handle = node.handle();
        let met = Arc::new(Mutex::new(0.0));
        tokio::spawn(note_meetings(handle.clone(), Arc::clone(&met)));
        print("invite", format!("{} {}", link.to_text(), *secret.spoken()));
        synced(&handle).await;
        let met = *met.lock().unwrap();
        let mut from = seconds();
        let mut written = from;
        let mut committed = BTreeMap::new();
        if !matches!(load, Load::CatchUp { .. }) {
            // The new member's first entries, if any, are over.
            sleep(Duration::from_millis(500)).await;
            from = seconds();
            (transactions, written, committed) = write_load(&handle, load).await;
            while handle.status().pending > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        let to = seconds();
        print("met", met);
        print("from", from);
        print("to", to);
        print("written", written);
        print("transactions", transactions);
        print("peak", peak_kib(false));
        print("processor", processor() - used);
        print("digest", digest(&handle, context).await);
        print("committed", listed(&committed));
        wait_for_the_end().await;
        node.stop().await;
    });
}

/// Keeps when the peer was last found to be a member.
async fn note_meetings(handle: NodeHandle<Device>, met: Arc<Mutex<f64>>) {
    let mut notices = handle.notices();
    while let Ok(notice) = notices.recv().await {
        if matches!(notice, Notice::PeerUp(_)) {
            *met.lock().unwrap() = seconds();
        }
    }
}

async fn synced(handle: &NodeHandle<Device>) {
    while handle.status().state != SyncState::Synced {
        sleep(Duration::from_millis(1)).await;
    }
}

async fn digest(handle: &NodeHandle<Device>, context: ContextId) -> String {
    let digest = handle.with(move |device| device.digest(context).unwrap());
    hex(digest.await.unwrap())
}

fn listed(times: &BTreeMap<String, f64>) -> String {
    times.iter().fold(String::new(), |mut text, (id, at)| {
        let _ = write!(text, "{id}={at:.6} ");
        text
    })
}

/// Number of transactions, when the last began, and when each was committed.
type Written = (usize, f64, BTreeMap<String, f64>);

async fn write_load(handle: &NodeHandle<Device>, load: Load) -> Written {
    let (rate, each, lasts) = match load {
        Load::Steady {
            rate,
            each,
            seconds,
        } => (rate, each, seconds),
        Load::Latency { rate, seconds } => (rate, 1, seconds),
        Load::CatchUp { .. } => return Written::default(),
    };
    let committed = Arc::new(Mutex::new(BTreeMap::new()));
    let is_noted = matches!(load, Load::Latency { .. });
    let mut source = rows::rows();
    let began = seconds();
    let mut tasks = JoinSet::new();
    let (mut transactions, mut last) = (0, began);
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while seconds() - began < lasts as f64 {
        let due = if rate == 0 {
            transactions + WRITERS - tasks.len()
        } else {
            ticks.tick().await;
            ((seconds() - began) * rate as f64) as usize
        };
        while transactions < due {
            let rows: Vec<Row> = source.by_ref().take(each).collect();
            let (handle, committed) = (handle.clone(), Arc::clone(&committed));
            tasks.spawn(async move {
                let call = move |device: &mut Device| {
                    write(device, &rows);
                    if is_noted {
                        committed
                            .lock()
                            .unwrap()
                            .insert(rows[0].id.clone(), seconds());
                    }
                };
                handle.write(call).await.unwrap();
            });
            transactions += 1;
            last = seconds();
        }
        if rate == 0 {
            tasks.join_next().await.unwrap().unwrap();
        }
        while let Some(done) = tasks.try_join_next() {
            done.unwrap();
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let committed = std::mem::take(&mut *committed.lock().unwrap());
    (transactions, last, committed)
}

/// The receiving process.
pub(crate) fn receive(folder: &Path, link: &str, secret: &str) {
    let mut device = device(folder, 2);
    let link = InviteLink::parse(link).unwrap();
    let context = link.context;
    device.use_for_fixed_tables(Audience::Everyone.compartment(context));
    let seen = Arc::new(Mutex::new(BTreeMap::new()));
    let noted = Arc::clone(&seen);
    let first = Arc::new(Mutex::new(None));
    let first_noted = Arc::clone(&first);
    let mut newest = 0;
    let note = move |device: &mut Device, _: Vec<MergedRows>| {
        let at = seconds();
        first_noted.lock().unwrap().get_or_insert(at);
        let mut statement = device
            .connection()
            .prepare_cached("SELECT rowid, id FROM entry WHERE rowid > ?1 LIMIT 1000")
            .unwrap();
        let new: Vec<(i64, String)> = statement
            .query_map([newest], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        // Of heavy loads nobody asks when each row came.
        if new.len() < 1000 {
            let mut noted = noted.lock().unwrap();
            noted.extend(new.iter().map(|(_, id)| (id.clone(), at)));
        }
        let last = device
            .connection()
            .query_row("SELECT max(rowid) FROM entry", [], |row| row.get(0));
        newest = last.unwrap();
    };
    runtime().block_on(async {
        let node = start(device, Some(Box::new(note))).await;
        let handle = node.handle();
        let mut notices = handle.notices();
        let secret = Secret::typed(secret);
        print("started", seconds());
        let join = |device: &mut Device| device.start_join(link, secret, Stretch::FORMAT);
        handle.with(join).await.unwrap().unwrap();
        while notices.recv().await.unwrap() != Notice::Join(context, JoinState::Joined) {}
        print("joined", seconds());
        // Stretching the secret takes 64 MiB by design; what counts here is what comes after.
        peak_kib(true);
        let used = processor();
        wait_for_the_end().await;
        print("first", first.lock().unwrap().unwrap_or(0.0));
        print("peak", peak_kib(false));
        print("processor", processor() - used);
        print("digest", digest(&handle, context).await);
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        print("seen", listed(&seen));
        wait_for_the_end().await;
        node.stop().await;
    });
}

/// Until the first process says something or nothing more.
async fn wait_for_the_end() {
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()))
        .await
        .unwrap()
        .unwrap();
}

//! `aeroedge sync ...`: how this device stands with the others.

use std::fmt::Write as _;
use std::time::Duration;

use aeroedge_api::types::{PeerList, PeerState, SyncState, SyncStatus};
use aeroedge_app::explain::Kind;
use aeroedge_app::standing;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::{Bench, NodeAccess};
use crate::arguments::{SyncCommand, WaitArguments};
use crate::failure::Failure;
use crate::output::{count, pairs, short, table};
use crate::running::Client;

const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// In sync for so long counts as done: whoever has more to say says it within this time.
const QUIET: Duration = Duration::from_millis(500);

/// How this device stands.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SyncReport {
    /// Whether a node runs on this data folder.
    pub(crate) running: bool,
    /// In one word.
    pub(crate) state: SyncState,
    /// How many devices are connected.
    pub(crate) connected: u64,
    /// Entries of this device that nobody has confirmed since the node started.
    pub(crate) pending: u64,
    /// What needs attention.
    pub(crate) notices: Vec<String>,
    /// By group.
    pub(crate) contexts: Vec<ContextReport>,
}

/// How one group stands.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ContextReport {
    /// The group.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: Option<String>,
    /// Equal on devices that hold the same.
    pub(crate) digest: String,
    /// Entries in the tables.
    pub(crate) merged: u64,
    /// Entries that wait.
    pub(crate) waiting: u64,
    /// Entries that do not count.
    pub(crate) refused: u64,
    /// Values without a place in this program.
    pub(crate) quarantined: u64,
    /// Values overruled by a concurrent edit.
    pub(crate) conflicts: u64,
}

pub(super) async fn run(command: &SyncCommand, bench: &Bench) -> Result<(), Failure> {
    match command {
        SyncCommand::Status => status(bench).await,
        SyncCommand::Now(wait) => sync_now(wait, bench).await,
        SyncCommand::Peers => peers(bench).await,
    }
}

async fn status(bench: &Bench) -> Result<(), Failure> {
    let mut office = bench.open()?;
    let desk = office.desk();
    let counts = standing::counts(desk.device)?;
    let contexts = counts
        .into_iter()
        .map(|context| {
            Ok(ContextReport {
                digest: standing::digest(desk.device, context.id)?,
                id: context.id.to_string(),
                name: context.name,
                merged: context.merged,
                waiting: context.waiting,
                refused: context.refused,
                quarantined: context.quarantined,
                conflicts: context.conflicts,
            })
        })
        .collect::<Result<_, Failure>>()?;
    let client = Client::find(&office.installation.folder).await;
    let live: SyncStatus = match &client {
        Some(client) => client.get("/v1/sync").await?,
        None => SyncStatus::default(),
    };
    let report = SyncReport {
        running: client.is_some(),
        state: live.state,
        connected: live.connected,
        pending: live.pending,
        notices: live.notices,
        contexts,
    };
    bench.output.result(&report, describe)
}

async fn sync_now(wait: &WaitArguments, bench: &Bench) -> Result<(), Failure> {
    let node = bench.node(bench.open()?).await?;
    let spinner = bench.output.spinner("exchanging with whoever is there");
    let done = wait_until_synced(&node, wait.timeout).await;
    spinner.finish_and_clear();
    node.end().await;
    let status = done?;
    bench.output.result(&status, |status| {
        format!("in sync with {}", count(status.connected, "device"))
    })
}

pub(super) async fn wait_until_synced(
    node: &NodeAccess,
    patience: Duration,
) -> Result<SyncStatus, Failure> {
    let began = Instant::now();
    let mut quiet_since: Option<Instant> = None;
    node.sync_now().await?;
    loop {
        let status = node.sync_status().await?;
        if status.state == SyncState::Synced && status.connected > 0 {
            let since = *quiet_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= QUIET {
                return Ok(status);
            }
        } else {
            quiet_since = None;
        }
        if began.elapsed() > patience {
            let message = if status.connected == 0 {
                format!("no other device was met within {} s", patience.as_secs())
            } else {
                format!("the exchange did not end within {} s", patience.as_secs())
            };
            return Err(Failure::new(
                Kind::Unreachable,
                message,
                "start `aeroedge up` on another device in this network, or wait longer with --timeout",
            ));
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn peers(bench: &Bench) -> Result<(), Failure> {
    let office = bench.open()?;
    let list: PeerList = if let Some(client) = Client::find(&office.installation.folder).await {
        client.get("/v1/sync/peers").await?
    } else {
        bench
            .output
            .remark("no node runs on this data folder; start one with `aeroedge up`");
        PeerList::default()
    };
    bench.output.result(&list, describe_peers)
}

fn state_words(state: SyncState) -> &'static str {
    match state {
        SyncState::Synced => "everything is exchanged",
        SyncState::Syncing => "changes are on their way",
        SyncState::LocalOnly => "in sync with the neighbours only",
        SyncState::Offline => "nobody is there",
    }
}

fn describe(report: &SyncReport) -> String {
    let state = if report.running {
        state_words(report.state).to_owned()
    } else {
        "no node runs here; start one with `aeroedge up`".to_owned()
    };
    let mut text = pairs(&[
        ("state", state),
        ("connected", count(report.connected, "device")),
        (
            "pending",
            format!("{} nobody has confirmed yet", report.pending),
        ),
    ]);
    for notice in &report.notices {
        let _ = write!(text, "\nnotice     {notice}");
    }
    let rows = report.contexts.iter().map(|context| {
        [
            short(&context.id).to_owned(),
            context.name.clone().unwrap_or_else(|| "-".to_owned()),
            context.merged.to_string(),
            context.waiting.to_string(),
            context.refused.to_string(),
            context.conflicts.to_string(),
            context.digest.chars().take(16).collect(),
        ]
    });
    text.push_str("\n\n");
    text.push_str(&table(
        &[
            "id",
            "name",
            "merged",
            "waiting",
            "refused",
            "conflicts",
            "digest",
        ],
        &[2, 3, 4, 5],
        rows,
    ));
    text
}

fn describe_peers(list: &PeerList) -> String {
    if list.peers.is_empty() {
        return "no device was met".to_owned();
    }
    let rows = list.peers.iter().map(|peer| {
        [
            short(&peer.device).to_owned(),
            peer.name.clone().unwrap_or_else(|| "-".to_owned()),
            match peer.state {
                PeerState::Connected => "connected",
                PeerState::Degraded => "slow",
                PeerState::Reconnecting => "sought",
                PeerState::Disconnected => "gone",
            }
            .to_owned(),
            peer.transport.clone().unwrap_or_default(),
            if peer.in_sync { "in sync" } else { "" }.to_owned(),
            peer.contexts.len().to_string(),
        ]
    });
    table(&["device", "of", "state", "by", "", "contexts"], &[5], rows)
}

//! `aeroedge up`: runs a node and its HTTP interface until it is told to end.

use aeroedge_api::{Server, Token};
use aeroedge_app::explain::{Kind, with_causes};
use serde::Serialize;
use tokio::io::AsyncReadExt;

use crate::arguments::UpArguments;
use crate::commands::Bench;
use crate::failure::Failure;
use crate::program::{Program, service};
use crate::running::{Client, NodeFile, NodeLock};

/// What is told once everything runs.
#[derive(Debug, Serialize)]
struct Up {
    page: String,
    port: u16,
    lan_port: Option<u16>,
    pid: u32,
}

/// Runs until Ctrl-C, a request to terminate, or the end of standard input if so asked.
pub(crate) async fn up(arguments: &UpArguments, bench: &Bench) -> Result<(), Failure> {
    start_log();
    let installation = bench.open()?.installation;
    let folder = installation.folder;
    let lock = match Client::find(&folder).await {
        Some(_) => None,
        None => NodeLock::take(&folder)?,
    };
    let Some(_lock) = lock else {
        return Err(Failure::new(
            Kind::Refused,
            format!("a node runs on {} already", folder.path().display()),
            "end it first, or name another folder with --data",
        ));
    };
    let token = Token::load_or_create(&folder.token_file(), &mut rand::rng())
        .map_err(|error| Failure::new(Kind::Failure, with_causes(&error), ""))?;
    let server = Server::bind(arguments.api_port).await.map_err(|error| {
        // Its text names the port and what to do, its cause why.
        let cause = std::error::Error::source(&error).map_or_else(String::new, ToString::to_string);
        Failure::new(Kind::Failure, format!("cannot {error} ({cause})"), "")
    })?;
    let (node, program) = Program::start(installation.device, arguments.lan_port).await?;
    let told = Up {
        page: server.page_address(&token),
        port: server.address().port(),
        lan_port: program.lan_port(),
        pid: std::process::id(),
    };
    let trace = NodeFile {
        pid: told.pid,
        port: told.port,
        lan_port: told.lan_port,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let outcome = match trace.write(&folder).and_then(|()| {
        bench.output.result(&told, |told| {
            format!(
                "The logbook: {}\nOther devices reach this one at port {}. Ctrl-C ends.",
                told.page,
                told.lan_port
                    .map_or_else(|| "?".to_owned(), |port| port.to_string())
            )
        })
    }) {
        Ok(()) => server
            .run(
                service(&program),
                token,
                until_told(arguments.until_input_ends),
            )
            .await
            .map_err(|error| {
                Failure::new(Kind::Failure, format!("cannot {}", with_causes(&error)), "")
            }),
        Err(failure) => Err(failure),
    };
    trace.remove(&folder);
    node.stop().await;
    outcome
}

/// Ends when this process is asked to.
async fn until_told(until_input_ends: bool) {
    let input_ends = async {
        if !until_input_ends {
            return std::future::pending().await;
        }
        let mut rest = Vec::new();
        // An input that cannot be read has ended, too.
        let _ = tokio::io::stdin().read_to_end(&mut rest).await;
    };
    tokio::select! {
        () = input_ends => {}
        _ = tokio::signal::ctrl_c() => {}
        () = terminated() => {}
    }
}

#[cfg(unix)]
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending().await
}

/// What the node has to say goes to standard error: warnings, or what RUST_LOG asks for.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    // A second start in one process keeps the first.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}

//! `aeroedge device add` and `aeroedge device pair`: all groups of a person on a second device.
//!
//! The link is a secret: it is shown, or written to a file of its owner, and read from a prompt, a file or standard input.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use aeroedge_api::types::{Pairing, PairingOffer, PairingState};
use aeroedge_app::contexts;
use aeroedge_app::explain::Kind;
use aeroedge_app::folder::{DataFolder, Filling, FolderError};
use aeroedge_app::installation::{Installation, needs_passphrase};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::sync::wait_until_synced;
use super::{Bench, NodeAccess};
use crate::arguments::{AddDeviceArguments, PairArguments};
use crate::desk;
use crate::failure::{Doing, Failure};
use crate::program::Program;
use crate::running::Client;
use crate::secrets::{self, Secret};

const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A little longer than the code is good.
const PATIENCE: Duration = Duration::from_mins(11);

/// What became of a pairing.
#[derive(Debug, Serialize)]
struct Paired {
    /// How many groups the new device has.
    contexts: usize,
    /// Whether it holds what is in them already.
    in_sync: bool,
}

pub(super) async fn add(arguments: &AddDeviceArguments, bench: &Bench) -> Result<(), Failure> {
    if bench.output.is_json() && (arguments.write_link.is_none() || !arguments.yes) {
        return Err(Failure::new(
            Kind::Invalid,
            "with --json there is nobody to show a code to",
            "name a file with --write-link and add --yes",
        ));
    }
    let node = bench.node(bench.open()?).await?;
    let outcome = let_in(arguments, bench, &node).await;
    if outcome.is_err() {
        // The reason is told already.
        let _ = node.end_pairing().await;
    }
    node.end().await;
    let done = outcome?;
    bench.output.result(&done, |_| {
        "the new device is in; it has all your groups".to_owned()
    })
}

async fn let_in(
    arguments: &AddDeviceArguments,
    bench: &Bench,
    node: &NodeAccess,
) -> Result<Pairing, Failure> {
    let offer = node.offer_pairing().await?;
    match &arguments.write_link {
        Some(path) => write_link(path, &offer.link)?,
        None => bench.output.remark(&shown(&offer)?),
    }
    let spinner = bench.output.spinner("waiting for the new device");
    let met = until(node, |state| {
        !matches!(state, PairingState::Searching | PairingState::None)
    })
    .await;
    spinner.finish_and_clear();
    let digits = met?.digits.unwrap_or_default();
    bench.output.remark(&format!("Six digits: {digits}"));
    secrets::consent(
        "Does the new device show the same six digits?",
        arguments.yes,
    )?;
    node.confirm_pairing(digits).await?;
    let done = until(node, |state| state == PairingState::Done).await?;
    node.end_pairing().await?;
    Ok(done)
}

/// Waits for a state; a failure of the pairing ends it.
async fn until(
    node: &NodeAccess,
    is_reached: impl Fn(PairingState) -> bool,
) -> Result<Pairing, Failure> {
    let began = Instant::now();
    loop {
        let pairing = node.pairing().await?;
        check(&pairing)?;
        if is_reached(pairing.state) {
            return Ok(pairing);
        }
        if began.elapsed() > PATIENCE {
            return Err(nobody(PATIENCE));
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn check(pairing: &Pairing) -> Result<(), Failure> {
    match (pairing.state, &pairing.detail) {
        (PairingState::Failed, Some(why)) => Err(Failure::new(
            Kind::Refused,
            "the second device was not let in",
            why.clone(),
        )),
        _ => Ok(()),
    }
}

fn nobody(patience: Duration) -> Failure {
    Failure::new(
        Kind::Unreachable,
        format!(
            "the other device was not met within {} s",
            patience.as_secs()
        ),
        "bring both into the same network and start anew; nothing was changed",
    )
}

fn shown(offer: &PairingOffer) -> Result<String, Failure> {
    let code = fast_qr::QRBuilder::new(offer.link.as_bytes())
        .build()
        .map_err(|_| Failure::new(Kind::Failure, "the code could not be drawn", ""))?;
    Ok(format!(
        "{}\nOn the new device, run `aeroedge device pair` and give it this code, or this text:\n\n  {}\n",
        code.to_str(),
        offer.link
    ))
}

/// A new file that only its owner may read.
fn write_link(path: &Path, link: &str) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let doing = || format!("write the link to {}", path.display());
    let mut file = options.open(path).doing(doing)?;
    writeln!(file, "{link}").doing(doing)
}

pub(super) async fn pair(arguments: &PairArguments, bench: &Bench) -> Result<(), Failure> {
    let link = link(arguments)?;
    let link = contexts::check_pairing_link(&link)?;
    let (installation, filling) = installation(arguments, bench).await?;
    let (node, program) = Program::start(installation.device, Some(0)).await?;
    let node = NodeAccess::own(node, program.clone());
    program.start_pairing(link).await?;
    let patience = arguments.wait.timeout;
    let outcome = be_let_in(&node, bench, patience).await;
    let contexts = program.count_contexts().await.unwrap_or_default();
    let in_sync = outcome.is_ok() && wait_until_synced(&node, patience).await.is_ok();
    program.end_pairing().await?;
    drop(program);
    node.end().await;
    if let Some(filling) = filling.filter(|_| contexts > 0) {
        filling.finish()?;
    }
    outcome?;
    bench
        .output
        .result(&Paired { contexts, in_sync }, |paired| {
            let rest = if paired.in_sync {
                "everything in them is here"
            } else {
                "run `aeroedge up` to get what is in them"
            };
            format!(
                "this is a device of yours now, with {} groups; {rest}",
                paired.contexts
            )
        })
}

/// The installation in the data folder, or a new one that is gone again unless its filling is finished.
async fn installation(
    arguments: &PairArguments,
    bench: &Bench,
) -> Result<(Installation, Option<Filling>), Failure> {
    let path = bench.path()?;
    let folder = match DataFolder::open(&path) {
        Ok(folder) => folder,
        Err(error @ (FolderError::Exposed(_) | FolderError::NotAFolder(_))) => {
            return Err(error.into());
        }
        Err(_) => {
            let passphrase = if arguments.seal {
                Some(secrets::new_passphrase(&bench.global)?)
            } else {
                None
            };
            let passphrase = passphrase.as_ref().map(|text| text.as_str());
            let (made, filling) = Installation::create_for_pairing(&path, passphrase, desk::now())?;
            return Ok((made, Some(filling)));
        }
    };
    if Client::find(&folder).await.is_some() {
        return Err(Failure::new(
            Kind::Refused,
            "a node runs on this data folder",
            "end it, pair, and start it again",
        ));
    }
    let passphrase = if needs_passphrase(&folder)? {
        Some(secrets::passphrase(&bench.global)?)
    } else {
        None
    };
    let passphrase = passphrase.as_ref().map(|text| text.as_str());
    Ok((Installation::open(folder, passphrase, desk::now())?, None))
}

async fn be_let_in(node: &NodeAccess, bench: &Bench, patience: Duration) -> Result<(), Failure> {
    let began = Instant::now();
    let spinner = bench
        .output
        .spinner("looking for your other device on this network");
    let mut is_met = false;
    let outcome = loop {
        let pairing = node.pairing().await?;
        if let Err(failure) = check(&pairing) {
            break Err(failure);
        }
        if let (Some(digits), false) = (&pairing.digits, is_met) {
            is_met = true;
            spinner.suspend(|| {
                bench.output.remark(&format!(
                    "Six digits: {digits}\nSay yes on the other device if it shows the same."
                ));
            });
        }
        if pairing.state == PairingState::Done {
            break Ok(());
        }
        // Once met, the other device's person may take the time that the code is good.
        let patience = if is_met { PATIENCE } else { patience };
        if began.elapsed() > patience {
            break Err(nobody(patience));
        }
        sleep(LOOK_AGAIN).await;
    };
    spinner.finish_and_clear();
    outcome
}

fn link(arguments: &PairArguments) -> Result<Secret, Failure> {
    if let Some(path) = &arguments.link_file {
        return secrets::from_file(path);
    }
    if arguments.link_stdin {
        return secrets::from_stdin();
    }
    secrets::ask(
        "Text that the other device shows: ",
        "give it with --link-file or --link-stdin",
    )
}

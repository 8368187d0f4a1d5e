//! `aeroedge init` and `aeroedge doctor`: making an installation, and looking after one.

use std::process::ExitCode;

use aeroedge_app::clock;
use aeroedge_app::doctor::{self, Finding, State};
use aeroedge_app::folder::DataFolder;
use aeroedge_app::installation::{Installation, needs_passphrase};
use aeroedge_app::standing;
use serde::Serialize;

use super::Bench;
use crate::arguments::{DoctorArguments, InitArguments};
use crate::desk;
use crate::failure::Failure;
use crate::output::pairs;
use crate::running::{Client, NodeFile};
use crate::secrets;

pub(super) fn init(arguments: &InitArguments, bench: &Bench) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Made {
        folder: String,
        device: String,
        user: String,
        name: Option<String>,
        keys_sealed: bool,
    }
    let path = bench.path()?;
    let global = &bench.global;
    let seal = arguments.seal || global.passphrase_file.is_some() || global.passphrase_stdin;
    let passphrase = if seal {
        Some(secrets::new_passphrase(global)?)
    } else {
        None
    };
    let passphrase = passphrase.as_ref().map(|text| text.as_str());
    let installation =
        Installation::create(&path, arguments.name.as_deref(), passphrase, desk::now())?;
    let made = Made {
        folder: path.display().to_string(),
        device: installation.device.key().to_string(),
        user: installation.device.user().to_string(),
        name: arguments.name.clone(),
        keys_sealed: seal,
    };
    bench.output.result(&made, |made| {
        let keys = if made.keys_sealed {
            "sealed by your passphrase; nobody can recover it"
        } else {
            "in a file that only you may read, not sealed"
        };
        let mut text = pairs(&[
            ("folder", made.folder.clone()),
            ("device", made.device.clone()),
            ("keys", keys.to_owned()),
        ]);
        text.push_str(
            "\n\nNext: `aeroedge flight add`, `aeroedge import foreflight`, or `aeroedge up`.",
        );
        text
    })
}

#[derive(Debug, Serialize)]
struct Examination {
    healthy: bool,
    findings: Vec<Finding>,
}

/// Looks at everything; exits with 1 if something must be done.
pub(super) async fn doctor(
    arguments: &DoctorArguments,
    bench: &Bench,
) -> Result<ExitCode, Failure> {
    let path = bench.path()?;
    let mut findings = doctor::examine_folder(&path, desk::now());
    if let Ok(folder) = DataFolder::open(&path) {
        findings.push(node(&folder).await);
        examine_inside(&folder, arguments, bench, &mut findings);
    }
    let examination = Examination {
        healthy: findings.iter().all(|finding| finding.state != State::Bad),
        findings,
    };
    bench.output.result(&examination, describe)?;
    Ok(if examination.healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What can be seen only with the keys.
fn examine_inside(
    folder: &DataFolder,
    arguments: &DoctorArguments,
    bench: &Bench,
    findings: &mut Vec<Finding>,
) {
    let global = &bench.global;
    let given = global.passphrase_file.is_some() || global.passphrase_stdin;
    let sealed = needs_passphrase(folder).unwrap_or(false);
    if sealed && !given {
        findings.push(Finding::note(
            "content",
            "what is inside was not looked at, because the keys are sealed",
            "give --passphrase-file or --passphrase-stdin to look there too",
        ));
        return;
    }
    let passphrase = if sealed {
        match secrets::passphrase(global) {
            Ok(passphrase) => Some(passphrase),
            Err(failure) => {
                findings.push(Finding::bad("content", failure.sentence(), ""));
                return;
            }
        }
    } else {
        None
    };
    let passphrase = passphrase.as_ref().map(|text| text.as_str());
    let mut installation = match Installation::open(folder.clone(), passphrase, desk::now()) {
        Ok(installation) => installation,
        Err(error) => {
            findings.push(Finding::from_error("content", &error));
            return;
        }
    };
    if arguments.repair_clock {
        let repaired = clock::repair(&mut installation.device, desk::now());
        findings.push(repaired.unwrap_or_else(|error| Finding::from_error("clock repair", &error)));
    }
    match clock::examine(&installation.device, desk::now()) {
        Err(error) => findings.push(Finding::from_error("clock", &error)),
        Ok(more) => findings.extend(more),
    }
    match standing::counts(&mut installation.device) {
        Err(error) => findings.push(Finding::from_error("content", &error)),
        Ok(standings) => findings.extend(standings.iter().flat_map(doctor::examine_standing)),
    }
}

/// Whether a node runs on this folder, and whether it is well.
async fn node(folder: &DataFolder) -> Finding {
    let Some(file) = NodeFile::read(folder) else {
        return Finding::good("node", "no node runs; `aeroedge up` starts one");
    };
    if Client::find(folder).await.is_some() {
        return Finding::good(
            "node",
            format!("a node runs as process {} at port {}", file.pid, file.port),
        );
    }
    match tokio::net::TcpListener::bind(("127.0.0.1", file.port)).await {
        Ok(_) => Finding::note(
            "node",
            format!("a node ended without a goodbye (process {})", file.pid),
            "nothing is lost; `aeroedge up` starts a new one",
        ),
        Err(_) => Finding::bad(
            "node",
            format!(
                "port {} is in use, and what answers there is not this installation's node",
                file.port
            ),
            "`aeroedge up` takes another port by itself; if the other program is stuck, end it",
        ),
    }
}

fn describe(examination: &Examination) -> String {
    let mut lines = Vec::new();
    for finding in &examination.findings {
        let mark = match finding.state {
            State::Good => "ok  ",
            State::Note => "note",
            State::Bad => "BAD ",
        };
        lines.push(format!("{mark} {:<14} {}", finding.check, finding.message));
        if !finding.advice.is_empty() {
            lines.push(format!("{:20}{}", "", finding.advice));
        }
    }
    lines.join("\n")
}

//! Three devices of one club, as three processes on this computer, that know no address of each other.
//!
//! Everything goes through the same commands and the same HTTP interface that people use. Each claim is checked, and one
//! that does not hold makes the whole demonstration fail.

mod latency;
mod machine;
mod story;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aeroedge_app::explain::Kind;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::Instant;

use crate::arguments::DemoArguments;
use crate::failure::{Doing, Failure};
use crate::output::Output;
use machine::Machine;

/// What was shown, for programs.
#[derive(Debug, Default, Serialize)]
struct Shown {
    holds: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
struct Step {
    claim: String,
    holds: bool,
    milliseconds: u64,
    remarks: Vec<String>,
}

/// Tells the story and keeps account of what held.
#[derive(Debug)]
struct Teller {
    output: Output,
    shown: Shown,
    began: Instant,
}

impl Teller {
    /// Starts the clock of the next step.
    fn begin(&mut self, what: &str) {
        self.began = Instant::now();
        self.output.remark(&format!("... {what}"));
    }

    /// Ends the step: what is claimed, whether it held, and details.
    fn end(&mut self, claim: impl Into<String>, holds: bool, remarks: Vec<String>) {
        let elapsed = self.began.elapsed();
        let step = Step {
            claim: claim.into(),
            holds,
            milliseconds: elapsed.as_millis() as u64,
            remarks,
        };
        if !self.output.is_json() {
            let mut text = format!(
                "{} {:<66} {:>8}",
                if holds { "ok  " } else { "FAIL" },
                step.claim,
                seconds(elapsed)
            );
            for remark in &step.remarks {
                let _ = write!(text, "\n       {remark}");
            }
            // A closed pipe must not keep the devices from being stopped.
            let _ = crate::output::print(&text);
        }
        self.shown.steps.push(step);
    }

    fn all_held(&self) -> bool {
        self.shown.steps.iter().all(|step| step.holds)
    }
}

/// Runs the demonstration.
pub(crate) async fn run(arguments: &DemoArguments, output: Output) -> Result<(), Failure> {
    let place = temporary_folder()?;
    let mut teller = Teller {
        output,
        shown: Shown::default(),
        began: Instant::now(),
    };
    output.remark(&format!(
        "Three devices, one club, no server. Their folders stand in {}",
        place.display()
    ));
    let mut machines = [
        Machine::new("Ava", &place)?,
        Machine::new("Ben", &place)?,
        Machine::new("Cleo", &place)?,
    ];
    let told = tokio::select! {
        told = story::tell(&mut machines, arguments, &place, &mut teller) => told,
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Kind::Failure, "the demonstration was interrupted", "")),
    };
    let told = match told {
        Ok(page) => finish(page, arguments, &mut teller).await,
        Err(failure) => Err(failure),
    };
    for machine in &mut machines {
        machine.stop().await;
    }
    if arguments.keep {
        output.remark(&format!("The folders stay in {}", place.display()));
    } else if let Err(error) = fs::remove_dir_all(&place) {
        output.remark(&format!("could not remove {}: {error}", place.display()));
    }
    told
}

/// Sums up, and keeps the page open for looking.
async fn finish(
    page: String,
    arguments: &DemoArguments,
    teller: &mut Teller,
) -> Result<(), Failure> {
    teller.shown.holds = teller.all_held();
    let output = teller.output;
    if output.is_json() {
        output.result(&teller.shown, |_| String::new())?;
    }
    if !arguments.exit {
        output.remark(&format!(
            "\nThe logbook of the club: {page}\nPress Enter or Ctrl-C to end."
        ));
        let mut line = String::new();
        let mut input = BufReader::new(tokio::io::stdin());
        tokio::select! {
            _ = input.read_line(&mut line) => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }
    if teller.shown.holds {
        return Ok(());
    }
    let broken: Vec<&str> = teller
        .shown
        .steps
        .iter()
        .filter(|step| !step.holds)
        .map(|step| step.claim.as_str())
        .collect();
    Err(Failure::new(
        Kind::Failure,
        format!("the demonstration does not hold: {}", broken.join(", ")),
        "",
    ))
}

/// A new folder that only this person may look into.
fn temporary_folder() -> Result<PathBuf, Failure> {
    let unique = format!(
        "aeroedge-demo-{}-{:08x}",
        std::process::id(),
        rand::random::<u32>()
    );
    let place = std::env::temp_dir().join(unique);
    let make = |place: &Path| {
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(place)
    };
    make(&place).doing(|| format!("make {}", place.display()))?;
    Ok(place)
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

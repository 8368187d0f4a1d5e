//! World after world for so many minutes or seeds, and a report: `cargo run --release -p aeroedge-simulator --example soak -- --minutes 10`.
#![expect(clippy::print_stdout, reason = "the report is the purpose")]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "it runs for a real time"
)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aeroedge_simulator::{Figures, Outcome, lessen, run};

/// Pause between two lines about the progress.
const TELL_EVERY: Duration = Duration::from_secs(15);

#[derive(Default)]
struct Report {
    seeds: u64,
    events: u64,
    nodes: u64,
    writes: u64,
    time_ms: u64,
    faults: BTreeMap<&'static str, u64>,
    /// In how many worlds of a scenario a fault occurred.
    covered: BTreeMap<(&'static str, &'static str), u64>,
    scenarios: BTreeMap<&'static str, u64>,
    failures: Vec<(u64, String)>,
}

impl Report {
    fn add(&mut self, outcome: &Outcome) {
        let figures: &Figures = &outcome.figures;
        self.seeds += 1;
        self.events += figures.events;
        self.nodes += figures.nodes;
        self.writes += figures.writes;
        self.time_ms += figures.time_ms;
        for scenario in &outcome.scenarios {
            *self.scenarios.entry(scenario).or_default() += 1;
        }
        for (fault, count) in figures.faults() {
            *self.faults.entry(fault).or_default() += count;
            for scenario in &outcome.scenarios {
                *self.covered.entry((scenario, fault)).or_default() += u64::from(count > 0);
            }
        }
        if let Some(broken) = &outcome.broken {
            self.failures.push((outcome.seed, broken.to_string()));
        }
    }

    fn print(&self, took: Duration) {
        println!(
            "\n{} seeds, {} events, {} devices, {} transactions, {} simulated hours, {} failures, {} s",
            self.seeds,
            self.events,
            self.nodes,
            self.writes,
            self.time_ms / 3_600_000,
            self.failures.len(),
            took.as_secs()
        );
        println!("\nfaults injected");
        for (fault, count) in &self.faults {
            println!("  {fault:20} {count:>10}");
        }
        println!("\nworlds of a kind in which a fault occurred");
        print!("  {:20}", "");
        for (scenario, count) in &self.scenarios {
            print!(" {scenario:>18} ({count})");
        }
        println!();
        for fault in self.faults.keys() {
            print!("  {fault:20}");
            for (scenario, count) in &self.scenarios {
                let covered = self.covered.get(&(*scenario, *fault)).unwrap_or(&0);
                let width = format!("{scenario:>18} ({count})").len();
                print!(" {covered:>width$}");
            }
            println!();
        }
    }
}

/// What the command line asks for.
struct Wish {
    minutes: Option<u64>,
    seeds: Option<u64>,
    first: u64,
}

fn read_arguments() -> Result<Wish, String> {
    let mut wish = Wish {
        minutes: None,
        seeds: None,
        first: 0,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse().ok());
        let value: u64 = value.ok_or_else(|| format!("{name} needs a number"))?;
        match name.as_str() {
            "--minutes" => wish.minutes = Some(value),
            "--seeds" => wish.seeds = Some(value),
            "--first" => wish.first = value,
            _ => {
                return Err(format!(
                    "there is no {name}: use --minutes, --seeds, --first"
                ));
            }
        }
    }
    if wish.minutes.is_none() && wish.seeds.is_none() {
        return Err("say how long: --minutes 10, or --seeds 1000".into());
    }
    Ok(wish)
}

fn main() -> ExitCode {
    let wish = match read_arguments() {
        Ok(wish) => wish,
        Err(message) => {
            println!("soak: {message}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let limit = wish
        .minutes
        .map(|minutes| Duration::from_secs(minutes * 60));
    let next = AtomicU64::new(wish.first);
    let report = Mutex::new(Report::default());
    let told = Mutex::new(Instant::now());
    let work = || {
        while limit.is_none_or(|limit| began.elapsed() < limit) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if wish.seeds.is_some_and(|seeds| seed >= wish.first + seeds) {
                break;
            }
            let outcome = run(seed, None, false);
            let Ok(mut report) = report.lock() else { break };
            if let Some(broken) = &outcome.broken {
                println!("seed {seed}: {broken}");
            }
            report.add(&outcome);
            let Ok(mut told) = told.lock() else { break };
            if told.elapsed() > TELL_EVERY {
                *told = Instant::now();
                println!(
                    "{:>6} s  {} seeds, {} events, {} failures",
                    began.elapsed().as_secs(),
                    report.seeds,
                    report.events,
                    report.failures.len()
                );
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let Ok(report) = report.into_inner() else {
        return ExitCode::FAILURE;
    };
    report.print(began.elapsed());
    // The first few are enough to begin with.
    for (seed, broken) in report.failures.iter().take(3) {
        println!("\nseed {seed}: {broken}");
        if let Some((lessened, still)) = lessen(*seed, None) {
            println!(
                "smallest: AEROEDGE_SIM_SEED={seed} {lessened}cargo test -p aeroedge-simulator replay -- --nocapture\n  {still}"
            );
        }
    }
    ExitCode::from(u8::from(!report.failures.is_empty()))
}

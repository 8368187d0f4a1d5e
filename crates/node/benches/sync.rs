//! What flows from one device to another: two processes, real files, the encrypted LAN transport over the loopback.
//!
//! `cargo bench -p aeroedge-node --bench sync -- [rows] [seconds] [name]`: the largest context, how long steady loads
//! last, and the start of a name (`catch-up`, `steady`, `latency`) to run those only. "Durable on both" ends a
//! measurement: the receiver has synced its file and the sender has been told. Both ends then compare digests.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops where it fails, and prints"
)]

#[path = "../../device/benches/support/rows.rs"]
mod rows;
#[path = "sync/side.rs"]
mod side;

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rows::{insert, open};
use side::Load;

/// The other process of a measurement, and what it prints.
struct Side {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Side {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The rest of the next line that starts with a word.
    fn line(&mut self, word: &str) -> String {
        loop {
            let line = self.lines.next().unwrap().unwrap();
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
    }

    fn figure(&mut self, word: &str) -> f64 {
        self.line(word).parse().unwrap()
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

struct Outcome {
    /// Seconds until everything was durable on both.
    seconds: f64,
    /// Of those, after the last write was begun.
    behind: f64,
    transactions: f64,
    /// From the spoken secret to membership, seconds.
    joined: f64,
    /// From the spoken secret to everything, seconds.
    whole: f64,
    /// Sender, receiver.
    peak_mib: [f64; 2],
    processor: [f64; 2],
    /// Commit to visible, milliseconds, ascending.
    latencies: Vec<f64>,
}

fn measure(load: Load) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut sender = Side::start(&["sender", &folder("sender"), &load.to_text()]);
    let invitation = sender.line("invite");
    let mut arguments = vec!["receiver"];
    let path = folder("receiver");
    arguments.push(&path);
    arguments.extend(invitation.split(' '));
    let mut receiver = Side::start(&arguments);
    let met = sender.figure("met");
    let (from, to) = (sender.figure("from"), sender.figure("to"));
    let (written, transactions) = (sender.figure("written"), sender.figure("transactions"));
    let peak_from = sender.figure("peak");
    let processor_from = sender.figure("processor");
    writeln!(receiver.child.stdin.as_ref().unwrap(), "report").unwrap();
    let (started, joined) = (receiver.figure("started"), receiver.figure("joined"));
    let first = receiver.figure("first");
    let peak_to = receiver.figure("peak");
    let processor_to = receiver.figure("processor");
    assert_eq!(sender.line("digest"), receiver.line("digest"));
    let begun = if matches!(load, Load::CatchUp { .. }) {
        // A new member is met again on a link of its own; should entries have come before, all of it counts.
        if met <= first { met } else { joined }
    } else {
        from
    };
    let outcome = Outcome {
        seconds: to - begun,
        behind: to - written,
        transactions,
        joined: joined - started,
        whole: to - started,
        peak_mib: [peak_from / 1024.0, peak_to / 1024.0],
        processor: [processor_from, processor_to],
        latencies: latencies(&sender.line("committed"), &receiver.line("seen")),
    };
    sender.end();
    receiver.end();
    outcome
}

/// Milliseconds from each commit to when the peer could read it.
fn latencies(committed: &str, seen: &str) -> Vec<f64> {
    let times = |text: &str| -> std::collections::BTreeMap<String, f64> {
        text.split_terminator(' ')
            .filter_map(|pair| pair.split_once('='))
            .map(|(id, at)| (id.to_owned(), at.parse().unwrap()))
            .collect()
    };
    let seen = times(seen);
    let mut latencies: Vec<f64> = times(committed)
        .iter()
        .map(|(id, at)| (seen[id] - at) * 1e3)
        .collect();
    latencies.sort_by(f64::total_cmp);
    latencies
}

/// Rows a second that plain SQLite writes in transactions of `each`, made durable every four milliseconds by an fsync.
fn plain(rows: usize, each: usize) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let connection = open(folder.path(), "plain");
    let mut source = rows::rows().take(rows).peekable();
    let began = Instant::now();
    let mut synced = Instant::now();
    while source.peek().is_some() {
        let last = synced.elapsed() >= Duration::from_millis(4);
        if last {
            connection
                .execute_batch("PRAGMA synchronous = FULL")
                .unwrap();
        }
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        for row in source.by_ref().take(each) {
            insert(&connection, &row).unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
        if last {
            connection
                .execute_batch("PRAGMA synchronous = NORMAL")
                .unwrap();
            synced = Instant::now();
        }
    }
    connection
        .query_row("PRAGMA wal_checkpoint", [], |_| Ok(()))
        .unwrap();
    rows as f64 / began.elapsed().as_secs_f64()
}

fn catch_up(largest: usize) {
    println!(
        "\n| a fresh device takes in | rows/s, durable on both | plain SQLite, rows/s | joined after, s | has everything after, s | peak of sender, MiB | peak of receiver, MiB | processor of sender, s | of receiver, s |\n|---|---|---|---|---|---|---|---|---|"
    );
    let mut contexts = vec![
        (10_000, 1),
        (100_000, 100),
        (100_000, 1000),
        (100_000, 100_000),
    ];
    contexts.extend([(1_000_000, 1000), (1_000_000, 1_000_000)]);
    contexts.retain(|(rows, _)| *rows <= largest);
    for (rows, each) in contexts {
        let outcome = measure(Load::CatchUp { rows, each });
        println!(
            "| {rows} rows in transactions of {each} | {:.0} | {:.0} | {:.2} | {:.2} | {:.0} | {:.0} | {:.2} | {:.2} |",
            rows as f64 / outcome.seconds,
            plain(rows, each),
            outcome.joined,
            outcome.whole,
            outcome.peak_mib[0],
            outcome.peak_mib[1],
            outcome.processor[0],
            outcome.processor[1],
        );
    }
}

fn steady(seconds: usize) {
    println!(
        "\n| steady for {seconds} s | transactions/s | rows/s, durable on both | durable after the last write, ms | plain SQLite, rows/s | peak of sender, MiB | peak of receiver, MiB | processor of sender, s | of receiver, s |\n|---|---|---|---|---|---|---|---|---|"
    );
    for (rate, each, name) in [
        (12_000, 1, "12,000 single rows/s"),
        (0, 1, "single rows, as many as go"),
        (1_000, 100, "1,000 transactions/s of 100 rows"),
        (0, 100, "100 rows each, as many as go"),
    ] {
        let outcome = measure(Load::Steady {
            rate,
            each,
            seconds,
        });
        let rows = outcome.transactions * each as f64;
        println!(
            "| {name} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} |",
            outcome.transactions / outcome.seconds,
            rows / outcome.seconds,
            outcome.behind * 1e3,
            plain(rows as usize, each),
            outcome.peak_mib[0],
            outcome.peak_mib[1],
            outcome.processor[0],
            outcome.processor[1],
        );
    }
}

fn latency(seconds: usize) {
    let rate = 200;
    let outcome = measure(Load::Latency { rate, seconds });
    let at = |part: f64| {
        let place = (outcome.latencies.len() - 1) as f64 * part;
        outcome.latencies[place.round() as usize]
    };
    println!(
        "\n| commit to visible at {rate} writes/s | ms |\n|---|---|\n| p50 | {:.2} |\n| p90 | {:.2} |\n| p99 | {:.2} |\n| most | {:.2} |",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["sender", folder, load] => return side::send(Path::new(folder), Load::parse(load)),
        ["receiver", folder, link, secret] => {
            return side::receive(Path::new(folder), link, secret);
        }
        _ => {}
    }
    let mut numbers = words.iter().filter_map(|word| word.parse::<usize>().ok());
    let largest = numbers.next().unwrap_or(1_000_000);
    let seconds = numbers.next().unwrap_or(10).max(1);
    let chosen = ["catch-up", "steady", "latency"]
        .into_iter()
        .find(|name| words.contains(name));
    let wanted = |name: &str| chosen.is_none_or(|chosen| chosen == name);
    let busy = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of the machine before: {}", busy.trim());
    if wanted("catch-up") {
        catch_up(largest);
    }
    if wanted("steady") {
        steady(seconds);
    }
    if wanted("latency") {
        latency(seconds);
    }
    let busy = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("\nload of the machine after: {}", busy.trim());
}

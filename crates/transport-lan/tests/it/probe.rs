//! A driver in a process of its own, on a host of a lab.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use aeroedge_lan_lab::Lab;

/// The process, and the lines it prints with the time they came.
pub(crate) struct Probe {
    child: Child,
    lines: Receiver<(Instant, String)>,
}

impl Probe {
    /// Starts a driver on `host` with the arguments of the example `lan-probe`.
    pub(crate) fn start(lab: &Lab, host: usize, arguments: &[&str]) -> Self {
        let mut child = lab
            .command(host, example("lan-probe"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start lan-probe");
        let output = child.stdout.take().expect("its output is a pipe");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line that starts with one of `words`, and when it came.
    pub(crate) fn next(&self, words: &[&str], within: Duration) -> Option<(Instant, String)> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok((time, line)) if words.iter().any(|word| line.starts_with(word)) => {
                    return Some((time, line));
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => panic!("lan-probe ended"),
            }
        }
    }

    /// Waits for an answer over a link, and tells when it came.
    pub(crate) fn answer(&self, within: Duration) -> Instant {
        match self.next(&["answer"], within) {
            Some((time, _)) => time,
            None => panic!("no answer within {within:?}"),
        }
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", name, &process])
            .status()
            .expect("kill can be started");
        assert!(sent.success());
    }

    /// Forgets what was printed so far.
    pub(crate) fn forget(&self) {
        while self.lines.try_recv().is_ok() {}
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An example of this package: cargo builds them beside the tests that are run with them.
pub(crate) fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("path of the test program");
    let folder = tests
        .parent()
        .and_then(Path::parent)
        .expect("the test program is two folders deep");
    let program = folder.join("examples").join(name);
    assert!(
        program.exists(),
        "{} is missing: build it with `cargo build --package aeroedge-transport-lan --examples`",
        program.display()
    );
    program
}

//! Runs the program and reads what it says.

#![expect(clippy::unwrap_used, reason = "a test may end here")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A place for data folders that is gone afterwards.
pub(crate) struct Place(TempDir);

/// How a command ended and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) answer: Value,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The answer of a command that succeeded.
    #[track_caller]
    pub(crate) fn done(self) -> Value {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.answer
    }

    /// The message of a command that failed with this code, together with its advice.
    #[track_caller]
    pub(crate) fn refused(self, code: i32) -> String {
        assert_eq!(self.code, code, "{} {}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "");
        let error: Value = serde_json::from_str(&self.stderr).unwrap();
        let text = |name: &str| error["error"][name].as_str().unwrap().to_owned();
        assert!(!text("code").is_empty());
        format!("{}; {}", text("message"), text("advice"))
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// An installation of this name.
    pub(crate) fn installation(&self, name: &str) -> Installation {
        let installation = self.nothing(name);
        installation.run(&["init", "--name", name]).done();
        installation
    }

    /// A data folder that is not there yet.
    pub(crate) fn nothing(&self, name: &str) -> Installation {
        Installation {
            path: self.path(name),
        }
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// A data folder and the program that works on it.
pub(crate) struct Installation {
    pub(crate) path: PathBuf,
}

impl Installation {
    /// Runs a command with `--json` and nothing on standard input.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    /// Runs a command with `--json` and this on standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = program(&self.path)
            .arg("--json")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let ended = child.wait_with_output().unwrap();
        let stdout = String::from_utf8(ended.stdout).unwrap();
        Ran {
            code: ended.status.code().unwrap(),
            answer: serde_json::from_str(&stdout).unwrap_or_default(),
            stdout,
            stderr: String::from_utf8(ended.stderr).unwrap(),
        }
    }

    /// Runs a command that prints for people.
    #[track_caller]
    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        let ended = program(&self.path)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(ended.status.success(), "{ended:?}");
        String::from_utf8(ended.stdout).unwrap()
    }

    /// Starts a node and waits until it answers.
    pub(crate) fn up(&self) -> Up {
        let mut child = program(&self.path)
            .args([
                "up",
                "--api-port",
                "0",
                "--lan-port",
                "0",
                "--until-input-ends",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        loop {
            let running = self.run(&["sync", "status"]).done()["running"] == true;
            if running {
                return Up(child);
            }
            assert_eq!(child.try_wait().unwrap(), None, "the node ended");
            assert!(began.elapsed() < Duration::from_secs(20), "no node");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn flight(&self, more: &[&str]) -> String {
        let mut arguments = vec![
            "flight",
            "add",
            "--date",
            "2026-05-14",
            "--tail",
            "n738vu",
            "--from",
            "kpao",
            "--total",
            "1:24",
        ];
        arguments.extend(more);
        let id = self.run(&arguments).done()["id"].clone();
        id.as_str().unwrap().to_owned()
    }

    pub(crate) fn count(&self) -> u64 {
        self.run(&["flight", "list"]).done()["count"]
            .as_u64()
            .unwrap()
    }
}

/// A running node; ends with the test at the latest.
pub(crate) struct Up(Child);

impl Up {
    /// Ends it in peace.
    pub(crate) fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aeroedge"));
    command.env_remove("AEROEDGE_DATA").arg("--data").arg(data);
    command
}

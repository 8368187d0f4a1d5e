//! One device of the demonstration: a data folder of its own and a process of this very program.
//!
//! The process holds the other end of a pipe and ends when the pipe does, so nothing outlives the demonstration.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use aeroedge_app::explain::Kind;
use aeroedge_app::folder::DataFolder;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::failure::{Doing, Failure};
use crate::running::{Client, NodeFile};

const START_PATIENCE: Duration = Duration::from_secs(30);
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A device of the demonstration.
#[derive(Debug)]
pub(super) struct Machine {
    /// Its person.
    pub(super) name: &'static str,
    path: PathBuf,
    program: PathBuf,
    node: Option<Child>,
    client: Option<Client>,
}

/// How a command of it ended.
#[derive(Debug)]
pub(super) struct Ran {
    code: Option<i32>,
    answer: Value,
    complaint: Value,
}

impl Ran {
    /// The exit code, if the command ended by itself.
    pub(super) const fn code(&self) -> Option<i32> {
        self.code
    }

    /// The message of the error it reported.
    pub(super) fn message(&self) -> &str {
        self.complaint["error"]["message"]
            .as_str()
            .unwrap_or_default()
    }
}

impl Machine {
    /// A device whose data will stand in `place`, which no other may use.
    pub(super) fn new(name: &'static str, place: &Path) -> Result<Self, Failure> {
        let program = std::env::current_exe().doing(|| "find the program's own file".into())?;
        Ok(Self {
            name,
            path: place.join(name.to_lowercase()),
            program,
            node: None,
            client: None,
        })
    }

    /// Where its data stands.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs a command on its data folder, beside its node, and hands `input` to it.
    pub(super) async fn run(&self, arguments: &[&str], input: &str) -> Result<Ran, Failure> {
        let doing = || format!("run `aeroedge {}`", arguments.join(" "));
        let mut child = Command::new(&self.program)
            .arg("--data")
            .arg(&self.path)
            .arg("--json")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .doing(doing)?;
        if let Some(mut pipe) = child.stdin.take() {
            // A command that needs no input may have ended already.
            let _ = pipe.write_all(input.as_bytes()).await;
        }
        let ended = child.wait_with_output().await.doing(doing)?;
        Ok(Ran {
            code: ended.status.code(),
            answer: serde_json::from_slice(&ended.stdout).unwrap_or_default(),
            complaint: serde_json::from_slice(&ended.stderr).unwrap_or_default(),
        })
    }

    /// Runs a command that must succeed and reads its answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        arguments: &[&str],
        input: &str,
    ) -> Result<T, Failure> {
        let ran = self.run(arguments, input).await?;
        if ran.code() != Some(0) {
            return Err(Failure::new(
                Kind::Failure,
                format!(
                    "`aeroedge {}` of {} failed: {}",
                    arguments.join(" "),
                    self.name,
                    ran.message()
                ),
                "",
            ));
        }
        serde_json::from_value(ran.answer)
            .doing(|| format!("understand `aeroedge {}`", arguments.join(" ")))
    }

    /// Starts its node and waits until it answers. Tells how long that took.
    pub(super) async fn start(&mut self) -> Result<Duration, Failure> {
        let began = Instant::now();
        let log_path = self.log_path();
        let log = File::options()
            .create(true)
            .append(true)
            .open(&log_path)
            .doing(|| format!("write {}", log_path.display()))?;
        let also = log.try_clone().doing(|| "write the log".into())?;
        let mut child = Command::new(&self.program)
            .arg("--data")
            .arg(&self.path)
            .args([
                "up",
                "--api-port",
                "0",
                "--lan-port",
                "0",
                "--until-input-ends",
            ])
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(also)
            .kill_on_drop(true)
            .spawn()
            .doing(|| format!("start the node of {}", self.name))?;
        let pid = child.id();
        let folder = DataFolder::open(&self.path)?;
        loop {
            if NodeFile::read(&folder).is_some_and(|node| Some(node.pid) == pid)
                && let Some(client) = Client::find(&folder).await
            {
                self.client = Some(client);
                self.node = Some(child);
                return Ok(began.elapsed());
            }
            let ended = child.try_wait().doing(|| "look after the node".into())?;
            if ended.is_some() || began.elapsed() > START_PATIENCE {
                return Err(Failure::new(
                    Kind::Failure,
                    format!(
                        "the node of {} did not start: {}",
                        self.name,
                        self.last_words()
                    ),
                    format!("see {}", log_path.display()),
                ));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The way to its running node.
    pub(super) fn client(&self) -> Result<&Client, Failure> {
        self.client.as_ref().ok_or_else(|| {
            Failure::new(
                Kind::Failure,
                format!("the node of {} does not run", self.name),
                "",
            )
        })
    }

    /// Ends its node at once, without a chance to tidy up: SIGKILL.
    pub(super) async fn kill(&mut self) -> Result<(), Failure> {
        self.client = None;
        if let Some(mut node) = self.node.take() {
            node.kill()
                .await
                .doing(|| format!("kill the node of {}", self.name))?;
        }
        Ok(())
    }

    /// Ends its node in peace.
    pub(super) async fn stop(&mut self) {
        self.client = None;
        if let Some(mut node) = self.node.take() {
            drop(node.stdin.take());
            if timeout(STOP_PATIENCE, node.wait()).await.is_err() {
                let _ = node.kill().await;
            }
        }
    }

    fn log_path(&self) -> PathBuf {
        self.path.with_extension("log")
    }

    fn last_words(&self) -> String {
        fs::read_to_string(self.log_path())
            .ok()
            .and_then(|text| text.lines().last().map(str::to_owned))
            .unwrap_or_else(|| "it said nothing".to_owned())
    }
}

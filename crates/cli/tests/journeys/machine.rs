//! One device: a data folder, commands on it, and a node that can be ended, killed and started again.
//!
//! A node holds one end of a pipe and ends with it, so a test that fails leaves no process behind.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use aeroedge_lan_lab::Lab;
use serde_json::Value;

use crate::http::Http;

const PROGRAM: &str = env!("CARGO_BIN_EXE_aeroedge");
const START_WITHIN: Duration = Duration::from_mins(1);
const END_WITHIN: Duration = Duration::from_secs(10);

/// A device on this computer or on a host of a lab.
#[derive(Debug)]
pub(crate) struct Machine<'lab> {
    data: PathBuf,
    place: Option<(&'lab Lab, usize)>,
    node: Option<Child>,
    port: u16,
    token: String,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// `None` if it was killed.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl<'lab> Machine<'lab> {
    /// An installation of `person` in `folder`, which does not exist yet.
    pub(crate) fn init(
        folder: &Path,
        person: &str,
        place: Option<(&'lab Lab, usize)>,
    ) -> Machine<'lab> {
        let machine = Self::bare(folder, place);
        machine.ask(&["init", "--name", person], "");
        machine
    }

    /// A device whose data folder is made or spoilt by the test.
    pub(crate) fn bare(folder: &Path, place: Option<(&'lab Lab, usize)>) -> Machine<'lab> {
        Self {
            data: folder.to_owned(),
            place,
            node: None,
            port: 0,
            token: String::new(),
        }
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// The program with `arguments` on this device's data.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match self.place {
            Some((lab, host)) => lab.command(host, PROGRAM),
            None => Command::new(PROGRAM),
        };
        command.arg("--data").arg(&self.data).args(arguments);
        command
    }

    /// Runs a command to its end and hands it `input`.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        // A command that needs no input may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command that must succeed, and reads its answer.
    #[track_caller]
    pub(crate) fn ask(&self, arguments: &[&str], input: &str) -> Value {
        let arguments = [arguments, &["--json"]].concat();
        let ran = self.run(&arguments, input);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
        serde_json::from_str(&ran.stdout).expect("one JSON document")
    }

    /// Starts the node and waits until it answers; tells how long that took.
    pub(crate) fn up(&mut self, arguments: &[&str]) -> Duration {
        let began = Instant::now();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.data.with_extension("log"))
            .unwrap();
        let child = self
            .command(&["up", "--until-input-ends"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program can be started");
        let pid = child.id();
        self.node = Some(child);
        while !self.answers(pid) {
            let node = self.node.as_mut().unwrap();
            assert_eq!(node.try_wait().unwrap(), None, "{}", self.last_words());
            assert!(began.elapsed() < START_WITHIN, "{}", self.last_words());
            sleep(Duration::from_millis(5));
        }
        began.elapsed()
    }

    fn answers(&mut self, pid: u32) -> bool {
        let Some(word) = fs::read(self.data.join("node.json"))
            .ok()
            .and_then(|text| serde_json::from_slice::<Value>(&text).ok())
            .filter(|word| word["pid"] == pid)
        else {
            return false;
        };
        self.port = word["port"].as_u64().unwrap() as u16;
        let token = fs::read_to_string(self.data.join("api.token")).unwrap();
        token.trim().clone_into(&mut self.token);
        self.connect()
            .and_then(|mut http| http.get("/v1/version").ok())
            .is_some_and(|answer| answer.is_success())
    }

    /// What a running node says of itself.
    pub(crate) fn node_file(&self) -> Value {
        serde_json::from_slice(&fs::read(self.data.join("node.json")).unwrap()).unwrap()
    }

    /// A connection to the node, if it listens.
    pub(crate) fn connect(&self) -> Option<Http> {
        let connect = || TcpStream::connect(("127.0.0.1", self.port)).ok();
        let stream = match self.place {
            Some((lab, host)) => lab.at(host, connect).unwrap(),
            None => connect(),
        };
        Some(Http::new(stream?, &self.token))
    }

    /// A connection to the node, which runs.
    pub(crate) fn http(&self) -> Http {
        self.connect().expect("the node listens")
    }

    /// Ends the node at once: SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut node) = self.node.take() {
            node.kill().unwrap();
            node.wait().unwrap();
        }
    }

    /// Ends the node in peace.
    pub(crate) fn down(&mut self) {
        let Some(mut node) = self.node.take() else {
            return;
        };
        drop(node.stdin.take());
        let began = Instant::now();
        while node.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < END_WITHIN, "the node does not end");
            sleep(Duration::from_millis(10));
        }
    }

    /// The digest of what this device holds of a context, if it is in it.
    pub(crate) fn digest(&self, context: &str) -> Option<String> {
        let report = self.standing(context)?;
        Some(report["digest"].as_str()?.to_owned())
    }

    /// How this device stands in a context.
    pub(crate) fn standing(&self, context: &str) -> Option<Value> {
        let status = self.ask(&["sync", "status"], "");
        let contexts = status["contexts"].as_array().unwrap();
        contexts
            .iter()
            .find(|known| known["id"] == context)
            .cloned()
    }

    /// How many flights of a context stand in the tables.
    pub(crate) fn flights(&self, context: &str) -> u64 {
        let totals = self.ask(&["flight", "totals", "--context", context], "");
        totals["flights"].as_u64().unwrap()
    }

    fn last_words(&self) -> String {
        fs::read_to_string(self.data.with_extension("log")).unwrap_or_default()
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A link, and the secret that belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct Invite {
    pub(crate) link: String,
    pub(crate) secret: String,
}

/// Founds a club, and makes an invitation for many.
pub(crate) fn found(founder: &Machine<'_>, name: &str) -> (String, Invite) {
    let created = founder.ask(&["context", "create", name, "--kind", "club"], "");
    let context = created["id"].as_str().unwrap().to_owned();
    let invite = invite(founder, &context);
    (context, invite)
}

/// Makes an invitation for many.
pub(crate) fn invite(member: &Machine<'_>, context: &str) -> Invite {
    let made = member.ask(&["context", "invite", context, "--uses", "1000"], "");
    Invite {
        link: made["link"].as_str().unwrap().to_owned(),
        secret: made["secret"].as_str().unwrap().to_owned(),
    }
}

/// Joins; some device of the group must run.
#[track_caller]
pub(crate) fn join(joiner: &Machine<'_>, invite: &Invite) {
    let joined = joiner.ask(
        &[
            "context",
            "join",
            &invite.link,
            "--secret-stdin",
            "--timeout",
            "60s",
        ],
        &format!("{}\n", invite.secret),
    );
    assert_eq!(joined["state"], "joined", "{joined}");
}

/// Waits until something holds; tells how long that took.
#[track_caller]
pub(crate) fn eventually(
    what: &str,
    patience: Duration,
    mut holds: impl FnMut() -> bool,
) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(
            began.elapsed() < patience,
            "not within {patience:?}: {what}"
        );
        sleep(Duration::from_millis(10));
    }
    began.elapsed()
}

/// Logs a flight through a running node; gives its id once the node has acknowledged it.
pub(crate) fn log_flight(
    http: &mut Http,
    context: &str,
    remarks: &str,
) -> Result<String, crate::http::HungUp> {
    let answer = http.post("/v1/flights", &flight(context, remarks))?;
    assert_eq!(answer.status, 201, "{}", answer.body);
    Ok(answer.body["id"].as_str().unwrap().to_owned())
}

/// A short flight of a context.
pub(crate) fn flight(context: &str, remarks: &str) -> Value {
    serde_json::json!({
        "contexts": [context],
        "entry": {
            "date": "2026-05-14", "tail": "N738VU", "departure": "KPAO", "destination": "KSQL",
            "total": 5040, "pic": 5040, "landings": 1, "remarks": remarks,
        },
    })
}

/// Whether a running node shows a flight.
pub(crate) fn shows(http: &mut Http, id: &str) -> bool {
    let answer = http.get(&format!("/v1/flights/{id}")).unwrap();
    match answer.status {
        200 => true,
        404 => false,
        other => panic!("{other}: {}", answer.body),
    }
}

//! The node that runs on a data folder, if one does: how it is found and spoken to.
//!
//! Nothing depends on it being there. A command writes to the database itself and only tells the node afterwards.
//!
//! What a node leaves behind when it is killed names a port that anybody may listen on since. So nobody is shown the token
//! who has not proved to know it, and nobody is asked while the lock of a node is free.

use std::fs::{self, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aeroedge_api::{PROOF_PATH, Token};
use aeroedge_app::explain::Kind;
use aeroedge_app::folder::DataFolder;
use futures::StreamExt;
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::{Doing, Failure};

/// A node on the same computer answers at once or never.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a command may hold the lock that it finds free.
const LOOKING: Duration = Duration::from_millis(500);

/// What a running node leaves in its data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeFile {
    /// The process.
    pub(crate) pid: u32,
    /// Where it answers on loopback.
    pub(crate) port: u16,
    /// Where other devices reach it.
    pub(crate) lan_port: Option<u16>,
    /// Version of the program.
    pub(crate) version: String,
}

impl NodeFile {
    /// What the last node on this folder left; `None` if it ended in peace.
    pub(crate) fn read(folder: &DataFolder) -> Option<Self> {
        let text = fs::read(folder.node_file()).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Leaves word that this process runs a node.
    pub(crate) fn write(&self, folder: &DataFolder) -> Result<(), Failure> {
        let path = folder.node_file();
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        write_replacing(&path, &text).doing(|| format!("write {}", path.display()))
    }

    /// Takes the word back, unless another node has taken over since.
    pub(crate) fn remove(&self, folder: &DataFolder) {
        if Self::read(folder).as_ref() == Some(self) {
            // A stale file is noticed and overwritten by whoever comes next.
            let _ = fs::remove_file(folder.node_file());
        }
    }
}

/// Held by a node as long as its process lives, however that ends.
#[derive(Debug)]
pub(crate) struct NodeLock {
    _file: fs::File,
}

impl NodeLock {
    /// Takes the lock; `None` if another node has it. A system that has no locks gives it to everybody.
    pub(crate) fn take(folder: &DataFolder) -> Result<Option<Self>, Failure> {
        let path = Self::path(folder);
        let file = fs::File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .doing(|| format!("write {}", path.display()))?;
        let began = Instant::now();
        while let Err(TryLockError::WouldBlock) = file.try_lock() {
            // A command that just looks whether a node runs lets go at once.
            if began.elapsed() > LOOKING {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Some(Self { _file: file }))
    }

    /// Whether nobody has it, for certain.
    fn is_free(folder: &DataFolder) -> bool {
        fs::File::open(Self::path(folder)).is_ok_and(|file| file.try_lock_shared().is_ok())
    }

    fn path(folder: &DataFolder) -> PathBuf {
        folder.node_file().with_extension("lock")
    }
}

/// A reader sees the old text or the new one, never half.
fn write_replacing(path: &Path, text: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&beside, text)?;
    fs::rename(&beside, path)
}

/// A connection to a running node.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Client {
    /// The node that runs on this folder; `None` if none answers.
    pub(crate) async fn find(folder: &DataFolder) -> Option<Self> {
        let node = NodeFile::read(folder)?;
        if NodeLock::is_free(folder) {
            return None;
        }
        let token = Token::load(&folder.token_file()).ok()?;
        let client = Self::new(node.port, token.reveal()).ok()?;
        client
            .is_answered_by(&token, node.port)
            .await
            .then_some(client)
    }

    /// Whether who listens there knows the token, without showing it.
    async fn is_answered_by(&self, token: &Token, port: u16) -> bool {
        let nonce = format!("{:032x}", rand::random::<u128>());
        let asked = self
            .http
            .get(format!("{}{PROOF_PATH}?nonce={nonce}", self.base))
            .timeout(PATIENCE)
            .send()
            .await;
        match asked {
            Ok(answer) if answer.status().is_success() => answer
                .text()
                .await
                .is_ok_and(|proof| token.is_proved_by(proof.trim(), port, &nonce)),
            _ => false,
        }
    }

    /// A node on this computer.
    pub(crate) fn new(port: u16, token: &str) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(PATIENCE)
            .build()
            .doing(|| "prepare to speak to the running node".into())?;
        Ok(Self {
            http,
            base: format!("http://127.0.0.1:{port}"),
            token: token.to_owned(),
        })
    }

    /// The address of the page for a browser on this computer, token included.
    pub(crate) fn page(&self) -> String {
        format!("{}/#token={}", self.base, self.token)
    }

    /// Asks for something.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = self.send(Method::GET, path, None::<&()>).await?;
        answer
            .json()
            .await
            .doing(|| format!("read the node's answer to {path}"))
    }

    /// Sends something and reads the answer.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let answer = self.send(Method::POST, path, Some(body)).await?;
        answer
            .json()
            .await
            .doing(|| format!("read the node's answer to {path}"))
    }

    /// Asks for something to be done that has no answer.
    pub(crate) async fn call(&self, method: Method, path: &str) -> Result<(), Failure> {
        self.send(method, path, None::<&()>).await.map(drop)
    }

    /// Tells the node that this process wrote to the database. It would notice by itself a moment later.
    pub(crate) async fn poke(&self) {
        let _ = self.call(Method::POST, "/v1/poke").await;
    }

    /// Calls `heard` whenever rows changed, until the node ends or the future is dropped.
    pub(crate) async fn changes(&self, mut heard: impl FnMut()) -> Result<(), Failure> {
        let answer = self
            .http
            .get(format!("{}/v1/events", self.base))
            .bearer_auth(&self.token)
            .send()
            .await
            .doing(|| "listen to the node".into())?;
        heard();
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            piece.doing(|| "listen to the node".into())?;
            // What happened does not matter here: whoever listens asks for what it waits for.
            heard();
        }
        Ok(())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<reqwest::Response, Failure> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| {
            Failure::new(
                Kind::Unreachable,
                format!("the node at {} does not answer: {error}", self.base),
                "start it again with `aeroedge up`",
            )
        })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(refused(answer).await)
    }
}

/// A problem document as a failure.
async fn refused(answer: reqwest::Response) -> Failure {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    let status = answer.status();
    let kind = match status {
        StatusCode::NOT_FOUND => Kind::NotFound,
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Kind::Invalid,
        StatusCode::FORBIDDEN | StatusCode::CONFLICT | StatusCode::UNAUTHORIZED => Kind::Refused,
        _ => Kind::Failure,
    };
    let detail = answer.json::<Problem>().await.map_or_else(
        |_| format!("the node answered {status}"),
        |problem| problem.detail,
    );
    Failure::new(kind, detail, "")
}

#[cfg(test)]
mod tests {
    use aeroedge_app::folder::Filling;

    use super::*;

    fn folder() -> (tempfile::TempDir, DataFolder) {
        let place = tempfile::tempdir().unwrap();
        let folder = DataFolder::fill(&place.path().join("data"))
            .and_then(Filling::finish)
            .unwrap();
        (place, folder)
    }

    /// Another program at the port of a node that was killed: answers everything with 200 and a guess, and writes down
    /// what it hears.
    async fn impostor(guess: String) -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heard, hearing) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut piece = vec![0; 4096];
                let length = stream.read(&mut piece).await.unwrap();
                let _ = heard.send(String::from_utf8_lossy(&piece[..length]).into_owned());
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{guess}",
                    guess.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (port, hearing)
    }

    #[tokio::test]
    async fn an_impostor_at_the_old_port_never_sees_the_token() {
        let (_place, folder) = folder();
        let token = Token::load_or_create(&folder.token_file(), &mut rand::rng()).unwrap();
        let (port, mut heard) = impostor(token.proof(1, "of another port")).await;
        let left = NodeFile {
            pid: 1,
            port,
            lan_port: None,
            version: "1".into(),
        };
        left.write(&folder).unwrap();
        // The lock of the killed node is free: nobody is even asked.
        drop(NodeLock::take(&folder).unwrap().unwrap());
        assert!(Client::find(&folder).await.is_none());
        assert!(heard.try_recv().is_err());
        // A lock is held, by a node that is just starting at another port, say.
        let _held = NodeLock::take(&folder).unwrap().unwrap();
        assert!(Client::find(&folder).await.is_none());
        let question = heard.try_recv().unwrap();
        assert!(question.starts_with("GET /proof?nonce="), "{question}");
        assert!(!question.contains(token.reveal()));
        assert!(!question.to_lowercase().contains("authorization"));
        assert!(heard.try_recv().is_err());
    }

    #[test]
    fn one_node_has_the_lock_of_a_folder() {
        let (_place, folder) = folder();
        assert!(!NodeLock::is_free(&folder), "nobody knows before the first");
        let first = NodeLock::take(&folder).unwrap().unwrap();
        assert!(!NodeLock::is_free(&folder));
        assert!(NodeLock::take(&folder).unwrap().is_none());
        drop(first);
        assert!(NodeLock::is_free(&folder));
        assert!(NodeLock::take(&folder).unwrap().is_some());
    }

    #[test]
    fn the_word_of_a_node_is_taken_back_by_that_node_only() {
        let (_place, folder) = folder();
        let first = NodeFile {
            pid: 1,
            port: 2,
            lan_port: None,
            version: "1".into(),
        };
        let second = NodeFile {
            pid: 3,
            ..first.clone()
        };
        first.write(&folder).unwrap();
        second.write(&folder).unwrap();
        first.remove(&folder);
        assert_eq!(NodeFile::read(&folder), Some(second.clone()));
        second.remove(&folder);
        assert_eq!(NodeFile::read(&folder), None);
    }
}

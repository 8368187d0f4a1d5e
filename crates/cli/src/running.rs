//! The node that runs on a data folder, if one does: how it is found and spoken to.
//!
//! Nothing depends on it being there. A command writes to the database itself and only tells the node afterwards.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use aeroedge_api::types::Identity;
use aeroedge_app::explain::Kind;
use aeroedge_app::folder::DataFolder;
use futures::StreamExt;
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::{Doing, Failure};

/// A node on the same computer answers at once or never.
const PATIENCE: Duration = Duration::from_secs(3);

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
        let token = fs::read_to_string(folder.token_file()).ok()?;
        let client = Self::new(node.port, token.trim()).ok()?;
        // Another program may have got the port since; only ours knows the token.
        client.get::<Identity>("/v1/version").await.ok()?;
        Some(client)
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

    #[test]
    fn the_word_of_a_node_is_taken_back_by_that_node_only() {
        let place = tempfile::tempdir().unwrap();
        let folder = DataFolder::fill(&place.path().join("data"))
            .and_then(Filling::finish)
            .unwrap();
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

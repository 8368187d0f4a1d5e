//! As much of HTTP as it takes to speak to a node: one connection, one request at a time.
//!
//! It works on a socket that somebody else opened, because the node may be on a host of a lab.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// What does not answer within this time never will.
const PATIENCE: Duration = Duration::from_mins(1);

/// The node hung up, as it does when it is killed.
#[derive(Debug)]
pub(crate) struct HungUp;

impl From<std::io::Error> for HungUp {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

/// A connection to a node.
#[derive(Debug)]
pub(crate) struct Http {
    stream: BufReader<TcpStream>,
    token: String,
}

/// A status and a body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Http {
    pub(crate) fn new(stream: TcpStream, token: &str) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
            token: token.to_owned(),
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> Result<Answer, HungUp> {
        self.ask("GET", path, None)
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Result<Answer, HungUp> {
        self.ask("POST", path, Some(body))
    }

    fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, HungUp> {
        self.send(method, path, body)?;
        let (status, length) = self.head()?;
        let mut bytes = vec![0; length.unwrap_or(0)];
        self.stream.read_exact(&mut bytes)?;
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Answer { status, body })
    }

    /// Turns the connection into a stream of events. [`Events::wait`] tells that there were some, never which.
    pub(crate) fn into_events(mut self) -> Result<Events, HungUp> {
        self.send("GET", "/v1/events", None)?;
        let (status, _) = self.head()?;
        assert_eq!(status, 200, "the event stream opens");
        Ok(Events {
            stream: self.stream,
        })
    }

    fn send(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<(), HungUp> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len(),
        );
        Ok(self.stream.get_mut().write_all(request.as_bytes())?)
    }

    /// Status and length of what comes.
    fn head(&mut self) -> Result<(u16, Option<usize>), HungUp> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status = status.ok_or(HungUp)?;
        let mut length = None;
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(HungUp);
            }
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                return Ok((status, length));
            }
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse().ok();
            }
        }
    }
}

/// A stream of events.
#[derive(Debug)]
pub(crate) struct Events {
    stream: BufReader<TcpStream>,
}

impl Events {
    /// Waits until something happens, and no longer than `patience`.
    pub(crate) fn wait(&mut self, patience: Duration) {
        self.stream
            .get_ref()
            .set_read_timeout(Some(patience))
            .unwrap();
        let heard = self.stream.fill_buf().map_or(0, <[u8]>::len);
        self.stream.consume(heard);
    }
}

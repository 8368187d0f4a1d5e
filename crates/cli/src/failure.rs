//! What goes wrong, as one sentence, what to do about it, and an exit code for scripts.

use std::io::{self, Write};
use std::process::ExitCode;

use aeroedge_app::explain::{Explained, Kind, with_causes};
use serde::Serialize;

/// A command could not be carried out.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
    advice: String,
}

impl<E: Explained> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            kind: error.kind(),
            message: with_causes(&error),
            advice: error.advice(),
        }
    }
}

impl Failure {
    /// A failure found by the command line itself; both texts are fragments without a full stop.
    pub(crate) fn new(kind: Kind, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            advice: advice.into(),
        }
    }

    /// What kind of trouble it is.
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// What is not there, for a sentence that begins with "there is no".
    pub(crate) fn missing(&self) -> &str {
        self.message
            .strip_prefix("there is no ")
            .unwrap_or(&self.message)
    }

    /// Message and advice as one sentence.
    pub(crate) fn sentence(&self) -> String {
        if self.advice.is_empty() {
            self.message.clone()
        } else {
            format!("{}; {}", self.message, self.advice)
        }
    }

    /// Tells it on standard error.
    pub(crate) fn print(&self, json: bool) {
        #[derive(Serialize)]
        struct Document<'a> {
            error: Told<'a>,
        }
        #[derive(Serialize)]
        struct Told<'a> {
            code: &'static str,
            message: &'a str,
            advice: &'a str,
        }
        let mut stream = io::stderr().lock();
        let document = Document {
            error: Told {
                code: self.kind.as_str(),
                message: &self.message,
                advice: &self.advice,
            },
        };
        // Nobody is left to tell if standard error is gone.
        let _ = match serde_json::to_string(&document) {
            Ok(text) if json => writeln!(stream, "{text}"),
            _ => writeln!(stream, "error: {}", self.sentence()),
        };
    }

    /// The code that a script sees.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Failure => 1,
            Kind::Invalid => 2,
            Kind::NotFound => 3,
            Kind::Refused => 4,
            Kind::Unreachable => 5,
            Kind::Unreadable => 6,
        })
    }
}

/// Turns errors of the operating system into failures that say what was being done.
pub(crate) trait Doing<T> {
    /// `doing` fits after "cannot".
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: std::error::Error> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| {
            Failure::new(
                Kind::Failure,
                format!("cannot {}: {}", doing(), with_causes(&error)),
                "",
            )
        })
    }
}

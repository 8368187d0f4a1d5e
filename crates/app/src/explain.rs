//! What every refusal of this crate can say about itself.
//!
//! A message alone leaves a person stuck, so each error also knows what to do next and what kind of trouble it is. Programs
//! and the HTTP interface turn kinds into exit codes and statuses in one place each.

use std::error::Error;

/// What kind of trouble an error is, for exit codes and HTTP statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Something broke that should not have: a disk, a database, a clock.
    Failure,
    /// What was asked for is malformed or contradicts itself.
    Invalid,
    /// What was named is not there.
    NotFound,
    /// It may not be done: rights, a wrong secret, a guard against losing data.
    Refused,
    /// Nobody answered in time.
    Unreachable,
    /// It is of a newer program, or damaged.
    Unreadable,
}

impl Kind {
    /// The word under which machine-readable output names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Unreadable => "unreadable",
        }
    }
}

/// An error that knows its kind and what to do about it.
pub trait Explained: Error {
    /// What kind of trouble it is.
    fn kind(&self) -> Kind;

    /// What to do next, as a sentence fragment without a full stop; empty if the message says it already.
    fn advice(&self) -> String;
}

/// An error and all its causes as one sentence fragment.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        // Some libraries repeat their cause in their own message.
        if !text.ends_with(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        cause = error.source();
    }
    text
}

//! Tests of the merge engine through its public face.
#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod conflicts;
mod exchange;
mod groups;
mod guard;
mod laws;
mod refusals;
mod schema_changes;
mod sharing;
mod stamps;
mod support;
mod write_again;

//! Tests of the merge engine through its public face.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod exchange;
mod laws;
mod support;

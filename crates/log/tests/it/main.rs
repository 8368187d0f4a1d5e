//! Whole contexts from the outside: founded, joined, written and read; and the bytes pinned.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop where it stands"
)]

mod administration;
mod club;
mod epochs;
mod hostile;
mod joining;
mod laws;
mod measured;
mod past;
mod races;
mod removal;
mod vectors;
mod world;

//! Sessions against each other: whole links with a model of a store at each end, under one fake clock.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test"
)]

mod control;
mod convergence;
mod frames;
mod hostile;
mod joining;
mod lifecycle;
mod store;
mod world;

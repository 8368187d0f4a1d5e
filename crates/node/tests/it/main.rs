//! Whole nodes over links in memory and over a store without cryptography.

#![expect(clippy::unwrap_used, reason = "what tests share fails as they do")]

mod calls;
mod devices;
mod exchange;
mod ledger;
mod links;
mod network;
mod support;

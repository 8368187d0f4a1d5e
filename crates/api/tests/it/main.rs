//! The interface from outside: what callers and browsers can and cannot do.

#![expect(clippy::unwrap_used, reason = "what tests share fails as they do")]
mod authorization;
mod description;
mod events;
mod memory;
mod requests;
mod support;

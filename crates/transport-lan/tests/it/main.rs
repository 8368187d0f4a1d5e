//! Real drivers on this machine's loopback.

mod discovery;
mod drivers;
mod links;
mod strangers;

//! A disk in memory under SQLite that fails on demand: it loses power at any write or fsync, and what was not synced by then is lost,
//! torn or reordered; or it runs full.
//!
//! Every [`Disk`] is reached through one SQLite VFS of this crate. What survives a power cut is computed from the record of writes
//! since the last fsync of each file, so that one run can be looked at under every way to lose it.

mod disk;
mod vfs;

pub use disk::{Disk, Loss};
pub use rusqlite;

//! Clocks, cells, lives and the changesets that carry them.
//!
//! Nothing here knows SQLite, keys or logs: bytes in, bytes out, and the order in which two writes of one cell stand.

pub mod changeset;
pub mod hlc;
pub mod life;
pub mod msgpack;
pub mod value;

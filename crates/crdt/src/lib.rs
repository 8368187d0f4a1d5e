//! Clocks, cells, lives and the changesets that carry them.

pub mod hlc;

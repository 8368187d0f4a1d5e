//! The cell changes of one transaction in one compartment, as canonical MessagePack.
//!
//! ```text
//! changes := [ tables, blocks ]
//! tables  := [ [name, [key column names], [other column names]] ... ]   only what the blocks use
//! blocks  := [ block ... ]
//! block   := [ table index, kind, life, stamp, [column indexes written], row count, bin(rows) ]
//! kind    := 0 write | 1 delete      a delete names no columns, its rows hold keys only
//! stamp   := nil | [hlc, writer]     nil stands for the stamp of the entry that carries the changeset
//! rows    := values, row after row: the key columns in order, then the written columns in order
//! ```
//!
//! Consecutive rows that agree in table, kind, life, stamp and columns share a block.

mod reader;
mod writer;

pub use reader::{Block, Changeset, MalformedChangeset, Row, TableNames, Values};
pub use writer::{ChangesetWriter, TableIndex};

/// What a block does to its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sets the named cells of rows that live.
    Write,
    /// Ends the life of rows.
    Delete,
}

//! When and by whom the cells of living rows were written.
//!
//! Clocks are kept by slot (the row's own number), 64 neighbouring rows in one blob. Rows that were written together have
//! equal clocks and share one run in the blob, so a bulk load costs a few bytes per 64 rows, and an edit of one cell costs
//! one look-up of a neighbourhood that probably was just used. Slots survive VACUUM: a merged table either has an INTEGER
//! PRIMARY KEY or an index for its key, and SQLite keeps the numbers of both.

mod chunk;
mod store;

pub(crate) use chunk::{Carried, Chunk, SLOTS, Written};
pub(crate) use store::{ClockMemory, ClockStore, common_era};

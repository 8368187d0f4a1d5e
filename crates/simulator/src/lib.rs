//! Whole nodes on a seeded network, disk and clock, in one thread.
//!
//! A seed decides who is there, who belongs where, what people write and everything that goes wrong: slow and dying
//! links, manipulated frames, partitions, crashes, power cuts, wrong clocks, wrong secrets. Each node is a real device on
//! a real database and real sessions. When the trouble is over every device of a context must hold the same, byte for
//! byte, and exactly what an oracle that shares no code with the engine works out; nothing acknowledged may be missing,
//! and nothing may lie where it may not be read. The same seed gives the same run.
//!
//! Read [`run`] first, then `world` (the queue), `work` and `answer` (a node), `links` (the network), `oracle` and
//! `checks` (the invariants).

mod acts;
mod answer;
mod checks;
mod invariant;
mod lessen;
mod links;
mod machine;
mod oracle;
mod people;
mod plan;
mod planted;
mod rows;
mod standing;
mod tables;
mod trace;
mod work;
mod workload;
mod world;

pub use invariant::Broken;
pub use lessen::{Lessened, Trouble, lessen, run_lessened};
pub use plan::Bug;
pub use world::{Figures, Outcome, run};

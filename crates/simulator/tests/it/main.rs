//! Runs of whole worlds.

mod replay;
mod same;
mod seeds;

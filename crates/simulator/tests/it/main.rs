//! Runs of whole worlds.

mod bugs;
mod replay;
mod same;
mod seeds;

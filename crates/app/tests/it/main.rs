//! The use cases on real data folders.

mod clocks;
mod copies;
mod leaks;
mod logbook;
mod people;
mod restoring;
mod school;
mod strangers;
mod support;
mod world;

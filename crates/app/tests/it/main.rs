//! The use cases on real data folders.

mod copies;
mod leaks;
mod logbook;
mod people;
mod school;
mod strangers;
mod restoring;
mod support;
mod world;

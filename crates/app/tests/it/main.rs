//! The use cases on real data folders.

mod leaks;
mod logbook;
mod people;
mod school;
mod support;

//! The use cases on real data folders.

mod logbook;
mod support;

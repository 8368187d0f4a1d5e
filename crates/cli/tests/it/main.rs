//! The real program on real data folders.

mod care;
mod copies;
mod logbook;
mod meeting;
mod people;
mod support;

//! Records and rules of flying, as pure functions.
//!
//! Nothing here reads a clock, a file, a random number or a database: a date, the bytes of a file or a seed arrive as
//! arguments, and the same arguments always give the same answer.

#![warn(missing_docs)]

pub mod logbook;

pub mod foreflight;

pub mod audiences;
pub mod demo;
pub mod rights;

//! SQLite and a whole device on a disk that fails.

#![cfg(test)]

mod crash_points;
mod operations;
mod sqlite;

//! The aviation tables and the only SQL that touches them.
//!
//! Everything works on a plain connection, so a transaction of the merge engine serves as well as a database in memory.
//! Identifiers and the time come from the caller.

pub mod aircraft;
mod children;
pub mod contexts;
pub mod digest;
pub mod flights;
pub mod imports;
mod migrations;
pub mod people;
mod row;
pub mod tables;

pub use migrations::{MigrationError, apply, migrations};
pub use row::{NewRow, Patch, Record, StoreError};

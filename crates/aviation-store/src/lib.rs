//! The aviation tables and the only SQL that touches them.

mod migrations;
pub mod tables;

pub use migrations::{MigrationError, apply, migrations};

//! What a person can do, as functions: the same for the command line, HTTP and tests.
//!
//! Every function takes the device it acts on and the time it acts at. Nothing here knows how changes travel.

pub mod explain;

pub mod folder;
pub mod installation;
pub mod keys;

pub mod aircraft;
pub mod contexts;
pub mod flights;
pub mod imports;

pub mod audit;
pub mod clock;
pub mod copies;
pub mod doctor;
pub mod standing;

mod rights;
mod write;

pub use write::WriteError;

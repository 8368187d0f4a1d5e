//! What a person can do, as functions: the same for the command line, HTTP and tests.
//!
//! Every function takes the device it acts on and the time it acts at. Nothing here knows how changes travel.

pub mod doctor;
pub mod explain;
pub mod flights;
pub mod folder;
pub mod keys;

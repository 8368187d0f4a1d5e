//! ForeFlight logbook exports of every generation, read into the records of this crate and written back.
//!
//! Any bytes are safe to give: the answer is flights and a report that names every row of the file, or one error that
//! says what the file is and what to do. A bad row never costs a good one, nothing is guessed that would change a total,
//! and what has no field of its own is kept word for word as a custom field.

mod aircraft_row;
mod columns;
mod decode;
mod flight_row;
mod import;
mod recognise;
mod report;
mod rows;
mod times;
mod write;

pub use decode::Encoding;
pub use import::{AirportZones, FILE_BYTES_MAX, Options, Parsed, ParsedFlight, parse};
pub use recognise::ImportError;
pub use report::{Outcome, Problem, Report, RowReport, Table};
pub use write::write;

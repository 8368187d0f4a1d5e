//! The logbook: flights as their pilot logged them, and what they add up to.
//!
//! Durations, meters and distances are integers throughout, so a sum over twenty years is exact. A count that nobody
//! recorded is `None`, never zero: rules then answer *unknown* instead of a wrong *not current*.

mod aircraft;
mod fingerprint;
mod flight;
mod person;
mod quantity;
mod totals;

pub use aircraft::{Aircraft, Difference};
pub use fingerprint::{Fingerprint, fingerprint};
pub use flight::{
    Approach, ApproachConditions, CustomField, CustomKind, Flight, FlightPerson, Source, Who,
};
pub use person::{Person, Rating};
pub use quantity::{Hundredths, ParseQuantityError, Precision, Seconds, parse_count};
pub use totals::{CountTotal, Totals, totals};

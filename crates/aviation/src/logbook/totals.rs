//! What flights add up to, exactly.
//!
//! Sums are integers. A count says beside its sum for how many flights nobody recorded one, so that "12 night takeoffs"
//! is never mistaken for all of them.

use serde::{Deserialize, Serialize};

use super::{Flight, Hundredths, Seconds};

/// The sum of a count over flights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountTotal {
    /// Sum over the flights that carry the count.
    pub sum: u64,
    /// Flights that do not carry it.
    pub unknown: u64,
}

impl CountTotal {
    fn add(&mut self, count: Option<u32>) {
        match count {
            Some(count) => self.sum += u64::from(count),
            None => self.unknown += 1,
        }
    }
}

/// Sums over flights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the sum of the field of that name")]
pub struct Totals {
    pub flights: u64,
    pub total: Seconds,
    pub pic: Seconds,
    pub sic: Seconds,
    pub picus: Seconds,
    pub dual_received: Seconds,
    pub dual_given: Seconds,
    pub solo: Seconds,
    pub cross_country: Seconds,
    pub night: Seconds,
    pub actual_instrument: Seconds,
    pub simulated_instrument: Seconds,
    pub simulator: Seconds,
    pub ground_received: Seconds,
    pub ground_given: Seconds,
    pub takeoffs_day: CountTotal,
    pub takeoffs_night: CountTotal,
    pub landings: CountTotal,
    pub landings_day: CountTotal,
    pub landings_night: CountTotal,
    pub full_stops_day: CountTotal,
    pub full_stops_night: CountTotal,
    pub holds: CountTotal,
    pub approaches: u64,
    pub distance: Hundredths,
}

/// Adds flights up.
pub fn totals<'a>(flights: impl IntoIterator<Item = &'a Flight>) -> Totals {
    let mut totals = Totals::default();
    for flight in flights {
        totals.flights += 1;
        macro_rules! durations {
            ($($field:ident)*) => { $(totals.$field += flight.$field;)* };
        }
        macro_rules! counts {
            ($($field:ident)*) => { $(totals.$field.add(flight.$field);)* };
        }
        durations! {
            total pic sic picus dual_received dual_given solo cross_country night actual_instrument
            simulated_instrument simulator ground_received ground_given
        }
        counts! {
            takeoffs_day takeoffs_night landings landings_day landings_night full_stops_day full_stops_night holds
        }
        totals.distance += flight.distance.unwrap_or_default();
        totals.approaches += flight
            .approaches
            .iter()
            .map(|approach| u64::from(approach.count.unwrap_or(0)))
            .sum::<u64>();
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_tenths_are_a_hundred_hours() {
        let flights = vec![
            Flight {
                total: Seconds::parse("0.1").unwrap(),
                ..Flight::default()
            };
            1000
        ];
        assert_eq!(totals(&flights).total, Seconds::parse("100").unwrap());
    }

    #[test]
    fn a_missing_count_is_counted_as_missing() {
        let flights = [
            Flight {
                takeoffs_night: Some(2),
                ..Flight::default()
            },
            Flight::default(),
        ];
        assert_eq!(
            totals(&flights).takeoffs_night,
            CountTotal { sum: 2, unknown: 1 }
        );
    }
}

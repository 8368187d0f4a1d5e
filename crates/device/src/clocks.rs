//! Whose clock is off: this device's, when it is behind what it knows to have happened, or another's, whose entries lie in the future.
//!
//! Invariant: nothing is written here that the others would hold back, and nothing that they would take for older than what its
//! writer had seen.

use std::fmt;

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{ContextId, DeviceKey, Millis, UserId, WriterKey};
use aeroedge_log::entry::EntryRef;

use crate::device::{Device, DeviceError};
use crate::merging::HOLD_BACK_MS;
use crate::stored;

/// So far behind the day a program was built a clock may be: zones are mistaken for each other, and the builder's clock was set by hand.
pub const BUILD_TOLERANCE_MS: u64 = 24 * 3600 * 1000;

/// The clock of this device is behind something that has happened already, so nothing may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClockOff {
    /// Behind the program itself.
    #[error(
        "the clock of this device says {} and its program was built on {}: set date and time, then write again",
        Moment(*now),
        Moment(*built)
    )]
    BehindProgram {
        /// The clock.
        now: Millis,
        /// When the program was built.
        built: Millis,
    },
    /// Behind the last entry written or taken in.
    #[error(
        "the clock of this device says {} and it has written or taken in what is stamped {}: if the clock is wrong now, set it; if it was wrong then, have it repaired",
        Moment(*now),
        Moment(*last)
    )]
    BehindOwnPast {
        /// The clock.
        now: Millis,
        /// The last stamp.
        last: Millis,
    },
}

/// Something a person should know about a clock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClockFinding {
    /// This device's. Nothing can be written until it is mended.
    #[error(transparent)]
    Own(#[from] ClockOff),
    /// Another device's, as far as one can see from here. What it writes is kept and merged when its time comes.
    #[error(
        "{entries} entries of another device are stamped {} and later, {} ahead of the clock here: one of the two clocks is wrong",
        Moment(*first),
        Span(*ahead_ms)
    )]
    Other {
        /// Where its entries wait.
        context: ContextId,
        /// Under which name it writes.
        writer: WriterKey,
        /// The device, if the membership history knows.
        device: Option<DeviceKey>,
        /// Its person.
        user: Option<UserId>,
        /// The stamp of the first entry that waits.
        first: Millis,
        /// How far that is ahead of the clock here.
        ahead_ms: u64,
        /// How many entries wait behind it.
        entries: u64,
    },
    /// A repair of this device's clock was cut short.
    #[error(
        "{transactions} changes made by a wrong clock are still to be written again: repair the clock once more"
    )]
    Unfinished {
        /// How many transactions.
        transactions: u64,
    },
    /// Several devices agree with each other against this one.
    #[error(
        "{devices} other devices are at least {} ahead of this one: probably the clock here is wrong, check date, time and zone",
        Span(*ahead_ms)
    )]
    Outvoted {
        /// How many.
        devices: usize,
        /// The least of their leads.
        ahead_ms: u64,
    },
}

impl Device {
    /// When the running program was built; a clock far behind that is wrong. Without this the check is not made.
    pub fn set_built(&mut self, built: Millis) {
        self.built = built;
    }

    /// Whether something may be written at `now`.
    pub fn check_clock(&self, now: Millis) -> Result<(), ClockError> {
        check_program(now, self.built)?;
        let last = self
            .replica
            .last_hlc()
            .map_err(|error| DeviceError::Engine(Box::new(error)))?;
        Ok(check_stamp(now, last.tick(now))?)
    }

    /// Everything that is wrong with clocks as far as this device can see.
    pub fn clock_findings(&self, now: Millis) -> Result<Vec<ClockFinding>, DeviceError> {
        let mut findings = Vec::new();
        match self.check_clock(now) {
            Ok(()) => {}
            Err(ClockError::Off(off)) => findings.push(off.into()),
            Err(ClockError::Device(error)) => return Err(error),
        }
        let transactions = self.to_write_again()?;
        if transactions > 0 {
            findings.push(ClockFinding::Unfinished { transactions });
        }
        let mut leads: Vec<(DeviceKey, u64)> = Vec::new();
        for log in stored::unmerged(self.connection())? {
            let Some(bytes) = stored::entry(self.connection(), log.number, log.merged.next())?
            else {
                continue;
            };
            let Ok(entry) = EntryRef::parse(&bytes) else {
                continue;
            };
            let first = entry.hlc().time();
            let ahead_ms = first.0.saturating_sub(now.0);
            if ahead_ms <= HOLD_BACK_MS {
                continue;
            }
            let known = self
                .roster(log.context)
                .and_then(|roster| roster.writer(entry.writer()));
            if let Some(known) = known
                && known.device != self.key()
            {
                leads.push((known.device, ahead_ms));
            }
            findings.push(ClockFinding::Other {
                context: log.context,
                writer: entry.writer(),
                device: known.map(|writer| writer.device),
                user: known.map(|writer| writer.user),
                first,
                ahead_ms,
                entries: log.vouched.0 - log.merged.0,
            });
        }
        leads.sort_unstable();
        leads.dedup_by_key(|lead| lead.0);
        if leads.len() > 1 {
            let ahead_ms = leads.iter().map(|lead| lead.1).min().unwrap_or(0);
            let devices = leads.len();
            findings.push(ClockFinding::Outvoted { devices, ahead_ms });
        }
        Ok(findings)
    }
}

/// Whether something may be written could not be answered with yes.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// It may not.
    #[error(transparent)]
    Off(#[from] ClockOff),
    /// The database could not say.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Refuses a clock that is behind the program.
pub(crate) fn check_program(now: Millis, built: Millis) -> Result<(), ClockOff> {
    if now.0.saturating_add(BUILD_TOLERANCE_MS) < built.0 {
        return Err(ClockOff::BehindProgram { now, built });
    }
    Ok(())
}

/// Refuses a stamp that the others would hold back: the clock moved it on from one in the future.
pub(crate) fn check_stamp(now: Millis, stamp: Hlc) -> Result<(), ClockOff> {
    let last = stamp.time();
    if last.0.saturating_sub(now.0) > HOLD_BACK_MS {
        return Err(ClockOff::BehindOwnPast { now, last });
    }
    Ok(())
}

/// A time as people write it, in UTC.
struct Moment(Millis);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.0.0 / 60_000;
        let (year, month, day) = civil(minutes / (24 * 60));
        let (hour, minute) = (minutes / 60 % 24, minutes % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
    }
}

/// Year, month and day of a day since 1970, by the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Counted from 1 March of the year 0, so that the leap day is the last of its year, in eras of 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// A length of time in its greatest unit.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [
            (24 * 3_600_000, "days"),
            (3_600_000, "hours"),
            (60_000, "minutes"),
        ];
        for (length, name) in UNITS {
            if self.0 >= 2 * length {
                return write!(f, "{} {name}", self.0 / length);
            }
        }
        write!(f, "{} seconds", self.0 / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_write_them() {
        let show = |millis| Moment(Millis(millis)).to_string();
        assert_eq!(show(0), "1970-01-01 00:00 UTC");
        assert_eq!(show(951_782_399_999), "2000-02-28 23:59 UTC");
        assert_eq!(show(951_782_400_000), "2000-02-29 00:00 UTC");
        assert_eq!(show(1_800_000_000_000), "2027-01-15 08:00 UTC");
        assert_eq!(show(4_070_908_799_000), "2098-12-31 23:59 UTC");
        assert_eq!(show(4_102_444_800_000), "2100-01-01 00:00 UTC");
        assert_eq!(Span(HOLD_BACK_MS).to_string(), "5 minutes");
    }

    #[test]
    fn a_clock_some_hours_behind_the_program_is_taken_for_another_zone() {
        let built = Millis(1_800_000_000_000);
        assert!(check_program(Millis(built.0 - BUILD_TOLERANCE_MS), built).is_ok());
        let now = Millis(0);
        let off = check_program(now, built).unwrap_err();
        assert_eq!(off, ClockOff::BehindProgram { now, built });
        let text = off.to_string();
        assert!(
            text.contains("1970-01-01") && text.contains("2027-01-15"),
            "{text}"
        );
    }

    #[test]
    fn a_stamp_that_others_would_hold_back_is_refused() {
        let now = Millis(1_800_000_000_000);
        assert!(check_stamp(now, Hlc::at(Millis(now.0 + HOLD_BACK_MS))).is_ok());
        assert!(check_stamp(now, Hlc::at(Millis(now.0 + HOLD_BACK_MS + 1))).is_err());
    }
}

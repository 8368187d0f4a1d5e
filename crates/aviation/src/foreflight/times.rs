//! Days and times of a row as instants.
//!
//! The date of a row is the local day at departure and its times are UTC, so 2026-03-02T04:30Z at Palo Alto belongs to
//! the row of 1 March. Without a zone the day is taken as UTC.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// In which order the numbers of `3/4/2020` stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlashOrder {
    /// Month first, as the app and American spreadsheets write it.
    MonthFirst,
    /// Day first: some row has a first number above twelve.
    DayFirst,
    /// Rows contradict each other, so none is read.
    Contradictory,
}

impl SlashOrder {
    /// Decides from the dates of a whole file.
    pub(super) fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let (mut day_first, mut month_first) = (false, false);
        for (first, second, _) in texts.filter_map(slashed) {
            day_first |= first > 12;
            month_first |= second > 12;
        }
        match (day_first, month_first) {
            (true, true) => Self::Contradictory,
            (true, false) => Self::DayFirst,
            (false, _) => Self::MonthFirst,
        }
    }
}

/// Reads `2018-08-05`, `2018/08/05` or `8/5/2018`; a time after the day is ignored.
pub(super) fn parse_date(text: &str, order: SlashOrder) -> Result<Date, &'static str> {
    const WRITE: &str = "is not a date: write it as 2026-02-11";
    let day = text.split([' ', 'T']).next().unwrap_or_default();
    let (year, month, day) = if let Some((first, second, year)) = slashed(day) {
        match order {
            SlashOrder::MonthFirst => (year, first, second),
            SlashOrder::DayFirst => (year, second, first),
            SlashOrder::Contradictory => {
                return Err(
                    "may be month/day or day/month, as the file has both: write it as 2026-02-11",
                );
            }
        }
    } else {
        let mut parts = day.split(['-', '/']);
        let mut number = |digits: std::ops::RangeInclusive<usize>| {
            let part = parts.next().unwrap_or_default();
            if digits.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()) {
                part.parse::<i16>().ok()
            } else {
                None
            }
        };
        let (year, month, day) = (number(4..=4), number(1..=2), number(1..=2));
        if parts.next().is_some() {
            return Err(WRITE);
        }
        match (year, month, day) {
            (Some(year), Some(month), Some(day)) => (year, month, day),
            _ => return Err(WRITE),
        }
    };
    if !(1903..=2199).contains(&year) {
        return Err("is not in a year in which people fly");
    }
    Date::new(year, month as i8, day as i8).map_err(|_| "is not a day of the calendar")
}

/// The numbers of `8/5/2018` or `8/5/18`: first, second, year.
fn slashed(text: &str) -> Option<(i16, i16, i16)> {
    let mut parts = text.trim().split('/');
    let mut number = |digits: std::ops::RangeInclusive<usize>| {
        let part = parts.next()?;
        let all_digits = part.bytes().all(|b| b.is_ascii_digit());
        (digits.contains(&part.len()) && all_digits).then(|| part.parse::<i16>().ok())?
    };
    let (first, second, year) = (number(1..=2)?, number(1..=2)?, number(2..=4)?);
    if parts.next().is_some() {
        return None;
    }
    let year = match year {
        0..70 => 2000 + year,
        70..100 => 1900 + year,
        _ => year,
    };
    Some((first, second, year))
}

/// Reads `04:30`, `4:30` or `04:30:00`.
pub(super) fn parse_time(text: &str) -> Result<Time, &'static str> {
    const WRITE: &str = "is not a time: write UTC hours and minutes, as in 04:30";
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let mut parts = text.split(':');
    let mut number = |needed: bool| match parts.next() {
        None if !needed => Some(0),
        Some(part) if (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()) => {
            part.parse::<i8>().ok()
        }
        _ => None,
    };
    let (hour, minute, second) = (number(true), number(true), number(false));
    match (hour, minute, second, parts.next()) {
        (Some(hour), Some(minute), Some(second), None) => {
            Time::new(hour, minute, second, 0).map_err(|_| WRITE)
        }
        _ => Err(WRITE),
    }
}

/// The instants of up to four times of day in the order in which they happen, the first on the local day `date`.
pub(super) fn instants(
    date: Date,
    times: [Option<Time>; 4],
    zone: Option<&TimeZone>,
) -> [Option<Timestamp>; 4] {
    let mut previous: Option<DateTime> = None;
    times.map(|time| {
        let time = time?;
        let at = match previous {
            // Midnight passed if the clock went back.
            Some(before) if time < before.time() => {
                before.date().tomorrow().ok()?.to_datetime(time)
            }
            Some(before) => before.date().to_datetime(time),
            None => on_local_day(date, time, zone)?,
        };
        previous = Some(at);
        to_instant(at)
    })
}

/// The UTC day and time that falls on the local day `date`.
fn on_local_day(date: Date, time: Time, zone: Option<&TimeZone>) -> Option<DateTime> {
    let same_day = date.to_datetime(time);
    let Some(zone) = zone else {
        return Some(same_day);
    };
    [0, 1, -1]
        .into_iter()
        .filter_map(|days: i64| same_day.checked_add(days.days()).ok())
        .find(|at| {
            to_instant(*at).is_some_and(|instant| instant.to_zoned(zone.clone()).date() == date)
        })
        .or(Some(same_day))
}

fn to_instant(at: DateTime) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{date, time};

    fn check_date(text: &str, order: SlashOrder, expected: Option<Date>) {
        assert_eq!(parse_date(text, order).ok(), expected, "{text:?}");
    }

    #[test]
    fn dates_are_read_as_programs_write_them() {
        let expected = Some(date(2018, 8, 5));
        check_date("2018-08-05", SlashOrder::MonthFirst, expected);
        check_date("2018/8/5", SlashOrder::MonthFirst, expected);
        check_date("8/5/2018", SlashOrder::MonthFirst, expected);
        check_date("08/05/18", SlashOrder::MonthFirst, expected);
        check_date("5/8/2018", SlashOrder::DayFirst, expected);
        check_date("2018-08-05T00:00:00Z", SlashOrder::MonthFirst, expected);
        for wrong in [
            "",
            "2018-02-30",
            "1492-10-12",
            "2018-8",
            "8/5",
            "2018-08-05-1",
            "soon",
        ] {
            check_date(wrong, SlashOrder::MonthFirst, None);
        }
        check_date("8/5/2018", SlashOrder::Contradictory, None);
    }

    #[test]
    fn the_order_of_slashed_dates_is_that_of_the_file() {
        let check = |texts: &[&str]| SlashOrder::of(texts.iter().copied());
        assert_eq!(check(&["3/4/2020", "5/6/2020"]), SlashOrder::MonthFirst);
        assert_eq!(check(&["3/4/2020", "25/6/2020"]), SlashOrder::DayFirst);
        assert_eq!(
            check(&["3/25/2020", "25/6/2020"]),
            SlashOrder::Contradictory
        );
    }

    #[test]
    fn times_are_hours_and_minutes() {
        assert_eq!(parse_time("04:30"), Ok(time(4, 30, 0, 0)));
        assert_eq!(parse_time("4:30Z"), Ok(time(4, 30, 0, 0)));
        for wrong in ["24:00", "4", "4:60", "4:30:00:00", "noon", ":"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_evening_flight_in_california_is_on_the_next_day_in_utc() {
        let zone = TimeZone::get("America/Los_Angeles").unwrap();
        let times = [Some(time(4, 30, 0, 0)), None, None, Some(time(6, 0, 0, 0))];
        let instants = instants(date(2026, 3, 1), times, Some(&zone));
        assert_eq!(instants[0], Some("2026-03-02T04:30:00Z".parse().unwrap()));
        assert_eq!(instants[3], Some("2026-03-02T06:00:00Z".parse().unwrap()));
    }

    #[test]
    fn times_run_over_midnight() {
        let times = [(21, 37), (21, 40), (0, 10), (0, 12)].map(|(h, m)| Some(time(h, m, 0, 0)));
        let instants = instants(date(2020, 1, 18), times, None);
        assert_eq!(instants[1], Some("2020-01-18T21:40:00Z".parse().unwrap()));
        assert_eq!(instants[2], Some("2020-01-19T00:10:00Z".parse().unwrap()));
    }
}

//! Durations, meters and counts as integers, read from and shown as people write them.
//!
//! A second divides both a minute and a hundredth of an hour (36 s), so `1.23` and `1:14` are both exact. There is one
//! rounding rule for showing fewer digits than are stored: half away from zero, on the sum and never on its parts.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// Nobody has flown a million hours; what exceeds it is a slip of the keyboard and would only overflow a sum later.
const WHOLE_MAX: u64 = 1_000_000;
/// Digits after the point that are still read; more carry no meaning in a logbook.
const FRACTION_DIGITS_MAX: usize = 9;

/// The text is not a quantity of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseQuantityError {
    /// Neither `1.5` nor `1:30`.
    #[error("is not a duration: write 1.5 or 1:30")]
    Duration,
    /// Not a decimal number.
    #[error("is not a number: write digits and a point, as in 1234.5")]
    Number,
    /// Not a whole number.
    #[error("is not a count: write a whole number")]
    Count,
    /// Below zero.
    #[error("is negative: no logbook quantity is")]
    Negative,
    /// Minutes or seconds of 60 and more.
    #[error("has 60 or more minutes: write them as an hour")]
    Minutes,
    /// Beyond what a person can fly.
    #[error("is too large for a logbook")]
    TooLarge,
}

/// How many digits of an hour are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// `1.5`, as most logbooks are kept.
    Tenths,
    /// `1.53`.
    Hundredths,
}

/// A duration in whole seconds.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seconds(pub i64);

impl Seconds {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// Hundredths of an hour, exactly.
    pub const fn from_hundredths_of_hour(hundredths: i64) -> Self {
        Self(hundredths * 36)
    }

    /// Reads decimal hours (`1.5`, `.5`, `1,5`) or hours and minutes (`1:30`, `01:30:00`).
    pub fn parse(text: &str) -> Result<Self, ParseQuantityError> {
        let text = text.trim();
        if text.contains(':') {
            return Self::parse_clock(text);
        }
        let decimal = Decimal::parse(text, ParseQuantityError::Duration)?;
        let seconds = decimal.scaled(3600);
        Ok(Self(seconds))
    }

    fn parse_clock(text: &str) -> Result<Self, ParseQuantityError> {
        if text.starts_with('-') {
            return Err(ParseQuantityError::Negative);
        }
        let mut parts = text.split(':');
        let hours = digits(parts.next().unwrap_or_default(), 7)?;
        let minutes = digits(parts.next().unwrap_or_default(), 2)?;
        let seconds = match parts.next() {
            Some(part) => digits(part, 2)?,
            None => 0,
        };
        if parts.next().is_some() {
            return Err(ParseQuantityError::Duration);
        }
        if minutes > 59 || seconds > 59 {
            return Err(ParseQuantityError::Minutes);
        }
        if hours > WHOLE_MAX {
            return Err(ParseQuantityError::TooLarge);
        }
        Ok(Self((hours * 3600 + minutes * 60 + seconds) as i64))
    }

    /// Decimal hours, rounded half away from zero: `5430 s` is `1.5` in tenths and `1.51` in hundredths.
    pub fn decimal(self, precision: Precision) -> String {
        let (unit, width) = match precision {
            Precision::Tenths => (360, 1),
            Precision::Hundredths => (36, 2),
        };
        let per_hour = 3600 / unit;
        let rounded = round_half_away(self.0, unit);
        let sign = if rounded < 0 { "-" } else { "" };
        let rounded = rounded.unsigned_abs();
        format!(
            "{sign}{}.{:0width$}",
            rounded / per_hour as u64,
            rounded % per_hour as u64
        )
    }

    /// Hours and minutes, rounded half away from zero: `5430 s` is `1:31`.
    pub fn clock(self) -> String {
        let minutes = round_half_away(self.0, 60);
        let sign = if minutes < 0 { "-" } else { "" };
        let minutes = minutes.unsigned_abs();
        format!("{sign}{}:{:02}", minutes / 60, minutes % 60)
    }

    /// The shortest decimal that loses nothing, else hours, minutes and seconds: what a file for another program carries.
    pub fn exact(self) -> String {
        if self.0 % 360 == 0 {
            self.decimal(Precision::Tenths)
        } else if self.0 % 36 == 0 {
            self.decimal(Precision::Hundredths)
        } else if self.0 % 60 == 0 {
            self.clock()
        } else {
            let sign = if self.0 < 0 { "-" } else { "" };
            let seconds = self.0.unsigned_abs();
            format!(
                "{sign}{}:{:02}:{:02}",
                seconds / 3600,
                seconds / 60 % 60,
                seconds % 60
            )
        }
    }

    /// Whether there is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// A number with two decimals: a meter reading in hundredths of an hour, a distance in hundredths of a nautical mile.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Hundredths(pub i64);

impl Hundredths {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Reads a decimal number such as `1752.60`.
    pub fn parse(text: &str) -> Result<Self, ParseQuantityError> {
        let decimal = Decimal::parse(text.trim(), ParseQuantityError::Number)?;
        Ok(Self(decimal.scaled(100)))
    }
}

impl fmt::Display for Hundredths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let value = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", value / 100, value % 100)
    }
}

/// Reads a count of takeoffs, landings, holds or approaches; spreadsheets like to write `3` as `3.0`.
pub fn parse_count(text: &str) -> Result<u32, ParseQuantityError> {
    let decimal = Decimal::parse(text.trim(), ParseQuantityError::Count)?;
    if decimal.numerator != 0 {
        return Err(ParseQuantityError::Count);
    }
    u32::try_from(decimal.whole).map_err(|_| ParseQuantityError::TooLarge)
}

macro_rules! arithmetic {
    ($($name:ident)*) => {$(
        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }
        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }
        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }
        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(values: I) -> Self {
                values.fold(Self(0), Add::add)
            }
        }
    )*};
}

arithmetic! { Seconds Hundredths }

/// A non-negative decimal number, held without a float.
struct Decimal {
    whole: u64,
    numerator: u64,
    denominator: u64,
}

impl Decimal {
    fn parse(text: &str, malformed: ParseQuantityError) -> Result<Self, ParseQuantityError> {
        if let Some(rest) = text.strip_prefix('-') {
            return Err(match Self::parse(rest, malformed) {
                Ok(_) => ParseQuantityError::Negative,
                Err(error) => error,
            });
        }
        let (whole, fraction) = split_decimal(text, malformed)?;
        if whole.is_empty() && fraction.is_empty() {
            return Err(malformed);
        }
        if !whole
            .bytes()
            .chain(fraction.bytes())
            .all(|b| b.is_ascii_digit())
        {
            return Err(malformed);
        }
        let significant = whole.trim_start_matches('0');
        if significant.len() > 7 {
            return Err(ParseQuantityError::TooLarge);
        }
        let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS_MAX)];
        let decimal = Self {
            whole: significant.parse().unwrap_or(0),
            numerator: fraction.parse().unwrap_or(0),
            denominator: 10_u64.pow(fraction.len() as u32),
        };
        if decimal.whole > WHOLE_MAX {
            return Err(ParseQuantityError::TooLarge);
        }
        Ok(decimal)
    }

    /// The number times `factor`, rounded half up.
    fn scaled(&self, factor: u64) -> i64 {
        let fraction = (self.numerator * factor * 2 + self.denominator) / (self.denominator * 2);
        (self.whole * factor + fraction) as i64
    }
}

/// Splits at the decimal sign. A comma is one when one or two digits follow (`1,5`); before a point it groups thousands
/// (`1,234.5`); `1,500` could be either and is refused.
fn split_decimal(
    text: &str,
    malformed: ParseQuantityError,
) -> Result<(std::borrow::Cow<'_, str>, &str), ParseQuantityError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    match whole.rsplit_once(',') {
        None => Ok((whole.into(), fraction)),
        Some((head, tail)) if !text.contains('.') && matches!(tail.len(), 1 | 2) => {
            Ok((head.into(), tail))
        }
        Some(_) if text.contains('.') => {
            let mut groups = whole.split(',');
            let first = groups.next().unwrap_or_default();
            if first.is_empty() || first.len() > 3 || groups.any(|group| group.len() != 3) {
                return Err(malformed);
            }
            Ok((whole.replace(',', "").into(), fraction))
        }
        Some(_) => Err(malformed),
    }
}

fn digits(text: &str, length_max: usize) -> Result<u64, ParseQuantityError> {
    if text.is_empty() || text.len() > length_max || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParseQuantityError::Duration);
    }
    text.parse().map_err(|_| ParseQuantityError::Duration)
}

fn round_half_away(value: i64, unit: i64) -> i64 {
    let half = if value < 0 { -unit / 2 } else { unit / 2 };
    value.saturating_add(half) / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<i64, ParseQuantityError>) {
        assert_eq!(Seconds::parse(text).map(|s| s.0), expected, "{text:?}");
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        check("1.5", Ok(5400));
        check(" 1.50 ", Ok(5400));
        check("1,5", Ok(5400));
        check(".5", Ok(1800));
        check("2.", Ok(7200));
        check("0", Ok(0));
        check("0.01", Ok(36));
        check("1:30", Ok(5400));
        check("01:30", Ok(5400));
        check("1:30:30", Ok(5430));
        check("1,234.5", Ok(4_444_200));
        check("1.333", Ok(4799));
        check("00001.5", Ok(5400));
    }

    #[test]
    fn what_is_no_duration_says_why() {
        use ParseQuantityError as E;
        check("", Err(E::Duration));
        check(".", Err(E::Duration));
        check("one", Err(E::Duration));
        check("1.5h", Err(E::Duration));
        check("1:3:4:5", Err(E::Duration));
        check("1:60", Err(E::Minutes));
        check("-1.5", Err(E::Negative));
        check("-1:30", Err(E::Negative));
        check("--1", Err(E::Negative));
        check("-x", Err(E::Duration));
        check("1,500", Err(E::Duration));
        check("1,2,3", Err(E::Duration));
        check("99999999", Err(E::TooLarge));
        check("1e3", Err(E::Duration));
        check("NaN", Err(E::Duration));
        check("١", Err(E::Duration));
    }

    #[test]
    fn every_hundredth_of_an_hour_is_exact() {
        for hundredths in 0..2500 {
            let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
            let seconds = Seconds::parse(&text).unwrap();
            assert_eq!(seconds, Seconds::from_hundredths_of_hour(hundredths));
            assert_eq!(seconds.decimal(Precision::Hundredths), text);
        }
    }

    #[test]
    fn every_minute_is_exact() {
        for minutes in 0..3000 {
            let text = format!("{}:{:02}", minutes / 60, minutes % 60);
            assert_eq!(Seconds::parse(&text).unwrap().clock(), text);
        }
    }

    #[test]
    fn showing_rounds_half_away_from_zero() {
        assert_eq!(Seconds(5430).decimal(Precision::Tenths), "1.5");
        assert_eq!(Seconds(5580).decimal(Precision::Tenths), "1.6");
        assert_eq!(Seconds(5579).decimal(Precision::Tenths), "1.5");
        assert_eq!(Seconds(5430).decimal(Precision::Hundredths), "1.51");
        assert_eq!(Seconds(5430).clock(), "1:31");
        assert_eq!(Seconds(5429).clock(), "1:30");
        assert_eq!(Seconds(-5430).clock(), "-1:31");
        assert_eq!(Seconds(-5580).decimal(Precision::Tenths), "-1.6");
        assert_eq!(Seconds(-1).decimal(Precision::Tenths), "0.0");
    }

    #[test]
    fn the_exact_form_reads_back_to_the_second() {
        for seconds in 0..20_000 {
            let text = Seconds(seconds).exact();
            assert_eq!(Seconds::parse(&text), Ok(Seconds(seconds)), "{text}");
        }
    }

    #[test]
    fn meters_keep_two_decimals() {
        assert_eq!(Hundredths::parse("1752.60"), Ok(Hundredths(175_260)));
        assert_eq!(Hundredths::parse("1752.6").unwrap().to_string(), "1752.60");
        assert_eq!(Hundredths::parse("12:30"), Err(ParseQuantityError::Number));
    }

    #[test]
    fn counts_are_whole() {
        assert_eq!(parse_count("3"), Ok(3));
        assert_eq!(parse_count("3.0"), Ok(3));
        assert_eq!(parse_count("2.5"), Err(ParseQuantityError::Count));
        assert_eq!(parse_count("-1"), Err(ParseQuantityError::Negative));
        assert_eq!(parse_count("three"), Err(ParseQuantityError::Count));
    }
}

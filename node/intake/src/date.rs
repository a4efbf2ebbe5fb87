//! Dates and local times as plain values, and the windows that give two-digit years their century.
//!
//! No clock is read: what a two-digit year means follows from the manifest's own dates.

use std::fmt;
use std::str::FromStr;

use cluster_config::calendar::days_in_month;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A schedule's or preparation date's two-digit year `YY` is `20YY` below this number, else `19YY`.
///
/// Passenger lists in EDIFACT exist since 1987, so 80 to 99 can only be past and 00 to 79 only this century.
pub const SCHEDULE_PIVOT: u16 = 80;

/// How many years before the reference date an expiry date may lie.
///
/// An expiry lies between 49 years before and 50 years after the reference. Most documents are valid for ten years at
/// most, but permanent residence cards and dates that stand for "never expires" lie decades ahead. Nobody presents a
/// document that expired half a century ago.
pub const EXPIRY_YEARS_BEFORE: u16 = 49;

/// The reference date's year where a manifest has neither a departure nor a preparation date.
pub const REFERENCE_YEAR_DEFAULT: u16 = 2030;

/// A calendar date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// The date, if the proleptic Gregorian calendar has it and the year is 1 to 9999.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let valid =
            (1..=9999).contains(&year) && (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
        valid.then_some(Self { year, month, day })
    }

    /// Year, 1 to 9999.
    pub fn year(self) -> u16 {
        self.year
    }

    /// Month, 1 to 12.
    pub fn month(self) -> u8 {
        self.month
    }

    /// Day of the month, from 1.
    pub fn day(self) -> u8 {
        self.day
    }

    /// The first day of [`REFERENCE_YEAR_DEFAULT`].
    pub(crate) const fn default_reference() -> Self {
        Self { year: REFERENCE_YEAR_DEFAULT, month: 1, day: 1 }
    }

    /// A reference year from which a century can be subtracted: an absurd year must not panic.
    fn within_reason(self) -> Self {
        Self { year: self.year.clamp(1900, 9000), ..self }
    }

    /// The day after, or nothing after 9999-12-31.
    pub fn next(self) -> Option<Self> {
        Self::new(self.year, self.month, self.day + 1)
            .or_else(|| Self::new(self.year, self.month + 1, 1))
            .or_else(|| Self::new(self.year + 1, 1, 1))
    }
}

/// A time of day at the place it belongs to, without a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalTime {
    hour: u8,
    minute: u8,
}

impl LocalTime {
    /// The time, if the hour is below 24 and the minute below 60.
    pub fn new(hour: u8, minute: u8) -> Option<Self> {
        (hour < 24 && minute < 60).then_some(Self { hour, minute })
    }

    /// Hour, 0 to 23.
    pub fn hour(self) -> u8 {
        self.hour
    }

    /// Minute, 0 to 59.
    pub fn minute(self) -> u8 {
        self.minute
    }
}

/// A date and, where it was written, a time, at the place they belong to.
///
/// As text `2025-06-15T16:20` or `2025-06-15`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalDateTime {
    pub date: Date,
    /// The time of day, if it was written.
    pub time: Option<LocalTime>,
}

/// A text is no date of this form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a date such as 2025-06-15, or not a date and time such as 2025-06-15T16:20")]
pub struct NotADate;

impl fmt::Display for Date {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Display for LocalDateTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.date.fmt(formatter)?;
        match self.time {
            Some(time) => write!(formatter, "T{:02}:{:02}", time.hour, time.minute),
            None => Ok(()),
        }
    }
}

fn digits(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn small(text: Option<&str>) -> Option<u8> {
    digits(text?).and_then(|number| u8::try_from(number).ok())
}

impl FromStr for Date {
    type Err = NotADate;

    fn from_str(text: &str) -> Result<Self, NotADate> {
        if text.len() != 10 || !text.is_ascii() || text.get(4..5) != Some("-") || text.get(7..8) != Some("-") {
            return Err(NotADate);
        }
        let year = text.get(..4).and_then(digits).ok_or(NotADate)?;
        let month = small(text.get(5..7)).ok_or(NotADate)?;
        let day = small(text.get(8..10)).ok_or(NotADate)?;
        Self::new(year, month, day).ok_or(NotADate)
    }
}

impl FromStr for LocalDateTime {
    type Err = NotADate;

    fn from_str(text: &str) -> Result<Self, NotADate> {
        let Some((date, time)) = text.split_once('T') else {
            return Ok(Self { date: text.parse()?, time: None });
        };
        if time.len() != 5 || time.get(2..3) != Some(":") {
            return Err(NotADate);
        }
        let hour = small(time.get(..2)).ok_or(NotADate)?;
        let minute = small(time.get(3..)).ok_or(NotADate)?;
        Ok(Self { date: date.parse()?, time: Some(LocalTime::new(hour, minute).ok_or(NotADate)?) })
    }
}

macro_rules! as_text {
    ($name:ty) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
as_text!(Date);
as_text!(LocalDateTime);

/// What a date is for, which decides the century of a two-digit year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Century {
    /// A departure, arrival or preparation: see [`SCHEDULE_PIVOT`].
    Schedule,
    /// A birth: the latest year in which it is not after this reference date.
    Birth(Date),
    /// An expiry or issue of a document: see [`EXPIRY_YEARS_BEFORE`].
    Expiry(Date),
}

impl Century {
    /// The full year of a two-digit one in a date with this month and day.
    pub fn year(self, two_digits: u16, month: u8, day: u8) -> u16 {
        match self {
            Self::Schedule if two_digits < SCHEDULE_PIVOT => 2000 + two_digits,
            Self::Schedule => 1900 + two_digits,
            Self::Birth(reference) => {
                let reference = reference.within_reason();
                let century = reference.year / 100 * 100;
                let this = (century + two_digits, month, day);
                if this <= (reference.year, reference.month, reference.day) { this.0 } else { this.0 - 100 }
            }
            Self::Expiry(reference) => {
                let first = reference.within_reason().year - EXPIRY_YEARS_BEFORE;
                let offset = (two_digits + 100 - first % 100) % 100;
                first + offset
            }
        }
    }
}

/// What a date value turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    Is(LocalDateTime),
    /// Year, month or day is zero: the sender does not know it (ICAO Doc 9303 allows that for births).
    PartlyUnknown,
    /// No date can be read from it.
    Unreadable,
}

/// Reads a value of DTM (C507) with its format code (2379), or by its length where the code is absent or wrong.
///
/// Known codes: 2 `DDMMYY`, 3 `MMDDYY`, 4 `DDMMCCYY`, 101 `YYMMDD`, 102 `CCYYMMDD`, 201 `YYMMDDHHMM`, 202
/// `YYMMDDHHMMSS`, 203 `CCYYMMDDHHMM`, 204 `CCYYMMDDHHMMSS`; a zone after it (205, 301 to 304) is passed over,
/// because all times are local to their port.
pub fn decode(value: &str, format: Option<&str>, century: Century) -> Decoded {
    let value = value.trim();
    let plain: String = value.chars().filter(|mark| !matches!(mark, '-' | '/' | '.' | ':' | ' ' | 'T')).collect();
    let end = plain.find(|mark: char| !mark.is_ascii_digit()).unwrap_or(plain.len());
    let (number, zone) = plain.split_at(end);
    let zone_allowed = number.len() >= 10 && zone.len() <= 6;
    if !zone.is_empty() && !zone_allowed {
        return Decoded::Unreadable;
    }
    let at = |from: usize, to: usize| number.get(from..to).and_then(digits);
    let (year, month, day, clock) = match (number.len(), format) {
        (6, Some("2")) => (at(4, 6), at(2, 4), at(0, 2), 6),
        (6, Some("3")) => (at(4, 6), at(0, 2), at(2, 4), 6),
        (8, Some("4")) => (at(4, 8), at(2, 4), at(0, 2), 8),
        (6 | 10, _) | (12, Some("202")) => (at(0, 2), at(2, 4), at(4, 6), 6),
        (8 | 12 | 14, _) | (16, Some("205")) => (at(0, 4), at(4, 6), at(6, 8), 8),
        _ => return Decoded::Unreadable,
    };
    let (Some(year), Some(month), Some(day)) = (year, month, day) else {
        return Decoded::Unreadable;
    };
    let two_digits = clock == 6;
    let (Ok(month), Ok(day)) = (u8::try_from(month), u8::try_from(day)) else {
        return Decoded::Unreadable;
    };
    if (month == 0 || day == 0) && month <= 12 && day <= 31 {
        return Decoded::PartlyUnknown;
    }
    let year = if two_digits { century.year(year, month, day) } else { year };
    let Some(mut date) = Date::new(year, month, day) else {
        return Decoded::Unreadable;
    };
    let time = match (number.get(clock..clock + 2), number.get(clock + 2..clock + 4)) {
        (Some("24"), Some("00")) => {
            let Some(next) = date.next() else {
                return Decoded::Unreadable;
            };
            date = next;
            LocalTime::new(0, 0)
        }
        (Some(hour), minute @ Some(_)) => {
            match small(Some(hour)).zip(small(minute)).and_then(|(hour, minute)| LocalTime::new(hour, minute)) {
                None => return Decoded::Unreadable,
                time => time,
            }
        }
        _ => None,
    };
    Decoded::Is(LocalDateTime { date, time })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str, format: Option<&str>) -> String {
        match decode(value, format, Century::Schedule) {
            Decoded::Is(found) => found.to_string(),
            Decoded::PartlyUnknown => "partly".to_owned(),
            Decoded::Unreadable => "no".to_owned(),
        }
    }

    #[test]
    fn every_format_and_its_absence_is_read() {
        assert_eq!(read("250615", Some("101")), "2025-06-15");
        assert_eq!(read(" 250615", None), "2025-06-15");
        assert_eq!(read("20250615", Some("102")), "2025-06-15");
        assert_eq!(read("2506151620", Some("201")), "2025-06-15T16:20");
        assert_eq!(read("202506151620", Some("203")), "2025-06-15T16:20");
        assert_eq!(read("202506151620", Some("201")), "2025-06-15T16:20");
        assert_eq!(read("250615162000", Some("202")), "2025-06-15T16:20");
        assert_eq!(read("202506151620CET", Some("303")), "2025-06-15T16:20");
        assert_eq!(read("150625", Some("2")), "2025-06-15");
        assert_eq!(read("2412312400", Some("201")), "2025-01-01T00:00");
        assert_eq!(read("250600", None), "partly");
        assert_eq!(read("000000", None), "partly");
        assert_eq!(read("251315", None), "no");
        assert_eq!(read("250230", None), "no");
        assert_eq!(read("2506152561", Some("201")), "no");
        assert_eq!(read("SOON", None), "no");
        assert_eq!(read("", None), "no");
    }

    #[test]
    fn births_lie_before_and_expiries_around_the_reference() {
        let reference = Date::new(2025, 6, 15).unwrap();
        let birth = |year, month, day| Century::Birth(reference).year(year, month, day);
        assert_eq!(birth(25, 6, 15), 2025);
        assert_eq!(birth(25, 6, 16), 1925);
        assert_eq!(birth(99, 1, 1), 1999);
        let expiry = |year| Century::Expiry(reference).year(year, 1, 1);
        assert_eq!((expiry(75), expiry(76), expiry(24), expiry(61)), (2075, 1976, 2024, 2061));
    }
}

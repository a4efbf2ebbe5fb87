//! Dates and times of day without a clock: the one calendar of all machines.

use crate::ids::UnixMs;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// Days from the first of March of the year 0 to the first of January 1970.
const EPOCH_DAYS: i64 = 719_468;

/// The UTC date of a time as YYYYMMDD (Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days).
pub fn yyyymmdd(at: UnixMs) -> u32 {
    let days = i64::try_from(at.0 / DAY_MS).unwrap_or(0) + EPOCH_DAYS;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year * 10_000 + month * 100 + day) as u32
}

/// The time of a UTC date and clock time (the inverse, days_from_civil). A time before 1970 is 0.
pub fn unix_ms(year: u32, month: u32, day: u32, hour: u32, minute: u32) -> UnixMs {
    let (month_i, day_i) = (i64::from(month), i64::from(day));
    let year_i = i64::from(year) - i64::from(month <= 2);
    let era = year_i.div_euclid(400);
    let year_of_era = year_i.rem_euclid(400);
    let day_of_year = (153 * (if month_i > 2 { month_i - 3 } else { month_i + 9 }) + 2) / 5 + day_i - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - EPOCH_DAYS;
    let minutes = days * 1_440 + i64::from(hour) * 60 + i64::from(minute);
    UnixMs(u64::try_from(minutes * 60_000).unwrap_or(0))
}

/// Days of a month, 1 to 12, of the proleptic Gregorian calendar.
pub fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_go_both_ways() {
        for (year, month, day) in [(1970, 1, 1), (2000, 2, 29), (2026, 11, 23), (2100, 3, 1), (2096, 12, 31)] {
            assert_eq!(yyyymmdd(unix_ms(year, month, day, 13, 5)), year * 10_000 + month * 100 + day);
        }
        assert_eq!(unix_ms(2001, 9, 9, 1, 46), UnixMs(999_999_960_000));
    }

    #[test]
    fn both_ways_agree_with_the_lengths_of_months() {
        for year in [1999, 2000, 2024, 2026, 2100] {
            for month in 1..=12 {
                let last = u32::from(days_in_month(year, month));
                let (year, month) = (u32::from(year), u32::from(month));
                let after = UnixMs(unix_ms(year, month, last, 0, 0).0 + DAY_MS);
                assert_eq!(yyyymmdd(after) % 100, 1, "the day after {year}-{month}-{last}");
            }
        }
    }
}

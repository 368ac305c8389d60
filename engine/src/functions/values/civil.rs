//! Calendar arithmetic and ISO texts of DATE, TIME and TIMESTAMP.
//!
//! | text | TIMESTAMP |
//! |---|---|
//! | `2020` | 2020-01-01T00:00:00.000 |
//! | `2020-02-03T04` | 2020-02-03T04:00:00.000 |
//! | `2020-02-03T04:05:06.7+0100` | 2020-02-03T03:05:06.700 |
//!
//! Missing parts are zero or one, an offset is optional, UTC otherwise (ksqlDB: *Time and windows, timestamp strings*).

use std::fmt::Write;

pub const DAY_MS: i64 = 86_400_000;

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar.
pub fn days_of(year: i64, month: u32, day: u32) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day number.
pub fn date_of(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

pub fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// `2020-02-03`.
pub fn write_date(days: i64, out: &mut String) {
    let (year, month, day) = date_of(days);
    let sign = match year {
        ..0 => "-",
        10_000.. => "+",
        _ => "",
    };
    let _ = write!(out, "{sign}{:04}-{month:02}-{day:02}", year.abs());
}

/// `04:05` or `04:05:06`; milliseconds are cut (ksqlDB).
pub fn write_time(ms: i64, out: &mut String) {
    let seconds = ms.rem_euclid(DAY_MS) / 1000;
    let _ = write!(out, "{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    if seconds % 60 != 0 {
        let _ = write!(out, ":{:02}", seconds % 60);
    }
}

/// `2020-02-03T04:05:06.007`.
pub fn write_timestamp(ms: i64, out: &mut String) {
    write_date(ms.div_euclid(DAY_MS), out);
    let of_day = ms.rem_euclid(DAY_MS);
    let (seconds, millis) = (of_day / 1000, of_day % 1000);
    let _ = write!(out, "T{:02}:{:02}:{:02}.{millis:03}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

/// Milliseconds since the epoch of a timestamp text; see the module's table.
pub fn parse_timestamp(text: &str) -> Result<i64, String> {
    let trimmed = text.trim();
    let (date, rest) = match trimmed.split_once('T') {
        Some((date, rest)) => (date, rest),
        None => (trimmed, ""),
    };
    let parsed = partial_date(date).and_then(|days| {
        let (time, offset_ms) = split_offset(rest)?;
        let of_day = if time.is_empty() { 0 } else { time_of_day(time)? };
        days.checked_mul(DAY_MS)?.checked_add(of_day)?.checked_sub(offset_ms)
    });
    parsed.ok_or_else(|| {
        format!(
            "Failed to parse timestamp '{text}'. Required format is: \"yyyy-MM-dd'T'HH:mm:ss.SSS\", with an optional \
             numeric 4-digit timezone, for example: '2020-05-26T23.59.58.000' or with tz: \
             '2020-05-26T23.59.58.000+0200'. Partials are also supported, for example \"2020-05-26\""
        )
    })
}

/// Days since the epoch of a date text, whose month and day may be missing.
pub fn parse_date(text: &str) -> Result<i32, String> {
    partial_date(text.trim())
        .and_then(|days| i32::try_from(days).ok())
        .ok_or_else(|| format!("Failed to parse date '{text}'. Required format is: \"yyyy-MM-dd\""))
}

/// Milliseconds of the day of a time text: `HH:mm[:ss[.SSS]]`.
pub fn parse_time(text: &str) -> Result<i32, String> {
    let trimmed = text.trim();
    let parsed = if trimmed.contains(':') { time_of_day(trimmed) } else { None };
    parsed
        .map(|ms| ms as i32)
        .ok_or_else(|| format!("Failed to parse time '{text}'. Required format is: \"HH:mm:ss.SSS\""))
}

fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<i64> {
    (digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// `yyyy-MM-dd` with nothing missing; None for all else.
fn whole_date(text: &str) -> Option<i64> {
    let bytes: &[u8; 10] = text.as_bytes().try_into().ok()?;
    let digit = |at: usize| bytes[at].wrapping_sub(b'0');
    let digits = [0, 1, 2, 3, 5, 6, 8, 9];
    if bytes[4] != b'-' || bytes[7] != b'-' || digits.iter().any(|&at| digit(at) > 9) {
        return None;
    }
    let number = |from: usize, to: usize| (from..to).fold(0, |n, at| n * 10 + i64::from(digit(at)));
    let (year, month, day) = (number(0, 4), number(5, 7) as u32, number(8, 10) as u32);
    let valid = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    valid.then(|| days_of(year, month, day))
}

fn partial_date(text: &str) -> Option<i64> {
    if let Some(days) = whole_date(text) {
        return Some(days);
    }
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.split('-');
    let year = number(parts.next()?, 4..=9)? * if negative { -1 } else { 1 };
    let month = parts.next().map_or(Some(1), |p| number(p, 1..=2))? as u32;
    let day = parts.next().map_or(Some(1), |p| number(p, 1..=2))? as u32;
    let valid = parts.next().is_none() && (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    valid.then(|| days_of(year, month, day))
}

/// Splits a trailing `Z`, `+HHMM` or `+HH:MM` off.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(time) = text.strip_suffix('Z') {
        return Some((time, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let (time, offset) = text.split_at(at);
    let digits = offset[1..].replace(':', "");
    let value = number(&digits, 4..=4)?;
    let ms = (value / 100 * 60 + value % 100) * 60_000;
    Some((time, if offset.starts_with('-') { -ms } else { ms }))
}

fn time_of_day(text: &str) -> Option<i64> {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (text, None),
    };
    let mut parts = clock.split(':');
    let hour = number(parts.next()?, 1..=2)?;
    let minute = parts.next().map_or(Some(0), |p| number(p, 1..=2))?;
    let second = parts.next();
    if fraction.is_some() && second.is_none() {
        return None;
    }
    let second = second.map_or(Some(0), |p| number(p, 1..=2))?;
    let millis = match fraction {
        None => 0,
        Some(digits) => {
            number(digits, 1..=9)?;
            format!("{digits:0<3}")[..3].parse().ok()?
        }
    };
    let valid = parts.next().is_none() && hour < 24 && minute < 60 && second < 60;
    valid.then_some(((hour * 60 + minute) * 60 + second) * 1000 + millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse() {
        for days in (-800_000..800_000).step_by(97) {
            let (year, month, day) = date_of(days);
            assert_eq!(days_of(year, month, day), days);
        }
        assert_eq!(date_of(0), (1970, 1, 1));
    }

    #[test]
    fn timestamps_may_be_partial_and_carry_an_offset() {
        for (text, ms) in [
            ("1970", 0),
            ("1970-01-02", DAY_MS),
            ("1970-01-01T01", 3_600_000),
            ("1970-01-01T00:00:01", 1000),
            ("1970-01-01T00:00:00.01", 10),
            (" 1970-01-01T01:00:00.000+0100 ", 0),
            ("1969-12-31T23:59:59.999Z", -1),
        ] {
            assert_eq!(parse_timestamp(text), Ok(ms), "{text}");
        }
        for text in ["foo", "", "1970-13", "1970-02-30", "1970-01-01T25", "1970-01-01T00.5"] {
            assert!(parse_timestamp(text).is_err(), "{text}");
        }
    }
}

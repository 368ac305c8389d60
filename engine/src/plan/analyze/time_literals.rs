//! Dates and times written as text, as ksqlDB reads them: missing parts are zero, the zone is UTC unless given.
//!
//! | text | as TIMESTAMP |
//! |---|---|
//! | `2018` | 2018-01-01T00:00:00.000 |
//! | `2018-04` | 2018-04-01T00:00:00.000 |
//! | `2018-04-12T10` | 2018-04-12T10:00:00.000 |
//! | `2018-04-12T10:30:00.5+0445` | 2018-04-12T05:45:00.500 |
//!
//! DATE takes the date part alone, TIME `HH:mm[:ss[.fraction]]`.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Timelike};

/// Milliseconds since 1970-01-01T00:00:00 UTC.
pub fn timestamp(text: &str) -> Result<i64, String> {
    parse_timestamp(text).ok_or_else(|| {
        format!(
            "Failed to parse timestamp '{text}'. Required format is: \"yyyy-MM-dd'T'HH:mm:ss.SSS\", with an optional \
             numeric 4-digit timezone, for example: '2020-05-26T23.59.58.000' or with tz: '2020-05-26T23.59.58.000+0200'. \
             Partials are also supported, for example \"2020-05-26\""
        )
    })
}

/// Days since 1970-01-01.
pub fn date(text: &str) -> Result<i32, String> {
    parse_date(text)
        .and_then(|date| i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok())
        .ok_or_else(|| {
            format!(
                "Failed to parse date '{text}'. Required format is: \"yyyy-MM-dd\". Partials are also supported, for \
                 example \"2020-05\""
            )
        })
}

/// Milliseconds of the day.
pub fn time(text: &str) -> Result<i32, String> {
    parse_time(text.trim(), false)
        .map(|t| (t.num_seconds_from_midnight() * 1000 + t.nanosecond() / 1_000_000) as i32)
        .ok_or_else(|| format!("Failed to parse time '{text}'. Required format is: \"HH:mm:ss.SSS\""))
}

fn parse_timestamp(text: &str) -> Option<i64> {
    let text = text.trim();
    let Some((date, rest)) = text.split_once('T') else {
        return Some(midnight(parse_date(text)?).and_utc().timestamp_millis());
    };
    let date = parse_date(date)?;
    let (time, zone) = match rest.find(['+', '-', 'Z']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let time = if time.is_empty() { NaiveTime::default() } else { parse_time(time, true)? };
    let local = NaiveDateTime::new(date, time);
    Some(local.and_utc().timestamp_millis() - offset_ms(zone, local)?)
}

fn midnight(date: NaiveDate) -> NaiveDateTime {
    NaiveDateTime::new(date, NaiveTime::default())
}

/// `yyyy[-MM[-dd]]`.
fn parse_date(text: &str) -> Option<NaiveDate> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = digits.split('-');
    let year = number(parts.next()?, 4..=9)?;
    let month = parts.next().map_or(Some(1), |p| number(p, 1..=2))?;
    let day = parts.next().map_or(Some(1), |p| number(p, 1..=2))?;
    if parts.next().is_some() {
        return None;
    }
    let year = i32::try_from(year).ok()?;
    NaiveDate::from_ymd_opt(if negative { -year } else { year }, month, day)
}

/// `HH[:mm[:ss[.fraction]]]`; TIME needs the minutes.
fn parse_time(text: &str, partial: bool) -> Option<NaiveTime> {
    let mut parts = text.split(':');
    let hour = number(parts.next()?, 1..=2)?;
    let minute = match parts.next() {
        Some(part) => number(part, 1..=2)?,
        None if partial => 0,
        None => return None,
    };
    let (second, nano) = match parts.next() {
        Some(part) => {
            let (second, fraction) = part.split_once('.').unwrap_or((part, "0"));
            (number(second, 1..=2)?, number(&format!("{fraction:0<9}"), 9..=9)?)
        }
        None => (0, 0),
    };
    if parts.next().is_some() {
        return None;
    }
    NaiveTime::from_hms_nano_opt(hour, minute, second, nano)
}

/// `Z`, `+0445`, `+04:45`, `-08`.
fn offset_ms(zone: &str, local: NaiveDateTime) -> Option<i64> {
    if zone.is_empty() || zone == "Z" {
        return Some(0);
    }
    let (sign, digits) = match zone.as_bytes().first()? {
        b'+' => (1, &zone[1..]),
        b'-' => (-1, &zone[1..]),
        _ => {
            let zone: chrono_tz::Tz = zone.parse().ok()?;
            return Some(i64::from(zone.offset_from_utc_datetime(&local).fix().local_minus_utc()) * 1000);
        }
    };
    let digits: String = digits.split(':').collect();
    let (hours, minutes) = match digits.len() {
        1 | 2 => (number(&digits, 1..=2)?, 0),
        4 if digits.is_ascii() => (number(&digits[..2], 2..=2)?, number(&digits[2..], 2..=2)?),
        _ => return None,
    };
    (hours <= 18 && minutes < 60).then(|| sign * i64::from(hours * 60 + minutes) * 60_000)
}

/// Only ASCII digits, of this many.
fn number(text: &str, len: std::ops::RangeInclusive<usize>) -> Option<u32> {
    if !len.contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_are_zero() {
        assert_eq!(timestamp("2018"), Ok(1_514_764_800_000));
        assert_eq!(timestamp("2018-01"), Ok(1_514_764_800_000));
        assert_eq!(timestamp("2018-01-01T00:00:00.001"), Ok(1_514_764_800_001));
        assert_eq!(timestamp("1970-01-01T10"), Ok(36_000_000));
        assert_eq!(timestamp("1970-01-01T10:30"), Ok(37_800_000));
    }

    #[test]
    fn offsets_are_taken_off() {
        assert_eq!(timestamp("2019-01-01T00:00:00+0445"), Ok(1_546_300_800_000 - 17_100_000));
        assert_eq!(timestamp("2020-02-10T08:31:44.001+0000"), Ok(1_581_323_504_001));
        assert_eq!(timestamp("1970-01-01T00:00:00-01:30"), Ok(5_400_000));
        assert_eq!(timestamp("1970-01-01T00:00:00Z"), Ok(0));
    }

    #[test]
    fn dates_and_times_read_alone() {
        assert_eq!(date("1970-01-11"), Ok(10));
        assert_eq!(date("1969"), Ok(-365));
        assert_eq!(time("00:00:00.010"), Ok(10));
        assert_eq!(time("10:30"), Ok(37_800_000));
        for bad in ["", "x", "2020-13", "2020-01-01-01", "20", "2020-01-01T25", "2020-01-01T1:2:3:4", "é-1"] {
            assert!(timestamp(bad).is_err(), "{bad}");
        }
        assert!(time("25:00").is_err());
        assert!(time("10").is_err());
    }
}

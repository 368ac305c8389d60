//! Dates and times as ISO text, as query answers and TO_JSON_STRING show them.
//!
//! | type | stored | text |
//! |---|---|---|
//! | DATE | 1 | `1970-01-02` |
//! | TIME | 60220000 | `16:43:40` (milliseconds only if there are some; seconds likewise) |
//! | TIMESTAMP | 60220000000 | `1971-11-28T23:46:40.000` |

use super::number::push_fmt;

const DAY_MS: i64 = 86_400_000;

/// Days since 1970-01-01.
pub fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil(days);
    match year {
        0..=9999 => push_fmt(out, format_args!("{year:04}-{month:02}-{day:02}")),
        10_000.. => push_fmt(out, format_args!("+{year}-{month:02}-{day:02}")),
        _ => push_fmt(out, format_args!("-{:04}-{month:02}-{day:02}", year.unsigned_abs())),
    }
}

/// Milliseconds of the day.
pub fn write_time(ms: i64, out: &mut Vec<u8>) {
    let (hour, minute, second, milli) = clock(ms.rem_euclid(DAY_MS));
    push_fmt(out, format_args!("{hour:02}:{minute:02}"));
    if second != 0 || milli != 0 {
        push_fmt(out, format_args!(":{second:02}"));
    }
    if milli != 0 {
        push_fmt(out, format_args!(".{milli:03}"));
    }
}

/// Milliseconds since 1970-01-01.
pub fn write_timestamp(ms: i64, out: &mut Vec<u8>) {
    write_date(ms.div_euclid(DAY_MS), out);
    let (hour, minute, second, milli) = clock(ms.rem_euclid(DAY_MS));
    push_fmt(out, format_args!("T{hour:02}:{minute:02}:{second:02}.{milli:03}"));
}

fn clock(ms: i64) -> (i64, i64, i64, i64) {
    (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

/// Year, month, day of the proleptic Gregorian calendar. Years are counted from March, in eras of 400 years.
pub(super) fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Days since 1970-01-01 of a day that exists, of a year of at most seven digits.
pub(super) fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(-9_999_999..=9_999_999).contains(&year) {
        return None;
    }
    let shifted = year - i64::from(month <= 2);
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }).clamp(0, 11) + 2) / 5 + day.clamp(1, 31) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    (civil(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn days_and_dates_are_inverse() {
        for days in (-3_000_000..3_000_000).step_by(977) {
            let (year, month, day) = civil(days);
            assert_eq!(days_from_civil(year, month, day), Some(days));
        }
        assert_eq!(days_from_civil(2023, 2, 29), None);
        assert_eq!(days_from_civil(2023, 13, 1), None);
    }

    #[test]
    fn dates_and_times_are_iso_text() {
        assert_eq!(text(|o| write_date(-1, o)), "1969-12-31");
        assert_eq!(text(|o| write_date(11_016, o)), "2000-02-29");
        assert_eq!(text(|o| write_time(60_220_000, o)), "16:43:40");
        assert_eq!(text(|o| write_time(60_000_000, o)), "16:40");
        assert_eq!(text(|o| write_time(1, o)), "00:00:00.001");
        assert_eq!(text(|o| write_timestamp(60_220_000_000, o)), "1971-11-28T23:46:40.000");
        assert_eq!(text(|o| write_timestamp(-1, o)), "1969-12-31T23:59:59.999");
    }
}

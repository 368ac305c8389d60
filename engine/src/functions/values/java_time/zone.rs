//! Time zones: `UTC`, `+0200`, `America/Los_Angeles`, and the abbreviations texts use.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{OffsetName, Tz};

#[derive(Debug, Clone, PartialEq)]
pub enum Zone {
    /// Seconds east of UTC.
    Fixed(i64),
    Named(Tz),
}

/// What abbreviations mean in a text: the region, whose summer time decides (Java: `PST` in May is seven hours).
const ABBREVIATIONS: [(&str, &str); 42] = [
    ("UTC", "UTC"),
    ("GMT", "Etc/GMT"),
    ("UT", "UTC"),
    ("WET", "Europe/Lisbon"),
    ("WEST", "Europe/Lisbon"),
    ("BST", "Europe/London"),
    ("CET", "Europe/Paris"),
    ("CEST", "Europe/Paris"),
    ("MET", "Europe/Paris"),
    ("MEST", "Europe/Paris"),
    ("EET", "Europe/Bucharest"),
    ("EEST", "Europe/Bucharest"),
    ("MSK", "Europe/Moscow"),
    ("IST", "Asia/Kolkata"),
    ("PKT", "Asia/Karachi"),
    ("ICT", "Asia/Bangkok"),
    ("WIB", "Asia/Jakarta"),
    ("HKT", "Asia/Hong_Kong"),
    ("SGT", "Asia/Singapore"),
    ("PHT", "Asia/Manila"),
    ("KST", "Asia/Seoul"),
    ("JST", "Asia/Tokyo"),
    ("AWST", "Australia/Perth"),
    ("ACST", "Australia/Adelaide"),
    ("ACDT", "Australia/Adelaide"),
    ("AEST", "Australia/Sydney"),
    ("AEDT", "Australia/Sydney"),
    ("NZST", "Pacific/Auckland"),
    ("NZDT", "Pacific/Auckland"),
    ("HST", "Pacific/Honolulu"),
    ("AKST", "America/Anchorage"),
    ("AKDT", "America/Anchorage"),
    ("PST", "America/Los_Angeles"),
    ("PDT", "America/Los_Angeles"),
    ("MST", "America/Denver"),
    ("MDT", "America/Denver"),
    ("CST", "America/Chicago"),
    ("CDT", "America/Chicago"),
    ("EST", "America/New_York"),
    ("EDT", "America/New_York"),
    ("AST", "America/Halifax"),
    ("ADT", "America/Halifax"),
];

/// Names in full, for `zzzz`.
const FULL_NAMES: [(&str, &str); 20] = [
    ("UTC", "Coordinated Universal Time"),
    ("GMT", "Greenwich Mean Time"),
    ("BST", "British Summer Time"),
    ("CET", "Central European Standard Time"),
    ("CEST", "Central European Summer Time"),
    ("EET", "Eastern European Standard Time"),
    ("EEST", "Eastern European Summer Time"),
    ("MSK", "Moscow Standard Time"),
    ("IST", "India Standard Time"),
    ("JST", "Japan Standard Time"),
    ("AEST", "Australian Eastern Standard Time"),
    ("AEDT", "Australian Eastern Daylight Time"),
    ("PST", "Pacific Standard Time"),
    ("PDT", "Pacific Daylight Time"),
    ("MST", "Mountain Standard Time"),
    ("MDT", "Mountain Daylight Time"),
    ("CST", "Central Standard Time"),
    ("CDT", "Central Daylight Time"),
    ("EST", "Eastern Standard Time"),
    ("EDT", "Eastern Daylight Time"),
];

impl Zone {
    pub const UTC: Zone = Zone::Named(Tz::UTC);

    /// As `ZoneId.of`: an offset, `UTC`, `GMT` or `UT` with an offset, or a region.
    pub fn new(id: &str) -> Result<Zone, String> {
        let unknown = || format!("Unknown or invalid time-zone ID: {id}");
        if id == "Z" {
            return Ok(Zone::Fixed(0));
        }
        if let Ok(region) = id.parse::<Tz>() {
            return Ok(Zone::Named(region));
        }
        let offset = ["UTC", "GMT", "UT"].iter().find_map(|prefix| id.strip_prefix(prefix)).unwrap_or(id);
        offset_of(offset).map(Zone::Fixed).ok_or_else(unknown)
    }

    /// An abbreviation, in any case.
    pub(super) fn abbreviated(name: &str) -> Option<Zone> {
        let (_, region) = ABBREVIATIONS.iter().find(|(short, _)| short.eq_ignore_ascii_case(name))?;
        region.parse::<Tz>().ok().map(Zone::Named)
    }

    /// Seconds east of UTC at an instant.
    pub fn offset_at(&self, utc_ms: i64) -> i64 {
        match self {
            Zone::Fixed(seconds) => *seconds,
            Zone::Named(region) => match naive(utc_ms) {
                Some(utc) => i64::from(region.offset_from_utc_datetime(&utc).fix().local_minus_utc()),
                None => 0,
            },
        }
    }

    /// The instant of a local time. Of two the earlier; a time that a clock change skips moves on by the gap.
    pub fn to_utc(&self, local_ms: i64) -> i64 {
        let region = match self {
            Zone::Fixed(seconds) => return local_ms - seconds * 1000,
            Zone::Named(region) => region,
        };
        let Some(local) = naive(local_ms) else { return local_ms };
        let offset = match region.offset_from_local_datetime(&local) {
            LocalResult::Single(offset) | LocalResult::Ambiguous(offset, _) => {
                i64::from(offset.fix().local_minus_utc())
            }
            LocalResult::None => {
                const BEFORE_ANY_GAP_MS: i64 = 24 * 3_600_000;
                self.offset_at(local_ms - BEFORE_ANY_GAP_MS)
            }
        };
        local_ms - offset * 1000
    }

    pub fn id(&self) -> String {
        match self {
            Zone::Fixed(0) => "Z".to_string(),
            Zone::Fixed(seconds) => {
                let sign = if *seconds < 0 { '-' } else { '+' };
                let minutes = seconds.abs() / 60;
                format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
            Zone::Named(region) => region.name().to_string(),
        }
    }

    /// The abbreviation at an instant, or the name in full.
    pub(super) fn name_at(&self, utc_ms: i64, full: bool) -> String {
        let Zone::Named(region) = self else { return self.id() };
        let short = naive(utc_ms)
            .and_then(|utc| region.offset_from_utc_datetime(&utc).abbreviation().map(str::to_string))
            .unwrap_or_else(|| self.id());
        match FULL_NAMES.iter().find(|(name, _)| full && *name == short) {
            Some((_, name)) => name.to_string(),
            None => short,
        }
    }
}

fn naive(ms: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_millis(ms).map(|t| t.naive_utc())
}

/// Seconds of `+h`, `+hh`, `+hhmm`, `+hh:mm`.
fn offset_of(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |d| d.parse::<i64>().ok());
    let (hours, minutes, seconds) = match digits.len() {
        1 => (part(0, 1)?, 0, 0),
        2 => (part(0, 2)?, 0, 0),
        4 => (part(0, 2)?, part(2, 4)?, 0),
        6 => (part(0, 2)?, part(2, 4)?, part(4, 6)?),
        _ => return None,
    };
    (hours <= 18 && minutes < 60 && seconds < 60).then_some(sign * (hours * 3600 + minutes * 60 + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_offsets_or_regions() {
        assert_eq!(Zone::new("+0200"), Ok(Zone::Fixed(7200)));
        assert_eq!(Zone::new("UTC-05:30"), Ok(Zone::Fixed(-19_800)));
        assert_eq!(Zone::new("Europe/London").unwrap().offset_at(1_526_075_913_000), 3600);
        assert!(Zone::new("Nowhere").is_err());
    }

    #[test]
    fn a_skipped_local_time_moves_on() {
        // 2021-03-28 01:30 does not exist in London: the clock goes from 01:00 to 02:00.
        let london = Zone::new("Europe/London").unwrap();
        assert_eq!(london.to_utc(1_616_895_000_000), 1_616_895_000_000);
    }
}

//! Patterns of Java's `DateTimeFormatter`: `yyyy-MM-dd'T'HH:mm:ss.SSSX`.
//!
//! A pattern is read once into items; the same items format and parse. Letters: `G u y M L Q d D E e a h H k K m s S A n
//! N z Z X x O V`, quoted text, `[optional]` parts. Parsing ignores case; what a text does not say is 1970-01-01T00:00 in
//! the caller's zone (ksqlDB: `StringToTimestampParser`). Names are English.
//!
//! | pattern | text | time |
//! |---|---|---|
//! | `dd-MMM-yyyy` | `01-JAN-2022` | 2022-01-01 |
//! | `yyyy-MM-dd HH:mm:ss zzz` | `2018-05-11 21:58:33 PST` | 04:58:33 of the next day in UTC: the zone, in summer |
//! | `yyyy-MM-dd'T'HH:mm:ss.SX` | `2019-08-27T13:31:09.2+0000` | with its own offset |

mod format;
mod parse;
mod zone;

pub use zone::Zone;

use super::civil::{DAY_MS, date_of};

/// A pattern, read once.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq)]
enum Item {
    Literal(String),
    /// Digits: at least and at most so many; more than `min` digits of a year need a sign.
    Number {
        field: Field,
        min: usize,
        max: usize,
    },
    /// The last two digits of a year from 2000 to 2099.
    TwoDigitYear,
    Text {
        field: Field,
        style: Style,
    },
    /// Digits of the second's fraction.
    Fraction(usize),
    Offset(OffsetStyle),
    /// `z`: `PDT`, or `Pacific Daylight Time`.
    ZoneName {
        full: bool,
    },
    /// `VV`: `America/Los_Angeles`.
    ZoneId,
    Optional(Vec<Item>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Era,
    Year,
    Quarter,
    Month,
    Day,
    DayOfYear,
    /// Monday is 1.
    Weekday,
    /// Sunday is 1.
    LocalWeekday,
    AmPm,
    /// 0 to 23.
    Hour,
    /// 1 to 24.
    ClockHour,
    /// 0 to 11.
    HourOfHalf,
    /// 1 to 12.
    ClockHourOfHalf,
    Minute,
    Second,
    Nano,
    MilliOfDay,
    NanoOfDay,
}

impl Field {
    fn is_of_date(self) -> bool {
        self <= Field::LocalWeekday
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Short,
    Full,
    Narrow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OffsetStyle {
    /// What offset zero prints: `Z`, `GMT`, or digits.
    zero: Zero,
    prefix: &'static str,
    colon: bool,
    /// Minutes are left out when zero.
    short: bool,
    /// Hours without a leading zero.
    unpadded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zero {
    Letter,
    Prefix,
    Digits,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// The text of a value of a field that has names; values count from the field's first.
fn name_of(field: Field, style: Style, value: i64) -> Option<String> {
    let index = usize::try_from(value).ok()?;
    let full = match field {
        Field::Month => MONTHS.get(index.checked_sub(1)?)?.to_string(),
        Field::Weekday | Field::LocalWeekday => WEEKDAYS.get(index.checked_sub(1)?)?.to_string(),
        Field::AmPm => return ["AM", "PM"].get(index).map(ToString::to_string),
        Field::Era if style == Style::Full => {
            return ["Before Christ", "Anno Domini"].get(index).map(ToString::to_string);
        }
        Field::Era => return ["BC", "AD"].get(index).map(ToString::to_string),
        Field::Quarter if style == Style::Full => {
            return ["1st quarter", "2nd quarter", "3rd quarter", "4th quarter"]
                .get(index.checked_sub(1)?)
                .map(ToString::to_string);
        }
        Field::Quarter => return (1..=4).contains(&value).then(|| format!("Q{value}")),
        _ => return None,
    };
    Some(match style {
        Style::Full => full,
        Style::Short => full[..3].to_string(),
        Style::Narrow => full[..1].to_string(),
    })
}

impl Pattern {
    pub fn new(pattern: &str) -> Result<Self, String> {
        let mut groups: Vec<Vec<Item>> = vec![Vec::new()];
        let chars: Vec<char> = pattern.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let c = chars[at];
            let innermost = groups.last_mut().expect("there is always an outermost group");
            match c {
                '\'' => {
                    let (text, next) = quoted(&chars, at, pattern)?;
                    push_literal(innermost, &text);
                    at = next;
                    continue;
                }
                '[' => groups.push(Vec::new()),
                ']' => {
                    if groups.len() == 1 {
                        return Err(format!("Pattern invalid as it contains ] without previous [: {pattern}"));
                    }
                    let inner = groups.pop().unwrap_or_default();
                    groups.last_mut().expect("an inner group has an outer one").push(Item::Optional(inner));
                }
                '{' | '}' | '#' => return Err(format!("Pattern includes reserved character: '{c}'")),
                c if c.is_ascii_alphabetic() => {
                    let count = chars[at..].iter().take_while(|other| **other == c).count();
                    innermost.push(item(c, count)?);
                    at += count;
                    continue;
                }
                c => push_literal(innermost, &c.to_string()),
            }
            at += 1;
        }
        // An optional part that is not closed ends with the pattern.
        while groups.len() > 1 {
            let inner = groups.pop().unwrap_or_default();
            groups.last_mut().expect("an inner group has an outer one").push(Item::Optional(inner));
        }
        Ok(Self { items: groups.pop().unwrap_or_default() })
    }

    pub fn format_date(&self, days: i32) -> Result<String, String> {
        let moment = Moment { local_ms: i64::from(days) * DAY_MS, has_date: true, has_time: false, zone: None };
        self.write(&moment)
    }

    pub fn format_time(&self, ms_of_day: i32) -> Result<String, String> {
        self.write(&Moment { local_ms: i64::from(ms_of_day), has_date: false, has_time: true, zone: None })
    }

    pub fn format_timestamp(&self, ms: i64, zone: &Zone) -> Result<String, String> {
        let offset_ms = zone.offset_at(ms) * 1000;
        let local_ms = ms.checked_add(offset_ms).ok_or("the time is out of range")?;
        self.write(&Moment { local_ms, has_date: true, has_time: true, zone: Some((zone, offset_ms / 1000, ms)) })
    }

    /// Milliseconds since the epoch; a zone in the text comes before `zone`.
    pub fn parse_timestamp(&self, text: &str, zone: &Zone) -> Result<i64, String> {
        let parsed = self.read(text)?;
        let of_day = parsed.ms_of_day()?;
        let local_ms = parsed.days()?.checked_mul(DAY_MS).and_then(|ms| ms.checked_add(of_day));
        let local_ms =
            local_ms.ok_or_else(|| format!("Text '{text}' could not be parsed: the time is out of range"))?;
        Ok(parsed.zone().unwrap_or(zone).to_utc(local_ms))
    }

    pub fn parse_date(&self, text: &str) -> Result<i32, String> {
        let parsed = self.read(text)?;
        if parsed.fields().any(|f| !f.is_of_date()) {
            return Err("Date format contains time field.".to_string());
        }
        i32::try_from(parsed.days()?).map_err(|_| format!("Text '{text}' could not be parsed: out of range"))
    }

    pub fn parse_time(&self, text: &str) -> Result<i32, String> {
        let parsed = self.read(text)?;
        if parsed.fields().any(Field::is_of_date) {
            return Err("Time format contains date field.".to_string());
        }
        if !parsed.has_hour() {
            return Err(format!("Text '{text}' could not be parsed: Unable to obtain LocalTime from it"));
        }
        Ok(parsed.ms_of_day()? as i32)
    }

    /// A date that names year, month and day, or year and day of the year; a time of day beside it does not count.
    pub fn parse_whole_date(&self, text: &str) -> Result<i32, String> {
        let parsed = self.read(text)?;
        if !parsed.has_whole_date() {
            return Err(format!("Text '{text}' could not be parsed: Unable to obtain LocalDate from it"));
        }
        i32::try_from(parsed.days()?).map_err(|_| format!("Text '{text}' could not be parsed: out of range"))
    }
}

/// What is formatted: a local time, and which halves of it there are.
struct Moment<'a> {
    local_ms: i64,
    has_date: bool,
    has_time: bool,
    /// Zone, its offset in seconds, and the instant.
    zone: Option<(&'a Zone, i64, i64)>,
}

impl Moment<'_> {
    fn get(&self, field: Field) -> Result<i64, String> {
        if field.is_of_date() && !self.has_date || !field.is_of_date() && !self.has_time {
            return Err(format!("Unsupported field: {field:?}"));
        }
        let days = self.local_ms.div_euclid(DAY_MS);
        let ms = self.local_ms.rem_euclid(DAY_MS);
        let (year, month, day) = date_of(days);
        let weekday = (days + 3).rem_euclid(7) + 1;
        let hour = ms / 3_600_000;
        Ok(match field {
            Field::Era => i64::from(year > 0),
            Field::Year => year,
            Field::Quarter => i64::from((month - 1) / 3 + 1),
            Field::Month => i64::from(month),
            Field::Day => i64::from(day),
            Field::DayOfYear => days - super::civil::days_of(year, 1, 1) + 1,
            Field::Weekday => weekday,
            Field::LocalWeekday => weekday % 7 + 1,
            Field::AmPm => hour / 12,
            Field::Hour => hour,
            Field::ClockHour => {
                if hour == 0 {
                    24
                } else {
                    hour
                }
            }
            Field::HourOfHalf => hour % 12,
            Field::ClockHourOfHalf => {
                if hour % 12 == 0 {
                    12
                } else {
                    hour % 12
                }
            }
            Field::Minute => ms / 60_000 % 60,
            Field::Second => ms / 1000 % 60,
            Field::Nano => ms % 1000 * 1_000_000,
            Field::MilliOfDay => ms,
            Field::NanoOfDay => ms * 1_000_000,
        })
    }
}

fn push_literal(items: &mut Vec<Item>, text: &str) {
    match items.last_mut() {
        Some(Item::Literal(before)) => before.push_str(text),
        _ => items.push(Item::Literal(text.to_string())),
    }
}

/// `'text'`, in which `''` is a quote; `''` by itself is one too.
fn quoted(chars: &[char], start: usize, pattern: &str) -> Result<(String, usize), String> {
    let mut text = String::new();
    let mut at = start + 1;
    while let Some(c) = chars.get(at) {
        if *c != '\'' {
            text.push(*c);
            at += 1;
        } else if chars.get(at + 1) == Some(&'\'') {
            text.push('\'');
            at += 2;
        } else {
            return Ok((if text.is_empty() { "'".to_string() } else { text }, at + 1));
        }
    }
    Err(format!("Pattern ends with an incomplete string literal: {pattern}"))
}

/// Digits without an upper bound, as Java takes them.
const DIGITS_MAX: usize = 19;

fn item(letter: char, count: usize) -> Result<Item, String> {
    let too_many = || format!("Too many pattern letters: {letter}");
    let number = |field: Field, widest: usize| match count {
        1 => Ok(Item::Number { field, min: 1, max: DIGITS_MAX }),
        _ if count <= widest => Ok(Item::Number { field, min: count, max: count }),
        _ => Err(too_many()),
    };
    let text = |field: Field| match count {
        1..=3 => Ok(Item::Text { field, style: Style::Short }),
        4 => Ok(Item::Text { field, style: Style::Full }),
        5 => Ok(Item::Text { field, style: Style::Narrow }),
        _ => Err(too_many()),
    };
    let offset =
        |zero, prefix, colon, short, unpadded| Ok(Item::Offset(OffsetStyle { zero, prefix, colon, short, unpadded }));
    match letter {
        'u' | 'y' | 'Y' => Ok(match count {
            2 => Item::TwoDigitYear,
            _ => Item::Number { field: Field::Year, min: count, max: DIGITS_MAX },
        }),
        'M' | 'L' if count <= 2 => number(Field::Month, 2),
        'M' | 'L' => text(Field::Month),
        'Q' | 'q' if count <= 2 => number(Field::Quarter, 2),
        'Q' | 'q' => text(Field::Quarter),
        'd' => number(Field::Day, 2),
        'D' => number(Field::DayOfYear, 3),
        'E' => text(Field::Weekday),
        'e' | 'c' if count <= 2 => number(Field::LocalWeekday, 2),
        'e' | 'c' => text(Field::Weekday),
        'G' => text(Field::Era),
        'a' => {
            if count == 1 {
                text(Field::AmPm)
            } else {
                Err(too_many())
            }
        }
        'h' => number(Field::ClockHourOfHalf, 2),
        'H' => number(Field::Hour, 2),
        'k' => number(Field::ClockHour, 2),
        'K' => number(Field::HourOfHalf, 2),
        'm' => number(Field::Minute, 2),
        's' => number(Field::Second, 2),
        'S' => {
            if count <= 9 {
                Ok(Item::Fraction(count))
            } else {
                Err(too_many())
            }
        }
        'A' => Ok(Item::Number { field: Field::MilliOfDay, min: count, max: DIGITS_MAX }),
        'n' => Ok(Item::Number { field: Field::Nano, min: count, max: DIGITS_MAX }),
        'N' => Ok(Item::Number { field: Field::NanoOfDay, min: count, max: DIGITS_MAX }),
        'z' => match count {
            1..=3 => Ok(Item::ZoneName { full: false }),
            4 => Ok(Item::ZoneName { full: true }),
            _ => Err(too_many()),
        },
        'V' => {
            if count == 2 {
                Ok(Item::ZoneId)
            } else {
                Err(format!("Pattern letter count must be 2: {letter}"))
            }
        }
        'Z' => match count {
            1..=3 => offset(Zero::Digits, "", false, false, false),
            4 => offset(Zero::Prefix, "GMT", true, false, false),
            5 => offset(Zero::Letter, "", true, false, false),
            _ => Err(too_many()),
        },
        'X' | 'x' => {
            let zero = if letter == 'X' { Zero::Letter } else { Zero::Digits };
            match count {
                1 => offset(zero, "", false, true, false),
                2 | 4 => offset(zero, "", false, false, false),
                3 | 5 => offset(zero, "", true, false, false),
                _ => Err(too_many()),
            }
        }
        'O' => match count {
            1 => offset(Zero::Prefix, "GMT", true, true, true),
            4 => offset(Zero::Prefix, "GMT", true, false, false),
            _ => Err(format!("Pattern letter count must be 1 or 4: {letter}")),
        },
        other => Err(format!("Unknown pattern letter: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc() -> Zone {
        Zone::new("UTC").unwrap()
    }

    #[test]
    fn timestamps_are_formatted() {
        let los_angeles = Zone::new("America/Los_Angeles").unwrap();
        for (pattern, zone, expected) in [
            ("yyyy-MM-dd HH:mm:ss", &utc(), "2018-05-11 21:58:33"),
            ("yyyy-MM-dd HH:mm:ss zzz", &los_angeles, "2018-05-11 14:58:33 PDT"),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSX", &utc(), "2018-05-11T21:58:33.000Z"),
            ("yy/M/d h:mm a Z", &los_angeles, "18/5/11 2:58 PM -0700"),
            ("EEE, dd MMM yyyy XXX VV", &los_angeles, "Fri, 11 May 2018 -07:00 America/Los_Angeles"),
            ("D Q e 'o''clock'", &utc(), "131 2 6 o'clock"),
            ("EEEE MMMM G O", &los_angeles, "Friday May AD GMT-7"),
        ] {
            let formatted = Pattern::new(pattern).unwrap().format_timestamp(1_526_075_913_000, zone);
            assert_eq!(formatted.as_deref(), Ok(expected), "{pattern}");
        }
    }

    #[test]
    fn timestamps_are_read() {
        for (pattern, text, expected) in [
            ("yyyy-MM-dd'T'HH:mm:ss", "2018-05-11T21:58:33", 1_526_075_913_000),
            ("yyyy-MM-dd'T'HH:mm:ss zzz", "2018-05-11T21:58:33 PST", 1_526_101_113_000),
            ("yyyy-MM-dd'T'HH:mm:ss.SX", "2019-08-27T13:31:09.2+0000", 1_566_912_669_200),
            ("yyyy-MM-dd'T'HH:mm:ssX", "2018-05-11T21:58:33Z", 1_526_075_913_000),
            ("yyyyMMddHHmmssSSS", "20180511215833007", 1_526_075_913_007),
            ("yy-MM-dd HH:mm:ssX", "18-05-11 21:58:33Z", 1_526_075_913_000),
            ("d/M/yyyy h:mm a", "11/5/2018 9:58 pm", 1_526_075_880_000),
            ("yyyy[-MM[-dd]]", "2018-05", 1_525_132_800_000),
            ("HH:mm", "01:00", 3_600_000),
        ] {
            let parsed = Pattern::new(pattern).unwrap().parse_timestamp(text, &utc());
            assert_eq!(parsed, Ok(expected), "{text} as {pattern}");
        }
        for (pattern, text) in [
            ("yyyy-MM-dd", "2018-13-01"),
            ("yyyy-MM-dd", "2018-05-11 "),
            ("yyyyMMdd", "foo"),
            ("HH:mm", "24:30"),
            ("yyyy-MM-dd", "18-05-11"),
        ] {
            assert!(Pattern::new(pattern).unwrap().parse_timestamp(text, &utc()).is_err(), "{text} as {pattern}");
        }
        assert!(Pattern::new("yyyy-MM-dd b").is_err());
        assert!(Pattern::new("'open").is_err());
    }

    #[test]
    fn dates_and_times_refuse_the_other_half() {
        let date = |pattern: &str, text: &str| Pattern::new(pattern).unwrap().parse_date(text);
        assert_eq!(date("yyyy-MM-dd'Lit'", "2018-05-11Lit"), Ok(17662));
        assert_eq!(date("dd-MMM-yyyy", "01-JAN-2022"), Ok(18993));
        assert_eq!(date("MMM-yyyy", "Jan-2022"), Ok(18993));
        assert_eq!(date("yyyy-MM-dd HH", "2018-05-11 01"), Err("Date format contains time field.".into()));
        let time = |pattern: &str, text: &str| Pattern::new(pattern).unwrap().parse_time(text);
        assert_eq!(time("HH_mm_ss_SSS", "00_01_05_000"), Ok(65_000));
        assert!(time("yyyy HH", "2018 01").is_err());
        assert!(Pattern::new("HH").unwrap().format_date(1).is_err());
        assert_eq!(Pattern::new("HHmmss'AAAAA'").unwrap().format_time(1_234_567).as_deref(), Ok("002034AAAAA"));
    }
}

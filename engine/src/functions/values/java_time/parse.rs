//! Text → the fields it names, and what they mean together.

use std::collections::BTreeMap;

use super::{Field, Item, OffsetStyle, Pattern, Style, Zero, Zone, name_of};
use crate::functions::values::civil::{days_in_month, days_of};

/// The fields a text named.
#[derive(Debug, Clone, Default)]
pub(super) struct Parsed {
    fields: BTreeMap<Field, i64>,
    zone: Option<Zone>,
}

impl Pattern {
    pub(super) fn read(&self, text: &str) -> Result<Parsed, String> {
        let mut parsed = Parsed::default();
        let wrong = |at: usize| format!("Text '{text}' could not be parsed at index {at}");
        let at = read_items(&self.items, text, 0, &mut parsed).map_err(wrong)?;
        if at < text.len() {
            return Err(format!("Text '{text}' could not be parsed, unparsed text found at index {at}"));
        }
        Ok(parsed)
    }
}

/// Where reading went on, or where it could not.
type Read = Result<usize, usize>;

fn read_items(items: &[Item], text: &str, mut at: usize, parsed: &mut Parsed) -> Read {
    for (position, item) in items.iter().enumerate() {
        let rest = &text[at..];
        at = match item {
            Item::Literal(literal) => {
                let found = rest.get(..literal.len()).filter(|t| t.eq_ignore_ascii_case(literal));
                at + found.ok_or(at)?.len()
            }
            Item::Number { field, min, max } => {
                let reserved = if min == max { 0 } else { reserved(&items[position + 1..]) };
                read_number(*field, *min, *max, reserved, text, at, parsed)?
            }
            Item::TwoDigitYear => {
                let digits = digits(rest, 2).ok_or(at)?;
                set(parsed, Field::Year, 2000 + digits, at)?;
                at + 2
            }
            Item::Text { field, style } => read_name(*field, *style, rest, at, parsed)?,
            Item::Fraction(count) => {
                let value = digits(rest, *count).ok_or(at)?;
                set(parsed, Field::Nano, value * 10i64.pow(9 - *count as u32), at)?;
                at + count
            }
            Item::Offset(style) => read_offset(*style, rest, at, parsed)?,
            Item::ZoneName { .. } | Item::ZoneId => read_zone(rest, at, parsed)?,
            Item::Optional(inner) => {
                let mut attempt = parsed.clone();
                match read_items(inner, text, at, &mut attempt) {
                    Ok(next) => {
                        *parsed = attempt;
                        next
                    }
                    Err(_) => at,
                }
            }
        };
    }
    Ok(at)
}

/// Digits that directly following numbers of fixed width need: `yyyyMMdd` leaves four.
fn reserved(next: &[Item]) -> usize {
    next.iter()
        .map_while(|item| match item {
            Item::Number { min, max, .. } if min == max => Some(*max),
            Item::Fraction(count) => Some(*count),
            Item::TwoDigitYear => Some(2),
            _ => None,
        })
        .sum()
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let part = text.get(..count)?;
    part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok()).flatten()
}

fn read_number(
    field: Field,
    min: usize,
    max: usize,
    reserved: usize,
    text: &str,
    at: usize,
    parsed: &mut Parsed,
) -> Read {
    let rest = &text[at..];
    let signed = min != max;
    let (sign, unsigned) = match rest.as_bytes().first() {
        Some(b'-') if signed => (-1, &rest[1..]),
        Some(b'+') if signed => (1, &rest[1..]),
        _ => (1, rest),
    };
    let run = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let take = if reserved > 0 { run.saturating_sub(reserved).max(min) } else { run.min(max) };
    let plus = rest.starts_with('+');
    // A year of more digits than the pattern has letters needs its sign.
    if take < min || take > run || take > 18 || field == Field::Year && min >= 4 && take > min && !plus && sign > 0 {
        return Err(at);
    }
    let value = digits(unsigned, take).ok_or(at)?;
    set(parsed, field, sign * value, at)?;
    Ok(at + (rest.len() - unsigned.len()) + take)
}

fn read_name(field: Field, style: Style, rest: &str, at: usize, parsed: &mut Parsed) -> Read {
    let first = if matches!(field, Field::AmPm | Field::Era) { 0 } else { 1 };
    let mut found: Option<(usize, i64)> = None;
    for value in first..=12 {
        let Some(name) = name_of(field, style, value) else { break };
        let matches = rest.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(&name));
        if matches && found.is_none_or(|(len, _)| name.len() > len) {
            found = Some((name.len(), value));
        }
    }
    let (len, value) = found.ok_or(at)?;
    set(parsed, field, value, at)?;
    Ok(at + len)
}

fn read_offset(style: OffsetStyle, rest: &str, at: usize, parsed: &mut Parsed) -> Read {
    if style.zero == Zero::Letter && rest.starts_with(['Z', 'z']) {
        parsed.zone = Some(Zone::Fixed(0));
        return Ok(at + 1);
    }
    let offset = match rest.get(..style.prefix.len()) {
        Some(prefix) if prefix.eq_ignore_ascii_case(style.prefix) => &rest[style.prefix.len()..],
        _ => return Err(at),
    };
    let sign = match offset.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ if style.zero == Zero::Prefix => {
            parsed.zone = Some(Zone::Fixed(0));
            return Ok(at + style.prefix.len());
        }
        _ => return Err(at),
    };
    let clock = &offset[1..];
    let width = if style.unpadded && digits(clock, 2).is_none() { 1 } else { 2 };
    let hours = digits(clock, width).ok_or(at)?;
    let after = &clock[width..];
    let colon = usize::from(style.colon);
    let minutes = match after.get(colon..).and_then(|m| digits(m, 2)) {
        Some(minutes) if !style.colon || after.starts_with(':') => Some(minutes),
        _ => None,
    };
    if minutes.is_none() && !style.short || hours > 18 || minutes.is_some_and(|m| m > 59) {
        return Err(at);
    }
    parsed.zone = Some(Zone::Fixed(sign * (hours * 3600 + minutes.unwrap_or(0) * 60)));
    let read = style.prefix.len() + 1 + width + if minutes.is_some() { colon + 2 } else { 0 };
    Ok(at + read)
}

fn read_zone(rest: &str, at: usize, parsed: &mut Parsed) -> Read {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '+' | '-' | ':');
    let mut end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
    // The longest beginning that names a zone.
    while end > 0 {
        let name = &rest[..end];
        if let Some(zone) = Zone::abbreviated(name).or_else(|| Zone::new(name).ok()) {
            parsed.zone = Some(zone);
            return Ok(at + end);
        }
        end -= 1;
    }
    Err(at)
}

/// Notes a field's value; a second value that differs is a contradiction.
fn set(parsed: &mut Parsed, field: Field, value: i64, at: usize) -> Result<(), usize> {
    match parsed.fields.insert(field, value) {
        Some(before) if before != value => Err(at),
        _ => Ok(()),
    }
}

impl Parsed {
    pub(super) fn fields(&self) -> impl Iterator<Item = Field> + '_ {
        self.fields.keys().copied()
    }

    pub(super) fn zone(&self) -> Option<&Zone> {
        self.zone.as_ref()
    }

    fn within(&self, field: Field, range: std::ops::RangeInclusive<i64>) -> Result<Option<i64>, String> {
        match self.fields.get(&field) {
            Some(value) if !range.contains(value) => {
                Err(format!("Invalid value for {field:?} (valid values {} - {}): {value}", range.start(), range.end()))
            }
            value => Ok(value.copied()),
        }
    }

    /// Days since the epoch; a missing year is 1970, a missing month or day the first.
    pub(super) fn days(&self) -> Result<i64, String> {
        let year = match (self.within(Field::Year, -999_999_999..=999_999_999)?, self.fields.get(&Field::Era)) {
            (Some(year), Some(0)) => 1 - year,
            (year, _) => year.unwrap_or(1970),
        };
        if let Some(day) = self.within(Field::DayOfYear, 1..=366)? {
            if day == 366 && days_in_month(year, 2) == 28 {
                return Err(format!("Invalid date 'DayOfYear 366' as '{year}' is not a leap year"));
            }
            return Ok(days_of(year, 1, 1) + day - 1);
        }
        let quarter = self.within(Field::Quarter, 1..=4)?;
        let month = match self.within(Field::Month, 1..=12)? {
            Some(month) => month,
            None => quarter.map_or(1, |q| (q - 1) * 3 + 1),
        } as u32;
        // A day beyond the month's last is the last (Java's smart resolving).
        let day = self.within(Field::Day, 1..=31)?.unwrap_or(1) as u32;
        let days = days_of(year, month, day.min(days_in_month(year, month)));
        match self.within(Field::Weekday, 1..=7)? {
            Some(weekday) if self.fields.contains_key(&Field::Day) && (days + 3).rem_euclid(7) + 1 != weekday => {
                Err(format!("Conflict found: the day of the week is not {weekday}"))
            }
            _ => Ok(days),
        }
    }

    /// Whether the hour of the day is known: half a day's hour needs to know which half.
    pub(super) fn has_hour(&self) -> bool {
        let has = |fields: &[Field]| fields.iter().any(|field| self.fields.contains_key(field));
        has(&[Field::Hour, Field::ClockHour, Field::MilliOfDay, Field::NanoOfDay])
            || has(&[Field::AmPm]) && has(&[Field::HourOfHalf, Field::ClockHourOfHalf])
    }

    pub(super) fn has_whole_date(&self) -> bool {
        let has = |field: Field| self.fields.contains_key(&field);
        has(Field::Year) && (has(Field::DayOfYear) || has(Field::Month) && has(Field::Day))
    }

    /// Milliseconds of the day; missing parts are zero.
    pub(super) fn ms_of_day(&self) -> Result<i64, String> {
        if let Some(ms) = self.within(Field::MilliOfDay, 0..=86_399_999)? {
            return Ok(ms);
        }
        if let Some(nanos) = self.within(Field::NanoOfDay, 0..=86_399_999_999_999)? {
            return Ok(nanos / 1_000_000);
        }
        let half = self.within(Field::AmPm, 0..=1)?;
        let of_half = match self.within(Field::ClockHourOfHalf, 1..=12)? {
            Some(hour) => Some(hour % 12),
            None => self.within(Field::HourOfHalf, 0..=11)?,
        };
        let hour = match (self.within(Field::Hour, 0..=23)?, self.within(Field::ClockHour, 1..=24)?, of_half) {
            (Some(hour), ..) => hour,
            (None, Some(hour), _) => hour % 24,
            (None, None, hour) => hour.unwrap_or(0) + half.unwrap_or(0) * 12,
        };
        let minute = self.within(Field::Minute, 0..=59)?.unwrap_or(0);
        let second = self.within(Field::Second, 0..=59)?.unwrap_or(0);
        let nano = self.within(Field::Nano, 0..=999_999_999)?.unwrap_or(0);
        Ok(((hour * 60 + minute) * 60 + second) * 1000 + nano / 1_000_000)
    }
}

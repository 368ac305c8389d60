//! A moment → text.

use std::fmt::Write;

use super::{Field, Item, Moment, OffsetStyle, Pattern, Zero, name_of};

impl Pattern {
    pub(super) fn write(&self, moment: &Moment<'_>) -> Result<String, String> {
        let mut out = String::new();
        write_items(&self.items, moment, &mut out)?;
        Ok(out)
    }
}

fn write_items(items: &[Item], moment: &Moment<'_>, out: &mut String) -> Result<(), String> {
    for item in items {
        match item {
            Item::Literal(text) => out.push_str(text),
            Item::Number { field, min, .. } => {
                let value = match field {
                    // Year of era: there is no year 0.
                    Field::Year => match moment.get(Field::Year)? {
                        year @ ..=0 => 1 - year,
                        year => year,
                    },
                    field => moment.get(*field)?,
                };
                let _ = write!(out, "{value:0min$}");
            }
            Item::TwoDigitYear => {
                let _ = write!(out, "{:02}", moment.get(Field::Year)?.rem_euclid(100));
            }
            Item::Text { field, style } => {
                let value = moment.get(*field)?;
                out.push_str(&name_of(*field, *style, value).ok_or_else(|| format!("{field:?} has no names"))?);
            }
            Item::Fraction(digits) => {
                let nanos = format!("{:09}", moment.get(Field::Nano)?);
                out.push_str(&nanos[..*digits]);
            }
            Item::Offset(style) => write_offset(*style, zoned(moment)?.1, out),
            Item::ZoneName { full } => {
                let (zone, _, instant) = zoned(moment)?;
                out.push_str(&zone.name_at(instant, *full));
            }
            Item::ZoneId => out.push_str(&zoned(moment)?.0.id()),
            Item::Optional(inner) => {
                // Left out if the moment lacks a field.
                let mut text = String::new();
                if write_items(inner, moment, &mut text).is_ok() {
                    out.push_str(&text);
                }
            }
        }
    }
    Ok(())
}

fn zoned<'a>(moment: &Moment<'a>) -> Result<(&'a super::Zone, i64, i64), String> {
    moment.zone.ok_or_else(|| "Unable to extract ZoneId from temporal".to_string())
}

fn write_offset(style: OffsetStyle, seconds: i64, out: &mut String) {
    match style.zero {
        Zero::Letter if seconds == 0 => {
            out.push('Z');
            return;
        }
        Zero::Prefix if seconds == 0 => {
            out.push_str(style.prefix);
            return;
        }
        _ => {}
    }
    out.push_str(style.prefix);
    out.push(if seconds < 0 { '-' } else { '+' });
    let minutes = seconds.abs() / 60;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let _ = if style.unpadded { write!(out, "{hours}") } else { write!(out, "{hours:02}") };
    if !(style.short && minutes == 0) {
        let _ = write!(out, "{}{minutes:02}", if style.colon { ":" } else { "" });
    }
}

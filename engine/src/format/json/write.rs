//! JSON text from columns: what the JSON format writes, what HTTP answers show, what TO_JSON_STRING gives.
//!
//! Fields in schema order, nulls as `null`, decimals with all digits of their scale, doubles as Java prints them (those
//! that are no number as text), bytes as base64.
//!
//! | type | [`JsonStyle::Record`] | [`JsonStyle::Iso`] |
//! |---|---|---|
//! | DATE | `0` | `"1970-01-01"` |
//! | TIME | `60220000` | `"16:43:40"` |
//! | TIMESTAMP | `0` | `"1970-01-01T00:00:00.000"` |

use arrow::array::{
    Array, BinaryArray, BooleanArray, Date32Array, Decimal256Array, Float64Array, Int32Array, Int64Array, ListArray,
    MapArray, StringArray, StructArray, Time32MillisecondArray, TimestampMillisecondArray,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::number::{write_decimal, write_double, write_long};
use super::super::temporal::{write_date, write_time, write_timestamp};
use crate::error::{Error, Result};
use crate::types::SqlType;

/// How dates and times look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonStyle {
    /// Integers, as records hold them.
    Record,
    /// ISO text, as query answers and TO_JSON_STRING show them.
    Iso,
}

/// Appends row `row` of `array`, a column of type `ty`.
pub fn write_value(ty: &SqlType, array: &dyn Array, row: usize, style: JsonStyle, out: &mut Vec<u8>) -> Result<()> {
    Writer::new(ty, array, style)?.write(row, out);
    Ok(())
}

/// A column seen as JSON; made once a batch, so that a row costs no type test of the array.
pub struct Writer<'a> {
    array: &'a dyn Array,
    kind: Kind<'a>,
    style: JsonStyle,
    nullable: bool,
}

enum Kind<'a> {
    Boolean(&'a BooleanArray),
    Int(&'a Int32Array),
    Long(&'a Int64Array),
    Double(&'a Float64Array),
    Decimal(&'a Decimal256Array, usize),
    String(&'a StringArray),
    Bytes(&'a BinaryArray),
    Date(&'a Date32Array),
    Time(&'a Time32MillisecondArray),
    Timestamp(&'a TimestampMillisecondArray),
    List(&'a ListArray, Box<Writer<'a>>),
    Map(&'a MapArray, Box<Writer<'a>>, Box<Writer<'a>>),
    /// Each field with its text up to the value: `"A":`.
    Struct(Vec<(Vec<u8>, Writer<'a>)>),
}

impl<'a> Writer<'a> {
    pub fn new(ty: &SqlType, array: &'a dyn Array, style: JsonStyle) -> Result<Self> {
        fn cast<'a, A: 'static>(array: &'a dyn Array, ty: &SqlType) -> Result<&'a A> {
            array
                .as_any()
                .downcast_ref()
                .ok_or_else(|| Error::internal(format!("a column of type {ty} holds {}", array.data_type())))
        }
        let kind = match ty {
            SqlType::Boolean => Kind::Boolean(cast(array, ty)?),
            SqlType::Integer => Kind::Int(cast(array, ty)?),
            SqlType::Bigint => Kind::Long(cast(array, ty)?),
            SqlType::Double => Kind::Double(cast(array, ty)?),
            SqlType::Decimal { scale, .. } => Kind::Decimal(cast(array, ty)?, usize::from(*scale)),
            SqlType::String => Kind::String(cast(array, ty)?),
            SqlType::Bytes => Kind::Bytes(cast(array, ty)?),
            SqlType::Date => Kind::Date(cast(array, ty)?),
            SqlType::Time => Kind::Time(cast(array, ty)?),
            SqlType::Timestamp => Kind::Timestamp(cast(array, ty)?),
            SqlType::Array(item) => {
                let list: &ListArray = cast(array, ty)?;
                Kind::List(list, Box::new(Writer::new(item, list.values().as_ref(), style)?))
            }
            SqlType::Map(key, value) => {
                let map: &MapArray = cast(array, ty)?;
                let key = Writer::new(key, map.keys().as_ref(), style)?;
                Kind::Map(map, Box::new(key), Box::new(Writer::new(value, map.values().as_ref(), style)?))
            }
            SqlType::Struct(fields) => {
                let columns: &StructArray = cast(array, ty)?;
                if columns.num_columns() != fields.len() {
                    return Err(Error::internal(format!("a column of type {ty} has {} fields", columns.num_columns())));
                }
                let fields = fields.iter().zip(columns.columns()).map(|(field, column)| {
                    Ok((field_prefix(&field.name), Writer::new(&field.ty, column.as_ref(), style)?))
                });
                Kind::Struct(fields.collect::<Result<_>>()?)
            }
        };
        Ok(Self { array, kind, style, nullable: array.null_count() > 0 })
    }

    pub fn is_null(&self, row: usize) -> bool {
        self.nullable && self.array.is_null(row)
    }

    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return out.extend_from_slice(b"null");
        }
        let iso = self.style == JsonStyle::Iso;
        match &self.kind {
            Kind::Boolean(a) => out.extend_from_slice(if a.value(row) { b"true" } else { b"false" }),
            Kind::Int(a) => write_long(i64::from(a.value(row)), out),
            Kind::Long(a) => write_long(a.value(row), out),
            Kind::Double(a) if a.value(row).is_finite() => write_double(a.value(row), out),
            Kind::Double(a) => quoted(out, |out| write_double(a.value(row), out)),
            Kind::Decimal(a, scale) => write_decimal(a.value(row), *scale, out),
            Kind::String(a) => write_string(a.value(row), out),
            Kind::Bytes(a) => quoted(out, |out| write_base64(a.value(row), out)),
            Kind::Date(a) if iso => quoted(out, |out| write_date(i64::from(a.value(row)), out)),
            Kind::Date(a) => write_long(i64::from(a.value(row)), out),
            Kind::Time(a) if iso => quoted(out, |out| write_time(i64::from(a.value(row)), out)),
            Kind::Time(a) => write_long(i64::from(a.value(row)), out),
            Kind::Timestamp(a) if iso => quoted(out, |out| write_timestamp(a.value(row), out)),
            Kind::Timestamp(a) => write_long(a.value(row), out),
            Kind::List(a, item) => {
                let range = a.value_offsets()[row] as usize..a.value_offsets()[row + 1] as usize;
                out.push(b'[');
                for (i, at) in range.enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    item.write(at, out);
                }
                out.push(b']');
            }
            Kind::Map(a, key, value) => {
                let range = a.value_offsets()[row] as usize..a.value_offsets()[row + 1] as usize;
                out.push(b'{');
                for (i, at) in range.enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    key.write_name(at, out);
                    out.push(b':');
                    value.write(at, out);
                }
                out.push(b'}');
            }
            Kind::Struct(fields) => {
                out.push(b'{');
                for (i, (prefix, field)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(prefix);
                    field.write(row, out);
                }
                out.push(b'}');
            }
        }
    }

    /// A map key: always a JSON string.
    fn write_name(&self, row: usize, out: &mut Vec<u8>) {
        match &self.kind {
            Kind::String(_) if !self.is_null(row) => self.write(row, out),
            _ => {
                let mut text = Vec::new();
                self.write(row, &mut text);
                let text = String::from_utf8_lossy(&text);
                write_string(text.trim_matches('"'), out);
            }
        }
    }
}

/// `"name":`.
pub(super) fn field_prefix(name: &str) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(name.len() + 3);
    write_string(name, &mut prefix);
    prefix.push(b':');
    prefix
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

pub(in crate::format) fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = BASE64.encode_slice(bytes, &mut out[start..]).expect("base64 takes four bytes for three");
    out.truncate(start + written);
}

/// A JSON string with quotes. Escapes what JSON demands and nothing else.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut done = 0;
    loop {
        let at = super::scan::plain_end(bytes, done);
        out.extend_from_slice(&bytes[done..at]);
        let Some(&byte) = bytes.get(at) else { break };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x8 => out.extend_from_slice(b"\\b"),
            0xc => out.extend_from_slice(b"\\f"),
            control => {
                let hex = b"0123456789ABCDEF";
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[hex[usize::from(control >> 4)], hex[usize::from(control & 15)]]);
            }
        }
        done = at + 1;
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_escape_only_what_json_demands() {
        let mut out = Vec::new();
        write_string("a\"b\\c\n\u{1}é/", &mut out);
        assert_eq!(String::from_utf8_lossy(&out), r#""a\"b\\c\n\u0001é/""#);
    }

    #[test]
    fn dates_are_numbers_in_records_and_text_in_answers() -> Result<()> {
        let array = TimestampMillisecondArray::from(vec![Some(0), None]);
        let mut out = Vec::new();
        write_value(&SqlType::Timestamp, &array, 0, JsonStyle::Record, &mut out)?;
        out.push(b' ');
        write_value(&SqlType::Timestamp, &array, 0, JsonStyle::Iso, &mut out)?;
        out.push(b' ');
        write_value(&SqlType::Timestamp, &array, 1, JsonStyle::Iso, &mut out)?;
        assert_eq!(String::from_utf8_lossy(&out), "0 \"1970-01-01T00:00:00.000\" null");
        Ok(())
    }
}

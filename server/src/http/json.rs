//! One value of an Arrow array as JSON text, the way query answers show it.
//!
//! | SQL | JSON |
//! |---|---|
//! | BIGINT, DECIMAL | number with all its digits |
//! | DOUBLE | number with at least one digit after the point; NaN and infinities as strings |
//! | BYTES | base64 string |
//! | DATE, TIME, TIMESTAMP | ISO 8601 string |
//! | STRUCT, MAP | object in the order of its fields or entries |

use std::io::Write;

use arrow::array::{Array, AsArray, ListArray, MapArray, StructArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, DecimalType, Float64Type, Int32Type, Int64Type,
    Time32MillisecondType, TimeUnit, TimestampMillisecondType,
};
use arrow::util::display::array_value_to_string;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Appends the JSON text of row `row`.
pub fn write_value(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return;
    }
    match array.data_type() {
        DataType::Null => out.extend_from_slice(b"null"),
        DataType::Boolean => {
            let text: &[u8] = if array.as_boolean().value(row) { b"true" } else { b"false" };
            out.extend_from_slice(text);
        }
        DataType::Int32 => number(array.as_primitive::<Int32Type>().value(row), out),
        DataType::Int64 => number(array.as_primitive::<Int64Type>().value(row), out),
        DataType::Float64 => double(array.as_primitive::<Float64Type>().value(row), out),
        DataType::Decimal128(precision, scale) => {
            let value = array.as_primitive::<Decimal128Type>().value(row);
            out.extend_from_slice(Decimal128Type::format_decimal(value, *precision, *scale).as_bytes());
        }
        DataType::Decimal256(precision, scale) => {
            let value = array.as_primitive::<Decimal256Type>().value(row);
            out.extend_from_slice(Decimal256Type::format_decimal(value, *precision, *scale).as_bytes());
        }
        DataType::Utf8 => string(array.as_string::<i32>().value(row), out),
        DataType::LargeUtf8 => string(array.as_string::<i64>().value(row), out),
        DataType::Utf8View => string(array.as_string_view().value(row), out),
        DataType::Binary => string(&STANDARD.encode(array.as_binary::<i32>().value(row)), out),
        DataType::LargeBinary => string(&STANDARD.encode(array.as_binary::<i64>().value(row)), out),
        DataType::BinaryView => string(&STANDARD.encode(array.as_binary_view().value(row)), out),
        DataType::Date32 => optional(array.as_primitive::<Date32Type>().value_as_date(row), out),
        DataType::Time32(TimeUnit::Millisecond) => optional(
            array.as_primitive::<Time32MillisecondType>().value_as_time(row).map(|t| t.format("%H:%M:%S%.3f")),
            out,
        ),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            let time = array.as_primitive::<TimestampMillisecondType>().value_as_datetime(row);
            optional(time.map(|t| t.format("%Y-%m-%dT%H:%M:%S%.3f")), out);
        }
        DataType::List(_) => list(array.as_list::<i32>(), row, out),
        DataType::Map(..) => map(array.as_map(), row, out),
        DataType::Struct(_) => structure(array.as_struct(), row, out),
        // Types of DataFusion's own functions: integers of other widths are numbers, the rest is text.
        other => match array_value_to_string(array, row) {
            Ok(text) if other.is_numeric() => out.extend_from_slice(text.as_bytes()),
            Ok(text) => string(&text, out),
            Err(_) => out.extend_from_slice(b"null"),
        },
    }
}

/// Appends `text` as a JSON string.
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, text).expect("a string is always JSON, and a vector takes all bytes");
}

fn number(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    write!(out, "{value}").expect("a vector takes all bytes");
}

fn double(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        write!(out, "{value:?}").expect("a vector takes all bytes");
    } else if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else {
        out.extend_from_slice(if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    }
}

fn optional(value: Option<impl std::fmt::Display>, out: &mut Vec<u8>) {
    match value {
        Some(value) => write!(out, "\"{value}\"").expect("a vector takes all bytes"),
        None => out.extend_from_slice(b"null"),
    }
}

fn list(array: &ListArray, row: usize, out: &mut Vec<u8>) {
    let items = array.value(row);
    out.push(b'[');
    for i in 0..items.len() {
        if i > 0 {
            out.push(b',');
        }
        write_value(&items, i, out);
    }
    out.push(b']');
}

fn map(array: &MapArray, row: usize, out: &mut Vec<u8>) {
    let entries = array.value(row);
    let (keys, values) = (entries.column(0), entries.column(1));
    out.push(b'{');
    for i in 0..entries.len() {
        if i > 0 {
            out.push(b',');
        }
        let mut key = Vec::new();
        write_value(keys, i, &mut key);
        if key.first() == Some(&b'"') {
            out.extend_from_slice(&key);
        } else {
            string(&String::from_utf8_lossy(&key), out);
        }
        out.push(b':');
        write_value(values, i, out);
    }
    out.push(b'}');
}

fn structure(array: &StructArray, row: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    for (i, (field, column)) in array.fields().iter().zip(array.columns()).enumerate() {
        if i > 0 {
            out.push(b',');
        }
        string(field.name(), out);
        out.push(b':');
        write_value(column, row, out);
    }
    out.push(b'}');
}

//! The text of a value, as CAST to STRING and Java's `toString` print it.
//!
//! | value | text |
//! |---|---|
//! | DOUBLE 1e10 | `1.0E10` |
//! | ARRAY | `[1, null]` |
//! | MAP | `{k=v}` |
//! | STRUCT | `Struct{A=1,C=x}`, null fields left out |
//! | TIMESTAMP | `2020-01-01T00:00:00.004`; inside a collection `2020-01-01 00:00:00.004` |

use std::fmt::Write;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal256Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType,
};

use super::civil::{DAY_MS, write_date, write_time, write_timestamp};
use super::decimal::write_decimal;
use super::java_map::iteration_order;

/// `Double.toString`: `1.0`, `1.5E-4`, `1.0E10`, `NaN`, `-Infinity`.
pub fn write_double(value: f64, out: &mut String) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        // The shortest digits with a point, as Java writes them between these bounds.
        out.push_str(ryu::Buffer::new().format_finite(value));
    } else {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').expect("exponent notation has an exponent");
        let point = if mantissa.contains('.') { "" } else { ".0" };
        let _ = write!(out, "{mantissa}{point}E{exponent}");
    }
}

pub fn double_text(value: f64) -> String {
    let mut text = String::new();
    write_double(value, &mut text);
    text
}

/// Appends the text of a value; null is `null`.
pub fn write_value(array: &dyn Array, row: usize, out: &mut String) {
    write_any(array, row, false, out);
}

fn write_any(array: &dyn Array, row: usize, nested: bool, out: &mut String) {
    if array.is_null(row) {
        out.push_str("null");
        return;
    }
    match array.data_type() {
        DataType::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Int32 => {
            let _ = write!(out, "{}", array.as_primitive::<Int32Type>().value(row));
        }
        DataType::Int64 => {
            let _ = write!(out, "{}", array.as_primitive::<Int64Type>().value(row));
        }
        DataType::Float64 => write_double(array.as_primitive::<Float64Type>().value(row), out),
        DataType::Decimal256(_, scale) => {
            write_decimal(array.as_primitive::<Decimal256Type>().value(row), *scale as u8, out);
        }
        DataType::Utf8 => out.push_str(array.as_string::<i32>().value(row)),
        DataType::Date32 => write_date(i64::from(array.as_primitive::<Date32Type>().value(row)), out),
        DataType::Time32(_) => {
            let ms = i64::from(array.as_primitive::<Time32MillisecondType>().value(row));
            if nested { write_clock(ms, out) } else { write_time(ms, out) }
        }
        DataType::Timestamp(..) => {
            let ms = array.as_primitive::<TimestampMillisecondType>().value(row);
            if nested { write_sql_timestamp(ms, out) } else { write_timestamp(ms, out) }
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            out.push('[');
            for i in 0..items.len() {
                if i > 0 {
                    out.push_str(", ");
                }
                write_any(items.as_ref(), i, true, out);
            }
            out.push(']');
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            out.push('{');
            for (at, i) in iteration_order(entries.column(0).as_ref(), 0..entries.len()).into_iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                let i = i as usize;
                write_any(entries.column(0).as_ref(), i, true, out);
                out.push('=');
                write_any(entries.column(1).as_ref(), i, true, out);
            }
            out.push('}');
        }
        DataType::Struct(fields) => {
            out.push_str("Struct{");
            let mut first = true;
            for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                if column.is_null(row) {
                    continue;
                }
                let comma = if first { "" } else { "," };
                first = false;
                let _ = write!(out, "{comma}{}=", field.name());
                write_any(column.as_ref(), row, true, out);
            }
            out.push('}');
        }
        DataType::Binary => {
            for byte in array.as_binary::<i32>().value(row) {
                let _ = write!(out, "{byte:02x}");
            }
        }
        other => {
            let _ = write!(out, "<{other}>");
        }
    }
}

/// `java.sql.Time.toString`.
fn write_clock(ms: i64, out: &mut String) {
    let seconds = ms.rem_euclid(DAY_MS) / 1000;
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

/// `java.sql.Timestamp.toString`: fraction without trailing zeros, one digit at least.
fn write_sql_timestamp(ms: i64, out: &mut String) {
    write_date(ms.div_euclid(DAY_MS), out);
    out.push(' ');
    write_clock(ms, out);
    let fraction = format!("{:03}", ms.rem_euclid(1000));
    let trimmed = fraction.trim_end_matches('0');
    let _ = write!(out, ".{}", if trimmed.is_empty() { "0" } else { trimmed });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_print_as_java_prints_them() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (1.5e10, "1.5E10"),
            (-123.456, "-123.456"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(double_text(value), text);
        }
    }
}

//! ksqlDB's CAST, from any type to any type it allows (ksqlDB: *CAST*; the tables of types in its type system pages).
//!
//! | from → to | rule |
//! |---|---|
//! | BIGINT → INT, DECIMAL → INT | wraps |
//! | DOUBLE → INT, BIGINT | cut, held at the ends, NaN is 0 |
//! | any number → DECIMAL | rounded half up; the whole part must fit |
//! | STRING → anything | trimmed; BOOLEAN takes prefixes of `true` and `yes`, the rest is false |
//! | ARRAY, MAP, STRUCT | element by element; struct fields by name |

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, ListArray, MapArray, PrimitiveArray, StructArray,
    new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::filter;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal256Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType, i256,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::civil::{DAY_MS, parse_date, parse_time, parse_timestamp};
use super::decimal::{decimal_text, fit, parse_decimal, power_of_ten, rescale, to_double};
use super::text::{double_text, write_value};
use crate::functions::columns::{Bin, Bool, Str, map1, write_texts};
use crate::functions::scalar::Evaluated;
use crate::types::SqlType;

/// Whether ksqlDB allows the cast.
pub fn supported(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::{Array, Boolean, Bytes, Date, Map, String, Struct, Time, Timestamp};
    match (from, to) {
        (from, to) if from == to => true,
        (Bytes, _) => false,
        (_, String) => true,
        (from, to) if from.is_numeric() && to.is_numeric() => true,
        (String, to) => to.is_numeric() || matches!(to, Boolean | Bytes | Date | Time | Timestamp),
        (Timestamp, Date | Time) | (Date, Timestamp) => true,
        (Array(from), Array(to)) => supported(from, to),
        (Map(from_key, from_value), Map(to_key, to_value)) => {
            supported(from_key, to_key) && supported(from_value, to_value)
        }
        (Struct(from), Struct(to)) => to
            .iter()
            .all(|field| from.iter().find(|f| f.name == field.name).is_none_or(|f| supported(&f.ty, &field.ty))),
        _ => false,
    }
}

/// The column as `to`; its type is exactly `to.to_arrow()`.
pub fn cast(array: &ArrayRef, from: &SqlType, to: &SqlType) -> Evaluated {
    if from == to {
        return Ok(Arc::clone(array));
    }
    if array.null_count() == array.len() {
        return Ok(new_null_array(&to.to_arrow(), array.len()));
    }
    match (from, to) {
        (SqlType::Bytes, _) => unsupported(from, to),
        (_, SqlType::String) => to_text(array),
        (SqlType::Integer, _) => from_long(&widen_int(array), to),
        (SqlType::Bigint, _) => from_long(array.as_primitive::<Int64Type>(), to),
        (SqlType::Double, _) => from_double(array.as_primitive::<Float64Type>(), to),
        (SqlType::Decimal { scale, .. }, _) => from_decimal(array.as_primitive::<Decimal256Type>(), *scale, to),
        (SqlType::String, _) => from_text(array, to),
        (SqlType::Timestamp, SqlType::Date) => {
            let column = array.as_primitive::<TimestampMillisecondType>();
            Ok(Arc::new(column.unary::<_, Date32Type>(|ms| ms.div_euclid(DAY_MS) as i32)))
        }
        (SqlType::Timestamp, SqlType::Time) => {
            let column = array.as_primitive::<TimestampMillisecondType>();
            Ok(Arc::new(column.unary::<_, Time32MillisecondType>(|ms| ms.rem_euclid(DAY_MS) as i32)))
        }
        (SqlType::Date, SqlType::Timestamp) => {
            let column = array.as_primitive::<Date32Type>();
            Ok(Arc::new(column.unary::<_, TimestampMillisecondType>(|days| i64::from(days) * DAY_MS)))
        }
        (SqlType::Array(item), SqlType::Array(to_item)) => {
            let list = array.as_list::<i32>();
            let values = cast(&visible(list.values(), list.value_offsets(), list.nulls()), item, to_item)?;
            let DataType::List(field) = to.to_arrow() else { return unsupported(from, to) };
            let offsets = visible_offsets(list.value_offsets(), list.nulls());
            ListArray::try_new(field, offsets, values, list.nulls().cloned()).map(arc).map_err(|e| e.to_string())
        }
        (SqlType::Map(key, value), SqlType::Map(to_key, to_value)) => {
            let map = array.as_map();
            let DataType::Map(field, sorted) = to.to_arrow() else { return unsupported(from, to) };
            let DataType::Struct(fields) = field.data_type() else { return unsupported(from, to) };
            let keys = cast(&visible(map.keys(), map.value_offsets(), map.nulls()), key, to_key)?;
            let values = cast(&visible(map.values(), map.value_offsets(), map.nulls()), value, to_value)?;
            let entries = StructArray::try_new(fields.clone(), vec![keys, values], None).map_err(|e| e.to_string())?;
            MapArray::try_new(
                field,
                visible_offsets(map.value_offsets(), map.nulls()),
                entries,
                map.nulls().cloned(),
                sorted,
            )
            .map(arc)
            .map_err(|e| e.to_string())
        }
        (SqlType::Struct(from_fields), SqlType::Struct(to_fields)) => {
            let structure = array.as_struct();
            let columns = to_fields
                .iter()
                .map(|field| match from_fields.iter().position(|f| f.name == field.name) {
                    // A field beneath a null struct must not fail the cast.
                    Some(at) => {
                        let column = with_nulls(structure.column(at), structure.nulls())?;
                        cast(&column, &from_fields[at].ty, &field.ty)
                    }
                    None => Ok(new_null_array(&field.ty.to_arrow(), structure.len())),
                })
                .collect::<Result<Vec<_>, _>>()?;
            let DataType::Struct(fields) = to.to_arrow() else { return unsupported(from, to) };
            StructArray::try_new_with_length(fields, columns, structure.nulls().cloned(), structure.len())
                .map(arc)
                .map_err(|e| e.to_string())
        }
        _ => unsupported(from, to),
    }
}

fn unsupported(from: &SqlType, to: &SqlType) -> Evaluated {
    Err(format!("Cast of {from} to {to} is not supported"))
}

fn arc<A: Array + 'static>(array: A) -> ArrayRef {
    Arc::new(array)
}

/// The same values, null also where `nulls` says so.
pub fn with_nulls(array: &ArrayRef, nulls: Option<&NullBuffer>) -> Evaluated {
    if nulls.is_none_or(|n| n.null_count() == 0) {
        return Ok(Arc::clone(array));
    }
    let merged = NullBuffer::union(array.nulls(), nulls);
    let data = array.to_data().into_builder().nulls(merged).build().map_err(|e| e.to_string())?;
    Ok(arrow::array::make_array(data))
}

/// The items of the rows that are not null, and no others: what else lies in the buffers must not fail a cast.
pub fn visible(values: &ArrayRef, offsets: &[i32], nulls: Option<&NullBuffer>) -> ArrayRef {
    let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
    let values = values.slice(first, last - first);
    let Some(nulls) = nulls.filter(|n| n.null_count() > 0) else { return values };
    let mut mask = BooleanBufferBuilder::new(last - first);
    for (row, bounds) in offsets.windows(2).enumerate() {
        mask.append_n((bounds[1] - bounds[0]) as usize, nulls.is_valid(row));
    }
    filter(&values, &BooleanArray::new(mask.finish(), None)).expect("the mask is as long as the items")
}

/// Offsets over what [`visible`] gives.
pub fn visible_offsets(offsets: &[i32], nulls: Option<&NullBuffer>) -> OffsetBuffer<i32> {
    OffsetBuffer::from_lengths(
        offsets.windows(2).enumerate().map(|(row, bounds)| {
            if nulls.is_some_and(|n| n.is_null(row)) { 0 } else { (bounds[1] - bounds[0]) as usize }
        }),
    )
}

fn widen_int(array: &ArrayRef) -> PrimitiveArray<Int64Type> {
    array.as_primitive::<Int32Type>().unary(i64::from)
}

fn from_long(column: &PrimitiveArray<Int64Type>, to: &SqlType) -> Evaluated {
    Ok(match to {
        SqlType::Integer => Arc::new(column.unary::<_, Int32Type>(|v| v as i32)),
        SqlType::Bigint => Arc::new(column.clone()),
        SqlType::Double => Arc::new(column.unary::<_, Float64Type>(|v| v as f64)),
        SqlType::Decimal { precision, scale } => {
            let (factor, limit) = (power_of_ten(u32::from(*scale)), power_of_ten(u32::from(*precision)));
            let small = factor.to_i128().and_then(|f| i64::try_from(f).ok()).map(i128::from).zip(limit.to_i128());
            try_decimal(column, *precision, *scale, |v| match small {
                // The product of two 64-bit numbers fits 128 bits.
                Some((factor, limit)) if (i128::from(v) * factor).unsigned_abs() < limit.unsigned_abs() => {
                    Ok(i256::from_i128(i128::from(v) * factor))
                }
                _ => fit(i256::from_i128(i128::from(v)).checked_mul(factor), *precision, *scale, || v.to_string()),
            })?
        }
        _ => return unsupported(&SqlType::Bigint, to),
    })
}

fn from_double(column: &PrimitiveArray<Float64Type>, to: &SqlType) -> Evaluated {
    Ok(match to {
        SqlType::Integer => Arc::new(column.unary::<_, Int32Type>(|v| v as i32)),
        SqlType::Bigint => Arc::new(column.unary::<_, Int64Type>(|v| v as i64)),
        SqlType::Decimal { precision, scale } => {
            try_decimal(column, *precision, *scale, |v| parse_decimal(&double_text(v), *precision, *scale))?
        }
        _ => return unsupported(&SqlType::Double, to),
    })
}

fn from_decimal(column: &PrimitiveArray<Decimal256Type>, from_scale: u8, to: &SqlType) -> Evaluated {
    let divisor = power_of_ten(u32::from(from_scale));
    Ok(match to {
        SqlType::Integer => Arc::new(column.unary::<_, Int32Type>(|v| v.wrapping_div(divisor).to_parts().0 as i32)),
        SqlType::Bigint => Arc::new(column.unary::<_, Int64Type>(|v| v.wrapping_div(divisor).to_parts().0 as i64)),
        SqlType::Double => Arc::new(column.unary::<_, Float64Type>(|v| to_double(v, from_scale))),
        SqlType::Decimal { precision, scale } => try_decimal(column, *precision, *scale, |v| {
            fit(rescale(v, from_scale, *scale), *precision, *scale, || decimal_text(v, from_scale))
        })?,
        _ => return unsupported(&SqlType::decimal(1, 0), to),
    })
}

/// Builds a DECIMAL column from the values that are not null.
fn try_decimal<T: ArrowPrimitiveType>(
    column: &PrimitiveArray<T>,
    precision: u8,
    scale: u8,
    f: impl Fn(T::Native) -> Result<i256, String>,
) -> Evaluated {
    let result: PrimitiveArray<Decimal256Type> = column.try_unary(f)?;
    typed_decimal(result, precision, scale)
}

/// The column with its DECIMAL type set.
pub fn typed_decimal(column: PrimitiveArray<Decimal256Type>, precision: u8, scale: u8) -> Evaluated {
    Ok(Arc::new(column.with_precision_and_scale(precision, scale as i8).map_err(|e| e.to_string())?))
}

fn to_text(array: &ArrayRef) -> Evaluated {
    write_texts(array.len(), array.len() * 12, |row, out| {
        let valid = array.is_valid(row);
        if valid {
            write_value(array.as_ref(), row, out);
        }
        Ok(valid)
    })
}

fn from_text(array: &ArrayRef, to: &SqlType) -> Evaluated {
    let args = std::slice::from_ref(array);
    let number = |text: &str| format!("For input string: \"{text}\"");
    match to {
        SqlType::Boolean => map1::<Str, Bool>(args, |text| {
            let lower = text.trim().to_lowercase();
            Ok(Some(!lower.is_empty() && ("true".starts_with(&lower) || "yes".starts_with(&lower))))
        }),
        SqlType::Integer => {
            map1::<Str, Int32Type>(args, |text| text.trim().parse().map(Some).map_err(|_| number(text)))
        }
        SqlType::Bigint => map1::<Str, Int64Type>(args, |text| text.trim().parse().map(Some).map_err(|_| number(text))),
        SqlType::Double => {
            map1::<Str, Float64Type>(args, |text| parse_double(text).map(Some).ok_or_else(|| number(text)))
        }
        SqlType::Decimal { precision, scale } => {
            let column =
                map1::<Str, Decimal256Type>(args, |text| parse_decimal(text.trim(), *precision, *scale).map(Some))?;
            typed_decimal(column.as_primitive::<Decimal256Type>().clone(), *precision, *scale)
        }
        SqlType::Bytes => map1::<Str, Bin>(args, |text| {
            STANDARD.decode(text.trim()).map(Some).map_err(|e| format!("'{text}' is not base64: {e}"))
        }),
        SqlType::Date => map1::<Str, Date32Type>(args, |text| parse_date(text).map(Some)),
        SqlType::Time => map1::<Str, Time32MillisecondType>(args, |text| parse_time(text).map(Some)),
        SqlType::Timestamp => map1::<Str, TimestampMillisecondType>(args, |text| parse_timestamp(text).map(Some)),
        _ => unsupported(&SqlType::String, to),
    }
}

/// `Double.parseDouble`: also `NaN`, `Infinity` and a trailing `d` or `f`.
pub fn parse_double(text: &str) -> Option<f64> {
    let trimmed = text.trim();
    let (sign, unsigned) = match trimmed.as_bytes().first()? {
        b'-' => (-1.0, &trimmed[1..]),
        b'+' => (1.0, &trimmed[1..]),
        _ => (1.0, trimmed),
    };
    match unsigned {
        "NaN" => return Some(f64::NAN),
        "Infinity" => return Some(sign * f64::INFINITY),
        _ => {}
    }
    let digits = unsigned.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(unsigned);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    digits.parse::<f64>().ok().map(|v| sign * v)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int64Array, StringArray};

    fn texts(array: &ArrayRef) -> Vec<String> {
        (0..array.len())
            .map(|row| {
                let mut text = String::new();
                write_value(array.as_ref(), row, &mut text);
                text
            })
            .collect()
    }

    fn cast_text(text: &str, to: &SqlType) -> Result<String, String> {
        let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
        Ok(texts(&cast(&column, &SqlType::String, to)?).remove(0))
    }

    #[test]
    fn texts_are_trimmed_and_read() {
        for (text, to, expected) in [
            (" 12 ", SqlType::Integer, "12"),
            ("+7", SqlType::Bigint, "7"),
            ("1e3", SqlType::Double, "1000.0"),
            ("-Infinity", SqlType::Double, "-Infinity"),
            ("ye", SqlType::Boolean, "true"),
            ("T", SqlType::Boolean, "true"),
            ("on", SqlType::Boolean, "false"),
            ("", SqlType::Boolean, "false"),
            ("0.99", SqlType::decimal(2, 1), "1.0"),
            ("1970-01", SqlType::Date, "1970-01-01"),
            ("00:01", SqlType::Time, "00:01"),
            ("1970-01-01T00:00:01", SqlType::Timestamp, "1970-01-01T00:00:01.000"),
        ] {
            assert_eq!(cast_text(text, &to).as_deref(), Ok(expected), "{text} to {to}");
        }
        for (text, to) in [("3.0", SqlType::Integer), ("inf", SqlType::Double), ("x", SqlType::Timestamp)] {
            assert!(cast_text(text, &to).is_err(), "{text} to {to}");
        }
    }

    #[test]
    fn narrowing_wraps_longs_and_holds_doubles() {
        let longs: ArrayRef = Arc::new(Int64Array::from(vec![1, 2_147_483_648]));
        assert_eq!(texts(&cast(&longs, &SqlType::Bigint, &SqlType::Integer).unwrap()), ["1", "-2147483648"]);
        let doubles: ArrayRef = Arc::new(Float64Array::from(vec![1.9, -1.9, 1e300, f64::NAN]));
        let ints = cast(&doubles, &SqlType::Double, &SqlType::Integer).unwrap();
        assert_eq!(texts(&ints), ["1", "-1", "2147483647", "0"]);
        let decimals = cast(&doubles.slice(0, 2), &SqlType::Double, &SqlType::decimal(3, 0)).unwrap();
        assert_eq!(texts(&decimals), ["2", "-2"]);
    }
}

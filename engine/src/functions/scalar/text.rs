//! Functions of STRING.
//!
//! Lengths and positions count UTF-16 units, as Java's strings do; a text of ASCII alone is handled as bytes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryBuilder, StringBuilder};
use arrow::datatypes::Int32Type;

use super::{CallContext, Evaluated, ScalarFunction};
use crate::functions::columns::{Bin, Output, Str, column, map1, map2, map3};

const CATEGORY: &str = "STRING";

pub fn functions() -> Vec<ScalarFunction> {
    vec![
        ScalarFunction::new("UCASE", CATEGORY, "The text in upper case.")
            .overload("(STRING text) -> STRING", |args, _| {
                map1::<Str, Str>(args, |text| Ok(Some(text.to_uppercase())))
            }),
        ScalarFunction::new("LCASE", CATEGORY, "The text in lower case.")
            .overload("(STRING text) -> STRING", |args, _| {
                map1::<Str, Str>(args, |text| Ok(Some(text.to_lowercase())))
            }),
        ScalarFunction::new("TRIM", CATEGORY, "The text without spaces at its ends.")
            .overload("(STRING input) -> STRING", trim),
        ScalarFunction::new("LEN", CATEGORY, "Number of characters of a text (UTF-16 units), or number of bytes.")
            .overload("(STRING text) -> INT", |args, _| {
                map1::<Str, Int32Type>(args, |text| Ok(Some(utf16_len(text) as i32)))
            })
            .overload("(BYTES bytes) -> INT", |args, _| map1::<Bin, Int32Type>(args, |b| Ok(Some(b.len() as i32)))),
        ScalarFunction::new("CONCAT", CATEGORY, "The arguments one after the other; null counts as empty.")
            .overload("(STRING... inputs) -> STRING", concat_texts)
            .overload("(BYTES... inputs) -> BYTES", concat_bytes),
        ScalarFunction::new(
            "SUBSTRING",
            CATEGORY,
            "The part of a text or of bytes from a position on, counted from 1; a negative one from the end.",
        )
        .overload("(STRING str, INT pos) -> STRING", |args, _| {
            map2::<Str, Int32Type, Str>(args, |text, position| Ok(Some(substring(text, position, None))))
        })
        .overload("(STRING str, INT pos, INT len) -> STRING", |args, _| {
            map3::<Str, Int32Type, Int32Type, Str>(args, |text, position, len| {
                Ok(Some(substring(text, position, Some(len))))
            })
        })
        .overload("(BYTES bytes, INT pos) -> BYTES", |args, _| {
            map2::<Bin, Int32Type, Bin>(args, |bytes, position| {
                let (start, end) = part(bytes.len(), position, None);
                Ok(Some(bytes[start..end].to_vec()))
            })
        })
        .overload("(BYTES bytes, INT pos, INT len) -> BYTES", |args, _| {
            map3::<Bin, Int32Type, Int32Type, Bin>(args, |bytes, position, len| {
                let (start, end) = part(bytes.len(), position, Some(len));
                Ok(Some(bytes[start..end].to_vec()))
            })
        }),
    ]
}

/// Length as Java counts it.
pub fn utf16_len(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

/// `String.trim`: cuts everything up to and including the space character.
fn trim(args: &[ArrayRef], _: &CallContext<'_>) -> Evaluated {
    let texts = column::<Str>(&args[0]);
    let mut builder = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
    for text in texts {
        builder.append_option(text.map(|t| t.trim_matches(|c: char| c <= ' ')));
    }
    Ok(Arc::new(builder.finish()))
}

/// Bounds of the part of `length` units that starts at a 1-based position and has at most `len` units.
pub fn part(length: usize, position: i32, len: Option<i32>) -> (usize, usize) {
    let length = length as i64;
    let position = i64::from(position);
    let start = if position < 0 { (length + position).max(0) } else { (position - 1).clamp(0, length) };
    let end = match len {
        Some(len) => (start + i64::from(len.max(0))).min(length),
        None => length,
    };
    (start as usize, end as usize)
}

fn substring(text: &str, position: i32, len: Option<i32>) -> String {
    if text.is_ascii() {
        let (start, end) = part(text.len(), position, len);
        return text[start..end].to_string();
    }
    let units: Vec<u16> = text.encode_utf16().collect();
    let (start, end) = part(units.len(), position, len);
    String::from_utf16_lossy(&units[start..end])
}

fn concat_texts(args: &[ArrayRef], ctx: &CallContext<'_>) -> Evaluated {
    let columns: Vec<_> = args.iter().map(column::<Str>).collect();
    let size = columns.iter().map(|c| c.value_data().len()).sum();
    let mut builder = StringBuilder::with_capacity(ctx.rows, size);
    for row in 0..ctx.rows {
        for column in columns.iter().filter(|c| c.is_valid(row)) {
            use std::fmt::Write;
            builder.write_str(column.value(row)).map_err(|e| e.to_string())?;
        }
        builder.append_value("");
    }
    Ok(Arc::new(builder.finish()))
}

fn concat_bytes(args: &[ArrayRef], ctx: &CallContext<'_>) -> Evaluated {
    let columns: Vec<_> = args.iter().map(column::<Bin>).collect();
    if columns.is_empty() {
        return Bin::build(ctx.rows, |_| Ok(Some(Vec::new())));
    }
    let mut builder = BinaryBuilder::new();
    for row in 0..ctx.rows {
        use std::io::Write;
        for column in columns.iter().filter(|c| c.is_valid(row)) {
            builder.write_all(column.value(row)).map_err(|e| e.to_string())?;
        }
        builder.append_value([]);
    }
    Ok(Arc::new(builder.finish()))
}

//! Functions of STRING.
//!
//! Lengths and positions count UTF-16 units, as Java's strings do; a text of ASCII alone is handled as bytes.
//! Regular expressions are in `regexps`, masks in `masks`, bytes in `bytes`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryBuilder, ListBuilder, StringBuilder};
use arrow::datatypes::Int32Type;

use super::{CallContext, Evaluated, ScalarFunction};
use crate::functions::columns::{Bin, Input, Output, Str, StrList, StrMap, column, map1, map2, map3};

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
        ScalarFunction::new(
            "INITCAP",
            CATEGORY,
            "The text in lower case, the first letter of each word in upper case.",
        )
        .overload("(STRING str) -> STRING", |args, _| map1::<Str, Str>(args, |text| Ok(Some(initcap(text))))),
        ScalarFunction::new("REPLACE", CATEGORY, "The text with one part replaced by another everywhere.")
            .overload("(STRING str, STRING oldStr, STRING newStr) -> STRING", |args, _| {
                map3::<Str, Str, Str, Str>(args, |text, old, new| Ok(Some(text.replace(old, new))))
            }),
        ScalarFunction::new("CONCAT_WS", CATEGORY, "The arguments with a separator between them; nulls are left out.")
            .overload("(STRING separator, STRING... inputs) -> STRING", concat_ws::<Str>)
            .overload("(BYTES separator, BYTES... inputs) -> BYTES", concat_ws::<Bin>),
        ScalarFunction::new("SPLIT", CATEGORY, "The parts of a text or of bytes between delimiters.")
            .overload("(STRING string, STRING delimiter) -> ARRAY<STRING>", |args, _| {
                map2::<Str, Str, StrList>(args, |text, delimiter| Ok(Some(split(text, delimiter))))
            })
            .overload("(BYTES bytes, BYTES delimiter) -> ARRAY<BYTES>", split_bytes),
        ScalarFunction::new("SPLIT_TO_MAP", CATEGORY, "The entries of a text such as 'a:1/b:2' as a map.")
            .overload("(STRING input, STRING entryDelimiter, STRING kvDelimiter) -> MAP<STRING, STRING>", |args, _| {
                map3::<Str, Str, Str, StrMap>(args, |text, entry, pair| Ok(split_to_map(text, entry, pair)))
            }),
        instr(),
        pad("LPAD", "The text or bytes, filled up on the left to a length.", true),
        pad("RPAD", "The text or bytes, filled up on the right to a length.", false),
        ScalarFunction::new("CHR", CATEGORY, "The character of a code point, given as a number or as \\uXXXX.")
            .overload("(INT decimalCode) -> STRING", |args, _| {
                map1::<Int32Type, Str>(args, |code| {
                    Ok(u32::try_from(code).ok().and_then(char::from_u32).map(String::from))
                })
            })
            .overload("(STRING utf16Code) -> STRING", |args, _| map1::<Str, Str>(args, |code| Ok(unescaped(code)))),
        ScalarFunction::new("ELT", CATEGORY, "The n-th of the arguments.")
            .overload("(INT n, STRING... args) -> STRING", elt),
        ScalarFunction::new("FIELD", CATEGORY, "Which of the arguments equals the text; 0 if none does.")
            .overload("(STRING str, STRING... args) -> INT", field),
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

/// Words are what stands between white space.
fn initcap(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut starts = true;
    for c in text.chars() {
        if starts {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        starts = c.is_whitespace();
    }
    out
}

fn concat_ws<T>(args: &[ArrayRef], ctx: &CallContext<'_>) -> Evaluated
where
    T: Input + Output,
    for<'a> T::Value<'a>: AsRef<[u8]>,
    T::Owned: FromParts,
{
    let columns: Vec<_> = args.iter().map(column::<T>).collect();
    let (separators, inputs) = columns.split_first().ok_or("CONCAT_WS has a separator")?;
    T::build(ctx.rows, |row| {
        if separators.is_null(row) {
            return Ok(None);
        }
        let separator = T::value(separators, row);
        let mut joined = Vec::new();
        for (i, column) in inputs.iter().filter(|c| c.is_valid(row)).enumerate() {
            if i > 0 {
                joined.extend_from_slice(separator.as_ref());
            }
            joined.extend_from_slice(T::value(column, row).as_ref());
        }
        T::Owned::from_parts(joined).map(Some)
    })
}

/// A text or bytes put together from texts or bytes.
trait FromParts: Sized {
    fn from_parts(bytes: Vec<u8>) -> Result<Self, String>;
}

impl FromParts for String {
    fn from_parts(bytes: Vec<u8>) -> Result<Self, String> {
        String::from_utf8(bytes).map_err(|e| e.to_string())
    }
}

impl FromParts for Vec<u8> {
    fn from_parts(bytes: Vec<u8>) -> Result<Self, String> {
        Ok(bytes)
    }
}

/// An empty delimiter splits into characters.
fn split(text: &str, delimiter: &str) -> Vec<Option<String>> {
    if delimiter.is_empty() && !text.is_empty() {
        return text.chars().map(|c| Some(c.to_string())).collect();
    }
    if delimiter.is_empty() {
        return vec![Some(String::new())];
    }
    text.split(delimiter).map(|part| Some(part.to_string())).collect()
}

fn split_bytes(args: &[ArrayRef], _: &CallContext<'_>) -> Evaluated {
    let (values, delimiters) = (column::<Bin>(&args[0]), column::<Bin>(&args[1]));
    let mut builder = ListBuilder::new(BinaryBuilder::new());
    for row in 0..values.len() {
        if values.is_null(row) || delimiters.is_null(row) {
            builder.append(false);
            continue;
        }
        let (mut rest, delimiter) = (values.value(row), delimiters.value(row));
        if delimiter.is_empty() && !rest.is_empty() {
            rest.chunks(1).for_each(|byte| builder.values().append_value(byte));
        } else {
            let find = |bytes: &[u8]| {
                if delimiter.is_empty() { None } else { bytes.windows(delimiter.len()).position(|w| w == delimiter) }
            };
            while let Some(at) = find(rest) {
                builder.values().append_value(&rest[..at]);
                rest = &rest[at + delimiter.len()..];
            }
            builder.values().append_value(rest);
        }
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

/// Entries without a pair's delimiter are left out; of equal keys the last stays.
fn split_to_map(text: &str, entry: &str, pair: &str) -> Option<Vec<(String, Option<String>)>> {
    if entry.is_empty() || pair.is_empty() || entry == pair {
        return None;
    }
    let mut entries: Vec<(String, Option<String>)> = Vec::new();
    for part in text.split(entry) {
        let mut parts = part.split(pair);
        let (Some(key), Some(value)) = (parts.next(), parts.next()) else { continue };
        match entries.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = Some(value.to_string()),
            None => entries.push((key.to_string(), Some(value.to_string()))),
        }
    }
    Some(entries)
}

fn instr() -> ScalarFunction {
    let evaluate = |args: &[ArrayRef], _: &CallContext<'_>| -> Evaluated {
        let (texts, parts) = (column::<Str>(&args[0]), column::<Str>(&args[1]));
        let numbers: Vec<_> = args[2..].iter().map(column::<Int32Type>).collect();
        Int32Type::build(texts.len(), |row| {
            if texts.is_null(row) || parts.is_null(row) || numbers.iter().any(|n| n.is_null(row)) {
                return Ok(Some(0));
            }
            let number = |at: usize| numbers.get(at).map_or(1, |n| n.value(row));
            Ok(Some(position_of(texts.value(row), parts.value(row), number(0), number(1))))
        })
    };
    ScalarFunction::new("INSTR", CATEGORY, "Where a text contains another one, counted from 1; 0 if nowhere.")
        .overload("(STRING str, STRING substring) -> INT", evaluate)
        .overload("(STRING str, STRING substring, INT position) -> INT", evaluate)
        .overload("(STRING str, STRING substring, INT position, INT occurrence) -> INT", evaluate)
}

/// The n-th place from `position` on; from a negative one, backward from there.
fn position_of(text: &str, part: &str, position: i32, occurrence: i32) -> i32 {
    let (text, part): (Vec<u16>, Vec<u16>) = (text.encode_utf16().collect(), part.encode_utf16().collect());
    let length = text.len() as i64;
    if position == 0 || occurrence < 1 || i64::from(position).abs() > length {
        return 0;
    }
    let starts_at = |at: i64| {
        usize::try_from(at).is_ok_and(|at| text.get(at..at + part.len()).is_some_and(|found| *found == *part))
    };
    let nth = occurrence as usize - 1;
    let found = if position > 0 {
        (i64::from(position) - 1..length).filter(|at| starts_at(*at)).nth(nth)
    } else {
        (0..=length + i64::from(position)).rev().filter(|at| starts_at(*at)).nth(nth)
    };
    found.map_or(0, |at| at as i32 + 1)
}

/// Longest text or bytes that LPAD and RPAD make for one row.
const PADDED_BYTES_MAX: i32 = 64 * 1024 * 1024;

fn pad(name: &'static str, description: &'static str, left: bool) -> ScalarFunction {
    ScalarFunction::new(name, CATEGORY, description)
        .overload("(STRING input, INT targetLen, STRING padding) -> STRING", move |args, _| {
            map3::<Str, Int32Type, Str, Str>(args, |text, length, padding| {
                let (text, padding): (Vec<u16>, Vec<u16>) =
                    (text.encode_utf16().collect(), padding.encode_utf16().collect());
                Ok(padded(&text, length, &padding, left)?.map(|units| String::from_utf16_lossy(&units)))
            })
        })
        .overload("(BYTES input, INT targetLen, BYTES padding) -> BYTES", move |args, _| {
            map3::<Bin, Int32Type, Bin, Bin>(args, |bytes, length, padding| padded(bytes, length, padding, left))
        })
}

/// Filled up or cut to the length; null without padding or with a negative length.
fn padded<U: Copy>(units: &[U], length: i32, padding: &[U], left: bool) -> Result<Option<Vec<U>>, String> {
    if padding.is_empty() || length < 0 {
        return Ok(None);
    }
    if length > PADDED_BYTES_MAX {
        return Err(format!("a length of {length} is more than {PADDED_BYTES_MAX}"));
    }
    let length = length as usize;
    let missing = length.saturating_sub(units.len());
    let fill = padding.iter().copied().cycle().take(missing);
    let kept = units.iter().copied();
    let whole: Vec<U> =
        if left { fill.chain(kept).take(length).collect() } else { kept.chain(fill).take(length).collect() };
    Ok(Some(whole))
}

/// `\\u004b`, once or several times.
fn unescaped(text: &str) -> Option<String> {
    let units = text
        .strip_prefix("\\u")?
        .split("\\u")
        .map(|hex| if hex.len() == 4 { u16::from_str_radix(hex, 16).ok() } else { None })
        .collect::<Option<Vec<u16>>>()?;
    String::from_utf16(&units).ok()
}

fn elt(args: &[ArrayRef], ctx: &CallContext<'_>) -> Evaluated {
    let positions = column::<Int32Type>(&args[0]);
    let texts: Vec<_> = args[1..].iter().map(column::<Str>).collect();
    Str::build(ctx.rows, |row| {
        if positions.is_null(row) {
            return Ok(None);
        }
        let chosen = usize::try_from(positions.value(row)).ok().and_then(|n| texts.get(n.checked_sub(1)?));
        Ok(chosen.filter(|t| t.is_valid(row)).map(|t| t.value(row).to_string()))
    })
}

fn field(args: &[ArrayRef], ctx: &CallContext<'_>) -> Evaluated {
    let wanted = column::<Str>(&args[0]);
    let texts: Vec<_> = args[1..].iter().map(column::<Str>).collect();
    Int32Type::build(ctx.rows, |row| {
        if wanted.is_null(row) {
            return Ok(Some(0));
        }
        let equal = |t: &arrow::array::StringArray| t.is_valid(row) && t.value(row) == wanted.value(row);
        Ok(Some(texts.iter().position(|t| equal(t)).map_or(0, |at| at as i32 + 1)))
    })
}

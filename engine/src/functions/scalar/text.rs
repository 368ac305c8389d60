//! Functions of STRING.
//!
//! Lengths and positions count UTF-16 units, as Java's strings do; a text of ASCII alone is handled as bytes.
//! Regular expressions are in `regexps`, masks in `masks`, bytes in `bytes`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryBuilder, Int32Array, ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, Int32Type};
use datafusion::functions::string;
use datafusion::logical_expr::ScalarUDF;

use super::{CallContext, Evaluated, ScalarFunction};
use crate::functions::columns::{Bin, Output, Str, StrMap, column, map1, map2, map3, rewrite_texts, write_texts};
use crate::functions::udf::run_datafusions;

const CATEGORY: &str = "STRING";

pub fn functions() -> Vec<ScalarFunction> {
    vec![
        ScalarFunction::new("UCASE", CATEGORY, "The text in upper case.")
            .example("UCASE('aé')", "AÉ")
            .overload("(STRING text) -> STRING", |args, _| in_case(&args[0], &string::upper())),
        ScalarFunction::new("LCASE", CATEGORY, "The text in lower case.")
            .example("LCASE('AÉ')", "aé")
            .overload("(STRING text) -> STRING", |args, _| in_case(&args[0], &string::lower())),
        ScalarFunction::new("TRIM", CATEGORY, "The text without spaces at its ends.")
            .example("TRIM('  a b ')", "a b")
            .differs(
                "cuts spaces only and can be told what to cut; here tabs, line ends and other control \
                 characters go, too.",
            )
            .overload("(STRING input) -> STRING", trim),
        ScalarFunction::new("LEN", CATEGORY, "Number of characters of a text (UTF-16 units), or number of bytes.")
            .example("LEN('abc')", "3")
            .overload("(STRING text) -> INT", lengths)
            .overload("(BYTES bytes) -> INT", |args, _| map1::<Bin, Int32Type>(args, |b| Ok(Some(b.len() as i32)))),
        ScalarFunction::new("CONCAT", CATEGORY, "The arguments one after the other; null counts as empty.")
            .example("CONCAT('a', null, 'b')", "ab")
            .differs("takes texts only; here also BYTES.")
            .overload("(STRING... inputs) -> STRING", concat_texts)
            .overload("(BYTES... inputs) -> BYTES", concat_bytes),
        ScalarFunction::new(
            "SUBSTRING",
            CATEGORY,
            "The part of a text or of bytes from a position on, counted from 1; a negative one from the end.",
        )
        .example("SUBSTRING('stream', -3, 2)", "ea")
        .differs(
            "counts characters, and a position below 1 takes from the length; here UTF-16 units \
                 count, and a negative position counts from the end.",
        )
        .overload("(STRING str, INT pos) -> STRING", substrings)
        .overload("(STRING str, INT pos, INT len) -> STRING", substrings)
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
        .example("INITCAP('the quick fOx')", "The Quick Fox")
        .differs("a word ends at any character that is no letter or digit, here only at white space.")
        .overload("(STRING str) -> STRING", |args, _| rewrite_texts(&args[0], initcap)),
        ScalarFunction::new("REPLACE", CATEGORY, "The text with one part replaced by another everywhere.")
            .example("REPLACE('anaconda', 'a', 'o')", "onocondo")
            .differs(
                "an empty text to be replaced changes nothing; here the other stands before and behind \
                 every character.",
            )
            .overload("(STRING str, STRING oldStr, STRING newStr) -> STRING", replace),
        ScalarFunction::new("CONCAT_WS", CATEGORY, "The arguments with a separator between them; nulls are left out.")
            .example("CONCAT_WS('-', 'a', null, 'b')", "a-b")
            .differs("takes texts only; here also BYTES.")
            .overload("(STRING separator, STRING... inputs) -> STRING", concat_texts_with)
            .overload("(BYTES separator, BYTES... inputs) -> BYTES", concat_bytes_with),
        ScalarFunction::new("SPLIT", CATEGORY, "The parts of a text or of bytes between delimiters.")
            .example("SPLIT('a.b.c', '.')", "[a, b, c]")
            .overload("(STRING string, STRING delimiter) -> ARRAY<STRING>", split_texts)
            .overload("(BYTES bytes, BYTES delimiter) -> ARRAY<BYTES>", split_bytes),
        ScalarFunction::new("SPLIT_TO_MAP", CATEGORY, "The entries of a text such as 'a:1/b:2' as a map.")
            .example("SPLIT_TO_MAP('a:1/b:2', '/', ':')", "{a=1, b=2}")
            .overload("(STRING input, STRING entryDelimiter, STRING kvDelimiter) -> MAP<STRING, STRING>", |args, _| {
                map3::<Str, Str, Str, StrMap>(args, |text, entry, pair| Ok(split_to_map(text, entry, pair)))
            }),
        instr(),
        pad("LPAD", "The text or bytes, filled up on the left to a length.", true)
            .example("LPAD('foo', 7, 'Bar')", "BarBfoo")
            .differs(
                "an empty padding fills nothing, and a negative length gives an empty text; here both \
                 give null.",
            ),
        pad("RPAD", "The text or bytes, filled up on the right to a length.", false)
            .example("RPAD('foo', 7, 'Bar')", "fooBarB")
            .differs(
                "an empty padding fills nothing, and a negative length gives an empty text; here both \
                 give null.",
            ),
        ScalarFunction::new("CHR", CATEGORY, "The character of a code point, given as a number or as \\uXXXX.")
            .example("CHR(75)", "K")
            .differs(
                "takes numbers only, and one that is no character is an error; here \\uXXXX is read, too, \
                 and what is no character is null.",
            )
            .overload("(INT decimalCode) -> STRING", |args, _| {
                map1::<Int32Type, Str>(args, |code| {
                    Ok(u32::try_from(code).ok().and_then(char::from_u32).map(String::from))
                })
            })
            .overload("(STRING utf16Code) -> STRING", |args, _| map1::<Str, Str>(args, |code| Ok(unescaped(code)))),
        ScalarFunction::new("ELT", CATEGORY, "The n-th of the arguments.")
            .example("ELT(2, 'a', 'b')", "b")
            .overload("(INT n, STRING... args) -> STRING", elt),
        ScalarFunction::new("FIELD", CATEGORY, "Which of the arguments equals the text; 0 if none does.")
            .example("FIELD('b', 'a', 'b')", "2")
            .overload("(STRING str, STRING... args) -> INT", field),
    ]
}

fn lengths(args: &[ArrayRef], _: &CallContext<'_>) -> Evaluated {
    let texts = column::<Str>(&args[0]);
    let offsets = texts.value_offsets();
    if texts.value_data()[offsets[0] as usize..offsets[texts.len()] as usize].is_ascii() {
        let lengths = offsets.windows(2).map(|ends| ends[1] - ends[0]).collect();
        return Ok(Arc::new(Int32Array::new(lengths, texts.nulls().cloned())));
    }
    map1::<Str, Int32Type>(args, |text| Ok(Some(utf16_len(text) as i32)))
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

/// All texts in upper or lower case: Unicode's rules, which are Java's; DataFusion's way is the fast one for ASCII.
fn in_case(texts: &ArrayRef, function: &ScalarUDF) -> Evaluated {
    let field = Arc::new(Field::new("text", DataType::Utf8, true));
    run_datafusions(function, &[Arc::clone(&field)], &field, vec![Arc::clone(texts)], texts.len())
}

fn substrings(args: &[ArrayRef], _: &CallContext<'_>) -> Evaluated {
    let (texts, positions) = (column::<Str>(&args[0]), column::<Int32Type>(&args[1]));
    let lengths = args.get(2).map(column::<Int32Type>);
    write_texts(texts.len(), texts.value_data().len(), |row, out| {
        let valid = texts.is_valid(row) && positions.is_valid(row) && lengths.is_none_or(|l| l.is_valid(row));
        if valid {
            substring(texts.value(row), positions.value(row), lengths.map(|l| l.value(row)), out);
        }
        Ok(valid)
    })
}

fn substring(text: &str, position: i32, len: Option<i32>, out: &mut String) {
    if text.is_ascii() {
        let (start, end) = part(text.len(), position, len);
        return out.push_str(&text[start..end]);
    }
    let units: Vec<u16> = text.encode_utf16().collect();
    let (start, end) = part(units.len(), position, len);
    out.extend(char::decode_utf16(units[start..end].iter().copied()).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
}

fn replace(args: &[ArrayRef], _: &CallContext<'_>) -> Evaluated {
    let [texts, old, new] = [0, 1, 2].map(|i| column::<Str>(&args[i]));
    write_texts(texts.len(), texts.value_data().len(), |row, out| {
        let valid = [texts, old, new].iter().all(|c| c.is_valid(row));
        if valid {
            let (text, old, new) = (texts.value(row), old.value(row), new.value(row));
            let mut rest = 0;
            for (at, _) in text.match_indices(old) {
                out.push_str(&text[rest..at]);
                out.push_str(new);
                rest = at + old.len();
            }
            out.push_str(&text[rest..]);
        }
        Ok(valid)
    })
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
fn initcap(text: &str, out: &mut String) {
    let mut starts = true;
    if text.is_ascii() {
        for &byte in text.as_bytes() {
            let byte = if starts { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
            out.push(char::from(byte));
            starts = char::from(byte).is_whitespace();
        }
        return;
    }
    for c in text.chars() {
        if starts {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        starts = c.is_whitespace();
    }
}

fn concat_texts_with(args: &[ArrayRef], ctx: &CallContext<'_>) -> Evaluated {
    let columns: Vec<_> = args.iter().map(column::<Str>).collect();
    let (separators, inputs) = columns.split_first().ok_or("CONCAT_WS has a separator")?;
    write_texts(ctx.rows, inputs.iter().map(|c| c.value_data().len()).sum(), |row, out| {
        if separators.is_null(row) {
            return Ok(false);
        }
        for (i, column) in inputs.iter().filter(|c| c.is_valid(row)).enumerate() {
            if i > 0 {
                out.push_str(separators.value(row));
            }
            out.push_str(column.value(row));
        }
        Ok(true)
    })
}

fn concat_bytes_with(args: &[ArrayRef], ctx: &CallContext<'_>) -> Evaluated {
    let columns: Vec<_> = args.iter().map(column::<Bin>).collect();
    let (separators, inputs) = columns.split_first().ok_or("CONCAT_WS has a separator")?;
    Bin::build(ctx.rows, |row| {
        let present: Vec<&[u8]> = inputs.iter().filter(|c| c.is_valid(row)).map(|c| c.value(row)).collect();
        Ok(separators.is_valid(row).then(|| present.join(separators.value(row))))
    })
}

/// An empty delimiter splits into characters.
fn split_texts(args: &[ArrayRef], _: &CallContext<'_>) -> Evaluated {
    let (texts, delimiters) = (column::<Str>(&args[0]), column::<Str>(&args[1]));
    let parts = StringBuilder::with_capacity(texts.len() * 4, texts.value_data().len());
    let mut builder = ListBuilder::with_capacity(parts, texts.len());
    for row in 0..texts.len() {
        let valid = texts.is_valid(row) && delimiters.is_valid(row);
        if valid {
            let (text, delimiter) = (texts.value(row), delimiters.value(row));
            let parts = builder.values();
            if let [byte @ ..0x80] = *delimiter.as_bytes() {
                text.split(char::from(byte)).for_each(|part| parts.append_value(part));
            } else if !delimiter.is_empty() {
                text.split(delimiter).for_each(|part| parts.append_value(part));
            } else if text.is_empty() {
                parts.append_value("");
            } else {
                text.split("").filter(|c| !c.is_empty()).for_each(|c| parts.append_value(c));
            }
        }
        builder.append(valid);
    }
    Ok(Arc::new(builder.finish()))
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
        .example("INSTR('corporate floor', 'or', 4)", "5")
        .differs("has no position and occurrence.")
        .overload("(STRING str, STRING substring) -> INT", evaluate)
        .overload("(STRING str, STRING substring, INT position) -> INT", evaluate)
        .overload("(STRING str, STRING substring, INT position, INT occurrence) -> INT", evaluate)
}

/// The n-th place from `position` on; from a negative one, backward from there.
fn position_of(text: &str, part: &str, position: i32, occurrence: i32) -> i32 {
    if position == 1 && occurrence == 1 && text.is_ascii() && !text.is_empty() {
        return text.find(part).map_or(0, |at| at as i32 + 1);
    }
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
        .overload("(STRING input, INT targetLen, STRING padding) -> STRING", move |args, _| pad_texts(args, left))
        .overload("(BYTES input, INT targetLen, BYTES padding) -> BYTES", move |args, _| {
            map3::<Bin, Int32Type, Bin, Bin>(args, |bytes, length, padding| padded(bytes, length, padding, left))
        })
}

fn pad_texts(args: &[ArrayRef], left: bool) -> Evaluated {
    let (texts, lengths, paddings) = (column::<Str>(&args[0]), column::<Int32Type>(&args[1]), column::<Str>(&args[2]));
    // The padding over and over; made anew when it changes.
    let (mut fill, mut fill_of) = (String::new(), "");
    write_texts(texts.len(), texts.value_data().len() * 2, |row, out| {
        if texts.is_null(row) || lengths.is_null(row) || paddings.is_null(row) {
            return Ok(false);
        }
        let (text, length, padding) = (texts.value(row), lengths.value(row), paddings.value(row));
        if !(text.is_ascii() && padding.is_ascii()) {
            let (text, padding): (Vec<u16>, Vec<u16>) =
                (text.encode_utf16().collect(), padding.encode_utf16().collect());
            let units = padded(&text, length, &padding, left)?;
            units.iter().for_each(|units| out.push_str(&String::from_utf16_lossy(units)));
            return Ok(units.is_some());
        }
        let Some(missing) = missing(text.len(), length, padding.len())? else { return Ok(false) };
        let kept = &text[..text.len().min(length as usize)];
        if !left {
            out.push_str(kept);
        }
        if fill_of != padding || fill.len() < missing {
            fill = padding.repeat(missing / padding.len() + 1);
            fill_of = padding;
        }
        out.push_str(&fill[..missing]);
        if left {
            out.push_str(kept);
        }
        Ok(true)
    })
}

/// How many units are to be filled up; None without padding or with a negative length.
fn missing(units: usize, length: i32, padding: usize) -> Result<Option<usize>, String> {
    if padding == 0 || length < 0 {
        return Ok(None);
    }
    if length > PADDED_BYTES_MAX {
        return Err(format!("a length of {length} is more than {PADDED_BYTES_MAX}"));
    }
    Ok(Some((length as usize).saturating_sub(units)))
}

/// Filled up or cut to the length; null without padding or with a negative length.
fn padded<U: Copy>(units: &[U], length: i32, padding: &[U], left: bool) -> Result<Option<Vec<U>>, String> {
    let Some(missing) = missing(units.len(), length, padding.len())? else { return Ok(None) };
    let length = length as usize;
    let kept = &units[..length.min(units.len())];
    let fill = padding.iter().copied().cycle().take(missing);
    let mut whole = Vec::with_capacity(length);
    if left {
        whole.extend(fill);
        whole.extend_from_slice(kept);
    } else {
        whole.extend_from_slice(kept);
        whole.extend(fill);
    }
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
        let equal = |t: &StringArray| t.is_valid(row) && t.value(row) == wanted.value(row);
        Ok(Some(texts.iter().position(|t| equal(t)).map_or(0, |at| at as i32 + 1)))
    })
}

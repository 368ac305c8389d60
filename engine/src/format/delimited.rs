//! The DELIMITED format: one line of fields, quoted where needed (RFC 4180 in spirit, Apache Commons CSV to the letter).
//!
//! | field | reads as |
//! |---|---|
//! | nothing, or `""` | null |
//! | `"a,""b"""` | `a,"b"` |
//! | `true` in any case | true; any other text is false |
//! | `MTIz` as BYTES | base64 |
//! | `0` as DATE, TIME, TIMESTAMP | days, milliseconds of the day, milliseconds since 1970 |
//!
//! Exactly as many fields as columns, nothing is trimmed. Writing quotes a field that holds the delimiter, a quote or a
//! line end, that begins with a character up to `#` or ends with one up to a space, and, as the first field of the line, one
//! that does not begin with a letter or digit of ASCII.
//!
//! Our choice: an empty record of one column is that column's null (ksqlDB cannot read back what it wrote there).

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{
    Date32Type, Decimal256Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType, TimestampMillisecondType,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::columns::Growing;
use super::json::write::write_base64;
use super::number::{DecimalText, parse_double, write_decimal, write_double, write_long};
use super::records::{self, Read};
use super::{Canonical, Decoded, Encoded, Format, FormatRef, absorb_nulls, rows_of};
use crate::error::{Error, Result};
use crate::schema::Column;
use crate::types::SqlType;

struct Delimited {
    columns: Vec<Column>,
    delimiter: char,
}

pub(super) fn create(columns: &[Column], delimiter: Option<char>) -> Result<FormatRef> {
    if let Some(column) = columns.iter().find(|c| c.ty.is_nested()) {
        return Err(Error::statement(format!(
            "The 'DELIMITED' format does not support type '{}', column: `{}`",
            column.ty.base_name(),
            column.name
        )));
    }
    let delimiter = delimiter.unwrap_or(',');
    if matches!(delimiter, '"' | '\r' | '\n') {
        return Err(Error::statement(format!("{delimiter:?} cannot be the delimiter of the DELIMITED format")));
    }
    Ok(Arc::new(Delimited { columns: columns.to_vec(), delimiter }))
}

impl Format for Delimited {
    fn decode(&self, records: &BinaryArray, wanted: &[usize]) -> Result<Decoded> {
        let types = self.columns.iter().map(|c| &c.ty);
        records::decode(records, types, wanted, |_, record, columns| self.read(record, columns).map(|()| Read::Columns))
    }

    fn canonicalise(&self, columns: Vec<ArrayRef>, null: Option<&BooleanBuffer>) -> Result<Canonical> {
        let (mut columns, null) = absorb_nulls(columns, null, false)?;
        for column in &mut columns {
            let empty = match (column.as_string_opt::<i32>(), column.as_binary_opt::<i32>()) {
                (Some(text), _) => empty_values(text.value_offsets(), text.len(), |row| text.is_valid(row)),
                (_, Some(bytes)) => empty_values(bytes.value_offsets(), bytes.len(), |row| bytes.is_valid(row)),
                _ => continue,
            };
            if let Some(empty) = empty {
                *column = arrow::compute::nullif(column, &arrow::array::BooleanArray::new(empty, None))?;
            }
        }
        Ok(Canonical { columns, null, errors: Vec::new() })
    }

    fn encode(&self, columns: &[ArrayRef], null: Option<&BooleanBuffer>) -> Result<Encoded> {
        let rows = columns.first().map(|c| c.len()).or(null.map(|n| n.len())).unwrap_or(0);
        let mut out = BinaryBuilder::with_capacity(rows, rows * 12 * columns.len().max(1));
        let mut line = Vec::new();
        for row in 0..rows {
            if null.is_some_and(|n| n.value(row)) {
                out.append_null();
                continue;
            }
            line.clear();
            for (i, (column, array)) in self.columns.iter().zip(columns).enumerate() {
                if i > 0 {
                    let mut utf8 = [0; 4];
                    line.extend_from_slice(self.delimiter.encode_utf8(&mut utf8).as_bytes());
                }
                if array.is_valid(row) {
                    self.write(&column.ty, array.as_ref(), row, i == 0, &mut line);
                }
            }
            out.append_value(&line);
        }
        Ok(Encoded { bytes: out.finish(), errors: Vec::new() })
    }
}

/// Valid rows of no bytes, None if there are none.
fn empty_values(offsets: &[i32], rows: usize, valid: impl Fn(usize) -> bool) -> Option<BooleanBuffer> {
    let empty: Vec<usize> = (0..rows).filter(|&row| offsets[row] == offsets[row + 1] && valid(row)).collect();
    rows_of(&empty, rows)
}

impl Delimited {
    fn read(&self, record: &[u8], to: &mut [Growing]) -> std::result::Result<(), String> {
        let text = std::str::from_utf8(record).map_err(|_| "the record is not UTF-8".to_string())?;
        let mut fields = 0;
        let mut rest = Some(text);
        while let Some(at) = rest {
            let (field, after) = self.next_field(at)?;
            if let (Some(column), Some(to)) = (self.columns.get(fields), to.get_mut(fields)) {
                read_field(&column.ty, &field, to).map_err(|what| format!("{what}, column `{}`", column.name))?;
            }
            fields += 1;
            rest = after;
        }
        let expected = self.columns.len();
        if fields != expected && !(expected == 0 && text.is_empty()) {
            return Err(format!("Unexpected field count. expected: {expected}, got: {fields}"));
        }
        Ok(())
    }

    /// The field at the start of `text`, and what follows its delimiter; None at the end of the line.
    fn next_field<'a>(&self, text: &'a str) -> std::result::Result<(Cow<'a, str>, Option<&'a str>), String> {
        let ends = |c: char| c == self.delimiter || c == '\n' || c == '\r';
        let after = |at: usize| text[at..].strip_prefix(self.delimiter);
        let Some(quoted) = text.strip_prefix('"') else {
            let end = text.find(ends).unwrap_or(text.len());
            return Ok((Cow::Borrowed(&text[..end]), after(end)));
        };
        let mut field = Cow::Borrowed("");
        let mut done = 0;
        loop {
            let Some(quote) = quoted[done..].find('"').map(|at| done + at) else {
                return Err("a quoted field without end".to_string());
            };
            let piece = &quoted[done..quote];
            if field.is_empty() {
                field = Cow::Borrowed(piece);
            } else {
                field.to_mut().push_str(piece);
            }
            done = quote + 1;
            if !quoted[done..].starts_with('"') {
                break;
            }
            field.to_mut().push('"');
            done += 1;
        }
        // White space between the quote and the delimiter is stepped over, anything else is a fault.
        let rest = &quoted[done..];
        let end = rest.find(ends).unwrap_or(rest.len());
        if !rest[..end].trim().is_empty() {
            return Err("text between a closing quote and the delimiter".to_string());
        }
        Ok((field, after(1 + done + end)))
    }

    fn write(&self, ty: &SqlType, array: &dyn Array, row: usize, first: bool, line: &mut Vec<u8>) {
        let start = line.len();
        match ty {
            SqlType::Boolean => line.extend_from_slice(if array.as_boolean().value(row) { b"true" } else { b"false" }),
            SqlType::Integer => write_long(i64::from(array.as_primitive::<Int32Type>().value(row)), line),
            SqlType::Bigint => write_long(array.as_primitive::<Int64Type>().value(row), line),
            SqlType::Double => write_double(array.as_primitive::<Float64Type>().value(row), line),
            SqlType::Decimal { scale, .. } => {
                write_decimal(array.as_primitive::<Decimal256Type>().value(row), usize::from(*scale), line);
            }
            SqlType::String => {
                let text: &StringArray = array.as_string();
                line.extend_from_slice(text.value(row).as_bytes());
            }
            SqlType::Bytes => write_base64(array.as_binary::<i32>().value(row), line),
            SqlType::Date => write_long(i64::from(array.as_primitive::<Date32Type>().value(row)), line),
            SqlType::Time => write_long(i64::from(array.as_primitive::<Time32MillisecondType>().value(row)), line),
            SqlType::Timestamp => write_long(array.as_primitive::<TimestampMillisecondType>().value(row), line),
            SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_) => {
                unreachable!("nested types are refused when the format is made")
            }
        }
        if self.needs_quotes(&line[start..], first) {
            let field = line.split_off(start);
            line.push(b'"');
            for byte in field {
                if byte == b'"' {
                    line.push(b'"');
                }
                line.push(byte);
            }
            line.push(b'"');
        }
    }

    fn needs_quotes(&self, field: &[u8], first: bool) -> bool {
        let (Some(&head), Some(&tail)) = (field.first(), field.last()) else { return first };
        if (first && !head.is_ascii_alphanumeric()) || head <= b'#' || tail <= b' ' {
            return true;
        }
        let mut utf8 = [0; 4];
        let delimiter = self.delimiter.encode_utf8(&mut utf8).as_bytes();
        field.iter().any(|b| matches!(b, b'\n' | b'\r' | b'"'))
            || field.windows(delimiter.len()).any(|window| window == delimiter)
    }
}

fn read_field(ty: &SqlType, text: &str, to: &mut Growing) -> std::result::Result<(), String> {
    if text.is_empty() {
        to.push_null();
        return Ok(());
    }
    let wrong = || format!("{text:?} is no {ty}");
    let int = || text.parse::<i32>().map_err(|_| wrong());
    let long = || text.parse::<i64>().map_err(|_| wrong());
    match ty {
        SqlType::Boolean => to.push_bool(text.eq_ignore_ascii_case("true")),
        SqlType::Integer | SqlType::Date | SqlType::Time => to.push_int(int()?),
        SqlType::Bigint | SqlType::Timestamp => to.push_long(long()?),
        SqlType::Double => to.push_double(parse_double(text).ok_or_else(wrong)?),
        SqlType::Decimal { precision, scale } => {
            let value = DecimalText::parse(text).and_then(|d| d.to_decimal(*precision, *scale));
            to.push_decimal(value.ok_or_else(wrong)?);
        }
        SqlType::String => to.push_text(text.as_bytes()),
        SqlType::Bytes => to.push_text(&BASE64.decode(text).map_err(|_| wrong())?),
        SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_) => return Err(wrong()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(columns: &[SqlType]) -> Result<FormatRef> {
        let columns: Vec<_> =
            columns.iter().enumerate().map(|(i, ty)| Column::new(format!("C{i}"), ty.clone())).collect();
        create(&columns, None)
    }

    fn rewritten(types: &[SqlType], line: &str) -> Result<String> {
        let format = format(types)?;
        let wanted: Vec<usize> = (0..types.len()).collect();
        let read = format.decode(&BinaryArray::from_vec(vec![line.as_bytes()]), &wanted)?;
        if let Some(error) = read.errors.first() {
            return Ok(error.message.clone());
        }
        Ok(String::from_utf8_lossy(format.encode(&read.columns, read.null.as_ref())?.bytes.value(0)).into_owned())
    }

    #[test]
    fn fields_are_quoted_where_commons_csv_quotes_them() -> Result<()> {
        use SqlType::{Bigint, Boolean, Double, String};
        for (types, line, back) in [
            (vec![Bigint, String], "5,\"a\"", "5,a"),
            (vec![Bigint, Bigint], "-5,-5", "\"-5\",-5"),
            (vec![String, String, String], "!,#x,\"a,\"\"b\"", "\"!\",\"#x\",\"a,\"\"b\""),
            (vec![String, String], "a, b ", "a,\" b \""),
            (vec![String, String], ",\"\"", ","),
            (vec![Double, Boolean], "1e10,TRUE", "1.0E10,true"),
            (vec![SqlType::decimal(6, 2)], ".5", "0.50"),
            (vec![Bigint], "a", "\"a\" is no BIGINT, column `C0`"),
            (vec![Bigint], "1,2", "Unexpected field count. expected: 1, got: 2"),
            (vec![String], "\"a", "a quoted field without end"),
            (vec![String], "", ""),
        ] {
            assert_eq!(rewritten(&types, line)?, back, "{line}");
        }
        Ok(())
    }
}

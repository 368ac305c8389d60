//! A JSON value of any kind as a STRING column takes it (ksqlDB: any value fits a STRING).
//!
//! | value | text |
//! |---|---|
//! | `"a"` | `a` |
//! | `10`, `1.50`, `1e3` | `10`, `1.50`, `1E+3` |
//! | `true` | `true` |
//! | `{"a": 1, "b": [1]}` | `{"a":1,"b":[1]}` |
//! | `[1, "x", null, {"a": 1}]` | `[1, x, null, {"a":1}]` |

use super::super::number::DecimalText;
use super::scan::{Cursor, RawNumber, Scan};
use super::write::write_string;

/// Appends the text of the value at the cursor, which has been checked by [`Cursor::skip`] and is not a bare `null`.
pub fn push_value_text(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Scan<()> {
    match cursor.peek() {
        b'"' => out.extend_from_slice(cursor.string()?.text()?.as_bytes()),
        b'{' => push_compact(cursor, out)?,
        b'[' => {
            out.push(b'[');
            cursor.expect(b'[', "an array is expected")?;
            let mut first = true;
            while !cursor.eat(b']') {
                if !std::mem::take(&mut first) {
                    cursor.expect(b',', "a comma is missing")?;
                    out.extend_from_slice(b", ");
                }
                push_value_text(cursor, out)?;
            }
            out.push(b']');
        }
        b't' | b'f' | b'n' => push_literal(cursor, out)?,
        _ => {
            let number = cursor.number()?;
            match exact(&number) {
                Some(decimal) => out.extend_from_slice(decimal.java_text().as_bytes()),
                None => out.extend_from_slice(number.text.as_bytes()),
            }
        }
    }
    Ok(())
}

/// Appends the value as JSON without white space.
fn push_compact(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Scan<()> {
    let (close, object) = match cursor.peek() {
        b'"' => {
            write_string(&cursor.string()?.text()?, out);
            return Ok(());
        }
        b'{' => (b'}', true),
        b'[' => (b']', false),
        b't' | b'f' | b'n' => return push_literal(cursor, out),
        _ => {
            let number = cursor.number()?;
            match exact(&number).and_then(|d| d.plain_text()) {
                Some(plain) => out.extend_from_slice(plain.as_bytes()),
                None => out.extend_from_slice(number.text.as_bytes()),
            }
            return Ok(());
        }
    };
    out.push(if object { b'{' } else { b'[' });
    cursor.expect(if object { b'{' } else { b'[' }, "an array or object is expected")?;
    let mut first = true;
    while !cursor.eat(close) {
        if !std::mem::take(&mut first) {
            cursor.expect(b',', "a comma is missing")?;
            out.push(b',');
        }
        if object {
            write_string(&cursor.key()?.text()?, out);
            out.push(b':');
        }
        push_compact(cursor, out)?;
    }
    out.push(close);
    Ok(())
}

fn push_literal(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Scan<()> {
    let word = match cursor.peek() {
        b't' => "true",
        b'f' => "false",
        _ => "null",
    };
    cursor.literal(word)?;
    out.extend_from_slice(word.as_bytes());
    Ok(())
}

/// The number, if printing it as Java does may change its text.
fn exact(number: &RawNumber<'_>) -> Option<DecimalText> {
    if number.whole && number.text != "-0" { None } else { DecimalText::parse(number.text) }
}

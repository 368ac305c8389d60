//! JSON text → growing columns, walking the text along the declared types; no tree of values in between.
//!
//! Two walks. The **quick** one takes fields as they come: it guesses that the n-th field is the one that stood there in the
//! record before, and writes each value where it belongs. It gives up on the first doubt: a fault, a field that comes
//! twice. The caller then cuts the columns back and takes the **careful** walk, which knows all fields of an object
//! before it reads one, and whose fault is the record's error.
//!
//! | rule (ksqlDB) | example, column `ID` |
//! |---|---|
//! | the exact name wins, then the name in upper case | `{"ID":1,"id":2}` → 1 |
//! | of equal names the last wins | `{"id":1,"id":2}` → 2 |
//! | missing is null, unknown is skipped | `{"X":[1]}` → null |
//! | BOOLEAN only from booleans | `"true"` → error |
//! | numbers from numbers (fractions cut) or numeric text | `1.9`, `"1"` → 1 |
//! | DECIMAL must fit without rounding | `0.125` as DECIMAL(4, 2) → error |
//! | STRING from anything | `[1, null]` → `[1, null]` |
//! | DATE, TIME, TIMESTAMP from whole numbers or their text | `"19000"` |
//! | BYTES from base64 | |
//!
//! Our choice: a number out of its type's range is an error (ksqlDB lets it wrap), and so is text after the value.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::columns::Growing;
use super::super::number::{DecimalText, parse_double};
use super::scan::{Cursor, Fault, Scan};
use super::text::push_value_text;
use crate::types::{SqlType, StructField};

/// Positions in an object for which the field found last time is remembered.
const GUESSES_MAX: usize = 256;

/// Up to here a search costs less than a table.
const FEW_FIELDS: usize = 8;

/// Which walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    Quick,
    Careful,
}

/// How a declared type is read. Mutable only for the guesses, which change no result.
pub enum Shape {
    Boolean,
    Integer,
    Bigint,
    Double,
    Decimal { precision: u8, scale: u8 },
    String,
    Bytes,
    Date,
    Time,
    Timestamp,
    Array(Box<Shape>),
    Map(Box<Shape>),
    Struct(Object),
}

/// The fields of an object.
pub struct Object {
    fields: Vec<(Box<str>, Shape)>,
    by_name: HashMap<Box<str>, usize>,
    /// Two fields differ only in case, so that one value may fill both.
    ambiguous: bool,
    guesses: Vec<Guess>,
    /// The field whose value stopped the last careful walk.
    stopped: Option<usize>,
}

struct Guess {
    /// The name with its quotes.
    raw: Box<[u8]>,
    field: Option<usize>,
}

impl Shape {
    pub fn new(ty: &SqlType) -> Self {
        match ty {
            SqlType::Boolean => Shape::Boolean,
            SqlType::Integer => Shape::Integer,
            SqlType::Bigint => Shape::Bigint,
            SqlType::Double => Shape::Double,
            SqlType::Decimal { precision, scale } => Shape::Decimal { precision: *precision, scale: *scale },
            SqlType::String => Shape::String,
            SqlType::Bytes => Shape::Bytes,
            SqlType::Date => Shape::Date,
            SqlType::Time => Shape::Time,
            SqlType::Timestamp => Shape::Timestamp,
            SqlType::Array(item) => Shape::Array(Box::new(Shape::new(item))),
            SqlType::Map(_, value) => Shape::Map(Box::new(Shape::new(value))),
            SqlType::Struct(fields) => Shape::Struct(Object::new(fields)),
        }
    }

    /// Reads one value, null included, into one row of `to`.
    pub fn read(&mut self, cursor: &mut Cursor<'_>, to: &mut Growing, walk: Walk) -> Scan<()> {
        if cursor.eat_null()? {
            to.push_null();
            return Ok(());
        }
        match self {
            Shape::Bigint => to.push_long(integer(cursor, "not a BIGINT")?),
            Shape::String => return read_text(cursor, to),
            Shape::Integer => to.push_int(narrow(cursor, integer, "not an INTEGER")?),
            Shape::Double => to.push_double(double(cursor)?),
            Shape::Boolean => match cursor.peek() {
                b't' => to.push_bool(cursor.literal("true").map(|()| true)?),
                b'f' => to.push_bool(cursor.literal("false").map(|()| false)?),
                _ => return cursor.fault("not a BOOLEAN"),
            },
            Shape::Decimal { precision, scale } => {
                let at = cursor.pos();
                let value = match cursor.peek() {
                    b'"' => DecimalText::parse(&cursor.string()?.text()?),
                    b'{' | b'[' | b't' | b'f' => None,
                    _ => DecimalText::parse(cursor.number()?.text),
                };
                let value = value.ok_or(Fault { what: "not a DECIMAL", at })?;
                let value = value.to_decimal(*precision, *scale);
                to.push_decimal(
                    value.ok_or(Fault { what: "a number that does not fit its DECIMAL without rounding", at })?,
                );
            }
            Shape::Bytes => {
                let at = cursor.pos();
                if cursor.peek() != b'"' {
                    return cursor.fault("not BYTES in base64");
                }
                let bytes = BASE64.decode(cursor.string()?.text()?.as_bytes());
                to.push_text(&bytes.map_err(|_| Fault { what: "not BYTES in base64", at })?);
            }
            Shape::Date => to.push_int(narrow(cursor, whole_integer, "not a DATE in days")?),
            Shape::Time => to.push_int(narrow(cursor, whole_integer, "not a TIME in milliseconds")?),
            Shape::Timestamp => to.push_long(whole_integer(cursor, "not a TIMESTAMP in milliseconds")?),
            Shape::Array(item) => {
                cursor.expect(b'[', "not an ARRAY")?;
                if !cursor.eat(b']') {
                    loop {
                        item.read(cursor, to.item(), walk)?;
                        if !cursor.eat(b',') {
                            break;
                        }
                    }
                    cursor.expect(b']', "a comma or the end of an array is missing")?;
                }
                to.end_row();
            }
            Shape::Map(value) => {
                let entries = entries(cursor, "not a MAP")?;
                let after = cursor.clone();
                let (keys, values) = to.entries();
                for (name, at) in entries.last_of_each() {
                    keys.push_text(name.as_bytes());
                    value.read(&mut after.at(at), values, walk)?;
                }
                to.end_row();
            }
            Shape::Struct(object) => {
                object.read(cursor, to.fields(), walk)?;
                to.end_row();
            }
        }
        Ok(())
    }
}

impl Object {
    pub fn new(fields: &[StructField]) -> Self {
        let mut upper: Vec<String> = fields.iter().map(|f| f.name.to_uppercase()).collect();
        upper.sort_unstable();
        Self {
            fields: fields.iter().map(|f| (f.name.as_str().into(), Shape::new(&f.ty))).collect(),
            by_name: fields.iter().enumerate().map(|(i, f)| (f.name.as_str().into(), i)).collect(),
            ambiguous: upper.windows(2).any(|pair| pair[0] == pair[1]),
            guesses: Vec::new(),
            stopped: None,
        }
    }

    /// Reads one object into one row of each column.
    pub fn read(&mut self, cursor: &mut Cursor<'_>, to: &mut [Growing], walk: Walk) -> Scan<()> {
        if walk == Walk::Careful || self.ambiguous {
            return self.read_known(cursor, to);
        }
        let rows_before = to.first().map_or(0, Growing::len);
        cursor.expect(b'{', "not an object")?;
        let mut found = 0;
        if !cursor.eat(b'}') {
            let mut position = 0;
            loop {
                match self.field(cursor, position)? {
                    Some(field) => {
                        if to[field].len() != rows_before {
                            return cursor.fault("a field that comes twice");
                        }
                        self.fields[field].1.read(cursor, &mut to[field], Walk::Quick)?;
                        found += 1;
                    }
                    None => cursor.skip()?,
                }
                position += 1;
                if !cursor.eat(b',') {
                    break;
                }
            }
            cursor.expect(b'}', "a comma or the end of an object is missing")?;
        }
        if found < to.len() {
            to.iter_mut().filter(|column| column.len() == rows_before).for_each(Growing::push_null);
        }
        Ok(())
    }

    /// Steps over a field name and its colon; which field it is.
    #[inline]
    fn field(&mut self, cursor: &mut Cursor<'_>, position: usize) -> Scan<Option<usize>> {
        if cursor.peek() == b'"'
            && let Some(guess) = self.guesses.get(position)
            && cursor.eat_exact(&guess.raw)
        {
            cursor.expect(b':', "a colon is missing after a field name")?;
            return Ok(guess.field);
        }
        self.find_field(cursor, position)
    }

    #[cold]
    fn find_field(&mut self, cursor: &mut Cursor<'_>, position: usize) -> Scan<Option<usize>> {
        let raw = cursor.key()?;
        let name = raw.text()?;
        let field = self.by_name.get(name.as_ref()).or_else(|| self.by_name.get(name.to_uppercase().as_str())).copied();
        if !raw.escaped && position <= self.guesses.len() && position < GUESSES_MAX {
            let guess = Guess { raw: format!("\"{}\"", raw.raw).into_bytes().into(), field };
            match self.guesses.get_mut(position) {
                Some(old) => *old = guess,
                None => self.guesses.push(guess),
            }
        }
        Ok(field)
    }

    /// The careful walk.
    fn read_known(&mut self, cursor: &mut Cursor<'_>, to: &mut [Growing]) -> Scan<()> {
        self.stopped = None;
        let entries = entries(cursor, "not an object")?;
        let places = entries.find_all(self.fields.iter().map(|(name, _)| &**name));
        for (i, ((_, shape), column)) in self.fields.iter_mut().zip(to).enumerate() {
            match places[i] {
                Some(at) => {
                    let read = shape.read(&mut cursor.at(at), column, Walk::Careful);
                    read.inspect_err(|_| self.stopped = Some(i))?;
                }
                None => column.push_null(),
            }
        }
        Ok(())
    }

    /// The name of the field whose value stopped the last careful walk, if it was a value that did.
    pub fn stopped_at(&self) -> Option<&str> {
        self.stopped.map(|field| &*self.fields[field].0)
    }
}

/// Fields of an object in order: name, and where the value starts.
struct Entries<'a>(Vec<(Cow<'a, str>, usize)>);

/// Checks an object and steps over it, noting its fields.
fn entries<'a>(cursor: &mut Cursor<'a>, otherwise: &'static str) -> Scan<Entries<'a>> {
    cursor.expect(b'{', otherwise)?;
    let mut found = Vec::new();
    if !cursor.eat(b'}') {
        loop {
            let name = cursor.key()?.text()?;
            found.push((name, cursor.pos()));
            cursor.skip()?;
            if !cursor.eat(b',') {
                break;
            }
        }
        cursor.expect(b'}', "a comma or the end of an object is missing")?;
    }
    Ok(Entries(found))
}

impl<'a> Entries<'a> {
    /// Each name once, where it stood first, with its last value.
    fn last_of_each(self) -> impl Iterator<Item = (Cow<'a, str>, usize)> {
        let mut places: HashMap<Cow<'a, str>, usize> = HashMap::new();
        let mut kept: Vec<(Cow<'a, str>, usize)> = Vec::with_capacity(self.0.len());
        let few = self.0.len() <= FEW_FIELDS;
        for (name, at) in self.0 {
            let earlier = if few { kept.iter().position(|(n, _)| *n == name) } else { places.get(&name).copied() };
            match earlier {
                Some(place) => kept[place].1 = at,
                None => {
                    if !few {
                        places.insert(name.clone(), kept.len());
                    }
                    kept.push((name, at));
                }
            }
        }
        kept.into_iter()
    }

    /// For each name the place of the last field of this name, or else of the last whose upper-cased name it is.
    fn find_all<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<Option<usize>> {
        let exact: HashMap<&str, usize> = self.0.iter().map(|(name, at)| (name.as_ref(), *at)).collect();
        let upper: HashMap<String, usize> = self.0.iter().map(|(name, at)| (name.to_uppercase(), *at)).collect();
        names.map(|name| exact.get(name).or_else(|| upper.get(name)).copied()).collect()
    }
}

#[inline]
fn read_text(cursor: &mut Cursor<'_>, to: &mut Growing) -> Scan<()> {
    if cursor.peek() == b'"' {
        to.push_text(cursor.string()?.text()?.as_bytes());
        return Ok(());
    }
    let mut value = cursor.clone();
    cursor.skip()?;
    // Made even if nobody wants it: half a surrogate pair inside is found only so.
    let mut text = Vec::new();
    push_value_text(&mut value, &mut text)?;
    to.push_text(&text);
    Ok(())
}

/// A number with its fraction cut, or text of a whole number.
#[inline]
fn integer(cursor: &mut Cursor<'_>, otherwise: &'static str) -> Scan<i64> {
    if let Some(short) = cursor.short_integer() {
        return Ok(short);
    }
    let at = cursor.pos();
    match cursor.peek() {
        b'"' | b'{' | b'[' | b't' | b'f' => whole_integer(cursor, otherwise),
        _ => {
            let number = DecimalText::parse(cursor.number()?.text);
            number.and_then(|n| n.to_long()).ok_or(Fault { what: "a number out of its type's range", at })
        }
    }
}

/// A whole number, or its text.
#[inline]
fn whole_integer(cursor: &mut Cursor<'_>, otherwise: &'static str) -> Scan<i64> {
    if let Some(short) = cursor.short_integer() {
        return Ok(short);
    }
    let at = cursor.pos();
    let text = match cursor.peek() {
        b'"' => cursor.string()?.text()?,
        b'{' | b'[' | b't' | b'f' => return cursor.fault(otherwise),
        _ => cursor.number()?.text.into(),
    };
    text.parse().map_err(|_| Fault { what: otherwise, at })
}

/// The same in 32 bits.
#[inline]
fn narrow(
    cursor: &mut Cursor<'_>,
    read: impl FnOnce(&mut Cursor<'_>, &'static str) -> Scan<i64>,
    otherwise: &'static str,
) -> Scan<i32> {
    cursor.peek();
    let at = cursor.pos();
    i32::try_from(read(cursor, otherwise)?).map_err(|_| Fault { what: "a number out of its type's range", at })
}

#[inline]
fn double(cursor: &mut Cursor<'_>) -> Scan<f64> {
    let at = cursor.pos();
    let value = match cursor.peek() {
        b'"' => parse_double(&cursor.string()?.text()?),
        b'{' | b'[' | b't' | b'f' => None,
        _ => cursor.number()?.text.parse().ok(),
    };
    value.ok_or(Fault { what: "not a DOUBLE", at })
}

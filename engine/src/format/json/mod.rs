//! The JSON format.
//!
//! | columns | record |
//! |---|---|
//! | value columns `A`, `B` | `{"A":1,"B":"x"}` |
//! | one key column | `1` |
//! | several key columns | `{"A":1,"B":"x"}` |
//! | one value column, not wrapped | `1`; null is a null record |
//!
//! A record holding just `null` is a null record. Rules of reading are in `read`, of writing in `write`.

mod read;
mod scan;
mod text;
pub mod write;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, MapArray};
use arrow::buffer::BooleanBuffer;
use parking_lot::Mutex;

pub use self::scan::DEPTH_MAX;
pub use self::write::{JsonStyle, write_string, write_value};

use self::read::{Object, Shape, Walk};
use self::scan::{Cursor, Fault, Scan};
use self::write::{Writer, field_prefix};
use super::columns::Growing;
use super::records::{self, Read};
use super::{Canonical, Decoded, Encoded, Format, Side, absorb_nulls};
use crate::error::{Error, Result};
use crate::schema::Column;
use crate::types::{SqlType, StructField};

pub struct Json {
    columns: Vec<Column>,
    wrapped: bool,
    /// Readers wait here between batches, so that what they have guessed is kept; as many as decode at the same time.
    readers: Mutex<Vec<Reader>>,
}

enum Reader {
    Wrapped(Object),
    Bare(Shape),
}

impl Json {
    pub fn new(columns: &[Column], side: Side, wrap_single: Option<bool>) -> Result<Self> {
        for column in columns {
            check_map_keys(&column.ty, &column.name)?;
        }
        let wrapped = match side {
            Side::Key => columns.len() != 1,
            Side::Value => columns.len() != 1 || wrap_single.unwrap_or(true),
        };
        Ok(Self { columns: columns.to_vec(), wrapped, readers: Mutex::default() })
    }

    fn reader(&self) -> Reader {
        if let Some(reader) = self.readers.lock().pop() {
            return reader;
        }
        if self.wrapped {
            let fields: Vec<_> =
                self.columns.iter().map(|c| StructField { name: c.name.clone(), ty: c.ty.clone() }).collect();
            Reader::Wrapped(Object::new(&fields))
        } else {
            Reader::Bare(Shape::new(&self.columns[0].ty))
        }
    }
}

fn check_map_keys(ty: &SqlType, column: &str) -> Result<()> {
    match ty {
        SqlType::Map(key, value) => {
            if **key != SqlType::String {
                return Err(Error::statement(format!(
                    "JSON only supports MAP types with STRING keys, column `{column}` has keys of type {key}"
                )));
            }
            check_map_keys(value, column)
        }
        SqlType::Array(item) => check_map_keys(item, column),
        SqlType::Struct(fields) => fields.iter().try_for_each(|f| check_map_keys(&f.ty, column)),
        _ => Ok(()),
    }
}

impl Reader {
    /// One record into one row of each column.
    fn read(&mut self, text: &str, to: &mut [Growing], walk: Walk) -> Scan<Read> {
        let mut cursor = Cursor::new(text);
        if cursor.eat_null()? {
            return cursor.end().map(|()| Read::Null);
        }
        match self {
            Reader::Wrapped(object) => object.read(&mut cursor, to, walk)?,
            Reader::Bare(shape) => shape.read(&mut cursor, &mut to[0], walk)?,
        }
        cursor.end().map(|()| Read::Columns)
    }

    fn message(&self, fault: Fault, columns: &[Column]) -> String {
        let field = match self {
            Reader::Wrapped(object) => object.stopped_at(),
            Reader::Bare(_) => columns.first().map(|c| c.name.as_str()),
        };
        match field {
            Some(name) => format!("the JSON cannot be read: {}, column `{name}`, byte {}", fault.what, fault.at),
            None => format!("the JSON cannot be read: {}, byte {}", fault.what, fault.at),
        }
    }
}

impl Format for Json {
    fn decode(&self, records: &BinaryArray, wanted: &[usize]) -> Result<Decoded> {
        let mut reader = self.reader();
        let all_text = all_text(records);
        let types = self.columns.iter().map(|c| &c.ty);
        let decoded = records::decode(records, types, wanted, |row, bytes, columns| {
            let text = match all_text {
                // A boundary inside a character makes the record invalid; `get` tells.
                Some((all, start)) => all.get(offset(records, row) - start..offset(records, row + 1) - start),
                None => std::str::from_utf8(bytes).ok(),
            };
            let text = text.ok_or("the JSON cannot be read: it is not UTF-8")?;
            let read = reader.read(text, columns, Walk::Quick).or_else(|_| {
                columns.iter_mut().for_each(|c| c.truncate(row));
                reader.read(text, columns, Walk::Careful)
            });
            read.map_err(|fault| reader.message(fault, &self.columns))
        });
        self.readers.lock().push(reader);
        decoded
    }

    fn canonicalise(&self, columns: Vec<ArrayRef>, null: Option<&BooleanBuffer>) -> Result<Canonical> {
        let (columns, null) = absorb_nulls(columns, null, !self.wrapped)?;
        if !columns.iter().any(repeats_map_key) {
            return Ok(Canonical { columns, null, errors: Vec::new() });
        }
        let bytes = self.encode(&columns, null.as_ref())?.bytes;
        let wanted: Vec<usize> = (0..columns.len()).collect();
        let Decoded { columns, null, errors } = self.decode(&bytes, &wanted)?;
        Ok(Canonical { columns, null, errors })
    }

    fn encode(&self, columns: &[ArrayRef], null: Option<&BooleanBuffer>) -> Result<Encoded> {
        let rows = match (columns.first(), null) {
            (Some(column), _) => column.len(),
            (None, Some(null)) => null.len(),
            (None, None) => 0,
        };
        let writers: Vec<(Vec<u8>, Writer<'_>)> = self
            .columns
            .iter()
            .zip(columns)
            .map(|(c, array)| Ok((field_prefix(&c.name), Writer::new(&c.ty, array.as_ref(), JsonStyle::Record)?)))
            .collect::<Result<_>>()?;
        let mut out = BinaryBuilder::with_capacity(rows, rows * 16 * columns.len().max(1));
        let mut line = Vec::new();
        for row in 0..rows {
            if null.is_some_and(|n| n.value(row)) {
                out.append_null();
                continue;
            }
            line.clear();
            if self.wrapped {
                for (i, (prefix, writer)) in writers.iter().enumerate() {
                    line.push(if i == 0 { b'{' } else { b',' });
                    line.extend_from_slice(prefix);
                    writer.write(row, &mut line);
                }
                if writers.is_empty() {
                    line.push(b'{');
                }
                line.push(b'}');
            } else if writers[0].1.is_null(row) {
                out.append_null();
                continue;
            } else {
                writers[0].1.write(row, &mut line);
            }
            out.append_value(&line);
        }
        Ok(Encoded { bytes: out.finish(), errors: Vec::new() })
    }
}

/// All records' bytes as one text, with the offset it starts at, if they are UTF-8 together.
fn all_text(records: &BinaryArray) -> Option<(&str, usize)> {
    let (start, end) = (offset(records, 0), offset(records, records.len()));
    Some((std::str::from_utf8(&records.value_data()[start..end]).ok()?, start))
}

fn offset(records: &BinaryArray, row: usize) -> usize {
    records.value_offsets()[row] as usize
}

/// True if the text is one JSON object or array.
pub fn is_object_or_array(text: &str) -> bool {
    let mut cursor = Cursor::new(text);
    matches!(cursor.peek(), b'{' | b'[') && cursor.skip().and_then(|()| cursor.end()).is_ok()
}

/// True if some map has a key twice; as an object only the last would be read.
fn repeats_map_key(array: &ArrayRef) -> bool {
    use arrow::datatypes::DataType;
    match array.data_type() {
        DataType::Map(..) => map_repeats(array.as_map()) || repeats_map_key(array.as_map().values()),
        DataType::List(_) => repeats_map_key(array.as_list::<i32>().values()),
        DataType::Struct(_) => array.as_struct().columns().iter().any(repeats_map_key),
        _ => false,
    }
}

fn map_repeats(map: &MapArray) -> bool {
    let Some(keys) = map.keys().as_string_opt::<i32>() else { return false };
    map.value_offsets().windows(2).any(|ends| {
        let range = ends[0] as usize..ends[1] as usize;
        if range.len() <= 8 {
            return range.clone().any(|a| (range.start..a).any(|b| keys.value(a) == keys.value(b)));
        }
        let mut seen = std::collections::HashSet::with_capacity(range.len());
        range.into_iter().any(|at| !seen.insert(keys.value(at)))
    })
}

/// The JSON format as others hold it.
pub(super) fn create(columns: &[Column], side: Side, wrap_single: Option<bool>) -> Result<super::FormatRef> {
    Ok(Arc::new(Json::new(columns, side, wrap_single)?))
}

#[cfg(test)]
mod tests;

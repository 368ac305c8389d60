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
use super::{Canonical, Decoded, Encoded, Format, Side, absorb_nulls, rows_of};
use crate::error::{Error, Result, RowError};
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
    /// One record into one row of each column. True if it is a null record.
    fn read(&mut self, text: &str, to: &mut [Growing], walk: Walk) -> Scan<bool> {
        let mut cursor = Cursor::new(text);
        if cursor.eat_null()? {
            to.iter_mut().for_each(Growing::push_null);
            return cursor.end().map(|()| true);
        }
        match self {
            Reader::Wrapped(object) => object.read(&mut cursor, to, walk)?,
            Reader::Bare(shape) => shape.read(&mut cursor, &mut to[0], walk)?,
        }
        cursor.end().map(|()| false)
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
        let rows = records.len();
        let mut columns: Vec<Growing> = self.columns.iter().map(|c| Growing::discard(&c.ty)).collect();
        for &i in wanted {
            columns[i] = Growing::new(&self.columns[i].ty, rows);
        }
        let mut null_rows = Vec::new();
        let mut errors = Vec::new();
        let mut reader = self.reader();
        let all_text = all_text(records);
        for row in 0..rows {
            if records.is_null(row) {
                columns.iter_mut().for_each(Growing::push_null);
                null_rows.push(row);
                continue;
            }
            let bytes = records.value(row);
            let text = match all_text {
                // A boundary inside a character makes the record invalid; `get` tells.
                Some((all, start)) => {
                    let range = offset(records, row) - start..offset(records, row + 1) - start;
                    all.get(range)
                }
                None => std::str::from_utf8(bytes).ok(),
            };
            let Some(text) = text else {
                columns.iter_mut().for_each(Growing::push_null);
                errors.push(RowError::new(row, "the JSON cannot be read: it is not UTF-8"));
                continue;
            };
            let result = reader.read(text, &mut columns, Walk::Quick).or_else(|_| {
                columns.iter_mut().for_each(|c| c.truncate(row));
                reader.read(text, &mut columns, Walk::Careful)
            });
            match result {
                Ok(false) => {}
                Ok(true) => null_rows.push(row),
                Err(fault) => {
                    errors.push(RowError::new(row, reader.message(fault, &self.columns)));
                    for column in &mut columns {
                        column.truncate(row);
                        column.push_null();
                    }
                }
            }
        }
        self.readers.lock().push(reader);
        let mut finished: Vec<Option<Growing>> = columns.into_iter().map(Some).collect();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(wanted.len());
        for (n, &i) in wanted.iter().enumerate() {
            match finished[i].take() {
                Some(column) => arrays.push(column.finish()?),
                None => {
                    let earlier = wanted[..n].iter().position(|&w| w == i);
                    arrays.push(arrays[earlier.expect("a column taken before was wanted before")].clone());
                }
            }
        }
        Ok(Decoded { columns: arrays, null: rows_of(&null_rows, rows), errors })
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

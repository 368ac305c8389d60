//! JSON lines of a load: one object a line, columns by name.

use std::io::{BufRead, BufReader, Read};

use arrow::array::{Array, AsArray, BinaryArray, Int64Array, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer};

use super::time::TimeParser;
use super::{LOAD_LINE_BYTES_MAX, LOAD_RUN_BYTES};
use crate::catalog::Source;
use crate::error::{Error, Result, RowError};
use crate::format::{self, FormatName, FormatRef, FormatSpec, Side};
use crate::rows::Rows;
use crate::schema::Column;
use crate::session::door::{Record, Run};
use crate::session::insert::{decode_objects, or_now, with_null_keys};
use crate::types::SqlType;

/// Lines of a file, several at a time.
pub(super) struct Lines<'a> {
    reader: BufReader<Box<dyn Read + 'a>>,
    line: u64,
    pub bytes: u64,
}

impl<'a> Lines<'a> {
    pub fn new(input: Box<dyn Read + 'a>) -> Self {
        Self { reader: BufReader::with_capacity(1 << 20, input), line: 0, bytes: 0 }
    }

    /// Number of the first line and the lines, blank ones left in place as empty; None at the end.
    pub fn next_lines(&mut self, most: usize) -> Result<Option<(u64, BinaryArray)>> {
        let first = self.line + 1;
        // All lines lie in one buffer, as the array has them.
        let mut bytes: Vec<u8> = Vec::new();
        let mut ends: Vec<i32> = vec![0];
        while ends.len() <= most && bytes.len() < LOAD_RUN_BYTES {
            let start = bytes.len();
            let limit = LOAD_LINE_BYTES_MAX as u64 + 1;
            let read = (&mut self.reader).take(limit).read_until(b'\n', &mut bytes)?;
            if read == 0 {
                break;
            }
            if read > LOAD_LINE_BYTES_MAX {
                return Err(Error::limit(format!("line {} is longer than {LOAD_LINE_BYTES_MAX} bytes", self.line + 1)));
            }
            self.line += 1;
            self.bytes += read as u64;
            while bytes.len() > start && matches!(bytes.last(), Some(b'\n' | b'\r')) {
                bytes.pop();
            }
            ends.push(i32::try_from(bytes.len()).map_err(|_| Error::internal("a run of lines is larger than 2 GiB"))?);
        }
        if ends.len() == 1 {
            return Ok(None);
        }
        let lines = BinaryArray::try_new(OffsetBuffer::new(ends.into()), Buffer::from_vec(bytes), None)?;
        Ok(Some((first, lines)))
    }
}

/// Line `row` of those that begin with number `first`.
pub(super) fn record(first: u64, lines: &BinaryArray, row: usize) -> Record {
    Record { line: Some(first + row as u64), raw: Some(lines.value(row).to_vec()) }
}

pub(super) fn json_run<'a>(
    source: &Source,
    lines: &BinaryArray,
    record: &'a dyn Fn(usize) -> Record,
    timestamp: Option<&str>,
    now_ms: i64,
) -> Result<Run<'a>> {
    let decoded = decode_objects(source, lines)?;
    let mut refused = decoded.errors;
    let time = match timestamp {
        Some(name) => {
            let picked = FieldPicker::new(None, Some(name))?.pick(lines, now_ms)?;
            refused.extend(picked.errors.into_iter().map(|e| (e.row, e.message)));
            picked.time
        }
        None => or_now(&decoded.time, now_ms),
    };
    let rows = with_null_keys(Rows::append(decoded.batch, time), source.schema.key.len());
    Ok(Run { rows, refused, record })
}

/// Picks a key and a time out of JSON objects.
pub(super) struct FieldPicker {
    key: bool,
    timestamp: bool,
    format: FormatRef,
    time: TimeParser,
}

pub(super) struct Picked {
    pub keys: Option<StringArray>,
    /// Now where the record has none.
    pub time: Int64Array,
    pub errors: Vec<RowError>,
}

impl FieldPicker {
    pub fn new(key: Option<&str>, timestamp: Option<&str>) -> Result<Self> {
        let mut columns: Vec<Column> = [key, timestamp]
            .into_iter()
            .flatten()
            .map(|name| Column::new(name.to_uppercase(), SqlType::String))
            .collect();
        if columns.is_empty() {
            // Without columns the lines are still checked to be JSON objects.
            columns.push(Column::new("_", SqlType::String));
        }
        let spec = FormatSpec { wrap_single: Some(true), ..FormatSpec::new(FormatName::Json) };
        Ok(Self {
            key: key.is_some(),
            timestamp: timestamp.is_some(),
            format: format::create(&spec, &columns, Side::Value)?,
            time: TimeParser::new()?,
        })
    }

    pub fn pick(&self, objects: &BinaryArray, now_ms: i64) -> Result<Picked> {
        let wanted: Vec<usize> = (0..usize::from(self.key) + usize::from(self.timestamp)).collect();
        let decoded = self.format.decode(objects, &wanted)?;
        let mut errors = decoded.errors;
        let mut columns = decoded.columns.iter().map(|column| column.as_string::<i32>().clone());
        let keys = if self.key { columns.next() } else { None };
        let texts = if self.timestamp { columns.next() } else { None };
        let time = match texts {
            Some(texts) => {
                let (time, failed) = self.time.parse(&texts)?;
                errors.extend(failed);
                or_now(&time, now_ms)
            }
            None => Int64Array::from_value(now_ms, objects.len()),
        };
        errors.sort_by_key(|e| e.row);
        errors.dedup_by_key(|e| e.row);
        Ok(Picked { keys, time, errors })
    }
}

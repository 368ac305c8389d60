//! Log batches → rows, as a source declared them.
//!
//! What enters: a batch of one partition, typed or encoded. What leaves: rows with the columns the plan names, and the
//! records that could not be read, whole, with their reason.
//!
//! ```text
//! offset | key  | value          →  K   | V    | time          rejected
//! 7      | 'a'  | {"V": 1}          'a' | 1    | 100
//! 8      | 'b'  | {"V": "x"}                                   offset 8: cannot read "x" as INTEGER
//! ```
//!
//! A typed batch of the same formats and schema shares its columns; anything else goes through bytes.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Int32Array, Int64Array, RecordBatch,
};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMillisecondType};

use super::typed::{TypedCodec, TypedSchema, TypedSchemas};
use crate::error::{Error, Result, RowError};
use crate::format::windowed;
use crate::log::{EncodedRecords, LogBatch, LogBody, Offset, Wanted};
use crate::plan::compile::Compiled;
use crate::plan::expr::{Expr, ExprKind, Value};
use crate::plan::steps::{Scan, ScanColumn, TimestampColumn};
use crate::rows::{Change, Rows, Windows, batch_of, empty_headers};
use crate::schema::Schema;
use crate::types::SqlType;

/// A record that a query or load could not read.
#[derive(Debug, Clone)]
pub struct Rejected {
    pub offset: Offset,
    /// The record's value (its key if the key was the problem).
    pub raw: Option<Vec<u8>>,
    pub reason: String,
}

pub struct Scanned {
    pub rows: Rows,
    /// Offset of each row, when rows are missing from the batch; None = consecutive from the batch's base.
    pub offsets: Option<Vec<Offset>>,
    pub rejected: Vec<Rejected>,
    /// Table records without key: they mean nothing and are dropped.
    pub ignored: usize,
}

enum Output {
    Key(usize),
    Value(usize),
    Pseudo(ScanColumn),
}

/// One scan of a plan, ready to run.
pub struct Scanner {
    codec: TypedCodec,
    typed: Arc<TypedSchemas>,
    outputs: Vec<Output>,
    schema: SchemaRef,
    /// Declared columns that must be decoded.
    wanted_keys: Vec<usize>,
    wanted_values: Vec<usize>,
    timestamp: Option<TimestampExtractor>,
    table: bool,
}

/// Gets ROWTIME out of a column.
pub struct TimestampExtractor {
    column: String,
    conversion: Option<Compiled>,
    pub throw_on_invalid: bool,
}

impl TimestampExtractor {
    pub fn new(column: &TimestampColumn, schema: &Schema) -> Result<Self> {
        let declared = schema
            .column(&column.column)
            .ok_or_else(|| Error::internal(format!("timestamp column {} is not declared", column.column)))?;
        let input = Expr::column(&declared.name, declared.ty.clone());
        let conversion = match (&declared.ty, &column.format) {
            (SqlType::Bigint | SqlType::Timestamp, _) => None,
            (SqlType::String, Some(format)) => {
                let format = Expr::literal(Value::String(format.clone()), SqlType::String);
                Some(Expr {
                    kind: ExprKind::Call { name: "STRINGTOTIMESTAMP".into(), args: vec![input, format] },
                    ty: SqlType::Bigint,
                })
            }
            _ => Some(input.cast_to(SqlType::Timestamp)),
        };
        let conversion = match conversion {
            Some(expr) => Some(Compiled::new(&expr, &schema.to_arrow())?),
            None => None,
        };
        Ok(Self { column: column.column.clone(), conversion, throw_on_invalid: column.throw_on_invalid })
    }

    /// Time of each row of a batch that has the column; rows without a valid one are named.
    pub fn extract(&self, batch: &RecordBatch) -> Result<(Int64Array, Vec<RowError>)> {
        let (values, mut errors) = match &self.conversion {
            Some(compiled) => compiled.evaluate(batch)?,
            None => {
                let column = batch
                    .column_by_name(&self.column)
                    .ok_or_else(|| Error::internal(format!("no column {}", self.column)))?;
                (column.clone(), Vec::new())
            }
        };
        let millis: Int64Array = match values.as_primitive_opt::<Int64Type>() {
            Some(longs) => longs.clone(),
            None => values.as_primitive::<TimestampMillisecondType>().reinterpret_cast(),
        };
        if errors.is_empty() && millis.null_count() == 0 && millis.values().iter().all(|t| *t >= 0) {
            return Ok((millis, errors));
        }
        for row in 0..millis.len() {
            if millis.is_null(row) || millis.value(row) < 0 {
                if errors.iter().any(|e| e.row == row) {
                    continue;
                }
                let what = if millis.is_null(row) { "null".to_string() } else { millis.value(row).to_string() };
                errors.push(RowError::new(row, format!("invalid timestamp in column {}: {what}", self.column)));
            }
        }
        errors.sort_by_key(|e| e.row);
        Ok((millis, errors))
    }
}

impl Scanner {
    pub fn new(scan: &Scan, table: bool, typed: Arc<TypedSchemas>) -> Result<Self> {
        let codec = TypedCodec::new(TypedSchema::of_scan(scan))?;
        let position = |columns: &[crate::schema::Column], name: &str| columns.iter().position(|c| c.name == name);
        let timestamp = match &scan.timestamp {
            Some(column) => Some(TimestampExtractor::new(column, &scan.declared)?),
            None => None,
        };
        let mut needed: Vec<&str> = scan
            .columns
            .iter()
            .filter_map(|(_, column)| match column {
                ScanColumn::Declared(name) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        needed.extend(timestamp.iter().map(|t| t.column.as_str()));
        let of = |columns: &[crate::schema::Column]| -> Vec<usize> {
            (0..columns.len()).filter(|i| needed.contains(&columns[*i].name.as_str())).collect()
        };
        let (wanted_keys, wanted_values) = (of(&scan.declared.key), of(&scan.declared.value));
        let mut outputs = Vec::new();
        let mut fields = Vec::new();
        for (name, column) in &scan.columns {
            let ty = match column {
                ScanColumn::Declared(declared) => {
                    let found = scan
                        .declared
                        .column(declared)
                        .ok_or_else(|| Error::internal(format!("scan of undeclared column {declared}")))?;
                    outputs.push(match position(&scan.declared.key, declared) {
                        Some(index) => Output::Key(index),
                        None => Output::Value(position(&scan.declared.value, declared).unwrap_or_default()),
                    });
                    found.ty.clone()
                }
                pseudo => {
                    outputs.push(Output::Pseudo(pseudo.clone()));
                    match pseudo {
                        ScanColumn::RowPartition => SqlType::Integer,
                        ScanColumn::Headers => SqlType::headers(),
                        ScanColumn::Header(_) => SqlType::Bytes,
                        _ => SqlType::Bigint,
                    }
                }
            };
            fields.push(arrow::datatypes::Field::new(name, ty.to_arrow(), true));
        }
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        Ok(Self { codec, typed, outputs, schema, wanted_keys, wanted_values, timestamp, table })
    }

    /// Arrow schema of the rows.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// What of a batch of the same formats and schema is looked at.
    pub fn wanted(&self) -> Wanted {
        let keys = self.codec.typed.schema.key.len();
        let values = self.wanted_values.iter().map(|value| keys + value);
        Wanted {
            fingerprint: self.codec.fingerprint,
            columns: self.wanted_keys.iter().copied().chain(values).collect(),
        }
    }

    pub fn scan(&self, batch: &LogBatch, partition: u32) -> Result<Scanned> {
        match &batch.body {
            LogBody::Typed { rows, fingerprint } if *fingerprint == self.codec.fingerprint => {
                let keys = self.codec.typed.schema.key.len();
                let pick = |wanted: &[usize], base: usize| -> Vec<ArrayRef> {
                    wanted.iter().map(|i| rows.columns.column(base + i).clone()).collect()
                };
                let parts = Parts {
                    keys: pick(&self.wanted_keys, 0),
                    values: pick(&self.wanted_values, keys),
                    null_key: rows.null_key.clone(),
                    null_value: rows.null_value.clone(),
                    time: rows.time.clone(),
                    window: rows.window.clone(),
                    headers: rows.headers.clone(),
                    errors: Vec::new(),
                };
                self.finish(parts, batch, partition, None)
            }
            body => {
                let records = self.typed.encoded(body)?;
                let parts = self.decode(&records)?;
                self.finish(parts, batch, partition, Some(&records))
            }
        }
    }

    fn decode(&self, records: &EncodedRecords) -> Result<Parts> {
        let mut errors: Vec<(RowError, bool)> = Vec::new();
        let mut window = None;
        let mut key_bytes = records.keys.clone();
        if let Some(info) = self.codec.typed.windowed {
            let split = windowed::split(&records.keys, &info);
            errors.extend(split.errors.into_iter().map(|e| (e, true)));
            key_bytes = split.keys;
            window = Some(split.windows);
        }
        let (keys, null_key) = if self.codec.typed.schema.key.is_empty() {
            (Vec::new(), None)
        } else {
            let decoded = self.codec.key.decode(&key_bytes, &self.wanted_keys)?;
            errors.extend(decoded.errors.into_iter().map(|e| (e, true)));
            (decoded.columns, decoded.null)
        };
        let value = self.codec.value.decode(&records.values, &self.wanted_values)?;
        errors.extend(value.errors.into_iter().map(|e| (e, false)));
        errors.sort_by_key(|(e, _)| e.row);
        errors.dedup_by_key(|(e, _)| e.row);
        Ok(Parts {
            keys,
            values: value.columns,
            null_key,
            null_value: value.null,
            time: records.time.clone(),
            window,
            headers: records.headers.clone(),
            errors,
        })
    }

    fn finish(
        &self,
        mut parts: Parts,
        batch: &LogBatch,
        partition: u32,
        records: Option<&EncodedRecords>,
    ) -> Result<Scanned> {
        let count = parts.time.len();
        let mut bad: Vec<(RowError, bool)> = std::mem::take(&mut parts.errors);
        if let Some(extractor) = &self.timestamp {
            let declared = &self.codec.typed.schema;
            let fields: Vec<_> = self
                .wanted_keys
                .iter()
                .map(|i| declared.key[*i].to_arrow())
                .chain(self.wanted_values.iter().map(|i| declared.value[*i].to_arrow()))
                .collect();
            let columns = parts.keys.iter().chain(&parts.values).cloned().collect();
            let all = batch_of(Arc::new(arrow::datatypes::Schema::new(fields)), columns, count)?;
            let (time, errors) = extractor.extract(&all)?;
            // A row that is null as a whole keeps its record's time: there is nothing to take one from.
            let keep_record_time = |row: usize| parts.null_value.as_ref().is_some_and(|n| n.value(row));
            let mut errors: Vec<_> = errors.into_iter().filter(|e| !keep_record_time(e.row)).collect();
            if extractor.throw_on_invalid
                && let Some(error) = errors.iter().find(|e| !bad.iter().any(|(b, _)| b.row == e.row))
            {
                return Err(Error::statement(format!(
                    "Fatal user code error in TimestampExtractor callback: {}",
                    error.message
                )));
            }
            errors.retain(|e| !bad.iter().any(|(b, _)| b.row == e.row));
            bad.extend(errors.into_iter().map(|e| (e, false)));
            bad.sort_by_key(|(e, _)| e.row);
            parts.time = if time.null_count() == 0 {
                time
            } else {
                let old = &parts.time;
                let either = |row| if time.is_null(row) { old.value(row) } else { time.value(row) };
                (0..count).map(either).collect::<Vec<_>>().into()
            };
        }
        let columns =
            self.outputs.iter().map(|o| self.output(o, &parts, batch, partition)).collect::<Result<Vec<_>>>()?;
        let rows = Rows {
            columns: batch_of(self.schema.clone(), columns, count)?,
            time: parts.time,
            window: parts.window,
            null_key: parts.null_key,
            null_value: parts.null_value,
            headers: parts.headers,
            change: if self.table { Change::Upsert { old: None } } else { Change::Append },
        };
        let rejected: Vec<Rejected> = bad
            .iter()
            .map(|(error, in_key)| Rejected {
                offset: batch.base_offset + error.row as i64,
                raw: records.and_then(|r| {
                    let bytes: &BinaryArray = if *in_key { &r.keys } else { &r.values };
                    (!bytes.is_null(error.row)).then(|| bytes.value(error.row).to_vec())
                }),
                reason: error.message.clone(),
            })
            .collect();
        let keyless = rows.null_key.as_ref().filter(|nulls| self.table && nulls.count_set_bits() > 0);
        if bad.is_empty() && keyless.is_none() {
            return Ok(Scanned { rows, offsets: None, rejected, ignored: 0 });
        }
        let mut keep = vec![true; count];
        for (error, _) in &bad {
            keep[error.row] = false;
        }
        let mut ignored = 0;
        for row in keyless.iter().flat_map(|nulls| nulls.set_indices()) {
            ignored += usize::from(std::mem::replace(&mut keep[row], false));
        }
        let offsets = (0..count).filter(|row| keep[*row]).map(|row| batch.base_offset + row as i64).collect();
        let rows = rows.filter(&BooleanArray::from(keep))?;
        Ok(Scanned { rows, offsets: Some(offsets), rejected, ignored })
    }

    fn output(&self, output: &Output, parts: &Parts, batch: &LogBatch, partition: u32) -> Result<ArrayRef> {
        let count = parts.time.len();
        let find = |wanted: &[usize], index: &usize| wanted.iter().position(|w| w == index).unwrap_or_default();
        let bound = |pick: fn(&Windows) -> &Int64Array| -> ArrayRef {
            match &parts.window {
                Some(window) => Arc::new(pick(window).clone()),
                None => Arc::new(Int64Array::new_null(count)),
            }
        };
        Ok(match output {
            Output::Key(index) => parts.keys[find(&self.wanted_keys, index)].clone(),
            Output::Value(index) => parts.values[find(&self.wanted_values, index)].clone(),
            Output::Pseudo(column) => match column {
                ScanColumn::RowTime => Arc::new(parts.time.clone()),
                ScanColumn::RowPartition => Arc::new(Int32Array::from_value(partition as i32, count)),
                ScanColumn::RowOffset => {
                    Arc::new(Int64Array::from_iter_values((0..count as i64).map(|i| batch.base_offset + i)))
                }
                ScanColumn::WindowStart => bound(|w| &w.start),
                ScanColumn::WindowEnd => bound(|w| &w.end),
                ScanColumn::Headers => Arc::new(parts.headers.clone().unwrap_or_else(|| empty_headers(count))),
                ScanColumn::Header(name) => Arc::new(last_header(parts, name, count)),
                ScanColumn::Declared(name) => return Err(Error::internal(format!("{name} is not a pseudo-column"))),
            },
        })
    }
}

struct Parts {
    keys: Vec<ArrayRef>,
    values: Vec<ArrayRef>,
    null_key: Option<BooleanBuffer>,
    null_value: Option<BooleanBuffer>,
    time: Int64Array,
    window: Option<Windows>,
    headers: Option<arrow::array::ListArray>,
    /// Ascending by row; the flag says whether the key was the problem.
    errors: Vec<(RowError, bool)>,
}

fn last_header(parts: &Parts, name: &str, count: usize) -> BinaryArray {
    let Some(headers) = &parts.headers else {
        return BinaryArray::new_null(count);
    };
    let mut builder = BinaryBuilder::new();
    for row in 0..count {
        let list = headers.value(row);
        let entries = list.as_struct();
        let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_binary::<i32>());
        match (0..entries.len()).rev().find(|i| !keys.is_null(*i) && keys.value(*i) == name) {
            Some(i) if !values.is_null(i) => builder.append_value(values.value(i)),
            _ => builder.append_null(),
        }
    }
    builder.finish()
}

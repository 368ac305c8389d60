//! What flows through a query: runs of records of one partition, in log order.
//!
//! ```text
//! columns: key | value …   time   window   null_key  null_value   change
//!          'a' | 1          100    [0,200)  -         -            Upsert{old: 0}
//!          'b' | null       150    [0,200)  -         yes          Upsert{old: 7}     a tombstone
//! ```
//!
//! There are no hidden columns: time, window, headers and change are arrays beside the columns. A pseudo-column becomes
//! an ordinary column at the scan, and only if the plan names it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, ListArray, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{concat, concat_batches, filter, filter_record_batch, take, take_record_batch};
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::schema::{ROWTIME, WINDOWEND, WINDOWSTART};

/// A run of records of one partition, in log order.
#[derive(Debug, Clone)]
pub struct Rows {
    /// Key columns, then value columns; only what SQL can name.
    pub columns: RecordBatch,
    /// ROWTIME of each row, milliseconds since the Unix epoch, never null.
    pub time: Int64Array,
    /// Start and end of each row's window: part of its identity, its key bytes and its state key.
    pub window: Option<Windows>,
    /// Rows whose key is null as a whole (a null key is not a key of null parts). Set bit = null key.
    pub null_key: Option<BooleanBuffer>,
    /// Rows whose value is null as a whole; on tables the tombstone. Set bit = null value.
    pub null_value: Option<BooleanBuffer>,
    /// Headers of each row as the HEADERS column's type, `LIST<STRUCT<KEY, VALUE>>`; absent when the run has none.
    pub headers: Option<ListArray>,
    pub change: Change,
}

/// Window bounds, milliseconds since the Unix epoch. For sessions `end` is the last record's time.
#[derive(Debug, Clone)]
pub struct Windows {
    pub start: Int64Array,
    pub end: Int64Array,
}

#[derive(Debug, Clone)]
pub enum Change {
    /// Stream: every row is a new fact.
    Append,
    /// Table: the row replaces the row of its key.
    Upsert { old: Option<OldRows> },
}

/// The previous value of each row's key, beside the new one; same schema as `Rows::columns`.
#[derive(Debug, Clone)]
pub struct OldRows {
    pub columns: RecordBatch,
    /// Set bit = there was a previous value.
    pub present: BooleanBuffer,
}

impl Rows {
    /// Stream rows without window, headers or nulls.
    pub fn append(columns: RecordBatch, time: Int64Array) -> Self {
        Self { columns, time, window: None, null_key: None, null_value: None, headers: None, change: Change::Append }
    }

    pub fn len(&self) -> usize {
        self.time.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn is_null_key(&self, row: usize) -> bool {
        self.null_key.as_ref().is_some_and(|b| b.value(row))
    }

    pub fn is_null_value(&self, row: usize) -> bool {
        self.null_value.as_ref().is_some_and(|b| b.value(row))
    }

    /// Columns by the names of `schema`: the rows' own, or ROWTIME and the window beside them; what they do not have is null.
    pub fn named(&self, schema: &SchemaRef) -> Result<RecordBatch> {
        let columns = schema
            .fields()
            .iter()
            .map(|field| -> ArrayRef {
                if let Some(column) = self.columns.column_by_name(field.name()) {
                    return column.clone();
                }
                match (field.name().as_str(), &self.window) {
                    (ROWTIME, _) => Arc::new(self.time.clone()),
                    (WINDOWSTART, Some(window)) => Arc::new(window.start.clone()),
                    (WINDOWEND, Some(window)) => Arc::new(window.end.clone()),
                    _ => arrow::array::new_null_array(field.data_type(), self.len()),
                }
            })
            .collect();
        batch_of(schema.clone(), columns, self.len())
    }

    pub fn old(&self) -> Option<&OldRows> {
        match &self.change {
            Change::Upsert { old } => old.as_ref(),
            Change::Append => None,
        }
    }

    /// Rows `[offset, offset + len)`, without copying.
    pub fn slice(&self, offset: usize, len: usize) -> Rows {
        Rows {
            columns: self.columns.slice(offset, len),
            time: self.time.slice(offset, len),
            window: self
                .window
                .as_ref()
                .map(|w| Windows { start: w.start.slice(offset, len), end: w.end.slice(offset, len) }),
            null_key: self.null_key.as_ref().map(|b| b.slice(offset, len)),
            null_value: self.null_value.as_ref().map(|b| b.slice(offset, len)),
            headers: self.headers.as_ref().map(|h| h.slice(offset, len)),
            change: match &self.change {
                Change::Append => Change::Append,
                Change::Upsert { old } => Change::Upsert {
                    old: old.as_ref().map(|o| OldRows {
                        columns: o.columns.slice(offset, len),
                        present: o.present.slice(offset, len),
                    }),
                },
            },
        }
    }

    /// The rows whose bit is set, in order.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Rows> {
        let bits = |b: &BooleanBuffer| -> Result<BooleanBuffer> {
            Ok(as_bits(&filter(&BooleanArray::new(b.clone(), None), keep)?))
        };
        Ok(Rows {
            columns: filter_record_batch(&self.columns, keep)?,
            time: as_i64(&filter(&self.time, keep)?),
            window: match &self.window {
                Some(w) => {
                    Some(Windows { start: as_i64(&filter(&w.start, keep)?), end: as_i64(&filter(&w.end, keep)?) })
                }
                None => None,
            },
            null_key: self.null_key.as_ref().map(bits).transpose()?,
            null_value: self.null_value.as_ref().map(bits).transpose()?,
            headers: match &self.headers {
                Some(h) => Some(as_list(&filter(h, keep)?)),
                None => None,
            },
            change: match &self.change {
                Change::Append => Change::Append,
                Change::Upsert { old: None } => Change::Upsert { old: None },
                Change::Upsert { old: Some(o) } => Change::Upsert {
                    old: Some(OldRows { columns: filter_record_batch(&o.columns, keep)?, present: bits(&o.present)? }),
                },
            },
        })
    }

    /// The named rows, in the order named; a row may be named twice.
    pub fn take(&self, rows: &UInt32Array) -> Result<Rows> {
        let bits = |b: &BooleanBuffer| -> Result<BooleanBuffer> {
            Ok(as_bits(&take(&BooleanArray::new(b.clone(), None), rows, None)?))
        };
        Ok(Rows {
            columns: take_columns(&self.columns, rows)?,
            time: as_i64(&take(&self.time, rows, None)?),
            window: match &self.window {
                Some(w) => Some(Windows {
                    start: as_i64(&take(&w.start, rows, None)?),
                    end: as_i64(&take(&w.end, rows, None)?),
                }),
                None => None,
            },
            null_key: self.null_key.as_ref().map(bits).transpose()?,
            null_value: self.null_value.as_ref().map(bits).transpose()?,
            headers: match &self.headers {
                Some(h) => Some(as_list(&take(h, rows, None)?)),
                None => None,
            },
            change: match &self.change {
                Change::Append => Change::Append,
                Change::Upsert { old: None } => Change::Upsert { old: None },
                Change::Upsert { old: Some(o) } => Change::Upsert {
                    old: Some(OldRows { columns: take_columns(&o.columns, rows)?, present: bits(&o.present)? }),
                },
            },
        })
    }

    /// All rows of `parts`, in order. The parts have one schema and one kind of change; there is at least one.
    pub fn concat(parts: &[Rows]) -> Result<Rows> {
        assert!(!parts.is_empty(), "concat needs at least one run");
        if parts.len() == 1 {
            return Ok(parts[0].clone());
        }
        let bits = |pick: &dyn Fn(&Rows) -> Option<BooleanBuffer>| -> Option<BooleanBuffer> {
            if parts.iter().all(|p| pick(p).is_none()) {
                return None;
            }
            let mut builder = arrow::array::BooleanBufferBuilder::new(parts.iter().map(Rows::len).sum());
            for part in parts {
                match pick(part) {
                    Some(bits) => builder.append_buffer(&bits),
                    None => builder.append_n(part.len(), false),
                }
            }
            Some(builder.finish())
        };
        let longs = |pick: &dyn Fn(&Rows) -> Int64Array| -> Result<Int64Array> {
            let arrays: Vec<Int64Array> = parts.iter().map(pick).collect();
            Ok(as_i64(&concat(&arrays.iter().map(|a| a as &dyn Array).collect::<Vec<_>>())?))
        };
        let headers = if parts.iter().any(|p| p.headers.is_some()) {
            let arrays: Vec<ListArray> =
                parts.iter().map(|p| p.headers.clone().unwrap_or_else(|| empty_headers(p.len()))).collect();
            Some(as_list(&concat(&arrays.iter().map(|a| a as &dyn Array).collect::<Vec<_>>())?))
        } else {
            None
        };
        let change = match &parts[0].change {
            Change::Append => Change::Append,
            Change::Upsert { old: None } => Change::Upsert { old: None },
            Change::Upsert { old: Some(first) } => {
                let olds: Vec<&OldRows> =
                    parts.iter().map(|p| p.old().expect("runs of one edge all carry old rows")).collect();
                Change::Upsert {
                    old: Some(OldRows {
                        columns: concat_batches(&first.columns.schema(), olds.iter().map(|o| &o.columns))?,
                        present: bits(&|p| p.old().map(|o| o.present.clone())).expect("old rows carry presence bits"),
                    }),
                }
            }
        };
        Ok(Rows {
            columns: concat_batches(&parts[0].columns.schema(), parts.iter().map(|p| &p.columns))?,
            time: longs(&|p| p.time.clone())?,
            window: match &parts[0].window {
                Some(_) => Some(Windows {
                    start: longs(&|p| p.window.as_ref().expect("runs of one edge are all windowed").start.clone())?,
                    end: longs(&|p| p.window.as_ref().expect("runs of one edge are all windowed").end.clone())?,
                }),
                None => None,
            },
            null_key: bits(&|p| p.null_key.clone()),
            null_value: bits(&|p| p.null_value.clone()),
            headers,
            change,
        })
    }
}

/// A batch of `columns` that may have no columns at all, in which case `rows` says how many rows it has.
pub fn batch_of(schema: arrow::datatypes::SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new_with_options(schema, columns, &RecordBatchOptions::new().with_row_count(Some(rows)))?)
}

fn take_columns(columns: &RecordBatch, rows: &UInt32Array) -> Result<RecordBatch> {
    if columns.num_columns() == 0 {
        return batch_of(columns.schema(), Vec::new(), rows.len());
    }
    Ok(take_record_batch(columns, rows)?)
}

/// `rows` empty header lists.
pub fn empty_headers(rows: usize) -> ListArray {
    let item = Arc::new(arrow::datatypes::Field::new_list_field(header_type(), true));
    ListArray::new(
        item,
        arrow::buffer::OffsetBuffer::new_zeroed(rows),
        arrow::array::new_empty_array(&header_type()),
        None::<NullBuffer>,
    )
}

/// `STRUCT<KEY STRING, VALUE BYTES>`.
pub fn header_type() -> arrow::datatypes::DataType {
    crate::types::SqlType::structure([("KEY", crate::types::SqlType::String), ("VALUE", crate::types::SqlType::Bytes)])
        .to_arrow()
}

fn as_i64(array: &ArrayRef) -> Int64Array {
    arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(array).clone()
}

fn as_list(array: &ArrayRef) -> ListArray {
    arrow::array::AsArray::as_list::<i32>(array).clone()
}

fn as_bits(array: &ArrayRef) -> BooleanBuffer {
    arrow::array::AsArray::as_boolean(array).values().clone()
}

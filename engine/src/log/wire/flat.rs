//! A body as one plain Arrow batch, so that it can be a frame of the log or a batch of a segment that any Arrow tool reads.
//!
//! | body | columns of the batch |
//! |---|---|
//! | typed | its columns, `$time`, then as the run has them: `$window_start`, `$window_end`, `$null_key`, `$null_value`, `$headers`, `$old.`… and `$old_present` |
//! | encoded | `$key`, `$value`, `$time`, and `$headers` if the run has them |
//!
//! A segment adds `$offset` at the end. The schema's metadata says which parts there are, so that a batch explains itself.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::damaged;
use crate::error::Result;
use crate::log::{EncodedRecords, LogBody};
use crate::rows::{Change, OldRows, Rows, Windows, batch_of};

const LAYOUT: &str = "headwater.layout";
const FINGERPRINT: &str = "headwater.fingerprint";

/// Which parts a flat batch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Layout {
    pub encoded: bool,
    /// Of a typed body: the columns that SQL names.
    pub columns: usize,
    pub fingerprint: u64,
    pub window: bool,
    pub null_key: bool,
    pub null_value: bool,
    pub headers: bool,
    pub upsert: bool,
    pub old: bool,
}

impl Layout {
    pub fn of(body: &LogBody) -> Layout {
        match body {
            LogBody::Encoded(records) => {
                Layout { encoded: true, headers: records.headers.is_some(), ..Layout::default() }
            }
            LogBody::Typed { rows, fingerprint } => Layout {
                encoded: false,
                columns: rows.columns.num_columns(),
                fingerprint: *fingerprint,
                window: rows.window.is_some(),
                null_key: rows.null_key.is_some(),
                null_value: rows.null_value.is_some(),
                headers: rows.headers.is_some(),
                upsert: matches!(rows.change, Change::Upsert { .. }),
                old: rows.old().is_some(),
            },
        }
    }

    /// The schema of flat batches with this layout; `columns` is the schema of the typed columns.
    pub fn schema(&self, columns: &Schema) -> SchemaRef {
        let long = |name: &str| Field::new(name, DataType::Int64, false);
        let mut fields: Vec<Field> = Vec::new();
        if self.encoded {
            fields.extend(["$key", "$value"].map(|name| Field::new(name, DataType::Binary, true)));
        } else {
            fields.extend(columns.fields().iter().map(|f| f.as_ref().clone()));
        }
        fields.push(long("$time"));
        if self.window {
            fields.extend(["$window_start", "$window_end"].map(long));
        }
        for (name, there) in [("$null_key", self.null_key), ("$null_value", self.null_value)] {
            if there {
                fields.push(Field::new(name, DataType::Boolean, false));
            }
        }
        if self.headers {
            let item = Arc::new(Field::new_list_field(crate::rows::header_type(), true));
            fields.push(Field::new("$headers", DataType::List(item), true));
        }
        if self.old {
            fields.extend(columns.fields().iter().map(|f| f.as_ref().clone().with_name(format!("$old.{}", f.name()))));
            fields.push(Field::new("$old_present", DataType::Boolean, false));
        }
        let metadata =
            [(LAYOUT.to_string(), self.text()), (FINGERPRINT.to_string(), format!("{:016x}", self.fingerprint))];
        Arc::new(Schema::new_with_metadata(fields, metadata.into()))
    }

    /// The parts of either; both are of one kind.
    pub fn union(self, other: Layout) -> Layout {
        Layout {
            null_key: self.null_key || other.null_key,
            null_value: self.null_value || other.null_value,
            headers: self.headers || other.headers,
            ..self
        }
    }

    fn text(&self) -> String {
        let mut words = vec![if self.encoded { "encoded".to_string() } else { format!("typed {}", self.columns) }];
        for (word, there) in self.words() {
            if there {
                words.push(word.to_string());
            }
        }
        words.join(" ")
    }

    fn words(&self) -> [(&'static str, bool); 6] {
        [
            ("window", self.window),
            ("null_key", self.null_key),
            ("null_value", self.null_value),
            ("headers", self.headers),
            ("upsert", self.upsert),
            ("old", self.old),
        ]
    }

    pub fn from_schema(schema: &Schema) -> Result<Layout> {
        let text = schema.metadata().get(LAYOUT).ok_or_else(damaged)?;
        let fingerprint = schema.metadata().get(FINGERPRINT).ok_or_else(damaged)?;
        let mut layout =
            Layout { fingerprint: u64::from_str_radix(fingerprint, 16).map_err(|_| damaged())?, ..Layout::default() };
        let mut words = text.split(' ');
        match words.next() {
            Some("encoded") => layout.encoded = true,
            Some("typed") => {
                layout.columns = words.next().and_then(|n| n.parse().ok()).ok_or_else(damaged)?;
            }
            _ => return Err(damaged()),
        }
        for word in words {
            *match word {
                "window" => &mut layout.window,
                "null_key" => &mut layout.null_key,
                "null_value" => &mut layout.null_value,
                "headers" => &mut layout.headers,
                "upsert" => &mut layout.upsert,
                "old" => &mut layout.old,
                _ => return Err(damaged()),
            } = true;
        }
        Ok(layout)
    }
}

/// The columns of a flat batch.
pub(crate) fn arrays(body: &LogBody) -> Vec<ArrayRef> {
    let bits = |b: &BooleanBuffer| -> ArrayRef { Arc::new(BooleanArray::new(b.clone(), None)) };
    let mut arrays: Vec<ArrayRef> = Vec::new();
    match body {
        LogBody::Encoded(records) => {
            arrays.push(Arc::new(records.keys.clone()));
            arrays.push(Arc::new(records.values.clone()));
            arrays.push(Arc::new(records.time.clone()));
            arrays.extend(records.headers.iter().map(|h| Arc::new(h.clone()) as ArrayRef));
        }
        LogBody::Typed { rows, .. } => {
            arrays.extend(rows.columns.columns().iter().cloned());
            arrays.push(Arc::new(rows.time.clone()));
            if let Some(window) = &rows.window {
                arrays.push(Arc::new(window.start.clone()));
                arrays.push(Arc::new(window.end.clone()));
            }
            arrays.extend(rows.null_key.iter().map(bits));
            arrays.extend(rows.null_value.iter().map(bits));
            arrays.extend(rows.headers.iter().map(|h| Arc::new(h.clone()) as ArrayRef));
            if let Some(old) = rows.old() {
                arrays.extend(old.columns.columns().iter().cloned());
                arrays.push(bits(&old.present));
            }
        }
    }
    arrays
}

/// What schemas of flat batches say, worked out once per schema.
#[derive(Debug)]
pub(crate) struct Unflatten {
    layout: Layout,
    columns: SchemaRef,
}

impl Unflatten {
    pub fn new(flat: &Schema) -> Result<Self> {
        let layout = Layout::from_schema(flat)?;
        let fields = flat.fields().get(..layout.columns).ok_or_else(damaged)?;
        Ok(Self { layout, columns: Arc::new(Schema::new(fields.to_vec())) })
    }

    /// `columns` as [`arrays`] gives them, each of `len` rows.
    pub fn body(&self, columns: &[ArrayRef], len: usize) -> Result<LogBody> {
        let Layout { window, null_key, null_value, headers, .. } = self.layout;
        let mut columns = columns.iter();
        let mut next = || columns.next().ok_or_else(damaged);
        let long = |a: &ArrayRef| a.as_primitive_opt::<Int64Type>().cloned().ok_or_else(damaged);
        let bits = |a: &ArrayRef| a.as_boolean_opt().map(|b| b.values().clone()).ok_or_else(damaged);
        let lists = |a: &ArrayRef| a.as_list_opt::<i32>().cloned().ok_or_else(damaged);
        if self.layout.encoded {
            let binary = |a: &ArrayRef| a.as_binary_opt::<i32>().cloned().ok_or_else(damaged);
            return Ok(LogBody::Encoded(EncodedRecords {
                keys: binary(next()?)?,
                values: binary(next()?)?,
                time: long(next()?)?,
                headers: if headers { some_headers(lists(next()?)?) } else { None },
            }));
        }
        let mut take = |n: usize| (0..n).map(|_| next().cloned()).collect::<Result<Vec<_>>>();
        let columns = batch_of(self.columns.clone(), take(self.layout.columns)?, len)?;
        let mut one = || take(1).map(|mut one| one.remove(0));
        let time = long(&one()?)?;
        let window = if window { Some(Windows { start: long(&one()?)?, end: long(&one()?)? }) } else { None };
        let null_key = if null_key { some_bits(bits(&one()?)?) } else { None };
        let null_value = if null_value { some_bits(bits(&one()?)?) } else { None };
        let headers = if headers { some_headers(lists(&one()?)?) } else { None };
        let change = if !self.layout.upsert {
            Change::Append
        } else if !self.layout.old {
            Change::Upsert { old: None }
        } else {
            let columns = batch_of(self.columns.clone(), take(self.layout.columns)?, len)?;
            let present = take(1)?.remove(0);
            Change::Upsert { old: Some(OldRows { columns, present: bits(&present)? }) }
        };
        let rows = Rows { columns, time, window, null_key, null_value, headers, change };
        Ok(LogBody::Typed { rows, fingerprint: self.layout.fingerprint })
    }
}

/// A part that says nothing is as good as none.
fn some_bits(bits: BooleanBuffer) -> Option<BooleanBuffer> {
    (bits.count_set_bits() > 0).then_some(bits)
}

fn some_headers(headers: arrow::array::ListArray) -> Option<arrow::array::ListArray> {
    let offsets = headers.value_offsets();
    (offsets.first() != offsets.last()).then_some(headers)
}

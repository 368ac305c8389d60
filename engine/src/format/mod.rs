//! Formats: bytes of a record's key or value ↔ columns.
//!
//! What enters a decoder: one nullable binary column, one row a record. What leaves it: one array per wanted column, the
//! rows that are null as a whole, and an error for each row that cannot be read (its columns are null; the caller sets
//! the record aside). A format never fails as a whole because of data.
//!
//! `decode(encode(canonicalise(x))) == canonicalise(x)` for every format; the sink canonicalises, so that a reader
//! of the same format and schema may share the columns without decoding.

mod columns;
mod delimited;
pub mod json;
mod kafka;
mod none;
pub mod number;
pub mod protobuf;
mod records;
pub mod sniff;
pub mod temporal;
pub mod windowed;

#[cfg(test)]
mod roundtrip;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder};
use arrow::buffer::BooleanBuffer;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, RowError};
use crate::schema::Column;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FormatName {
    None,
    Kafka,
    Delimited,
    Json,
    JsonSr,
    Avro,
    Protobuf,
    ProtobufNosr,
}

/// A format with its parameters, as a source or sink declared it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FormatSpec {
    pub name: FormatName,
    /// DELIMITED only; comma by default.
    pub delimiter: Option<char>,
    /// A single value column as an object field (true) or bare (false). None = the format's default. Keys of one column
    /// are always bare.
    pub wrap_single: Option<bool>,
    /// PROTOBUF_NOSR only: how a null differs from a default.
    #[serde(default, skip_serializing_if = "Nullable::is_implicit")]
    pub nullable: Nullable,
}

/// How fields of Protobuf's plain types say that they are null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Nullable {
    /// Not at all: null is the type's default.
    #[default]
    Implicit,
    /// `optional`: a field that is not there is null.
    Optional,
    /// A message around the value: one that is not there is null.
    Wrapper,
}

impl Nullable {
    fn is_implicit(&self) -> bool {
        *self == Nullable::Implicit
    }
}

/// Which part of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Side {
    Key,
    Value,
}

/// The result of decoding `n` records.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// One array of `n` rows per wanted column, in the order wanted.
    pub columns: Vec<ArrayRef>,
    /// Rows that are null as a whole; None when there are none.
    pub null: Option<BooleanBuffer>,
    /// Rows that cannot be read, ascending by row.
    pub errors: Vec<RowError>,
}

/// The result of encoding `n` rows.
#[derive(Debug, Clone)]
pub struct Encoded {
    pub bytes: BinaryArray,
    pub errors: Vec<RowError>,
}

/// The result of canonicalising `n` rows.
#[derive(Debug, Clone)]
pub struct Canonical {
    pub columns: Vec<ArrayRef>,
    pub null: Option<BooleanBuffer>,
    /// Rows this format cannot write; their columns are null.
    pub errors: Vec<RowError>,
}

/// One format bound to one list of columns on one side of a record.
pub trait Format: Send + Sync {
    /// Decodes the columns whose index (into the declared columns) is in `wanted`; all declared columns are validated.
    fn decode(&self, records: &BinaryArray, wanted: &[usize]) -> Result<Decoded>;

    /// What decoding the encoded form would give, without making it. `null` marks rows that are null as a whole.
    fn canonicalise(&self, columns: Vec<ArrayRef>, null: Option<&BooleanBuffer>) -> Result<Canonical>;

    /// Rows marked in `null` become null records. Without columns the number of rows is that of `null`.
    fn encode(&self, columns: &[ArrayRef], null: Option<&BooleanBuffer>) -> Result<Encoded>;
}

pub type FormatRef = Arc<dyn Format>;

/// The format `spec` for these columns on this side of a record.
pub fn create(spec: &FormatSpec, columns: &[Column], side: Side) -> Result<FormatRef> {
    match spec.name {
        _ if columns.is_empty() && side == Side::Key => none::create(columns),
        FormatName::None => none::create(columns),
        FormatName::Kafka => kafka::create(columns),
        FormatName::Delimited => delimited::create(columns, spec.delimiter),
        FormatName::Json => json::create(columns, side, spec.wrap_single),
        FormatName::ProtobufNosr => protobuf::create(columns, spec.nullable),
        FormatName::JsonSr | FormatName::Avro | FormatName::Protobuf => {
            Err(Error::statement(format!("format {} is not built yet", spec.name.sql()))
                .with_hint("use JSON, DELIMITED, KAFKA or PROTOBUF_NOSR"))
        }
    }
}

/// A set of rows as bits, None if there are none.
fn rows_of(rows: &[usize], len: usize) -> Option<BooleanBuffer> {
    if rows.is_empty() {
        return None;
    }
    let mut bits = BooleanBufferBuilder::new(len);
    bits.append_n(len, false);
    rows.iter().for_each(|&row| bits.set_bit(row, true));
    Some(bits.finish())
}

/// Columns that are null in every row that is null as a whole; with `bare`, a null in the only column makes such a row.
fn absorb_nulls(
    columns: Vec<ArrayRef>,
    null: Option<&BooleanBuffer>,
    bare: bool,
) -> Result<(Vec<ArrayRef>, Option<BooleanBuffer>)> {
    let mut null = null.filter(|bits| bits.count_set_bits() > 0).cloned();
    if bare
        && let Some(nulls) = columns.first().and_then(|c| c.logical_nulls())
        && nulls.null_count() > 0
    {
        let missing = !nulls.inner();
        null = Some(match null {
            Some(bits) => &bits | &missing,
            None => missing,
        });
    }
    let Some(bits) = null else { return Ok((columns, None)) };
    let mask = BooleanArray::new(bits.clone(), None);
    let columns = columns.iter().map(|c| arrow::compute::nullif(c, &mask)).collect::<Result<_, _>>()?;
    Ok((columns, Some(bits)))
}

impl FormatSpec {
    pub fn new(name: FormatName) -> Self {
        Self { name, delimiter: None, wrap_single: None, nullable: Nullable::Implicit }
    }
}

impl FormatName {
    pub fn sql(self) -> &'static str {
        match self {
            FormatName::None => "NONE",
            FormatName::Kafka => "KAFKA",
            FormatName::Delimited => "DELIMITED",
            FormatName::Json => "JSON",
            FormatName::JsonSr => "JSON_SR",
            FormatName::Avro => "AVRO",
            FormatName::Protobuf => "PROTOBUF",
            FormatName::ProtobufNosr => "PROTOBUF_NOSR",
        }
    }

    /// By its SQL name, in any case.
    pub fn from_sql(name: &str) -> Option<Self> {
        [
            FormatName::None,
            FormatName::Kafka,
            FormatName::Delimited,
            FormatName::Json,
            FormatName::JsonSr,
            FormatName::Avro,
            FormatName::Protobuf,
            FormatName::ProtobufNosr,
        ]
        .into_iter()
        .find(|f| f.sql().eq_ignore_ascii_case(name))
    }
}

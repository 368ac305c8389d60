//! Formats: bytes of a record's key or value ↔ columns.
//!
//! What enters a decoder: one nullable binary column, one row a record. What leaves it: one array per wanted column, the
//! rows that are null as a whole, and an error for each row that cannot be read (its columns are null; the caller sets
//! the record aside). A format never fails as a whole because of data.
//!
//! `decode(encode(canonicalise(x))) == canonicalise(x)` for every format; the sink canonicalises, so that a reader
//! of the same format and schema may share the columns without decoding.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray};
use arrow::buffer::BooleanBuffer;
use serde::{Deserialize, Serialize};

use crate::error::{Result, RowError};

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

    /// Rows marked in `null` become null records.
    fn encode(&self, columns: &[ArrayRef], null: Option<&BooleanBuffer>) -> Result<Encoded>;
}

pub type FormatRef = Arc<dyn Format>;

impl FormatSpec {
    pub fn new(name: FormatName) -> Self {
        Self { name, delimiter: None, wrap_single: None }
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

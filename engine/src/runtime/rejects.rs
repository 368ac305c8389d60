//! The two places where nothing disappears: rejected records and failed expressions.
//!
//! | stream | a row is |
//! |---|---|
//! | `<SOURCE>$REJECTED (QUERY, SOURCE, PARTITION, OFFSET, LINE, RAW, ERROR)` | a record that a persistent query, a load or an insert could not read, whole |
//! | `PROCESSING_LOG (QUERY, STEP, LEVEL, ERROR, RECORDTIME)` | an expression of a persistent query that failed for a row and became null |
//!
//! Both are ordinary streams: JSON values, no key, one partition, written in the same group as the work that failed.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, Int32Array, Int64Array, StringArray};

use super::scan::Rejected;
use crate::catalog::{Source, SourceKind};
use crate::error::Result;
use crate::format::{FormatName, FormatSpec};
use crate::log::Offset;
use crate::ops::OpError;
use crate::rows::{Rows, batch_of};
use crate::schema::{Column, Schema};
use crate::types::SqlType;

pub const PROCESSING_LOG: &str = "PROCESSING_LOG";
pub const REJECTED_SUFFIX: &str = "$REJECTED";

/// Name of the stream (and topic) of a source's rejected records.
pub fn rejected_name(source: &str) -> String {
    format!("{source}{REJECTED_SUFFIX}")
}

/// Whether a name is one of the engine's own streams.
pub fn is_system(name: &str) -> bool {
    name == PROCESSING_LOG || name.ends_with(REJECTED_SUFFIX)
}

pub fn rejected_schema() -> Schema {
    Schema::new(
        vec![],
        vec![
            Column::new("QUERY", SqlType::String),
            Column::new("SOURCE", SqlType::String),
            Column::new("PARTITION", SqlType::Integer),
            Column::new("OFFSET", SqlType::Bigint),
            Column::new("LINE", SqlType::Bigint),
            Column::new("RAW", SqlType::Bytes),
            Column::new("ERROR", SqlType::String),
        ],
    )
}

pub fn processing_log_schema() -> Schema {
    Schema::new(
        vec![],
        vec![
            Column::new("QUERY", SqlType::String),
            Column::new("STEP", SqlType::String),
            Column::new("LEVEL", SqlType::String),
            Column::new("ERROR", SqlType::String),
            Column::new("RECORDTIME", SqlType::Bigint),
        ],
    )
}

/// The catalog entry of one of the two streams.
pub fn system_source(name: &str, schema: Schema) -> Source {
    Source {
        name: name.to_string(),
        kind: SourceKind::Stream,
        topic: name.to_string(),
        partitions: 1,
        key_format: FormatSpec::new(FormatName::None),
        value_format: FormatSpec::new(FormatName::Json),
        schema,
        headers: vec![],
        windowed: None,
        timestamp_column: None,
        timestamp_format: None,
        is_source: true,
        created_by: None,
        sql: String::new(),
        timestamp_throw_on_invalid: false,
        discard: false,
    }
}

/// A rejected record and where it stood.
pub struct RejectedAt<'a> {
    pub query: &'a str,
    pub source: &'a str,
    /// Partition and offset, if it was in the log.
    pub at: Option<(u32, Offset)>,
    /// Line of the loaded file, if it came from one.
    pub line: Option<i64>,
    pub record: &'a Rejected,
}

pub fn rejected_rows(records: &[RejectedAt<'_>], now_ms: i64) -> Result<Rows> {
    let mut raw = BinaryBuilder::new();
    for at in records {
        match &at.record.raw {
            Some(bytes) => raw.append_value(bytes),
            None => raw.append_null(),
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(records.iter().map(|r| r.query))),
        Arc::new(StringArray::from_iter_values(records.iter().map(|r| r.source))),
        Arc::new(Int32Array::from_iter(records.iter().map(|r| r.at.map(|at| at.0 as i32)))),
        Arc::new(Int64Array::from_iter(records.iter().map(|r| r.at.map(|at| at.1)))),
        Arc::new(Int64Array::from_iter(records.iter().map(|r| r.line))),
        Arc::new(raw.finish()),
        Arc::new(StringArray::from_iter_values(records.iter().map(|r| r.record.reason.as_str()))),
    ];
    let batch = batch_of(rejected_schema().to_arrow(), columns, records.len())?;
    Ok(Rows::append(batch, Int64Array::from_value(now_ms, records.len())))
}

pub fn processing_log_rows(query: &str, errors: &[OpError], now_ms: i64) -> Result<Rows> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(errors.iter().map(|_| query))),
        Arc::new(StringArray::from_iter_values(errors.iter().map(|e| e.place.as_str()))),
        Arc::new(StringArray::from_iter_values(errors.iter().map(|_| "ERROR"))),
        Arc::new(StringArray::from_iter_values(errors.iter().map(|e| e.error.message.as_str()))),
        Arc::new(Int64Array::from_iter_values(errors.iter().map(|e| e.time))),
    ];
    let batch = batch_of(processing_log_schema().to_arrow(), columns, errors.len())?;
    Ok(Rows::append(batch, Int64Array::from_value(now_ms, errors.len())))
}

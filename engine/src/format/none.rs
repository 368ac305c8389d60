//! The NONE format: no columns, null bytes; whatever is found is ignored.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray};
use arrow::buffer::BooleanBuffer;

use super::{Canonical, Decoded, Encoded, Format, FormatRef};
use crate::error::{Error, Result};
use crate::schema::Column;

/// Also what keys without columns are, in any format.
pub struct NoColumns;

pub(super) fn create(columns: &[Column]) -> Result<FormatRef> {
    if columns.is_empty() {
        return Ok(Arc::new(NoColumns));
    }
    let names: Vec<String> = columns.iter().map(|c| format!("`{}` {}", c.name, c.ty)).collect();
    Err(Error::statement(format!(
        "The 'NONE' format can only be used when no columns are defined. Got: [{}]",
        names.join(", ")
    )))
}

impl Format for NoColumns {
    /// No row is null as a whole: there is nothing to be null.
    fn decode(&self, _records: &BinaryArray, _wanted: &[usize]) -> Result<Decoded> {
        Ok(Decoded { columns: Vec::new(), null: None, errors: Vec::new() })
    }

    fn canonicalise(&self, _columns: Vec<ArrayRef>, _null: Option<&BooleanBuffer>) -> Result<Canonical> {
        Ok(Canonical { columns: Vec::new(), null: None, errors: Vec::new() })
    }

    fn encode(&self, columns: &[ArrayRef], null: Option<&BooleanBuffer>) -> Result<Encoded> {
        let rows = columns.first().map(|c| c.len()).or(null.map(|n| n.len())).unwrap_or(0);
        Ok(Encoded { bytes: BinaryArray::new_null(rows), errors: Vec::new() })
    }
}

//! Text → milliseconds since the Unix epoch: digits are taken as they are, anything else is ISO 8601.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::TimestampMillisecondType;

use crate::error::{Result, RowError};
use crate::plan::compile::Compiled;
use crate::plan::expr::Expr;
use crate::schema::Column;
use crate::types::SqlType;

pub(super) struct TimeParser {
    timestamp: Compiled,
}

impl TimeParser {
    pub fn new() -> Result<Self> {
        let schema = arrow::datatypes::Schema::new(vec![Column::new("TEXT", SqlType::String).to_arrow()]);
        let expr = Expr::column("TEXT", SqlType::String).cast_to(SqlType::Timestamp);
        Ok(Self { timestamp: Compiled::new(&expr, &schema)? })
    }

    pub fn parse(&self, texts: &StringArray) -> Result<(Int64Array, Vec<RowError>)> {
        let digits: Vec<Option<i64>> = texts.iter().map(|text| text?.trim().parse().ok()).collect();
        // What is digits already is not parsed as a date, too. A trailing Z means UTC, which is what no zone means.
        let iso: StringArray = texts
            .iter()
            .zip(&digits)
            .map(|(text, digits)| text.filter(|_| digits.is_none()).map(|text| text.trim().trim_end_matches('Z')))
            .collect();
        let batch = RecordBatch::try_from_iter_with_nullable([("TEXT", Arc::new(iso) as ArrayRef, true)])?;
        let (parsed, errors) = self.timestamp.evaluate(&batch)?;
        let parsed = parsed.as_primitive::<TimestampMillisecondType>();
        let time =
            digits.iter().enumerate().map(|(i, digits)| digits.or((!parsed.is_null(i)).then(|| parsed.value(i))));
        Ok((time.collect(), errors))
    }
}

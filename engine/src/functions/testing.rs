//! SQL expressions without columns, evaluated: the way function tests are written.

use arrow::array::RecordBatchOptions;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use std::sync::Arc;

use crate::config::Settings;
use crate::error::{Error, Position, Result};
use crate::functions::values::text::write_value;
use crate::plan::analyze::expr::{Analyzer, Scope};
use crate::plan::compile::Compiled;
use crate::plan::expr::Expr;
use crate::sql::parse_expression;
use crate::types::SqlType;

struct NoColumns;

impl Scope for NoColumns {
    fn column(&self, _source: Option<&str>, name: &str, _position: Position) -> Result<Expr> {
        Err(Error::statement(format!("there is no column {name}")))
    }

    fn custom_type(&self, _name: &str) -> Option<SqlType> {
        None
    }
}

/// The value as text; an `Err` says why planning or the row failed.
pub fn value(sql: &str) -> Result<String, String> {
    let settings = Settings::default();
    let parsed = parse_expression(sql).map_err(|e| e.to_string())?;
    let expr = Analyzer::new(&NoColumns, &settings).expr(&parsed).map_err(|e| e.to_string())?;
    let row = RecordBatchOptions::new().with_row_count(Some(1));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &row);
    let batch = batch.map_err(|e| e.to_string())?;
    let compiled = Compiled::new(&expr, &Schema::empty()).map_err(|e| e.to_string())?;
    let (column, errors) = compiled.evaluate(&batch).map_err(|e| e.to_string())?;
    if let Some(error) = errors.into_iter().next() {
        return Err(error.message);
    }
    let mut text = String::new();
    write_value(column.as_ref(), 0, &mut text);
    Ok(text)
}

/// A table of `expression => value`; `!` stands for any failure of the row.
#[track_caller]
pub fn expect_values(table: &[(&str, &str)]) {
    for (sql, expected) in table {
        match value(sql) {
            Ok(actual) => assert_eq!(actual, *expected, "{sql}"),
            Err(error) => assert_eq!("!", *expected, "{sql} failed: {error}"),
        }
    }
}

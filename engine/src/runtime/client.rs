//! Rows → what a client's query answers.
//!
//! What enters: the last stage's rows. What leaves: batches of the result's columns on the client's queue, and the end
//! once `LIMIT` rows were sent. Nothing is logged.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::results::{EndReason, ResultEvent, ResultQueue};
use crate::rows::{Rows, batch_of};

/// Turns rows into a client's columns.
pub struct ClientWriter {
    pub queue: Arc<ResultQueue>,
    /// Column numbers of the result in the last stage's rows.
    pub columns: Vec<usize>,
    pub schema: SchemaRef,
    pub left: Option<u64>,
    pub table: bool,
    /// Rows without a value are left out, as ksqlDB's tap of a running query does; if true, rows without a key, too.
    pub whole_rows: Option<bool>,
}

impl ClientWriter {
    /// What the query sees of rows read.
    pub fn admitted(&self, rows: Rows) -> Result<Rows> {
        let Some(keyed) = self.whole_rows else { return Ok(rows) };
        let missing = match (rows.null_key.as_ref().filter(|_| keyed), &rows.null_value) {
            (Some(key), Some(value)) => key | value,
            (Some(missing), None) | (None, Some(missing)) => missing.clone(),
            (None, None) => return Ok(rows),
        };
        rows.filter(&BooleanArray::new(!&missing, None))
    }

    /// Sends rows; returns how many.
    pub fn write(&mut self, out: Vec<Rows>) -> Result<u64> {
        let mut written = 0;
        for mut rows in out {
            if let Some(left) = self.left {
                rows = rows.slice(0, rows.len().min(left as usize));
                self.left = Some(left - rows.len() as u64);
            }
            if rows.is_empty() {
                continue;
            }
            let columns = self.columns.iter().map(|c| rows.columns.column(*c).clone()).collect();
            let batch: RecordBatch = batch_of(self.schema.clone(), columns, rows.len())?;
            written += rows.len() as u64;
            let tombstones = if self.table { rows.null_value.clone() } else { None };
            self.queue.push(Ok(ResultEvent::Rows { batch, tombstones }));
            if self.left == Some(0) {
                self.queue.push(Ok(ResultEvent::End(EndReason::LimitReached)));
            }
        }
        Ok(written)
    }
}

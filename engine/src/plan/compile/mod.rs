//! Typed expressions → DataFusion: `Expr` for bounded plans, an evaluator for continuous ones.
//!
//! ```text
//! V / N > 2        as a projection            as a predicate
//! V=9  N=3         true                       true
//! V=null N=1       false                      false
//! V=1  N=0         null + RowError{row: 2}    false + RowError{row: 2}
//! ```
//!
//! A column is evaluated as a whole. Only if that fails are its rows halved until each failing row stands alone, so
//! a run without errors never pays. The unit of failure is the whole expression.

mod lambda;
mod membership;
mod translate;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{concat, filter_record_batch, take};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use self::translate::{NULL_OPERAND, Place};
use super::expr::Expr;
use crate::error::{Error, Result, RowError};
use crate::functions::values::arithmetic::message;
use crate::functions::values::conform;
use crate::functions::values::equality::without_nulls;
use crate::types::SqlType;

/// An expression ready to run over batches of one schema.
pub struct Compiled {
    value: Evaluator,
    /// The same where null and false act alike; only for BOOLEAN.
    predicate: Option<Evaluator>,
}

impl Compiled {
    /// Columns are found by name in `schema`.
    pub fn new(expr: &Expr, schema: &Schema) -> Result<Compiled> {
        let predicate = match expr.ty {
            SqlType::Boolean => Some(Evaluator::new(expr, Place::Conjunct, schema)?),
            _ => None,
        };
        Ok(Compiled { value: Evaluator::new(expr, Place::Root, schema)?, predicate })
    }

    /// The body of a lambda: its failures are those of the expression around it.
    fn within(expr: &Expr, schema: &Schema) -> Result<Compiled> {
        Ok(Compiled { value: Evaluator::new(expr, Place::Inner, schema)?, predicate: None })
    }

    /// One value per row; a row that fails is null and named in the errors (ascending).
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<(ArrayRef, Vec<RowError>)> {
        self.value.rows(batch)
    }

    /// Whether each row passes: true, not null and not failed. The bits have no nulls.
    pub fn predicate(&self, batch: &RecordBatch) -> Result<(BooleanArray, Vec<RowError>)> {
        let predicate = self.predicate.as_ref().ok_or_else(|| Error::internal("a predicate is not BOOLEAN"))?;
        let (column, errors) = predicate.rows(batch)?;
        Ok((without_nulls(column.as_boolean().clone()), errors))
    }

    /// The column, or why one row of it fails.
    fn column(&self, batch: &RecordBatch) -> std::result::Result<ArrayRef, String> {
        self.value.column(batch)
    }
}

/// The same expression for DataFusion's planner; columns become unqualified column references.
pub fn to_datafusion(expr: &Expr) -> Result<datafusion::logical_expr::Expr> {
    translate::value(expr)
}

fn physical(expr: &datafusion::logical_expr::Expr, columns: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    Ok(create_physical_expr(expr, columns, &ExecutionProps::new(), &PhysicalPlanningContext::default())?)
}

/// One physical expression and how its failing rows are found.
struct Evaluator {
    physical: Arc<dyn PhysicalExpr>,
    returns: DataType,
    /// Positions of columns that fail a row by being null there; found at once, the other failures by halving.
    required: Vec<usize>,
}

impl Evaluator {
    fn new(expr: &Expr, place: Place, schema: &Schema) -> Result<Evaluator> {
        let columns = DFSchema::try_from(schema.clone())?;
        let physical = physical(&translate::translate(expr, place)?, &columns)?;
        let mut names = Vec::new();
        translate::required_columns(expr, place, &mut names);
        let mut required: Vec<usize> = names.iter().filter_map(|name| schema.index_of(name).ok()).collect();
        required.sort_unstable();
        required.dedup();
        Ok(Evaluator { physical, returns: expr.ty.to_arrow(), required })
    }

    fn column(&self, batch: &RecordBatch) -> std::result::Result<ArrayRef, String> {
        let column = self.physical.evaluate(batch).and_then(|v| v.into_array(batch.num_rows())).map_err(row_message)?;
        conform(column, &self.returns)
    }

    fn rows(&self, batch: &RecordBatch) -> Result<(ArrayRef, Vec<RowError>)> {
        match self.column(batch) {
            Ok(column) => Ok((column, Vec::new())),
            Err(error) => self.failing_rows(batch, error),
        }
    }

    /// Rows with a null in a required column fail; the others are evaluated by themselves.
    fn failing_rows(&self, batch: &RecordBatch, error: String) -> Result<(ArrayRef, Vec<RowError>)> {
        let nulls = self
            .required
            .iter()
            .fold(None, |nulls, column| NullBuffer::union(nulls.as_ref(), batch.column(*column).nulls()));
        let Some(nulls) = nulls.filter(|n| n.null_count() > 0) else {
            let mut found = Found::default();
            self.halve(batch, 0, error, &mut found);
            return found.finish(&self.returns);
        };
        let present = BooleanArray::new(nulls.inner().clone(), None);
        let (column, inner) = self.rows(&filter_record_batch(batch, &present)?)?;
        let rows: Vec<usize> = nulls.valid_indices().collect();
        let mut errors: Vec<RowError> = inner.into_iter().map(|e| RowError::new(rows[e.row], e.message)).collect();
        let mut next = 0;
        let places: UInt32Array = (0..batch.num_rows())
            .map(|row| {
                let present = nulls.is_valid(row).then_some(next);
                next += u32::from(present.is_some());
                if present.is_none() {
                    errors.push(RowError::new(row, NULL_OPERAND));
                }
                present
            })
            .collect();
        errors.sort_by_key(|e| e.row);
        Ok((take(&column, &places, None)?, errors))
    }

    /// `batch` is known to fail with `error`; its first row is row `offset` of the run.
    fn halve(&self, batch: &RecordBatch, offset: usize, error: String, found: &mut Found) {
        let rows = batch.num_rows();
        if rows <= 1 {
            found.parts.push(new_null_array(&self.returns, rows));
            found.errors.extend((rows == 1).then(|| RowError::new(offset, error)));
            return;
        }
        let middle = rows / 2;
        for (start, len) in [(0, middle), (middle, rows - middle)] {
            let half = batch.slice(start, len);
            match self.column(&half) {
                Ok(column) => found.parts.push(column),
                Err(error) => self.halve(&half, offset + start, error, found),
            }
        }
    }
}

#[derive(Default)]
struct Found {
    parts: Vec<ArrayRef>,
    errors: Vec<RowError>,
}

impl Found {
    fn finish(self, returns: &DataType) -> Result<(ArrayRef, Vec<RowError>)> {
        let parts: Vec<&dyn Array> = self.parts.iter().map(AsRef::as_ref).collect();
        let column = if parts.is_empty() { new_null_array(returns, 0) } else { concat(&parts)? };
        Ok((column, self.errors))
    }
}

/// What the row did wrong, without the names of the layers it came through.
fn row_message(error: DataFusionError) -> String {
    match error {
        DataFusionError::Execution(text) => text,
        DataFusionError::ArrowError(error, _) => message(*error),
        DataFusionError::Context(_, inner) => row_message(*inner),
        other => other.strip_backtrace(),
    }
}

#[cfg(test)]
mod tests;

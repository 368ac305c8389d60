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
mod translate;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, make_array, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use super::expr::Expr;
use crate::error::{Error, Result, RowError};
use crate::functions::values::arithmetic::message;
use crate::functions::values::equality::without_nulls;
use crate::types::SqlType;

/// An expression ready to run over batches of one schema.
pub struct Compiled {
    physical: Arc<dyn PhysicalExpr>,
    /// The same where null and false act alike; only for BOOLEAN.
    predicate: Option<Arc<dyn PhysicalExpr>>,
    returns: DataType,
}

impl Compiled {
    /// Columns are found by name in `schema`.
    pub fn new(expr: &Expr, schema: &Schema) -> Result<Compiled> {
        let columns = DFSchema::try_from(schema.clone())?;
        let predicate = match expr.ty {
            SqlType::Boolean => Some(physical(&translate::predicate(expr)?, &columns)?),
            _ => None,
        };
        Ok(Compiled { physical: physical(&to_datafusion(expr)?, &columns)?, predicate, returns: expr.ty.to_arrow() })
    }

    /// One value per row; a row that fails is null and named in the errors (ascending).
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<(ArrayRef, Vec<RowError>)> {
        rows_of(&self.physical, &self.returns, batch)
    }

    /// Whether each row passes: true, not null and not failed. The bits have no nulls.
    pub fn predicate(&self, batch: &RecordBatch) -> Result<(BooleanArray, Vec<RowError>)> {
        let physical = self.predicate.as_ref().ok_or_else(|| Error::internal("a predicate is not BOOLEAN"))?;
        let (column, errors) = rows_of(physical, &DataType::Boolean, batch)?;
        Ok((without_nulls(column.as_boolean().clone()), errors))
    }

    /// The column, or why one row of it fails.
    fn column(&self, batch: &RecordBatch) -> std::result::Result<ArrayRef, String> {
        column_of(&self.physical, &self.returns, batch)
    }
}

/// The same expression for DataFusion's planner; columns become unqualified column references.
pub fn to_datafusion(expr: &Expr) -> Result<datafusion::logical_expr::Expr> {
    translate::value(expr)
}

fn physical(expr: &datafusion::logical_expr::Expr, columns: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    Ok(create_physical_expr(expr, columns, &ExecutionProps::new(), &PhysicalPlanningContext::default())?)
}

fn column_of(
    physical: &Arc<dyn PhysicalExpr>,
    returns: &DataType,
    batch: &RecordBatch,
) -> std::result::Result<ArrayRef, String> {
    let column = physical.evaluate(batch).and_then(|v| v.into_array(batch.num_rows())).map_err(row_message)?;
    conform(column, returns)
}

fn rows_of(
    physical: &Arc<dyn PhysicalExpr>,
    returns: &DataType,
    batch: &RecordBatch,
) -> Result<(ArrayRef, Vec<RowError>)> {
    let error = match column_of(physical, returns, batch) {
        Ok(column) => return Ok((column, Vec::new())),
        Err(error) => error,
    };
    let mut found = Found { parts: Vec::new(), errors: Vec::new() };
    halve(physical, returns, batch, 0, error, &mut found);
    let parts: Vec<&dyn Array> = found.parts.iter().map(AsRef::as_ref).collect();
    let column = if parts.is_empty() { new_null_array(returns, 0) } else { concat(&parts)? };
    Ok((column, found.errors))
}

struct Found {
    parts: Vec<ArrayRef>,
    errors: Vec<RowError>,
}

/// `batch` is known to fail with `error`; its first row is row `offset` of the run.
fn halve(
    physical: &Arc<dyn PhysicalExpr>,
    returns: &DataType,
    batch: &RecordBatch,
    offset: usize,
    error: String,
    found: &mut Found,
) {
    let rows = batch.num_rows();
    if rows <= 1 {
        found.parts.push(new_null_array(returns, rows));
        found.errors.extend((rows == 1).then(|| RowError::new(offset, error)));
        return;
    }
    let middle = rows / 2;
    for (start, len) in [(0, middle), (middle, rows - middle)] {
        let half = batch.slice(start, len);
        match column_of(physical, returns, &half) {
            Ok(column) => found.parts.push(column),
            Err(error) => halve(physical, returns, &half, offset + start, error, found),
        }
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

/// The array with exactly this type: nested fields may differ in nullability and names alone.
pub(crate) fn conform(array: ArrayRef, ty: &DataType) -> std::result::Result<ArrayRef, String> {
    if array.data_type() == ty {
        return Ok(array);
    }
    if array.data_type().equals_datatype(ty) {
        return retyped(array.to_data(), ty).map(make_array).map_err(|e| e.to_string());
    }
    arrow::compute::cast(&array, ty).map_err(|e| e.to_string()).and_then(|cast| {
        if cast.data_type() == ty { Ok(cast) } else { Err(format!("{} is not {ty}", array.data_type())) }
    })
}

fn retyped(
    data: arrow::array::ArrayData,
    ty: &DataType,
) -> std::result::Result<arrow::array::ArrayData, arrow::error::ArrowError> {
    let child_types: Vec<&DataType> = match ty {
        DataType::List(field) | DataType::Map(field, _) => vec![field.data_type()],
        DataType::Struct(fields) => fields.iter().map(|f| f.data_type()).collect(),
        _ => Vec::new(),
    };
    let children = data
        .child_data()
        .iter()
        .zip(child_types)
        .map(|(child, ty)| retyped(child.clone(), ty))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    data.into_builder().data_type(ty.clone()).child_data(children).build()
}

#[cfg(test)]
mod tests;

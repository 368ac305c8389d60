//! Typed expressions → DataFusion: `Expr` for bounded plans, an evaluator for continuous ones.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Schema;

use super::expr::Expr;
use crate::error::{Error, Result, RowError};

/// An expression ready to run over batches of one schema.
pub struct Compiled {
    _private: (),
}

impl Compiled {
    /// Columns are found by name in `schema`.
    pub fn new(_expr: &Expr, _schema: &Schema) -> Result<Compiled> {
        Err(Error::internal("expressions are not compiled yet"))
    }

    /// One value per row; a row that fails is null and named in the errors (ascending).
    pub fn evaluate(&self, _batch: &RecordBatch) -> Result<(ArrayRef, Vec<RowError>)> {
        Err(Error::internal("expressions are not compiled yet"))
    }
}

/// The same expression for DataFusion's planner; columns become unqualified column references.
pub fn to_datafusion(_expr: &Expr) -> Result<datafusion::logical_expr::Expr> {
    Err(Error::internal("expressions are not compiled yet"))
}

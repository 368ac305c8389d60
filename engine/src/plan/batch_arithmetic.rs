//! Arithmetic of batch SQL as ksqlDB does it, where DataFusion's differs.
//!
//! | expression | DataFusion | here |
//! |---|---|---|
//! | `DECIMAL(4, 2) / 3` | scale 6 | ksqlDB's precision and scale |
//! | `7 / 0` of integers | ends the query | null |
//! | `int_column + 1` | BIGINT | INTEGER, as the literal is one |
//!
//! DOUBLE, times and intervals are left to DataFusion.

use arrow::array::ArrayRef;
use datafusion::common::{DFSchema, Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable};
use sqlparser::ast::BinaryOperator;

use super::analyze::arithmetic::types;
use super::expr::ArithmeticOp;
use crate::functions::scalar::Evaluated;
use crate::functions::udf::{ColumnFunction, FailedRows};
use crate::functions::values::arithmetic::{DecimalOperation, divide_integers};
use crate::functions::values::cast::cast;
use crate::functions::values::conform;
use crate::types::SqlType;

/// Asked before DataFusion's own planners.
#[derive(Debug)]
pub(super) struct KsqlArithmetic {
    pub failed: FailedRows,
}

impl ExprPlanner for KsqlArithmetic {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> DataFusionResult<PlannerResult<RawBinaryExpr>> {
        let op = match expr.op {
            BinaryOperator::Plus => ArithmeticOp::Add,
            BinaryOperator::Minus => ArithmeticOp::Subtract,
            BinaryOperator::Multiply => ArithmeticOp::Multiply,
            BinaryOperator::Divide => ArithmeticOp::Divide,
            BinaryOperator::Modulo => ArithmeticOp::Modulo,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let numeric = |side: &Expr| {
            let ty = SqlType::from_arrow(&side.get_type(schema).ok()?).ok()?;
            ty.is_numeric().then_some(ty)
        };
        if numeric(&expr.left).is_some() && numeric(&expr.right).is_some() {
            narrow(&mut expr.left);
            narrow(&mut expr.right);
        }
        let call = numeric(&expr.left)
            .zip(numeric(&expr.right))
            .and_then(|(left, right)| function(op, left, right, self.failed.clone()));
        Ok(match call {
            Some(function) => PlannerResult::Planned(function.call(vec![expr.left, expr.right])),
            None => PlannerResult::Original(expr),
        })
    }
}

/// A small integer literal is INTEGER in ksqlDB; DataFusion reads every one as BIGINT.
fn narrow(side: &mut Expr) {
    if let Expr::Literal(value, _) = side
        && let ScalarValue::Int64(Some(wide)) = value
        && let Ok(small) = i32::try_from(*wide)
    {
        *value = ScalarValue::Int32(Some(small));
    }
}

/// What computes `left op right`; None where DataFusion does the same.
fn function(op: ArithmeticOp, left: SqlType, right: SqlType, failed: FailedRows) -> Option<ColumnFunction> {
    let (left_operand, right_operand, result) = types(op, &left, &right)?;
    let identity = format!("{op:?} {left} {right}");
    let compute: Box<dyn Fn(&[ArrayRef]) -> Evaluated + Send + Sync> =
        match (DecimalOperation::of(op, &left_operand, &right_operand, &result), &result) {
            (Some(operation), _) => Box::new(move |operands| operation.evaluate(operands)),
            (None, SqlType::Integer | SqlType::Bigint) if matches!(op, ArithmeticOp::Divide | ArithmeticOp::Modulo) => {
                let ty = result.clone();
                Box::new(move |operands| divide_integers(op, operands, &ty))
            }
            _ => return None,
        };
    let (given, operands) = ([left, right], [left_operand, right_operand]);
    let returns = result.to_arrow();
    Some(ColumnFunction::new("arithmetic", identity, &result, move |args, rows| {
        let computed = |args: &[ArrayRef], _: usize| {
            let operand = |i: usize| cast(&conform(args[i].clone(), &given[i].to_arrow())?, &given[i], &operands[i]);
            compute(&[operand(0)?, operand(1)?])
        };
        failed.null(args, rows, &returns, &computed)
    }))
}

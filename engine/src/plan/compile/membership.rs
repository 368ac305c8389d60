//! One look into a set instead of a chain of comparisons.
//!
//! | condition | becomes |
//! |---|---|
//! | `x IN (1, 5, 9)`, which the analyzer writes as `x = 1 OR x = 5 OR x = 9` | `x` in the set {1, 5, 9} |
//! | `x = 1 OR x = 5`, `x = 1 OR x = y OR x = 9`, `x = 1 OR y = 5 OR x = 9` | stays a chain |
//!
//! DOUBLE and DECIMAL stay chains: a set would compare their bits.

use datafusion::logical_expr::Expr as DfExpr;
use datafusion::logical_expr::expr::InList;

use super::translate::{Place, cast_call, compared_as, compared_at, null_as_false, translate};
use crate::error::Result;
use crate::plan::expr::{ComparisonOp, Expr, ExprKind};
use crate::types::SqlType;

/// From how many constants on a set is faster than a chain (`cargo bench --bench rows -- IN`).
fn constants_min(ty: &SqlType) -> Option<usize> {
    match ty {
        SqlType::Integer | SqlType::Bigint | SqlType::Date | SqlType::Time | SqlType::Timestamp => Some(3),
        SqlType::String => Some(6),
        _ => None,
    }
}

/// `left OR right` as a set lookup, if it compares one expression with nothing but constants of that expression's type.
/// `place` is where the sides stand; `null_is_false`: the OR may be null where the expression is.
pub fn in_set(left: &Expr, right: &Expr, place: Place, null_is_false: bool) -> Result<Option<DfExpr>> {
    let Some((value, _)) = first_equality(left) else { return Ok(None) };
    let Some(constants_min) = constants_min(&value.ty) else { return Ok(None) };
    let mut constants = Vec::new();
    for side in [left, right] {
        if !collect(side, value, &mut constants)? {
            return Ok(None);
        }
    }
    if constants.len() < constants_min {
        return Ok(None);
    }
    let looked_up = translate(value, compared_at(place))?;
    if looked_up.is_volatile() {
        return Ok(None);
    }
    let found = DfExpr::InList(InList::new(Box::new(looked_up), constants, false));
    Ok(Some(if null_is_false { found } else { null_as_false(found) }))
}

fn first_equality(expr: &Expr) -> Option<(&Expr, &Expr)> {
    match &expr.kind {
        ExprKind::Or(left, _) => first_equality(left),
        ExprKind::Comparison { op: ComparisonOp::Equal, left, right } => Some((left, right)),
        _ => None,
    }
}

/// Adds the constants of a chain of `value = constant`; false if it is anything else.
fn collect(expr: &Expr, value: &Expr, constants: &mut Vec<DfExpr>) -> Result<bool> {
    match &expr.kind {
        ExprKind::Or(left, right) => Ok(collect(left, value, constants)? && collect(right, value, constants)?),
        ExprKind::Comparison { op: ComparisonOp::Equal, left, right }
            if **left == *value && compared_as(&left.ty, &right.ty) == value.ty =>
        {
            let constant = cast_call(right, &value.ty, Place::Inner)?;
            let is_constant = matches!(&constant, DfExpr::Literal(constant, _) if !constant.is_null());
            constants.push(constant);
            Ok(is_constant)
        }
        _ => Ok(false),
    }
}

//! Arithmetic: result types and what the operands become.
//!
//! Integers stay integers (the wider of both), DOUBLE wins over everything, and with a DECIMAL on one side the other
//! becomes one. For operands DECIMAL(p1, s1) and DECIMAL(p2, s2), ksqlDB's result is
//!
//! | operator | precision | scale |
//! |---|---|---|
//! | `+` `-` | max(s1, s2) + max(p1 - s1, p2 - s2) + 1 | max(s1, s2) |
//! | `*` | p1 + p2 + 1 | s1 + s2 |
//! | `/` | p1 - s1 + s2 + scale | max(6, s1 + p2 + 1) |
//! | `%` | min(p1 - s1, p2 - s2) + max(s1, s2) | max(s1, s2) |
//!
//! Beyond 76 digits the scale gives way, down to 6 digits (ours; ksqlDB has no limit). STRING + STRING concatenates.

use super::coerce;
use crate::error::{Error, Result};
use crate::plan::expr::{ArithmeticOp, Expr, ExprKind, Value};
use crate::sql::ast;
use crate::types::{DECIMAL_PRECISION_MAX, SqlType};

const SCALE_KEPT_MIN: u16 = 6;

/// `left op right`; None is an untyped NULL, which arithmetic does not take. `text` prints the whole expression.
pub fn arithmetic(
    op: ArithmeticOp,
    left: Option<Expr>,
    right: Option<Expr>,
    text: impl Fn() -> String,
) -> Result<Expr> {
    let unsupported = |left: &str, right: &str| {
        Error::statement(format!(
            "Error processing expression: {}. Arithmetic on types {left} and {right} are not supported.",
            text()
        ))
    };
    let (left, right) = match (left, right) {
        (Some(left), Some(right)) => (left, right),
        (left, right) => {
            let name = |e: Option<Expr>| e.map_or("null".to_string(), |e| e.ty.to_string());
            return Err(unsupported(&name(left), &name(right)).with_hint("CAST the NULL to the type you mean."));
        }
    };
    if op == ArithmeticOp::Add && left.ty == SqlType::String && right.ty == SqlType::String {
        return Ok(concat(left, right));
    }
    let Some((left_ty, right_ty, ty)) = types(op, &left.ty, &right.ty) else {
        return Err(unsupported(&left.ty.to_string(), &right.ty.to_string()));
    };
    let kind = ExprKind::Arithmetic {
        op,
        left: Box::new(coerce::widen(left, &left_ty)),
        right: Box::new(coerce::widen(right, &right_ty)),
    };
    Ok(Expr { kind, ty })
}

/// Two strings in one; a chain is one call.
fn concat(left: Expr, right: Expr) -> Expr {
    let args = match left.kind {
        ExprKind::Call { name, mut args } if name == "CONCAT" => {
            args.push(right);
            args
        }
        _ => vec![left, right],
    };
    Expr { kind: ExprKind::Call { name: "CONCAT".into(), args }, ty: SqlType::String }
}

/// `-expr`; a constant is negated now.
pub fn negate(expr: Expr) -> Result<Expr> {
    if !expr.ty.is_numeric() {
        return Err(Error::statement(format!("Negation of type {} is not supported.", expr.ty)));
    }
    let constant = match &expr.kind {
        ExprKind::Literal(Value::Integer(i)) => Some(Value::Integer(i.wrapping_neg())),
        ExprKind::Literal(Value::Bigint(i)) => Some(Value::Bigint(i.wrapping_neg())),
        ExprKind::Literal(Value::Double(d)) => Some(Value::Double(-d)),
        ExprKind::Literal(Value::Decimal(text)) => {
            Some(Value::Decimal(text.strip_prefix('-').map_or_else(|| format!("-{text}"), str::to_string)))
        }
        _ => None,
    };
    let ty = expr.ty.clone();
    Ok(match constant {
        Some(value) => Expr::literal(value, ty),
        None => Expr { kind: ExprKind::Negate(Box::new(expr)), ty },
    })
}

pub fn operator(op: ast::ArithmeticOp) -> ArithmeticOp {
    match op {
        ast::ArithmeticOp::Add => ArithmeticOp::Add,
        ast::ArithmeticOp::Subtract => ArithmeticOp::Subtract,
        ast::ArithmeticOp::Multiply => ArithmeticOp::Multiply,
        ast::ArithmeticOp::Divide => ArithmeticOp::Divide,
        ast::ArithmeticOp::Modulo => ArithmeticOp::Modulo,
    }
}

/// Types of left operand, right operand and result; None if they are no numbers.
pub fn types(op: ArithmeticOp, left: &SqlType, right: &SqlType) -> Option<(SqlType, SqlType, SqlType)> {
    if !left.is_numeric() || !right.is_numeric() {
        return None;
    }
    let is_decimal = |ty: &SqlType| matches!(ty, SqlType::Decimal { .. });
    if (is_decimal(left) || is_decimal(right)) && *left != SqlType::Double && *right != SqlType::Double {
        let ((p1, s1), (p2, s2)) = (coerce::as_decimal(left)?, coerce::as_decimal(right)?);
        return Some((SqlType::decimal(p1, s1), SqlType::decimal(p2, s2), decimal(op, (p1, s1), (p2, s2))));
    }
    let wider = coerce::common(left, right)?;
    Some((wider.clone(), wider.clone(), wider))
}

fn decimal(op: ArithmeticOp, (p1, s1): (u8, u8), (p2, s2): (u8, u8)) -> SqlType {
    let [p1, s1, p2, s2] = [p1, s1, p2, s2].map(u16::from);
    let (precision, scale) = match op {
        ArithmeticOp::Add | ArithmeticOp::Subtract => (s1.max(s2) + (p1 - s1).max(p2 - s2) + 1, s1.max(s2)),
        ArithmeticOp::Multiply => (p1 + p2 + 1, s1 + s2),
        ArithmeticOp::Divide => {
            let scale = (s1 + p2 + 1).max(6);
            (p1 - s1 + s2 + scale, scale)
        }
        ArithmeticOp::Modulo => ((p1 - s1).min(p2 - s2) + s1.max(s2), s1.max(s2)),
    };
    let limit = u16::from(DECIMAL_PRECISION_MAX);
    if precision <= limit {
        return SqlType::decimal(precision.max(1) as u8, scale as u8);
    }
    let whole = precision - scale;
    let scale = scale.min(SCALE_KEPT_MIN).max(limit.saturating_sub(whole)).min(scale);
    SqlType::decimal(DECIMAL_PRECISION_MAX, scale as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(op: ArithmeticOp, left: SqlType, right: SqlType) -> Result<SqlType, String> {
        arithmetic(op, Some(Expr::column("A", left)), Some(Expr::column("B", right)), || "(A ? B)".into())
            .map(|e| e.ty)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn decimals_grow_as_ksqldb_says() {
        let d = SqlType::decimal;
        assert_eq!(result(ArithmeticOp::Add, d(4, 2), d(6, 1)), Ok(d(8, 2)));
        assert_eq!(result(ArithmeticOp::Multiply, d(4, 2), d(6, 1)), Ok(d(11, 3)));
        assert_eq!(result(ArithmeticOp::Divide, d(4, 2), d(6, 1)), Ok(d(12, 9)));
        assert_eq!(result(ArithmeticOp::Modulo, d(4, 2), d(6, 1)), Ok(d(4, 2)));
        assert_eq!(result(ArithmeticOp::Add, d(4, 2), SqlType::Integer), Ok(d(13, 2)));
        assert_eq!(result(ArithmeticOp::Add, d(4, 2), SqlType::Double), Ok(SqlType::Double));
        assert_eq!(result(ArithmeticOp::Multiply, d(60, 30), d(60, 30)), Ok(d(76, 15)));
    }

    #[test]
    fn integers_stay_integers_and_strings_concatenate() {
        assert_eq!(result(ArithmeticOp::Divide, SqlType::Integer, SqlType::Bigint), Ok(SqlType::Bigint));
        assert_eq!(result(ArithmeticOp::Add, SqlType::String, SqlType::String), Ok(SqlType::String));
        assert_eq!(
            result(ArithmeticOp::Subtract, SqlType::String, SqlType::Boolean),
            Err("Error processing expression: (A ? B). Arithmetic on types STRING and BOOLEAN are not supported."
                .into())
        );
    }

    #[test]
    fn null_operands_are_refused() {
        let one = Expr::literal(Value::Integer(1), SqlType::Integer);
        let e = arithmetic(ArithmeticOp::Add, Some(one), None, || "(1 + null)".into());
        assert_eq!(
            e.map_err(|e| e.to_string()),
            Err("Error processing expression: (1 + null). Arithmetic on types INTEGER and null are not supported."
                .into())
        );
    }
}

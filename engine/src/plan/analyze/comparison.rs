//! Comparisons: which types may meet, and what both sides become.
//!
//! | left | right | compared as |
//! |---|---|---|
//! | number | number | the common type |
//! | STRING | STRING | STRING |
//! | STRING | DATE, TIME, TIMESTAMP | that type; a literal is read while planning |
//! | DATE | TIMESTAMP | TIMESTAMP |
//! | BYTES | BYTES | BYTES |
//! | BOOLEAN, ARRAY, MAP, STRUCT | the same kind | the common type, and only with `=`, `<>`, `IS [NOT] DISTINCT FROM` |
//!
//! A literal NULL on either side is an error: it would never be true.

use super::{coerce, literals};
use crate::error::{Error, Result};
use crate::functions::values::civil;
use crate::plan::expr::{ComparisonOp, Expr, ExprKind, Value};
use crate::schema::{ROWTIME, WINDOWEND, WINDOWSTART};
use crate::sql::ast;
use crate::types::SqlType;

/// `left op right`, None being an untyped NULL. `text` prints the two sides for messages.
pub fn compare(
    op: ComparisonOp,
    left: Option<Expr>,
    right: Option<Expr>,
    text: impl Fn() -> (String, String),
) -> Result<Expr> {
    let (left, right) = match (left, right) {
        (Some(left), Some(right)) => (left, right),
        (left, right) => {
            let name = |e: Option<Expr>| e.map_or("NULL".to_string(), |e| e.ty.to_string());
            return Err(Error::statement(format!(
                "Comparison with NULL not supported: {} {} {}\nUse 'IS NULL' or 'IS NOT NULL' instead.",
                name(left),
                symbol(op),
                name(right)
            )));
        }
    };
    let Some(ty) = compared_as(op, &left.ty, &right.ty) else {
        let (left_text, right_text) = text();
        return Err(Error::statement(format!(
            "Cannot compare {left_text} ({}) to {right_text} ({}) with {}.",
            left.ty,
            right.ty,
            name(op)
        )));
    };
    let kind = ExprKind::Comparison { op, left: Box::new(operand(left, &ty)?), right: Box::new(operand(right, &ty)?) };
    Ok(Expr { kind, ty: SqlType::Boolean })
}

/// The type both sides are brought to; None if they cannot be compared this way.
fn compared_as(op: ComparisonOp, left: &SqlType, right: &SqlType) -> Option<SqlType> {
    use SqlType::{Array, Boolean, Bytes, Date, Map, String, Struct, Timestamp};
    match (left, right) {
        (l, r) if l.is_numeric() && r.is_numeric() => coerce::common(l, r),
        (String, String) | (Bytes, Bytes) => Some(left.clone()),
        (String, other) | (other, String) if other.is_temporal() => Some(other.clone()),
        (l, r) if l.is_temporal() && l == r => Some(l.clone()),
        (Date, Timestamp) | (Timestamp, Date) => Some(Timestamp),
        (Boolean, Boolean) | (Array(_), Array(_)) | (Map(..), Map(..)) | (Struct(_), Struct(_)) if is_equality(op) => {
            coerce::common(left, right)
        }
        _ => None,
    }
}

/// One side as the type compared; text that is to be a time is read now if it is constant.
fn operand(expr: Expr, ty: &SqlType) -> Result<Expr> {
    if let (ExprKind::Literal(Value::String(text)), true) = (&expr.kind, ty.is_temporal()) {
        let value = match ty {
            SqlType::Date => civil::parse_date(text).map(Value::Date),
            SqlType::Time => civil::parse_time(text).map(Value::Time),
            _ => civil::parse_timestamp(text).map(Value::Timestamp),
        };
        return Ok(Expr::literal(value.map_err(Error::statement)?, ty.clone()));
    }
    Ok(coerce::widen(expr, ty))
}

/// `ROWTIME > '2018-01-01'`: text beside a time pseudo-column (in a join `L_ROWTIME`) is read as epoch milliseconds.
/// Only predicates do this.
pub fn epoch_ms(side: &ast::Expr, other: &ast::Expr) -> Result<Option<Expr>> {
    let (ast::Expr::Literal(ast::Literal::String(text)), ast::Expr::Column { name, .. }) = (side, other) else {
        return Ok(None);
    };
    let is_time =
        |pseudo: &str| name.strip_suffix(pseudo).is_some_and(|source| source.is_empty() || source.ends_with('_'));
    if ![ROWTIME, WINDOWSTART, WINDOWEND].into_iter().any(is_time) {
        return Ok(None);
    }
    let ms = civil::parse_timestamp(text).map_err(Error::statement)?;
    Ok(literals::literal(&ast::Literal::Bigint(ms)))
}

pub fn is_equality(op: ComparisonOp) -> bool {
    use ComparisonOp::{Equal, IsDistinctFrom, IsNotDistinctFrom, NotEqual};
    matches!(op, Equal | NotEqual | IsDistinctFrom | IsNotDistinctFrom)
}

pub fn operator(op: ast::ComparisonOp) -> ComparisonOp {
    match op {
        ast::ComparisonOp::Equal => ComparisonOp::Equal,
        ast::ComparisonOp::NotEqual => ComparisonOp::NotEqual,
        ast::ComparisonOp::Less => ComparisonOp::Less,
        ast::ComparisonOp::LessOrEqual => ComparisonOp::LessOrEqual,
        ast::ComparisonOp::Greater => ComparisonOp::Greater,
        ast::ComparisonOp::GreaterOrEqual => ComparisonOp::GreaterOrEqual,
        ast::ComparisonOp::IsDistinctFrom => ComparisonOp::IsDistinctFrom,
        ast::ComparisonOp::IsNotDistinctFrom => ComparisonOp::IsNotDistinctFrom,
    }
}

fn name(op: ComparisonOp) -> &'static str {
    match op {
        ComparisonOp::Equal => "EQUAL",
        ComparisonOp::NotEqual => "NOT_EQUAL",
        ComparisonOp::Less => "LESS_THAN",
        ComparisonOp::LessOrEqual => "LESS_THAN_OR_EQUAL",
        ComparisonOp::Greater => "GREATER_THAN",
        ComparisonOp::GreaterOrEqual => "GREATER_THAN_OR_EQUAL",
        ComparisonOp::IsDistinctFrom => "IS_DISTINCT_FROM",
        ComparisonOp::IsNotDistinctFrom => "IS_NOT_DISTINCT_FROM",
    }
}

fn symbol(op: ComparisonOp) -> &'static str {
    match op {
        ComparisonOp::Equal => "=",
        ComparisonOp::NotEqual => "<>",
        ComparisonOp::Less => "<",
        ComparisonOp::LessOrEqual => "<=",
        ComparisonOp::Greater => ">",
        ComparisonOp::GreaterOrEqual => ">=",
        ComparisonOp::IsDistinctFrom => "IS DISTINCT FROM",
        ComparisonOp::IsNotDistinctFrom => "IS NOT DISTINCT FROM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(op: ComparisonOp, left: SqlType, right: SqlType) -> Result<SqlType, String> {
        let result =
            compare(op, Some(Expr::column("A", left)), Some(Expr::column("B", right)), || ("A".into(), "B".into()));
        match result.map_err(|e| e.to_string())?.kind {
            ExprKind::Comparison { left, right, .. } => {
                assert_eq!(left.ty, right.ty);
                Ok(left.ty)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_sides_get_the_common_type() {
        use ComparisonOp::{Equal, Less};
        assert_eq!(compared(Less, SqlType::Integer, SqlType::Bigint), Ok(SqlType::Bigint));
        assert_eq!(compared(Less, SqlType::Integer, SqlType::decimal(4, 2)), Ok(SqlType::decimal(12, 2)));
        assert_eq!(compared(Less, SqlType::Date, SqlType::Timestamp), Ok(SqlType::Timestamp));
        assert_eq!(compared(Equal, SqlType::String, SqlType::Time), Ok(SqlType::Time));
    }

    #[test]
    fn nested_values_have_no_order() {
        let map = SqlType::map(SqlType::String, SqlType::Integer);
        assert_eq!(compared(ComparisonOp::Equal, map.clone(), map.clone()), Ok(map.clone()));
        assert_eq!(
            compared(ComparisonOp::Less, map.clone(), map),
            Err("Cannot compare A (MAP<STRING, INTEGER>) to B (MAP<STRING, INTEGER>) with LESS_THAN.".into())
        );
        assert!(compared(ComparisonOp::Equal, SqlType::Time, SqlType::Date).is_err());
    }

    #[test]
    fn a_null_literal_is_refused() {
        let e = compare(ComparisonOp::NotEqual, None, None, || unreachable!("nothing is printed"));
        assert_eq!(
            e.map_err(|e| e.to_string()),
            Err("Comparison with NULL not supported: NULL <> NULL\nUse 'IS NULL' or 'IS NOT NULL' instead.".into())
        );
    }
}

//! Which CASTs there are (ksqlDB: *CAST*).
//!
//! | from | to |
//! |---|---|
//! | any | itself |
//! | INTEGER, BIGINT, DECIMAL, DOUBLE | each other |
//! | any but BYTES | STRING |
//! | STRING | BOOLEAN, numbers, DATE, TIME, TIMESTAMP, BYTES |
//! | TIMESTAMP | DATE, TIME |
//! | DATE | TIMESTAMP |
//! | ARRAY, MAP, STRUCT | the same kind, if the parts cast; fields of a STRUCT by name |

use crate::error::{Error, Result};
use crate::plan::expr::{Expr, ExprKind, Value};
use crate::types::SqlType;

pub fn cast(expr: Expr, ty: SqlType) -> Result<Expr> {
    if !is_supported(&expr.ty, &ty) {
        return Err(Error::statement(format!("Cast of {} to {ty} is not supported", expr.ty)));
    }
    Ok(match expr.kind {
        ExprKind::Literal(Value::Null) => Expr::null(ty),
        _ => expr.cast_to(ty),
    })
}

fn is_supported(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::{Array, Boolean, Bytes, Date, Map, String, Struct, Time, Timestamp};
    match (from, to) {
        (from, to) if from == to => true,
        (from, to) if from.is_numeric() && to.is_numeric() => true,
        (Bytes, String) => false,
        (_, String) => true,
        (String, Boolean | Date | Time | Timestamp | Bytes) => true,
        (String, to) => to.is_numeric(),
        (Timestamp, Date | Time) | (Date, Timestamp) => true,
        (Array(from), Array(to)) => is_supported(from, to),
        (Map(from_key, from_value), Map(to_key, to_value)) => {
            is_supported(from_key, to_key) && is_supported(from_value, to_value)
        }
        (Struct(from), Struct(to)) => {
            to.iter().all(|t| from.iter().find(|f| f.name == t.name).is_none_or(|f| is_supported(&f.ty, &t.ty)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_between_kinds_are_refused() {
        let refused = |from: SqlType, to: SqlType| cast(Expr::column("A", from), to).map_err(|e| e.to_string());
        assert_eq!(
            refused(SqlType::String, SqlType::array(SqlType::Integer)),
            Err("Cast of STRING to ARRAY<INTEGER> is not supported".into())
        );
        assert!(refused(SqlType::Bytes, SqlType::String).is_err());
        assert!(refused(SqlType::Boolean, SqlType::Integer).is_err());
        assert!(refused(SqlType::array(SqlType::Bigint), SqlType::array(SqlType::String)).is_ok());
    }
}

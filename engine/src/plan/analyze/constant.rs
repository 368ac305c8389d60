//! Constants: the value of an expression that names no column.
//!
//! INSERT VALUES, LIMITs and key lookups need it. Literals are read off; anything else runs once over one row without
//! columns. A failing expression is an error here, for there is no row that could become null.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes as arrow_types;

use super::{coerce, literals};
use crate::error::{Error, Result};
use crate::plan::compile::Compiled;
use crate::plan::expr::{Expr, ExprKind, Value};
use crate::types::SqlType;

/// The value of a constant expression of a primitive type.
pub fn evaluate(expr: &Expr) -> Result<Value> {
    if let ExprKind::Literal(value) = &expr.kind {
        return Ok(value.clone());
    }
    value_at(&evaluate_array(expr)?, 0, &expr.ty)
}

/// The value of a constant expression of any type, as an array of one element.
pub fn evaluate_array(expr: &Expr) -> Result<ArrayRef> {
    let schema = Arc::new(arrow_types::Schema::empty());
    let row = RecordBatch::try_new_with_options(
        schema.clone(),
        Vec::new(),
        &RecordBatchOptions::new().with_row_count(Some(1)),
    )?;
    let (array, errors) = Compiled::new(expr, &schema)?.evaluate(&row)?;
    match errors.into_iter().next() {
        Some(error) => Err(Error::statement(error.message)),
        None => Ok(array),
    }
}

/// `expr` as a column's value, or None if it cannot be one. Values to insert coerce more freely than expressions: what
/// counts is the value, not its type (the INTEGER 12 fits a DECIMAL(4, 2)), any NULL is NULL, and of a STRUCT only the
/// fields of the column are taken.
pub fn insertable(expr: &Expr, target: &SqlType) -> Result<Option<Expr>> {
    if expr.ty == *target {
        return Ok(Some(expr.clone()));
    }
    let kind = match (&expr.kind, target) {
        (ExprKind::Literal(Value::Null), _) => ExprKind::Literal(Value::Null),
        (ExprKind::Literal(_), _) => return Ok(literals::convert(expr, target)),
        (ExprKind::Array(items), SqlType::Array(item)) => {
            let items = items.iter().map(|e| insertable(e, item)).collect::<Result<Option<Vec<_>>>>()?;
            match items {
                Some(items) => ExprKind::Array(items),
                None => return Ok(None),
            }
        }
        (ExprKind::Map(entries), SqlType::Map(key, value)) => {
            let mut coerced = Vec::with_capacity(entries.len());
            for (k, v) in entries {
                match (insertable(k, key)?, insertable(v, value)?) {
                    (Some(k), Some(v)) => coerced.push((k, v)),
                    _ => return Ok(None),
                }
            }
            ExprKind::Map(coerced)
        }
        (ExprKind::Struct(values), SqlType::Struct(fields)) => {
            let mut coerced = Vec::with_capacity(fields.len());
            for field in fields {
                let value = match values.iter().find(|(name, _)| *name == field.name) {
                    Some((_, value)) => match insertable(value, &field.ty)? {
                        Some(value) => value,
                        None => return Ok(None),
                    },
                    None => Expr::null(field.ty.clone()),
                };
                coerced.push((field.name.clone(), value));
            }
            ExprKind::Struct(coerced)
        }
        _ if expr.ty.is_nested() => return Ok(coerce::implicit(expr, target)),
        _ => return insertable(&Expr::literal(evaluate(expr)?, expr.ty.clone()), target),
    };
    Ok(Some(Expr { kind, ty: target.clone() }))
}

/// The element of an array of `ty` as a constant; arrays, maps and structs have no constant form.
pub fn value_at(array: &dyn Array, index: usize, ty: &SqlType) -> Result<Value> {
    if array.is_null(index) {
        return Ok(Value::Null);
    }
    Ok(match ty {
        SqlType::Boolean => Value::Boolean(array.as_boolean().value(index)),
        SqlType::Integer => Value::Integer(array.as_primitive::<arrow_types::Int32Type>().value(index)),
        SqlType::Bigint => Value::Bigint(array.as_primitive::<arrow_types::Int64Type>().value(index)),
        SqlType::Double => Value::Double(array.as_primitive::<arrow_types::Float64Type>().value(index)),
        SqlType::Decimal { .. } => {
            Value::Decimal(array.as_primitive::<arrow_types::Decimal256Type>().value_as_string(index))
        }
        SqlType::String => Value::String(array.as_string::<i32>().value(index).to_string()),
        SqlType::Bytes => Value::Bytes(array.as_binary::<i32>().value(index).to_vec()),
        SqlType::Date => Value::Date(array.as_primitive::<arrow_types::Date32Type>().value(index)),
        SqlType::Time => Value::Time(array.as_primitive::<arrow_types::Time32MillisecondType>().value(index)),
        SqlType::Timestamp => {
            Value::Timestamp(array.as_primitive::<arrow_types::TimestampMillisecondType>().value(index))
        }
        SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_) => {
            return Err(Error::statement(format!("A value of type {ty} cannot be used as a constant here")));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Decimal256Array, Int32Array, StringArray};
    use arrow::datatypes::i256;

    #[test]
    fn array_elements_become_constants() {
        let ints = Int32Array::from(vec![Some(7), None]);
        assert_eq!(value_at(&ints, 0, &SqlType::Integer).unwrap(), Value::Integer(7));
        assert_eq!(value_at(&ints, 1, &SqlType::Integer).unwrap(), Value::Null);
        let text = StringArray::from(vec!["a"]);
        assert_eq!(value_at(&text, 0, &SqlType::String).unwrap(), Value::String("a".into()));
        let decimals = Decimal256Array::from(vec![i256::from_i128(-1250)]).with_precision_and_scale(4, 2).unwrap();
        assert_eq!(value_at(&decimals, 0, &SqlType::decimal(4, 2)).unwrap(), Value::Decimal("-12.50".into()));
    }
}

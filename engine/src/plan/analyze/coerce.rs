//! Implicit coercion (ksqlDB: *Type coercion*): which type may stand in for which, and the common type of a list.
//!
//! Numbers widen INTEGER → BIGINT → DECIMAL → DOUBLE, never back; an INTEGER counts as DECIMAL(10, 0), a BIGINT as
//! DECIMAL(19, 0), and a DECIMAL fits another one when both its scale and its whole digits do. Arrays, maps and structs
//! coerce element by element, a struct to a superset of its fields. Constants may do more, see `literals`.
//!
//! The common type of a list (`IN`, `ARRAY[…]`, `MAP(…)`) is found from left to right, starting with the first element
//! that is not NULL:
//!
//! | list | common type |
//! |---|---|
//! | `1, 3000000000` | BIGINT |
//! | `1, '2.50'` | DECIMAL(12, 2) |
//! | `name, 10, true` | STRING |
//! | `1, name` | error: operator does not exist: INTEGER = STRING (NAME) |

use super::literals;
use crate::error::{Error, Result};
use crate::plan::expr::{Expr, ExprKind, Value};
use crate::types::{DECIMAL_PRECISION_MAX, SqlType, StructField};

const INTEGER_DIGITS: u8 = 10;
const BIGINT_DIGITS: u8 = 19;

/// The DECIMAL an integer counts as; a DECIMAL is itself.
pub fn as_decimal(ty: &SqlType) -> Option<(u8, u8)> {
    match ty {
        SqlType::Integer => Some((INTEGER_DIGITS, 0)),
        SqlType::Bigint => Some((BIGINT_DIGITS, 0)),
        SqlType::Decimal { precision, scale } => Some((*precision, *scale)),
        _ => None,
    }
}

/// Whether every value of `from` is one of `to`.
pub fn is_implicit(from: &SqlType, to: &SqlType) -> bool {
    if from == to {
        return true;
    }
    match (from, to) {
        (SqlType::Integer, SqlType::Bigint) => true,
        (SqlType::Integer | SqlType::Bigint | SqlType::Decimal { .. }, SqlType::Double) => true,
        (_, SqlType::Decimal { precision, scale }) => {
            as_decimal(from).is_some_and(|(p, s)| s <= *scale && p - s <= precision - scale)
        }
        (SqlType::Array(from), SqlType::Array(to)) => is_implicit(from, to),
        (SqlType::Map(from_key, from_value), SqlType::Map(to_key, to_value)) => {
            is_implicit(from_key, to_key) && is_implicit(from_value, to_value)
        }
        (SqlType::Struct(from), SqlType::Struct(to)) => {
            from.iter().all(|f| to.iter().any(|t| t.name == f.name && is_implicit(&f.ty, &t.ty)))
        }
        _ => false,
    }
}

/// `expr` as `target` if that is an implicit coercion. Constants and constructors coerce part by part.
pub fn implicit(expr: &Expr, target: &SqlType) -> Option<Expr> {
    if expr.ty == *target {
        return Some(expr.clone());
    }
    match (&expr.kind, target) {
        (ExprKind::Literal(Value::Null), _) if is_implicit(&expr.ty, target) => Some(Expr::null(target.clone())),
        (ExprKind::Literal(_), _) => literals::convert(expr, target),
        (ExprKind::Array(items), SqlType::Array(item)) => {
            let items = items.iter().map(|e| implicit(e, item)).collect::<Option<_>>()?;
            Some(Expr { kind: ExprKind::Array(items), ty: target.clone() })
        }
        (ExprKind::Map(entries), SqlType::Map(key, value)) => {
            let entries =
                entries.iter().map(|(k, v)| Some((implicit(k, key)?, implicit(v, value)?))).collect::<Option<_>>()?;
            Some(Expr { kind: ExprKind::Map(entries), ty: target.clone() })
        }
        (ExprKind::Struct(fields), SqlType::Struct(wanted)) => {
            if !fields.iter().all(|(name, _)| wanted.iter().any(|w| w.name == *name)) {
                return None;
            }
            let fields = wanted
                .iter()
                .map(|w| {
                    let value = match fields.iter().find(|(name, _)| *name == w.name) {
                        Some((_, value)) => implicit(value, &w.ty)?,
                        None => Expr::null(w.ty.clone()),
                    };
                    Some((w.name.clone(), value))
                })
                .collect::<Option<_>>()?;
            Some(Expr { kind: ExprKind::Struct(fields), ty: target.clone() })
        }
        _ => is_implicit(&expr.ty, target).then(|| widen(expr.clone(), target)),
    }
}

/// `expr` as `target`, which it may become; constants are converted now.
pub fn widen(expr: Expr, target: &SqlType) -> Expr {
    match literals::convert(&expr, target) {
        Some(constant) => constant,
        None => expr.cast_to(target.clone()),
    }
}

/// The narrowest type that both coerce to; structs get the fields of both.
pub fn common(left: &SqlType, right: &SqlType) -> Option<SqlType> {
    if left == right {
        return Some(left.clone());
    }
    match (left, right) {
        (SqlType::Double, other) | (other, SqlType::Double) if other.is_numeric() => Some(SqlType::Double),
        (SqlType::Integer, SqlType::Bigint) | (SqlType::Bigint, SqlType::Integer) => Some(SqlType::Bigint),
        (l, r) if l.is_numeric() && r.is_numeric() => {
            let ((p1, s1), (p2, s2)) = (as_decimal(l)?, as_decimal(r)?);
            let scale = s1.max(s2);
            let whole = (p1 - s1).max(p2 - s2);
            Some(SqlType::decimal(whole.saturating_add(scale).min(DECIMAL_PRECISION_MAX), scale))
        }
        (SqlType::Array(l), SqlType::Array(r)) => Some(SqlType::array(common(l, r)?)),
        (SqlType::Map(lk, lv), SqlType::Map(rk, rv)) => Some(SqlType::map(common(lk, rk)?, common(lv, rv)?)),
        (SqlType::Struct(l), SqlType::Struct(r)) => {
            let mut fields = l.clone();
            for field in r {
                match fields.iter_mut().find(|f| f.name == field.name) {
                    Some(known) => known.ty = common(&known.ty, &field.ty)?,
                    None => fields.push(field.clone()),
                }
            }
            Some(SqlType::Struct(fields))
        }
        _ => None,
    }
}

/// Elements of a list brought to one type. NULL elements are `None`; so is the result if there is nothing else.
/// `text` prints the element at an index for messages.
pub fn list(elements: Vec<Option<Expr>>, text: &dyn Fn(usize) -> String) -> Result<Option<(SqlType, Vec<Expr>)>> {
    let mut target: Option<SqlType> = None;
    for (index, element) in elements.iter().enumerate() {
        let Some(element) = element else { continue };
        target = Some(match &target {
            None => element.ty.clone(),
            Some(target) => match list_common(target, element)? {
                Some(ty) => ty,
                None => {
                    return Err(Error::statement(format!(
                        "operator does not exist: {target} = {} ({})\nHint: You might need to add explicit type casts.",
                        element.ty,
                        text(index)
                    )));
                }
            },
        });
    }
    let Some(target) = target else { return Ok(None) };
    let elements = elements
        .into_iter()
        .map(|element| match element {
            Some(element) => list_element(element, &target),
            None => Ok(Expr::null(target.clone())),
        })
        .collect::<Result<_>>()?;
    Ok(Some((target, elements)))
}

/// The type of a list that was `target` before `element`; None if they do not go together.
fn list_common(target: &SqlType, element: &Expr) -> Result<Option<SqlType>> {
    match (&element.kind, target) {
        (ExprKind::Literal(Value::String(text)), target) if *target != SqlType::String => {
            if *target == SqlType::Boolean {
                return match literals::boolean_in_string(text) {
                    Some(_) => Ok(Some(SqlType::Boolean)),
                    None => Err(invalid_syntax(target, text)),
                };
            }
            if target.is_numeric() {
                return match literals::number_in_string(text) {
                    Some(number) => Ok(common(target, &number.ty)),
                    None => Err(invalid_syntax(target, text)),
                };
            }
            if target.is_temporal() || *target == SqlType::Bytes {
                return match literals::convert(element, target) {
                    Some(_) => Ok(Some(target.clone())),
                    None => Err(invalid_syntax(target, text)),
                };
            }
            Ok(None)
        }
        (ExprKind::Literal(value), SqlType::String) if literals::as_text(value).is_some() => Ok(Some(SqlType::String)),
        (ExprKind::Array(items), SqlType::Array(item)) => Ok(list_common_all(item, items.iter())?.map(SqlType::array)),
        (ExprKind::Map(entries), SqlType::Map(key, value)) => {
            let key = list_common_all(key, entries.iter().map(|(k, _)| k))?;
            let value = list_common_all(value, entries.iter().map(|(_, v)| v))?;
            Ok(key.zip(value).map(|(key, value)| SqlType::map(key, value)))
        }
        (ExprKind::Struct(values), SqlType::Struct(fields)) => {
            let mut fields = fields.clone();
            for (name, value) in values {
                match fields.iter_mut().find(|f| f.name == *name) {
                    Some(field) => match list_common(&field.ty, value)? {
                        Some(ty) => field.ty = ty,
                        None => return Ok(None),
                    },
                    None => fields.push(StructField { name: name.clone(), ty: value.ty.clone() }),
                }
            }
            Ok(Some(SqlType::Struct(fields)))
        }
        _ => Ok(common(target, &element.ty)),
    }
}

fn list_common_all<'a>(first: &SqlType, items: impl Iterator<Item = &'a Expr>) -> Result<Option<SqlType>> {
    let mut target = first.clone();
    for item in items {
        if matches!(item.kind, ExprKind::Literal(Value::Null)) {
            continue;
        }
        match list_common(&target, item)? {
            Some(ty) => target = ty,
            None => return Ok(None),
        }
    }
    Ok(Some(target))
}

/// `element` as the list's type, which [`list_common`] found.
fn list_element(element: Expr, target: &SqlType) -> Result<Expr> {
    if element.ty == *target {
        return Ok(element);
    }
    let Expr { kind, ty } = element;
    let kind = match (kind, target) {
        (ExprKind::Literal(Value::Null), _) => ExprKind::Literal(Value::Null),
        (ExprKind::Literal(Value::String(text)), SqlType::Boolean) => {
            let value = literals::boolean_in_string(&text).ok_or_else(|| invalid_syntax(target, &text))?;
            ExprKind::Literal(Value::Boolean(value))
        }
        (ExprKind::Literal(Value::String(text)), target) if target.is_numeric() => {
            let number = literals::number_in_string(&text).ok_or_else(|| invalid_syntax(target, &text))?;
            return Ok(widen(number, target));
        }
        (ExprKind::Literal(value), SqlType::String) => match literals::as_text(&value) {
            Some(text) => ExprKind::Literal(Value::String(text)),
            None => return Ok(widen(Expr::literal(value, ty), target)),
        },
        (ExprKind::Array(items), SqlType::Array(item)) => {
            ExprKind::Array(items.into_iter().map(|e| list_element(e, item)).collect::<Result<_>>()?)
        }
        (ExprKind::Map(entries), SqlType::Map(key, value)) => ExprKind::Map(
            entries
                .into_iter()
                .map(|(k, v)| Ok((list_element(k, key)?, list_element(v, value)?)))
                .collect::<Result<_>>()?,
        ),
        (ExprKind::Struct(values), SqlType::Struct(fields)) => {
            let mut values = values;
            let fields = fields
                .iter()
                .map(|field| {
                    let value = match values.iter().position(|(name, _)| *name == field.name) {
                        Some(at) => list_element(values.swap_remove(at).1, &field.ty)?,
                        None => Expr::null(field.ty.clone()),
                    };
                    Ok((field.name.clone(), value))
                })
                .collect::<Result<_>>()?;
            ExprKind::Struct(fields)
        }
        (kind, _) => return Ok(widen(Expr { kind, ty }, target)),
    };
    Ok(Expr { kind, ty: target.clone() })
}

fn invalid_syntax(ty: &SqlType, text: &str) -> Error {
    Error::statement(format!("invalid input syntax for type {}: \"{text}\".", ty.base_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Expr {
        Expr::literal(Value::String(text.into()), SqlType::String)
    }

    fn integer(value: i32) -> Expr {
        Expr::literal(Value::Integer(value), SqlType::Integer)
    }

    fn list_type(elements: Vec<Expr>) -> Result<SqlType, String> {
        list(elements.into_iter().map(Some).collect(), &|i| format!("#{i}"))
            .map(|found| found.expect("no element is NULL").0)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn numbers_widen_and_never_narrow() {
        let d = SqlType::decimal;
        assert!(is_implicit(&SqlType::Integer, &d(10, 0)));
        assert!(!is_implicit(&SqlType::Integer, &d(10, 1)));
        assert!(is_implicit(&d(4, 2), &d(6, 3)));
        assert!(!is_implicit(&d(4, 2), &d(4, 3)));
        assert!(!is_implicit(&SqlType::Double, &d(50, 10)));
        assert!(!is_implicit(&SqlType::Bigint, &SqlType::Integer));
    }

    #[test]
    fn a_list_finds_its_type_from_left_to_right() {
        assert_eq!(list_type(vec![integer(1), string("2147483648")]), Ok(SqlType::Bigint));
        assert_eq!(list_type(vec![integer(10), string("2e1")]), Ok(SqlType::decimal(10, 0)));
        assert_eq!(list_type(vec![string("a"), integer(10)]), Ok(SqlType::String));
        assert_eq!(
            list_type(vec![integer(1), string("x")]),
            Err("invalid input syntax for type INTEGER: \"x\".".into())
        );
        let flag = Expr::literal(Value::Boolean(true), SqlType::Boolean);
        assert_eq!(
            list_type(vec![integer(1), flag]),
            Err("operator does not exist: INTEGER = BOOLEAN (#1)\nHint: You might need to add explicit type casts."
                .into())
        );
    }

    #[test]
    fn structs_of_a_list_get_the_fields_of_all() {
        let structure = |fields: &[(&str, i32)]| Expr {
            kind: ExprKind::Struct(fields.iter().map(|(n, v)| (n.to_string(), integer(*v))).collect()),
            ty: SqlType::structure(fields.iter().map(|(n, _)| (*n, SqlType::Integer))),
        };
        let (ty, elements) =
            list(vec![Some(structure(&[("A", 1)])), None, Some(structure(&[("B", 2)]))], &|_| String::new())
                .unwrap()
                .unwrap();
        assert_eq!(ty.to_string(), "STRUCT<`A` INTEGER, `B` INTEGER>");
        assert!(elements.iter().all(|e| e.ty == ty));
    }
}

//! One typed node → one DataFusion expression.
//!
//! | node | becomes |
//! |---|---|
//! | arithmetic of INT, BIGINT, DOUBLE | Arrow's kernels; integer division our own |
//! | DECIMAL arithmetic, casts, `[]`, `->`, constructors, LIKE, calls | a `ColumnFunction` each |
//! | comparison | Arrow's kernel, `IS TRUE` around it unless null and false act alike there |
//! | an operand that must not be null where it stands | `required(operand)`: no copy, fails the row |
//! | `x = 1 OR x = 5 OR x = 9` | a set lookup (`membership`) |
//! | AND, OR, CASE | DataFusion's; a right side that may fail is only asked where the left does not decide |
//!
//! Calls of constants are evaluated here once; one that fails stays, so that every row reports it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Case, Expr as DfExpr, Operator, Volatility};

use super::lambda;
use super::membership::in_set;
use crate::error::{Error, Result};
use crate::functions::evaluation;
use crate::functions::scalar::CallContext;
use crate::functions::udf::ColumnFunction;
use crate::functions::values::arithmetic::{DecimalOperation, divide_integers};
use crate::functions::values::decimal::parse_decimal;
use crate::functions::values::equality::{equal_rows, without_nulls};
use crate::functions::values::like::{LikePattern, like};
use crate::functions::values::{access, cast};
use crate::functions::{ArgType, signature::as_decimal};
use crate::plan::expr::{ArithmeticOp, ComparisonOp, Expr, ExprKind, Value};
use crate::types::{DECIMAL_PRECISION_MAX, SqlType};

/// Why a row fails in which arithmetic or logic meets a null.
pub const NULL_OPERAND: &str = "a null stands where a value is needed";

/// What a null means where an expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The whole expression: a null operand makes it null, as the failure would.
    Root,
    /// A condition of a conjunction that drops rows: null, false and failure are one.
    Conjunct,
    /// A condition beneath an OR or in a CASE: null and false are one, a failure is not.
    Condition,
    /// Anywhere else: a null operand of arithmetic or logic fails the whole expression, as it does in ksqlDB.
    Inner,
}

impl Place {
    /// Whether a null here has the same effect as a failure.
    fn null_is_failure(self) -> bool {
        matches!(self, Place::Root | Place::Conjunct)
    }

    /// Where the operands of arithmetic, NOT and casts stand.
    fn operand(self) -> Place {
        if self.null_is_failure() { Place::Root } else { Place::Inner }
    }

    fn null_is_false(self) -> bool {
        matches!(self, Place::Conjunct | Place::Condition)
    }
}

/// The whole expression.
pub fn value(expr: &Expr) -> Result<DfExpr> {
    translate(expr, Place::Root)
}

fn inner(expr: &Expr) -> Result<DfExpr> {
    translate(expr, Place::Inner)
}

pub fn translate(expr: &Expr, place: Place) -> Result<DfExpr> {
    Ok(match &expr.kind {
        ExprKind::Column(name) => DfExpr::Column(Column::new_unqualified(name.clone())),
        ExprKind::Literal(value) => DfExpr::Literal(scalar(value, &expr.ty)?, None),
        ExprKind::Arithmetic { op, left, right } => folded(arithmetic(*op, left, right, &expr.ty, place)?),
        ExprKind::Negate(operand) => folded(DfExpr::Negative(Box::new(present(operand, place)?))),
        ExprKind::Comparison { op, left, right } => comparison(*op, left, right, place)?,
        ExprKind::And(left, right) => {
            let (first, second) =
                (decided(left, place, place == Place::Conjunct)?, decided(right, place, place.null_is_failure())?);
            if may_fail(right, place) {
                conditional(vec![(first, second)], literal(false))
            } else {
                binary(first, Operator::And, second)
            }
        }
        ExprKind::Or(left, right) => {
            let beneath = if place.null_is_false() { Place::Condition } else { place };
            if let Some(found) = in_set(left, right, beneath, place.null_is_false())? {
                return Ok(found);
            }
            let (first, second) = (decided(left, beneath, false)?, decided(right, beneath, place.null_is_failure())?);
            if may_fail(right, beneath) {
                conditional(vec![(first, literal(true))], second)
            } else {
                binary(first, Operator::Or, second)
            }
        }
        ExprKind::Not(operand) => {
            let beneath = place.operand();
            let operand = decided(operand, beneath, beneath == Place::Root)?;
            DfExpr::Not(Box::new(operand))
        }
        ExprKind::IsNull { expr, negated: false } => DfExpr::IsNull(Box::new(inner(expr)?)),
        ExprKind::IsNull { expr, negated: true } => DfExpr::IsNotNull(Box::new(inner(expr)?)),
        ExprKind::Like { expr, pattern, escape, negated } => like_call(expr, pattern, *escape, *negated)?,
        ExprKind::Case { branches, otherwise } => {
            let branches = branches
                .iter()
                .map(|(when, then)| Ok((decided(when, Place::Condition, false)?, translate(then, place.operand())?)))
                .collect::<Result<Vec<_>>>()?;
            let otherwise = match otherwise {
                Some(otherwise) => translate(otherwise, place.operand())?,
                None => DfExpr::Literal(null(&expr.ty)?, None),
            };
            conditional(branches, otherwise)
        }
        ExprKind::Cast(operand) => cast_call(operand, &expr.ty, place.operand())?,
        ExprKind::Call { name, args } => call(name, args, &expr.ty)?,
        ExprKind::Subscript { base, index } => {
            let key = match &base.ty {
                SqlType::Map(key, _) => (**key).clone(),
                _ => SqlType::Integer,
            };
            let by_key = matches!(base.ty, SqlType::Map(..));
            let function = ColumnFunction::new("subscript", identity(&[&base.ty, &key]), &expr.ty, move |args, _| {
                if by_key { access::map_item(&args[0], &args[1]) } else { access::array_item(&args[0], &args[1]) }
            });
            folded(function.call(vec![inner(base)?, cast_call(index, &key, Place::Inner)?]))
        }
        ExprKind::Field { base, field } => {
            let SqlType::Struct(fields) = &base.ty else {
                return Err(Error::internal(format!("{} has no fields", base.ty)));
            };
            let position = fields
                .iter()
                .position(|f| f.name == *field)
                .ok_or_else(|| Error::internal(format!("{} has no field {field}", base.ty)))?;
            let function = ColumnFunction::new("field", format!("{field} of {}", base.ty), &expr.ty, move |args, _| {
                access::struct_field(&args[0], position)
            });
            folded(function.call(vec![inner(base)?]))
        }
        ExprKind::Array(items) => {
            let ty = expr.ty.clone();
            let function = ColumnFunction::new("array", identity(&[&ty]), &expr.ty, move |args, rows| {
                access::array_of(args, rows, &ty)
            });
            folded(function.call(items.iter().map(item_or_null).collect::<Result<_>>()?))
        }
        ExprKind::Map(entries) => {
            let ty = expr.ty.clone();
            let count = entries.len();
            let function = ColumnFunction::new("map", identity(&[&ty]), &expr.ty, move |args, rows| {
                access::map_of(&args[..count], &args[count..], rows, &ty)
            });
            let (keys, values) = (entries.iter().map(|(k, _)| k), entries.iter().map(|(_, v)| v));
            folded(function.call(keys.chain(values).map(item_or_null).collect::<Result<_>>()?))
        }
        ExprKind::Struct(fields) => {
            let ty = expr.ty.clone();
            let function = ColumnFunction::new("struct", identity(&[&ty]), &expr.ty, move |args, rows| {
                access::struct_of(args, rows, &ty)
            });
            folded(function.call(fields.iter().map(|(_, field)| item_or_null(field)).collect::<Result<_>>()?))
        }
        ExprKind::Lambda { .. } => return Err(Error::internal("a lambda stands outside a call")),
    })
}

pub(super) fn identity(types: &[&SqlType]) -> String {
    format!("{types:?}")
}

fn literal(value: bool) -> DfExpr {
    DfExpr::Literal(ScalarValue::Boolean(Some(value)), None)
}

fn binary(left: DfExpr, op: Operator, right: DfExpr) -> DfExpr {
    DfExpr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

fn conditional(branches: Vec<(DfExpr, DfExpr)>, otherwise: DfExpr) -> DfExpr {
    let branches = branches.into_iter().map(|(when, then)| (Box::new(when), Box::new(then))).collect();
    DfExpr::Case(Case::new(None, branches, Some(Box::new(otherwise))))
}

fn null(ty: &SqlType) -> Result<ScalarValue> {
    Ok(ScalarValue::try_from(&ty.to_arrow())?)
}

/// A constant of exactly this type.
fn scalar(value: &Value, ty: &SqlType) -> Result<ScalarValue> {
    Ok(match (value, ty) {
        (Value::Null, ty) => null(ty)?,
        (Value::Boolean(v), SqlType::Boolean) => ScalarValue::Boolean(Some(*v)),
        (Value::Integer(v), SqlType::Integer) => ScalarValue::Int32(Some(*v)),
        (Value::Integer(v), SqlType::Bigint) => ScalarValue::Int64(Some(i64::from(*v))),
        (Value::Bigint(v), SqlType::Bigint) => ScalarValue::Int64(Some(*v)),
        (Value::Double(v), SqlType::Double) => ScalarValue::Float64(Some(*v)),
        (Value::Decimal(text), SqlType::Decimal { precision, scale }) => {
            let digits = parse_decimal(text, *precision, *scale).map_err(Error::statement)?;
            ScalarValue::Decimal256(Some(digits), *precision, *scale as i8)
        }
        (Value::String(v), SqlType::String) => ScalarValue::Utf8(Some(v.clone())),
        (Value::Bytes(v), SqlType::Bytes) => ScalarValue::Binary(Some(v.clone())),
        (Value::Date(v), SqlType::Date) => ScalarValue::Date32(Some(*v)),
        (Value::Time(v), SqlType::Time) => ScalarValue::Time32Millisecond(Some(*v)),
        (Value::Timestamp(v), SqlType::Timestamp) => ScalarValue::TimestampMillisecond(Some(*v), None),
        (value, ty) => return Err(Error::internal(format!("{value:?} is not a {ty}"))),
    })
}

/// `expr` as an operand that Java would unbox: where a null is no failure by itself, it becomes one.
fn required(expr: &Expr, translated: DfExpr, place: Place) -> DfExpr {
    if place.null_is_failure() || never_null(expr) {
        return translated;
    }
    ColumnFunction::new("required", identity(&[&expr.ty]), &expr.ty, |args, _| {
        if args[0].null_count() > 0 { Err(NULL_OPERAND.to_string()) } else { Ok(Arc::clone(&args[0])) }
    })
    .call(vec![translated])
}

fn present(expr: &Expr, place: Place) -> Result<DfExpr> {
    present_as(expr, &expr.ty, place)
}

fn present_as(expr: &Expr, ty: &SqlType, place: Place) -> Result<DfExpr> {
    Ok(required(expr, cast_call(expr, ty, place.operand())?, place))
}

/// An operand of AND, OR, NOT or a condition of CASE; `null_decides`: a null may stand there.
fn decided(expr: &Expr, place: Place, null_decides: bool) -> Result<DfExpr> {
    let translated = translate(expr, place)?;
    Ok(if null_decides { translated } else { required(expr, translated, Place::Inner) })
}

/// An item of a constructor: if it fails it is null and the rest stays (ksqlDB).
fn item_or_null(expr: &Expr) -> Result<DfExpr> {
    if may_fail(expr, Place::Root) { lambda::or_null(expr) } else { value(expr) }
}

fn arithmetic(op: ArithmeticOp, left: &Expr, right: &Expr, ty: &SqlType, place: Place) -> Result<DfExpr> {
    let native = match op {
        ArithmeticOp::Add => Operator::Plus,
        ArithmeticOp::Subtract => Operator::Minus,
        ArithmeticOp::Multiply => Operator::Multiply,
        ArithmeticOp::Divide => Operator::Divide,
        ArithmeticOp::Modulo => Operator::Modulo,
    };
    match ty {
        SqlType::String => Ok(binary(present(left, place)?, Operator::StringConcat, present(right, place)?)),
        SqlType::Decimal { .. } => {
            let (left_type, right_type) = (as_decimal(&left.ty), as_decimal(&right.ty));
            let operation = DecimalOperation::of(op, &left_type, &right_type, ty)
                .ok_or_else(|| Error::internal(format!("{} and {} make no DECIMAL", left.ty, right.ty)))?;
            let function =
                ColumnFunction::new("decimal", format!("{operation:?}"), ty, move |args, _| operation.evaluate(args));
            Ok(function.call(vec![present_as(left, &left_type, place)?, present_as(right, &right_type, place)?]))
        }
        SqlType::Integer | SqlType::Bigint if matches!(op, ArithmeticOp::Divide | ArithmeticOp::Modulo) => {
            let result = ty.clone();
            let function = ColumnFunction::new("divide", format!("{op:?} {ty}"), ty, move |args, _| {
                divide_integers(op, args, &result)
            });
            Ok(function.call(vec![present_as(left, ty, place)?, present_as(right, ty, place)?]))
        }
        ty if ty.is_numeric() => Ok(binary(present_as(left, ty, place)?, native, present_as(right, ty, place)?)),
        other => Err(Error::internal(format!("no arithmetic gives {other}"))),
    }
}

/// The type both sides of a comparison are brought to.
pub(super) fn compared_as(left: &SqlType, right: &SqlType) -> SqlType {
    let digits = |ty: &SqlType| match as_decimal(ty) {
        SqlType::Decimal { precision, scale } => Some((precision - scale, scale)),
        _ => None,
    };
    match (left, right) {
        (left, right) if left == right => left.clone(),
        (SqlType::Double, _) | (_, SqlType::Double) => SqlType::Double,
        (SqlType::Decimal { .. }, _) | (_, SqlType::Decimal { .. }) => match (digits(left), digits(right)) {
            (Some((left_whole, left_scale)), Some((right_whole, right_scale))) => {
                let scale = left_scale.max(right_scale);
                SqlType::decimal((left_whole.max(right_whole) + scale).min(DECIMAL_PRECISION_MAX), scale)
            }
            _ => left.clone(),
        },
        (SqlType::Bigint, SqlType::Integer) | (SqlType::Integer, SqlType::Bigint) => SqlType::Bigint,
        (SqlType::Date, SqlType::Timestamp) | (SqlType::Timestamp, SqlType::Date) => SqlType::Timestamp,
        (SqlType::String, other) | (other, _) => other.clone(),
    }
}

fn comparison(op: ComparisonOp, left: &Expr, right: &Expr, place: Place) -> Result<DfExpr> {
    let ty = compared_as(&left.ty, &right.ty);
    let distinct = matches!(op, ComparisonOp::IsDistinctFrom | ComparisonOp::IsNotDistinctFrom);
    let beneath = if distinct { Place::Inner } else { compared_at(place) };
    let (first, second) = (cast_call(left, &ty, beneath)?, cast_call(right, &ty, beneath)?);
    if ty.is_nested() {
        let negated = matches!(op, ComparisonOp::NotEqual | ComparisonOp::IsDistinctFrom);
        let function = ColumnFunction::new("equal", format!("{op:?} {ty}"), &SqlType::Boolean, move |args, _| {
            nested_equality(args, distinct, negated)
        });
        return Ok(function.call(vec![first, second]));
    }
    let operator = match op {
        ComparisonOp::Equal => Operator::Eq,
        ComparisonOp::NotEqual => Operator::NotEq,
        ComparisonOp::Less => Operator::Lt,
        ComparisonOp::LessOrEqual => Operator::LtEq,
        ComparisonOp::Greater => Operator::Gt,
        ComparisonOp::GreaterOrEqual => Operator::GtEq,
        ComparisonOp::IsDistinctFrom => Operator::IsDistinctFrom,
        ComparisonOp::IsNotDistinctFrom => Operator::IsNotDistinctFrom,
    };
    let compared = binary(first, operator, second);
    Ok(if distinct || place.null_is_false() { compared } else { null_as_false(compared) })
}

/// A comparison with null is false. (DataFusion's IS TRUE says the same, and compares every row once more for it.)
pub(super) fn null_as_false(compared: DfExpr) -> DfExpr {
    let function = ColumnFunction::new("null_as_false", "", &SqlType::Boolean, |args, _| {
        Ok(Arc::new(without_nulls(args[0].as_boolean().clone())))
    });
    function.call(vec![compared])
}

/// Where the sides of a comparison stand: in a conjunct, a null side drops the row as a failure does.
pub(super) fn compared_at(place: Place) -> Place {
    if place == Place::Conjunct { Place::Root } else { Place::Inner }
}

fn nested_equality(args: &[ArrayRef], distinct: bool, negated: bool) -> std::result::Result<ArrayRef, String> {
    let equal = equal_rows(&args[0], &args[1], distinct)?;
    if !negated {
        return Ok(Arc::new(equal));
    }
    let differs = arrow::compute::not(&equal).map_err(|e| e.to_string())?;
    if distinct {
        return Ok(Arc::new(differs));
    }
    // `<>` with a null is false, as every comparison.
    let present = [&args[0], &args[1]].map(|a| arrow::compute::is_not_null(a));
    let [left, right] = present;
    let both = arrow::compute::and(&left.map_err(|e| e.to_string())?, &right.map_err(|e| e.to_string())?)
        .map_err(|e| e.to_string())?;
    Ok(Arc::new(arrow::compute::and(&differs, &both).map_err(|e| e.to_string())?))
}

fn like_call(text: &Expr, pattern: &Expr, escape: Option<char>, negated: bool) -> Result<DfExpr> {
    let constant = match &pattern.kind {
        ExprKind::Literal(Value::String(text)) => Some(LikePattern::new(text, escape).map_err(Error::statement)?),
        _ => None,
    };
    let identity = format!("{escape:?} {negated} {constant:?}");
    let function = ColumnFunction::new("like", identity, &SqlType::Boolean, move |args, _| {
        like(args, escape, negated, constant.as_ref())
    });
    Ok(folded(function.call(vec![inner(text)?, inner(pattern)?])))
}

/// `expr` as `ty`: nothing if it has that type.
pub(super) fn cast_call(expr: &Expr, to: &SqlType, place: Place) -> Result<DfExpr> {
    if expr.ty == *to {
        return translate(expr, place);
    }
    if let ExprKind::Literal(Value::Null) = expr.kind {
        return Ok(DfExpr::Literal(null(to)?, None));
    }
    if !cast::supported(&expr.ty, to) {
        return Err(Error::statement(format!("Cast of {} to {to} is not supported", expr.ty)));
    }
    let (from, target) = (expr.ty.clone(), to.clone());
    let function =
        ColumnFunction::new("cast", identity(&[&from, to]), to, move |args, _| cast::cast(&args[0], &from, &target));
    Ok(folded(function.call(vec![translate(expr, place)?])))
}

fn call(name: &str, args: &[Expr], ty: &SqlType) -> Result<DfExpr> {
    if args.iter().any(|a| matches!(a.kind, ExprKind::Lambda { .. })) {
        return lambda::call(name, args, ty);
    }
    let arg_types: Vec<ArgType> = args.iter().map(|a| ArgType::Sql(a.ty.clone())).collect();
    let (evaluate, deterministic) = evaluation(name, &arg_types)?;
    let types: Vec<SqlType> = args.iter().map(|a| a.ty.clone()).collect();
    let identity = identity(&types.iter().collect::<Vec<_>>());
    let returns = ty.clone();
    let function = ColumnFunction::new(name, identity, ty, move |args, rows| {
        evaluate(args, &CallContext { types: &types, returns: &returns, rows, lambdas: &[] })
    });
    let function = if deterministic { function } else { function.volatile() };
    Ok(folded(function.call(args.iter().map(inner).collect::<Result<_>>()?)))
}

/// A deterministic operation on constants as its value.
fn folded(expr: DfExpr) -> DfExpr {
    let is_constant = |e: &DfExpr| matches!(e, DfExpr::Literal(..));
    let constant = match &expr {
        DfExpr::ScalarFunction(function) => {
            !function.args.is_empty()
                && function.args.iter().all(is_constant)
                && function.func.signature().volatility == Volatility::Immutable
        }
        DfExpr::BinaryExpr(binary) => is_constant(&binary.left) && is_constant(&binary.right),
        DfExpr::Negative(inner) => is_constant(inner),
        _ => false,
    };
    if !constant {
        return expr;
    }
    match constant_value(&expr) {
        Some(value) => DfExpr::Literal(value, None),
        // It fails for every row, which then says so.
        None => expr,
    }
}

fn constant_value(expr: &DfExpr) -> Option<ScalarValue> {
    let row = RecordBatchOptions::new().with_row_count(Some(1));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &row).ok()?;
    let column = super::physical(expr, &DFSchema::empty()).ok()?.evaluate(&batch).ok()?.into_array(1).ok()?;
    ScalarValue::try_from_array(&column, 0).ok()
}

/// Whether an expression can be null.
fn never_null(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Literal(value) => *value != Value::Null,
        ExprKind::Comparison { .. } | ExprKind::IsNull { .. } | ExprKind::Like { .. } => true,
        ExprKind::And(left, right) | ExprKind::Or(left, right) => never_null(left) && never_null(right),
        ExprKind::Not(inner) => never_null(inner),
        _ => false,
    }
}

/// Whether an expression can fail for a row; casts and calls are not looked into.
fn may_fail(expr: &Expr, place: Place) -> bool {
    let inner = |e: &Expr| may_fail(e, Place::Inner);
    let unboxed = |e: &Expr| !place.null_is_failure() && !never_null(e) || may_fail(e, place.operand());
    match &expr.kind {
        ExprKind::Column(_) | ExprKind::Literal(_) => false,
        ExprKind::Arithmetic { op, left, right } => {
            let total = match expr.ty {
                SqlType::Double | SqlType::String => true,
                SqlType::Integer | SqlType::Bigint => !matches!(op, ArithmeticOp::Divide | ArithmeticOp::Modulo),
                _ => false,
            };
            !total || unboxed(left) || unboxed(right)
        }
        ExprKind::Comparison { left, right, .. } => {
            let widens = left.ty == right.ty || left.ty.is_numeric() && right.ty.is_numeric();
            let beneath = compared_at(place);
            !widens || may_fail(left, beneath) || may_fail(right, beneath)
        }
        ExprKind::And(left, right) | ExprKind::Or(left, right) => {
            !never_null(left) || !never_null(right) || may_fail(left, place) || may_fail(right, place)
        }
        ExprKind::Negate(operand) | ExprKind::Not(operand) => unboxed(operand),
        ExprKind::IsNull { expr, .. } => inner(expr),
        ExprKind::Like { expr, pattern, .. } => {
            inner(expr) || !matches!(pattern.kind, ExprKind::Literal(Value::String(_)))
        }
        ExprKind::Cast(operand) => {
            let widens = matches!(
                (&operand.ty, &expr.ty),
                (SqlType::Integer, SqlType::Bigint | SqlType::Double) | (SqlType::Bigint, SqlType::Double)
            );
            !widens && !matches!(operand.kind, ExprKind::Literal(_)) || may_fail(operand, place.operand())
        }
        ExprKind::Subscript { base, index } => inner(base) || inner(index),
        ExprKind::Field { base, .. } => inner(base),
        ExprKind::Case { branches, otherwise } => {
            branches.iter().any(|(when, then)| {
                !never_null(when) || may_fail(when, Place::Condition) || may_fail(then, place.operand())
            }) || otherwise.as_ref().is_some_and(|e| may_fail(e, place.operand()))
        }
        ExprKind::Array(_) | ExprKind::Map(_) | ExprKind::Struct(_) => false,
        _ => true,
    }
}

/// Columns that fail a row by being null there, whatever the rest of the row is: operands of inner arithmetic.
pub fn required_columns(expr: &Expr, place: Place, out: &mut Vec<String>) {
    match &expr.kind {
        ExprKind::Arithmetic { left, right, .. } => {
            for side in [left, right] {
                let mut side = &**side;
                required_columns(side, place.operand(), out);
                while let ExprKind::Cast(operand) = &side.kind {
                    side = operand;
                }
                if let (ExprKind::Column(name), false) = (&side.kind, place.null_is_failure()) {
                    out.push(name.clone());
                }
            }
        }
        ExprKind::Comparison { left, right, .. } => {
            required_columns(left, compared_at(place), out);
            required_columns(right, compared_at(place), out);
        }
        ExprKind::And(left, _) => required_columns(left, place, out),
        ExprKind::Or(left, _) => {
            required_columns(left, if place.null_is_false() { Place::Condition } else { place }, out)
        }
        ExprKind::Not(operand) | ExprKind::Cast(operand) | ExprKind::Negate(operand) => {
            required_columns(operand, place.operand(), out);
        }
        ExprKind::Case { branches, .. } => {
            if let Some((when, _)) = branches.first() {
                required_columns(when, Place::Condition, out);
            }
        }
        ExprKind::Array(_) | ExprKind::Map(_) | ExprKind::Struct(_) | ExprKind::Lambda { .. } => {}
        _ => expr.children().into_iter().for_each(|child| required_columns(child, Place::Inner, out)),
    }
}

//! Arithmetic that Arrow's kernels do differently: integer division, and DECIMAL.
//!
//! Integer division cuts toward zero and wraps (`MIN / -1 = MIN`), division by zero is an error; the sign of a remainder
//! is the dividend's. DECIMAL results have the type the plan carries (ksqlDB's precision and scale rules); division
//! rounds half up.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::compute::{binary, try_binary};
use arrow::datatypes::{ArrowNativeTypeOp, Decimal256Type, Int32Type, Int64Type, i256};
use arrow::error::ArrowError;

use super::cast::typed_decimal;
use super::decimal::{divide_half_up, fits, power_of_ten};
use crate::functions::scalar::Evaluated;
use crate::plan::expr::ArithmeticOp;
use crate::types::SqlType;

const BY_ZERO: &str = "/ by zero";

/// `/` or `%` of INT or BIGINT columns.
pub fn divide_integers(op: ArithmeticOp, args: &[ArrayRef], ty: &SqlType) -> Evaluated {
    match ty {
        SqlType::Integer => divide_typed::<Int32Type>(op, args),
        _ => divide_typed::<Int64Type>(op, args),
    }
}

fn divide_typed<T: ArrowPrimitiveType>(op: ArithmeticOp, args: &[ArrayRef]) -> Evaluated {
    let (left, right) = (args[0].as_primitive::<T>(), args[1].as_primitive::<T>());
    let result: PrimitiveArray<T> = try_binary(left, right, |a, b| {
        if b.is_zero() {
            Err(ArrowError::ComputeError(BY_ZERO.to_string()))
        } else if op == ArithmeticOp::Modulo {
            Ok(a.mod_wrapping(b))
        } else {
            Ok(a.div_wrapping(b))
        }
    })
    .map_err(message)?;
    Ok(Arc::new(result))
}

/// The text of an error without Arrow's prefix.
pub fn message(error: ArrowError) -> String {
    match error {
        ArrowError::ComputeError(text) => text,
        ArrowError::DivideByZero => BY_ZERO.to_string(),
        other => other.to_string(),
    }
}

/// Scales of the operands and type of the result.
#[derive(Debug, Clone, Copy)]
pub struct DecimalOperation {
    pub op: ArithmeticOp,
    pub left_scale: u8,
    pub right_scale: u8,
    pub precision: u8,
    pub scale: u8,
}

impl DecimalOperation {
    /// None unless all are DECIMAL.
    pub fn of(op: ArithmeticOp, left: &SqlType, right: &SqlType, result: &SqlType) -> Option<Self> {
        let parts = |ty: &SqlType| match ty {
            SqlType::Decimal { precision, scale } => Some((*precision, *scale)),
            _ => None,
        };
        let ((_, left_scale), (_, right_scale), (precision, scale)) = (parts(left)?, parts(right)?, parts(result)?);
        Some(Self { op, left_scale, right_scale, precision, scale })
    }

    pub fn evaluate(&self, args: &[ArrayRef]) -> Evaluated {
        let (left, right) = (args[0].as_primitive::<Decimal256Type>(), args[1].as_primitive::<Decimal256Type>());
        // Columns carry their scale in the type; the operation goes by digits alone.
        if self.is_certain(left.precision().max(right.precision())) {
            let result: PrimitiveArray<Decimal256Type> = match self.op {
                ArithmeticOp::Add => binary(left, right, |a, b| a.wrapping_add(b)),
                _ => binary(left, right, |a, b| a.wrapping_sub(b)),
            }
            .map_err(message)?;
            return typed_decimal(result, self.precision, self.scale);
        }
        let small = Small::of(self);
        let result: PrimitiveArray<Decimal256Type> = try_binary(left, right, |a, b| {
            let quick = small.as_ref().and_then(|small| small.one(a.to_i128()?, b.to_i128()?));
            match quick {
                Some(value) => Ok(i256::from_i128(value)),
                None => self.one(a, b).map_err(ArrowError::ComputeError),
            }
        })
        .map_err(message)?;
        typed_decimal(result, self.precision, self.scale)
    }

    /// A sum or difference of equal scales that has room for another digit: nothing can go wrong.
    fn is_certain(&self, precision: u8) -> bool {
        matches!(self.op, ArithmeticOp::Add | ArithmeticOp::Subtract)
            && self.left_scale == self.scale
            && self.right_scale == self.scale
            && precision < self.precision
    }

    fn one(&self, left: i256, right: i256) -> Result<i256, String> {
        let overflow = || format!("Numeric field overflow: the result has more than {} digits", self.precision);
        let exact = match self.op {
            ArithmeticOp::Add | ArithmeticOp::Subtract | ArithmeticOp::Modulo => {
                let common = self.left_scale.max(self.right_scale);
                let left = left.checked_mul(power_of_ten(u32::from(common - self.left_scale)));
                let right = right.checked_mul(power_of_ten(u32::from(common - self.right_scale)));
                let (left, right) = left.zip(right).ok_or_else(overflow)?;
                let value = match self.op {
                    ArithmeticOp::Add => left.checked_add(right),
                    ArithmeticOp::Subtract => left.checked_sub(right),
                    _ if right == i256::ZERO => return Err("Division undefined".to_string()),
                    _ => left.checked_rem(right),
                };
                self.rescaled(value.ok_or_else(overflow)?, common)
            }
            ArithmeticOp::Multiply => {
                self.rescaled(left.checked_mul(right).ok_or_else(overflow)?, self.left_scale + self.right_scale)
            }
            ArithmeticOp::Divide if right == i256::ZERO => return Err("Division by zero".to_string()),
            ArithmeticOp::Divide => {
                // left/10^l ÷ right/10^r = x/10^s, so x = left × 10^(s + r − l) ÷ right.
                let shift = i32::from(self.scale) + i32::from(self.right_scale) - i32::from(self.left_scale);
                let power = power_of_ten(shift.unsigned_abs().min(76));
                if shift >= 0 {
                    left.checked_mul(power).map(|dividend| divide_half_up(dividend, right))
                } else {
                    right.checked_mul(power).map(|divisor| divide_half_up(left, divisor))
                }
            }
        };
        exact.filter(|v| fits(*v, self.precision)).ok_or_else(overflow)
    }

    fn rescaled(&self, value: i256, scale: u8) -> Option<i256> {
        super::decimal::rescale(value, scale, self.scale)
    }
}

/// Sums, differences and products whose scale needs no rounding, while all fits 128 bits: what nearly all are.
struct Small {
    op: ArithmeticOp,
    left_factor: i128,
    right_factor: i128,
    /// The result is nearer to zero.
    limit: i128,
}

impl Small {
    fn of(operation: &DecimalOperation) -> Option<Self> {
        let DecimalOperation { op, left_scale, right_scale, precision, scale } = *operation;
        let (left, right) = match op {
            ArithmeticOp::Add | ArithmeticOp::Subtract if scale == left_scale.max(right_scale) => {
                (scale - left_scale, scale - right_scale)
            }
            ArithmeticOp::Multiply if scale == left_scale + right_scale => (0, 0),
            _ => return None,
        };
        let power = |n: u8| power_of_ten(u32::from(n)).to_i128();
        Some(Self {
            op,
            left_factor: power(left)?,
            right_factor: power(right)?,
            limit: power(precision).unwrap_or(i128::MAX),
        })
    }

    #[inline]
    fn one(&self, left: i128, right: i128) -> Option<i128> {
        let times = |a: i128, b: i128| match (i64::try_from(a), i64::try_from(b)) {
            (_, Ok(1)) => Some(a),
            (Ok(a), Ok(b)) => Some(i128::from(a) * i128::from(b)),
            _ => None,
        };
        let value = match self.op {
            ArithmeticOp::Multiply => times(left, right)?,
            ArithmeticOp::Add => times(left, self.left_factor)?.checked_add(times(right, self.right_factor)?)?,
            _ => times(left, self.left_factor)?.checked_sub(times(right, self.right_factor)?)?,
        };
        (-self.limit < value && value < self.limit).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::values::decimal::{decimal_text, parse_decimal};
    use arrow::array::{Array, Int32Array};

    #[test]
    fn integers_wrap_and_refuse_zero() {
        let left: ArrayRef = Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(-7), None]));
        let right: ArrayRef = Arc::new(Int32Array::from(vec![Some(-1), Some(2), Some(0)]));
        let args = [left, right];
        let divided = divide_integers(ArithmeticOp::Divide, &args, &SqlType::Integer).unwrap();
        assert_eq!(divided.as_primitive::<Int32Type>().values()[..2], [i32::MIN, -3]);
        assert!(divided.is_null(2));
        let rest = divide_integers(ArithmeticOp::Modulo, &args, &SqlType::Integer).unwrap();
        assert_eq!(rest.as_primitive::<Int32Type>().values()[..2], [0, -1]);
        let zero: ArrayRef = Arc::new(Int32Array::from(vec![0, 0, 0]));
        assert!(divide_integers(ArithmeticOp::Divide, &[zero.clone(), zero], &SqlType::Integer).is_err());
    }

    #[test]
    fn small_decimals_are_computed_as_large_ones() {
        use ArithmeticOp::{Add, Multiply, Subtract};
        let numbers = [0, 1, -7, 99_999, i64::MAX.into(), i128::MIN + 1, i128::MAX, 10i128.pow(30)];
        for (op, precision, scale) in [(Add, 38, 4), (Subtract, 20, 4), (Multiply, 38, 6), (Multiply, 76, 6)] {
            let operation = DecimalOperation { op, left_scale: 2, right_scale: 4, precision, scale };
            let small = Small::of(&operation).unwrap();
            for left in numbers {
                for right in numbers {
                    let Some(quick) = small.one(left, right) else { continue };
                    let exact = operation.one(i256::from_i128(left), i256::from_i128(right));
                    assert_eq!(Ok(i256::from_i128(quick)), exact, "{left} {op:?} {right}");
                }
            }
        }
    }

    #[test]
    fn decimals_have_the_scale_of_the_plan() {
        let run = |op, precision, scale| {
            let operation = DecimalOperation { op, left_scale: 2, right_scale: 1, precision, scale };
            let (left, right) = (parse_decimal("10.25", 4, 2).unwrap(), parse_decimal("-0.3", 2, 1).unwrap());
            operation.one(left, right).map(|v| decimal_text(v, scale))
        };
        assert_eq!(run(ArithmeticOp::Add, 5, 2).as_deref(), Ok("9.95"));
        assert_eq!(run(ArithmeticOp::Subtract, 5, 2).as_deref(), Ok("10.55"));
        assert_eq!(run(ArithmeticOp::Multiply, 7, 3).as_deref(), Ok("-3.075"));
        assert_eq!(run(ArithmeticOp::Divide, 9, 6).as_deref(), Ok("-34.166667"));
        assert_eq!(run(ArithmeticOp::Modulo, 3, 2).as_deref(), Ok("0.05"));
        assert!(run(ArithmeticOp::Divide, 7, 6).is_err());
    }
}

//! Functions of numbers: absolute value, rounding, comparison.
//!
//! ROUND rounds half up toward +∞ (2.5 → 3, −2.5 → −2), TRUNC toward zero; a DECIMAL rounded without a number of places
//! becomes DECIMAL(p − s, 0). GREATEST and LEAST leave nulls out.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::compute::kernels::{cmp, zip::zip};
use arrow::compute::{binary, is_not_null, is_null, or, try_binary};
use arrow::datatypes::{Decimal256Type, Float64Type, Int32Type, Int64Type, i256};
use arrow::error::ArrowError;

use super::{Evaluated, ScalarFunction};
use crate::functions::Resolved;
use crate::functions::columns::{map1, map2, unary};
use crate::functions::values::arithmetic::message;
use crate::functions::values::cast::typed_decimal;
use crate::functions::values::decimal::{EXACT_POWERS, decimal_text, fit, power_of_ten};
use crate::functions::values::equality::without_nulls;
use crate::types::{DECIMAL_PRECISION_MAX, SqlType};

const CATEGORY: &str = "MATHEMATICAL";

pub fn functions() -> Vec<ScalarFunction> {
    vec![
        ScalarFunction::new("ABS", CATEGORY, "Absolute value.")
            .example("ABS(-3.25)", "3.25")
            .differs("the smallest INTEGER or BIGINT is an error, here it stays as it is.")
            .printed("Abs")
            .overload("(INT val) -> INT", |args, _| unary::<Int32Type, Int32Type>(args, i32::wrapping_abs))
            .overload("(BIGINT val) -> BIGINT", |args, _| unary::<Int64Type, Int64Type>(args, i64::wrapping_abs))
            .overload("(DOUBLE val) -> DOUBLE", |args, _| unary::<Float64Type, Float64Type>(args, f64::abs))
            .overload("(DECIMAL val) -> DECIMAL", |args, ctx| {
                decimals(args, ctx.returns, |v, _, _| Some(v.wrapping_abs()))
            }),
        whole("CEIL", "The smallest whole number not below the value.", f64::ceil, Toward::Ceiling)
            .example("CEIL(1.1e0)", "2.0")
            .differs("whole numbers become DOUBLE, here they stay what they are."),
        whole("FLOOR", "The largest whole number not above the value.", f64::floor, Toward::Floor)
            .example("FLOOR(-1.1)", "-2.0")
            .differs("whole numbers become DOUBLE, here they stay what they are."),
        ScalarFunction::new("ROUND", CATEGORY, "Rounds half up, to whole numbers or to a number of decimal places.")
            .example("ROUND(2.567e0, 2)", "2.57")
            .differs(
                "half goes away from zero and a DOUBLE stays one; here half goes up (-2.5 becomes -2) and \
                 without places the result is BIGINT.",
            )
            .printed("Round")
            .overload("(BIGINT val) -> BIGINT", |args, _| Ok(Arc::clone(&args[0])))
            .overload("(INT val) -> BIGINT", widen)
            .overload("(DOUBLE val) -> BIGINT", |args, _| unary::<Float64Type, Int64Type>(args, round_to_long))
            .overload_refined("(DECIMAL val) -> DECIMAL", whole_decimal, |args, ctx| {
                round_decimals(args, ctx.returns, Toward::Nearest)
            })
            .overload("(DOUBLE val, INT decimalPlaces) -> DOUBLE", |args, _| round_doubles(args, Toward::Nearest))
            .overload("(DECIMAL val, INT decimalPlaces) -> DECIMAL", |args, ctx| {
                round_decimals(args, ctx.returns, Toward::Nearest)
            }),
        ScalarFunction::new("TRUNC", CATEGORY, "Cuts toward zero, to whole numbers or to a number of decimal places.")
            .example("TRUNC(-1.7e0)", "-1")
            .differs(
                "whole numbers become DOUBLE and a DOUBLE stays one; here without places the result is \
                 BIGINT.",
            )
            .overload("(BIGINT val) -> BIGINT", |args, _| Ok(Arc::clone(&args[0])))
            .overload("(INT val) -> BIGINT", widen)
            .overload("(DOUBLE val) -> BIGINT", |args, _| unary::<Float64Type, Int64Type>(args, |v| v as i64))
            .overload_refined("(DECIMAL val) -> DECIMAL", whole_decimal, |args, ctx| {
                round_decimals(args, ctx.returns, Toward::Zero)
            })
            .overload("(DOUBLE val, INT decimalPlaces) -> DOUBLE", |args, _| round_doubles(args, Toward::Zero))
            .overload("(DECIMAL val, INT decimalPlaces) -> DECIMAL", |args, ctx| {
                round_decimals(args, ctx.returns, Toward::Zero)
            }),
        ScalarFunction::new("SIGN", CATEGORY, "-1, 0 or 1 by the sign of the value.")
            .example("SIGN(-2)", "-1")
            .printed("Sign")
            .overload("(INT val) -> INT", |args, _| unary::<Int32Type, Int32Type>(args, i32::signum))
            .overload("(BIGINT val) -> INT", |args, _| unary::<Int64Type, Int32Type>(args, |v| v.signum() as i32))
            .overload("(DOUBLE val) -> INT", |args, _| {
                unary::<Float64Type, Int32Type>(args, |v| i32::from(v > 0.0) - i32::from(v < 0.0))
            }),
        extreme("GREATEST", "The largest argument; nulls are left out.", cmp::gt).example("GREATEST(1, null, 3)", "3"),
        extreme("LEAST", "The smallest argument; nulls are left out.", cmp::lt).example("LEAST('b', 'a')", "a"),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Toward {
    /// Half up for positive values, half down for negative ones.
    Nearest,
    Zero,
    Ceiling,
    Floor,
}

fn widen(args: &[ArrayRef], _: &super::CallContext<'_>) -> Evaluated {
    unary::<Int32Type, Int64Type>(args, i64::from)
}

/// `Math.round`: half up toward +∞, held at the ends, NaN is 0.
fn round_to_long(value: f64) -> i64 {
    let floor = value.floor();
    (if value - floor >= 0.5 { floor + 1.0 } else { floor }) as i64
}

fn whole(
    name: &'static str,
    description: &'static str,
    f: impl Fn(f64) -> f64 + Copy + Send + Sync + 'static,
    toward: Toward,
) -> ScalarFunction {
    ScalarFunction::new(name, CATEGORY, description)
        .printed(if toward == Toward::Floor { "Floor" } else { "Ceil" })
        .overload("(INT val) -> INT", |args, _| Ok(Arc::clone(&args[0])))
        .overload("(BIGINT val) -> BIGINT", |args, _| Ok(Arc::clone(&args[0])))
        .overload("(DOUBLE val) -> DOUBLE", move |args, _| unary::<Float64Type, Float64Type>(args, f))
        .overload("(DECIMAL val) -> DECIMAL", move |args, ctx| {
            decimals(args, ctx.returns, |v, scale, _| {
                let unit = power_of_ten(u32::from(scale));
                Some(quotient(v, unit, toward).wrapping_mul(unit))
            })
        })
}

/// The whole quotient, rounded as said; the unit is positive.
fn quotient(value: i256, unit: i256, toward: Toward) -> i256 {
    let (cut, rest) = (value.wrapping_div(unit), value.wrapping_rem(unit));
    let negative = rest.is_negative();
    let beyond = rest != i256::ZERO;
    let twice = rest.wrapping_abs().wrapping_mul(i256::from_i128(2));
    let away = match toward {
        Toward::Zero => false,
        Toward::Ceiling => beyond && !negative,
        Toward::Floor => beyond && negative,
        Toward::Nearest => {
            if negative {
                twice > unit
            } else {
                twice >= unit
            }
        }
    };
    match (away, negative) {
        (false, _) => cut,
        (true, false) => cut.wrapping_add(i256::ONE),
        (true, true) => cut.wrapping_sub(i256::ONE),
    }
}

/// A DECIMAL function of a DECIMAL and perhaps an INT: `(value, scale, places)` to a value of the result's scale.
fn decimals(args: &[ArrayRef], returns: &SqlType, f: impl Fn(i256, u8, i32) -> Option<i256>) -> Evaluated {
    let SqlType::Decimal { precision, scale } = *returns else { return Err(format!("{returns} is not a DECIMAL")) };
    let column = args[0].as_primitive::<Decimal256Type>();
    let from_scale = column.scale() as u8;
    let one = |v: i256, places: i32| {
        fit(f(v, from_scale, places), precision, scale, || decimal_text(v, from_scale)).map(Some)
    };
    let result = match args.get(1) {
        Some(_) => map2::<Decimal256Type, Int32Type, Decimal256Type>(args, one)?,
        None => map1::<Decimal256Type, Decimal256Type>(args, |v| one(v, 0))?,
    };
    typed_decimal(result.as_primitive::<Decimal256Type>().clone(), precision, scale)
}

fn round_decimals(args: &[ArrayRef], returns: &SqlType, toward: Toward) -> Evaluated {
    let keeps_scale = args.len() == 2;
    decimals(args, returns, |v, scale, places| {
        let dropped = i64::from(scale) - i64::from(places);
        if dropped <= 0 {
            return Some(v);
        }
        let unit = power_of_ten(u32::try_from(dropped).unwrap_or(76).min(76));
        let whole = if dropped > 76 { i256::ZERO } else { quotient(v, unit, toward) };
        if keeps_scale { whole.checked_mul(unit) } else { Some(whole) }
    })
}

/// DECIMAL(p, s) → DECIMAL(p − s, 0).
fn whole_decimal(resolved: &mut Resolved) -> Result<(), String> {
    if let SqlType::Decimal { precision, scale } = resolved.args[0] {
        resolved.returns = SqlType::decimal((precision - scale).max(1), 0);
    }
    Ok(())
}

fn round_doubles(args: &[ArrayRef], toward: Toward) -> Evaluated {
    let (values, places) = (args[0].as_primitive::<Float64Type>(), args[1].as_primitive::<Int32Type>());
    let clear = |v, places| round_clear(v, places, toward).unwrap_or(f64::NAN);
    let rounded: Float64Array = binary(values, places, clear).map_err(message)?;
    if !rounded.values().iter().fold(false, |nan, v| nan | v.is_nan()) {
        return Ok(Arc::new(rounded));
    }
    // Some row is in doubt, or has no answer.
    let round = |v, places| round_double(v, places, toward).map_err(ArrowError::ComputeError);
    let rounded: Float64Array = try_binary(values, places, round).map_err(message)?;
    Ok(Arc::new(rounded))
}

/// Rounds the shortest decimal text of the value, as `BigDecimal.valueOf(value).setScale(…)`.
fn round_double(value: f64, places: i32, toward: Toward) -> Result<f64, String> {
    if !value.is_finite() {
        return Err("Infinite or NaN".to_string());
    }
    match round_clear(value, places, toward) {
        Some(rounded) => Ok(rounded),
        None => round_text(value, places, toward),
    }
}

/// The same without the text, if the value is clearly on one side of where the rounding turns; None if it may not be.
fn round_clear(value: f64, places: i32, toward: Toward) -> Option<f64> {
    let power = *EXACT_POWERS.get(usize::try_from(places).ok()?)?;
    let scaled = value.abs() * power;
    if scaled >= 1e15 || !value.is_finite() {
        return None;
    }
    if value == 0.0 {
        return Some(value);
    }
    let whole = scaled as i64 as f64;
    let rest = scaled - whole;
    // More than multiplication, and the text instead of the value, can be off.
    let doubt = scaled * 1e-15;
    let (clear, whole) = match toward {
        Toward::Nearest => ((rest - 0.5).abs() > doubt, whole + f64::from(rest > 0.5)),
        _ => (rest > doubt && rest < 1.0 - doubt, whole),
    };
    let rounded = whole / power;
    clear.then(|| if value < 0.0 && rounded != 0.0 { -rounded } else { rounded })
}

fn round_text(value: f64, places: i32, toward: Toward) -> Result<f64, String> {
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').ok_or("a double has an exponent")?;
    let exponent: i32 = exponent.parse().map_err(|_| "an exponent is a number")?;
    let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    // Digit i stands at 10^(exponent − i); those down to 10^−places stay.
    let kept = i64::from(exponent) + i64::from(places) + 1;
    if kept >= digits.len() as i64 {
        return Ok(value);
    }
    if kept < 0 {
        return Ok(0.0);
    }
    let (head, tail) = digits.split_at(kept as usize);
    let half = tail[0].cmp(&b'5').then(if tail[1..].iter().any(|d| *d != b'0') {
        std::cmp::Ordering::Greater
    } else {
        std::cmp::Ordering::Equal
    });
    let away = toward == Toward::Nearest && if value > 0.0 { half.is_ge() } else { half.is_gt() };
    let mut digits = head.to_vec();
    let mut carry = away;
    for digit in digits.iter_mut().rev() {
        if carry {
            carry = *digit == b'9';
            *digit = if carry { b'0' } else { *digit + 1 };
        }
    }
    if carry {
        digits.insert(0, b'1');
    }
    let digits = if digits.is_empty() { "0".into() } else { String::from_utf8_lossy(&digits).into_owned() };
    let rounded: f64 =
        format!("{digits}e{}", -i64::from(places)).parse().map_err(|_| "a rounded double is a number")?;
    Ok(if value < 0.0 && rounded != 0.0 { -rounded } else { rounded })
}

type Compare = fn(&dyn arrow::array::Datum, &dyn arrow::array::Datum) -> Result<BooleanArray, arrow::error::ArrowError>;

fn extreme(name: &'static str, description: &'static str, better: Compare) -> ScalarFunction {
    let mut function = ScalarFunction::new(name, CATEGORY, description);
    for ty in ["INT", "BIGINT", "DOUBLE", "STRING", "BYTES", "DATE", "TIME", "TIMESTAMP"] {
        function = function.overload(&format!("({ty} val, {ty}... vals) -> {ty}"), move |args, _| pick(args, better));
    }
    function.overload_refined("(DECIMAL val, DECIMAL... vals) -> DECIMAL", common_decimal, move |args, _| {
        pick(args, better)
    })
}

/// All arguments become the DECIMAL that holds every one of them.
fn common_decimal(resolved: &mut Resolved) -> Result<(), String> {
    let (mut whole, mut scale) = (0, 0);
    for ty in &resolved.args {
        if let SqlType::Decimal { precision: p, scale: s } = ty {
            whole = whole.max(p - s);
            scale = scale.max(*s);
        }
    }
    let common = SqlType::decimal((whole + scale).clamp(1, DECIMAL_PRECISION_MAX), scale);
    resolved.args.iter_mut().for_each(|ty| *ty = common.clone());
    resolved.returns = common;
    Ok(())
}

fn pick(args: &[ArrayRef], better: Compare) -> Evaluated {
    let run = || -> Result<ArrayRef, arrow::error::ArrowError> {
        let mut best = Arc::clone(&args[0]);
        for next in &args[1..] {
            let wins = without_nulls(better(next, &best)?);
            let wins = if best.null_count() > 0 { or(&wins, &is_null(&best)?)? } else { wins };
            let wins = if next.null_count() > 0 { arrow::compute::and(&wins, &is_not_null(next)?)? } else { wins };
            best = zip(&wins, next, &best)?;
        }
        Ok(best)
    };
    run().map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_round_by_their_decimal_text() {
        for (value, places, nearest, cut) in [
            (1.234567, 2, 1.23, 1.23),
            (1.7, 0, 2.0, 1.0),
            (111.0, -2, 100.0, 100.0),
            (150.0, -2, 200.0, 100.0),
            (-2.5, 0, -2.0, -2.0),
            (-2.51, 0, -3.0, -2.0),
            (9.99, 1, 10.0, 9.9),
            (0.05, 1, 0.1, 0.0),
            (3.0, -1, 0.0, 0.0),
            (1.2, 10, 1.2, 1.2),
        ] {
            assert_eq!(round_double(value, places, Toward::Nearest), Ok(nearest), "{value} to {places}");
            assert_eq!(round_double(value, places, Toward::Zero), Ok(cut), "{value} cut to {places}");
        }
        for at in 0..20_000 {
            let value = f64::from(at - 10_000) * 0.000_37 + f64::from(at % 7) * 1e-9;
            for (places, toward) in
                [(0, Toward::Nearest), (2, Toward::Nearest), (3, Toward::Zero), (9, Toward::Nearest)]
            {
                let text = round_text(value, places, toward).map(f64::to_bits);
                assert_eq!(round_double(value, places, toward).map(f64::to_bits), text, "{value} to {places}");
            }
        }
        assert_eq!(round_to_long(-2.5), -2);
        assert_eq!(round_to_long(2.5), 3);
        assert_eq!(round_to_long(f64::NAN), 0);
    }
}

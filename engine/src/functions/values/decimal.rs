//! Exact decimals: an integer of up to 76 digits and a scale.
//!
//! Rounding is half up, away from zero, as Java's `HALF_UP`. A whole part that does not fit is an error with ksqlDB's
//! message (`DecimalUtil.ensureFit`).

use std::fmt::Write;
use std::sync::LazyLock;

use arrow::datatypes::i256;

static POWERS: LazyLock<[i256; 77]> = LazyLock::new(|| {
    let mut powers = [i256::ONE; 77];
    for n in 1..77 {
        powers[n] = powers[n - 1].wrapping_mul(i256::from_i128(10));
    }
    powers
});

/// Up to here a power of ten is exact as a double, and its quotient with an exact whole number the nearest double.
pub const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// 10^n; n is at most 76.
pub fn power_of_ten(n: u32) -> i256 {
    POWERS[n as usize]
}

/// `value` with another number of fraction digits; None if it does not fit 256 bits.
pub fn rescale(value: i256, from: u8, to: u8) -> Option<i256> {
    if from <= to {
        value.checked_mul(power_of_ten(u32::from(to - from)))
    } else {
        Some(divide_half_up(value, power_of_ten(u32::from(from - to))))
    }
}

/// Division rounded half up, away from zero; the divisor is not zero.
pub fn divide_half_up(value: i256, by: i256) -> i256 {
    if let (Some(v), Some(b)) = (value.to_i128(), by.to_i128()) {
        let (quotient, rest) = (v.wrapping_div(b), v.wrapping_rem(b));
        let round = rest.unsigned_abs() >= b.unsigned_abs() - rest.unsigned_abs();
        let step = if (v < 0) == (b < 0) { 1 } else { -1 };
        return i256::from_i128(quotient).wrapping_add(i256::from_i128(if round { step } else { 0 }));
    }
    let (quotient, rest) = (value.wrapping_div(by), value.wrapping_rem(by));
    let (rest, divisor) = (rest.wrapping_abs(), by.wrapping_abs());
    if rest >= divisor.wrapping_sub(rest) {
        let negative = value.is_negative() != by.is_negative();
        quotient.wrapping_add(if negative { i256::MINUS_ONE } else { i256::ONE })
    } else {
        quotient
    }
}

pub fn fits(value: i256, precision: u8) -> bool {
    value.wrapping_abs() < power_of_ten(u32::from(precision))
}

/// The value as DECIMAL(precision, scale), or ksqlDB's message.
pub fn fit(value: Option<i256>, precision: u8, scale: u8, shown: impl FnOnce() -> String) -> Result<i256, String> {
    value.filter(|v| fits(*v, precision)).ok_or_else(|| {
        let digits = precision - scale;
        format!(
            "Numeric field overflow: A field with precision {precision} and scale {scale} must round to an absolute \
             value less than 10^{digits}. Got {}",
            shown()
        )
    })
}

/// `-12.50`, never with an exponent.
pub fn write_decimal(value: i256, scale: u8, out: &mut String) {
    let digits = match value.to_i128() {
        Some(v) => v.unsigned_abs().to_string(),
        None => value.wrapping_abs().to_string(),
    };
    if value.is_negative() {
        out.push('-');
    }
    let scale = usize::from(scale);
    if scale == 0 {
        out.push_str(&digits);
    } else if digits.len() > scale {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let _ = write!(out, "{whole}.{fraction}");
    } else {
        let _ = write!(out, "0.{digits:0>scale$}");
    }
}

pub fn decimal_text(value: i256, scale: u8) -> String {
    let mut text = String::new();
    write_decimal(value, scale, &mut text);
    text
}

/// Most digits of a number that is read as 64 bits.
const SHORT_DIGITS_MAX: usize = 18;

/// `[-]digits[.digits]` of few digits; None for all else, and for what does not fit.
fn parse_short(text: &str, precision: u8, scale: u8) -> Option<i256> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest.as_bytes()),
        None => (false, text.as_bytes()),
    };
    let (mut value, mut digits, mut fraction) = (0i64, 0, None);
    for &byte in unsigned {
        match byte {
            b'0'..=b'9' if digits < SHORT_DIGITS_MAX => {
                value = value * 10 + i64::from(byte - b'0');
                digits += 1;
            }
            b'.' if fraction.is_none() => fraction = Some(digits),
            _ => return None,
        }
    }
    let fraction = u8::try_from(digits - fraction.unwrap_or(digits)).ok()?;
    let value = rescale(i256::from_i128(i128::from(if negative { -value } else { value })), fraction, scale)?;
    (digits > 0 && fits(value, precision)).then_some(value)
}

/// Reads `[+-]digits[.digits][e±n]` as DECIMAL(precision, scale), rounding what is too fine.
pub fn parse_decimal(text: &str, precision: u8, scale: u8) -> Result<i256, String> {
    match parse_short(text, precision, scale) {
        Some(value) => Ok(value),
        None => parse_long(text, precision, scale),
    }
}

fn parse_long(text: &str, precision: u8, scale: u8) -> Result<i256, String> {
    let wrong = || format!("Character array is missing \"exponent\" mark 'e' or 'E' or is not a number: {text}");
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], unsigned[at + 1..].parse::<i32>().map_err(|_| wrong())?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(wrong());
    }
    let zeros = digits.iter().take_while(|d| **d == b'0').count();
    let digits = &digits[zeros..];
    if digits.is_empty() {
        return Ok(i256::ZERO);
    }
    // The value is 0.DIGITS × 10^point; `kept` digits stand before the last fraction digit that is kept.
    let point = whole.len() as i64 - zeros as i64 + i64::from(exponent);
    let overflow = || fit(None, precision, scale, || text.to_string());
    if point > i64::from(precision - scale) {
        return overflow();
    }
    let kept = point + i64::from(scale);
    if kept < 0 {
        return Ok(i256::ZERO);
    }
    let kept = kept as usize;
    let mut value = i256::ZERO;
    for at in 0..kept {
        let digit = digits.get(at).map_or(0, |d| i128::from(d - b'0'));
        value = value.wrapping_mul(i256::from_i128(10)).wrapping_add(i256::from_i128(digit));
    }
    if digits.get(kept).is_some_and(|d| *d >= b'5') {
        value = value.wrapping_add(i256::ONE);
    }
    let value = if negative { value.wrapping_neg() } else { value };
    fit(Some(value), precision, scale, || text.to_string())
}

/// The nearest double.
pub fn to_double(value: i256, scale: u8) -> f64 {
    match value.to_i128() {
        Some(v) if v.unsigned_abs() < 1 << 53 && usize::from(scale) < EXACT_POWERS.len() => {
            v as i64 as f64 / EXACT_POWERS[usize::from(scale)]
        }
        _ => decimal_text(value, scale).parse().expect("a decimal's text is a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str, precision: u8, scale: u8) -> Result<String, String> {
        Ok(decimal_text(parse_decimal(text, precision, scale)?, scale))
    }

    #[test]
    fn reads_rounds_and_refuses() {
        for (text, precision, scale, expected) in [
            ("0.99", 2, 1, "1.0"),
            ("-0.05", 2, 1, "-0.1"),
            ("0.049", 2, 1, "0.0"),
            ("1.5E2", 5, 1, "150.0"),
            ("12e-3", 5, 3, "0.012"),
            ("+.5", 3, 2, "0.50"),
            ("1e-400", 3, 2, "0.00"),
        ] {
            assert_eq!(round_trip(text, precision, scale).as_deref(), Ok(expected), "{text}");
        }
        for text in ["0", "-0.0", "12.345", "-12.345", "999999999999999999", "0.05", ".5", "7.", "00012.50", "-99.995"]
        {
            for (precision, scale) in [(20, 2), (18, 0), (5, 3), (76, 60)] {
                if let Some(short) = parse_short(text, precision, scale) {
                    assert_eq!(Ok(short), parse_long(text, precision, scale), "{text}");
                }
            }
        }
        assert!(round_trip("10", 2, 1).unwrap_err().starts_with("Numeric field overflow"));
        assert!(round_trip("9.99", 2, 1).is_err());
        assert!(round_trip("abc", 2, 1).is_err());
    }

    #[test]
    fn divides_half_up_away_from_zero() {
        let of = |v: i128, by: i128| divide_half_up(i256::from_i128(v), i256::from_i128(by)).to_i128();
        assert_eq!(of(5, 2), Some(3));
        assert_eq!(of(-5, 2), Some(-3));
        assert_eq!(of(5, -2), Some(-3));
        assert_eq!(of(4, 3), Some(1));
    }
}

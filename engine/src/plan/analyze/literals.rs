//! Literals: what a written constant is, and what else it may become.
//!
//! | written | is | may become |
//! |---|---|---|
//! | `1`, `3000000000` | INTEGER, BIGINT | wider numbers, a DECIMAL it fits exactly |
//! | `1.50`, `.5` | DECIMAL(3, 2), DECIMAL(2, 1) | a DECIMAL it fits exactly, DOUBLE |
//! | `1e3` | DOUBLE | |
//! | `'2020-01-01'` | STRING | DATE, TIME, TIMESTAMP, BYTES (base64); in lists also numbers and BOOLEAN |
//!
//! A DECIMAL's precision and scale are those of its digits; a value between -1 and 1 has one whole digit.

use base64::Engine as _;

use crate::functions::values::civil;
use crate::functions::values::text::double_text;
use crate::plan::expr::{Expr, ExprKind, Value};
use crate::sql::ast;
use crate::types::{DECIMAL_PRECISION_MAX, SqlType};

/// The typed constant; `None` for the untyped NULL.
pub fn literal(literal: &ast::Literal) -> Option<Expr> {
    Some(match literal {
        ast::Literal::Null => return None,
        ast::Literal::Boolean(b) => Expr::literal(Value::Boolean(*b), SqlType::Boolean),
        ast::Literal::Integer(i) => Expr::literal(Value::Integer(*i), SqlType::Integer),
        ast::Literal::Bigint(i) => Expr::literal(Value::Bigint(*i), SqlType::Bigint),
        ast::Literal::Double(d) => Expr::literal(Value::Double(*d), SqlType::Double),
        ast::Literal::String(s) => Expr::literal(Value::String(s.clone()), SqlType::String),
        ast::Literal::Decimal(text) => match DecimalText::parse(text) {
            Some(decimal) => Expr::literal(Value::Decimal(decimal.canonical()), decimal.sql_type()),
            // Too many digits for any DECIMAL.
            None => Expr::literal(Value::Double(text.parse().unwrap_or(f64::NAN)), SqlType::Double),
        },
    })
}

/// `expr` itself as a constant of `ty`, if it is a constant and has that value exactly. Strings are only read as
/// times and bytes here; lists have rules of their own.
pub fn convert(expr: &Expr, ty: &SqlType) -> Option<Expr> {
    let ExprKind::Literal(value) = &expr.kind else { return None };
    let value = match (value, ty) {
        (value, ty) if expr.ty == *ty => return Some(Expr::literal(value.clone(), ty.clone())),
        (Value::Integer(i), SqlType::Bigint) => Value::Bigint(i64::from(*i)),
        (Value::Integer(i), SqlType::Double) => Value::Double(f64::from(*i)),
        (Value::Bigint(i), SqlType::Double) => Value::Double(*i as f64),
        (Value::Decimal(text), SqlType::Double) => Value::Double(text.parse().ok()?),
        (Value::Integer(i), SqlType::Decimal { precision, scale }) => {
            Value::Decimal(DecimalText::parse(&i.to_string())?.fit(*precision, *scale)?)
        }
        (Value::Bigint(i), SqlType::Decimal { precision, scale }) => {
            Value::Decimal(DecimalText::parse(&i.to_string())?.fit(*precision, *scale)?)
        }
        (Value::Decimal(text), SqlType::Decimal { precision, scale }) => {
            Value::Decimal(DecimalText::parse(text)?.fit(*precision, *scale)?)
        }
        (Value::String(text), SqlType::Timestamp) => Value::Timestamp(civil::parse_timestamp(text).ok()?),
        (Value::String(text), SqlType::Date) => Value::Date(civil::parse_date(text).ok()?),
        (Value::String(text), SqlType::Time) => Value::Time(civil::parse_time(text).ok()?),
        (Value::String(text), SqlType::Bytes) => {
            Value::Bytes(base64::engine::general_purpose::STANDARD.decode(text).ok()?)
        }
        _ => return None,
    };
    Some(Expr::literal(value, ty.clone()))
}

/// A number written in a string: `'10'` is an INTEGER, `'4.000'` a DECIMAL(4, 3), `'2e1'` a DECIMAL(2, 0).
pub fn number_in_string(text: &str) -> Option<Expr> {
    if let Ok(i) = text.parse::<i32>() {
        return Some(Expr::literal(Value::Integer(i), SqlType::Integer));
    }
    if let Ok(i) = text.parse::<i64>() {
        return Some(Expr::literal(Value::Bigint(i), SqlType::Bigint));
    }
    let decimal = DecimalText::parse(text)?;
    Some(Expr::literal(Value::Decimal(decimal.canonical()), decimal.sql_type()))
}

/// `true`, `yes`, `false`, `no` or the start of one of them, in any case.
pub fn boolean_in_string(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    if text.is_empty() {
        return None;
    }
    if "true".starts_with(&text) || "yes".starts_with(&text) {
        return Some(true);
    }
    ("false".starts_with(&text) || "no".starts_with(&text)).then_some(false)
}

/// What a constant reads as where a STRING is wanted.
pub fn as_text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Boolean(b) => b.to_string(),
        Value::Integer(i) => i.to_string(),
        Value::Bigint(i) => i.to_string(),
        Value::Decimal(text) | Value::String(text) => text.clone(),
        Value::Double(d) => double_text(*d),
        _ => return None,
    })
}

/// The digits of a decimal number: `-12.50` is negative, `1250`, scale 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecimalText {
    negative: bool,
    /// Without leading zeros; `0` is one digit.
    digits: String,
    scale: usize,
}

/// The type of a decimal literal: as many digits as are written. None if it has more than a DECIMAL may have.
pub fn decimal_type(text: &str) -> Option<SqlType> {
    DecimalText::parse(text).map(|decimal| decimal.sql_type())
}

impl DecimalText {
    /// Plain or exponent form. None if it is no number or has more digits than a DECIMAL may have.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.len() + fraction.len() == 0 || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let mut digits = all.trim_start_matches('0').to_string();
        let scale = i64::try_from(fraction.len()).ok()? - i64::from(exponent);
        if scale > i64::from(DECIMAL_PRECISION_MAX) || -scale > i64::from(DECIMAL_PRECISION_MAX) {
            return None;
        }
        if digits.is_empty() {
            digits.push('0');
        } else if scale < 0 {
            digits.extend(std::iter::repeat_n('0', usize::try_from(-scale).ok()?));
        }
        let decimal = Self { negative, digits, scale: usize::try_from(scale.max(0)).ok()? };
        (decimal.precision() <= usize::from(DECIMAL_PRECISION_MAX)).then_some(decimal)
    }

    /// Digits on both sides, with one whole digit at least.
    fn precision(&self) -> usize {
        self.digits.len().max(self.scale + 1)
    }

    /// As `Value::Decimal` keeps it: `-0.50`.
    pub fn canonical(&self) -> String {
        let sign = if self.negative && self.digits != "0" { "-" } else { "" };
        let digits = format!("{:0>width$}", self.digits, width = self.scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - self.scale);
        if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    }

    pub fn sql_type(&self) -> SqlType {
        SqlType::decimal(self.precision() as u8, self.scale as u8)
    }

    /// The same number with `scale`, if that loses no digit and `precision` suffices.
    pub fn fit(mut self, precision: u8, scale: u8) -> Option<String> {
        let (precision, scale) = (usize::from(precision), usize::from(scale));
        if self.digits == "0" {
            self.scale = scale;
            return Some(self.canonical());
        }
        while self.scale > scale {
            if self.digits.pop()? != '0' {
                return None;
            }
            self.scale -= 1;
        }
        while self.scale < scale {
            self.digits.push('0');
            self.scale += 1;
        }
        (self.digits.len() <= precision).then(|| self.canonical())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, SqlType)> {
        DecimalText::parse(text).map(|d| (d.canonical(), d.sql_type()))
    }

    #[test]
    fn a_decimal_has_the_digits_it_is_written_with() {
        assert_eq!(parsed("1.50"), Some(("1.50".into(), SqlType::decimal(3, 2))));
        assert_eq!(parsed(".5"), Some(("0.5".into(), SqlType::decimal(2, 1))));
        assert_eq!(parsed("1."), Some(("1".into(), SqlType::decimal(1, 0))));
        assert_eq!(parsed("-0.005"), Some(("-0.005".into(), SqlType::decimal(4, 3))));
        assert_eq!(parsed("0012.0"), Some(("12.0".into(), SqlType::decimal(3, 1))));
        assert_eq!(parsed("2e1"), Some(("20".into(), SqlType::decimal(2, 0))));
        assert_eq!(parsed("1.5e-3"), Some(("0.0015".into(), SqlType::decimal(5, 4))));
        for bad in ["", "-", "x", "1.2.3", "1e", "1e999999", "é"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn fitting_never_rounds() {
        let fit = |text: &str, p, s| DecimalText::parse(text).and_then(|d| d.fit(p, s));
        assert_eq!(fit("12.5", 4, 2), Some("12.50".into()));
        assert_eq!(fit("12.500", 4, 2), Some("12.50".into()));
        assert_eq!(fit("12.555", 4, 2), None);
        assert_eq!(fit("123", 4, 2), None);
        assert_eq!(fit("0.000", 2, 1), Some("0.0".into()));
    }

    #[test]
    fn strings_in_lists_read_as_numbers_and_booleans() {
        assert_eq!(number_in_string("2147483648").map(|e| e.ty), Some(SqlType::Bigint));
        assert_eq!(number_in_string("4.000").map(|e| e.ty), Some(SqlType::decimal(4, 3)));
        assert_eq!(number_in_string("not a number"), None);
        assert_eq!(boolean_in_string("Tr"), Some(true));
        assert_eq!(boolean_in_string("NO"), Some(false));
        assert_eq!(boolean_in_string("Not a boolean"), None);
    }
}

//! Numbers as text, both ways, exactly: no decimal ever passes through a double.
//!
//! | text | as DECIMAL(4, 2) | as BIGINT | as DOUBLE |
//! |---|---|---|---|
//! | `10` | `10.00` | 10 | `10.0` |
//! | `1e1` | `10.00` | 10 | `10.0` |
//! | `9.999` | does not fit without rounding | 9 | `9.999` |
//! | `100` | does not fit | 100 | `100.0` |
//!
//! Doubles print as Java prints them: `10.0`, `0.001`, `1.0E7`, `1.5E-7`, with the fewest digits that read back.

use std::io::Write;

use arrow::datatypes::i256;

/// A decimal number as written: `(-1)^negative × digits × 10^-scale`. Leading zeros are stripped; zero has no digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecimalText {
    pub negative: bool,
    pub digits: String,
    pub scale: i64,
}

impl DecimalText {
    /// What Java's `new BigDecimal(text)` takes: sign, digits with at most one point, exponent.
    pub fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => {
                let exponent = &text[at + 1..];
                let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return None;
                }
                (&text[..at], i64::from(exponent.parse::<i32>().ok()?))
            }
            None => (text, 0),
        };
        let (negative, mantissa) = match mantissa.as_bytes().first()? {
            b'-' => (true, &mantissa[1..]),
            b'+' => (false, &mantissa[1..]),
            _ => (false, mantissa),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.len() + fraction.len() == 0 || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return None;
        }
        let mut digits = String::with_capacity(whole.len() + fraction.len());
        digits.push_str(whole.trim_start_matches('0'));
        if digits.is_empty() {
            digits.push_str(fraction.trim_start_matches('0'));
        } else {
            digits.push_str(fraction);
        }
        Some(Self { negative, digits, scale: fraction.len() as i64 - exponent })
    }

    /// The unscaled value of DECIMAL(precision, scale), if it fits without rounding.
    pub fn to_decimal(&self, precision: u8, scale: u8) -> Option<i256> {
        let trimmed = self.digits.trim_end_matches('0');
        if trimmed.is_empty() {
            return Some(i256::ZERO);
        }
        let scale_in = self.scale - (self.digits.len() - trimmed.len()) as i64;
        let zeros = i64::from(scale) - scale_in;
        if zeros < 0 || trimmed.len() as i64 + zeros > i64::from(precision) {
            return None;
        }
        let mut text = String::with_capacity(trimmed.len() + zeros as usize + 1);
        if self.negative {
            text.push('-');
        }
        text.push_str(trimmed);
        text.extend(std::iter::repeat_n('0', zeros as usize));
        match text.len() {
            0..=38 => text.parse::<i128>().ok().map(i256::from_i128),
            _ => i256::from_string(&text),
        }
    }

    /// The whole part, if it fits.
    pub fn to_long(&self) -> Option<i64> {
        let whole = self.digits.len() as i64 - self.scale;
        if whole <= 0 {
            return Some(0);
        }
        if whole > 19 {
            return if self.digits.is_empty() { Some(0) } else { None };
        }
        let mut text = String::with_capacity(20);
        if self.negative {
            text.push('-');
        }
        text.extend(self.digits.chars().chain(std::iter::repeat('0')).take(whole as usize));
        text.parse().ok()
    }

    /// As Java's `BigDecimal.toString`: plain, or with an exponent when the scale is negative or the value tiny.
    pub fn java_text(&self) -> String {
        let digits = if self.digits.is_empty() { "0" } else { &self.digits };
        let sign = if self.negative && !self.digits.is_empty() { "-" } else { "" };
        let adjusted = digits.len() as i64 - 1 - self.scale;
        if self.scale == 0 {
            return format!("{sign}{digits}");
        }
        if self.scale > 0 && adjusted >= -6 {
            return format!("{sign}{}", with_point(digits, self.scale as usize));
        }
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        format!("{sign}{first}{point}{rest}E{adjusted:+}")
    }

    /// As Java's `BigDecimal.toPlainString`; None for a number of absurd length.
    pub fn plain_text(&self) -> Option<String> {
        if self.scale.abs() > 10_000 {
            return None;
        }
        let digits = if self.digits.is_empty() { "0" } else { &self.digits };
        let sign = if self.negative && !self.digits.is_empty() { "-" } else { "" };
        Some(if self.scale > 0 {
            format!("{sign}{}", with_point(digits, self.scale as usize))
        } else if self.digits.is_empty() {
            "0".to_string()
        } else {
            format!("{sign}{digits}{}", "0".repeat(self.scale.unsigned_abs() as usize))
        })
    }
}

fn with_point(digits: &str, scale: usize) -> String {
    if digits.len() > scale {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        format!("{whole}.{fraction}")
    } else {
        format!("0.{}{digits}", "0".repeat(scale - digits.len()))
    }
}

/// What Java's `Double.parseDouble` takes, hexadecimal forms left out.
pub fn parse_double(text: &str) -> Option<f64> {
    let text = text.trim_matches(|c: char| c <= ' ');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned {
        "NaN" => return Some(f64::NAN),
        "Infinity" => return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
        _ => {}
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text).parse().ok()
}

/// As Java's `Double.toString`: the shortest digits that read back, but two where one would do (`4.9E-324`), and more for
/// whole numbers beyond 2^53, whose digits are those of the integer less the ones that cannot matter (JDK 17).
pub fn write_double(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
    let size = value.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return push_fmt(out, format_args!("{value:?}"));
    }
    let start = out.len();
    if (9_007_199_254_740_992.0..9_223_372_036_854_775_808.0).contains(&size) {
        let mut digits = size as u64;
        let dropped = digits_that_cannot_matter(size);
        if dropped > 0 {
            let unit = 10u64.pow(dropped);
            digits = (digits + unit / 2) / unit;
        }
        let digits = digits.to_string();
        let exponent = digits.len() as u32 - 1 + dropped;
        let (first, rest) = digits.split_at(1);
        let rest = rest.trim_end_matches('0');
        let sign = if value < 0.0 { "-" } else { "" };
        return push_fmt(out, format_args!("{sign}{first}.{}E{exponent}", if rest.is_empty() { "0" } else { rest }));
    }
    push_fmt(out, format_args!("{value:e}"));
    if out.get(start + 1 + usize::from(value < 0.0)) == Some(&b'e') {
        // One digit: if two digits closer to the value read back as well, Java shows those.
        let two = format!("{value:.1e}");
        if two.parse() == Ok(value) {
            out.truncate(start);
            out.extend_from_slice(two.as_bytes());
        }
    }
    if let Some(e) = out[start..].iter().position(|&b| b == b'e') {
        out[start + e] = b'E';
        if !out[start..start + e].contains(&b'.') {
            out.splice(start + e..start + e, *b".0");
        }
    }
}

/// Of a whole double from 2^53 to 2^63: how many of its last decimal digits lie below half of its last bit.
fn digits_that_cannot_matter(size: f64) -> u32 {
    let exponent = (size.to_bits() >> 52) as u32 - 1023;
    (f64::from(exponent.saturating_sub(54)) * std::f64::consts::LOG10_2) as u32
}

/// The digits of an integer.
pub fn write_long(value: i64, out: &mut Vec<u8>) {
    let mut buffer = [0u8; 20];
    let mut at = buffer.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&buffer[at..]);
}

/// A decimal with all digits of its scale and no exponent: `-0.50`.
pub fn write_decimal(unscaled: i256, scale: usize, out: &mut Vec<u8>) {
    let mut buffer = [0u8; 80];
    let mut at = buffer.len();
    let negative = unscaled.is_negative();
    match unscaled.to_i128() {
        Some(small) => {
            let mut rest = small.unsigned_abs();
            while rest != 0 {
                at -= 1;
                buffer[at] = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        None => {
            for b in unscaled.to_string().bytes().rev().filter(u8::is_ascii_digit) {
                at -= 1;
                buffer[at] = b;
            }
        }
    }
    while buffer.len() - at <= scale {
        at -= 1;
        buffer[at] = b'0';
    }
    if negative {
        out.push(b'-');
    }
    let point = buffer.len() - scale;
    out.extend_from_slice(&buffer[at..point]);
    if scale > 0 {
        out.push(b'.');
        out.extend_from_slice(&buffer[point..]);
    }
}

pub(super) fn push_fmt(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(value: f64) -> String {
        let mut out = Vec::new();
        write_double(value, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn doubles_print_as_java_prints_them() {
        for (value, text) in [
            (10.0, "10.0"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (1e7, "1.0E7"),
            (9_999_999.0, "9999999.0"),
            (1.5e-7, "1.5E-7"),
            (-0.0, "-0.0"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
            (-5e-324, "-4.9E-324"),
            (2f64.powi(62), "4.6116860184273879E18"),
            (3.0744573456182584e18, "3.0744573456182584E18"),
            (1e18, "1.0E18"),
            (1e23, "1.0E23"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(double(value), text);
        }
    }

    #[test]
    fn decimals_fit_exactly_or_not_at_all() {
        let fit = |text: &str| DecimalText::parse(text).and_then(|d| d.to_decimal(4, 2)).map(|d| d.to_string());
        assert_eq!(fit("10").as_deref(), Some("1000"));
        assert_eq!(fit("1e1").as_deref(), Some("1000"));
        assert_eq!(fit("-.5").as_deref(), Some("-50"));
        assert_eq!(fit("1.500").as_deref(), Some("150"));
        assert_eq!(fit("9.999"), None);
        assert_eq!(fit("100"), None);
        assert_eq!(fit("0e99999"), Some("0".to_string()));
        assert_eq!(fit("1e99999"), None);
        assert_eq!(fit("1e"), None);
        assert_eq!(fit("."), None);
    }

    #[test]
    fn whole_parts_are_cut_not_rounded() {
        let long = |text: &str| DecimalText::parse(text).and_then(|d| d.to_long());
        assert_eq!(long("9.99"), Some(9));
        assert_eq!(long("-9.99"), Some(-9));
        assert_eq!(long("0.0012"), Some(0));
        assert_eq!(long("1e3"), Some(1000));
        assert_eq!(long("0e30"), Some(0));
        assert_eq!(long("9223372036854775808"), None);
    }

    #[test]
    fn decimal_text_prints_as_javas_big_decimal() {
        let java = |text: &str| DecimalText::parse(text).map(|d| d.java_text());
        assert_eq!(java("10.50").as_deref(), Some("10.50"));
        assert_eq!(java("1e10").as_deref(), Some("1E+10"));
        assert_eq!(java("0.0000001").as_deref(), Some("1E-7"));
        assert_eq!(java("1.5e3").as_deref(), Some("1.5E+3"));
    }

    #[test]
    fn wide_decimals_print_every_digit() {
        let mut out = Vec::new();
        write_decimal(i256::from_i128(-5), 2, &mut out);
        out.push(b' ');
        write_decimal(i256::from_string(&"9".repeat(76)).unwrap_or_default(), 38, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), format!("-0.05 {0}.{0}", "9".repeat(38)));
    }
}

//! Is what came what was expected? (ksqlDB's rules of comparison.)
//!
//! | actual | expected fits if |
//! |---|---|
//! | whole number | its whole part is the same |
//! | number of JSON with a fraction | same value with the same number of decimals: `1.0` is not `1.00` |
//! | double of another format | within a millionth |
//! | text | equal; a number also fits its own text |
//! | object | as many fields, each found by its name or else by its name in upper case |

use headwater_engine::format::number::DecimalText;
use serde_json::{Number, Value};

use super::case::Record;

/// How fractions are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fractions {
    Exact,
    Nearly,
}

/// The first difference, with the path to it.
pub fn difference(expected: &Value, actual: &Value, fractions: Fractions) -> Option<String> {
    differ(expected, actual, fractions, &mut String::new())
}

fn differ(expected: &Value, actual: &Value, fractions: Fractions, path: &mut String) -> Option<String> {
    let differs = |path: &str| {
        let place = if path.is_empty() { String::new() } else { format!(" at {path}") };
        Some(format!("expected {expected}, got {actual}{place}"))
    };
    let length = path.len();
    match (expected, actual) {
        (Value::Null, Value::Null) => None,
        (Value::Bool(a), Value::Bool(b)) if a == b => None,
        (Value::String(a), Value::String(b)) if a == b => None,
        (Value::Number(a), Value::Number(b)) if numbers_match(a, b, fractions) => None,
        (Value::String(a), Value::Number(b)) if is_fraction(b) && same_decimal(a, &b.to_string()) => None,
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(i, (a, b))| {
                path.truncate(length);
                path.push_str(&format!("[{i}]"));
                differ(a, b, fractions, path)
            })
        }
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => a.iter().find_map(|(name, expected)| {
            path.truncate(length);
            path.push_str(&format!(".{name}"));
            let found = match b.get(name) {
                Some(Value::Null) | None => b.get(&name.to_uppercase()),
                found => found,
            };
            // A field that is missing counts as null; as many fields there must be.
            differ(expected, found.unwrap_or(&Value::Null), fractions, path)
        }),
        _ => differs(path),
    }
}

fn is_fraction(number: &Number) -> bool {
    number.to_string().contains(['.', 'e', 'E'])
}

fn same_decimal(a: &str, b: &str) -> bool {
    match (DecimalText::parse(a), DecimalText::parse(b)) {
        (Some(mut a), Some(mut b)) => {
            // Zero has no sign.
            for d in [&mut a, &mut b] {
                d.negative &= !d.digits.is_empty();
            }
            a == b
        }
        _ => false,
    }
}

/// A whole number without exponent fits the same number written with one: `1000` and `1.0E3`.
fn same_whole(expected: &str, actual: &str) -> bool {
    let plain = |text: &str| DecimalText::parse(text).filter(|d| d.scale <= 0).and_then(|d| d.plain_text());
    !expected.contains(['.', 'e', 'E']) && plain(actual).as_deref() == Some(expected)
}

fn numbers_match(expected: &Number, actual: &Number, fractions: Fractions) -> bool {
    let (expected, text) = (expected.to_string(), actual.to_string());
    if !is_fraction(actual)
        && let Ok(whole) = text.parse::<i64>()
    {
        return DecimalText::parse(&expected).and_then(|d| d.to_long()) == Some(whole);
    }
    match fractions {
        Fractions::Exact => same_decimal(&expected, &text) || same_whole(&expected, &text),
        Fractions::Nearly => match (expected.parse::<f64>(), text.parse::<f64>()) {
            (Ok(a), Ok(b)) => (a - b).abs() < 1e-6 || a == b,
            _ => false,
        },
    }
}

/// Compares the records of one topic, in order.
pub fn records_differ(
    topic: &str,
    expected: &[&Record],
    actual: &[Actual],
    any_zero_time: bool,
    keys: Fractions,
    values: Fractions,
) -> Option<String> {
    for (i, expected) in expected.iter().enumerate() {
        let Some(actual) = actual.get(i) else { break };
        let found = record_differs(expected, actual, any_zero_time, keys, values);
        if let Some(difference) = found {
            return Some(format!("topic {topic}, record {i}: {difference}"));
        }
    }
    if expected.len() == actual.len() {
        return None;
    }
    let surplus = actual.get(expected.len()).map(|r| format!("; the first surplus one: {}", r.json));
    Some(format!(
        "topic {topic}: expected {} records, got {}{}",
        expected.len(),
        actual.len(),
        surplus.unwrap_or_default()
    ))
}

/// A record as read, rendered.
#[derive(Debug, Clone)]
pub struct Actual {
    pub record: Record,
    /// As the report shows it.
    pub json: Value,
}

fn record_differs(
    expected: &Record,
    actual: &Actual,
    any_zero_time: bool,
    keys: Fractions,
    values: Fractions,
) -> Option<String> {
    let got = &actual.record;
    if let Some(difference) = difference(&expected.key, &got.key, keys) {
        return Some(format!("key: {difference}"));
    }
    if expected.window != got.window {
        return Some(format!("window: expected {:?}, got {:?}", expected.window, got.window));
    }
    if let Some(difference) = difference(&expected.value, &got.value, values) {
        return Some(format!("value: {difference}"));
    }
    if let Some(time) = expected.timestamp
        && got.timestamp != Some(time)
        && !(any_zero_time && time == 0)
    {
        return Some(format!("timestamp: expected {time}, got {}", got.timestamp.unwrap_or_default()));
    }
    if expected.headers != got.headers {
        return Some(format!("headers: expected {:?}, got {:?}", expected.headers, got.headers));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(expected: &str, actual: &str, fractions: Fractions) -> bool {
        match (serde_json::from_str(expected), serde_json::from_str(actual)) {
            (Ok(expected), Ok(actual)) => difference(&expected, &actual, fractions).is_none(),
            _ => false,
        }
    }

    #[test]
    fn decimals_count_their_digits() {
        assert!(same("1.50", "1.50", Fractions::Exact));
        assert!(same("1.50", "150e-2", Fractions::Exact));
        assert!(!same("1.5", "1.50", Fractions::Exact));
        assert!(!same("1", "1.0", Fractions::Exact));
        assert!(same("1.0", "1", Fractions::Exact));
        assert!(same("\"1.50\"", "1.50", Fractions::Exact));
        assert!(same("1000", "1.0E3", Fractions::Exact));
        assert!(!same("1000", "1000.0", Fractions::Exact));
        assert!(same("0.3", "0.30000000000000004", Fractions::Nearly));
        assert!(!same("0.3", "0.30000000000000004", Fractions::Exact));
    }

    #[test]
    fn fields_are_counted_and_found_in_upper_case() {
        assert!(same(r#"{"a":1}"#, r#"{"A":1}"#, Fractions::Exact));
        assert!(!same("{}", r#"{"A":null}"#, Fractions::Exact));
        assert!(!same(r#"{"a":[1,2]}"#, r#"{"A":[2,1]}"#, Fractions::Exact));
        assert!(!same("null", "0", Fractions::Exact));
    }
}

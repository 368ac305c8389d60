//! What PRINT shows of bytes whose format nobody declared.
//!
//! Every record narrows the formats a side of the topic may have; what is left is shown once and the first of them renders the
//! records. Text wins over numbers where both fit: four letters are more often a word than an integer.
//!
//! ```text
//! Key format: KAFKA_INT
//! Value format: JSON or KAFKA_STRING
//! rowtime: 1970/01/01 00:00:00.000 Z, key: 7, value: {"A":1}, partition: 0
//! ```
//!
//! (ksqlDB: *PRINT*. Its order puts numbers before text; otherwise alike.)

use super::json::is_object_or_array;
use super::number::write_double;
use super::temporal::civil;
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    Json,
    KafkaString,
    KafkaInt,
    KafkaBigint,
    KafkaDouble,
    Unrecognised,
}

impl Guess {
    /// In the order of preference.
    const ALL: [Guess; 6] =
        [Guess::Json, Guess::KafkaString, Guess::KafkaInt, Guess::KafkaBigint, Guess::KafkaDouble, Guess::Unrecognised];

    pub fn name(self) -> &'static str {
        match self {
            Guess::Json => "JSON",
            Guess::KafkaString => "KAFKA_STRING",
            Guess::KafkaInt => "KAFKA_INT",
            Guess::KafkaBigint => "KAFKA_BIGINT",
            Guess::KafkaDouble => "KAFKA_DOUBLE",
            Guess::Unrecognised => "UNRECOGNIZED_BYTES",
        }
    }

    fn fits(self, bytes: &[u8]) -> bool {
        match self {
            Guess::Json => std::str::from_utf8(bytes).is_ok_and(is_object_or_array),
            Guess::KafkaString => std::str::from_utf8(bytes)
                .is_ok_and(|text| !text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r'))),
            Guess::KafkaInt => bytes.len() == 4,
            Guess::KafkaBigint | Guess::KafkaDouble => bytes.len() == 8,
            Guess::Unrecognised => true,
        }
    }

    fn render(self, bytes: &[u8], out: &mut String) {
        use fmt::Write;
        let done = match self {
            Guess::Json | Guess::KafkaString => {
                out.push_str(&String::from_utf8_lossy(bytes));
                Ok(())
            }
            Guess::KafkaInt => match bytes.try_into() {
                Ok(int) => write!(out, "{}", i32::from_be_bytes(int)),
                Err(_) => Ok(()),
            },
            Guess::KafkaBigint => match bytes.try_into() {
                Ok(long) => write!(out, "{}", i64::from_be_bytes(long)),
                Err(_) => Ok(()),
            },
            Guess::KafkaDouble => {
                let mut text = Vec::new();
                if let Ok(double) = bytes.try_into() {
                    write_double(f64::from_be_bytes(double), &mut text);
                }
                out.push_str(&String::from_utf8_lossy(&text));
                Ok(())
            }
            Guess::Unrecognised => {
                out.push('[');
                for (i, byte) in bytes.iter().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    out.push_str(&(*byte as i8).to_string());
                }
                out.push(']');
                Ok(())
            }
        };
        done.expect("writing to memory does not fail");
    }
}

/// What one side of a topic may be, given what was seen of it.
#[derive(Debug, Clone)]
pub struct Sniffer {
    possible: Vec<Guess>,
    seen: bool,
}

impl Default for Sniffer {
    fn default() -> Self {
        Self { possible: Guess::ALL.to_vec(), seen: false }
    }
}

impl Sniffer {
    /// Takes another record into account. True if that changed what is possible.
    pub fn observe(&mut self, bytes: Option<&[u8]>) -> bool {
        let Some(bytes) = bytes else { return false };
        let before = (self.possible.len(), self.seen);
        self.seen = true;
        self.possible.retain(|guess| guess.fits(bytes));
        before != (self.possible.len(), self.seen)
    }

    /// `JSON or KAFKA_STRING`.
    pub fn names(&self) -> String {
        if !self.seen {
            return r"¯\_(ツ)_/¯ - no data processed".to_string();
        }
        let known: Vec<&str> =
            self.possible.iter().filter(|g| **g != Guess::Unrecognised).map(|guess| guess.name()).collect();
        if known.is_empty() { Guess::Unrecognised.name().to_string() } else { known.join(" or ") }
    }

    /// The record as the best guess reads it; `<null>` if there is none.
    pub fn render(&self, bytes: Option<&[u8]>) -> String {
        let Some(bytes) = bytes else { return "<null>".to_string() };
        let guess = self.possible.iter().copied().find(|g| g.fits(bytes)).unwrap_or(Guess::Unrecognised);
        let mut out = String::new();
        guess.render(bytes, &mut out);
        out
    }
}

/// Both sides of a topic.
#[derive(Debug, Clone, Default)]
pub struct Printer {
    key: Sniffer,
    value: Sniffer,
}

impl Printer {
    /// The lines PRINT shows for one record: the formats when they became clearer, then the record.
    pub fn lines(&mut self, time_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>, partition: u32) -> Vec<String> {
        let mut lines = Vec::new();
        if self.key.observe(key) {
            lines.push(format!("Key format: {}", self.key.names()));
        }
        if self.value.observe(value) {
            lines.push(format!("Value format: {}", self.value.names()));
        }
        lines.push(format!(
            "rowtime: {}, key: {}, value: {}, partition: {partition}",
            row_time(time_ms),
            self.key.render(key),
            self.value.render(value),
        ));
        lines
    }
}

/// `1970/01/01 00:00:00.000 Z`.
fn row_time(ms: i64) -> String {
    let (year, month, day) = civil(ms.div_euclid(86_400_000));
    let of_day = ms.rem_euclid(86_400_000);
    format!(
        "{year:04}/{month:02}/{day:02} {:02}:{:02}:{:02}.{:03} Z",
        of_day / 3_600_000,
        of_day / 60_000 % 60,
        of_day / 1000 % 60,
        of_day % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_guessed_and_narrowed() {
        let mut printer = Printer::default();
        assert_eq!(
            printer.lines(0, Some(&[0, 0, 0, 7]), Some(b"{\"A\":1}"), 0),
            [
                "Key format: KAFKA_INT",
                "Value format: JSON or KAFKA_STRING",
                "rowtime: 1970/01/01 00:00:00.000 Z, key: 7, value: {\"A\":1}, partition: 0",
            ]
        );
        assert_eq!(
            printer.lines(1, None, Some(b"plain"), 2),
            [
                "Value format: KAFKA_STRING",
                "rowtime: 1970/01/01 00:00:00.001 Z, key: <null>, value: plain, partition: 2"
            ]
        );
        assert_eq!(
            printer.lines(1, Some(&[255]), None, 0),
            [
                "Key format: UNRECOGNIZED_BYTES",
                "rowtime: 1970/01/01 00:00:00.001 Z, key: [-1], value: <null>, partition: 0"
            ]
        );
    }
}

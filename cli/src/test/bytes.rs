//! Records as cases write them ↔ bytes. Written apart from the engine's formats on purpose: it is what judges them.
//!
//! | format | in the case |
//! |---|---|
//! | KAFKA | the bare value: INTEGER, BIGINT, DOUBLE as numbers, STRING and BYTES as text; text as it is without columns |
//! | DELIMITED | one string |
//! | JSON | the JSON itself |
//! | NONE | anything |
//! | PROTOBUF_NOSR | a JSON rendering, converted by the engine's own formats |

use arrow::array::{Array, BinaryArray};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use headwater_engine::format::{self, FormatName, FormatSpec, Nullable};
use headwater_engine::schema::Column;
use headwater_engine::types::SqlType;
use serde_json::{Number, Value};

use super::case::Window;

/// One side of a topic's records, as its source declares it.
#[derive(Debug, Clone)]
pub struct Side {
    pub part: format::Side,
    pub format: FormatName,
    /// Of PROTOBUF_NOSR.
    pub nullable: Nullable,
    pub columns: Vec<Column>,
}

pub fn encode(side: &Side, value: &Value) -> Result<Option<Vec<u8>>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let text = || value.as_str().map_or_else(|| value.to_string(), str::to_string).into_bytes();
    let bytes = match side.format {
        FormatName::None | FormatName::Delimited => text(),
        FormatName::Json if side.columns.is_empty() && value.is_string() => text(),
        FormatName::Json => value.to_string().into_bytes(),
        FormatName::Kafka => match side.columns.as_slice() {
            [column] => kafka(&column.ty, value)?,
            _ => text(),
        },
        other => return converted(side, FormatName::Json, other, value.to_string().as_bytes()),
    };
    Ok(Some(bytes))
}

/// Bytes of one format as bytes of another, through the declared columns.
fn converted(side: &Side, from: FormatName, to: FormatName, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let open = |name| {
        let spec = FormatSpec { nullable: side.nullable, ..FormatSpec::new(name) };
        format::create(&spec, &side.columns, side.part).map_err(|e| e.to_string())
    };
    let (from, to) = (open(from)?, open(to)?);
    let wanted: Vec<usize> = (0..side.columns.len()).collect();
    let read = from.decode(&BinaryArray::from_vec(vec![bytes]), &wanted).map_err(|e| e.to_string())?;
    if let Some(error) = read.errors.first() {
        return Err(error.message.clone());
    }
    let written = to.encode(&read.columns, read.null.as_ref()).map_err(|e| e.to_string())?.bytes;
    Ok((!written.is_empty() && written.is_valid(0)).then(|| written.value(0).to_vec()))
}

fn kafka(ty: &SqlType, value: &Value) -> Result<Vec<u8>, String> {
    let wrong = || format!("{value} cannot be written as {ty} in the KAFKA format");
    let number = || value.as_i64().or_else(|| value.as_str().and_then(|s| s.parse().ok())).ok_or_else(wrong);
    Ok(match ty {
        SqlType::Integer => i32::try_from(number()?).map_err(|_| wrong())?.to_be_bytes().to_vec(),
        SqlType::Bigint => number()?.to_be_bytes().to_vec(),
        SqlType::Double => {
            let double = value.as_f64().or_else(|| value.as_str().and_then(|s| s.parse().ok())).ok_or_else(wrong)?;
            double.to_be_bytes().to_vec()
        }
        _ => value.as_str().map_or_else(|| value.to_string(), str::to_string).into_bytes(),
    })
}

pub fn decode(side: &Side, bytes: Option<&[u8]>) -> Value {
    let Some(bytes) = bytes else { return Value::Null };
    let text = || Value::String(String::from_utf8_lossy(bytes).into_owned());
    match side.format {
        FormatName::Json => serde_json::from_slice(bytes).unwrap_or_else(|_| text()),
        FormatName::Kafka => match side.columns.first().map(|c| &c.ty) {
            Some(SqlType::Integer) => bytes.try_into().map_or_else(|_| text(), |b| i32::from_be_bytes(b).into()),
            Some(SqlType::Bigint) => bytes.try_into().map_or_else(|_| text(), |b| i64::from_be_bytes(b).into()),
            Some(SqlType::Double) => {
                let double = bytes.try_into().ok().map(f64::from_be_bytes);
                double.and_then(Number::from_f64).map_or_else(text, Value::Number)
            }
            _ => text(),
        },
        FormatName::None | FormatName::Delimited => text(),
        other => match converted(side, other, FormatName::Json, bytes) {
            Ok(Some(json)) => serde_json::from_slice(&json).unwrap_or_else(|_| text()),
            Ok(None) => Value::Null,
            Err(_) => Value::String(BASE64.encode(bytes)),
        },
    }
}

/// Key bytes with the window that follows them.
pub fn join_window(mut key: Vec<u8>, window: &Window) -> Vec<u8> {
    if window.session {
        key.extend(window.end.to_be_bytes());
    }
    key.extend(window.start.to_be_bytes());
    key
}

/// `size_ms`: None for sessions.
pub fn split_window(key: &[u8], size_ms: Option<i64>) -> Option<(&[u8], Window)> {
    let (rest, start) = key.split_last_chunk::<8>()?;
    let start = i64::from_be_bytes(*start);
    match size_ms {
        Some(size) => Some((rest, Window { start, end: start.saturating_add(size), session: false })),
        None => {
            let (rest, end) = rest.split_last_chunk::<8>()?;
            Some((rest, Window { start, end: i64::from_be_bytes(*end), session: true }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafka_values_are_bare() {
        let side = |ty| Side {
            part: format::Side::Key,
            format: FormatName::Kafka,
            nullable: Nullable::Implicit,
            columns: vec![Column::new("K", ty)],
        };
        for (ty, value) in [
            (SqlType::Integer, Value::from(-1)),
            (SqlType::Bigint, Value::from(1_i64 << 40)),
            (SqlType::Double, Value::from(1.5)),
            (SqlType::String, Value::from("x")),
            (SqlType::String, Value::Null),
        ] {
            let side = side(ty);
            assert_eq!(encode(&side, &value).map(|bytes| decode(&side, bytes.as_deref())), Ok(value));
        }
    }
}

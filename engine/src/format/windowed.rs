//! Windowed keys: the bytes of the key, then the window's bounds as 8-byte big-endian milliseconds.
//!
//! | window | bytes |
//! |---|---|
//! | tumbling, hopping | key, start |
//! | session | key, end, start |
//!
//! (Kafka Streams' windowed serialisers.) A time window's end is not written; the reader knows the size.

use arrow::array::{Array, BinaryArray, BinaryBuilder, Int64Array};

use crate::error::RowError;
use crate::plan::steps::{WindowInfo, WindowType};
use crate::rows::Windows;

/// Keys without their windows; rows whose key is too short for a window.
#[derive(Debug, Clone)]
pub struct SplitKeys {
    /// Null where the windowed key is null or too short.
    pub keys: BinaryArray,
    pub windows: Windows,
    pub errors: Vec<RowError>,
}

/// Appends to each key its window. Null keys stay null.
pub fn join(keys: &BinaryArray, windows: &Windows, kind: WindowType) -> BinaryArray {
    let mut out = BinaryBuilder::with_capacity(keys.len(), keys.value_data().len() + keys.len() * 16);
    let mut key = Vec::new();
    for row in 0..keys.len() {
        if keys.is_null(row) {
            out.append_null();
            continue;
        }
        key.clear();
        key.extend_from_slice(keys.value(row));
        if kind == WindowType::Session {
            key.extend_from_slice(&windows.end.value(row).to_be_bytes());
        }
        key.extend_from_slice(&windows.start.value(row).to_be_bytes());
        out.append_value(&key);
    }
    out.finish()
}

/// Takes keys and windows apart. Where there is no key the window is `[0, 0)`.
pub fn split(keys: &BinaryArray, info: &WindowInfo) -> SplitKeys {
    let mut inner = BinaryBuilder::with_capacity(keys.len(), keys.value_data().len());
    let (mut start, mut end) = (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
    let mut errors = Vec::new();
    for row in 0..keys.len() {
        let parts = if keys.is_null(row) { None } else { Some(split_one(keys.value(row), info)) };
        let (key, window) = match parts {
            Some(Some((key, from, to))) => (Some(key), (from, to)),
            Some(None) => {
                let bytes = keys.value(row).len();
                errors.push(RowError::new(row, format!("a key of {bytes} bytes is too short for a window")));
                (None, (0, 0))
            }
            None => (None, (0, 0)),
        };
        inner.append_option(key);
        start.push(window.0);
        end.push(window.1);
    }
    SplitKeys {
        keys: inner.finish(),
        windows: Windows { start: Int64Array::from(start), end: Int64Array::from(end) },
        errors,
    }
}

/// Key, start and end; None if the bytes are too short.
pub fn split_one<'a>(key: &'a [u8], info: &WindowInfo) -> Option<(&'a [u8], i64, i64)> {
    let (rest, start) = key.split_last_chunk::<8>()?;
    let start = i64::from_be_bytes(*start);
    if info.kind == WindowType::Session {
        let (rest, end) = rest.split_last_chunk::<8>()?;
        return Some((rest, start, i64::from_be_bytes(*end)));
    }
    Some((rest, start, start.saturating_add(info.size_ms.unwrap_or(i64::MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_windows_come_apart_as_they_were_joined() {
        let keys = BinaryArray::from_opt_vec(vec![Some(b"a".as_slice()), None, Some(b"")]);
        let windows = Windows { start: vec![0, 0, -5].into(), end: vec![30, 0, 25].into() };
        for (kind, size_ms) in [(WindowType::Tumbling, Some(30)), (WindowType::Session, None)] {
            let split = split(&join(&keys, &windows, kind), &WindowInfo { kind, size_ms });
            assert_eq!(split.keys, keys);
            assert_eq!(split.windows.start, windows.start);
            assert_eq!(split.windows.end, windows.end);
            assert!(split.errors.is_empty());
        }
    }

    #[test]
    fn short_keys_are_row_errors() {
        let info = WindowInfo { kind: WindowType::Session, size_ms: None };
        let split = split(&BinaryArray::from_vec(vec![b"too short"]), &info);
        assert!(split.keys.is_null(0));
        assert_eq!(split.errors.len(), 1);
    }
}

//! The order in which Java's `HashMap` gives its entries out.
//!
//! Where the order of a map's entries shows, ksqlDB's answers have this order: REDUCE over a map, MAP_KEYS, MAP_VALUES,
//! ENTRIES, and the text of a map. An entry stands in bucket `hash & (capacity - 1)`; within a bucket the order is that of
//! insertion. The capacity is the power of two that a map made for its number of entries ends up with.

use std::ops::Range;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};

/// Positions of the entries of one row in the order Java gives them out. Keys of other types than STRING, INT, BIGINT
/// and BOOLEAN stay as they are.
pub fn iteration_order(keys: &dyn Array, entries: Range<usize>) -> Vec<usize> {
    let count = entries.len();
    let mut order: Vec<usize> = entries.collect();
    if count > 1 && hash_of(keys, order[0]).is_some() {
        let mask = capacity(count) - 1;
        order.sort_by_key(|entry| hash_of(keys, *entry).map_or(0, |hash| (hash ^ (hash >> 16)) & mask));
    }
    order
}

/// Twice the next power of two if that would be filled by more than three quarters.
fn capacity(entries: usize) -> u32 {
    let power = entries.next_power_of_two();
    (if entries * 4 > power * 3 { power * 2 } else { power }) as u32
}

/// `hashCode`.
fn hash_of(keys: &dyn Array, row: usize) -> Option<u32> {
    Some(match keys.data_type() {
        DataType::Utf8 => keys
            .as_string::<i32>()
            .value(row)
            .encode_utf16()
            .fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit))),
        DataType::Int32 => keys.as_primitive::<Int32Type>().value(row) as u32,
        DataType::Int64 => {
            let value = keys.as_primitive::<Int64Type>().value(row) as u64;
            (value ^ (value >> 32)) as u32
        }
        DataType::Boolean => {
            if keys.as_boolean().value(row) {
                1231
            } else {
                1237
            }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::StringArray;

    #[test]
    fn entries_come_by_bucket() {
        let keys = StringArray::from(vec!["yes, thanks", "nope", "sure, yeah"]);
        assert_eq!(iteration_order(&keys, 0..3), [0, 2, 1]);
        assert_eq!(iteration_order(&keys, 1..2), [1]);
        assert_eq!([1, 2, 3, 4, 6, 7].map(capacity), [2, 4, 4, 8, 8, 16]);
    }
}

//! The order in which Java's `HashMap` gives its entries out.
//!
//! Where the order of a map's entries shows, ksqlDB's answers have this order: REDUCE over a map, MAP_KEYS, MAP_VALUES,
//! ENTRIES, and the text of a map. An entry stands in bucket `hash & (capacity - 1)`; within a bucket the order is that of
//! insertion. The capacity is the power of two that a map made for its number of entries ends up with.

use std::ops::Range;

use arrow::array::{Array, AsArray, BooleanArray, Int32Array, Int64Array, StringArray};
use arrow::datatypes::DataType;

/// Positions of the entries of one row in the order Java gives them out.
pub fn iteration_order(keys: &dyn Array, entries: Range<usize>) -> Vec<u32> {
    let mut order = Vec::with_capacity(entries.len());
    IterationOrder::new(keys).append(entries, &mut order);
    order
}

/// The order of the entries of row after row over one column of keys.
pub struct IterationOrder<'a> {
    keys: Keys<'a>,
    /// Bucket and position of the entries of the row at hand.
    buckets: Vec<(u32, u32)>,
}

/// Keys of types whose hash is known; others stay in the order they have.
enum Keys<'a> {
    Text(&'a StringArray),
    Integer(&'a Int32Array),
    Bigint(&'a Int64Array),
    Boolean(&'a BooleanArray),
    Other,
}

impl<'a> IterationOrder<'a> {
    pub fn new(keys: &'a dyn Array) -> Self {
        let keys = match keys.data_type() {
            DataType::Utf8 => Keys::Text(keys.as_string()),
            DataType::Int32 => Keys::Integer(keys.as_primitive()),
            DataType::Int64 => Keys::Bigint(keys.as_primitive()),
            DataType::Boolean => Keys::Boolean(keys.as_boolean()),
            _ => Keys::Other,
        };
        Self { keys, buckets: Vec::new() }
    }

    /// Appends the positions of a row's entries.
    pub fn append(&mut self, entries: Range<usize>, order: &mut Vec<u32>) {
        if entries.len() < 2 || matches!(self.keys, Keys::Other) {
            return order.extend(entries.map(|entry| entry as u32));
        }
        let mask = capacity(entries.len()) - 1;
        let bucket = |entry: usize| {
            let hash = self.keys.hash(entry);
            ((hash ^ (hash >> 16)) & mask, entry as u32)
        };
        self.buckets.clear();
        self.buckets.extend(entries.map(bucket));
        self.buckets.sort_unstable();
        order.extend(self.buckets.iter().map(|(_, entry)| entry));
    }
}

impl Keys<'_> {
    /// `hashCode`.
    fn hash(&self, entry: usize) -> u32 {
        let mixed = |hash: u32, unit: u32| hash.wrapping_mul(31).wrapping_add(unit);
        match self {
            Keys::Text(keys) => {
                let key = keys.value(entry);
                match key.is_ascii() {
                    true => key.bytes().fold(0, |hash, byte| mixed(hash, u32::from(byte))),
                    false => key.encode_utf16().fold(0, |hash, unit| mixed(hash, u32::from(unit))),
                }
            }
            Keys::Integer(keys) => keys.value(entry) as u32,
            Keys::Bigint(keys) => {
                let value = keys.value(entry) as u64;
                (value ^ (value >> 32)) as u32
            }
            Keys::Boolean(keys) => [1237, 1231][usize::from(keys.value(entry))],
            Keys::Other => 0,
        }
    }
}

/// Twice the next power of two if that would be filled by more than three quarters.
fn capacity(entries: usize) -> u32 {
    let power = entries.next_power_of_two();
    (if entries * 4 > power * 3 { power * 2 } else { power }) as u32
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

//! Keys → slots: a dense number for every distinct key, found or made for each row of a run.
//!
//! ```text
//! run   a b a c      slots  0 1 0 2      (later)  release(1)      run   d a      slots  1 0
//! ```
//!
//! A [`KeyStore`] owns the keys and the free-list of slots, a [`KeyIndex`] finds them. They are apart so that windows can
//! share one dense range of slots and still be forgotten whole: one index per window, dropped with it.
//!
//! One column of an integer, date or time type is compared as `i64`, one STRING column as its bytes, everything else in
//! Arrow's row form. Keys of the first two kinds are never null: the caller sets such rows aside.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Date32Array, Int32Array, Int64Array, PrimitiveArray, StringArray,
    Time32MillisecondArray, TimestampMillisecondArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Int32Type, Int64Type, Time32MillisecondType, TimeUnit, TimestampMillisecondType,
};
use arrow::row::{RowConverter, Rows as RowForms, SortField};
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::error::{Error, Result};
use crate::kernels::fixed_bytes;

/// The keys of all slots.
pub struct KeyStore {
    types: Vec<DataType>,
    keys: Keys,
    /// Of keys that are not integers.
    key_bytes: usize,
    free: Vec<u32>,
    hasher: DefaultHashBuilder,
    /// For state keys, whatever form the keys are compared in.
    converter: RowConverter,
}

enum Keys {
    Integer(Vec<i64>),
    Text(Vec<Box<[u8]>>),
    Rows(Vec<Box<[u8]>>),
}

/// Finds the slot of a key. Belongs to one [`KeyStore`].
pub enum KeyIndex {
    Integer(HashTable<(i64, u32)>),
    Bytes(HashTable<BytesEntry>),
}

/// Longest key that stands in the index itself, so that finding it touches one place in memory.
const INLINE_BYTES: usize = 35;
/// Longer keys have their hash there instead.
const LONG: u8 = u8::MAX;

#[derive(Clone, Copy)]
pub struct BytesEntry {
    slot: u32,
    len: u8,
    inline: [u8; INLINE_BYTES],
}

impl BytesEntry {
    fn new(key: &[u8], hash: u64, slot: u32) -> Self {
        let mut inline = [0; INLINE_BYTES];
        if key.len() <= INLINE_BYTES {
            inline[..key.len()].copy_from_slice(key);
            return Self { slot, len: key.len() as u8, inline };
        }
        inline[..8].copy_from_slice(&hash.to_le_bytes());
        Self { slot, len: LONG, inline }
    }

    fn is(&self, key: &[u8], hash: u64, stored: &[Box<[u8]>]) -> bool {
        match self.len {
            LONG => self.inline[..8] == hash.to_le_bytes() && *stored[self.slot as usize] == *key,
            len => self.inline[..usize::from(len)] == *key,
        }
    }

    fn hash(&self, hasher: &DefaultHashBuilder) -> u64 {
        match self.len {
            LONG => self.inline[..8].try_into().map_or(0, u64::from_le_bytes),
            len => hasher.hash_one(&self.inline[..usize::from(len)]),
        }
    }
}

/// The keys of a run, in the form they are compared in.
pub enum KeyRun {
    Integer(ScalarBuffer<i64>),
    Text(StringArray),
    Rows(RowForms),
}

impl KeyRun {
    pub fn len(&self) -> usize {
        match self {
            KeyRun::Integer(keys) => keys.len(),
            KeyRun::Text(keys) => keys.len(),
            KeyRun::Rows(keys) => keys.num_rows(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn bytes(&self, row: usize) -> &[u8] {
        match self {
            KeyRun::Integer(_) => &[],
            KeyRun::Text(keys) => keys.value(row).as_bytes(),
            KeyRun::Rows(keys) => keys.row(row).data(),
        }
    }
}

impl KeyStore {
    pub fn new(types: Vec<DataType>) -> Result<Self> {
        let keys = match types.as_slice() {
            [
                DataType::Int32
                | DataType::Int64
                | DataType::Date32
                | DataType::Time32(TimeUnit::Millisecond)
                | DataType::Timestamp(TimeUnit::Millisecond, None),
            ] => Keys::Integer(Vec::new()),
            [DataType::Utf8] => Keys::Text(Vec::new()),
            _ => Keys::Rows(Vec::new()),
        };
        let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect())?;
        Ok(Self { types, keys, key_bytes: 0, free: Vec::new(), hasher: DefaultHashBuilder::default(), converter })
    }

    pub fn index(&self) -> KeyIndex {
        match self.keys {
            Keys::Integer(_) => KeyIndex::Integer(HashTable::new()),
            Keys::Text(_) | Keys::Rows(_) => KeyIndex::Bytes(HashTable::new()),
        }
    }

    /// One more than the largest slot ever given out.
    pub fn slots(&self) -> usize {
        match &self.keys {
            Keys::Integer(keys) => keys.len(),
            Keys::Text(keys) | Keys::Rows(keys) => keys.len(),
        }
    }

    /// Slots in use.
    pub fn used(&self) -> usize {
        self.slots() - self.free.len()
    }

    /// Memory of the keys and of their indexes, which are at most seven eighths full.
    pub fn bytes(&self) -> usize {
        let (stored, entry) = match &self.keys {
            Keys::Integer(keys) => (fixed_bytes(keys), size_of::<(i64, u32)>()),
            Keys::Text(keys) | Keys::Rows(keys) => (fixed_bytes(keys), size_of::<BytesEntry>()),
        };
        stored + fixed_bytes(&self.free) + self.key_bytes + self.used() * (entry + 1) * 8 / 7
    }

    pub fn encode(&self, columns: &[ArrayRef]) -> Result<KeyRun> {
        Ok(match &self.keys {
            Keys::Integer(_) => KeyRun::Integer(integers(&columns[0])?),
            Keys::Text(_) => KeyRun::Text(columns[0].as_string::<i32>().clone()),
            Keys::Rows(_) => KeyRun::Rows(self.converter.convert_columns(columns)?),
        })
    }

    /// Slots of rows `[from, to)`, made where the key is new; appended to `slots`.
    pub fn intern(&mut self, index: &mut KeyIndex, run: &KeyRun, from: usize, to: usize, slots: &mut Vec<u32>) {
        slots.reserve(to - from);
        match (index, run, &mut self.keys) {
            (KeyIndex::Integer(table), KeyRun::Integer(keys), Keys::Integer(stored)) => {
                for &key in &keys[from..to] {
                    let hash = self.hasher.hash_one(key);
                    let slot = match table.entry(hash, |entry| entry.0 == key, |entry| self.hasher.hash_one(entry.0)) {
                        Entry::Occupied(entry) => entry.get().1,
                        Entry::Vacant(entry) => {
                            let slot = place(stored, &mut self.free, key);
                            entry.insert((key, slot));
                            slot
                        }
                    };
                    slots.push(slot);
                }
            }
            (KeyIndex::Bytes(table), run, Keys::Text(stored) | Keys::Rows(stored)) => {
                for row in from..to {
                    let key = run.bytes(row);
                    let hash = self.hasher.hash_one(key);
                    let found =
                        table.entry(hash, |entry| entry.is(key, hash, stored), |entry| entry.hash(&self.hasher));
                    let slot = match found {
                        Entry::Occupied(entry) => entry.get().slot,
                        Entry::Vacant(entry) => {
                            self.key_bytes += key.len();
                            let slot = place(stored, &mut self.free, Box::from(key));
                            entry.insert(BytesEntry::new(key, hash, slot));
                            slot
                        }
                    };
                    slots.push(slot);
                }
            }
            _ => unreachable!("index and run come from this store"),
        }
    }

    pub fn intern_one(&mut self, index: &mut KeyIndex, run: &KeyRun, row: usize) -> u32 {
        let mut slot = Vec::with_capacity(1);
        self.intern(index, run, row, row + 1, &mut slot);
        slot[0]
    }

    pub fn find(&self, index: &KeyIndex, run: &KeyRun, row: usize) -> Option<u32> {
        match (index, run, &self.keys) {
            (KeyIndex::Integer(table), KeyRun::Integer(keys), _) => {
                let key = keys[row];
                table.find(self.hasher.hash_one(key), |entry| entry.0 == key).map(|entry| entry.1)
            }
            (KeyIndex::Bytes(table), run, Keys::Text(stored) | Keys::Rows(stored)) => {
                let key = run.bytes(row);
                let hash = self.hasher.hash_one(key);
                table.find(hash, |entry| entry.is(key, hash, stored)).map(|entry| entry.slot)
            }
            _ => unreachable!("index and run come from this store"),
        }
    }

    /// Takes a slot out of its index and gives it back; nothing happens if it is not in use.
    pub fn forget(&mut self, index: &mut KeyIndex, slot: u32) {
        let found = match (index, &self.keys) {
            (KeyIndex::Integer(table), Keys::Integer(stored)) => {
                let hash = self.hasher.hash_one(stored[slot as usize]);
                table.find_entry(hash, |entry| entry.1 == slot).map(|entry| entry.remove()).is_ok()
            }
            (KeyIndex::Bytes(table), Keys::Text(stored) | Keys::Rows(stored)) => {
                let hash = self.hasher.hash_one(&*stored[slot as usize]);
                table.find_entry(hash, |entry| entry.slot == slot).map(|entry| entry.remove()).is_ok()
            }
            _ => unreachable!("the index comes from this store"),
        };
        if found {
            self.release(&[slot]);
        }
    }

    /// Gives slots back whose index is dropped whole.
    pub fn release(&mut self, slots: &[u32]) {
        if let Keys::Text(stored) | Keys::Rows(stored) = &mut self.keys {
            for &slot in slots {
                self.key_bytes -= std::mem::take(&mut stored[slot as usize]).len();
            }
        }
        self.free.extend_from_slice(slots);
    }

    /// The key columns of these slots.
    pub fn columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(match &self.keys {
            Keys::Integer(stored) => {
                vec![from_integers(&self.types[0], slots.iter().map(|&s| stored[s as usize]))?]
            }
            Keys::Text(stored) => {
                let texts = slots
                    .iter()
                    .map(|&s| std::str::from_utf8(&stored[s as usize]))
                    .collect::<std::result::Result<Vec<_>, _>>()
                    .map_err(|e| Error::internal(format!("a text key is not UTF-8: {e}")))?;
                vec![Arc::new(StringArray::from(texts)) as ArrayRef]
            }
            Keys::Rows(stored) => {
                let parser = self.converter.parser();
                self.converter.convert_rows(slots.iter().map(|&s| parser.parse(&stored[s as usize])))?
            }
        })
    }

    /// A slot's key as bytes in the order of keys.
    pub fn ordered_bytes(&self, slot: u32) -> Vec<u8> {
        match &self.keys {
            Keys::Integer(stored) => (stored[slot as usize] ^ i64::MIN).to_be_bytes().to_vec(),
            Keys::Text(stored) | Keys::Rows(stored) => stored[slot as usize].to_vec(),
        }
    }

    /// The order of two slots' keys; by the bytes of the compared form.
    pub fn compare(&self, a: u32, b: u32) -> std::cmp::Ordering {
        match &self.keys {
            Keys::Integer(stored) => stored[a as usize].cmp(&stored[b as usize]),
            Keys::Text(stored) | Keys::Rows(stored) => stored[a as usize].cmp(&stored[b as usize]),
        }
    }
}

impl KeyIndex {
    pub fn len(&self) -> usize {
        match self {
            KeyIndex::Integer(table) => table.len(),
            KeyIndex::Bytes(table) => table.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All slots of the index, in ascending order.
    pub fn slots(&self) -> Vec<u32> {
        let mut slots: Vec<u32> = match self {
            KeyIndex::Integer(table) => table.iter().map(|entry| entry.1).collect(),
            KeyIndex::Bytes(table) => table.iter().map(|entry| entry.slot).collect(),
        };
        slots.sort_unstable();
        slots
    }
}

fn place<K>(stored: &mut Vec<K>, free: &mut Vec<u32>, key: K) -> u32 {
    match free.pop() {
        Some(slot) => {
            stored[slot as usize] = key;
            slot
        }
        None => {
            stored.push(key);
            u32::try_from(stored.len() - 1).expect("a task holds fewer than 2^32 keys")
        }
    }
}

fn integers(column: &ArrayRef) -> Result<ScalarBuffer<i64>> {
    Ok(match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().values().clone(),
        DataType::Int32 => column.as_primitive::<Int32Type>().values().iter().map(|&v| i64::from(v)).collect(),
        DataType::Date32 => column.as_primitive::<Date32Type>().values().iter().map(|&v| i64::from(v)).collect(),
        DataType::Time32(TimeUnit::Millisecond) => {
            column.as_primitive::<Time32MillisecondType>().values().iter().map(|&v| i64::from(v)).collect()
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            column.as_primitive::<TimestampMillisecondType>().values().clone()
        }
        other => return Err(Error::internal(format!("keys of type {other} are not integers"))),
    })
}

fn from_integers(ty: &DataType, values: impl Iterator<Item = i64>) -> Result<ArrayRef> {
    // The values came from columns of `ty`, so they fit.
    Ok(match ty {
        DataType::Int64 => Arc::new(values.collect::<PrimitiveArray<Int64Type>>()) as Arc<Int64Array>,
        DataType::Int32 => Arc::new(Int32Array::from_iter_values(values.map(|v| v as i32))),
        DataType::Date32 => Arc::new(Date32Array::from_iter_values(values.map(|v| v as i32))),
        DataType::Time32(_) => Arc::new(Time32MillisecondArray::from_iter_values(values.map(|v| v as i32))),
        DataType::Timestamp(..) => Arc::new(TimestampMillisecondArray::from_iter_values(values)),
        other => return Err(Error::internal(format!("keys of type {other} are not integers"))),
    })
}

/// Key columns as the bytes that name a state row. Only equality matters; they are never read back.
pub fn state_keys(columns: &[ArrayRef]) -> Result<BinaryArray> {
    let converter =
        RowConverter::new(columns.iter().map(|column| SortField::new(column.data_type().clone())).collect())?;
    Ok(converter.convert_columns(columns)?.try_into_binary()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(columns: Vec<ArrayRef>, expected: &[u32]) {
        let types = columns.iter().map(|c| c.data_type().clone()).collect();
        let mut store = KeyStore::new(types).unwrap();
        let mut index = store.index();
        let run = store.encode(&columns).unwrap();
        let mut slots = Vec::new();
        store.intern(&mut index, &run, 0, run.len(), &mut slots);
        assert_eq!(slots, expected);
        assert_eq!(store.columns(&slots).unwrap(), columns);
        for (row, slot) in slots.iter().enumerate() {
            assert_eq!(store.find(&index, &run, row), Some(*slot));
        }
    }

    #[test]
    fn equal_keys_share_a_slot_and_come_back_as_columns() {
        round_trip(vec![Arc::new(Int64Array::from(vec![7, 8, 7, -1]))], &[0, 1, 0, 2]);
        round_trip(vec![Arc::new(Int32Array::from(vec![7, 8, 7]))], &[0, 1, 0]);
        round_trip(vec![Arc::new(StringArray::from(vec!["", "b", "b"]))], &[0, 1, 1]);
        round_trip(
            vec![
                Arc::new(Int64Array::from(vec![Some(1), Some(1), None, Some(1)])),
                Arc::new(StringArray::from(vec![Some("a"), None, Some("a"), Some("a")])),
            ],
            &[0, 1, 2, 0],
        );
    }

    #[test]
    fn a_forgotten_slot_is_used_again() {
        let mut store = KeyStore::new(vec![DataType::Utf8]).unwrap();
        let mut index = store.index();
        let run = store.encode(&[Arc::new(StringArray::from(vec!["a", "b", "c"]))]).unwrap();
        let mut slots = Vec::new();
        store.intern(&mut index, &run, 0, 2, &mut slots);
        store.forget(&mut index, 1);
        assert_eq!(store.find(&index, &run, 1), None);
        assert_eq!(store.key_bytes, 1);
        assert_eq!(store.intern_one(&mut index, &run, 2), 1);
        assert_eq!((store.used(), store.key_bytes), (2, 2));
    }
}

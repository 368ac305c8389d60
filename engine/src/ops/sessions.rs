//! Which sessions there are, by key and by end.
//!
//! ```text
//! key a (0)   [10, 15] slot 0   [40, 40] slot 2        by end   15: slot 0   22: slot 1   40: slot 2
//! key b (1)   [20, 22] slot 1
//! ```

use std::collections::BTreeSet;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::error::Result;
use crate::kernels::fixed_bytes;
use crate::kernels::keys::{KeyIndex, KeyStore};
use crate::ops::groups::Owner;

/// Which sessions there are. A key has its own number, a session is a slot of the groups.
pub(super) struct Sessions {
    pub store: KeyStore,
    pub index: KeyIndex,
    /// Per key its sessions as `(end, start, slot)`, ascending.
    pub of_key: Vec<Vec<(i64, i64, u32)>>,
    /// Per session its key.
    pub key: Vec<u32>,
    pub free: Vec<u32>,
    /// All sessions as `(end, start, slot)`.
    pub by_end: BTreeSet<(i64, i64, u32)>,
}

impl Sessions {
    pub fn new(key_types: &[DataType]) -> Result<Self> {
        let store = KeyStore::new(key_types.to_vec())?;
        let index = store.index();
        let (of_key, key, free) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { store, index, of_key, key, free, by_end: BTreeSet::new() })
    }

    pub fn bytes(&self) -> usize {
        // Its place among its key's sessions and among all, in nodes that are not full.
        const SESSION_BYTES: usize = 80;
        let sessions = self.by_end.len() * SESSION_BYTES;
        self.store.bytes() + fixed_bytes(&self.of_key) + fixed_bytes(&self.key) + fixed_bytes(&self.free) + sessions
    }

    pub fn intern(&mut self, columns: &[ArrayRef]) -> Result<Vec<u32>> {
        let run = self.store.encode(columns)?;
        let mut keys = Vec::new();
        self.store.intern(&mut self.index, &run, 0, run.len(), &mut keys);
        if self.of_key.len() < self.store.slots() {
            self.of_key.resize(self.store.slots(), Vec::new());
        }
        Ok(keys)
    }

    pub fn make(&mut self, key: u32) -> u32 {
        match self.free.pop() {
            Some(slot) => {
                self.key[slot as usize] = key;
                slot
            }
            None => {
                self.key.push(key);
                u32::try_from(self.key.len() - 1).expect("a task holds fewer than 2^32 sessions")
            }
        }
    }

    pub fn link(&mut self, key: u32, session: (i64, i64, u32)) {
        let list = &mut self.of_key[key as usize];
        let at = list.partition_point(|&other| other < session);
        list.insert(at, session);
        self.by_end.insert(session);
    }

    pub fn unlink(&mut self, key: u32, session: (i64, i64, u32)) {
        self.of_key[key as usize].retain(|&other| other != session);
        self.by_end.remove(&session);
    }

    /// Takes a session out, and its key with the last one.
    pub fn remove(&mut self, session: (i64, i64, u32)) {
        let key = self.key[session.2 as usize];
        self.unlink(key, session);
        self.free.push(session.2);
        self.forget_empty(&[key]);
    }

    /// Gives back keys without sessions. Keys that were given back before are not found again.
    pub fn forget_empty(&mut self, keys: &[u32]) {
        let mut empty: Vec<u32> = keys.iter().copied().filter(|&key| self.of_key[key as usize].is_empty()).collect();
        empty.sort_unstable();
        empty.dedup();
        for key in empty {
            self.store.forget(&mut self.index, key);
        }
    }

    pub fn key_columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.store.columns(&slots.iter().map(|&slot| self.key[slot as usize]).collect::<Vec<_>>())
    }
}

impl Owner for Sessions {
    fn drop_groups(&mut self, keys: &[ArrayRef], starts: &[i64], ends: &[i64]) -> Result<Vec<u32>> {
        let keys = self.intern(keys)?;
        let mut slots = Vec::new();
        for (row, &key) in keys.iter().enumerate() {
            let found = self.of_key[key as usize].iter().copied().find(|s| (s.0, s.1) == (ends[row], starts[row]));
            if let Some(session) = found {
                slots.push(session.2);
                self.unlink(key, session);
                self.free.push(session.2);
            }
        }
        self.forget_empty(&keys);
        Ok(slots)
    }

    fn make_groups(&mut self, keys: &[ArrayRef], starts: &[i64], ends: &[i64]) -> Result<Vec<u32>> {
        let keys = self.intern(keys)?;
        let mut slots = Vec::with_capacity(keys.len());
        for (row, &key) in keys.iter().enumerate() {
            let found = self.of_key[key as usize].iter().copied().find(|s| (s.0, s.1) == (ends[row], starts[row]));
            slots.push(match found {
                Some(session) => session.2,
                None => {
                    let slot = self.make(key);
                    self.link(key, (ends[row], starts[row], slot));
                    slot
                }
            });
        }
        Ok(slots)
    }
}

//! State changes of one store, in order, and how they are merged.
//!
//! Since a change is the whole state row of a key, the last one counts; older ones may be forgotten.
//!
//! ```text
//! position 3: a → 1, b → 5      merged up to 7, from the start of the store:
//! position 5: b → deleted       a → 2
//! position 7: a → 2             (b's deletion is needed only if something older may still hold b)
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, BooleanArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use hashbrown::HashSet;

use super::LogPosition;
use super::group::{Group, state_bytes};
use crate::error::{Error, Result};
use crate::state::{StateChanges, StateTable};

/// Whether deletions stay in a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deletions {
    /// Something older may hold the key.
    Keep,
    /// Nothing is older.
    Drop,
}

/// The last row per key of `parts`, tables by number, keys in the order of their last change.
pub(crate) fn merge(parts: &[StateChanges], deletions: Deletions) -> Result<StateChanges> {
    let mut tables: BTreeMap<u32, Vec<&RecordBatch>> = BTreeMap::new();
    for table in parts.iter().flat_map(|p| &p.tables) {
        if table.rows.num_rows() > 0 {
            tables.entry(table.table).or_default().push(&table.rows);
        }
    }
    let mut merged = StateChanges::default();
    for (table, batches) in tables {
        if batches.iter().any(|b| b.schema_ref() != batches[0].schema_ref()) {
            // A store whose rows changed their form: only who applies them knows how the forms relate.
            merged.tables.extend(batches.into_iter().map(|rows| StateTable { table, rows: rows.clone() }));
            continue;
        }
        let rows = match batches.as_slice() {
            [one] if deletions == Deletions::Keep => (*one).clone(),
            all => last_rows(all, deletions)?,
        };
        if rows.num_rows() > 0 {
            merged.tables.push(StateTable { table, rows });
        }
    }
    Ok(merged)
}

fn last_rows(batches: &[&RecordBatch], deletions: Deletions) -> Result<RecordBatch> {
    let rows = batches.iter().map(|batch| batch.num_rows()).sum();
    let mut seen: HashSet<&[u8]> = HashSet::with_capacity(rows);
    let mut kept: Vec<(usize, usize)> = Vec::new();
    for (number, batch) in batches.iter().enumerate().rev() {
        let (keys, deleted) = key_columns(batch)?;
        for row in (0..keys.len()).rev() {
            if seen.insert(keys.value(row)) && (deletions == Deletions::Keep || !deleted.value(row)) {
                kept.push((number, row));
            }
        }
    }
    kept.reverse();
    Ok(interleave_record_batch(batches, &kept)?)
}

/// The columns every state row begins with.
pub(crate) fn key_columns(rows: &RecordBatch) -> Result<(&BinaryArray, &BooleanArray)> {
    let keys = rows.columns().first().and_then(|c| c.as_binary_opt::<i32>());
    let deleted = rows.columns().get(1).and_then(|c| c.as_boolean_opt());
    match (keys, deleted) {
        (Some(keys), Some(deleted)) => Ok((keys, deleted)),
        _ => Err(Error::internal("state rows begin with a Binary key and a Boolean deleted column")),
    }
}

/// Changes of one store that the memory log keeps: merged now and then, so that they hold about the size of the state.
#[derive(Debug, Default)]
pub(crate) struct HeldChanges {
    entries: VecDeque<(LogPosition, StateChanges)>,
    bytes: usize,
    /// Merged when `bytes` passes this.
    merge_at_bytes: usize,
}

impl HeldChanges {
    const MERGE_AT_BYTES_MIN: usize = 1 << 20;

    pub fn push(&mut self, position: LogPosition, changes: StateChanges) {
        self.bytes += state_bytes(&changes) + 64;
        self.entries.push_back((position, changes));
        if self.bytes > self.merge_at_bytes.max(Self::MERGE_AT_BYTES_MIN) {
            let parts: Vec<StateChanges> = self.entries.iter().map(|(_, changes)| changes.clone()).collect();
            match merge(&parts, Deletions::Drop) {
                Ok(merged) => {
                    self.bytes = state_bytes(&merged) + 64;
                    self.entries = VecDeque::from([(position, merged)]);
                }
                // Unmerged they are as right, only larger.
                Err(error) => tracing::warn!(%error, "state changes could not be merged"),
            }
            self.merge_at_bytes = 2 * self.bytes;
        }
    }

    pub fn after(&self, position: LogPosition) -> Vec<(LogPosition, StateChanges)> {
        self.entries.iter().filter(|(at, _)| *at > position).cloned().collect()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Changes of one store that the embedded log knows of: where they are, not what they are.
#[derive(Debug, Default)]
pub(crate) struct JournaledChanges {
    entries: VecDeque<(LogPosition, ChangeAt)>,
    /// Estimate of what the entries hold on disk.
    pub bytes: u64,
    /// A snapshot holds what is at or below this.
    pub covered: LogPosition,
}

#[derive(Debug, Clone)]
pub(crate) enum ChangeAt {
    /// Not written yet.
    Queued(Arc<Group>),
    Written(Place),
}

/// A frame of the write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// First sequence number of the file.
    pub file: u64,
    pub offset: u64,
    pub length: usize,
}

impl JournaledChanges {
    pub fn push(&mut self, position: LogPosition, at: ChangeAt) {
        // One group may change a store twice: its frame is read once.
        if position > self.covered && self.newest() < position {
            self.bytes += match &at {
                ChangeAt::Queued(group) => group.bytes as u64,
                ChangeAt::Written(place) => place.length as u64,
            };
            self.entries.push_back((position, at));
        }
    }

    pub fn written(&mut self, position: LogPosition, place: Place) {
        let found = self.entries.binary_search_by_key(&position, |(at, _)| *at);
        if let Some(entry) = found.ok().and_then(|i| self.entries.get_mut(i)) {
            entry.1 = ChangeAt::Written(place);
        }
    }

    pub fn cover(&mut self, position: LogPosition) {
        self.covered = self.covered.max(position);
        let covered = self.entries.partition_point(|(at, _)| *at <= position);
        let left = (self.entries.len() - covered) as u64;
        self.bytes = self.bytes / self.entries.len().max(1) as u64 * left;
        self.entries.drain(..covered);
    }

    pub fn after(&self, position: LogPosition) -> Vec<(LogPosition, ChangeAt)> {
        self.entries.range(self.entries.partition_point(|(at, _)| *at <= position)..).cloned().collect()
    }

    pub fn oldest(&self) -> Option<LogPosition> {
        self.entries.front().map(|(at, _)| *at)
    }

    /// Position of the last change, 0 without any.
    pub fn newest(&self) -> LogPosition {
        self.entries.back().map_or(LogPosition(0), |(at, _)| *at)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    /// Rows of one table: `(key, Some(payload) | None = deleted)`.
    pub(crate) fn changes(rows: &[(&str, Option<i64>)]) -> StateChanges {
        let columns: [(&str, ArrayRef); 3] = [
            ("key", Arc::new(BinaryArray::from_iter_values(rows.iter().map(|r| r.0.as_bytes())))),
            ("deleted", Arc::new(BooleanArray::from_iter(rows.iter().map(|r| Some(r.1.is_none()))))),
            ("v", Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.1)))),
        ];
        let rows = RecordBatch::try_from_iter_with_nullable(columns.map(|(n, a)| (n, a, true))).unwrap();
        StateChanges { tables: vec![StateTable { table: 0, rows }] }
    }

    pub(crate) fn content(changes: &StateChanges) -> Vec<(String, Option<i64>)> {
        let mut rows = Vec::new();
        for table in &changes.tables {
            let keys = table.rows.column(0).as_binary::<i32>();
            let values = table.rows.column(2).as_primitive::<arrow::datatypes::Int64Type>();
            rows.extend((0..keys.len()).map(|i| {
                let value = values.is_valid(i).then(|| values.value(i));
                (String::from_utf8_lossy(keys.value(i)).into_owned(), value)
            }));
        }
        rows
    }

    #[test]
    fn the_last_change_of_a_key_counts() {
        let parts = [changes(&[("a", Some(1)), ("b", Some(5))]), changes(&[("b", None)]), changes(&[("a", Some(2))])];
        let pair = |k: &str, v| (k.to_string(), v);
        assert_eq!(content(&merge(&parts, Deletions::Drop).unwrap()), vec![pair("a", Some(2))]);
        assert_eq!(content(&merge(&parts, Deletions::Keep).unwrap()), vec![pair("b", None), pair("a", Some(2))]);
    }

    #[test]
    fn held_changes_stay_about_as_big_as_the_state() {
        let mut held = HeldChanges::default();
        for i in 0..50_000u64 {
            held.push(LogPosition(i + 1), changes(&[("a", Some(i as i64)), ("b", None)]));
        }
        assert!(held.bytes() <= 2 * HeldChanges::MERGE_AT_BYTES_MIN);
        let parts: Vec<_> = held.after(LogPosition(0)).into_iter().map(|(_, c)| c).collect();
        assert_eq!(content(&merge(&parts, Deletions::Drop).unwrap()), vec![("a".to_string(), Some(49_999))]);
    }
}

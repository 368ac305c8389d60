//! Compaction: of a table's changes only the last per key is sent on, held back until the group is committed.
//!
//! A policy a user chooses (`cache.max.bytes.buffering`, `emit.buffer.ms`), around the operator where the table arises. The
//! old row of what is sent is that of the first change left out, so that whatever subtracts it stays right.
//!
//! ```text
//! in    a | 1  old –        held until release      out   b | 7  old –
//!       b | 7  old –                                      a | 3  old –
//!       a | 3  old 1
//!       c | 5  old –                                      nothing of c: it came and went
//!       c | –  old 5
//! ```
//!
//! Which changes are left out depends on when groups are committed; what the table holds in the end does not.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::DataType;

use super::evaluate::mask;
use super::{InputId, Lookup, OpContext, Operator, Output, Then};
use crate::error::Result;
use crate::kernels::keys::KeyStore;
use crate::kernels::order::{NONE, Stamps, last_rows};
use crate::rows::{Change, OldRows, Rows};
use crate::schema::Schema;
use crate::state::StateChanges;

/// Rows held as they came before their number is brought down.
const HELD_ROWS_MAX: usize = 64 * 1024;

/// Results held back for this long at most when only the size of the cache was set (ksqlDB's `commit.interval.ms`).
const HOLD_DEFAULT: Duration = Duration::from_millis(2000);

/// Results held back up to these bytes when only the time was set (ksqlDB's `cache.max.bytes.buffering`).
const HOLD_BYTES_DEFAULT: u64 = 10 << 20;

/// Whether the last change per key is enough, and for how long it may be held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compaction {
    pub interval: Duration,
    pub bytes_max: u64,
}

impl Compaction {
    /// As the settings of a query say; None: every change is emitted.
    pub fn of(settings: &BTreeMap<String, String>) -> Option<Compaction> {
        let number = |name: &str| -> Option<u64> {
            let streams = format!("ksql.streams.{name}");
            settings.get(name).or_else(|| settings.get(&streams))?.trim().parse().ok()
        };
        let positive = |name: &str| number(name).filter(|n| *n > 0);
        let (bytes, buffer_ms) = (positive("cache.max.bytes.buffering"), positive("emit.buffer.ms"));
        if bytes.is_none() && buffer_ms.is_none() {
            return None;
        }
        let interval = buffer_ms.or_else(|| positive("commit.interval.ms")).map(Duration::from_millis);
        Some(Compaction { interval: interval.unwrap_or(HOLD_DEFAULT), bytes_max: bytes.unwrap_or(HOLD_BYTES_DEFAULT) })
    }
}

/// An operator whose changes are compacted.
pub struct Compacted {
    table: Box<dyn Operator>,
    keys: usize,
    held: Vec<Rows>,
    /// Rows since they were last compacted.
    fresh_rows: usize,
    bytes: u64,
    stamps: Stamps,
}

impl Compacted {
    /// Puts the policy around `table` if the settings ask for it. `schema` is that of its rows.
    pub fn around(table: Box<dyn Operator>, schema: &Schema, settings: &BTreeMap<String, String>) -> Box<dyn Operator> {
        if Compaction::of(settings).is_none() {
            return table;
        }
        let keys = schema.key.len();
        Box::new(Compacted { table, keys, held: Vec::new(), fresh_rows: 0, bytes: 0, stamps: Stamps::default() })
    }

    fn hold(&mut self, output: Output) -> Result<()> {
        for rows in output.runs {
            self.fresh_rows += rows.len();
            self.bytes += bytes_of(&rows);
            self.held.push(rows);
        }
        if self.fresh_rows > HELD_ROWS_MAX {
            self.compact()?;
        }
        Ok(())
    }

    /// Brings what is held down to the last change per key.
    fn compact(&mut self) -> Result<()> {
        self.fresh_rows = 0;
        if self.held.is_empty() {
            return Ok(());
        }
        let all = Rows::concat(&std::mem::take(&mut self.held))?;
        let slots = self.slots(&all)?;
        let last = UInt32Array::from(last_rows(&slots, &mut self.stamps));
        let mut rows = all.take(&last)?;
        if let Some(old) = all.old() {
            let first = first_rows(&slots, &last);
            let first = UInt32Array::from(first);
            let columns = arrow::compute::take_record_batch(&old.columns, &first)?;
            let present: arrow::buffer::BooleanBuffer =
                first.values().iter().map(|&row| old.present.value(row as usize)).collect();
            let came_and_went = rows.null_value.as_ref().map(|nulls| nulls & &!&present);
            rows.change = Change::Upsert { old: Some(OldRows { columns, present }) };
            if let Some(gone) = came_and_went.filter(|gone| gone.count_set_bits() > 0) {
                rows = rows.filter(&mask(!&gone))?;
            }
        }
        self.bytes = bytes_of(&rows);
        if !rows.is_empty() {
            self.held.push(rows);
        }
        Ok(())
    }

    /// A number per key and window.
    fn slots(&self, rows: &Rows) -> Result<Vec<u32>> {
        let mut columns: Vec<ArrayRef> = rows.columns.columns()[..self.keys].to_vec();
        if let Some(window) = &rows.window {
            columns.push(std::sync::Arc::new(window.start.clone()));
            columns.push(std::sync::Arc::new(window.end.clone()));
        }
        let types: Vec<DataType> = columns.iter().map(|column| column.data_type().clone()).collect();
        let mut store = KeyStore::new(types)?;
        let mut index = store.index();
        let run = store.encode(&columns)?;
        let mut slots = Vec::with_capacity(rows.len());
        store.intern(&mut index, &run, 0, rows.len(), &mut slots);
        Ok(slots)
    }
}

/// For each row of `last`, the first row with its slot.
fn first_rows(slots: &[u32], last: &UInt32Array) -> Vec<u32> {
    let mut first = vec![NONE; slots.iter().max().map_or(0, |max| *max as usize + 1)];
    for (row, &slot) in slots.iter().enumerate() {
        let first = &mut first[slot as usize];
        *first = (*first).min(row as u32);
    }
    last.values().iter().map(|&row| first[slots[row as usize] as usize]).collect()
}

fn bytes_of(rows: &Rows) -> u64 {
    let columns = rows.columns.get_array_memory_size();
    let old = rows.old().map_or(0, |old| old.columns.get_array_memory_size());
    (columns + old + 8 * rows.len()) as u64
}

impl Operator for Compacted {
    fn process(
        &mut self,
        input: InputId,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        _out: &mut Output,
    ) -> Result<(usize, Then)> {
        let mut changes = Output::default();
        let done = self.table.process(input, rows, ctx, &mut changes)?;
        self.hold(changes)?;
        Ok(done)
    }

    fn advance(&mut self, to: i64, ctx: &mut OpContext<'_>, _out: &mut Output) -> Result<Then> {
        let mut changes = Output::default();
        let then = self.table.advance(to, ctx, &mut changes)?;
        self.hold(changes)?;
        Ok(then)
    }

    fn held_bytes(&self) -> u64 {
        self.bytes
    }

    fn release(&mut self, out: &mut Output) -> Result<()> {
        self.compact()?;
        out.runs.append(&mut self.held);
        self.bytes = 0;
        Ok(())
    }

    fn track_changes(&mut self, track: bool) {
        self.table.track_changes(track);
    }

    fn take_changes(&mut self) -> Result<Option<StateChanges>> {
        self.table.take_changes()
    }

    fn apply(&mut self, changes: &StateChanges) -> Result<()> {
        self.table.apply(changes)
    }

    fn snapshot(&self) -> Result<Option<StateChanges>> {
        self.table.snapshot()
    }

    fn lookup(&self, lookup: &Lookup) -> Result<Option<Vec<Rows>>> {
        self.table.lookup(lookup)
    }

    fn trace(&self, lookup: &Lookup) -> Option<Lookup> {
        self.table.trace(lookup)
    }

    fn state_size(&self) -> (u64, u64) {
        let (rows, bytes) = self.table.state_size();
        (rows, bytes + self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, RecordBatch};
    use arrow::buffer::BooleanBuffer;
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::types::SqlType;

    /// Sends on what it is given.
    struct Pass;

    impl Operator for Pass {
        fn process(
            &mut self,
            _input: InputId,
            rows: &Rows,
            _ctx: &mut OpContext<'_>,
            out: &mut Output,
        ) -> Result<(usize, Then)> {
            out.push(rows.clone());
            Ok((rows.len(), Then::Continue))
        }
    }

    type Changes<'a> = &'a [(i64, Option<i64>, Option<i64>)];

    /// `(key, new, old)` as a table's changes.
    fn changes(rows: Changes<'_>) -> Rows {
        let batch = |values: Vec<Option<i64>>| {
            let keys: Int64Array = rows.iter().map(|(key, ..)| Some(*key)).collect();
            let values: Int64Array = values.into_iter().collect();
            RecordBatch::try_from_iter_with_nullable([
                ("K", Arc::new(keys) as ArrayRef, true),
                ("V", Arc::new(values) as ArrayRef, true),
            ])
            .unwrap()
        };
        let present: BooleanBuffer = rows.iter().map(|(.., old)| old.is_some()).collect();
        let nulls: BooleanBuffer = rows.iter().map(|(_, new, _)| new.is_none()).collect();
        let time: Int64Array = (0..rows.len() as i64).collect::<Vec<_>>().into();
        let old = OldRows { columns: batch(rows.iter().map(|(.., old)| *old).collect()), present };
        let mut made = Rows::append(batch(rows.iter().map(|(_, new, _)| *new).collect()), time);
        made.null_value = Some(nulls);
        made.change = Change::Upsert { old: Some(old) };
        made
    }

    fn read(rows: &Rows) -> Vec<(i64, Option<i64>, Option<i64>)> {
        let long = |batch: &RecordBatch, column: usize, row: usize| {
            let column = batch.column(column).as_primitive::<Int64Type>();
            arrow::array::Array::is_valid(column, row).then(|| column.value(row))
        };
        let old = rows.old().unwrap();
        (0..rows.len())
            .map(|row| {
                let new = long(&rows.columns, 1, row).filter(|_| !rows.is_null_value(row));
                let old = long(&old.columns, 1, row).filter(|_| old.present.value(row));
                (long(&rows.columns, 0, row).unwrap(), new, old)
            })
            .collect()
    }

    fn compacted(runs: &[Changes<'_>]) -> Vec<(i64, Option<i64>, Option<i64>)> {
        let schema = Schema {
            key: vec![crate::schema::Column::new("K", SqlType::Bigint)],
            value: vec![crate::schema::Column::new("V", SqlType::Bigint)],
        };
        let settings = BTreeMap::from([("emit.buffer.ms".to_string(), "10".to_string())]);
        let mut operator = Compacted::around(Box::new(Pass), &schema, &settings);
        let (mut errors, mut counters, mut out) = (Vec::new(), Default::default(), Output::default());
        let mut ctx = OpContext { errors: &mut errors, counters: &mut counters };
        for run in runs {
            operator.process(0, &changes(run), &mut ctx, &mut out).unwrap();
        }
        assert!(out.runs.is_empty(), "nothing leaves before the release");
        operator.release(&mut out).unwrap();
        assert_eq!(operator.held_bytes(), 0);
        out.runs.iter().flat_map(read).collect()
    }

    #[test]
    fn the_last_change_per_key_leaves_with_the_old_row_of_the_first() {
        let got = compacted(&[&[(1, Some(1), None), (2, Some(7), Some(6))], &[(1, Some(3), Some(1))]]);
        assert_eq!(got, [(2, Some(7), Some(6)), (1, Some(3), None)]);
    }

    #[test]
    fn a_row_that_came_and_went_leaves_nothing_and_one_that_was_known_leaves_a_tombstone() {
        let got = compacted(&[&[(1, Some(1), None), (2, Some(7), Some(6))], &[(1, None, Some(1)), (2, None, Some(7))]]);
        assert_eq!(got, [(2, None, Some(6))]);
    }

    #[test]
    fn what_leaves_does_not_depend_on_how_rows_came_within_one_group() {
        let all =
            [(1, Some(1), None), (2, Some(2), None), (1, Some(3), Some(1)), (2, None, Some(2)), (3, Some(9), None)];
        let whole = compacted(&[&all]);
        let single: Vec<Changes<'_>> = all.chunks(1).collect();
        assert_eq!(compacted(&single), whole);
        assert_eq!(whole, [(1, Some(3), None), (3, Some(9), None)]);
    }
}

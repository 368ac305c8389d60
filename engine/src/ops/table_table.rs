//! Table–table join on the primary keys: every change of either side gives the new joined row, or a tombstone if there
//! could have been one.
//!
//! | change on … | other side has a row | other side has none |
//! |---|---|---|
//! | INNER, either side | joined row; tombstone if the change deletes | nothing |
//! | the side that LEFT or RIGHT keeps | the same | padded row; tombstone if the change deletes a row |
//! | its other side | joined or padded row | nothing |
//! | FULL, either side | joined or padded row | padded row; tombstone if the change deletes a row |
//!
//! The result's time is the later of the change's and the other row's. State table 0 is the left table, 1 the right; see
//! [`super::keyed_rows`].

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::kernels::row_store::Source;
use crate::ops::evaluate::some_bits;
use crate::ops::filter::null_row_values;
use crate::ops::keyed_rows::{KeyedRows, numbered, with_keys};
use crate::ops::{InputId, Lookup, OpContext, Operator, Output, Then};
use crate::plan::steps::JoinKind;
use crate::rows::{Change, OldRows, Rows, batch_of};
use crate::schema::Schema;
use crate::state::StateChanges;

pub struct TableTableJoin {
    tables: [KeyedRows; 2],
    /// Whether a row of this side makes a result without the other side.
    outer: [bool; 2],
    keys: usize,
    schema: SchemaRef,
    /// Whether the operators above ask for old rows.
    old: bool,
}

impl TableTableJoin {
    pub fn new(
        kind: JoinKind,
        left: &Schema,
        right: &Schema,
        windowed: bool,
        output: &Schema,
        old: bool,
    ) -> Result<Self> {
        Ok(Self {
            tables: [KeyedRows::new(left, windowed)?, KeyedRows::new(right, windowed)?],
            outer: [matches!(kind, JoinKind::Left | JoinKind::Full), matches!(kind, JoinKind::Right | JoinKind::Full)],
            keys: left.key.len(),
            schema: output.to_arrow(),
            old,
        })
    }

    /// Whether there is a result, given which sides have a row.
    fn exists(&self, side: usize, this: bool, other: bool) -> bool {
        this && (other || self.outer[side]) || other && self.outer[1 - side]
    }

    fn joined(&self, side: usize, keys: &[ArrayRef], this: &RecordBatch, other: &RecordBatch) -> Result<RecordBatch> {
        let (left, right) = if side == 0 { (this, other) } else { (other, this) };
        let values = left.columns()[self.keys..].iter().chain(&right.columns()[self.keys..]);
        batch_of(SchemaRef::clone(&self.schema), keys.iter().chain(values).cloned().collect(), this.num_rows())
    }
}

impl Operator for TableTableJoin {
    fn process(
        &mut self,
        side: InputId,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(usize, Then)> {
        let (keyed, missing) = with_keys(rows, self.keys)?;
        ctx.counters.rows_in += rows.len() as u64;
        ctx.counters.rejected += missing as u64;
        let other_table = &self.tables[1 - side];
        let run = other_table.encode(keyed.columns.columns(), keyed.window.as_ref())?;
        let others: Vec<Option<u32>> = (0..keyed.len()).map(|row| other_table.find(&run, row)).collect();
        let Some(before) = self.tables[side].upsert(&keyed, true)? else {
            return Ok((rows.len(), Then::Continue));
        };
        let emitted = |row: usize| {
            let other = others[row].is_some();
            let touched = !keyed.is_null_value(row) || before.present.value(row);
            other || (touched && self.outer[side])
        };
        let kept: Vec<u32> = (0..keyed.len() as u32).filter(|&row| emitted(row as usize)).collect();
        let picked = UInt32Array::from(kept.clone());
        let this = Rows { change: Change::Upsert { old: Some(before) }, ..keyed.clone() }.take(&picked)?;
        let sources: Vec<Source> =
            kept.iter().map(|&row| others[row as usize].map_or(Source::Nothing, Source::Slot)).collect();
        let other_rows = self.tables[1 - side].gather(&sources)?;
        let is_there = |row: usize| sources[row] != Source::Nothing;
        let dead =
            BooleanBuffer::collect_bool(this.len(), |row| !self.exists(side, !this.is_null_value(row), is_there(row)));
        let time =
            Int64Array::from_iter_values(this.time.values().iter().zip(&sources).map(|(&time, source)| match source {
                Source::Slot(slot) => time.max(self.tables[1 - side].time(*slot)),
                _ => time,
            }));
        let keys = this.columns.columns()[..self.keys].to_vec();
        let columns = null_row_values(&self.joined(side, &keys, &this.columns, &other_rows)?, self.keys, &dead)?;
        let old = match this.old().filter(|_| self.old) {
            Some(old) => Some(OldRows {
                columns: self.joined(side, &keys, &old.columns, &other_rows)?,
                present: BooleanBuffer::collect_bool(this.len(), |row| {
                    self.exists(side, old.present.value(row), is_there(row))
                }),
            }),
            None => None,
        };
        ctx.counters.accepted += this.len() as u64;
        ctx.counters.unmatched += (keyed.len() - this.len()) as u64;
        ctx.counters.rows_out += this.len() as u64;
        out.push(Rows { columns, time, null_value: some_bits(dead), change: Change::Upsert { old }, ..this });
        Ok((rows.len(), Then::Continue))
    }

    fn track_changes(&mut self, track: bool) {
        self.tables.iter_mut().for_each(|table| table.track(track));
    }

    fn take_changes(&mut self) -> Result<Option<StateChanges>> {
        let [left, right] = &mut self.tables;
        Ok(Some(both(left.take_changes()?, right.take_changes()?)))
    }

    fn apply(&mut self, changes: &StateChanges) -> Result<()> {
        for table in &changes.tables {
            let one = numbered(vec![table.clone()], 0);
            self.tables[usize::from(table.table != 0)].apply(&one)?;
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Option<StateChanges>> {
        Ok(Some(both(self.tables[0].snapshot()?, self.tables[1].snapshot()?)))
    }

    fn lookup(&self, lookup: &Lookup) -> Result<Option<Vec<Rows>>> {
        let mut found = Vec::new();
        for side in 0..2 {
            for rows in self.tables[side].lookup(lookup)? {
                let run = self.tables[1 - side].encode(rows.columns.columns(), rows.window.as_ref())?;
                let partner: Vec<Option<u32>> =
                    (0..rows.len()).map(|row| self.tables[1 - side].find(&run, row)).collect();
                // Rows with a partner are the left side's to tell.
                let kept: Vec<u32> = (0..rows.len() as u32)
                    .filter(|&row| match partner[row as usize] {
                        Some(_) => side == 0,
                        None => self.outer[side],
                    })
                    .collect();
                let slots: Vec<Source> =
                    kept.iter().map(|&row| partner[row as usize].map_or(Source::Nothing, Source::Slot)).collect();
                let other = self.tables[1 - side].gather(&slots)?;
                let rows = rows.take(&UInt32Array::from(kept))?;
                let keys = rows.columns.columns()[..self.keys].to_vec();
                let columns = self.joined(side, &keys, &rows.columns, &other)?;
                let time = rows.time.values().iter().zip(&slots).map(|(&time, source)| match source {
                    Source::Slot(slot) => time.max(self.tables[1 - side].time(*slot)),
                    _ => time,
                });
                found.push(Rows { time: Int64Array::from_iter_values(time), columns, ..rows });
            }
        }
        Ok(Some(found))
    }

    fn state_size(&self) -> (u64, u64) {
        let [left, right] = [self.tables[0].size(), self.tables[1].size()];
        (left.0 + right.0, left.1 + right.1)
    }
}

/// The left table's changes as table 0, the right one's as table 1.
fn both(mut left: StateChanges, right: StateChanges) -> StateChanges {
    left.tables.extend(numbered(right.tables, 1).tables);
    left
}

//! The left part of a foreign-key join: a change of a left row → what it asks of the right part.
//!
//! ```text
//! K | FK            asks (by FK)
//! 1 | a             a: Match 1            version 1
//! 1 | b             a: Leave 1, b: Always 1       2
//! 1 | (deleted)     b: Delete 1                   3
//! ```
//!
//! Versions count up over all left rows of the task. State table 0: the foreign key of each left row (see
//! [`crate::ops::keyed_rows`]); table 1: one row with the last version given out.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int32Array, Int64Array, UInt32Array};
use arrow::compute::interleave;
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::row::{RowConverter, SortField};

use super::{Ask, Travelling};
use crate::error::{Error, Result};
use crate::ops::evaluate::{Evaluator, null_values, null_where};
use crate::ops::groups::state_table;
use crate::ops::keyed_rows::{KeyedRows, numbered, with_keys};
use crate::ops::{InputId, OpContext, Operator, Output, Then};
use crate::plan::expr::Expr;
use crate::plan::steps::JoinKind;
use crate::rows::{Change, Rows, batch_of};
use crate::schema::{Column, Schema};
use crate::state::{StateChanges, StateTable};

const VERSION_TABLE: u32 = 1;

pub struct ForeignKeyLeft {
    foreign_key: Evaluator,
    /// Left rows without a right one are kept.
    outer: bool,
    keys: usize,
    table: KeyedRows,
    /// Left key and foreign key.
    table_schema: SchemaRef,
    asks_schema: SchemaRef,
    /// Foreign keys as comparable bytes.
    converter: RowConverter,
    version: i64,
    /// The version that the log knows.
    logged_version: i64,
}

impl ForeignKeyLeft {
    pub fn new(foreign_key: &Expr, kind: JoinKind, left: &Schema, travelling: &Travelling) -> Result<Self> {
        let table = Schema::new(left.key.clone(), vec![Column::new("KSQL_FK", foreign_key.ty.clone())]);
        Ok(Self {
            foreign_key: Evaluator::new(foreign_key, &left.to_arrow(), "ForeignKey")?,
            outer: kind == JoinKind::Left,
            keys: left.key.len(),
            table: KeyedRows::new(&table, false)?,
            table_schema: table.to_arrow(),
            asks_schema: travelling.asks.to_arrow(),
            converter: RowConverter::new(vec![SortField::new(foreign_key.ty.to_arrow())])?,
            version: 0,
            logged_version: 0,
        })
    }

    /// The foreign key of each row; null where there is no row.
    fn foreign_keys(&self, rows: &Rows, ctx: &mut OpContext<'_>) -> Result<ArrayRef> {
        let nulls = null_values(rows);
        let values = self.foreign_key.evaluate(&rows.columns, &rows.time, nulls, ctx)?;
        nulls.map_or_else(|| Ok(Arc::clone(&values)), |nulls| null_where(&values, nulls))
    }

    /// What one change asks: under the old foreign key, and under the new one.
    fn asks(&self, old: OldRow, here: bool, has_key: bool, same: bool) -> (Option<Ask>, Option<Ask>) {
        match (old, here) {
            (OldRow::Keyed, false) => (Some(Ask::Delete), None),
            (OldRow::Keyless, false) => (None, self.outer.then_some(Ask::Delete)),
            (OldRow::Absent, false) => (None, None),
            (OldRow::Keyed, true) if has_key => ((!same).then_some(Ask::Leave), Some(Ask::Always)),
            (OldRow::Keyed, true) if self.outer => (Some(Ask::Leave), Some(Ask::Always)),
            (OldRow::Keyed, true) => (Some(Ask::Delete), None),
            (_, true) if self.outer => (None, Some(Ask::Always)),
            (_, true) => (None, has_key.then_some(Ask::Match)),
        }
    }

    fn version_row(&self) -> Result<StateTable> {
        let rows = state_table(vec![
            Arc::new(BinaryArray::from_vec(vec![b"version"])),
            Arc::new(BooleanArray::from(vec![false])),
            Arc::new(Int64Array::from(vec![self.version])),
        ])?;
        Ok(StateTable { table: VERSION_TABLE, rows })
    }
}

/// The row that a change replaces.
#[derive(Clone, Copy)]
enum OldRow {
    Absent,
    /// There, without a foreign key.
    Keyless,
    Keyed,
}

impl Operator for ForeignKeyLeft {
    fn process(
        &mut self,
        _input: InputId,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(usize, Then)> {
        let (keyed, missing) = with_keys(rows, self.keys)?;
        let new_keys = self.foreign_keys(&keyed, ctx)?;
        let slim = keyed.columns.columns()[..self.keys].iter().chain([&new_keys]).cloned().collect();
        let slim = batch_of(SchemaRef::clone(&self.table_schema), slim, keyed.len())?;
        let old = self.table.upsert(&Rows { columns: slim, ..keyed.clone() }, true)?;
        let old = old.ok_or_else(|| Error::internal("old rows were asked for"))?;
        let old_keys = old.columns.column(self.keys);
        let new_bytes = self.converter.convert_columns(&[Arc::clone(&new_keys)])?;
        let old_bytes = self.converter.convert_columns(&[Arc::clone(old_keys)])?;

        let mut picked: Vec<u32> = Vec::with_capacity(keyed.len());
        // Under which key: (0, row) the new one, (1, row) the old one.
        let mut under: Vec<(usize, usize)> = Vec::with_capacity(keyed.len());
        let (mut codes, mut versions) = (Vec::new(), Vec::new());
        let mut silent = 0;
        for row in 0..keyed.len() {
            let before = match (old.present.value(row), old_keys.is_valid(row)) {
                (false, _) => OldRow::Absent,
                (true, false) => OldRow::Keyless,
                (true, true) => OldRow::Keyed,
            };
            let same = new_bytes.row(row) == old_bytes.row(row);
            let asked = self.asks(before, !keyed.is_null_value(row), new_keys.is_valid(row), same);
            if asked == (None, None) {
                silent += 1;
                continue;
            }
            self.version += 1;
            for (ask, key) in [(asked.0, 1), (asked.1, 0)] {
                if let Some(ask) = ask {
                    picked.push(row as u32);
                    under.push((key, row));
                    codes.push(ask.code());
                    versions.push(self.version);
                }
            }
        }
        let foreign_keys = interleave(&[new_keys.as_ref(), old_keys.as_ref()], &under)?;
        let asks = keyed.take(&UInt32Array::from(picked))?;
        let null_key = foreign_keys.logical_nulls().map(|valid| !valid.inner());
        let mut columns = vec![foreign_keys];
        columns.extend(asks.columns.columns().iter().cloned());
        columns.push(Arc::new(Int64Array::from(versions)));
        columns.push(Arc::new(Int32Array::from(codes)));
        ctx.counters.rows_in += rows.len() as u64;
        ctx.counters.rejected += missing as u64;
        ctx.counters.unmatched += silent;
        ctx.counters.accepted += keyed.len() as u64 - silent;
        ctx.counters.rows_out += asks.len() as u64;
        let columns = batch_of(SchemaRef::clone(&self.asks_schema), columns, asks.len())?;
        out.push(Rows { columns, null_key, null_value: None, change: Change::Append, ..asks });
        Ok((rows.len(), Then::Continue))
    }

    fn track_changes(&mut self, track: bool) {
        self.table.track(track);
    }

    fn take_changes(&mut self) -> Result<Option<StateChanges>> {
        let mut changes = self.table.take_changes()?;
        if self.version > self.logged_version {
            self.logged_version = self.version;
            changes.tables.push(self.version_row()?);
        }
        Ok(Some(changes))
    }

    fn apply(&mut self, changes: &StateChanges) -> Result<()> {
        for table in &changes.tables {
            if table.table != VERSION_TABLE {
                self.table.apply(&numbered(vec![table.clone()], 0))?;
            } else if let Some(row) = table.rows.num_rows().checked_sub(1) {
                self.version = table.rows.column(2).as_primitive::<Int64Type>().value(row);
                self.logged_version = self.version;
            }
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Option<StateChanges>> {
        let mut state = self.table.snapshot()?;
        state.tables.push(self.version_row()?);
        Ok(Some(state))
    }

    fn state_size(&self) -> (u64, u64) {
        self.table.size()
    }
}

//! Stream–table join: each stream row beside the table's current row of its key.
//!
//! ```text
//! table  a | 1              left a | x   →  a | x 1
//!                           left b | y   →  LEFT: b | y null      INNER: nothing, counted unmatched
//! ```
//!
//! Only stream rows trigger; a table row (input 1) is stored, a tombstone deletes. Stream rows with a null key or value
//! are ignored, in a LEFT join too. Time and headers are the stream row's. State: see [`super::keyed_rows`].

use arrow::array::UInt32Array;
use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result};
use crate::kernels::row_store::Source;
use crate::ops::evaluate::{mask, null_values};
use crate::ops::keyed_rows::{KeyedRows, with_keys};
use crate::ops::{InputId, OpContext, Operator, Output, Then};
use crate::plan::steps::JoinKind;
use crate::rows::{Rows, batch_of};
use crate::schema::Schema;
use crate::state::StateChanges;

pub struct StreamTableJoin {
    /// Keep stream rows without a table row.
    keep_unmatched: bool,
    table: KeyedRows,
    keys: usize,
    schema: SchemaRef,
}

impl StreamTableJoin {
    pub fn new(kind: JoinKind, right: &Schema, right_windowed: bool, output: &Schema) -> Result<Self> {
        let keep_unmatched = match kind {
            JoinKind::Inner => false,
            JoinKind::Left => true,
            JoinKind::Right | JoinKind::Full => {
                return Err(Error::internal("a stream-table join is INNER or LEFT"));
            }
        };
        Ok(Self {
            keep_unmatched,
            table: KeyedRows::new(right, right_windowed)?,
            keys: right.key.len(),
            schema: output.to_arrow(),
        })
    }

    fn stream_rows(&mut self, rows: &Rows, ctx: &mut OpContext<'_>, out: &mut Output) -> Result<()> {
        let valued = match null_values(rows) {
            Some(nulls) => &rows.filter(&mask(!nulls))?,
            None => rows,
        };
        let (keyed, _) = with_keys(valued, self.keys)?;
        let run = self.table.encode(keyed.columns.columns(), keyed.window.as_ref())?;
        let found: Vec<Source> =
            (0..keyed.len()).map(|row| self.table.find(&run, row).map_or(Source::Nothing, Source::Slot)).collect();
        let kept: Vec<u32> = (0..keyed.len() as u32)
            .filter(|&row| self.keep_unmatched || found[row as usize] != Source::Nothing)
            .collect();
        let sources: Vec<Source> = kept.iter().map(|&row| found[row as usize]).collect();
        let right = self.table.gather(&sources)?;
        let left = match kept.len() == keyed.len() {
            true => keyed,
            false => keyed.take(&UInt32Array::from(kept))?,
        };
        let columns = left.columns.columns().iter().chain(&right.columns()[self.keys..]).cloned().collect();
        let columns = batch_of(SchemaRef::clone(&self.schema), columns, left.len())?;
        ctx.counters.accepted += left.len() as u64;
        ctx.counters.unmatched += (rows.len() - left.len()) as u64;
        ctx.counters.rows_out += left.len() as u64;
        out.push(Rows { columns, ..left });
        Ok(())
    }
}

impl Operator for StreamTableJoin {
    fn process(
        &mut self,
        input: InputId,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(usize, Then)> {
        ctx.counters.rows_in += rows.len() as u64;
        if input == 0 {
            self.stream_rows(rows, ctx, out)?;
        } else {
            let (keyed, missing) = with_keys(rows, self.keys)?;
            ctx.counters.rejected += missing as u64;
            ctx.counters.accepted += keyed.len() as u64;
            self.table.upsert(&keyed, false)?;
        }
        Ok((rows.len(), Then::Continue))
    }

    fn track_changes(&mut self, track: bool) {
        self.table.track(track);
    }

    fn take_changes(&mut self) -> Result<Option<StateChanges>> {
        Ok(Some(self.table.take_changes()?))
    }

    fn apply(&mut self, changes: &StateChanges) -> Result<()> {
        self.table.apply(changes)
    }

    fn snapshot(&self) -> Result<Option<StateChanges>> {
        Ok(Some(self.table.snapshot()?))
    }

    fn state_size(&self) -> (u64, u64) {
        self.table.size()
    }
}

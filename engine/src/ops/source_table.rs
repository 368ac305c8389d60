//! A table's topic: remembers the last row of each key, so that every change has its old row beside it.
//!
//! ```text
//! in   a | 1      out  a | 1   old –        rows with a null key are ignored
//!      a | 2           a | 2   old 1
//!      a | (null)      a | –   old 2        a tombstone
//! ```
//!
//! Also what a pull query reads for a table made from a table. State: see [`super::keyed_rows`].

use crate::error::Result;
use crate::ops::keyed_rows::{KeyedRows, with_keys};
use crate::ops::{InputId, Lookup, OpContext, Operator, Output, Then};
use crate::rows::{Change, Rows};
use crate::schema::Schema;
use crate::state::StateChanges;

pub struct SourceTable {
    keys: usize,
    /// None when nobody asks for old rows or looks rows up: changes just pass.
    table: Option<KeyedRows>,
    old: bool,
}

impl SourceTable {
    pub fn new(schema: &Schema, windowed: bool, old: bool, kept: bool) -> Result<Self> {
        let table = if old || kept { Some(KeyedRows::new(schema, windowed)?) } else { None };
        Ok(Self { keys: schema.key.len(), table, old })
    }
}

impl Operator for SourceTable {
    fn process(
        &mut self,
        _input: InputId,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(usize, Then)> {
        let (keyed, missing) = with_keys(rows, self.keys)?;
        ctx.counters.rows_in += rows.len() as u64;
        ctx.counters.rejected += missing as u64;
        ctx.counters.accepted += keyed.len() as u64;
        ctx.counters.rows_out += keyed.len() as u64;
        let old = match &mut self.table {
            Some(table) => table.upsert(&keyed, self.old)?,
            None => None,
        };
        out.push(Rows { change: Change::Upsert { old }, ..keyed });
        Ok((rows.len(), Then::Continue))
    }

    fn track_changes(&mut self, track: bool) {
        if let Some(table) = &mut self.table {
            table.track(track);
        }
    }

    fn take_changes(&mut self) -> Result<Option<StateChanges>> {
        self.table.as_mut().map(KeyedRows::take_changes).transpose()
    }

    fn apply(&mut self, changes: &StateChanges) -> Result<()> {
        self.table.as_mut().map_or(Ok(()), |table| table.apply(changes))
    }

    fn snapshot(&self) -> Result<Option<StateChanges>> {
        self.table.as_ref().map(KeyedRows::snapshot).transpose()
    }

    fn lookup(&self, lookup: &Lookup) -> Result<Option<Vec<Rows>>> {
        self.table.as_ref().map(|table| table.lookup(lookup)).transpose()
    }

    fn state_size(&self) -> (u64, u64) {
        self.table.as_ref().map_or((0, 0), KeyedRows::size)
    }
}

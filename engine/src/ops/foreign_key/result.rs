//! The last part of a foreign-key join: answers → rows of the result, without those that came too late.
//!
//! Answers about one left row come from wherever its foreign keys were. An answer about an older version of the row than
//! was answered already is dropped: it would overwrite what is newer.
//!
//! ```text
//! 1 | p x   version 1    →  1 | p x
//! 1 | q z   version 3    →  1 | q z
//! 1 | p y   version 1    →  nothing, counted unmatched
//! ```
//!
//! A row that is gone must be remembered for as long as answers about it can be under way: the last
//! [`GONE_VERSIONS_MAX`] are. State table 0: key | deleted | version | gone | key columns …; table 1: the result (see
//! [`crate::ops::keyed_rows`]), kept if old rows are asked for or rows are looked up.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};

use super::Travelling;
use crate::error::Result;
use crate::kernels::keys::{KeyIndex, KeyStore, state_keys};
use crate::kernels::order::Touched;
use crate::ops::groups::state_table;
use crate::ops::keyed_rows::{KeyedRows, numbered};
use crate::ops::{InputId, Lookup, OpContext, Operator, Output, Then};
use crate::rows::{Change, Rows, batch_of};
use crate::schema::Schema;
use crate::state::{StateChanges, StateTable};

/// Left rows of a task that are gone and remembered; the oldest are forgotten first.
pub const GONE_VERSIONS_MAX: usize = 1 << 16;

const RESULT_TABLE: u32 = 1;

pub struct ForeignKeyResult {
    versions: Versions,
    results: Option<KeyedRows>,
    /// Whether the operators above ask for old rows.
    old: bool,
    keys: usize,
    schema: SchemaRef,
}

impl ForeignKeyResult {
    pub fn new(travelling: &Travelling, output: &Schema, old: bool, kept: bool) -> Result<Self> {
        let results = if old || kept { Some(KeyedRows::new(output, false)?) } else { None };
        let key = travelling.answers.key.iter().map(|column| column.ty.to_arrow()).collect();
        Ok(Self { versions: Versions::new(key)?, results, old, keys: output.key.len(), schema: output.to_arrow() })
    }
}

impl Operator for ForeignKeyResult {
    fn process(
        &mut self,
        _input: InputId,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(usize, Then)> {
        let columns = rows.columns.columns();
        let (version, columns) = (&columns[columns.len() - 1], &columns[..columns.len() - 1]);
        let kept = self.versions.newest(&columns[..self.keys], version, rows)?;
        let columns = batch_of(SchemaRef::clone(&self.schema), columns.to_vec(), rows.len())?;
        let mut rows_out = Rows { columns, ..rows.clone() };
        if kept.len() < rows.len() {
            rows_out = rows_out.take(&UInt32Array::from(kept))?;
        }
        let old = match &mut self.results {
            Some(results) => results.upsert(&rows_out, self.old)?,
            None => None,
        };
        ctx.counters.rows_in += rows.len() as u64;
        ctx.counters.accepted += rows_out.len() as u64;
        ctx.counters.unmatched += (rows.len() - rows_out.len()) as u64;
        ctx.counters.rows_out += rows_out.len() as u64;
        out.push(Rows { change: Change::Upsert { old }, ..rows_out });
        Ok((rows.len(), Then::Continue))
    }

    fn track_changes(&mut self, track: bool) {
        self.versions.touched.enabled = track;
        if let Some(results) = &mut self.results {
            results.track(track);
        }
    }

    fn take_changes(&mut self) -> Result<Option<StateChanges>> {
        let mut changes = self.versions.take_changes()?;
        if let Some(results) = &mut self.results {
            changes.tables.extend(numbered(results.take_changes()?.tables, RESULT_TABLE).tables);
        }
        Ok(Some(changes))
    }

    fn apply(&mut self, changes: &StateChanges) -> Result<()> {
        for table in &changes.tables {
            match &mut self.results {
                _ if table.table != RESULT_TABLE => self.versions.apply(table)?,
                Some(results) => results.apply(&numbered(vec![table.clone()], 0))?,
                None => {}
            }
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Option<StateChanges>> {
        let mut state = self.versions.state_rows(&self.versions.index.slots())?;
        if let Some(results) = &self.results {
            state.tables.extend(numbered(results.snapshot()?.tables, RESULT_TABLE).tables);
        }
        Ok(Some(state))
    }

    fn lookup(&self, lookup: &Lookup) -> Result<Option<Vec<Rows>>> {
        self.results.as_ref().map(|results| results.lookup(lookup)).transpose()
    }

    fn state_size(&self) -> (u64, u64) {
        let results = self.results.as_ref().map_or((0, 0), KeyedRows::size);
        (results.0 + self.versions.index.len() as u64, results.1 + self.versions.keys.bytes() as u64)
    }
}

/// The version of each left row that was answered last.
struct Versions {
    keys: KeyStore,
    index: KeyIndex,
    /// Per slot; none is `FORGOTTEN`.
    newest: Vec<i64>,
    /// Version and slot of rows that are gone, the oldest first.
    gone: BTreeSet<(i64, u32)>,
    touched: Touched,
}

const FORGOTTEN: i64 = i64::MIN;

impl Versions {
    fn new(key: Vec<DataType>) -> Result<Self> {
        let keys = KeyStore::new(key)?;
        let index = keys.index();
        Ok(Self { keys, index, newest: Vec::new(), gone: BTreeSet::new(), touched: Touched::default() })
    }

    /// The rows that are not older than what was answered before them.
    fn newest(&mut self, key: &[ArrayRef], version: &ArrayRef, rows: &Rows) -> Result<Vec<u32>> {
        let versions = version.as_primitive::<Int64Type>();
        let run = self.keys.encode(key)?;
        let mut slots = Vec::new();
        self.keys.intern(&mut self.index, &run, 0, run.len(), &mut slots);
        self.newest.resize(self.keys.slots(), FORGOTTEN);
        let mut kept = Vec::with_capacity(rows.len());
        for (row, &slot) in slots.iter().enumerate() {
            let version = versions.value(row);
            if version >= self.newest[slot as usize] {
                self.answered(slot, version, rows.is_null_value(row));
                kept.push(row as u32);
            }
        }
        self.touched.mark(&slots);
        while self.gone.len() > GONE_VERSIONS_MAX
            && let Some((_, slot)) = self.gone.pop_first()
        {
            self.forget(slot);
        }
        Ok(kept)
    }

    fn answered(&mut self, slot: u32, version: i64, gone: bool) {
        self.gone.remove(&(self.newest[slot as usize], slot));
        self.newest[slot as usize] = version;
        if gone {
            self.gone.insert((version, slot));
        }
    }

    /// The slot is given back once the log knows, or at once if it need not.
    fn forget(&mut self, slot: u32) {
        self.newest[slot as usize] = FORGOTTEN;
        self.touched.mark(&[slot]);
        if !self.touched.enabled {
            self.keys.forget(&mut self.index, slot);
        }
    }

    fn take_changes(&mut self) -> Result<StateChanges> {
        let slots = self.touched.take();
        let changes = self.state_rows(&slots)?;
        for slot in slots {
            if self.newest[slot as usize] == FORGOTTEN {
                self.keys.forget(&mut self.index, slot);
            }
        }
        Ok(changes)
    }

    fn state_rows(&self, slots: &[u32]) -> Result<StateChanges> {
        if slots.is_empty() {
            return Ok(StateChanges::default());
        }
        let identity = self.keys.columns(slots)?;
        let newest = |slot: &u32| self.newest[*slot as usize];
        let deleted: BooleanArray = slots.iter().map(|slot| Some(newest(slot) == FORGOTTEN)).collect();
        let gone: BooleanArray = slots.iter().map(|slot| Some(self.gone.contains(&(newest(slot), *slot)))).collect();
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(state_keys(&identity)?),
            Arc::new(deleted),
            Arc::new(Int64Array::from_iter_values(slots.iter().map(newest))),
            Arc::new(gone),
        ];
        columns.extend(identity);
        Ok(StateChanges { tables: vec![StateTable { table: 0, rows: state_table(columns)? }] })
    }

    fn apply(&mut self, table: &StateTable) -> Result<()> {
        let columns = table.rows.columns();
        let (deleted, gone) = (columns[1].as_boolean(), columns[3].as_boolean());
        let versions = columns[2].as_primitive::<Int64Type>();
        let run = self.keys.encode(&columns[4..])?;
        for row in 0..run.len() {
            let slot = self.keys.intern_one(&mut self.index, &run, row);
            self.newest.resize(self.keys.slots(), FORGOTTEN);
            if deleted.value(row) {
                self.gone.remove(&(self.newest[slot as usize], slot));
                self.newest[slot as usize] = FORGOTTEN;
                self.keys.forget(&mut self.index, slot);
            } else {
                self.answered(slot, versions.value(row), gone.value(row));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{RecordBatch, StringArray};

    use super::*;
    use crate::ops::Counters;
    use crate::schema::Column;
    use crate::types::SqlType;

    fn answer(value: Option<&str>, version: i64) -> Rows {
        let columns: [(&str, ArrayRef); 3] = [
            ("K", Arc::new(Int64Array::from(vec![1]))),
            ("V", Arc::new(StringArray::from(vec![value]))),
            ("KSQL_FK_VERSION", Arc::new(Int64Array::from(vec![version]))),
        ];
        let columns = RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).unwrap();
        let null_value = value.is_none().then(|| arrow::buffer::BooleanBuffer::new_set(1));
        Rows { null_value, change: Change::Upsert { old: None }, ..Rows::append(columns, vec![0].into()) }
    }

    fn result() -> ForeignKeyResult {
        let column = |name: &str, ty| Column::new(name, ty);
        let (key, value) = (vec![column("K", SqlType::Bigint)], vec![column("V", SqlType::String)]);
        let output = Schema::new(key.clone(), value.clone());
        let version = column("KSQL_FK_VERSION", SqlType::Bigint);
        let answers = Schema::new(key, value.into_iter().chain([version]).collect());
        let travelling = Travelling { asks: Schema::default(), answers };
        let mut result = ForeignKeyResult::new(&travelling, &output, false, true).unwrap();
        result.track_changes(true);
        result
    }

    fn passes(result: &mut ForeignKeyResult, value: Option<&str>, version: i64) -> bool {
        let (mut errors, mut counters, mut out) = (Vec::new(), Counters::default(), Output::default());
        let mut ctx = OpContext { errors: &mut errors, counters: &mut counters };
        result.process(0, &answer(value, version), &mut ctx, &mut out).unwrap();
        !out.runs.is_empty()
    }

    #[test]
    fn an_answer_about_an_older_version_is_dropped_even_after_the_row_is_gone_and_a_restart() {
        let mut first = result();
        assert!(passes(&mut first, Some("x"), 1));
        assert!(passes(&mut first, Some("z"), 3));
        assert!(!passes(&mut first, Some("y"), 1));
        assert!(passes(&mut first, Some("z2"), 3));
        assert!(passes(&mut first, None, 4));
        assert!(!passes(&mut first, Some("y"), 3));
        let mut second = result();
        second.apply(&first.take_changes().unwrap().unwrap()).unwrap();
        assert!(!passes(&mut second, Some("y"), 3));
        assert!(passes(&mut second, Some("new"), 5));
    }
}

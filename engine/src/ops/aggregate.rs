//! GROUP BY without a window: every row updates its group and leaves as the group's new result.
//!
//! ```text
//! in   key | arg          out  key | COUNT  SUM | time                     old (if asked for)
//!      a   | 1   @ 5           a   | 1      1   | 5                        –
//!      a   | 2   @ 3           a   | 2      3   | 5   largest time so far  1 1
//! ```
//!
//! A group that has become empty stays (COUNT 0). State: see [`super::groups`].

use arrow::array::ArrayRef;

use crate::error::Result;
use crate::kernels::keys::{KeyIndex, KeyStore};
use crate::ops::groups::{Groups, Owner};
use crate::ops::keyed_rows::lookup_keys;
use crate::ops::{InputId, Lookup, OpContext, Operator, Output, Then};
use crate::plan::lower::OperatorSettings;
use crate::plan::steps::Aggregate;
use crate::rows::{Change, OldRows, Rows};
use crate::schema::Schema;
use crate::state::StateChanges;

pub struct AggregateRows {
    groups: Groups,
    keys: Keys,
    /// Whether the operators above ask for old rows.
    old: bool,
}

struct Keys {
    store: KeyStore,
    index: KeyIndex,
}

impl AggregateRows {
    pub fn new(aggregate: &Aggregate, output: &Schema, old: bool, settings: &OperatorSettings) -> Result<Self> {
        let groups = Groups::new(aggregate, output, &settings.values)?;
        let store = KeyStore::new(groups.key_types().to_vec())?;
        let index = store.index();
        Ok(Self { groups, keys: Keys { store, index }, old })
    }
}

impl Operator for AggregateRows {
    fn process(
        &mut self,
        _input: InputId,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(usize, Then)> {
        let key_columns = &rows.columns.columns()[..self.groups.key_types().len()];
        let run = self.keys.store.encode(key_columns)?;
        let mut slots = Vec::new();
        self.keys.store.intern(&mut self.keys.index, &run, 0, run.len(), &mut slots);
        let results = self.groups.update(&slots, rows, self.old, ctx)?;
        let old = match (results.old, results.present) {
            (Some(old), Some(present)) => {
                Some(OldRows { columns: self.groups.batch(key_columns.to_vec(), old, rows.len())?, present })
            }
            _ => None,
        };
        let columns = self.groups.batch(key_columns.to_vec(), results.new, rows.len())?;
        ctx.counters.rows_in += rows.len() as u64;
        ctx.counters.accepted += rows.len() as u64;
        ctx.counters.rows_out += rows.len() as u64;
        out.push(Rows {
            time: results.time.into(),
            change: Change::Upsert { old },
            headers: rows.headers.clone(),
            ..Rows::append(columns, rows.time.clone())
        });
        Ok((rows.len(), Then::Continue))
    }

    fn track_changes(&mut self, track: bool) {
        self.groups.track(track);
    }

    fn take_changes(&mut self) -> Result<Option<StateChanges>> {
        Ok(Some(self.groups.take_changes(|slots| self.keys.store.columns(slots))?))
    }

    fn apply(&mut self, changes: &StateChanges) -> Result<()> {
        self.groups.apply(changes, &mut self.keys)
    }

    fn snapshot(&self) -> Result<Option<StateChanges>> {
        let slots = self.keys.index.slots();
        Ok(Some(self.groups.snapshot(&slots, self.keys.store.columns(&slots)?)?))
    }

    fn lookup(&self, lookup: &Lookup) -> Result<Option<Vec<Rows>>> {
        let slots = match lookup_keys(lookup, self.groups.key_types())? {
            Some(columns) => {
                let run = self.keys.store.encode(&columns)?;
                (0..run.len()).filter_map(|row| self.keys.store.find(&self.keys.index, &run, row)).collect()
            }
            None => self.keys.index.slots(),
        };
        Ok(Some(vec![self.groups.rows_of(&slots, self.keys.store.columns(&slots)?, false)?]))
    }

    fn state_size(&self) -> (u64, u64) {
        (self.keys.index.len() as u64, (self.keys.store.bytes() + self.groups.bytes()) as u64)
    }
}

impl Owner for Keys {
    fn drop_groups(&mut self, keys: &[ArrayRef], _starts: &[i64], _ends: &[i64]) -> Result<Vec<u32>> {
        let run = self.store.encode(keys)?;
        let slots: Vec<u32> = (0..run.len()).filter_map(|row| self.store.find(&self.index, &run, row)).collect();
        for &slot in &slots {
            self.store.forget(&mut self.index, slot);
        }
        Ok(slots)
    }

    fn make_groups(&mut self, keys: &[ArrayRef], _starts: &[i64], _ends: &[i64]) -> Result<Vec<u32>> {
        let run = self.store.encode(keys)?;
        let mut slots = Vec::new();
        self.store.intern(&mut self.index, &run, 0, run.len(), &mut slots);
        Ok(slots)
    }
}

//! The groups of an aggregation: per slot its aggregates, its largest time and its window.
//!
//! Which slot a row belongs to is decided by the operators ([`super::aggregate`], [`super::window_aggregate`],
//! [`super::session_aggregate`]); what happens to it there is the same for all.
//!
//! State table 0, one row per group:
//!
//! ```text
//! key (group columns, window) | deleted | group columns … | start | end | time | aggregate states …
//! ```
//!
//! State table 1 is the operator's clock: one row with an empty key, `stream_time | window_start_max | closed_through`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat, filter};
use arrow::datatypes::{DataType, Field, Int64Type, Schema as ArrowSchema, SchemaRef};

use crate::error::{Error, Result};
use crate::functions::aggregate::{self, Aggregator, Args, Emit, EmitRows};
use crate::kernels::fixed_bytes;
use crate::kernels::keys::state_keys;
use crate::kernels::order::{NONE, Stamps, Touched, previous_rows};
use crate::ops::group::Arguments;
use crate::ops::{OpContext, OpError};
use crate::plan::steps::Aggregate;
use crate::rows::{Change, Rows, Windows, batch_of};
use crate::state::{StateChanges, StateTable};

/// Time of a slot that no row has reached yet.
pub const NEVER: i64 = i64::MIN;

pub struct Groups {
    calls: Vec<Call>,
    key_types: Vec<DataType>,
    schema: SchemaRef,
    window_start: bool,
    window_end: bool,
    times: Vec<i64>,
    starts: Vec<i64>,
    ends: Vec<i64>,
    touched: Touched,
    stamps: Stamps,
    /// Groups that are gone and were not taken yet.
    gone: Vec<(Vec<ArrayRef>, Vec<i64>, Vec<i64>)>,
    clock: Clock,
    clock_touched: bool,
}

struct Call {
    aggregator: Box<dyn Aggregator>,
    args: Vec<usize>,
    /// `Aggregate/KSQL_AGG_VARIABLE_0`
    place: String,
    state: Vec<DataType>,
}

/// The times an aggregation has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Largest time of an accepted row.
    pub stream_time: i64,
    /// Largest start (end, for sessions) of a stored window; retention counts from it.
    pub newest: i64,
    /// Windows closed at this stream time or before have been emitted (EMIT FINAL).
    pub closed_through: i64,
}

/// What an update gives per row: the columns after the keys.
pub struct Results {
    pub new: Vec<ArrayRef>,
    pub old: Option<Vec<ArrayRef>>,
    pub time: Vec<i64>,
    /// Rows whose group was there before.
    pub present: Option<BooleanBuffer>,
}

impl Groups {
    pub fn new(
        aggregate: &Aggregate,
        output: &crate::schema::Schema,
        settings: &std::collections::BTreeMap<String, String>,
    ) -> Result<Self> {
        let arguments = Arguments::of(aggregate);
        let calls = aggregate
            .aggregates
            .iter()
            .zip(arguments.positions)
            .map(|(call, args)| {
                let types: Vec<_> = call.args.iter().map(|arg| arg.ty.clone()).collect();
                let aggregator = aggregate::create(&call.function, &types, &call.constants, settings)?;
                let state = aggregator.state_types().iter().map(|ty| ty.to_arrow()).collect();
                Ok(Call { aggregator, args, place: format!("Aggregate/{}", call.output), state })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            calls,
            key_types: aggregate.group.iter().map(|g| g.expr.ty.to_arrow()).collect(),
            schema: output.to_arrow(),
            window_start: aggregate.window_start.is_some(),
            window_end: aggregate.window_end.is_some(),
            times: Vec::new(),
            starts: Vec::new(),
            ends: Vec::new(),
            touched: Touched::default(),
            stamps: Stamps::default(),
            gone: Vec::new(),
            clock: Clock { stream_time: NEVER, newest: NEVER, closed_through: NEVER },
            clock_touched: false,
        })
    }

    pub fn track(&mut self, track: bool) {
        self.touched.enabled = track;
    }

    pub fn key_types(&self) -> &[DataType] {
        &self.key_types
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn clock(&self) -> Clock {
        self.clock
    }

    pub fn set_clock(&mut self, clock: Clock) {
        self.clock_touched |= self.clock != clock;
        self.clock = clock;
    }

    pub fn time(&self, slot: u32) -> i64 {
        self.times.get(slot as usize).copied().unwrap_or(NEVER)
    }

    pub fn window(&self, slot: u32) -> (i64, i64) {
        (self.starts[slot as usize], self.ends[slot as usize])
    }

    pub fn tracks(&self) -> bool {
        self.touched.enabled
    }

    pub fn set_window(&mut self, slot: u32, start: i64, end: i64) {
        self.reach(&[slot]);
        self.starts[slot as usize] = start;
        self.ends[slot as usize] = end;
    }

    fn reach(&mut self, slots: &[u32]) {
        if let Some(&max) = slots.iter().max()
            && self.times.len() <= max as usize
        {
            self.times.resize(max as usize + 1, NEVER);
            self.starts.resize(max as usize + 1, 0);
            self.ends.resize(max as usize + 1, 0);
        }
    }

    /// Applies the rows, row `i` to `slots[i]`. `rows` is what [`super::group`] puts out.
    pub fn update(&mut self, slots: &[u32], rows: &Rows, old: bool, ctx: &mut OpContext<'_>) -> Result<Results> {
        self.reach(slots);
        self.touched.mark(slots);
        let keys = self.key_types.len();
        let all = BooleanBuffer::new_set(rows.len());
        let add = rows.null_value.as_ref().map_or(all, |nulls| !nulls);
        let (mut new_results, mut old_results) = (Vec::with_capacity(self.calls.len() + 2), Vec::new());
        for call in &mut self.calls {
            let values: Vec<ArrayRef> =
                call.args.iter().map(|&arg| Arc::clone(rows.columns.column(keys + arg))).collect();
            let undo_values: Vec<ArrayRef> = match rows.old() {
                Some(old) => call.args.iter().map(|&arg| Arc::clone(old.columns.column(keys + arg))).collect(),
                None => Vec::new(),
            };
            let undo = rows.old().map(|old| (undo_values.as_slice(), &old.present));
            let args = Args { values: &values, add: &add, undo };
            let updated = call.aggregator.update(slots, &args, Emit { rows: EmitRows::EveryRow, old })?;
            for error in updated.errors {
                ctx.counters.field_errors += 1;
                let time = rows.time.value(error.row);
                ctx.errors.push(OpError { place: call.place.clone(), error, time });
            }
            let missing = || Error::internal("an aggregate gave no results");
            new_results.push(updated.new.ok_or_else(missing)?);
            if old {
                old_results.push(updated.old.ok_or_else(missing)?);
            }
        }
        let present = old.then(|| self.present_before(slots));
        let mut time = Vec::with_capacity(slots.len());
        for (&slot, &row_time) in slots.iter().zip(rows.time.values()) {
            let latest = &mut self.times[slot as usize];
            *latest = (*latest).max(row_time);
            time.push(*latest);
        }
        Ok(Results { new: new_results, old: old.then_some(old_results), time, present })
    }

    /// For each row whether its group existed, given that earlier rows of this run made theirs.
    fn present_before(&mut self, slots: &[u32]) -> BooleanBuffer {
        let previous = previous_rows(slots, &mut self.stamps);
        BooleanBuffer::collect_bool(slots.len(), |row| {
            self.times[slots[row] as usize] != NEVER || previous[row] != NONE
        })
    }

    /// The columns WINDOWSTART and WINDOWEND, if they are named.
    pub fn window_columns(&self, windows: &Windows) -> Vec<ArrayRef> {
        let start = self.window_start.then(|| Arc::new(windows.start.clone()) as ArrayRef);
        let end = self.window_end.then(|| Arc::new(windows.end.clone()) as ArrayRef);
        start.into_iter().chain(end).collect()
    }

    /// Current results of these slots: one column per aggregate.
    pub fn evaluate(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.calls.iter().map(|c| c.aggregator.evaluate(slots)).collect()
    }

    /// Windows of these slots.
    pub fn windows(&self, slots: &[u32]) -> Windows {
        let pick = |values: &[i64]| Int64Array::from_iter_values(slots.iter().map(|&slot| values[slot as usize]));
        Windows { start: pick(&self.starts), end: pick(&self.ends) }
    }

    /// Current rows of these slots, with their windows or without.
    pub fn rows_of(&self, slots: &[u32], keys: Vec<ArrayRef>, windowed: bool) -> Result<Rows> {
        let windows = windowed.then(|| self.windows(slots));
        let mut results = self.evaluate(slots)?;
        results.extend(windows.iter().flat_map(|windows| self.window_columns(windows)));
        let columns = self.batch(keys, results, slots.len())?;
        let time = slots.iter().map(|&slot| self.time(slot)).collect::<Vec<_>>().into();
        Ok(Rows { window: windows, change: Change::Upsert { old: None }, ..Rows::append(columns, time) })
    }

    /// Folds `from` into `into` (sessions).
    pub fn merge(&mut self, into: u32, from: u32) -> Result<()> {
        for call in &mut self.calls {
            call.aggregator.merge(into, from)?;
        }
        let time = self.times[from as usize];
        let latest = &mut self.times[into as usize];
        *latest = (*latest).max(time);
        self.touched.mark(&[into]);
        Ok(())
    }

    /// These groups are no more; `keys` are their key columns, kept for the next `take_changes`.
    pub fn forget(&mut self, slots: &[u32], keys: impl FnOnce() -> Result<Vec<ArrayRef>>) -> Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        if self.touched.enabled {
            let pick = |values: &[i64]| slots.iter().map(|&slot| values[slot as usize]).collect();
            let (starts, ends) = (pick(&self.starts), pick(&self.ends));
            self.note_gone(keys()?, starts, ends);
            self.touched.forget(slots);
        }
        for call in &mut self.calls {
            call.aggregator.clear(slots);
        }
        for &slot in slots {
            self.times[slot as usize] = NEVER;
        }
        Ok(())
    }

    /// A group that was folded into another: its slot is given back.
    pub fn forget_merged(&mut self, slot: u32) {
        self.touched.forget(&[slot]);
        for call in &mut self.calls {
            call.aggregator.clear(&[slot]);
        }
        self.times[slot as usize] = NEVER;
    }

    /// State rows of these keys and windows are to be deleted, though their slots may live on (sessions that moved).
    pub fn note_gone(&mut self, keys: Vec<ArrayRef>, starts: Vec<i64>, ends: Vec<i64>) {
        if self.touched.enabled && !starts.is_empty() {
            self.gone.push((keys, starts, ends));
        }
    }

    /// Changes since the last call; `keys` gives the key columns of slots.
    pub fn take_changes(&mut self, keys: impl Fn(&[u32]) -> Result<Vec<ArrayRef>>) -> Result<StateChanges> {
        let slots = self.touched.take();
        let mut tables = Vec::new();
        let live = self.state_rows(&slots, keys(&slots)?)?;
        let gone = std::mem::take(&mut self.gone);
        let rows = if gone.is_empty() { live } else { self.with_gone(live, gone)? };
        if rows.num_rows() > 0 {
            tables.push(StateTable { table: 0, rows });
        }
        if std::mem::take(&mut self.clock_touched) {
            tables.push(StateTable { table: 1, rows: self.clock_row()? });
        }
        Ok(StateChanges { tables })
    }

    pub fn snapshot(&self, slots: &[u32], keys: Vec<ArrayRef>) -> Result<StateChanges> {
        Ok(StateChanges {
            tables: vec![
                StateTable { table: 0, rows: self.state_rows(slots, keys)? },
                StateTable { table: 1, rows: self.clock_row()? },
            ],
        })
    }

    fn state_rows(&self, slots: &[u32], keys: Vec<ArrayRef>) -> Result<RecordBatch> {
        let pick = |values: &[i64]| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(slots.iter().map(|&slot| values[slot as usize])))
        };
        let mut columns = keys;
        columns.extend([pick(&self.starts), pick(&self.ends), pick(&self.times)]);
        for call in &self.calls {
            columns.extend(call.aggregator.store(slots)?);
        }
        self.state_batch(columns, slots.len(), false)
    }

    fn state_batch(&self, payload: Vec<ArrayRef>, rows: usize, deleted: bool) -> Result<RecordBatch> {
        let identity = &payload[..self.key_types.len() + 2];
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(state_keys(identity)?), Arc::new(BooleanArray::from(vec![deleted; rows]))];
        columns.extend(payload);
        state_table(columns)
    }

    /// The live rows, and before them the deletions that no live row overtakes.
    fn with_gone(&self, live: RecordBatch, gone: Vec<(Vec<ArrayRef>, Vec<i64>, Vec<i64>)>) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::new();
        for i in 0..self.key_types.len() {
            let parts: Vec<&dyn Array> = gone.iter().map(|(keys, ..)| keys[i].as_ref()).collect();
            columns.push(concat(&parts)?);
        }
        columns.push(Arc::new(gone.iter().flat_map(|(_, starts, _)| starts.iter().copied()).collect::<Int64Array>()));
        columns.push(Arc::new(gone.iter().flat_map(|(.., ends)| ends.iter().copied()).collect::<Int64Array>()));
        let rows = columns[0].len();
        columns.push(new_null_array(&DataType::Int64, rows));
        columns.extend(self.calls.iter().flat_map(|c| &c.state).map(|ty| new_null_array(ty, rows)));
        let dead = self.state_batch(columns, rows, true)?;
        let mut seen: hashbrown::HashSet<Vec<u8>> =
            live.column(0).as_binary::<i32>().iter().flatten().map(<[u8]>::to_vec).collect();
        let keep: BooleanArray =
            dead.column(0).as_binary::<i32>().iter().map(|key| Some(seen.insert(key?.to_vec()))).collect();
        let dead = arrow::compute::filter_record_batch(&dead, &keep)?;
        Ok(arrow::compute::concat_batches(&live.schema(), [&dead, &live])?)
    }

    fn clock_row(&self) -> Result<RecordBatch> {
        let long = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
        state_table(vec![
            Arc::new(BinaryArray::from(vec![&b""[..]])),
            Arc::new(BooleanArray::from(vec![false])),
            long(self.clock.stream_time),
            long(self.clock.newest),
            long(self.clock.closed_through),
        ])
    }

    /// Puts state rows back. `gone` drops groups, `slots` finds or makes the slots of groups; both are given key columns,
    /// starts and ends.
    pub fn apply(&mut self, changes: &StateChanges, owner: &mut dyn Owner) -> Result<()> {
        for table in &changes.tables {
            if table.table == 1 {
                let long = |i: usize| table.rows.column(i).as_primitive::<Int64Type>().value(0);
                self.clock = Clock { stream_time: long(2), newest: long(3), closed_through: long(4) };
                continue;
            }
            let deleted = table.rows.column(1).as_boolean();
            for (dead, rows) in [(true, deleted.clone()), (false, arrow::compute::not(deleted)?)] {
                if rows.true_count() == 0 {
                    continue;
                }
                let columns = table.rows.columns()[2..]
                    .iter()
                    .map(|column| filter(column, &rows))
                    .collect::<std::result::Result<Vec<_>, _>>()?;
                self.apply_rows(&columns, dead, owner)?;
            }
        }
        Ok(())
    }

    fn apply_rows(&mut self, columns: &[ArrayRef], dead: bool, owner: &mut dyn Owner) -> Result<()> {
        let (keys, rest) = columns.split_at(self.key_types.len());
        let long = |i: usize| rest[i].as_primitive::<Int64Type>().values().to_vec();
        let (starts, ends) = (long(0), long(1));
        if dead {
            let slots = owner.drop_groups(keys, &starts, &ends)?;
            for call in &mut self.calls {
                call.aggregator.clear(&slots);
            }
            for slot in slots {
                self.times[slot as usize] = NEVER;
            }
            return Ok(());
        }
        let slots = owner.make_groups(keys, &starts, &ends)?;
        self.reach(&slots);
        for (row, &slot) in slots.iter().enumerate() {
            self.starts[slot as usize] = starts[row];
            self.ends[slot as usize] = ends[row];
            self.times[slot as usize] = rest[2].as_primitive::<Int64Type>().value(row);
        }
        let mut at = 3;
        for call in &mut self.calls {
            call.aggregator.load(&slots, &rest[at..at + call.state.len()])?;
            at += call.state.len();
        }
        Ok(())
    }

    /// Memory of the groups beside their keys.
    pub fn bytes(&self) -> usize {
        let aggregates: usize = self.calls.iter().map(|call| call.aggregator.bytes()).sum();
        fixed_bytes(&self.times) + fixed_bytes(&self.starts) + fixed_bytes(&self.ends) + aggregates
    }

    /// The rows of these groups as they would be sent on.
    pub fn batch(&self, keys: Vec<ArrayRef>, results: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        batch_of(SchemaRef::clone(&self.schema), keys.into_iter().chain(results).collect(), rows)
    }
}

/// Who decides which slot a group has.
pub trait Owner {
    /// Slots of these groups, taken out of the index and given back.
    fn drop_groups(&mut self, keys: &[ArrayRef], starts: &[i64], ends: &[i64]) -> Result<Vec<u32>>;
    /// Slots of these groups, made where they are new.
    fn make_groups(&mut self, keys: &[ArrayRef], starts: &[i64], ends: &[i64]) -> Result<Vec<u32>>;
}

/// A state table from its columns: `key`, `deleted`, then the payload.
pub fn state_table(columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let rows = columns[0].len();
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| match i {
            0 => Field::new("key", DataType::Binary, false),
            1 => Field::new("deleted", DataType::Boolean, false),
            _ => Field::new(format!("p{}", i - 2), column.data_type().clone(), true),
        })
        .collect();
    batch_of(Arc::new(ArrowSchema::new(fields)), columns, rows)
}

//! Stream–stream join: rows of both sides that have one key and times close enough.
//!
//! A left row at `a` meets a right row at `b` when `a - before <= b <= a + after`. Each row is stored and meets all stored
//! rows of the other side, by their times; what it makes has the later of both times.
//!
//! ```text
//! WITHIN 5     left a|x @ 10                       LEFT, no GRACE: a | x null @ 10 at once
//!              right a|1 @ 12  →  a | x 1 @ 12
//! ```
//!
//! Rows without a partner, for the sides that LEFT, RIGHT and FULL keep: without GRACE PERIOD they leave at once; with it
//! they wait until `time + after (right rows: before) + grace < stream time`, and leave in order of time, side (right
//! first), key, ahead of the row whose time closed them; or at once if `time + after` is already behind.
//!
//! Each side forgets rows older than its own largest time by more than `before + after + grace` (24 h without GRACE).
//! Rows with a null key or value are ignored. Rules from Kafka Streams' `KStreamKStreamJoin`, without its wall-clock
//! throttle.
//!
//! State tables 0 (left) and 1 (right), one row per stored row: `key (number) | deleted | time | start | end | waiting |
//! columns …`. Table 2, the clock: `stream_time | largest left time | largest right time | next number`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};

use crate::error::{Error, Result};
use crate::kernels::fixed_bytes;
use crate::kernels::keys::{KeyIndex, KeyStore};
use crate::kernels::row_store::{RowStore, Source, copy_rows};
use crate::ops::evaluate::{mask, null_values};
use crate::ops::groups::{NEVER, state_table};
use crate::ops::keyed_rows::with_keys;
use crate::ops::{InputId, OpContext, Operator, Output, Then};
use crate::plan::steps::JoinKind;
use crate::rows::{Rows, Windows, batch_of};
use crate::schema::Schema;
use crate::state::{StateChanges, StateTable};

/// Grace of joins without GRACE PERIOD (Kafka Streams' old default).
const OLD_GRACE_MS: i64 = 24 * 60 * 60 * 1000;

/// A call stops after this many output rows.
const OUTPUT_ROWS_MAX: usize = 8192;

const LEFT: usize = 0;

pub struct StreamStreamJoin {
    sides: [Side; 2],
    /// Per side: how far ahead of a row its partner may be, and how far behind.
    ahead_ms: [i64; 2],
    behind_ms: [i64; 2],
    /// None: rows without a partner do not wait.
    grace_ms: Option<i64>,
    retention_ms: i64,
    keys: KeyStore,
    index: KeyIndex,
    key_columns: usize,
    windowed: bool,
    /// Rows that wait for a partner or the end of their time: `(time, side, key bytes)`, right before left.
    waiting: BTreeMap<(i64, bool, Vec<u8>), Vec<u32>>,
    stream_time: i64,
    /// Number of the next stored row.
    next: i64,
    schema: SchemaRef,
    track: bool,
}

struct Side {
    /// Rows of this side are kept without a partner.
    outer: bool,
    rows: RowStore,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Per key its rows as `(time, number, slot)`, ascending.
    of_key: Vec<Vec<(i64, i64, u32)>>,
    by_time: BTreeSet<(i64, i64, u32)>,
    largest: i64,
    changed: BTreeSet<i64>,
    slot_of: hashbrown::HashMap<i64, u32>,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    number: i64,
    time: i64,
    window: (i64, i64),
    key: u32,
    waiting: bool,
}

/// One row to put out.
struct Made {
    left: Source,
    right: Source,
    time: i64,
    window: (i64, i64),
    origin: u32,
}

/// How a stream-stream join is bounded.
#[derive(Debug, Clone, Copy)]
pub struct Within {
    pub before_ms: i64,
    pub after_ms: i64,
    pub grace_ms: Option<i64>,
}

impl StreamStreamJoin {
    pub fn new(
        kind: JoinKind,
        within: Within,
        left: &Schema,
        right: &Schema,
        windowed: bool,
        output: &Schema,
    ) -> Result<Self> {
        let mut identity: Vec<DataType> = left.key.iter().map(|column| column.ty.to_arrow()).collect();
        let key_columns = identity.len();
        if windowed {
            identity.extend([DataType::Int64, DataType::Int64]);
        }
        let keys = KeyStore::new(identity)?;
        let index = keys.index();
        let Within { before_ms, after_ms, grace_ms } = within;
        let span = before_ms.saturating_add(after_ms);
        Ok(Self {
            sides: [
                Side::new(left, matches!(kind, JoinKind::Left | JoinKind::Full)),
                Side::new(right, matches!(kind, JoinKind::Right | JoinKind::Full)),
            ],
            ahead_ms: [after_ms, before_ms],
            behind_ms: [before_ms, after_ms],
            grace_ms,
            retention_ms: span.saturating_add(grace_ms.unwrap_or(OLD_GRACE_MS)),
            keys,
            index,
            key_columns,
            windowed,
            waiting: BTreeMap::new(),
            stream_time: NEVER,
            next: 0,
            schema: output.to_arrow(),
            track: false,
        })
    }

    /// Rows whose time has run out leave without a partner.
    fn close(&mut self, origin: u32, made: &mut Vec<Made>) {
        let Some(grace) = self.grace_ms else { return };
        let shortest = self.ahead_ms[0].min(self.ahead_ms[1]);
        let closed = |time: i64, ahead: i64| time.saturating_add(ahead).saturating_add(grace) < self.stream_time;
        let mut done = Vec::new();
        for (at, slots) in self.waiting.iter().take_while(|(at, _)| closed(at.0, shortest)) {
            let side = usize::from(!at.1);
            if !closed(at.0, self.ahead_ms[side]) {
                continue;
            }
            for &slot in slots {
                let stored = &self.sides[side].slots[slot as usize];
                made.push(Made::alone(side, Source::Slot(slot), stored.time, stored.window, origin));
            }
            done.push((at.clone(), side));
        }
        for (at, side) in done {
            for slot in self.waiting.remove(&at).unwrap_or_default() {
                self.sides[side].settle(slot, self.track);
            }
        }
    }

    /// Meets the row's partners; whether there were any.
    fn meet(&mut self, side: usize, row: u32, key: u32, time: i64, window: (i64, i64), made: &mut Vec<Made>) -> bool {
        let other = 1 - side;
        let from = time.saturating_sub(self.behind_ms[side]).max(0);
        let to = time.saturating_add(self.ahead_ms[side]).max(0);
        let oldest = self.sides[other].largest.saturating_sub(self.retention_ms);
        let Some(candidates) = self.sides[other].of_key.get(key as usize) else { return false };
        let partners: Vec<(i64, i64, u32)> = candidates
            .iter()
            .copied()
            .skip_while(|partner| partner.0 < from)
            .take_while(|partner| partner.0 <= to)
            .filter(|partner| partner.0 >= oldest)
            .collect();
        for &(partner_time, _, slot) in &partners {
            let (left, right) = match side {
                LEFT => (Source::Run(row), Source::Slot(slot)),
                _ => (Source::Slot(slot), Source::Run(row)),
            };
            made.push(Made { left, right, time: time.max(partner_time), window, origin: row });
            if self.sides[other].slots[slot as usize].waiting {
                self.stop_waiting(other, key, partner_time);
            }
        }
        !partners.is_empty()
    }

    /// All waiting rows of this side, key and time have met someone.
    fn stop_waiting(&mut self, side: usize, key: u32, time: i64) {
        let at = (time, side == LEFT, self.key_bytes(key));
        for slot in self.waiting.remove(&at).unwrap_or_default() {
            self.sides[side].settle(slot, self.track);
        }
    }

    fn key_bytes(&self, key: u32) -> Vec<u8> {
        self.keys.ordered_bytes(key)
    }

    /// Takes rows in order; gives the number of rows taken.
    fn take_rows(
        &mut self,
        side: usize,
        rows: &Rows,
        keys: &[u32],
        slots: &mut Vec<(u32, u32)>,
        made: &mut Vec<Made>,
    ) -> usize {
        for (row, (&time, &key)) in rows.time.values().iter().zip(keys).enumerate() {
            let at = row as u32;
            let window = rows.window.as_ref().map_or((0, 0), |w| (w.start.value(row), w.end.value(row)));
            self.stream_time = self.stream_time.max(time);
            let before = self.sides[side].largest;
            self.sides[side].largest = before.max(time);
            let kept = time >= self.sides[side].largest.saturating_sub(self.retention_ms);
            if time == self.stream_time {
                self.close(at, made);
            }
            let met = self.meet(side, at, key, time, window, made);
            let mut waits = false;
            if !met && self.sides[side].outer {
                waits = self.grace_ms.is_some() && time.saturating_add(self.ahead_ms[side]) >= self.stream_time;
                if !waits {
                    made.push(Made::alone(side, Source::Run(at), time, window, at));
                }
            }
            if kept || waits {
                let slot = self.store(side, key, time, window, waits);
                slots.push((at, slot));
            }
            if made.len() >= OUTPUT_ROWS_MAX {
                return row + 1;
            }
        }
        rows.len()
    }

    fn store(&mut self, side: usize, key: u32, time: i64, window: (i64, i64), waiting: bool) -> u32 {
        let number = self.next;
        self.next += 1;
        let slot = self.sides[side].make(Slot { number, time, window, key, waiting }, self.track);
        if waiting {
            let at = (time, side == LEFT, self.key_bytes(key));
            self.waiting.entry(at).or_default().push(slot);
        }
        slot
    }

    fn output(&self, side: usize, rows: &Rows, made: &[Made]) -> Result<Rows> {
        let pick = |of: fn(&Made) -> Source, which: usize| -> Result<RecordBatch> {
            let sources: Vec<Source> = made.iter().map(of).collect();
            self.sides[which].rows.gather(&sources, (which == side).then_some(&rows.columns))
        };
        let left = pick(|made| made.left, 0)?;
        let right = pick(|made| made.right, 1)?;
        let from: Vec<(usize, usize)> =
            made.iter().enumerate().map(|(i, made)| (usize::from(made.left == Source::Nothing), i)).collect();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for key in 0..self.key_columns {
            columns.push(interleave(&[left.column(key).as_ref(), right.column(key).as_ref()], &from)?);
        }
        columns.extend(left.columns()[self.key_columns..].iter().cloned());
        columns.extend(right.columns()[self.key_columns..].iter().cloned());
        let origin: UInt32Array = made.iter().map(|made| made.origin).collect::<Vec<_>>().into();
        let headers = match &rows.headers {
            Some(headers) => Some(take(headers, &origin, None)?.as_list::<i32>().clone()),
            None => None,
        };
        let window = self.windowed.then(|| Windows {
            start: made.iter().map(|made| made.window.0).collect::<Vec<_>>().into(),
            end: made.iter().map(|made| made.window.1).collect::<Vec<_>>().into(),
        });
        let time = Int64Array::from_iter_values(made.iter().map(|made| made.time));
        let columns = batch_of(SchemaRef::clone(&self.schema), columns, made.len())?;
        Ok(Rows { headers, window, ..Rows::append(columns, time) })
    }

    /// Forgets rows past retention, and keys without rows.
    fn expire(&mut self) {
        let mut keys = Vec::new();
        for side in 0..2 {
            let largest = self.sides[side].largest;
            if largest == NEVER {
                continue;
            }
            let oldest = largest.saturating_sub(self.retention_ms);
            while let Some(&(time, number, slot)) = self.sides[side].by_time.first() {
                if time >= oldest || self.sides[side].slots[slot as usize].waiting {
                    break;
                }
                keys.push(self.sides[side].slots[slot as usize].key);
                self.sides[side].remove((time, number, slot), self.track);
            }
        }
        self.forget_keys(&keys);
    }

    fn forget_keys(&mut self, keys: &[u32]) {
        for &key in keys {
            let used = |side: &Side| side.of_key.get(key as usize).is_some_and(|rows| !rows.is_empty());
            if !self.sides.iter().any(used) {
                self.keys.forget(&mut self.index, key);
            }
        }
    }

    fn intern(&mut self, columns: &[ArrayRef], window: Option<&Windows>) -> Result<Vec<u32>> {
        let mut identity = columns[..self.key_columns].to_vec();
        if self.windowed {
            let window = window.ok_or_else(|| Error::internal("rows of a windowed stream carry no window"))?;
            identity.extend([Arc::new(window.start.clone()) as ArrayRef, Arc::new(window.end.clone())]);
        }
        let run = self.keys.encode(&identity)?;
        let mut keys = Vec::new();
        self.keys.intern(&mut self.index, &run, 0, run.len(), &mut keys);
        for side in &mut self.sides {
            side.of_key.resize(self.keys.slots(), Vec::new());
        }
        Ok(keys)
    }

    fn clock(&self) -> Result<StateTable> {
        let long = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
        let rows = state_table(vec![
            Arc::new(BinaryArray::from(vec![&b""[..]])),
            Arc::new(BooleanArray::from(vec![false])),
            long(self.stream_time),
            long(self.sides[0].largest),
            long(self.sides[1].largest),
            long(self.next),
        ])?;
        Ok(StateTable { table: 2, rows })
    }

    fn put_back(&mut self, side: usize, batch: &RecordBatch) -> Result<()> {
        let deleted = batch.column(1).as_boolean();
        let numbers: Vec<i64> =
            batch.column(0).as_binary::<i32>().iter().map(|key| number_of(key.unwrap_or_default())).collect();
        let long = |i: usize| batch.column(i).as_primitive::<Int64Type>();
        for &number in &numbers {
            let Some(&slot) = self.sides[side].slot_of.get(&number) else { continue };
            let Slot { time, key, .. } = self.sides[side].slots[slot as usize];
            self.unwait(side, key, time, slot);
            self.sides[side].remove((time, number, slot), false);
        }
        let live: Vec<u32> = (0..batch.num_rows() as u32).filter(|&row| !deleted.value(row as usize)).collect();
        if live.is_empty() {
            return Ok(());
        }
        let batch_columns = batch.project(&(6..batch.num_columns()).collect::<Vec<_>>())?;
        let columns = copy_rows(&batch_columns, &live)?;
        let picked = UInt32Array::from(live.clone());
        let window = Windows {
            start: take(long(3), &picked, None)?.as_primitive::<Int64Type>().clone(),
            end: take(long(4), &picked, None)?.as_primitive::<Int64Type>().clone(),
        };
        let keys = self.intern(columns.columns(), Some(&window))?;
        let mut slots = Vec::with_capacity(live.len());
        for (i, &row) in live.iter().enumerate() {
            let row = row as usize;
            let waiting = batch.column(5).as_boolean().value(row);
            let (time, bounds) = (long(2).value(row), (window.start.value(i), window.end.value(i)));
            let stored = Slot { number: numbers[row], time, window: bounds, key: keys[i], waiting };
            let slot = self.sides[side].make(stored, false);
            if waiting {
                let at = (time, side == LEFT, self.key_bytes(keys[i]));
                self.waiting.entry(at).or_default().push(slot);
            }
            slots.push(slot);
        }
        let schema = SchemaRef::clone(self.sides[side].rows.schema());
        let rows = slots.len();
        self.sides[side].rows.put(&slots, batch_of(schema, columns.columns().to_vec(), rows)?)
    }

    fn unwait(&mut self, side: usize, key: u32, time: i64, slot: u32) {
        let at = (time, side == LEFT, self.key_bytes(key));
        if let Some(slots) = self.waiting.get_mut(&at) {
            slots.retain(|&other| other != slot);
            if slots.is_empty() {
                self.waiting.remove(&at);
            }
        }
    }
}

impl Made {
    fn alone(side: usize, source: Source, time: i64, window: (i64, i64), origin: u32) -> Self {
        let (left, right) = match side {
            LEFT => (source, Source::Nothing),
            _ => (Source::Nothing, source),
        };
        Made { left, right, time, window, origin }
    }
}

impl Side {
    fn new(schema: &Schema, outer: bool) -> Self {
        Self {
            outer,
            rows: RowStore::new(schema.to_arrow()),
            slots: Vec::new(),
            free: Vec::new(),
            of_key: Vec::new(),
            by_time: BTreeSet::new(),
            largest: NEVER,
            changed: BTreeSet::new(),
            slot_of: hashbrown::HashMap::new(),
        }
    }

    fn bytes(&self) -> usize {
        // Its places in `of_key`, `by_time`, `slot_of` and perhaps `waiting`, none of them full.
        const ROW_BYTES: usize = 144;
        let places = fixed_bytes(&self.slots) + fixed_bytes(&self.free) + fixed_bytes(&self.of_key);
        self.rows.bytes() + places + self.by_time.len() * ROW_BYTES
    }

    fn make(&mut self, stored: Slot, track: bool) -> u32 {
        let (number, time, key) = (stored.number, stored.time, stored.key);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = stored;
                slot
            }
            None => {
                self.slots.push(stored);
                u32::try_from(self.slots.len() - 1).expect("a side holds fewer than 2^32 rows")
            }
        };
        let list = &mut self.of_key[key as usize];
        let at = list.partition_point(|&other| other < (time, number, slot));
        list.insert(at, (time, number, slot));
        self.by_time.insert((time, number, slot));
        self.slot_of.insert(number, slot);
        if track {
            self.changed.insert(number);
        }
        slot
    }

    fn remove(&mut self, stored: (i64, i64, u32), track: bool) {
        let slot = stored.2;
        let key = self.slots[slot as usize].key;
        self.of_key[key as usize].retain(|&other| other != stored);
        self.by_time.remove(&stored);
        self.slot_of.remove(&stored.1);
        self.rows.remove(slot);
        self.free.push(slot);
        if track {
            self.changed.insert(stored.1);
        }
    }

    /// The row waits no more.
    fn settle(&mut self, slot: u32, track: bool) {
        let stored = &mut self.slots[slot as usize];
        stored.waiting = false;
        if track {
            self.changed.insert(stored.number);
        }
    }

    /// State rows of these numbers; those that are gone as deleted.
    fn state_rows(&self, table: u32, numbers: &[i64]) -> Result<StateTable> {
        let slots: Vec<Option<u32>> = numbers.iter().map(|number| self.slot_of.get(number).copied()).collect();
        let long = |of: fn(&Slot) -> i64| -> ArrayRef {
            let value = |slot: &Option<u32>| slot.map(|slot| of(&self.slots[slot as usize]));
            Arc::new(slots.iter().map(value).collect::<Int64Array>())
        };
        let keys: Vec<[u8; 8]> = numbers.iter().map(|number| number.to_be_bytes()).collect();
        let sources: Vec<Source> = slots.iter().map(|slot| slot.map_or(Source::Nothing, Source::Slot)).collect();
        let waiting = |slot: &Option<u32>| Some(slot.is_some_and(|slot| self.slots[slot as usize].waiting));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(BinaryArray::from_iter_values(&keys)),
            Arc::new(slots.iter().map(|slot| Some(slot.is_none())).collect::<BooleanArray>()),
            long(|slot| slot.time),
            long(|slot| slot.window.0),
            long(|slot| slot.window.1),
            Arc::new(slots.iter().map(waiting).collect::<BooleanArray>()),
        ];
        columns.extend(self.rows.gather(&sources, None)?.columns().iter().cloned());
        Ok(StateTable { table, rows: state_table(columns)? })
    }
}

fn number_of(key: &[u8]) -> i64 {
    key.try_into().map_or(0, i64::from_be_bytes)
}

impl Operator for StreamStreamJoin {
    fn process(
        &mut self,
        side: InputId,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(usize, Then)> {
        let valued = match null_values(rows) {
            Some(nulls) => &rows.filter(&mask(!nulls))?,
            None => rows,
        };
        let (keyed, _) = with_keys(valued, self.key_columns)?;
        let keys = self.intern(keyed.columns.columns(), keyed.window.as_ref())?;
        let (mut slots, mut made) = (Vec::new(), Vec::new());
        let mut taken = 0;
        while taken < keyed.len() {
            let rest = keyed.slice(taken, keyed.len() - taken);
            let count = self.take_rows(side, &rest, &keys[taken..], &mut slots, &mut made);
            let batch = copy_rows(&rest.columns, &slots.iter().map(|slot| slot.0).collect::<Vec<_>>())?;
            let stored: Vec<u32> = slots.iter().map(|slot| slot.1).collect();
            // Stored first: a row may wait and be let go within this very piece.
            self.sides[side].rows.put(&stored, batch)?;
            let produced = self.output(side, &rest, &made)?;
            self.expire();
            ctx.counters.rows_out += produced.len() as u64;
            out.push(produced);
            slots.clear();
            made.clear();
            taken += count;
        }
        // A row's key may have no stored row.
        self.forget_keys(&keys);
        ctx.counters.rows_in += rows.len() as u64;
        ctx.counters.accepted += keyed.len() as u64;
        ctx.counters.filtered += (rows.len() - keyed.len()) as u64;
        Ok((rows.len(), Then::Continue))
    }

    fn track_changes(&mut self, track: bool) {
        self.track = track;
    }

    fn take_changes(&mut self) -> Result<Option<StateChanges>> {
        let mut tables = Vec::new();
        for (table, side) in (0..).zip(&mut self.sides) {
            let changed: Vec<i64> = std::mem::take(&mut side.changed).into_iter().collect();
            if !changed.is_empty() {
                tables.push(side.state_rows(table, &changed)?);
            }
        }
        if !tables.is_empty() {
            tables.push(self.clock()?);
        }
        Ok(Some(StateChanges { tables }))
    }

    fn apply(&mut self, changes: &StateChanges) -> Result<()> {
        for table in &changes.tables {
            if table.table == 2 {
                let long = |i: usize| table.rows.column(i).as_primitive::<Int64Type>().value(0);
                (self.stream_time, self.sides[0].largest, self.sides[1].largest) = (long(2), long(3), long(4));
                self.next = long(5);
            } else {
                self.put_back(table.table as usize, &table.rows)?;
            }
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Option<StateChanges>> {
        let mut tables = Vec::new();
        for (table, side) in (0..).zip(&self.sides) {
            let mut numbers: Vec<i64> = side.slot_of.keys().copied().collect();
            numbers.sort_unstable();
            tables.push(side.state_rows(table, &numbers)?);
        }
        tables.push(self.clock()?);
        Ok(Some(StateChanges { tables }))
    }

    fn state_size(&self) -> (u64, u64) {
        let rows: usize = self.sides.iter().map(|side| side.by_time.len()).sum();
        let bytes: usize = self.sides.iter().map(Side::bytes).sum();
        (rows as u64, (bytes + self.keys.bytes()) as u64)
    }
}

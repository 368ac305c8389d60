//! GROUP BY in tumbling and hopping windows.
//!
//! A row updates each of its windows that is still open, in order of their starts, one result each. A window is closed
//! once `end + grace <= stream time`; stream time is the largest time of an accepted row of this task, the row at hand
//! included (Kafka Streams: `KStreamWindowAggregate`).
//!
//! ```text
//! size 10, grace 0      in  a @ 3    out  a [0, 10)  COUNT 1
//!                           a @ 12        a [10, 20) COUNT 1
//!                           a @ 9         –          late: [0, 10) closed at 12
//! ```
//!
//! EMIT FINAL says each window's result once, when it has closed: the row that closes it is stored first, then all
//! windows closed since the last time leave, by start, then key, with that row's headers. Windows are forgotten when
//! `start < newest stored start - retention`; a jump of stream time thus loses results, which are counted late.

use std::collections::BTreeMap;
use std::ops::Bound;

use arrow::array::{ArrayRef, Int64Array, UInt32Array};

use crate::error::{Error, Result};
use crate::kernels::keys::{KeyIndex, KeyRun, KeyStore};
use crate::kernels::order::stream_times;
use crate::kernels::window::{hopping_starts, tumbling_starts};
use crate::ops::closing::Closing;
use crate::ops::groups::{Clock, Groups, NEVER, Owner};
use crate::ops::keyed_rows::{in_windows, lookup_keys};
use crate::ops::{InputId, Lookup, OpContext, Operator, Output, Then};
use crate::plan::lower::OperatorSettings;
use crate::plan::steps::{Aggregate, WindowSpec, WindowSpecKind};
use crate::rows::{Change, OldRows, Rows, Windows};
use crate::schema::Schema;
use crate::state::StateChanges;

/// Windows that one row may belong to: a day's by the second, and a little more.
const WINDOWS_PER_ROW_MAX: i64 = 100_000;

pub struct WindowAggregate {
    groups: Groups,
    keys: WindowKeys,
    size_ms: i64,
    advance_ms: i64,
    grace_ms: i64,
    retention_ms: i64,
    emit_final: bool,
    old: bool,
    closing: Closing,
}

struct WindowKeys {
    store: KeyStore,
    windows: BTreeMap<i64, KeyIndex>,
}

impl WindowAggregate {
    pub fn new(
        aggregate: &Aggregate,
        spec: WindowSpec,
        output: &Schema,
        old: bool,
        settings: &OperatorSettings,
    ) -> Result<Self> {
        let (size_ms, advance_ms) = match spec.kind {
            WindowSpecKind::Tumbling { size_ms } => (size_ms, size_ms),
            WindowSpecKind::Hopping { size_ms, advance_ms } => (size_ms, advance_ms),
            WindowSpecKind::Session { .. } => return Err(Error::internal("a session is not a time window")),
        };
        if size_ms <= 0 || advance_ms <= 0 {
            return Err(Error::statement("window size and advance must be greater than zero"));
        }
        if size_ms / advance_ms > WINDOWS_PER_ROW_MAX {
            return Err(Error::limit(format!(
                "a row would belong to {} windows: at most {WINDOWS_PER_ROW_MAX} are possible",
                size_ms / advance_ms
            ))
            .with_hint("a longer ADVANCE BY or a smaller SIZE makes fewer"));
        }
        let groups = Groups::new(aggregate, output, &settings.values)?;
        let store = KeyStore::new(groups.key_types().to_vec())?;
        Ok(Self {
            groups,
            keys: WindowKeys { store, windows: BTreeMap::new() },
            size_ms,
            advance_ms,
            grace_ms: spec.grace_ms,
            retention_ms: spec.retention_ms.max(size_ms.saturating_add(spec.grace_ms)),
            emit_final: aggregate.emit_final,
            old,
            closing: Closing::default(),
        })
    }

    /// When a window of this start is closed.
    fn closes_at(&self, start: i64) -> i64 {
        start.saturating_add(self.size_ms).saturating_add(self.grace_ms)
    }

    /// Starts of the windows that had not closed when windows were last put out.
    fn still_open(&self, clock: Clock) -> (Bound<i64>, Bound<i64>) {
        let closed = clock.closed_through.saturating_sub(self.size_ms).saturating_sub(self.grace_ms);
        (Bound::Excluded(closed), Bound::Unbounded)
    }

    /// The rows' windows that are open at their stream times: `(row, start)`; and what was late.
    fn open_windows(&self, times: &[i64], stream: &[i64]) -> Open {
        let tumbling = self.size_ms == self.advance_ms;
        let (rows, starts) = if tumbling {
            (None, tumbling_starts(times, self.size_ms))
        } else {
            let (rows, starts) = hopping_starts(times, self.size_ms, self.advance_ms);
            (Some(rows), starts)
        };
        let row_of = |i: usize| rows.as_ref().map_or(i, |rows| rows[i] as usize);
        let is_open = |i: usize| self.closes_at(starts[i]) > stream[row_of(i)];
        let all = (0..starts.len()).all(is_open);
        if all && tumbling {
            return Open { rows, starts, late_rows: 0, late_windows: 0 };
        }
        let mut open = Open { rows: Some(Vec::new()), starts: Vec::new(), late_rows: 0, late_windows: 0 };
        let kept = open.rows.get_or_insert_default();
        let mut i = 0;
        for row in 0..times.len() {
            let before = kept.len();
            let first = i;
            while i < starts.len() && row_of(i) == row {
                if is_open(i) {
                    kept.push(row as u32);
                    open.starts.push(starts[i]);
                }
                i += 1;
            }
            let hits = kept.len() - before;
            if hits == 0 {
                open.late_rows += 1;
            } else {
                open.late_windows += (i - first - hits) as u64;
            }
        }
        open
    }

    /// How many rows may be taken before windows close (EMIT FINAL): up to and including the row that closes one.
    fn rows_before_close(&self, rows: usize, stream: &[i64], open: &Open) -> Option<usize> {
        let clock = self.groups.clock();
        let oldest = self.keys.windows.range(self.still_open(clock)).next();
        let mut earliest = oldest.map_or(i64::MAX, |(&start, _)| self.closes_at(start));
        let mut i = 0;
        for (row, &now) in stream.iter().enumerate().take(rows) {
            while i < open.starts.len() && open.row(i) == row {
                earliest = earliest.min(self.closes_at(open.starts[i]));
                i += 1;
            }
            if now >= earliest {
                return Some(row + 1);
            }
        }
        None
    }

    fn slots_of(&mut self, run: &KeyRun, starts: &[i64]) -> Vec<u32> {
        let mut slots = Vec::with_capacity(starts.len());
        let mut from = 0;
        while from < starts.len() {
            let start = starts[from];
            let to = from + starts[from..].iter().take_while(|&&s| s == start).count();
            self.keys.intern(run, start, from, to, &mut slots);
            from = to;
        }
        slots
    }

    /// Drops windows past retention.
    fn expire(&mut self, ctx: &mut OpContext<'_>) -> Result<()> {
        let clock = self.groups.clock();
        if clock.newest == NEVER {
            return Ok(());
        }
        let horizon = clock.newest.saturating_sub(self.retention_ms);
        while let Some(entry) = self.keys.windows.first_entry() {
            let start = *entry.key();
            if start >= horizon {
                break;
            }
            let slots = entry.remove().slots();
            if self.emit_final && self.closes_at(start) > clock.closed_through {
                ctx.counters.late_windows += slots.len() as u64;
            }
            self.groups.forget(&slots, || self.keys.store.columns(&slots))?;
            self.keys.store.release(&slots);
        }
        Ok(())
    }

    fn windows(&self, starts: Vec<i64>) -> Windows {
        let end = Int64Array::from_iter_values(starts.iter().map(|start| start.saturating_add(self.size_ms)));
        Windows { start: starts.into(), end }
    }
}

/// Windows a run's rows are counted in.
struct Open {
    /// Row of each entry; none: entry i is row i.
    rows: Option<Vec<u32>>,
    starts: Vec<i64>,
    late_rows: u64,
    late_windows: u64,
}

impl Open {
    fn row(&self, i: usize) -> usize {
        self.rows.as_ref().map_or(i, |rows| rows[i] as usize)
    }
}

impl Operator for WindowAggregate {
    fn process(
        &mut self,
        _input: InputId,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(usize, Then)> {
        let clock = self.groups.clock();
        let stream = stream_times(clock.stream_time, rows.time.values());
        let mut open = self.open_windows(rows.time.values(), &stream);
        let mut taken = rows.len();
        let mut then = Then::Continue;
        if self.emit_final
            && let Some(length) = self.rows_before_close(rows.len(), &stream, &open)
        {
            taken = length;
            then = Then::Advance { to: stream[length - 1] };
            self.closing.triggered_by(rows, length - 1);
            open = self.open_windows(&rows.time.values()[..length], &stream[..length]);
        }
        let origin = open.rows.take().map(UInt32Array::from);
        let prefix = rows.slice(0, taken);
        let entries = match &origin {
            Some(origin) => prefix.take(origin)?,
            None => prefix.clone(),
        };
        let key_count = self.groups.key_types().len();
        let key_columns = entries.columns.columns()[..key_count].to_vec();
        let run = self.keys.store.encode(&key_columns)?;
        let slots = self.slots_of(&run, &open.starts);
        for (&slot, &start) in slots.iter().zip(&open.starts) {
            if self.groups.time(slot) == NEVER {
                self.groups.set_window(slot, start, start.saturating_add(self.size_ms));
            }
        }
        let results = self.groups.update(&slots, &entries, self.old && !self.emit_final, ctx)?;
        let newest = open.starts.iter().copied().fold(clock.newest, i64::max);
        let stream_time = stream[..taken].last().copied().unwrap_or(clock.stream_time);
        self.groups.set_clock(Clock { stream_time, newest, ..clock });
        ctx.counters.rows_in += taken as u64;
        ctx.counters.late += open.late_rows;
        ctx.counters.accepted += taken as u64 - open.late_rows;
        ctx.counters.late_windows += open.late_windows;
        if !self.emit_final {
            let windows = self.windows(open.starts);
            let named = self.groups.window_columns(&windows);
            let old = match (results.old, results.present) {
                (Some(mut old), Some(present)) => {
                    old.extend(named.iter().cloned());
                    Some(OldRows { columns: self.groups.batch(key_columns.clone(), old, slots.len())?, present })
                }
                _ => None,
            };
            let results_and_windows = results.new.into_iter().chain(named).collect();
            let columns = self.groups.batch(key_columns, results_and_windows, slots.len())?;
            ctx.counters.rows_out += slots.len() as u64;
            out.push(Rows {
                time: results.time.into(),
                window: Some(windows),
                change: Change::Upsert { old },
                headers: entries.headers.clone(),
                ..Rows::append(columns, entries.time.clone())
            });
        }
        self.expire(ctx)?;
        Ok((taken, then))
    }

    /// Puts out the windows closed at `to`, by start, then key.
    fn advance(&mut self, to: i64, ctx: &mut OpContext<'_>, out: &mut Output) -> Result<Then> {
        let clock = self.groups.clock();
        if self.closing.is_empty() {
            for (&start, index) in self.keys.windows.range(self.still_open(clock)) {
                if self.closes_at(start) > to {
                    break;
                }
                let mut slots = index.slots();
                slots.sort_by(|&a, &b| self.keys.store.compare(a, b));
                self.closing.extend(slots);
            }
            self.groups.set_clock(Clock { closed_through: to.max(clock.closed_through), ..clock });
        }
        self.closing.put_out(&self.groups, |slots| self.keys.store.columns(slots), ctx, out)
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
        let slots = self.keys.slots();
        Ok(Some(self.groups.snapshot(&slots, self.keys.store.columns(&slots)?)?))
    }

    fn lookup(&self, lookup: &Lookup) -> Result<Option<Vec<Rows>>> {
        let slots = match lookup_keys(lookup, self.groups.key_types())? {
            Some(columns) => {
                let run = self.keys.store.encode(&columns)?;
                let find = |row| {
                    self.keys.windows.values().filter_map(|index| self.keys.store.find(index, &run, row)).collect()
                };
                (0..run.len()).flat_map::<Vec<u32>, _>(find).collect()
            }
            None => self.keys.slots(),
        };
        let slots: Vec<u32> =
            slots.into_iter().filter(|&slot: &u32| in_windows(lookup, self.groups.window(slot))).collect();
        Ok(Some(vec![self.groups.rows_of(&slots, self.keys.store.columns(&slots)?, true)?]))
    }

    fn state_size(&self) -> (u64, u64) {
        (self.keys.store.used() as u64, (self.keys.store.bytes() + self.groups.bytes()) as u64)
    }
}

impl WindowKeys {
    fn intern(&mut self, run: &KeyRun, start: i64, from: usize, to: usize, slots: &mut Vec<u32>) {
        let store = &mut self.store;
        let index = self.windows.entry(start).or_insert_with(|| store.index());
        store.intern(index, run, from, to, slots);
    }

    /// All slots, by window, then slot.
    fn slots(&self) -> Vec<u32> {
        self.windows.values().flat_map(KeyIndex::slots).collect()
    }
}

impl Owner for WindowKeys {
    fn drop_groups(&mut self, keys: &[ArrayRef], starts: &[i64], _ends: &[i64]) -> Result<Vec<u32>> {
        let run = self.store.encode(keys)?;
        let mut slots = Vec::new();
        for (row, start) in starts.iter().enumerate() {
            let Some(index) = self.windows.get_mut(start) else { continue };
            if let Some(slot) = self.store.find(index, &run, row) {
                self.store.forget(index, slot);
                slots.push(slot);
            }
            if index.is_empty() {
                self.windows.remove(start);
            }
        }
        Ok(slots)
    }

    fn make_groups(&mut self, keys: &[ArrayRef], starts: &[i64], _ends: &[i64]) -> Result<Vec<u32>> {
        let run = self.store.encode(keys)?;
        let mut slots = Vec::with_capacity(starts.len());
        for (row, &start) in starts.iter().enumerate() {
            self.intern(&run, start, row, row + 1, &mut slots);
        }
        Ok(slots)
    }
}

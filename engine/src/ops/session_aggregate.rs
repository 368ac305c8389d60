//! GROUP BY in sessions: a row joins every session of its key within the gap; they become one.
//!
//! ```text
//! gap 10    in  a @ 0     out  a [0, 0]   COUNT 1  @ 0
//!               a @ 8          a [0, 0]   –        @ 0      the session that was merged away
//!                              a [0, 8]   COUNT 2  @ 8
//! ```
//!
//! Sessions of a key are merged in order of their ends, the row is added last. A row is late when the session it would
//! make has `end + gap + grace < stream time`. Sessions with `end <= newest stored end - retention` are merged no more and
//! forgotten (Kafka Streams: `KStreamSessionWindowAggregate`). EMIT FINAL says a session once `end + gap + grace < stream
//! time`, ordered by end, start, key; until then it is kept in segments of time, as Kafka Streams' stores do, and lost only
//! with its whole segment.

use arrow::array::{Array, ArrayRef, Int64Array, UInt32Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat, interleave, take};

use crate::error::{Error, Result};
use crate::ops::closing::Closing;
use crate::ops::evaluate::some_bits;
use crate::ops::groups::{Clock, Groups, NEVER};
use crate::ops::keyed_rows::{in_windows, lookup_keys};
use crate::ops::sessions::Sessions;
use crate::ops::{InputId, Lookup, OpContext, Operator, Output, Then};
use crate::plan::lower::OperatorSettings;
use crate::plan::steps::{Aggregate, WindowSpec, WindowSpecKind};
use crate::rows::{Change, OldRows, Rows, Windows};
use crate::schema::Schema;
use crate::state::StateChanges;

/// Shortest segment of time that sessions of EMIT FINAL are forgotten by (Kafka Streams: `segmentInterval`).
const SEGMENT_MS_MIN: i64 = 60_000;

pub struct SessionAggregate {
    groups: Groups,
    sessions: Sessions,
    gap_ms: i64,
    grace_ms: i64,
    retention_ms: i64,
    emit_final: bool,
    old: bool,
    closing: Closing,
}

/// What a run puts out so far.
#[derive(Default)]
struct Emitted {
    /// Input row of each output row.
    origin: Vec<u32>,
    starts: Vec<i64>,
    ends: Vec<i64>,
    /// Position among the results, or none for a tombstone.
    result: Vec<Option<u32>>,
    /// Position among the old results, for tombstones if they are asked for.
    old: Vec<Option<u32>>,
    results: Vec<Vec<ArrayRef>>,
    olds: Vec<Vec<ArrayRef>>,
    old_count: u32,
    /// Rows waiting for their update, and their slots.
    pending: Vec<u32>,
    slots: Vec<u32>,
    updated: u32,
    /// Sessions that moved: row, start, end.
    gone: Vec<(u32, i64, i64)>,
}

impl SessionAggregate {
    pub fn new(
        aggregate: &Aggregate,
        spec: WindowSpec,
        output: &Schema,
        old: bool,
        settings: &OperatorSettings,
    ) -> Result<Self> {
        let WindowSpecKind::Session { gap_ms } = spec.kind else {
            return Err(Error::internal("a time window is not a session"));
        };
        let groups = Groups::new(aggregate, output, &settings.values)?;
        let sessions = Sessions::new(groups.key_types())?;
        Ok(Self {
            groups,
            sessions,
            gap_ms,
            grace_ms: spec.grace_ms,
            retention_ms: spec.retention_ms.max(gap_ms.saturating_add(spec.grace_ms)),
            emit_final: aggregate.emit_final,
            old,
            closing: Closing::default(),
        })
    }

    /// Whether a session of this end is closed at this stream time.
    fn is_closed(&self, end: i64, stream_time: i64) -> bool {
        end.saturating_add(self.gap_ms).saturating_add(self.grace_ms) < stream_time
    }

    /// Takes rows up to and including the one that closes a session; all if none does.
    fn take_rows(
        &mut self,
        rows: &Rows,
        keys: &[u32],
        emitted: &mut Emitted,
        ctx: &mut OpContext<'_>,
    ) -> Result<(usize, Then)> {
        let mut clock = self.groups.clock();
        for (row, (&time, &key)) in rows.time.values().iter().zip(keys).enumerate() {
            clock.stream_time = clock.stream_time.max(time);
            let oldest = clock.newest.saturating_sub(self.retention_ms);
            let found: Vec<(i64, i64, u32)> = self.sessions.of_key[key as usize]
                .iter()
                .copied()
                .filter(|&(end, start, _)| {
                    end >= time.saturating_sub(self.gap_ms)
                        && start <= time.saturating_add(self.gap_ms)
                        && (clock.newest == NEVER || end > oldest)
                })
                .collect();
            let start = found.iter().map(|f| f.1).fold(time, i64::min);
            let end = found.iter().map(|f| f.0).fold(time, i64::max);
            if self.is_closed(end, clock.stream_time) {
                ctx.counters.late += 1;
                self.groups.set_clock(clock);
                continue;
            }
            ctx.counters.accepted += 1;
            self.overwrite(key, (end, start), &found, rows, emitted, ctx)?;
            self.join(row as u32, key, (start, end), &found, rows, emitted, ctx)?;
            clock.newest = clock.newest.max(end);
            self.groups.set_clock(clock);
            if self.emit_final && self.closes_one(clock) {
                self.closing.triggered_by(rows, row);
                return Ok((row + 1, Then::Advance { to: clock.stream_time }));
            }
        }
        Ok((rows.len(), Then::Continue))
    }

    /// A session of the same bounds that is too old to be merged makes room.
    fn overwrite(
        &mut self,
        key: u32,
        bounds: (i64, i64),
        found: &[(i64, i64, u32)],
        rows: &Rows,
        emitted: &mut Emitted,
        ctx: &mut OpContext<'_>,
    ) -> Result<()> {
        let same = |session: &&(i64, i64, u32)| (session.0, session.1) == bounds && !found.contains(session);
        if let Some(session) = self.sessions.of_key[key as usize].iter().find(same).copied() {
            self.flush(rows, emitted, ctx)?;
            self.groups.forget(&[session.2], || self.sessions.key_columns(&[session.2]))?;
            self.sessions.unlink(key, session);
            self.sessions.free.push(session.2);
        }
        Ok(())
    }

    fn closes_one(&self, clock: Clock) -> bool {
        let unsaid = self.unsaid(clock);
        self.sessions.by_end.range(unsaid..).next().is_some_and(|&(end, ..)| self.is_closed(end, clock.stream_time))
    }

    /// Where sessions begin, by end, that had not closed when sessions were last put out.
    fn unsaid(&self, clock: Clock) -> (i64, i64, u32) {
        let closed = clock.closed_through.saturating_sub(self.gap_ms).saturating_sub(self.grace_ms);
        (closed, i64::MIN, 0)
    }

    /// Makes one session of the found ones and the row.
    fn join(
        &mut self,
        row: u32,
        key: u32,
        (start, end): (i64, i64),
        found: &[(i64, i64, u32)],
        rows: &Rows,
        emitted: &mut Emitted,
        ctx: &mut OpContext<'_>,
    ) -> Result<()> {
        let time = rows.time.value(row as usize);
        let moved = (start, end) != (time, time);
        if moved && self.old && !found.is_empty() {
            self.flush(rows, emitted, ctx)?;
            let slots: Vec<u32> = found.iter().map(|f| f.2).collect();
            let mut olds = self.groups.evaluate(&slots)?;
            olds.extend(self.groups.window_columns(&self.groups.windows(&slots)));
            emitted.olds.push(olds);
        }
        for &(end, start, _) in found.iter().filter(|_| moved) {
            emitted.origin.push(row);
            emitted.starts.push(start);
            emitted.ends.push(end);
            emitted.result.push(None);
            emitted.old.push(self.old.then_some(emitted.old_count));
            emitted.old_count += u32::from(self.old);
            emitted.gone.push((row, start, end));
        }
        let slot = match found {
            [] => self.sessions.make(key),
            [(_, _, first), others @ ..] => {
                if !others.is_empty() {
                    self.flush(rows, emitted, ctx)?;
                }
                for &(_, _, other) in others {
                    self.groups.merge(*first, other)?;
                }
                *first
            }
        };
        for &(end, start, old_slot) in found {
            self.sessions.unlink(key, (end, start, old_slot));
            if old_slot != slot {
                self.groups.forget_merged(old_slot);
                self.sessions.free.push(old_slot);
            }
        }
        self.sessions.link(key, (end, start, slot));
        self.groups.set_window(slot, start, end);
        emitted.pending.push(row);
        emitted.slots.push(slot);
        emitted.origin.push(row);
        emitted.starts.push(start);
        emitted.ends.push(end);
        emitted.result.push(Some(emitted.updated + emitted.pending.len() as u32 - 1));
        emitted.old.push(None);
        Ok(())
    }

    /// Applies the waiting rows.
    fn flush(&mut self, rows: &Rows, emitted: &mut Emitted, ctx: &mut OpContext<'_>) -> Result<()> {
        if emitted.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut emitted.pending);
        let slots = std::mem::take(&mut emitted.slots);
        emitted.updated += pending.len() as u32;
        let results = self.groups.update(&slots, &rows.take(&UInt32Array::from(pending))?, false, ctx)?;
        emitted.results.push(results.new);
        Ok(())
    }

    fn emit(&self, rows: &Rows, emitted: Emitted, ctx: &mut OpContext<'_>, out: &mut Output) -> Result<()> {
        if emitted.origin.is_empty() || self.emit_final {
            return Ok(());
        }
        let origin = UInt32Array::from(emitted.origin);
        let keys = rows.columns.columns()[..self.groups.key_types().len()]
            .iter()
            .map(|column| Ok(take(column, &origin, None)?))
            .collect::<Result<Vec<ArrayRef>>>()?;
        let windows = Windows { start: emitted.starts.into(), end: Int64Array::from(emitted.ends) };
        let picks = UInt32Array::from(emitted.result);
        let tombstones = BooleanBuffer::collect_bool(picks.len(), |row| picks.is_null(row));
        let value_types: Vec<_> =
            self.groups.schema().fields()[keys.len()..].iter().map(|f| f.data_type().clone()).collect();
        let named = self.groups.window_columns(&windows);
        let mut values = Vec::with_capacity(value_types.len());
        for i in 0..value_types.len() - named.len() {
            let parts: Vec<&dyn Array> = emitted.results.iter().map(|columns| columns[i].as_ref()).collect();
            values.push(take(&concat(&parts)?, &picks, None)?);
        }
        for column in named {
            values.push(super::evaluate::null_where(&column, &tombstones)?);
        }
        let old = match self.old {
            true => Some(self.old_rows(&keys, &value_types, &emitted.old, &emitted.olds)?),
            false => None,
        };
        let headers = match &rows.headers {
            Some(headers) => Some(arrow::array::AsArray::as_list::<i32>(&take(headers, &origin, None)?).clone()),
            None => None,
        };
        let count = picks.len();
        ctx.counters.rows_out += count as u64;
        out.push(Rows {
            headers,
            null_value: some_bits(tombstones),
            change: Change::Upsert { old },
            time: windows.end.clone(),
            window: Some(windows),
            ..Rows::append(self.groups.batch(keys, values, count)?, Int64Array::from(vec![0; count]))
        });
        Ok(())
    }

    fn old_rows(
        &self,
        keys: &[ArrayRef],
        types: &[arrow::datatypes::DataType],
        picks: &[Option<u32>],
        olds: &[Vec<ArrayRef>],
    ) -> Result<OldRows> {
        let mut places = Vec::new();
        for (part, columns) in olds.iter().enumerate() {
            places.extend((0..columns.first().map_or(0, |c| c.len())).map(|row| (part + 1, row)));
        }
        let picked: Vec<(usize, usize)> =
            picks.iter().map(|pick| pick.map_or((0, 0), |pick| places[pick as usize])).collect();
        let mut columns = Vec::with_capacity(types.len());
        for (i, ty) in types.iter().enumerate() {
            let null = new_null_array(ty, 1);
            let mut parts: Vec<&dyn Array> = vec![&null];
            parts.extend(olds.iter().map(|columns| columns[i].as_ref()));
            columns.push(interleave(&parts, &picked)?);
        }
        Ok(OldRows {
            columns: self.groups.batch(keys.to_vec(), columns, picks.len())?,
            present: BooleanBuffer::collect_bool(picks.len(), |row| picks[row].is_some()),
        })
    }

    /// Drops sessions past retention.
    fn expire(&mut self, ctx: &mut OpContext<'_>) -> Result<()> {
        let clock = self.groups.clock();
        if clock.newest == NEVER {
            return Ok(());
        }
        let mut horizon = clock.newest.saturating_sub(self.retention_ms);
        if self.emit_final {
            let segment_ms = (self.retention_ms / 2).max(SEGMENT_MS_MIN);
            horizon = horizon.div_euclid(segment_ms) * segment_ms - 1;
        }
        let expired: Vec<(i64, i64, u32)> =
            self.sessions.by_end.iter().copied().take_while(|&(end, ..)| end <= horizon).collect();
        if expired.is_empty() {
            return Ok(());
        }
        if self.emit_final {
            let unsaid = self.unsaid(clock);
            ctx.counters.late_windows += expired.iter().filter(|&&session| session >= unsaid).count() as u64;
        }
        let slots: Vec<u32> = expired.iter().map(|session| session.2).collect();
        self.groups.forget(&slots, || self.sessions.key_columns(&slots))?;
        for &session in &expired {
            self.sessions.remove(session);
        }
        Ok(())
    }
}

impl Operator for SessionAggregate {
    fn process(
        &mut self,
        _input: InputId,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(usize, Then)> {
        let key_columns = rows.columns.columns()[..self.groups.key_types().len()].to_vec();
        let keys = self.sessions.intern(&key_columns)?;
        let mut emitted = Emitted::default();
        let (taken, then) = self.take_rows(rows, &keys, &mut emitted, ctx)?;
        self.flush(rows, &mut emitted, ctx)?;
        if self.groups.tracks() {
            let gone = std::mem::take(&mut emitted.gone);
            let origin: UInt32Array = gone.iter().map(|g| g.0).collect::<Vec<_>>().into();
            let columns = key_columns.iter().map(|c| Ok(take(c, &origin, None)?)).collect::<Result<Vec<ArrayRef>>>()?;
            self.groups.note_gone(columns, gone.iter().map(|g| g.1).collect(), gone.iter().map(|g| g.2).collect());
        }
        ctx.counters.rows_in += taken as u64;
        self.emit(rows, emitted, ctx, out)?;
        self.expire(ctx)?;
        // A late row's key may have no session.
        self.sessions.forget_empty(&keys);
        Ok((taken, then))
    }

    /// Puts out the sessions closed at `to`, by end, start, key.
    fn advance(&mut self, to: i64, ctx: &mut OpContext<'_>, out: &mut Output) -> Result<Then> {
        let clock = self.groups.clock();
        if self.closing.is_empty() {
            let mut closed: Vec<(i64, i64, u32)> = self
                .sessions
                .by_end
                .range(self.unsaid(clock)..)
                .copied()
                .take_while(|&(end, ..)| self.is_closed(end, to))
                .collect();
            closed.sort_by(|a, b| {
                let keys =
                    || self.sessions.store.compare(self.sessions.key[a.2 as usize], self.sessions.key[b.2 as usize]);
                (a.0, a.1).cmp(&(b.0, b.1)).then_with(keys)
            });
            self.closing.extend(closed.into_iter().map(|session| session.2));
            self.groups.set_clock(Clock { closed_through: to.max(clock.closed_through), ..clock });
        }
        self.closing.put_out(&self.groups, |slots| self.sessions.key_columns(slots), ctx, out)
    }

    fn track_changes(&mut self, track: bool) {
        self.groups.track(track);
    }

    fn take_changes(&mut self) -> Result<Option<StateChanges>> {
        Ok(Some(self.groups.take_changes(|slots| self.sessions.key_columns(slots))?))
    }

    fn apply(&mut self, changes: &StateChanges) -> Result<()> {
        self.groups.apply(changes, &mut self.sessions)
    }

    fn snapshot(&self) -> Result<Option<StateChanges>> {
        let slots: Vec<u32> = self.sessions.by_end.iter().map(|session| session.2).collect();
        Ok(Some(self.groups.snapshot(&slots, self.sessions.key_columns(&slots)?)?))
    }

    fn lookup(&self, lookup: &Lookup) -> Result<Option<Vec<Rows>>> {
        let keys: Vec<u32> = match lookup_keys(lookup, self.groups.key_types())? {
            Some(columns) => {
                let run = self.sessions.store.encode(&columns)?;
                (0..run.len()).filter_map(|row| self.sessions.store.find(&self.sessions.index, &run, row)).collect()
            }
            None => self.sessions.index.slots(),
        };
        let slots: Vec<u32> = keys
            .iter()
            .flat_map(|&key| &self.sessions.of_key[key as usize])
            .filter(|&&(end, start, _)| in_windows(lookup, (start, end)))
            .map(|session| session.2)
            .collect();
        Ok(Some(vec![self.groups.rows_of(&slots, self.sessions.key_columns(&slots)?, true)?]))
    }

    fn state_size(&self) -> (u64, u64) {
        (self.sessions.by_end.len() as u64, (self.sessions.bytes() + self.groups.bytes()) as u64)
    }
}

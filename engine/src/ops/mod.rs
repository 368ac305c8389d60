//! Operators: synchronous, vectorised, without clock, I/O or waiting.
//!
//! What enters: a run of rows of one input. What leaves: rows for the next operator, counters, row errors. The promise
//! (contract 1): the sequence of rows that leaves is a function of the rows that entered, never of how they were cut into
//! runs.
//!
//! | operator | in → out | state |
//! |---|---|---|
//! | [`filter`] | rows → rows that pass; on tables tombstones for rows that no longer do | – |
//! | [`project`] | new columns, same rows | – |
//! | [`flat_map`] | a row → a row per element | – |
//! | [`rekey`] | new key columns | – |
//! | [`source_table`] | a table's topic → changes with their old row | last row per key |
//! | [`group`] | rows → group key and aggregate arguments; undo and add rows of tables | – |
//! | [`aggregate`] | one running result per row | group → aggregates |
//! | [`window_aggregate`] | the same per time window; EMIT FINAL | (group, window) → aggregates |
//! | [`session_aggregate`] | the same per session | (group, session) → aggregates |
//! | [`stream_table`] | stream rows beside the table's current row | last row per key |
//! | [`stream_stream`] | rows of two streams close in time | both sides' rows |
//! | [`table_table`] | rows of two tables by their key | last row per key of both |
//! | [`foreign_key`] | rows of two tables by a column of the left one, in three parts | left rows with the right rows' keys, right rows, subscriptions |
//! | [`compact`] | a table's changes → the last per key and group | what is held back |
//! | [`limit`] | the first n rows | rows left |

pub mod aggregate;
mod closing;
pub mod compact;
pub mod evaluate;
pub mod filter;
pub mod flat_map;
pub mod foreign_key;
pub mod group;
pub mod groups;
pub mod keyed_rows;
pub mod limit;
pub mod pipeline;
pub mod project;
pub mod rekey;
pub mod session_aggregate;
mod sessions;
pub mod source_table;
pub mod stream_stream;
pub mod stream_table;
pub mod table_table;
pub mod window_aggregate;

use crate::error::{Result, RowError};
use crate::plan::expr::Value;
use crate::rows::Rows;
use crate::state::StateChanges;

/// Which input of a stage or operator: 0 is the left.
pub type InputId = usize;

/// What an operator may use beside its rows.
pub struct OpContext<'a> {
    /// Failures of single values; they are written to the processing log.
    pub errors: &'a mut Vec<OpError>,
    pub counters: &'a mut Counters,
}

/// A failed expression: which step and expression, and what happened.
#[derive(Debug, Clone, PartialEq)]
pub struct OpError {
    /// `Project/KSQL_COL_0`, as the processing log names it.
    pub place: String,
    pub error: RowError,
    /// ROWTIME of the row that failed.
    pub time: i64,
}

/// Disposition of rows. For every operator: in = accepted + filtered + unmatched + rejected + late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub rows_in: u64,
    pub accepted: u64,
    pub filtered: u64,
    pub unmatched: u64,
    pub rejected: u64,
    pub late: u64,
    pub rows_out: u64,
    /// Windows of accepted rows that were closed already.
    pub late_windows: u64,
    pub field_errors: u64,
}

impl Counters {
    pub fn add(&mut self, other: &Counters) {
        self.rows_in += other.rows_in;
        self.accepted += other.accepted;
        self.filtered += other.filtered;
        self.unmatched += other.unmatched;
        self.rejected += other.rejected;
        self.late += other.late;
        self.rows_out += other.rows_out;
        self.late_windows += other.late_windows;
        self.field_errors += other.field_errors;
    }
}

/// Rows on their way to the next operator.
#[derive(Debug, Default)]
pub struct Output {
    pub runs: Vec<Rows>,
}

impl Output {
    pub fn push(&mut self, rows: Rows) {
        if !rows.is_empty() {
            self.runs.push(rows);
        }
    }
}

/// What must come next (design section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Continue,
    /// The driver calls `advance(to)` until it says `Continue`, then resumes with the rest of the run.
    Advance {
        to: i64,
    },
    /// Enough output for now; call again with the rest.
    Yield,
}

/// What a pull query asks of a table's state.
#[derive(Debug, Clone, Default)]
pub struct Lookup {
    /// Whole keys (one value per key column); None = all keys.
    pub keys: Option<Vec<Vec<Value>>>,
    /// Only windows whose start lies in this inclusive range.
    pub window_start: Option<(i64, i64)>,
    pub window_end: Option<(i64, i64)>,
}

pub trait Operator: Send {
    /// Consumes a prefix of `rows`, returns its length and what must come next.
    fn process(
        &mut self,
        input: InputId,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(usize, Then)>;

    /// Acts on stream time up to `to`; resumable, so that a million closing windows come in bounded pieces.
    fn advance(&mut self, _to: i64, _ctx: &mut OpContext<'_>, _out: &mut Output) -> Result<Then> {
        Ok(Then::Continue)
    }

    /// Whether `take_changes` will be called. Off, the operator need not remember what changed.
    fn track_changes(&mut self, _track: bool) {}

    /// State rows changed since the last call; None for a stateless operator.
    fn take_changes(&mut self) -> Result<Option<StateChanges>> {
        Ok(None)
    }

    /// Puts changes (or a snapshot) back.
    fn apply(&mut self, _changes: &StateChanges) -> Result<()> {
        Ok(())
    }

    /// All state; None for a stateless operator.
    fn snapshot(&self) -> Result<Option<StateChanges>> {
        Ok(None)
    }

    /// Current rows of a table this operator holds, as it would send them on; None if it holds none.
    fn lookup(&self, _lookup: &Lookup) -> Result<Option<Vec<Rows>>> {
        Ok(None)
    }

    /// For an operator that only passes a table's rows on: what to ask its input, so that the rows that `lookup` names
    /// come through. None if rows cannot be traced back.
    fn trace(&self, _lookup: &Lookup) -> Option<Lookup> {
        None
    }

    /// Bytes of results held back until `release`.
    fn held_bytes(&self) -> u64 {
        0
    }

    /// Puts out what is held back; called before a group is committed.
    fn release(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    /// Approximate state: rows and bytes.
    fn state_size(&self) -> (u64, u64) {
        (0, 0)
    }
}

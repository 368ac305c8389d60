//! When a task's work becomes a group of the log.
//!
//! A group is a consistent cut whenever it is made, so how many runs it holds is a matter of cost alone: each group is
//! framed, checksummed and synced, and carries every state row that changed since the last one. An idle system commits
//! each run at once; a busy one commits as seldom as it may.
//!
//! | the task | commits |
//! |---|---|
//! | has nothing more to read | now |
//! | has more to read | after `BACKLOG_INTERVAL`, `GROUP_ROWS_MAX` rows read, or `GROUP_BYTES_DUE` bytes written |
//! | compacts (`cache.max.bytes.buffering`, `emit.buffer.ms`) | after that time, when the cache is full, or by bytes written |
//!
//! Compacting, results are held back until the group is committed: then the last change per key leaves.

use std::time::Duration;

use arrow::array::Int64Array;

use crate::clock::Stopwatch;
use crate::log::Transaction;
use crate::ops::compact::Compaction;

/// With more to read, a group is open no longer than this: what waits for it is a backlog anyway.
const BACKLOG_INTERVAL: Duration = Duration::from_millis(100);

/// Bounds what a crash makes a task do again, and the state rows of one group.
const GROUP_ROWS_MAX: usize = 1024 * 1024;

/// Well below what a group may hold, so that the next run's output fits in, too.
const GROUP_BYTES_DUE: usize = 16 << 20;

/// The group a task is filling. A client's query has no transaction: nothing of it is logged.
pub struct OpenGroup {
    pub transaction: Option<Box<dyn Transaction>>,
    since: Stopwatch,
    rows_read: usize,
    /// Smallest time of a row read.
    earliest: Option<i64>,
}

/// What a group asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Now,
    In(Duration),
}

impl OpenGroup {
    pub fn new(transaction: Option<Box<dyn Transaction>>) -> Self {
        Self { transaction, since: Stopwatch::start(), rows_read: 0, earliest: None }
    }

    pub fn add_run(&mut self, times: &Int64Array) {
        self.rows_read += times.len();
        self.earliest = self.earliest.into_iter().chain(arrow::compute::min(times)).min();
    }

    pub fn earliest(&self) -> Option<i64> {
        self.earliest
    }

    pub fn bytes(&self) -> usize {
        self.transaction.as_ref().map_or(0, |transaction| transaction.bytes())
    }

    /// `held`: bytes of results held back. `more`: there is more to read at once.
    pub fn due(&self, compaction: Option<Compaction>, held: u64, more: bool) -> Due {
        let interval = match compaction {
            _ if self.bytes() >= GROUP_BYTES_DUE => return Due::Now,
            Some(compaction) if held >= compaction.bytes_max => return Due::Now,
            Some(compaction) => compaction.interval,
            None if self.rows_read >= GROUP_ROWS_MAX || !more => return Due::Now,
            None => BACKLOG_INTERVAL,
        };
        match interval.checked_sub(self.since.elapsed()).filter(|left| !left.is_zero()) {
            Some(left) => Due::In(left),
            None => Due::Now,
        }
    }
}

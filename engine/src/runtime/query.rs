//! What all tasks of one query share: whether it runs, counters, how much state it keeps, the reason it stopped.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

use crate::config::{STATE_BYTES_MAX, Settings};
use crate::error::Error;
use crate::ops::Counters;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryState {
    Running,
    Paused,
    /// Held between two runs since it has reached a limit; RESUME goes on there. The reason is kept.
    Parked,
    /// Stopped in the middle of a run; RESUME starts it again from what the log has. The reason is kept.
    Error,
    Stopped,
}

pub struct QueryShared {
    pub id: String,
    state: AtomicU8,
    pub counters: Mutex<Counters>,
    pub busy_ns: AtomicU64,
    error: Mutex<Option<Error>>,
    state_rows: AtomicU64,
    state_bytes: AtomicU64,
    state_bytes_max: AtomicU64,
    /// Raised and notified whenever any query of the engine has moved.
    progress: std::sync::Arc<Progress>,
}

/// Lets a session wait until queries have caught up.
#[derive(Default)]
pub struct Progress {
    count: Mutex<u64>,
    moved: Condvar,
}

impl Progress {
    pub fn notify(&self) {
        *self.count.lock() += 1;
        self.moved.notify_all();
    }

    /// Waits until something moves, at most `timeout`.
    pub fn wait(&self, timeout: std::time::Duration) {
        let mut count = self.count.lock();
        self.moved.wait_for(&mut count, timeout);
    }
}

impl QueryShared {
    pub fn new(
        id: impl Into<String>,
        paused: bool,
        settings: &BTreeMap<String, String>,
        progress: std::sync::Arc<Progress>,
    ) -> Self {
        let state = if paused { QueryState::Paused } else { QueryState::Running };
        Self {
            id: id.into(),
            state: AtomicU8::new(state as u8),
            counters: Mutex::new(Counters::default()),
            busy_ns: AtomicU64::new(0),
            error: Mutex::new(None),
            state_rows: AtomicU64::new(0),
            state_bytes: AtomicU64::new(0),
            state_bytes_max: AtomicU64::new(state_bytes_max(settings)),
            progress,
        }
    }

    pub fn state(&self) -> QueryState {
        match self.state.load(Ordering::Acquire) {
            0 => QueryState::Running,
            1 => QueryState::Paused,
            2 => QueryState::Parked,
            3 => QueryState::Error,
            _ => QueryState::Stopped,
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.state() == QueryState::Stopped
    }

    /// A query that is parked, failed or stopped stays as it is.
    pub fn pause(&self) {
        self.change(QueryState::Running, QueryState::Paused);
    }

    /// Lets a paused or parked query go on, with the limits of these settings.
    pub fn resume(&self, settings: &BTreeMap<String, String>) {
        self.state_bytes_max.store(state_bytes_max(settings), Ordering::Release);
        let mut error = self.error.lock();
        if self.change(QueryState::Paused, QueryState::Running) || self.change(QueryState::Parked, QueryState::Running)
        {
            *error = None;
        }
    }

    fn change(&self, from: QueryState, to: QueryState) -> bool {
        self.state.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub fn stop(&self) {
        self.state.store(QueryState::Stopped as u8, Ordering::Release);
        self.progress();
    }

    /// Holds a running query; the first reason stays.
    pub fn park(&self, reason: Error) {
        let mut error = self.error.lock();
        if self.change(QueryState::Running, QueryState::Parked) {
            *error = Some(reason);
        }
        drop(error);
        self.progress();
    }

    /// A task's state was `before` and is `now`: rows and bytes.
    pub fn state_changed(&self, before: (u64, u64), now: (u64, u64)) {
        // Sums of what all tasks said wrap back to what they hold.
        self.state_rows.fetch_add(now.0.wrapping_sub(before.0), Ordering::AcqRel);
        self.state_bytes.fetch_add(now.1.wrapping_sub(before.1), Ordering::AcqRel);
    }

    /// Rows and bytes that all tasks keep.
    pub fn state_size(&self) -> (u64, u64) {
        (self.state_rows.load(Ordering::Acquire), self.state_bytes.load(Ordering::Acquire))
    }

    pub fn state_bytes_max(&self) -> u64 {
        self.state_bytes_max.load(Ordering::Acquire)
    }

    pub fn fail(&self, error: Error) {
        *self.error.lock() = Some(error);
        self.state.store(QueryState::Error as u8, Ordering::Release);
        self.progress();
    }

    pub fn error(&self) -> Option<Error> {
        self.error.lock().clone()
    }

    pub fn progress(&self) {
        self.progress.notify();
    }
}

fn state_bytes_max(settings: &BTreeMap<String, String>) -> u64 {
    Settings::from_overrides(settings.clone()).bytes(STATE_BYTES_MAX)
}

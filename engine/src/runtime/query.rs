//! What all tasks of one query share: state, counters, the reason it stopped.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

use crate::error::Error;
use crate::ops::Counters;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryState {
    Running,
    Paused,
    /// Parked after a failure; the reason is kept.
    Error,
    Stopped,
}

pub struct QueryShared {
    pub id: String,
    state: AtomicU8,
    pub counters: Mutex<Counters>,
    pub busy_ns: AtomicU64,
    error: Mutex<Option<Error>>,
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
    pub fn new(id: impl Into<String>, paused: bool, progress: std::sync::Arc<Progress>) -> Self {
        let state = if paused { QueryState::Paused } else { QueryState::Running };
        Self {
            id: id.into(),
            state: AtomicU8::new(state as u8),
            counters: Mutex::new(Counters::default()),
            busy_ns: AtomicU64::new(0),
            error: Mutex::new(None),
            progress,
        }
    }

    pub fn state(&self) -> QueryState {
        match self.state.load(Ordering::Acquire) {
            0 => QueryState::Running,
            1 => QueryState::Paused,
            2 => QueryState::Error,
            _ => QueryState::Stopped,
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.state() == QueryState::Stopped
    }

    pub fn set_paused(&self, paused: bool) {
        let (from, to) =
            if paused { (QueryState::Running, QueryState::Paused) } else { (QueryState::Paused, QueryState::Running) };
        // A failed or stopped query stays as it is.
        let _unchanged = self.state.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    pub fn stop(&self) {
        self.state.store(QueryState::Stopped as u8, Ordering::Release);
        self.progress();
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

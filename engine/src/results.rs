//! Rows on their way to a client: the reading end of a push, pull, batch or PRINT query.
//!
//! A producer (task or planner thread) fills a bounded queue; the client drains it, blocking or as a future. A full queue
//! never blocks the producer: it learns that there is no room and is woken when there is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Result};
use crate::types::SqlType;

/// Rows waiting for a client that reads slowly; beyond it the query waits.
pub const RESULT_QUEUE_ROWS_MAX: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq)]
pub struct ResultColumn {
    pub name: String,
    pub ty: SqlType,
    /// Marked `KEY` in the header of pull queries.
    pub key: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultKind {
    /// Endless, unless LIMIT.
    Push,
    /// A table's state in ksqlDB's pull grammar.
    Pull,
    /// A stream read to its current end in ksqlDB's pull grammar.
    PullStream,
    /// Ordinary SQL over retained data.
    Batch,
    /// PRINT: text lines.
    Print,
}

#[derive(Debug, Clone)]
pub enum ResultEvent {
    /// Rows with the stream's columns; `tombstones` marks deletions of table rows (their value columns are null).
    Rows {
        batch: RecordBatch,
        tombstones: Option<BooleanBuffer>,
    },
    /// PRINT only.
    Line(String),
    End(EndReason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    Completed,
    LimitReached,
    Cancelled,
}

/// The reading end. Dropping it cancels the query.
pub struct ResultStream {
    pub query_id: String,
    pub kind: ResultKind,
    pub columns: Vec<ResultColumn>,
    queue: Arc<ResultQueue>,
}

/// Shared between producer and client.
pub struct ResultQueue {
    state: Mutex<QueueState>,
    readable: Condvar,
    /// Called once when the client is gone or asked to stop.
    on_cancel: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

#[derive(Default)]
struct QueueState {
    events: VecDeque<Result<ResultEvent>>,
    rows: usize,
    ended: bool,
    cancelled: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    rejected: u64,
    failed: u64,
    /// Why the first of them failed.
    failure: String,
}

impl ResultQueue {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(QueueState::default()),
            readable: Condvar::new(),
            on_cancel: Mutex::new(None),
        })
    }

    /// What to do when the client goes; called at once if it has gone.
    pub fn on_cancel(&self, action: impl FnOnce() + Send + 'static) {
        if self.state.lock().cancelled {
            action();
        } else {
            *self.on_cancel.lock() = Some(Box::new(action));
        }
    }

    /// Whether more rows are welcome; if not, `writer` is woken when they are.
    pub fn has_room(&self, writer: Option<&Waker>) -> bool {
        let mut state = self.state.lock();
        if state.cancelled || state.rows < RESULT_QUEUE_ROWS_MAX {
            return true;
        }
        state.writer = writer.cloned();
        false
    }

    /// Blocks until there is room or the client is gone; for producers on their own threads.
    pub fn wait_for_room(&self) -> bool {
        let mut state = self.state.lock();
        while state.rows >= RESULT_QUEUE_ROWS_MAX && !state.cancelled {
            self.readable.wait_for(&mut state, Duration::from_millis(50));
        }
        !state.cancelled
    }

    /// Adds an event; false when the client is gone. Nothing may follow `End` or an error.
    pub fn push(&self, event: Result<ResultEvent>) -> bool {
        let mut state = self.state.lock();
        if state.cancelled || state.ended {
            return false;
        }
        match &event {
            Ok(ResultEvent::Rows { batch, .. }) => state.rows += batch.num_rows(),
            Ok(ResultEvent::Line(_)) => state.rows += 1,
            Ok(ResultEvent::End(_)) | Err(_) => state.ended = true,
        }
        state.events.push_back(event);
        let reader = state.reader.take();
        drop(state);
        self.readable.notify_all();
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }

    pub fn add_rejected(&self, rows: u64) {
        self.state.lock().rejected += rows;
    }

    /// Expressions that failed for so many rows and are null there; `reason` of the first.
    pub fn add_failed(&self, rows: u64, reason: &str) {
        let mut state = self.state.lock();
        if state.failed == 0 {
            state.failure = reason.to_string();
        }
        state.failed += rows;
    }

    pub fn is_cancelled(&self) -> bool {
        self.state.lock().cancelled
    }

    fn pop(state: &mut QueueState) -> Option<Result<ResultEvent>> {
        let event = state.events.pop_front()?;
        match &event {
            Ok(ResultEvent::Rows { batch, .. }) => state.rows -= batch.num_rows(),
            Ok(ResultEvent::Line(_)) => state.rows -= 1,
            _ => {}
        }
        if state.rows < RESULT_QUEUE_ROWS_MAX
            && let Some(writer) = state.writer.take()
        {
            writer.wake();
        }
        Some(event)
    }

    fn cancel(&self) {
        let mut state = self.state.lock();
        if state.cancelled {
            return;
        }
        state.cancelled = true;
        let (reader, writer) = (state.reader.take(), state.writer.take());
        if !state.ended {
            state.ended = true;
            state.events.push_back(Ok(ResultEvent::End(EndReason::Cancelled)));
        }
        drop(state);
        self.readable.notify_all();
        for waker in [reader, writer].into_iter().flatten() {
            waker.wake();
        }
        let action = self.on_cancel.lock().take();
        if let Some(action) = action {
            action();
        }
    }
}

impl ResultStream {
    pub fn new(
        query_id: impl Into<String>,
        kind: ResultKind,
        columns: Vec<ResultColumn>,
        queue: Arc<ResultQueue>,
    ) -> Self {
        Self { query_id: query_id.into(), kind, columns, queue }
    }

    /// The next event; None when `timeout` passed without one, or after the end.
    pub fn next_blocking(&mut self, timeout: Duration) -> Result<Option<ResultEvent>> {
        let mut state = self.queue.state.lock();
        if state.events.is_empty() && !state.ended {
            self.queue.readable.wait_for(&mut state, timeout);
        }
        ResultQueue::pop(&mut state).transpose()
    }

    /// The next event; None after the end.
    pub async fn next(&mut self) -> Option<Result<ResultEvent>> {
        std::future::poll_fn(|cx| {
            let mut state = self.queue.state.lock();
            match ResultQueue::pop(&mut state) {
                Some(event) => Poll::Ready(Some(event)),
                None if state.ended => Poll::Ready(None),
                None => {
                    state.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// A handle that can stop the query from another thread (Ctrl-C, /close-query).
    pub fn canceller(&self) -> Canceller {
        Canceller(self.queue.clone())
    }

    /// What the reader of the rows should know of them: records that could not be read and are missing, values that could
    /// not be computed and are null.
    pub fn notes(&self) -> Vec<String> {
        let state = self.queue.state.lock();
        let counted = |count: u64, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let rejected = counted(state.rejected, "record could not be read", "records could not be read");
        let failed = counted(state.failed, "value could not be computed", "values could not be computed");
        rejected.into_iter().chain(failed.map(|failed| format!("{failed}: {}", state.failure))).collect()
    }

    /// All remaining rows of a bounded query, or its error.
    pub fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        loop {
            match self.next_blocking(Duration::from_secs(1))? {
                Some(ResultEvent::Rows { batch, .. }) => batches.push(batch),
                Some(ResultEvent::End(EndReason::Cancelled)) => {
                    return Err(Error::unavailable("the query was cancelled"));
                }
                Some(ResultEvent::End(_)) => return Ok(batches),
                Some(ResultEvent::Line(_)) | None => {}
            }
        }
    }
}

impl Drop for ResultStream {
    fn drop(&mut self) {
        self.queue.cancel();
    }
}

/// Stops a query from elsewhere.
#[derive(Clone)]
pub struct Canceller(Arc<ResultQueue>);

impl Canceller {
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

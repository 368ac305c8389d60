//! Waiting, threads, retries: the life of tasks and queries.
//!
//! A query is cut into stages; each stage runs as one task per partition on one worker pool. A query over a single
//! partition, and every client's query, runs all its stages in one task. See [`task`] for what happens to rows.
//!
//! | who | asks for |
//! |---|---|
//! | session | start, stop, pause, replace a query; a client's query; a pull; wait until caught up |
//! | step mode | release one record to one query, run its stages until idle |
//!
pub mod client;
pub mod commit;
pub mod input;
pub mod merge;
pub mod pool;
mod pull;
mod push;
pub mod query;
pub mod rejects;
pub mod scan;
pub mod siblings;
pub mod sink;
mod start;
pub mod task;
pub mod typed;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::catalog::{Catalog, PersistentQuery};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::log::{Log, ReadLevel};
use crate::ops::Counters;
use crate::results::ResultQueue;
use pool::{Pool, TaskCell};
use query::{Progress, QueryShared, QueryState};
use task::Task;
use typed::TypedSchemas;

pub struct Runtime {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    pool: Pool,
    pub typed: Arc<TypedSchemas>,
    queries: RwLock<BTreeMap<String, Arc<RunningQuery>>>,
    clients: Mutex<BTreeMap<String, ClientQuery>>,
    next_client: std::sync::atomic::AtomicU64,
    progress: Arc<Progress>,
    /// State is logged: the log survives the process.
    durable: bool,
    step: bool,
}

/// A started query.
pub struct RunningQuery {
    pub shared: Arc<QueryShared>,
    pub definition: Arc<PersistentQuery>,
    tasks: Vec<RunningTask>,
    /// Tasks whose last stage keeps the query's table.
    table_tasks: Vec<usize>,
}

impl RunningQuery {
    fn is_stateful(&self) -> bool {
        let keeps = |task: &RunningTask| task.task.lock().stages().iter().any(|run| !run.pipeline.stores().is_empty());
        self.tasks.iter().any(keeps)
    }
}

struct RunningTask {
    task: Arc<Mutex<Task>>,
    cell: Arc<TaskCell>,
    /// Whether it reads the query's sources (and not an earlier stage).
    stage: u32,
}

struct ClientQuery {
    sql: String,
    shared: Arc<QueryShared>,
    cell: Arc<TaskCell>,
    queue: std::sync::Weak<ResultQueue>,
}

/// What a client's query is, for SHOW QUERIES.
pub struct ClientInfo {
    pub id: String,
    pub sql: String,
    pub counters: Counters,
    /// Rows and bytes.
    pub state_size: (u64, u64),
}

/// Numbers of one query.
pub struct QueryMetrics {
    pub id: String,
    pub state: QueryState,
    pub error: Option<Error>,
    pub counters: Counters,
    pub busy_ns: u64,
    /// Records not consumed yet.
    pub lag: u64,
    /// Rows and bytes.
    pub state_size: (u64, u64),
}

impl Runtime {
    pub fn new(
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        typed: Arc<TypedSchemas>,
        workers: usize,
        durable: bool,
        step: bool,
    ) -> Result<Self> {
        Ok(Self {
            log,
            clock,
            pool: Pool::start(if step { 0 } else { workers })?,
            typed,
            queries: RwLock::default(),
            clients: Mutex::default(),
            next_client: Default::default(),
            progress: Arc::default(),
            durable,
            step,
        })
    }

    /// Ends a query's tasks; what it has written and kept stays in the log until the catalog forgets it.
    pub fn stop(&self, id: &str) {
        let Some(query) = self.queries.write().remove(id) else { return };
        query.shared.stop();
        for task in &query.tasks {
            task.cell.retire();
            // Waits for the run in progress; what it had done counts.
            let mut task = task.task.lock();
            if let Err(error) = task.commit(std::task::Waker::noop()) {
                tracing::warn!(query = id, "the last work of a stopped query is done again when it starts: {error}");
            }
        }
    }

    pub fn pause(&self, id: &str) -> Result<()> {
        self.query(id)?.shared.pause();
        Ok(())
    }

    /// Whether RESUME can do anything for a query: one that failed in the middle of a run needs its state from the log.
    pub fn check_resumable(&self, id: &str) -> Result<()> {
        let query = self.query(id)?;
        if query.shared.state() != QueryState::Error || self.durable || !query.is_stateful() {
            return Ok(());
        }
        Err(Error::statement(format!(
            "query {id} cannot go on: it failed in the middle of a run, and an engine in memory keeps no copy of its state"
        ))
        .with_hint("DROP what it writes and create it again; it reads its sources from where it starts"))
    }

    /// Lets a paused or parked query go on where it is, and starts one that failed again from what the log has.
    pub fn resume(&self, definition: &Arc<PersistentQuery>, catalog: &Catalog) -> Result<()> {
        let query = self.query(&definition.id)?;
        if query.shared.state() == QueryState::Error {
            if self.check_resumable(&definition.id).is_ok() {
                self.stop(&definition.id);
                self.start(definition.clone(), catalog)?;
            }
            return Ok(());
        }
        query.shared.resume(&definition.settings);
        for task in &query.tasks {
            std::task::Waker::from(task.cell.clone()).wake();
        }
        Ok(())
    }

    fn query(&self, id: &str) -> Result<Arc<RunningQuery>> {
        self.queries.read().get(id).cloned().ok_or_else(|| Error::not_found(format!("Unknown queryId: {id}")))
    }

    /// Whether a running query writes this source.
    fn is_written(&self, source: &str) -> bool {
        self.queries.read().values().any(|query| query.definition.sink.as_deref() == Some(source))
    }

    pub fn metrics(&self) -> Vec<QueryMetrics> {
        let queries: Vec<_> = self.queries.read().values().cloned().collect();
        queries
            .iter()
            .map(|query| {
                let mut lag = 0;
                for task in &query.tasks {
                    let task = task.task.lock();
                    for input in task.inputs() {
                        let end = self.log.range(&input.at, ReadLevel::Sequenced).map_or(0, |r| r.end);
                        lag += (end - input.committed()).max(0) as u64;
                    }
                }
                QueryMetrics {
                    id: query.shared.id.clone(),
                    state: query.shared.state(),
                    error: query.shared.error(),
                    counters: *query.shared.counters.lock(),
                    busy_ns: query.shared.busy_ns.load(std::sync::atomic::Ordering::Relaxed),
                    lag,
                    state_size: query.shared.state_size(),
                }
            })
            .collect()
    }

    /// Ids of started queries and the topics their sources read, in creation order.
    pub fn started(&self) -> Vec<(Arc<PersistentQuery>, Vec<String>)> {
        let mut all: Vec<_> = self
            .queries
            .read()
            .values()
            .map(|q| {
                let topics = q.definition.plan.root.scans().iter().map(|s| s.topic.clone()).collect();
                (q.definition.clone(), topics)
            })
            .collect();
        all.sort_by_key(|(q, _): &(Arc<PersistentQuery>, Vec<String>)| q.number);
        all
    }

    /// Ends the workers, then commits what their tasks had done.
    pub fn close(&self) {
        self.pool.close();
        for query in self.queries.read().values().filter(|query| query.shared.state() != QueryState::Error) {
            for task in &query.tasks {
                task.task.lock().commit_or_fail();
            }
        }
    }
}

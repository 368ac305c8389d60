//! What all requests of one server share: the engine, its limits, the queries that stream, the commands that ran.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_engine::entity::{CommandStatus, EntityBody};
use headwater_engine::results::Canceller;
use headwater_engine::{Access, Engine, Error, Session};
use tokio::sync::{Notify, Semaphore};

use super::ServerOptions;
use super::errors::ApiError;
use super::metrics::Metrics;

/// Commands whose status `/status` remembers; the oldest go first.
const STATUSES_MAX: usize = 1000;

pub(crate) struct Shared {
    pub engine: Engine,
    pub options: ServerOptions,
    pub metrics: Metrics,
    statements: Semaphore,
    running: Mutex<BTreeMap<String, Canceller>>,
    statuses: Mutex<VecDeque<(String, CommandStatus)>>,
    stopping: AtomicBool,
    terminated: Notify,
}

impl Shared {
    pub fn new(engine: Engine, options: ServerOptions) -> Self {
        Self {
            statements: Semaphore::new(options.statements_max),
            metrics: Metrics::new(),
            engine,
            options,
            running: Mutex::default(),
            statuses: Mutex::default(),
            stopping: AtomicBool::new(false),
            terminated: Notify::new(),
        }
    }

    /// Runs engine work on the blocking pool. A client that goes does not stop a statement halfway.
    pub async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Shared>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = self.statements.acquire().await.map_err(|_| ApiError::shutting_down())?;
        let shared = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&shared)).await;
        drop(permit);
        done.unwrap_or_else(|panic| {
            tracing::error!(%panic, "a statement panicked");
            Err(Error::internal("the statement failed inside Headwater; its log says more").into())
        })
    }

    pub fn session(&self) -> Session {
        self.engine.session(Access::default())
    }

    /// Makes a streaming query known to `/close-query`; it is forgotten when the guard goes.
    pub fn register(self: &Arc<Self>, query_id: &str, canceller: Canceller) -> Result<Running, ApiError> {
        let mut running = lock(&self.running);
        if running.len() >= self.options.queries_max {
            return Err(ApiError::too_many_queries(self.options.queries_max));
        }
        running.insert(query_id.to_string(), canceller);
        Ok(Running { shared: self.clone(), query_id: query_id.to_string() })
    }

    /// Whether there was such a query.
    pub fn close_query(&self, query_id: &str) -> bool {
        let found = lock(&self.running).get(query_id).cloned();
        match found {
            Some(canceller) => {
                canceller.cancel();
                true
            }
            None => false,
        }
    }

    pub fn running_queries(&self) -> usize {
        lock(&self.running).len()
    }

    pub fn remember_status(&self, body: &EntityBody) {
        if let EntityBody::CurrentStatus { command_id, command_status, .. } = body {
            let mut statuses = lock(&self.statuses);
            statuses.retain(|(id, _)| id != command_id);
            if statuses.len() == STATUSES_MAX {
                statuses.pop_front();
            }
            statuses.push_back((command_id.clone(), command_status.clone()));
        }
    }

    pub fn statuses(&self) -> Vec<(String, CommandStatus)> {
        lock(&self.statuses).iter().cloned().collect()
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Refuses new requests and ends every streaming query.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let running = std::mem::take(&mut *lock(&self.running));
        for canceller in running.values() {
            canceller.cancel();
        }
    }

    /// A client terminated the service over HTTP.
    pub fn terminate(&self) {
        self.terminated.notify_one();
    }

    pub async fn terminated(&self) {
        self.terminated.notified().await;
    }
}

/// While it lives, `/close-query` finds the query.
pub(crate) struct Running {
    shared: Arc<Shared>,
    query_id: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.shared.running).remove(&self.query_id);
    }
}

/// The maps behind these locks are whole between any two statements, so a panic elsewhere leaves them usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

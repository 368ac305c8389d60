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
pub mod query;
pub mod rejects;
pub mod scan;
pub mod siblings;
pub mod sink;
pub mod task;
pub mod typed;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::catalog::{Catalog, PersistentQuery};
use crate::clock::{Clock, Stopwatch};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::format::{self, Side};
use crate::log::{Log, LogPosition, Offset, Producer, ProducerId, ReadLevel, StoreId, Topic, TopicPartition};
use crate::ops::Counters;
use crate::ops::compact::Compaction;
use crate::plan::QueryPlan;
use crate::plan::lower::{OperatorSettings, Pipeline, Stage, StageInput, StageOutput, lower};
use crate::plan::steps::Plan;
use crate::results::{ResultColumn, ResultKind, ResultQueue, ResultStream};
use client::ClientWriter;
use input::Input;
use pool::{Pool, TaskCell};
use query::{Progress, QueryShared, QueryState};
use rejects::{PROCESSING_LOG, rejected_name};
use scan::Scanner;
use siblings::{Lead, Siblings};
use sink::{RepartitionWriter, SinkWriter};
use task::{FailureTopics, StageRun, Task, TaskBody, TaskOutput, TaskParts, needs_order};
use typed::{TypedSchema, TypedSchemas};

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

/// Name of the topic between two stages.
pub fn internal_topic(query: &str, stage: u32, epoch: u64) -> String {
    if epoch == 0 { format!("_{query}-{stage}-repartition") } else { format!("_{query}-{stage}-{epoch}-repartition") }
}

/// How many tasks each stage has: as many as the sources it reads have partitions, whatever comes from other stages is
/// sent to those; a stage that reads no source has as many as the widest source of the plan.
fn stage_partitions(stages: &[Stage], partitions_of: &dyn Fn(&str) -> Option<u32>) -> Vec<u32> {
    let of_sources = |stage: &Stage| {
        let sources = stage.inputs.iter().filter_map(|input| match input {
            StageInput::Source(scan, _) => Some(partitions_of(&scan.topic).unwrap_or(1)),
            StageInput::Stage(_) => None,
        });
        sources.max()
    };
    let widest = stages.iter().filter_map(of_sources).max().unwrap_or(1);
    stages.iter().map(|stage| of_sources(stage).unwrap_or(widest)).collect()
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

    /// Internal topics a plan needs and their partitions; none when the stages share one task. `partitions_of` knows the
    /// sources' topics.
    pub fn internal_topics(
        plan: &Plan,
        query: &str,
        epoch: u64,
        partitions_of: &dyn Fn(&str) -> Option<u32>,
    ) -> Result<Vec<(String, u32)>> {
        let stages = lower(plan)?;
        let partitions = stage_partitions(&stages, partitions_of);
        if partitions.iter().all(|count| *count <= 1) {
            return Ok(Vec::new());
        }
        let readers = stages.iter().zip(partitions);
        let read_by = |(reader, partitions): (&Stage, u32)| {
            let from = reader.inputs.iter().filter_map(|input| match input {
                StageInput::Stage(from) => Some(*from),
                StageInput::Source(..) => None,
            });
            from.map(|stage| (internal_topic(query, stage, epoch), partitions)).collect::<Vec<_>>()
        };
        Ok(readers.flat_map(read_by).collect())
    }

    /// Where a new query starts, per source partition.
    pub fn start_offsets(&self, plan: &Plan, latest: bool) -> Result<Vec<(u64, u32, Offset)>> {
        let mut start = Vec::new();
        for scan in plan.root.scans() {
            let Some(topic) = self.log.topic(&scan.topic) else { continue };
            for partition in 0..topic.partitions {
                let range = self.log.range(&topic.partition(partition), ReadLevel::Sequenced)?;
                start.push((topic.id.0, partition, if latest { range.end } else { range.start }));
            }
        }
        Ok(start)
    }

    /// Checks that a plan can be lowered and its operators built, without starting anything.
    pub fn check(&self, plan: &Plan, settings: &BTreeMap<String, String>) -> Result<()> {
        let settings = OperatorSettings { values: settings.clone() };
        for stage in lower(plan)? {
            Pipeline::build(&stage, &settings)?;
            for input in &stage.inputs {
                if let StageInput::Source(scan, table) = input {
                    Scanner::new(scan, *table, self.typed.clone())?;
                }
            }
        }
        Ok(())
    }

    /// Starts a query from its definition: at its committed positions, or where the definition says.
    pub fn start(&self, definition: Arc<PersistentQuery>, catalog: &Catalog) -> Result<()> {
        let shared =
            Arc::new(QueryShared::new(&definition.id, definition.paused, &definition.settings, self.progress.clone()));
        let mut stages = lower(&definition.plan)?;
        for stage in &mut stages {
            stage.use_stores(&definition.stores.of_steps)?;
        }
        let partitions = stage_partitions(&stages, &|topic| self.log.topic(topic).map(|t| t.partitions));
        let failures = self.failure_topics(&definition);
        let mut tasks = Vec::new();
        let last = stages.len().saturating_sub(1);
        if partitions.iter().all(|count| *count <= 1) {
            let task =
                self.build_task(&shared, &definition, &stages, (0..stages.len()).collect(), 0, failures, catalog)?;
            tasks.push((task, last));
        } else {
            let lead = Lead::of(&definition.plan.root, &definition.settings).filter(|_| !self.step);
            for (index, partitions) in partitions.into_iter().enumerate() {
                let feeds_topic = matches!(stages[index].output, StageOutput::Repartition { .. });
                let lead = lead.clone().filter(|_| feeds_topic && partitions > 1);
                let siblings = lead.map(|lead| Siblings::new(self.log.clone(), partitions, lead));
                for partition in 0..partitions {
                    let mut task = self.build_task(
                        &shared,
                        &definition,
                        &stages,
                        vec![index],
                        partition,
                        failures.clone(),
                        catalog,
                    )?;
                    if let Some(siblings) = &siblings {
                        task.set_siblings(siblings.clone(), partition as usize);
                    }
                    tasks.push((task, index));
                }
            }
        }
        let mut running = Vec::new();
        let mut table_tasks = Vec::new();
        for (task, stage) in tasks {
            if stage == last {
                table_tasks.push(running.len());
            }
            let task = Arc::new(Mutex::new(task));
            let cell = self.pool.spawn(Box::new(TaskBody(task.clone())));
            running.push(RunningTask { task, cell, stage: stage as u32 });
        }
        let id = definition.id.clone();
        let query = Arc::new(RunningQuery { shared, definition, tasks: running, table_tasks });
        self.queries.write().insert(id, query);
        Ok(())
    }

    fn failure_topics(&self, definition: &PersistentQuery) -> FailureTopics {
        let find = |name: &str, schema: crate::schema::Schema| {
            let topic = self.log.topic(name)?;
            let source = rejects::system_source(name, schema);
            let fingerprint = TypedSchema::of_source(&source).fingerprint().ok()?;
            Some((topic, fingerprint))
        };
        let rejected = definition
            .sources
            .iter()
            .filter_map(|source| Some((source.clone(), find(&rejected_name(source), rejects::rejected_schema())?)))
            .collect();
        FailureTopics { processing_log: find(PROCESSING_LOG, rejects::processing_log_schema()), rejected }
    }

    fn build_task(
        &self,
        shared: &Arc<QueryShared>,
        definition: &PersistentQuery,
        stages: &[Stage],
        members: Vec<usize>,
        partition: u32,
        failures: FailureTopics,
        catalog: &Catalog,
    ) -> Result<Task> {
        let track_state = self.durable;
        let id = ProducerId(format!("query/{}/{}/{partition}", definition.id, members[0]));
        let producer = self.log.producer(&id)?;
        let positions = producer.positions()?;
        let settings = OperatorSettings { values: definition.settings.clone() };
        let mut runs = self.stage_runs(stages, &members, &settings)?;
        for run in &mut runs {
            run.pipeline.set_track_changes(track_state);
        }
        let mut inputs = Vec::new();
        for (slot, index) in members.iter().enumerate() {
            for (number, input) in stages[*index].inputs.iter().enumerate() {
                let (topic, scanner, source) = match input {
                    StageInput::Source(scan, table) => {
                        let topic = self.topic(&scan.topic)?;
                        (topic, Some(Scanner::new(scan, *table, self.typed.clone())?), scan.source.clone())
                    }
                    StageInput::Stage(from) if members.contains(&(*from as usize)) => continue,
                    StageInput::Stage(from) => {
                        (self.topic(&internal_topic(&definition.id, *from, definition.epoch))?, None, String::new())
                    }
                };
                if partition >= topic.partitions {
                    continue;
                }
                let at = topic.partition(partition);
                let started = definition
                    .start
                    .iter()
                    .find(|(id, p, _)| *id == topic.id.0 && *p == partition)
                    .map(|(_, _, offset)| *offset);
                let from = match positions.get(&at).copied().or(started) {
                    Some(offset) => offset,
                    None => self.log.range(&at, ReadLevel::Sequenced)?.start,
                };
                let reader = self.log.reader(&at, from, ReadLevel::Sequenced)?;
                inputs.push(Input::new(slot, number, at, (topic.name, source), reader, scanner, self.step));
            }
        }
        let output = match &stages[*members.last().unwrap_or(&0)].output {
            StageOutput::Repartition { key_format } => {
                let stage = &stages[members[members.len() - 1]];
                TaskOutput::Repartition(Box::new(RepartitionWriter {
                    topic: self.topic(&internal_topic(&definition.id, stage.id, definition.epoch))?,
                    key: format::create(key_format, &stage.schema.key, Side::Key)?,
                    key_columns: stage.schema.key.len(),
                }))
            }
            StageOutput::Result => match (&definition.plan.sink, &definition.sink) {
                (Some(sink), Some(name)) if !sink.discard => {
                    let source = catalog
                        .source(name)
                        .ok_or_else(|| Error::internal(format!("query {} writes unknown {name}", definition.id)))?;
                    let (codec, _) = self.typed.add(&TypedSchema::of_source(source))?;
                    let timestamp = match &sink.timestamp {
                        Some(column) => Some(scan::TimestampExtractor::new(column, &stages[stages.len() - 1].schema)?),
                        None => None,
                    };
                    TaskOutput::Sink(Box::new(SinkWriter { codec, topic: self.topic(&sink.topic)?, timestamp }))
                }
                _ => TaskOutput::Nothing,
            },
        };
        let mut task = Task::new(TaskParts {
            query: shared.clone(),
            partition,
            stages: runs,
            inputs,
            output,
            producer: None,
            failures,
            clock: self.clock.clone(),
            track_state,
            ordered: needs_order(stages),
            compaction: Compaction::of(&definition.settings),
            idle_max: self.idle_max(&definition.settings),
        });
        if track_state {
            self.restore(&mut task, &definition.id, partition, producer.as_ref())?;
        }
        task.set_producer(producer);
        Ok(task)
    }

    /// Puts back what the log keeps of the task's state: its snapshots and the changes after them.
    fn restore(&self, task: &mut Task, query: &str, partition: u32, producer: &dyn Producer) -> Result<()> {
        for run in task.stages_mut() {
            for number in run.pipeline.stores() {
                let store = StoreId { query: query.to_string(), step: number, partition };
                for (_, changes) in producer.redo(&store, LogPosition::default())? {
                    run.pipeline.apply(number, &changes)?;
                }
            }
        }
        Ok(())
    }

    fn stage_runs(&self, stages: &[Stage], members: &[usize], settings: &OperatorSettings) -> Result<Vec<StageRun>> {
        let mut runs = Vec::new();
        for index in members {
            let pipeline = Pipeline::build(&stages[*index], settings)?;
            let mut consumers = Vec::new();
            for (slot, other) in members.iter().enumerate() {
                for (number, input) in stages[*other].inputs.iter().enumerate() {
                    if matches!(input, StageInput::Stage(from) if *from as usize == *index) {
                        consumers.push((slot, number));
                    }
                }
            }
            runs.push(StageRun { id: stages[*index].id, pipeline, consumers });
        }
        Ok(runs)
    }

    fn topic(&self, name: &str) -> Result<Topic> {
        self.log.topic(name).ok_or_else(|| Error::not_found(format!("topic {name} does not exist")))
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

    /// Starts a client's query; its rows come through the stream.
    pub fn push_query(
        &self,
        plan: &QueryPlan,
        sql: &str,
        latest: bool,
        settings: &BTreeMap<String, String>,
    ) -> Result<ResultStream> {
        let stages = lower(&plan.plan)?;
        let number = self.next_client.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let source = plan.sources.first().map_or("query", String::as_str);
        let members: Vec<usize> = (0..stages.len()).collect();
        let mut runs = self.stage_runs(&stages, &members, &OperatorSettings { values: settings.clone() })?;
        for run in &mut runs {
            run.pipeline.set_track_changes(false);
        }
        // ksqlDB taps the running query that writes the source, and says so in the id; here the log's tail is as cheap.
        let asked = settings.get("ksql.query.push.v2.enabled").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let stateless = runs.iter().all(|run| run.pipeline.stores().is_empty());
        let one_source = plan.sources.len() == 1 && self.is_written(source);
        let tap = asked && latest && stateless && one_source;
        let kind = if tap { "SCALABLE_PUSH_QUERY" } else { "transient" };
        let id = format!("{kind}_{source}_{number}");
        let shared = Arc::new(QueryShared::new(&id, false, settings, self.progress.clone()));
        let mut inputs = Vec::new();
        for (slot, stage) in stages.iter().enumerate() {
            for (number, input) in stage.inputs.iter().enumerate() {
                let StageInput::Source(scan, table) = input else { continue };
                let topic = self.topic(&scan.topic)?;
                for partition in 0..topic.partitions {
                    let at = topic.partition(partition);
                    let range = self.log.range(&at, ReadLevel::Durable)?;
                    let from = if latest && !*table { range.end } else { range.start };
                    let reader = self.log.reader(&at, from, ReadLevel::Durable)?;
                    let scanner = Scanner::new(scan, *table, self.typed.clone())?;
                    let names = (topic.name.clone(), scan.source.clone());
                    inputs.push(Input::new(slot, number, at, names, reader, Some(scanner), false));
                }
            }
        }
        let last = stages.last().ok_or_else(|| Error::internal("a plan without stages"))?;
        let columns: Vec<usize> = plan
            .columns
            .iter()
            .map(|c| {
                last.schema
                    .index_of(&c.name)
                    .ok_or_else(|| Error::internal(format!("the plan does not make column {}", c.name)))
            })
            .collect::<Result<_>>()?;
        let result_columns: Vec<ResultColumn> =
            plan.columns.iter().map(|c| ResultColumn { name: c.name.clone(), ty: c.ty.clone(), key: false }).collect();
        let schema =
            Arc::new(arrow::datatypes::Schema::new(plan.columns.iter().map(|c| c.to_arrow()).collect::<Vec<_>>()));
        let queue = ResultQueue::new();
        let output = TaskOutput::Client(Box::new(ClientWriter {
            queue: queue.clone(),
            columns,
            schema,
            left: plan.plan.limit,
            table: last.table,
            whole_rows: tap.then(|| plan.plan.root.scans().iter().any(|scan| !scan.declared.key.is_empty())),
        }));
        if plan.plan.limit == Some(0) {
            queue.push(Ok(crate::results::ResultEvent::End(crate::results::EndReason::LimitReached)));
        }
        let task = Task::new(TaskParts {
            query: shared.clone(),
            partition: 0,
            stages: runs,
            inputs,
            output,
            producer: None,
            failures: FailureTopics { processing_log: None, rejected: BTreeMap::new() },
            clock: self.clock.clone(),
            track_state: false,
            ordered: needs_order(&stages),
            compaction: Compaction::of(settings),
            idle_max: self.idle_max(settings),
        });
        let cell = self.pool.spawn(Box::new(TaskBody(Arc::new(Mutex::new(task)))));
        {
            let (shared, cell) = (shared.clone(), cell.clone());
            queue.on_cancel(move || {
                shared.stop();
                std::task::Waker::from(cell).wake();
            });
        }
        let mut clients = self.clients.lock();
        clients.retain(|_, c| !c.shared.is_stopped() && c.queue.strong_count() > 0);
        clients.insert(id.clone(), ClientQuery { sql: sql.to_string(), shared, cell, queue: Arc::downgrade(&queue) });
        Ok(ResultStream::new(id, ResultKind::Push, result_columns, queue))
    }

    /// Ends a client's query by id; false if there is none.
    pub fn close_client(&self, id: &str) -> bool {
        let client = self.clients.lock().remove(id);
        let Some(client) = client else { return false };
        client.shared.stop();
        if let Some(queue) = client.queue.upgrade() {
            queue.push(Ok(crate::results::ResultEvent::End(crate::results::EndReason::Cancelled)));
        }
        std::task::Waker::from(client.cell).wake();
        true
    }

    pub fn clients(&self) -> Vec<ClientInfo> {
        let mut clients = self.clients.lock();
        clients.retain(|_, c| !c.shared.is_stopped());
        clients
            .iter()
            .map(|(id, c)| ClientInfo {
                id: id.clone(),
                sql: c.sql.clone(),
                counters: *c.shared.counters.lock(),
                state_size: c.shared.state_size(),
            })
            .collect()
    }

    /// Waits until any query moves, at most `timeout`.
    pub fn wait_for_progress(&self, timeout: Duration) {
        self.progress.wait(timeout);
    }

    /// Waits until the queries have consumed what their inputs hold now, one after another (a later one reads what an
    /// earlier one writes). The error names the query that lags.
    pub fn wait_caught_up(&self, queries: &[String], timeout: Duration) -> Result<()> {
        let watch = Stopwatch::start();
        for id in queries {
            let Some(query) = self.queries.read().get(id).cloned() else { continue };
            let mut stages: Vec<u32> = query.tasks.iter().map(|t| t.stage).collect();
            stages.dedup();
            for stage in stages {
                let ends = self.ends(&query, stage)?;
                // A paused or parked query will not move: what it has is the answer.
                while query.shared.state() == QueryState::Running && !self.reached(&query, stage, &ends) {
                    if watch.elapsed() > timeout {
                        return Err(Error::unavailable(format!(
                            "query {id} has not caught up with its input within {} s",
                            timeout.as_secs()
                        ))
                        .with_hint("SHOW QUERIES tells its lag; SELECT again when it has caught up"));
                    }
                    self.progress.wait(Duration::from_millis(20));
                }
            }
        }
        // What they wrote is in its place; a bounded query reads what is on disk.
        self.log.wait_durable(self.log.position(ReadLevel::Sequenced))
    }

    fn ends(&self, query: &RunningQuery, stage: u32) -> Result<BTreeMap<TopicPartition, Offset>> {
        let mut ends = BTreeMap::new();
        for task in query.tasks.iter().filter(|t| t.stage == stage) {
            for input in task.task.lock().inputs() {
                if let Ok(range) = self.log.range(&input.at, ReadLevel::Sequenced) {
                    ends.insert(input.at, range.end);
                }
            }
        }
        Ok(ends)
    }

    fn reached(&self, query: &RunningQuery, stage: u32, ends: &BTreeMap<TopicPartition, Offset>) -> bool {
        query.tasks.iter().filter(|t| t.stage == stage).all(|running| {
            let mut task = running.task.lock();
            // Somebody waits for it: what is held back leaves now. A failure shows as the query's state.
            if task.has_taken(ends) && query.shared.state() == QueryState::Running {
                task.commit_or_fail();
            }
            task.inputs().iter().all(|input| ends.get(&input.at).is_none_or(|end| input.committed() >= *end))
        })
    }

    /// How long a task holds its inputs back for one without data; not in step mode, which never waits.
    fn idle_max(&self, settings: &BTreeMap<String, String>) -> Duration {
        let ms = Settings::from_overrides(settings.clone()).integer("max.task.idle.ms").unwrap_or(0);
        if self.step { Duration::ZERO } else { Duration::from_millis(ms.max(0) as u64) }
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

    /// Step mode: releases records of one source partition to one query and runs its stages until they are idle.
    pub fn step(&self, id: &str, topic: &str, partition: u32, records: usize) -> Result<usize> {
        let query = self.query(id)?;
        let mut released = 0;
        for running in &query.tasks {
            let mut task = running.task.lock();
            for input in task.inputs_mut() {
                if input.topic == topic && input.at.partition == partition && input.scanner.is_some() {
                    let end = self.log.range(&input.at, ReadLevel::Sequenced)?.end;
                    let more = ((end - input.next()).max(0) as usize).min(records);
                    input.release(more);
                    released = released.max(more);
                }
            }
        }
        self.run_to_idle(&query)?;
        Ok(released)
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

    /// A started query, for whoever is to replace it.
    pub fn running(&self, id: &str) -> Option<Arc<RunningQuery>> {
        self.queries.read().get(id).cloned()
    }

    /// Before a query is replaced: it takes no more from its sources, and what lies between its stages runs to its end,
    /// since the topics between them go with the old form. A query that failed is left as it is.
    pub fn drain(&self, query: &RunningQuery) -> Result<()> {
        if query.shared.state() == QueryState::Error {
            return Ok(());
        }
        for running in &query.tasks {
            running.task.lock().hold_sources();
        }
        let drained = self.run_to_idle(query);
        if drained.is_err() && !self.step {
            for running in &query.tasks {
                running.task.lock().resume_sources();
            }
        }
        drained
    }

    fn run_to_idle(&self, query: &RunningQuery) -> Result<()> {
        loop {
            let mut any = false;
            for running in &query.tasks {
                any |= running.task.lock().run_to_idle()?;
            }
            if !any {
                return Ok(());
            }
        }
    }

    /// Hands the state of `old` to the started query of the same id, store by store. A log that keeps state has done so
    /// already.
    pub fn adopt(&self, old: &RunningQuery) -> Result<()> {
        if self.durable {
            return Ok(());
        }
        let query = self.query(&old.shared.id)?;
        for (before, after) in old.tasks.iter().zip(&query.tasks) {
            let before = before.task.lock();
            let mut after = after.task.lock();
            for (store, state) in before.snapshot()? {
                after.apply(store, &state)?;
            }
            after.measure_state();
        }
        Ok(())
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

//! A task: one or more stages of one query, for one partition (or, for a client's query, for all).
//!
//! The loop: take what the readers have → merge one run → operators → output → commit as one group → repeat until every
//! reader is empty → sleep until a waker calls. Natural batching: a run is what is there, up to [`RUN_ROWS_MAX`] rows, so
//! an idle system moves single rows at once and a busy one moves full runs.
//!
//! | output | rows go to | commit |
//! |---|---|---|
//! | `Sink` | the topic of a stream or table | one group with positions, state, rejects |
//! | `Repartition` | the next stage's topic | the same |
//! | `Client` | a result queue | nothing is logged |
//! | `Nothing` | nowhere: the table is only kept for pulls, or the sink discards | positions and state |
//!
//! Stages that share a task (one partition, or a client's query) hand rows over directly, in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use arrow::array::{Int64Array, RecordBatch};

use super::merge;
use super::pool::{Body, Ran};
use super::query::{QueryShared, QueryState};
use super::rejects::{RejectedAt, processing_log_rows, rejected_rows};
use super::scan::{Rejected, Scanner};
use super::sink::{RepartitionWriter, SinkWriter, Unwritten, append};
use crate::clock::{Clock, Stopwatch};
use crate::config::STATE_BYTES_MAX;
use crate::error::{Error, Result, RowError};
use crate::log::{LogBody, Offset, PartitionReader, Producer, ReadLevel, ReadLimit, StoreId, Topic, TopicPartition};
use crate::ops::{Counters, InputId, Lookup, OpContext, OpError};
use crate::plan::lower::{Pipeline, Stage, StageInput};
use crate::results::{EndReason, ResultEvent, ResultQueue};
use crate::rows::{Rows, batch_of};

/// Most rows one run takes.
pub const RUN_ROWS_MAX: usize = 4096;

/// One stage inside a task.
pub struct StageRun {
    pub id: u32,
    pub pipeline: Pipeline,
    /// `(stage index in this task, input)` that take this stage's output; empty = the task's output.
    pub consumers: Vec<(usize, InputId)>,
}

/// One partition that a task reads.
pub struct Input {
    pub stage: usize,
    pub input: InputId,
    pub at: TopicPartition,
    pub topic: String,
    pub source: String,
    pub reader: Box<dyn PartitionReader>,
    /// None: rows of an earlier stage, as they are.
    pub scanner: Option<Scanner>,
    head: Option<Head>,
    /// First offset not consumed yet.
    next: Offset,
    /// Step mode: how far it may read; None = no limit.
    released: Option<Offset>,
}

struct Head {
    rows: Rows,
    offsets: Option<Vec<Offset>>,
    base: Offset,
    /// Offset after the last record of the batch.
    end: Offset,
}

pub enum TaskOutput {
    Sink(Box<SinkWriter>),
    Repartition(Box<RepartitionWriter>),
    Client(Box<ClientWriter>),
    Nothing,
}

/// Turns rows into a client's columns.
pub struct ClientWriter {
    pub queue: Arc<ResultQueue>,
    /// Column numbers of the result in the last stage's rows.
    pub columns: Vec<usize>,
    pub schema: arrow::datatypes::SchemaRef,
    pub left: Option<u64>,
    pub table: bool,
}

/// Where failures are written.
#[derive(Clone)]
pub struct FailureTopics {
    pub processing_log: Option<(Topic, u64)>,
    /// Per source name: its rejected topic.
    pub rejected: std::collections::BTreeMap<String, (Topic, u64)>,
}

pub struct Task {
    pub query: Arc<QueryShared>,
    pub partition: u32,
    stages: Vec<StageRun>,
    inputs: Vec<Input>,
    output: TaskOutput,
    producer: Option<Box<dyn Producer>>,
    failures: FailureTopics,
    clock: Arc<dyn Clock>,
    /// State changes are recorded (a log that survives, a query that does).
    track_state: bool,
    /// Runs follow time across inputs; off where order across partitions has no meaning.
    ordered: bool,
    /// Rejected records not written yet: `(input, record)`.
    rejected: Vec<(usize, Rejected)>,
    next_input: usize,
    /// State as last told to the query: rows and bytes.
    state: (u64, u64),
    /// The input of the last run.
    last_input: usize,
    pub last_commit: crate::log::LogPosition,
}

impl Input {
    pub fn new(
        stage: usize,
        input: InputId,
        at: TopicPartition,
        names: (String, String),
        reader: Box<dyn PartitionReader>,
        scanner: Option<Scanner>,
        step: bool,
    ) -> Self {
        let next = reader.next_offset();
        let released = (step && scanner.is_some()).then_some(next);
        Self { stage, input, at, topic: names.0, source: names.1, reader, scanner, head: None, next, released }
    }

    pub fn next(&self) -> Offset {
        self.next
    }

    /// Step mode: allows `records` more. Returns the new limit.
    pub fn release(&mut self, records: usize) {
        if let Some(released) = &mut self.released {
            *released += records as i64;
        }
    }

    fn fill(&mut self) -> Result<Vec<Rejected>> {
        let mut rejected = Vec::new();
        if self.head.is_some() {
            return Ok(rejected);
        }
        let rows_max = match self.released {
            Some(released) => ((released - self.reader.next_offset()).max(0) as usize).min(RUN_ROWS_MAX),
            None => RUN_ROWS_MAX,
        };
        if rows_max == 0 {
            return Ok(rejected);
        }
        let Some(batch) = self.reader.take(ReadLimit { rows_max })? else {
            return Ok(rejected);
        };
        let end = batch.base_offset + batch.body.len() as i64;
        let (rows, offsets) = match &self.scanner {
            Some(scanner) => {
                let scanned = scanner.scan(&batch, self.at.partition)?;
                rejected = scanned.rejected;
                (scanned.rows, scanned.offsets)
            }
            None => match &batch.body {
                LogBody::Typed { rows, .. } => (rows.clone(), None),
                LogBody::Encoded(_) => return Err(Error::internal("an internal topic holds encoded records")),
            },
        };
        self.head = Some(Head { rows, offsets, base: batch.base_offset, end });
        Ok(rejected)
    }

    /// Takes the first `len` rows of the head.
    fn take(&mut self, len: usize) -> Option<Rows> {
        let head = self.head.as_mut()?;
        let len = len.min(head.rows.len());
        let rows = head.rows.slice(0, len);
        if len == head.rows.len() {
            self.next = head.end;
            self.head = None;
        } else {
            head.rows = head.rows.slice(len, head.rows.len() - len);
            match &mut head.offsets {
                Some(offsets) => {
                    offsets.drain(..len);
                    self.next = offsets[0];
                }
                None => {
                    head.base += len as i64;
                    self.next = head.base;
                }
            }
        }
        Some(rows)
    }
}

/// What a task is made of.
pub struct TaskParts {
    pub query: Arc<QueryShared>,
    pub partition: u32,
    pub stages: Vec<StageRun>,
    pub inputs: Vec<Input>,
    pub output: TaskOutput,
    pub producer: Option<Box<dyn Producer>>,
    pub failures: FailureTopics,
    pub clock: Arc<dyn Clock>,
    pub track_state: bool,
    pub ordered: bool,
}

impl Task {
    pub fn new(parts: TaskParts) -> Self {
        Self {
            query: parts.query,
            partition: parts.partition,
            stages: parts.stages,
            inputs: parts.inputs,
            output: parts.output,
            producer: parts.producer,
            failures: parts.failures,
            clock: parts.clock,
            track_state: parts.track_state,
            ordered: parts.ordered,
            rejected: Vec::new(),
            next_input: 0,
            state: (0, 0),
            last_input: 0,
            last_commit: Default::default(),
        }
    }

    pub fn inputs_mut(&mut self) -> &mut [Input] {
        &mut self.inputs
    }

    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    pub fn stages(&self) -> &[StageRun] {
        &self.stages
    }

    pub fn stages_mut(&mut self) -> &mut [StageRun] {
        &mut self.stages
    }

    /// Handles one run. False when there was nothing to do.
    pub fn run_once(&mut self, waker: &Waker) -> Result<bool> {
        if let Some(reason) = self.past_limit() {
            self.park(reason);
            return Ok(false);
        }
        for index in 0..self.inputs.len() {
            let rejected = self.inputs[index].fill()?;
            self.rejected.extend(rejected.into_iter().map(|r| (index, r)));
        }
        let Some((input, rows)) = self.next_run() else {
            return Ok(false);
        };
        let watch = Stopwatch::start();
        let mut operators = Counters::default();
        let mut errors = Vec::new();
        let mut out = Vec::new();
        if !rows.is_empty() {
            let (stage, slot) = (self.inputs[input].stage, self.inputs[input].input);
            self.push(stage, slot, &rows, &mut errors, &mut operators, &mut out)?;
        }
        let mut counters = query_counters(rows.len() as u64, self.rejected.len() as u64, &operators);
        counters.field_errors += errors.len() as u64;
        self.deliver(input, out, errors, &mut counters, waker)?;
        self.last_input = input;
        self.measure_state();
        self.query.add(&counters, watch.elapsed());
        self.query.progress();
        Ok(true)
    }

    /// The next run and its input; empty rows when only rejected records were read.
    fn next_run(&mut self) -> Option<(usize, Rows)> {
        if let Some(empty) = self.inputs.iter().position(|i| i.head.as_ref().is_some_and(|h| h.rows.is_empty())) {
            let rows = self.inputs[empty].take(0)?;
            return Some((empty, rows));
        }
        if !self.ordered {
            let count = self.inputs.len();
            let chosen = (0..count).map(|i| (self.next_input + i) % count).find(|i| self.inputs[*i].head.is_some())?;
            self.next_input = chosen + 1;
            let rows = self.inputs[chosen].take(RUN_ROWS_MAX)?;
            return Some((chosen, rows));
        }
        let heads: Vec<Option<&Int64Array>> =
            self.inputs.iter().map(|i| i.head.as_ref().map(|h| &h.rows.time)).collect();
        let (chosen, len) = merge::choose(&heads)?;
        let rows = self.inputs[chosen].take(len)?;
        Some((chosen, rows))
    }

    /// Tells the query what its state is now.
    pub fn measure_state(&mut self) {
        let size = |run: &StageRun| run.pipeline.state_size();
        let now = self.stages.iter().map(size).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        self.query.state_changed(std::mem::replace(&mut self.state, now), now);
    }

    /// Why the query must not go on, if its state has passed its limit. Everything before is committed.
    fn past_limit(&self) -> Option<Error> {
        let ((rows, bytes), max) = (self.query.state_size(), self.query.state_bytes_max());
        if bytes <= max {
            return None;
        }
        let at = self.inputs.get(self.last_input).map(|input| {
            format!(" at offset {} of topic {}, partition {}", input.next, input.topic, input.at.partition)
        });
        let id = &self.query.id;
        let reason = Error::limit(format!(
            "query {id} keeps {rows} rows of state in {bytes} bytes, more than {STATE_BYTES_MAX} = {max}; it stopped{}",
            at.unwrap_or_default()
        ));
        Some(match self.output {
            TaskOutput::Client(_) => reason.with_hint(format!("SET '{STATE_BYTES_MAX}' to more before the SELECT")),
            _ => reason.with_hint(format!("SET '{STATE_BYTES_MAX}' to more, then RESUME {id} goes on from there")),
        })
    }

    fn park(&mut self, reason: Error) {
        if let TaskOutput::Client(_) = self.output {
            return self.fail(reason);
        }
        tracing::warn!(query = %self.query.id, "query parked: {reason}");
        self.query.park(reason);
    }

    fn push(
        &mut self,
        stage: usize,
        input: InputId,
        rows: &Rows,
        errors: &mut Vec<OpError>,
        counters: &mut Counters,
        out: &mut Vec<Rows>,
    ) -> Result<()> {
        let mut made = Vec::new();
        let run = &mut self.stages[stage];
        run.pipeline.push(input, rows, &mut OpContext { errors, counters }, &mut made)?;
        if run.consumers.is_empty() {
            out.append(&mut made);
            return Ok(());
        }
        for (consumer, slot) in run.consumers.clone() {
            for rows in &made {
                self.push(consumer, slot, rows, errors, counters, out)?;
            }
        }
        Ok(())
    }

    fn deliver(
        &mut self,
        input: usize,
        out: Vec<Rows>,
        mut errors: Vec<OpError>,
        counters: &mut Counters,
        waker: &Waker,
    ) -> Result<()> {
        if let TaskOutput::Client(client) = &mut self.output {
            counters.rows_out += client.write(out)?;
            client.queue.add_rejected(self.rejected.len() as u64);
            self.rejected.clear();
            return Ok(());
        }
        let home = self.inputs[input].at.partition;
        let producer = self.producer.as_mut().ok_or_else(|| Error::internal("a persistent task without producer"))?;
        let mut transaction = producer.begin()?;
        let mut unwritten = Unwritten::default();
        match &self.output {
            TaskOutput::Sink(sink) => {
                for rows in out {
                    counters.rows_out += sink.write(rows, home, transaction.as_mut(), &mut unwritten)? as u64;
                }
            }
            TaskOutput::Repartition(next) => {
                for rows in out {
                    counters.rows_out += rows.len() as u64;
                    next.write(rows, home, transaction.as_mut())?;
                }
            }
            TaskOutput::Nothing => counters.rows_out += out.iter().map(|r| r.len() as u64).sum::<u64>(),
            TaskOutput::Client(_) => {}
        }
        counters.field_errors += unwritten.errors.len() as u64;
        errors.extend(unwritten.errors.into_iter().map(|(error, time)| OpError {
            place: "Sink".into(),
            error: RowError::new(error.row, error.message),
            time,
        }));
        if self.track_state {
            for run in &mut self.stages {
                for (step, changes) in run.pipeline.take_changes()? {
                    if !changes.is_empty() {
                        let store = StoreId {
                            query: self.query.id.clone(),
                            step: run.id << 16 | step,
                            partition: self.partition,
                        };
                        transaction.state(&store, changes);
                    }
                }
            }
        }
        let input = &self.inputs[input];
        transaction.consumed(&input.at, input.next);
        // An input that gave only rejected records has moved, too.
        for (index, _) in &self.rejected {
            let other = &self.inputs[*index];
            if other.head.is_none() {
                transaction.consumed(&other.at, other.next);
            }
        }
        let now_ms = self.clock.now_ms();
        if !errors.is_empty()
            && let Some((topic, fingerprint)) = &self.failures.processing_log
        {
            let rows = processing_log_rows(&self.query.id, &errors, now_ms)?;
            append(transaction.as_mut(), topic, 0, LogBody::Typed { rows, fingerprint: *fingerprint })?;
        }
        for (index, source) in self.inputs.iter().enumerate() {
            let records: Vec<RejectedAt<'_>> = self
                .rejected
                .iter()
                .filter(|(i, _)| *i == index)
                .map(|(_, record)| RejectedAt {
                    query: &self.query.id,
                    source: &source.source,
                    at: Some((source.at.partition, record.offset)),
                    line: None,
                    record,
                })
                .collect();
            if let Some((topic, fingerprint)) =
                self.failures.rejected.get(&source.source).filter(|_| !records.is_empty())
            {
                let rows = rejected_rows(&records, now_ms)?;
                append(transaction.as_mut(), topic, 0, LogBody::Typed { rows, fingerprint: *fingerprint })?;
            }
        }
        self.rejected.clear();
        let receipt = transaction.commit(ReadLevel::Sequenced, Some(waker))?.wait()?;
        self.last_commit = receipt.position;
        Ok(())
    }

    /// Runs until nothing is left (step mode). Returns whether anything was done.
    pub fn run_to_idle(&mut self) -> Result<bool> {
        let mut any = false;
        while self.run_once(Waker::noop())? {
            any = true;
        }
        Ok(any)
    }

    /// Rows of the table that this task's last stage keeps.
    pub fn lookup(&mut self, lookup: &Lookup) -> Result<Option<Vec<Rows>>> {
        match self.stages.last_mut() {
            Some(stage) => stage.pipeline.lookup(lookup),
            None => Ok(None),
        }
    }

    /// One turn on the pool.
    pub fn turn(&mut self, waker: &Waker) -> Ran {
        if self.query.is_stopped() {
            return Ran::Finished;
        }
        if self.query.state() != QueryState::Running {
            return Ran::Idle;
        }
        if let TaskOutput::Client(client) = &self.output {
            if client.queue.is_cancelled() || client.left == Some(0) {
                self.query.stop();
                return Ran::Finished;
            }
            if !client.queue.has_room(Some(waker)) {
                return Ran::Idle;
            }
        }
        let ran = self.run_once(waker).and_then(|any| {
            if any {
                return Ok(true);
            }
            // Ask to be woken first, then look once more, so that no record slips in between.
            for input in &mut self.inputs {
                input.reader.wake_on_data(waker);
            }
            self.run_once(waker)
        });
        match ran {
            Ok(true) => Ran::Again,
            Ok(false) if self.query.is_stopped() => Ran::Finished,
            Ok(false) => Ran::Idle,
            Err(error) => {
                self.fail(error);
                Ran::Finished
            }
        }
    }

    pub fn fail(&mut self, error: Error) {
        if let TaskOutput::Client(client) = &self.output {
            client.queue.push(Err(error));
            self.query.stop();
        } else {
            tracing::error!(query = %self.query.id, "query stopped: {error}");
            self.query.fail(error);
        }
        self.query.progress();
    }
}

impl ClientWriter {
    fn write(&mut self, out: Vec<Rows>) -> Result<u64> {
        let mut written = 0;
        for mut rows in out {
            if let Some(left) = self.left {
                rows = rows.slice(0, rows.len().min(left as usize));
                self.left = Some(left - rows.len() as u64);
            }
            if rows.is_empty() {
                continue;
            }
            let columns = self.columns.iter().map(|c| rows.columns.column(*c).clone()).collect();
            let batch: RecordBatch = batch_of(self.schema.clone(), columns, rows.len())?;
            written += rows.len() as u64;
            let tombstones = if self.table { rows.null_value.clone() } else { None };
            self.queue.push(Ok(ResultEvent::Rows { batch, tombstones }));
            if self.left == Some(0) {
                self.queue.push(Ok(ResultEvent::End(EndReason::LimitReached)));
            }
        }
        Ok(written)
    }
}

/// One query's books for a run: every record read has one disposition, wherever in the pipeline it was decided.
fn query_counters(read: u64, unreadable: u64, operators: &Counters) -> Counters {
    let rows_in = read + unreadable;
    let rejected = unreadable + operators.rejected;
    let left = rows_in.saturating_sub(operators.filtered + operators.unmatched + operators.late + rejected);
    Counters {
        rows_in,
        accepted: left,
        filtered: operators.filtered,
        unmatched: operators.unmatched,
        late: operators.late,
        rejected,
        rows_out: 0,
        late_windows: operators.late_windows,
        field_errors: 0,
    }
}

/// A task as the pool sees it; pulls and snapshots lock the same task between runs.
pub struct TaskBody(pub Arc<parking_lot::Mutex<Task>>);

impl Body for TaskBody {
    fn run(&mut self, waker: &Waker) -> Ran {
        self.0.lock().turn(waker)
    }

    fn panicked(&mut self, reason: &str) {
        let mut task = self.0.lock();
        let error = Error::internal(format!("query {} broke an invariant: {reason}", task.query.id))
            .with_hint("this is a bug in Headwater; the query is parked, its input is kept");
        task.fail(error);
    }
}

/// Whether rows of a stage's inputs must be merged by time.
pub fn needs_order(stages: &[Stage]) -> bool {
    let sources: usize =
        stages.iter().map(|s| s.inputs.iter().filter(|i| matches!(i, StageInput::Source(..))).count()).sum();
    sources > 1 || stages.iter().any(|s| s.windowed)
}

impl QueryShared {
    fn add(&self, counters: &Counters, busy: std::time::Duration) {
        self.counters.lock().add(counters);
        self.busy_ns.fetch_add(busy.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Task {
    /// The producer is handed over once state is restored through it.
    pub fn set_producer(&mut self, producer: Box<dyn Producer>) {
        self.producer = Some(producer);
        self.measure_state();
    }
}

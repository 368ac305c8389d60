//! A task: one or more stages of one query, for one partition (or, for a client's query, for all).
//!
//! The loop: take what the readers have → merge one run → operators → output → commit when it is due ([`super::commit`])
//! → repeat until every reader is empty → sleep until a waker calls. Natural batching: a run is what is there, up to
//! [`RUN_ROWS_MAX`] rows, so an idle system moves single rows at once and a busy one moves full runs.
//!
//! | output | rows go to | commit |
//! |---|---|---|
//! | `Sink` | the topic of a stream or table | one group with positions, state, rejects |
//! | `Repartition` | the next stage's topic | the same |
//! | `Client` | a result queue | nothing is logged |
//! | `Nothing` | nowhere: the table is only kept for pulls, or the sink discards | positions and state |
//!
//! Stages that share a task (one partition, or a client's query) hand rows over directly, in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use arrow::array::Int64Array;

use super::client::ClientWriter;
use super::commit::{Due, OpenGroup};
use super::input::Input;
use super::merge;
use super::pool::{Body, Ran};
use super::query::{QueryShared, QueryState};
use super::rejects::{RejectedAt, processing_log_rows, rejected_rows};
use super::scan::Rejected;
use super::siblings::{Progress, Siblings};
use super::sink::{RepartitionWriter, SinkWriter, Unwritten, append};
use crate::clock::{self, Clock, Stopwatch};
use crate::config::STATE_BYTES_MAX;
use crate::error::{Error, Result, RowError};
use crate::log::{LogBody, LogPosition, Offset, Producer, ReadLevel, StoreId, Topic, TopicPartition};
use crate::ops::compact::Compaction;
use crate::ops::{Counters, InputId, Lookup, OpContext, OpError};
use crate::plan::lower::{Pipeline, Stage, StageInput};
use crate::rows::Rows;
use crate::state::StateChanges;

/// Most rows one run takes.
pub const RUN_ROWS_MAX: usize = 4096;

/// A run whose output is larger makes the next run shorter: a window of a day that hops by the second makes 86,400 rows
/// of one. A task begins with a single row and doubles.
const RUN_OUTPUT_BYTES_MAX: usize = 4 << 20;

/// One stage inside a task.
pub struct StageRun {
    pub id: u32,
    pub pipeline: Pipeline,
    /// `(stage index in this task, input)` that take this stage's output; empty = the task's output.
    pub consumers: Vec<(usize, InputId)>,
}

pub enum TaskOutput {
    Sink(Box<SinkWriter>),
    Repartition(Box<RepartitionWriter>),
    Client(Box<ClientWriter>),
    Nothing,
}

/// Where failures are written.
#[derive(Clone)]
pub struct FailureTopics {
    pub processing_log: Option<(Topic, u64)>,
    /// Per source name: its rejected topic.
    pub rejected: BTreeMap<String, (Topic, u64)>,
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
    compaction: Option<Compaction>,
    /// How long an input without data holds back the others.
    idle_max: Duration,
    /// Sources are held, see [`Task::hold_sources`].
    draining: bool,
    /// Since when the task waits for an input without data.
    waiting: Option<Stopwatch>,
    /// The tasks that feed the same repartition topic, and which of them this is.
    siblings: Option<(Arc<Siblings>, usize)>,
    /// Work of runs that is not committed yet.
    open: Option<OpenGroup>,
    run_rows_max: usize,
    next_input: usize,
    /// State as last told to the query: rows and bytes.
    state: (u64, u64),
    /// The input of the last run.
    last_input: usize,
    last_commit: LogPosition,
}

/// What there is to do.
#[derive(Clone, Copy)]
enum Next {
    /// Rows of an input, at most so many; none when only rejected records were read.
    Run(usize, usize),
    /// Nothing unless data comes or this has passed.
    Wait(Duration),
    Nothing,
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
    pub compaction: Option<Compaction>,
    pub idle_max: Duration,
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
            compaction: parts.compaction,
            idle_max: parts.idle_max,
            draining: false,
            waiting: None,
            siblings: None,
            open: None,
            run_rows_max: 1,
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

    pub fn last_commit(&self) -> LogPosition {
        self.last_commit
    }

    /// Keeps this task close in time to those that feed the same topic.
    pub fn set_siblings(&mut self, siblings: Arc<Siblings>, index: usize) {
        self.siblings = Some((siblings, index));
    }

    /// Tells the siblings how far this task is.
    fn publish_progress(&self) {
        let Some((siblings, index)) = &self.siblings else { return };
        let heads = self.inputs.iter().filter_map(|input| input.head()?.time.values().first().copied());
        let open = self.open.as_ref().and_then(OpenGroup::earliest);
        let progress = match heads.chain(open).min() {
            Some(time) => Progress::Busy(time),
            None => Progress::CaughtUp(self.inputs.iter().map(|input| (input.at, input.next())).collect()),
        };
        siblings.publish(*index, progress);
    }

    /// How many of the next rows of an input may be taken now; none: this task is woken when a sibling has moved.
    fn within_skew(&self, input: usize, len: usize, waker: &Waker) -> usize {
        let (Some((siblings, index)), false) = (&self.siblings, self.draining) else { return len };
        let Some(rows) = self.inputs[input].head() else { return len };
        let times = &rows.time.values()[..len.min(rows.len())];
        let Some(first) = times.first() else { return len };
        match siblings.limit(*index, *first, waker) {
            Some(limit) => times.iter().position(|time| *time > limit).unwrap_or(times.len()),
            None => 0,
        }
    }

    /// Reads what the inputs have. True if there is something at hand.
    fn fill(&mut self) -> Result<bool> {
        let mut any = false;
        for input in &mut self.inputs {
            input.fill()?;
            any |= input.head().is_some();
        }
        Ok(any)
    }

    /// Handles one run of the rows at hand.
    fn run_once(&mut self, waker: &Waker) -> Result<Next> {
        if let Some(reason) = self.past_limit() {
            self.park(reason)?;
            return Ok(Next::Nothing);
        }
        let next = self.next_run();
        let Next::Run(input, len) = next else { return Ok(next) };
        let allowed = self.within_skew(input, len, waker);
        if allowed == 0 && len > 0 {
            return Ok(Next::Nothing);
        }
        let len = allowed;
        let Some(rows) = self.inputs[input].take(len.min(self.run_rows_max)) else { return Ok(Next::Nothing) };
        let watch = Stopwatch::start();
        let mut operators = Counters::default();
        let read = rows.len() as u64;
        let taken = rows.time.clone();
        let rows = match &self.output {
            TaskOutput::Client(client) => client.admitted(rows)?,
            _ => rows,
        };
        operators.filtered += read - rows.len() as u64;
        let mut errors = Vec::new();
        let mut out = Vec::new();
        if !rows.is_empty() {
            let (stage, slot) = (self.inputs[input].stage, self.inputs[input].input);
            let clock = Arc::clone(&self.clock);
            clock::with(&clock, || self.push(stage, slot, &rows, &mut errors, &mut operators, &mut out))?;
        }
        let rejected = self.inputs[input].take_rejected();
        let mut counters = query_counters(read, rejected.len() as u64, &operators);
        counters.field_errors += errors.len() as u64;
        let bytes_before = self.open_group()?.bytes();
        self.write(out, errors, &mut counters)?;
        self.write_rejected(input, rejected)?;
        let group = self.open_group()?;
        group.add_run(&taken);
        let written_bytes = group.bytes() - bytes_before;
        self.last_input = input;
        let bytes = written_bytes + self.measure_state();
        self.run_rows_max = if bytes > RUN_OUTPUT_BYTES_MAX {
            (rows.len() / 2).max(1)
        } else {
            self.run_rows_max.max(rows.len()).saturating_mul(2).min(RUN_ROWS_MAX)
        };
        self.query.add(&counters, watch.elapsed());
        Ok(next)
    }

    fn next_run(&mut self) -> Next {
        if let Some(empty) = self.inputs.iter().position(|i| i.head().is_some_and(Rows::is_empty)) {
            return Next::Run(empty, 0);
        }
        if !self.ordered {
            let count = self.inputs.len();
            let chosen = (0..count).map(|i| (self.next_input + i) % count).find(|i| self.inputs[*i].head().is_some());
            let Some(chosen) = chosen else { return Next::Nothing };
            self.next_input = chosen + 1;
            return Next::Run(chosen, RUN_ROWS_MAX);
        }
        let heads: Vec<Option<&Int64Array>> = self.inputs.iter().map(|i| i.head().map(|h| &h.time)).collect();
        let Some((chosen, len)) = merge::choose(&heads) else { return Next::Nothing };
        if self.draining || self.idle_max.is_zero() || heads.iter().all(Option::is_some) {
            self.waiting = None;
        } else {
            let waited = self.waiting.get_or_insert_with(Stopwatch::start).elapsed();
            if let Some(left) = self.idle_max.checked_sub(waited).filter(|left| !left.is_zero()) {
                return Next::Wait(left);
            }
        }
        Next::Run(chosen, len)
    }

    /// Tells the query what its state is now; returns by how many bytes it has grown.
    pub fn measure_state(&mut self) -> usize {
        let size = |run: &StageRun| run.pipeline.state_size();
        let now = self.stages.iter().map(size).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        let before = std::mem::replace(&mut self.state, now);
        self.query.state_changed(before, now);
        now.1.saturating_sub(before.1) as usize
    }

    /// Why the query must not go on, if its state has passed its limit.
    fn past_limit(&self) -> Option<Error> {
        let ((rows, bytes), max) = (self.query.state_size(), self.query.state_bytes_max());
        if bytes <= max {
            return None;
        }
        let at = self.inputs.get(self.last_input).map(|input| {
            format!(" at offset {} of topic {}, partition {}", input.next(), input.topic, input.at.partition)
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

    /// Holds the query between two runs, with everything so far committed; a client's query ends.
    fn park(&mut self, reason: Error) -> Result<()> {
        if let TaskOutput::Client(_) = self.output {
            self.fail(reason);
            return Ok(());
        }
        self.commit(Waker::noop())?;
        tracing::warn!(query = %self.query.id, "query parked: {reason}");
        self.query.park(reason);
        Ok(())
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

    /// The group that takes the task's work, begun if there is none.
    fn open_group(&mut self) -> Result<&mut OpenGroup> {
        if self.open.is_none() {
            let transaction = match (&self.output, &mut self.producer) {
                (TaskOutput::Client(_), _) => None,
                (_, Some(producer)) => Some(producer.begin()?),
                (_, None) => return Err(Error::internal("a persistent task without producer")),
            };
            self.open = Some(OpenGroup::new(transaction));
        }
        self.open.as_mut().ok_or_else(|| Error::internal("a group was begun"))
    }

    /// Sends rows that left the last stage to their place, and failures of expressions to the processing log.
    fn write(&mut self, out: Vec<Rows>, mut errors: Vec<OpError>, counters: &mut Counters) -> Result<()> {
        if let TaskOutput::Client(client) = &mut self.output {
            counters.rows_out += client.write(out)?;
            return Ok(());
        }
        let home = self.partition;
        self.open_group()?;
        let Some(transaction) = self.open.as_mut().and_then(|group| group.transaction.as_mut()) else {
            return Err(Error::internal("a persistent task without transaction"));
        };
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
        if !errors.is_empty()
            && let Some((topic, fingerprint)) = &self.failures.processing_log
        {
            let rows = processing_log_rows(&self.query.id, &errors, self.clock.now_ms())?;
            append(transaction.as_mut(), topic, 0, LogBody::Typed { rows, fingerprint: *fingerprint })?;
        }
        Ok(())
    }

    fn write_rejected(&mut self, input: usize, rejected: Vec<Rejected>) -> Result<()> {
        if rejected.is_empty() {
            return Ok(());
        }
        if let TaskOutput::Client(client) = &self.output {
            client.queue.add_rejected(rejected.len() as u64);
            return Ok(());
        }
        let now_ms = self.clock.now_ms();
        let source = &self.inputs[input];
        let Some((topic, fingerprint)) = self.failures.rejected.get(&source.source) else { return Ok(()) };
        let records: Vec<RejectedAt<'_>> = rejected
            .iter()
            .map(|record| RejectedAt {
                query: &self.query.id,
                source: &source.source,
                at: Some((source.at.partition, record.offset)),
                line: None,
                record,
            })
            .collect();
        let rows = rejected_rows(&records, now_ms)?;
        if let Some(transaction) = self.open.as_mut().and_then(|group| group.transaction.as_mut()) {
            append(transaction.as_mut(), topic, 0, LogBody::Typed { rows, fingerprint: *fingerprint })?;
        }
        Ok(())
    }

    /// Commits the open group if it is due; otherwise says when it will be.
    fn commit_if_due(&mut self, more: bool, waker: &Waker) -> Result<Option<Duration>> {
        let Some(group) = &self.open else { return Ok(None) };
        let held = self.stages.iter().map(|stage| stage.pipeline.held_bytes()).sum();
        match group.due(self.compaction, held, more) {
            Due::In(left) => Ok(Some(left)),
            Due::Now => self.commit(waker).map(|()| None),
        }
    }

    /// Makes everything done so far one group: results held back, state, positions.
    pub fn commit(&mut self, waker: &Waker) -> Result<()> {
        if self.open.is_none() {
            return Ok(());
        }
        self.release_held()?;
        let Some(group) = self.open.take() else { return Ok(()) };
        if let Some(mut transaction) = group.transaction {
            if self.track_state {
                for run in &mut self.stages {
                    for (number, changes) in run.pipeline.take_changes()? {
                        let store = StoreId { query: self.query.id.clone(), step: number, partition: self.partition };
                        transaction.state(&store, changes);
                    }
                }
            }
            for input in self.inputs.iter().filter(|input| input.next() != input.committed()) {
                transaction.consumed(&input.at, input.next());
            }
            let receipt = transaction.commit(ReadLevel::Sequenced, Some(waker))?.wait()?;
            self.last_commit = receipt.position;
        }
        for input in &mut self.inputs {
            input.commit();
        }
        self.query.progress();
        Ok(())
    }

    /// The same, when nobody is there to hear of an error: it stops the query.
    pub fn commit_or_fail(&mut self) {
        if let Err(error) = self.commit(Waker::noop()) {
            self.fail(error);
        }
    }

    /// Sends on what compaction held back, stage by stage: a later one may hold it again.
    fn release_held(&mut self) -> Result<()> {
        for stage in 0..self.stages.len() {
            let (mut errors, mut operators) = (Vec::new(), Counters::default());
            let (mut made, mut out) = (Vec::new(), Vec::new());
            let mut ctx = OpContext { errors: &mut errors, counters: &mut operators };
            self.stages[stage].pipeline.release(&mut ctx, &mut made)?;
            if made.is_empty() {
                continue;
            }
            if self.stages[stage].consumers.is_empty() {
                out = made;
            } else {
                for (consumer, slot) in self.stages[stage].consumers.clone() {
                    for rows in &made {
                        self.push(consumer, slot, rows, &mut errors, &mut operators, &mut out)?;
                    }
                }
            }
            let mut counters = Counters { field_errors: errors.len() as u64, ..Counters::default() };
            self.write(out, errors, &mut counters)?;
            self.query.add(&counters, Duration::ZERO);
        }
        Ok(())
    }

    /// Runs until nothing is left (step mode). Returns whether anything was done.
    pub fn run_to_idle(&mut self) -> Result<bool> {
        let mut any = false;
        while self.fill()? && matches!(self.run_once(Waker::noop())?, Next::Run(..)) {
            any = true;
        }
        self.commit(Waker::noop())?;
        Ok(any)
    }

    /// Whether all that the readers gave has been taken, though it may not be committed.
    pub fn has_taken(&self, ends: &BTreeMap<TopicPartition, Offset>) -> bool {
        self.inputs.iter().all(|input| ends.get(&input.at).is_none_or(|end| input.next() >= *end))
    }

    /// Nothing more is taken from sources; what is between stages still is, without waiting for anything.
    pub fn hold_sources(&mut self) {
        self.draining = true;
        self.inputs.iter_mut().for_each(Input::hold);
    }

    /// Ends [`Task::hold_sources`]; step mode never calls it.
    pub fn resume_sources(&mut self) {
        self.draining = false;
        self.inputs.iter_mut().for_each(Input::resume);
    }

    /// All state, by store number.
    pub fn snapshot(&self) -> Result<Vec<(u32, StateChanges)>> {
        let parts = self.stages.iter().map(|run| run.pipeline.snapshot()).collect::<Result<Vec<_>>>()?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// Puts the state of one store back, if a step of this task keeps it.
    pub fn apply(&mut self, store: u32, state: &StateChanges) -> Result<()> {
        match self.stages.iter_mut().find(|run| run.pipeline.stores().contains(&store)) {
            Some(run) => run.pipeline.apply(store, state),
            None => Ok(()),
        }
    }

    /// Rows of the table that this task's last stage keeps.
    pub fn lookup(&mut self, lookup: &Lookup) -> Result<Option<Vec<Rows>>> {
        if self.query.state() == QueryState::Error {
            let reason = self.query.error().map_or_else(String::new, |error| format!(": {}", error.message()));
            return Err(Error::unavailable(format!("query {} has stopped{reason}", self.query.id)));
        }
        self.commit(Waker::noop())?;
        match self.stages.last_mut() {
            Some(stage) => clock::with(&self.clock, || stage.pipeline.lookup(lookup)),
            None => Ok(None),
        }
    }

    /// One turn on the pool.
    pub fn turn(&mut self, waker: &Waker) -> Ran {
        if self.query.is_stopped() {
            return Ran::Finished;
        }
        if self.query.state() != QueryState::Running {
            return self.settle(|task| task.commit(waker).map(|()| Ran::Idle));
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
        let ran = self.settle(|task| task.run(waker));
        if self.query.is_stopped() { Ran::Finished } else { ran }
    }

    fn run(&mut self, waker: &Waker) -> Result<Ran> {
        let mut next = self.fill_and_run(waker)?;
        if !matches!(next, Next::Run(..)) {
            // Ask to be woken first, then look once more, so that no record slips in between.
            for input in &mut self.inputs {
                input.reader.wake_on_data(waker);
            }
            next = self.fill_and_run(waker)?;
        }
        if let Next::Run(..) = next {
            let more = self.fill()?;
            self.commit_if_due(more, waker)?;
            self.publish_progress();
            return Ok(Ran::Again);
        }
        let due = self.commit_if_due(false, waker)?;
        self.publish_progress();
        let wait = if let Next::Wait(wait) = next { Some(wait) } else { None };
        Ok(match wait.into_iter().chain(due).min() {
            Some(wait) => Ran::Wait(wait),
            None => Ran::Idle,
        })
    }

    fn fill_and_run(&mut self, waker: &Waker) -> Result<Next> {
        let any = self.fill()?;
        self.publish_progress();
        if any { self.run_once(waker) } else { Ok(Next::Nothing) }
    }

    /// An error stops the query.
    fn settle(&mut self, act: impl FnOnce(&mut Self) -> Result<Ran>) -> Ran {
        act(self).unwrap_or_else(|error| {
            self.fail(error);
            Ran::Finished
        })
    }

    pub fn fail(&mut self, error: Error) {
        // Nothing of a group that cannot be whole is kept.
        self.open = None;
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

//! A query's definition → stages → tasks on the pool, at the query's committed positions.
//!
//! | stages | partitions | tasks |
//! |---|---|---|
//! | any | 1 each | one, with all stages |
//! | 2 | 4 and 4 | eight; a topic between the stages |
//!
//! A task gets back what the log keeps of its state before it runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::input::Input;
use super::query::QueryShared;
use super::rejects::{self, PROCESSING_LOG, rejected_name};
use super::scan::{Scanner, TimestampExtractor};
use super::siblings::{Lead, Siblings};
use super::sink::{RepartitionWriter, SinkWriter};
use super::task::{FailureTopics, StageRun, Task, TaskBody, TaskOutput, TaskParts, needs_order};
use super::typed::TypedSchema;
use super::{RunningQuery, RunningTask, Runtime};
use crate::catalog::{Catalog, PersistentQuery};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::format::{self, Side};
use crate::log::{LogPosition, Offset, Producer, ProducerId, ReadLevel, StoreId, Topic};
use crate::ops::compact::Compaction;
use crate::plan::lower::{OperatorSettings, Pipeline, Stage, StageInput, StageOutput, lower};
use crate::plan::steps::Plan;

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
                        Some(column) => Some(TimestampExtractor::new(column, &stages[stages.len() - 1].schema)?),
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

    pub(super) fn stage_runs(
        &self,
        stages: &[Stage],
        members: &[usize],
        settings: &OperatorSettings,
    ) -> Result<Vec<StageRun>> {
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

    pub(super) fn topic(&self, name: &str) -> Result<Topic> {
        self.log.topic(name).ok_or_else(|| Error::not_found(format!("topic {name} does not exist")))
    }

    /// How long a task holds its inputs back for one without data; not in step mode, which never waits.
    pub(super) fn idle_max(&self, settings: &BTreeMap<String, String>) -> Duration {
        let ms = Settings::from_overrides(settings.clone()).integer("max.task.idle.ms").unwrap_or(0);
        if self.step { Duration::ZERO } else { Duration::from_millis(ms.max(0) as u64) }
    }
}

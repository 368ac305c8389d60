//! The engine: a data directory opened, its catalog, log and running queries.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::catalog::commands::Change;
use crate::catalog::{Catalog, PersistentQuery, Source};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::log::embedded::{EmbeddedLog, Options};
use crate::log::memory::MemoryLog;
use crate::log::{Control, EncodedRecords, Log, LogBody, Offset, Producer, ProducerId, ReadLevel, ReadLimit, Topic};
use crate::plan::TopicPlan;
use crate::runtime::Runtime;
use crate::runtime::rejects::{self, PROCESSING_LOG, is_system};
use crate::runtime::sink::append;
use crate::runtime::typed::{TypedSchema, TypedSchemas};
use crate::session::{Access, Session};

/// Where an engine keeps its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    Directory(PathBuf),
    Memory,
}

/// When an insert is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// After fsync; commits that wait share one.
    Always,
    /// After the next periodic fsync.
    IntervalMs(u64),
    /// After the write; the operating system decides when it is on disk.
    Never,
}

pub struct EngineConfig {
    pub storage: Storage,
    pub sync: Sync,
    pub clock: Arc<dyn Clock>,
    /// Worker threads for tasks; None = one per core.
    pub workers: Option<usize>,
    /// Nothing runs by itself; `Engine::step` drives it (headwater test, simulations).
    pub step: bool,
    /// Settings every session starts with.
    pub settings: BTreeMap<String, String>,
}

impl EngineConfig {
    /// Everything in memory, on the system clock.
    pub fn memory() -> Self {
        Self {
            storage: Storage::Memory,
            sync: Sync::Always,
            clock: Arc::new(SystemClock),
            workers: None,
            step: false,
            settings: BTreeMap::new(),
        }
    }

    /// A data directory, every insert acknowledged after fsync.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self { storage: Storage::Directory(path.into()), ..Self::memory() }
    }
}

/// A handle; clones share one engine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<EngineInner>,
}

pub(crate) struct EngineInner {
    pub log: Arc<dyn Log>,
    pub clock: Arc<dyn Clock>,
    pub runtime: Arc<Runtime>,
    pub typed: Arc<TypedSchemas>,
    catalog: RwLock<Arc<Catalog>>,
    /// One change of the catalog at a time.
    commands: Mutex<Box<dyn Producer>>,
    settings: BTreeMap<String, String>,
    step: bool,
    next_session: std::sync::atomic::AtomicU64,
    next_query: std::sync::atomic::AtomicU64,
    closed: AtomicBool,
}

impl Engine {
    pub fn open(config: EngineConfig) -> Result<Engine> {
        let log: Arc<dyn Log> = match &config.storage {
            Storage::Memory => MemoryLog::new(config.clock.clone()),
            Storage::Directory(path) => EmbeddedLog::open(Options::new(path, config.sync, config.clock.clone()))?,
        };
        let typed = Arc::new(TypedSchemas::default());
        let entries = log.catalog();
        for (key, value) in entries.iter().filter(|(k, _)| k.starts_with("typed/")) {
            let schema: TypedSchema = serde_json::from_str(value)
                .map_err(|e| Error::storage(format!("catalog entry {key} cannot be read: {e}")))?;
            typed.add(&schema)?;
        }
        let catalog = Catalog::restore(&entries)?;
        let workers = config
            .workers
            .or_else(|| std::thread::available_parallelism().ok().map(std::num::NonZero::get))
            .unwrap_or(1);
        let durable = matches!(config.storage, Storage::Directory(_));
        let runtime = Arc::new(Runtime::new(
            log.clone(),
            config.clock.clone(),
            typed.clone(),
            workers.max(1),
            durable,
            config.step,
        )?);
        let commands = log.producer(&ProducerId("engine".into()))?;
        let engine = Engine {
            inner: Arc::new(EngineInner {
                log,
                clock: config.clock,
                runtime,
                typed,
                catalog: RwLock::new(Arc::new(catalog)),
                commands: Mutex::new(commands),
                settings: config.settings,
                step: config.step,
                next_session: Default::default(),
                next_query: Default::default(),
                closed: AtomicBool::new(false),
            }),
        };
        if !engine.default_settings().strict() {
            engine.create_system_streams()?;
        }
        let catalog = engine.catalog();
        for query in catalog.queries_in_order() {
            if let Err(error) = engine.inner.runtime.start(query.clone(), &catalog) {
                return Err(error.prefixed(&format!("query {} cannot be started again: ", query.id)));
            }
        }
        Ok(engine)
    }

    pub fn session(&self, access: Access) -> Session {
        let number = self.inner.next_session.fetch_add(1, Ordering::Relaxed);
        Session::new(self.clone(), self.default_settings(), access, number)
    }

    pub fn default_settings(&self) -> Settings {
        Settings::from_overrides(self.inner.settings.clone())
    }

    /// An id for a bounded query, never given twice by this engine.
    pub(crate) fn next_query_id(&self, what: &str) -> String {
        format!("{what}_{}", self.inner.next_query.fetch_add(1, Ordering::Relaxed))
    }

    /// The catalog as it is now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.inner.catalog.read().clone()
    }

    /// Topics, internal ones included.
    pub fn topics(&self) -> Vec<Topic> {
        self.inner.log.topics()
    }

    pub fn runtime(&self) -> &Runtime {
        &self.inner.runtime
    }

    pub fn log(&self) -> &Arc<dyn Log> {
        &self.inner.log
    }

    pub fn is_step(&self) -> bool {
        self.inner.step
    }

    /// Plans a change against the catalog and makes it: logged as one durable group, then visible, then its queries
    /// start. Nothing else changes the catalog meanwhile.
    pub(crate) fn change(&self, plan: impl FnOnce(&Catalog) -> Result<Option<Change>>) -> Result<Option<Change>> {
        let mut commands = self.inner.commands.lock();
        let before = self.catalog();
        let Some(mut change) = plan(&before)? else { return Ok(None) };
        let after = {
            let mut after = (*before).clone();
            after.apply(&change);
            Arc::new(after)
        };
        for (_, query) in &change.queries {
            if let Some(query) = query {
                self.inner.runtime.check(&query.plan, &query.settings)?;
            }
        }
        let mut controls: Vec<Control> = Vec::new();
        let topics = std::mem::take(&mut change.create_topics);
        let mut between_stages = Vec::new();
        let mut dropped = std::mem::take(&mut change.drop_topics);
        for (id, query) in &change.queries {
            if let Some(old) = before.queries.get(id.as_str()) {
                let same_plan = query.as_ref().is_some_and(|q| q.plan == old.plan && q.epoch == old.epoch);
                if !same_plan {
                    dropped.extend(self.internal_topics_of(old)?);
                }
                if query.is_none() {
                    controls.push(Control::ForgetQuery { query: id.clone() });
                }
            }
            if let Some(query) = query {
                between_stages.extend(self.internal_topic_plans(query, &topics)?);
            }
        }
        let kinds = topics.iter().map(|t| (t, false)).chain(between_stages.iter().map(|t| (t, true)));
        for (topic, delete_consumed) in kinds {
            if self.inner.log.topic(&topic.name).is_none() {
                controls.push(Control::CreateTopic(Topic {
                    id: self.inner.log.next_topic_id(),
                    name: topic.name.clone(),
                    partitions: topic.partitions,
                    internal: topic.name.starts_with('_') || is_system(&topic.name),
                    retention_ms: topic.retention_ms,
                    retention_bytes: None,
                    delete_consumed,
                }));
            }
        }
        for name in &dropped {
            if let Some(topic) = self.inner.log.topic(name) {
                controls.push(Control::DropTopic(topic.id));
            }
        }
        for (_, source) in &change.sources {
            if let Some(source) = source {
                let typed = TypedSchema::of_source(source);
                let (codec, new) = self.inner.typed.add(&typed)?;
                if new {
                    let value = serde_json::to_string(&typed).map_err(|e| Error::internal(e.to_string()))?;
                    controls.push(Control::Catalog {
                        key: TypedSchema::catalog_key(codec.fingerprint),
                        value: Some(value),
                    });
                }
            }
        }
        // A query starts where its topics end now, if it starts at the latest; they may be created in this very group.
        controls.extend(Catalog::controls(&change)?);
        let mut replaced = Vec::new();
        for (id, query) in &change.queries {
            let same = match (before.queries.get(id.as_str()), query) {
                (Some(old), Some(new)) => old.plan == new.plan && old.epoch == new.epoch,
                _ => false,
            };
            if before.queries.contains_key(id.as_str()) && !same {
                let old = self.inner.runtime.running(id);
                if let Some(old) = old.as_ref().filter(|_| change.replaces) {
                    self.inner.runtime.drain(old)?;
                }
                self.inner.runtime.stop(id);
                replaced.extend(old);
            }
        }
        let mut transaction = commands.begin()?;
        for control in controls {
            transaction.control(control);
        }
        transaction.commit(ReadLevel::Durable, None)?.wait()?;
        *self.inner.catalog.write() = after.clone();
        for (id, query) in &change.queries {
            let Some(query) = query else { continue };
            match before.queries.get(id.as_str()) {
                Some(old) if old.plan == query.plan && old.epoch == query.epoch => {
                    if query.paused {
                        self.inner.runtime.pause(id)?;
                    } else {
                        self.inner.runtime.resume(query, &after)?;
                    }
                }
                _ => {
                    self.inner.runtime.start(query.clone(), &after)?;
                    if change.replaces
                        && let Some(old) = replaced.iter().find(|o| o.shared.id == *id)
                    {
                        self.inner.runtime.adopt(old)?;
                    }
                }
            }
        }
        Ok(Some(change))
    }

    fn internal_topics_of(&self, query: &PersistentQuery) -> Result<Vec<String>> {
        let partitions = |topic: &str| self.inner.log.topic(topic).map(|t| t.partitions);
        let topics = Runtime::internal_topics(&query.plan, &query.id, query.epoch, &partitions)?;
        Ok(topics.into_iter().map(|(name, _)| name).collect())
    }

    /// Topics between a query's stages. Its sources' topics may be among those created in the same change.
    fn internal_topic_plans(&self, query: &PersistentQuery, new: &[TopicPlan]) -> Result<Vec<TopicPlan>> {
        let partitions = |topic: &str| {
            let existing = self.inner.log.topic(topic).map(|t| t.partitions);
            existing.or_else(|| new.iter().find(|t| t.name == topic).map(|t| t.partitions))
        };
        Ok(Runtime::internal_topics(&query.plan, &query.id, query.epoch, &partitions)?
            .into_iter()
            .map(|(name, partitions)| TopicPlan { name, partitions, retention_ms: None })
            .collect())
    }

    fn create_system_streams(&self) -> Result<()> {
        let source = rejects::system_source(PROCESSING_LOG, rejects::processing_log_schema());
        self.change(|catalog| {
            if catalog.source(PROCESSING_LOG).is_some() {
                return Ok(None);
            }
            let mut change = Change::default();
            change.create_topics.push(TopicPlan { name: source.topic.clone(), partitions: 1, retention_ms: None });
            change.sources.push((source.name.clone(), Some(Arc::new(source))));
            Ok(Some(change))
        })?;
        Ok(())
    }

    /// A bare topic; no error if it exists with the same number of partitions.
    pub fn create_topic(&self, name: &str, partitions: u32) -> Result<()> {
        if let Some(topic) = self.inner.log.topic(name) {
            if topic.partitions == partitions {
                return Ok(());
            }
            return Err(Error::statement(format!("topic {name} exists with {} partitions", topic.partitions)));
        }
        self.change(|_| {
            let mut change = Change::default();
            change.create_topics.push(TopicPlan { name: name.to_string(), partitions, retention_ms: None });
            Ok(Some(change))
        })?;
        Ok(())
    }

    /// Appends records as bytes, as a client of a log would. Returns the offset of the first; durable on return.
    pub fn produce(&self, topic: &str, partition: u32, records: EncodedRecords) -> Result<Offset> {
        let found =
            self.inner.log.topic(topic).ok_or_else(|| Error::not_found(format!("topic {topic} does not exist")))?;
        let mut producer = self.inner.commands.lock();
        let mut transaction = producer.begin()?;
        append(transaction.as_mut(), &found, partition, LogBody::Encoded(records))?;
        let receipt = transaction.commit(ReadLevel::Durable, None)?.wait()?;
        Ok(receipt.offsets.first().map_or(0, |(_, offset)| *offset))
    }

    /// All records kept of a topic, as bytes, per partition in offset order.
    pub fn read_topic(&self, topic: &str) -> Result<Vec<(u32, EncodedRecords)>> {
        let found =
            self.inner.log.topic(topic).ok_or_else(|| Error::not_found(format!("topic {topic} does not exist")))?;
        let mut all = Vec::new();
        for partition in 0..found.partitions {
            let at = found.partition(partition);
            let range = self.inner.log.range(&at, ReadLevel::Durable)?;
            let mut reader = self.inner.log.reader(&at, range.start, ReadLevel::Durable)?;
            while reader.next_offset() < range.end {
                let rows_max = (range.end - reader.next_offset()) as usize;
                let Some(batch) = reader.take(ReadLimit { rows_max: rows_max.min(4096) })? else { break };
                all.push((partition, self.inner.typed.encoded(&batch.body)?));
            }
        }
        Ok(all)
    }

    /// Persistent queries in creation order, each with the topics it reads.
    pub fn queries(&self) -> Vec<(Arc<PersistentQuery>, Vec<String>)> {
        self.inner.runtime.started()
    }

    /// Step mode: releases up to `records` next records of one source topic partition to one query and runs its stages
    /// until they are idle. Returns how many there were.
    pub fn step(&self, query: &str, topic: &str, partition: u32, records: usize) -> Result<usize> {
        self.inner.runtime.step(query, topic, partition, records)
    }

    /// Step mode: releases everything to every query, depth first (a written record runs through the queries that read
    /// it before the next is released), until nothing is left.
    pub fn step_all(&self) -> Result<()> {
        loop {
            let mut any = false;
            for topic in self.topics().iter().filter(|t| !t.internal) {
                any |= self.step_topic(topic)?;
            }
            if !any {
                return Ok(());
            }
        }
    }

    fn step_topic(&self, topic: &Topic) -> Result<bool> {
        let mut any = false;
        let queries = self.queries();
        for partition in 0..topic.partitions {
            loop {
                let mut released = false;
                for (query, topics) in queries.iter().filter(|(_, topics)| topics.contains(&topic.name)) {
                    if self.step(&query.id, &topic.name, partition, 1)? > 0 {
                        released = true;
                        let sink = query.plan.sink.as_ref().and_then(|s| self.inner.log.topic(&s.topic));
                        if let Some(sink) = sink.filter(|s| !topics.contains(&s.name)) {
                            self.step_topic(&sink)?;
                        }
                    }
                }
                any |= released;
                if !released {
                    break;
                }
            }
        }
        Ok(any)
    }

    /// Ids of the queries that feed a source, transitively, upstream first.
    pub(crate) fn feeding_queries(&self, source: &str) -> Vec<String> {
        let catalog = self.catalog();
        let mut needed = std::collections::BTreeSet::new();
        let mut sources = vec![source.to_string()];
        let mut seen = std::collections::BTreeSet::new();
        while let Some(name) = sources.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            for query in catalog.queries.values() {
                let maintains =
                    query.sink.as_deref() == Some(&name) || (query.sink.is_none() && query.sources.contains(&name));
                if maintains && needed.insert(query.id.clone()) {
                    sources.extend(query.sources.iter().cloned());
                }
            }
        }
        catalog.queries_in_order().into_iter().filter(|q| needed.contains(&q.id)).map(|q| q.id.clone()).collect()
    }

    /// The id of the query that keeps a table's rows, if one does.
    pub(crate) fn table_query(&self, source: &Source) -> Option<String> {
        let catalog = self.catalog();
        if let Some(id) = &source.created_by
            && catalog.queries.contains_key(id.as_str())
        {
            return Some(id.clone());
        }
        catalog
            .queries
            .values()
            .find(|q| q.sink.is_none() && q.sources.first() == Some(&source.name))
            .map(|q| q.id.clone())
    }

    /// Stops queries where they are, flushes, releases the directory. Safe to call twice.
    pub fn close(&self) -> Result<()> {
        if self.inner.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.inner.runtime.close();
        self.inner.log.close()
    }
}

//! The order of groups, and what the log holds in memory: shared by the memory log and the embedded log.
//!
//! ```text
//! commit ─► room in the queue? ─ no ─► waiting (first come, first served)
//!              │ yes                        │ room again
//!              ▼                            ▼
//!           sequence: check all, give position and offsets, apply, publish ─► readers at Sequenced
//!              │
//!              ▼ queue ─► writer (write, fsync) ─► made_durable ─► readers at Durable, tickets
//! ```
//!
//! One lock guards the order; readers of a partition take only that partition's lock. Nobody is woken under a lock.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;

use arrow::array::RecordBatch;
use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::control::{ControlState, Trial, topic_gone};
use super::group::{Draft, Group, GroupAppend};
use super::partition::Partition;
use super::redo::{ChangeAt, HeldChanges, JournaledChanges, key_columns};
use super::ticket::{PendingCommit, Slot};
use super::transaction::{LogProducer, RedoSource};
use super::wire::batches::is_storable;
use super::{
    Commit, Control, Log, LogBody, LogPosition, Offset, PartitionReader, Producer, ProducerId, ReadLevel, Receipt,
    StoreId, Topic, TopicId, TopicPartition,
};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::state::StateChanges;

pub(crate) struct Core {
    clock: Arc<dyn Clock>,
    /// None: durable = sequenced, nothing is queued.
    bounds: Option<Bounds>,
    sequenced: AtomicU64,
    durable: AtomicU64,
    failed: AtomicBool,
    next_topic_id: AtomicU64,
    state: Mutex<State>,
    /// The writer has work, or must stop.
    pub work: Condvar,
    /// The durable position moved, a waiting commit was sequenced, or the log failed.
    progress: Condvar,
    /// Without threads: what does their work when somebody waits.
    driver: OnceLock<Weak<dyn Drive>>,
}

/// Beyond these, commits wait for their place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub queue_bytes_max: usize,
    pub unsealed_bytes_max: usize,
}

/// Does the writer's work on the calling thread.
pub(crate) trait Drive: Send + Sync {
    fn drive(&self) -> Result<()>;
}

#[derive(Default)]
pub(crate) struct State {
    pub control: ControlState,
    pub partitions: HashMap<TopicPartition, Arc<Partition>>,
    /// State changes of the memory log, and where those of the embedded log are.
    pub redo: HashMap<StoreId, HeldChanges>,
    pub journaled: HashMap<StoreId, JournaledChanges>,
    /// Dropped topics whose files are still there, with the position of the drop.
    pub dropped: Vec<(LogPosition, Topic)>,
    /// Until a checkpoint holds the first position, groups from the second on are needed: a drop or a forgetting that
    /// is lost in a crash brings back what it removed.
    pub pins: Vec<(LogPosition, LogPosition)>,
    /// Estimate of the memory held by tails.
    pub unsealed_bytes: usize,
    producers: HashMap<ProducerId, u64>,
    last_generation: u64,
    /// Sequenced, not yet taken by the writer.
    pub queue: VecDeque<Arc<Group>>,
    /// Bytes of groups that are sequenced but not written.
    pub queue_bytes: usize,
    /// Not yet sequenced, because the queue is full or the disk is.
    waiting: VecDeque<(Draft, Arc<Slot>)>,
    /// The disk is full: nothing new is sequenced.
    pub paused: bool,
    durable_wakers: BTreeMap<LogPosition, Vec<Waker>>,
    failure: Option<Error>,
    pub closed: bool,
}

/// A log that is a core and something behind it.
pub(crate) trait CoreLog: Send + Sync {
    fn core(&self) -> &Arc<Core>;
    /// Where state changes are read back from.
    fn redo_source(&self) -> Arc<dyn RedoSource>;
    fn held_bytes(&self) -> u64;
    fn end(&self) -> Result<()>;
}

impl<L: CoreLog> Log for L {
    fn topic(&self, name: &str) -> Option<Topic> {
        self.core().lock().control.topic(name).cloned()
    }

    fn topics(&self) -> Vec<Topic> {
        self.core().lock().control.topics.values().cloned().collect()
    }

    fn next_topic_id(&self) -> TopicId {
        TopicId(self.core().next_topic_id())
    }

    fn range(&self, at: &TopicPartition, level: ReadLevel) -> Result<Range<Offset>> {
        self.core().range(at, level)
    }

    fn offset_at_time(&self, at: &TopicPartition, time_ms: i64, level: ReadLevel) -> Result<Offset> {
        self.core().offset_at_time(at, time_ms, level)
    }

    fn reader(&self, at: &TopicPartition, from: Offset, level: ReadLevel) -> Result<Box<dyn PartitionReader>> {
        self.core().reader(at, from, level)
    }

    fn producer(&self, id: &ProducerId) -> Result<Box<dyn Producer>> {
        LogProducer::take(self.core(), self.redo_source(), id)
    }

    fn position(&self, level: ReadLevel) -> LogPosition {
        self.core().position(level)
    }

    fn wake_when_durable(&self, position: LogPosition, waker: Waker) {
        self.core().wake_when_durable(position, waker);
    }

    fn wait_durable(&self, position: LogPosition) -> Result<()> {
        self.core().wait_durable(position)
    }

    fn catalog(&self) -> BTreeMap<String, String> {
        self.core().lock().control.catalog.clone()
    }

    fn counters(&self) -> BTreeMap<String, String> {
        self.core().lock().control.counters.clone()
    }

    fn stored_bytes(&self) -> u64 {
        self.held_bytes()
    }

    fn close(&self) -> Result<()> {
        self.end()
    }
}

impl State {
    pub fn check_open(&self) -> Result<()> {
        match &self.failure {
            Some(failure) => Err(failure.clone()),
            None if self.closed => Err(Error::unavailable("the log is closed")),
            None => Ok(()),
        }
    }

    fn check_holder(&self, producer: &ProducerId, generation: u64) -> Result<()> {
        match self.producers.get(producer) {
            Some(current) if *current == generation => Ok(()),
            _ => Err(Error::unavailable(format!("producer '{}' was replaced by a newer one", producer.0))),
        }
    }

    pub fn partition(&self, at: &TopicPartition) -> Result<&Arc<Partition>> {
        self.partitions.get(at).ok_or_else(|| match self.control.topics.get(&at.topic) {
            Some(topic) => Error::not_found(format!("topic '{}' has no partition {}", topic.name, at.partition)),
            None => topic_gone(at.topic),
        })
    }
}

impl Core {
    /// Without bounds it is a log without a writer: what is sequenced is durable.
    pub fn new(clock: Arc<dyn Clock>, bounds: Option<Bounds>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            bounds,
            sequenced: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            next_topic_id: AtomicU64::new(1),
            state: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
            driver: OnceLock::new(),
        })
    }

    pub fn driven_by(&self, driver: Weak<dyn Drive>) {
        self.driver.set(driver).unwrap_or_else(|_| panic!("a log has one driver"));
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub fn position(&self, level: ReadLevel) -> LogPosition {
        LogPosition(match level {
            ReadLevel::Sequenced => self.sequenced.load(Ordering::Acquire),
            ReadLevel::Durable => self.durable.load(Ordering::Acquire),
        })
    }

    /// How far a reader may see; fails once the log has.
    pub fn visible(&self, level: ReadLevel) -> Result<LogPosition> {
        if self.failed.load(Ordering::Acquire) {
            self.state.lock().check_open()?;
        }
        Ok(self.position(level))
    }

    pub fn next_topic_id(&self) -> u64 {
        self.next_topic_id.fetch_add(1, Ordering::Relaxed)
    }

    pub fn reader(
        self: &Arc<Self>,
        at: &TopicPartition,
        from: Offset,
        level: ReadLevel,
    ) -> Result<Box<dyn PartitionReader>> {
        let partition = self.state.lock().partition(at)?.clone();
        Ok(Box::new(super::partition::Reader::new(self.clone(), partition, level, from)))
    }

    pub fn range(&self, at: &TopicPartition, level: ReadLevel) -> Result<Range<Offset>> {
        let visible = self.visible(level)?;
        let partition = self.state.lock().partition(at)?.clone();
        let range = partition.inner.lock().range(visible);
        Ok(range)
    }

    pub fn offset_at_time(&self, at: &TopicPartition, time_ms: i64, level: ReadLevel) -> Result<Offset> {
        let visible = self.visible(level)?;
        let partition = self.state.lock().partition(at)?.clone();
        partition.offset_at_time(time_ms, visible)
    }

    /// Takes over a producer id; the generation is the holder's proof.
    pub fn take_producer(&self, id: &ProducerId) -> Result<u64> {
        let mut state = self.state.lock();
        state.check_open()?;
        state.last_generation += 1;
        let generation = state.last_generation;
        state.producers.insert(id.clone(), generation);
        Ok(generation)
    }

    /// The holder is gone: a later one will take the id anew.
    pub fn release_producer(&self, id: &ProducerId, generation: u64) {
        let mut state = self.state.lock();
        let in_flight = state.waiting.iter().any(|(draft, _)| draft.generation == generation);
        if !in_flight && state.producers.get(id) == Some(&generation) {
            state.producers.remove(id);
        }
    }

    pub fn check_holder(&self, id: &ProducerId, generation: u64) -> Result<()> {
        let state = self.state.lock();
        state.check_open()?;
        state.check_holder(id, generation)
    }

    pub fn commit(self: &Arc<Self>, draft: Draft, until: ReadLevel, waker: Option<&Waker>) -> Result<Commit> {
        let mut wake = Vec::new();
        let commit = self.commit_locked(&mut self.state.lock(), draft, until, waker, &mut wake);
        wake.into_iter().for_each(Waker::wake);
        commit
    }

    fn commit_locked(
        self: &Arc<Self>,
        state: &mut State,
        draft: Draft,
        until: ReadLevel,
        waker: Option<&Waker>,
        wake: &mut Vec<Waker>,
    ) -> Result<Commit> {
        state.check_open()?;
        state.check_holder(&draft.producer, draft.generation)?;
        if !state.waiting.is_empty() || !self.has_room(state) {
            let slot = Slot::waiting(until, waker.cloned());
            state.waiting.push_back((draft, slot.clone()));
            return Ok(Commit::Pending(Box::new(PendingCommit::new(self.clone(), slot, until))));
        }
        let receipt = self.sequence(state, draft, wake)?;
        if until == ReadLevel::Sequenced || self.position(ReadLevel::Durable) >= receipt.position {
            return Ok(Commit::Done(receipt));
        }
        if let Some(waker) = waker {
            state.durable_wakers.entry(receipt.position).or_default().push(waker.clone());
        }
        Ok(Commit::Pending(Box::new(PendingCommit::new(self.clone(), Slot::sequenced(receipt), until))))
    }

    fn has_room(&self, state: &State) -> bool {
        let fits = |b: Bounds| state.queue_bytes < b.queue_bytes_max && state.unsealed_bytes < b.unsealed_bytes_max;
        !state.paused && self.bounds.is_none_or(fits)
    }

    /// Gives a draft its place, or refuses it with nothing changed.
    fn sequence(&self, state: &mut State, draft: Draft, wake: &mut Vec<Waker>) -> Result<Receipt> {
        state.check_holder(&draft.producer, draft.generation)?;
        if draft.is_empty() {
            return Ok(Receipt { position: self.position(ReadLevel::Sequenced), offsets: Vec::new() });
        }
        check(state, &draft)?;
        let position = LogPosition(self.sequenced.load(Ordering::Relaxed) + 1);
        let append_time_ms = self.clock.now_ms();
        let mut group = Group {
            position,
            append_time_ms,
            producer: draft.producer,
            controls: draft.controls,
            appends: Vec::with_capacity(draft.appends.len()),
            state: draft.state,
            consumed: draft.consumed,
            bytes: draft.bytes,
        };
        self.apply_control(state, &group, wake);
        for (to, body, bytes) in draft.appends {
            let mut partition = state.partition(&to)?.inner.lock();
            let base_offset = partition.next;
            partition.push(position, append_time_ms, body.clone(), bytes);
            if self.bounds.is_none()
                && let Some(topic) = state.control.topics.get(&to.topic)
            {
                partition.expire_tail(topic, append_time_ms);
            }
            group.appends.push(GroupAppend { to, base_offset, body, bytes });
        }
        let receipt = Receipt { position, offsets: group.appends.iter().map(|a| (a.to, a.base_offset)).collect() };
        let journaled = self.bounds.is_some();
        if !journaled {
            for (store, changes) in std::mem::take(&mut group.state) {
                state.redo.entry(store).or_default().push(position, changes);
            }
        }
        self.sequenced.store(position.0, Ordering::Release);
        if !journaled {
            self.durable.store(position.0, Ordering::Release);
        }
        for append in &group.appends {
            if let Some(partition) = state.partitions.get(&append.to) {
                partition.take_wakers(ReadLevel::Sequenced, wake);
                if !journaled {
                    partition.take_wakers(ReadLevel::Durable, wake);
                }
            }
        }
        if journaled {
            state.queue_bytes += group.bytes;
            state.unsealed_bytes += group.appends.iter().map(|a| a.bytes).sum::<usize>();
            let group = Arc::new(group);
            for (store, _) in &group.state {
                let changes = state.journaled.entry(store.clone()).or_default();
                changes.push(position, ChangeAt::Queued(group.clone()));
            }
            state.queue.push_back(group);
            self.work.notify_one();
        }
        Ok(receipt)
    }

    /// Applies what a group says beside its records.
    pub fn apply_control(&self, state: &mut State, group: &Group, wake: &mut Vec<Waker>) {
        for change in &group.controls {
            if let Control::DropTopic(id) = change
                && let Some(topic) = state.control.topics.get(id)
                && self.bounds.is_some()
            {
                state.dropped.push((group.position, topic.clone()));
            }
            state.control.apply(change, group.position);
            match change {
                Control::CreateTopic(topic) => {
                    self.next_topic_id.fetch_max(state.control.next_topic_id, Ordering::Relaxed);
                    for partition in 0..topic.partitions {
                        let at = topic.partition(partition);
                        state.partitions.insert(at, Partition::new(at));
                    }
                }
                Control::DropTopic(id) => {
                    let mut oldest = group.position;
                    let gone: Vec<_> =
                        state.partitions.extract_if(|at, _| at.topic == *id).map(|(_, partition)| partition).collect();
                    for partition in gone {
                        let mut inner = partition.inner.lock();
                        inner.gone = true;
                        oldest = inner.tail.front().map_or(oldest, |b| b.position.min(oldest));
                        state.unsealed_bytes = state.unsealed_bytes.saturating_sub(inner.tail_bytes);
                        drop(inner);
                        partition.take_wakers(ReadLevel::Sequenced, wake);
                        partition.take_wakers(ReadLevel::Durable, wake);
                    }
                    if self.bounds.is_some() {
                        state.pins.push((group.position, oldest));
                    }
                }
                Control::ForgetQuery { query } => {
                    state.redo.retain(|store, _| store.query != *query);
                    let oldest = state
                        .journaled
                        .extract_if(|store, _| store.query == *query)
                        .filter_map(|(_, changes)| changes.oldest())
                        .min();
                    state.pins.extend(oldest.map(|oldest| (group.position, oldest)));
                }
                Control::Catalog { .. } | Control::Counters { .. } => {}
            }
        }
        for (input, next) in &group.consumed {
            state.control.consume(&group.producer, *input, *next);
            // The embedded log lets go of it once this group is on disk.
            if self.bounds.is_none()
                && state.control.topics.get(&input.topic).is_some_and(|topic| topic.delete_consumed)
                && let Some(partition) = state.partitions.get(input)
            {
                partition.inner.lock().trim_tail(*next);
            }
        }
    }

    /// Everything up to `position` survives a crash; `groups` are those that became so.
    pub fn made_durable(&self, position: LogPosition, groups: &[Arc<Group>]) {
        let mut wake = Vec::new();
        let mut state = self.state.lock();
        self.durable.store(position.0, Ordering::Release);
        let later = state.durable_wakers.split_off(&LogPosition(position.0 + 1));
        wake.extend(std::mem::replace(&mut state.durable_wakers, later).into_values().flatten());
        for append in groups.iter().flat_map(|g| &g.appends) {
            if let Some(partition) = state.partitions.get(&append.to) {
                partition.take_wakers(ReadLevel::Durable, &mut wake);
            }
        }
        self.progress.notify_all();
        drop(state);
        wake.into_iter().for_each(Waker::wake);
    }

    /// The writer has written `bytes` of the queue, or the disk has room again: sequences who waits.
    pub fn made_room(&self, bytes: usize) {
        let mut wake = Vec::new();
        let mut state = self.state.lock();
        state.queue_bytes = state.queue_bytes.saturating_sub(bytes);
        while self.has_room(&state) {
            let Some((draft, slot)) = state.waiting.pop_front() else { break };
            let sequenced = self.sequence(&mut state, draft, &mut wake);
            if let Some((waker, until)) = slot.resolve(sequenced.clone()) {
                match sequenced {
                    Ok(receipt) if until == ReadLevel::Durable && self.position(until) < receipt.position => {
                        state.durable_wakers.entry(receipt.position).or_default().push(waker);
                    }
                    _ => wake.push(waker),
                }
            }
        }
        self.progress.notify_all();
        drop(state);
        wake.into_iter().for_each(Waker::wake);
    }

    /// From now on every call fails with `failure`; the first failure stays.
    pub fn fail(&self, failure: Error) {
        self.end(|state| {
            if state.failure.is_none() {
                tracing::error!(%failure, "the log has failed");
                state.failure = Some(failure);
            }
        });
    }

    /// From now on every call fails as unavailable.
    pub fn close(&self) {
        self.end(|state| state.closed = true);
    }

    fn end(&self, how: impl FnOnce(&mut State)) {
        let mut wake = Vec::new();
        let mut state = self.state.lock();
        how(&mut state);
        self.failed.store(true, Ordering::Release);
        if let Err(error) = state.check_open() {
            for (_, slot) in std::mem::take(&mut state.waiting) {
                wake.extend(slot.resolve(Err(error.clone())).map(|(waker, _)| waker));
            }
        }
        wake.extend(std::mem::take(&mut state.durable_wakers).into_values().flatten());
        for partition in state.partitions.values() {
            partition.take_wakers(ReadLevel::Sequenced, &mut wake);
            partition.take_wakers(ReadLevel::Durable, &mut wake);
        }
        self.work.notify_all();
        self.progress.notify_all();
        drop(state);
        wake.into_iter().for_each(Waker::wake);
    }

    pub fn wake_when_durable(&self, position: LogPosition, waker: Waker) {
        let mut state = self.state.lock();
        if self.position(ReadLevel::Durable) >= position || state.check_open().is_err() {
            drop(state);
            waker.wake();
        } else {
            state.durable_wakers.entry(position).or_default().push(waker);
        }
    }

    /// Blocks until `done` says so, or the log has failed.
    pub fn wait_for<T>(&self, mut done: impl FnMut() -> Option<T>) -> Result<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(result) = done() {
                return Ok(result);
            }
            state.check_open()?;
            match self.driver.get().map(Weak::upgrade) {
                None => self.progress.wait(&mut state),
                Some(driver) => {
                    drop(state);
                    driver.ok_or_else(|| Error::unavailable("the log is closed"))?.drive()?;
                    state = self.state.lock();
                }
            }
        }
    }

    pub fn wait_durable(&self, position: LogPosition) -> Result<()> {
        self.wait_for(|| (self.position(ReadLevel::Durable) >= position).then_some(()))
    }

    /// The disk is full, or has room again: whether commits are held back. Returns whether this is news.
    pub fn pause(&self, paused: bool) -> bool {
        let news = std::mem::replace(&mut self.state.lock().paused, paused) != paused;
        if news && !paused {
            self.made_room(0);
        }
        news
    }

    pub fn held_redo(&self, store: &StoreId, after: LogPosition) -> Vec<(LogPosition, StateChanges)> {
        self.state.lock().redo.get(store).map_or_else(Vec::new, |held| held.after(after))
    }

    /// Puts the positions where recovery found them.
    pub fn recovered(&self, position: LogPosition, next_topic_id: u64) {
        self.sequenced.store(position.0, Ordering::Release);
        self.durable.store(position.0, Ordering::Release);
        self.next_topic_id.fetch_max(next_topic_id.max(1), Ordering::Relaxed);
    }
}

/// Whether all of `draft` can be applied: its controls first, then its appends to what exists after them.
fn check(state: &State, draft: &Draft) -> Result<()> {
    let mut topics = Trial::new(&state.control);
    for change in &draft.controls {
        topics.change(change)?;
    }
    for table in draft.state.iter().flat_map(|(_, changes)| &changes.tables) {
        key_columns(&table.rows)?;
        check_columns(&table.rows)?;
    }
    for (to, body, _) in &draft.appends {
        if let LogBody::Typed { rows, .. } = body {
            check_columns(&rows.columns)?;
        }
        let topic = topics.topic(to.topic).ok_or_else(|| topic_gone(to.topic))?;
        if to.partition >= topic.partitions {
            return Err(Error::not_found(format!("topic '{}' has no partition {}", topic.name, to.partition)));
        }
    }
    Ok(())
}

fn check_columns(batch: &RecordBatch) -> Result<()> {
    match batch.schema_ref().fields().iter().find(|f| !is_storable(f.data_type())) {
        Some(field) => Err(Error::internal(format!("columns of type {} cannot be stored", field.data_type()))),
        None => Ok(()),
    }
}

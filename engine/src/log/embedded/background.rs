//! The work behind the log's back: sealing tails into segments, snapshots of state, checkpoints, trimming, retention.
//!
//! One pass observes, decides (`retention`), then acts in an order in which a crash at any point loses nothing:
//!
//! ```text
//! sync ─► let go of what is consumed ─► seal, snapshot (of what is synced) ─► checkpoint (of what is synced) ─► remove what all three have made needless
//! ```
//!
//! Each act is published whole or not at all, so a pass that fails is simply made again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use parking_lot::{Condvar, Mutex, RwLock};

use super::control::Checkpoint;
use super::disk::{Bytes, Disk};
use super::group::state_in_frame;
use super::retention::{Limits, TailFacts, pressed_until, to_forget, to_seal, to_snapshot};
use super::segment::Segment;
use super::wal::{WalFiles, file_name};
use super::writer::Writer;
use super::{Paths, Planted};
use crate::error::{Error, Result};
use crate::log::core::Core;
use crate::log::partition::{Partition, TailBatch, joinable};
use crate::log::redo::{ChangeAt, Deletions, merge};
use crate::log::transaction::RedoSource;
use crate::log::wire::batches::SchemaTable;
use crate::log::{LogPosition, Offset, ReadLevel, StoreId, Topic, TopicPartition};
use crate::state::StateChanges;
use crate::state::snapshot::{Snapshot, SnapshotKind, Snapshots};

/// How often time-based retention is looked at, and how soon a failed pass is made again.
const RETENTION_CHECK: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Background {
    pub core: Arc<Core>,
    pub disk: Arc<dyn Disk>,
    pub paths: Paths,
    pub limits: Limits,
    pub writer: Arc<Writer>,
    pub files: WalFiles,
    pub snapshots: Snapshots,
    pub epoch: u64,
    pub planted: Planted,
    /// Held while files that a `redo` may read are removed.
    pub reading: RwLock<()>,
    pub pass: Mutex<Pass>,
    pub alarm: Arc<Alarm>,
}

/// Files of the write-ahead log that one call reads.
type OpenFiles = HashMap<u64, OpenFile>;

struct OpenFile {
    schemas: SchemaTable,
    /// The bytes of a file that does not change any more.
    closed: Option<Bytes>,
}

/// What one pass leaves to the next.
pub(super) struct Pass {
    /// Position of the last checkpoint.
    pub checkpoint: LogPosition,
    /// Segments that retention has forgotten and somebody may still read.
    pub doomed: Vec<Arc<Segment>>,
}

/// Wakes the background thread.
#[derive(Default)]
pub(super) struct Alarm {
    state: Mutex<AlarmState>,
    rings: Condvar,
}

#[derive(Default)]
struct AlarmState {
    rung: bool,
    stop: bool,
    written_bytes: u64,
}

impl Alarm {
    /// Counts written bytes; rings when there are enough.
    pub fn written(&self, bytes: u64, enough: u64) {
        let mut state = self.state.lock();
        state.written_bytes += bytes;
        if state.written_bytes >= enough {
            state.written_bytes = 0;
            state.rung = true;
            self.rings.notify_one();
        }
    }

    pub fn ring(&self) {
        self.state.lock().rung = true;
        self.rings.notify_one();
    }

    pub fn stop(&self) {
        self.state.lock().stop = true;
        self.rings.notify_one();
    }

    /// Waits for a ring, at most `at_most`; false = stop.
    fn wait(&self, at_most: Option<Duration>) -> bool {
        let mut state = self.state.lock();
        if !state.rung && !state.stop {
            match at_most {
                Some(timeout) => {
                    self.rings.wait_for(&mut state, timeout);
                }
                None => self.rings.wait(&mut state),
            }
        }
        state.rung = false;
        !state.stop
    }
}

impl Background {
    /// The body of the background thread.
    pub fn run(&self) {
        let mut retry = false;
        loop {
            let by_time = self.core.lock().control.topics.values().any(|t| t.retention_ms.is_some());
            let at_most = if retry { Some(RETRY) } else { by_time.then_some(RETENTION_CHECK) };
            if !self.alarm.wait(at_most) {
                return;
            }
            retry = match self.work() {
                Ok(()) => false,
                Err(error) => {
                    if self.core.lock().check_open().is_err() {
                        return;
                    }
                    tracing::warn!(%error, cause = error.cause(), "the log could not be tidied; trying again");
                    true
                }
            };
        }
    }

    /// One pass.
    pub fn work(&self) -> Result<()> {
        let mut pass = self.pass.lock();
        let consumed = self.core.lock().control.consumed_until();
        // The groups that consumed so far are on disk after this, too.
        let synced = self.safe_position()?;
        let trimmed = self.trim_consumed(consumed, &mut pass);
        let pressed = {
            let files = self.files.lock();
            pressed_until(&files.iter().map(|f| (LogPosition(f.last), f.bytes)).collect::<Vec<_>>(), &self.limits)
        };
        self.seal(synced, pressed)?;
        self.snapshot(synced, pressed)?;
        let forgot = self.forget(&mut pass);
        let removed = {
            let state = self.core.lock();
            !state.dropped.is_empty() || !state.pins.is_empty()
        };
        if trimmed || forgot || removed || self.trimmable(synced) > 0 {
            self.checkpoint(&mut pass)?;
            self.remove(&mut pass)?;
        }
        Ok(())
    }

    /// Seals every tail, whatever its size; for tests and for a backup.
    pub fn seal_all(&self) -> Result<()> {
        let _pass = self.pass.lock();
        let synced = self.safe_position()?;
        self.seal(synced, LogPosition(u64::MAX))
    }

    /// Snapshots every store that has changes.
    pub fn snapshot_all(&self) -> Result<()> {
        let _pass = self.pass.lock();
        let synced = self.safe_position()?;
        self.snapshot(synced, LogPosition(u64::MAX))
    }

    pub fn checkpoint_now(&self) -> Result<()> {
        let mut pass = self.pass.lock();
        self.checkpoint(&mut pass)?;
        self.remove(&mut pass)
    }

    /// Up to where physical effects may use groups.
    fn safe_position(&self) -> Result<LogPosition> {
        if self.planted.effect_ahead {
            return Ok(self.core.position(ReadLevel::Sequenced));
        }
        self.writer.sync_now()
    }

    fn partitions(&self) -> Vec<(Topic, Arc<Partition>)> {
        let state = self.core.lock();
        let topic = |p: &Arc<Partition>| state.control.topics.get(&p.at.topic).cloned();
        let mut all: Vec<_> = state.partitions.values().filter_map(|p| Some((topic(p)?, p.clone()))).collect();
        all.sort_by_key(|(_, p)| p.at);
        all
    }

    fn seal(&self, synced: LogPosition, pressed: LogPosition) -> Result<()> {
        let partitions = self.partitions();
        let now_ms = self.core.clock().now_ms();
        let facts = partitions.iter().filter_map(|(topic, p)| tail_facts(topic, p, synced, now_ms)).collect();
        let chosen = to_seal(facts, pressed, &self.limits);
        for (topic, partition) in partitions.iter().filter(|(_, p)| chosen.contains(&p.at)) {
            self.seal_partition(topic, partition, synced)?;
        }
        if !chosen.is_empty() {
            self.core.made_room(0);
        }
        Ok(())
    }

    fn seal_partition(&self, topic: &Topic, partition: &Partition, synced: LogPosition) -> Result<()> {
        let (batches, first) = {
            let inner = partition.inner.lock();
            let batches: Vec<TailBatch> = inner.tail.iter().take_while(|b| b.position <= synced).cloned().collect();
            (batches, inner.sealed.is_empty())
        };
        let directory = self.paths.partition(topic, partition.at.partition);
        if first {
            self.disk.make_directory(&directory)?;
            for parent in directory.ancestors().skip(1).take(2) {
                self.disk.sync_directory(parent)?;
            }
        }
        let mut rest = batches.as_slice();
        while !rest.is_empty() {
            let run = self.one_segment(rest);
            let segment = Segment::write(&self.disk, &directory, &rest[..run])?;
            rest = &rest[run..];
            let freed = {
                let mut inner = partition.inner.lock();
                // Dropped meanwhile: its memory has been counted as free, its directory will be removed.
                if inner.gone { 0 } else { inner.seal(segment) }
            };
            let mut state = self.core.lock();
            state.unsealed_bytes = state.unsealed_bytes.saturating_sub(freed);
        }
        Ok(())
    }

    /// How many of `batches` one segment takes.
    fn one_segment(&self, batches: &[TailBatch]) -> usize {
        let mut bytes = 0;
        let mut rows = 0;
        let fits = |b: &&TailBatch| {
            bytes += b.bytes;
            rows += b.batch.body.len() as i64;
            let first = bytes == b.bytes;
            first
                || (joinable(&batches[0].batch.body, &b.batch.body)
                    && bytes <= self.limits.segment_bytes_max
                    && rows <= self.limits.segment_rows_max)
        };
        batches.iter().take_while(fits).count()
    }

    fn snapshot(&self, synced: LogPosition, pressed: LogPosition) -> Result<()> {
        let mut facts: Vec<(StoreId, u64, LogPosition)> = {
            let state = self.core.lock();
            let fact = |(store, changes): (&StoreId, &crate::log::redo::JournaledChanges)| {
                Some((store.clone(), changes.bytes, changes.oldest()?))
            };
            state.journaled.iter().filter_map(fact).collect()
        };
        facts.sort();
        for store in to_snapshot(facts, pressed, &self.limits) {
            self.snapshot_store(&store, synced)?;
        }
        Ok(())
    }

    fn snapshot_store(&self, store: &StoreId, synced: LogPosition) -> Result<()> {
        let (covered, mut entries) = match self.core.lock().journaled.get(store) {
            Some(changes) => (changes.covered, changes.after(LogPosition(0))),
            None => return Ok(()),
        };
        entries.retain(|(position, _)| *position <= synced);
        let Some(position) = entries.last().map(|(position, _)| *position) else { return Ok(()) };
        let chain = if covered > LogPosition(0) { self.snapshots.chain(store)? } else { Vec::new() };
        let mut files = OpenFiles::default();
        let mut parts = Vec::new();
        for (_, at) in &entries {
            parts.push(self.read_change(store, at, &mut files)?);
        }
        let delta = merge(&parts, Deletions::Keep)?;
        let delta_bytes: usize =
            chain.iter().skip(1).map(|m| m.bytes()).sum::<usize>() + crate::log::group::state_bytes(&delta);
        let outgrown = chain.first().is_none_or(|base| delta_bytes > base.bytes());
        let snapshot = if outgrown {
            let mut whole = chain.iter().map(|m| Ok(self.snapshots.load(m)?.changes)).collect::<Result<Vec<_>>>()?;
            whole.push(delta);
            let changes = merge(&whole, Deletions::Drop)?;
            Snapshot { kind: SnapshotKind::Base, after: LogPosition(0), position, changes }
        } else {
            Snapshot { kind: SnapshotKind::Delta, after: covered, position, changes: delta }
        };
        self.snapshots.publish(store, self.epoch, &snapshot)?;
        if let Some(changes) = self.core.lock().journaled.get_mut(store) {
            changes.cover(position);
        }
        if snapshot.kind == SnapshotKind::Base {
            let _nobody_reads = self.reading.write();
            self.snapshots.remove_before(store, position)?;
        }
        Ok(())
    }

    fn read_change(&self, store: &StoreId, at: &ChangeAt, files: &mut OpenFiles) -> Result<StateChanges> {
        match at {
            ChangeAt::Queued(group) => {
                let of_store = group.state.iter().filter(|(id, _)| id == store);
                Ok(StateChanges { tables: of_store.flat_map(|(_, c)| c.tables.iter().cloned()).collect() })
            }
            ChangeAt::Written(place) => {
                let path = self.paths.wal.join(file_name(place.file));
                let file = match files.entry(place.file) {
                    Entry::Occupied(open) => open.into_mut(),
                    Entry::Vacant(new) => new.insert(self.open_file(place.file, &path)?),
                };
                let state = match &file.closed {
                    Some(bytes) => {
                        let frame = bytes.get(place.offset as usize..place.offset as usize + place.length);
                        state_in_frame(frame.unwrap_or_default(), &file.schemas, store)
                    }
                    None => {
                        let frame = self.disk.read_at(&path, place.offset, place.length)?;
                        state_in_frame(&frame, &file.schemas, store)
                    }
                };
                state.map_err(|e| e.prefixed(&format!("{} at byte {}: ", path.display(), place.offset)))
            }
        }
    }

    fn open_file(&self, first: u64, path: &Path) -> Result<OpenFile> {
        let (schemas, closed) = {
            let files = self.files.lock();
            let gone = || Error::internal(format!("{} is gone", path.display()));
            let number = files.iter().position(|f| f.first == first).ok_or_else(gone)?;
            (files[number].schemas.clone(), number + 1 < files.len())
        };
        // The newest file still grows: its frames are read one by one.
        Ok(OpenFile { schemas, closed: if closed { Some(self.disk.map(path)?) } else { None } })
    }

    /// Takes out what has been consumed of topics that keep nothing else; files go after the next checkpoint. Returns
    /// whether there are any.
    fn trim_consumed(&self, consumed: BTreeMap<TopicPartition, Offset>, pass: &mut Pass) -> bool {
        let before = pass.doomed.len();
        let mut freed = 0;
        for (_, partition) in self.partitions() {
            let Some(&until) = consumed.get(&partition.at) else { continue };
            let mut inner = partition.inner.lock();
            let until = if self.planted.trim_unconsumed { inner.next } else { until };
            while let Some(segment) = inner.sealed.pop_front_if(|segment| segment.end() <= until) {
                inner.start = segment.end();
                pass.doomed.push(segment);
            }
            freed += inner.trim_tail(until);
        }
        if freed > 0 {
            let mut state = self.core.lock();
            state.unsealed_bytes = state.unsealed_bytes.saturating_sub(freed);
            drop(state);
            self.core.made_room(0);
        }
        pass.doomed.len() > before
    }

    /// Takes segments out that retention does not keep; their files go after the next checkpoint.
    fn forget(&self, pass: &mut Pass) -> bool {
        let now_ms = self.core.clock().now_ms();
        let before = pass.doomed.len();
        for (topic, partition) in self.partitions() {
            if topic.retention_ms.is_none() && topic.retention_bytes.is_none() {
                continue;
            }
            let mut inner = partition.inner.lock();
            let facts: Vec<(u64, i64)> = inner.sealed.iter().map(|s| (s.file_bytes, s.append_time_ms_max())).collect();
            for _ in 0..to_forget(&facts, inner.tail_bytes as u64, &topic, now_ms) {
                if let Some(segment) = inner.sealed.pop_front() {
                    inner.start = segment.end();
                    pass.doomed.push(segment);
                }
            }
        }
        pass.doomed.len() > before
    }

    fn checkpoint(&self, pass: &mut Pass) -> Result<()> {
        let checkpoint = {
            let state = self.core.lock();
            let mut partitions: Vec<_> = state.partitions.values().map(ends).collect();
            partitions.sort();
            let covered = state.journaled.iter().filter(|(_, changes)| changes.covered > LogPosition(0));
            let mut snapshots: Vec<_> = covered.map(|(store, changes)| (store.clone(), changes.covered)).collect();
            snapshots.sort();
            Checkpoint {
                format: super::FORMAT,
                epoch: self.epoch,
                position: self.core.position(ReadLevel::Sequenced),
                control: state.control.clone(),
                partitions,
                snapshots,
            }
        };
        if !self.planted.effect_ahead {
            self.writer.sync_now()?;
        }
        checkpoint.store(self.disk.as_ref(), &self.paths.control)?;
        pass.checkpoint = checkpoint.position;
        Ok(())
    }

    /// How many files nothing needs, were there a checkpoint at `checkpoint`.
    fn trimmable(&self, checkpoint: LogPosition) -> usize {
        let needed = self.needed_from(checkpoint);
        let files = self.files.lock();
        files.iter().take(files.len().saturating_sub(1)).take_while(|f| f.last < needed.0).count()
    }

    /// The oldest group that recovery would need.
    fn needed_from(&self, checkpoint: LogPosition) -> LogPosition {
        let after_checkpoint = LogPosition(checkpoint.0 + 1);
        if self.planted.trim_too_early {
            return after_checkpoint;
        }
        let state = self.core.lock();
        let tails = state.partitions.values().filter_map(|p| p.inner.lock().tail.front().map(|b| b.position));
        let stores = state.journaled.values().filter_map(|changes| changes.oldest());
        let pins = state.pins.iter().filter(|(until, _)| *until > checkpoint).map(|(_, oldest)| *oldest);
        tails.chain(stores).chain(pins).min().unwrap_or(after_checkpoint).min(after_checkpoint)
    }

    /// Removes what the checkpoint has made needless.
    fn remove(&self, pass: &mut Pass) -> Result<()> {
        let _nobody_reads = self.reading.write();
        let trimmable = self.trimmable(pass.checkpoint);
        for _ in 0..trimmable {
            let oldest = self.files.lock().first().map(|f| f.first);
            if let Some(first) = oldest {
                self.disk.remove(&self.paths.wal.join(file_name(first)))?;
                // Each before the next: were a younger one gone and an older one back after a crash, there would be a gap.
                self.disk.sync_directory(&self.paths.wal)?;
                self.files.lock().remove(0);
            }
        }
        self.remove_doomed(pass)?;
        let (dropped, forgotten) = {
            let mut state = self.core.lock();
            state.pins.retain(|(until, _)| *until > pass.checkpoint);
            let forgotten: Vec<_> = state.control.forgotten.clone().into_iter().collect();
            (state.dropped.clone(), forgotten)
        };
        for (position, topic) in dropped.into_iter().filter(|(position, _)| *position <= pass.checkpoint) {
            let name = Paths::topic_name(&topic);
            if self.disk.list(&self.paths.topics)?.contains(&name) {
                self.disk.remove_directory(&self.paths.topics.join(name))?;
            }
            self.core.lock().dropped.retain(|(at, t)| (*at, t.id) != (position, topic.id));
        }
        let oldest = self.files.lock().first().map_or(0, |f| f.first);
        for (query, position) in forgotten {
            if position <= pass.checkpoint {
                self.snapshots.forget(&query, position)?;
            }
            if position.0 < oldest {
                let mut state = self.core.lock();
                if state.control.forgotten.get(&query) == Some(&position) {
                    state.control.forgotten.remove(&query);
                }
            }
        }
        Ok(())
    }

    fn remove_doomed(&self, pass: &mut Pass) -> Result<()> {
        let mut directories: Vec<&Path> = Vec::new();
        let (kept, gone): (Vec<_>, Vec<_>) = pass.doomed.drain(..).partition(|segment| segment.in_use());
        pass.doomed = kept;
        for segment in &gone {
            self.disk.remove(segment.path())?;
            directories.extend(segment.path().parent());
        }
        directories.dedup();
        for directory in directories {
            self.disk.sync_directory(directory)?;
        }
        Ok(())
    }
}

fn ends(partition: &Arc<Partition>) -> (TopicPartition, i64, i64) {
    let inner = partition.inner.lock();
    (partition.at, inner.start, inner.next)
}

fn tail_facts(topic: &Topic, partition: &Partition, synced: LogPosition, now_ms: i64) -> Option<TailFacts> {
    let inner = partition.inner.lock();
    let safe = inner.tail.partition_point(|b| b.position <= synced);
    let last = inner.tail.get(safe.checked_sub(1)?)?;
    let first = inner.tail.front()?;
    let bytes = inner.tail.range(..safe).map(|b| b.bytes).sum();
    Some(TailFacts {
        at: partition.at,
        bytes,
        expired: topic.retention_ms.is_some_and(|ms| first.batch.append_time_ms < now_ms.saturating_sub(ms))
            || topic.retention_bytes.is_some_and(|max| bytes as u64 > max),
        rows: last.end() - first.batch.base_offset,
        oldest: first.position,
    })
}

impl RedoSource for Background {
    fn redo(&self, store: &StoreId, after: LogPosition) -> Result<Vec<(LogPosition, StateChanges)>> {
        let _files_stay = self.reading.read();
        let (covered, entries) = match self.core.lock().journaled.get(store) {
            Some(changes) => (changes.covered, changes.after(after)),
            None => return Ok(Vec::new()),
        };
        let mut redo = Vec::new();
        if covered > after {
            for manifest in self.snapshots.chain(store)? {
                let snapshot = self.snapshots.load(&manifest)?;
                redo.push((snapshot.position, snapshot.changes));
            }
        }
        let mut files = OpenFiles::default();
        for (position, at) in entries {
            redo.push((position, self.read_change(store, &at, &mut files)?));
        }
        Ok(redo)
    }
}

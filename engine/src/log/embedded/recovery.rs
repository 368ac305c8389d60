//! Opening a data directory: what is there becomes what the log holds in memory.
//!
//! ```text
//! checkpoint at 900   then wal: 850 … 900 | 901 … 1042 | torn
//!   topics, catalog      records not sealed,  the same, and      cut off, synced
//!   positions            state changes not    what they say
//!                        in a snapshot        beside records
//! ```
//!
//! | found | meaning |
//! |---|---|
//! | frames in an unbroken chain | groups; read on |
//! | no whole frame, and nothing known to be durable beyond | a torn tail: cut off and synced, never written over |
//! | no whole frame, but a frame, checkpoint, segment or snapshot knows that more was durable | damage: an error with file and offset |
//!
//! Whatever was found is synced before it counts, and the log goes on in a new file with a new epoch.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::buffer::Buffer;

use super::control::Checkpoint;
use super::disk::{BESIDE, Disk};
use super::group::{FrameHeader, HEADER_BYTES, durable_known_in};
use super::segment::Segment;
use super::wal::{FILE_HEADER_BYTES, FileHeader, Resume, WalFile, WalFiles};
use super::{Paths, Planted};
use crate::error::{Error, Result};
use crate::log::core::{Core, State};
use crate::log::group::Group;
use crate::log::partition::Partition;
use crate::log::redo::{ChangeAt, Place};
use crate::log::wire::batches::SchemaTable;
use crate::log::{Control, LogPosition, Topic, TopicPartition};
use crate::state::snapshot::Snapshots;

pub(super) struct Recovery<'a> {
    pub core: &'a Core,
    pub disk: Arc<dyn Disk>,
    pub paths: &'a Paths,
    pub snapshots: &'a Snapshots,
    pub files: WalFiles,
    pub planted: Planted,
}

/// What recovery found.
pub(super) struct Recovered {
    pub resume: Resume,
    pub checkpoint: LogPosition,
}

/// How far the chain of frames has been followed.
struct Chain {
    epoch: u64,
    last: u64,
    previous_crc: u32,
    /// Largest sequence number that anything says was durable.
    durable_known: u64,
}

impl Recovery<'_> {
    pub fn run(&self) -> Result<Recovered> {
        let checkpoint = Checkpoint::load(self.disk.as_ref(), &self.paths.control)?;
        let mut state = self.core.lock();
        let from = checkpoint.as_ref().map_or(LogPosition(0), |c| c.position);
        let mut chain = Chain { epoch: 0, last: 0, previous_crc: 0, durable_known: from.0 };
        if let Some(checkpoint) = &checkpoint {
            self.begin_at(&mut state, checkpoint)?;
            chain.epoch = checkpoint.epoch;
        }
        for manifests in self.snapshots.all()? {
            let (Some(manifest), Some(newest)) = (manifests.first(), manifests.last()) else { continue };
            let forgotten = state.control.forgotten.get(&manifest.query).copied().unwrap_or_default();
            if newest.position > forgotten {
                state.journaled.entry(manifest.store()).or_default().cover(newest.position);
                chain.durable_known = chain.durable_known.max(newest.position.0);
            }
        }
        if let Some(checkpoint) = &checkpoint {
            self.check_snapshots(&state, checkpoint)?;
        }
        self.follow(&mut state, from, &mut chain)?;
        self.check_ends(&state, checkpoint.as_ref())?;
        let mut next_topic_id = state.control.next_topic_id;
        if self.planted.reused_topic_id {
            next_topic_id = state.control.topics.keys().map(|id| id.0 + 1).max().unwrap_or(1);
            state.control.next_topic_id = next_topic_id;
        }
        self.tidy(&mut state)?;
        drop(state);
        self.core.recovered(LogPosition(chain.last), next_topic_id);
        let resume = Resume { epoch: chain.epoch + 1, last: chain.last, previous_crc: chain.previous_crc };
        Ok(Recovered { resume, checkpoint: from })
    }

    /// What the checkpoint says, and the segments of its topics.
    fn begin_at(&self, state: &mut State, checkpoint: &Checkpoint) -> Result<()> {
        state.control = checkpoint.control.clone();
        state.control.index();
        let topics: Vec<Topic> = state.control.topics.values().cloned().collect();
        for topic in topics {
            for partition in 0..topic.partitions {
                let at = topic.partition(partition);
                let start = checkpoint.partitions.iter().find(|(p, ..)| *p == at).map_or(0, |(_, start, _)| *start);
                state.partitions.insert(at, self.partition(&topic, at, start)?);
            }
        }
        Ok(())
    }

    /// Every snapshot that the checkpoint knows of is there: the groups it holds may be gone.
    fn check_snapshots(&self, state: &State, checkpoint: &Checkpoint) -> Result<()> {
        for (store, position) in &checkpoint.snapshots {
            let found = state.journaled.get(store).map_or(LogPosition(0), |changes| changes.covered);
            if found < *position {
                return Err(Error::storage(format!(
                    "a snapshot of query {}, step {}, partition {} is missing: it was stored at group {}",
                    store.query, store.step, store.partition, position.0
                )));
            }
        }
        Ok(())
    }

    /// A partition with its segments from `start` on.
    fn partition(&self, topic: &Topic, at: TopicPartition, start: i64) -> Result<Arc<Partition>> {
        let partition = Partition::new(at);
        let mut inner = partition.inner.lock();
        inner.start = start;
        let directory = self.paths.partition(topic, at.partition);
        for name in self.disk.list(&directory)? {
            let path = directory.join(&name);
            if name.ends_with(BESIDE) {
                self.disk.remove(&path)?;
                continue;
            }
            let segment = Segment::open(&self.disk, path.clone())?;
            if segment.end() <= start {
                // Retention had forgotten it.
                self.disk.remove(&path)?;
                continue;
            }
            if segment.base() != inner.sealed_end() {
                return Err(Error::storage(format!(
                    "segment {} begins at offset {}, but the one before ends at {}: a file is missing",
                    path.display(),
                    segment.base(),
                    inner.sealed_end()
                )));
            }
            inner.sealed.push_back(segment);
        }
        inner.next = inner.sealed_end();
        drop(inner);
        Ok(partition)
    }

    /// Applies the groups of all files, then cuts off what is torn.
    fn follow(&self, state: &mut State, from: LogPosition, chain: &mut Chain) -> Result<()> {
        let names: Vec<String> = self.disk.list(&self.paths.wal)?.into_iter().filter(|n| n.ends_with(".wal")).collect();
        let mut torn: Option<(PathBuf, usize)> = None;
        let mut removed = Vec::new();
        for (number, name) in names.iter().enumerate() {
            let path = self.paths.wal.join(name);
            let bytes = Buffer::from(self.disk.read(&path)?);
            if torn.is_some() {
                chain.durable_known = chain.durable_known.max(durable_known_in(&bytes).unwrap_or(0));
                removed.push(path);
                continue;
            }
            let header = FileHeader::check(&bytes);
            let fits = |h: &FileHeader| match number {
                0 => h.first <= from.0 + 1,
                _ => h.first == chain.last + 1 && h.previous_crc == chain.previous_crc,
            };
            let Some(header) = header.filter(|h| fits(h) || self.planted.stale_group) else {
                if number == 0 && header.is_some() {
                    return Err(Error::storage(format!(
                        "the write-ahead log begins at group {}, but the checkpoint ends at {}: a file is missing",
                        header.map_or(0, |h| h.first),
                        from.0
                    )));
                }
                chain.durable_known = chain.durable_known.max(durable_known_in(&bytes).unwrap_or(0));
                torn = Some((path.clone(), 0));
                removed.push(path);
                continue;
            };
            if number == 0 {
                chain.last = header.first - 1;
                chain.previous_crc = header.previous_crc;
            }
            chain.epoch = chain.epoch.max(header.epoch);
            let end = self.follow_file(state, from, chain, &header, &bytes)?;
            if end < bytes.len() && !self.planted.stale_group {
                chain.durable_known = chain.durable_known.max(durable_known_in(&bytes[end..]).unwrap_or(0));
                torn = Some((path, end));
            }
        }
        for partition in state.partitions.values() {
            let newest = partition.inner.lock().sealed.back().map_or(LogPosition(0), |s| s.position());
            chain.durable_known = chain.durable_known.max(newest.0);
        }
        if chain.last < chain.durable_known {
            let at = match &torn {
                Some((path, offset)) => format!("{} at byte {offset}", path.display()),
                None => format!("{} ends too early", self.paths.wal.display()),
            };
            return Err(Error::storage(format!(
                "the write-ahead log is damaged: {at}: group {} cannot be read, but groups up to {} were stored",
                chain.last + 1,
                chain.durable_known
            ))
            .with_hint("Restore the data directory from a backup; nothing was changed."));
        }
        self.cut(torn, &removed, chain)
    }

    /// Applies the groups of one file; returns where the last whole one ends.
    fn follow_file(
        &self,
        state: &mut State,
        from: LogPosition,
        chain: &mut Chain,
        header: &FileHeader,
        bytes: &Buffer,
    ) -> Result<usize> {
        let mut file = WalFile {
            first: header.first,
            last: header.first - 1,
            bytes: bytes.len() as u64,
            schemas: SchemaTable::default(),
        };
        let mut at = FILE_HEADER_BYTES;
        while at + HEADER_BYTES <= bytes.len() {
            let frame = FrameHeader::check(&bytes[at..]);
            let follows = |f: &FrameHeader| {
                f.epoch == header.epoch && f.sequence == chain.last + 1 && f.previous_crc == chain.previous_crc
            };
            let Some(frame) = frame.filter(|f| follows(f) || self.planted.stale_group) else {
                if self.planted.stale_group {
                    at += 8;
                    continue;
                }
                break;
            };
            let length = frame.length as usize;
            let buffer = bytes.slice_with_length(at, length);
            let place = Place { file: header.first, offset: at as u64, length };
            frame.define_schemas(&buffer, &mut file.schemas)?;
            let wants = |to: &TopicPartition| state.partitions.contains_key(to) || frame.sequence > from.0;
            let group = frame.group(&buffer, &file.schemas, false, wants)?;
            self.replay(state, from, group, place)?;
            chain.last = frame.sequence;
            chain.previous_crc = frame.crc;
            chain.durable_known = chain.durable_known.max(frame.durable);
            file.last = frame.sequence;
            at += length;
        }
        file.bytes = at as u64;
        self.files.lock().push(file);
        Ok(at)
    }

    fn replay(&self, state: &mut State, from: LogPosition, group: Group, place: Place) -> Result<()> {
        if group.position > from {
            self.core.apply_control(state, &group, &mut Vec::new());
            for change in &group.controls {
                if let Control::CreateTopic(topic) = change {
                    for partition in 0..topic.partitions {
                        let at = topic.partition(partition);
                        if state.partitions.contains_key(&at) {
                            state.partitions.insert(at, self.partition(topic, at, 0)?);
                        }
                    }
                }
            }
        }
        for (store, _) in &group.state {
            let forgotten = state.control.forgotten.get(&store.query).copied().unwrap_or_default();
            if group.position > forgotten {
                let changes = state.journaled.entry(store.clone()).or_default();
                changes.push(group.position, ChangeAt::Written(place));
            }
        }
        for append in group.appends {
            let Some(partition) = state.partitions.get(&append.to) else { continue };
            let mut inner = partition.inner.lock();
            let end = append.base_offset + append.body.len() as i64;
            if end <= inner.next {
                continue;
            }
            if append.base_offset != inner.next {
                return Err(Error::storage(format!(
                    "group {} has records from offset {} on, but the partition ends at {}: a file is missing",
                    group.position.0, append.base_offset, inner.next
                )));
            }
            inner.push(group.position, group.append_time_ms, append.body, append.bytes);
            state.unsealed_bytes += append.bytes;
        }
        Ok(())
    }

    /// Cuts the torn file and removes those after it; what is left is on disk when this returns.
    fn cut(&self, torn: Option<(PathBuf, usize)>, removed: &[PathBuf], chain: &Chain) -> Result<()> {
        // Newest first, each before the next: a crash on the way leaves a log without a gap.
        for path in removed.iter().rev() {
            self.disk.remove(path)?;
            self.disk.sync_directory(&self.paths.wal)?;
        }
        if let Some((path, end)) = torn.filter(|(path, _)| !removed.contains(path)) {
            tracing::info!(file = %path.display(), byte = end, "cut off the unfinished end of the write-ahead log");
            let mut file = self.disk.open(&path)?;
            file.set_len(end as u64)?;
            file.sync()?;
        }
        let mut files = self.files.lock();
        // A file without a group gives its name to the one that begins now.
        if files.last().is_some_and(|f| f.last < f.first && f.first == chain.last + 1) {
            files.pop();
        }
        if let Some(last) = files.last() {
            // What was read may have been in the cache of the operating system only.
            self.disk.open(&self.paths.wal.join(super::wal::file_name(last.first)))?.sync()?;
        }
        self.disk.sync_directory(&self.paths.wal)?;
        Ok(())
    }

    /// Every partition reaches as far as the checkpoint knows.
    fn check_ends(&self, state: &State, checkpoint: Option<&Checkpoint>) -> Result<()> {
        for (at, _, next) in checkpoint.iter().flat_map(|c| &c.partitions) {
            let Some(partition) = state.partitions.get(at) else { continue };
            let inner = partition.inner.lock();
            if inner.next < *next {
                return Err(Error::storage(format!(
                    "partition {} of topic {} ends at offset {}, but {} were stored: a file is missing",
                    at.partition, at.topic.0, inner.next, next
                )));
            }
        }
        Ok(())
    }

    /// Removes what belongs to nobody any more.
    fn tidy(&self, state: &mut State) -> Result<()> {
        let living: Vec<String> = state.control.topics.values().map(Paths::topic_name).collect();
        for name in self.disk.list(&self.paths.topics)? {
            let dropped = state.dropped.iter().any(|(_, topic)| Paths::topic_name(topic) == name);
            if !living.contains(&name) && !dropped {
                self.disk.remove_directory(&self.paths.topics.join(name))?;
            }
        }
        for name in self.disk.list(&self.paths.control)? {
            if name.ends_with(BESIDE) {
                self.disk.remove(&self.paths.control.join(name))?;
            }
        }
        self.snapshots.tidy()
    }
}

//! One partition as its readers see it: sealed segments, then a tail of batches in memory.
//!
//! ```text
//! start                                                     next
//!   │ sealed [0..40] [40..90]   tail [90..93 @2] [93..94 @5] [94..99 @6]    batch = offsets @ position of its group
//!                                    ───── durable (5) ────┤          │
//!                                    ───── sequenced (6) ─────────────┤
//! ```
//!
//! A batch can be seen once the position of its group is at or below the level's position, which moves for all partitions
//! at once: so a group is seen wholly or not at all.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;

use arrow::array::Int64Array;
use parking_lot::Mutex;

use super::core::Core;
use super::embedded::segment::Segment;
use super::embedded::segment_reader::SegmentReader;
use super::{
    EncodedRecords, LogBatch, LogBody, LogPosition, Offset, PartitionReader, ReadLevel, ReadLimit, Topic,
    TopicPartition, Wanted,
};
use crate::error::Result;
use crate::rows::Rows;

/// Batches with fewer rows than this are handed out together, so that single-row commits do not cost a run each.
const SMALL_BATCH_ROWS: usize = 256;

/// And no more than this at once.
const JOINED_BYTES_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Partition {
    pub at: TopicPartition,
    pub inner: Mutex<PartitionInner>,
}

#[derive(Debug, Default)]
pub(crate) struct PartitionInner {
    pub start: Offset,
    pub next: Offset,
    pub sealed: VecDeque<Arc<Segment>>,
    pub tail: VecDeque<TailBatch>,
    pub tail_bytes: usize,
    /// The topic was dropped.
    pub gone: bool,
    wakers: [Vec<Waker>; 2],
}

#[derive(Debug, Clone)]
pub(crate) struct TailBatch {
    pub position: LogPosition,
    pub bytes: usize,
    pub time_ms_max: i64,
    pub batch: Arc<LogBatch>,
}

impl TailBatch {
    pub fn end(&self) -> Offset {
        self.batch.base_offset + self.batch.body.len() as i64
    }
}

impl Partition {
    pub fn new(at: TopicPartition) -> Arc<Self> {
        Arc::new(Self { at, inner: Mutex::default() })
    }

    pub fn offset_at_time(&self, time_ms: i64, visible: LogPosition) -> Result<Offset> {
        let (sealed, in_tail) = {
            let inner = self.inner.lock();
            (inner.sealed.clone(), inner.offset_at_time(time_ms, visible))
        };
        for segment in sealed {
            if let Some(offset) = segment.offset_at_time(time_ms)? {
                return Ok(offset);
            }
        }
        Ok(in_tail)
    }

    /// Wakers of readers that may see more now.
    pub fn take_wakers(&self, level: ReadLevel, into: &mut Vec<Waker>) {
        into.append(&mut self.inner.lock().wakers[level as usize]);
    }
}

impl PartitionInner {
    pub fn push(&mut self, position: LogPosition, append_time_ms: i64, body: LogBody, bytes: usize) {
        let time_ms_max = times(&body).values().iter().copied().max().unwrap_or(i64::MIN);
        let rows = body.len() as i64;
        let batch = Arc::new(LogBatch { base_offset: self.next, append_time_ms, body });
        self.tail.push_back(TailBatch { position, bytes, time_ms_max, batch });
        self.next += rows;
        self.tail_bytes += bytes;
    }

    pub fn pop_front(&mut self) -> Option<TailBatch> {
        let batch = self.tail.pop_front()?;
        self.tail_bytes -= batch.bytes;
        Some(batch)
    }

    /// Forgets batches that retention does not keep; the newest always stays.
    pub fn expire_tail(&mut self, topic: &Topic, now_ms: i64) {
        let too_old = |b: &TailBatch| topic.retention_ms.is_some_and(|ms| b.batch.append_time_ms < now_ms - ms);
        let too_many = |bytes: usize| topic.retention_bytes.is_some_and(|max| bytes as u64 > max);
        while self.tail.len() > 1 && (too_many(self.tail_bytes) || self.tail.front().is_some_and(too_old)) {
            self.pop_front();
        }
        self.start = self.tail.front().map_or(self.next, |b| b.batch.base_offset);
    }

    /// Forgets batches of the tail that end at or before `until`, unless sealed ones lie before them; returns the memory
    /// given back.
    pub fn trim_tail(&mut self, until: Offset) -> usize {
        if !self.sealed.is_empty() {
            return 0;
        }
        let before = self.tail_bytes;
        while self.tail.front().is_some_and(|b| b.end() <= until) {
            self.pop_front();
        }
        self.start = self.tail.front().map_or(self.next, |b| b.batch.base_offset);
        before - self.tail_bytes
    }

    /// Where a reader that may see up to `visible` is caught up.
    pub fn end(&self, visible: LogPosition) -> Offset {
        let hidden = self.tail.partition_point(|b| b.position <= visible);
        self.tail.get(hidden).map_or(self.next, |b| b.batch.base_offset)
    }

    pub fn range(&self, visible: LogPosition) -> Range<Offset> {
        self.start..self.end(visible).max(self.start)
    }

    /// The segment with `offset`, if it is sealed.
    fn segment(&self, offset: Offset) -> Option<&Arc<Segment>> {
        self.sealed.get(self.sealed.partition_point(|s| s.end() <= offset))
    }

    /// Where the next segment begins.
    pub fn sealed_end(&self) -> Offset {
        self.sealed.back().map_or(self.start, |s| s.end())
    }

    /// Puts `segment` in the place of the tail batches it was made of; returns the memory given back.
    pub fn seal(&mut self, segment: Arc<Segment>) -> usize {
        let before = self.tail_bytes;
        while self.tail.front().is_some_and(|b| b.end() <= segment.end()) {
            self.pop_front();
        }
        self.sealed.push_back(segment);
        before - self.tail_bytes
    }

    /// First offset of the tail at or after `time_ms`.
    fn offset_at_time(&self, time_ms: i64, visible: LogPosition) -> Offset {
        let found = self.tail.iter().find(|b| b.time_ms_max >= time_ms && b.position <= visible);
        found.map_or(self.end(visible), |b| b.batch.base_offset + first_at_time(&b.batch.body, time_ms))
    }

    /// The records from `offset` on that may be seen, whole batches but for the first.
    fn read(&self, offset: Offset, visible: LogPosition, limit: ReadLimit) -> Result<Option<Arc<LogBatch>>> {
        let first = self.tail.partition_point(|b| b.end() <= offset);
        let (mut rows, mut bytes) = (0, 0);
        let visible = self.tail.range(first..).take_while(|b| b.position <= visible);
        let run: Vec<&Arc<LogBatch>> = visible
            .take_while(|b| {
                rows += b.batch.body.len();
                bytes += b.bytes;
                let alone = rows == b.batch.body.len();
                let small = b.batch.body.len() <= SMALL_BATCH_ROWS;
                alone || (small && rows <= limit.rows_max && bytes <= JOINED_BYTES_MAX)
            })
            .map(|b| &b.batch)
            .collect();
        match run.as_slice() {
            [] => Ok(None),
            [first, ..] if run.len() == 1 || first.body.len() > SMALL_BATCH_ROWS => Ok(Some(cut(first, offset, limit))),
            all => Ok(Some(cut(&join(all)?, offset, limit))),
        }
    }
}

/// The part of `batch` from `offset` on, at most as long as `limit`.
pub(crate) fn cut(batch: &Arc<LogBatch>, offset: Offset, limit: ReadLimit) -> Arc<LogBatch> {
    let skip = (offset - batch.base_offset).max(0) as usize;
    let len = (batch.body.len() - skip).min(limit.rows_max.max(1));
    if skip == 0 && len == batch.body.len() {
        return batch.clone();
    }
    Arc::new(LogBatch {
        base_offset: batch.base_offset + skip as i64,
        append_time_ms: batch.append_time_ms,
        body: batch.body.slice(skip, len),
    })
}

/// The longest prefix of `batches` that has one form, as one batch.
fn join(batches: &[&Arc<LogBatch>]) -> Result<Arc<LogBatch>> {
    let first = batches[0];
    let alike = batches.iter().take_while(|b| joinable(&first.body, &b.body)).count();
    if alike == 1 {
        return Ok(first.clone());
    }
    let bodies: Vec<&LogBody> = batches[..alike].iter().map(|b| &b.body).collect();
    Ok(Arc::new(LogBatch {
        base_offset: first.base_offset,
        append_time_ms: first.append_time_ms,
        body: concat_bodies(&bodies)?,
    }))
}

/// Whether two bodies can be one: the same columns and the same parts beside them.
pub(crate) fn joinable(a: &LogBody, b: &LogBody) -> bool {
    match (a, b) {
        (LogBody::Encoded(_), LogBody::Encoded(_)) => true,
        (LogBody::Typed { rows: a, fingerprint: f }, LogBody::Typed { rows: b, fingerprint: g }) => {
            use crate::rows::Change::{Append, Upsert};
            f == g
                && a.window.is_some() == b.window.is_some()
                && match (&a.change, &b.change) {
                    (Append, Append) => true,
                    (Upsert { old: a }, Upsert { old: b }) => a.is_some() == b.is_some(),
                    _ => false,
                }
                && (Arc::ptr_eq(a.columns.schema_ref(), b.columns.schema_ref())
                    || a.columns.schema_ref() == b.columns.schema_ref())
        }
        _ => false,
    }
}

/// All records of `bodies`, which are joinable, in order.
pub(crate) fn concat_bodies(bodies: &[&LogBody]) -> Result<LogBody> {
    if let [one] = bodies {
        return Ok((*one).clone());
    }
    let mut rows: Vec<Rows> = Vec::new();
    let mut encoded: Vec<&EncodedRecords> = Vec::new();
    let mut shared = 0;
    for body in bodies {
        match body {
            LogBody::Typed { rows: more, fingerprint } => {
                shared = *fingerprint;
                rows.push(more.clone());
            }
            LogBody::Encoded(records) => encoded.push(records),
        }
    }
    if encoded.is_empty() {
        return Ok(LogBody::Typed { rows: Rows::concat(&rows)?, fingerprint: shared });
    }
    Ok(LogBody::Encoded(concat_encoded(&encoded)?))
}

fn concat_encoded(parts: &[&EncodedRecords]) -> Result<EncodedRecords> {
    use arrow::array::{Array, AsArray};
    let concat = |pick: &dyn Fn(&EncodedRecords) -> arrow::array::ArrayRef| -> Result<arrow::array::ArrayRef> {
        let arrays: Vec<arrow::array::ArrayRef> = parts.iter().map(|p| pick(p)).collect();
        Ok(arrow::compute::concat(&arrays.iter().map(|a| a.as_ref()).collect::<Vec<&dyn Array>>())?)
    };
    let headers = if parts.iter().any(|p| p.headers.is_some()) {
        let all = concat(&|p| Arc::new(p.headers.clone().unwrap_or_else(|| crate::rows::empty_headers(p.time.len()))))?;
        Some(all.as_list::<i32>().clone())
    } else {
        None
    };
    Ok(EncodedRecords {
        keys: concat(&|p| Arc::new(p.keys.clone()))?.as_binary::<i32>().clone(),
        values: concat(&|p| Arc::new(p.values.clone()))?.as_binary::<i32>().clone(),
        time: concat(&|p| Arc::new(p.time.clone()))?.as_primitive::<arrow::datatypes::Int64Type>().clone(),
        headers,
    })
}

pub(crate) fn times(body: &LogBody) -> &Int64Array {
    match body {
        LogBody::Typed { rows, .. } => &rows.time,
        LogBody::Encoded(records) => &records.time,
    }
}

/// Index of the first record at or after `time_ms`; the length if there is none.
pub(crate) fn first_at_time(body: &LogBody, time_ms: i64) -> i64 {
    let times = times(body).values();
    times.iter().position(|t| *t >= time_ms).unwrap_or(times.len()) as i64
}

/// A place in a partition; the log's implementation of [`PartitionReader`].
pub(crate) struct Reader {
    core: Arc<Core>,
    partition: Arc<Partition>,
    level: ReadLevel,
    next: Offset,
    wanted: Option<Wanted>,
    /// The segment it is in.
    segment: Option<SegmentReader>,
    /// The batch of that segment it is in.
    batch: Option<Arc<LogBatch>>,
}

impl Reader {
    pub fn new(core: Arc<Core>, partition: Arc<Partition>, level: ReadLevel, next: Offset) -> Self {
        Self { core, partition, level, next, wanted: None, segment: None, batch: None }
    }

    /// The rest of the sealed batch with the next offset.
    fn sealed(&mut self, segment: &Arc<Segment>, limit: ReadLimit) -> Result<Arc<LogBatch>> {
        let next = self.next;
        let within =
            |batch: &Arc<LogBatch>| (batch.base_offset..batch.base_offset + batch.body.len() as i64).contains(&next);
        let batch = match self.batch.take().filter(within) {
            Some(batch) => batch,
            None => {
                let reader = match self.segment.take().filter(|reader| reader.is_of(segment)) {
                    Some(reader) => reader,
                    None => SegmentReader::new(segment, self.wanted.as_ref())?,
                };
                self.segment.insert(reader).batch_at(next)?
            }
        };
        let part = cut(&batch, next, limit);
        if part.base_offset + (part.body.len() as i64) < batch.base_offset + batch.body.len() as i64 {
            self.batch = Some(batch);
        }
        Ok(part)
    }
}

impl PartitionReader for Reader {
    fn take(&mut self, limit: ReadLimit) -> Result<Option<Arc<LogBatch>>> {
        let visible = self.core.visible(self.level)?;
        let inner = self.partition.inner.lock();
        if inner.gone {
            return Err(super::control::topic_gone(self.partition.at.topic));
        }
        self.next = self.next.max(inner.start);
        let batch = match inner.segment(self.next).cloned() {
            // Sealed: what is in a segment is durable. Reading may touch the disk, so not under the lock.
            Some(segment) => {
                drop(inner);
                Some(self.sealed(&segment, limit)?)
            }
            None => {
                let batch = inner.read(self.next, visible, limit)?;
                drop(inner);
                (self.segment, self.batch) = (None, None);
                batch
            }
        };
        if let Some(batch) = &batch {
            self.next = batch.base_offset + batch.body.len() as i64;
        }
        Ok(batch)
    }

    fn wake_on_data(&mut self, waker: &Waker) {
        let mut inner = self.partition.inner.lock();
        // The position is read under the partition's lock and wakers are taken after it has moved: nothing is missed.
        let ready = match self.core.visible(self.level) {
            Ok(visible) => inner.gone || self.next < inner.end(visible),
            Err(_) => true,
        };
        if ready {
            drop(inner);
            waker.wake_by_ref();
        } else {
            let wakers = &mut inner.wakers[self.level as usize];
            if !wakers.iter().any(|w| w.will_wake(waker)) {
                wakers.push(waker.clone());
            }
        }
    }

    fn narrow(&mut self, wanted: Wanted) {
        (self.wanted, self.segment, self.batch) = (Some(wanted), None, None);
    }

    fn next_offset(&self) -> Offset {
        self.next
    }

    fn seek(&mut self, offset: Offset) {
        self.next = offset;
    }
}

//! Logs: topics of partitions of records, written in atomic groups.
//!
//! Everything a task does for its input (outputs on any number of partitions, state changes, rejected rows, counters, the
//! input positions it has consumed) is one [`Transaction`], committed as one group. Any prefix of the groups is a
//! consistent cut of the whole engine.
//!
//! | promise | by |
//! |---|---|
//! | a group is visible wholly or not at all, in all partitions | `commit` |
//! | groups are ordered; a reader at `Sequenced` sees them in that order per partition | the log |
//! | what is read at `Durable` survives a crash | the log |
//! | a producer id has one live producer; older ones fail | `producer` fences |
//! | dropping and re-creating a name gives another [`TopicId`] | `Control::CreateTopic` |
//!
//! The log knows no SQL: a typed batch is columns, an encoded one is bytes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;

use arrow::array::{BinaryArray, Int64Array, ListArray};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::rows::Rows;
use crate::state::StateChanges;

pub mod embedded;
pub mod memory;
pub mod partitioner;

mod control;
mod core;
mod group;
mod partition;
mod redo;
mod ticket;
mod transaction;
mod wire;

pub use embedded::EmbeddedLog;
pub(crate) use group::batch_bytes;
pub use memory::MemoryLog;
pub use transaction::GROUP_BYTES_MAX;

pub type Offset = i64;

/// Sequence number of a group; 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct LogPosition(pub u64);

/// Incarnation of a topic, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicId(pub u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    pub topic: TopicId,
    pub partition: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    pub id: TopicId,
    pub name: String,
    pub partitions: u32,
    /// Internal topics (repartition) are hidden from SHOW TOPICS.
    pub internal: bool,
    /// Milliseconds since append; None = for ever.
    pub retention_ms: Option<i64>,
    /// Per partition; None = unlimited.
    pub retention_bytes: Option<u64>,
    /// Repartition topics: a partition has one reader, and what that has consumed goes.
    #[serde(default)]
    pub delete_consumed: bool,
}

impl Topic {
    pub fn partition(&self, partition: u32) -> TopicPartition {
        TopicPartition { topic: self.id, partition }
    }
}

/// How far a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadLevel {
    /// As soon as the group has its place in the order: embedded tasks.
    Sequenced,
    /// Only what survives a crash: everything that leaves the process.
    Durable,
}

/// Who writes: one task, one session, one door. Fences an older holder of the same id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProducerId(pub String);

/// Where state lives: one stateful step of one task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StoreId {
    pub query: String,
    /// Number of the store among those of the query.
    pub step: u32,
    pub partition: u32,
}

/// Some records of one partition. The first has offset `base_offset`, the others follow without gaps.
#[derive(Debug, Clone)]
pub struct LogBatch {
    pub base_offset: Offset,
    /// When the log took the batch, milliseconds since the Unix epoch.
    pub append_time_ms: i64,
    pub body: LogBody,
}

#[derive(Debug, Clone)]
pub enum LogBody {
    /// Canonical columns (see [`crate::format`]); `fingerprint` names the formats and schema they are canonical for.
    Typed { rows: Rows, fingerprint: u64 },
    /// Bytes as a client wrote them.
    Encoded(EncodedRecords),
}

/// Records as bytes. All arrays have one length.
#[derive(Debug, Clone)]
pub struct EncodedRecords {
    /// Null = no key.
    pub keys: BinaryArray,
    /// Null = null value.
    pub values: BinaryArray,
    /// Milliseconds since the Unix epoch, never null.
    pub time: Int64Array,
    pub headers: Option<ListArray>,
}

impl LogBody {
    pub fn len(&self) -> usize {
        match self {
            LogBody::Typed { rows, .. } => rows.len(),
            LogBody::Encoded(records) => records.time.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn slice(&self, offset: usize, len: usize) -> LogBody {
        match self {
            LogBody::Typed { rows, fingerprint } => {
                LogBody::Typed { rows: rows.slice(offset, len), fingerprint: *fingerprint }
            }
            LogBody::Encoded(r) => LogBody::Encoded(EncodedRecords {
                keys: r.keys.slice(offset, len),
                values: r.values.slice(offset, len),
                time: r.time.slice(offset, len),
                headers: r.headers.as_ref().map(|h| h.slice(offset, len)),
            }),
        }
    }
}

/// Columns of typed batches of one fingerprint, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub fingerprint: u64,
    pub columns: Vec<usize>,
}

/// How much `take` returns at most.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimit {
    pub rows_max: usize,
}

/// A change of what the engine knows beside records: replayed at recovery, kept in the control checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Control {
    CreateTopic(Topic),
    DropTopic(TopicId),
    /// The catalog is a map of names to JSON texts; `None` removes the name.
    Catalog {
        key: String,
        value: Option<String>,
    },
    /// Forgets a producer id's positions and the state of a query's stores.
    ForgetQuery {
        query: String,
    },
    /// Counters of a query, added up by the caller: the latest value is kept.
    Counters {
        query: String,
        value: String,
    },
}

/// Proof that a group has its place.
#[derive(Debug, Clone)]
pub struct Receipt {
    pub position: LogPosition,
    /// First offset given to each append, in the order of the `append` calls.
    pub offsets: Vec<(TopicPartition, Offset)>,
}

/// A commit that has not reached its level yet.
pub trait Ticket: Send {
    /// None while it is pending; the waker given to `commit` is woken when this changes.
    fn poll(&mut self) -> Option<Result<Receipt>>;
    /// Blocks the calling thread; never called from a task.
    fn wait(self: Box<Self>) -> Result<Receipt>;
}

pub enum Commit {
    Done(Receipt),
    Pending(Box<dyn Ticket>),
}

impl Commit {
    /// Blocks until the level is reached. Never called from a task.
    pub fn wait(self) -> Result<Receipt> {
        match self {
            Commit::Done(receipt) => Ok(receipt),
            Commit::Pending(ticket) => ticket.wait(),
        }
    }
}

/// A batch that did not fit into a group any more, or nothing.
#[expect(clippy::large_enum_variant, reason = "made once per batch; a box would cost more than the move")]
pub enum Appended {
    Done,
    /// The group's limit is reached; commit it and put this batch into the next.
    Full(LogBody),
}

pub trait Log: Send + Sync {
    /// By name, the living incarnation.
    fn topic(&self, name: &str) -> Option<Topic>;
    fn topics(&self) -> Vec<Topic>;
    /// An id for `Control::CreateTopic`, never given before.
    fn next_topic_id(&self) -> TopicId;
    /// Offsets kept: `start..end`. `NotFound` if the incarnation is gone.
    fn range(&self, at: &TopicPartition, level: ReadLevel) -> Result<Range<Offset>>;
    /// First offset whose record time is at or after `time_ms`, or the end.
    fn offset_at_time(&self, at: &TopicPartition, time_ms: i64, level: ReadLevel) -> Result<Offset>;
    fn reader(&self, at: &TopicPartition, from: Offset, level: ReadLevel) -> Result<Box<dyn PartitionReader>>;
    fn producer(&self, id: &ProducerId) -> Result<Box<dyn Producer>>;
    /// The last group at that level.
    fn position(&self, level: ReadLevel) -> LogPosition;
    /// Calls the waker once, when `position` is durable (at once if it is).
    fn wake_when_durable(&self, position: LogPosition, waker: Waker);
    /// Blocks until `position` is durable.
    fn wait_durable(&self, position: LogPosition) -> Result<()>;
    /// The catalog as of the last sequenced group.
    fn catalog(&self) -> BTreeMap<String, String>;
    fn counters(&self) -> BTreeMap<String, String>;
    /// Bytes the log holds on disk or in memory, for metrics.
    fn stored_bytes(&self) -> u64;
    /// Flushes, stops threads; later calls fail with `Unavailable`.
    fn close(&self) -> Result<()>;
}

pub trait PartitionReader: Send {
    /// Never blocks; None = caught up. Rows come in order without gaps (but for those that retention removed).
    fn take(&mut self, limit: ReadLimit) -> Result<Option<Arc<LogBatch>>>;
    /// Wakes once when there may be more than `take` last saw.
    fn wake_on_data(&mut self, waker: &Waker);
    /// Of typed batches with this fingerprint only these columns will be looked at: the others may come as nulls.
    fn narrow(&mut self, wanted: Wanted);
    fn next_offset(&self) -> Offset;
    fn seek(&mut self, offset: Offset);
}

pub trait Producer: Send {
    fn begin(&mut self) -> Result<Box<dyn Transaction>>;
    /// Next offset of each input this id has consumed, as committed.
    fn positions(&self) -> Result<BTreeMap<TopicPartition, Offset>>;
    /// State changes of a store after `after`, in order, to the sequenced end. From `LogPosition(0)` they are the whole
    /// state: the log merges old changes by itself (last row per key), so that a task only applies them in order.
    fn redo(&self, store: &StoreId, after: LogPosition) -> Result<Vec<(LogPosition, StateChanges)>>;
}

pub trait Transaction: Send {
    fn append(&mut self, to: &TopicPartition, body: LogBody) -> Result<Appended>;
    fn state(&mut self, store: &StoreId, changes: StateChanges);
    fn consumed(&mut self, input: &TopicPartition, next: Offset);
    fn control(&mut self, change: Control);
    /// Estimate of what the group holds so far.
    fn bytes(&self) -> usize;
    /// Never blocks. Pending tickets wake `waker` when `until` is reached. `Sequenced` is done at once unless the log's
    /// queue or disk is full: then it is pending, too, and has no place yet.
    fn commit(self: Box<Self>, until: ReadLevel, waker: Option<&Waker>) -> Result<Commit>;
}

/// Wakes nobody; for callers that poll.
pub fn no_waker() -> Waker {
    Waker::noop().clone()
}

/// Bytes of one JSON document.
pub fn json_bytes<T: Serialize>(value: &T) -> Result<Bytes> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|e| crate::error::Error::internal(e.to_string()))
}

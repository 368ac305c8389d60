//! A group: all that one transaction does, with its place in the order.
//!
//! ```text
//! position 7, taken at 1700000000000, by CSAS_OUT_3/0
//!   control   CreateTopic(OUT)
//!   append    OUT/0 at offset 12: 3 rows        OUT/1 at offset 4: 1 row
//!   state     (CSAS_OUT_3, step 2, partition 0): 2 rows
//!   consumed  IN/0 up to 16
//! ```
//!
//! Until it is sequenced it is a [`Draft`]: the same without position, time and offsets.

use arrow::array::{Array, ArrayRef, RecordBatch};

use super::{Control, LogBody, LogPosition, Offset, ProducerId, StoreId, TopicPartition};
use crate::state::StateChanges;

/// What a transaction has collected.
#[derive(Debug)]
pub(crate) struct Draft {
    pub producer: ProducerId,
    /// Which holder of the producer id wrote it; an older one is refused.
    pub generation: u64,
    pub controls: Vec<Control>,
    pub appends: Vec<(TopicPartition, LogBody, usize)>,
    pub state: Vec<(StoreId, StateChanges)>,
    pub consumed: Vec<(TopicPartition, Offset)>,
    /// Estimate of the memory held.
    pub bytes: usize,
}

impl Draft {
    pub fn is_empty(&self) -> bool {
        self.controls.is_empty() && self.appends.is_empty() && self.state.is_empty() && self.consumed.is_empty()
    }
}

/// A draft that has its place.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub position: LogPosition,
    pub append_time_ms: i64,
    pub producer: ProducerId,
    pub controls: Vec<Control>,
    pub appends: Vec<GroupAppend>,
    pub state: Vec<(StoreId, StateChanges)>,
    pub consumed: Vec<(TopicPartition, Offset)>,
    pub bytes: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct GroupAppend {
    pub to: TopicPartition,
    pub base_offset: Offset,
    pub body: LogBody,
    /// Estimate of the memory held by `body`.
    pub bytes: usize,
}

/// Bytes of the rows of an array, shared buffers counted only as far as they are used.
fn array_bytes(array: &dyn Array) -> usize {
    array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size())
}

pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|c: &ArrayRef| array_bytes(c)).sum()
}

/// Estimate of the memory the records of `body` need, with a fixed sum for its bookkeeping.
pub(crate) fn body_bytes(body: &LogBody) -> usize {
    const BOOKKEEPING_BYTES: usize = 256;
    BOOKKEEPING_BYTES
        + match body {
            LogBody::Typed { rows, .. } => {
                batch_bytes(&rows.columns)
                    + rows.len() * if rows.window.is_some() { 24 } else { 8 }
                    + rows.headers.as_ref().map_or(0, |h| array_bytes(h))
                    + rows.old().map_or(0, |old| batch_bytes(&old.columns))
            }
            LogBody::Encoded(records) => {
                array_bytes(&records.keys)
                    + array_bytes(&records.values)
                    + array_bytes(&records.time)
                    + records.headers.as_ref().map_or(0, |h| array_bytes(h))
            }
        }
}

pub(crate) fn state_bytes(changes: &StateChanges) -> usize {
    changes.tables.iter().map(|t| batch_bytes(&t.rows)).sum()
}

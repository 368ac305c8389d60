//! What to seal, snapshot, trim and forget: pure functions over observed facts.
//!
//! | fact | decision |
//! |---|---|
//! | a tail holds SEGMENT_BYTES_MAX or as many rows | seal it |
//! | retention does not keep the oldest records of a tail | seal it, so that they can be forgotten |
//! | all tails together hold more than TAIL_BYTES_MAX | seal the largest until they do not |
//! | the write-ahead log is longer than WAL_BYTES_MAX | seal and snapshot what its oldest files are needed for |
//! | a store's changes hold SNAPSHOT_BYTES | snapshot it |
//! | a file's groups are sealed, snapshotted and in a checkpoint | remove the file |
//! | a topic's segments pass its retention | forget the oldest |
//! | the reader of a repartition topic has consumed records | forget them, sealed or not |

use crate::log::{LogPosition, StoreId, Topic, TopicPartition};

/// Sizes at which the embedded log acts. The names say what is bounded; each bound's behaviour is in the table above.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Groups sequenced but not written; beyond it commits wait for their place.
    pub wal_queue_bytes_max: usize,
    /// One file of the write-ahead log.
    pub wal_file_bytes_max: u64,
    pub wal_bytes_max: u64,
    /// Records in memory before they are sealed; at twice as many commits wait for their place.
    pub tail_bytes_max: usize,
    pub segment_bytes_max: usize,
    pub segment_rows_max: i64,
    /// State changes of one store in the write-ahead log.
    pub snapshot_bytes: u64,
    /// Written since the background work last looked.
    pub background_bytes: u64,
    /// Held back for a full disk.
    pub reserve_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wal_queue_bytes_max: 64 << 20,
            wal_file_bytes_max: 64 << 20,
            wal_bytes_max: 1 << 30,
            tail_bytes_max: 256 << 20,
            segment_bytes_max: 64 << 20,
            segment_rows_max: 4 << 20,
            snapshot_bytes: 16 << 20,
            background_bytes: 8 << 20,
            reserve_bytes: 16 << 20,
        }
    }
}

/// One partition's tail, as far as it is on disk.
#[derive(Debug, Clone)]
pub(super) struct TailFacts {
    pub at: TopicPartition,
    pub bytes: usize,
    pub rows: i64,
    pub oldest: LogPosition,
    /// Retention would not keep its oldest records.
    pub expired: bool,
}

/// Groups up to this position should go, for the log to be as short as it should.
pub(super) fn pressed_until(files: &[(LogPosition, u64)], limits: &Limits) -> LogPosition {
    let mut total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    let mut until = LogPosition(0);
    for (last, bytes) in files {
        if total <= limits.wal_bytes_max {
            break;
        }
        total -= bytes;
        until = *last;
    }
    until
}

/// Partitions to seal now.
pub(super) fn to_seal(mut tails: Vec<TailFacts>, pressed: LogPosition, limits: &Limits) -> Vec<TopicPartition> {
    tails.sort_by_key(|t| (std::cmp::Reverse(t.bytes), t.at));
    let mut total: usize = tails.iter().map(|t| t.bytes).sum();
    let mut sealed = Vec::new();
    for tail in tails {
        let large = tail.bytes >= limits.segment_bytes_max || tail.rows >= limits.segment_rows_max;
        if large || tail.expired || total > limits.tail_bytes_max || tail.oldest <= pressed {
            total -= tail.bytes;
            sealed.push(tail.at);
        }
    }
    sealed
}

/// Stores to snapshot now, of `(store, bytes of changes, oldest change)`.
pub(super) fn to_snapshot(
    stores: Vec<(StoreId, u64, LogPosition)>,
    pressed: LogPosition,
    limits: &Limits,
) -> Vec<StoreId> {
    let due = |(_, bytes, oldest): &(StoreId, u64, LogPosition)| *bytes >= limits.snapshot_bytes || *oldest <= pressed;
    stores.into_iter().filter(due).map(|(store, ..)| store).collect()
}

/// How many of a partition's oldest segments retention forgets, of `(bytes, newest append time)` oldest first.
/// `tail_bytes` is what is kept beside them.
pub(super) fn to_forget(segments: &[(u64, i64)], tail_bytes: u64, topic: &Topic, now_ms: i64) -> usize {
    let mut kept: u64 = tail_bytes + segments.iter().map(|(bytes, _)| bytes).sum::<u64>();
    let mut forgotten = 0;
    for (bytes, newest_ms) in segments {
        let too_old = topic.retention_ms.is_some_and(|ms| *newest_ms < now_ms.saturating_sub(ms));
        // As in Kafka: a segment goes only if what is left still reaches the size asked for.
        let too_much = topic.retention_bytes.is_some_and(|max| kept - bytes >= max);
        if !too_old && !too_much {
            break;
        }
        kept -= bytes;
        forgotten += 1;
    }
    forgotten
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::TopicId;

    fn tail(partition: u32, bytes: usize, oldest: u64) -> TailFacts {
        let at = TopicPartition { topic: TopicId(1), partition };
        TailFacts { at, bytes, rows: 1, oldest: LogPosition(oldest), expired: false }
    }

    fn sealed(tails: Vec<TailFacts>, pressed: u64, limits: &Limits) -> Vec<u32> {
        to_seal(tails, LogPosition(pressed), limits).into_iter().map(|at| at.partition).collect()
    }

    #[test]
    fn large_tails_pressing_tails_and_the_largest_beyond_the_bound_are_sealed() {
        let limits = Limits { segment_bytes_max: 100, tail_bytes_max: 150, ..Limits::default() };
        assert_eq!(sealed(vec![tail(0, 10, 5), tail(1, 100, 5), tail(2, 60, 5)], 0, &limits), [1]);
        assert_eq!(sealed(vec![tail(0, 70, 5), tail(1, 60, 5), tail(2, 50, 5)], 0, &limits), [0]);
        assert_eq!(sealed(vec![tail(0, 10, 5), tail(1, 20, 6)], 5, &limits), [0]);
    }

    #[test]
    fn the_log_is_pressed_until_the_rest_fits() {
        let limits = Limits { wal_bytes_max: 100, ..Limits::default() };
        let files = [(LogPosition(10), 60), (LogPosition(20), 60), (LogPosition(30), 40)];
        assert_eq!(pressed_until(&files, &limits), LogPosition(10));
        assert_eq!(pressed_until(&files[1..], &limits), LogPosition(0));
    }

    #[test]
    fn retention_takes_whole_old_segments_from_the_front() {
        let mut topic = Topic {
            id: TopicId(1),
            name: "T".into(),
            partitions: 1,
            internal: false,
            retention_ms: None,
            retention_bytes: None,
            delete_consumed: false,
        };
        let segments = [(100, 10), (100, 20), (100, 30)];
        assert_eq!(to_forget(&segments, 50, &topic, 1_000_000), 0);
        topic.retention_ms = Some(100);
        assert_eq!(to_forget(&segments, 50, &topic, 121), 2);
        topic.retention_ms = None;
        topic.retention_bytes = Some(200);
        assert_eq!(to_forget(&segments, 50, &topic, 121), 1);
    }
}

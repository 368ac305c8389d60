//! How fast the write-ahead log is, next to the bare disk.
//!
//! | measured | how |
//! |---|---|
//! | small commits | many producers, each committing one row to one of many partitions, waiting for each to be durable |
//! | large commits | one producer committing large typed batches; rounds alternate with appending and syncing the same number of bytes to a plain file, so that both see the same disk |

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray};

use super::disk::{Disk, RealDisk};
use super::{EmbeddedLog, Options};
use crate::clock::{Stopwatch, SystemClock};
use crate::engine::Sync;
use crate::error::{Error, Result};
use crate::log::{Appended, Control, Log, LogBody, ProducerId, ReadLevel, Topic, TopicPartition};
use crate::rows::Rows;

/// What to measure.
#[derive(Debug, Clone, Copy)]
pub struct WalLoad {
    pub partitions: u32,
    pub producers: usize,
    /// Single-row commits of each producer.
    pub commits: usize,
    /// Rows of each large batch.
    pub rows: usize,
    /// Rounds of the comparison with the bare disk.
    pub rounds: usize,
    /// Large commits in each round, one wait for all.
    pub commits_per_round: usize,
}

impl Default for WalLoad {
    fn default() -> Self {
        Self { partitions: 64, producers: 64, commits: 200, rows: 8192, rounds: 20, commits_per_round: 8 }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct WalFigures {
    pub small_groups_per_s: f64,
    pub small_mb_per_s: f64,
    pub small_commit_p50: Duration,
    pub small_commit_p99: Duration,
    /// One append of a few bytes and fdatasync to a plain file.
    pub bare_sync_p50: Duration,
    pub large_mb_per_s: f64,
    pub bare_mb_per_s: f64,
}

impl WalFigures {
    /// Throughput of large commits as a share of what the disk does with the same bytes.
    pub fn share_of_bare(&self) -> f64 {
        self.large_mb_per_s / self.bare_mb_per_s
    }
}

/// Runs the load in `directory`, which must not hold anything else.
pub fn measure_wal(directory: &Path, load: WalLoad) -> Result<WalFigures> {
    let log = EmbeddedLog::open(Options::new(directory.join("log"), Sync::Always, Arc::new(SystemClock)))?;
    let topic = Topic {
        id: log.next_topic_id(),
        name: "MEASURE".into(),
        partitions: load.partitions,
        internal: false,
        retention_ms: None,
        retention_bytes: None,
        delete_consumed: false,
    };
    let mut producer = log.producer(&ProducerId("measure".into()))?;
    let mut transaction = producer.begin()?;
    transaction.control(Control::CreateTopic(topic.clone()));
    transaction.commit(ReadLevel::Durable, None)?.wait()?;

    let bytes_before = log.stored_bytes();
    let all = Stopwatch::start();
    let mut waits = small_commits(&log, &topic, load)?;
    let small_s = all.elapsed().as_secs_f64();
    let small_bytes = log.stored_bytes() - bytes_before;
    waits.sort_unstable();

    let disk = RealDisk;
    let mut bare = disk.create(&directory.join("bare"))?;
    let mut bare_waits = Vec::new();
    for _ in 0..load.commits.clamp(1, 200) {
        let one = Stopwatch::start();
        bare.append(&[7; 200])?;
        bare.sync()?;
        bare_waits.push(one.elapsed());
    }
    bare_waits.sort_unstable();

    let body = large_body(load.rows)?;
    let (mut log_s, mut bare_s, mut large_bytes) = (0.0, 0.0, 0);
    for round in 0..load.rounds {
        let before = log.stored_bytes();
        let watch = Stopwatch::start();
        let mut last = None;
        for commit in 0..load.commits_per_round {
            let mut transaction = producer.begin()?;
            let to = topic.partition(((round * load.commits_per_round + commit) as u32) % load.partitions);
            append(transaction.as_mut(), to, body.clone())?;
            last = Some(transaction.commit(ReadLevel::Durable, None)?);
        }
        if let Some(commit) = last {
            commit.wait()?;
        }
        log_s += watch.elapsed().as_secs_f64();
        // Segments move in the background; the bytes written are those of the batches.
        let written = log.stored_bytes().saturating_sub(before).max(1);
        let piece = vec![round as u8; (written as usize / load.commits_per_round.max(1)).max(1)];
        let watch = Stopwatch::start();
        for _ in 0..load.commits_per_round {
            bare.append(&piece)?;
        }
        bare.sync()?;
        bare_s += watch.elapsed().as_secs_f64();
        large_bytes += piece.len() * load.commits_per_round;
    }
    log.close()?;
    let middle = |sorted: &[Duration], part: f64| {
        let at = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
        sorted.get(at).copied().unwrap_or_default()
    };
    let mb = |bytes: f64| bytes / 1e6;
    Ok(WalFigures {
        small_groups_per_s: waits.len() as f64 / small_s,
        small_mb_per_s: mb(small_bytes as f64) / small_s,
        small_commit_p50: middle(&waits, 0.5),
        small_commit_p99: middle(&waits, 0.99),
        bare_sync_p50: middle(&bare_waits, 0.5),
        large_mb_per_s: mb(large_bytes as f64) / log_s,
        bare_mb_per_s: mb(large_bytes as f64) / bare_s,
    })
}

/// How long each commit took.
fn small_commits(log: &EmbeddedLog, topic: &Topic, load: WalLoad) -> Result<Vec<Duration>> {
    let body = large_body(1)?;
    let one = |number: usize| -> Result<Vec<Duration>> {
        let mut producer = log.producer(&ProducerId(format!("measure {number}")))?;
        let to = topic.partition(number as u32 % load.partitions);
        let mut waits = Vec::with_capacity(load.commits);
        for _ in 0..load.commits {
            let watch = Stopwatch::start();
            let mut transaction = producer.begin()?;
            append(transaction.as_mut(), to, body.clone())?;
            transaction.commit(ReadLevel::Durable, None)?.wait()?;
            waits.push(watch.elapsed());
        }
        Ok(waits)
    };
    let one = &one;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..load.producers).map(|number| scope.spawn(move || one(number))).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| Error::internal("a producer panicked"))??);
        }
        Ok(all)
    })
}

fn append(transaction: &mut dyn crate::log::Transaction, to: TopicPartition, body: LogBody) -> Result<()> {
    match transaction.append(&to, body)? {
        Appended::Done => Ok(()),
        Appended::Full(_) => Err(Error::limit("the batches to measure with are larger than a group")),
    }
}

/// Rows of some 60 bytes: a key, a name, two numbers.
fn large_body(rows: usize) -> Result<LogBody> {
    let numbers = || 0..rows as i64;
    let columns = RecordBatch::try_from_iter_with_nullable(vec![
        ("ID", Arc::new(Int64Array::from_iter_values(numbers())) as _, true),
        (
            "NAME",
            Arc::new(StringArray::from_iter_values(numbers().map(|i| format!("customer number {i:08}")))) as _,
            true,
        ),
        ("AMOUNT", Arc::new(Float64Array::from_iter_values(numbers().map(|i| i as f64 / 3.0))) as _, true),
        ("QUANTITY", Arc::new(Int64Array::from_iter_values(numbers().map(|i| i % 17))) as _, true),
    ])?;
    Ok(LogBody::Typed { rows: Rows::append(columns, Int64Array::from_iter_values(numbers())), fingerprint: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_load_gives_figures() {
        let directory = tempfile::tempdir().unwrap();
        let load = WalLoad { partitions: 4, producers: 4, commits: 20, rows: 100, rounds: 2, commits_per_round: 2 };
        let figures = measure_wal(directory.path(), load).unwrap();
        assert!(figures.small_groups_per_s > 0.0 && figures.share_of_bare() > 0.0, "{figures:?}");
    }
}

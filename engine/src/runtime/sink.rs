//! Rows → the topic of a sink, or the next stage's topic.
//!
//! What enters: rows as the plan's last step makes them. What leaves: canonical typed batches, one per partition, in
//! order. The partition of a row is murmur2 of its serialised key, as Java producers choose it; rows without a key stay in
//! the partition they came from.

use std::sync::Arc;

use arrow::array::{Array, BinaryArray, BooleanArray, UInt32Array};

use super::scan::TimestampExtractor;
use super::typed::TypedCodec;
use crate::error::{Error, Result, RowError};
use crate::format::FormatRef;
use crate::log::{Appended, LogBody, Topic, Transaction, partitioner};
use crate::rows::{Change, Rows};

/// Fingerprint of batches in internal topics: only the next stage of the same plan reads them, always typed.
pub const INTERNAL_FINGERPRINT: u64 = 0;

/// Where rows of a persistent query go.
pub struct SinkWriter {
    pub codec: Arc<TypedCodec>,
    pub topic: Topic,
    pub timestamp: Option<TimestampExtractor>,
}

/// Rows that could not be written, by reason.
#[derive(Default)]
pub struct Unwritten {
    pub errors: Vec<(RowError, i64)>,
}

impl SinkWriter {
    /// Appends rows; returns how many were written. `partition` is where the task reads.
    pub fn write(
        &self,
        mut rows: Rows,
        partition: u32,
        transaction: &mut dyn Transaction,
        unwritten: &mut Unwritten,
    ) -> Result<usize> {
        if let Some(extractor) = &self.timestamp {
            let (time, errors) = extractor.extract(&rows.columns)?;
            let errors: Vec<_> = errors.into_iter().filter(|e| !rows.is_null_value(e.row)).collect();
            if extractor.throw_on_invalid
                && let Some(error) = errors.first()
            {
                return Err(Error::statement(format!(
                    "Fatal user code error in TimestampExtractor callback: {}",
                    error.message
                )));
            }
            rows.time = (0..rows.len())
                .map(|i| if time.is_null(i) { rows.time.value(i) } else { time.value(i) })
                .collect::<Vec<_>>()
                .into();
            rows = leave_out(rows, errors, unwritten)?;
        }
        let (mut rows, errors) = self.codec.canonicalise(rows)?;
        rows.change = match rows.change {
            Change::Append => Change::Append,
            Change::Upsert { .. } => Change::Upsert { old: None },
        };
        let rows = leave_out(rows, errors, unwritten)?;
        let written = rows.len();
        let partitions = self.topic.partitions;
        let keys = if partitions == 1 { None } else { Some(self.codec.encode_plain_keys(&rows)?) };
        for (to, rows) in split(rows, keys.as_ref(), partitions, partition)? {
            append(transaction, &self.topic, to, LogBody::Typed { rows, fingerprint: self.codec.fingerprint })?;
        }
        Ok(written)
    }
}

/// Where rows go that the next stage reads.
pub struct RepartitionWriter {
    pub topic: Topic,
    pub key: FormatRef,
    pub key_columns: usize,
}

impl RepartitionWriter {
    pub fn write(&self, rows: Rows, partition: u32, transaction: &mut dyn Transaction) -> Result<()> {
        let encoded = self.key.encode(&rows.columns.columns()[..self.key_columns], rows.null_key.as_ref())?;
        for (to, rows) in split(rows, Some(&encoded.bytes), self.topic.partitions, partition)? {
            append(transaction, &self.topic, to, LogBody::Typed { rows, fingerprint: INTERNAL_FINGERPRINT })?;
        }
        Ok(())
    }
}

pub fn append(transaction: &mut dyn Transaction, topic: &Topic, partition: u32, body: LogBody) -> Result<()> {
    match transaction.append(&topic.partition(partition), body)? {
        Appended::Done => Ok(()),
        Appended::Full(_) => Err(Error::limit(format!(
            "one run of rows makes more output for topic {} than one group may hold",
            topic.name
        ))),
    }
}

fn leave_out(rows: Rows, errors: Vec<RowError>, unwritten: &mut Unwritten) -> Result<Rows> {
    if errors.is_empty() {
        return Ok(rows);
    }
    let mut keep = vec![true; rows.len()];
    for error in errors {
        keep[error.row] = false;
        let time = rows.time.value(error.row);
        unwritten.errors.push((error, time));
    }
    rows.filter(&BooleanArray::from(keep))
}

/// Rows by partition, each in order; partitions ascending.
pub fn split(rows: Rows, keys: Option<&BinaryArray>, partitions: u32, home: u32) -> Result<Vec<(u32, Rows)>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let home = home % partitions.max(1);
    let Some(keys) = keys.filter(|_| partitions > 1) else {
        return Ok(vec![(home, rows)]);
    };
    let targets: Vec<u32> = (0..keys.len())
        .map(|i| if keys.is_null(i) { home } else { partitioner::partition_of(keys.value(i), partitions) })
        .collect();
    if targets.iter().all(|t| *t == targets[0]) {
        return Ok(vec![(targets[0], rows)]);
    }
    let mut indices: Vec<Vec<u32>> = vec![Vec::new(); partitions as usize];
    for (row, target) in targets.iter().enumerate() {
        indices[*target as usize].push(row as u32);
    }
    indices
        .into_iter()
        .enumerate()
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(partition, indices)| Ok((partition as u32, rows.take(&UInt32Array::from(indices))?)))
        .collect()
}

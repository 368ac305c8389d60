//! Rows at the door: made canonical, split into partitions, written beside what was refused.
//!
//! What enters: a run of rows of a source's own columns, one per record that a client sent, with the reasons against some
//! of them. What leaves: canonical batches and, for refused records, rows of `<SOURCE>$REJECTED`, all in one transaction.
//!
//! ```text
//! record 0  {"ID": 1, "V": 7}        → S: ID 1, V 7
//! record 1  {"ID": 2, "V": "x"}      → S$REJECTED: RAW {"ID": 2, "V": "x"}, ERROR cannot read "x" as INTEGER
//! record 2  {"V": 3} into a table    → S$REJECTED: ERROR the primary key is missing
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, UInt32Array};
use arrow::buffer::BooleanBuffer;

use crate::catalog::Source;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::log::{LogBody, Topic, Transaction};
use crate::rows::{Change, Rows};
use crate::runtime::rejects::{RejectedAt, rejected_name, rejected_rows, rejected_schema, system_source};
use crate::runtime::scan::Rejected;
use crate::runtime::sink::{append, split};
use crate::runtime::typed::{TypedCodec, TypedSchema};

/// The way into one source.
pub(super) struct Door {
    source: Source,
    topic: Topic,
    codec: Arc<TypedCodec>,
    /// Topic and fingerprint of `<SOURCE>$REJECTED`, if there is one.
    rejected: Option<(Topic, u64)>,
    /// Who writes, as the rejected log names it.
    writer: &'static str,
    next_partition: u32,
}

/// What was sent, one row per record, good or not.
pub(super) struct Run<'a> {
    pub rows: Rows,
    /// Reasons against records, by number; only the first of a record counts.
    pub refused: Vec<(usize, String)>,
    pub record: &'a dyn Fn(usize) -> Record,
}

/// A record as it came.
pub(super) struct Record {
    /// Line of the file, where there is one.
    pub line: Option<u64>,
    pub raw: Option<Vec<u8>>,
}

/// Canonical rows, and what was refused with the record's number.
pub(super) struct Admitted {
    pub rows: Rows,
    pub refused: Vec<(usize, Record, String)>,
}

impl Door {
    pub fn new(engine: &Engine, source: &Source, writer: &'static str, first_partition: u32) -> Result<Self> {
        let log = engine.log();
        let topic = log
            .topic(&source.topic)
            .ok_or_else(|| Error::not_found(format!("topic {} of {} does not exist", source.topic, source.name)))?;
        let (codec, _) = engine.inner.typed.add(&TypedSchema::of_source(source))?;
        let name = rejected_name(&source.name);
        let rejected = match log.topic(&name) {
            Some(topic) => {
                let fingerprint = TypedSchema::of_source(&system_source(&name, rejected_schema())).fingerprint()?;
                Some((topic, fingerprint))
            }
            None => None,
        };
        Ok(Self { source: source.clone(), topic, codec, rejected, writer, next_partition: first_partition })
    }

    /// Decides which records are taken.
    pub fn admit(&self, run: Run<'_>) -> Result<Admitted> {
        let Run { mut rows, refused, record } = run;
        let mut reasons: BTreeMap<usize, String> = BTreeMap::new();
        for (row, reason) in refused {
            reasons.entry(row).or_insert(reason);
        }
        if self.source.is_table() {
            rows.change = Change::Upsert { old: None };
            for row in rows.null_key.take().iter().flat_map(BooleanBuffer::set_indices) {
                reasons.entry(row).or_insert_with(|| {
                    let names: Vec<&str> = self.source.schema.key.iter().map(|c| c.name.as_str()).collect();
                    format!("the primary key {} is missing", names.join(", "))
                });
            }
        }
        // Numbers of the rows that are left, as what is canonical may say no once more.
        let mut numbers: Vec<usize> = (0..rows.len()).collect();
        if !reasons.is_empty() {
            rows = rows.filter(&numbers.iter().map(|row| Some(!reasons.contains_key(row))).collect())?;
            numbers.retain(|row| !reasons.contains_key(row));
        }
        let (mut rows, errors) = self.codec.canonicalise(rows)?;
        if !errors.is_empty() {
            let mut keep = vec![true; rows.len()];
            for error in errors {
                keep[error.row] = false;
                reasons.entry(numbers[error.row]).or_insert(error.message);
            }
            rows = rows.filter(&BooleanArray::from(keep))?;
        }
        rows.headers = None;
        Ok(Admitted { rows, refused: reasons.into_iter().map(|(row, reason)| (row, record(row), reason)).collect() })
    }

    /// Appends what was admitted, and to the rejected log what was not.
    pub fn append(&mut self, admitted: Admitted, spread: Spread, now_ms: i64, to: &mut dyn Transaction) -> Result<()> {
        let Admitted { rows, refused } = admitted;
        for (partition, rows) in self.partitions_of(rows, spread)? {
            let body = LogBody::Typed { rows, fingerprint: self.codec.fingerprint };
            append(to, &self.topic, partition, body)?;
        }
        let Some((topic, fingerprint)) = self.rejected.as_ref().filter(|_| !refused.is_empty()) else { return Ok(()) };
        let refused: Vec<(Option<u64>, Rejected)> = refused
            .into_iter()
            .map(|(_, record, reason)| (record.line, Rejected { offset: 0, raw: record.raw, reason }))
            .collect();
        let records: Vec<RejectedAt<'_>> = refused
            .iter()
            .map(|(line, record)| RejectedAt {
                query: self.writer,
                source: &self.source.name,
                at: None,
                line: line.map(|line| line as i64),
                record,
            })
            .collect();
        let rows = rejected_rows(&records, now_ms)?;
        append(to, topic, 0, LogBody::Typed { rows, fingerprint: *fingerprint })
    }

    fn partitions_of(&mut self, rows: Rows, spread: Spread) -> Result<Vec<(u32, Rows)>> {
        let partitions = self.topic.partitions.max(1);
        if partitions == 1 {
            return split(rows, None, 1, 0);
        }
        let keys = if self.source.schema.key.is_empty() { None } else { Some(self.codec.encode_keys(&rows)?) };
        let keyless = keys.as_ref().is_none_or(|keys| keys.null_count() == keys.len());
        let home = self.next_partition % partitions;
        if keyless && spread == Spread::Rows {
            return round_robin(&rows, partitions, home);
        }
        self.next_partition = (home + 1) % partitions;
        split(rows, keys.as_ref(), partitions, home)
    }
}

/// Where rows without a key go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spread {
    /// One after the other to the next partition.
    Rows,
    /// A run to one partition, the next run to the next: large runs stay large.
    Runs,
}

fn round_robin(rows: &Rows, partitions: u32, first: u32) -> Result<Vec<(u32, Rows)>> {
    (0..partitions)
        .map(|slot| {
            let indices: UInt32Array =
                (slot..rows.len() as u32).step_by(partitions as usize).collect::<Vec<_>>().into();
            Ok(((first + slot) % partitions, rows.take(&indices)?))
        })
        .filter(|part| part.as_ref().map_or(true, |(_, rows)| !rows.is_empty()))
        .collect()
}

//! One partition that a task reads: a reader, a scanner, and the rows at hand.
//!
//! ```text
//! log ─► reader ─► scanner ─► head (rows decoded, not consumed yet) ─► take(n)
//!            committed ≤ next ≤ offset after the head
//! ```
//!
//! `next` is the first record that no run has taken, `committed` the first that no group has recorded as consumed. A
//! record that could not be read is due once everything before it has been taken.

use super::scan::{Rejected, Scanner};
use super::task::RUN_ROWS_MAX;
use crate::error::{Error, Result};
use crate::log::{LogBody, Offset, PartitionReader, ReadLimit, TopicPartition};
use crate::ops::InputId;
use crate::rows::Rows;

pub struct Input {
    pub stage: usize,
    pub input: InputId,
    pub at: TopicPartition,
    pub topic: String,
    pub source: String,
    pub reader: Box<dyn PartitionReader>,
    /// None: rows of an earlier stage, as they are.
    pub scanner: Option<Scanner>,
    head: Option<Head>,
    /// First offset not taken yet.
    next: Offset,
    /// First offset that no group has recorded as consumed.
    committed: Offset,
    /// Step mode: how far it may read; None = no limit.
    released: Option<Offset>,
    rejected: Vec<Rejected>,
}

struct Head {
    rows: Rows,
    offsets: Option<Vec<Offset>>,
    base: Offset,
    /// Offset after the last record of the batch.
    end: Offset,
}

impl Input {
    pub fn new(
        stage: usize,
        input: InputId,
        at: TopicPartition,
        names: (String, String),
        mut reader: Box<dyn PartitionReader>,
        scanner: Option<Scanner>,
        step: bool,
    ) -> Self {
        let next = reader.next_offset();
        let released = (step && scanner.is_some()).then_some(next);
        if let Some(scanner) = &scanner {
            reader.narrow(scanner.wanted());
        }
        let (topic, source) = names;
        Self {
            stage,
            input,
            at,
            topic,
            source,
            reader,
            scanner,
            head: None,
            next,
            committed: next,
            released,
            rejected: Vec::new(),
        }
    }

    pub fn next(&self) -> Offset {
        self.next
    }

    pub fn committed(&self) -> Offset {
        self.committed
    }

    /// Everything taken is in a group now.
    pub fn commit(&mut self) {
        self.committed = self.next;
    }

    /// Takes nothing more from its source, beyond what it holds already.
    pub fn hold(&mut self) {
        if self.scanner.is_some() && self.released.is_none() {
            self.released = Some(self.reader.next_offset());
        }
    }

    /// Reads without limit again.
    pub fn resume(&mut self) {
        self.released = None;
    }

    /// Step mode: allows `records` more.
    pub fn release(&mut self, records: usize) {
        if let Some(released) = &mut self.released {
            *released += records as i64;
        }
    }

    /// The rows at hand; none when the reader has nothing. They may be empty: all records of the batch were rejected.
    pub fn head(&self) -> Option<&Rows> {
        self.head.as_ref().map(|head| &head.rows)
    }

    /// Reads and decodes the next batch unless there are rows at hand.
    pub fn fill(&mut self) -> Result<()> {
        if self.head.is_some() {
            return Ok(());
        }
        let rows_max = match self.released {
            Some(released) => ((released - self.reader.next_offset()).max(0) as usize).min(RUN_ROWS_MAX),
            None => RUN_ROWS_MAX,
        };
        if rows_max == 0 {
            return Ok(());
        }
        let Some(batch) = self.reader.take(ReadLimit { rows_max })? else {
            return Ok(());
        };
        let end = batch.base_offset + batch.body.len() as i64;
        let (rows, offsets) = match &self.scanner {
            Some(scanner) => {
                let scanned = scanner.scan(&batch, self.at.partition)?;
                self.rejected.extend(scanned.rejected);
                (scanned.rows, scanned.offsets)
            }
            None => match &batch.body {
                LogBody::Typed { rows, .. } => (rows.clone(), None),
                LogBody::Encoded(_) => return Err(Error::internal("an internal topic holds encoded records")),
            },
        };
        self.head = Some(Head { rows, offsets, base: batch.base_offset, end });
        Ok(())
    }

    /// Takes the first `len` rows of the head.
    pub fn take(&mut self, len: usize) -> Option<Rows> {
        let head = self.head.as_mut()?;
        let len = len.min(head.rows.len());
        let rows = head.rows.slice(0, len);
        if len == head.rows.len() {
            self.next = head.end;
            self.head = None;
        } else {
            head.rows = head.rows.slice(len, head.rows.len() - len);
            match &mut head.offsets {
                Some(offsets) => {
                    offsets.drain(..len);
                    self.next = offsets[0];
                }
                None => {
                    head.base += len as i64;
                    self.next = head.base;
                }
            }
        }
        Some(rows)
    }

    /// Rejected records that lie before what has been taken: each is given once.
    pub fn take_rejected(&mut self) -> Vec<Rejected> {
        let due = self.rejected.partition_point(|record| record.offset < self.next);
        self.rejected.drain(..due).collect()
    }
}

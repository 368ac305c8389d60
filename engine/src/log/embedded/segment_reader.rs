//! Reading a sealed segment: only the columns somebody wants, and each checked once.
//!
//! What enters: a segment, and which of its records' columns are wanted. What leaves: batches that point into the mapped
//! file. Columns nobody wants are all null and cost nothing: their bytes are neither checked nor touched.
//!
//! ```text
//! file      AUCTION | PRICE | URL   | $time | $offset
//! wanted    AUCTION | PRICE |       | $time
//! batch     AUCTION | PRICE | nulls   (as Rows, with their times)
//! ```
//!
//! A column's bytes are compared with their checksum when somebody in this process first wants them.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, NullArray};
use arrow::buffer::Buffer;
use arrow::datatypes::{Int64Type, Schema};
use arrow::ipc::reader::FileDecoder;
use arrow::ipc::{Block, MetadataVersion};

use super::segment::{IndexEntry, Mapped, Segment, column_ranges, damaged, message_bytes};
use crate::error::{Error, Result};
use crate::log::wire::flat::{Layout, Unflatten};
use crate::log::{LogBatch, Offset, Wanted};

#[derive(Debug)]
pub(crate) struct SegmentReader {
    segment: Arc<Segment>,
    mapped: Arc<Mapped>,
    decoder: FileDecoder,
    unflatten: Unflatten,
    /// Columns of the file that are read, ascending.
    read: Vec<usize>,
    /// Columns of the file whose checksums must be right.
    checked: Vec<usize>,
}

impl SegmentReader {
    /// `wanted`: None, or another fingerprint than the segment's, is everything.
    pub fn new(segment: &Arc<Segment>, wanted: Option<&Wanted>) -> Result<SegmentReader> {
        let mapped = segment.mapped()?;
        let layout = Layout::from_schema(&mapped.schema)?;
        // The last column holds the offsets, which the index tells, too.
        let all = mapped.schema.fields().len() - 1;
        let (read, checked): (Vec<usize>, Vec<usize>) = match wanted {
            Some(wanted) if !layout.encoded && !layout.old && wanted.fingerprint == layout.fingerprint => {
                let read = wanted.columns.iter().copied().chain(layout.columns..all);
                let read: Vec<usize> = read.collect();
                (read.clone(), read)
            }
            _ => ((0..all).collect(), (0..=all).collect()),
        };
        Self::with_columns(segment, mapped, read, checked)
    }

    /// A reader for [`Self::times`].
    pub fn of_times(segment: &Arc<Segment>) -> Result<SegmentReader> {
        let mapped = segment.mapped()?;
        let time = mapped.schema.index_of("$time")?;
        Self::with_columns(segment, mapped, vec![time], vec![time])
    }

    fn with_columns(
        segment: &Arc<Segment>,
        mapped: Arc<Mapped>,
        read: Vec<usize>,
        checked: Vec<usize>,
    ) -> Result<SegmentReader> {
        let decoder = FileDecoder::new(mapped.schema.clone(), MetadataVersion::V5).with_projection(read.clone());
        let unflatten = Unflatten::new(&narrowed(&mapped.schema, &read))?;
        Ok(SegmentReader { segment: segment.clone(), mapped, decoder, unflatten, read, checked })
    }

    pub fn is_of(&self, segment: &Arc<Segment>) -> bool {
        Arc::ptr_eq(&self.segment, segment)
    }

    /// The batch that holds `offset`.
    pub fn batch_at(&self, offset: Offset) -> Result<Arc<LogBatch>> {
        let batches = &self.segment.index.batches;
        let number = batches.partition_point(|b| b.base_offset + b.rows as i64 <= offset);
        let entry = self.entry(number)?;
        let arrays = self.arrays(number, entry)?;
        let all = self.mapped.schema.fields().len() - 1;
        let mut next = 0;
        let columns = (0..all).map(|column| -> ArrayRef {
            if self.read.get(next) == Some(&column) {
                next += 1;
                arrays[next - 1].clone()
            } else {
                Arc::new(NullArray::new(entry.rows))
            }
        });
        let body = self.unflatten.body(&columns.collect::<Vec<_>>(), entry.rows)?;
        Ok(Arc::new(LogBatch { base_offset: entry.base_offset, append_time_ms: entry.append_time_ms, body }))
    }

    /// Times of a batch's records.
    pub fn times(&self, number: usize) -> Result<Int64Array> {
        let arrays = self.arrays(number, self.entry(number)?)?;
        let times = arrays.first().and_then(|array| array.as_primitive_opt::<Int64Type>());
        times.cloned().ok_or_else(|| Error::internal("a segment's times are 64-bit numbers"))
    }

    fn entry(&self, number: usize) -> Result<&IndexEntry> {
        let entry = self.segment.index.batches.get(number);
        entry.ok_or_else(|| Error::internal("offset is outside of its segment"))
    }

    /// The columns that are read.
    fn arrays(&self, number: usize, entry: &IndexEntry) -> Result<Vec<ArrayRef>> {
        let bad = |what| damaged(self.segment.path(), what, entry.at);
        let start = usize::try_from(entry.at).map_err(|_| bad("its index"))?;
        if start.saturating_add(entry.bytes) > self.mapped.bytes.len() {
            return Err(bad("its length"));
        }
        let block = self.mapped.bytes.slice_with_length(start, entry.bytes);
        self.check(number, entry, &block)?;
        let message = message_bytes(&block).ok_or_else(|| bad("a batch"))?;
        let place = Block::new(entry.at as i64, message as i32, (entry.bytes - message) as i64);
        let batch = self.decoder.read_record_batch(&place, &block)?.ok_or_else(|| bad("a batch"))?;
        if batch.num_rows() != entry.rows {
            return Err(bad("a batch"));
        }
        Ok(batch.columns().to_vec())
    }

    /// Compares what is wanted and was not compared before.
    fn check(&self, number: usize, entry: &IndexEntry, block: &Buffer) -> Result<()> {
        let fails = |what| Err(damaged(self.segment.path(), what, entry.at));
        let mut checked = self.segment.checked[number].lock();
        checked.resize(1 + entry.columns.len(), false);
        if !checked[0] {
            let covered = match message_bytes(block) {
                Some(message) if !entry.columns.is_empty() => &block[..message],
                _ => block,
            };
            if crc32c::crc32c(covered) != entry.crc {
                return fails("a batch");
            }
            checked[0] = true;
        }
        if entry.columns.is_empty() || self.checked.iter().all(|column| checked.get(1 + column) == Some(&true)) {
            return Ok(());
        }
        let Some(ranges) = column_ranges(block, &self.mapped.schema).filter(|r| r.len() == entry.columns.len()) else {
            return fails("a batch");
        };
        for &column in &self.checked {
            if !checked[1 + column] {
                if crc32c::crc32c(&block[ranges[column].clone()]) != entry.columns[column] {
                    return fails("a column");
                }
                checked[1 + column] = true;
            }
        }
        Ok(())
    }
}

/// The file's schema as batches show it: what is not read is of type Null.
fn narrowed(schema: &Schema, read: &[usize]) -> Schema {
    let fields = schema.fields().iter().enumerate().map(|(column, field)| {
        if read.contains(&column) {
            field.clone()
        } else {
            Arc::new(field.as_ref().clone().with_data_type(arrow::datatypes::DataType::Null).with_nullable(true))
        }
    });
    Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone())
}

//! Rows kept by slot as columns: the last value of each key, fetched back without decoding.
//!
//! Rows stay in the batches they came in (copied out of their run); a slot knows its batch and row.
//!
//! ```text
//! slot 0 → (chunk 0, row 1)      chunk 0: [a1 b1]     put(0, a2), put(1, b2) make chunk 1: [a2 b2]
//! slot 1 → (chunk 0, row 0)
//! ```
//!
//! Neighbouring chunks are merged, live rows only, whenever the later one is not much smaller, so that there are
//! logarithmically many, single rows too cost little, and dead rows are at most about half.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::kernels::fixed_bytes;
use crate::rows::batch_of;

/// Chunks are not merged beyond this many rows, so that one merge stays short.
const CHUNK_ROWS_MAX: usize = 1 << 16;

pub struct RowStore {
    schema: SchemaRef,
    chunks: Vec<Option<Chunk>>,
    /// Chunks in order of age; the last is the youngest.
    order: Vec<u32>,
    places: Vec<Option<(u32, u32)>>,
    len: usize,
    /// Of all chunks.
    chunk_bytes: usize,
}

struct Chunk {
    batch: RecordBatch,
    /// Slot each row was put for; the row is live while the slot still points to it.
    slots: Vec<u32>,
    live: usize,
    bytes: usize,
}

impl Chunk {
    fn new(batch: RecordBatch, slots: Vec<u32>) -> Self {
        let bytes = batch.get_array_memory_size() + fixed_bytes(&slots);
        Self { batch, live: slots.len(), slots, bytes }
    }
}

impl RowStore {
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema, chunks: Vec::new(), order: Vec::new(), places: Vec::new(), len: 0, chunk_bytes: 0 }
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn bytes(&self) -> usize {
        self.chunk_bytes + fixed_bytes(&self.places)
    }

    pub fn contains(&self, slot: u32) -> bool {
        matches!(self.places.get(slot as usize), Some(Some(_)))
    }

    /// Stores row `i` of `batch` for `slots[i]`; a slot occurs once. The batch must not pin a larger one.
    pub fn put(&mut self, slots: &[u32], batch: RecordBatch) -> Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        let number = match self.chunks.iter().position(Option::is_none) {
            Some(number) => number,
            None => {
                self.chunks.push(None);
                self.chunks.len() - 1
            }
        };
        for (row, &slot) in slots.iter().enumerate() {
            self.remove(slot);
            if self.places.len() <= slot as usize {
                self.places.resize(slot as usize + 1, None);
            }
            self.places[slot as usize] = Some((number as u32, row as u32));
        }
        self.len += slots.len();
        self.set_chunk(number, Some(Chunk::new(batch, slots.to_vec())));
        self.order.push(number as u32);
        self.merge_young()
    }

    pub fn remove(&mut self, slot: u32) {
        let Some(place) = self.places.get_mut(slot as usize) else { return };
        if let Some((chunk, _)) = place.take() {
            self.len -= 1;
            if let Some(chunk) = &mut self.chunks[chunk as usize] {
                chunk.live -= 1;
            }
        }
    }

    /// One row per entry: the stored row of the slot, or row `i` of `run` for `Source::Run(i)`, or nulls.
    pub fn gather(&self, sources: &[Source], run: Option<&RecordBatch>) -> Result<RecordBatch> {
        let live: Vec<&Chunk> = self.order.iter().filter_map(|&n| self.chunks[n as usize].as_ref()).collect();
        // Sources of interleave: 0 one null row, 1 the run (or nothing), then the chunks.
        let mut number = vec![0usize; self.chunks.len()];
        for (position, &chunk) in self.order.iter().enumerate() {
            number[chunk as usize] = position + 2;
        }
        let picks: Vec<(usize, usize)> = sources
            .iter()
            .map(|source| match source {
                Source::Nothing => (0, 0),
                Source::Run(row) => (1, *row as usize),
                Source::Slot(slot) => match self.places.get(*slot as usize) {
                    Some(Some((chunk, row))) => (number[*chunk as usize], *row as usize),
                    _ => (0, 0),
                },
            })
            .collect();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for (i, field) in self.schema.fields().iter().enumerate() {
            let null = new_null_array(field.data_type(), 1);
            let mut arrays: Vec<&dyn arrow::array::Array> = Vec::with_capacity(live.len() + 2);
            arrays.push(&null);
            match run {
                Some(run) => arrays.push(run.column(i)),
                None => arrays.push(&null),
            }
            arrays.extend(live.iter().map(|chunk| chunk.batch.column(i) as &dyn arrow::array::Array));
            columns.push(interleave(&arrays, &picks)?);
        }
        batch_of(Arc::clone(&self.schema), columns, sources.len())
    }

    /// Stored slots, ascending.
    pub fn slots(&self) -> Vec<u32> {
        (0..self.places.len() as u32).filter(|&slot| self.contains(slot)).collect()
    }

    fn set_chunk(&mut self, number: usize, chunk: Option<Chunk>) {
        self.chunk_bytes += chunk.as_ref().map_or(0, |c| c.bytes);
        self.chunk_bytes -= std::mem::replace(&mut self.chunks[number], chunk).map_or(0, |c| c.bytes);
    }

    fn merge_young(&mut self) -> Result<()> {
        // A chunk without live rows goes at once.
        let dead = |n: &u32| self.chunks[*n as usize].as_ref().is_none_or(|c| c.live == 0);
        let (gone, kept): (Vec<u32>, Vec<u32>) = self.order.iter().copied().partition(dead);
        self.order = kept;
        for number in gone {
            self.set_chunk(number as usize, None);
        }
        while let [.., older, younger] = self.order[..] {
            let (Some(a), Some(b)) = (&self.chunks[older as usize], &self.chunks[younger as usize]) else { break };
            let small = a.live + b.live <= CHUNK_ROWS_MAX && a.live <= 2 * b.live;
            if !small {
                break;
            }
            self.merge(self.order.len() - 2, 2)?;
        }
        // Chunks too large to be merged are rewritten alone once half of them is dead.
        let wasted = self.order.iter().position(|&n| {
            self.chunks[n as usize].as_ref().is_some_and(|c| c.slots.len() > 1024 && c.live * 2 < c.slots.len())
        });
        match wasted {
            Some(position) => self.merge(position, 1),
            None => Ok(()),
        }
    }

    /// Replaces `count` neighbouring chunks by one of their live rows.
    fn merge(&mut self, position: usize, count: usize) -> Result<()> {
        let numbers: Vec<u32> = self.order[position..position + count].to_vec();
        let mut slots = Vec::new();
        for &number in &numbers {
            let Some(chunk) = &self.chunks[number as usize] else { continue };
            for (row, &slot) in chunk.slots.iter().enumerate() {
                if self.places[slot as usize] == Some((number, row as u32)) {
                    slots.push(slot);
                }
            }
        }
        let batch = self.gather(&slots.iter().map(|&s| Source::Slot(s)).collect::<Vec<_>>(), None)?;
        for (row, &slot) in slots.iter().enumerate() {
            self.places[slot as usize] = Some((numbers[0], row as u32));
        }
        for &number in &numbers[1..] {
            self.set_chunk(number as usize, None);
        }
        self.set_chunk(numbers[0] as usize, Some(Chunk::new(batch, slots)));
        self.order.drain(position + 1..position + count);
        Ok(())
    }
}

/// Where a gathered row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Nothing,
    /// A row of the run at hand.
    Run(u32),
    /// What is stored for a slot.
    Slot(u32),
}

/// A copy of some rows of a batch that pins nothing larger.
pub fn copy_rows(batch: &RecordBatch, rows: &[u32]) -> Result<RecordBatch> {
    let indices = UInt32Array::from(rows.to_vec());
    let columns = batch
        .columns()
        .iter()
        .map(|column| arrow::compute::take(column, &indices, None))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    batch_of(batch.schema(), columns, rows.len())
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    #[test]
    fn the_last_row_put_for_a_slot_is_found_however_chunks_were_merged() {
        let schema = Arc::new(Schema::new(vec![Field::new("V", DataType::Int64, true)]));
        let mut store = RowStore::new(Arc::clone(&schema));
        let mut expected = vec![None; 50];
        for i in 0..2_000i64 {
            let slot = (i * 7 % 50) as u32;
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(vec![i]))]).unwrap();
            store.put(&[slot], batch).unwrap();
            expected[slot as usize] = Some(i);
            if i % 11 == 0 {
                let gone = (i * 3 % 50) as u32;
                store.remove(gone);
                expected[gone as usize] = None;
            }
        }
        let all: Vec<Source> = (0..50).map(Source::Slot).collect();
        let rows = store.gather(&all, None).unwrap();
        assert_eq!(rows.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), expected);
        assert!(store.order.len() < 12, "{} chunks", store.order.len());
        assert_eq!(store.len(), expected.iter().flatten().count());
        assert_eq!(store.chunk_bytes, store.chunks.iter().flatten().map(|c| c.bytes).sum::<usize>());
    }
}

//! Arrow batches as bytes, their schemas once.
//!
//! ```text
//! batch   = schema-number rows form length padding bytes
//! form    = 0 compact (fewer rows than COMPACT_ROWS)
//!         | 1 Arrow IPC message, starting at a multiple of 8
//! schema  = the bytes of an Arrow IPC schema message
//! ```
//!
//! A [`SchemaWriter`] numbers the schemas it meets; whoever writes puts each new one in front of its first batch. One
//! writer belongs to one file, so that each file explains itself.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::FileDecoder;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow::ipc::{Block, MetadataVersion, root_as_message};
use hashbrown::HashMap;

use super::flat::{self, Layout, Unflatten};
use super::{Bytes, compact, damaged, put_number};
use crate::error::{Error, Result};
use crate::log::LogBody;
use crate::rows::batch_of;

/// Batches with fewer rows take the compact form.
const COMPACT_ROWS: usize = 64;

const COMPACT: u8 = 0;
const IPC: u8 = 1;
const ALIGNMENT: usize = 8;

/// Whether columns of this type can be written: a batch must be readable alone, without dictionaries sent before it.
pub(crate) fn is_storable(ty: &DataType) -> bool {
    match ty {
        DataType::Dictionary(_, _) | DataType::RunEndEncoded(_, _) | DataType::Union(_, _) => false,
        DataType::List(item) | DataType::Map(item, _) => is_storable(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|f| is_storable(f.data_type())),
        _ => true,
    }
}

/// Numbers schemas and writes batches of them.
#[derive(Default)]
pub(crate) struct SchemaWriter {
    entries: Vec<Entry>,
    by_content: HashMap<SchemaRef, usize>,
    /// By address: the schema is kept, so that its address stays its own. Cleared when it grows large.
    by_address: HashMap<(usize, Layout), (SchemaRef, usize)>,
    /// Schemas not yet written: number and bytes.
    fresh: Vec<(usize, Vec<u8>)>,
}

struct Entry {
    schema: SchemaRef,
    compact: bool,
    ipc: StreamWriter<Vec<u8>>,
}

impl SchemaWriter {
    /// Writes the records of `body`. New schemas are to be asked for with `take_fresh` and written before these bytes.
    pub fn put_body(&mut self, out: &mut Vec<u8>, body: &LogBody) -> Result<()> {
        let layout = Layout::of(body);
        let columns = match body {
            LogBody::Typed { rows, .. } => rows.columns.schema_ref().clone(),
            LogBody::Encoded(_) => no_columns(),
        };
        let number = self.number(columns, layout, |columns| layout.schema(columns))?;
        let batch = batch_of(self.entries[number].schema.clone(), flat::arrays(body), body.len())?;
        self.put(out, number, &batch)
    }

    pub fn put_batch(&mut self, out: &mut Vec<u8>, batch: &RecordBatch) -> Result<()> {
        let number = self.number(batch.schema(), Layout::default(), Arc::clone)?;
        self.put(out, number, batch)
    }

    /// Schemas met since the last call.
    pub fn take_fresh(&mut self) -> Vec<(usize, Vec<u8>)> {
        std::mem::take(&mut self.fresh)
    }

    /// All schemas met, by number.
    pub fn schemas(&self) -> impl Iterator<Item = &SchemaRef> {
        self.entries.iter().map(|e| &e.schema)
    }

    fn number(
        &mut self,
        columns: SchemaRef,
        layout: Layout,
        flat: impl FnOnce(&SchemaRef) -> SchemaRef,
    ) -> Result<usize> {
        const ADDRESSES_MAX: usize = 1024;
        let address = (Arc::as_ptr(&columns) as usize, layout);
        if let Some((_, number)) = self.by_address.get(&address) {
            return Ok(*number);
        }
        let schema = flat(&columns);
        let number = match self.by_content.get(&schema) {
            Some(number) => *number,
            None => {
                let number = self.entries.len();
                let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
                let mut ipc = StreamWriter::try_new_with_options(Vec::new(), &schema, options)?;
                self.fresh.push((number, std::mem::take(ipc.get_mut())));
                let compact = schema.fields().iter().all(|f| compact::supports(f.data_type()));
                self.entries.push(Entry { schema: schema.clone(), compact, ipc });
                self.by_content.insert(schema, number);
                number
            }
        };
        if self.by_address.len() >= ADDRESSES_MAX {
            self.by_address.clear();
        }
        self.by_address.insert(address, (columns, number));
        Ok(number)
    }

    fn put(&mut self, out: &mut Vec<u8>, number: usize, batch: &RecordBatch) -> Result<()> {
        let entry = &mut self.entries[number];
        put_number(out, number as u64);
        put_number(out, batch.num_rows() as u64);
        if entry.compact && batch.num_rows() < COMPACT_ROWS {
            out.push(COMPACT);
            for column in batch.columns() {
                compact::put_array(out, column)?;
            }
            return Ok(());
        }
        out.push(IPC);
        let length_at = out.len();
        out.extend_from_slice(&[0; 8]);
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        let start = out.len();
        // The message goes straight into `out`: the writer borrows it for the call.
        std::mem::swap(entry.ipc.get_mut(), out);
        let written = entry.ipc.write(batch);
        std::mem::swap(entry.ipc.get_mut(), out);
        written?;
        let length = (out.len() - start) as u64;
        out[length_at..length_at + 8].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}

fn no_columns() -> SchemaRef {
    static NONE: std::sync::LazyLock<SchemaRef> = std::sync::LazyLock::new(|| Arc::new(Schema::empty()));
    NONE.clone()
}

/// Schemas of a file by number, for reading.
#[derive(Debug, Clone, Default)]
pub(crate) struct SchemaTable {
    entries: Vec<Arc<ReadEntry>>,
}

#[derive(Debug)]
struct ReadEntry {
    schema: SchemaRef,
    decoder: FileDecoder,
    /// None for batches that are not bodies (state).
    unflatten: Option<Unflatten>,
}

impl SchemaTable {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn push(&mut self, schema: SchemaRef) {
        let decoder = FileDecoder::new(schema.clone(), MetadataVersion::V5);
        let unflatten = Unflatten::new(&schema).ok();
        self.entries.push(Arc::new(ReadEntry { schema, decoder, unflatten }));
    }

    /// Takes in a schema as it was written.
    pub fn define(&mut self, number: usize, message: &[u8]) -> Result<()> {
        if number != self.entries.len() {
            return Err(damaged());
        }
        let flatbuffer = message.get(8..).ok_or_else(damaged)?;
        let message = root_as_message(flatbuffer).map_err(|_| damaged())?;
        let schema = message.header_as_schema().ok_or_else(damaged)?;
        self.push(Arc::new(fb_to_schema(schema)));
        Ok(())
    }

    /// Reads a body; `from` reads `all`, whose start is aligned, so that large batches share its memory.
    pub fn take_body(&self, from: &mut Bytes<'_>, all: &Buffer) -> Result<LogBody> {
        let (entry, batch) = self.take(from, all)?;
        entry.unflatten.as_ref().ok_or_else(damaged)?.body(batch.columns(), batch.num_rows())
    }

    pub fn take_batch(&self, from: &mut Bytes<'_>, all: &Buffer) -> Result<RecordBatch> {
        Ok(self.take(from, all)?.1)
    }

    fn take(&self, from: &mut Bytes<'_>, all: &Buffer) -> Result<(&ReadEntry, RecordBatch)> {
        let number = from.len()?;
        let entry = self.entries.get(number).ok_or_else(damaged)?;
        let rows = from.len()?;
        if from.byte()? == COMPACT {
            let columns = entry.schema.fields().iter().map(|f| compact::take_array(from, f.data_type(), rows));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            return Ok((entry, batch_of(entry.schema.clone(), columns, rows)?));
        }
        let length = from.take(8)?.try_into().map(u64::from_le_bytes).map_err(|_| damaged())?;
        from.align(ALIGNMENT)?;
        let start = from.at();
        let message = from.take(usize::try_from(length).map_err(|_| damaged())?)?;
        let meta = message.get(4..8).and_then(|b| b.try_into().ok()).map(i32::from_le_bytes).ok_or_else(damaged)?;
        let meta = meta.checked_add(8).filter(|m| *m > 0 && (*m as usize) <= message.len()).ok_or_else(damaged)?;
        let block = Block::new(0, meta, message.len() as i64 - i64::from(meta));
        let batch = entry.decoder.read_record_batch(&block, &all.slice_with_length(start, message.len()))?;
        let batch = batch.ok_or_else(damaged)?;
        if batch.num_rows() != rows {
            return Err(Error::storage("a stored batch has another number of rows than it says"));
        }
        Ok((entry, batch))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BinaryArray, BooleanArray, Decimal256Array, Int32Array, Int64Array, ListArray, MapBuilder, StringArray,
        StringBuilder, StructArray,
    };
    use arrow::buffer::BooleanBuffer;
    use arrow::datatypes::{Int64Type, i256};

    use super::*;
    use crate::log::EncodedRecords;
    use crate::rows::{Change, OldRows, Rows, Windows};

    /// `n` rows of every kind of column.
    fn columns(n: usize) -> RecordBatch {
        let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        for i in 0..n {
            map.keys().append_value(format!("k{i}"));
            map.values().append_option((i % 2 == 0).then_some("v"));
            map.append(i % 3 != 0).unwrap();
        }
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(
            (0..n).map(|i| (i % 4 != 1).then(|| vec![Some(i as i64), None])),
        );
        let ints = Int32Array::from_iter((0..n).map(|i| (i % 5 != 0).then_some(i as i32)));
        let inner = StructArray::try_from(vec![("x", Arc::new(ints.clone()) as _)]).unwrap();
        let decimals = Decimal256Array::from_iter_values((0..n).map(|i| i256::from_i128(i as i128)));
        RecordBatch::try_from_iter_with_nullable(vec![
            ("I", Arc::new(ints) as arrow::array::ArrayRef, true),
            ("S", Arc::new(StringArray::from_iter((0..n).map(|i| (i % 2 == 0).then(|| format!("text {i}"))))), true),
            ("B", Arc::new(BooleanArray::from_iter((0..n).map(|i| Some(i % 3 == 0)))), true),
            ("D", Arc::new(decimals), true),
            ("L", Arc::new(lists), true),
            ("M", Arc::new(map.finish()), true),
            ("T", Arc::new(inner), true),
        ])
        .unwrap()
    }

    fn bits(n: usize) -> BooleanBuffer {
        BooleanBuffer::collect_bool(n, |i| i % 3 == 1)
    }

    fn full(n: usize) -> LogBody {
        let long = || Int64Array::from_iter_values(0..n as i64);
        let old = OldRows { columns: columns(n), present: bits(n) };
        let rows = Rows {
            columns: columns(n),
            time: long(),
            window: Some(Windows { start: long(), end: long() }),
            null_key: Some(bits(n)),
            null_value: Some(bits(n)),
            headers: None,
            change: Change::Upsert { old: Some(old) },
        };
        LogBody::Typed { rows, fingerprint: 77 }
    }

    fn there_and_back(bodies: &[LogBody]) -> Vec<LogBody> {
        let mut writer = SchemaWriter::default();
        let mut out = Vec::new();
        for body in bodies {
            writer.put_body(&mut out, body).unwrap();
        }
        let mut table = SchemaTable::default();
        for (number, bytes) in writer.take_fresh() {
            table.define(number, &bytes).unwrap();
        }
        assert_eq!(table.len(), writer.schemas().count());
        let all = Buffer::from_slice_ref(&out);
        let mut from = Bytes::new(&out);
        let read = bodies.iter().map(|_| table.take_body(&mut from, &all).unwrap()).collect();
        assert!(from.is_empty());
        for cut in (0..out.len()).step_by(7) {
            let short = &out[..cut];
            let mut from = Bytes::new(short);
            let all = Buffer::from_slice_ref(short);
            assert!(bodies.iter().any(|_| table.take_body(&mut from, &all).is_err()));
        }
        read
    }

    fn text(body: &LogBody) -> String {
        format!("{body:?}")
    }

    #[test]
    fn bodies_of_any_size_and_slice_come_back_as_they_were() {
        for n in [1, 2, 63, 64, 300] {
            for body in [full(n), full(n + 9).slice(5, n)] {
                let read = there_and_back(std::slice::from_ref(&body)).remove(0);
                let (LogBody::Typed { rows: a, .. }, LogBody::Typed { rows: b, fingerprint: 77 }) = (&body, &read)
                else {
                    panic!("a typed body stays typed")
                };
                assert_eq!(a.columns, b.columns, "{n}");
                assert_eq!(a.old().unwrap().columns, b.old().unwrap().columns);
                assert_eq!(a.old().unwrap().present, b.old().unwrap().present);
                assert_eq!(a.time, b.time);
                assert_eq!(a.window.as_ref().unwrap().end, b.window.as_ref().unwrap().end);
                let some = |bits: &Option<BooleanBuffer>| bits.clone().filter(|b| b.count_set_bits() > 0);
                assert_eq!(some(&a.null_key), b.null_key);
                assert_eq!(some(&a.null_value), b.null_value);
            }
        }
    }

    #[test]
    fn encoded_records_and_rows_without_columns_come_back() {
        let keys = BinaryArray::from_opt_vec(vec![Some(b"a"), None]);
        let encoded = LogBody::Encoded(EncodedRecords {
            keys: keys.clone(),
            values: keys,
            time: Int64Array::from(vec![1, 2]),
            headers: None,
        });
        let none = batch_of(no_columns(), vec![], 2).unwrap();
        let bare = LogBody::Typed { rows: Rows::append(none, Int64Array::from(vec![1, 2])), fingerprint: 1 };
        let bodies = [encoded, bare];
        let read = there_and_back(&bodies);
        assert_eq!(read.iter().map(text).collect::<Vec<_>>(), bodies.iter().map(text).collect::<Vec<_>>());
    }

    #[test]
    fn one_row_is_small_and_a_schema_is_written_once_however_often_it_is_made() {
        let mut writer = SchemaWriter::default();
        for _ in 0..2000 {
            let mut out = Vec::new();
            writer.put_body(&mut out, &full(1)).unwrap();
            assert!(out.len() < 256, "{}", out.len());
        }
        assert_eq!(writer.take_fresh().len(), 1);
    }
}

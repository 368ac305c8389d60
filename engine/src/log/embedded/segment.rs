//! Sealed segments: `topics/<name>-<id>/<partition>/<base offset>.arrow`, plain Arrow IPC files of one partition.
//!
//! ```text
//! columns    as the topic's records have them, then $time, …, $offset (see wire::flat)
//! batches    small ones are joined to about SEGMENT_BATCH_ROWS rows
//! footer     metadata headwater.segment = the index below as JSON, headwater.segment.crc32c = its checksum
//!
//! index      base 0, end 9, position 6
//!            batch 0..8   bytes 1024..9216   times 10..90   crc 5fa3…   columns 77ab… 01be… 9c04…
//!            batch 8..9   bytes 9216..9984   times 95..95   crc 01be…   columns 40d1… 5e5f… 2a90…
//! ```
//!
//! Any Arrow tool reads them; Headwater itself trusts only what a checksum covers, and reads only the columns somebody
//! wants: see [`super::segment_reader`]. A segment holds records of one kind (`partition::joinable`): a change of kind
//! begins the next segment.

use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use arrow::array::{ArrayRef, Int64Array};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::read_footer_length;
use arrow::ipc::writer::FileWriter;
use arrow::ipc::{root_as_footer, root_as_message};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::disk::{BESIDE, Disk, DiskFile};
use super::segment_reader::SegmentReader;
use crate::error::{Error, Result};
use crate::log::partition::{TailBatch, concat_bodies, times};
use crate::log::wire::flat::{self, Layout};
use crate::log::{LogBody, LogPosition, Offset};
use crate::rows::{batch_of, empty_headers};

/// Small batches are joined up to this many rows and bytes.
const SEGMENT_BATCH_ROWS: usize = 8192;
const SEGMENT_BATCH_BYTES: usize = 4 << 20;

const INDEX: &str = "headwater.segment";
const INDEX_CRC: &str = "headwater.segment.crc32c";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Index {
    format: u32,
    base_offset: Offset,
    end_offset: Offset,
    /// Position of the last group with records here.
    position: LogPosition,
    append_time_ms_max: i64,
    /// Bytes and checksum of what stands before the first batch: the schema.
    head_bytes: u64,
    head_crc: u32,
    pub batches: Vec<IndexEntry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct IndexEntry {
    pub base_offset: Offset,
    pub rows: usize,
    pub time_ms_max: i64,
    pub append_time_ms: i64,
    pub at: u64,
    pub bytes: usize,
    /// Of the message that describes the batch; of the whole batch where `columns` is empty.
    pub crc: u32,
    /// Of the bytes of each column. Empty: a column's type has no fixed number of buffers, or format 1.
    #[serde(default)]
    pub columns: Vec<u32>,
}

#[derive(Debug)]
pub(crate) struct Segment {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    pub(super) index: Index,
    pub file_bytes: u64,
    mapped: Mutex<Option<Arc<Mapped>>>,
    /// Lives as long as anything points into the mapping.
    pinned: Mutex<Weak<()>>,
    /// Per batch, what was compared with its checksum already: the message, then the columns.
    pub(super) checked: Vec<Mutex<Vec<bool>>>,
}

#[derive(Debug)]
pub(super) struct Mapped {
    pub bytes: Buffer,
    pub schema: SchemaRef,
}

/// A mapping, with a token that shows when its last user has gone.
struct Pinned(bytes::Bytes, #[expect(dead_code, reason = "it is there to be dropped")] Arc<()>);

impl AsRef<[u8]> for Pinned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

pub(crate) fn file_name(base: Offset) -> String {
    format!("{base:020}.arrow")
}

impl Segment {
    /// Writes `batches`, which are alike and without gaps, as one segment; it survives a crash when this returns.
    pub fn write(disk: &Arc<dyn Disk>, directory: &Path, batches: &[TailBatch]) -> Result<Arc<Segment>> {
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
            return Err(Error::internal("a segment has at least one batch"));
        };
        let layout = batches.iter().map(|b| Layout::of(&b.batch.body)).reduce(Layout::union).unwrap_or_default();
        let schema = with_offset(&layout.schema(&typed_columns(&first.batch.body)));
        let name = file_name(first.batch.base_offset);
        let beside = directory.join(format!("{name}{BESIDE}"));
        let mut writer = FileWriter::try_new(Sink::new(disk.create(&beside)?), &schema)?;
        let head = writer.get_mut();
        let (head_bytes, head_crc) = (head.block.len() as u64, crc32c::crc32c(&head.block));
        head.write_block()?;
        let mut index = Index {
            format: 2,
            base_offset: first.batch.base_offset,
            end_offset: last.end(),
            position: batches.iter().map(|b| b.position).max().unwrap_or_default(),
            append_time_ms_max: batches.iter().map(|b| b.batch.append_time_ms).max().unwrap_or_default(),
            head_bytes,
            head_crc,
            batches: Vec::new(),
        };
        let mut at = head_bytes;
        let mut rest = batches;
        while !rest.is_empty() {
            let (mut rows, mut bytes) = (0, 0);
            let some = rest.iter().take_while(|b| {
                rows += b.batch.body.len();
                bytes += b.bytes;
                rows == b.batch.body.len() || (rows <= SEGMENT_BATCH_ROWS && bytes <= SEGMENT_BATCH_BYTES)
            });
            let count = some.count();
            let (joined, after) = rest.split_at(count);
            rest = after;
            let bodies: Vec<&LogBody> = joined.iter().map(|b| &b.batch.body).collect();
            let body = fill(concat_bodies(&bodies)?, layout);
            let base_offset = joined[0].batch.base_offset;
            let mut arrays = flat::arrays(&body);
            let end = base_offset + body.len() as i64;
            arrays.push(Arc::new(Int64Array::from_iter_values(base_offset..end)) as ArrayRef);
            writer.write(&batch_of(schema.clone(), arrays, body.len())?)?;
            let sink = writer.get_mut();
            let (crc, columns) = checksums(&sink.block, &schema);
            index.batches.push(IndexEntry {
                base_offset,
                rows: body.len(),
                time_ms_max: times(&body).values().iter().copied().max().unwrap_or(i64::MIN),
                append_time_ms: joined[0].batch.append_time_ms,
                at,
                bytes: sink.block.len(),
                crc,
                columns,
            });
            at += sink.block.len() as u64;
            sink.write_block()?;
        }
        let text = serde_json::to_string(&index).map_err(|e| Error::internal(e.to_string()))?;
        writer.write_metadata(INDEX_CRC, format!("{:08x}", crc32c::crc32c(text.as_bytes())));
        writer.write_metadata(INDEX, text);
        writer.finish()?;
        let file_bytes = writer.into_inner()?.finish()?;
        let path = directory.join(&name);
        disk.rename(&beside, &path)?;
        disk.sync_directory(directory)?;
        Ok(Arc::new(Self::with_index(disk.clone(), path, index, file_bytes)))
    }

    /// Opens a segment by its index.
    pub fn open(disk: &Arc<dyn Disk>, path: PathBuf) -> Result<Arc<Segment>> {
        let bytes = disk.map(&path)?;
        let index = read_index(&bytes).ok_or_else(|| damaged(&path, "its index", bytes.len() as u64))?;
        Ok(Arc::new(Self::with_index(disk.clone(), path, index, bytes.len() as u64)))
    }

    fn with_index(disk: Arc<dyn Disk>, path: PathBuf, index: Index, file_bytes: u64) -> Segment {
        let checked = index.batches.iter().map(|_| Mutex::default()).collect();
        Segment { disk, path, index, file_bytes, mapped: Mutex::default(), pinned: Mutex::default(), checked }
    }

    pub fn base(&self) -> Offset {
        self.index.base_offset
    }

    pub fn end(&self) -> Offset {
        self.index.end_offset
    }

    pub fn position(&self) -> LogPosition {
        self.index.position
    }

    pub fn append_time_ms_max(&self) -> i64 {
        self.index.append_time_ms_max
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether anybody but the caller may still look into the file; asked when nobody can come to it any more.
    pub fn in_use(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 || {
            self.mapped.lock().take();
            self.pinned.lock().strong_count() > 0
        }
    }

    /// First offset at or after `time_ms`.
    pub fn offset_at_time(self: &Arc<Self>, time_ms: i64) -> Result<Option<Offset>> {
        match self.index.batches.iter().position(|b| b.time_ms_max >= time_ms) {
            None => Ok(None),
            Some(number) => {
                let times = SegmentReader::of_times(self)?.times(number)?;
                let first = times.values().iter().position(|time| *time >= time_ms).unwrap_or(times.len());
                Ok(Some(self.index.batches[number].base_offset + first as i64))
            }
        }
    }

    pub(super) fn mapped(&self) -> Result<Arc<Mapped>> {
        let mut mapped = self.mapped.lock();
        if let Some(mapped) = &*mapped {
            return Ok(mapped.clone());
        }
        let token = Arc::new(());
        *self.pinned.lock() = Arc::downgrade(&token);
        let bytes = Buffer::from(bytes::Bytes::from_owner(Pinned(self.disk.map(&self.path)?, token)));
        let bad = || damaged(&self.path, "its schema", 0);
        let head = bytes.get(..self.index.head_bytes as usize).ok_or_else(bad)?;
        if crc32c::crc32c(head) != self.index.head_crc {
            return Err(bad());
        }
        let schema = schema_in_head(head).ok_or_else(bad)?;
        Ok(mapped.insert(Arc::new(Mapped { schema, bytes })).clone())
    }
}

/// Bytes of the message at the start of a batch; the columns' bytes follow it.
pub(super) fn message_bytes(block: &[u8]) -> Option<usize> {
    let length = i32::from_le_bytes(block.get(4..8)?.try_into().ok()?);
    usize::try_from(length).ok()?.checked_add(8).filter(|end| *end <= block.len())
}

/// Where each column's bytes are in a batch. None if that cannot be told.
pub(super) fn column_ranges(block: &[u8], schema: &Schema) -> Option<Vec<Range<usize>>> {
    let body = message_bytes(block)?;
    let buffers = root_as_message(block.get(8..body)?).ok()?.header_as_record_batch()?.buffers()?;
    let start = |number: usize| {
        if number == buffers.len() {
            return Some(block.len());
        }
        body.checked_add(usize::try_from(buffers.get(number).offset()).ok()?)
    };
    let mut number = 0;
    let mut ranges = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let after = number + buffer_count(field.data_type())?;
        if after > buffers.len() {
            return None;
        }
        let range = start(number)?..start(after)?;
        ranges.push(block.get(range.clone()).map(|_| range)?);
        number = after;
    }
    (number == buffers.len()).then_some(ranges)
}

/// Buffers of a column of this type in an Arrow IPC message; None for types whose columns differ in it.
fn buffer_count(ty: &DataType) -> Option<usize> {
    Some(match ty {
        DataType::Null => 0,
        DataType::Utf8 | DataType::Binary | DataType::LargeUtf8 | DataType::LargeBinary => 3,
        DataType::List(item) | DataType::LargeList(item) | DataType::Map(item, _) => {
            2 + buffer_count(item.data_type())?
        }
        DataType::Struct(fields) => {
            let children: Option<Vec<usize>> = fields.iter().map(|field| buffer_count(field.data_type())).collect();
            1 + children?.iter().sum::<usize>()
        }
        ty if ty.is_primitive() || *ty == DataType::Boolean => 2,
        _ => return None,
    })
}

/// Checksums of a batch: of its message and of each column; of all of it if the columns cannot be told apart.
fn checksums(block: &[u8], schema: &Schema) -> (u32, Vec<u32>) {
    match (message_bytes(block), column_ranges(block, schema)) {
        (Some(message), Some(ranges)) => {
            let columns = ranges.into_iter().map(|range| crc32c::crc32c(&block[range])).collect();
            (crc32c::crc32c(&block[..message]), columns)
        }
        _ => (crc32c::crc32c(block), Vec::new()),
    }
}

pub(super) fn damaged(path: &Path, what: &str, at: u64) -> Error {
    Error::storage(format!("segment {} is damaged: {what} at byte {at} does not match its checksum", path.display()))
        .with_hint("Restore the file from a backup; the other segments of the topic are not affected.")
}

fn read_index(bytes: &[u8]) -> Option<Index> {
    let trailer = bytes.len().checked_sub(10)?;
    let length = read_footer_length(bytes[trailer..].try_into().ok()?).ok()?;
    let footer = root_as_footer(bytes.get(trailer.checked_sub(length)?..trailer)?).ok()?;
    let metadata = footer.custom_metadata()?;
    let value = |key: &str| metadata.iter().find(|pair| pair.key() == Some(key)).and_then(|pair| pair.value());
    let text = value(INDEX)?;
    let crc = u32::from_str_radix(value(INDEX_CRC)?, 16).ok()?;
    if crc32c::crc32c(text.as_bytes()) != crc {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// The schema message follows the magic number, which is padded to 64.
fn schema_in_head(head: &[u8]) -> Option<SchemaRef> {
    let message = root_as_message(head.get(64 + 8..)?).ok()?;
    Some(Arc::new(fb_to_schema(message.header_as_schema()?)))
}

fn typed_columns(body: &LogBody) -> SchemaRef {
    match body {
        LogBody::Typed { rows, .. } => rows.columns.schema(),
        LogBody::Encoded(_) => Arc::new(Schema::empty()),
    }
}

fn with_offset(schema: &Schema) -> SchemaRef {
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new("$offset", DataType::Int64, false)));
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Adds the parts that `layout` has and `body` lacks, saying nothing.
fn fill(body: LogBody, layout: Layout) -> LogBody {
    let len = body.len();
    let none = |there: bool, bits: Option<BooleanBuffer>| match bits {
        None if there => Some(BooleanBuffer::new_unset(len)),
        bits => bits,
    };
    match body {
        LogBody::Typed { mut rows, fingerprint } => {
            rows.null_key = none(layout.null_key, rows.null_key);
            rows.null_value = none(layout.null_value, rows.null_value);
            if layout.headers && rows.headers.is_none() {
                rows.headers = Some(empty_headers(len));
            }
            LogBody::Typed { rows, fingerprint }
        }
        LogBody::Encoded(mut records) => {
            if layout.headers && records.headers.is_none() {
                records.headers = Some(empty_headers(len));
            }
            LogBody::Encoded(records)
        }
    }
}

/// Collects a batch, so that its checksums can be taken before it goes to the file.
struct Sink {
    file: Box<dyn DiskFile>,
    block: Vec<u8>,
    written: u64,
}

impl Sink {
    fn new(file: Box<dyn DiskFile>) -> Self {
        Self { file, block: Vec::new(), written: 0 }
    }

    fn write_block(&mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            self.file.append(&self.block)?;
            self.written += self.block.len() as u64;
            self.block.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<u64> {
        self.write_block()?;
        self.file.sync()?;
        Ok(self.written)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.block.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

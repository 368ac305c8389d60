//! Sealed segments: `topics/<name>-<id>/<partition>/<base offset>.arrow`, plain Arrow IPC files of one partition.
//!
//! ```text
//! columns    as the topic's records have them, then $time, …, $offset (see wire::flat)
//! batches    small ones are joined to about SEGMENT_BATCH_ROWS rows
//! footer     metadata headwater.segment = the index below as JSON, headwater.segment.crc32c = its checksum
//!
//! index      base 0, end 9, position 6
//!            batch 0..8   bytes 1024..9216   times 10..90   crc 5fa3…
//!            batch 8..9   bytes 9216..9984   times 95..95   crc 01be…
//! ```
//!
//! Any Arrow tool reads them; Headwater itself trusts only what a checksum covers, checked before a batch is first used.
//! A segment holds records of one kind (`partition::joinable`): a change of kind begins the next segment.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use arrow::array::{ArrayRef, Int64Array};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::writer::FileWriter;
use arrow::ipc::{Block, MetadataVersion, root_as_footer, root_as_message};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::disk::{BESIDE, Disk, DiskFile};
use crate::error::{Error, Result};
use crate::log::partition::{TailBatch, concat_bodies, first_at_time, times};
use crate::log::wire::flat::{self, Layout, Unflatten};
use crate::log::{LogBatch, LogBody, LogPosition, Offset};
use crate::rows::{batch_of, empty_headers};

/// Small batches are joined up to this many rows and bytes.
const SEGMENT_BATCH_ROWS: usize = 8192;
const SEGMENT_BATCH_BYTES: usize = 4 << 20;

const INDEX: &str = "headwater.segment";
const INDEX_CRC: &str = "headwater.segment.crc32c";

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Index {
    format: u32,
    base_offset: Offset,
    end_offset: Offset,
    /// Position of the last group with records here.
    position: LogPosition,
    append_time_ms_max: i64,
    /// Bytes and checksum of what stands before the first batch: the schema.
    head_bytes: u64,
    head_crc: u32,
    batches: Vec<IndexEntry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct IndexEntry {
    base_offset: Offset,
    rows: usize,
    time_ms_max: i64,
    append_time_ms: i64,
    at: u64,
    bytes: usize,
    crc: u32,
}

#[derive(Debug)]
pub(crate) struct Segment {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    index: Index,
    pub file_bytes: u64,
    mapped: Mutex<Option<Arc<Mapped>>>,
    /// Lives as long as anything points into the mapping.
    pinned: Mutex<Weak<()>>,
    /// Batches that somebody still holds.
    held: Vec<Mutex<Weak<LogBatch>>>,
}

#[derive(Debug)]
struct Mapped {
    bytes: Buffer,
    decoder: FileDecoder,
    unflatten: Unflatten,
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
        let (head_bytes, head_crc) = writer.get_mut().mark();
        let mut index = Index {
            format: 1,
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
            let (bytes, crc) = writer.get_mut().mark();
            index.batches.push(IndexEntry {
                base_offset,
                rows: body.len(),
                time_ms_max: times(&body).values().iter().copied().max().unwrap_or(i64::MIN),
                append_time_ms: joined[0].batch.append_time_ms,
                at,
                bytes: bytes as usize,
                crc,
            });
            at += bytes;
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
        let held = index.batches.iter().map(|_| Mutex::default()).collect();
        Segment { disk, path, index, file_bytes, mapped: Mutex::default(), pinned: Mutex::default(), held }
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

    /// The batch that holds `offset`.
    pub fn read(&self, offset: Offset) -> Result<Arc<LogBatch>> {
        let number = self.index.batches.partition_point(|b| b.base_offset + b.rows as i64 <= offset);
        self.batch(number)
    }

    /// First offset at or after `time_ms`.
    pub fn offset_at_time(&self, time_ms: i64) -> Result<Option<Offset>> {
        match self.index.batches.iter().position(|b| b.time_ms_max >= time_ms) {
            None => Ok(None),
            Some(number) => {
                let batch = self.batch(number)?;
                Ok(Some(batch.base_offset + first_at_time(&batch.body, time_ms)))
            }
        }
    }

    fn batch(&self, number: usize) -> Result<Arc<LogBatch>> {
        let entry =
            self.index.batches.get(number).ok_or_else(|| Error::internal("offset is outside of its segment"))?;
        let mut held = self.held[number].lock();
        if let Some(batch) = held.upgrade() {
            return Ok(batch);
        }
        let mapped = self.mapped()?;
        let bad = |what| damaged(&self.path, what, entry.at);
        let start = usize::try_from(entry.at).map_err(|_| bad("its index"))?;
        if start.saturating_add(entry.bytes) > mapped.bytes.len() {
            return Err(bad("its length"));
        }
        let block_bytes = mapped.bytes.slice_with_length(start, entry.bytes);
        if crc32c::crc32c(&block_bytes) != entry.crc {
            return Err(bad("a batch"));
        }
        let metadata = block_bytes.get(4..8).and_then(|b| b.try_into().ok()).map(i32::from_le_bytes);
        let metadata = metadata.and_then(|m| m.checked_add(8)).ok_or_else(|| bad("a batch"))?;
        let block = Block::new(entry.at as i64, metadata, entry.bytes as i64 - i64::from(metadata));
        let batch = mapped.decoder.read_record_batch(&block, &block_bytes)?.ok_or_else(|| bad("a batch"))?;
        let body = mapped.unflatten.body(&batch)?;
        let batch = Arc::new(LogBatch { base_offset: entry.base_offset, append_time_ms: entry.append_time_ms, body });
        *held = Arc::downgrade(&batch);
        Ok(batch)
    }

    fn mapped(&self) -> Result<Arc<Mapped>> {
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
        let decoder = FileDecoder::new(schema.clone(), MetadataVersion::V5);
        Ok(mapped.insert(Arc::new(Mapped { decoder, unflatten: Unflatten::new(&schema)?, bytes })).clone())
    }
}

fn damaged(path: &Path, what: &str, at: u64) -> Error {
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

/// Writes to a file in large pieces, with a checksum from mark to mark.
struct Sink {
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    flushed: u64,
    crc: u32,
    since_mark: u64,
}

impl Sink {
    const BUFFER_BYTES: usize = 1 << 20;

    fn new(file: Box<dyn DiskFile>) -> Self {
        Self { file, buffer: Vec::new(), flushed: 0, crc: 0, since_mark: 0 }
    }

    /// Bytes and checksum since the last mark.
    fn mark(&mut self) -> (u64, u32) {
        let marked = (self.since_mark, self.crc);
        (self.since_mark, self.crc) = (0, 0);
        marked
    }

    fn finish(mut self) -> io::Result<u64> {
        self.flush()?;
        self.file.sync()?;
        Ok(self.flushed)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.since_mark += bytes.len() as u64;
        if self.buffer.len() + bytes.len() > Self::BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() > Self::BUFFER_BYTES {
            self.file.append(bytes)?;
            self.flushed += bytes.len() as u64;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.file.append(&self.buffer)?;
            self.flushed += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }
}

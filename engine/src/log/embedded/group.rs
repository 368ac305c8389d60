//! Bytes of a group in the write-ahead log.
//!
//! ```text
//! offset  size
//!      0     4  magic "HWG1"
//!      4     4  CRC32C of all that follows, padding included
//!      8     8  length of the frame, a multiple of 8
//!     16     8  epoch: which opening of the directory wrote it
//!     24     8  sequence number
//!     32     8  durable sequence number when it was written
//!     40     8  append time, milliseconds since the Unix epoch
//!     48     4  CRC32C field of the frame before, so that frames form a chain
//!     52     4  where the schemas start, from the payload's start
//!     56     8  length of the payload without padding
//!     64     …  payload: sections, schemas new in this file, padding to 8
//!
//! section = 1 producer-name | 2 controls as JSON | 3 topic partition offset batch
//!         | 4 query step partition tables (table batch)… | 5 count (topic partition offset)…
//! ```

use std::sync::Arc;

use arrow::buffer::Buffer;

use crate::error::{Error, Result};
use crate::log::group::{Group, GroupAppend, body_bytes};
use crate::log::wire::batches::{SchemaTable, SchemaWriter};
use crate::log::wire::{Bytes, damaged, put_bytes, put_number, put_signed};
use crate::log::{LogPosition, ProducerId, StoreId, TopicId, TopicPartition};
use crate::state::{StateChanges, StateTable};

pub(super) const HEADER_BYTES: usize = 64;
pub(super) const FRAME_ALIGNMENT: usize = 8;
const MAGIC: [u8; 4] = *b"HWG1";

const PRODUCER: u8 = 1;
const CONTROLS: u8 = 2;
const APPEND: u8 = 3;
const STATE: u8 = 4;
const CONSUMED: u8 = 5;

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub crc: u32,
    pub length: u64,
    pub epoch: u64,
    pub sequence: u64,
    pub durable: u64,
    pub append_time_ms: i64,
    pub previous_crc: u32,
    schemas_at: u32,
    payload_length: u64,
}

/// Where a frame stands among the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub epoch: u64,
    pub durable: u64,
    pub previous_crc: u32,
}

/// Appends the frame of `group` to `out`, whose length is a multiple of 8; returns its CRC.
pub(super) fn put_group(out: &mut Vec<u8>, group: &Group, link: Link, schemas: &mut SchemaWriter) -> Result<u32> {
    let start = out.len();
    debug_assert_eq!(start % FRAME_ALIGNMENT, 0, "frames are aligned");
    out.resize(start + HEADER_BYTES, 0);
    put_sections(out, group, schemas)?;
    let schemas_at = out.len() - start - HEADER_BYTES;
    for (number, schema) in schemas.take_fresh() {
        put_number(out, number as u64);
        put_bytes(out, &schema);
    }
    let payload_length = out.len() - start - HEADER_BYTES;
    out.resize(out.len().next_multiple_of(FRAME_ALIGNMENT), 0);
    let length = out.len() - start;
    let schemas_at = u32::try_from(schemas_at).map_err(|_| Error::limit("a group is larger than 4 GiB"))?;
    let frame = &mut out[start..];
    frame[..4].copy_from_slice(&MAGIC);
    frame[8..16].copy_from_slice(&(length as u64).to_le_bytes());
    frame[16..24].copy_from_slice(&link.epoch.to_le_bytes());
    frame[24..32].copy_from_slice(&group.position.0.to_le_bytes());
    frame[32..40].copy_from_slice(&link.durable.to_le_bytes());
    frame[40..48].copy_from_slice(&group.append_time_ms.to_le_bytes());
    frame[48..52].copy_from_slice(&link.previous_crc.to_le_bytes());
    frame[52..56].copy_from_slice(&schemas_at.to_le_bytes());
    frame[56..64].copy_from_slice(&(payload_length as u64).to_le_bytes());
    let crc = crc32c::crc32c(&frame[8..]);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    Ok(crc)
}

fn put_sections(out: &mut Vec<u8>, group: &Group, schemas: &mut SchemaWriter) -> Result<()> {
    out.push(PRODUCER);
    put_bytes(out, group.producer.0.as_bytes());
    if !group.controls.is_empty() {
        out.push(CONTROLS);
        put_bytes(out, &crate::log::json_bytes(&group.controls)?);
    }
    for append in &group.appends {
        out.push(APPEND);
        put_at(out, &append.to);
        put_signed(out, append.base_offset);
        schemas.put_body(out, &append.body)?;
    }
    for (store, changes) in &group.state {
        out.push(STATE);
        put_bytes(out, store.query.as_bytes());
        put_number(out, store.step.into());
        put_number(out, store.partition.into());
        put_number(out, changes.tables.len() as u64);
        for table in &changes.tables {
            put_number(out, table.table.into());
            schemas.put_batch(out, &table.rows)?;
        }
    }
    if !group.consumed.is_empty() {
        out.push(CONSUMED);
        put_number(out, group.consumed.len() as u64);
        for (input, next) in &group.consumed {
            put_at(out, input);
            put_signed(out, *next);
        }
    }
    Ok(())
}

fn put_at(out: &mut Vec<u8>, at: &TopicPartition) {
    put_number(out, at.topic.0);
    put_number(out, at.partition.into());
}

impl FrameHeader {
    /// The header at the start of `bytes`, if a whole frame with a right checksum is there.
    pub fn check(bytes: &[u8]) -> Option<FrameHeader> {
        let header = bytes.get(..HEADER_BYTES)?;
        if header[..4] != MAGIC {
            return None;
        }
        let four = |at: usize| header[at..at + 4].try_into().map(u32::from_le_bytes).ok();
        let eight = |at: usize| header[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let found = FrameHeader {
            crc: four(4)?,
            length: eight(8)?,
            epoch: eight(16)?,
            sequence: eight(24)?,
            durable: eight(32)?,
            append_time_ms: eight(40)? as i64,
            previous_crc: four(48)?,
            schemas_at: four(52)?,
            payload_length: eight(56)?,
        };
        let length = usize::try_from(found.length).ok()?;
        let frame = bytes.get(..length).filter(|f| f.len() >= HEADER_BYTES)?;
        let fits = found.payload_length <= (length - HEADER_BYTES) as u64
            && u64::from(found.schemas_at) <= found.payload_length;
        (fits && crc32c::crc32c(&frame[8..]) == found.crc).then_some(found)
    }

    fn payload(&self, frame: &Buffer) -> Buffer {
        frame.slice_with_length(HEADER_BYTES, self.payload_length as usize)
    }

    /// Takes in the schemas this frame defines; those known already are skipped.
    pub fn define_schemas(&self, frame: &Buffer, table: &mut SchemaTable) -> Result<()> {
        let payload = self.payload(frame);
        let mut from = Bytes::new(&payload[self.schemas_at as usize..]);
        while !from.is_empty() {
            let number = from.len()?;
            let schema = from.bytes()?;
            if number >= table.len() {
                table.define(number, schema)?;
            }
        }
        Ok(())
    }

    /// The group, with the records of those appends that `wants` asks for and state only if `with_state`.
    pub fn group(
        &self,
        frame: &Buffer,
        table: &SchemaTable,
        with_state: bool,
        mut wants: impl FnMut(&TopicPartition) -> bool,
    ) -> Result<Group> {
        let payload = self.payload(frame);
        let mut from = Bytes::new(&payload[..self.schemas_at as usize]);
        let mut group = Group {
            position: LogPosition(self.sequence),
            append_time_ms: self.append_time_ms,
            producer: ProducerId(String::new()),
            controls: Vec::new(),
            appends: Vec::new(),
            state: Vec::new(),
            consumed: Vec::new(),
            bytes: 0,
        };
        while !from.is_empty() {
            match from.byte()? {
                PRODUCER => group.producer = ProducerId(from.text()?.to_string()),
                CONTROLS => group.controls = serde_json::from_slice(from.bytes()?).map_err(|_| damaged())?,
                APPEND => {
                    let to = take_at(&mut from)?;
                    let base_offset = from.signed()?;
                    let body = table.take_body(&mut from, &payload)?;
                    if wants(&to) {
                        let bytes = body_bytes(&body);
                        group.appends.push(GroupAppend { to, base_offset, body, bytes });
                    }
                }
                STATE => {
                    let query = from.text()?.to_string();
                    let store = StoreId { query, step: small(from.number()?)?, partition: small(from.number()?)? };
                    let mut changes = StateChanges::default();
                    for _ in 0..from.len()? {
                        let number = small(from.number()?)?;
                        let rows = table.take_batch(&mut from, &payload)?;
                        if with_state {
                            changes.tables.push(StateTable { table: number, rows });
                        }
                    }
                    group.state.push((store, changes));
                }
                CONSUMED => {
                    for _ in 0..from.len()? {
                        group.consumed.push((take_at(&mut from)?, from.signed()?));
                    }
                }
                _ => return Err(damaged()),
            }
        }
        Ok(group)
    }
}

fn take_at(from: &mut Bytes<'_>) -> Result<TopicPartition> {
    Ok(TopicPartition { topic: TopicId(from.number()?), partition: small(from.number()?)? })
}

fn small(number: u64) -> Result<u32> {
    u32::try_from(number).map_err(|_| damaged())
}

/// Changes of one store in a frame read back from disk.
pub(super) fn state_in_frame(frame: &[u8], table: &SchemaTable, store: &StoreId) -> Result<StateChanges> {
    let header = FrameHeader::check(frame).ok_or_else(|| Error::storage("the checksum of a group does not match"))?;
    let group = header.group(&Buffer::from_slice_ref(frame), table, true, |_| false)?;
    let mut changes = StateChanges::default();
    for (id, more) in group.state {
        if id == *store {
            changes.tables.extend(more.tables);
        }
    }
    Ok(changes)
}

/// The largest durable sequence number that any whole frame in `bytes` knows of, wherever frames start.
pub(super) fn durable_known_in(bytes: &[u8]) -> Option<u64> {
    (0..bytes.len())
        .step_by(FRAME_ALIGNMENT)
        .filter(|at| bytes[*at..].starts_with(&MAGIC))
        .filter_map(|at| FrameHeader::check(&bytes[at..]))
        .map(|header| header.durable)
        .max()
}

pub(super) type SharedGroup = Arc<Group>;

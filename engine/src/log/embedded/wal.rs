//! The write-ahead log: files of frames, each file named by its first sequence number.
//!
//! ```text
//! wal/00000000000000000001.wal   header, groups 1..=9000      closed, synced
//! wal/00000000000000009001.wal   header, groups 9001..        appended to
//!
//! header: magic "HWWAL1\0\0" | CRC32C of what follows, u32 | previous frame's CRC, u32 | epoch, u64 | first sequence, u64
//!         padded to 64
//! ```
//!
//! Groups are encoded into one buffer, written in large pieces and synced together. A write that fails because the disk
//! is full leaves the buffer as it is, to be tried again; whatever part of it reached the file is cut off first. Any
//! other failure is final.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile};
use super::group::{Link, SharedGroup, put_group};
use crate::error::Result;
use crate::log::redo::Place;
use crate::log::wire::batches::{SchemaTable, SchemaWriter};

pub(super) const FILE_HEADER_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"HWWAL1\0\0";

/// Encoded groups are written when they reach this.
const WRITE_BYTES: usize = 4 << 20;

/// A file of the log, for those who read it back or remove it.
#[derive(Debug, Clone)]
pub(super) struct WalFile {
    pub first: u64,
    /// Last sequence number written so far; `first - 1` if there is none.
    pub last: u64,
    pub bytes: u64,
    pub schemas: SchemaTable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub previous_crc: u32,
    pub epoch: u64,
    pub first: u64,
}

impl FileHeader {
    fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.previous_crc.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.resize(start + FILE_HEADER_BYTES, 0);
        let crc = crc32c::crc32c(&out[start + 12..]);
        out[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
    }

    pub fn check(bytes: &[u8]) -> Option<FileHeader> {
        let header = bytes.get(..FILE_HEADER_BYTES)?;
        let four = |at: usize| header[at..at + 4].try_into().map(u32::from_le_bytes).ok();
        let eight = |at: usize| header[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let right = header[..8] == MAGIC && crc32c::crc32c(&header[12..]) == four(8)?;
        right.then_some(FileHeader { previous_crc: four(12)?, epoch: eight(16)?, first: eight(24)? })
    }
}

pub(super) fn file_name(first: u64) -> String {
    format!("{first:020}.wal")
}

/// The files there are, oldest first; the last is appended to.
pub(super) type WalFiles = Arc<Mutex<Vec<WalFile>>>;

pub(super) struct Wal {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    epoch: u64,
    file_bytes_max: u64,
    files: WalFiles,
    file: Box<dyn DiskFile>,
    /// Bytes of the file that are known to be written.
    written_bytes: u64,
    schemas: SchemaWriter,
    buffer: Vec<u8>,
    /// Sequence numbers: encoded, written, synced.
    encoded: u64,
    written: u64,
    synced: u64,
    previous_crc: u32,
    /// State changes among the groups that are encoded but not written.
    places: Vec<(SharedGroup, Place)>,
}

/// Where the log goes on after recovery.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resume {
    pub epoch: u64,
    /// Sequence number of the last group, which is on disk.
    pub last: u64,
    pub previous_crc: u32,
}

impl Wal {
    /// Begins a new file after the last group.
    pub fn resume(
        disk: Arc<dyn Disk>,
        directory: &Path,
        file_bytes_max: u64,
        files: WalFiles,
        at: Resume,
    ) -> io::Result<Wal> {
        let header = FileHeader { previous_crc: at.previous_crc, epoch: at.epoch, first: at.last + 1 };
        let mut wal = Wal {
            file: begin_file(disk.as_ref(), directory, &files, &header)?,
            disk,
            directory: directory.to_path_buf(),
            epoch: at.epoch,
            file_bytes_max,
            files,
            written_bytes: FILE_HEADER_BYTES as u64,
            schemas: SchemaWriter::default(),
            buffer: Vec::new(),
            encoded: at.last,
            written: at.last,
            synced: at.last,
            previous_crc: at.previous_crc,
            places: Vec::new(),
        };
        wal.file.sync().map_err(sync_failed)?;
        Ok(wal)
    }

    pub fn written(&self) -> u64 {
        self.written
    }

    pub fn synced(&self) -> u64 {
        self.synced
    }

    /// Whether the buffer is worth a write.
    pub fn is_filled(&self) -> bool {
        self.buffer.len() >= WRITE_BYTES
    }

    /// Whether the next group belongs into a new file.
    pub fn is_file_full(&self) -> bool {
        self.written_bytes + self.buffer.len() as u64 >= self.file_bytes_max
    }

    /// Encodes the next group into the buffer.
    pub fn encode(&mut self, group: &SharedGroup) -> Result<()> {
        let start = self.buffer.len();
        let link = Link { epoch: self.epoch, durable: self.synced, previous_crc: self.previous_crc };
        self.previous_crc = put_group(&mut self.buffer, group, link, &mut self.schemas)?;
        self.encoded = group.position.0;
        if !group.state.is_empty() {
            let file = self.files.lock().last().map_or(0, |f| f.first);
            let offset = self.written_bytes + start as u64;
            self.places.push((group.clone(), Place { file, offset, length: self.buffer.len() - start }));
        }
        Ok(())
    }

    /// Writes the buffer; may be called again after it failed because the disk is full.
    pub fn write(&mut self) -> io::Result<Vec<(SharedGroup, Place)>> {
        if !self.buffer.is_empty() {
            if let Err(error) = self.file.append(&self.buffer) {
                if super::is_full(&error) {
                    self.file.set_len(self.written_bytes)?;
                }
                return Err(error);
            }
            self.written_bytes += self.buffer.len() as u64;
            self.buffer.clear();
            // One huge group does not keep its memory for ever.
            self.buffer.shrink_to(2 * WRITE_BYTES);
            self.written = self.encoded;
            let mut files = self.files.lock();
            if let Some(file) = files.last_mut() {
                file.last = self.written;
                file.bytes = self.written_bytes;
                let known = file.schemas.len();
                self.schemas.schemas().skip(known).for_each(|schema| file.schemas.push(schema.clone()));
            }
        }
        Ok(std::mem::take(&mut self.places))
    }

    /// What is written survives a crash.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.synced < self.written {
            self.file.sync().map_err(sync_failed)?;
            self.synced = self.written;
        }
        Ok(())
    }

    /// Goes on in a new file; all is written.
    pub fn roll(&mut self) -> io::Result<()> {
        self.sync()?;
        let header = FileHeader { previous_crc: self.previous_crc, epoch: self.epoch, first: self.written + 1 };
        self.file = begin_file(self.disk.as_ref(), &self.directory, &self.files, &header)?;
        self.written_bytes = FILE_HEADER_BYTES as u64;
        self.schemas = SchemaWriter::default();
        Ok(())
    }
}

/// After a failed fsync nobody knows what is on disk, and a second one would only say that nothing is left to do: even a
/// full disk is final then.
fn sync_failed(error: io::Error) -> io::Error {
    io::Error::other(format!("fsync failed: {error}"))
}

fn begin_file(
    disk: &dyn Disk,
    directory: &Path,
    files: &WalFiles,
    header: &FileHeader,
) -> io::Result<Box<dyn DiskFile>> {
    let mut bytes = Vec::new();
    header.put(&mut bytes);
    let mut file = disk.create(&directory.join(file_name(header.first)))?;
    file.append(&bytes)?;
    disk.sync_directory(directory).map_err(sync_failed)?;
    files.lock().push(WalFile {
        first: header.first,
        last: header.first - 1,
        bytes: FILE_HEADER_BYTES as u64,
        schemas: SchemaTable::default(),
    });
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_header_is_read_back_and_any_flipped_bit_is_seen() {
        let header = FileHeader { previous_crc: 7, epoch: 3, first: 12 };
        let mut bytes = Vec::new();
        header.put(&mut bytes);
        assert_eq!(FileHeader::check(&bytes), Some(header));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FileHeader::check(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

//! Mapping sealed segments into memory: the one place with `unsafe`.
//!
//! A mapping is sound while nobody changes or shortens the file. Segments are written beside their place and moved there
//! complete, are never opened for writing again, and are unlinked only (which leaves mapped bytes in place) after their
//! last reader has gone. The data directory is locked, so no other Headwater touches it; a person who shortens files of
//! a running engine's private directory by hand is outside of what can be promised.

use std::fs::File;
use std::io;
use std::path::Path;

use bytes::Bytes;

pub(super) fn map(path: &Path) -> io::Result<Bytes> {
    let file = File::open(path)?;
    #[expect(unsafe_code, reason = "sealed segments never change; see the module's text")]
    let mapped = unsafe { memmap2::Mmap::map(&file)? };
    Ok(Bytes::from_owner(mapped))
}

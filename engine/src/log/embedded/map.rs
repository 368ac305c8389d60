//! Mapping finished files into memory: the one place with `unsafe`.
//!
//! A mapping is sound while nobody changes or shortens the file. Segments are written beside their place and moved there
//! complete, files of the write-ahead log are mapped when the next has begun; neither is opened for writing again while
//! the process lives, and both are only ever unlinked, which leaves mapped bytes in place. The data directory is locked,
//! so no other Headwater touches it; a person who shortens files of a running engine's private directory by hand is
//! outside of what can be promised.

use std::fs::File;
use std::io;
use std::path::Path;

use bytes::Bytes;

pub(super) fn map(path: &Path) -> io::Result<Bytes> {
    let file = File::open(path)?;
    #[expect(unsafe_code, reason = "finished files never change; see the module's text")]
    let mapped = unsafe { memmap2::Mmap::map(&file)? };
    Ok(Bytes::from_owner(mapped))
}

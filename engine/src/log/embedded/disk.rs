//! Files, through one door: the real file system here, simulated ones in crash tests.
//!
//! | call | what a crash may leave of it |
//! |---|---|
//! | `append` | any part of the bytes, until `sync` of that file |
//! | `create`, `rename`, `remove` | done or not done, until `sync_directory` |
//! | `publish` (below) | the whole file or none |

use std::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

pub use bytes::Bytes;

pub trait Disk: Send + Sync + Debug {
    /// With all its parents; only the owner may read it.
    fn make_directory(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, sorted; none if it does not exist.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// A new empty file in place of any old one.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// An existing file, to append to.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    fn size(&self, path: &Path) -> io::Result<u64>;
    fn read(&self, path: &Path) -> io::Result<Bytes>;
    fn read_at(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>>;
    /// The bytes of a file that never changes again, without reading them where possible.
    fn map(&self, path: &Path) -> io::Result<Bytes>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// With all that is in it.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Holds the file until the result is dropped. `WouldBlock` if another process does, with its content as the text.
    fn lock(&self, path: &Path, content: &str) -> io::Result<Box<dyn Send + Sync>>;
}

pub trait DiskFile: Send {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// What was appended survives a crash.
    fn sync(&mut self) -> io::Result<()>;
    fn set_len(&mut self, length: u64) -> io::Result<()>;
}

/// Writes a file beside its place, syncs it and moves it there: it is there wholly or not at all.
pub(crate) fn publish(disk: &dyn Disk, directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let beside = directory.join(format!("{name}{BESIDE}"));
    let mut file = disk.create(&beside)?;
    file.append(content)?;
    file.sync()?;
    disk.rename(&beside, &directory.join(name))?;
    disk.sync_directory(directory)
}

/// Ending of files that are not in their place yet; recovery removes them.
pub(crate) const BESIDE: &str = ".new";

/// The file system of the machine.
#[derive(Debug, Default)]
pub struct RealDisk;

struct RealFile(File);

impl Disk for RealDisk {
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            // Names that are not text are not ours.
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().write(true).create(true).truncate(true).open(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Box::new(RealFile(file)))
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        Ok(std::fs::metadata(path)?.len())
    }

    fn read(&self, path: &Path) -> io::Result<Bytes> {
        std::fs::read(path).map(Bytes::from)
    }

    fn read_at(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn map(&self, path: &Path) -> io::Result<Bytes> {
        super::map::map(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        // Elsewhere directories cannot be opened as files; there the file system orders renames itself.
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }

    fn lock(&self, path: &Path, content: &str) -> io::Result<Box<dyn Send + Sync>> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.take(32).read_to_string(&mut holder)?;
                return Err(io::Error::new(io::ErrorKind::WouldBlock, holder));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        file.set_len(0)?;
        file.write_all(content.as_bytes())?;
        Ok(Box::new(file))
    }
}

impl DiskFile for RealFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        // The length is part of what fdatasync keeps.
        self.0.sync_data()
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)?;
        self.0.seek(SeekFrom::Start(length)).map(|_| ())
    }
}

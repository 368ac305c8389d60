//! A disk in memory that keeps what is live and what would survive a crash apart, and fails when told.
//!
//! ```text
//! append a, sync, append b        live: ab     a crash leaves: a, ab, or part of b, as the cut says
//! create x, sync_directory        a crash leaves x
//! create y                        a crash leaves y or not
//! ```
//!
//! Every call that changes something is one operation with a number; the disk can be told to crash at the nth, which
//! then happens in part, and after which every call fails. [`FaultDisk::survivors`] is the disk as found afterwards.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use headwater_engine::log::embedded::disk::{Bytes, Disk, DiskFile};

/// What a crash leaves of writes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing: a power cut.
    DropUnsynced,
    /// Everything: the process was killed.
    KeepUnsynced,
    /// Any of them, in part or not at all, in any order.
    Scramble { seed: u64 },
}

#[derive(Debug, Clone, Default)]
pub struct FaultDisk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    files: Vec<File>,
    /// Names as they are, and as they would survive; directories are names of none.
    live: BTreeMap<PathBuf, Option<usize>>,
    durable: BTreeMap<PathBuf, Option<usize>>,
    /// Changes of names since the last sync of their directory.
    name_changes: Vec<(PathBuf, Vec<(PathBuf, Option<Option<usize>>)>)>,
    operations: u64,
    crash_at: Option<u64>,
    crashed: bool,
    fail_at: Option<(u64, io::ErrorKind)>,
    bytes_max: Option<usize>,
}

#[derive(Debug, Clone, Default)]
struct File {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last sync.
    changes: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Length(length) => to.resize(*length, 0),
            Change::Write { at, bytes } => {
                let end = at + bytes.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*at..end].copy_from_slice(bytes);
            }
        }
    }
}

/// Small, seeded, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Chance(pub u64);

impl Chance {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound.max(1) as u64) as usize
    }
}

impl FaultDisk {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no test panics while it holds the disk")
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.inner().operations
    }

    /// The nth operation from now on is the last.
    pub fn crash_after(&self, operations: u64) {
        let mut inner = self.inner();
        inner.crash_at = Some(inner.operations + operations);
    }

    pub fn crash_never(&self) {
        self.inner().crash_at = None;
    }

    /// The nth operation from now on fails once.
    pub fn fail_after(&self, operations: u64, kind: io::ErrorKind) {
        let mut inner = self.inner();
        inner.fail_at = Some((inner.operations + operations, kind));
    }

    /// From now on the disk holds at most this many bytes.
    pub fn set_bytes_max(&self, bytes_max: Option<usize>) {
        self.inner().bytes_max = bytes_max;
    }

    pub fn used_bytes(&self) -> usize {
        self.inner().used_bytes()
    }

    /// Files and their lengths.
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        let inner = self.inner();
        inner.live.iter().filter_map(|(path, file)| Some((path.clone(), inner.files[(*file)?].live.len()))).collect()
    }

    /// A copy of the disk on which `damage` was done to the bytes of one file; None = the file is gone.
    pub fn damaged(&self, path: &Path, damage: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> FaultDisk {
        let copy = self.survivors(Cut::KeepUnsynced);
        {
            let mut inner = copy.inner();
            let file = inner.live.get(path).copied().flatten().expect("the file to damage exists");
            let mut bytes = inner.files[file].live.clone();
            if damage(&mut bytes).is_none() {
                inner.live.remove(path);
                inner.durable.remove(path);
            }
            inner.files[file] = File { live: bytes.clone(), durable: bytes, changes: Vec::new() };
        }
        copy
    }

    pub fn has_crashed(&self) -> bool {
        self.inner().crashed
    }

    /// The disk as the next process finds it.
    pub fn survivors(&self, cut: Cut) -> FaultDisk {
        let inner = self.inner();
        let mut chance = Chance(match cut {
            Cut::Scramble { seed } => seed,
            _ => 0,
        });
        let mut names = inner.durable.clone();
        for (_, changes) in &inner.name_changes {
            let kept = match cut {
                Cut::DropUnsynced => false,
                Cut::KeepUnsynced => true,
                Cut::Scramble { .. } => chance.below(2) == 0,
            };
            for (path, to) in changes.iter().filter(|_| kept) {
                match to {
                    Some(file) => names.insert(path.clone(), *file),
                    None => names.remove(path),
                };
            }
        }
        // A name without its directory is lost with it.
        let known = names.clone();
        names.retain(|path, _| path.ancestors().skip(1).all(|p| p.parent().is_none() || known.contains_key(p)));
        let mut files = Vec::new();
        let mut live = BTreeMap::new();
        for (path, file) in names {
            let number = file.map(|number| {
                let bytes = survive(&inner.files[number], cut, &mut chance);
                files.push(File { live: bytes.clone(), durable: bytes, changes: Vec::new() });
                files.len() - 1
            });
            live.insert(path, number);
        }
        FaultDisk(Arc::new(Mutex::new(Inner { files, durable: live.clone(), live, ..Inner::default() })))
    }

    fn change_names(&self, changes: Vec<(PathBuf, Option<Option<usize>>)>) -> io::Result<()> {
        let mut inner = self.inner();
        inner.check()?;
        let crash = inner.count()?;
        for (path, to) in &changes {
            match to {
                Some(file) => inner.live.insert(path.clone(), *file),
                None => inner.live.remove(path),
            };
        }
        let directory = changes[0].0.parent().unwrap_or(Path::new("/")).to_path_buf();
        inner.name_changes.push((directory, changes));
        crash.map_or(Ok(()), Err)
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        let inner = self.inner();
        inner.check()?;
        inner.live.get(path).copied().flatten().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn survive(file: &File, cut: Cut, chance: &mut Chance) -> Vec<u8> {
    match cut {
        Cut::DropUnsynced => file.durable.clone(),
        Cut::KeepUnsynced => file.live.clone(),
        Cut::Scramble { .. } => {
            let mut bytes = file.durable.clone();
            for change in &file.changes {
                match (chance.below(4), change) {
                    (0, _) => {}
                    (1, Change::Write { at, bytes: written }) => {
                        let torn = written[..chance.below(written.len())].to_vec();
                        Change::Write { at: *at, bytes: torn }.apply(&mut bytes);
                    }
                    (2, Change::Write { at, bytes: written }) => {
                        // The end came first: what was to stand before it is missing.
                        let skip = chance.below(written.len());
                        Change::Write { at: at + skip, bytes: written[skip..].to_vec() }.apply(&mut bytes);
                    }
                    _ => change.apply(&mut bytes),
                }
            }
            bytes
        }
    }
}

impl Inner {
    fn check(&self) -> io::Result<()> {
        if self.crashed { Err(io::Error::other("the machine has crashed")) } else { Ok(()) }
    }

    /// Counts an operation. An inner error is to be returned after it was done: the crash.
    fn count(&mut self) -> io::Result<Option<io::Error>> {
        self.operations += 1;
        if let Some((at, kind)) = self.fail_at
            && at == self.operations
        {
            return Err(kind.into());
        }
        if self.crash_at == Some(self.operations) {
            self.crashed = true;
            return Ok(Some(io::Error::other("the machine has crashed")));
        }
        Ok(None)
    }

    fn used_bytes(&self) -> usize {
        self.live.values().flatten().map(|file| self.files[*file].live.len()).sum()
    }

    fn change(&mut self, file: usize, change: Change) {
        let file = &mut self.files[file];
        change.apply(&mut file.live);
        file.changes.push(change);
    }
}

struct OpenFile {
    disk: FaultDisk,
    file: usize,
}

impl DiskFile for OpenFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.check()?;
        let crash = inner.count()?;
        let room = inner.bytes_max.map_or(usize::MAX, |max| max.saturating_sub(inner.used_bytes()));
        let written = bytes.len().min(room);
        let at = inner.files[self.file].live.len();
        inner.change(self.file, Change::Write { at, bytes: bytes[..written].to_vec() });
        match crash {
            Some(crash) => Err(crash),
            None if written < bytes.len() => Err(io::ErrorKind::StorageFull.into()),
            None => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.check()?;
        if let Some(crash) = inner.count()? {
            return Err(crash);
        }
        let file = &mut inner.files[self.file];
        file.durable = file.live.clone();
        file.changes.clear();
        Ok(())
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.check()?;
        let crash = inner.count()?;
        inner.change(self.file, Change::Length(length as usize));
        crash.map_or(Ok(()), Err)
    }
}

impl Disk for FaultDisk {
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        let missing: Vec<PathBuf> = {
            let inner = self.inner();
            inner.check()?;
            path.ancestors()
                .filter(|p| p.parent().is_some() && !inner.live.contains_key(*p))
                .map(Path::to_path_buf)
                .collect()
        };
        missing.into_iter().rev().try_for_each(|directory| self.change_names(vec![(directory, Some(None))]))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let inner = self.inner();
        inner.check()?;
        let inside = inner.live.keys().filter(|path| path.parent() == Some(directory));
        Ok(inside.filter_map(|path| path.file_name()?.to_str().map(str::to_string)).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = {
            let mut inner = self.inner();
            inner.files.push(File::default());
            inner.files.len() - 1
        };
        self.change_names(vec![(path.to_path_buf(), Some(Some(file)))])?;
        Ok(Box::new(OpenFile { disk: self.clone(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenFile { disk: self.clone(), file: self.file(path)? }))
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        let file = self.file(path)?;
        Ok(self.inner().files[file].live.len() as u64)
    }

    fn read(&self, path: &Path) -> io::Result<Bytes> {
        let file = self.file(path)?;
        Ok(self.inner().files[file].live.clone().into())
    }

    fn read_at(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = self.file(path)?;
        let inner = self.inner();
        let bytes = inner.files[file].live.get(offset as usize..offset as usize + length);
        bytes.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn map(&self, path: &Path) -> io::Result<Bytes> {
        self.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.file(from)?;
        self.change_names(vec![(to.to_path_buf(), Some(Some(file))), (from.to_path_buf(), None)])
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.file(path)?;
        self.change_names(vec![(path.to_path_buf(), None)])
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        // One name at a time, as a file system does it.
        loop {
            let last = {
                let inner = self.inner();
                inner.live.keys().rfind(|p| p.starts_with(path)).cloned()
            };
            match last {
                Some(path) => self.change_names(vec![(path, None)])?,
                None => return Ok(()),
            }
        }
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.check()?;
        if let Some(crash) = inner.count()? {
            return Err(crash);
        }
        let changes = std::mem::take(&mut inner.name_changes);
        for (directory, changes) in changes {
            if directory != path {
                inner.name_changes.push((directory, changes));
                continue;
            }
            for (path, to) in changes {
                match to {
                    Some(file) => inner.durable.insert(path, file),
                    None => inner.durable.remove(&path),
                };
            }
        }
        Ok(())
    }

    fn lock(&self, _path: &Path, _content: &str) -> io::Result<Box<dyn Send + Sync>> {
        self.inner().check()?;
        Ok(Box::new(()))
    }
}

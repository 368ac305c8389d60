//! The one writer: takes what is queued, encodes, writes, syncs, and says what is durable.
//!
//! | sync | durable when |
//! |---|---|
//! | always | the fsync that follows the write is done; everything queued meanwhile shares the next one |
//! | interval | the next periodic fsync is done |
//! | never | written |
//!
//! `step` does what there is to do and can be called again after it failed because the disk is full: then the reserve is
//! given up, nothing new is sequenced, and the writer tries again until there is room for the reserve, too.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::disk::Disk;
use super::group::SharedGroup;
use super::wal::Wal;
use crate::clock::Stopwatch;
use crate::engine::Sync;
use crate::error::{Error, Result};
use crate::log::LogPosition;
use crate::log::core::{Core, Drive};

/// How long the writer waits before it tries a full disk again.
const DISK_FULL_RETRY: Duration = Duration::from_millis(500);

pub(super) struct Writer {
    core: Arc<Core>,
    sync: Sync,
    reserve: Reserve,
    progress: Mutex<Progress>,
    /// Told of the bytes written.
    on_written: Box<dyn Fn(u64) + Send + std::marker::Sync>,
}

struct Progress {
    wal: Wal,
    /// Taken from the queue, not yet encoded.
    todo: VecDeque<SharedGroup>,
    /// Encoded, and perhaps written.
    unwritten: Vec<SharedGroup>,
    /// Written, not yet said to be durable.
    unsynced: Vec<SharedGroup>,
    last_sync: Stopwatch,
}

/// What a step left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    /// Written groups that the next periodic fsync will make durable.
    Unsynced,
    DiskFull,
}

/// Whether a step fsyncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// As `sync` says.
    Due,
    Now,
}

impl Writer {
    pub fn new(
        core: Arc<Core>,
        sync: Sync,
        wal: Wal,
        reserve: Reserve,
        on_written: Box<dyn Fn(u64) + Send + std::marker::Sync>,
    ) -> Self {
        let progress = Progress {
            wal,
            todo: VecDeque::new(),
            unwritten: Vec::new(),
            unsynced: Vec::new(),
            last_sync: Stopwatch::start(),
        };
        Self { core, sync, reserve, progress: Mutex::new(progress), on_written }
    }

    /// Writes until the log is closed; the body of the writer thread.
    pub fn run(&self) {
        let mut left = Left::Nothing;
        loop {
            let until_sync = self.until_sync();
            let mut state = self.core.lock();
            let idle = state.queue.is_empty() || left == Left::DiskFull;
            if state.check_open().is_err() {
                return;
            }
            if idle {
                match left {
                    Left::Nothing => self.core.work.wait(&mut state),
                    Left::DiskFull => {
                        self.core.work.wait_for(&mut state, DISK_FULL_RETRY);
                    }
                    Left::Unsynced => {
                        self.core.work.wait_for(&mut state, until_sync);
                    }
                }
            }
            drop(state);
            match self.step(When::Due) {
                Ok(now) => left = now,
                Err(error) => return self.core.fail(error),
            }
        }
    }

    fn until_sync(&self) -> Duration {
        match self.sync {
            Sync::IntervalMs(ms) => Duration::from_millis(ms).saturating_sub(self.progress.lock().last_sync.elapsed()),
            Sync::Always | Sync::Never => Duration::ZERO,
        }
    }

    /// Everything sequenced so far is on disk when this returns, whatever `sync` says.
    pub fn sync_now(&self) -> Result<LogPosition> {
        match self.step(When::Now) {
            Ok(_) => {
                let progress = self.progress.lock();
                let behind = !progress.todo.is_empty() || !progress.unwritten.is_empty();
                if behind { Err(disk_full()) } else { Ok(LogPosition(progress.wal.synced())) }
            }
            Err(error) => {
                self.core.fail(error.clone());
                Err(error)
            }
        }
    }

    fn step(&self, when: When) -> Result<Left> {
        let mut progress = self.progress.lock();
        let progress = &mut *progress;
        progress.todo.extend(self.core.lock().queue.drain(..));
        match self.write_all(progress, when) {
            Ok(()) => {}
            Err(Failure::Io(error)) if super::is_full(&error) => {
                if self.core.pause(true) {
                    tracing::warn!("the disk is full: nothing new is taken until there is room");
                }
                self.reserve.release();
                return Ok(Left::DiskFull);
            }
            Err(Failure::Io(error)) => {
                return Err(Error::storage("the write-ahead log cannot be written").with_cause(error));
            }
            Err(Failure::Other(error)) => return Err(error),
        }
        if self.core.lock().paused {
            if !self.reserve.take() {
                return Ok(Left::DiskFull);
            }
            if self.core.pause(false) {
                tracing::info!("the disk has room again");
            }
        }
        Ok(if progress.unsynced.is_empty() { Left::Nothing } else { Left::Unsynced })
    }

    fn write_all(&self, progress: &mut Progress, when: When) -> Result<(), Failure> {
        loop {
            match progress.todo.front() {
                Some(_) if progress.wal.is_file_full() => {
                    self.write(progress)?;
                    progress.wal.roll()?;
                }
                Some(group) => {
                    progress.wal.encode(group).map_err(Failure::Other)?;
                    progress.unwritten.extend(progress.todo.pop_front());
                    if progress.wal.is_filled() {
                        self.write(progress)?;
                    }
                }
                None => {
                    self.write(progress)?;
                    break;
                }
            }
        }
        let due = when == When::Now
            || match self.sync {
                Sync::Always => true,
                Sync::IntervalMs(ms) => progress.last_sync.elapsed() >= Duration::from_millis(ms),
                Sync::Never => false,
            };
        if due {
            progress.wal.sync()?;
            progress.last_sync = Stopwatch::start();
        }
        if (due || self.sync == Sync::Never) && !progress.unsynced.is_empty() {
            let groups = std::mem::take(&mut progress.unsynced);
            self.core.made_durable(LogPosition(progress.wal.written()), &groups);
        }
        Ok(())
    }

    fn write(&self, progress: &mut Progress) -> Result<(), Failure> {
        let places = progress.wal.write()?;
        if !places.is_empty() {
            let mut state = self.core.lock();
            for (group, place) in places {
                for (store, _) in &group.state {
                    if let Some(changes) = state.journaled.get_mut(store) {
                        changes.written(group.position, place);
                    }
                }
            }
        }
        let bytes: usize = progress.unwritten.iter().map(|g| g.bytes).sum();
        progress.unsynced.append(&mut progress.unwritten);
        if bytes > 0 {
            (self.on_written)(bytes as u64);
            self.core.made_room(bytes);
        }
        Ok(())
    }
}

impl Drive for Writer {
    fn drive(&self) -> Result<()> {
        self.sync_now()?;
        if self.core.lock().paused { Err(disk_full()) } else { Ok(()) }
    }
}

enum Failure {
    Io(io::Error),
    Other(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Io(error)
    }
}

pub(super) fn disk_full() -> Error {
    Error::unavailable("the disk is full")
        .with_hint("Free space: writing goes on by itself, nothing acknowledged is lost.")
}

/// A file that only takes up space: given up when the disk is full, so that the groups already sequenced, checkpoints and
/// snapshots can still be written.
pub(super) struct Reserve {
    pub disk: Arc<dyn Disk>,
    pub path: PathBuf,
    pub bytes: usize,
}

impl Reserve {
    pub fn release(&self) {
        if let Err(error) = self.disk.remove(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the reserve for a full disk could not be given up");
        }
    }

    /// Whether the reserve is there now.
    pub fn take(&self) -> bool {
        if self.disk.size(&self.path).is_ok_and(|size| size == self.bytes as u64) {
            return true;
        }
        let filled = || -> io::Result<()> {
            let mut file = self.disk.create(&self.path)?;
            let piece = vec![0; self.bytes.min(1 << 20)];
            let mut left = self.bytes;
            while left > 0 {
                let len = left.min(piece.len());
                file.append(&piece[..len])?;
                left -= len;
            }
            Ok(())
        };
        let taken = filled();
        if taken.is_err() {
            self.release();
        }
        taken.is_ok()
    }
}

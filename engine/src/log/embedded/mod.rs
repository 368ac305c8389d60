//! The log of a data directory: one write-ahead log, segments per partition, snapshots of state, checkpoints.
//!
//! ```text
//! commit ─► Core (order, tails in memory) ─► Writer ─► wal/…
//!                      │                                 │ synced groups
//!                      ▼                                 ▼
//!                   readers ◄── topics/…/*.arrow ◄── Background ──► state/…, control/…
//!
//! data/
//!   FORMAT  LOCK  RESERVE
//!   wal/00000000000000000001.wal                      groups, in order
//!   topics/ORDERS-1/0/00000000000000000000.arrow      sealed records
//!   state/CSAS_OUT_3~2~0/…                            snapshots
//!   control/00000000000000009000.checkpoint           topics, catalog, positions
//! ```
//!
//! Any prefix of the groups is a consistent cut. Everything that uses groups for good (a segment, a snapshot, a
//! checkpoint, the removal of a file) uses only groups that are on disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Mutex, RwLock};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use self::background::{Alarm, Background, Pass};
use self::disk::{Disk, RealDisk, publish};
use self::recovery::Recovery;
use self::wal::{Wal, WalFiles};
use self::writer::{Reserve, Writer};
use super::core::{Bounds, Core, CoreLog};
use super::transaction::RedoSource;
use super::{LogPosition, Topic};
use crate::clock::Clock;
use crate::engine::Sync;
use crate::error::{Error, Result};
use crate::state::snapshot::Snapshots;

mod background;
mod control;
pub mod disk;
mod group;
mod map;
pub mod measure;
mod recovery;
mod retention;
pub(crate) mod segment;
pub(crate) mod segment_reader;
mod wal;
mod writer;

pub use retention::Limits;

#[cfg(test)]
mod tests;

/// Number of the form of the data directory.
const FORMAT: u32 = 2;

/// How to open a data directory.
pub struct Options {
    pub directory: PathBuf,
    pub sync: Sync,
    pub clock: Arc<dyn Clock>,
    pub disk: Arc<dyn Disk>,
    pub limits: Limits,
    /// False: nothing happens by itself; waiting for a commit and [`EmbeddedLog::work`] do the threads' work.
    pub threads: bool,
    #[doc(hidden)]
    pub planted: Planted,
}

impl Options {
    pub fn new(directory: impl Into<PathBuf>, sync: Sync, clock: Arc<dyn Clock>) -> Self {
        Self {
            directory: directory.into(),
            sync,
            clock,
            disk: Arc::new(RealDisk),
            limits: Limits::default(),
            threads: true,
            planted: Planted::default(),
        }
    }
}

/// Mistakes put in on purpose: the crash tests must see each of them.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Planted {
    /// Segments, snapshots and checkpoints do not wait for the sync of what they use.
    pub effect_ahead: bool,
    /// Files are removed that unsealed records or state changes still need.
    pub trim_too_early: bool,
    /// Repartition topics lose what nobody has consumed yet.
    pub trim_unconsumed: bool,
    /// After a restart the ids of dropped topics are given again.
    pub reused_topic_id: bool,
    /// Recovery goes on behind a torn group.
    pub stale_group: bool,
}

/// Where things are in a data directory.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    wal: PathBuf,
    topics: PathBuf,
    state: PathBuf,
    control: PathBuf,
}

impl Paths {
    fn new(directory: &Path) -> Self {
        Self {
            wal: directory.join("wal"),
            topics: directory.join("topics"),
            state: directory.join("state"),
            control: directory.join("control"),
        }
    }

    fn topic_name(topic: &Topic) -> String {
        format!("{}-{}", file_name_of(&topic.name), topic.id.0)
    }

    fn partition(&self, topic: &Topic, partition: u32) -> PathBuf {
        self.topics.join(Self::topic_name(topic)).join(partition.to_string())
    }
}

/// A name as part of a file name; only the first part of a very long one, since ids make it unique.
pub(crate) fn file_name_of(name: &str) -> String {
    const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-');
    const BYTES_MAX: usize = 200;
    let mut encoded: String = utf8_percent_encode(name, PLAIN).to_string();
    if encoded.len() > BYTES_MAX {
        encoded.truncate(BYTES_MAX);
        encoded = format!("{encoded}{:08x}", crc32c::crc32c(name.as_bytes()));
    }
    encoded
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

pub struct EmbeddedLog {
    core: Arc<Core>,
    background: Arc<Background>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The hold on the directory; None after `close`.
    lock: Mutex<Option<Box<dyn Send + std::marker::Sync>>>,
}

impl EmbeddedLog {
    /// Opens a data directory, creating it if it is not there.
    pub fn open(options: Options) -> Result<Arc<EmbeddedLog>> {
        let Options { directory, sync, clock, disk, limits, threads, planted } = options;
        let unusable = |error: io::Error| cannot_use(&directory, error);
        disk.make_directory(&directory).map_err(unusable)?;
        if let Some(parent) = directory.parent().filter(|p| !p.as_os_str().is_empty())
            && let Err(error) = disk.sync_directory(parent)
        {
            // Somebody else's directory may be closed to us; then it is older than this start, too.
            tracing::debug!(%error, "the directory above the data directory could not be synced");
        }
        let pid = std::process::id().to_string();
        let lock = disk.lock(&directory.join("LOCK"), &pid).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => in_use(&directory, &error.to_string()),
            _ => cannot_use(&directory, error),
        })?;
        check_format(disk.as_ref(), &directory)?;
        let paths = Paths::new(&directory);
        for path in [&paths.wal, &paths.topics, &paths.state, &paths.control] {
            disk.make_directory(path).map_err(unusable)?;
        }
        disk.sync_directory(&directory).map_err(unusable)?;

        let bounds = Bounds {
            queue_bytes_max: limits.wal_queue_bytes_max,
            unsealed_bytes_max: limits.tail_bytes_max.saturating_mul(2),
        };
        let core = Core::new(clock, Some(bounds));
        let snapshots = Snapshots::new(disk.clone(), paths.state.clone());
        let files = WalFiles::default();
        let recovered = Recovery {
            core: &core,
            disk: disk.clone(),
            paths: &paths,
            snapshots: &snapshots,
            files: files.clone(),
            planted,
        }
        .run()?;
        let epoch = recovered.resume.epoch;
        let wal = Wal::resume(disk.clone(), &paths.wal, limits.wal_file_bytes_max, files.clone(), recovered.resume)
            .map_err(unusable)?;

        let reserve = Reserve { disk: disk.clone(), path: directory.join("RESERVE"), bytes: limits.reserve_bytes };
        if !reserve.take() {
            tracing::warn!("no space could be reserved for a full disk");
        }
        let alarm = Arc::new(Alarm::default());
        let on_written = {
            let (alarm, enough) = (alarm.clone(), limits.background_bytes);
            Box::new(move |bytes| alarm.written(bytes, enough))
        };
        let writer = Arc::new(Writer::new(core.clone(), sync, wal, reserve, on_written));
        let background = Arc::new(Background {
            core: core.clone(),
            disk,
            paths,
            limits,
            writer: writer.clone(),
            files,
            snapshots,
            epoch,
            planted,
            reading: RwLock::default(),
            pass: Mutex::new(Pass { checkpoint: recovered.checkpoint, doomed: Vec::new() }),
            alarm,
        });
        let log = EmbeddedLog {
            core: core.clone(),
            background: background.clone(),
            threads: Mutex::default(),
            lock: Mutex::new(Some(lock)),
        };
        if threads {
            let tidy = background.clone();
            let mut running = log.threads.lock();
            running.push(std::thread::Builder::new().name("log-writer".into()).spawn(move || {
                // Whoever waits for a commit must hear of it.
                let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.run()));
                if ran.is_err() {
                    core.fail(Error::internal("the writer of the log panicked"));
                }
            })?);
            running.push(std::thread::Builder::new().name("log-background".into()).spawn(move || tidy.run())?);
            background.alarm.ring();
        } else {
            let driver: Arc<dyn super::core::Drive> = writer;
            core.driven_by(Arc::downgrade(&driver));
        }
        Ok(Arc::new(log))
    }

    /// Writes and syncs everything sequenced so far.
    pub fn flush(&self) -> Result<LogPosition> {
        self.background.writer.sync_now()
    }

    /// One pass of the background work; by itself it is done now and then.
    pub fn work(&self) -> Result<()> {
        self.background.work()
    }

    /// Moves all records that are on disk into segments.
    pub fn seal(&self) -> Result<()> {
        self.background.seal_all()
    }

    /// Snapshots all state that has changed.
    pub fn snapshot(&self) -> Result<()> {
        self.background.snapshot_all()
    }

    /// Writes a control checkpoint and removes what it makes needless.
    pub fn checkpoint(&self) -> Result<()> {
        self.background.checkpoint_now()
    }

    fn stop(&self) -> Result<()> {
        let Some(_lock) = self.lock.lock().take() else { return Ok(()) };
        let flushed = if self.core.lock().check_open().is_ok() {
            // A checkpoint makes the next start quick, and says how far the log must reach.
            self.background.checkpoint_now()
        } else {
            Ok(())
        };
        self.core.close();
        self.background.alarm.stop();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                return Err(Error::internal("a thread of the log panicked"));
            }
        }
        flushed
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(%error, "the log could not be closed cleanly; the next start recovers it");
        }
    }
}

fn cannot_use(directory: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Error::storage(format!("data directory {} cannot be written", directory.display()))
                .with_hint("Make it writable for this user, or choose another.")
                .with_cause(error)
        }
        _ => Error::storage(format!("data directory {} cannot be used: {error}", directory.display())),
    }
}

fn in_use(directory: &Path, holder: &str) -> Error {
    let holder = if holder.is_empty() { "another process".to_string() } else { format!("process {holder}") };
    Error::storage(format!("data directory {} is in use by {holder}", directory.display()))
        .with_hint("Stop that process, or choose another directory.")
}

fn publish_format(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let text = format!("{FORMAT}\n");
    publish(disk, directory, "FORMAT", text.as_bytes()).map_err(|e| cannot_use(directory, e))
}

fn check_format(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let path = directory.join("FORMAT");
    let text = match disk.read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_string(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return publish_format(disk, directory),
        Err(error) => return Err(cannot_use(directory, error)),
    };
    match text.parse::<u32>() {
        Ok(FORMAT) => Ok(()),
        // What is there stays readable; what is written from now on is for this Headwater and newer ones.
        Ok(format) if format < FORMAT => publish_format(disk, directory),
        Ok(_) => {
            Err(Error::storage(format!("data directory {} was written by a newer Headwater", directory.display()))
                .with_hint("Update this Headwater, or choose another directory."))
        }
        Err(_) => Err(Error::storage(format!("{} is damaged", path.display()))),
    }
}

impl CoreLog for EmbeddedLog {
    fn core(&self) -> &Arc<Core> {
        &self.core
    }

    fn redo_source(&self) -> Arc<dyn RedoSource> {
        self.background.clone()
    }

    fn held_bytes(&self) -> u64 {
        let written: u64 = self.background.files.lock().iter().map(|f| f.bytes).sum();
        let state = self.core.lock();
        let sealed =
            |p: &Arc<super::partition::Partition>| -> u64 { p.inner.lock().sealed.iter().map(|s| s.file_bytes).sum() };
        written + state.partitions.values().map(sealed).sum::<u64>()
    }

    fn end(&self) -> Result<()> {
        self.stop()
    }
}

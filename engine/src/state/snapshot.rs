//! Snapshots of operator state: what the groups up to a position made of a store, so that the groups may be forgotten.
//!
//! ```text
//! state/CSAS_OUT_3~2~0/                         query, step, partition
//!   00000000000000000900.base.0.arrow           table 0 as it was at position 900: Arrow IPC
//!   00000000000000000900.base                   its manifest, published last: until then there is no snapshot
//!   00000000000000001200.delta.0.arrow          rows changed since then, deletions too
//!   00000000000000001200.delta
//! ```
//!
//! The content at 1200 is the base, then the delta. A new base follows when deltas have outgrown the last; then the older
//! files go. A manifest is JSON behind its checksum; it names the tables with their rows, bytes and checksums.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use serde::{Deserialize, Serialize};

use super::{StateChanges, StateTable};
use crate::error::{Error, Result};
use crate::log::embedded::disk::{BESIDE, Disk, publish};
use crate::log::{LogPosition, StoreId};

const MAGIC: [u8; 4] = *b"HWS1";

/// Endings of manifests.
const BASE: &str = ".base";
const DELTA: &str = ".delta";

/// Whole state, or what changed since the snapshot before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SnapshotKind {
    Base,
    Delta,
}

#[derive(Debug, Clone)]
pub struct Snapshot {
    pub kind: SnapshotKind,
    /// Position of the snapshot that a delta follows; 0 for a base.
    pub after: LogPosition,
    /// It holds the groups up to here.
    pub position: LogPosition,
    pub changes: StateChanges,
}

/// A snapshot on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub query: String,
    pub step: u32,
    pub partition: u32,
    pub kind: SnapshotKind,
    pub after: LogPosition,
    pub position: LogPosition,
    /// Which opening of the data directory wrote it.
    pub epoch: u64,
    pub tables: Vec<ManifestTable>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestTable {
    pub table: u32,
    pub file: String,
    pub rows: usize,
    pub bytes: usize,
    pub crc: u32,
    /// The table's columns, for people.
    pub schema: String,
}

impl Manifest {
    pub fn store(&self) -> StoreId {
        StoreId { query: self.query.clone(), step: self.step, partition: self.partition }
    }

    pub fn bytes(&self) -> usize {
        self.tables.iter().map(|t| t.bytes).sum()
    }
}

/// The snapshots of all stores, in one directory.
#[derive(Debug, Clone)]
pub struct Snapshots {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
}

impl Snapshots {
    pub fn new(disk: Arc<dyn Disk>, directory: PathBuf) -> Self {
        Self { disk, directory }
    }

    fn directory_of(&self, store: &StoreId) -> PathBuf {
        let query = crate::log::embedded::file_name_of(&store.query);
        self.directory.join(format!("{query}~{}~{}", store.step, store.partition))
    }

    /// Manifests of all stores there are, per store the newest base and what follows it. Damage is an error.
    pub fn all(&self) -> Result<Vec<Vec<Manifest>>> {
        let mut all = Vec::new();
        for name in self.disk.list(&self.directory)? {
            let chain = self.chain_in(&self.directory.join(name))?;
            if !chain.is_empty() {
                all.push(chain);
            }
        }
        Ok(all)
    }

    /// The newest base of a store and the deltas after it; empty without a snapshot.
    pub fn chain(&self, store: &StoreId) -> Result<Vec<Manifest>> {
        self.chain_in(&self.directory_of(store))
    }

    fn chain_in(&self, directory: &Path) -> Result<Vec<Manifest>> {
        let mut names = self.disk.list(directory)?;
        names.retain(|name| is_manifest(name));
        // What stands before the newest base is on its way out.
        names.drain(..names.iter().rposition(|name| name.ends_with(BASE)).unwrap_or(0));
        let mut chain: Vec<Manifest> = Vec::new();
        for name in names {
            let manifest = self.manifest(&directory.join(&name))?;
            let follows = match manifest.kind {
                SnapshotKind::Base => true,
                SnapshotKind::Delta => chain.last().is_some_and(|before| before.position == manifest.after),
            };
            if !follows {
                let missing = format!("the snapshot before {name} in {} is missing", directory.display());
                return Err(Error::storage(missing));
            }
            chain.push(manifest);
        }
        Ok(chain)
    }

    fn manifest(&self, path: &Path) -> Result<Manifest> {
        let bytes = self.disk.read(path)?;
        let damaged = || Error::storage(format!("snapshot {} is damaged", path.display()));
        let crc = bytes.get(4..8).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes).ok_or_else(damaged)?;
        if bytes[..4] != MAGIC || crc32c::crc32c(&bytes[8..]) != crc {
            return Err(damaged());
        }
        serde_json::from_slice(&bytes[8..]).map_err(|e| damaged().with_cause(e))
    }

    pub fn load(&self, manifest: &Manifest) -> Result<Snapshot> {
        let directory = self.directory_of(&manifest.store());
        let mut changes = StateChanges::default();
        for table in &manifest.tables {
            let path = directory.join(&table.file);
            let bytes = self.disk.read(&path)?;
            if bytes.len() != table.bytes || crc32c::crc32c(&bytes) != table.crc {
                return Err(Error::storage(format!("snapshot {} is damaged", path.display())));
            }
            let reader = FileReader::try_new(std::io::Cursor::new(bytes), None)?;
            let schema = reader.schema();
            let batches = reader.collect::<Result<Vec<RecordBatch>, _>>()?;
            changes.tables.push(StateTable { table: table.table, rows: concat_batches(&schema, &batches)? });
        }
        Ok(Snapshot { kind: manifest.kind, after: manifest.after, position: manifest.position, changes })
    }

    /// Publishes a snapshot, whose groups are all on disk; it survives a crash when this returns.
    pub fn publish(&self, store: &StoreId, epoch: u64, snapshot: &Snapshot) -> Result<Manifest> {
        let directory = self.directory_of(store);
        self.disk.make_directory(&directory)?;
        self.disk.sync_directory(&self.directory)?;
        let kind = match snapshot.kind {
            SnapshotKind::Base => BASE,
            SnapshotKind::Delta => DELTA,
        };
        let name = format!("{:020}{kind}", snapshot.position.0);
        let mut manifest = Manifest {
            format: 1,
            query: store.query.clone(),
            step: store.step,
            partition: store.partition,
            kind: snapshot.kind,
            after: snapshot.after,
            position: snapshot.position,
            epoch,
            tables: Vec::new(),
        };
        for (number, table) in snapshot.changes.tables.iter().enumerate() {
            let mut writer = FileWriter::try_new(Vec::new(), table.rows.schema_ref())?;
            writer.write(&table.rows)?;
            let bytes = writer.into_inner()?;
            // By number: a store whose rows changed their form has one table more than once.
            let file = format!("{name}.{number}.arrow");
            publish(self.disk.as_ref(), &directory, &file, &bytes)?;
            manifest.tables.push(ManifestTable {
                table: table.table,
                file,
                rows: table.rows.num_rows(),
                bytes: bytes.len(),
                crc: crc32c::crc32c(&bytes),
                schema: table.rows.schema_ref().to_string(),
            });
        }
        let json = crate::log::json_bytes(&manifest)?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&crc32c::crc32c(&json).to_le_bytes());
        bytes.extend_from_slice(&json);
        publish(self.disk.as_ref(), &directory, &name, &bytes)?;
        Ok(manifest)
    }

    /// Removes what stands before `position`: snapshots that a new base replaces. Manifests go first.
    pub fn remove_before(&self, store: &StoreId, position: LogPosition) -> Result<()> {
        self.remove_in(&self.directory_of(store), |at| at < position)
    }

    /// Removes what a query that was forgotten at `position` left behind.
    pub fn forget(&self, query: &str, position: LogPosition) -> Result<()> {
        let prefix = format!("{}~", crate::log::embedded::file_name_of(query));
        for name in self.disk.list(&self.directory)? {
            if name.strip_prefix(&prefix).is_some_and(|rest| rest.split('~').count() == 2) {
                self.remove_in(&self.directory.join(name), |at| at <= position)?;
            }
        }
        Ok(())
    }

    /// Removes files that were never finished.
    pub fn tidy(&self) -> Result<()> {
        for name in self.disk.list(&self.directory)? {
            let directory = self.directory.join(name);
            for file in self.disk.list(&directory)? {
                if file.ends_with(BESIDE) {
                    self.disk.remove(&directory.join(file))?;
                }
            }
        }
        Ok(())
    }

    fn remove_in(&self, directory: &Path, goes: impl Fn(LogPosition) -> bool) -> Result<()> {
        let mut names = self.disk.list(directory)?;
        names.retain(|name| name.get(..20).and_then(|n| n.parse().ok()).is_some_and(|at| goes(LogPosition(at))));
        // Newest manifests first, each before the next: what a crash leaves is a chain at any moment. Then the tables, which
        // no manifest names any more.
        for name in names.iter().rev().filter(|name| is_manifest(name)) {
            self.disk.remove(&directory.join(name))?;
            self.disk.sync_directory(directory)?;
        }
        for name in names.iter().filter(|name| !is_manifest(name)) {
            self.disk.remove(&directory.join(name))?;
        }
        Ok(self.disk.sync_directory(directory)?)
    }
}

fn is_manifest(name: &str) -> bool {
    name.ends_with(BASE) || name.ends_with(DELTA)
}

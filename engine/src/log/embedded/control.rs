//! The control checkpoint: all that the groups up to a position say beside records, in one small file.
//!
//! ```text
//! control/00000000000000009000.checkpoint
//! "HWC1" | CRC32C of the rest, u32 | JSON: format, epoch, position, topics, catalog, counters, consumed, partitions
//! ```
//!
//! It is published whole, only when everything up to its position is on disk; then the older one goes. The write-ahead
//! log may forget a group only if a checkpoint holds what the group said.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::disk::{Disk, publish};
use crate::error::{Error, Result};
use crate::log::control::ControlState;
use crate::log::{LogPosition, Offset, StoreId, TopicPartition};

const MAGIC: [u8; 4] = *b"HWC1";
const ENDING: &str = ".checkpoint";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub format: u32,
    pub epoch: u64,
    pub position: LogPosition,
    pub control: ControlState,
    /// Offsets kept of each partition: start and next.
    pub partitions: Vec<(TopicPartition, Offset, Offset)>,
    /// How far the snapshots of each store reach: the changes before are there and nowhere else.
    pub snapshots: Vec<(StoreId, LogPosition)>,
}

impl Checkpoint {
    /// The newest checkpoint; a damaged one is an error, since the log before it may be gone.
    pub fn load(disk: &dyn Disk, directory: &Path) -> Result<Option<Checkpoint>> {
        let names = disk.list(directory)?;
        let Some(name) = names.iter().rfind(|n| n.ends_with(ENDING)) else { return Ok(None) };
        let path = directory.join(name);
        let bytes = disk.read(&path)?;
        let damaged = || Error::storage(format!("control checkpoint {} is damaged", path.display()));
        let crc = bytes.get(4..8).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes).ok_or_else(damaged)?;
        if bytes[..4] != MAGIC || crc32c::crc32c(&bytes[8..]) != crc {
            return Err(damaged());
        }
        serde_json::from_slice(&bytes[8..]).map(Some).map_err(|e| damaged().with_cause(e))
    }

    pub fn store(&self, disk: &dyn Disk, directory: &Path) -> Result<()> {
        let json = crate::log::json_bytes(self)?;
        let mut bytes = Vec::with_capacity(json.len() + 8);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&crc32c::crc32c(&json).to_le_bytes());
        bytes.extend_from_slice(&json);
        let name = format!("{:020}{ENDING}", self.position.0);
        publish(disk, directory, &name, &bytes)?;
        for old in disk.list(directory)? {
            if old.ends_with(ENDING) && old < name {
                disk.remove(&directory.join(old))?;
            }
        }
        Ok(())
    }
}

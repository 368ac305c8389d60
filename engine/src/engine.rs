//! The engine: a data directory opened, its catalog, log and running queries.

use std::path::PathBuf;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::log::{EncodedRecords, Offset, Topic};
use crate::session::{Access, Session};

/// Where an engine keeps its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    Directory(PathBuf),
    Memory,
}

/// When an insert is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// After fsync; commits that wait share one.
    Always,
    /// After the next periodic fsync.
    IntervalMs(u64),
    /// After the write; the operating system decides when it is on disk.
    Never,
}

pub struct EngineConfig {
    pub storage: Storage,
    pub sync: Sync,
    pub clock: Arc<dyn Clock>,
    /// Worker threads for tasks; None = one per core.
    pub workers: Option<usize>,
    /// Nothing runs by itself; `Engine::step_*` drives it (headwater test, simulations).
    pub step: bool,
    /// Settings every session starts with.
    pub settings: std::collections::BTreeMap<String, String>,
}

/// A handle; clones share one engine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<EngineInner>,
}

pub(crate) struct EngineInner {}

impl Engine {
    pub fn open(_config: EngineConfig) -> Result<Engine> {
        Err(Error::internal("the engine is not built yet"))
    }

    pub fn session(&self, access: Access) -> Session {
        Session {
            engine: self.clone(),
            settings: Default::default(),
            variables: Default::default(),
            access,
            last_write: Default::default(),
        }
    }

    /// A bare topic; no error if it exists with the same number of partitions.
    pub fn create_topic(&self, _name: &str, _partitions: u32) -> Result<()> {
        Err(Error::internal("the engine is not built yet"))
    }

    /// Appends records as bytes, as a client of a log would. Returns the offset of the first; durable on return.
    pub fn produce(&self, _topic: &str, _partition: u32, _records: EncodedRecords) -> Result<Offset> {
        Err(Error::internal("the engine is not built yet"))
    }

    /// All records kept of a topic, as bytes, per partition in offset order.
    pub fn read_topic(&self, _topic: &str) -> Result<Vec<(u32, EncodedRecords)>> {
        Err(Error::internal("the engine is not built yet"))
    }

    /// The catalog as it is now.
    pub fn catalog(&self) -> Catalog {
        Catalog::default()
    }

    /// Topics, internal ones included.
    pub fn topics(&self) -> Vec<Topic> {
        Vec::new()
    }

    /// Step mode: releases up to `records` next records of one source topic partition to one query and runs its stages
    /// until they are idle. Returns how many there were.
    pub fn step(&self, _query: &str, _topic: &str, _partition: u32, _records: usize) -> Result<usize> {
        Err(Error::internal("the engine is not built yet"))
    }

    /// Step mode: releases everything to every query, depth first (a written record runs through the queries that read
    /// it before the next is released), until nothing is left.
    pub fn step_all(&self) -> Result<()> {
        Err(Error::internal("the engine is not built yet"))
    }

    /// Stops queries where they are, flushes, releases the directory. Safe to call twice.
    pub fn close(&self) -> Result<()> {
        Ok(())
    }
}

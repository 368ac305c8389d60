//! What exists: streams and tables, persistent queries, custom types.
//!
//! The log keeps it as a map of names to JSON texts (`source/S1`, `query/CSAS_S1_0`, `type/ADDRESS`), changed only in
//! groups; this is the same in typed form, kept in memory.

pub mod commands;
pub mod providers;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::{STATE_BYTES_MAX, Settings};
use crate::format::FormatSpec;
use crate::plan::adopt::Stores;
use crate::plan::steps::{Plan, WindowInfo};
use crate::schema::Schema;
use crate::types::SqlType;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceKind {
    Stream,
    Table,
}

/// A stream or table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    pub name: String,
    pub kind: SourceKind,
    pub topic: String,
    pub partitions: u32,
    pub key_format: FormatSpec,
    pub value_format: FormatSpec,
    /// Without header columns.
    pub schema: Schema,
    /// Header columns: name, and the key for `HEADER('k')` (None = all headers).
    pub headers: Vec<(String, Option<String>)>,
    pub windowed: Option<WindowInfo>,
    pub timestamp_column: Option<String>,
    pub timestamp_format: Option<String>,
    /// `CREATE SOURCE …`: read-only.
    pub is_source: bool,
    /// The query that created it (CSAS, CTAS, or a source table's own).
    pub created_by: Option<String>,
    pub sql: String,
    /// `ksql.timestamp.throw.on.invalid` when it was created.
    pub timestamp_throw_on_invalid: bool,
    /// Written rows are counted and dropped.
    pub discard: bool,
}

impl Source {
    pub fn is_table(&self) -> bool {
        self.kind == SourceKind::Table
    }
}

/// A persistent query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PersistentQuery {
    pub id: String,
    /// Position in creation order.
    pub number: u64,
    pub sql: String,
    pub plan: Plan,
    /// Names of the sources read, left to right.
    pub sources: Vec<String>,
    /// Name of the source written; None for a source table's own query.
    pub sink: Option<String>,
    /// Session settings captured at creation.
    pub settings: BTreeMap<String, String>,
    pub paused: bool,
    /// Offsets it starts at if it has no committed position: `(topic id, partition, offset)`.
    pub start: Vec<(u64, u32, i64)>,
    /// Raised by CREATE OR REPLACE.
    pub epoch: u64,
    /// Where its steps keep their state.
    pub stores: Stores,
}

impl PersistentQuery {
    /// The same query under the limits that a session has set, if it has.
    pub fn with_limits_of(mut self, settings: &Settings) -> Self {
        if let Some(limit) = settings.overridden(STATE_BYTES_MAX) {
            self.settings.insert(STATE_BYTES_MAX.into(), limit.into());
        }
        self
    }
}

/// Copies share their entries: a change of one costs a few nanoseconds for each of the others. Fine to some 100,000 of
/// them; then these should be persistent maps.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    pub sources: BTreeMap<Arc<str>, Arc<Source>>,
    pub queries: BTreeMap<Arc<str>, Arc<PersistentQuery>>,
    pub types: BTreeMap<Arc<str>, SqlType>,
    /// Number for the next query id.
    pub next_query_number: u64,
}

impl Catalog {
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.get(name).map(Arc::as_ref)
    }

    /// Queries in creation order.
    pub fn queries_in_order(&self) -> Vec<&Arc<PersistentQuery>> {
        let mut queries: Vec<_> = self.queries.values().collect();
        queries.sort_by_key(|q| q.number);
        queries
    }

    /// Ids of the queries that read `source`.
    pub fn readers_of(&self, source: &str) -> Vec<&str> {
        self.queries_in_order()
            .into_iter()
            .filter(|q| q.sources.iter().any(|s| s == source))
            .map(|q| q.id.as_str())
            .collect()
    }

    /// Ids of the queries that write `source`.
    pub fn writers_of(&self, source: &str) -> Vec<&str> {
        self.queries_in_order()
            .into_iter()
            .filter(|q| q.sink.as_deref() == Some(source))
            .map(|q| q.id.as_str())
            .collect()
    }
}

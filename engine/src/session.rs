//! A session: settings, variables, and statements one after another. Every door (command line, HTTP) is a thin layer
//! over this.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Settings;
use crate::engine::Engine;
use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::log::LogPosition;
use crate::results::ResultStream;
use crate::sql::ast::ParsedStatement;

/// How long a bounded SELECT waits for the queries that feed it to consume this session's writes.
pub const READ_YOUR_WRITES_TIMEOUT: Duration = Duration::from_secs(30);

/// What may be reached from this session's SQL.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// COPY and RUN SCRIPT may touch files (paths relative to `base`); false for every network door.
    pub files: bool,
    pub base: Option<PathBuf>,
}

pub struct Session {
    pub(crate) engine: Engine,
    pub(crate) settings: Settings,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) access: Access,
    /// The last group this session wrote.
    pub(crate) last_write: LogPosition,
}

/// What one statement answered.
pub enum Outcome {
    /// SET, DEFINE, …: nothing to show.
    Nothing,
    Entity(Entity),
    Query(ResultStream),
}

impl Session {
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        self.settings.set(name, value)
    }

    pub fn unset(&mut self, name: &str) -> Option<String> {
        self.settings.unset(name)
    }

    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    pub fn define(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_string(), value.to_string());
    }

    /// Splits text into statements and parses them. DEFINE takes effect for the statements after it.
    pub fn parse(&mut self, _sql: &str) -> Result<Vec<ParsedStatement>> {
        Err(Error::internal("the session is not built yet"))
    }

    /// Plans all statements, one on top of the other, without doing anything (ksqlDB validates a request's statements
    /// together first).
    pub fn validate(&self, _statements: &[ParsedStatement]) -> Result<()> {
        Err(Error::internal("the session is not built yet"))
    }

    /// Runs one statement. Blocks until a write is durable; a query's rows come through the stream.
    pub fn execute(&mut self, _statement: &ParsedStatement) -> Result<Outcome> {
        Err(Error::internal("the session is not built yet"))
    }

    /// Writes rows given as JSON objects (column name → value) to a stream or table; one result per row, in order.
    /// What HTTP's `/inserts-stream` does. Blocks until the accepted rows are durable.
    pub fn insert_json(
        &mut self,
        _target: &str,
        _rows: &[serde_json::Map<String, serde_json::Value>],
    ) -> Result<Vec<Result<()>>> {
        Err(Error::internal("the session is not built yet"))
    }

    /// Waits until every query, transitively, has consumed what this session wrote; the error names the query that lags.
    pub fn wait_for_writes(&self, _timeout: Duration) -> Result<()> {
        Err(Error::internal("the session is not built yet"))
    }
}

//! A session: settings, variables, and statements one after another. Every door (command line, HTTP) is a thin layer
//! over this.
//!
//! | file | statements |
//! |---|---|
//! | `ddl` | CREATE, DROP, ALTER, INSERT INTO … SELECT, TERMINATE, PAUSE, RESUME |
//! | `insert` | INSERT INTO … VALUES, rows from JSON |
//! | `copy` | COPY … FROM and … TO |
//! | `load` | `headwater load`: a file's records into a source |
//! | `select` | push, pull and batch queries, PRINT |
//! | `show` | SHOW, DESCRIBE, EXPLAIN |
//!
pub mod copy;
mod ddl;
mod door;
pub(crate) mod insert;
pub mod load;
pub(crate) mod select;
pub mod show;
mod write_file;

pub use insert::SentRow;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::clock;
use crate::config::Settings;
use crate::engine::Engine;
use crate::entity::{Entity, EntityBody};
use crate::error::{Error, Result};
use crate::log::{Producer, ProducerId};
use crate::results::ResultStream;
use crate::sql;
use crate::sql::ast::{ParsedStatement, Statement};

/// How long a bounded SELECT waits for the queries that feed it to consume this session's writes.
pub const READ_YOUR_WRITES_TIMEOUT: Duration = Duration::from_secs(30);

/// Stack for parsing and planning: deeply nested SQL is walked recursively, within the limits of `sql`.
const PLANNING_STACK_BYTES: usize = 64 * 1024 * 1024;

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
    /// Names this session to the log.
    number: u64,
    producer: Option<Box<dyn Producer>>,
    /// Something was written that a SELECT must see.
    wrote: bool,
    copy_watcher: Option<copy::CopyWatcher>,
}

/// What one statement answered.
pub enum Outcome {
    /// SET, DEFINE, …: nothing to show.
    Nothing,
    Entity(Box<Entity>),
    Query(ResultStream),
}

impl Session {
    pub(crate) fn new(engine: Engine, settings: Settings, access: Access, number: u64) -> Self {
        Self {
            engine,
            settings,
            variables: BTreeMap::new(),
            access,
            number,
            producer: None,
            wrote: false,
            copy_watcher: None,
        }
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

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

    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The directory that COPY's file names are relative to.
    pub fn set_file_base(&mut self, base: Option<PathBuf>) {
        self.access.base = base;
    }

    /// An earlier session of the same client wrote something that a bounded SELECT of this one must see.
    pub fn see_earlier_writes(&mut self) {
        self.wrote = true;
    }

    /// Splits text into statements and parses them. DEFINE takes effect for the statements after it.
    pub fn parse(&mut self, text: &str) -> Result<Vec<ParsedStatement>> {
        let options = sql::ParseOptions {
            strict: self.settings.strict(),
            substitute_variables: self.settings.bool("ksql.variable.substitution.enable"),
        };
        sql::parse(text, &self.variables, options)
    }

    /// Plans all statements, one on top of the other, without doing anything (ksqlDB validates a request's statements
    /// together first).
    pub fn validate(&self, statements: &[ParsedStatement]) -> Result<()> {
        planning(&self.engine, || {
            let mut catalog = (*self.engine.catalog()).clone();
            let mut settings = self.settings.clone();
            let mut topics = Vec::new();
            for parsed in statements {
                match &parsed.statement {
                    Statement::Set { name, value } => settings.set(name, value)?,
                    Statement::Unset { name } => {
                        settings.unset(name);
                    }
                    _ => {
                        let change = self
                            .plan_change(parsed, &catalog, &settings, &topics)
                            .map_err(|e| e.in_statement(&parsed.text))?;
                        if let Some(change) = change {
                            catalog.apply(&change);
                            topics.extend(change.create_topics);
                        }
                    }
                }
            }
            Ok(())
        })
    }

    /// Runs one statement. Blocks until a write is durable; a query's rows come through the stream.
    pub fn execute(&mut self, parsed: &ParsedStatement) -> Result<Outcome> {
        let engine = self.engine.clone();
        planning(&engine, || {
            let run = std::panic::AssertUnwindSafe(|| self.run(parsed));
            std::panic::catch_unwind(run)
                .unwrap_or_else(|panic| {
                    Err(Error::internal(format!(
                        "the statement broke an invariant: {}",
                        crate::runtime::pool::panic_text(panic.as_ref())
                    ))
                    .with_hint("this is a bug in Headwater; nothing of the statement was done"))
                })
                .map_err(|e| e.in_statement(&parsed.text))
        })
    }

    fn run(&mut self, parsed: &ParsedStatement) -> Result<Outcome> {
        let entity = |body: EntityBody| Outcome::Entity(Box::new(self::entity(&parsed.text, body)));
        Ok(match &parsed.statement {
            Statement::Set { name, value } => {
                self.settings.set(name, value)?;
                Outcome::Nothing
            }
            Statement::Unset { name } => {
                self.settings.unset(name);
                Outcome::Nothing
            }
            Statement::Define { name, value } => {
                self.define(name, value);
                Outcome::Nothing
            }
            Statement::Undefine { name } => {
                if self.variables.remove(name).is_none() {
                    return Err(Error::statement(format!("Cannot undefine variable '{name}' which was never defined")));
                }
                Outcome::Nothing
            }
            Statement::AlterSystem { name, .. } => {
                return Err(Error::statement(format!(
                    "ALTER SYSTEM is not built yet: property '{name}' can be set for this session with SET"
                )));
            }
            Statement::InsertValues(insert) => {
                let rows = self.insert_values(insert)?;
                if self.settings.strict() {
                    Outcome::Nothing
                } else {
                    entity(EntityBody::RowsWritten { rows, rejected: 0 })
                }
            }
            Statement::Query(query) => self.select(parsed, query)?,
            Statement::BatchQuery(_) => self.batch(&parsed.text)?,
            Statement::Print { topic, from_beginning, interval, limit } => {
                self.print(topic, *from_beginning, *interval, *limit)?
            }
            Statement::Show(show) => entity(self.show(show)?),
            Statement::Describe { name, extended } => {
                entity(self.describe(&name.name, *extended, Some(name.position))?)
            }
            Statement::DescribeAll { kind, extended } => entity(self.describe_all(*kind, *extended)?),
            Statement::DescribeFunction { name } => entity(self.describe_function(name)?),
            Statement::Explain(explain) => entity(self.explain(explain)?),
            Statement::Terminate(crate::sql::ast::QueryTarget::Id(id))
                if !self.engine.catalog().queries.contains_key(id.to_uppercase().as_str())
                    && self.engine.runtime().close_client(id) =>
            {
                entity(EntityBody::TerminateQuery { query_id: id.clone(), was_terminated: true })
            }
            Statement::AssertTopic { topic, properties, exists, timeout_ms } => {
                entity(self.assert_topic(topic, properties, *exists, *timeout_ms)?)
            }
            Statement::AssertSchema { .. } => {
                return Err(Error::statement("ASSERT SCHEMA needs a schema registry, which is not built yet"));
            }
            Statement::AssertValues { .. } | Statement::AssertTombstone { .. } | Statement::AssertSource(_) => {
                return Err(Error::statement(
                    "ASSERT VALUES, NULL VALUES, STREAM and TABLE run in headwater test only",
                ));
            }
            Statement::CreateConnector { .. }
            | Statement::DropConnector { .. }
            | Statement::DescribeConnector { .. } => {
                return Err(Error::statement("connectors are not built yet")
                    .with_hint("headwater load and COPY … FROM read files"));
            }
            Statement::RunScript { path } => {
                return Err(Error::statement(format!("RUN SCRIPT '{path}' is run by the command line only")));
            }
            Statement::CopyFrom { .. } | Statement::CopyTo { .. } => self.copy(parsed)?,
            _ => self.change(parsed)?,
        })
    }

    /// This session's own writer.
    pub(crate) fn producer(&mut self) -> Result<&mut Box<dyn Producer>> {
        if self.producer.is_none() {
            let id = ProducerId(format!("session/{}", self.number));
            self.producer = Some(self.engine.log().producer(&id)?);
        }
        self.producer.as_mut().ok_or_else(|| Error::internal("a producer was just made"))
    }

    /// Waits until every query, transitively, has consumed what this session wrote; the error names the query that lags.
    pub fn wait_for_writes(&self, timeout: Duration) -> Result<()> {
        if self.engine.is_step() {
            return Ok(());
        }
        let queries: Vec<String> = self.engine.catalog().queries_in_order().into_iter().map(|q| q.id.clone()).collect();
        self.engine.runtime().wait_caught_up(&queries, timeout)
    }

    /// Before a bounded SELECT of `source`: its feeding queries have consumed what this session wrote.
    fn wait_for(&self, source: &str) -> Result<()> {
        if !self.wrote || self.engine.is_step() {
            return Ok(());
        }
        self.engine.runtime().wait_caught_up(&self.engine.feeding_queries(source), READ_YOUR_WRITES_TIMEOUT)
    }
}

/// Planning walks deep trees and computes constants: on a stack of its own, on the engine's clock.
fn planning<T>(engine: &Engine, work: impl FnOnce() -> T) -> T {
    stacker::grow(PLANNING_STACK_BYTES, || clock::with(&engine.inner.clock, work))
}

pub(crate) fn entity(text: &str, body: EntityBody) -> Entity {
    let statement_text = if text.trim_end().ends_with(';') { text.to_string() } else { format!("{text};") };
    Entity { body, statement_text, warnings: Vec::new() }
}

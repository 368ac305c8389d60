//! Statements run on an engine in this process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headwater_engine::catalog::SourceKind;
use headwater_engine::clock::SystemClock;
use headwater_engine::format::json::JsonStyle;
use headwater_engine::format::json::write::Writer;
use headwater_engine::results::{EndReason, ResultEvent, ResultKind, ResultStream};
use headwater_engine::session::load::{LoadReport, LoadRequest};
use headwater_engine::{Access, Engine, EngineConfig, Outcome, Result, Session, Storage, functions};

use super::{Answer, Backend, Block, Column, End, Names, Next, RowStream, SourceNames};
use crate::args::Common;
use crate::load::{LoadSource, Progress};

pub struct Embedded {
    engine: Engine,
    session: Session,
    place: String,
    /// Of the COPY that runs.
    copy_progress: Arc<Mutex<Option<Progress>>>,
}

impl Embedded {
    pub fn open(common: &Common) -> Result<Self> {
        let engine = Engine::open(config(common))?;
        let mut session = engine.session(Access { files: true, base: None });
        let copy_progress: Arc<Mutex<Option<Progress>>> = Arc::default();
        let shown = copy_progress.clone();
        session.watch_copies(Box::new(move |copied| {
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.get_or_insert_with(|| Progress::new(copied.bytes_total)).show(copied.report);
        }));
        Ok(Self { engine, session, place: common.data().display().to_string(), copy_progress })
    }
}

/// How every command opens the engine.
pub fn config(common: &Common) -> EngineConfig {
    let storage = if common.data().as_os_str() == Common::MEMORY {
        Storage::Memory
    } else {
        Storage::Directory(common.data().to_path_buf())
    };
    EngineConfig {
        storage,
        sync: common.sync,
        clock: Arc::new(SystemClock),
        workers: None,
        step: false,
        settings: BTreeMap::new(),
    }
}

impl Embedded {
    fn run(&mut self, statement: &str) -> Result<Answer> {
        let mut entities = Vec::new();
        for parsed in self.session.parse(statement)? {
            match self.session.execute(&parsed)? {
                Outcome::Nothing => {}
                Outcome::Entity(entity) => entities.push(*entity),
                Outcome::Query(stream) => return Ok(Answer::Rows(Box::new(EngineRows::new(stream)))),
            }
        }
        Ok(if entities.is_empty() { Answer::Nothing } else { Answer::Entities(entities) })
    }
}

impl Backend for Embedded {
    fn execute(&mut self, statement: &str) -> Result<Answer> {
        let answer = self.run(statement);
        if let Some(progress) = self.copy_progress.lock().unwrap_or_else(PoisonError::into_inner).take() {
            progress.clear();
        }
        answer
    }

    fn define(&mut self, name: &str, value: &str) {
        self.session.define(name, value);
    }

    fn set_base(&mut self, base: Option<PathBuf>) {
        self.session.set_file_base(base);
    }

    fn load(&mut self, source: LoadSource<'_>, progress: &mut dyn FnMut(&LoadReport)) -> Result<LoadReport> {
        let LoadSource { target, format, input, null, key, timestamp } = source;
        self.session.load(LoadRequest { target, format, input, null, key, timestamp }, progress)
    }

    fn names(&mut self) -> Result<Names> {
        let catalog = self.engine.catalog();
        let sources = catalog.sources.values().map(|s| SourceNames {
            name: s.name.clone(),
            is_table: s.kind == SourceKind::Table,
            columns: s.schema.columns().map(|c| c.name.clone()).collect(),
        });
        Ok(Names {
            sources: sources.collect(),
            topics: self.engine.topics().into_iter().filter(|t| !t.internal).map(|t| t.name).collect(),
            queries: catalog.queries.keys().map(ToString::to_string).collect(),
            functions: functions::list().into_iter().map(|f| f.name.to_string()).collect(),
        })
    }

    fn describe(&self) -> String {
        if self.place == Common::MEMORY { "in memory".to_string() } else { format!("data in {}", self.place) }
    }

    fn close(&mut self) -> Result<()> {
        self.engine.close()
    }
}

struct EngineRows {
    stream: ResultStream,
    columns: Vec<Column>,
}

impl EngineRows {
    fn new(stream: ResultStream) -> Self {
        let columns = stream.columns.iter().map(|c| Column { name: c.name.clone(), ty: c.ty.to_string() }).collect();
        Self { stream, columns }
    }
}

impl RowStream for EngineRows {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn is_live(&self) -> bool {
        matches!(self.stream.kind, ResultKind::Push | ResultKind::Print)
    }

    fn next(&mut self, timeout: Duration) -> Result<Next> {
        Ok(match self.stream.next_blocking(timeout)? {
            None => Next::Nothing,
            Some(ResultEvent::Line(line)) => Next::Line(line),
            Some(ResultEvent::End(reason)) => Next::End(match reason {
                EndReason::Completed => End::Completed,
                EndReason::LimitReached => End::LimitReached,
                EndReason::Cancelled => End::Cancelled,
            }),
            Some(ResultEvent::Rows { batch, tombstones }) => {
                let columns = self.stream.columns.iter().zip(batch.columns());
                let cells = columns.map(|(column, array)| Writer::new(&column.ty, array.as_ref(), JsonStyle::Iso));
                let cells: Vec<Writer<'_>> = cells.collect::<Result<_>>()?;
                let mut block = Block::new(cells.len());
                for row in 0..batch.num_rows() {
                    for cell in &cells {
                        block.cell(|out| cell.write(row, out));
                    }
                    block.end_row(tombstones.as_ref().is_some_and(|t| t.value(row)));
                }
                Next::Rows(block)
            }
        })
    }

    fn cancel(&mut self) {
        self.stream.canceller().cancel();
    }

    fn notes(&self) -> Vec<String> {
        self.stream.notes()
    }
}

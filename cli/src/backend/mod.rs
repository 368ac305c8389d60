//! Where statements run: an engine in this process, or a server reached over HTTP. The rest of the command line
//! does not know which.

pub mod embedded;
pub mod remote;
mod schema_text;

use std::time::Duration;

use headwater_engine::Result;
use headwater_engine::entity::Entity;
use headwater_engine::session::load::LoadReport;

use crate::args::Common;
use crate::load::LoadSource;

pub trait Backend {
    /// Runs one statement.
    fn execute(&mut self, statement: &str) -> Result<Answer>;

    fn define(&mut self, name: &str, value: &str);

    /// The directory that file names in SQL are relative to.
    fn set_base(&mut self, base: Option<std::path::PathBuf>);

    /// Reads a file into a stream, table or topic; durable when it returns. `progress` is told after each batch.
    fn load(&mut self, source: LoadSource<'_>, progress: &mut dyn FnMut(&LoadReport)) -> Result<LoadReport>;

    /// What exists, for completion.
    fn names(&mut self) -> Result<Names>;

    /// One line for the shell's greeting.
    fn describe(&self) -> String;

    /// Stops work and releases what is held.
    fn close(&mut self) -> Result<()>;
}

pub enum Answer {
    Nothing,
    Entities(Vec<Entity>),
    Rows(Box<dyn RowStream>),
}

/// Rows on their way to the screen.
pub trait RowStream {
    fn columns(&self) -> &[Column];

    /// Whether more rows may come at any time, so that each must be shown at once.
    fn is_live(&self) -> bool;

    /// Waits up to `timeout` for what comes next.
    fn next(&mut self, timeout: Duration) -> Result<Next>;

    /// Asks the query to stop; it answers with `Next::End`.
    fn cancel(&mut self);

    /// What the reader of the rows should know of them, such as how many records could not be read.
    fn notes(&self) -> Vec<String>;
}

pub enum Next {
    Rows(Block),
    /// PRINT: a line of text.
    Line(String),
    End(End),
    /// Nothing came in time.
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Completed,
    LimitReached,
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// As SQL writes it: `BIGINT`, `ARRAY<STRING>`.
    pub ty: String,
}

/// Rows as JSON text, cell after cell: exact numbers stay exact, whatever the output.
#[derive(Debug, Clone, Default)]
pub struct Block {
    columns: usize,
    text: Vec<u8>,
    /// Where each cell ends in `text`.
    ends: Vec<usize>,
    deleted: Vec<bool>,
}

impl Block {
    pub fn new(columns: usize) -> Self {
        Self { columns, ..Self::default() }
    }

    /// Adds a cell; a row is complete once it has all its cells and `end_row` is called.
    pub fn cell(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.text);
        self.ends.push(self.text.len());
    }

    pub fn end_row(&mut self, deleted: bool) {
        debug_assert_eq!(self.ends.len(), (self.deleted.len() + 1) * self.columns);
        self.deleted.push(deleted);
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    pub fn rows(&self) -> usize {
        self.deleted.len()
    }

    pub fn is_deleted(&self, row: usize) -> bool {
        self.deleted[row]
    }

    /// JSON text of one cell.
    pub fn get(&self, row: usize, column: usize) -> &[u8] {
        let cell = row * self.columns + column;
        let start = if cell == 0 { 0 } else { self.ends[cell - 1] };
        &self.text[start..self.ends[cell]]
    }

    pub fn truncate(&mut self, rows: usize) {
        self.deleted.truncate(rows);
        self.ends.truncate(rows * self.columns);
    }
}

/// Names a statement may use.
#[derive(Debug, Clone, Default)]
pub struct Names {
    pub sources: Vec<SourceNames>,
    pub topics: Vec<String>,
    pub queries: Vec<String>,
    pub functions: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub struct SourceNames {
    pub name: String,
    pub is_table: bool,
    pub columns: Vec<String>,
}

/// Opens what the options name.
pub fn open(common: &Common) -> Result<Box<dyn Backend>> {
    let mut backend: Box<dyn Backend> = match &common.server {
        Some(url) => Box::new(remote::Remote::connect(url)?),
        None => Box::new(embedded::Embedded::open(common)?),
    };
    for (name, value) in &common.define {
        backend.define(name, value);
    }
    Ok(backend)
}

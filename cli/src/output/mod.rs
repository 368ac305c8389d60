//! The six ways a result is written. A writer is told the columns, then blocks of rows, then the end.
//!
//! | mode | for |
//! |---|---|
//! | table, expanded, markdown | reading |
//! | csv | spreadsheets: a header line, null is empty, an empty string is `""` |
//! | json | one array of objects per result |
//! | ndjson | one object a line |

pub mod error;
mod expanded;
pub mod grid;
mod machine;
mod markdown;
mod table;

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use crate::args::OutputMode;
use crate::backend::{Block, Column};

/// What the place that results go to can show.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    pub colour: bool,
    /// Columns of the terminal; None = nothing is ever cut.
    pub width: Option<usize>,
}

pub trait ResultWriter {
    fn begin(&mut self, columns: &[Column], out: &mut dyn Write) -> io::Result<()>;
    fn rows(&mut self, block: &Block, out: &mut dyn Write) -> io::Result<()>;
    fn end(&mut self, out: &mut dyn Write) -> io::Result<()>;
}

pub fn writer(mode: OutputMode, style: &Style, live: bool) -> Box<dyn ResultWriter> {
    match mode {
        OutputMode::Table => Box::new(table::Table::new(*style, live)),
        OutputMode::Expanded => Box::new(expanded::Expanded::default()),
        OutputMode::Csv => Box::new(machine::Csv),
        OutputMode::Json => Box::new(machine::Json::array()),
        OutputMode::Ndjson => Box::new(machine::Json::lines()),
        OutputMode::Markdown => Box::new(markdown::Markdown),
    }
}

/// Whether escape codes are welcome: a terminal that is not dumb, and no NO_COLOR.
pub fn colour(stream: &impl IsTerminal) -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    stream.is_terminal() && !dumb && !unwanted
}

/// A cell for people: strings without quotes; None is NULL.
fn plain(json: &[u8]) -> Option<Cow<'_, str>> {
    match json.first() {
        Some(b'"') => match serde_json::from_slice::<String>(json) {
            Ok(text) => Some(Cow::Owned(text)),
            Err(_) => Some(String::from_utf8_lossy(json)),
        },
        Some(b'n') if json == b"null" => None,
        _ => Some(String::from_utf8_lossy(json)),
    }
}

/// Text on one line, with nothing that would move a terminal's cursor.
fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(|c: char| c.is_control()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Columns of the terminal, or None if nobody knows.
pub fn terminal_width() -> Option<usize> {
    let named = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    named.or_else(|| rustyline::DefaultEditor::new().ok()?.dimensions().map(|(columns, _)| columns as usize))
}

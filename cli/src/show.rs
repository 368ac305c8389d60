//! Shows what a statement answered: rows as they come, entities as tables, statuses as messages.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headwater_engine::clock::Stopwatch;
use headwater_engine::entity::{Entity, EntityBody};
use headwater_engine::{Error, Result};

use crate::args::{Common, OutputMode};
use crate::backend::{Answer, Block, End, Next, RowStream};
use crate::interrupt;
use crate::output::grid::{self, Grid};
use crate::output::{self, Style};

/// How often a waiting query looks for Ctrl-C.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// A cancelled query is given this long to say so.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// How answers are shown; the shell changes it as it goes.
pub struct View {
    pub mode: OutputMode,
    pub style: Style,
    pub row_limit: Option<u64>,
    pub timeout: Option<Duration>,
    pub timing: bool,
    /// Row counts and messages of statements that went well.
    pub chatty: bool,
}

impl View {
    pub fn new(common: &Common, style: Style, mode: OutputMode) -> Self {
        Self {
            mode: common.output.unwrap_or(mode),
            style,
            row_limit: common.query_row_limit,
            timeout: common.query_timeout.map(Duration::from_millis),
            timing: false,
            chatty: true,
        }
    }
}

/// Whether a query ran to its end or was stopped by Ctrl-C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Done,
    Interrupted,
}

/// Results to `out`, messages to stderr.
pub fn answer(answer: Answer, view: &View, out: &mut dyn Write) -> Result<Shown> {
    match answer {
        Answer::Nothing => Ok(Shown::Done),
        Answer::Entities(entities) => {
            for entity in &entities {
                self::entity(entity, view, out)?;
            }
            Ok(Shown::Done)
        }
        Answer::Rows(stream) => rows(stream, view, out),
    }
}

fn entity(entity: &Entity, view: &View, out: &mut dyn Write) -> Result<()> {
    for warning in &entity.warnings {
        eprintln!("warning: {}", warning.message);
    }
    match &entity.body {
        EntityBody::CurrentStatus { command_status, .. } => {
            if view.chatty {
                eprintln!("{}", command_status.message);
            }
        }
        EntityBody::Warning { message } => eprintln!("warning: {message}"),
        EntityBody::RowsWritten { rows, rejected } => {
            if view.chatty {
                eprintln!("{}", written(*rows, *rejected));
            }
        }
        EntityBody::TerminateQuery { query_id, was_terminated } => {
            let outcome = if *was_terminated { "was terminated" } else { "was not running" };
            eprintln!("{query_id} {outcome}");
        }
        body => {
            for grid in grid::of_entity(body) {
                self::grid(&grid, view, out)?;
            }
        }
    }
    Ok(())
}

/// `3 rows written, 1 rejected`
pub fn written(rows: u64, rejected: u64) -> String {
    match rejected {
        0 => format!("{} written", counted(rows, "row")),
        _ => format!("{} written, {rejected} rejected", counted(rows, "row")),
    }
}

pub fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

pub fn grid(grid: &Grid, view: &View, out: &mut dyn Write) -> Result<()> {
    let mut writer = output::writer(view.mode, &view.style, false);
    if let Some(title) = &grid.title
        && matches!(view.mode, OutputMode::Table | OutputMode::Expanded | OutputMode::Markdown)
    {
        write_out(out, |out| writeln!(out, "{title}"))?;
    }
    write_out(out, |out| {
        writer.begin(&grid.columns, out)?;
        writer.rows(&grid.rows, out)?;
        writer.end(out)?;
        gap(view, out)
    })
}

/// Results for reading stand apart.
fn gap(view: &View, out: &mut dyn Write) -> std::io::Result<()> {
    match view.mode {
        OutputMode::Table | OutputMode::Expanded | OutputMode::Markdown => writeln!(out).and_then(|()| out.flush()),
        OutputMode::Csv | OutputMode::Json | OutputMode::Ndjson => Ok(()),
    }
}

fn rows(mut stream: Box<dyn RowStream>, view: &View, out: &mut dyn Write) -> Result<Shown> {
    let clock = Stopwatch::start();
    let live = stream.is_live();
    let columns = stream.columns().to_vec();
    let mut writer = output::writer(view.mode, &view.style, live);
    let lines_only = columns.is_empty();
    if !lines_only {
        write_out(out, |out| writer.begin(&columns, out).and_then(|()| if live { out.flush() } else { Ok(()) }))?;
    }
    let mut left = view.row_limit.unwrap_or(u64::MAX);
    let mut shown = 0u64;
    let mut interrupted = false;
    let end = loop {
        if interrupt::pressed() {
            interrupted = true;
            break End::Cancelled;
        }
        let mut wait = POLL_INTERVAL;
        if live && let Some(timeout) = view.timeout {
            let remaining = timeout.saturating_sub(clock.elapsed());
            if remaining.is_zero() {
                break End::LimitReached;
            }
            wait = wait.min(remaining);
        }
        if left == 0 {
            break End::LimitReached;
        }
        match stream.next(wait) {
            Ok(Next::Nothing) => {}
            Ok(Next::End(end)) => break end,
            Ok(Next::Line(line)) => {
                write_out(out, |out| writeln!(out, "{line}").and_then(|()| out.flush()))?;
                (left, shown) = (left - 1, shown + 1);
            }
            Ok(Next::Rows(mut block)) => {
                truncate(&mut block, left);
                (left, shown) = (left - block.rows() as u64, shown + block.rows() as u64);
                write_out(out, |out| writer.rows(&block, out).and_then(|()| if live { out.flush() } else { Ok(()) }))?;
            }
            Err(error) => {
                if !lines_only {
                    write_out(out, |out| writer.end(out))?;
                }
                return Err(error);
            }
        }
    };
    if matches!(end, End::Cancelled | End::LimitReached) {
        stop(&mut *stream);
    }
    if !lines_only {
        write_out(out, |out| writer.end(out).and_then(|()| gap(view, out)))?;
    }
    if view.chatty {
        let why = match (interrupted, &end) {
            (true, _) => ", interrupted",
            (false, End::Cancelled) => ", terminated",
            _ => "",
        };
        let notes: String = stream.notes().iter().map(|note| format!(", {note}")).collect();
        eprintln!("({}{notes}{why})", counted(shown, if lines_only { "line" } else { "row" }));
    }
    Ok(if interrupted { Shown::Interrupted } else { Shown::Done })
}

fn truncate(block: &mut Block, left: u64) {
    if let Ok(left) = usize::try_from(left)
        && block.rows() > left
    {
        block.truncate(left);
    }
}

/// Cancels and waits until the query says that it has stopped, so that the next statement finds it gone.
fn stop(stream: &mut dyn RowStream) {
    stream.cancel();
    let clock = Stopwatch::start();
    while clock.elapsed() < CANCEL_TIMEOUT {
        match stream.next(POLL_INTERVAL) {
            Ok(Next::End(_)) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Set when the reader of our results has seen enough (`| head`): no failure, but nothing more is to be done.
static READER_GONE: AtomicBool = AtomicBool::new(false);

pub fn reader_is_gone() -> bool {
    READER_GONE.load(Ordering::Relaxed)
}

/// Fails as the user must know it; ask [`reader_is_gone`] before saying so.
pub fn write_out(out: &mut dyn Write, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    match write(out) {
        Ok(()) => Ok(()),
        Err(error) => Err({
            READER_GONE.fetch_or(error.kind() == std::io::ErrorKind::BrokenPipe, Ordering::Relaxed);
            Error::storage(format!("the result cannot be written: {error}"))
        }),
    }
}

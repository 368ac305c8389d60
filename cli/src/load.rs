//! `headwater load TARGET FILE`: JSON lines or CSV into a stream, a table or a topic.
//!
//! An embedded engine reads the file itself; a server is sent it and does the same. A bad row goes to the rejected log
//! with its line and the reason, is counted, and never stops a load.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headwater_engine::clock::Stopwatch;
use headwater_engine::session::load::{LoadFormat, LoadReport};
use headwater_engine::{Error, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::{Common, LoadArgs, LoadFormatName};
use crate::backend;
use crate::exit::{Exit, usage};
use crate::interrupt;
use crate::output::{self, error};
use crate::show::counted;

/// What a backend is asked to load.
pub struct LoadSource<'a> {
    pub target: &'a str,
    pub format: LoadFormat,
    pub input: Box<dyn Read + 'a>,
    pub null: Option<&'a str>,
    pub key: Option<&'a str>,
    pub timestamp: Option<&'a str>,
}

pub fn run(common: &Common, args: &LoadArgs) -> Result<(), Exit> {
    common.check()?;
    interrupt::listen();
    let colour = output::colour(&io::stderr());
    let told = |error: &Error| eprint!("{}", error::render_plain(error, colour));
    let format = match format(args) {
        Some(format) => format,
        None => return usage("the file's name does not say what it holds: give --format json or --format csv"),
    };
    let (input, bytes) = open(&args.file).map_err(|error| {
        told(&error);
        Exit::Usage
    })?;
    let mut backend = backend::open(common).map_err(|error| {
        told(&error);
        Exit::Connection
    })?;
    let progress = Progress::new(bytes);
    let source = LoadSource {
        target: &args.target,
        format,
        input: Box::new(Watched { inner: input, bytes: progress.bytes.clone() }),
        null: args.null.as_deref(),
        key: args.key.as_deref(),
        timestamp: args.timestamp.as_deref(),
    };
    let clock = Stopwatch::start();
    let loaded = backend.load(source, &mut |report| progress.show(report));
    progress.clear();
    let loaded = loaded.and_then(|report| backend.close().map(|()| report));
    let report = match loaded {
        Ok(report) => report,
        Err(_) if interrupt::pressed() => return Err(Exit::Interrupted),
        Err(error) => {
            told(&error);
            return Err(Exit::from(&error));
        }
    };
    summary(&report, args, clock.elapsed());
    match args.max_errors {
        Some(max) if report.rejected > max => {
            eprintln!("error: {} rejected, more than --max-errors {max}", counted(report.rejected, "row"));
            Err(Exit::Sql)
        }
        _ => Ok(()),
    }
}

/// As told, or as the file is called.
fn format(args: &LoadArgs) -> Option<LoadFormat> {
    match args.format {
        Some(LoadFormatName::Json) => Some(LoadFormat::Json),
        Some(LoadFormatName::Csv) => Some(LoadFormat::Csv),
        None => match args.file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "json" | "jsonl" | "ndjson" => Some(LoadFormat::Json),
            "csv" => Some(LoadFormat::Csv),
            _ => None,
        },
    }
}

/// The input, and how many bytes it has if that is known.
fn open(file: &Path) -> Result<(Box<dyn Read>, Option<u64>)> {
    if file.as_os_str() == "-" {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let unreadable = |e: io::Error| Error::statement(format!("{} cannot be read: {e}", file.display()));
    let opened = File::open(file).map_err(unreadable)?;
    let metadata = opened.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(Error::statement(format!("{} is a directory", file.display())));
    }
    Ok((Box::new(opened), metadata.is_file().then_some(metadata.len())))
}

fn summary(report: &LoadReport, args: &LoadArgs, elapsed: Duration) {
    for (what, columns) in
        [("ignored", &report.ignored_columns), ("null, the file lacks them", &report.missing_columns)]
    {
        if !columns.is_empty() {
            eprintln!("columns {what}: {}", columns.join(", "));
        }
    }
    for (line, reason) in &report.first_errors {
        eprintln!("line {line}: {reason}");
    }
    let seconds = elapsed.as_secs_f64();
    let speed = if seconds > 0.0 { report.rows as f64 / seconds } else { 0.0 };
    let rejected = if report.rejected > 0 { format!(", {} rejected", report.rejected) } else { String::new() };
    eprintln!(
        "{} loaded into {}{rejected} in {seconds:.2} s ({speed:.0} rows/s)",
        counted(report.rows, "row"),
        args.target
    );
    if report.rejected > 0 {
        eprintln!("try next: SELECT line, error FROM `{}$REJECTED`;", args.target.to_uppercase());
    } else {
        eprintln!("try next: SELECT * FROM {} LIMIT 10;", args.target);
    }
}

/// Counts what is read, and ends at Ctrl-C.
struct Watched<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if interrupt::pressed() {
            return Err(io::Error::other("interrupted"));
        }
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// A bar on a terminal, nothing elsewhere.
pub struct Progress {
    bar: ProgressBar,
    /// Read so far.
    bytes: Arc<AtomicU64>,
    clock: Stopwatch,
}

impl Progress {
    /// `bytes` is what there is to read, if that is known.
    pub fn new(bytes: Option<u64>) -> Self {
        let shown = io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(bytes, target);
        let template = match bytes {
            Some(_) => "{bar:30} {percent:>3} %  {bytes} of {total_bytes}  {msg}",
            None => "{spinner} {bytes}  {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, bytes: Arc::default(), clock: Stopwatch::start() }
    }

    pub fn show(&self, report: &LoadReport) {
        self.bytes.fetch_max(report.bytes, Ordering::Relaxed);
        self.bar.set_position(self.bytes.load(Ordering::Relaxed));
        let seconds = self.clock.elapsed().as_secs_f64();
        // A server tells the rows at the end; the speed of the first moment says nothing.
        match (report.rows, seconds) {
            (0, _) => {}
            (rows, ..0.1) => self.bar.set_message(format!("{rows} rows")),
            (rows, _) => self.bar.set_message(format!("{rows} rows  {:.0} rows/s", rows as f64 / seconds)),
        }
    }

    /// Leaves the screen as it was.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

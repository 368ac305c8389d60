//! `headwater load` and COPY … FROM: the records of a file into a source or a bare topic.
//!
//! A load reads lines (`json`) or records (`csv`), types them at the door and writes them in groups. What cannot be
//! read goes to the rejected log with its line and the reason; it never stops the load.
//!
//! ```text
//! line 2: {"ID": 1, "V": "x"}   → rejected, LINE 2: cannot read "x" as INTEGER
//! line 3: {"ID": 2, "V": 7}     → S: ID 2, V 7
//! ```

mod csv;
mod json;
mod time;

use std::collections::VecDeque;
use std::io::Read;

use arrow::array::{Array, BinaryArray, Int64Array};

use self::csv::CsvRuns;
use self::json::{FieldPicker, Lines, json_run};
use super::Session;
use super::door::{Door, Run, Spread};
use super::insert::writable;
use crate::error::{Error, Result};
use crate::log::{Commit, EncodedRecords, LogBody, ReadLevel, Transaction, partitioner};
use crate::runtime::sink::append;

/// Records in one group of a load.
const LOAD_ROWS_MAX: usize = 8192;

/// Lines are taken no further beyond this.
const LOAD_RUN_BYTES: usize = 16 << 20;

/// Groups of a load on their way to the disk at once.
const LOAD_GROUPS_IN_FLIGHT_MAX: usize = 16;

/// Longest line of a loaded file.
pub const LOAD_LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadFormat {
    /// One object a line.
    Json,
    /// With a header line.
    Csv,
}

pub struct LoadRequest<'a> {
    /// A stream, a table, or a bare topic (JSON only; lines are kept as they are).
    pub target: &'a str,
    pub format: LoadFormat,
    pub input: Box<dyn Read + 'a>,
    /// Text that stands for null in CSV, beside the empty field.
    pub null: Option<&'a str>,
    /// For a bare topic: the field that becomes the record's key.
    pub key: Option<&'a str>,
    /// Column that gives ROWTIME: epoch milliseconds or ISO 8601.
    pub timestamp: Option<&'a str>,
}

/// What a load has done so far, and in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    pub bytes: u64,
    pub rows: u64,
    pub rejected: u64,
    /// First rejected lines and why.
    pub first_errors: Vec<(u64, String)>,
    /// CSV columns the target does not have.
    pub ignored_columns: Vec<String>,
    /// Columns of the target the CSV does not have.
    pub missing_columns: Vec<String>,
}

impl LoadReport {
    fn reject(&mut self, line: u64, reason: &str) {
        self.rejected += 1;
        if self.first_errors.len() < 5 {
            self.first_errors.push((line, reason.to_string()));
        }
    }
}

impl Session {
    /// Reads a file into a source or topic. Durable when it returns. `progress` is told after each group.
    pub fn load(&mut self, request: LoadRequest<'_>, progress: &mut dyn FnMut(&LoadReport)) -> Result<LoadReport> {
        let catalog = self.engine.catalog();
        let known = catalog.source(request.target).or_else(|| catalog.source(&request.target.to_uppercase()));
        if known.is_none() && self.engine.log().topic(request.target).is_some() {
            return self.load_topic(request, progress);
        }
        let source = writable(&catalog, request.target)?.clone();
        let mut writer = LoadWriter { door: Door::new(&self.engine, &source, "LOAD", 0)?, flight: Flight::default() };
        let mut report = LoadReport::default();
        let now_ms = self.engine.inner.clock.now_ms();
        match request.format {
            LoadFormat::Json => {
                let mut lines = Lines::new(request.input);
                while let Some((first, objects)) = lines.next_lines(LOAD_ROWS_MAX)? {
                    let record = |row: usize| json::record(first, &objects, row);
                    let run = json_run(&source, &objects, &record, request.timestamp, now_ms)?;
                    writer.write(self, run, &mut report)?;
                    report.bytes = lines.bytes;
                    progress(&report);
                }
            }
            LoadFormat::Csv => {
                let mut runs = CsvRuns::new(&source, request, &mut report)?;
                while let Some(records) = runs.next_records(LOAD_ROWS_MAX)? {
                    let record = |row: usize| csv::record(&records, row);
                    let run = runs.run(&source, &records, &record, now_ms)?;
                    writer.write(self, run, &mut report)?;
                    report.bytes = runs.bytes();
                    progress(&report);
                }
            }
        }
        writer.flight.finish()?;
        self.wrote = true;
        Ok(report)
    }

    /// JSON lines as they are, into a topic no source types.
    fn load_topic(&mut self, request: LoadRequest<'_>, progress: &mut dyn FnMut(&LoadReport)) -> Result<LoadReport> {
        if request.format != LoadFormat::Json {
            return Err(Error::statement(format!(
                "{} is a topic without columns: only JSON can be loaded",
                request.target
            ))
            .with_hint("CREATE STREAM … WITH (KAFKA_TOPIC = …) gives it columns"));
        }
        let topic = self
            .engine
            .log()
            .topic(request.target)
            .ok_or_else(|| Error::not_found(format!("topic {} does not exist", request.target)))?;
        let mut report = LoadReport::default();
        let mut lines = Lines::new(request.input);
        let mut flight = Flight::default();
        let now_ms = self.engine.inner.clock.now_ms();
        let fields = FieldPicker::new(request.key, request.timestamp)?;
        while let Some((first, objects)) = lines.next_lines(LOAD_ROWS_MAX)? {
            let picked = fields.pick(&objects, now_ms)?;
            let mut keep = vec![true; objects.len()];
            for error in &picked.errors {
                report.reject(first + error.row as u64, &error.message);
                keep[error.row] = false;
            }
            let mut by_partition: Vec<Vec<usize>> = vec![Vec::new(); topic.partitions as usize];
            for row in (0..objects.len()).filter(|row| keep[*row]) {
                let partition = match picked.keys.as_ref().filter(|keys| !keys.is_null(row)) {
                    Some(keys) => partitioner::partition_of(keys.value(row).as_bytes(), topic.partitions) as usize,
                    None => row % topic.partitions as usize,
                };
                by_partition[partition].push(row);
            }
            let mut transaction = self.producer()?.begin()?;
            for (partition, rows) in by_partition.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
                report.rows += rows.len() as u64;
                let key_of = |row: &usize| picked.keys.as_ref().filter(|k| !k.is_null(*row)).map(|k| k.value(*row));
                let records = EncodedRecords {
                    keys: rows.iter().map(|row| key_of(row).map(str::as_bytes)).collect(),
                    values: BinaryArray::from_iter_values(rows.iter().map(|row| objects.value(*row))),
                    time: Int64Array::from_iter_values(rows.iter().map(|row| picked.time.value(*row))),
                    headers: None,
                };
                append(transaction.as_mut(), &topic, partition as u32, LogBody::Encoded(records))?;
            }
            flight.commit(transaction)?;
            report.bytes = lines.bytes;
            progress(&report);
        }
        flight.finish()?;
        self.wrote = true;
        Ok(report)
    }
}

struct LoadWriter {
    door: Door,
    flight: Flight,
}

impl LoadWriter {
    fn write(&mut self, session: &mut Session, run: Run<'_>, report: &mut LoadReport) -> Result<()> {
        let mut admitted = self.door.admit(run)?;
        // A blank line is no record.
        admitted.refused.retain(|(_, record, _)| {
            record.raw.as_ref().is_none_or(|raw| raw.iter().any(|byte| !byte.is_ascii_whitespace()))
        });
        report.rows += admitted.rows.len() as u64;
        for (_, record, reason) in &admitted.refused {
            report.reject(record.line.unwrap_or(0), reason);
        }
        let now_ms = session.engine.inner.clock.now_ms();
        let mut transaction = session.producer()?.begin()?;
        self.door.append(admitted, Spread::Runs, now_ms, transaction.as_mut())?;
        self.flight.commit(transaction)
    }
}

/// Groups that are not durable yet.
#[derive(Default)]
struct Flight(VecDeque<Commit>);

impl Flight {
    fn commit(&mut self, transaction: Box<dyn Transaction>) -> Result<()> {
        self.0.push_back(transaction.commit(ReadLevel::Durable, None)?);
        while self.0.len() > LOAD_GROUPS_IN_FLIGHT_MAX {
            if let Some(oldest) = self.0.pop_front() {
                oldest.wait()?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        while let Some(oldest) = self.0.pop_front() {
            oldest.wait()?;
        }
        Ok(())
    }
}

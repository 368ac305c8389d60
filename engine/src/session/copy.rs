//! Files in and out: `headwater load`, COPY … FROM, COPY … TO.
//!
//! A load reads lines (JSON) or records (CSV with a header), types them at the door and writes them in groups. A line
//! that cannot be read goes to the rejected log with its number and the reason; it never stops the load.
//!
//! ```text
//! line 2: {"ID": 1, "V": "x"}   → rejected, LINE 2: cannot read "x" as INTEGER
//! line 3: {"ID": 2, "V": 7}     → S: ID 2, V 7
//! ```

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, StringArray, StringBuilder};

use super::insert::{decode_objects, with_null_keys, writable};
use super::{Outcome, Session, entity};
use crate::catalog::Source;
use crate::entity::EntityBody;
use crate::error::{Error, Result, RowError};
use crate::format::json::write::{JsonStyle, write_string, write_value};
use crate::log::{Commit, EncodedRecords, LogBody, ReadLevel, Topic, Transaction};
use crate::plan::compile::Compiled;
use crate::plan::expr::Expr;
use crate::results::{EndReason, ResultEvent};
use crate::rows::{Change, Rows, batch_of};
use crate::runtime::rejects::{RejectedAt, rejected_name, rejected_rows, rejected_schema, system_source};
use crate::runtime::scan::Rejected;
use crate::runtime::sink::{append, split};
use crate::runtime::typed::{TypedCodec, TypedSchema};
use crate::schema::{Column, ROWTIME};
use crate::sql::ast::{Literal, ParsedStatement, Property, Statement};
use crate::types::SqlType;

/// Records in one group of a load.
const LOAD_ROWS_MAX: usize = 8192;

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

/// How far a COPY … FROM has come.
pub struct CopyProgress<'a> {
    pub report: &'a LoadReport,
    /// What there is to read, if that is known.
    pub bytes_total: Option<u64>,
}

/// Told after each group of a COPY … FROM.
pub type CopyWatcher = Box<dyn FnMut(CopyProgress<'_>) + Send>;

impl LoadReport {
    fn reject(&mut self, line: u64, reason: &str) {
        self.rejected += 1;
        if self.first_errors.len() < 5 {
            self.first_errors.push((line, reason.to_string()));
        }
    }
}

/// A run of records read from a file: columns of the target, or the reasons why not.
struct Run {
    rows: Rows,
    rejected: Vec<(u64, Rejected)>,
}

impl Session {
    /// Reads a file into a source or topic. Durable when it returns. `progress` is told after each group.
    pub fn load(&mut self, request: LoadRequest<'_>, progress: &mut dyn FnMut(&LoadReport)) -> Result<LoadReport> {
        let catalog = self.engine.catalog_now();
        let known = catalog.source(request.target).or_else(|| catalog.source(&request.target.to_uppercase()));
        if known.is_none() && self.engine.log().topic(request.target).is_some() {
            return self.load_topic(request, progress);
        }
        let source = writable(&catalog, request.target)?.clone();
        let mut writer = LoadWriter::new(self, &source)?;
        let mut report = LoadReport::default();
        let now_ms = self.engine.inner.clock.now_ms();
        match request.format {
            LoadFormat::Json => {
                let mut lines = Lines::new(request.input);
                while let Some((first, texts)) = lines.next_lines(LOAD_ROWS_MAX)? {
                    let run = json_run(&source, first, &texts, request.timestamp, now_ms)?;
                    writer.write(self, run, &mut report)?;
                    report.bytes = lines.bytes;
                    progress(&report);
                }
            }
            LoadFormat::Csv => {
                let counted = Counted { inner: request.input, bytes: Arc::default() };
                let bytes = counted.bytes.clone();
                let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(counted);
                let headers = reader.headers().map_err(csv_error)?.clone();
                let csv = CsvColumns::new(&source, &headers, request.null, request.timestamp, &mut report)?;
                let mut records = Vec::with_capacity(LOAD_ROWS_MAX);
                let mut done = false;
                while !done {
                    records.clear();
                    while records.len() < LOAD_ROWS_MAX {
                        let mut record = csv::StringRecord::new();
                        match reader.read_record(&mut record) {
                            Ok(true) => records.push(Ok(record)),
                            Ok(false) => {
                                done = true;
                                break;
                            }
                            Err(error) if error.is_io_error() => return Err(csv_error(error)),
                            Err(error) => {
                                let line = error.position().map_or(0, csv::Position::line);
                                records.push(Err((line, error.to_string())));
                            }
                        }
                    }
                    if !records.is_empty() {
                        let run = csv.run(&source, &records, now_ms)?;
                        writer.write(self, run, &mut report)?;
                        report.bytes = bytes.load(std::sync::atomic::Ordering::Relaxed);
                        progress(&report);
                    }
                }
            }
        }
        writer.finish()?;
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
        while let Some((first, texts)) = lines.next_lines(LOAD_ROWS_MAX)? {
            let bytes = BinaryArray::from_iter_values(texts.iter().map(Vec::as_slice));
            let picked = fields.pick(&bytes, now_ms)?;
            for error in &picked.errors {
                report.reject(first + error.row as u64, &error.message);
            }
            let mut keep = vec![true; texts.len()];
            for error in &picked.errors {
                keep[error.row] = false;
            }
            let by_partition = (0..texts.len()).filter(|row| keep[*row]).fold(
                vec![Vec::new(); topic.partitions as usize],
                |mut parts: Vec<Vec<usize>>, row| {
                    let partition = match picked.keys.as_ref().filter(|k| !k.is_null(row)) {
                        Some(keys) => {
                            crate::log::partitioner::partition_of(keys.value(row).as_bytes(), topic.partitions) as usize
                        }
                        None => row % topic.partitions as usize,
                    };
                    parts[partition].push(row);
                    parts
                },
            );
            let mut transaction = self.producer()?.begin()?;
            for (partition, rows) in by_partition.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
                report.rows += rows.len() as u64;
                let records = EncodedRecords {
                    keys: match &picked.keys {
                        Some(keys) => {
                            rows.iter().map(|r| (!keys.is_null(*r)).then(|| keys.value(*r).as_bytes())).collect()
                        }
                        None => BinaryArray::new_null(rows.len()),
                    },
                    values: BinaryArray::from_iter_values(rows.iter().map(|r| texts[*r].as_slice())),
                    time: Int64Array::from_iter_values(rows.iter().map(|r| picked.time.value(*r))),
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

    /// Who is told how far a COPY … FROM has come.
    pub fn watch_copies(&mut self, watcher: CopyWatcher) {
        self.copy_watcher = Some(watcher);
    }

    /// COPY … FROM and COPY … TO.
    pub(super) fn copy(&mut self, parsed: &ParsedStatement) -> Result<Outcome> {
        if !self.access.files {
            return Err(Error::statement(
                "COPY reads and writes files of this machine, which SQL over the network may not",
            )
            .with_hint("headwater load sends a file from where you are"));
        }
        let body = match &parsed.statement {
            Statement::CopyFrom { target, path, options } => {
                let options = CopyOptions::new(options, path)?;
                let path = self.path(path);
                let file = std::fs::File::open(&path)
                    .map_err(|e| Error::statement(format!("file {} cannot be read: {e}", path.display())))?;
                let bytes_total = file.metadata().ok().filter(|m| m.is_file()).map(|m| m.len());
                let request = LoadRequest {
                    target: &target.name,
                    format: match options.format.as_str() {
                        "CSV" => LoadFormat::Csv,
                        _ => LoadFormat::Json,
                    },
                    input: Box::new(file),
                    null: options.null.as_deref(),
                    key: options.key.as_deref(),
                    timestamp: options.timestamp.as_deref(),
                };
                let mut watcher = self.copy_watcher.take();
                let mut tell = |report: &LoadReport| {
                    if let Some(watcher) = &mut watcher {
                        watcher(CopyProgress { report, bytes_total });
                    }
                };
                let loaded = self.load(request, &mut tell).map_err(|e| e.at(target.position));
                self.copy_watcher = watcher;
                let report = loaded?;
                EntityBody::RowsWritten { rows: report.rows, rejected: report.rejected }
            }
            Statement::CopyTo { query, path, options } => {
                let options = CopyOptions::new(options, path)?;
                let inner = ParsedStatement {
                    statement: (**query).clone(),
                    text: copied_query_text(&parsed.text),
                    position: parsed.position,
                };
                let Outcome::Query(stream) = self.run(&inner)? else {
                    return Err(Error::statement("COPY (…) TO takes a SELECT"));
                };
                if stream.kind == crate::results::ResultKind::Push {
                    return Err(Error::statement("COPY (…) TO takes a SELECT without EMIT: a push query does not end"));
                }
                let rows = write_file(stream, self.path(path), &options)?;
                EntityBody::RowsWritten { rows, rejected: 0 }
            }
            _ => return Err(Error::internal("not a COPY")),
        };
        Ok(Outcome::Entity(Box::new(entity(&parsed.text, body))))
    }

    fn path(&self, path: &str) -> PathBuf {
        match &self.access.base {
            Some(base) => base.join(path),
            None => PathBuf::from(path),
        }
    }
}

/// The text between `COPY (` and `) TO`.
fn copied_query_text(text: &str) -> String {
    let start = text.find('(').map_or(0, |i| i + 1);
    let end = text.rfind(')').filter(|e| *e > start);
    // Options of the statement may hold parentheses, too: the query ends at the one before TO.
    let to = text.to_uppercase().rfind(") TO ").or(end).unwrap_or(text.len());
    text.get(start..to).unwrap_or(text).trim().to_string()
}

struct CopyOptions {
    format: String,
    null: Option<String>,
    key: Option<String>,
    timestamp: Option<String>,
}

impl CopyOptions {
    fn new(options: &[Property], path: &str) -> Result<Self> {
        let extension = path.rsplit_once('.').map(|(_, e)| e.to_uppercase()).unwrap_or_default();
        let format = match extension.as_str() {
            "CSV" => "CSV",
            _ => "JSON",
        };
        let mut all = Self { format: format.to_string(), null: None, key: None, timestamp: None };
        for option in options {
            let Literal::String(value) = &option.value else {
                return Err(Error::statement(format!("COPY option {} takes a string", option.name)).at(option.position));
            };
            match option.name.as_str() {
                "FORMAT" if ["CSV", "JSON"].contains(&value.to_uppercase().as_str()) => {
                    all.format = value.to_uppercase()
                }
                "FORMAT" => {
                    return Err(Error::statement(format!("COPY cannot read or write format {value}"))
                        .at(option.position)
                        .with_hint("FORMAT is 'csv' or 'json'"));
                }
                "NULL" => all.null = Some(value.clone()),
                "KEY" => all.key = Some(value.clone()),
                "TIMESTAMP" => all.timestamp = Some(value.clone()),
                name => {
                    return Err(Error::statement(format!("COPY has no option {name}"))
                        .at(option.position)
                        .with_hint("FORMAT, NULL, KEY and TIMESTAMP are its options"));
                }
            }
        }
        Ok(all)
    }
}

/// Writes a bounded result; the file appears whole or not at all.
fn write_file(mut stream: crate::results::ResultStream, path: PathBuf, options: &CopyOptions) -> Result<u64> {
    let refused = |e: std::io::Error| Error::statement(format!("file {} cannot be written: {e}", path.display()));
    let mut beside = path.clone().into_os_string();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    let mut out = BufWriter::new(std::fs::File::create(&beside).map_err(refused)?);
    let columns = stream.columns.clone();
    let csv = options.format == "CSV";
    if csv {
        let names: Vec<String> = columns.iter().map(|c| csv_field(&c.name)).collect();
        writeln!(out, "{}", names.join(",")).map_err(refused)?;
    }
    let mut rows = 0;
    let done = loop {
        match stream.next_blocking(std::time::Duration::from_secs(1)) {
            Ok(Some(ResultEvent::Rows { batch, .. })) => {
                let mut text = Vec::new();
                for row in 0..batch.num_rows() {
                    if !csv {
                        text.push(b'{');
                    }
                    for (i, column) in columns.iter().enumerate() {
                        if i > 0 {
                            text.push(b',');
                        }
                        let array = batch.column(i);
                        if csv {
                            text.extend_from_slice(csv_value(&column.ty, array, row)?.as_bytes());
                        } else {
                            write_string(&column.name, &mut text);
                            text.push(b':');
                            write_value(&column.ty, array, row, JsonStyle::Iso, &mut text)?;
                        }
                    }
                    text.extend_from_slice(if csv { b"\n" } else { b"}\n" });
                }
                rows += batch.num_rows() as u64;
                out.write_all(&text).map_err(refused)?;
            }
            Ok(Some(ResultEvent::End(EndReason::Cancelled))) => {
                break Err(Error::unavailable("the query was cancelled"));
            }
            Ok(Some(ResultEvent::End(_))) => break Ok(rows),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    if let Err(error) = done {
        std::fs::remove_file(&beside).map_err(refused)?;
        return Err(error);
    }
    let file = out.into_inner().map_err(|e| refused(e.into_error()))?;
    file.sync_all().map_err(refused)?;
    std::fs::rename(&beside, &path).map_err(refused)?;
    Ok(rows)
}

/// A value as a CSV field; null is empty.
fn csv_value(ty: &SqlType, array: &ArrayRef, row: usize) -> Result<String> {
    if array.is_null(row) {
        return Ok(String::new());
    }
    let mut text = Vec::new();
    write_value(ty, array, row, JsonStyle::Iso, &mut text)?;
    let text = String::from_utf8(text).map_err(|e| Error::internal(e.to_string()))?;
    Ok(match ty {
        SqlType::String => csv_field(array.as_string::<i32>().value(row)),
        _ if text.starts_with('"') => csv_field(text.trim_matches('"')),
        _ => csv_field(&text),
    })
}

fn csv_field(text: &str) -> String {
    if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_string()
}

/// Lines of a file, several at a time.
struct Lines<'a> {
    reader: BufReader<Box<dyn Read + 'a>>,
    line: u64,
    bytes: u64,
}

impl<'a> Lines<'a> {
    fn new(input: Box<dyn Read + 'a>) -> Self {
        Self { reader: BufReader::with_capacity(1 << 20, input), line: 0, bytes: 0 }
    }

    /// Number of the first line and the lines, blank ones left in place as empty; None at the end.
    fn next_lines(&mut self, most: usize) -> Result<Option<(u64, Vec<Vec<u8>>)>> {
        let first = self.line + 1;
        let mut lines = Vec::new();
        while lines.len() < most {
            let mut line = Vec::new();
            let limit = LOAD_LINE_BYTES_MAX as u64 + 1;
            let read = (&mut self.reader).take(limit).read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            if line.len() > LOAD_LINE_BYTES_MAX {
                return Err(Error::limit(format!("line {} is longer than {LOAD_LINE_BYTES_MAX} bytes", self.line + 1)));
            }
            self.line += 1;
            self.bytes += read as u64;
            while matches!(line.last(), Some(b'\n' | b'\r')) {
                line.pop();
            }
            lines.push(line);
        }
        Ok((!lines.is_empty()).then_some((first, lines)))
    }
}

struct Counted<'a> {
    inner: Box<dyn Read + 'a>,
    bytes: Arc<std::sync::atomic::AtomicU64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(read)
    }
}

fn json_run(source: &Source, first: u64, texts: &[Vec<u8>], timestamp: Option<&str>, now_ms: i64) -> Result<Run> {
    let bytes = BinaryArray::from_iter_values(texts.iter().map(Vec::as_slice));
    let decoded = decode_objects(source, &bytes)?;
    let mut errors: Vec<(usize, String)> = decoded.errors;
    let mut time = decoded.time;
    if let Some(name) = timestamp {
        let picked = FieldPicker::new(None, Some(name))?.pick(&bytes, now_ms)?;
        let known: Vec<usize> = errors.iter().map(|(row, _)| *row).collect();
        errors.extend(picked.errors.into_iter().filter(|e| !known.contains(&e.row)).map(|e| (e.row, e.message)));
        time = picked.time;
    }
    let time: Int64Array =
        (0..texts.len()).map(|i| if time.is_null(i) { now_ms } else { time.value(i) }).collect::<Vec<_>>().into();
    let rows = Rows::append(decoded.batch, time);
    let mut keep = vec![true; texts.len()];
    let mut rejected = Vec::new();
    for (row, reason) in errors {
        keep[row] = false;
        // A blank line is no record.
        if !texts[row].iter().all(u8::is_ascii_whitespace) {
            let record = Rejected { offset: 0, raw: Some(texts[row].clone()), reason };
            rejected.push((first + row as u64, record));
        }
    }
    Ok(Run { rows: rows.filter(&BooleanArray::from(keep))?, rejected })
}

/// How the columns of a CSV file become columns of the target.
struct CsvColumns {
    /// Per target column: field number in the file, and the conversion from text.
    columns: Vec<(Option<usize>, Compiled)>,
    time: Option<(usize, TimeParser)>,
    null: Option<String>,
}

impl CsvColumns {
    fn new(
        source: &Source,
        headers: &csv::StringRecord,
        null: Option<&str>,
        timestamp: Option<&str>,
        report: &mut LoadReport,
    ) -> Result<Self> {
        let find = |name: &str| headers.iter().position(|h| h.trim().eq_ignore_ascii_case(name));
        let mut columns = Vec::new();
        for column in source.schema.columns() {
            let field = find(&column.name);
            if field.is_none() {
                report.missing_columns.push(column.name.clone());
            }
            let input = Column::new("TEXT", SqlType::String);
            let expr = Expr::column("TEXT", SqlType::String).cast_to(column.ty.clone());
            let schema = arrow::datatypes::Schema::new(vec![input.to_arrow()]);
            columns.push((field, Compiled::new(&expr, &schema)?));
        }
        if report.missing_columns.len() == source.schema.len() {
            return Err(Error::statement(format!(
                "none of the columns of {} is in the file's header line: {}",
                source.name,
                headers.iter().collect::<Vec<_>>().join(", ")
            )));
        }
        let time = match timestamp {
            Some(name) => {
                let field = find(name)
                    .ok_or_else(|| Error::statement(format!("the file has no column {name} to take the time from")))?;
                Some((field, TimeParser::new()?))
            }
            None => find(ROWTIME).map(|field| Ok::<_, Error>((field, TimeParser::new()?))).transpose()?,
        };
        report.ignored_columns = headers
            .iter()
            .enumerate()
            .filter(|(i, _)| !columns.iter().any(|(f, _)| f == &Some(*i)) && time.as_ref().is_none_or(|(f, _)| f != i))
            .map(|(_, name)| name.to_string())
            .collect();
        Ok(Self { columns, time, null: null.map(str::to_string) })
    }

    fn texts(&self, records: &[std::result::Result<csv::StringRecord, (u64, String)>], field: usize) -> StringArray {
        let mut builder = StringBuilder::new();
        for record in records {
            let text = record.as_ref().ok().and_then(|r| r.get(field));
            builder.append_option(text.filter(|t| !t.is_empty() && Some(*t) != self.null.as_deref()));
        }
        builder.finish()
    }

    fn run(
        &self,
        source: &Source,
        records: &[std::result::Result<csv::StringRecord, (u64, String)>],
        now_ms: i64,
    ) -> Result<Run> {
        let count = records.len();
        let mut errors: Vec<(usize, String)> = records
            .iter()
            .enumerate()
            .filter_map(|(row, r)| r.as_ref().err().map(|(_, message)| (row, message.clone())))
            .collect();
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for ((field, conversion), column) in self.columns.iter().zip(source.schema.columns()) {
            let Some(field) = field else {
                arrays.push(arrow::array::new_null_array(&column.ty.to_arrow(), count));
                continue;
            };
            let texts = self.texts(records, *field);
            if column.ty == SqlType::String {
                arrays.push(Arc::new(texts));
                continue;
            }
            let batch =
                arrow::array::RecordBatch::try_from_iter_with_nullable([("TEXT", Arc::new(texts) as ArrayRef, true)])?;
            let (array, failed) = conversion.evaluate(&batch)?;
            arrays.push(array);
            errors.extend(failed.into_iter().map(|e| (e.row, format!("column {}: {}", column.name, e.message))));
        }
        let time: Int64Array = match &self.time {
            Some((field, parser)) => {
                let (time, failed) = parser.parse(&self.texts(records, *field))?;
                errors.extend(failed.into_iter().map(|e| (e.row, e.message)));
                (0..count).map(|i| if time.is_null(i) { now_ms } else { time.value(i) }).collect::<Vec<_>>().into()
            }
            None => Int64Array::from_value(now_ms, count),
        };
        let rows = Rows::append(batch_of(source.schema.to_arrow(), arrays, count)?, time);
        errors.sort_by_key(|(row, _)| *row);
        errors.dedup_by_key(|(row, _)| *row);
        let mut keep = vec![true; count];
        let mut rejected = Vec::new();
        for (row, reason) in errors {
            keep[row] = false;
            let (line, raw) = match &records[row] {
                Ok(record) => {
                    let fields: Vec<String> = record.iter().map(csv_field).collect();
                    (record.position().map_or(0, csv::Position::line), Some(fields.join(",").into_bytes()))
                }
                Err((line, _)) => (*line, None),
            };
            rejected.push((line, Rejected { offset: 0, raw, reason }));
        }
        Ok(Run { rows: rows.filter(&BooleanArray::from(keep))?, rejected })
    }
}

fn csv_error(error: csv::Error) -> Error {
    Error::statement(format!("the CSV file cannot be read: {error}"))
}

/// Text → milliseconds: digits are epoch milliseconds, anything else ISO 8601.
struct TimeParser {
    timestamp: Compiled,
}

impl TimeParser {
    fn new() -> Result<Self> {
        let schema = arrow::datatypes::Schema::new(vec![Column::new("TEXT", SqlType::String).to_arrow()]);
        let expr = Expr::column("TEXT", SqlType::String).cast_to(SqlType::Timestamp);
        Ok(Self { timestamp: Compiled::new(&expr, &schema)? })
    }

    fn parse(&self, texts: &StringArray) -> Result<(Int64Array, Vec<RowError>)> {
        let digits: Vec<Option<i64>> = (0..texts.len())
            .map(|i| if texts.is_null(i) { None } else { texts.value(i).trim().parse().ok() })
            .collect();
        // What is digits already is not parsed as a date, too. A trailing Z means UTC, which is what no zone means.
        let iso: StringArray = (0..texts.len())
            .map(|i| (!texts.is_null(i) && digits[i].is_none()).then(|| texts.value(i).trim().trim_end_matches('Z')))
            .collect();
        let batch =
            arrow::array::RecordBatch::try_from_iter_with_nullable([("TEXT", Arc::new(iso) as ArrayRef, true)])?;
        let (parsed, errors) = self.timestamp.evaluate(&batch)?;
        let parsed = parsed.as_primitive::<arrow::datatypes::TimestampMillisecondType>();
        let time = (0..texts.len())
            .map(|i| digits[i].or_else(|| (!parsed.is_null(i)).then(|| parsed.value(i))))
            .collect::<Int64Array>();
        Ok((time, errors))
    }
}

/// Picks a key and a time out of JSON objects.
struct FieldPicker {
    key: Option<String>,
    timestamp: Option<String>,
    format: crate::format::FormatRef,
    time: TimeParser,
}

struct Picked {
    keys: Option<StringArray>,
    /// Null where the record has none.
    time: Int64Array,
    errors: Vec<RowError>,
}

impl FieldPicker {
    fn new(key: Option<&str>, timestamp: Option<&str>) -> Result<Self> {
        let columns: Vec<Column> = [key, timestamp]
            .into_iter()
            .flatten()
            .map(|name| Column::new(name.to_uppercase(), SqlType::String))
            .collect();
        let spec = crate::format::FormatSpec {
            wrap_single: Some(true),
            ..crate::format::FormatSpec::new(crate::format::FormatName::Json)
        };
        // Without columns the lines are still checked to be JSON objects.
        let columns = if columns.is_empty() { vec![Column::new("_", SqlType::String)] } else { columns };
        Ok(Self {
            key: key.map(str::to_string),
            timestamp: timestamp.map(str::to_string),
            format: crate::format::create(&spec, &columns, crate::format::Side::Value)?,
            time: TimeParser::new()?,
        })
    }

    fn pick(&self, objects: &BinaryArray, now_ms: i64) -> Result<Picked> {
        let count = usize::from(self.key.is_some()) + usize::from(self.timestamp.is_some());
        let wanted: Vec<usize> = (0..count).collect();
        let decoded = self.format.decode(objects, &wanted)?;
        let mut errors = decoded.errors;
        let mut columns = decoded.columns.into_iter();
        let keys = self.key.as_ref().and_then(|_| columns.next()).map(|c| c.as_string::<i32>().clone());
        let time = match self.timestamp.as_ref().and_then(|_| columns.next()) {
            Some(texts) => {
                let (time, failed) = self.time.parse(texts.as_string::<i32>())?;
                errors.extend(failed);
                time
            }
            None => Int64Array::from_value(now_ms, objects.len()),
        };
        let time =
            (0..objects.len()).map(|i| if time.is_null(i) { now_ms } else { time.value(i) }).collect::<Vec<_>>().into();
        errors.sort_by_key(|e| e.row);
        errors.dedup_by_key(|e| e.row);
        Ok(Picked { keys, time, errors })
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

/// Writes runs of one source, rejected lines beside them in the same groups.
struct LoadWriter {
    source: Source,
    topic: Topic,
    codec: Arc<TypedCodec>,
    rejected: Option<(Topic, u64)>,
    flight: Flight,
    next_partition: u32,
}

impl LoadWriter {
    fn new(session: &Session, source: &Source) -> Result<Self> {
        let log = session.engine.log();
        let topic = log
            .topic(&source.topic)
            .ok_or_else(|| Error::not_found(format!("topic {} of {} does not exist", source.topic, source.name)))?;
        let (codec, _) = session.engine.inner.typed.add(&TypedSchema::of_source(source))?;
        let name = rejected_name(&source.name);
        let rejected = match log.topic(&name) {
            Some(topic) => {
                let fingerprint = TypedSchema::of_source(&system_source(&name, rejected_schema())).fingerprint()?;
                Some((topic, fingerprint))
            }
            None => None,
        };
        Ok(Self { source: source.clone(), topic, codec, rejected, flight: Flight::default(), next_partition: 0 })
    }

    fn write(&mut self, session: &mut Session, run: Run, report: &mut LoadReport) -> Result<()> {
        let keys = self.source.schema.key.len();
        let mut rows = with_null_keys(run.rows, keys);
        let mut rejected = run.rejected;
        if self.source.is_table() {
            rows.change = Change::Upsert { old: None };
            if let Some(null_key) = rows.null_key.take() {
                rejected.extend(
                    (0..null_key.count_set_bits())
                        .map(|_| (0, Rejected { offset: 0, raw: None, reason: "the primary key is missing".into() })),
                );
                rows = rows.filter(&BooleanArray::new(!&null_key, None))?;
            }
        }
        let (rows, errors) = self.codec.canonicalise(rows)?;
        let mut keep = vec![true; rows.len()];
        for error in errors {
            keep[error.row] = false;
            rejected.push((0, Rejected { offset: 0, raw: None, reason: error.message }));
        }
        let rows = if keep.iter().all(|k| *k) { rows } else { rows.filter(&BooleanArray::from(keep))? };
        report.rows += rows.len() as u64;
        for (line, record) in &rejected {
            report.reject(*line, &record.reason);
        }
        let bytes = if self.topic.partitions == 1 || keys == 0 { None } else { Some(self.codec.encode_keys(&rows)?) };
        // Keyless runs go to one partition after another.
        self.next_partition = (self.next_partition + 1) % self.topic.partitions.max(1);
        let now_ms = session.engine.inner.clock.now_ms();
        let mut transaction = session.producer()?.begin()?;
        for (partition, rows) in split(rows, bytes.as_ref(), self.topic.partitions, self.next_partition)? {
            let body = LogBody::Typed { rows, fingerprint: self.codec.fingerprint };
            append(transaction.as_mut(), &self.topic, partition, body)?;
        }
        if let Some((topic, fingerprint)) = self.rejected.as_ref().filter(|_| !rejected.is_empty()) {
            let records: Vec<RejectedAt<'_>> = rejected
                .iter()
                .map(|(line, record)| RejectedAt {
                    query: "LOAD",
                    source: &self.source.name,
                    partition: 0,
                    line: Some(*line as i64),
                    record,
                })
                .collect();
            let rows = rejected_rows(&records, now_ms)?;
            append(transaction.as_mut(), topic, 0, LogBody::Typed { rows, fingerprint: *fingerprint })?;
        }
        self.flight.commit(transaction)
    }

    fn finish(mut self) -> Result<()> {
        self.flight.finish()
    }
}

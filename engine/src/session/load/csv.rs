//! CSV files of a load: a header line names the columns, every other record is a row.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, StringBuilder};
use csv::{Position, Reader, ReaderBuilder, StringRecord};

use super::time::TimeParser;
use super::{LoadReport, LoadRequest};
use crate::catalog::Source;
use crate::error::{Error, Result};
use crate::plan::compile::Compiled;
use crate::plan::expr::Expr;
use crate::rows::{Rows, batch_of};
use crate::schema::{Column, ROWTIME};
use crate::session::door::{Record, Run};
use crate::session::insert::{or_now, with_null_keys};
use crate::session::write_file::csv_field;
use crate::types::SqlType;

/// A record, or the line where none could be read and why.
pub(super) type CsvRecord = std::result::Result<StringRecord, (u64, String)>;

/// A file, and how its columns become columns of the target.
pub(super) struct CsvRuns<'a> {
    reader: Reader<Counted<'a>>,
    bytes: Arc<AtomicU64>,
    done: bool,
    /// Per target column: field number in the file, and the conversion from text.
    columns: Vec<(Option<usize>, Compiled)>,
    time: Option<(usize, TimeParser)>,
    null: Option<String>,
}

impl<'a> CsvRuns<'a> {
    pub fn new(source: &Source, request: LoadRequest<'a>, report: &mut LoadReport) -> Result<Self> {
        let bytes: Arc<AtomicU64> = Arc::default();
        let counted = Counted { inner: request.input, bytes: bytes.clone() };
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(counted);
        let headers = reader.headers().map_err(unreadable)?.clone();
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
        let time = match request.timestamp {
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
        Ok(Self { reader, bytes, done: false, columns, time, null: request.null.map(str::to_string) })
    }

    /// How much of the file has been read.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// None at the end.
    pub fn next_records(&mut self, most: usize) -> Result<Option<Vec<CsvRecord>>> {
        let mut records = Vec::with_capacity(most);
        while !self.done && records.len() < most {
            let mut record = StringRecord::new();
            match self.reader.read_record(&mut record) {
                Ok(true) => records.push(Ok(record)),
                Ok(false) => self.done = true,
                Err(error) if error.is_io_error() => return Err(unreadable(error)),
                Err(error) => records.push(Err((error.position().map_or(0, Position::line), error.to_string()))),
            }
        }
        Ok((!records.is_empty()).then_some(records))
    }

    fn texts(&self, records: &[CsvRecord], field: usize) -> StringArray {
        let mut builder = StringBuilder::new();
        for record in records {
            let text = record.as_ref().ok().and_then(|r| r.get(field));
            builder.append_option(text.filter(|t| !t.is_empty() && Some(*t) != self.null.as_deref()));
        }
        builder.finish()
    }

    pub fn run<'r>(
        &self,
        source: &Source,
        records: &[CsvRecord],
        record: &'r dyn Fn(usize) -> Record,
        now_ms: i64,
    ) -> Result<Run<'r>> {
        let count = records.len();
        let unread =
            |(row, record): (usize, &CsvRecord)| record.as_ref().err().map(|(_, reason)| (row, reason.clone()));
        let mut refused: Vec<(usize, String)> = records.iter().enumerate().filter_map(unread).collect();
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for ((field, conversion), column) in self.columns.iter().zip(source.schema.columns()) {
            let Some(field) = field else {
                arrays.push(arrow::array::new_null_array(&column.ty.to_arrow(), count));
                continue;
            };
            let texts: ArrayRef = Arc::new(self.texts(records, *field));
            if column.ty == SqlType::String {
                arrays.push(texts);
                continue;
            }
            let (array, failed) =
                conversion.evaluate(&RecordBatch::try_from_iter_with_nullable([("TEXT", texts, true)])?)?;
            arrays.push(array);
            refused.extend(failed.into_iter().map(|e| (e.row, format!("column {}: {}", column.name, e.message))));
        }
        let time = match &self.time {
            Some((field, parser)) => {
                let (time, failed) = parser.parse(&self.texts(records, *field))?;
                refused.extend(failed.into_iter().map(|e| (e.row, e.message)));
                or_now(&time, now_ms)
            }
            None => Int64Array::from_value(now_ms, count),
        };
        let rows = Rows::append(batch_of(source.schema.to_arrow(), arrays, count)?, time);
        Ok(Run { rows: with_null_keys(rows, source.schema.key.len()), refused, record })
    }
}

/// Record `row` as a line of CSV.
pub(super) fn record(records: &[CsvRecord], row: usize) -> Record {
    match &records[row] {
        Ok(record) => {
            // As it came: an empty field has no quotes.
            let field = |text: &str| if text.is_empty() { String::new() } else { csv_field(text) };
            let fields: Vec<String> = record.iter().map(field).collect();
            Record { line: record.position().map(Position::line), raw: Some(fields.join(",").into_bytes()) }
        }
        Err((line, _)) => Record { line: Some(*line), raw: None },
    }
}

fn unreadable(error: csv::Error) -> Error {
    Error::statement(format!("the CSV file cannot be read: {error}"))
}

/// Counts what is read.
struct Counted<'a> {
    inner: Box<dyn Read + 'a>,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

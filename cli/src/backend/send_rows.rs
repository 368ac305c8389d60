//! Loads a file through a server: rows as JSON objects, in batches, to `/inserts-stream`.
//!
//! A CSV row becomes an object of strings; the server's columns give them types. Line numbers are the file's, so that a
//! refused row is named as an embedded load would name it.

use std::io::{BufRead, BufReader};

use headwater_engine::session::copy::{LoadFormat, LoadReport};
use headwater_engine::{Error, Result};
use serde_json::{Map, Value, json};

use crate::load::LoadSource;

/// Rows sent in one request.
const BATCH_ROWS_MAX: usize = 5_000;
/// A batch is sent at this size, whatever its rows.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Refused rows that are shown.
const ERRORS_SHOWN_MAX: usize = 5;

/// What a column of the target takes, as far as CSV must know.
pub struct TargetColumn {
    pub name: String,
    /// `INTEGER`, `STRING`, `ARRAY`, …
    pub kind: String,
}

/// Sends a batch (the first line names the target) and returns the acknowledgements.
pub type Send<'a> = dyn FnMut(String) -> Result<Vec<Value>> + 'a;

pub fn load(
    source: LoadSource<'_>,
    columns: &[TargetColumn],
    send: &mut Send<'_>,
    progress: &mut dyn FnMut(&LoadReport),
) -> Result<LoadReport> {
    if source.key.is_some() {
        return Err(Error::statement("--key is for bare topics, which are loaded by an embedded engine only"));
    }
    let mut batch =
        Batch { target: source.target, lines: Vec::new(), text: String::new(), report: LoadReport::default() };
    match source.format {
        LoadFormat::Json => {
            for (i, line) in BufReader::new(source.input).lines().enumerate() {
                let line = line.map_err(|e| Error::statement(format!("line {} cannot be read: {e}", i + 1)))?;
                if line.trim().is_empty() {
                    continue;
                }
                let row = match source.timestamp {
                    Some(column) => with_rowtime(&line, column),
                    None => line,
                };
                batch.add(i as u64 + 1, &row, send, progress)?;
            }
        }
        LoadFormat::Csv => {
            let mut records = CsvRecords::new(BufReader::new(source.input));
            let Some((_, header)) = records.next_record()? else { return Ok(batch.report) };
            let targets: Vec<Option<&TargetColumn>> = header
                .iter()
                .map(|name| columns.iter().find(|c| c.name.eq_ignore_ascii_case(name.text.trim())))
                .collect();
            let names = header.iter().map(|field| field.text.trim());
            let missing = columns.iter().filter(|c| !names.clone().any(|n| n.eq_ignore_ascii_case(&c.name)));
            batch.report.missing_columns = missing.map(|c| c.name.clone()).collect();
            let ignored = names.clone().zip(&targets).filter(|(_, t)| t.is_none());
            let timestamp = source.timestamp.and_then(|t| names.clone().position(|n| n.eq_ignore_ascii_case(t)));
            batch.report.ignored_columns = ignored.map(|(name, _)| name.to_string()).collect();
            while let Some((line, record)) = records.next_record()? {
                let mut row = Map::new();
                for (target, field) in targets.iter().zip(&record) {
                    if let Some(column) = target {
                        row.insert(format!("`{}`", column.name), csv_value(field, &column.kind, source.null));
                    }
                }
                if let Some(field) = timestamp.and_then(|at| record.get(at)) {
                    row.insert("ROWTIME".into(), rowtime(&field.text));
                }
                batch.add(line, &Value::Object(row).to_string(), send, progress)?;
            }
        }
    }
    batch.send(send, progress)?;
    Ok(batch.report)
}

struct Batch<'a> {
    target: &'a str,
    /// Line in the file of each row.
    lines: Vec<u64>,
    text: String,
    report: LoadReport,
}

impl Batch<'_> {
    fn add(&mut self, line: u64, row: &str, send: &mut Send<'_>, progress: &mut dyn FnMut(&LoadReport)) -> Result<()> {
        self.text.push_str(row);
        self.text.push('\n');
        self.lines.push(line);
        self.report.bytes += row.len() as u64 + 1;
        if self.lines.len() >= BATCH_ROWS_MAX || self.text.len() >= BATCH_BYTES_MAX {
            self.send(send, progress)?;
        }
        Ok(())
    }

    fn send(&mut self, send: &mut Send<'_>, progress: &mut dyn FnMut(&LoadReport)) -> Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let acks = send(format!("{}\n{}", json!({"target": self.target}), self.text))?;
        for (i, line) in self.lines.iter().enumerate() {
            match acks.get(i) {
                Some(ack) if ack["status"] == "ok" => self.report.rows += 1,
                Some(ack) => {
                    self.report.rejected += 1;
                    if self.report.first_errors.len() < ERRORS_SHOWN_MAX {
                        let reason = ack["message"].as_str().unwrap_or("refused without a reason");
                        self.report.first_errors.push((*line, reason.to_string()));
                    }
                }
                None => return Err(Error::unavailable(format!("the server stopped answering at line {line}"))),
            }
        }
        self.lines.clear();
        self.text.clear();
        progress(&self.report);
        Ok(())
    }
}

/// The row with ROWTIME taken from one of its fields; what is not an object stays for the server to refuse.
fn with_rowtime(line: &str, column: &str) -> String {
    match serde_json::from_str::<Map<String, Value>>(line) {
        Ok(mut row) => {
            let value = row.iter().find(|(name, _)| name.eq_ignore_ascii_case(column)).map(|(_, v)| v.clone());
            if let Some(value) = value {
                let time = value.as_str().map_or_else(|| value.clone(), rowtime);
                row.insert("ROWTIME".into(), time);
            }
            Value::Object(row).to_string()
        }
        Err(_) => line.to_string(),
    }
}

/// Epoch milliseconds stay a number, ISO text stays text.
fn rowtime(text: &str) -> Value {
    text.trim().parse::<i64>().map_or_else(|_| Value::from(text.trim()), Value::from)
}

fn csv_value(field: &CsvField, kind: &str, null: Option<&str>) -> Value {
    let text = field.text.as_str();
    if (text.is_empty() && !field.quoted) || null == Some(text) {
        return Value::Null;
    }
    match kind {
        "INTEGER" | "BIGINT" | "DOUBLE" | "DECIMAL" | "BOOLEAN" => {
            serde_json::from_str(&text.trim().to_lowercase()).unwrap_or_else(|_| Value::from(text))
        }
        "ARRAY" | "MAP" | "STRUCT" => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
        _ => Value::from(text),
    }
}

struct CsvField {
    text: String,
    quoted: bool,
}

/// RFC 4180 records with the line each begins on.
struct CsvRecords<R> {
    input: R,
    line: u64,
    buffer: Vec<u8>,
}

impl<R: BufRead> CsvRecords<R> {
    fn new(input: R) -> Self {
        Self { input, line: 0, buffer: Vec::new() }
    }

    fn next_record(&mut self) -> Result<Option<(u64, Vec<CsvField>)>> {
        loop {
            self.buffer.clear();
            let first = self.line + 1;
            // A record goes on as long as a quote is open.
            loop {
                let unreadable = |e| Error::statement(format!("line {first} cannot be read: {e}"));
                if self.input.read_until(b'\n', &mut self.buffer).map_err(unreadable)? == 0 {
                    break;
                }
                self.line += 1;
                if self.buffer.iter().filter(|b| **b == b'"').count() % 2 == 0 {
                    break;
                }
            }
            if self.buffer.is_empty() {
                return Ok(None);
            }
            let text = String::from_utf8_lossy(&self.buffer);
            let text = text.trim_end_matches(['\n', '\r']).trim_start_matches('\u{feff}');
            if !text.is_empty() {
                return Ok(Some((first, fields(text))));
            }
        }
    }
}

fn fields(record: &str) -> Vec<CsvField> {
    let mut fields = vec![CsvField { text: String::new(), quoted: false }];
    let mut chars = record.chars().peekable();
    let mut open = false;
    while let Some(c) = chars.next() {
        let field = fields.last_mut().expect("there is always a field being read");
        match c {
            '"' if open && chars.peek() == Some(&'"') => {
                chars.next();
                field.text.push('"');
            }
            '"' if open => open = false,
            '"' if field.text.is_empty() => (open, field.quoted) = (true, true),
            ',' if !open => fields.push(CsvField { text: String::new(), quoted: false }),
            c => field.text.push(c),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(format: LoadFormat, text: &str, columns: &[(&str, &str)]) -> (Vec<String>, LoadReport) {
        let columns: Vec<TargetColumn> = columns
            .iter()
            .map(|(name, kind)| TargetColumn { name: name.to_string(), kind: kind.to_string() })
            .collect();
        let mut sent = Vec::new();
        let source = LoadSource {
            target: "S",
            format,
            input: Box::new(text.as_bytes()),
            null: Some("NA"),
            key: None,
            timestamp: None,
        };
        let mut send = |body: String| {
            let rows: Vec<String> = body.lines().skip(1).map(str::to_string).collect();
            let acks = rows.iter().map(|row| match row.contains("bad") {
                true => json!({"status": "error", "message": "no"}),
                false => json!({"status": "ok"}),
            });
            let acks = acks.collect();
            sent.extend(rows);
            Ok(acks)
        };
        let report = load(source, &columns, &mut send, &mut |_| {}).unwrap();
        (sent, report)
    }

    #[test]
    fn csv_rows_become_objects_of_the_targets_types() {
        let csv = "id,Name,extra\r\n1,\"a, \"\"b\"\"\nc\",x\n2,NA,\n,\"\",\n";
        let (sent, report) = loaded(LoadFormat::Csv, csv, &[("ID", "BIGINT"), ("NAME", "STRING"), ("V", "DOUBLE")]);
        assert_eq!(
            sent,
            [r#"{"`ID`":1,"`NAME`":"a, \"b\"\nc"}"#, r#"{"`ID`":2,"`NAME`":null}"#, r#"{"`ID`":null,"`NAME`":""}"#]
        );
        assert_eq!(report.rows, 3);
        assert_eq!(report.ignored_columns, ["extra"]);
        assert_eq!(report.missing_columns, ["V"]);
    }

    #[test]
    fn refused_rows_keep_their_line_numbers() {
        let (_, report) = loaded(LoadFormat::Json, "{\"a\":1}\n\n{\"a\":\"bad\"}\n", &[]);
        assert_eq!((report.rows, report.rejected), (1, 1));
        assert_eq!(report.first_errors, [(3, "no".to_string())]);
    }
}

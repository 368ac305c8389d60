//! A bounded result as a file: CSV with a header line, or one JSON object a line.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};

use crate::error::{Error, Result};
use crate::format::json::write::{JsonStyle, write_string, write_value};
use crate::results::{EndReason, ResultColumn, ResultEvent, ResultStream};
use crate::session::load::LoadFormat;
use crate::types::SqlType;

/// Writes a bounded result; the file appears whole or not at all. Returns the number of rows.
pub(super) fn write_file(stream: ResultStream, path: &Path, format: LoadFormat) -> Result<u64> {
    let refused = |e: std::io::Error| Error::statement(format!("file {} cannot be written: {e}", path.display()));
    let mut beside = path.to_path_buf().into_os_string();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    let mut out = BufWriter::new(std::fs::File::create(&beside).map_err(refused)?);
    let written = match write_rows(stream, format, &mut out, &refused) {
        Ok(written) => written,
        Err(error) => {
            std::fs::remove_file(&beside).map_err(refused)?;
            return Err(error);
        }
    };
    let file = out.into_inner().map_err(|e| refused(e.into_error()))?;
    file.sync_all().map_err(refused)?;
    std::fs::rename(&beside, path).map_err(refused)?;
    Ok(written)
}

fn write_rows(
    mut stream: ResultStream,
    format: LoadFormat,
    out: &mut impl Write,
    refused: &impl Fn(std::io::Error) -> Error,
) -> Result<u64> {
    let columns = stream.columns.clone();
    if format == LoadFormat::Csv {
        let names: Vec<String> = columns.iter().map(|c| csv_field(&c.name)).collect();
        writeln!(out, "{}", names.join(",")).map_err(refused)?;
    }
    let mut rows = 0;
    loop {
        match stream.next_blocking(Duration::from_secs(1))? {
            Some(ResultEvent::Rows { batch, .. }) => {
                out.write_all(&text_of(&batch, &columns, format)?).map_err(refused)?;
                rows += batch.num_rows() as u64;
            }
            Some(ResultEvent::End(EndReason::Cancelled)) => {
                return Err(Error::unavailable("the query was cancelled"));
            }
            Some(ResultEvent::End(_)) => return Ok(rows),
            Some(ResultEvent::Line(_)) | None => {}
        }
    }
}

fn text_of(batch: &RecordBatch, columns: &[ResultColumn], format: LoadFormat) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for row in 0..batch.num_rows() {
        if format == LoadFormat::Json {
            text.push(b'{');
        }
        for (i, (column, array)) in columns.iter().zip(batch.columns()).enumerate() {
            if i > 0 {
                text.push(b',');
            }
            match format {
                LoadFormat::Csv => text.extend_from_slice(csv_value(&column.ty, array, row)?.as_bytes()),
                LoadFormat::Json => {
                    write_string(&column.name, &mut text);
                    text.push(b':');
                    write_value(&column.ty, array, row, JsonStyle::Iso, &mut text)?;
                }
            }
        }
        text.extend_from_slice(if format == LoadFormat::Csv { b"\n" } else { b"}\n" });
    }
    Ok(text)
}

/// A value as a CSV field; null is empty.
fn csv_value(ty: &SqlType, array: &ArrayRef, row: usize) -> Result<String> {
    if array.is_null(row) {
        return Ok(String::new());
    }
    if *ty == SqlType::String {
        return Ok(csv_field(array.as_string::<i32>().value(row)));
    }
    let mut text = Vec::new();
    write_value(ty, array, row, JsonStyle::Iso, &mut text)?;
    let text = String::from_utf8(text).map_err(|e| Error::internal(e.to_string()))?;
    Ok(csv_field(if text.starts_with('"') { text.trim_matches('"') } else { &text }))
}

/// A text as a CSV field; the empty text is told from null by its quotes.
pub(super) fn csv_field(text: &str) -> String {
    if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_string()
}

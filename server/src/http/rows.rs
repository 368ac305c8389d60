//! The five ways rows are written.
//!
//! | form | header | row | end |
//! |---|---|---|---|
//! | delimited | `{"queryId":…,"columnNames":[…],"columnTypes":[…]}` | `["a",1]` | nothing |
//! | JSON array | the same, in an array | the same | `]` |
//! | v1+json | `[{"header":{"queryId":…,"schema":"`K` STRING KEY"}},` | `{"row":{"columns":["a",1]}},` | `{"finalMessage":"Limit Reached"}]` |
//! | protobuf | `[{"header":{"queryId":…,"protoSchema":…}},` | `{"row":{"protobufBytes":"CAE="}},` | as v1+json |
//! | NDJSON | none | `{"K":"a","V":1}` | nothing |
//!
//! One element a line. An array is well formed at any end. In an endless query each row's line is complete as soon as
//! the row is there, so its array always ends with a final message; a bounded query's elements begin with the comma.

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use headwater_engine::Error;
use headwater_engine::format::json::write::Writer;
use headwater_engine::format::json::{JsonStyle, write_string};
use headwater_engine::format::protobuf::schema::proto3;
use headwater_engine::format::{self, FormatName, FormatRef, FormatSpec, Side};
use headwater_engine::results::{EndReason, ResultColumn, ResultKind};
use headwater_engine::schema::Column;
use serde_json::{Map, Value, json};

use super::errors::{code_of, error_message};
use super::media::Media;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowForm {
    Delimited,
    JsonArray,
    StreamedRows,
    Protobuf,
    Ndjson,
    /// PRINT: the lines as they are.
    Lines,
}

pub(crate) struct RowWriter {
    form: RowForm,
    kind: ResultKind,
    columns: Vec<ResultColumn>,
    /// Rows as Protobuf messages; only for that form.
    messages: Option<FormatRef>,
}

impl RowWriter {
    /// The error says which column a Protobuf message cannot hold.
    pub fn new(form: RowForm, kind: ResultKind, columns: Vec<ResultColumn>) -> Result<Self, Error> {
        let messages = match form {
            RowForm::Protobuf => {
                let spec = FormatSpec::new(FormatName::ProtobufNosr);
                Some(format::create(&spec, &declared(&columns), Side::Value)?)
            }
            _ => None,
        };
        Ok(Self { form, kind, columns, messages })
    }

    fn is_array(&self) -> bool {
        self.form == RowForm::JsonArray || self.is_streamed_rows()
    }

    /// ksqlDB's rows, each an object that says what it is.
    fn is_streamed_rows(&self) -> bool {
        matches!(self.form, RowForm::StreamedRows | RowForm::Protobuf)
    }

    /// Whether elements are followed by their comma instead of preceded.
    fn comma_follows(&self) -> bool {
        self.is_streamed_rows() && self.kind == ResultKind::Push
    }

    fn begin_element(&self, out: &mut Vec<u8>) {
        if self.is_array() && !self.comma_follows() {
            out.extend_from_slice(b",\n");
        }
    }

    fn end_element(&self, out: &mut Vec<u8>) {
        if self.comma_follows() {
            out.extend_from_slice(b",\n");
        } else if !self.is_array() {
            out.push(b'\n');
        }
    }

    pub fn header(&self, query_id: &str, out: &mut Vec<u8>) {
        if self.is_array() {
            out.push(b'[');
        }
        match self.form {
            RowForm::StreamedRows => {
                let header = json!({"header": {"queryId": query_id, "schema": self.schema_text()}});
                write_json(&header, out);
            }
            RowForm::Protobuf => {
                let schema = proto3(&declared(&self.columns));
                write_json(&json!({"header": {"queryId": query_id, "protoSchema": schema}}), out);
            }
            RowForm::Delimited | RowForm::JsonArray => {
                let names: Vec<&str> = self.columns.iter().map(|c| c.name.as_str()).collect();
                let types: Vec<String> = self.columns.iter().map(|c| c.ty.to_string()).collect();
                write_json(&json!({"queryId": query_id, "columnNames": names, "columnTypes": types}), out);
            }
            RowForm::Ndjson | RowForm::Lines => return,
        }
        self.end_element(out);
    }

    /// ``"`K` STRING KEY, `V` BIGINT"``.
    fn schema_text(&self) -> String {
        let columns = self.columns.iter().map(|c| {
            let key = if c.key { " KEY" } else { "" };
            format!("`{}` {}{key}", c.name, c.ty)
        });
        columns.collect::<Vec<_>>().join(", ")
    }

    /// Writes rows from `first` on until `out` has `bytes_max` bytes; returns the first row not written.
    pub fn rows(
        &self,
        batch: &RecordBatch,
        tombstones: Option<&BooleanBuffer>,
        first: usize,
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, Error> {
        if let Some(messages) = &self.messages {
            return self.message_rows(messages, batch, tombstones, first, bytes_max, out);
        }
        let columns = self.columns.iter().zip(batch.columns());
        let cells = columns.map(|(column, array)| Writer::new(&column.ty, array.as_ref(), JsonStyle::Iso));
        let cells: Vec<Writer<'_>> = cells.collect::<Result<_, _>>()?;
        let mut row = first;
        while row < batch.num_rows() && out.len() < bytes_max {
            self.row(&cells, tombstones.is_some_and(|t| t.value(row)), row, out);
            row += 1;
        }
        Ok(row)
    }

    fn message_rows(
        &self,
        messages: &FormatRef,
        batch: &RecordBatch,
        tombstones: Option<&BooleanBuffer>,
        first: usize,
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, Error> {
        let bytes = messages.encode(batch.slice(first, batch.num_rows() - first).columns(), None)?.bytes;
        let mut row = first;
        while row < batch.num_rows() && out.len() < bytes_max {
            let mut fields = Map::new();
            fields.insert("protobufBytes".into(), BASE64.encode(bytes.value(row - first)).into());
            if tombstones.is_some_and(|t| t.value(row)) {
                fields.insert("tombstone".into(), true.into());
            }
            self.begin_element(out);
            write_json(&json!({"row": fields}), out);
            self.end_element(out);
            row += 1;
        }
        Ok(row)
    }

    fn row(&self, cells: &[Writer<'_>], deleted: bool, row: usize, out: &mut Vec<u8>) {
        self.begin_element(out);
        match self.form {
            RowForm::StreamedRows => {
                out.extend_from_slice(br#"{"row":{"columns":"#);
                values(cells, row, out);
                out.extend_from_slice(if deleted { br#","tombstone":true}}"# } else { b"}}" });
            }
            RowForm::Delimited | RowForm::JsonArray => values(cells, row, out),
            RowForm::Ndjson => {
                for (i, (column, cell)) in self.columns.iter().zip(cells).enumerate() {
                    out.push(if i == 0 { b'{' } else { b',' });
                    write_string(&column.name, out);
                    out.push(b':');
                    cell.write(row, out);
                }
                out.extend_from_slice(if deleted { br#","@tombstone":true}"# } else { b"}" });
            }
            // Messages are written whole, see `message_rows`.
            RowForm::Lines | RowForm::Protobuf => {}
        }
        self.end_element(out);
    }

    pub fn line(&self, line: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }

    /// The end of a query; `notes` say what is missing from the rows.
    pub fn end(&self, reason: EndReason, notes: &[String], out: &mut Vec<u8>) {
        let message = match (self.kind, reason) {
            _ if !self.is_streamed_rows() => None,
            (ResultKind::Push | ResultKind::PullStream, EndReason::LimitReached) => Some("Limit Reached"),
            (ResultKind::Push | ResultKind::PullStream, _) => Some("Query Completed"),
            _ => None,
        };
        for note in notes.iter().filter(|_| self.is_streamed_rows()) {
            self.begin_element(out);
            write_json(&json!({"finalMessage": note}), out);
            self.end_element(out);
        }
        if let Some(message) = message {
            self.begin_element(out);
            write_json(&json!({"finalMessage": message}), out);
        }
        self.close(out);
    }

    /// An error after the header was sent.
    pub fn error(&self, error: &Error, out: &mut Vec<u8>) {
        let message = Value::Object(error_message(error, code_of(error.kind())));
        self.begin_element(out);
        match self.form {
            RowForm::StreamedRows | RowForm::Protobuf => {
                write_json(&Value::Object(Map::from_iter([("errorMessage".to_string(), message)])), out);
            }
            _ => write_json(&message, out),
        }
        self.close(out);
    }

    fn close(&self, out: &mut Vec<u8>) {
        if self.is_array() {
            out.extend_from_slice(b"]\n");
        } else if out.last().is_some_and(|b| *b != b'\n') {
            out.push(b'\n');
        }
    }
}

impl RowForm {
    pub fn media(self) -> Media {
        match self {
            RowForm::Delimited | RowForm::Lines => Media::Delimited,
            RowForm::JsonArray => Media::Json,
            RowForm::StreamedRows => Media::V1,
            RowForm::Protobuf => Media::Protobuf,
            RowForm::Ndjson => Media::Ndjson,
        }
    }
}

/// The result's columns as a format takes them.
fn declared(columns: &[ResultColumn]) -> Vec<Column> {
    columns.iter().map(|column| Column::new(&column.name, column.ty.clone())).collect()
}

fn values(cells: &[Writer<'_>], row: usize, out: &mut Vec<u8>) {
    out.push(b'[');
    for (i, cell) in cells.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        cell.write(row, out);
    }
    out.push(b']');
}

fn write_json(value: &Value, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, value).expect("a JSON value is always JSON, and a vector takes all bytes");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use headwater_engine::types::SqlType;

    use super::*;

    /// Two rows, the second a deletion, as `form` writes them with header and end.
    fn written(form: RowForm, kind: ResultKind, reason: EndReason) -> String {
        let columns = vec![
            ResultColumn { name: "K".into(), ty: SqlType::String, key: kind == ResultKind::Pull },
            ResultColumn { name: "V".into(), ty: SqlType::Bigint, key: false },
        ];
        let k: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let v: ArrayRef = Arc::new(Int64Array::from(vec![Some(9_007_199_254_740_993), None]));
        let batch = RecordBatch::try_from_iter([("K", k), ("V", v)]).unwrap();
        let deleted = BooleanBuffer::from(vec![false, true]);
        let writer = RowWriter::new(form, kind, columns).unwrap();
        let mut out = Vec::new();
        writer.header("q1", &mut out);
        assert_eq!(writer.rows(&batch, Some(&deleted), 0, usize::MAX, &mut out).unwrap(), 2);
        writer.end(reason, &[], &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_push_query_in_ksqldbs_rows() {
        assert_eq!(
            written(RowForm::StreamedRows, ResultKind::Push, EndReason::LimitReached),
            "[{\"header\":{\"queryId\":\"q1\",\"schema\":\"`K` STRING, `V` BIGINT\"}},\n\
             {\"row\":{\"columns\":[\"a\",9007199254740993]}},\n\
             {\"row\":{\"columns\":[\"b\",null],\"tombstone\":true}},\n\
             {\"finalMessage\":\"Limit Reached\"}]\n"
        );
    }

    #[test]
    fn a_pull_query_of_a_table_has_no_final_message() {
        assert_eq!(
            written(RowForm::StreamedRows, ResultKind::Pull, EndReason::Completed),
            "[{\"header\":{\"queryId\":\"q1\",\"schema\":\"`K` STRING KEY, `V` BIGINT\"}},\n\
             {\"row\":{\"columns\":[\"a\",9007199254740993]}},\n\
             {\"row\":{\"columns\":[\"b\",null],\"tombstone\":true}}]\n"
        );
    }

    #[test]
    fn rows_as_protobuf_messages() {
        assert_eq!(
            written(RowForm::Protobuf, ResultKind::Pull, EndReason::Completed),
            "[{\"header\":{\"queryId\":\"q1\",\"protoSchema\":\"syntax = \\\"proto3\\\";\\n\\nmessage ConnectDefault1 {\\n  \
             string K = 1;\\n  int64 V = 2;\\n}\\n\"}},\n\
             {\"row\":{\"protobufBytes\":\"CgFhEIGAgICAgIAQ\"}},\n\
             {\"row\":{\"protobufBytes\":\"CgFi\",\"tombstone\":true}}]\n"
        );
    }

    #[test]
    fn delimited_rows_are_lines() {
        assert_eq!(
            written(RowForm::Delimited, ResultKind::Push, EndReason::LimitReached),
            "{\"queryId\":\"q1\",\"columnNames\":[\"K\",\"V\"],\"columnTypes\":[\"STRING\",\"BIGINT\"]}\n\
             [\"a\",9007199254740993]\n[\"b\",null]\n"
        );
    }

    #[test]
    fn ndjson_rows_are_objects() {
        assert_eq!(
            written(RowForm::Ndjson, ResultKind::Push, EndReason::LimitReached),
            "{\"K\":\"a\",\"V\":9007199254740993}\n{\"K\":\"b\",\"V\":null,\"@tombstone\":true}\n"
        );
    }

    #[test]
    fn arrays_are_well_formed_at_every_end() {
        for form in [RowForm::StreamedRows, RowForm::Protobuf, RowForm::JsonArray] {
            for kind in [ResultKind::Push, ResultKind::Pull, ResultKind::PullStream, ResultKind::Batch] {
                for reason in [EndReason::Completed, EndReason::LimitReached, EndReason::Cancelled] {
                    let text = written(form, kind, reason);
                    assert!(serde_json::from_str::<Vec<Value>>(&text).is_ok(), "{text}");
                }
            }
        }
    }
}

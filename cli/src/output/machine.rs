//! csv, json and ndjson: byte-exact, parseable, numbers with all their digits.

use std::io::{self, Write};

use super::{ResultWriter, plain};
use crate::backend::{Block, Column};

/// RFC 4180 with `\n`. Null is an empty field; an empty string is `""`.
pub struct Csv;

impl ResultWriter for Csv {
    fn begin(&mut self, columns: &[Column], out: &mut dyn Write) -> io::Result<()> {
        for (i, column) in columns.iter().enumerate() {
            if i > 0 {
                out.write_all(b",")?;
            }
            csv_field(&column.name, out)?;
        }
        out.write_all(b"\n")
    }

    fn rows(&mut self, block: &Block, out: &mut dyn Write) -> io::Result<()> {
        for row in 0..block.rows() {
            for column in 0..block.columns() {
                if column > 0 {
                    out.write_all(b",")?;
                }
                if let Some(text) = plain(block.get(row, column)) {
                    csv_field(&text, out)?;
                }
            }
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        out.flush()
    }
}

fn csv_field(text: &str, out: &mut dyn Write) -> io::Result<()> {
    if text.is_empty() || text.contains(['"', ',', '\n', '\r']) {
        write!(out, "\"{}\"", text.replace('"', "\"\""))
    } else {
        out.write_all(text.as_bytes())
    }
}

/// Rows as objects, in an array or one a line.
pub struct Json {
    array: bool,
    /// `"NAME":` of each column.
    keys: Vec<Vec<u8>>,
    first: bool,
}

impl Json {
    pub fn array() -> Self {
        Self { array: true, keys: Vec::new(), first: true }
    }

    pub fn lines() -> Self {
        Self { array: false, keys: Vec::new(), first: true }
    }
}

impl ResultWriter for Json {
    fn begin(&mut self, columns: &[Column], out: &mut dyn Write) -> io::Result<()> {
        for column in columns {
            let mut key = serde_json::to_vec(&column.name)?;
            key.push(b':');
            self.keys.push(key);
        }
        if self.array { out.write_all(b"[") } else { Ok(()) }
    }

    fn rows(&mut self, block: &Block, out: &mut dyn Write) -> io::Result<()> {
        for row in 0..block.rows() {
            if self.array {
                out.write_all(if std::mem::take(&mut self.first) { b"\n" } else { b",\n" })?;
            }
            for (column, key) in self.keys.iter().enumerate() {
                out.write_all(if column == 0 { b"{" } else { b"," })?;
                out.write_all(key)?;
                out.write_all(block.get(row, column))?;
            }
            out.write_all(if self.array { b"}" } else { b"}\n" })?;
        }
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.array {
            out.write_all(if self.first { b"]\n" } else { b"\n]\n" })?;
        }
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(mut writer: impl ResultWriter, rows: &[[&str; 2]]) -> String {
        let columns = ["A", "b\"c"].map(|name| Column { name: name.into(), ty: String::new() });
        let mut block = Block::new(2);
        for row in rows {
            for cell in row {
                block.cell(|out| out.extend_from_slice(cell.as_bytes()));
            }
            block.end_row(false);
        }
        let mut out = Vec::new();
        writer.begin(&columns, &mut out).unwrap();
        writer.rows(&block, &mut out).unwrap();
        writer.end(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_tells_null_from_empty_and_quotes_what_it_must() {
        let rows = [["9007199254740993", "null"], ["1.50", "\"\""], ["true", r#""a,\"b\"\nc""#]];
        assert_eq!(written(Csv, &rows), "A,\"b\"\"c\"\n9007199254740993,\n1.50,\"\"\ntrue,\"a,\"\"b\"\"\nc\"\n");
    }

    #[test]
    fn json_is_one_array_of_objects() {
        let rows = [["9007199254740993", "null"], ["1.50", "[1,2]"]];
        let text = written(Json::array(), &rows);
        assert_eq!(text, "[\n{\"A\":9007199254740993,\"b\\\"c\":null},\n{\"A\":1.50,\"b\\\"c\":[1,2]}\n]\n");
        assert_eq!(written(Json::array(), &[]), "[]\n");
    }

    #[test]
    fn ndjson_is_one_object_a_line() {
        assert_eq!(
            written(Json::lines(), &[["1", "2"], ["3", "4"]]),
            "{\"A\":1,\"b\\\"c\":2}\n{\"A\":3,\"b\\\"c\":4}\n"
        );
        assert_eq!(written(Json::lines(), &[]), "");
    }
}

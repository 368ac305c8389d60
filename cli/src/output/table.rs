//! Rows in columns.
//!
//! ```text
//!  K    │ COUNT
//! ──────┼───────
//!  Lima │     3
//! ```
//!
//! A bounded result is held back (up to [`ROWS_HELD_MAX`] rows) until its widths are known. A live one is shown row by
//! row at once: its widths follow from the columns' types and never change; a longer value is cut with `…` on a
//! terminal and shown whole elsewhere.

use std::io::{self, Write};

use nu_ansi_term::Style as Ansi;
use rustyline::GraphemeClusterMode;

use super::{ResultWriter, Style, one_line, plain};
use crate::backend::{Block, Column};

/// Rows of a bounded result held to find the widths; further rows use the widths found.
const ROWS_HELD_MAX: usize = 10_000;
/// The widest a cell may get on a terminal before it is cut.
const CELL_WIDTH_MAX: usize = 60;
/// The narrowest a column is squeezed to.
const CELL_WIDTH_MIN: usize = 6;
const NULL: &str = "NULL";

pub struct Table {
    style: Style,
    live: bool,
    columns: Vec<TableColumn>,
    held: Vec<Block>,
    held_rows: usize,
    started: bool,
}

struct TableColumn {
    name: String,
    right: bool,
    width: usize,
    type_width: usize,
}

impl Table {
    pub fn new(style: Style, live: bool) -> Self {
        Self { style, live, columns: Vec::new(), held: Vec::new(), held_rows: 0, started: false }
    }

    fn start(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.started = true;
        for block in &self.held {
            for row in 0..block.rows() {
                for (i, column) in self.columns.iter_mut().enumerate() {
                    let width = plain(block.get(row, i)).map_or(NULL.len(), |text| text_width(&one_line(&text)));
                    column.width = column.width.max(width);
                }
            }
        }
        self.fit();
        self.header(out)?;
        for block in std::mem::take(&mut self.held) {
            self.lines(&block, out)?;
        }
        Ok(())
    }

    /// Squeezes the widest columns until the table fits the terminal.
    fn fit(&mut self) {
        let Some(width) = self.style.width else { return };
        for column in &mut self.columns {
            column.width = column.width.min(CELL_WIDTH_MAX.max(text_width(&column.name)));
        }
        let frame = self.columns.len() * 3;
        while self.columns.iter().map(|c| c.width).sum::<usize>() + frame > width {
            match self.columns.iter_mut().max_by_key(|c| c.width) {
                Some(widest) if widest.width > CELL_WIDTH_MIN => widest.width -= 1,
                _ => break,
            }
        }
    }

    fn header(&self, out: &mut dyn Write) -> io::Result<()> {
        for (i, column) in self.columns.iter().enumerate() {
            let name = self.cell(column, &column.name);
            let name = if self.style.colour { Ansi::new().bold().paint(name).to_string() } else { name };
            write!(out, "{} {name} ", if i > 0 { "│" } else { "" })?;
        }
        writeln!(out)?;
        for (i, column) in self.columns.iter().enumerate() {
            write!(out, "{}{}", if i > 0 { "┼" } else { "" }, "─".repeat(column.width + 2))?;
        }
        writeln!(out)
    }

    fn lines(&self, block: &Block, out: &mut dyn Write) -> io::Result<()> {
        for row in 0..block.rows() {
            for (i, column) in self.columns.iter().enumerate() {
                out.write_all(if i > 0 { "│ ".as_bytes() } else { b" " })?;
                match plain(block.get(row, i)) {
                    Some(text) => write!(out, "{} ", self.cell(column, &one_line(&text)))?,
                    None if self.style.colour => {
                        let null = self.cell(column, NULL);
                        write!(out, "{} ", Ansi::new().dimmed().paint(null))?;
                    }
                    None => write!(out, "{} ", self.cell(column, NULL))?,
                }
            }
            if block.is_deleted(row) {
                out.write_all(b"(deleted)")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    /// `text` in the width of the column.
    fn cell(&self, column: &TableColumn, text: &str) -> String {
        let width = text_width(text);
        if width > column.width {
            return if self.style.width.is_some() { cut(text, column.width) } else { text.to_string() };
        }
        let space = " ".repeat(column.width - width);
        if column.right { format!("{space}{text}") } else { format!("{text}{space}") }
    }
}

impl ResultWriter for Table {
    fn begin(&mut self, columns: &[Column], out: &mut dyn Write) -> io::Result<()> {
        self.columns = columns
            .iter()
            .map(|c| TableColumn {
                name: one_line(&c.name).into_owned(),
                right: is_number(&c.ty),
                width: text_width(&c.name),
                type_width: type_width(&c.ty),
            })
            .collect();
        if self.live {
            for column in &mut self.columns {
                column.width = column.width.max(column.type_width);
            }
            self.start(out)?;
            out.flush()?;
        }
        Ok(())
    }

    fn rows(&mut self, block: &Block, out: &mut dyn Write) -> io::Result<()> {
        if self.started {
            return self.lines(block, out);
        }
        self.held_rows += block.rows();
        self.held.push(block.clone());
        if self.held_rows >= ROWS_HELD_MAX { self.start(out) } else { Ok(()) }
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if !self.started {
            self.start(out)?;
        }
        out.flush()
    }
}

pub fn is_number(ty: &str) -> bool {
    matches!(ty, "INTEGER" | "BIGINT" | "DOUBLE") || ty.starts_with("DECIMAL")
}

/// What values of a type usually need.
fn type_width(ty: &str) -> usize {
    match ty {
        "BOOLEAN" => 5,
        "INTEGER" | "DATE" => 11,
        "TIME" => 12,
        "BIGINT" => 20,
        "DOUBLE" => 18,
        "TIMESTAMP" => 23,
        _ if ty.starts_with("DECIMAL") => 18,
        _ if ty.starts_with("STRUCT") || ty.starts_with("MAP") || ty.starts_with("ARRAY") => 30,
        _ => 20,
    }
}

/// Columns of a terminal that `text` takes.
pub fn text_width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { GraphemeClusterMode::WcWidth.width(text) as usize }
}

/// The beginning of `text` and `…`, `width` wide.
fn cut(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = text_width(c.encode_utf8(&mut [0; 4]));
        if used + wide + 1 > width {
            break;
        }
        out.push(c);
        used += wide;
    }
    out.push('…');
    out.push_str(&" ".repeat(width.saturating_sub(used + 1)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(style: Style, live: bool, rows: &[[&str; 2]]) -> String {
        let columns =
            [("NAME", "STRING"), ("N", "BIGINT")].map(|(name, ty)| Column { name: name.into(), ty: ty.into() });
        let mut table = Table::new(style, live);
        let mut out = Vec::new();
        table.begin(&columns, &mut out).unwrap();
        for row in rows {
            let mut block = Block::new(2);
            for cell in row {
                block.cell(|out| out.extend_from_slice(cell.as_bytes()));
            }
            block.end_row(false);
            table.rows(&block, &mut out).unwrap();
        }
        table.end(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_bounded_result_is_as_wide_as_its_values() {
        let text = written(Style::default(), false, &[["\"Lima\"", "3"], ["null", "12345"]]);
        assert_eq!(text, " NAME │     N \n──────┼───────\n Lima │     3 \n NULL │ 12345 \n");
    }

    #[test]
    fn a_live_results_widths_do_not_depend_on_its_rows() {
        let head = |text: &str| text.lines().take(2).map(str::to_string).collect::<Vec<_>>();
        let short = written(Style::default(), true, &[["\"a\"", "1"]]);
        let long = written(Style::default(), true, &[["\"a much longer name than expected\"", "1"]]);
        assert_eq!(head(&short), head(&long));
        assert!(long.contains("a much longer name than expected"));
    }

    #[test]
    fn on_a_terminal_long_values_are_cut_with_a_mark() {
        let style = Style { colour: false, width: Some(20) };
        let text = written(style, false, &[["\"abcdefghijklmnopqrstuvwxyz\"", "1"]]);
        assert!(text.lines().all(|line| text_width(line) <= 20), "{text}");
        assert!(text.contains('…'));
    }

    #[test]
    fn wide_characters_and_line_breaks_keep_the_columns() {
        let text = written(Style::default(), false, &[["\"日本\"", "1"], ["\"a\\nb\"", "2"]]);
        assert_eq!(text, " NAME │ N \n──────┼───\n 日本 │ 1 \n a\\nb │ 2 \n");
    }
}

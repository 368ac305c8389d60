//! One line a value: for rows too wide to stand in a table.
//!
//! ```text
//! -[ 1 ]-
//! ID    | 7
//! NAME  | Lima
//! ```

use std::io::{self, Write};

use super::table::text_width;
use super::{ResultWriter, one_line, plain};
use crate::backend::{Block, Column};

#[derive(Default)]
pub struct Expanded {
    names: Vec<String>,
    row: u64,
}

impl ResultWriter for Expanded {
    fn begin(&mut self, columns: &[Column], _out: &mut dyn Write) -> io::Result<()> {
        let width = columns.iter().map(|c| text_width(&c.name)).max().unwrap_or(0);
        self.names = columns.iter().map(|c| format!("{}{}", c.name, " ".repeat(width - text_width(&c.name)))).collect();
        Ok(())
    }

    fn rows(&mut self, block: &Block, out: &mut dyn Write) -> io::Result<()> {
        for row in 0..block.rows() {
            self.row += 1;
            writeln!(out, "-[ {} ]-", self.row)?;
            for (column, name) in self.names.iter().enumerate() {
                match plain(block.get(row, column)) {
                    Some(text) => writeln!(out, "{name} | {}", one_line(&text))?,
                    None => writeln!(out, "{name} | NULL")?,
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        out.flush()
    }
}

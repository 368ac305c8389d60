//! A Markdown table.

use std::io::{self, Write};

use super::{ResultWriter, one_line, plain};
use crate::backend::{Block, Column};

pub struct Markdown;

impl ResultWriter for Markdown {
    fn begin(&mut self, columns: &[Column], out: &mut dyn Write) -> io::Result<()> {
        for column in columns {
            write!(out, "| {} ", escaped(&column.name))?;
        }
        writeln!(out, "|")?;
        for column in columns {
            // Numbers stand to the right.
            write!(out, "{}", if super::table::is_number(&column.ty) { "|---:" } else { "|---" })?;
        }
        writeln!(out, "|")
    }

    fn rows(&mut self, block: &Block, out: &mut dyn Write) -> io::Result<()> {
        for row in 0..block.rows() {
            for column in 0..block.columns() {
                match plain(block.get(row, column)) {
                    Some(text) => write!(out, "| {} ", escaped(&text))?,
                    None => write!(out, "| ")?,
                }
            }
            writeln!(out, "|")?;
        }
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        out.flush()
    }
}

fn escaped(text: &str) -> String {
    one_line(text).replace('\\', "\\\\").replace('|', "\\|")
}

//! LIMIT: the first n rows that arrive, then none.

use crate::error::Result;
use crate::ops::{InputId, OpContext, Operator, Output, Then};
use crate::rows::Rows;

pub struct Limit {
    left: u64,
}

impl Limit {
    pub fn new(rows: u64) -> Self {
        Self { left: rows }
    }
}

impl Operator for Limit {
    fn process(
        &mut self,
        _input: InputId,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(usize, Then)> {
        let passing = self.left.min(rows.len() as u64);
        self.left -= passing;
        ctx.counters.rows_in += rows.len() as u64;
        ctx.counters.accepted += passing;
        ctx.counters.rows_out += passing;
        ctx.counters.filtered += rows.len() as u64 - passing;
        out.push(rows.slice(0, passing as usize));
        Ok((rows.len(), Then::Continue))
    }
}

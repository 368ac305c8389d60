//! Windows and sessions on their way out (EMIT FINAL): put out in bounded pieces, with the headers of the row that closed
//! them.

use std::collections::VecDeque;

use arrow::array::{ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::compute::take;

use crate::error::Result;
use crate::ops::groups::Groups;
use crate::ops::{OpContext, Output, Then};
use crate::rows::Rows;

/// Results that one call puts out.
const FINAL_ROWS_MAX: usize = 4096;

#[derive(Default)]
pub struct Closing {
    /// Headers of the row that closed them.
    trigger: Option<ListArray>,
    slots: VecDeque<u32>,
}

impl Closing {
    /// Row `row` is about to close some.
    pub fn triggered_by(&mut self, rows: &Rows, row: usize) {
        self.trigger = rows.headers.as_ref().map(|headers| headers.slice(row, 1));
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// These closed, in the order in which they leave.
    pub fn extend(&mut self, slots: impl IntoIterator<Item = u32>) {
        self.slots.extend(slots);
    }

    /// Puts out the next piece.
    pub fn put_out(
        &mut self,
        groups: &Groups,
        keys: impl FnOnce(&[u32]) -> Result<Vec<ArrayRef>>,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<Then> {
        let count = self.slots.len().min(FINAL_ROWS_MAX);
        let slots: Vec<u32> = self.slots.drain(..count).collect();
        let mut rows = groups.rows_of(&slots, keys(&slots)?, true)?;
        if let Some(trigger) = &self.trigger {
            let headers = take(trigger, &UInt32Array::from(vec![0; slots.len()]), None)?;
            rows.headers = Some(headers.as_list::<i32>().clone());
        }
        ctx.counters.rows_out += rows.len() as u64;
        out.push(rows);
        if !self.slots.is_empty() {
            return Ok(Then::Yield);
        }
        self.trigger = None;
        Ok(Then::Continue)
    }
}

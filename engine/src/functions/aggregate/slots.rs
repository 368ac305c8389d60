//! What all aggregators share: which rows of an update give a result, and how a row is walked through.

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::buffer::BooleanBuffer;

use super::{Args, Emit, EmitRows};
use crate::error::RowError;

/// Makes `states` long enough for these groups.
pub fn reach<S: Clone>(states: &mut Vec<S>, groups: &[u32], empty: S) {
    if let Some(&max) = groups.iter().max()
        && states.len() <= max as usize
    {
        states.resize(max as usize + 1, empty);
    }
}

/// Walks an update in row order, the row taken back before the row added, and says when results are due.
///
/// `step` changes a group's state by a row; `emit` is called after (or, for old results, before) each row that gives one.
pub struct Walk<'a> {
    pub groups: &'a [u32],
    pub add: &'a BooleanBuffer,
    pub undo: Option<&'a BooleanBuffer>,
    emitted: Emitted<'a>,
}

enum Emitted<'a> {
    Every,
    These(&'a UInt32Array),
    None,
}

/// What happens to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Undo,
    Add,
}

impl<'a> Walk<'a> {
    pub fn new(groups: &'a [u32], args: &Args<'a>, emit: &Emit<'a>) -> Self {
        let emitted = match emit.rows {
            EmitRows::EveryRow => Emitted::Every,
            EmitRows::These(rows) => Emitted::These(rows),
            EmitRows::Nothing => Emitted::None,
        };
        Self { groups, add: args.add, undo: args.undo.map(|(_, rows)| rows), emitted }
    }

    pub fn emits(&self) -> bool {
        !matches!(self.emitted, Emitted::None)
    }

    /// Whether every row is added, none taken back, and every one gives a result: the common case.
    pub fn is_plain(&self) -> bool {
        self.undo.is_none_or(|rows| rows.count_set_bits() == 0)
            && self.add.count_set_bits() == self.add.len()
            && matches!(self.emitted, Emitted::Every)
    }

    /// `before(group)` just ahead of an emitted row, `step` for what happens to it, `after(group)` behind it.
    pub fn run<C>(
        &self,
        context: &mut C,
        mut before: impl FnMut(&mut C, u32),
        mut step: impl FnMut(&mut C, u32, usize, Step),
        mut after: impl FnMut(&mut C, u32),
    ) {
        let mut next = 0;
        for (row, &group) in self.groups.iter().enumerate() {
            let emits = match self.emitted {
                Emitted::Every => true,
                Emitted::None => false,
                Emitted::These(rows) => {
                    let due = next < rows.len() && rows.value(next) as usize == row;
                    next += usize::from(due);
                    due
                }
            };
            if emits {
                before(context, group);
            }
            if self.undo.is_some_and(|rows| rows.value(row)) {
                step(context, group, row, Step::Undo);
            }
            if self.add.value(row) {
                step(context, group, row, Step::Add);
            }
            if emits {
                after(context, group);
            }
        }
    }
}

/// Whether a row of an argument has a value.
pub fn has_value(array: &ArrayRef, row: usize) -> bool {
    array.nulls().is_none_or(|nulls| nulls.is_valid(row))
}

/// Collects row errors, once per row.
#[derive(Default)]
pub struct Errors(pub Vec<RowError>);

impl Errors {
    pub fn push(&mut self, row: usize, message: impl FnOnce() -> String) {
        if self.0.last().is_none_or(|last| last.row != row) {
            self.0.push(RowError::new(row, message()));
        }
    }
}

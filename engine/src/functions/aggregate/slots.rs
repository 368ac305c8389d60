//! What all aggregators share: which rows of an update give a result, and how a row is walked through.

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::buffer::BooleanBuffer;

use super::{Args, Emit, EmitRows};
use crate::error::RowError;
pub use crate::kernels::fixed_bytes;

/// Makes `states` long enough for these groups.
pub fn reach<S: Clone>(states: &mut Vec<S>, groups: &[u32], empty: S) {
    if let Some(&max) = groups.iter().max()
        && states.len() <= max as usize
    {
        states.resize(max as usize + 1, empty);
    }
}

/// A state whose size changes with what it has seen.
pub trait Weigh: Clone + Default {
    /// Memory beside the state's own fields; asked before and after every change.
    fn bytes(&self) -> usize;
}

/// States of changing size, their memory counted as they change.
pub struct Weighed<S> {
    states: Vec<S>,
    empty: S,
    bytes: usize,
}

impl<S: Weigh> Default for Weighed<S> {
    fn default() -> Self {
        Self { states: Vec::new(), empty: S::default(), bytes: 0 }
    }
}

impl<S: Weigh> Weighed<S> {
    pub fn reach(&mut self, groups: &[u32]) {
        reach(&mut self.states, groups, S::default());
    }

    /// The group's state; an empty one for a group that no row has reached.
    pub fn get(&self, group: u32) -> &S {
        self.states.get(group as usize).unwrap_or(&self.empty)
    }

    pub fn change(&mut self, group: u32, change: impl FnOnce(&mut S)) {
        let state = &mut self.states[group as usize];
        let before = state.bytes();
        change(state);
        self.bytes = self.bytes + state.bytes() - before;
    }

    pub fn clear(&mut self, groups: &[u32]) {
        let reached = self.states.len();
        for &group in groups.iter().filter(|&&group| (group as usize) < reached) {
            self.change(group, |state| *state = S::default());
        }
    }

    pub fn bytes(&self) -> usize {
        fixed_bytes(&self.states) + self.bytes
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

    /// Whether every row is added, none taken back, and every one gives a result (the common case) or none does (a bounded
    /// query): then no row's flags need to be looked at.
    pub fn is_plain(&self) -> bool {
        self.undo.is_none_or(|rows| rows.count_set_bits() == 0)
            && self.add.count_set_bits() == self.add.len()
            && !matches!(self.emitted, Emitted::These(_))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::StringArray;

    use super::*;
    use crate::functions::aggregate::create;
    use crate::plan::expr::Value;
    use crate::types::SqlType;

    #[test]
    fn what_aggregates_hold_is_counted_given_back_and_the_same_after_a_restart() {
        let k = [Value::Integer(500)];
        for (function, constants) in [
            ("MIN", &k[..0]),
            ("COLLECT_LIST", &k[..0]),
            ("COLLECT_SET", &k[..0]),
            ("TOPK", &k),
            ("TOPKDISTINCT", &k),
            ("LATEST_BY_OFFSET", &k),
            ("EARLIEST_BY_OFFSET", &k),
            ("HISTOGRAM", &k[..0]),
            ("COUNT_DISTINCT", &k[..0]),
        ] {
            let new = || create(function, &[SqlType::String], constants, &BTreeMap::new()).expect("it exists");
            let texts: Vec<String> = (0..400).rev().map(|i| format!("{i:0100}")).collect();
            let values: Vec<ArrayRef> = vec![Arc::new(StringArray::from(texts))];
            let slots: Vec<u32> = (0..400).map(|row| row % 2).collect();
            let add = BooleanBuffer::new_set(400);
            let mut aggregator = new();
            let args = Args { values: &values, add: &add, undo: None };
            aggregator.update(&slots, &args, Emit { rows: EmitRows::Nothing, old: false }).expect("it counts");
            let held = aggregator.bytes();
            let least = if ["MIN", "COUNT_DISTINCT"].contains(&function) { 200 } else { 400 * 100 };
            assert!((least..least * 8 + 8000).contains(&held), "{function} holds {held}");
            let stored = aggregator.store(&[0, 1]).expect("it stores");
            let mut loaded = new();
            loaded.load(&[0, 1], &stored).expect("it loads");
            assert!(
                loaded.bytes().abs_diff(held) < held / 2,
                "{function}: {} after a restart, {held} before",
                loaded.bytes()
            );
            aggregator.merge(0, 1).expect("it merges");
            aggregator.clear(&[0, 1]);
            assert!(aggregator.bytes() < 1000, "{function} holds {} after all was cleared", aggregator.bytes());
        }
    }
}

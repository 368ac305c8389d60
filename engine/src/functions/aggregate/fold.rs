//! Aggregates over one column of fixed-width values: a small state per group, changed value by value.
//!
//! ```text
//! SUM   state 0   +3 → 3   null → 3   +4 → 7   undo 3 → 4
//! ```
//!
//! Nulls never reach a fold. One typed loop per fold: `state[g] ⊕= v; out[i] = result(state[g])`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanBufferBuilder, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use super::slots::{Errors, Step, Walk, fixed_bytes, reach};
use super::{Aggregator, Args, Emit, Updated};
use crate::error::{Error, Result};
use crate::types::SqlType;

/// One aggregate function over one type.
pub trait Fold: Send + 'static {
    type Input: ArrowPrimitiveType;
    type Output: ArrowPrimitiveType;
    type State: Copy + Default + Send;

    /// False if the row cannot be added; the state is then unchanged.
    fn add(&self, state: &mut Self::State, value: <Self::Input as ArrowPrimitiveType>::Native) -> bool;
    fn undo(&self, state: &mut Self::State, value: <Self::Input as ArrowPrimitiveType>::Native) -> bool;
    fn result(&self, state: &Self::State) -> Option<<Self::Output as ArrowPrimitiveType>::Native>;
    fn merge(&self, into: &mut Self::State, from: &Self::State);
    fn state_types(&self) -> Vec<SqlType>;
    fn store(&self, states: &[Self::State]) -> Vec<ArrayRef>;
    fn load(&self, arrays: &[ArrayRef]) -> Vec<Self::State>;
    /// Whether a refused value stops the query.
    fn is_fatal(&self) -> bool {
        false
    }
    /// Why `add` refused a value.
    fn refusal(&self) -> String {
        String::from("value out of range")
    }
}

pub struct Folded<F: Fold> {
    fold: F,
    states: Vec<F::State>,
    output: DataType,
}

impl<F: Fold> Folded<F> {
    pub fn new(fold: F, output: &SqlType) -> Self {
        Self { fold, states: Vec::new(), output: output.to_arrow() }
    }

    pub fn boxed(fold: F, output: &SqlType) -> Box<dyn Aggregator> {
        Box::new(Self::new(fold, output))
    }

    fn check(&self, errors: &Errors) -> Result<()> {
        match errors.0.first() {
            Some(error) if self.fold.is_fatal() => {
                Err(Error::statement("Exception caught in process").with_cause(&error.message))
            }
            _ => Ok(()),
        }
    }

    /// Adds every row; `then` sees the state after each.
    fn add_all(
        &mut self,
        groups: &[u32],
        values: &PrimitiveArray<F::Input>,
        errors: &mut Errors,
        mut then: impl FnMut(&F, &F::State),
    ) {
        let (fold, states) = (&self.fold, &mut self.states);
        match values.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => {
                for (row, (&group, &value)) in groups.iter().zip(values.values()).enumerate() {
                    let state = &mut states[group as usize];
                    if !fold.add(state, value) {
                        errors.push(row, || fold.refusal());
                    }
                    then(fold, state);
                }
            }
            Some(nulls) => {
                for (row, ((&group, &value), valid)) in groups.iter().zip(values.values()).zip(nulls).enumerate() {
                    let state = &mut states[group as usize];
                    if valid && !fold.add(state, value) {
                        errors.push(row, || fold.refusal());
                    }
                    then(fold, state);
                }
            }
        }
    }
}

impl<F: Fold> Aggregator for Folded<F> {
    fn update(&mut self, groups: &[u32], args: &Args<'_>, emit: Emit<'_>) -> Result<Updated> {
        reach(&mut self.states, groups, F::State::default());
        let values = typed::<F::Input>(&args.values[0])?;
        let walk = Walk::new(groups, args, &emit);
        let mut errors = Errors::default();
        if walk.is_plain() && !emit.old {
            let new = if walk.emits() {
                let mut results = Results::<F::Output>::with_capacity(groups.len());
                self.add_all(groups, values, &mut errors, |fold, state| results.push(fold.result(state)));
                Some(results.finish(&self.output))
            } else {
                self.add_all(groups, values, &mut errors, |_, _| {});
                None
            };
            self.check(&errors)?;
            return Ok(Updated { new, old: None, errors: errors.0 });
        }
        let undone = args.undo.map(|(values, _)| typed::<F::Input>(&values[0])).transpose()?;
        let mut new = Results::<F::Output>::with_capacity(groups.len());
        let mut old = Results::<F::Output>::with_capacity(if emit.old { groups.len() } else { 0 });
        let fold = &self.fold;
        walk.run(
            &mut self.states,
            |states, group| {
                if emit.old {
                    old.push(fold.result(&states[group as usize]));
                }
            },
            |states, group, row, step| {
                let state = &mut states[group as usize];
                let done = match step {
                    Step::Add => values.is_null(row) || fold.add(state, values.value(row)),
                    Step::Undo => undone.is_none_or(|v| v.is_null(row) || fold.undo(state, v.value(row))),
                };
                if !done {
                    errors.push(row, || fold.refusal());
                }
            },
            |states, group| new.push(fold.result(&states[group as usize])),
        );
        self.check(&errors)?;
        Ok(Updated {
            new: walk.emits().then(|| new.finish(&self.output)),
            old: emit.old.then(|| old.finish(&self.output)),
            errors: errors.0,
        })
    }

    fn merge(&mut self, into: u32, from: u32) -> Result<()> {
        reach(&mut self.states, &[into, from], F::State::default());
        let from = self.states[from as usize];
        self.fold.merge(&mut self.states[into as usize], &from);
        Ok(())
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        let empty = F::State::default();
        let mut results = Results::<F::Output>::with_capacity(slots.len());
        for &slot in slots {
            results.push(self.fold.result(self.states.get(slot as usize).unwrap_or(&empty)));
        }
        Ok(results.finish(&self.output))
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let empty = F::State::default();
        let states: Vec<F::State> =
            slots.iter().map(|&slot| self.states.get(slot as usize).copied().unwrap_or(empty)).collect();
        Ok(self.fold.store(&states))
    }

    fn load(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        reach(&mut self.states, slots, F::State::default());
        for (&slot, state) in slots.iter().zip(self.fold.load(state)) {
            self.states[slot as usize] = state;
        }
        Ok(())
    }

    fn clear(&mut self, slots: &[u32]) {
        for &slot in slots {
            if let Some(state) = self.states.get_mut(slot as usize) {
                *state = F::State::default();
            }
        }
    }

    fn state_types(&self) -> Vec<SqlType> {
        self.fold.state_types()
    }

    fn bytes(&self) -> usize {
        fixed_bytes(&self.states)
    }
}

/// A column of results under construction; most aggregates are never null, and then no bits are kept.
pub struct Results<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    valid: Option<BooleanBufferBuilder>,
}

impl<T: ArrowPrimitiveType> Results<T> {
    pub fn with_capacity(rows: usize) -> Self {
        Self { values: Vec::with_capacity(rows), valid: None }
    }

    #[inline]
    pub fn push(&mut self, value: Option<T::Native>) {
        if value.is_none() && self.valid.is_none() {
            let mut valid = BooleanBufferBuilder::new(self.values.capacity());
            valid.append_n(self.values.len(), true);
            self.valid = Some(valid);
        }
        if let Some(valid) = &mut self.valid {
            valid.append(value.is_some());
        }
        self.values.push(value.unwrap_or_default());
    }

    pub fn finish(mut self, ty: &DataType) -> ArrayRef {
        let nulls = self.valid.as_mut().map(|valid| NullBuffer::new(valid.finish()));
        Arc::new(PrimitiveArray::<T>::new(self.values.into(), nulls).with_data_type(ty.clone()))
    }
}

pub fn typed<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<&PrimitiveArray<T>> {
    array
        .as_primitive_opt::<T>()
        .ok_or_else(|| Error::internal(format!("an aggregate of {} was given {}", T::DATA_TYPE, array.data_type())))
}

//! CORRELATION(x, y): Pearson's, from sums that can take a pair back; NaN where it is undefined. Pairs with a null are
//! ignored.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use super::slots::{Step, Walk, fixed_bytes, reach};
use super::{Aggregator, Args, Emit, Updated};
use crate::error::Result;
use crate::types::SqlType;

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    count: i64,
    /// x, y, x², y², xy
    sums: [f64; 5],
}

impl Sums {
    fn put(&mut self, x: f64, y: f64, sign: f64) {
        self.count += sign as i64;
        for (sum, value) in self.sums.iter_mut().zip([x, y, x * x, y * y, x * y]) {
            *sum += sign * value;
        }
    }

    fn result(&self) -> f64 {
        let (n, [x, y, xx, yy, xy]) = (self.count as f64, self.sums);
        (n * xy - x * y) / ((n * xx - x * x) * (n * yy - y * y)).sqrt()
    }
}

#[derive(Default)]
pub struct Correlation {
    states: Vec<Sums>,
}

impl Aggregator for Correlation {
    fn update(&mut self, groups: &[u32], args: &Args<'_>, emit: Emit<'_>) -> Result<Updated> {
        reach(&mut self.states, groups, Sums::default());
        let added = Pairs::of(args.values)?;
        let undone = args.undo.map(|(values, _)| Pairs::of(values)).transpose()?;
        let walk = Walk::new(groups, args, &emit);
        let (mut new, mut old) = (Vec::new(), Vec::new());
        walk.run(
            &mut self.states,
            |states, group| {
                if emit.old {
                    old.push(states[group as usize].result());
                }
            },
            |states, group, row, step| {
                let pair = match step {
                    Step::Add => added.at(row).map(|pair| (pair, 1.0)),
                    Step::Undo => undone.as_ref().and_then(|pairs| pairs.at(row)).map(|pair| (pair, -1.0)),
                };
                if let Some(((x, y), sign)) = pair {
                    states[group as usize].put(x, y, sign);
                }
            },
            |states, group| new.push(states[group as usize].result()),
        );
        let column = |values: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
        Ok(Updated { new: walk.emits().then(|| column(new)), old: emit.old.then(|| column(old)), errors: Vec::new() })
    }

    fn merge(&mut self, into: u32, from: u32) -> Result<()> {
        reach(&mut self.states, &[into, from], Sums::default());
        let from = self.states[from as usize];
        let into = &mut self.states[into as usize];
        into.count += from.count;
        for (sum, other) in into.sums.iter_mut().zip(from.sums) {
            *sum += other;
        }
        Ok(())
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        let result = |&slot: &u32| self.states.get(slot as usize).copied().unwrap_or_default().result();
        Ok(Arc::new(Float64Array::from_iter_values(slots.iter().map(result))))
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let states: Vec<Sums> =
            slots.iter().map(|&slot| self.states.get(slot as usize).copied().unwrap_or_default()).collect();
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from_iter_values(states.iter().map(|state| state.count)))];
        for i in 0..5 {
            columns.push(Arc::new(Float64Array::from_iter_values(states.iter().map(|state| state.sums[i]))));
        }
        Ok(columns)
    }

    fn load(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        reach(&mut self.states, slots, Sums::default());
        for (row, &slot) in slots.iter().enumerate() {
            let sum = |i: usize| state[i + 1].as_primitive::<Float64Type>().value(row);
            self.states[slot as usize] = Sums {
                count: state[0].as_primitive::<Int64Type>().value(row),
                sums: [sum(0), sum(1), sum(2), sum(3), sum(4)],
            };
        }
        Ok(())
    }

    fn clear(&mut self, slots: &[u32]) {
        for &slot in slots {
            if let Some(state) = self.states.get_mut(slot as usize) {
                *state = Sums::default();
            }
        }
    }

    fn state_types(&self) -> Vec<SqlType> {
        std::iter::once(SqlType::Bigint).chain(std::iter::repeat_n(SqlType::Double, 5)).collect()
    }

    fn bytes(&self) -> usize {
        fixed_bytes(&self.states)
    }
}

struct Pairs {
    x: Float64Array,
    y: Float64Array,
}

impl Pairs {
    fn of(values: &[ArrayRef]) -> Result<Self> {
        let doubles = |array: &ArrayRef| -> Result<Float64Array> {
            Ok(cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
        };
        Ok(Self { x: doubles(&values[0])?, y: doubles(&values[1])? })
    }

    fn at(&self, row: usize) -> Option<(f64, f64)> {
        (self.x.is_valid(row) && self.y.is_valid(row)).then(|| (self.x.value(row), self.y.value(row)))
    }
}

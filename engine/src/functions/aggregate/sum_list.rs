//! SUM_LIST: the sum of all elements of all lists. Each list is summed first, then it is SUM.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, ListArray, PrimitiveArray};
use arrow::datatypes::{ArrowNativeTypeOp, Float64Type, Int32Type, Int64Type};

use super::{Aggregator, Args, Emit, Updated};
use crate::error::{Error, Result};
use crate::types::SqlType;

pub struct SumList {
    item: SqlType,
    sum: Box<dyn Aggregator>,
}

impl SumList {
    pub fn new(item: &SqlType) -> Result<Self> {
        Ok(Self { item: item.clone(), sum: super::numeric::sum(item, false)? })
    }

    fn sums(&self, lists: &ArrayRef) -> Result<ArrayRef> {
        let lists = lists.as_list::<i32>();
        Ok(match self.item {
            SqlType::Integer => sums::<Int32Type>(lists),
            SqlType::Bigint => sums::<Int64Type>(lists),
            SqlType::Double => sums::<Float64Type>(lists),
            ref other => return Err(Error::internal(format!("SUM_LIST has no form for {other}"))),
        })
    }
}

fn sums<T: ArrowPrimitiveType>(lists: &ListArray) -> ArrayRef
where
    T::Native: ArrowNativeTypeOp,
{
    let values = lists.values().as_primitive::<T>();
    let offsets = lists.value_offsets();
    let sum = |row: usize| {
        lists.is_valid(row).then(|| {
            (offsets[row] as usize..offsets[row + 1] as usize)
                .filter(|&at| values.is_valid(at))
                .fold(T::Native::default(), |sum, at| sum.add_wrapping(values.value(at)))
        })
    };
    Arc::new((0..lists.len()).map(sum).collect::<PrimitiveArray<T>>())
}

impl Aggregator for SumList {
    fn update(&mut self, groups: &[u32], args: &Args<'_>, emit: Emit<'_>) -> Result<Updated> {
        let values = [self.sums(&args.values[0])?];
        let undone = args.undo.map(|(values, rows)| Ok::<_, Error>(([self.sums(&values[0])?], rows))).transpose()?;
        let undo = undone.as_ref().map(|(values, rows)| (values.as_slice(), *rows));
        self.sum.update(groups, &Args { values: &values, add: args.add, undo }, emit)
    }

    fn merge(&mut self, into: u32, from: u32) -> Result<()> {
        self.sum.merge(into, from)
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        self.sum.evaluate(slots)
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.sum.store(slots)
    }

    fn load(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.sum.load(slots, state)
    }

    fn clear(&mut self, slots: &[u32]) {
        self.sum.clear(slots);
    }

    fn state_types(&self) -> Vec<SqlType> {
        self.sum.state_types()
    }

    fn bytes(&self) -> usize {
        self.sum.bytes()
    }
}

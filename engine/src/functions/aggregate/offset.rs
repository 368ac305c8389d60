//! EARLIEST_BY_OFFSET and LATEST_BY_OFFSET of one fixed-width value, nulls ignored: the common case, without a list.

use std::cell::Cell;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, Int64Array, PrimitiveArray};
use arrow::datatypes::{
    Date32Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType, TimestampMillisecondType,
};

use super::Aggregator;
use super::fold::{Fold, Folded};
use crate::types::SqlType;

struct ByOffset<T> {
    latest: bool,
    ty: SqlType,
    /// Number of the next value to arrive, over all groups: sessions merge by it.
    next: Cell<i64>,
    _input: std::marker::PhantomData<T>,
}

impl<T: ArrowPrimitiveType + Send> Fold for ByOffset<T> {
    type Input = T;
    type Output = T;
    /// Arrival and value; arrivals count from 1, 0 is none.
    type State = (i64, T::Native);

    #[inline]
    fn add(&self, state: &mut Self::State, value: T::Native) -> bool {
        let arrival = self.next.get() + 1;
        self.next.set(arrival);
        if self.latest || state.0 == 0 {
            *state = (arrival, value);
        }
        true
    }

    fn undo(&self, _state: &mut Self::State, _value: T::Native) -> bool {
        false
    }

    #[inline]
    fn result(&self, state: &Self::State) -> Option<T::Native> {
        (state.0 > 0).then_some(state.1)
    }

    fn merge(&self, into: &mut Self::State, from: &Self::State) {
        let later = from.0 > into.0;
        if from.0 > 0 && (into.0 == 0 || later == self.latest) {
            *into = *from;
        }
    }

    fn state_types(&self) -> Vec<SqlType> {
        vec![SqlType::Bigint, self.ty.clone()]
    }

    fn store(&self, states: &[Self::State]) -> Vec<ArrayRef> {
        let values = PrimitiveArray::<T>::from_iter_values(states.iter().map(|state| state.1));
        vec![
            Arc::new(Int64Array::from_iter_values(states.iter().map(|state| state.0))),
            Arc::new(values.with_data_type(self.ty.to_arrow())),
        ]
    }

    fn load(&self, arrays: &[ArrayRef]) -> Vec<Self::State> {
        let arrivals = arrays[0].as_primitive::<Int64Type>().values();
        self.next.set(arrivals.iter().copied().fold(self.next.get(), i64::max));
        arrivals.iter().copied().zip(arrays[1].as_primitive::<T>().values().iter().copied()).collect()
    }

    fn refusal(&self) -> String {
        String::from("EARLIEST_BY_OFFSET and LATEST_BY_OFFSET cannot take a row back")
    }
}

/// None for types whose values are not of fixed width.
pub fn by_offset(latest: bool, ty: &SqlType) -> Option<Box<dyn Aggregator>> {
    fn form<T: ArrowPrimitiveType + Send>(latest: bool, ty: &SqlType) -> Option<Box<dyn Aggregator>> {
        let fold = ByOffset::<T> { latest, ty: ty.clone(), next: Cell::new(0), _input: std::marker::PhantomData };
        Some(Folded::boxed(fold, ty))
    }
    match ty {
        SqlType::Integer => form::<Int32Type>(latest, ty),
        SqlType::Bigint => form::<Int64Type>(latest, ty),
        SqlType::Double => form::<Float64Type>(latest, ty),
        SqlType::Date => form::<Date32Type>(latest, ty),
        SqlType::Time => form::<Time32MillisecondType>(latest, ty),
        SqlType::Timestamp => form::<TimestampMillisecondType>(latest, ty),
        _ => None,
    }
}

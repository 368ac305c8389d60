//! MIN and MAX: the least and greatest value, null until there is one. A row cannot be taken back.
//!
//! Order is Java's: DOUBLE by `Double.compare` (NaN greatest, -0.0 below 0.0), STRING by UTF-16 units, BYTES by signed bytes.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BinaryBuilder, GenericByteArray, PrimitiveArray,
    StringArray,
};
use arrow::datatypes::{
    ByteArrayType, DataType, Date32Type, Decimal256Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType,
};

use super::fold::{Fold, Folded};
use super::slots::{Step, Walk, Weigh, Weighed};
use super::{Aggregator, Args, Emit, Updated};
use crate::error::{Error, Result};
use crate::functions::values::order::{bytes_order, text_order};
use crate::types::SqlType;

/// Which of two values stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extreme {
    Least,
    Greatest,
}

impl Extreme {
    fn replaces(self, order: Ordering) -> bool {
        match self {
            Extreme::Least => order == Ordering::Less,
            Extreme::Greatest => order == Ordering::Greater,
        }
    }
}

struct Fixed<T, const GREATEST: bool> {
    ty: SqlType,
    _input: std::marker::PhantomData<T>,
}

/// Java's order of a type's values.
pub trait JavaOrder: ArrowPrimitiveType + Send {
    fn order(a: Self::Native, b: Self::Native) -> Ordering;
    /// Whether `a` is not less than `b`, at the cost of one branch. It may be false where `order` has to be asked.
    fn surely_not_less(a: Self::Native, b: Self::Native) -> bool;
}

macro_rules! natural_order {
    ($($ty:ty),*) => {$(
        impl JavaOrder for $ty {
            #[inline]
            fn order(a: Self::Native, b: Self::Native) -> Ordering {
                a.cmp(&b)
            }
            #[inline]
            fn surely_not_less(a: Self::Native, b: Self::Native) -> bool {
                a >= b
            }
        }
    )*};
}

natural_order!(Int32Type, Int64Type, Decimal256Type, Date32Type, Time32MillisecondType, TimestampMillisecondType);

/// `Double.compare`: every NaN equal and greatest, -0.0 below 0.0.
impl JavaOrder for Float64Type {
    #[inline]
    fn order(a: f64, b: f64) -> Ordering {
        match (a.is_nan(), b.is_nan()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => a.total_cmp(&b),
        }
    }
    #[inline]
    fn surely_not_less(a: f64, b: f64) -> bool {
        (a > b) | (a.to_bits() == b.to_bits())
    }
}

impl<T: JavaOrder, const GREATEST: bool> Fixed<T, GREATEST> {
    const REPLACES: Ordering = if GREATEST { Ordering::Greater } else { Ordering::Less };

    /// Nearly always: then the state is read, not written.
    #[inline]
    fn surely_stays(current: T::Native, value: T::Native) -> bool {
        if GREATEST { T::surely_not_less(current, value) } else { T::surely_not_less(value, current) }
    }
}

impl<T: JavaOrder, const GREATEST: bool> Fold for Fixed<T, GREATEST> {
    type Input = T;
    type Output = T;
    type State = Option<T::Native>;

    #[inline]
    fn add(&self, state: &mut Self::State, value: T::Native) -> bool {
        match state {
            Some(current) if Self::surely_stays(*current, value) => {}
            Some(current) if T::order(value, *current) != Self::REPLACES => {}
            _ => *state = Some(value),
        }
        true
    }

    fn undo(&self, _state: &mut Self::State, _value: T::Native) -> bool {
        false
    }

    #[inline]
    fn result(&self, state: &Self::State) -> Option<T::Native> {
        *state
    }

    fn merge(&self, into: &mut Self::State, from: &Self::State) {
        if let Some(value) = from {
            self.add(into, *value);
        }
    }

    fn state_types(&self) -> Vec<SqlType> {
        vec![self.ty.clone()]
    }

    fn store(&self, states: &[Self::State]) -> Vec<ArrayRef> {
        let values: PrimitiveArray<T> = states.iter().copied().collect();
        vec![Arc::new(values.with_data_type(self.ty.to_arrow()))]
    }

    fn load(&self, arrays: &[ArrayRef]) -> Vec<Self::State> {
        arrays[0].as_primitive::<T>().iter().collect()
    }

    fn refusal(&self) -> String {
        String::from("MIN and MAX cannot take a row back")
    }
}

/// STRING and BYTES.
struct Bytes {
    extreme: Extreme,
    text: bool,
    states: Weighed<Option<Vec<u8>>>,
}

impl Weigh for Option<Vec<u8>> {
    fn bytes(&self) -> usize {
        self.as_ref().map_or(0, Vec::capacity)
    }
}

impl Bytes {
    fn value(array: &ArrayRef, row: usize) -> &[u8] {
        match array.data_type() {
            DataType::Utf8 => array.as_string::<i32>().value(row).as_bytes(),
            _ => array.as_binary::<i32>().value(row),
        }
    }

    fn order(text: bool, a: &[u8], b: &[u8]) -> Ordering {
        if text { text_order(a, b) } else { bytes_order(a, b) }
    }

    fn replaces(extreme: Extreme, text: bool, state: &Option<Vec<u8>>, value: &[u8]) -> bool {
        state.as_ref().is_none_or(|current| extreme.replaces(Self::order(text, value, current)))
    }

    fn put(extreme: Extreme, text: bool, state: &mut Option<Vec<u8>>, value: &[u8]) {
        if Self::replaces(extreme, text, state, value) {
            Self::set(state, value);
        }
    }

    fn set(state: &mut Option<Vec<u8>>, value: &[u8]) {
        let current = state.get_or_insert_default();
        current.clear();
        current.extend_from_slice(value);
    }

    /// Adds every row; nobody asks for results.
    fn add_all<T: ByteArrayType<Offset = i32>>(&mut self, groups: &[u32], values: &GenericByteArray<T>) {
        for (&group, value) in groups.iter().zip(values) {
            let Some(value) = value else { continue };
            let value: &[u8] = value.as_ref();
            if Self::replaces(self.extreme, self.text, self.states.get(group), value) {
                self.states.change(group, |state| Self::set(state, value));
            }
        }
    }

    fn array(&self, values: BinaryArray) -> Result<ArrayRef> {
        Ok(if self.text { Arc::new(StringArray::try_from_binary(values)?) } else { Arc::new(values) })
    }
}

impl Aggregator for Bytes {
    fn update(&mut self, groups: &[u32], args: &Args<'_>, emit: Emit<'_>) -> Result<Updated> {
        self.states.reach(groups);
        let values = &args.values[0];
        let walk = Walk::new(groups, args, &emit);
        let (extreme, text) = (self.extreme, self.text);
        if walk.is_plain() && !walk.emits() {
            match text {
                true => self.add_all(groups, values.as_string::<i32>()),
                false => self.add_all(groups, values.as_binary::<i32>()),
            }
            return Ok(Updated { new: None, old: None, errors: Vec::new() });
        }
        let (mut new, mut old) = (BinaryBuilder::new(), BinaryBuilder::new());
        walk.run(
            &mut self.states,
            |states, group| {
                if emit.old {
                    old.append_option(states.get(group).as_deref());
                }
            },
            |states, group, row, step| {
                if step == Step::Add && values.is_valid(row) {
                    states.change(group, |state| Self::put(extreme, text, state, Self::value(values, row)));
                }
            },
            |states, group| new.append_option(states.get(group).as_deref()),
        );
        Ok(Updated {
            new: walk.emits().then(|| self.array(new.finish())).transpose()?,
            old: emit.old.then(|| self.array(old.finish())).transpose()?,
            errors: Vec::new(),
        })
    }

    fn merge(&mut self, into: u32, from: u32) -> Result<()> {
        self.states.reach(&[into, from]);
        if let Some(value) = self.states.get(from).clone() {
            self.states.change(into, |state| Self::put(self.extreme, self.text, state, &value));
        }
        Ok(())
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        self.array(slots.iter().map(|&slot| self.states.get(slot).as_deref()).collect())
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(slots)?])
    }

    fn load(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.states.reach(slots);
        for (row, &slot) in slots.iter().enumerate() {
            let value = state[0].is_valid(row).then(|| Self::value(&state[0], row).to_vec());
            self.states.change(slot, |state| *state = value);
        }
        Ok(())
    }

    fn clear(&mut self, slots: &[u32]) {
        self.states.clear(slots);
    }

    fn state_types(&self) -> Vec<SqlType> {
        vec![if self.text { SqlType::String } else { SqlType::Bytes }]
    }

    fn bytes(&self) -> usize {
        self.states.bytes()
    }
}

pub fn extreme(extreme: Extreme, ty: &SqlType) -> Result<Box<dyn Aggregator>> {
    fn fixed<T: JavaOrder>(extreme: Extreme, ty: &SqlType) -> Box<dyn Aggregator> {
        let (of, input) = (ty.clone(), std::marker::PhantomData);
        match extreme {
            Extreme::Least => Folded::boxed(Fixed::<T, false> { ty: of, _input: input }, ty),
            Extreme::Greatest => Folded::boxed(Fixed::<T, true> { ty: of, _input: input }, ty),
        }
    }
    Ok(match ty {
        SqlType::Integer => fixed::<Int32Type>(extreme, ty),
        SqlType::Bigint => fixed::<Int64Type>(extreme, ty),
        SqlType::Double => fixed::<Float64Type>(extreme, ty),
        SqlType::Decimal { .. } => fixed::<Decimal256Type>(extreme, ty),
        SqlType::Date => fixed::<Date32Type>(extreme, ty),
        SqlType::Time => fixed::<Time32MillisecondType>(extreme, ty),
        SqlType::Timestamp => fixed::<TimestampMillisecondType>(extreme, ty),
        SqlType::String => Box::new(Bytes { extreme, text: true, states: Weighed::default() }),
        SqlType::Bytes => Box::new(Bytes { extreme, text: false, states: Weighed::default() }),
        other => return Err(Error::internal(format!("MIN and MAX have no form for {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_compare_as_java_compares_them() {
        let ascending = [f64::NEG_INFINITY, -2.0, -1.0, -1e-300, -0.0, 0.0, 1e-300, 1.0, f64::INFINITY, f64::NAN];
        for (i, &a) in ascending.iter().enumerate() {
            for (j, &b) in ascending.iter().enumerate() {
                assert_eq!(Float64Type::order(a, b), i.cmp(&j), "{a} and {b}");
                assert!(!Float64Type::surely_not_less(a, b) || i >= j, "{a} and {b}");
            }
            assert_eq!(Float64Type::order(-f64::NAN, a), Float64Type::order(f64::NAN, a));
        }
    }
}

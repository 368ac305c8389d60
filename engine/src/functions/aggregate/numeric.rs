//! COUNT, SUM, AVG: totals that can take a row back.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal256Array, Float64Array, Int64Array, PrimitiveArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowNativeType, ArrowNativeTypeOp, DataType, Decimal256Type, Float64Type, Int32Type, Int64Type, i256,
};

use super::fold::{Fold, Folded, Results};
use super::slots::{Step, Walk, fixed_bytes, has_value, reach};
use super::{Aggregator, Args, Emit, Updated};
use crate::error::{Error, Result};
use crate::functions::values::decimal::power_of_ten;
use crate::types::SqlType;

/// COUNT(x) counts values, COUNT() rows.
#[derive(Default)]
pub struct Count {
    counts: Vec<i64>,
}

impl Count {
    /// Counts every row; `then` sees the count after each.
    fn count_all(&mut self, groups: &[u32], mut then: impl FnMut(i64)) {
        for &group in groups {
            let count = &mut self.counts[group as usize];
            *count += 1;
            then(*count);
        }
    }

    fn count_values(&mut self, groups: &[u32], nulls: &NullBuffer, mut then: impl FnMut(i64)) {
        for (&group, valid) in groups.iter().zip(nulls) {
            let count = &mut self.counts[group as usize];
            *count += i64::from(valid);
            then(*count);
        }
    }

    /// Takes back what [`Count::count_all`] counted for rows without a value.
    fn discount(&mut self, groups: &[u32], nulls: &NullBuffer) {
        for row in (!nulls.inner()).set_indices() {
            self.counts[groups[row] as usize] -= 1;
        }
    }
}

impl Aggregator for Count {
    fn update(&mut self, groups: &[u32], args: &Args<'_>, emit: Emit<'_>) -> Result<Updated> {
        reach(&mut self.counts, groups, 0);
        let walk = Walk::new(groups, args, &emit);
        let values = args.values.first();
        let nulls = values.and_then(|v| v.logical_nulls()).filter(|nulls| nulls.null_count() > 0);
        if walk.is_plain() && !emit.old {
            let mut out = Vec::with_capacity(if walk.emits() { groups.len() } else { 0 });
            match (&nulls, walk.emits()) {
                (None, false) => self.count_all(groups, |_| {}),
                (None, true) => self.count_all(groups, |count| out.push(count)),
                (Some(nulls), false) => {
                    self.count_all(groups, |_| {});
                    self.discount(groups, nulls);
                }
                (Some(nulls), true) => self.count_values(groups, nulls, |count| out.push(count)),
            }
            let new: Option<ArrayRef> = walk.emits().then(|| Arc::new(Int64Array::from(out)) as ArrayRef);
            return Ok(Updated { new, old: None, errors: Vec::new() });
        }
        let counts = &mut self.counts;
        let undone = args.undo.and_then(|(values, _)| values.first());
        let mut new = Results::<Int64Type>::with_capacity(groups.len());
        let mut old = Results::<Int64Type>::with_capacity(if emit.old { groups.len() } else { 0 });
        walk.run(
            counts,
            |counts, group| {
                if emit.old {
                    old.push(Some(counts[group as usize]));
                }
            },
            |counts, group, row, step| {
                let count = &mut counts[group as usize];
                match step {
                    Step::Add => *count += i64::from(nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))),
                    Step::Undo => *count -= i64::from(undone.is_none_or(|values| has_value(values, row))),
                }
            },
            |counts, group| new.push(Some(counts[group as usize])),
        );
        Ok(Updated {
            new: walk.emits().then(|| new.finish(&DataType::Int64)),
            old: emit.old.then(|| old.finish(&DataType::Int64)),
            errors: Vec::new(),
        })
    }

    fn merge(&mut self, into: u32, from: u32) -> Result<()> {
        reach(&mut self.counts, &[into, from], 0);
        self.counts[into as usize] += self.counts[from as usize];
        Ok(())
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        let count = |&slot: &u32| self.counts.get(slot as usize).copied().unwrap_or(0);
        Ok(Arc::new(Int64Array::from_iter_values(slots.iter().map(count))))
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(slots)?])
    }

    fn load(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        reach(&mut self.counts, slots, 0);
        for (&slot, &count) in slots.iter().zip(state[0].as_primitive::<Int64Type>().values()) {
            self.counts[slot as usize] = count;
        }
        Ok(())
    }

    fn clear(&mut self, slots: &[u32]) {
        for &slot in slots {
            if let Some(count) = self.counts.get_mut(slot as usize) {
                *count = 0;
            }
        }
    }

    fn state_types(&self) -> Vec<SqlType> {
        vec![SqlType::Bigint]
    }

    fn bytes(&self) -> usize {
        fixed_bytes(&self.counts)
    }
}

/// SUM of INT, BIGINT (wrapping, as in Java) and DOUBLE. Starts at 0, so the sum of only nulls is 0.
struct Sum<T>(std::marker::PhantomData<T>, SqlType);

impl<T: ArrowPrimitiveType + Send> Fold for Sum<T>
where
    T::Native: ArrowNativeTypeOp,
{
    type Input = T;
    type Output = T;
    type State = T::Native;

    #[inline]
    fn add(&self, state: &mut T::Native, value: T::Native) -> bool {
        *state = state.add_wrapping(value);
        true
    }

    #[inline]
    fn undo(&self, state: &mut T::Native, value: T::Native) -> bool {
        *state = state.sub_wrapping(value);
        true
    }

    #[inline]
    fn result(&self, state: &T::Native) -> Option<T::Native> {
        Some(*state)
    }

    fn merge(&self, into: &mut T::Native, from: &T::Native) {
        *into = into.add_wrapping(*from);
    }

    fn state_types(&self) -> Vec<SqlType> {
        vec![self.1.clone()]
    }

    fn store(&self, states: &[T::Native]) -> Vec<ArrayRef> {
        vec![Arc::new(PrimitiveArray::<T>::from_iter_values(states.iter().copied()))]
    }

    fn load(&self, arrays: &[ArrayRef]) -> Vec<T::Native> {
        arrays[0].as_primitive::<T>().values().to_vec()
    }
}

/// SUM of DECIMAL keeps the precision; a sum that no longer fits is an error of that row. `S` is the integer that sums are
/// kept in: `i128` up to 37 digits, else `i256`.
struct DecimalSum<S> {
    ty: SqlType,
    /// The least number with too many digits.
    limit: S,
    overflow_is_fatal: bool,
}

/// Digits that an `i128` holds with room for one addition.
const SHORT_DIGITS_MAX: u8 = 37;

/// An integer that sums are kept in.
trait Digits: Copy + Default + PartialOrd + Send + std::ops::Neg<Output = Self> + 'static {
    /// Exact: a column's values have no more digits than its type.
    fn of(value: i256) -> Self;
    fn to_i256(self) -> i256;
    fn plus(self, other: Self) -> Self;
}

impl Digits for i128 {
    #[inline]
    fn of(value: i256) -> i128 {
        value.to_parts().0 as i128
    }
    fn to_i256(self) -> i256 {
        i256::from_i128(self)
    }
    #[inline]
    fn plus(self, other: i128) -> i128 {
        self + other
    }
}

impl Digits for i256 {
    #[inline]
    fn of(value: i256) -> i256 {
        value
    }
    fn to_i256(self) -> i256 {
        self
    }
    #[inline]
    fn plus(self, other: i256) -> i256 {
        // Both have at most 76 digits; an i256 has room for twice that.
        self.wrapping_add(other)
    }
}

impl<S: Digits> DecimalSum<S> {
    fn boxed(ty: &SqlType, precision: u8, overflow_is_fatal: bool) -> Box<dyn Aggregator> {
        let sum = DecimalSum { ty: ty.clone(), limit: S::of(power_of_ten(u32::from(precision))), overflow_is_fatal };
        Folded::boxed(sum, ty)
    }

    #[inline]
    fn put(&self, state: &mut S, sum: S) -> bool {
        let fits = sum < self.limit && sum > -self.limit;
        if fits {
            *state = sum;
        }
        fits
    }
}

impl<S: Digits> Fold for DecimalSum<S> {
    type Input = Decimal256Type;
    type Output = Decimal256Type;
    type State = S;

    #[inline]
    fn add(&self, state: &mut S, value: i256) -> bool {
        self.put(state, state.plus(S::of(value)))
    }

    #[inline]
    fn undo(&self, state: &mut S, value: i256) -> bool {
        self.put(state, state.plus(-S::of(value)))
    }

    #[inline]
    fn result(&self, state: &S) -> Option<i256> {
        Some(state.to_i256())
    }

    fn merge(&self, into: &mut S, from: &S) {
        self.put(into, into.plus(*from));
    }

    fn state_types(&self) -> Vec<SqlType> {
        vec![self.ty.clone()]
    }

    fn store(&self, states: &[S]) -> Vec<ArrayRef> {
        let sums = Decimal256Array::from_iter_values(states.iter().map(|sum| sum.to_i256()));
        vec![Arc::new(sums.with_data_type(self.ty.to_arrow()))]
    }

    fn load(&self, arrays: &[ArrayRef]) -> Vec<S> {
        arrays[0].as_primitive::<Decimal256Type>().values().iter().map(|sum| S::of(*sum)).collect()
    }

    fn is_fatal(&self) -> bool {
        self.overflow_is_fatal
    }

    fn refusal(&self) -> String {
        String::from("Numeric field overflow")
    }
}

/// AVG: sum and count; 0.0 when empty.
struct Average<T>(std::marker::PhantomData<T>);

/// What a value adds to an average's sum: integers add exactly.
trait Addend: ArrowNativeType {
    type Array: ArrowPrimitiveType<Native = Self>;
    const TYPE: SqlType;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn over(self, count: i64) -> f64;
}

impl Addend for i64 {
    type Array = Int64Type;
    const TYPE: SqlType = SqlType::Bigint;
    fn plus(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }
    fn minus(self, other: i64) -> i64 {
        self.wrapping_sub(other)
    }
    fn over(self, count: i64) -> f64 {
        self as f64 / count as f64
    }
}

impl Addend for f64 {
    type Array = Float64Type;
    const TYPE: SqlType = SqlType::Double;
    fn plus(self, other: f64) -> f64 {
        self + other
    }
    fn minus(self, other: f64) -> f64 {
        self - other
    }
    fn over(self, count: i64) -> f64 {
        self / count as f64
    }
}

trait Averaged: ArrowPrimitiveType + Send {
    type Sum: Addend;
    fn widen(value: Self::Native) -> Self::Sum;
}

impl Averaged for Int32Type {
    type Sum = i64;
    fn widen(value: i32) -> i64 {
        i64::from(value)
    }
}

impl Averaged for Int64Type {
    type Sum = i64;
    fn widen(value: i64) -> i64 {
        value
    }
}

impl Averaged for Float64Type {
    type Sum = f64;
    fn widen(value: f64) -> f64 {
        value
    }
}

impl<T: Averaged> Fold for Average<T> {
    type Input = T;
    type Output = Float64Type;
    type State = (T::Sum, i64);

    #[inline]
    fn add(&self, state: &mut Self::State, value: T::Native) -> bool {
        *state = (state.0.plus(T::widen(value)), state.1 + 1);
        true
    }

    #[inline]
    fn undo(&self, state: &mut Self::State, value: T::Native) -> bool {
        *state = (state.0.minus(T::widen(value)), state.1 - 1);
        true
    }

    #[inline]
    fn result(&self, state: &Self::State) -> Option<f64> {
        Some(if state.1 == 0 { 0.0 } else { state.0.over(state.1) })
    }

    fn merge(&self, into: &mut Self::State, from: &Self::State) {
        *into = (into.0.plus(from.0), into.1 + from.1);
    }

    fn state_types(&self) -> Vec<SqlType> {
        vec![T::Sum::TYPE, SqlType::Bigint]
    }

    fn store(&self, states: &[Self::State]) -> Vec<ArrayRef> {
        vec![
            Arc::new(PrimitiveArray::<<T::Sum as Addend>::Array>::from_iter_values(states.iter().map(|s| s.0))),
            Arc::new(Int64Array::from_iter_values(states.iter().map(|s| s.1))),
        ]
    }

    fn load(&self, arrays: &[ArrayRef]) -> Vec<Self::State> {
        let sums = arrays[0].as_primitive::<<T::Sum as Addend>::Array>();
        sums.values().iter().copied().zip(arrays[1].as_primitive::<Int64Type>().values().iter().copied()).collect()
    }
}

/// The variance of a sample by the method of Youngs and Cramer, which can take values back; STDDEV_SAMP shows it as it
/// is (ksqlDB keeps that for compatibility), STDDEV_SAMPLE its root.
struct Variance<T> {
    root: bool,
    _input: std::marker::PhantomData<T>,
}

/// Count, sum, sum of squared differences.
type Moments = (i64, f64, f64);

trait Real: ArrowPrimitiveType + Send {
    fn real(value: Self::Native) -> f64;
}

impl Real for Int32Type {
    fn real(value: i32) -> f64 {
        f64::from(value)
    }
}

impl Real for Int64Type {
    fn real(value: i64) -> f64 {
        value as f64
    }
}

impl Real for Float64Type {
    fn real(value: f64) -> f64 {
        value
    }
}

impl<T: Real> Fold for Variance<T> {
    type Input = T;
    type Output = Float64Type;
    type State = Moments;

    fn add(&self, (count, sum, squares): &mut Moments, value: T::Native) -> bool {
        let value = T::real(value);
        *count += 1;
        *sum += value;
        if *count > 1 {
            let n = *count as f64;
            let difference = n * value - *sum;
            *squares += difference * difference / (n * (n - 1.0));
        }
        true
    }

    fn undo(&self, (count, sum, squares): &mut Moments, value: T::Native) -> bool {
        let value = T::real(value);
        if *count > 1 {
            let n = *count as f64;
            let difference = n * value - *sum;
            *squares -= difference * difference / (n * (n - 1.0));
        }
        *count -= 1;
        *sum -= value;
        true
    }

    fn result(&self, (count, _, squares): &Moments) -> Option<f64> {
        if *count < 2 {
            return Some(0.0);
        }
        let variance = squares / (*count - 1) as f64;
        Some(if self.root { variance.sqrt() } else { variance })
    }

    fn merge(&self, into: &mut Moments, from: &Moments) {
        if from.0 == 0 {
            return;
        }
        if into.0 == 0 {
            *into = *from;
            return;
        }
        let (n, m) = (into.0 as f64, from.0 as f64);
        let difference = m / n * into.1 - from.1;
        into.2 += from.2 + n / (m * (m + n)) * difference * difference;
        into.0 += from.0;
        into.1 += from.1;
    }

    fn state_types(&self) -> Vec<SqlType> {
        vec![SqlType::Bigint, SqlType::Double, SqlType::Double]
    }

    fn store(&self, states: &[Moments]) -> Vec<ArrayRef> {
        vec![
            Arc::new(Int64Array::from_iter_values(states.iter().map(|s| s.0))),
            Arc::new(Float64Array::from_iter_values(states.iter().map(|s| s.1))),
            Arc::new(Float64Array::from_iter_values(states.iter().map(|s| s.2))),
        ]
    }

    fn load(&self, arrays: &[ArrayRef]) -> Vec<Moments> {
        let (count, sum, squares) = (
            arrays[0].as_primitive::<Int64Type>(),
            arrays[1].as_primitive::<Float64Type>(),
            arrays[2].as_primitive::<Float64Type>(),
        );
        (0..count.len()).map(|i| (count.value(i), sum.value(i), squares.value(i))).collect()
    }
}

fn wrong(function: &str, ty: &SqlType) -> Error {
    Error::internal(format!("{function} has no form for {ty}"))
}

/// `overflow_is_fatal`: a DECIMAL sum out of range stops the query, as in ksqlDB, instead of leaving the sum as it was.
pub fn sum(ty: &SqlType, overflow_is_fatal: bool) -> Result<Box<dyn Aggregator>> {
    fn form<T: ArrowPrimitiveType + Send>(ty: &SqlType) -> Box<dyn Aggregator>
    where
        T::Native: ArrowNativeTypeOp,
    {
        Folded::boxed(Sum::<T>(std::marker::PhantomData, ty.clone()), ty)
    }
    Ok(match ty {
        SqlType::Integer => form::<Int32Type>(ty),
        SqlType::Bigint => form::<Int64Type>(ty),
        SqlType::Double => form::<Float64Type>(ty),
        SqlType::Decimal { precision: digits @ ..=SHORT_DIGITS_MAX, .. } => {
            DecimalSum::<i128>::boxed(ty, *digits, overflow_is_fatal)
        }
        SqlType::Decimal { precision, .. } => DecimalSum::<i256>::boxed(ty, *precision, overflow_is_fatal),
        other => return Err(wrong("SUM", other)),
    })
}

pub fn average(ty: &SqlType) -> Result<Box<dyn Aggregator>> {
    Ok(match ty {
        SqlType::Integer => Folded::boxed(Average::<Int32Type>(std::marker::PhantomData), &SqlType::Double),
        SqlType::Bigint => Folded::boxed(Average::<Int64Type>(std::marker::PhantomData), &SqlType::Double),
        SqlType::Double => Folded::boxed(Average::<Float64Type>(std::marker::PhantomData), &SqlType::Double),
        other => return Err(wrong("AVG", other)),
    })
}

pub fn variance(ty: &SqlType, root: bool) -> Result<Box<dyn Aggregator>> {
    fn form<T: Real>(root: bool) -> Box<dyn Aggregator> {
        Folded::boxed(Variance::<T> { root, _input: std::marker::PhantomData }, &SqlType::Double)
    }
    Ok(match ty {
        SqlType::Integer => form::<Int32Type>(root),
        SqlType::Bigint => form::<Int64Type>(root),
        SqlType::Double => form::<Float64Type>(root),
        other => return Err(wrong("STDDEV", other)),
    })
}

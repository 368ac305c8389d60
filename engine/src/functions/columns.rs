//! Reading and building columns row by row, for functions whose work per row outweighs a closure call.
//!
//! A function of one row becomes a function of columns: `map2::<Str, Int32Type, Str>(args, |text, n| …)`. The markers
//! name Arrow's element types ([`Str`], [`Bin`], [`Bool`], Arrow's own primitive types); null arguments give null, unless
//! `nullable…` is used. The first row that fails fails the column, and the caller finds the row.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BinaryBuilder, BooleanArray, BooleanBuilder,
    ListBuilder, MapBuilder, MapFieldNames, NullBufferBuilder, PrimitiveArray, PrimitiveBuilder, StringArray,
    StringBuilder,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field};

use crate::functions::scalar::Evaluated;

/// STRING.
pub struct Str;
/// BYTES.
pub struct Bin;
/// BOOLEAN.
pub struct Bool;
/// `ARRAY<STRING>`.
pub struct StrList;
/// MAP<STRING, STRING>.
pub struct StrMap;

/// An element type that can be read.
pub trait Input {
    type Array: Array + 'static;
    type Value<'a>;
    fn value(array: &Self::Array, row: usize) -> Self::Value<'_>;
}

/// An element type that can be built.
pub trait Output {
    type Owned;
    fn build(rows: usize, f: impl FnMut(usize) -> Result<Option<Self::Owned>, String>) -> Evaluated;
}

impl Input for Str {
    type Array = StringArray;
    type Value<'a> = &'a str;
    fn value(array: &StringArray, row: usize) -> &str {
        array.value(row)
    }
}

impl Input for Bin {
    type Array = BinaryArray;
    type Value<'a> = &'a [u8];
    fn value(array: &BinaryArray, row: usize) -> &[u8] {
        array.value(row)
    }
}

impl Input for Bool {
    type Array = BooleanArray;
    type Value<'a> = bool;
    fn value(array: &BooleanArray, row: usize) -> bool {
        array.value(row)
    }
}

impl<T: ArrowPrimitiveType> Input for T {
    type Array = PrimitiveArray<T>;
    type Value<'a> = T::Native;
    fn value(array: &PrimitiveArray<T>, row: usize) -> T::Native {
        array.value(row)
    }
}

impl Output for Str {
    type Owned = String;
    fn build(rows: usize, mut f: impl FnMut(usize) -> Result<Option<String>, String>) -> Evaluated {
        let mut builder = StringBuilder::with_capacity(rows, rows * 8);
        for row in 0..rows {
            builder.append_option(f(row)?);
        }
        Ok(Arc::new(builder.finish()))
    }
}

impl Output for Bin {
    type Owned = Vec<u8>;
    fn build(rows: usize, mut f: impl FnMut(usize) -> Result<Option<Vec<u8>>, String>) -> Evaluated {
        let mut builder = BinaryBuilder::with_capacity(rows, rows * 8);
        for row in 0..rows {
            builder.append_option(f(row)?);
        }
        Ok(Arc::new(builder.finish()))
    }
}

impl Output for Bool {
    type Owned = bool;
    fn build(rows: usize, mut f: impl FnMut(usize) -> Result<Option<bool>, String>) -> Evaluated {
        let mut builder = BooleanBuilder::with_capacity(rows);
        for row in 0..rows {
            builder.append_option(f(row)?);
        }
        Ok(Arc::new(builder.finish()))
    }
}

impl<T: ArrowPrimitiveType> Output for T {
    type Owned = T::Native;
    fn build(rows: usize, mut f: impl FnMut(usize) -> Result<Option<T::Native>, String>) -> Evaluated {
        let mut builder = PrimitiveBuilder::<T>::with_capacity(rows);
        for row in 0..rows {
            builder.append_option(f(row)?);
        }
        Ok(Arc::new(builder.finish()))
    }
}

impl Output for StrList {
    type Owned = Vec<Option<String>>;
    fn build(rows: usize, mut f: impl FnMut(usize) -> Result<Option<Vec<Option<String>>>, String>) -> Evaluated {
        let mut builder = ListBuilder::with_capacity(StringBuilder::new(), rows);
        for row in 0..rows {
            builder.append_option(f(row)?);
        }
        Ok(Arc::new(builder.finish()))
    }
}

impl Output for StrMap {
    type Owned = Vec<(String, Option<String>)>;
    fn build(
        rows: usize,
        mut f: impl FnMut(usize) -> Result<Option<Vec<(String, Option<String>)>>, String>,
    ) -> Evaluated {
        let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
        let mut builder = MapBuilder::with_capacity(Some(names), StringBuilder::new(), StringBuilder::new(), rows)
            .with_keys_field(Arc::new(Field::new("key", DataType::Utf8, false)))
            .with_values_field(Arc::new(Field::new("value", DataType::Utf8, true)));
        for row in 0..rows {
            let entries = f(row)?;
            for (key, value) in entries.iter().flatten() {
                builder.keys().append_value(key);
                builder.values().append_option(value.as_deref());
            }
            builder.append(entries.is_some()).map_err(|e| e.to_string())?;
        }
        Ok(Arc::new(builder.finish()))
    }
}

/// The argument as the array its type says.
pub fn column<A: Input>(array: &ArrayRef) -> &A::Array {
    array.as_any().downcast_ref::<A::Array>().expect("an argument has the type its overload names")
}

fn read<A: Input>(array: &A::Array, row: usize) -> Option<A::Value<'_>> {
    (!array.is_null(row)).then(|| A::value(array, row))
}

/// One number for each number; nothing can fail, so null rows are computed too and the loop is a plain one.
pub fn unary<A: ArrowPrimitiveType, R: ArrowPrimitiveType>(
    args: &[ArrayRef],
    f: impl Fn(A::Native) -> R::Native,
) -> Evaluated {
    Ok(Arc::new(args[0].as_primitive::<A>().unary::<_, R>(f)))
}

pub fn map1<A: Input, R: Output>(
    args: &[ArrayRef],
    f: impl Fn(A::Value<'_>) -> Result<Option<R::Owned>, String>,
) -> Evaluated {
    let a = column::<A>(&args[0]);
    R::build(a.len(), |row| read::<A>(a, row).map_or(Ok(None), &f))
}

pub fn map2<A: Input, B: Input, R: Output>(
    args: &[ArrayRef],
    f: impl Fn(A::Value<'_>, B::Value<'_>) -> Result<Option<R::Owned>, String>,
) -> Evaluated {
    nullable2::<A, B, R>(args, |a, b| match (a, b) {
        (Some(a), Some(b)) => f(a, b),
        _ => Ok(None),
    })
}

pub fn map3<A: Input, B: Input, C: Input, R: Output>(
    args: &[ArrayRef],
    f: impl Fn(A::Value<'_>, B::Value<'_>, C::Value<'_>) -> Result<Option<R::Owned>, String>,
) -> Evaluated {
    nullable3::<A, B, C, R>(args, |a, b, c| match (a, b, c) {
        (Some(a), Some(b), Some(c)) => f(a, b, c),
        _ => Ok(None),
    })
}

pub fn nullable1<A: Input, R: Output>(
    args: &[ArrayRef],
    f: impl Fn(Option<A::Value<'_>>) -> Result<Option<R::Owned>, String>,
) -> Evaluated {
    let a = column::<A>(&args[0]);
    R::build(a.len(), |row| f(read::<A>(a, row)))
}

pub fn nullable2<A: Input, B: Input, R: Output>(
    args: &[ArrayRef],
    f: impl Fn(Option<A::Value<'_>>, Option<B::Value<'_>>) -> Result<Option<R::Owned>, String>,
) -> Evaluated {
    let (a, b) = (column::<A>(&args[0]), column::<B>(&args[1]));
    R::build(a.len(), |row| f(read::<A>(a, row), read::<B>(b, row)))
}

pub fn nullable3<A: Input, B: Input, C: Input, R: Output>(
    args: &[ArrayRef],
    f: impl Fn(Option<A::Value<'_>>, Option<B::Value<'_>>, Option<C::Value<'_>>) -> Result<Option<R::Owned>, String>,
) -> Evaluated {
    let (a, b, c) = (column::<A>(&args[0]), column::<B>(&args[1]), column::<C>(&args[2]));
    R::build(a.len(), |row| f(read::<A>(a, row), read::<B>(b, row), read::<C>(c, row)))
}

/// A STRING column written into one buffer, without a text of its own for each row. `write` appends the row's text; false
/// is null.
pub fn write_texts(
    rows: usize,
    bytes: usize,
    mut write: impl FnMut(usize, &mut String) -> Result<bool, String>,
) -> Evaluated {
    let mut text = String::with_capacity(bytes);
    let mut ends = Vec::with_capacity(rows + 1);
    ends.push(0);
    let mut valid = NullBufferBuilder::new(rows);
    for row in 0..rows {
        valid.append(write(row, &mut text)?);
        ends.push(i32::try_from(text.len()).map_err(|_| "the texts of a run pass 2 GiB".to_string())?);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
    let texts = StringArray::try_new(offsets, Buffer::from(text.into_bytes()), valid.finish());
    Ok(Arc::new(texts.map_err(|e| e.to_string())?))
}

/// A STRING column from another: `write` appends what stands for a text.
pub fn rewrite_texts(arg: &ArrayRef, mut write: impl FnMut(&str, &mut String)) -> Evaluated {
    let texts = column::<Str>(arg);
    write_texts(texts.len(), texts.value_data().len(), |row, out| {
        let valid = texts.is_valid(row);
        if valid {
            write(texts.value(row), out);
        }
        Ok(valid)
    })
}

/// Items `start..end` of each row of an ARRAY column; None where the array is null.
pub fn list_rows(array: &ArrayRef) -> impl Fn(usize) -> Option<std::ops::Range<usize>> + '_ {
    let list = array.as_list::<i32>();
    let offsets = list.value_offsets();
    move |row| (!list.is_null(row)).then(|| offsets[row] as usize..offsets[row + 1] as usize)
}

/// Entries `start..end` of each row of a MAP column; None where the map is null.
pub fn map_rows(array: &ArrayRef) -> impl Fn(usize) -> Option<std::ops::Range<usize>> + '_ {
    let map = array.as_map();
    let offsets = map.value_offsets();
    move |row| (!map.is_null(row)).then(|| offsets[row] as usize..offsets[row + 1] as usize)
}

//! ARRAY_MAX, ARRAY_MIN and ARRAY_SORT: items in order.
//!
//! | array | ARRAY_MAX | ARRAY_SORT | ARRAY_SORT(…, 'DESC') |
//! |---|---|---|---|
//! | `[2, null, 1]` | 2 | `[1, 2, null]` | `[2, 1, null]` |
//! | `[null]` | null | `[null]` | `[null]` |
//!
//! Numbers and times lie side by side and are compared where they lie; other types by a comparator made once a column.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, ListArray, NullBufferBuilder, PrimitiveArray,
    UInt32Array, make_comparator,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{
    DataType, Date32Type, Decimal256Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType,
};

use super::arrays::{CATEGORY, Lists, ORDERED};
use super::{CallContext, Evaluated, ScalarFunction};
use crate::functions::Resolved;
use crate::functions::columns::{Str, column, list_rows};
use crate::functions::values::access::build_list;
use crate::functions::values::order::text_order;
use crate::types::SqlType;

pub fn functions() -> Vec<ScalarFunction> {
    vec![
        extreme("ARRAY_MAX", "The largest item; nulls are left out.", Ordering::Greater)
            .example("ARRAY_MAX(ARRAY[1, null, 3])", "3"),
        extreme("ARRAY_MIN", "The smallest item; nulls are left out.", Ordering::Less)
            .example("ARRAY_MIN(ARRAY[2, 1])", "1"),
        sort(),
    ]
}

/// Evaluates `$typed::<T>(items as PrimitiveArray<T>, …)` if the items lie side by side, else `$other`.
macro_rules! by_items {
    ($items:expr, $typed:ident($($arg:expr),*), $other:expr) => {
        match $items.data_type() {
            DataType::Int32 => $typed::<Int32Type>($items.as_primitive(), $($arg),*),
            DataType::Int64 => $typed::<Int64Type>($items.as_primitive(), $($arg),*),
            DataType::Float64 => $typed::<Float64Type>($items.as_primitive(), $($arg),*),
            DataType::Decimal256(..) => $typed::<Decimal256Type>($items.as_primitive(), $($arg),*),
            DataType::Date32 => $typed::<Date32Type>($items.as_primitive(), $($arg),*),
            DataType::Time32(_) => $typed::<Time32MillisecondType>($items.as_primitive(), $($arg),*),
            DataType::Timestamp(..) => $typed::<TimestampMillisecondType>($items.as_primitive(), $($arg),*),
            _ => $other,
        }
    };
}

/// `wins`: how the item that stays compares with the others.
fn extreme(name: &'static str, description: &'static str, wins: Ordering) -> ScalarFunction {
    let evaluate = move |args: &[ArrayRef], _: &CallContext<'_>| -> Evaluated {
        let items = args[0].as_list::<i32>().values();
        by_items!(items, extreme_number(&args[0], wins), extreme_item(items, &args[0], wins))
    };
    let mut function = ScalarFunction::new(name, CATEGORY, description);
    for ty in ordered_types() {
        function = function.overload_refined(&format!("(ARRAY<{ty}> array) -> {ty}"), item_of_array, evaluate);
    }
    function
}

fn extreme_number<T: ArrowPrimitiveType>(items: &PrimitiveArray<T>, arrays: &ArrayRef, wins: Ordering) -> Evaluated {
    let ranges = list_rows(arrays);
    let better = |best: T::Native, item: T::Native| if item.compare(best) == wins { item } else { best };
    let mut values = Vec::with_capacity(arrays.len());
    let mut valid = NullBufferBuilder::new(arrays.len());
    for row in 0..arrays.len() {
        let range = ranges(row).unwrap_or(0..0);
        let best = match items.nulls() {
            None => items.values()[range].iter().copied().reduce(better),
            Some(nulls) => range.filter(|&item| nulls.is_valid(item)).map(|item| items.value(item)).reduce(better),
        };
        valid.append(best.is_some());
        values.push(best.unwrap_or_default());
    }
    let values = PrimitiveArray::<T>::new(values.into(), valid.finish());
    Ok(Arc::new(values.with_data_type(items.data_type().clone())))
}

fn extreme_item(items: &ArrayRef, arrays: &ArrayRef, wins: Ordering) -> Evaluated {
    let ranges = list_rows(arrays);
    let order = order_of(items)?;
    let better = |best: usize, item: usize| if order(item, best) == wins { item } else { best };
    let best: UInt32Array = (0..arrays.len())
        .map(|row| ranges(row)?.filter(|&item| items.is_valid(item)).reduce(better).map(|item| item as u32))
        .collect();
    take(items, &best, None).map_err(|e| e.to_string())
}

fn ordered_types() -> impl Iterator<Item = &'static str> {
    ORDERED.into_iter().chain(["DECIMAL", "DATE", "TIME", "TIMESTAMP", "BYTES"])
}

/// The result is an item, with the item's own precision and scale.
fn item_of_array(resolved: &mut Resolved) -> Result<(), String> {
    if let SqlType::Array(item) = &resolved.args[0] {
        resolved.returns = (**item).clone();
    }
    Ok(())
}

fn same_array(resolved: &mut Resolved) -> Result<(), String> {
    resolved.returns = resolved.args[0].clone();
    Ok(())
}

fn sort() -> ScalarFunction {
    let evaluate = |args: &[ArrayRef], ctx: &CallContext<'_>| -> Evaluated {
        let ranges = list_rows(&args[0]);
        let directions = args.get(1).map(column::<Str>);
        let directed = |row: usize| Some((ranges(row)?, direction(directions, row)?));
        let items = args[0].as_list::<i32>().values();
        if directions.is_none() && items.null_count() == 0 {
            return by_items!(items, sort_in_place(args[0].as_list()), sort_items(args, ctx, directed));
        }
        by_items!(items, sort_numbers(ctx, args[0].len(), directed), sort_items(args, ctx, directed))
    };
    let mut function = ScalarFunction::new("ARRAY_SORT", CATEGORY, "The items in order, nulls last.")
        .example("ARRAY_SORT(ARRAY[2, null, 1], 'DESC')", "[2, 1, null]")
        .differs("nulls come first, here last.");
    for ty in ordered_types() {
        function = function
            .overload_refined(&format!("(ARRAY<{ty}> array) -> ARRAY<{ty}>"), same_array, evaluate)
            .overload_refined(&format!("(ARRAY<{ty}> array, STRING direction) -> ARRAY<{ty}>"), same_array, evaluate);
    }
    function
}

/// How an item compares with those after it; None for a direction that is none.
fn direction(directions: Option<&arrow::array::StringArray>, row: usize) -> Option<Ordering> {
    let Some(directions) = directions else { return Some(Ordering::Less) };
    if directions.is_null(row) {
        return None;
    }
    match directions.value(row).trim().to_ascii_uppercase().as_str() {
        "ASC" | "ASCENDING" => Some(Ordering::Less),
        "DESC" | "DESCENDING" => Some(Ordering::Greater),
        _ => None,
    }
}

/// Arrays without null items, in ascending order: the same places, the items of each moved.
fn sort_in_place<T: ArrowPrimitiveType>(items: &PrimitiveArray<T>, arrays: &ListArray) -> Evaluated {
    let mut sorted: Vec<T::Native> = items.values().to_vec();
    for bounds in arrays.value_offsets().windows(2) {
        sorted[bounds[0] as usize..bounds[1] as usize].sort_unstable_by(|a, b| a.compare(*b));
    }
    let sorted = PrimitiveArray::<T>::new(sorted.into(), None).with_data_type(items.data_type().clone());
    let (field, offsets, _, nulls) = arrays.clone().into_parts();
    Ok(Arc::new(ListArray::try_new(field, offsets, Arc::new(sorted), nulls).map_err(|e| e.to_string())?))
}

fn sort_numbers<T: ArrowPrimitiveType>(
    items: &PrimitiveArray<T>,
    ctx: &CallContext<'_>,
    rows: usize,
    directed: impl Fn(usize) -> Option<(Range<usize>, Ordering)>,
) -> Evaluated {
    let mut sorted: Vec<T::Native> = Vec::with_capacity(items.len());
    let mut valid = NullBufferBuilder::new(items.len());
    let mut lengths = Vec::with_capacity(rows);
    let mut present = Vec::with_capacity(rows);
    for row in 0..rows {
        let directed = directed(row);
        present.push(directed.is_some());
        let (range, direction) = directed.unwrap_or((0..0, Ordering::Less));
        let (start, length) = (sorted.len(), range.len());
        match items.nulls() {
            None => sorted.extend_from_slice(&items.values()[range]),
            Some(nulls) => sorted.extend(range.filter(|&item| nulls.is_valid(item)).map(|item| items.value(item))),
        }
        match direction {
            Ordering::Greater => sorted[start..].sort_unstable_by(|a, b| b.compare(*a)),
            _ => sorted[start..].sort_unstable_by(|a, b| a.compare(*b)),
        }
        valid.append_n_non_nulls(sorted.len() - start);
        valid.append_n_nulls(start + length - sorted.len());
        sorted.resize(start + length, T::Native::default());
        lengths.push(length);
    }
    let sorted = PrimitiveArray::<T>::new(sorted.into(), valid.finish()).with_data_type(items.data_type().clone());
    build_list(ctx.returns, Arc::new(sorted), lengths, Some(NullBuffer::from(present)))
}

fn sort_items(
    args: &[ArrayRef],
    ctx: &CallContext<'_>,
    directed: impl Fn(usize) -> Option<(Range<usize>, Ordering)>,
) -> Evaluated {
    let lists = Lists::new(&args[..1])?;
    let order = order_of(&lists.items)?;
    let is_null = |item: &u32| lists.items.is_null(*item as usize);
    lists.pick(ctx, |row, picked| {
        let Some((range, direction)) = directed(row) else { return false };
        let start = picked.len();
        picked.extend(range.map(|item| item as u32));
        picked[start..].sort_by(|a, b| match (is_null(a), is_null(b)) {
            (false, false) if direction == Ordering::Greater => order(*b as usize, *a as usize),
            (false, false) => order(*a as usize, *b as usize),
            (a, b) => a.cmp(&b),
        });
        true
    })
}

/// The order of two items that are not null: Java's for texts, Arrow's for what else has one.
fn order_of(items: &ArrayRef) -> Result<Box<dyn Fn(usize, usize) -> Ordering + '_>, String> {
    if let Some(texts) = items.as_string_opt::<i32>() {
        return Ok(Box::new(|a, b| text_order(texts.value(a).as_bytes(), texts.value(b).as_bytes())));
    }
    let order = make_comparator(items, items, SortOptions::default()).map_err(|e| e.to_string())?;
    Ok(Box::new(order))
}

//! TRANSFORM, FILTER and REDUCE: functions of ARRAY and MAP that take a lambda.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, UInt32Array};
use arrow::compute::{interleave, take};

use super::{CallContext, Evaluated, ScalarFunction};
use crate::functions::columns::{list_rows, map_rows};
use crate::functions::values::access::{build_list, build_map, last_of_each_key};
use crate::functions::values::cast::visible;
use crate::functions::values::java_map::iteration_order;

const CATEGORY: &str = "LAMBDA";

pub fn functions() -> Vec<ScalarFunction> {
    vec![
        ScalarFunction::new("TRANSFORM", CATEGORY, "Every element as the lambda makes it.")
            .example("TRANSFORM(ARRAY[1, 2], x => x * 2)", "[2, 4]")
            .overload("(ARRAY<T> array, (T) => R lambda) -> ARRAY<R>", transform_array)
            .overload("(MAP<K, V> map, (K, V) => R lambda1, (K, V) => S lambda2) -> MAP<R, S>", transform_map),
        ScalarFunction::new("FILTER", CATEGORY, "The elements for which the lambda is true.")
            .example("FILTER(ARRAY[1, null, 9], x => x > 3)", "[9]")
            .overload("(ARRAY<T> array, (T) => BOOLEAN lambda) -> ARRAY<T>", filter_array)
            .overload("(MAP<K, V> map, (K, V) => BOOLEAN lambda) -> MAP<K, V>", filter_map),
        ScalarFunction::new("REDUCE", CATEGORY, "The elements folded into one value, from the first on.")
            .example("REDUCE(ARRAY[1, 2, 3], 10, (s, x) => s + x)", "16")
            .overload("(ARRAY<T> list, S state, (S, T) => S lambda) -> S", |args, ctx| {
                let (list, rows) = (args[0].as_list::<i32>(), list_rows(&args[0]));
                reduce(args, &[list.values()], &|row| Some(rows(row)?.map(|item| item as u32).collect()), ctx)
            })
            .overload("(MAP<K, V> map, S state, (S, K, V) => S lambda) -> S", |args, ctx| {
                let (map, rows) = (args[0].as_map(), map_rows(&args[0]));
                let order = |row: usize| Some(iteration_order(map.keys().as_ref(), rows(row)?));
                reduce(args, &[map.keys(), map.values()], &order, ctx)
            }),
    ]
}

/// The row each element belongs to, and the number of elements of each row.
fn element_rows(range: &dyn Fn(usize) -> Option<std::ops::Range<usize>>, rows: usize) -> (UInt32Array, Vec<usize>) {
    let lengths: Vec<usize> = (0..rows).map(|row| range(row).map_or(0, |r| r.len())).collect();
    let owners = lengths.iter().enumerate().flat_map(|(row, length)| std::iter::repeat_n(row as u32, *length));
    (UInt32Array::from_iter_values(owners), lengths)
}

fn items(list: &ListArray) -> ArrayRef {
    visible(list.values(), list.value_offsets(), list.nulls())
}

fn transform_array(args: &[ArrayRef], ctx: &CallContext<'_>) -> Evaluated {
    let list = args[0].as_list::<i32>();
    let (rows, lengths) = element_rows(&list_rows(&args[0]), list.len());
    let values = ctx.lambdas[0].evaluate(vec![items(list)], &rows)?;
    build_list(ctx.returns, values, lengths, list.nulls().cloned())
}

fn filter_array(args: &[ArrayRef], ctx: &CallContext<'_>) -> Evaluated {
    let list = args[0].as_list::<i32>();
    let (rows, _) = element_rows(&list_rows(&args[0]), list.len());
    let items = items(list);
    let keep = decided(&ctx.lambdas[0].evaluate(vec![Arc::clone(&items)], &rows)?)?;
    let mut lengths = vec![0; list.len()];
    for (row, keep) in rows.values().iter().zip(keep.values()) {
        lengths[*row as usize] += usize::from(keep);
    }
    let kept = arrow::compute::filter(&items, &keep).map_err(|e| e.to_string())?;
    build_list(ctx.returns, kept, lengths, list.nulls().cloned())
}

/// What a condition says of each element; one that is null fails the row (ksqlDB).
fn decided(condition: &ArrayRef) -> Result<BooleanArray, String> {
    match condition.null_count() {
        0 => Ok(condition.as_boolean().clone()),
        _ => Err("the condition of a FILTER must not be null".to_string()),
    }
}

/// The values of a new MAP; a null one fails the row (ksqlDB).
fn present(values: ArrayRef) -> Evaluated {
    match values.null_count() {
        0 => Ok(values),
        _ => Err("a value of a new MAP must not be null".to_string()),
    }
}

fn entries(map: &ArrayRef) -> Vec<ArrayRef> {
    let map = map.as_map();
    [map.keys(), map.values()].map(|column| visible(column, map.value_offsets(), map.nulls())).to_vec()
}

fn transform_map(args: &[ArrayRef], ctx: &CallContext<'_>) -> Evaluated {
    let (rows, lengths) = element_rows(&map_rows(&args[0]), args[0].len());
    let entries = entries(&args[0]);
    let keys = ctx.lambdas[0].evaluate(entries.clone(), &rows)?;
    let values = ctx.lambdas[1].evaluate(entries, &rows)?;
    if keys.null_count() > 0 {
        return Err("a key of a MAP must not be null".to_string());
    }
    let mut picked = Vec::with_capacity(keys.len());
    let mut start = 0;
    for length in &lengths {
        start += length;
        if last_of_each_key(&keys, start - length..start, &mut picked) < *length {
            return Err("two entries of a MAP have the same key".to_string());
        }
    }
    build_map(ctx.returns, Some((keys, present(values)?)), lengths, args[0].nulls().cloned())
}

fn filter_map(args: &[ArrayRef], ctx: &CallContext<'_>) -> Evaluated {
    let (rows, _) = element_rows(&map_rows(&args[0]), args[0].len());
    let entries = entries(&args[0]);
    let keep = decided(&ctx.lambdas[0].evaluate(entries.clone(), &rows)?)?;
    let mut lengths = vec![0; args[0].len()];
    for (row, keep) in rows.values().iter().zip(keep.values()) {
        lengths[*row as usize] += usize::from(keep);
    }
    let kept = |column: &ArrayRef| arrow::compute::filter(column, &keep).map_err(|e| e.to_string());
    let (keys, values) = (kept(&entries[0])?, present(kept(&entries[1])?)?);
    build_map(ctx.returns, Some((keys, values)), lengths, args[0].nulls().cloned())
}

/// One step per position: all rows that still have an element there go through the lambda together.
fn reduce(
    args: &[ArrayRef],
    elements: &[&ArrayRef],
    order: &dyn Fn(usize) -> Option<Vec<u32>>,
    ctx: &CallContext<'_>,
) -> Evaluated {
    let mut state = Arc::clone(&args[1]);
    // A null state to begin with stays null.
    let orders: Vec<Vec<u32>> =
        (0..state.len()).map(|row| order(row).filter(|_| state.is_valid(row)).unwrap_or_default()).collect();
    let longest = orders.iter().map(Vec::len).max().unwrap_or(0);
    for step in 0..longest {
        let rows: Vec<u32> = (0..state.len() as u32).filter(|row| orders[*row as usize].len() > step).collect();
        let at = UInt32Array::from_iter_values(rows.iter().map(|row| orders[*row as usize][step]));
        let rows = UInt32Array::from(rows);
        let mut parameters = vec![take(&state, &rows, None).map_err(|e| e.to_string())?];
        for column in elements {
            parameters.push(take(column, &at, None).map_err(|e| e.to_string())?);
        }
        let next = ctx.lambdas[0].evaluate(parameters, &rows)?;
        let mut places: Vec<(usize, usize)> = (0..state.len()).map(|row| (0, row)).collect();
        for (position, row) in rows.values().iter().enumerate() {
            places[*row as usize] = (1, position);
        }
        state = interleave(&[&state, &next], &places).map_err(|e| e.to_string())?;
    }
    Ok(state)
}

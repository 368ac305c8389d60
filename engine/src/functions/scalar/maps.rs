//! Functions of MAP.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{concat, take};
use arrow::datatypes::DataType;

use super::{CallContext, Evaluated, ScalarFunction};
use crate::functions::columns::{Bool, column, list_rows, map_rows};
use crate::functions::values::access::{build_list, build_map, last_of_each_key};
use crate::functions::values::java_map::IterationOrder;

const CATEGORY: &str = "MAP";

pub fn functions() -> Vec<ScalarFunction> {
    vec![
        ScalarFunction::new("AS_MAP", CATEGORY, "A map of keys and values at equal positions.")
            .example("AS_MAP(ARRAY['a', 'b'], ARRAY[1, 2])", "{a=1, b=2}")
            .overload("(ARRAY<K> keys, ARRAY<V> values) -> MAP<K, V>", as_map),
        ScalarFunction::new("MAP_KEYS", CATEGORY, "The keys of a map.")
            .example("MAP_KEYS(MAP('a' := 1))", "[a]")
            .overload("(MAP<K, V> map) -> ARRAY<K>", |args, ctx| column_of(args, ctx, 0)),
        ScalarFunction::new("MAP_VALUES", CATEGORY, "The values of a map.")
            .example("MAP_VALUES(MAP('a' := 1))", "[1]")
            .overload("(MAP<K, V> map) -> ARRAY<V>", |args, ctx| column_of(args, ctx, 1)),
        ScalarFunction::new("MAP_UNION", CATEGORY, "The entries of both maps; the second wins where keys are equal.")
            .example("MAP_UNION(MAP('a' := 1, 'b' := 2), MAP('b' := 3))", "{a=1, b=3}")
            .overload("(MAP<K, V> map1, MAP<K, V> map2) -> MAP<K, V>", union),
        entries(),
    ]
}

fn column_of(args: &[ArrayRef], ctx: &CallContext<'_>, side: usize) -> Evaluated {
    let map = args[0].as_map();
    let rows = map_rows(&args[0]);
    let mut iteration = IterationOrder::new(map.keys().as_ref());
    let mut order: Vec<u32> = Vec::with_capacity(map.keys().len());
    let mut lengths = Vec::with_capacity(map.len());
    for row in 0..map.len() {
        let entries = rows(row).unwrap_or(0..0);
        lengths.push(entries.len());
        iteration.append(entries, &mut order);
    }
    let items = take(map.entries().column(side), &UInt32Array::from(order), None).map_err(|e| e.to_string())?;
    build_list(ctx.returns, items, lengths, map.nulls().cloned())
}

fn as_map(args: &[ArrayRef], ctx: &CallContext<'_>) -> Evaluated {
    let (key_rows, value_rows) = (list_rows(&args[0]), list_rows(&args[1]));
    let (keys, values) = (args[0].as_list::<i32>().values(), args[1].as_list::<i32>().values());
    let mut picked = Vec::new();
    let mut picked_values = Vec::new();
    let mut lengths = Vec::new();
    let mut present = Vec::new();
    for row in 0..args[0].len() {
        let pair = key_rows(row).zip(value_rows(row));
        present.push(pair.is_some());
        let Some((keys_at, values_at)) = pair else {
            lengths.push(0);
            continue;
        };
        // The shorter array decides.
        let count = keys_at.len().min(values_at.len());
        let start = picked.len();
        lengths.push(last_of_each_key(keys, keys_at.start..keys_at.start + count, &mut picked));
        picked_values.extend(picked[start..].iter().map(|key| *key - keys_at.start as u32 + values_at.start as u32));
    }
    let keys = take(keys, &UInt32Array::from(picked), None).map_err(|e| e.to_string())?;
    let values = take(values, &UInt32Array::from(picked_values), None).map_err(|e| e.to_string())?;
    build_map(ctx.returns, Some((keys, values)), lengths, Some(NullBuffer::from(present)))
}

fn union(args: &[ArrayRef], ctx: &CallContext<'_>) -> Evaluated {
    let (left, right) = (args[0].as_map(), args[1].as_map());
    let both = |a: &ArrayRef, b: &ArrayRef| concat(&[a.as_ref(), b.as_ref()]).map_err(|e| e.to_string());
    let (keys, values) = (both(left.keys(), right.keys())?, both(left.values(), right.values())?);
    let (left_rows, right_rows) = (map_rows(&args[0]), map_rows(&args[1]));
    let base = left.keys().len();
    // Entries of one row side by side, so that the last of equal keys is the second map's.
    let mut order = Vec::new();
    let mut lengths = Vec::new();
    let mut present = Vec::new();
    for row in 0..args[0].len() {
        let (one, two) = (left_rows(row), right_rows(row));
        present.push(one.is_some() || two.is_some());
        let before = order.len();
        order.extend(one.into_iter().flatten().map(|entry| entry as u32));
        order.extend(two.into_iter().flatten().map(|entry| (base + entry) as u32));
        lengths.push(order.len() - before);
    }
    let order = UInt32Array::from(order);
    let keys = take(&keys, &order, None).map_err(|e| e.to_string())?;
    let values = take(&values, &order, None).map_err(|e| e.to_string())?;
    let mut picked = Vec::new();
    let mut start = 0;
    let lengths = lengths
        .into_iter()
        .map(|length| {
            start += length;
            last_of_each_key(&keys, start - length..start, &mut picked)
        })
        .collect();
    let picked = UInt32Array::from(picked);
    let keys = take(&keys, &picked, None).map_err(|e| e.to_string())?;
    let values = take(&values, &picked, None).map_err(|e| e.to_string())?;
    build_map(ctx.returns, Some((keys, values)), lengths, Some(NullBuffer::from(present)))
}

fn entries() -> ScalarFunction {
    let evaluate = |args: &[ArrayRef], ctx: &CallContext<'_>| -> Evaluated {
        let map = args[0].as_map();
        let rows = map_rows(&args[0]);
        let sorted = column::<Bool>(&args[1]);
        let keys = map.keys().as_string::<i32>();
        let mut iteration = IterationOrder::new(map.keys().as_ref());
        let mut order: Vec<u32> = Vec::new();
        let mut lengths = Vec::new();
        for row in 0..map.len() {
            let before = order.len();
            iteration.append(rows(row).unwrap_or(0..0), &mut order);
            if sorted.is_valid(row) && sorted.value(row) {
                order[before..].sort_by(|a, b| keys.value(*a as usize).cmp(keys.value(*b as usize)));
            }
            lengths.push(order.len() - before);
        }
        let order = UInt32Array::from(order);
        let columns = [map.keys(), map.values()]
            .map(|column| take(column, &order, None).map_err(|e| e.to_string()))
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        let DataType::List(item) = ctx.returns.to_arrow() else { return Err("ENTRIES makes an ARRAY".to_string()) };
        let DataType::Struct(fields) = item.data_type() else { return Err("ENTRIES makes STRUCTs".to_string()) };
        let entries = StructArray::try_new(fields.clone(), columns, None).map_err(|e| e.to_string())?;
        build_list(ctx.returns, Arc::new(entries), lengths, map.nulls().cloned())
    };
    let mut function =
        ScalarFunction::new("ENTRIES", CATEGORY, "The entries of a map as an array of structs, perhaps sorted by key.")
            .example("ENTRIES(MAP('b' := 1, 'a' := 2), true)", "[Struct{K=a,V=2}, Struct{K=b,V=1}]")
            .printed("ENTRIES");
    for ty in ["INT", "BIGINT", "DOUBLE", "BOOLEAN", "STRING"] {
        let signature = format!("(MAP<STRING, {ty}> map, BOOLEAN sorted) -> ARRAY<STRUCT<K STRING, V {ty}>>");
        function = function.overload(&signature, evaluate);
    }
    function
}

//! Functions of ARRAY.
//!
//! Sets keep the order of first appearance. Items are compared by their row encoding: null equals null, the order of a
//! map's entries does not count.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{SortOptions, concat, take};
use arrow::datatypes::Int32Type;
use arrow::row::{RowConverter, Rows, SortField};

use super::{CallContext, Evaluated, ScalarFunction};
use crate::functions::columns::{Bool, Output, Str, column, list_rows};
use crate::functions::values::access::build_list;
use crate::functions::values::equality::{canonical, equal_at, equality};
use crate::functions::values::text::write_value;

const CATEGORY: &str = "ARRAY";

/// Types whose arrays have an order.
const ORDERED: [&str; 5] = ["BOOLEAN", "INT", "BIGINT", "DOUBLE", "STRING"];

pub fn functions() -> Vec<ScalarFunction> {
    vec![
        ScalarFunction::new("ARRAY_LENGTH", CATEGORY, "Number of items.")
            .example("ARRAY_LENGTH(ARRAY[1, 2])", "2")
            .differs("can count another dimension.")
            .printed("ARRAY_LENGTH")
            .overload("(ARRAY<T> array) -> INT", |args, _| {
                let rows = list_rows(&args[0]);
                Int32Type::build(args[0].len(), |row| Ok(rows(row).map(|r| r.len() as i32)))
            }),
        ScalarFunction::new("ARRAY_CONTAINS", CATEGORY, "Whether an item equals the value.")
            .example("ARRAY_CONTAINS(ARRAY['a', 'b'], 'b')", "true")
            .differs("of a null array is null, here false.")
            .printed("ARRAY_CONTAINS")
            .overload("(ARRAY<T> array, T val) -> BOOLEAN", |args, _| {
                let (rows, items) = (list_rows(&args[0]), args[0].as_list::<i32>().values());
                let equal = equality(items.as_ref(), args[1].as_ref());
                Bool::build(args[0].len(), |row| {
                    let mut range = rows(row).unwrap_or(0..0);
                    Ok(Some(range.any(|item| equal(item, row))))
                })
            }),
        ScalarFunction::new("ARRAY_CONCAT", CATEGORY, "The items of both arrays; a null array counts as empty.")
            .example("ARRAY_CONCAT(ARRAY[1], ARRAY[2, 1])", "[1, 2, 1]")
            .differs("takes any number of arrays; here two.")
            .printed("ARRAY_CONCAT")
            .overload("(ARRAY<T> left, ARRAY<T> right) -> ARRAY<T>", |args, ctx| {
                let lists = Lists::new(args)?;
                let both_null = |row: usize| lists.range(0, row).is_none() && lists.range(1, row).is_none();
                lists.pick(ctx, |row, picked| {
                    if both_null(row) {
                        return false;
                    }
                    picked.extend((0..2).filter_map(|side| lists.range(side, row)).flatten());
                    true
                })
            }),
        ScalarFunction::new("ARRAY_DISTINCT", CATEGORY, "The items without repetitions.")
            .example("ARRAY_DISTINCT(ARRAY[1, 2, 1])", "[1, 2]")
            .overload("(ARRAY<T> array) -> ARRAY<T>", |args, ctx| set(args, ctx, Keep::All)),
        ScalarFunction::new("ARRAY_UNION", CATEGORY, "The items of both arrays without repetitions.")
            .example("ARRAY_UNION(ARRAY[1, 2], ARRAY[2, 3])", "[1, 2, 3]")
            .overload("(ARRAY<T> left, ARRAY<T> right) -> ARRAY<T>", |args, ctx| set(args, ctx, Keep::All)),
        ScalarFunction::new("ARRAY_INTERSECT", CATEGORY, "The items of the left array that the right one has too.")
            .example("ARRAY_INTERSECT(ARRAY[3, 1, 3], ARRAY[3])", "[3]")
            .overload("(ARRAY<T> array1, ARRAY<T> array2) -> ARRAY<T>", |args, ctx| set(args, ctx, Keep::Common)),
        ScalarFunction::new("ARRAY_EXCEPT", CATEGORY, "The items of the left array that the right one has not.")
            .example("ARRAY_EXCEPT(ARRAY[0, 0, 1], ARRAY[1])", "[0]")
            .overload("(ARRAY<T> left, ARRAY<T> right) -> ARRAY<T>", |args, ctx| set(args, ctx, Keep::LeftOnly)),
        ScalarFunction::new("ARRAY_REMOVE", CATEGORY, "The items that do not equal the value.")
            .example("ARRAY_REMOVE(ARRAY[1, 2, 1], 1)", "[2]")
            .differs("removes the first item that equals, here all go.")
            .overload("(ARRAY<T> array, T element) -> ARRAY<T>", |args, ctx| {
                let lists = Lists::new(&args[..1])?;
                lists.pick(ctx, |row, picked| match lists.range(0, row) {
                    Some(range) => {
                        let items = lists.items.as_ref();
                        picked.extend(range.filter(|item| !equal_at(items, *item as usize, args[1].as_ref(), row)));
                        true
                    }
                    None => false,
                })
            }),
        extreme("ARRAY_MAX", "The largest item; nulls are left out.", true)
            .example("ARRAY_MAX(ARRAY[1, null, 3])", "3"),
        extreme("ARRAY_MIN", "The smallest item; nulls are left out.", false).example("ARRAY_MIN(ARRAY[2, 1])", "1"),
        sort(),
        join(),
        ScalarFunction::new(
            "SLICE",
            CATEGORY,
            "The items from one position to another, counted from 1, both included.",
        )
        .example("SLICE(ARRAY['a', 'b', 'c', 'd'], 2, 3)", "[b, c]")
        .overload("(ARRAY<T> in, INT from, INT to) -> ARRAY<T>", slice),
    ]
}

/// One or two ARRAY columns over one column of items.
struct Lists {
    items: ArrayRef,
    ranges: Vec<Vec<Option<Range<u32>>>>,
    rows: usize,
}

impl Lists {
    fn new(args: &[ArrayRef]) -> Result<Self, String> {
        let values: Vec<&dyn Array> = args.iter().map(|a| a.as_list::<i32>().values().as_ref()).collect();
        let items = match args {
            [one] => Arc::clone(one.as_list::<i32>().values()),
            _ => concat(&values).map_err(|e| e.to_string())?,
        };
        let mut base = 0;
        let mut ranges = Vec::new();
        for (arg, values) in args.iter().zip(&values) {
            let rows = list_rows(arg);
            ranges.push(
                (0..arg.len()).map(|row| rows(row).map(|r| base + r.start as u32..base + r.end as u32)).collect(),
            );
            base += values.len() as u32;
        }
        Ok(Self { items, ranges, rows: args[0].len() })
    }

    fn range(&self, side: usize, row: usize) -> Option<Range<u32>> {
        self.ranges[side][row].clone()
    }

    /// Builds an array per row of the items `f` picks; it says whether the array is there at all.
    fn pick(&self, ctx: &CallContext<'_>, mut f: impl FnMut(usize, &mut Vec<u32>) -> bool) -> Evaluated {
        let mut picked = Vec::new();
        let mut lengths = Vec::with_capacity(self.rows);
        let mut present = Vec::with_capacity(self.rows);
        for row in 0..self.rows {
            let before = picked.len();
            present.push(f(row, &mut picked));
            lengths.push(picked.len() - before);
        }
        let items = take(&self.items, &UInt32Array::from(picked), None).map_err(|e| e.to_string())?;
        build_list(ctx.returns, items, lengths, Some(NullBuffer::from(present)))
    }
}

/// Row encodings of items, so that equal items have equal bytes.
fn encoded(items: &ArrayRef) -> Result<Rows, String> {
    let items = canonical(items)?;
    let converter = RowConverter::new(vec![SortField::new(items.data_type().clone())]);
    converter.and_then(|c| c.convert_columns(&[items])).map_err(|e| e.to_string())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// Items of every array.
    All,
    /// Items of the left array that the right one has too.
    Common,
    /// Items of the left array that the right one has not.
    LeftOnly,
}

/// Distinct items, in the order they first appear.
fn set(args: &[ArrayRef], ctx: &CallContext<'_>, keep: Keep) -> Evaluated {
    let lists = Lists::new(args)?;
    let rows = encoded(&lists.items)?;
    lists.pick(ctx, |row, picked| {
        let ranges: Option<Vec<Range<u32>>> = (0..args.len()).map(|side| lists.range(side, row)).collect();
        let Some(mut ranges) = ranges else { return false };
        let mut seen: HashSet<&[u8]> = HashSet::new();
        let right: HashSet<&[u8]> = match keep {
            Keep::All => HashSet::new(),
            _ => ranges.drain(1..).flatten().map(|item| rows.row(item as usize).data()).collect(),
        };
        for item in ranges.into_iter().flatten() {
            let bytes = rows.row(item as usize).data();
            let kept = keep == Keep::All || right.contains(bytes) == (keep == Keep::Common);
            if kept && seen.insert(bytes) {
                picked.push(item);
            }
        }
        true
    })
}

/// Ranks of items in ascending order: equal items have equal bytes, smaller ones smaller bytes.
fn ordered(items: &ArrayRef, descending: bool) -> Result<Rows, String> {
    let options = SortOptions { descending, nulls_first: false };
    let field = SortField::new_with_options(items.data_type().clone(), options);
    let converter = RowConverter::new(vec![field]);
    converter.and_then(|c| c.convert_columns(&[Arc::clone(items)])).map_err(|e| e.to_string())
}

fn extreme(name: &'static str, description: &'static str, largest: bool) -> ScalarFunction {
    let evaluate = move |args: &[ArrayRef], _: &CallContext<'_>| -> Evaluated {
        let items = args[0].as_list::<i32>().values();
        let ranges = list_rows(&args[0]);
        let ranks = ordered(items, largest)?;
        let best: UInt32Array = (0..args[0].len())
            .map(|row| {
                // With descending ranks the largest comes first, so the smallest rank is always the answer.
                let candidates = ranges(row)?.filter(|item| items.is_valid(*item));
                candidates.min_by(|a, b| ranks.row(*a).cmp(&ranks.row(*b))).map(|item| item as u32)
            })
            .collect();
        take(items, &best, None).map_err(|e| e.to_string())
    };
    let mut function = ScalarFunction::new(name, CATEGORY, description);
    for ty in ORDERED.iter().chain(&["DECIMAL", "DATE", "TIME", "TIMESTAMP", "BYTES"]) {
        function = function.overload_refined(&format!("(ARRAY<{ty}> array) -> {ty}"), item_of_array, evaluate);
    }
    function
}

/// The result is an item, with the item's own precision and scale.
fn item_of_array(resolved: &mut crate::functions::Resolved) -> Result<(), String> {
    if let crate::types::SqlType::Array(item) = &resolved.args[0] {
        resolved.returns = (**item).clone();
    }
    Ok(())
}

fn same_array(resolved: &mut crate::functions::Resolved) -> Result<(), String> {
    resolved.returns = resolved.args[0].clone();
    Ok(())
}

fn sort() -> ScalarFunction {
    let evaluate = |args: &[ArrayRef], ctx: &CallContext<'_>| -> Evaluated {
        let lists = Lists::new(&args[..1])?;
        let directions = args.get(1).map(column::<Str>);
        let ranks = [ordered(&lists.items, false)?, ordered(&lists.items, true)?];
        lists.pick(ctx, |row, picked| {
            let descending = match directions {
                None => false,
                Some(directions) if directions.is_null(row) => return false,
                Some(directions) => match directions.value(row).trim().to_ascii_uppercase().as_str() {
                    "ASC" | "ASCENDING" => false,
                    "DESC" | "DESCENDING" => true,
                    _ => return false,
                },
            };
            let Some(range) = lists.range(0, row) else { return false };
            let start = picked.len();
            picked.extend(range);
            let ranks = &ranks[usize::from(descending)];
            picked[start..].sort_by(|a, b| ranks.row(*a as usize).cmp(&ranks.row(*b as usize)));
            true
        })
    };
    let mut function = ScalarFunction::new("ARRAY_SORT", CATEGORY, "The items in order, nulls last.")
        .example("ARRAY_SORT(ARRAY[2, null, 1], 'DESC')", "[2, 1, null]")
        .differs("nulls come first, here last.");
    for ty in ORDERED.iter().chain(&["DECIMAL", "DATE", "TIME", "TIMESTAMP", "BYTES"]) {
        function = function
            .overload_refined(&format!("(ARRAY<{ty}> array) -> ARRAY<{ty}>"), same_array, evaluate)
            .overload_refined(&format!("(ARRAY<{ty}> array, STRING direction) -> ARRAY<{ty}>"), same_array, evaluate);
    }
    function
}

fn join() -> ScalarFunction {
    let evaluate = |args: &[ArrayRef], _: &CallContext<'_>| -> Evaluated {
        let items = args[0].as_list::<i32>().values();
        let ranges = list_rows(&args[0]);
        let delimiters = args.get(1).map(column::<Str>);
        let mut builder = StringBuilder::new();
        let mut text = String::new();
        for row in 0..args[0].len() {
            let Some(range) = ranges(row) else {
                builder.append_null();
                continue;
            };
            let delimiter = match delimiters {
                None => ",",
                Some(delimiters) if delimiters.is_null(row) => "",
                Some(delimiters) => delimiters.value(row),
            };
            text.clear();
            let first = range.start;
            for item in range {
                if item > first {
                    text.push_str(delimiter);
                }
                write_value(items.as_ref(), item, &mut text);
            }
            builder.append_value(&text);
        }
        Ok(Arc::new(builder.finish()))
    };
    let mut function =
        ScalarFunction::new("ARRAY_JOIN", CATEGORY, "The items as one text, with a delimiter between them.")
            .example("ARRAY_JOIN(ARRAY[1, null, 2], '|')", "1|null|2")
            .differs(
                "leaves nulls out unless a text for them is given; here they are written as null, and the \
                 delimiter is a comma unless given.",
            )
            .printed("ARRAY_JOIN");
    for ty in ORDERED.iter().chain(&["DECIMAL"]) {
        function = function
            .overload(&format!("(ARRAY<{ty}> array) -> STRING"), evaluate)
            .overload(&format!("(ARRAY<{ty}> array, STRING delimiter) -> STRING"), evaluate);
    }
    function
}

/// `SLICE(in, from, to)`: a null bound is open, a range that is not within the array gives null.
fn slice(args: &[ArrayRef], ctx: &CallContext<'_>) -> Evaluated {
    let lists = Lists::new(&args[..1])?;
    let (from, to) = (column::<Int32Type>(&args[1]), column::<Int32Type>(&args[2]));
    lists.pick(ctx, |row, picked| {
        let Some(range) = lists.range(0, row) else { return false };
        let length = range.len() as i64;
        let first = if from.is_null(row) { 0 } else { i64::from(from.value(row)) - 1 };
        let end = if to.is_null(row) { length } else { i64::from(to.value(row)) };
        if first < 0 || end > length || first > end {
            return false;
        }
        picked.extend(range.start + first as u32..range.start + end as u32);
        true
    })
}

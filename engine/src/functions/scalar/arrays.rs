//! Functions of ARRAY.
//!
//! Sets keep the order of first appearance. Items are compared by their row encoding: null equals null, the order of a
//! map's entries does not count.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, StringArray, StringBuilder, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use arrow::row::{RowConverter, Rows, SortField};
use hashbrown::HashSet;

use super::{CallContext, Evaluated, ScalarFunction};
use crate::functions::columns::{Output, Str, column, list_rows};
use crate::functions::values::access::build_list;
use crate::functions::values::equality::{canonical, equal_at, equality};
use crate::functions::values::text::write_value;

pub(super) const CATEGORY: &str = "ARRAY";

/// Types whose arrays have an order.
pub(super) const ORDERED: [&str; 5] = ["BOOLEAN", "INT", "BIGINT", "DOUBLE", "STRING"];

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
            .overload("(ARRAY<T> array, T val) -> BOOLEAN", |args, _| Ok(Arc::new(contains(args)))),
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
pub(super) struct Lists {
    pub items: ArrayRef,
    ranges: Vec<Vec<Option<Range<u32>>>>,
    rows: usize,
}

impl Lists {
    pub fn new(args: &[ArrayRef]) -> Result<Self, String> {
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
    pub fn pick(&self, ctx: &CallContext<'_>, mut f: impl FnMut(usize, &mut Vec<u32>) -> bool) -> Evaluated {
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

/// Up to so many items of a row are compared one with the other; beyond, they are hashed.
const SCANNED_ITEMS_MAX: usize = 16;

/// Distinct items, in the order they first appear.
fn set(args: &[ArrayRef], ctx: &CallContext<'_>, keep: Keep) -> Evaluated {
    let lists = Lists::new(args)?;
    let items_of = |row: usize| match args.len() {
        1 => Some((lists.range(0, row)?, 0..0)),
        _ => Some((lists.range(0, row)?, lists.range(1, row)?)),
    };
    let long = (0..lists.rows).filter_map(items_of).any(|(a, b)| a.len() + b.len() > SCANNED_ITEMS_MAX);
    let hashed = if long { Some(encoded(&lists.items)?) } else { None };
    let equal = equality(lists.items.as_ref(), lists.items.as_ref());
    let among = |item: u32, mut others: std::slice::Iter<'_, u32>| others.any(|o| equal(*o as usize, item as usize));
    let (mut seen, mut others) = (HashSet::new(), HashSet::new());
    let mut right: Vec<u32> = Vec::new();
    lists.pick(ctx, |row, picked| {
        let Some((left, second)) = items_of(row) else { return false };
        let all = left.clone().chain(if keep == Keep::All { second.clone() } else { 0..0 });
        match &hashed {
            Some(rows) if left.len() + second.len() > SCANNED_ITEMS_MAX => {
                let bytes = |item: u32| rows.row(item as usize).data();
                seen.clear();
                others.clear();
                others.extend(second.map(bytes));
                let kept = |item: u32| keep == Keep::All || others.contains(bytes(item)) == (keep == Keep::Common);
                picked.extend(all.filter(|&item| kept(item) && seen.insert(bytes(item))));
            }
            _ => {
                let start = picked.len();
                right.clear();
                right.extend(second);
                for item in all {
                    let kept = keep == Keep::All || among(item, right.iter()) == (keep == Keep::Common);
                    if kept && !among(item, picked[start..].iter()) {
                        picked.push(item);
                    }
                }
            }
        }
        true
    })
}

/// Whether an item of each array equals the row's value; false for a null array.
fn contains(args: &[ArrayRef]) -> BooleanArray {
    let (arrays, wanted) = (&args[0], args[1].as_ref());
    let items = arrays.as_list::<i32>().values().as_ref();
    if items.null_count() == 0 && wanted.null_count() == 0 {
        match items.data_type() {
            DataType::Int32 => {
                return contains_number::<Int32Type>(arrays, items.as_primitive(), wanted.as_primitive());
            }
            DataType::Int64 => {
                return contains_number::<Int64Type>(arrays, items.as_primitive(), wanted.as_primitive());
            }
            DataType::Utf8 => return contains_text(arrays, items.as_string(), wanted.as_string()),
            _ => {}
        }
    }
    let (ranges, equal) = (list_rows(arrays), equality(items, wanted));
    let found = |row: usize| ranges(row).is_some_and(|mut range| range.any(|item| equal(item, row)));
    BooleanArray::new(BooleanBuffer::collect_bool(arrays.len(), found), None)
}

fn contains_number<T: ArrowPrimitiveType>(
    arrays: &ArrayRef,
    items: &PrimitiveArray<T>,
    wanted: &PrimitiveArray<T>,
) -> BooleanArray {
    let (ranges, items, wanted) = (list_rows(arrays), items.values(), wanted.values());
    // All items of a row, without a branch: rows are short.
    let found = |row: usize| {
        let (range, value) = (ranges(row).unwrap_or(0..0), wanted[row]);
        items[range].iter().fold(false, |found, item| found | (*item == value))
    };
    BooleanArray::new(BooleanBuffer::collect_bool(arrays.len(), found), None)
}

fn contains_text(arrays: &ArrayRef, items: &StringArray, wanted: &StringArray) -> BooleanArray {
    let ranges = list_rows(arrays);
    let (ends, bytes) = (items.value_offsets(), items.value_data());
    let found = |row: usize| {
        let value = wanted.value(row).as_bytes();
        // Most texts differ in length; only those of the same length are looked at.
        ranges(row).unwrap_or(0..0).any(|item| {
            let (start, end) = (ends[item] as usize, ends[item + 1] as usize);
            end - start == value.len() && bytes[start..end] == *value
        })
    };
    BooleanArray::new(BooleanBuffer::collect_bool(arrays.len(), found), None)
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

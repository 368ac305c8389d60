//! Table functions: one row in, any number of rows out.
//!
//! | call | rows |
//! |---|---|
//! | `EXPLODE(ARRAY[1, 2])` | 1; 2 |
//! | `EXPLODE(ARRAY[])`, `EXPLODE(null)` | none |
//! | `CUBE_EXPLODE(ARRAY[1, 2])` | `[null, null]`; `[null, 2]`; `[1, null]`; `[1, 2]` |
//! | `CUBE_EXPLODE(ARRAY[1, null])` | `[null, null]`; `[1, null]` |

mod test_only;

use std::sync::LazyLock;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::compute::take;

use super::columns::list_rows;
use super::signature::{self, Signature, Widening};
use super::values::access::build_list;
use super::values::cast::{visible, visible_offsets};
use super::{ArgType, Example, FunctionInfo, FunctionKind, Resolved};
use crate::error::{Error, Result, RowError};
use crate::types::SqlType;

/// Largest number of items CUBE_EXPLODE takes: it makes 2^items rows.
const CUBE_ITEMS_MAX: usize = 16;

/// Lists per row, or failures per row.
pub(super) type Rows = std::result::Result<(ListArray, Vec<RowError>), String>;

pub(super) struct TableFunction {
    pub name: &'static str,
    pub description: &'static str,
    pub example: Example,
    pub overloads: Vec<TableOverload>,
}

pub(super) struct TableOverload {
    pub signature: Signature,
    /// The type of an output value, if the signature alone does not say it.
    pub returns: Option<SqlType>,
    /// Arguments and the type of one output value.
    pub evaluate: fn(&[ArrayRef], &SqlType) -> Rows,
}

impl TableOverload {
    fn new(signature: &str, evaluate: fn(&[ArrayRef], &SqlType) -> Rows) -> Self {
        Self { signature: Signature::parse(signature), returns: None, evaluate }
    }
}

impl TableFunction {
    fn resolve(&self, args: &[ArgType], widening: Widening) -> Result<(&TableOverload, Resolved)> {
        let printed = self.name.to_ascii_lowercase();
        let signatures: Vec<&Signature> = self.overloads.iter().map(|o| &o.signature).collect();
        let (index, bound) = signature::choose(&printed, &signatures, args, widening)?;
        let overload = &self.overloads[index];
        let refused = || signature::not_accepted(&printed, &signatures, args);
        let mut resolved = overload.signature.resolved(args, &bound).ok_or_else(refused)?;
        if let Some(returns) = &overload.returns {
            resolved.returns = returns.clone();
        }
        Ok((overload, resolved))
    }
}

static REGISTRY: LazyLock<Vec<TableFunction>> = LazyLock::new(|| {
    vec![
        TableFunction {
            name: "CUBE_EXPLODE",
            description: "A row for every combination of the array's items and nulls in their place.",
            example: Example {
                call: "CUBE_EXPLODE(ARRAY[1, 2])",
                over: None,
                gives: "[null, null]; [null, 2]; [1, null]; [1, 2]",
            },
            overloads: vec![TableOverload::new("(ARRAY<T> list) -> ARRAY<T>", cube)],
        },
        TableFunction {
            name: "EXPLODE",
            description: "A row for every item of the array.",
            example: Example { call: "EXPLODE(ARRAY[1, 2])", over: None, gives: "1; 2" },
            overloads: vec![TableOverload::new("(ARRAY<T> list) -> T", explode)],
        },
    ]
});

/// Functions that only test suites call.
static TEST_REGISTRY: LazyLock<Vec<TableFunction>> = LazyLock::new(test_only::functions);

fn find(name: &str) -> Result<&'static TableFunction> {
    let tests: &[TableFunction] = if super::test_functions_enabled() { &TEST_REGISTRY } else { &[] };
    REGISTRY
        .iter()
        .chain(tests)
        .find(|f| f.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| Error::statement(format!("Can't find any functions with the name '{name}'")))
}

pub fn exists(name: &str) -> bool {
    find(name).is_ok()
}

pub fn list() -> Vec<FunctionInfo> {
    REGISTRY
        .iter()
        .map(|function| FunctionInfo {
            name: function.name,
            kind: FunctionKind::Table,
            category: "TABLE",
            description: function.description,
            example: function.example,
            differs: None,
            signatures: function
                .overloads
                .iter()
                .map(|o| super::scalar::describe(&o.signature, function.description))
                .collect(),
        })
        .collect()
}

/// `returns` is the type of one output value.
pub fn resolve(name: &str, args: &[ArgType], widening: Widening) -> Result<Resolved> {
    Ok(find(name)?.resolve(args, widening)?.1)
}

/// One list of output values per input row; a failing row gives an empty list and an error.
pub fn evaluate(name: &str, args: &[ArrayRef], types: &[SqlType]) -> Result<(ListArray, Vec<RowError>)> {
    let given: Vec<ArgType> = types.iter().cloned().map(ArgType::Sql).collect();
    let (overload, resolved) = find(name)?.resolve(&given, Widening::Everywhere)?;
    (overload.evaluate)(args, &resolved.returns).map_err(Error::internal)
}

fn explode(args: &[ArrayRef], returns: &SqlType) -> Rows {
    let list = args[0].as_list::<i32>();
    let values = visible(list.values(), list.value_offsets(), list.nulls());
    let lengths = visible_offsets(list.value_offsets(), list.nulls()).lengths().collect();
    let lists = build_list(&SqlType::array(returns.clone()), values, lengths, None)?;
    Ok((lists.as_list::<i32>().clone(), Vec::new()))
}

fn cube(args: &[ArrayRef], returns: &SqlType) -> Rows {
    let rows = list_rows(&args[0]);
    let items = args[0].as_list::<i32>().values();
    let mut errors = Vec::new();
    let mut picked: Vec<Option<u32>> = Vec::new();
    let (mut widths, mut counts) = (Vec::new(), Vec::new());
    for row in 0..args[0].len() {
        let range = rows(row).unwrap_or(0..0);
        let present: Vec<usize> = range.clone().filter(|item| items.is_valid(*item)).collect();
        if range.is_empty() || present.len() > CUBE_ITEMS_MAX {
            if !range.is_empty() {
                let message = format!("CUBE_EXPLODE takes at most {CUBE_ITEMS_MAX} items, not {}", present.len());
                errors.push(RowError::new(row, message));
            }
            counts.push(0);
            continue;
        }
        // Counts in binary; the first item that is not null is the highest bit.
        let combinations = 1usize << present.len();
        for combination in 0..combinations {
            let mut bit = present.len();
            for item in range.clone() {
                let kept = items.is_valid(item) && {
                    bit -= 1;
                    combination >> bit & 1 == 1
                };
                picked.push(kept.then_some(item as u32));
            }
            widths.push(range.len());
        }
        counts.push(combinations);
    }
    let values = take(items, &UInt32Array::from(picked), None).map_err(|e| e.to_string())?;
    let combinations = build_list(returns, values, widths, None)?;
    let lists = build_list(&SqlType::array(returns.clone()), combinations, counts, None)?;
    Ok((lists.as_list::<i32>().clone(), errors))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Int32Type;

    use super::*;
    use crate::functions::values::text::write_value;

    fn run(name: &str) -> Vec<String> {
        let input = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
            Some(vec![Some(1), Some(2)]),
            None,
            Some(vec![]),
            Some(vec![Some(1), None]),
        ]);
        let (lists, errors) = evaluate(name, &[Arc::new(input)], &[SqlType::array(SqlType::Integer)]).unwrap();
        assert!(errors.is_empty());
        (0..lists.len())
            .map(|row| {
                let mut text = String::new();
                write_value(&lists, row, &mut text);
                text
            })
            .collect()
    }

    #[test]
    fn arrays_explode_and_null_is_empty() {
        assert_eq!(run("explode"), ["[1, 2]", "[]", "[]", "[1, null]"]);
    }

    #[test]
    fn cubes_count_in_binary_and_leave_null_items_alone() {
        let full = "[[null, null], [null, 2], [1, null], [1, 2]]";
        assert_eq!(run("CUBE_EXPLODE"), [full, "[]", "[]", "[[null, null], [1, null]]"]);
    }

    #[test]
    fn other_arguments_are_refused() {
        let error = resolve("EXPLODE", &[ArgType::Sql(SqlType::Integer)], Widening::Nowhere).unwrap_err();
        assert!(error.message().starts_with("Function 'explode' does not accept parameters (INTEGER)."));
    }
}

//! Table functions that ksqlDB's test suites define for themselves.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, StringBuilder};

use super::{Rows, TableFunction, TableOverload};
use crate::error::RowError;
use crate::functions::Example;
use crate::functions::columns::{list_rows, map_rows};
use crate::functions::values::access::{array_of, build_list};
use crate::functions::values::cast::cast;
use crate::functions::values::text::write_value;
use crate::types::SqlType;

/// Types a value of which TEST_UDTF takes.
const TYPES: [&str; 7] = ["INT", "BIGINT", "DOUBLE", "BOOLEAN", "STRING", "DECIMAL", "STRUCT<A STRING>"];

pub fn functions() -> Vec<TableFunction> {
    let all = |wrap: &dyn Fn(&str) -> String| {
        let parameters: Vec<String> = TYPES.iter().enumerate().map(|(i, ty)| format!("{} p{i}", wrap(ty))).collect();
        format!("({}) -> STRING", parameters.join(", "))
    };
    let mut overloads = vec![
        TableOverload::new(&all(&|ty| ty.to_string()), texts),
        TableOverload::new(&all(&|ty| format!("ARRAY<{ty}>")), texts),
        TableOverload::new(&all(&|ty| format!("MAP<STRING, {ty}>")), texts),
    ];
    overloads.extend(TYPES.map(|ty| {
        let returns = (ty == "DECIMAL").then(|| SqlType::decimal(30, 10));
        TableOverload { returns, ..TableOverload::new(&format!("({ty} p) -> {ty}"), itself) }
    }));
    vec![
        TableFunction {
            name: "TEST_UDTF",
            description: "Its arguments as rows.",
            example: Example::default(),
            overloads,
        },
        TableFunction {
            name: "THROWING_UDTF",
            description: "Fails if its argument is true.",
            example: Example::default(),
            overloads: vec![TableOverload::new("(BOOLEAN fails) -> BOOLEAN", throwing)],
        },
    ]
}

/// Each argument as text: of an array the first item, of a map the first value.
fn texts(args: &[ArrayRef], _: &SqlType) -> Rows {
    let rows = args.first().map_or(0, |a| a.len());
    let columns = args.iter().map(|arg| Arc::new(first_texts(arg)) as ArrayRef).collect::<Vec<_>>();
    let lists = array_of(&columns, rows, &SqlType::array(SqlType::String))?;
    Ok((lists.as_list::<i32>().clone(), Vec::new()))
}

fn first_texts(arg: &ArrayRef) -> StringArray {
    let first: Box<dyn Fn(usize) -> Option<usize>> = if arg.as_list_opt::<i32>().is_some() {
        let rows = list_rows(arg);
        Box::new(move |row| rows(row)?.next())
    } else if arg.as_map_opt().is_some() {
        let rows = map_rows(arg);
        Box::new(move |row| rows(row)?.next())
    } else {
        Box::new(Some)
    };
    let values = match (arg.as_list_opt::<i32>(), arg.as_map_opt()) {
        (Some(list), _) => list.values(),
        (_, Some(map)) => map.values(),
        _ => arg,
    };
    let mut builder = StringBuilder::new();
    let mut text = String::new();
    for row in 0..arg.len() {
        text.clear();
        match first(row) {
            Some(at) => {
                write_value(values.as_ref(), at, &mut text);
                builder.append_value(&text);
            }
            None => builder.append_null(),
        }
    }
    builder.finish()
}

fn itself(args: &[ArrayRef], returns: &SqlType) -> Rows {
    let given = SqlType::from_arrow(args[0].data_type()).map_err(|e| e.to_string())?;
    let values = cast(&args[0], &given, returns)?;
    let lists = build_list(&SqlType::array(returns.clone()), values, vec![1; args[0].len()], None)?;
    Ok((lists.as_list::<i32>().clone(), Vec::new()))
}

fn throwing(args: &[ArrayRef], returns: &SqlType) -> Rows {
    let fails: &BooleanArray = args[0].as_boolean();
    let throws = |row: usize| fails.is_valid(row) && fails.value(row);
    let errors = (0..fails.len()).filter(|row| throws(*row)).map(|row| RowError::new(row, "You asked me to throw..."));
    let kept = BooleanArray::from_iter(
        (0..fails.len()).filter(|row| !throws(*row)).map(|row| Some(fails.is_valid(row) && fails.value(row))),
    );
    let lengths = (0..fails.len()).map(|row| usize::from(!throws(row))).collect();
    let lists = build_list(&SqlType::array(returns.clone()), Arc::new(kept), lengths, None)?;
    Ok((lists.as_list::<i32>().clone(), errors.collect()))
}

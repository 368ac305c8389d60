//! Functions of numbers.

use arrow::datatypes::{Float64Type, Int32Type, Int64Type};

use super::ScalarFunction;
use crate::functions::columns::map1;

const CATEGORY: &str = "MATHEMATICAL";

pub fn functions() -> Vec<ScalarFunction> {
    vec![
        ScalarFunction::new("ABS", CATEGORY, "Absolute value.")
            .overload("(INT val) -> INT", |args, _| map1::<Int32Type, Int32Type>(args, |v| Ok(Some(v.wrapping_abs()))))
            .overload("(BIGINT val) -> BIGINT", |args, _| {
                map1::<Int64Type, Int64Type>(args, |v| Ok(Some(v.wrapping_abs())))
            })
            .overload("(DOUBLE val) -> DOUBLE", |args, _| {
                map1::<Float64Type, Float64Type>(args, |v| Ok(Some(v.abs())))
            }),
    ]
}

//! COALESCE and its kin.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{is_not_null, nullif};

use super::{Evaluated, ScalarFunction};
use crate::functions::values::equality::equal_rows;

const CATEGORY: &str = "CONDITIONAL";

pub fn functions() -> Vec<ScalarFunction> {
    vec![
        ScalarFunction::new("COALESCE", CATEGORY, "The first argument that is not null.")
            .example("COALESCE(null, 2, 3)", "2")
            .printed("COALESCE")
            .overload("(T first, T... others) -> T", |args, _| coalesce(args)),
        ScalarFunction::new("IFNULL", CATEGORY, "The expression, or the alternative if it is null.")
            .example("IFNULL(CAST(null AS INT), 5)", "5")
            .printed("IFNULL")
            .overload("(T expression, T altValue) -> T", |args, _| coalesce(args)),
        ScalarFunction::new("NULLIF", CATEGORY, "Null if both expressions are equal, else the first.")
            .example("NULLIF(1, 1)", "null")
            .printed("NULLIF")
            .overload("(T expression1, T expression2) -> T", |args, _| {
                let equal = equal_rows(&args[0], &args[1], false)?;
                nullif(&args[0], &equal).map_err(|e| e.to_string())
            }),
        ScalarFunction::new("AS_VALUE", "OTHER", "A copy of a key column, as a value column.")
            .example("AS_VALUE('k')", "k")
            .printed("AS_VALUE")
            .overload("(T keyColumn) -> T", |args, _| Ok(Arc::clone(&args[0]))),
    ]
}

fn coalesce(args: &[ArrayRef]) -> Evaluated {
    let mut result = Arc::clone(&args[0]);
    for next in &args[1..] {
        if result.null_count() == 0 {
            break;
        }
        let present: BooleanArray = is_not_null(&result).map_err(|e| e.to_string())?;
        result = zip(&present, &result, next).map_err(|e| e.to_string())?;
    }
    Ok(result)
}

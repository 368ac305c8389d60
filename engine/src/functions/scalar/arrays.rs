//! Functions of ARRAY.

use super::ScalarFunction;

pub fn functions() -> Vec<ScalarFunction> {
    Vec::new()
}

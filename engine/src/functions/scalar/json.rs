//! Functions of JSON text.

use super::ScalarFunction;

pub fn functions() -> Vec<ScalarFunction> {
    Vec::new()
}

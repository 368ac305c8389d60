//! Functions of DATE, TIME and TIMESTAMP.

use super::ScalarFunction;

pub fn functions() -> Vec<ScalarFunction> {
    Vec::new()
}

//! Functions of URLs.

use super::ScalarFunction;

pub fn functions() -> Vec<ScalarFunction> {
    Vec::new()
}

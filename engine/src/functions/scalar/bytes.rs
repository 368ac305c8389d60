//! Functions of BYTES and between BYTES and STRING.

use super::ScalarFunction;

pub fn functions() -> Vec<ScalarFunction> {
    Vec::new()
}

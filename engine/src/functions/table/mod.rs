//! Table functions: one row in, any number of rows out.

use arrow::array::{ArrayRef, ListArray};

use super::{ArgType, FunctionInfo, Resolved};
use crate::error::{Error, Result, RowError};
use crate::types::SqlType;

pub fn exists(_name: &str) -> bool {
    false
}

pub fn list() -> Vec<FunctionInfo> {
    Vec::new()
}

/// `returns` is the type of one output value.
pub fn resolve(name: &str, _args: &[ArgType]) -> Result<Resolved> {
    Err(Error::statement(format!("Can't find any functions with the name '{name}'")))
}

/// One list of output values per input row; a failing row gives an empty list and an error.
pub fn evaluate(name: &str, _args: &[ArrayRef], _types: &[SqlType]) -> Result<(ListArray, Vec<RowError>)> {
    Err(Error::statement(format!("Can't find any functions with the name '{name}'")))
}

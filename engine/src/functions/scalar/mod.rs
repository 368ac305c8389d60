//! Scalar functions.

use super::{ArgType, FunctionInfo, Resolved};
use crate::error::{Error, Result};
use crate::types::SqlType;

pub fn exists(_name: &str) -> bool {
    false
}

pub fn list() -> Vec<FunctionInfo> {
    Vec::new()
}

pub fn resolve(name: &str, _args: &[ArgType]) -> Result<Resolved> {
    Err(Error::statement(format!("Can't find any functions with the name '{name}'")))
}

pub fn lambda_parameters(name: &str, _args: &[ArgType], _index: usize) -> Result<Vec<SqlType>> {
    Err(Error::statement(format!("Can't find any functions with the name '{name}'")))
}

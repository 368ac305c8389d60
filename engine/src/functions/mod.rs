//! The function registry: the one list of what SQL can call, for continuous and bounded queries alike.
//!
//! A function is one place: name, category, description, overloads with their types and evaluation. `plan::analyze`
//! resolves a call to the types its arguments must have; `plan::compile` fetches the evaluation for exactly those types.

pub mod aggregate;
pub mod batch_casts;
pub mod batch_lambdas;
pub mod columns;
pub mod datafusion;
pub mod ordinary;
pub mod scalar;
pub mod signature;
pub mod table;
#[cfg(test)]
pub mod testing;
pub mod udf;
pub mod values;

use std::sync::atomic::{AtomicBool, Ordering};

use self::signature::Widening;
use crate::error::Result;
use crate::types::SqlType;

static TEST_FUNCTIONS: AtomicBool = AtomicBool::new(false);

/// Adds the functions that ksqlDB's test suites define for themselves; for the command that runs such suites.
pub fn enable_test_functions() {
    TEST_FUNCTIONS.store(true, Ordering::Relaxed);
}

fn test_functions_enabled() -> bool {
    TEST_FUNCTIONS.load(Ordering::Relaxed)
}

/// What is known of an argument when a call is resolved.
#[derive(Debug, Clone, PartialEq)]
pub enum ArgType {
    Sql(SqlType),
    /// An untyped NULL.
    Null,
    /// `(x, y) => …`; the body's type is known once its parameters are typed.
    Lambda {
        parameters: usize,
        body: Option<SqlType>,
    },
    /// `DAYS`, `HOURS`, …
    IntervalUnit,
}

/// A call whose overload is settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The type each argument must be cast to; lambda arguments have their body's type.
    pub args: Vec<SqlType>,
    pub returns: SqlType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionKind {
    Scalar,
    Aggregate,
    Table,
}

/// For SHOW FUNCTIONS and DESCRIBE FUNCTION.
#[derive(Debug, Clone)]
pub struct FunctionInfo {
    pub name: &'static str,
    pub kind: FunctionKind,
    pub category: &'static str,
    pub description: &'static str,
    pub example: Example,
    /// How it differs from DataFusion's function of the same name.
    pub differs: Option<&'static str>,
    pub signatures: Vec<SignatureInfo>,
}

/// A call and what it gives, as the documentation shows it and the tests run it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Example {
    pub call: &'static str,
    /// For an aggregate, the type of its column `v` and the values in it: `INT`, `1, null, 2`.
    pub over: Option<(&'static str, &'static str)>,
    /// The value as text; those of a table function's rows one after the other.
    pub gives: &'static str,
}

#[derive(Debug, Clone)]
pub struct SignatureInfo {
    /// `(name, type as printed, is variadic)`.
    pub arguments: Vec<(String, String, bool)>,
    pub returns: String,
    pub description: String,
}

/// An error of ours for DataFusion's planner.
pub(crate) fn batch_error(error: crate::error::Error) -> ::datafusion::common::DataFusionError {
    ::datafusion::common::DataFusionError::Plan(error.message().to_string())
}

/// The kind of a function by name (any case), or None.
pub fn kind_of(name: &str) -> Option<FunctionKind> {
    if scalar::exists(name) {
        Some(FunctionKind::Scalar)
    } else if aggregate::exists(name) {
        Some(FunctionKind::Aggregate)
    } else if table::exists(name) {
        Some(FunctionKind::Table)
    } else {
        None
    }
}

/// Every function that ksqlDB has, too, sorted by name; unless `strict`, those of ordinary SQL as well.
pub fn list_all(strict: bool) -> Vec<FunctionInfo> {
    let mut all = list();
    if !strict {
        all.extend(ordinary::list());
        all.sort_by_key(|f| f.name);
    }
    all
}

/// Every function that ksqlDB has, too, sorted by name.
pub fn list() -> Vec<FunctionInfo> {
    let mut all = scalar::list();
    all.extend(aggregate::list());
    all.extend(table::list());
    all.sort_by_key(|f| f.name);
    all
}

/// Picks the overload of a scalar function (ksqlDB's rules: exact first, then implicit widening, variadic last). What
/// ksqlDB does not have is looked for in ordinary SQL, unless `strict`.
pub fn resolve_scalar(name: &str, args: &[ArgType], strict: bool) -> Result<Resolved> {
    if !strict && kind_of(name).is_none() && ordinary::exists(name) {
        return ordinary::resolve(name, args);
    }
    scalar::resolve(name, args, Widening::unless(strict, Widening::Named))
}

/// The evaluation of a call that was resolved to exactly these types, and whether it may be computed ahead.
pub fn evaluation(name: &str, args: &[ArgType]) -> Result<(scalar::Evaluation, bool)> {
    if kind_of(name).is_none() && ordinary::exists(name) {
        return ordinary::evaluation(name, args);
    }
    scalar::evaluation(name, args)
}

/// The types of the parameters of the lambda at `index`, given the other arguments' types.
pub fn lambda_parameters(name: &str, args: &[ArgType], index: usize) -> Result<Vec<SqlType>> {
    scalar::lambda_parameters(name, args, index)
}

//! A function over columns as DataFusion's expressions hold it.
//!
//! Operators, casts, function calls and lambdas all become a [`ColumnFunction`]: a name, concrete types and one
//! evaluation. Constant arguments stay constant: a call of constants is evaluated once per batch and stays a scalar.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use crate::functions::scalar::Evaluated;
use crate::results::ResultQueue;
use crate::types::SqlType;

/// Columns and the number of rows in, a column out.
pub type ColumnEvaluation = Arc<dyn Fn(&[ArrayRef], usize) -> Evaluated + Send + Sync>;

pub struct ColumnFunction {
    name: String,
    /// Two functions with the same identity compute the same.
    identity: String,
    returns: DataType,
    signature: Signature,
    deterministic: bool,
    evaluate: ColumnEvaluation,
}

impl ColumnFunction {
    /// `identity` says all that the evaluation depends on beside its arguments.
    pub fn new(
        name: impl Into<String>,
        identity: impl Into<String>,
        returns: &SqlType,
        evaluate: impl Fn(&[ArrayRef], usize) -> Evaluated + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            identity: identity.into(),
            returns: returns.to_arrow(),
            signature: any_arguments(Volatility::Immutable),
            deterministic: true,
            evaluate: Arc::new(evaluate),
        }
    }

    pub fn volatile(mut self) -> Self {
        self.deterministic = false;
        self.signature = any_arguments(Volatility::Volatile);
        self
    }

    pub fn call(self, args: Vec<Expr>) -> Expr {
        ScalarUDF::new_from_impl(self).call(args)
    }
}

fn any_arguments(volatility: Volatility) -> Signature {
    Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], volatility)
}

impl fmt::Debug for ColumnFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ColumnFunction").field("name", &self.name).field("identity", &self.identity).finish()
    }
}

impl PartialEq for ColumnFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.identity == other.identity && self.returns == other.returns
    }
}

impl Eq for ColumnFunction {}

impl Hash for ColumnFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.identity.hash(state);
    }
}

impl ScalarUDFImpl for ColumnFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.returns.clone())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(arrow::datatypes::Field::new(&self.name, self.returns.clone(), true)))
    }

    fn coerce_types(&self, args: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(args.to_vec())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        invoke(&args.args, args.number_rows, self.deterministic, &self.returns, |columns, rows| {
            (self.evaluate)(columns, rows)
        })
    }
}

/// Rows of a bounded query for which an expression fails: the value is null there, and the query's result says so.
#[derive(Clone)]
pub struct FailedRows(Arc<ResultQueue>);

impl FailedRows {
    pub fn of(queue: Arc<ResultQueue>) -> Self {
        Self(queue)
    }

    /// The column with null where a row fails: rows are halved until those that fail stand alone.
    pub fn null(
        &self,
        columns: &[ArrayRef],
        rows: usize,
        returns: &DataType,
        evaluate: &dyn Fn(&[ArrayRef], usize) -> Evaluated,
    ) -> Evaluated {
        match evaluate(columns, rows) {
            Ok(column) => Ok(column),
            Err(reason) if rows <= 1 => {
                self.0.add_failed(rows as u64, &reason);
                Ok(new_null_array(returns, rows))
            }
            Err(_) => {
                let part = |start: usize, length: usize| {
                    let columns: Vec<ArrayRef> = columns.iter().map(|column| column.slice(start, length)).collect();
                    self.null(&columns, length, returns, evaluate)
                };
                let (first, second) = (part(0, rows / 2)?, part(rows / 2, rows - rows / 2)?);
                concat(&[first.as_ref(), second.as_ref()]).map_err(|e| e.to_string())
            }
        }
    }
}

/// Two calls in one query are the same whoever hears of their failures.
impl PartialEq for FailedRows {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for FailedRows {}

impl Hash for FailedRows {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl fmt::Debug for FailedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FailedRows")
    }
}

/// Runs one of DataFusion's functions over columns of types it takes as they are.
pub fn run_datafusions(
    function: &ScalarUDF,
    fields: &[FieldRef],
    returns: &FieldRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Evaluated {
    static OPTIONS: LazyLock<Arc<ConfigOptions>> = LazyLock::new(Arc::default);
    let args = ScalarFunctionArgs {
        args: columns.into_iter().map(ColumnarValue::Array).collect(),
        arg_fields: fields.to_vec(),
        number_rows: rows,
        return_field: Arc::clone(returns),
        config_options: Arc::clone(&OPTIONS),
    };
    let value = function.invoke_with_args(args).and_then(|value| value.into_array(rows));
    value.map_err(|e| e.strip_backtrace())
}

/// Runs an evaluation over DataFusion's values; constants stay constants where that changes nothing.
pub fn invoke(
    args: &[ColumnarValue],
    rows: usize,
    deterministic: bool,
    returns: &DataType,
    evaluate: impl Fn(&[ArrayRef], usize) -> Evaluated,
) -> DataFusionResult<ColumnarValue> {
    let constant = deterministic && args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
    let rows = if constant { 1 } else { rows };
    let columns = args.iter().map(|a| a.to_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
    let result = evaluate(&columns, rows).map_err(DataFusionError::Execution)?;
    if result.data_type() != returns || result.len() != rows {
        return Err(DataFusionError::Internal(format!(
            "a function gave {} rows of {} instead of {rows} rows of {returns}",
            result.len(),
            result.data_type()
        )));
    }
    Ok(if constant {
        ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
    } else {
        ColumnarValue::Array(result)
    })
}

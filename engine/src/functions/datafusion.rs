//! Our scalar functions for batch SQL: DataFusion's planner finds them by ksqlDB's names.
//!
//! A call's types come from the registry, so `SUBSTRING`, `ROUND` or `CONCAT` mean the same in a bounded query as in a
//! continuous one. Names that ksqlDB does not have stay DataFusion's. Functions with lambdas are in
//! [`super::batch_lambdas`].

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::scalar::{self, CallContext};
use super::signature::Widening;
use super::udf::{FailedRows, invoke};
use super::{ArgType, Resolved, batch_error};
use crate::clock::{self, Clock, ManualClock};
use crate::error::Error;
use crate::types::SqlType;

/// Every scalar function without lambdas, under its name in lower case, which is how DataFusion looks names up, and
/// in upper case, which is how ours fold. Those of the present read `now_ms`: one instant for a whole query.
pub fn scalar_udfs(now_ms: i64, failed: &FailedRows) -> Vec<Arc<ScalarUDF>> {
    scalar::names()
        .filter(|name| !scalar::takes_lambda(name))
        .map(|name| Arc::new(ScalarUDF::new_from_impl(RegistryFunction::new(name, now_ms, failed.clone()))))
        .collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RegistryFunction {
    name: String,
    aliases: Vec<String>,
    signature: Signature,
    now_ms: i64,
    failed: FailedRows,
}

impl RegistryFunction {
    fn new(name: &'static str, now_ms: i64, failed: FailedRows) -> Self {
        let volatility = if scalar::is_deterministic(name) { Volatility::Immutable } else { Volatility::Volatile };
        Self {
            name: name.to_ascii_lowercase(),
            aliases: vec![name.to_string()],
            signature: Signature::user_defined(volatility),
            now_ms,
            failed,
        }
    }

    fn resolve(&self, types: &[DataType]) -> DataFusionResult<Resolved> {
        let args = types.iter().map(arg_type).collect::<DataFusionResult<Vec<_>>>()?;
        self.resolve_narrowing(&args)
            .or_else(|refused| match scalar::unit_in_front(&args) {
                Some(with_unit) => self.resolve_narrowing(&with_unit).map_err(|_| refused),
                None => Err(refused),
            })
            .map_err(batch_error)
    }

    /// DataFusion reads every integer literal as BIGINT; ksqlDB reads a small one as INTEGER.
    fn resolve_narrowing(&self, args: &[ArgType]) -> Result<Resolved, Error> {
        let narrowed = |arg: &ArgType| match arg {
            ArgType::Sql(SqlType::Bigint) => ArgType::Sql(SqlType::Integer),
            other => other.clone(),
        };
        scalar::resolve(&self.name, args, Widening::Everywhere).or_else(|refused| {
            let all: Vec<ArgType> = args.iter().map(narrowed).collect();
            let last = args.len().saturating_sub(1);
            let only_last = [&args[..last], &all[last..]].concat();
            scalar::resolve(&self.name, &only_last, Widening::Everywhere)
                .or_else(|_| scalar::resolve(&self.name, &all, Widening::Everywhere))
                .map_err(|_| refused)
        })
    }
}

fn arg_type(ty: &DataType) -> DataFusionResult<ArgType> {
    match ty {
        DataType::Null => Ok(ArgType::Null),
        ty => SqlType::from_arrow(ty).map(ArgType::Sql).map_err(|e| DataFusionError::Plan(e.to_string())),
    }
}

impl ScalarUDFImpl for RegistryFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(self.resolve(types)?.args.iter().map(SqlType::to_arrow).collect())
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.resolve(types)?.returns.to_arrow())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        Ok(Arc::new(Field::new(&self.name, self.return_type(&types)?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let resolved = self.resolve(&types)?;
        let given: Vec<ArgType> = resolved.args.iter().cloned().map(ArgType::Sql).collect();
        let (evaluate, deterministic) =
            scalar::evaluation(&self.name, &given).map_err(|e| DataFusionError::Plan(e.to_string()))?;
        let expected: Vec<DataType> = resolved.args.iter().map(SqlType::to_arrow).collect();
        let returns = resolved.returns.to_arrow();
        let call = |columns: &[ArrayRef], rows: usize| {
            let columns = columns
                .iter()
                .zip(&expected)
                .map(|(column, ty)| super::values::conform(Arc::clone(column), ty))
                .collect::<Result<Vec<_>, _>>()?;
            let context = CallContext { types: &resolved.args, returns: &resolved.returns, rows, lambdas: &[] };
            if deterministic {
                return evaluate(&columns, &context);
            }
            let clock: Arc<dyn Clock> = ManualClock::at(self.now_ms);
            clock::with(&clock, || evaluate(&columns, &context))
        };
        invoke(&args.args, args.number_rows, deterministic, &returns, |columns, rows| {
            self.failed.null(columns, rows, &returns, &call)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    use datafusion::prelude::SessionContext;

    fn context() -> SessionContext {
        let context = SessionContext::new();
        scalar_udfs(0, &FailedRows::of(crate::results::ResultQueue::new()))
            .into_iter()
            .for_each(|f| context.register_udf((*f).clone()));
        context
    }

    async fn first(sql: &str) -> DataFusionResult<arrow::array::ArrayRef> {
        let batches = context().sql(sql).await?.collect().await?;
        Ok(Arc::clone(batches[0].column(0)))
    }

    #[tokio::test]
    async fn bounded_sql_calls_our_meaning() {
        let rounded = first("SELECT ROUND(CAST(-2.5 AS DOUBLE))").await.unwrap();
        assert_eq!(rounded.as_primitive::<Int64Type>().value(0), -2);
        let joined = first("SELECT CONCAT('a', NULL, 'b')").await.unwrap();
        assert_eq!(joined.as_string::<i32>().value(0), "ab");
        assert!(first("SELECT ARRAY_JOIN(1)").await.is_err());
        assert_eq!(first("SELECT PI()").await.unwrap().len(), 1);
        let others = first("SELECT date_part('year', DATE '2020-01-01')").await.unwrap();
        assert_eq!(others.len(), 1);
    }
}

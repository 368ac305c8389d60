//! CAST for batch SQL: ksqlDB's conversions, as in a continuous query.
//!
//! ```text
//! CAST(ARRAY[1, 2] AS STRING) → [1, 2]     CAST(1e0 AS STRING) → 1.0     CAST(' 7 ' AS INT) → 7
//! ```
//!
//! A call is named after its type: `CAST AS ARRAY<STRING>`, which no function of SQL can be called.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::batch_error;
use super::udf::{FailedRows, invoke};
use super::values::{cast, conform};
use crate::error::Error;
use crate::types::SqlType;

/// In front of the type in a call's name.
pub const CAST_AS: &str = "CAST AS ";

/// The function of a call whose name starts with [`CAST_AS`].
pub fn cast_udf(to: SqlType, failed: FailedRows) -> Arc<ScalarUDF> {
    let name = format!("{CAST_AS}{to}");
    Arc::new(ScalarUDF::new_from_impl(Cast {
        name,
        to,
        failed,
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Cast {
    name: String,
    to: SqlType,
    failed: FailedRows,
    signature: Signature,
}

impl Cast {
    fn from(&self, types: &[DataType]) -> DataFusionResult<SqlType> {
        let from = match types {
            [DataType::Null] => return Ok(self.to.clone()),
            [ty] => SqlType::from_arrow(ty).map_err(batch_error)?,
            _ => return Err(DataFusionError::Plan("CAST takes one value".to_string())),
        };
        if !cast::supported(&from, &self.to) {
            return Err(batch_error(Error::statement(format!("Cast of {from} to {} is not supported", self.to))));
        }
        Ok(from)
    }
}

impl ScalarUDFImpl for Cast {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(vec![self.from(types)?.to_arrow()])
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.to.to_arrow())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(Field::new(&self.name, self.to.to_arrow(), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let from = self.from(&[args.arg_fields[0].data_type().clone()])?;
        let returns = self.to.to_arrow();
        let cast = |columns: &[ArrayRef], _: usize| {
            cast::cast(&conform(Arc::clone(&columns[0]), &from.to_arrow())?, &from, &self.to)
        };
        invoke(&args.args, args.number_rows, true, &returns, |columns, rows| {
            self.failed.null(columns, rows, &returns, &cast)
        })
    }
}

//! Our functions with lambdas for batch SQL: each as a DataFusion `HigherOrderUDF`.
//!
//! DataFusion plans a body over the parameters that [`HigherOrderUDFImpl::lambda_parameters`] names and hands it back
//! with the columns of the row around it. A function sees it as any [`LambdaBody`]: all elements at once, outer columns
//! repeated for the row each element belongs to.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result as BatchResult};
use datafusion::logical_expr::{
    ColumnarValue, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs, HigherOrderSignature, HigherOrderUDF,
    HigherOrderUDFImpl, LambdaArgument, LambdaParametersProgress, ValueOrLambda, Volatility,
};

use super::scalar::{self, CallContext, Evaluated, LambdaBody};
use super::signature::Widening;
use super::values::conform;
use super::{ArgType, Resolved, batch_error};
use crate::types::SqlType;

/// Parameters no lambda of ours has more of.
const PARAMETERS_MAX: usize = 3;

/// Every scalar function with lambdas, under its name in lower case.
pub fn higher_order_udfs() -> Vec<Arc<HigherOrderUDF>> {
    scalar::names()
        .filter(|name| scalar::takes_lambda(name))
        .map(|name| Arc::new(HigherOrderUDF::new_from_impl(LambdaFunction::new(name))))
        .collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LambdaFunction {
    name: String,
    signature: HigherOrderSignature,
}

/// What is known of an argument: a value's type, or the type of a lambda's body once that is planned.
type Known = ValueOrLambda<DataType, Option<DataType>>;

impl LambdaFunction {
    fn new(name: &str) -> Self {
        Self { name: name.to_ascii_lowercase(), signature: HigherOrderSignature::user_defined(Volatility::Immutable) }
    }

    /// The arguments with lambdas of `parameters` each.
    fn arg_types(&self, known: &[Known], parameters: &[usize]) -> BatchResult<Vec<ArgType>> {
        let sql = |ty: &DataType| SqlType::from_arrow(ty).map_err(batch_error);
        let mut parameters = parameters.iter();
        known
            .iter()
            .map(|arg| match arg {
                ValueOrLambda::Value(DataType::Null) => Ok(ArgType::Null),
                ValueOrLambda::Value(ty) => Ok(ArgType::Sql(sql(ty)?)),
                ValueOrLambda::Lambda(body) => Ok(ArgType::Lambda {
                    parameters: parameters.next().copied().unwrap_or(1),
                    body: body.as_ref().map(sql).transpose()?,
                }),
            })
            .collect()
    }

    /// Types of the parameters of each lambda. Which overload it is, the values before the lambdas decide.
    fn parameters(&self, known: &[Known]) -> BatchResult<Vec<Vec<SqlType>>> {
        let lambdas: Vec<usize> =
            (0..known.len()).filter(|&index| matches!(known[index], ValueOrLambda::Lambda(_))).collect();
        let mut refused = None;
        for count in 1..=PARAMETERS_MAX {
            let types = self.arg_types(known, &vec![count; lambdas.len()])?;
            let found = lambdas.iter().map(|&index| scalar::lambda_parameters(&self.name, &types, index));
            match found.collect::<crate::error::Result<Vec<_>>>() {
                Ok(parameters) => return Ok(parameters),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.map_or_else(|| DataFusionError::Plan(format!("{} takes a lambda", self.name)), batch_error))
    }

    fn resolve(&self, known: &[Known]) -> BatchResult<(Vec<ArgType>, Resolved)> {
        let parameters: Vec<usize> = self.parameters(known)?.iter().map(Vec::len).collect();
        let types = self.arg_types(known, &parameters)?;
        let resolved = scalar::resolve(&self.name, &types, Widening::Everywhere).map_err(batch_error)?;
        Ok((types, resolved))
    }
}

fn known(fields: &[ValueOrLambda<FieldRef, FieldRef>]) -> Vec<Known> {
    let known = |field: &ValueOrLambda<FieldRef, FieldRef>| match field {
        ValueOrLambda::Value(field) => ValueOrLambda::Value(field.data_type().clone()),
        ValueOrLambda::Lambda(field) => ValueOrLambda::Lambda(Some(field.data_type().clone())),
    };
    fields.iter().map(known).collect()
}

impl HigherOrderUDFImpl for LambdaFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &HigherOrderSignature {
        &self.signature
    }

    fn coerce_value_types(&self, types: &[DataType]) -> BatchResult<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn lambda_parameters(
        &self,
        _step: usize,
        fields: &[ValueOrLambda<FieldRef, Option<FieldRef>>],
    ) -> BatchResult<LambdaParametersProgress> {
        let known: Vec<Known> = fields
            .iter()
            .map(|field| match field {
                ValueOrLambda::Value(field) => ValueOrLambda::Value(field.data_type().clone()),
                ValueOrLambda::Lambda(_) => ValueOrLambda::Lambda(None),
            })
            .collect();
        let field = |ty: &SqlType| Arc::new(Field::new("parameter", ty.to_arrow(), true));
        let parameters = self.parameters(&known)?;
        Ok(LambdaParametersProgress::Complete(
            parameters.iter().map(|types| types.iter().map(field).collect()).collect(),
        ))
    }

    fn return_field_from_args(&self, args: HigherOrderReturnFieldArgs) -> BatchResult<FieldRef> {
        let (_, resolved) = self.resolve(&known(args.arg_fields))?;
        Ok(Arc::new(Field::new(&self.name, resolved.returns.to_arrow(), true)))
    }

    fn invoke_with_args(&self, args: HigherOrderFunctionArgs) -> BatchResult<ColumnarValue> {
        let (types, resolved) = self.resolve(&known(&args.arg_fields))?;
        // The body is cast to the type that the overload wants of it.
        let wanted: Vec<ArgType> = types
            .iter()
            .zip(&resolved.args)
            .map(|(arg, ty)| match arg {
                ArgType::Lambda { parameters, .. } => {
                    ArgType::Lambda { parameters: *parameters, body: Some(ty.clone()) }
                }
                _ => ArgType::Sql(ty.clone()),
            })
            .collect();
        let (evaluate, _) = scalar::evaluation(&self.name, &wanted).map_err(batch_error)?;
        let (mut columns, mut value_types, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        for (arg, ty) in args.args.iter().zip(&resolved.args) {
            match arg {
                ValueOrLambda::Value(value) => {
                    let column = cast(&value.to_array(args.number_rows)?, &ty.to_arrow())?;
                    columns.push(column);
                    value_types.push(ty.clone());
                }
                ValueOrLambda::Lambda(lambda) => bodies.push(Body { lambda, returns: ty.to_arrow() }),
            }
        }
        let lambdas: Vec<&dyn LambdaBody> = bodies.iter().map(|body| body as &dyn LambdaBody).collect();
        let context =
            CallContext { types: &value_types, returns: &resolved.returns, rows: args.number_rows, lambdas: &lambdas };
        evaluate(&columns, &context).map(ColumnarValue::Array).map_err(DataFusionError::Execution)
    }
}

fn cast(column: &ArrayRef, ty: &DataType) -> BatchResult<ArrayRef> {
    let column = match column.data_type() == ty {
        true => Arc::clone(column),
        false => arrow::compute::cast(column, ty)?,
    };
    conform(column, ty).map_err(DataFusionError::Execution)
}

struct Body<'a> {
    lambda: &'a LambdaArgument,
    returns: DataType,
}

impl LambdaBody for Body<'_> {
    fn evaluate(&self, parameters: Vec<ArrayRef>, rows: &UInt32Array) -> Evaluated {
        let given: Vec<_> = parameters.iter().map(|column| move || Ok(Arc::clone(column))).collect();
        let given: Vec<&dyn Fn() -> BatchResult<ArrayRef>> = given.iter().map(|f| f as _).collect();
        let outer = |columns: &[ArrayRef]| {
            columns.iter().map(|column| Ok(take(column, rows, None)?)).collect::<BatchResult<Vec<_>>>()
        };
        let value = self.lambda.evaluate(&given, outer).and_then(|value| value.into_array(rows.len()));
        value.and_then(|column| cast(&column, &self.returns)).map_err(|e| e.strip_backtrace())
    }
}

//! A call with lambdas becomes one function over columns.
//!
//! ```text
//! TRANSFORM(A, X => X + N)      A        N        X (flattened)   row   X + N
//!                               [1, 2]   10       1               0     11
//!                                                 2               0     12
//!                               [3]      20       3               1     23
//! ```
//!
//! The function's arguments are the call's other arguments and then every outer column a body names. A body is compiled
//! over its parameters and those columns; it runs once over all elements, outer columns repeated by `take`. A lambda
//! within a lambda is such a call inside the body.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::logical_expr::Expr as DfExpr;

use super::translate::Place;
use super::{Compiled, translate};
use crate::error::Result;
use crate::functions::scalar::{CallContext, Evaluated, LambdaBody};
use crate::functions::udf::ColumnFunction;
use crate::functions::values::conform;
use crate::functions::{ArgType, evaluation};
use crate::plan::expr::{Expr, ExprKind};
use crate::types::SqlType;

/// A body ready to run: its parameters' columns come first, then outer columns.
struct CompiledBody {
    compiled: Compiled,
    schema: SchemaRef,
    /// Positions among the call's outer columns.
    outer: Vec<usize>,
}

struct Body<'a> {
    body: &'a CompiledBody,
    outer: &'a [ArrayRef],
}

impl LambdaBody for Body<'_> {
    fn evaluate(&self, parameters: Vec<ArrayRef>, rows: &UInt32Array) -> Evaluated {
        let mut columns = parameters;
        for position in &self.body.outer {
            columns.push(take(&self.outer[*position], rows, None).map_err(|e| e.to_string())?);
        }
        let columns = columns
            .into_iter()
            .zip(self.body.schema.fields())
            .map(|(column, field)| conform(column, field.data_type()))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.body.schema), columns, &options)
            .map_err(|e| e.to_string())?;
        self.body.compiled.column(&batch)
    }
}

/// A call whose arguments have lambdas among them.
pub fn call(name: &str, args: &[Expr], ty: &SqlType) -> Result<DfExpr> {
    let mut outer: BTreeMap<String, SqlType> = BTreeMap::new();
    for arg in args {
        if let ExprKind::Lambda { .. } = arg.kind {
            free_columns(arg, &mut Vec::new(), &mut outer);
        }
    }
    let outer: Vec<(String, SqlType)> = outer.into_iter().collect();
    let mut bodies = Vec::new();
    let mut types = Vec::new();
    let mut inputs = Vec::new();
    let mut arg_types = Vec::new();
    for arg in args {
        if let ExprKind::Lambda { parameters, body } = &arg.kind {
            bodies.push(compile_body(parameters, body, &outer)?);
            arg_types.push(ArgType::Lambda { parameters: parameters.len(), body: Some(body.ty.clone()) });
        } else {
            inputs.push(translate::translate(arg, Place::Inner)?);
            types.push(arg.ty.clone());
            arg_types.push(ArgType::Sql(arg.ty.clone()));
        }
    }
    let (evaluate, deterministic) = evaluation(name, &arg_types)?;
    let given = inputs.len();
    for (column, ty) in &outer {
        inputs.push(translate::value(&Expr::column(column.clone(), ty.clone()))?);
    }
    let returns = ty.clone();
    let identity = format!("{args:?}");
    let function = ColumnFunction::new(name, identity, ty, move |columns, rows| {
        let (given, outer) = columns.split_at(given);
        let bound: Vec<Body<'_>> = bodies.iter().map(|body| Body { body, outer }).collect();
        let lambdas: Vec<&dyn LambdaBody> = bound.iter().map(|b| b as &dyn LambdaBody).collect();
        evaluate(given, &CallContext { types: &types, returns: &returns, rows, lambdas: &lambdas })
    });
    Ok(if deterministic { function } else { function.volatile() }.call(inputs))
}

fn compile_body(parameters: &[(String, SqlType)], body: &Expr, outer: &[(String, SqlType)]) -> Result<CompiledBody> {
    let mut fields: Vec<Field> = parameters.iter().map(|(name, ty)| Field::new(name, ty.to_arrow(), true)).collect();
    let mut used = BTreeMap::new();
    free_columns(body, &mut parameters.iter().map(|(name, _)| name.clone()).collect(), &mut used);
    let mut positions = Vec::new();
    for (position, (name, ty)) in outer.iter().enumerate() {
        if used.contains_key(name) {
            fields.push(Field::new(name, ty.to_arrow(), true));
            positions.push(position);
        }
    }
    let schema = Arc::new(Schema::new(fields));
    Ok(CompiledBody { compiled: Compiled::within(body, &schema)?, schema, outer: positions })
}

/// An expression whose failing rows are null instead of failing what stands around it.
pub fn or_null(expr: &Expr) -> Result<DfExpr> {
    let mut columns = BTreeMap::new();
    free_columns(expr, &mut Vec::new(), &mut columns);
    let fields: Vec<Field> = columns.iter().map(|(name, ty)| Field::new(name, ty.to_arrow(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let compiled = Compiled::new(expr, &schema)?;
    let inputs =
        columns.into_iter().map(|(name, ty)| translate::value(&Expr::column(name, ty))).collect::<Result<Vec<_>>>()?;
    let function = ColumnFunction::new("or_null", format!("{expr:?}"), &expr.ty, move |columns, rows| {
        let columns = columns
            .iter()
            .zip(schema.fields())
            .map(|(column, field)| conform(Arc::clone(column), field.data_type()))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch =
            RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options).map_err(|e| e.to_string())?;
        let (column, errors) = compiled.evaluate(&batch).map_err(|e| e.to_string())?;
        if let Some(first) = errors.first() {
            tracing::debug!(rows = errors.len(), reason = first.message, "items of a constructor became null");
        }
        Ok(column)
    });
    // Without columns the item may still be a matter of chance.
    Ok(if inputs.is_empty() { function.volatile() } else { function }.call(inputs))
}

/// Columns an expression names that no lambda within it, nor `bound`, gives a value to.
fn free_columns(expr: &Expr, bound: &mut Vec<String>, free: &mut BTreeMap<String, SqlType>) {
    match &expr.kind {
        ExprKind::Column(name) => {
            if !bound.contains(name) {
                free.insert(name.clone(), expr.ty.clone());
            }
        }
        ExprKind::Lambda { parameters, body } => {
            let depth = bound.len();
            bound.extend(parameters.iter().map(|(name, _)| name.clone()));
            free_columns(body, bound, free);
            bound.truncate(depth);
        }
        _ => expr.children().into_iter().for_each(|child| free_columns(child, bound, free)),
    }
}

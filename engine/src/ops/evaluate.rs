//! Expressions over a run: one array per expression, failures logged and null.
//!
//! Rows whose value is null as a whole have nothing to compute from: their results are null and their failures nobody's.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};

use crate::error::Result;
use crate::ops::{OpContext, OpError};
use crate::plan::compile::Compiled;
use crate::plan::expr::{Expr, ExprKind};
use crate::rows::Rows;

/// One expression, ready for the rows of one schema.
pub struct Evaluator {
    /// `Project/KSQL_COL_0`, as the processing log names it.
    place: String,
    kind: Kind,
}

enum Kind {
    Column(usize),
    Expression(Compiled),
}

impl Evaluator {
    pub fn new(expr: &Expr, schema: &ArrowSchema, place: impl Into<String>) -> Result<Self> {
        let kind = match &expr.kind {
            ExprKind::Column(name) if schema.index_of(name).is_ok() => Kind::Column(schema.index_of(name)?),
            _ => Kind::Expression(Compiled::new(expr, schema)?),
        };
        Ok(Self { place: place.into(), kind })
    }

    /// The input column this is, if it is no more than that.
    pub fn column(&self) -> Option<usize> {
        match self.kind {
            Kind::Column(index) => Some(index),
            Kind::Expression(_) => None,
        }
    }

    /// One value per row; failures become null and are logged, but not those of `ignored` rows.
    pub fn evaluate(
        &self,
        columns: &RecordBatch,
        time: &Int64Array,
        ignored: Option<&BooleanBuffer>,
        ctx: &mut OpContext<'_>,
    ) -> Result<ArrayRef> {
        let (values, errors) = match &self.kind {
            Kind::Column(index) => return Ok(Arc::clone(columns.column(*index))),
            Kind::Expression(compiled) => compiled.evaluate(columns)?,
        };
        for error in errors {
            if ignored.is_some_and(|rows| rows.value(error.row)) {
                continue;
            }
            ctx.counters.field_errors += 1;
            let time = time.value(error.row);
            ctx.errors.push(OpError { place: self.place.clone(), error, time });
        }
        Ok(values)
    }

    /// The same over rows whose failures were logged when they were new.
    pub fn evaluate_again(&self, columns: &RecordBatch) -> Result<ArrayRef> {
        match &self.kind {
            Kind::Column(index) => Ok(Arc::clone(columns.column(*index))),
            Kind::Expression(compiled) => Ok(compiled.evaluate(columns)?.0),
        }
    }
}

/// Rows where a predicate holds: null and failed are false.
pub fn holds(values: &ArrayRef) -> BooleanBuffer {
    let values = values.as_boolean();
    match values.nulls() {
        Some(nulls) => values.values() & nulls.inner(),
        None => values.values().clone(),
    }
}

/// `values`, null where the bit is set.
pub fn null_where(values: &ArrayRef, rows: &BooleanBuffer) -> Result<ArrayRef> {
    if rows.count_set_bits() == 0 {
        return Ok(Arc::clone(values));
    }
    let keep = NullBuffer::new(!rows);
    let nulls = NullBuffer::union(values.nulls(), Some(&keep));
    Ok(arrow::array::make_array(values.to_data().into_builder().nulls(nulls).build()?))
}

/// A set of rows as a mask for `Rows::filter`.
pub fn mask(rows: BooleanBuffer) -> BooleanArray {
    BooleanArray::new(rows, None)
}

/// The null-valued rows of a run, if there are any.
pub fn null_values(rows: &Rows) -> Option<&BooleanBuffer> {
    rows.null_value.as_ref().filter(|bits| bits.count_set_bits() > 0)
}

/// Columns of a schema, by name, from the input's columns and others computed.
pub fn column_of(name: &str, input: &RecordBatch) -> Option<ArrayRef> {
    input.column_by_name(name).cloned()
}

/// `bits`, or none if no bit is set.
pub fn some_bits(bits: BooleanBuffer) -> Option<BooleanBuffer> {
    (bits.count_set_bits() > 0).then_some(bits)
}

pub fn arrow_schema(schema: &crate::schema::Schema) -> SchemaRef {
    schema.to_arrow()
}

//! The same aggregates for batch SQL: each as a DataFusion `AggregateUDF`.
//!
//! Constant arguments stay arguments there; they are read from the call's literals when the accumulator is made.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result as BatchResult, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use datafusion::physical_plan::expressions::Literal;
use parking_lot::Mutex;

use super::registry::{create, names, resolve};
use super::{Aggregator, Args, Emit, EmitRows, ResolvedAggregate};
use crate::functions::signature::Widening;
use crate::functions::{ArgType, batch_error};
use crate::plan::expr::Value;
use crate::types::SqlType;

/// Every aggregate, under its name in lower case.
pub fn datafusion_udafs() -> Vec<Arc<AggregateUDF>> {
    names().map(|name| Arc::new(AggregateUDF::from(BatchAggregate::new(name)))).collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BatchAggregate {
    name: &'static str,
    lower: String,
    signature: Signature,
}

impl BatchAggregate {
    fn new(name: &'static str) -> Self {
        Self { name, lower: name.to_ascii_lowercase(), signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn resolve(&self, types: &[DataType]) -> BatchResult<ResolvedAggregate> {
        let args = types
            .iter()
            .map(|ty| match ty {
                DataType::Null => Ok(ArgType::Null),
                ty => Ok(ArgType::Sql(SqlType::from_arrow(ty).map_err(batch_error)?)),
            })
            .collect::<BatchResult<Vec<_>>>()?;
        // COUNT(*) comes as COUNT(1). Whole numbers are BIGINT in batch SQL, but a constant k or n is an INT.
        resolve(self.name, &args, Widening::Everywhere)
            .or_else(|error| resolve(self.name, &with_small_constant(args), Widening::Everywhere).map_err(|_| error))
            .map_err(batch_error)
    }

    fn aggregator(&self, args: &AccumulatorArgs<'_>) -> BatchResult<(Box<dyn Aggregator>, usize)> {
        let types: Vec<DataType> = args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        let resolved = self.resolve(&types)?;
        let columns = resolved.args.len();
        let constants = args.exprs[columns..]
            .iter()
            .map(|expr| match expr.downcast_ref::<Literal>() {
                Some(literal) => constant(literal.value()),
                None => Err(DataFusionError::Plan(format!(
                    "Parameter {} passed to function {} must be a literal constant",
                    columns + 1,
                    self.name
                ))),
            })
            .collect::<BatchResult<Vec<_>>>()?;
        let aggregator = create(self.name, &resolved.args, &constants, &BTreeMap::new()).map_err(batch_error)?;
        Ok((aggregator, columns))
    }
}

fn with_small_constant(mut args: Vec<ArgType>) -> Vec<ArgType> {
    if let Some(arg) = args.iter_mut().skip(1).rfind(|arg| **arg == ArgType::Sql(SqlType::Bigint)) {
        *arg = ArgType::Sql(SqlType::Integer);
    }
    args
}

fn constant(value: &ScalarValue) -> BatchResult<Value> {
    Ok(match value {
        ScalarValue::Boolean(Some(value)) => Value::Boolean(*value),
        ScalarValue::Int32(Some(value)) => Value::Integer(*value),
        ScalarValue::Int64(Some(value)) => Value::Bigint(*value),
        ScalarValue::Float64(Some(value)) => Value::Double(*value),
        ScalarValue::Utf8(Some(value)) => Value::String(value.clone()),
        other if other.is_null() => Value::Null,
        other => return Err(DataFusionError::Plan(format!("{other} cannot be a constant argument of an aggregate"))),
    })
}

impl AggregateUDFImpl for BatchAggregate {
    fn name(&self) -> &str {
        &self.lower
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> BatchResult<DataType> {
        Ok(self.resolve(types)?.returns.to_arrow())
    }

    fn coerce_types(&self, types: &[DataType]) -> BatchResult<Vec<DataType>> {
        let resolved = self.resolve(types)?;
        let columns = resolved.args.iter().map(SqlType::to_arrow);
        Ok(columns.chain(types[resolved.args.len()..].iter().cloned()).collect())
    }

    /// What a correlated subquery finds where there are no rows: a count of them.
    fn default_value(&self, ty: &DataType) -> BatchResult<ScalarValue> {
        match self.name {
            "COUNT" => Ok(ScalarValue::Int64(Some(0))),
            _ => ScalarValue::try_from(ty),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> BatchResult<Vec<FieldRef>> {
        let types: Vec<DataType> = args.input_fields.iter().map(|field| field.data_type().clone()).collect();
        let resolved = self.resolve(&types)?;
        // Constants do not change what is stored, but some must be there for the aggregate to be made.
        let constants = vec![Value::Integer(1); resolved.constants.min(1)];
        let aggregator = create(self.name, &resolved.args, &constants, &BTreeMap::new()).map_err(batch_error)?;
        let field =
            |(i, ty): (usize, SqlType)| Arc::new(Field::new(format!("{}[{i}]", args.name), ty.to_arrow(), true));
        Ok(aggregator.state_types().into_iter().enumerate().map(field).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> BatchResult<Box<dyn Accumulator>> {
        let (aggregator, columns) = self.aggregator(&args)?;
        Ok(Box::new(OneGroup { aggregator: Mutex::new(aggregator), columns }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> BatchResult<Box<dyn GroupsAccumulator>> {
        let (aggregator, columns) = self.aggregator(&args)?;
        Ok(Box::new(AllGroups { aggregator, columns, groups: 0 }))
    }
}

/// An aggregator of one group. DataFusion wants accumulators shareable; the mutex is locked to measure only.
struct OneGroup {
    aggregator: Mutex<Box<dyn Aggregator>>,
    columns: usize,
}

impl std::fmt::Debug for OneGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OneGroup")
    }
}

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> BatchResult<()> {
        let rows = values.first().map_or(0, |column| column.len());
        update(self.aggregator.get_mut().as_mut(), &vec![0; rows], &values[..self.columns.min(values.len())], None)
    }

    fn evaluate(&mut self) -> BatchResult<ScalarValue> {
        ScalarValue::try_from_array(&self.aggregator.get_mut().evaluate(&[0]).map_err(batch_error)?, 0)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.aggregator.lock().bytes()
    }

    fn state(&mut self) -> BatchResult<Vec<ScalarValue>> {
        let state = self.aggregator.get_mut().store(&[0]).map_err(batch_error)?;
        state.iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> BatchResult<()> {
        let rows = states.first().map_or(0, |column| column.len());
        merge(self.aggregator.get_mut().as_mut(), &vec![0; rows], states, 1)
    }
}

/// An aggregator of all groups of a batch aggregation.
struct AllGroups {
    aggregator: Box<dyn Aggregator>,
    columns: usize,
    groups: usize,
}

impl AllGroups {
    /// The groups put out now; those that stay move to the front once `then` has read them.
    fn emit<T>(
        &mut self,
        emit_to: EmitTo,
        then: impl FnOnce(&dyn Aggregator, &[u32]) -> crate::error::Result<T>,
    ) -> BatchResult<T> {
        let count = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(count) => count,
        };
        let slots: Vec<u32> = (0..count as u32).collect();
        let result = then(self.aggregator.as_ref(), &slots).map_err(batch_error)?;
        let rest: Vec<u32> = (count as u32..self.groups as u32).collect();
        let kept = self.aggregator.store(&rest).map_err(batch_error)?;
        self.aggregator.clear(&(0..self.groups as u32).collect::<Vec<_>>());
        self.groups -= count;
        self.aggregator.load(&(0..self.groups as u32).collect::<Vec<_>>(), &kept).map_err(batch_error)?;
        Ok(result)
    }
}

impl GroupsAccumulator for AllGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> BatchResult<()> {
        self.groups = total_num_groups;
        let slots: Vec<u32> = group_indices.iter().map(|&group| group as u32).collect();
        update(self.aggregator.as_mut(), &slots, &values[..self.columns.min(values.len())], opt_filter)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> BatchResult<ArrayRef> {
        self.emit(emit_to, |aggregator, slots| aggregator.evaluate(slots))
    }

    fn state(&mut self, emit_to: EmitTo) -> BatchResult<Vec<ArrayRef>> {
        self.emit(emit_to, |aggregator, slots| aggregator.store(slots))
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> BatchResult<()> {
        self.groups = total_num_groups;
        let slots: Vec<u32> = group_indices.iter().map(|&group| group as u32).collect();
        merge(self.aggregator.as_mut(), &slots, values, total_num_groups as u32)
    }

    fn convert_to_state(&self, _values: &[ArrayRef], _filter: Option<&BooleanArray>) -> BatchResult<Vec<ArrayRef>> {
        Err(DataFusionError::NotImplemented("rows of these aggregates are not states".into()))
    }

    fn size(&self) -> usize {
        self.aggregator.bytes()
    }
}

fn update(
    aggregator: &mut dyn Aggregator,
    slots: &[u32],
    values: &[ArrayRef],
    filter: Option<&BooleanArray>,
) -> BatchResult<()> {
    let add = match filter {
        Some(filter) => BooleanBuffer::collect_bool(slots.len(), |row| filter.is_valid(row) && filter.value(row)),
        None => BooleanBuffer::new_set(slots.len()),
    };
    let args = Args { values, add: &add, undo: None };
    let updated = aggregator.update(slots, &args, Emit { rows: EmitRows::Nothing, old: false }).map_err(batch_error)?;
    match updated.errors.first() {
        Some(error) => Err(DataFusionError::Execution(error.message.clone())),
        None => Ok(()),
    }
}

/// Folds stored states into their groups, by way of slots behind all groups.
fn merge(aggregator: &mut dyn Aggregator, slots: &[u32], states: &[ArrayRef], behind: u32) -> BatchResult<()> {
    let loaded: Vec<u32> = (behind..behind + slots.len() as u32).collect();
    aggregator.load(&loaded, states).map_err(batch_error)?;
    for (&slot, &from) in slots.iter().zip(&loaded) {
        aggregator.merge(slot, from).map_err(batch_error)?;
    }
    aggregator.clear(&loaded);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch, StringArray};
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn batch_sql_answers_with_the_same_aggregates() {
        let context = SessionContext::new();
        for function in datafusion_udafs() {
            context.register_udaf(function.as_ref().clone());
        }
        let batch = RecordBatch::try_from_iter([
            ("k", Arc::new(StringArray::from(vec!["a", "b", "a", "a"])) as ArrayRef),
            ("v", Arc::new(Int64Array::from(vec![Some(3), Some(4), None, Some(9)]))),
        ])
        .unwrap();
        context.register_batch("t", batch).unwrap();
        let sql = "SELECT k, count(*) AS n, count(v) AS c, sum(v) AS s, avg(v) AS a, topk(v, 1) AS t, \
                   latest_by_offset(v) AS l, collect_list(v) AS all_v FROM t GROUP BY k ORDER BY k";
        let answer = context.sql(sql).await.unwrap().collect().await.unwrap();
        let expected = [
            "+---+---+---+----+-----+-----+---+----------+",
            "| k | n | c | s  | a   | t   | l | all_v    |",
            "+---+---+---+----+-----+-----+---+----------+",
            "| a | 3 | 2 | 12 | 6.0 | [9] | 9 | [3, , 9] |",
            "| b | 1 | 1 | 4  | 4.0 | [4] | 4 | [4]      |",
            "+---+---+---+----+-----+-----+---+----------+",
        ];
        assert_eq!(pretty_format_batches(&answer).unwrap().to_string(), expected.join("\n"));
    }
}

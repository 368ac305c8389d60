//! SELECT: new columns from expressions, the same rows.
//!
//! Time, window and headers pass unchanged. A failing expression becomes null and an entry in the processing log; a row
//! whose value is null as a whole stays one.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::ops::evaluate::{Evaluator, null_values, null_where};
use crate::ops::{InputId, Lookup, OpContext, Operator, Output, Then};
use crate::plan::expr::Value;
use crate::plan::steps::NamedExpr;
use crate::rows::{Change, OldRows, Rows, batch_of};
use crate::schema::Schema;

pub struct Project {
    exprs: Vec<Evaluator>,
    keys: usize,
    schema: SchemaRef,
    /// Whether the operators above ask for old rows.
    old: bool,
}

impl Project {
    pub fn new(key: &[NamedExpr], value: &[NamedExpr], input: &Schema, output: &Schema, old: bool) -> Result<Self> {
        let arrow = input.to_arrow();
        let exprs = key
            .iter()
            .chain(value)
            .map(|named| Evaluator::new(&named.expr, &arrow, format!("Project/{}", named.name)))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { exprs, keys: key.len(), schema: output.to_arrow(), old })
    }

    fn old_rows(&self, rows: &Rows) -> Result<Option<OldRows>> {
        let Some(old) = rows.old().filter(|_| self.old) else { return Ok(None) };
        let columns = self.exprs.iter().map(|e| e.evaluate_again(&old.columns)).collect::<Result<Vec<ArrayRef>>>()?;
        let columns = batch_of(SchemaRef::clone(&self.schema), columns, rows.len())?;
        Ok(Some(OldRows { columns, present: old.present.clone() }))
    }
}

impl Operator for Project {
    fn process(
        &mut self,
        _input: InputId,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(usize, Then)> {
        let nulls = null_values(rows);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.exprs.len());
        for (i, expr) in self.exprs.iter().enumerate() {
            let values = expr.evaluate(&rows.columns, &rows.time, nulls, ctx)?;
            columns.push(match nulls {
                Some(nulls) if i >= self.keys => null_where(&values, nulls)?,
                _ => values,
            });
        }
        let columns: RecordBatch = batch_of(SchemaRef::clone(&self.schema), columns, rows.len())?;
        let change = match &rows.change {
            Change::Append => Change::Append,
            Change::Upsert { .. } => Change::Upsert { old: self.old_rows(rows)? },
        };
        ctx.counters.rows_in += rows.len() as u64;
        ctx.counters.accepted += rows.len() as u64;
        ctx.counters.rows_out += rows.len() as u64;
        out.push(Rows { columns, change, ..rows.clone() });
        Ok((rows.len(), Then::Continue))
    }

    /// Key columns may stand in another order here than below.
    fn trace(&self, lookup: &Lookup) -> Option<Lookup> {
        let positions: Vec<usize> = self.exprs[..self.keys].iter().map(Evaluator::column).collect::<Option<_>>()?;
        let below = |key: &Vec<Value>| -> Option<Vec<Value>> {
            (0..key.len()).map(|i| key.get(positions.iter().position(|&p| p == i)?).cloned()).collect()
        };
        let keys = match &lookup.keys {
            Some(keys) => Some(keys.iter().map(below).collect::<Option<Vec<_>>>()?),
            None => None,
        };
        Some(Lookup { keys, ..lookup.clone() })
    }
}

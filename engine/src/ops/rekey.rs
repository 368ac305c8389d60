//! PARTITION BY, and the re-keying of a join's side: new key columns from expressions; the old key columns become
//! values.
//!
//! ```text
//! K | V        PARTITION BY V        V | K
//! 1 | a                              a | 1
//! 2 | null                           (null key) | 2          one null expression → no key
//! ```
//!
//! Several expressions give an object of parts, some of which may be null. A failing expression is null. Rows whose
//! value is null as a whole keep it; an expression over the old key alone is evaluated for them too, any other is null.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result};
use crate::ops::evaluate::{Evaluator, null_values, null_where, some_bits};
use crate::ops::{InputId, OpContext, Operator, Output, Then};
use crate::plan::steps::NamedExpr;
use crate::rows::{Rows, batch_of};
use crate::schema::Schema;

pub struct Rekey {
    keys: Vec<KeyPart>,
    /// Position in the input of each value column of the result.
    values: Vec<usize>,
    schema: SchemaRef,
}

struct KeyPart {
    evaluator: Evaluator,
    /// It reads nothing but the old key, which rows without a value have, too.
    of_key: bool,
}

impl Rekey {
    pub fn new(key: &[NamedExpr], input: &Schema, output: &Schema) -> Result<Self> {
        let arrow = input.to_arrow();
        let keys = key
            .iter()
            .map(|named| {
                let evaluator = Evaluator::new(&named.expr, &arrow, format!("PartitionBy/{}", named.name))?;
                let of_key = named.expr.reads_only(&|name| input.key.iter().any(|column| column.name == name));
                Ok(KeyPart { evaluator, of_key })
            })
            .collect::<Result<Vec<_>>>()?;
        let values = output
            .value
            .iter()
            .map(|column| {
                input.index_of(&column.name).ok_or_else(|| {
                    Error::internal(format!("column {} of a re-keyed step is not in its input", column.name))
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { keys, values, schema: output.to_arrow() })
    }
}

impl Operator for Rekey {
    fn process(
        &mut self,
        _input: InputId,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(usize, Then)> {
        let nulls = null_values(rows);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.keys.len() + self.values.len());
        for key in &self.keys {
            let values = key.evaluator.evaluate(&rows.columns, &rows.time, nulls, ctx)?;
            columns.push(match nulls.filter(|_| !key.of_key) {
                Some(nulls) => null_where(&values, nulls)?,
                None => values,
            });
        }
        for &index in &self.values {
            let values = rows.columns.column(index);
            columns.push(match nulls {
                Some(nulls) => null_where(values, nulls)?,
                None => ArrayRef::clone(values),
            });
        }
        let null_key = match columns.as_slice() {
            _ if self.keys.is_empty() => Some(arrow::buffer::BooleanBuffer::new_set(rows.len())),
            [key, ..] if self.keys.len() == 1 => key.logical_nulls().and_then(|valid| some_bits(!valid.inner())),
            _ => None,
        };
        let columns = batch_of(SchemaRef::clone(&self.schema), columns, rows.len())?;
        ctx.counters.rows_in += rows.len() as u64;
        ctx.counters.accepted += rows.len() as u64;
        ctx.counters.rows_out += rows.len() as u64;
        out.push(Rows { columns, null_key, ..rows.clone() });
        Ok((rows.len(), Then::Continue))
    }
}

//! WHERE on streams, WHERE and HAVING on tables.
//!
//! A stream row passes if the predicate holds; a row whose value is null never does. A table's change is judged by its
//! new and its old row under the same predicate, so no bit about what was emitted is ever stored:
//!
//! ```text
//! p(old)  p(new)   what leaves
//! –       yes      the new row
//! yes     no       a tombstone
//! no      no       nothing
//! ```
//!
//! A table change that came without its old row (joins send such tombstones) is passed on, as a tombstone if it fails.

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;

use crate::error::Result;
use crate::ops::evaluate::{Evaluator, holds, mask, null_values, null_where, some_bits};
use crate::ops::{InputId, Lookup, OpContext, Operator, Output, Then};
use crate::plan::expr::Expr;
use crate::rows::{Change, OldRows, Rows, batch_of};
use crate::schema::Schema;

pub struct Filter {
    predicate: Evaluator,
    keys: usize,
    /// Whether the operators above ask for old rows.
    old: bool,
}

impl Filter {
    pub fn new(predicate: &Expr, schema: &Schema, old: bool, place: &str) -> Result<Self> {
        Ok(Self { predicate: Evaluator::new(predicate, &schema.to_arrow(), place)?, keys: schema.key.len(), old })
    }

    fn stream(&self, rows: &Rows, passes: &BooleanBuffer) -> Result<Rows> {
        let passing = passes.count_set_bits();
        Ok(match passing {
            0 => rows.slice(0, 0),
            n if n == rows.len() => rows.clone(),
            _ => rows.filter(&mask(passes.clone()))?,
        })
    }

    fn table(&self, rows: &Rows, passes: &BooleanBuffer) -> Result<Rows> {
        let Some(old) = rows.old() else {
            return self.tombstones(rows.clone(), &!passes, None);
        };
        let passed = &holds(&self.predicate.evaluate_again(&old.columns)?) & &old.present;
        let keep = mask(passes | &passed);
        let rows = rows.filter(&keep)?;
        let bits = |b: &BooleanBuffer| -> Result<BooleanBuffer> {
            let kept = arrow::compute::filter(&mask(b.clone()), &keep)?;
            Ok(arrow::array::AsArray::as_boolean(&kept).values().clone())
        };
        self.tombstones(rows, &!&bits(passes)?, Some(bits(&passed)?))
    }

    /// The rows, those in `dead` as tombstones.
    fn tombstones(&self, mut rows: Rows, dead: &BooleanBuffer, was_there: Option<BooleanBuffer>) -> Result<Rows> {
        if dead.count_set_bits() > 0 {
            rows.columns = null_row_values(&rows.columns, self.keys, dead)?;
            rows.null_value = Some(match &rows.null_value {
                Some(nulls) => nulls | dead,
                None => dead.clone(),
            });
        }
        rows.null_value = rows.null_value.take().and_then(some_bits);
        rows.change = Change::Upsert {
            old: match (rows.change, was_there) {
                (Change::Upsert { old: Some(old) }, Some(present)) if self.old => {
                    Some(OldRows { columns: old.columns, present })
                }
                _ => None,
            },
        };
        Ok(rows)
    }
}

impl Operator for Filter {
    fn process(
        &mut self,
        _input: InputId,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(usize, Then)> {
        let values = self.predicate.evaluate(&rows.columns, &rows.time, null_values(rows), ctx)?;
        let mut passes = holds(&values);
        if let Some(nulls) = null_values(rows) {
            passes = &passes & &!nulls;
        }
        let result = match rows.change {
            Change::Append => self.stream(rows, &passes)?,
            Change::Upsert { .. } => self.table(rows, &passes)?,
        };
        ctx.counters.rows_in += rows.len() as u64;
        ctx.counters.accepted += result.len() as u64;
        ctx.counters.rows_out += result.len() as u64;
        ctx.counters.filtered += (rows.len() - result.len()) as u64;
        out.push(result);
        Ok((rows.len(), Then::Continue))
    }

    fn trace(&self, lookup: &Lookup) -> Option<Lookup> {
        Some(lookup.clone())
    }
}

/// The columns, values of the rows in `dead` as null.
pub fn null_row_values(columns: &RecordBatch, keys: usize, dead: &BooleanBuffer) -> Result<RecordBatch> {
    let mut arrays = columns.columns().to_vec();
    for column in &mut arrays[keys..] {
        *column = null_where(column, dead)?;
    }
    batch_of(columns.schema(), arrays, columns.num_rows())
}

//! GROUP BY: from a row to its group key and the aggregates' arguments.
//!
//! Rows with a null in the key are set aside and logged, so are failing ones; so are streams' null-valued rows, without
//! a word. What leaves has the group as its key columns and one value column per distinct argument, so that a
//! repartition topic carries nothing else.
//!
//! A table's change takes its old row back from the old group and adds its new row to the new group:
//!
//! ```text
//! change of table row            leaves  group | null_value | old
//! old g=1 v=5   new g=1 v=6              1     |            | 5        one row, both effects
//! old g=1 v=5   new g=2 v=6              1     | yes        | 5        undo first
//!                                        2     |            | –
//! old g=1 v=5   deleted                  1     | yes        | 5
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{interleave, take};
use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};
use arrow::row::{RowConverter, SortField};

use crate::error::{Result, RowError};
use crate::ops::evaluate::{Evaluator, mask, null_values, some_bits};
use crate::ops::{InputId, OpContext, OpError, Operator, Output, Then};
use crate::plan::expr::Expr;
use crate::plan::steps::{Aggregate, NamedExpr};
use crate::rows::{Change, OldRows, Rows, batch_of};
use crate::schema::{Column, Schema};

pub struct Group {
    keys: Vec<Evaluator>,
    args: Vec<Evaluator>,
    schema: SchemaRef,
}

/// The distinct arguments of an aggregation, and where each call finds its own.
pub struct Arguments {
    pub exprs: Vec<Expr>,
    /// Per aggregate call the positions of its arguments in `exprs`.
    pub positions: Vec<Vec<usize>>,
}

impl Arguments {
    pub fn of(aggregate: &Aggregate) -> Self {
        let mut exprs: Vec<Expr> = Vec::new();
        let positions = aggregate
            .aggregates
            .iter()
            .map(|call| {
                call.args
                    .iter()
                    .map(|arg| match exprs.iter().position(|known| known == arg) {
                        Some(position) => position,
                        None => {
                            exprs.push(arg.clone());
                            exprs.len() - 1
                        }
                    })
                    .collect()
            })
            .collect();
        Self { exprs, positions }
    }
}

/// What leaves a [`Group`]: the group columns, then `KSQL_AGG_ARG_n`.
pub fn grouped_schema(aggregate: &Aggregate) -> Schema {
    let key = aggregate.group.iter().map(|g| Column::new(&g.name, g.expr.ty.clone())).collect();
    let value = Arguments::of(aggregate)
        .exprs
        .iter()
        .enumerate()
        .map(|(i, arg)| Column::new(format!("KSQL_AGG_ARG_{i}"), arg.ty.clone()))
        .collect();
    Schema::new(key, value)
}

impl Group {
    pub fn new(aggregate: &Aggregate, input: &Schema) -> Result<Self> {
        let arrow = input.to_arrow();
        let keys = aggregate
            .group
            .iter()
            .map(|NamedExpr { name, expr }| Evaluator::new(expr, &arrow, format!("GroupBy/{name}")))
            .collect::<Result<_>>()?;
        let args = Arguments::of(aggregate)
            .exprs
            .iter()
            .enumerate()
            .map(|(i, arg)| Evaluator::new(arg, &arrow, format!("Aggregate/KSQL_AGG_ARG_{i}")))
            .collect::<Result<_>>()?;
        Ok(Self { keys, args, schema: grouped_schema(aggregate).to_arrow() })
    }

    fn stream(&self, rows: &Rows, ctx: &mut OpContext<'_>) -> Result<Rows> {
        let valued = match null_values(rows) {
            Some(nulls) => &rows.filter(&mask(!nulls))?,
            None => rows,
        };
        ctx.counters.filtered += (rows.len() - valued.len()) as u64;
        let (mut columns, valid) = self.new_keys(valued, None, ctx)?;
        let kept;
        let valued = match &valid {
            Some(valid) => {
                let keep = mask(valid.clone());
                ctx.counters.rejected += (valid.len() - valid.count_set_bits()) as u64;
                for column in &mut columns {
                    *column = arrow::compute::filter(column, &keep)?;
                }
                kept = valued.filter(&keep)?;
                &kept
            }
            None => valued,
        };
        ctx.counters.accepted += valued.len() as u64;
        for arg in &self.args {
            columns.push(arg.evaluate(&valued.columns, &valued.time, None, ctx)?);
        }
        let columns = batch_of(SchemaRef::clone(&self.schema), columns, valued.len())?;
        Ok(Rows { columns, null_key: None, null_value: None, ..valued.clone() })
    }

    fn table(&self, rows: &Rows, ctx: &mut OpContext<'_>) -> Result<Rows> {
        let deleted = null_values(rows).cloned();
        let (new_keys, valid) = self.new_keys(rows, deleted.as_ref(), ctx)?;
        let all = BooleanBuffer::new_set(rows.len());
        let mut adds = valid.unwrap_or_else(|| all.clone());
        if let Some(deleted) = &deleted {
            adds = &adds & &!deleted;
        }
        let (old_columns, mut undos) = match rows.old() {
            Some(old) => (&old.columns, old.present.clone()),
            None => (&rows.columns, BooleanBuffer::new_unset(rows.len())),
        };
        let old_keys = self.keys.iter().map(|k| k.evaluate_again(old_columns)).collect::<Result<Vec<_>>>()?;
        if let Some(valid) = all_valid(&old_keys) {
            undos = &undos & &valid;
        }
        let same = equal_rows(&old_keys, &new_keys)?;
        let plan = Moves::of(&adds, &undos, &same);
        ctx.counters.accepted += plan.rows_used;
        let unused = rows.len() as u64 - plan.rows_used;
        let nulls_logged = self.rejected(&deleted, &adds);
        ctx.counters.rejected += nulls_logged.min(unused);
        ctx.counters.filtered += unused - nulls_logged.min(unused);
        let origin = UInt32Array::from(plan.origin);
        let mut columns = new_keys
            .iter()
            .zip(&old_keys)
            .map(|(new, old)| Ok(interleave(&[new.as_ref(), old.as_ref()], &plan.key_from)?))
            .collect::<Result<Vec<ArrayRef>>>()?;
        let keys = columns.clone();
        let (add, undo) = (UInt32Array::from(plan.add), UInt32Array::from(plan.undo));
        let mut old_values = Vec::with_capacity(self.args.len());
        for arg in &self.args {
            let values = arg.evaluate(&rows.columns, &rows.time, deleted.as_ref(), ctx)?;
            columns.push(take(&values, &add, None)?);
            old_values.push(take(&arg.evaluate_again(old_columns)?, &undo, None)?);
        }
        let present = BooleanBuffer::collect_bool(undo.len(), |i| undo.is_valid(i));
        let null_value = some_bits(BooleanBuffer::collect_bool(add.len(), |i| add.is_null(i)));
        let old = OldRows {
            columns: batch_of(
                SchemaRef::clone(&self.schema),
                keys.into_iter().chain(old_values).collect(),
                origin.len(),
            )?,
            present,
        };
        let empty = batch_of(SchemaRef::new(ArrowSchema::new(Vec::<Field>::new())), Vec::new(), rows.len())?;
        let side = Rows { columns: empty, change: Change::Upsert { old: None }, ..rows.clone() }.take(&origin)?;
        Ok(Rows {
            columns: batch_of(SchemaRef::clone(&self.schema), columns, origin.len())?,
            null_key: None,
            null_value,
            change: Change::Upsert { old: Some(old) },
            ..side
        })
    }

    /// New rows whose group key is null in part.
    fn rejected(&self, deleted: &Option<BooleanBuffer>, adds: &BooleanBuffer) -> u64 {
        let deleted = deleted.as_ref().map_or(0, BooleanBuffer::count_set_bits);
        (adds.len() - deleted - adds.count_set_bits()) as u64
    }

    /// The group columns of the new rows, and which rows have a whole key (none: all); the others are logged.
    fn new_keys(
        &self,
        rows: &Rows,
        ignored: Option<&BooleanBuffer>,
        ctx: &mut OpContext<'_>,
    ) -> Result<(Vec<ArrayRef>, Option<BooleanBuffer>)> {
        let keys = self
            .keys
            .iter()
            .map(|key| key.evaluate(&rows.columns, &rows.time, ignored, ctx))
            .collect::<Result<Vec<_>>>()?;
        let valid = all_valid(&keys);
        if let Some(valid) = &valid {
            for row in (0..valid.len()).filter(|&row| !valid.value(row)) {
                if ignored.is_some_and(|ignored| ignored.value(row)) {
                    continue;
                }
                let column = keys.iter().position(|key| key.is_null(row)).unwrap_or(0);
                let message = format!(
                    "Group-by column with index {column} resolved to null. The source row will be excluded from the table."
                );
                ctx.errors.push(OpError {
                    place: "GroupBy".into(),
                    error: RowError::new(row, message),
                    time: rows.time.value(row),
                });
            }
        }
        Ok((keys, valid))
    }
}

/// Which rows leave for a table's changes.
#[derive(Default)]
struct Moves {
    /// Input row of each output row.
    origin: Vec<u32>,
    /// Group key of each output row: of the new (0) or old (1) row.
    key_from: Vec<(usize, usize)>,
    add: Vec<Option<u32>>,
    undo: Vec<Option<u32>>,
    rows_used: u64,
}

impl Moves {
    fn of(adds: &BooleanBuffer, undos: &BooleanBuffer, same: &BooleanBuffer) -> Self {
        let mut moves = Moves::default();
        for row in 0..adds.len() {
            let at = row as u32;
            match (undos.value(row), adds.value(row)) {
                (true, true) if same.value(row) => moves.push(at, 0, Some(at), Some(at)),
                (undo, add) => {
                    if undo {
                        moves.push(at, 1, None, Some(at));
                    }
                    if add {
                        moves.push(at, 0, Some(at), None);
                    }
                }
            }
            moves.rows_used += u64::from(undos.value(row) || adds.value(row));
        }
        moves
    }

    fn push(&mut self, row: u32, key: usize, add: Option<u32>, undo: Option<u32>) {
        self.origin.push(row);
        self.key_from.push((key, row as usize));
        self.add.push(add);
        self.undo.push(undo);
    }
}

/// Rows in which every column has a value; none if all have.
fn all_valid(columns: &[ArrayRef]) -> Option<BooleanBuffer> {
    columns.iter().filter_map(|c| c.logical_nulls()).filter(|n| n.null_count() > 0).fold(None, |all, nulls| {
        Some(match all {
            Some(all) => &all & nulls.inner(),
            None => nulls.into_inner(),
        })
    })
}

fn equal_rows(a: &[ArrayRef], b: &[ArrayRef]) -> Result<BooleanBuffer> {
    let rows = a.first().map_or(0, |column| column.len());
    if a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b)) {
        return Ok(BooleanBuffer::new_set(rows));
    }
    let converter = RowConverter::new(a.iter().map(|c| SortField::new(c.data_type().clone())).collect())?;
    let (a, b) = (converter.convert_columns(a)?, converter.convert_columns(b)?);
    Ok(BooleanBuffer::collect_bool(rows, |row| a.row(row) == b.row(row)))
}

impl Operator for Group {
    fn process(
        &mut self,
        _input: InputId,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(usize, Then)> {
        ctx.counters.rows_in += rows.len() as u64;
        let grouped = match rows.change {
            Change::Append => self.stream(rows, ctx)?,
            Change::Upsert { .. } => self.table(rows, ctx)?,
        };
        ctx.counters.rows_out += grouped.len() as u64;
        out.push(grouped);
        Ok((rows.len(), Then::Continue))
    }
}

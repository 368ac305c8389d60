//! Table functions: a row becomes a row per element, several functions zipped to the longest.
//!
//! ```text
//! K | EXPLODE([1, 2]) | EXPLODE(['a'])
//! k | 1               | a
//! k | 2               | null
//! ```
//!
//! An empty or null list yields no row. The other columns repeat; time and headers are those of the input row.

use arrow::array::{Array, ArrayRef, ListArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result};
use crate::functions::table;
use crate::ops::evaluate::{Evaluator, mask, null_values};
use crate::ops::{InputId, OpContext, OpError, Operator, Output, Then};
use crate::plan::steps::TableFunctionCall;
use crate::rows::{Rows, batch_of};
use crate::schema::Schema;
use crate::types::SqlType;

pub struct FlatMap {
    functions: Vec<Function>,
    /// Where each output column comes from.
    columns: Vec<From>,
    schema: SchemaRef,
}

struct Function {
    name: String,
    place: String,
    args: Vec<Evaluator>,
    types: Vec<SqlType>,
}

enum From {
    Input(usize),
    Function(usize),
}

impl FlatMap {
    pub fn new(calls: &[TableFunctionCall], input: &Schema, output: &Schema) -> Result<Self> {
        let arrow = input.to_arrow();
        let functions = calls
            .iter()
            .map(|call| {
                let place = format!("FlatMap/{}", call.output);
                Ok(Function {
                    name: call.function.clone(),
                    args: call
                        .args
                        .iter()
                        .map(|arg| Evaluator::new(arg, &arrow, place.clone()))
                        .collect::<Result<_>>()?,
                    types: call.args.iter().map(|arg| arg.ty.clone()).collect(),
                    place,
                })
            })
            .collect::<Result<_>>()?;
        let columns = output
            .columns()
            .map(|column| match calls.iter().position(|call| call.output == column.name) {
                Some(call) => Ok(From::Function(call)),
                None => input.index_of(&column.name).map(From::Input).ok_or_else(|| {
                    Error::internal(format!("column {} of a table function step has no origin", column.name))
                }),
            })
            .collect::<Result<_>>()?;
        Ok(Self { functions, columns, schema: output.to_arrow() })
    }

    fn lists(&self, rows: &Rows, ctx: &mut OpContext<'_>) -> Result<Vec<ListArray>> {
        self.functions
            .iter()
            .map(|function| {
                let args = function
                    .args
                    .iter()
                    .map(|arg| arg.evaluate(&rows.columns, &rows.time, None, ctx))
                    .collect::<Result<Vec<_>>>()?;
                let (list, errors) = table::evaluate(&function.name, &args, &function.types)?;
                for error in errors {
                    ctx.counters.field_errors += 1;
                    let time = rows.time.value(error.row);
                    ctx.errors.push(OpError { place: function.place.clone(), error, time });
                }
                Ok(list)
            })
            .collect()
    }
}

impl Operator for FlatMap {
    fn process(
        &mut self,
        _input: InputId,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(usize, Then)> {
        let consumed = rows.len();
        let valued = match null_values(rows) {
            Some(nulls) => &rows.filter(&mask(!nulls))?,
            None => rows,
        };
        let lists = self.lists(valued, ctx)?;
        let length = |list: &ListArray, row: usize| if list.is_null(row) { 0 } else { list.value_length(row) as usize };
        let mut origin: Vec<u32> = Vec::new();
        let mut elements: Vec<Vec<Option<u32>>> = vec![Vec::new(); lists.len()];
        let mut expanded = 0u64;
        for row in 0..valued.len() {
            let longest = lists.iter().map(|list| length(list, row)).max().unwrap_or(0);
            expanded += u64::from(longest > 0);
            for i in 0..longest {
                origin.push(row as u32);
                for (list, picks) in lists.iter().zip(&mut elements) {
                    picks.push((i < length(list, row)).then(|| list.value_offsets()[row] as u32 + i as u32));
                }
            }
        }
        let origin = UInt32Array::from(origin);
        let columns = self
            .columns
            .iter()
            .map(|from| match from {
                From::Input(index) => Ok(take(valued.columns.column(*index), &origin, None)?),
                From::Function(call) => {
                    Ok(take(lists[*call].values(), &UInt32Array::from(elements[*call].clone()), None)?)
                }
            })
            .collect::<Result<Vec<ArrayRef>>>()?;
        let columns = batch_of(SchemaRef::clone(&self.schema), columns, origin.len())?;
        ctx.counters.rows_in += consumed as u64;
        ctx.counters.accepted += expanded;
        ctx.counters.filtered += consumed as u64 - expanded;
        ctx.counters.rows_out += origin.len() as u64;
        // The input's other arrays row by row, its columns replaced.
        let side = Rows { columns: batch_of(arrow_empty(), Vec::new(), valued.len())?, ..valued.clone() };
        out.push(Rows { columns, ..side.take(&origin)? });
        Ok((consumed, Then::Continue))
    }
}

fn arrow_empty() -> SchemaRef {
    SchemaRef::new(arrow::datatypes::Schema::empty())
}

//! Aggregates that ksqlDB's test suites define for themselves; only there once `functions::enable_test_functions` ran.
//!
//! | name | arguments, constants after the bar | result |
//! |---|---|---|
//! | VAR_ARG | BIGINT, STRING… | numbers and lengths of texts added up |
//! | MULTI_ARG, FOUR_ARG, FIVE_ARG | BIGINT, STRING (×1, ×3, ×3 and INT) \| INT, STRING… | the same, from the constants on |
//! | MID_VAR_ARG | BIGINT, STRING… \| INT, INT | the same |
//! | TEST_UDAF | INT, BIGINT or DOUBLE; STRING \| STRING | the same |
//! | TEST_UDAF | STRUCT<A INT, B INT> | the same STRUCT, each field added up |
//! | GENERIC_VAR_ARG, OBJ_COL_ARG | A, B, C…; INT, anything… | the first argument's values where none is null |

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StructArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, Int32Type, Int64Type};

use super::lists::{ListAggregate, Rule};
use super::{Aggregator, Args, Emit, ResolvedAggregate, Updated, numeric};
use crate::error::{Error, Result};
use crate::functions::ArgType;
use crate::functions::values::access::struct_field;
use crate::plan::expr::Value;
use crate::types::SqlType;

const NAMES: [&str; 8] =
    ["VAR_ARG", "MULTI_ARG", "FOUR_ARG", "FIVE_ARG", "MID_VAR_ARG", "TEST_UDAF", "GENERIC_VAR_ARG", "OBJ_COL_ARG"];

/// The name, if it is one of these and they are enabled.
pub fn known(name: &str) -> Option<&'static str> {
    crate::functions::test_functions_enabled()
        .then(|| NAMES.iter().copied().find(|known| known.eq_ignore_ascii_case(name)))
        .flatten()
}

pub fn resolve(name: &str, args: &[ArgType]) -> Result<ResolvedAggregate> {
    use SqlType::{Bigint, Double, Integer, String};
    let refused = || {
        let given: Vec<std::string::String> = args.iter().map(ToString::to_string).collect();
        Error::statement(format!("Function '{name}' does not accept parameters ({}).", given.join(", ")))
    };
    let types: Option<Vec<SqlType>> = args
        .iter()
        .map(|arg| match arg {
            ArgType::Sql(ty) => Some(ty.clone()),
            _ => None,
        })
        .collect();
    let types = types.ok_or_else(refused)?;
    let all_text = |types: &[SqlType]| types.iter().all(|ty| *ty == String);
    // The columns' types, if the arguments fit.
    let initialised = |columns: &[SqlType]| {
        let (given, constants) = types.split_at_checked(columns.len())?;
        let fits = given == columns && constants.first() == Some(&Integer) && all_text(&constants[1..]);
        fits.then(|| columns.to_vec())
    };
    let columns = match (name, types.as_slice()) {
        ("VAR_ARG", [Bigint, rest @ ..]) if all_text(rest) => Some(types.clone()),
        ("MULTI_ARG", _) => initialised(&[Bigint, String]),
        ("FOUR_ARG", _) => initialised(&[Bigint, String, String, String]),
        ("FIVE_ARG", _) => initialised(&[Bigint, String, String, String, Integer]),
        ("MID_VAR_ARG", [Bigint, texts @ .., Integer, Integer]) if all_text(texts) => {
            Some(types[..types.len() - 2].to_vec())
        }
        ("TEST_UDAF", [Integer | Bigint | Double]) => Some(types.clone()),
        ("TEST_UDAF", [pair]) if *pair == pair_type() => Some(types.clone()),
        ("TEST_UDAF", [String, String]) => Some(vec![String]),
        ("GENERIC_VAR_ARG", [_, _, rest @ ..]) if rest.windows(2).all(|pair| pair[0] == pair[1]) => Some(types.clone()),
        ("OBJ_COL_ARG", [Integer, ..]) => Some(types.clone()),
        _ => None,
    };
    let columns = columns.ok_or_else(refused)?;
    let returns = match (name, &columns[0]) {
        ("GENERIC_VAR_ARG" | "OBJ_COL_ARG", first) => SqlType::array(first.clone()),
        (_, Double) => Double,
        (_, pair @ SqlType::Struct(_)) => pair.clone(),
        _ => Bigint,
    };
    Ok(ResolvedAggregate { constants: types.len() - columns.len(), args: columns, returns, undo: name == "TEST_UDAF" })
}

pub fn create(name: &str, args: &[SqlType], constants: &[Value]) -> Result<Box<dyn Aggregator>> {
    let first = args.first().ok_or_else(|| Error::internal(format!("{name} was given no argument")))?;
    let (inner, prepare): (Box<dyn Aggregator>, Prepare) = match name {
        "GENERIC_VAR_ARG" | "OBJ_COL_ARG" => {
            (Box::new(ListAggregate::new(Rule::List { limit: i32::MAX as usize }, first, false)?), Prepare::Complete)
        }
        _ if *first == SqlType::Double => return numeric::sum(first, false),
        _ if *first == pair_type() => return Ok(Box::new(PairSum::new()?)),
        _ => {
            let initial = constants.iter().map(|constant| match constant {
                Value::Integer(number) => i64::from(*number),
                Value::String(text) => text.encode_utf16().count() as i64,
                _ => 0,
            });
            (numeric::sum(&SqlType::Bigint, false)?, Prepare::Sum { initial: initial.sum() })
        }
    };
    Ok(Box::new(Prepared { inner, prepare }))
}

fn pair_type() -> SqlType {
    SqlType::structure([("A", SqlType::Integer), ("B", SqlType::Integer)])
}

/// Sums of the fields A and B.
struct PairSum(Vec<Box<dyn Aggregator>>);

impl PairSum {
    fn new() -> Result<Self> {
        Ok(Self((0..2).map(|_| numeric::sum(&SqlType::Integer, false)).collect::<Result<_>>()?))
    }

    fn together(fields: Vec<ArrayRef>) -> Result<ArrayRef> {
        let DataType::Struct(names) = pair_type().to_arrow() else { return Err(Error::internal("a STRUCT")) };
        Ok(Arc::new(StructArray::try_new(names, fields, None)?))
    }
}

impl Aggregator for PairSum {
    fn update(&mut self, groups: &[u32], args: &Args<'_>, emit: Emit<'_>) -> Result<Updated> {
        let field = |values: &[ArrayRef], i: usize| struct_field(&values[0], i).map_err(Error::internal);
        let mut updated = Updated { new: None, old: None, errors: Vec::new() };
        let (mut new, mut old) = (Vec::new(), Vec::new());
        for (i, sum) in self.0.iter_mut().enumerate() {
            let values = [field(args.values, i)?];
            let undone = args.undo.map(|(values, rows)| Ok::<_, Error>(([field(values, i)?], rows))).transpose()?;
            let undo = undone.as_ref().map(|(values, rows)| (values.as_slice(), *rows));
            let part = sum.update(groups, &Args { values: &values, add: args.add, undo }, emit)?;
            new.extend(part.new);
            old.extend(part.old);
            updated.errors.extend(part.errors);
        }
        updated.new = if new.is_empty() { None } else { Some(Self::together(new)?) };
        updated.old = if old.is_empty() { None } else { Some(Self::together(old)?) };
        Ok(updated)
    }

    fn merge(&mut self, into: u32, from: u32) -> Result<()> {
        self.0.iter_mut().try_for_each(|sum| sum.merge(into, from))
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        Self::together(self.0.iter().map(|sum| sum.evaluate(slots)).collect::<Result<_>>()?)
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(self.0.iter().map(|sum| sum.store(slots)).collect::<Result<Vec<_>>>()?.concat())
    }

    fn load(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.0.iter_mut().zip(state.chunks(1)).try_for_each(|(sum, state)| sum.load(slots, state))
    }

    fn clear(&mut self, slots: &[u32]) {
        self.0.iter_mut().for_each(|sum| sum.clear(slots));
    }

    fn state_types(&self) -> Vec<SqlType> {
        self.0.iter().flat_map(|sum| sum.state_types()).collect()
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|sum| sum.bytes()).sum()
    }
}

/// What happens to the arguments before another aggregate takes them.
enum Prepare {
    /// Only the first argument, of rows without a null.
    Complete,
    /// All arguments as one number; results are that much more.
    Sum { initial: i64 },
}

struct Prepared {
    inner: Box<dyn Aggregator>,
    prepare: Prepare,
}

impl Prepared {
    fn values(&self, values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        Ok(match self.prepare {
            Prepare::Complete => vec![Arc::clone(&values[0])],
            Prepare::Sum { .. } => {
                let rows = values[0].len();
                let numbers = values.iter().map(measured).collect::<Result<Vec<_>>>()?;
                let sums = (0..rows).map(|row| numbers.iter().fold(0i64, |sum, n| sum.wrapping_add(n.value(row))));
                vec![Arc::new(Int64Array::from_iter_values(sums))]
            }
        })
    }

    fn rows(&self, values: &[ArrayRef], rows: &BooleanBuffer) -> BooleanBuffer {
        let nulls = values.iter().fold(None, |nulls, column| NullBuffer::union(nulls.as_ref(), column.nulls()));
        match (&self.prepare, nulls) {
            (Prepare::Complete, Some(nulls)) => rows & nulls.inner(),
            _ => rows.clone(),
        }
    }

    fn more(&self, result: ArrayRef) -> ArrayRef {
        match self.prepare {
            Prepare::Sum { initial } => {
                Arc::new(result.as_primitive::<Int64Type>().unary::<_, Int64Type>(|v| v.wrapping_add(initial)))
            }
            Prepare::Complete => result,
        }
    }
}

/// Numbers as they are, texts as their lengths, nulls as nothing.
fn measured(column: &ArrayRef) -> Result<Int64Array> {
    let rows = 0..column.len();
    let present = |row: usize| column.is_valid(row);
    if let Some(numbers) = column.as_primitive_opt::<Int64Type>() {
        return Ok(rows.map(|row| Some(if present(row) { numbers.value(row) } else { 0 })).collect());
    }
    if let Some(numbers) = column.as_primitive_opt::<Int32Type>() {
        return Ok(rows.map(|row| Some(if present(row) { i64::from(numbers.value(row)) } else { 0 })).collect());
    }
    match column.as_string_opt::<i32>() {
        Some(texts) => Ok(rows
            .map(|row| Some(if present(row) { texts.value(row).encode_utf16().count() as i64 } else { 0 }))
            .collect()),
        None => Err(Error::internal(format!("{} is neither number nor text", column.data_type()))),
    }
}

impl Aggregator for Prepared {
    fn update(&mut self, groups: &[u32], args: &Args<'_>, emit: Emit<'_>) -> Result<Updated> {
        let (values, add) = (self.values(args.values)?, self.rows(args.values, args.add));
        let undone = args
            .undo
            .map(|(values, rows)| Ok::<_, Error>((self.values(values)?, self.rows(values, rows))))
            .transpose()?;
        let undo = undone.as_ref().map(|(values, rows)| (values.as_slice(), rows));
        let updated = self.inner.update(groups, &Args { values: &values, add: &add, undo }, emit)?;
        let (new, old) = (updated.new.map(|r| self.more(r)), updated.old.map(|r| self.more(r)));
        Ok(Updated { new, old, errors: updated.errors })
    }

    fn merge(&mut self, into: u32, from: u32) -> Result<()> {
        self.inner.merge(into, from)
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        Ok(self.more(self.inner.evaluate(slots)?))
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.inner.store(slots)
    }

    fn load(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.inner.load(slots, state)
    }

    fn clear(&mut self, slots: &[u32]) {
        self.inner.clear(slots);
    }

    fn state_types(&self) -> Vec<SqlType> {
        self.inner.state_types()
    }

    fn bytes(&self) -> usize {
        self.inner.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(types: &[SqlType]) -> Vec<ArgType> {
        types.iter().cloned().map(ArgType::Sql).collect()
    }

    #[test]
    fn constants_follow_the_columns() {
        use SqlType::{Bigint, Integer, String};
        let resolved = resolve("MULTI_ARG", &sql(&[Bigint, String, Integer, String])).unwrap();
        assert_eq!((resolved.args, resolved.constants), (vec![Bigint, String], 2));
        let resolved = resolve("MID_VAR_ARG", &sql(&[Bigint, String, Integer, Integer])).unwrap();
        assert_eq!((resolved.args, resolved.constants), (vec![Bigint, String], 2));
        let refused = resolve("VAR_ARG", &sql(&[Bigint, Integer])).unwrap_err();
        assert_eq!(refused.message(), "Function 'VAR_ARG' does not accept parameters (BIGINT, INTEGER).");
    }
}

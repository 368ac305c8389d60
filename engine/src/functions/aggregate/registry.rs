//! The aggregate functions there are: signatures, constants, and how each is made.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::extremes::{Extreme, extreme};
use super::lists::{ListAggregate, Rule};
use super::tallies::{Shown, Tally};
use super::{Aggregator, ResolvedAggregate, correlation, numeric, offset, sketch, sum_list, test_only};
use crate::error::{Error, Result};
use crate::functions::signature::{self, Signature, Widening};
use crate::functions::{ArgType, Example, FunctionInfo, FunctionKind, SignatureInfo};
use crate::plan::expr::Value;
use crate::types::SqlType;

/// Most distinct values a HISTOGRAM keeps (ksqlDB's limit).
const HISTOGRAM_VALUES_MAX: usize = 1000;

struct Function {
    name: &'static str,
    description: &'static str,
    /// Each with the number of its last parameters that are constants.
    overloads: Vec<(Signature, usize)>,
    undo: bool,
    example: Example,
    /// How it differs from DataFusion's function of the same name.
    differs: Option<&'static str>,
}

impl Function {
    /// A call over the values of a column `v`, and what it gives.
    fn example(mut self, call: &'static str, over: (&'static str, &'static str), gives: &'static str) -> Self {
        self.example = Example { call, over: Some(over), gives };
        self
    }

    fn differs(mut self, how: &'static str) -> Self {
        self.differs = Some(how);
        self
    }
}

static FUNCTIONS: LazyLock<BTreeMap<&'static str, Function>> = LazyLock::new(|| {
    let functions =
        [
            function(
                "ATTR",
                "The value of the group if it has exactly one distinct value, else null",
                true,
                &["(T val) -> T"],
            )
            .example("ATTR(v)", ("STRING", "'a', 'a', 'a'"), "a"),
            function(
                "AVG",
                "The average of the values that are not null",
                true,
                &["(INT val) -> DOUBLE", "(BIGINT val) -> DOUBLE", "(DOUBLE val) -> DOUBLE"],
            )
            .example("AVG(v)", ("INT", "1, null, 4"), "2.5")
            .differs("of DECIMAL is DECIMAL; over nothing but nulls it is null, here 0."),
            function("COLLECT_LIST", "All values, nulls too, in order of arrival", true, &["(T val) -> ARRAY<T>"])
                .example("COLLECT_LIST(v)", ("INT", "2, null, 1, 2"), "[2, null, 1, 2]"),
            function(
                "COLLECT_SET",
                "The distinct values, null too, in order of first arrival",
                false,
                &["(T val) -> ARRAY<T>"],
            )
            .example("COLLECT_SET(v)", ("INT", "2, null, 1, 2"), "[2, null, 1]"),
            function(
                "CORRELATION",
                "Pearson's correlation of the pairs without a null",
                true,
                &["(INT x, INT y) -> DOUBLE", "(BIGINT x, BIGINT y) -> DOUBLE", "(DOUBLE x, DOUBLE y) -> DOUBLE"],
            )
            .example("CORRELATION(v, v)", ("INT", "1, 2, 4"), "1.0"),
            function(
                "COUNT",
                "The number of rows, or of values that are not null",
                true,
                &["() -> BIGINT", "(T val) -> BIGINT"],
            )
            .example("COUNT(v)", ("INT", "1, null, 4"), "2"),
            function("COUNT_DISTINCT", "The approximate number of distinct values", false, &["(T val) -> BIGINT"])
                .example("COUNT_DISTINCT(v)", ("INT", "1, 4, 4"), "2"),
            function("EARLIEST_BY_OFFSET", "The first value, or the first n", false, BY_OFFSET).example(
                "EARLIEST_BY_OFFSET(v, 2)",
                ("INT", "3, null, 2, 1"),
                "[3, 2]",
            ),
            function("HISTOGRAM", "How often each value occurs", true, &["(STRING val) -> MAP<STRING, BIGINT>"])
                .example("HISTOGRAM(v)", ("STRING", "'a', 'b', 'a'"), "{a=2, b=1}"),
            function("LATEST_BY_OFFSET", "The last value, or the last n", false, BY_OFFSET).example(
                "LATEST_BY_OFFSET(v)",
                ("INT", "3, 1, null"),
                "1",
            ),
            function("MAX", "The greatest value", false, ORDERED).example("MAX(v)", ("INT", "1, null, 4"), "4"),
            function("MIN", "The least value", false, ORDERED).example("MIN(v)", ("INT", "1, null, 4"), "1"),
            function("STDDEV_SAMP", "The variance of the sample (kept as it is in ksqlDB)", true, REAL)
                .example("STDDEV_SAMP(v)", ("INT", "1, 3"), "2.0")
                .differs(
                    "is the standard deviation. Here it is the variance, as in ksqlDB; STDDEV_SAMPLE is the \
                 standard deviation.",
                ),
            function("STDDEV_SAMPLE", "The standard deviation of the sample", true, REAL).example(
                "STDDEV_SAMPLE(v)",
                ("INT", "1, 3"),
                "1.4142135623730951",
            ),
            function(
                "SUM",
                "The sum of the values that are not null",
                true,
                &["(INT val) -> INT", "(BIGINT val) -> BIGINT", "(DOUBLE val) -> DOUBLE", "(DECIMAL val) -> DECIMAL"],
            )
            .example("SUM(v)", ("INT", "1, null, 4"), "5")
            .differs("of INTEGER is BIGINT, here it stays INTEGER; over nothing but nulls it is null, here 0."),
            function(
                "SUM_LIST",
                "The sum of all elements of all arrays",
                true,
                &["(ARRAY<INT> val) -> INT", "(ARRAY<BIGINT> val) -> BIGINT", "(ARRAY<DOUBLE> val) -> DOUBLE"],
            )
            .example("SUM_LIST(v)", ("ARRAY<INT>", "ARRAY[1, 2], null, ARRAY[3]"), "6"),
            function("TOPK", "The k greatest values, greatest first", false, TOPK).example(
                "TOPK(v, 2)",
                ("INT", "1, 5, 5, 3"),
                "[5, 5]",
            ),
            function("TOPKDISTINCT", "The k greatest distinct values, greatest first", false, TOPK_DISTINCT).example(
                "TOPKDISTINCT(v, 2)",
                ("INT", "1, 5, 5, 3"),
                "[5, 3]",
            ),
        ];
    functions.into_iter().map(|f| (f.name, f)).collect()
});

const REAL: &[&str] = &["(INT val) -> DOUBLE", "(BIGINT val) -> DOUBLE", "(DOUBLE val) -> DOUBLE"];
const ORDERED: &[&str] = &[
    "(INT val) -> INT",
    "(BIGINT val) -> BIGINT",
    "(DOUBLE val) -> DOUBLE",
    "(DECIMAL val) -> DECIMAL",
    "(STRING val) -> STRING",
    "(BYTES val) -> BYTES",
    "(DATE val) -> DATE",
    "(TIME val) -> TIME",
    "(TIMESTAMP val) -> TIMESTAMP",
];
const BY_OFFSET: &[&str] = &[
    "(T val) -> T",
    "(T val, const BOOLEAN ignoreNulls) -> T",
    "(T val, const INT n) -> ARRAY<T>",
    "(T val, const INT n, const BOOLEAN ignoreNulls) -> ARRAY<T>",
];
const TOPK: &[&str] = &[
    "(INT val, const INT k) -> ARRAY<INT>",
    "(BIGINT val, const INT k) -> ARRAY<BIGINT>",
    "(DOUBLE val, const INT k) -> ARRAY<DOUBLE>",
    "(STRING val, const INT k) -> ARRAY<STRING>",
];
const TOPK_DISTINCT: &[&str] = &[
    "(INT val, const INT k) -> ARRAY<INT>",
    "(BIGINT val, const INT k) -> ARRAY<BIGINT>",
    "(DOUBLE val, const INT k) -> ARRAY<DOUBLE>",
    "(DECIMAL val, const INT k) -> ARRAY<T>",
    "(STRING val, const INT k) -> ARRAY<STRING>",
    "(BYTES val, const INT k) -> ARRAY<BYTES>",
    "(DATE val, const INT k) -> ARRAY<DATE>",
    "(TIME val, const INT k) -> ARRAY<TIME>",
    "(TIMESTAMP val, const INT k) -> ARRAY<TIMESTAMP>",
];

fn function(name: &'static str, description: &'static str, undo: bool, signatures: &[&str]) -> Function {
    let overloads = signatures
        .iter()
        .map(|text| (Signature::parse(&text.replace("const ", "")), text.matches("const ").count()))
        .collect();
    Function { name, description, overloads, undo, example: Example::default(), differs: None }
}

fn find(name: &str) -> Result<&'static Function> {
    FUNCTIONS
        .get(name.to_ascii_uppercase().as_str())
        .ok_or_else(|| Error::statement(format!("Can't find any functions with the name '{name}'")))
}

/// Whether there is an aggregate of that name, in any case.
pub fn exists(name: &str) -> bool {
    find(name).is_ok() || test_only::known(name).is_some()
}

/// Names of all aggregates, upper case.
pub fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.keys().copied()
}

pub fn list() -> Vec<FunctionInfo> {
    FUNCTIONS
        .values()
        .map(|function| FunctionInfo {
            name: function.name,
            kind: FunctionKind::Aggregate,
            category: "AGGREGATE",
            description: function.description,
            example: function.example,
            differs: function.differs,
            signatures: function
                .overloads
                .iter()
                .map(|(signature, _)| SignatureInfo {
                    arguments: signature
                        .parameters
                        .iter()
                        .map(|parameter| (parameter.name.clone(), parameter.ty.to_string(), false))
                        .collect(),
                    returns: signature.returns.to_string(),
                    description: function.description.to_string(),
                })
                .collect(),
        })
        .collect()
}

/// Picks the overload. `args` are all arguments as written; constants come last and must be literals, which
/// `plan::analyze` checks with the count returned.
pub fn resolve(name: &str, args: &[ArgType], widening: Widening) -> Result<ResolvedAggregate> {
    if let Some(name) = test_only::known(name) {
        return test_only::resolve(name, args);
    }
    let function = find(name)?;
    if function.name == "TOPK" && args.len() > 2 {
        return resolve_topk_columns(function, args, widening);
    }
    let signatures: Vec<&Signature> = function.overloads.iter().map(|(signature, _)| signature).collect();
    let (index, bound) = signature::choose(function.name, &signatures, args, widening)?;
    let (chosen, constants) = &function.overloads[index];
    let no_type = || signature::not_accepted(function.name, &signatures, args);
    let mut chosen = chosen.clone();
    if function.name == "TOPKDISTINCT" {
        // The element type is the value's, a DECIMAL's too.
        chosen.returns = chosen.parameters[0].ty.clone();
    }
    let resolved = chosen.resolved(args, &bound).ok_or_else(no_type)?;
    let returns = match function.name {
        "TOPKDISTINCT" => SqlType::array(resolved.returns),
        _ => resolved.returns,
    };
    let columns = resolved.args.len() - constants;
    let args = resolved.args.into_iter().take(columns).collect();
    Ok(ResolvedAggregate { args, constants: *constants, returns, undo: function.undo })
}

/// TOPK(sort column, other columns…, k): the entries are structs.
fn resolve_topk_columns(function: &Function, args: &[ArgType], widening: Widening) -> Result<ResolvedAggregate> {
    let signatures: Vec<&Signature> = function.overloads.iter().map(|(signature, _)| signature).collect();
    let refused = || signature::not_accepted(function.name, &signatures, args);
    let (sort, rest) = args.split_first().ok_or_else(refused)?;
    let (k, columns) = rest.split_last().ok_or_else(refused)?;
    let sort_and_k = [sort.clone(), k.clone()];
    let (index, bound) = signature::choose(function.name, &signatures, &sort_and_k, widening).map_err(|_| refused())?;
    let resolved = signatures[index].resolved(&sort_and_k, &bound).ok_or_else(refused)?;
    let mut types = vec![resolved.args[0].clone()];
    for column in columns {
        match column {
            ArgType::Sql(ty) => types.push(ty.clone()),
            _ => return Err(refused()),
        }
    }
    let returns = SqlType::array(topk_entry(&types));
    Ok(ResolvedAggregate { args: types, constants: 1, returns, undo: function.undo })
}

fn topk_entry(types: &[SqlType]) -> SqlType {
    let names = std::iter::once(String::from("sort_col")).chain((0..).map(|i| format!("col{i}")));
    SqlType::structure(names.zip(types.iter().cloned()))
}

/// Whether ksqlDB keeps the function's state as one value of no nested type, if its result is one.
pub fn has_plain_state(name: &str) -> bool {
    ["COUNT", "SUM", "MIN", "MAX", "SUM_LIST"].contains(&name) || test_only::known(name).is_some()
}

/// Makes an aggregate for arguments of exactly these types. `limits`: settings by name
/// (`ksql.functions.collect_list.limit` …).
pub fn create(
    name: &str,
    args: &[SqlType],
    constants: &[Value],
    limits: &BTreeMap<String, String>,
) -> Result<Box<dyn Aggregator>> {
    if let Some(name) = test_only::known(name) {
        return test_only::create(name, args, constants);
    }
    let name = find(name)?.name;
    let argument = || args.first().ok_or_else(|| Error::internal(format!("{name} was given no argument")));
    let limit = |setting: &str| limits.get(setting).and_then(|v| v.parse().ok()).unwrap_or(i32::MAX as usize);
    let list =
        |rule: Rule| -> Result<Box<dyn Aggregator>> { Ok(Box::new(ListAggregate::new(rule, argument()?, false)?)) };
    Ok(match name {
        "ATTR" => Box::new(Tally::new(Shown::Attribute, argument()?)?),
        "AVG" => numeric::average(argument()?)?,
        "COLLECT_LIST" => list(Rule::List { limit: limit("ksql.functions.collect_list.limit") })?,
        "COLLECT_SET" => list(Rule::Set { limit: limit("ksql.functions.collect_set.limit") })?,
        "CORRELATION" => Box::new(correlation::Correlation::default()),
        "COUNT" => Box::new(numeric::Count::default()),
        "COUNT_DISTINCT" => Box::new(sketch::CountDistinct::new(argument()?)?),
        "EARLIEST_BY_OFFSET" | "LATEST_BY_OFFSET" => by_offset(name, argument()?, constants)?,
        "HISTOGRAM" => Box::new(Tally::new(Shown::Histogram { values_max: HISTOGRAM_VALUES_MAX }, argument()?)?),
        "MAX" => extreme(Extreme::Greatest, argument()?)?,
        "MIN" => extreme(Extreme::Least, argument()?)?,
        "STDDEV_SAMP" => numeric::variance(argument()?, false)?,
        "STDDEV_SAMPLE" => numeric::variance(argument()?, true)?,
        "SUM" => numeric::sum(argument()?, limits.get("ksql.strict").is_some_and(|strict| strict == "true"))?,
        "SUM_LIST" => match argument()? {
            SqlType::Array(item) => Box::new(sum_list::SumList::new(item)?),
            other => return Err(Error::internal(format!("SUM_LIST has no form for {other}"))),
        },
        "TOPK" | "TOPKDISTINCT" => {
            let k = whole_number(name, "k", constants.first())?;
            let rule = Rule::Top { k, distinct: name == "TOPKDISTINCT" };
            match args {
                [first, _, ..] => Box::new(ListAggregate::ordered_structs(rule, &topk_entry(args), first)?),
                _ => list(rule)?,
            }
        }
        other => return Err(Error::internal(format!("{other} is listed but cannot be made"))),
    })
}

fn by_offset(name: &str, ty: &SqlType, constants: &[Value]) -> Result<Box<dyn Aggregator>> {
    let latest = name == "LATEST_BY_OFFSET";
    let count = constants.iter().find(|value| !matches!(value, Value::Boolean(_)));
    let ignore_nulls = !constants.contains(&Value::Boolean(false));
    let parameter = if latest { "latestN" } else { "earliestN" };
    let n = match count {
        Some(value) => whole_number(name, parameter, Some(value))?,
        None => 1,
    };
    if n == 0 {
        return Err(Error::statement(format!("{parameter} must be 1 or greater")));
    }
    if count.is_none()
        && ignore_nulls
        && let Some(aggregator) = offset::by_offset(latest, ty)
    {
        return Ok(aggregator);
    }
    let rule = match latest {
        true => Rule::Latest { n, ignore_nulls },
        false => Rule::Earliest { n, ignore_nulls },
    };
    Ok(Box::new(ListAggregate::new(rule, ty, count.is_none())?))
}

fn whole_number(name: &str, parameter: &str, value: Option<&Value>) -> Result<usize> {
    let number = match value {
        Some(Value::Integer(number)) => i64::from(*number),
        Some(Value::Bigint(number)) => *number,
        _ => return Err(Error::statement(format!("{name} needs a whole number as {parameter}"))),
    };
    Ok(number.max(0) as usize)
}

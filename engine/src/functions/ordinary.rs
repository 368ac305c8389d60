//! Scalar functions that ksqlDB does not have: DataFusion's, for continuous queries as for bounded ones.
//!
//! What ksqlDB has under the same name wins. An argument may widen as ksqlDB widens (numbers upwards, a text where a date
//! or time is expected) and in no other way, however much DataFusion would convert. Left out are the functions that need
//! more than columns: those of the present (`now`), and those whose result type a constant decides.
//!
//! ```text
//! LEVENSHTEIN('kitten', NAME)     STARTS_WITH(NAME, 'a')     DATE_PART('hour', TS)     FACTORIAL(N)
//! ```
//!
//! With `ksql.strict` they do not exist.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use ::datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use ::datafusion::logical_expr::{ReturnFieldArgs, ScalarUDF, Volatility};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};

use super::scalar::{self, Evaluation};
use super::signature::widens;
use super::udf::run_datafusions;
use super::values::conform;
use super::{ArgType, Example, FunctionInfo, FunctionKind, Resolved, SignatureInfo};
use crate::error::{Error, Result};
use crate::types::SqlType;

const CATEGORY: &str = "ORDINARY SQL";

/// Functions about Arrow's types, of which SQL knows nothing, and one that only reports DataFusion's version.
const LEFT_OUT: [&str; 8] = [
    "ARROW_CAST",
    "ARROW_FIELD",
    "ARROW_METADATA",
    "ARROW_TRY_CAST",
    "ARROW_TYPEOF",
    "WITH_METADATA",
    "CAST_TO_TYPE",
    "VERSION",
];

struct Ordinary {
    function: Arc<ScalarUDF>,
    description: String,
}

static REGISTRY: LazyLock<BTreeMap<String, Ordinary>> = LazyLock::new(|| {
    let all = ::datafusion::functions::all_default_functions()
        .into_iter()
        .chain(::datafusion::functions_nested::all_default_nested_functions());
    let mut registry = BTreeMap::new();
    for function in all.filter(|function| function.signature().volatility != Volatility::Stable) {
        let description = function.documentation().map(|doc| first_line(&doc.description)).unwrap_or_default();
        for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
            let name = name.to_uppercase();
            if super::kind_of(&name).is_none() && !LEFT_OUT.contains(&name.as_str()) {
                let function = Arc::clone(&function);
                registry.insert(name, Ordinary { function, description: description.clone() });
            }
        }
    }
    registry
});

fn first_line(text: &str) -> String {
    text.trim().lines().next().unwrap_or_default().to_string()
}

pub fn exists(name: &str) -> bool {
    REGISTRY.contains_key(&name.to_uppercase())
}

/// Whether the same arguments give the same value.
pub fn is_deterministic(name: &str) -> bool {
    find(name).is_ok_and(|known| known.function.signature().volatility == Volatility::Immutable)
}

pub fn list() -> Vec<FunctionInfo> {
    REGISTRY
        .iter()
        .map(|(name, known)| FunctionInfo {
            name,
            kind: FunctionKind::Scalar,
            category: CATEGORY,
            description: &known.description,
            example: Example::default(),
            differs: None,
            signatures: vec![SignatureInfo {
                arguments: known
                    .function
                    .documentation()
                    .and_then(|doc| doc.arguments.as_ref())
                    .map(|arguments| arguments.iter().map(|(name, _)| (name.clone(), "any".into(), false)).collect())
                    .unwrap_or_default(),
                returns: "any".into(),
                description: known.description.clone(),
            }],
        })
        .collect()
}

fn find(name: &str) -> Result<&'static Ordinary> {
    REGISTRY.get(&name.to_uppercase()).ok_or_else(|| scalar::unknown(name))
}

/// A call of a DataFusion function: what DataFusion wants its arguments cast to, and what it gives.
struct Call {
    function: Arc<ScalarUDF>,
    fields: Vec<FieldRef>,
    returns: FieldRef,
}

impl Call {
    /// `types` are those of the arguments; the error says why they do not fit.
    fn new(name: &str, types: &[DataType]) -> Result<Call> {
        let function = Arc::clone(&find(name)?.function);
        let field = |ty: &DataType| Arc::new(Field::new("argument", ty.clone(), true));
        let given: Vec<FieldRef> = types.iter().map(field).collect();
        let fields = fields_with_udf(&given, function.as_ref()).map_err(|e| refused(name, types, &e))?;
        let scalars = vec![None; fields.len()];
        let args = ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &scalars };
        let returns = function.return_field_from_args(args).map_err(|e| refused(name, types, &e))?;
        Ok(Call { function, fields, returns })
    }

    fn invoke(&self, columns: &[ArrayRef], rows: usize) -> std::result::Result<ArrayRef, String> {
        let columns = columns
            .iter()
            .zip(&self.fields)
            .map(|(column, field)| cast(column, field.data_type()))
            .collect::<std::result::Result<_, String>>()?;
        run_datafusions(&self.function, &self.fields, &self.returns, columns, rows)
    }
}

fn cast(column: &ArrayRef, ty: &DataType) -> std::result::Result<ArrayRef, String> {
    match column.data_type() == ty {
        true => Ok(Arc::clone(column)),
        false => arrow::compute::cast(column, ty).map_err(|e| e.to_string()),
    }
}

fn refused(name: &str, types: &[DataType], why: &dyn std::fmt::Display) -> Error {
    let types: Vec<String> =
        types.iter().map(|ty| SqlType::from_arrow(ty).map_or_else(|_| ty.to_string(), |ty| ty.to_string())).collect();
    Error::statement(format!("Function '{}' does not accept parameters ({}).", name.to_lowercase(), types.join(", ")))
        .with_hint(first_line(&why.to_string()))
}

fn arrow_types(args: &[ArgType]) -> Result<Vec<DataType>> {
    args.iter()
        .map(|arg| match arg {
            ArgType::Sql(ty) => Ok(ty.to_arrow()),
            ArgType::Null => Ok(DataType::Null),
            ArgType::IntervalUnit => Ok(DataType::Utf8),
            ArgType::Lambda { .. } => Err(Error::statement("a lambda is no argument of this function")),
        })
        .collect()
}

/// The types of a call, if ksqlDB's widening alone leads to them.
pub fn resolve(name: &str, args: &[ArgType]) -> Result<Resolved> {
    let given = arrow_types(args)?;
    let call = Call::new(name, &given)?;
    let types = call.fields.iter().map(|field| SqlType::from_arrow(field.data_type())).collect::<Result<Vec<_>>>()?;
    for (arg, ty) in args.iter().zip(&types) {
        if let ArgType::Sql(from) = arg
            && from != ty
            && !widens(from, ty)
        {
            let why = format!("{from} does not widen to {ty}; CAST it");
            return Err(refused(name, &given, &why));
        }
    }
    Ok(Resolved { args: types, returns: SqlType::from_arrow(call.returns.data_type())? })
}

/// The evaluation of a call whose arguments have exactly these types, and whether it may be computed ahead.
pub fn evaluation(name: &str, args: &[ArgType]) -> Result<(Evaluation, bool)> {
    let call = Call::new(name, &arrow_types(args)?)?;
    let evaluate: Evaluation = Arc::new(move |columns, ctx| {
        let value = call.invoke(columns, ctx.rows)?;
        let wanted = ctx.returns.to_arrow();
        conform(cast(&value, &wanted)?, &wanted)
    });
    Ok((evaluate, is_deterministic(name)))
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::functions::scalar::CallContext;

    fn call(name: &str, types: &[SqlType], columns: &[ArrayRef]) -> ArrayRef {
        let args: Vec<ArgType> = types.iter().cloned().map(ArgType::Sql).collect();
        let resolved = resolve(name, &args).unwrap();
        let settled: Vec<ArgType> = resolved.args.iter().cloned().map(ArgType::Sql).collect();
        let (evaluate, _) = evaluation(name, &settled).unwrap();
        let rows = columns[0].len();
        let context = CallContext { types: &resolved.args, returns: &resolved.returns, rows, lambdas: &[] };
        evaluate(columns, &context).unwrap()
    }

    #[test]
    fn what_ksqldb_does_not_have_is_datafusions() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("kitten"), None]));
        let others: ArrayRef = Arc::new(StringArray::from(vec![Some("sitting"), Some("x")]));
        let text = SqlType::String;
        let distance = call("levenshtein", &[text.clone(), text], &[texts, others]);
        assert_eq!(arrow::compute::cast(&distance, &DataType::Int64).unwrap().as_primitive::<Int64Type>().value(0), 3);
        assert!(distance.is_null(1));
        let factorial = call("FACTORIAL", &[SqlType::Bigint], &[Arc::new(Int64Array::from(vec![5]))]);
        assert_eq!(factorial.as_primitive::<Int64Type>().value(0), 120);
    }

    #[test]
    fn arguments_widen_as_ksqldbs_do_and_no_further() {
        assert!(resolve("FACTORIAL", &[ArgType::Sql(SqlType::Integer)]).is_ok());
        assert!(resolve("FACTORIAL", &[ArgType::Sql(SqlType::String)]).is_err());
        assert!(resolve("STARTS_WITH", &[ArgType::Sql(SqlType::Integer), ArgType::Sql(SqlType::String)]).is_err());
    }

    #[test]
    fn a_name_of_ksqldb_is_ksqldbs() {
        for name in ["SUBSTRING", "ROUND", "CONCAT", "now", "arrow_typeof"] {
            assert!(!exists(name), "{name}");
        }
    }
}

//! Scalar functions: every function is one place, made of a name, a text and its overloads.
//!
//! ```text
//! ScalarFunction::new("LEN", "STRING", "Number of characters of a text, or of bytes.")
//!     .example("LEN('abc')", "3")
//!     .overload("(STRING text) -> INT", |args, _| map1::<Str, Int32Type>(args, |text| …))
//!     .overload("(BYTES bytes) -> INT", |args, _| …)
//! ```
//!
//! An overload takes whole columns and gives a whole column of the type it resolved to. It fails as a whole if one row
//! fails; the evaluator then finds that row. Each file beside this one holds a family: add a function to its list.

mod array_order;
mod arrays;
mod bytes;
mod dates;
mod json;
mod lambdas;
mod maps;
mod masks;
mod mathematics;
mod nulls;
mod numbers;
mod regexps;
mod test_only;
mod text;
mod urls;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, UInt32Array};

use super::signature::{self, Bindings, ParamType, Signature, Widening};
use super::{ArgType, Example, FunctionInfo, FunctionKind, Resolved, SignatureInfo};
use crate::config::distance;
use crate::error::{Error, Result};
use crate::types::SqlType;

/// A column, or why one row of it cannot be computed.
pub type Evaluated = std::result::Result<ArrayRef, String>;

/// What an evaluation may know beside its arguments.
pub struct CallContext<'a> {
    /// Types of the arguments, lambdas left out.
    pub types: &'a [SqlType],
    pub returns: &'a SqlType,
    /// Number of rows, for functions without arguments.
    pub rows: usize,
    /// The call's lambdas in order; they are not among the arguments.
    pub lambdas: &'a [&'a dyn LambdaBody],
}

/// A lambda's body over columns: one value for each of the flattened elements.
pub trait LambdaBody {
    /// `parameters`: a column each. `rows`: the row of the call that each element belongs to, for outer columns.
    fn evaluate(&self, parameters: Vec<ArrayRef>, rows: &UInt32Array) -> Evaluated;
}

pub type Evaluation = Arc<dyn Fn(&[ArrayRef], &CallContext<'_>) -> Evaluated + Send + Sync>;

/// Adjusts what a signature alone cannot say: precision and scale of decimals.
pub type Refine = fn(&mut Resolved) -> std::result::Result<(), String>;

pub struct ScalarFunction {
    pub name: &'static str,
    /// The name as ksqlDB's messages write it.
    printed: String,
    category: &'static str,
    description: &'static str,
    example: Example,
    /// How it differs from DataFusion's function of the same name.
    differs: Option<&'static str>,
    /// Same arguments give the same value.
    deterministic: bool,
    overloads: Vec<Overload>,
}

struct Overload {
    signature: Signature,
    refine: Option<Refine>,
    evaluate: Evaluate,
}

enum Evaluate {
    Shared(Evaluation),
    /// Remembers something from row to row: one for each expression.
    Own(fn() -> Evaluation),
}

impl ScalarFunction {
    /// `name` in upper case; messages print it in lower case unless [`ScalarFunction::printed`] says otherwise.
    pub fn new(name: &'static str, category: &'static str, description: &'static str) -> Self {
        let printed = name.to_ascii_lowercase();
        Self {
            name,
            printed,
            category,
            description,
            example: Example::default(),
            differs: None,
            deterministic: true,
            overloads: Vec::new(),
        }
    }

    /// A call without columns, and its value as text.
    pub fn example(mut self, call: &'static str, gives: &'static str) -> Self {
        self.example = Example { call, over: None, gives };
        self
    }

    /// How it differs from DataFusion's function of the same name.
    pub fn differs(mut self, how: &'static str) -> Self {
        self.differs = Some(how);
        self
    }

    pub fn printed(mut self, printed: &str) -> Self {
        self.printed = printed.to_string();
        self
    }

    /// Has state or chance: never evaluated ahead, once per row.
    pub fn volatile(mut self) -> Self {
        self.deterministic = false;
        self
    }

    pub fn overload(
        self,
        signature: &str,
        evaluate: impl Fn(&[ArrayRef], &CallContext<'_>) -> Evaluated + Send + Sync + 'static,
    ) -> Self {
        self.add(signature, None, evaluate)
    }

    /// An overload whose argument or result types depend on more than the signature says.
    pub fn overload_refined(
        self,
        signature: &str,
        refine: Refine,
        evaluate: impl Fn(&[ArrayRef], &CallContext<'_>) -> Evaluated + Send + Sync + 'static,
    ) -> Self {
        self.add(signature, Some(refine), evaluate)
    }

    /// An overload that remembers something from row to row.
    pub fn overload_with_state(mut self, signature: &str, evaluate: fn() -> Evaluation) -> Self {
        let evaluate = Evaluate::Own(evaluate);
        self.overloads.push(Overload { signature: Signature::parse(signature), refine: None, evaluate });
        self.volatile()
    }

    fn add(
        mut self,
        signature: &str,
        refine: Option<Refine>,
        evaluate: impl Fn(&[ArrayRef], &CallContext<'_>) -> Evaluated + Send + Sync + 'static,
    ) -> Self {
        self.overloads.push(Overload {
            signature: Signature::parse(signature),
            refine,
            evaluate: Evaluate::Shared(Arc::new(evaluate)),
        });
        self
    }

    fn signatures(&self) -> Vec<&Signature> {
        self.overloads.iter().map(|o| &o.signature).collect()
    }

    fn choose(&self, args: &[ArgType], widening: Widening) -> Result<(&Overload, Bindings)> {
        let (index, bound) = signature::choose(&self.printed, &self.signatures(), args, widening)?;
        Ok((&self.overloads[index], bound))
    }

    fn resolve(&self, args: &[ArgType], widening: Widening) -> Result<(&Overload, Resolved)> {
        let refused = || signature::not_accepted(&self.printed, &self.signatures(), args);
        let (overload, bound) = self.choose(args, widening)?;
        let mut resolved = overload.signature.resolved(args, &bound).ok_or_else(refused)?;
        if let Some(refine) = overload.refine {
            refine(&mut resolved).map_err(|_| refused())?;
        }
        Ok((overload, resolved))
    }
}

/// Every scalar function by name.
static REGISTRY: LazyLock<BTreeMap<&'static str, ScalarFunction>> = LazyLock::new(|| {
    [
        numbers::functions(),
        mathematics::functions(),
        text::functions(),
        regexps::functions(),
        masks::functions(),
        bytes::functions(),
        json::functions(),
        arrays::functions(),
        array_order::functions(),
        maps::functions(),
        lambdas::functions(),
        nulls::functions(),
        dates::functions(),
        urls::functions(),
    ]
    .into_iter()
    .flatten()
    .map(|function| (function.name, function))
    .collect()
});

/// Functions that only test suites call.
static TEST_REGISTRY: LazyLock<BTreeMap<&'static str, ScalarFunction>> =
    LazyLock::new(|| test_only::functions().into_iter().map(|function| (function.name, function)).collect());

fn known(name: &str) -> Option<&'static ScalarFunction> {
    let upper = name.to_ascii_uppercase();
    REGISTRY
        .get(upper.as_str())
        .or_else(|| super::test_functions_enabled().then(|| TEST_REGISTRY.get(upper.as_str())).flatten())
}

fn find(name: &str) -> Result<&'static ScalarFunction> {
    known(name).ok_or_else(|| unknown(name))
}

/// ksqlDB's message for a name that no function has, with the nearest one there is.
pub fn unknown(name: &str) -> Error {
    let error = Error::statement(format!("Can't find any functions with the name '{name}'"));
    let upper = name.to_ascii_uppercase();
    match REGISTRY.keys().map(|known| (distance(known, &upper), known)).min() {
        Some((edits, known)) if edits <= 2 => error.with_hint(format!("did you mean {known}?")),
        _ => error.with_hint("SHOW FUNCTIONS lists them all".to_string()),
    }
}

pub fn exists(name: &str) -> bool {
    known(name).is_some()
}

/// Names of all scalar functions, upper case.
pub fn names() -> impl Iterator<Item = &'static str> {
    REGISTRY.keys().copied()
}

/// Whether calls of the function have lambdas among their arguments.
pub fn takes_lambda(name: &str) -> bool {
    let is_lambda = |p: &signature::Parameter| matches!(p.ty, ParamType::Lambda { .. });
    find(name).is_ok_and(|f| f.overloads.iter().any(|o| o.signature.parameters.iter().any(is_lambda)))
}

pub fn is_deterministic(name: &str) -> bool {
    find(name).is_ok_and(|f| f.deterministic)
}

pub fn list() -> Vec<FunctionInfo> {
    REGISTRY
        .values()
        .map(|function| FunctionInfo {
            name: function.name,
            kind: FunctionKind::Scalar,
            category: function.category,
            description: function.description,
            example: function.example,
            differs: function.differs,
            signatures: function.overloads.iter().map(|o| describe(&o.signature, function.description)).collect(),
        })
        .collect()
}

pub(super) fn describe(signature: &Signature, description: &str) -> SignatureInfo {
    let last = signature.parameters.len().saturating_sub(1);
    SignatureInfo {
        arguments: signature
            .parameters
            .iter()
            .enumerate()
            .map(|(i, p)| (p.name.clone(), p.ty.to_string(), signature.variadic && i == last))
            .collect(),
        returns: signature.returns.to_string(),
        description: description.to_string(),
    }
}

pub fn resolve(name: &str, args: &[ArgType], widening: Widening) -> Result<Resolved> {
    Ok(find(name)?.resolve(args, widening)?.1)
}

pub fn lambda_parameters(name: &str, args: &[ArgType], index: usize) -> Result<Vec<SqlType>> {
    let function = find(name)?;
    signature::lambda_inputs(&function.printed, &function.signatures(), args, index)
}

/// `args` with a STRING in front as an interval unit, which plans keep as text; None without one.
pub fn unit_in_front(args: &[ArgType]) -> Option<Vec<ArgType>> {
    match args {
        [ArgType::Sql(SqlType::String), rest @ ..] => {
            Some(std::iter::once(ArgType::IntervalUnit).chain(rest.iter().cloned()).collect())
        }
        _ => None,
    }
}

/// The evaluation of a call whose arguments have exactly these types, and whether it may be computed ahead.
pub fn evaluation(name: &str, args: &[ArgType]) -> Result<(Evaluation, bool)> {
    let function = find(name)?;
    let (overload, _) = function.choose(args, Widening::Everywhere).or_else(|refused| match unit_in_front(args) {
        Some(args) => function.choose(&args, Widening::Everywhere).map_err(|_| refused),
        None => Err(refused),
    })?;
    let evaluate = match &overload.evaluate {
        Evaluate::Shared(evaluate) => Arc::clone(evaluate),
        Evaluate::Own(make) => make(),
    };
    Ok((evaluate, function.deterministic))
}

#[cfg(test)]
mod tests;

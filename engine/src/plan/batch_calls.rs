//! Calls that sqlparser has syntax of its own for, as calls of our functions.
//!
//! | text | sqlparser's tree | becomes |
//! |---|---|---|
//! | `SUBSTRING(a, -3, 2)`, `SUBSTRING(a FROM 2)` | `Substring` | a call of `SUBSTRING` |
//! | `TRIM(a)` | `Trim` | a call of `TRIM` |
//!
//! Left as they are, DataFusion would take its own functions for them. `TRIM(LEADING 'x' FROM a)` stays: it says something
//! that ksqlDB's TRIM does not.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, Query,
    Value, VisitMut, VisitorMut,
};

pub(super) fn as_calls(query: &mut Query) {
    let ControlFlow::Continue(()) = VisitMut::visit(query, &mut Calls);
}

struct Calls;

impl VisitorMut for Calls {
    type Break = std::convert::Infallible;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let special = matches!(
            expr,
            Expr::Substring { substring_from: Some(_), .. }
                | Expr::Trim { trim_where: None, trim_what: None, trim_characters: None, .. }
        );
        if special {
            *expr = match std::mem::replace(expr, Expr::value(Value::Null)) {
                Expr::Substring { expr: text, substring_from, substring_for, .. } => {
                    call("SUBSTRING", [Some(text), substring_from, substring_for].into_iter().flatten())
                }
                Expr::Trim { expr: text, .. } => call("TRIM", std::iter::once(text)),
                other => other,
            };
        }
        ControlFlow::Continue(())
    }
}

fn call(name: &str, args: impl Iterator<Item = Box<Expr>>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(*arg))).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

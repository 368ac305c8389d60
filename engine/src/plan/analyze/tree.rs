//! Rebuilding expressions where the replacement may be refused.
//!
//! A lambda's parameters are not columns: `x` in `(x) => x + V` is never handed to the callback, `V` is.

use super::walk::{deep, map_children};
use crate::error::{Position, Result};
use crate::sql::ast::Expr;

/// `expr` with the topmost parts replaced for which `f` gives something.
pub(super) fn replace(expr: &Expr, f: &mut dyn FnMut(&Expr) -> Result<Option<Expr>>) -> Result<Expr> {
    let mut failure = None;
    let rebuilt = replace_in(expr, &mut Vec::new(), &mut |part| match f(part) {
        Ok(replacement) => replacement,
        Err(error) => {
            failure.get_or_insert(error);
            Some(part.clone())
        }
    });
    match failure {
        None => Ok(rebuilt),
        Some(error) => Err(error),
    }
}

fn replace_in(expr: &Expr, bound: &mut Vec<String>, f: &mut dyn FnMut(&Expr) -> Option<Expr>) -> Expr {
    deep(|| {
        if matches!(expr, Expr::Column { source: None, name, .. } if bound.contains(name)) {
            return expr.clone();
        }
        if let Some(replacement) = f(expr) {
            return replacement;
        }
        let outer = bound.len();
        if let Expr::Lambda { parameters, .. } = expr {
            bound.extend(parameters.iter().cloned());
        }
        let rebuilt = map_children(expr, &mut |child| replace_in(child, bound, f));
        bound.truncate(outer);
        rebuilt
    })
}

/// An unqualified column reference.
pub(super) fn column(name: &str, position: Position) -> Expr {
    Expr::Column { source: None, name: name.to_string(), position }
}

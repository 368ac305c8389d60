//! Looking through syntax trees: children, search, substitution, and equality that ignores where things stand.

use crate::error::Position;
use crate::functions::{FunctionKind, kind_of};
use crate::sql::ast::Expr;

/// Runs `f` with room for deep trees: a chain of a thousand `+` is a thousand levels.
pub fn deep<T>(f: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(128 * 1024, 4 * 1024 * 1024, f)
}

/// The direct parts of an expression, in order.
pub fn children(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Literal(_) | Expr::Column { .. } | Expr::IntervalUnit(_) => Vec::new(),
        Expr::Negate(e) | Expr::Plus(e) | Expr::Not(e) => vec![e],
        Expr::IsNull { expr, .. } | Expr::Cast { expr, .. } | Expr::AtTimeZone { expr, .. } => vec![expr],
        Expr::Arithmetic { left, right, .. } | Expr::Concat { left, right } | Expr::Comparison { left, right, .. } => {
            vec![left, right]
        }
        Expr::And(left, right) | Expr::Or(left, right) => vec![left, right],
        Expr::Between { expr, low, high, .. } => vec![expr, low, high],
        Expr::In { expr, list, .. } => std::iter::once(&**expr).chain(list).collect(),
        Expr::Like { expr, pattern, .. } => vec![expr, pattern],
        Expr::Case { operand, branches, otherwise } => operand
            .iter()
            .map(|e| &**e)
            .chain(branches.iter().flat_map(|(when, then)| [when, then]))
            .chain(otherwise.iter().map(|e| &**e))
            .collect(),
        Expr::Call { args, .. } => args.iter().collect(),
        Expr::Subscript { base, index } => vec![base, index],
        Expr::Field { base, .. } => vec![base],
        Expr::Array(items) => items.iter().collect(),
        Expr::Map(entries) => entries.iter().flat_map(|(k, v)| [k, v]).collect(),
        Expr::Struct(fields) => fields.iter().map(|(_, v)| v).collect(),
        Expr::Lambda { body, .. } => vec![body],
    }
}

/// The same expression with every direct part replaced.
pub fn map_children(expr: &Expr, f: &mut dyn FnMut(&Expr) -> Expr) -> Expr {
    let mut boxed = |e: &Expr| Box::new(f(e));
    match expr {
        Expr::Literal(_) | Expr::Column { .. } | Expr::IntervalUnit(_) => expr.clone(),
        Expr::Negate(e) => Expr::Negate(boxed(e)),
        Expr::Plus(e) => Expr::Plus(boxed(e)),
        Expr::Not(e) => Expr::Not(boxed(e)),
        Expr::IsNull { expr, negated } => Expr::IsNull { expr: boxed(expr), negated: *negated },
        Expr::Cast { expr, ty } => Expr::Cast { expr: boxed(expr), ty: ty.clone() },
        Expr::AtTimeZone { expr, zone } => Expr::AtTimeZone { expr: boxed(expr), zone: zone.clone() },
        Expr::Arithmetic { op, left, right } => Expr::Arithmetic { op: *op, left: boxed(left), right: boxed(right) },
        Expr::Concat { left, right } => Expr::Concat { left: boxed(left), right: boxed(right) },
        Expr::Comparison { op, left, right } => Expr::Comparison { op: *op, left: boxed(left), right: boxed(right) },
        Expr::And(left, right) => Expr::And(boxed(left), boxed(right)),
        Expr::Or(left, right) => Expr::Or(boxed(left), boxed(right)),
        Expr::Between { expr, low, high, negated } => {
            Expr::Between { expr: boxed(expr), low: boxed(low), high: boxed(high), negated: *negated }
        }
        Expr::In { expr, list, negated } => {
            Expr::In { expr: boxed(expr), list: list.iter().map(f).collect(), negated: *negated }
        }
        Expr::Like { expr, pattern, escape, negated } => {
            Expr::Like { expr: boxed(expr), pattern: boxed(pattern), escape: escape.clone(), negated: *negated }
        }
        Expr::Case { operand, branches, otherwise } => Expr::Case {
            operand: operand.as_ref().map(|e| Box::new(f(e))),
            branches: branches.iter().map(|(when, then)| (f(when), f(then))).collect(),
            otherwise: otherwise.as_ref().map(|e| Box::new(f(e))),
        },
        Expr::Call { name, args, star, position } => {
            Expr::Call { name: name.clone(), args: args.iter().map(f).collect(), star: *star, position: *position }
        }
        Expr::Subscript { base, index } => Expr::Subscript { base: boxed(base), index: boxed(index) },
        Expr::Field { base, field } => Expr::Field { base: boxed(base), field: field.clone() },
        Expr::Array(items) => Expr::Array(items.iter().map(f).collect()),
        Expr::Map(entries) => Expr::Map(entries.iter().map(|(k, v)| (f(k), f(v))).collect()),
        Expr::Struct(fields) => Expr::Struct(fields.iter().map(|(n, v)| (n.clone(), f(v))).collect()),
        Expr::Lambda { parameters, body } => Expr::Lambda { parameters: parameters.clone(), body: boxed(body) },
    }
}

/// Visits `expr` and its parts, outermost first; parts of an expression are left out if `visit` returns false for it.
pub fn visit<'e>(expr: &'e Expr, visit: &mut dyn FnMut(&'e Expr) -> bool) {
    fn go<'e>(expr: &'e Expr, visit: &mut dyn FnMut(&'e Expr) -> bool) {
        deep(|| {
            if visit(expr) {
                for child in children(expr) {
                    go(child, visit);
                }
            }
        });
    }
    go(expr, visit);
}

/// `expr` with every part for which `replace` has an answer replaced by it, outermost first.
pub fn substitute(expr: &Expr, replace: &dyn Fn(&Expr) -> Option<Expr>) -> Expr {
    deep(|| match replace(expr) {
        Some(other) => other,
        None => map_children(expr, &mut |child| substitute(child, replace)),
    })
}

/// Calls of aggregate functions, outermost first, also those nested in others.
pub fn find_aggregates(expr: &Expr) -> Vec<&Expr> {
    find_calls(expr, FunctionKind::Aggregate)
}

/// Calls of table functions, outermost first.
pub fn find_table_functions(expr: &Expr) -> Vec<&Expr> {
    find_calls(expr, FunctionKind::Table)
}

fn find_calls(expr: &Expr, kind: FunctionKind) -> Vec<&Expr> {
    let mut found = Vec::new();
    visit(expr, &mut |e| {
        if let Expr::Call { name, .. } = e
            && kind_of(name) == Some(kind)
        {
            found.push(e);
        }
        true
    });
    found
}

/// A column named in an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnUse<'e> {
    pub source: Option<&'e str>,
    pub name: &'e str,
    pub position: Position,
}

/// Every column named, in order of appearance; parameters of lambdas are none.
pub fn collect_columns(expr: &Expr) -> Vec<ColumnUse<'_>> {
    fn go<'e>(expr: &'e Expr, bound: &mut Vec<&'e str>, found: &mut Vec<ColumnUse<'e>>) {
        deep(|| match expr {
            Expr::Column { source, name, position } => {
                if source.is_some() || !bound.contains(&name.as_str()) {
                    found.push(ColumnUse { source: source.as_deref(), name, position: *position });
                }
            }
            Expr::Lambda { parameters, body } => {
                let outer = bound.len();
                bound.extend(parameters.iter().map(String::as_str));
                go(body, bound, found);
                bound.truncate(outer);
            }
            other => {
                for child in children(other) {
                    go(child, bound, found);
                }
            }
        });
    }
    let mut found = Vec::new();
    go(expr, &mut Vec::new(), &mut found);
    found
}

/// Where the first column or call of an expression stands.
pub fn position(expr: &Expr) -> Option<Position> {
    let mut first = None;
    visit(expr, &mut |e| {
        if let (None, Expr::Column { position, .. } | Expr::Call { position, .. }) = (&first, e) {
            first = Some(*position);
        }
        first.is_none()
    });
    first
}

/// Whether two expressions are the same but for where they stand.
pub fn same(left: &Expr, right: &Expr) -> bool {
    deep(|| {
        if !same_head(left, right) {
            return false;
        }
        let (left, right) = (children(left), children(right));
        left.len() == right.len() && left.iter().zip(&right).all(|(l, r)| same(l, r))
    })
}

/// Whether two expressions are the same but for their parts and where they stand.
fn same_head(left: &Expr, right: &Expr) -> bool {
    use Expr::{
        And, Arithmetic, Array, AtTimeZone, Between, Call, Case, Cast, Column, Comparison, Concat, Field, In,
        IntervalUnit, IsNull, Lambda, Like, Literal, Map, Negate, Not, Or, Plus, Struct, Subscript,
    };
    match (left, right) {
        (Literal(l), Literal(r)) => l == r,
        (Column { source: ls, name: ln, .. }, Column { source: rs, name: rn, .. }) => ls == rs && ln == rn,
        (Arithmetic { op: l, .. }, Arithmetic { op: r, .. }) => l == r,
        (Comparison { op: l, .. }, Comparison { op: r, .. }) => l == r,
        (IsNull { negated: l, .. }, IsNull { negated: r, .. })
        | (Between { negated: l, .. }, Between { negated: r, .. })
        | (In { negated: l, .. }, In { negated: r, .. }) => l == r,
        (Like { escape: le, negated: ln, .. }, Like { escape: re, negated: rn, .. }) => le == re && ln == rn,
        (Case { operand: lo, otherwise: ld, .. }, Case { operand: ro, otherwise: rd, .. }) => {
            lo.is_some() == ro.is_some() && ld.is_some() == rd.is_some()
        }
        (Cast { ty: l, .. }, Cast { ty: r, .. }) => l == r,
        (Call { name: ln, star: ls, .. }, Call { name: rn, star: rs, .. }) => ln.eq_ignore_ascii_case(rn) && ls == rs,
        (Field { field: l, .. }, Field { field: r, .. }) => l == r,
        (Struct(l), Struct(r)) => l.iter().map(|(name, _)| name).eq(r.iter().map(|(name, _)| name)),
        (Lambda { parameters: l, .. }, Lambda { parameters: r, .. }) => l == r,
        (IntervalUnit(l), IntervalUnit(r)) | (AtTimeZone { zone: l, .. }, AtTimeZone { zone: r, .. }) => l == r,
        (Negate(_), Negate(_))
        | (Plus(_), Plus(_))
        | (Not(_), Not(_))
        | (And(..), And(..))
        | (Or(..), Or(..))
        | (Concat { .. }, Concat { .. })
        | (Subscript { .. }, Subscript { .. })
        | (Array(_), Array(_))
        | (Map(_), Map(_)) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, line: u64) -> Expr {
        Expr::Column { source: None, name: name.into(), position: Position { line, column: 1 } }
    }

    fn call(name: &str, args: Vec<Expr>) -> Expr {
        Expr::Call { name: name.into(), args, star: false, position: Position::default() }
    }

    #[test]
    fn sameness_ignores_positions() {
        assert!(same(&call("F", vec![column("A", 1)]), &call("F", vec![column("A", 9)])));
        assert!(!same(&column("A", 1), &column("B", 1)));
    }

    #[test]
    fn parameters_of_a_lambda_are_no_columns() {
        let body = Expr::Concat { left: Box::new(column("X", 1)), right: Box::new(column("A", 1)) };
        let lambda = Expr::Lambda { parameters: vec!["X".into()], body: Box::new(body) };
        let e = call("TRANSFORM", vec![column("B", 1), lambda, column("X", 2)]);
        assert_eq!(collect_columns(&e).iter().map(|c| c.name).collect::<Vec<_>>(), ["B", "A", "X"]);
    }

    #[test]
    fn substitution_replaces_the_outermost_match() {
        let e = call("F", vec![call("G", vec![column("A", 1)])]);
        let g = call("G", vec![column("A", 7)]);
        let replaced = substitute(&e, &|e| same(e, &g).then(|| column("N", 1)));
        assert_eq!(replaced, call("F", vec![column("N", 1)]));
    }

    #[test]
    fn long_chains_do_not_overflow_the_stack() {
        let mut e = column("A", 1);
        for _ in 0..5_000 {
            e = Expr::Concat { left: Box::new(e), right: Box::new(column("A", 1)) };
        }
        assert_eq!(collect_columns(&e).len(), 5_001);
    }
}

//! Keeping stored plans shallow enough to be read back.
//!
//! `a OR b OR c OR d` is written as a chain, one level per alternative; AND and OR keep their meaning and their order when
//! the chain becomes a tree of half the depth at each level. Nothing else can be rearranged: what is still too deep is
//! refused while planning, never when a stored plan is read.

use super::walk::deep;
use crate::error::{Error, Result};
use crate::plan::expr::{Expr, ExprKind};
use crate::plan::steps::Plan;
use crate::types::SqlType;

/// Whether a plan can be stored and read back.
pub(super) fn check_storable(plan: &Plan) -> Result<()> {
    let too_deep = || {
        Error::limit("an expression of this query is nested too deeply to be stored")
            .with_hint("split it into several queries, or compute parts of it in one SELECT and the rest in the next")
    };
    let text = serde_json::to_string(plan).map_err(|_| too_deep())?;
    serde_json::from_str::<Plan>(&text).map(drop).map_err(|_| too_deep())
}

/// The same expression with its chains of AND and OR as balanced trees.
pub(super) fn balanced(expr: Expr) -> Expr {
    deep(|| match expr.kind {
        ExprKind::And(..) | ExprKind::Or(..) => {
            let conjunction = matches!(expr.kind, ExprKind::And(..));
            let mut parts = Vec::new();
            flatten(expr, conjunction, &mut parts);
            tree(parts.into_iter().map(balanced).collect(), conjunction)
        }
        ExprKind::Not(inner) => Expr { kind: ExprKind::Not(Box::new(balanced(*inner))), ty: expr.ty },
        kind => Expr { kind, ty: expr.ty },
    })
}

fn flatten(expr: Expr, conjunction: bool, parts: &mut Vec<Expr>) {
    deep(|| match expr.kind {
        ExprKind::And(left, right) if conjunction => {
            flatten(*left, conjunction, parts);
            flatten(*right, conjunction, parts);
        }
        ExprKind::Or(left, right) if !conjunction => {
            flatten(*left, conjunction, parts);
            flatten(*right, conjunction, parts);
        }
        kind => parts.push(Expr { kind, ty: expr.ty }),
    });
}

fn tree(mut parts: Vec<Expr>, conjunction: bool) -> Expr {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let right = parts.split_off(parts.len() / 2);
    let (left, right) = (Box::new(tree(parts, conjunction)), Box::new(tree(right, conjunction)));
    let kind = if conjunction { ExprKind::And(left, right) } else { ExprKind::Or(left, right) };
    Expr { kind, ty: SqlType::Boolean }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth(expr: &Expr) -> usize {
        match &expr.kind {
            ExprKind::And(left, right) | ExprKind::Or(left, right) => 1 + depth(left).max(depth(right)),
            _ => 0,
        }
    }

    #[test]
    fn a_chain_becomes_a_tree_in_the_same_order() {
        let column = |i: usize| Expr::column(format!("C{i}"), SqlType::Boolean);
        let chain = (1..100).fold(column(0), |chain, i| Expr {
            kind: ExprKind::Or(Box::new(chain), Box::new(column(i))),
            ty: SqlType::Boolean,
        });
        let tree = balanced(chain);
        assert_eq!(depth(&tree), 7);
        let mut order = Vec::new();
        flatten(tree, false, &mut order);
        assert_eq!(order, (0..100).map(column).collect::<Vec<_>>());
    }
}

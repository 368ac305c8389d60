//! What ksqlDB means by an expression, where ordinary SQL would mean something else or nothing at all: rewritten into
//! calls of our functions before DataFusion binds the query.
//!
//! | text | sqlparser's tree | becomes |
//! |---|---|---|
//! | `SUBSTRING(a, -3, 2)`, `TRIM(a)` | syntax of their own | calls of `SUBSTRING`, `TRIM` |
//! | `CAST(a AS STRING)` | `Cast` | a call of our CAST (`functions::batch_casts`) |
//! | `1.55` | a number, DOUBLE to DataFusion | our CAST of `'1.55'` to DECIMAL(3, 2) |
//! | `MAP('k' := v)` | a call with assignments | `AS_MAP(ARRAY['k'], ARRAY[v])` |
//! | `STRUCT(f := v)` | the same | `named_struct('F', v)` |
//! | `TIMESTAMPADD(DAYS, 1, t)` | a column `DAYS` | the text `'DAYS'` |
//! | `s->f` | `CompoundFieldAccess` | `get_field(s, 'F')` |
//! | `SELECT a + 1, s->f` | without alias | `… AS KSQL_COL_0, … AS F` |
//!
//! `TRIM(LEADING 'x' FROM a)` stays, as it says something that ksqlDB's TRIM does not; so does a CAST to a type that only
//! ordinary SQL has.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, Array, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, OrderBy, OrderByKind, Query,
    SelectItem, SetExpr, Value, VisitMut, VisitorMut,
};

use super::analyze::{decimal_type, resolve_type, unused};
use crate::error::{Error, Result};
use crate::functions::batch_casts::CAST_AS;
use crate::sql::{interval_unit, takes_unit, type_name};
use crate::types::SqlType;

/// DataFusion's function for `s->f`.
const GET_FIELD: &str = "get_field";

/// `custom` finds the types made by CREATE TYPE; `columns` are the names that columns of the query's sources have.
pub(super) fn as_calls(
    query: &mut Query,
    custom: &dyn Fn(&str) -> Option<SqlType>,
    columns: &BTreeSet<String>,
) -> Result<()> {
    match VisitMut::visit(query, &mut Calls { custom, columns }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Calls<'a> {
    custom: &'a dyn Fn(&str) -> Option<SqlType>,
    columns: &'a BTreeSet<String>,
}

impl VisitorMut for Calls<'_> {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        // Before its arguments are looked at: a unit is no column, `k := v` no expression.
        if let Expr::Function(function) = expr
            && let Some(name) = plain_name(&function.name)
            && let FunctionArguments::List(list) = &mut function.args
        {
            if takes_unit(&name) {
                unit_as_text(&mut list.args);
            }
            match constructor(&name, &list.args) {
                Ok(Some(call)) => *expr = call,
                Ok(None) => {}
                Err(error) => return ControlFlow::Break(error),
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let replaced = match expr {
            Expr::Substring { expr: text, substring_from: Some(from), substring_for, .. } => {
                let args = [Some(&*text), Some(&*from), substring_for.as_ref()];
                Some(call("SUBSTRING", args.into_iter().flatten().map(|arg| (**arg).clone())))
            }
            Expr::Trim { expr: text, trim_where: None, trim_what: None, trim_characters: None, .. } => {
                Some(call("TRIM", [(**text).clone()]))
            }
            Expr::Cast { kind: CastKind::Cast, expr: value, data_type, format: None, .. } => {
                match self.cast_type(data_type) {
                    Ok(ty) => ty.map(|ty| cast((**value).clone(), &ty)),
                    Err(error) => return ControlFlow::Break(error),
                }
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                Some(access_chain.iter().fold((**root).clone(), reach_into))
            }
            Expr::Value(value) => match &value.value {
                Value::Number(text, _) if text.contains('.') && !text.contains(['e', 'E']) => {
                    decimal_type(text).map(|ty| cast(Expr::value(Value::SingleQuotedString(text.clone())), &ty))
                }
                _ => None,
            },
            _ => None,
        };
        if let Some(replaced) = replaced {
            *expr = replaced;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let named = name_items(&mut query.body, self.columns);
        if let Some(OrderBy { kind: OrderByKind::Expressions(keys), .. }) = &mut query.order_by {
            for key in keys {
                if let Some((_, name)) = named.iter().find(|(expr, _)| *expr == key.expr) {
                    key.expr = Expr::Identifier(name.clone());
                }
            }
        }
        ControlFlow::Continue(())
    }
}

impl Calls<'_> {
    /// The type of ours that a CAST names; None for one that only ordinary SQL has.
    fn cast_type(&self, data_type: &DataType) -> Result<Option<SqlType>> {
        match (type_name(data_type), data_type) {
            (Ok(ty), _) => match resolve_type(&ty, self.custom) {
                Err(_) if !matches!(data_type, DataType::Custom(..)) => Ok(None),
                resolved => resolved.map(Some),
            },
            (Err(error), DataType::Custom(..)) => Err(error),
            (Err(_), _) => Ok(None),
        }
    }
}

/// The name of a function that is called by one word, in upper case.
fn plain_name(name: &ObjectName) -> Option<String> {
    match &name.0[..] {
        [ObjectNamePart::Identifier(name)] => Some(name.value.to_uppercase()),
        _ => None,
    }
}

fn unit_as_text(args: &mut [FunctionArg]) {
    if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))) = args.first_mut()
        && let Expr::Identifier(word) = arg
        && word.quote_style.is_none()
        && let Some(unit) = interval_unit(&word.value)
    {
        *arg = Expr::value(Value::SingleQuotedString(unit.to_string()));
    }
}

/// `MAP(k := v, …)` and `STRUCT(f := v, …)`; None for any other call.
fn constructor(name: &str, args: &[FunctionArg]) -> Result<Option<Expr>> {
    let assignments: Option<Vec<(&Expr, &Expr)>> = args.iter().map(assignment).collect();
    Ok(match (name, assignments) {
        ("MAP", Some(entries)) if !entries.is_empty() => {
            let array = |elem: Vec<Expr>| Expr::Array(Array { elem, named: true });
            let (keys, values) = entries.into_iter().map(|(k, v)| (k.clone(), v.clone())).unzip();
            Some(call("AS_MAP", [array(keys), array(values)]))
        }
        ("STRUCT", Some(fields)) if !fields.is_empty() => {
            let mut parts = Vec::with_capacity(fields.len() * 2);
            for (field, value) in fields {
                let Expr::Identifier(field) = field else {
                    return Err(Error::statement(format!("the field of a STRUCT is a name, not {field}"))
                        .with_hint("STRUCT(name := value, …)"));
                };
                parts.push(Expr::value(Value::SingleQuotedString(field.value.clone())));
                parts.push(value.clone());
            }
            Some(call("named_struct", parts))
        }
        _ => None,
    })
}

/// Reaches into a struct by a call, whatever expression it is; items stay DataFusion's syntax, whose functions are ours.
fn reach_into(root: Expr, access: &AccessExpr) -> Expr {
    match access {
        AccessExpr::Dot(Expr::Identifier(field)) => {
            call(GET_FIELD, [root, Expr::value(Value::SingleQuotedString(field.value.clone()))])
        }
        item => Expr::CompoundFieldAccess { root: Box::new(root), access_chain: vec![item.clone()] },
    }
}

/// The field that a rewritten `s->f` ends in.
fn field_name(expr: &Expr) -> Option<String> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr else { return None };
    match (&name.0[..], &list.args[..]) {
        ([ObjectNamePart::Identifier(name)], [_, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(field)))])
            if name.value == GET_FIELD =>
        {
            field.value.clone().into_string()
        }
        _ => None,
    }
}

fn assignment(arg: &FunctionArg) -> Option<(&Expr, &Expr)> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::BinaryOp { left, op: BinaryOperator::Assignment, right })) => {
            Some((left, right))
        }
        _ => None,
    }
}

/// Gives names to what has none, as in a continuous query: the expressions and their names.
fn name_items(body: &mut SetExpr, columns: &BTreeSet<String>) -> Vec<(Expr, Ident)> {
    let select = match body {
        SetExpr::Select(select) => select,
        SetExpr::SetOperation { left, right, .. } => {
            name_items(left, columns);
            name_items(right, columns);
            return Vec::new();
        }
        _ => return Vec::new(),
    };
    let mut taken: BTreeSet<String> = select.projection.iter().filter_map(item_name).map(|n| n.value.clone()).collect();
    taken.extend(columns.iter().cloned());
    let mut next = 0;
    let mut named = Vec::new();
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        if matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
            continue;
        }
        let name = field_name(expr)
            .map_or_else(|| numbered(&mut next, &taken), |field| unused(&field, |name| taken.contains(name)));
        taken.insert(name.clone());
        let alias = Ident::with_quote('"', name);
        named.push((expr.clone(), alias.clone()));
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
    }
    named
}

fn item_name(item: &SelectItem) -> Option<&Ident> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last(),
        _ => None,
    }
}

fn numbered(next: &mut usize, taken: &BTreeSet<String>) -> String {
    loop {
        let name = format!("KSQL_COL_{next}");
        *next += 1;
        if !taken.contains(&name) {
            return name;
        }
    }
}

fn cast(value: Expr, ty: &SqlType) -> Expr {
    call(&format!("{CAST_AS}{ty}"), [value])
}

fn call(name: &str, args: impl IntoIterator<Item = Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::with_quote('"', name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

//! Typing of expressions: `sql::ast::Expr` → `plan::expr::Expr`.
//!
//! What enters has names and no types; what leaves has types, settled overloads, and a cast wherever ksqlDB coerces.
//! Sugar goes on the way:
//!
//! | written | becomes |
//! |---|---|
//! | `a BETWEEN x AND y` | `a >= x AND a <= y` |
//! | `a IN (x, y)` | `a = x OR a = y`, on the common type of all three |
//! | `CASE a WHEN x THEN …` | `CASE WHEN a = x THEN …` |
//! | `s \|\| t`, `s + t` on STRINGs | `CONCAT(s, t)` |
//! | `ROWTIME > '2020'` in a predicate | `ROWTIME > 1577836800000` |
//! | `d < '2020-05'` with `d` a DATE | `d < DATE 2020-05-01` |
//!
//! ksqlDB finds some mistakes while it types an expression and others only while it generates code for it; the latter
//! carry the clause in their message (`Invalid Select: …`). `Fault` keeps them apart.

use super::comparison::{compare, epoch_ms};
use super::type_names::{duplicate_field, resolve_type};
use super::walk::{self, deep};
use super::{arithmetic, casts, coerce, comparison, constant, literals};
use crate::config::Settings;
use crate::error::{Error, Position, Result};
use crate::functions::ArgType;
use crate::plan::expr::{ComparisonOp, Expr, ExprKind, Value};
use crate::sql::ast;
use crate::types::SqlType;

/// What names mean where an expression stands.
pub trait Scope {
    /// The column `source.name` or `name`. Unknown names of a statement are better refused before it is typed; an
    /// error from here gets the same prefix as one about types.
    fn column(&self, source: Option<&str>, name: &str, position: Position) -> Result<Expr>;

    /// A type made by CREATE TYPE.
    fn custom_type(&self, name: &str) -> Option<SqlType>;

    /// What stands for a whole expression that is computed elsewhere: an aggregate, a table function, a GROUP BY
    /// expression. Asked before the expression is looked into.
    fn replacement(&self, _expr: &ast::Expr) -> Option<Expr> {
        None
    }
}

/// Where an expression stands, as ksqlDB's messages name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clause {
    Select,
    /// WHERE and HAVING.
    Predicate,
    GroupBy,
    PartitionBy,
    TableFunction,
    /// Anywhere in a pull query.
    Pull,
    /// INSERT INTO … VALUES.
    Values,
}

impl Clause {
    fn code_prefix(self) -> &'static str {
        match self {
            Clause::Select => "Invalid Select: ",
            Clause::Predicate => "Invalid Predicate: ",
            Clause::GroupBy => "Invalid Group By: ",
            Clause::PartitionBy => "Invalid Partition By: ",
            Clause::TableFunction => "Invalid Table function: ",
            Clause::Pull => "Invalid expression: ",
            Clause::Values => "",
        }
    }
}

/// A mistake, and whether ksqlDB finds it when typing or only when generating code.
pub(super) struct Fault {
    pub error: Error,
    pub in_code: bool,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self { error, in_code: false }
    }
}

impl Fault {
    pub(super) fn in_code(error: Error) -> Self {
        Self { error, in_code: true }
    }
}

pub(super) type Typed<T> = Result<T, Fault>;

/// A parameter of a lambda, in its body.
#[derive(Debug, Clone)]
pub(super) struct Parameter {
    pub name: String,
    pub ty: SqlType,
}

/// Types expressions in one scope.
#[derive(Clone)]
pub struct Analyzer<'a> {
    pub scope: &'a dyn Scope,
    pub settings: &'a Settings,
    pub clause: Clause,
    /// Parameters of the lambdas around, outermost first.
    pub(super) parameters: Vec<Parameter>,
    /// Whether text beside ROWTIME is read as a time.
    reads_times: bool,
}

impl<'a> Analyzer<'a> {
    pub fn new(scope: &'a dyn Scope, settings: &'a Settings) -> Self {
        Self { scope, settings, clause: Clause::Select, parameters: Vec::new(), reads_times: false }
    }

    pub fn in_clause(mut self, clause: Clause) -> Self {
        self.clause = clause;
        self
    }

    /// An expression of any type. NULL alone is an error: it has none.
    pub fn expr(&self, e: &ast::Expr) -> Result<Expr> {
        match self.expr_or_null(e)? {
            Some(expr) => Ok(expr),
            None => Err(untyped_null()),
        }
    }

    /// None for the untyped NULL.
    pub fn expr_or_null(&self, e: &ast::Expr) -> Result<Option<Expr>> {
        self.node(e).map_err(|fault| self.settle(fault, e))
    }

    /// The expression as `target`, by implicit coercion.
    pub fn expr_as(&self, e: &ast::Expr, target: &SqlType) -> Result<Expr> {
        let Some(expr) = self.expr_or_null(e)? else { return Ok(Expr::null(target.clone())) };
        coerce::implicit(&expr, target).ok_or_else(|| {
            Error::statement(format!("Expected type {target} but got {} ({})", expr.ty, text(e)))
                .at_maybe(walk::position(e))
                .with_hint(format!("CAST({} AS {target}) converts it.", text(e)))
        })
    }

    /// The value that INSERT gives a column, coerced as [`constant::insertable`] says.
    pub fn column_value(&self, e: &ast::Expr, column: &str, target: &SqlType) -> Result<Expr> {
        let Some(expr) = self.expr_or_null(e)? else { return Ok(Expr::null(target.clone())) };
        constant::insertable(&expr, target)?.ok_or_else(|| {
            let value = match &expr.kind {
                ExprKind::Literal(value) => literals::as_text(value).unwrap_or_else(|| text(e)),
                _ => text(e),
            };
            let got = expr.ty.base_name();
            Error::statement(format!("Expected type {target} for field {column} but got {got}({value})"))
                .at_maybe(walk::position(e))
        })
    }

    /// A BOOLEAN expression of a WHERE or HAVING clause.
    pub fn predicate(&self, e: &ast::Expr, clause: &str) -> Result<Expr> {
        let mut inner = self.clone();
        inner.reads_times = true;
        if inner.clause != Clause::Pull {
            inner.clause = Clause::Predicate;
        }
        // ksqlDB says which part of the statement it is about in the message itself.
        let refused = |error: Error| {
            let whole = format!("{error}\nStatement: {}", text(e));
            let hint = error.hint().map(str::to_string);
            let error = Error::statement(whole).at_maybe(error.position().or_else(|| walk::position(e)));
            match hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        };
        let typed = match inner.node(e) {
            Ok(typed) => typed,
            Err(fault) if fault.in_code => return Err(inner.settle(fault, e)),
            Err(fault) => return Err(refused(fault.error.prefixed(&format!("Error in {clause} expression: ")))),
        };
        match typed {
            Some(expr) if expr.ty == SqlType::Boolean => Ok(expr),
            other => {
                let ty = other.map_or("null".to_string(), |e| e.ty.to_string());
                Err(refused(Error::statement(format!(
                    "Type error in {clause} expression: Should evaluate to boolean but is {} ({ty}) instead.",
                    text(e)
                ))))
            }
        }
    }

    /// What is known of an argument of an aggregate or table function.
    pub fn arg_type(&self, e: &ast::Expr) -> Result<ArgType> {
        Ok(match e {
            ast::Expr::IntervalUnit(_) => ArgType::IntervalUnit,
            ast::Expr::Lambda { parameters, .. } => ArgType::Lambda { parameters: parameters.len(), body: None },
            e => self.expr_or_null(e)?.map_or(ArgType::Null, |expr| ArgType::Sql(expr.ty)),
        })
    }

    fn settle(&self, fault: Fault, e: &ast::Expr) -> Error {
        let error = fault.error.at_maybe(walk::position(e));
        if fault.in_code { error.prefixed(self.clause.code_prefix()) } else { error }
    }

    /// None for the untyped NULL.
    pub(super) fn node(&self, e: &ast::Expr) -> Typed<Option<Expr>> {
        deep(|| match self.scope.replacement(e) {
            Some(expr) => Ok(Some(expr)),
            None => self.node_kind(e),
        })
    }

    /// A part that must have a type.
    pub(super) fn typed(&self, e: &ast::Expr) -> Typed<Expr> {
        self.node(e)?.ok_or_else(|| untyped_null().into())
    }

    fn node_kind(&self, e: &ast::Expr) -> Typed<Option<Expr>> {
        Ok(Some(match e {
            ast::Expr::Literal(literal) => return Ok(literals::literal(literal)),
            ast::Expr::Column { source, name, position } => self.column(source.as_deref(), name, *position)?,
            ast::Expr::Arithmetic { op, left, right } => {
                arithmetic::arithmetic(arithmetic::operator(*op), self.node(left)?, self.node(right)?, || text(e))?
            }
            ast::Expr::Negate(inner) => arithmetic::negate(self.typed(inner)?)?,
            ast::Expr::Plus(inner) => {
                let inner = self.typed(inner)?;
                if !inner.ty.is_numeric() {
                    return Err(Error::statement(format!("Unary plus on type {} is not supported.", inner.ty)).into());
                }
                inner
            }
            ast::Expr::Concat { left, right } => {
                let args = [&**left, &**right].map(ast::Expr::clone).to_vec();
                self.call("CONCAT", &args, walk::position(e))?
            }
            ast::Expr::Comparison { op, left, right } => self.comparison(comparison::operator(*op), left, right)?,
            ast::Expr::And(left, right) => boolean(ExprKind::And(self.truth(left)?, self.truth(right)?)),
            ast::Expr::Or(left, right) => boolean(ExprKind::Or(self.truth(left)?, self.truth(right)?)),
            ast::Expr::Not(inner) => boolean(ExprKind::Not(self.truth(inner)?)),
            ast::Expr::IsNull { expr, negated } => match self.node(expr)? {
                Some(expr) => boolean(ExprKind::IsNull { expr: Box::new(expr), negated: *negated }),
                None => truth_value(!negated),
            },
            ast::Expr::Between { expr, low, high, negated } => {
                let low = self.comparison(ComparisonOp::GreaterOrEqual, expr, low).map_err(late)?;
                let high = self.comparison(ComparisonOp::LessOrEqual, expr, high).map_err(late)?;
                negate_if(*negated, boolean(ExprKind::And(Box::new(low), Box::new(high))))
            }
            ast::Expr::In { expr, list, negated } => negate_if(*negated, self.in_list(expr, list)?),
            ast::Expr::Like { expr, pattern, escape, negated } => {
                self.like(expr, pattern, escape.as_deref(), *negated)?
            }
            ast::Expr::Case { operand, branches, otherwise } => {
                self.case(operand.as_deref(), branches, otherwise.as_deref())?
            }
            ast::Expr::Cast { expr, ty } => {
                let ty = resolve_type(ty, &|name| self.scope.custom_type(name))?;
                match self.node(expr)? {
                    Some(expr) => casts::cast(expr, ty).map_err(Fault::in_code)?,
                    None => Expr::null(ty),
                }
            }
            ast::Expr::Call { name, args, position, .. } => self.call(name, args, Some(*position))?,
            ast::Expr::Subscript { base, index } => self.subscript(base, index)?,
            ast::Expr::Field { base, field } => self.field(base, field)?,
            ast::Expr::Array(items) => self.array(items)?,
            ast::Expr::Map(entries) => self.map(entries)?,
            ast::Expr::Struct(fields) => self.structure(fields)?,
            ast::Expr::Lambda { .. } => {
                let message = format!("A lambda can only be an argument of a function: {}", text(e));
                return Err(Error::statement(message).into());
            }
            ast::Expr::IntervalUnit(unit) => {
                let message = format!("{unit} is a unit of time and can only be an argument of a function");
                return Err(Error::statement(message).into());
            }
            ast::Expr::AtTimeZone { expr, zone } => {
                let error = Error::statement("AT TIME ZONE is not supported.")
                    .with_hint(format!("CONVERT_TZ({}, 'UTC', '{zone}') shifts a TIMESTAMP.", text(expr)));
                return Err(error.into());
            }
        }))
    }

    fn column(&self, source: Option<&str>, name: &str, position: Position) -> Typed<Expr> {
        if source.is_none()
            && let Some(parameter) = self.parameters.iter().rev().find(|p| p.name == name)
        {
            return Ok(Expr::column(parameter.name.clone(), parameter.ty.clone()));
        }
        let column = self.scope.column(source, name, position)?;
        if let ExprKind::Column(name) = &column.kind
            && self.parameters.iter().any(|p| p.name == *name)
        {
            let message = format!("Column {name} cannot be used inside a lambda whose parameter has the same name");
            return Err(Error::statement(message).at(position).with_hint("Rename the parameter.").into());
        }
        Ok(column)
    }

    fn comparison(&self, op: ComparisonOp, left: &ast::Expr, right: &ast::Expr) -> Typed<Expr> {
        let side = |side: &ast::Expr, other: &ast::Expr| -> Typed<Option<Expr>> {
            if self.reads_times
                && let Some(ms) = epoch_ms(side, other)?
            {
                return Ok(Some(ms));
            }
            self.node(side)
        };
        Ok(compare(op, side(left, right)?, side(right, left)?, || (text(left), text(right)))?)
    }

    fn in_list(&self, expr: &ast::Expr, list: &[ast::Expr]) -> Typed<Expr> {
        let parts: Vec<&ast::Expr> = std::iter::once(expr).chain(list).collect();
        let typed = parts.iter().map(|e| self.node(e)).collect::<Typed<Vec<_>>>()?;
        if typed[0].is_none() {
            return Ok(truth_value(false));
        }
        let coerced = coerce::list(typed, &|i| text(parts[i])).map_err(Fault::in_code)?;
        let Some((_, mut values)) = coerced else { return Ok(truth_value(false)) };
        let value = values.remove(0);
        // Nothing equals null.
        values.retain(|v| !matches!(v.kind, ExprKind::Literal(Value::Null)));
        let equals = values.into_iter().map(|candidate| {
            boolean(ExprKind::Comparison {
                op: ComparisonOp::Equal,
                left: Box::new(value.clone()),
                right: Box::new(candidate),
            })
        });
        Ok(balanced_or(equals.collect()).unwrap_or_else(|| truth_value(false)))
    }

    fn like(&self, expr: &ast::Expr, pattern: &ast::Expr, escape: Option<&str>, negated: bool) -> Typed<Expr> {
        let (expr, pattern) = (self.typed(expr)?, self.typed(pattern)?);
        for side in [&expr, &pattern] {
            if side.ty != SqlType::String {
                let message =
                    format!("The column type for Like condition must be VARCHAR. The column type is {}", side.ty);
                return Err(Fault::in_code(Error::statement(message)));
            }
        }
        let escape = match escape.map(|text| (text, text.chars().collect::<Vec<_>>())) {
            None => None,
            Some((_, chars)) if chars.len() == 1 => Some(chars[0]),
            Some((text, _)) => {
                return Err(Error::statement(format!(
                    "Expected exactly one character in ESCAPE clause but got: {text}"
                ))
                .into());
            }
        };
        Ok(boolean(ExprKind::Like { expr: Box::new(expr), pattern: Box::new(pattern), escape, negated }))
    }

    fn case(
        &self,
        operand: Option<&ast::Expr>,
        branches: &[(ast::Expr, ast::Expr)],
        otherwise: Option<&ast::Expr>,
    ) -> Typed<Expr> {
        let mut typed = Vec::with_capacity(branches.len());
        let mut ty: Option<SqlType> = None;
        for (when, then) in branches {
            let condition = match operand {
                Some(operand) => self.comparison(ComparisonOp::Equal, operand, when)?,
                None => self.typed(when)?,
            };
            if condition.ty != SqlType::Boolean {
                let message =
                    format!("WHEN operand type should be boolean. Type for '{}' is {}", text(when), condition.ty);
                return Err(Error::statement(message).into());
            }
            let result = self.node(then)?;
            if let Some(result) = &result {
                match &ty {
                    Some(ty) if *ty != result.ty => {
                        let message = format!(
                            "Invalid Case expression. Type for all 'THEN' clauses should be the same. THEN expression \
                             'WHEN {} THEN {}' has type: {}. Previous THEN expression(s) type: {ty}.",
                            text(when),
                            text(then),
                            result.ty
                        );
                        return Err(Error::statement(message).into());
                    }
                    _ => ty = Some(result.ty.clone()),
                }
            }
            typed.push((condition, result));
        }
        let default = otherwise.map(|e| self.node(e)).transpose()?.flatten();
        if let (Some(ty), Some(default)) = (&ty, &default)
            && *ty != default.ty
        {
            let message = format!(
                "Invalid Case expression. Type for the default clause should be the same as for 'THEN' clauses. THEN \
                 type: {ty}. DEFAULT type: {}.",
                default.ty
            );
            return Err(Error::statement(message).into());
        }
        let Some(ty) = ty.or_else(|| default.as_ref().map(|d| d.ty.clone())) else {
            return Err(Error::statement("Invalid Case expression. All case branches have a NULL type").into());
        };
        let branches =
            typed.into_iter().map(|(when, then)| (when, then.unwrap_or_else(|| Expr::null(ty.clone())))).collect();
        Ok(Expr { kind: ExprKind::Case { branches, otherwise: default.map(Box::new) }, ty })
    }

    fn subscript(&self, base: &ast::Expr, index: &ast::Expr) -> Typed<Expr> {
        let (typed, typed_index) = (self.typed(base)?, self.typed(index)?);
        let (index, ty) = match &typed.ty {
            SqlType::Array(item) if matches!(typed_index.ty, SqlType::Integer | SqlType::Bigint) => {
                (typed_index, (**item).clone())
            }
            SqlType::Array(_) => {
                let message =
                    format!("Array index {} must be INTEGER or BIGINT but is {}", text(index), typed_index.ty);
                return Err(Error::statement(message).into());
            }
            SqlType::Map(key, value) => match coerce::implicit(&typed_index, key) {
                Some(index) => (index, (**value).clone()),
                None => {
                    let message = format!("Map key {} must be {key} but is {}", text(index), typed_index.ty);
                    return Err(Error::statement(message).into());
                }
            },
            other => {
                let message = format!("Unsupported container type: {} is {other}, not an ARRAY or MAP", text(base));
                return Err(Error::statement(message).into());
            }
        };
        Ok(Expr { kind: ExprKind::Subscript { base: Box::new(typed), index: Box::new(index) }, ty })
    }

    fn field(&self, base: &ast::Expr, field: &str) -> Typed<Expr> {
        let typed = self.typed(base)?;
        let SqlType::Struct(fields) = &typed.ty else {
            let message = format!("Expected STRUCT type, got: {} for {}", typed.ty, text(base));
            return Err(Error::statement(message).into());
        };
        let Some(found) = fields.iter().find(|f| f.name == field) else {
            let mut error = Error::statement(format!("Could not find field '{field}' in '{}'.", text(base)));
            if let Some(near) = fields.iter().find(|f| f.name.eq_ignore_ascii_case(field)) {
                error = error.with_hint(format!("Did you mean `{}`? Quoted names keep their case.", near.name));
            }
            return Err(error.into());
        };
        let ty = found.ty.clone();
        Ok(Expr { kind: ExprKind::Field { base: Box::new(typed), field: field.to_string() }, ty })
    }

    fn array(&self, items: &[ast::Expr]) -> Typed<Expr> {
        if items.is_empty() {
            return Err(Error::statement(
                "Array constructor cannot be empty. Please supply at least one element (see \
                 https://github.com/confluentinc/ksql/issues/4239).",
            )
            .into());
        }
        let (item, items) = self.list(items.iter())?.ok_or_else(|| {
            Error::statement(
                "Cannot construct an array with all NULL elements (see \
                 https://github.com/confluentinc/ksql/issues/4239). As a workaround, you may cast a NULL value to the \
                 desired type.",
            )
        })?;
        Ok(Expr { kind: ExprKind::Array(items), ty: SqlType::array(item) })
    }

    fn map(&self, entries: &[(ast::Expr, ast::Expr)]) -> Typed<Expr> {
        if entries.is_empty() {
            return Err(Error::statement(
                "Map constructor cannot be empty. Please supply at least one key value pair (see \
                 https://github.com/confluentinc/ksql/issues/4239).",
            )
            .into());
        }
        let all_null = |what: &str, one: &str| {
            Error::statement(format!(
                "Cannot construct a map with all NULL {what} (see https://github.com/confluentinc/ksql/issues/4239). As \
                 a workaround, you may cast a NULL {one} to the desired type."
            ))
        };
        let (key, mut keys) = self.list(entries.iter().map(|(k, _)| k))?.ok_or_else(|| all_null("keys", "key"))?;
        let (value, values) = self.list(entries.iter().map(|(_, v)| v))?.ok_or_else(|| all_null("values", "value"))?;
        // A key is never null in Arrow; ksqlDB's null key is read and written as the text `null`.
        if key == SqlType::String {
            for k in keys.iter_mut().filter(|k| matches!(k.kind, ExprKind::Literal(Value::Null))) {
                *k = Expr::literal(Value::String("null".into()), SqlType::String);
            }
        }
        let entries = keys.into_iter().zip(values).collect();
        Ok(Expr { kind: ExprKind::Map(entries), ty: SqlType::map(key, value) })
    }

    fn list<'e>(&self, items: impl Iterator<Item = &'e ast::Expr>) -> Typed<Option<(SqlType, Vec<Expr>)>> {
        let items: Vec<&ast::Expr> = items.collect();
        let typed = items.iter().map(|e| self.node(e)).collect::<Typed<Vec<_>>>()?;
        Ok(coerce::list(typed, &|i| text(items[i]))?)
    }

    fn structure(&self, fields: &[(String, ast::Expr)]) -> Typed<Expr> {
        let mut typed: Vec<(String, Expr)> = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            let value = self.typed(value)?;
            if let Some((_, first)) = typed.iter().find(|(n, _)| n == name) {
                return Err(duplicate_field(name, &first.ty, &value.ty).into());
            }
            typed.push((name.clone(), value));
        }
        let ty = SqlType::structure(typed.iter().map(|(name, value)| (name.clone(), value.ty.clone())));
        Ok(Expr { kind: ExprKind::Struct(typed), ty })
    }

    /// An operand of AND, OR, NOT.
    fn truth(&self, e: &ast::Expr) -> Typed<Box<Expr>> {
        let typed = self.typed(e)?;
        if typed.ty != SqlType::Boolean {
            let message = format!("Should evaluate to boolean but is {} ({}) instead.", text(e), typed.ty);
            return Err(Error::statement(message).into());
        }
        Ok(Box::new(typed))
    }
}

/// An expression as messages print it.
pub(super) fn text(e: &ast::Expr) -> String {
    crate::sql::print::message(e)
}

fn late(fault: Fault) -> Fault {
    Fault { in_code: true, ..fault }
}

fn untyped_null() -> Error {
    Error::statement(
        "Can't infer a type of null. Please explicitly cast it to a required type, e.g. CAST(null AS VARCHAR).",
    )
}

fn boolean(kind: ExprKind) -> Expr {
    Expr { kind, ty: SqlType::Boolean }
}

fn truth_value(value: bool) -> Expr {
    boolean(ExprKind::Literal(Value::Boolean(value)))
}

fn negate_if(negated: bool, expr: Expr) -> Expr {
    if negated { boolean(ExprKind::Not(Box::new(expr))) } else { expr }
}

/// ORs in a tree of logarithmic depth, in order.
fn balanced_or(mut terms: Vec<Expr>) -> Option<Expr> {
    if terms.len() <= 1 {
        return terms.pop();
    }
    let right = terms.split_off(terms.len() / 2);
    let (left, right) = (balanced_or(terms)?, balanced_or(right)?);
    Some(boolean(ExprKind::Or(Box::new(left), Box::new(right))))
}

#[cfg(test)]
#[path = "expr_tests.rs"]
mod tests;

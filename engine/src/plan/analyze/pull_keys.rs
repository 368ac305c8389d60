//! Where a pull query looks: the keys and window bounds its WHERE clause asks for.
//!
//! | alternative of WHERE | is |
//! |---|---|
//! | every key column `=` a value (or IN values) | a lookup |
//! | `<`, `<=`, `>`, `>=` on the one STRING or BYTES key | a range scan |
//! | anything else | a table scan |
//!
//! One alternative that scans makes the whole query scan. Ranges are scans that the predicate narrows; they are told
//! apart because the settings can forbid one and not the other.

use super::coerce;
use super::constant;
use super::expr::{Analyzer, text};
use super::formats;
use super::names::is_window_bound;
use super::walk::collect_columns;
use crate::error::{Error, Result};
use crate::format::Side;
use crate::plan::expr::{ExprKind, Value};
use crate::schema::{Schema, WINDOWSTART};
use crate::sql::ast::{self, ComparisonOp};
use crate::types::SqlType;

/// Alternatives beyond which a query just scans: `(a OR b) AND (c OR d) …` doubles with every pair.
const ALTERNATIVES_MAX: usize = 1000;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Lookup {
    pub keys: Option<Vec<Vec<Value>>>,
    pub window_start: Option<(i64, i64)>,
    pub window_end: Option<(i64, i64)>,
}

pub(super) struct KeyRules<'a> {
    pub schema: &'a Schema,
    pub windowed: bool,
    pub table_scan: bool,
    pub range_scan: bool,
    /// Refuse what ksqlDB refuses even where a scan would do.
    pub strict: bool,
    pub analyzer: &'a Analyzer<'a>,
}

/// What one alternative allows.
enum Reach {
    Keys(Vec<Value>),
    Range,
    Scan,
}

impl KeyRules<'_> {
    pub fn lookup(&self, filter: Option<&ast::Expr>) -> Result<Lookup> {
        let Some(filter) = filter else {
            return if self.table_scan { Ok(Lookup::default()) } else { Err(self.invalid("Missing WHERE clause")) };
        };
        let Some(alternatives) = alternatives(filter) else {
            return self.scan_or("A comparison must directly reference a key column").map(|()| Lookup::default());
        };
        let mut keys: Vec<Vec<Value>> = Vec::new();
        let mut scans = false;
        let mut ranges = 0;
        for alternative in &alternatives {
            match self.reach(alternative)? {
                Reach::Keys(key) if !keys.contains(&key) => keys.push(key),
                Reach::Keys(_) => {}
                Reach::Range => ranges += 1,
                Reach::Scan => scans = true,
            }
        }
        let range_only = ranges == 1 && alternatives.len() == 1;
        if (scans || ranges > 0) && !self.table_scan && !range_only {
            return Err(self.invalid("Query requires table scan to be enabled. Table scans can be enabled by setting ksql.query.pull.table.scan.enabled=true"));
        }
        let (window_start, window_end) = match &alternatives[..] {
            [only] if self.windowed => (self.bounds(only, true)?, self.bounds(only, false)?),
            _ => (None, None),
        };
        let keys = (!scans && ranges == 0).then_some(keys);
        Ok(Lookup { keys, window_start, window_end })
    }

    /// What one alternative, a list of conditions that must all hold, says of the key.
    fn reach(&self, conditions: &[ast::Expr]) -> Result<Reach> {
        let mut key: Vec<Option<Value>> = vec![None; self.schema.key.len()];
        let mut compared = vec![false; self.schema.key.len()];
        let mut range = false;
        let mut scan = false;
        for condition in conditions {
            let Some((op, column, other)) = self.comparison(condition)? else {
                scan = true;
                continue;
            };
            if is_window_bound(column) {
                continue;
            }
            let Some(index) = self.schema.key.iter().position(|c| c.name == column) else {
                continue;
            };
            if !collect_columns(other).is_empty() {
                self.scan_or("A comparison must be between a key column and a resolvable expression")?;
                scan = true;
                continue;
            }
            if compared[index] {
                self.scan_or(
                    "A comparison condition on the key column cannot be combined with other comparisons such as an IN \
                     predicate",
                )?;
                scan = true;
                continue;
            }
            compared[index] = true;
            if op == ComparisonOp::Equal {
                match self.key_value(index, other)? {
                    Some(value) => key[index] = Some(value),
                    None => scan = true,
                }
                continue;
            }
            let ranged = matches!(
                op,
                ComparisonOp::Less | ComparisonOp::LessOrEqual | ComparisonOp::Greater | ComparisonOp::GreaterOrEqual
            );
            if !(ranged && self.range_scan) {
                self.scan_or(&format!(
                    "Bound on key columns '{}' must currently be '='",
                    formats::printed(&self.schema.key, Side::Key)
                ))?;
                scan = true;
                continue;
            }
            range = true;
            let ordered = matches!(self.schema.key[index].ty, SqlType::String | SqlType::Bytes);
            scan |= !ordered || self.schema.key.len() > 1;
        }
        if !compared.contains(&true) {
            let printed: Vec<String> = conditions.iter().map(text).collect();
            self.scan_or(&format!("WHERE clause missing key column for disjunct: {}", printed.join(" AND ")))?;
            return Ok(Reach::Scan);
        }
        if compared.contains(&false) {
            let specified: Vec<&str> = self
                .schema
                .key
                .iter()
                .zip(&compared)
                .filter(|(_, seen)| **seen)
                .map(|(c, _)| c.name.as_str())
                .collect();
            self.scan_or(&format!(
                "Multi-column sources must specify every key in the WHERE clause. Specified: [{}] Expected: {}",
                specified.join(", "),
                formats::printed(&self.schema.key, Side::Key)
            ))?;
            return Ok(Reach::Scan);
        }
        if scan {
            return Ok(Reach::Scan);
        }
        if range {
            return Ok(Reach::Range);
        }
        Ok(match key.into_iter().collect::<Option<Vec<Value>>>() {
            Some(key) => Reach::Keys(key),
            None => Reach::Scan,
        })
    }

    /// `column op other`, whichever side the column stands on; None for conditions of another form.
    fn comparison<'e>(&self, condition: &'e ast::Expr) -> Result<Option<(ComparisonOp, &'e str, &'e ast::Expr)>> {
        match condition {
            ast::Expr::Comparison { op, left, right } => {
                let known = |e: &'e ast::Expr| match e {
                    ast::Expr::Column { name, .. }
                        if self.schema.key.iter().any(|c| c.name == *name) || is_window_bound(name) =>
                    {
                        Some(name.as_str())
                    }
                    _ => None,
                };
                let any = |e: &'e ast::Expr| match e {
                    ast::Expr::Column { name, .. } => Some(name.as_str()),
                    _ => None,
                };
                for find in [&known as &dyn Fn(&'e ast::Expr) -> Option<&'e str>, &any] {
                    if let Some(column) = find(left) {
                        return Ok(Some((*op, column, &**right)));
                    }
                    if let Some(column) = find(right) {
                        return Ok(Some((flipped(*op), column, &**left)));
                    }
                }
                self.scan_or("A comparison must directly reference a key column")?;
                Ok(None)
            }
            ast::Expr::Like { expr, .. } => {
                if !matches!(**expr, ast::Expr::Column { .. }) {
                    self.scan_or("Like condition must be between strings")?;
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// A key column's value; None if it has no constant form, so that the table is scanned for it.
    fn key_value(&self, index: usize, other: &ast::Expr) -> Result<Option<Value>> {
        let column = &self.schema.key[index];
        let Some(typed) = self.analyzer.expr_or_null(other)? else {
            return Err(self.null_key(&column.name));
        };
        let fits = typed.ty == column.ty || (typed.ty.is_numeric() && column.ty.is_numeric());
        let converted = if fits { coerce::implicit(&typed, &column.ty) } else { None };
        let Some(converted) = converted else {
            if !self.strict && (fits || self.table_scan) {
                return Ok(None);
            }
            return Err(Error::statement(format!(
                "'{}' can not be converted to the type of the key column: {} {} KEY",
                text(other).trim_matches('\''),
                column.name,
                column.ty
            )));
        };
        if column.ty.is_nested() {
            return Ok(None);
        }
        match constant::evaluate(&converted)? {
            Value::Null => Err(self.null_key(&column.name)),
            value => Ok(Some(value)),
        }
    }

    fn null_key(&self, column: &str) -> Error {
        Error::statement(format!("Primary key columns can not be NULL: ({column} = null)"))
    }

    /// Inclusive range of one of the window's bounds that the conditions leave.
    fn bounds(&self, conditions: &[ast::Expr], start: bool) -> Result<Option<(i64, i64)>> {
        let (mut low, mut high) = (i64::MIN, i64::MAX);
        for condition in conditions {
            let Some((op, column, other)) = self.comparison(condition)? else { continue };
            if !is_window_bound(column) || (column == WINDOWSTART) != start || !collect_columns(other).is_empty() {
                continue;
            }
            // The predicate decides; a value that cannot be read off only leaves the range wider.
            let Some(ms) = self.epoch_ms(column, other) else { continue };
            match op {
                ComparisonOp::Equal => (low, high) = (low.max(ms), high.min(ms)),
                ComparisonOp::Less => high = high.min(ms.saturating_sub(1)),
                ComparisonOp::LessOrEqual => high = high.min(ms),
                ComparisonOp::Greater => low = low.max(ms.saturating_add(1)),
                ComparisonOp::GreaterOrEqual => low = low.max(ms),
                _ => {}
            }
        }
        Ok(((low, high) != (i64::MIN, i64::MAX)).then_some((low, high)))
    }

    fn epoch_ms(&self, bound: &str, other: &ast::Expr) -> Option<i64> {
        let column = super::tree::column(bound, Default::default());
        let typed = match super::comparison::epoch_ms(other, &column) {
            Ok(Some(ms)) => ms,
            _ => self.analyzer.expr(other).ok()?,
        };
        if !matches!(typed.ty, SqlType::Integer | SqlType::Bigint) {
            return None;
        }
        if !matches!(typed.kind, ExprKind::Literal(_)) && !collect_columns(other).is_empty() {
            return None;
        }
        match constant::evaluate(&typed.cast_to(SqlType::Bigint)).ok()? {
            Value::Bigint(ms) => Some(ms),
            Value::Integer(ms) => Some(i64::from(ms)),
            _ => None,
        }
    }

    fn scan_or(&self, why: &str) -> Result<()> {
        if self.table_scan { Ok(()) } else { Err(self.invalid(why)) }
    }

    fn invalid(&self, why: &str) -> Error {
        let bounds = if self.windowed {
            "\n - (optionally) includes bounds on WINDOWSTART and WINDOWEND, e.g. `WINDOWSTART > 1`."
        } else {
            ""
        };
        Error::statement(format!(
            "{why}. See https://cnfl.io/queries for more info.\nAdd EMIT CHANGES if you intended to issue a push \
             query.\nPull queries require a WHERE clause that:\n - includes a key equality expression, e.g. `SELECT * \
             FROM X WHERE <key-column> = Y;`.{bounds}\nIf more flexible queries are needed, table scans can be enabled \
             by setting ksql.query.pull.table.scan.enabled=true."
        ))
    }
}

fn flipped(op: ComparisonOp) -> ComparisonOp {
    match op {
        ComparisonOp::Less => ComparisonOp::Greater,
        ComparisonOp::LessOrEqual => ComparisonOp::GreaterOrEqual,
        ComparisonOp::Greater => ComparisonOp::Less,
        ComparisonOp::GreaterOrEqual => ComparisonOp::LessOrEqual,
        same => same,
    }
}

/// WHERE as alternatives of conditions (disjunctive form); None if there are too many. NOT is one condition.
fn alternatives(filter: &ast::Expr) -> Option<Vec<Vec<ast::Expr>>> {
    super::walk::deep(|| match filter {
        ast::Expr::Or(left, right) => {
            let mut both = alternatives(left)?;
            both.extend(alternatives(right)?);
            (both.len() <= ALTERNATIVES_MAX).then_some(both)
        }
        ast::Expr::And(left, right) => {
            let (left, right) = (alternatives(left)?, alternatives(right)?);
            if left.len() * right.len() > ALTERNATIVES_MAX {
                return None;
            }
            Some(left.iter().flat_map(|l| right.iter().map(|r| [l.clone(), r.clone()].concat())).collect())
        }
        ast::Expr::In { expr, list, negated: false } if list.len() <= ALTERNATIVES_MAX => Some(
            list.iter()
                .map(|value| {
                    vec![ast::Expr::Comparison {
                        op: ComparisonOp::Equal,
                        left: expr.clone(),
                        right: Box::new(value.clone()),
                    }]
                })
                .collect(),
        ),
        other => Some(vec![vec![other.clone()]]),
    })
}

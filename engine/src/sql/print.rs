//! Expressions and types → text.
//!
//! Three styles. Messages show what ksqlDB's show: names bare, `(NOT (A LIKE B))`. Formatted text, in which messages show
//! whole statements, also quotes names. SQL parses back to the same tree.
//!
//! | written | message | formatted | SQL |
//! |---|---|---|---|
//! | `a + b*2` | `(A + (B * 2))` | the same | the same |
//! | `` `x`.y is not null `` | `(x.Y IS NOT NULL)` | ``(`x`.Y IS NOT NULL)`` | as formatted |
//! | `struct(f := 1)` | `STRUCT(F:=1)` | the same | the same |
//! | `a not like 'x'` | `(NOT (A LIKE 'x'))` | as message | `(A NOT LIKE 'x')` |
//! | `a \|\| b` | `CONCAT(A, B)` | as message | `(A \|\| B)` |

use std::fmt::{self, Display, Formatter, Write};

use super::ast::*;
use super::keywords::is_reserved;
use super::lexer::is_word_part;
use crate::types::SqlType;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Message,
    Formatted,
    Sql,
}

/// An expression as ksqlDB's messages show it.
pub fn message(expr: &Expr) -> String {
    Printed { node: expr, style: Style::Message }.to_string()
}

/// An expression as SQL that parses back to it.
pub fn sql(expr: &Expr) -> String {
    Printed { node: expr, style: Style::Sql }.to_string()
}

/// A whole statement as ksqlDB's messages show it, clause by clause.
pub fn formatted(statement: &Statement) -> String {
    super::print_formatted::formatted(statement)
}

/// A name as SQL: in backquotes where it needs them.
pub fn name(name: &str) -> String {
    Name(name, Style::Sql).to_string()
}

/// A string literal, its quotes doubled.
pub fn string(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// Names that read as something else where an expression starts: `ARRAY[1]`, `TIMESTAMPADD(DAY, …)`.
const AMBIGUOUS: &[&str] = &["ARRAY", "DAY", "HOUR", "MAP", "MINUTE", "SECOND", "STRUCT"];

/// Whether an identifier must be quoted to mean itself anywhere.
pub fn needs_quotes(name: &str) -> bool {
    changes_unquoted(name) || AMBIGUOUS.contains(&name)
}

fn changes_unquoted(name: &str) -> bool {
    let mut chars = name.chars();
    let plain = chars.next().is_some_and(|c| c.is_ascii_uppercase() || c == '_')
        && chars.all(|c| is_word_part(c) && !c.is_ascii_lowercase());
    !plain || is_reserved(name)
}

pub(super) struct Name<'a>(pub &'a str, pub Style);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let quoted = match self.1 {
            Style::Message => false,
            Style::Formatted => changes_unquoted(self.0),
            Style::Sql => needs_quotes(self.0),
        };
        if quoted { write!(f, "`{}`", self.0.replace('`', "``")) } else { f.write_str(self.0) }
    }
}

pub(super) struct Printed<'a, T> {
    pub node: &'a T,
    pub style: Style,
}

impl Display for Printed<'_, Literal> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.node {
            Literal::Null => f.write_str("null"),
            Literal::Boolean(value) => write!(f, "{value}"),
            Literal::Integer(value) => write!(f, "{value}"),
            Literal::Bigint(value) => write!(f, "{value}"),
            Literal::Decimal(text) => f.write_str(text),
            Literal::Double(value) => write!(f, "{value:E}"),
            Literal::String(value) => f.write_str(&string(value)),
        }
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Printed { node: self, style: Style::Sql }.fmt(f)
    }
}

impl<'a> Display for Printed<'a, TypeName> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let part = |node: &'a TypeName| Printed { node, style: self.style };
        match self.node {
            // Plain types; nested ones made by hand print by the same rules.
            TypeName::Sql(ty @ (SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_))) => {
                Printed { node: &TypeName::from(ty), style: self.style }.fmt(f)
            }
            TypeName::Sql(plain) => plain.fmt(f),
            TypeName::Custom(name) => Name(name, self.style).fmt(f),
            TypeName::Array(item) => write!(f, "ARRAY<{}>", part(item)),
            TypeName::Map(key, value) => write!(f, "MAP<{}, {}>", part(key), part(value)),
            TypeName::Struct(fields) => {
                f.write_str("STRUCT<")?;
                separated(f, fields, |f, (name, ty)| write!(f, "{} {}", Name(name, self.style), part(ty)))?;
                f.write_char('>')
            }
        }
    }
}

impl Display for TypeName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Printed { node: self, style: Style::Sql }.fmt(f)
    }
}

impl<'a> Display for Printed<'a, Expr> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let style = self.style;
        let part = |node: &'a Expr| Printed { node, style };
        let list = |f: &mut Formatter<'_>, items: &'a [Expr]| separated(f, items, |f, item| part(item).fmt(f));
        match self.node {
            Expr::Literal(literal) => Printed { node: literal, style }.fmt(f),
            Expr::Column { source: None, name, .. } => Name(name, style).fmt(f),
            Expr::Column { source: Some(source), name, .. } => {
                write!(f, "{}.{}", Name(source, style), Name(name, style))
            }
            Expr::Arithmetic { op, left, right } => write!(f, "({} {op} {})", part(left), part(right)),
            Expr::Concat { left, right } if style != Style::Sql => {
                write!(f, "CONCAT({}, {})", part(left), part(right))
            }
            Expr::Concat { left, right } => write!(f, "({} || {})", part(left), part(right)),
            // A minus before a minus would start a comment, one before a number would join it.
            Expr::Negate(operand) => {
                let operand = part(operand).to_string();
                match operand.chars().next() {
                    Some('-') => write!(f, "- {operand}"),
                    Some('0'..='9' | '.') if style == Style::Sql => write!(f, "-({operand})"),
                    _ => write!(f, "-{operand}"),
                }
            }
            Expr::Plus(operand) => write!(f, "+{}", part(operand)),
            Expr::Comparison { op: ComparisonOp::IsNotDistinctFrom, left, right } if style != Style::Sql => {
                write!(f, "(NOT ({} IS DISTINCT FROM {}))", part(left), part(right))
            }
            Expr::Comparison { op, left, right } => write!(f, "({} {op} {})", part(left), part(right)),
            Expr::And(left, right) => write!(f, "({} AND {})", part(left), part(right)),
            Expr::Or(left, right) => write!(f, "({} OR {})", part(left), part(right)),
            Expr::Not(operand) => write!(f, "(NOT {})", part(operand)),
            Expr::IsNull { expr, negated } => {
                write!(f, "({} IS {}NULL)", part(expr), if *negated { "NOT " } else { "" })
            }
            Expr::Between { expr, low, high, negated } => predicate(f, style, *negated, |f, not| {
                write!(f, "{} {not}BETWEEN {} AND {}", part(expr), part(low), part(high))
            }),
            Expr::In { expr, list: items, negated } => predicate(f, style, *negated, |f, not| {
                write!(f, "{} {not}IN (", part(expr))?;
                list(f, items)?;
                f.write_char(')')
            }),
            Expr::Like { expr, pattern, escape, negated } => predicate(f, style, *negated, |f, not| {
                write!(f, "{} {not}LIKE {}", part(expr), part(pattern))?;
                escape.as_ref().map_or(Ok(()), |escape| write!(f, " ESCAPE {}", string(escape)))
            }),
            Expr::Case { operand, branches, otherwise } => {
                f.write_str("(CASE")?;
                if let Some(operand) = operand {
                    write!(f, " {}", part(operand))?;
                }
                for (condition, result) in branches {
                    write!(f, " WHEN {} THEN {}", part(condition), part(result))?;
                }
                if let Some(otherwise) = otherwise {
                    write!(f, " ELSE {}", part(otherwise))?;
                }
                f.write_str(" END)")
            }
            Expr::Cast { expr, ty } => write!(f, "CAST({} AS {})", part(expr), Printed { node: ty, style }),
            Expr::Call { name, args, star, .. } => {
                write!(f, "{}(", Name(name, style))?;
                if *star {
                    f.write_char('*')?;
                }
                list(f, args)?;
                f.write_char(')')
            }
            Expr::Subscript { base, index } => {
                suffixed(f, base, style)?;
                write!(f, "[{}]", part(index))
            }
            Expr::Field { base, field } => {
                suffixed(f, base, style)?;
                write!(f, "->{}", Name(field, style))
            }
            Expr::Array(items) => {
                f.write_str("ARRAY[")?;
                list(f, items)?;
                f.write_char(']')
            }
            Expr::Map(entries) => {
                f.write_str("MAP(")?;
                separated(f, entries, |f, (key, value)| write!(f, "{}:={}", part(key), part(value)))?;
                f.write_char(')')
            }
            Expr::Struct(fields) => {
                f.write_str("STRUCT(")?;
                separated(f, fields, |f, (name, value)| write!(f, "{}:={}", Name(name, style), part(value)))?;
                f.write_char(')')
            }
            Expr::Lambda { parameters, body } => {
                f.write_char('(')?;
                separated(f, parameters, |f, name| Name(name, style).fmt(f))?;
                write!(f, ") => {}", part(body))
            }
            Expr::IntervalUnit(unit) => f.write_str(unit),
            Expr::AtTimeZone { expr, zone } => {
                f.write_char('(')?;
                suffixed(f, expr, style)?;
                write!(f, " AT TIME ZONE {})", string(zone))
            }
        }
    }
}

/// What `[…]`, `->` or AT TIME ZONE follows: a sign binds looser than they do.
fn suffixed(f: &mut Formatter<'_>, base: &Expr, style: Style) -> fmt::Result {
    let is_signed = matches!(base, Expr::Negate(_) | Expr::Plus(_));
    let printed = Printed { node: base, style };
    if is_signed && style == Style::Sql { write!(f, "({printed})") } else { printed.fmt(f) }
}

/// `(… NOT LIKE …)` in SQL, `(NOT (… LIKE …))` in messages.
fn predicate(
    f: &mut Formatter<'_>,
    style: Style,
    negated: bool,
    body: impl FnOnce(&mut Formatter<'_>, &str) -> fmt::Result,
) -> fmt::Result {
    match (negated, style) {
        (true, Style::Message | Style::Formatted) => {
            f.write_str("(NOT (")?;
            body(f, "")?;
            f.write_str("))")
        }
        (negated, _) => {
            f.write_char('(')?;
            body(f, if negated { "NOT " } else { "" })?;
            f.write_char(')')
        }
    }
}

/// `a, b, c`.
pub(super) fn separated<T>(
    f: &mut Formatter<'_>,
    items: impl IntoIterator<Item = T>,
    mut print: impl FnMut(&mut Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    for (n, item) in items.into_iter().enumerate() {
        if n > 0 {
            f.write_str(", ")?;
        }
        print(f, item)?;
    }
    Ok(())
}

impl Display for ArithmeticOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ArithmeticOp::Add => "+",
            ArithmeticOp::Subtract => "-",
            ArithmeticOp::Multiply => "*",
            ArithmeticOp::Divide => "/",
            ArithmeticOp::Modulo => "%",
        })
    }
}

impl Display for ComparisonOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ComparisonOp::Equal => "=",
            ComparisonOp::NotEqual => "<>",
            ComparisonOp::Less => "<",
            ComparisonOp::LessOrEqual => "<=",
            ComparisonOp::Greater => ">",
            ComparisonOp::GreaterOrEqual => ">=",
            ComparisonOp::IsDistinctFrom => "IS DISTINCT FROM",
            ComparisonOp::IsNotDistinctFrom => "IS NOT DISTINCT FROM",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_expression;
    use super::*;

    #[test]
    fn expressions_print_as_messages_show_them() {
        for (text, printed) in [
            ("a + b*2 - -3", "((A + (B * 2)) - -3)"),
            ("`x`.y is not null", "(x.Y IS NOT NULL)"),
            ("a not like 'it''s' escape '!'", "(NOT (A LIKE 'it''s' ESCAPE '!'))"),
            ("not a and b or c", "(((NOT A) AND B) OR C)"),
            ("a in (1, 2) and b not between 1 and 2", "((A IN (1, 2)) AND (NOT (B BETWEEN 1 AND 2)))"),
            ("array[1, null, true]", "ARRAY[1, null, true]"),
            ("struct(f := a, g := 1.50)", "STRUCT(F:=A, G:=1.50)"),
            ("map('k' := v)['k']", "MAP('k':=V)['k']"),
            ("a->b->`c`[1]", "A->B->c[1]"),
            ("transform(a, x => x + 1)", "TRANSFORM(A, (X) => (X + 1))"),
            ("reduce(a, 0, (s, x) => s + x)", "REDUCE(A, 0, (S, X) => (S + X))"),
            ("cast(a as array<struct<f int>>)", "CAST(A AS ARRAY<STRUCT<F INTEGER>>)"),
            ("case when a then 1 else 2 end", "(CASE WHEN A THEN 1 ELSE 2 END)"),
            ("case a when 1 then 'x' end", "(CASE A WHEN 1 THEN 'x' END)"),
            ("count(*) + count()", "(COUNT(*) + COUNT())"),
            ("1e3 + 2147483648", "(1E3 + 2147483648)"),
            ("a || b || c", "CONCAT(CONCAT(A, B), C)"),
            ("a is not distinct from b", "(NOT (A IS DISTINCT FROM B))"),
            ("- -a + +b", "(- -A + +B)"),
            ("timestampadd(day, 1, t)", "TIMESTAMPADD(DAYS, 1, T)"),
            ("sum(day)", "SUM(DAY)"),
            ("t at time zone 'UTC'", "(T AT TIME ZONE 'UTC')"),
            ("date '2020-01-01'", "CAST('2020-01-01' AS DATE)"),
        ] {
            assert_eq!(parse_expression(text).map(|e| message(&e)).map_err(|e| e.to_string()), Ok(printed.into()));
        }
    }

    #[test]
    fn names_are_quoted_where_they_need_it() {
        for (raw, printed) in [
            ("A", "A"),
            ("a", "`a`"),
            ("A B", "`A B`"),
            ("SELECT", "`SELECT`"),
            ("1A", "`1A`"),
            ("x`y", "`x``y`"),
            ("", "``"),
        ] {
            assert_eq!(name(raw), printed);
        }
    }
}

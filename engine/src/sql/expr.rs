//! Expressions, by ksqlDB's grammar and precedence.
//!
//! | binds | operators |
//! |---|---|
//! | tightest | `e[i]`, `e->f`, `f(…)` |
//! | | `AT TIME ZONE 'z'` |
//! | | unary `-` `+` (a minus before a number belongs to the number) |
//! | | `* / %` |
//! | | `+ -` |
//! | | `\|\|` |
//! | | one of `= <> < <= > >=`, BETWEEN, IN, LIKE, IS … |
//! | | NOT |
//! | | AND |
//! | loosest | OR |
//!
//! Everything down to `||` is a *value*; GROUP BY, subscripts and VALUES take values only.

use super::ast::{ArithmeticOp, ComparisonOp, Expr, Literal, TypeName};
use super::lexer::{Token, TokenKind};
use super::parser::Parser;
use crate::error::Result;
use crate::types::SqlType;

const CONCAT: u8 = 1;
const SUM: u8 = 2;
const PRODUCT: u8 = 3;
const SIGN: u8 = 4;
const ZONE: u8 = 5;

/// Units as a function takes them, one or many, and the name they go by.
const INTERVAL_UNITS: &[(&str, &str)] = &[
    ("DAY", "DAYS"),
    ("HOUR", "HOURS"),
    ("MINUTE", "MINUTES"),
    ("SECOND", "SECONDS"),
    ("MILLISECOND", "MILLISECONDS"),
];

/// Functions whose first argument is a unit. Elsewhere `DAY` is a column, as it is no reserved word.
const UNIT_FUNCTIONS: &[&str] = &["TIMESTAMPADD", "TIMESTAMPSUB", "DATEADD", "DATESUB", "TIMEADD", "TIMESUB"];

/// Whether the first argument of the function is a unit.
pub fn takes_unit(function: &str) -> bool {
    UNIT_FUNCTIONS.contains(&function)
}

/// The name that a unit goes by, one or many.
pub fn interval_unit(word: &str) -> Option<&'static str> {
    INTERVAL_UNITS.iter().find(|(one, many)| word == *one || word == *many).map(|(_, many)| *many)
}

impl Parser<'_> {
    pub fn expression(&mut self) -> Result<Expr> {
        let mut left = self.conjunction()?;
        while self.accept_word("OR") {
            left = Expr::Or(Box::new(left), Box::new(self.conjunction()?));
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Expr> {
        let mut left = self.negation()?;
        while self.accept_word("AND") {
            left = Expr::And(Box::new(left), Box::new(self.negation()?));
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Expr> {
        if self.accept_word("NOT") {
            return Ok(Expr::Not(Box::new(self.negation()?)));
        }
        self.predicate()
    }

    fn predicate(&mut self) -> Result<Expr> {
        let left = self.value()?;
        if let Some(op) = self.peek().and_then(comparison_op) {
            self.next += 1;
            let right = self.value()?;
            return Ok(Expr::Comparison { op, left: Box::new(left), right: Box::new(right) });
        }
        if self.accept_word("IS") {
            let negated = self.accept_word("NOT");
            if self.accept_word("NULL") {
                return Ok(Expr::IsNull { expr: Box::new(left), negated });
            }
            if !self.at_word("DISTINCT") {
                return Err(self.unexpected(&["NULL", "DISTINCT"]));
            }
            self.expect_words(&["DISTINCT", "FROM"])?;
            let op = if negated { ComparisonOp::IsNotDistinctFrom } else { ComparisonOp::IsDistinctFrom };
            return Ok(Expr::Comparison { op, left: Box::new(left), right: Box::new(self.value()?) });
        }
        let negated = self.accept_word("NOT");
        if self.accept_word("BETWEEN") {
            let low = self.value()?;
            self.expect_word("AND")?;
            let high = self.value()?;
            return Ok(Expr::Between { expr: Box::new(left), low: Box::new(low), high: Box::new(high), negated });
        }
        if self.accept_word("IN") {
            let list = self.list_in_parentheses(Self::expression)?;
            return Ok(Expr::In { expr: Box::new(left), list, negated });
        }
        if self.accept_word("LIKE") {
            let pattern = self.value()?;
            let escape = if self.accept_word("ESCAPE") { Some(self.string()?) } else { None };
            return Ok(Expr::Like { expr: Box::new(left), pattern: Box::new(pattern), escape, negated });
        }
        if negated {
            return Err(self.unexpected(&["BETWEEN", "IN", "LIKE"]));
        }
        Ok(left)
    }

    /// What GROUP BY, PARTITION BY and VALUES take: a value in ksqlDB, any expression outside strict mode.
    pub fn value_or_expression(&mut self) -> Result<Expr> {
        if self.strict { self.value() } else { self.expression() }
    }

    fn value(&mut self) -> Result<Expr> {
        self.value_binding(CONCAT)
    }

    /// A value whose operators bind at least as tightly as `least`.
    fn value_binding(&mut self, least: u8) -> Result<Expr> {
        let minus = self.at_symbol("-");
        let mut left = if minus && self.peek_nth(1).is_some_and(Token::is_number) {
            self.primary()?
        } else if minus || self.at_symbol("+") {
            self.next += 1;
            let operand = Box::new(self.value_binding(SIGN)?);
            if minus { Expr::Negate(operand) } else { Expr::Plus(operand) }
        } else {
            self.primary()?
        };
        loop {
            let Some(token) = self.peek() else { return Ok(left) };
            let (binds, op) = match &token.kind {
                TokenKind::Symbol("||") => (CONCAT, None),
                TokenKind::Symbol("+") => (SUM, Some(ArithmeticOp::Add)),
                TokenKind::Symbol("-") => (SUM, Some(ArithmeticOp::Subtract)),
                TokenKind::Symbol("*") => (PRODUCT, Some(ArithmeticOp::Multiply)),
                TokenKind::Symbol("/") => (PRODUCT, Some(ArithmeticOp::Divide)),
                TokenKind::Symbol("%") => (PRODUCT, Some(ArithmeticOp::Modulo)),
                TokenKind::Word(word) if word == "AT" => (ZONE, None),
                _ => return Ok(left),
            };
            if binds < least {
                return Ok(left);
            }
            self.next += 1;
            if binds == ZONE {
                self.expect_words(&["TIME", "ZONE"])?;
                left = Expr::AtTimeZone { expr: Box::new(left), zone: self.string()? };
                continue;
            }
            let (left_side, right) = (Box::new(left), Box::new(self.value_binding(binds + 1)?));
            left = match op {
                Some(op) => Expr::Arithmetic { op, left: left_side, right },
                None => Expr::Concat { left: left_side, right },
            };
        }
    }

    fn primary(&mut self) -> Result<Expr> {
        let mut base = self.primary_without_suffix()?;
        loop {
            if self.accept_symbol("[") {
                let index = self.value()?;
                self.expect_symbol("]")?;
                base = Expr::Subscript { base: Box::new(base), index: Box::new(index) };
            } else if self.at_symbol("->") && !self.nth_is_symbol(1, "*") {
                self.next += 1;
                base = Expr::Field { base: Box::new(base), field: self.identifier()? };
            } else {
                return Ok(base);
            }
        }
    }

    fn primary_without_suffix(&mut self) -> Result<Expr> {
        let Some(token) = self.peek() else { return Err(self.unexpected(&[])) };
        match &token.kind {
            TokenKind::String(value) => {
                self.next += 1;
                Ok(Expr::Literal(Literal::String(value.clone())))
            }
            TokenKind::Integer | TokenKind::Decimal | TokenKind::Float | TokenKind::Symbol("-") => {
                Ok(Expr::Literal(self.number()?))
            }
            TokenKind::Symbol("(") => {
                self.next += 1;
                let inner = self.expression()?;
                self.expect_symbol(")")?;
                Ok(inner)
            }
            TokenKind::Word(word) => self.primary_of_word(word),
            _ => self.name_or_call(),
        }
    }

    fn primary_of_word(&mut self, word: &str) -> Result<Expr> {
        let followed_by = |symbol| self.nth_is_symbol(1, symbol);
        match word {
            "NULL" | "TRUE" | "FALSE" => {
                self.next += 1;
                Ok(Expr::Literal(match word {
                    "NULL" => Literal::Null,
                    truth => Literal::Boolean(truth == "TRUE"),
                }))
            }
            "CASE" => self.case(),
            "CAST" => {
                self.next += 1;
                self.expect_symbol("(")?;
                let expr = Box::new(self.expression()?);
                self.expect_word("AS")?;
                let ty = self.type_name()?;
                self.expect_symbol(")")?;
                Ok(Expr::Cast { expr, ty })
            }
            "ARRAY" if followed_by("[") => {
                self.next += 2;
                Ok(Expr::Array(self.list_until("]", Self::expression)?))
            }
            "MAP" if followed_by("(") => {
                self.next += 2;
                let entries = self.list_until(")", |p| {
                    let key = p.expression()?;
                    p.expect_symbol(":=")?;
                    Ok((key, p.expression()?))
                })?;
                Ok(Expr::Map(entries))
            }
            "STRUCT" if followed_by("(") => {
                self.next += 2;
                let fields = self.list_until(")", |p| {
                    let name = p.identifier()?;
                    p.expect_symbol(":=")?;
                    Ok((name, p.expression()?))
                })?;
                Ok(Expr::Struct(fields))
            }
            "DATE" | "TIME" | "TIMESTAMP"
                if matches!(self.peek_nth(1).map(|t| &t.kind), Some(TokenKind::String(_))) =>
            {
                self.next += 1;
                let ty = match word {
                    "DATE" => SqlType::Date,
                    "TIME" => SqlType::Time,
                    _ => SqlType::Timestamp,
                };
                let text = Expr::Literal(Literal::String(self.string()?));
                Ok(Expr::Cast { expr: Box::new(text), ty: TypeName::Sql(ty) })
            }
            // Reserved for joins, but functions elsewhere in the SQL world.
            "LEFT" | "RIGHT" if followed_by("(") && !self.strict => {
                let position = self.position();
                self.next += 1;
                self.call(word.to_string(), position)
            }
            _ => self.name_or_call(),
        }
    }

    fn name_or_call(&mut self) -> Result<Expr> {
        let position = self.position();
        let name = self.identifier()?;
        if self.at_symbol("(") {
            return self.call(name, position);
        }
        if self.at_symbol(".") && !self.nth_is_symbol(1, "*") {
            self.next += 1;
            return Ok(Expr::Column { source: Some(name), name: self.identifier()?, position });
        }
        Ok(Expr::Column { source: None, name, position })
    }

    fn call(&mut self, name: String, position: crate::error::Position) -> Result<Expr> {
        self.expect_symbol("(")?;
        if self.at_symbol("*") && self.nth_is_symbol(1, ")") {
            self.next += 2;
            return Ok(Expr::Call { name, args: Vec::new(), star: true, position });
        }
        let takes_unit = takes_unit(&name);
        let args = self.list_until(")", |p| p.argument(takes_unit))?;
        Ok(Expr::Call { name, args, star: false, position })
    }

    fn argument(&mut self, takes_unit: bool) -> Result<Expr> {
        if let Some(parameters) = self.lambda_parameters()? {
            return Ok(Expr::Lambda { parameters, body: Box::new(self.expression()?) });
        }
        if let Some(TokenKind::Word(word)) = self.peek().map(|t| &t.kind)
            && (self.nth_is_symbol(1, ",") || self.nth_is_symbol(1, ")"))
            && let Some((_, unit)) = INTERVAL_UNITS
                .iter()
                .find(|(one, many)| word == many || (word == one && (takes_unit || word == "MILLISECOND")))
        {
            self.next += 1;
            return Ok(Expr::IntervalUnit((*unit).to_string()));
        }
        self.expression()
    }

    /// `x =>` or `(x, y) =>`; takes nothing if neither stands next.
    fn lambda_parameters(&mut self) -> Result<Option<Vec<String>>> {
        if Self::is_identifier(self.peek()) && self.nth_is_symbol(1, "=>") {
            let parameter = self.identifier()?;
            self.next += 1;
            return Ok(Some(vec![parameter]));
        }
        if !self.at_symbol("(") {
            return Ok(None);
        }
        let mut ahead = 1;
        while Self::is_identifier(self.peek_nth(ahead)) && self.nth_is_symbol(ahead + 1, ",") {
            ahead += 2;
        }
        let is_lambda = Self::is_identifier(self.peek_nth(ahead))
            && self.nth_is_symbol(ahead + 1, ")")
            && self.nth_is_symbol(ahead + 2, "=>");
        if !is_lambda {
            return Ok(None);
        }
        let parameters = self.list_in_parentheses(Self::identifier)?;
        self.next += 1;
        Ok(Some(parameters))
    }

    fn case(&mut self) -> Result<Expr> {
        self.expect_word("CASE")?;
        let operand = if self.at_word("WHEN") { None } else { Some(Box::new(self.value()?)) };
        let mut branches = Vec::new();
        while self.accept_word("WHEN") {
            let condition = self.expression()?;
            self.expect_word("THEN")?;
            branches.push((condition, self.expression()?));
        }
        if branches.is_empty() {
            return Err(self.unexpected(&["WHEN"]));
        }
        let otherwise = if self.accept_word("ELSE") { Some(Box::new(self.expression()?)) } else { None };
        if !self.accept_word("END") {
            return Err(self.unexpected(&["WHEN", "ELSE", "END"]));
        }
        Ok(Expr::Case { operand, branches, otherwise })
    }

    /// `item, item, … close`, maybe none; the opening is already taken.
    fn list_until<T>(&mut self, close: &'static str, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        if self.accept_symbol(close) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.accept_symbol(close) {
                return Ok(items);
            }
            if !self.accept_symbol(",") {
                return Err(self.unexpected(&[",", close]));
            }
        }
    }

    /// NULL, TRUE, a number, a string: what a WITH clause takes.
    pub fn literal(&mut self) -> Result<Literal> {
        let Some(token) = self.peek() else { return Err(self.unexpected(&[])) };
        match &token.kind {
            TokenKind::String(_) => Ok(Literal::String(self.string()?)),
            TokenKind::Word(word) if matches!(word.as_str(), "NULL" | "TRUE" | "FALSE") => {
                self.next += 1;
                Ok(if word == "NULL" { Literal::Null } else { Literal::Boolean(word == "TRUE") })
            }
            _ => self.number(),
        }
    }

    /// A number with or without a leading minus.
    fn number(&mut self) -> Result<Literal> {
        let negative = self.accept_symbol("-");
        let Some(token) = self.peek().filter(|t| t.is_number()) else { return Err(self.unexpected(&[])) };
        let text = format!("{}{}", if negative { "-" } else { "" }, self.slice(token));
        self.next += 1;
        match token.kind {
            TokenKind::Decimal => Ok(Literal::Decimal(text)),
            TokenKind::Float => match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(Literal::Double(value)),
                _ => Err(self.literal_error(token, format!("Number overflows DOUBLE: {text}"))),
            },
            _ => match text.parse::<i64>() {
                Ok(value) => Ok(i32::try_from(value).map_or(Literal::Bigint(value), Literal::Integer)),
                Err(_) => Err(self.literal_error(token, format!("Invalid numeric literal: {text}"))),
            },
        }
    }
}

fn comparison_op(token: &Token) -> Option<ComparisonOp> {
    Some(match token.kind {
        TokenKind::Symbol("=") => ComparisonOp::Equal,
        TokenKind::Symbol("<>" | "!=") => ComparisonOp::NotEqual,
        TokenKind::Symbol("<") => ComparisonOp::Less,
        TokenKind::Symbol("<=") => ComparisonOp::LessOrEqual,
        TokenKind::Symbol(">") => ComparisonOp::Greater,
        TokenKind::Symbol(">=") => ComparisonOp::GreaterOrEqual,
        _ => return None,
    })
}

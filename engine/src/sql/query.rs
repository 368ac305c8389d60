//! Queries in ksqlDB's grammar: `SELECT … FROM … [JOIN …] [WINDOW …] [WHERE …] [GROUP BY …] [PARTITION BY …]
//! [HAVING …] [EMIT …] [LIMIT …]`, clauses in this order.
//!
//! A SELECT that goes beyond it (ORDER BY, subqueries, several FROM items, …) is ordinary SQL: outside strict mode, and
//! without EMIT, it is handed to `batch`.

use super::ast::*;
use super::batch;
use super::keywords::can_be_bare_alias;
use super::lexer::TokenKind;
use super::parser::Parser;
use crate::error::{Error, ErrorKind, Position, Result};

/// Names of time units and their length.
const UNITS: &[(&str, i64)] = &[
    ("DAY", 86_400_000),
    ("DAYS", 86_400_000),
    ("HOUR", 3_600_000),
    ("HOURS", 3_600_000),
    ("MINUTE", 60_000),
    ("MINUTES", 60_000),
    ("SECOND", 1_000),
    ("SECONDS", 1_000),
    ("MILLISECOND", 1),
    ("MILLISECONDS", 1),
];

const UNIT_NAMES: &[&str] = &["DAYS", "HOURS", "MINUTES", "SECONDS", "MILLISECONDS"];

impl Parser<'_> {
    /// The rest of the statement as a query: ksqlDB's if it fits, else ordinary SQL.
    pub fn query_statement(&mut self) -> Result<Statement> {
        let start = self.next;
        let ours = self.query().and_then(|query| {
            self.expect_end()?;
            Ok(Statement::Query(query))
        });
        let error = match ours {
            Ok(query) => return Ok(query),
            Err(error) => error,
        };
        let tokens = &self.tokens[start..];
        let emits = tokens
            .windows(2)
            .any(|pair| pair[0].is_word("EMIT") && (pair[1].is_word("CHANGES") || pair[1].is_word("FINAL")));
        if self.strict || emits || !may_be_ordinary_sql(&error) {
            return Err(error);
        }
        match batch::parse_tokens(self.text, tokens) {
            Ok(query) => {
                self.next = self.tokens.len();
                Ok(Statement::BatchQuery(Box::new(query)))
            }
            // Whoever read further knows better what was meant.
            Err(batch_error) => {
                let reach = |e: &Error| e.position().map(|p: Position| (p.line, p.column));
                let is_limit = batch_error.kind() == ErrorKind::Limit;
                let clearer = if is_limit || reach(&batch_error) > reach(&error) { batch_error } else { error };
                Err(clearer.in_statement(self.shown))
            }
        }
    }

    pub fn query(&mut self) -> Result<Query> {
        self.expect_word("SELECT")?;
        let select = self.comma_separated(Self::select_item)?;
        if !self.accept_word("FROM") {
            return Err(self.unexpected(&[",", "FROM"]));
        }
        let from = self.relation()?;
        let mut joins = Vec::new();
        while let Some(join) = self.join()? {
            joins.push(join);
        }
        let window = if self.accept_word("WINDOW") { Some(self.window()?) } else { None };
        let filter = if self.accept_word("WHERE") { Some(self.expression()?) } else { None };
        let group_by = self.by_list("GROUP")?;
        let partition_by = self.by_list("PARTITION")?;
        let having = if self.accept_word("HAVING") { Some(self.expression()?) } else { None };
        let emit = if self.accept_word("EMIT") {
            Some(match self.expect_one_of(&["CHANGES", "FINAL"])? {
                "FINAL" => Emit::Final,
                _ => Emit::Changes,
            })
        } else {
            None
        };
        let limit = if self.accept_word("LIMIT") { Some(self.limit(emit)?) } else { None };
        Ok(Query { select, from, joins, window, filter, group_by, partition_by, having, emit, limit })
    }

    fn select_item(&mut self) -> Result<SelectItem> {
        let position = self.position();
        if self.accept_symbol("*") {
            return Ok(SelectItem::Star { source: None, position });
        }
        if Self::is_identifier(self.peek()) && self.nth_is_symbol(1, ".") && self.nth_is_symbol(2, "*") {
            let source = Some(self.identifier()?);
            self.next += 2;
            return Ok(SelectItem::Star { source, position });
        }
        let expr = self.expression()?;
        if self.at_symbol("->") && self.nth_is_symbol(1, "*") {
            self.next += 2;
            return Ok(SelectItem::StructStar(expr));
        }
        Ok(SelectItem::Expr { expr, alias: self.alias()? })
    }

    /// `AS x`, or `x` where it cannot be the next clause.
    fn alias(&mut self) -> Result<Option<String>> {
        if self.accept_word("AS") {
            return self.identifier().map(Some);
        }
        let starts_clause = self.at_words(&["EMIT", "CHANGES"])
            || self.at_words(&["EMIT", "FINAL"])
            || self.at_words(&["PARTITION", "BY"])
            || matches!(
                self.peek().map(|t| &t.kind),
                Some(TokenKind::Word(word)) if !self.strict && !can_be_bare_alias(word)
            );
        if starts_clause || !Self::is_identifier(self.peek()) {
            return Ok(None);
        }
        self.identifier().map(Some)
    }

    fn relation(&mut self) -> Result<Relation> {
        Ok(Relation { name: self.source_name()?, alias: self.alias()? })
    }

    pub fn source_name(&mut self) -> Result<Name> {
        let position = self.position();
        Ok(Name { name: self.identifier()?, position })
    }

    fn join(&mut self) -> Result<Option<Join>> {
        let kind = if self.accept_word("JOIN") {
            JoinKind::Inner
        } else {
            let kind = match self.peek().map(|t| &t.kind) {
                Some(TokenKind::Word(word)) => match word.as_str() {
                    "INNER" => JoinKind::Inner,
                    "LEFT" => JoinKind::Left,
                    "RIGHT" => JoinKind::Right,
                    "FULL" => JoinKind::Full,
                    _ => return Ok(None),
                },
                _ => return Ok(None),
            };
            self.next += 1;
            if kind == JoinKind::Inner || !self.accept_word("OUTER") {
                let expecting: &[&str] = if kind == JoinKind::Inner { &["JOIN"] } else { &["OUTER", "JOIN"] };
                if !self.accept_word("JOIN") {
                    return Err(self.unexpected(expecting));
                }
            } else {
                self.expect_word("JOIN")?;
            }
            kind
        };
        let relation = self.relation()?;
        let within = if self.accept_word("WITHIN") { Some(self.within()?) } else { None };
        if !self.accept_word("ON") {
            return Err(self.unexpected(if within.is_some() { &["ON"] } else { &["WITHIN", "ON"] }));
        }
        let on = self.expression()?;
        Ok(Some(Join { kind, relation, within, on }))
    }

    fn within(&mut self) -> Result<Within> {
        let (before_ms, after_ms) = if self.accept_symbol("(") {
            let before_ms = self.duration_ms()?;
            self.expect_symbol(",")?;
            let after_ms = self.duration_ms()?;
            self.expect_symbol(")")?;
            (before_ms, after_ms)
        } else {
            let both_ms = self.duration_ms()?;
            (both_ms, both_ms)
        };
        self.accept_symbol(",");
        let grace_ms = if self.accept_word("GRACE") {
            self.expect_word("PERIOD")?;
            Some(self.duration_ms()?)
        } else {
            None
        };
        Ok(Within { before_ms, after_ms, grace_ms })
    }

    fn window(&mut self) -> Result<Window> {
        let is_named = !(self.nth_is_symbol(1, "(")) && Self::is_identifier(self.peek());
        let name = if is_named { Some(self.identifier()?) } else { None };
        let shape = self.expect_one_of(&["TUMBLING", "HOPPING", "SESSION"])?;
        self.expect_symbol("(")?;
        let kind = match shape {
            "TUMBLING" => {
                self.expect_word("SIZE")?;
                WindowKind::Tumbling { size_ms: self.duration_ms()? }
            }
            "HOPPING" => {
                self.expect_word("SIZE")?;
                let size_ms = self.duration_ms()?;
                self.expect_symbol(",")?;
                self.expect_words(&["ADVANCE", "BY"])?;
                WindowKind::Hopping { size_ms, advance_ms: self.duration_ms()? }
            }
            _ => WindowKind::Session { gap_ms: self.duration_ms()? },
        };
        let (mut retention_ms, mut grace_ms) = (None, None);
        while self.accept_symbol(",") {
            if retention_ms.is_none() && grace_ms.is_none() && self.accept_word("RETENTION") {
                retention_ms = Some(self.duration_ms()?);
            } else if grace_ms.is_none() && self.accept_word("GRACE") {
                self.expect_word("PERIOD")?;
                grace_ms = Some(self.duration_ms()?);
            } else {
                return Err(self.unexpected(&["RETENTION", "GRACE"]));
            }
        }
        if !self.accept_symbol(")") {
            return Err(self.unexpected(&[",", ")"]));
        }
        Ok(Window { name, kind, retention_ms, grace_ms })
    }

    /// `30 SECONDS`.
    pub fn duration_ms(&mut self) -> Result<i64> {
        let number = self.peek();
        let count = self.unsigned()?;
        let unit_ms = UNITS.iter().find(|(unit, _)| self.at_word(unit)).map(|(_, ms)| *ms);
        let Some(unit_ms) = unit_ms else { return Err(self.unexpected(UNIT_NAMES)) };
        self.next += 1;
        match (i64::try_from(count).ok().and_then(|count| count.checked_mul(unit_ms)), number) {
            (Some(duration_ms), _) => Ok(duration_ms),
            (None, Some(token)) => Err(self.literal_error(token, format!("duration is too long: {count}"))),
            (None, None) => Err(self.unexpected(UNIT_NAMES)),
        }
    }

    /// `GROUP BY a, b`, `GROUP BY (a, b)`; empty when the clause is not there.
    fn by_list(&mut self, clause: &str) -> Result<Vec<Expr>> {
        if !self.at_words(&[clause, "BY"]) {
            return Ok(Vec::new());
        }
        self.next += 2;
        let position = self.position();
        if self.at_symbol("(") && self.nth_is_symbol(1, ")") {
            return Err(Error::statement(format!("{clause} BY requires at least one expression"))
                .at(position)
                .in_statement(self.shown));
        }
        if self.parentheses_hold_the_list() {
            // One in parentheses is a value whatever it holds: `PARTITION BY (a IS NULL)`.
            self.list_in_parentheses(Self::expression)
        } else {
            self.comma_separated(Self::value_or_expression)
        }
    }

    /// Whether the `(` that stands next closes right before the next clause, so that it brackets the whole list.
    fn parentheses_hold_the_list(&self) -> bool {
        if !self.at_symbol("(") {
            return false;
        }
        let mut open = 0_usize;
        for (index, token) in self.tokens.iter().enumerate().skip(self.next) {
            match token.kind {
                TokenKind::Symbol("(") => open += 1,
                TokenKind::Symbol(")") => {
                    open -= 1;
                    if open == 0 {
                        return match self.tokens.get(index + 1).map(|t| &t.kind) {
                            None | Some(TokenKind::Symbol(")")) => true,
                            Some(TokenKind::Word(word)) => {
                                matches!(word.as_str(), "PARTITION" | "HAVING" | "EMIT" | "LIMIT")
                            }
                            _ => false,
                        };
                    }
                }
                _ => {}
            }
        }
        false
    }

    fn limit(&mut self, emit: Option<Emit>) -> Result<u64> {
        let position = self.position();
        if self.at_symbol("-") && matches!(self.peek_nth(1).map(|t| &t.kind), Some(TokenKind::Integer)) {
            let (kind, advice) = match emit {
                Some(_) => ("Push", ""),
                None => ("Pull", "\nAdd EMIT CHANGES if you intended to issue a push query."),
            };
            return Err(Error::statement(format!(
                "{kind} queries don't support negative integers in the LIMIT clause. See \
                 https://cnfl.io/queries for more info.{advice}"
            ))
            .at(position)
            .in_statement(self.shown));
        }
        self.unsigned()
    }
}

/// Only text that ksqlDB's grammar lacks may be ordinary SQL; a number that overflows is wrong in both.
fn may_be_ordinary_sql(error: &Error) -> bool {
    error.kind() == ErrorKind::Parse && !error.message().starts_with("Failed to prepare statement")
}

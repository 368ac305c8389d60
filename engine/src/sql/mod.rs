//! SQL text → statements. Knows nothing of Arrow, catalogs or plans.
//!
//! ```text
//! text ─ lexer ─► tokens ─ split at `;` ─► one statement's tokens
//!                                            │  variables: ${name} replaced, lexed again
//!                                            │  limits: length, nesting, depth
//!                                            ▼
//!          parser (statement, source, query, expr, types) ─► ast::Statement
//!                                            │  a SELECT beyond ksqlDB's grammar
//!                                            ▼
//!                                          batch ─► sqlparser's Query
//! ```
//!
//! `print` goes the other way: expressions as messages show them, and statements as text that parses again.
//!
//! | text | statement |
//! |---|---|
//! | `SELECT a FROM s EMIT CHANGES;` | `Query` |
//! | `SELECT a FROM s WHERE k = 1;` | `Query`: it fits the grammar |
//! | `SELECT a FROM s ORDER BY a;` | `BatchQuery`; in strict mode a syntax error |

pub mod ast;
pub mod batch;
mod expr;
mod keywords;
mod lexer;
mod limits;
mod parser;
pub mod print;
mod print_formatted;
mod print_statement;
mod query;
mod source;
mod split;
mod statement;
mod types;
mod variables;

use std::collections::BTreeMap;

use ast::{Expr, ParsedStatement, Statement, TypeName};
pub use batch::{RELATIONS_MAX, parse_batch, type_name};
pub use expr::{interval_unit, takes_unit};
pub use keywords::{closest, is_reserved, keywords};
pub use lexer::TOKENS_MAX;
use lexer::{TEXT_START, Token};
pub use limits::{EXPRESSION_DEPTH_MAX, NESTING_MAX, SQL_BYTES_MAX, STATEMENT_TOKENS_MAX, STATEMENTS_MAX};
use parser::Parser;
pub use split::{StatementText, is_unfinished, split_statements};

use crate::error::{Error, Position, Result};

/// Stack that parsing the deepest allowed statement gets.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Stack that a statement takes, and each level of its tree, at most. Not measured: debug builds take far more than
/// release builds, and both far less than this.
const STACK_BYTES_BASE: usize = 256 * 1024;
const STACK_BYTES_PER_LEVEL: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseOptions {
    /// Refuse everything ksqlDB's grammar lacks (`ksql.strict`).
    pub strict: bool,
    /// Replace `${name}` (`ksql.variable.substitution.enable`).
    pub substitute_variables: bool,
}

impl Default for ParseOptions {
    fn default() -> Self {
        Self { strict: false, substitute_variables: true }
    }
}

/// All statements of a text. The last needs no `;`. DEFINE and UNDEFINE take effect for the statements after them.
pub fn parse(text: &str, variables: &BTreeMap<String, String>, options: ParseOptions) -> Result<Vec<ParsedStatement>> {
    limits::check_text(text)?;
    let (tokens, text_end) = lexer::lex(text, TEXT_START)?;
    let mut variables = variables.clone();
    let mut statements = Vec::new();
    let mut start = 0;
    while start < tokens.len() {
        let length = tokens[start..].iter().position(|t| t.is_symbol(";"));
        let end = length.map_or(tokens.len(), |length| start + length);
        let closing = tokens.get(end);
        let piece = &tokens[start..end];
        start = end + 1;
        let Some(first) = piece.first() else { continue };
        if statements.len() >= STATEMENTS_MAX {
            return Err(Error::limit(format!("the SQL text has more than {STATEMENTS_MAX} statements"))
                .at(first.position)
                .with_hint("send fewer statements at a time"));
        }
        let statement = if options.substitute_variables && variables::mentions(piece) {
            let substituted = variables::substitute(text, piece, &variables)?;
            let (tokens, end) = lexer::lex(&substituted, first.position)?;
            parse_statement(&substituted, &tokens, None, end, options)?
        } else {
            parse_statement(text, piece, closing, closing.map_or(text_end, |t| t.position), options)?
        };
        match &statement.statement {
            Statement::Define { name, value } => {
                variables::undefine(&mut variables, name);
                variables.insert(name.clone(), value.clone());
            }
            Statement::Undefine { name } => variables::undefine(&mut variables, name),
            _ => {}
        }
        statements.push(statement);
    }
    Ok(statements)
}

fn parse_statement(
    text: &str,
    tokens: &[Token],
    closing: Option<&Token>,
    end: Position,
    options: ParseOptions,
) -> Result<ParsedStatement> {
    let depth = limits::check_statement(tokens)?;
    let mut parser = parser_of(text, tokens, closing, end, options.strict);
    let statement = on_a_deep_stack(depth, || {
        parser.statement().or_else(|error| {
            // ksqlDB's grammar has its say: `FROM s union` names an alias there.
            let mut strict = parser_of(text, tokens, closing, end, true);
            strict.statement().map_err(|_| error)
        })
    })?;
    let position = tokens.first().map_or(end, |t| t.position);
    Ok(ParsedStatement { statement, text: parser.text_of(0, tokens.len()), position })
}

fn parser_of<'a>(
    text: &'a str,
    tokens: &'a [Token],
    closing: Option<&Token>,
    end: Position,
    strict: bool,
) -> Parser<'a> {
    let shown = match (tokens.first(), closing.or(tokens.last())) {
        (Some(first), Some(last)) => &text[first.start as usize..last.end as usize],
        _ => "",
    };
    Parser { text, tokens, next: 0, end, shown, strict }
}

/// A type on its own: `ARRAY<INT>`.
pub fn parse_type(text: &str) -> Result<TypeName> {
    parse_alone(text, |p| p.type_name())
}

/// An expression on its own.
pub fn parse_expression(text: &str) -> Result<Expr> {
    parse_alone(text, |p| p.expression())
}

fn parse_alone<T>(text: &str, read: impl FnOnce(&mut Parser<'_>) -> Result<T>) -> Result<T> {
    limits::check_text(text)?;
    let (tokens, end) = lexer::lex(text, TEXT_START)?;
    let depth = limits::check_statement(&tokens)?;
    on_a_deep_stack(depth, || {
        let mut parser = parser_of(text, &tokens, None, end, false);
        let value = read(&mut parser)?;
        parser.expect_end()?;
        Ok(value)
    })
}

/// Runs `work` with enough stack for a tree of this depth, whatever thread this is.
fn on_a_deep_stack<T>(depth: usize, work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK_BYTES_BASE + depth * STACK_BYTES_PER_LEVEL, STACK_BYTES, work)
}

#[cfg(test)]
mod tests;

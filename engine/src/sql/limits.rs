//! Bounds checked on tokens, before anything recursive sees the statement.
//!
//! A statement's tree is as deep as its brackets are nested plus its operators are chained (`a + b + c` is a tree of
//! depth 2). Everything behind the parser walks that tree recursively, so its depth is bounded here, once, in a single
//! pass that uses no stack:
//!
//! | text | nesting | depth |
//! |---|---|---|
//! | `a + b + c` | 0 | 2 |
//! | `f(a + g(b))` | 2 | 3 |
//! | `f(a), f(b)` | 1 | 1 |

use super::lexer::{Token, TokenKind};
use crate::error::{Error, Position, Result};

/// Longest text that is parsed at once.
pub const SQL_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Statements of one text.
pub const STATEMENTS_MAX: usize = 100_000;

/// How deep brackets, CASE and subqueries may be nested.
pub const NESTING_MAX: usize = 200;

/// How deep an expression may be in all: nesting plus the operators chained on each open level.
pub const EXPRESSION_DEPTH_MAX: usize = 500;

/// Words and symbols of one statement. INSERT is exempt: its rows lie side by side and are bounded by the text.
pub const STATEMENT_TOKENS_MAX: usize = 100_000;

/// Words that chain: each makes the tree one deeper.
const CHAINING_WORDS: &[&str] = &[
    "AND", "OR", "NOT", "IS", "ISNULL", "NOTNULL", "IN", "LIKE", "ILIKE", "SIMILAR", "BETWEEN", "AT", "COLLATE",
    "ARRAY", "INTERVAL", "PRIOR", "XOR", "DIV", "RLIKE", "REGEXP", "OVERLAPS",
];

/// Words that chain whole queries, which no comma or clause ends.
const LINKING_WORDS: &[&str] = &["UNION", "INTERSECT", "EXCEPT", "MINUS", "JOIN", "EXPLAIN", "COPY"];

/// Words that end one expression and start another beside it.
const PARTING_WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "PARTITION",
    "HAVING",
    "ORDER",
    "LIMIT",
    "ON",
    "WHEN",
    "THEN",
    "ELSE",
    "VALUES",
];

const CHAINING_SYMBOLS: &[&str] = &[
    "+", "-", "*", "/", "%", "||", "=", "<>", "!=", "<", "<=", ">", ">=", "->", "=>", ":=", "::", "[", "~", "~*", "!~",
    "!~*", "!", ":", "|", "&", "^", "#", "@", "?",
];

#[derive(Default)]
struct Level {
    chained: usize,
    linked: usize,
    is_case: bool,
}

/// Bounds one text.
pub(crate) fn check_text(text: &str) -> Result<()> {
    if text.len() > SQL_BYTES_MAX {
        return Err(Error::limit(format!(
            "the SQL text has {} bytes; at most {SQL_BYTES_MAX} are taken at once",
            text.len()
        ))
        .with_hint("send fewer statements at a time, or load data with COPY"));
    }
    Ok(())
}

/// Bounds one statement; the answer is how deep its tree can be.
pub(crate) fn check_statement(tokens: &[Token]) -> Result<usize> {
    let Some(first) = tokens.first() else { return Ok(0) };
    if tokens.len() > STATEMENT_TOKENS_MAX && !first.is_word("INSERT") && !first.is_word("ASSERT") {
        return Err(Error::limit(format!(
            "the statement has {} words and symbols; at most {STATEMENT_TOKENS_MAX} are allowed",
            tokens.len()
        ))
        .at(first.position));
    }
    let mut levels = vec![Level::default()];
    // Sum over the open levels of what is chained and linked on them.
    let mut chained_total = 0;
    let mut deepest = 0;
    for token in tokens {
        let Some(level) = levels.last_mut() else { break };
        let mut opens = None;
        let mut closes = false;
        match &token.kind {
            TokenKind::Symbol(symbol) => {
                if CHAINING_SYMBOLS.contains(symbol) {
                    level.chained += 1;
                    chained_total += 1;
                }
                match *symbol {
                    "(" | "[" => opens = Some(false),
                    ")" | "]" => closes = true,
                    "," => part(level, &mut chained_total),
                    _ => {}
                }
            }
            TokenKind::Word(word) => match word.as_str() {
                "CASE" => opens = Some(true),
                "END" if level.is_case => {
                    close(&mut levels, &mut chained_total);
                    continue;
                }
                word if CHAINING_WORDS.contains(&word) => {
                    level.chained += 1;
                    chained_total += 1;
                }
                word if LINKING_WORDS.contains(&word) => {
                    level.linked += 1;
                    chained_total += 1;
                }
                word if PARTING_WORDS.contains(&word) => part(level, &mut chained_total),
                _ => {}
            },
            _ => {}
        }
        if closes {
            while levels.last().is_some_and(|l| l.is_case) {
                close(&mut levels, &mut chained_total);
            }
            // A bracket too many is the parser's to report.
            if levels.len() > 1 {
                close(&mut levels, &mut chained_total);
            }
        }
        if let Some(is_case) = opens {
            levels.push(Level { is_case, ..Level::default() });
        }
        let nesting = levels.len() - 1;
        if nesting > NESTING_MAX {
            return Err(too_deep(format!("nested more than {NESTING_MAX} levels deep"), token.position)
                .with_hint("split it into several statements, each reading the one before"));
        }
        deepest = deepest.max(nesting + chained_total);
        if deepest > EXPRESSION_DEPTH_MAX {
            return Err(too_deep(format!("more than {EXPRESSION_DEPTH_MAX} operators deep"), token.position)
                .with_hint("a long chain of OR is often an IN list"));
        }
    }
    Ok(deepest)
}

fn part(level: &mut Level, chained_total: &mut usize) {
    *chained_total -= level.chained;
    level.chained = 0;
}

fn close(levels: &mut Vec<Level>, chained_total: &mut usize) {
    if let Some(level) = levels.pop() {
        *chained_total -= level.chained + level.linked;
    }
}

fn too_deep(how: String, position: Position) -> Error {
    Error::limit(format!("line {}:{}: the statement is {how}", position.line, position.column)).at(position)
}

#[cfg(test)]
mod tests {
    use super::super::lexer::{TEXT_START, lex};
    use super::*;
    use crate::error::ErrorKind;

    fn check(text: &str) -> Result<usize> {
        check_statement(&lex(text, TEXT_START)?.0)
    }

    #[test]
    fn long_chains_and_deep_nests_are_refused() {
        for text in [
            format!("SELECT {} FROM s", vec!["a"; 10_000].join(" + ")),
            format!("SELECT * FROM s WHERE {}", vec!["a = 1"; 10_000].join(" OR ")),
            format!("SELECT {}a{} FROM s", "(".repeat(10_000), ")".repeat(10_000)),
            format!("SELECT {}a{} FROM s", "f(".repeat(10_000), ")".repeat(10_000)),
            format!("SELECT {}1{} FROM s", "CASE WHEN a THEN ".repeat(10_000), " END".repeat(10_000)),
            format!("SELECT {}1{}", "(SELECT ".repeat(10_000), ")".repeat(10_000)),
            format!("SELECT {} a FROM s", "NOT ".repeat(10_000)),
            format!("SELECT {}a FROM s", "- ".repeat(10_000)),
            format!("SELECT a{} FROM s", "[1]".repeat(10_000)),
            format!("SELECT a{} FROM s", "->b".repeat(10_000)),
            format!("CREATE STREAM s (a {}INT{})", "ARRAY<".repeat(10_000), ">".repeat(10_000)),
            format!("CREATE STREAM s (a INT{})", " ARRAY".repeat(10_000)),
            vec!["SELECT 1"; 1_000].join(" UNION "),
            format!("{} SELECT 1", "EXPLAIN ".repeat(1_000)),
            format!("SELECT {} FROM s", vec!["a"; 60_000].join(", ")),
        ] {
            let error = check(&text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit, "{}", &text[..40]);
        }
    }

    #[test]
    fn depth_is_nesting_plus_chained_operators() {
        for (text, depth) in [("a + b + c", 2), ("f(a + g(b))", 3), ("f(a), f(b)", 1), ("a + f(b) + c, -d", 2)] {
            assert_eq!(check(text).unwrap(), depth, "{text}");
        }
    }

    #[test]
    fn wide_statements_pass() {
        for text in [
            format!("SELECT {} FROM s", vec!["a + b"; 10_000].join(", ")),
            format!("SELECT a IN ({}) FROM s", vec!["1"; 10_000].join(", ")),
            format!("INSERT INTO s VALUES {}", vec!["(1, -2, 'x')"; 100_000].join(", ")),
            format!("SELECT CASE {} END FROM s", vec!["WHEN a = 1 THEN 2"; 1_000].join(" ")),
            format!("SELECT {}a{} FROM s", "(".repeat(NESTING_MAX), ")".repeat(NESTING_MAX)),
        ] {
            assert!(check(&text).is_ok(), "{}", &text[..40]);
        }
    }
}

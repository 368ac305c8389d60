//! Where statements end, for text that may still be growing (a prompt, a file read in pieces).
//!
//! | text | statements | rest |
//! |---|---|---|
//! | `SHOW STREAMS; SELECT` | `SHOW STREAMS` | `SELECT` |
//! | `SELECT ';' -- ;` | | `SELECT ';' -- ;` |
//! | `SHOW STREAMS; -- done` | `SHOW STREAMS` | empty |

use super::lexer::{Lexer, TEXT_START};
use crate::error::Position;

/// One statement's text, without its `;`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementText<'a> {
    pub text: &'a str,
    /// Where it starts in the whole text.
    pub position: Position,
}

/// The statements that end with `;`, and what follows the last of them. The rest is empty when it is only blanks and
/// comments, and it holds everything from a quote or comment that does not end.
pub fn split_statements(text: &str) -> (Vec<StatementText<'_>>, &str) {
    let mut statements = Vec::new();
    let mut lexer = Lexer::new(text, TEXT_START);
    let mut start: Option<(usize, Position)> = None;
    let mut rest_start = 0;
    let mut last_end = 0;
    loop {
        match lexer.next_token() {
            Ok(Some(token)) if token.is_symbol(";") => {
                if let Some((from, position)) = start.take() {
                    statements.push(StatementText { text: &text[from..last_end], position });
                }
                rest_start = token.end as usize;
            }
            Ok(Some(token)) => {
                start.get_or_insert((token.start as usize, token.position));
                last_end = token.end as usize;
            }
            Ok(None) => return (statements, start.map_or("", |(from, _)| text[from..].trim_end())),
            Err(_) => {
                let from = start.map_or(rest_start, |(from, _)| from);
                return (statements, text[from..].trim());
            }
        }
    }
}

/// Whether only more text can complete `rest`: a quote or comment in it does not end.
pub fn is_unfinished(rest: &str) -> bool {
    let mut lexer = Lexer::new(rest, TEXT_START);
    loop {
        match lexer.next_token() {
            Ok(Some(_)) => {}
            Ok(None) => return false,
            Err(error) => return error.unfinished,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_semicolons_outside_quotes_and_comments() {
        for (text, statements, rest) in [
            ("SHOW STREAMS; SELECT", vec!["SHOW STREAMS"], "SELECT"),
            ("a ';' \";\" `;` /* ; */ b -- ;\n; ;c;", vec!["a ';' \";\" `;` /* ; */ b", "c"], ""),
            ("a; -- done\n /* x */ ", vec!["a"], ""),
            ("a; 'b;", vec!["a"], "'b;"),
            ("a; b /* ;", vec!["a"], "b /* ;"),
            ("a ¿ b; c", vec!["a ¿ b"], "c"),
        ] {
            let (found, found_rest) = split_statements(text);
            assert_eq!(found.iter().map(|s| s.text).collect::<Vec<_>>(), statements);
            assert_eq!(found_rest, rest);
        }
        let (found, _) = split_statements("a;\n  b;");
        assert_eq!(found[1].position, Position { line: 2, column: 3 });
        assert!(is_unfinished("'b;") && is_unfinished("/* b") && !is_unfinished("SELECT"));
    }
}

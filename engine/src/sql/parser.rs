//! A walk over one statement's tokens: look, take, or say what was expected.
//!
//! The grammar itself lies beside this file: `statement`, `source`, `query`, `expr`, `types`. A syntax error reads as
//! ksqlDB's does:
//!
//! ```text
//! line 1:32: Syntax Error
//! Expecting {'STRING', INTEGER_VALUE}
//! Statement: CREATE STREAM INPUT (K STRING (KEY));
//! ```

use super::keywords::{STATEMENT_STARTS, closest, is_reserved};
use super::lexer::{Token, TokenKind};
use crate::error::{Error, Position, Result};

/// Longest piece of a statement that a message repeats.
const SHOWN_CHARS_MAX: usize = 2_000;

/// How an expected number is named in a message.
pub(super) const INTEGER_VALUE: &str = "INTEGER_VALUE";

pub(super) struct Parser<'a> {
    /// The text that the tokens' spans point into.
    pub text: &'a str,
    /// One statement without its `;`.
    pub tokens: &'a [Token],
    pub next: usize,
    /// Where the statement ends: its `;` or the end of the text.
    pub end: Position,
    /// The statement as a message repeats it, with its `;`.
    pub shown: &'a str,
    /// Take ksqlDB's grammar and nothing more.
    pub strict: bool,
}

impl<'a> Parser<'a> {
    pub fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.next)
    }

    pub fn peek_nth(&self, n: usize) -> Option<&'a Token> {
        self.tokens.get(self.next + n)
    }

    pub fn position(&self) -> Position {
        self.peek().map_or(self.end, |token| token.position)
    }

    pub fn at_end(&self) -> bool {
        self.next >= self.tokens.len()
    }

    pub fn at_word(&self, word: &str) -> bool {
        self.peek().is_some_and(|t| t.is_word(word))
    }

    pub fn at_words(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, word)| self.peek_nth(n).is_some_and(|t| t.is_word(word)))
    }

    pub fn at_symbol(&self, symbol: &str) -> bool {
        self.peek().is_some_and(|t| t.is_symbol(symbol))
    }

    pub fn nth_is_symbol(&self, n: usize, symbol: &str) -> bool {
        self.peek_nth(n).is_some_and(|t| t.is_symbol(symbol))
    }

    pub fn accept_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        self.next += usize::from(found);
        found
    }

    /// All of `words` or none.
    pub fn accept_words(&mut self, words: &[&str]) -> bool {
        let found = self.at_words(words);
        if found {
            self.next += words.len();
        }
        found
    }

    pub fn accept_symbol(&mut self, symbol: &str) -> bool {
        let found = self.at_symbol(symbol);
        self.next += usize::from(found);
        found
    }

    pub fn expect_word(&mut self, word: &'static str) -> Result<()> {
        if self.accept_word(word) { Ok(()) } else { Err(self.unexpected(&[word])) }
    }

    pub fn expect_words(&mut self, words: &[&'static str]) -> Result<()> {
        words.iter().try_for_each(|word| self.expect_word(word))
    }

    /// Takes the one of `words` that stands next.
    pub fn expect_one_of(&mut self, words: &[&'static str]) -> Result<&'static str> {
        match words.iter().find(|word| self.at_word(word)) {
            Some(word) => {
                self.next += 1;
                Ok(word)
            }
            None => Err(self.unexpected(words)),
        }
    }

    pub fn expect_symbol(&mut self, symbol: &'static str) -> Result<()> {
        if self.accept_symbol(symbol) { Ok(()) } else { Err(self.unexpected(&[symbol])) }
    }

    pub fn expect_end(&self) -> Result<()> {
        if self.at_end() { Ok(()) } else { Err(self.unexpected(&[])) }
    }

    /// `open item, item, … close`, at least one item.
    pub fn list_in_parentheses<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.expect_symbol("(")?;
        let mut items = vec![item(self)?];
        loop {
            if self.accept_symbol(",") {
                items.push(item(self)?);
            } else if self.accept_symbol(")") {
                return Ok(items);
            } else {
                return Err(self.unexpected(&[",", ")"]));
            }
        }
    }

    /// `item, item, …`, at least one.
    pub fn comma_separated<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.accept_symbol(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub fn slice(&self, token: &Token) -> &'a str {
        &self.text[token.start as usize..token.end as usize]
    }

    /// Whether `token` can be a name.
    pub fn is_identifier(token: Option<&Token>) -> bool {
        match token.map(|t| &t.kind) {
            Some(TokenKind::Quoted(_) | TokenKind::DigitWord(_)) => true,
            Some(TokenKind::Word(word)) => !is_reserved(word),
            _ => false,
        }
    }

    /// A name: quoted as written, unquoted in upper case.
    pub fn identifier(&mut self) -> Result<String> {
        let Some(token) = self.peek() else { return Err(self.unexpected(&[])) };
        match &token.kind {
            TokenKind::Quoted(name) | TokenKind::DigitWord(name) => {
                self.next += 1;
                Ok(name.clone())
            }
            TokenKind::Word(name) if !is_reserved(name) => {
                self.next += 1;
                Ok(name.clone())
            }
            TokenKind::Word(_) => {
                let written = self.slice(token);
                Err(self.syntax_error(
                    token.position,
                    &format!(
                        "\"{written}\" is a reserved keyword and it can't be used as an identifier. You can use it as \
                         an identifier by escaping it as `{written}`"
                    ),
                ))
            }
            _ => Err(self.unexpected(&[])),
        }
    }

    /// A name outside the catalog (topic, subject, query, file): case kept, quoted or not, or a string.
    pub fn outside_name(&mut self) -> Result<String> {
        let Some(token) = self.peek() else { return Err(self.unexpected(&[])) };
        let name = match &token.kind {
            TokenKind::Quoted(name) | TokenKind::String(name) => name.clone(),
            TokenKind::Word(_) | TokenKind::DigitWord(_) => self.slice(token).to_string(),
            _ => return self.identifier(),
        };
        self.next += 1;
        Ok(name)
    }

    pub fn string(&mut self) -> Result<String> {
        match self.peek().map(|t| &t.kind) {
            Some(TokenKind::String(value)) => {
                self.next += 1;
                Ok(value.clone())
            }
            _ => Err(self.unexpected(&["STRING"])),
        }
    }

    /// A whole number without sign.
    pub fn unsigned(&mut self) -> Result<u64> {
        let Some(token) = self.peek().filter(|t| t.kind == TokenKind::Integer) else {
            return Err(self.unexpected(&[INTEGER_VALUE]));
        };
        let digits = self.slice(token);
        let value =
            digits.parse().map_err(|_| self.literal_error(token, format!("Invalid numeric literal: {digits}")))?;
        self.next += 1;
        Ok(value)
    }

    /// A syntax error at the next token.
    pub fn unexpected(&self, expecting: &[&str]) -> Error {
        let token = self.peek();
        let mut detail = String::new();
        match token.map(|t| &t.kind) {
            Some(TokenKind::Variable(name)) => detail = format!("variable substitution is off: ${{{name}}}"),
            Some(TokenKind::Stray(c)) => detail = format!("no SQL has the character '{c}'"),
            _ if self.next == 0 => {
                if let Some(TokenKind::Word(word)) = token.map(|t| &t.kind) {
                    detail = format!("Unknown statement '{word}'");
                    if let Some(meant) = closest(word, STATEMENT_STARTS.iter().copied()) {
                        detail.push_str(&format!("\nDid you mean '{meant}'?"));
                    }
                }
            }
            _ => {}
        }
        if detail.is_empty() && !expecting.is_empty() {
            let names: Vec<String> = expecting
                .iter()
                .map(|name| if *name == INTEGER_VALUE { name.to_string() } else { format!("'{name}'") })
                .collect();
            detail = match names.as_slice() {
                [one] => format!("Expecting {one}"),
                several => format!("Expecting {{{}}}", several.join(", ")),
            };
        }
        let error = self.syntax_error(self.position(), &detail);
        match self.misspelling(expecting) {
            Some(meant) => error.with_hint(format!("Did you mean \"{meant}\"?")),
            None => match token {
                Some(token) => {
                    error.with_hint(format!("The text is wrong at or before \"{}\".", shorten(self.slice(token), 60)))
                }
                None => error.with_hint("The statement ends too early."),
            },
        }
    }

    /// A word here or one before that looks like what was expected: in `SELECT a FORM s` the error shows at `s`.
    fn misspelling<'e>(&self, expecting: &[&'e str]) -> Option<&'e str> {
        const CLAUSES: &[&str] = &[
            "FROM",
            "WHERE",
            "GROUP",
            "PARTITION",
            "HAVING",
            "EMIT",
            "LIMIT",
            "JOIN",
            "WINDOW",
            "WITHIN",
            "WITH",
            "VALUES",
        ];
        let words = [Some(self.next), self.next.checked_sub(1)];
        words.into_iter().flatten().find_map(|index| match self.tokens.get(index).map(|t| &t.kind) {
            Some(TokenKind::Word(word)) if index > 0 => {
                closest(word, expecting.iter().copied()).or_else(|| closest(word, CLAUSES.iter().copied()))
            }
            _ => None,
        })
    }

    pub fn syntax_error(&self, position: Position, detail: &str) -> Error {
        Error::parse(format!(
            "line {}:{}: Syntax Error\n{detail}\nStatement: {}",
            position.line,
            position.column,
            shorten(self.shown, SHOWN_CHARS_MAX)
        ))
        .at(position)
        .in_statement(self.shown)
    }

    /// A literal that reads well but cannot be a value. ksqlDB counts its column from 2.
    pub fn literal_error(&self, token: &Token, message: String) -> Error {
        let position = token.position;
        Error::parse(format!("Failed to prepare statement: line {}:{}: {message}", position.line, position.column + 1))
            .at(position)
            .in_statement(self.shown)
    }

    /// A statement that reads well but breaks a rule of its own, said as ksqlDB says it.
    pub fn rule_error(&self, position: Position, message: impl std::fmt::Display) -> Error {
        Error::parse(format!("Line: {}, Col: {}: {message}", position.line, position.column))
            .at(position)
            .in_statement(self.shown)
    }
}

fn shorten(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

//! SQL text → tokens, each with its place in the text.
//!
//! | text | token |
//! |---|---|
//! | `orders`, `Select` | `Word("ORDERS")`, `Word("SELECT")`: folded to upper case, keyword or not |
//! | `"Order ""1"""`, `` `x` `` | `Quoted("Order \"1\"")`: kept as written |
//! | `1st` | `DigitWord("1ST")`: a name, never a keyword |
//! | `12`, `1.5` `1.` `.5`, `1e3` | `Integer`, `Decimal`, `Float`: their text is the span |
//! | `'it''s'` | `String("it's")`: there are no other escapes |
//! | `${topic}` | `Variable("topic")` |
//! | `->`, `:=`, `<>` | `Symbol` |
//!
//! Comments (`-- …`, `/* … */`) are no tokens. The rules are ksqlDB's; `$` inside a name is ours.

use crate::error::{Error, Position, Result};

/// Tokens a text may have: bounds the memory that lexing takes (about 56 bytes each).
pub const TOKENS_MAX: usize = 2_000_000;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    Word(String),
    Quoted(String),
    DigitWord(String),
    Integer,
    Decimal,
    Float,
    String(String),
    Variable(String),
    Symbol(&'static str),
    /// A character no SQL has. Reported when the statement is parsed, so that splitting goes on behind it.
    Stray(char),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub kind: TokenKind,
    /// Byte range in the text.
    pub start: u32,
    pub end: u32,
    pub position: Position,
}

impl Token {
    pub fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, TokenKind::Word(w) if w == word)
    }

    pub fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.kind, TokenKind::Symbol(s) if s == symbol)
    }

    pub fn is_number(&self) -> bool {
        matches!(self.kind, TokenKind::Integer | TokenKind::Decimal | TokenKind::Float)
    }
}

/// Longest first, so that the first that fits is the one meant.
const SYMBOLS: &[&str] = &[
    "->", "=>", ":=", "<>", "!=", "<=", ">=", "||", "::", "!~*", "!~", "~*", "(", ")", "[", "]", ",", ".", ";", "=",
    "<", ">", "+", "-", "*", "/", "%", ":", "~", "|", "&", "^", "#", "?", "@", "{", "}", "!",
];

/// Why lexing stopped, and whether more text could mend it.
pub(crate) struct LexError {
    pub error: Error,
    pub unfinished: bool,
}

pub(crate) struct Lexer<'a> {
    text: &'a str,
    offset: usize,
    position: Position,
}

/// All tokens of `text`, whose first character stands at `start`, and where the text ends.
pub(crate) fn lex(text: &str, start: Position) -> Result<(Vec<Token>, Position)> {
    let mut lexer = Lexer::new(text, start);
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next_token().map_err(|e| e.error)? {
        if tokens.len() >= TOKENS_MAX {
            return Err(Error::limit(format!("the SQL text has more than {TOKENS_MAX} words and symbols"))
                .at(token.position)
                .with_hint("send fewer statements at a time"));
        }
        tokens.push(token);
    }
    Ok((tokens, lexer.position))
}

pub(crate) const TEXT_START: Position = Position { line: 1, column: 1 };

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str, start: Position) -> Self {
        Self { text, offset: 0, position: start }
    }

    pub fn next_token(&mut self) -> Result<Option<Token>, LexError> {
        self.skip_blanks()?;
        let (start, position) = (self.offset, self.position);
        let Some(first) = self.peek() else { return Ok(None) };
        let kind = match first {
            'a'..='z' | 'A'..='Z' | '_' => {
                self.skip_while(is_word_part);
                TokenKind::Word(self.text[start..self.offset].to_ascii_uppercase())
            }
            '0'..='9' => self.number_or_digit_word(),
            '.' if self.peek_second().is_some_and(|c| c.is_ascii_digit()) => self.number_or_digit_word(),
            '\'' => TokenKind::String(self.quoted('\'', "string")?),
            '"' | '`' => TokenKind::Quoted(self.quoted(first, "name")?),
            '$' if self.peek_second() == Some('{') => self.variable(),
            '\0' => {
                return Err(LexError {
                    error: Error::parse(format!(
                        "line {}:{}: Syntax Error\nthe SQL text holds a NUL byte",
                        position.line, position.column
                    ))
                    .at(position),
                    unfinished: false,
                });
            }
            other => match SYMBOLS.iter().find(|s| self.text[start..].starts_with(**s)) {
                Some(symbol) => {
                    for _ in 0..symbol.len() {
                        self.advance();
                    }
                    TokenKind::Symbol(symbol)
                }
                None => {
                    self.advance();
                    TokenKind::Stray(other)
                }
            },
        };
        // The text is at most a few MiB (checked by the caller), so offsets fit 32 bits.
        Ok(Some(Token { kind, start: start as u32, end: self.offset as u32, position }))
    }

    fn peek(&self) -> Option<char> {
        self.text[self.offset..].chars().next()
    }

    fn peek_second(&self) -> Option<char> {
        self.text[self.offset..].chars().nth(1)
    }

    fn advance(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.offset += c.len_utf8();
        if c == '\n' {
            self.position.line += 1;
            self.position.column = 1;
        } else {
            self.position.column += 1;
        }
        Some(c)
    }

    fn skip_while(&mut self, keep: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&keep) {
            self.advance();
        }
    }

    fn skip_blanks(&mut self) -> Result<(), LexError> {
        loop {
            self.skip_while(char::is_whitespace);
            let rest = &self.text[self.offset..];
            if rest.starts_with("--") {
                self.skip_while(|c| c != '\n');
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let start = self.position;
                let Some(length) = comment.find("*/") else {
                    return Err(unfinished("comment", start));
                };
                let end = self.offset + 2 + length + 2;
                while self.offset < end {
                    self.advance();
                }
            } else {
                return Ok(());
            }
        }
    }

    /// `12`, `1.5`, `1.`, `.5`, `1e-3`; the longest match wins, so `1e3x` is a word.
    fn number_or_digit_word(&mut self) -> TokenKind {
        let rest = &self.text.as_bytes()[self.offset..];
        let digits = |from: usize| rest[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let mut length = digits(0);
        let mut kind = TokenKind::Integer;
        if rest.get(length) == Some(&b'.') {
            length += 1;
            length += digits(length);
            kind = TokenKind::Decimal;
        }
        if matches!(rest.get(length), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(rest.get(length + 1), Some(b'+' | b'-')));
            let exponent = digits((length + 1 + sign).min(rest.len()));
            if exponent > 0 {
                length += 1 + sign + exponent;
                kind = TokenKind::Float;
            }
        }
        let word = rest.iter().take_while(|b| is_word_part(**b as char)).count();
        if rest[0].is_ascii_digit() && word > length {
            let name = self.text[self.offset..self.offset + word].to_ascii_uppercase();
            (length, kind) = (word, TokenKind::DigitWord(name));
        }
        for _ in 0..length {
            self.advance();
        }
        kind
    }

    fn quoted(&mut self, quote: char, what: &str) -> Result<String, LexError> {
        let start = self.position;
        self.advance();
        let mut value = String::new();
        loop {
            match self.advance() {
                None => return Err(unfinished(what, start)),
                Some('\0') => {
                    return Err(LexError {
                        error: Error::parse(format!(
                            "line {}:{}: Syntax Error\nthe {what} holds a NUL byte",
                            start.line, start.column
                        ))
                        .at(start),
                        unfinished: false,
                    });
                }
                Some(c) if c == quote => {
                    if self.peek() != Some(quote) {
                        return Ok(value);
                    }
                    self.advance();
                    value.push(quote);
                }
                Some(c) => value.push(c),
            }
        }
    }

    fn variable(&mut self) -> TokenKind {
        let rest = &self.text[self.offset..];
        let name_length = rest[2..].chars().take_while(|c| is_word_part(*c)).count();
        if name_length == 0 || !rest[2 + name_length..].starts_with('}') {
            self.advance();
            return TokenKind::Stray('$');
        }
        let name = rest[2..2 + name_length].to_string();
        for _ in 0..name_length + 3 {
            self.advance();
        }
        TokenKind::Variable(name)
    }
}

/// What an unquoted name may hold after its first letter.
pub(crate) fn is_word_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '@' | '$')
}

fn unfinished(what: &str, start: Position) -> LexError {
    let error = Error::parse(format!(
        "line {}:{}: Syntax Error\nthe {what} that starts here does not end",
        start.line, start.column
    ));
    LexError { error: error.at(start), unfinished: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        lex(text, TEXT_START).unwrap().0.into_iter().map(|t| t.kind).collect()
    }

    #[test]
    fn names_fold_and_quoted_names_stay() {
        let word = |w: &str| TokenKind::Word(w.into());
        let quoted = |w: &str| TokenKind::Quoted(w.into());
        assert_eq!(kinds("select a@b_1 x$"), [word("SELECT"), word("A@B_1"), word("X$")]);
        assert_eq!(kinds(r#""a""B" `c``d`"#), [quoted("a\"B"), quoted("c`d")]);
    }

    #[test]
    fn numbers_take_their_longest_form() {
        use TokenKind::*;
        let word = |w: &str| DigitWord(w.into());
        assert_eq!(
            kinds("1 1.5 1. .5 1e3 1.5E-3 1e 1st 7a@"),
            [Integer, Decimal, Decimal, Decimal, Float, Float, word("1E"), word("1ST"), word("7A@")]
        );
    }

    #[test]
    fn comments_vanish_and_positions_count_characters() {
        let (tokens, end) = lex("-- x\n/* y\n*/ 'ä' b", TEXT_START).unwrap();
        assert_eq!(tokens[1].position, Position { line: 3, column: 8 });
        assert_eq!(end, Position { line: 3, column: 9 });
    }

    #[test]
    fn what_does_not_end_and_nul_are_named() {
        for (text, message) in [
            ("select 'x", "line 1:8: Syntax Error\nthe string that starts here does not end"),
            ("/* x", "line 1:1: Syntax Error\nthe comment that starts here does not end"),
            ("a \0", "line 1:3: Syntax Error\nthe SQL text holds a NUL byte"),
        ] {
            assert_eq!(lex(text, TEXT_START).unwrap_err().message(), message);
        }
    }
}

//! SQL text as the shell and scripts see it while it may still be incomplete: words, strings, comments, statements.
//!
//! ```text
//! SELECT 'a;b' -- c;      one statement: a `;` in a string, quoted name or comment ends nothing
//!   FROM s;
//! ```

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// An unquoted word: keyword or name.
    Word,
    /// `"x"` or `` `x` ``.
    QuotedName,
    String,
    Number,
    Comment,
    Space,
    Symbol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    pub kind: TokenKind,
    pub text: &'a str,
    /// Byte offset in the whole text.
    pub start: usize,
    /// False for a string, quoted name or comment that the text ends in.
    pub complete: bool,
}

/// Cuts text into tokens; together they are the text.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while let Some(first) = text[start..].chars().next() {
        let rest = &text[start..];
        let while_chars = |keep: &dyn Fn(char) -> bool| rest.find(|c| !keep(c)).unwrap_or(rest.len());
        let (kind, len, complete) = match first {
            c if c.is_whitespace() => (TokenKind::Space, while_chars(&|c| c.is_whitespace()), true),
            '-' if rest.starts_with("--") => (TokenKind::Comment, rest.find('\n').unwrap_or(rest.len()), true),
            '/' if rest.starts_with("/*") => match rest[2..].find("*/") {
                Some(end) => (TokenKind::Comment, end + 4, true),
                None => (TokenKind::Comment, rest.len(), false),
            },
            '\'' => quoted(rest, '\'', TokenKind::String),
            '"' => quoted(rest, '"', TokenKind::QuotedName),
            '`' => quoted(rest, '`', TokenKind::QuotedName),
            c if c.is_ascii_digit() => (TokenKind::Number, while_chars(&|c| c.is_alphanumeric() || c == '.'), true),
            c if is_word(c) => (TokenKind::Word, while_chars(&is_word), true),
            c => (TokenKind::Symbol, c.len_utf8(), true),
        };
        tokens.push(Token { kind, text: &rest[..len], start, complete });
        start += len;
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '@')
}

/// A doubled quote stands for itself.
fn quoted(rest: &str, quote: char, kind: TokenKind) -> (TokenKind, usize, bool) {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => {
                    chars.next();
                }
                _ => return (kind, at + 1, true),
            }
        }
    }
    (kind, rest.len(), false)
}

/// A statement of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// From its first token to its `;`, if it has one.
    pub text: &'a str,
    /// Where it starts in the script; both count from 1, in characters.
    pub line: u64,
    pub column: u64,
    /// Whether a `;` ended it.
    pub terminated: bool,
}

/// The statements of a text; what is only space and comments is none.
pub fn statements(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut start: Option<usize> = None;
    let mut end = 0;
    let mut counter = LineCounter::default();
    let mut piece = |from: usize, to: usize, terminated: bool| {
        let (line, column) = counter.advance(text, from);
        pieces.push(Piece { text: &text[from..to], line, column, terminated });
    };
    for token in tokens(text) {
        match token.kind {
            TokenKind::Space | TokenKind::Comment => {}
            TokenKind::Symbol if token.text == ";" => {
                if let Some(from) = start.take() {
                    piece(from, token.start + 1, true);
                }
            }
            _ => {
                start.get_or_insert(token.start);
                end = token.start + token.text.len();
            }
        }
    }
    if let Some(from) = start {
        piece(from, end, false);
    }
    pieces
}

/// Line and column of offsets asked for in ascending order.
struct LineCounter {
    at: usize,
    line: u64,
    column: u64,
}

impl Default for LineCounter {
    fn default() -> Self {
        Self { at: 0, line: 1, column: 1 }
    }
}

impl LineCounter {
    fn advance(&mut self, text: &str, to: usize) -> (u64, u64) {
        for c in text[self.at..to].chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.at = to;
        (self.line, self.column)
    }
}

/// Whether nothing is left open: every statement has its `;`, every string and comment its end.
pub fn is_complete(text: &str) -> bool {
    tokens(text).last().is_none_or(|t| t.complete) && statements(text).iter().all(|p| p.terminated)
}

/// The words a statement begins with, in upper case.
pub fn leading_words(text: &str, count: usize) -> Vec<String> {
    tokens(text)
        .into_iter()
        .filter(|t| !matches!(t.kind, TokenKind::Space | TokenKind::Comment))
        .take_while(|t| t.kind == TokenKind::Word)
        .take(count)
        .map(|t| t.text.to_uppercase())
        .collect()
}

/// The content of the first `'…'` of a statement.
pub fn first_string(text: &str) -> Option<String> {
    let token = tokens(text).into_iter().find(|t| t.kind == TokenKind::String && t.complete)?;
    Some(token.text[1..token.text.len() - 1].replace("''", "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_inside_quotes_and_comments_end_nothing() {
        let script = "SELECT 'a;''b' -- c;\n FROM `s;`;\n/* ; */ INSERT INTO t VALUES (1)";
        let pieces = statements(script);
        assert_eq!(pieces.len(), 2);
        assert_eq!(pieces[0].text, "SELECT 'a;''b' -- c;\n FROM `s;`;");
        assert_eq!((pieces[0].line, pieces[0].column, pieces[0].terminated), (1, 1, true));
        assert_eq!(pieces[1].text, "INSERT INTO t VALUES (1)");
        assert_eq!((pieces[1].line, pieces[1].column, pieces[1].terminated), (3, 9, false));
    }

    #[test]
    fn comments_alone_are_no_statement() {
        assert!(statements("-- nothing\n /* at all */ ;; \n").is_empty());
    }

    #[test]
    fn open_quotes_and_comments_are_incomplete() {
        for text in ["SELECT 1", "SELECT 'a;", "/* x ;", "SELECT `a;"] {
            assert!(!is_complete(text), "{text}");
        }
        for text in ["", "SELECT 1;", "SELECT 1; -- done", "a; b;"] {
            assert!(is_complete(text), "{text}");
        }
    }

    #[test]
    fn tokens_are_the_whole_text() {
        let text = "CREATE é $x 1.5e3 'ä' \u{1F600};";
        assert_eq!(tokens(text).iter().map(|t| t.text).collect::<String>(), text);
    }

    #[test]
    fn leading_words_skip_comments() {
        assert_eq!(leading_words("-- x\nrun Script 'a'", 3), ["RUN", "SCRIPT"]);
        assert_eq!(first_string("run script 'it''s'"), Some("it's".to_string()));
    }
}

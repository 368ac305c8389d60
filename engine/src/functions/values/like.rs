//! LIKE: `%` is any run of characters, `_` is one; neither crosses a line break.
//!
//! | pattern | escape | matches |
//! |---|---|---|
//! | `ab%` | | texts that start with `ab` and have no line break after it |
//! | `50!%` | `!` | exactly `50%` |
//!
//! Rule: ksqlDB translates the pattern to a Java regular expression without DOTALL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Datum, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::comparison::{contains, ends_with, starts_with};
use arrow::error::ArrowError;

use crate::functions::columns::{Str, column};
use crate::functions::scalar::Evaluated;
use crate::functions::values::equality::without_nulls;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Text(String),
    One,
    Any,
}

/// A pattern, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LikePattern {
    tokens: Vec<Token>,
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn without_break(text: &str) -> bool {
    // Bytes first: those that begin a line break are rare.
    !text.bytes().any(|b| matches!(b, b'\n' | b'\r' | 0xc2 | 0xe2)) || !text.contains(is_line_break)
}

impl LikePattern {
    pub fn new(pattern: &str, escape: Option<char>) -> Result<Self, String> {
        let mut tokens: Vec<Token> = Vec::new();
        let mut text = String::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            let special = match c {
                c if Some(c) == escape => {
                    let escaped = chars
                        .next()
                        .ok_or_else(|| format!("LIKE pattern must not end with escape character '{c}': {pattern}"))?;
                    text.push(escaped);
                    continue;
                }
                '%' => Token::Any,
                '_' => Token::One,
                c => {
                    text.push(c);
                    continue;
                }
            };
            if !text.is_empty() {
                tokens.push(Token::Text(std::mem::take(&mut text)));
            }
            if !(special == Token::Any && tokens.last() == Some(&Token::Any)) {
                tokens.push(special);
            }
        }
        if !text.is_empty() {
            tokens.push(Token::Text(text));
        }
        Ok(Self { tokens })
    }

    pub fn matches(&self, text: &str) -> bool {
        match self.tokens.as_slice() {
            [] => text.is_empty(),
            [Token::Text(whole)] => text == whole,
            [Token::Any] => without_break(text),
            [Token::Text(prefix), Token::Any] => text.strip_prefix(prefix.as_str()).is_some_and(without_break),
            [Token::Any, Token::Text(suffix)] => text.strip_suffix(suffix.as_str()).is_some_and(without_break),
            tokens => matches_tokens(tokens, text),
        }
    }
}

/// Greedy from the left: only the last `%` ever has to take more, so the work is bounded by text × pattern.
fn matches_tokens(tokens: &[Token], text: &str) -> bool {
    let (mut token, mut rest) = (0, text);
    let mut retry: Option<(usize, &str)> = None;
    loop {
        let step = match tokens.get(token) {
            None if rest.is_empty() => return true,
            None => None,
            Some(Token::Any) if token + 1 == tokens.len() => return without_break(rest),
            Some(Token::Any) => {
                token += 1;
                retry = Some((token, rest));
                continue;
            }
            Some(Token::One) => rest.chars().next().filter(|c| !is_line_break(*c)).map(|c| &rest[c.len_utf8()..]),
            Some(Token::Text(part)) => rest.strip_prefix(part.as_str()),
        };
        match (step, &mut retry) {
            (Some(next), _) => {
                token += 1;
                rest = next;
            }
            (None, Some((after, from))) => {
                let Some(c) = from.chars().next() else { return false };
                // On to the next place where what follows the `%` can begin.
                let skipped = match tokens.get(*after) {
                    Some(Token::Text(part)) => from[c.len_utf8()..].find(part.as_str()),
                    _ => Some(0),
                };
                let Some(taken) = skipped.map(|skipped| skipped + c.len_utf8()) else { return false };
                if !without_break(&from[..taken]) {
                    return false;
                }
                *from = &from[taken..];
                token = *after;
                rest = from;
            }
            (None, None) => return false,
        }
    }
}

/// One pattern of a prefix, a suffix or a part against texts without line breaks, by Arrow's kernels.
fn like_plain(texts: &StringArray, pattern: &LikePattern) -> Option<Result<BooleanArray, ArrowError>> {
    let (compare, part): (fn(&dyn Datum, &dyn Datum) -> _, _) = match pattern.tokens.as_slice() {
        [Token::Text(part), Token::Any] => (starts_with, part),
        [Token::Any, Token::Text(part)] => (ends_with, part),
        [Token::Any, Token::Text(part), Token::Any] => (contains, part),
        _ => return None,
    };
    let offsets = texts.value_offsets();
    let bytes = &texts.value_data()[offsets[0] as usize..offsets[texts.len()] as usize];
    // Outside ASCII there are line breaks of several bytes.
    let special = bytes.iter().fold(false, |special, &b| special | (b == b'\n') | (b == b'\r') | (b >= 0x80));
    let plain = !special;
    plain.then(|| compare(texts, &StringArray::new_scalar(part)))
}

/// Texts against patterns, row by row; null on either side is false. `constant`: all patterns are this one.
pub fn like(args: &[ArrayRef], escape: Option<char>, negated: bool, constant: Option<&LikePattern>) -> Evaluated {
    let (texts, patterns) = (column::<Str>(&args[0]), column::<Str>(&args[1]));
    if let Some(pattern) = constant
        && patterns.null_count() == 0
        && let Some(matched) = like_plain(texts, pattern)
    {
        let matched = matched.map_err(|e| e.to_string())?;
        // Null is false either way.
        let matched = if negated { arrow::compute::not(&matched).map_err(|e| e.to_string())? } else { matched };
        return Ok(Arc::new(without_nulls(matched)));
    }
    let mut read: Option<(&str, LikePattern)> = None;
    let mut failed = None;
    let bits = BooleanBuffer::collect_bool(texts.len(), |row| {
        if texts.is_null(row) || patterns.is_null(row) {
            return false;
        }
        if let Some(pattern) = constant {
            return pattern.matches(texts.value(row)) != negated;
        }
        let pattern = patterns.value(row);
        if read.as_ref().is_none_or(|(known, _)| *known != pattern) {
            match LikePattern::new(pattern, escape) {
                Ok(new) => read = Some((pattern, new)),
                Err(error) => {
                    failed.get_or_insert(error);
                    return false;
                }
            }
        }
        read.as_ref().is_some_and(|(_, p)| p.matches(texts.value(row)) != negated)
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(Arc::new(BooleanArray::new(bits, None))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;

    #[test]
    fn wildcards_escapes_and_line_breaks() {
        for (pattern, escape, text, expected) in [
            ("ab%", None, "abc", true),
            ("ab%", None, "ab\nc", false),
            ("%bc", None, "abc", true),
            ("%b%d%", None, "abcde", true),
            ("a_c", None, "abc", true),
            ("a_c", None, "a\nc", false),
            ("a_%_z", None, "abyz", true),
            ("a_%_z", None, "ayz", false),
            ("50!%", Some('!'), "50%", true),
            ("50!%", Some('!'), "50x", false),
            ("%ab", None, "aab", true),
            ("%ab%", None, "x\nab", false),
            ("%ab%", None, "xab\u{2028}", false),
            ("%ab%", None, "xéabâ", true),
            ("%b_d%d", None, "abbcdxd", true),
            ("%b\n%", None, "ab\n", true),
            ("", None, "", true),
        ] {
            assert_eq!(LikePattern::new(pattern, escape).unwrap().matches(text), expected, "{pattern} on {text:?}");
        }
        assert!(LikePattern::new("a!", Some('!')).is_err());
    }

    #[test]
    fn columns_match_as_their_rows_do() {
        let plain = [Some("abc"), None, Some("xab"), Some(""), Some("ab")];
        let broken = [Some("ab\nc"), None, Some("x\u{2028}ab"), Some("éab"), Some("ab")];
        for texts in [plain, broken] {
            let column: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
            for pattern in ["ab%", "%ab", "%ab%", "a_%", "%"] {
                let read = LikePattern::new(pattern, None).unwrap();
                let args = [Arc::clone(&column), Arc::new(StringArray::from(vec![pattern; texts.len()]))];
                for negated in [false, true] {
                    let matched = like(&args, None, negated, Some(&read)).unwrap();
                    let rows: Vec<_> = texts.map(|t| Some(t.is_some_and(|t| read.matches(t) != negated))).into();
                    assert_eq!(matched.as_boolean().iter().collect::<Vec<_>>(), rows, "{pattern} {negated}");
                }
            }
        }
    }
}

//! `${name}` → its value, before a statement is parsed.
//!
//! | DEFINE | text | becomes |
//! |---|---|---|
//! | `topic = 'orders'` | `kafka_topic='${topic}_v1'` | `kafka_topic='orders_v1'` |
//! | `n = '3'` | `partitions=${n}` | `partitions=3` |
//! | `n = '3) --'` | `partitions=${n}` | an error: a value can be one name or one literal, never more SQL |
//!
//! In a string the value becomes part of the string, its quotes doubled; a variable that is not defined stays as written
//! there, as in ksqlDB, since strings are data. Names of variables ignore case.

use std::collections::BTreeMap;

use super::lexer::{TEXT_START, Token, TokenKind, is_word_part, lex};
use super::limits::check_text;
use crate::error::{Error, Position, Result};

/// Whether any of the tokens may hold a variable.
pub(super) fn mentions(tokens: &[Token]) -> bool {
    tokens.iter().any(|token| match &token.kind {
        TokenKind::Variable(_) => true,
        TokenKind::String(text) | TokenKind::Quoted(text) => text.contains("${"),
        _ => false,
    })
}

/// The text of `tokens` with every variable replaced.
pub(super) fn substitute(text: &str, tokens: &[Token], variables: &BTreeMap<String, String>) -> Result<String> {
    let Some(first) = tokens.first() else { return Ok(String::new()) };
    let mut out = String::new();
    let mut copied = first.start as usize;
    for token in tokens {
        let replacement = match &token.kind {
            TokenKind::Variable(name) => {
                let value = look_up(variables, name).ok_or_else(|| undefined(name, variables, token.position))?;
                checked(name, value, token.position)?.to_string()
            }
            TokenKind::String(content) if content.contains("${") => requoted(content, '\'', variables)?,
            TokenKind::Quoted(content) if content.contains("${") => {
                let quote = if text[token.start as usize..].starts_with('`') { '`' } else { '"' };
                requoted(content, quote, variables)?
            }
            _ => continue,
        };
        out.push_str(&text[copied..token.start as usize]);
        out.push_str(&replacement);
        check_text(&out)?;
        copied = token.end as usize;
    }
    if let Some(last) = tokens.last() {
        out.push_str(&text[copied..last.end as usize]);
    }
    Ok(out)
}

fn look_up<'a>(variables: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    let exact = variables.get(name);
    exact.or_else(|| variables.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)).map(String::as_str)
}

/// Removes a variable, whatever the case it was defined in.
pub(super) fn undefine(variables: &mut BTreeMap<String, String>, name: &str) {
    variables.retain(|n, _| !n.eq_ignore_ascii_case(name));
}

/// Outside strings a value must be exactly one name or one literal.
fn checked<'a>(name: &str, value: &'a str, position: Position) -> Result<&'a str> {
    let tokens = lex(value, TEXT_START).map(|(tokens, _)| tokens).unwrap_or_default();
    let one = match tokens.as_slice() {
        [sign, number] => sign.is_symbol("-") && number.is_number(),
        [token] => {
            token.is_number() || matches!(token.kind, TokenKind::Word(_) | TokenKind::Quoted(_) | TokenKind::String(_))
        }
        _ => false,
    };
    // A comment leaves no token, so the tokens must also cover the text.
    let covered =
        tokens.first().is_some_and(|t| t.start == 0) && tokens.last().is_some_and(|t| t.end as usize == value.len());
    if one && covered {
        return Ok(value);
    }
    Err(Error::parse(format!(
        "line {}:{}: Illegal value of variable '{name}': '{value}'. Outside a string a variable can stand for one name or \
         one literal.",
        position.line, position.column
    ))
    .at(position))
}

fn requoted(content: &str, quote: char, variables: &BTreeMap<String, String>) -> Result<String> {
    let doubled = quote.to_string().repeat(2);
    let mut out = String::from(quote);
    let mut rest = content;
    while let Some(start) = rest.find("${") {
        let name_length = rest[start + 2..].chars().take_while(|c| is_word_part(*c)).count();
        let end = start + 2 + name_length;
        let value = if rest[end..].starts_with('}') { look_up(variables, &rest[start + 2..end]) } else { None };
        match value {
            Some(value) => {
                out.push_str(&rest[..start].replace(quote, &doubled));
                out.push_str(&value.replace(quote, &doubled));
                rest = &rest[end + 1..];
                // A long value may be repeated a million times.
                check_text(&out)?;
            }
            None => {
                out.push_str(&rest[..end].replace(quote, &doubled));
                rest = &rest[end..];
            }
        }
    }
    out.push_str(&rest.replace(quote, &doubled));
    out.push(quote);
    Ok(out)
}

fn undefined(name: &str, variables: &BTreeMap<String, String>, position: Position) -> Error {
    let error = Error::parse(format!("line {}:{}: Variable '{name}' is not defined", position.line, position.column))
        .at(position);
    match super::keywords::closest(name, variables.keys().map(String::as_str)) {
        Some(meant) => error.with_hint(format!("Did you mean \"{meant}\"?")),
        None => error.with_hint(format!("DEFINE {name} = '…'; gives it a value.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn substituted(text: &str) -> Result<String> {
        let variables =
            [("t", "orders"), ("n", "-3"), ("q", "it's"), ("bad", "1) --"), ("two", "a b"), ("c", "1/* */")]
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .into();
        substitute(text, &lex(text, TEXT_START)?.0, &variables)
    }

    #[test]
    fn variables_become_names_and_literals() {
        for (text, becomes) in [
            ("SELECT ${n} FROM ${T}", "SELECT -3 FROM orders"),
            ("x = '${t}_v1 ${q}'", "x = 'orders_v1 it''s'"),
            ("x = 'it''s ${none}'", "x = 'it''s ${none}'"),
            ("`${t}`", "`orders`"),
        ] {
            assert_eq!(substituted(text).unwrap(), becomes);
        }
    }

    #[test]
    fn a_value_brings_no_more_sql_in() {
        for (text, message) in [
            ("SELECT ${bad}", "line 1:8: Illegal value of variable 'bad': '1) --'"),
            ("SELECT ${two}", "line 1:8: Illegal value of variable 'two': 'a b'"),
            ("SELECT ${c}", "line 1:8: Illegal value of variable 'c'"),
            ("SELECT ${none}", "line 1:8: Variable 'none' is not defined"),
        ] {
            let error = substituted(text).unwrap_err();
            assert!(error.message().starts_with(message), "{error}");
        }
    }
}

//! Functions of regular expressions, in Java's syntax.
//!
//! A pattern is compiled again only when it changes from one row to the next. Matches follow Java's `Matcher.find`: after
//! an empty match the next search starts one character on.

use fancy_regex::{Captures, Regex};

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::Int32Type;

use super::{CallContext, Evaluated, ScalarFunction};
use crate::functions::columns::{Output, Str, StrList, column};

const CATEGORY: &str = "REGULAR EXPRESSION";

pub fn functions() -> Vec<ScalarFunction> {
    vec![
        ScalarFunction::new("REGEXP_EXTRACT", CATEGORY, "The first match of a pattern, or one of its groups.")
            .example("REGEXP_EXTRACT('(.*) (.*)', 'hello there', 2)", "there")
            .overload("(STRING pattern, STRING input) -> STRING", extract)
            .overload("(STRING pattern, STRING input, INT group) -> STRING", extract),
        ScalarFunction::new("REGEXP_EXTRACT_ALL", CATEGORY, "All matches of a pattern, or one group of each.")
            .example("REGEXP_EXTRACT_ALL('(\\w)(\\d)', 'a1 b2', 2)", "[1, 2]")
            .overload("(STRING pattern, STRING input) -> ARRAY<STRING>", extract_all)
            .overload("(STRING pattern, STRING input, INT group) -> ARRAY<STRING>", extract_all),
        ScalarFunction::new("REGEXP_REPLACE", CATEGORY, "The text with every match of a pattern replaced.")
            .example("REGEXP_REPLACE('baab', 'a+', 'X')", "bXb")
            .differs("replaces the first match unless told otherwise, in Rust's syntax; here all, in Java's.")
            .overload("(STRING str, STRING regexp, STRING newStr) -> STRING", replace),
        ScalarFunction::new("REGEXP_SPLIT_TO_ARRAY", CATEGORY, "The parts of a text between matches of a pattern.")
            .example("REGEXP_SPLIT_TO_ARRAY('a1b22c', '[0-9]+')", "[a, b, c]")
            .overload("(STRING str, STRING regexp) -> ARRAY<STRING>", split),
    ]
}

/// The last pattern, compiled.
#[derive(Default)]
struct Compiled {
    last: Option<(String, Regex)>,
}

impl Compiled {
    fn get(&mut self, pattern: &str) -> Result<&Regex, String> {
        if self.last.as_ref().is_none_or(|(known, _)| known != pattern) {
            let regex = Regex::new(&from_java(pattern))
                .map_err(|e| format!("Invalid regular expression pattern: {pattern}: {e}"))?;
            self.last = Some((pattern.to_string(), regex));
        }
        self.last.as_ref().map(|(_, regex)| regex).ok_or_else(|| "a pattern was compiled".to_string())
    }
}

/// A pattern of Java's as this library reads it: `\\d`, `\\w` and `\\s` are of ASCII, `\\Q…\\E` is text. (A negated one
/// inside brackets stays Unicode's.)
fn from_java(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut in_class = false;
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let escaped = if c == '\\' { rest.chars().next() } else { None };
        let Some(escaped) = escaped else {
            // A bracket inside brackets opens a class of its own in Java and here.
            in_class = c == '[' || in_class && c != ']';
            out.push(c);
            continue;
        };
        rest = &rest[escaped.len_utf8()..];
        let ascii = match escaped {
            'd' | 'D' => "0-9",
            'w' | 'W' => "a-zA-Z0-9_",
            's' | 'S' => r" \t\n\x0B\f\r",
            'Q' => {
                let (text, after) = rest.split_once(r"\E").unwrap_or((rest, ""));
                out.push_str(&fancy_regex::escape(text));
                rest = after;
                continue;
            }
            _ => "",
        };
        match (ascii.is_empty(), escaped.is_ascii_uppercase(), in_class) {
            (false, false, true) => out.push_str(ascii),
            (false, false, false) => out.extend(["[", ascii, "]"]),
            (false, true, false) => out.extend(["[^", ascii, "]"]),
            _ => out.extend(['\\', escaped]),
        }
    }
    out
}

/// All matches from left to right.
fn matches<'t>(regex: &Regex, text: &'t str) -> Result<Vec<Captures<'t, str>>, String> {
    let mut found = Vec::new();
    let mut at = 0;
    while at <= text.len() {
        let Some(captures) = regex.captures_from_pos(text, at).map_err(|e| e.to_string())? else { break };
        let (start, end) = captures.get(0).map_or((at, at), |whole| (whole.start(), whole.end()));
        at = if start == end { end + text[end..].chars().next().map_or(1, char::len_utf8) } else { end };
        found.push(captures);
    }
    Ok(found)
}

/// Runs `f` with the compiled pattern, the text and the group's number.
fn with_groups<R: Output>(
    args: &[ArrayRef],
    f: impl Fn(&Regex, &str, usize) -> Result<Option<R::Owned>, String>,
) -> Evaluated {
    let (patterns, texts) = (column::<Str>(&args[0]), column::<Str>(&args[1]));
    let groups = args.get(2).map(column::<Int32Type>);
    let mut compiled = Compiled::default();
    R::build(texts.len(), |row| {
        if patterns.is_null(row) || texts.is_null(row) || groups.is_some_and(|g| g.is_null(row)) {
            return Ok(None);
        }
        let group = groups.map_or(0, |g| g.value(row));
        let regex = compiled.get(patterns.value(row))?;
        match usize::try_from(group).ok().filter(|group| *group < regex.captures_len()) {
            Some(group) => f(regex, texts.value(row), group),
            None => Ok(None),
        }
    })
}

fn extract(args: &[ArrayRef], _: &CallContext<'_>) -> Evaluated {
    with_groups::<Str>(args, |regex, text, group| {
        let captures = regex.captures(text).map_err(|e| e.to_string())?;
        Ok(captures.and_then(|c| c.get(group).map(|m| m.as_str().to_string())))
    })
}

fn extract_all(args: &[ArrayRef], _: &CallContext<'_>) -> Evaluated {
    with_groups::<StrList>(args, |regex, text, group| {
        let found = matches(regex, text)?;
        Ok(Some(found.iter().map(|c| c.get(group).map(|m| m.as_str().to_string())).collect()))
    })
}

fn replace(args: &[ArrayRef], _: &CallContext<'_>) -> Evaluated {
    let (texts, patterns, news) = (column::<Str>(&args[0]), column::<Str>(&args[1]), column::<Str>(&args[2]));
    let mut compiled = Compiled::default();
    Str::build(texts.len(), |row| {
        if texts.is_null(row) || patterns.is_null(row) || news.is_null(row) {
            return Ok(None);
        }
        let text = texts.value(row);
        let regex = compiled.get(patterns.value(row))?;
        let mut out = String::with_capacity(text.len());
        let mut copied = 0;
        for captures in matches(regex, text)? {
            if let Some(whole) = captures.get(0) {
                out.push_str(&text[copied..whole.start()]);
                append_replacement(&captures, news.value(row), &mut out)?;
                copied = whole.end();
            }
        }
        out.push_str(&text[copied..]);
        Ok(Some(out))
    })
}

/// `Matcher.appendReplacement`: `$1` and `${name}` are groups, a backslash makes the next character plain.
fn append_replacement(captures: &Captures<'_, str>, replacement: &str, out: &mut String) -> Result<(), String> {
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().ok_or("character to be escaped is missing")?),
            '$' if chars.peek() == Some(&'{') => {
                chars.next();
                let name: String = chars.by_ref().take_while(|c| *c != '}').collect();
                let group = captures.name(&name).ok_or_else(|| format!("No group with name {{{name}}}"))?;
                out.push_str(group.as_str());
            }
            '$' => {
                let first = chars.next().and_then(|c| c.to_digit(10)).ok_or("Illegal group reference")?;
                let mut group = first as usize;
                if group >= captures.len() {
                    return Err(format!("No group {group}"));
                }
                // Further digits belong to the number as long as there is such a group.
                while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                    let longer = group * 10 + digit as usize;
                    if longer >= captures.len() {
                        break;
                    }
                    group = longer;
                    chars.next();
                }
                out.push_str(captures.get(group).map_or("", |m| m.as_str()));
            }
            plain => out.push(plain),
        }
    }
    Ok(())
}

fn split(args: &[ArrayRef], _: &CallContext<'_>) -> Evaluated {
    let (texts, patterns) = (column::<Str>(&args[0]), column::<Str>(&args[1]));
    let mut compiled = Compiled::default();
    StrList::build(texts.len(), |row| {
        if texts.is_null(row) || patterns.is_null(row) {
            return Ok(None);
        }
        let text = texts.value(row);
        let regex = compiled.get(patterns.value(row))?;
        let takes_nothing = regex.is_match("").map_err(|e| e.to_string())?;
        let mut parts = Vec::new();
        let mut start = 0;
        for captures in matches(regex, text)? {
            let Some(whole) = captures.get(0) else { continue };
            // As `String.split`: an empty match at the very start or end parts nothing.
            if whole.start() == whole.end() && (whole.start() == 0 || whole.start() == text.len()) {
                continue;
            }
            parts.push(Some(text[start..whole.start()].to_string()));
            start = whole.end();
        }
        parts.push(Some(text[start..].to_string()));
        if takes_nothing {
            // As `String.split`: empty parts at the end are dropped.
            while parts.len() > 1 && parts.last().is_some_and(|p| p.as_deref() == Some("")) {
                parts.pop();
            }
        }
        Ok(Some(parts))
    })
}

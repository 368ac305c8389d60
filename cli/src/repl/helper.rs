//! What the line editor asks while one types: is it complete, what may follow, which colours.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use nu_ansi_term::{Color, Style};
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

use super::{commands, complete, words};
use crate::backend::Names;
use crate::sql_text::{self, TokenKind, tokens};

pub struct ShellHelper {
    pub names: Rc<RefCell<Names>>,
    pub colour: bool,
    files: FilenameCompleter,
}

impl ShellHelper {
    pub fn new(colour: bool) -> Self {
        Self { names: Rc::default(), colour, files: FilenameCompleter::new() }
    }
}

impl Helper for ShellHelper {}

impl Hinter for ShellHelper {
    type Hint = String;
}

impl Validator for ShellHelper {
    fn validate(&self, ctx: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        let text = ctx.input();
        let complete = commands::parse(text).is_some() || sql_text::is_complete(text);
        Ok(if complete { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Completer for ShellHelper {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = &line[..pos];
        if sql_text::leading_words(before, 2) == ["RUN", "SCRIPT"] || before.trim_start().starts_with("\\i ") {
            return self.files.complete_path(line, pos);
        }
        if before.starts_with('\\') && !before.contains(' ') {
            let fitting = commands::NAMES.iter().filter(|c| c.starts_with(before));
            return Ok((0, fitting.map(|c| pair(c)).collect()));
        }
        let (start, offered) = complete::complete(line, pos, &self.names.borrow());
        Ok((start, offered.iter().map(|c| pair(c)).collect()))
    }
}

fn pair(text: &str) -> Pair {
    Pair { display: text.to_string(), replacement: text.to_string() }
}

impl Highlighter for ShellHelper {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.colour { Cow::Owned(highlighted(line)) } else { Cow::Borrowed(line) }
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        if self.colour { Cow::Owned(Color::Cyan.bold().paint(prompt).to_string()) } else { Cow::Borrowed(prompt) }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.colour && kind != CmdKind::MoveCursor
    }
}

fn highlighted(line: &str) -> String {
    tokens(line)
        .into_iter()
        .map(|token| {
            let style = match token.kind {
                TokenKind::Word if words::is_keyword(token.text) => Color::Blue.bold(),
                TokenKind::String => Color::Green.normal(),
                TokenKind::Number => Color::Yellow.normal(),
                TokenKind::Comment => Style::new().dimmed(),
                _ => Style::new(),
            };
            style.paint(token.text).to_string()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_change_nothing_but_colours() {
        let line = "SELECT 'a', 1 -- x";
        let mut plain = String::new();
        let coloured = highlighted(line);
        let mut rest = coloured.as_str();
        while let Some(at) = rest.find('\u{1b}') {
            plain.push_str(&rest[..at]);
            rest = &rest[at + rest[at..].find('m').unwrap() + 1..];
        }
        plain.push_str(rest);
        assert_eq!(plain, line);
        assert_ne!(coloured, line);
    }
}

//! Errors as people read them: what, where, and what to do.
//!
//! ```text
//! error: SELECT column 'AMOUT' cannot be resolved.
//!   at line 2, column 8
//!   | SELECT amout FROM orders;
//!   |        ^
//! hint: did you mean AMOUNT?
//! ```

use headwater_engine::Error;
use headwater_engine::error::Position;
use nu_ansi_term::{Color, Style as Ansi};

use super::one_line;
use super::table::text_width;

/// Characters of a long line shown around the place.
const CONTEXT_CHARS: usize = 60;

/// `statement` is what ran; `line` and `column` say where it starts in the script.
pub fn render(error: &Error, statement: &str, start: Position, colour: bool) -> String {
    let paint = |style: Ansi, text: &str| if colour { style.paint(text).to_string() } else { text.to_string() };
    let red = Color::Red.bold();
    let mut message = error.message();
    let mut out = String::new();
    let position = error.position().filter(|p| p.line > 0 && p.column > 0);
    if let Some(position) = position {
        message = without_place(message, position);
    }
    out.push_str(&format!("{} {}\n", paint(red, "error:"), without_controls(message)));
    if let Some(position) = position {
        let line = start.line + position.line - 1;
        let column = if position.line == 1 { start.column + position.column - 1 } else { position.column };
        out.push_str(&format!("  at line {line}, column {column}\n"));
        if let Some((text, caret)) = place(statement, position) {
            out.push_str(&format!("  | {text}\n  | {}{}\n", " ".repeat(caret), paint(red, "^")));
        }
    }
    if let Some(cause) = error.cause() {
        out.push_str(&format!("cause: {}\n", without_controls(cause)));
    }
    if let Some(hint) = error.hint() {
        out.push_str(&format!("{} {}\n", paint(Color::Cyan.normal(), "hint:"), without_controls(hint)));
    }
    out
}

/// ksqlDB's messages say the place and repeat the statement; both are said better below, in the script's own lines.
fn without_place(message: &str, position: Position) -> &str {
    let Position { line, column } = position;
    let message = [format!("line {line}:{column}: "), format!("Line: {line}, Col: {column}: ")]
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix.as_str()))
        .unwrap_or(message);
    message.rsplit_once("\nStatement: ").map_or(message, |(before, _)| before)
}

/// An error that has no SQL.
pub fn render_plain(error: &Error, colour: bool) -> String {
    render(error, "", Position { line: 1, column: 1 }, colour)
}

/// The line of the statement and how far the caret is from its left, cut to what fits.
fn place(statement: &str, position: Position) -> Option<(String, usize)> {
    let line = statement.lines().nth(usize::try_from(position.line - 1).ok()?)?;
    let chars: Vec<char> = line.chars().collect();
    let at = usize::try_from(position.column - 1).ok()?.min(chars.len());
    let from = at.saturating_sub(CONTEXT_CHARS);
    let to = (at + CONTEXT_CHARS).min(chars.len());
    let clean = |range: std::ops::Range<usize>| -> String {
        chars[range].iter().map(|c| if c.is_control() { ' ' } else { *c }).collect()
    };
    let before = format!("{}{}", if from > 0 { "…" } else { "" }, clean(from..at));
    let after = format!("{}{}", clean(at..to), if to < chars.len() { "…" } else { "" });
    let caret = text_width(&before);
    Some((before + &after, caret))
}

/// Line breaks stay; nothing else may move the cursor.
fn without_controls(text: &str) -> String {
    text.lines().map(one_line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_shown_in_the_scripts_lines() {
        let error = Error::parse("line 2:3: wrong").at(Position { line: 2, column: 3 }).with_hint("write it right");
        let text = render(&error, "SELECT a\n  FORM s;", Position { line: 10, column: 5 }, false);
        assert_eq!(text, "error: wrong\n  at line 11, column 3\n  |   FORM s;\n  |   ^\nhint: write it right\n");
    }

    #[test]
    fn the_place_and_the_statement_are_not_said_twice() {
        let error = Error::parse("line 1:1: Syntax Error\nStatement: SELEC 1;").at(Position { line: 1, column: 1 });
        let text = render(&error, "SELEC 1;", Position { line: 1, column: 1 }, false);
        assert_eq!(text, "error: Syntax Error\n  at line 1, column 1\n  | SELEC 1;\n  | ^\n");
    }

    #[test]
    fn columns_of_the_first_line_count_from_the_statements_start() {
        let error = Error::parse("wrong").at(Position { line: 1, column: 8 });
        let text = render(&error, "SELECT é FROM s;", Position { line: 1, column: 5 }, false);
        assert!(text.contains("at line 1, column 12\n  | SELECT é FROM s;\n  |        ^"), "{text}");
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let sql = format!("SELECT {}", "x,".repeat(5000));
        let error = Error::parse("wrong").at(Position { line: 1, column: 5000 });
        let text = render(&error, &sql, Position { line: 1, column: 1 }, false);
        assert!(text.lines().all(|line| line.chars().count() < 140), "{text}");
    }

    #[test]
    fn escape_codes_in_messages_do_not_reach_the_terminal() {
        let text = render_plain(&Error::statement("bad \u{1b}[2J name"), false);
        assert!(!text.contains('\u{1b}'));
    }
}

//! What the shell does itself, without SQL: ksqlDB's words (`help`, `exit`, `output json`) and psql's (`\d`, `\x`).

use clap::ValueEnum;

use crate::args::OutputMode;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Exit,
    Help,
    Clear,
    History,
    Version,
    /// Where the shell is connected to.
    Server,
    /// None = say which it is.
    Output(Option<OutputMode>),
    /// None = the other way round.
    Expanded(Option<bool>),
    Timing(Option<bool>),
    /// Statements that answer the command.
    Sql(String),
    /// Cannot be understood, and why.
    Wrong(String),
}

/// For completion.
pub const NAMES: &[&str] =
    &["\\?", "\\d", "\\df", "\\dk", "\\dq", "\\ds", "\\dt", "\\dT", "\\i", "\\o", "\\q", "\\timing", "\\x"];

pub const HELP: &str = "\
Statements end with ; and may span lines. Ctrl-C stops a running query, Ctrl-D leaves.

  \\d             streams and tables            \\d NAME        columns of one (\\d+ NAME: everything)
  \\ds \\dt \\dq    streams, tables, queries      \\df [NAME]     functions, or one of them
  \\dk \\dT        topics, types                 \\i FILE        run a script (RUN SCRIPT 'file';)
  \\x             one line a value, on or off   \\timing        how long statements take, on or off
  \\o MODE        table, expanded, csv, json, ndjson, markdown (output MODE)
  \\?             this (help)                   \\q             leave (exit)
  clear          clear the screen              history        what was entered
  version        of Headwater                  server         what the shell is connected to

Try:  CREATE STREAM s (id INT KEY, name STRING) WITH (kafka_topic='s', value_format='JSON');
      INSERT INTO s VALUES (1, 'Lima');
      SELECT * FROM s;                         what is there now
      SELECT * FROM s EMIT CHANGES;            what comes, until Ctrl-C
";

/// None if the text is not a command (and so SQL).
pub fn parse(text: &str) -> Option<Command> {
    let text = text.trim();
    if text.contains('\n') && !text.starts_with('\\') {
        return None;
    }
    let bare = text.strip_suffix(';').unwrap_or(text).trim_end();
    let mut words = bare.split_whitespace();
    let first = words.next()?;
    let rest = bare[first.len()..].trim();
    if let Some(name) = first.strip_prefix('\\') {
        return Some(backslash(name, rest));
    }
    let lower = first.to_lowercase();
    match (lower.as_str(), rest) {
        ("exit" | "quit", "") => Some(Command::Exit),
        ("help", "") => Some(Command::Help),
        ("clear", "") => Some(Command::Clear),
        ("history", "") => Some(Command::History),
        ("version", "") => Some(Command::Version),
        ("server", "") => Some(Command::Server),
        ("output", mode) => Some(output(mode)),
        ("run", script)
            if script.len() >= 6 && script.is_char_boundary(6) && script[..6].eq_ignore_ascii_case("script") =>
        {
            script.contains('\'').then(|| Command::Sql(format!("{bare};")))
        }
        _ => None,
    }
}

fn backslash(name: &str, rest: &str) -> Command {
    let sql = |text: &str| Command::Sql(text.to_string());
    match (name, rest) {
        ("q", _) => Command::Exit,
        ("?" | "h", _) => Command::Help,
        ("x", on) => flag(on, Command::Expanded),
        ("timing", on) => flag(on, Command::Timing),
        ("o" | "output", mode) => output(mode),
        ("i", file) if !file.is_empty() => {
            sql(&format!("RUN SCRIPT '{}';", file.trim_matches('\'').replace('\'', "''")))
        }
        ("d", "") => sql("SHOW STREAMS; SHOW TABLES;"),
        ("d+", "") => sql("DESCRIBE STREAMS EXTENDED; DESCRIBE TABLES EXTENDED;"),
        ("d", name) => Command::Sql(format!("DESCRIBE {name};")),
        ("d+", name) => Command::Sql(format!("DESCRIBE {name} EXTENDED;")),
        ("ds", _) => sql("SHOW STREAMS;"),
        ("dt", _) => sql("SHOW TABLES;"),
        ("ds+", _) => sql("SHOW STREAMS EXTENDED;"),
        ("dt+", _) => sql("SHOW TABLES EXTENDED;"),
        ("dq", _) => sql("SHOW QUERIES;"),
        ("dq+", _) => sql("SHOW QUERIES EXTENDED;"),
        ("dk", _) => sql("SHOW TOPICS;"),
        ("dk+", _) => sql("SHOW ALL TOPICS EXTENDED;"),
        ("dT", _) => sql("SHOW TYPES;"),
        ("df", "") => sql("SHOW FUNCTIONS;"),
        ("df", name) => Command::Sql(format!("DESCRIBE FUNCTION {name};")),
        _ => Command::Wrong(format!("\\{name} is not known; \\? lists the commands")),
    }
}

fn flag(on: &str, command: fn(Option<bool>) -> Command) -> Command {
    match on.to_lowercase().as_str() {
        "" => command(None),
        "on" => command(Some(true)),
        "off" => command(Some(false)),
        other => Command::Wrong(format!("{other} is neither on nor off")),
    }
}

fn output(mode: &str) -> Command {
    let mode = mode.trim_matches('\'').to_lowercase();
    match mode.as_str() {
        "" => Command::Output(None),
        "tabular" => Command::Output(Some(OutputMode::Table)),
        mode => match OutputMode::from_str(mode, true) {
            Ok(mode) => Command::Output(Some(mode)),
            Err(_) => Command::Wrong(format!(
                "{mode} is no output mode; there are table, expanded, csv, json, ndjson and markdown"
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ksqldbs_words_and_psqls_are_understood() {
        assert_eq!(parse("exit"), Some(Command::Exit));
        assert_eq!(parse(" EXIT; "), Some(Command::Exit));
        assert_eq!(parse("\\q"), Some(Command::Exit));
        assert_eq!(parse("OUTPUT TABULAR;"), Some(Command::Output(Some(OutputMode::Table))));
        assert_eq!(parse("\\d orders"), Some(Command::Sql("DESCRIBE orders;".into())));
        assert_eq!(parse("run script 'a.sql'"), Some(Command::Sql("run script 'a.sql';".into())));
        assert!(matches!(parse("\\zzz"), Some(Command::Wrong(_))));
    }

    #[test]
    fn sql_is_no_command() {
        for sql in ["SELECT 1", "show streams;", "exit_code", "", "run", "run scriptée"] {
            assert_eq!(parse(sql), None, "{sql}");
        }
    }
}

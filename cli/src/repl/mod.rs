//! The shell: reads statements to `;`, runs them, shows what they answer.
//!
//! Ctrl-C while typing empties the line; while a query runs it stops the query; it never ends the shell.

mod commands;
mod complete;
mod helper;
mod words;

use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;

use headwater_engine::clock::Stopwatch;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};

use self::commands::Command;
use self::helper::ShellHelper;
use crate::args::{Common, OutputMode};
use crate::backend::{self, Backend};
use crate::exit::Exit;
use crate::interrupt;
use crate::output::{self, Style, error};
use crate::script::Script;
use crate::show::View;
use crate::sql_text::{leading_words, statements};

const PROMPT: &str = "headwater> ";
const HISTORY_ENTRIES_MAX: usize = 10_000;

type LineEditor = Editor<ShellHelper, FileHistory>;

pub fn run(common: &Common) -> Result<(), Exit> {
    common.check()?;
    let colour = output::colour(&std::io::stderr());
    interrupt::listen();
    let backend = backend::open(common).map_err(|error| {
        eprint!("{}", error::render_plain(&error, colour));
        Exit::Connection
    })?;
    let editor = match editor(output::colour(&std::io::stdout())) {
        Ok(editor) => editor,
        Err(error) => {
            eprintln!("error: the line editor cannot be started: {error}");
            return Err(Exit::Usage);
        }
    };
    let style = Style { colour: output::colour(&std::io::stdout()), width: None };
    let script = Script::new(View::new(common, style, OutputMode::Table), colour);
    let mut shell = Shell { editor, backend, script, history: history_file() };
    shell.greet();
    shell.load_history();
    shell.refresh_names();
    let ended = shell.read_and_run();
    if let Err(error) = shell.backend.close() {
        eprint!("{}", error::render_plain(&error, colour));
        return Err(Exit::from(&error));
    }
    ended
}

fn editor(colour: bool) -> rustyline::Result<LineEditor> {
    let config = Config::builder()
        .max_history_size(HISTORY_ENTRIES_MAX)?
        .history_ignore_dups(true)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .bracketed_paste(true)
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(ShellHelper::new(colour)));
    Ok(editor)
}

/// `HEADWATER_HISTORY`, or `headwater/history` in the user's state directory.
fn history_file() -> Option<PathBuf> {
    if let Some(file) = std::env::var_os("HEADWATER_HISTORY") {
        return (!file.is_empty()).then(|| PathBuf::from(file));
    }
    let state = std::env::var_os("XDG_STATE_HOME").filter(|d| !d.is_empty()).map(PathBuf::from);
    let state = state.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")))?;
    Some(state.join("headwater").join("history"))
}

struct Shell {
    editor: LineEditor,
    backend: Box<dyn Backend>,
    script: Script,
    history: Option<PathBuf>,
}

impl Shell {
    fn greet(&self) {
        println!("Headwater {}, {}. \\? helps, Ctrl-D leaves.", env!("CARGO_PKG_VERSION"), self.backend.describe());
    }

    fn read_and_run(&mut self) -> Result<(), Exit> {
        loop {
            match self.editor.readline(PROMPT) {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => {
                    self.remember(&text);
                    match commands::parse(&text) {
                        Some(Command::Exit) => return Ok(()),
                        Some(command) => self.command(command),
                        None => self.run_sql(&text),
                    }
                }
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => {
                    eprintln!("error: the terminal cannot be read: {error}");
                    return Err(Exit::Usage);
                }
            }
        }
    }

    fn run_sql(&mut self, sql: &str) {
        // The window may have been resized since the last statement.
        self.script.view.style.width = self.editor.dimensions().map(|(columns, _)| usize::from(columns));
        interrupt::clear();
        let clock = Stopwatch::start();
        let mut out = std::io::stdout().lock();
        let ran = self.script.run(&mut *self.backend, sql, None, &mut out);
        drop(out);
        if self.script.view.timing && ran.is_ok() {
            eprintln!("Time: {:.3} ms", clock.elapsed().as_secs_f64() * 1000.0);
        }
        let changes = |text: &str| {
            let first = leading_words(text, 1).pop().unwrap_or_default();
            matches!(first.as_str(), "CREATE" | "DROP" | "ALTER" | "INSERT" | "TERMINATE" | "RUN")
        };
        if statements(sql).iter().any(|piece| changes(piece.text)) {
            self.refresh_names();
        }
    }

    fn refresh_names(&mut self) {
        match self.backend.names() {
            Ok(names) => {
                if let Some(helper) = self.editor.helper() {
                    *Rc::clone(&helper.names).borrow_mut() = names;
                }
            }
            // Completion is a comfort: without it the shell still works.
            Err(error) => tracing::debug!(%error, "names for completion are not available"),
        }
    }

    fn command(&mut self, command: Command) {
        let view = &mut self.script.view;
        match command {
            Command::Exit => {}
            Command::Help => print!("{}", commands::HELP),
            Command::Clear => {
                if let Err(error) = self.editor.clear_screen() {
                    eprintln!("error: {error}");
                }
            }
            Command::History => {
                let mut out = std::io::stdout().lock();
                for (i, entry) in self.editor.history().iter().enumerate() {
                    if writeln!(out, "{:5}  {}", i + 1, entry.replace('\n', "\n       ")).is_err() {
                        break;
                    }
                }
            }
            Command::Version => println!("Headwater {}", env!("CARGO_PKG_VERSION")),
            Command::Server => println!("{}", self.backend.describe()),
            Command::Output(None) => println!("output is {}", mode_name(view.mode)),
            Command::Output(Some(mode)) => {
                view.mode = mode;
                println!("output is {}", mode_name(mode));
            }
            Command::Expanded(on) => {
                let on = on.unwrap_or(view.mode != OutputMode::Expanded);
                view.mode = if on { OutputMode::Expanded } else { OutputMode::Table };
                println!("output is {}", mode_name(view.mode));
            }
            Command::Timing(on) => {
                view.timing = on.unwrap_or(!view.timing);
                println!("timing is {}", if view.timing { "on" } else { "off" });
            }
            Command::Sql(sql) => self.run_sql(&sql),
            Command::Wrong(why) => eprintln!("error: {why}"),
        }
    }

    /// The file is created with mode 0600 by the editor.
    fn load_history(&mut self) {
        let Some(file) = &self.history else { return };
        if let Some(directory) = file.parent()
            && let Err(error) = std::fs::create_dir_all(directory)
        {
            tracing::debug!(%error, "no history will be kept");
        }
        if let Err(error) = self.editor.load_history(file) {
            tracing::debug!(%error, "there is no history yet");
        }
    }

    /// Kept at once, so that it survives whatever ends the shell.
    fn remember(&mut self, text: &str) {
        let added = self.editor.add_history_entry(text.trim_end());
        if let (Ok(true), Some(file)) = (added, &self.history)
            && let Err(error) = self.editor.append_history(file)
        {
            tracing::debug!(%error, "the history cannot be written");
        }
    }
}

fn mode_name(mode: OutputMode) -> String {
    clap::ValueEnum::to_possible_value(&mode).map_or_else(String::new, |v| v.get_name().to_string())
}

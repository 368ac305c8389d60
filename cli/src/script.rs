//! Scripts: statements one after another, from `-e`, `-f`, `run` or stdin. The first error ends them.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use headwater_engine::error::Position;
use headwater_engine::{Error, Result};

use crate::args::{Common, OutputMode};
use crate::backend::{self, Backend};
use crate::exit::Exit;
use crate::interrupt;
use crate::output::{self, Style, error};
use crate::show::{self, Shown, View};
use crate::sql_text::{self, Piece};

/// RUN SCRIPT inside RUN SCRIPT inside …
const NESTED_SCRIPTS_MAX: usize = 16;
/// Largest script, in bytes.
const SCRIPT_BYTES_MAX: u64 = 1 << 30;

pub fn run_text(common: &Common, sql: &str) -> Result<(), Exit> {
    run(common, sql, None)
}

pub fn run_file(common: &Common, file: &Path) -> Result<(), Exit> {
    match read(file) {
        Ok(text) => run(common, &text, Some(directory_of(file))),
        Err(error) => {
            eprint!("{}", error::render_plain(&error, output::colour(&std::io::stderr())));
            Err(Exit::Usage)
        }
    }
}

/// The last line of `headwater run`.
pub fn say_what_next(common: &Common, file: &Path) {
    let file = file.display();
    let next = match (&common.server, common.is_temporary()) {
        (Some(url), _) => format!("headwater --server {url}"),
        (None, true) => format!("headwater run {file} --data ./my-data && headwater --data ./my-data"),
        (None, false) => format!("headwater --data {}", common.data().display()),
    };
    eprintln!("done. Try next, and ask for more in the shell: {next}");
}

pub fn run_stdin(common: &Common) -> Result<(), Exit> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(SCRIPT_BYTES_MAX + 1).read_to_end(&mut bytes);
    let text =
        read.map_err(|e| Error::statement(format!("stdin cannot be read: {e}"))).and_then(|_| decode(bytes, "stdin"));
    match text {
        Ok(text) => run(common, &text, None),
        Err(error) => {
            eprint!("{}", error::render_plain(&error, output::colour(&std::io::stderr())));
            Err(Exit::Usage)
        }
    }
}

fn read(file: &Path) -> Result<String> {
    let bytes = std::fs::read(file).map_err(|e| Error::statement(format!("{} cannot be read: {e}", file.display())))?;
    decode(bytes, &file.display().to_string())
}

fn decode(bytes: Vec<u8>, name: &str) -> Result<String> {
    if bytes.len() as u64 > SCRIPT_BYTES_MAX {
        return Err(Error::limit(format!("{name} is larger than {SCRIPT_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let line = e.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
        Error::parse(format!("{name} is not UTF-8: byte {at}, on line {line}, begins no character"))
    })
}

fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

fn run(common: &Common, sql: &str, base: Option<PathBuf>) -> Result<(), Exit> {
    common.check()?;
    let colour = output::colour(&std::io::stderr());
    interrupt::listen();
    let mut backend = backend::open(common).map_err(|error| {
        eprint!("{}", error::render_plain(&error, colour));
        Exit::Connection
    })?;
    let stdout = std::io::stdout();
    let terminal = stdout.is_terminal();
    let style =
        Style { colour: output::colour(&stdout), width: if terminal { output::terminal_width() } else { None } };
    let mode = if terminal { OutputMode::Table } else { OutputMode::Csv };
    let mut out = std::io::BufWriter::new(stdout.lock());
    let mut script = Script { view: View::new(common, style, mode), colour, depth: 0 };
    backend.set_base(base.clone());
    let ran = script.run(&mut *backend, sql, base.as_deref(), &mut out);
    let flushed = show::write_out(&mut out, |out| out.flush());
    let closed = backend.close();
    let flushed = if show::reader_is_gone() { Ok(()) } else { flushed };
    if let Err(error) = closed.and(flushed) {
        eprint!("{}", error::render_plain(&error, colour));
        ran?;
        return Err(Exit::from(&error));
    }
    ran
}

/// Runs statements and says what fails.
pub struct Script {
    pub view: View,
    /// Of stderr.
    pub colour: bool,
    depth: usize,
}

impl Script {
    pub fn new(view: View, colour: bool) -> Self {
        Self { view, colour, depth: 0 }
    }

    pub fn run(
        &mut self,
        backend: &mut dyn Backend,
        sql: &str,
        base: Option<&Path>,
        out: &mut dyn Write,
    ) -> Result<(), Exit> {
        for piece in sql_text::statements(sql) {
            match self.statement(backend, &piece, base, out) {
                Ok(Shown::Done) if !interrupt::pressed() => {}
                Ok(_) => return Err(Exit::Interrupted),
                Err(StatementError::Shown(exit)) => return Err(exit),
                Err(StatementError::Engine(_)) if show::reader_is_gone() => return Err(Exit::Success),
                Err(StatementError::Engine(error)) => {
                    // What came before belongs above the error.
                    show::write_out(out, |out| out.flush()).map_err(|e| Exit::from(&e))?;
                    let start = Position { line: piece.line, column: piece.column };
                    eprint!("{}", error::render(&error, piece.text, start, self.colour));
                    return Err(Exit::from(&error));
                }
            }
        }
        Ok(())
    }

    fn statement(
        &mut self,
        backend: &mut dyn Backend,
        piece: &Piece<'_>,
        base: Option<&Path>,
        out: &mut dyn Write,
    ) -> Result<Shown, StatementError> {
        if sql_text::leading_words(piece.text, 2) == ["RUN", "SCRIPT"] {
            return self.nested(backend, piece.text, base, out);
        }
        let text = if piece.terminated { piece.text.to_string() } else { format!("{};", piece.text) };
        let answer = backend.execute(&text)?;
        Ok(show::answer(answer, &self.view, out)?)
    }

    /// RUN SCRIPT: its file names are relative to its own directory.
    fn nested(
        &mut self,
        backend: &mut dyn Backend,
        statement: &str,
        base: Option<&Path>,
        out: &mut dyn Write,
    ) -> Result<Shown, StatementError> {
        let Some(name) = sql_text::first_string(statement) else {
            return Err(Error::parse("RUN SCRIPT is written RUN SCRIPT 'file';").into());
        };
        if self.depth >= NESTED_SCRIPTS_MAX {
            return Err(Error::limit(format!("scripts run scripts more than {NESTED_SCRIPTS_MAX} deep")).into());
        }
        let file = base.map_or_else(|| PathBuf::from(&name), |base| base.join(&name));
        let text = read(&file)?;
        let inner_base = directory_of(&file);
        backend.set_base(Some(inner_base.clone()));
        self.depth += 1;
        let ran = self.run(backend, &text, Some(&inner_base), out);
        self.depth -= 1;
        backend.set_base(base.map(Path::to_path_buf));
        match ran {
            Ok(()) => Ok(Shown::Done),
            Err(exit) => {
                eprintln!("in {}", file.display());
                Err(StatementError::Shown(exit))
            }
        }
    }
}

enum StatementError {
    Engine(Error),
    /// The user has been told.
    Shown(Exit),
}

impl From<Error> for StatementError {
    fn from(error: Error) -> Self {
        StatementError::Engine(error)
    }
}

//! The `headwater` command: a shell, scripts, loading, and the server, over an embedded engine or a remote one.
//!
//! | called as | does | file |
//! |---|---|---|
//! | `headwater` | opens the shell (or runs the script on stdin) | `repl`, `script` |
//! | `headwater -e SQL`, `-f FILE`, `run FILE` | runs a script | `script` |
//! | `headwater load TARGET FILE` | loads JSON lines or CSV | `load` |
//! | `headwater test PATH…` | runs test cases | `test` |
//! | `headwater serve` | answers HTTP | `serve` |
//!
//! Results go to stdout, everything else to stderr. Exit codes are in [`exit`].

mod args;
mod backend;
mod exit;
mod interrupt;
mod load;
mod output;
mod repl;
mod script;
mod serve;
mod show;
mod sql_text;
mod test;

use std::io::IsTerminal;

use clap::Parser;

use crate::args::{Args, Command, Common};
use crate::exit::Exit;

fn main() -> std::process::ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are no errors: they go to stdout.
            let failed = error.use_stderr();
            if error.print().is_err() {
                return Exit::Usage.into();
            }
            return if failed { Exit::Usage.into() } else { Exit::Success.into() };
        }
    };
    match run(args) {
        Ok(()) => Exit::Success.into(),
        Err(exit) => exit.into(),
    }
}

fn run(args: Args) -> Result<(), Exit> {
    let Args { common, execute, file, command } = args;
    start_logging(&common, matches!(command, Some(Command::Serve(_))))?;
    match command {
        Some(Command::Serve(options)) => serve::run(&common, &options),
        Some(Command::Test(options)) => test::run(&options),
        Some(Command::Load(options)) => load::run(&common, &options),
        Some(Command::Run { file }) => {
            let common = common.with_temporary_data()?;
            script::run_file(&common, &file)?;
            script::say_what_next(&common, &file);
            Ok(())
        }
        None => match (execute, file) {
            (Some(sql), None) => script::run_text(&common, &sql),
            (None, Some(file)) => script::run_file(&common, &file),
            (Some(_), Some(_)) => exit::usage("-e and -f cannot be given together"),
            (None, None) if std::io::stdin().is_terminal() => repl::run(&common),
            (None, None) => script::run_stdin(&common),
        },
    }
}

/// Logs go to stderr, so that results stay clean. Scripts and shells show warnings only.
fn start_logging(common: &Common, serving: bool) -> Result<(), Exit> {
    let filter = common.log.as_deref().unwrap_or(if serving { "info" } else { "warn" });
    let filter = match tracing_subscriber::EnvFilter::builder().parse(filter) {
        Ok(filter) => filter,
        Err(error) => return exit::usage(&format!("--log {filter}: {error}")),
    };
    let colour = output::colour(&std::io::stderr());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    if subscriber.try_init().is_err() {
        return exit::usage("logging was started twice");
    }
    Ok(())
}

//! The command line. Every option works before and after the subcommand and as `HEADWATER_<NAME>`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use headwater_engine::engine::Sync;

use crate::exit::{Exit, usage};
use crate::test::TestArgs;

#[derive(Parser)]
#[command(
    name = "headwater",
    version,
    about = "A SQL streaming engine in one binary",
    after_help = "Exit codes: 0 done, 1 usage, 2 connection or data directory, 3 SQL, 4 failed test cases, 130 interrupted."
)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,

    /// Run these statements and leave
    #[arg(short = 'e', long, value_name = "SQL", allow_hyphen_values = true)]
    pub execute: Option<String>,

    /// Run the statements of a file and leave
    #[arg(short = 'f', long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run a script; without --data on a temporary directory
    Run { file: PathBuf },
    /// Load JSON lines or CSV into a stream, table or topic
    Load(LoadArgs),
    /// Run test cases: scripts with ASSERT, ksqlDB's own JSON
    Test(TestArgs),
    /// Answer ksqlDB's HTTP API
    Serve(ServeArgs),
}

#[derive(ClapArgs)]
pub struct LoadArgs {
    /// Stream, table, or bare topic
    pub target: String,

    /// The file, or - for stdin
    pub file: PathBuf,

    /// What the file holds (default: what its name ends in)
    #[arg(long, value_enum)]
    pub format: Option<LoadFormatName>,

    /// For a bare topic: the field that becomes the record's key
    #[arg(long, value_name = "FIELD")]
    pub key: Option<String>,

    /// CSV: text that stands for null, beside the empty field
    #[arg(long, value_name = "TEXT")]
    pub null: Option<String>,

    /// Column that gives each row's time, as epoch milliseconds or ISO 8601
    #[arg(long, value_name = "COLUMN")]
    pub timestamp: Option<String>,

    /// Exit with 3 if more rows than this are rejected
    #[arg(long, value_name = "ROWS")]
    pub max_errors: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LoadFormatName {
    Json,
    Csv,
}

#[derive(ClapArgs)]
pub struct ServeArgs {
    /// Address to listen on
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8088", env = "HEADWATER_LISTEN")]
    pub listen: String,

    /// Allow an address that other machines reach, though nobody is asked who they are
    #[arg(long, env = "HEADWATER_INSECURE")]
    pub insecure: bool,
}

#[derive(ClapArgs, Clone)]
pub struct Common {
    /// Data directory of the embedded engine (":memory:" keeps nothing)
    #[arg(long, global = true, value_name = "DIR", env = "HEADWATER_DATA")]
    data: Option<PathBuf>,

    /// Use a server instead of an embedded engine
    #[arg(long, global = true, value_name = "URL", env = "HEADWATER_SERVER")]
    pub server: Option<String>,

    /// How results are written (default: table on a terminal, csv elsewhere)
    #[arg(long, global = true, value_enum, env = "HEADWATER_OUTPUT")]
    pub output: Option<OutputMode>,

    /// End every SELECT after this many rows
    #[arg(long, global = true, value_name = "ROWS", env = "HEADWATER_QUERY_ROW_LIMIT")]
    pub query_row_limit: Option<u64>,

    /// End every SELECT … EMIT after this time
    #[arg(long, global = true, value_name = "MS", env = "HEADWATER_QUERY_TIMEOUT")]
    pub query_timeout: Option<u64>,

    /// Define a variable, used as ${NAME} (repeatable)
    #[arg(long, short = 'd', global = true, value_name = "NAME=VALUE", value_parser = parse_definition)]
    pub define: Vec<(String, String)>,

    /// When an insert is acknowledged: "always" (after fsync), "never", or every so many milliseconds
    #[arg(long, global = true, value_name = "WHEN", env = "HEADWATER_SYNC", value_parser = parse_sync, default_value = "always")]
    pub sync: Sync,

    /// What is logged to stderr: error, warn, info, debug, trace, or module=level,…
    #[arg(long, global = true, value_name = "LEVEL", env = "HEADWATER_LOG")]
    pub log: Option<String>,

    /// Kept while it is in use.
    #[arg(skip)]
    temporary: Option<Arc<tempfile::TempDir>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputMode {
    Table,
    Expanded,
    Csv,
    Json,
    Ndjson,
    Markdown,
}

impl Common {
    pub const DEFAULT_DATA: &str = "./headwater-data";
    pub const MEMORY: &str = ":memory:";

    pub fn data(&self) -> &Path {
        self.data.as_deref().unwrap_or(Path::new(Self::DEFAULT_DATA))
    }

    /// Without --data and --server: a directory that is removed in the end.
    pub fn with_temporary_data(mut self) -> Result<Self, Exit> {
        if self.data.is_none() && self.server.is_none() {
            let directory = match tempfile::Builder::new().prefix("headwater-").tempdir() {
                Ok(directory) => directory,
                Err(error) => {
                    eprintln!("error: a temporary data directory cannot be made: {error}");
                    eprintln!("hint: name one with --data DIR");
                    return Err(Exit::Connection);
                }
            };
            self.data = Some(directory.path().to_path_buf());
            self.temporary = Some(Arc::new(directory));
        }
        Ok(self)
    }

    /// Whether the data is gone at the end.
    pub fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// The server and the directory exclude each other if both are given on purpose.
    pub fn check(&self) -> Result<(), Exit> {
        if self.server.is_some() && self.data.is_some() {
            return usage("--server and --data cannot be given together");
        }
        Ok(())
    }
}

fn parse_definition(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_string(), value.to_string())),
        _ => Err("write NAME=VALUE".to_string()),
    }
}

fn parse_sync(text: &str) -> Result<Sync, String> {
    match text.to_ascii_lowercase().as_str() {
        "always" => Ok(Sync::Always),
        "never" => Ok(Sync::Never),
        millis => match millis.parse() {
            Ok(millis) => Ok(Sync::IntervalMs(millis)),
            Err(_) => Err("write always, never, or a number of milliseconds".to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn options_work_before_and_after_the_subcommand() {
        let before = Args::try_parse_from(["headwater", "--data", "d", "--output", "csv", "run", "x.sql"]).unwrap();
        let after = Args::try_parse_from(["headwater", "run", "x.sql", "--data", "d", "--output", "csv"]).unwrap();
        for args in [before, after] {
            assert_eq!(args.common.data(), Path::new("d"));
            assert_eq!(args.common.output, Some(OutputMode::Csv));
        }
    }
}

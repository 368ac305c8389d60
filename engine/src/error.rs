//! What goes wrong, and who must act.
//!
//! Two kinds of failure, two types. A statement that cannot run, a full disk, a limit reached: [`Error`]. A value of
//! one row that cannot be computed or decoded: [`RowError`], which is data and never stops a query.
//!
//! | kind | whose fault | what to do | exit code of the command line |
//! |---|---|---|---|
//! | `Parse` | the SQL text | correct it at the position | 3 |
//! | `Statement` | the statement | correct it | 3 |
//! | `NotFound` | the request | name something that exists | 3 |
//! | `Limit` | the request | make it smaller or raise the named limit | 3 |
//! | `Unavailable` | the moment | retry | 2 |
//! | `Storage` | the disk or directory | mend it, restart | 2 |
//! | `Internal` | us | report it | 3 |

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Sorted by what the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    Parse,
    Statement,
    NotFound,
    Limit,
    Unavailable,
    Storage,
    Internal,
}

/// A place in SQL text. Lines and columns count from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Position {
    pub line: u64,
    pub column: u64,
}

/// One clear error: what, where, and what to do.
#[derive(Debug, Clone)]
pub struct Error {
    inner: Box<ErrorInner>,
}

#[derive(Debug, Clone)]
struct ErrorInner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    position: Option<Position>,
    statement: Option<String>,
    cause: Option<String>,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            inner: Box::new(ErrorInner {
                kind,
                message: message.into(),
                hint: None,
                position: None,
                statement: None,
                cause: None,
            }),
        }
    }

    /// The SQL text cannot be read.
    pub fn parse(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Parse, message)
    }

    /// The SQL text was read, but cannot run.
    pub fn statement(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Statement, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    pub fn limit(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Limit, message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    pub fn storage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Storage, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// What the reader can do: `Did you mean "amount"?`
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    pub fn at(mut self, position: Position) -> Self {
        self.inner.position.get_or_insert(position);
        self
    }

    pub fn at_maybe(self, position: Option<Position>) -> Self {
        match position {
            Some(position) => self.at(position),
            None => self,
        }
    }

    /// The text of the statement that failed; kept if already set.
    pub fn in_statement(mut self, sql: &str) -> Self {
        self.inner.statement.get_or_insert_with(|| sql.to_string());
        self
    }

    pub fn with_cause(mut self, cause: impl fmt::Display) -> Self {
        self.inner.cause = Some(cause.to_string());
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    pub fn message(&self) -> &str {
        &self.inner.message
    }

    pub fn hint(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    pub fn position(&self) -> Option<Position> {
        self.inner.position
    }

    pub fn statement_text(&self) -> Option<&str> {
        self.inner.statement.as_deref()
    }

    pub fn cause(&self) -> Option<&str> {
        self.inner.cause.as_deref()
    }

    /// The same error with `prefix` before its message.
    pub fn prefixed(mut self, prefix: &str) -> Self {
        self.inner.message = format!("{prefix}{}", self.inner.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl std::error::Error for Error {}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Error::internal(format!("arrow: {error}"))
    }
}

impl From<datafusion::error::DataFusionError> for Error {
    fn from(error: datafusion::error::DataFusionError) -> Self {
        Error::statement(error.strip_backtrace())
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Error::storage(error.to_string())
    }
}

/// A failure of one row: it becomes null (or the row is set aside) and is written to a log, never an `Err`.
#[derive(Debug, Clone, PartialEq)]
pub struct RowError {
    /// Index of the row in the run it was found in.
    pub row: usize,
    pub message: String,
}

impl RowError {
    pub fn new(row: usize, message: impl Into<String>) -> Self {
        Self { row, message: message.into() }
    }
}

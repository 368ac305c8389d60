//! What a case did, for the reader and for a judge who does not trust our comparison.

use headwater_engine::{Error, ErrorKind};
use serde_json::{Value, json};

use super::case::ExpectedError;

/// Why a case failed.
#[derive(Debug, Clone)]
pub struct Failure {
    pub why: String,
    /// Set when it is the engine or the runner that broke, not a comparison.
    error: Option<Raised>,
}

impl Failure {
    pub fn differs(why: impl Into<String>) -> Self {
        Self { why: why.into(), error: None }
    }

    /// A panic, a time-out, or something the runner cannot do.
    pub fn other(why: impl Into<String>) -> Self {
        let why = why.into();
        let error = Raised { statement: 0, kind: RaisedKind::Other, message: why.clone(), cause: None };
        Self { why, error: Some(error) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RaisedKind {
    Parse,
    Statement,
    /// While records were processed.
    Runtime,
    Other,
}

/// An error the engine raised.
#[derive(Debug, Clone)]
pub struct Raised {
    /// Index of the statement.
    pub statement: usize,
    pub kind: RaisedKind,
    pub message: String,
    pub cause: Option<String>,
}

impl Raised {
    pub fn of_statement(statement: usize, error: &Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Parse => RaisedKind::Parse,
            ErrorKind::Statement | ErrorKind::NotFound | ErrorKind::Limit => RaisedKind::Statement,
            ErrorKind::Unavailable | ErrorKind::Storage | ErrorKind::Internal => RaisedKind::Other,
        };
        Self { statement, kind, message: error.message().to_string(), cause: error.cause().map(str::to_string) }
    }

    pub fn at_runtime(statement: usize, error: &Error) -> Self {
        Self { kind: RaisedKind::Runtime, ..Self::of_statement(statement, error) }
    }

    /// An ASSERT statement that does not hold.
    pub fn assertion(statement: usize, message: impl Into<String>) -> Self {
        Self { statement, kind: RaisedKind::Other, message: message.into(), cause: None }
    }

    /// None if this is the error expected.
    pub fn differs_from(&self, expected: &ExpectedError) -> Option<String> {
        let kind_fits = match expected.class_name() {
            Some("ParseFailedException") => self.kind == RaisedKind::Parse,
            Some("KsqlStatementException") => self.kind == RaisedKind::Statement,
            Some("KsqlException") => self.kind != RaisedKind::Runtime,
            Some("StreamsException") => self.kind == RaisedKind::Runtime,
            _ => true,
        };
        if !kind_fits {
            let class = expected.class_name().unwrap_or_default();
            return Some(format!("expected a {class}, got a {} error: {}", self.kind.name(), self.message));
        }
        if let Some(text) = &expected.message
            && !self.message.contains(text.as_str())
        {
            return Some(format!("the error's text differs: expected «{text}» in «{}»", self.message));
        }
        if let Some(text) = &expected.cause_message
            && !self.cause.as_ref().unwrap_or(&self.message).contains(text.as_str())
        {
            let cause = self.cause.as_deref().unwrap_or("none");
            return Some(format!("the error's cause differs: expected «{text}» in «{cause}»"));
        }
        None
    }

    fn to_json(&self) -> Value {
        json!({"statement": self.statement, "kind": self.kind.name(), "message": self.message, "cause": self.cause})
    }
}

impl RaisedKind {
    fn name(self) -> &'static str {
        match self {
            RaisedKind::Parse => "parse",
            RaisedKind::Statement => "statement",
            RaisedKind::Runtime => "runtime",
            RaisedKind::Other => "other",
        }
    }
}

/// What a case did.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub failure: Option<Failure>,
    pub error: Option<Raised>,
    pub records: Vec<Value>,
    pub sources: Vec<Value>,
    pub topics: Vec<Value>,
    /// REST cases only.
    pub responses: Option<Vec<Value>>,
}

impl Report {
    pub fn broken(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }

    pub fn to_json(&self, id: &str) -> Value {
        let why = self.failure.as_ref().map(|f| f.why.as_str());
        let error = self.error.as_ref().or(self.failure.as_ref().and_then(|f| f.error.as_ref()));
        let mut report = json!({
            "id": id,
            "verdict": if self.failure.is_none() { "pass" } else { "fail" },
            "why": why.unwrap_or_default(),
            "error": error.map(Raised::to_json),
            "records": self.records,
            "sources": self.sources,
            "topics": self.topics,
        });
        if let Some(responses) = &self.responses {
            report["responses"] = json!(responses);
        }
        report
    }
}

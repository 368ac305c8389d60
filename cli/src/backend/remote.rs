//! Statements run on a server, over ksqlDB's HTTP API. Settings and variables are kept here and sent with every request.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use headwater_engine::entity::{Entity, EntityBody, Variable};
use headwater_engine::error::Position;
use headwater_engine::session::load::{LoadFormat, LoadReport};
use headwater_engine::{Error, ErrorKind, Result};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use ureq::http::Response;
use ureq::{Agent, SendBody};

use super::{Answer, Backend, Block, Column, End, Names, Next, RowStream, SourceNames, schema_text};
use crate::load::LoadSource;
use crate::sql_text::{TokenKind, first_string, leading_words, tokens};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Lines of an answer read ahead of the screen.
const LINES_AHEAD_MAX: usize = 4096;
/// Largest answer of `/ksql`.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

pub struct Remote {
    client: Client,
    settings: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
    /// A SELECT must see what was written from here.
    wrote: bool,
    version: String,
}

#[derive(Clone)]
struct Client {
    agent: Agent,
    url: String,
}

impl Remote {
    /// Fails if nothing that speaks the API answers.
    pub fn connect(url: &str) -> Result<Self> {
        let url = if url.contains("://") { url.to_string() } else { format!("http://{url}") };
        let parsed = url::Url::parse(&url).map_err(|e| Error::unavailable(format!("{url} is not a URL: {e}")))?;
        if parsed.scheme() != "http" {
            return Err(Error::unavailable(format!("{url}: only http:// servers can be reached")));
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let client = Client { agent, url: url.trim_end_matches('/').to_string() };
        let info = client.get("/info")?;
        let version = info["KsqlServerInfo"]["version"].as_str().unwrap_or("of unknown version").to_string();
        Ok(Self { client, settings: BTreeMap::new(), variables: BTreeMap::new(), wrote: false, version })
    }

    fn body(&self, statement: &str) -> Value {
        json!({
            "ksql": statement,
            "streamsProperties": self.settings,
            "sessionVariables": self.variables,
            "requestProperties": {"headwater.read.your.writes": self.wrote},
        })
    }

    /// SET, UNSET, DEFINE, UNDEFINE and SHOW VARIABLES concern this side only.
    fn local(&mut self, statement: &str) -> Result<Option<Answer>> {
        let words = leading_words(statement, 2);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["SET", ..] => {
                let (name, value) =
                    two_strings(statement).ok_or_else(|| Error::parse("SET is written SET 'name' = 'value';"))?;
                self.client.get(&format!("/is_valid_property/{name}"))?;
                self.settings.insert(name, value);
            }
            ["UNSET", ..] => {
                let name = first_string(statement).ok_or_else(|| Error::parse("UNSET is written UNSET 'name';"))?;
                self.settings.remove(&name);
            }
            ["DEFINE", name, ..] => {
                let value =
                    first_string(statement).ok_or_else(|| Error::parse("DEFINE is written DEFINE name = 'value';"))?;
                let name = original_word(statement, 1).unwrap_or_else(|| name.to_string());
                self.variables.insert(name, value);
            }
            ["UNDEFINE", name, ..] => {
                let name = original_word(statement, 1).unwrap_or_else(|| name.to_string());
                if self.variables.remove(&name).is_none() {
                    return Err(Error::not_found(format!("Cannot undefine variable '{name}' which was never defined")));
                }
            }
            ["SHOW" | "LIST", "VARIABLES"] => {
                let variables = self
                    .variables
                    .iter()
                    .map(|(name, value)| Variable { name: name.clone(), value: value.clone() })
                    .collect();
                return Ok(Some(Answer::Entities(vec![Entity {
                    body: EntityBody::Variables { variables },
                    statement_text: statement.to_string(),
                    warnings: Vec::new(),
                }])));
            }
            _ => return Ok(None),
        }
        Ok(Some(Answer::Nothing))
    }
}

impl Backend for Remote {
    fn execute(&mut self, statement: &str) -> Result<Answer> {
        if let Some(answer) = self.local(statement)? {
            return Ok(answer);
        }
        let first = leading_words(statement, 1).pop().unwrap_or_default();
        if matches!(first.as_str(), "SELECT" | "WITH" | "VALUES" | "PRINT") || statement.starts_with('(') {
            let rows = HttpRows::start(&self.client, &self.body(statement), first == "PRINT", is_push(statement))?;
            return Ok(Answer::Rows(Box::new(rows)));
        }
        let answer = self.client.post("/ksql", &self.body(statement))?;
        self.wrote |= first == "INSERT";
        let entities: Vec<Entity> = serde_json::from_value(answer)
            .map_err(|e| Error::unavailable(format!("the server's answer is not understood: {e}")))?;
        Ok(if entities.is_empty() { Answer::Nothing } else { Answer::Entities(entities) })
    }

    fn define(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_string(), value.to_string());
    }

    fn set_base(&mut self, _base: Option<PathBuf>) {}

    fn load(&mut self, source: LoadSource<'_>, progress: &mut dyn FnMut(&LoadReport)) -> Result<LoadReport> {
        self.wrote = true;
        let LoadSource { target, format, input, null: null_text, key, timestamp } = source;
        let format = match format {
            LoadFormat::Json => "json",
            LoadFormat::Csv => "csv",
        };
        let options =
            json!({"target": target, "format": format, "null": null_text, "key": key, "timestamp": timestamp});
        let input = Box::new(Cursor::new(format!("{options}\n")).chain(input));
        let mut sent = Sent { input, report: LoadReport::default(), progress };
        let answer = self
            .client
            .agent
            .post(format!("{}/headwater/load", self.client.url))
            .header("Content-Type", "application/octet-stream")
            .send(SendBody::from_reader(&mut sent))
            .map_err(|e| self.client.unreachable(&e))?;
        load_report(&self.client.json(answer)?)
    }

    fn names(&mut self) -> Result<Names> {
        let mut names = Names::default();
        let statements = "SHOW TOPICS; SHOW QUERIES; SHOW FUNCTIONS; DESCRIBE STREAMS; DESCRIBE TABLES;";
        let answer = self.client.post("/ksql", &json!({"ksql": statements}))?;
        for entity in answer.as_array().into_iter().flatten() {
            let strings = |list: &str, key: &str| -> Vec<String> {
                let items = entity[list].as_array().into_iter().flatten();
                items.filter_map(|item| item[key].as_str().map(str::to_string)).collect()
            };
            names.topics.extend(strings("topics", "name"));
            names.queries.extend(strings("queries", "id"));
            names.functions.extend(strings("functions", "name"));
            for source in entity["sourceDescriptions"].as_array().into_iter().flatten() {
                let fields = source["fields"].as_array().into_iter().flatten();
                names.sources.push(SourceNames {
                    name: source["name"].as_str().unwrap_or_default().to_string(),
                    is_table: source["type"] == "TABLE",
                    columns: fields.filter_map(|f| f["name"].as_str().map(str::to_string)).collect(),
                });
            }
        }
        Ok(names)
    }

    fn describe(&self) -> String {
        format!("server {} at {}", self.version, self.client.url)
    }

    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Client {
    fn unreachable(&self, error: &ureq::Error) -> Error {
        Error::unavailable(format!("{} cannot be reached: {error}", self.url))
            .with_hint("is the server running? headwater serve starts one")
    }

    fn get(&self, path: &str) -> Result<Value> {
        let answer = self.agent.get(format!("{}{path}", self.url)).call().map_err(|e| self.unreachable(&e))?;
        self.json(answer)
    }

    fn send(&self, path: &str, body: &Value) -> Result<Response<ureq::Body>> {
        self.agent
            .post(format!("{}{path}", self.url))
            .header("Content-Type", "application/vnd.ksql.v1+json")
            .header("Accept", "application/vnd.ksql.v1+json")
            .send(body.to_string())
            .map_err(|e| self.unreachable(&e))
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.send(path, body)?;
        self.json(answer)
    }

    fn json(&self, mut answer: Response<ureq::Body>) -> Result<Value> {
        let status = answer.status();
        let text = answer
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_string()
            .map_err(|e| self.unreachable(&e))?;
        let body: Value = serde_json::from_str(&text)
            .map_err(|_| Error::unavailable(format!("{} does not speak ksqlDB's API (status {status})", self.url)))?;
        if status.is_success() { Ok(body) } else { Err(error_of(&body)) }
    }
}

/// The engine's error out of an error body.
fn error_of(body: &Value) -> Error {
    let code = body["error_code"].as_u64().unwrap_or(0);
    let kind = match code {
        50300..=50399 => ErrorKind::Unavailable,
        50000..=50099 => ErrorKind::Internal,
        _ => ErrorKind::Statement,
    };
    let message = body["message"].as_str().map_or_else(|| body.to_string(), str::to_string);
    let mut error = Error::new(kind, message);
    if let (Some(line), Some(column)) = (body["position"]["line"].as_u64(), body["position"]["column"].as_u64()) {
        error = error.at(Position { line, column });
    }
    match body["hint"].as_str() {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// A file on its way to the server, counted.
struct Sent<'a, 'p> {
    input: Box<dyn Read + 'a>,
    report: LoadReport,
    progress: &'p mut dyn FnMut(&LoadReport),
}

impl Read for Sent<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.report.bytes += read as u64;
        (self.progress)(&self.report);
        Ok(read)
    }
}

fn load_report(answer: &Value) -> Result<LoadReport> {
    let not_understood =
        |e: serde_json::Error| Error::unavailable(format!("the server's report is not understood: {e}"));
    let number = |name: &str| answer[name].as_u64().unwrap_or(0);
    let strings = |name: &str| serde_json::from_value(answer[name].clone()).map_err(not_understood);
    Ok(LoadReport {
        bytes: number("bytes"),
        rows: number("rows"),
        rejected: number("rejected"),
        first_errors: serde_json::from_value(answer["firstErrors"].clone()).map_err(not_understood)?,
        ignored_columns: strings("ignoredColumns")?,
        missing_columns: strings("missingColumns")?,
    })
}

/// `'a' = 'b'` in a statement.
fn two_strings(statement: &str) -> Option<(String, String)> {
    let mut strings = tokens(statement)
        .into_iter()
        .filter(|t| t.kind == TokenKind::String && t.complete)
        .map(|t| t.text[1..t.text.len() - 1].replace("''", "'"));
    Some((strings.next()?, strings.next()?))
}

/// A word of the statement as it was typed.
fn original_word(statement: &str, index: usize) -> Option<String> {
    tokens(statement).into_iter().filter(|t| t.kind == TokenKind::Word).nth(index).map(|t| t.text.to_string())
}

fn is_push(statement: &str) -> bool {
    tokens(statement).iter().any(|t| t.kind == TokenKind::Word && t.text.eq_ignore_ascii_case("EMIT"))
}

/// An answer of `/query`, read by a thread line by line.
struct HttpRows {
    client: Client,
    query_id: String,
    columns: Vec<Column>,
    live: bool,
    print: bool,
    lines: mpsc::Receiver<std::io::Result<String>>,
    end: Option<End>,
    notes: Vec<String>,
}

impl HttpRows {
    fn start(client: &Client, body: &Value, print: bool, live: bool) -> Result<Self> {
        let answer = client.send("/query", body)?;
        if !answer.status().is_success() {
            return Err(match client.json(answer) {
                Err(error) => error,
                Ok(_) => Error::unavailable("the server refused the query without a reason"),
            });
        }
        let query_id = answer.headers().get("query-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_string();
        let mut reader = BufReader::new(answer.into_body().into_reader());
        let (sender, lines) = mpsc::sync_channel(LINES_AHEAD_MAX);
        std::thread::Builder::new().name("answer".into()).spawn(move || {
            if !print && sender.send(first_element(&mut reader)).is_err() {
                return;
            }
            for line in reader.lines() {
                if sender.send(line).is_err() {
                    break;
                }
            }
        })?;
        let mut rows = Self {
            client: client.clone(),
            query_id,
            columns: Vec::new(),
            live: live || print,
            print,
            lines,
            end: None,
            notes: Vec::new(),
        };
        if !print {
            rows.read_header()?;
        }
        Ok(rows)
    }

    fn read_header(&mut self) -> Result<()> {
        let line = self.lines.recv().map_err(|_| Error::unavailable("the server closed the connection"))??;
        let element: Value = parse_element(&line)?;
        if let Some(error) = element.get("errorMessage") {
            return Err(error_of(error));
        }
        let header = &element["header"];
        if let Some(query_id) = header["queryId"].as_str() {
            self.query_id = query_id.to_string();
        }
        self.columns = schema_text::columns(header["schema"].as_str().unwrap_or_default());
        Ok(())
    }

    fn element(&mut self, line: &str, block: &mut Block) -> Result<()> {
        let element: Element = parse_element(line)?;
        if let Some(row) = element.row {
            for cell in &row.columns {
                block.cell(|out| out.extend_from_slice(cell.get().as_bytes()));
            }
            block.end_row(row.tombstone);
        } else if let Some(error) = element.error_message {
            return Err(error_of(&error));
        } else if let Some(message) = element.final_message {
            match message.as_str() {
                "Limit Reached" => self.end = Some(End::LimitReached),
                "Query Completed" => self.end = self.end.take().or(Some(End::Completed)),
                note => self.notes.push(note.to_string()),
            }
        }
        Ok(())
    }
}

#[derive(serde::Deserialize)]
struct Element {
    row: Option<Row>,
    #[serde(rename = "finalMessage")]
    final_message: Option<String>,
    #[serde(rename = "errorMessage")]
    error_message: Option<Value>,
}

#[derive(serde::Deserialize)]
struct Row {
    columns: Vec<Box<RawValue>>,
    #[serde(default)]
    tombstone: bool,
}

/// The header. Its line ends only when the first row is there, which may take long.
fn first_element(reader: &mut impl BufRead) -> std::io::Result<String> {
    while let Some(b'[' | b' ' | b'\r' | b'\n') = reader.fill_buf()?.first() {
        reader.consume(1);
    }
    let element: Box<RawValue> = serde::Deserialize::deserialize(&mut serde_json::Deserializer::from_reader(reader))?;
    Ok(element.get().to_string())
}

/// An element of the array, with or without the array's brackets and commas around it.
fn parse_element<T: serde::de::DeserializeOwned>(line: &str) -> Result<T> {
    let element = line.trim();
    let element = element.strip_prefix('[').unwrap_or(element);
    let element = element.strip_suffix(']').unwrap_or(element);
    let element = element.strip_suffix(',').unwrap_or(element);
    serde_json::from_str(element)
        .map_err(|e| Error::unavailable(format!("the server's answer is not understood: {e}: {element}")))
}

impl RowStream for HttpRows {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn is_live(&self) -> bool {
        self.live
    }

    fn next(&mut self, timeout: Duration) -> Result<Next> {
        let mut block = Block::new(self.columns.len());
        let mut wait = timeout;
        loop {
            let line = match self.lines.recv_timeout(wait) {
                Ok(line) => line.map_err(|e| Error::unavailable(format!("the answer broke off: {e}")))?,
                Err(RecvTimeoutError::Timeout) if block.rows() > 0 => return Ok(Next::Rows(block)),
                Err(RecvTimeoutError::Timeout) => return Ok(Next::Nothing),
                Err(RecvTimeoutError::Disconnected) if block.rows() > 0 => return Ok(Next::Rows(block)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(Next::End(self.end.take().unwrap_or(End::Completed)));
                }
            };
            if self.print {
                return Ok(Next::Line(line));
            }
            if matches!(line.trim(), "" | "]" | ",") {
                continue;
            }
            self.element(&line, &mut block)?;
            // What is there already joins this block.
            wait = Duration::ZERO;
            if block.rows() >= LINES_AHEAD_MAX {
                return Ok(Next::Rows(block));
            }
        }
    }

    fn cancel(&mut self) {
        self.end = Some(End::Cancelled);
        if !self.query_id.is_empty() {
            let closed = self.client.post_close(&self.query_id);
            if let Err(error) = closed {
                tracing::debug!(%error, "the query could not be closed");
            }
        }
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

impl Client {
    fn post_close(&self, query_id: &str) -> Result<()> {
        let answer = self.send("/close-query", &json!({"queryId": query_id}))?;
        if answer.status().is_success() { Ok(()) } else { self.json(answer).map(|_| ()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_with_their_brackets_and_commas() {
        for line in [r#"[{"a":1},"#, r#"{"a":1}]"#, r#",{"a":1}"#.trim_start_matches(','), r#"{"a":1},"#] {
            assert_eq!(parse_element::<Value>(line).unwrap(), json!({"a": 1}));
        }
    }

    #[test]
    fn the_header_is_read_before_its_line_ends() {
        let mut answer = BufReader::new(&b"[{\"header\":{\"queryId\":\"q\"}},\n{\"row\":1}]\n"[..]);
        assert_eq!(first_element(&mut answer).unwrap(), r#"{"header":{"queryId":"q"}}"#);
        let rest: Vec<String> = answer.lines().map(|line| line.unwrap()).collect();
        assert_eq!(rest, [",", r#"{"row":1}]"#]);
        assert!(first_element(&mut BufReader::new(&b"[{\"header\":"[..])).is_err());
    }

    #[test]
    fn a_row_whose_last_value_is_an_array_keeps_its_bracket() {
        let element: Element = parse_element(r#"{"row":{"columns":[1,[2]]}},"#).unwrap();
        assert_eq!(element.row.unwrap().columns[1].get(), "[2]");
    }

    #[test]
    fn set_and_define_are_taken_apart() {
        let set = two_strings("SET 'auto.offset.reset' = 'earliest';");
        assert_eq!(set, Some(("auto.offset.reset".into(), "earliest".into())));
        assert_eq!(original_word("DEFINE Name = 'x';", 1), Some("Name".into()));
        assert!(is_push("SELECT * FROM s EMIT CHANGES;"));
        assert!(!is_push("SELECT 'EMIT' FROM s;"));
    }
}

//! Statements over HTTP → responses (ksqlDB's REST tests), through the server as clients see it.
//!
//! 1. Topics are made. All statements before the first SELECT go to `/ksql` in one request.
//! 2. Inputs are appended. (With `waitForActivePushQuery` after the query has started.)
//! 3. Each SELECT goes to `/query`; where the case states answers in Protobuf, all of them once more, asked for in it. Answers are compared as sets of rows; queries read from the beginning.
//!
//! The engine runs freely, so a pull query may be early: it is asked again until its answer fits or
//! [`PATIENCE`] is over.

use std::net::SocketAddr;
use std::time::Duration;

use headwater_server::{ServerOptions, serve};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use ureq::Agent;

use super::case::{Case, text};
use super::compare::{Fractions, difference};
use super::fixture::{Drive, Fixture};
use super::proto_text::readable;
use super::records::{at_least_outputs, render_outputs};
use super::report::{Failure, Raised, RaisedKind, Report};

/// What the server that ksqlDB's suite runs against is configured with.
const SERVER_SETTINGS: [(&str, &str); 2] = [("auto.offset.reset", "earliest"), ("ksql.query.push.v2.enabled", "true")];
/// How long an answer may take to become what is expected.
const PATIENCE: Duration = Duration::from_secs(4);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Push queries have no sign of being attached that a client could see.
const PUSH_START: Duration = Duration::from_millis(400);
/// A query without an end ends here.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(8);
const V1_JSON: &str = "application/vnd.ksql.v1+json";
const V1_PROTOBUF: &str = "application/vnd.ksql.v1+protobuf";

pub fn run(case: &Case) -> Report {
    let mut report = Report { responses: Some(Vec::new()), ..Report::default() };
    // Properties go along with each request, as a client sends them.
    match Fixture::open(Drive::Free, &Map::new()) {
        Ok(mut fixture) => {
            report.failure = run_in(case, &mut fixture, &mut report).err();
            fixture.learn();
            report.sources = fixture.sources_json();
            report.topics = fixture.topics_json();
            match render_outputs(case, &fixture) {
                Ok(records) => report.records = records,
                Err(failure) => report.failure = report.failure.or(Some(failure)),
            }
            if let Err(error) = fixture.engine.close() {
                report.failure = report.failure.or_else(|| Some(Failure::other(error.to_string())));
            }
        }
        Err(failure) => report.failure = Some(failure),
    }
    report
}

fn run_in(case: &Case, fixture: &mut Fixture, report: &mut Report) -> Result<(), Failure> {
    fixture.create_topics(case)?;
    let door = Door::open(fixture).map_err(|e| Failure::other(format!("the server does not start: {e}")))?;
    let is_query = |sql: &&String| sql.trim_start().get(..7).is_some_and(|s| s.eq_ignore_ascii_case("SELECT "));
    let first_query = case.statements.iter().position(|s| is_query(&s)).unwrap_or(case.statements.len());
    let (admin, queries) = case.statements.split_at(first_query);
    let mut properties = Map::new();
    for (name, value) in SERVER_SETTINGS {
        properties.insert(name.to_string(), json!(value));
    }
    properties.extend(case.properties.clone());

    let mut expected = case.responses.iter();
    if !admin.is_empty() {
        let answer = door.ask("/ksql", &json!({"ksql": admin.join("\n"), "streamsProperties": properties}))?;
        if answer.status != 200 {
            keep(report, answer.status, &answer.body);
            return judge_error(case, admin.len() - 1, &answer, report);
        }
        fixture.learn();
        // A case has one response a statement, where the server has one for all.
        let entities = answer.body.as_array().cloned().unwrap_or_default();
        entities.iter().for_each(|entity| keep(report, answer.status, entity));
        let wanted = case.responses.iter().filter_map(|r| r.get("admin"));
        for (i, wanted) in wanted.enumerate() {
            expected.next();
            let statement = admin.get(i).map_or("", String::as_str);
            let Some(entity) = entities.get(i) else {
                return Err(Failure::differs(format!("response {i}: expected {wanted}, got nothing")));
            };
            if let Some(difference) = subset_differs(wanted, entity, statement) {
                return Err(Failure::differs(format!("response {i}: {difference}")));
            }
        }
    }
    if !case.push_first {
        fixture.produce(&case.inputs)?;
    }
    let mut schemas = Vec::new();
    for (i, sql) in queries.iter().enumerate() {
        let wanted = expected.next().and_then(|response| response.get("query"));
        let request = json!({"ksql": sql, "streamsProperties": properties});
        let statement = admin.len() + i;
        let (answer, difference) = ask_until_right(case, fixture, &door, &request, sql, wanted)?;
        keep(report, answer.status, &answer.body);
        if answer.status != 200 || answer.error().is_some() {
            return judge_error(case, statement, &answer, report);
        }
        if let Some(difference) = difference {
            return Err(Failure::differs(format!("statement {statement}: {difference}")));
        }
        schemas.push(text(&answer.body[0]["header"], "schema").unwrap_or_default());
    }
    if case.expected_error.is_some() {
        return Err(Failure::differs("no error raised"));
    }
    let in_protobuf = expected.filter_map(|response| response.get("queryProto"));
    for ((sql, schema), wanted) in queries.iter().zip(&schemas).zip(in_protobuf) {
        let request = json!({"ksql": sql, "streamsProperties": properties});
        let answer = door.ask_for(V1_PROTOBUF, "/query", &request)?;
        let body =
            if answer.status == 200 { readable(&answer.body, schema).map_err(Failure::differs)? } else { answer.body };
        keep(report, answer.status, &body);
        if let Some(difference) = rows_differ(wanted, &body, sql) {
            return Err(Failure::differs(format!("in protobuf: {difference}")));
        }
    }
    // Outputs may still be on their way.
    until_right(|| at_least_outputs(case, fixture).err()).map_or(Ok(()), Err)
}

/// Tries until there is no failure or patience ends; the last failure.
fn until_right(mut attempt: impl FnMut() -> Option<Failure>) -> Option<Failure> {
    let tries = PATIENCE.as_millis() / ASK_AGAIN_AFTER.as_millis();
    let mut last = None;
    for _ in 0..tries {
        last = attempt();
        last.as_ref()?;
        std::thread::sleep(ASK_AGAIN_AFTER);
    }
    last
}

fn ask_until_right(
    case: &Case,
    fixture: &Fixture,
    door: &Door,
    request: &Value,
    sql: &str,
    wanted: Option<&Value>,
) -> Result<(Answer, Option<String>), Failure> {
    let judge = |answer: &Answer| wanted.and_then(|wanted| rows_differ(wanted, &answer.body, sql));
    let is_push = sql.to_ascii_uppercase().contains(" EMIT ");
    if is_push {
        let answer = if case.push_first {
            std::thread::scope(|scope| {
                let asking = scope.spawn(|| door.ask("/query", request));
                std::thread::sleep(PUSH_START);
                let produced = fixture.produce(&case.inputs);
                let answer = asking.join().map_err(|_| Failure::other("the request panicked"))?;
                produced.and(answer)
            })?
        } else {
            door.ask("/query", request)?
        };
        let difference = judge(&answer);
        return Ok((answer, difference));
    }
    let mut last = door.ask("/query", request)?;
    let tries = if case.expected_error.is_some() { 0 } else { PATIENCE.as_millis() / ASK_AGAIN_AFTER.as_millis() };
    for _ in 0..tries {
        if last.status == 200 && judge(&last).is_none() {
            break;
        }
        std::thread::sleep(ASK_AGAIN_AFTER);
        last = door.ask("/query", request)?;
    }
    let difference = judge(&last);
    Ok((last, difference))
}

fn keep(report: &mut Report, status: u16, body: &Value) {
    let response = json!({"status": status, "body": body});
    report.responses.get_or_insert_default().push(response);
}

fn judge_error(case: &Case, statement: usize, answer: &Answer, report: &mut Report) -> Result<(), Failure> {
    let error = answer.error().unwrap_or(&answer.body);
    let message = text(error, "message").unwrap_or_else(|| error.to_string());
    let raised = Raised { statement, kind: RaisedKind::Statement, message: message.clone(), cause: None };
    report.error = Some(raised);
    let Some(expected) = &case.expected_error else {
        return Err(Failure::differs(format!("statement {statement} failed: {} {message}", answer.status)));
    };
    if let Some(status) = expected.status
        && u64::from(answer.status) != status
    {
        return Err(Failure::differs(format!("expected status {status}, got {}: {message}", answer.status)));
    }
    let wanted_type = match expected.class_name() {
        Some("KsqlStatementErrorMessage") => Some("statement_error"),
        Some("KsqlErrorMessage") => Some("generic_error"),
        _ => None,
    };
    if let Some(wanted) = wanted_type
        && error["@type"] != wanted
    {
        return Err(Failure::differs(format!("expected a {wanted}, got {}: {message}", error["@type"])));
    }
    if wanted_type == Some("statement_error") {
        let last = case.statements.last().map_or("", |s| s.trim_end_matches(';'));
        if !text(error, "statementText").unwrap_or_default().contains(last) {
            return Err(Failure::differs(format!(
                "the error's statementText {} lacks «{last}»",
                error["statementText"]
            )));
        }
    }
    match &expected.message {
        Some(wanted) if !message.contains(wanted.as_str()) => {
            Err(Failure::differs(format!("the error's text differs: expected «{wanted}» in «{message}»")))
        }
        _ => Ok(()),
    }
}

/// Expected fields must be there and fit; others may be there as well.
fn subset_differs(expected: &Value, actual: &Value, statement: &str) -> Option<String> {
    match expected {
        Value::Object(fields) => fields.iter().find_map(|(name, wanted)| {
            if let Some(name) = name.strip_suffix("|starts_with") {
                let start = wanted.as_str().unwrap_or_default();
                let fits = actual[name].as_str().is_some_and(|s| s.starts_with(start));
                return (!fits).then(|| format!("{name}: expected it to start with {start}, got {}", actual[name]));
            }
            match actual.get(name) {
                Some(actual) => subset_differs(wanted, actual, statement).map(|d| format!("{name}: {d}")),
                None => Some(format!("{name} is missing in {actual}")),
            }
        }),
        Value::Array(items) => match actual.as_array() {
            Some(actual) if actual.len() == items.len() => {
                items.iter().zip(actual).find_map(|(wanted, actual)| subset_differs(wanted, actual, statement))
            }
            _ => Some(format!("expected {expected}, got {actual}")),
        },
        Value::String(text) if text.contains("{STATEMENT}") => {
            let wanted = text.replace("{STATEMENT}", statement);
            (actual.as_str() != Some(wanted.as_str())).then(|| format!("expected {wanted}, got {actual}"))
        }
        other => difference(other, actual, Fractions::Nearly),
    }
}

/// Header, rows in any order, final message.
fn rows_differ(expected: &Value, actual: &Value, statement: &str) -> Option<String> {
    let (Some(expected), Some(actual)) = (expected.as_array(), actual.as_array()) else {
        return Some(format!("expected rows, got {actual}"));
    };
    let is_row = |element: &&Value| element.get("row").is_some();
    let mut left: Vec<&Value> = actual.iter().filter(is_row).collect();
    for wanted in expected.iter().filter(is_row) {
        let fits = |found: &&Value| {
            if wanted["row"].is_string() {
                return wanted["row"] == found["row"];
            }
            let tombstone = |row: &Value| row["row"]["tombstone"].as_bool().unwrap_or(false);
            let (a, b) = (&wanted["row"]["columns"], &found["row"]["columns"]);
            difference(a, b, Fractions::Nearly).is_none() && tombstone(wanted) == tombstone(found)
        };
        match left.iter().position(fits) {
            Some(at) => {
                left.swap_remove(at);
            }
            None => return Some(format!("the row {wanted} is missing; rows left: {}", json!(left))),
        }
    }
    if let Some(surplus) = left.first() {
        return Some(format!("the row {surplus} was not expected"));
    }
    let others = |list: &[Value]| -> Vec<Value> { list.iter().filter(|e| !is_row(e)).cloned().collect() };
    let (expected, actual) = (others(expected), others(actual));
    if expected.len() != actual.len() {
        return Some(format!("expected {}, got {}", json!(expected), json!(actual)));
    }
    expected.iter().zip(&actual).find_map(|(wanted, found)| subset_differs(wanted, found, statement))
}

struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    /// An error after the start of an answer, or the body of a refusal.
    fn error(&self) -> Option<&Value> {
        match &self.body {
            Value::Array(items) => items.iter().find_map(|item| item.get("errorMessage")),
            body if self.status != 200 => Some(body),
            _ => None,
        }
    }
}

/// The server on a port of this machine, and a client.
struct Door {
    address: SocketAddr,
    agent: Agent,
    stop: Option<oneshot::Sender<()>>,
    runtime: Option<Runtime>,
}

impl Door {
    fn open(fixture: &Fixture) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        runtime.spawn(serve(listener, fixture.engine.clone(), ServerOptions::default(), async {
            // A dropped sender means stop as well.
            let _dropped = stopped.await;
        }));
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(REQUEST_TIME_MAX)).build();
        Ok(Self { address, agent: config.into(), stop: Some(stop), runtime: Some(runtime) })
    }

    fn ask(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        self.ask_for(V1_JSON, path, body)
    }

    fn ask_for(&self, media: &str, path: &str, body: &Value) -> Result<Answer, Failure> {
        let failed = |e: ureq::Error| Failure::other(format!("{path}: {e}"));
        let request = self.agent.post(format!("http://{}{path}", self.address));
        let request = request.header("Content-Type", V1_JSON).header("Accept", media);
        let mut response = request.send(body.to_string()).map_err(failed)?;
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().map_err(failed)?;
        Ok(Answer { status, body: parse_body(&text) })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One JSON document, or one a line with the brackets and commas of an array around them.
fn parse_body(text: &str) -> Value {
    if let Ok(value) = serde_json::from_str(text) {
        return value;
    }
    let lines = text.lines().map(|line| line.trim().trim_start_matches('[').trim_end_matches([',', ']']));
    let rows =
        lines.filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap_or_else(|_| line.into()));
    Value::Array(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_may_come_in_any_order() {
        let rows = |list: &[i64]| {
            let mut all = vec![json!({"header": {"schema": "`A` INTEGER", "queryId": "q"}})];
            all.extend(list.iter().map(|n| json!({"row": {"columns": [n]}})));
            Value::Array(all)
        };
        assert_eq!(rows_differ(&rows(&[1, 2, 1]), &rows(&[1, 1, 2]), ""), None);
        assert!(rows_differ(&rows(&[1, 2]), &rows(&[1, 1, 2]), "").is_some());
        assert!(rows_differ(&rows(&[1, 2]), &rows(&[1, 1]), "").is_some());
    }

    #[test]
    fn fields_not_named_are_not_compared() {
        let actual = json!({"@type": "currentStatus", "commandId": "stream/A/create"});
        assert_eq!(subset_differs(&json!({"commandId|starts_with": "stream"}), &actual, ""), None);
        assert!(subset_differs(&json!({"commandId": "x"}), &actual, "").is_some());
    }
}

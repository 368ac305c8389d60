//! `headwater test`: runs test cases against a fresh in-memory engine each and says which pass.
//!
//! ```text
//! headwater test [--report FILE] [--filter TEXT]... [--without LABEL]... [--summary] PATH...
//! ```
//!
//! A PATH is a file or a folder of
//!
//! | file | holds |
//! |---|---|
//! | `*.jsonl` | one case a line |
//! | `*.json` | `{"tests": [ … ]}`: ksqlDB's own form, its format and config lists expanded |
//! | `*.sql` | scripts of `--@test:` sections with ASSERT statements |
//!
//! Cases with records run in step mode on a clock that stands at 1970, record by record in the order given ([`records`]);
//! scripts step after every insert ([`script`]); cases with HTTP responses run freely through the server ([`rest`]).
//! Functions that only ksqlDB's suites define exist here and nowhere else. A case that panics or takes longer than [`CASE_TIME_MAX`] fails, and the run goes on.

mod bytes;
mod case;
mod compare;
mod fixture;
mod load;
mod post;
mod proto_text;
mod records;
mod report;
mod rest;
mod script;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use self::case::{Case, Suite};
use self::report::{Failure, Report};
use crate::exit::{self, Exit};
use crate::show;

/// How long a case may take before it counts as failed.
const CASE_TIME_MAX: Duration = Duration::from_secs(10);
/// Plans nest deeply; cases get the stack a main thread has.
const CASE_STACK_BYTES: usize = 8 << 20;

#[derive(Debug, Clone, clap::Args)]
pub struct TestArgs {
    /// Write one JSON object per case to this file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Run only cases whose id or capability contains this text; repeatable
    #[arg(long, value_name = "TEXT")]
    pub filter: Vec<String>,
    /// Leave out cases with this tag, of this format, or `schema-registry`; repeatable
    #[arg(long, value_name = "LABEL")]
    pub without: Vec<String>,
    /// Print only the cases that fail, and the table
    #[arg(long)]
    pub summary: bool,
    /// Files (.jsonl, .json, .sql) or folders of them
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

/// Success if all cases pass.
pub fn run(args: &TestArgs) -> Result<(), Exit> {
    match run_cases(args) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Exit::Tests),
        Err(_) if show::reader_is_gone() => Err(Exit::Success),
        Err(message) => exit::usage(&message),
    }
}

fn run_cases(args: &TestArgs) -> Result<bool, String> {
    headwater_engine::functions::enable_test_functions();
    let mut cases = load::load(&args.paths)?;
    cases.retain(|case| {
        let asked_for = args.filter.is_empty() || args.filter.iter().any(|text| case.matches(text));
        asked_for && !args.without.iter().any(|label| case.uses(label))
    });
    let mut report_file = match &args.report {
        Some(path) => {
            Some(BufWriter::new(File::create(path).map_err(|e| format!("cannot write {}: {e}", path.display()))?))
        }
        None => None,
    };
    headwater_engine::functions::enable_test_functions();
    let panics = PanicTexts::install();
    let mut tally: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for case in &cases {
        let report = run_guarded(case, &panics);
        let passed = report.failure.is_none();
        let (passes, fails) = tally.entry(case.capability.clone()).or_default();
        *(if passed { passes } else { fails }) += 1;
        match &report.failure {
            None if args.summary => {}
            None => say(&format!("pass  {}", case.id))?,
            Some(failure) => say(&format!("FAIL  {}: {}", case.id, one_line(&failure.why)))?,
        }
        if let Some(file) = &mut report_file {
            let line = report.to_json(&case.id);
            writeln!(file, "{line}")
                .and_then(|()| file.flush())
                .map_err(|e| format!("cannot write the report: {e}"))?;
        }
    }
    say(&table(&tally))?;
    let passed: usize = tally.values().map(|(passes, _)| passes).sum();
    say(&format!("{passed} passed, {} failed", cases.len() - passed))?;
    Ok(passed == cases.len())
}

/// Runs a case on a thread of its own, so that neither a panic nor an endless loop ends the run.
fn run_guarded(case: &Case, panics: &PanicTexts) -> Report {
    let (send, receive) = channel();
    let owned = case.clone();
    let spawned = std::thread::Builder::new().name("case".to_string()).stack_size(CASE_STACK_BYTES).spawn(move || {
        let report = match owned.suite {
            Suite::Records => records::run(&owned),
            Suite::Script => script::run(&owned),
            Suite::Rest => rest::run(&owned),
        };
        // Nobody listens any more once the time is up.
        let _late = send.send(report);
    });
    let thread = match spawned {
        Ok(thread) => thread,
        Err(error) => return Report::broken(Failure::other(format!("cannot start a thread: {error}"))),
    };
    match receive.recv_timeout(CASE_TIME_MAX) {
        Ok(report) => report,
        Err(RecvTimeoutError::Timeout) => {
            Report::broken(Failure::other(format!("took longer than {} s", CASE_TIME_MAX.as_secs())))
        }
        Err(RecvTimeoutError::Disconnected) => {
            let outcome = thread.join();
            let text = panics.take().unwrap_or_else(|| "without a message".to_string());
            debug_assert!(outcome.is_err(), "a thread that ends well sends its report");
            Report::broken(Failure::other(format!("panic: {text}")))
        }
    }
}

/// Keeps what panics say, instead of printing it between the results.
struct PanicTexts(std::sync::Arc<std::sync::Mutex<Option<String>>>);

impl PanicTexts {
    fn install() -> Self {
        let texts = Self(std::sync::Arc::default());
        let last = texts.0.clone();
        std::panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            let text = payload
                .downcast_ref::<&str>()
                .map(|s| (*s).to_string())
                .or_else(|| payload.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            let place = info.location().map(|l| format!(" at {}:{}", l.file(), l.line())).unwrap_or_default();
            if let Ok(mut last) = last.lock() {
                *last = Some(format!("{text}{place}"));
            }
        }));
        texts
    }

    fn take(&self) -> Option<String> {
        self.0.lock().ok()?.take()
    }
}

impl Drop for PanicTexts {
    fn drop(&mut self) {
        drop(std::panic::take_hook());
    }
}

fn one_line(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match flat.char_indices().nth(300) {
        Some((at, _)) => format!("{}…", &flat[..at]),
        None => flat,
    }
}

/// A line for whoever reads along, perhaps no further than `head` does.
fn say(line: &str) -> Result<(), String> {
    show::write_out(&mut std::io::stdout(), |out| writeln!(out, "{line}")).map_err(|e| e.to_string())
}

fn table(tally: &BTreeMap<String, (usize, usize)>) -> String {
    let width = tally.keys().map(|name| name.chars().count()).max().unwrap_or(0).max("capability".len());
    let mut text = format!("\n{:width$}  passed  failed       %\n", "capability");
    for (name, (passes, fails)) in tally {
        let percent = *passes as f64 * 100.0 / (passes + fails) as f64;
        text.push_str(&format!("{name:width$}  {passes:6}  {fails:6}  {percent:6.1}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_case_is_reported_whatever_becomes_of_it() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        std::fs::write(
            folder.path().join("a.sql"),
            "--@test: holds\n\
             CREATE STREAM s (k INT KEY, v INT) WITH (kafka_topic='s', value_format='JSON');\n\
             CREATE STREAM t AS SELECT k, v + 1 AS w FROM s;\n\
             INSERT INTO s (k, v) VALUES (1, 2);\n\
             ASSERT VALUES t (k, w) VALUES (1, 3);\n\
             --@test: does not hold\n\
             CREATE STREAM s (k INT KEY, v INT) WITH (kafka_topic='s', value_format='JSON');\n\
             INSERT INTO s (k, v) VALUES (1, 2);\n\
             ASSERT VALUES s (v) VALUES (3);\n\
             --@test: fails as expected\n\
             --@expected.message: NOWHERE\n\
             CREATE STREAM t AS SELECT * FROM nowhere;\n",
        )?;
        std::fs::write(
            folder.path().join("b.json"),
            r#"{"tests": [{
                "name": "records", "format": ["JSON"],
                "statements": [
                    "CREATE STREAM s (k STRING KEY, v DOUBLE) WITH (kafka_topic='in', value_format='{FORMAT}');",
                    "CREATE STREAM out AS SELECT k, v FROM s WHERE v > 0;"
                ],
                "inputs": [
                    {"topic": "in", "key": "a", "value": {"v": 1.50}, "timestamp": 7},
                    {"topic": "in", "key": "b", "value": {"v": -1}}
                ],
                "outputs": [{"topic": "OUT", "key": "a", "value": {"V": 1.5}, "timestamp": 7}]
            }]}"#,
        )?;
        let report = folder.path().join("report.out");
        let args = TestArgs {
            report: Some(report.clone()),
            filter: Vec::new(),
            without: Vec::new(),
            summary: false,
            paths: vec![folder.path().to_path_buf()],
        };
        assert_eq!(run_cases(&args), Ok(false));
        let lines = std::fs::read_to_string(&report)?;
        let reports: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let verdicts: Vec<(&str, &str)> =
            reports.iter().map(|r| (r["id"].as_str().unwrap_or(""), r["verdict"].as_str().unwrap_or(""))).collect();
        assert_eq!(
            verdicts,
            [
                ("a.sql::holds::-", "pass"),
                ("a.sql::does not hold::-", "fail"),
                ("a.sql::fails as expected::-", "pass"),
                ("b.json::records::JSON", "pass"),
            ]
        );
        assert_eq!(reports[1]["error"]["kind"], "other");
        assert_eq!(reports[2]["error"]["kind"], "statement");
        assert_eq!(reports[3]["records"][0]["value"].to_string(), r#"{"V":1.5}"#);
        assert_eq!(reports[3]["sources"][0]["schema"], "K STRING KEY, V DOUBLE");
        Ok(())
    }

    #[test]
    fn cases_are_chosen_by_text_and_left_out_by_label() -> Result<(), String> {
        let case = |capability: &str, tags: &[&str], registry: bool| {
            Case::from_json(&serde_json::json!({
                "id": format!("a::{capability}"), "suite": "qtt", "capability": capability,
                "tags": tags, "formats_used": ["JSON"], "needs_schema_registry": registry,
            }))
        };
        let case = case("joins", &["within"], true)?;
        assert!(case.matches("join") && case.matches("a::") && !case.matches("lambda"));
        assert!(case.uses("within") && case.uses("json") && case.uses("schema-registry") && !case.uses("with"));
        Ok(())
    }
}

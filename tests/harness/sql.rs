//! Scripts against an engine in memory, results as text.

use std::time::Duration;

use headwater_engine::engine::EngineConfig;
use headwater_engine::results::{EndReason, ResultEvent, ResultStream};
use headwater_engine::{Access, Engine, Outcome, Result, Session};

/// No query of a test takes longer, on any machine.
const TIME_LIMIT: Duration = Duration::from_secs(60);

pub fn memory_session() -> Session {
    Engine::open(EngineConfig::memory()).expect("an engine in memory opens").session(Access::default())
}

/// Runs a script; the last statement's rows if it is a query, `|` between columns.
pub fn run(session: &mut Session, sql: &str) -> Result<Vec<String>> {
    let mut last = Vec::new();
    for statement in session.parse(sql)? {
        last = match session.execute(&statement)? {
            Outcome::Query(stream) => rows(stream)?,
            _ => Vec::new(),
        };
    }
    Ok(last)
}

/// All rows of a query that ends, in order.
pub fn rows(mut stream: ResultStream) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        match stream.next_blocking(TIME_LIMIT)? {
            Some(ResultEvent::Rows { batch, tombstones }) => {
                let table = arrow::util::pretty::pretty_format_batches(&[batch]).expect("rows print").to_string();
                for (row, line) in table.lines().skip(3).filter(|l| l.starts_with('|')).enumerate() {
                    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
                    let deleted = tombstones.as_ref().is_some_and(|t| t.value(row));
                    lines.push(format!("{}{}", cells.join("|"), if deleted { " (deleted)" } else { "" }));
                }
            }
            Some(ResultEvent::Line(line)) => lines.push(line),
            Some(ResultEvent::End(EndReason::Cancelled)) | None => panic!("the query did not end: {lines:?}"),
            Some(ResultEvent::End(_)) => return Ok(lines),
        }
    }
}

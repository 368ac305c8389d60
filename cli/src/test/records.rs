//! Statements and input records → exact output records (ksqlDB's query translation tests).
//!
//! 1. Topics are made, statements run one after another; an expected error must come from the last one.
//! 2. All inputs are appended.
//! 3. Query by query in the order of creation: its inputs one record at a time, in file order over all its topics; then
//!    whatever its other topics hold.
//! 4. The topics named in the outputs must hold exactly those records, in order.

use std::collections::BTreeSet;

use headwater_engine::{Error, Outcome};

use super::case::{Case, Record};
use super::compare::records_differ;
use super::fixture::{Drive, Fixture};
use super::post;
use super::report::{Failure, Raised, Report};

pub fn run(case: &Case) -> Report {
    let mut report = Report::default();
    match Fixture::open(Drive::Step, &case.properties) {
        Ok(mut fixture) => {
            report.failure = run_in(case, &mut fixture, &mut report).err();
            report.sources = fixture.sources_json();
            report.topics = fixture.topics_json();
        }
        Err(failure) => report.failure = Some(failure),
    }
    report
}

fn run_in(case: &Case, fixture: &mut Fixture, report: &mut Report) -> Result<(), Failure> {
    fixture.create_topics(case)?;
    let raised = run_statements(case, fixture).and_then(|()| {
        fixture.learn();
        let last = case.statements.len().saturating_sub(1);
        match fixture.produce(&case.inputs) {
            Ok(partitions) => step(case, fixture, &partitions).map_err(|e| Stop::Raised(Raised::at_runtime(last, &e))),
            Err(failure) => Err(Stop::Failed(failure)),
        }
    });
    fixture.learn();
    report.records = render_outputs(case, fixture)?;
    match raised {
        Ok(()) => {}
        Err(Stop::Failed(failure)) => return Err(failure),
        Err(Stop::Raised(raised)) => {
            report.error = Some(raised.clone());
            return judge_error(case, &raised);
        }
    }
    if case.expected_error.is_some() {
        return Err(Failure::differs("no error raised"));
    }
    compare_outputs(case, fixture)?;
    match post::difference(fixture, &case.post) {
        Some(difference) => Err(Failure::differs(difference)),
        None => Ok(()),
    }
}

enum Stop {
    Raised(Raised),
    Failed(Failure),
}

fn run_statements(case: &Case, fixture: &mut Fixture) -> Result<(), Stop> {
    // Positions in messages count from the first line of the first statement.
    let mut text = String::new();
    for (i, sql) in case.statements.iter().enumerate() {
        let raised = |e: Error| Stop::Raised(Raised::of_statement(i, &e));
        text.push_str(sql);
        let parsed = fixture.session.parse(&text).map_err(raised)?;
        text = "\n".repeat(text.lines().count());
        for statement in parsed {
            match fixture.session.execute(&statement).map_err(raised)? {
                Outcome::Nothing | Outcome::Entity(_) | Outcome::Query(_) => fixture.learn(),
            }
        }
    }
    Ok(())
}

fn judge_error(case: &Case, raised: &Raised) -> Result<(), Failure> {
    let Some(expected) = &case.expected_error else {
        return Err(Failure::differs(format!("statement {} failed: {}", raised.statement, raised.message)));
    };
    if raised.statement + 1 != case.statements.len() {
        return Err(Failure::differs(format!(
            "the error came from statement {}, not from the last: {}",
            raised.statement, raised.message
        )));
    }
    raised.differs_from(expected).map_or(Ok(()), |why| Err(Failure::differs(why)))
}

/// `partitions` are those of the inputs.
fn step(case: &Case, fixture: &mut Fixture, partitions: &[u32]) -> Result<(), Error> {
    let outputs = output_topics(case);
    let fed: BTreeSet<&str> = case.inputs.iter().map(|r| r.topic.as_str()).collect();
    let catalog = fixture.catalog();
    for query in catalog.queries_in_order() {
        let sources: Vec<_> = query.sources.iter().filter_map(|name| catalog.source(name)).collect();
        let topics: BTreeSet<&str> = sources.iter().map(|s| s.topic.as_str()).collect();
        let inputs = case.inputs.iter().zip(partitions).filter(|(r, _)| topics.contains(r.topic.as_str()));
        for (input, partition) in inputs {
            fixture.engine.step(&query.id, &input.topic, *partition, 1)?;
            fixture.note_arrivals(&outputs)?;
        }
        let mut done = BTreeSet::new();
        for source in sources.iter().filter(|s| !fed.contains(s.topic.as_str())) {
            if done.insert(source.topic.as_str()) {
                for partition in 0..source.partitions {
                    fixture.engine.step(&query.id, &source.topic, partition, usize::MAX)?;
                    fixture.note_arrivals(&outputs)?;
                }
            }
        }
    }
    Ok(())
}

fn output_topics(case: &Case) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    case.outputs.iter().map(|r| r.topic.as_str()).filter(|topic| seen.insert(*topic)).collect()
}

pub fn render_outputs(case: &Case, fixture: &Fixture) -> Result<Vec<serde_json::Value>, Failure> {
    let mut rendered = Vec::new();
    for topic in output_topics(case) {
        rendered.extend(fixture.read(topic)?.into_iter().map(|actual| actual.json));
    }
    Ok(rendered)
}

fn compare_outputs(case: &Case, fixture: &Fixture) -> Result<(), Failure> {
    // Without inputs all records come from INSERT VALUES, whose time is now.
    let any_zero_time = case.inputs.is_empty();
    for topic in output_topics(case) {
        let expected: Vec<&Record> = case.outputs.iter().filter(|r| r.topic == topic).collect();
        let actual = fixture.read(topic)?;
        let (keys, values) = fixture.fractions(topic);
        if let Some(difference) = records_differ(topic, &expected, &actual, any_zero_time, keys, values) {
            return Err(Failure::differs(difference));
        }
    }
    Ok(())
}

/// The outputs of a case over HTTP: at least these, from the first on.
pub fn at_least_outputs(case: &Case, fixture: &Fixture) -> Result<(), Failure> {
    for topic in output_topics(case) {
        let expected: Vec<&Record> = case.outputs.iter().filter(|r| r.topic == topic).collect();
        let mut actual = fixture.read(topic)?;
        actual.truncate(expected.len());
        let (keys, values) = fixture.fractions(topic);
        let any_zero_time = case.inputs.is_empty();
        if let Some(difference) = records_differ(topic, &expected, &actual, any_zero_time, keys, values) {
            return Err(Failure::differs(difference));
        }
    }
    Ok(())
}

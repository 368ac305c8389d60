//! What a query writes never depends on how its input was cut into runs.
//!
//! Random records of a few keys and times go through queries of every kind: whole, record by record, and cut at random;
//! and once more with the state taken out at random places and put into fresh operators. All must write what a plain
//! record-at-a-time interpreter of the same plan writes.

use std::collections::BTreeMap;

use headwater_engine::catalog::Catalog;
use headwater_engine::config::Settings;
use headwater_engine::ops::{Counters, Lookup, OpContext};
use headwater_engine::plan::lower::{OperatorSettings, Pipeline, Stage, StageInput, lower};
use headwater_engine::plan::steps::{Plan, Step, StepKind};
use headwater_engine::plan::{Planner, QueryPlan};
use headwater_engine::rows::Rows;
use headwater_engine::sql::ast::Statement;
use headwater_engine::sql::{self, ParseOptions};
use headwater_engine::state::StateChanges;
use headwater_tests::interpreter::Interpreter;
use headwater_tests::records::{Cell, Record, records, scanned};

const SOURCES: &str = "
    CREATE STREAM S (K BIGINT KEY, G STRING, V BIGINT, D DOUBLE, L ARRAY<BIGINT>) WITH (kafka_topic='s', value_format='JSON', partitions=1);
    CREATE STREAM R (K BIGINT KEY, G STRING, V BIGINT, D DOUBLE, L ARRAY<BIGINT>) WITH (kafka_topic='r', value_format='JSON', partitions=1);
    CREATE TABLE U (K BIGINT PRIMARY KEY, G STRING, V BIGINT) WITH (kafka_topic='u', value_format='JSON', partitions=1);
    CREATE TABLE T (K BIGINT PRIMARY KEY, G STRING, V BIGINT) WITH (kafka_topic='t', value_format='JSON', partitions=1);
";

/// Every operator, and pipelines of them.
const QUERIES: &[&str] = &[
    "CREATE STREAM O AS SELECT K, V + 1 AS W, G FROM S WHERE V > 3;",
    "CREATE STREAM O AS SELECT K, V / V AS W FROM S;",
    "CREATE STREAM O AS SELECT G, V, K FROM S PARTITION BY G;",
    "CREATE STREAM O AS SELECT K, EXPLODE(L) AS E, V FROM S;",
    "CREATE STREAM O AS SELECT EXPLODE(L) AS E, EXPLODE(ARRAY[V, V + 1]) AS F, K FROM S WHERE V > 1;",
    "CREATE TABLE O AS SELECT K, COUNT(*) AS N, COUNT(V) AS C, SUM(V) AS T, AVG(V) AS A FROM S GROUP BY K;",
    "CREATE TABLE O AS SELECT G, MIN(V) AS LO, MAX(D) AS HI, SUM(D) AS T, MAX(G) AS X FROM S GROUP BY G;",
    "CREATE TABLE O WITH (key_format='JSON') AS SELECT G, K, COUNT(*) AS N, SUM(V) AS T FROM S WHERE V > 1 GROUP BY G, K;",
    "CREATE TABLE O AS SELECT K, COLLECT_LIST(V) AS A, LATEST_BY_OFFSET(V) AS L, EARLIEST_BY_OFFSET(G) AS E, TOPK(V, 2) AS P FROM S GROUP BY K;",
    "CREATE TABLE O AS SELECT K, COUNT(*) AS N FROM S GROUP BY K HAVING COUNT(*) > 2;",
    "CREATE TABLE O AS SELECT K, SUM(V) AS N FROM S GROUP BY K HAVING SUM(V) % 3 = 0;",
    "CREATE TABLE O AS SELECT K, COUNT(*) AS N, MAX(V) AS M FROM S WINDOW TUMBLING (SIZE 10 MILLISECONDS, GRACE PERIOD 5 MILLISECONDS) GROUP BY K;",
    "CREATE TABLE O AS SELECT G, COUNT(*) AS N, WINDOWSTART AS WS, WINDOWEND AS WE FROM S WINDOW TUMBLING (SIZE 10 MILLISECONDS) GROUP BY G;",
    "CREATE TABLE O AS SELECT K, SUM(V) AS N FROM S WINDOW HOPPING (SIZE 10 MILLISECONDS, ADVANCE BY 3 MILLISECONDS, GRACE PERIOD 4 MILLISECONDS) GROUP BY K;",
    "CREATE TABLE O AS SELECT K, SUM(V) AS N FROM S WINDOW HOPPING (SIZE 10 MILLISECONDS, ADVANCE BY 5 MILLISECONDS, GRACE PERIOD 0 MILLISECONDS) GROUP BY K HAVING SUM(V) > 5;",
    "CREATE TABLE O AS SELECT K, COUNT(*) AS N, SUM(V) AS T FROM S WINDOW TUMBLING (SIZE 10 MILLISECONDS, GRACE PERIOD 5 MILLISECONDS) GROUP BY K EMIT FINAL;",
    "CREATE TABLE O AS SELECT G, COUNT(*) AS N FROM S WINDOW HOPPING (SIZE 10 MILLISECONDS, ADVANCE BY 4 MILLISECONDS) GROUP BY G EMIT FINAL;",
    "CREATE TABLE O AS SELECT K, COUNT(*) AS N, COLLECT_LIST(V) AS A, LATEST_BY_OFFSET(V) AS L FROM S WINDOW SESSION (4 MILLISECONDS, GRACE PERIOD 10 MILLISECONDS) GROUP BY K;",
    "CREATE TABLE O AS SELECT K, SUM(V) AS T, WINDOWSTART AS WS FROM S WINDOW SESSION (2 MILLISECONDS, GRACE PERIOD 3 MILLISECONDS) GROUP BY K HAVING SUM(V) > 4;",
    "CREATE TABLE O AS SELECT K, COUNT(*) AS N FROM S WINDOW SESSION (3 MILLISECONDS, GRACE PERIOD 2 MILLISECONDS) GROUP BY K EMIT FINAL;",
    "CREATE TABLE O AS SELECT K, V, G FROM T;",
    "CREATE TABLE O AS SELECT K, V + 1 AS W FROM T WHERE V > 3;",
    "CREATE TABLE O AS SELECT G, COUNT(*) AS N, SUM(V) AS T, COLLECT_LIST(V) AS L FROM T GROUP BY G;",
    "CREATE TABLE O AS SELECT G, COUNT(*) AS N, SUM(V) AS T FROM T WHERE V > 2 GROUP BY G HAVING COUNT(*) > 1;",
    "CREATE TABLE O AS SELECT K, COUNT(*) AS N, AVG(V) AS A FROM T GROUP BY K;",
    "CREATE STREAM O AS SELECT S.K AS K, S.V AS SV, T.V AS TV FROM S JOIN T ON S.K = T.K;",
    "CREATE STREAM O AS SELECT S.V AS V, S.G AS SG, T.G AS TG FROM S LEFT JOIN T ON S.V = T.K;",
    "CREATE TABLE O AS SELECT T.K AS K, T.V AS TV, U.V AS UV FROM T JOIN U ON T.K = U.K;",
    "CREATE TABLE O AS SELECT T.K AS K, T.V AS TV, U.V AS UV FROM T LEFT JOIN U ON T.K = U.K;",
    "CREATE TABLE O AS SELECT U.K AS K, T.V AS TV, U.V AS UV FROM T RIGHT JOIN U ON T.K = U.K;",
    "CREATE TABLE O AS SELECT ROWKEY AS K, T.V AS TV, U.V AS UV FROM T FULL OUTER JOIN U ON T.K = U.K WHERE T.V > 2;",
    "CREATE STREAM O WITH (key_format='JSON') AS SELECT V IS NULL AS N, K + 1 AS J, V, G FROM S PARTITION BY V IS NULL, K + 1;",
    "CREATE TABLE O AS SELECT T.K AS K, T.V AS TV, U.K AS UK, U.V AS UV FROM T JOIN U ON T.V = U.K;",
    "CREATE TABLE O AS SELECT T.K AS K, T.G AS TG, U.G AS UG FROM T LEFT JOIN U ON T.V = U.K;",
    "CREATE TABLE O AS SELECT T.K AS K, T.G AS TG, U.V AS UV FROM T JOIN U ON T.V % 3 = U.K WHERE U.V > 2;",
    "CREATE TABLE O AS SELECT U.G AS G, COUNT(*) AS N, SUM(T.V) AS S FROM T LEFT JOIN U ON T.V = U.K GROUP BY U.G;",
    "CREATE TABLE O AS SELECT U.G AS G, COUNT(*) AS N, SUM(T.V) AS S FROM T JOIN U ON T.K = U.K GROUP BY U.G;",
    "CREATE STREAM O AS SELECT S.K AS K, S.V AS SV, R.V AS RV FROM S JOIN R WITHIN 4 MILLISECONDS ON S.K = R.K;",
    "CREATE STREAM O AS SELECT S.K AS K, S.V AS SV, R.V AS RV FROM S LEFT JOIN R WITHIN 3 MILLISECONDS ON S.K = R.K;",
    "CREATE STREAM O AS SELECT R.K AS K, S.V AS SV, R.V AS RV FROM S RIGHT JOIN R WITHIN (2 MILLISECONDS, 5 MILLISECONDS) GRACE PERIOD 4 MILLISECONDS ON S.K = R.K;",
    "CREATE STREAM O AS SELECT ROWKEY AS K, S.V AS SV, R.V AS RV FROM S FULL OUTER JOIN R WITHIN 3 MILLISECONDS GRACE PERIOD 2 MILLISECONDS ON S.K = R.K;",
    "CREATE STREAM O AS SELECT S.V AS V, S.G AS SG, R.G AS RG FROM S LEFT JOIN R WITHIN 3 MILLISECONDS GRACE PERIOD 0 MILLISECONDS ON S.V = R.V;",
    "CREATE TABLE O AS SELECT T.G AS G, COUNT(*) AS N FROM S JOIN T ON S.V = T.K GROUP BY T.G;",
];

fn plan(query: &str) -> Plan {
    let mut catalog = Catalog::default();
    let settings = Settings::default();
    let text = format!("{SOURCES}{query}");
    let statements = sql::parse(&text, &BTreeMap::new(), ParseOptions::default()).unwrap();
    for statement in statements {
        let planner = Planner { catalog: &catalog, settings: &settings, topic_partitions: &|_| Some(1) };
        match statement.statement {
            Statement::CreateSource(create) => {
                let source = planner.create_source(&create).unwrap().source;
                catalog.sources.insert(source.name.as_str().into(), source.into());
            }
            Statement::CreateAs(create) => {
                let QueryPlan { plan, .. } = planner.create_as(&create, "Q").unwrap();
                return plan;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("no query in {query}");
}

/// The stages of a plan for one partition, each fed by the ones below as soon as they put something out.
struct Query<'a> {
    stages: &'a [Stage],
    pipelines: Vec<Pipeline>,
    counters: Counters,
    errors: usize,
}

impl<'a> Query<'a> {
    fn new(stages: &'a [Stage]) -> Self {
        let build = |stage| Pipeline::build(stage, &OperatorSettings::default()).unwrap();
        Self { stages, pipelines: stages.iter().map(build).collect(), counters: Counters::default(), errors: 0 }
    }

    fn feed(&mut self, source: &str, records: &[Record]) -> Vec<Record> {
        let mut out = Vec::new();
        for stage in 0..self.stages.len() {
            for (input, from) in self.stages[stage].inputs.iter().enumerate() {
                if let StageInput::Source(scan, table) = from
                    && scan.source == source
                {
                    self.push(stage, input, &scanned(scan, *table, records), &mut out);
                }
            }
        }
        out
    }

    fn push(&mut self, stage: usize, input: usize, rows: &Rows, out: &mut Vec<Record>) {
        let mut errors = Vec::new();
        let mut ctx = OpContext { errors: &mut errors, counters: &mut self.counters };
        let mut runs = Vec::new();
        self.pipelines[stage].push(input, rows, &mut ctx, &mut runs).unwrap();
        self.errors += errors.len();
        for rows in runs {
            let reader = self.stages.iter().enumerate().find_map(|(reader, other)| {
                let is_ours = |from: &StageInput| matches!(from, StageInput::Stage(id) if *id == self.stages[stage].id);
                Some((reader, other.inputs.iter().position(is_ours)?))
            });
            match reader {
                Some((reader, input)) => self.push(reader, input, &rows, out),
                None => out.extend(records(&self.stages[stage].schema, &rows)),
            }
        }
    }

    fn take_changes(&mut self) -> Vec<(usize, u32, StateChanges)> {
        let mut all = Vec::new();
        for (stage, pipeline) in self.pipelines.iter_mut().enumerate() {
            all.extend(pipeline.take_changes().unwrap().into_iter().map(|(step, changes)| (stage, step, changes)));
        }
        all
    }

    fn snapshot(&self) -> Vec<(usize, u32, StateChanges)> {
        let mut all = Vec::new();
        for (stage, pipeline) in self.pipelines.iter().enumerate() {
            all.extend(pipeline.snapshot().unwrap().into_iter().map(|(step, changes)| (stage, step, changes)));
        }
        all
    }

    fn apply(&mut self, changes: &[(usize, u32, StateChanges)]) {
        for (stage, step, changes) in changes {
            self.pipelines[*stage].apply(*step, changes).unwrap();
        }
    }

    fn table(&mut self) -> Option<Vec<String>> {
        let stage = self.stages.len() - 1;
        let found = self.pipelines[stage].lookup(&Lookup::default()).unwrap()?;
        let schema = &self.stages[stage].schema;
        let mut rows: Vec<String> =
            found.iter().flat_map(|rows| records(schema, rows)).map(|record| record.to_string()).collect();
        rows.sort();
        Some(rows)
    }
}

/// A small random number generator: the same numbers for the same seed, everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn or_null(&mut self, cell: Cell) -> Cell {
        if self.one_in(8) { Cell::Null } else { cell }
    }

    fn record(&mut self, table: bool, time: &mut i64) -> Record {
        // Mostly forwards, sometimes back, rarely far ahead.
        *time += self.below(5) as i64;
        if self.one_in(25) {
            *time += 40;
        }
        let at = (*time - self.below(18) as i64 * i64::from(self.one_in(3))).max(0);
        let key = Cell::Int(self.below(4) as i64);
        let group = Cell::Text(["a", "b", "ä"][self.below(3) as usize].to_string());
        let mut value = vec![self.or_null(group)];
        let number = Cell::Int(self.below(8) as i64);
        value.push(self.or_null(number));
        if !table {
            let real = Cell::Double(self.below(64) as f64 / 4.0);
            value.push(self.or_null(real));
            let items = (0..self.below(3)).map(|i| Cell::Int(i as i64)).collect();
            value.push(self.or_null(Cell::List(items)));
        }
        Record {
            key: (!self.one_in(12)).then_some(vec![key]),
            window: None,
            value: (!self.one_in(8)).then_some(value),
            time: at,
        }
    }
}

fn sources(step: &Step) -> Vec<(String, bool)> {
    match &step.kind {
        StepKind::Scan(scan) => vec![(scan.source.clone(), step.table)],
        _ => step.inputs().into_iter().flat_map(sources).collect(),
    }
}

/// Inputs as they were merged: runs of one source.
fn inputs(plan: &Plan, chance: &mut Chance) -> Vec<(String, Record)> {
    let sources = sources(&plan.root);
    let mut time = 0;
    let mut all = Vec::new();
    let mut current = 0;
    for _ in 0..60 + chance.below(60) {
        if chance.one_in(6) {
            current = chance.below(sources.len() as u64) as usize;
        }
        let (name, table) = &sources[current];
        all.push((name.clone(), chance.record(*table, &mut time)));
    }
    all
}

/// Runs of one source each, cut at random.
fn cut<'r>(inputs: &'r [(String, Record)], chance: &mut Chance, one_in: u64) -> Vec<&'r [(String, Record)]> {
    let mut runs = Vec::new();
    let mut start = 0;
    for at in 1..=inputs.len() {
        if at == inputs.len() || inputs[at].0 != inputs[start].0 || one_in > 0 && chance.one_in(one_in) {
            runs.push(&inputs[start..at]);
            start = at;
        }
    }
    runs
}

fn feed_run(query: &mut Query<'_>, run: &[(String, Record)]) -> Vec<Record> {
    let records: Vec<Record> = run.iter().map(|(_, record)| record.clone()).collect();
    query.feed(&run[0].0, &records)
}

#[track_caller]
fn same(expected: &[Record], got: &[Record], sql: &str, how: &str) {
    let lines = |records: &[Record]| records.iter().map(|r| format!("{r}\n")).collect::<String>();
    let at = expected.iter().zip(got).position(|(a, b)| a != b).unwrap_or(expected.len().min(got.len()));
    assert!(
        expected == got,
        "{sql}\n{how}: first difference at output {at}\nexpected\n{}\ngot\n{}",
        lines(&expected[at.saturating_sub(3)..expected.len().min(at + 6)]),
        lines(&got[at.saturating_sub(3)..got.len().min(at + 6)]),
    );
}

fn check(sql: &str, seeds: std::ops::Range<u64>) {
    let plan = plan(sql);
    let stages = lower(&plan).unwrap();
    let mut written = 0;
    for seed in seeds {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let inputs = inputs(&plan, &mut chance);
        let mut interpreter = Interpreter::new(&plan);
        let expected: Vec<Record> = inputs.iter().flat_map(|(s, record)| interpreter.feed(s, record)).collect();
        for (one_in, how) in [(0, "whole runs"), (1, "record by record"), (3, "short runs"), (10, "long runs")] {
            let mut query = Query::new(&stages);
            let runs = cut(&inputs, &mut chance, one_in);
            let got: Vec<Record> = runs.into_iter().flat_map(|run| feed_run(&mut query, run)).collect();
            same(&expected, &got, sql, &format!("seed {seed}, {how}"));
            let c = query.counters;
            assert_eq!(c.rows_in, c.accepted + c.filtered + c.unmatched + c.rejected + c.late, "{sql}: books {c:?}");
            assert_eq!(c.late, interpreter.late, "{sql}: late rows");
        }
        restored(sql, &stages, &inputs, &expected, seed, &mut chance);
        written += expected.len();
    }
    assert!(written > 0, "{sql}: {written} outputs prove little");
}

/// Now and then the query dies: what was taken of its state, on top of an older snapshot, makes a new one.
fn restored(
    sql: &str,
    stages: &[Stage],
    inputs: &[(String, Record)],
    expected: &[Record],
    seed: u64,
    chance: &mut Chance,
) {
    let mut query = Query::new(stages);
    let mut snapshot = Vec::new();
    let mut log = Vec::new();
    let mut got = Vec::new();
    for run in cut(inputs, chance, 4) {
        got.extend(feed_run(&mut query, run));
        log.push(query.take_changes());
        if chance.one_in(8) {
            snapshot = query.snapshot();
            log.clear();
        }
        if chance.one_in(4) {
            let table = query.table();
            let mut fresh = Query::new(stages);
            fresh.apply(&snapshot);
            log.iter().for_each(|changes| fresh.apply(changes));
            assert_eq!(fresh.table(), table, "{sql}\nseed {seed}: the table after a restart");
            query = fresh;
        }
    }
    same(expected, &got, sql, &format!("seed {seed}, with restarts"));
}

#[test]
fn outputs_do_not_depend_on_how_input_is_cut_and_state_survives_restarts() {
    for sql in QUERIES {
        check(sql, 1..5);
    }
}

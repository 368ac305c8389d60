//! The reference of functions, `server/docs/functions.md`: written from the registry, and its examples run.
//!
//! `HEADWATER_UPDATE_DOCS=1 cargo test functions` writes the page anew; without it a page that is out of date fails.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use datafusion::execution::SessionStateDefaults;
use headwater_engine::functions::values::text::write_value;
use headwater_engine::functions::{FunctionInfo, FunctionKind, list};
use headwater_engine::{Outcome, Result, Session};
use headwater_tests::sql::{memory_session, run};

#[test]
fn every_function_is_documented() {
    for function in list() {
        let name = function.name;
        assert!(!function.description.is_empty(), "{name} has no description");
        assert!(function.example.call.to_uppercase().contains(name), "{name} has no example of itself");
        assert!(!function.signatures.is_empty(), "{name} has no signature");
        assert_eq!(function.kind == FunctionKind::Aggregate, function.example.over.is_some(), "{name}");
    }
}

#[test]
fn differences_are_told_of_functions_that_datafusion_has() {
    let scalar = SessionStateDefaults::default_scalar_functions();
    let aggregate = SessionStateDefaults::default_aggregate_functions();
    let theirs = |name: &str| {
        scalar.iter().any(|f| f.name() == name || f.aliases().iter().any(|a| a == name))
            || aggregate.iter().any(|f| f.name() == name || f.aliases().iter().any(|a| a == name))
    };
    for function in list().iter().filter(|f| f.differs.is_some()) {
        assert!(theirs(&function.name.to_ascii_lowercase()), "DataFusion has no {}", function.name);
    }
}

/// Aggregates and table functions in continuous queries. Those of scalar functions are run beside the functions.
#[test]
fn examples_give_what_they_say() {
    for function in list().iter().filter(|f| f.kind != FunctionKind::Scalar) {
        let (call, gives) = (function.example.call, function.example.gives);
        let (ty, values) = function.example.over.unwrap_or(("INT", "1"));
        let mut session = memory_session();
        run(&mut session, &format!("CREATE STREAM s (v {ty}) WITH (kafka_topic = 's', partitions = 1);")).expect("s");
        for value in split_values(values) {
            run(&mut session, &format!("INSERT INTO s VALUES ({value});")).unwrap_or_else(|e| panic!("{value}: {e}"));
        }
        let continuous = match function.kind {
            FunctionKind::Aggregate => format!("CREATE TABLE t AS SELECT 1 AS k, {call} AS x FROM s GROUP BY 1;"),
            _ => format!("CREATE STREAM t AS SELECT {call} AS x FROM s;"),
        };
        let rows = values_of(&mut session, &format!("{continuous} SELECT x FROM t;"));
        assert_eq!(rows.unwrap_or_else(|e| panic!("{call}: {e}")), gives, "{call} over {values}");
        if function.kind == FunctionKind::Aggregate {
            let rows = values_of(&mut session, &format!("SELECT {call} AS x FROM s;"));
            assert_eq!(rows.unwrap_or_else(|e| panic!("{call}: {e}")), gives, "{call} over {values} in ordinary SQL");
        }
    }
}

/// Ordinary SQL answers the same.
#[test]
fn scalar_examples_give_the_same_in_ordinary_sql() {
    let mut session = memory_session();
    let (mut answered, mut wrong) = (0, Vec::new());
    for function in list().iter().filter(|f| f.kind == FunctionKind::Scalar) {
        let example = function.example;
        match values_of(&mut session, &format!("SELECT {} AS x;", example.call)) {
            Ok(value) if value == example.gives => answered += 1,
            other => wrong.push(format!("{}: {other:?}", example.call)),
        }
    }
    assert!(answered > 100 && wrong.is_empty(), "{answered} answered, {wrong:#?}");
}

/// With ORDER BY a SELECT is ordinary SQL, without it ksqlDB's: the values are the same, and so are the columns' names.
#[test]
fn an_expression_means_the_same_in_ordinary_sql() {
    let mut session = memory_session();
    let create = "CREATE STREAM s (i INT, b BIGINT, d DOUBLE, p DECIMAL(6, 2), t STRING, f BOOLEAN, ts TIMESTAMP, da DATE, \
                  l ARRAY<INT>, m MAP<STRING, INT>, r STRUCT<a INT, n STRUCT<t STRING>>) \
                  WITH (kafka_topic = 's', value_format = 'json', partitions = 1);";
    run(&mut session, create).expect("s");
    let row = "INSERT INTO s VALUES (7, 10000000000, 1e0, 12.50, ' 42 ', true, '2021-02-03T04:05:06.007', '2021-02-03', \
               ARRAY[3, null, 1], MAP('zebra' := 1, 'ant' := 2), STRUCT(a := 5, n := STRUCT(t := 'deep')));";
    run(&mut session, row).expect("a row");
    for expression in [
        "1.55",
        "-0.50",
        "1.5 + 1.25",
        "i + 1.5",
        "b + 0.5",
        "d * 2.5",
        "p + 1",
        "p * 1.5",
        "p > 12.4",
        "d = 1.0",
        "i BETWEEN 6.5 AND 7.5",
        "i IN (1, 7, 9)",
        "CAST(d AS STRING)",
        "CAST(p AS STRING)",
        "CAST(1e10 AS STRING)",
        "CAST(f AS STRING)",
        "CAST(ts AS STRING)",
        "CAST(da AS STRING)",
        "CAST(l AS STRING)",
        "CAST(m AS STRING)",
        "CAST(r AS STRING)",
        "CAST(t AS INT)",
        "CAST(t AS DOUBLE)",
        "CAST('12.345' AS DECIMAL(4, 2))",
        "CAST(d AS DECIMAL(4, 1))",
        "CAST(2.5e0 AS BIGINT)",
        "CAST(l AS ARRAY<STRING>)",
        "CAST(m AS MAP<STRING, DOUBLE>)",
        "CAST('2021-01-01' AS DATE)",
        "CAST('2021-01-01T10:00:00' AS TIMESTAMP)",
        "CAST(ts AS DATE)",
        "CAST(NULL AS INT)",
        "MAP('a' := i, 'b' := 2)",
        "STRUCT(x := i, y := t)",
        "ARRAY[i, 2]",
        "TIMESTAMPADD(DAYS, 5, ts)",
        "TIMESTAMPSUB(HOUR, 1, ts)",
        "DATEADD(DAYS, i, da)",
        "r->a",
        "r->n->t",
        "l[1]",
        "m['ant']",
        "t || '!'",
        "CASE WHEN i > 5 THEN 'many' ELSE 'few' END",
        "COALESCE(CAST(NULL AS INT), i)",
        "ROUND(p, 1)",
        "ROUND(2.5)",
        "ABS(-1.5)",
        "LEAST(1.5, 2.25)",
        "UCASE(t) LIKE ' 4%'",
        "NOT (i = CAST(NULL AS INT))",
        "COALESCE(i > CAST(NULL AS INT), true)",
        "FILTER(l, x => x > 1)",
        "ARRAY[i > CAST(NULL AS INT), i > 1]",
        "TRANSFORM(l, x => x > 1)",
        "i / 2",
        "-i % 4",
        "p / 3",
        "p % 5",
        "p * p / 7",
        "i / 0",
        "i % (i - 7)",
        "2147483647 + i",
        "CAST(t || 'x' AS INT)",
        "SUBSTRING(t, CAST('x' AS INT))",
    ] {
        let answers = ["", " ORDER BY ROWTIME"].map(|order| {
            let sql = format!("SELECT {expression}, i FROM s{order};");
            let statements = session.parse(&sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
            let Ok(Outcome::Query(stream)) = session.execute(&statements[0]) else { panic!("{sql} is no query") };
            let names: Vec<String> = stream.columns.iter().map(|c| c.name.clone()).collect();
            let rows = headwater_tests::sql::rows(stream).unwrap_or_else(|e| panic!("{sql}: {e}"));
            (names, rows)
        });
        assert_eq!(answers[0], answers[1], "{expression}: ksqlDB's SELECT, then ordinary SQL");
    }
}

/// The only column of a script's last query as text, `; ` between rows.
fn values_of(session: &mut Session, sql: &str) -> Result<String> {
    let mut texts = Vec::new();
    for statement in session.parse(sql)? {
        if let Outcome::Query(stream) = session.execute(&statement)? {
            for batch in stream.collect()? {
                for row in 0..batch.num_rows() {
                    let mut text = String::new();
                    write_value(batch.column(0).as_ref(), row, &mut text);
                    texts.push(text);
                }
            }
        }
    }
    Ok(texts.join("; "))
}

/// At commas outside brackets.
fn split_values(values: &str) -> Vec<&str> {
    let mut depth = 0;
    let at_top = |c: char| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        c == ',' && depth == 0
    };
    values.split(at_top).map(str::trim).collect()
}

#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/docs/functions.md");
    let page = page();
    if std::env::var_os("HEADWATER_UPDATE_DOCS").is_some() {
        fs::write(&path, &page).expect("a writable page");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "server/docs/functions.md is out of date: HEADWATER_UPDATE_DOCS=1 cargo test functions");
}

fn page() -> String {
    let mut page = String::from(
        "<!-- Written by `HEADWATER_UPDATE_DOCS=1 cargo test functions`; the texts are in engine/src/functions. -->\n\
         # Functions\n\n\
         One meaning everywhere: in continuous queries, in INSERT VALUES, in pull queries and in ordinary SQL. Names\n\
         ignore case. Arguments are widened where no overload fits exactly: INTEGER to BIGINT to DECIMAL to DOUBLE,\n\
         texts to times. A call that fails gives null and an entry in `PROCESSING_LOG`. `T`, `K`, `V`\n\
         stand for any type; `…` for any number of arguments. Ordinary SQL knows DataFusion's functions, too, where none\n\
         of these has the name; where both have one, ksqlDB's meaning wins and the difference is told.\n\n\
         The tests run every example; values are shown as `CAST(… AS STRING)` writes them. `SHOW FUNCTIONS` and\n\
         `DESCRIBE FUNCTION name` tell of them from SQL.\n\n",
    );
    let all = list();
    for (kind, title, about) in [
        (FunctionKind::Scalar, "Scalar functions", "One value for each row."),
        (FunctionKind::Aggregate, "Aggregate functions", "One value for each group."),
        (FunctionKind::Table, "Table functions", "Any number of rows for each row; only in SELECT of a stream."),
    ] {
        writeln!(page, "## {title}\n\n{about}\n").expect("memory");
        let functions: Vec<&FunctionInfo> = all.iter().filter(|f| f.kind == kind).collect();
        let mut categories: Vec<&str> = functions.iter().map(|f| f.category).collect();
        categories.sort_unstable();
        categories.dedup();
        for category in &categories {
            if categories.len() > 1 {
                writeln!(page, "### {}\n", title_case(category)).expect("memory");
            }
            let heading = if categories.len() > 1 { "####" } else { "###" };
            functions.iter().filter(|f| f.category == *category).for_each(|f| entry(f, heading, &mut page));
        }
    }
    ordinary(&all, &mut page);
    page
}

/// What DataFusion adds in ordinary SQL, by name.
fn ordinary(ours: &[FunctionInfo], page: &mut String) {
    let scalar = SessionStateDefaults::default_scalar_functions();
    let aggregate = SessionStateDefaults::default_aggregate_functions();
    let window = SessionStateDefaults::default_window_functions();
    page.push_str("## In ordinary SQL only\n\nDataFusion's, with its meaning; its documentation describes them.\n\n");
    page.push_str("| kind | functions |\n|---|---|\n");
    for (kind, names) in [
        ("scalar", scalar.iter().map(|f| f.name()).collect::<Vec<_>>()),
        ("aggregate", aggregate.iter().map(|f| f.name()).collect()),
        ("window", window.iter().map(|f| f.name()).collect()),
    ] {
        let mut names: Vec<String> = names.into_iter().map(str::to_uppercase).collect();
        names.retain(|name| !ours.iter().any(|f| f.name == name));
        names.sort_unstable();
        names.dedup();
        writeln!(page, "| {kind} | {} |", names.join(", ")).expect("memory");
    }
}

fn entry(function: &FunctionInfo, heading: &str, page: &mut String) {
    let full_stop = if function.description.ends_with('.') { "" } else { "." };
    write!(page, "{heading} {}\n\n{}{full_stop}\n\n```text\n", function.name, function.description).expect("memory");
    for signature in &function.signatures {
        let argument =
            |(name, ty, variadic): &(String, String, bool)| format!("{name} {ty}{}", if *variadic { " …" } else { "" });
        let arguments: Vec<String> = signature.arguments.iter().map(argument).collect();
        writeln!(page, "{}({}) → {}", function.name, arguments.join(", "), signature.returns).expect("memory");
    }
    let example = &function.example;
    let over = example.over.map(|(_, values)| format!(" over `{values}`")).unwrap_or_default();
    write!(page, "```\n\n`{}`{over} gives `{}`.\n\n", example.call, example.gives).expect("memory");
    if let Some(differs) = function.differs {
        write!(page, "DataFusion's: {differs}\n\n").expect("memory");
    }
}

fn title_case(category: &str) -> String {
    let lower = category.to_lowercase();
    let mut letters = lower.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

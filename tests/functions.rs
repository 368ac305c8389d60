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

/// What ordinary SQL can say, it answers the same. (It knows neither `k := v` nor units such as DAYS as arguments.)
#[test]
fn scalar_examples_give_the_same_in_ordinary_sql() {
    let mut session = memory_session();
    let (mut answered, mut wrong) = (0, Vec::new());
    for function in list().iter().filter(|f| f.kind == FunctionKind::Scalar) {
        let example = function.example;
        let units = ["DAYS", "HOURS", "MINUTES", "MILLISECONDS"];
        let refused =
            example.call.contains(":=") || units.iter().any(|unit| example.call.contains(&format!("({unit},")));
        match values_of(&mut session, &format!("SELECT {} AS x;", example.call)) {
            Ok(value) if value == example.gives => answered += 1,
            Err(_) if refused => {}
            other => wrong.push(format!("{}: {other:?}", example.call)),
        }
    }
    assert!(answered > 100 && wrong.is_empty(), "{answered} answered, {wrong:#?}");
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

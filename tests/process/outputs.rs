//! Scripts and their outputs: results on stdout, everything else on stderr, byte for byte.

use crate::support::{BINARY, headwater, headwater_with, sql};

/// A stream with one row of every scalar type and one of nulls, read from its beginning.
const SETUP: &str = "
    CREATE STREAM s (id INT KEY, name STRING, big BIGINT, price DECIMAL(10, 2), x DOUBLE, ok BOOLEAN, raw BYTES,
        d DATE, t TIME, ts TIMESTAMP, items ARRAY<INT>, pair STRUCT<a INT, b STRING>)
      WITH (kafka_topic='s', value_format='JSON', partitions=1);
    INSERT INTO s VALUES (1, 'a \"quoted\", name', 9007199254740993, 1.50, 2.0, true, 'aGk=',
        '2024-02-29', '16:43:40', '2024-02-29T16:43:40.125', ARRAY[1, 2], STRUCT(a := 1, b := 'x'));
    INSERT INTO s (id, name) VALUES (2, '');
    SET 'auto.offset.reset' = 'earliest';
    SELECT * FROM s EMIT CHANGES LIMIT 2;";

#[test]
fn csv_has_a_header_exact_numbers_and_empty_nulls() {
    let out = sql(&["--output", "csv"], SETUP).ok();
    assert_eq!(
        out,
        "ID,NAME,BIG,PRICE,X,OK,RAW,D,T,TS,ITEMS,PAIR\n\
         1,\"a \"\"quoted\"\", name\",9007199254740993,1.50,2.0,true,aGk=,2024-02-29,16:43:40,2024-02-29T16:43:40.125,\
         \"[1,2]\",\"{\"\"A\"\":1,\"\"B\"\":\"\"x\"\"}\"\n\
         2,\"\",,,,,,,,,,\n"
    );
}

#[test]
fn ndjson_has_an_object_a_line() {
    let out = sql(&["--output", "ndjson"], SETUP).ok();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[0],
        "{\"ID\":1,\"NAME\":\"a \\\"quoted\\\", name\",\"BIG\":9007199254740993,\"PRICE\":1.50,\"X\":2.0,\"OK\":true,\
         \"RAW\":\"aGk=\",\"D\":\"2024-02-29\",\"T\":\"16:43:40\",\"TS\":\"2024-02-29T16:43:40.125\",\"ITEMS\":[1,2],\
         \"PAIR\":{\"A\":1,\"B\":\"x\"}}"
    );
    assert!(lines[1].starts_with("{\"ID\":2,\"NAME\":\"\",\"BIG\":null,"));
    assert_eq!(lines.len(), 2);
}

#[test]
fn json_has_one_array_per_result() {
    let out = sql(&["--output", "json"], &format!("{SETUP} SELECT id FROM s WHERE id > 5 ORDER BY id;")).ok();
    let arrays: Vec<serde_json::Value> =
        serde_json::Deserializer::from_str(&out).into_iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(arrays.len(), 2);
    assert_eq!(arrays[0].as_array().unwrap().len(), 2);
    assert_eq!(arrays[1], serde_json::json!([]));
    assert!(out.contains("\"BIG\":9007199254740993") && out.contains("\"PRICE\":1.50"), "{out}");
}

#[test]
fn markdown_and_expanded_are_for_reading() {
    let markdown = sql(&["--output", "markdown"], "SELECT 1 AS one, 'a|b' AS text;").ok();
    assert_eq!(markdown, "| ONE | TEXT |\n|---:|---|\n| 1 | a\\|b |\n\n");
    let expanded = sql(&["--output", "expanded"], "SELECT 1 AS one, 'x' AS text;").ok();
    assert_eq!(expanded, "-[ 1 ]-\nONE  | 1\nTEXT | x\n\n");
}

#[test]
fn a_table_is_as_wide_as_it_must_be() {
    let table = sql(&["--output", "table"], "SELECT 1 AS one, 'x' AS text;").ok();
    assert_eq!(table, " ONE │ TEXT \n─────┼──────\n   1 │ x    \n\n");
}

#[test]
fn away_from_a_terminal_there_is_no_colour_and_no_banner() {
    let ran = headwater_with(&["--data", ":memory:"], b"SELECT 1 AS one;\nSHOW STREAMS;\n");
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'));
    assert_eq!(ran.stdout.lines().next(), Some("ONE"));
    assert!(!ran.stdout.contains("Headwater"));
}

#[test]
fn statuses_and_counts_go_to_stderr() {
    let ran = sql(&[], "CREATE STREAM s (a INT) WITH (kafka_topic='s', value_format='JSON', partitions=1);");
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("Stream created"), "{}", ran.stderr);
}

#[test]
fn options_work_as_environment_variables() {
    let out = crate::support::command(&["-e", "SELECT 1 AS one;"])
        .env("HEADWATER_DATA", ":memory:")
        .env("HEADWATER_OUTPUT", "ndjson")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(out.stdout).unwrap(), "{\"ONE\":1}\n");
}

#[test]
fn the_first_error_stops_a_script() {
    let ran = sql(&[], "SELECT 1 AS one; SELECT * FROM nowhere EMIT CHANGES; SELECT 2 AS two;");
    assert!(ran.stdout.contains("ONE") && !ran.stdout.contains("TWO"));
    ran.failed(3);
}

#[test]
fn a_push_query_ends_at_the_row_limit_or_the_time_limit() {
    let setup = "CREATE STREAM s (a INT) WITH (kafka_topic='s', value_format='JSON', partitions=1);
        INSERT INTO s VALUES (1); INSERT INTO s VALUES (2); INSERT INTO s VALUES (3);
        SET 'auto.offset.reset' = 'earliest'; SELECT a FROM s EMIT CHANGES;";
    assert_eq!(sql(&["--query-row-limit", "2"], setup).ok(), "A\n1\n2\n");
    assert_eq!(sql(&["--query-timeout", "1500"], setup).ok(), "A\n1\n2\n3\n");
}

#[test]
fn variables_are_defined_on_the_command_line() {
    let out = sql(&["--define", "name=Lima", "-d", "n=3"], "SELECT '${name}' AS name, ${n} AS n;").ok();
    assert_eq!(out, "NAME,N\nLima,3\n");
}

#[test]
fn scripts_run_scripts_relative_to_themselves() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("inner")).unwrap();
    std::fs::write(folder.path().join("outer.sql"), "RUN SCRIPT 'inner/a.sql'; SELECT 2 AS two;").unwrap();
    std::fs::write(folder.path().join("inner/a.sql"), "RUN SCRIPT 'b.sql';").unwrap();
    std::fs::write(folder.path().join("inner/b.sql"), "SELECT 1 AS one;").unwrap();
    let outer = folder.path().join("outer.sql");
    let out = headwater(&["run", outer.to_str().unwrap()]).ok();
    assert_eq!(out, "ONE\n1\nTWO\n2\n");
}

#[test]
fn version_and_help_answer_without_an_engine() {
    assert!(headwater(&["--version"]).ok().starts_with("headwater "));
    assert!(headwater(&["--help"]).ok().contains("Exit codes"));
}

#[test]
fn ctrl_c_ends_a_script_with_130() {
    let script = "CREATE STREAM s (a INT) WITH (kafka_topic='s', value_format='JSON', partitions=1);
        SELECT a FROM s EMIT CHANGES;";
    let mut child = crate::support::command(&["--data", ":memory:", "--output", "csv", "-e", script])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut header = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut header).unwrap();
    assert_eq!(header, "A\n", "a live result's header does not wait for rows");
    let sent = std::process::Command::new("kill").arg("-INT").arg(child.id().to_string()).status();
    assert!(sent.unwrap().success());
    assert_eq!(crate::support::wait(&mut child).code(), Some(130));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let script = "SELECT 1 AS one; SELECT 2 AS two;".repeat(200);
    let mut child = crate::support::command(&["--data", ":memory:", "-e", &script])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(crate::support::wait(&mut child).code(), Some(0));
}

#[test]
fn copy_reads_and_writes_files_beside_the_script() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("in.csv"), "id,name\n1,a\n2,NA\n").unwrap();
    let script = "CREATE STREAM s (id INT, name STRING) WITH (kafka_topic='s', value_format='JSON', partitions=1);
        COPY s FROM 'in.csv' WITH (NULL = 'NA');
        COPY (SELECT id, name FROM s ORDER BY id) TO 'out.json';";
    std::fs::write(folder.path().join("copy.sql"), script).unwrap();
    let ran = headwater(&["run", folder.path().join("copy.sql").to_str().unwrap()]);
    assert!(ran.stderr.contains("Try next"), "{}", ran.stderr);
    ran.ok();
    let out = std::fs::read_to_string(folder.path().join("out.json")).unwrap();
    let rows: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows, [serde_json::json!({"ID": 1, "NAME": "a"}), serde_json::json!({"ID": 2, "NAME": null})]);
}

#[test]
fn a_reader_of_case_results_who_has_seen_enough_ends_the_run_without_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let case = "--@test: enough\nCREATE STREAM s (v INT) WITH (kafka_topic='s', value_format='JSON', partitions=1);\n";
    std::fs::write(folder.path().join("cases.sql"), case.repeat(300)).unwrap();
    let command = format!("'{BINARY}' test '{}' | head -n 1; test ${{PIPESTATUS[0]}} = 0", folder.path().display());
    let ran = std::process::Command::new("bash").args(["-c", &command]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.lines().count() == 1 && err.is_empty(), "{out}\n{err}");
}

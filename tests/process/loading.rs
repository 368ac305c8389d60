//! `headwater load`: JSON lines and CSV, embedded and through a server, bad rows counted and never in the way.

use std::path::Path;

use crate::support::{Server, headwater, headwater_with};

const CREATE: &str = "CREATE STREAM s (id INT KEY, name STRING, v DOUBLE)
    WITH (kafka_topic='s', value_format='JSON', partitions=1);";
const CSV: &str = "Id,NAME,extra\n1,\"a, b\",x\n2,NA,y\nbad,c,z\n3,,w\n";
const ROWS: &str = "ID,NAME,V\n1,\"a, b\",\n2,,\n3,,\n";

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_string()
}

#[test]
fn csv_matches_columns_by_name_and_counts_bad_rows() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let file = write(folder.path(), "rows.csv", CSV);
    headwater(&["--data", data, "-e", CREATE]).ok();
    let ran = headwater(&["load", "s", &file, "--format", "csv", "--null", "NA", "--data", data]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for said in ["extra", "V", "line 4", "3 rows loaded", "1 rejected"] {
        assert!(ran.stderr.contains(said), "{said} is missing in {}", ran.stderr);
    }
    let out = headwater(&["--data", data, "-e", "SELECT id, name, v FROM s ORDER BY id;"]).ok();
    assert_eq!(out, ROWS);
    let rejected = headwater(&["--data", data, "-e", "SELECT line FROM `S$REJECTED`;"]).ok();
    assert_eq!(rejected, "LINE\n4\n");
    headwater(&["load", "s", &file, "--max-errors", "0", "--data", data]).failed(3);
}

#[test]
fn a_record_without_its_primary_key_is_kept_whole_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let create =
        "CREATE TABLE t (id INT PRIMARY KEY, v INT) WITH (kafka_topic='t', value_format='JSON', partitions=1);";
    headwater(&["--data", data, "-e", create]).ok();
    for (format, lines) in [("json", "{\"id\":1,\"v\":1}\n\n{\"v\":2}\n"), ("csv", "id,v\n2,2\n,7\n")] {
        let ran = headwater_with(&["load", "t", "-", "--format", format, "--data", data], lines.as_bytes());
        assert!(ran.stderr.contains("1 row loaded") && ran.stderr.contains("1 rejected"), "{}", ran.stderr);
        ran.ok();
    }
    let select = "SELECT line, FROM_BYTES(raw, 'utf8') AS raw, error FROM `T$REJECTED` ORDER BY ROWOFFSET;";
    let out = headwater(&["--data", data, "-e", select]).ok();
    let reason = "the primary key ID is missing";
    assert_eq!(out, format!("LINE,RAW,ERROR\n3,\"{{\"\"v\"\":2}}\",{reason}\n3,\",7\",{reason}\n"));
}

#[test]
fn json_lines_come_from_stdin() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    headwater(&["--data", data, "-e", CREATE]).ok();
    let lines = b"{\"id\":1,\"name\":\"a\",\"v\":1.5}\n{\"id\":2,\n{\"id\":3}\n";
    let ran = headwater_with(&["load", "s", "-", "--format", "json", "--data", data], lines);
    assert!(ran.stderr.contains("2 rows loaded") && ran.stderr.contains("1 rejected"), "{}", ran.stderr);
    ran.ok();
    let out = headwater(&["--data", data, "-e", "SELECT id, name, v FROM s ORDER BY id;"]).ok();
    assert_eq!(out, "ID,NAME,V\n1,a,1.5\n3,,\n");
}

#[test]
fn a_server_is_loaded_like_an_engine() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    server.ksql(CREATE);
    let file = write(folder.path(), "rows.csv", CSV);
    let ran = headwater(&["load", "s", &file, "--null", "NA", "--server", &server.url]);
    for said in ["extra", "V", "line 4", "3 rows loaded", "1 rejected"] {
        assert!(ran.stderr.contains(said), "{said} is missing in {}", ran.stderr);
    }
    ran.ok();
    let out = headwater(&["--server", &server.url, "-e", "SELECT id, name, v FROM s ORDER BY id;"]).ok();
    assert_eq!(out, ROWS);
}

#[test]
fn what_cannot_be_loaded_is_said() {
    headwater(&["load", "s", "no-such.csv", "--data", ":memory:"]).failed(1);
    headwater(&["load", "s", "-", "--data", ":memory:"]).failed(1);
    let text = headwater_with(&["load", "nowhere", "-", "--format", "json", "--data", ":memory:"], b"{}").failed(3);
    assert!(text.contains("nowhere"), "{text}");
}

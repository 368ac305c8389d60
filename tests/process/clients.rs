//! Clients that others wrote: PyPI `ksqldb` (HTTP/2 without TLS) and `ksql` (HTTP/1.1).
//!
//! They are installed into a virtual environment under the target directory. Where that cannot be done (no Python, no
//! network) the test says so and passes; with CI set it fails.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::Server;

/// Not the newest on purpose: `ksql` builds with the older packaging tools alone.
const PACKAGES: [&str; 2] = ["ksqldb==1.0.1", "ksql==0.10.2"];

/// `ksql` stands on a library from before Python 3.10, where these names lived in `collections`.
const OLD_NAMES: &str = "import collections, collections.abc
for name in ('Callable', 'Iterable', 'Mapping', 'MutableMapping', 'MutableSet', 'Sequence'):
    setattr(collections, name, getattr(collections.abc, name))
";

fn run(program: &Path, args: &[&str]) -> Result<(), String> {
    let ran = Command::new(program).args(args).stdin(Stdio::null()).output();
    match ran {
        Ok(ran) if ran.status.success() => Ok(()),
        Ok(ran) => Err(String::from_utf8_lossy(&ran.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn python() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-clients");
    let python = folder.join("bin/python");
    let check = format!("{OLD_NAMES}import ksql, ksqldb");
    if run(&python, &["-c", &check]).is_ok() {
        return Ok(python);
    }
    run(Path::new("python3"), &["-m", "venv", "--clear", folder.to_str().ok_or("the target directory is not UTF-8")?])?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(&python, &[&pip[..], &["setuptools<81", "wheel"]].concat())?;
    run(&python, &[&pip[..], &["--no-build-isolation"], &PACKAGES].concat())?;
    run(&python, &["-c", &check])?;
    Ok(python)
}

/// Runs a script with the server's URL as its argument.
fn with_python(script: &str) {
    let python = match python() {
        Ok(python) => python,
        Err(why) if std::env::var_os("CI").is_none() => {
            eprintln!("not run: the Python clients cannot be installed: {}", why.lines().last().unwrap_or_default());
            return;
        }
        Err(why) => panic!("the Python clients are needed: {why}"),
    };
    let server = Server::start();
    let ran =
        Command::new(python).args(["-c", &format!("{OLD_NAMES}{script}"), &server.url]).output().expect("Python runs");
    assert!(ran.status.success(), "{}\n{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn foreign_clients_work() {
    with_python(KSQLDB);
    with_python(KSQL);
}

const KSQLDB: &str = r#"
import asyncio, sys
from ksqldb import KSQLdbClient
client = KSQLdbClient(sys.argv[1])
created = client.ksql("CREATE STREAM s (id INT KEY, name STRING) WITH (kafka_topic='s', value_format='JSON', partitions=1);")
assert created[0]["commandStatus"]["status"] == "SUCCESS", created
acks = client.inserts_stream("s", [{"ID": 1, "NAME": "a"}, {"ID": 2, "NAME": "b"}])
assert [a["status"] for a in acks] == ["ok", "ok"], acks
async def push():
    rows = []
    sql = "SELECT * FROM s EMIT CHANGES LIMIT 2;"
    async for row in client.query_async(sql, stream_properties={"auto.offset.reset": "earliest"}):
        rows.append(row)
    return rows
rows = asyncio.run(push())
assert rows[0]["columnNames"] == ["ID", "NAME"], rows
assert rows[1:] == [[1, "a"], [2, "b"]], rows
assert any(p["name"] == "auto.offset.reset" for p in client.get_properties())
assert not client.close_query("nothing")
rows = client.query_sync("SELECT id FROM s ORDER BY id;")
assert rows[1:] == [[1], [2]], rows
"#;

const KSQL: &str = r#"
import json, sys
from ksql import KSQLAPI
from ksql.errors import KSQLError
client = KSQLAPI(sys.argv[1])
client.ksql("CREATE STREAM s (id INT KEY, name STRING) WITH (kafka_topic='s', value_format='JSON', partitions=1);")
streams = client.ksql("SHOW STREAMS;")
assert streams[0]["streams"][0]["name"] == "S", streams
try:
    client.ksql("DROP STREAM nothing;")
    raise SystemExit("a failed statement raised nothing")
except KSQLError as error:
    assert error.error_code == 40001, error.error_code
acks = client.inserts_stream("s", [{"ID": 1, "NAME": "a"}])
assert acks == [{"status": "ok", "seq": 0}], acks
text = ""
try:
    for part in client.query("SELECT * FROM s EMIT CHANGES LIMIT 1;", stream_properties={"auto.offset.reset": "earliest"}):
        text += part
except RuntimeError as error:
    # Since Python 3.7 this client's own generator ends so, after the last part.
    assert "StopIteration" in str(error), error
rows = json.loads(text)
assert rows[1] == {"row": {"columns": [1, "a"]}}, rows
assert client.close_query("nothing") is False
"#;

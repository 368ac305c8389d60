//! The shell through a pseudo-terminal.

use rexpect::session::{PtySession, spawn_command};

use crate::support::{Server, command};

const WAIT_MS: u64 = 30_000;
const PROMPT: &str = "headwater> ";

fn shell(options: &[&str]) -> PtySession {
    let mut command = command(options);
    command.env("NO_COLOR", "1").env("TERM", "xterm").env("COLUMNS", "200");
    let mut session = spawn_command(command, Some(WAIT_MS)).expect("the shell starts");
    session.exp_string(PROMPT).expect("the shell prompts");
    session
}

fn enter(session: &mut PtySession, line: &str) {
    session.send(line).unwrap();
    // What is typed comes back; a multi-line entry is echoed as it is edited.
    session.send("\r").unwrap();
    session.flush().unwrap();
}

const CREATE: &str =
    "CREATE STREAM s (id INT KEY, v BIGINT) WITH (kafka_topic='s', value_format='JSON', partitions=1);";

#[test]
fn statements_may_span_lines_and_errors_show_their_place() {
    let mut shell = shell(&["--data", ":memory:"]);
    enter(&mut shell, "SELECT 40 + 2");
    enter(&mut shell, "  AS answer;");
    shell.exp_regex("ANSWER").unwrap();
    shell.exp_string("42").unwrap();
    shell.exp_string("(1 row)").unwrap();
    shell.exp_string(PROMPT).unwrap();
    enter(&mut shell, "SELEC 1;");
    shell.exp_string("error:").unwrap();
    shell.exp_string("line 1, column 1").unwrap();
    shell.exp_string(PROMPT).unwrap();
    enter(&mut shell, "exit");
    shell.exp_eof().unwrap();
}

/// The process that was given this argument.
fn process_with(argument: &str) -> u32 {
    let of = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let given = std::fs::read(entry.path().join("cmdline")).ok()?;
        given.split(|byte| *byte == 0).any(|given| given == argument.as_bytes()).then_some(pid)
    };
    std::fs::read_dir("/proc").expect("processes can be listed").find_map(of).expect("the process runs")
}

/// Ticks of the CPU that a process has used, all threads.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields follow the name").split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn ctrl_c_leaves_the_cpu_alone_in_the_middle_of_a_join() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (0..20_000).map(|i| format!("{{\"ID\":{i},\"V\":{}}}\n", i % 100)).collect();
    std::fs::write(folder.path().join("rows.json"), lines).unwrap();
    let data = folder.path().join("data").display().to_string();
    let mut shell = shell(&["--data", &data]);
    let copy = format!("{CREATE} COPY s FROM '{}';", folder.path().join("rows.json").display());
    enter(&mut shell, &copy);
    shell.exp_string("20000 rows written").unwrap();
    shell.exp_string(PROMPT).unwrap();
    enter(&mut shell, "SELECT COUNT(*) AS n FROM s a JOIN s b ON a.v < b.v + 1000 JOIN s c ON a.v < c.v + 1000;");
    std::thread::sleep(std::time::Duration::from_secs(2));
    shell.send_control('c').unwrap();
    shell.exp_string("interrupted").unwrap();
    shell.exp_string(PROMPT).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let pid = process_with(&data);
    let before = cpu_ticks(pid);
    std::thread::sleep(std::time::Duration::from_millis(500));
    let used = cpu_ticks(pid) - before;
    assert!(used <= 5, "{used} ticks in half a second after Ctrl-C");
    shell.send_control('d').unwrap();
    shell.exp_eof().unwrap();
}

#[test]
fn ctrl_c_stops_the_query_and_not_the_shell() {
    let server = Server::start();
    server.ksql(CREATE);
    for options in [["--data", ":memory:"], ["--server", server.url.as_str()]] {
        let mut shell = shell(&options);
        if options[0] == "--data" {
            enter(&mut shell, CREATE);
            shell.exp_string("created").unwrap();
            shell.exp_string(PROMPT).unwrap();
        }
        enter(&mut shell, "SELECT * FROM s EMIT CHANGES;");
        shell.exp_string("V \r\n").unwrap();
        shell.send_control('c').unwrap();
        shell.exp_string("interrupted").unwrap();
        shell.exp_string(PROMPT).unwrap();
        // At the prompt it only clears the line.
        shell.send("SELECT nonsense").unwrap();
        shell.send_control('c').unwrap();
        shell.exp_string(PROMPT).unwrap();
        enter(&mut shell, "SELECT 7 AS seven;");
        shell.exp_string("SEVEN").unwrap();
        shell.exp_string(PROMPT).unwrap();
        shell.send_control('d').unwrap();
        shell.exp_eof().unwrap();
    }
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("headwater_http_queries_streaming 0"), "{metrics}");
}

#[test]
fn rows_of_others_appear_as_they_come() {
    let server = Server::start();
    server.ksql(CREATE);
    let mut shell = shell(&["--server", &server.url]);
    enter(&mut shell, "SELECT id, v FROM s EMIT CHANGES LIMIT 1;");
    shell.exp_string("V \r\n").unwrap();
    server.ksql("INSERT INTO s VALUES (1, 4711);");
    shell.exp_string("4711").unwrap();
    shell.exp_string("(1 row)").unwrap();
    shell.exp_string(PROMPT).unwrap();
}

#[test]
fn tab_completes_from_what_exists() {
    let mut shell = shell(&["--data", ":memory:"]);
    enter(
        &mut shell,
        "CREATE STREAM flights (origin STRING) WITH (kafka_topic='f', value_format='JSON', partitions=1);",
    );
    shell.exp_string("created").unwrap();
    shell.exp_string(PROMPT).unwrap();
    shell.send("DESCRIBE FLI\t;\r").unwrap();
    shell.flush().unwrap();
    shell.exp_string("ORIGIN").unwrap();
    shell.exp_string(PROMPT).unwrap();
}

#[test]
fn the_shells_own_commands_answer() {
    let mut shell = shell(&["--data", ":memory:"]);
    for (typed, answer) in [
        ("\\?", "Ctrl-C stops"),
        ("\\d", "Stream"),
        ("output json", "output is json"),
        ("\\x", "output is expanded"),
        ("\\timing", "timing is on"),
        ("SELECT 1 AS one;", "Time:"),
        ("version", "Headwater"),
        ("\\nonsense", "is not known"),
    ] {
        enter(&mut shell, typed);
        shell.exp_string(answer).unwrap_or_else(|e| panic!("{typed}: {e}"));
        shell.exp_string(PROMPT).unwrap();
    }
}

#[test]
fn the_history_is_the_users_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state/history");
    let mut command = command(&["--data", ":memory:"]);
    command.env("HEADWATER_HISTORY", &file).env("NO_COLOR", "1");
    let mut shell = spawn_command(command, Some(WAIT_MS)).unwrap();
    shell.exp_string(PROMPT).unwrap();
    enter(&mut shell, "SELECT 1 AS one;");
    shell.exp_string("(1 row)").unwrap();
    shell.exp_string(PROMPT).unwrap();
    enter(&mut shell, "exit");
    shell.exp_eof().unwrap();
    assert!(std::fs::read_to_string(&file).unwrap().contains("SELECT 1 AS one;"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

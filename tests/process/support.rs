//! Runs the binary with a time limit; starts a server on a free port and stops it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

pub const BINARY: &str = env!("CARGO_BIN_EXE_headwater");

/// No command of these tests takes longer, on any machine.
const TIME_LIMIT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The output of a run that must have gone well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "stderr:\n{}\nstdout:\n{}", self.stderr, self.stdout);
        self.stdout
    }

    /// The messages of a run that must have failed with `code`.
    #[track_caller]
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "stderr:\n{}\nstdout:\n{}", self.stderr, self.stdout);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self.stderr
    }
}

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    // What the developer's shell sets must not change what is tested.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HEADWATER_") {
            command.env_remove(name);
        }
    }
    command.args(args).env("HEADWATER_HISTORY", "");
    command
}

pub fn headwater(args: &[&str]) -> Ran {
    headwater_with(args, b"")
}

pub fn headwater_with(args: &[&str], stdin: &[u8]) -> Ran {
    let mut child = command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut input = child.stdin.take().expect("stdin is piped");
    let stdin = stdin.to_vec();
    let writer = std::thread::spawn(move || {
        // A program that does not want its input closes it.
        let _closed = input.write_all(&stdin);
    });
    let stdout = reader(child.stdout.take().expect("stdout is piped"));
    let stderr = reader(child.stderr.take().expect("stderr is piped"));
    let status = wait(&mut child);
    writer.join().expect("the writer does not panic");
    Ran { code: status.code(), stdout: joined(stdout), stderr: joined(stderr) }
}

/// Runs SQL on an engine in memory, with options before.
pub fn sql(options: &[&str], sql: &str) -> Ran {
    let mut args = vec!["--data", ":memory:"];
    args.extend_from_slice(options);
    args.extend_from_slice(&["-e", sql]);
    headwater(&args)
}

fn reader(mut stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("a pipe can be read");
        bytes
    })
}

fn joined(reader: JoinHandle<Vec<u8>>) -> String {
    String::from_utf8(reader.join().expect("the reader does not panic")).expect("output is UTF-8")
}

pub fn wait(child: &mut Child) -> ExitStatus {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            return status;
        }
        if waited > TIME_LIMIT {
            child.kill().expect("the child can be killed");
            panic!("the command did not end within {TIME_LIMIT:?}");
        }
        std::thread::sleep(POLL_INTERVAL);
        waited += POLL_INTERVAL;
    }
}

/// A server of its own for one test; killed at the end if it was not stopped.
pub struct Server {
    pub child: Child,
    pub url: String,
}

impl Server {
    /// On an engine in memory.
    pub fn start() -> Self {
        Self::with(&["--data", ":memory:"])
    }

    pub fn with(options: &[&str]) -> Self {
        let mut args = vec!["serve", "--listen", "127.0.0.1:0"];
        args.extend_from_slice(options);
        Self::of(command(&args))
    }

    /// What a command starts in its own process.
    pub fn of(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let mut line = String::new();
        let url = loop {
            line.clear();
            assert!(
                stderr.read_line(&mut line).expect("stderr can be read") > 0,
                "the server ended before it listened"
            );
            if let Some((_, url)) = line.trim().split_once("listens on ") {
                break url.to_string();
            }
        };
        std::thread::spawn(move || {
            let mut rest = String::new();
            // Keeps the pipe empty; what is said does not matter here.
            let _ended = stderr.read_to_string(&mut rest);
        });
        Self { child, url }
    }

    /// Statements that must go well.
    #[track_caller]
    pub fn ksql(&self, sql: &str) -> Value {
        let (status, body) = self.post("/ksql", &serde_json::json!({"ksql": sql}).to_string());
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("answers are JSON")
    }

    pub fn post(&self, path: &str, body: &str) -> (u16, String) {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut answer = agent.post(format!("{}{path}", self.url)).send(body).expect("the server answers");
        (answer.status().as_u16(), answer.body_mut().read_to_string().expect("answers are text"))
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut answer = agent.get(format!("{}{path}", self.url)).call().expect("the server answers");
        (answer.status().as_u16(), answer.body_mut().read_to_string().expect("answers are text"))
    }

    pub fn terminate(&self) {
        let sent = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill runs").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Nothing more can be done about a child that cannot be killed.
            let _killed = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}
